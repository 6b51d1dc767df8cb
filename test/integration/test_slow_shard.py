# SPDX-License-Identifier: BSD-3-Clause
"""One shard has long commands to run: what that may cost others, in time and in memory."""

import os
import select
import signal
import threading
import time

import pytest

from conftest import connect
from resp import encode, parse
from server import wait_for
from slots import tag_of

MB = 1 << 20


class SlowShard:
    """LCS of two long strings takes as long as one likes."""

    def __init__(self, server, parts, part):
        self.server = server
        self.a, self.b = b"{%s}a" % tag_of(part, parts), b"{%s}b" % tag_of(part, parts)
        self.key = b"{%s}k" % tag_of(part, parts)
        with server.raw(timeout=60) as c:
            c.do("MSET", self.a, "ab" * 5000, self.b, "ba" * 5000, self.key, "v")
            took = []
            for _ in range(3):  # one of them may have waited for a processor
                start = time.monotonic()
                c.do("LCS", self.a, self.b, "LEN")
                took.append(time.monotonic() - start)
            self.seconds_of_10000 = min(took)

    def command(self, seconds):
        """A command that takes about so long."""
        n = min(int(5000 * (seconds / self.seconds_of_10000) ** 0.5), 15_000)  # LCS has a limit
        with self.server.raw(timeout=60) as c:
            assert c.do("MSET", self.a, "ab" * n, self.b, "ba" * n) == "OK"
        return encode("LCS", self.a, self.b, "LEN")


class Stall:
    """Many clients ask for something slow at once: what comes behind them waits for seconds."""

    def __init__(self, slow, seconds):
        command = slow.command(0.15)
        self.clients = [slow.server.raw(timeout=60) for _ in range(int(seconds / 0.15))]
        for c in self.clients:
            c.send(command)
        time.sleep(0.05)

    def answered(self):
        return len(select.select([c.sock for c in self.clients], [], [], 0)[0])

    def over(self):
        return self.answered() == len(self.clients)

    def close(self):
        for c in self.clients:
            c.close()


@pytest.fixture
def parts(shards):
    return max(shards, 1)


def thread_seconds(server):
    """CPU seconds of each thread."""
    seconds = {}
    for thread in os.listdir("/proc/%d/task" % server.pid):
        with open("/proc/%d/task/%s/stat" % (server.pid, thread)) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        seconds[thread] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


def peak(server):
    with open("/proc/%d/status" % server.pid) as f:
        return int(f.read().split("VmHWM:")[1].split()[0]) * 1024


# ---- time ---------------------------------------------------------------------------------------------------------------


@pytest.mark.timing
@pytest.mark.slow
@pytest.mark.parametrize("part", [0, -1])
def test_a_pipeline_of_slow_commands_keeps_nobody_waiting_for_all_of_it(start_server, parts, part):
    """64 of them ran as one piece, and with them the thread; now others get their turn between two of them, whether the
    pipeline lives on that very thread or on another one."""
    s = start_server(proto_max_bulk_len="100gb")
    slow = SlowShard(s, parts, part % parts)
    command = slow.command(0.02)
    turns = []
    clients = [s.raw(timeout=60) for _ in range(parts + 1)]  # on each thread one, and one more
    try:
        writer = clients[0]
        writer.send(command * 64 + encode("PING"))
        done = threading.Event()

        def read():
            writer.read_some(65)
            done.set()

        reader = threading.Thread(target=read)
        reader.start()
        while not done.is_set():
            for c in clients[1:]:
                assert c.do("GET", slow.key) == b"v"
            turns.append(time.monotonic())
        reader.join()
    finally:
        for c in clients:
            c.close()
    assert len(turns) > 3  # as one piece: 1


@pytest.mark.timing
@pytest.mark.slow
@pytest.mark.parametrize("part", [0, -1])
def test_the_first_replies_of_a_slow_pipeline_come_before_its_last_command_runs(start_server, parts, part):
    s = start_server(proto_max_bulk_len="100gb")
    slow = SlowShard(s, parts, part % parts)
    command = slow.command(0.03)

    def early(c):
        start = time.monotonic()
        c.send(command * 30 + encode("PING"))
        c.read()
        first = time.monotonic() - start
        c.read_some(30)
        return first < (time.monotonic() - start) * 0.7

    for _ in range(parts):
        with s.raw(timeout=60) as c:
            assert any(early(c) for _ in range(5))  # who writes them may wait for a processor


@pytest.mark.timing
@pytest.mark.slow
@pytest.mark.several_shards
def test_what_is_ready_is_not_held_back_for_a_slow_shard(start_server, shards):
    """What came first is ready at once; what comes behind it takes a second, and used to take it along."""
    s = start_server(proto_max_bulk_len="100gb")
    slow = SlowShard(s, shards, shards - 1)
    command = slow.command(0.4)
    clients = [s.raw(timeout=60) for _ in range(shards)]

    def fast(c):
        start = time.monotonic()
        c.send(encode("GET", b"{%s}x" % tag_of(0, shards)) + command)
        assert c.read() is None
        first = time.monotonic() - start
        c.read()
        return first < (time.monotonic() - start) * 0.5

    try:
        # The slow shard's own clients wait; others once in a while, for a processor.
        assert sum(any(fast(c) for _ in range(4)) for c in clients) >= shards - 1
    finally:
        for c in clients:
            c.close()


