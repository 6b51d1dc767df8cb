# SPDX-License-Identifier: BSD-3-Clause
"""replicas-ack: replies, those of reads too, leave when so many replicas have acknowledged what they tell of. Who is too few is
told so, who asks for no keys never waits, and whatever was acknowledged is there when a replica that acknowledged takes over."""

import select
import signal
import socket
import threading

import pytest
import redis

from resp import Incomplete, Raw, RespError, encode, parse
from server import wait_for
from test_chain import start_kind  # noqa: F401 (a fixture)
from test_failover import Writers, has_failed_over
from test_follow import follow, is_up, said
from test_replication import Reader

pytestmark = [pytest.mark.row_pair, pytest.mark.shoal_only]

TOO_FEW = RespError("NOREPLICAS Not enough good replicas to write.")


class Acker(Reader):
    """Acknowledges when it is told to."""

    def __init__(self, server):
        super().__init__(server, says=[("capa", "psync2")])
        _, self.offset, _ = self.begin()
        self.asked = 0

    def take(self, word):
        """The stream, until a command with that last word."""
        while True:
            try:
                command, at = parse(self.data, 0)
            except Incomplete:
                self.more()
                continue
            self.data = self.data[at:]
            self.offset += at
            self.asked += command[:2] == [b"REPLCONF", b"GETACK"]
            if command[-1] == word:
                return

    def ack(self):
        self.raw.sock.sendall(encode("REPLCONF", "ACK", self.offset))

    def take_and_ack(self, word=b"*"):
        self.take(word)
        self.ack()


def stands(server, count=1):
    """So many replicas read the stream."""
    info = said(server)
    return sum("state=online" in info.get("slave%d" % i, "") for i in range(8)) == count


def acks(c, count):
    assert c.do("CONFIG", "SET", "replicas-ack", count) == "OK"


@pytest.fixture
def one(start_server):
    """A primary with one Acker, which wants its word."""
    s = start_server(repl_ping_replica_period=3600)
    reader = Acker(s)
    assert wait_for(lambda: stands(s))
    with s.raw() as c:
        acks(c, 1)
    yield s, reader
    reader.close()


def asks(c, *words):
    c.send(encode(*words))


def test_it_is_shown_by_name(start_server):
    s = start_server()
    with s.raw() as c:
        assert c.do("CONFIG", "GET", "replicas-ack") == [b"replicas-ack", b"0"]
        assert b"replicas-ack" not in c.do("CONFIG", "GET", "*")
        acks(c, 3)
        assert c.do("CONFIG", "GET", "replicas-a*") == [b"replicas-ack", b"3"]
        assert str(c.do("CONFIG", "SET", "replicas-ack", "-1")).startswith("ERR ")


def test_replies_wait_for_their_word(one):
    s, reader = one
    with s.raw() as writer, s.raw() as c, s.raw() as watch:
        for i in range(6):  # of any shard, and of several
            asks(writer, *(("SET", "k%d" % i, i) if i % 2 else ("MSET", "k%d" % i, i, "m%d" % i, i)))
            reader.take(b"*")  # it is asked at once
            assert writer.is_silent()
            asks(c, "GET", "k%d" % i)
            assert c.is_silent()
            # Who watches is answered: also within a transaction, and on a connection that has read before.
            assert watch.do("PING") == "PONG"
            assert "role:master" in watch.do("INFO", "replication").decode()
            assert watch.do("ROLE")[0] == b"master"
            assert watch.do("REPLCONF", "listening-port", "1") == "OK"
            assert watch.do("CONFIG", "GET", "replicas-ack") == [b"replicas-ack", b"1"]
            assert watch.do("PUBLISH", "a", "b") == 0
            assert watch.do("MULTI") == "OK" and watch.do("PING") == "QUEUED"
            assert watch.do("CLIENT", "SETNAME", "w") == "QUEUED" and watch.do("EXEC") == ["PONG", "OK"]
            reader.ack()
            assert writer.read() == "OK"
            assert c.read() == b"%d" % i
            assert watch.do("GET", "k%d" % i) == b"%d" % i


def test_what_was_told_before_does_not_wait_for_what_comes(one):
    """A reply that may leave does, and one behind it on the same connection waits, in order."""
    s, reader = one
    with s.raw() as writer, s.raw() as c:
        assert c.do("GET", "k") is None
        assert said(s)["replicas_ack_replicas"] == "1" and said(s)["replicas_ack_behind"] == "0"
        asks(writer, "SET", "k", "v")
        reader.take(b"*")
        assert said(s)["replicas_ack_behind"] == "1" and said(s)["stream_runs_waiting"] == "0"
        c.send(encode("GET", "k") + encode("PING"))
        assert c.is_silent()
        reader.ack()
        assert writer.read() == "OK" and c.read() == b"v" and c.read() == "PONG"


