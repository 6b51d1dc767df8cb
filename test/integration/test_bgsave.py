# SPDX-License-Identifier: BSD-3-Clause
"""Saves beside everything else: what they hold, what they leave behind, and what is said of them."""

import os
import random
import shutil
import signal
import threading
import time

import pytest

import snapshots
from resp import RespError, encode
from server import Server, find_peer, wait_for
from test_save import again, facts, fill

pytestmark = [pytest.mark.row_pair]

FORMATS = ["shoal", "rdb"]


def said(c):
    return dict(line.split(":", 1) for line in c.do("INFO", "persistence").decode().splitlines() if ":" in line)


def saved(c, field="rdb_bgsave_in_progress"):
    return wait_for(lambda: said(c)[field] == "0", 60)


def loaded(server, fmt, binary=None, kind="shoal", version=b"REDIS0010", **config):
    """A server that has read what the other one has saved."""
    other = Server(binary or server.binary, config, kind=kind)
    if fmt == "rdb":
        shutil.copy(os.path.join(server.dir, "dump.rdb"), other.dir)
    else:
        with open(os.path.join(other.dir, "dump.rdb"), "wb") as f:
            f.write(snapshots.as_rdb(server.dir, version))
    other.start()
    return other


def leftovers(server):
    names = [name for name in os.listdir(server.dir) if name.startswith("temp-")]
    folder = os.path.join(server.dir, "appendonlydir")
    lines = snapshots.manifest(server.dir)
    named = {os.path.basename(path) for path, _ in snapshots.bases(server.dir)} if lines else set()
    if os.path.isdir(folder):
        names += sorted(set(os.listdir(folder)) - named - ({"shoal.manifest"} if lines else set()))
    return names


@pytest.mark.slow
@pytest.mark.shoal_only
@pytest.mark.parametrize("fmt", FORMATS)
def test_all_of_it_is_in_the_files(start_server, fmt):
    s = start_server(save_format=fmt)
    with s.raw() as c:
        fill(c)
        c.do("SELECT", "7"), c.do("HSET", "large", *[w for i in range(40000) for w in ("f%d" % i, "v" * 40)])
        c.do("SET", "long", "x" * 9000000), c.do("SELECT", "0")
        before = facts(c)
        assert c.do("BGSAVE") == "Background saving started" and saved(c)
        assert said(c)["rdb_last_bgsave_status"] == "ok" and said(c)["rdb_changes_since_last_save"] == "0"
        digest = c.do("DEBUG", "DIGEST")
    assert wait_for(lambda: not leftovers(s))
    with loaded(s, fmt, version=b"VALKEY080") as other, other.raw() as c:
        assert facts(c) == before and c.do("DEBUG", "DIGEST") == digest
    for shards in (1, 3):
        again(s, shards=shards)
        with s.raw() as c:
            assert facts(c) == before and c.do("DEBUG", "DIGEST") == digest
            c.do("SET", "more", "v"), c.do("DEL", "more")
            assert c.do("SAVE") == "OK" and wait_for(lambda: not leftovers(s))


@pytest.mark.slow
@pytest.mark.shoal_only
@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("peer", ["valkey", "redis"])
def test_other_servers_load_it(start_server, fmt, peer):
    path = find_peer(peer)
    if not path:
        pytest.skip("needs the other server")  # it is about what that one does
    s = start_server(save_format=fmt)
    with s.raw() as c:
        for db in ("0", "5"):
            c.do("SELECT", db)
            for i in range(2000):
                c.do("SET", "k%d" % i, "v%d" % (i * i)), c.do("RPUSH", "l%d" % (i % 50), "e%d" % i), c.do("SADD", "s%d" % (i % 50), i)
            c.do("PEXPIREAT", "l1", "4000000000000"), c.do("HSET", "h", *range(2000))
        digest = c.do("DEBUG", "DIGEST")
        assert c.do("BGSAVE") == "Background saving started" and saved(c)
    with loaded(s, fmt, path, peer) as other, other.raw() as c:
        assert c.do("DEBUG", "DIGEST") == digest and c.do("DBSIZE") == 2101 and c.do("PEXPIRETIME", "l1") == 4000000000000


