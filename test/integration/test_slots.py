# SPDX-License-Identifier: BSD-3-Clause
"""Slots that go from one shard to another while clients use them: DEBUG MOVE-SLOT."""

import random
import re
import threading

import pytest

from resp import NULL_ARRAY, RespError, encode
from server import wait_for
from slots import slot


@pytest.fixture(autouse=True)
def only_here(kind):
    if kind != "shoal":
        pytest.skip("DEBUG MOVE-SLOT is Shoal's")  # others have one thread of data and no shard to move to


def move(c, at, shard):
    """Until nothing is in its way."""
    answers = []

    def moved():
        answers.append(c.do("DEBUG", "MOVE-SLOT", at, shard))
        return not (isinstance(answers[-1], RespError) and answers[-1].startswith("BUSYSLOT"))

    wait_for(moved)
    assert answers[-1] == "OK", answers[-1]


def scanned(c, *options):
    cursor, keys = b"0", []
    while True:
        cursor, some = c.do("SCAN", cursor, *options)
        keys += some
        if cursor == b"0":
            return sorted(keys)


def test_what_is_no_slot_or_no_shard_is_refused(raw, shards):
    for wrong in ("-1", "16384", "x", ""):
        assert raw.do("DEBUG", "MOVE-SLOT", wrong, "0").startswith("ERR Invalid or out of range slot")
    for wrong in ("-1", str(shards), "x"):
        assert raw.do("DEBUG", "MOVE-SLOT", "1", wrong).startswith("ERR No such shard")
    raw.do("MULTI")
    raw.do("DEBUG", "MOVE-SLOT", "1", "0")
    assert raw.do("EXEC")[0].startswith("ERR DEBUG MOVE-SLOT is not for MULTI")


def test_a_slot_does_not_move_inside_exec_even_if_that_has_everything_locked(r, raw, shards):
    """What comes behind it is planned by the table as it was: it went to the old owner, where nobody looks."""
    for to in range(shards):
        raw.do("MULTI")
        for call in (["FLUSHALL"], ["DEBUG", "MOVE-SLOT", slot(b"key"), to], ["SET", "key", "v"], ["DEBUG", "VIEW", "GET", "key"]):
            assert raw.do(*call) == "QUEUED"
        flushed, moved, is_set, viewed = raw.do("EXEC")
        assert (flushed, is_set, raw.do("GET", "key")) == ("OK", "OK", b"v")
        assert moved == "ERR DEBUG MOVE-SLOT is not for MULTI" and viewed == "ERR DEBUG VIEW is not for MULTI"


def test_moving_a_slot_is_counted_and_answered_once(raw, shards):
    """It goes on as a transaction, and so is over only with that: it was counted when it began, too."""
    if shards == 1:
        pytest.skip("there is no other shard")  # the rows of 2 and 4 shards run it
    raw.do("CONFIG", "RESETSTAT")
    asked = 4
    for i in range(asked):
        raw.do("DEBUG", "MOVE-SLOT", 1, 1 - i % 2)
    assert raw.do("PING", "still in order") == b"still in order"
    calls = int(re.search(r"cmdstat_debug:calls=(\d+)", raw.do("INFO", "commandstats").decode()).group(1))
    assert calls == asked


def test_a_slot_is_handed_over_with_all_its_keys(r, raw, shards):
    names = ["{a}small", "{a}number", "{a}large", "{a}mortal", "{b}other", "{a}raw"]
    raw.do("SET", "{a}small", "v")
    raw.do("SET", "{a}number", "12345")
    raw.do("SET", "{a}large", "x" * 100_000)
    raw.do("SET", "{a}mortal", "m", "PX", 10_000_000)
    raw.do("SET", "{b}other", "o")
    raw.do("APPEND", "{a}raw", "abc")
    raw.do("SELECT", "3")
    raw.do("SET", "{a}small", "of database 3")
    raw.do("SELECT", "0")
    digest = raw.do("DEBUG", "DIGEST")
    encodings = [raw.do("OBJECT", "ENCODING", n) for n in names]
    for shard in list(range(shards)) * 2:
        move(raw, slot(b"a"), shard)
        assert raw.do("DEBUG", "DIGEST") == digest
        assert [raw.do("OBJECT", "ENCODING", n) for n in names] == encodings
        assert raw.do("DBSIZE") == 6
        assert scanned(raw) == sorted(n.encode() for n in names)
        assert scanned(raw, "MATCH", "{a}*") == sorted(n.encode() for n in names if n.startswith("{a}"))
        assert sorted(raw.do("KEYS", "{a}*")) == sorted(n.encode() for n in names if n.startswith("{a}"))
        assert 0 < raw.do("PTTL", "{a}mortal") <= 10_000_000
        assert raw.do("MGET", *names)[0] == b"v"


