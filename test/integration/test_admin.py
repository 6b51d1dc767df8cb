# SPDX-License-Identifier: BSD-3-Clause
"""Commands about the whole server: over all threads, and equal to Valkey where both have the same data."""

import random
import re
import select
import threading
import time

import pytest
from conftest import connect
from resp import RespError, encode
from server import wait_for
from slots import tag_of

pytestmark = pytest.mark.row_each

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
    assert wait_for(lambda: server.info("clients")["connected_clients"] == "1")
    assert len(timeouts(server)) == 1
    with server.raw() as c:
        assert c.do("CONFIG", "SET", "timeout", "0", "tcp-keepalive", "300", "lfu-log-factor", "10") == "OK"


def test_config_sets_of_several_clients_lose_nothing(server):
    def set_many(name):
        with server.raw() as c:
            for n in range(200):
                assert c.do("CONFIG", "SET", name, str(1000 + n)) == "OK"

    threads = [threading.Thread(target=set_many, args=(name,)) for name in ("timeout", "tcp-keepalive", "lfu-log-factor")]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert timeouts(server) == {b"1199"}
    with server.raw() as c:
        assert c.do("CONFIG", "SET", "timeout", "0", "tcp-keepalive", "300", "lfu-log-factor", "10") == "OK"


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


@pytest.mark.timing
@pytest.mark.slow
def test_debug_sleep_holds_everybody_up(server):
    with server.raw() as sleeper:
        others = [server.raw() for _ in range(8)]
        for c in others:
            assert c.do("PING") == "PONG"
        began = time.monotonic()
        sleeper.send(encode("DEBUG", "SLEEP", "1"))
        time.sleep(0.3)
        for c in others:
            c.send(encode("PING"))
        waiting = {c.sock: c for c in others}
        while waiting:
            ready = select.select(list(waiting), [], [], 60)[0]
            assert ready and time.monotonic() - began > 0.9
            for sock in ready:
                assert waiting.pop(sock).read() == "PONG"
        assert sleeper.read() == "OK"
        for c in others:
            c.close()


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


@pytest.mark.several_shards
def test_the_peak_is_of_all_at_a_time(start_server, shards):
    """It was the sum of what each shard had used at most, each at its own time."""
    client = connect(start_server())
    before = client.info("memory")["used_memory_peak"]
    for shard in range(shards):
        name = b"{%s}big" % tag_of(shard, shards)
        client.set(name, "x" * 20_000_000)
        assert wait_for(lambda: client.info("memory")["used_memory_peak"] >= before + 20_000_000)
        client.delete(name)
        assert wait_for(lambda: client.info("memory")["used_memory"] < before + 10_000_000)
        time.sleep(0.3)  # each has looked
    assert client.info("memory")["used_memory_peak"] < before + 35_000_000


def test_peak_of_memory_stays(start_server):
    """Nobody asks for INFO while the memory is in use."""
    client = connect(start_server())
    before = client.info("memory")["used_memory_peak"]
    client.set("big", "x" * 50_000_000)
    time.sleep(0.5)
    client.flushall()
    assert client.info("memory")["used_memory_peak"] >= before + 50_000_000
    assert wait_for(lambda: client.info("memory")["used_memory"] < before + 50_000_000)


@pytest.mark.shoal_only
def test_there_are_no_modules(server):
    """Tools ask for the list before anything else; it is empty, and nothing can be added to it."""
    with server.raw() as c:
        for protocol in ("2", "3"):
            c.do("HELLO", protocol)
            assert c.do("MODULE", "LIST") == []
        for call in (("LOAD", "/a.so"), ("LOADEX", "/a.so", "CONFIG", "a", "b", "ARGS", "c"), ("UNLOAD", "a")):
            assert c.do("MODULE", *call) == "ERR Modules are not supported"
        assert c.do("MODULE", "LOAD") == "ERR wrong number of arguments for 'module|load' command"
        assert c.do("MODULE", "FIND") == "ERR unknown subcommand 'FIND'. Try MODULE HELP."
        assert c.do("MODULE", "HELP")[0] == "MODULE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
        assert [c.do("MULTI"), c.do("MODULE", "LIST"), c.do("EXEC")] == ["OK", "QUEUED", [[]]]
        assert c.do("ACL", "DRYRUN", "default", "MODULE", "LIST") == "OK"
        assert c.do("EVAL", "return redis.call('MODULE', 'LIST')", "0").startswith("ERR This Valkey command is not allowed from script")


def test_debug_subcommands_that_tools_ask_for(start_server):
    s = start_server(enable_debug_command="yes")
    with s.raw() as c, s.raw() as other:
        wrong = "ERR unknown subcommand or wrong number of arguments for '%s'. Try DEBUG HELP."
        for words, expected in (
            (["PROTECT-CLIENT", str(other.do("CLIENT", "ID"))], "OK"),
            (["PROTECT-CLIENT", "99999999"], "ERR No such client"),
            (["PROTECT-CLIENT", "-1"], "ERR No such client"),
            (["PROTECT-CLIENT", "x"], "ERR Invalid client id"),
            (["PROTECT-CLIENT"], wrong % "PROTECT-CLIENT"),
            (["CLIENT-ENFORCE-REPLY-LIST", "1"], "OK"),
            (["REPLYBUFFER", "RESIZING", "0"], "OK"),
            (["REPLYBUFFER", "PEAK-RESET-TIME", "NEVER"], "OK"),
            (["REPLYBUFFER", "PEAK-RESET-TIME", "reset"], "OK"),
            (["REPLYBUFFER", "PEAK-RESET-TIME", "100"], "OK"),
            (["REPLYBUFFER", "PEAK-RESET-TIME", "x"], "ERR value is not an integer or out of range"),
            (["REPLYBUFFER", "x", "1"], wrong % "REPLYBUFFER"),
            (["REPLYBUFFER"], wrong % "REPLYBUFFER"),
            (["CONFIG-REWRITE-FORCE-ALL", "x"], wrong % "CONFIG-REWRITE-FORCE-ALL"),
            (["STRINGMATCH-TEST"], "Apparently the server did not crash: test passed"),
            (["SDSLEN", "none"], "ERR no such key"),
        ):
            got = c.do("DEBUG", *words)
            assert str(got) == expected, (words, got)
        assert other.do("PING") == "PONG"
        c.do("MSET", "number", "12", "text", "abcdef")
        c.do("RPUSH", "list", "a")
        for key in ("number", "list"):
            assert c.do("DEBUG", "SDSLEN", key) == RespError("ERR Not an sds encoded string.")
        assert re.fullmatch(r"key_sds_len:4 key_sds_avail:\d+ obj_alloc:\d+ val_sds_len:6 val_sds_avail:\d+ val_alloc:\d+", c.do("DEBUG", "SDSLEN", "text"))
