# SPDX-License-Identifier: BSD-3-Clause
"""Scripts: where they run, what they may do, and that nobody sees half of one."""

import contextlib
import random
import re
import threading
import time

import pytest

from resp import NullArray, encode
from server import free_port, wait_for
from target import Target

pytestmark = [pytest.mark.row_each]

DEPOSIT = """local n = redis.call('INCRBY', KEYS[1], ARGV[1])
if ARGV[3] == 'near' then return n end
redis.call('RPUSH', 'log:' .. ARGV[2], KEYS[1] .. ':' .. n)
redis.call('INCRBY', 'total', ARGV[1])
return n"""
WINDOW = """local n = redis.call('INCR', KEYS[1] .. ':seq')
redis.call('ZADD', KEYS[1], ARGV[1], n)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1] - 50)
return redis.call('ZCARD', KEYS[1])"""
SWEEP = """local cursor, n = '0', 0
repeat
  local page = redis.call('SCAN', cursor, 'MATCH', ARGV[1], 'COUNT', 100)
  cursor = page[1]
  for _, key in ipairs(page[2]) do n = n + redis.call('DEL', key) end
until cursor == '0'
return n"""


def in_threads(count, run):
    """Runs run(i) in threads; what one of them raises is raised here."""
    errors = []

    def safely(i):
        try:
            run(i)
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=safely, args=(i,)) for i in range(count)]
    [t.start() for t in threads], [t.join(120) for t in threads]
    assert not errors, errors[0]


def test_what_it_has_written_before_it_looked_elsewhere_stays_once(start_server):
    """A script that is known to stay with its keys writes, and then needs keys of other shards."""
    s = start_server()
    with s.raw() as c:
        for i in range(120):
            script = "-- %d\n" % i + DEPOSIT
            assert c.do("EVAL", script, "1", "account:%d" % i, "5", str(i), "near") == 5
            assert c.do("EVAL", script, "1", "account:%d" % i, "5", str(i)) == 10
            assert c.do("GET", "account:%d" % i) == b"10"
            assert c.do("LRANGE", "log:%d" % i, "0", "-1") == [b"account:%d:10" % i]
        assert c.do("GET", "total") == b"600"


def test_deposits_of_many_are_whole(start_server):
    s = start_server()

    def run(i):
        with s.raw() as c:
            for j in range(60):
                # One has scripts that nobody knows to look elsewhere: they begin on their shard.
                script = "-- %d\n" % j + DEPOSIT if i == 0 else DEPOSIT
                if i == 0:
                    assert c.do("EVAL", script, "1", "{near}%d" % j, "1", "x", "near") == 1
                assert c.do("EVAL", script, "1", "account:%d" % ((i + j) % 7), "1", "x") > 0

    stop = threading.Event()
    seen = []

    def watch():
        with s.raw() as c:
            while not stop.is_set():
                c.do("MULTI"), c.do("GET", "total"), c.do("LLEN", "log:x")
                [c.do("GET", "account:%d" % k) for k in range(7)]
                got = c.do("EXEC")
                total = int(got[0] or 0)
                assert total == got[1] == sum(int(n or 0) for n in got[2:]), got
                seen.append(total)

    watchers = [threading.Thread(target=watch) for _ in range(3)]
    [w.start() for w in watchers]
    in_threads(8, run)
    stop.set(), [w.join(60) for w in watchers]
    with s.raw() as c:
        assert c.do("GET", "total") == b"480" and c.do("LLEN", "log:x") == 480
        assert sum(int(c.do("GET", "account:%d" % k)) for k in range(7)) == 480
    assert seen


