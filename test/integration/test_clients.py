# SPDX-License-Identifier: BSD-3-Clause
"""AUTH, HELLO, RESET, QUIT and the CLIENT family, with several connections."""

import re
import socket
import struct
import threading
import time

import pytest

from conftest import connect
from resp import NULL_ARRAY, Map, Simple, encode
from server import wait_for
from slots import tag_of
from test_shards import key_in

# The order of fields is part of the interface: tools cut the line by position and by name.
CLIENT_FIELDS = """id addr laddr fd name age idle flags capa db sub psub ssub multi watch qbuf qbuf-free argv-mem multi-mem rbs
rbp obl oll omem tot-mem events cmd user redir resp lib-name lib-ver tot-net-in tot-net-out tot-cmds""".split()


def fields(line):
    if isinstance(line, bytes):
        line = line.decode()
    return dict(word.split("=", 1) for word in line.strip().split(" "))


def own(c):
    return fields(re.sub(rb"^txt:", b"", c.do("CLIENT", "INFO")))


# ---- AUTH and HELLO ------------------------------------------------------------------------------------------------


def test_requirepass(start_server):
    s = start_server(requirepass="secret")
    with s.raw() as c:
        assert c.do("PING") == "NOAUTH Authentication required."
        assert c.do("GET", "k") == "NOAUTH Authentication required."
        assert c.do("NOSUCH") == "NOAUTH Authentication required."
        assert c.do("HELLO", "3").startswith("NOAUTH HELLO must be called with the client already authenticated")
        assert c.do("AUTH", "wrong") == "WRONGPASS invalid username-password pair or user is disabled."
        assert c.do("AUTH", "nobody", "secret") == "WRONGPASS invalid username-password pair or user is disabled."
        assert c.do("AUTH", "secret") == "OK"
        assert c.do("PING") == "PONG"
        assert c.do("RESET") == "RESET"
        assert c.do("PING") == "NOAUTH Authentication required."
        assert c.do("AUTH", "default", "secret") == "OK"
        assert c.do("QUIT") == "OK"
    with s.raw() as c:
        reply = c.do("HELLO", "3", "AUTH", "default", "secret", "SETNAME", "me")
        assert isinstance(reply, Map) and reply.get(b"proto") == 3
        assert own(c)["name"] == "me"
    with s.raw() as c:
        assert c.do("HELLO", "3", "AUTH", "default", "wrong").startswith("WRONGPASS")
        assert c.do("QUIT") == "OK"
        assert c.is_closed()
    assert int(s.info("stats")["acl_access_denied_auth"]) >= 3


def test_requirepass_by_config_set(start_server):
    s = start_server()
    with s.raw() as before, s.raw() as admin:
        assert admin.do("CONFIG", "SET", "requirepass", "new") == "OK"
        s.password = "new"
        assert admin.do("CONFIG", "GET", "requirepass") == [b"requirepass", b"new"]
        assert before.do("PING") == "PONG"
        with s.raw() as c:
            assert c.do("PING") == "NOAUTH Authentication required."
            assert c.do("AUTH", "new") == "OK"
        assert admin.do("CONFIG", "SET", "requirepass", "") == "OK"
        s.password = None
        with s.raw() as c:
            assert c.do("PING") == "PONG"


def test_hello_fields(server):
    with server.raw() as c:
        reply = c.do("HELLO", "3")
        assert reply.keys()[:7] == [b"server", b"version", b"proto", b"id", b"mode", b"role", b"modules"]
        assert reply.get(b"mode") == b"standalone" and reply.get(b"role") == b"master"
        assert reply.get(b"id") == c.do("CLIENT", "ID")
        flat = c.do("HELLO", "2")
        assert flat[0] == b"server" and flat[4:6] == [b"proto", 2]


def test_hello_keeps_name_and_database(server):
    with server.raw() as c:
        c.do("SELECT", "5")
        c.do("CLIENT", "SETNAME", "kept")
        c.do("HELLO", "3")
        got = own(c)
        assert got["db"] == "5" and got["name"] == "kept" and got["resp"] == "3"


def test_reset_undoes_what_the_client_chose(server):
    with server.raw() as c:
        c.do("HELLO", "3", "SETNAME", "x")
        c.do("SELECT", "3")
        c.do("CLIENT", "NO-EVICT", "ON")
        c.do("CLIENT", "NO-TOUCH", "ON")
        c.send(encode("CLIENT", "REPLY", "OFF") + encode("RESET"))
        assert c.read() == "RESET"
        got = own(c)
        assert got["name"] == "" and got["db"] == "0" and got["resp"] == "2"
        assert "T" not in got["flags"]


