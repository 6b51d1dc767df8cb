# SPDX-License-Identifier: BSD-3-Clause
"""MEMORY BIGKEYS: the biggest keys of each type, by memory and by elements, found by the server itself, beside other clients."""

import random
import threading

import pytest

from resp import RespError, encode
from slots import slot
from test_slots import move

pytestmark = [pytest.mark.row_each, pytest.mark.shoal_only]

COUNT = {"string": "STRLEN", "list": "LLEN", "set": "SCARD", "zset": "ZCARD", "hash": "HLEN", "stream": "XLEN"}


def pairs(flat):
    return dict(zip((name.decode() for name in flat[::2]), flat[1::2]))


def big(c, *options):
    """{type: {"keys": n, "memory": n, "elements": n, "by-memory": [(db, key, memory, elements)], "by-elements": [...]}}"""
    answer = c.do("MEMORY", "BIGKEYS", *options)
    assert not isinstance(answer, RespError), answer
    found = {kind: pairs(of_kind) for kind, of_kind in pairs(answer).items()}
    for of_kind in found.values():
        for order in ("by-memory", "by-elements"):
            keys = [pairs(key) for key in of_kind[order]]
            of_kind[order] = [(k["db"], k["key"], k["memory"], k["elements"]) for k in keys]
    return found


@pytest.fixture
def c(server):
    with server.raw(timeout=60) as c:
        c.do("FLUSHALL")
        yield c


def add(c, kind, key, n):
    elements = ["e%d" % i for i in range(n)]
    if kind == "string":
        c.do("SET", key, "x" * n)
    elif kind in ("list", "set"):
        c.do({"list": "RPUSH", "set": "SADD"}[kind], key, *elements)
    elif kind in ("zset", "hash"):
        c.do({"zset": "ZADD", "hash": "HSET"}[kind], key, *[word for i, e in enumerate(elements) for word in ((i, e) if kind == "zset" else (e, i))])
    else:
        for e in elements:
            c.send(encode("XADD", key, "*", "f", e))
        c.read_some(n)


def asked_one_by_one(c, databases):
    """What a client finds that asks for each key: {type: [(db, key, memory, elements)]}"""
    found = {}
    for db in databases:
        c.do("SELECT", db)
        for key in c.do("KEYS", "*"):
            kind = c.do("TYPE", key)
            found.setdefault(kind, []).append((db, key, c.do("MEMORY", "USAGE", key), c.do(COUNT[kind], key)))
    c.do("SELECT", "0")
    return found


def test_it_finds_what_asking_for_each_key_finds(c):
    random.seed(7)
    for db in (0, 3, 15):
        c.do("SELECT", db)
        for i in range(150):
            kind = random.choice(list(COUNT))
            add(c, kind, "%s:%d" % (kind, i), random.choice((1, 2, 3, 10, 40, 200)))
    c.do("SET", "gone", "x" * 5000, "PX", "1")
    c.do("SELECT", "0")
    expected = asked_one_by_one(c, (0, 3, 15))
    for count in (1, 4, 128):
        found = big(c, "COUNT", count)
        assert set(found) == set(expected)
        for kind, keys in expected.items():
            of_kind = found[kind]
            assert (of_kind["keys"], of_kind["memory"], of_kind["elements"]) == (len(keys), sum(k[2] for k in keys), sum(k[3] for k in keys))
            for order, column in (("by-memory", 2), ("by-elements", 3)):
                assert [k[column] for k in of_kind[order]] == sorted((k[column] for k in keys), reverse=True)[:count]
                assert set(of_kind[order]) <= set(keys) and len(set(of_kind[order])) == len(of_kind[order])


