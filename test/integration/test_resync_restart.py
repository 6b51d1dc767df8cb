# SPDX-License-Identifier: BSD-3-Clause
"""A restart is no reason for a full sync: a save says where in the stream it stands, and who loads it goes on from there: a
replica, of Valkey and of Shoal, and a primary, whose replicas do. If anything is not as of that place everybody gets everything."""

import signal
import threading

import pytest

from resp import encode
from server import wait_for
from test_chain import at, fulls, same, start_kind  # noqa: F401 (a fixture)
from test_follow import NO_PING, follow, is_up, offset, said
from test_replication import digest, fill, write

pytestmark = [pytest.mark.row_pair, pytest.mark.shoal_only]

KINDS = ("shoal", "valkey")
FORMATS = ("shoal", "rdb")


def partials(server):
    return int(server.info("stats")["sync_partial_ok"])


def end(server, how):
    if how == "SIGTERM":
        server.proc.send_signal(signal.SIGTERM)
    else:
        with server.raw(timeout=60) as c:
            c.send(encode(*how.split()))
            wait_for(lambda: server.proc.poll() is not None, 60)
    assert wait_for(lambda: server.proc.poll() is not None, 60), server.log()[-3000:]


def again(server, **config):
    """With another configuration, if that is said."""
    server.config.update(config)
    server.start_again()


def options(kind, **more):
    """What a server that is ended and started again has. Save points: a signal saves."""
    own = {"save": ["3600", "1000000"] if kind == "shoal" else "3600 1000000", **NO_PING, **more}
    if kind != "shoal":
        own.pop("save_format", None)
    return own


class Writers:
    def __init__(self, server):
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(server.port, seed)) for seed in range(2)]

    def run(self, port, seed):
        while not self.stop.is_set():
            write(port, seed, steps=30)
            seed += 10

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self.stop.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("how", ("SHUTDOWN SAVE", "SIGTERM"))
@pytest.mark.parametrize("kind", KINDS)
def test_a_replica_goes_on(start_kind, kind, how, fmt):  # noqa: F811
    """While its primary is written to all the time; twice, so also from a place that it was given by a save."""
    primary = start_kind(kind, **NO_PING)
    replica = start_kind("shoal", **options("shoal", save_format=fmt, replicaof=["127.0.0.1", str(primary.port)]))
    with primary.raw() as c:
        fill(c)
    assert wait_for(lambda: is_up(replica), 60), replica.log()[-2000:]
    full = fulls(primary)
    for turn in (1, 2):
        with Writers(primary):
            before = offset(primary)
            assert wait_for(lambda: offset(primary) > before + 1000 and at(replica) > before, 60)
            end(replica, how)
            ended = offset(primary)
            assert wait_for(lambda: offset(primary) > ended, 60)
            again(replica)
            assert wait_for(lambda: is_up(replica), 60), replica.log()[-2000:]
        assert same(primary, replica)
        assert (fulls(primary), partials(primary)) == (full, turn), replica.log()[-3000:]


@pytest.mark.parametrize("how", ("SHUTDOWN SAVE", "SIGTERM"))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fmt", FORMATS)
def test_a_primary_comes_back(start_kind, kind, how, fmt):  # noqa: F811
    """Its replicas go on in its new stream, which says what it was."""
    primary = start_kind("shoal", **options("shoal", save_format=fmt, shutdown_timeout=60))
    replica = start_kind(kind, **NO_PING)
    follow(replica, primary)
    with primary.raw() as c:
        fill(c)
        c.do("SELECT", "7")
        c.do("SET", "in-seven", "x")
        c.do("SET", "short", "x", "PX", "1")
        c.do("HSET", "some", "a", "1", "b", "2")
        if kind == "valkey":
            c.do("HPEXPIRE", "some", "200", "FIELDS", "1", "a")
    assert same(primary, replica)
    name, place = said(primary)["master_replid"], offset(primary)
    end(primary, how)
    assert wait_for(lambda: not is_up(replica))
    again(primary)
    assert wait_for(lambda: is_up(replica), 60), replica.log()[-2000:]
    state = said(primary)
    assert (fulls(primary), partials(primary)) == (0, 1), primary.log()[-3000:]
    assert state["master_replid"] != name and state["master_replid2"] == name
    assert int(state["second_repl_offset"]) >= place
    with primary.raw() as c:
        c.do("SET", "later", "x")
        c.do("SELECT", "7")
        c.do("SET", "later-in-seven", "x")
    assert same(primary, replica)
    with replica.raw() as r:
        r.do("SELECT", "7")
        assert r.do("GET", "later-in-seven") == b"x" and r.do("EXISTS", "later") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_came_after_the_save_was_lost(start_kind, kind):  # noqa: F811
    """The primary has less than its replica: that gets everything."""
    primary = start_kind("shoal", **NO_PING)
    replica = start_kind(kind, **NO_PING)
    follow(replica, primary)
    with primary.raw() as c:
        fill(c)
        assert c.do("SAVE") == "OK"
        c.do("SET", "lost", "x")
        assert same(primary, replica)
    primary.kill()
    again(primary)
    assert wait_for(lambda: is_up(replica) and at(replica) == offset(primary), 60), replica.log()[-2000:]
    assert (fulls(primary), partials(primary)) == (1, 0)
    with replica.raw() as r:
        assert r.do("EXISTS", "lost") == 0
    assert same(primary, replica)


