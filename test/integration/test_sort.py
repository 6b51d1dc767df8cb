# SPDX-License-Identifier: BSD-3-Clause
"""SORT with weights and results on any shards: one moment, in pipelines and EXEC, and what is stored is seen by who waits for it."""

import random
import re
import threading

import pytest

from resp import NULL_ARRAY, RespError, encode
from server import wait_for
from test_lent import run, run_exec


@pytest.fixture
def homes(server, shards):
    connections = [server.raw(timeout=60) for _ in range(2 * shards)]
    yield connections
    for c in connections:
        c.close()


def fill(c, n):
    """Nothing but the list of 0 .. n - 1, whose weights turn it round."""
    c.do("FLUSHALL")
    c.do("RPUSH", "list", *range(n))
    c.do("MSET", *[word for i in range(n) for word in ("w:%d" % i, n - i)])
    for i in range(n):
        c.do("HSET", "h:%d" % i, "f", "field%d" % i)


def texts(numbers):
    return [b"%d" % i for i in numbers]


@pytest.mark.parametrize("way", (run, run_exec))
def test_weights_and_results_lie_anywhere(homes, way):
    n = 40
    for c in homes:
        fill(c, n)
        down = texts(reversed(range(n)))
        calls = [
            ("SORT", "list", "BY", "w:*"), ("SORT_RO", "list", "BY", "w:*", "LIMIT", "0", "3", "GET", "h:*->f"),
            ("SORT", "list", "BY", "w:*", "STORE", "there"), ("LRANGE", "there", "0", "-1"), ("DEL", "w:0", "h:1"),
            ("SORT", "list", "BY", "w:*", "GET", "#", "GET", "h:*->f", "LIMIT", "0", "1"), ("SET", "w:0", n), ("SORT", "there", "STORE", "there"),
            ("LRANGE", "there", "0", "2"), ("SORT", "there", "BY", "w:*", "GET", "h:*->f", "LIMIT", str(n - 2), "5", "STORE", "w:1"),
            ("LRANGE", "w:1", "0", "-1"), ("SORT", "list", "BY", "x:*", "LIMIT", "1", "x"), ("SORT", "w:0", "BY", "w:*"), ("SORT", "none", "BY", "w:*"),
            ("SORT", "none", "BY", "w:*", "STORE", "there"), ("EXISTS", "there"),
        ]  # fmt: skip
        wrong_type = RespError("WRONGTYPE Operation against a key holding the wrong kind of value")
        assert way(c, calls) == [
            down, [b"field%d" % i for i in (n - 1, n - 2, n - 3)], n, down, 2, [b"0", b"field0"], "OK", n, texts((0, 1, 2)), 2, [b"", b"field0"],
            RespError("ERR value is not an integer or out of range"), wrong_type, [], 0, 0,
        ]  # fmt: skip


def test_all_is_seen_at_one_moment(server, shards):
    """Weights are turned round in one EXEC, again and again: no sort sees some that were and some that were not."""
    n, rounds = 30, 60
    names = ["w:%d" % i for i in range(n)]
    up, down = range(n), range(n, 0, -1)
    over = threading.Event()
    with server.raw(timeout=60) as c:
        c.do("FLUSHALL")
        c.do("RPUSH", "list", *random.sample(range(n), n))
        c.do("MSET", *[word for pair in zip(names, up) for word in pair])

        def turn():
            with server.raw(timeout=60) as writer:
                for i in range(100_000):
                    if over.is_set():
                        return
                    pairs = [str(word) for pair in zip(names, (up, down)[i % 2]) for word in pair]
                    half = len(pairs) // 4 * 2
                    run_exec(writer, [("MSET", *pairs[:half]), ("MSET", *pairs[half:])])

        writers = [threading.Thread(target=turn) for _ in range(2)]
        for t in writers:
            t.start()
        try:
            for i in range(rounds):
                sort = ("SORT", "list", "BY", "w:*")
                got = run_exec(c, [sort, sort])[0] if i % 2 else c.do(*sort)
                assert got in (texts(range(n)), texts(reversed(range(n))))
        finally:
            over.set()
            for t in writers:
                t.join()


