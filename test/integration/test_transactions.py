# SPDX-License-Identifier: BSD-3-Clause
"""MULTI, EXEC, DISCARD, WATCH, UNWATCH: what is queued, what is refused, what makes EXEC say no, over all shards."""

import itertools
import threading
import time

import pytest
import redis

from conftest import connect
from resp import NULL_ARRAY, RespError, encode
from server import wait_for
from test_shards import key_in

ABORTED = "EXECABORT Transaction discarded because of previous errors."


@pytest.fixture
def other(server):
    """A second raw connection."""
    with server.raw() as c:
        yield c


@pytest.fixture
def valkey_texts(kind):
    if kind == "redis":
        pytest.skip("Redis 7.0 has other texts here")


def spread(shards, n):
    """n keys, neighbours on different shards."""
    return [key_in(i % shards, shards, "key%d:" % i) for i in range(n)]


def fields_of(line):
    return dict(pair.split("=", 1) for pair in line.decode().split())


def fields(c, kind="INFO"):
    """CLIENT INFO of a raw connection."""
    return fields_of(c.do("CLIENT", kind))


def eventually(check, seconds=60.0):
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(0.01)


# ---- queueing ------------------------------------------------------------------------------------------------------------


def test_exec_answers_all_that_was_queued(r, raw, shards):
    keys = spread(shards, 6)
    assert raw.do("MULTI") == "OK"
    for n, key in enumerate(keys):
        assert raw.do("SET", key, str(n)) == "QUEUED"
    assert raw.do("MGET", *keys) == "QUEUED"
    assert raw.do("INCR", keys[0]) == "QUEUED"
    assert r.exists(keys[0]) == 0  # nothing has run yet
    assert raw.do("EXEC") == ["OK"] * 6 + [[str(n).encode() for n in range(6)], 1]
    assert raw.do("GET", keys[5]) == b"5"


def test_one_write_may_hold_it_all(r, raw, shards):
    keys = spread(shards, 8)
    calls = [("MULTI",)] + [("APPEND", k, "x") for k in keys] + [("EXEC",), ("STRLEN", keys[3]), ("MULTI",), ("EXEC",)]
    raw.send(b"".join(encode(*c) for c in calls))
    assert raw.read_some(len(calls)) == ["OK"] + ["QUEUED"] * 8 + [[1] * 8, 1, "OK", []]


def test_byte_by_byte_and_inline(r, raw):
    for byte in b"MULTI\r\n" + encode("SET", "k", "v") + b"GET k\r\nEXEC\r\n":
        raw.send(bytes([byte]))
    assert raw.read_some(4) == ["OK", "QUEUED", "QUEUED", ["OK", b"v"]]


def test_a_pipeline_sees_its_own_transaction_in_order(r, raw, shards):
    keys = spread(shards, 4)
    calls = []
    for n in range(50):
        calls += [("SET", keys[n % 4], "a"), ("MULTI",), ("APPEND", keys[n % 4], "b"), ("GET", keys[(n + 1) % 4]), ("EXEC",)]
        calls += [("APPEND", keys[n % 4], "c")]
    raw.send(b"".join(encode(*c) for c in calls))
    replies = raw.read_some(len(calls))
    for n in range(50):
        assert replies[n * 6 : n * 6 + 4] == ["OK", "OK", "QUEUED", "QUEUED"]
        assert replies[n * 6 + 4][0] == 2
        assert replies[n * 6 + 5] == 3


def test_words_are_kept_when_the_input_buffer_has_gone(r, raw, shards):
    keys = spread(shards, 4)
    raw.do("MULTI")
    values = [("%d" % n) * 50_000 for n in range(4)]
    for key, value in zip(keys, values):
        raw.do("SET", key, value)
    for _ in range(20):
        assert raw.do("GET", "x" * 20_000) == "QUEUED"
    raw.do("EXEC")
    for key, value in zip(keys, values):
        assert raw.do("GET", key) == value.encode()


def test_large_values_are_queued(r, raw, shards):
    keys = spread(shards, 3)
    values = [chr(97 + n) * 3_000_000 for n in range(3)]
    raw.do("MULTI")
    for key, value in zip(keys, values):
        assert raw.do("SET", key, value) == "QUEUED"
    raw.do("APPEND", keys[0], values[1])
    raw.do("MGET", *keys)
    got = raw.do("EXEC")
    assert got[:4] == ["OK"] * 3 + [6_000_000]
    assert got[4] == [(values[0] + values[1]).encode(), values[1].encode(), values[2].encode()]
    raw.do("MULTI")
    raw.do("SET", keys[0], values[2])
    raw.do("DISCARD")
    assert raw.do("STRLEN", keys[0]) == 6_000_000


