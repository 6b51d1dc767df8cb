# SPDX-License-Identifier: BSD-3-Clause
"""Keys of all shards together: SCAN, KEYS, RANDOMKEY, DBSIZE, FLUSHALL, SWAPDB, databases."""

import fnmatch
import random
import threading
import time

import pytest

from conftest import connect
from resp import encode
from server import wait_for
from slots import slot

pytestmark = pytest.mark.row_each


def fill(server, count, prefix="k", db=0):
    with server.raw(timeout=60) as c:
        c.do("SELECT", db)
        for start in range(0, count, 10_000):
            part = range(start, min(count, start + 10_000))
            c.send(b"".join(encode("SET", "%s%d" % (prefix, i), i) for i in part))
            assert c.read_some(len(part)) == ["OK"] * len(part)


def scan_all(c, *options, between=None, cursor=b"0"):
    """All keys of a full iteration (or of what is behind a cursor), with repetitions."""
    out, calls = [], 0
    while True:
        cursor, keys = c.do("SCAN", cursor, *options)
        out += keys
        calls += 1
        if cursor == b"0":
            return out
        assert calls < 1_000_000, "the iteration does not end"
        assert 0 < int(cursor) < 2**64
        if between:
            between(calls)


# ---- SCAN ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", (1, 10, 100, 1000, 100_000))
def test_scan_finds_every_key_once(server, r, count):
    fill(server, 3000)
    with server.raw() as c:
        got = scan_all(c, "COUNT", count)
    assert sorted(got) == sorted(b"k%d" % i for i in range(3000))


def test_scan_of_an_empty_database(server, r):
    with server.raw() as c:
        assert c.do("SCAN", 0) == [b"0", []]


def test_scan_does_roughly_what_count_says(server, r):
    fill(server, 20_000)
    with server.raw() as c:
        cursor, keys = c.do("SCAN", 0, "COUNT", 100)
        assert cursor != b"0" and 1 <= len(keys) <= 1000


def test_scan_match_and_type(server, r):
    fill(server, 1000)
    fill(server, 500, prefix="other")
    with server.raw() as c:
        assert len(set(scan_all(c, "MATCH", "k*"))) == 1000
        assert set(scan_all(c, "MATCH", "k77?")) == {b"k77%d" % i for i in range(10)}
        assert len(set(scan_all(c, "TYPE", "string", "MATCH", "other*"))) == 500
        assert scan_all(c, "TYPE", "hash") == []
        assert scan_all(c, "MATCH", "k5") == [b"k5"]
        assert scan_all(c, "MATCH", "k\\5") == [b"k5"]
        assert scan_all(c, "MATCH", "nosuch{tag}*") == []


def test_scan_sees_only_the_selected_database(server, r):
    fill(server, 100)
    fill(server, 50, prefix="d", db=3)
    with server.raw() as c:
        assert len(scan_all(c)) == 100
        c.do("SELECT", 3)
        assert len(scan_all(c)) == 50


def test_scan_guarantee_while_the_tables_grow(server, r):
    """Keys that exist from start to end of the iteration are all returned although the tables grow fifty times over."""
    fill(server, 1000, prefix="stay")
    with server.raw() as c, server.raw(timeout=60) as w:
        added = [0]

        def grow(calls):
            if added[0] < 50_000:
                part = range(added[0], added[0] + 1000)
                w.send(b"".join(encode("SET", "new%d" % i, i) for i in part))
                w.read_some(1000)
                added[0] += 1000

        got = set(scan_all(c, "COUNT", 20, between=grow))
    assert {b"stay%d" % i for i in range(1000)} <= got
    assert added[0] == 50_000


def test_scan_guarantee_while_the_tables_shrink(server, r):
    """... and although most other keys are deleted meanwhile."""
    fill(server, 1000, prefix="stay")
    fill(server, 60_000, prefix="go")
    with server.raw() as c, server.raw(timeout=60) as w:
        gone = [0]

        def shrink(calls):
            if gone[0] < 60_000:
                part = range(gone[0], gone[0] + 2000)
                w.send(b"".join(encode("DEL", "go%d" % i) for i in part))
                w.read_some(2000)
                gone[0] += 2000

        got = set(scan_all(c, "COUNT", 50, between=shrink))
    assert {b"stay%d" % i for i in range(1000)} <= got
    assert gone[0] == 60_000