def test_all_kinds_of_writers(one):
    s, reader = one
    with s.raw() as c, s.raw() as filler:
        kinds = [
            [("MULTI",), ("INCR", "a"), ("INCR", "b"), ("GET", "c"), ("EXEC",)],
            [("EVAL", "redis.call('SET', KEYS[1], 1) return redis.call('GET', KEYS[1])", "1", "s")],
            [("EVAL", "for i = 1, 9 do redis.call('SET', 'u' .. i, i) end return 1", "0")],
            [("RENAME", "s", "t")],
            [("FLUSHALL",)],
        ]
        for words in kinds:
            for w in words[:-1]:
                assert c.do(*w) in ("OK", "QUEUED")
            asks(c, *words[-1])
            reader.take(b"*")
            assert c.is_silent()
            reader.ack()
            assert not isinstance(c.read(), RespError)
        # Who was blocked is answered when what served him is acknowledged.
        asks(c, "BLPOP", "list", "0")
        assert wait_for(lambda: s.info("clients")["blocked_clients"] == "1")
        asks(filler, "RPUSH", "list", "x")
        reader.take(b"*")
        assert c.is_silent() and filler.is_silent()
        reader.ack()
        assert filler.read() == 1 and c.read() == [b"list", b"x"]


def test_zero_lets_all_go(one):
    s, reader = one
    clients = [s.raw() for _ in range(8)]
    for i, c in enumerate(clients):
        asks(c, "SET", "k%d" % i, "v")
        reader.take(b"v")
    assert all(c.is_silent(0.05) for c in clients)
    with s.raw() as c:
        acks(c, 0)
        assert [client.read() for client in clients] == ["OK"] * 8
        assert c.do("SET", "k", "v") == "OK"
        # And it can be asked for again: what came meanwhile counts as acknowledged.
        acks(c, 1)
        assert c.do("GET", "k") == b"v"
        asks(c, "SET", "k", "w")
        assert c.is_silent()
        reader.take(b"w")
        reader.take_and_ack()
        assert c.read() == "OK"
    for client in clients:
        client.close()


def test_as_many_as_are_wanted(one):
    s, reader = one
    other = Acker(s)
    assert wait_for(lambda: stands(s, 2))
    with s.raw() as c, s.raw() as config:
        acks(config, 2)
        for first, second in ((reader, other), (other, reader)):
            asks(c, "SET", "k", "v")
            first.take(b"v")
            first.take_and_ack()
            assert c.is_silent()
            second.take(b"v")
            second.take_and_ack()
            assert c.read() == "OK"
        asks(c, "SET", "k", "w")
        reader.take(b"w")
        reader.take_and_ack()
        assert c.is_silent()
        acks(config, 1)  # the one is enough now
        assert c.read() == "OK"
        acks(config, 3)
        assert c.do("SET", "k", "x") == TOO_FEW
    other.close()


def test_a_replica_that_dies_leaves_who_waits_waiting(one):
    s, reader = one
    with s.raw() as c, s.raw() as reads:
        asks(c, "SET", "k", "v")
        reader.take(b"v")
        reader.close()
        assert wait_for(lambda: stands(s, 0))
        with s.raw() as config:
            acks(config, 1)  # all shards have heard of that, too, when it is answered
        asks(reads, "GET", "k")
        assert reads.is_silent() and c.is_silent()
        with s.raw() as watch:
            assert watch.do("PING") == "PONG" and watch.do("SET", "k", "w") == TOO_FEW
            assert watch.do("MULTI") == "OK" and watch.do("SET", "k", "w") == TOO_FEW
            assert str(watch.do("EXEC")).startswith("EXECABORT")
        again = Acker(s)
        assert c.is_silent()
        again.take_and_ack()
        assert c.read() == "OK" and reads.read() == b"v"
        again.close()


