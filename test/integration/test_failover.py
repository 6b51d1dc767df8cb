# SPDX-License-Identifier: BSD-3-Clause
"""FAILOVER: a primary hands over to a replica and follows it, with nothing lost and nothing sent again; and what becomes of it
when the target is slow, away, or says no. Valkey and Redis on either side; what Valkey does among its own is asked first."""

import signal
import threading

import pytest

from resp import Raw, RespError, encode
from server import wait_for
from test_chain import at, fulls, partials, same, start_kind  # noqa: F401 (a fixture)
from test_follow import FakePrimary, follow, is_up, offset, said
from test_replication import fill

pytestmark = [pytest.mark.row_pair, pytest.mark.shoal_only]

READONLY = RespError("READONLY You can't write against a read only replica.")
KINDS = ("shoal", "valkey")


def state(server):
    return said(server).get("master_failover_state")


def has_failed_over(old, new):
    return wait_for(lambda: said(new).get("role") == "master" and is_up(old) and state(old) == "no-failover", 60)


class Writers:
    """Write one key after the other to whoever takes it; what was acknowledged is noted."""

    def __init__(self, ports, count=3):
        self.ports, self.stop, self.done, self.errors = ports, threading.Event(), [], set()
        self.threads = [threading.Thread(target=self.write, args=(i,)) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def write(self, n):
        clients, i, to = [Raw(("127.0.0.1", port), timeout=60) for port in self.ports], 0, 0
        while not self.stop.is_set():
            i += 1
            key = "w%d:%d" % (n, i)
            reply = clients[to].do("SET", key, i) if i % 3 else clients[to].do("MSET", key, i, "x" + key, i)
            if reply == "OK":
                self.done.append((key, b"%d" % i))
            else:
                self.errors.add(str(reply))
                to = (to + 1) % len(clients)
        for c in clients:
            c.close()

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("kinds", ["shoal shoal", "shoal valkey", "valkey shoal", "shoal redis", "redis shoal"])
@pytest.mark.parametrize("named", (False, True))
def test_nothing_is_lost(start_kind, kinds, named):  # noqa: F811
    """While all write: who is answered OK has it at the new primary, who is not hears that this is a replica now."""
    old, new = (start_kind(kind) for kind in kinds.split())
    follow(new, old)
    with old.raw(timeout=60) as c, new.raw(timeout=60) as n, old.raw(timeout=60) as waiter:
        fill(c)
        begin = fulls(old)
        waiter.send(encode("BLPOP", "none", "0"))
        writers = Writers([old.port, new.port])
        try:
            assert wait_for(lambda: len(writers.done) > 200, 60)
            words = ["TO", "127.0.0.1", new.port] if named else []
            assert c.do("FAILOVER", *words) == "OK"
            assert has_failed_over(old, new), (said(old), said(new), old.log()[-3000:])
            count = len(writers.done)
            assert wait_for(lambda: len(writers.done) > count + 200, 60)
        finally:
            writers.end()
        assert writers.errors <= {str(READONLY)}
        assert str(waiter.read()).startswith("UNBLOCKED force unblock from blocking operation, instance state changed")
        for key, value in writers.done:
            assert n.do("GET", key) == value, key
        assert same(new, old)
        assert fulls(old) == begin and fulls(new) == 0 and partials(new) == 1
        assert c.do("SET", "a", "1") == READONLY and n.do("SET", "a", "1") == "OK"
        if old.kind == "shoal":
            assert c.do("CONFIG", "GET", "replicaof")[1] == b"127.0.0.1 %d" % new.port
        if new.kind == "shoal":
            assert n.do("CONFIG", "GET", "replicaof")[1] == b""


def test_to_and_fro_with_a_third(start_kind):  # noqa: F811
    """Who follows the old one stays with it, and has what the new one has."""
    a, b, third = (start_kind("shoal") for _ in range(3))
    follow(b, a)
    follow(third, a)
    with a.raw(timeout=60) as ca, b.raw(timeout=60) as cb:
        fill(ca)
        for i in range(2):
            for old, new, c, n in ((a, b, ca, cb), (b, a, cb, ca)):
                assert c.do("FAILOVER", "TO", "127.0.0.1", new.port, "TIMEOUT", "60000") == "OK"
                assert has_failed_over(old, new), old.log()[-3000:]
                assert n.do("INCR", "n") > 0
                assert wait_for(lambda: is_up(third), 60)
                assert same(new, old, third)
    assert fulls(a) == 2 and fulls(b) == 0


REFUSED = [
    (["ABORT"], "ERR No failover in progress."),
    (["ABORT", "x"], "ERR syntax error"),
    (["TIMEOUT"], "ERR syntax error"),
    (["TIMEOUT", "x"], "ERR value is not an integer or out of range"),
    (["TIMEOUT", "0"], "ERR FAILOVER timeout must be greater than 0"),
    (["TIMEOUT", "-1"], "ERR FAILOVER timeout must be greater than 0"),
    (["TIMEOUT", "1", "TIMEOUT", "1"], "ERR syntax error"),
    (["TO", "h"], "ERR syntax error"),
    (["TO", "h", "p"], "ERR value is not an integer or out of range"),
    (["FORCE", "x"], "ERR syntax error"),
    ([], "ERR FAILOVER requires connected replicas."),
    (["TO", "127.0.0.1", "1", "FORCE", "TIMEOUT", "1"], "ERR FAILOVER requires connected replicas."),
]
REFUSED_WITH_A_REPLICA = [
    (["FORCE"], "ERR FAILOVER with force option requires both a timeout and target HOST and IP."),
    (["FORCE", "TIMEOUT", "100"], "ERR FAILOVER with force option requires both a timeout and target HOST and IP."),
    (["TO", "127.0.0.1", "1", "FORCE"], "ERR FAILOVER with force option requires both a timeout and target HOST and IP."),
    (["TO", "127.0.0.1", "1"], "ERR FAILOVER target HOST and PORT is not a replica."),
    (["TO", "127.0.0.2", "1", "FORCE", "TIMEOUT", "100"], "ERR FAILOVER target HOST and PORT is not a replica."),
]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_refused(start_kind, kind):  # noqa: F811
    primary, replica = start_kind(kind), start_kind("shoal")
    with primary.raw(timeout=60) as c, replica.raw(timeout=60) as r:
        for words, error in REFUSED:
            assert c.do("FAILOVER", *words) == RespError(error), words
        assert c.do("PSYNC", "?", "-1", "FAILOVER") == RespError("ERR PSYNC FAILOVER can't be sent to a master.")
        follow(replica, primary)
        for words, error in REFUSED_WITH_A_REPLICA:
            assert c.do("FAILOVER", *words) == RespError(error), words
        assert state(primary) == "no-failover"
        assert r.do("FAILOVER") == RespError("ERR FAILOVER is not valid when server is a replica.")
        with replica.raw() as other:
            assert other.do("PSYNC", "a" * 40, "1", "FAILOVER") == RespError("ERR PSYNC FAILOVER replid must match my replid.")
        assert said(replica)["role"] == "slave" and is_up(replica)


@pytest.mark.parametrize("kind", KINDS)
def test_a_target_that_is_behind(start_kind, kind):  # noqa: F811
    """It is waited for, and everything stands still, until the time is over or somebody says so."""
    primary, replica = start_kind(kind, repl_ping_replica_period=1), start_kind("shoal")
    follow(replica, primary)
    replica.stand_still()
    try:
        with primary.raw(timeout=60) as c, primary.raw(timeout=60) as writer, primary.raw() as other:
            replid = said(primary)["master_replid"]
            for words, ends in ((["TIMEOUT", "8000"], None), (["TO", "127.0.0.1", replica.port], ["FAILOVER", "ABORT"])):
                c.do("SET", "a", "1", "PX", "100")
                c.do("DEL", "n")
                assert c.do("FAILOVER", *words) == "OK"
                assert wait_for(lambda: state(primary) == "waiting-for-sync")
                writer.send(encode("INCR", "n"))
                assert wait_for(lambda: c.do("EXISTS", "a") == 0)
                clients = primary.info("clients")
                assert (clients["paused_reason"], clients["paused_actions"]) == ("failover_in_progress", "write")
                assert c.do("FAILOVER") == RespError("ERR FAILOVER already in progress.")
                assert c.do("REPLICAOF", "127.0.0.1", "1") == RespError("ERR REPLICAOF not allowed while failing over.")
                assert other.do("PSYNC", "?", "-1") == RespError("NOMASTERLINK Can't SYNC while failing over")
                assert c.do("GET", "n") is None
                if ends is not None:
                    assert c.do(*ends) == "OK"
                assert writer.read() == 1
                assert wait_for(lambda: state(primary) == "no-failover") and said(primary)["role"] == "master"
                assert said(primary)["master_replid"] == replid
            assert c.do("SET", "b", "1") == "OK"
    finally:
        replica.proc.send_signal(signal.SIGCONT)
    assert wait_for(lambda: is_up(replica), 60)
    assert same(primary, replica)


@pytest.mark.parametrize("kind", KINDS)
def test_a_target_that_is_forced(start_kind, kind):  # noqa: F811
    """Its time is over: it becomes the primary when it can, and who wrote meanwhile hears then that this is a replica."""
    primary, replica = start_kind(kind), start_kind("shoal")
    follow(replica, primary)
    with primary.raw(timeout=60) as c, primary.raw(timeout=60) as writer:
        c.do("SET", "a", "1")
        assert same(primary, replica)
        replica.stand_still()
        try:
            assert c.do("FAILOVER", "TO", "127.0.0.1", replica.port, "FORCE", "TIMEOUT", "3000") == "OK"
            writer.send(encode("INCR", "n"))
            assert wait_for(lambda: int(primary.info("clients")["blocked_clients"]) == 1)
            assert wait_for(lambda: state(primary) == "failover-in-progress")
            assert int(primary.info("clients")["blocked_clients"]) == 1
            assert c.do("SET", "c", "1") == READONLY
            # Who is sent to the primary waits until there is one: the target would send him back.
            sent = [primary.raw(timeout=60) for _ in range(2)]
            for conn, words in zip(sent, (("GET", "a"), ("SET", "a", "3"))):
                assert conn.do("CLIENT", "CAPA", "redirect") == "OK"
                conn.send(encode(*words))
            assert c.do("GET", "a") == b"1"
            assert wait_for(lambda: int(primary.info("clients")["blocked_clients"]) == 3)
        finally:
            replica.proc.send_signal(signal.SIGCONT)
        assert has_failed_over(primary, replica)
        assert writer.read() == READONLY
        for conn in sent:
            assert conn.read() == RespError("REDIRECT 127.0.0.1:%d" % replica.port)
            conn.close()
    assert same(replica, primary)


class Refuses(FakePrimary):
    """A replica of `primary`, which says no when it is asked to take over."""

    def __init__(self, primary):
        super().__init__()
        self.link = primary.raw(timeout=60)
        assert self.link.do("REPLCONF", "listening-port", self.port) == "OK"
        assert self.link.do("REPLCONF", "version", "9.1.0") == "OK"
        self.link.sock.sendall(encode("PSYNC", "?", "-1"))

    def acknowledge(self, primary):
        self.link.sock.sendall(encode("REPLCONF", "ACK", offset(primary)))

    def is_online(self, primary):
        return ",port=%d,state=online" % self.port in said(primary).get("slave0", "")


@pytest.mark.parametrize("kind", KINDS)
def test_a_target_that_says_no(start_kind, kind):  # noqa: F811
    """The old primary is the primary again, and what was written meanwhile is there."""
    primary = start_kind(kind)
    with primary.raw(timeout=60) as c, primary.raw(timeout=60) as writer, primary.raw(timeout=60) as waiter:
        c.do("SET", "a", "1")
        waiter.send(encode("BLPOP", "list", "0"))
        assert wait_for(lambda: int(primary.info("clients")["blocked_clients"]) == 1)
        target = Refuses(primary)
        assert wait_for(lambda: target.is_online(primary) or target.acknowledge(primary), 60)
        c.do("SET", "a", "2")
        assert c.do("FAILOVER", "TO", "127.0.0.1", target.port) == "OK"
        writer.send(encode("INCR", "n"))
        assert wait_for(lambda: int(primary.info("clients")["blocked_clients"]) == 2)
        while state(primary) == "waiting-for-sync":
            target.acknowledge(primary)
        words = target.psync()
        assert words[0] == b"PSYNC" and words[-1] == b"FAILOVER" and int(words[2]) == offset(primary) + 1
        assert state(primary) == "failover-in-progress"
        target.conn.sendall(b"-ERR not now\r\n")
        assert writer.read() == 1
        assert wait_for(lambda: said(primary).get("role") == "master" and state(primary) == "no-failover")
        assert c.do("SET", "b", "1") == "OK"
        # who waited for an element waits on, and gets it
        assert int(primary.info("clients")["blocked_clients"]) == 1
        assert c.do("RPUSH", "list", "x") == 1 and waiter.read() == [b"list", b"x"]
        target.link.close()
        target.close()
        # it goes on as if nothing had been
        replica = start_kind("shoal")
        follow(replica, primary)
        assert same(primary, replica)
