# SPDX-License-Identifier: BSD-3-Clause
"""Clients that wait for entries of streams: XREAD and XREADGROUP with BLOCK. Scenes run on any server."""

import re

import pytest

from resp import NULL_ARRAY, RespError, encode
from server import wait_for

pytestmark = pytest.mark.row_each

# Keys in sixteen places: on four shards each has some.
KEYS = ["key:%d" % i for i in range(16)]


@pytest.fixture
def many(server):
    """Connections, as many as a test wants; the first is free to do things."""
    opened = []

    def open_one():
        c = server.raw()
        opened.append(c)
        return c

    first = open_one()
    first.do("FLUSHALL")
    yield first, open_one
    for c in opened:
        c.close()
    with server.raw() as last:
        assert wait_for(lambda: blocked(last) == 0)


def blocked(c):
    return int(re.search(rb"^blocked_clients:(\d+)\r$", c.do("INFO", "clients"), re.M)[1])


def block(c, by, *command):
    """Sends a command that has to wait, and comes back when it does."""
    before = blocked(by)
    c.send(encode(*command))
    assert wait_for(lambda: blocked(by) == before + 1)


def entry(id, *pairs):
    return [id.encode(), [word.encode() for word in pairs]]


def answer(key, *entries):
    return [[key.encode(), list(entries)]]


@pytest.mark.parametrize("key", KEYS[:6])
def test_all_who_read_get_what_comes(many, key):
    a, more = many
    readers = [more() for _ in range(3)]
    for c in readers:
        block(c, a, "XREAD", "BLOCK", "0", "STREAMS", key, "$")
    a.do("XADD", key, "1-1", "f", "v")
    for c in readers:
        assert c.read() == answer(key, entry("1-1", "f", "v"))


def test_last_means_the_last_when_the_wait_began(many):
    a, more = many
    b = more()
    a.do("XADD", "s", "5-1", "f", "old")
    block(b, a, "XREAD", "BLOCK", "0", "STREAMS", "s", "$")
    a.send(encode("MULTI") + encode("XADD", "s", "5-2", "f", "a") + encode("XADD", "s", "5-3", "f", "b") + encode("EXEC"))
    assert [a.read() for _ in range(4)][3] == [b"5-2", b"5-3"]
    assert b.read() == answer("s", entry("5-2", "f", "a"), entry("5-3", "f", "b"))


def test_an_id_in_the_future_waits_for_what_is_behind_it(many):
    a, more = many
    b = more()
    block(b, a, "XREAD", "BLOCK", "0", "COUNT", "1", "STREAMS", "s", "7-0")
    assert a.do("XADD", "s", "6-1", "f", "v") == b"6-1"
    assert a.do("XADD", "s", "7-0", "f", "v") == b"7-0"
    assert blocked(a) == 1
    a.do("XADD", "s", "7-1", "f", "v")
    assert b.read() == answer("s", entry("7-1", "f", "v"))


def test_of_many_streams_the_one_that_has_something_is_read(many):
    a, more = many
    for key in KEYS:
        b = more()
        block(b, a, "XREAD", "BLOCK", "0", "STREAMS", *KEYS, *["$"] * len(KEYS))
        a.do("XADD", key, "*", "f", "v")
        found = b.read()
        assert len(found) == 1 and found[0][0] == key.encode() and found[0][1][0][1] == [b"f", b"v"]


def test_what_is_there_already_is_read_at_once(many):
    a, _ = many
    a.do("XADD", KEYS[3], "1-1", "f", "v")
    assert a.do("XREAD", "BLOCK", "0", "STREAMS", *KEYS, *["0"] * len(KEYS)) == answer(KEYS[3], entry("1-1", "f", "v"))


@pytest.mark.parametrize("count", [1, 3])
def test_time_ends_a_wait(many, count):
    a, _ = many
    assert a.do("XREAD", "BLOCK", "20", "STREAMS", *KEYS[:count], *["$"] * count) == NULL_ARRAY
    for key in KEYS[:count]:
        a.do("XGROUP", "CREATE", key, "g", "0", "MKSTREAM")
    assert a.do("XREADGROUP", "GROUP", "g", "c", "BLOCK", "20", "STREAMS", *KEYS[:count], *[">"] * count) == NULL_ARRAY


