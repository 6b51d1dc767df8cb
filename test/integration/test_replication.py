# SPDX-License-Identifier: BSD-3-Clause
"""A primary of replicas: Redis 7 and Valkey 9.1 follow it, and have what it has at equal offsets, whatever writes, fails or is
cut off; and what a replica reads is one history, in which what is one unit stands together."""

import random
import signal
import socket
import threading

import pytest

import writes
from resp import Incomplete, Raw, RespError, encode, parse
from server import Server, find_peer, wait_for

pytestmark = [pytest.mark.row_pair, pytest.mark.shoal_only]

MB = 1 << 20


class Replica:
    """A redis-server or valkey-server that follows the server."""

    def __init__(self, kind, primary, **config):
        path = find_peer(kind)
        if path is None:
            pytest.skip("no %s server to follow: ./dev test installs one" % kind)
        base = {"replicaof": ["127.0.0.1", str(primary.port)], "save": "", "repl-timeout": "60"}
        self.server = Server(path, {**base, **config}, kind=kind)
        self.server.waits_for_data = False
        self.server.start()
        self.primary = primary

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.server.stop(check=False)

    def said(self):
        try:
            return self.server.info("replication")
        except (OSError, RespError, KeyError):
            return {}

    def is_up(self):
        return self.said().get("master_link_status") == "up"

    def has_all(self):
        """At one offset with the primary, which nobody writes to meanwhile but for its PINGs."""
        want = int(self.primary.info("replication")["master_repl_offset"])
        return wait_for(lambda: int(self.said().get("slave_repl_offset", -1)) >= want, 60)

    def digest(self):
        with self.server.raw() as c:
            return c.do("DEBUG", "DIGEST")


@pytest.fixture(params=["redis", "valkey"])
def follower(request, start_server):
    s = start_server(repl_ping_replica_period=1)
    with Replica(request.param, s) as replica:
        assert wait_for(replica.is_up, 60), replica.server.log()[-2000:]
        yield s, replica


def digest(server):
    with server.raw() as c:
        return c.do("DEBUG", "DIGEST")


def same(server, replica):
    """In the end: keys whose time is over are still there for a moment, and go by the primary's word."""

    def is_same():
        assert replica.has_all(), (server.info("replication"), replica.said(), replica.server.log()[-2000:])
        return digest(server) == replica.digest()

    return wait_for(is_same)


def fill(c, count=300):
    for i in range(count):
        c.do("SET", "k%d" % i, "v%d" % i)
    c.do("RPUSH", "list", *range(200))
    c.do("HSET", "hash", *[w for i in range(200) for w in (i, i)])
    c.do("ZADD", "zset", *[w for i in range(200) for w in (i, "m%d" % i)])
    c.do("SADD", "set", *range(200))
    c.do("XADD", "stream", "1-1", "f", "v")
    c.do("XGROUP", "CREATE", "stream", "g", "0")
    c.do("SET", "ttl", "x", "EX", "1000")
    c.do("SELECT", "9")
    c.do("SET", "in-nine", "x")
    c.do("SELECT", "0")


def write(port, seed, steps=150):
    """One client of several, who writes in all ways in which one may."""
    rng = random.Random(seed)
    with Raw(("127.0.0.1", port), timeout=60) as c:
        for i in range(steps):
            a, b = ("x%d" % rng.randrange(40) for _ in range(2))
            kind = rng.randrange(9)
            if kind == 0:
                c.do("MULTI")
                c.do("INCR", "n:" + a)
                c.do("INCR", "n:" + b)
                c.do("EXEC")
            elif kind == 1:
                c.do("MSET", "s:" + a, i, "s:" + b, i)
            elif kind == 2:
                c.do("EVAL", "redis.call('RPUSH', KEYS[1], ARGV[1]) redis.call('SADD', 'undeclared:' .. ARGV[1], 1)", 1, "l:" + a, b)
            elif kind == 3:
                c.do("LMOVE", "l:" + a, "l:" + b, "LEFT", "RIGHT")
            elif kind == 4:
                c.do("RENAME", "s:" + a, "s:" + b)
            elif kind == 5:
                c.do("SELECT", rng.randrange(3))
            elif kind == 6:
                c.do("SET", "e:" + a, i, "PX", rng.randrange(1, 50))
            elif kind == 7:
                c.do("SPOP", "set")
            else:
                c.do("COPY", "s:" + a, "c:" + b, "DB", rng.randrange(3), "REPLACE")


