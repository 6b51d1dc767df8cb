# SPDX-License-Identifier: BSD-3-Clause
"""Client-side caching (CLIENT TRACKING): who is told of which change, when, in both protocols; and that a cache that
honours what it is told is never behind.

Scenes run on any server.
"""

import os
import random
import re
import signal
import threading

import pytest

from resp import Push, RespError, encode
from server import Server, slowness, wait_for
from slots import slot

pytestmark = pytest.mark.row_each


@pytest.fixture
def many(server):
    """Connections, as many as a test wants: they live on different threads."""
    opened = []

    def open_one(protocol="3", *tracking):
        c = server.raw()
        opened.append(c)
        if protocol == "3":
            c.do("HELLO", "3")
        if tracking:
            assert c.do("CLIENT", "TRACKING", *tracking) == "OK"
        return c

    with server.raw() as first:
        first.do("FLUSHALL")
    yield open_one
    for c in opened:
        c.close()
    with server.raw() as last:
        assert wait_for(lambda: stat(last, "tracking_clients") == 0 and stat(last, "tracking_total_prefixes") == 0)
        last.do("CONFIG", "SET", "tracking-table-max-keys", "1000000")
        if b"shoal" in last.do("INFO", "server"):
            assert wait_for(lambda: stat(last, "tracking_total_keys") == 0 and stat(last, "tracking_total_items") == 0)


def stat(c, name):
    found = re.search(name + r":(\d+)", c.do("INFO", "everything").decode())
    return int(found.group(1)) if found else 0


def told(*keys):
    return [b"invalidate", [key.encode() for key in keys]]


FLUSHED = [b"invalidate", None]


def pushes(c, count):
    """So many messages that nobody asked for; all in one kind of order."""
    got = c.read_some(count)
    assert all(isinstance(one, Push) for one in got), got
    return sorted(got, key=repr)


def nothing_more(c):
    assert c.do("PING") == "PONG"


def names(count):
    return ["k%d" % i for i in range(count)]


def test_who_has_read_a_key_is_told_once(many):
    writer, readers, stranger = many("2"), [many("3", "on") for _ in range(6)], many("3")
    for key in names(8):
        for reader in readers:
            assert reader.do("GET", key) is None
        stranger.do("GET", key)
        assert writer.do("SET", key, "1") == "OK"
        for reader in readers:
            assert reader.read() == told(key)
        writer.do("SET", key, "2")
    for c in readers + [stranger]:
        nothing_more(c)


@pytest.mark.parametrize(
    "read",
    ["GET k1", "MGET k0 k1 k2 k3", "EXISTS k1 k2", "STRLEN k1", "TYPE k1", "TTL k1", "TOUCH k1 k5", "DUMP k1", "OBJECT ENCODING k1"]
    + ["LCS k1 k2", "SUNION k1 s2", "SINTERCARD 2 s1 k1", "ZUNION 2 z1 k1", "PFCOUNT k1 k2", "XREAD STREAMS x1 k1 0 0", "MEMORY USAGE k1", "SORT_RO k1"],
)
def test_what_reads_is_remembered(many, read):
    reader, writer = many("3", "on"), many("2")
    reader.do(*read.split())
    reader.send(encode("MULTI") + encode(*read.split()) + encode("EXEC"))
    reader.read_some(3)
    writer.do("LPUSH", "k1", "1")
    assert reader.read() == told("k1")
    writer.do("DEL", "k1")
    nothing_more(reader)


def test_what_writes_is_not_remembered(many):
    reader, writer = many("3", "on"), many("2")
    for word in ("GETSET k1 1", "GETEX k1", "GETDEL k1", "SET k1 1 GET", "WATCH k1", "SORT k1", "INCR k1"):
        reader.do(*word.split())
    writer.do("SET", "k1", "1")
    nothing_more(reader)


