# SPDX-License-Identifier: BSD-3-Clause
"""Commands about the whole server: over all threads, and equal to Valkey where both have the same data."""

import random
import threading
import time

import pytest
from conftest import connect
from resp import RespError, encode

FILL = [
    ("SET", "text", "hello"),
    ("SET", "number", "1234567890123"),
    ("SET", "ttl", "x", "EX", "10000"),
    ("SET", "long", "y" * 5000),
    ("APPEND", "raw", "grown"),
    ("SET", "", ""),
    ("SELECT", "7"),
    ("SET", "text", "elsewhere"),
    ("SELECT", "0"),
]


def fill(server):
    with server.raw() as c:
        for call in [("FLUSHALL",)] + FILL:
            assert not isinstance(c.do(*call), RespError), call


# ---- all data --------------------------------------------------------------------------------------------------------


def test_digest_is_valkeys(server, valkey):
    fill(server)
    fill(valkey)
    keys = ("text", "number", "ttl", "long", "raw", "", "none")
    with server.raw() as ours, valkey.raw() as theirs:
        assert ours.do("DEBUG", "DIGEST") == theirs.do("DEBUG", "DIGEST")
        assert ours.do("DEBUG", "DIGEST-VALUE", *keys) == theirs.do("DEBUG", "DIGEST-VALUE", *keys)
        ours.do("SET", "text", "hellp")
        assert ours.do("DEBUG", "DIGEST") != theirs.do("DEBUG", "DIGEST")


def test_digest_of_many_keys_does_not_depend_on_their_order(server):
    with server.raw() as c:
        digests = set()
        for seed in range(3):
            c.do("FLUSHALL")
            keys = list(range(3000))
            random.Random(seed).shuffle(keys)
            for k in keys:
                c.send(encode("SET", "key:%d" % k, str(k)))
            for _ in keys:
                c.read()
            digests.add(c.do("DEBUG", "DIGEST"))
        assert len(digests) == 1 and digests != {"0" * 40}


def test_populate_makes_every_key_once(server):
    with server.raw() as c:
        c.do("FLUSHALL")
        c.do("SET", "key:5", "mine")
        assert c.do("DEBUG", "POPULATE", "10000") == "OK"
        assert c.do("DBSIZE") == 10000
        assert c.do("GET", "key:5") == b"mine" and c.do("GET", "key:9999") == b"value:9999"
        assert c.do("DEBUG", "POPULATE", "10", "big", "100") == "OK"
        assert c.do("GET", "big:3") == b"value:3" + b"\0" * 93
        c.do("FLUSHALL")


@pytest.mark.parametrize("how", ((), ("ASYNC",), ("SYNC",)))
def test_flush_takes_one_database_or_all(server, how):
    with server.raw() as c:
        fill(server)
        c.do("SELECT", "7")
        assert c.do("FLUSHDB", *how) == "OK"
        assert c.do("DBSIZE") == 0
        c.do("SELECT", "0")
        assert c.do("DBSIZE") == 6
        assert c.do("FLUSHALL", *how) == "OK"
        assert c.do("DBSIZE") == 0


def test_swapdb_swaps_on_every_shard(server):
    with server.raw() as c:
        c.do("FLUSHALL")
        for i in range(200):
            c.do("SET", "a:%d" % i, "zero")
        c.do("SELECT", "3")
        c.do("SET", "b", "three")
        assert c.do("SWAPDB", "0", "3") == "OK"
        assert c.do("DBSIZE") == 200 and c.do("GET", "a:7") == b"zero"
        c.do("SELECT", "0")
        assert c.do("DBSIZE") == 1 and c.do("GET", "b") == b"three"
        c.do("FLUSHALL")


# ---- configuration over threads --------------------------------------------------------------------------------------


def timeouts(server):
    """What connections on all threads see."""
    with_all = [server.raw() for _ in range(8)]
    try:
        return {c.do("CONFIG", "GET", "timeout", "tcp-keepalive", "lfu-log-factor")[1::2][i] for c in with_all for i in range(3)}
    finally:
        for c in with_all:
            c.close()


def test_config_set_reaches_all_threads_although_its_client_has_gone(server):
    for n in range(50):
        with server.raw() as c:
            c.send(encode("CONFIG", "SET", "timeout", str(1000 + n), "tcp-keepalive", str(1000 + n), "lfu-log-factor", str(1000 + n)))
    time.sleep(0.5)
    assert len(timeouts(server)) == 1
    with server.raw() as c:
        assert c.do("CONFIG", "SET", "timeout", "0", "tcp-keepalive", "300", "lfu-log-factor", "10") == "OK"


def test_config_sets_of_several_clients_lose_nothing(server):
    def set_many(name):
        with server.raw() as c:
            for n in range(200):
                assert c.do("CONFIG", "SET", name, str(n)) == "OK"

    threads = [threading.Thread(target=set_many, args=(name,)) for name in ("timeout", "tcp-keepalive", "lfu-log-factor")]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert timeouts(server) == {b"199"}
    with server.raw() as c:
        assert c.do("CONFIG", "SET", "timeout", "0", "tcp-keepalive", "300", "lfu-log-factor", "10") == "OK"


def test_port_can_be_changed_and_a_bad_one_changes_nothing(start_server):
    s = start_server()
    other = start_server()
    with s.raw() as c:
        old = s.port
        got = c.do("CONFIG", "SET", "port", str(other.port))
        assert isinstance(got, RespError) and "Unable to listen on this port" in got.text
        assert c.do("CONFIG", "GET", "port")[1] == str(old).encode()
        with s.raw() as again:
            assert again.do("PING") == "PONG"
        other.stop()
        other.stopped_by_test = True
        assert c.do("CONFIG", "SET", "port", str(other.port)) == "OK"
        s.port = other.port
        with s.raw() as again:
            assert again.do("PING") == "PONG"


