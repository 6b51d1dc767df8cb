# SPDX-License-Identifier: BSD-3-Clause
"""OBJECT FREQ and IDLETIME after commands of all kinds, compared with Valkey. With lfu-log-factor 0 every use counts one."""

import time

import pytest

KEYS = ("a", "b", "{a}2")
BIG = "x" * 50_000

# What is done after SET a 1 and three times GET a; b is mostly on another shard than a, {a}2 on the same.
CASES = """
    GET a|SET a y|SET a y EX 100|SET a y KEEPTTL|SET a y GET|SET a y XX|SET a y NX|SET a y XX GET|SET a y NX GET|SET a 1 IFEQ 1|SET a 1 IFEQ 2
    SETEX a 100 y|PSETEX a 100000 y|SETNX a y|GETSET a y|GETEX a|GETEX a PERSIST|GETEX a EX 100|MSET a y|MSET a y b z|MSET a y {a}2 z
    MSETNX a y b z|DEL a; MSETNX a y b z|MSETEX 2 a y b z EX 100|MSETEX 1 a y XX|INCR a|INCRBY a 5|INCRBYFLOAT a 1.5|APPEND a x|SETRANGE a 0 x
    GETRANGE a 0 1|STRLEN a|MGET a b|MGET a a|LCS a b|LCS a {a}2|EXISTS a|EXISTS a b|TYPE a|TTL a|EXPIRE a 100|EXPIRE a 100 NX
    EXPIRE a 100; PERSIST a|TOUCH a|TOUCH a b|TOUCH a a|OBJECT ENCODING a|MEMORY USAGE a|DEBUG OBJECT a|KEYS *|SCAN 0 COUNT 1000|DELIFEQ a 2
    SET a BIG|SET a BIG; GET a; RENAME a b|SET a BIG; GET a; RENAME a {a}2|SET a BIG; GET a; COPY a b
    RENAME a b|RENAME a {a}2|RENAMENX a b|RENAMENX a {a}2|RENAME a a|RENAME a b; RENAME b a|SET b 1; GET b; RENAME a b|SET b 1; RENAMENX a b
    SET {a}2 1; GET {a}2; RENAME a {a}2|EXPIRE a 100; RENAME a b|COPY a b|COPY a {a}2|SET b 1; GET b; COPY a b REPLACE|COPY a a DB 1|SET b 1; COPY a b
    MOVE a 1|MOVE a 1; SELECT 1; MOVE a 0; SELECT 0|SWAPDB 0 1; SWAPDB 1 0|MULTI; GET a; EXEC|MULTI; RENAME a b; GET b; EXEC
    MULTI; RENAME a {a}2; GET {a}2; EXEC|MULTI; INCR a; INCR b; EXEC|MULTI; COPY a b; GET a; GET b; EXEC|WATCH a; UNWATCH
    CLIENT NO-TOUCH ON; GET a|CLIENT NO-TOUCH ON; INCR a|CLIENT NO-TOUCH ON; MGET a b|CLIENT NO-TOUCH ON; TOUCH a|CLIENT NO-TOUCH ON; COPY a b
    DEL a; RPUSH a 1 2; LRANGE a 0 -1; LLEN a|DEL a; RPUSH a 1 2; LINDEX a 0; LPOS a 2|DEL a; RPUSH a 1 2; LPOP a; RPUSH a 3|DEL a; RPUSH a 1 2; LMOVE a b LEFT LEFT
    DEL a; RPUSH a 1 2; LMOVE a {a}2 LEFT LEFT; LMOVE a {a}2 LEFT LEFT|DEL a; RPUSH a 1 2; RPUSH b 1; LMOVE a b LEFT LEFT; LSET b 0 x|DEL a; RPUSH a 1 2; LMOVE a a LEFT RIGHT
    DEL a; RPUSH a 1 2; LINSERT a BEFORE 1 0; LREM a 0 9; LTRIM a 0 -1|CLIENT NO-TOUCH ON; DEL a; RPUSH a 1 2; LPOP a; LRANGE a 0 -1; LMOVE a b LEFT LEFT
    CLIENT NO-TOUCH ON; RENAME a b|CLIENT NO-TOUCH ON; RENAME a {a}2|CLIENT NO-TOUCH ON; MULTI; GET a; MGET a b; EXEC
"""  # fmt: skip
CASES = [case.strip() for line in CASES.split("\n") for case in line.split("|") if case.strip()]


def clocks(c, word):
    found = []
    for db in (0, 1):
        c.do("SELECT", db)
        found += [c.do("OBJECT", word, key) for key in KEYS]
    return found


def run(c, case):
    for command in case.split("; "):
        c.do(*[BIG if word == "BIG" else word for word in command.split()])


@pytest.fixture
def pair(shoal, valkey):
    clients = [shoal.raw(timeout=30), valkey.raw(timeout=30)]
    yield clients
    for c in clients:
        c.do("RESET")
        c.do("FLUSHALL")
        for name, value in (("maxmemory-policy", "noeviction"), ("lfu-log-factor", "10"), ("lfu-decay-time", "1")):
            c.do("CONFIG", "SET", name, value)
        c.close()


def test_frequency_after_every_command(pair):
    found = []
    for c in pair:
        for name, value in (("maxmemory-policy", "allkeys-lfu"), ("lfu-log-factor", "0"), ("lfu-decay-time", "0")):
            assert c.do("CONFIG", "SET", name, value) == "OK"
        rows = {}
        for case in CASES:
            c.do("RESET")
            c.do("FLUSHALL")
            c.do("SET", "a", "1")
            for _ in range(3):
                c.do("GET", "a")
            run(c, case)
            rows[case] = clocks(c, "FREQ")
        found.append(rows)
    assert found[0]["GET a"][0] == 9
    assert found[0] == found[1]


@pytest.mark.parametrize("case", [c for c in CASES if "RENAME a b" in c or "RENAME a {a}2" in c or "MOVE a 1" in c or "COPY a" in c][:8] + ["GET a", "TTL a"])
def test_idle_time_after_a_key_moved(pair, case):
    found = []
    for c in pair:
        assert c.do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru") == "OK"
        c.do("FLUSHALL")
        c.do("SET", "a", "1")
    time.sleep(2.05)
    for c in pair:
        run(c, case)
        found.append([idle if not isinstance(idle, int) else idle > 1 for idle in clocks(c, "IDLETIME")])
    assert found[0] == found[1]
