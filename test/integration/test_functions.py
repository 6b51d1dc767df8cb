# SPDX-License-Identifier: BSD-3-Clause
"""Functions: libraries, what they may do while they are loaded, and calls from every shard."""

import random
import re

import pytest

from resp import Map, RespError
from server import Server, find_peer, wait_for
from test_scripts import DEPOSIT, in_threads

pytestmark = [pytest.mark.row_each]


def library(name, body):
    return "#!lua name=%s\n%s" % (name, body)


def function(body, name="f", lib="l", flags=""):
    return library(
        lib,
        "server.register_function{function_name='%s', flags={%s}, callback=function(keys, args) %s end}" % (name, flags, body),
    )


def load(c, code):
    return c.do("FUNCTION", "LOAD", "REPLACE", code)


def error(c, *words):
    answer = c.do(*words)
    assert isinstance(answer, RespError), (words, answer)
    return answer.text


@pytest.fixture
def r(raw):
    """A raw connection to the shared server, which has neither keys nor functions."""
    raw.do("FLUSHALL"), raw.do("FUNCTION", "FLUSH")
    return raw


NAMES = "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long"
FUNCTION_NAMES = NAMES.replace("Library", "Function")
F = "server.register_function('f', function() return 1 end)"

# Of FUNCTION LOAD: the text, and what is wrong with it.
HEADERS = [
    ("", "ERR Missing library metadata"),
    ("return 1", "ERR Missing library metadata"),
    ("#!lua name=x", "ERR Invalid library metadata"),
    ("#!lua\n", "ERR Library name was not given"),
    ("#! name=x\n", "ERR Engine '' not found"),
    ("#!python name=x\n", "ERR Engine 'python' not found"),
    ("#!python name=x-y\n", "ERR " + NAMES),
    ("#!lua name=x name=y\n", "ERR Invalid metadata value, name argument was given multiple times"),
    ("#!lua name=x flags=y\n", "ERR Invalid metadata value given: flags=y"),
    ("#! lua name=x\n", "ERR Invalid metadata value given: lua"),
    ("#!lua name=\n", "ERR " + NAMES),
    ("#!lua name='x y'\n", "ERR " + NAMES),
    ('#!lua name="x\n', "ERR Invalid library metadata"),
    ("#!lua name=x\nreturn 1", "ERR No functions registered"),
    ("#!lua name=x\n\nbad code", "ERR Error compiling function: user_function:3: '=' expected near 'code'"),
    ("#!lua name=x\nlocal x = (", "ERR Error compiling function: user_function:2: unexpected symbol near '<eof>'"),
    ("#!lua name=taken\n" + F, "ERR Library 'taken' already exists"),
    ("#!lua name=taken\nbad code", "ERR Library 'taken' already exists"),
    ("#!lua name=x\nserver.register_function('T', function() end)", "ERR Function T already exists"),
]
REGISTERING = "ERR Error registering functions: "
UNKNOWN = REGISTERING + "ERR user_function:2: Script attempted to access nonexistent global variable '%s'"
R = "server.register_function"
# Of a library: what it does, and what is wrong with it.
BODIES = [
    (R + "()", REGISTERING + "ERR wrong number of arguments to server.register_function"),
    (R + "('a', function() end, 1)", REGISTERING + "ERR wrong number of arguments to server.register_function"),
    (
        R + "('a')",
        REGISTERING + "ERR calling server.register_function with a single argument is only applicable to Lua table (representing "
        "named arguments).",
    ),
    (R + "(nil, function() end)", REGISTERING + "ERR first argument to server.register_function must be a string"),
    (R + "({function_name='a'}, 2)", REGISTERING + "ERR first argument to server.register_function must be a string"),
    ("redis.register_function('a', 1)", REGISTERING + "ERR second argument to server.register_function must be a function"),
    (R + "{[function() end]=1}", REGISTERING + "ERR named argument key given to server.register_function is not a string"),
    (R + "{1}", REGISTERING + "ERR unknown argument given to server.register_function"),
    (R + "{foo=1}", REGISTERING + "ERR unknown argument given to server.register_function"),
    (R + "{function_name={}}", REGISTERING + "ERR function_name argument given to server.register_function must be a string"),
    (R + "{description=true}", REGISTERING + "ERR description argument given to server.register_function must be a string"),
    (R + "{callback=1}", REGISTERING + "ERR callback argument given to server.register_function must be a function"),
    (R + "{flags='x'}", REGISTERING + "ERR flags argument to server.register_function must be a table representing function flags"),
    (R + "{flags={'unknown'}}", REGISTERING + "ERR unknown flag given"),
    (R + "{flags={1}}", REGISTERING + "ERR unknown flag given"),
    (R + "{flags={{}}}", REGISTERING + "ERR unknown flag given"),
    (R + "{function_name='a'}", REGISTERING + "ERR server.register_function must get a callback argument"),
    (R + "{callback=function() end}", REGISTERING + "ERR server.register_function must get a function name argument"),
    (R + "('a b', function() end)", "ERR " + FUNCTION_NAMES),
    (R + "('', function() end)", "ERR " + FUNCTION_NAMES),
    (R + "('a\\0b', function() end)", "ERR " + FUNCTION_NAMES),
    (F + F.replace("server", " server"), "ERR Function already exists in the library"),
    ("server.call('ping')", UNKNOWN % "call"),
    ("redis.pcall('ping')", UNKNOWN % "pcall"),
    ("redis.setresp(3)", UNKNOWN % "setresp"),
    ("local x = redis.REPL_ALL", UNKNOWN % "REPL_ALL"),
    ("math.random()", UNKNOWN % "math"),
    ("local x = tostring(1)", UNKNOWN % "tostring"),
    ("local x = pcall(error)", UNKNOWN % "pcall"),
    ("local x = KEYS", UNKNOWN % "KEYS"),
    ("local x = _G", UNKNOWN % "_G"),
    ("local x = foo", UNKNOWN % "foo"),
    ("foo = 1", REGISTERING + "ERR user_function:2: Attempt to modify a readonly table"),
    ("redis.x = 1", REGISTERING + "ERR user_function:2: Attempt to modify a readonly table"),
    ("redis.register_function = 1", REGISTERING + "ERR user_function:2: Attempt to modify a readonly table"),
    ("local t = {} t.x.y = 1", REGISTERING + "ERR user_function:2: attempt to index field 'x' (a nil value)"),
    ("local function f() f() end f()", REGISTERING + "ERR user_function:2: stack overflow"),
    ("while true do end", REGISTERING + "ERR FUNCTION LOAD timeout"),
]
ON = " script: on @user_function:2."
NO_SCRIPT = "ERR This Valkey command is not allowed from script" + ON
# Of a function: what it does, and what it is answered.
CALLS = [
    ("return {keys[1], args[1], #keys, #args}", [b"key", b"arg", 1, 1]),
    ("return 3.99", 3),
    ("return redis.status_reply('fine')", "fine"),
    ("return redis.sha1hex('x')", b"11f6ad8ec52a2984abaafd7c3b516503785c2072"),
    ("return redis.REDIS_VERSION", b"7.2.4"),
    ("return type(os.clock())", b"number"),
    ("error('x')", "ERR user_function:2: x" + ON),
    ("error({err='MY err'})", "MY err" + ON),
    ("error()", "ERR nil" + ON),
    ("error({1})", "ERR unknown error" + ON),
    ("return redis.error_reply('x y')", "x y"),
    ("return {err='CUSTOM x'}", "CUSTOM x"),
    ("return KEYS", "ERR user_function:2: Script attempted to access nonexistent global variable 'KEYS'" + ON),
    ("KEYS = 1", "ERR user_function:2: Attempt to modify a readonly table" + ON),
    ("foo = 1", "ERR user_function:2: Attempt to modify a readonly table" + ON),
    ("redis.x = 1", "ERR user_function:2: Attempt to modify a readonly table" + ON),
    ("rawset(_G, 'x', 1)", "ERR Attempt to modify a readonly table" + ON),
    ("setmetatable(_G, {})", "ERR Attempt to modify a readonly table" + ON),
    ("loadstring('x = 1')()", 'ERR [string "x = 1"]:1: Attempt to modify a readonly table script: on x = 1:1.'),
    ("redis.call('nope')", "ERR Unknown command called from script" + ON),
    ("redis.call('set')", "ERR Wrong number of args calling command from script" + ON),
    ("return redis.pcall('set')", "ERR Wrong number of args calling command from script"),
    ("redis.call('eval', 'return 1', 0)", NO_SCRIPT),
    ("redis.call('fcall', 'f', 0)", NO_SCRIPT),
    ("redis.call('function', 'flush')", NO_SCRIPT),
    ("redis.register_function('g', function() end)", "ERR user_function:2: attempt to call field 'register_function' (a nil value)" + ON),
    ("local x\nx.y = 1", "ERR user_function:3: attempt to index local 'x' (a nil value) script: on @user_function:3."),
]