def test_ten_thousand_commands(r, raw, shards, slow):
    keys = spread(shards, 10)
    raw.send(encode("MULTI") + b"".join(encode("INCR", keys[n % 10]) for n in range(10_000)) + encode("EXEC"))
    replies = raw.read_some(10_002)
    assert replies[-1] == [n // 10 + 1 for n in range(10_000)]


@pytest.mark.slow
def test_very_many_steps(r, raw, shards):
    """What ran at home called for the next step from inside the one before: a long EXEC of commands that must follow each
    other took a deeper stack than a thread has."""
    for key in spread(shards, shards):
        calls = encode("INCR", key) + encode("SELECT", "0")
        raw.send(encode("MULTI") + calls * 40_000 + encode("EXEC"))
        assert raw.read_some(80_001)[-1] == "QUEUED"
        assert raw.read()[::2] == list(range(1, 40_001))


def test_errors_in_the_middle_do_not_roll_back(r, raw, shards):
    a, b = spread(shards, 2)
    raw.do("MULTI")
    raw.do("SET", a, "text")
    raw.do("INCR", a)
    raw.do("SET", b, "2")
    assert raw.do("EXEC") == ["OK", RespError("ERR value is not an integer or out of range"), "OK"]
    assert raw.do("GET", b) == b"2"


def test_select_inside(r, raw, shards):
    a, b = spread(shards, 2)
    raw.do("MULTI")
    for call in (("SET", a, "0"), ("SELECT", "3"), ("SET", a, "3"), ("SELECT", "99"), ("SELECT", "x"), ("SET", b, "3"), ("SELECT", "4"), ("DBSIZE",)):
        assert raw.do(*call) == "QUEUED"
    assert raw.do("EXEC") == [
        "OK", "OK", "OK", RespError("ERR DB index is out of range"),
        RespError("ERR value is not an integer or out of range"), "OK", "OK", 0,
    ]  # fmt: skip
    assert fields(raw)["db"] == "4"
    assert raw.do("SELECT", "3") == "OK"
    assert raw.do("MGET", a, b) == [b"3", b"3"]
    raw.do("SELECT", "0")
    assert raw.do("MGET", a, b) == [b"0", None]


def test_select_takes_effect_at_exec_only(r, raw):
    raw.do("MULTI")
    raw.do("SELECT", "5")
    raw.do("DISCARD")
    assert fields(raw)["db"] == "0"


def test_hello_inside_changes_the_replies_behind_it(r, raw):
    raw.do("MULTI")
    for call in (("GET", "none"), ("HELLO", "3"), ("GET", "none"), ("HELLO", "2"), ("GET", "none")):
        raw.do(*call)
    raw.send(encode("EXEC"))
    value, sent = raw.read_raw()
    assert sent.startswith(b"*5\r\n$-1\r\n%")
    assert b"\r\n_\r\n*14\r\n" in sent and sent.endswith(b"$-1\r\n")


def test_global_commands_inside(r, raw, shards):
    keys = spread(shards, 6)
    raw.do("MULTI")
    for call in [("SET", k, "v") for k in keys] + [("DBSIZE",), ("KEYS", "*"), ("RANDOMKEY",), ("SWAPDB", "0", "1"), ("DBSIZE",)]:
        assert raw.do(*call) == "QUEUED"
    for call in (("SWAPDB", "0", "1"), ("DBSIZE",), ("FLUSHALL",), ("DBSIZE",), ("SET", keys[0], "w"), ("EXISTS", *keys)):
        assert raw.do(*call) == "QUEUED"
    got = raw.do("EXEC")
    assert got[:7] == ["OK"] * 6 + [6]
    assert sorted(got[7]) == sorted(k.encode() for k in keys)
    assert got[8].decode() in keys
    assert got[9:] == ["OK", 0, "OK", 6, "OK", 0, "OK", 1]


@pytest.mark.parametrize(
    "intruder",
    [
        ("FLUSHALL",),
        ("SWAPDB", "0", "1"),
        ("MSET", "key", "another", "key2", "another"),
        ("EVAL", "return redis.call('SET', 'key', 'another')", "0"),
        ("EVAL", "return redis.call('FLUSHALL')", "0"),
        ("EVAL", "return redis.call('SWAPDB', 0, 1)", "0"),
        ("SORT", "none", "STORE", "key"),
        ("FLUSHDB", "ASYNC"),
    ],
    ids=lambda call: call[1][:30] if call[0] == "EVAL" else call[0],
)
def test_nobody_comes_between_when_all_databases_are_concerned(server, r, raw, other, intruder):
    """A transaction about all keys takes several turns, also of one shard."""
    ours = [("MULTI",), ("SET", "key", "ours"), ("SWAPDB", "2", "3"), ("FLUSHDB", "ASYNC"), ("DBSIZE",)]
    ours += [("SET", "key", "ours"), ("SWAPDB", "2", "3"), ("KEYS", "*"), ("GET", "key"), ("DEL", "key"), ("EXEC",)]
    queued = ["OK"] + ["QUEUED"] * (len(ours) - 2)
    for _ in range(10):
        other.send(encode(*intruder) * 40)
        for _ in range(20):
            raw.send(b"".join(encode(*call) for call in ours))
        for _ in range(20):
            assert [raw.read() for _ in queued] == queued
            assert raw.read() == ["OK", "OK", "OK", 0, "OK", "OK", [b"key"], b"ours", 1]
        for _ in range(40):
            other.read()
        r.flushall()


def test_server_commands_inside(r, raw):
    raw.do("MULTI")
    for call in (("CONFIG", "GET", "hz"), ("INFO", "server"), ("CLIENT", "SETNAME", "me"), ("CLIENT", "GETNAME"), ("PING",), ("TIME",), ("COMMAND", "COUNT")):
        assert raw.do(*call) == "QUEUED"
    got = raw.do("EXEC")
    assert got[0][0] == b"hz" and b"uptime_in_seconds" in got[1]
    assert got[2:5] == ["OK", b"me", "PONG"]
    assert len(got[5]) == 2 and got[6] > 50


def test_a_subcommand_behind_its_command_in_one_pipeline(r, raw, valkey_texts):
    """COMMAND COUNT was queued as another COMMAND, because that had come right before it."""
    raw.send(encode("MULTI") + encode("COMMAND") + encode("COMMAND", "COUNT") + encode("EXEC"))
    commands, count = raw.read_some(4)[3]
    assert len(commands) == count
    raw.send(encode("MULTI") + encode("COMMAND") + encode("COMMAND", "NOSUCH") + encode("EXEC"))
    assert raw.read_some(4)[2:] == [RespError("ERR unknown subcommand 'NOSUCH'. Try COMMAND HELP."), RespError(ABORTED)]


def test_config_set_inside(r, raw):
    raw.do("MULTI")
    raw.do("CONFIG", "SET", "timeout", "77")
    raw.do("CONFIG", "GET", "timeout")
    raw.do("CONFIG", "SET", "timeout", "0")
    assert raw.do("EXEC") == ["OK", [b"timeout", b"77"], "OK"]


def test_walks_over_all_shards_inside(r, raw, shards):
    keys = sorted(spread(shards, 6))
    raw.do("MSET", *[word for key in keys for word in (key, "v")])
    raw.do("MULTI")
    raw.do("DEL", keys[0])
    raw.do("SCAN", "0", "COUNT", "1000")
    raw.do("SET", keys[0], "v")
    raw.do("SCAN", "0", "COUNT", "1000", "MATCH", "key*")
    raw.do("DEBUG", "SLEEP", "0")
    raw.do("DEBUG", "OBJECT", "none")
    got = raw.do("EXEC")
    seen = []
    for cursor, found in (got[1], got[3]):  # a shard a step: what is left is walked outside
        while cursor != b"0":
            cursor, more = raw.do("SCAN", cursor, "COUNT", "1000")
            found += more
        seen.append(sorted(key.decode() for key in found))
    assert seen[1] == keys and set(keys[1:]) <= set(seen[0])
    assert got[4:] == ["OK", RespError("ERR no such key")]


def test_time_stands_still_inside(r, raw, shards):
    """A key that the transaction has made ran out while it went on to all shards; INCR made it again, to stay for ever."""
    for key in spread(shards, shards):
        raw.do("MULTI")
        for call in (("SET", key, "5", "PX", "20"), ("DEBUG", "SLEEP", "0.1"), ("DBSIZE",), ("KEYS", "*"), ("GET", key), ("INCR", key)):
            raw.do(*call)
        assert raw.do("EXEC")[2:] == [1, [key.encode()], b"5", 6]
        assert raw.do("GET", key) is None
        assert eventually(lambda: r.dbsize() == 0)


def test_info_and_clients_inside(r, raw, other):
    other.do("WATCH", "a", "b")
    me = raw.do("CLIENT", "ID")
    raw.do("MULTI")
    for call in (("INFO", "clients"), ("CLIENT", "LIST"), ("CLIENT", "ID"), ("CLIENT", "KILL", "ID", "999999999"), ("CLIENT", "UNBLOCK", str(me))):
        assert raw.do(*call) == "QUEUED"
    info, clients, mine, killed, unblocked = raw.do("EXEC")
    assert b"# Clients\r\n" in info
    lines = clients.decode().splitlines()
    assert len(lines) == len(r.client_list()) and any(line.startswith("id=%d " % me) for line in lines)
    assert (mine, killed, unblocked) == (me, 0, 0)


def test_who_kills_himself_inside_is_closed_behind_it(r, raw, shards):
    """What comes behind the kill in the same transaction runs."""
    before, after = spread(shards, 2)
    me = str(raw.do("CLIENT", "ID"))
    raw.do("MULTI")
    raw.do("SET", before, "1")
    raw.do("CLIENT", "KILL", "ID", me, "SKIPME", "no")
    raw.do("SET", after, "1")
    raw.send(encode("EXEC"))
    assert raw.is_closed()
    assert r.get(before) == r.get(after) == "1"


def test_pause_and_its_end_inside(r, raw, other):
    raw.do("MULTI")
    raw.do("CLIENT", "PAUSE", "60000", "WRITE")
    raw.do("SET", "k", "v")
    raw.do("CLIENT", "UNPAUSE")
    assert raw.do("EXEC") == ["OK"] * 3
    assert other.do("INCR", "n") == 1


def test_pause_holds_an_exec_of_writes_on_several_shards(r, raw, other, shards):
    keys = spread(shards, 4)
    raw.do("WATCH", *keys)
    raw.do("MULTI")
    raw.do("MSET", *[word for key in keys for word in (key, "v")])
    other.do("CLIENT", "PAUSE", "60000", "WRITE")
    try:
        raw.send(encode("EXEC"))
        assert raw.is_silent(0.2)
        assert other.do("EXISTS", *keys) == 0
    finally:
        other.do("CLIENT", "UNPAUSE")
    assert raw.read() == ["OK"]


def test_wait_inside_answers_at_once(r, raw):
    raw.do("MULTI")
    raw.do("SET", "k", "v")
    raw.do("WAIT", "1", "0")
    raw.do("WAIT", "3", "1000000")
    assert raw.do("EXEC") == ["OK", 0, 0]  # else the socket's time is over before


# ---- refusals ------------------------------------------------------------------------------------------------------------


def test_without_multi(r, raw):
    assert raw.do("EXEC") == RespError("ERR EXEC without MULTI")
    assert raw.do("DISCARD") == RespError("ERR DISCARD without MULTI")
    assert raw.do("UNWATCH") == "OK"


@pytest.mark.parametrize(
    "call, text",
    [
        (("NOSUCH", "x"), "ERR unknown command 'NOSUCH', with args beginning with: 'x' "),
        (("SET", "k"), "ERR wrong number of arguments for 'set' command"),
        (("CLIENT", "NOSUCH"), "ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP."),
        (("MULTI",), "ERR Command 'multi' not allowed inside a transaction"),
        (("WATCH", "k"), "ERR Command 'watch' not allowed inside a transaction"),
        (("WATCH",), "ERR wrong number of arguments for 'watch' command"),
        (("CLIENT", "REPLY", "OFF"), "ERR Command 'client|reply' not allowed inside a transaction"),
        (("SHUTDOWN",), "ERR Command 'shutdown' not allowed inside a transaction"),
        (("DISCARD", "x"), "ERR wrong number of arguments for 'discard' command"),
    ],
)
def test_what_cannot_be_queued_aborts(r, raw, call, text, valkey_texts):
    raw.do("MULTI")
    raw.do("SET", "k", "v")
    assert raw.do(*call) == RespError(text)
    assert raw.do("SET", "k", "w") == "QUEUED"
    assert raw.do("EXEC") == RespError(ABORTED)
    assert raw.do("EXISTS", "k") == 0
    assert raw.do("MULTI") == "OK"
    assert raw.do("EXEC") == []


def test_exec_with_arguments_ends_the_transaction(r, raw):
    text = "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command"
    assert raw.do("EXEC", "x") == RespError(text)
    raw.do("MULTI")
    assert raw.do("EXEC", "x") == RespError(text)
    assert raw.do("EXEC") == RespError("ERR EXEC without MULTI")


def test_pipeline_goes_on_behind_an_exec_with_arguments(r, raw):
    """It ended the transaction, but what came with it in one read was queued in one that was not there: the server died."""
    raw.send(encode("MULTI") + encode("EXEC", "x") + encode("SET", "k", "v") + encode("WATCH", "k") + encode("GET", "k"))
    assert raw.read_some(5)[2:] == ["OK", "OK", b"v"]


def test_exec_without_password(start_server):
    s = start_server(requirepass="secret")
    with s.raw() as c:
        assert c.do("EXEC") == RespError("EXECABORT Transaction discarded because of: NOAUTH Authentication required.")
        assert c.do("MULTI") == RespError("NOAUTH Authentication required.")
        c.do("AUTH", "secret")
        c.do("MULTI")
        assert c.do("AUTH", "secret") == "QUEUED"
        assert c.do("EXEC") == ["OK"]


def test_debug_is_refused_when_it_is_queued(start_server):
    s = start_server(enable_debug_command="no")
    with s.raw() as c:
        c.do("MULTI")
        assert c.do("DEBUG", "SLEEP", "0").startswith("ERR DEBUG command not allowed")
        assert c.do("EXEC") == RespError(ABORTED)


def test_failed_transaction_drops_the_watches(r, raw, other):
    raw.do("WATCH", "k")
    raw.do("MULTI")
    raw.do("SET", "k")
    assert raw.do("EXEC") == RespError(ABORTED)
    other.do("SET", "k", "v")
    raw.do("MULTI")
    assert raw.do("EXEC") == []


def test_errors_come_before_watches(r, raw, other):
    raw.do("WATCH", "k")
    other.do("SET", "k", "v")
    raw.do("MULTI")
    raw.do("NOSUCH")
    assert raw.do("EXEC") == RespError(ABORTED)


def test_reset_inside(r, raw, other):
    raw.do("WATCH", "k")
    raw.do("MULTI")
    raw.do("SET", "k", "v")
    assert raw.do("RESET") == "RESET"
    assert raw.do("EXEC") == RespError("ERR EXEC without MULTI")
    other.do("SET", "k", "other")
    raw.do("MULTI")
    assert raw.do("EXEC") == []


def test_quit_inside(r, raw):
    raw.send(encode("MULTI") + encode("SET", "k", "v") + encode("QUIT") + encode("EXEC"))
    assert raw.read_some(3) == ["OK", "QUEUED", "OK"]
    assert raw.is_closed()
    assert r.exists("k") == 0


def test_protocol_error_inside(r, raw):
    raw.send(encode("MULTI") + encode("SET", "k", "v") + b"*1\r\n$x\r\n" + encode("EXEC"))
    assert raw.read_some(3) == ["OK", "QUEUED", RespError("ERR Protocol error: invalid bulk length")]
    assert raw.is_closed()
    assert r.exists("k") == 0


def test_client_that_leaves_in_the_middle_leaves_nothing(r, server, shards):
    keys = spread(shards, 8)
    for _ in range(30):
        with server.raw() as c:
            c.send(encode("WATCH", *keys) + encode("MULTI") + b"".join(encode("SET", k, "v") for k in keys))
            c.read()
    assert r.dbsize() == 0
    if server.kind == "shoal":
        assert eventually(lambda: r.info("clients")["total_watched_keys"] == 0)


# ---- CLIENT REPLY --------------------------------------------------------------------------------------------------------


def test_reply_off(r, raw):
    raw.send(encode("CLIENT", "REPLY", "OFF") + encode("MULTI") + encode("SET", "k", "v") + encode("EXEC"))
    raw.send(encode("CLIENT", "REPLY", "ON"))
    assert raw.read() == "OK"
    assert raw.do("GET", "k") == b"v"


def test_reply_skip(r, raw, other):
    """Each call swallows the reply of the next one, of EXEC as well, and of no other."""
    raw.send(encode("CLIENT", "REPLY", "SKIP") + encode("MULTI") + encode("SET", "k", "v") + encode("EXEC"))
    assert raw.read_some(2) == ["QUEUED", ["OK"]]


def test_replies_over_shards_are_dropped_where_they_are_said_to_be(r, raw, shards):
    """Commands over several shards answer when their parts are home: what CLIENT REPLY has said since is not for them."""
    a, b = spread(shards, 2)
    off, skip, on = [("CLIENT", "REPLY", how) for how in ("OFF", "SKIP", "ON")]
    calls = [
        (skip, []), (("MSET", a, "1", b, "2"), []), (("MSET", a, "3", b, "4"), ["OK"]), (("MGET", a, b), [[b"3", b"4"]]),
        (("MGET", a, b), [[b"3", b"4"]]), (skip, []), (("MGET", a, b), []), (skip, []), (("DBSIZE",), []), (("DBSIZE",), [2]),
        (skip, []), (("MULTI",), []), (("SET", a, "5"), ["QUEUED"]), (("SET", b, "6"), ["QUEUED"]), (("EXEC",), [["OK", "OK"]]),
        (off, []), (("MGET", a, b), []), (("RENAME", a, b), []), (("MULTI",), []), (("SET", a, "7"), []), (("APPEND", b, "8"), []),
        (("EXEC",), []), (("FLUSHDB", "NOSUCH"), []), (("EXEC",), []), (("WATCH", a, b), []), (on, ["OK"]), (("MGET", a, b), [[b"7", b"58"]]),
        (("SET", b, "9"), ["OK"]), (("MULTI",), ["OK"]), (("GET", a), ["QUEUED"]), (("EXEC",), [NULL_ARRAY]), (skip, []), (("COPY", a, b, "REPLACE"), []),
        (("GET", b), [b"7"]), (skip, []), (("RESET",), []), (("PING",), ["PONG"]),
    ]  # fmt: skip
    data = b"".join(encode(*call) for call, _ in calls)
    expected = [reply for _, replies in calls for reply in replies]
    for step in (len(data), 40, 7):
        r.flushall()
        for at in range(0, len(data), step):
            raw.send(data[at : at + step])
        assert raw.read_some(len(expected)) == expected, step


# ---- WATCH ---------------------------------------------------------------------------------------------------------------

CHANGES = {
    "set": ([("SET", "{k}", "1")], [("SET", "{k}", "1")], True),
    "create": ([], [("SET", "{k}", "1")], True),
    "delete": ([("SET", "{k}", "1")], [("DEL", "{k}")], True),
    "delete of a missing key": ([], [("DEL", "{k}")], False),
    "unlink": ([("SET", "{k}", "1")], [("UNLINK", "{k}")], True),
    "delete and create": ([("SET", "{k}", "1")], [("DEL", "{k}"), ("SET", "{k}", "1")], True),
    "read": ([("SET", "{k}", "1")], [("GET", "{k}"), ("STRLEN", "{k}"), ("TTL", "{k}"), ("TOUCH", "{k}"), ("EXISTS", "{k}")], False),
    "incr": ([("SET", "{k}", "1")], [("INCR", "{k}")], True),
    "append": ([("SET", "{k}", "1")], [("APPEND", "{k}", "x")], True),
    "append of nothing": ([("SET", "{k}", "1")], [("APPEND", "{k}", "")], True),
    "setrange of nothing": ([("SET", "{k}", "1")], [("SETRANGE", "{k}", "0", "")], False),
    "set that is refused": ([("SET", "{k}", "1")], [("SET", "{k}", "2", "NX")], False),
    "setnx": ([("SET", "{k}", "1")], [("SETNX", "{k}", "2")], False),
    "wrong increment": ([("SET", "{k}", "x")], [("INCR", "{k}")], False),
    "getset": ([("SET", "{k}", "1")], [("GETSET", "{k}", "2")], True),
    "getdel": ([("SET", "{k}", "1")], [("GETDEL", "{k}")], True),
    "getex without option": ([("SET", "{k}", "1")], [("GETEX", "{k}")], False),
    "getex with a deadline": ([("SET", "{k}", "1")], [("GETEX", "{k}", "EX", "100")], True),
    "expire": ([("SET", "{k}", "1")], [("EXPIRE", "{k}", "100")], True),
    "expire in the past": ([("SET", "{k}", "1")], [("EXPIRE", "{k}", "-1")], True),
    "expire of a missing key": ([], [("EXPIRE", "{k}", "100")], False),
    "expire that is refused": ([("SET", "{k}", "1")], [("EXPIRE", "{k}", "100", "XX")], False),
    "persist": ([("SET", "{k}", "1", "EX", "100")], [("PERSIST", "{k}")], True),
    "persist of nothing": ([("SET", "{k}", "1")], [("PERSIST", "{k}")], False),
    "rename from": ([("SET", "{k}", "1")], [("RENAME", "{k}", "{k}2")], True),
    "rename to": ([("SET", "{k}2", "1")], [("RENAME", "{k}2", "{k}")], True),
    "rename that is refused": ([("SET", "{k}", "1"), ("SET", "{k}2", "1")], [("RENAMENX", "{k}2", "{k}")], False),
    "copy from": ([("SET", "{k}", "1")], [("COPY", "{k}", "{k}2")], False),
    "copy to": ([("SET", "{k}2", "1")], [("COPY", "{k}2", "{k}")], True),
    "move away": ([("SET", "{k}", "1")], [("MOVE", "{k}", "1")], True),
    "move here": ([("SELECT", "1"), ("SET", "{k}", "1"), ("SELECT", "0")], [("SELECT", "1"), ("MOVE", "{k}", "0")], True),
    "another database": ([("SET", "{k}", "1")], [("SELECT", "1"), ("SET", "{k}", "2")], False),
    "mset": ([("SET", "{k}", "1")], [("MSET", "{k}2", "1", "{k}", "2")], True),
    "msetnx that is refused": ([("SET", "{k}", "1")], [("MSETNX", "{k}2", "1", "{k}", "2")], False),
    "flushdb": ([("SET", "{k}", "1")], [("FLUSHDB",)], True),
    "flushall": ([("SET", "{k}", "1")], [("FLUSHALL", "ASYNC")], True),
    "flushdb without the key": ([("SET", "{k}2", "1")], [("FLUSHDB",)], False),
    "flushdb of another database": ([("SET", "{k}", "1")], [("SELECT", "1"), ("FLUSHDB",)], False),
    "flushall from another database": ([("SET", "{k}", "1")], [("SELECT", "1"), ("FLUSHALL",)], True),
    "swapdb of a key here": ([("SET", "{k}", "1")], [("SWAPDB", "0", "1")], True),
    "swapdb of a key there": ([("SELECT", "1"), ("SET", "{k}", "1")], [("SWAPDB", "1", "0")], True),
    "swapdb of the same value": ([("SET", "{k}", "1"), ("SELECT", "1"), ("SET", "{k}", "1")], [("SWAPDB", "0", "1")], True),
    "swapdb without the key": ([("SET", "{k}2", "1")], [("SWAPDB", "0", "1")], False),
    "swapdb of others": ([("SET", "{k}", "1")], [("SWAPDB", "2", "1")], False),
    "swapdb with itself": ([("SET", "{k}", "1")], [("SWAPDB", "0", "0")], False),
    "transaction": ([("SET", "{k}", "1")], [("MULTI",), ("SET", "{k}", "2"), ("EXEC",)], True),
    "discarded transaction": ([("SET", "{k}", "1")], [("MULTI",), ("SET", "{k}", "2"), ("DISCARD",)], False),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_a_change(r, server, raw, other, shards, name):
    """For a key on every shard, alone and beside one that stays."""
    setup, change, dirty = CHANGES[name]
    for part in range(shards):
        key = "{%s}" % key_in(part, shards)
        quiet = key_in(part + 1 if part + 1 < shards else 0, shards, "quiet")
        for watched in ([key], [quiet, key]):
            r.flushall()

            def run(calls):
                with server.raw() as c:
                    for call in calls:
                        c.do(*[word.replace("{k}", key) for word in call])

            run(setup)
            assert raw.do("WATCH", *watched) == "OK"
            run(change)
            raw.do("MULTI")
            raw.do("SET", quiet, "done")
            assert raw.do("EXEC") == (NULL_ARRAY if dirty else ["OK"]), (name, part, watched)
            assert other.do("GET", quiet) == (None if dirty else b"done")


@pytest.mark.parametrize(
    "call, changed",
    [
        ("RENAME a b", "ab"), ("RENAME none b", ""), ("RENAMENX a b", ""), ("RENAMENX a none", "a0"), ("COPY a b", ""),
        ("COPY a b REPLACE", "b"), ("COPY a none", "0"), ("COPY none b REPLACE", ""), ("LCS a b", ""), ("MSETNX none 1 b 2", ""), ("MSETNX none 1 none2 2", "0"),
        ("MSET a 1 b 1", "ab"), ("MSETEX 2 a 1 none 2 XX", ""), ("MSETEX 2 a 1 b 2 XX", "ab"), ("MGET a b none", ""), ("DEL a none", "a"),
        ("UNLINK none none2", ""), ("EXISTS a b", ""), ("TOUCH a b none", ""),
    ],
)  # fmt: skip
def test_what_commands_over_several_shards_change(r, raw, other, shards, call, changed, kind):
    """a, b and a missing key lie on different shards; each is watched alone while the command runs."""
    if kind == "redis" and call.startswith("MSETEX"):
        pytest.skip("not in Redis 7.0")
    for turn in range(shards):
        names = {word: key_in((n + turn) % shards, shards, word) for n, word in enumerate(("a", "b", "none", "none2"))}
        for key, letter in (("a", "a"), ("b", "b"), ("none", "0")):
            r.flushall()
            r.mset({names["a"]: "one", names["b"]: "other"})
            raw.do("WATCH", names[key])
            other.do(*[names.get(word, word) for word in call.split()])
            raw.do("MULTI")
            assert raw.do("EXEC") == (NULL_ARRAY if letter in changed else []), (call, key, turn)


def test_own_writes_count(r, raw):
    raw.do("WATCH", "k")
    raw.do("SET", "k", "v")
    raw.do("MULTI")
    assert raw.do("EXEC") is NULL_ARRAY
    raw.do("MULTI")
    assert raw.do("EXEC") == []


def test_null_of_resp3(r, raw):
    raw.do("HELLO", "3")
    raw.do("WATCH", "k")
    raw.do("SET", "k", "v")
    raw.do("MULTI")
    raw.send(encode("EXEC"))
    assert raw.read_raw()[1] == b"_\r\n"


def test_many_watches_on_all_shards(r, raw, other, shards):
    keys = spread(shards, 60)
    for changed in (0, 31, 59):
        raw.do("WATCH", *keys[:20])
        raw.do("WATCH", *keys[10:60])
        other.do("SET", keys[changed], "x")
        raw.do("MULTI")
        raw.do("PING")
        assert raw.do("EXEC") is NULL_ARRAY
    raw.do("WATCH", *keys)
    raw.do("MULTI")
    raw.do("PING")
    assert raw.do("EXEC") == ["PONG"]


@pytest.mark.timing
def test_very_many_watches(r, server, raw, other, slow):
    """Watching is not slower the more is watched already, and none is counted twice."""
    names = ["many:%d" % n for n in range(60_000)]
    began = time.monotonic()
    for _ in range(2):
        assert raw.do("WATCH", *names) == "OK"
    if server.kind == "shoal":
        assert time.monotonic() - began < 5 * slow
    line = fields(raw)
    assert line.get("watch", "60000") == "60000"
    other.do("SET", names[59_000], "x")
    raw.do("MULTI")
    assert raw.do("EXEC") is NULL_ARRAY


def watch_what_runs_out(raw, other, key):
    """A key that was there when it was watched, and is over."""
    ms = 30
    while True:
        assert other.do("SET", key, "v", "PX", str(ms)) == "OK"
        raw.do("WATCH", key)
        if raw.do("PTTL", key) > 0:
            break
        raw.do("UNWATCH")  # it was too late
        ms *= 2
    time.sleep((ms + 10) / 1000)


def test_key_that_runs_out(r, raw, other, shards):
    for key in spread(shards, shards):
        watch_what_runs_out(raw, other, key)
        raw.do("MULTI")
        raw.do("SET", key, "w")
        assert raw.do("EXEC") is NULL_ARRAY


def test_key_that_runs_out_and_nobody_deletes(r, raw, other, shards):
    """Also when the deadline passes without active expiry."""
    if other.do("DEBUG", "SET-ACTIVE-EXPIRE", "0") != "OK":
        pytest.skip("no DEBUG SET-ACTIVE-EXPIRE")
    try:
        for key in spread(shards, shards):
            watch_what_runs_out(raw, other, key)
            raw.do("MULTI")
            raw.do("PING")
            assert raw.do("EXEC") is NULL_ARRAY
    finally:
        other.do("DEBUG", "SET-ACTIVE-EXPIRE", "1")


def test_key_that_had_run_out_before(r, raw, other, shards):
    """It is missing when it is watched, whether it has been deleted or not; that it is deleted then, is no change."""
    if other.do("DEBUG", "SET-ACTIVE-EXPIRE", "0") != "OK":
        pytest.skip("no DEBUG SET-ACTIVE-EXPIRE")
    try:
        for key in spread(shards, shards):
            for touched in (False, True):
                other.do("SET", key, "v", "PX", "20")
                time.sleep(0.05)
                raw.do("WATCH", key)
                if touched:
                    assert other.do("GET", key) is None
                raw.do("MULTI")
                raw.do("PING")
                assert raw.do("EXEC") == ["PONG"]
    finally:
        other.do("DEBUG", "SET-ACTIVE-EXPIRE", "1")


@pytest.mark.parametrize("ending", (("UNWATCH",), ("DISCARD",), ("RESET",), ("EXEC",)))
def test_what_ends_watching(r, raw, other, shards, ending):
    keys = spread(shards, 4)
    raw.do("WATCH", *keys)
    if ending != ("UNWATCH",):
        raw.do("MULTI")
    raw.do(*ending)
    for key in keys:
        other.do("SET", key, "v")
    raw.do("MULTI")
    raw.do("PING")
    assert raw.do("EXEC") == ["PONG"]


def test_end_and_new_start_in_one_pipeline(r, raw, other, shards):
    """The end of a watch is told to the shards without waiting; the next one must not be lost by it."""
    keys = spread(shards, 4)
    for _ in range(200):
        raw.send(encode("WATCH", *keys) + encode("UNWATCH") + encode("WATCH", *keys))
        assert raw.read_some(3) == ["OK"] * 3
        other.do("SET", keys[0], "x")
        raw.send(encode("MULTI") + encode("EXEC"))
        assert raw.read_some(2)[1] is NULL_ARRAY


def test_exec_that_says_no_ends_all_watches(server, r, other, shards):
    """With one of two shards at home, the other was not asked any more, and its watches stayed: the next EXEC said no for
    nothing."""
    for _ in range(2 * shards):
        with server.raw() as c:
            for touched in range(2):
                keys = spread(shards, 2)
                c.do("WATCH", *keys)
                other.do("SET", keys[touched], "v")
                c.do("MULTI")
                c.do("MSET", keys[0], "1", keys[1], "1")
                assert c.do("EXEC") is NULL_ARRAY
                other.do("MSET", keys[0], "2", keys[1], "2")
                c.do("WATCH", *keys)
                c.do("MULTI")
                c.do("PING")
                assert c.do("EXEC") == ["PONG"]


@pytest.mark.parametrize("touched", (True, False))
def test_watch_behind_exec_in_one_pipeline(server, r, other, shards, touched):
    """The end of EXEC's watches must not take those with it that begin right behind it."""
    keys = spread(shards, 3)
    for _ in range(2 * shards):
        with server.raw() as c:
            for key in keys:
                c.do("WATCH", *keys)
                if touched:
                    other.do("SET", keys[0], "v")
                c.send(encode("MULTI") + encode("GET", keys[0]) + encode("EXEC") + encode("WATCH", key))
                assert (c.read_some(4)[2] is NULL_ARRAY) == touched
                other.do("SET", key, "v")
                c.do("MULTI")
                c.do("PING")
                assert c.do("EXEC") is NULL_ARRAY


def test_watch_of_a_name_that_lies_where_another_lay(r, raw, other, shards):
    """What was found out about a word of an earlier request is not taken for what stands there now."""
    names = ["%s%02d" % (letter, i) for letter in "ab" for i in range(8)]
    for i, name in enumerate(names):
        raw.do("TOUCH", names[i - 1])  # as long as WATCH, so the names lie at the same place of the input
        raw.do("WATCH", name)
        other.do("SET", name, "v")
        raw.do("MULTI")
        raw.do("PING")
        assert raw.do("EXEC") is NULL_ARRAY, name


def test_unwatch_inside_is_queued_and_too_late(r, raw, other):
    raw.do("WATCH", "k")
    other.do("SET", "k", "v")
    raw.do("MULTI")
    assert raw.do("UNWATCH") == "QUEUED"
    assert raw.do("EXEC") is NULL_ARRAY
    raw.do("MULTI")
    raw.do("UNWATCH")
    assert raw.do("EXEC") == ["OK"]


def test_nothing_stays_watched(r, server, shards, kind):
    """Every way to end frees what the shards hold."""
    if kind == "redis":
        pytest.skip("Redis 7.0 does not say")
    keys = spread(shards, 12)
    clients = [server.raw() for _ in range(20)]
    for c in clients:
        c.do("WATCH", *keys)
    info = r.info("clients")
    assert (info["watching_clients"], info["total_watched_keys"]) == (20, 12)
    for c in clients[:5]:
        c.close()
    for c in clients[5:10]:
        c.do("UNWATCH")
    for c in clients[10:15]:
        c.do("MULTI")
        c.do("DISCARD")
    for c in clients[15:19]:
        c.do("MULTI")
        c.do("EXEC")
    assert eventually(lambda: r.info("clients")["watching_clients"] == 1)
    assert r.info("clients")["total_watched_keys"] == 12
    clients[19].do("RESET")
    assert eventually(lambda: r.info("clients")["total_watched_keys"] == 0)
    for c in clients[5:]:
        c.close()


# ---- what CLIENT and INFO say --------------------------------------------------------------------------------------------


def test_client_list(r, raw, valkey_texts):
    def watch(c):
        line = next(x for x in r.execute_command("CLIENT LIST") if x["id"] == c)
        return line["flags"], line["multi"], line["watch"], int(line["multi-mem"])

    me = str(raw.do("CLIENT", "ID"))
    assert watch(me) == ("N", "-1", "0", 0)
    raw.do("WATCH", "a", "b", "a")
    assert watch(me) == ("N", "0", "2", 0)
    raw.do("MULTI")
    assert watch(me)[:3] == ("x", "0", "2")
    raw.do("SET", "c", "v" * 1000)
    raw.do("GET", "c")
    assert watch(me)[:3] == ("x", "2", "2")
    assert 1000 < watch(me)[3] < 20_000
    raw.do("DISCARD")
    assert watch(me) == ("N", "0", "0", 0)
    raw.do("RESET")
    assert watch(me) == ("N", "0", "0", 0)


def test_client_info_inside_exec(r, raw, valkey_texts):
    """What runs inside EXEC sees its client there: the flag, the queue, no watches, the commands that came before."""
    me = str(raw.do("CLIENT", "ID"))
    raw.do("WATCH", "a", "b")
    raw.do("MULTI")
    for call in (["SET", "a", "1"], ["CLIENT", "INFO"], ["SET", "b", "1"], ["CLIENT", "LIST", "FLAGS", "x", "ID", me]):
        assert raw.do(*call) == "QUEUED"
    lines = [fields_of(x) for x in raw.do("EXEC")[1::2]]
    assert [(x["flags"], x["multi"], x["watch"]) for x in lines] == [("x", "4", "0")] * 2
    assert [x["tot-cmds"] for x in lines] == ["4", "6"]
    assert all(int(x["multi-mem"]) > 0 for x in lines)
    after = fields(raw)
    assert (after["flags"], after["multi"], after["watch"], after["tot-cmds"]) == ("N", "0", "0", "8")


def test_what_is_counted(server, r, raw, valkey_texts):
    """A queued command counts when it runs, a refused one as rejected, EXEC as one more."""
    r.config_resetstat()
    raw.do("MULTI")
    raw.do("SET", "k", "text")
    raw.do("INCR", "k")
    raw.do("GET")
    stats = r.info("commandstats")
    assert "cmdstat_set" not in stats and stats["cmdstat_get"]["rejected_calls"] == 1
    assert raw.do("EXEC") == RespError(ABORTED)
    assert r.info("commandstats")["cmdstat_exec"]["failed_calls"] == 1
    raw.do("MULTI")
    raw.do("SET", "k", "text")
    raw.do("INCR", "k")
    raw.do("EXEC")
    stats = r.info("commandstats")
    assert (stats["cmdstat_set"]["calls"], stats["cmdstat_incr"]["calls"], stats["cmdstat_incr"]["failed_calls"]) == (1, 1, 1)
    assert (stats["cmdstat_multi"]["calls"], stats["cmdstat_exec"]["calls"], stats["cmdstat_exec"]["failed_calls"]) == (2, 2, 1)
    errors = server.info("errorstats")
    assert errors["errorstat_EXECABORT"] == "count=1"
    assert errors["errorstat_ERR"] == "count=2"


def test_commands_of_a_client(r, raw, valkey_texts):
    """tot-cmds: neither what is only queued nor what is refused."""
    raw.do("MULTI")
    raw.do("PING")
    raw.do("PING")
    raw.do("EXEC")
    raw.do("NOSUCH")
    raw.do("GET")
    assert fields(raw)["tot-cmds"] == "4"


# ---- limits --------------------------------------------------------------------------------------------------------------


def test_queue_counts_as_query_buffer(start_server, valkey_texts):
    s = start_server(client_query_buffer_limit=1 << 20)
    with s.raw() as c, s.raw() as watcher:
        c.do("MULTI")
        try:
            for _ in range(40):
                c.send(encode("SET", "k", "x" * 50_000))
                c.read()
        except (EOFError, ConnectionError):
            pass
        assert c.is_closed()
        assert watcher.do("EXISTS", "k") == 0
        assert int(s.info("stats")["client_query_buffer_limit_disconnections"]) == 1


def test_queue_counts_while_it_runs(r, raw, shards, valkey_texts):
    """The memory of a client did not hold its queue any more as soon as EXEC had begun."""
    for key in spread(shards, shards):
        raw.do("MULTI")
        raw.do("SET", key, "x" * 1_000_000)
        raw.do("CLIENT", "INFO")
        line = raw.do("EXEC")[1].decode()
        inside = dict(pair.split("=", 1) for pair in line.split())
        assert int(inside["tot-mem"]) > 1_000_000
        raw.do("SET", key, "v")
        assert eventually(lambda: int(fields(raw)["tot-mem"]) < 500_000)


@pytest.mark.shoal_only
def test_what_is_known_of_the_keys_of_a_queue_counts_while_it_runs(raw):
    """Their hashes and owners take more than short keys themselves, and were on nobody's account."""
    keys = [b"k%d" % n for n in range(5000)]
    raw.do("MULTI")
    raw.do("MSET", *[word for key in keys for word in (key, "v")])
    raw.do("CLIENT", "INFO")
    inside = dict(pair.split("=", 1) for pair in raw.do("EXEC")[1].decode().split())
    words = sum(len(key) + 1 for key in keys) + len(keys) * 2 * 16
    assert int(inside["tot-mem"]) > words + len(keys) * 48
    assert eventually(lambda: int(fields(raw)["tot-mem"]) < words)


def test_queue_counts_for_maxmemory_clients(start_server, slow):
    s = start_server(config={"maxmemory-clients": "8mb"})
    big, small = s.raw(), s.raw()
    small.do("PING")
    big.do("MULTI")
    try:
        for _ in range(400):
            big.send(encode("SET", "k", "x" * 50_000))
            big.read()
            time.sleep(0.001)
    except (EOFError, ConnectionError):
        pass
    assert big.is_closed()
    assert small.do("PING") == "PONG"
    assert int(s.info("stats")["evicted_clients"]) == 1
    big.close()
    small.close()


def test_pause_holds_writes_also_in_transactions(r, server, raw, other):
    """CLIENT PAUSE WRITE: a write is held when it is queued, and a transaction with writes at its EXEC; one that reads is not."""
    raw.do("MULTI")
    raw.do("SET", "k", "v")
    with server.raw() as reader, server.raw() as late:
        assert other.do("CLIENT", "PAUSE", "60000", "WRITE") == "OK"
        try:
            reader.send(encode("MULTI") + encode("GET", "k") + encode("EXEC"))
            assert reader.read_some(3) == ["OK", "QUEUED", [None]]
            raw.send(encode("EXEC"))
            late.send(encode("MULTI") + encode("SET", "k", "w"))
            assert late.read() == "OK"
            assert raw.is_silent(0.2) and late.is_silent(0.1)
        finally:
            other.do("CLIENT", "UNPAUSE")
        assert raw.read() == ["OK"]
        assert late.read() == "QUEUED"


@pytest.mark.slow
def test_no_touch(r, raw):
    """CLIENT NO-TOUCH holds inside EXEC too."""
    raw.do("SET", "k", "v")
    raw.do("CLIENT", "NO-TOUCH", "ON")
    time.sleep(1.2)
    raw.do("MULTI")
    raw.do("GET", "k")
    raw.do("OBJECT", "IDLETIME", "k")
    assert raw.do("EXEC")[1] >= 1


@pytest.mark.slow
def test_no_touch_that_begins_or_ends_inside(r, raw, shards):
    """It counts from there on. The one in force at EXEC was taken for all of it."""
    for key in spread(shards, shards):
        raw.do("SET", key, "v")
        time.sleep(1.2)
        raw.do("MULTI")
        for call in (("CLIENT", "NO-TOUCH", "ON"), ("GET", key), ("OBJECT", "IDLETIME", key), ("CLIENT", "NO-TOUCH", "OFF"), ("GET", key), ("OBJECT", "IDLETIME", key)):
            raw.do(*call)
        ok, value, idle, ok2, value2, touched = raw.do("EXEC")
        assert (ok, value, ok2, value2) == ("OK", b"v", "OK", b"v")
        assert idle >= 1 and touched == 0


# ---- client libraries ----------------------------------------------------------------------------------------------------


def test_default_pipeline_of_redis_py(r, shards):
    keys = spread(shards, 20)
    with r.pipeline() as p:
        for n, key in enumerate(keys):
            p.set(key, n).incr(key)
        assert p.execute() == [x for n in range(20) for x in (True, n + 1)]
    with r.pipeline() as p:
        p.set(keys[0], "text").incr(keys[0]).get(keys[1])
        got = p.execute(raise_on_error=False)
        assert isinstance(got[1], redis.ResponseError) and got[0] is True and got[2] == "2"


def test_watch_error(r, shards):
    a, b = spread(shards, 2)
    with r.pipeline() as p:
        p.watch(a, b)
        r.set(b, "x")
        p.multi()
        p.set(a, "y")
        with pytest.raises(redis.WatchError):
            p.execute()
    assert r.get(a) is None


def test_optimistic_counters_lose_nothing(r, server, shards, slow):
    """Clients move units between keys on all shards with WATCH loops: the sum stays, and each success counts once."""
    keys = spread(shards, 4)
    for key in keys:
        r.set(key, 1000)
    moved, failed = [0] * 6, []

    def work(me):
        client = connect(server)
        try:
            for n in range(60):
                source, target = keys[(me + n) % 4], keys[(me + n * 3 + 1) % 4]
                if source == target:
                    continue
                while True:
                    with client.pipeline() as p:
                        p.watch(source, target)
                        have, other = int(p.get(source)), int(p.get(target))
                        p.multi()
                        p.set(source, have - 1).set(target, other + 1).incr("moves")
                        try:
                            p.execute()
                            moved[me] += 1
                            break
                        except redis.WatchError:
                            continue
        except Exception as e:  # noqa: BLE001
            failed.append(e)
        finally:
            client.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60 * slow)
    assert not failed
    assert sum(int(r.get(k)) for k in keys) == 4000
    assert int(r.get("moves")) == sum(moved) > 200


@pytest.mark.slow
def test_transactions_are_seen_whole(r, server, shards, slow):
    """Writers set all keys to one number in a transaction, readers read all in one: never a mixture."""
    keys = spread(shards, 6)
    stop, torn, reads = threading.Event(), [], [0]

    def write(me):
        client = connect(server)
        n = 0
        while not stop.is_set():
            n += 1
            with client.pipeline() as p:
                for key in keys if n % 2 else reversed(keys):
                    p.set(key, "%d:%d" % (me, n))
                p.execute()
        client.close()

    def read():
        client = connect(server)
        while not stop.is_set():
            with client.pipeline() as p:
                for key in keys:
                    p.get(key)
                got = p.execute()
            reads[0] += 1
            if len(set(got)) != 1:
                torn.append(got)
                break
        client.close()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(3)] + [threading.Thread(target=read) for _ in range(3)]
    for t in threads:
        t.start()
    time.sleep(1.5)
    assert wait_for(lambda: torn or reads[0] > 20)
    stop.set()
    for t in threads:
        t.join(60 * slow)
    assert not torn


