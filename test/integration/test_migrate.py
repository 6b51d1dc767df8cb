# SPDX-License-Identifier: BSD-3-Clause
"""MIGRATE to Redis, to Valkey and to Shoal, and to those who answer late, wrongly or not at all."""

import socket
import threading
import time

import pytest

from resp import NULL_ARRAY, RespError, encode
from server import Server, find_peer, wait_for
from target import Target
from test_effects import effects

pytestmark = pytest.mark.row_pair

CLOSED = "-IOERR error or timeout writing to target instance"
SILENT = "-IOERR error or timeout reading to target instance"
UNKNOWN = "-IOERR error or timeout connecting to the client"
# So long that nothing ends by it, and so short that what hangs is seen to: but no step that others have to answer may take as
# long on a busy machine.
LONG, SHORT = "30000", "1500"


def error(reply):
    assert isinstance(reply, RespError), reply
    return "-" + str(reply)


@pytest.fixture
def c(server):
    with server.raw() as c:
        c.do("FLUSHALL")
        yield c


def migrate(c, port, *args):
    return c.do("MIGRATE", "127.0.0.1", str(port), *args)


def closed_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---- Values ----


@pytest.fixture(scope="module", params=["shoal", "valkey", "redis"])
def other(request, server_binary, base_config, kind):
    """Another server, of each kind."""
    path = server_binary if request.param == kind else find_peer(request.param) if request.param != "shoal" else None
    if not path or {kind, request.param} == {"valkey", "redis"}:
        pytest.skip("no %s server that gives and takes dumps of this one" % request.param)  # Redis does not read Valkey's
    s = Server(path, base_config if request.param == kind else {}, kind=request.param)
    s.start()
    yield s
    s.stop(check=request.param == "shoal")


def fill(c, hash_deadlines):
    """A value of every type and encoding; their names."""
    c.do("SET", "int", "-12345")
    c.do("SET", "text", b"with \r\n and \0")
    c.do("SET", "long", "x" * 100_000)
    c.do("SET", "", "no name")
    for n in (3, 700):
        c.do("RPUSH", "list:%d" % n, *["element %d" % i for i in range(n)])
        c.do("SADD", "ints:%d" % n, *range(n))
        c.do("SADD", "set:%d" % n, *["member %d" % i for i in range(n)])
        c.do("ZADD", "zset:%d" % n, *[word for i in range(n) for word in (i * 1.5, "member %d" % i)])
        c.do("HSET", "hash:%d" % n, *[word for i in range(n) for word in ("field %d" % i, "value %d" % i)])
        for i in range(n):
            c.do("XADD", "stream:%d" % n, "%d-1" % (i + 1), "f", "v%d" % i)
        c.do("XGROUP", "CREATE", "stream:%d" % n, "group", "0")
        c.do("XREADGROUP", "GROUP", "group", "one", "COUNT", "2", "STREAMS", "stream:%d" % n, ">")
        if hash_deadlines:
            c.do("HSET", "fields:%d" % n, *[word for i in range(n) for word in ("f%d" % i, "v")])
            c.do("HPEXPIREAT", "fields:%d" % n, "4100000000000", "FIELDS", "1", "f1")
    c.do("PFADD", "hll", *range(1000))
    for key in ("text", "list:3", "stream:700"):
        c.do("PEXPIRE", key, "5000000")
    return sorted(c.do("KEYS", "*"))


def values(c, keys):
    """What the keys have, in words that all servers share."""
    ask = {
        "string": lambda k: c.do("GET", k),
        "list": lambda k: c.do("LRANGE", k, "0", "-1"),
        "set": lambda k: sorted(c.do("SMEMBERS", k)),
        "zset": lambda k: c.do("ZRANGE", k, "0", "-1", "WITHSCORES"),
        "hash": lambda k: sorted(zip(*[iter(c.do("HGETALL", k))] * 2)),
        "stream": lambda k: (c.do("XRANGE", k, "-", "+"), c.do("XPENDING", k, "group")),
        "none": lambda k: None,
    }
    found = []
    for key in keys:
        kind = c.do("TYPE", key)
        ttl = c.do("PTTL", key)
        found.append((key, kind, ask[kind](key), ttl if ttl < 0 else 4_000_000 < ttl <= 5_000_000))
    return found