def test_what_runs_out_does_so_where_it_is(r, raw, shards):
    for shard in range(shards):
        raw.do("SET", "{a}mortal", "m", "PX", 150)
        move(raw, slot(b"a"), shard)
        assert wait_for(lambda: raw.do("DBSIZE") == 0)
    assert int(re.search(rb"expired_keys:(\d+)", raw.do("INFO", "stats"))[1]) == shards


def test_keys_are_scanned_once_wherever_their_slots_are(r, raw, shards):
    raw.do("DEBUG", "POPULATE", 3000)
    for at in range(0, 16384, 7):
        move(raw, at, at % shards)
    assert scanned(raw, "COUNT", 100) == sorted(b"key:%d" % i for i in range(3000))
    assert sorted(raw.do("KEYS", "*")) == sorted(b"key:%d" % i for i in range(3000))


def test_a_watched_slot_stays(server, r, raw, shards):
    tag = "a"
    with server.raw() as other:
        raw.do("WATCH", "{a}w")
        for shard in range(shards):
            other.do("DEBUG", "MOVE-SLOT", slot(tag.encode()), shard)
        other.do("SET", "{a}w", "changed")
        raw.do("MULTI")
        raw.do("SET", "{a}w", "mine")
        assert raw.do("EXEC") == NULL_ARRAY
        raw.do("WATCH", "{a}w")
        raw.do("UNWATCH")
        for shard in range(shards):
            move(other, slot(tag.encode()), shard)


class Mover(threading.Thread):
    def __init__(self, server, slots, shards, stop):
        super().__init__()
        self.server, self.slots, self.shards, self.over = server, slots, shards, stop
        self.moved = 0

    def run(self):
        with self.server.raw(timeout=60) as c:
            while not self.over.is_set():
                answer = c.do("DEBUG", "MOVE-SLOT", random.choice(self.slots), random.randrange(self.shards))
                if answer == "OK":
                    self.moved += 1
                else:
                    assert answer.startswith("BUSYSLOT"), answer


def counts(server, index, over, failures):
    """One who counts: each reply is one more than the last, whatever moves."""
    try:
        with server.raw(timeout=60) as c:
            keys = ["{%s}n%d" % (tag, index) for tag in "abcdefgh"]
            seen = {k: 0 for k in keys}
            while not over.is_set():
                asked = [random.choice(keys) for _ in range(random.randrange(1, 120))]
                c.send(b"".join(encode("INCR", k) for k in asked))
                for k, answer in zip(asked, c.read_some(len(asked))):
                    seen[k] += 1
                    assert answer == seen[k], (k, answer, seen[k])
    except Exception as e:  # noqa: BLE001: told by the test
        failures.append(repr(e))


def carries(server, index, over, failures):
    """One who moves money between slots, by MULTI, and who writes and reads two slots at once."""
    try:
        with server.raw(timeout=60) as c:
            while not over.is_set():
                a, b = random.sample("abcdefgh", 2)
                c.send(b"".join([encode("MULTI"), encode("DECR", "{%s}sum" % a), encode("INCR", "{%s}sum" % b), encode("EXEC")]))
                assert len(c.read_some(4)[3]) == 2
                value = "%d:%d" % (index, random.randrange(1 << 30))
                c.send(b"".join([encode("MSET", "{%s}p%d" % (a, index), value, "{%s}p%d" % (b, index), value)] * 3 + [encode("MGET", "{%s}p%d" % (a, index), "{%s}p%d" % (b, index))]))
                assert c.read_some(4)[3] == [value.encode()] * 2
                total = c.do("MGET", *["{%s}sum" % tag for tag in "abcdefgh"])
                assert sum(int(v or 0) for v in total) == 0, total
    except Exception as e:  # noqa: BLE001: told by the test
        failures.append(repr(e))


@pytest.mark.several_shards
def test_who_uses_slots_that_move_does_not_notice(server, r, raw, shards):
    over, failures = threading.Event(), []
    slots = [slot(tag.encode()) for tag in "abcdefgh"]
    mover = Mover(server, slots, shards, over)
    users = [threading.Thread(target=counts, args=(server, i, over, failures)) for i in range(3)]
    users += [threading.Thread(target=carries, args=(server, i, over, failures)) for i in range(3)]
    for t in users + [mover]:
        t.start()

    def moved_ops():
        return sum(int(n) for n in re.findall(rb"ops_moved=(\d+)", raw.do("INFO", "shards")))

    assert wait_for(lambda: failures or (mover.moved > 200 and moved_ops() > 20), seconds=60)
    over.set()
    for t in users + [mover]:
        t.join(60)
    assert not failures, failures
