# SPDX-License-Identifier: BSD-3-Clause
"""The end of a primary: its replicas get what it has done first, for as long as shutdown-timeout says; and what ends that wait."""

import os
import signal

import pytest

from resp import RespError, encode
from server import wait_for
from test_chain import at, chain, same, start_kind  # noqa: F401 (a fixture)
from test_follow import follow, offset, said
from test_replication import fill

pytestmark = [pytest.mark.row_pair, pytest.mark.shoal_only]

KINDS = ("shoal", "valkey")
FAILED = RespError("ERR Errors trying to SHUTDOWN. Check logs.")


@pytest.fixture(params=KINDS)
def pair(request, start_kind):  # noqa: F811
    primary, replica = start_kind(request.param, shutdown_timeout=60), start_kind("shoal")
    follow(replica, primary)
    yield primary, replica
    replica.proc.send_signal(signal.SIGCONT)


def has_ended(server):
    server.stopped_by_test = True
    return wait_for(lambda: server.proc.poll() is not None, 60)


def ask_to_end(primary, how):
    """By a signal or a command, of whose connection nothing is read."""
    if how == "SIGTERM":
        primary.proc.send_signal(signal.SIGTERM)
        return None
    c = primary.raw(timeout=60)
    c.send(encode(*how.split()))
    return c


def waits(primary):
    return primary.info("clients")["paused_reason"] == "shutdown_in_progress"


@pytest.mark.parametrize("how", ("SHUTDOWN", "SHUTDOWN NOSAVE", "SHUTDOWN SAVE", "SIGTERM"))
def test_it_ends_when_they_have_all(pair, how):
    primary, replica = pair
    with primary.raw(timeout=60) as c:
        fill(c)
        replica.stand_still()
        c.do("SET", "last", "1")
        end = offset(primary)
        asked = ask_to_end(primary, how)
        assert wait_for(lambda: waits(primary), 60)
        assert 0 < int(primary.info("server")["shutdown_in_milliseconds"]) <= 60_000
        with primary.raw() as other:
            assert other.do("GET", "last") == b"1"
            other.send(encode("SET", "late", "1"))
            assert wait_for(lambda: b"cmd=set" in c.do("CLIENT", "LIST"))
        replica.proc.send_signal(signal.SIGCONT)
        assert has_ended(primary), primary.log()[-3000:]
        if asked is not None:
            assert asked.read_all() == b""
            asked.close()
    assert "1 of 1 replicas are in sync when shutting down." in primary.log()
    assert wait_for(lambda: at(replica) >= end)
    with replica.raw() as r:
        assert r.do("GET", "last") == b"1" and r.do("EXISTS", "late") == 0


@pytest.mark.parametrize("how", ("SHUTDOWN", "SHUTDOWN SAVE"))
def test_who_asks_hears_nothing(pair, how):
    """It was answered that there were errors, and ended all the same, if nobody else was connected."""
    primary, _ = pair
    asked = ask_to_end(primary, how)
    assert has_ended(primary), primary.log()[-3000:]
    assert asked.read_all() == b""
    asked.close()


@pytest.mark.parametrize("how", ("SHUTDOWN", "SHUTDOWN SAVE", "SIGTERM"))
def test_a_replica_with_replicas_of_its_own(start_kind, how):  # noqa: F811
    """It waited for all of shutdown-timeout, for a stream to stand still that was not its own."""
    top, middle, leaf = chain(start_kind, ("shoal",) * 3, shutdown_timeout=3600)
    with top.raw(timeout=60) as c:
        fill(c)
        assert same(top, middle, leaf)
        leaf.stand_still()
        c.do("SET", "last", "1")
        with middle.raw(timeout=60) as m:
            assert wait_for(lambda: m.do("GET", "last") == b"1", 60)
        asked = ask_to_end(middle, how)
        assert wait_for(lambda: waits(middle), 60)
        leaf.proc.send_signal(signal.SIGCONT)
        assert has_ended(middle), middle.log()[-3000:]
        if asked is not None:
            assert asked.read_all() == b""
            asked.close()
    with leaf.raw() as r:
        assert wait_for(lambda: r.do("GET", "last") == b"1", 60)


