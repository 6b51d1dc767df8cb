# SPDX-License-Identifier: BSD-3-Clause
"""A script that runs for long: others are told so, it can be ended, and what else is asked of its shard waits or is refused."""

import signal
import threading

import pytest

from conftest import connect
from resp import NULL_ARRAY, RespError, encode
from server import wait_for

BUSY = "BUSY Valkey is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
LOOP = "while true do end"
UNTIL_STOP = "while redis.call('GET', KEYS[1]) ~= 'stop' do end return 'over'"
ALLOWED = [
    ["SELECT", "1"], ["SELECT", "0"], ["CLIENT", "GETNAME"], ["CLIENT", "SETNAME", "x"], ["CLIENT", "ID"],
    ["CLIENT", "NO-TOUCH", "off"], ["MULTI"], ["DISCARD"], ["UNWATCH"], ["HELLO"], ["RESET"],
]
REFUSED = [
    ["PING"], ["GET", "a"], ["MSET", "a", "1", "b", "2", "c", "3"], ["INFO"], ["CLIENT", "LIST"], ["CONFIG", "GET", "port"],
    ["EVAL", "return 1", "0"], ["SCRIPT", "LOAD", "return 1"], ["SUBSCRIBE", "c"], ["SHUTDOWN"], ["SHUTDOWN", "SAVE"],
    ["BLPOP", "q", "0"], ["FLUSHALL"], ["DBSIZE"], ["SCRIPT", "EXISTS", "aa"], ["ECHO", "x"],
]


@pytest.fixture
def busy_server(start_server):
    return start_server(busy_reply_threshold=50)


def ask(c, *words):
    reply = c.do(*words)
    return str(reply) if isinstance(reply, RespError) else reply


def is_busy(c):
    return str(c.do("PING")).startswith("BUSY")


class Script:
    """One that runs on a connection of its own."""

    def __init__(self, server, *words):
        self.c = server.raw(timeout=60)
        self.c.send(encode(*words))

    def end(self):
        reply = self.c.read()
        self.c.close()
        return str(reply) if isinstance(reply, RespError) else reply


def kill(c):
    assert wait_for(lambda: ask(c, "SCRIPT", "KILL") == "OK")


def others(server, n=8):
    """Connections of all threads."""
    return [server.raw(timeout=60) for _ in range(n)]


def test_others_are_told(busy_server):
    clients = others(busy_server)
    script = Script(busy_server, "EVAL", LOOP, "0")
    for c in clients:
        assert wait_for(lambda: is_busy(c))
        for words in REFUSED:
            assert ask(c, *words) == BUSY, words
        for words in ALLOWED:
            assert not str(ask(c, *words)).startswith("BUSY"), words
        assert ask(c, "NOSUCH").startswith("ERR unknown command")
        assert ask(c, "GET").startswith("ERR wrong number")
        c.send(b"".join(encode("SET", "k%d" % i, "v") for i in range(300)))
        assert [str(c.read()) for _ in range(300)] == [BUSY] * 300
    late = busy_server.raw()  # whoever comes only now
    assert ask(late, "PING") == BUSY
    kill(clients[0])
    assert script.end() == "ERR Script killed by user with SCRIPT KILL. script: on @user_script:1."
    for c in [*clients, late]:
        assert c.do("PING") == "PONG"
        assert c.do("SET", "a", "1") == "OK"
    assert ask(clients[0], "SCRIPT", "KILL") == "NOTBUSY No scripts in execution right now."


