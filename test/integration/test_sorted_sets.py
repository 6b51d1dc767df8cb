# SPDX-License-Identifier: BSD-3-Clause
"""Sorted sets beyond what differential sequences reach: walks while they change, keys on all shards, large values, clients
that wait. Scenes run on any server.
"""

import random

import pytest

from resp import NULL_ARRAY, RespError
from test_blocking import KEYS, block, many  # noqa: F401

pytestmark = pytest.mark.row_each


@pytest.fixture
def c(server):
    with server.raw() as c:
        c.do("FLUSHALL")
        yield c


def fill(c, key, members, score=float):
    for at in range(0, len(members), 500):
        c.do("ZADD", key, *[word for m in members[at : at + 500] for word in (str(score(m)), "m%06d" % m)])


def scan(c, key, *options):
    cursor, calls = b"0", 0
    while calls == 0 or cursor != b"0":
        cursor, found = c.do("ZSCAN", key, cursor, *options)
        calls += 1
        yield found


@pytest.mark.timing
@pytest.mark.shoal_only
def test_a_union_takes_memory_for_what_is_in_it(start_server, slow):
    """It had a place for each member of each input, and what is in many of them (or in one that is named often) is there once."""
    s = start_server(shards=1)
    with s.raw(timeout=120) as c:
        fill(c, "k", list(range(30_000)))
        assert c.do("ZUNIONSTORE", "to", 2, "k", "k") == 30_000
        before = s.rss_peak()
        assert c.do("ZUNIONSTORE", "to", 300, *["k"] * 300) == 30_000
        assert c.do("ZSCORE", "to", "m000007") == b"2100"
        assert s.rss_peak() - before < 25 * 2**20 * slow


def test_a_range_that_is_stored_loses_the_signs_of_zeros_as_far_as_it_was_a_listpack(c):
    """It is one until a member is too long for it, or, where the range says no ranks, until there are too many."""
    names = ["a%03d" % i for i in range(200)]
    names[50] += "x" * 100
    c.do("ZADD", "k", *[word for name in names for word in ("-0", name)])

    def stored(*words):
        c.do("ZRANGESTORE", "to", "k", *words)
        return b"".join(b"-" if score == b"-0" else b"+" for score in c.do("ZRANGE", "to", "0", "-1", "WITHSCORES")[1::2])

    assert stored("0", "-1") == b"-" * 200  # too many from the beginning
    assert stored("0", "99") == b"+" * 50 + b"-" * 50
    assert stored("0", "99", "REV") == b"+" * 100
    assert stored("100", "199", "REV") == b"-" * 51 + b"+" * 49
    assert stored("-inf", "+inf", "BYSCORE") == b"+" * 50 + b"-" * 150
    assert stored("+inf", "-inf", "BYSCORE", "REV") == b"-" * 72 + b"+" * 128
    assert stored("[a060", "+", "BYLEX") == b"+" * 128 + b"-" * 12
    c.do("ZUNIONSTORE", "to", "1", "k")
    assert c.do("ZSCORE", "to", "a000") == b"-0"


def test_a_walk_sees_what_stays(c):
    rng = random.Random(1)
    fill(c, "k", list(range(3000)))
    stays = set(b"m%06d" % m for m in range(0, 3000, 3))
    seen = []
    for found in scan(c, "k", "COUNT", "50"):
        seen += found[::2]
        for _ in range(20):  # and the others come, go and change
            member = "m%06d" % (3 * rng.randrange(3000) + 1)
            if rng.random() < 0.5:
                c.do("ZREM", "k", member)
            else:
                c.do("ZADD", "k", str(rng.random()), member)
        c.do("ZINCRBY", "k", "1000", rng.choice(sorted(stays)))
    assert stays <= set(seen)


def test_a_walk_shows_scores_and_patterns(c):
    fill(c, "k", list(range(1000)), lambda m: m / 8)
    assert {m: float(s) for found in scan(c, "k") for m, s in zip(found[::2], found[1::2])} == {b"m%06d" % m: m / 8 for m in range(1000)}
    assert sorted(m for found in scan(c, "k", "NOSCORES", "COUNT", "100") for m in found) == [b"m%06d" % m for m in range(1000)]
    assert sorted(m for found in scan(c, "k", "MATCH", "*00", "NOSCORES") for m in found) == [b"m%06d" % m for m in range(0, 1000, 100)]


