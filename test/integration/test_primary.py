# SPDX-License-Identifier: BSD-3-Clause
"""What a primary does with its replicas besides the stream (test_replication.py): it refuses writes for want of them, and
writes what it sends for who reads it; WAITAOF."""

import signal
import subprocess
import threading

import pytest

from conftest import tls_arguments, tool
from resp import RespError, encode
from server import wait_for
from test_chain import start_kind  # noqa: F401 (a fixture)
from test_follow import follow
from test_replication import Reader, Replica, fill, same

pytestmark = [pytest.mark.row_pair]

TOO_FEW = RespError("NOREPLICAS Not enough good replicas to write.")


def set_config(c, *words):
    assert c.do("CONFIG", "SET", *words) == "OK", words


# ---- min-replicas-to-write


def test_writes_are_refused_for_want_of_replicas(start_server):
    s = start_server()
    with s.raw() as c, s.raw() as other:
        assert "min_slaves_good_slaves" not in s.info("replication")
        assert other.do("MULTI") == "OK" and other.do("SET", "k", "queued") == "QUEUED"
        set_config(c, "min-slaves-to-write", "1")
        assert c.do("CONFIG", "GET", "min-replicas-to-write") == [b"min-replicas-to-write", b"1"]
        assert s.info("replication")["min_slaves_good_slaves"] == "0"
        for i in range(20):  # of any shard
            assert c.do("SET", "k%d" % i, "v") == TOO_FEW
        assert c.do("MSET", "a", "1", "b", "2") == TOO_FEW
        assert c.do("GET", "k0") is None and c.do("PING") == "PONG" and c.do("PUBLISH", "a", "b") == 0
        # What was queued before.
        assert other.do("EXEC") == RespError("EXECABORT Transaction discarded because of: NOREPLICAS Not enough good replicas to write.")
        # What is queued now.
        assert c.do("MULTI") == "OK" and c.do("GET", "k") == "QUEUED" and c.do("SET", "k", "v") == TOO_FEW
        assert c.do("EXEC") == RespError("EXECABORT Transaction discarded because of previous errors.")
        assert c.do("MULTI") == "OK" and c.do("GET", "k") == "QUEUED" and c.do("EXEC") == [None]
        # Scripts, as they write, or before they begin.
        assert str(c.do("EVAL", "return redis.call('set', KEYS[1], 'v')", "1", "k")).startswith("NOREPLICAS Not enough good replicas to write.")
        assert c.do("EVAL", "return redis.call('get', KEYS[1])", "1", "k") is None
        for command in ("EVAL", "EVAL_RO"):
            assert c.do(command, "#!lua\nreturn 1", "0") == TOO_FEW
        assert c.do("EVAL", "#!lua flags=no-writes\nreturn 1", "0") == 1
        assert c.do("MULTI") == "OK" and c.do("EVAL", "#!lua\nreturn 1", "0") == TOO_FEW
        assert str(c.do("EXEC")).startswith("EXECABORT")
        # A lag of zero turns it off.
        set_config(c, "min-replicas-max-lag", "0")
        assert c.do("SET", "k", "v") == "OK"
        assert "min_slaves_good_slaves" not in s.info("replication")
        set_config(c, "min-replicas-max-lag", "10")
        assert c.do("SET", "k", "v") == TOO_FEW
        # A transaction sees it as it began.
        set_config(c, "min-replicas-to-write", "0")
        for words in (("MULTI",), ("SET", "k", "w"), ("CONFIG", "SET", "min-replicas-to-write", "1")):
            assert c.do(*words) in ("OK", "QUEUED")
        assert c.do("EXEC") == ["OK", "OK"]
        assert c.do("GET", "k") == b"w" and c.do("SET", "k", "x") == TOO_FEW


def test_memory_and_replicas_are_refused_in_the_order_of_valkey(start_server):
    s = start_server(min_replicas_to_write=1)
    with s.raw() as c:
        assert c.do("SET", "k", "v") == TOO_FEW  # from the start
        set_config(c, "maxmemory", "1")
        assert str(c.do("EVAL", "return redis.call('set', KEYS[1], 'v')", "1", "k")).startswith("OOM ")


