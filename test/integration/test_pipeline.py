# SPDX-License-Identifier: BSD-3-Clause
"""Pipelines, their order, slow readers, and what a client may cost."""

import random
import re
import shutil
import socket
import subprocess
import time

import pytest

from resp import RespError, encode
from server import wait_for
from slots import tag_of

MB = 1 << 20


# ---- pipelines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["inline", "local", "mixed"])
def test_200k_commands_before_the_first_reply_is_read(server, command):
    """The server has to take it all although its replies find nobody to read them."""
    count = 200_000
    with server.raw(timeout=60) as c:
        if command == "inline":
            c.send(b"PING\r\n" * count)
            expect = [b"+PONG\r\n"] * count
        elif command == "local":
            c.send(b"".join(encode("INCR", "pipe200k") for _ in range(count)))
            expect = [b":%d\r\n" % (i + 1) for i in range(count)]
        else:
            c.send(b"".join(encode("SET", "p%d" % (i % 1000), i) for i in range(count)))
            expect = [b"+OK\r\n"] * count
        want = b"".join(expect)
        while len(c.buf) < len(want):
            assert c.fill(), "closed after %d of %d bytes" % (len(c.buf), len(want))
        assert bytes(c.buf) == want
        c.buf.clear()
        assert c.do("DEL", "pipe200k") in (0, 1)
    assert server.alive()


def test_inline_commands_keep_their_arguments_on_their_way_to_other_shards(server):
    """Their words lie in memory of their own, not in the input: it has to go with them."""
    values = ["vaA %d %s" % (i, "y" * 200) for i in range(64)]
    with server.raw() as c:
        c.send(b"".join(b'SET inline%d "va\\x41 %d %s"\r\n' % (i, i, b"y" * 200) for i in range(64)))
        assert [c.read() for _ in values] == ["OK"] * 64
        c.send(b"".join(b'GET "inline%d"\r\n' % i for i in range(64)))
        assert [c.read() for _ in values] == [v.encode() for v in values]


def test_replies_come_in_the_order_of_requests_over_all_shards(server):
    """Keys of all shards, fences and errors in one pipeline: every reply sits where its request was."""
    rng = random.Random(1)
    with server.raw() as c:
        c.do("FLUSHALL")
        for _ in range(20):
            requests, expect = [], []
            for n in range(500):
                pick = rng.randrange(6)
                key = "order%d" % rng.randrange(10_000)
                if pick == 0:
                    requests.append(encode("ECHO", n))
                    expect.append(b"%d" % n)
                elif pick == 1:
                    requests.append(encode("SET", key, n) + encode("GET", key))
                    expect += ["OK", b"%d" % n]
                elif pick == 2:
                    requests.append(encode("SET", key, "abc") + encode("INCR", key))
                    expect += ["OK", RespError("ERR value is not an integer or out of range")]
                elif pick == 3:
                    requests.append(b"PING\r\n")
                    expect.append("PONG")
                elif pick == 4:
                    requests.append(encode("STRLEN", "absent" + key))
                    expect.append(0)
                else:
                    requests.append(encode("SELECT", "0") + encode("CLIENT", "GETNAME"))
                    expect += ["OK", None]
            c.send(b"".join(requests))
            assert c.read_some(len(expect)) == expect


def test_same_key_requests_of_a_pipeline_run_in_order(server):
    with server.raw() as c:
        c.do("FLUSHALL")
        keys = ["ord%d" % i for i in range(50)]
        rounds = 200
        c.send(b"".join(encode("APPEND", k, chr(97 + n % 26)) for n in range(rounds) for k in keys))
        for n in range(rounds):
            assert c.read_some(len(keys)) == [n + 1] * len(keys)
        want = "".join(chr(97 + n % 26) for n in range(rounds)).encode()
        c.send(b"".join(encode("GET", k) for k in keys))
        assert c.read_some(len(keys)) == [want] * len(keys)


