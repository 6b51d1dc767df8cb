# SPDX-License-Identifier: BSD-3-Clause
"""Keyspace notifications: the channels, the classes, the moment. That the events of each command are Valkey's is what
test_effects.py compares; here they must be what is published."""

import time

import pytest

import writes
from resp import RespError, encode
from server import wait_for

pytestmark = pytest.mark.row_each


@pytest.fixture
def pair(server):
    """Who does things, and who listens to all of it."""
    with server.raw() as a, server.raw() as b:
        a.do("FLUSHALL")
        yield a, b
        a.do("CONFIG", "SET", "notify-keyspace-events", "")
        if server.kind == "shoal":
            a.do("DEBUG", "EVENTS", "OFF")


def listen(a, b, classes, pattern="__key*__:*"):
    a.do("CONFIG", "SET", "notify-keyspace-events", classes)
    b.send(encode("PSUBSCRIBE", pattern))
    assert b.read()[0] == b"psubscribe"


def drain(a, b, count):
    """So many: those of one shard in their order."""
    return [tuple(word.decode() for word in b.read()[2:]) for _ in range(count)]


def test_the_two_channels(pair):
    a, b = pair
    listen(a, b, "KEA")
    a.do("SET", "k", "v")
    assert drain(a, b, 2) == [("__keyspace@0__:k", "set"), ("__keyevent@0__:set", "k")]
    a.do("SELECT", "3")
    a.do("RPUSH", "l", "1", "2")
    a.do("LPOP", "l", "2")
    assert drain(a, b, 6) == [
        ("__keyspace@3__:l", "rpush"), ("__keyevent@3__:rpush", "l"), ("__keyspace@3__:l", "lpop"), ("__keyevent@3__:lpop", "l"),
        ("__keyspace@3__:l", "del"), ("__keyevent@3__:del", "l"),
    ]  # fmt: skip
    a.do("SELECT", "0")
    a.do("CONFIG", "SET", "notify-keyspace-events", "K$")
    a.do("APPEND", "k", "x")
    a.do("CONFIG", "SET", "notify-keyspace-events", "E$")
    a.do("APPEND", "k", "x")
    assert drain(a, b, 2) == [("__keyspace@0__:k", "append"), ("__keyevent@0__:append", "k")]


SCENES = {
    "$": (["SET {0} v", "INCR {1}"], ["set", "incrby"]),
    "g": (["SET {0} v", "EXPIRE {0} 100", "PERSIST {0}", "RENAME {0} {1}", "DEL {1}"], ["expire", "persist", "rename_from", "rename_to", "del"]),
    "l": (["RPUSH {0} 1", "LPOP {0}"], ["rpush", "lpop"]),
    "s": (["SADD {0} 1"], ["sadd"]),
    "m": (["GET {0}", "SET {0} v", "GET {0}"], ["keymiss"]),
    "n": (["SET {0} v", "SET {0} w", "RPUSH {1} a"], ["new", "new"]),
    "x": (["SET {0} v PX 1", "GET {1}"], ["expired"]),
    "gx$": (["SET {0} v EX 100", "DEL {0}"], ["set", "expire", "del"]),
}


@pytest.mark.parametrize("classes", list(SCENES))
def test_classes(pair, classes):
    a, b = pair
    commands, expected = SCENES[classes]
    listen(a, b, "E" + classes)
    for command in commands:
        a.do(*[word.format("{key}:1", "{key}:2") for word in command.split(" ")])
    if classes == "x":
        assert wait_for(lambda: a.do("EXISTS", "{key}:1") == 0)
    assert [channel for channel, _ in drain(a, b, len(expected))] == ["__keyevent@0__:%s" % name for name in expected]


@pytest.mark.parametrize("classes", ["", "K", "E", "KE", "A", "AK$"])
def test_nothing_is_told_without_both(pair, classes):
    a, b = pair
    listen(a, b, classes)
    a.do("SET", "k", "v")
    a.do("PUBLISH", "__key@x__:", "")
    first = b.read()
    assert (first[2] == b"__keyspace@0__:k") == (classes == "AK$")


