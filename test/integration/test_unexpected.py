# SPDX-License-Identifier: BSD-3-Clause
"""A replica that cannot do what its primary has done: a command that ends in an error here, a disk that cannot be written."""

import errno

import pytest

from failing_disk import FailingDisk
from resp import encode
from server import wait_for
from test_chain import start_kind  # noqa: F401 (a fixture)
from test_follow import FakePrimary, follow, is_up, said

pytestmark = [pytest.mark.row_each, pytest.mark.shoal_only]


def unexpected(server):
    return int(server.info("stats")["unexpected_error_replies"])


def log_status(server):
    try:
        return server.info("persistence")["aof_last_write_status"]
    except (OSError, EOFError):  # who waits when the log breaks is disconnected
        return None


def begin(replica):
    """A primary that it follows."""
    primary = FakePrimary()
    with replica.raw(timeout=60) as c:
        assert c.do("REPLICAOF", "127.0.0.1", primary.port) == "OK"
    primary.psync()  # it may ask to go on
    primary.conn.sendall(b"+FULLRESYNC %s 0\r\n$%d\r\n%s" % (primary.id, len(primary.EMPTY), primary.EMPTY))
    assert wait_for(lambda: is_up(replica))
    return primary


@pytest.mark.parametrize("kind", ("shoal", "valkey"))
def test_errors_are_told_and_counted(start_kind, kind):  # noqa: F811
    replica = start_kind(kind)
    primary = begin(replica)
    good = encode("SET", "a", "1") + encode("PING") + encode("PUBLISH", "c", "m") + encode("DEL", "none") + encode("UNLINK", "a", "none")
    primary.conn.sendall(good + encode("SET", "a", "1"))
    with replica.raw() as c:
        assert wait_for(lambda: c.do("GET", "a") == b"1")
        assert unexpected(replica) == 0 and "CRITICAL" not in replica.log()
        bad = [encode("LPUSH", "a", "x"), encode("SELECT", "99"), encode("SET", "a"), encode("NOSUCH", "a"), encode("INCR", "a") + encode("HSET", "a", "f", "v")]
        for i, command in enumerate(bad):
            primary.conn.sendall(command)
            assert wait_for(lambda: unexpected(replica) == i + 1), replica.log()[-2000:]
        # As one, and of several shards.
        primary.conn.sendall(encode("MULTI") + encode("SET", "b", "1") + encode("LPUSH", "b", "x") + encode("LPUSH", "a", "x") + encode("EXEC"))
        assert wait_for(lambda: unexpected(replica) == len(bad) + 2)
        primary.conn.sendall(encode("SET", "last", "1"))
        assert wait_for(lambda: c.do("GET", "last") == b"1")
        assert c.do("GET", "b") == b"1" and unexpected(replica) == len(bad) + 2
        assert "== CRITICAL ==" in replica.log() and "'lpush'" in replica.log()
        # No command, but what it was called.
        assert any("CRITICAL" in line and "unknown command 'NOSUCH'" in line and "'<unknown>'" in line for line in replica.log().splitlines())
        assert c.do("CONFIG", "RESETSTAT") == "OK" and unexpected(replica) == 0
        c.do("REPLICAOF", "NO", "ONE")
        c.do("LPUSH", "a", "x")  # a client's are its own affair
        assert unexpected(replica) == 0
    primary.close()


@pytest.mark.parametrize("how", ("panic", "panic-on-replicas"))
@pytest.mark.parametrize("command", (("LPUSH", "a", "x"), ("SELECT", "99"), ("NOSUCH", "a")))
def test_it_panics(start_server, how, command):
    replica = start_server(propagation_error_behavior=how)
    primary = begin(replica)
    primary.conn.sendall(encode("SET", "a", "1"))
    with replica.raw() as c:
        assert wait_for(lambda: c.do("GET", "a") == b"1")
        assert str(c.do("LPUSH", "a", "x")).startswith("READONLY")
    replica.stopped_by_test = True
    primary.conn.sendall(encode(*command))
    assert replica.proc.wait(60) != 0
    assert "propagation-error-behavior" in replica.log()
    primary.close()


