# SPDX-License-Identifier: BSD-3-Clause
"""All keys as a file, and a file as all keys: SAVE, SHUTDOWN SAVE, and what is there at the start."""

import os
import random
import shutil
import stat

import dumps
import pytest

from resp import RespError
from server import Server, ServerFailed, find_peer, wait_for

pytestmark = pytest.mark.row_pair


def rdb(kind):
    """Settings of a server whose saves are one file."""
    return {"save_format": "rdb"} if kind == "shoal" else {}


def info(c, name):
    found = dict(line.split(":", 1) for line in c.do("INFO", "persistence").decode().splitlines() if ":" in line)
    return found[name]


def fill(c, seed=1, deadlines=True):
    rng = random.Random(seed)

    def text():
        return rng.choice([b"%d" % rng.randrange(-1000, 1000), b"x" * rng.randrange(100), bytes(rng.randrange(256) for _ in range(20)), b"y" * 30000])

    for db in ("0", "3", "15"):
        c.do("SELECT", db)
        for i in range(12):
            n = rng.choice([1, 5, 200])
            c.do("SET", "string:%d" % i, text())
            c.do("RPUSH", "list:%d" % i, *[text() for _ in range(n)])
            c.do("SADD", "set:%d" % i, *[text() for _ in range(n)])
            c.do("SADD", "ints:%d" % i, *[str(rng.randrange(-(2**40), 2**40)) for _ in range(n)])
            c.do("ZADD", "zset:%d" % i, *[word for _ in range(n) for word in (str(rng.choice([1, 2.5, -7, 1e17])), text())])
            c.do("HSET", "hash:%d" % i, *[word for _ in range(n) for word in (text(), text())])
            for j in range(n):
                c.do("XADD", "stream:%d" % i, "%d-1" % (j + 1), "f", text())
            c.do("XGROUP", "CREATE", "stream:%d" % i, "group", "0")
            c.do("XREADGROUP", "GROUP", "group", "one", "COUNT", str(n // 2 + 1), "STREAMS", "stream:%d" % i, ">")
            c.do("PEXPIREAT", "list:%d" % i, "4%012d" % i)
            if deadlines:
                c.do("HPEXPIREAT", "hash:%d" % i, "41%011d" % i, "FIELDS", "1", c.do("HRANDFIELD", "hash:%d" % i))
    c.do("SELECT", "0")


def facts(c):
    """What a server has, and when it ends."""
    found = []
    for db in ("0", "3", "15"):
        c.do("SELECT", db)
        keys = sorted(c.do("KEYS", "*"))
        # Each by itself: the digest of all is another one for a moment after Valkey's start.
        found += [keys, c.do("DEBUG", "DIGEST-VALUE", *keys), c.do("DBSIZE"), [c.do("PEXPIRETIME", "list:%d" % i) for i in range(12)]]
        found += [sorted(map(str, [c.do("OBJECT", "ENCODING", "%s:%d" % (kind, i)) for kind in ("string", "list", "set", "ints", "zset", "hash") for i in range(12)]))]
        found += [c.do("XPENDING", "stream:%d" % i, "group") for i in range(12)]
    c.do("SELECT", "0")
    return found


def plain(found):
    """Names, digests of what is no sorted set, counts and deadlines."""
    out = []
    for keys, digests, *rest in (found[:4], found[17:21], found[34:38]):
        out += [[(key, digest) for key, digest in zip(keys, digests) if not key.startswith(b"zset")], rest]
    return out


def again(server, **config):
    """Stopped without another word and started once more."""
    with server.raw() as c:
        c.send(b"SHUTDOWN NOSAVE\r\n")
        assert c.is_closed()
    assert server.wait() == 0
    server.config.update({name.replace("_", "-"): str(value) for name, value in config.items()})
    server.start()


@pytest.mark.slow
def test_what_was_saved_is_there_after_a_restart(start_server, kind):
    s = start_server(**rdb(kind))
    with s.raw() as c:
        fill(c)
        before, saves = facts(c), int(info(c, "rdb_saves"))
        changes = int(info(c, "rdb_changes_since_last_save"))
        assert changes > 1000
        at = c.do("LASTSAVE")
        assert c.do("SAVE") == "OK"
        assert info(c, "rdb_changes_since_last_save") == "0" and c.do("LASTSAVE") >= at
        if kind == "shoal":
            assert int(info(c, "rdb_saves")) == saves + 1 and int(info(c, "rdb_last_save_time")) == c.do("LASTSAVE")
        c.do("SET", "later", "v")
        assert info(c, "rdb_changes_since_last_save") == "1"
    for shards in (1, 3, 4) if kind == "shoal" else (1,):
        again(s, **({"shards": shards} if kind == "shoal" else {}))
        with s.raw() as c:
            assert facts(c) == before
            assert c.do("GET", "later") is None
            assert info(c, "rdb_changes_since_last_save") == "0" and info(c, "rdb_last_load_keys_loaded") == str(3 * 84)
    assert stat.S_IMODE(os.stat(os.path.join(s.dir, "dump.rdb")).st_mode) in ((0o600,) if kind == "shoal" else (0o644, 0o600))
    assert not [name for name in os.listdir(s.dir) if name.startswith("temp-")]


@pytest.mark.slow
@pytest.mark.parametrize("peer", ["valkey", "redis"])
def test_files_go_to_other_servers_and_come_back(start_server, kind, peer):
    path = find_peer(peer)
    if kind != "shoal" or not path:
        pytest.skip("needs Shoal and the other server")  # files go between two; without the other there is nothing to ask
    s = start_server(**rdb(kind))
    with s.raw() as c:
        fill(c, 2, deadlines=peer == "valkey")
        before = facts(c)
        assert c.do("SAVE") == "OK"
    other = Server(path, {}, kind=peer)
    shutil.copy(os.path.join(s.dir, "dump.rdb"), other.dir)
    other.start()
    try:
        with other.raw() as c:
            if peer == "valkey":
                assert facts(c) == before
            else:  # its digests of sorted sets and its encodings are others
                assert plain(facts(c)) == plain(before)
            fill(c, 3, deadlines=peer == "valkey")
            theirs = facts(c)
            assert c.do("SAVE") == "OK"
        shutil.copy(os.path.join(other.dir, "dump.rdb"), s.dir)
    finally:
        other.stop(check=False)
    again(s)
    with s.raw() as c:
        ours = facts(c)
        assert ours == theirs if peer == "valkey" else plain(ours) == plain(theirs)


def test_what_is_over_is_not_loaded(start_server, kind):
    s = start_server(**rdb(kind))
    with s.raw() as c:
        c.do("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        c.do("SET", "soon", "v", "PX", "400"), c.do("SET", "late", "v", "EX", "1000")
        c.do("SAVE")
        assert wait_for(lambda: c.do("PTTL", "soon") == -2)
    again(s)
    with s.raw() as c:
        assert c.do("DBSIZE") == 1 and c.do("TTL", "late") > 900
        assert info(c, "rdb_last_load_keys_expired") == "1"


@pytest.mark.parametrize("form", ["shoal", "rdb"])
def test_old_forms_are_saved_as_what_they_are(start_server, kind, form):
    """Values that came in forms which nobody writes any more."""
    if kind != "shoal" and form == "shoal":
        pytest.skip("there is one form")  # Valkey writes RDB alone
    seed = random.getrandbits(32)
    rng = random.Random(seed)
    s = start_server(**rdb(kind) if form == "rdb" else {})

    def element(rng):
        number = rng.choice([rng.randrange(-200, 200), rng.randrange(-(2**63), 2**63)])
        return rng.choice([str(number).encode(), b"x" * rng.randrange(30), rng.randbytes(rng.randrange(80)), b"y" * rng.choice([63, 64, 65, 5000])])

    with s.raw() as c:
        for i, (name, dump) in enumerate(dumps.old_forms(rng, [1, 3, 10, 127, 129, 513], element)):
            assert c.do("RESTORE", "%s:%d" % (name, i), "0" if i % 3 else "1000000", dump) == "OK", (name, seed)
        keys = sorted(c.do("KEYS", "*"))
        before = c.do("DEBUG", "DIGEST-VALUE", *keys)
        ours = [key for key in keys if not key.startswith(b"list ziplist")]  # which Valkey leaves a quicklist until it is saved
        forms = [c.do("OBJECT", "ENCODING", key) for key in ours]
        assert len(keys) == 60
        assert c.do("SAVE") == "OK"
    again(s)
    with s.raw() as c:
        assert c.do("DEBUG", "DIGEST-VALUE", *keys) == before, seed
        assert [c.do("OBJECT", "ENCODING", key) for key in ours] == forms, seed
        assert c.do("DEBUG", "RELOAD") == "OK"
        assert c.do("DEBUG", "DIGEST-VALUE", *keys) == before


@pytest.mark.parametrize("form", ["shoal", "rdb"])
def test_how_keys_were_used_is_saved_if_the_policy_goes_by_it(start_server, kind, form):
    if kind != "shoal" and form == "shoal":
        pytest.skip("there is one form")  # Valkey writes RDB alone
    value = dumps.dump(0, dumps.text(b"v"))

    def idle(c):
        return [c.do("OBJECT", "IDLETIME", "k%d" % i) for i in range(8)]

    def count(c):
        return [c.do("OBJECT", "FREQ", "k%d" % i) for i in range(8)]

    s = start_server(maxmemory_policy="allkeys-lru", lfu_decay_time="0", **rdb(kind) if form == "rdb" else {})
    with s.raw() as c:
        for i in range(8):
            c.do("RESTORE", "k%d" % i, "0" if i % 2 else "1000000", value, "IDLETIME", str(1000 * i))
        assert c.do("SAVE") == "OK"
        assert c.do("DEBUG", "RELOAD") == "OK"
        assert all(1000 * i <= n < 1000 * i + 100 for i, n in enumerate(idle(c)))
    again(s)
    with s.raw() as c:
        assert all(1000 * i <= n < 1000 * i + 100 for i, n in enumerate(idle(c)))
        c.do("CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert c.do("SAVE") == "OK"
    again(s, maxmemory_policy="volatile-lfu")
    with s.raw() as c:
        for i in range(8):
            c.do("RESTORE", "k%d" % i, "0", value, "REPLACE", "FREQ", str(30 * i))
        assert c.do("SAVE") == "OK"
        assert c.do("DEBUG", "RELOAD") == "OK"
        assert count(c) == [30 * i for i in range(8)]
    again(s)
    with s.raw() as c:
        assert count(c) == [30 * i for i in range(8)]
    again(s, maxmemory_policy="noeviction")
    with s.raw() as c:
        assert all(n < 100 for n in idle(c))  # a clock that the file says nothing of


def test_debug_reload_leaves_everything_as_it_was(start_server, kind):
    s = start_server()
    with s.raw() as c:
        fill(c, 4)
        before, changes = facts(c), info(c, "rdb_changes_since_last_save")
        assert c.do("DEBUG", "RELOAD") == "OK"
        assert facts(c) == before
        if kind == "shoal":
            assert info(c, "rdb_changes_since_last_save") == changes and os.listdir(s.dir) == ["server.log"]
            assert (c.do("MULTI"), c.do("DEBUG", "RELOAD")) == ("OK", "QUEUED")
            assert str(c.do("EXEC")[0]) == "ERR DEBUG RELOAD is not for MULTI"
        assert facts(c) == before


@pytest.mark.parametrize("appendonly", ["no", "yes"])
def test_debug_reload_takes_options(start_server, kind, appendonly):
    error = RespError("ERR Error trying to load the RDB dump, check server logs.")
    s = start_server(appendonly=appendonly, **rdb(kind))
    with s.raw() as c:
        assert c.do("DEBUG", "RELOAD", "NOSAVE", "x") == RespError("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.")
        keys = ["key%d" % i for i in range(40)]
        for key in keys:
            c.do("SET", key, "saved"), c.do("RPUSH", "list" + key, "saved")
        assert wait_for(lambda: info(c, "aof_rewrite_in_progress") == "0")
        assert c.do("SAVE") == "OK"
        c.do("FLUSHALL"), c.do("SET", "key0", "later"), c.do("SET", "key1", "later", "PX", "100000000"), c.do("RPUSH", "other", "later")
        assert c.do("DEBUG", "RELOAD", "nosave", "NOFLUSH", "Merge") == "OK"
        assert c.do("DBSIZE") == 81
        assert c.do("MGET", *keys) == [b"saved"] * 40 and c.do("LRANGE", "other", "0", "-1") == [b"later"] and c.do("TTL", "key1") == -1
        c.do("FLUSHALL"), c.do("SET", "other", "later")
        assert c.do("DEBUG", "RELOAD", "NOSAVE", "NOFLUSH") == "OK"
        assert c.do("DBSIZE") == 81
        c.do("SET", "key0", "later")
        assert c.do("DEBUG", "RELOAD", "NOSAVE") == "OK"
        assert c.do("DBSIZE") == 80 and c.do("GET", "key0") == b"saved"
        c.do("SET", "key1", "last")
        assert c.do("DEBUG", "RELOAD", "MERGE") == "OK"
        if kind == "shoal":
            assert c.do("DEBUG", "RELOAD", "MERGE", "NOFLUSH") == "OK"
        assert c.do("DBSIZE") == 80 and c.do("MGET", "key0", "key1") == [b"saved", b"last"]
        before = c.do("DEBUG", "DIGEST")
        if kind == "shoal" and appendonly == "yes":
            assert c.do("DEBUG", "LOADAOF") == "OK"
            assert c.do("DEBUG", "DIGEST") == before
        os.rename(os.path.join(s.dir, "dump.rdb"), os.path.join(s.dir, "away"))
        assert c.do("DEBUG", "RELOAD", "NOSAVE") == error
        with open(os.path.join(s.dir, "dump.rdb"), "wb") as f:
            f.write(b"NOT A FILE OF KEYS")
        assert c.do("DEBUG", "RELOAD", "NOSAVE") == error
        assert c.do("DEBUG", "DIGEST") == before
        os.rename(os.path.join(s.dir, "away"), os.path.join(s.dir, "dump.rdb"))
        if kind == "shoal" and appendonly == "yes":
            s.proc.kill(), s.proc.wait()
            s.start_again()
            with s.raw() as d:
                assert d.do("DEBUG", "DIGEST") == before


@pytest.mark.shoal_only
def test_files_of_a_save_that_came_to_no_end_go_with_the_next_start(start_server):
    s = start_server()
    with s.raw() as c:
        c.do("SET", "a", "1")
        assert c.do("SAVE") == "OK"
    folder = os.path.join(s.dir, "appendonlydir")
    files = sorted(os.listdir(folder))
    theirs = ["base-x-1.snapshot", "base-07-0.snapshot", "base-7-0.snapshot.old", "notes"]
    for name in ["base-2-0.snapshot", "base-2-9.snapshot", "base-0-0.snapshot"] + theirs:
        with open(os.path.join(folder, name), "wb") as f:
            f.write(b"x")
    again(s)
    assert wait_for(lambda: sorted(os.listdir(folder)) == sorted(files + theirs))
    with s.raw() as c:
        assert c.do("GET", "a") == b"1"


@pytest.mark.shoal_only
def test_shutdown_saves_if_it_is_told_to(start_server):
    s = start_server()
    with s.raw() as c:
        c.do("SET", "k", "v")
        c.send(b"SHUTDOWN SAVE\r\n")
        assert c.is_closed()
    assert s.wait() == 0
    s.start()
    with s.raw() as c:
        assert c.do("GET", "k") == b"v"


@pytest.mark.shoal_only
def test_a_save_that_fails_leaves_the_old_file(start_server):
    s = start_server(dbfilename="own.rdb", save_format="rdb")
    path = os.path.join(s.dir, "own.rdb")
    with s.raw() as c:
        c.do("SET", "k", "old")
        assert c.do("SAVE") == "OK"
        old = open(path, "rb").read()
        os.mkdir(os.path.join(s.dir, "temp-%d.rdb" % s.proc.pid))  # in the place of the new one
        c.do("SET", "k", "new")
        assert isinstance(c.do("SAVE"), RespError) and "Failed opening" in s.log()
        assert str(c.do("SHUTDOWN", "SAVE")) == "ERR Errors trying to SHUTDOWN. Check logs."
        assert open(path, "rb").read() == old and info(c, "rdb_changes_since_last_save") == "1"
        assert c.do("GET", "k") == b"new"


def refused(s, data, reason):
    with open(os.path.join(s.dir, "dump.rdb"), "wb") as f:
        f.write(data)
    with pytest.raises(ServerFailed, match="exited with 1"):
        s.start()
    s.stopped_by_test = True
    assert reason in s.log(), s.log()[-500:]
    os.unlink(s.log_path)


@pytest.mark.shoal_only
@pytest.mark.slow
def test_a_file_that_makes_no_sense_is_refused(start_server):
    """With a reason and the place; never started with a part of it."""
    s = start_server(save_format="rdb")
    with s.raw() as c:
        for i in range(50):
            c.do("SET", "k%d" % i, "value"), c.do("RPUSH", "l%d" % i, *range(20))
        c.do("SAVE"), c.send(b"SHUTDOWN NOSAVE\r\n")
        assert c.is_closed()
    assert s.wait() == 0
    whole = open(os.path.join(s.dir, "dump.rdb"), "rb").read()
    os.unlink(s.log_path)
    rng = random.Random(5)
    refused(s, b"", "the file is cut off")
    refused(s, b"NONSENSE!", "it is no RDB file")
    refused(s, b"REDIS0099" + whole[9:], "an RDB version that is not known")
    for _ in range(5):
        refused(s, whole[: rng.randrange(9, len(whole) - 1)], "is not loaded: ")
        at = rng.randrange(9, len(whole))
        refused(s, whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :], "is not loaded: ")
    key = b"\x00" + dumps.text(b"k") + dumps.text(b"v")
    end = b"\xff" + bytes(8)
    refused(s, b"REDIS0011" + key + key + end, "a key is there twice")
    refused(s, b"REDIS0011\xfe" + dumps.length(99) + key + end, "a database beyond those that are configured")
    refused(s, b"REDIS0011\x07" + dumps.text(b"k") + dumps.length(1) + b"\x00" + end, "a type of value that is not known")
    with open(os.path.join(s.dir, "dump.rdb"), "wb") as f:
        f.write(b"REDIS0011" + key + end)  # without a checksum
    s.start()
    with s.raw() as c:
        assert c.do("GET", "k") == b"v"


@pytest.mark.shoal_only
def test_a_directory_is_of_one_process(start_server, tmp_path):
    """Two servers that write their data into one place would each lose what the other has kept."""
    one, two = start_server(dir=str(tmp_path)), start_server(dir=str(tmp_path))
    with one.raw() as c, two.raw() as d:
        assert c.do("SET", "k", "one") == d.do("SET", "k", "two") == c.do("SAVE") == "OK"
        assert d.do("SAVE") == RespError("ERR")
    assert "cannot be used, for another process works there (give each server a 'dir' of its own)" in two.log()
    three = start_server(start=False, dir=str(tmp_path))
    with pytest.raises(ServerFailed):
        three.start()
    three.stopped_by_test = True
    assert "Another process works in %s/appendonlydir: give each server a 'dir' of its own" % tmp_path in three.log()
    one.kill()
    one.start_again()
    with one.raw() as c:
        assert c.do("GET", "k") == b"one"