def test_what_is_wrong_with_a_library_is_said(r):
    c = r
    load(c, library("taken", "server.register_function('t', function() return 't' end)"))
    for text, expected in HEADERS:
        assert error(c, "FUNCTION", "LOAD", text) == expected, text
    for body, expected in BODIES:
        assert error(c, "FUNCTION", "LOAD", "REPLACE", library("taken", body)) == expected, body
    # All of that has changed nothing.
    assert c.do("FCALL", "t", "0") == b"t"
    assert [entry[1] for entry in c.do("FUNCTION", "LIST")] == [b"taken"]
    assert error(c, "FUNCTION", "LOAD", "x", "y") == "ERR Unknown option given: x"
    assert error(c, "FUNCTION", "LOAD") == "ERR wrong number of arguments for 'function|load' command"


def test_names(r):
    c = r
    assert c.do("FUNCTION", "LOAD", "#!LUA Name=x\n" + F) == b"x"
    assert c.do("FUNCTION", "LOAD", 'replace', '#!"lua" name="\\x78"\r\n' + F) == b"x"
    assert c.do("FUNCTION", "LOAD", library("nul", "server.register_function('n', function() return 'n' end)\n\0 bad code")) == b"nul"
    assert c.do("FCALL", "n", "0") == c.do("FCALL", "N", "0") == b"n"
    assert c.do("FUNCTION", "LOAD", library("X", "server.register_function(1, function() return 'one' end)")) == b"X"
    assert c.do("FCALL", "1", "0") == b"one"