def test_names_that_change_while_they_are_looked_for(server, shards):
    """A list gets other elements, whose weights are other keys, again and again; what is found is never of two such moments."""
    n, rounds = 12, 150
    over = threading.Event()
    sorts = [
        ("SORT", "list", "BY", "w:*", "GET", "#", "GET", "w:*", "GET", "h:*->f"),
        ("SORT_RO", "list", "BY", "h:*->f", "LIMIT", "3", "6", "GET", "#", "GET", "w:*", "GET", "h:*->f"),
    ]

    def commands(era):
        elements = ["%d:%d" % (era, i) for i in range(n)]
        gone = ["%s:%d:%d" % (kind, era - 1, i) for kind in "wh" for i in range(n)]
        weights = [word for i, name in enumerate(elements) for word in ("w:" + name, "%d" % (era * 100 + i))]
        hashes = [("HSET", "h:" + name, "f", "%d" % (era * 100 + i)) for i, name in enumerate(elements)]
        return [("DEL", "list", *gone), ("RPUSH", "list", *reversed(elements)), ("MSET", *weights), *hashes]

    with server.raw(timeout=60) as c:
        c.do("FLUSHALL")
        run_exec(c, commands(1))

        def change():
            with server.raw(timeout=60) as writer:
                for era in range(2, 100_000):
                    if over.is_set():
                        return
                    run_exec(writer, commands(era))

        writer = threading.Thread(target=change)
        writer.start()
        try:
            for i in range(rounds):
                sort = sorts[i % 2]
                got = run_exec(c, [sort])[0] if i % 10 == 9 else c.do(*sort)
                found = [tuple(got[j : j + 3]) for j in range(0, len(got), 3)]
                era = int(found[0][0].split(b":")[0])
                expect = [(b"%d:%d" % (era, j), *[b"%d" % (era * 100 + j)] * 2) for j in range(n)]
                assert found == (expect if i % 2 == 0 else expect[3:9])
        finally:
            over.set()
            writer.join()


def parked(c):
    return sum(int(count) for count in re.findall(rb"parked=(\d+)", c.do("INFO", "shards")))


def test_nobody_stands_still_for_a_few_names(homes):
    for c in homes:
        fill(c, 40)
        before = parked(c)
        for _ in range(3):
            c.do("SORT", "list", "BY", "w:*", "LIMIT", "0", "9", "GET", "h:*->f", "STORE", "there")
            c.do("SORT_RO", "there", "BY", "h:*->f", "ALPHA", "GET", "w:*")
        assert parked(c) == before


def test_more_names_than_are_looked_for(homes):
    """From some thousands on all shards are looked at together."""
    c, n = homes[0], 5000
    c.do("FLUSHALL")
    c.do("RPUSH", "list", *range(n))
    c.do("MSET", *[word for i in range(n) for word in ("w:%d" % i, n - i)])
    assert c.do("SORT", "list", "BY", "w:*", "LIMIT", "0", "3", "GET", "#") == texts((n - 1, n - 2, n - 3))
    assert c.do("SORT", "list", "BY", "w:*", "STORE", "there") == n
    assert c.do("LRANGE", "there", "0", "1") == texts((n - 1, n - 2))
    assert c.do("SORT", "list", "BY", "nosort", "LIMIT", "0", "5", "GET", "w:*") == texts(range(n, n - 5, -1))


def lookups(c):
    found = dict(line.split(":") for line in c.do("INFO", "stats").decode().split("\r\n") if line.startswith("keyspace_"))
    return int(found["keyspace_hits"]), int(found["keyspace_misses"])


@pytest.mark.parametrize("options, hits, misses", [
    (("BY", "w:*"), 6, 0), (("BY", "none:*"), 1, 5), (("BY", "w:*", "GET", "w:*", "GET", "none:*"), 11, 5), (("BY", "w:*", "STORE", "there"), 6, 0),
    (("BY", "w:*", "LIMIT", "1", "2", "GET", "h:*->f", "GET", "#", "GET", "none:*"), 8, 2), (("BY", "nosort", "GET", "h:*->g"), 6, 0),
])  # fmt: skip
def test_each_key_is_looked_up_once(homes, options, hits, misses):
    """Whatever it takes to find out which they are. The numbers are Valkey's."""
    for c in homes:
        fill(c, 5)
        before = lookups(c)
        c.do("SORT", "list", *options)
        after = lookups(c)
        assert (after[0] - before[0], after[1] - before[1]) == (hits, misses)