def test_quit_answers_and_closes(server):
    with server.raw() as c:
        assert isinstance(c.do("QUIT"), Simple)
        assert c.is_closed()


# ---- CLIENT LIST and INFO --------------------------------------------------------------------------------------------


def test_client_line_has_valkeys_fields_in_order(server, kind):
    if kind == "redis":
        pytest.skip("Redis 7.0 has fewer fields")
    with server.raw() as c:
        line = c.do("CLIENT", "INFO").decode()
        assert line.endswith("\n")
        assert [word.split("=")[0] for word in line.strip().split(" ")] == CLIENT_FIELDS
        listed = c.do("CLIENT", "LIST").decode()
        assert [word.split("=")[0] for word in listed.splitlines()[0].split(" ")] == CLIENT_FIELDS


def test_client_line_says_what_is_true(server):
    with server.raw() as c:
        c.do("SELECT", "4")
        c.do("CLIENT", "SETNAME", "teller")
        c.do("CLIENT", "SETINFO", "LIB-NAME", "lib")
        c.do("CLIENT", "SETINFO", "LIB-VER", "1.2")
        got = own(c)
        host, port = c.sock.getsockname()
        assert got["id"] == str(c.do("CLIENT", "ID"))
        assert got["addr"] == "%s:%d" % (host, port)
        assert got["laddr"] == "127.0.0.1:%d" % server.port
        assert got["name"] == "teller" and got["db"] == "4" and got["flags"] == "N"
        assert got["multi"] == "-1" and got["watch"] == "0" and got["sub"] == got["psub"] == got["ssub"] == "0"
        assert got["cmd"] == "client|info" and got["user"] == "default" and got["redir"] == "-1"
        assert got["resp"] == "2" and got["lib-name"] == "lib" and got["lib-ver"] == "1.2"
        assert got["qbuf"] == "0" and got["obl"] == "0" and got["oll"] == "0" and got["omem"] == "0"
        assert int(got["tot-mem"]) > 0 and int(got["fd"]) > 0 and int(got["age"]) >= 0
        c.do("PING")
        later = own(c)
        assert int(later["tot-cmds"]) == int(got["tot-cmds"]) + 3
        assert int(later["tot-net-in"]) - int(got["tot-net-in"]) == len(
            encode("CLIENT", "ID") + encode("PING") + encode("CLIENT", "INFO")
        )


def test_list_shows_all_clients_of_all_threads(server):
    clients = [server.raw() for _ in range(20)]
    try:
        for n, c in enumerate(clients):
            c.do("CLIENT", "SETNAME", "many%d" % n)
            c.do("GET", "x%d" % n)
        rows = [fields(line) for line in clients[0].do("CLIENT", "LIST").decode().splitlines()]
        by_name = {row["name"]: row for row in rows}
        for n, c in enumerate(clients):
            assert by_name["many%d" % n]["addr"] == "%s:%d" % c.sock.getsockname()
            assert by_name["many%d" % n]["cmd"] == ("client|list" if n == 0 else "get")
        ids = [int(row["id"]) for row in rows]
        assert ids == sorted(ids) and len(set(ids)) == len(ids)
    finally:
        for c in clients:
            c.close()


def test_list_says_who_does_not_read(server):
    """events=rw is for those whose socket is full, not for all whose reply has just left."""
    with server.raw(rcvbuf=4096, timeout=30) as slow, server.raw() as c:
        ident = slow.do("CLIENT", "ID")
        for _ in range(20):
            slow.do("PING")
            assert fields(c.do("CLIENT", "LIST", "ID", ident))["events"] == "r"
            assert own(slow)["events"] == "r"
        c.do("SET", "big", "x" * 10_000_000)
        before = int(fields(c.do("CLIENT", "LIST", "ID", ident))["tot-net-out"])
        slow.send(encode("GET", "big") * 3)
        assert wait_for(lambda: fields(c.do("CLIENT", "LIST", "ID", ident))["events"] == "rw")
        stuck = fields(c.do("CLIENT", "LIST", "ID", ident))
        assert stuck["events"] == "rw" and int(stuck["tot-net-out"]) < before + 25_000_000
        assert [len(v) for v in slow.read_some(3)] == [10_000_000] * 3

        def after():
            row = fields(c.do("CLIENT", "LIST", "ID", ident))
            return row["events"], int(row["tot-net-out"])

        # Its thread hears of the last send after who has read it.
        assert wait_for(lambda: after() == ("r", before + 3 * 10_000_013)), after()
        c.do("DEL", "big")


