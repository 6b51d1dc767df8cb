# SPDX-License-Identifier: BSD-3-Clause
"""Clients that wait for keys: who is served, with what, when, and what becomes of those who are not.

Scenes run on any server. Who waits is known by INFO, so nothing here waits for a time to pass.
"""

import random
import re
import socket
import struct
import threading
import time

import pytest

from resp import NULL_ARRAY, RespError, encode
from server import wait_for
from slots import slot

pytestmark = pytest.mark.row_each


@pytest.fixture
def many(server):
    """Connections, as many as a test wants; the first is free to do things."""
    opened = []

    def open_one(**options):
        c = server.raw(**options)
        opened.append(c)
        return c

    first = open_one()
    first.do("FLUSHALL")
    yield first, open_one
    for c in opened:
        c.close()
    with server.raw() as last:
        assert wait_for(lambda: clients(last)["blocked_clients"] == 0)
        assert wait_for(lambda: clients(last).get("total_blocking_keys", 0) == 0)


def clients(c):
    text = c.do("INFO", "clients").decode()
    return {name: int(value) for name, value in re.findall(r"^(\w+):(\d+)\r$", text, re.M)}


def block(c, by, *command):
    """Sends a command that has to wait, and comes back when it does."""
    before = clients(by)["blocked_clients"]
    c.send(encode(*command))
    assert wait_for(lambda: clients(by)["blocked_clients"] == before + 1)


def id_of(c):
    return c.do("CLIENT", "ID")


WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"

# Keys in sixteen places: on four shards each has some.
KEYS = ["key:%d" % i for i in range(16)]


@pytest.mark.parametrize("key", KEYS[:6])
@pytest.mark.parametrize("command, fill, answer", [(["BLPOP"], ["RPUSH", "a", "b"], b"a"), (["BRPOP"], ["RPUSH", "a", "b"], b"b")])
def test_who_waits_gets_what_comes(many, key, command, fill, answer):
    a, more = many
    b = more()
    block(b, a, *command, key, "0")
    assert a.do(fill[0], key, *fill[1:]) == 2
    assert b.read() == [key.encode(), answer]
    assert a.do("LLEN", key) == 1
    assert a.do("RPUSH", key, "c") == 2  # nobody waits any more
    assert b.do(*command, key, "0")[0] == key.encode()


def test_what_is_there_already_is_taken_from_left_to_right(many):
    a, _ = many
    for i, key in enumerate(KEYS):
        a.do("RPUSH", key, str(i))
    for i, key in enumerate(KEYS):
        assert a.do("BLPOP", *KEYS, "0") == [key.encode(), str(i).encode()]
    assert a.do("BLPOP", *KEYS, "0.001") == NULL_ARRAY


PIPELINED = [
    (["ZADD {k} 1 x 2 y 3 z", "BZPOPMIN {k} 0", "BZMPOP 0 1 {k} MAX"], [3, [b"{k}", b"x", b"1"], [b"{k}", [[b"z", b"3"]]]]),
    (["DEL {k}", "BLPOP {k} {k} 0.01", "RPUSH {k} a b c"], [1, NULL_ARRAY, 3]),
    (["BLPOP {k} 0", "BRPOP {k} nothing", "BLMPOP 0 1 {k} LEFT", "BLMOVE {k} {k} LEFT LEFT 0.01", "LLEN {k}"],
     [[b"{k}", b"a"], RespError("ERR timeout is not a float or out of range"), [b"{k}", [b"b"]], b"c", 1]),
    (["BRPOPLPUSH {k} {k} 0", "LPOP {k}", "SET {k} v", "BLPOP {k} 0", "DEL {k}"], [b"c", b"c", "OK", RespError(WRONG_TYPE), 1]),
    (["XADD {k} 1-1 f v", "XREAD BLOCK 0 STREAMS {k} 0", "XREAD BLOCK 10 STREAMS {k} $"], [b"1-1", [[b"{k}", [[b"1-1", [b"f", b"v"]]]]], NULL_ARRAY]),
    (["XREAD BLOCK 0 STREAMS {k} nothing", "XREADGROUP GROUP g c BLOCK 0 STREAMS {k} >", "XGROUP CREATE {k} g 0"],
     [RespError("ERR Invalid stream ID specified as stream command argument"), RespError("NOGROUP No such key '{k}' or consumer group 'g' in XREADGROUP with GROUP option"), "OK"]),
    (["XREADGROUP GROUP g c BLOCK 0 STREAMS {k} >", "XREADGROUP GROUP g c BLOCK 10 STREAMS {k} >", "DEL {k}"],
     [[[b"{k}", [[b"1-1", [b"f", b"v"]]]]], NULL_ARRAY, 1]),
]  # fmt: skip