def test_who_keeps_up_lets_writes_in(start_server):
    s = start_server(min_replicas_to_write=1, min_replicas_max_lag=2)
    with s.raw() as c:
        assert c.do("SET", "k", "v") == TOO_FEW
        with Replica("valkey", s) as replica:
            assert wait_for(lambda: c.do("SET", "k", "v") == "OK", 60)
            # It tells once a second where it is: for a moment it may be too late with that, on a busy machine.
            assert wait_for(lambda: s.info("replication")["min_slaves_good_slaves"] == "1")
            set_config(c, "min-replicas-to-write", "2")
            assert c.do("SET", "k", "v") == TOO_FEW
            set_config(c, "min-replicas-to-write", "1")
            assert wait_for(lambda: c.do("SET", "k", "v") == "OK")
            replica.server.stand_still()
            assert wait_for(lambda: c.do("SET", "k", "v") == TOO_FEW, 60)
            set_config(c, "min-replicas-max-lag", "1000000")  # counts for the next command
            assert c.do("SET", "k", "v") == "OK"
            set_config(c, "min-replicas-max-lag", "2")
            assert c.do("SET", "k", "v") == TOO_FEW
            replica.server.proc.send_signal(signal.SIGCONT)
            assert wait_for(lambda: c.do("SET", "k", "v") == "OK", 60)
        assert wait_for(lambda: c.do("SET", "k", "v") == TOO_FEW, 60)


def test_syncs_are_counted_from_resetstat_on(start_server):
    s = start_server()
    with s.raw() as c, Replica("valkey", s) as replica:
        assert wait_for(replica.is_up, 60)
        assert s.info("stats")["sync_full"] == "1"


        def clients():
            return sorted(line.split(b"flags=")[1].split()[0] for line in c.do("CLIENT", "LIST").splitlines())

        # Who asked before may not have gone yet.
        assert wait_for(lambda: clients() == [b"N", b"S"])
        assert wait_for(lambda: s.info_of(c, "clients")["connected_clients"] == "1")  # who asks, and no replica
        assert c.do("CONFIG", "RESETSTAT") == "OK"
        told = s.info("stats")
        assert [told[name] for name in ("sync_full", "sync_partial_ok", "sync_partial_err")] == ["0", "0", "0"]
        assert c.do("CLIENT", "KILL", "TYPE", "replica") == 1
        assert wait_for(lambda: s.info("stats")["sync_partial_ok"] == "1", 60)
        assert s.info("stats")["sync_full"] == "0"


def test_what_a_slow_replica_keeps_is_told(start_server):
    s = start_server(repl_backlog_size=16384)
    with s.raw() as c, Replica("valkey", s) as replica:
        assert wait_for(replica.is_up, 60)
        # It may have the last of its file before this server hears that it is sent.
        assert wait_for(lambda: s.info("memory")["mem_clients_slaves"] == s.info("memory")["mem_replicas_repl_buffer"] == "0")
        replica.server.stand_still()

        def kept():
            assert c.do("SET", "k", "x" * 100_000) == "OK"
            told = s.info("memory")
            assert int(told["mem_total_replication_buffers"]) >= int(told["mem_replication_backlog"]) + int(told["mem_clients_slaves"]) - 16384
            return int(told["mem_clients_slaves"]) > 1 << 20

        assert wait_for(kept, 60)
        assert c.do("MEMORY", "STATS")[c.do("MEMORY", "STATS").index(b"clients.slaves") + 1] > 1 << 20
        replica.server.proc.send_signal(signal.SIGCONT)
        assert wait_for(lambda: s.info("memory")["mem_clients_slaves"] == "0", 60)


# ---- What a reader can hold