def test_list_filters(server):
    with server.raw() as a, server.raw() as b:
        a.do("CLIENT", "SETNAME", "fa")
        b.do("CLIENT", "SETNAME", "fb")
        b.do("SELECT", "7")
        ida, idb = a.do("CLIENT", "ID"), b.do("CLIENT", "ID")

        def names(*filters):
            return {fields(line)["name"] for line in a.do("CLIENT", "LIST", *filters).decode().splitlines()} & {"fa", "fb"}

        assert names() == {"fa", "fb"}
        assert names("ID", ida) == {"fa"}
        assert names("ID", ida, idb, 99999) == {"fa", "fb"}
        assert names("TYPE", "normal") == {"fa", "fb"}
        assert names("TYPE", "pubsub") == set()
        assert names("NAME", "fb") == {"fb"}
        assert names("DB", 7) == {"fb"}
        assert names("NOT-DB", 7) == {"fa"}
        assert names("USER", "default") == {"fa", "fb"}
        assert names("ADDR", "%s:%d" % b.sock.getsockname()) == {"fb"}
        assert names("LADDR", "127.0.0.1:%d" % server.port) == {"fa", "fb"}
        assert names("SKIPME", "yes", "TYPE", "normal") == {"fb"}
        assert names("IP", "127.0.0.1") == {"fa", "fb"}
        assert names("MAXAGE", 100000) == set()


# ---- CLIENT KILL -------------------------------------------------------------------------------------------------------


@pytest.mark.timing
def test_many_ids_one_by_one_cost_no_more_than_in_a_row(server, slow):
    with server.raw(timeout=60) as c:
        me = c.do("CLIENT", "ID")
        others = ["%d" % (10**9 + i * 7919 % 30000) for i in range(30000)]
        for ids in (["ID", *others, "%d" % me], [word for i in [*others, "%d" % me] for word in ("ID", i)]):

            def took():
                start = time.monotonic()
                assert b"id=%d " % me in c.do("CLIENT", "LIST", *ids)
                return time.monotonic() - start

            assert any(took() < 3 * slow for _ in range(3))


def test_kill_by_id_address_and_name(server):
    with server.raw() as killer:
        for how in ("id", "addr", "old", "name", "laddr"):
            with server.raw() as victim:
                victim.do("CLIENT", "SETNAME", "victim")
                address = "%s:%d" % victim.sock.getsockname()
                if how == "id":
                    assert killer.do("CLIENT", "KILL", "ID", victim.do("CLIENT", "ID")) == 1
                elif how == "addr":
                    assert killer.do("CLIENT", "KILL", "ADDR", address) == 1
                elif how == "old":
                    assert killer.do("CLIENT", "KILL", address) == "OK"
                elif how == "name":
                    assert killer.do("CLIENT", "KILL", "NAME", "victim") == 1
                else:
                    assert killer.do("CLIENT", "KILL", "LADDR", "127.0.0.1:%d" % server.port) == 1
                assert victim.is_closed()
        assert killer.do("PING") == "PONG"


def test_kill_itself(server):
    with server.raw() as c:
        c.send(encode("CLIENT", "KILL", "ID", c.do("CLIENT", "ID"), "SKIPME", "no") + encode("SET", "killedself", "1"))
        assert c.read() == 1
        assert c.is_closed()
    with server.raw() as c:
        assert c.do("GET", "killedself") is None


def test_kill_all_normal_clients_but_oneself(server):
    others = [server.raw() for _ in range(10)]
    with server.raw() as killer:
        for c in others:
            c.do("PING")
        assert killer.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") >= 10
        assert all(c.is_closed() for c in others)
        assert killer.do("PING") == "PONG"


def test_kill_while_the_victim_is_busy(server):
    """A client that pipelines over all shards is killed in the middle; nothing of it stays behind."""
    for _ in range(20):
        with server.raw() as victim, server.raw() as killer:
            number = victim.do("CLIENT", "ID")
            victim.send(b"".join(encode("SET", "busy%d" % i, "x" * 50) for i in range(5000)))
            assert killer.do("CLIENT", "KILL", "ID", number) in (0, 1)
            victim.is_closed()
            assert killer.do("PING") == "PONG"
    assert wait_for(lambda: int(server.info("clients")["connected_clients"]) == 1)


def reset(c):
    """The peer goes without a good-bye."""
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()