def test_every_value_goes_there_and_back(c, other, kind):
    hash_deadlines = kind != "redis" and other.kind != "redis"
    keys = fill(c, hash_deadlines)
    before = values(c, keys)
    nothing = [(key, "none", None, -2) for key in keys]
    with other.raw() as there:
        there.do("FLUSHALL")
        # Some by themselves, the others together.
        for key in keys[:5]:
            assert migrate(c, other.port, key, "0", LONG) == "OK", key
        assert migrate(c, other.port, "", "0", LONG, "KEYS", *keys[5:]) == "OK"
        assert values(c, keys) == nothing and c.do("DBSIZE") == 0
        assert values(there, keys) == before
        back = c.sock.getpeername()[1]
        for key in keys[5:10]:
            assert migrate(there, back, key, "0", LONG) == "OK", key
        assert migrate(there, back, "", "0", LONG, "KEYS", *keys[:5], *keys[10:]) == "OK"
        assert values(there, keys) == nothing
        assert values(c, keys) == before


def test_databases_copies_and_replacing(c, other):
    with other.raw() as there:
        there.do("FLUSHALL")
        c.do("SET", "k", "1")
        assert migrate(c, other.port, "k", "3", LONG, "COPY") == "OK"
        assert c.do("GET", "k") == b"1" and there.do("DBSIZE") == 0
        c.do("SET", "k", "2")
        busy = "-ERR Target instance replied with error: BUSYKEY Target key name already exists."
        assert error(migrate(c, other.port, "k", "3", LONG)) == busy
        assert error(migrate(c, other.port, "k", "3", LONG, "COPY")) == busy
        assert c.do("GET", "k") == b"2"
        assert migrate(c, other.port, "k", "3", LONG, "REPLACE", "COPY") == "OK"
        assert c.do("GET", "k") == b"2"
        c.do("SELECT", "5")
        c.do("SET", "k", "3")
        assert migrate(c, other.port, "k", "3", LONG, "replace") == "OK"
        assert c.do("GET", "k") is None
        assert migrate(c, other.port, "k", "3", LONG) == "NOKEY"
        c.do("SELECT", "0")
        there.do("SELECT", "3")
        assert there.do("GET", "k") == b"3"
        # A database that is not there: SELECT's error is the answer, and the key stays.
        wrong = "-ERR Target instance replied with error: ERR DB index is out of range"
        assert error(migrate(c, other.port, "k", "77", LONG)) == wrong
        assert c.do("GET", "k") == b"2"
        assert migrate(c, other.port, "k", "3", LONG, "REPLACE") == "OK"
        assert there.do("GET", "k") == b"2"


def test_one_that_is_there_does_not_hold_up_the_others(c, other):
    with other.raw() as there:
        there.do("FLUSHALL")
        keys = ["key:%d" % i for i in range(50)]
        for key in keys:
            c.do("SET", key, "here")
        for key in keys[::7]:
            there.do("SET", key, "there")
        busy = "-ERR Target instance replied with error: BUSYKEY Target key name already exists."
        assert error(migrate(c, other.port, "", "0", LONG, "KEYS", "missing", *keys, "missing too")) == busy
        assert sorted(c.do("KEYS", "*")) == sorted(key.encode() for key in keys[::7])
        assert there.do("MGET", *keys) == [b"there" if i % 7 == 0 else b"here" for i in range(50)]


def test_names_that_come_twice(c, other):
    with other.raw() as there:
        there.do("FLUSHALL")
        c.do("MSET", "a", "1", "b", "2")
        reply = migrate(c, other.port, "", "0", LONG, "KEYS", "a", "b", "a")
        assert error(reply) == "-ERR Target instance replied with error: BUSYKEY Target key name already exists."
        assert c.do("DBSIZE") == 0 and there.do("MGET", "a", "b") == [b"1", b"2"]


