# SPDX-License-Identifier: BSD-3-Clause
"""What programs keep in a server, written as their authors write it with redis-py: each test is one such use, over keys of all
shards, and passes on the original too."""

import threading
import time
import uuid

import pytest
from conftest import connect

pytestmark = pytest.mark.row_each


@pytest.fixture
def r(server):
    client = connect(server, decode_responses=False)
    client.flushall()
    yield client
    client.close()


def test_sessions_in_hashes_with_ttl(r):
    def log_in(user):
        token = uuid.uuid4().hex
        with r.pipeline() as pipe:
            pipe.hset("session:" + token, mapping={"user": user, "cart": "", "hits": 0})
            pipe.expire("session:" + token, 1800)
            pipe.sadd("sessions:" + user, token)
            pipe.execute()
        return token

    tokens = [log_in("user%d" % (i % 7)) for i in range(40)]
    for token in tokens:
        assert r.hincrby("session:" + token, "hits", 1) == 1
        assert r.expire("session:" + token, 1800)
        assert 1700 < r.ttl("session:" + token) <= 1800
    assert r.hgetall("session:" + tokens[0]) == {b"user": b"user0", b"cart": b"", b"hits": b"1"}
    for token in r.smembers("sessions:user3"):
        r.delete(b"session:" + token)
    assert [r.exists("session:" + token) for token in tokens[:7]] == [1, 1, 1, 0, 1, 1, 1]
    r.pexpire("session:" + tokens[0], 1)
    while r.exists("session:" + tokens[0]):
        time.sleep(0.001)
    assert r.hget("session:" + tokens[0], "user") is None


def test_leaderboards(r):
    for i in range(500):
        r.zadd("board", {"player%d" % i: i * 3 % 500})
    r.zincrby("board", 1000, "player7")
    top = r.zrevrange("board", 0, 2, withscores=True)
    assert top == [(b"player7", 1021.0), (b"player333", 499.0), (b"player166", 498.0)]
    assert r.zrevrank("board", "player7") == 0 and r.zrank("board", "player7") == 499
    assert r.zscore("board", "player333") == 499
    rank = r.zrevrank("board", "player100")
    around = r.zrevrange("board", rank - 1, rank + 1)
    assert around[1] == b"player100" and len(around) == 3
    assert r.zcount("board", 490, "+inf") == len(r.zrangebyscore("board", 490, "+inf"))
    with r.pipeline() as pipe:  # of two weeks, each in its key
        for week, factor in (("one", 1), ("two", 2)):
            pipe.zadd("week:" + week, {"a": 1 * factor, "b": 10 * factor})
        pipe.execute()
    assert r.zunionstore("weeks", {"week:one": 1, "week:two": 0.5}) == 2
    assert r.zrange("weeks", 0, -1, withscores=True) == [(b"a", 2.0), (b"b", 20.0)]
    r.zremrangebyrank("board", 0, -101)
    assert r.zcard("board") == 100


def test_task_queues(r, server):
    """Each task is done once, and in order as far as one worker sees; one that has not been finished is found again."""
    count, workers = 200, 4
    done, lock = [], threading.Lock()

    def work(number):
        with connect(server, decode_responses=False, socket_timeout=60) as own:
            while True:
                task = own.blmove("tasks", "doing:%d" % number, timeout=30, src="RIGHT", dest="LEFT")
                if task == b"stop":
                    return
                with lock:
                    done.append((number, int(task)))
                own.lrem("doing:%d" % number, 1, task)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(workers)]
    for t in threads:
        t.start()
    for i in range(count):
        r.lpush("tasks", i)
    r.lpush("tasks", *["stop"] * workers)
    for t in threads:
        t.join()
    assert sorted(task for _, task in done) == list(range(count))
    for number in range(workers):
        own = [task for worker, task in done if worker == number]
        assert own == sorted(own)
        assert r.lrange("doing:%d" % number, 0, -1) == [b"stop"]
    assert r.llen("tasks") == 0
    r.lpush("high", "h")
    r.lpush("low", "l1", "l2")
    assert [r.brpop(["high", "low"], timeout=1)[1] for _ in range(3)] == [b"h", b"l1", b"l2"]
    assert r.brpop(["high", "low"], timeout=0.01) is None


def test_tags_with_intersections(r):
    for i in range(300):
        for tag in ("even",) * (i % 2 == 0) + ("third",) * (i % 3 == 0) + ("tenth",) * (i % 10 == 0):
            r.sadd("tag:" + tag, i)
            r.sadd("post:%d:tags" % i, tag)
    assert {int(i) for i in r.sinter("tag:even", "tag:third")} == set(range(0, 300, 6))
    assert r.sinterstore("both", "tag:third", "tag:tenth") == 10
    assert r.sintercard(3, ["tag:even", "tag:third", "tag:tenth"], limit=4) == 4
    assert len(r.sunion("tag:third", "tag:tenth")) == 100 + 30 - 10
    assert r.sdiff("post:6:tags", "post:30:tags") == set()
    assert r.sdiff("post:30:tags", "post:6:tags") == {b"tenth"}
    titles = {"title:%d" % i: "Post %d" % i for i in range(300)}
    r.mset(titles)
    assert r.sort("both", get="title:*", start=0, num=2) == [b"Post 0", b"Post 30"]
    assert r.sort("both", desc=True, get=["#", "title:*"], start=0, num=1, groups=True) == [(b"270", b"Post 270")]