def test_transactions_meanwhile(busy_server):
    queued, begun, watching = others(busy_server, 3)
    queued.do("MULTI")
    assert queued.do("SET", "a", "1") == "QUEUED"
    watching.do("WATCH", "a")
    script = Script(busy_server, "EVAL", LOOP, "0")
    for c in (queued, begun):
        assert wait_for(lambda: "BUSY" in str(ask(c, "SCRIPT", "EXISTS", "aa")))
    assert ask(queued, "EXEC") == "EXECABORT Transaction discarded because of: " + BUSY
    assert begun.do("MULTI") == "OK"
    assert ask(begun, "SET", "a", "1") == BUSY
    assert ask(begun, "EXEC") == "EXECABORT Transaction discarded because of: " + BUSY
    kill(begun)
    script.end()
    assert begun.do("SET", "a", "2") == "OK"
    watching.do("MULTI")
    watching.do("SET", "a", "3")
    assert watching.do("EXEC") is NULL_ARRAY
    assert begun.do("GET", "a") == b"2"


@pytest.mark.timing
def test_who_has_written_is_not_killed(busy_server):
    """But ends by itself; what is asked of its shard by other threads is refused, what waits is done then."""
    c = busy_server.raw(timeout=60)
    script = Script(busy_server, "EVAL", "redis.call('SET', KEYS[1], '1') local t = os.clock() "
                    "while os.clock() - t < 4 do end return redis.call('INCR', KEYS[1])", "1", "k")
    assert wait_for(lambda: is_busy(c))
    assert ask(c, "SCRIPT", "KILL").startswith("UNKILLABLE Sorry the script already executed write commands")
    assert script.end() == 2
    assert wait_for(lambda: ask(c, "GET", "k") == b"2")


def test_on_its_shard(busy_server, shards):
    """One that is known to keep to its keys: other shards serve their clients."""
    r = connect(busy_server)
    body = "if ARGV[1] == 'go' then while true do end end return redis.call('GET', KEYS[1])"
    for _ in range(3):
        r.eval(body, 1, "{k}", "no")
    clients = others(busy_server, 12)
    script = Script(busy_server, "EVAL", body, "1", "{k}", "go")
    probe = clients[0]
    assert wait_for(lambda: any("BUSY" in str(ask(c, "GET", "{k}")) for c in clients))
    for c in clients:
        assert ask(c, "GET", "{k}") == BUSY  # wherever its client is
    if shards > 1:
        assert any(ask(c, "SET", "x%d" % i, "1") == "OK" for c in clients for i in range(16))
    waits = busy_server.raw(timeout=60)
    waits.send(encode("MSET", "{k}", "new", "x1", "new", "x2", "new", "x3", "new"))
    kill(probe)
    assert "killed by user" in script.end()
    assert str(waits.read()) in ("OK", BUSY)
    for c in clients:
        assert not is_busy(c)


def test_nobody_catches_its_end(busy_server):
    c = busy_server.raw(timeout=60)
    for body in ("while true do pcall(function() while true do redis.call('PING') end end) end",
                 "local f = coroutine.wrap(function() while true do end end) while true do pcall(f) end",
                 "pcall(function() while true do end end) redis.call('SET', KEYS[1], 'x') return 1"):
        script = Script(busy_server, "EVAL", body, "1", "caught")
        kill(c)
        assert "Script killed by user" in script.end()
        assert c.do("EXISTS", "caught") == 0


def test_in_a_transaction_and_a_pipeline(busy_server):
    c = busy_server.raw(timeout=60)
    script = busy_server.raw(timeout=60)
    script.send(encode("MULTI") + encode("SET", "a", "1") + encode("EVAL", LOOP, "0") + encode("SET", "b", "1") + encode("EXEC")
                + encode("EVAL", LOOP, "0") + encode("GET", "b"))
    kill(c)
    assert [script.read() for _ in range(4)] == ["OK", "QUEUED", "QUEUED", "QUEUED"]
    replies = script.read()
    assert replies[0] == "OK" and "killed" in str(replies[1]) and replies[2] == "OK"
    kill(c)
    assert "killed" in str(script.read())
    assert script.read() == b"1"