def test_a_window_that_derives_its_second_key(start_server):
    s = start_server()
    with s.raw() as c:
        sha = c.do("SCRIPT", "LOAD", WINDOW)

    def run(i):
        with s.raw() as c:
            for j in range(100):
                assert 0 < c.do("EVALSHA", sha, "1", "window:%d" % (j % 5), str(j)) <= 8 * 100

    in_threads(8, run)
    with s.raw() as c:
        for k in range(5):
            assert c.do("GET", "window:%d:seq" % k) == b"160"
            assert c.do("ZCARD", "window:%d" % k) == 8 * 10  # scores above 45 .. 95 - 50


def test_scan_and_del_without_keys(start_server):
    s = start_server()
    with s.raw() as c:
        for i in range(300):
            c.do("SET", ("session:%d" if i % 3 else "other:%d") % i, "x")
        assert c.do("EVAL", SWEEP, "0", "session:*") == 200
        assert c.do("DBSIZE") == 100 and c.do("EVAL", SWEEP, "0", "session:*") == 0


LIMITER = """redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1] - 100)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
local n = redis.call('INCR', KEYS[1] .. ':seq')
redis.call('ZADD', KEYS[1], ARGV[1], n)
return n"""


@pytest.fixture
def crowd(start_server):
    """200 clients of four shards."""
    with contextlib.ExitStack() as stack:
        s = start_server(shards=4, busy_reply_threshold=3600000)  # no script is called long because others had the processor
        yield [stack.enter_context(s.raw(timeout=120)) for _ in range(200)]


def at_once(crowd, requests):
    """Each client has sent its requests before any is answered to the end; the replies, client by client."""
    for c, some in zip(crowd, requests):
        c.send(b"".join(encode(*request) for request in some))
    return [[c.read() for _ in some] for c, some in zip(crowd, requests)]


def test_a_window_lets_so_many_of_a_crowd_through_and_no_more(crowd):
    """It derives the key of its numbers, which is on another shard for most. Time is given, so each span begins anew."""
    windows, limit, each = ["window:%d" % i for i in range(10)], 60, 5
    sha = crowd[0].do("SCRIPT", "LOAD", LIMITER)
    for span in range(4):
        asked = [[windows[(i * each + j) % len(windows)] for j in range(each)] for i in range(len(crowd))]
        replies = at_once(crowd, [[("EVALSHA", sha, "1", name, span * 1000, limit) for name in some] for some in asked])
        let = {name: [] for name in windows}
        for some, answers in zip(asked, replies):
            for name, answer in zip(some, answers):
                let[name].append(answer)
        for name in windows:
            assert sorted(let[name]) == [0] * (100 - limit) + list(range(span * limit + 1, (span + 1) * limit + 1)), (name, span)
            assert crowd[0].do("ZCARD", name) == limit and crowd[0].do("GET", name + ":seq") == b"%d" % ((span + 1) * limit)


def test_a_sweep_beside_a_crowd_that_writes_takes_groups_whole(crowd):
    """SCAN and DEL without keys, beside MSET over all shards: of each group all keys go or none, and what another pattern names stays."""
    rng = random.Random(random.getrandbits(32))
    size, written, swept, seen = 4, [], 0, []

    def keys_of(group):
        return ["%s:%d" % (group, i) for i in range(size)]

    for round_ in range(8):
        requests = []
        for i in range(len(crowd)):
            if i % 10 == 0:
                requests.append([("EVAL", SWEEP, "0", "session:*")])
            elif i % 10 == 1:
                requests.append([("MGET", *keys_of(rng.choice(("session:%d:%d", "other:%d:%d")) % (round_, rng.randrange(len(crowd))))) for _ in range(3)])
            else:
                group = ("session:%d:%d" if i % 2 else "other:%d:%d") % (round_, i)
                requests.append([("MSET", *[word for key in keys_of(group) for word in (key, group)])])
                written.append(group)
        order = rng.sample(range(len(crowd)), len(crowd))
        replies = at_once([crowd[i] for i in order], [requests[i] for i in order])
        for i, answers in zip(order, replies):
            for request, answer in zip(requests[i], answers):
                if request[0] == "EVAL":
                    assert answer % size == 0
                    swept += answer
                    seen.append(answer)
                elif request[0] == "MGET":
                    assert answer in ([None] * size, [request[1].rsplit(":", 1)[0].encode()] * size), request
                else:
                    assert answer == "OK"
        for group in written:
            crowd[0].send(encode("MGET", *keys_of(group)))
        left = [crowd[0].read() for _ in written]
        gone = [group for group, values in zip(written, left) if values == [None] * size]
        assert all(values in ([None] * size, [group.encode()] * size) for group, values in zip(written, left))
        assert all(group.startswith("session") for group in gone) and len(gone) * size == swept
        assert crowd[0].do("DBSIZE") == len(written) * size - swept
    swept += crowd[0].do("EVAL", SWEEP, "0", "session:*")
    assert swept == size * sum(group.startswith("session") for group in written) and any(seen)
    assert crowd[0].do("DBSIZE") == size * sum(group.startswith("other") for group in written)