def test_passwords(c, other, kind):
    there = Server(other.binary, {k: v for k, v in other.config.items() if k != "port"}, kind=other.kind)
    there.config["requirepass"] = there.password = "secret"
    with there, there.raw() as d:
        assert d.do("AUTH", "secret") == "OK"
        c.do("SET", "k", "v")
        assert error(migrate(c, there.port, "k", "0", LONG)).startswith(
            "-ERR Target instance replied with error: NOAUTH Authentication required."
        )
        wrong = "-ERR Target instance replied with error: WRONGPASS invalid username-password pair or user is disabled."
        assert error(migrate(c, there.port, "k", "0", LONG, "AUTH", "no")) == wrong
        assert error(migrate(c, there.port, "k", "0", LONG, "AUTH2", "nobody", "secret")) == wrong
        assert c.do("GET", "k") == b"v"
        assert migrate(c, there.port, "k", "0", LONG, "COPY", "AUTH", "secret") == "OK"
        assert migrate(c, there.port, "k", "0", LONG, "REPLACE", "AUTH2", "default", "secret") == "OK"
        assert d.do("GET", "k") == b"v" and c.do("EXISTS", "k") == 0
        # A connection that is kept stays who it was.
        c.do("SET", "other", "v")
        assert migrate(c, there.port, "other", "0", LONG) == "OK"


def test_a_large_value(c, other, slow):
    """It is packed in slices; what comes out is the same. A long string is not compressed."""
    with other.raw() as there:
        there.do("FLUSHALL")
        for start in range(0, 60_000, 2000):
            n = range(start, start + 2000)
            c.do("ZADD", "z", *[word for i in n for word in (i, "a member of some length %d" % i)])
            c.do("HSET", "h", *[word for i in n for word in ("field %d" % i, "value %d" % i)])
            c.do("RPUSH", "l", *["an element of some length %d" % i for i in n])
        c.do("SET", "s", "abc" * 2_000_000)
        keys = ["z", "h", "l", "s"]
        before = values(c, keys)
        timeout = str(int(LONG) * slow)
        c.sock.settimeout(60 * slow)
        there.sock.settimeout(60 * slow)
        assert migrate(c, other.port, "", "0", timeout, "KEYS", *keys) == "OK"
        assert c.do("DBSIZE") == 0
        assert values(there, keys) == before


# ---- Words ----

NOT_INT = "-ERR value is not an integer or out of range"
SYNTAX = "-ERR syntax error"
WRONG_KEY = "-ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
WORDS = [
    ("k 0", "-ERR wrong number of arguments for 'migrate' command"),
    ("k x y", NOT_INT),
    ("k x 1", NOT_INT),
    ("k 0 1.5", NOT_INT),
    ("k 99999999999999999999 1", NOT_INT),
    ("k 0 1 keys a", WRONG_KEY),
    ("k x 1 keys a", WRONG_KEY),
    ("k x 1 wrong", SYNTAX),
    ("k 0 1 wrong keys a", SYNTAX),
    ("k 0 1 copy auth", SYNTAX),
    ("k 0 1 auth2 a", SYNTAX),
    ("k 0 1 auth a b", SYNTAX),
    ("'' x 1 keys a b", NOT_INT),
    ("'' 0 1 keys", "NOKEY"),
    ("'' 0 1", "NOKEY"),
    ("missing 0 1", "NOKEY"),
    ("'' 0 1 copy replace auth keys keys a b", "NOKEY"),
    ("missing -1 -1 AUTH2 a b COPY", "NOKEY"),
]


@pytest.mark.parametrize("words,expected", WORDS, ids=[words for words, _ in WORDS])
def test_words(c, words, expected):
    c.do("SET", "k", "v")
    reply = migrate(c, 1, *["" if word == "''" else word for word in words.split(" ")])
    assert (error(reply) if isinstance(reply, RespError) else reply) == expected
    assert c.do("GET", "k") == b"v"


def test_keys_are_where_valkey_finds_them(c):
    def keys(*args):
        return c.do("COMMAND", "GETKEYS", "MIGRATE", "h", "1", *args)

    assert keys("k", "0", "1") == [b"k"]
    assert keys("", "0", "1") == [b""]
    assert keys("", "0", "1", "KEYS") == [b""]
    assert keys("", "0", "1", "AUTH", "x", "keys", "b") == [b"b"]
    assert keys("", "0", "1", "AUTH", "keys", "keys", "a", "b") == [b"a", b"b"]
    assert keys("", "0", "1", "AUTH2", "keys", "keys", "keys", "a", "b") == [b"a", b"b"]
    assert keys("", "0", "1", "COPY", "REPLACE", "KEYS", "a", "b") == [b"a", b"b"]


