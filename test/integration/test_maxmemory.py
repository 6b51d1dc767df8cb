# SPDX-License-Identifier: BSD-3-Clause
"""maxmemory: what goes, what stays, what is refused, and that the budget is kept whatever shard needs room."""

import random
import re
import threading

import pytest

from resp import RespError, encode
from server import wait_for

OOM = "OOM command not allowed when used memory > 'maxmemory'."
MB = 1 << 20
EVICTING = ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"]


@pytest.fixture
def conn(server):
    with server.raw(timeout=60) as c:
        reset(c)
        server.used_empty = min(getattr(server, "used_empty", used(server)), used(server))
        yield c
        reset(c)


def reset(c):
    c.do("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction", "maxmemory-samples", "5",
         "lazyfree-lazy-eviction", "yes", "notify-keyspace-events", "")
    c.do("FLUSHALL", "SYNC")
    c.do("CONFIG", "RESETSTAT")


def used(server):
    return int(server.info("memory")["used_memory"])


def stat(server, name):
    return int(server.info("stats")[name])


def limit(server, c, policy, more):
    """So much more than now."""
    bytes_max = used(server) + more
    assert c.do("CONFIG", "SET", "maxmemory-policy", policy, "maxmemory", str(bytes_max)) == "OK"
    return bytes_max


def pipeline(c, requests, part=200):
    replies = []
    for i in range(0, len(requests), part):
        c.send(b"".join(encode(*r) for r in requests[i : i + part]))
        replies += c.read_some(len(requests[i : i + part]))
    return replies


def check_budget(server, bytes_max):
    """What one command took on each shard, and the buffers of who asks, may come on top."""
    assert used(server) <= bytes_max * 1.01 + MB