def test_every_division_of_a_command_in_view(start_server):
    """With all shards in view a script's commands answer as they do alone."""
    s = start_server()
    questions = [
        ["MSET", "a", "1", "b", "2", "c", "3", "d", "4"],
        ["MGET", "a", "b", "missing", "d"],
        ["DEL", "a", "b", "missing"],
        ["EXISTS", "c", "d", "c", "a"],
        ["MSETNX", "c", "1", "e", "2"],
        ["MSETNX", "f", "1", "e", "2", "g", "3"],
        ["UNLINK", "f", "e", "g"],
        ["SADD", "s1", "x", "y", "z"],
        ["SADD", "s2", "y", "z", "w"],
        ["SINTER", "s1", "s2", "s1"],
        ["SUNIONSTORE", "s3", "s1", "s2", "nothing"],
        ["SMOVE", "s1", "s4", "x"],
        ["RPUSH", "l1", "1", "2", "3"],
        ["LMOVE", "l1", "l2", "LEFT", "RIGHT"],
        ["LMPOP", "3", "nothing", "l2", "l1", "LEFT", "COUNT", "2"],
        ["BLMPOP", "0", "3", "nothing", "none", "l9", "LEFT"],
        ["RENAME", "l1", "l5"],
        ["COPY", "l5", "l6"],
        ["ZADD", "z1", "1", "a", "2", "b"],
        ["ZADD", "z2", "5", "a"],
        ["ZUNIONSTORE", "z3", "2", "z1", "z2"],
        ["PFADD", "h1", "a", "b"],
        ["PFADD", "h2", "c"],
        ["PFCOUNT", "h1", "h2"],
        ["PFMERGE", "h3", "h1", "h2"],
        ["BITOP", "OR", "bits", "c", "d"],
        ["XADD", "x1", "1-1", "f", "v"],
        ["XADD", "x2", "1-1", "f", "v"],
        ["XGROUP", "CREATE", "x1", "g", "0"],
        ["XGROUP", "CREATE", "x2", "g", "0"],
        ["XREAD", "STREAMS", "x1", "x2", "0", "0"],
        ["XREADGROUP", "GROUP", "g", "c", "STREAMS", "x1", "x2", ">", ">"],
        ["XREADGROUP", "GROUP", "g", "c", "STREAMS", "x1", "x2", ">", ">"],
        ["SORT", "l5", "BY", "w*", "GET", "#"],
        ["TOUCH", "l5", "l6", "x1"],
        ["DBSIZE"],
        ["LPUSH", "s1", "x"],
        ["EVAL", "return 1", "0"],
    ]
    with s.raw() as c:
        plain = [c.do(*(q if q[0] != "BLMPOP" else ["PING"])) for q in questions]
        c.do("FLUSHALL")
        c.do("EVAL", "redis.call('DBSIZE') return redis.pcall(unpack(ARGV))", "0", "PING")  # known to go everywhere
        scripted = []
        for q in questions:
            scripted.append(c.do("EVAL", "redis.call('DBSIZE') return redis.pcall(unpack(ARGV))", "0", *q))
    for q, a, b in zip(questions, plain, scripted):
        if q[0] == "EVAL":
            assert "not allowed from script" in str(b)
        elif q[0] == "BLMPOP":
            assert b is None
        elif isinstance(a, Exception):
            assert str(a) == str(b), q
        elif isinstance(a, list) and q[0] in ("SINTER", "SUNION"):
            assert sorted(a) == sorted(b), q
        else:
            assert a == b or (isinstance(a, NullArray) and b is None), q


