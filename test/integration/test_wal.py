# SPDX-License-Identifier: BSD-3-Clause
"""The log: what was answered is there after kill -9, a log begins and ends while clients write, grows and is rewritten; and what
happens when it cannot be written."""

import errno
import os
import random
import re
import resource
import subprocess
import threading
import time

import pytest

import kills
from failing_disk import FailingDisk
from resp import RespError, encode
from server import ServerFailed, free_port, wait_for
from slots import tag_of
from test_effects import ask_abreast, write_in_pairs
from test_shards import key_in

pytestmark = [pytest.mark.row_pair, pytest.mark.shoal_only]

MODES = ["always", "everysec", "no"]


def said(c):
    return dict(line.split(":", 1) for line in c.do("INFO", "persistence").decode().splitlines() if ":" in line)


def rewritten(c):
    return wait_for(lambda: said(c)["aof_rewrite_in_progress"] == "0" and said(c)["aof_rewrite_scheduled"] == "0", 60)


def killed(server):
    server.proc.kill()
    server.proc.wait()
    server.start_again()


@pytest.mark.parametrize("mode", MODES)
def test_what_was_answered_is_there_after_kill_9(start_server, mode):
    s = start_server(appendonly="yes", appendfsync=mode, auto_aof_rewrite_min_size="64kb")
    seed = random.getrandbits(32)
    rng = random.Random(seed)
    clients = [kills.Client(i, rng.getrandbits(32)) for i in range(6)]

    def crash():
        s.proc.kill()
        s.proc.wait()

    for _ in range(4):
        refused = kills.run(clients, s.port, crash, rng.uniform(0.05, 0.5))
        s.start_again()
        assert kills.check(clients, s.port) == [], seed
        assert refused == [], seed


@pytest.mark.parametrize("mode", MODES)
def test_flushes_and_swaps_have_their_place_after_kill_9(start_server, mode):
    s = start_server(appendonly="yes", appendfsync=mode, auto_aof_rewrite_min_size="64kb")
    seed = random.getrandbits(32)
    sequence = kills.Sequence(seed)

    def crash():
        s.proc.kill()
        s.proc.wait()

    for _ in range(4):
        sequence.run(s.port, crash, sequence.rng.uniform(0.05, 0.4))
        s.start_again()
        assert sequence.check(s.port) == [], seed
    with s.raw() as c:
        c.do("SET", "of-somebody-else", "1")
    assert sequence.check(s.port) != []


def test_what_scripts_do_to_all_keys_has_its_place_after_kill_9(start_server):
    """The server ended: a script does it before the command returns, and nobody had said that it is logged."""
    s = start_server(appendonly="yes", appendfsync="always")
    for name, words in (("FLUSHALL", ""), ("FLUSHDB", ", 'ASYNC'"), ("SWAPDB", ", 0, 1"), ("SWAPDB", ", 1, 1")):
        with s.raw() as c:
            for i in range(20):
                c.do("SET", "before:%d" % i, "x")
            script = "redis.call('SET', 'in', 'a') redis.call('%s'%s) redis.call('SET', 'after', 'b') return 1" % (name, words)
            assert c.do("EVAL", script, "1", "k") == 1
            assert c.do("EVAL", script, "0") == 1
            c.do("SET", "behind", "c")
            digest = c.do("DEBUG", "DIGEST")
        killed(s)
        with s.raw() as c:
            assert c.do("DEBUG", "DIGEST") == digest, name


def test_every_type_every_database_and_what_happens_to_whole_ones(start_server):
    s = start_server(appendonly="yes")
    with s.raw() as c:
        for db in (0, 3):
            c.do("SELECT", db)
            c.do("SET", "s", "1", "EX", "1000"), c.do("RPUSH", "l", "a", "b"), c.do("SADD", "set", "x", "7"), c.do("ZADD", "z", "1.5", "m")
            c.do("HSET", "h", "f", "v", "g", "w"), c.do("HPEXPIRE", "h", "1000000", "FIELDS", "1", "f")
            c.do("XADD", "x", "1-1", "k", "v"), c.do("XGROUP", "CREATE", "x", "g", "0"), c.do("XREADGROUP", "GROUP", "g", "me", "STREAMS", "x", ">")
            c.do("PFADD", "p", "a", "b"), c.do("SETRANGE", "s2", "5", b"\x00\r\n")
        c.do("SELECT", 5), c.do("SET", "gone", "1"), c.do("FLUSHDB")
        c.do("SWAPDB", 3, 4)
        c.do("SELECT", 0), c.do("MOVE", "l", 9), c.do("COPY", "z", "zz", "DB", 9), c.do("RENAME", "set", "set2")
        c.do("SUNIONSTORE", "u", "set2", "none"), c.do("SPOP", "u"), c.do("INCRBYFLOAT", "f", "1.25")
        before = c.do("DEBUG", "DIGEST")
    killed(s)
    with s.raw() as c:
        assert c.do("DEBUG", "DIGEST") == before
        c.do("FLUSHALL"), c.do("SET", "after", "1")
    killed(s)
    with s.raw() as c:
        assert (c.do("DBSIZE"), c.do("GET", "after")) == (1, b"1")