def write_with(port, clients=4):
    threads = [threading.Thread(target=write, args=(port, seed)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_it_follows_from_before_until_after(start_server):
    """What was there, what is written while the file is made and sent, and what comes then."""
    for kind in ("redis", "valkey"):
        s = start_server()
        with s.raw() as c:
            fill(c)
            c.do("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 1 end)")
        writers = [threading.Thread(target=write, args=(s.port, seed, 400)) for seed in range(3)]
        for thread in writers:
            thread.start()
        with Replica(kind, s) as replica:
            assert wait_for(replica.is_up, 60), replica.server.log()[-2000:]
            for thread in writers:
                thread.join()
            assert same(s, replica)
            with replica.server.raw() as r:
                assert b"lib" in str(r.do("FUNCTION", "LIST")).encode()
            assert wait_for(lambda: "state=online" in s.info("replication")["slave0"])  # when it has told for the first time where it is
            said = s.info("replication")
            assert said["connected_slaves"] == "1"
            assert "port=%d" % replica.server.port in said["slave0"]
            with s.raw() as c:
                role, offset, replicas = c.do("ROLE")
                assert role == b"master" and replicas[0][1] == b"%d" % replica.server.port
                assert b" flags=S " in c.do("CLIENT", "LIST")
        assert wait_for(lambda: s.info("replication")["connected_slaves"] == "0")


def test_every_write_is_the_same_there(start_server):
    """All cases of writes.py, in both manners: what a replica of Valkey makes of them is what is here."""
    s = start_server()
    with Replica("valkey", s) as replica, s.raw(timeout=60) as c:
        assert wait_for(replica.is_up, 60)
        for case in writes.CASES:
            writes.run(c, case["before"], case["name"])
            writes.run(c, case["commands"], case["name"])
        assert same(s, replica)


def test_a_unit_begins_before_its_database(start_server, shards):
    """As in Valkey's stream: SELECT is the first thing in it, whichever shards its keys are on."""
    s = start_server()
    reader = Reader(s)
    reader.begin()
    keys = ["{%d}" % i for i in range(20)]
    with s.raw() as c:
        for db, words in (("9", ["MSET", *[w for key in keys for w in (key, "v")]]), ("0", ["DEL", "no"]), ("0", ["RPUSH", "one", "1"])):
            c.do("SELECT", db), c.do("MULTI"), c.do("SET", keys[0], db), c.do(*words), c.do("EXEC")
        c.do("SET", "last", "end-of-it")
    commands = reader.commands(b"end-of-it")
    reader.close()
    assert commands[:3] == [[b"MULTI"], [b"SELECT", b"9"], [b"SET", keys[0].encode(), b"9"]]
    assert [command[0] for command in commands].count(b"SELECT") == 2
    zero = commands.index([b"SELECT", b"0"])
    assert commands[zero - 1] in ([b"MULTI"], [b"EXEC"]) and commands[-5:] == [
        [b"MULTI"], [b"SET", keys[0].encode(), b"0"], [b"RPUSH", b"one", b"1"], [b"EXEC"], [b"SET", b"last", b"end-of-it"]]


def test_who_was_cut_off_goes_on(follower):
    s, replica = follower
    with s.raw() as c, replica.server.raw() as r:
        fill(c)
        assert same(s, replica)
        for i in range(3):
            r.do("CLIENT", "KILL", "TYPE", "master")
            write_with(s.port, 2)
            assert wait_for(replica.is_up, 60)
            assert same(s, replica)
        stats = s.info("stats")
        assert (stats["sync_full"], stats["sync_partial_ok"]) == ("1", "3")


def test_who_was_away_for_too_long_begins_anew(start_server):
    s = start_server(repl_backlog_size="16384")
    with Replica("valkey", s) as replica, s.raw() as c:
        assert wait_for(replica.is_up, 60)
        replica.server.stand_still()
        s.raw().do("CLIENT", "KILL", "TYPE", "replica")
        for i in range(40):
            c.do("SET", "k%d" % i, "x" * 50_000)
        replica.server.proc.send_signal(signal.SIGCONT)
        assert wait_for(lambda: s.info("stats")["sync_full"] == "2", 60)
        assert wait_for(replica.is_up, 60)
        assert same(s, replica)
        assert s.info("stats")["sync_partial_err"] == "1"


def test_with_a_log_as_well(start_server):
    s = start_server(appendonly="yes", appendfsync="everysec")
    with Replica("redis", s) as replica, s.raw() as c:
        assert wait_for(replica.is_up, 60)
        write_with(s.port)
        c.do("CONFIG", "SET", "appendonly", "no")
        write_with(s.port)
        c.do("CONFIG", "SET", "appendonly", "yes")
        write_with(s.port)
        assert same(s, replica)
        assert wait_for(lambda: s.info("persistence")["aof_rewrite_in_progress"] == "0", 60)
        assert wait_for(lambda: not any("expires=0" not in said for db, said in s.info("keyspace").items() if db.startswith("db")))
        before = digest(s)
    s.proc.kill()
    s.proc.wait()
    s.start_again()
    assert digest(s) == before


def test_two_replicas_and_one_that_goes(start_server):
    s = start_server()
    with s.raw() as c:
        fill(c)
    with Replica("redis", s) as one:
        with Replica("valkey", s) as other:
            assert wait_for(lambda: one.is_up() and other.is_up(), 60)
            write_with(s.port)
            assert same(s, one) and same(s, other)
        write_with(s.port)
        assert same(s, one)


def test_wait_counts_who_has_it(follower):
    s, replica = follower
    with s.raw(timeout=60) as c, s.raw() as other:
        for i in range(5):
            c.do("SET", "k", i)
            assert c.do("WAIT", "1", "0") == 1
        c.send(b"".join(encode("SET", "k%d" % i, i) for i in range(50)) + encode("WAIT", "1", "0"))
        assert c.read_some(51)[-1] == 1
        with replica.server.raw() as r:
            assert r.do("GET", "k49") == b"49"
        c.do("SET", "k", "x")
        assert c.do("WAIT", "1", "0") == 1  # else fifty milliseconds may be too short for it, too
        assert c.do("WAIT", "2", "50") == 1
        replica.server.stand_still()
        c.do("SET", "k", "y")
        assert c.do("WAIT", "1", "50") == 0
        client = c.do("CLIENT", "ID")
        c.send(encode("WAIT", "1", "0"))
        assert wait_for(lambda: s.info("clients")["blocked_clients"] == "1")
        assert other.do("CLIENT", "UNBLOCK", client, "ERROR") == 1
        assert str(c.read()).startswith("UNBLOCKED")
        c.send(encode("WAIT", "1", "0"))
        assert wait_for(lambda: s.info("clients")["blocked_clients"] == "1")
        replica.server.proc.send_signal(signal.SIGCONT)
        assert c.read() == 1
        c.send(encode("WAIT", "5", "0"))
    assert wait_for(lambda: s.info("clients")["blocked_clients"] == "0")


# ---- What is read


class Reader:
    """A replica that takes the bytes apart."""

    def __init__(self, server, *asks, says=(), connection=None):
        self.raw = connection or server.raw(timeout=60)
        for words in says:
            assert self.raw.do("REPLCONF", *words) == "OK"
        self.raw.sock.settimeout(60)
        self.raw.sock.sendall(encode(*(asks or ("PSYNC", "?", "-1"))))
        self.data = b""

    def close(self):
        self.raw.close()

    def more(self):
        data = self.raw.sock.recv(MB)
        assert data
        self.data += data

    def line(self):
        while True:
            self.data = self.data.lstrip(b"\n")
            if b"\r\n" in self.data:
                line, self.data = self.data.split(b"\r\n", 1)
                return line
            self.more()

    def begin(self):
        """Its id, its offset, and the file."""
        _, replid, offset = self.line().split()
        return replid, int(offset), self.file()

    def file(self):
        """As its length or a mark behind it says; behind a mark nothing comes until it acknowledges something."""
        line = self.line()
        if line.startswith(b"$EOF:"):
            mark = line[5:]
            while not self.data.endswith(mark):
                self.more()
            file, self.data = self.data[:-len(mark)], b""
            return file
        size = int(line[1:])
        while len(self.data) < size:
            self.more()
        file, self.data = self.data[:size], self.data[size:]
        return file

    def commands(self, until):
        """All up to one with this last word."""
        found, at = [], 0
        while True:
            try:
                command, at = parse(self.data, at)
            except Incomplete:
                self.data, at = self.data[at:], 0
                self.more()
                continue
            if command[0] not in (b"PING", b"REPLCONF"):
                found.append(command)
            if command[-1] == until:
                self.data = self.data[at:]
                return found


def test_what_is_one_unit_stands_together(start_server, shards):
    s = start_server()
    reader = Reader(s)
    _, _, file = reader.begin()
    assert file.startswith(b"REDIS00") and len(file) > 9
    keys = ["{%d}" % i for i in range(20)]
    with s.raw() as c:
        c.do("SET", "one", "1")
        c.do("MULTI")
        for key in keys:
            c.do("INCR", key)
        c.do("EXEC")
        c.do("MSET", *[w for key in keys for w in ("m" + key, "v")])
        c.do("EVAL", "for i, k in ipairs(KEYS) do redis.call('SET', k, i) end", len(keys), *keys)
        c.do("SELECT", "3")
        c.do("SET", "three", "3")
        c.do("MULTI")
        c.do("EXEC")
        c.do("SELECT", "0")
        c.do("SET", "last", "end-of-it")
    commands = reader.commands(b"end-of-it")
    reader.close()
    words = [command[0] for command in commands]
    assert commands[:2] == [[b"SELECT", b"0"], [b"SET", b"one", b"1"]]
    incr = words.index(b"MULTI")
    assert words[incr : incr + 22] == [b"MULTI"] + [b"INCR"] * 20 + [b"EXEC"]
    assert [command[1].decode() for command in commands[incr + 1 : incr + 21]] == keys
    eval_end = len(words) - 1 - words[::-1].index(b"EXEC")
    assert words[eval_end - 21 : eval_end + 1] == [b"MULTI"] + [b"SET"] * 20 + [b"EXEC"]
    assert commands[-4:] == [[b"SELECT", b"3"], [b"SET", b"three", b"3"], [b"SELECT", b"0"], [b"SET", b"last", b"end-of-it"]]


def test_every_prefix_is_a_state_that_was(start_server):
    """Two keys of any shards are always written together; the first of a pair never runs ahead of the second at the end of a
    unit, and each key's numbers come in their order."""
    s = start_server()
    reader = Reader(s)
    reader.begin()

    def work(pair):
        with s.raw(timeout=60) as c:
            for i in range(200):
                if i % 2:
                    c.do("MSET", "a%d" % pair, i, "b%d" % pair, i)
                else:
                    c.send(encode("MULTI") + encode("SET", "b%d" % pair, i) + encode("SET", "a%d" % pair, i) + encode("EXEC"))
                    c.read_some(4)
                c.do("SET", "after%d" % pair, i)

    threads = [threading.Thread(target=work, args=(pair,)) for pair in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with s.raw() as c:
        c.do("SET", "last", "end-of-it")
    commands = reader.commands(b"end-of-it")
    reader.close()
    state, inside = {}, False
    for command in commands:
        name = command[0]
        if name in (b"SET", b"MSET"):
            for key, value in zip(command[1::2], command[2::2]):
                if key != b"last":
                    assert int(value) >= state.get(key, 0)
                    state[key] = int(value)
        inside = name == b"MULTI" or (inside and name != b"EXEC")
        if not inside:
            for pair in range(4):
                assert state.get(b"a%d" % pair, -1) == state.get(b"b%d" % pair, -1), command
                assert state.get(b"after%d" % pair, -1) <= state.get(b"a%d" % pair, -1)
    assert all(state[b"a%d" % pair] == 199 for pair in range(4))


def test_it_goes_on_at_any_offset(start_server):
    s = start_server(repl_ping_replica_period=3600)  # what is read ends as is said
    reader = Reader(s)
    replid, offset, _ = reader.begin()
    with s.raw() as c:
        for i in range(50):
            c.do("SET", "k%d" % i, "v" * i * 10)
        c.do("SET", "last", "end-of-it")
    whole = b""
    while not whole.endswith(b"end-of-it\r\n"):
        whole += reader.data
        reader.data = b""
        if not whole.endswith(b"end-of-it\r\n"):
            reader.more()
    reader.close()
    for skip in (0, 1, 777, len(whole) - 1, len(whole)):
        again = Reader(s, "PSYNC", replid, offset + 1 + skip)
        assert again.line() == b"+CONTINUE " + replid
        while len(again.data) < len(whole) - skip:
            again.more()
        assert again.data[: len(whole) - skip] == whole[skip:]
        again.close()
    for wrong in (("PSYNC", "x" * 40, offset + 1), ("PSYNC", replid, offset + 1_000_000), ("PSYNC", replid, "0"), ("PSYNC", "x" * 300, "5")):
        again = Reader(s, *wrong)
        assert again.begin()[0] == replid
        again.close()


def test_the_old_way(start_server):
    s = start_server()
    with s.raw() as c:
        fill(c)
        reader = Reader(s, "SYNC")
        assert reader.file().startswith(b"REDIS")
        c.do("SET", "last", "end-of-it")
        assert reader.commands(b"end-of-it")[-1] == [b"SET", b"last", b"end-of-it"]
        reader.close()


def test_who_reads_nothing_is_closed_and_nobody_waits(start_server):
    s = start_server(client_output_buffer_limit=["replica", "4mb", "0", "0"])
    with s.raw(timeout=60) as c:
        c.do("SET", "k", "x" * MB)
        slow = s.raw(timeout=60)
        slow.send(encode("PSYNC", "?", "-1"))
        assert wait_for(lambda: "slave0" in s.info("replication"))

        def is_closed():  # what comes before the cut is in the file
            assert c.do("SET", "k", "x" * MB) == "OK"
            return s.info("replication")["connected_slaves"] == "0"

        assert wait_for(is_closed, 60)
        slow.close()


def test_who_breaks_off_at_any_step(start_server):
    s = start_server()
    with s.raw() as c:
        fill(c)
        for i in range(30):
            with socket.create_connection(("127.0.0.1", s.port)) as sock:
                sock.sendall(encode("REPLCONF", "listening-port", "1234"))
                sock.sendall(encode("PSYNC", "?", "-1"))
                if i % 3:
                    sock.settimeout(0.05 * (i % 5) + 0.01)
                    try:
                        sock.recv(1 + i * 50)
                    except (socket.timeout, ConnectionError):
                        pass
            c.do("INCR", "n")
        assert wait_for(lambda: s.info("replication")["connected_slaves"] == "0", 60)
        assert c.do("GET", "n") == b"30"
        reader = Reader(s)
        reader.begin()
        reader.close()


REFUSED = [
    (("REPLCONF",), "OK"),
    (("REPLCONF", "foo", "bar"), RespError("ERR Unrecognized REPLCONF option: foo")),
    (("REPLCONF", "listening-port"), RespError("ERR syntax error")),
    (("REPLCONF", "listening-port", "x"), RespError("ERR value is not an integer or out of range")),
    (("REPLCONF", "capa", "eof", "capa", "psync2"), "OK"),
    (("REPLCONF", "rdb-only", "2"), RespError("ERR value is out of range, value must between 0 and 1")),
    (("REPLCONF", "rdb-filter-only", "nope"), RespError("ERR Unsupported rdb-filter-only option: nope")),
    (("REPLCONF", "version", "9.1.0"), "OK"),
    (("REPLCONF", "version", "1"), RespError("ERR Unrecognized version format: 1")),
    (("PSYNC", "x", "y"), RespError("ERR value is not an integer or out of range")),
    (("PSYNC", "x", "1", "failover"), RespError("ERR PSYNC FAILOVER can't be sent to a master.")),
    (("PSYNC", "x"), RespError("ERR wrong number of arguments for 'psync' command")),
]


def test_what_is_refused(server):
    with server.raw() as c:
        for words, reply in REFUSED:
            assert c.do(*words) == reply, words
        c.send(encode("REPLCONF", "ack", "5") + encode("PING"))  # it is not answered
        assert c.read() == "PONG"
        c.do("MULTI")
        assert str(c.do("PSYNC", "?", "-1")).startswith("ERR Command 'psync' not allowed inside a transaction")
        c.do("DISCARD")
        assert c.do("ROLE")[0] == b"master"


def test_without_replicas_the_stream_ends_and_has_another_id(start_server):
    s = start_server(repl_backlog_ttl=1)
    reader = Reader(s)
    replid, offset, _ = reader.begin()
    reader.close()
    assert wait_for(lambda: s.info("replication")["repl_backlog_active"] == "0", 60)
    with s.raw() as c:
        c.do("SET", "k", "v")
    again = Reader(s, "PSYNC", replid, offset + 1)
    other, _, file = again.begin()
    assert other != replid and b"k" in file
    again.close()


def test_a_save_beside_a_sync(start_server):
    s = start_server()
    with s.raw(timeout=60) as c:
        c.do("DEBUG", "POPULATE", "20000")
        readers = [Reader(s) for _ in range(3)]
        c.do("BGSAVE", "SCHEDULE")
        c.do("BGREWRITEAOF")
        for reader in readers:
            reader.begin()
            reader.close()
        assert wait_for(lambda: s.info("persistence")["rdb_bgsave_in_progress"] == "0" and s.info("persistence")["aof_rewrite_in_progress"] == "0", 60)
        assert c.do("SAVE") == "OK"


def test_who_is_silent_is_closed(start_server):
    s = start_server(repl_timeout=3)
    reader = Reader(s)
    reader.begin()
    assert wait_for(lambda: s.info("replication")["connected_slaves"] == "0")
    reader.close()


def test_its_replicas_are_listed_where_valkey_lists_them(follower):
    """Behind their number, and before how many wait."""
    s, _ = follower
    with s.raw() as c:
        names = [line.split(b":")[0] for line in c.do("INFO", "replication").splitlines()]
    at = names.index(b"connected_slaves")
    assert names[at : at + 3] == [b"connected_slaves", b"slave0", b"replicas_waiting_psync"]