def test_from_the_start(start_server, start_kind):  # noqa: F811
    s = start_server(replicas_ack=1, repl_diskless_sync_delay=0)
    with s.raw() as c:
        assert c.do("SET", "k", "v") == TOO_FEW and c.do("GET", "k") is None and c.do("PING") == "PONG"
        assert str(c.do("EVAL", "return redis.call('SET', KEYS[1], 1)", "1", "k")).startswith("NOREPLICAS ")
        for kind in ("valkey", "redis", "shoal"):
            replica = start_kind(kind)
            follow(replica, s)
            assert wait_for(lambda: c.do("SET", "k", kind) == "OK")
            assert c.do("GET", "k") == kind.encode()
            with replica.raw() as r:
                assert r.do("GET", "k") == kind.encode()
                assert r.do("REPLICAOF", "NO", "ONE") == "OK"
            assert wait_for(lambda: stands(s, 0))


@pytest.mark.parametrize("log", ("yes", "no"))
def test_what_was_refused_holds_nobody_up(start_server, log):
    """A script that may not write has drawn a number for what it might have done: nobody ever acknowledges that. (With a log, several
    shards and no replica all who were on its thread waited from then on.) The same with fewer replicas than are wanted."""
    s = start_server(replicas_ack=1, repl_diskless_sync_delay=0, appendonly=log)
    keys = ["k%d" % i for i in range(8)]

    def check(c):
        for key in keys:
            assert str(c.do("EVAL", "return redis.call('SET', KEYS[1], 1)", "1", key)).startswith("NOREPLICAS ")
            assert c.do("EVAL", "return redis.call('GET', KEYS[1])", "1", key) is None and c.do("GET", key) is None
        assert c.do("EVAL", "return 1", "0") == 1

    with s.raw(timeout=30) as c:
        check(c)
        replica = start_server()
        follow(replica, s)
        assert wait_for(lambda: c.do("SET", "known", "v") == "OK")
        assert wait_for(lambda: c.do("CONFIG", "SET", "replicas-ack", "2") == "OK")
        assert c.do("GET", "known") == b"v"
        check(c)


def test_a_primary_that_is_demoted_tells_nobody(one, start_server):
    """What nobody has acknowledged may be in nobody's stream then."""
    s, reader = one
    new = start_server()
    with s.raw() as c, s.raw() as reads, s.raw() as idle:
        asks(c, "SET", "k", "v")
        reader.take(b"v")
        asks(reads, "GET", "k")
        assert c.is_silent() and reads.is_silent()
        with s.raw() as admin:
            assert admin.do("REPLICAOF", "127.0.0.1", new.port) == "OK"
            assert c.is_closed() and reads.is_closed()
            assert idle.do("PING") == "PONG"
            assert wait_for(lambda: is_up(s))
            assert idle.do("GET", "k") is None  # a replica's reads wait for nobody
            assert admin.do("REPLICAOF", "NO", "ONE") == "OK"
            assert idle.do("GET", "k") is None and idle.do("SET", "k", "v") == TOO_FEW


# ---- A primary that dies


class Wire:
    """Between a replica and its primary; it can be cut without a word to either. The first connections end after so many bytes of the
    primary's each."""

    def __init__(self, port, cuts=()):
        self.port_to, self.held, self.over = port, threading.Event(), False
        self.cuts, self.count = list(cuts), 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        pairs, left = {}, {}
        while not self.over:
            ready, _, _ = select.select([self.listener, *pairs], [], [], 0.05)
            for sock in ready:
                if sock is self.listener:
                    down = self.listener.accept()[0]
                    try:
                        up = socket.create_connection(("127.0.0.1", self.port_to))
                        pairs.update({down: up, up: down})
                        left[up] = self.cuts[self.count] if self.count < len(self.cuts) else None
                        self.count += 1
                    except OSError:  # the primary is gone
                        down.close()
                    continue
                try:
                    data = sock.recv(1 << 16)
                    if left.get(sock) is not None:
                        data = data[: left[sock]]
                        left[sock] -= len(data)
                    if data and not self.held.is_set():
                        pairs[sock].sendall(data)
                except OSError:
                    data = b""
                if left.get(sock) == 0:
                    data = b""
                if not data:
                    for end in (sock, pairs[sock]):
                        del pairs[end]
                        end.close()
                    break
        for sock in pairs:
            sock.close()
        self.listener.close()

    def close(self):
        self.over = True
        self.thread.join()


