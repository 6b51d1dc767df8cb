# SPDX-License-Identifier: BSD-3-Clause
"""The start beside data: snapshots of any number of shards into any number of shards, what is answered meanwhile, and what is
wrong with files."""

import os
import random
import shutil
import subprocess

import pytest

from cluster_nodes import pick_port
from resp import RespError
from server import Server, ServerFailed, find_peer, wait_for
from test_save import facts, fill, info

pytestmark = [pytest.mark.row_pair, pytest.mark.shoal_only]

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
        s = start_server(save_format="rdb")
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
    s = start_server(save_format="rdb")
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
    s = start_server(save_format="rdb")
    with s.raw() as c:
        for i in range(50):
            c.send(request("SET", "dead:%d" % i, "1", "PX", "1500") + request("SET", "alive:%d" % i, "1", "PX", "3000000"))
        c.send(request("SAVE"))
        assert c.read_some(101) == ["OK"] * 101
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
    s = start_server(save_format="rdb")
    with s.raw() as c:
        assert c.do("SAVE") == "OK"
    again = start_server(start=False)
    make(again, os.path.join(s.dir, "dump.rdb"), 3)
    again.start()
    with again.raw() as c:
        assert c.do("DBSIZE") == 0


# ---- meanwhile ---------------------------------------------------------------------------------------------------------


def slow_start(start_server, keys=1500, delay=20000, **options):
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
        assert wait_for(lambda: other.do("DBSIZE") == 1500)
        assert other.do("GET", "key:1") == b"value:1"
    assert "Ready to accept connections tcp" in s.log()


def test_of_few_keys_nobody_is_told(start_server):
    """Valkey serves nobody before it has read some MB of what it loads. A client that comes with the start of a server with few
    keys must not meet -LOADING: many programs take it for the end (Perl's and PHP's clients, tests of applications)."""
    s = slow_start(start_server, keys=40, delay=500)  # 20 ms by one thread; PING has waited
    words = (("GET", "key:1"), ("MULTI",), ("DBSIZE",), ("EXEC",), ("EVAL", "return redis.call('DBSIZE')", "0"), ("MGET", "key:1", "key:2"))
    told = [b"value:1", "OK", "QUEUED", [40], 40, [b"value:1", b"value:2"]]
    with s.raw() as c, s.raw() as other:
        assert str(c.do("NOTHING")).startswith("ERR unknown command")
        for turn in range(30):
            other.send(request("DEBUG", "RELOAD"))
            c.send(b"".join(request(*w) for w in words))
            assert [c.read() for _ in words] == told
            assert other.read() == "OK"
    for turn in range(5):
        s.kill()
        s.start_again()
        with s.raw() as c:
            assert c.do("DBSIZE") == 40


def test_of_few_keys_that_take_long_they_are_told(start_server):
    s = slow_start(start_server, keys=40, delay=10_000_000)  # PING has waited, and was told
    with s.raw() as c:
        assert str(c.do("GET", "key:1")) == LOADING
        assert c.do("CONFIG", "SET", "key-load-delay", "0") == "OK"
        assert wait_for(lambda: c.do("DBSIZE") == 40)


def refused_while_loading(s):
    """The commands, by name, that a server which loads answers with -LOADING; and those that it does not."""
    refused, others = set(), set()
    with s.raw() as c:
        rows = c.do("COMMAND")
        dangerous = {b"shutdown", b"quit", b"subscribe", b"psubscribe", b"ssubscribe", b"unsubscribe", b"punsubscribe", b"sunsubscribe", b"monitor",
                     b"sync", b"psync", b"reset", b"multi", b"debug", b"failover", b"hello", b"auth", b"wait", b"waitaof", b"discard", b"exec"}  # fmt: skip
        rows = [row for row in rows if row[0] not in dangerous]
        # All at once: Valkey listens only now and then while it loads.
        c.send(b"".join(request(name.decode(), *["1"] * (abs(arity) - 1)) for name, arity, *_rest in rows))
        for name, *_rest in rows:
            reply = c.read()
            loading = isinstance(reply, RespError) and str(reply) == LOADING
            (refused if loading else others).add(name)
        assert info(c, "loading") == "1"
    return refused, others