def test_streams_with_groups_go_from_shard_to_shard(start_server):
    """What makes them at the other shard came behind what takes them away here, and XGROUP was taken for a command about whole
    databases, which is done once: the next start was refused."""
    s = start_server(appendonly="yes")
    with s.raw() as c:
        for i in range(12):
            name = "s%d" % i
            c.do("XADD", name, "1-1", "k", "v"), c.do("XGROUP", "CREATE", name, "g", "0")
            c.do("XREADGROUP", "GROUP", "g", "me", "STREAMS", name, ">")
            c.do("COPY", name, "copy%d" % i), c.do("RENAME", name, "new%d" % i)
        c.do("MULTI"), [c.do("RENAME", "new%d" % i, "last%d" % i) for i in range(12)], c.do("EXEC")
        before = c.do("DEBUG", "DIGEST")
    killed(s)
    with s.raw() as c:
        assert c.do("DEBUG", "DIGEST") == before
        assert c.do("XPENDING", "last7", "g")[0] == 1


def test_commands_of_a_transaction_run_in_their_order(start_server):
    """FLUSHDB and SWAPDB are all shards', so each part has them among its own."""
    s = start_server(appendonly="yes")
    keys = ["k%d" % i for i in range(12)]
    with s.raw() as c:
        c.do("MULTI")
        for key in keys:
            c.do("SET", key, "before")
        c.do("FLUSHDB")
        for key in keys[::2]:
            c.do("SET", key, "between")
        c.do("SWAPDB", 0, 1)
        for key in keys[1::2]:
            c.do("RPUSH", key, "after")
        assert len(c.do("EXEC")) == 2 + 12 + 6 + 6
        before = c.do("DEBUG", "DIGEST")
    killed(s)
    with s.raw() as c:
        assert c.do("DEBUG", "DIGEST") == before
        assert c.do("DBSIZE") == 6


def test_keys_that_ran_out_do_not_come_back(start_server):
    s = start_server(appendonly="yes")
    with s.raw() as c:
        c.do("SET", "short", "1", "PX", "30"), c.do("SET", "long", "1", "PX", "100000"), c.do("HSET", "h", "f", "1", "g", "2")
        c.do("HPEXPIRE", "h", "30", "FIELDS", "1", "f")
        assert wait_for(lambda: c.do("EXISTS", "short") == 0 and c.do("HLEN", "h") == 1)
        c.do("INCR", "short")  # it has no deadline now
    killed(s)
    with s.raw() as c:
        assert c.do("GET", "short") == b"1" and c.do("TTL", "short") == -1
        assert 0 < c.do("PTTL", "long") <= 100000
        assert c.do("HGETALL", "h") == [b"g", b"2"]


def run_out(c, count):
    """Names of keys that are over, of which nobody has been told; each is new, so that no key of these is one of before."""
    assert c.do("DEBUG", "SET-ACTIVE-EXPIRE", "0") == "OK"
    keys = ["over:%d" % i for i in range(count)]
    c.send(b"".join(encode("SET", key, "v", "PX", "1") for key in keys))
    assert [c.read() for _ in keys] == ["OK"] * len(keys)
    time.sleep(0.01)
    return keys


def all_at_once(threads):
    for thread in threads:
        thread.start()
    return [thread.join() for thread in threads]


