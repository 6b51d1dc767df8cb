# SPDX-License-Identifier: BSD-3-Clause
"""Commands on values of hundreds of thousands of elements: others are served meanwhile."""

import re
import select

import pytest

from resp import RespError, encode
from server import wait_for
from slots import tag_of
from test_bgsave import loaded

pytestmark = [pytest.mark.slow, pytest.mark.row_each]

FILLS = {
    "list": ("RPUSH", lambda i: ("element:%09d" % i,)),
    "set": ("SADD", lambda i: ("element:%09d" % i,)),
    "zset": ("ZADD", lambda i: (str(i), "element:%09d" % i)),
    "hash": ("HSET", lambda i: ("element:%09d" % i, "value:%09d" % i)),
}
COUNTS = {"list": "LLEN", "set": "SCARD", "zset": "ZCARD", "hash": "HLEN", "stream": "XLEN"}


def fill(c, kind, key, n):
    if kind == "stream":
        for begin in range(0, n, 1000):
            c.send(b"".join(encode("XADD", key, "%d-1" % (i + 1), "f", "element:%09d" % i) for i in range(begin, begin + 1000)))
            c.read_some(1000)
        return
    name, words = FILLS[kind]
    for begin in range(0, n, 1000):
        c.do(name, key, *[word for i in range(begin, begin + 1000) for word in words(i)])


def served_meanwhile(server, c, small, *call):
    """How many times another client of the shard has been answered before the call was, and what that answered."""
    served = 0
    with server.raw(timeout=60) as other:
        other.do("SET", small, "v")
        c.send(encode(*call))
        while not select.select([c.sock], [], [], 0)[0]:
            assert other.do("GET", small) == b"v"
            served += 1
    return served, c.read()


@pytest.mark.timing
@pytest.mark.shoal_only
@pytest.mark.parametrize("way", ("alone", "over", "exec"))
def test_a_copy_on_one_shard_lets_others_pass(server, r, shards, slow, way):
    """It was made in one piece, as long as keys lay on one shard: 2 s for a sorted set of two million."""
    n = 400_000 // slow // 1000 * 1000
    tag = "{%s}" % tag_of(0, shards)
    with server.raw(timeout=60) as c:
        fill(c, "zset", tag + "a", n)
        if way == "over":
            c.do("SET", tag + "b", "v")

        def copied():
            if way == "exec":
                c.do("DEL", tag + "b"), c.do("ZREM", tag + "a", "before", "behind")
                assert c.do("MULTI") == "OK"
                for call in (("ZADD", tag + "a", "1", "before"), ("COPY", tag + "a", tag + "b"), ("ZADD", tag + "a", "1", "behind"), ("ZCARD", tag + "b")):
                    assert c.do(*call) == "QUEUED"
                served, reply = served_meanwhile(server, c, tag + "small", "EXEC")
                assert reply == [1, 1, 1, n + 1]
            else:
                served, reply = served_meanwhile(server, c, tag + "small", "COPY", tag + "a", tag + "b", "REPLACE")
                assert reply == 1
            return served

        assert any(copied() >= 3 for _ in range(5))  # who asks meanwhile may wait for a processor
        assert c.do("ZRANGE", tag + "b", "0", "0") == [b"element:000000000"]
        assert c.do("ZREM", tag + "a", "behind") == (way == "exec")
        a, b = c.do("DEBUG", "DIGEST-VALUE", tag + "a", tag + "b")
        assert a == b
        assert c.do("DEL", tag + "a", tag + "b") == 2


