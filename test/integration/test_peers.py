# SPDX-License-Identifier: BSD-3-Clause
"""Each kind of primary with each kind of replica, one of them a Shoal: every type, functions, sixteen databases, deadlines and large
values, by file and by stream, beside writers, over a link that is cut at every stage. In the end both have the same at one offset."""

import random

import pytest

from server import wait_for
from test_acks import Wire
from test_chain import same, start_kind  # noqa: F401 (a fixture)
from test_follow import is_up, said, write_beside

pytestmark = [pytest.mark.row_once, pytest.mark.shoal_only]

MB = 1 << 20
KINDS = ("shoal1", "shoal4", "redis", "valkey")
PAIRS = [(a, b) for a in KINDS for b in KINDS if "shoal" in a + b]
LIBRARY = "#!lua name=%s\nredis.register_function('%s_put', function(keys, args) return redis.call('SET', keys[1], args[1]) end)"
# Bytes of a connection after which it ends: of the handshake, of its last answers, of the file. And the stream is cut off.
CUTS = (3, 30, 90, MB, 3 * MB)


def fill(c, name):
    """In each database, each name once."""
    for db in range(16):
        c.do("SELECT", db)
        c.do("MSET", name + "a", db, name + "{x}b", name * 50, name + "int", 12345)
        c.do("SET", name + "ttl", "v", "PXAT", 4_000_000_000_000 + db)
        c.do("HSET", name + "hash", *range(20))
        c.do("ZADD", name + "zset", "1.5", "a", "-inf", "b", db, "c")
        c.do("SADD", name + "ints", *range(20))
        c.do("SADD", name + "set", "a", "b", name)
        c.do("RPUSH", name + "list", *range(20))
        c.do("XADD", name + "stream", "1-1", "f", "v")
        c.do("XGROUP", "CREATE", name + "stream", "g", "0")
        c.do("XREADGROUP", "GROUP", "g", "c", "STREAMS", name + "stream", ">")
        c.do("PFADD", name + "hll", *range(100))
        c.do("SETBIT", name + "bits", 70_000, 1)
        c.do("GEOADD", name + "geo", "13.4", "52.5", "b")
    c.do("SELECT", 7)
    c.do("SET", name + "large", random.Random(name).randbytes(4 * MB))
    words = [w for i in range(20_000) for w in (i, "m%d" % i)]
    c.do("RPUSH", name + "many", *words)
    c.do("HSET", name + "wide", *words)
    c.do("ZADD", name + "tall", *words)
    c.do("SADD", name + "crowd", *words)
    c.do("EXPIREAT", name + "wide", 4_000_000_000)
    c.do("FUNCTION", "LOAD", LIBRARY % (name, name))
    c.do("FCALL", name + "_put", 1, name + "by-function", "v")
    c.do("EVAL", "for i = 1, 50 do redis.call('INCRBY', KEYS[1], i) end", 1, name + "by-script")
    c.do("SELECT", 0)


def deadlines(c, names):
    found = []
    for db in (0, 7, 15):
        c.do("SELECT", db)
        found += [c.do("PEXPIRETIME", name + key) for name in names for key in ("ttl", "wide", "a")]
    c.do("SELECT", 0)
    return found


@pytest.fixture
def start(start_server, start_kind):  # noqa: F811
    def start_one(kind):
        if kind.startswith("shoal"):
            return start_server(shards=int(kind[5:]))
        return start_kind(kind)

    return start_one


@pytest.mark.parametrize("above, below", PAIRS)
def test_both_have_the_same(start, above, below):
    primary, replica = start(above), start(below)
    wire = Wire(primary.port, cuts=CUTS)
    try:
        with primary.raw(timeout=60) as p, replica.raw(timeout=60) as r:
            fill(p, "file")
            r.do("SET", "old", "1")
            r.do("FUNCTION", "LOAD", LIBRARY % ("old", "old"))
            threads = write_beside(primary, 2)
            assert r.do("REPLICAOF", "127.0.0.1", wire.port) == "OK"
            assert wait_for(lambda: wire.count > len(CUTS) and is_up(replica), 120), (said(replica), replica.log()[-2000:])
            fill(p, "stream")
            assert p.do("CLIENT", "KILL", "TYPE", "replica") >= 1
            for thread in threads:
                thread.join()
            assert wait_for(lambda: is_up(replica))
            assert same(primary, replica)
            names = ("file", "stream")
            assert deadlines(p, names) == deadlines(r, names) and deadlines(p, names)[0] == 4_000_000_000_000
            assert p.do("FUNCTION", "LIST", "LIBRARYNAME", "old") == [] == r.do("FUNCTION", "LIST", "LIBRARYNAME", "old")
            for name in names:
                ask = ("FUNCTION", "LIST", "LIBRARYNAME", name, "WITHCODE")
                assert p.do(*ask) == r.do(*ask) != []
            assert wait_for(lambda: r.do("DBSIZE") == p.do("DBSIZE"))
    finally:
        wire.close()