def test_clients_come_and_go_meanwhile(busy_server):
    clients = others(busy_server)
    clients[0].do("SUBSCRIBE", "c")
    clients[1].do("WATCH", "a", "b", "c", "d")
    clients[2].send(encode("BLPOP", "q", "0"))
    clients[3].send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10000000\r\nhalf")
    assert wait_for(lambda: connect(busy_server).info("clients")["blocked_clients"] == 1)
    script = Script(busy_server, "EVAL", LOOP, "0")
    probe = busy_server.raw(timeout=60)
    assert wait_for(lambda: is_busy(probe))
    for c in clients[:6]:
        c.close()
    script.c.close()
    for _ in range(50):
        with busy_server.raw() as c:
            assert is_busy(c)
    kill(probe)
    assert wait_for(lambda: not is_busy(probe))
    assert wait_for(lambda: connect(busy_server).info("clients")["blocked_clients"] == 0)
    assert probe.do("SET", "a", "1") == "OK"


def test_shutdown_in_the_middle(start_server):
    s = start_server(busy_reply_threshold=50)
    c = s.raw(timeout=60)
    script = Script(s, "EVAL", "redis.call('SET', KEYS[1], '1') while true do end", "1", "k")
    assert wait_for(lambda: is_busy(c))
    assert ask(c, "SHUTDOWN") == BUSY
    c.send(encode("SHUTDOWN", "NOSAVE"))
    s.stopped_by_test = True
    assert s.wait() == 0
    script.c.close()


def test_a_signal_ends_one_that_has_not_written(start_server):
    s = start_server(busy_reply_threshold=50)
    c = s.raw(timeout=60)
    Script(s, "EVAL", LOOP, "0")
    assert wait_for(lambda: is_busy(c))
    s.stopped_by_test = True
    s.proc.send_signal(signal.SIGTERM)
    assert s.wait() == 0


def test_with_a_log(start_server):
    """What was done before it is safe, and its clients are told so, while it runs; nothing of a killed one is."""
    s = start_server(busy_reply_threshold=50, appendonly="yes", appendfsync="always")
    c = s.raw(timeout=60)
    stop = threading.Event()
    written = []

    def write():
        with s.raw(timeout=60) as w:
            i = 0
            while not stop.is_set():
                if ask(w, "SET", "w%d" % i, "1") == "OK":
                    written.append(i)
                i += 1

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(3):
        script = Script(s, "EVAL", LOOP, "0")
        kill(c)
        assert "killed" in script.end()
    stop.set()
    writer.join()
    assert len(written) > 0
    s.kill()
    s.start_again()
    r = connect(s)
    assert all(r.exists("w%d" % i) for i in written)


@pytest.mark.parametrize("fsync", ("always", "everysec"))
@pytest.mark.parametrize("words", (
    [["EVAL", LOOP, "0"]],
    [["MULTI"], ["SET", "a", "1"], ["EVAL", LOOP, "0"], ["EXEC"]],
    [["EVAL", "redis.call('GET', KEYS[1]) " + LOOP, "1", "a"]],
), ids=("alone", "exec", "one-key"))
def test_with_a_log_others_are_told(start_server, words, fsync):
    """A number in the logs was drawn before the script ran, and everybody's replies waited for it."""
    s = start_server(busy_reply_threshold=50, appendonly="yes", appendfsync=fsync)
    clients = others(s)
    for i, c in enumerate(clients):
        assert c.do("SET", "w%d" % i, "1") == "OK"
    script = s.raw(timeout=60)
    script.send(b"".join(encode(*w) for w in words))
    assert wait_for(lambda: any(is_busy(c) for c in clients))
    if words[0][-1] == "0":
        for c in clients:
            assert wait_for(lambda: is_busy(c))
    kill(clients[0])
    for w in words[:-1]:
        assert str(script.read()) in ("OK", "QUEUED"), w
    assert "killed" in str(script.read())
    script.close()
    assert all(c.do("SET", "w%d" % i, "2") == "OK" for i, c in enumerate(clients))