def test_what_functions_see_and_answer(r):
    c = r
    for body, expected in CALLS:
        load(c, function(body))
        assert c.do("FCALL", "f", "1", "key", "arg") == expected, body
    load(c, function("return 1"))
    assert error(c, "FCALL", "nope", "0") == error(c, "FCALL", "nope", "x") == "ERR Function not found"
    assert error(c, "FCALL", "f", "x") == "ERR Bad number of keys provided"
    assert error(c, "FCALL", "f", "-1") == "ERR Number of keys can't be negative"
    assert error(c, "FCALL", "f", "1") == "ERR Number of keys can't be greater than number of args"
    assert error(c, "FCALL_RO", "f", "0") == "ERR Can not execute a script with write flag using *_ro command."
    assert error(c, "EVAL_RO", "#!lua\nreturn 1", "0") == "ERR Can not execute a script with write flag using *_ro command."
    load(c, function("return redis.call('set', keys[1], 'x')", flags="'no-writes'"))
    denied = "ERR Write commands are not allowed from read-only scripts. script: on @user_function:2."
    assert error(c, "FCALL", "f", "1", "k") == error(c, "FCALL_RO", "f", "1", "k") == denied


GLOBALS = """_G _VERSION assert bit cjson cmsgpack collectgarbage coroutine error gcinfo getmetatable ipairs load loadstring math next os
pairs pcall rawequal rawget rawset redis select server setmetatable string struct table tonumber tostring type unpack xpcall""".split()
API = """LOG_DEBUG LOG_NOTICE LOG_VERBOSE LOG_WARNING REDIS_VERSION REDIS_VERSION_NUM REPL_ALL REPL_AOF REPL_NONE REPL_REPLICA REPL_SLAVE
SERVER_NAME VALKEY_VERSION VALKEY_VERSION_NUM acl_check_cmd call error_reply log pcall set_repl setresp sha1hex status_reply""".split()