def test_behind_the_reply_of_what_the_client_does_itself(many):
    c = many("3", "on")
    for key in names(6):
        c.do("GET", key)
    for key in names(6):
        c.send(encode("SET", key, "1") + encode("PING") + encode("GET", key) + encode("INCR", key) + encode("PING"))
        assert c.read_some(7) == ["OK", told(key), "PONG", b"1", 2, told(key), "PONG"]


def test_behind_the_reply_of_exec(many):
    c = many("3", "on")
    c.do("MGET", *names(6))
    c.send(encode("MULTI") + b"".join(encode("SET", key, "1") for key in names(6)) + encode("MGET", *names(6)) + encode("EXEC"))
    c.send(encode("PING"))
    assert c.read_some(8) == ["OK"] + ["QUEUED"] * 7
    assert c.read() == ["OK"] * 6 + [[b"1"] * 6]
    assert sorted(c.read_some(6)) == [told(key) for key in names(6)]
    assert c.read() == "PONG"


def test_noloop(many):
    c, other = many("3", "on", "noloop"), many("2")
    for key in names(6):
        c.do("GET", key)
        assert c.do("SET", key, "1") == "OK"
        nothing_more(c)
        c.do("GET", key)
        other.do("SET", key, "2")
        assert c.read() == told(key)


def test_optin_and_optout(many):
    a, b, writer = many("3", "on", "optin"), many("3", "on", "optout"), many("2")
    for c, word in ((a, "yes"), (b, "no")):
        c.do("GET", "k1")
        assert c.do("CLIENT", "CACHING", word) == "OK"
        c.do("CLIENT", "ID")
        c.do("MGET", *names(6)[2:])
        c.do("GET", "k0")
    writer.do("MSET", *[word for key in names(6) for word in (key, "1")])
    assert pushes(a, 4) == [told(key) for key in names(6)[2:]]
    assert pushes(b, 2) == [told(key) for key in names(6)[:2]]
    a.do("CLIENT", "CACHING", "yes")
    a.send(encode("MULTI") + encode("GET", "k1") + encode("GET", "k2") + encode("EXEC") + encode("GET", "k3"))
    a.read_some(5)
    a.send(encode("MULTI") + encode("CLIENT", "CACHING", "yes") + encode("GET", "k4") + encode("EXEC") + encode("GET", "k5"))
    a.read_some(5)
    writer.do("MSET", *[word for key in names(6) for word in (key, "1")])
    assert pushes(a, 3) == [told(key) for key in ("k1", "k2", "k4")]
    for c in (a, b):
        nothing_more(c)


def keys_told(c, count):
    """The keys of messages, until there are so many."""
    got = []
    while len(got) < count:
        kind, keys = c.read()
        assert kind == b"invalidate" and keys == sorted(keys)
        got += keys
    return sorted(got)


def test_broadcast(many):
    everything, prefixed, quiet = many("3", "on", "bcast"), many("3", "on", "bcast", "prefix", "user:", "prefix", "k"), many("3", "on", "bcast", "noloop")
    writer = many("2")
    assert stat(writer, "tracking_clients") == 3 and stat(writer, "tracking_total_prefixes") == 3
    changed = names(8) + ["other", "user:1"]
    for key in changed:
        writer.do("SET", key, "1")
    for c in (everything, quiet):
        assert keys_told(c, 10) == sorted(key.encode() for key in changed)
    assert keys_told(prefixed, 9) == sorted(key.encode() for key in changed if key != "other")
    assert quiet.do("SET", "mine", "1") == "OK"
    assert keys_told(everything, 1) == [b"mine"]
    everything.do("CLIENT", "TRACKING", "off")
    writer.do("SET", "k1", "2")
    assert keys_told(prefixed, 1) == [b"k1"] and keys_told(quiet, 1) == [b"k1"]
    for c in (everything, prefixed, quiet):
        nothing_more(c)
    prefixed.close()
    assert wait_for(lambda: stat(writer, "tracking_total_prefixes") == 1)


