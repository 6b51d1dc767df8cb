# SPDX-License-Identifier: BSD-3-Clause
"""MONITOR: what is shown, how, in which order over all threads; secrets; how it ends.

Scenes run on any server.
"""

import itertools
import re
import socket
import threading

import pytest

from resp import Raw, RespError, encode
from server import wait_for

MARKS = itertools.count()
LINE = re.compile(r"^(\d+)\.(\d{6}) \[(\d+) ([^\]]*)\] (.*)$")


class Monitor:
    """A connection that monitors. Lines are read up to that of a mark that another connection sends."""

    def __init__(self, server, protocol="2"):
        self.server = server
        self.c = server.raw()
        if protocol == "3":
            self.c.do("HELLO", "3")
        assert self.c.do("MONITOR") == "OK"
        self.last = 0

    def read(self):
        line = self.c.read()
        seconds, micros, db, who, words = LINE.match(line).groups()
        at = int(seconds) * 1000000 + int(micros)
        assert at >= self.last, "time goes back"
        self.last = at
        return int(db), who, words

    def seen(self, marker):
        """What came before the line of a command that `marker` sends now."""
        mark = "mark-%d" % next(MARKS)
        marker.do("ECHO", mark)
        lines = []
        while True:
            line = self.read()
            if line[2] == '"ECHO" "%s"' % mark:
                return lines
            lines.append(line)


@pytest.fixture
def scene(server):
    opened = []

    def connect(protocol=None, **options):
        c = server.raw(**options)
        opened.append(c)
        if protocol:
            c.do("HELLO", protocol)
        return c

    def monitor(protocol="2"):
        m = Monitor(server, protocol)
        opened.append(m.c)
        return m

    connect.server, connect.monitor = server, monitor
    yield connect
    for c in opened:
        c.close()
    with server.raw() as c:
        assert wait_for(lambda: " flags=O" not in c.do("CLIENT", "LIST").decode())


def words(lines):
    """Without the marks of others."""
    return [line[2] for line in lines if "mark-" not in line[2]]


def shown(monitor, c, marker, *command):
    c.do(*command)
    return words(monitor.seen(marker))


def test_format(scene):
    c, marker = scene(), scene()
    m = scene.monitor()
    c.do("SET", "k", b'a\x00\xff"\\\n\r\t\a\b x\x7f')
    db, who, text = m.seen(marker)[0]
    assert (db, who) == (0, "%s:%d" % c.sock.getsockname()[:2])
    assert text == r'"SET" "k" "a\x00\xff\"\\\n\r\t\a\b x\x7f"'
    assert shown(m, c, marker, "get", "") == ['"get" ""']
    c.do("SELECT", "3")
    c.do("GET", "k")
    c.do("SELECT", "99999")
    c.do("SELECT", "0")
    assert [(line[0], line[2]) for line in m.seen(marker)] == [(3, '"SELECT" "3"'), (3, '"GET" "k"'), (3, '"SELECT" "99999"'), (0, '"SELECT" "0"')]


@pytest.mark.parametrize("protocol", ["2", "3"])
def test_what_is_shown(scene, protocol):
    c, marker = scene(), scene()
    m = scene.monitor(protocol)
    for command in (
        ["GET", "k"], ["MSET", "a", "1", "b", "2", "c", "3"], ["DBSIZE"], ["KEYS", "*"], ["PING"], ["INFO", "server"], ["CLIENT", "ID"],
        ["CLIENT", "SETNAME", "n"], ["CLIENT", "REPLY", "ON"], ["CLIENT", "NO-TOUCH", "on"], ["COMMAND", "COUNT"], ["OBJECT", "ENCODING", "a"],
        ["PUBLISH", "a", "b"], ["SPUBLISH", "a", "b"], ["PUBSUB", "CHANNELS"], ["LASTSAVE"], ["TIME"], ["TYPE", "a"], ["SWAPDB", "0", "1"],
        ["FLUSHALL"], ["FLUSHDB", "ASYNC"], ["INCR", "a"], ["LPUSH", "a", "wrong"], ["SCAN", "0"], ["LOLWUT"], ["DUMP", "k"], ["WATCH", "a", "b"],
        ["UNWATCH"], ["RENAME", "a", "b"], ["SINTERSTORE", "d", "e", "f"], ["DEL", "a", "b", "c"], ["SORT", "a"], ["EXEC"], ["DISCARD"], ["SETEX", "a", "x", "1"],
    ):  # fmt: skip
        assert shown(m, c, marker, *command) == [" ".join('"%s"' % word for word in command)], command


