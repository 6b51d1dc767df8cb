# SPDX-License-Identifier: BSD-3-Clause
"""Commands whose values must meet though they lie on several shards: lent, put, moved, asked about first."""

import random
import threading
import time

import pytest

from resp import RespError, encode
from server import wait_for
from test_shards import key_in


@pytest.fixture
def homes(server, shards):
    """Raw connections, enough for one on each shard."""
    connections = [server.raw(timeout=60) for _ in range(2 * shards)]
    yield connections
    for c in connections:
        c.close()


def keys_of(shards, n):
    """n keys, neighbours on different shards."""
    return [key_in(i % shards, shards, "lent%d:" % i) for i in range(n)]


def run(c, calls):
    """In one write, and then as one EXEC."""
    c.send(b"".join(encode(*call) for call in calls))
    return c.read_some(len(calls))


def run_exec(c, calls):
    got = run(c, [("MULTI",)] + calls + [("EXEC",)])
    assert got[:-1] == ["OK"] + ["QUEUED"] * len(calls)
    return got[-1]


@pytest.mark.parametrize("way", (run, run_exec))
def test_each_sees_what_the_one_before_it_did(r, homes, shards, way):
    """What one reads from another shard, the one before it has just put there, or taken away."""
    a, b, c3, d = keys_of(shards, 4)
    calls = [
        ("SET", a, "one"), ("COPY", a, b), ("COPY", b, c3), ("COPY", c3, d), ("RENAME", a, b), ("COPY", a, d, "REPLACE"), ("RENAME", b, a), ("EXISTS", b),
        ("APPEND", a, "+"), ("COPY", a, b), ("LCS", a, d), ("RENAMENX", a, b), ("RENAMENX", a, a), ("RENAME", a, c3), ("RENAME", a, c3), ("LCS", c3, a),
        ("MSETNX", a, "1", b, "2"), ("DEL", b), ("MSETNX", a, "1", b, "2"), ("MSETEX", "2", a, "3", b, "4", "XX"), ("MSETEX", "2", a, "5", d, "6", "NX"),
        ("MGET", a, b, c3, d),
    ]  # fmt: skip
    expect = [
        "OK", 1, 1, 1, "OK", 0, "OK", 0, 4, 1, b"one", 0, 0, "OK", RespError("ERR no such key"), b"", 0, 1, 1, 1, 0, [b"3", b"4", b"one+", b"one"],
    ]  # fmt: skip
    for c in homes:
        r.flushall()
        assert way(c, calls) == expect


@pytest.mark.parametrize("size", (10, 3000, 5000, 200_000))
def test_what_is_lent_is_not_written_to_meanwhile(r, homes, shards, size):
    """The owner of what is lent has writes of its own to run, which come after it in the same EXEC."""
    a, b, other, last = keys_of(shards, 4)
    for n in range(60):
        c = homes[n % len(homes)]
        old, new = "%d" % n * size, "%d" % (n + 1) * size
        got = run_exec(c, [("SET", a, old), ("COPY", a, b, "REPLACE"), ("SET", a, new), ("SETRANGE", a, "0", "xx"), ("DEL", a), ("STRLEN", b), ("COPY", b, a), ("RENAME", b, last), ("SET", b, "?")])
        assert got[5:] == [len(old), 1, "OK", "OK"]
        assert [c.do("GET", key) for key in (a, b, last)] == [old.encode(), b"?", old.encode()]


def test_ttl_encoding_and_options_go_along(r, homes, shards):
    a, b = keys_of(shards, 2)
    values = {"12345": "int", "short": "embstr", "x" * 300: "raw", "y" * 5000: "raw", "z" * 300_000: "raw"}
    for c in homes:
        for value, encoding in values.items():
            r.flushall()
            c.do("SET", a, value, "PX", "100000")
            for call, left in ((("COPY", a, b, "DB", "3"), 1), (("RENAME", a, b), "OK")):
                assert c.do(*call) == left
                if call[0] == "COPY":
                    c.do("SELECT", "3")
                assert c.do("GET", b) == value.encode()
                assert c.do("OBJECT", "ENCODING", b) == encoding.encode()
                assert 90000 < c.do("PTTL", b) <= 100000
                c.do("SELECT", "0")
            assert c.do("EXISTS", a) == 0


