# SPDX-License-Identifier: BSD-3-Clause
"""Values that go from one server to another as dumps: Redis, Valkey and Shoal take what the others gave, and have the same then."""

import random

import dumps
import pytest

from resp import RespError
from server import Server, find_peer

KINDS = ["string", "list", "set", "ints", "zset", "hash", "stream"]
SIZES = [1, 2, 3, 10, 127, 128, 129, 200, 512, 513, 2000]


@pytest.fixture(scope="session")
def redis():
    path = find_peer("redis")
    if not path:
        pytest.skip("no redis-server of version 7")  # Debian 13 has Redis 8, whose own dumps are others
    s = Server(path, {}, kind="redis")
    s.start()
    yield s
    s.stop(check=False)


def text(rng):
    return rng.choice(
        [
            lambda: str(rng.randrange(-200, 200)).encode(),
            lambda: str(rng.randrange(-(2**63), 2**63)).encode(),
            lambda: b"x" * rng.randrange(30),
            lambda: bytes(rng.randrange(256) for _ in range(rng.randrange(80))),
            lambda: b"abc" * rng.randrange(1, 40),
            lambda: b"%0*d" % (rng.randrange(1, 30), rng.randrange(100)),
            lambda: b"y" * rng.choice([63, 64, 65, 100, 5000, 20000]),
        ]
    )()


def score(rng):
    return rng.choice([str(rng.randrange(100)), repr(rng.random() * 1e10), "inf", "-inf", "1e300", "-5.5", "-0"])