def test_select_in_a_pipeline_takes_effect_for_what_follows_only(server):
    with server.raw() as c:
        c.do("FLUSHALL")
        requests = b""
        for n in range(100):
            for db in (0, 3, 7):
                requests += encode("SELECT", db) + encode("SET", "sel%d" % n, "db%d" % db)
        c.send(requests)
        assert c.read_some(600) == ["OK"] * 600
        requests = b"".join(encode("SELECT", db) + encode("GET", "sel%d" % n) for n in range(100) for db in (7, 0, 3))
        c.send(requests)
        assert c.read_some(600) == ["OK", b"db7", "OK", b"db0", "OK", b"db3"] * 100
        c.do("FLUSHALL")


@pytest.mark.shoal_only
def test_strict_pipeline_order(start_server):
    """A pipeline adds to many keys one after the other. Who reads them the other way round never finds one that is
    ahead of those before it; with relaxed order, keys of the client's own shard are."""
    s = start_server(pipeline_order="strict")
    keys = ["s%d" % i for i in range(16)]
    with s.raw() as writer, s.raw() as reader:
        assert writer.do("CONFIG", "GET", "pipeline-order") == [b"pipeline-order", b"strict"]
        for _ in range(300):
            writer.send(b"".join(encode("INCR", k) for k in keys))
            for _ in range(3):
                reader.send(b"".join(encode("GET", k) for k in reversed(keys)))
                seen = [int(n or 0) for n in reader.read_some(len(keys))]
                assert seen == sorted(seen)
            writer.read_some(len(keys))


class Pointers:
    """A client writes data and then the pointer to it in one plain pipeline, while the shard of the data has something slow
    to do. Others wait for the pointer, follow it, and must find the data."""

    def __init__(self, server, parts):
        self.parts, self.n = parts, 0
        self.tags = [tag_of(part, parts) for part in range(parts)]
        self.waiter = server.raw()
        self.slow = [server.raw() for _ in range(parts)]  # some live elsewhere than the data,
        self.writers = [server.raw() for _ in range(parts)]
        self.readers = [server.raw() for _ in range(parts)]  # and some with it: what those ask comes first there
        for tag in self.tags:
            self.waiter.do("MSET", b"{%s}a" % tag, "ab" * 2000, b"{%s}b" % tag, "ba" * 2000)

    def missed(self, rounds):
        """How often the pointer was there and the data was not."""
        return sum(
            self.misses(slow, writer, self.tags[part], self.tags[part - 1])
            for _ in range(rounds)
            for slow in self.slow
            for writer in self.writers
            for part in range(self.parts)
        )

    def misses(self, slow, writer, there, elsewhere):
        self.n += 1
        data, pointer = b"{%s}data" % there, b"{%s}pointer" % elsewhere
        slow.send(encode("LCS", b"{%s}a" % there, b"{%s}b" % there, "LEN"))
        writer.send(encode("SET", data, self.n) + encode("SET", pointer, self.n))
        assert wait_for(lambda: int(self.waiter.do("GET", pointer) or 0) == self.n)
        for c in self.readers:
            c.send(encode("GET", data))
        missed = sum(int(c.read_some(1)[0] or 0) != self.n for c in self.readers)
        assert writer.read_some(2) == ["OK", "OK"]
        slow.read_some(1)
        return missed

    def close(self):
        for c in self.slow + self.writers + self.readers + [self.waiter]:
            c.close()


@pytest.mark.shoal_only
@pytest.mark.slow
@pytest.mark.parametrize("order", [None, "writes", "strict"])
def test_who_follows_a_pointer_finds_the_data(start_server, shards, order):
    s = start_server(**{"pipeline_order": order} if order else {})
    pointers = Pointers(s, shards)
    assert pointers.missed(1) == 0
    pointers.close()


@pytest.mark.several_shards
@pytest.mark.slow
def test_in_relaxed_order_a_pointer_may_come_first(start_server, shards):
    """What the test above looks for does happen; and a setting counts from its answer on."""
    s = start_server(pipeline_order="relaxed")

    def missed():
        """With new connections: whether it can happen depends on which threads serve them."""
        pointers = Pointers(s, shards)
        try:
            return pointers.missed(1)
        finally:
            pointers.close()

    assert wait_for(lambda: missed() > 0, 120)
    with s.raw() as c:
        assert c.do("CONFIG", "SET", "pipeline-order", "writes") == "OK"
    assert missed() == 0