def test_wrong_arguments_over_shards(r, homes, shards):
    a, b = keys_of(shards, 2)
    for c in homes:
        r.flushall()
        c.do("SET", a, "text")
        assert c.do("COPY", a, b, "REPLAC") == RespError("ERR syntax error")
        assert c.do("COPY", a, b, "DB", "99") == RespError("ERR DB index is out of range")
        assert c.do("LCS", a, b, "IDX", "LEN") == RespError("ERR If you want both the length and indexes, please just use IDX.")
        assert c.do("MSETNX", a, "1", b) == RespError("ERR wrong number of arguments for 'msetnx' command")
        if c.do("COMMAND", "INFO", "MSETEX") != [None]:
            assert c.do("MSETEX", "2", a, "1", b, "2", "NX", "XX") == RespError("ERR syntax error")
            assert c.do("MSETEX", "2", a, "1", b, "2", "EX", "0") == RespError("ERR invalid expire time in 'msetex' command")
            assert c.do("MSETEX", "3", a, "1", b, "2") == RespError("ERR syntax error")
        assert c.do("MGET", a, b) == [b"text", None]


def used_memory(server):
    return int(server.info("memory")["used_memory"])


def settles(server, memory, slack):
    assert wait_for(lambda: abs(used_memory(server) - memory) < slack), (used_memory(server), memory)


@pytest.mark.slow
@pytest.mark.shoal_only
@pytest.mark.parametrize("command", ("RENAME", "COPY"))
def test_a_huge_value_is_not_copied_in_one_piece(server, r, homes, shards, command):
    """It moves at once, is rewritten little by little while others are served, and takes its memory once."""
    size = 50_000_000
    a, b = keys_of(shards, 2)
    c, other = homes[0], homes[1]
    before = used_memory(server)
    c.do("SET", a, "v" * size)
    c.do(command, a, b)
    for n in range(50):
        assert other.do("SETRANGE", "few", "0", "1") == 1  # while it is rewritten
    got = c.do("GET", b)
    assert len(got) == size and got == b"v" * size
    keys = 1 if command == "RENAME" else 2
    settles(server, before + keys * size, size // 4)
    for key in (b, a)[:keys]:
        assert abs(int(c.do("MEMORY", "USAGE", key)) - size) < size // 8
    c.do("APPEND", b, "w")
    assert c.do("STRLEN", b) == size + 1 and c.do("STRLEN", a) == (0 if keys == 1 else size)
    c.do("DEL", a, b)
    settles(server, before, size // 4)


@pytest.mark.slow
def test_huge_values_move_to_and_fro_while_all_write(server, r, homes, shards):
    """Renamed, copied, appended to, shortened and deleted at any moment of being rewritten: nothing is damaged or lost."""
    keys = keys_of(shards, 2 * shards)
    stop, failures = threading.Event(), []

    def work(c, seed):
        rng = random.Random(seed)
        try:
            while not stop.is_set():
                a, b = rng.sample(keys, 2)
                letter = rng.choice("abc")
                call = rng.choice([
                    ("SET", a, letter * rng.choice((100, 5000, 70_000, 700_000))), ("RENAME", a, b), ("COPY", a, b, "REPLACE"), ("COPY", a, b), ("APPEND", a, ""),
                    ("SETRANGE", a, "0", ""), ("DEL", a), ("GET", a), ("GETRANGE", a, "0", "99"), ("RENAMENX", a, b), ("LCS", a, b, "LEN"),
                ])  # fmt: skip
                got = c.do(*call)
                if call[0].startswith("GET") and got is not None and len(set(got)) > 1:
                    failures.append((call[0], got[:100]))
        except Exception as e:  # noqa: BLE001
            failures.append(e)

    threads = [threading.Thread(target=work, args=(c, n)) for n, c in enumerate(homes)]
    for t in threads:
        t.start()
    time.sleep(3)
    stop.set()
    for t in threads:
        t.join()
    assert not failures
    for key in keys:
        got = r.get(key)
        assert got is None or len(set(got)) <= 1
