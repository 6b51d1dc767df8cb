# SPDX-License-Identifier: BSD-3-Clause
"""Hashes: what is not one question and one answer. Walks while fields come and go, draws, and fields that end on time."""

import random
import re
import time
from collections import Counter

import pytest

from resp import NULL_ARRAY, encode
from server import wait_for
from test_shards import key_in

pytestmark = pytest.mark.row_each

LONG = "x" * 65  # no listpack takes it


def fill(c, key, names, value="v"):
    names = list(names)
    for start in range(0, len(names), 500):
        c.do("HSET", key, *[word for name in names[start : start + 500] for word in (name, value)])


def names(prefix, count):
    return ["%s%d" % (prefix, i) for i in range(count)]


# ---- Walking and drawing


@pytest.mark.parametrize("count", [1, 10, 200])
def test_a_walk_sees_all_that_stays_once(server, r, count):
    rng = random.Random(count)
    with server.raw() as c:
        stays = names("stay", 3000)
        fill(c, "h", stays)
        seen, cursor, calls = Counter(), "0", 0
        while True:
            cursor, found = c.do("HSCAN", "h", cursor, "COUNT", count, "NOVALUES")
            cursor = cursor.decode()
            seen.update(name.decode() for name in found)
            assert int(cursor) < 2**53
            if cursor == "0":
                break
            calls += 1
            if calls % 3 == 0:  # it grows and shrinks by large
                fill(c, "h", names("come%d:" % rng.randrange(9), rng.choice([1, 400])))
                c.do("HDEL", "h", *names("come%d:" % rng.randrange(9), 400))
        assert [name for name in stays if seen[name] != 1] == []


def test_a_walk_shows_values_and_what_matches(server, r):
    with server.raw() as c:
        for small in (True, False):
            c.do("DEL", "h")
            c.do("HSET", "h", "a1", "1", "a2", "2", "b", "3" if small else LONG)
            cursor, found = c.do("HSCAN", "h", "0", "MATCH", "a*")
            assert cursor == b"0" and dict(zip(found[::2], found[1::2])) == {b"a1": b"1", b"a2": b"2"}


