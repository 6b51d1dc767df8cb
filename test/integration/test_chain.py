# SPDX-License-Identifier: BSD-3-Clause
"""Replicas of replicas: of Shoal, Redis and Valkey, above and below each other. What the lowest reads are the bytes of the
highest, as far as those between have applied them; and whoever is promoted, moved or cut off, the others go on from where they
were if that can be. What a chain of Valkeys does is asked of one."""

import pytest

from resp import RespError, encode
from server import Server, find_peer, wait_for
from test_follow import NO_PING, FakePrimary, follow, is_up, offset, said, write_beside
from test_replication import Reader, digest, fill

pytestmark = [pytest.mark.row_pair, pytest.mark.shoal_only]

NO_LINK = RespError("NOMASTERLINK Can't SYNC while not connected with my master")


class Top(FakePrimary):
    """Whatever a replica has already: it gets everything."""

    def begin(self, at):
        self.psync()
        self.conn.sendall(b"+FULLRESYNC %s %d\r\n$%d\r\n%s" % (self.id, at, len(self.EMPTY), self.EMPTY))


def test_who_waits_for_a_sync_as_the_link_goes(start_server):
    """The middle one crashed as it refused them, found by shoal-sim-replicas."""
    top, middle = Top(), start_server(repl_diskless_sync_delay=60)
    with middle.raw(timeout=60) as c:
        assert c.do("REPLICAOF", "127.0.0.1", top.port) == "OK"
        top.begin(1000)
        assert wait_for(lambda: is_up(middle))
        waiting = [middle.raw(timeout=60) for _ in range(9)]
        for w in waiting:
            assert w.do("REPLCONF", "capa", "eof", "capa", "psync2") == "OK"
            w.send(encode("PSYNC", "?", "-1"))
        assert wait_for(lambda: said(middle)["connected_slaves"] == "9")
        top.close()
        for w in waiting:
            assert w.read_all().strip(b"\n") == b""  # it may have been told to be patient
            w.close()
        assert wait_for(lambda: said(middle)["connected_slaves"] == "0")
        assert c.do("PING") == "PONG"


@pytest.fixture
def start_kind(start_server):
    """start_kind("redis") starts a server of that kind; what is not its own is left out."""
    own = []

    def start(kind, **options):
        if kind == "shoal":
            return start_server(**options)
        path = find_peer(kind)
        if path is None:
            pytest.skip("no %s server to follow: ./dev test installs one" % kind)
        config = {"save": "", "repl-diskless-sync-delay": "0", "enable-debug-command": "yes"}
        config.update({name.replace("_", "-"): value for name, value in options.items()})
        s = Server(path, config, kind=kind)
        s.start()
        own.append(s)
        return s

    yield start
    for s in own:
        s.stop(check=False)


def at(server):
    """Applied there."""
    info = said(server)
    return int(info.get("slave_repl_offset", info.get("master_repl_offset", -1)))


def same(top, *others):
    """In the end, at equal offsets."""

    def are_same():
        want = offset(top)
        assert wait_for(lambda: all(at(s) >= want for s in others), 60), (said(top), [said(s) for s in others])
        return len({digest(s) for s in (top,) + others}) == 1

    return wait_for(are_same)


def fulls(server):
    return int(server.info("stats")["sync_full"])


def partials(server):
    return int(server.info("stats")["sync_partial_ok"])


def chain(start_kind, kinds, **options):
    servers = [start_kind(kind, **{**NO_PING, **options}) for kind in kinds]
    for above, below in zip(servers, servers[1:]):
        follow(below, above)
    return servers


CHAINS = ["shoal shoal shoal shoal", "valkey shoal valkey shoal", "redis shoal redis", "shoal valkey shoal", "shoal redis shoal valkey"]


@pytest.mark.parametrize("kinds", CHAINS)
def test_all_have_what_the_highest_has(start_kind, kinds):
    """They come one after the other while all kinds of writes go on, in several databases."""
    servers = [start_kind(kind) for kind in kinds.split()]
    with servers[0].raw() as c:
        fill(c)
        threads = write_beside(servers[0], 2)
        for above, below in zip(servers, servers[1:]):
            follow(below, above)
        for thread in threads:
            thread.join()
        c.do("SELECT", "9")
        c.do("SET", "last", "1")
    assert same(*servers)
    ids = {said(s)["master_replid"] for s in servers}
    assert len(ids) == 1
    for s in servers[1:-1]:
        info = said(s)
        assert info["role"] == "slave" and info["connected_slaves"] == "1" and info["repl_backlog_active"] == "1"


