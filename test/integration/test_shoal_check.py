# SPDX-License-Identifier: BSD-3-Clause
"""shoal-check: what it shows, finds, repairs, and takes to other servers and back."""

import fcntl
import os
import random
import resource
import shutil
import signal
import struct
import subprocess

import pytest

import datadir
import dumps
import test_save
import writes
from datadir import Base, Segment, record
from resp import RespError, encode, parse
from server import Server, find_peer, wait_for

pytestmark = pytest.mark.row_once


@pytest.fixture(scope="session")
def program(server_binary, kind):
    path = os.path.join(os.path.dirname(os.path.abspath(server_binary)), "shoal-check")
    if kind != "shoal":
        pytest.skip("it is Shoal's")  # another server has no such program
    return path


@pytest.fixture
def check(program, tmp_path):
    def run(*args, code=0, text=True):
        done = subprocess.run([program, *map(str, args)], capture_output=True, timeout=120, cwd=tmp_path)
        out, err = done.stdout, done.stderr
        assert done.returncode == code, (args, done.returncode, out[-2000:], err[-2000:])
        assert b"check failed" not in err and b"Sanitizer" not in err, err
        return (out.decode("utf-8", "replace") + err.decode("utf-8", "replace")) if text else out

    run.program = program
    return run


def text_key(name, value):
    return bytes([0]) + dumps.text(name) + dumps.text(value)


def small(path, until=10, shards=2, torn=b"", **kwargs):
    """A snapshot of two keys, and a log in which number n is SET key:n n, on alternate shards; every third a transaction on both."""
    bases = [Base(i, shards, b"\xfe\x00" + text_key(b"base:%d" % i, b"b"), 1) for i in range(shards)]
    segments = [Segment(i) for i in range(shards)]
    for number in range(1, until + 1):
        time_ms = 1790000000000 + number * 1000
        if number % 3 == 0:
            for i in range(2):
                segments[i].block((number, 2, [record(0, "SET", "part:%d:%d" % (number, i), number)]), time_ms=time_ms, **kwargs)
        else:
            segments[number % 2].block((number, 1, [record(number % 2, "SET", "key:%d" % number, number)]), time_ms=time_ms, **kwargs)
    segments[0].data += torn
    datadir.write(path, shards, bases, segments)
    return segments


def commands(check, path):
    """What `records` shows of the log: (number, command)."""
    lines = [line.split(" ", 4) for line in check("records", path).splitlines()]
    return [(int(line[0]), line[4]) for line in lines if line[0] != "-"]


def numbers(check, path):
    return sorted({number for number, _ in commands(check, path)})


# ---- What it says


def test_usage(check):
    for word in ("show", "verify", "repair", "restore", "export", "import", "records", "Exit codes"):
        assert word in check("--help")
    check("--version")
    for args in ([], ["what"], ["show"], ["show", "a", "b"], ["show", ".", "--yes"], ["restore", "a", "b"], ["import", "a", "b", "--shards", "0"],
                 ["verify", "nothing"], ["show", "."], ["repair", "."], ["export", ".", "x.rdb"], ["records", "."]):
        assert "shoal-check: " in check(*args, code=2)


def test_show(check, tmp_path):
    small(tmp_path / "appendonlydir", torn=b"ShBlo")
    for path in (tmp_path, tmp_path / "appendonlydir"):
        text = check("show", path)
        assert "generation 1" in text and "base-1-1.snapshot" in text and "log-0-1.segment" in text
        assert "db0: 2 keys (2 strings)" in text
        assert "dropped: log-0-1.segment: byte " in text and "5 bytes" in text
        assert "numbers 1 to 10 of the log: 13 records" in text
    text = check("verify", tmp_path)
    assert "dropped: log-0-1.segment" in text and "base-1-1" not in text


