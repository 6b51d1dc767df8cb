# SPDX-License-Identifier: BSD-3-Clause
"""Bugs that others had in what scripts have (their numbers are those of test_bugs.py's rows): what one script leaves behind for the next,
lengths at the edge in the libraries, and what the sandbox lets through."""

import pytest

from resp import RespError

pytestmark = [pytest.mark.row_each]

# All that is reached from a script's globals, by tables and by the metatables of all kinds of values; and what some of it does.
FINGERPRINT = r"""
local seen, lines = {}, {}
local function walk(path, value)
  lines[#lines + 1] = path .. '=' .. type(value) .. (type(value) == 'string' and value or '')
  local meta = getmetatable(value)
  if meta ~= nil and type(meta) ~= 'table' then lines[#lines + 1] = path .. '!' .. tostring(meta) end
  if type(meta) == 'table' and not seen[meta] then seen[meta] = true walk(path .. '@', meta) end
  if type(value) == 'table' and not seen[value] then
    seen[value] = true
    for k, v in pairs(value) do walk(path .. '.' .. tostring(k), v) end
  end
end
for _, v in ipairs({'', 1, true, tostring, coroutine.create(function() end)}) do walk('of ' .. type(v), v) end
walk('nil', nil)
for k, v in pairs(_G) do if k ~= 'KEYS' and k ~= 'ARGV' and k ~= '_G' then walk('G.' .. k, v) end end
table.sort(lines)
local does = {('x'):upper(), string.len('abc'), tostring(12), #KEYS, cjson.encode({1, {a = 'b'}}), cmsgpack.pack({1, 'x'}), struct.pack('>I2', 258),
  bit.tohex(255), redis.sha1hex(''), select('#', 1, 2), type(redis.call), tostring(redis == server), math.max(1, 3), table.concat({1, 2}), tostring(next({})),
  tostring(pcall(error)), tostring(rawequal(1, 1)), type(getmetatable(_G)), tostring(cjson.decode('[null]')[1] == cjson.null)}
for i, v in ipairs(does) do does[i] = tostring(v) end
return {table.concat(lines, '\n'), table.concat(does, '|')}"""