class Load:
    """Clients that write in several ways, and one that reads, until their server is gone; what they were told is noted."""

    def __init__(self, port, count=3):
        self.port, self.done, self.seen = port, [[] for _ in range(count)], {}
        self.threads = [threading.Thread(target=self.write, args=(i,)) for i in range(count)]
        self.threads.append(threading.Thread(target=self.read))
        for thread in self.threads:
            thread.start()

    def write(self, n):
        r = redis.Redis(port=self.port, socket_timeout=None)
        i = 0
        try:
            while True:
                i += 1
                if i % 3 == 0:
                    r.mset({"w%d:%d" % (n, i): i, "x%d:%d" % (n, i): i})
                elif i % 3 == 1:
                    r.set("w%d:%d" % (n, i), i)
                else:
                    pipe = r.pipeline(transaction=True)
                    pipe.set("w%d:%d" % (n, i), i).set("last%d" % n, i).execute()
                self.done[n].append(i)
        except redis.RedisError:
            pass
        r.close()

    def read(self):
        r = redis.Redis(port=self.port, socket_timeout=None)
        try:
            while True:
                for n in range(len(self.done)):
                    self.seen[n] = int(r.get("last%d" % n) or 0)
        except redis.RedisError:
            pass
        r.close()

    def count(self):
        return min(len(done) for done in self.done)

    def end(self):
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("log", ("no", "yes"))
@pytest.mark.parametrize("kind", ("shoal", "valkey", "redis"))
@pytest.mark.parametrize("count", (1, 0))
def test_what_was_acknowledged_is_there(start_server, start_kind, kind, log, count):  # noqa: F811
    """The primary is cut off from its replica, goes on, and dies. Without replicas-ack that loses something: else nothing is tried here."""
    s = start_server(replicas_ack=count, appendonly=log)
    wire = Wire(s.port)
    replica = start_kind(kind)
    with replica.raw(timeout=60) as r:
        assert r.do("REPLICAOF", "127.0.0.1", wire.port) == "OK"
        assert wait_for(lambda: is_up(replica) and stands(s)), replica.log()[-2000:]
        with s.raw() as c:
            assert wait_for(lambda: c.do("SET", "first", "x") == "OK")
        load = Load(s.port)
        assert wait_for(lambda: load.count() > 100)
        wire.held.set()
        before = [done[-1] + 20 for done in load.done]
        offset = said(s)["master_repl_offset"]
        if count == 0:
            assert wait_for(lambda: all(load.done[n][-1] > i and load.seen.get(n, 0) > i for n, i in enumerate(before)))
        assert wait_for(lambda: said(s)["master_repl_offset"] != offset or "offset=%s," % offset not in said(s)["slave0"])
        s.kill()
        s.stopped_by_test = True
        load.end()
        wire.close()
        assert r.do("REPLICAOF", "NO", "ONE") == "OK"
        lost = [(n, i) for n, done in enumerate(load.done) for i in done if r.do("GET", "w%d:%d" % (n, i)) != b"%d" % i]
        unseen = [n for n, i in load.seen.items() if int(r.do("GET", "last%d" % n) or 0) < i]
        if count == 0:
            assert lost and unseen
        else:
            assert not lost and not unseen, (lost[:10], unseen)


def test_it_hands_over_with_all_that_was_acknowledged(start_server):
    old, new = (start_server(replicas_ack=1, repl_ping_replica_period=3600) for _ in range(2))
    follow(new, old)
    with old.raw() as c:
        assert wait_for(lambda: c.do("SET", "first", "x") == "OK")
        load = Writers([old.port, new.port])
        for one_of, other in ((old, new), (new, old), (old, new)):
            before = len(load.done)
            assert wait_for(lambda: len(load.done) > before + 100)
            with one_of.raw() as admin:
                assert admin.do("FAILOVER") == "OK"
            assert has_failed_over(one_of, other)
        before = len(load.done)
        assert wait_for(lambda: len(load.done) > before + 100)
        load.end()
    assert all(e.startswith(("READONLY", "NOREPLICAS")) for e in load.errors), load.errors
    with new.raw() as c:
        assert all(c.do("GET", key) == value for key, value in load.done)


def test_a_replica_that_stands_still_holds_who_waits(start_server, start_kind):  # noqa: F811
    s = start_server(replicas_ack=1)
    replica = start_kind("valkey")
    follow(replica, s)
    with s.raw() as c:
        assert wait_for(lambda: c.do("SET", "k", "v") == "OK")
        replica.proc.send_signal(signal.SIGSTOP)
        try:
            asks(c, "INCR", "n")
            assert c.is_silent()
            with Raw(("127.0.0.1", s.port)) as watch:
                assert watch.do("PING") == "PONG"
        finally:
            replica.proc.send_signal(signal.SIGCONT)
        assert c.read() == 1