def test_redirect(many):
    """In RESP2: to another connection that has subscribed to something; on whichever thread."""
    for _ in range(4):
        data, other, writer = many("2"), many("2"), many("2")
        other_id = other.do("CLIENT", "ID")
        assert data.do("CLIENT", "TRACKING", "on", "redirect", str(other_id)) == "OK"
        assert data.do("CLIENT", "GETREDIR") == other_id
        data.do("MGET", *names(4))
        writer.do("SET", "k0", "1")
        nothing_more(other)  # it could not tell it from a reply
        other.send(encode("SUBSCRIBE", "__redis__:invalidate"))
        other.read()
        writer.do("SET", "k1", "1")
        got = other.read()
        if got[2] == [b"k0"]:  # from thread to thread it may have taken longer than the subscription
            got = other.read()
        assert got == [b"message", b"__redis__:invalidate", [b"k1"]]
        writer.do("FLUSHALL")
        assert other.read() == [b"message", b"__redis__:invalidate", None]
        assert data.do("PING") == "PONG"


def test_a_redirection_that_is_broken(many):
    data, writer = many("3"), many("2")
    other = many("3")
    other_id = other.do("CLIENT", "ID")
    assert data.do("CLIENT", "TRACKING", "on", "redirect", str(other_id)) == "OK"
    data.do("GET", "k1")
    writer.do("SET", "k1", "1")
    assert other.read() == told("k1")
    data.do("GET", "k1")
    other.close()
    assert wait_for(lambda: writer.do("CLIENT", "LIST", "ID", str(other_id)) == b"")
    writer.do("SET", "k1", "1")
    assert data.read() == [b"tracking-redir-broken", other_id]
    assert data.do("CLIENT", "TRACKINGINFO") == [(b"flags", [b"on", b"broken_redirect"]), (b"redirect", other_id), (b"prefixes", [])]
    assert re.search(rb" flags=tR .* redir=%d " % other_id, data.do("CLIENT", "INFO"))
    assert data.do("CLIENT", "TRACKING", "on") == "OK"
    assert data.do("CLIENT", "TRACKINGINFO") == [(b"flags", [b"on"]), (b"redirect", 0), (b"prefixes", [])]
    assert data.do("CLIENT", "TRACKING", "on", "redirect", str(other_id)) == RespError("ERR The client ID you want redirect to does not exist")


def told_before(c, *words):
    """The keys that a connection is told of before it is answered."""
    c.send(encode(*words))
    keys = []
    while isinstance(got := c.read(), Push):
        keys += got[1]
    return keys


@pytest.mark.parametrize("word", ["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC"])
def test_flush(many, word):
    a, b, c, writer = many("3", "on"), many("3", "on", "bcast"), many("3", "on", "optin", "noloop"), many("2")
    a.do("GET", "k1")
    writer.do(*word.split())
    for one in (a, b, c):
        assert one.read() == FLUSHED
        one.send(encode("FLUSHDB") + encode("PING"))
        assert one.read_some(3) == ["OK", FLUSHED, "PONG"]
        for other in (a, b, c):
            assert other is one or other.read() == FLUSHED
    writer.do("SET", "k1", "1")
    assert b.read() == told("k1")
    nothing_more(a)


def test_keys_that_run_out(many):
    a, b, writer = many("3", "on"), many("3", "on", "bcast"), many("2")
    for key in names(4):
        value = None
        while value is None:  # else it was over before it was read
            a.do("GET", key)
            writer.do("SET", key, "1", "PX", "100")
            assert a.read() == told(key) and b.read() == told(key)
            value = a.do("GET", key)
            assert (value is None or a.read() == told(key)) and b.read() == told(key)