def test_hosts_and_ports(c):
    c.do("SET", "k", "v")
    for host, port, expected in (
        ("127.0.0.1", closed_port(), CLOSED),
        ("127.0.0.1", "0", CLOSED),
        ("127.0.0.1", "none", CLOSED),
        ("", "1", UNKNOWN),
        ("127.0.0.1", "-1", UNKNOWN),
        ("255.255.255.255", "1", UNKNOWN),
    ):
        assert error(c.do("MIGRATE", host, str(port), "k", "0", LONG)) == expected, (host, port)
        assert c.do("GET", "k") == b"v"
    with Target() as target:
        assert c.do("MIGRATE", "localhost", target.port, "k", "0", LONG, "COPY") == "OK"


def test_its_errors_are_counted(c, kind):
    c.do("CONFIG", "RESETSTAT")
    c.do("SET", "k", "v")
    migrate(c, closed_port(), "k", "0", LONG)
    migrate(c, 1, "missing", "0", LONG)
    stats = c.do("INFO", "everything").decode()
    assert "errorstat_IOERR:count=1\r\n" in stats
    line = next(line for line in stats.splitlines() if line.startswith("cmdstat_migrate:"))
    assert line.startswith("cmdstat_migrate:calls=2,") and line.endswith(",rejected_calls=0,failed_calls=1")


# ---- What is said to the other server ----


def test_what_is_sent(c):
    c.do("MSET", "a", "1", "b", "2")
    c.do("PEXPIRE", "b", "100000")
    dump, dump_b = c.do("DUMP", "a"), c.do("DUMP", "b")
    with Target() as target:
        assert migrate(c, target.port, "a", "7", LONG, "COPY") == "OK"
        assert migrate(c, target.port, "a", "7", LONG, "COPY", "REPLACE", "AUTH", "pw") == "OK"
        assert migrate(c, target.port, "", "0", LONG, "AUTH2", "user", "pw", "KEYS", "b", "no", "a") == "OK"
        words = [words for _, words in target.requests]
        ttl = int(words[6][2])
        assert 0 < ttl <= 100000
        assert words == [
            [b"SELECT", b"7"],
            [b"RESTORE", b"a", b"0", dump],
            [b"AUTH", b"pw"],
            [b"RESTORE", b"a", b"0", dump, b"REPLACE"],
            [b"AUTH", b"user", b"pw"],
            [b"SELECT", b"0"],
            [b"RESTORE", b"b", b"%d" % ttl, dump_b],
            [b"RESTORE", b"a", b"0", dump],
        ]
        assert {connection for connection, _ in target.requests} == {0}  # it was kept


def test_a_database_is_selected_once_and_after_errors(c):
    with Target(lambda connection, request, words: b"-ERR no\r\n" if b"bad" in words else b"+OK\r\n") as target:
        for key in ("a", "b", "bad", "c", "d"):
            c.do("SET", key, "v")
        for key in ("a", "b"):
            assert migrate(c, target.port, key, "1", LONG) == "OK"
        assert error(migrate(c, target.port, "bad", "1", LONG)) == "-ERR Target instance replied with error: ERR no"
        for key in ("c", "d"):
            assert migrate(c, target.port, key, "1", LONG) == "OK"
        assert target.names() == ["SELECT", "RESTORE", "RESTORE", "RESTORE", "SELECT", "RESTORE", "RESTORE"]


