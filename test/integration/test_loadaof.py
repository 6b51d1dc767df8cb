# SPDX-License-Identifier: BSD-3-Clause
"""DEBUG LOADAOF: what the log and its snapshot have on the disk takes the place of what is in memory, of a server that runs; and
which segments a log goes on in."""

import os
import signal
import threading

import pytest

from resp import NULL_ARRAY, RespError, encode
from server import wait_for

pytestmark = [pytest.mark.row_each]

ERROR = "ERR Error trying to load the AOF files, check server logs."


def said(c):
    return dict(line.split(":", 1) for line in c.do("INFO", "persistence").decode().splitlines() if ":" in line)


def log_is_whole(c):
    return wait_for(lambda: said(c)["aof_rewrite_in_progress"] == "0" and said(c)["aof_rewrite_scheduled"] == "0", 60)


def ends(s, how):
    s.proc.send_signal(how), s.proc.wait()
    s.start_again()


def fill(c):
    for db in (0, 3):
        c.do("SELECT", db)
        c.do("SET", "s", "1", "EX", "1000"), c.do("RPUSH", "l", "a", "b"), c.do("SADD", "set", "x", "7"), c.do("ZADD", "z", "1.5", "m")
        c.do("HSET", "h", "f", "v", "g", "w"), c.do("XADD", "x", "1-1", "k", "v"), c.do("XGROUP", "CREATE", "x", "g", "0")
        c.do("PFADD", "p", "a", "b"), c.do("SETRANGE", "s2", "5", b"\x00\r\n"), c.do("SET", "k%d" % db, "1")
        c.do("MSET", *[word for i in range(50) for word in ("m%d" % i, "v")])
    c.do("SWAPDB", 3, 4)
    c.do("SELECT", 0), c.do("RENAME", "set", "set2")


def test_what_is_on_the_disk_is_what_was_answered(start_server):
    s = start_server(appendonly="yes")
    with s.raw() as c:
        fill(c)
        before = c.do("DEBUG", "DIGEST")
        for _ in range(3):
            assert c.do("DEBUG", "LOADAOF") == "OK"
            assert c.do("DEBUG", "DIGEST") == before
            assert said(c)["rdb_changes_since_last_save"] == "0"
        assert 900 < c.do("TTL", "s") <= 1000
        assert c.do("INCR", "n") == 1
        assert c.do("BGREWRITEAOF") and log_is_whole(c)
        assert c.do("INCR", "n") == 2
        before = c.do("DEBUG", "DIGEST")
        assert c.do("debug", "loadaof", "whatever") == "OK"
        assert c.do("DEBUG", "DIGEST") == before
        assert c.do("INCR", "n") == 3
        assert c.do("MSET", "a", "1", "b", "2", "c", "3", "d", "4") == "OK"
        before = c.do("DEBUG", "DIGEST")
    ends(s, signal.SIGKILL)
    with s.raw() as c:
        assert c.do("DEBUG", "DIGEST") == before


def test_it_is_the_disk_that_is_read(start_server):
    """What was changed after the log had ended is not there any more."""
    s = start_server(appendonly="yes")
    with s.raw() as c:
        c.do("SET", "logged", "1")
        c.do("CONFIG", "SET", "appendonly", "no")
        assert wait_for(lambda: said(c)["aof_enabled"] == "0")
        c.do("SET", "not", "1"), c.do("SET", "logged", "2")
        assert c.do("DEBUG", "LOADAOF") == "OK"
        assert c.do("MGET", "logged", "not") == [b"1", None]
        c.do("SET", "later", "1")
        c.do("CONFIG", "SET", "appendonly", "yes")
        assert log_is_whole(c)
        c.do("SET", "last", "1")
        assert c.do("DEBUG", "LOADAOF") == "OK"
        assert c.do("MGET", "logged", "later", "last") == [b"1", b"1", b"1"]


def test_without_a_log_all_is_gone(start_server):
    s = start_server(appendonly="no")
    with s.raw() as c:
        c.do("SET", "a", "1")
        assert c.do("DEBUG", "LOADAOF") == RespError(ERROR)
        assert c.do("DBSIZE") == 0


def test_who_watches_and_who_waits(start_server):
    s = start_server(appendonly="yes")
    with s.raw() as c, s.raw() as watcher, s.raw() as waiter:
        c.do("SET", "watched", "1"), c.do("RPUSH", "other", "1")
        watcher.do("WATCH", "watched"), watcher.do("MULTI"), watcher.do("GET", "watched")
        waiter.send(encode("BLPOP", "list", "0"))
        assert wait_for(lambda: "blocked_clients:1" in c.do("INFO", "clients").decode())
        assert c.do("DEBUG", "LOADAOF") == "OK"
        assert watcher.do("EXEC") == NULL_ARRAY
        assert "blocked_clients:1" in c.do("INFO", "clients").decode()
        c.do("RPUSH", "list", "x")
        assert waiter.read() == [b"list", b"x"]


