# SPDX-License-Identifier: BSD-3-Clause
"""Everything at once, and afterwards all views of the data agree and nothing is left behind."""

import random
import re
import socket
import threading
import time

import pytest

from resp import RespError, encode
from server import wait_for

SECONDS = 4


def random_request(rng):
    key = "chaos%d" % rng.randrange(2000)
    tagged = ["{tag%d}%d" % (rng.randrange(20), rng.randrange(5)) for _ in range(3)]
    pick = rng.randrange(24)
    if pick < 6:
        return ["SET", key, "v" * rng.choice([1, 10, 100, 1000, 5000, 20_000, 40_000])]
    if pick < 9:
        return ["GET", key]
    if pick < 11:
        return ["SET", key, "v", "PX", rng.randrange(1, 300)]
    tag = tagged[0].split("}")[0] + "}"
    return rng.choice(
        [
            ["INCR", "n" + key], ["APPEND", key, "abc"], ["DEL", key], ["UNLINK", key], ["SETRANGE", key, rng.randrange(70_000), "x"],
            ["MSET", tag + "1", "a", tag + "2", "b"], ["MGET", tag + "1", tag + "2"], ["RENAME", tag + "1", tag + "3"],
            ["COPY", tag + "2", tag + "4", "REPLACE"], ["EXPIRE", key, 1], ["MGET", key, "other" + key], ["PING"], ["NOSUCH", key],
            ["GETRANGE", key, 0, 50], ["STRLEN", key], ["SELECT", rng.randrange(3)], ["CLIENT", "GETNAME"], ["DBSIZE"], ["RANDOMKEY"],
            ["OBJECT", "ENCODING", key], ["GETDEL", key], ["RENAME", key, "other" + key], ["PERSIST", key], ["SCAN", 0, "COUNT", 50], ["HELLO", rng.choice([2, 3])],
        ]
    )  # fmt: skip


def rare_request(rng, ids):
    return rng.choice(
        [
            ["FLUSHALL", rng.choice(["ASYNC", "SYNC"])], ["SWAPDB", rng.randrange(3), rng.randrange(3)], ["KEYS", "*7*"],
            ["CONFIG", "SET", "timeout", rng.randrange(2) * 100], ["INFO", "everything"], ["CLIENT", "LIST"], ["CONFIG", "RESETSTAT"],
            ["CLIENT", "KILL", "ID", rng.choice(ids or [0])], ["CLIENT", "KILL", "MAXAGE", 3], ["CLIENT", "PAUSE", 20, rng.choice(["WRITE", "ALL"])],
            ["CONFIG", "SET", "hz", rng.choice([1, 10, 100])], ["MEMORY", "STATS"], ["MEMORY", "PURGE"], ["SET", "huge", "h" * rng.choice([10**6, 10**7])], ["DEBUG", "POPULATE", 500, "pop%d" % rng.randrange(9)],
        ]
    )  # fmt: skip