def test_many_clients_with_pipelines(server):
    clients = [server.raw() for _ in range(50)]
    try:
        for n, c in enumerate(clients):
            c.send(b"".join(encode("SET", "c%d:%d" % (n, i), "%d.%d" % (n, i)) for i in range(200)))
        for n, c in enumerate(clients):
            c.send(b"".join(encode("GET", "c%d:%d" % (n, i)) for i in range(200)))
        for n, c in enumerate(clients):
            assert c.read_some(200) == ["OK"] * 200
            assert c.read_some(200) == [b"%d.%d" % (n, i) for i in range(200)]
    finally:
        for c in clients:
            c.close()


@pytest.mark.slow
def test_eight_hundred_clients_at_once(server):
    """More requests in one moment than buffers and completion queues hold: all are answered, in order."""
    clients = [server.raw(timeout=30) for _ in range(800)]
    try:
        for turn in range(3):
            for n, c in enumerate(clients):
                c.send(encode("SET", "e%d" % n, "v" * 3000) + encode("STRLEN", "e%d" % n) + encode("ECHO", "%d.%d" % (turn, n)))
            for n, c in enumerate(clients):
                assert c.read_some(3) == ["OK", 3000, b"%d.%d" % (turn, n)]
    finally:
        for c in clients:
            c.close()
    assert wait_for(lambda: int(server.info("clients")["connected_clients"]) == 1)


def test_big_requests_of_many_clients_at_once(server):
    """Each half sent, then the other halves: no buffer is given away while its request waits for the rest."""
    clients = [server.raw(timeout=30) for _ in range(60)]
    values = [bytes([65 + n % 26]) * (100_000 + n * 1000) for n in range(60)]
    try:
        requests = [encode("SET", "big%d" % n, values[n]) + encode("GET", "big%d" % n) for n in range(60)]
        for c, request in zip(clients, requests):
            c.send(request[:50_000])
        for c, request in zip(clients, requests):
            c.send(request[50_000:])
        for c, value in zip(clients, values):
            assert c.read_some(2) == ["OK", value]
    finally:
        for c in clients:
            c.do("FLUSHALL", "ASYNC")
            c.close()


def test_a_client_that_goes_away_in_its_pipeline_harms_nobody(server):
    for n in range(30):
        c = server.raw()
        c.send(b"".join(encode("SET", "gone%d" % i, "x" * 100) + encode("GET", "gone%d" % i) for i in range(2000)))
        if n % 3 == 0:
            c.read_some(n)
        c.close()
    with server.raw() as c:
        assert c.do("PING") == "PONG"
        assert c.do("SET", "after", "1") == "OK"
    assert wait_for(lambda: int(server.info("clients")["connected_clients"]) == 1)


def test_quit_in_a_pipeline_answers_what_came_before(server):
    with server.raw() as c:
        c.send(encode("SET", "q", "1") + encode("GET", "q") + encode("QUIT") + encode("SET", "q", "2"))
        assert c.read_some(3) == ["OK", b"1", "OK"]
        assert c.is_closed()
    with server.raw() as c:
        assert c.do("GET", "q") == b"1"


@pytest.mark.plain_port  # no half of a TLS connection can be shut
def test_half_closed_connection_still_gets_its_replies(server):
    with server.raw() as c:
        c.send(b"".join(encode("SET", "h%d" % i, i) for i in range(100)))
        c.read_some(100)
        c.send(b"".join(encode("GET", "h%d" % i) for i in range(100)))
        c.sock.shutdown(socket.SHUT_WR)
        assert c.read_some(100) == [b"%d" % i for i in range(100)]
        assert c.is_closed()