def test_the_sandbox_is_an_exact_list(r):
    listing = "local t = {} for k in pairs(%s) do t[#t + 1] = k end table.sort(t) return t"
    load(r, function(listing % "_G"))
    assert [name.decode() for name in r.do("FCALL", "f", "0")] == GLOBALS
    load(r, function(listing % "redis"))
    assert [name.decode() for name in r.do("FCALL", "f", "0")] == API
    # A script that runs beside it shows it nothing, and has nothing of it.
    assert r.do("EVAL", "return #KEYS", "1", "k") == 1
    load(r, function("return loadstring('return KEYS')()"))
    assert "nonexistent global variable 'KEYS'" in error(r, "FCALL", "f", "0")


def test_the_load_api_is_of_no_use_later(r):
    """What a library keeps of `redis` as it was while it was loaded cannot be changed, and registers nothing more."""
    load(
        r,
        library(
            "l",
            """local lib = redis
            lib.register_function('f1', function() lib.redis = redis end)
            lib.register_function('f2', function() lib.register_function('f3', function() end) end)
            lib.register_function('f4', function() return lib.call end)""",
        ),
    )
    assert "Attempt to modify a readonly table" in error(r, "FCALL", "f1", "0")
    assert "server.register_function can only be called on FUNCTION LOAD command" in error(r, "FCALL", "f2", "0")
    assert "nonexistent global variable 'call'" in error(r, "FCALL", "f4", "0")
    assert error(r, "FCALL", "f3", "0") == "ERR Function not found"


@pytest.mark.shoal_only
def test_what_ends_valkey(r):
    """Names that differ in case only, and a log line while it is loaded."""
    both = "server.register_function('a', function() end) server.register_function('A', function() end)"
    assert error(r, "FUNCTION", "LOAD", library("x", both)) == "ERR Function already exists in the library"
    load(r, library("x", "redis.log(redis.LOG_WARNING, 'loaded') server.register_function('logged', function() return 1 end)"))
    assert r.do("FCALL", "logged", "0") == 1


def test_list_and_stats(r):
    c = r
    c.do("FUNCTION", "FLUSH", "SYNC")
    assert c.do("FUNCTION", "LIST") == []
    one = library("one", "server.register_function{function_name='f1', description='d', flags={'NO-WRITES', 'allow-oom'}, callback=function() end}")
    two = library("two", "server.register_function('f2', function() end) server.register_function('f3', function() end)")
    c.do("FUNCTION", "LOAD", one), c.do("FUNCTION", "LOAD", two)
    entry = [b"library_name", b"one", b"engine", b"LUA", b"functions"]
    entry += [[[b"name", b"f1", b"description", b"d", b"flags", ["no-writes", "allow-oom"]]]]
    assert c.do("FUNCTION", "LIST", "LIBRARYNAME", "ONE") == [entry]
    assert c.do("FUNCTION", "LIST", "withcode", "libraryname", "o*") == [entry + [b"library_code", one.encode()]]
    listed = c.do("FUNCTION", "LIST", "LIBRARYNAME", "tw?")
    assert sorted(f[1] for f in listed[0][5]) == [b"f2", b"f3"] and listed[0][5][0][3] is None
    engines = [b"LUA", [b"libraries_count", 2, b"functions_count", 3]]
    assert c.do("FUNCTION", "STATS") == [b"running_script", None, b"engines", engines]
    assert error(c, "FUNCTION", "LIST", "x") == "ERR Unknown argument x"
    assert error(c, "FUNCTION", "LIST", "LIBRARYNAME") == "ERR library name argument was not given"
    assert error(c, "FUNCTION", "LIST", "WITHCODE", "withcode") == "ERR Unknown argument withcode"
    assert error(c, "FUNCTION", "LIST", "libraryname", "a", "libraryname", "b") == "ERR Unknown argument libraryname"
    assert error(c, "FUNCTION", "FLUSH", "x") == "ERR FUNCTION FLUSH only supports SYNC|ASYNC option"
    wrong = "ERR unknown subcommand or wrong number of arguments for '%s'. Try FUNCTION HELP."
    assert error(c, "FUNCTION", "flush", "sync", "x") == wrong % "flush"
    assert error(c, "FUNCTION", "DELETE", "x") == "ERR Library not found"
    assert c.do("FUNCTION", "DELETE", "two") == "OK"
    assert error(c, "FCALL", "f2", "0") == "ERR Function not found"
    c.do("FLUSHALL"), c.do("FLUSHDB")
    assert len(c.do("FUNCTION", "LIST")) == 1
    assert c.do("FUNCTION", "FLUSH", "ASYNC") == "OK"
    assert c.do("FUNCTION", "LIST") == []