def test_options_and_what_is_refused(c, server):
    assert big(c) == {}
    for i in range(30):
        c.do("SET", "s%d" % i, "v" * i)
        c.do("SADD", "set%d" % i, "a")
    assert len(big(c)["string"]["by-memory"]) == 10
    only = big(c, "TYPE", "SET", "COUNT", "3")
    assert set(only) == {"set"} and len(only["set"]["by-elements"]) == 3 and only["set"]["keys"] == 30
    for wrong in ("0", "129", "-1", "x", ""):
        assert c.do("MEMORY", "BIGKEYS", "COUNT", wrong).startswith("ERR value is ")
    assert c.do("MEMORY", "BIGKEYS", "TYPE", "module") == "ERR unknown type name 'module'"
    for wrong in (("COUNT",), ("TYPE",), ("FIRST",), ("COUNT", "1", "x")):
        assert c.do("MEMORY", "BIGKEYS", *wrong) == "ERR syntax error"
    assert "not allowed from script" in str(c.do("EVAL", "return redis.call('memory', 'bigkeys')", "0"))
    c.do("MULTI")
    assert "not allowed inside a transaction" in str(c.do("MEMORY", "BIGKEYS"))
    c.do("DISCARD")
    assert any("BIGKEYS" in str(line) for line in c.do("MEMORY", "HELP"))
    assert c.do("ACL", "SETUSER", "guest", "on", "nopass", "~*", "+@all", "-@dangerous") == "OK"
    with server.raw() as g:
        g.do("AUTH", "guest", "")
        assert g.do("MEMORY", "BIGKEYS").startswith("NOPERM")
        assert g.do("MEMORY", "USAGE", "s1") > 0


def test_names_of_any_bytes_and_length(c):
    c.do("SET", b"\x00\xff\r\n", "x" * 100)
    c.do("SET", "", "x" * 200)
    c.do("SET", b"n" * 5000, "x" * 300)
    assert [key for _, key, _, _ in big(c)["string"]["by-elements"]] == [b"n" * 1024, b"", b"\x00\xff\r\n"]


def test_maps_in_the_newer_protocol(server, c):
    c.do("SET", "a", "b")
    with server.raw() as d:
        d.do("HELLO", "3")
        answer = d.do("MEMORY", "BIGKEYS")
    assert answer.get(b"string").get(b"by-memory")[0].get(b"key") == b"a"


@pytest.mark.several_shards
def test_a_key_that_moves_meanwhile_is_shown_once(server, c, shards):
    """The walk of one worker has seen it, and that of the next one sees it again."""
    names = ["moving:%d" % i for i in range(6)]
    for name in names:
        c.do("SET", name, "x" * 1000)
    for i in range(5000):
        c.send(encode("SET", "other:%d" % i, "v"))
    c.read_some(5000)
    over = threading.Event()

    def keep_moving():
        with server.raw(timeout=60) as d:
            for round in range(10**6):
                if over.is_set():
                    return
                for name in names:
                    move(d, slot(name.encode()), round % shards)

    mover = threading.Thread(target=keep_moving)
    mover.start()
    try:
        for _ in range(50):
            keys = [key for _, key, _, _ in big(c, "COUNT", "128")["string"]["by-memory"]]
            assert len(set(keys)) == len(keys)
    finally:
        over.set()
        mover.join()
    found = big(c)["string"]
    assert {key.decode() for _, key, _, _ in found["by-memory"][:6]} == set(names) and found["keys"] == 5006


@pytest.mark.slow
@pytest.mark.timing
def test_others_are_served_meanwhile(start_server):
    """With many keys and values of many elements on one shard: it answers others again and again before it is through."""
    s = start_server(shards="1", enable_debug_command="yes")
    with s.raw(timeout=60) as c, s.raw(timeout=60) as d:
        c.do("DEBUG", "POPULATE", "200000", "key", "20")
        for kind in ("list", "set", "zset", "hash"):
            add(c, kind, kind, 50000)
        c.send(encode("MEMORY", "BIGKEYS"))
        served = 0
        while not c.has_more():
            assert d.do("GET", "key:%d" % served) is not None
            served += 1
        assert pairs(pairs(c.read())["string"])["keys"] == 200000
    assert served >= 10  # all of it at once would let one through, or two