def test_the_same_commands_are_refused_as_by_valkey(start_server):
    binary = find_peer("valkey")
    if binary is None:
        pytest.skip("no valkey here")  # its answers are what is compared
    rdb = small(start_server, 3000)
    ours = start_server(start=False, key_load_delay=3000)
    theirs = Server(binary, {"key-load-delay": "3000", "loading-process-events-interval-bytes": "1024"})
    try:
        seen = []
        for s in (ours, theirs):
            shutil.copy(rdb, os.path.join(s.dir, "dump.rdb"))
            s.waits_for_data = False
            seen.append(refused_while_loading(s.start()))
        (refused, others), (their_refused, their_others) = seen
        common = (refused | others) & (their_refused | their_others)
        assert len(common) > 150
        assert refused & common == their_refused & common
    finally:
        theirs.stopped_by_test = True
        theirs.kill()
        theirs.stop()


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


# ---- files of Redis and Valkey ------------------------------------------------------------------------------------------


def write_everything(c):
    """Commands of every kind that names several keys, and what logs state otherwise than it was sent."""
    c.do("MSET", *[word for i in range(100) for word in ("m%d" % i, str(i))])
    c.do("MSETNX", *[word for i in range(10) for word in ("mx%d" % i, str(i))])
    c.do("DEL", *["m%d" % i for i in range(50)])
    for i in range(500):
        c.do("RPUSH", "big%d" % (i % 7), "x" * 50 + str(i))
    for line in """
        SELECT 3;SET db3 1 EX 1000;ZADD z1 1 a 2 b;ZADD z2 5 a 9 c;ZUNIONSTORE z3 2 z1 z2;ZINTERSTORE z4 2 z1 z2;ZRANGESTORE z5 z1 0 -1
        SADD s1 a b c;SMOVE s1 s2 a;SINTERSTORE s3 s1 s2;SUNIONSTORE s4 s1 s2;SDIFFSTORE s5 s1 s2;RENAME db3 db4;RENAMENX db4 db5
        LMOVE nix nax LEFT LEFT;RPUSH l1 1 2 3;LMOVE l1 l2 LEFT RIGHT;RPOPLPUSH l1 l3;COPY z3 zcopy;COPY z3 zcopy DB 5;MOVE l3 6
        PFADD h1 a b;PFADD h2 c;PFMERGE h3 h1 h2;SET b1 abc;SET b2 xyz;BITOP AND b3 b1 b2;XADD st 1-1 a b;XGROUP CREATE st g 0
        XREADGROUP GROUP g me STREAMS st >;INCRBYFLOAT f 1.5;SORT l1 BY nosort STORE sorted;GEOADD geo 13.36 38.11 P
        GEOSEARCHSTORE geo2 geo FROMMEMBER P BYRADIUS 100 km;LMPOP 2 nope l1 LEFT;ZMPOP 1 z2 MIN;SPOP s4;EXPIRE b1 1000;GETEX b2 EX 5000
        HSET hh a 1 b 2;SETEX past 1 x;PEXPIREAT b3 1;MULTI;SET mm1 1;SET mm2 2;EXEC;SELECT 4;SET four 4;SWAPDB 3 4;SELECT 9;SET x 1;FLUSHDB;SELECT 0
        """.replace("\n", ";").split(";"):
        if line.strip():
            c.do(*line.split())
    assert wait_for(lambda: c.do("SELECT", "4") == "OK" and c.do("EXISTS", "past") == 0 and c.do("SELECT", "0") == "OK")


def aof_of(peer, preamble):
    """A server of theirs with an AOF of a base and an increment, and the digest of what it has."""
    s = Server(peer, {"appendonly": "yes", "aof-use-rdb-preamble": preamble, "aof-timestamp-enabled": "yes", "appendfsync": "always"})
    s.start()
    with s.raw() as c:
        c.do("DEBUG", "POPULATE", "1000", "key", "20")
        for i in range(200):
            c.do("SET", "a%d" % i, "v%d" % i)
        c.do("BGREWRITEAOF")
        assert wait_for(lambda: info(c, "aof_rewrite_in_progress") == "0" and info(c, "aof_rewrite_scheduled") == "0")
        write_everything(c)
        return s, c.do("DEBUG", "DIGEST")


@pytest.mark.slow
@pytest.mark.parametrize("preamble", ("yes", "no"))
@pytest.mark.parametrize("peer", ("valkey", "redis"))
def test_an_aof_of_theirs(start_server, peer, preamble):
    binary = find_peer(peer)
    if binary is None:
        pytest.skip("no %s here" % peer)  # its files are what is read
    theirs, digest = aof_of(binary, preamble)
    try:
        s = start_server(start=False)
        shutil.copytree(os.path.join(theirs.dir, "appendonlydir"), os.path.join(s.dir, "appendonlydir"))
        s.start()
        with s.raw() as c:
            assert c.do("DEBUG", "DIGEST") == digest
            assert info(c, "loading") == "0"
        # What is its own now may be saved, and is there again.
        with s.raw() as c:
            assert c.do("SAVE") == "OK"
    finally:
        theirs.stop()