def test_what_is_not_shown(scene):
    c, marker = scene(), scene()
    m = scene.monitor()
    for command in (["NOSUCH"], ["GET"], ["CONFIG", "GET", "maxmemory"], ["CONFIG", "SET", "maxmemory", "0"], ["CLIENT", "LIST"],
                    ["CLIENT", "KILL", "ID", "9999"], ["CLIENT", "NO-EVICT", "on"], ["CLIENT", "PAUSE", "0"], ["CLIENT", "UNPAUSE"], ["SHUTDOWN", "ABORT"]):  # fmt: skip
        assert shown(m, c, marker, *command) == [], command
    other = scene.monitor()
    assert other.c.do("PING") == "PONG" and words(m.seen(marker)) == ['"PING"']


def test_secrets(scene):
    c, marker = scene(), scene()
    m = scene.monitor()
    for command, text in (
        ("AUTH pw", '"AUTH" "(redacted)"'),
        ("AUTH default pw", '"AUTH" "(redacted)" "(redacted)"'),
        ("HELLO 2 AUTH default pw", '"HELLO" "2" "AUTH" "(redacted)" "(redacted)"'),
        ("HELLO 2 SETNAME auth AUTH default pw", '"HELLO" "2" "SETNAME" "auth" "AUTH" "(redacted)" "(redacted)"'),
        ("HELLO 2 SETNAME n", '"HELLO" "2" "SETNAME" "n"'),
        ("MIGRATE 127.0.0.1 1 k 0 100 AUTH pw", '"MIGRATE" "127.0.0.1" "1" "k" "0" "100" "AUTH" "(redacted)"'),
        ("MIGRATE 127.0.0.1 1 k 0 100 COPY AUTH2 u pw REPLACE", '"MIGRATE" "127.0.0.1" "1" "k" "0" "100" "COPY" "AUTH2" "(redacted)" "(redacted)" "REPLACE"'),
        ("CONFIG SET requirepass ", None),
    ):
        assert shown(m, c, marker, *command.split(" ")) == ([text] if text else []), command
    c.do("MULTI")
    c.do("AUTH", "pw")
    c.do("EXEC")
    assert words(m.seen(marker)) == ['"MULTI"', '"AUTH" "(redacted)"', '"EXEC"']


def test_transactions(scene):
    c, marker = scene(), scene()
    m = scene.monitor()
    for queue, then in (
        (["SET a 1", "GET a"], ["SET a 1", "GET a"]),  # one shard
        (["SET a 1", "SET b 1", "SET c 1", "SET d 1", "MGET a b c d"],) * 2,  # several
        (["CONFIG GET port", "PING", "DBSIZE"], ["PING", "DBSIZE"]),
        (["BLPOP none 0"],) * 2,
        ([], []),
    ):
        c.do("MULTI")
        for command in queue:
            assert c.do(*command.split()) == "QUEUED"
        c.do("exec")
        assert words(m.seen(marker)) == ['"MULTI"'] + [" ".join('"%s"' % word for word in one.split()) for one in then] + ['"exec"']
    c.send(b"".join(encode(*one.split()) for one in ("MULTI", "SELECT 2", "GET a", "SELECT 0", "EXEC")))
    c.read_some(5)
    assert [(line[0], line[2]) for line in m.seen(marker)] == [(0, '"MULTI"'), (2, '"SELECT" "2"'), (2, '"GET" "a"'), (0, '"SELECT" "0"'), (0, '"EXEC"')]
    c.send(b"".join(encode(*one.split()) for one in ("WATCH a", "SET a 2", "MULTI", "GET a", "EXEC", "MULTI", "NOSUCH", "EXEC")))
    c.read_some(8)
    assert words(m.seen(marker)) == ['"WATCH" "a"', '"SET" "a" "2"', '"MULTI"', '"EXEC"', '"MULTI"', '"EXEC"']


def test_scripts(scene):
    """Wherever their keys lie, and also one that looks for keys that it does not name: once."""
    c, marker = scene(), scene()
    m = scene.monitor()
    for keys in ([], ["a"], ["a", "b", "c", "d"]):
        command = ["EVAL", "for i = 1, 4 do redis.call('set', 'k' .. i, i) end", str(len(keys)), *keys]
        c.do(*command)
        lines = m.seen(marker)
        assert lines[0][2] == " ".join('"%s"' % word for word in command) and lines[0][1] != "lua"
        assert lines[1:] == [(0, "lua", '"set" "k%d" "%d"' % (i, i)) for i in range(1, 5)]
    c.do("EVALSHA", "0" * 40, "0")
    assert words(m.seen(marker)) == ['"EVALSHA" "%s" "0"' % ("0" * 40)]