@pytest.mark.several_shards
@pytest.mark.parametrize("how", ["kill", "reset"])
@pytest.mark.parametrize("what", ["pipeline", "exec", "script"])
def test_who_is_not_listed_any_more_changes_nothing_any_more(server, r, shards, slow, what, how):
    """What he had on its way to other shards was done after he had vanished from CLIENT LIST and been counted out: who waited
    for that before DEBUG DIGEST had another data set a moment later."""
    n = 700 if slow else 3000
    for part in range(shards):
        key, a, b = (b"{%s}%s" % (tag_of(part, shards), name) for name in (b"k", b"a", b"b"))
        far = b"{%s}far" % tag_of((part + 1) % shards, shards)
        r.flushall()
        with server.raw(timeout=60) as admin, server.raw() as victim:
            assert admin.do("MSET", a, "ab" * n, b, "ba" * n) == "OK"
            number = victim.do("CLIENT", "ID")
            steps = (encode("LCS", a, b, "LEN") + encode("RPUSH", key, "x")) * 10
            if what == "exec":
                steps = encode("MULTI") + steps + encode("RPUSH", far, "x") + encode("EXEC")
            elif what == "script":
                loop = "for i = 1, 10 do redis.call('LCS', KEYS[2], KEYS[3], 'LEN') redis.call('RPUSH', KEYS[1], 'x') end"
                steps = encode("EVAL", loop + " redis.call('RPUSH', KEYS[4], 'x')", 4, key, a, b, far)
            before = admin.do("DBSIZE")
            victim.send(steps)
            assert what != "pipeline" or wait_for(lambda: admin.do("DBSIZE") > before)
            if how == "kill":
                assert admin.do("CLIENT", "KILL", "ID", number) == 1
                line = admin.do("CLIENT", "LIST", "ID", number)
                assert line == b"" or "A" in fields(line)["flags"]
                assert admin.do("CLIENT", "KILL", "ID", number) == 0
            else:
                reset(victim)
            assert wait_for(lambda: not admin.do("CLIENT", "LIST", "ID", number), seconds=60)
            seen = [admin.do("LLEN", key), admin.do("LLEN", far)]
            time.sleep(0.3 if what == "pipeline" else 0)
            assert [admin.do("LLEN", key), admin.do("LLEN", far)] == seen


# ---- CLIENT REPLY, PAUSE, the rest ------------------------------------------------------------------------------------


def test_reply_off_skip_on(server):
    with server.raw() as c:
        c.send(encode("CLIENT", "REPLY", "OFF") + encode("SET", "ro", "1") + encode("GET", "ro"))
        assert c.is_silent()
        c.send(encode("PING") + encode("CLIENT", "REPLY", "ON"))
        assert c.read() == "OK"
        c.send(encode("CLIENT", "REPLY", "SKIP") + encode("SET", "ro", "2") + encode("GET", "ro"))
        assert c.read() == b"2"
        assert c.is_silent(0.1)


def test_reply_skip_holds_until_a_blocked_command_is_over(server):
    with server.raw() as c:
        c.send(encode("CLIENT", "REPLY", "SKIP") + encode("WAIT", 1, 100) + encode("PING"))
        assert c.read() == "PONG"
        assert c.is_silent(0.1)


def test_reply_off_over_all_shards(server):
    with server.raw() as c:
        c.send(encode("CLIENT", "REPLY", "OFF"))
        c.send(b"".join(encode("SET", "rs%d" % i, i) for i in range(500)))
        c.send(encode("CLIENT", "REPLY", "ON") + b"".join(encode("GET", "rs%d" % i) for i in range(500)))
        assert c.read_some(501) == ["OK"] + [b"%d" % i for i in range(500)]


def test_pause_all_and_unpause(server):
    with server.raw() as admin, server.raw() as c:
        assert admin.do("CLIENT", "PAUSE", "10000", "ALL") == "OK"
        c.send(encode("SET", "pa", "1") + encode("GET", "pa"))
        assert c.is_silent(0.3)
        assert admin.do("CLIENT", "UNPAUSE") == "OK"
        assert c.read_some(2) == ["OK", b"1"]


def test_pause_write_lets_reads_pass(server):
    with server.raw() as admin, server.raw() as reader, server.raw() as writer:
        admin.do("SET", "pw", "0")
        assert admin.do("CLIENT", "PAUSE", "10000", "WRITE") == "OK"
        writer.send(encode("SET", "pw", "1"))
        assert writer.is_silent(0.3)
        assert reader.do("GET", "pw") == b"0"
        info = server.info("clients")
        assert info["paused_reason"] == "client_pause" and info["paused_actions"] == "write"
        assert 5000 < int(info["paused_timeout_milliseconds"]) <= 10000
        assert admin.do("CLIENT", "UNPAUSE") == "OK"
        assert writer.read() == "OK"


