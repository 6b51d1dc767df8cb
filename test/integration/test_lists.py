# SPDX-License-Identifier: BSD-3-Clause
"""Lists in every form on one shard and over several: moved from list to list, renamed, copied, with their slot; and long ones.

Replies, encodings and nodes are compared with Valkey in test/differential/test_lists.py.
"""

import random
import threading
import time

import pytest

from resp import encode
from slots import slot
from test_shards import key_in
from test_slots import move

# In the entry, in a block, in nodes, in more nodes than one leaf has; an element that is a node by itself.
FORMS = {
    "inline": ["%d" % i for i in range(20)],
    "listpack": ["element %d " % i + "x" * 30 for i in range(100)],
    "quicklist": ["element %d " % i + "x" * 30 for i in range(2000)],
    "leaves": ["element %d " % i + "x" * 1000 for i in range(3000)],
    "plain": ["a", "b" * 20000, "c", "d" * 300000, "e"],
}
ENCODINGS = {"inline": b"listpack", "listpack": b"listpack"}


def keys_of(shards, n):
    """n keys, neighbours on different shards."""
    return [key_in(i % shards, shards, "list%d:" % i) for i in range(n)]


def fill(c, key, elements):
    for at in range(0, len(elements), 500):
        assert c.do("RPUSH", key, *elements[at : at + 500]) == min(at + 500, len(elements))


def whole(c, key):
    return [element.decode() for element in c.do("LRANGE", key, "0", "-1")]


@pytest.mark.parametrize("form", FORMS)
def test_other_names_and_copies(r, raw, kind, shards, form):
    """Over shards as on one: the same elements and form, the deadline goes along, and a copy is another list."""
    elements = FORMS[form]
    a, b, c3, d = keys_of(shards, 4)
    fill(raw, a, elements)
    raw.do("EXPIRE", a, "1000")
    assert raw.do("COPY", a, b) == 1
    assert raw.do("COPY", a, b) == 0
    assert raw.do("RENAME", a, c3) == "OK"
    assert raw.do("RENAMENX", c3, b) == 0
    assert raw.do("MOVE", c3, "1") == 1
    raw.do("SELECT", "1")
    assert raw.do("COPY", c3, d, "DB", "0") == 1
    assert raw.do("TTL", c3) > 900
    assert raw.do("DEL", c3) == 1
    raw.do("SELECT", "0")
    assert raw.do("EXISTS", a, c3) == 0
    for key in (b, d):
        assert whole(raw, key) == elements
        assert raw.do("TTL", key) > 900
        if kind != "redis":
            assert raw.do("OBJECT", "ENCODING", key) == ENCODINGS.get(form, b"quicklist")
    assert raw.do("LSET", b, "1", "other") == "OK"
    assert raw.do("LPOP", b) == elements[0].encode()
    assert whole(raw, b) == ["other"] + elements[2:]
    assert whole(raw, d) == elements


@pytest.mark.parametrize("form", FORMS)
def test_one_element_after_the_other_to_another_list(r, raw, shards, form):
    elements = FORMS[form][:300]
    a, b = keys_of(shards, 2)
    fill(raw, a, elements)
    raw.do("RPUSH", b, "first")
    expect = ["first"]
    for n, element in enumerate(elements):
        call = ("LMOVE", a, b, "LEFT", "RIGHT") if n % 2 else ("LMOVE", a, b, "LEFT", "LEFT")
        assert raw.do(*call) == element.encode()
        expect = expect + [element] if n % 2 else [element] + expect
    assert raw.do("EXISTS", a) == 0
    assert whole(raw, b) == expect
    assert raw.do("LMOVE", a, b, "LEFT", "LEFT") is None
    for _ in range(len(expect)):
        raw.do("RPOPLPUSH", b, a)
    assert whole(raw, a) == expect
    assert raw.do("EXISTS", b) == 0


def test_transactions_see_what_moved_before(r, raw, shards):
    a, b, c3 = keys_of(shards, 3)
    calls = [
        ("RPUSH", a, "1", "2", "3"), ("LMOVE", a, b, "LEFT", "LEFT"), ("LMOVE", b, c3, "LEFT", "LEFT"), ("LMOVE", a, b, "RIGHT", "LEFT"), ("RPOPLPUSH", a, a),
        ("RPOPLPUSH", a, c3), ("EXISTS", a), ("RENAME", c3, a), ("COPY", a, c3), ("LTRIM", a, "5", "6"), ("LRANGE", c3, "0", "-1"), ("LRANGE", b, "0", "-1"),
        ("SET", a, "v"), ("LMOVE", b, a, "LEFT", "LEFT"), ("LMOVE", a, b, "LEFT", "LEFT"), ("LLEN", b),
    ]  # fmt: skip
    expect = [3, b"1", b"1", b"3", b"2", b"2", 0, "OK", 1, "OK", [b"2", b"1"], [b"3"], "OK"]
    for exec_them in (False, True):
        r.flushall()
        if exec_them:
            raw.do("MULTI")
        raw.send(b"".join(encode(*call) for call in calls))
        got = raw.read_some(len(calls))
        if exec_them:
            got = raw.do("EXEC")
        assert got[:13] == expect
        assert [str(error).split(" ")[0] for error in got[13:15]] == ["WRONGTYPE", "WRONGTYPE"] and got[15] == 1