def test_what_scripts_call(scene):
    """What is done, in whichever database; not what is refused, nor what is for administrators."""
    c, marker = scene(), scene()
    m = scene.monitor()
    c.do("EVAL", "redis.call('SELECT', 3) redis.call('GET', KEYS[1]) redis.pcall('nosuch') redis.pcall('get') "
                 "redis.pcall('lpush', KEYS[1]) redis.call('PUBLISH', 'c', 'x') redis.call('LASTSAVE') return redis.call('ECHO', 'e')", "1", "a")
    called = ['"SELECT" "3"', '"GET" "a"', '"PUBLISH" "c" "x"', '"LASTSAVE"', '"ECHO" "e"']
    assert m.seen(marker)[1:] == [(3, "lua", line) for line in called]
    c.do("MULTI"), c.do("EVAL", "return redis.call('INCR', KEYS[1])", "1", "b"), c.do("EXEC")
    assert [line[2] for line in m.seen(marker) if line[1] == "lua"] == ['"INCR" "b"']
    c.do("FUNCTION", "LOAD", "REPLACE", "#!lua name=told\nserver.register_function('calls', function(keys) return server.call('incr', keys[1]) end)")
    m.seen(marker)
    c.do("FCALL", "calls", "1", "b")
    assert words(m.seen(marker)) == ['"FCALL" "calls" "1" "b"', '"incr" "b"']


def test_who_waits_is_shown_once(scene):
    c, marker = scene(), scene()
    m = scene.monitor()
    for command in (["BLPOP", "l1", "l2", "l3", "0"], ["BLMOVE", "l1", "other", "LEFT", "LEFT", "0"], ["BRPOP", "l1", "0"]):
        c.send(encode(*command))
        assert wait_for(lambda: "blocked_clients:1\r" in marker.do("INFO", "clients").decode())
        text = " ".join('"%s"' % word for word in command)
        assert [one for one in words(m.seen(marker)) if "INFO" not in one] == [text]
        marker.do("RPUSH", "l1", "v")
        c.read()
        assert words(m.seen(marker)) == ['"RPUSH" "l1" "v"']


def test_a_monitor_is_a_client(scene):
    c, marker = scene(), scene()
    m = scene.monitor()
    refusal = RespError("ERR Replica can't interact with the keyspace")
    for command in ("GET k", "SET k 1", "KEYS *", "DBSIZE", "FLUSHALL", "PUBLISH a 1", "MSET a 1 b 2", "RANDOMKEY"):
        assert m.c.do(*command.split()) == refusal, command
    assert m.c.do("PING") == "PONG" and words(m.seen(marker)) == ['"PING"']
    reply = m.c.do("INFO", "clients")
    assert reply.startswith(b"# Clients") and words(m.seen(marker)) == ['"INFO" "clients"']
    m.c.send(encode("MONITOR"))  # is not answered
    assert m.c.do("ECHO", "x") == b"x" and words(m.seen(marker)) == ['"ECHO" "x"']
    line = next(one for one in marker.do("CLIENT", "LIST").decode().splitlines() if "cmd=echo" in one and " flags=O " in one)
    assert " flags=O " in line and "%s:%d" % m.c.sock.getsockname()[:2] in line
    assert any(" flags=O " in one for one in marker.do("CLIENT", "LIST", "TYPE", "normal").decode().splitlines())
    assert m.c.do("SELECT", "1") == "OK"
    assert [(line[0], line[2]) for line in m.seen(marker)] == [(1, '"SELECT" "1"')]


def test_in_exec_it_is_refused(scene):
    c = scene()
    c.send(encode("MULTI") + encode("MONITOR") + encode("PING") + encode("EXEC"))
    assert c.read_some(4)[-1] == [RespError("ERR MONITOR isn't allowed for DENY BLOCKING client"), "PONG"]
    assert c.do("SET", "k", "1") == "OK"


