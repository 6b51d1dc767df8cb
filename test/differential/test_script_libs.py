# SPDX-License-Identifier: BSD-3-Clause
"""The libraries of scripts answer as Valkey's do: values, errors and their texts, and what they refuse."""

import os

import pytest
import script_libs

N = int(os.environ.get("SHOAL_SCRIPT_LIBS", "1000"))


@pytest.mark.parametrize("seed", (1, 2, 3))
def test_libraries_answer_as_in_valkey(shoal, valkey, seed):
    expressions = script_libs.Expressions(seed)
    with shoal.raw(timeout=30) as ours, valkey.raw(timeout=30) as theirs:
        for _ in range(N):
            expression = expressions.next()
            answers = [c.do("EVAL", script_libs.SAYS, 0, expression) for c in (ours, theirs)]
            assert b"function:" in answers[1] or answers[0] == answers[1], expression


HOSTILE = [
    'bit.tohex(0xabcdef, -2147483648)',
    'cjson.decode(string.rep("[", 1000000))',
    'cjson.decode(string.rep(\'{"a":\', 1000000))',
    '#cjson.encode(string.rep("\\1", 1000000))',
    '(function() local t = {} t[1] = t return cjson.encode(t) end)()',
    '(function() local c = cjson.new() c.decode_max_depth(2147483647) return c.decode(string.rep("[", 1000000)) end)()',
    'cmsgpack.unpack(string.rep("\\145", 1000000))',
    'cmsgpack.unpack(string.rep("\\129", 1000000))',
    'cmsgpack.unpack(string.rep("\\1", 1000000))',
    'cmsgpack.unpack("\\221\\255\\255\\255\\255")',
    'cmsgpack.unpack("\\223\\255\\255\\255\\255\\1\\1")',
    'cmsgpack.unpack("\\219\\255\\255\\255\\255")',
    '(function() local t = {} t.t = t return cmsgpack.pack(t) end)()',
    'struct.unpack("c2147483647c2147483647", "x")',
    'struct.pack("c2147483647", "x")',
    'struct.size(string.rep("c2147483647", 1000))',
    'struct.unpack("!8 b d", "x", -1)',
    'struct.unpack("b", "x", -9223372036854775808)',
    'struct.unpack(string.rep("b", 100000), string.rep("x", 100000))',
    'struct.pack("i" .. string.rep("9", 100000), 1)',
]


@pytest.mark.parametrize("expression", HOSTILE)
def test_what_means_harm_is_refused_as_in_valkey(shoal, valkey, expression):
    with shoal.raw(timeout=60) as ours, valkey.raw(timeout=60) as theirs:
        answers = [c.do("EVAL", script_libs.SAYS, 0, expression) for c in (ours, theirs)]
        assert answers[0] == answers[1]


TABLES = "local out = {} for k, v in pairs(%s) do out[#out + 1] = k .. ' ' .. type(v) .. (type(v) == 'string' and v or '') end table.sort(out) return out"


@pytest.mark.parametrize("name", ("cjson", "cmsgpack", "struct", "bit"))
def test_libraries_have_what_valkeys_have(shoal, valkey, name):
    with shoal.raw() as ours, valkey.raw() as theirs:
        assert ours.do("EVAL", TABLES % name, 0) == theirs.do("EVAL", TABLES % name, 0)
        refused = [c.do("EVAL", "%s.x = 1" % name, 0) for c in (ours, theirs)]
        assert refused[0] == refused[1] and "readonly table" in str(refused[0])