def behave(server, seed, stop, ids, sockets, errors):
    """One client after the other, each with its own manners."""
    rng = random.Random(seed)
    while not stop.is_set():
        try:
            c = server.raw(timeout=40, rcvbuf=rng.choice([None, 4096]))
            sockets[seed] = c.sock
            try:
                ids.append(c.do("CLIENT", "ID"))
                for _ in range(rng.randrange(1, 30)):
                    count = rng.choice([1, 2, 10, 100, 1000])
                    requests = [random_request(rng) for _ in range(count)]
                    if rng.random() < 0.1:
                        requests.append(rare_request(rng, ids[-20:]))
                    data = b"".join(encode(*r) for r in requests)
                    if rng.random() < 0.2:
                        cut = rng.randrange(len(data))
                        c.send(data[:cut])
                        time.sleep(0.001)
                        data = data[cut:]
                    c.send(data)
                    manners = rng.random()
                    if manners < 0.02:
                        c.send(encode("MULTI") + encode("SET", "queued", "q" * 300_000) * 5 + rng.choice([b"", encode("DISCARD"), encode("EXEC")]))
                        c.send(b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$2000000\r\n" + b"h" * 1_000_000)
                    if manners < 0.05:
                        break  # leaves without reading
                    if manners < 0.08:
                        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
                        break  # leaves with a reset
                    if manners < 0.1:
                        c.send(b"*1\r\n$abc\r\n")
                    c.read_some(len(requests))
            finally:
                c.close()
        except (EOFError, ConnectionResetError, BrokenPipeError):
            pass  # killed, or its own protocol error
        except Exception as e:  # noqa: BLE001
            errors.append("client %d: %r" % (seed, e))
            return


@pytest.mark.slow
@pytest.mark.parametrize("seed", (1, 2))
def test_everything_at_once(start_server, kind, slow, seed):
    s = start_server()
    with s.raw() as c:
        before = int(s.info("memory")["used_memory"])
    stop, ids, sockets, errors = threading.Event(), [], {}, []
    threads = [threading.Thread(target=behave, args=(s, seed * 1000 + n, stop, ids, sockets, errors)) for n in range(12)]
    for t in threads:
        t.start()
    time.sleep(SECONDS)
    stop.set()
    for sock in list(sockets.values()):
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # the kernel may let ten KB a second through a small one
        except OSError:
            pass  # closed
    for t in threads:
        t.join(100)
        assert not t.is_alive()
    assert s.alive()
    assert not errors, errors
    assert wait_for(lambda: int(s.info("clients")["connected_clients"]) == 1, 60 * slow), s.info("clients")
    with s.raw(timeout=30) as c:
        c.do("CLIENT", "UNPAUSE")
        # Keys with deadlines may end in between: wait until none is left but those far away.
        time.sleep(1.3)
        total = 0
        for db in range(3):
            c.do("SELECT", db)
            keys = set(c.do("KEYS", "*"))
            scanned, cursor = set(), b"0"
            while True:
                cursor, some = c.do("SCAN", cursor, "COUNT", 1000)
                scanned |= set(some)
                if cursor == b"0":
                    break
            assert scanned == keys
            assert c.do("DBSIZE") == len(keys)
            c.send(b"".join(encode("EXISTS", k) for k in keys))
            assert c.read_some(len(keys)) == [1] * len(keys)
            total += len(keys)
        if kind == "shoal":
            text = c.do("INFO", "shards").decode()
            assert sum(map(int, re.findall(r"\bkeys=(\d+)", text))) == total
        assert c.do("FLUSHALL") == "OK"
        assert wait_for(lambda: int(s.info("memory")["used_memory"]) - before < 8_000_000, 60 * slow), s.info("memory")
        assert int(s.info("memory")["mem_clients_normal"]) < 2_000_000
        if kind == "shoal" and slow == 1:  # a sanitizer's allocator keeps what was freed
            assert wait_for(lambda: s.rss_anonymous() <= int(s.info("memory")["used_memory"]) * 1.2 + 15 * 2**20), (s.rss_anonymous(), s.info("memory"))
        assert not isinstance(c.do("SET", "k", "v"), RespError)


def test_hello_in_a_pipeline_changes_only_what_follows(server, r):
    """Replies that other threads write are in the protocol that was chosen when their request was read."""
    with server.raw() as c:
        names = ["absent%d" % i for i in range(200)]
        gets = b"".join(encode("GET", n) for n in names)
        c.send((gets + encode("HELLO", 3) + gets + encode("HELLO", 2)) * 3)
        for _ in range(3):
            assert [c.read_raw()[1] for _ in names] == [b"$-1\r\n"] * 200
            assert c.read_raw()[1].startswith(b"%")
            assert [c.read_raw()[1] for _ in names] == [b"_\r\n"] * 200
            assert c.read_raw()[1].startswith(b"*")


def test_reset_in_a_pipeline(server, r):
    with server.raw() as c:
        c.send(
            (
                encode("SELECT", 2)
                + b"".join(encode("SET", "rp%d" % i, 2) for i in range(100))
                + encode("RESET")
                + b"".join(encode("SET", "rp%d" % i, 0) for i in range(100))
            )
            + encode("DBSIZE")
            + encode("SELECT", 2)
            + encode("DBSIZE")
        )
        got = c.read_some(205)
        assert got[101] == "RESET" and got[202:] == [100, "OK", 100]


def test_long_keys(server, r):
    with server.raw(timeout=30) as c:
        for size in (100, 1000, 16_384, 100_000, 1_000_000, 5_000_000):
            key = "L" * size
            assert c.do("SET", key, "v", "EX", 100) == "OK"
            assert c.do("INCR", key + "n") == 1
            assert 60 < c.do("TTL", key) <= 100
            assert c.do("RANDOMKEY") in (key.encode(), key.encode() + b"n")
            assert set(c.do("KEYS", "L*")) == {key.encode(), key.encode() + b"n"}
            assert c.do("OBJECT", "ENCODING", key) is not None
            assert c.do("DEL", key) == 1 and c.do("DEL", key + "n") == 1
        assert c.do("DBSIZE") == 0


def test_memory_comes_back(server, r):
    """Small and big values, with and without deadlines, written over and deleted: what they took is given back."""
    before = int(server.info("memory")["used_memory"])
    with server.raw(timeout=60) as c:
        for turn in range(3):
            c.send(b"".join(encode("SET", "m%d" % i, "x" * (i % 300), "EX", 1000 + i) for i in range(20_000)))
            c.read_some(20_000)
            c.send(b"".join(encode("APPEND", "m%d" % i, "y" * (i % 500)) for i in range(20_000)))
            c.read_some(20_000)
            for i in range(20):
                c.do("SET", "big%d" % i, "z" * 1_000_000)
            assert int(server.info("memory")["used_memory"]) - before > 20_000_000
            if turn == 0:
                c.do("FLUSHALL")
            else:
                c.send(b"".join(encode("DEL" if turn == 1 else "UNLINK", "m%d" % i) for i in range(20_000)))
                c.read_some(20_000)
                for i in range(20):
                    c.do("DEL", "big%d" % i)
            assert c.do("DBSIZE") == 0
            assert wait_for(lambda: int(server.info("memory")["used_memory"]) - before < 4_000_000), server.info("memory")["used_memory"]
