# SPDX-License-Identifier: BSD-3-Clause
"""HOTKEYS: the keys that commands are about most often, of all shards, always on; what counts, and what does not."""

import pytest

from resp import RespError, encode
from server import wait_for

pytestmark = pytest.mark.row_each


def hot(c, *count):
    """[(database, key, commands a second)]"""
    entries = [dict(zip(e[::2], e[1::2])) for e in c.do("HOTKEYS", "GET", *count)]
    assert all(set(e) == {b"key", b"db", b"qps"} for e in entries)
    return [(e[b"db"], e[b"key"], e[b"qps"]) for e in entries]


@pytest.fixture
def c(server):
    with server.raw() as c:
        c.do("FLUSHALL")
        assert c.do("HOTKEYS", "RESET") == "OK"
        yield c


def test_the_hottest_come_first(c):
    for round in range(200):
        for n in range(8):
            if round % (1 << n) == 0:
                c.do("GET" if round % 3 else "INCR", "key:%d" % n)
    found = hot(c)
    assert [(db, key) for db, key, _ in found[:4]] == [(0, b"key:%d" % n) for n in range(4)]
    rates = [qps for _, _, qps in found]
    assert rates == sorted(rates, reverse=True) and rates[0] > 0
    assert hot(c, 2)[0][1] == b"key:0" and len(hot(c, 2)) == 2


def test_each_key_of_a_command_counts_and_each_database_by_itself(c):
    for _ in range(50):
        c.do("MSET", "a", "1", "b", "2")
        c.do("SELECT", "3")
        c.do("SET", "a", "3")
        c.do("SELECT", "0")
    found = {(db, key): qps for db, key, qps in hot(c)}
    assert set(found) == {(0, b"a"), (0, b"b"), (3, b"a")}


def test_scripts_and_transactions_count_what_they_call(c):
    for _ in range(30):
        c.do("EVAL", "redis.call('set', KEYS[1], '1') redis.call('get', KEYS[1])", "1", "of-script")
        c.do("MULTI")
        c.do("SET", "of-transaction", "1")
        c.do("EXEC")
    found = {key: qps for _, key, qps in hot(c)}
    assert set(found) == {b"of-script", b"of-transaction"}
    assert found[b"of-script"] > found[b"of-transaction"]


def test_a_pipeline_counts_as_much(c):
    commands = [("GET", "hot")] * 900 + [("GET", "cool:%d" % i) for i in range(100)]
    c.send(b"".join(encode(*x) for x in commands))
    c.read_some(len(commands))
    found = hot(c, 1000)
    assert found[0][1] == b"hot" and found[0][2] > 10 * max([qps for _, _, qps in found[1:]], default=0)


def test_commands_without_keys_do_not_count(c):
    for _ in range(20):
        c.do("PING")
        c.do("DBSIZE")
        c.do("PUBLISH", "channel", "message")
        c.do("CONFIG", "GET", "maxmemory")
    assert hot(c) == []


def test_reset_forgets(c):
    for _ in range(20):
        c.do("GET", "x")
    assert hot(c)
    c.do("HOTKEYS", "RESET")
    assert hot(c) == []


def test_what_was_hot_cools_down(c):
    for _ in range(3):
        c.do("GET", "x")
    assert hot(c)
    assert wait_for(lambda: hot(c) == [])


def test_any_bytes_may_be_a_key_and_long_ones_are_cut(c):
    keys = [b"", b"\x00\xff\r\n", b"long" * 1000]
    for _ in range(20):
        for key in keys:
            c.do("EXISTS", key)
    assert {key for _, key, _ in hot(c)} == {b"", b"\x00\xff\r\n", (b"long" * 1000)[:1024]}


def test_resp3_has_maps(c):
    c.do("HELLO", "3")
    for _ in range(5):
        c.do("GET", "x")
    entry = c.do("HOTKEYS", "GET", "1")[0]
    assert entry.keys() == [b"key", b"db", b"qps"]
    assert entry.get(b"key") == b"x" and entry.get(b"db") == 0 and entry.get(b"qps") > 0


def test_what_is_no_count(c):
    for wrong in ("0", "-1", "x", "1.5", "99999999999999999999"):
        answer = c.do("HOTKEYS", "GET", wrong)
        assert isinstance(answer, RespError) and ("out of range" in answer.text)
    assert "HOTKEYS HELP" in c.do("HOTKEYS", "GET", "1", "2").text
    assert any("RESET" in str(line) for line in c.do("HOTKEYS", "HELP"))


def test_who_may_not_administer_may_not_ask(c, server):
    c.do("ACL", "SETUSER", "guest", "on", ">pw", "~*", "+@all", "-@admin")
    with server.raw() as g:
        g.do("AUTH", "guest", "pw")
        assert g.do("HOTKEYS", "GET").startswith("NOPERM")
    c.do("ACL", "DELUSER", "guest")