def test_scan_guarantee_in_one_slot(server, r):
    """All keys under one hash tag: one table holds them all, grows and shrinks during the iteration."""
    with server.raw(timeout=60) as c, server.raw(timeout=60) as w:
        for lo in range(0, 20_000, 5000):
            w.send(b"".join(encode("SET", "{one}%d" % i, i) for i in range(lo, lo + 5000)))
            w.read_some(5000)
        step = [0]

        def churn(calls):
            n = step[0]
            step[0] += 1
            if n < 30:
                w.send(b"".join(encode("SET", "{one}x%d" % i, i) for i in range(n * 1000, n * 1000 + 1000)))
                w.read_some(1000)
            elif n < 60:
                n -= 30
                w.send(b"".join(encode("DEL", "{one}x%d" % i) for i in range(n * 1000, n * 1000 + 1000)))
                w.read_some(1000)

        got = set(scan_all(c, "COUNT", 30, between=churn))
        assert {b"{one}%d" % i for i in range(20_000)} <= got


def test_scan_with_made_up_cursors_ends(server, r):
    fill(server, 500)
    rng = random.Random(3)
    with server.raw() as c:
        for cursor in [1, 2**63, 2**64 - 1, 2**63 - 1] + [rng.randrange(2**64) for _ in range(200)]:
            got = c.do("SCAN", cursor, "COUNT", 1000)
            assert isinstance(got, list) and len(got) == 2


def atoi(text):
    """What C makes of it on the usual machines: the low half of a long, with its sign."""
    value = min(int(text), 2**63 - 1) % 2**32
    return value - 2**32 if value >= 2**31 else value


def through_double(text):
    """tonumber() in a script, and tostring(), which writes 14 digits."""
    return "%.14g" % float(text)


@pytest.mark.slow
@pytest.mark.shoal_only
@pytest.mark.parametrize("count", (1, 10, 300))
def test_scan_cursors_survive_programs_that_read_them_with_atoi(server, r, count):
    """`valkey-cli --cluster import` does, and stopped after the first batch."""
    fill(server, 4000)
    fill(server, 3000, prefix="{tag}")
    with server.raw(timeout=60) as c:
        cursor, got = 0, []
        while True:
            cursor, keys = c.do("SCAN", cursor, "COUNT", count)
            got += keys
            assert atoi(cursor) == int(cursor) < 2**31
            cursor = atoi(cursor)
            if cursor == 0:
                break
    assert sorted(got) == sorted([b"k%d" % i for i in range(4000)] + [b"{tag}%d" % i for i in range(3000)])


@pytest.mark.shoal_only
def test_scan_cursors_survive_programs_that_read_them_as_doubles(server, r):
    """A script's tonumber() lost their last digits. Also where one slot has so many keys that an int is too small."""
    fill(server, 150_000, prefix="{tag}")
    with server.raw(timeout=60) as c:
        cursor, got, largest = "0", 0, 0
        while True:
            cursor, keys = c.do("SCAN", cursor, "COUNT", 20)
            got += len(keys)
            largest = max(largest, int(cursor))
            assert through_double(cursor).encode() == cursor
            cursor = through_double(cursor)
            if cursor == "0":
                break
    assert got == 150_000
    assert largest < 2**53


@pytest.mark.shoal_only
def test_scan_cursors_mean_the_same_for_any_number_of_shards(server, r, start_server):
    """The slot is in the low 14 bits, and what follows is in it or in higher ones."""
    fill(server, 2000)
    other = start_server(shards=3)
    fill(other, 2000)
    with server.raw() as c, other.raw() as o:
        cursor = c.do("SCAN", 0, "COUNT", 1000)[0]
        first = int(cursor) % 16384
        behind = {b"k%d" % i for i in range(2000) if slot(b"k%d" % i) > first}
        assert 0 < len(behind) < 1900
        for x in (c, o):
            got = scan_all(x, "COUNT", 100, cursor=cursor)
            # Where in its slot the cursor stands is not the same here and there: each server hashes with a secret of its own.
            assert {key for key in got if slot(key) != first} == behind