def test_a_directory_that_a_server_has_open_is_left_alone(check, tmp_path):
    small(tmp_path / "data")
    handle = os.open(tmp_path / "data", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    for args in (["show", "data"], ["repair", "data", "--yes"], ["export", "data", "x.rdb"]):
        assert "a server has it open" in check(*args, code=2)
    os.close(handle)
    check("show", "data")


def test_a_log_that_has_not_begun(check, tmp_path):
    """Its manifest says so by a first number 0; it was called damaged."""
    data = tmp_path / "appendonlydir"
    datadir.write(data, 1, segments=[Segment(0)], first=0)
    for word in ("show", "verify"):
        text = check(word, tmp_path)
        assert "names nothing" in text and "a start begins with nothing" in text
    for args in (["export", tmp_path, "x.rdb"], ["records", tmp_path], ["repair", tmp_path], ["restore", tmp_path, "new", "--to", "1"]):
        assert "no data is there yet" in check(*args, code=2)
    rdb = b"REDIS0009\xfe\x00" + text_key(b"key", b"value") + b"\xff"
    (tmp_path / "dump.rdb").write_bytes(rdb + struct.pack("<Q", dumps.crc64(rdb)))
    text = check("verify", tmp_path)
    assert "names nothing" in text and "dump.rdb: whole" in text and "1 key (1 string)" in text


def test_files_of_redis_8(check, tmp_path):
    """Its hashes whose fields have deadlines come in; a key that is not understood is named, with its place."""
    fields = [(b"f", b"1", 2**44), (b"g", b"2", 0)]
    hashes = [(b"h:%d" % packed,) + dumps.hash_of_redis(fields, packed) for packed in (True, False)]
    (tmp_path / "good.rdb").write_bytes(dumps.redis_file(*hashes))
    assert "good.rdb: whole" in check("verify", "good.rdb") and "2 hashes" in check("verify", "good.rdb")
    check("import", "good.rdb", "new", "--shards", 2)
    shown = check("records", "new")
    assert shown.count("17592186044416") == 2 and shown.count("HSET") >= 2, shown
    module = (b"j", 7, dumps.length(2**63 + 5) + b"\x05" + dumps.text(b"{}") + b"\x00")
    (tmp_path / "bad.rdb").write_bytes(dumps.redis_file(*hashes, module))
    said = 'a type of value that is not known: the key "j" is of type 7, of the module\'s type '
    assert said in check("verify", "bad.rdb", code=1)
    assert said in check("import", "bad.rdb", "other", code=1) and not (tmp_path / "other").exists()
    aof = tmp_path / "appendonlydir"
    aof.mkdir()
    (aof / "appendonly.aof.1.base.rdb").write_bytes(dumps.redis_file(*hashes, module))
    (aof / "appendonly.aof.manifest").write_bytes(b"file appendonly.aof.1.base.rdb seq 1 type b\n")
    assert said in check("verify", tmp_path, code=1)


LIBRARIES = {
    b"one": b"#!lua name=one\nredis.register_function('first', function(keys, args) return 'is first' end)",
    b"two": b"#!lua name=two\nredis.register_function{function_name='second', callback=function(keys) return redis.call('GET', keys[1]) end, flags={'no-writes'}}",
}


def ended(s):
    s.proc.send_signal(signal.SIGTERM), s.proc.wait()
    s.stopped_by_test = True


def libraries_of(c):
    return {one[b"library_name"]: one[b"library_code"] for one in (dict(zip(flat[::2], flat[1::2])) for flat in c.do("FUNCTION", "LIST", "WITHCODE"))}


@pytest.mark.parametrize("saved", [False, True])
def test_libraries_of_functions_go_with_the_data(check, start_server, tmp_path, saved):
    """In the snapshot or in the log; out as RDB and as commands, in again, and back to a time."""
    s = start_server(appendonly="yes")
    with s.raw() as c:
        assert c.do("FUNCTION", "LOAD", b"#!lua name=gone\nredis.register_function('f', function() return 1 end)") == b"gone"
        for code in LIBRARIES.values():
            c.do("FUNCTION", "LOAD", code)
        assert c.do("SET", "key", "value") == "OK" and c.do("FUNCTION", "DELETE", "gone") == "OK"
        if saved:
            c.do("BGREWRITEAOF")
            assert wait_for(lambda: "aof_rewrite_in_progress:0" in c.do("INFO", "persistence").decode() and "aof_rewrite_scheduled:0" in c.do("INFO", "persistence").decode(), 60)
            assert c.do("SET", "later", "1") == "OK"
        assert libraries_of(c) == LIBRARIES
    ended(s)
    records = check("records", s.dir)
    assert '"FUNCTION" "LOAD"' in records and ("gone" in records) == (not saved)
    check("export", s.dir, "out.rdb")
    assert "libraries of functions: 2" in check("import", "out.rdb", "in", "--shards", "3")
    last = int(check("records", s.dir).splitlines()[-1].split(" ")[0])
    check("restore", s.dir, "back", "--to", last)
    resp = check("records", s.dir, "--resp", text=False)
    (tmp_path / "rdb").mkdir()
    shutil.copy(tmp_path / "out.rdb", tmp_path / "rdb" / "dump.rdb")
    for directory, appendonly in (("in", "no"), ("back", "yes"), ("rdb", "no")):
        t = start_server(dir=str(tmp_path / directory), appendonly=appendonly)
        with t.raw() as c:
            assert libraries_of(c) == LIBRARIES, directory
            assert c.do("FCALL", "first", 0) == b"is first" and c.do("FCALL", "second", 1, "key") == b"value"
        ended(t)
    t = start_server()
    with t.raw() as sender, t.raw() as c:
        sender.send(resp)
        assert wait_for(lambda: c.do("EXISTS", "key") == 1 and libraries_of(c) == LIBRARIES, 30)
        assert c.do("FCALL", "second", 1, "key") == b"value"


# ---- To other servers and back


def load(binary, rdb):
    """A server whose data is this file."""
    server = Server(binary)
    shutil.copy(rdb, os.path.join(server.dir, "dump.rdb"))
    return server


def facts_of(binary, rdb):
    with load(binary, rdb) as server, server.raw() as c:
        return test_save.facts(c)


@pytest.mark.parametrize("shards", [1, 5])
def test_import_and_export_keep_everything(check, start_server, server_binary, tmp_path, shards):
    first = start_server(save_format="rdb")
    with first.raw() as c:
        test_save.fill(c)
        c.do("SET", "huge", b"h" * 9000000)
        c.do("RPUSH", "long", *[b"%d" % i for i in range(20000)])
        c.do("SET", b"k" * 5000000, "a name longer than a frame")
        c.do("SAVE")
        expected = test_save.facts(c)
    rdb = os.path.join(first.dir, "dump.rdb")
    assert "whole" in check("verify", rdb)
    check("import", rdb, "new", "--shards", shards)
    assert oct((tmp_path / "new" / "appendonlydir" / "shoal.manifest").stat().st_mode)[-3:] == "600"
    check("import", rdb, "new", code=2)  # it is there already
    assert "%d shard" % shards in check("show", "new")
    assert "a start takes the snapshot" in check("verify", "new")
    check("export", "new", "out.rdb")
    check("export", "new", "out.rdb", code=2)
    assert facts_of(server_binary, tmp_path / "out.rdb") == expected
    for file in sorted((tmp_path / "new" / "appendonlydir").glob("*.snapshot")):
        assert "whole" in check("verify", file)
    served = start_server(start=False)
    shutil.copytree(tmp_path / "new" / "appendonlydir", os.path.join(served.dir, "appendonlydir"))
    served.start()
    with served.raw() as c:
        assert test_save.facts(c) == expected
    second = start_server()
    with second.raw() as c:
        c.send(check("records", "new", "--resp", text=False) + encode("ECHO", "end"))
        while c.read() != b"end":
            pass
        assert test_save.facts(c) == expected


@pytest.mark.parametrize("name", ["redis", "valkey"])
def test_files_of_others(check, tmp_path, name):
    path = find_peer(name)
    if not path:
        pytest.skip("no %s-server" % name)  # its files are what is looked at
    with Server(path, {"appendonly": "yes", "appendfsync": "no", "auto-aof-rewrite-percentage": "0"}) as server:
        with server.raw() as c:
            test_save.fill(c, deadlines=False)
            c.do("SAVE")
            expected = test_save.plain(test_save.facts(c))
        directory = os.path.join(server.dir, "appendonlydir")
        assert "whole" in check("verify", directory)
        assert "whole" in check("show", server.dir)
        check("import", os.path.join(server.dir, "dump.rdb"), "new", "--shards", 3)
        check("export", "new", "out.rdb")
        aof = [name for name in os.listdir(directory) if "incr" in name][0]
        with open(os.path.join(directory, aof), "rb+") as f:
            data = f.read()
            f.truncate(len(data) - 3)
        assert "the file ends in the middle of a request" in check("verify", directory, code=1)
        with open(os.path.join(directory, aof), "wb") as f:
            f.write(data.replace(b"*3\r\n$3\r\nSET", b"*3\r\n$x\r\nSET", 1))
        assert "no request begins there" in check("verify", directory, code=1)
    with load(path, tmp_path / "out.rdb") as server, server.raw() as c:
        assert test_save.plain(test_save.facts(c)) == expected


def test_what_a_server_saves(check, start_server, server_binary, tmp_path):
    """Generations of a server's own: whole, and taken elsewhere as they are."""
    first = start_server(save_format="shoal")
    with first.raw() as c:
        test_save.fill(c)
        c.do("SELECT", "7"), c.do("HSET", "large", *[w for i in range(20000) for w in ("f%d" % i, "v" * 40)])
        c.do("SET", b"n" * 5000000, "a name longer than a frame"), c.do("SELECT", "0")
        for generation in (1, 2):
            c.do("SET", "generation", generation)
            assert c.do("BGSAVE") == "Background saving started"
            assert wait_for(lambda: test_save.info(c, "rdb_bgsave_in_progress") == "0", 60)
        expected, digest = test_save.facts(c), c.do("DEBUG", "DIGEST")
        c.send(encode("SHUTDOWN", "NOSAVE"))
        assert c.is_closed()
    assert first.wait() == 0
    first.stopped_by_test = True
    shutil.copytree(os.path.join(first.dir, "appendonlydir"), tmp_path / "data")
    text = check("show", "data")
    assert "generation 2" in text and "a start takes the snapshot" in text and "wrong" not in text and "note" not in text
    check("export", "data", "out.rdb")
    with load(server_binary, tmp_path / "out.rdb") as other, other.raw() as c:
        assert test_save.facts(c) == expected and c.do("DEBUG", "DIGEST") == digest


# ---- The log


def units(told):
    """Effects as a replica would read them, by what belongs together: lists of (db, words)."""
    found, open_unit, db = [], None, 0
    for words in told:
        if words[0] == b"SELECT":
            db = int(words[1])
        elif words[0] == b"MULTI":
            open_unit = []
        elif words[0] == b"EXEC":
            found.append(open_unit)
            open_unit = None
        elif open_unit is not None:
            open_unit.append((db, words))
        else:
            found.append([(db, words)])
    return found


def log_of(path, found, seed, shards=3):
    """Units as a log of several shards: those of more than one command are transactions, whose parts lie on two of them. Some numbers
    are void. Returns the number of each unit."""
    rng = random.Random(seed)
    segments, old, given, number, time_ms = [Segment(i) for i in range(shards)], [], [], 0, 1790000000000
    for unit in found:
        time_ms += rng.randrange(5)
        one, other = sorted(rng.sample(range(shards), 2))
        number += 1
        if rng.random() < 0.1:
            segments[one].block((number, 0, []), time_ms=time_ms)
            number += 1
        given.append(number)
        records = [record("%d.%d" % (db, order) if order else db, *words) for order, (db, words) in enumerate(unit)]
        if len(records) > 1:
            cut = rng.randrange(len(records) + 1)
            segments[one].block((number, 2, records[:cut]), time_ms=time_ms)
            segments[other].block((number, 2, records[cut:]), time_ms=time_ms)
        else:
            segments[one].block((number, 1, records), time_ms=time_ms)
        if rng.random() < 0.05:
            last = segments[one]
            last.closed = True
            old.append(last)
            segments[one] = Segment(one, last.sequence + 1, first_record=last.records)
    datadir.write(path, shards, [], old + segments)
    return given


def test_every_write_is_applied_from_the_log(check, start_server, server_binary, tmp_path):
    """All that servers ever log: what comes out is what the server has that logged it."""
    first = start_server()
    with first.raw() as c:
        c.do("DEBUG", "EFFECTS", "ON")
        told = []
        for one in writes.CASES:
            if one.get("lazy"):
                continue
            writes.run(c, one["before"], one["name"])
            writes.run(c, one["commands"], one["name"])
            told += c.do("DEBUG", "EFFECTS", "READ")
        for words in (["SELECT", "4"], ["SET", "in4", "v"], ["SWAPDB", "4", "5"], ["COPY", "in4", "other", "DB", "6"], ["MOVE", "in4", "7"],
                      ["SELECT", "8"], ["MSET", "a", "1", "b", "2"], ["FLUSHDB"], ["RPUSH", "l", *map(str, range(5000))], ["SELECT", "0"]):
            c.do(*words)
        told += c.do("DEBUG", "EFFECTS", "READ")
        found = units(told)
        log_of(tmp_path / "data", found, 7)
        text = check("show", "data")
        assert "a start takes" in text and "drops" not in text
        check("export", "data", "out.rdb")
        second = start_server()
        with second.raw() as d:
            d.send(check("records", "data", "--resp", text=False) + encode("ECHO", "end"))
            while (reply := d.read()) != b"end":
                assert not isinstance(reply, RespError), reply
            assert wait_for(lambda: d.do("DEBUG", "DIGEST") == c.do("DEBUG", "DIGEST"))
        with load(server_binary, tmp_path / "out.rdb") as third, third.raw() as d:
            assert wait_for(lambda: d.do("DEBUG", "DIGEST") == c.do("DEBUG", "DIGEST"))


def test_records_as_text(check, tmp_path):
    small(tmp_path / "data", until=4)
    lines = check("records", "data").splitlines()
    assert sorted(lines[:2]) == ['- - - 0 "SET" "base:0" "b"', '- - - 0 "SET" "base:1" "b"']
    assert lines[2:] == [
        '1 2026-09-21T14:13:21.000Z 1 1 "SET" "key:1" "1"',
        '2 2026-09-21T14:13:22.000Z 0 0 "SET" "key:2" "2"',
        '3 2026-09-21T14:13:23.000Z 0 0 "SET" "part:3:0" "3"',
        '3 2026-09-21T14:13:23.000Z 1 0 "SET" "part:3:1" "3"',
        '4 2026-09-21T14:13:24.000Z 0 0 "SET" "key:4" "4"',
    ]
    assert check("records", "data", "--resp").count("SELECT") == 3


def transaction(path, extra=()):
    """A transaction of six commands over three shards, whole databases among them, whose parts lie in blocks of different times."""
    segments = [Segment(i) for i in range(3)]
    segments[1].block((1, 1, [record(0, "SET", "before", "1"), record(1, "SET", "other", "1")]), time_ms=1790000001000)
    marked = [
        [record(0, "SET", "a0", "1"), record("0.1", "FLUSHDB"), record("0.3", "SWAPDB", "0", "1")],
        [record("0.1", "FLUSHDB"), record("0.2", "SET", "b2", "2"), record("0.3", "SWAPDB", "0", "1"), record("1.5", "SET", "b5", "5")],
        [record("0.1", "FLUSHDB"), record("0.3", "SWAPDB", "0", "1"), record("0.4", "SET", "c4", "4")],
    ]
    for i, times in enumerate((4000, 2000, 3000)):
        segments[i].block((2, 3, marked[i]), time_ms=1790000000000 + times)
    segments[2].block((3, 1, [record(0, "SET", "behind", "3")]), time_ms=1790000005000)
    datadir.write(path, 3, [], segments)


IN_ITS_ORDER = ["SET a0 1", "FLUSHDB", "SET b2 2", "SWAPDB 0 1", "SET c4 4", "SET b5 5"]


def test_a_transaction_over_shards_is_shown_as_it_was_done(check, tmp_path):
    """Its parts were shown one behind the other, and what it did to whole databases once for each of them."""
    transaction(tmp_path / "data")
    lines = [line.split(" ", 3) for line in check("records", "data").splitlines()]
    assert [line[3].split(" ", 1)[1].replace('"', "") for line in lines if line[0] == "2"] == IN_ITS_ORDER
    out, words = check("records", "data", "--resp", text=False), []
    while out:
        request, end = parse(out)
        out, words = out[end:], words + [" ".join(word.decode() for word in request)]
    assert words[:6] == ["MULTI", "SELECT 0", "SET before 1", "SELECT 1", "SET other 1", "EXEC"]
    assert [w for w in words[6:] if not w.startswith("SELECT")] == ["MULTI", *IN_ITS_ORDER, "EXEC", "SET behind 3"]


def test_a_transaction_over_shards_is_exported_as_it_was_done(check, start_server, tmp_path):
    transaction(tmp_path / "data")
    check("export", "data", "out.rdb")
    check("import", "out.rdb", "new", "--shards", 2)
    expected = ['0 SET behind 3', '0 SET c4 4', '0 SET other 1', '1 SET b2 2', '1 SET b5 5']
    assert sorted(line[6:].replace('"', "") for line in check("records", "new").splitlines()) == expected
    s = start_server()
    with s.raw() as c:
        c.send(check("records", "data", "--resp", text=False) + encode("ECHO", "end"))
        while (reply := c.read()) != b"end":
            assert not isinstance(reply, RespError), reply
        found = []
        for db in (0, 1):
            c.do("SELECT", db)
            found += ["%d SET %s %s" % (db, key.decode(), c.do("GET", key).decode()) for key in c.do("KEYS", "*")]
        assert sorted(found) == expected


@pytest.mark.parametrize("at, last", [(1500, 1), (2000, 1), (3500, 1), (4000, 2), (5000, 3)])
def test_a_transaction_over_shards_is_restored_as_a_whole_or_not_at_all(check, tmp_path, at, last):
    transaction(tmp_path / "data")
    check("restore", "data", "new", "--to", "2026-09-21T14:13:2%d.%03dZ" % divmod(at, 1000))
    assert numbers(check, "new") == list(range(1, last + 1))


@pytest.mark.parametrize("shard", range(3))
def test_a_transaction_over_shards_is_cut_as_a_whole(check, tmp_path, shard):
    transaction(tmp_path / "data")
    path = tmp_path / "data" / ("log-%d-1.segment" % shard)
    data = bytearray(path.read_bytes())
    data[-40 if shard != 2 else data.rindex(b"ShBlock1") - 40] ^= 1
    path.write_bytes(data)
    check("repair", "data", "--yes")
    assert numbers(check, "data") == [1]


def test_keys_past_their_deadline_stay_until_a_record_deletes_them(check, tmp_path):
    """At its time the key was there; what came later built on it."""
    one = Segment(0)
    one.block((1, 1, [record(0, "SET", "k", "v", "PXAT", "1790000000500"), record(0, "SET", "gone", "v", "PXAT", "1790000000500")]))
    one.block((2, 1, [record(0, "APPEND", "k", "w"), record(0, "PERSIST", "k"), record(0, "UNLINK", "gone")]), time_ms=1790000001000)
    datadir.write(tmp_path / "data", 1, [], [one])
    check("export", "data", "out.rdb")
    check("import", "out.rdb", "new", "--shards", 1)
    assert check("records", "new").splitlines() == ['- - - 0 "SET" "k" "vw"']


def test_a_record_that_cannot_run_is_told(check, tmp_path):
    known = [["LPUSH", "string", "a"], ["SET", "a", "b", "BAD"], ["XGROUP", "CREATE", "none", "g", "0"]]
    for words in [["CONFIG", "SET", "a", "b"], ["SET", "a"], ["NOTHING"], ["EXEC"], ["SUBSCRIBE", "x"], ["XGROUP"], ["SWAPDB", "1", "x"]] + known:
        one = Segment(0)
        one.block((1, 1, [record(3, "SET", "string", "v")]))
        one.block((2, 1, [record(3, *words)]))
        datadir.write(tmp_path / "data", 1, [], [one])
        text = check("export", "data", "out.rdb", code=1)
        if words in known:
            assert "log-0-1.segment: byte %d: number 2: '%s'" % (one.blocks[1], words[0]) in text
        else:
            assert "wrong: log-0-1.segment: byte %d: " % one.blocks[1] in text
        assert not (tmp_path / "out.rdb").exists()


# ---- Restore


def test_restore(check, tmp_path):
    small(tmp_path / "data", until=20)
    for to, last in (("13", 13), ("0", 0), ("20", 20), ("2026-09-21T14:13:27Z", 7), ("2026-09-21 14:13:27.999", 7), ("@1790000012", 12), ("2030-01-01", 20),
                     ("2026-09-21T14:13", 0)):
        check("restore", "data", "new", "--to", to)
        assert numbers(check, "new") == list(range(1, last + 1)), to
        assert "wrong" not in check("verify", "new") and "dropped" not in check("verify", "new")
        shutil.rmtree(tmp_path / "new")
    assert "nothing older" in check("restore", "data", "new", "--to", "@1779999999", code=2)
    for to in ("21", "then", "2026-13-01", "2026-1-1", "@", "@1x", ""):
        check("restore", "data", "new", "--to", to, code=2)
    assert not (tmp_path / "new").exists()
    (tmp_path / "new" / "appendonlydir").mkdir(parents=True)
    assert "already" in check("restore", "data", "new", "--to", "13", code=2)


# ---- Repair


def damage(path, offset, data=b"\xff"):
    with open(path, "rb+") as f:
        f.seek(offset)
        f.write(data)


def repaired(check, path, last):
    before = {p.name: p.read_bytes() for p in path.iterdir() if p.is_file()}
    check("verify", path, code=1)
    assert "say --yes" in check("repair", path, code=1)
    assert {p.name: p.read_bytes() for p in path.iterdir() if p.is_file()} == before
    text = check("repair", path, "--yes")
    assert "repaired" in text
    assert "wrong" not in check("verify", path)
    assert numbers(check, path) == list(range(1, last + 1)), text
    # Files put back are what was there.
    backup = next(p for p in path.iterdir() if p.name.startswith("removed-"))
    for file in backup.iterdir():
        shutil.copy(file, path / file.name)
    assert {p.name: p.read_bytes() for p in path.iterdir() if p.is_file()} == before
    return text


def test_repair_of_a_block_in_the_middle(check, tmp_path):
    segments = small(tmp_path / "data", until=20)
    at = segments[1].blocks[5]
    damage(tmp_path / "data" / segments[1].name, at + 120)
    # Nobody has said that it was on disk: it looks like a crash, and is cut by a start.
    assert "dropped" in check("verify", "data")
    segments = small(tmp_path / "data", until=20, synced=1)
    # Number 9 lies there: the sixth block of shard 1, after 1, 3, 5, 6, 7.
    damage(tmp_path / "data" / segments[1].name, at + 120)
    for one in segments:
        one.block((21 + one.shard, 1, [record(0, "SET", "late", "v")]), synced=len(one.data), safe=20)
    datadir.write(tmp_path / "data", 2, [Base(i, 2, b"\xfe\x00" + text_key(b"base:%d" % i, b"b"), 1) for i in range(2)], segments)
    damage(tmp_path / "data" / segments[1].name, at + 120)
    text = check("verify", "data", code=1)
    assert "wrong: log-1-1.segment: byte %d" % at in text
    assert "records" in repaired(check, tmp_path / "data", 8)


def test_repair_of_a_missing_segment(check, tmp_path):
    segments = small(tmp_path / "data", until=12)
    os.remove(tmp_path / "data" / segments[0].name)
    assert "wrong: log-0-1.segment: it cannot be read" in check("verify", "data", code=1)
    check("repair", "data", "--yes")
    assert numbers(check, "data") == [1]


def test_repair_of_a_segment_that_is_another(check, tmp_path):
    segments = small(tmp_path / "data", until=12)
    shutil.copy(tmp_path / "data" / segments[0].name, tmp_path / "data" / segments[1].name)
    assert "wrong: log-1-1.segment: byte 0: it is another shard's" in check("verify", "data", code=1)
    repaired(check, tmp_path / "data", 0)


def test_repair_of_an_old_manifest(check, tmp_path):
    small(tmp_path / "data", until=12)
    late = Segment(0, 2)
    late.block((13, 1, [record(0, "SET", "late", "v")]))
    (tmp_path / "data" / late.name).write_bytes(late.data)
    assert "wrong: log-0-2.segment: byte 0: a segment with records that the manifest does not name" in check("verify", "data", code=1)
    repaired(check, tmp_path / "data", 12)


def test_a_number_that_is_there_twice(check, tmp_path):
    one = Segment(0)
    for number in (1, 2, 3, 3, 4):
        one.block((number, 1, [record(0, "SET", "k", number)]))
    datadir.write(tmp_path / "data", 1, [], [one])
    assert "number 3: a number twice in one log" in check("verify", "data", code=1)
    repaired(check, tmp_path / "data", 2)


def test_what_is_no_records_is_found(check, tmp_path):
    for bad in (b"*1\r\n$3\r\nab", b"SET a b\r\n", b"*2\r\n$2\r\n@0\r\n$4\r\nPING\r\n", b"*1\r\n$2\r\n@1\r\n", record(0, "SET", "a", "b") * 2):
        one = Segment(0)
        one.block((1, 1, [record(0, "SET", "k", "v")]))
        one.block((2, 1, [bad]))
        datadir.write(tmp_path / "data", 1, [], [one])
        assert "log-0-1.segment: byte %d: " % one.blocks[1] in check("verify", "data", code=1)
        check("repair", "data", "--yes")
        assert numbers(check, "data") == [1]
        shutil.rmtree(tmp_path / "data")


def test_a_damaged_snapshot_is_not_repaired(check, tmp_path):
    small(tmp_path / "data")
    damage(tmp_path / "data" / "base-1-0.snapshot", 140)
    assert "wrong: base-1-0.snapshot: byte 64: the checksum of a frame is wrong" in check("repair", "data", "--yes", code=1)
    damage(tmp_path / "data" / "shoal.manifest", 30)
    assert "shoal.manifest" in check("verify", "data", code=1)


def test_a_key_that_is_there_twice(check, tmp_path):
    keys = b"\xfe\x00" + text_key(b"k", b"v") * 2
    datadir.write(tmp_path / "data", 1, [Base(0, 1, keys, 2)])
    assert "a key is there twice" in check("verify", "data", code=1)


def test_files_that_nobody_names(check, tmp_path):
    small(tmp_path / "data")
    (tmp_path / "data" / "base-2-0.snapshot").write_bytes(b"half")
    (tmp_path / "data" / "shoal.manifest-x7Yz12").write_bytes(b"half")
    (tmp_path / "data" / "log-0-2.segment").write_bytes(Segment(0, 2).data)  # about to be used
    text = check("verify", "data")
    assert text.count("note: ") == 3 and "wrong" not in text


def test_a_disk_that_is_full_leaves_what_was_there(check, tmp_path):
    """Whatever cannot be written is told, and no half of it is taken for data."""
    segments = small(tmp_path / "data", until=40, synced=1)
    late = segments[1]
    late.block((41, 1, [record(0, "SET", "late", "v")]), synced=len(late.data), safe=40)
    (tmp_path / "data" / late.name).write_bytes(late.data)
    damage(tmp_path / "data" / late.name, late.blocks[20] + 30)
    before = {p.name: p.read_bytes() for p in (tmp_path / "data").iterdir()}
    small(tmp_path / "sound", until=40)

    def limited(*args):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

        done = subprocess.run([check.program, *args], capture_output=True, text=True, cwd=tmp_path, preexec_fn=limit)
        assert done.returncode == 2 and "File too large" in done.stderr, done

    limited("repair", "data", "--yes")
    limited("repair", "data", "--yes")
    assert {p.name: p.read_bytes() for p in (tmp_path / "data").iterdir() if p.is_file()} == before
    limited("export", "sound", "out.rdb")
    assert not list(tmp_path.glob("out.rdb*"))
    limited("restore", "sound", "new", "--to", "30")
    assert not list(tmp_path.glob("new/appendonlydir/shoal.manifest*"))
    check("export", "sound", "out.rdb")
    limited("import", "out.rdb", "newer", "--shards", "2")
    assert not list(tmp_path.glob("newer/appendonlydir/shoal.manifest*"))


# ---- Bytes changed at random


def mutations(rng, data, old):
    """One byte, a bit, a sector of zeros, an end that is missing, a piece of an older file, a piece twice there."""
    for _ in range(12):
        at = rng.randrange(len(data))
        yield "bit %d" % at, data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    for _ in range(4):
        at = rng.randrange(len(data))
        yield "cut %d" % at, data[:at]
        yield "zeros from %d" % at, data[:at] + bytes(min(512, len(data) - at)) + data[at + 512 :]
        end = min(len(data), at + rng.randrange(1, 600))
        yield "old from %d to %d" % (at, end), data[:at] + old[at:end] + data[end:]
        yield "twice from %d to %d" % (at, end), data[:end] + data[at:]
    yield "old", old
    yield "empty", b""


@pytest.mark.parametrize("seed", range(3))
def test_mutations_are_detected_or_harmless(check, tmp_path, seed):
    """Whatever is changed in whichever file: verify says that it is wrong, or the data is the same, or less than it was with a word
    about what is dropped. Only a last segment may end earlier between two blocks, as a crash leaves it."""
    rng = random.Random(seed)
    path = tmp_path / "data"
    small(path, until=12)
    old = {p.name: p.read_bytes() for p in path.iterdir()}
    shutil.rmtree(path)
    segments = small(path, until=12)
    files = {p.name: p.read_bytes() for p in path.iterdir()}
    whole = commands(check, path)
    for name, data in files.items():
        for what, changed in mutations(rng, data, old[name]):
            (path / name).write_bytes(changed)
            done = subprocess.run([check.program, "verify", path], capture_output=True, text=True)
            assert done.returncode in (0, 1), (name, what, done)
            if done.returncode == 0:
                taken = commands(check, path)
                last = max([number for number, _ in taken], default=0)
                assert taken == [one for one in whole if one[0] <= last], (name, what)
                ends = name.endswith("segment") and len(changed) in next(one.blocks for one in segments if one.name == name) + [len(data)]
                assert taken == whole or "dropped: " in done.stdout or ends, (name, what)
            elif name.endswith("segment"):
                subprocess.run([check.program, "repair", path, "--yes"], capture_output=True)
                taken = commands(check, path)
                last = max([number for number, _ in taken], default=0)
                assert taken == [one for one in whole if one[0] <= last], (name, what)
                for p in path.iterdir():
                    shutil.rmtree(p) if p.is_dir() else p.unlink()
                for other, content in files.items():
                    (path / other).write_bytes(content)
            (path / name).write_bytes(data)
