# SPDX-License-Identifier: BSD-3-Clause
"""Full syncs that are sent while they are made: with a mark at their end, to who can read that (REPLCONF capa eof); what replicas of
all kinds make of them, and what becomes of them when a reader goes, or the save fails."""

import os
import select
import threading
import time

import pytest

from resp import encode
from server import wait_for
from test_replication import MB, Reader, Replica, fill, same, write

pytestmark = [pytest.mark.row_pair, pytest.mark.shoal_only]

EOF = ("capa", "eof")


def load(start_server, file):
    """What a file has, as a server tells that begins with it."""
    s = start_server(appendonly="no")
    s.kill()
    with open(os.path.join(s.dir, "dump.rdb"), "wb") as f:
        f.write(file)
    s.start_again()
    return digest(s)


def acknowledges(reader, offset=0):
    reader.raw.sock.sendall(encode("REPLCONF", "ACK", offset))


def comes(reader, seconds=0.2):
    """Whether anything does within that time."""
    reader.raw.sock.settimeout(seconds)
    try:
        reader.more()
        return True
    except TimeoutError:
        return False
    finally:
        reader.raw.sock.settimeout(60)


def no_files(s):
    return not any(name.startswith("temp-") for name in os.listdir(s.dir))


def digest(s):
    with s.raw() as c:
        return c.do("DEBUG", "DIGEST")


def on_the_first_shard(s, c):
    """A connection which is looked after by the thread that looks after the stream; those before it stay, so others do not get it."""

    def count():
        shards = c.do("INFO", "shards").decode()
        return int(shards.split("shard0:")[1].split("connections=")[1].split(",")[0])

    made = []
    while True:
        before = count()
        made.append(s.raw(timeout=60))
        assert made[-1].do("PING") == "PONG"
        if count() > before:
            found = made.pop()
            for other in made:
                other.close()
            return found


# ---- The form