@pytest.mark.slow
def test_scan_of_one_slot_by_its_tag(server, r, kind):
    """A pattern that says which slot its keys are in is looked for there only."""
    fill(server, 5000)
    for prefix in ("{tag}", "a{tag}", "{", "{}", "{}x{tag}", "}{tag}", "{tag"):
        fill(server, 50, prefix=prefix)
    with server.raw() as c:
        for pattern in ("{tag}*", "{tag}1?", "a{tag}*", "a{tag}[12]*", "{*", "{}*", "{}x{tag}*", "}{tag}*", "{tag*", "{ta[g]}*", "{ta\\g}*",
                        "{tag}7", "a{tag}49", "k7", "{tag}nosuch", "*{tag}*", "?{tag}*", "", "{", "{tag}"):
            expected = sorted(name for name in every_name() if matches(pattern, name))
            for count in (1, 10, 1000):
                assert sorted(scan_all(c, "MATCH", pattern, "COUNT", count)) == expected, pattern
            assert sorted(c.do("KEYS", pattern)) == expected, pattern
        if kind == "shoal":
            cursor, keys = c.do("SCAN", 0, "MATCH", "{tag}*", "COUNT", 1000)
            assert cursor == b"0" and len(keys) == 50
            assert c.do("SCAN", slot(b"{tag}") + 1, "MATCH", "{tag}*", "COUNT", 1) == [b"0", []]


def every_name():
    for i in range(5000):
        yield b"k%d" % i
    for prefix in (b"{tag}", b"a{tag}", b"{", b"{}", b"{}x{tag}", b"}{tag}", b"{tag"):
        for i in range(50):
            yield b"%s%d" % (prefix, i)


def matches(pattern, name):
    """As fnmatch, but that backslash escapes."""
    return fnmatch.fnmatchcase(name.decode(), pattern.replace("\\g", "g"))


def test_scan_does_not_return_expired_keys(server, lazy_expiry):
    fill(server, 100)
    with server.raw() as c:
        for i in range(50):
            c.do("PEXPIRE", "k%d" % i, 1)
        time.sleep(0.02)
        assert set(scan_all(c)) == {b"k%d" % i for i in range(50, 100)}


# ---- KEYS, RANDOMKEY, DBSIZE -----------------------------------------------------------------------------------------


def test_keys_of_all_shards(server, r):
    fill(server, 5000)
    assert sorted(r.keys("*")) == sorted("k%d" % i for i in range(5000))
    assert sorted(r.keys("k12?")) == sorted("k12%d" % i for i in range(10))
    assert r.keys("k4999") == ["k4999"]
    assert r.keys("nosuch*") == []


def test_randomkey_reaches_every_key(server, r):
    names = {"r%d" % i for i in range(20)}
    for name in names:
        r.set(name, 1)
    with server.raw() as c:
        c.send(encode("RANDOMKEY") * 3000)
        got = {key.decode() for key in c.read_some(3000)}
    assert got == names


def test_randomkey_with_a_single_key_and_none(server, r):
    assert r.randomkey() is None
    r.set("lonely", 1)
    assert [r.randomkey() for _ in range(50)] == ["lonely"] * 50


def test_randomkey_skips_expired_keys(server, lazy_expiry):
    with server.raw() as c:
        for i in range(100):
            c.do("SET", "re%d" % i, 1, "PX", 1)
        c.do("SET", "alive", 1)
        time.sleep(0.02)
        assert {c.do("RANDOMKEY") for _ in range(30)} == {b"alive"}


def test_dbsize_is_exact_after_a_pipeline(server, r):
    with server.raw() as c:
        for n in (1, 100, 3000):
            c.do("FLUSHALL")
            c.send(b"".join(encode("SET", "ds%d" % i, i) for i in range(n)) + encode("DBSIZE"))
            assert c.read_some(n + 1)[-1] == n


# ---- FLUSH and SWAPDB --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ([], ["SYNC"], ["ASYNC"]))
def test_flushall_and_flushdb(server, r, how):
    fill(server, 2000)
    fill(server, 1000, prefix="o", db=4)
    with server.raw() as c:
        assert c.do("FLUSHDB", *how) == "OK"
        assert c.do("DBSIZE") == 0 and c.do("KEYS", "*") == [] and c.do("GET", "k1") is None
        c.do("SELECT", 4)
        assert c.do("DBSIZE") == 1000
        assert c.do("FLUSHALL", *how) == "OK"
        assert c.do("DBSIZE") == 0 and c.do("RANDOMKEY") is None


def test_flushall_in_a_pipeline_is_a_fence(server, r):
    with server.raw() as c:
        sets = b"".join(encode("SET", "f%d" % i, i) for i in range(500))
        gets = b"".join(encode("GET", "f%d" % i) for i in range(500))
        c.send(sets + encode("FLUSHALL") + gets + sets + encode("DBSIZE"))
        got = c.read_some(1502)
        assert got[:501] == ["OK"] * 501
        assert got[501:1001] == [None] * 500
        assert got[1001:] == ["OK"] * 500 + [500]