def blocked(server):
    return int(server.info("clients")["blocked_clients"])


def test_who_asks_is_blocked(pair):
    """Whoever looks sees it; and it ends also when he has gone."""
    primary, replica = pair
    with primary.raw(timeout=60) as c:
        replica.stand_still()
        c.do("SET", "a", "1")
        asked = ask_to_end(primary, "SHUTDOWN")
        assert wait_for(lambda: waits(primary), 60)
        assert wait_for(lambda: blocked(primary) == 1)
        assert any(b"cmd=shutdown" in line and b"flags=b" in line for line in c.do("CLIENT", "LIST").splitlines())
        asked.close()
        assert waits(primary)
        replica.proc.send_signal(signal.SIGCONT)
        assert has_ended(primary), primary.log()[-3000:]


@pytest.mark.parametrize("how", ("SHUTDOWN", "SIGTERM"))
def test_who_thinks_better_of_it(pair, how):
    """Writes that waited go on, and who asked is told."""
    primary, replica = pair
    with primary.raw(timeout=60) as c, primary.raw(timeout=60) as writer:
        replica.stand_still()
        c.do("SET", "a", "1")
        asked = ask_to_end(primary, how)
        assert wait_for(lambda: waits(primary), 60)
        writer.send(encode("INCR", "n"))
        assert wait_for(lambda: b"cmd=incr" in c.do("CLIENT", "LIST"))
        assert c.do("SHUTDOWN", "ABORT") == "OK"
        assert writer.read() == 1
        if asked is not None:
            assert asked.read() == FAILED
            asked.close()
        assert c.do("SHUTDOWN", "ABORT") == RespError("ERR No shutdown in progress.")
        assert not waits(primary) and c.do("SET", "b", "1") == "OK"
        replica.proc.send_signal(signal.SIGCONT)
        assert wait_for(lambda: at(replica) == offset(primary), 60)
        asked = ask_to_end(primary, how)
        assert has_ended(primary), primary.log()[-3000:]


@pytest.mark.parametrize("how", ("SHUTDOWN NOW", "SHUTDOWN NOW NOSAVE FORCE"))
def test_at_once(pair, how):
    primary, replica = pair
    with primary.raw(timeout=60) as c:
        replica.stand_still()
        c.do("SET", "a", "1")
        asked = ask_to_end(primary, how)
        assert has_ended(primary), primary.log()[-3000:]
        asked.close()
    assert "Waiting for replicas" not in primary.log()


@pytest.mark.parametrize("kind", KINDS)
def test_not_for_ever(start_kind, kind):  # noqa: F811
    primary, replica = start_kind(kind, shutdown_timeout=1), start_kind("shoal")
    follow(replica, primary)
    with primary.raw(timeout=60) as c:
        replica.stand_still()
        try:
            c.do("SET", "a", "1")
            asked = ask_to_end(primary, "SHUTDOWN")
            assert has_ended(primary), primary.log()[-3000:]
            asked.close()
            assert "0 of 1 replicas are in sync when shutting down." in primary.log()
        finally:
            replica.proc.send_signal(signal.SIGCONT)


def test_a_save_that_fails(start_kind):  # noqa: F811
    """The server stays, and what waited goes on."""
    primary, replica = start_kind("shoal", shutdown_timeout=60, dbfilename="d.rdb", save_format="rdb"), start_kind("shoal")
    follow(replica, primary)
    folder = os.path.join(primary.dir, "d.rdb")
    os.mkdir(folder)
    with primary.raw(timeout=60) as c:
        c.do("SET", "a", "1")
        assert c.do("SHUTDOWN", "SAVE") == FAILED
        assert wait_for(lambda: not waits(primary))
        assert c.do("SET", "b", "1") == "OK"
        os.rmdir(folder)
        c.send(encode("SHUTDOWN", "SAVE"))
        assert has_ended(primary), primary.log()[-3000:]
    assert os.path.getsize(folder) > 0