@pytest.mark.shoal_only
def test_a_copy_of_a_small_value_at_home_is_no_transaction(start_server, shards):
    """Each was one, and a fence in pipelines."""
    s = start_server()

    def begun(c, calls, replies):
        before = count(c)
        c.send(b"".join(encode(*call) for call in calls))
        assert c.read_some(len(calls)) == replies
        return count(c) - before

    def count(c):
        return sum(int(re.search(r"txns=(\d+)", line)[1]) for line in c.do("INFO", "shards").decode().splitlines() if "txns=" in line)

    with s.raw(timeout=60) as c:
        at_home = 0
        for part in range(shards):
            a, b, t = ("{%s}%s" % (tag_of(part, shards), name) for name in ("a", "b", "t"))
            calls = [("SET", a, "1"), ("COPY", a, b, "REPLACE"), ("INCR", a), ("COPY", a, b), ("GET", b), ("COPY", a, a), ("COPY", a, b, "DB", "x")]
            calls += [("COPY", a, a, "DB", "1", "REPLACE"), ("COPY", t, a, "REPLACE"), ("INCR", b)]
            errors = [RespError("ERR source and destination objects are the same"), RespError("ERR value is not an integer or out of range")]
            small = begun(c, calls * 20, ["OK", 1, 2, 0, b"1", *errors, 1, 0, 2] * 20)
            assert small == 0 or small >= 20
            at_home += small == 0
            # It is large from the first command of the pipeline on, and small again from the third.
            value = [word for i in range(20_000) for word in ("%d" % i, "element:%09d" % i)]
            calls = [("ZADD", t, *value), ("COPY", t, b, "REPLACE"), ("DEL", t), ("COPY", b, t), ("DEL", b), ("COPY", t, b), ("ZCARD", b), ("SET", t, "v")]
            assert begun(c, [*calls, ("COPY", t, b, "REPLACE"), ("GET", b)], [20_000, 1, 1, 1, 1, 1, 20_000, "OK", 1, b"v"]) >= 3
        assert at_home == 1


@pytest.mark.shoal_only
@pytest.mark.parametrize("shape", COUNTS)
def test_a_copy_is_of_one_moment(server, r, shards, slow, shape):
    """What others do to both keys while it is made comes before it or after it."""
    n = 100_000 // slow // 1000 * 1000
    tag = "{%s}" % tag_of(shards - 1, shards)
    a, b = tag + "a", tag + "b"
    with server.raw(timeout=60) as c, server.raw(timeout=60) as other:
        fill(c, shape, a, n)
        c.do("PEXPIRE", a, "10000000")
        c.send(encode("COPY", a, b) + encode("DEL", a) + encode(COUNTS[shape], b))
        other.send(encode(COUNTS[shape], b) + encode("EXISTS", a) + encode("PERSIST", b))
        assert c.read_some(3) == [1, 1, n]
        seen, _, persisted = other.read_some(3)
        assert seen in (0, n)
        assert (c.do("PTTL", b) == -1) == bool(persisted)
        c.do("DEL", b)