@pytest.mark.parametrize("part", [0, -1])
def test_a_pipeline_that_is_cut_stays_in_order(start_server, parts, part):
    """Between slow commands it is left and taken up again: what follows on the same shard must not pass."""
    s = start_server(proto_max_bulk_len="100gb")
    slow = SlowShard(s, parts, part % parts)
    command = slow.command(0.004)
    clients = [s.raw(timeout=60) for _ in range(parts)]
    try:
        for n, c in enumerate(clients):
            count = b"{%s}count%d" % (tag_of(part % parts, parts), n)
            elsewhere = b"elsewhere%d" % n
            for _ in range(60):
                c.send(command + encode("INCR", count) + encode("APPEND", elsewhere, "x") + encode("GET", count))
                c.send(encode("INCR", count) + encode("ECHO", "x"))
        for c in clients:
            got = c.read_some(60 * 6)
            for i in range(60):
                want = [2 * i + 1, i + 1, b"%d" % (2 * i + 1), 2 * i + 2, b"x"]
                assert got[6 * i + 1 : 6 * i + 6] == want
    finally:
        for c in clients:
            c.close()


@pytest.mark.timing
@pytest.mark.slow
@pytest.mark.several_shards
def test_nobody_spins_while_a_ring_is_full(start_server, shards):
    """More messages for a busy shard than its ring takes: their senders sleep."""
    s = start_server(proto_max_bulk_len="100gb")
    slow = SlowShard(s, shards, shards - 1)
    get = encode("GET", slow.key)
    clients = [s.raw(timeout=60) for _ in range(4 * shards)]
    stall = Stall(slow, 6)
    try:
        for _ in range(600):
            for c in clients:
                c.send(get)  # in a read of its own, and so a message of its own

        def quiet():
            """The threads but the slow shard's, over half a second: at first they may still read what was sent."""
            before = thread_seconds(s)
            time.sleep(0.5)
            after = thread_seconds(s)
            assert not stall.over()
            return sorted(after[t] - before[t] for t in before)[-2] < 0.2

        assert wait_for(quiet)
        for c in clients:
            assert c.read_some(600) == [b"v"] * 600
    finally:
        stall.close()
        for c in clients:
            c.close()


# ---- memory -------------------------------------------------------------------------------------------------------------


class Flood:
    """Connections, one on each thread, that ask the slow shard for one reply and the first one for endless ones of SIZE
    bytes, and read nothing, until they are stopped. What lives on a third thread hears from both by messages."""

    SIZE = 15_000

    def __init__(self, server, slow, parts):
        key = b"{%s}value" % tag_of(0, parts)
        connect(server).set(key, b"x" * self.SIZE)
        self.clients = [server.raw(timeout=60) for _ in range(parts + 1)]
        self.requests = encode("GET", key)
        self.rounds = [0] * len(self.clients)
        self.rest = [b""] * len(self.clients)
        self.gone = [False] * len(self.clients)
        for c in self.clients:
            c.send(encode("GET", slow.key))
            c.sock.setblocking(False)

    def write(self):
        """What the sockets take now."""
        for i, c in enumerate(self.clients):
            try:
                for _ in range(200):
                    if self.gone[i]:
                        break
                    if not self.rest[i]:
                        self.rest[i] = self.requests
                        self.rounds[i] += 1
                    self.rest[i] = self.rest[i][c.sock.send(self.rest[i]) :]
            except BlockingIOError:
                pass
            except OSError:
                self.gone[i] = True

    def read(self):
        """All replies: of every request, in order."""
        for i, c in enumerate(self.clients):
            c.sock.settimeout(60)
            rest = self.rest[i]
            writer = threading.Thread(target=c.send, args=(rest,))
            writer.start()
            assert c.read() == b"v"
            for _ in range(self.rounds[i]):
                assert len(c.read()) == self.SIZE
            writer.join()

    def close(self):
        for c in self.clients:
            c.close()


@pytest.mark.timing
@pytest.mark.slow
@pytest.mark.several_shards
def test_replies_that_wait_for_a_slow_shard_are_bounded(start_server, shards, slow):
    """Three shards, one busy: its reply is next in line, and the others' came home without an end. 4 GB in eight
    seconds, and no limit saw them. Nobody is read on while he has so much of his own to wait for."""
    s = start_server(proto_max_bulk_len="100gb")
    busy = SlowShard(s, shards, shards - 1)
    before = peak(s)
    stall = Stall(busy, 6)
    flood = Flood(s, busy, shards)
    try:
        end = time.monotonic() + 0.7 * slow
        while time.monotonic() < end:
            flood.write()
        assert not stall.over()
        assert peak(s) - before < 24 * MB * len(flood.clients) * slow
        flood.read()
    finally:
        stall.close()
        flood.close()