def test_elements_on_their_way_are_in_one_list_at_every_moment(server, r, shards):
    """Many move elements between lists on all shards; who reads all lists at once finds each element in one of them."""
    keys = keys_of(shards, 2 * shards)
    for n, key in enumerate(keys):
        r.rpush(key, *("%d:%d" % (n, i) for i in range(20)))
    expect = sorted("%d:%d" % (n, i) for n in range(len(keys)) for i in range(20))
    stop, failures = threading.Event(), []

    def work(seed):
        rng = random.Random(seed)
        with server.raw() as c:
            while not stop.is_set():
                a, b = rng.choice(keys), rng.choice(keys)
                side = [rng.choice(["LEFT", "RIGHT"]) for _ in range(2)]
                calls = [("LMOVE", a, b, *side), ("RPOPLPUSH", b, a)]
                if rng.random() < 0.3:
                    calls = [("MULTI",)] + calls + [("EXEC",)]
                c.send(b"".join(encode(*call) for call in calls))
                c.read_some(len(calls))

    def look():
        with server.raw() as c:
            while not stop.is_set():
                c.send(b"".join(encode(*call) for call in [("MULTI",)] + [("LRANGE", key, "0", "-1") for key in keys] + [("EXEC",)]))
                lists = c.read_some(len(keys) + 2)[-1]
                found = sorted(element.decode() for elements in lists for element in elements)
                if found != expect:
                    failures.append((len(found), len(expect)))
                    return

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)] + [threading.Thread(target=look) for _ in range(2)]
    for t in threads:
        t.start()
    time.sleep(1)
    stop.set()
    for t in threads:
        t.join()
    assert failures == []
    assert sorted(element for key in keys for element in r.lrange(key, 0, -1)) == expect


@pytest.mark.several_shards
@pytest.mark.parametrize("form", FORMS)
def test_lists_go_with_their_slot(r, raw, shards, form):
    elements = FORMS[form]
    a = keys_of(shards, 1)[0]
    fill(raw, a, elements)
    at = slot(a.encode())
    try:
        for to in range(shards):
            move(raw, at, to)
            assert whole(raw, a) == elements
            elements = elements[1:] + elements[:1]
            assert raw.do("LMOVE", a, a, "LEFT", "RIGHT") == elements[-1].encode()
    finally:
        move(raw, at, at * shards // 16384)


@pytest.mark.shoal_only
def test_memory_of_an_element(r, raw):
    """A list of 32 byte elements takes at most 35 for each, whichever end they came from, and gives back what goes."""
    elements = ["element-%024d" % i for i in range(100_000)]
    for command in ("LPUSH", "RPUSH"):
        for at in range(0, len(elements), 1000):
            raw.do(command, command, *elements[at : at + 1000])
        used = raw.do("MEMORY", "USAGE", command)
        assert used < 35 * len(elements), used
        raw.do("LTRIM", command, "0", "999")
        assert raw.do("MEMORY", "USAGE", command) < 40 * 1000 + 9000


def test_compressed_lists(server, r, raw):
    """list-compress-depth: seen only in what they take."""
    raw.do("CONFIG", "SET", "list-compress-depth", "2")
    try:
        elements = ["element %d " % i + "x" * 100 for i in range(20_000)]
        fill(raw, "packed", elements)
        assert whole(raw, "packed") == elements
        assert [raw.do("LINDEX", "packed", i) for i in (0, 10_000, -3)] == [elements[i].encode() for i in (0, 10_000, -3)]
        assert raw.do("LSET", "packed", "10000", "other") == "OK"
        assert raw.do("LINSERT", "packed", "AFTER", "other", "another") == 20_001
        assert raw.do("LRANGE", "packed", "9999", "10002") == [e.encode() for e in (elements[9999], "other", "another", elements[10001])]
        assert raw.do("LPOS", "packed", elements[15_000]) == 15_001
        assert raw.do("LREM", "packed", "0", "another") == 1
        if server.kind == "shoal":
            assert raw.do("MEMORY", "USAGE", "packed") < 20_000 * 40
            assert "ql_compressed:1" in raw.do("DEBUG", "OBJECT", "packed")
        assert raw.do("LTRIM", "packed", "5", "-5") == "OK"
        while raw.do("LLEN", "packed"):
            raw.do("LPOP", "packed", "777"), raw.do("RPOP", "packed", "777")
    finally:
        raw.do("CONFIG", "SET", "list-compress-depth", "0")