def test_every_command_may_be_tried_by_a_script(start_server):
    """Whatever it calls with whatever words: it is answered, and the server lives. Each command has a script of its own, so it is
    tried with all shards in view first, and then, if it has looked nowhere else, on one."""
    s = start_server()
    words = [b"", b"k", b"1", b"0", b"-1", b"*", b"GET", b"COUNT", b"STORE", b"STREAMS", b"$", b"nan", b"KEYS", b"LEFT"]
    rng = random.Random(5)
    with s.raw() as c:
        for name in sorted(c.do("COMMAND", "LIST")):
            script = b"-- " + name + b"\nreturn redis.pcall(unpack(ARGV))"
            for count in (0, 0, 1, 1, 2, 2, 3, 3, 4, 5):
                c.do("EVAL", script, "1", "k", *name.split(b"|"), *[rng.choice(words) for _ in range(count)])
        assert c.do("PING") == "PONG"


def test_what_concerns_a_connection_concerns_the_script(start_server):
    s = start_server()
    with s.raw() as c:
        for _ in range(2):  # in view, and then on a shard
            times = c.do("EVAL", "local a = redis.call('TIME') for i = 1, 1e6 do end return {a, redis.call('TIME')}", "1", "k")
            at = [int(seconds) * 1_000_000 + int(us) for seconds, us in times]
            assert 1_700_000_000_000_000 < at[0] == at[1]  # as in Valkey; in Redis 7 time goes on
            assert c.do("EVAL", "redis.call('SELECT', 3) redis.call('SET', KEYS[1], 'x') return redis.call('PING')", "1", "k") == "PONG"
            assert c.do("EVAL", "return {redis.call('READONLY'), redis.call('READWRITE')}", "1", "k") == ["OK", "OK"]
            assert c.do("EVAL", "return redis.call('LASTSAVE')", "1", "k") == c.do("LASTSAVE")
            assert c.do("EVAL", "return redis.call('PUBSUB', 'HELP')[1]", "1", "k") == c.do("PUBSUB", "HELP")[0]
            assert c.do("GET", "k") is None
        c.do("SELECT", "3")
        assert c.do("GET", "k") == b"x"


COUNTED = [  # a script, what errorstats has of it, (rejected, failed) of the command it calls
    ("return redis.call('incr', KEYS[1])", "incr", (0, 1), 1),
    ("return redis.pcall('incr', KEYS[1])", "incr", (0, 1), 1),
    ("redis.pcall('incr', KEYS[1]) return 1", "incr", (0, 1), 0),
    ("return redis.call('get')", "get", (1, 0), 1),
    ("redis.pcall('get') return 1", "get", (1, 0), 0),
    ("return redis.pcall('auth', 'x')", "auth", (1, 0), 1),
    ("#!lua flags=no-writes\nreturn redis.call('set', KEYS[1], 1)", "set", (1, 0), 1),
    ("local ok, e = pcall(redis.call, 'get') return 1", "get", (1, 0), 0),
    ("return {err='ERR own'}", None, None, 1),
]