@pytest.mark.parametrize("middle", ("shoal", "valkey"))
@pytest.mark.parametrize("leaf", ("shoal", "valkey"))
def test_who_comes_in_the_middle_of_another_database(start_kind, middle, leaf):
    """And of a transaction: its file is of before, and all of it comes behind."""
    top = Top()
    m, below = start_kind(middle), start_kind(leaf)
    with m.raw(timeout=60) as c, below.raw(timeout=60) as b:
        c.do("REPLICAOF", "127.0.0.1", top.port)
        top.begin(77)
        b.do("SELECT", "9")
        c.do("SELECT", "9")
        top.conn.sendall(encode("SELECT", "9") + encode("INCR", "n") + encode("MULTI") + encode("INCR", "n"))
        assert wait_for(lambda: c.do("GET", "n") == b"1")
        follow(below, m)
        assert b.do("GET", "n") == b"1"
        top.conn.sendall(encode("INCR", "n") + encode("EXEC") + encode("INCR", "n"))
        assert wait_for(lambda: b.do("GET", "n") == b"4")
        assert c.do("GET", "n") == b"4" and wait_for(lambda: at(m) == at(below))
        # a link that breaks there is told of no database
        c.do("CLIENT", "KILL", "TYPE", "replica")
        assert wait_for(lambda: partials(m) == 1 and is_up(below), 60)
        top.conn.sendall(encode("INCR", "n"))
        assert wait_for(lambda: b.do("GET", "n") == b"5")
    top.close()


@pytest.mark.parametrize("kind", ("shoal", "valkey"))
def test_a_link_that_breaks_in_another_database(start_kind, kind):
    """Whoever has one: the stream does not say again which database it is in."""
    primary, replica = start_kind("shoal" if kind == "valkey" else "valkey"), start_kind(kind)
    follow(replica, primary)
    with primary.raw() as p:
        p.do("SELECT", "9")
        p.do("SET", "a", "1")
        for i in range(3):
            assert p.do("CLIENT", "KILL", "TYPE", "replica") == 1
            assert wait_for(lambda: partials(primary) == i + 1 and is_up(replica), 60)
            p.do("SET", "b%d" % i, "1")
    assert same(primary, replica)


@pytest.mark.parametrize("kind", ("shoal", "valkey"))
def test_the_bytes_are_those_that_came(start_kind, kind):
    """At the ends of commands, none before it has been applied; PING and GETACK of the highest among them, none of its own.
    (Valkey passes on what of a transaction has come.)"""
    top = Top()
    m = start_kind(kind, repl_ping_replica_period=1)
    stream = b""

    def send(data):
        nonlocal stream
        stream += data
        top.conn.sendall(data)

    with m.raw(timeout=60) as c:
        c.do("REPLICAOF", "127.0.0.1", top.port)
        top.begin(1000)
        send(encode("SELECT", "3") + encode("PING"))
        assert wait_for(lambda: at(m) == 1000 + len(stream))
        reader = Reader(m, says=[("capa", "psync2"), ("version", "9.1.0")])
        replid, begin, _ = reader.begin()
        assert replid == top.id and begin == 1000 + len(stream)
        before = len(stream)
        send(b"*1\r\n$4\r\nping\r\n" + encode("SET", "a", b"x" * 100_000) + encode("REPLCONF", "GETACK", "*"))
        whole = len(stream)
        send(encode("SET", "b", "x")[:-3])
        while len(reader.data) < whole - before:
            reader.more()
        assert reader.data == stream[before:whole]
        send(b"x\r\n")
        while len(reader.data) < len(stream) - before:
            reader.more()
        assert reader.data == stream[before:]
        if kind == "shoal":
            done = len(stream)
            send(encode("MULTI") + encode("INCR", "n"))
            assert wait_for(lambda: int(said(m)["slave_read_repl_offset"]) == 1000 + len(stream))
            assert at(m) == 1000 + done and reader.data == stream[before:done]
            send(encode("EXEC"))
            while len(reader.data) < len(stream) - before:
                reader.more()
            assert reader.data == stream[before:]
        assert c.do("SELECT", "3") == "OK" and c.do("EXISTS", "a", "b") == 2
        reader.close()
    top.close()


@pytest.mark.parametrize("kind", ("shoal", "valkey"))
def test_without_a_link_nobody_gets_anything(start_kind, kind):
    """But who is there stays; and what is written to a replica that can be written to stays there."""
    top, m, leaf = chain(start_kind, ("shoal", kind, "shoal"), replica_read_only="no", repl_ping_replica_period=1)
    with top.raw(timeout=60) as t, m.raw(timeout=60) as c, leaf.raw(timeout=60) as b:
        assert c.do("SET", "own", "1") == "OK"
        assert t.do("SET", "a", "1") == "OK"
        assert wait_for(lambda: b.do("GET", "a") == b"1")
        assert b.do("GET", "own") is None
        assert at(leaf) <= at(m) <= offset(top)
        replid = said(m)["master_replid"]
        port = top.port
        top.kill()
        assert wait_for(lambda: said(m)["master_link_status"] == "down")
        for words in (("SYNC",), ("PSYNC", "?", "-1"), ("PSYNC", replid, str(at(m) + 1))):
            with m.raw() as other:
                assert other.do(*words) == NO_LINK
                assert other.do("PING") == "PONG"
        assert said(m)["connected_slaves"] == "1" and is_up(leaf)
        assert top.port == port
        top.start_again()
        with top.raw() as t2:
            t2.do("SET", "a", "2")
            assert wait_for(lambda: b.do("GET", "a") == b"2", 60)
        assert wait_for(lambda: is_up(leaf) and is_up(m), 60)
        assert same(top, m, leaf)