@pytest.mark.parametrize("body, keys", [
    ("redis.call('SET', KEYS[1], 'half') while true do end", ["{k}1"]),
    ("redis.call('SET', KEYS[1], 'half') redis.call('SET', KEYS[2], 'half') while true do end", ["{k}1", "{l}1"]),
])
def test_half_a_script_is_not_in_the_log(start_server, body, keys):
    """Its turns in the middle write what others have done before it, and nothing of its own."""
    s = start_server(busy_reply_threshold=50, appendonly="yes", appendfsync="always")
    clients = others(s)
    script = Script(s, "EVAL", body, str(len(keys)), *keys)
    assert wait_for(lambda: any(ask(c, "SCRIPT", "KILL").startswith("UNKILLABLE") for c in clients))
    s.kill()
    script.c.close()
    s.start_again()
    assert connect(s).exists(*keys) == 0


def test_functions_are_killed_as_functions(busy_server):
    c = busy_server.raw(timeout=60)
    assert ask(c, "FUNCTION", "KILL") == "NOTBUSY No scripts in execution right now."
    library = "#!lua name=lib\nredis.register_function('f', function(keys, args) while true do end end)"
    assert c.do("FUNCTION", "LOAD", library) == b"lib"
    busy = BUSY.replace("SCRIPT", "FUNCTION")
    function = Script(busy_server, "FCALL", "f", "0")
    assert wait_for(lambda: ask(c, "SCRIPT", "KILL") == busy)
    assert wait_for(lambda: ask(c, "FUNCTION", "KILL") == "OK")
    assert "Script killed by user with FUNCTION KILL" in function.end()
    script = Script(busy_server, "EVAL", LOOP, "0")
    assert wait_for(lambda: ask(c, "FUNCTION", "KILL") == BUSY)
    kill(c)
    assert "Script killed by user with SCRIPT KILL" in script.end()


def test_a_script_behind_what_waits(busy_server):
    """In one read: the script does not run before what its client waits with is over."""
    with busy_server.raw(timeout=30) as c, busy_server.raw() as other:
        for i in range(40):
            key = "q%d" % i
            c.send(encode("BLPOP", key, "0") + encode("EVAL", "return redis.call('INCR', KEYS[1])", "1", "n") + encode("PING"))
            assert wait_for(lambda: int(busy_server.info("clients")["blocked_clients"]) == 1)
            assert other.do("RPUSH", key, "v") == 1
            assert c.read_some(3) == [[key.encode(), b"v"], i + 1, "PONG"]


LIBRARY = """#!lua name=lib
server.register_function('MyF', function(keys) while server.call('GET', keys[1]) ~= 'stop' do end return 'over' end)
server.register_function{function_name='looks', callback=function() while true do end end, flags={'no-writes'}}"""


def test_function_stats_names_what_runs(start_server):
    server = start_server(busy_reply_threshold=50)
    clients = others(server)
    assert clients[0].do("FUNCTION", "LOAD", LIBRARY) == b"lib"
    engines = [b"LUA", [b"libraries_count", 1, b"functions_count", 2]]
    assert clients[0].do("FUNCTION", "STATS") == [b"running_script", None, b"engines", engines]
    function = Script(server, "FCALL", "myf", "1", "k", "a word")
    for c in clients:
        assert wait_for(lambda: ask(c, "FUNCTION", "STATS")[1] is not None)
        what, running, _, found = c.do("FUNCTION", "STATS")
        assert (what, found) == (b"running_script", engines)
        assert running[:4] == [b"name", b"MyF", b"command", [b"FCALL", b"myf", b"1", b"k", b"a word"]]
        assert running[4] == b"duration_ms" and 50 <= running[5] < 600000
    assert wait_for(lambda: ask(clients[1], "FUNCTION", "KILL") == "OK")
    assert function.end().startswith("ERR Script killed by user with FUNCTION KILL.")
    assert clients[2].do("FUNCTION", "STATS") == [b"running_script", None, b"engines", engines]
    script = Script(server, "EVAL", LOOP, "0")
    assert wait_for(lambda: ask(clients[3], "FUNCTION", "STATS") == BUSY)
    kill(clients[0])
    script.end()
    assert clients[0].do("FUNCTION", "STATS")[1] is None