READS = "#!lua flags=no-writes\nreturn redis.call('GET', KEYS[1])"
READING_LIBRARY = """#!lua name=reading
server.register_function{function_name='reads', callback=function(keys) return server.call('GET', keys[1]) end, flags={'no-writes'}}
server.register_function('may_write', function(keys) return server.call('GET', keys[1]) end)"""


def test_pause_write_lets_scripts_pass_that_say_that_they_only_read(server):
    with server.raw() as admin, server.raw() as reader, server.raw() as writer:
        admin.do("SET", "pw", "0")
        admin.do("FUNCTION", "LOAD", "REPLACE", READING_LIBRARY)
        sha = admin.do("SCRIPT", "LOAD", READS).decode()
        scripts = [["EVAL", READS + " -- new", "1", "pw"], ["EVALSHA", sha, "1", "pw"], ["EVALSHA_RO", sha, "1", "pw"], ["FCALL", "reads", "1", "pw"]]
        scripts += [["EVAL_RO", READS, "1", "pw"], ["FCALL_RO", "reads", "1", "pw"]]
        waits = [["EVAL", READS[READS.index("\n") :], "1", "pw"], ["FCALL", "may_write", "1", "pw"], ["EVAL", "#!lua\nreturn 1", "0"], ["FUNCTION", "FLUSH"]]
        writer.do("MULTI"), writer.do(*scripts[0]), writer.do(*waits[0])
        assert admin.do("CLIENT", "PAUSE", "100000", "WRITE") == "OK"
        for words in scripts:
            assert reader.do(*words) == b"0", words
        reader.do("MULTI")
        for words in scripts:
            assert reader.do(*words) == "QUEUED"
        assert reader.do("EXEC") == [b"0"] * len(scripts)
        for words in waits:
            with server.raw() as c:
                c.send(encode(*words))
                assert c.is_silent(0.1), words
                assert reader.do("PING") == "PONG"
        writer.send(encode("EXEC"))
        assert writer.is_silent(0.1)
        assert admin.do("CLIENT", "UNPAUSE") == "OK"
        assert writer.read() == [b"0", b"0"]


def test_a_narrower_pause_lets_go_on_what_it_does_not_forbid(server, kind):
    """Reads that had come during the wider pause once waited until both were over."""
    if kind != "shoal":
        pytest.skip("lets nobody change a pause of all commands")
    with server.raw() as admin:
        readers, writers = ([server.raw() for _ in range(4)] for _ in range(2))
        assert admin.do("CLIENT", "PAUSE", "60000", "ALL") == "OK"
        for c in readers:
            c.send(encode("GET", "pn") + encode("SET", "pn", "1"))
        for c in writers:
            c.send(encode("SET", "pn", "1") + encode("GET", "pn"))
        assert all(c.is_silent(0.05) for c in readers + writers)
        assert admin.do("CLIENT", "PAUSE", "1", "WRITE") == "OK"
        assert [c.read() for c in readers] == [None] * 4
        assert all(c.is_silent(0.05) for c in readers + writers)
        assert admin.do("CLIENT", "UNPAUSE") == "OK"
        assert [c.read() for c in readers] == ["OK"] * 4
        assert [c.read_some(2) for c in writers] == [["OK", b"1"]] * 4
        for c in readers + writers:
            c.close()


def test_pause_ends_by_itself(server):
    with server.raw() as admin, server.raw() as c:
        started = time.monotonic()
        assert admin.do("CLIENT", "PAUSE", "300") == "OK"
        assert c.do("SET", "pe", "1") == "OK"
        assert time.monotonic() - started > 0.29


