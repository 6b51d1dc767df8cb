# SPDX-License-Identifier: BSD-3-Clause
"""A shard says no (DEBUG REFUSE): its commands are refused, and those on several shards have no effect on any of them."""

import pytest

from resp import NULL_ARRAY, RespError, encode
from test_shards import key_in

pytestmark = pytest.mark.shoal_only

NO = "NOTNOW the shard has something against it"
ABORTED = "EXECABORT Transaction discarded because of: " + NO


@pytest.fixture
def homes(server, shards):
    """Raw connections, enough for one on each shard."""
    connections = [server.raw() for _ in range(2 * shards)]
    yield connections
    for c in connections:
        c.close()


@pytest.fixture
def names(r, shards):
    """Two keys that are there and two that are not, neighbours on different shards."""
    return {word: key_in(n % shards, shards, word) for n, word in enumerate(("a", "b", "none", "none2"))}


def words(names, call):
    return [names.get(word, word) for word in call.split()]


def refuse(c, key, error=NO):
    assert c.do("DEBUG", "REFUSE", key, error) == "OK"


def allow(c):
    assert c.do("DEBUG", "REFUSE", "OFF") == "OK"


def digest(c):
    return c.do("DEBUG", "DIGEST")


def rejected(server):
    """Of each command: how often it ran, how often it was refused."""
    stats = {}
    for name, line in server.info("commandstats").items():
        fields = dict(pair.split("=") for pair in line.split(","))
        stats[name.removeprefix("cmdstat_")] = (int(fields["calls"]), int(fields["rejected_calls"]))
    return stats


SEVERAL = (
    "MSET a 1 b 2", "MSET b 2 a 1 none 3", "MGET a b none", "DEL a b", "UNLINK a b none", "EXISTS a b", "TOUCH a b", "RENAME a b", "RENAME a none",
    "RENAMENX a none", "COPY a b REPLACE", "COPY a none", "COPY a none DB 1", "MSETNX none 1 none2 2", "MSETNX none 1 b 2", "MSETEX 2 a 1 b 2",
    "MSETEX 2 a 1 b 2 XX EX 100", "MSETEX 2 none 1 none2 2 NX", "LCS a b", "LCS a b LEN",
)  # fmt: skip


@pytest.mark.parametrize("call", SEVERAL)
def test_one_no_is_the_end_of_a_command(server, r, homes, names, call):
    argv = words(names, call)
    command = call.split()[0].lower()
    for key in [names[word] for word in call.split() if word in names]:
        for c in homes:
            r.flushall()
            r.mset({names["a"]: "some text", names["b"]: "other text"})
            before = digest(c)
            r.config_resetstat()
            refuse(c, key)
            assert c.do(*argv) == RespError(NO), key
            assert rejected(server)[command] == (0, 1)
            assert server.info("errorstats")["errorstat_NOTNOW"] == "count=1"
            allow(c)
            assert digest(c) == before, key
            assert not isinstance(c.do(*argv), RespError)


@pytest.mark.parametrize("call", ("SET {k} 1", "GET {k}", "INCR {k}", "DEL {k}", "EXPIRE {k} 10", "MSET {k} 1 {k} 2", "TYPE {k}"))
def test_commands_on_one_shard(server, r, homes, shards, call):
    for part in range(shards):
        key, other = key_in(part, shards), key_in(part + 1 if part + 1 < shards else 0, shards, "other")
        argv = [word.replace("{k}", key) for word in call.split()]
        for c in homes:
            r.flushall()
            before = digest(c)
            r.config_resetstat()
            refuse(c, key)
            calls = [("SET", other, "1"), argv, ("GET", other), argv, ("PING",)]
            c.send(b"".join(encode(*x) for x in calls))
            got = c.read_some(len(calls))
            if shards > 1:
                assert got == ["OK", RespError(NO), b"1", RespError(NO), "PONG"]
                c.do("DEL", other)
            else:
                assert got == [RespError(NO)] * 4 + ["PONG"]
            allow(c)
            assert digest(c) == before
            assert rejected(server)[argv[0].lower()][1] >= 2


def test_all_shards(r, raw, shards):
    keys = [key_in(part, shards) for part in range(shards)]
    refuse(raw, "ALL")
    for key in keys:
        assert raw.do("SET", key, "1") == RespError(NO)
    assert raw.do("MSET", *[word for key in keys for word in (key, "1")]) == RespError(NO)
    assert raw.do("DBSIZE") == 0
    allow(raw)
    assert raw.do("MSET", *[word for key in keys for word in (key, "1")]) == "OK"