def test_who_waits_is_told_meanwhile(many):
    a, writer = many("3", "on"), many("2")
    a.do("MGET", "k1", "k2")
    a.send(encode("XREAD", "BLOCK", "0", "STREAMS", "x1", "x2", "$", "$"))
    assert wait_for(lambda: stat(writer, "blocked_clients") == 1)
    writer.do("SET", "k1", "1")
    assert a.read() == told("k1")
    writer.do("XADD", "x1", "1-1", "a", "b")
    assert a.read() == told("x1")
    assert a.read() == [(b"x1", [[b"1-1", [b"a", b"b"]]])]
    writer.do("XADD", "x1", "1-2", "a", "b")
    assert a.read() == told("x1")


@pytest.mark.parametrize("options", [["on"], ["on", "bcast"]])
def test_behind_the_reply_of_who_has_waited(many, options):
    c, writer = many("3", *options), many("2")
    for n in range(8):
        source, target = "from:%d{t}" % n, "to:%d" % n
        c.do("EXISTS", target)
        c.send(encode("BLMOVE", source, target, "LEFT", "RIGHT", "0") + encode("ECHO", "end"))
        assert wait_for(lambda: stat(writer, "blocked_clients") == 1)
        writer.do("RPUSH", source, "foo")
        got = c.read()
        while got == told(source):  # by the writer
            got = c.read()
        assert got == b"foo"
        rest = [c.read(), c.read()]
        if options == ["on"]:
            assert rest == [told(target), b"end"]
        else:
            while not any(isinstance(one, Push) and target.encode() in one[1] for one in rest):
                rest.append(c.read())
            while b"end" not in rest:
                rest.append(c.read())
            c.send(encode("ECHO", "over"))
            while c.read() != b"over":
                pass


def test_replies_that_are_off(many):
    c, writer = many("3", "on"), many("2")
    c.do("GET", "k1")
    c.send(encode("CLIENT", "REPLY", "OFF") + encode("GET", "k1") + encode("SET", "k1", "1"))
    assert c.read() == told("k1")
    c.send(encode("GET", "k1") + encode("CLIENT", "REPLY", "ON"))
    assert c.read() == "OK"
    writer.do("SET", "k1", "2")
    assert c.read() == told("k1")


def test_the_table_is_bounded(many):
    writer, readers = many("2"), [many("3", "on") for _ in range(3)]
    writer.do("CONFIG", "SET", "tracking-table-max-keys", "10")
    dropped = set()
    for n in range(60):
        dropped.update(told_before(readers[n % 3], "GET", "key:%d" % n))
    assert wait_for(lambda: stat(writer, "tracking_total_keys") <= 10)
    for c in readers:
        dropped.update(told_before(c, "PING"))
    assert len(dropped) == 60 - stat(writer, "tracking_total_keys")
    kept = {b"key:%d" % n for n in range(60)} - dropped
    assert len(kept) > 2
    for n in range(60):
        writer.do("SET", "key:%d" % n, "1")
    for c in readers:
        kept.difference_update(told_before(c, "PING"))
    assert not kept and stat(writer, "tracking_total_keys") == 0


def test_numbers(many):
    writer, a, b = many("2"), many("3", "on"), many("3", "on")
    a.do("MGET", *names(10))
    a.do("GET", "k1")
    b.do("MGET", *names(5))

    def numbers():
        return [stat(writer, "tracking_" + name) for name in ("clients", "total_keys", "total_items", "total_prefixes")]

    assert numbers() == [2, 10, 15, 0]
    writer.do("DEL", "k1")
    writer.do("SET", "k1", "1")
    assert numbers() == [2, 9, 13, 0]
    assert a.read() == told("k1") and b.read() == told("k1")
    a.do("CLIENT", "TRACKING", "off")
    b.do("RESET")
    assert numbers()[0] == 0
    b.do("HELLO", "3")
    assert b.do("CLIENT", "TRACKINGINFO") == [(b"flags", [b"off"]), (b"redirect", -1), (b"prefixes", [])]