@pytest.mark.slow
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "inside EXEC"])
def test_pause_is_a_barrier(server, r, shards, kind, inside):
    """What others had begun on any shard, alone or in a transaction, was once seen to happen after the pause had been
    answered."""
    keys = [key_in(i % shards, shards, "bar%d:" % i) for i in range(2 * shards)]
    request = b"".join(encode("INCR", key) for key in keys * 4)
    request += encode("MULTI") + b"".join(encode("INCR", key) for key in keys) + encode("EXEC")
    request += encode("COPY", keys[0], keys[-1] + "c", "REPLACE") + encode("MSET", *[w for k in keys for w in (k, "1")])
    replies = 4 * len(keys) + len(keys) + 4
    stop = threading.Event()

    def write():
        with server.raw(timeout=60) as c:
            while not stop.is_set():
                c.send(request * 4)
                c.read_some(replies * 4)

    def read(c):
        return c.do("MGET", *keys), c.do("GET", keys[-1] + "c")

    def pause(c):
        if not inside:
            assert c.do("CLIENT", "PAUSE", "60000", "WRITE") == "OK"
            return
        c.send(encode("MULTI") + encode("INCR", keys[0]) + encode("CLIENT", "PAUSE", "60000", "WRITE"))
        c.send(encode("INCR", keys[-1]) + encode("EXEC"))
        assert c.read_some(5)[-1][1] == "OK"

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        with server.raw(timeout=60) as c:
            for _ in range(20):
                time.sleep(0.005)
                pause(c)
                try:
                    first = read(c)
                    time.sleep(0.01)
                    assert read(c) == first
                finally:
                    assert c.do("CLIENT", "UNPAUSE") == "OK"
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_two_pauses_inside_exec_do_not_wait_for_each_other(server, r, shards):
    keys = [key_in(i % shards, shards, "two%d:" % i) for i in range(2 * shards)]
    clients = [server.raw(timeout=30) for _ in range(6)]
    for n in range(30):
        for c in clients:
            c.send(encode("MULTI") + b"".join(encode("INCR", key) for key in keys))
            c.send(encode("CLIENT", "PAUSE", "5", "WRITE" if n % 2 else "ALL") + encode("EXEC"))
        for c in clients:
            assert c.read_some(len(keys) + 3)[-1][-1] == "OK"
    for c in clients:
        c.close()
    assert r.mget(keys) == ["180" if isinstance(r.get(keys[0]), str) else b"180"] * len(keys)


def test_pause_keeps_keys_that_run_out(server, r):
    with server.raw() as c, server.raw() as watcher:
        c.do("MSET", "stays", "v", "a", "v", "b", "v")
        c.do("PEXPIRE", "a", 2000)
        c.do("PEXPIRE", "b", 2000)
        watcher.do("WATCH", "b")
        expired = int(server.info()["expired_keys"])
        assert c.do("CLIENT", "PAUSE", "60000", "WRITE") == "OK"
        assert wait_for(lambda: c.do("EXISTS", "a") == 0 and c.do("EXISTS", "b") == 0)
        assert c.do("MGET", "a", "b", "stays") == [None, None, b"v"]
        assert [c.do("EXISTS", "a", "b"), c.do("TTL", "a"), c.do("PTTL", "b"), c.do("TYPE", "a")] == [0, -2, -2, "none"]
        assert c.do("KEYS", "*") == [b"stays"] and c.do("RANDOMKEY") == b"stays"
        assert c.do("SCAN", "0", "COUNT", "100")[1] == [b"stays"]
        assert c.do("DBSIZE") == 3
        assert server.info("keyspace")["db0"].startswith("keys=3,expires=2,")
        assert int(server.info()["expired_keys"]) == expired
        watcher.send(encode("MULTI") + encode("GET", "b") + encode("EXEC"))
        assert watcher.read_some(3)[-1] == NULL_ARRAY
        assert c.do("CLIENT", "UNPAUSE") == "OK"
        assert wait_for(lambda: c.do("DBSIZE") == 1)
        assert int(server.info()["expired_keys"]) == expired + 2


def test_pause_and_unpause_at_once_leave_all_threads_alike(server, r, shards):
    """The last one is the last for all threads: half of the server could stay paused."""
    clients = [server.raw() for _ in range(4 * shards)]
    writers = [server.raw() for _ in range(4 * shards)]
    for _ in range(20):
        for i, c in enumerate(clients):
            c.send(encode("CLIENT", "PAUSE", "60000", "WRITE") if i % 2 else encode("CLIENT", "UNPAUSE"))
        for c in clients:
            assert c.read() == "OK"
        for c in writers:
            c.send(encode("SET", "k", "v"))
        held = list(writers)

        def alike():
            held[:] = [c for c in held if c.is_silent(0.005)]
            return len(held) in (0, len(writers))

        assert wait_for(alike)
        assert clients[0].do("CLIENT", "UNPAUSE") == "OK"
        for c in writers:
            assert c.read() == "OK"
    for c in clients + writers:
        c.close()