@pytest.mark.parametrize("asks", (("PSYNC", "?", "-1"), ("SYNC",)))
def test_a_mark_is_the_end_and_nothing_follows(start_server, asks):
    s = start_server()
    with s.raw() as c:
        fill(c)
        c.do("SET", "much", b"$EOF:" + b"0123456789abcdef" * (MB // 8))
        before = digest(s)
        reader = Reader(s, *asks, says=(("listening-port", "1234"), EOF, ("capa", "psync2"), ("version", "9.1.2")))
        offset = int(reader.line().split()[2]) if asks[0] == "PSYNC" else 0
        reader.data = reader.data.lstrip(b"\n")
        while len(reader.data) < 47:
            reader.more()
            reader.data = reader.data.lstrip(b"\n")  # somebody is there
        mark = reader.data[5:45]
        assert reader.data[:5] == b"$EOF:" and reader.data[45:47] == b"\r\n" and set(mark) <= set(b"0123456789abcdef")
        file = reader.file()
        assert file.startswith(b"REDIS0010") and mark not in file
        c.do("SET", "k", "behind")
        assert wait_for(lambda: "state=online" in s.info("replication")["slave0"])
        assert not comes(reader)
        acknowledges(reader, offset)
        assert reader.commands(b"behind") == [[b"SELECT", b"0"], [b"SET", b"k", b"behind"]]
        c.do("SET", "k", "more")
        assert reader.commands(b"more") == [[b"SET", b"k", b"more"]]
        reader.close()
        # And once more: another mark.
        other = Reader(s, says=(EOF,))
        other.line()
        assert not other.line().endswith(mark)
        other.close()
        assert wait_for(lambda: no_files(s))
    assert load(start_server, file) == before


@pytest.mark.parametrize("says,disk", (((), False), ((("capa", "psync2"),), False), ((EOF,), True)))
def test_others_are_told_its_length(start_server, says, disk):
    """Who has not said that it can read a mark; and all, if the server is told so."""
    s = start_server(**({"repl_diskless_sync": "no"} if disk else {}))
    with s.raw() as c:
        fill(c)
        reader = Reader(s, says=says)
        reader.line()
        size = reader.line()
        assert size[:1] == b"$" and size[1:].isdigit()
        while len(reader.data) < int(size[1:]):
            reader.more()
        reader.data = reader.data[int(size[1:]):]
        c.do("SET", "k", "behind")  # comes at once
        assert reader.commands(b"behind")[-1] == [b"SET", b"k", b"behind"]
        reader.close()


def test_both_forms_at_once(start_server):
    s = start_server()
    with s.raw() as c:
        fill(c)
        threads = [threading.Thread(target=write, args=(s.port, seed)) for seed in range(2)]
        readers = [Reader(s, says=says) for says in ((EOF,), (), (EOF,), ())]
        for thread in threads:
            thread.start()
        for reader in readers:
            assert reader.begin()[2].startswith(b"REDIS0010")
        for reader in readers:
            acknowledges(reader)
        for thread in threads:
            thread.join()
        c.do("SET", "k", "end-of-it")
        for reader in readers:
            assert reader.commands(b"end-of-it")[-1] == [b"SET", b"k", b"end-of-it"]
            reader.close()
        assert wait_for(lambda: no_files(s))


# ---- Replicas


@pytest.mark.parametrize("kind,mode", [("redis", mode) for mode in ("disabled", "on-empty-db", "swapdb")]
                         + [("valkey", mode) for mode in ("disabled", "on-empty-db", "swapdb", "flush-before-load")])
def test_replicas_read_it(start_server, kind, mode):
    """However they load it, beside writers; and again, when they have something."""
    s = start_server(repl_backlog_size="16384")
    with s.raw() as c:
        fill(c)
        c.do("SET", "marked", b"$EOF:" + b"0123456789abcdef" * 5000)
    with Replica(kind, s, **{"repl-diskless-load": mode}) as replica:
        for turn in range(2):
            threads = [threading.Thread(target=write, args=(s.port, turn * 2 + i)) for i in range(2)]
            for thread in threads:
                thread.start()
            assert wait_for(replica.is_up, 60), replica.server.log()[-2000:]
            for thread in threads:
                thread.join()
            assert same(s, replica)
            assert s.log().count("Starting BGSAVE for SYNC with target: replicas sockets\n") > turn
            with replica.server.raw() as r, s.raw() as c:
                if turn == 0:
                    r.do("REPLICAOF", "NO", "ONE")
                    r.do("SET", "own", "1")
                    r.do("REPLICAOF", "127.0.0.1", s.port)
                    assert wait_for(lambda: int(s.info("stats")["sync_full"]) > 1)
                else:
                    assert r.do("EXISTS", "own") == 0
    assert wait_for(lambda: no_files(s))


# ---- What goes wrong


def stop_up(s):
    """The part of another shard is a pipe that nobody reads: its save does not get on."""
    pipe = os.path.join(s.dir, "temp-sync-%d-1.rdb" % s.pid)
    os.mkfifo(pipe)
    return pipe


def break_open(pipe):
    """The save fails: nothing can be written into the middle of a pipe, or into one that is closed again."""
    fd = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert select.select([fd], [], [], 60)[0]
    os.close(fd)


class Along(threading.Thread):
    """Reads a file while others do: nobody who waits for the next one waits for buffers of the system."""

    def __init__(self, reader):
        super().__init__()
        self.reader, self.file = reader, None
        self.start()

    def run(self):
        self.file = self.reader.begin()[2]

    def all(self):
        self.join(60)
        assert self.file is not None
        return self.file


def test_who_goes_in_the_middle(start_server):
    """At any byte of the file, and before its mark is answered; who reads along has all of it."""
    s = start_server(rdbcompression="no", repl_diskless_sync_delay="3600", repl_diskless_sync_max_replicas="2")
    with s.raw() as c:
        c.do("DEBUG", "POPULATE", "20000", "k", "200")
        before = digest(s)
        for enough in (1, 60, 100_000, MB, None):
            stays, goes = Reader(s, says=(EOF,)), Reader(s, says=(EOF,))
            along = Along(stays)
            if enough:
                goes.line()  # it has begun
                while len(goes.data) < enough:
                    goes.more()
            else:
                goes.begin()
            goes.close()
            file = along.all()
            acknowledges(stays)
            if enough:
                stays.close()
        c.do("SET", "k", "behind")
        assert stays.commands(b"behind")[-1][0] == b"SET"
        stays.close()
        assert wait_for(lambda: s.info("replication")["connected_slaves"] == "0" and no_files(s))
    assert load(start_server, file) == before


@pytest.mark.several_shards
def test_it_comes_while_it_is_made_and_ends_with_the_save(start_server):
    """One of the parts does not get on. What the first has comes all the same, and signs of life behind it."""
    s = start_server(rdbcompression="no")
    pipe = stop_up(s)
    try:
        with s.raw() as c:
            c.do("DEBUG", "POPULATE", "20000", "k", "200")
            reader = Reader(s, says=(EOF,), connection=on_the_first_shard(s, c))  # on epoll others have a thread for files that waits, too
            reader.line(), reader.line()
            while len(reader.data) < MB // 2 or b"shoal-alive" not in reader.data:
                reader.more()
            assert reader.data.startswith(b"REDIS0010")
            assert "state=wait_bgsave" in s.info("replication")["slave0"]
            c.do("SET", "k", "behind")
            break_open(pipe)
            with pytest.raises((AssertionError, OSError)):
                while True:
                    reader.more()
            assert b"behind" not in reader.data
            assert wait_for(lambda: "SYNC failed" in s.log() and no_files(s))
            assert "Write error while saving DB to the disk(" in s.log()
            again = Reader(s, says=(EOF,))
            assert b"behind" in again.begin()[2]
            again.close()
    finally:
        if os.path.exists(pipe):
            os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))


# ---- When it begins