@pytest.mark.parametrize("size", [8, 700])
def test_draws_are_fair(server, r, size):
    with server.raw() as c:
        fill(c, "h", names("f", size))
        draws = 40 * size
        for call, each in [(("HRANDFIELD", "h"), 1), (("HRANDFIELD", "h", 3), 3), (("HRANDFIELD", "h", size - 2), size - 2), (("HRANDFIELD", "h", -50), 50)]:
            times, seen = max(1, draws // each), Counter()
            c.send(encode(*call) * times)
            for _ in range(times):
                reply = c.read()
                reply = reply if isinstance(reply, list) else [reply]
                assert len(reply) == each and (each == 50 or len(set(reply)) == each)
                seen.update(reply)
            expected = times * each / size
            assert len(seen) == size and max(seen.values()) < expected * 2 + 20 and min(seen.values()) > expected / 3 - 5


# ---- Deadlines


@pytest.mark.timing
@pytest.mark.shoal_only
def test_fields_end_on_time_though_nobody_looks(server, r, slow):
    """HLEN looks at no field: it follows the deadlines."""
    near, far = 3000, 2000

    def lateness(c, lead):
        """In ms, where it was seen, sorted; or None: the fields were not there before their time."""
        c.do("DEL", "h")
        before = int(server.info("stats")["expired_fields"])
        base = int(time.time() * 1000) + lead
        fill(c, "h", names("far", far))
        for start in range(0, near, 1000):
            c.send(b"".join(encode("HSETEX", "h", "PXAT", base + i % 1000, "FIELDS", 1, "n%d" % i, i) for i in range(start, start + 1000)))
            c.read_some(1000)
        c.do("HSETEX", "h", "PX", 1000000, "FIELDS", 1, "last", 1)
        if time.time() * 1000 >= base:
            return None
        late = []
        while time.time() * 1000 < base + 1100:
            asked = time.time() * 1000
            left = c.do("HLEN", "h") - far - 1
            answered = time.time() * 1000
            gone = max(0, min(1000, int(asked - 10 - base))) * 3
            if base < asked and answered - asked < 20:
                late.append(max(0, left - (near - gone)) / 3)
            time.sleep(0.002)
        assert wait_for(lambda: c.do("HLEN", "h") == far + 1)
        assert int(server.info("stats")["expired_fields"]) - before == near
        return sorted(late)

    with server.raw(timeout=60) as c:
        seen = []
        for attempt in range(5):  # a machine that has something else to do may be late itself
            late = lateness(c, (1500 if slow == 1 else 8000) * 2**attempt)
            if late and len(late) > 50:
                if late[int(len(late) * 0.9)] <= 10 * slow:
                    return
                seen.append("ms beyond 10: %r" % late[-10:])
    pytest.fail("never on time: %s" % seen)


def test_a_hash_whose_last_field_ends_goes(server, r):
    with server.raw() as c:
        for i in range(50):
            c.do("HSETEX", "h%d" % i, "PX", 30, "FIELDS", 3, "a", 1, "b", 2, "c", 3)
        assert wait_for(lambda: c.do("DBSIZE") == 0)


FIELDS_A_TURN = 512


def turns(c):
    """That were made until now; a visit is a turn made by another thread, or a few."""
    info = c.do("INFO", "everything").decode()
    return int(re.search(r"eventloop_cycles:(\d+)", info).group(1)) + 4 * sum(int(n) for n in re.findall(r"visits=(\d+)", info))


@pytest.mark.timing
@pytest.mark.shoal_only
def test_many_fields_end_in_one_moment_and_nobody_waits(server, r, slow):
    """A hundred thousand fields with one deadline are taken out in slices. How long one takes is the machine's: what a turn takes
    out is counted."""
    count = 100_000 if slow == 1 else 10_000
    with server.raw(timeout=120) as c:
        lead = 4000 if slow == 1 else 20000
        at = 0
        while time.time() * 1000 >= at:  # else it was over before all were there
            c.do("DEL", "h")
            at = int(time.time() * 1000) + lead
            lead *= 2
            for start in range(0, count, 1000):
                pairs = [word for i in range(start, start + 1000) for word in ("n%d" % i, i)]
                c.do("HSETEX", "h", "PXAT", at, "FIELDS", 1000, *pairs)
            c.do("HSET", "h", "stays", 1)
        before, left = turns(c), c.do("HLEN", "h")
        while left > 1:
            start, had = before, left
            before = turns(c)
            left = c.do("HLEN", "h")
            assert had - left <= FIELDS_A_TURN * (turns(c) - start + 8)  # some are not counted yet
            assert time.time() * 1000 < at + 20_000 * slow
        assert c.do("HGETALL", "h") == [b"stays", b"1"]


PAST = ["HSETEX", "h", "PXAT", 1000, "FIELDS"]


def test_fields_that_are_over_when_they_are_set_leave_the_hash_as_it_was(server, r):
    """They were put in and taken out again, and one that was too long for it left a small hash a large one."""
    with server.raw() as c:
        c.do("HSET", "h", "a", 1, "b", 2)
        assert c.do(*PAST, 3, "a", "x" * 1000, "c" * 1000, 1, "d", 2) == 1
        assert c.do("HGETALL", "h") == [b"b", b"2"] and c.do("OBJECT", "ENCODING", "h") == b"listpack"
        assert c.do(*PAST, 1, "b", "x" * 1000) == 1 and c.do("EXISTS", "h") == 0


@pytest.mark.parametrize("before, fields, touched", [([], "f", False), (["a"], "f", False), (["a"], "fa", True), (["a"], "a", True), (["a", "b"], "aa", True)])
def test_fields_that_are_over_when_they_are_set_touch_what_they_take_away(server, r, before, fields, touched):
    with server.raw() as c:
        for name in before:
            c.do("HSET", "h", name, 1)
        changes = r.info()["rdb_changes_since_last_save"]
        c.do("WATCH", "h")
        assert c.do(*PAST, len(fields), *[word for name in fields for word in (name, 1)]) == 1
        assert r.info()["rdb_changes_since_last_save"] - changes == touched  # as many as were taken away, and none twice
        c.do("MULTI")
        assert c.do("EXEC") == (NULL_ARRAY if touched else [])


def test_hidden_fields_are_not_seen(server, lazy_expiry):
    with server.raw() as c:
        c.do("HSET", "h", "a", 1, "b", 2, "c", 3)
        c.do("HPEXPIRE", "h", 10, "FIELDS", 2, "a", "b")
        time.sleep(0.03)
        assert c.do("HLEN", "h") == 3
        assert c.do("HGETALL", "h") == [b"c", b"3"]
        assert c.do("HKEYS", "h") == [b"c"] and c.do("HVALS", "h") == [b"3"]
        assert c.do("HMGET", "h", "a", "b", "c") == [None, None, b"3"]
        assert c.do("HSCAN", "h", "0") == [b"0", [b"c", b"3"]]
        assert c.do("HRANDFIELD", "h", -20) == [b"c"] * 20
        assert c.do("HRANDFIELD", "h", 3) == [b"c"] and c.do("HRANDFIELD", "h") == b"c"
        assert c.do("HTTL", "h", "FIELDS", 2, "a", "c") == [-2, -1]


@pytest.mark.shoal_only
def test_many_draws_of_few_seen_fields_go_through_the_hidden_ones_once(server, lazy_expiry):
    """Each draw went through all of them."""

    def drawn(c, count):
        """Microseconds of the server: who reads the replies takes longer, and waits for a processor."""
        c.do("CONFIG", "RESETSTAT")
        assert set(c.do("HRANDFIELD", "h", -count)) == {b"a", b"b", b"c"}
        return int(re.search(rb"cmdstat_hrandfield:calls=1,usec=(\d+)", c.do("INFO", "commandstats"))[1])

    with server.raw(timeout=120) as c:
        fill(c, "h", names("over", 30_000))
        for start in range(0, 30_000, 1000):
            c.do("HPEXPIRE", "h", 50, "FIELDS", 1000, *names("over", 30_000)[start : start + 1000])
        fill(c, "h", "abc")
        assert wait_for(lambda: c.do("HKEYS", "h") and len(c.do("HKEYS", "h")) == 3)
        assert c.do("HLEN", "h") == 30_003
        few = min(drawn(c, 50) for _ in range(5))
        assert any(drawn(c, 5000) < 30 * max(few, 1) for _ in range(10)), few


def test_a_transaction_sees_one_time(server, r):
    with server.raw() as c:
        for _ in range(30):
            c.do("DEL", "h")
            c.do("HSETEX", "h", "PX", 8, "FIELDS", 1, "a", 1)
            c.send(b"".join([encode("MULTI")] + [encode("HGET", "h", "a")] * 2000 + [encode("EXEC")]))
            replies = [c.read() for _ in range(2002)][-1]
            assert len(set(replies)) == 1


@pytest.mark.parametrize("how", ["RENAME", "COPY", "MOVE"])
@pytest.mark.parametrize("apart", [False, True])
def test_deadlines_go_with_their_hash(server, r, shards, how, apart):
    one, two = key_in(0, 2, "a"), key_in(1 if apart else 0, 2, "b")
    with server.raw() as c:
        c.do("HSET", one, "f", 1, "g", 2, "h", 3)
        c.do("HEXPIRE", one, 100, "FIELDS", 1, "g")
        soon = int(time.time() * 1000) + 800
        c.do("HPEXPIREAT", one, soon, "FIELDS", 1, "f")
        if how == "MOVE":
            assert c.do("MOVE", one, 1) == 1
            c.do("SELECT", 1)
            two = one
        else:
            c.do(how, one, two)
        assert c.do("HPEXPIRETIME", two, "FIELDS", 3, "f", "g", "h")[0::2] == [soon, -1]
        assert 90 < c.do("HTTL", two, "FIELDS", 1, "g")[0] <= 100
        assert wait_for(lambda: c.do("HLEN", two) == 2)
        if how == "COPY":
            assert wait_for(lambda: c.do("HLEN", one) == 2)
        c.do("FLUSHALL")
        c.do("SELECT", 0)


@pytest.mark.parametrize("end", ["DEL {k}", "UNLINK {k}", "SET {k} v", "FLUSHALL", "FLUSHDB ASYNC", "HDEL {k} a b", "HPERSIST {k} FIELDS 1 a", "HSET {k} a 5", "GETDEL {k}", "EXPIRE {k} 0"])
def test_what_is_gone_has_no_deadline(server, r, end):
    with server.raw() as c:
        for i in range(20):
            key = "k%d" % i
            # In one write: the time is not over before what ends it comes.
            c.send(encode("HSET", key, "a", 1, "b", 2) + encode("HPEXPIRE", key, 100, "FIELDS", 1, "a") + encode(*end.replace("{k}", key).split()))
            c.read_some(3)
        left = c.do("DBSIZE")
        time.sleep(0.2)
        assert c.do("DBSIZE") == left
        if end.startswith(("HPERSIST", "HSET")):
            assert [c.do("HLEN", "k%d" % i) for i in range(20)] == [2] * 20


def test_info_counts_keys_with_deadlines_in_them(server, r):
    with server.raw() as c:
        c.do("HSET", "h", "a", 1, "b", 2)
        assert "keys_with_volatile_items=0" in c.do("INFO", "keyspace").decode()
        c.do("HEXPIRE", "h", 100, "FIELDS", 2, "a", "b")
        c.do("COPY", "h", "g")
        assert "keys_with_volatile_items=2" in c.do("INFO", "keyspace").decode()
        c.do("HPERSIST", "h", "FIELDS", 1, "a")
        assert "keys_with_volatile_items=2" in c.do("INFO", "keyspace").decode()
        c.do("HPERSIST", "h", "FIELDS", 1, "b")
        c.do("DEL", "g")
        assert "keys_with_volatile_items=0" in c.do("INFO", "keyspace").decode()