def test_dump_and_restore(r):
    c = r
    empty = c.do("FUNCTION", "DUMP")
    assert len(empty) == 10 and c.do("FUNCTION", "RESTORE", empty) == "OK"
    long = "--[[%s]]" % "".join(random.choice("abcdef \n") for _ in range(3000))
    c.do("FUNCTION", "LOAD", library("one", long + "server.register_function('f1', function() return 1 end)"))
    c.do("FUNCTION", "LOAD", library("two", "server.register_function('f2', function() return 2 end)"))
    dump = c.do("FUNCTION", "DUMP")
    code = [entry[7] for entry in c.do("FUNCTION", "LIST", "WITHCODE")]
    assert error(c, "FUNCTION", "RESTORE", dump) in ("ERR Library one already exists", "ERR Library two already exists")
    assert error(c, "FUNCTION", "RESTORE", dump[:-1] + b"x") == "ERR DUMP payload version or checksum are wrong"
    policy = "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE."
    assert error(c, "FUNCTION", "RESTORE", dump, "x") == policy
    assert c.do("FUNCTION", "RESTORE", dump, "REPLACE") == c.do("FUNCTION", "RESTORE", dump, "flush") == "OK"
    load(c, library("three", "server.register_function('f3', function() return 3 end)"))
    c.do("FUNCTION", "RESTORE", dump, "FLUSH")
    assert error(c, "FCALL", "f3", "0") == "ERR Function not found"
    assert sorted(entry[7] for entry in c.do("FUNCTION", "LIST", "WITHCODE")) == sorted(code)
    # A function of the same name in a library that stays.
    c.do("FUNCTION", "DELETE", "two")
    load(c, library("other", "server.register_function('F2', function() return 'other' end)"))
    for policy in ("APPEND", "REPLACE"):
        c.do("FUNCTION", "DELETE", "one") if policy == "APPEND" else None
        assert "already exists" in error(c, "FUNCTION", "RESTORE", dump, policy)
        assert c.do("FCALL", "f2", "0") == b"other"
        assert error(c, "FCALL", "f1", "0") == "ERR Function not found"
    assert c.do("FUNCTION", "RESTORE", dump, "FLUSH") == "OK"
    assert [c.do("FCALL", "f%d" % i, "0") for i in (1, 2)] == [1, 2]


def test_dumps_go_to_valkey_and_back(r, valkey):
    body = "-- %s\nserver.register_function('f', function() return 'from ' .. '%s' end)"
    with valkey.raw() as other:
        other.do("FUNCTION", "FLUSH"), r.do("FUNCTION", "FLUSH")
        load(r, library("here", body % ("x" * 500, "here")))
        assert other.do("FUNCTION", "RESTORE", r.do("FUNCTION", "DUMP")) == "OK"
        assert other.do("FCALL", "f", "0") == b"from here"
        assert other.do("FUNCTION", "LIST", "WITHCODE") == r.do("FUNCTION", "LIST", "WITHCODE")
        # Version and checksum are their own; what is between is the same.
        assert other.do("FUNCTION", "DUMP")[:-10] == r.do("FUNCTION", "DUMP")[:-10]
        other.do("FUNCTION", "FLUSH")
        load(other, library("there", body % ("y" * 500, "there")))
        assert r.do("FUNCTION", "RESTORE", other.do("FUNCTION", "DUMP"), "FLUSH") == "OK"
        assert r.do("FCALL", "f", "0") == b"from there"


def test_in_a_transaction(r):
    c = r
    assert c.do("MULTI") == "OK"
    for words in (
        ("FUNCTION", "LOAD", function("return redis.call('incr', keys[1])")),
        ("FCALL", "f", "1", "in:a"),
        ("FCALL", "f", "1", "in:b"),
        ("FUNCTION", "DELETE", "l"),
        ("FCALL", "f", "1", "in:a"),
        ("FUNCTION", "LOAD", function("return 'again'")),
    ):
        assert c.do(*words) == "QUEUED"
    answers = c.do("EXEC")
    assert answers[:4] == [b"l", 1, 1, "OK"] and answers[4] == "ERR Function not found" and answers[5] == b"l"
    assert c.do("FCALL", "f", "0") == b"again"