def test_nobody_waits_inside_exec(many):
    a, _ = many
    a.do("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")
    a.do("MULTI")
    a.do("XREAD", "BLOCK", "0", "STREAMS", "s", "$")
    a.do("XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">")
    assert a.do("EXEC") == [NULL_ARRAY, NULL_ARRAY]


@pytest.mark.parametrize("key", KEYS[:6])
def test_of_a_group_each_entry_goes_to_one(many, key):
    a, more = many
    a.do("XGROUP", "CREATE", key, "g", "0", "MKSTREAM")
    readers = [more() for _ in range(3)]
    for i, c in enumerate(readers):
        block(c, a, "XREADGROUP", "GROUP", "g", "c%d" % i, "BLOCK", "0", "STREAMS", key, ">")
    for i, c in enumerate(readers):
        assert blocked(a) == len(readers) - i
        a.do("XADD", key, "1-%d" % (i + 1), "f", str(i))
        assert c.read() == answer(key, entry("1-%d" % (i + 1), "f", str(i)))
    assert a.do("XPENDING", key, "g") == [3, b"1-1", b"1-3", [[b"c%d" % i, b"1"] for i in range(3)]]


def test_groups_of_streams_on_many_shards(many):
    a, more = many
    for key in KEYS:
        a.do("XGROUP", "CREATE", key, "g", "$", "MKSTREAM")
    for key in KEYS:
        b = more()
        block(b, a, "XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", *KEYS, *[">"] * len(KEYS))
        a.do("XADD", key, "1-1", "f", "v")
        assert b.read() == answer(key, entry("1-1", "f", "v"))
        assert a.do("XPENDING", key, "g")[0] == 1
    for key in KEYS[::2]:
        a.do("XADD", key, "2-1", "f", "v")
    found = a.do("XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", *KEYS, *[">"] * len(KEYS))
    assert found == [[key.encode(), [entry("2-1", "f", "v")]] for key in KEYS[::2]]
    history = a.do("XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "STREAMS", *KEYS, *["0"] * len(KEYS))
    assert history == [[key.encode(), [entry("1-1", "f", "v")]] for key in KEYS]


LOST = "NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option"


@pytest.mark.parametrize(
    "commands, error",
    [
        ([("XGROUP", "DESTROY", "s", "g")], LOST),
        ([("DEL", "s")], LOST),
        ([("SET", "s", "v")], "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ([("FLUSHALL",)], LOST),
        ([("RENAME", "s", "t")], LOST),
    ],
)
def test_who_waits_for_a_group_is_told_that_it_has_gone(many, commands, error):
    a, more = many
    b = more()
    a.do("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")
    block(b, a, "XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">")
    for command in commands:
        a.do(*command)
    found = b.read()
    assert isinstance(found, RespError) and found.text == error


def test_a_reader_waits_on_when_its_key_is_something_else(many):
    a, more = many
    b = more()
    block(b, a, "XREAD", "BLOCK", "0", "STREAMS", "s", "0")
    a.do("SET", "s", "v")
    a.do("DEL", "s")
    assert blocked(a) == 1
    a.do("XADD", "s", "1-1", "f", "v")
    assert b.read() == answer("s", entry("1-1", "f", "v"))


@pytest.mark.parametrize(
    "commands",
    [
        ["SET {s}2 x", "XADD {s}1 2-1 f v"],
        ["SET {s}1 x", "XADD {s}2 2-1 f v"],
        ["SET {s}1 x", "XADD {s}2 MAXLEN 0 2-1 f v"],
        ["MULTI", "XADD {s}1 2-1 f v", "SET {s}2 x", "EXEC"],
        ["SET {s}2 x", "DEL {s}1", "XGROUP CREATE {s}1 g $ MKSTREAM"],
        ["SET {s}2 x", "XADD {s}3 3-1 f v", "RENAME {s}3 {s}1"],
        ["SET {s}2 x", "XADD {s}3 3-1 f v", "COPY {s}3 {s}1 REPLACE"],
    ],
)
def test_what_comes_too_early_tells_a_reader_that_another_key_is_no_stream(many, commands):
    a, more = many
    b = more()
    fill_all(a, ["{s}1", "{s}2"])
    block(b, a, "XREAD", "BLOCK", "0", "STREAMS", "{s}1", "{s}2", "9-1", "9-1")
    for command in commands:
        a.do(*command.split())
    found = b.read()
    assert isinstance(found, RespError) and found.text.startswith("WRONGTYPE ")


@pytest.mark.parametrize(
    "commands",
    [
        ["XADD {s}1 2-1 f v", "SET {s}2 x"],
        ["SET {s}2 x", "XDEL {s}1 1-1"],
        ["SET {s}2 x", "XTRIM {s}1 MAXLEN 0"],
        ["SET {s}2 x", "XSETID {s}1 5-1"],
        ["SET {s}2 x", "XGROUP CREATE {s}1 g $"],
        ["SET {s}2 x", "EXPIRE {s}1 1000", "PERSIST {s}1"],
        ["SET {s}2 x", "DEL {s}1", "RPUSH {s}1 x", "DEL {s}1"],
    ],
)
def test_a_reader_waits_on_while_nothing_comes(many, commands):
    a, more = many
    b = more()
    fill_all(a, ["{s}1", "{s}2"])
    block(b, a, "XREAD", "BLOCK", "0", "STREAMS", "{s}1", "{s}2", "9-1", "9-1")
    for command in commands:
        a.do(*command.split())
    assert blocked(a) == 1
    a.do("DEL", "{s}2")
    a.do("XADD", "{s}1", "9-2", "f", "v")
    assert b.read() == answer("{s}1", entry("9-2", "f", "v"))


def test_readers_and_a_group_and_one_who_unblocks(many):
    a, more = many
    reader, member, third = more(), more(), more()
    a.do("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    block(reader, a, "XREAD", "BLOCK", "0", "STREAMS", "s", "$")
    block(member, a, "XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">")
    number = third.do("CLIENT", "ID")
    block(third, a, "XREADGROUP", "GROUP", "g", "d", "BLOCK", "0", "STREAMS", "s", ">")
    assert a.do("CLIENT", "UNBLOCK", str(number)) == 1
    assert third.read() == NULL_ARRAY
    a.do("XADD", "s", "1-1", "f", "v")
    assert reader.read() == member.read() == answer("s", entry("1-1", "f", "v"))


def test_history_never_waits(many):
    a, _ = many
    a.do("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")
    assert a.do("XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", "0") == [[b"s", []]]


def fill_all(c, keys, id="1-1"):
    """As one: who waits for several of them sees all."""
    c.do("MULTI")
    for key in keys:
        c.do("XADD", key, id, "f", key)
    assert c.do("EXEC") == [id.encode()] * len(keys)


def of_each(keys, id="1-1"):
    return [[key.encode(), [entry(id, "f", key)]] for key in keys]


@pytest.mark.parametrize("filled", [KEYS[:2], KEYS[1:4], KEYS[::-1], KEYS])
def test_a_reader_sees_all_that_came_as_one(many, filled):
    """And nothing of what came later."""
    a, more = many
    readers = [more() for _ in range(3)]
    for c in readers:
        block(c, a, "XREAD", "BLOCK", "0", "STREAMS", *KEYS, *["$"] * len(KEYS))
    fill_all(a, filled)
    for key in filled:
        a.do("XADD", key, "2-1", "later", "v")
    for c in readers:
        assert c.read() == of_each([key for key in KEYS if key in filled])


@pytest.mark.parametrize("filled", [KEYS[:2], KEYS[1:4], KEYS[::-1], KEYS])
def test_of_a_group_one_gets_all_that_came_as_one(many, filled):
    a, more = many
    for key in KEYS:
        a.do("XGROUP", "CREATE", key, "g", "$", "MKSTREAM")
    first, second = more(), more()
    for c, name in ((first, "first"), (second, "second")):
        block(c, a, "XREADGROUP", "GROUP", "g", name, "BLOCK", "0", "STREAMS", *KEYS, *[">"] * len(KEYS))
    fill_all(a, filled)
    a.do("XADD", filled[-1], "2-1", "f", "later")
    assert first.read() == of_each([key for key in KEYS if key in filled])
    assert second.read() == answer(filled[-1], entry("2-1", "f", "later"))
    for key in KEYS:
        pending = [b"first"] * (key in filled) + [b"second"] * (key == filled[-1])
        assert [p[1] for p in a.do("XPENDING", key, "g", "-", "+", "10")] == pending


def test_of_groups_that_go_as_one_the_first_is_told(many):
    a, more = many
    for key in KEYS:
        a.do("XGROUP", "CREATE", key, "g", "$", "MKSTREAM")
    b = more()
    block(b, a, "XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", *KEYS, *[">"] * len(KEYS))
    a.do("DEL", *KEYS[::-1])
    assert str(b.read()).startswith("NOGROUP No such key '%s'" % KEYS[0])


def test_a_reader_sees_all_of_a_database_that_is_swapped_in(many):
    a, more = many
    a.do("SELECT", "1")
    for key in KEYS[3:9]:
        a.do("XADD", key, "1-1", "f", key)
    a.do("SELECT", "0")
    b = more()
    block(b, a, "XREAD", "BLOCK", "0", "STREAMS", *KEYS, *["0"] * len(KEYS))
    a.do("SWAPDB", "0", "1")
    assert b.read() == of_each(KEYS[3:9])


def test_who_is_too_late_for_what_came_as_one_waits_on(many):
    """FLUSHALL may come before the readers have it from all shards: then they have the next."""
    a, more = many
    readers = [more() for _ in range(3)]
    for _ in range(10):
        for c in readers:
            block(c, a, "XREAD", "BLOCK", "0", "STREAMS", *KEYS, *["$"] * len(KEYS))
        words = [["MULTI"], *[["XADD", key, "1-1", "f", key] for key in KEYS], ["EXEC"], ["FLUSHALL"]]
        a.send(b"".join(encode(*command) for command in words))
        for _ in words:
            a.read()
        fill_all(a, KEYS[3:6], "2-1")
        for c in readers:
            assert c.read() in (of_each(KEYS), of_each(KEYS[3:6], "2-1"))
        a.do("FLUSHALL")
