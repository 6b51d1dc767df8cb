# SPDX-License-Identifier: BSD-3-Clause
"""Many clients that do the same at once: what is done for each of them in one turn must be bounded, and nobody may be
left out where the work goes on in the next. That none of it grows with the square is proved where it can be counted:
test/unit/growth.h."""

import contextlib
import re
import sys

import pytest

from resp import encode
from server import wait_for

MB = 1 << 20
CROWD = 700  # more than two turns' share of anything


@pytest.fixture
def crowd(server):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(server.raw(timeout=60)) for _ in range(CROWD)]


def ids_of(clients):
    for c in clients:
        c.send(encode("CLIENT", "ID"))
    return [c.read() for c in clients]


def listed(c, *words):
    return [int(n) for n in re.findall(rb"^(?:txt:)?id=(\d+)", c.do("CLIENT", "LIST", *words), re.M)]


def blocked(server):
    return int(server.info("clients")["blocked_clients"])


def test_a_crowd_whose_waits_end_together(server, crowd):
    for c in crowd:
        c.send(encode("WAIT", "1", "400") + encode("PING"))
    assert [(c.read(), c.read()) for c in crowd] == [(0, "PONG")] * CROWD
    assert blocked(server) == 0


def test_a_crowd_that_waits_for_ever_is_let_go_one_by_one(server, crowd):
    """Each UNBLOCK looked at all clients."""
    ids = ids_of(crowd)
    for c in crowd:
        c.send(encode("WAIT", "1", "0"))
    assert wait_for(lambda: blocked(server) == CROWD)
    with server.raw() as c:
        c.send(b"".join(encode("CLIENT", "UNBLOCK", i) for i in ids))
        assert [c.read() for _ in ids] == [1] * CROWD
        assert c.do("CLIENT", "UNBLOCK", ids[0]) == 0
    assert [c.read() for c in crowd] == [0] * CROWD


def test_a_crowd_with_deadlines_of_all_kinds(server, crowd):
    """In no order, some for ever; some of them hang up before."""
    for i, c in enumerate(crowd):
        c.send(encode("WAIT", "1", 0 if i % 7 == 0 else 300 + i * 37 % 500))
    for c in crowd[1::5]:
        c.close()
    for i, c in enumerate(crowd):
        if i % 7 and i % 5 != 1:
            assert c.read() == 0
    assert wait_for(lambda: blocked(server) == sum(1 for i in range(CROWD) if i % 7 == 0 and i % 5 != 1))


def test_a_crowd_is_listed_and_killed_whole(server, crowd):
    ids = ids_of(crowd)
    with server.raw() as c:
        own = c.do("CLIENT", "ID")
        everybody = listed(c)
        assert everybody == sorted(everybody)
        assert set(ids) | {own} <= set(everybody)
        some = ids[::3]
        mixed = [i for pair in zip(reversed(some), some) for i in pair]  # in no order, and each twice
        assert listed(c, "ID", *mixed) == sorted(some)
        assert c.do("CLIENT", "KILL", "ID", *mixed) == len(some)
        assert not set(some) & set(listed(c))
        others = set(ids) - set(some)
        assert others <= set(listed(c, "NOT-ID", *some))
        assert c.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") >= len(others)
        assert listed(c) == [own]
    assert all(c.is_closed(60) for c in crowd)


def test_a_crowd_for_one_key_beside_who_writes_several(server, crowd):
    """Whoever gives the key back lets all go on that wait for it; each keeps the order of its own requests."""
    rounds = 3
    with server.raw(timeout=60) as writer:
        writer.do("FLUSHALL")
        writer.do("MSET", "hot", 0, "cold1", 0, "cold2", 0)
        for i, c in enumerate(crowd):
            c.send(b"".join(encode("GET", "hot") + encode("INCR", "own%d" % i) for _ in range(rounds)))
            if i % 10 == 0:
                writer.send(encode("MSET", "hot", i, "cold1", i, "cold2", i))
            if i % 50 == 0:
                c.send(encode("MGET", "cold1", "hot", "cold2"))
        assert [writer.read() for _ in range(0, CROWD, 10)] == ["OK"] * (CROWD // 10)
        for i, c in enumerate(crowd):
            seen = []
            for n in range(rounds):
                seen.append(int(c.read()))
                assert c.read() == n + 1
            assert seen == sorted(seen)
            if i % 50 == 0:
                assert len(set(c.read())) == 1


def test_of_a_crowd_the_largest_are_evicted(start_server):
    """As many as must go, and no other: each was looked for among all."""
    s = start_server()
    count = 120
    with contextlib.ExitStack() as stack:
        admin = stack.enter_context(s.raw())
        assert admin.do("CLIENT", "NO-EVICT", "ON") == "OK"
        clients = [stack.enter_context(s.raw()) for _ in range(count)]
        ids = ids_of(clients)
        sizes = [100_000 + i * 7919 % count * 5000 for i in range(count)]
        for c, size in zip(clients, sizes):
            c.send(b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % (size + 10_000) + b"x" * size)

        def memory():
            return int(s.info("memory")["mem_clients_normal"])

        size_of = dict(zip(ids, sizes))

        def memory_of_each():
            """Of those that have been read whole: buffers have room that depends on the pieces in which it came."""
            fields = re.findall(rb"id=(\d+) .* qbuf=(\d+) .* tot-mem=(\d+)", admin.do("CLIENT", "LIST"))
            return {int(i): int(total) for i, qbuf, total in fields if int(qbuf) >= size_of.get(int(i), sys.maxsize)}

        assert wait_for(lambda: len(memory_of_each()) == count)
        of_each = memory_of_each()
        assert admin.do("CONFIG", "SET", "maxmemory-clients", memory() // 2) == "OK"
        assert wait_for(lambda: memory() <= int(admin.do("CONFIG", "GET", "maxmemory-clients")[1]))
        evicted = int(s.info("stats")["evicted_clients"])
        assert 0 < evicted < count
        left = set(listed(admin))
        assert len(ids) - len(left & set(ids)) == evicted
        assert min(of_each[i] for i in ids if i not in left) >= max(of_each[i] for i in ids if i in left)


def test_the_longest_turn_is_told_and_forgotten(server):
    """For who runs it: how long a thread has kept its other clients waiting."""

    def longest(c):
        text = c.do("INFO", "shards").decode()
        turns = [int(us) for us in re.findall(r"longest_turn_us=(\d+)", text)]
        return max(turns)

    with server.raw(timeout=60) as c:
        c.do("DEBUG", "SLEEP", "0.6")
        assert longest(c) >= 600_000
        c.do("CONFIG", "RESETSTAT")
        assert longest(c) < 600_000