def test_a_library_is_there_on_all_shards_when_load_answers(start_server):
    """Whoever is told that it is loaded, or gone, finds it so from any connection and for any key."""
    s = start_server()
    with s.raw() as a:
        others = [s.raw() for _ in range(6)]
        for round_ in range(60):
            load(a, function("return {redis.call('incr', keys[1]), %d}" % round_))
            for i, c in enumerate(others):
                assert c.do("FCALL", "f", "1", "k:%d:%d" % (i, round_))[1] == round_
                assert c.do("FCALL", "f", "1", "k:%d:%d" % (i, round_))[1] == round_
            if round_ % 10 == 9:
                a.do("FUNCTION", "DELETE", "l")
                for c in others:
                    assert error(c, "FCALL", "f", "1", "k:%d" % random.randrange(100)) == "ERR Function not found"
        [c.close() for c in others]


def test_what_a_library_keeps_lasts(r):
    """Until it is replaced; another one that comes or goes is nothing to it."""
    load(r, library("count", "local n = 0 server.register_function('count', function() n = n + 1 return n end)"))
    assert [r.do("FCALL", "count", "1", "k") for _ in range(2)][0] == 1
    n = r.do("FCALL", "count", "1", "k")
    load(r, function("return 1"))
    r.do("FUNCTION", "DELETE", "l")
    assert r.do("FCALL", "count", "1", "k") == n + 1
    load(r, library("count", "local n = 0 server.register_function('count', function() n = n + 1 return n end)"))
    assert r.do("FCALL", "count", "1", "k") == 1


def test_deposits_of_many_are_whole(start_server):
    """As with scripts: keys that are not declared, on other shards, while the library is replaced all the time."""
    s = start_server()
    body = DEPOSIT.replace("KEYS", "keys").replace("ARGV", "args")
    with s.raw() as c:
        load(c, function(body))

    def run(i):
        with s.raw() as c:
            for j in range(60):
                if i == 0:
                    load(c, function("-- %d\n" % j + body))
                assert c.do("FCALL", "f", "1", "account:%d" % i, "1", "x") == j + 1

    in_threads(8, run)
    with s.raw() as c:
        assert c.do("GET", "total") == b"480"
        assert c.do("LLEN", "log:x") == 480


@pytest.mark.several_shards
@pytest.mark.shoal_only
def test_one_that_keeps_to_its_keys_stays_on_its_shard(start_server):
    s = start_server()
    with s.raw() as c:
        load(c, function("return redis.call('incr', keys[1])"))

        def parked():
            return sum(int(n) for n in re.findall(rb"parked=(\d+)", c.do("INFO", "shards")))

        for i in range(50):
            c.do("FCALL", "f", "1", "k:%d" % i)
        before = parked()
        for i in range(200):
            c.do("FCALL", "f", "1", "k:%d" % i)
        assert parked() == before


def test_readers_of_resp3(r):
    with_map = "redis.setresp(3) return redis.call('hgetall', keys[1])"
    load(r, function(with_map))
    r.do("DEL", "h"), r.do("HSET", "h", "a", "1")
    r.do("HELLO", "3")
    try:
        assert r.do("FCALL", "f", "1", "h") == Map([(b"a", b"1")])
        assert isinstance(r.do("FUNCTION", "LIST")[0], Map)
    finally:
        r.do("HELLO", "2")


def test_command_getkeys(r):
    assert r.do("COMMAND", "GETKEYS", "FCALL", "f", "2", "a", "b", "c") == [b"a", b"b"]
    assert r.do("COMMAND", "GETKEYS", "FCALL_RO", "f", "1", "a") == [b"a"]


