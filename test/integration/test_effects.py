# SPDX-License-Identifier: BSD-3-Clause
"""What writes tell: events, as notifications will publish them, and effects, as a log and replicas will get them.

Both are shown by DEBUG EVENTS and DEBUG EFFECTS. Events must be those that Valkey publishes, command by command and option by
option (writes.py). Effects, given to a second server, must make the same data, whatever ran at the same time on any shards.
"""

import random
import re
import threading
import time

import pytest

import writes
from resp import RespError, encode, parse
from server import Server, find_peer, wait_for
from slots import slot
from test_shards import key_in
from test_stalls import COUNTS, fill

pytestmark = pytest.mark.row_each

CLASSES = "g$lshztxnm"


def each_case():
    return [pytest.param(one, id=one["name"]) for one in writes.CASES]


def effects(c):
    return [[word.decode("utf-8", "surrogateescape") for word in command] for command in c.do("DEBUG", "EFFECTS", "READ")]


def events(c):
    return [(db, cls.decode(), name.decode(), key.decode()) for db, (cls, name, key) in c.do("DEBUG", "EVENTS", "READ")]


def replay(c, commands):
    """Gives what was read to another server, as a replica would run it."""
    c.send(b"".join(encode(*command) for command in commands))
    for command in commands:
        reply = c.read()
        assert not isinstance(reply, RespError), (command, reply)


def digest(c):
    return c.do("DEBUG", "DIGEST")


@pytest.fixture
def c(server, kind):
    if kind != "shoal":
        pytest.skip("only Shoal has DEBUG EFFECTS")  # Valkey's AOF and channels are what it is compared with
    with server.raw() as c:
        c.do("SELECT", "0")
        c.do("FLUSHALL")
        yield c
        c.do("DEBUG", "SET-ACTIVE-EXPIRE", "1")
        c.do("DEBUG", "EFFECTS", "OFF")
        c.do("DEBUG", "EVENTS", "OFF")


def set_active_expire(c, one):
    c.do("DEBUG", "SET-ACTIVE-EXPIRE", "0" if one.get("lazy") else "1")


# ---- The list


@pytest.mark.row_once
def test_every_command_that_writes_has_a_case(c):
    writing = {info[0].decode() for info in c.do("COMMAND") if b"write" in [flag.encode() for flag in info[2]]}
    assert writing - writes.names() == set()
    assert len(writing) > 25


# ---- Beside Valkey


class Peer:
    """A Valkey whose events are listened to and whose log is read."""

    def __init__(self, server):
        self.server = server
        self.c = server.raw()
        self.listener = server.raw()
        self.listener.do("PSUBSCRIBE", "__keyevent@*")
        self.log = None
        self.log_at = 0

    def close(self):
        self.c.close()
        self.listener.close()

    def events(self):
        self.c.do("PUBLISH", "__keyevent@end", "")
        found = []
        while True:
            _, _, channel, key = self.listener.read()
            if channel == b"__keyevent@end":
                return found
            db, name = channel[len(b"__keyevent@") :].split(b"__:")
            found.append((int(db), name.decode(), key.decode()))

    def logged(self):
        if self.log is None:
            folder = self.c.do("CONFIG", "GET", "dir")[1].decode() + "/appendonlydir/"
            name = self.c.do("CONFIG", "GET", "appendfilename")[1].decode()
            self.log = folder + name + ".1.incr.aof"
        with open(self.log, "rb") as f:
            f.seek(self.log_at)
            data = f.read()
        self.log_at += len(data)
        at, found = 0, []
        while at < len(data):
            command, at = parse(data, at)
            found.append([word.decode("utf-8", "surrogateescape") for word in command])
        return found


@pytest.fixture(scope="module")
def peer():
    path = find_peer("valkey")
    if not path:
        # `./dev test` fetches one, so this is for who runs pytest alone.
        pytest.skip("no valkey-server: put it in PATH or give its path in SHOAL_VALKEY")
    config = {"appendonly": "yes", "appendfsync": "no", "aof-use-rdb-preamble": "no", "notify-keyspace-events": "EA" + CLASSES}
    server = Server(path, config, kind="valkey")
    server.start()
    peer = Peer(server)
    yield peer
    peer.close()
    server.stop(check=False)