def named(value, key):
    if isinstance(value, list):
        return [named(one, key) for one in value] if value is not NULL_ARRAY else value
    if isinstance(value, RespError):
        return RespError(value.text.replace("{k}", key))
    return value.replace(b"{k}", key.encode()) if isinstance(value, bytes) else value


@pytest.mark.parametrize("at_once", [False, True])
def test_what_is_there_is_taken_in_the_order_of_a_pipeline(many, at_once):
    """Also of keys on several shards in one pipeline: those of the client's own, and others."""
    c, _ = many
    calls, expected = [], []
    for commands, answers in PIPELINED:
        for key in KEYS[:8]:
            calls += [command.format(k=key).split(" ") for command in commands]
            expected += [named(answer, key) for answer in answers]
    if at_once:
        c.send(b"".join(encode(*call) for call in calls))
        found = [c.read() for _ in calls]
    else:
        found = [c.do(*call) for call in calls]
    for call, one, other in zip(calls, found, expected):
        assert one == other, call


def test_any_of_many_keys_serves(many):
    a, more = many
    b = more()
    for key in KEYS:
        block(b, a, "BLPOP", *KEYS, "0")
        a.do("RPUSH", key, "x")
        assert b.read() == [key.encode(), b"x"]
        assert a.do("EXISTS", *KEYS) == 0


@pytest.mark.parametrize("keys", [KEYS[:1], KEYS[:3], KEYS[5:12]])
def test_first_come_first_served(many, keys):
    a, more = many
    waiting = [more() for _ in range(12)]
    for c in waiting:
        block(c, a, "BLPOP", *keys, "0")
    for i, c in enumerate(waiting):
        a.do("RPUSH", keys[i * 5 % len(keys)], str(i))
        assert c.read()[1] == str(i).encode()


def test_one_push_serves_as_many_as_it_has_elements(many):
    a, more = many
    waiting = [more() for _ in range(5)]
    for c in waiting:
        block(c, a, "BLPOP", "k", "0")
    a.do("RPUSH", "k", *map(str, range(7)))
    assert [c.read()[1] for c in waiting] == [b"0", b"1", b"2", b"3", b"4"]
    assert a.do("LRANGE", "k", "0", "-1") == [b"5", b"6"]


def test_a_key_named_twice_serves_once(many):
    a, more = many
    b = more()
    block(b, a, "BLPOP", "k", "j", "k", "0")
    a.do("RPUSH", "k", "1", "2")
    assert b.read() == [b"k", b"1"]
    assert a.do("LRANGE", "k", "0", "-1") == [b"2"]


@pytest.mark.parametrize("command", [["BLPOP", "k"], ["BRPOP", "k", "j"], ["BRPOPLPUSH", "k", "j"], ["BLMOVE", "k", "j", "LEFT", "RIGHT"]])
@pytest.mark.parametrize("protocol", ["2", "3"])
def test_a_time_that_is_over_is_answered_with_null(many, command, protocol):
    a, _ = many
    a.do("HELLO", protocol)
    started = time.monotonic()
    a.send(encode(*command, "0.06"))
    assert a.read_raw()[1] == (b"*-1\r\n" if protocol == "2" else b"_\r\n")
    assert time.monotonic() - started >= 0.06
    assert a.do("PING") == "PONG"


def test_a_time_is_never_too_short(many):
    """It ended up to a millisecond early, which the tests of clients notice (phpredis: XREADGROUP BLOCK 100 took 99)."""
    a, _ = many
    for _ in range(100):
        started = time.monotonic()
        assert a.do("BLPOP", "k", "0.003") in (None, NULL_ARRAY)
        assert time.monotonic() - started >= 0.003