def test_an_error_is_counted_once_wherever_it_ends(start_server):
    """That of a command was counted once more as the script's."""
    s = start_server()
    with s.raw() as c:
        c.do("SET", "k", "x")
        for script, name, counts, failed in COUNTED:
            c.do("CONFIG", "RESETSTAT")
            c.do("EVAL", script, "1", "k")
            info = s.info("everything")
            assert info["errorstat_ERR"] == "count=1" and info["total_error_replies"] == "1", script
            assert info["cmdstat_eval"].endswith("rejected_calls=0,failed_calls=%d" % failed), script
            if name:
                assert info["cmdstat_" + name].endswith("rejected_calls=%d,failed_calls=%d" % counts), script


def test_it_waits_for_a_key_that_is_locked(start_server):
    """MIGRATE has a key locked until the other server answers. A script that comes by that key, declared or not, waits; also if it
    has written before, and nobody sees what until it is over."""
    s = start_server()
    for script, declared in [
        ("return redis.call('APPEND', KEYS[1], '2')", "moved"),
        ("return redis.call('APPEND', 'moved', '2')", "{moved}other"),
        ("redis.call('INCR', KEYS[1]) return redis.call('APPEND', 'moved', '2')", "{moved}other"),
        ("redis.call('INCR', KEYS[1]) redis.call('DBSIZE') return redis.call('APPEND', 'moved', '2')", "{moved}other"),
    ]:
        go = threading.Event()
        with Target(lambda connection, request, words: go.wait(60) and b"+OK\r\n") as target, s.raw() as c, s.raw() as d, s.raw() as e:
            c.do("FLUSHALL"), c.do("SET", "moved", "1")
            for key in ("a", "b"):  # the script is known to stay where it is
                assert c.do("EVAL", script, "1", declared) > 0
            c.do("SET", "moved", "1"), c.do("DEL", "{moved}other")
            c.send(encode("MIGRATE", "127.0.0.1", target.port, "moved", "0", "60000", "COPY"))
            assert wait_for(lambda: target.requests)
            d.send(encode("EVAL", script, "1", declared))
            assert e.do("PING") == "PONG"
            e.send(encode("GET", "{moved}other"))
            go.set()
            assert c.read() == "OK"
            assert d.read() == 2
            assert e.read() in (None, b"1")
            assert c.do("GET", "moved") == b"12"
            assert c.do("GET", "{moved}other") == (b"1" if "INCR" in script else None)


def test_in_exec_it_waits_too(start_server):
    s = start_server()
    script = "return redis.call('INCR', KEYS[1]) + redis.call('APPEND', 'moved', '2')"
    for commands in (1, 3):
        go = threading.Event()
        with Target(lambda connection, request, words: go.wait(60) and b"+OK\r\n") as target, s.raw() as c, s.raw() as d:
            c.do("FLUSHALL"), c.do("SET", "moved", "1")
            c.send(encode("MIGRATE", "127.0.0.1", target.port, "moved", "0", "60000", "COPY"))
            assert wait_for(lambda: target.requests)
            d.do("MULTI"), [d.do("EVAL", script, "1", "{moved}other") for _ in range(commands)], d.do("PING")
            d.send(encode("EXEC"))
            go.set()
            assert c.read() == "OK"
            assert d.read() == [3, 5, 7][:commands] + ["PONG"]


