# SPDX-License-Identifier: BSD-3-Clause
"""SLOWLOG and COMMANDLOG: what is logged, how words are shown, whose it was; one log over all shards.

Scenes run on any server.
"""

import threading
import time

import pytest

from resp import RespError, encode
from server import wait_for

SLOW, REQUEST, REPLY = "slow", "large-request", "large-reply"
FROM = {
    SLOW: "commandlog-execution-slower-than",
    REQUEST: "commandlog-request-larger-than",
    REPLY: "commandlog-reply-larger-than",
}
LEN = {SLOW: "commandlog-slow-execution-max-len", REQUEST: "commandlog-large-request-max-len", REPLY: "commandlog-large-reply-max-len"}


class Log:
    """What one log has since the scene began, asked for by a connection whose own commands are left out."""

    def __init__(self, server, kind, limit):
        self.c, self.kind = server.raw(), kind
        for other in (SLOW, REQUEST, REPLY):
            assert self.c.do("CONFIG", "SET", FROM[other], "-1") == "OK"
        assert self.c.do("COMMANDLOG", "RESET", kind) == "OK"
        self.set(limit)

    def set(self, limit):
        assert self.c.do("CONFIG", "SET", FROM[self.kind], str(limit)) == "OK"

    def entries(self):
        """Oldest first, without this connection's."""
        me = ("%s:%d" % self.c.sock.getsockname()[:2]).encode()
        entries = self.c.do("COMMANDLOG", "GET", "-1", self.kind)
        assert [e[0] for e in entries] == sorted((e[0] for e in entries), reverse=True)
        return [e for e in reversed(entries) if e[4] != me]

    def words(self):
        return [e[3] for e in self.entries()]

    def close(self):
        for kind in (SLOW, REQUEST, REPLY):
            self.c.do("CONFIG", "SET", FROM[kind], "10000" if kind == SLOW else "1048576", LEN[kind], "128")
        self.c.close()


@pytest.fixture
def scene(server):
    opened = []

    def connect():
        opened.append(server.raw(timeout=30))
        return opened[-1]

    def log(kind, limit):
        opened.append(Log(server, kind, limit))
        return opened[-1]

    connect.server, connect.log = server, log
    with server.raw() as c:
        c.do("FLUSHALL")
    yield connect
    for c in opened:
        c.close()


def texts(*words):
    return [w.encode() for w in words]


def test_entry(scene):
    log, c = scene.log(SLOW, 200000), scene()
    assert c.do("CLIENT", "SETNAME", "someone") == "OK"
    assert c.do("SET", "k", "v") == "OK"
    before = int(time.time())
    assert c.do("DEBUG", "SLEEP", "0.25") == "OK"
    after = int(time.time())
    (entry,) = log.entries()
    number, at, micros, words, who, name = entry
    assert before <= at <= after
    assert 250000 <= micros < 30000000
    assert words == texts("DEBUG", "SLEEP", "0.25")
    assert who.decode() == "%s:%d" % c.sock.getsockname()[:2]
    assert name == b"someone"
    assert log.c.do("SLOWLOG", "LEN") == 1 == log.c.do("COMMANDLOG", "LEN", "Slow")
    assert log.c.do("SLOWLOG", "GET") == [entry] == log.c.do("SLOWLOG", "GET", "1") == log.c.do("COMMANDLOG", "GET", "5", "SLOW")
    assert log.c.do("SLOWLOG", "GET", "0") == []
    assert log.c.do("COMMANDLOG", "LEN", REQUEST) == 0 == log.c.do("COMMANDLOG", "LEN", REPLY)
    assert log.c.do("SLOWLOG", "RESET") == "OK"
    assert log.entries() == []
    assert c.do("DEBUG", "SLEEP", "0.25") == "OK"
    assert log.entries()[0][0] > number


def test_words_are_trimmed(scene):
    log, c = scene.log(SLOW, 0), scene()
    c.do("SET", "k", "x" * 128)
    c.do("SET", "k", "x" * 129)
    c.do("SET", "k", "x" * 100000)
    c.do("SADD", "s", *map(str, range(30)))
    c.do("SADD", "s", *map(str, range(31)))
    c.do("SADD", "s", *map(str, range(1000)))
    expected = [
        ["SET", "k", "x" * 128],
        ["SET", "k", "x" * 128 + "... (1 more bytes)"],
        ["SET", "k", "x" * 128 + "... (99872 more bytes)"],
        ["SADD", "s"] + [str(i) for i in range(30)],
        ["SADD", "s"] + [str(i) for i in range(29)] + ["... (2 more arguments)"],
        ["SADD", "s"] + [str(i) for i in range(29)] + ["... (971 more arguments)"],
    ]
    assert log.words() == [texts(*words) for words in expected]