@pytest.mark.parametrize("timeout, error", [
    ("x", "ERR timeout is not a float or out of range"), ("", "ERR timeout is not a float or out of range"),
    ("nan", "ERR timeout is not a float or out of range"), ("1 ", "ERR timeout is not a float or out of range"),
    ("-1", "ERR timeout is negative"), ("-0.01", "ERR timeout is negative"), ("-1e300", "ERR timeout is negative"),
    ("inf", "ERR timeout is out of range"), ("1e400", "ERR timeout is out of range"), ("9223372036854776", "ERR timeout is out of range"),
    ("9223372036854775", "ERR timeout is out of range"),
])
def test_timeouts_that_are_none(many, timeout, error):
    a, _ = many
    a.do("RPUSH", "k", "1")
    for command in (["BLPOP", "k"], ["BLPOP", *KEYS], ["BLMOVE", "k", "j", "LEFT", "LEFT"], ["BRPOPLPUSH", "k", "j"]):
        assert a.do(*command, timeout) == RespError(error), command
    assert a.do("BLMPOP", timeout, "1", "k", "LEFT") == RespError(error)
    assert a.do("LLEN", "k") == 1


def test_the_order_of_checks(many):
    a, _ = many
    a.do("SET", "text", "x")
    a.do("RPUSH", "key:1", "1")
    assert a.do("BLPOP", "text", "key:1", "0").startswith("WRONGTYPE")
    assert a.do("BLPOP", "key:1", "text", "0") == [b"key:1", b"1"]
    assert a.do("BLPOP", "text", "x").startswith("ERR timeout")
    assert a.do("BLMOVE", "text", "j", "UP", "LEFT", "x") == RespError("ERR syntax error")
    assert a.do("BLMOVE", "text", "j", "LEFT", "LEFT", "x").startswith("ERR timeout")
    assert a.do("BLMPOP", "x", "1", "text", "LEFT").startswith("ERR timeout")
    assert a.do("BLMPOP", "x", "0", "k", "UP") == RespError("ERR numkeys should be greater than 0")
    assert a.do("BLMPOP", "0", "1", "k", "UP") == RespError("ERR syntax error")
    a.do("RPUSH", "key:1", "1")
    for other in KEYS:
        if other != "key:1":
            a.do("SET", other, "x")
            assert a.do("BLMOVE", "key:1", other, "LEFT", "LEFT", "0").startswith("WRONGTYPE")
    assert a.do("LLEN", "key:1") == 1


@pytest.mark.parametrize("one_transaction", [False, True])
def test_inside_multi_nobody_waits(many, one_transaction):
    a, _ = many
    commands = [
        (["BLPOP", *KEYS, "0"], b"*-1\r\n"),
        (["BRPOP", "k", "0"], b"*-1\r\n"),
        (["BLMOVE", "key:1", "key:2", "LEFT", "LEFT", "0"], b"$-1\r\n"),
        (["BRPOPLPUSH", "key:1", "key:3", "0"], b"$-1\r\n"),
        (["BLMPOP", "0", "2", "key:1", "key:2", "LEFT"], b"*-1\r\n"),
    ]
    for group in [commands] if one_transaction else [[c] for c in commands]:
        a.do("MULTI")
        for command, _ in group:
            a.do(*command)
        a.send(encode("EXEC"))
        assert a.read_raw()[1] == b"*%d\r\n" % len(group) + b"".join(nil for _, nil in group)


def test_exec_serves_when_it_is_over(many):
    a, more = many
    b, c = more(), more()
    block(b, a, "BLPOP", "k", "0")
    block(c, a, "BLPOP", "k", "0")
    a.do("MULTI")
    a.do("RPUSH", "k", "1", "2", "3")
    a.do("LPOP", "k")
    a.do("LRANGE", "k", "0", "-1")
    assert a.do("EXEC") == [3, b"1", [b"2", b"3"]]
    assert (b.read(), c.read()) == ([b"k", b"2"], [b"k", b"3"])