@pytest.mark.timing
@pytest.mark.plain_port  # the same
@pytest.mark.shoal_only
def test_half_closed_while_it_is_in_line_to_go_on(start_server):
    """Its wait is over, and the rest of its pipeline is to be run in the next turn, when its end arrives: the rest was
    dropped. The turn is made long by a slow command that came before the end and runs while the wait ends."""
    s = start_server(shards=1)
    with s.raw(timeout=60) as c:
        for key, letter in (("x", "a"), ("y", "b")):
            c.do("SET", key, letter * 5000)

        def lcs():
            began = time.monotonic()
            c.do("LCS", "x", "y", "LEN")
            return time.monotonic() - began

        answered, until = b"", time.monotonic() + 60
        while not answered and time.monotonic() < until:
            took = min(lcs() for _ in range(3))  # one of them may have waited for a processor
            with s.raw(timeout=60) as waiter, s.raw() as first, s.raw() as second:
                waiter.send(encode("WAIT", "1", int(took * 1000) + 1) + encode("INCR", "n") + encode("GET", "none"))
                time.sleep(took * 0.5)
                first.send(encode("LCS", "x", "y", "LEN"))  # the wait is over before this is
                time.sleep(took * 0.3)
                second.send(encode("LCS", "x", "y", "LEN"))  # after this one the server sees that
                time.sleep(took * 1.2)
                waiter.sock.shutdown(socket.SHUT_WR)
                answered = waiter.read_all()  # nothing, when its end came while it still waited
        assert answered == b":0\r\n:1\r\n$-1\r\n"


# ---- slow readers -----------------------------------------------------------------------------------------------------


def slow_reader(server, size, count):
    """A connection that asks for count * size bytes and reads none of them."""
    c = server.raw(rcvbuf=4096, timeout=30)
    c.send(b"".join(encode("GET", "blob") for _ in range(count)))
    return c


def test_hard_output_limit_closes_the_reader(start_server):
    s = start_server(config={"client-output-buffer-limit": ["normal", "8mb", "0", "0"]})
    with s.raw() as w:
        w.do("SET", "blob", "x" * MB)
        c = slow_reader(s, MB, 64)
        try:
            assert wait_for(lambda: int(s.info("stats")["client_output_buffer_limit_disconnections"]) == 1)
            assert wait_for(lambda: int(s.info("clients")["connected_clients"]) == 2)
            assert c.is_closed()
        finally:
            c.close()
        assert w.do("PING") == "PONG"


@pytest.mark.parametrize("command", ["KEYS", "LRANGE"])
def test_hard_output_limit_counts_a_reply_from_its_first_byte(start_server, command):
    """One that was over the limit by less than a chunk of output was sent; Valkey closes."""
    s = start_server(config={"client-output-buffer-limit": ["normal", "100000", "0", "0"]})
    words = ["KEYS", "*"] if command == "KEYS" else ["LRANGE", "l", "0", "-1"]

    def fill(c, count):
        c.do("FLUSHALL")
        names = ["%03d%s" % (i, "-" * 993) for i in range(count)]  # 1004 bytes each as a bulk: $996 and two ends of line
        if command == "KEYS":
            c.do("MSET", *(word for name in names for word in (name, "")))
        else:
            c.do("RPUSH", "l", *names)

    with s.raw() as w:
        fill(w, 90)
        with s.raw() as c:
            assert len(c.do(*words)) == 90
        fill(w, 105)
        with s.raw() as c:
            c.send(encode(*words))
            assert c.is_closed()
        assert int(s.info("stats")["client_output_buffer_limit_disconnections"]) == 1


@pytest.mark.timing
@pytest.mark.slow
def test_soft_output_limit_closes_the_reader_after_its_seconds(start_server):
    s = start_server(config={"client-output-buffer-limit": ["normal", "0", "2mb", "2"]})
    with s.raw() as w:
        w.do("SET", "blob", "x" * MB)
        started = time.monotonic()
        c = slow_reader(s, MB, 16)
        try:
            assert wait_for(lambda: int(s.info("stats")["client_output_buffer_limit_disconnections"]) == 1)
            assert time.monotonic() - started > 1.5
        finally:
            c.close()


