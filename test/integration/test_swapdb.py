# SPDX-License-Identifier: BSD-3-Clause
"""repl-diskless-load swapdb: a full sync of the same stream is read beside the keys that are served, and takes their place at once;
or, if it is broken, does not. What must be seen meanwhile is what Valkey's own tests of it ask for."""

import os
import signal

import pytest

from resp import NULL_ARRAY, Push, RespError, encode
from server import wait_for
from test_chain import fulls, start_kind  # noqa: F401 (a fixture)
from test_follow import FakePrimary, follow, is_up, said, same
from test_replication import Reader, fill

pytestmark = [pytest.mark.row_pair, pytest.mark.shoal_only]

LOADING = "LOADING"
LIBRARY = "#!lua name=lib\nserver.register_function{function_name='f', callback=function() return '%s' end, flags={'no-writes'}}"


def loading(server):
    fields = server.info("persistence")
    return fields["loading"], fields["async_loading"]


def loses_its_place(primary, replica):
    """The link is closed, and what the replica lacks then is not kept: it needs a full sync, of the same stream."""
    replica.stand_still()
    try:
        with primary.raw(timeout=60) as c:
            before = fulls(primary)
            assert c.do("CLIENT", "KILL", "TYPE", "replica") >= 1
            assert c.do("CONFIG", "SET", "repl-backlog-size", "16384") == "OK"
            c.do("SET", "lost", "1"), c.do("FUNCTION", "LOAD", "REPLACE", LIBRARY % "newest")
            for _ in range(20):
                c.do("SET", "filler", "x" * 16384)
            c.do("DEL", "filler")
            assert wait_for(lambda: int(said(primary)["repl_backlog_histlen"]) < 300000)
    finally:
        replica.proc.send_signal(signal.SIGCONT)
    assert wait_for(lambda: fulls(primary) > before, 60)


def pair(start, **options):
    """A replica that serves old keys while it reads new ones, a key in 100 s."""
    primary, replica = start("shoal"), start("shoal", repl_diskless_load="swapdb", replica_read_only="no", **options)
    with primary.raw(timeout=60) as c:
        fill(c)
        assert c.do("FUNCTION", "LOAD", LIBRARY % "old") == b"lib"
    follow(replica, primary)
    return primary, replica


@pytest.mark.parametrize("log", ("no", "yes"))
def test_old_keys_are_served_until_the_new_are_there(start_kind, log):  # noqa: F811
    primary, replica = pair(start_kind, appendonly=log)
    with primary.raw(timeout=60) as p, replica.raw(timeout=60) as r, (
        replica.raw(timeout=60)
    ) as watcher, replica.raw(timeout=60) as other, replica.raw(timeout=60) as tracker:
        assert r.do("SET", "own", "1") == "OK"  # on a writable one
        assert r.do("CONFIG", "SET", "key-load-delay", "100000000") == "OK"
        count = r.do("DBSIZE")
        tracker.do("HELLO", "3")
        assert tracker.do("CLIENT", "TRACKING", "on") == "OK"
        assert tracker.do("GET", "own") == b"1"
        p.do("FUNCTION", "LOAD", "REPLACE", LIBRARY % "new")
        p.do("SELECT", "9"), p.do("SET", "other", "9"), p.do("SELECT", "0")
        for i in range(50):
            p.do("SET", "new%d" % i, "2")
        p.do("SET", "new", "2")
        assert wait_for(lambda: r.do("GET", "new") == b"2", 60)
        assert watcher.do("WATCH", "own") == "OK" and other.do("WATCH", "lost") == "OK"
        replica_count = r.do("DBSIZE")
        loses_its_place(primary, replica)
        assert wait_for(lambda: loading(replica) == ("0", "1"), 60), replica.log()[-2000:]
        assert replica_count >= count
        # Served as before, and what would be in the way is refused.
        assert r.do("GET", "own") == b"1" and r.do("DBSIZE") == replica_count
        assert r.do("FCALL_RO", "f", "0") == b"new"
        for words in (("REPLICAOF", "NO", "ONE"), ("BGSAVE",), ("CONFIG", "SET", "appendonly", "no")):
            assert str(r.do(*words)).startswith(LOADING), words
        assert said(replica)["master_link_status"] == "down"
        assert loading(replica) == ("0", "1")
        assert r.do("CONFIG", "SET", "key-load-delay", "0") == "OK"
        assert wait_for(lambda: is_up(replica), 60), replica.log()[-2000:]
        assert loading(replica) == ("0", "0")
        assert same(primary, replica)
        assert r.do("EXISTS", "own") == 0 and r.do("GET", "new") == b"2" and r.do("FCALL_RO", "f", "0") == b"newest"
        assert tracker.read() == Push([b"invalidate", None])
        for conn in (watcher, other):
            assert conn.do("MULTI") == "OK" and conn.do("PING") == "QUEUED" and conn.do("EXEC") == NULL_ARRAY
        p.do("SET", "behind", "1")
        assert wait_for(lambda: r.do("GET", "behind") == b"1", 60)
        if log == "yes":
            digest = r.do("DEBUG", "DIGEST")
            assert r.do("DEBUG", "LOADAOF") == "OK" and r.do("DEBUG", "DIGEST") == digest