def test_who_is_next_to_it_in_a_pipeline_is_not_refused(r, homes, names, shards):
    """Commands over several shards that follow each other share their hops, not their fate."""
    a, b, none = names["a"], names["b"], names["none"]
    for c in homes:
        for key in (a, b):
            r.flushall()
            refuse(c, key)
            calls = [("MSET", a, "1", b, "2"), ("MGET", a, b), ("MSET", a, "3", b, "4"), ("PING",)]
            c.send(b"".join(encode(*x) for x in calls))
            assert c.read_some(4) == [RespError(NO)] * 3 + ["PONG"]
            allow(c)
            assert r.dbsize() == 0
    if shards < 3:
        return  # no two keys without the shard of the third
    refuse(c, a)
    calls = [("MSET", b, "1", none, "2"), ("MSET", a, "1", b, "3"), ("MGET", b, none), ("DEL", a, none), ("MGET", none, b)]
    c.send(b"".join(encode(*x) for x in calls))
    got = c.read_some(5)
    allow(c)
    assert got == ["OK", RespError(NO), [b"1", b"2"], RespError(NO), [b"2", b"1"]]


@pytest.mark.parametrize("where", ("first", "middle", "last", "divided"))
def test_one_no_is_the_end_of_exec(server, r, homes, names, where):
    a, b, none = names["a"], names["b"], names["none"]
    queue = [("SET", b, "1"), ("APPEND", b, "2"), ("GET", b), ("MSET", b, "3", none, "4"), ("PING",), ("TIME",)]
    call = ("DEL", a, b) if where == "divided" else ("INCR", a)
    queue.insert({"first": 0, "middle": 3, "last": len(queue), "divided": 2}[where], call)
    for c in homes:
        r.flushall()
        r.mset({b: "text", a: "7"})
        before = digest(c)
        r.config_resetstat()
        refuse(c, a)
        c.send(b"".join(encode(*x) for x in [("MULTI",)] + queue + [("EXEC",)]))
        assert c.read_some(len(queue) + 2) == ["OK"] + ["QUEUED"] * len(queue) + [RespError(ABORTED)]
        stats = rejected(server)
        assert stats["exec"] == (0, 1) and "append" not in stats and "incr" not in stats
        assert server.info("errorstats")["errorstat_EXECABORT"] == "count=1"
        allow(c)
        assert digest(c) == before
        assert c.do("EXEC") == RespError("ERR EXEC without MULTI")


def test_exec_on_one_shard(server, r, homes, shards):
    for part in range(shards):
        key = key_in(part, shards)
        for c in homes:
            r.config_resetstat()
            refuse(c, key)
            c.send(b"".join(encode(*x) for x in [("MULTI",), ("SET", key, "1"), ("GET", key), ("EXEC",)]))
            assert c.read_some(4) == ["OK", "QUEUED", "QUEUED", RespError(ABORTED)]
            assert rejected(server)["exec"] == (0, 1)
            allow(c)
            assert r.exists(key) == 0


def test_global_commands_of_a_refused_exec_do_not_run(r, homes, names):
    for c in homes:
        r.set(names["b"], "1")
        refuse(c, names["a"])
        c.send(b"".join(encode(*x) for x in [("MULTI",), ("FLUSHALL",), ("SET", names["a"], "1"), ("SELECT", "3"), ("EXEC",), ("GET", names["b"])]))
        got = c.read_some(6)[4:]
        assert got[0] == RespError(ABORTED)
        allow(c)
        assert c.do("GET", names["b"]) == b"1"


def test_exec_that_was_watched_and_refused_is_null_and_ends_the_watches(r, homes, names):
    a, b = names["a"], names["b"]
    for c in homes:
        c.do("WATCH", b)
        r.set(b, "1")
        refuse(c, a)
        c.do("MULTI")
        c.do("SET", a, "1")
        assert c.do("EXEC") in (NULL_ARRAY, RespError(ABORTED))  # whichever comes up first
        c.do("WATCH", b)
        c.do("MULTI")
        c.do("SET", a, "1")
        assert c.do("EXEC") == RespError(ABORTED)
        allow(c)
        r.set(b, "2")
        c.do("MULTI")
        c.do("SET", a, "1")
        assert c.do("EXEC") == ["OK"]


def test_nothing_stays_locked(r, homes, names, shards):
    """The next one runs at once, on all shards."""
    for n in range(200):
        c = homes[n % len(homes)]
        if n % 2 == 0:
            refuse(c, names["ab"[n // 2 % 2]])
        else:
            allow(c)
        c.do("MSET", names["a"], "1", names["b"], "2", names["none"], "3")
        c.do("RENAME", names["a"], names["b"])
    allow(c)
    for part in range(shards):
        assert r.set(key_in(part, shards), "free")


def test_debug_refuse_itself(raw):
    assert raw.do("DEBUG", "REFUSE", "OFF") == "OK"
    assert isinstance(raw.do("DEBUG", "REFUSE", "key"), RespError)
    assert isinstance(raw.do("DEBUG", "REFUSE", "key", ""), RespError)
    assert isinstance(raw.do("DEBUG", "REFUSE", "key", "x" * 300), RespError)
    assert raw.do("DEBUG", "REFUSE", "ALL", "ONE two\r\nthree") == "OK"
    assert raw.do("GET", "k") == RespError("ONE two  three")
    assert raw.do("DEBUG", "REFUSE", "OFF") == "OK"