def run_at_peer(peer, one):
    """Events and log of a case."""
    peer.c.do("FLUSHALL")
    set_active_expire(peer.c, one)
    writes.run(peer.c, one["before"], one["name"])
    peer.events(), peer.logged()
    writes.run(peer.c, one["commands"], one["name"])
    return peer.events(), peer.logged()


def by_key(found):
    """Of several shards only the order of what concerns one key is that of one shard."""
    order = {}
    for db, name, key in found:
        order.setdefault((db, key), []).append(name)
    return order


def blocked(c):
    return int(re.search(r"blocked_clients:(\d+)", c.do("INFO", "clients").decode()).group(1))


def waits(server, c, *command):
    """A client that waits."""
    other = server.raw()
    before = blocked(c)
    other.send(encode(*command))
    assert wait_for(lambda: blocked(c) == before + 1)
    return other


def test_what_served_clients_did_stands_behind_what_served_them(server, c):
    with waits(server, c, "BLPOP", "k", "0") as one, waits(server, c, "BLMPOP", "0", "2", "j", "k", "RIGHT", "COUNT", "2") as two:
        c.do("DEBUG", "EFFECTS", "ON")
        c.do("RPUSH", "k", "1", "2", "3", "4")
        assert effects(c) == [["MULTI"], ["SELECT", "0"], ["RPUSH", "k", "1", "2", "3", "4"], ["LPOP", "k"], ["RPOP", "k", "2"], ["EXEC"]]
        assert (one.read(), two.read()) == ([b"k", b"1"], [b"k", [b"4", b"3"]])
    c.do("DEL", "k")
    for to in ["to:%d" % i for i in range(8)]:
        with waits(server, c, "BLMOVE", "k", to, "LEFT", "RIGHT", "0") as one, waits(server, c, "BRPOP", to, "0") as two:
            c.do("DEBUG", "EFFECTS", "ON")
            c.do("RPUSH", "k", "1")
            assert (one.read(), two.read()) == (b"1", [to.encode(), b"1"])
            got = [effect for effect in effects(c) if effect not in (["MULTI"], ["SELECT", "0"], ["EXEC"])]
            moved = [["LMOVE", "k", to, "LEFT", "RIGHT"]] if len(got) == 3 else [["RPUSH", to, "1"], ["LPOP", "k"]]
            assert got[0] == ["RPUSH", "k", "1"] and ["RPOP", to] in got
            assert sorted(got[1:]) == sorted(moved + [["RPOP", to]])


