# SPDX-License-Identifier: BSD-3-Clause
"""A log that all workers do again, side by side: whatever was in it, and however many shards it was of, what is there afterwards
is what was there before."""

import os
import random
import threading

import pytest

from resp import RespError, encode

pytestmark = [pytest.mark.row_once, pytest.mark.shoal_only]

LIBRARY = "#!lua name=%s\nserver.register_function('%s', function(keys) return #keys end)"
CHUNK = 200


def tagged(rng):
    return "{t%d}%d" % (rng.randrange(40), rng.randrange(6))


def plain(rng):
    return "k%d" % rng.randrange(400)


def word(rng):
    return "%x" % rng.getrandbits(rng.choice((8, 200)))


def one_key(rng, key):
    """Most that is written is about one key, of any type: what does not fit the type says so, and changes nothing."""
    return rng.choice(
        [
            lambda: ("SET", key, word(rng)),
            lambda: ("SET", key, word(rng), "EX", rng.randrange(10**4, 10**6)),
            lambda: ("APPEND", key, word(rng)),
            lambda: ("INCRBY", "n" + key, rng.randrange(100)),
            lambda: ("HSET", "h" + key, rng.randrange(20), word(rng), "same", word(rng)),
            lambda: ("HINCRBY", "h" + key, "count", 1),
            lambda: ("RPUSH", "l" + key, word(rng), word(rng)),
            lambda: ("LPOP", "l" + key),
            lambda: ("LTRIM", "l" + key, 0, 20),
            lambda: ("SADD", "s" + key, *[rng.randrange(30) for _ in range(4)]),
            lambda: ("SPOP", "s" + key),
            lambda: ("ZADD", "z" + key, rng.randrange(50), word(rng)),
            lambda: ("ZPOPMIN", "z" + key),
            lambda: ("XADD", "x" + key, "MAXLEN", 20, "*", "f", word(rng)),
            lambda: ("SETBIT", "b" + key, rng.randrange(2000), 1),
            lambda: ("PFADD", "p" + key, word(rng)),
            lambda: ("PEXPIRE", key, rng.choice((-1, 10**8))),
            lambda: ("PERSIST", key),
            lambda: ("DEL", rng.choice("hlszx") + key),
        ]
    )()


def several_keys(rng, key):
    """About keys that one shard had, or several; another number of shards may have them elsewhere."""
    a, b, c = key(rng), key(rng), key(rng)
    return rng.choice(
        [
            lambda: ("MSET", a, word(rng), b, word(rng), c, word(rng)),
            lambda: ("MSETNX", a, word(rng), b + "new", word(rng)),
            lambda: ("RENAME", a, b),
            lambda: ("COPY", a, b, "REPLACE"),
            lambda: ("COPY", a, b, "DB", rng.randrange(3), "REPLACE"),
            lambda: ("MOVE", a, rng.randrange(3)),
            lambda: ("DEL", a, b),
            lambda: ("LMOVE", "l" + a, "l" + b, "LEFT", "RIGHT"),
            lambda: ("SMOVE", "s" + a, "s" + b, rng.randrange(30)),
            lambda: ("SUNIONSTORE", "s" + a, "s" + b, "s" + c),
            lambda: ("ZUNIONSTORE", "z" + a, 2, "z" + b, "z" + c),
            lambda: ("BITOP", "OR", "b" + a, "b" + b, "b" + c),
            lambda: ("PFMERGE", "p" + a, "p" + b),
            lambda: (
                "EVAL",
                "redis.call('SET', KEYS[1], ARGV[1]) redis.call('APPEND', KEYS[2], ARGV[1]) redis.call('RPUSH', 'l' .. KEYS[1], 1)",
                3,
                a,
                b,
                "l" + a,
                word(rng),
            ),
        ]
    )()


def all_keys(rng):
    return rng.choice(
        [
            lambda: ("FLUSHDB",),
            lambda: ("SWAPDB", rng.randrange(3), rng.randrange(3)),
            lambda: ("SWAPDB", 0, 1),
            lambda: ("FUNCTION", "LOAD", "REPLACE", LIBRARY % (("lib%d" % rng.randrange(3),) * 2)),
        ]
    )()