def test_a_short_pause_after_the_end_of_a_long_one_is_short_on_all_threads(server, shards):
    """A pause never ends the one there is before its time. Where it came before the UNPAUSE that others had seen first, it
    once made the long pause, which was over for them, its own."""
    askers = [server.raw(timeout=60) for _ in range(4 * shards)]
    writers = [server.raw(timeout=60) for _ in range(4 * shards)]
    for _ in range(30):
        assert askers[0].do("CLIENT", "PAUSE", "600000", "WRITE") == "OK"
        for i, c in enumerate(askers):
            c.send(encode("CLIENT", "UNPAUSE") if i % 2 else encode("CLIENT", "PAUSE", "1", "WRITE"))
        for c in askers:
            assert c.read() == "OK"
        for c in writers:
            c.send(encode("SET", "k", "v"))
        assert [c.read() for c in writers] == ["OK"] * len(writers)
    for c in askers + writers:
        c.close()


@pytest.mark.slow
def test_whose_wait_has_just_ended_is_not_idle(start_server):
    """The look for idle clients came in the same turn as the end of WAIT: it closed the client before its reply was sent.
    One of many ends at that very millisecond."""
    s = start_server(timeout=1)
    clients = []
    for n in range(220):
        clients.append(s.raw())
        clients[-1].send(encode("WAIT", "1", 2100 + n) + encode("PING"))
    for c in clients:
        assert c.read_some(2) == [0, "PONG"]
        c.close()


@pytest.mark.slow
def test_who_waits_for_the_pause_to_end_is_not_idle(start_server):
    s = start_server(timeout=1)
    with s.raw() as admin, s.raw() as c:
        assert admin.do("CLIENT", "PAUSE", "3000") == "OK"
        assert c.do("GET", "pi") is None


def test_setname_is_seen_by_others(server):
    with server.raw() as a, server.raw() as b:
        number = a.do("CLIENT", "ID")
        a.do("CLIENT", "SETNAME", "seen")
        assert fields(b.do("CLIENT", "LIST", "ID", number))["name"] == "seen"
        a.do("CLIENT", "SETNAME", "")
        assert fields(b.do("CLIENT", "LIST", "ID", number))["name"] == ""


@pytest.mark.slow
def test_no_touch_keeps_the_idle_time(server):
    with server.raw() as a, server.raw() as b:
        a.do("SET", "nt", "1")
        b.do("CLIENT", "NO-TOUCH", "ON")

        def idle():
            b.do("GET", "nt")
            return a.do("OBJECT", "IDLETIME", "nt")

        assert wait_for(lambda: idle() >= 2)
        b.do("CLIENT", "NO-TOUCH", "OFF")
        assert idle() <= 1


def test_ids_grow_and_are_unique(server):
    ids = []
    for _ in range(20):
        with server.raw() as c:
            ids.append(c.do("CLIENT", "ID"))
    assert ids == sorted(ids) and len(set(ids)) == 20


def test_redis_py_works(server):
    client = connect(server, db=2, client_name="py")
    assert client.set("k", "v", ex=100) is True
    assert client.get("k") == "v"
    assert client.client_getname() == "py"
    with client.pipeline(transaction=False) as p:
        for i in range(100):
            p.set("p%d" % i, i).get("p%d" % i)
        got = p.execute()
    assert got[1::2] == [str(i) for i in range(100)]
    assert 60 < client.ttl("k") <= 100
    assert sorted(client.scan_iter(match="p*", count=7)) == sorted("p%d" % i for i in range(100))
    with pytest.raises(Exception) as e:
        client.incr("k")
    assert "not an integer" in str(e.value)
    client.flushdb()


# ---- WAIT blocks its client and nobody else ----------------------------------------------------------------------------


def test_wait_times_out_and_delays_nobody(server):
    with server.raw() as waiter, server.raw() as other:
        number = waiter.do("CLIENT", "ID")
        waiter.send(encode("SET", "w", "1") + encode("WAIT", 1, 0))
        assert waiter.read() == "OK"
        for _ in range(50):
            assert other.do("SET", "o", "1") == "OK"
        assert wait_for(lambda: server.info("clients")["blocked_clients"] == "1")
        assert other.do("CLIENT", "UNBLOCK", number) == 1
        assert waiter.read() == 0
        started = time.monotonic()
        waiter.send(encode("WAIT", 1, 300) + encode("GET", "w"))
        assert waiter.read_some(2) == [0, b"1"]
        assert time.monotonic() - started > 0.29
        assert server.info("clients")["blocked_clients"] == "0"