# ---- time ----------------------------------------------------------------------------------------------------------------


def test_one_time_inside_exec(r, raw, shards, kind):
    """Commands on several shards, over several shards, and TIME."""
    if kind == "redis":
        pytest.skip("Redis 7.0 has a time for each command")
    keys = spread(shards, 6)
    raw.do("MULTI")
    raw.do("TIME")
    for key in keys:
        raw.do("SET", key, "v", "PX", "60000")
        raw.do("DEBUG", "SLEEP", "0.005")
        raw.do("TIME")
        raw.do("COPY", key, "copy-of-" + key)
        raw.do("PEXPIRETIME", key)
        raw.do("PEXPIRETIME", "copy-of-" + key)
        raw.do("PTTL", key)
    replies = raw.do("EXEC")
    us = int(replies[0][0]) * 1_000_000 + int(replies[0][1])
    for n in range(len(keys)):
        _, _, now, _, deadline, copied, left = replies[1 + 7 * n : 8 + 7 * n]
        assert now == replies[0]
        assert deadline == copied == us // 1000 + 60_000
        assert left == 60_000
    after = raw.do("TIME")
    assert int(after[0]) * 1_000_000 + int(after[1]) >= us + 30_000


@pytest.mark.timing
def test_exec_on_one_shard_is_as_late_as_what_it_sees(server, r, shards, slow):
    """One thread is busy while a key of it runs out. Who saw another key with the same deadline go, and wrote then, was seen
    by an EXEC that came before and had to wait: it saw what was written, and by its own time the key still alive."""
    tag = key_in(0, shards, "tag")
    long, short, told, dying = ("{%s}%s" % (tag, name) for name in ("long", "short", "told", "dying"))
    other = key_in(shards - 1, shards, "other")
    r.mset({long: "ab" * 4000, short: "ba" * 4000})
    with server.raw(timeout=60) as busy:
        clients = [server.raw(timeout=60) for _ in range(min(shards, 4))]
        for asker, writer in itertools.permutations(clients, 2):
            r.set(told, "old")
            deadline = int(time.time() * 1000) + 40 * slow
            for key in (dying, other):
                r.set(key, "v", pxat=deadline)
            time.sleep(0.02)
            busy.send(encode("LCS", long, short, "LEN"))
            time.sleep(0.005)
            asker.send(encode("MULTI") + encode("GET", told) + encode("GET", dying) + encode("EXEC"))
            assert wait_for(lambda: writer.do("GET", other) is None)
            assert writer.do("SET", told, "new") == "OK"
            written, alive = asker.read_some(4)[-1]
            assert written == b"old" or alive is None
            assert busy.read() > 0
        for c in clients:
            c.close()