def test_secrets(scene):
    log, c = scene.log(SLOW, 0), scene()
    c.do("AUTH", "one", "two")
    c.do("HELLO", "3", "AUTH", "default", "none", "SETNAME", "me")
    c.do("CONFIG", "SET", "maxmemory", "0", "masterauth", "secret", "tls-key-file-pass", "")
    c.do("CONFIG", "SET", "MASTERAUTH", "")
    c.do("MIGRATE", "127.0.0.1", "1", "nokey", "0", "10", "AUTH", "secret")
    assert log.words() == [
        texts("AUTH", "(redacted)", "(redacted)"),
        texts("HELLO", "3", "AUTH", "(redacted)", "(redacted)", "SETNAME", "me"),
        texts("CONFIG", "SET", "maxmemory", "0", "masterauth", "(redacted)", "tls-key-file-pass", "(redacted)"),
        texts("CONFIG", "SET", "MASTERAUTH", "(redacted)"),
        texts("MIGRATE", "127.0.0.1", "1", "nokey", "0", "10", "AUTH", "(redacted)"),
    ]


def test_every_way_to_run(scene):
    """Keys here and elsewhere, over shards, at home, asked of all, in MULTI, blocked, refused."""
    log, c = scene.log(SLOW, 0), scene()
    keys = ["k%d" % i for i in range(24)]
    commands = [["SET", key, "v"] for key in keys]
    commands += [["MGET"] + keys, ["MSET"] + sum(([k, "w"] for k in keys), []), ["DBSIZE"], ["KEYS", "no*"], ["PING"], ["INFO", "server"]]
    commands += [["LPUSH", keys[0], "wrong"], ["CLIENT", "ID"], ["RENAME", keys[0], keys[1]], ["SINTERSTORE", "d"] + keys[2:4]]
    for command in commands:
        try:
            c.do(*command)
        except RespError:
            pass
    c.do("GET")  # refused: it did not run
    c.do("NOSUCH", "x")
    assert log.words() == [texts(*trimmed(command)) for command in commands]


def trimmed(command):
    return command if len(command) <= 32 else command[:31] + ["... (%d more arguments)" % (len(command) - 31)]


def test_multi(scene):
    log, c = scene.log(SLOW, 0), scene()
    for keys in (["a{1}", "b{1}"], ["a", "b", "c", "d", "e"]):
        commands = [["SET", key, "v"] for key in keys] + [["DBSIZE"]]
        log.c.do("SLOWLOG", "RESET")
        c.do("MULTI")
        for command in commands:
            assert c.do(*command) == "QUEUED"
        c.do("EXEC")
        assert log.words() == [texts("MULTI")] + [texts(*command) for command in commands]


def test_scripts(scene):
    log, c = scene.log(SLOW, 0), scene()
    script = "redis.call('set', KEYS[1], 'v') return redis.call('get', KEYS[1])"
    assert c.do("EVAL", script, "1", "k") == b"v"
    assert log.words() == [texts("set", "k", "v"), texts("get", "k"), texts("EVAL", script, "1", "k")]
    assert {e[4] for e in log.entries()} == {("%s:%d" % c.sock.getsockname()[:2]).encode()}


@pytest.mark.parametrize("keys", [["q"], ["q1", "q2", "q3", "q4", "q5"]])
def test_blocked_time_is_not_counted(scene, keys):
    log, c, other = scene.log(SLOW, 0), scene(), scene()
    waits = ["BLPOP"] + keys + ["0"]
    c.send(encode(*waits))
    assert wait_for(lambda: int(scene.server.info("clients")["blocked_clients"]) == 1)
    time.sleep(1)
    log.c.do("SLOWLOG", "RESET")
    assert log.words() == []
    other.do("RPUSH", keys[-1], "x")
    assert c.read() == [keys[-1].encode(), b"x"]
    entries = log.entries()
    assert sorted(e[3] for e in entries) == sorted([texts(*waits), texts("RPUSH", keys[-1], "x")])
    assert all(e[2] < 1000000 for e in entries)
    c.do("BLPOP", *keys, "0.02")
    assert log.words()[-1] == texts("BLPOP", *keys, "0.02")


def test_large_requests(scene):
    log, c = scene.log(REQUEST, 1000), scene()
    large = [["SET", "k", "x" * 1000], ["SET", "k", "x" * 200000], ["GET", "k" * 2000], ["MSET", "a", "y" * 400, "b", "y" * 400, "c", "y" * 400]]
    c.do("SET", "k", "x" * 900)
    for command in large:
        c.do(*command)
        c.do("SET", "k")
    c.do("SET", "k", "x" * 900)
    assert [(e[2], e[3][0]) for e in log.entries()] == [(len(encode(*command)), command[0].encode()) for command in large]
    log.set(-1)
    c.do("SET", "k", "x" * 1000)
    assert len(log.entries()) == 4