class Writers:
    """Clients that count: each round adds one to every one of its keys, in one transaction."""

    def __init__(self, s, count=3, keys=8):
        self.stop = False
        self.acked = [0] * count
        self.keys = [["c%d:%d" % (i, j) for j in range(keys)] for i in range(count)]
        self.threads = [threading.Thread(target=self.run, args=(s, i)) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self, s, i):
        rng = random.Random(i)
        with s.raw() as c:
            while not self.stop:
                c.send(encode("MULTI"))
                for key in self.keys[i]:
                    c.send(encode("INCR", key))
                c.send(encode("LPUSH", "list%d" % i, "x" * 50)), c.send(encode("DEL", "gone%d" % rng.randrange(500)))
                c.send(encode("SET", "gone%d" % rng.randrange(500), "y")), c.send(encode("EXEC"))
                try:
                    replies = [c.read() for _ in range(len(self.keys[i]) + 5)]
                except (OSError, EOFError):
                    return
                assert isinstance(replies[-1], list)
                self.acked[i] += 1

    def end(self):
        self.stop = True
        for thread in self.threads:
            thread.join()

    def check(self, c, least, most):
        for i, keys in enumerate(self.keys):
            values = {int(value or 0) for value in c.do("MGET", *keys)}
            assert len(values) == 1, "a transaction is half there: %r" % values
            assert least[i] <= values.pop() <= most[i]
            assert c.do("LLEN", "list%d" % i) == int(c.do("GET", keys[0]) or 0)


@pytest.mark.slow
@pytest.mark.shoal_only
@pytest.mark.parametrize("fmt", FORMATS)
def test_it_is_one_moment_while_clients_write(start_server, fmt):
    s = start_server(save_format=fmt)
    with s.raw() as c:
        c.do("DEBUG", "POPULATE", "100000"), c.do("RPUSH", "longlist", *range(50000))
        writers = Writers(s)
        try:
            assert wait_for(lambda: min(writers.acked) > 20)
            for _ in range(3):
                least = list(writers.acked)
                assert c.do("BGSAVE") == "Background saving started"
                most = [n + 1 for n in writers.acked]
                c.do("DEL", "longlist") if _ == 0 else c.do("LPUSH", "longlist", "1")
                assert saved(c), s.log()
                assert said(c)["rdb_last_bgsave_status"] == "ok"
                assert wait_for(lambda: not leftovers(s))
                with loaded(s, fmt) as other, other.raw() as d:
                    writers.check(d, least, most)
                    assert d.do("EXISTS", "key:99999") == 1 and d.do("LLEN", "longlist") == (50000 if _ == 0 else _ - 1)
        finally:
            writers.end()


@pytest.mark.slow
@pytest.mark.shoal_only
@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("after", ["FLUSHALL", "FLUSHDB ASYNC", "SWAPDB 0 1", "expire", "move", "overwrite"])
def test_what_comes_after_it_is_not_in_it(start_server, fmt, after):
    s = start_server(save_format=fmt)
    with s.raw() as c:
        c.do("SELECT", "1"), c.do("SET", "other", "db"), c.do("SELECT", "0")
        c.do("DEBUG", "POPULATE", "200000", "key", "100"), c.do("HSET", "h", *range(60000))
        digest, size = c.do("DEBUG", "DIGEST"), c.do("DBSIZE")
        if after == "expire":
            at = int(time.time() * 1000) + 2000
            for i in range(3000):
                c.do("SET", "soon%d" % i, "v", "PXAT", str(at + i % 100))
            assert wait_for(lambda: time.time() * 1000 >= at - 10)
        assert c.do("BGSAVE") == "Background saving started"
        if after == "move":
            for slot in range(40):
                assert wait_for(lambda: c.do("DEBUG", "MOVE-SLOT", str(slot * 400), str(slot % s.config["shards"])) == "OK")
        elif after == "overwrite":
            c.do("MSET", *[word for i in range(0, 200000, 7) for word in ("key:%d" % i, "new")])
        elif after != "expire":
            assert c.do(*after.split()) == "OK"
        assert saved(c) and said(c)["rdb_last_bgsave_status"] == "ok", s.log()
    with loaded(s, fmt) as other, other.raw() as c:
        assert wait_for(lambda: c.do("DBSIZE") == size) and c.do("DEBUG", "DIGEST") == digest