@pytest.mark.timing
@pytest.mark.slow
def test_reader_that_catches_up_before_the_soft_limit_lives(start_server):
    s = start_server(config={"client-output-buffer-limit": ["normal", "0", "2mb", "3"]})

    def lives():
        """Or None: it did not catch up in time, on a machine that had something else to do."""
        began = time.monotonic()
        with slow_reader(s, MB, 16) as c:
            assert wait_for(lambda: int(s.info("memory")["mem_clients_normal"]) > 2 * MB)
            before = int(s.info("stats")["client_output_buffer_limit_disconnections"])
            try:
                assert [len(v) for v in c.read_some(16)] == [MB] * 16
            except (EOFError, OSError):
                assert time.monotonic() - began > 2, "closed before its time"
            if time.monotonic() - began > 2:
                return None
            time.sleep(3.5)
            assert c.do("PING") == "PONG"
            return int(s.info("stats")["client_output_buffer_limit_disconnections"]) == before

    with s.raw() as w:
        w.do("SET", "blob", "x" * MB)
        found = [lives()]
        while found[-1] is None and len(found) < 10:
            found.append(lives())
        assert found[-1], found


@pytest.mark.timing
def test_a_reader_that_never_reads_delays_nobody(start_server, slow):
    s = start_server(config={"client-output-buffer-limit": ["normal", "32mb", "0", "0"]})
    with s.raw() as w:
        w.do("SET", "blob", "x" * MB)

        def worst():
            took, readers = [], [slow_reader(s, MB, 16) for _ in range(4)]
            try:
                for i in range(500):
                    t = time.monotonic()
                    assert w.do("SET", "k%d" % i, i) == "OK"
                    took.append(time.monotonic() - t)
            finally:
                for c in readers:
                    c.close()
            return max(took)

        assert wait_for(lambda: worst() < 0.5 * slow)  # once: a thread may wait for a processor, too


# ---- what a client may send and cost --------------------------------------------------------------------------------


def test_query_buffer_limit_closes_the_sender(start_server):
    s = start_server(client_query_buffer_limit="1mb")
    with s.raw() as c:
        try:
            c.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5000000\r\n" + b"x" * 3_000_000)
            closed = c.is_closed()
        except OSError:
            closed = True
        assert closed
    assert wait_for(lambda: int(s.info("stats")["client_query_buffer_limit_disconnections"]) == 1)
    with s.raw() as c:
        assert c.do("SET", "k", "x" * 500_000) == "OK"


def test_proto_max_bulk_len(start_server):
    s = start_server(proto_max_bulk_len="1mb")
    with s.raw() as c:
        c.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048577\r\n")
        assert c.read() == "ERR Protocol error: invalid bulk length"
        assert c.is_closed()
    with s.raw() as c:
        assert c.do("SET", "k", "x" * MB) == "OK"
        assert c.do("APPEND", "k", "x") == "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
        assert c.do("SETRANGE", "k", MB, "x") == "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
        assert c.do("STRLEN", "k") == MB


def test_maxmemory_clients_evicts_the_biggest_client(start_server):
    s = start_server(maxmemory_clients="8mb")
    with s.raw() as w:
        assert w.do("CLIENT", "NO-EVICT", "ON") == "OK"
        w.do("SET", "blob", "x" * MB)
        c = slow_reader(s, MB, 64)
        try:
            assert wait_for(lambda: int(s.info("stats")["evicted_clients"]) >= 1)
            assert c.is_closed()
        finally:
            c.close()
        assert w.do("PING") == "PONG"


@pytest.mark.timing
@pytest.mark.plain_port  # Python reads 16 KB at a time, slower than the kernel tells of room
@pytest.mark.slow
def test_who_reads_a_long_reply_slowly_is_not_idle(start_server):
    s = start_server(timeout=1)
    size = 30 * MB
    with s.raw() as w:
        assert w.do("SET", "long", "x" * size) == "OK"

    def read_slowly(c):
        """Whether all came, and the longest time in which nothing was read."""
        c.send(encode("GET", "long"))
        begin = read = time.monotonic()
        longest = 0
        while len(c.buf) < size:
            try:
                more = c.fill()
            except ConnectionResetError:
                more = False
            longest, read = max(longest, time.monotonic() - read), time.monotonic()
            if not more:
                return False, longest
            if read < begin + 3 and len(c.buf) < size // 2:
                time.sleep(0.02)
        return True, longest

    for _ in range(10):
        with s.raw(rcvbuf=65536) as c:
            all_came, longest = read_slowly(c)
        if all_came:
            return
        assert longest > 0.5  # who had no processor for so long was idle indeed
    pytest.fail("the machine is too busy to read at all")