def hammer(server, keys, stop):
    with server.raw(timeout=60) as c:
        while not stop.is_set():
            for key in keys:
                c.send(encode("GET", key) + encode("TOUCH", key) + encode("RANDOMKEY") + encode("DEBUG", "OBJECT", key))
            c.read_some(4 * len(keys))


@pytest.mark.timing
@pytest.mark.slow
def test_what_exec_has_seen_stays_until_its_end(r, server, raw, shards, slow):
    """Others look at a key that has run out meanwhile, and once deleted it."""
    keys = spread(shards, 4)
    stop = threading.Event()
    threads = [threading.Thread(target=hammer, args=(server, keys, stop)) for _ in range(2 * shards)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(15):
            deadline = int(time.time() * 1000) + 40 * slow
            raw.do("MSET", *[word for key in keys for word in (key, "v")])
            for key in keys:
                raw.do("PEXPIREAT", key, deadline)
            raw.do("MULTI")
            for _ in range(8):
                raw.do("MGET", *keys)
                raw.do("LCS", keys[0], keys[1])
                raw.do("DEBUG", "SLEEP", str(0.01 * slow))
            replies = raw.do("EXEC")
            seen = {tuple(reply) for reply in replies[0::3]}
            assert seen in ({(b"v",) * 4}, {(None,) * 4}), seen
            assert len(set(replies[1::3])) == 1
            assert eventually(lambda: r.dbsize() == 0)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.timing
def test_keys_with_one_deadline_go_at_once(r, server, shards, slow):
    """MGET, EXISTS and EXEC over all shards see all of them or none, in the very moment and after."""
    keys = spread(shards, 8)
    torn, went = [], []

    def look(call):
        with server.raw(timeout=60) as c:
            gone = False
            while not gone:
                values = call(c)
                if len(set(values)) > 1 or len(values) != len(keys):
                    torn.append(values)
                gone = values[0] is None
            if call(c) != [None] * len(keys):
                torn.append("back again")
            went.append(1)

    def queued(c):
        c.send(encode("MULTI") + b"".join(encode("GET", key) for key in keys) + encode("EXEC"))
        return c.read_some(len(keys) + 2)[-1]

    def mget(c):
        return c.do("MGET", *keys)

    with server.raw() as c:
        for _ in range(20):
            deadline = int(time.time() * 1000) + 30 * slow
            for key in keys:
                c.send(encode("SET", key, "v", "PXAT", deadline))
            assert c.read_some(len(keys)) == ["OK"] * len(keys)
            threads = [threading.Thread(target=look, args=(call,)) for call in (queued, mget) * 2]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not torn, torn
    assert len(went) == 80
