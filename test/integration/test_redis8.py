# SPDX-License-Identifier: BSD-3-Clause
"""What Redis 7.4 and 8 have written: files of RDB versions that are theirs alone, hashes whose fields have deadlines in their words,
and what is said of a key that is not understood."""

import os
import struct

import dumps
import pytest

from resp import RespError
from server import ServerFailed, wait_for
from test_follow import FakePrimary, is_up

pytestmark = pytest.mark.row_each

LATER = 2**44  # ms; in the year 2527
FIELDS = [(b"first", b"1", LATER), (b"never", b"x" * 30, 0), (b"last", b"", 2**48 - 1), (b"7", b"8", LATER + 70000)]
MANY = [(b"f%d" % i, b"v%d" % i, LATER + i * 1000 if i % 2 else 0) for i in range(1000)]
OVER = [(b"over", b"1", 1000), (b"stays", b"2", LATER), (b"never", b"3", 0)]
LAPSED = [(b"a", b"1", 1000), (b"b", b"2", 2000)]
VALUE = (b"s", 0, dumps.text(b"value"))
END = b"\xff" + bytes(8)


def key(name, fields, packed):
    return (name,) + dumps.hash_of_redis(fields, packed)


def file(version=12):
    keys = [VALUE]
    for packed in (True, False):
        word = b"packed" if packed else b"table"
        for name, fields in ((b"few", FIELDS), (b"over", OVER), (b"lapsed", LAPSED)):
            keys.append(key(b"%s:%s" % (name, word), fields, packed))
    keys.append(b"\xfc" + struct.pack("<Q", LATER))  # a deadline of the key besides
    keys.append(key(b"many", MANY, False))
    return dumps.redis_file(*keys, version=version)


def has(c, name, fields):
    names = [field for field, _, _ in fields]
    assert c.do("HLEN", name) == len(fields)
    assert c.do("HMGET", name, *names) == [value for _, value, _ in fields]
    assert c.do("HPEXPIRETIME", name, "FIELDS", len(names), *names) == [ms or -1 for _, _, ms in fields]


def is_there(s):
    with s.raw() as c:
        assert c.do("GET", "s") == b"value"
        for word in (b"packed", b"table"):
            has(c, b"few:" + word, FIELDS)
            assert wait_for(lambda: c.do("HEXISTS", b"over:" + word, "over") == 0)
            has(c, b"over:" + word, OVER[1:])
            assert c.do("EXISTS", b"lapsed:" + word) == 0
        has(c, "many", MANY)
        assert c.do("PEXPIRETIME", "many") == LATER and c.do("DBSIZE") == 6