def waits(s):
    """Replicas that wait for it."""
    return sum("state=wait_bgsave" in said for name, said in s.info("replication").items() if name.startswith("slave"))


def test_it_waits_for_others(start_server):
    """Who can read a mark waits until so many are there, or for so long; one save serves all. Who cannot does not wait, and those
    that do come along."""
    s = start_server(repl_diskless_sync_delay="3600", repl_diskless_sync_max_replicas="3")
    with s.raw() as c:
        fill(c)
        first = Reader(s, says=(EOF,))
        assert wait_for(lambda: waits(s) == 1 and "Delay next BGSAVE for diskless SYNC" in s.log())
        second = Reader(s, says=(EOF,))
        assert wait_for(lambda: waits(s) == 2)
        while not first.data:  # somebody is there
            first.more()
        assert first.data.strip(b"\n") == b"" and s.info("persistence")["rdb_bgsave_in_progress"] == "0"
        third = Reader(s, says=(EOF,))
        places = [reader.begin()[:2] for reader in (first, second, third)]
        assert places[0] == places[1] == places[2]
        # The fourth comes alone, and waits until somebody comes who cannot read it.
        fourth = Reader(s, says=(EOF,))
        assert wait_for(lambda: waits(s) == 1)
        fifth = Reader(s)
        assert fourth.begin()[:2] == fifth.begin()[:2]
        # What is set meanwhile counts.
        sixth = Reader(s, says=(EOF,))
        assert wait_for(lambda: waits(s) == 1)
        c.do("CONFIG", "SET", "repl-diskless-sync-max-replicas", "1")
        sixth.begin()
        c.do("CONFIG", "SET", "repl-diskless-sync-max-replicas", "0")
        seventh = Reader(s, says=(EOF,))
        assert wait_for(lambda: waits(s) == 1)
        c.do("CONFIG", "SET", "repl-diskless-sync", "no")
        seventh.line()
        assert seventh.line()[1:].isdigit()
        c.do("CONFIG", "SET", "repl-diskless-sync", "yes")
        assert s.log().count("Starting BGSAVE for SYNC") == 4
        for reader in (first, second, third, fourth, fifth, sixth, seventh):
            reader.close()


def test_it_waits_for_so_long(start_server):
    s = start_server(repl_diskless_sync_delay="1")
    began = time.monotonic()
    reader = Reader(s, says=(EOF,))
    reader.begin()
    assert time.monotonic() - began >= 0.9
    reader.close()


@pytest.mark.several_shards
def test_a_save_for_replicas_is_shown(start_server):
    """As Valkey shows it: a save is under way, and its replica waits for that. It ends when nobody waits any more."""
    s = start_server(rdbcompression="no")
    pipe = stop_up(s)
    with s.raw() as c:
        c.do("DEBUG", "POPULATE", "5000", "k", "200")
    reader = Reader(s, says=(EOF,))
    reader.line()
    said = s.info("persistence")
    assert said["rdb_bgsave_in_progress"] == "1" and int(said["rdb_current_bgsave_time_sec"]) >= 0
    assert waits(s) == 1
    reader.close()
    assert wait_for(lambda: s.info("replication")["connected_slaves"] == "0")
    break_open(pipe)
    assert wait_for(lambda: s.info("persistence")["rdb_bgsave_in_progress"] == "0")
    assert s.info("persistence")["rdb_current_bgsave_time_sec"] == "-1"
    assert "Background saving was cancelled" in s.log() and no_files(s)


# ---- Who does not read on


@pytest.mark.parametrize("says", ((), (EOF, ("rdb-only", "1"))))
def test_who_takes_nothing_is_closed(start_server, says):
    """After repl-timeout: until then nobody else can have a new file."""
    s = start_server(repl_timeout="1", rdbcompression="no")
    with s.raw() as c:
        c.do("DEBUG", "POPULATE", "20000", "k", "2000")
        stands = Reader(s, says=says)
        stands.line()
        assert wait_for(lambda: "Disconnecting timedout replica (full sync): 127.0.0.1:0" in s.log())
        assert wait_for(lambda: s.info("replication")["connected_slaves"] == "0" and no_files(s))
        stands.close()
        c.do("FLUSHALL")
        reader = Reader(s, says=(EOF,))
        reader.begin()
        reader.close()


@pytest.mark.row_once
@pytest.mark.timing
def test_who_loads_for_long_stays(start_server):
    """It says so by empty lines; when it has, it says where it is. The primary closed it after repl-timeout, each time."""
    s = start_server(repl_timeout="2")
    with s.raw() as c:
        fill(c)
        reader = Reader(s, says=(EOF,))
        offset = reader.begin()[1]
        for _ in range(30):
            reader.raw.sock.sendall(b"\n")
            time.sleep(0.1)
        acknowledges(reader, offset)
        c.do("SET", "k", "behind")
        assert reader.commands(b"behind")[-1] == [b"SET", b"k", b"behind"]
        reader.close()