def request(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in (w.encode() if isinstance(w, str) else w for w in words))


def put(s, name, data):
    path = os.path.join(s.dir, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def parts(s, *contents, manifest=None):
    """An appendonlydir of increments."""
    lines = b""
    for i, content in enumerate(contents, 1):
        put(s, "appendonlydir/appendonly.aof.%d.incr.aof" % i, content)
        lines += b"file appendonly.aof.%d.incr.aof seq %d type i\n" % (i, i)
    put(s, "appendonlydir/appendonly.aof.manifest", manifest if manifest is not None else lines)


def test_one_old_file(start_server):
    s = start_server(start=False)
    put(s, "appendonly.aof", request("SELECT", "2") + request("SET", "a", "1") + b"#TS:1700000000\r\n" + request("APPEND", "a", "2"))
    s.start()
    with s.raw() as c:
        c.do("SELECT", "2")
        assert c.do("GET", "a") == b"12"


def test_one_old_file_with_an_rdb_file_ahead(start_server):
    rdb = small(start_server, 30)
    s = start_server(start=False)
    put(s, "appendonly.aof", open(rdb, "rb").read() + request("SELECT", "0") + request("APPEND", "key:3", "more") + request("DEL", "key:4", "key:5", "key:6"))
    s.start()
    with s.raw() as c:
        assert c.do("GET", "key:3") == b"value:3more"
        assert c.do("DBSIZE") == 27


def test_deadlines_of_a_log_end_nothing_by_themselves(start_server):
    s = start_server(start=False)
    parts(s, request("SET", "a", "1", "PXAT", "1000") + request("APPEND", "a", "2") + request("PERSIST", "a") + request("SET", "b", "1") + request("PEXPIREAT", "b", "1000")
          + request("RENAME", "b", "c") + request("SET", "d", "1") + request("PEXPIREAT", "d", "1000") + request("COPY", "d", "e") + request("PERSIST", "e"))  # fmt: skip
    s.start()
    with s.raw() as c:
        assert c.do("GET", "a") == b"12"
        assert c.do("MGET", "b", "c", "d", "e") == [None, None, None, b"1"]
        assert wait_for(lambda: c.do("DBSIZE") == 2)


def test_a_slot_was_emptied(start_server):
    """As Valkey's AOF says it: bar is in slot 5061, foo is not."""
    s = start_server(start=False, cluster_enabled="yes", port=str(pick_port()))
    parts(s, request("MSET", "bar", "1", "{bar}2", "2") + request("SET", "foo", "1") + request("CLUSTER", "FLUSHSLOT", "5061") + request("SET", "{bar}3", "1")
          + request("CLUSTER", "FLUSHSLOT", "1", "ASYNC"))  # fmt: skip
    s.start()
    with s.raw() as c:
        assert c.do("DBSIZE") == 2
        assert c.do("CLUSTER", "GETKEYSINSLOT", "5061", "10") == [b"{bar}3"]


def test_transactions_count_whole_or_not_at_all(start_server):
    whole = request("SET", "a", "1") + request("MULTI") + request("SET", "b", "1") + request("SET", "c", "1") + request("EXEC")
    for end in (b"", request("MULTI") + request("SET", "d", "1"), request("MULTI") + request("SET", "d", "1") + request("EXEC")[:-1], request("SET", "d", "1")[:-3], b"*", b"#TS:17"):
        for allowed in ("yes", "no"):
            s = start_server(start=False, aof_load_truncated=allowed)
            parts(s, whole + end)
            if end and allowed == "no":
                refused(s, "appendonly.aof.1.incr.aof is not loaded: at byte %d: it ends in the middle of a command, and aof-load-truncated is no" % len(whole))
                continue
            s.start()
            with s.raw() as c:
                assert c.do("MGET", "a", "b", "c", "d") == [b"1", b"1", b"1", None]
            assert ("its last %d bytes, from byte %d on, are left out" % (len(end), len(whole)) in s.log()) == bool(end)
            assert os.path.getsize(os.path.join(s.dir, "appendonlydir/appendonly.aof.1.incr.aof")) == len(whole + end)


def test_what_is_wrong_with_an_aof(start_server):
    good = request("SET", "a", "1")
    s = start_server(start=False)
    for contents, manifest, said in (
        ([good + b"nonsense\r\n"], None, "1.incr.aof is not loaded: at byte %d: no command" % len(good)),
        ([good + request("EVAL", "return 1", "0")], None, "1.incr.aof is not loaded: at byte %d: 'EVAL': no command that a log can have" % len(good)),
        ([good + request("SELECT", "99")], None, "at byte %d: a database beyond" % len(good)),
        ([good + request("GET")], None, "at byte %d: 'GET': a wrong number of arguments" % len(good)),
        ([good[:-2], good], None, "1.incr.aof is not loaded: at byte 0: it ends in the middle of a command, and is not the last file"),
        ([good], b"file nothing.aof seq 1 type i\n", "appendonlydir/nothing.aof is not loaded: at byte 0: it cannot be opened: No such file or directory"),
        ([good], b"file ../x seq 1 type i\n", "appendonly.aof.manifest is not loaded: a file in another directory"),
        ([good], b"file x seq 1 type q\n", "appendonly.aof.manifest is not loaded: a file of an unknown type"),
        ([good], b"file x seq 1 type i", "appendonly.aof.manifest is not loaded: its last line has no end"),
        ([good], b"file x seq 2 type i\nfile y seq 1 type i\n", "appendonly.aof.manifest is not loaded: increments whose numbers do not grow"),
        ([good], b"file x seq 1 type i\nfile y seq 1 type b\n", "appendonly.aof.manifest is not loaded: a base that is not the first file"),
        ([good], b"", "appendonly.aof.manifest is not loaded: it names no file"),
    ):  # fmt: skip
        parts(s, *contents, manifest=manifest)
        refused(s, said)
    parts(s, good, manifest=b'# a note\nfile "appendonly.aof.1.incr.aof" seq 1 type i new 1\nfile gone.aof seq 1 type h\n')
    s.start()
    with s.raw() as c:
        assert c.do("GET", "a") == b"1"


def test_errors_in_a_log_are_errors_that_were_answered(start_server):
    s = start_server(start=False)
    parts(s, request("SET", "a", "1") + request("LPUSH", "a", "1") + request("SET", "b", "1"))
    s.start()
    with s.raw() as c:
        assert c.do("MGET", "a", "b") == [b"1", b"1"]
    assert "1.incr.aof, at byte 27: 'LPUSH': -WRONGTYPE" in s.log()


def test_which_of_several_is_the_data(start_server):
    """Shoal's own; else, as appendonly is no, the RDB file; else the AOF."""
    rdb = small(start_server, 30)
    s = start_server(start=False)
    parts(s, request("SET", "aof", "1"))
    shutil.copy(rdb, os.path.join(s.dir, "dump.rdb"))
    s.start()
    with s.raw() as c:
        assert c.do("DBSIZE") == 30 and c.do("EXISTS", "aof") == 0
    s = start_server(start=False)
    parts(s, request("SET", "aof", "1"))
    make(s, small(start_server, 20), 2)
    shutil.copy(rdb, os.path.join(s.dir, "dump.rdb"))
    s.start()
    with s.raw() as c:
        assert c.do("DBSIZE") == 20 and c.do("EXISTS", "aof") == 0
    assert "dump.rdb is newer than appendonlydir/shoal.manifest, and is not loaded" in s.log()


@pytest.mark.parametrize("kind", ("rdb", "aof"))
def test_an_import_is_answered_for_and_can_be_stopped(start_server, kind):
    def slow(delay):
        s = start_server(start=False, key_load_delay=delay)
        s.waits_for_data = False
        if kind == "rdb":
            shutil.copy(rdb, os.path.join(s.dir, "dump.rdb"))
        else:
            parts(s, b"".join(request("SET", "key:%d" % i, "value:%d" % i) for i in range(300)))
        return s.start()

    rdb = small(start_server)
    s = slow(20000)
    with s.raw() as c, s.raw() as other:
        for client in (c, other):
            assert str(client.do("PING")) == LOADING
            assert str(client.do("MGET", "key:1", "key:2")) == LOADING
            assert str(client.do("DEBUG", "DIGEST")) == LOADING
        assert info(c, "loading") == "1"
        assert int(info(c, "loading_total_bytes")) > 0
        assert wait_for(lambda: 0 < int(info(c, "loading_loaded_bytes")) < int(info(c, "loading_total_bytes")))
        assert other.do("CONFIG", "SET", "key-load-delay", "0") == "OK"
        assert wait_for(lambda: other.do("DBSIZE") == 300)
        assert c.do("MGET", "key:1", "key:2", "key:3") == [b"value:1", b"value:2", b"value:3"]
    s = slow(20000)
    s.proc.terminate()
    assert s.wait() == 0
    s.stopped_by_test = True


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