@pytest.mark.shoal_only
def test_memory_comes_back_when_clients_go(many, server):
    """Valkey keeps what a client has read until it changes."""
    writer = many("2")
    for _ in range(3):
        with server.raw() as c:
            c.do("HELLO", "3")
            c.do("CLIENT", "TRACKING", "on")
            for n in range(0, 3000, 100):
                c.do("MGET", *["key:%d" % i for i in range(n, n + 100)])
            assert stat(writer, "tracking_total_keys") == 3000
        assert wait_for(lambda: stat(writer, "tracking_total_keys") == 0 and stat(writer, "tracking_total_items") == 0)


@pytest.mark.shoal_only
@pytest.mark.several_shards
def test_slots_that_move(many):
    reader, writer = many("3", "on"), many("2")
    for n in range(4):
        reader.do("GET", "{tag}%d" % n)
    for shard in (0, 1):  # one of them has not got it
        assert wait_for(lambda: writer.do("DEBUG", "MOVE-SLOT", str(slot(b"tag")), str(shard)) == "OK")
    assert sorted(reader.read_some(4)) == [told("{tag}%d" % n) for n in range(4)]
    reader.do("GET", "{tag}1")
    writer.do("SET", "{tag}1", "1")
    assert reader.read() == told("{tag}1")


# ---- Caches ----


class Cache:
    """A connection that keeps what it has read until it is told that this has changed."""

    def __init__(self, c):
        self.c = c
        self.kept = {}

    def hear(self, message):
        kind, keys = message
        assert kind == b"invalidate"
        for key in keys if keys is not None else list(self.kept):
            self.kept.pop(key, None)

    def ask(self, *words):
        self.c.send(encode(*words))
        while isinstance(got := self.c.read(), Push):
            self.hear(got)
        return got

    def read(self, keys, how):
        if how == "exec":
            self.ask("MULTI")
            for key in keys:
                self.ask("GET", key)
            values = self.ask("EXEC")
        else:
            values = self.ask("MGET", *keys) if how == "mget" else [self.ask("GET", keys[0])]
        for key, value in zip(keys, values):
            self.kept[key] = int(value or 0)


def run_caches(server, caches, reads, seed):
    """Three write, and others read. Who has seen the reply of a write asks any connection for anything; what that keeps then is
    to be as new as the write. Returns what is not."""
    keys = [b"key:%d" % n for n in range(24)]
    written = dict.fromkeys(keys, 0)  # what was answered
    stop, errors = threading.Event(), []

    def write(seed):
        rng = random.Random(seed)
        mine = keys[seed::3]
        try:
            with server.raw() as c:
                n = 0
                while not stop.is_set():
                    n += 1
                    some = rng.sample(mine, rng.choice((1, 1, 2, 4)))
                    if rng.random() < 0.3:
                        c.send(encode("MULTI") + b"".join(encode("SET", key, str(n)) for key in some) + encode("EXEC"))
                        assert c.read_some(len(some) + 2)[-1] == ["OK"] * len(some)
                    else:
                        assert c.do("MSET", *[word for key in some for word in (key, str(n))]) == "OK"
                    for key in some:
                        written[key] = n
        except Exception as error:  # pylint: disable=broad-except
            errors.append(error)

    writers = [threading.Thread(target=write, args=(n,)) for n in range(3)]
    for writer in writers:
        writer.start()
    rng = random.Random(seed)
    hits, behind = 0, {}
    try:
        for _ in range(reads):
            cache = rng.choice(caches)
            cache.read(rng.sample(keys, 3), rng.choice(("get", "mget", "exec")))
            cache = rng.choice(caches)
            floor = {key: written[key] for key in cache.kept}
            cache.ask(*rng.choice((["PING"], ["GET", "other"], ["EXISTS", "a", "b", "c"])))
            behind = {key: (cache.kept[key], floor[key]) for key in floor if key in cache.kept and cache.kept[key] < floor[key]}
            hits += len(cache.kept)
            if behind:
                break
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert not errors and hits > 0
    return behind