def test_a_push_that_waited_for_its_key_shows_nobody_what_it_brought(server, many):
    """Clients look at the list in transactions over shards, so pushes wait for its lock; as long as somebody waits for what they
    bring, the list is empty for all others."""
    first, open_one = many
    pushes, seen, over = 60, [], threading.Event()
    waiting = [open_one() for _ in range(pushes)]
    for c in waiting:
        block(c, first, "BLPOP", "list", "0")

    def look():
        with server.raw() as c:
            while not over.is_set():
                c.send(encode("MULTI") + encode("LLEN", "list") + encode("EXISTS", *KEYS) + encode("EXEC"))
                seen.append([c.read() for _ in range(4)][3][0])

    lookers = [threading.Thread(target=look) for _ in range(4)]
    for thread in lookers:
        thread.start()
    for i in range(pushes):
        assert first.do("RPUSH", "list", "%d" % i) == 1
    over.set()
    for thread in lookers:
        thread.join()
    assert set(seen) == {0}
    assert [c.read() for c in waiting] == [[b"list", b"%d" % i] for i in range(pushes)]


def test_exec_that_takes_back_serves_nobody(many):
    a, more = many
    b = more()
    block(b, a, "BLPOP", *KEYS, "0")
    a.do("MULTI")
    for key in KEYS:
        a.do("RPUSH", key, "1")
        a.do("DEL", key)
    a.do("EXEC")
    assert clients(a)["blocked_clients"] == 1
    a.do("RPUSH", KEYS[3], "x")
    assert b.read() == [KEYS[3].encode(), b"x"]


def test_exec_fills_keys_on_many_shards(many):
    """One key each: all are served. One that waits for all: once."""
    a, more = many
    waiting = [more() for _ in KEYS]
    for key, c in zip(KEYS, waiting):
        block(c, a, "BLPOP", key, "0")
    everywhere = more()
    block(everywhere, a, "BLPOP", *KEYS, "0")
    a.do("MULTI")
    for key in KEYS:
        a.do("RPUSH", key, key, "second")
    assert a.do("EXEC") == [2] * len(KEYS)
    for key, c in zip(KEYS, waiting):
        assert c.read() == [key.encode(), key.encode()]
    assert everywhere.read() == [KEYS[0].encode(), b"second"]
    assert [a.do("LLEN", key) for key in KEYS] == [0] + [1] * (len(KEYS) - 1)


def test_served_as_if_it_came_now(many):
    """The keys of one slot are looked at from left to right, whichever was filled first."""
    a, more = many
    b = more()
    block(b, a, "BLPOP", "{t}1", "{t}2", "0")
    a.do("MULTI")
    a.do("RPUSH", "{t}2", "x2")
    a.do("RPUSH", "{t}1", "x1")
    a.do("EXEC")
    assert b.read() == [b"{t}1", b"x1"]


POPS = {
    "RPUSH": ["BLPOP", "BRPOP", "BLMPOP"],
    "ZADD": ["BZPOPMIN", "BZPOPMAX", "BZMPOP"],
}


def pop_of(command, keys):
    if "MPOP" in command:
        return [command, "0", str(len(keys)), *keys, "LEFT" if command == "BLMPOP" else "MIN"]
    return [command, *keys, "0"]


@pytest.mark.parametrize("fill, command", [(fill, command) for fill in POPS for command in POPS[fill]])
def test_of_what_came_as_one_the_first_key_serves_the_first(many, fill, command):
    """On however many shards; and each who waits gets one, in the order of coming."""
    a, more = many
    waiting = [more() for _ in KEYS]
    for c in waiting:
        block(c, a, *pop_of(command, KEYS))
    a.do("MULTI")
    for key in KEYS[::-1]:
        a.do(fill, key, *["1"] * (fill == "ZADD"), key)
    a.do("EXEC")
    assert [c.read()[0] for c in waiting] == [key.encode() for key in KEYS]
    assert a.do("DBSIZE") == 0