@pytest.mark.shoal_only
@pytest.mark.slow
@pytest.mark.parametrize("fmt", FORMATS)
def test_kill_in_the_middle_leaves_the_old(start_server, fmt):
    s = start_server(save_format=fmt)
    with s.raw() as c:
        c.do("DEBUG", "POPULATE", "300000", "key", "200")
        assert c.do("SAVE") == "OK"
        digest = c.do("DEBUG", "DIGEST")
        c.do("DEL", "key:1")
        assert c.do("BGSAVE") == "Background saving started"
        c.do("SET", "k", "v")
    s.kill()
    s.start_again()
    with s.raw() as c:
        assert wait_for(lambda: isinstance(c.do("DBSIZE"), int)), c.do("DBSIZE")
        assert c.do("DBSIZE") in (300000, 299999) and c.do("GET", "k") is None
        assert c.do("DBSIZE") == 299999 or c.do("DEBUG", "DIGEST") == digest
        assert c.do("SAVE") == "OK"
        if fmt == "shoal":  # else a file with the number of the process stays, as with Valkey
            assert wait_for(lambda: not leftovers(s))


@pytest.mark.parametrize("fmt", ("shoal", "rdb"))
def test_a_delay_for_each_key_makes_a_save_slow(start_server, kind, fmt):
    """rdb-key-save-delay, as it was when the save began."""
    s = start_server(save="", **({"save_format": fmt} if kind == "shoal" else {}))
    with s.raw() as c:
        c.do("DEBUG", "POPULATE", "500", "key", "10")
        assert c.do("CONFIG", "SET", "rdb-key-save-delay", "1000000") == "OK"
        assert c.do("BGSAVE") == "Background saving started"
        assert c.do("CONFIG", "SET", "rdb-key-save-delay", "0") == "OK"
        c.do("SET", "key:1", "changed"), c.do("RPUSH", "l", "x")
        assert said(c)["rdb_bgsave_in_progress"] == "1"
        assert c.do("BGSAVE", "CANCEL") == "Background saving cancelled"
        assert wait_for(lambda: said(c)["rdb_bgsave_in_progress"] == "0")
        assert c.do("CONFIG", "SET", "rdb-key-save-delay", "1000") == "OK"
        began = time.monotonic()
        assert c.do("SAVE") == "OK"
        assert time.monotonic() - began > 0.45  # half a second, but for what one tick of a clock is off
        assert c.do("CONFIG", "SET", "rdb-key-save-delay", "-1") == "OK"  # a key a microsecond
        digest = c.do("DEBUG", "DIGEST")
        assert c.do("BGSAVE") == "Background saving started"
        assert saved(c)
    s.kill()
    s.start_again()
    with s.raw() as c:
        assert wait_for(lambda: c.do("DBSIZE") == 501)
        assert c.do("DEBUG", "DIGEST") == digest


@pytest.mark.slow
def test_what_is_said_while_one_is_under_way(start_server, kind):
    s = start_server(rdb_key_save_delay="300")
    with s.raw() as c, s.raw() as d:
        c.do("DEBUG", "POPULATE", "10000", "key", "10")
        changes = int(said(c)["rdb_changes_since_last_save"])
        c.send(encode("BGSAVE")), c.send(encode("BGSAVE")), c.send(encode("SAVE")), c.send(encode("BGSAVE", "SCHEDULE")), c.send(encode("BGREWRITEAOF"))
        c.send(encode("INFO", "persistence")), c.send(encode("SET", "k", "v")), c.send(encode("BGSAVE", "CANCEL"))
        replies = [c.read() for _ in range(8)]
        fields = dict(line.split(":", 1) for line in replies[5].decode().splitlines() if ":" in line)
        assert replies[0] == "Background saving started" and replies[4] == "Background append only file rewriting scheduled"
        assert {str(replies[i]) for i in (1, 2, 3)} == {"ERR Background save already in progress"}
        assert (fields["rdb_bgsave_in_progress"], fields["aof_rewrite_scheduled"], fields["rdb_saves"]) == ("1", "1", "1")
        assert 0 <= int(fields["rdb_current_bgsave_time_sec"]) < 60 and fields["rdb_changes_since_last_save"] == str(changes)
        assert fields["current_save_keys_total"] == str(c.do("DBSIZE") - 1)
        assert replies[7] == "Background saving cancelled"
        assert saved(c) and said(c)["rdb_changes_since_last_save"] == str(changes + 1)
        assert said(c)["rdb_last_bgsave_status"] == "ok" and 0 <= int(said(c)["rdb_last_bgsave_time_sec"]) < 60
        assert wait_for(lambda: said(c)["aof_rewrites"] == "1") and said(c)["rdb_saves"] == "1"
        if kind == "shoal":
            assert saved(c, "aof_rewrite_in_progress") and said(c)["aof_last_bgrewrite_status"] == "ok"
            assert wait_for(lambda: not leftovers(s)) and snapshots.manifest(s.dir)
    if kind != "shoal":
        s.stop(check=False)