@pytest.mark.shoal_only
def test_a_file_is_of_the_version_that_its_reader_knows(start_server):
    s = start_server()
    with s.raw() as c:
        fill(c)
        for says in ((), (("version", "9.1.0"),)):
            reader = Reader(s, says=says)
            assert reader.begin()[2].startswith(b"REDIS0010")
            reader.close()
        c.do("HSET", "fields", "a", "1", "b", "2")
        c.do("HEXPIRE", "fields", "1000", "FIELDS", "1", "a")
        for says in ((), (("version", "8.1.9"),), (("version", "9.0.0"), ("version", "7.2.4"))):
            for asks in (("PSYNC", "?", "-1"), ("SYNC",)):
                reader = Reader(s, *asks, says=says)
                assert reader.line().startswith(b"-ERR hashes have fields with deadlines, which this replica cannot hold"), (says, asks)
                assert wait_for(lambda: reader.raw.sock.recv(1) == b"")  # behind signs of life
                reader.close()
        assert wait_for(lambda: 'one is "fields" (database 0)' in s.log())
        # Beside each other: who can is served.
        old, new = Reader(s), Reader(s, says=(("version", "10.0.0"),))
        assert new.begin()[2].startswith(b"VALKEY080") and old.line().startswith(b"-ERR")
        assert wait_for(lambda: s.info("replication")["connected_slaves"] == "1")
        new.close()
        old.close()
        c.do("HPERSIST", "fields", "FIELDS", "1", "a")
        reader = Reader(s)
        assert reader.begin()[2].startswith(b"REDIS0010")
        reader.close()


@pytest.mark.shoal_only
def test_an_old_replica_comes_when_it_can_hold_all(start_server):
    s = start_server()
    with s.raw() as c:
        c.do("HSET", "fields", "a", "1", "b", "2")
        c.do("HEXPIRE", "fields", "1000", "FIELDS", "1", "a")
        with Replica("valkey", s) as new, Replica("redis", s) as old:
            assert wait_for(new.is_up, 60)
            assert wait_for(lambda: "which this replica cannot hold" in old.server.log(), 60)
            assert not old.is_up() and same(s, new)
            c.do("HDEL", "fields", "a")
            assert wait_for(old.is_up, 60)
            assert same(s, new) and same(s, old)


# ---- What is published


@pytest.mark.shoal_only
def test_what_is_published_is_in_the_stream_behind_what_was_written_before(start_server):
    s = start_server(appendonly="yes")
    reader = Reader(s)
    reader.begin()
    with s.raw(timeout=60) as c:
        for i in range(50):
            c.send(encode("SET", "k%d" % i, i) + encode("PUBLISH", "channel", "k%d" % i))
        assert c.read_some(100)[1::2] == [0] * 50
        c.do("SPUBLISH", "shard", "m\r\n\x00")
        for words in (("MULTI",), ("SET", "in", "1"), ("publish", "channel", "in"), ("EXEC",)):
            c.do(*words)
        c.do("EVAL", "redis.call('SET', KEYS[1], 1) return redis.call('PUBLISH', 'channel', KEYS[1])", "1", "script")
        c.do("CONFIG", "SET", "notify-keyspace-events", "KEA")  # what is told of keys is told there as well
        c.do("SET", "told", "x")
        c.do("SPUBLISH", "", "end-of-it")
    commands = reader.commands(b"end-of-it")
    reader.close()
    assert [command for command in commands if command[0].lower() == b"spublish"] == [[b"SPUBLISH", b"shard", b"m\r\n\x00"], [b"SPUBLISH", b"", b"end-of-it"]]
    published = [command for command in commands if command[0].lower() == b"publish"]
    assert [command[2] for command in published] == [b"k%d" % i for i in range(50)] + [b"in", b"script"]
    there = set()
    for command in commands:
        if command[0] == b"SET":
            there.add(command[1])
        elif command[0].lower() == b"publish":
            assert command[2] in there
    s.proc.kill()  # and not in the log
    s.proc.wait()
    s.start_again()
    with s.raw() as c:
        assert c.do("DBSIZE") == 53