def test_who_waits_is_served_between_two_that_run_together(start_server):
    """Scripts that need all shards share a view when many come at once. What one of them pushes is for who waits, and not for the next
    script; each has its own reply, in its own database, and none is done twice or left out."""
    s = start_server()
    taken, lost, rounds, crowd = [], [], 60, 8
    push = "redis.call('INCR', 'pushed:' .. ARGV[1]) return redis.call('LPUSH', 'line:' .. ARGV[1], ARGV[2])"
    steal = "local v = redis.call('RPOP', 'line:' .. ARGV[1]) redis.call('INCR', 'stolen:' .. ARGV[1]) return v or ARGV[2]"
    with s.raw() as waiter, s.raw() as c:

        def wait_first(round_):
            waiter.send(encode("BLPOP", "line:%d" % round_, "0"))
            assert wait_for(lambda: b"blocked_clients:1" in c.do("INFO", "clients"))

        for r in range(rounds):
            wait_first(r)

            def one(i, r=r):
                with s.raw() as mine:
                    if i == 0:
                        assert mine.do("EVAL", push, "0", str(r), "token:%d" % r) == 1
                    else:
                        got = mine.do("EVAL", steal, "0", str(r), "mine:%d" % i)
                        (taken if got == b"mine:%d" % i else lost).append(got)

            in_threads(crowd, one)
            assert waiter.read() == [b"line:%d" % r, b"token:%d" % r]
            assert c.do("MGET", "pushed:%d" % r, "stolen:%d" % r) == [b"1", b"%d" % (crowd - 1)]
    assert not lost and len(taken) == rounds * (crowd - 1)


@pytest.mark.several_shards
@pytest.mark.timing
@pytest.mark.parametrize("log", ["no", "over"])
def test_many_that_come_at_once_park_the_others_once(start_server, log):
    """Scripts that need all shards share a view, also those of pipelines: each client's next one is there for the next view."""
    s = start_server(appendonly="no")  # with a log each goes alone
    crowd, depth = 40, 16
    script = "redis.call('RPUSH', 'order:' .. ARGV[1], ARGV[2]) return redis.call('INCR', 'all')"
    with s.raw() as c:
        sha = c.do("SCRIPT", "LOAD", script).decode()
        for value in ["yes", "no"] * (log == "over"):
            assert c.do("CONFIG", "SET", "appendonly", value) == "OK"
            assert wait_for(lambda: b"aof_enabled:%d" % (value == "yes") in c.do("INFO", "persistence"))

        def parks():
            shards = re.findall(rb"parked=(\d+)", c.do("INFO", "shards"))
            return sum(int(n) for n in shards) / (len(shards) - 1)

        assert c.do("EVALSHA", sha, "0", "first", "0") == 1  # it is known where it looks
        assert c.do("CLIENT", "PAUSE", "100000", "WRITE") == "OK"
        clients = [s.raw() for _ in range(crowd)]
        for i, client in enumerate(clients):
            client.send(b"".join(encode("EVALSHA", sha, "0", str(i), str(n)) for n in range(depth)))
        before = parks()
        assert c.do("CLIENT", "UNPAUSE") == "OK"
        counts = [client.read() for client in clients for _ in range(depth)]
        assert sorted(counts) == list(range(2, crowd * depth + 2))
        assert parks() - before <= crowd * depth / 4  # one for each otherwise
        for i in range(crowd):
            assert c.do("LRANGE", "order:%d" % i, "0", "-1") == [b"%d" % n for n in range(depth)]
        [client.close() for client in clients]