@pytest.mark.several_shards
def test_maxmemory_clients_evicts_the_biggest_client_of_all_threads(start_server):
    """Also when another thread is the first to see that memory is short."""
    s = start_server(maxmemory_clients="8mb")
    with s.raw() as big, s.raw() as small:
        big.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$6000000\r\nabc")
        assert wait_for(lambda: int(s.info("memory")["mem_clients_normal"]) > 5 * MB)
        small.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3000000\r\nabc")
        assert big.is_closed()
        small.send(b"x" * 2999997 + b"\r\n")
        assert small.read() == "OK"
        assert wait_for(lambda: int(s.info("stats")["evicted_clients"]) == 1)


def test_output_limit_holds_for_replies_of_all_shards(start_server):
    """KEYS, which is put together from all of them, as much as any other."""
    s = start_server(client_output_buffer_limit="normal 200kb 0 0")
    with s.raw() as w:
        assert w.do("DEBUG", "POPULATE", "20000", "a-prefix-that-is-long", "10") == "OK"
        with s.raw() as c:
            c.send(encode("KEYS", "*"))
            assert c.is_closed()
        assert wait_for(lambda: int(s.info("stats")["client_output_buffer_limit_disconnections"]) == 1)


@pytest.mark.plain_port  # who is refused is told nothing
def test_maxclients_refuses_and_counts(start_server):
    s = start_server(maxclients=12)
    clients = []
    try:
        for _ in range(12):
            c = s.raw()
            assert wait_for(lambda: c.do("CLIENT", "LIST").count(b"\n") == len(clients) + 1)  # that of the start has gone
            clients.append(c)

        def counted():
            """Received, rejected: who is refused was not received."""
            return [int(n) for n in re.findall(rb"(?:total_connections_received|rejected_connections):(\d+)", clients[0].do("INFO", "stats"))]

        received, rejected = counted()
        with s.raw() as c:
            assert c.read() == "ERR max number of clients reached"
            assert c.is_closed()
        assert counted() == [received, rejected + 1]
        clients.pop().close()

        assert wait_for(s.accepts)
        assert clients[0].do("CONFIG", "SET", "maxclients", "20") == "OK"
        for _ in range(5):
            c = s.raw()
            assert c.do("PING") == "PONG"
            clients.append(c)
    finally:
        for c in clients:
            c.close()


@pytest.mark.timing
@pytest.mark.slow
def test_timeout_closes_idle_clients(start_server):
    s = start_server(timeout=3)
    with s.raw() as idle, s.raw() as busy:
        closed = False
        deadline = time.monotonic() + 60
        while not closed and time.monotonic() < deadline:
            assert busy.do("PING") == "PONG"  # more often than every three seconds, whoever has the processor
            closed = idle.is_closed(0.2)
        assert closed
        assert busy.do("PING") == "PONG"


def test_tcp_keepalive_is_set_on_client_sockets(start_server):
    """Seen from outside: `ss` shows the keepalive timer of the server's socket."""
    if not shutil.which("ss"):
        pytest.skip("ss is not installed")
    s = start_server(tcp_keepalive=200)
    with s.raw() as c:
        c.do("PING")
        local = c.sock.getsockname()[1]
        look = ["ss", "-tno", "state", "established", "sport", "=", ":%d" % s.port, "and", "dport", "=", ":%d" % local]
        # While something is not acknowledged yet, another timer runs.
        assert wait_for(lambda: "timer:(keepalive" in subprocess.run(look, capture_output=True, text=True).stdout)