@pytest.mark.parametrize("policy", EVICTING)
def test_the_budget_is_kept_and_nothing_is_refused(server, conn, policy):
    bytes_max = limit(server, conn, policy, 4 * MB)
    rng = random.Random(5)
    for _ in range(8):
        requests = [("SET", "key:%d" % rng.randrange(10**9), b"x" * rng.choice((10, 100, 1000, 5000)), "EX", 10000) for _ in range(1000)]
        assert [r for r in pipeline(conn, requests) if r != "OK"] == []
        check_budget(server, bytes_max)
    assert used(server) > bytes_max - 2 * MB, "no more has gone than had to"
    conn.do("CONFIG", "SET", "maxmemory", "0")
    assert stat(server, "evicted_keys") == 8000 - conn.do("DBSIZE")


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"])
def test_what_cannot_be_freed_is_refused(server, conn, policy):
    bytes_max = limit(server, conn, policy, 3 * MB)
    replies = pipeline(conn, [("SET", "key:%d" % i, b"x" * 1000) for i in range(8000)])
    assert set(map(str, replies)) == {"OK", OOM}
    check_budget(server, bytes_max)
    assert used(server) > bytes_max - 2 * MB  # buffers that were there at first may have gone
    assert conn.do("DBSIZE") == replies.count("OK")
    assert stat(server, "evicted_keys") == 0
    # What needs none goes on, and makes room.
    stored = [i for i, r in enumerate(replies) if r == "OK"]
    assert conn.do("GET", "key:%d" % stored[0]) == b"x" * 1000
    assert conn.do("PERSIST", "key:%d" % stored[0]) == 0
    assert conn.do("DEL", *["key:%d" % i for i in stored[: len(stored) // 2]]) == len(stored) // 2
    assert conn.do("SET", "key", "value") == "OK"
    assert "errorstat_OOM" in server.info("errorstats")


@pytest.mark.parametrize("policy", EVICTING[3:])
def test_only_keys_with_a_deadline_go(server, conn, policy):
    bytes_max = limit(server, conn, policy, 4 * MB)
    requests = [("SET", "stays:%d" % i, b"x" * 1000) for i in range(2000)]
    requests += [("SET", "goes:%d" % i, b"x" * 1000, "EX", 10000) for i in range(5000)]
    random.Random(3).shuffle(requests)
    assert set(pipeline(conn, requests)) == {"OK"}
    check_budget(server, bytes_max)
    assert conn.do("EXISTS", *["stays:%d" % i for i in range(2000)]) == 2000
    assert stat(server, "evicted_keys") > 1000


@pytest.mark.parametrize("policy", EVICTING)
def test_a_lower_limit_is_reached(server, conn, policy):
    pipeline(conn, [("SET", "key:%d" % i, b"x" * 1000, "EX", 10000) for i in range(5000)])
    bytes_max = used(server) - 3 * MB
    conn.do("CONFIG", "SET", "maxmemory-policy", policy, "maxmemory", str(bytes_max))
    assert wait_for(lambda: used(server) <= bytes_max + 50_000)
    conn.do("CONFIG", "SET", "maxmemory", "0")
    keys = conn.do("DBSIZE")
    assert 1000 < keys < 3500
    assert stat(server, "evicted_keys") == 5000 - keys


def write_until_evicted(server, c, name, keys, options=()):
    """How many that took."""
    i = 0
    while stat(server, "evicted_keys") < keys:
        assert set(pipeline(c, [("SET", "%s:%d" % (name, j), b"x" * 500, *options) for j in range(i, i + 100)])) == {"OK"}
        i += 100
    return i


def test_the_oldest_go(server, conn):
    # What tests before have left goes in slices, and a limit is set from what is used.
    assert wait_for(lambda: used(server) < server.used_empty + MB)
    limit(server, conn, "allkeys-lru", 4 * MB)
    pipeline(conn, [("SET", "old:%d" % i, b"x" * 500) for i in range(2000)])
    # The clock of LRU counts seconds.
    clock = server.info("server")["lru_clock"]
    assert wait_for(lambda: int(server.info("server")["lru_clock"]) > int(clock) + 1)
    n = write_until_evicted(server, conn, "new", 500)
    conn.do("CONFIG", "SET", "maxmemory", "0")
    news = conn.do("EXISTS", *["new:%d" % i for i in range(n)])
    olds = conn.do("EXISTS", *["old:%d" % i for i in range(2000)])
    assert n - news < (2000 - olds) / 2


@pytest.mark.timing
def test_hot_keys_stay(server, conn):
    conn.do("CONFIG", "SET", "lfu-log-factor", "1")
    limit(server, conn, "allkeys-lfu", 3 * MB)
    hot = ["hot:%d" % i for i in range(200)]
    pipeline(conn, [("SET", k, b"x" * 500) for k in hot])
    pipeline(conn, [("GET", k) for _ in range(30) for k in hot])
    assert conn.do("OBJECT", "FREQ", "hot:1") > 6
    pipeline(conn, [("SET", "cold:%d" % i, b"x" * 500) for i in range(15000)])
    conn.do("CONFIG", "SET", "lfu-log-factor", "10")
    assert stat(server, "evicted_keys") > 5000
    assert conn.do("EXISTS", *hot) == 200


@pytest.mark.timing
def test_the_nearest_deadline_goes(server, conn):
    limit(server, conn, "volatile-ttl", 4 * MB)
    pipeline(conn, [("SET", "late:%d" % i, b"x" * 500, "EX", 20000) for i in range(2000)])
    pipeline(conn, [("SET", "soon:%d" % i, b"x" * 500, "EX", 2000) for i in range(2000)])
    write_until_evicted(server, conn, "more", 500, ("EX", 20000))
    conn.do("CONFIG", "SET", "maxmemory", "0")
    # On a machine with more to do a shard whose own have gone does not always wait for another's.
    assert conn.do("EXISTS", *["late:%d" % i for i in range(2000)]) >= 1600


@pytest.mark.several_shards
@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-lru"])
def test_a_shard_without_keys_gets_room_from_another(server, conn, policy):
    bytes_max = limit(server, conn, policy, 6 * MB)
    replies = pipeline(conn, [("SET", "{a}%d" % i, b"x" * 1000, "EX", 10000) for i in range(8000)])
    assert set(replies) == {"OK"}
    clock = server.info("server")["lru_clock"]
    assert wait_for(lambda: int(server.info("server")["lru_clock"]) > int(clock) + 1)
    for tag in "bcdefgh":  # on all shards sooner or later
        # Keys that may not go, where the policy knows such: then room must come from elsewhere.
        deadline = () if policy == "volatile-lru" else ("EX", 10000)
        replies = pipeline(conn, [("SET", "{%s}%d" % (tag, i), b"x" * 1000, *deadline) for i in range(500)], part=20)
        assert set(map(str, replies)) == {"OK"}
        check_budget(server, bytes_max)
        if policy != "allkeys-random":
            assert conn.do("EXISTS", *["{%s}%d" % (tag, i) for i in range(500)]) >= 250
    check_budget(server, bytes_max)


def test_evicted_keys_are_told_of(server, conn):
    pipeline(conn, [("SET", "key:%d" % i, b"x" * 1000) for i in range(1000)])
    conn.do("CONFIG", "SET", "notify-keyspace-events", "Ee")
    with server.raw(timeout=60) as listener:
        listener.do("SUBSCRIBE", "__keyevent@0__:evicted")
        conn.do("CONFIG", "SET", "maxmemory-policy", "allkeys-random", "maxmemory", str(used(server) - 300_000))
        assert wait_for(lambda: stat(server, "evicted_keys") >= 200)
        conn.do("CONFIG", "SET", "maxmemory", "0")
        told = [listener.read()[2] for _ in range(stat(server, "evicted_keys"))]
    assert len(set(told)) == len(told)
    assert conn.do("EXISTS", *told) == 0
    assert len(told) + conn.do("DBSIZE") == 1000


def test_who_watches_an_evicted_key_fails(server, conn):
    conn.do("SET", "key", b"x" * 300_000)
    with server.raw(timeout=60) as watcher:
        watcher.do("WATCH", "key")
        watcher.do("MULTI")
        watcher.do("PING")
        conn.do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", str(used(server) - 200_000))
        assert wait_for(lambda: stat(server, "evicted_keys") == 1)
        conn.do("CONFIG", "SET", "maxmemory", "0")
        assert repr(watcher.do("EXEC")) in ("None", "NULL_ARRAY")


def test_who_tracks_an_evicted_key_is_told(server, conn):
    conn.do("SET", "key", b"x" * 300_000)
    with server.raw(timeout=60) as tracker:
        tracker.do("HELLO", 3)
        tracker.do("CLIENT", "TRACKING", "ON")
        tracker.do("GET", "key")
        conn.do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", str(used(server) - 200_000))
        assert tracker.read() == [b"invalidate", [b"key"]]


def test_transactions(server, conn):
    conn.do("SET", "key", "value")
    with server.raw(timeout=60) as queued, server.raw(timeout=60) as reads:
        queued.do("MULTI")
        queued.do("SET", "other", "value")
        reads.do("MULTI")
        reads.do("GET", "key")
        conn.do("CONFIG", "SET", "maxmemory", "1")
        assert queued.do("EXEC") == RespError("EXECABORT Transaction discarded because of: " + OOM)
        assert reads.do("EXEC") == [b"value"]
        assert queued.do("MULTI") == "OK"
        assert queued.do("GET", "key") == "QUEUED"
        assert wait_for(lambda: queued.do("SET", "other", "value") == RespError(OOM))
        assert queued.do("EXEC") == RespError("EXECABORT Transaction discarded because of previous errors.")
        assert queued.do("MULTI") == "OK"
        assert queued.do("DISCARD") == "OK"
    conn.do("CONFIG", "SET", "maxmemory", "0")
    assert conn.do("EXISTS", "other") == 0


def test_scripts(server, conn):
    """One that began below the limit ends; one that began above it may do what needs no memory, or has said so."""
    conn.do("SET", "key", "value")
    conn.do("CONFIG", "SET", "maxmemory", "1")
    error = conn.do("EVAL", "return redis.call('SET', KEYS[1], 'x')", 1, "key")
    assert isinstance(error, RespError) and error.startswith(OOM)
    assert conn.do("EVAL", "return redis.call('GET', KEYS[1])", 1, "key") == b"value"
    assert conn.do("EVAL", "redis.call('DEL', KEYS[1]) return redis.call('SET', KEYS[1], 'y')", 1, "key") == "OK"
    assert conn.do("EVAL", "#!lua flags=allow-oom\nreturn redis.call('SET', KEYS[1], 'z')", 1, "key") == "OK"
    assert conn.do("EVAL", "#!lua\nreturn 1", 1, "key") == RespError(OOM)
    assert conn.do("EVAL", "#!lua flags=no-writes\nreturn redis.call('GET', KEYS[1])", 1, "key") == b"z"
    limit(server, conn, "noeviction", 100_000)
    script = "for i = 1, 100 do redis.call('SET', KEYS[1], string.rep('x', i * 10000)) end return 1"
    assert conn.do("EVAL", script, 1, "key") == 1
    assert conn.do("SET", "key", "value") == RespError(OOM)


def test_large_values_go_in_slices_and_are_counted_until_then(server, conn):
    bytes_max = limit(server, conn, "allkeys-lru", 20 * MB)
    for i in range(12):
        pipeline(conn, [("RPUSH", "list:%d" % i, *["element %d" % j for j in range(500)]) for _ in range(500)])
        check_budget(server, bytes_max)
    assert stat(server, "evicted_keys") > 0
    assert conn.do("SET", "key", "value") == "OK"


@pytest.mark.shoal_only
@pytest.mark.parametrize("lazy, word", [("yes", b"UNLINK"), ("no", b"DEL")])
def test_evictions_are_effects(server, conn, lazy, word):
    pipeline(conn, [("SET", "key:%d" % i, b"x" * 1000) for i in range(200)])
    conn.do("CONFIG", "SET", "lazyfree-lazy-eviction", lazy)
    conn.do("DEBUG", "EFFECTS", "ON")
    conn.do("CONFIG", "SET", "maxmemory-policy", "allkeys-random", "maxmemory", str(used(server) - 100_000))
    assert wait_for(lambda: stat(server, "evicted_keys") >= 50)
    conn.do("CONFIG", "SET", "maxmemory", "0")
    gone = [words for words in conn.do("DEBUG", "EFFECTS", "READ") if words[0] == word]
    conn.do("DEBUG", "EFFECTS", "OFF")
    assert len(gone) == stat(server, "evicted_keys") == 200 - conn.do("DBSIZE")
    assert conn.do("EXISTS", *[words[1] for words in gone]) == 0


def test_a_paused_server_evicts_nothing(server, conn):
    pipeline(conn, [("SET", "key:%d" % i, b"x" * 1000) for i in range(3000)])
    conn.do("CLIENT", "PAUSE", 100_000, "WRITE")
    conn.do("CONFIG", "SET", "maxmemory-policy", "allkeys-random", "maxmemory", str(used(server) - 1_500_000))
    for i in range(50):
        conn.do("GET", "key:%d" % i)
    assert stat(server, "evicted_keys") == 0
    conn.do("CLIENT", "UNPAUSE")
    assert wait_for(lambda: stat(server, "evicted_keys") > 200)


def test_the_time_over_the_limit_is_counted(server, conn):
    conn.do("SET", "key", b"x" * 40 * MB)  # more than what others give back meanwhile: connections, pools of all shards
    conn.do("CONFIG", "SET", "maxmemory", str(used(server) - 36 * MB))
    assert wait_for(lambda: conn.do("SET", "other", "value") == RespError(OOM))
    assert wait_for(lambda: stat(server, "current_eviction_exceeded_time") > 20)
    conn.do("CONFIG", "SET", "maxmemory", "0")
    conn.do("PING")
    assert stat(server, "total_eviction_exceeded_time") >= 20


def test_what_is_kept_for_use_again_leaves_room_for_keys(server, conn):
    """Four shards kept up to 32 MB of what three hundred clients had needed for a moment, of a limit of some megabytes, too."""
    bytes_max = limit(server, conn, "noeviction", 4 * MB)
    clients = [server.raw() for _ in range(300)]
    for turn in range(3):
        for n, c in enumerate(clients):
            c.send(b"".join(encode("SET", "key:%d:%d:%d" % (turn, n, i), b"x" * 100) for i in range(20)))
        for c in clients:
            c.read_some(20)
    for c in clients:
        c.close()
    assert wait_for(lambda: int(server.info_of(conn, "clients")["connected_clients"]) == 1)
    check_budget(server, bytes_max)


def write_on(server, number, rounds, until, faults):
    """Values of all sizes under keys of all shards. What is on its way counts, too, so it is no more than some KB at a time."""
    rng = random.Random(number)
    with server.raw(timeout=60) as c:
        while not until.is_set():
            requests = []
            for _ in range(rng.choice((1, 5, 20))):
                key, value = "key:%d" % rng.randrange(10**6), b"x" * rng.choice((5, 20, 100, 800))
                requests.append(rng.choice((
                    ("SET", key, value, "EX", 10000),
                    ("SET", key, value, "EX", 10000),
                    ("HSET", "h" + key, "f%d" % rng.randrange(100), value),
                    ("APPEND", "a" + key, value),
                    ("MSET", key, value, "m" + key, value),
                )))  # fmt: skip
            faults += [r for r in pipeline(c, requests) if isinstance(r, RespError) and str(r) != OOM]
            rounds[number] += 1


@pytest.mark.parametrize("policy", ("noeviction", "allkeys-lru", "volatile-ttl"))
def test_many_who_write_at_once_do_not_exceed_it(server, conn, policy):
    """Six clients on all shards, all of whom need room from the first moment on: never more than 1% and 1 MB beyond, whenever
    somebody looks; the buffers of six requests are part of that. What connections and threads have of their own is there before: under noeviction nothing makes room for that."""
    rounds, until, faults, most = [0] * 6, threading.Event(), [], 0
    writers = [threading.Thread(target=write_on, args=(server, n, rounds, until, faults)) for n in range(6)]
    for writer in writers:
        writer.start()
    assert wait_for(lambda: min(rounds) >= 20)
    bytes_max = limit(server, conn, policy, 40 * MB)
    pipeline(conn, [("SET", "key:%d" % n, b"x" * 8000, "EX", 10000) for n in range(6000)], 20)
    for _ in range(200):
        most = max(most, int(server.info_of(conn, "memory")["used_memory"]))
    until.set()
    for writer in writers:
        writer.join()
    assert faults == []
    assert most > bytes_max * 0.95, "nobody needed more"
    assert most <= bytes_max * 1.01 + MB, "%d beyond" % (most - bytes_max)


@pytest.mark.parametrize("policy", ("allkeys-random", "volatile-ttl"))
def test_a_small_limit_is_filled(start_server, policy):
    """What the reply of INFO needs for a moment was room for keys, which went for it each time, so that there were always 6 KB left: Redis's
    own test fills a limit until 4 are."""
    with start_server(shards=1).raw(timeout=60) as c:
        used_now = lambda: int(re.search(r"used_memory:(\d+)", c.do("INFO").decode()).group(1))  # noqa: E731
        bytes_max = used_now() + 100 * 1024
        c.do("CONFIG", "SET", "maxmemory", bytes_max, "maxmemory-policy", policy)
        for i in range(3000):
            c.do("SETEX", "key:%d" % i, "10000", "x")
            if used_now() + 4096 > bytes_max:
                break
        else:
            raise AssertionError("%d bytes are left" % (bytes_max - used_now()))


def crowd_until(crowd, pipe, until, replies):
    """All ask at once, again and again; what they are answered."""
    value, i = b"x" * 100, 0
    while not until.is_set():
        for c in crowd:
            c.send(b"".join(encode("SET", "key:%d" % n, value) for n in range(i, i + pipe)))
            i += pipe
        for c in crowd:
            replies.update(str(reply) for reply in c.read_some(pipe))


@pytest.mark.parametrize("policy", ("noeviction", "allkeys-lru"))
def test_the_buffers_of_a_crowd_are_small_while_memory_is_short(server, conn, policy):
    """A hundred clients that are refused, or evict, held 28 KB of buffers each: 3.7 MB over the limit, and data had so much less."""
    pipe, until, replies, most = 20, threading.Event(), set(), 0
    crowd = [server.raw(timeout=60) for _ in range(100)]
    try:
        assert {c.do("PING") for c in crowd} == {"PONG"}
        bytes_max = limit(server, conn, policy, 4 * MB)
        writer = threading.Thread(target=crowd_until, args=(crowd, pipe, until, replies))
        writer.start()
        expected = (lambda: OOM in replies) if policy == "noeviction" else (lambda: stat(server, "evicted_keys") > 10000)
        assert wait_for(expected)
        for _ in range(200):
            most = max(most, int(server.info_of(conn, "memory")["used_memory"]))
        until.set()
        writer.join()
    finally:
        until.set()
        for c in crowd:
            c.close()
    assert replies <= {"OK", OOM} and "OK" in replies
    assert most <= bytes_max * 1.01 + MB + len(crowd) * pipe * 150, "%d beyond" % (most - bytes_max)
    assert wait_for(lambda: used(server) <= bytes_max)
    assert used(server) > bytes_max - 2 * MB, "data has less than it could"