ATTACKS = r"""
getmetatable('').__index = function() return 'mine' end
getmetatable('').__add = function() return 'mine' end
setmetatable(getmetatable(''), {__index = function() return 'mine' end})
getmetatable('').__index.upper = function() return 'mine' end
rawset(getmetatable(''), '__index', nil)
rawset(getmetatable('').__index, 'upper', function() return 'mine' end)
rawset(string, 'len', function() return 99 end)
string.len = function() return 99 end
table.insert(string, 'x')
table.sort(redis)
table.remove(redis)
for k in pairs(string) do string[k] = nil end
setmetatable(_G, nil)
setmetatable(_G, {__index = function() return 'mine' end})
getmetatable(_G).__newindex = nil
getmetatable(_G).__index = function() return 'mine' end
rawset(getmetatable(_G), '__newindex', nil)
rawset(_G, 'mine', 1)
_G.mine = 1
mine = 1
_G.tostring = function() return 'mine' end
tostring = function() return 'mine' end
pairs = nil
_G._G = {}
redis.call = function() return 'mine' end
redis.sha1hex = nil
server.call = nil
rawset(redis, 'call', function() return 'mine' end)
rawset(server, 'mine', 1)
setmetatable(redis, {__index = function() return 'mine' end})
setmetatable(string, {__index = function() return 'mine' end})
cjson.encode = nil
rawset(cjson, 'decode', nil)
rawset(cmsgpack, 'pack', nil)
rawset(struct, 'pack', nil)
rawset(bit, 'tohex', nil)
cjson.null = 1
rawset(math, 'max', math.min)
rawset(table, 'concat', nil)
rawset(coroutine, 'create', nil)
rawset(os, 'clock', nil)
os.execute('true')
setfenv(1, {tostring = 1})
setfenv(redis.call, {})
getfenv(0).mine = 1
getfenv(redis.call).mine = 1
debug.setmetatable('', {})
debug.getregistry().mine = 1
debug.sethook(function() end, 'c')
package.loaded.string = nil
require('os').execute('true')
dofile('/etc/passwd')
io.open('/etc/passwd')
loadfile('/etc/passwd')
module('mine')
newproxy(true)
loadstring('mine = 1')()
loadstring('getmetatable(_G).__newindex = nil')()
load(function() return nil end)()
loadstring('\27Lua')()
coroutine.wrap(function() rawset(string, 'len', nil) end)()
coroutine.wrap(function() mine = 1 end)()
pcall(rawset, _G, 'mine', 1)
xpcall(function() getmetatable('').__index = nil end, function() rawset(_G, 'mine', 1) end)
local f = string.gsub rawset(string, 'gsub', f) string.gsub('abc', '.', function() rawset(_G, 'mine', 1) end)
KEYS = nil
ARGV = nil
KEYS.mine = 1
rawset(KEYS, 'mine', 1)
setmetatable(KEYS, {__len = function() return 9 end})
cjson.decode('[1]').mine = 1
getmetatable(cjson.decode_array_with_array_mt and {} or cjson.null).__index = {}
getmetatable(coroutine.create(function() end)).__index = {}
redis.setresp(3)
redis.set_repl(redis.REPL_NONE)
math.randomseed(1)
collectgarbage('stop')
collectgarbage('setpause', 1000000)
error(setmetatable({}, {__tostring = function() rawset(_G, 'mine', 1) return 'x' end}))
return setmetatable({}, {__index = function(t, k) rawset(_G, 'mine', 1) return nil end})""".strip().split("\n")


def test_bug_10_and_17_nothing_of_a_script_is_there_for_the_next(server):
    """CVE-2022-24735, CVE-2025-46818, CVE-2022-0543: what one user's script changed ran with the rights of the next one's."""
    with server.raw() as admin, server.raw() as mallory:
        admin.do("SET", "k", "of-k")
        assert admin.do("ACL", "SETUSER", "mallory", "on", "nopass", "+eval", "+fcall", "+get", "~k") == "OK"
        assert mallory.do("AUTH", "mallory", "x") == "OK"
        for _ in range(2):  # where it is run first is not where it is known to belong
            clean = admin.do("EVAL", FINGERPRINT, "1", "k")
        assert b"G.redis" in clean[0] and b"mine" not in clean[0], clean
        for attack in ATTACKS:
            for words in (["EVAL", attack, "1", "k"], ["EVAL", "pcall(function() %s end) return redis.call('GET', KEYS[1])" % attack, "1", "k"]):
                mallory.do(*words)
                assert admin.do("EVAL", FINGERPRINT, "1", "k") == clean, attack
            code = "#!lua name=mallory\nserver.register_function('f', function(KEYS, ARGV) %s end)" % attack
            if admin.do("FUNCTION", "LOAD", "REPLACE", code) == b"mallory":
                mallory.do("FCALL", "f", "1", "k")
                assert admin.do("EVAL", FINGERPRINT, "1", "k") == clean, attack
        assert mallory.do("GET", "k") == b"of-k" and "NOPERM" in str(mallory.do("SET", "k", "x"))