def test_many_that_run_together_have_each_its_own_reply(start_server):
    """In several databases and both protocols, in pipelines; errors among them; and clients that leave without waiting for theirs."""
    s = start_server()
    script = (
        "local n = redis.call('INCR', 'sum:' .. ARGV[1]) redis.call('RPUSH', 'all', ARGV[2]) "
        "if ARGV[3] == 'fails' then redis.call('LPUSH', 'sum:' .. ARGV[1], 1) end return {n, ARGV[2]}"
    )
    rounds, crowd = 40, 8

    def one(i):
        with s.raw() as c:
            c.do("SELECT", str(i % 3))
            for r in range(rounds):
                for k in range(4):
                    c.send(encode("EVAL", script, "0", str(i), "%d:%d:%d" % (i, r, k), "fails" if k == 2 else ""))
                for k in range(4):
                    reply = c.read()
                    if k == 2:
                        assert "WRONGTYPE" in str(reply)
                    else:
                        assert reply == [r * 4 + k + 1, b"%d:%d:%d" % (i, r, k)]
                if r % 10 == 9:
                    with s.raw() as leaver:
                        leaver.do("SELECT", str(i % 3))
                        leaver.send(encode("EVAL", "return redis.call('RPUSH', 'left', ARGV[1])", "0", str(i)))

    in_threads(crowd, one)
    with s.raw() as c, s.raw(timeout=60) as monitor:
        monitor.do("MONITOR")

        def told(i):
            with s.raw() as mine:
                for r in range(rounds):
                    mine.do("EVAL", "return redis.call('INCR', 'told:' .. ARGV[1])", "0", "told-%d-%d." % (i, r))

        in_threads(crowd, told)
        seen = set()
        while len(seen) < crowd * rounds:
            line = str(monitor.read())
            if '"EVAL"' in line and "told-" in line:  # others have left late
                seen.add(line[line.index("told-") :])
        everything = set()
        for db in range(3):
            c.do("SELECT", str(db))
            assert wait_for(lambda db=db: c.do("LLEN", "left") == 4 * len([i for i in range(crowd) if i % 3 == db]))
            mine = c.do("LRANGE", "all", "0", "-1")
            assert len(mine) == len(set(mine))
            everything |= set(mine)
            for i in range(crowd):
                own = [m for m in mine if m.startswith(b"%d:" % i)]
                assert own == ([b"%d:%d:%d" % (i, r, k) for r in range(rounds) for k in range(4)] if i % 3 == db else [])
        assert len(everything) == crowd * rounds * 4


def test_what_it_publishes_arrives_once(start_server):
    """A script publishes, wherever it runs, before it looks elsewhere, and behind that; in EXEC; and asks who listens."""
    s = start_server()
    script = (
        "redis.call('INCR', KEYS[1]) local n = redis.call('PUBLISH', 'news', ARGV[1] .. ':first') "
        "if ARGV[2] == 'far' then redis.call('INCR', 'far:' .. ARGV[1]) end "
        "return n + redis.call('PUBLISH', 'news', ARGV[1] .. ':second')"
    )
    with s.raw() as listener, s.raw() as c:
        assert listener.do("SUBSCRIBE", "news") == [b"subscribe", b"news", 1]
        expected = []
        for i in range(40):
            own = "-- %d\n" % i + script
            for how in ("near", "near", "far", "far"):
                assert c.do("EVAL", own, "1", "key:%d" % i, "%d%s" % (i, how), how) == 2
                expected += [b"%d%s:first" % (i, how.encode()), b"%d%s:second" % (i, how.encode())]
            c.do("MULTI")
            c.do("EVAL", own, "1", "key:%d" % i, "%dexec" % i, "near")
            assert c.do("EXEC") == [2]
            expected += [b"%dexec:first" % i, b"%dexec:second" % i]
            assert c.do("GET", "key:%d" % i) == b"5"
        assert [listener.read()[2] for _ in expected] == expected
        assert c.do("EVAL", "return redis.call('PUBSUB', 'NUMSUB', 'news', 'none')", "0") == [b"news", 1, b"none", 0]
        assert c.do("EVAL", "return {redis.call('PUBSUB', 'CHANNELS'), redis.call('PUBSUB', 'NUMPAT'), redis.call('SPUBLISH', 'news', 'x')}", "0") == [[b"news"], 0, 0]
        assert c.do("EVAL", "return redis.call('WAIT', '1', '0')", "0") == 0


