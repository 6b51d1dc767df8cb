# SPDX-License-Identifier: BSD-3-Clause
"""Parked workers and views: DEBUG VIEW runs commands on keys of all shards, on one thread, while the others stand still."""

import threading

import pytest
from resp import NULL_ARRAY, encode

pytestmark = pytest.mark.shoal_only


def view(*commands):
    words = ["DEBUG", "VIEW"]
    for i, command in enumerate(commands):
        words += ([";"] if i else []) + list(command)
    return words


def test_a_view_runs_commands_on_keys_of_all_shards(server, raw):
    raw.do("FLUSHALL")
    sets = [("SET", "view:%d" % i, "v%d" % i) for i in range(40)]
    assert raw.do(*view(*sets)) == ["OK"] * 40
    gets = [("GET", "view:%d" % i) for i in range(40)]
    assert raw.do(*view(*gets)) == [b"v%d" % i for i in range(40)]
    answers = raw.do(*view(("DEL", "view:1"), ("EXISTS", "view:1"), ("INCR", "view:2")))
    assert answers[:2] == [1, 0] and "not an integer" in str(answers[2])
    assert raw.do("DBSIZE") == 39
    # What it wrote is as if each shard had done it itself: memory, deadlines, encodings.
    raw.do(*view(("SET", "view:3", "x" * 100000), ("EXPIRE", "view:4", "1000"), ("APPEND", "view:5", "more")))
    assert raw.do("STRLEN", "view:3") == 100000
    assert 990 < raw.do("TTL", "view:4") <= 1000
    assert raw.do("GET", "view:5") == b"v5more"
    raw.do("DEL", *["view:%d" % i for i in range(40)])
    assert raw.do("DBSIZE") == 0


def test_commands_in_a_view_are_counted(raw):
    raw.do("CONFIG", "RESETSTAT")
    raw.do(*view(*[("SET", "view:%d" % i, "x") for i in range(30)], *[("GET", "view:%d" % i) for i in range(7)]))
    text = raw.do("INFO", "commandstats").decode()
    assert "cmdstat_set:calls=30," in text and "cmdstat_get:calls=7," in text


def test_a_view_refuses_what_it_cannot_run(raw):
    for words in (["PING"], ["SET", "a"], ["NOSUCH", "a"], ["GET", "a", ";", ";", "GET", "b"], ["DBSIZE"], ["MGET", *["k%d" % i for i in range(50)]]):
        answer = raw.do("DEBUG", "VIEW", *words)
        if words[0] == "MGET" and not str(answer).startswith("ERR"):
            continue  # one shard
        assert str(answer).startswith("ERR DEBUG VIEW takes"), words
    raw.do("MULTI")
    raw.do("DEBUG", "VIEW", "GET", "a")
    assert str(raw.do("EXEC")[0]).startswith("ERR DEBUG VIEW is not for MULTI")


def test_a_view_fails_watched_keys(server, raw):
    with server.raw() as other:
        for i in range(20):
            other.do("WATCH", "view:%d" % i)
            raw.do(*view(("SET", "view:%d" % i, "x")))
            other.do("MULTI")
            other.do("PING")
            assert other.do("EXEC") == NULL_ARRAY


def test_views_of_several_clients_and_traffic_between_them(server, slow):
    """Sums stay what they are, no one hangs, and what waited while a worker was parked goes on in order."""
    names = ["park:%d" % i for i in range(8)]
    with server.raw() as c:
        for name in names:
            c.do("SET", name, 100)
    stop = threading.Event()
    errors = []

    def moves(n):
        try:
            with server.raw(timeout=60) as c:
                i = n
                while not stop.is_set():
                    a, b = names[i % 8], names[(i * 3 + 1) % 8]
                    answer = c.do(*view(("DECR", a), ("INCR", b)))
                    assert len(answer) == 2, answer
                    i += 1
        except Exception as e:  # noqa: BLE001
            errors.append(e)

    def traffic(n):
        try:
            with server.raw(timeout=60) as c:
                i = 0
                while not stop.is_set():
                    c.send(b"".join(encode("SET", "t%d:%d" % (n, j), i) for j in range(30)) + b"".join(encode("GET", "t%d:%d" % (n, j)) for j in range(30)))
                    assert c.read_some(60)[30:] == [b"%d" % i] * 30
                    i += 1
        except Exception as e:  # noqa: BLE001
            errors.append(e)

    threads = [threading.Thread(target=moves, args=(n,)) for n in range(3)] + [threading.Thread(target=traffic, args=(n,)) for n in range(3)]
    for t in threads:
        t.start()
    try:
        with server.raw(timeout=60) as c:
            for _ in range(60):
                assert sum(int(v) for v in c.do("MGET", *names)) == 800
                assert sum(int(v) for v in c.do(*view(*[("GET", n) for n in names]))) == 800
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not errors, errors[0]
    if slow == 1:
        assert server.late_wakeups() == 0


def test_clients_that_leave_and_come_while_workers_are_parked(server):
    stop = threading.Event()
    errors = []

    def parks():
        try:
            with server.raw(timeout=60) as c:
                while not stop.is_set():
                    c.do(*view(*[("SET", "p:%d" % i, "x" * 2000) for i in range(200)]))
        except Exception as e:  # noqa: BLE001
            errors.append(e)

    thread = threading.Thread(target=parks)
    thread.start()
    try:
        for i in range(300):
            c = server.raw()
            c.send(encode("WATCH", "p:1") + encode("SET", "q:%d" % (i % 16), "y" * (100000 if i % 10 == 0 else 10)) + encode("GET", "p:%d" % (i % 16)))
            if i % 2 == 0:
                assert c.read_some(2) == ["OK", "OK"]
            c.close()
    finally:
        stop.set()
        thread.join()
    assert not errors, errors[0]
    with server.raw() as c:
        assert c.do("PING") == "PONG"
