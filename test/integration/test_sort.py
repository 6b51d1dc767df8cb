# SPDX-License-Identifier: BSD-3-Clause
"""SORT with weights and results on any shards: one moment, in pipelines and EXEC, and what is stored is seen by who waits for it."""

import random
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


def test_many_sort_at_once(server, shards):
    """Each parks the others; all come to an end, and other commands between them."""
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
            wait_for(lambda: "blocked_clients:1" in c.do("INFO", "clients").decode())
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


def test_what_is_stored_in_view_is_published_once(server, shards):
    """The thread that has parked the others tells of their keys, and subscribers are anybody's."""
    with server.raw() as c:
        fill(c, 10)
        c.do("CONFIG", "SET", "notify-keyspace-events", "El")
        listeners = [server.raw(timeout=60) for _ in range(2 * shards)]
        for listener in listeners:
            listener.do("SUBSCRIBE", "__keyevent@0__:sortstore")

        def sorts(number):
            with server.raw(timeout=60) as own:
                calls = [("SORT", "list", "BY", "w:*", "STORE", "to:%d:%d" % (number, i)) for i in range(40)]
                assert run(own, calls) == [10] * 40

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