@pytest.mark.shoal_only
@pytest.mark.parametrize(
    "shape, before, command, reply",
    [
        ("zset", [], ["ZREMRANGEBYRANK", "a", "0", "-1"], 50_000),
        ("zset", [], ["ZREMRANGEBYRANK", "a", "0", "-101"], 49_900),
        ("zset", [], ["ZREMRANGEBYSCORE", "a", "100", "inf"], 49_900),
        ("zset", [], ["ZREMRANGEBYRANK", "a", "50", "-51"], 49_900),
        ("stream", ["all"], ["XGROUP", "DESTROY", "a", "g"], 1),
        ("stream", ["all"], ["XGROUP", "DELCONSUMER", "a", "g", "c"], 50_000),
        ("stream", ["half", "half"], ["XGROUP", "DESTROY", "a", "g"], 1),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, list) else None,
)
def test_what_a_command_cuts_off_is_gone_at_once_and_its_memory_later(server, r, shards, shape, before, command, reply):
    """Members, and what was pending in a group, were freed one after the other by the command."""
    n = 50_000
    with server.raw(timeout=60) as c:
        fill(c, shape, "a", n)
        if before:
            c.do("XGROUP", "CREATE", "a", "g", "0")
        for i, share in enumerate(before):
            c.do("XREADGROUP", "GROUP", "g", "c" * (i + 1), "COUNT", str(n if share == "all" else n // 2), "STREAMS", "a", ">")
        memory = c.do("MEMORY", "USAGE", "a")
        assert c.do(*command) == reply
        left = n - reply if shape == "zset" else n
        assert c.do(COUNTS[shape], "a") == left
        if shape == "zset":
            assert len(c.do("ZRANGE", "a", "0", "-1")) == left
        else:
            assert c.do("MEMORY", "USAGE", "a") < memory - n * 24
            assert c.do("XGROUP", "CREATE", "a", "g2", "0") == "OK"
            assert c.do("XPENDING", "a", "g2")[0] == 0
        c.do("DEL", "a")
        assert wait_for(lambda: int(server.info("memory")["lazyfree_pending_objects"]) == 0)


def shard_sums(c, field):
    return sum(int(n) for n in re.findall(r"%s=(\d+)" % field, c.do("INFO", "shards").decode()))


@pytest.mark.timing
@pytest.mark.shoal_only
@pytest.mark.parametrize("fmt", ("shoal", "rdb"))
@pytest.mark.parametrize("shape, way", [("list", way) for way in ("alone", "exec", "script", "move", "served")] + [("stream", "alone"), ("stream", "exec")])
def test_who_changes_a_long_value_waits_for_the_save_to_read_it(start_server, shards, slow, fmt, shape, way):
    """It was written into memory in one piece: the first RPUSH to a list of 85 MB took 37 ms, and all of its shard."""
    # The save may have read the value before its writer, or who looks at it meanwhile, has a processor.
    assert any(waits_for_the_save(start_server(save_format=fmt), shards, slow, fmt, shape, way) for _ in range(4))


def waits_for_the_save(s, shards, slow, fmt, shape, way):
    """Whether the change came while the save read the value, and others were served between."""
    n = 400_000 // slow // 1000 * 1000
    key, small, source = (tag_of(part, shards) for part in (shards - 1, shards - 1, 0))
    key, small, source = b"{%s}long" % key, b"{%s}small" % small, b"{%s}source" % source
    change = ("RPUSH", key, "x") if shape == "list" else ("XADD", key, "%d-1" % (n + 1), "f", "x")
    with s.raw(timeout=60) as c, s.raw(timeout=60) as reader, s.raw(timeout=60) as other:
        fill(c, shape, key, n)
        other.do("SET", small, "v")
        before = c.do("DEBUG", "DIGEST-VALUE", key)
        calls = [("BGSAVE",), change]
        if way == "exec":
            calls = [("BGSAVE",), ("MULTI",), ("GET", small), change, ("EXEC",)]
        elif way == "script":
            script = ("EVAL", "redis.call('GET', KEYS[1]) return redis.call('RPUSH', KEYS[2], 'x')", "2", small)
            assert c.do(*script, key + b"2") == 1  # its first call may have all shards in view
            calls = [("BGSAVE",), (*script, key)]
        elif way == "move":
            c.do("RPUSH", source, "x")
            calls = [("BGSAVE",), ("LMOVE", source, key, "LEFT", "RIGHT"), ("LLEN", key)]
        elif way == "served":
            other.send(encode("BLMOVE", source, key, "LEFT", "RIGHT", "0"))
            assert wait_for(lambda: s.info("clients")["blocked_clients"] == "1")
            calls = [("BGSAVE",), ("RPUSH", source, "x")]
        c.send(b"".join(encode(*call) for call in calls))
        counts = [reader.do(COUNTS[shape], key)]
        while not select.select([other.sock if way == "served" else c.sock], [], [], 0)[0] or counts[-1] == n:
            counts.append(reader.do(COUNTS[shape], key))
        assert set(counts) <= {n, n + 1} and counts == sorted(counts)
        replies = c.read_some(len(calls))
        assert replies[0] == "Background saving started"
        if way == "served":
            assert other.read() == b"x"
        elif shape == "list" and way != "exec":
            assert replies[-1] == n + 1
        assert c.do("LINDEX" if shape == "list" else "XLEN", key, *(["-1"] if shape == "list" else [])) == (b"x" if shape == "list" else n + 1)
        assert shard_sums(c, "save_stall_bytes") == 0
        waited = shard_sums(c, "save_waits")
        if (waited, set(counts)) != (1, {n, n + 1}):
            return False
        # Once it is read nobody waits for it any more.
        c.do(*change[:2], *([] if shape == "list" else ["%d-2" % (n + 1)]), *change[-2 if shape == "stream" else -1 :])
        assert wait_for(lambda: s.info("persistence")["rdb_bgsave_in_progress"] == "0", 60)
        assert shard_sums(c, "save_waits") == 1
        assert s.info("persistence")["rdb_last_bgsave_status"] == "ok", s.log()
    with loaded(s, fmt) as again, again.raw(timeout=60) as c:
        assert wait_for(lambda: c.do(COUNTS[shape], key) == n) and c.do("DEBUG", "DIGEST-VALUE", key) == before
    return True