@pytest.mark.parametrize("kind", ("shoal", "valkey"))
def test_what_debug_replicate_sends(start_kind, kind):  # noqa: F811
    primary, replica = start_kind(kind), start_kind("shoal")
    follow(replica, primary)
    with primary.raw(timeout=60) as c:
        assert c.do("DEBUG", "REPLICATE", "fake-command") == "OK"
        assert wait_for(lambda: unexpected(replica) == 1)
        assert "unknown command 'fake-command'" in replica.log()
        assert c.do("DEBUG", "REPLICATE", "SET", "b", "2") == "OK"
        assert c.do("SET", "a", "1") == "OK" and c.do("WAIT", "1", "0") == 1 and c.do("GET", "b") is None
    with replica.raw() as c:
        assert c.do("GET", "b") == b"2"


@pytest.mark.parametrize("kind", ("shoal", "valkey"))
def test_a_writable_one_goes_on(start_kind, kind):  # noqa: F811
    """It ended the server: a library of functions that had been loaded at both, say. What clients write there makes it differ anyhow."""
    replica = start_kind(kind, propagation_error_behavior="panic", replica_read_only="no")
    primary = begin(replica)
    library = "#!lua name=lib\nserver.register_function('f', function() return 1 end)"
    with replica.raw() as c:
        assert c.do("LPUSH", "a", "x") == 1 and c.do("FUNCTION", "LOAD", library) == b"lib"
        for i, command in enumerate((("INCR", "a"), ("FUNCTION", "LOAD", library))):
            primary.conn.sendall(encode(*command))
            assert wait_for(lambda: unexpected(replica) == i + 1)
        primary.conn.sendall(encode("SET", "b", "1"))
        assert wait_for(lambda: c.do("GET", "b") == b"1")
        assert c.do("LRANGE", "a", "0", "-1") == [b"x"]
    primary.close()


def broken(start_server, **options):
    """A replica with a log, whose disk fails from now on, and its primary."""
    primary = start_server()
    replica = start_server(start=False, appendonly="yes", appendfsync="always", io_backend="epoll", **options)
    disk = FailingDisk(replica)
    replica.start()
    follow(replica, primary)
    with primary.raw() as p, replica.raw() as r:
        p.do("SET", "a", "1")
        assert wait_for(lambda: r.do("GET", "a") == b"1")
    # The log begins anew behind what was loaded; while it does nothing is lost.
    assert wait_for(lambda: replica.info("persistence")["aof_rewrite_in_progress"] == "0" and replica.info("persistence")["aof_enabled"] == "1")
    disk.fails("ows", errno.ENOSPC)
    return primary, replica, disk


@pytest.mark.row_once
def test_a_disk_that_fails_ends_it(start_server, slow):
    if slow > 1:
        pytest.skip("a sanitizer wants to be the first library")  # and so does the one that fails
    primary, replica, _ = broken(start_server)
    replica.stopped_by_test = True
    with primary.raw() as p:

        def has_ended():
            p.do("INCR", "n")
            return replica.proc.poll() is not None

        assert wait_for(has_ended)
    assert "replica-ignore-disk-write-errors" in replica.log()


@pytest.mark.row_once
def test_or_is_gone_past(start_server, slow):
    if slow > 1:
        pytest.skip("a sanitizer wants to be the first library")
    primary, replica, disk = broken(start_server, replica_ignore_disk_write_errors="yes")
    with primary.raw() as p:

        def has_failed():
            p.do("INCR", "n")
            return log_status(replica) not in ("ok", None)

        assert wait_for(has_failed)
    with primary.raw() as p, replica.raw() as r:
        for i in range(20):
            p.do("SET", "k%d" % i, "v")
        assert wait_for(lambda: r.do("GET", "k19") == b"v")
        disk.fails("", 0)
        assert wait_for(lambda: log_status(replica) == "ok")
        p.do("SET", "end", "v")
        assert wait_for(lambda: r.do("GET", "end") == b"v")
        assert said(replica)["master_link_status"] == "up"