REPLAYS = [
    # 14: CVE-2024-31449
    ("bit.tohex(65535, -2147483648)", b"0000FFFF"),
    ("bit.tohex(65535, 2147483647)", b"0000ffff"),
    ("bit.tohex(65535, 0)", b""),
    # 15: CVE-2021-32626, CVE-2022-24834
    ("cjson.encode(deep(1001))", "Cannot serialise, excessive nesting (1001)"),
    ("cjson.decode(string.rep('[', 100000))", "Found too many nested data structures (1001) at character 1001"),
    ("#cmsgpack.pack(deep(5000))", 17),
    ("cmsgpack.unpack(string.char(0xdd, 0xff, 0xff, 0xff, 0xff))", "Missing bytes in input."),
    ("cmsgpack.unpack(string.rep(string.char(0xdd, 0, 0, 0, 1), 20000))", "stack overflow (in function mp_decode_to_lua_array)"),
    ("cmsgpack.unpack(string.char(0xc6, 0xff, 0xff, 0xff, 0xff) .. 'x')", "Bad data format in input."),
    ("(function() local function f() return f() + 1 end return f() end)()", "stack overflow"),
    # 16: CVE-2020-14147
    ("struct.pack('i2147483648', 1)", "integral size overflow"),
    ("struct.pack('>I99', 1)", "integral size 99 is larger than limit of 32"),
    ("struct.unpack('>I2147483648', 'x')", "integral size overflow"),
    ("struct.unpack('c2147483647', 'x')", "data string too short"),
    ("struct.unpack('I4', 'x', 2147483647)", "data string too short"),
]
DEEP = "local function deep(n) local t = {} for _ = 1, n do t = {t} end return t end return "


def test_bug_14_to_16_lengths_and_depths_at_the_edge_of_the_libraries(server):
    with server.raw(timeout=60) as c:
        for code, expected in REPLAYS:
            got = c.do("EVAL", DEEP + code, "0")
            if isinstance(expected, str):
                assert isinstance(got, RespError) and any(part in str(got) for part in expected.split("|")), (code, got)
            else:
                assert got == expected, (code, got)
        assert c.do("PING") == "PONG"


@pytest.mark.shoal_only
def test_patterns_that_take_more_than_the_stack_are_refused(server):
    """Lua 5.1 calls itself for each part of a pattern, without a bound: with enough of them that ended the server."""
    many = "string.rep('a?', 300000) .. string.rep('a', 1000)"
    with server.raw(timeout=60) as c:
        for code in (
            "('a'):rep(1000):find(%s)" % many,
            "string.match('a', %s)" % many,
            "('a'):gsub(%s, '')" % many,
            "('a'):gmatch(%s)()" % many,
            "('a'):find(string.rep('(', 300000))",
            "('a'):find(string.rep('.-', 300000) .. 'b')",
            "('a'):rep(300000):match(string.rep('a+', 1001))",
        ):
            for words in (["EVAL", "return " + code, "0"], ["EVAL", "return pcall(function() return %s end)" % code, "1", "k"]):
                assert "pattern too complex" in str(c.do(*words)) or c.do(*words) is None, code
        assert c.do("EVAL", "return {('x' .. string.rep('a?', 2000)):find(string.rep('a?', 2000), 1, true)}", "0") == [2, 4001]
        assert c.do("EVAL", "return {('a'):rep(900):find(string.rep('a?', 900))}", "0") == [1, 900]
        assert c.do("EVAL", "return ('a b-c'):gsub('[a%-]+', '%0%0')", "0") == b"aa b--c"
        assert c.do("EVAL", "local t = {} for k, v in ('a=1, b=2'):gmatch('(%w+)=(%w+)') do t[#t + 1] = k .. v end return t", "0") == [b"a1", b"b2"]
        assert "bad argument #1 to 'find' (string expected, got no value)" in str(c.do("EVAL", "return ('a'):find()", "0"))
        assert c.do("EVAL", "return ('a1b'):find(1)", "0") == 2


