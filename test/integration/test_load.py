# SPDX-License-Identifier: BSD-3-Clause
"""The start beside data: snapshots of any number of shards into any number of shards, what is answered meanwhile, and what is
wrong with files."""

import os
import random
import shutil
import subprocess

import pytest

from resp import RespError
from server import ServerFailed, wait_for
from test_save import facts, fill, info

pytestmark = [pytest.mark.row_each, pytest.mark.shoal_only]

LOADING = "LOADING Valkey is loading the dataset in memory"


def make(server, rdb, shards, generation=7, frame_bytes=262144):
    """The directory of a snapshot for a server that has not started."""
    data = os.path.join(server.dir, "appendonlydir")
    os.makedirs(data, exist_ok=True)
    tool = os.path.join(os.path.dirname(server.binary), "..", "test", "snapshot", "make-snapshot")
    subprocess.run([tool, rdb, data, str(shards), str(generation), str(frame_bytes)], check=True, timeout=120)
    return data


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """What `fill` makes, as an RDB file, and the facts of it: made once by whoever asks first."""
    return {"dir": str(tmp_path_factory.mktemp("saved"))}


def filled(saved, start_server):
    if "facts" not in saved:
        s = start_server()
        with s.raw() as c:
            fill(c)
            c.do("SET", "{big}string", bytes(range(256)) * 20000)
            c.do("RPUSH", "{big}list", *["%d:" % i + "e" * 300 for i in range(4000)])
            c.do("HSET", "{big}hash", *[word for i in range(3000) for word in ("field:%d" % i, "v" * 200)])
            c.do("SET", "soon", "1", "PXAT", "1")
            saved["facts"] = facts(c)
            assert c.do("SAVE") == "OK"
        saved["rdb"] = os.path.join(saved["dir"], "dump.rdb")
        shutil.copy(os.path.join(s.dir, "dump.rdb"), saved["rdb"])
    return saved["rdb"]


def small(start_server, keys=300):
    """A small RDB file, whose snapshot has some frames."""
    s = start_server()
    with s.raw() as c:
        for i in range(keys):
            c.do("SET", "key:%d" % i, "value:%d" % i)
        assert c.do("SAVE") == "OK"
    return os.path.join(s.dir, "dump.rdb")


# ---- snapshots ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("frame_bytes", (262144, 700))
@pytest.mark.parametrize("files", (1, 2, 3, 7))
def test_snapshots_of_any_number_of_shards_load_into_any_number(start_server, saved, files, frame_bytes):
    rdb = filled(saved, start_server)
    s = start_server(start=False)
    make(s, rdb, files, frame_bytes=frame_bytes)
    s.start()
    with s.raw() as c:
        assert facts(c) == saved["facts"]
        assert c.do("STRLEN", "{big}string") == 256 * 20000
        assert c.do("LLEN", "{big}list") == 4000
        assert c.do("LINDEX", "{big}list", "3999") == b"3999:" + b"e" * 300
        assert c.do("HLEN", "{big}hash") == 3000
        assert info(c, "loading") == "0"
        total = sum(len(keys) for keys in (saved["facts"][0], saved["facts"][17], saved["facts"][34]))
        assert int(info(c, "rdb_last_load_keys_loaded")) == total
        assert info(c, "rdb_changes_since_last_save") == "0"
        assert c.do("SET", "after", "1") == "OK"
    assert "DB loaded from appendonlydir: %d keys" % total in s.log()


def test_keys_that_ran_out_are_left_out(start_server):
    s = start_server()
    with s.raw() as c:
        for i in range(50):
            c.do("SET", "dead:%d" % i, "1", "PX", "300")
            c.do("SET", "alive:%d" % i, "1", "PX", "3000000")
        assert c.do("SAVE") == "OK"
        assert wait_for(lambda: c.do("DBSIZE") == 50)
    again = start_server(start=False)
    make(again, os.path.join(s.dir, "dump.rdb"), 2)
    again.start()
    with again.raw() as c:
        assert c.do("DBSIZE") == 50
        assert info(c, "rdb_last_load_keys_expired") == "50"
        assert info(c, "rdb_last_load_keys_loaded") == "50"
        assert all(c.do("PTTL", "alive:%d" % i) > 0 for i in range(50))


def test_a_snapshot_of_nothing(start_server):
    s = start_server()
    with s.raw() as c:
        assert c.do("SAVE") == "OK"
    again = start_server(start=False)
    make(again, os.path.join(s.dir, "dump.rdb"), 3)
    again.start()
    with again.raw() as c:
        assert c.do("DBSIZE") == 0