def test_it_may_end_meanwhile(start_kind):  # noqa: F811
    primary, replica = pair(start_kind)
    with replica.raw(timeout=60) as r:
        r.do("CONFIG", "SET", "key-load-delay", "100000000")
        loses_its_place(primary, replica)
        assert wait_for(lambda: loading(replica) == ("0", "1"), 60)


def test_another_stream_is_loaded_as_ever(start_kind):  # noqa: F811
    """The keys are no older state of the same data: -LOADING, as in Valkey."""
    primary, replica = start_kind("shoal"), start_kind("shoal", repl_diskless_load="swapdb")
    with primary.raw(timeout=60) as p, replica.raw(timeout=60) as r:
        fill(p)
        r.do("SET", "own", "1")
        r.do("CONFIG", "SET", "key-load-delay", "100000000")
        assert r.do("REPLICAOF", "127.0.0.1", primary.port) == "OK"
        assert wait_for(lambda: loading(replica) == ("1", "0"), 60)
        assert str(r.do("GET", "own")).startswith(LOADING)


def test_one_that_is_broken_costs_nothing(start_kind):  # noqa: F811
    """Neither keys nor functions: not even if its checksum is not looked at."""
    source = start_kind("shoal")
    with source.raw(timeout=60) as c:
        for i in range(1000):
            c.do("HSET", "h%d" % i, "a", "1", "b", "x" * 100)
        c.do("FUNCTION", "LOAD", LIBRARY % "old")
    reader = Reader(source)
    _, _, rdb = reader.begin()
    reader.close()
    replica, primary = start_kind("shoal", repl_diskless_load="swapdb", rdbchecksum="no"), FakePrimary()
    with replica.raw(timeout=60) as r:
        assert r.do("REPLICAOF", "127.0.0.1", primary.port) == "OK"
        primary.full_sync(rdb, at=100)
        assert wait_for(lambda: is_up(replica), 60), replica.log()[-2000:]
        digest = r.do("DEBUG", "DIGEST")
        assert digest == c_digest(source)
        half, kept = len(rdb) // 2, 0
        for broken in (rdb[:half], rdb[:half] + b"\xff" * 40 + rdb[half + 40 :], rdb[:half] + bytes(1000)):
            primary.cut()
            assert primary.psync()[1] == primary.id
            primary.conn.sendall(b"+FULLRESYNC %s %d\r\n$%d\r\n%s" % (primary.id, 500, len(broken), broken))
            kept += 1
            assert wait_for(lambda: replica.log().count("The old data stays") == kept, 60), replica.log()[-2000:]
            assert wait_for(lambda: loading(replica) == ("0", "0"), 60)
            assert r.do("DEBUG", "DIGEST") == digest and r.do("FCALL_RO", "f", "0") == b"old"
        primary.cut()
        # And a good one takes their place.
        assert primary.psync()[1] == primary.id
        empty = FakePrimary.EMPTY
        primary.conn.sendall(b"+FULLRESYNC %s %d\r\n$%d\r\n%s" % (primary.id, 900, len(empty), empty))
        assert wait_for(lambda: is_up(replica), 60)
        assert r.do("DBSIZE") == 0 and r.do("FUNCTION", "LIST") == []
        primary.conn.sendall(encode("SET", "k", "v"))
        assert wait_for(lambda: r.do("GET", "k") == b"v", 60)
    primary.close()
    assert wait_for(lambda: not [name for name in os.listdir(replica.dir) if name.startswith("temp-")])


@pytest.mark.parametrize("kind", ("shoal", "valkey"))
@pytest.mark.parametrize("lazy", ("yes", "no"))
def test_what_was_there_may_be_freed_beside(start_kind, kind, lazy):  # noqa: F811
    """replica-lazy-flush: of an own data set that gives way to the primary's."""
    primary, replica = start_kind("shoal"), start_kind(kind, replica_lazy_flush=lazy)
    with replica.raw(timeout=60) as r:
        r.do("DEBUG", "POPULATE", "1000")
        follow(replica, primary)
        assert r.do("DBSIZE") == 0
        if lazy == "yes":
            assert wait_for(lambda: int(replica.info("memory")["lazyfreed_objects"]) >= 1000)
        assert wait_for(lambda: replica.info("memory")["lazyfree_pending_objects"] == "0")
        assert (int(replica.info("memory")["lazyfreed_objects"]) >= 1000) == (lazy == "yes")


def c_digest(server):
    with server.raw(timeout=60) as c:
        return c.do("DEBUG", "DIGEST")


def test_reads_and_syncs_beside_each_other(start_kind):  # noqa: F811
    """Ten full syncs under writes and reads: nobody hears -LOADING, but for a moment if there is a log, and in the end both have the
    same. (The row with a log has once ended in that moment, and did not end.)"""
    primary, replica = pair(start_kind)
    with primary.raw(timeout=60) as p, replica.raw(timeout=60) as r:
        logs = r.do("CONFIG", "GET", "appendonly")[1] == b"yes"
        for turn in range(10):
            p.do("SET", "turn", turn)
            loses_its_place(primary, replica)
            while not is_up(replica):
                reply = r.do("GET", "turn")
                assert not isinstance(reply, RespError) or (logs and str(reply).startswith(LOADING)), reply
                p.do("RPUSH", "list", "x" * 100)
            assert wait_for(lambda: r.do("GET", "turn") == b"%d" % turn, 60)
        assert same(primary, replica)