def fill(c, rng, key, kind, n):
    if kind == "string":
        c.do("SET", key, text(rng) if n < 200 else b"ab" * n * 50)
    for i in range(n if kind != "string" else 0):
        words = {
            "list": lambda: ["RPUSH", key, text(rng)],
            "set": lambda: ["SADD", key, text(rng)],
            "ints": lambda: ["SADD", key, str(rng.choice([rng.randrange(-100, 100), rng.randrange(-(2**40), 2**40)]))],
            "zset": lambda: ["ZADD", key, score(rng), text(rng)],
            "hash": lambda: ["HSET", key, text(rng), text(rng)],
            "stream": lambda: ["XADD", key, "%d-%d" % (i // 3 + 1, i % 3 + 1), text(rng) or b"f", text(rng), b"b", text(rng)],
        }[kind]()
        c.do(*words)
    if kind == "stream":
        c.do("XGROUP", "CREATE", key, "g1", "0"), c.do("XGROUP", "CREATE", key, "g2", "$")
        for consumer in ("c1", "c2"):
            c.do("XREADGROUP", "GROUP", "g1", consumer, "COUNT", str(n // 3 + 1), "STREAMS", key, ">")
        ids = [entry[0] for entry in c.do("XRANGE", key, "-", "+")]
        c.do("XDEL", key, *rng.sample(ids, min(len(ids) - 1, n // 5)) or ["9-9"])
        c.do("XACK", key, "g1", ids[0])


def data(c, key):
    kind = c.do("TYPE", key)
    if kind == "zset":  # each server writes scores in its own way
        found = c.do("ZRANGE", key, "0", "-1", "WITHSCORES")
        return [(member, float(score)) for member, score in zip(found[::2], found[1::2])]
    found = [c.do("DEBUG", "DIGEST-VALUE", key)]
    if kind == "stream":
        info = c.do("XINFO", "STREAM", key, "FULL", "COUNT", "0")
        for group in info[info.index(b"groups") + 1]:
            found.append([group[i : i + 2] for i in range(0, len(group), 2) if group[i] != b"consumers"])
            for consumer in group[group.index(b"consumers") + 1]:
                found.append([consumer[i : i + 2] for i in range(0, len(consumer), 2) if consumer[i] not in (b"active-time",)])
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_one_gives_the_others_take(shoal, valkey, redis, kind):
    rng = random.Random(kind)
    with shoal.raw() as ours, valkey.raw() as theirs, redis.raw() as older:
        for c in (ours, theirs, older):
            c.do("FLUSHALL")
        for n in SIZES:
            fill(ours, rng, "ours", kind, n)
            for c in (theirs, older):
                assert c.do("RESTORE", "ours", "0", ours.do("DUMP", "ours"), "REPLACE") == "OK", n
                assert data(c, "ours") == data(ours, "ours"), n
            assert theirs.do("OBJECT", "ENCODING", "ours") == ours.do("OBJECT", "ENCODING", "ours"), n
            for name, c in (("theirs", theirs), ("older", older)):
                fill(c, rng, name, kind, n)
                assert ours.do("RESTORE", name, "0", c.do("DUMP", name), "REPLACE") == "OK", (n, name)
                assert data(c, name) == data(ours, name), (n, name)
                if c is theirs:
                    assert c.do("OBJECT", "ENCODING", name) == ours.do("OBJECT", "ENCODING", name), n
                c.do("DEL", name), ours.do("DEL", name)
            ours.do("DEL", "ours")


def test_fields_with_deadlines_go_both_ways(shoal, valkey):
    with shoal.raw() as ours, valkey.raw() as theirs:
        for c, other in ((ours, theirs), (theirs, ours)):
            ours.do("FLUSHALL"), theirs.do("FLUSHALL")
            c.do("HSET", "h", "a", "1", "b", "2", "c", "3")
            c.do("HPEXPIREAT", "h", "4000000000000", "FIELDS", "1", "a"), c.do("HPEXPIREAT", "h", "4100000000000", "FIELDS", "1", "b")
            assert other.do("RESTORE", "h", "0", c.do("DUMP", "h")) == "OK"
            asked = ["HPEXPIRETIME", "h", "FIELDS", "4", "a", "b", "c", "d"]
            assert other.do(*asked) == c.do(*asked) == [4000000000000, 4100000000000, -1, -2]


def test_old_forms_are_read_as_valkey_reads_them(shoal, valkey):
    rng = random.Random(7)
    with shoal.raw() as ours, valkey.raw() as theirs:
        for name, dump in dumps.old_forms(rng, SIZES[:-2], text):
            ours.do("FLUSHALL"), theirs.do("FLUSHALL")
            assert theirs.do("RESTORE", "k", "0", dump) == "OK", name
            assert ours.do("RESTORE", "k", "0", dump) == "OK", name
            assert data(ours, "k") == data(theirs, "k"), name
            if name != "list ziplist":  # which Valkey leaves a quicklist, however small
                assert ours.do("OBJECT", "ENCODING", "k") == theirs.do("OBJECT", "ENCODING", "k"), name


def test_broken_dumps_are_refused_or_make_sense(shoal, valkey):
    """Bytes are changed and the checksum is made right again: nothing ends a server, and what is taken is whole."""
    rng = random.Random(11)
    with shoal.raw() as ours, valkey.raw() as theirs:
        whole = [dump for _, dump in dumps.old_forms(random.Random(3), SIZES[:-2], text) if len(dump) < 2000]
        for kind in KINDS:
            for n in (3, 20):
                fill(theirs, rng, kind, kind, n)
                whole += [theirs.do("DUMP", kind), theirs.do("DEL", kind)][:1]
        refused = 0
        for _ in range(1500):
            dump = bytearray(rng.choice(whole))
            for _ in range(rng.choice([1, 1, 2, 5])):
                at = rng.randrange(1, len(dump) - 10) if len(dump) > 11 else 0
                dump[at] = rng.choice([0, 1, 127, 128, 254, 255, rng.randrange(256), dump[at] ^ 1 << rng.randrange(8)])
            if rng.random() < 0.1:
                dump = dump[: rng.randrange(len(dump))] + dump[-10:]
            dump = dumps.signed(bytes(dump))
            reply = ours.do("RESTORE", "k", "0", dump, "REPLACE")
            if isinstance(reply, RespError):
                refused += 1
                assert str(reply) == "ERR Bad data format", dump
            else:
                again = ours.do("DUMP", "k")
                assert ours.do("RESTORE", "l", "0", again, "REPLACE") == "OK", dump
                assert data(ours, "l") == data(ours, "k"), dump
        assert refused > 500


def test_checksums_may_be_left_unlooked_at(shoal, valkey):
    """DEBUG SET-SKIP-CHECKSUM-VALIDATION is how test suites bring in dumps that are broken on purpose."""
    unsigned = b"\x00\x01v\x0b\x00" + bytes(8)
    broken = bytes.fromhex("12 01 01 00 0a 00 8fc6c0571c0ab33c")  # a node of a list that holds nothing
    with shoal.raw() as ours, valkey.raw() as theirs:
        for c in (ours, theirs):
            c.do("FLUSHALL")
            assert c.do("RESTORE", "k", "0", unsigned) == RespError("ERR DUMP payload version or checksum are wrong")
            assert c.do("RESTORE", "k", "0", broken) == RespError("ERR Bad data format")
            assert c.do("DEBUG", "SET-SKIP-CHECKSUM-VALIDATION", "1") == "OK"
            for key in ("a", "b", "c", "d", "e", "f"):  # whatever their shards
                assert c.do("RESTORE", key, "0", unsigned) == "OK"
            assert c.do("DEBUG", "SET-SKIP-CHECKSUM-VALIDATION", "0") == "OK"
            assert c.do("RESTORE", "k", "0", unsigned) == RespError("ERR DUMP payload version or checksum are wrong")
    assert "RESTORE: type 18, integrity check failed at byte 4: an empty node" in shoal.log()


ERRORS = [
    ["RESTORE", "k", "0", "{dump}"],
    ["RESTORE", "k", "-1", "{dump}"],
    ["RESTORE", "k", "x", "abc", "REPLACE"],
    ["RESTORE", "n", "-1", "abc"],
    ["RESTORE", "n", "0", "abc"],
    ["RESTORE", "n", "0", "{dump}x"],
    ["RESTORE", "n", "0", "abc", "IDLETIME", "x"],
    ["RESTORE", "n", "0", "abc", "IDLETIME", "-1"],
    ["RESTORE", "n", "0", "abc", "IDLETIME"],
    ["RESTORE", "n", "0", "abc", "FREQ", "256"],
    ["RESTORE", "n", "0", "abc", "FREQ", "-1"],
    ["RESTORE", "n", "0", "abc", "FREQ", "3", "IDLETIME", "4"],
    ["RESTORE", "n", "0", "abc", "IDLETIME", "4", "FREQ", "3"],
    ["RESTORE", "n", "0", "abc", "nonsense"],
    ["RESTORE", "n", "9223372036854775807", "{dump}"],
    ["RESTORE", "n", "9223372036854775807", "{dump}", "ABSTTL"],
    ["RESTORE", "n", "100000", "{dump}", "REPLACE"],
    ["RESTORE", "n", "1", "{dump}", "REPLACE", "ABSTTL"],
    ["RESTORE", "k", "1", "{dump}", "REPLACE", "ABSTTL"],
    ["RESTORE", "n", "0", "{dump}", "IDLETIME", "1000"],
    ["OBJECT", "IDLETIME", "n"],
    ["RESTORE", "n", "0", "{dump}", "FREQ", "100", "REPLACE"],
    ["OBJECT", "FREQ", "n"],
    ["RESTORE-ASKING", "n", "0", "{dump}", "REPLACE"],
    ["RESTORE", "n", "0", "{12}", "REPLACE"],
    ["RESTORE", "n", "0", "{80}", "REPLACE"],
    ["RESTORE", "n", "0", "{81}", "REPLACE"],
    ["DUMP", "none"],
    ["DUMP"],
    ["TTL", "n"],
]


@pytest.mark.parametrize("at", range(len(ERRORS)))
def test_replies_are_those_of_valkey(shoal, valkey, at):
    replies = []
    for server in (shoal, valkey):
        with server.raw() as c:
            c.do("FLUSHALL"), c.do("SET", "k", "v")
            found = []
            for call in ERRORS[max(0, at - 1) : at + 1]:
                words = [
                    dumps.dump(0, b"\x01v", 9) + word[6:].encode() if word.startswith("{dump}")
                    else dumps.dump(0, b"\x01v", int(word[1:-1])) if word.startswith("{") else word for word in call
                ]  # fmt: skip
                reply = c.do(*words)
                found.append(str(reply) if isinstance(reply, RespError) else reply)
            replies.append(found + [c.do("EXISTS", "k", "n")])
    assert replies[0] == replies[1]