@pytest.mark.parametrize("kinds", ["shoal shoal shoal shoal", "shoal shoal valkey valkey", "valkey shoal shoal redis"])
def test_the_one_in_the_middle_is_promoted(start_kind, kinds):
    """And the highest follows it, or one further down: whoever has a part of the stream goes on from there."""
    servers = a, b, c, d = chain(start_kind, kinds.split())
    with a.raw(timeout=60) as ca, b.raw(timeout=60) as cb, d.raw(timeout=60) as cd:
        fill(ca)
        assert same(*servers)
        old = said(a)["master_replid"]
        begin = [fulls(s) for s in servers]
        assert cb.do("REPLICAOF", "NO", "ONE") == "OK"
        info = said(b)
        assert info["master_replid2"] == old and info["master_replid"] != old
        assert cb.do("SET", "new", "1") == "OK"
        assert wait_for(lambda: cd.do("GET", "new") == b"1", 60)
        assert ca.do("REPLICAOF", "127.0.0.1", d.port) == "OK"
        assert wait_for(lambda: is_up(a), 60), a.log()[-2000:]
        assert cb.do("SET", "newer", "1") == "OK"
        assert same(b, c, d, a)
        assert {said(s)["master_replid"] for s in servers} == {info["master_replid"]}
        assert [fulls(s) for s in servers] == begin


def test_the_one_in_the_middle_moves(start_kind):
    """To a brother of its primary, to a primary with other data, and back."""
    a, b, m, leaf = (start_kind("shoal") for _ in range(4))
    other = start_kind("shoal")
    follow(b, a)
    follow(m, a)
    follow(leaf, m)
    with a.raw(timeout=60) as ca, m.raw(timeout=60) as cm, other.raw(timeout=60) as co, leaf.raw(timeout=60) as cl:
        fill(ca)
        assert same(a, b, m, leaf)
        threads = write_beside(a, 2)
        for _ in range(3):
            for to in (b, a):
                assert cm.do("REPLICAOF", "127.0.0.1", to.port) == "OK"
                assert wait_for(lambda: is_up(m), 60), m.log()[-2000:]
        for thread in threads:
            thread.join()
        assert same(a, b, m, leaf)
        # Who has more than the brother has by then gets all of it again, as in Valkey; its own replica may, too.
        assert fulls(a) == 2 and fulls(m) <= 1 + fulls(b) <= 4
        begin = fulls(m)
        co.do("SET", "elsewhere", "1")
        assert cm.do("REPLICAOF", "127.0.0.1", other.port) == "OK"
        assert wait_for(lambda: cl.do("GET", "elsewhere") == b"1", 60)
        assert same(other, m, leaf)
        assert fulls(m) == begin + 1
        threads = write_beside(a, 2)
        assert cm.do("REPLICAOF", "127.0.0.1", a.port) == "OK"
        for thread in threads:
            thread.join()
        assert wait_for(lambda: cl.do("EXISTS", "elsewhere") == 0 and is_up(m) and is_up(leaf), 60)
        assert same(a, b, m, leaf)


def test_who_was_behind_the_one_that_is_promoted_goes_on(start_kind):
    """A brother that has less: what it lacks is in the new primary's backlog."""
    a, b, c = (start_kind("shoal") for _ in range(3))
    follow(b, a)
    follow(c, a)
    with a.raw(timeout=60) as ca, b.raw(timeout=60) as cb, c.raw(timeout=60) as cc:
        fill(ca)
        assert same(a, b, c)
        assert cc.do("REPLICAOF", "127.0.0.1", "1") == "OK"  # nobody is there
        for i in range(100):
            ca.do("SET", "later%d" % i, i)
        assert same(a, b)
        assert cb.do("REPLICAOF", "NO", "ONE") == "OK"
        assert cc.do("REPLICAOF", "127.0.0.1", b.port) == "OK"
        assert wait_for(lambda: is_up(c), 60)
        assert same(b, c)
        assert fulls(b) == 0 and partials(b) == 1


def test_links_break_everywhere_under_load(start_kind):
    servers = chain(start_kind, ["shoal"] * 4)
    begin = [fulls(s) for s in servers]
    threads = write_beside(servers[0], 3)
    for _ in range(4):
        for s in servers[:-1]:
            with s.raw() as c:
                c.do("CLIENT", "KILL", "TYPE", "replica")
    for thread in threads:
        thread.join()
    assert wait_for(lambda: all(is_up(s) for s in servers[1:]), 60)
    assert same(*servers)
    assert [fulls(s) for s in servers] == begin