@pytest.mark.parametrize("fill", [
    ["RENAME", "from", "k"], ["COPY", "from", "k"], ["LMOVE", "from", "k", "LEFT", "LEFT"], ["RPOPLPUSH", "from", "k"],
    ["RENAMENX", "from", "k"], ["BLMOVE", "from", "k", "LEFT", "LEFT", "0"],
])
def test_whatever_fills_a_key_serves(many, fill):
    a, more = many
    b = more()
    for source in KEYS:
        for key in ("a", "bb", "ccc"):
            block(b, a, "BLPOP", key, "0")
            a.do("RPUSH", source, "1")
            a.do(*[{"from": source, "k": key}.get(word, word) for word in fill])
            assert b.read() == [key.encode(), b"1"]
            a.do("DEL", source)


def test_other_databases(many):
    a, more = many
    b = more()
    b.do("SELECT", "3")
    block(b, a, "BLPOP", "k", "0")
    a.do("RPUSH", "k", "1")
    assert clients(a)["blocked_clients"] == 1
    a.do("MOVE", "k", "3")
    assert b.read() == [b"k", b"1"]
    block(b, a, "BLPOP", "k", "j", "0")
    a.do("RPUSH", "j", "2")
    a.do("SWAPDB", "0", "3")
    assert b.read() == [b"j", b"2"]


def test_a_key_of_another_type_does_not_serve(many):
    a, more = many
    b = more()
    block(b, a, "BLPOP", "k", "0")
    a.do("SET", "k", "x")
    a.do("DEL", "k")
    a.do("SADD", "k", "x")
    a.do("FLUSHALL")
    assert clients(a)["blocked_clients"] == 1
    a.do("RPUSH", "k", "1")
    assert b.read() == [b"k", b"1"]


# ---- Moving ----


@pytest.mark.parametrize("to", KEYS[:8])
def test_moving_to_any_shard(many, to):
    a, more = many
    b = more()
    for command, ends in ((["BLMOVE", "src", to, "LEFT", "RIGHT", "0"], (b"1", [b"x", b"1"])), (["BRPOPLPUSH", "src", to, "0"], (b"2", [b"2", b"x"]))):
        a.do("RPUSH", to, "x")
        block(b, a, *command)
        a.do("RPUSH", "src", "1", "2")
        assert b.read() == ends[0]
        assert a.do("LRANGE", to, "0", "-1") == ends[1]
        assert a.do("LLEN", "src") == 1
        a.do("DEL", "src", to)


@pytest.mark.parametrize("to", KEYS[:8])
def test_moving_to_what_is_no_list(many, to):
    """It is answered with the error, the element stays, and the next in line gets it."""
    a, more = many
    b, c = more(), more()
    a.do("SET", to, "x")
    block(b, a, "BLMOVE", "src", to, "LEFT", "RIGHT", "0")
    block(c, a, "BLPOP", "src", "0")
    a.do("RPUSH", "src", "1")
    assert b.read().startswith("WRONGTYPE")
    assert c.read() == [b"src", b"1"]
    assert a.do("GET", to) == b"x"


def test_moving_in_a_circle(many):
    a, more = many
    waiting = [more() for _ in KEYS]
    for i, c in enumerate(waiting):
        block(c, a, "BLMOVE", KEYS[i], KEYS[(i + 1) % len(KEYS)], "LEFT", "RIGHT", "0")
    a.do("RPUSH", KEYS[0], "x")
    assert [c.read() for c in waiting] == [b"x"] * len(KEYS)
    assert wait_for(lambda: a.do("LRANGE", KEYS[0], "0", "-1") == [b"x"])
    assert a.do("EXISTS", *KEYS) == 1


def test_a_chain_ends_with_who_pops(many):
    a, more = many
    links, last = [more() for _ in KEYS[1:]], more()
    block(last, a, "BLPOP", KEYS[-1], "0")
    for i, c in enumerate(links):
        block(c, a, "BLMOVE", KEYS[i], KEYS[i + 1], "LEFT", "RIGHT", "0")
    a.do("RPUSH", KEYS[0], "x")
    assert [c.read() for c in links] == [b"x"] * len(links)
    assert last.read() == [KEYS[-1].encode(), b"x"]
    assert a.do("EXISTS", *KEYS) == 0