@pytest.mark.slow
@pytest.mark.parametrize("options", [["on"], ["on", "noloop"], ["on", "bcast"], ["on", "bcast", "prefix", "key"]])
def test_a_cache_is_never_behind(many, server, options):
    caches = [Cache(many("3", *options)) for _ in range(6)]
    assert not run_caches(server, caches, 3000 // slowness(server.binary), len(options))


def faulty_server(pytestconfig, fault):
    folder = os.path.dirname(os.path.dirname(pytestconfig.getoption("--server")))
    binary = os.path.join(folder, "test", "checker", "shoal-server-tracking-" + fault)
    if not os.path.exists(binary):
        pytest.skip("this build has no faulty servers (the debug build has)")  # they are made with SHOAL_UNSAFE_...
    return Server(binary, kind="shoal", config={"shards": "4"})


@pytest.mark.shoal_only
@pytest.mark.several_shards
@pytest.mark.row_once
def test_requests_ahead_of_what_owners_have_said_are_found(pytestconfig):
    """A planted fault: a request of a client that tracks does not wait for invalidations on their way to it."""
    with faulty_server(pytestconfig, "ahead") as server:
        for seed in range(200):
            caches = [Cache(server.raw()) for _ in range(6)]
            for cache in caches:
                cache.c.do("HELLO", "3")
                cache.c.do("CLIENT", "TRACKING", "on")
            behind = run_caches(server, caches, 1000, seed)
            for cache in caches:
                cache.c.close()
            if behind:
                return
    pytest.fail("the fault was not found")


@pytest.mark.shoal_only
@pytest.mark.several_shards
@pytest.mark.row_once
def test_an_invalidation_beside_the_reply_is_found(pytestconfig):
    """A planted fault: what comes while a transaction runs is pushed before its reply."""
    with faulty_server(pytestconfig, "beside") as server, server.raw() as c:
        c.do("HELLO", "3")
        c.do("CLIENT", "TRACKING", "on")
        for _ in range(2000):
            c.do("MGET", *names(6))
            c.send(encode("MULTI") + b"".join(encode("SET", key, "1") for key in names(6)) + encode("EXEC"))
            assert c.read_some(7) == ["OK"] + ["QUEUED"] * 6
            if isinstance(c.read_some(7)[0], Push):
                return
    pytest.fail("the fault was not found")


def test_the_end_beside_many_prefixes(start_server):
    """The table of prefixes frees its buckets with the last of more than 16, and was read once more behind that."""
    s = start_server()
    with s.raw() as c:
        c.do("HELLO", "3")
        words = [word for n in range(50) for word in ("PREFIX", "p%d:" % n)]
        assert c.do("CLIENT", "TRACKING", "ON", "BCAST", *words) == "OK"
        with s.raw() as other:
            assert stat(other, "tracking_total_prefixes") == 50
        s.proc.send_signal(signal.SIGTERM)
        assert s.wait(60) == 0
        s.stopped_by_test = True


@pytest.mark.shoal_only
def test_prefixes_count_as_memory_of_their_client(start_server):
    """They counted nothing, so that maxmemory-clients let one client take any memory by them."""
    s = start_server(maxmemory_clients="200kb")
    with s.raw() as c, s.raw() as watcher:
        c.do("HELLO", "3")
        c.do("CLIENT", "SETNAME", "greedy")

        def grow():
            for n in range(100):
                words = [word for i in range(100) for word in ("PREFIX", "%06d:" % (n * 100 + i))]
                if c.do("CLIENT", "TRACKING", "ON", "BCAST", *words) != "OK":
                    return

        with pytest.raises((OSError, EOFError)):
            grow()
            c.do("PING")
        assert wait_for(lambda: b"greedy" not in watcher.do("CLIENT", "LIST"))
        assert stat(watcher, "evicted_clients") == 1
        assert wait_for(lambda: stat(watcher, "tracking_total_prefixes") == 0)