def test_fields_that_are_over_are_not_found(homes):
    for c in homes:
        fill(c, 8)
        c.do("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        for i in range(0, 8, 2):
            c.do("HPEXPIRE", "h:%d" % i, "1", "FIELDS", "1", "f")
        assert wait_for(lambda: all(c.do("HGET", "h:%d" % i, "f") is None for i in range(0, 8, 2)))
        assert c.do("SORT", "list", "BY", "w:*", "GET", "h:*->f") == [b"field%d" % i if i % 2 else None for i in range(7, -1, -1)]
        c.do("DEBUG", "SET-ACTIVE-EXPIRE", "1")


def test_many_sort_at_once(server, shards):
    """They meet at the keys that they read and store; all come to an end, and other commands between them."""
    with server.raw() as c:
        fill(c, 20)
    failed = []

    def client(seed):
        rng = random.Random(seed)
        with server.raw(timeout=60) as c:
            for _ in range(30):
                calls = [rng.choice([("SORT", "list", "BY", "w:*"), ("SORT", "list", "BY", "w:*", "STORE", "to:%d" % rng.randrange(9)), ("INCR", "n")]) for _ in range(3)]
                got = rng.choice((run, run_exec))(c, calls)
                if any(isinstance(reply, RespError) for reply in got):
                    failed.append(got)

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed


def test_what_is_stored_changes_its_key_for_who_watches(server, shards):
    with server.raw() as c, server.raw() as other:
        fill(c, 5)
        assert c.do("WATCH", "to") == "OK"
        assert other.do("SORT", "list", "BY", "w:*", "STORE", "to") == 5
        assert run(c, [("MULTI",), ("GET", "x"), ("EXEC",)])[-1] is NULL_ARRAY
        assert c.do("WATCH", "to") == "OK"
        assert other.do("SORT_RO", "list", "BY", "w:*", "GET", "to*") == [None] * 5
        assert run(c, [("MULTI",), ("GET", "x"), ("EXEC",)])[-1] == [None]


def test_what_is_stored_is_served_to_who_waits(server, shards):
    with server.raw(timeout=30) as waiting, server.raw() as c:
        fill(c, 5)
        for options in (["BY", "w:*"], ["DESC"]):
            waiting.send(encode("BLPOP", "to", "0"))
            assert wait_for(lambda: "blocked_clients:1" in c.do("INFO", "clients").decode())
            assert c.do("SORT", "list", *options, "STORE", "to") == 5
            assert waiting.read() == [b"to", b"4"]
            assert c.do("LLEN", "to") == 4
            c.do("DEL", "to")


def test_a_client_that_goes_leaves_nothing_behind(server, shards):
    """It has asked for sorts, and is gone before they run or while they do."""
    with server.raw(timeout=60) as c:
        fill(c, 50)
        for i in range(20):
            with server.raw() as gone:
                gone.send(encode("SORT", "list", "BY", "w:*", "STORE", "to") * 3)
                if i % 2:
                    c.do("PING")
            assert len(c.do("SORT", "list", "BY", "w:*")) == 50
        assert c.do("SET", "w:1", "1") == "OK"


@pytest.mark.parametrize("way", (run, run_exec))
def test_what_is_stored_is_published_once(server, shards, way):
    """Also by a thread that has parked the others, of their keys; and subscribers are anybody's."""
    with server.raw() as c:
        fill(c, 10)
        c.do("CONFIG", "SET", "notify-keyspace-events", "El")
        listeners = [server.raw(timeout=60) for _ in range(2 * shards)]
        for listener in listeners:
            listener.do("SUBSCRIBE", "__keyevent@0__:sortstore")

        def sorts(number):
            with server.raw(timeout=60) as own:
                calls = [("SORT", "list", "BY", "w:*", "STORE", "to:%d:%d" % (number, i)) for i in range(40)]
                assert way(own, calls) == [10] * 40

        threads = [threading.Thread(target=sorts, args=(number,)) for number in range(4)]
        for t in threads:
            t.start()
        expect = sorted(b"to:%d:%d" % (number, i) for number in range(4) for i in range(40))
        for listener in listeners:
            assert sorted(listener.read()[2] for _ in range(160)) == expect
        for t in threads:
            t.join()
        for listener in listeners:
            listener.close()
        c.do("CONFIG", "SET", "notify-keyspace-events", "")