def test_who_listens_at_a_replica_hears_it(start_server):
    s = start_server()
    with Replica("valkey", s) as replica:
        assert wait_for(replica.is_up, 60)
        with s.raw(timeout=60) as c, replica.server.raw(timeout=60) as r:
            for words in (("SUBSCRIBE", "a"), ("PSUBSCRIBE", "b*"), ("SSUBSCRIBE", "c")):
                r.do(*words)
            for i in range(20):
                for words in (("PUBLISH", "a", i), ("PUBLISH", "bb", i), ("SPUBLISH", "c", i)):
                    assert c.do(*words) == 0
                n = b"%d" % i
                assert r.read_some(3) == [[b"message", b"a", n], [b"pmessage", b"b*", b"bb", n], [b"smessage", b"c", n]]
        assert same(s, replica)


# ---- WAIT


def test_wait_for_no_more_than_there_are_says_how_many(start_server):
    """So it is in Valkey; and a script, which has written nothing when it begins, is told of all that say how far they are."""
    s = start_server(repl_ping_replica_period=3600)
    script = "return {redis.call('WAIT', 0, 0), redis.call('WAIT', 5, 0), redis.pcall('WAIT', 'x', 0).err}"
    wrong = b"ERR value is not an integer or out of range"
    with s.raw(timeout=60) as c:
        assert c.do("WAIT", "0", "0") == c.do("WAIT", "-1", "0") == 0
        assert c.do("EVAL", script, "0") == [0, 0, wrong]
        with Replica("valkey", s) as replica:
            assert wait_for(replica.is_up, 60)
            c.do("SET", "k", "v")
            assert c.do("WAIT", "1", "0") == 1
            assert wait_for(lambda: c.do("WAIT", "0", "0") == 1 and c.do("WAIT", "-1", "1") == 1, 60)
            assert wait_for(lambda: c.do("EVAL", script, "0") == [1, 1, wrong], 60)
            assert c.do("EVAL", script, "2", "a", "b") == [1, 1, wrong]
        assert wait_for(lambda: c.do("EVAL", script, "0") == [0, 0, wrong], 60)


@pytest.mark.shoal_only
@pytest.mark.parametrize("kind", ("shoal", "valkey"))
def test_a_script_is_told_of_those_that_have_it(start_kind, kind):  # noqa: F811
    """It was told of all that are connected, also of one that stands still."""
    s, a, b = start_kind(kind), start_kind("shoal"), start_kind("shoal")
    follow(a, s)
    follow(b, s)
    script = "return redis.call('WAIT', '2', '0')"
    with s.raw(timeout=60) as c:
        c.do("SET", "k", "v")
        assert wait_for(lambda: c.do("EVAL", script, "0") == 2, 60)
        b.stand_still()
        c.do("SET", "k", "w")
        assert c.do("WAIT", "1", "0") == 1
        assert wait_for(lambda: c.do("EVAL", script, "0") == 1, 60)
        b.proc.send_signal(signal.SIGCONT)
        assert wait_for(lambda: c.do("EVAL", script, "0") == 2, 60)
        a.stand_still()
        b.stand_still()
        c.send(encode("SET", "k", "x") + encode("EVAL", script, "0"))  # of a write that has not left yet, either
        assert [c.read(), c.read()] == ["OK", 0]
        a.proc.send_signal(signal.SIGCONT)
        b.proc.send_signal(signal.SIGCONT)


# ---- WAITAOF

NO_LOG = RespError("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.")

WAITAOF = [
    (("0", "0", "0"), [0, 0]),
    (("1", "0", "0"), NO_LOG),
    (("2", "0", "0"), RespError("ERR value is out of range, value must between 0 and 1")),
    (("-1", "0", "0"), RespError("ERR value is out of range, value must between 0 and 1")),
    (("99999999999", "0", "0"), RespError("ERR value is out of range, value must between 0 and 1")),
    (("x", "0", "0"), RespError("ERR value is not an integer or out of range")),
    (("0", "-1", "0"), RespError("ERR value is out of range, must be positive")),
    (("0", "0", "-1"), RespError("ERR timeout is negative")),
    (("0", "0", "x"), RespError("ERR timeout is not an integer or out of range")),
    (("2", "-1", "x"), RespError("ERR value is out of range, value must between 0 and 1")),
    (("1", "-1", "x"), RespError("ERR value is out of range, must be positive")),
    (("0", "1", "30"), [0, 0]),
]


