# SPDX-License-Identifier: BSD-3-Clause
"""Scripts made at random answer as Valkey answers, byte for byte in both protocols, and leave the same data: whether all keys are in
view, as at the first time, or only those that are declared; and whatever goes wrong in them, at which line."""

import os
import re

import pytest
from programs import FILL, KEYS, TYPED, WRONG, Programs

from resp import encode

N = int(os.environ.get("SHOAL_PROGRAMS", "250"))
SEEDS = [int(s) for s in os.environ.get("SHOAL_PROGRAM_SEEDS", "1,2,3,4").split(",")]


def plain(raw):
    """Addresses of tables and functions say nothing."""
    return re.sub(rb"\$\d+\r\n(\w+: 0x)[0-9a-f]+", rb"\1", re.sub(rb"(\w+: 0x)[0-9a-f]+", rb"\1", raw))


def asked(c, *words):
    c.send(encode(*words))
    return plain(c.read_raw()[1])


def data(c):
    out = []
    for db in (0, 3):
        c.do("SELECT", str(db))
        for key in KEYS:
            kind = asked(c, "TYPE", key)
            how = TYPED.get(kind[1:-2].decode())
            out.append((db, key, kind, asked(c, how[0], key, *how[1:]) if how else None, c.do("TTL", key) >= 0))
    c.do("SELECT", "0")
    return out


@pytest.mark.parametrize("protocol", (2, 3))
@pytest.mark.parametrize("seed", SEEDS)
def test_programs_answer_as_in_valkey(shoal, valkey, seed, protocol):
    programs = Programs(seed)
    with shoal.raw(timeout=30) as ours, valkey.raw(timeout=30) as theirs:
        for c in (ours, theirs):
            c.do("FLUSHALL")
            c.do("HELLO", str(protocol))
        for i in range(N):
            text, keys, arguments = programs.next()
            if i % 5 == 0:
                for c in (ours, theirs):
                    c.do("FLUSHALL")
                    for words in FILL:
                        c.do(*words)
            for again in range(2):
                answers = [asked(c, "EVAL", text, str(len(keys)), *keys, *arguments) for c in (ours, theirs)]
                assert answers[0] == answers[1], "program %d, %s:\n%s" % (i, "again" if again else "first", text)
            left = [data(c) for c in (ours, theirs)]
            assert left[0] == left[1], "program %d:\n%s" % (i, text)


SEEN = """local out, known = {}, {}
local function list(name, t)
  if known[t] then out[#out + 1] = name .. ' is ' .. known[t] return end
  known[t] = name
  local names = {}
  for k in pairs(t) do names[#names + 1] = k end
  table.sort(names)
  for _, k in ipairs(names) do
    local v = rawget(t, k)
    local full = name .. '.' .. k
    out[#out + 1] = full .. ': ' .. type(v) .. ((type(v) == 'number' or type(v) == 'string') and '_VERSION' ~= k:sub(-8) and k:sub(-4) ~= '_NUM' and k ~= 'REDIS_VERSION' and ' ' .. v or '')
    if type(v) == 'table' and k ~= 'KEYS' and k ~= 'ARGV' then list(full, v) end
  end
end
list('_G', _G)
local of_strings = getmetatable('')
out[#out + 1] = 'strings: ' .. type(of_strings) .. tostring(rawget(of_strings, '__index') == string)
return out"""


def seen(c):
    """Valkey keeps two functions of its own there, which it calls when a script fails."""
    return [line for line in c.do("EVAL", SEEN, "0") if b"__err__handler" not in line]


def test_scripts_see_what_they_see_in_valkey_and_nothing_else(shoal, valkey):
    """Every global, and all that is in it. A script can change none of it, whatever it tries: the list is the same after all attacks."""
    attacks = [w for w in WRONG if "=" in w or "raw" in w or "metatable" in w or "table." in w]
    with shoal.raw(timeout=30) as ours, valkey.raw(timeout=30) as theirs:
        before = [seen(c) for c in (ours, theirs)]
        assert before[0] == before[1] and len(before[0]) > 100
        for attack in attacks:
            for form in ("return %s", "%s", "pcall(function() return %s end)", "pcall(function() %s end)"):
                for c in (ours, theirs):
                    c.do("EVAL", form % attack, "1", "k", "a")
        assert [seen(c) for c in (ours, theirs)] == before