@pytest.mark.timing
def test_flushall_async_gives_the_memory_back_and_stalls_nobody(server, r, slow):
    with server.raw(timeout=60) as c:

        def worst():
            c.do("DEBUG", "POPULATE", 300_000, "fa", 100)
            assert c.do("DBSIZE") == 300_000
            before = int(server.info("memory")["used_memory"])
            took, stop = [], threading.Event()

            def ping():
                with server.raw() as p:
                    while not stop.is_set():
                        t = time.monotonic()
                        p.do("GET", "x")
                        took.append(time.monotonic() - t)

            thread = threading.Thread(target=ping)
            thread.start()
            assert wait_for(lambda: len(took) > 100)
            assert c.do("FLUSHALL", "ASYNC") == "OK"
            assert c.do("DBSIZE") == 0
            given_back = wait_for(lambda: int(server.info("memory")["used_memory"]) < before / 3)
            stop.set()
            thread.join()
            assert given_back
            return max(took)

        assert any(worst() < 0.3 * slow for _ in range(6))  # it may wait for a processor, too


def test_swapdb(server, r):
    fill(server, 300)
    fill(server, 200, prefix="s", db=1)
    with server.raw() as c, server.raw() as other:
        other.do("SELECT", 1)
        assert c.do("SWAPDB", 0, 1) == "OK"
        assert c.do("DBSIZE") == 200 and other.do("DBSIZE") == 300
        assert c.do("GET", "s7") == b"7" and other.do("GET", "k7") == b"7"
        assert c.do("GET", "k7") is None
        c.do("SET", "s7", "new")
        assert c.do("SWAPDB", 1, 0) == "OK"
        assert other.do("GET", "s7") == b"new" and c.do("GET", "k7") == b"7"


def test_swapdb_keeps_deadlines(server, r):
    with server.raw() as c:
        c.send(
            b"".join(encode("SET", "t%d" % i, i, "PX", 1000) for i in range(50))
            + encode("SWAPDB", 0, 5) + encode("SELECT", 5) + encode("PTTL", "t1")
        )  # fmt: skip
        assert 0 < c.read_some(53)[-1] <= 1000
        assert wait_for(lambda: c.do("DBSIZE") == 0)


def test_swapdb_is_atomic_for_readers(server, r):
    """While two databases are swapped forever, DBSIZE never sees a mixture of them."""
    fill(server, 100)
    fill(server, 1000, prefix="s", db=1)
    stop = threading.Event()

    def swap():
        with server.raw() as c:
            while not stop.is_set():
                c.do("SWAPDB", 0, 1)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        with server.raw() as c:
            seen = {c.do("DBSIZE") for _ in range(2000)}
    finally:
        stop.set()
        thread.join()
    assert seen <= {100, 1000}


def test_sixteen_databases(server, r):
    clients = [connect(server, db=db) for db in range(16)]
    for db, client in enumerate(clients):
        client.set("same", db)
    assert [client.get("same") for client in clients] == [str(db) for db in range(16)]
    assert clients[3].move("same", 4) is False
    clients[4].delete("same")
    assert clients[3].move("same", 4) is True
    assert clients[4].get("same") == "3" and clients[3].get("same") is None
    assert clients[0].copy("same", "{same}other", destination_db=9) is True
    assert clients[9].get("{same}other") == "0" and clients[0].get("{same}other") is None
    clients[0].flushall()
    assert [client.dbsize() for client in clients] == [0] * 16


def test_databases_setting(start_server):
    s = start_server(databases=4)
    with s.raw() as c:
        assert c.do("SELECT", 3) == "OK"
        assert c.do("SELECT", 4) == "ERR DB index is out of range"
        assert c.do("SWAPDB", 0, 4) == "ERR DB index is out of range"


@pytest.mark.timing
def test_big_unlink_does_not_stall(server, r, slow):
    """Values of 64 MB are unlinked while another client measures."""
    with server.raw(timeout=60) as c, server.raw() as p:

        def worst():
            took = []
            for i in range(4):
                c.do("SETRANGE", "bigun%d" % i, 64 << 20, "x")
            for i in range(4):
                c.send(encode("UNLINK", "bigun%d" % i))
                for _ in range(50):
                    t = time.monotonic()
                    p.do("GET", "x")
                    took.append(time.monotonic() - t)
                assert c.read() == 1
            return max(took)

        assert any(worst() < 0.2 * slow for _ in range(6))  # it may wait for a processor, too