def test_waitaof_takes_what_valkey_takes(start_server):
    s = start_server()
    with s.raw(timeout=60) as c:
        for words, reply in WAITAOF:
            assert c.do("WAITAOF", *words) == reply, words
        assert c.do("EVAL", "return redis.call('WAITAOF', 0, 1, 0)", "0") == [0, 0]
        assert str(c.do("EVAL", "return redis.call('WAITAOF', 1, 1, 0)", "0")).startswith(str(NO_LOG))
        for words in (("MULTI",), ("WAITAOF", "0", "1", "0"), ("WAITAOF", "1", "1", "0")):
            c.do(*words)
        assert c.do("EXEC") == [[0, 0], NO_LOG]


@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_waitaof_waits_for_the_disk_here(start_server, policy):
    s = start_server(appendonly="yes", appendfsync=policy)
    with s.raw(timeout=60) as c, s.raw() as other:
        for i in range(3):
            c.do("SET", "k%d" % i, i)
            assert c.do("WAITAOF", "1", "0", "0") == [1, 0]
        c.send(encode("SET", "k", "v") + encode("WAITAOF", "1", "0", "0") + encode("MULTI") + encode("WAITAOF", "1", "1", "0") + encode("EXEC"))
        assert c.read_some(5) == ["OK", [1, 0], "OK", "QUEUED", [[1, 0]]]
        assert c.do("WAITAOF", "1", "1", "50") == [1, 0]
        # Who waits is told when there is no log any more, or somebody has enough of it.
        c.send(encode("WAITAOF", "1", "1", "0"))
        assert wait_for(lambda: s.info("clients")["blocked_clients"] == "1")
        set_config(other, "appendonly", "no")
        assert c.read() == NO_LOG
        client = c.do("CLIENT", "ID")
        c.send(encode("WAITAOF", "0", "1", "0"))
        assert wait_for(lambda: s.info("clients")["blocked_clients"] == "1")
        assert other.do("CLIENT", "UNBLOCK", client) == 1
        assert c.read() == [0, 0]
        c.send(encode("WAITAOF", "0", "1", "0"))
        assert wait_for(lambda: s.info("clients")["blocked_clients"] == "1")
        assert other.do("CLIENT", "UNBLOCK", client, "ERROR") == 1
        assert str(c.read()).startswith("UNBLOCKED ")


def test_waitaof_waits_for_the_disks_of_replicas(start_server):
    s = start_server(appendonly="yes")
    with Replica("valkey", s, appendonly="yes") as replica, Replica("valkey", s) as without:
        assert wait_for(lambda: replica.is_up() and without.is_up(), 60)
        with s.raw(timeout=60) as c:
            c.do("SET", "k", "v")
            assert c.do("WAITAOF", "0", "1", "0")[1] == 1
            assert c.do("WAITAOF", "1", "1", "0") == [1, 1]
            assert c.do("WAIT", "2", "0") == 2
            assert c.do("WAITAOF", "1", "2", "50") == [1, 1]

            def write():
                with s.raw(timeout=60) as other:
                    for i in range(5):
                        assert other.do("INCR", "n") == i + 1
                        assert other.do("WAITAOF", "1", "1", "0") == [1, 1]

            writer = threading.Thread(target=write)
            writer.start()
            writer.join(200)
            assert not writer.is_alive()
            replica.server.stand_still()
            c.do("SET", "k", "w")
            assert c.do("WAITAOF", "0", "1", "50")[1] == 0
            assert c.do("WAITAOF", "1", "0", "0") == [1, 0]
            replica.server.proc.send_signal(signal.SIGCONT)
            assert c.do("WAITAOF", "1", "1", "0") == [1, 1]