def test_unique_visitors(r):
    for day in range(7):
        for i in range(0, 1000, 100):
            r.pfadd("visitors:%d" % day, *["user%d" % (day * 500 + j) for j in range(i, i + 100)])
    days = ["visitors:%d" % day for day in range(7)]
    assert all(abs(r.pfcount(day) - 1000) < 50 for day in days)
    assert abs(r.pfcount(*days) - 4000) < 200
    r.pfmerge("visitors:week", *days)
    assert r.pfcount("visitors:week") == r.pfcount(*days)
    copy = r.get("visitors:week")
    r.set("visitors:copy", copy)
    assert r.pfcount("visitors:copy") == r.pfcount("visitors:week")


def test_event_streams_with_groups(r):
    for i in range(100):
        r.xadd("events", {"kind": "click", "n": i})
    r.xgroup_create("events", "mail", id="0")
    r.xgroup_create("events", "stats", id="$")
    seen = []
    while got := r.xreadgroup("mail", "worker%d" % (len(seen) % 3), {"events": ">"}, count=7):
        ((stream, entries),) = got
        assert stream == b"events"
        seen += [int(fields[b"n"]) for _, fields in entries]
        if len(seen) % 2:
            r.xack("events", "mail", *[id for id, _ in entries])
    assert seen == list(range(100))
    pending = r.xpending("events", "mail")
    assert pending["pending"] == len(r.xpending_range("events", "mail", "-", "+", 1000)) > 0
    claimed = r.xautoclaim("events", "mail", "other", min_idle_time=0, count=1000)
    assert len(claimed[1]) == pending["pending"]
    assert r.xreadgroup("stats", "one", {"events": ">"}) in ([], {})
    assert r.xlen("events") == 100
    r.xtrim("events", maxlen=10, approximate=False)
    assert [int(fields[b"n"]) for _, fields in r.xrange("events")] == list(range(90, 100))


def test_event_streams(r):
    ids = [r.xadd("log", {"n": i}, maxlen=50, approximate=False) for i in range(80)]
    assert r.xlen("log") == 50
    assert [id for id, _ in r.xrange("log", min=ids[40], max=ids[44])] == ids[40:45]
    assert r.xrevrange("log", count=1)[0][0] == ids[-1]
    ((_, rest),) = r.xread({"log": ids[70]}, count=100)
    assert [id for id, _ in rest] == ids[71:]


def test_counters_in_buckets_of_time(r):
    now = 1_700_000_000
    for second in range(0, 600, 7):
        bucket = "hits:%d" % ((now + second) // 60)
        with r.pipeline() as pipe:
            pipe.incr(bucket)
            pipe.expire(bucket, 7200)
            pipe.execute()
    buckets = ["hits:%d" % minute for minute in range(now // 60, now // 60 + 11)]
    counts = [int(n or 0) for n in r.mget(buckets)]
    assert sum(counts) == 86 and all(7000 < r.ttl(b) <= 7200 for b, n in zip(buckets, counts) if n)
    r.hincrby("hits:by-page", "/", 5)
    r.hincrbyfloat("hits:by-page", "load", 0.5)
    assert r.hgetall("hits:by-page") == {b"/": b"5", b"load": b"0.5"}


def test_bitmaps_of_active_users(r):
    for user in range(0, 20000, 3):
        r.setbit("active:mon", user, 1)
    for user in range(0, 20000, 5):
        r.setbit("active:tue", user, 1)
    assert r.bitcount("active:mon") == 6667 and r.bitcount("active:tue") == 4000
    assert r.bitop("AND", "active:both", "active:mon", "active:tue") == 2500
    assert r.bitcount("active:both") == 1334
    r.bitop("OR", "active:any", "active:mon", "active:tue")
    assert r.bitcount("active:any") == 6667 + 4000 - 1334
    assert r.getbit("active:both", 15) == 1 and r.getbit("active:both", 3) == 0
    assert r.bitpos("active:mon", 0) == 1 and r.bitpos("active:tue", 1, 1) == 10
    assert r.bitfield("flags").set("u4", "#3", 9).incrby("u4", "#3", 9, "SAT").get("u4", "#3").execute() == [0, 15, 15]


def test_sliding_windows(r):
    """So many in a window of a second, each attempt a member whose score is its time."""

    def allowed(user, now, limit=5, window=1.0):
        key = "window:" + user
        with r.pipeline() as pipe:
            pipe.zremrangebyscore(key, 0, now - window)
            pipe.zcard(key)
            pipe.zadd(key, {"%f:%s" % (now, uuid.uuid4().hex): now})
            pipe.expire(key, 10)
            return pipe.execute()[1] < limit

    assert [allowed("ada", 100 + i / 10) for i in range(8)] == [True] * 5 + [False] * 3
    assert allowed("bob", 100.75)
    assert not allowed("ada", 101.2)  # those that were refused count, too
    assert allowed("ada", 103)
    assert r.zcard("window:ada") == 1