@pytest.mark.slow
@pytest.mark.shoal_only
@pytest.mark.parametrize("fmt", FORMATS)
def test_one_that_is_cancelled_at_any_moment_leaves_what_is_whole(start_server, fmt):
    s = start_server(save_format=fmt)
    rng = random.Random(3)
    ends = {True: 0, False: 0}
    with s.raw() as c:
        c.do("DEBUG", "POPULATE", "3000")
        assert c.do("SAVE") == "OK"
        longest, i = 0.05, 0
        while min(ends.values()) <= 10 and i < 1000:
            i += 1
            c.do("SET", "n", str(i))
            assert c.do("BGSAVE") == "Background saving started"
            time.sleep(rng.random() * longest)
            c.do("BGSAVE", "CANCEL")
            assert saved(c) and said(c)["rdb_last_bgsave_status"] == "ok"
            whole = said(c)["rdb_changes_since_last_save"] == "0"
            ends[whole] += 1
            longest *= 0.8 if whole else 1.25
            if fmt == "shoal":
                assert sum(keys for path, keys in snapshots.bases(s.dir) if snapshots.frames(path)) in (3000, 3001)
                assert wait_for(lambda: not leftovers(s))
        assert min(ends.values()) > 10, ends
        n = c.do("GET", "n")
        assert c.do("SAVE") == "OK"
    s.kill()
    s.start_again()
    with s.raw() as c:
        assert wait_for(lambda: c.do("DBSIZE") == 3001) and c.do("GET", "n") == n


def test_arguments(start_server, kind):
    s = start_server()
    with s.raw() as c:
        assert str(c.do("BGSAVE", "CANCEL")) == "ERR Background saving is currently not in progress or scheduled"
        assert str(c.do("BGSAVE", "LATER")) == "ERR syntax error" and str(c.do("BGSAVE", "SCHEDULE", "CANCEL")) == "ERR syntax error"
        assert str(c.do("BGREWRITEAOF", "x")).startswith("ERR wrong number")
        assert c.do("BGSAVE", "schedule") == "Background saving started" and saved(c)
        c.do("MULTI"), c.do("SET", "k", "v"), c.do("BGSAVE"), c.do("BGREWRITEAOF"), c.do("BGSAVE", "CANCEL"), c.do("BGSAVE")
        assert c.do("EXEC") == [
            "OK",
            "Background saving scheduled",
            "Background append only file rewriting scheduled",
            "Scheduled background saving cancelled",
            "Background saving scheduled",
        ]
        assert wait_for(lambda: (said(c)["rdb_saves"], said(c)["aof_rewrites"]) == ("2", "1")) and saved(c)
        assert said(c)["rdb_changes_since_last_save"] == "0"


@pytest.mark.slow
def test_save_points(start_server, kind):
    s = start_server(save=["1", "3"])
    with s.raw() as c:
        at = c.do("LASTSAVE")
        c.do("SET", "a", "1"), c.do("SET", "b", "1")
        time.sleep(2.5)
        assert said(c)["rdb_saves"] == "0"
        c.do("SET", "c", "1")
        assert wait_for(lambda: said(c)["rdb_changes_since_last_save"] == "0")
        assert said(c)["rdb_saves"] == "1" and c.do("LASTSAVE") > at and "3 changes in 1 seconds. Saving..." in s.log()
        assert c.do("CONFIG", "SET", "save", "") == "OK"


@pytest.mark.slow
def test_flushall_is_saved_where_there_are_save_points(start_server, kind):
    s = start_server(save=["900", "1"])
    with s.raw() as c:
        c.do("DEBUG", "POPULATE", "1000")
        assert c.do("SAVE") == "OK" and c.do("FLUSHALL") == "OK"
        if kind == "shoal":
            assert wait_for(lambda: said(c)["rdb_saves"] == "2") and saved(c)
    s.kill()
    s.start_again()
    with s.raw() as c:
        assert wait_for(lambda: c.do("DBSIZE") == 0)


MISCONF = "MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Valkey logs for details about the RDB error."


