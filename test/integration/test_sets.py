# SPDX-License-Identifier: BSD-3-Clause
"""Sets: what is drawn from them, walks while they change, what large ones have in common on any shards, against Python's sets.

Single replies, errors and encodings are compared with Valkey's in test/differential.
"""

import random
import threading

import pytest

from resp import RespError, encode
from test_shards import key_in

pytestmark = pytest.mark.row_each

# A set of each form, with as many members as it has room for.
FORMS = {
    "intset": [b"%d" % (i * 7919 - 1_000_000) for i in range(500)],
    "listpack": [b"m%d" % i for i in range(60)] + [b"%d" % i for i in range(60)],
    "hashtable": [b"member:%d" % i for i in range(1000)] + [b"%d" % i for i in range(1000)],
}


@pytest.fixture
def c(server):
    with server.raw(timeout=60) as c:
        c.do("FLUSHALL")
        yield c


def add(c, key, members):
    for at in range(0, len(members), 1000):
        c.do("SADD", key, *members[at : at + 1000])


def keys_apart(shards, n):
    """n keys, neighbours on different shards."""
    return [key_in(i % shards, shards, "set%d:" % i) for i in range(n)]


# ---- Drawn at random


def is_even(counts, expected):
    """Whether each was drawn about as often as expected: one alone, and all together (chi squared), within eight standard
    deviations, which chance does not leave in anybody's lifetime."""
    together = sum((count - expected) ** 2 / expected for count in counts)
    return max(counts) < expected + 8 * expected**0.5 + 1 and together < len(counts) + 8 * (2 * len(counts)) ** 0.5 + 10


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("count", (1, 7, -40, "most"))
def test_each_member_is_drawn_equally_often(c, form, count):
    members = FORMS[form]
    add(c, "s", members)
    assert c.do("OBJECT", "ENCODING", "s") == form.encode()
    count = len(members) * 3 // 4 if count == "most" else count
    times = max(20, 20 * len(members) // abs(count))
    counts = dict.fromkeys(members, 0)
    for _ in range(times):
        drawn = c.do("SRANDMEMBER", "s", count)
        assert len(drawn) == abs(count)
        assert count < 0 or len(set(drawn)) == count
        for member in drawn:
            counts[member] += 1
    assert is_even(counts.values(), times * abs(count) / len(members))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("share", (None, 0.2, 0.5, 0.95))
def test_each_member_is_popped_equally_often(c, form, share):
    members = FORMS[form][-100:] if form != "listpack" else FORMS[form]
    count = 1 if share is None else int(len(members) * share)
    times = 1000 // count
    counts = dict.fromkeys(members, 0)
    for _ in range(times):
        c.do("DEL", "s")
        add(c, "s", FORMS[form])
        c.do("SREM", "s", *[m for m in FORMS[form] if m not in counts])
        if share is None:
            drawn = [c.do("SPOP", "s")]
        else:
            drawn = c.do("SPOP", "s", count)
        assert len(set(drawn)) == count
        left = c.do("SMEMBERS", "s")
        assert len(left) == len(members) - count and set(left) | set(drawn) == set(members)
        for member in drawn:
            counts[member] += 1
    assert is_even(counts.values(), times * count / len(members))


@pytest.mark.parametrize("command", ["SRANDMEMBER", "HRANDFIELD", "ZRANDMEMBER"])
def test_more_than_there_is_memory_for_is_not_drawn(c, kind, command):
    if kind != "shoal":
        pytest.skip("the original goes on until it is killed")  # here such a count is refused: docs/compat.md
    c.do(*{"S": ("SADD", "k", "1", "2"), "H": ("HSET", "k", "1", "a", "2", "b"), "Z": ("ZADD", "k", "1", "1", "2", "2")}[command[0]])
    for count in ("-9223372036854775807", "-1000000000000000"):
        assert c.do(command, "k", count) == RespError("ERR value is out of range")
    assert len(c.do(command, "k", "-100000")) == 100000


# ---- Walks


@pytest.mark.parametrize("way", ("grows", "shrinks", "both"))
def test_a_walk_sees_all_that_stays(c, way):
    stays = [b"stay:%d" % i for i in range(2000)]
    others = [b"other:%d" % i for i in range(20000)]
    add(c, "s", stays)
    if way != "grows":
        add(c, "s", others)
    rng = random.Random(7)
    seen, cursor, step = [], b"0", 0
    while True:
        cursor, members = c.do("SSCAN", "s", cursor, "COUNT", "50")
        assert int(cursor) < 2**53
        seen += members
        some = rng.sample(others, 400)
        step += 1
        c.do("SADD" if way == "grows" or way == "both" and step % 2 else "SREM", "s", *some)
        if cursor == b"0":
            break
    assert set(stays) <= set(seen)
    assert len([m for m in seen if m.startswith(b"stay")]) == len(stays)


def test_a_walk_in_any_form(c):
    for form, members in FORMS.items():
        add(c, form, members)
        for options in ([], ["COUNT", "1"], ["COUNT", "100000"], ["MATCH", "*1*"], ["MATCH", "*1*", "COUNT", "3"]):
            seen, cursor = [], b"0"
            while True:
                cursor, found = c.do("SSCAN", form, cursor, *options)
                seen += found
                if cursor == b"0":
                    break
            wanted = [m for m in members if "MATCH" not in options or b"1" in m]
            assert sorted(seen) == sorted(wanted)
    for cursor in ("1", "99999999999", "18446744073709551615", "9007199254740993"):
        assert len(c.do("SSCAN", "hashtable", cursor)) == 2


# ---- Several sets


def universe(rng, kind, count):
    if kind == "ints":
        return [b"%d" % rng.randrange(count * 2) for _ in range(count)]
    if kind == "mixed":
        return [rng.choice([b"%d", b"text:%d"]) % rng.randrange(count) for _ in range(count)]
    return [b"member:%d" % rng.randrange(count * 2) for _ in range(count)]


@pytest.mark.parametrize("seed", range(4))
def test_what_sets_have_in_common_on_any_shards(c, shards, seed):
    """Sets of every form and size, on one shard and on several, some missing, some named twice."""
    rng = random.Random(seed)
    keys = keys_apart(shards, 6) + ["{k}%d" % i for i in range(3)]
    model = {}
    for key in keys:
        size = rng.choice([0, 1, 5, 100, 130, 600, 5000])
        members = universe(rng, rng.choice(["ints", "mixed", "texts"]), size)
        model[key] = set(members)
        add(c, key, members)
    for step in range(150):
        named = [rng.choice(keys) for _ in range(rng.choice([1, 2, 2, 3, 5, 12]))]
        sets = [model[key] for key in named]
        union, inter, diff = set.union(*sets), set.intersection(*sets), sets[0].difference(*sets[1:])
        got = c.do("SUNION", *named)
        assert len(got) == len(union) and set(got) == union
        got = c.do("SINTER", *named)
        assert len(got) == len(inter) and set(got) == inter
        got = c.do("SDIFF", *named)
        assert len(got) == len(diff) and set(got) == diff
        assert c.do("SINTERCARD", len(named), *named) == len(inter)
        limit = rng.randrange(1, 50)
        assert c.do("SINTERCARD", len(named), *named, "LIMIT", limit) == min(limit, len(inter))
        if step % 10 == 0:
            target = rng.choice(keys)
            name, result = rng.choice([("SUNIONSTORE", union), ("SINTERSTORE", inter), ("SDIFFSTORE", diff)])
            assert c.do(name, target, *named) == len(result)
            model[target] = set(result)
            assert set(c.do("SMEMBERS", target)) == result
    for key in keys:
        assert c.do("SCARD", key) == len(model[key])


@pytest.mark.parametrize("keys", (17, 300, 3000))
def test_hundreds_of_keys(c, shards, keys):
    names = ["many:%d" % i for i in range(keys)]
    c.send(b"".join(encode("SADD", name, "both", "own:%d" % i, "7") for i, name in enumerate(names)))
    c.read_some(keys)
    assert len(c.do("SUNION", *names)) == keys + 2
    assert sorted(c.do("SINTER", *names)) == [b"7", b"both"]
    assert c.do("SDIFF", *names) == [b"own:0"]
    assert c.do("SUNIONSTORE", "d", *names) == keys + 2
    assert c.do("SDIFFSTORE", "d", *names) == 1
    assert c.do("SINTERCARD", keys, *names) == 2


def test_members_move_between_shards(server, c, shards):
    """SMOVE among sets on all shards, by several clients at once: each member is in one set, always."""
    keys = keys_apart(shards, 5)
    members = [b"m%d" % i for i in range(60)] + [b"%d" % i for i in range(60)]
    for i, member in enumerate(members):
        c.do("SADD", keys[i % len(keys)], member)
    stop = threading.Event()
    failures = []

    def move(other, seed):
        rng = random.Random(seed)
        while not stop.is_set():
            calls = [("SMOVE", rng.choice(keys), rng.choice(keys), rng.choice(members)) for _ in range(20)]
            other.send(b"".join(encode(*call) for call in calls))
            if not all(reply in (0, 1) for reply in other.read_some(len(calls))):
                failures.append(calls)

    others = [server.raw(timeout=60) for _ in range(3)]
    threads = [threading.Thread(target=move, args=(other, i)) for i, other in enumerate(others)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(60):
            assert sorted(c.do("SUNION", *keys)) == sorted(members)
            c.send(b"".join(encode(*call) for call in [("MULTI",)] + [("SCARD", key) for key in keys] + [("EXEC",)]))
            assert sum(c.read_some(len(keys) + 2)[-1]) == len(members)
            assert c.do("SINTERCARD", 2, keys[0], keys[1]) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for other in others:
            other.close()
    assert not failures


def test_large_sets_are_copied_renamed_and_moved(c, shards):
    a, b = keys_apart(shards, 2)
    members = [b"member:%d" % i for i in range(30000)]
    add(c, a, members)
    digest = c.do("DEBUG", "DIGEST-VALUE", a)
    assert c.do("COPY", a, b) == 1
    assert c.do("DEBUG", "DIGEST-VALUE", b) == digest
    c.do("SADD", b, "more")
    c.do("SREM", a, "member:7")
    assert c.do("SCARD", a) == 29999 and c.do("SCARD", b) == 30001
    assert c.do("SDIFF", b, a) in ([b"more", b"member:7"], [b"member:7", b"more"])
    c.do("SADD", a, "member:7")
    assert c.do("RENAME", a, b) == "OK"
    assert c.do("DEBUG", "DIGEST-VALUE", b) == digest and c.do("EXISTS", a) == 0
    assert c.do("MOVE", b, "3") == 1
    c.do("SELECT", "3")
    assert c.do("DEBUG", "DIGEST-VALUE", b) == digest
    assert c.do("OBJECT", "ENCODING", b) == b"hashtable"
    assert c.do("UNLINK", b) == 1
    c.do("SELECT", "0")


def test_each_member_counts_as_a_change(c, r):
    """INFO counted commands, whatever they did; the original counts members."""

    def changes(*call):
        before = r.info("persistence")["rdb_changes_since_last_save"]
        c.do(*call)
        return r.info("persistence")["rdb_changes_since_last_save"] - before

    assert changes("SADD", "{k}s", "1", "2", "3", "3", "x") == 4
    assert changes("SADD", "{k}s", "1") == 0
    assert changes("SADD", "{k}t", "9") == 1
    assert changes("SMOVE", "{k}s", "{k}t", "1") == 2
    assert changes("SREM", "{k}s", "2", "3", "77") == 2
    assert changes("SADD", "{k}s", *range(20)) == 20
    assert changes("SPOP", "{k}s") == 1
    assert changes("SPOP", "{k}s", "4") == 4
    assert changes("SUNIONSTORE", "{k}u", "{k}s", "{k}t") == 1
    assert changes("SPOP", "{k}s", "100") == 16
    assert changes("SDIFFSTORE", "{k}u", "{k}u", "{k}u") == 1
    assert changes("SDIFFSTORE", "{k}u", "{k}u", "{k}u") == 0