@pytest.mark.shoal_only
def test_what_a_replica_says_of_its_disk_counts(start_server):
    """FACK behind ACK: of nobody who has not asked for the stream, and never less than it was."""
    s = start_server()
    reader = Reader(s)
    _, offset, _ = reader.begin()
    with s.raw(timeout=60) as c:
        assert c.do("REPLCONF", "listening-port", "1") == "OK"
        c.do("SET", "k", "v")
        reader.commands(b"v")
        for words, count in ((("ACK", "1000000"), 0), (("ACK", "1000000", "FACK", "x"), 0), (("ACK", "1000000", "FACK", offset), 0), (("ACK", "1", "FACK", "1000000"), 1), (("ACK", "1", "FACK", "1"), 1)):
            reader.raw.sock.sendall(encode("REPLCONF", *words))
            if count:
                assert c.do("WAITAOF", "0", "1", "0") == [0, 1]
            else:
                assert c.do("WAITAOF", "0", "1", "30") == [0, 0]
        assert wait_for(lambda: "offset=1000000" in s.info("replication")["slave0"])
    reader.close()


# ---- Only the file


@pytest.mark.shoal_only
def test_who_wants_the_file_alone_gets_no_more(start_server):
    s = start_server()
    with s.raw() as c:
        fill(c)
        c.do("FUNCTION", "LOAD", "#!lua name=lib\nserver.register_function('f', function() return 1 end)")
        for asks in (("SYNC",), ("PSYNC", "?", "-1")):
            reader = Reader(s, *asks, says=(("capa", "eof"), ("rdb-only", "1")))
            file = reader.begin()[2] if asks[0] == "PSYNC" else reader.file()
            assert file.startswith(b"REDIS0010") and b"k299" in file and b"lib" in file
            c.do("SET", "behind", "x")
            assert reader.data == b"" and reader.raw.sock.recv(1) == b""
            reader.close()
        reader = Reader(s, "SYNC", says=(("rdb-only", "1"), ("rdb-filter-only", "functions")))
        file = reader.file()
        assert file.startswith(b"REDIS0010") and b"k299" not in file and b"lib" in file and len(file) < 500
        assert reader.raw.sock.recv(1) == b""
        reader.close()
        for says in ((("rdb-filter-only", "functions"),), (("rdb-only", "1"), ("rdb-filter-only", "functions"), ("rdb-only", "0"))):
            for asks in (("SYNC",), ("PSYNC", "?", "-1")):
                reader = Reader(s, *asks, says=says)
                assert reader.line() == b"-ERR a filtered RDB file is for SYNC with rdb-only"
                reader.close()
        # Taken back: all of it, and the stream.
        reader = Reader(s, says=(("rdb-only", "1"), ("rdb-filter-only", "functions"), ("rdb-only", "0"), ("rdb-filter-only", "")))
        assert b"k299" in reader.begin()[2]
        c.do("SET", "behind", "end-of-it")
        reader.commands(b"end-of-it")
        reader.close()
        assert wait_for(lambda: s.info("replication")["connected_slaves"] == "0")


@pytest.mark.parametrize("name", ["valkey-cli", "redis-cli"])
def test_tools_that_take_a_backup(start_server, tmp_path, name):
    s = start_server()
    with s.raw() as c:
        fill(c)
        c.do("FUNCTION", "LOAD", "#!lua name=lib\nserver.register_function('f', function() return 1 end)")
    for option, has_keys in (("--rdb", True), ("--functions-rdb", False)):
        path = tmp_path / ("%s%s.rdb" % (name, option))
        done = subprocess.run([tool(name), "-p", str(s.port), *tls_arguments(), option, str(path)], capture_output=True, timeout=60)
        assert done.returncode == 0, done
        file = path.read_bytes()
        assert (b"k299" in file) == has_keys and b"lib" in file
        checked = subprocess.run([tool("valkey-check-rdb"), str(path)], capture_output=True, timeout=60)
        assert checked.returncode == 0, checked
    assert wait_for(lambda: s.info("replication")["connected_slaves"] == "0")