@pytest.mark.slow
def test_one_that_fails_stops_writes(start_server, kind):
    s = start_server(save=["900", "1"], dbfilename="d.rdb", **({"save_format": "rdb"} if kind == "shoal" else {}))
    folder = os.path.join(s.dir, "d.rdb")
    os.mkdir(folder)
    with s.raw() as c:
        c.do("SET", "k", "v")
        assert str(c.do("SAVE")).startswith("ERR") and said(c)["rdb_last_bgsave_status"] == "ok"
        assert c.do("BGSAVE") == "Background saving started" and saved(c)
        assert wait_for(lambda: said(c)["rdb_last_bgsave_status"] == "err")
        assert "on the final destination d.rdb (in server root dir %s): Is a directory" % s.dir in s.log()
        assert "Background saving error" in s.log()
        for command in (["SET", "k", "w"], ["PING"], ["FLUSHALL"], ["MSET", "a", "1", "b", "2"], ["LPUSH", "l", "1"]):
            assert str(c.do(*command)) == MISCONF
        assert c.do("GET", "k") == b"v" and c.do("INFO") and c.do("DBSIZE") == 1
        assert c.do("MULTI") == "OK" and str(c.do("SET", "k", "w")) == MISCONF
        assert str(c.do("EXEC")) == "EXECABORT Transaction discarded because of previous errors."
        for on, off in ((["stop-writes-on-bgsave-error", "yes"], ["stop-writes-on-bgsave-error", "no"]), (["save", "900 1"], ["save", ""])):
            assert c.do("CONFIG", "SET", *off) == "OK" and c.do("SET", "k", "w") == "OK" and c.do("PING") == "PONG"
            assert c.do("CONFIG", "SET", *on) == "OK" and str(c.do("SET", "k", "x")) == MISCONF
        assert str(c.do("SHUTDOWN")) == "ERR Errors trying to SHUTDOWN. Check logs."
        assert said(c)["rdb_changes_since_last_save"] != "0"
        os.rmdir(folder)
        assert c.do("SAVE") == "OK" and c.do("SET", "k", "y") == "OK" and said(c)["rdb_last_bgsave_status"] == "ok"
        os.unlink(folder), os.mkdir(folder)
        assert c.do("BGSAVE") == "Background saving started" and wait_for(lambda: said(c)["rdb_last_bgsave_status"] == "err")
        os.rmdir(folder)  # the save point tries again after some seconds
        assert c.do("CONFIG", "SET", "save", "1 1") == "OK"
        assert wait_for(lambda: said(c)["rdb_last_bgsave_status"] == "ok") and c.do("SET", "k", "z") == "OK"


@pytest.mark.shoal_only
def test_a_generation_that_fails_leaves_the_one_before(start_server):
    s = start_server(save_format="shoal")
    with s.raw() as c:
        c.do("DEBUG", "POPULATE", "1000")
        assert c.do("BGSAVE") == "Background saving started" and saved(c)
        before = snapshots.manifest(s.dir)
        os.mkdir(os.path.join(s.dir, "appendonlydir", "base-2-0.snapshot"))
        c.do("SET", "k", "v")
        assert str(c.do("SAVE")) == "ERR"
        assert c.do("BGSAVE") == "Background saving started" and wait_for(lambda: said(c)["rdb_last_bgsave_status"] == "err")
        assert snapshots.manifest(s.dir) == before and wait_for(lambda: leftovers(s) == ["base-2-0.snapshot"])
        os.rmdir(os.path.join(s.dir, "appendonlydir", "base-2-0.snapshot"))
        assert c.do("SAVE") == "OK" and snapshots.manifest(s.dir)[1][1] == "2" and wait_for(lambda: not leftovers(s))
        assert c.do("CONFIG", "SET", "save-format", "rdb") == "OK" and c.do("SAVE") == "OK"
        assert snapshots.manifest(s.dir) is None and wait_for(lambda: not leftovers(s))
        assert os.path.getsize(os.path.join(s.dir, "dump.rdb")) > 1000


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SHUTDOWN", "SIGTERM", "SIGINT"])
def test_the_end_saves_where_there_are_save_points(start_server, kind, how):
    s = start_server(save=["900", "1"])
    writers = Writers(s, 2) if kind == "shoal" else None
    with s.raw() as c:
        c.do("SET", "k", "v")
        if how == "SHUTDOWN":
            c.send(b"SHUTDOWN\r\n")
        else:
            s.proc.send_signal(getattr(signal, how))
        assert c.is_closed()
    assert s.wait() == 0
    if writers:
        for thread in writers.threads:
            thread.join()
    assert "Saving the final RDB snapshot before exiting." in s.log()
    s.start()
    with s.raw() as c:
        assert c.do("GET", "k") == b"v"
        if writers:  # what was answered is there
            writers.check(c, writers.acked, [n + 1 for n in writers.acked])