def test_moving_to_itself(many):
    a, more = many
    b = more()
    block(b, a, "BLMOVE", "k", "k", "LEFT", "RIGHT", "0")
    a.do("RPUSH", "k", "1", "2")
    assert b.read() == b"1"
    assert a.do("LRANGE", "k", "0", "-1") == [b"2", b"1"]


def test_those_behind_one_who_moves_are_served_after_it(many):
    a, more = many
    for to in KEYS[:8]:
        waiting = [more() for _ in range(6)]
        for i, c in enumerate(waiting):
            block(c, a, *(["BLPOP", "src", "0"] if i % 2 else ["BLMOVE", "src", to, "LEFT", "RIGHT", "0"]))
        a.do("RPUSH", "src", *map(str, range(6)))
        got = [c.read() for c in waiting]
        assert got == [[b"src", str(i).encode()] if i % 2 else str(i).encode() for i in range(6)]
        assert a.do("LRANGE", to, "0", "-1") == [b"0", b"2", b"4"]
        a.do("DEL", to)


# ---- Ends ----


def test_unblock(many):
    a, more = many
    b = more()
    who = id_of(b)
    for keys in (["k"], KEYS):
        block(b, a, "BLPOP", *keys, "0")
        assert a.do("CLIENT", "UNBLOCK", str(who)) == 1
        assert b.read() == NULL_ARRAY
        block(b, a, "BLPOP", *keys, "0")
        assert a.do("CLIENT", "UNBLOCK", str(who), "ERROR") == 1
        assert b.read() == RespError("UNBLOCKED client unblocked via CLIENT UNBLOCK")
        assert a.do("CLIENT", "UNBLOCK", str(who)) == 0
    a.do("RPUSH", "k", "1")
    assert b.do("BLPOP", "k", "0") == [b"k", b"1"]


@pytest.mark.parametrize("how", ["close", "kill", "reset"])
def test_who_goes_gets_nothing(many, how):
    a, more = many
    for key in KEYS[:6]:
        b, c = more(), more()
        who = id_of(b)
        block(b, a, "BLPOP", key, "other", "0")
        block(c, a, "BLPOP", key, "0")
        if how == "kill":
            a.do("CLIENT", "KILL", "ID", str(who))
        elif how == "reset":
            b.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            b.sock.close()
        else:
            b.sock.shutdown(2)
        assert wait_for(lambda: clients(a)["blocked_clients"] == 1)
        a.do("RPUSH", key, "1")
        assert c.read() == [key.encode(), b"1"]


def test_what_comes_behind_waits(many):
    a, more = many
    b = more()
    b.send(encode("BLPOP", *KEYS, "0") + encode("SET", "after", "1") + encode("GET", "after") + encode("BLPOP", "k", "0") + encode("PING"))
    assert wait_for(lambda: clients(a)["blocked_clients"] == 1)
    assert a.do("EXISTS", "after") == 0
    a.do("RPUSH", KEYS[2], "x")
    assert b.read_some(3) == [[KEYS[2].encode(), b"x"], "OK", b"1"]
    assert wait_for(lambda: clients(a)["blocked_clients"] == 1)
    a.do("RPUSH", "k", "y")
    assert b.read_some(2) == [[b"k", b"y"], "PONG"]


def test_it_comes_after_what_was_sent_before(many):
    a, _ = many
    for _ in range(20):
        a.send(b"".join(encode("RPUSH", key, "1") for key in KEYS) + encode("BLPOP", *KEYS, "0") + b"".join(encode("DEL", key) for key in KEYS))
        got = a.read_some(2 * len(KEYS) + 1)
        assert got[len(KEYS)] == [KEYS[0].encode(), b"1"]
        assert got[len(KEYS) + 1 :] == [0] + [1] * (len(KEYS) - 1)