@pytest.mark.parametrize("fmt", FORMATS)
def test_what_ran_out_meanwhile(start_kind, fmt):  # noqa: F811
    """It is there until it goes by the stream: at a replica that has loaded it, and at one of a primary that has."""
    primary, replica = start_kind("shoal", **options("shoal", save_format=fmt)), start_kind("shoal")
    follow(replica, primary)
    with primary.raw() as c:
        c.do("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        c.do("SET", "short", "x", "PX", "300")
        c.do("SET", "long", "x")
        c.do("HSET", "h", "a", "1", "b", "2")
        c.do("HPEXPIRE", "h", "300", "FIELDS", "1", "a")
    assert same(primary, replica)
    end(primary, "SHUTDOWN SAVE")
    with replica.raw() as r:
        assert wait_for(lambda: r.do("EXISTS", "short") == 0 and r.do("HEXISTS", "h", "a") == 0)
    again(primary)
    assert wait_for(lambda: is_up(replica), 60), replica.log()[-2000:]
    assert (fulls(primary), partials(primary)) == (0, 1), primary.log()[-3000:]
    with primary.raw() as c, replica.raw() as r:
        assert wait_for(lambda: r.do("DBSIZE") == c.do("DBSIZE") == 2)
        assert c.do("GET", "short") is None and c.do("HGETALL", "h") == r.do("HGETALL", "h") == [b"b", b"2"]
    assert same(primary, replica)


@pytest.mark.parametrize("way", ("to Valkey", "to Shoal"))
def test_the_file_goes_to_the_other(start_kind, way):  # noqa: F811
    """An RDB file of a replica, loaded by a replica of the other kind, goes on as well."""
    primary = start_kind("valkey", **NO_PING)
    kinds = ("shoal", "valkey") if way == "to Valkey" else ("valkey", "shoal")
    address = ["127.0.0.1", str(primary.port)]
    one, other = (
        start_kind(kind, **options(kind, save_format="rdb", replicaof=address if kind == "shoal" else " ".join(address)))
        for kind in kinds
    )
    with primary.raw() as c:
        fill(c)
        c.do("SELECT", "5")
        c.do("SET", "five", "x")
    assert same(primary, one, other)
    full = fulls(primary)
    end(one, "SHUTDOWN SAVE")
    other.kill()
    with open(one.dir + "/dump.rdb", "rb") as f, open(other.dir + "/dump.rdb", "wb") as to:
        to.write(f.read())
    with primary.raw() as c:
        c.do("SELECT", "5")
        c.do("SET", "later", "x")
    again(other)
    assert wait_for(lambda: is_up(other), 60), other.log()[-2000:]
    assert same(primary, other)
    assert (fulls(primary), partials(primary)) == (full, 1), other.log()[-3000:]
    one.stopped_by_test = True


@pytest.mark.parametrize("keys", ("some", "none"))
@pytest.mark.parametrize("kind", KINDS)
def test_a_log_says_nothing(start_kind, kind, keys):  # noqa: F811
    """With appendonly everybody gets everything, as in Valkey; and the log begins again behind what was got, if that is nothing too."""
    primary = start_kind("shoal", **NO_PING)
    replica = start_kind(kind, **options(kind, appendonly="yes"))
    follow(replica, primary)
    with primary.raw() as c:
        fill(c)
        assert same(primary, replica)
        end(replica, "SHUTDOWN SAVE")
        if keys == "none":
            c.do("FLUSHALL")
        again(replica)
        follow(replica, primary)
        assert (fulls(primary), partials(primary)) == (2, 0)
        assert same(primary, replica)
        c.do("SET", "logged", "x")
        assert same(primary, replica)
    # A log that begins again has no say before it is whole.
    assert wait_for(lambda: {replica.info("persistence")["aof_rewrite_" + what] for what in ("in_progress", "scheduled")} == {"0"})
    replica.kill()
    again(replica)
    assert digest(primary) == digest(replica)


def test_a_log_began_behind_the_snapshot(start_kind):  # noqa: F811
    """What a log has on top of a snapshot with a place is not there."""
    primary = start_kind("shoal", **NO_PING)
    replica = start_kind("shoal", **options("shoal", replicaof=["127.0.0.1", str(primary.port)]))
    with primary.raw() as c:
        fill(c)
        assert wait_for(lambda: is_up(replica), 60)
        assert same(primary, replica)
        end(replica, "SHUTDOWN SAVE")
        again(replica, appendonly="yes")
        assert wait_for(lambda: is_up(replica), 60), replica.log()[-2000:]
        c.do("SET", "logged", "x")
        assert same(primary, replica)
        replica.kill()
        full = fulls(primary)
        again(replica, appendonly="no")
        assert wait_for(lambda: is_up(replica), 60), replica.log()[-2000:]
        assert fulls(primary) == full + 1
        assert same(primary, replica)