@pytest.mark.shoal_only
def test_clients_that_write_meanwhile(start_server):
    """They are told of loading, or wait; what they were told is there stays."""
    s = start_server(appendonly="yes", appendfsync="no")
    counts, wrong, stop = [0] * 6, [], threading.Event()

    def count(i):
        with s.raw() as c:
            while not stop.is_set():
                got = c.do("INCR", "n%d" % i) if i % 2 else c.do("MSET", "n%d" % i, counts[i] + 1, "m%d" % i, counts[i] + 1)
                if isinstance(got, RespError):
                    if not str(got).startswith("LOADING"):
                        wrong.append(str(got))
                    continue
                counts[i] += 1
                if i % 2 and got != counts[i]:
                    wrong.append("%d: %d is not %d" % (i, got, counts[i]))
                    return

    threads = [threading.Thread(target=count, args=(i,)) for i in range(6)]
    for t in threads:
        t.start()
    with s.raw() as c:
        for _ in range(12):
            assert c.do("DEBUG", "LOADAOF") == "OK"
            before = list(counts)
            assert wait_for(lambda: all(a > b for a, b in zip(counts, before)) or wrong, 30)
    stop.set()
    for t in threads:
        t.join()
    assert wrong == []
    ends(s, signal.SIGKILL)
    with s.raw() as c:
        assert [int(c.do("GET", "n%d" % i)) for i in range(6)] == counts
        assert [int(c.do("GET", "m%d" % i)) for i in range(0, 6, 2)] == counts[::2]


@pytest.mark.shoal_only
def test_two_at_once_and_saves_beside(start_server):
    s = start_server(appendonly="yes")
    with s.raw() as c, s.raw() as d:
        c.do("DEBUG", "POPULATE", "20000"), c.do("SET", "a", "1")
        assert c.do("BGREWRITEAOF") and log_is_whole(c)
        for _ in range(5):
            c.do("SET", "a", "2"), d.do("BGSAVE")
            c.send(encode("DEBUG", "LOADAOF")), d.send(encode("DEBUG", "LOADAOF"))
            assert c.read() == "OK"
            got = d.read()
            assert got == "OK" or str(got).startswith("LOADING")
            assert (c.do("DBSIZE"), c.do("GET", "a")) == (20001, b"2")


@pytest.mark.shoal_only
def test_data_that_is_not_sound_ends_the_server(start_server):
    s = start_server(appendonly="yes")
    with s.raw() as c:
        for i in range(64):
            c.do("SET", "key%d" % i, "x" * 100)
        folder = os.path.join(c.do("CONFIG", "GET", "dir")[1].decode(), "appendonlydir")
        path = max((os.path.join(folder, n) for n in os.listdir(folder) if n.endswith(".segment")), key=os.path.getsize)
        with open(path, "r+b") as f:
            f.seek(300), f.write(b"?")
        try:
            assert c.do("DEBUG", "LOADAOF") == RespError(ERROR)
        except (OSError, EOFError):
            pass
    assert wait_for(lambda: s.proc.poll() is not None, 30)
    # Bytes that nobody knew to be synced may be a torn end: then numbers are missing.
    assert os.path.basename(path) in s.log() or "but this server has written up to" in s.log()
    s.stopped_by_test = True


def segments(s):
    folder = os.path.join(s.dir, "appendonlydir")
    return sorted(n for n in os.listdir(folder) if n.endswith(".segment"))


@pytest.mark.shoal_only
def test_starts_do_not_leave_segments(start_server):
    s = start_server(appendonly="yes", auto_aof_rewrite_percentage="0")
    with s.raw() as c:
        shards = int(c.do("CONFIG", "GET", "shards")[1])
    assert len(segments(s)) == 2 * shards
    for _ in range(4):
        ends(s, signal.SIGTERM)
    assert len(segments(s)) == 2 * shards
    for i in range(4):
        with s.raw() as c:
            for k in range(64):
                c.do("INCR", "key%d" % k)
        ends(s, signal.SIGKILL if i % 2 else signal.SIGTERM)
        with s.raw() as c:
            assert [int(c.do("GET", "key%d" % k)) for k in range(64)] == [i + 1] * 64
    assert len(segments(s)) == 6 * shards


@pytest.mark.slow
def test_many_short_lives_do_not_leave_more_and_more_segments(start_server, shards):
    """A log that stays small was never rewritten, so each life left one more segment a shard."""
    s = start_server(appendonly="yes", appendfsync="no")
    for i in range(20):
        with s.raw() as c:
            assert c.do("MSET", *[word for j in range(40) for word in ("k%d" % j, i)]) == "OK"
        ends(s, signal.SIGKILL)
    assert wait_for(lambda: len(segments(s)) <= 8 * shards, 60)
    with s.raw() as c:
        assert set(c.do("MGET", *["k%d" % j for j in range(40)])) == {b"19"}
