# SPDX-License-Identifier: BSD-3-Clause
"""Numbers of INFO that users watch, compared with Valkey: changes since the last save, values that were freed lazily, keys that
clients wait for."""

import re
import time

import pytest
import writes
from server import wait_for


def number(c, name):
    return int(re.search(rb"%s:(\d+)" % name.encode(), c.do("INFO")).group(1))


# ---- rdb_changes_since_last_save: save points count on it


def growth(server, one):
    """[(command, by how much it grew)]"""
    with server.raw(timeout=30) as c, server.raw(timeout=30) as second:
        c.do("FLUSHALL")
        second.do("DEBUG", "SET-ACTIVE-EXPIRE", 0 if one.get("lazy") else 1)
        writes.run(c, one["before"], one["name"])
        found, was = [], number(second, "rdb_changes_since_last_save")
        for command in one["commands"]:
            writes.run(c, [command], one["name"])
            now = number(second, "rdb_changes_since_last_save")
            found.append((command, now - was))
            was = now
        second.do("DEBUG", "SET-ACTIVE-EXPIRE", 1)
        return found


@pytest.mark.parametrize("one", writes.CASES, ids=[one["name"] for one in writes.CASES])
def test_changes_count_as_in_valkey(shoal, valkey, one):
    assert growth(shoal, one) == growth(valkey, one)


# ---- lazyfreed_objects


def words(name, count):
    return ["%s%d" % (name, i) for i in range(count)]


def fill(c, kind, count, size=1):
    if kind == "list":  # one node each from 8 KB on
        for _ in range(count):
            c.do("RPUSH", "k", "x" * size)
    elif kind == "string":
        c.do("SET", "k", "x" * size)
    elif kind == "ints":
        c.do("SADD", "k", *range(count))
    elif kind == "set":
        c.do("SADD", "k", *words("m" * size, count))
    elif kind == "zset":
        c.do("ZADD", "k", *[w for i, m in enumerate(words("m" * size, count)) for w in (i, m)])
    elif kind == "hash":
        c.do("HSET", "k", *[w for m in words("m" * size, count) for w in (m, "v")])
    elif kind == "stream":
        for i in range(count):
            c.do("XADD", "k", "%d-1" % (i + 1), "f", "v" * size)


VALUES = [("string", 1, 10), ("string", 1, 300_000), ("list", 10, 100), ("list", 64, 9000), ("list", 65, 9000), ("list", 3, 200_000)]
VALUES += [("ints", 200, 1), ("set", 64, 70), ("set", 65, 70), ("set", 65, 3), ("set", 5000, 70), ("set", 2, 100_000)]
VALUES += [("zset", 64, 70), ("zset", 65, 70), ("zset", 65, 3), ("zset", 5000, 70), ("hash", 64, 70), ("hash", 65, 70), ("hash", 65, 3), ("hash", 5000, 70)]
VALUES += [("stream", 5, 10), ("stream", 20_000, 1)]
ENDS = ["UNLINK k", "DEL k", "SET k v", "RENAME o k", "PEXPIRE k 1", "EXPIRE k -1", "SUNIONSTORE k none", "FLUSHALL ASYNC", "FLUSHALL SYNC", "FLUSHDB ASYNC", "COPY o k REPLACE"]


def settled(c):
    """Once nothing is pending."""
    assert wait_for(lambda: number(c, "lazyfree_pending_objects") == 0)
    return number(c, "lazyfreed_objects")


def freed_until_now(server):
    with server.raw(timeout=30) as c:
        return settled(c)


def freed(server, value, end):
    with server.raw(timeout=30) as c:
        c.do("FLUSHALL", "SYNC")
        c.do("SET", "o", "1")
        fill(c, *value)
        settled(c)
        assert c.do("CONFIG", "RESETSTAT") == "OK"
        c.do(*end.split())
        if end.startswith("PEXPIRE"):
            assert wait_for(lambda: c.do("EXISTS", "k") == 0)
        # Valkey's thread may not have begun yet.
        deadline = time.monotonic() + 0.05
        found = settled(c)
        while time.monotonic() < deadline and found == 0:
            found = settled(c)
        return found


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("value", VALUES, ids=["%s-%d-%d" % value for value in VALUES])
def test_freed_objects_count_as_in_valkey(shoal, valkey, value, end):
    counts = [freed(server, value, end) for server in (shoal, valkey)]
    # A thread of Valkey counts down what is pending, and then up what is freed: it may wait for a processor in between.
    assert counts[0] == counts[1] or wait_for(lambda: freed_until_now(shoal) == freed_until_now(valkey)), counts


# ---- total_blocking_keys

WAITS = [
    ["BLPOP a b c 0"],
    ["XREAD BLOCK 0 STREAMS a b $ $"],
    ["XREADGROUP GROUP g c BLOCK 0 STREAMS a >"],
    ["XREADGROUP GROUP g c BLOCK 0 STREAMS a b a > > >"],
    ["XREADGROUP GROUP g c BLOCK 0 STREAMS a b > >", "XREADGROUP GROUP g d BLOCK 0 STREAMS b c > >", "BZPOPMIN y z 0", "XREAD BLOCK 0 STREAMS a b $ $"],
]


def waited_for(server, commands):
    names = ("total_blocking_keys", "total_blocking_keys_on_nokey")
    with server.raw(timeout=30) as c:
        c.do("FLUSHALL")
        for key in "abc":
            if any("XREADGROUP" in command for command in commands):
                c.do("XGROUP", "CREATE", key, "g", "$", "MKSTREAM")
        waiting, found = [], []
        for command in commands:
            waiting.append(server.raw(timeout=30))
            waiting[-1].send(command + "\r\n")
            assert wait_for(lambda: number(c, "blocked_clients") == len(waiting))
            found.append([number(c, name) for name in names])
        c.do("XADD", "a", "*", "f", "v")
        c.do("DEL", "b")
        assert wait_for(lambda: number(c, "blocked_clients") <= len(commands))
        for one in waiting:
            one.close()
        assert wait_for(lambda: number(c, "blocked_clients") == 0 and number(c, "total_blocking_keys") == 0)
        return found + [[number(c, name) for name in names]]


@pytest.mark.parametrize("commands", WAITS, ids=[command[0].split(" ")[0] + "-%d" % i for i, command in enumerate(WAITS)])
def test_keys_that_clients_wait_for_count_as_in_valkey(shoal, valkey, commands):
    assert waited_for(shoal, commands) == waited_for(valkey, commands)