def test_large_replies(scene):
    log, c = scene.log(REPLY, 1000), scene()
    keys = ["k%d" % i for i in range(8)]
    for key in keys:
        c.do("SET", key, "x" * 900)
    c.do("GET", "k1")
    c.do("SET", "big", "x" * 100000)
    c.do("GET", "big")
    c.do("MGET", *keys)
    c.do("APPEND", "k1", "y" * 100)
    c.do("GET", "k1")
    c.do("KEYS", "no*")
    assert [(e[2], e[3]) for e in log.entries()] == [
        (100011, texts("GET", "big")),
        (8 * 908 + 4, texts("MGET", *keys)),
        (1009, texts("GET", "k1")),
    ]


def test_length_is_that_of_all_shards(scene):
    log, c = scene.log(SLOW, 0), [scene() for _ in range(8)]
    assert log.c.do("CONFIG", "SET", "slowlog-max-len", "10") == "OK"
    for i in range(64):
        c[i % 8].do("SET", "k%d" % i, "v")
    log.set(-1)
    assert log.words() == [texts("SET", "k%d" % i, "v") for i in range(54, 64)]
    numbers = [e[0] for e in log.entries()]
    assert numbers == list(range(numbers[0], numbers[0] + 10))
    assert log.c.do("SLOWLOG", "LEN") == 10
    log.set(0)
    assert log.c.do("CONFIG", "SET", "slowlog-max-len", "3") == "OK"
    c[0].do("SET", "k", "v")
    assert log.c.do("SLOWLOG", "LEN") == 3


def test_many_at_once(scene):
    """Whoever was answered is in the log, whichever thread is asked; and numbers are those of one counter."""
    log = scene.log(SLOW, 0)
    log.c.do("CONFIG", "SET", "slowlog-max-len", "100000")

    def work(name):
        with scene.server.raw(timeout=60) as c:
            for i in range(100):
                mine = "%s-%d" % (name, i)
                c.do("SET", mine, "v")
                if i % 20 == 0:
                    seen = c.do("SLOWLOG", "GET", "-1")
                    assert texts("SET", mine, "v") in [e[3] for e in seen]
                    numbers = [e[0] for e in seen]
                    assert numbers == sorted(set(numbers), reverse=True)

    failures = []

    def guarded(name):
        try:
            work(name)
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=guarded, args=("t%d" % i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures
    assert len([w for w in log.words() if w[0] == b"SET"]) == 400


def test_errors(scene):
    c = scene()
    count = "ERR count should be greater than or equal to -1"
    kind = "ERR type should be one of the following: slow, large-request, large-reply"
    for command, error in (
        (["SLOWLOG", "GET", "-2"], count),
        (["SLOWLOG", "GET", "a"], count),
        (["COMMANDLOG", "GET", "a", "slow"], count),
        (["COMMANDLOG", "GET", "-2", "nothing"], count),
        (["COMMANDLOG", "GET", "1", "nothing"], kind),
        (["COMMANDLOG", "LEN", "nothing"], kind),
        (["COMMANDLOG", "RESET", "nothing"], kind),
        (["SLOWLOG", "GET", "1", "2"], "ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP."),
        (["SLOWLOG", "FOO"], "ERR unknown subcommand 'FOO'. Try SLOWLOG HELP."),
        (["COMMANDLOG", "GET", "1"], "ERR wrong number of arguments for 'commandlog|get' command"),
        (["COMMANDLOG"], "ERR wrong number of arguments for 'commandlog' command"),
    ):
        assert c.do(*command) == error, command
    for container in ("SLOWLOG", "COMMANDLOG"):
        lines = [bytes(line).decode() if isinstance(line, bytes) else str(line) for line in c.do(container, "HELP")]
        assert lines[0].startswith(container) and {"GET", "LEN", "RESET", "HELP"} <= {line.split()[0] for line in lines[1:]}


@pytest.mark.timing
def test_what_all_shards_do_side_by_side_counts_once(server):
    """DEBUG SLEEP stops each thread for that time."""
    with server.raw() as c:
        assert c.do("CONFIG", "SET", "commandlog-execution-slower-than", "100000") == "OK"
        assert c.do("SLOWLOG", "RESET") == "OK"
        assert c.do("DEBUG", "SLEEP", "0.3") == "OK"
        took = [entry[2] for entry in c.do("SLOWLOG", "GET")]
        assert len(took) == 1 and 290_000 < took[0] < 550_000