# ---- DEBUG -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", ("no", "local", "yes"))
def test_debug_must_be_allowed(start_server, allowed):
    s = start_server(enable_debug_command=allowed)
    with s.raw() as c:
        got = c.do("DEBUG", "SLEEP", "0")
        if allowed == "no":
            assert got.startswith("ERR DEBUG command not allowed.")
        else:
            assert got == "OK"


def test_debug_sleep_holds_everybody_up(server):
    with server.raw() as sleeper:
        others = [server.raw() for _ in range(8)]
        sleeper.send(encode("DEBUG", "SLEEP", "0.5"))
        time.sleep(0.1)
        start = time.monotonic()
        for c in others:
            assert c.do("PING") == "PONG"
            c.close()
        assert time.monotonic() - start > 0.2
        assert sleeper.read() == "OK"


def test_debug_object_says_how_a_value_is_stored(server):
    with server.raw() as c:
        c.do("SET", "o", "hello")
        got = c.do("DEBUG", "OBJECT", "o")
        assert got.startswith("Value at:0x") and " encoding:embstr serializedlength:6 lru:" in got
        assert c.do("DEBUG", "OBJECT", "none") == RespError("ERR no such key")


# ---- COMMAND ---------------------------------------------------------------------------------------------------------


def test_renamed_commands_are_found_by_their_new_names(start_server):
    s = start_server(config_file='rename-command get git\nrename-command config "cfg"\nrename-command set ""\n')
    with s.raw() as c:
        assert c.do("GIT", "x") is None
        assert c.do("GET", "x").startswith("ERR unknown command 'GET'")
        assert c.do("SET", "x", "1").startswith("ERR unknown command 'SET'")
        assert c.do("CFG", "GET", "port") == [b"port", str(s.port).encode()]
        assert c.do("COMMAND", "INFO", "get", "set") == [None, None]
        assert [x[0] for x in c.do("COMMAND", "INFO", "git", "cfg|get")] == [b"get", b"config|get"]
        assert b"set" not in c.do("COMMAND", "LIST") and b"get" in c.do("COMMAND", "LIST")
        assert c.do("CFG", "HELP")[0].startswith("CFG <subcommand>")
        assert c.do("COMMAND", "GETKEYS", "git", "x") == [b"x"]


def test_count_list_info_and_docs_agree(raw):
    names = raw.do("COMMAND", "LIST")
    top = [n for n in names if b"|" not in n]
    assert len(set(names)) == len(names)
    assert raw.do("COMMAND", "COUNT") == len(top) == len(raw.do("COMMAND"))
    assert len(raw.do("COMMAND", "DOCS")) == 2 * len(top)


# ---- clients over threads --------------------------------------------------------------------------------------------


def test_negative_filters(server):
    clients = [server.raw() for _ in range(6)]
    try:
        for n, c in enumerate(clients):
            c.do("CLIENT", "SETNAME", "n%d" % (n % 2))
            c.do("SELECT", str(n % 3))
        me = clients[0]

        def listed(*args):
            return sorted(int(line.split()[0][3:]) for line in me.do("CLIENT", "LIST", *args).decode().splitlines())

        ids = [c.do("CLIENT", "ID") for c in clients]
        assert listed("NOT-NAME", "n0", "ID", *map(str, ids)) == [i for n, i in enumerate(ids) if n % 2]
        assert listed("NOT-DB", "0", "ID", *map(str, ids)) == [i for n, i in enumerate(ids) if n % 3]
        assert listed("NOT-ID", *map(str, ids[1:]), "NAME", "n0") == [ids[0]]
        assert listed("NOT-FLAGS", "N", "ID", *map(str, ids)) == []
        assert listed("NOT-USER", "default") == []
        assert listed("IP", "127.0.0.1", "SKIPME", "yes", "NAME", "n1") == [ids[1], ids[3], ids[5]]
        assert me.do("CLIENT", "KILL", "NAME", "n1", "NOT-DB", "1") == 2
    finally:
        for c in clients:
            c.close()


def test_unblock_ends_a_wait_on_another_thread(server):
    clients = [server.raw() for _ in range(8)]
    try:
        for how, expected in (((), 0), (("TIMEOUT",), 0), (("ERROR",), RespError("UNBLOCKED client unblocked via CLIENT UNBLOCK"))):
            for c in clients[1:]:
                ident = c.do("CLIENT", "ID")
                c.send(encode("WAIT", "3", "0"))
                for _ in range(200):
                    if clients[0].do("CLIENT", "UNBLOCK", str(ident), *how) == 1:
                        break
                    time.sleep(0.01)
                assert c.read() == expected
        assert clients[0].do("CLIENT", "UNBLOCK", str(ident)) == 0
    finally:
        for c in clients:
            c.close()


def test_memory_usage_grows_with_the_value(r):
    r.set("small", "x")
    r.set("big", "x" * 100000)
    assert 0 < r.memory_usage("small") < 200 < 100000 < r.memory_usage("big") < 140000
    assert r.memory_usage("none") is None


def test_peak_of_memory_stays(server):
    client = connect(server)
    client.flushall()
    client.set("big", "x" * 5000000)
    time.sleep(0.5)
    client.flushall()
    info = client.info("memory")
    assert info["used_memory_peak"] >= 5000000 > info["used_memory"]