def test_the_first_error_is_the_answer(c):
    """Of AUTH before SELECT before the keys."""
    answers = {b"AUTH": b"-WRONGPASS one\r\n", b"SELECT": b"-ERR two\r\n", b"RESTORE": b"-ERR three\r\n"}
    c.do("MSET", "a", "1", "b", "2")
    with Target(lambda connection, request, words: answers[words[0]]) as target:
        for first, rest in ((b"WRONGPASS one", ["AUTH", "x"]), (b"ERR two", []), (b"ERR three", [])):
            reply = migrate(c, target.port, "", "1", LONG, *rest, "KEYS", "a", "b")
            assert error(reply) == "-ERR Target instance replied with error: %s" % first.decode()
            answers[b"SELECT"] = b"-ERR two\r\n" if first == b"WRONGPASS one" else b"+OK\r\n"
    assert c.do("MGET", "a", "b") == [b"1", b"2"]


def test_only_what_was_answered_goes(c):
    """The other side ends between two answers."""
    c.do("MSET", "a", "1", "b", "2", "c", "3")
    with Target(lambda connection, request, words: "close" if b"b" in words else b"+OK\r\n") as target:
        assert error(migrate(c, target.port, "", "0", LONG, "KEYS", "a", "b", "c")) == SILENT
        assert c.do("MGET", "a", "b", "c") == [None, b"2", b"3"]
        assert target.names() == ["SELECT", "RESTORE", "RESTORE"]  # and it is not tried again


def test_an_error_of_a_key_is_told_before_the_end(c):
    c.do("MSET", "a", "1", "b", "2")
    with Target(lambda connection, request, words: "close" if b"b" in words else b"-ERR no\r\n" if b"a" in words else b"+OK\r\n") as target:
        assert error(migrate(c, target.port, "", "0", LONG, "KEYS", "a", "b")) == "-ERR Target instance replied with error: ERR no"
        assert c.do("MGET", "a", "b") == [b"1", b"2"]


def test_a_connection_that_was_ended_is_made_again(c):
    with Target() as target:
        c.do("SET", "k", "v")
        assert migrate(c, target.port, "k", "0", LONG) == "OK"
        target.socks[0].close()
        c.do("SET", "k", "v")
        assert migrate(c, target.port, "k", "0", LONG) == "OK"
        assert [connection for connection, words in target.requests if words[0] == b"RESTORE"][-1] == 1
        assert c.do("EXISTS", "k") == 0


def test_who_ends_at_once_is_asked_twice(c):
    with Target(lambda connection, request, words: "close") as target:
        c.do("SET", "k", "v")
        assert error(migrate(c, target.port, "k", "0", LONG)) in (SILENT, CLOSED)
        assert c.do("GET", "k") == b"v"
        assert wait_for(lambda: len(target.socks) == 2)


@pytest.mark.slow
def test_who_does_not_answer_is_waited_for_till_the_timeout(c, kind):
    c.do("MSET", "a", "1", "b", "2")
    with Target(lambda connection, request, words: None) as target:
        start = time.monotonic()
        assert error(migrate(c, target.port, "a", "0", SHORT)) == SILENT
        assert time.monotonic() - start >= int(SHORT) / 1000 - 0.01
        assert wait_for(lambda: len(target.ended) == 1)  # such a connection is not kept, nor tried again
        assert len(target.socks) == 1
    with Target(lambda connection, request, words: None if b"b" in words else b"+OK\r\n") as target:
        assert error(migrate(c, target.port, "", "0", SHORT, "KEYS", "a", "b")) == SILENT
        assert c.do("MGET", "a", "b") == [None, b"2"]