def test_large_ones_are_ordered_whatever_comes_and_goes(c):
    rng = random.Random(2)
    scores = {m: float(rng.randrange(500)) for m in range(4000)}
    fill(c, "k", list(scores), scores.get)
    for m in rng.sample(range(4000), 1500):
        if rng.random() < 0.5:
            del scores[m]
            c.do("ZREM", "k", "m%06d" % m)
        else:
            scores[m] = rng.random() * 500
            c.do("ZADD", "k", repr(scores[m]), "m%06d" % m)
    order = [b"m%06d" % m for m in sorted(scores, key=lambda m: (scores[m], m))]
    assert c.do("OBJECT", "ENCODING", "k") == b"skiplist"
    assert c.do("ZCARD", "k") == len(order)
    assert c.do("ZRANGE", "k", "0", "-1") == order
    assert c.do("ZREVRANGE", "k", "0", "-1") == order[::-1]
    for rank in range(0, len(order), 97):
        assert c.do("ZRANK", "k", order[rank]) == rank
        assert c.do("ZREVRANK", "k", order[rank]) == len(order) - 1 - rank
        assert c.do("ZRANGE", "k", str(rank), str(rank + 5)) == order[rank : rank + 6]
    low = [m for m in sorted(scores, key=lambda m: (scores[m], m)) if 100 <= scores[m] < 300]
    assert c.do("ZRANGEBYSCORE", "k", "100", "(300") == [b"m%06d" % m for m in low]
    assert c.do("ZREMRANGEBYSCORE", "k", "100", "(300") == len(low)
    assert c.do("ZCARD", "k") == len(order) - len(low)


@pytest.mark.parametrize("to", KEYS[:8])
@pytest.mark.parametrize("size", [5, 3000])
def test_stores_reach_over_shards(c, to, size):
    has = {key: set(range(i, size + i)) for i, key in enumerate(KEYS)}
    for key, members in has.items():
        fill(c, key, sorted(members))
    c.do("SADD", "plain", "m000003", "other")
    for name, expected in (
        ("ZUNIONSTORE", set.union(*has.values())),
        ("ZINTERSTORE", set.intersection(*has.values())),
        ("ZDIFFSTORE", has[KEYS[0]].difference(*[has[key] for key in KEYS[1:]])),
    ):
        assert c.do(name, to, "16", *KEYS) == len(expected)
        assert set(c.do("ZRANGE", to, "0", "-1")) == {b"m%06d" % m for m in expected}
        c.do("DEL", to)
        fill(c, to, sorted(has[to]))
    for source in KEYS[:4]:
        assert c.do("ZRANGESTORE", "other", source, "1", "3") == 3
        assert c.do("ZRANGE", "other", "0", "-1") == [b"m%06d" % (int(source[4:]) + i) for i in (1, 2, 3)]
    assert c.do("ZUNIONSTORE", to, "2", "plain", KEYS[0], "WEIGHTS", "10", "1") == size + 1
    assert c.do("ZSCORE", to, "m000003") == b"13"
    assert c.do("ZINTERCARD", "2", "plain", to) == 2


def test_large_ones_move_over_shards(c):
    fill(c, "key:0", list(range(5000)))
    digest = c.do("DEBUG", "DIGEST-VALUE", "key:0")
    for to in KEYS[1:8]:
        assert c.do("COPY", "key:0", to, "REPLACE") == 1
        assert c.do("DEBUG", "DIGEST-VALUE", to) == digest
        assert c.do("RENAME", to, "moved") == "OK"
        assert c.do("DEBUG", "DIGEST-VALUE", "moved") == digest
        c.do("ZADD", "moved", "1", "new")
        assert c.do("ZCARD", "key:0") == 5000


# ---- Clients that wait