@pytest.mark.parametrize("end", ["RESET", "QUIT", "close", "kill"])
def test_how_it_ends(scene, end):
    c, marker = scene(), scene()
    other = scene.monitor()
    m = scene.monitor()
    c.do("SET", "k", "1")
    assert words(other.seen(marker)) == ['"SET" "k" "1"'] and words(m.seen(marker)) == ['"SET" "k" "1"']
    if end == "RESET":
        assert m.c.do("RESET") == "RESET"
        c.do("SET", "k", "2")
        assert m.c.do("GET", "k") == b"2" and m.c.do("PING") == "PONG"
        assert " flags=O " not in m.c.do("CLIENT", "INFO").decode()
    elif end == "QUIT":
        assert m.c.do("QUIT") == "OK" and m.c.is_closed()
    elif end == "close":
        m.c.close()
    else:
        marker.do("CLIENT", "KILL", "ADDR", "%s:%d" % m.c.sock.getsockname()[:2])
        assert m.c.is_closed()
    assert wait_for(lambda: marker.do("CLIENT", "LIST").decode().count(" flags=O ") == 1)
    other.seen(marker)
    c.do("SET", "k", "3")
    assert words(other.seen(marker)) == ['"SET" "k" "3"']
    assert other.c.do("RESET") == "RESET" and c.do("SET", "k", "4") == "OK" and other.c.do("GET", "k") == b"4"


def test_replies_off_are_lines_off(scene):
    c = scene()
    m = scene.monitor()
    m.c.send(encode("CLIENT", "REPLY", "OFF"))
    assert wait_for(lambda: "reply" in c.do("CLIENT", "LIST").decode())
    for n in range(20):
        c.do("SET", "k", "1")
    m.c.send(encode("CLIENT", "REPLY", "ON"))
    assert m.c.read() == "OK"


def test_one_that_does_not_read_is_closed(server):
    with server.raw() as c:
        old = c.do("CONFIG", "GET", "client-output-buffer-limit")[1]
        c.do("CONFIG", "SET", "client-output-buffer-limit", "normal 1000000 0 0")
        m = server.raw()
        m.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        assert m.do("MONITOR") == "OK"
        for _ in range(200):
            c.do("SET", "k", "x" * 100000)
        assert wait_for(lambda: " flags=O " not in c.do("CLIENT", "LIST").decode())
        c.do("CONFIG", "SET", "client-output-buffer-limit", old)
        m.close()


def test_one_order(scene):
    """Counters: each INCR is answered with its place, and lines come in that order, for all who look; of each client in its order."""
    server, threads, each, keys = scene.server, 6, 150, 3
    monitors = [scene.monitor() for _ in range(3)]
    answers = {}

    def work(n):
        with server.raw() as c:
            for i in range(each):
                key = "n%d" % (i % keys)
                if i % 5 == 4:  # both, over shards
                    c.send(encode("MULTI") + encode("INCR", key) + encode("INCR", "both") + encode("ECHO", "%d-%d" % (n, i)) + encode("EXEC"))
                    got = c.read_some(5)[-1]
                    answers[n, i] = (key, got[0])
                else:
                    c.send(encode("INCRBY", key, "1") + encode("GET", key) + encode("ECHO", "%d-%d" % (n, i)))
                    answers[n, i] = (key, c.read_some(3)[0])

    many = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    for one in many:
        one.start()
    for one in many:
        one.join()
    marker = scene()
    seen = [m.seen(marker) for m in monitors]
    plain = [[(line[1], line[2]) for line in lines if "mark-" not in line[2]] for lines in seen]
    assert plain[0] == plain[1] == plain[2]
    counts, marks, last = {}, {}, {}
    for who, text in plain[0]:
        parts = text.replace('"', "").split()
        if parts[0] in ("INCR", "INCRBY"):
            counts[parts[1]] = counts.get(parts[1], 0) + 1
            last.setdefault(who, []).append((parts[1], counts[parts[1]]))
        elif parts[0] == "ECHO":
            n, i = map(int, parts[1].split("-"))
            assert marks.get(n, -1) == i - 1, "the order of a client"
            marks[n] = i
            mine = [one for one in last.pop(who) if one[0] != "both"]
            assert mine == [answers[n, i]], "the order of all"
    assert len(marks) == threads and counts["both"] == threads * (each // 5)


def test_unix_sockets(start_server, tmp_path):
    path = str(tmp_path / "s")
    server = start_server(unixsocket=path)
    with Raw(path) as c, server.raw() as tcp:
        m = Monitor(server)
        assert c.do("SET", "k", "1") == "OK" and c.do("QUIT") == "OK"
        assert [line[1:] for line in m.seen(tcp)] == [("unix:" + path, '"SET" "k" "1"'), ("unix:" + path, '"QUIT"')]
        m.c.close()