# ---- meanwhile ---------------------------------------------------------------------------------------------------------


def slow_start(start_server, keys=300, delay=20000, **options):
    """A server that takes some seconds to load: `keys` keys, and so many microseconds for each."""
    rdb = small(start_server, keys)
    s = start_server(start=False, key_load_delay=delay, **options)
    s.waits_for_data = False
    make(s, rdb, 2, frame_bytes=300)
    return s.start()


def test_what_is_answered_while_data_is_loaded(start_server):
    s = slow_start(start_server)
    with s.raw() as c, s.raw() as other:
        for words in (["PING"], ["GET", "key:1"], ["SET", "key:1", "1"], ["DBSIZE"], ["SAVE"], ["KEYS", "*"], ["MGET", "key:1", "key:2"],
                      ["SCAN", "0"], ["FLUSHALL"], ["DUMP", "key:1"]):  # fmt: skip
            reply = c.do(*words)
            assert isinstance(reply, RespError) and str(reply) == LOADING, words
        assert c.do("SELECT", "1") == "OK"
        assert c.do("SUBSCRIBE", "x")[0] == b"subscribe"
        assert other.do("PUBLISH", "x", "1") == 1
        assert other.do("MULTI") == "OK"
        assert str(other.do("GET", "key:1")) == LOADING
        assert str(other.do("EXEC")) == "EXECABORT Transaction discarded because of previous errors."
        assert other.do("MULTI") == "OK"
        assert other.do("TIME") == "QUEUED"
        assert len(other.do("EXEC")) == 1
        assert other.do("WATCH", "key:1") == "OK"
        assert other.do("UNWATCH") == "OK"
        assert str(other.do("NOTHING")).startswith("ERR unknown command")
        assert str(other.do("GET")).startswith("ERR wrong number")
        assert str(other.do("CONFIG", "SET", "dir", "/")) == "ERR CONFIG SET failed (possibly related to argument 'dir') - can't set protected config"
        assert other.do("CONFIG", "SET", "extended-redis-compatibility", "yes") == "OK"
        assert str(other.do("GET", "x")) == LOADING.replace("Valkey", "Redis")
        assert "Ready to accept connections" not in s.log()
        assert other.do("CONFIG", "SET", "key-load-delay", "0") == "OK"
        assert wait_for(lambda: other.do("DBSIZE") == 300)
        assert other.do("GET", "key:1") == b"value:1"
    assert "Ready to accept connections tcp" in s.log()


def test_how_far_it_is(start_server):
    s = slow_start(start_server)
    with s.raw() as c:
        assert info(c, "loading") == "1"
        assert info(c, "async_loading") == "0"
        total = int(info(c, "loading_total_bytes"))
        assert total == sum(os.path.getsize(os.path.join(s.dir, "appendonlydir", name)) for name in os.listdir(os.path.join(s.dir, "appendonlydir")) if name.endswith(".snapshot"))
        assert int(info(c, "loading_start_time")) > 1600000000
        assert int(info(c, "loading_rdb_used_mem")) == 0
        seen = []
        assert wait_for(lambda: seen.append(int(info(c, "loading_loaded_bytes"))) or len(set(seen)) > 3)
        assert seen == sorted(seen) and seen[-1] <= total
        assert info(c, "loading_loaded_perc").endswith("%")
        assert float(info(c, "loading_loaded_perc")[:-1]) <= 100
        assert int(info(c, "loading_eta_seconds")) >= 0
        c.do("CONFIG", "SET", "key-load-delay", "0")
        assert wait_for(lambda: info(c, "loading") == "0")
        text = c.do("INFO", "persistence").decode()
        assert "loading_start_time" not in text and "loading_total_bytes" not in text


def test_it_can_be_stopped(start_server):
    for stop in ("SHUTDOWN", "SHUTDOWN SAVE", "SIGTERM"):
        s = slow_start(start_server)
        before = sorted(os.listdir(os.path.join(s.dir, "appendonlydir")))
        with s.raw() as c:
            if stop == "SIGTERM":
                s.proc.terminate()
            else:
                c.send(stop.encode() + b"\r\n")
            assert c.is_closed()
        assert s.wait() == 0
        s.stopped_by_test = True
        assert not os.path.exists(os.path.join(s.dir, "dump.rdb")), stop
        assert sorted(os.listdir(os.path.join(s.dir, "appendonlydir"))) == before