def test_reply_off_and_skip(many):
    a, more = many
    b = more()
    b.send(encode("CLIENT", "REPLY", "SKIP"))
    block(b, a, "BLPOP", "k", "0")
    a.do("RPUSH", "k", "1")
    assert wait_for(lambda: clients(a)["blocked_clients"] == 0)
    assert b.do("PING") == "PONG"
    b.send(encode("CLIENT", "REPLY", "OFF"))
    block(b, a, "BLPOP", "k", "0")
    a.do("RPUSH", "k", "1")
    assert wait_for(lambda: clients(a)["blocked_clients"] == 0)
    assert b.do("CLIENT", "REPLY", "ON") == "OK"
    assert a.do("EXISTS", "k") == 0


def test_client_list_and_info(many):
    a, more = many
    b = more()
    who = id_of(b)
    block(b, a, "BLPOP", "k", "k", "j", "100")
    line = a.do("CLIENT", "LIST", "ID", str(who)).decode()
    assert " flags=b " in line and " cmd=blpop " in line
    counts = clients(a)
    assert (counts["blocked_clients"], counts["clients_in_timeout_table"]) == (1, 1)
    if "total_blocking_keys" in counts:
        assert counts["total_blocking_keys"] == 2


@pytest.mark.shoal_only
def test_its_memory_is_its_clients(many):
    a, more = many
    b = more()
    who = str(id_of(b))
    memory = lambda: int(re.search(r"tot-mem=(\d+)", a.do("CLIENT", "LIST", "ID", who).decode()).group(1))
    before = memory()
    block(b, a, "BLPOP", *["key:%d" % i for i in range(2000)], "0")
    assert wait_for(lambda: memory() > before + 2000 * 80)
    a.do("CLIENT", "UNBLOCK", who)
    b.read()
    b.do("PING")
    assert wait_for(lambda: memory() < before + 64 * 1024)


def test_calls_are_counted_once(many):
    a, more = many
    b = more()
    who = str(id_of(b))
    a.do("CONFIG", "RESETSTAT")
    b.do("BLPOP", "k", "0.01")
    block(b, a, "BLPOP", "k", "0")
    a.do("CLIENT", "UNBLOCK", who, "ERROR")
    b.read()
    block(b, a, "BLPOP", "k", "j", "0")
    a.do("RPUSH", "k", "1")
    b.read()

    def counted():
        return re.search(r"cmdstat_blpop:(.*)", a.do("INFO", "commandstats").decode())[1]

    assert wait_for(lambda: re.fullmatch(r"calls=3,.*rejected_calls=1,failed_calls=0\s*", counted())), counted()


def test_a_pause_for_writes_lets_nobody_be_served(many):
    a, more = many
    b, pusher = more(), more()
    block(b, a, "BLMOVE", "src", "dst", "LEFT", "LEFT", "0")
    a.do("CLIENT", "PAUSE", "100000", "WRITE")
    block(pusher, a, "RPUSH", "src", "1")
    assert b.is_silent(0.05)
    a.do("CLIENT", "UNPAUSE")
    assert (pusher.read(), b.read()) == (1, b"1")


@pytest.mark.shoal_only
@pytest.mark.several_shards
def test_a_slot_does_not_move_while_somebody_waits(many):
    a, more = many
    b = more()
    block(b, a, "BLPOP", "k", "0")
    answers = [a.do("DEBUG", "MOVE-SLOT", str(slot(b"k")), str(shard)) for shard in range(2)]
    assert any(str(answer).startswith("BUSYSLOT") for answer in answers), answers
    a.do("RPUSH", "k", "1")
    b.read()


# ---- The first of several keys ----


def test_lmpop_takes_from_the_first_that_is_there(many):
    a, _ = many
    names = [str(len(KEYS)), *KEYS]
    for i in (9, 4, 12):
        a.do("RPUSH", KEYS[i], "a%d" % i, "b%d" % i)
    assert a.do("LMPOP", *names, "LEFT") == [KEYS[4].encode(), [b"a4"]]
    assert a.do("LMPOP", *names, "RIGHT", "COUNT", "10") == [KEYS[4].encode(), [b"b4"]]
    assert a.do("BLMPOP", "0", *names, "LEFT", "COUNT", "10") == [KEYS[9].encode(), [b"a9", b"b9"]]
    a.do("SET", KEYS[10], "text")
    assert a.do("LMPOP", *names, "LEFT").startswith("WRONGTYPE")
    a.do("SET", KEYS[13], "text")
    a.do("DEL", KEYS[10])
    assert a.do("LMPOP", *names, "LEFT", "COUNT", "3") == [KEYS[12].encode(), [b"a12", b"b12"]]
    assert a.do("LMPOP", *names, "LEFT").startswith("WRONGTYPE")
    a.do("DEL", KEYS[13])
    assert a.do("LMPOP", *names, "LEFT") == NULL_ARRAY