@pytest.mark.slow
def test_who_takes_nothing_is_waited_for_till_the_timeout(c):
    """More than the kernel holds for one who does not read."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        c.do("CONFIG", "SET", "rdbcompression", "no")
        c.do("SET", "large", "x" * 30_000_000)
        assert error(migrate(c, listener.getsockname()[1], "large", "0", SHORT)) == CLOSED
        assert c.do("STRLEN", "large") == 30_000_000
    c.do("CONFIG", "SET", "rdbcompression", "yes")


@pytest.mark.shoal_only
def test_what_is_no_answer_costs_no_key(c):
    for answer in (b"HTTP/1.1 400 Bad Request\r\n", b":1\r\n", b"$2\r\nOK\r\n", b"*1\r\n+OK\r\n", b"\r\n"):
        with Target(lambda connection, request, words: answer if b"k" in words else b"+OK\r\n") as target:
            c.do("SET", "k", "v")
            assert error(migrate(c, target.port, "k", "0", LONG)) == SILENT
            assert c.do("GET", "k") == b"v"
            assert len(target.socks) == 1


def test_a_dead_key_is_not_sent(c):
    c.do("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    c.do("SET", "dead", "v", "PX", "1")
    c.do("SET", "alive", "v", "PX", "1000000")
    time.sleep(0.02)
    with Target() as target:
        assert migrate(c, target.port, "dead", "0", LONG) == "NOKEY"
        assert migrate(c, target.port, "", "0", LONG, "KEYS", "dead", "alive") == "OK"
        assert [words[1] for _, words in target.requests if words[0] == b"RESTORE"] == [b"alive"]
    c.do("DEBUG", "SET-ACTIVE-EXPIRE", "1")


def cached(c):
    text = c.do("INFO", "stats").decode()
    return int(next(line.split(":")[1] for line in text.splitlines() if line.startswith("migrate_cached_sockets:")))


@pytest.mark.slow
def test_connections_that_are_not_used_end(c, slow):
    assert wait_for(lambda: cached(c) == 0)
    with Target() as target:
        c.do("SET", "k", "v")
        assert migrate(c, target.port, "k", "0", LONG) == "OK"
        assert cached(c) == 1
        start = time.monotonic()
        assert wait_for(lambda: target.ended == [0])
        assert time.monotonic() - start > 8
        assert wait_for(lambda: cached(c) == 0)


@pytest.mark.slow
def test_more_targets_than_connections_are_kept(c):
    targets = [Target() for _ in range(70)]
    try:
        for round in range(2):
            for target in targets:
                c.do("SET", "k", "v")
                assert migrate(c, target.port, "k", "0", LONG) == "OK"
            assert cached(c) <= 65
    finally:
        for target in targets:
            target.__exit__()


# ---- Who else is there ----


class Held:
    """A target that holds its answers back till it is let go on."""

    def __init__(self):
        self.go_on = threading.Event()
        self.target = Target(self.answer)
        self.port = self.target.port

    def answer(self, connection, request, words):
        if words[0] == b"RESTORE":
            self.go_on.wait(60)
        return b"+OK\r\n"

    def wait(self):
        assert wait_for(lambda: "RESTORE" in self.target.names())

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.go_on.set()
        self.target.__exit__()


@pytest.mark.shoal_only
def test_others_go_on_meanwhile(server, c):
    """Everybody else is served, but for who asks for the key: he sees what has become of it."""
    with Held() as held, server.raw() as other, server.raw() as waits:
        c.do("MSET", *[word for i in range(100) for word in ("key:%d" % i, "v")])
        c.send(encode("MIGRATE", "127.0.0.1", held.port, "key:5", "0", LONG))
        held.wait()
        waits.send(encode("SET", "key:5", "new", "GET"))
        for i in range(100):
            if i != 5:
                assert other.do("SET", "key:%d" % i, "w") == "OK"
        assert other.do("MGET", "key:1", "key:2", "key:99") == [b"w", b"w", b"w"]
        assert waits.is_silent() and c.is_silent()
        held.go_on.set()
        assert c.read() == "OK"
        assert waits.read() is None
        assert c.do("GET", "key:5") == b"new"


@pytest.mark.shoal_only
def test_keys_run_out_in_time_meanwhile(server, c):
    with Held() as held, server.raw() as other:
        c.do("MSET", *[word for i in range(20) for word in ("key:%d" % i, "v")])
        c.do("CONFIG", "RESETSTAT")
        c.send(encode("MIGRATE", "127.0.0.1", held.port, "", "0", LONG, "KEYS", *["key:%d" % i for i in range(20)]))
        held.wait()
        for i in range(20):
            other.do("SET", "short:%d" % i, "v", "PX", "1")
        assert wait_for(lambda: server.info_of(other, "stats")["expired_keys"] == "20")
        held.go_on.set()
        assert c.read() == "OK"
        assert c.do("DBSIZE") == 0


@pytest.mark.shoal_only
def test_a_key_that_runs_out_on_its_way(server, c):
    """It is locked, so it goes when MIGRATE is over, and is not told of twice."""
    with Held() as held, server.raw() as other:
        c.do("MSET", "stays", "v", "goes", "v")
        c.do("PEXPIRE", "goes", "2000")
        over = c.do("PEXPIRETIME", "goes")
        c.do("CONFIG", "RESETSTAT")
        c.do("DEBUG", "EFFECTS", "ON")
        try:
            c.send(encode("MIGRATE", "127.0.0.1", held.port, "", "0", LONG, "KEYS", "stays", "goes"))
            held.wait()
            other.do("SET", "short", "v", "PXAT", over)
            assert wait_for(lambda: server.info_of(other, "stats")["expired_keys"] == "1" and other.do("EXISTS", "short") == 0)
            held.go_on.set()
            assert c.read() == "OK"
            told = [command for command in effects(c) if command[0] in ("DEL", "UNLINK")]
        finally:
            c.do("DEBUG", "EFFECTS", "OFF")
        assert sorted(key for command in told for key in command[1:]) == ["goes", "short", "stays"]
        assert c.do("DBSIZE") == 0 and server.info("stats")["expired_keys"] == "1"  # MIGRATE has deleted the other one


@pytest.mark.shoal_only
@pytest.mark.parametrize("end", ["kill", "leave"])
def test_who_has_gone_has_migrated_nevertheless(server, c, end):
    with Held() as held:
        caller = server.raw()
        c.do("MSET", "a", "1", "b", "2", "c", "3")
        number = caller.do("CLIENT", "ID")
        caller.send(encode("MIGRATE", "127.0.0.1", held.port, "", "0", LONG, "KEYS", "a", "b", "c"))
        held.wait()
        if end == "kill":
            assert c.do("CLIENT", "KILL", "ID", str(number)) == 1
            assert caller.is_closed()
        else:
            caller.close()
        held.go_on.set()
        assert wait_for(lambda: c.do("DBSIZE") == 0)
        assert c.do("SET", "a", "again") == "OK"


@pytest.mark.shoal_only
def test_many_at_once_to_one_target(server, c):
    with Held() as held:
        clients = [server.raw() for _ in range(20)]
        for i, client in enumerate(clients):
            client.do("SET", "k:%d" % i, "v")
            client.send(encode("MIGRATE", "127.0.0.1", held.port, "k:%d" % i, "0", LONG))
        assert wait_for(lambda: held.target.names().count("RESTORE") == 20)
        held.go_on.set()
        for client in clients:
            assert client.read() == "OK"
            client.close()
        assert c.do("DBSIZE") == 0


def test_inside_multi(c):
    with Target(lambda connection, request, words: b"-ERR no\r\n" if b"bad" in words else b"+OK\r\n") as target:
        c.do("MSET", "a", "1", "bad", "2")
        c.do("MULTI")
        for command in (
            ["SET", "b", "new"],
            ["MIGRATE", "127.0.0.1", target.port, "", "0", LONG, "KEYS", "a", "b", "bad"],
            ["EXISTS", "a", "b", "bad"],
            ["PING"],
            ["MIGRATE", "127.0.0.1", target.port, "nothing", "0", LONG],
            ["SET", "a", "back"],
            ["MIGRATE", "127.0.0.1", target.port, "a", "3", LONG, "COPY"],
            ["MIGRATE", "127.0.0.1", target.port, "k", "x", LONG],
            ["MGET", "a", "b", "bad"],
        ):
            assert c.do(*command) == "QUEUED"
        replies = c.do("EXEC")
        assert error(replies[1]) == "-ERR Target instance replied with error: ERR no"
        assert error(replies[7]) == NOT_INT
        replies[1] = replies[7] = None
        assert replies == ["OK", None, 1, "PONG", "NOKEY", "OK", "OK", None, [b"back", None, b"2"]]


@pytest.mark.shoal_only
def test_nobody_sees_half_of_an_exec_that_waits(server, c):
    with Held() as held, server.raw() as other:
        c.do("MSET", "a", "1", "b", "2")
        for command in (["MULTI"], ["SET", "a", "3"], ["MIGRATE", "127.0.0.1", held.port, "b", "0", LONG], ["SET", "a", "4"]):
            c.do(*command)
        c.send(encode("EXEC"))
        held.wait()
        other.send(encode("MGET", "a", "b"))
        assert other.is_silent()
        held.go_on.set()
        assert c.read() == ["OK", "OK", "OK"]
        assert other.read() == [b"4", None]


def test_in_a_pipeline(c):
    with Target() as target:
        one = ["MIGRATE", "127.0.0.1", target.port, "k", "0", LONG]
        many = []
        for i in range(30):
            many += [["SET", "k", "%d" % i], ["MSET", "x", "1", "y", "2", "z", "3"], one, one, ["GET", "k"]]
        c.send(b"".join(encode(*command) for command in many))
        assert c.read_some(len(many)) == ["OK", "OK", "OK", "NOKEY", None] * 30


def test_who_watches_and_who_listens(server, c):
    with Target() as target, server.raw() as watcher, server.raw() as listener:
        c.do("CONFIG", "SET", "notify-keyspace-events", "KEA")
        listener.do("SUBSCRIBE", "__keyspace@0__:k", "__keyspace@0__:stays")
        listener.read()
        c.do("MSET", "k", "v", "stays", "v")
        watcher.do("WATCH", "k")
        assert migrate(c, target.port, "stays", "0", LONG, "COPY") == "OK"
        assert migrate(c, target.port, "k", "0", LONG) == "OK"
        watcher.do("MULTI")
        watcher.do("PING")
        assert watcher.do("EXEC") == NULL_ARRAY
        heard = [tuple(listener.read()[1:]) for _ in range(3)]
        assert sorted(heard) == [(b"__keyspace@0__:k", b"del"), (b"__keyspace@0__:k", b"set"), (b"__keyspace@0__:stays", b"set")]
        c.do("CONFIG", "SET", "notify-keyspace-events", "")


@pytest.mark.shoal_only
def test_what_went_is_told_as_del(c):
    with Target(lambda connection, request, words: b"-ERR no\r\n" if b"bad" in words else b"+OK\r\n") as target:
        c.do("MSET", "a", "1", "b", "2", "bad", "3", "copied", "4")
        c.do("DEBUG", "EFFECTS", "ON")
        try:
            migrate(c, target.port, "", "0", LONG, "KEYS", "a", "b", "bad", "none")
            migrate(c, target.port, "copied", "0", LONG, "COPY")
            told = [command for command in effects(c) if command[0] != "SELECT" and command[0] not in ("MULTI", "EXEC")]
        finally:
            c.do("DEBUG", "EFFECTS", "OFF")
        assert all(command[0] == "DEL" for command in told)
        assert sorted(key for command in told for key in command[1:]) == ["a", "b"]


@pytest.mark.slow
def test_to_itself_it_ends_by_the_timeout(c):
    c.do("SET", "k", "v")
    own = c.sock.getpeername()[1]
    assert error(migrate(c, own, "k", "0", SHORT)) == SILENT
    assert c.do("GET", "k") == b"v"
    if c.do("INFO", "server").find(b"shoal") > 0:  # another key may go: nobody else is held up
        assert migrate(c, own, "missing", "0", SHORT) == "NOKEY"


@pytest.mark.shoal_only
def test_a_save_waits_for_it_and_an_end_does_not(start_server):
    s = start_server()
    with Held() as held, s.raw() as c, s.raw() as saver, s.raw() as other:
        c.do("MSET", *[word for i in range(20) for word in ("key:%d" % i, "v")])
        c.send(encode("MIGRATE", "127.0.0.1", held.port, "key:5", "0", LONG))
        held.wait()
        saver.send(encode("SAVE"))
        assert saver.is_silent()
        held.go_on.set()
        assert c.read() == "OK" and saver.read() == "OK"
        held.go_on.clear()
        c.send(encode("MIGRATE", "127.0.0.1", held.port, "key:6", "0", LONG))
        assert wait_for(lambda: held.target.names().count("RESTORE") == 2)
        start = time.monotonic()
        other.send(encode("SHUTDOWN", "NOSAVE"))
        assert s.wait() == 0
        assert time.monotonic() - start < 20
        s.stopped_by_test = True