def same_after_kill_9(server, keys):
    """The data, and the keys: those that live, with all that was put there, have no deadline."""
    with server.raw(timeout=60) as c:
        c.do("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        before = c.do("DEBUG", "DIGEST"), [c.do("LLEN", key) for key in keys]
    killed(server)
    with server.raw(timeout=60) as c:
        return (c.do("DEBUG", "DIGEST"), [c.do("LLEN", key) for key in keys]) == before


@pytest.mark.several_shards
def test_what_is_over_stands_in_the_log_before_what_comes_in_its_place(start_server, shards):
    """As in test_effects.py: told of behind what a transaction put there, a key that was over takes that away at the next start."""
    s = start_server(appendonly="yes", appendfsync="no")
    with s.raw(timeout=60) as c:
        keys = run_out(c, 6000)
        works = [threading.Thread(target=write_in_pairs, args=(s, keys[i::6], key_in(i % shards, shards, "count%d" % i))) for i in range(6)]
        works.append(threading.Thread(target=c.do, args=("DEBUG", "SET-ACTIVE-EXPIRE", "1")))
        all_at_once(works)
        assert c.do("EXISTS", *keys) == len(keys)
    assert same_after_kill_9(s, keys)


@pytest.mark.several_shards
def test_what_a_transaction_finds_over_stands_in_the_log_before_it_lets_go(start_server, shards):
    """As in test_effects.py: with keys that others fill while it begins anew."""
    s = start_server(appendonly="yes", appendfsync="no")
    with s.raw(timeout=60) as c:
        keys = run_out(c, 3000)
    there = [key_in(i, shards, "there%d" % i) for i in range(shards)]
    orders = [[("RENAME", key, there[(i + j) % shards]) for j, key in enumerate(keys)] for i in range(4)]
    orders += [[("RPUSH", key, "v") for key in keys]] * 2
    abreast = threading.Barrier(len(orders))
    all_at_once([threading.Thread(target=ask_abreast, args=(s, order, abreast)) for order in orders])
    assert same_after_kill_9(s, keys)


def test_a_log_begins_and_ends_at_run_time(start_server):
    s = start_server()
    with s.raw() as c:
        c.do("SET", "before", "1")
        assert said(c)["aof_enabled"] == "0"
        assert c.do("CONFIG", "SET", "appendonly", "yes") == "OK"
        assert rewritten(c)
        assert said(c)["aof_enabled"] == "1"
        c.do("SET", "during", "2")
    s.config["appendonly"] = "yes"
    killed(s)
    with s.raw() as c:
        assert c.do("MGET", "before", "during") == [b"1", b"2"]
        assert c.do("CONFIG", "SET", "appendonly", "no") == "OK"
        assert wait_for(lambda: said(c)["aof_enabled"] == "0")
        c.do("SET", "not-logged", "3")
        assert c.do("CONFIG", "SET", "appendonly", "yes") == "OK"
        assert rewritten(c)
        c.do("SET", "again", "4")
    killed(s)
    with s.raw() as c:
        assert c.do("MGET", "before", "during", "not-logged", "again") == [b"1", b"2", b"3", b"4"]


def gathered(c):
    return [int(n) for n in re.findall(r"gathered=(\d+)", c.do("INFO", "shards").decode())]


def some_of_all(c):
    """Writes and reads of one key, of many, and of all."""
    keys = ["k%d" % i for i in range(40)]
    c.do("MSET", *[word for key in keys for word in (key, "v")])
    c.do("MULTI"), [c.do("INCR", "n%s" % key) for key in keys], c.do("EXEC")
    for key in keys:
        c.do("APPEND", key, "w"), c.do("GET", key)
    c.do("RENAME", "k1", "k2"), c.do("COPY", "k3", "k4", "REPLACE"), c.do("DEL", *keys)
    c.do("FLUSHALL")


@pytest.mark.slow
def test_nothing_is_gathered_without_a_log(start_server):
    """Until it began again after CONFIG SET appendonly no, a log that was off made servers gather all that writes did."""
    s = start_server()
    with s.raw() as c:
        some_of_all(c)
        assert set(gathered(c)) == {0}
        for _ in range(2):
            c.do("CONFIG", "SET", "appendonly", "yes")
            assert rewritten(c) and wait_for(lambda: said(c)["aof_enabled"] == "1")
            before = gathered(c)
            some_of_all(c)
            assert all(now > then for now, then in zip(gathered(c), before))
            c.do("CONFIG", "SET", "appendonly", "no")
            assert wait_for(lambda: said(c)["aof_enabled"] == "0")
            some_of_all(c)  # a worker that has not heard of it yet has now
            before = gathered(c)
            some_of_all(c)
            c.do("BGSAVE")
            assert wait_for(lambda: said(c)["rdb_bgsave_in_progress"] == "0")
            some_of_all(c)
            assert gathered(c) == before


@pytest.mark.slow
def test_transactions_that_have_waited_for_the_beginning_of_a_log_are_whole(start_server):
    """Clients that always wait for locks somewhere, while it begins and ends, and the server is killed as soon as it promises."""
    s = start_server(appendfsync="no", auto_aof_rewrite_percentage="0")
    seed = random.getrandbits(32)
    rng = random.Random(seed)
    clients = [kills.Client(i, rng.getrandbits(32)) for i in range(6)]

    def crash():
        with s.raw() as c:
            for _ in range(2):
                c.do("CONFIG", "SET", "appendonly", "yes")
                assert rewritten(c) and wait_for(lambda: said(c)["aof_enabled"] == "1")
                c.do("CONFIG", "SET", "appendonly", "no")
                assert wait_for(lambda: said(c)["aof_enabled"] == "0")
            c.do("CONFIG", "SET", "appendonly", "yes")
            assert rewritten(c) and wait_for(lambda: said(c)["aof_enabled"] == "1")
        s.proc.kill()
        s.proc.wait()

    for _ in range(2):
        kills.run(clients, s.port, crash, 0.1)
        s.config["appendonly"] = "yes"
        s.start_again()
        assert kills.check(clients, s.port) == [], seed
        with s.raw() as c:
            c.do("CONFIG", "SET", "appendonly", "no")
            assert wait_for(lambda: said(c)["aof_enabled"] == "0")


def test_a_rewrite_while_clients_write_makes_the_log_small(start_server):
    s = start_server(appendonly="yes", appendfsync="no", auto_aof_rewrite_percentage="0")
    with s.raw() as c:
        for _ in range(3000):
            c.send(kills.encode("SET", "same", "x" * 100))
        for _ in range(3000):
            c.read()
        large = int(said(c)["aof_current_size"])
        assert c.do("BGREWRITEAOF") == "Background append only file rewriting started"
        assert rewritten(c)
        assert int(said(c)["aof_current_size"]) < large / 2
        assert c.do("SET", "then", "1") == "OK"
        before = c.do("DEBUG", "DIGEST")
    killed(s)
    with s.raw() as c:
        assert c.do("DEBUG", "DIGEST") == before


def test_it_is_rewritten_when_it_has_grown(start_server):
    s = start_server(appendonly="yes", appendfsync="no", auto_aof_rewrite_min_size="16kb")
    with s.raw() as c:
        for i in range(3000):
            c.send(kills.encode("SET", "same", os.urandom(60).hex()))
        for _ in range(3000):
            c.read()
        assert wait_for(lambda: int(said(c)["aof_rewrites"]) > 0 and rewritten(c))
        before = c.do("DEBUG", "DIGEST")
    killed(s)
    with s.raw() as c:
        assert c.do("DEBUG", "DIGEST") == before


def test_another_number_of_shards_reads_it(start_server):
    s = start_server(appendonly="yes")
    with s.raw() as c:
        for i in range(200):
            c.do("MSET", *[w for j in range(4) for w in ("k%d-%d" % (i, j), i)])
            c.do("RENAME", "k%d-0" % i, "r%d" % i)
        before = c.do("DEBUG", "DIGEST")
    for shards in (3, 1, 2):
        s.config["shards"] = shards
        killed(s)
        with s.raw() as c:
            assert c.do("DEBUG", "DIGEST") == before
            c.do("MSET", "a%d" % shards, 1, "b%d" % shards, 2, "c%d" % shards, 3)
            before = c.do("DEBUG", "DIGEST")


def test_a_dump_of_another_server_is_the_beginning_of_a_log(start_server):
    s = start_server(save_format="rdb")
    with s.raw() as c:
        c.do("SET", "old", "1"), c.do("SAVE")
    s.config["appendonly"] = "yes"
    killed(s)
    with s.raw() as c:
        assert c.do("GET", "old") == b"1"
        c.do("SET", "new", "2")
    killed(s)
    with s.raw() as c:
        assert c.do("MGET", "old", "new") == [b"1", b"2"]


def test_a_torn_end_is_cut_and_told(start_server):
    s = start_server(appendonly="yes", shards=1)
    with s.raw() as c:
        c.do("SET", "a", "1"), c.do("SET", "b", "2")
    s.proc.kill()
    s.proc.wait()
    folder = os.path.join(s.dir, "appendonlydir")
    largest = max((os.path.join(folder, n) for n in os.listdir(folder) if n.endswith(".segment")), key=os.path.getsize)
    with open(largest, "r+b") as f:
        f.truncate(os.path.getsize(largest) - 3)
    s.start_again()
    with s.raw() as c:
        assert c.do("MGET", "a", "b") == [b"1", None]
    assert "ends in the middle of a write" in s.log()


def test_bytes_that_changed_and_segments_that_are_missing_are_refused(start_server):
    s = start_server(appendonly="yes", appendfsync="always", shards=1)
    with s.raw() as c:
        for i in range(20):
            c.do("SET", "k%d" % i, "v")
    s.proc.kill()
    s.proc.wait()
    folder = os.path.join(s.dir, "appendonlydir")
    largest = max((os.path.join(folder, n) for n in os.listdir(folder) if n.endswith(".segment")), key=os.path.getsize)
    with open(largest, "rb") as f:
        whole = f.read()
    with open(largest, "wb") as f:
        f.write(whole[:400] + bytes([whole[400] ^ 1]) + whole[401:])
    with pytest.raises(ServerFailed, match="shoal-check"):
        s.start_again()
    os.rename(largest, largest + ".away")
    with pytest.raises(ServerFailed, match="cannot be opened"):
        s.start_again()
    with open(largest, "wb") as f:
        f.write(whole)
    s.start_again()
    with s.raw() as c:
        assert c.do("DBSIZE") == 20


def test_two_servers_do_not_share_a_directory(start_server):
    s = start_server(appendonly="yes")
    other = subprocess.run([s.binary, "--port", str(free_port()), "--dir", s.dir, "--appendonly", "yes"],
                           capture_output=True, text=True, timeout=60)
    assert other.returncode != 0 and "Another process" in other.stderr


def test_a_disk_that_is_full_is_told_and_forgotten(start_server):
    """A limit on the size of files stands for a disk that is full."""
    s = start_server(appendonly="yes", appendfsync="always")
    with s.raw() as c:
        c.do("SET", "kept", "1")
        resource.prlimit(s.proc.pid, resource.RLIMIT_FSIZE, (1 << 16, resource.RLIM_INFINITY))
        with s.raw() as writer:
            refused = None
            try:
                for i in range(2000):
                    reply = writer.do("SET", "big%d" % i, os.urandom(2000).hex())
                    if isinstance(reply, RespError):
                        refused = reply
                        break
            except (OSError, EOFError):
                refused = "closed"
            assert refused is not None
        assert wait_for(lambda: isinstance(asked(s, "SET", "probe", "1"), RespError))
        with s.raw() as d:
            error = d.do("SET", "x", "1")
            assert error.startswith("MISCONF Errors writing to the AOF file: "), error
            assert d.do("GET", "kept") == b"1"
            assert said(d)["aof_last_write_status"] == "err"
        resource.prlimit(s.proc.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert wait_for(lambda: s_set(s) == "OK", 30)
        with s.raw() as d:
            assert wait_for(lambda: said(d)["aof_last_write_status"] == "ok")
            before = d.do("DEBUG", "DIGEST")
    killed(s)
    with s.raw() as d:
        assert d.do("DEBUG", "DIGEST") == before


@pytest.mark.parametrize("how", ["SHUTDOWN", "SIGTERM", "SHUTDOWN FORCE", "SHUTDOWN NOSAVE"])
def test_it_ends_when_the_disk_is_well_again_or_if_forced(start_server, how):
    """While nothing can be saved it stays; as soon as it can, one word is enough, whatever the log still lacks."""
    s = start_server(appendonly="yes", save="3600 1")
    in_the_way = os.path.join(s.dir, "appendonlydir", "log-0-3.segment")  # of the segment after the next
    os.mkdir(in_the_way)
    with s.raw() as c:
        c.do("SET", "kept", "1")
        assert c.do("BGREWRITEAOF") == "Background append only file rewriting started" and rewritten(c)
        assert wait_for(lambda: "The next segments of the log cannot be made" in s.log())
        assert str(c.do("SAVE")) == "ERR"
        assert str(c.do("SHUTDOWN")) == "ERR Errors trying to SHUTDOWN. Check logs."
        s.proc.terminate()
        assert wait_for(lambda: s.log().count("Errors trying to shut down the server.") == 2)
        assert c.do("GET", "kept") == b"1" and c.do("SET", "kept", "2") == "OK"
        if " " not in how:
            os.rmdir(in_the_way)
        if how == "SIGTERM":
            s.proc.terminate()
        else:
            c.send(encode(*how.split()))
        assert s.wait() == 0
    if os.path.isdir(in_the_way):
        os.rmdir(in_the_way)
    s.start_again()
    with s.raw() as c:
        assert c.do("GET", "kept") == b"2"
        assert c.do("SET", "then", "1") == "OK"


FAILURES = [("w", "ENOSPC"), ("w", "EDQUOT"), ("w", "EIO"), ("s", "EIO"), ("s", "ENOSPC"), ("s", "EDQUOT"), ("ow", "EROFS"), ("ows", "EROFS")]


@pytest.mark.row_once
@pytest.mark.parametrize("mode", ["always", "everysec"])
@pytest.mark.parametrize("calls, error", FAILURES)
def test_a_disk_that_fails_acknowledges_nothing_and_is_trusted_again_after_a_snapshot(start_server, slow, mode, calls, error):
    if slow > 1:
        pytest.skip("a sanitizer wants to be the first library")  # and so does the one that fails
    s = start_server(start=False, appendonly="yes", appendfsync=mode, io_backend="epoll")
    disk = FailingDisk(s)
    s.start()
    acked, refused = {}, set()
    number = iter(range(1 << 30))

    def one(name):
        """Whether it was acknowledged; a key of its own, so nothing later hides what became of it."""
        key = b"%s%d" % (name, next(number))
        ok = asked(s, "SET", key, key + b"=") == "OK"
        acked.update({key: key + b"="} if ok else {})
        refused.update(() if ok else (key,))
        return ok

    def kept():
        """Is what was acknowledged, with its value, and what was not has that or none."""
        with s.raw() as d:
            assert {key: d.do("GET", key) for key in acked} == acked
            assert {d.do("GET", key) for key in refused} <= {None} | {key + b"=" for key in refused}

    for then in ("killed", "mended"):
        assert all(one(b"before") for _ in range(30))
        disk.fails(calls, getattr(errno, error))
        # Without a sync behind each write a sync that fails is seen after a second; from then on nothing is acknowledged.
        if calls == "s" and mode == "everysec":
            assert wait_for(lambda: not one(b"failing"), 60)
        assert [name for name in range(20) if one(b"failing")] == []
        assert wait_for(lambda: isinstance(asked(s, "SET", "probe", "no"), RespError), 60)
        assert [name for name in range(20) if one(b"failing")] == []
        with s.raw() as d:
            refusal = d.do("SET", "before1", "no")
            assert str(refusal) == "MISCONF Errors writing to the AOF file: " + os.strerror(getattr(errno, error)), refusal
            d.do("MULTI"), d.do("SET", "before1", "no"), d.do("SET", "before2", "no")
            assert isinstance(d.do("EXEC"), RespError)
            assert d.do("EXISTS", *acked) == len(acked)
            assert said(d)["aof_last_write_status"] == "err"
        if then == "killed":
            s.proc.kill()
            s.proc.wait()
            disk.works()
            s.start_again()
            kept()
    disk.works()
    assert wait_for(lambda: asked(s, "SET", "probe", "1") == "OK", 60)
    assert all(one(b"after") for _ in range(30))
    killed(s)
    kept()


@pytest.mark.row_once
def test_a_failed_attempt_to_begin_again_leaves_the_log_failed(start_server, slow):
    """INFO said that the last write was well, and writes were refused."""
    if slow > 1:
        pytest.skip("a sanitizer wants to be the first library")  # and so does the one that fails
    s = start_server(start=False, appendonly="yes", appendfsync="always", io_backend="epoll")
    disk = FailingDisk(s)
    s.start()
    assert asked(s, "SET", "k", "v") == "OK"
    disk.fails("w", errno.ENOSPC)
    assert wait_for(lambda: isinstance(asked(s, "SET", "probe", "no"), RespError))
    # Or nothing is tried, if the next segments were not there yet when it failed.
    assert wait_for(lambda: "Background AOF rewrite terminated with error" in s.log() or s.log().count("cannot be made") > 2)
    with s.raw() as c:
        for _ in range(3):
            tried = s.log().count("cannot be made")
            assert wait_for(lambda: s.log().count("cannot be made") > tried)
            assert said(c)["aof_last_write_status"] == "err" and isinstance(asked(s, "SET", "probe", "no"), RespError)
        disk.works()
        assert wait_for(lambda: said(c)["aof_last_write_status"] == "ok")
        assert asked(s, "SET", "probe", "1") == "OK"


def test_without_the_log_writes_are_let_in_again(start_server):
    s = start_server(appendonly="yes", appendfsync="always")
    resource.prlimit(s.proc.pid, resource.RLIMIT_FSIZE, (1 << 16, resource.RLIM_INFINITY))
    with s.raw() as c:
        try:
            while c.do("SET", "big", os.urandom(5000).hex()) == "OK":
                pass
        except (OSError, EOFError):
            pass
    assert wait_for(lambda: isinstance(asked(s, "SET", "probe", "1"), RespError))
    with s.raw() as c:
        assert c.do("CONFIG", "SET", "appendonly", "no") == "OK"
        assert wait_for(lambda: s_set(s) == "OK")
        resource.prlimit(s.proc.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert c.do("CONFIG", "SET", "appendonly", "yes") == "OK" and rewritten(c)
        assert s_set(s) == "OK" and wait_for(lambda: said(c)["aof_last_write_status"] == "ok")


def died_at(server, point, lead):
    """Arms the point, does what leads to it, and starts the server again when it has died there."""
    with server.raw() as c:
        assert c.do("DEBUG", "KILL-POINT", point) == "OK"
        try:
            lead(c)
        except (OSError, EOFError):
            pass
    assert wait_for(lambda: server.proc.poll() is not None), "not passed: " + point
    killed(server)


def switched(c, value):
    """Until nothing is recorded any more, or the log is the data."""
    assert c.do("CONFIG", "SET", "appendonly", value) == "OK"
    assert rewritten(c) and wait_for(lambda: said(c)["aof_enabled"] == ("1" if value == "yes" else "0"))


def test_what_a_new_log_has_does_not_go_on_from_the_one_before(start_server):
    """In between something happened that only the snapshot has which is being made."""
    s = start_server(appendonly="yes", appendfsync="always")
    with s.raw() as c:
        assert c.do("DEBUG", "POPULATE", "20000") == "OK" and c.do("SET", "first", "1") == "OK" and c.do("SET", "count", "1") == "OK"
        switched(c, "no")
        assert c.do("SET", "first", "2") == "OK"
        stop = threading.Event()

        def count():
            try:
                with s.raw() as d:
                    while not stop.is_set():
                        d.do("INCR", "count")
            except (OSError, EOFError):
                pass

        counting = threading.Thread(target=count)
        counting.start()
    died_at(s, "save.written", lambda c: c.do("CONFIG", "SET", "appendonly", "yes"))
    stop.set()
    counting.join()
    with s.raw() as c:
        assert c.do("MGET", "first", "count") == [b"1", b"1"]


RDB_POINTS = ["log.prepared", "log.named", "cut.taken", "save.written", "manifest-temp.rename.before", "manifest-temp.rename.after", "save.tells"]


@pytest.mark.parametrize("point", RDB_POINTS)
def test_until_a_log_is_there_the_rdb_file_is_the_data(start_server, point):
    s = start_server(save_format="rdb")
    stop = threading.Event()

    def count():
        try:
            with s.raw() as d:
                while not stop.is_set():
                    d.do("INCR", "count")
        except (OSError, EOFError):
            pass

    for appendonly in ("no", "yes"):  # of the next start
        with s.raw() as c:
            if said(c)["aof_enabled"] == "1":
                switched(c, "no")
            assert c.do("SET", "it", "1") == "OK" and c.do("SET", "count", "0") == "OK" and c.do("SAVE") == "OK"
        counting = threading.Thread(target=count)
        counting.start()
        s.config["appendonly"] = appendonly
        died_at(s, point, lambda c: c.do("CONFIG", "SET", "appendonly", "yes"))
        counting.join()
        with s.raw() as c:
            assert c.do("GET", "it") == b"1", "then a start with appendonly " + appendonly
            assert s.alive()


@pytest.mark.parametrize("sync", ["always", "no"])
def test_a_log_that_follows_an_rdb_file_which_was_the_data_is_one(start_server, sync):
    s = start_server(appendonly="yes", appendfsync=sync, save_format="rdb")
    for i in range(3):
        with s.raw() as c:
            assert c.do("SET", "before", i) == "OK"
            switched(c, "no")
            assert c.do("SET", "between", i) == "OK" and c.do("SAVE") == "OK"
            if i == 2:
                assert c.do("BGREWRITEAOF").startswith("Background") and rewritten(c) and c.do("SAVE") == "OK"
            switched(c, "yes")
            assert c.do("SET", "it", i) == "OK"
        killed(s)
        with s.raw() as c:
            assert c.do("MGET", "before", "between", "it") == [b"%d" % i] * 3
            assert c.do("SET", "after", i) == "OK"
        killed(s)
        with s.raw() as c:
            assert c.do("MGET", "before", "between", "it", "after") == [b"%d" % i] * 4


def test_an_rdb_file_does_not_take_the_place_of_a_log_that_records(start_server):
    s = start_server(appendonly="yes", appendfsync="always", save_format="rdb")
    for i in range(5):
        with s.raw() as c:
            # The log ends a moment after the first, but for the last it never would have.
            c.send(encode("CONFIG", "SET", "appendonly", "no") + encode("SAVE") + encode("CONFIG", "SET", "appendonly", "yes"))
            assert [c.read() for _ in range(3)] == ["OK"] * 3
            assert rewritten(c) and wait_for(lambda: said(c)["aof_enabled"] == "1")
            assert c.do("SET", "it", i) == "OK"
        killed(s)
        with s.raw() as c:
            assert c.do("GET", "it") == b"%d" % i


def asked(server, *words):
    """None: who waited when the disk failed is disconnected."""
    try:
        with server.raw() as c:
            return c.do(*words)
    except (OSError, EOFError):
        return None


def s_set(server):
    with server.raw() as c:
        return c.do("SET", "probe", "1")


def test_nobody_waits_for_what_is_safe(start_server):
    """A worker that has just found out that a number is safe lets those go who wait for it."""
    s = start_server(appendonly="yes", appendfsync="no")
    with s.raw() as c:
        for i in range(1500):
            assert c.do("MSET", "a", i, "b", i, "c", i, "d", i) == "OK"


@pytest.mark.parametrize("shards", [3, 7])
def test_more_shards_go_on_from_a_snapshot_of_fewer(start_server, shards):
    s = start_server(appendonly="yes", shards=2)
    with s.raw() as c:
        c.do("SET", "x", "1"), c.do("BGREWRITEAOF")
        assert rewritten(c)
    s.config["shards"] = shards
    killed(s)
    with s.raw() as c:
        c.do("SET", "y", "2")
    for n in (shards, 2):
        s.config["shards"] = n
        killed(s)
        with s.raw() as c:
            assert c.do("MGET", "x", "y") == [b"1", b"2"]


def test_who_waits_when_the_log_ends_is_answered(start_server):
    s = start_server(appendonly="yes", appendfsync="always")
    done = threading.Event()
    hung = []

    def work(n):
        try:
            with s.raw(timeout=60) as c:
                while not done.is_set():
                    c.do("SET", "k%d" % n, "v")
        except OSError as e:
            hung.append(repr(e))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    with s.raw(timeout=60) as c:
        for _ in range(8):
            assert c.do("CONFIG", "SET", "appendonly", "no") == "OK"
            assert wait_for(lambda: said(c)["aof_enabled"] == "0")
            assert c.do("CONFIG", "SET", "appendonly", "yes") == "OK"
            assert rewritten(c)
    done.set()
    for thread in threads:
        thread.join(30)
    assert hung == []


def is_off(server):
    """Who asks while the log is still there may wait for what it has not written."""
    try:
        with server.raw(timeout=1) as c:
            return said(c)["aof_enabled"] == "0"
    except OSError:
        return False


def is_over(c):
    """The connection has ended without a word."""
    try:
        c.read()
    except (EOFError, ConnectionResetError):
        return True
    return False


@pytest.mark.row_once
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("then", ["the end", "a new log"])
def test_a_log_that_ends_while_it_is_written_and_then_cannot_be_is_over(start_server, slow, mode, then):
    """What is left for it behind the write that fails is never written: nobody waits for that, neither clients nor the server's end."""
    if slow > 1:
        pytest.skip("a sanitizer wants to be the first library")  # and so does the one that fails
    s = start_server(start=False, appendonly="yes", appendfsync=mode, io_backend="epoll")
    disk = FailingDisk(s)
    s.start()
    with s.raw(timeout=60) as a, s.raw(timeout=60) as b:
        assert a.do("SET", "k", "0") == b.do("SET", "l", "0") == "OK"
        disk.stands_still("w")
        a.send(encode("SET", "k", "1"))
        assert wait_for(disk.has_stopped)
        b.send(encode("SET", "k", "2") + encode("SET", "l", "2") + encode("CONFIG", "SET", "appendonly", "no"))
        assert wait_for(lambda: is_off(s), 60)
        disk.fails("w", errno.EIO)
        assert is_over(a) and is_over(b)
    disk.works()
    assert asked(s, "MGET", "k", "l") == [b"2", b"2"] and asked(s, "SET", "m", "1") == "OK"
    if then == "a new log":
        with s.raw(timeout=60) as c:
            switched(c, "yes")
            assert wait_for(lambda: said(c)["aof_last_write_status"] == "ok") and s_set(s) == "OK"
    s.proc.terminate()
    assert s.wait() == 0
    s.start_again()
    wanted = [b"2", b"2"] if then == "a new log" else [b"0", b"0"]
    assert wait_for(lambda: asked(s, "MGET", "k", "l") == wanted)


@pytest.mark.row_once
def test_it_is_told_for_how_long_something_is_not_on_the_disk(start_server, slow):
    if slow > 1:
        pytest.skip("a sanitizer wants to be the first library")  # and so does the one that stalls
    s = start_server(start=False, appendonly="yes", appendfsync="everysec", io_backend="epoll")
    disk = FailingDisk(s)
    s.start()
    with s.raw() as c:
        disk.stands_still("s")
        c.do("SET", "k", "v")
        assert wait_for(lambda: said(c)["aof_pending_bio_fsync"] == "1")
        c.do("SET", "k", "w")
        assert wait_for(lambda: int(said(c)["log_unsynced_ms"]) > 1500 and said(c)["aof_delayed_fsync"] == "1")
        disk.works()
        assert wait_for(lambda: said(c)["log_unsynced_ms"] == "0" and said(c)["aof_pending_bio_fsync"] == "0")
        assert said(c)["aof_delayed_fsync"] == "1" and c.do("GET", "k") == b"w"


def held_in_a_snapshot(c, disk):
    """A snapshot is being made, and goes on when the disk works: what it syncs in the end stands still."""

    def holds():
        assert c.do("BGREWRITEAOF").startswith("Background")
        assert wait_for(lambda: int(said(c)["current_save_keys_processed"]) > 0 or said(c)["aof_rewrite_in_progress"] == "0")
        disk.stands_still("s")
        now = said(c)
        if now["aof_rewrite_in_progress"] == "1" and int(now["current_save_keys_processed"]) < int(now["current_save_keys_total"]):
            return True
        disk.works()  # its files may be synced already
        assert rewritten(c)
        return False

    assert c.do("DEBUG", "POPULATE", "100000") == "OK"
    assert wait_for(holds)


@pytest.mark.row_once
@pytest.mark.parametrize("put_off", ["yes", "no"])
@pytest.mark.parametrize("mode", ["always", "everysec"])
def test_syncs_are_put_off_while_a_snapshot_is_made_if_one_says_so(start_server, slow, mode, put_off):
    if slow > 1:
        pytest.skip("a sanitizer wants to be the first library")  # and so does the one that stalls
    options = {"appendonly": "yes", "appendfsync": mode, "no-appendfsync-on-rewrite": put_off, "auto-aof-rewrite-percentage": "0"}
    s = start_server(start=False, config=options, io_backend="epoll")
    disk = FailingDisk(s)
    s.start()
    with s.raw(timeout=60) as c, s.raw(timeout=60) as d:
        held_in_a_snapshot(c, disk)
        delayed = said(c)["aof_delayed_fsync"]
        d.send(encode("SET", "k", "v"))
        if (mode, put_off) == ("always", "no"):
            d.sock.settimeout(0.5)
            with pytest.raises(TimeoutError):
                d.read()
            d.sock.settimeout(60)
            disk.works()
        assert d.read() == "OK"
        if put_off == "yes":
            assert wait_for(lambda: int(said(c)["log_unsynced_ms"]) > 2500) and said(c)["aof_delayed_fsync"] == delayed
            assert said(c)["aof_rewrite_in_progress"] == "1"
        elif mode == "everysec":
            assert wait_for(lambda: d.do("SET", "k", "v") == "OK" and said(c)["aof_delayed_fsync"] != delayed)
        if mode == "everysec" or put_off == "yes":
            disk.works()
        assert rewritten(c) and wait_for(lambda: said(c)["log_unsynced_ms"] == "0")
    killed(s)
    with s.raw() as c:
        assert c.do("GET", "k") == b"v"


def test_what_was_written_before_is_synced_when_replies_begin_to_wait_for_that(start_server):
    s = start_server(appendonly="yes", appendfsync="no")
    with s.raw() as c:
        for i in range(50):
            c.do("SET", "k%d" % i, "v")
        assert c.do("CONFIG", "SET", "appendfsync", "always") == "OK"
        assert wait_for(lambda: said(c)["log_safe_number"] == said(c)["log_last_number"])
        assert c.do("SET", "then", "1") == "OK"


@pytest.mark.row_once
def test_a_script_that_has_written_goes_on_to_its_end_when_the_disk_fails(start_server, slow):
    """It has written on one shard, waits for another that is busy, and then nobody may write any more: but it may."""
    if slow > 1:
        pytest.skip("a sanitizer wants to be the first library")  # and so does the one that fails
    s = start_server(start=False, appendonly="yes", appendfsync="no", io_backend="epoll", shards=3)
    disk = FailingDisk(s)
    s.start()
    here, there, third = (b"{%s}" % tag_of(shard, 3) for shard in range(3))
    script = "redis.call('SET', KEYS[1], ARGV[1]) if ARGV[2] then redis.call('SET', ARGV[2], ARGV[1]) end"
    busy = "local ends = os.clock() + ARGV[1] while os.clock() < ends do end"
    with s.raw() as c, s.raw() as b, s.raw() as d:
        for _ in range(3):  # from then on they are known to need no more than the keys that they declare
            c.do("EVAL", script, "1", here, "0")
            c.do("EVAL", busy, "1", there, "0")
        b.send(encode("EVAL", busy, "1", there, "5"))
        time.sleep(0.5)
        d.send(encode("EVAL", script, "1", here, "1", there))
        time.sleep(0.5)
        disk.fails("w", errno.EIO)
        c.send(encode("SET", third, "1"))
        assert wait_for(lambda: isinstance(asked(s, "SET", third, "2"), RespError), 30)
        assert wait_for(lambda: asked(s, "GET", there) == asked(s, "GET", here) == b"1", 30)


@pytest.mark.row_once
def test_no_script_is_answered_whose_home_knows_that_the_disk_fails_and_whose_shard_does_not_yet(start_server, slow):
    """At home it waits for nothing any more; so it must not write where nobody has noticed."""
    if slow > 1:
        pytest.skip("a sanitizer wants to be the first library")  # and so does the one that fails
    s = start_server(start=False, appendonly="yes", appendfsync="no", io_backend="epoll", shards=3)
    disk = FailingDisk(s)
    s.start()
    fails, *others = (b"{%s}" % tag_of(shard, 3) for shard in range(3))
    script = "return redis.call('SET', KEYS[1], ARGV[1])"
    for _ in range(4):
        homes = [s.raw() for _ in range(6)]
        for c in homes:
            for key in others:
                assert wait_for(lambda c=c, key=key: c.do("EVAL", script, "1", key, "before") == "OK", 60)
        disk.fails("w", errno.EIO)
        assert asked(s, "SET", fails, "1") is None
        for c in homes:
            c.send(encode("SET", fails, "2") + b"".join(encode("EVAL", script, "1", key, "after") for key in others))
        for c in homes:
            try:
                replies = c.read_some(3)
            except (OSError, EOFError):  # nobody knew at its home
                continue
            finally:
                c.close()
            assert all(str(reply).startswith("MISCONF Errors writing to the AOF file: Input/output error") for reply in replies), replies
        disk.works()
        assert wait_for(lambda: s_set(s) == "OK", 60)