@pytest.mark.timing
@pytest.mark.slow
@pytest.mark.several_shards
@pytest.mark.parametrize("limit", ["output", "clients"])
def test_limits_see_replies_that_wait_for_a_slow_shard(start_server, shards, limit):
    """They are at home, but not next in line: output all the same, and the client's memory."""
    config = {"client-output-buffer-limit": ["normal", "200kb", "0", "0"]} if limit == "output" else None
    what = "client_output_buffer_limit_disconnections" if limit == "output" else "evicted_clients"

    def seen():
        s = start_server(proto_max_bulk_len="100gb", config=config, **({} if limit == "output" else {"maxmemory_clients": "3mb"}))
        busy = SlowShard(s, shards, shards - 1)
        stall = Stall(busy, 6)
        flood = Flood(s, busy, shards)
        try:
            while not stall.over() and not any(flood.gone):
                flood.write()
            its_turn_has_not_come = stall.answered() < len(stall.clients) / 4
        finally:
            stall.close()
            flood.close()
        with s.raw(timeout=60) as c:  # what its clients have asked for runs to the end, without them
            return its_turn_has_not_come and int(s.info_of(c, "stats")[what]) >= 1

    assert any(seen() for _ in range(3))  # who floods it may wait for a processor


@pytest.mark.timing
@pytest.mark.parametrize("how", ["plain", "exec", "exec over shards"])
def test_output_is_limited_after_each_reply(start_server, shards, how, slow):
    """Replies of a pipeline or a transaction were looked at when all of them were there."""
    s = start_server(proto_max_bulk_len="100gb", config={"client-output-buffer-limit": ["normal", "1mb", "0", "0"]})
    r = connect(s)
    keys = [b"{%s}value" % tag_of(part, max(shards, 1)) for part in range(max(shards, 1))]
    for key in keys:
        r.set(key, b"x" * 8 * MB)
    before = peak(s)
    for key in keys:
        with s.raw(timeout=60) as c:
            used = [key] if how != "exec over shards" else keys
            gets = b"".join(encode("GETRANGE", used[i % len(used)], i, 8 * MB) for i in range(64))
            try:
                c.send(gets if how == "plain" else encode("MULTI") + gets + encode("SET", "ran", 1) + encode("EXEC"))
                while c.fill():
                    c.buf.clear()
            except OSError:
                pass
        assert peak(s) - before < 250 * MB * slow
        if how != "plain":
            assert r.get("ran") == "1"  # whoever asked for it is gone, but nothing is done by halves
            r.delete("ran")
    assert wait_for(lambda: int(s.info("stats")["client_output_buffer_limit_disconnections"]) == len(keys))


@pytest.mark.slow
@pytest.mark.shoal_only
@pytest.mark.several_shards
def test_a_stop_waits_for_what_a_client_that_is_gone_has_asked_for(start_server, shards):
    """Its home and the shard take turns: replies of megabytes are taken one by one. Neither had anything left when the other
    looked, so after five seconds home gave up, and ended with all its memory: 84 MB behind the test above under ASan."""
    s = start_server(config={"client-output-buffer-limit": ["normal", "1mb", "0", "0"]})
    key = "{%s}value" % tag_of(shards - 1, shards)
    with s.raw(timeout=60) as c:
        c.do("SET", key, b"x" * 48 * MB)
    with s.raw(timeout=60) as one, s.raw(timeout=60) as other:  # one of them does not live with the shard
        for c in (one, other):
            c.send(encode("GETRANGE", key, "1", "-1") * 200)
        assert wait_for(lambda: one.is_closed(0.1) or other.is_closed(0.1))
        s.stopped_by_test = True
        s.proc.send_signal(signal.SIGTERM)
        assert s.proc.wait(400) == 0
    assert "did not end in time" not in s.log()


@pytest.mark.timing
def test_an_owner_does_not_run_ahead_of_a_home_that_is_busy(start_server, shards, slow):
    """Only home looks at its client's limit: while it was busy, or off its processor, the owner ran all of a batch."""
    if shards < 2:
        pytest.skip("nobody is another's owner")
    s = start_server(proto_max_bulk_len="100gb", config={"client-output-buffer-limit": ["normal", "1mb", "0", "0"]})
    r = connect(s)
    key = b"{%s}value" % tag_of(0, shards)
    r.set(key, b"x" * 8 * MB)
    others = [SlowShard(s, shards, part) for part in range(1, shards)]
    words = [other.command(0.3) for other in others]
    busy = [s.raw(timeout=60) for _ in others]
    before = peak(s)
    for _ in range(6):
        with s.raw(timeout=60) as c:
            c.send(b"".join(encode("GETRANGE", key, i, 8 * MB) for i in range(64)))
            time.sleep(0.001)
            for b, word in zip(busy, words):
                b.send(word)
            for b in busy:
                b.read()
    assert peak(s) - before < 100 * MB * slow