def test_lmpop_in_exec_sees_what_came_before(many):
    a, _ = many
    names = [str(len(KEYS)), *KEYS]
    a.do("RPUSH", KEYS[11], "old")
    a.do("MULTI")
    a.do("LMPOP", *names, "LEFT")
    a.do("RPUSH", KEYS[7], "x")
    a.do("RPUSH", KEYS[3], "y", "z")
    a.do("LMPOP", *names, "LEFT")
    a.do("LMPOP", *names, "LEFT")
    a.do("BLPOP", *KEYS, "0")
    a.do("LMPOP", *names, "LEFT")
    got = a.do("EXEC")
    assert got[0] == [KEYS[11].encode(), [b"old"]]
    assert got[3:] == [[KEYS[3].encode(), [b"y"]], [KEYS[3].encode(), [b"z"]], [KEYS[7].encode(), b"x"], NULL_ARRAY]


# ---- Many at once ----


@pytest.mark.slow
@pytest.mark.parametrize("moves", [False, True])
def test_each_element_is_served_once_and_in_order(server, many, moves):
    """Producers and waiters on keys of all shards, some of whom go. Each element is served once; those of one producer and one
    key come in their order."""
    a, more = many
    producers, elements, stop = 6, 250, threading.Event()
    got, lock, failed = [], threading.Lock(), []

    def produce(number):
        rng = random.Random(number)
        try:
            with server.raw(timeout=60) as c:
                for i in range(elements):
                    key = rng.choice(KEYS)
                    element = "%d:%d" % (number, i)
                    if rng.random() < 0.2:
                        c.do("MULTI")
                        c.do("RPUSH", key, element)
                        c.do("RPUSH", rng.choice(KEYS), "%d:%d+" % (number, i))
                        c.do("EXEC")
                    else:
                        c.do("RPUSH", key, element)
        except Exception as e:
            failed.append(e)

    def consume(number):
        rng = random.Random(1000 + number)
        mine = []
        try:
            c = server.raw(timeout=60)
            while True:
                keys = rng.sample(KEYS, rng.randint(1, 5))
                if moves and rng.random() < 0.4:
                    to = rng.choice(KEYS) if rng.random() < 0.5 else "sink:%d" % rng.randrange(8)
                    c.do("BLMOVE", keys[0], to, "LEFT", "RIGHT", "%.3f" % rng.uniform(0.001, 0.05))
                    continue
                answer = c.do("BLPOP", *keys, "%.3f" % rng.uniform(0.001, 0.3))
                if answer == NULL_ARRAY:
                    if stop.is_set():
                        break
                    continue
                assert answer[0].decode() in keys
                mine.append((answer[0], answer[1]))
            c.close()
        except Exception as e:
            failed.append(e)
        with lock:
            got.append(mine)

    workers = [threading.Thread(target=produce, args=(i,)) for i in range(producers)]
    eaters = [threading.Thread(target=consume, args=(i,)) for i in range(24)]
    for t in workers + eaters:
        t.start()
    for t in workers:
        t.join()
    stop.set()
    for t in eaters:
        t.join()
    assert not failed, failed[0]
    left = [e for key in KEYS + ["sink:%d" % i for i in range(8)] for e in a.do("LRANGE", key, "0", "-1")]
    served = [e for mine in got for _, e in mine] + left
    assert len(served) == len(set(served))
    assert {e for e in served if not e.endswith(b"+")} == {b"%d:%d" % (p, i) for p in range(producers) for i in range(elements)}
    if not moves:
        for mine in got:
            last = {}
            for key, element in mine:
                producer, number = element.rstrip(b"+").split(b":")
                assert last.get((key, producer), -1) <= int(number)
                last[key, producer] = int(number)