def transaction(rng, key):
    words = [("MULTI",)]
    for _ in range(rng.randrange(1, 6)):
        words.append(several_keys(rng, key) if rng.random() < 0.3 else one_key(rng, key(rng)))
    if rng.random() < 0.05:
        words.insert(rng.randrange(1, len(words)), all_keys(rng))
    return words + [("EXEC",)]


def mixed(rng, several, whole):
    """One command, or a transaction; `several` and `whole` say how often it is about more than a key."""
    key = rng.choice((plain, tagged))
    chance = rng.random()
    if chance < whole:
        return [all_keys(rng)]
    if chance < whole + several:
        return transaction(rng, key) if rng.random() < 0.3 else [several_keys(rng, key)]
    return [one_key(rng, key(rng))]


def write(server, seed, count, several, whole):
    rng = random.Random(seed)
    with server.raw(timeout=60) as c:
        for _ in range(count // CHUNK):
            commands = [("SELECT", rng.randrange(3))]
            for _ in range(CHUNK):
                commands += mixed(rng, several, whole)
            c.send(b"".join(encode(*words) for words in commands))
            for words in commands:
                answer = c.read()
                # what has no such key, or another type, says so
                assert not isinstance(answer, RespError) or words[0] not in ("SELECT", "EXEC", "SWAPDB", "FLUSHDB", "FUNCTION"), (
                    seed,
                    words,
                    answer,
                )


def written(server, count, several, whole):
    """By four clients at a time."""
    failures = []

    def run(seed):
        try:
            write(server, seed, count // 4, several, whole)
        except BaseException as e:
            failures.append(e)

    seeds = [random.getrandbits(32) for _ in range(4)]
    threads = [threading.Thread(target=run, args=(seed,)) for seed in seeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    return seeds


def state(server):
    with server.raw(timeout=60) as c:
        libraries = sorted(library[1] for library in c.do("FUNCTION", "LIST"))
        return c.do("DEBUG", "DIGEST"), [(c.do("SELECT", db), c.do("DBSIZE"))[1] for db in range(3)], libraries


def killed(server, shards):
    server.config["shards"] = shards
    server.proc.kill()
    server.proc.wait()
    server.start_again()


def started(start_server, shards, **options):
    return start_server(appendonly="yes", appendfsync="no", auto_aof_rewrite_percentage="0", shards=shards, **options)


@pytest.mark.parametrize("several, whole", [(0, 0.0005), (0.02, 0.0003), (0.5, 0.01)])
@pytest.mark.parametrize("shards", [1, 2, 4])
def test_the_same_is_there_whatever_is_in_it_and_however_many_shards_load_it(start_server, shards, several, whole):
    s = started(start_server, shards)
    seeds = written(s, 12000, several, whole)
    before = state(s)
    for other in (shards, 1, 3, 4):
        killed(s, other)
        assert state(s) == before, (other, seeds)
    # The log of one number of shards goes on behind that of another.
    seeds += written(s, 4000, several, whole)
    before = state(s)
    for other in (2, 5):
        killed(s, other)
        assert state(s) == before, (other, seeds)


def test_values_that_are_larger_than_what_is_read_at_a_time(start_server):
    s = started(start_server, 2)
    with s.raw(timeout=60) as c:
        for i in range(12):
            c.do("SET", "large%d" % i, os.urandom(3 << 20 if i % 4 == 0 else 300 << 10))
            c.do("MSET", *[w for j in range(20) for w in ("k%d" % j, "%d" % i)])
            c.do("APPEND", "all", "%d" % i)
        c.do("MSET", *[w for j in range(6) for w in ("m%d" % j, os.urandom(1 << 20))])
        c.do("SET", "zeros", b"\0" * (40 << 20))
    before = state(s)
    for shards in (1, 3, 2):
        killed(s, shards)
        assert state(s) == before


def test_a_stop_while_it_is_done_again_is_heard(start_server):
    s = started(start_server, 3)
    with s.raw(timeout=60) as c:
        for i in range(0, 20000, 100):
            c.send(b"".join(encode("SET", "key:%d" % j, os.urandom(600).hex()) for j in range(i, i + 100)))
            assert [c.read() for _ in range(100)] == ["OK"] * 100
    before = state(s)
    for _ in range(4):
        s.proc.kill()
        s.proc.wait()
        s.waits_for_data = False
        s.start_again()  # most times it is loaded still
        s.proc.terminate()
        assert s.proc.wait(60) == 0
        s.waits_for_data = True
        s.start_again()
        assert state(s) == before