def test_what_served_clients_did_makes_the_same_data_elsewhere(server, c, start_server):
    keys = ["key:%d" % i for i in range(12)]
    c.do("DEBUG", "EFFECTS", "ON")
    stop = threading.Event()

    def wait(seed):
        rng = random.Random(seed)
        with server.raw() as one:
            while not stop.is_set():
                if rng.random() < 0.5:
                    one.do("BLMOVE", rng.choice(keys), rng.choice(keys), "LEFT", rng.choice(["LEFT", "RIGHT"]), "0.01")
                else:
                    one.do(rng.choice(["BLPOP", "BRPOP"]), *rng.sample(keys, 3), "0.01")

    threads = [threading.Thread(target=wait, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    rng = random.Random(1)
    for i in range(300):
        group = [rng.choice(["RPUSH", "LPUSH"]) + " %s %d" % (rng.choice(keys), i) for _ in range(rng.choice([1, 1, 2, 4]))]
        if len(group) > 1:
            c.do("MULTI")
        for command in group:
            c.do(*command.split(" "))
        if len(group) > 1:
            c.do("EXEC")
    stop.set()
    for t in threads:
        t.join()
    told = effects(c)
    with start_server().raw() as copy:
        replay(copy, told)
        assert digest(copy) == digest(c)


@pytest.mark.parametrize("one", each_case())
def test_events_are_those_of_valkey(c, peer, shards, one):
    expected, _ = run_at_peer(peer, one)
    set_active_expire(c, one)
    writes.run(c, one["before"], one["name"])
    c.do("DEBUG", "EVENTS", "ON")
    writes.run(c, one["commands"], one["name"])
    found = [(db, name, key) for db, _, name, key in events(c)]
    if shards == 1:
        assert found == expected
    assert by_key(found) == by_key(expected)


READS = [
    "GET {a}", "MGET {a} {b}", "STRLEN {a}", "GETRANGE {a} 0 1", "EXISTS {a} {b}", "TOUCH {a} {b}", "TYPE {a}", "TTL {a}", "PTTL {a}",
    "EXPIRETIME {a}", "PEXPIRETIME {a}", "OBJECT ENCODING {a}", "OBJECT FREQ {a}", "LCS {a} {b}", "DBSIZE", "SCAN 0", "RANDOMKEY",
    "KEYS *", "SUBSTR {a} 0 1", "SCARD {a}", "SISMEMBER {a} x", "SMISMEMBER {a} x y", "SMEMBERS {a}",
    "LLEN {a}", "LINDEX {a} 0", "LRANGE {a} 0 -1", "LPOS {a} x",
    "XLEN {a}", "XRANGE {a} - +", "XREVRANGE {a} + -", "XREAD STREAMS {a} 0", "XREAD STREAMS {a} {c} 0 $",
    "HGET {a} f", "HMGET {a} f g", "HGETALL {a}", "HKEYS {a}", "HVALS {a}", "HLEN {a}", "HSTRLEN {a} f", "HEXISTS {a} f",
    "HRANDFIELD {a}", "HRANDFIELD {a} 2", "HSCAN {a} 0",
    "ZCARD {a}", "ZSCORE {a} x", "ZMSCORE {a} x", "ZRANGE {a} 0 -1", "ZRANK {a} x", "ZCOUNT {a} 0 1",
    "ZLEXCOUNT {a} - +", "ZRANDMEMBER {a}", "ZSCAN {a} 0", "ZUNION 2 {a} {c}", "ZINTER 2 {a} {c}", "ZDIFF 2 {a} {c}", "ZINTERCARD 2 {a} {c}",
    "SRANDMEMBER {a}", "SRANDMEMBER {a} 3", "SSCAN {a} 0", "SINTER {a} {c}", "SUNION {a} {c}", "SDIFF {a} {c}", "SINTERCARD 2 {a} {c}",
    "SINTER {a} {b}", "SINTERCARD 2 {c} {b}",
    "HTTL {a} FIELDS 1 f", "HPTTL {a} FIELDS 1 f", "HEXPIRETIME {a} FIELDS 1 f", "HPEXPIRETIME {a} FIELDS 1 f",
    "GEOPOS {a} x", "GEOSEARCH {a} FROMLONLAT 1 2 BYRADIUS 1 km", "GEORADIUS {a} 1 2 3 km",
]  # fmt: skip


@pytest.mark.parametrize("command", READS)
def test_misses_of_reads_are_those_of_valkey(c, peer, command):
    one = writes.case("reads", command, before=["SET {b} v"])
    expected, _ = run_at_peer(peer, one)
    writes.run(c, one["before"], one["name"])
    c.do("DEBUG", "EVENTS", "ON")
    c.do("DEBUG", "EFFECTS", "ON")
    writes.run(c, one["commands"], one["name"])
    assert [(db, name, key) for db, _, name, key in events(c)] == expected
    assert effects(c) == []


@pytest.mark.row_once
@pytest.mark.parametrize("setting", ["lazyfree-lazy-expire", "lazyfree-lazy-user-del", "lazyfree-lazy-user-flush"])
def test_effects_name_what_frees_at_once_as_valkey_does(c, peer, shards, setting):
    names = ["set-exat-past", "expire-past", "expired-on-get", "getdel", "delifeq", "del", "flushdb"]
    try:
        for connection in (c, peer.c):
            connection.do("CONFIG", "SET", setting, "no")
        for one in [one for one in writes.CASES if one["name"] in names]:
            _, expected = run_at_peer(peer, one)
            set_active_expire(c, one)
            c.do("FLUSHALL")
            writes.run(c, one["before"], one["name"])
            c.do("DEBUG", "EFFECTS", "ON")
            writes.run(c, one["commands"], one["name"])
            found = [command for command in effects(c) if command[0] != "SELECT"]
            assert same_commands(found, [command for command in expected if command[0] != "SELECT"])
    finally:
        for connection in (c, peer.c):
            connection.do("CONFIG", "SET", setting, "yes")


@pytest.mark.row_once
@pytest.mark.slow
def test_classes_of_events_are_those_of_valkey(c, peer):
    ours, theirs = set(), set()
    c.do("DEBUG", "EVENTS", "ON")
    for one in writes.CASES:
        set_active_expire(c, one)
        writes.run(c, one["before"] + one["commands"], one["name"])
    ours = {(cls, name) for _, cls, name, _ in events(c)}
    for cls in CLASSES:
        peer.c.do("CONFIG", "SET", "notify-keyspace-events", "E" + cls)
        for one in writes.CASES:
            set_active_expire(peer.c, one)
            writes.run(peer.c, one["before"] + one["commands"], one["name"])
        theirs |= {(cls, name) for _, name, _ in peer.events()}
    peer.c.do("CONFIG", "SET", "notify-keyspace-events", "EA" + CLASSES)
    assert ours == theirs


def same_word(ours, theirs):
    """Times that both drew from their clocks differ a little; ids of streams begin with such."""
    if ours.endswith("-0") and theirs.endswith("-0"):
        ours, theirs = ours[:-2], theirs[:-2]
    if ours.isdigit() and theirs.isdigit() and len(ours) == 13:
        return abs(int(ours) - int(theirs)) < 60000
    return ours == theirs


def same_commands(ours, theirs):
    return len(ours) == len(theirs) and all(
        len(a) == len(b) and all(same_word(x, y) for x, y in zip(a, b)) for a, b in zip(ours, theirs)
    )


def without_limit(command):
    """Valkey logs the LIMIT of a trim with the `=` that takes none: only its own log may say that to it."""
    if command[0] in ("XADD", "XTRIM") and "LIMIT" in command:
        at = command.index("LIMIT")
        return command[:at] + command[at + 2 :]
    return command


@pytest.mark.parametrize("one", each_case())
def test_effects_are_what_valkey_logs(c, peer, shards, one):
    if shards > 1:
        # Valkey has one log; shares of several are held to its state by the replay tests below.
        pytest.skip("what concerns several shards is logged by each of them")
    if one.get("logs_more"):
        # Shoal logs less there on purpose (docs/compat.md); the replay test below holds it.
        pytest.skip("what Valkey logs lets fields live on that are over")
    _, expected = run_at_peer(peer, one)
    set_active_expire(c, one)
    writes.run(c, one["before"], one["name"])
    c.do("DEBUG", "EFFECTS", "ON")
    writes.run(c, one["commands"], one["name"])
    found = [command for command in effects(c) if command[0] != "SELECT"]
    expected = [] if one.get("unlogged") else [without_limit(command) for command in expected if command[0] != "SELECT"]
    if one.get("drawn"):
        found, expected = [[command[:2] + [len(command)] for command in commands] for commands in (found, expected)]
        assert found == expected
    else:
        assert same_commands(found, expected), (found, expected)


# ---- A second server


@pytest.fixture(scope="module")
def second(server_binary, base_config, kind):
    """Takes what it is given, and lets nothing run out before it is told, as a replica."""
    s = Server(server_binary, dict(base_config, **{"import-mode": "yes"}), kind=kind)
    s.start()
    with s.raw() as c:
        assert c.do("CLIENT", "IMPORT-SOURCE", "ON") == "OK"
        yield c
    s.stop()


@pytest.mark.parametrize("one", each_case())
def test_effects_make_the_same_data(c, second, one):
    second.do("FLUSHALL")
    set_active_expire(c, one)
    c.do("DEBUG", "EFFECTS", "ON")
    writes.run(c, one["before"] + one["commands"], one["name"])
    replay(second, effects(c))
    assert digest(second) == digest(c)


def test_effects_of_all_of_it_make_the_same_data(c, second):
    second.do("FLUSHALL")
    c.do("DEBUG", "EFFECTS", "ON")
    for one in writes.CASES:
        set_active_expire(c, one)
        writes.run(c, one["before"] + one["commands"], one["name"])
    replay(second, effects(c))
    assert digest(second) == digest(c)


KEYS = ["k%d" % i for i in range(12)]


def random_command(rng):
    key, other, value = rng.choice(KEYS), rng.choice(KEYS), str(rng.randrange(100))
    return rng.choice(
        [
            ("SET", key, value),
            ("SET", key, value, "PX", str(rng.randrange(1, 30))),
            ("INCR", key),
            ("APPEND", key, value),
            ("INCRBYFLOAT", key, "0.5"),
            ("GETDEL", key),
            ("GETEX", key, "PX", str(rng.randrange(1, 100))),
            ("PERSIST", key),
            ("EXPIRE", key, rng.choice(["-1", "100"])),
            ("DEL", key, other),
            ("MSET", key, value, other, value + "x"),
            ("MSETNX", key, value, other, value),
            ("MSETEX", "2", key, value, other, value, "PX", "20"),
            ("RENAME", key, other),
            ("COPY", key, other, "REPLACE"),
            ("COPY", key, other, "DB", "1", "REPLACE"),
            ("MOVE", key, "1"),
            ("GET", key),
            ("MGET", key, other),
            ("DEL", key),
            (rng.choice(["LPUSH", "RPUSH"]), key, value, "x" * rng.choice([1, 100, 3000])),
            (rng.choice(["LPUSHX", "RPUSHX"]), key, value),
            ("LMOVE", key, other, rng.choice(["LEFT", "RIGHT"]), rng.choice(["LEFT", "RIGHT"])),
            ("RPOPLPUSH", key, other),
            (rng.choice(["LPOP", "RPOP"]), key, rng.choice(["1", "3"])),
            ("LREM", key, "0", value),
            ("LTRIM", key, "0", "5"),
            ("LSET", key, "0", value),
            ("SADD", key, value, "x" + value),
            ("SADD", key, *(str(rng.randrange(200)) for _ in range(20))),
            ("SREM", key, value, "7"),
            ("SPOP", key),
            ("SPOP", key, str(rng.randrange(12))),
            ("SMOVE", key, other, value),
            ("SUNIONSTORE", key, key, other),
            ("SINTERSTORE", key, key, other),
            ("SDIFFSTORE", key, other, rng.choice(KEYS)),
        ]
    )


def random_requests(rng):
    kind = rng.random()
    if kind < 0.2:
        commands = [random_command(rng) for _ in range(rng.randrange(1, 5))]
        return [("MULTI",)] + commands + [("EXEC",)]
    if kind < 0.21:
        return [rng.choice([("FLUSHDB",), ("SWAPDB", "0", "1"), ("FLUSHALL", "ASYNC")])]
    return [random_command(rng)]


def run_random(server, seed, rounds):
    rng = random.Random(seed)
    with server.raw() as c:
        for _ in range(rounds):
            requests = [request for _ in range(rng.randrange(1, 8)) for request in random_requests(rng)]
            c.send(b"".join(encode(*request) for request in requests))
            for _ in requests:
                c.read()


def move_slots(c, rng, shards):
    """Hands a slot of the keys to another shard, if nobody uses it just now."""
    reply = c.do("DEBUG", "MOVE-SLOT", str(slot(rng.choice(KEYS).encode())), str(rng.randrange(shards)))
    assert reply == "OK" or reply.startswith("BUSYSLOT")


@pytest.mark.parametrize("moving", [False, pytest.param(True, marks=pytest.mark.several_shards)], ids=["staying", "moving"])
@pytest.mark.parametrize("seed", range(4))
def test_effects_of_many_at_once_are_in_the_order_in_which_they_happened(server, c, second, shards, seed, moving):
    """INCR, APPEND, RENAME and the like tell any other order: what they make depends on what was there."""
    second.do("FLUSHALL")
    c.do("DEBUG", "EFFECTS", "ON")
    threads = [threading.Thread(target=run_random, args=(server, seed * 100 + i, 40)) for i in range(6)]
    for thread in threads:
        thread.start()
    rng = random.Random(seed)
    while moving and any(thread.is_alive() for thread in threads):
        move_slots(c, rng, shards)
    for thread in threads:
        thread.join()
    time.sleep(0.15)  # the short deadlines are over
    for db in ("1", "0"):
        c.do("SELECT", db)
        c.do("EXISTS", *KEYS)  # and what has run out is gone, whether the shards had time for it or not
    c.do("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    commands = effects(c)
    assert len(commands) > 100
    replay(second, commands)
    assert digest(second) == digest(c)


def write_in_pairs(server, keys, elsewhere):
    with server.raw(timeout=60) as c:
        for begin in range(0, len(keys), 20):
            some = keys[begin : begin + 20]
            c.send(b"".join(encode("MULTI") + encode("RPUSH", key, "v") + encode("INCR", elsewhere) + encode("EXEC") for key in some))
            done = [c.read() for _ in range(4 * len(some))][3::4]
            assert [reply[0] for reply in done] == [1] * len(some)  # each list is new: what was there is over


@pytest.mark.several_shards
def test_what_is_over_is_told_before_what_comes_in_its_place(server, c, second, shards):
    """A transaction has its place when all its locks are there: a key of it that was over by then, and was found by who looks for
    such keys before it ran, was told of behind what the transaction put there, and who replays it deletes that."""
    second.do("FLUSHALL")
    c.do("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    keys = ["over:%d" % i for i in range(6000)]
    c.send(b"".join(encode("SET", key, "v", "PX", "1") for key in keys))
    assert [c.read() for _ in keys] == ["OK"] * len(keys)
    time.sleep(0.01)
    c.do("DEBUG", "EFFECTS", "ON")
    threads = [threading.Thread(target=write_in_pairs, args=(server, keys[i::6], key_in(i % shards, shards, "count%d" % i))) for i in range(6)]
    for thread in threads:
        thread.start()
    c.do("DEBUG", "SET-ACTIVE-EXPIRE", "1")
    for thread in threads:
        thread.join()
    commands = effects(c)
    told = {}
    for command in commands:
        if command[0] in ("RPUSH", "UNLINK"):
            told.setdefault(command[1], []).append(command[0])
    assert {key: words for key, words in told.items() if words != ["UNLINK", "RPUSH"]} == {} and len(told) == len(keys)
    replay(second, commands)
    assert digest(second) == digest(c)


def ask_abreast(server, requests, abreast):
    with server.raw(timeout=60) as c:
        for begin in range(0, len(requests), 10):
            some = requests[begin : begin + 10]
            abreast.wait(60)
            c.send(b"".join(encode(*request) for request in some))
            for _ in some:
                c.read()


@pytest.mark.several_shards
def test_what_a_transaction_finds_over_is_told_before_it_lets_go(server, c, second, shards):
    """It reads when it has the locks of one shard; refused on another one it begins anew. What it had found to be over was told of
    with what it did then, behind what others had put there meanwhile."""
    second.do("FLUSHALL")
    c.do("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    keys = ["over:%d" % i for i in range(3000)]
    c.send(b"".join(encode("SET", key, "v", "PX", "1") for key in keys))
    assert [c.read() for _ in keys] == ["OK"] * len(keys)
    time.sleep(0.01)
    c.do("DEBUG", "EFFECTS", "ON")
    there = [key_in(i, shards, "there%d" % i) for i in range(shards)]
    orders = [[("RENAME", key, there[(i + j) % shards]) for j, key in enumerate(keys)] for i in range(4)]
    orders += [[("RPUSH", key, "v") for key in keys]] * 2
    abreast = threading.Barrier(len(orders))
    threads = [threading.Thread(target=ask_abreast, args=(server, order, abreast)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    commands = effects(c)
    first = {}
    for command in commands:
        if command[0] in ("RPUSH", "UNLINK"):
            first.setdefault(command[1], command[0])
    assert {first.get(key) for key in keys} == {"UNLINK"}
    replay(second, commands)
    assert digest(second) == digest(c)


def run_out(server, over):
    """Has keys run out on all shards: who has his locks on one of them must look at it again, at a later time."""
    keys = ["short%d" % i for i in range(40)]
    with server.raw(timeout=60) as c:
        while not over.is_set():
            c.send(b"".join(encode("SET", key, "v", "PX", "1") for key in keys))
            for _ in keys:
                c.read()
            time.sleep(0.0005)  # they do run out; and what is told of them must be read by the test in the end


def keyspace_count(r, name):
    return r.info("stats")["keyspace_" + name]


@pytest.mark.several_shards
@pytest.mark.parametrize("way", ["EXISTS", "EXEC"])
def test_what_is_read_again_is_told_and_counted_once(server, c, r, shards, way):
    absent = [key_in(i, shards, "absent") for i in range(shards)]
    there = [key_in(i, shards, "there") for i in range(shards)]
    c.do("MSET", *[word for key in there for word in (key, "v")])
    over, rounds = threading.Event(), 600
    threads = [threading.Thread(target=run_out, args=(server, over)) for _ in range(3)]
    for thread in threads:
        thread.start()
    c.do("DEBUG", "EVENTS", "ON")
    hits, misses = keyspace_count(r, "hits"), keyspace_count(r, "misses")
    reads = [("EXISTS", *absent, *there)]
    if way == "EXEC":
        reads = [("MULTI",)] + [("GET", key) for key in absent + there] + [("EXEC",)]
    for _ in range(rounds):
        c.send(b"".join(encode(*read) for read in reads))
        for _ in reads:
            c.read()
    hits, misses = keyspace_count(r, "hits") - hits, keyspace_count(r, "misses") - misses
    over.set()
    for thread in threads:
        thread.join()
    told = by_key([(db, name, key) for db, _, name, key in events(c) if name == "keymiss"])
    assert {key: len(names) for (_, key), names in told.items()} == {key: rounds for key in absent}
    assert (hits, misses) == (rounds * len(there), rounds * len(absent))


def test_a_transaction_over_shards_is_one_unit(c):
    c.do("DEBUG", "EFFECTS", "ON")
    c.do("MSET", *[word for key in KEYS for word in (key, "v")])
    found = effects(c)
    inside = [command for command in found if command[0] not in ("SELECT", "MULTI", "EXEC")]
    assert {word for command in inside for word in command[1::2]} == set(KEYS)
    if len(inside) > 1:
        assert found[0] == ["MULTI"] and found[-1] == ["EXEC"]


def test_values_that_are_received_into_their_own_block_are_told_whole(c, second):
    second.do("FLUSHALL")
    c.do("DEBUG", "EFFECTS", "ON")
    large, larger = "x" * 200000, "y" * 300000
    c.do("SET", "k", large)
    c.do("SET", "k", larger, "EX", "1000")
    c.do("MSETEX", "2", "k", large, "k", "small", "EX", "1000")
    c.do("MSET", "k", large, "k", larger, "other", large)
    replay(second, effects(c))
    assert digest(second) == digest(c)


@pytest.mark.several_shards
@pytest.mark.parametrize("shape", COUNTS)
def test_large_values_of_another_shard_are_told_in_slices_and_whole(server, c, second, shards, slow, shape):
    """They were told in one go: 200 ms for a sorted set of a million, in which the shard did nothing else."""
    second.do("FLUSHALL")
    a, b = key_in(0, shards, "from"), key_in(1, shards, "to")
    n = 20_000 // slow // 1000 * 1000
    c.do("DEBUG", "EFFECTS", "ON")
    c.do("DEBUG", "SET-ACTIVE-EXPIRE", "0")  # what was there runs out before the new value is told, and not behind it
    fill(c, shape, a, n)
    if shape == "stream":
        for group in ("g", "h"):
            c.do("XGROUP", "CREATE", a, group, "0")
            for consumer in ("one", "other", "third"):
                c.do("XREADGROUP", "GROUP", group, consumer, "COUNT", str(n // 4), "STREAMS", a, ">")
        c.do("XDEL", a, "1-1", "%d-1" % n)
    if shape == "hash":
        c.do("HPEXPIRE", a, "10000000", "FIELDS", "2", "element:000000001", "element:000000002")
    c.do("PEXPIRE", a, "10000000")
    with server.raw(timeout=60) as other:
        c.do("SET", b, "v", "PX", "1")
        time.sleep(0.01)
        c.send(encode("COPY", a, b) + encode("DEL", b) + encode("SET", b, "v", "PX", "1"))
        other.send(encode("SET", "small", "v"))
        assert c.read_some(3) == [1, 1, "OK"] and other.read() == "OK"
        time.sleep(0.01)
        c.send(encode("MULTI") + encode("RENAME", a, b) + encode("COPY", b, a) + encode("SET", "seen", "v") + encode("EXEC"))
        other.send(encode("INCR", "n"))
        assert c.read_some(5)[-1] == ["OK", 1, "OK"] and other.read() == 1
    assert c.do(COUNTS[shape], b) == n - 2 * (shape == "stream")
    assert c.do("DEBUG", "DIGEST-VALUE", a) == c.do("DEBUG", "DIGEST-VALUE", b)
    replay(second, effects(c))
    assert digest(second) == digest(c)


def test_nothing_is_gathered_when_nobody_asks(c):
    c.do("SET", "k", "v")
    assert effects(c) == [] and events(c) == []
    c.do("DEBUG", "EFFECTS", "ON")
    c.do("SET", "k", "v")
    assert events(c) == []
    c.do("DEBUG", "EFFECTS", "OFF")
    c.do("SET", "k", "v")
    assert effects(c) == []


def test_words_of_the_views(c):
    for name in ("EFFECTS", "EVENTS"):
        assert c.do("DEBUG", name, "what").startswith("ERR unknown subcommand")
        assert c.do("DEBUG", name).startswith("ERR unknown subcommand")