def test_those_that_write_and_then_look_elsewhere_let_others_go_on(start_server):
    """Their shards are sealed meanwhile: who is refused for it, again and again, still has his turn, and so have they."""
    s = start_server()
    rounds = 400

    def one(i):
        rng = random.Random(i)
        with s.raw(timeout=100) as c:
            for n in range(rounds):
                some = rng.sample(range(12), rng.randint(1, 4))
                pick = rng.randrange(8)
                if pick < 4:
                    script = "-- %d %d\nredis.call('SET', KEYS[1], 1) if ARGV[1] then return redis.call('SET', ARGV[1], %d) end" % (i, n, n)
                    own = "dirt:%d:%d" % (i, n)
                    c.do("EVAL", script, "1", own)  # it is known to stay where it is
                    reply = c.do("EVAL", script, "1", own, "k%d" % some[0])
                    assert reply == "OK" or "Script has written" in str(reply)
                elif pick == 4:
                    c.do(rng.choice(["SADD", "SREM"]), "names", *some)
                elif pick == 5:
                    assert c.do("MSET", *[word for k in some for word in ("k%d" % k, n)]) == "OK"
                else:
                    assert isinstance(c.do("SORT_RO", "names", "BY", "k*", "GET", "#", "GET", "k*"), list)

    in_threads(24, one)


@pytest.mark.parametrize("kind", ["exec", "plain"])
def test_a_script_that_has_written_ends_before_the_role_changes(start_server, kind):
    """Sentinel makes a replica of a primary in one transaction that also kills its clients. A script that has written and then
    looks elsewhere waits for all keys meanwhile: half of it must not stay, and what is a replica is not written to."""
    s = start_server(config_file="# CONFIG REWRITE wants one\n")
    with s.raw() as c:
        nobody = free_port()
        follow = ["SLAVEOF", "127.0.0.1", nobody]
        both = """redis.call('INCR', KEYS[1]) redis.call('RPUSH', KEYS[1] .. ':l', ARGV[1])
if ARGV[2] then redis.call('INCR', ARGV[2]) redis.call('RPUSH', ARGV[2] .. ':l', ARGV[1]) end"""
        stop, whole, cut, done = threading.Event(), [], [], []

        def write(i):
            n = 0
            while not stop.is_set():
                try:
                    with s.raw() as w:
                        while not stop.is_set():
                            n += 1
                            script, tag = "-- %d %d\n%s" % (i, n, both), "{%d.%d}" % (i, n)
                            w.do("EVAL", script, 1, tag + "near", 1)
                            reply = w.do("EVAL", script, 1, tag + "a", n, "{b%s}%s" % (tag[1:-1], "b"))
                            (cut if "has written" in str(reply) else whole).append((tag + "a", "{b%s}b" % tag[1:-1]))
                            done.append(reply is None)
                            time.sleep(0.005 if "READONLY" in str(reply) else 0)
                except (OSError, EOFError):
                    whole.append((tag + "a", "{b%s}b" % tag[1:-1]))  # killed; it may be all or nothing

        threads = [threading.Thread(target=write, args=(i,)) for i in range(6)]
        [t.start() for t in threads]
        try:
            for _ in range(8):
                before = done.count(True)
                assert wait_for(lambda: done.count(True) > before + 12)
                if kind == "exec":
                    steps = [["MULTI"], follow, ["CONFIG", "REWRITE"], ["CLIENT", "KILL", "TYPE", "normal"]]
                    assert [str(c.do(*words)) for words in steps] == ["OK", "QUEUED", "QUEUED", "QUEUED"]
                    assert c.do("EXEC")[:2] == ["OK", "OK"]
                else:
                    assert c.do(*follow) == "OK"
                digest = c.do("DEBUG", "DIGEST")
                for _ in range(5):
                    assert c.do("DEBUG", "DIGEST") == digest  # what is a replica by now changes no more
                seen, torn = whole[-60:], {pair[0] for pair in cut}
                counts = c.do("MGET", *[key for pair in seen for key in pair])
                lengths = [[c.do("LLEN", key + ":l") for key in pair] for pair in seen]
                for pair, a, b, sizes in zip(seen, counts[::2], counts[1::2], lengths):
                    assert (a == b and sizes[0] == sizes[1] == int(a or 0)) or pair[0] in torn, (pair, a, b, sizes)
                assert c.do("SLAVEOF", "NO", "ONE") == "OK"
        finally:
            stop.set()
            [t.join(60) for t in threads]