@pytest.mark.shoal_only
def test_what_is_published_is_what_happened(pair):
    """Every command that writes, with every option."""
    a, b = pair
    b.do("RESET")
    listen(a, b, "KEAnm")
    a.do("DEBUG", "EVENTS", "ON")
    for one in writes.CASES:
        writes.run(a, one["before"] + one["commands"], one["name"])
    told = [(db, name.decode(), key.decode()) for db, (cls, name, key) in a.do("DEBUG", "EVENTS", "READ") if cls not in (b"", b"\0")]
    got = drain(a, b, 2 * len(told))
    expected = sorted(("__keyspace@%d__:%s" % (db, key), name) for db, name, key in told)
    assert sorted(one for one in got if one[0].startswith("__keyspace")) == expected
    by_key = {}
    for channel, name in got:
        if channel.startswith("__keyspace"):
            by_key.setdefault(channel, []).append(name)
    told_by_key = {}
    for db, name, key in told:
        told_by_key.setdefault("__keyspace@%d__:%s" % (db, key), []).append(name)
    assert by_key == told_by_key


@pytest.mark.shoal_only
@pytest.mark.parametrize("words", ["x 0", "10 x", "10 0 COUNT 0", "10 0 COUNT", "10 0 OTHER", "10 0"])
def test_xautoclaim_looks_before_it_reads(pair, words):
    """Also when it is asked wrongly a miss is told, and counted."""
    a, b = pair
    listen(a, b, "KEm")
    assert isinstance(a.do("XAUTOCLAIM", "s", "g", "c", *words.split(" ")), RespError)
    a.do("GET", "{s}last")  # of the same shard: another's may be told before
    assert drain(a, b, 2) == [("__keyspace@0__:s", "keymiss"), ("__keyevent@0__:keymiss", "s")]


def test_keys_run_out_on_time(pair):
    a, b = pair
    listen(a, b, "Ex")

    def lateness(attempt):
        """In ms; or None: they were not there before their time."""
        keys = {"key:%d:%d" % (attempt, i) for i in range(200)}
        deadline = int(time.time() * 1000) + 500 * 2**attempt
        a.send(b"".join(encode("SET", key, "v", "PXAT", str(deadline)) for key in keys))
        assert a.read_some(len(keys)) == ["OK"] * len(keys)
        if time.time() * 1000 >= deadline:
            return None
        got = []
        while len(got) < len(keys):
            channel, key = drain(a, b, 1)[0]
            assert channel == "__keyevent@0__:expired"
            if key in keys:  # else one of an attempt before
                got.append(key)
        late = time.time() * 1000 - deadline
        assert set(got) == keys
        return late

    seen = []
    while len(seen) < 5 and not (seen and seen[-1] is not None and seen[-1] < 2000):
        seen.append(lateness(len(seen)))
    assert seen[-1] is not None and seen[-1] < 2000, seen


def test_a_served_client_is_told_of_behind_what_served_it(server, pair):
    a, b = pair
    listen(a, b, "El")
    with server.raw() as c:
        c.send(encode("BLPOP", "k", "0"))
        assert wait_for(lambda: b"blocked_clients:1" in a.do("INFO", "clients"))
        a.do("RPUSH", "k", "1", "2")
        assert c.read() == [b"k", b"1"]
    assert drain(a, b, 2) == [("__keyevent@0__:rpush", "k"), ("__keyevent@0__:lpop", "k")]


def test_a_resp3_client_hears_of_itself(server):
    with server.raw() as a:
        a.do("HELLO", "3")
        a.do("CONFIG", "SET", "notify-keyspace-events", "K$")
        assert a.do("SUBSCRIBE", "__keyspace@0__:me") == [b"subscribe", b"__keyspace@0__:me", 1]
        a.send(encode("SET", "me", "1"))
        assert a.read_some(2) == ["OK", [b"message", b"__keyspace@0__:me", b"set"]]
        a.do("CONFIG", "SET", "notify-keyspace-events", "")


def test_said_at_the_start(start_server):
    s = start_server(args=("--notify-keyspace-events", "Kg"))
    with s.raw() as a, s.raw() as b:
        b.send(encode("SUBSCRIBE", "__keyspace@0__:k"))
        b.read()
        a.do("SET", "k", "v")
        a.do("DEL", "k")
        assert b.read() == [b"message", b"__keyspace@0__:k", b"del"]