def test_what_is_insecure_is_there_if_it_is_asked_for(start_server):
    """lua-enable-insecure-api, by CONFIG SET, for scripts; what a script has kept of it goes with it."""
    names = "return {type(rawget(_G, 'getfenv')), type(rawget(_G, 'setfenv')), type(rawget(_G, 'newproxy')), type(rawget(_G, 'dofile'))}"
    s = start_server(**{"enable-protected-configs": "yes"})
    with s.raw() as c:
        assert c.do("EVAL", names, "0") == [b"nil"] * 4
        for name in ("lua-enable-insecure-api", "lua-enable-deprecated-api"):
            assert c.do("CONFIG", "SET", name, "yes") == "OK"
            assert c.do("EVAL", names, "0") == [b"function"] * 3 + [b"nil"]
            for code, expected in (
                ("return tostring(getfenv(1) == _G) .. tostring(getfenv(0) == _G) .. tostring(getfenv(tostring) == _G)", b"truetruetrue"),
                ("return getfenv(0).redis.call('PING')", "PONG"),
                ("local f = function() return y end setfenv(f, {y = 9}) return f()", 9),
                ("local f = function() return 1 end return tostring(setfenv(f, {}) == f)", b"true"),
                ("setfenv(1, {}) x = 5 return x", 5),
                ("return coroutine.wrap(function() setfenv(0, {}) return 3 end)()", 3),
                ("local p = newproxy(true) getmetatable(p).__index = function(_, k) return k .. '!' end return p.x", b"x!"),
                ("local p = newproxy(true) getmetatable(p).__len = function() return 7 end return #newproxy(p)", 7),
                ("return type(newproxy()) .. type(newproxy(false))", b"userdatauserdata"),
                ("getfenv(1).x = 1", "Attempt to modify a readonly table"),
                ("getfenv(0).tostring = 1", "Attempt to modify a readonly table"),
                ("setfenv(tostring, {})", "'setfenv' cannot change environment of given object"),
                ("getfenv(99)", "bad argument #1 to 'getfenv' (invalid level)"),
                ("setfenv(99, {})", "bad argument #1 to 'setfenv' (invalid level)"),
                ("newproxy({})", "bad argument #1 to 'newproxy' (boolean or proxy expected)"),
            ):
                got = c.do("EVAL", code, "0")
                if isinstance(expected, str) and expected != "PONG":
                    assert isinstance(got, RespError) and expected in str(got), (code, got)
                else:
                    assert got == expected, (code, got)
            assert c.do("CONFIG", "SET", name, "no") == "OK"
            assert c.do("EVAL", names, "0") == [b"nil"] * 4
            assert "attempt to call global 'setfenv'" in str(c.do("EVAL", "setfenv(1, {}) x = 5 return x", "0")) or s.kind == "shoal"
            assert "nonexistent global variable 'setfenv'" in str(c.do("EVAL", "setfenv(1, {}) x = 5 return x", "0"))


@pytest.mark.shoal_only
def test_what_is_insecure_does_not_reach_what_is_everybodys(start_server):
    s = start_server(**{"lua-enable-insecure-api": "yes"})
    with s.raw() as c:
        for code in (
            "setfenv(0, {})",
            "getmetatable(newproxy(true)).__gc = function() error('x') end",
            "local p = newproxy(true) getmetatable(getmetatable(p)).__newindex = nil",
            "local p = newproxy(true) setmetatable(getmetatable(p), nil)",
        ):
            assert isinstance(c.do("EVAL", code, "0"), RespError), code
        code = "for _ = 1, 1000 do local p = newproxy(true) rawset(getmetatable(p), '__gc', function() redis.call('SET', 'x', 1) end) end return 1"
        assert c.do("EVAL", code, "0") == 1
        assert c.do("EVAL", "for _ = 1, 9 do collectgarbage() end return 3", "0") == 3
        assert c.do("SCRIPT", "FLUSH") == "OK"
        assert c.do("EVAL", "return #redis.sha1hex('')", "0") == 40
        assert c.do("EXISTS", "x") == 0
        library = "#!lua name=l\nserver.register_function('f', function() return type(getfenv(1)) .. type(newproxy) end)"
        assert c.do("FUNCTION", "LOAD", library) == b"l"
        assert c.do("FCALL", "f", "0") == b"tablefunction"