def test_client_unblock_ends_a_wait(server, valkey):
    def answers(s):
        out = []
        for how in ([], ["TIMEOUT"], ["ERROR"]):
            with s.raw() as waiter, s.raw() as other:
                number = waiter.do("CLIENT", "ID")
                waiter.do("SET", "w", "1")
                waiter.send(encode("WAIT", 1, 0))
                assert wait_for(lambda: s.info("clients")["blocked_clients"] == "1")
                out.append(other.do("CLIENT", "UNBLOCK", number, *how))
                out.append(waiter.read())
                out.append(other.do("CLIENT", "UNBLOCK", number))
                out.append(waiter.do("PING"))
        return out

    assert answers(server) == answers(valkey)


def test_a_client_that_waits_can_be_killed_and_can_leave(server):
    with server.raw() as waiter, server.raw() as other:
        number = waiter.do("CLIENT", "ID")
        waiter.do("SET", "w", "1")
        waiter.send(encode("WAIT", 1, 0) + encode("SET", "after-wait", "1"))
        assert wait_for(lambda: server.info("clients")["blocked_clients"] == "1")
        assert other.do("CLIENT", "KILL", "ID", number) == 1
        assert waiter.is_closed()
        assert other.do("GET", "after-wait") is None
        leaver = server.raw()
        leaver.do("SET", "w", "1")
        leaver.send(encode("WAIT", 1, 0))
        assert wait_for(lambda: server.info("clients")["blocked_clients"] == "1")
        leaver.close()
        assert wait_for(lambda: server.info("clients")["blocked_clients"] == "0")


@pytest.mark.parametrize("how", ["half", "whole"])
def test_who_goes_while_paused_takes_the_command_along(server, valkey, how):
    """It waited on although nobody was there any more, and its command ran when the pause was over."""

    def answers(s):
        with s.raw() as admin, s.raw() as c:
            admin.do("DEL", "gone-a", "gone-b")
            number = admin.do("CLIENT", "ID")
            assert admin.do("CLIENT", "PAUSE", 60_000, "WRITE") == "OK"
            c.send(encode("GET", "gone-a") + encode("SET", "gone-a", "1") + encode("SET", "gone-b", "1"))
            seen = [c.read()]
            assert wait_for(lambda: s.info("clients")["blocked_clients"] == "1")
            if how == "half":
                c.sock.shutdown(socket.SHUT_WR)
                seen.append(c.is_closed())
            else:
                c.close()
            assert wait_for(lambda: fields(admin.do("CLIENT", "LIST").split(b"\n")[-2])["id"] == str(number))
            assert admin.do("CLIENT", "UNPAUSE") == "OK"
            return seen + [admin.do("GET", "gone-a"), admin.do("GET", "gone-b")]

    assert answers(server) == answers(valkey)


def test_whom_a_pause_holds_back_is_blocked_and_cannot_be_unblocked(server, valkey):
    def answers(s):
        with s.raw() as admin, s.raw() as c, s.raw() as killed:
            numbers = [c.do("CLIENT", "ID"), killed.do("CLIENT", "ID")]
            assert [c.do("MULTI"), c.do("SET", "held", "1")] == ["OK", "QUEUED"]
            assert admin.do("CLIENT", "PAUSE", 60_000, "WRITE") == "OK"
            c.send(encode("EXEC"))
            killed.send(encode("SET", "held", "2"))
            assert wait_for(lambda: s.info("clients")["blocked_clients"] == "2")
            out = [s.info("clients")["clients_in_timeout_table"]]
            out += [fields(admin.do("CLIENT", "LIST", "ID", n))["flags"] for n in numbers]
            out += [admin.do("CLIENT", "UNBLOCK", n, "ERROR") for n in numbers]
            out += [admin.do("CLIENT", "KILL", "ID", numbers[1]), killed.is_closed()]
            assert wait_for(lambda: s.info("clients")["blocked_clients"] == "1")
            assert admin.do("CLIENT", "UNPAUSE") == "OK"
            return out + [c.read(), admin.do("GET", "held"), s.info("clients")["blocked_clients"]]

    assert answers(server) == answers(valkey)


@pytest.mark.slow
def test_a_client_that_goes_right_behind_its_last_bytes_is_noticed(start_server):
    """Multishot receives of some kernels miss an end that comes so: the client stayed for ever, with all that it had sent."""
    s = start_server()
    part = b"*1000\r\n" + b"$20000\r\n%s\r\n" % (b"h" * 20_000) * 300
    with s.raw() as watcher:
        for reset in (True, False) * 4:
            clients = [s.raw(timeout=60) for _ in range(10)]
            for c in clients:
                c.send(part)
            for c in clients:
                if reset:
                    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                c.close()
            assert wait_for(lambda: watcher.do("CLIENT", "LIST").count(b"\n") == 1), watcher.do("CLIENT", "LIST")
