# SPDX-License-Identifier: BSD-3-Clause
"""Memory that is freed goes back to the system, whatever its size and whichever way it was freed, and soon."""

import random
import socket
import time

import pytest

from resp import encode
from server import wait_for

pytestmark = [pytest.mark.shoal_only, pytest.mark.slow, pytest.mark.row_pair]

MB = 1 << 20
TOTAL = 100 * MB
SIZES = (4096, 6000, 16_384, 30_000, 40_000, 100_000, 300_000, MB, 4 * MB)


@pytest.fixture(autouse=True)
def needs_plain_build(slow):
    if slow > 1:
        pytest.skip("a sanitizer's allocator keeps what was freed")


@pytest.fixture
def conn(server):
    with server.raw(timeout=60) as c:
        c.do("FLUSHALL")
        yield c
        c.do("FLUSHALL")


def budget(server):
    return int(server.info("memory")["used_memory"]) * 1.2 + 15 * MB


def check_comes_back(server, filled=TOTAL):
    """By itself, within a moment, down to what is in use."""
    assert wait_for(lambda: server.rss_anonymous() <= budget(server)), "%d MB resident, %s" % (server.rss_anonymous() // MB, server.info("memory"))


def send_all(c, requests):
    """Requests in parts, so that neither side has to hold all of them."""
    part, size, replies = [], 0, []
    for request in requests:
        part.append(encode(*request))
        size += len(part[-1])
        if size > MB or len(part) == 500:
            c.send(b"".join(part))
            replies += c.read_some(len(part))
            part, size = [], 0
    if part:
        c.send(b"".join(part))
        replies += c.read_some(len(part))
    return replies


def fill(c, size, total=TOTAL, extra=()):
    keys = ["k%d" % i for i in range(total // size)]
    value = b"v" * size
    assert set(send_all(c, (["SET", k, value, *extra] for k in keys))) == {"OK"}
    return keys


WAYS = {
    "del": lambda c, keys: send_all(c, (["DEL", k] for k in keys)),
    "del of many": lambda c, keys: send_all(c, (["DEL", *keys[i : i + 100]] for i in range(0, len(keys), 100))),
    "unlink": lambda c, keys: send_all(c, (["UNLINK", k] for k in keys)),
    "flushall sync": lambda c, keys: c.do("FLUSHALL", "SYNC"),
    "flushall async": lambda c, keys: c.do("FLUSHALL", "ASYNC"),
    "flushdb": lambda c, keys: c.do("FLUSHDB"),
    "overwriting": lambda c, keys: send_all(c, (["SET", k, "small"] for k in keys)),
    "getdel": lambda c, keys: send_all(c, (["GETDEL", k] for k in keys)),
    "expiry": lambda c, keys: send_all(c, (["PEXPIRE", k, 50] for k in keys)),
    "rename over": lambda c, keys: send_all(c, (r for i, k in enumerate(keys) for r in (["SET", "s%d" % i, "x"], ["RENAME", "s%d" % i, k]))),
    "getset": lambda c, keys: send_all(c, (["GETSET", k, "small"] for k in keys)),
    "mset": lambda c, keys: send_all(c, (["MSET", k, "small"] for k in keys)),
    "copy over": lambda c, keys: send_all(c, [["SET", "s", "x"]] + [["COPY", "s", k, "REPLACE"] for k in keys]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", (4096, 30_000, 40_000, MB))
def test_after_every_way_of_deleting(server, conn, size, way):
    keys = fill(conn, size)
    assert server.rss() > TOTAL * 9 // 10
    WAYS[way](conn, keys)
    check_comes_back(server)


@pytest.mark.parametrize("size", SIZES)
def test_after_values_of_every_size(server, conn, size):
    keys = fill(conn, size)
    send_all(conn, (["DEL", k] for k in keys))
    check_comes_back(server)


@pytest.mark.parametrize("size", SIZES)
def test_when_some_are_left(server, conn, size):
    """Every second one, at random, and then all but one in ten."""
    rng = random.Random(size)
    keys = fill(conn, size)
    for part in (0.5, 0.8):
        gone = {k for k in keys if rng.random() < part}
        send_all(conn, (["DEL", k] for k in gone))
        keys = [k for k in keys if k not in gone]
        check_comes_back(server)
    assert set(send_all(conn, (["STRLEN", k] for k in keys))) <= {size}


def test_after_values_that_grew(server, conn):
    for round in range(2):
        send_all(conn, (["APPEND", "g%d" % (i % 40), b"a" * 50_000] for i in range(2000)))
        send_all(conn, (["SETRANGE", "r%d" % (i % 40), i // 40 * 70_000, "x"] for i in range(1200)))
        check_comes_back(server)
        conn.do("FLUSHALL")
        check_comes_back(server)


def test_after_a_gigabyte_of_all_sizes(server, conn):
    rng = random.Random(1)
    keys, total = [], 0
    while total < 1000 * MB:
        keys.append(("m%d" % len(keys), int(2 ** rng.uniform(3, 22))))
        total += keys[-1][1]
    send_all(conn, (["SET", k, b"m" * n] for k, n in keys))
    check_comes_back(server)
    rng.shuffle(keys)
    send_all(conn, (["DEL", k] for k, _ in keys[: len(keys) // 2]))
    check_comes_back(server)
    conn.do("FLUSHALL")
    check_comes_back(server)


def test_copies_between_shards_leave_nothing(server, conn):
    """They pass through a keyspace of their own."""
    keys = fill(conn, 100_000, 30 * MB)
    send_all(conn, (["COPY", k, "copy of " + k] for k in keys))
    send_all(conn, (["RENAME", "copy of " + k, "renamed " + k] for k in keys))
    conn.do("FLUSHALL")
    check_comes_back(server)


@pytest.mark.parametrize("size", (100, 20_000, 200_000))
def test_after_queues_that_were_discarded(server, conn, size):
    for end in ("DISCARD", "RESET", None):
        with server.raw(timeout=60) as c:
            c.do("MULTI")
            send_all(c, (["SET", "q", b"q" * size] for _ in range(min(60 * MB // size, 100_000))))
            if end:
                c.do(end)
    check_comes_back(server)


def test_after_half_requests(server, conn):
    """Their clients leave in the middle of a big bulk, or of very many words."""
    starts = (
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$20000000\r\n" + b"h" * 8_000_000,
        b"*100000\r\n" + b"$3\r\nSET\r\n" * 99_000,
        b"*1000\r\n" + b"$20000\r\n%s\r\n" % (b"h" * 20_000) * 300,
    )
    for start in starts:
        clients = []
        for _ in range(10):
            c = server.raw(timeout=60)
            c.send(start)
            clients.append(c)
        assert wait_for(lambda: int(server.info("memory")["mem_clients_normal"]) > 5 * MB)
        for i, c in enumerate(clients):
            if i % 2:
                c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            c.close()
        check_comes_back(server)


def test_after_replies_that_nobody_read(server, conn):
    conn.do("SET", "big", b"b" * MB)
    conn.do("SET", "mid", b"m" * 20_000)
    for key, times in (("big", 100), ("mid", 2000)):
        clients = [server.raw(timeout=60, rcvbuf=4096) for _ in range(5)]
        for c in clients:
            c.send(encode("GET", key) * times)
        time.sleep(0.3)
        conn.do("DEL", "big") if key == "big" else None
        for c in clients:
            c.close()
        check_comes_back(server)


@pytest.mark.timing
def test_after_a_burst_of_transactions(server, conn, shards):
    """Each kept room for replies on every shard, for ever: none is kept that nobody has needed for a while, and what is kept is counted."""

    def overhead():
        memory = server.info("memory")
        return int(memory["used_memory_overhead"]) - int(memory["used_memory_startup"])

    conn.do("MEMORY", "PURGE")
    conn.do("SET", "b", 1)
    assert wait_for(lambda: overhead() < 4 * MB)  # what tests before this one have left
    rest, before = overhead(), server.rss()
    clients = [server.raw(timeout=60) for _ in range(100)]
    keys = ["k%d" % i for i in range(50)]
    for _ in range(3):
        for c in clients:
            c.send(encode("MGET", *keys) * 20 + encode("MULTI") + encode("GET", "a") + encode("SET", "b", 1) + encode("EXEC") + encode("GET", "c") * 20)
        for c in clients:
            c.read_some(44)
    assert overhead() > rest + 100_000
    for c in clients:
        c.close()
    assert wait_for(lambda: overhead() < rest + 30_000 * shards), server.info("memory")
    assert wait_for(lambda: server.rss() < before + 4 * MB), (before, server.rss())


@pytest.mark.timing
@pytest.mark.parametrize("mode", ["SYNC", "ASYNC"])
def test_purge_does_it_at_once(server, conn, mode):
    for size in (6000, MB):
        fill(conn, size)
        conn.do("FLUSHALL", mode)  # ASYNC: what still waits to be freed is waited for
        assert conn.do("MEMORY", "PURGE") == "OK"
        assert server.rss_anonymous() <= budget(server)


def test_room_is_used_again_by_other_sizes(start_server):
    s = start_server()
    with s.raw(timeout=60) as c:
        for size in (100_000, 100, MB, 1000, 20_000, 100):
            fill(c, size, 60 * MB)
            c.do("FLUSHALL", "SYNC")
    with open("/proc/%d/status" % s.pid) as f:
        peak = next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))
    most = int(s.info("memory")["used_memory_peak"])
    assert peak < most * 1.5 + 20 * MB, (peak, most)  # it was 2.5 and more


def walked(server):
    """What walks against fragmentation have done, once none is left to make."""
    assert wait_for(lambda: server.info("memory")["active_defrag_running"] == "0")
    return {name: int(value) for name, value in server.info("stats").items() if "active_defrag" in name}


def fragment(c):
    keys = fill(c, 200, 40 * MB)
    random.Random(3).shuffle(keys)
    gone = keys[: len(keys) * 9 // 10]
    send_all(c, (["DEL", *gone[i : i + 100]] for i in range(0, len(gone), 100)))


@pytest.mark.timing
def test_activedefrag_takes_the_time_it_is_given(start_server):
    """Without it a walk has little of each millisecond."""
    s = start_server()
    a_ms = {}
    with s.raw(timeout=60) as c:
        settings = ("active-defrag-ignore-bytes", 1, "active-defrag-threshold-lower", 1, "active-defrag-threshold-upper", 2,
                    "active-defrag-cycle-max", 90, "active-defrag-cycle-us", 900)  # fmt: skip
        assert c.do("CONFIG", "SET", *settings) == "OK"
        for word in ("no", "yes"):
            assert c.do("CONFIG", "SET", "activedefrag", word) == "OK"
            walked(s)
            assert c.do("CONFIG", "RESETSTAT") == "OK"
            fragment(c)
            done = walked(s)
            assert done["active_defrag_hits"] >= done["active_defrag_key_hits"] > 0
            assert done["active_defrag_misses"] >= done["active_defrag_key_misses"] > 0
            a_ms[word] = (done["active_defrag_hits"] + done["active_defrag_misses"]) / done["total_active_defrag_time"]
            c.do("FLUSHALL", "SYNC")
    assert a_ms["yes"] > 1.25 * a_ms["no"], a_ms


def test_the_doctor_knows_the_remedy(server, conn):
    """When much less is in use than there was."""
    keys = fill(conn, 10_000, 30 * MB)
    assert wait_for(lambda: int(server.info("memory")["used_memory_peak"]) > 30 * MB)  # it is looked at now and then
    peak = int(server.info("memory")["used_memory_peak"])
    send_all(conn, (["DEL", k] for k in keys[: len(keys) * 3 // 4]))
    assert wait_for(lambda: int(server.info("memory")["used_memory"]) < peak / 2)
    advice = conn.do("MEMORY", "DOCTOR").decode()
    assert " * Peak: " in advice and "MEMORY PURGE" in advice
    conn.do("FLUSHALL", "SYNC")
    assert wait_for(lambda: b"too little data" in conn.do("MEMORY", "DOCTOR"))