def put(s, name, data):
    path = os.path.join(s.dir, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


@pytest.mark.shoal_only
@pytest.mark.parametrize("version", (12, 13))
def test_a_file_at_the_start(start_server, version):
    s = start_server(start=False)
    put(s, "dump.rdb", file(version))
    s.start()
    is_there(s)
    with s.raw() as c:  # and as it writes them itself
        c.do("DEBUG", "RELOAD")
    is_there(s)


@pytest.mark.shoal_only
def test_an_appendonlydir(start_server):
    s = start_server(start=False)
    put(s, "appendonlydir/appendonly.aof.1.base.rdb", file())
    put(s, "appendonlydir/appendonly.aof.1.incr.aof", b"*3\r\n$3\r\nSET\r\n$1\r\ns\r\n$5\r\nvalue\r\n")
    put(s, "appendonlydir/appendonly.aof.manifest",
        b"file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n")  # fmt: skip
    s.start()
    with s.raw() as c:
        assert wait_for(lambda: c.do("DBSIZE") == 6)  # what a log has is over when its time comes, not while it is read
    is_there(s)


@pytest.mark.shoal_only
@pytest.mark.parametrize("version", (12, 14))
def test_a_primary_sends_it(start_server, version):
    primary, s = FakePrimary(), start_server()
    with s.raw(timeout=60) as c:
        assert c.do("REPLICAOF", "127.0.0.1", primary.port) == "OK"
        if version == 14:
            primary.full_sync(file(version))
            assert wait_for(lambda: "an RDB version that is not known" in s.log())
            assert c.do("DBSIZE") == 0 and c.do("CONFIG", "SET", "rdb-version-check", "relaxed") == "OK"
            primary.cut()
        primary.full_sync(file(version))
        assert wait_for(lambda: is_up(s))
        assert c.do("REPLICAOF", "NO", "ONE") == "OK"
        assert wait_for(lambda: c.do("DBSIZE") == 6)
    primary.close()
    is_there(s)


def refused(s, data, *said):
    put(s, "dump.rdb", data)
    with pytest.raises(ServerFailed, match="exited with 1") as failed:
        s.start()
    s.stopped_by_test = True
    for words in said:
        assert words in str(failed.value), failed.value
    os.unlink(s.log_path)


# Made by RedisJSON: its type's name in six bits a letter, and an encoding version.
MODULE = b"\x81" + struct.pack(">Q", int("".join("{:06b}".format("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".index(letter))
                                                 for letter in "ReJSON-RL") + "0000000011", 2))  # fmt: skip
UNKNOWN = "a type of value that is not known: the key \"j\\x00\" is of type %s"
WRONG = (
    ((b"j\0", 7, MODULE + b"\x05" + dumps.text(b"{}") + b"\x00"), UNKNOWN % "7, of the module's type ReJSON-RL"),
    ((b"j\0", 6, MODULE + dumps.text(b"{}")), UNKNOWN % "6, of the module's type ReJSON-RL"),
    ((b"j\0", 26, dumps.length(0)), UNKNOWN % "26"),
    ((b"j\0", 22, dumps.length(1) + dumps.text(b"f") + dumps.text(b"v") + bytes(8)), UNKNOWN % "22"),
    (b"\xf3\x01\x00\x00\x00\x00\x00", "what a module knows of a key"),
    ((b"h", 24, struct.pack("<Q", LATER) + dumps.length(2) + b"\x00" + dumps.text(b"f") + dumps.text(b"1") + b"\x01" + dumps.text(b"f") + dumps.text(b"2")),
     "an element is there twice"),
    ((b"h", 25, struct.pack("<Q", LATER) + dumps.text(dumps.listpack([b"f", b"v", b"soon"]))), "a field's deadline that is none"),
)  # fmt: skip


@pytest.mark.shoal_only
def test_what_is_not_understood_is_named(start_server):
    """No start with a part of it: also where others read on."""
    s = start_server(start=False, rdb_version_check="relaxed")
    ahead = len(dumps.redis_file(VALUE)) - 9
    for item, said in WRONG:
        refused(s, dumps.redis_file(VALUE, item), "dump.rdb is not loaded: at byte ", said)
    refused(s, dumps.redis_file(VALUE, WRONG[2][0]), "at byte %d: " % (ahead + 4))  # behind the name
    # Valkey has these types by other numbers.
    for packed in (True, False):
        _, kind, body = key(b"h", FIELDS, packed)
        refused(s, b"VALKEY080" + bytes([kind]) + dumps.text(b"h") + body + END, "the key \"h\" is of type %d" % kind)
        refused(s, b"REDIS0011" + bytes([kind]) + dumps.text(b"h") + body + END, "the key \"h\" is of type %d" % kind)


@pytest.mark.shoal_only
def test_later_versions_are_read_if_that_is_wished(start_server):
    s = start_server(start=False)
    refused(s, file(14), "an RDB version that is not known (with rdb-version-check relaxed")
    refused(s, file(80), "an RDB version that is not known")
    for version in (14, 99):
        s = start_server(start=False, rdb_version_check="relaxed")
        put(s, "dump.rdb", file(version))
        s.start()
        is_there(s)


@pytest.mark.shoal_only
def test_every_part_of_such_a_hash_is_asked_for(start_server):
    s = start_server(start=False)
    for packed in (True, False):
        whole = dumps.redis_file(key(b"h", FIELDS, packed))
        start = whole.index(b"\x01h") + 2
        for end in range(start, len(whole) - 9, 13):
            refused(s, whole[:end], "the file is cut off")


def restore(c, item, version):
    kind, body = item[1:] if isinstance(item[0], bytes) else item
    try:
        return c.do("RESTORE", "k", "0", dumps.dump(kind, body, version), "REPLACE")
    except RespError as error:
        return str(error)


def test_restore_takes_what_valkey_takes(start_server):
    """A file may be of Redis 8; a dump comes over the wire from whoever sends it, and is as Valkey says."""
    bad = "ERR DUMP payload version or checksum are wrong"
    s = start_server()
    with s.raw() as c:
        for version in (12, 13, 79):
            assert str(restore(c, VALUE, version)) == bad
            assert str(restore(c, key(b"k", FIELDS, True), version)) == bad
        assert c.do("CONFIG", "SET", "rdb-version-check", "relaxed") == "OK"
        for version in (12, 13, 79):
            assert str(restore(c, VALUE, version)) == "OK"
            for packed in (True, False):
                assert str(restore(c, key(b"k", FIELDS, packed), version)) == "ERR Bad data format"
        assert c.do("GET", "k") == b"value"