def test_info_counts_them(start_server):
    s = start_server()
    names = """number_of_cached_scripts used_memory_scripts_eval number_of_functions number_of_libraries used_memory_functions
    used_memory_vm_functions used_memory_vm_eval used_memory_vm_total used_memory_scripts evicted_scripts""".split()
    with s.raw() as c:

        def numbers():
            info = s.info_of(c, "everything")
            return {name: int(info[name]) for name in names}

        before = numbers()
        c.do("SCRIPT", "LOAD", "return 1"), c.do("EVAL", "return 2", "0")
        load(c, library("x", "-- %s\nserver.register_function('f', function() end)" % ("x" * 1000)))
        load(c, library("y", F.replace("'f'", "'g'") + F.replace("'f'", " 'h'")))
        after = numbers()
        assert after["number_of_cached_scripts"] == before["number_of_cached_scripts"] + 2
        assert (after["number_of_functions"], after["number_of_libraries"]) == (3, 2)
        assert after["used_memory_functions"] > before["used_memory_functions"] + 1000
        assert after["used_memory_vm_functions"] > 10000 and after["used_memory_vm_eval"] > 10000
        assert after["used_memory_vm_total"] == after["used_memory_vm_functions"] + after["used_memory_vm_eval"]
        assert after["used_memory_scripts"] == after["used_memory_functions"] + after["used_memory_scripts_eval"]
        for i in range(520):
            c.do("EVAL", "return %d" % i, "0")
        assert numbers()["evicted_scripts"] >= 19
        c.do("FUNCTION", "FLUSH"), c.do("SCRIPT", "FLUSH")
        after = numbers()
        assert after["number_of_functions"] == after["number_of_libraries"] == after["number_of_cached_scripts"] == 0


# ---- What lasts ----

LIBRARIES = {
    "one": library("one", "-- %s\nserver.register_function('f1', function(keys) return redis.call('incr', keys[1]) end)" % ("x" * 3000)),
    "two": library("two", "server.register_function{function_name='f2', description='d', flags={'no-writes'}, callback=function() return 2 end}"),
}
LOGGED = {"appendonly": "yes", "appendfsync": "always"}


def listed(c):
    return sorted([entry[1], entry[7], sorted(map(repr, entry[5]))] for entry in c.do("FUNCTION", "LIST", "WITHCODE"))


def fill(c, i=0):
    """Each way to come to a library, and to lose one."""
    load(c, library("gone", "server.register_function('g', function() return 1 end)"))
    load(c, LIBRARIES["one"].replace("incr", "decr"))
    dump = c.do("FUNCTION", "DUMP")
    c.do("FUNCTION", "FLUSH")
    assert c.do("FUNCTION", "RESTORE", dump) == "OK"
    assert c.do("FUNCTION", "DELETE", "gone") == "OK"
    load(c, LIBRARIES["one"]), load(c, LIBRARIES["two"])
    c.do("MULTI"), c.do("FUNCTION", "LOAD", library("three", "server.register_function('f3', function() return 3 end)"))
    c.do("SET", "{a}1", "x"), c.do("SET", "{b}1", "x"), c.do("SET", "{c}1", "x")
    assert c.do("EXEC") == [b"three", "OK", "OK", "OK"]
    assert c.do("FCALL", "f1", "1", "n") == 1
    return listed(c)


@pytest.mark.shoal_only
@pytest.mark.parametrize("log", [True, False], ids=["log", "snapshot"])
def test_they_are_there_after_a_crash(start_server, log):
    s = start_server(config=dict(LOGGED if log else {}))
    with s.raw() as c:
        before = fill(c)
        if not log:
            assert c.do("SAVE") == "OK"
    for round_ in range(2):
        s.kill()
        s.start_again()
        with s.raw() as c:
            assert listed(c) == before
            assert c.do("GET", "n") == b"%d" % (round_ + 1)
            assert c.do("FCALL", "f1", "1", "n") == round_ + 2
            assert [c.do("FCALL", f, "0") for f in ("f2", "f3")] == [2, 3]
            if log and round_ == 0:
                assert c.do("BGREWRITEAOF") is not None
                assert wait_for(lambda: s.info_of(c, "persistence")["aof_rewrite_in_progress"] == "0")
            elif not log:
                assert c.do("SAVE") == "OK"