def test_nobody_is_told_of_keys_that_are_loaded(start_server):
    s = slow_start(start_server, notify_keyspace_events="KEA")
    with s.raw() as c, s.raw() as other:
        assert c.do("PSUBSCRIBE", "__key*")[0] == b"psubscribe"
        assert other.do("WATCH", "key:1", "key:2") == "OK"
        other.do("CONFIG", "SET", "key-load-delay", "0")
        assert wait_for(lambda: other.do("PING") == "PONG")
        assert other.do("MULTI") == "OK"
        assert other.do("GET", "key:1") == "QUEUED"
        assert other.do("EXEC") == [b"value:1"]
        other.do("SET", "key:1", "2")
        assert c.read()[2:] == [b"__keyspace@0__:key:1", b"set"]


# ---- what is wrong -----------------------------------------------------------------------------------------------------


def refused(s, *said):
    with pytest.raises(ServerFailed, match="exited with 1") as failed:
        s.start()
    s.stopped_by_test = True
    text = str(failed.value)
    for word in said:
        assert word in text, text
    assert "shoal-check" in text and "Ready to accept connections" not in text
    return text


def change(path, at, data):
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(data)


@pytest.mark.slow
def test_every_byte_of_a_file_counts(start_server):
    rdb = small(start_server)
    rng = random.Random(3)
    s = start_server(start=False)
    data = make(s, rdb, 2, frame_bytes=1500)
    path = os.path.join(data, "base-7-1.snapshot")
    with open(path, "rb") as f:
        whole = f.read()
    places = list(range(0, 64, 8)) + list(range(64, 64 + 72, 4)) + [rng.randrange(len(whole)) for _ in range(20)] + list(range(len(whole) - 72, len(whole), 8))
    for at in places:
        change(path, at, bytes([whole[at] ^ 1 << rng.randrange(8)]))
        text = refused(s, "appendonlydir/base-7-1.snapshot is not loaded: at byte ")
        where = int(text.split("is not loaded: at byte ")[1].split(":")[0])
        assert where <= at, text
        with open(path, "wb") as f:
            f.write(whole)
    for size in [0, 10, 63, 64, 100, len(whole) - 72, len(whole) - 1] + [rng.randrange(len(whole)) for _ in range(5)]:
        with open(path, "wb") as f:
            f.write(whole[:size])
        refused(s, "base-7-1.snapshot is not loaded: at byte %d: it has %d bytes, the manifest says %d" % (size, size, len(whole)))
    with open(path, "wb") as f:
        f.write(whole + b"x")
    refused(s, "base-7-1.snapshot is not loaded: at byte %d: it has" % len(whole))
    for at in range(0, len(whole) - 512, 4096):
        with open(path, "wb") as f:
            f.write(whole[:at] + bytes(512) + whole[at + 512 :])
        refused(s, "base-7-1.snapshot is not loaded: at byte ")
    with open(path, "wb") as f:
        f.write(whole)
    s.start()
    with s.raw() as c:
        assert c.do("DBSIZE") == 300


def test_files_of_others_are_refused(start_server):
    rdb = small(start_server)
    s = start_server(start=False)
    data = make(s, rdb, 2, generation=6)
    older = {name: open(os.path.join(data, name), "rb").read() for name in os.listdir(data)}
    for name in older:
        os.remove(os.path.join(data, name))
    make(s, rdb, 2)
    names = [os.path.join(data, "base-7-%d.snapshot" % i) for i in (0, 1)]
    files = [open(name, "rb").read() for name in names]

    def put(*contents):
        for name, content in zip(names, contents):
            with open(name, "wb") as f:
                f.write(content)

    put(files[1], files[0])
    refused(s, "is not loaded: at byte ")
    put(files[0], files[0])
    refused(s, "is not loaded: at byte ")
    put(older["base-6-0.snapshot"], files[1])
    refused(s, "base-7-0.snapshot is not loaded: at byte 0: it is of another generation than the manifest")
    put(*files)
    os.remove(names[1])
    refused(s, "base-7-1.snapshot is not loaded: at byte 0: it cannot be opened: No such file or directory")
    os.symlink(names[0], names[1])
    refused(s, "base-7-1.snapshot is not loaded: at byte 0: it cannot be opened: ")
    os.remove(names[1])
    put(*files)
    manifest = os.path.join(data, "shoal.manifest")
    text = open(manifest, "rb").read()
    with open(manifest, "wb") as f:
        f.write(text.replace(b"keys ", b"keys 1", 1))
    refused(s, "appendonlydir/shoal.manifest is not loaded: ")
    with open(manifest, "wb") as f:
        f.write(older["shoal.manifest"])
    refused(s, "base-6-")
    with open(manifest, "wb") as f:
        f.write(text)
    s.start()