@pytest.mark.parametrize("protocol", ["2", "3"])
@pytest.mark.parametrize("key", KEYS[:6])
def test_who_waits_is_served(many, key, protocol):  # noqa: F811
    a, more = many
    b = more()
    b.do("HELLO", protocol)
    for command, reply in (
        (["BZPOPMIN", key, "other", "0"], b"*3\r\n$5\r\nkey:0\r\n$1\r\na\r\n$1\r\n1\r\n"),
        (["BZPOPMAX", "other", key, "0"], b"*3\r\n$5\r\nkey:0\r\n$1\r\nc\r\n$3\r\n2.5\r\n"),
        (["BZMPOP", "0", "2", "other", key, "MAX", "COUNT", "2"], b"*2\r\n$5\r\nkey:0\r\n*2\r\n*2\r\n$1\r\nc\r\n$3\r\n2.5\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n"),
    ):
        block(b, a, *command)
        assert a.do("ZADD", key, "1", "a", "2", "b", "2.5", "c") == 3
        expected = reply.replace(b"key:0", key.encode())
        if protocol == "3":
            expected = expected.replace(b"$3\r\n2.5", b",2.5").replace(b"$1\r\n1\r", b",1\r").replace(b"$1\r\n2\r", b",2\r")
        assert b.read_raw()[1] == expected
        a.do("DEL", key)


@pytest.mark.parametrize("command", [
    ["ZADD", "k", "INCR", "1", "x"], ["ZINCRBY", "k", "1", "x"], ["ZUNIONSTORE", "k", "1", "from"], ["ZRANGESTORE", "k", "from", "0", "0"],
    ["RENAME", "from", "k"], ["COPY", "from", "k"],
])
def test_whatever_fills_a_key_serves(many, command):  # noqa: F811
    a, more = many
    b = more()
    for source in KEYS[:6]:
        a.do("ZADD", source, "1", "x")
        block(b, a, "BZPOPMIN", "k", "0")
        a.do(*[source if word == "from" else word for word in command])
        assert b.read() == [b"k", b"x", b"1"]
        a.do("DEL", source)


def test_each_gets_the_lowest_that_is_left(many):  # noqa: F811
    a, more = many
    waiting = [more() for _ in range(4)]
    for c in waiting:
        block(c, a, "BZPOPMIN", "k", "0")
    a.do("ZADD", "k", "3", "c", "1", "a", "2", "b", "5", "e", "4", "d")
    assert [c.read()[1] for c in waiting] == [b"a", b"b", b"c", b"d"]
    assert a.do("ZRANGE", "k", "0", "-1") == [b"e"]


def test_what_is_no_sorted_set_serves_nobody(many):  # noqa: F811
    a, more = many
    b = more()
    block(b, a, "BZPOPMIN", "k", "0")
    a.do("RPUSH", "k", "x")
    a.do("DEL", "k")
    a.do("SADD", "k", "x")
    assert a.do("BZPOPMIN", "k", "0").startswith("WRONGTYPE")
    a.do("DEL", "k")
    a.do("ZADD", "k", "1", "x")
    assert b.read() == [b"k", b"x", b"1"]


def test_nobody_waits_for_a_wrong_call_or_in_multi(many):  # noqa: F811
    a, _ = many
    for command, reply in (
        (["BZPOPMIN", *KEYS, "0.001"], NULL_ARRAY),
        (["BZMPOP", "0.001", "1", "k", "MIN"], NULL_ARRAY),
        (["BZPOPMAX", "k", "-1"], RespError("ERR timeout is negative")),
        (["BZMPOP", "x", "1", "k", "MIN"], RespError("ERR timeout is not a float or out of range")),
        (["BZMPOP", "x", "0", "k", "MIN"], RespError("ERR numkeys should be greater than 0")),
        (["BZMPOP", "0", "1", "k", "UP"], RespError("ERR syntax error")),
        (["BZMPOP", "0", "1", "k", "MIN", "COUNT", "0"], RespError("ERR count should be greater than 0")),
    ):
        assert a.do(*command) == reply, command
    for command in (["BZPOPMIN", *KEYS, "0"], ["BZMPOP", "0", "2", *KEYS[:2], "MAX"]):
        a.do("MULTI")
        a.do(*command)
        assert a.do("EXEC") == [NULL_ARRAY]


def test_zmpop_takes_from_the_first_that_is_there(c):
    for i, key in enumerate(KEYS):
        c.do("ZADD", key, str(i), "a", str(i), "b", "100", "z")
    for i, key in enumerate(KEYS):
        assert c.do("ZMPOP", "16", *KEYS, "MIN") == [key.encode(), [[b"a", b"%d" % i]]]
        assert c.do("ZMPOP", "16", *KEYS, "MAX", "COUNT", "5") == [key.encode(), [[b"z", b"100"], [b"b", b"%d" % i]]]
    assert c.do("ZMPOP", "16", *KEYS, "MIN") == NULL_ARRAY