@pytest.mark.shoal_only
def test_a_large_library_is_in_a_snapshot(start_server):
    """Larger than a frame of a snapshot may be: 4 MB."""
    s = start_server()
    text = "".join(random.choice("abcdefghij") for _ in range(100000)) * 95
    with s.raw() as c:
        load(c, library("large", "-- %s\nserver.register_function('f1', function() return 1 end)" % text))
        load(c, LIBRARIES["two"])
        c.do("SET", "k", "v")
        before = listed(c)
        assert c.do("SAVE") == "OK"
    s.kill()
    s.start_again()
    with s.raw() as c:
        assert listed(c) == before and c.do("FCALL", "f1", "0") == 1 and c.do("GET", "k") == b"v"


def test_reload(r):
    before = fill(r)
    digest = r.do("DEBUG", "DIGEST")
    assert r.do("DEBUG", "RELOAD") == "OK"
    assert listed(r) == before and r.do("DEBUG", "DIGEST") == digest
    load(r, library("four", "local n = 0 server.register_function('f4', function() n = n + 1 return n end)"))
    assert r.do("DEBUG", "DIGEST") == digest
    assert r.do("FCALL", "f4", "0") == 1
    assert isinstance(r.do("DEBUG", "RELOAD", "NOFLUSH"), RespError)
    assert r.do("DEBUG", "RELOAD", "NOFLUSH", "MERGE") == "OK"
    assert r.do("FCALL", "f4", "0") == 1
    assert r.do("DEBUG", "RELOAD") == "OK"
    assert r.do("FCALL", "f4", "0") == 1


@pytest.mark.shoal_only
def test_loadaof(start_server):
    s = start_server(config=LOGGED)
    with s.raw() as c:
        before = fill(c)
        assert c.do("DEBUG", "LOADAOF") == "OK"
        assert listed(c) == before
        assert c.do("FUNCTION", "FLUSH") == "OK"
        assert c.do("DEBUG", "LOADAOF") == "OK"
        assert listed(c) == []


@pytest.mark.shoal_only
@pytest.mark.parametrize("peer", ["valkey", "redis"])
def test_rdb_files_go_to_others_and_back(start_server, peer, tmp_path):
    path = find_peer(peer)
    if not path:
        pytest.skip("no %s-server" % peer)
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    text = library("one", "redis.register_function('f1', function() return 1 end)")
    s = start_server(config={"save-format": "rdb", "dir": str(here)})
    with s.raw() as c:
        load(c, text), c.do("SET", "k", "v")
        assert c.do("SAVE") == "OK"
        mine = c.do("FUNCTION", "DUMP")
    (there / "dump.rdb").write_bytes((here / "dump.rdb").read_bytes())
    other = Server(path, {"dir": str(there)}, kind=peer)
    other.start()
    try:
        with other.raw() as c:
            assert c.do("FCALL", "f1", "0") == 1 and c.do("GET", "k") == b"v"
            assert c.do("FUNCTION", "RESTORE", mine, "REPLACE") == "OK"
            theirs = c.do("FUNCTION", "DUMP")
            load(c, library("two", "redis.register_function('f2', function() return 2 end)"))
            assert c.do("SAVE") == "OK"
    finally:
        other.stop(check=False)
    back = tmp_path / "back"
    back.mkdir()
    (back / "dump.rdb").write_bytes((there / "dump.rdb").read_bytes())
    with start_server(config={"dir": str(back)}).raw() as c:
        assert [c.do("FCALL", "f%d" % i, "0") for i in (1, 2)] == [1, 2]
        assert c.do("FUNCTION", "RESTORE", theirs, "FLUSH") == "OK"
        assert [entry[7] for entry in c.do("FUNCTION", "LIST", "WITHCODE")] == [text.encode()]


def test_it_counts_as_a_change(start_server):
    s = start_server()
    with s.raw() as c:

        def changes():
            return int(s.info_of(c, "persistence")["rdb_changes_since_last_save"])

        before = changes()
        load(c, LIBRARIES["two"])
        dump = c.do("FUNCTION", "DUMP")
        c.do("FUNCTION", "DELETE", "two"), c.do("FUNCTION", "RESTORE", dump), c.do("FUNCTION", "FLUSH")
        assert changes() == before + 4
        c.do("FUNCTION", "DELETE", "two"), c.do("FUNCTION", "LOAD", "x"), c.do("FUNCTION", "RESTORE", "x")
        assert changes() == before + 4
