# SPDX-License-Identifier: BSD-3-Clause
"""Large values: they are received into the memory they stay in, and whatever goes wrong on the way costs nothing."""

import os
import random
import threading
import time

import pytest

from conftest import connect
from resp import RespError, encode
from server import wait_for

pytestmark = pytest.mark.row_each

MB = 1 << 20


def qbuf(r, name):
    return next(int(c["qbuf"]) for c in r.client_list() if c["name"] == name)


def send_in_parts(c, rng, data):
    """In parts of all sizes, with a breath now and then, so that the server sees many different cuts."""
    at = 0
    while at < len(data):
        n = rng.choice([1, 3, 100, 5000, 16384, 40000, MB])
        c.send(data[at : at + n])
        at += n
        if rng.random() < 0.2:
            time.sleep(0.001)


@pytest.mark.timing
@pytest.mark.shoal_only
def test_a_value_of_200_mb_takes_its_memory_once(start_server, slow):
    """It used to be collected in the input and then copied: twice the memory. Two such values in one request, too."""
    if slow > 1:
        pytest.skip("a sanitizer's memory says nothing")
    s = start_server(client_query_buffer_limit="2gb")
    r = connect(s, decode_responses=False)
    size = 200 * MB
    before = s.rss()
    part = random.Random(3).randbytes(MB)
    stop = threading.Event()
    peak = [0]

    def watch():
        while not stop.is_set():
            peak[0] = max(peak[0], s.rss())
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with s.raw(timeout=60) as c:
        c.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % size)
        for _ in range(200):
            c.send(part)
        c.send(b"\r\n")
        assert c.read() == "OK"
    stop.set()
    watcher.join()
    peak[0] = max(peak[0], s.rss())  # a watcher that does not get the CPU has missed the end
    assert peak[0] - before > size * 0.9
    assert peak[0] - before < size * 1.1 + 16 * MB
    memory = r.info("memory")["used_memory"]
    assert size < memory < size * 1.1 + 16 * MB
    assert r.strlen("k") == size
    assert all(r.getrange("k", i * MB, (i + 1) * MB - 1) == part for i in range(0, 200, 7))
    r.delete("k")
    assert wait_for(lambda: r.info("memory")["used_memory"] < 20 * MB)  # freed in slices


@pytest.mark.parametrize("seed", range(3))
def test_large_and_small_arguments_in_pipelines(server, seed):
    """Every command that stores a whole argument, on keys of all shards, however the bytes are cut."""
    rng = random.Random(seed)
    model = {}
    with server.raw(timeout=60) as c:
        c.do("FLUSHALL")
        for _ in range(15):
            out, expect = [], []
            for _ in range(rng.randrange(1, 12)):
                key = b"large%d" % rng.randrange(8)
                size = rng.choice([0, 5, 1000, 20_000, 32_767, 32_768, 33_000, 70_000, 300_000, 2 * MB])
                value, other = rng.randbytes(size), rng.randbytes(size)
                old = model.get(key)
                pick = rng.randrange(10)
                if pick == 0:
                    out.append(encode("SET", key, value))
                    expect.append("OK")
                elif pick == 1:
                    out.append(encode("GETSET", key, value))
                    expect.append(old)
                elif pick == 2:
                    out.append(encode("APPEND", key, value))
                    value = (old or b"") + value
                    expect.append(len(value))
                elif pick == 3:
                    out.append(encode("SETEX", key, 1000, value))
                    expect.append("OK")
                elif pick == 4:
                    out.append(encode("SETNX", key, value))
                    expect.append(int(old is None))
                    value = value if old is None else old
                elif pick == 5:
                    out.append(encode("SET", key, value, "XX", "GET"))
                    expect.append(old)
                    value = old if old is None else value
                elif pick == 6:
                    out.append(encode("MSET", b"{m}1", other, key + b"{m}", value, b"{m}2", value, b"{m}1", value))
                    expect.append("OK")
                    model.update({b"{m}1": value, key + b"{m}": value, b"{m}2": value})
                    value = old
                elif pick == 7:
                    out.append(encode("ECHO", value))
                    expect.append(value)
                    value = old
                elif pick == 8:
                    out.append(encode("SET", key, value) + encode("APPEND", key, "x") + encode("SETRANGE", key, 0, "y"))
                    expect += ["OK", len(value) + 1, len(value) + 1]
                    value = b"y" + (value + b"x")[1:]
                else:
                    out.append(encode("SET", key, other) + encode("SET", key, value, "IFEQ", other))
                    expect += ["OK", "OK"]
                if value is None:
                    model.pop(key, None)
                else:
                    model[key] = value
            sender = threading.Thread(target=send_in_parts, args=(c, rng, b"".join(out)))
            sender.start()
            for n, reply in enumerate(expect):
                assert c.read() == reply, "reply %d" % n
            sender.join()
        for key, value in model.items():
            assert c.do("GET", key) == value


def test_a_large_key_and_a_large_name(server):
    rng = random.Random(5)
    key, value = rng.randbytes(100_000), rng.randbytes(200_000)
    with server.raw() as c:
        c.do("FLUSHALL")
        c.send(encode("SET", key, value))
        assert c.read() == "OK"
        c.send(encode("SET", value, key) + encode("GET", key) + encode("GET", value))
        assert [c.read() for _ in range(3)] == ["OK", value, key]
        c.send(encode("DEL", key, key) + encode("GET", value))
        assert [c.read(), c.read()] == [1, key]
        c.send(encode(b"x" * 50_000, value))
        assert c.read().startswith("ERR unknown command 'xxx")
        assert c.do("PING") == "PONG"


def test_keys_on_several_shards_with_large_values(server):
    rng = random.Random(8)
    values = {b"apart%d" % i: rng.randbytes(100_000) for i in range(12)}
    with server.raw() as c:
        c.do("FLUSHALL")
        words = [w for pair in values.items() for w in pair]
        send_in_parts(c, rng, encode("MSET", *words))
        assert c.read() == "OK"
        assert c.do("MGET", *values) == list(values.values())


def test_a_pause_keeps_a_large_request_whole(server):
    """It arrives, must wait, and is read once more when the pause is over."""
    value = random.Random(7).randbytes(500_000)
    r = connect(server)
    with server.raw() as c:
        c.do("FLUSHALL")
        r.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
        c.send(encode("SET", "k", value) + encode("GET", "k") + encode("SET", "k", value[1:]))
        time.sleep(0.1)
        r.execute_command("CLIENT", "UNPAUSE")
        c.send(encode("GET", "k"))
        assert [c.read() for _ in range(4)] == ["OK", value, "OK", value[1:]]


@pytest.mark.shoal_only
def test_half_a_value_counts_to_its_client_and_dies_with_it(server, slow):
    r = connect(server)
    r.flushall()
    before = r.info("memory")["used_memory"]
    rss = server.rss()
    for round in range(20):
        name = "half%d" % round  # the one before may not be gone yet
        with server.raw() as c:
            c.do("CLIENT", "SETNAME", name)
            c.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % (20 * MB) + b"x" * (10 * MB))
            assert wait_for(lambda: 10 * MB <= qbuf(r, name) < 10 * MB + 100)
            line = next(x for x in r.client_list() if x["name"] == name)
            assert 0 <= int(line["qbuf-free"]) - 10 * MB < 100_000
            assert 20 * MB < int(line["tot-mem"]) < 21 * MB
    assert wait_for(lambda: all(not x["name"].startswith("half") for x in r.client_list()))
    assert wait_for(lambda: r.info("memory")["used_memory"] < before + MB)
    if slow == 1:
        assert wait_for(lambda: server.rss() < rss + 64 * MB)
    assert r.exists("k") == 0


@pytest.mark.shoal_only
def test_what_was_only_announced_costs_nothing(server, slow):
    rss = server.rss()
    clients = [server.raw() for _ in range(20)]
    for c in clients:
        c.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\nabc" % (512 * MB))
    r = connect(server)
    r.ping()
    time.sleep(0.2)
    if slow == 1:
        assert server.rss() < rss + 32 * MB
    assert r.info("clients")["connected_clients"] > 20
    for c in clients:
        c.close()


def test_the_limits_hold_for_what_arrives_apart(start_server):
    """More than the query buffer may hold ends the connection; more clients' memory than allowed evicts."""
    s = start_server(client_query_buffer_limit="4mb", proto_max_bulk_len="6mb")
    with s.raw() as c:
        c.send(encode("MSET", "{a}1", b"x" * (2 * MB), "{a}2", b"y" * (1 * MB)))
        assert c.read() == "OK"
        try:
            request = encode("MSET", "{a}1", b"x" * (2 * MB), "{a}2", b"y" * (2 * MB), "{a}3", b"y" * (5 * MB))
            c.send(request[:-100])  # whole, it might all be there before it is looked at
            while c.fill():
                pass
        except OSError:
            pass
    with s.raw() as c:
        c.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % (6 * MB + 1))
        assert c.read() == RespError("ERR Protocol error: invalid bulk length")
    r = connect(s)
    assert wait_for(lambda: r.info("stats")["client_query_buffer_limit_disconnections"] == 1)
    assert r.strlen("{a}2") == MB
    assert r.exists("{a}3") == 0


def values(size, count):
    return sum(([b"k%d" % i, b"v" * size] for i in range(count)), [])


@pytest.mark.parametrize("size, count", [(900_000, 3), (31_000, 300), (1_000, 9_000)])
def test_arguments_that_are_complete_are_no_query_buffer(start_server, size, count):
    """MSET of 3 x 400 MB closed the connection under the default limit; nor does it matter what waits before it."""
    s = start_server(client_query_buffer_limit="1mb")
    with s.raw(timeout=60) as c:
        c.send(encode("MSET", *values(size, count)))
        assert c.read() == "OK"
        c.send(encode("GET", "k0") + encode("MSET", *values(size, count)) + encode("GET", "k1"))
        assert c.read_some(3) == [b"v" * size, "OK", b"v" * size]
        before = int(s.info("memory")["mem_clients_normal"])
        c.send(encode("MSET", *values(size, count))[: -size // 2])
        assert wait_for(lambda: int(s.info("memory")["mem_clients_normal"]) > before + size * (count - 1))
    assert int(s.info("stats")["client_query_buffer_limit_disconnections"]) == 0


@pytest.mark.parametrize("size, lives", [(MB - 2, True), (MB - 1, False), (MB + 1, False)])
def test_one_bulk_is_query_buffer_with_its_line_end(start_server, size, lives):
    s = start_server(client_query_buffer_limit="1mb")
    with s.raw() as c:
        try:
            c.send(encode("MSET", "a", "v" * 900_000, "b", "v" * size))
            assert c.fill() == lives
        except OSError:
            assert not lives
    assert wait_for(lambda: int(s.info("stats")["client_query_buffer_limit_disconnections"]) == (0 if lives else 1))


def test_queued_commands_are_query_buffer(start_server):
    s = start_server(client_query_buffer_limit="1mb")
    with s.raw() as c:
        c.do("MULTI")
        assert c.do("MSET", "a", "v" * 600_000, "b", "v" * 600_000) == "QUEUED"
        c.send(b"*1\r\n$4\r\nEXEC\r\n")
        assert c.is_closed()


def test_a_client_with_half_a_value_is_evicted(start_server):
    s = start_server(maxmemory_clients="8mb")
    r = connect(s)
    r.execute_command("CLIENT", "NO-EVICT", "ON")
    with s.raw() as c:
        try:
            c.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % (30 * MB) + b"x" * (20 * MB))
        except OSError:
            pass
        assert wait_for(lambda: r.info("stats")["evicted_clients"] == 1)
    assert r.exists("k") == 0


@pytest.mark.timing
@pytest.mark.plain_port  # within TLS 64 KB are encrypted ahead of the socket
def test_a_pipeline_of_large_values_leaves_in_one_send(server):
    """Sixteen values of 16 KB took three sends, the last of two bytes: a third more of the server's time."""
    request = b"".join(encode("GET", "{wide}%d" % i) for i in range(16))
    with server.raw() as c, server.raw() as watch:
        for i in range(16):
            c.do("SET", "{wide}%d" % i, bytes([i]) * 16384)

        def writes():
            text = watch.do("INFO", "stats").decode()
            return int(text.split("total_writes_processed:")[1].split("\r\n")[0])

        def sends(rounds=20):
            before = writes()
            for _ in range(rounds):
                c.send(request)
                assert [c.read() for _ in range(16)] == [bytes([i]) * 16384 for i in range(16)]
            return (writes() - before) / rounds

        # And now and then one more, when a buffer is full: the first ones let that of the socket grow, and who reads may wait for a processor.
        assert wait_for(lambda: sends() < 2.5)


@pytest.mark.timing
@pytest.mark.slow
@pytest.mark.shoal_only
@pytest.mark.parametrize("content", ["random", "alike"])
def test_a_large_value_is_in_memory_twice_while_it_is_logged(start_server, slow, content):
    """It was there three to four times: in the record, and as bytes of the block."""
    if slow > 1:
        pytest.skip("a sanitizer's memory says nothing")
    s = start_server(appendonly="yes", appendfsync="no", auto_aof_rewrite_percentage="0")
    with s.raw(timeout=120) as c:
        assert c.do("SET", "small", "1") == "OK"
        before, length = s.rss(), 96 * MB
        value = (os.urandom(MB) if content == "random" else b"0123456789abcdef" * (MB // 16)) * (length // MB)
        assert c.do("SET", "large", value) == "OK"
        assert s.rss_peak() - before < 2.2 * length
        assert s.rss() - before < 1.2 * length or wait_for(lambda: s.rss() - before < 1.2 * length, 30)
        assert c.do("MULTI") == "OK" and c.do("SET", "large", b"x" + value[1:]) == "QUEUED" and c.do("SET", "other", "1") == "QUEUED"
        assert c.do("EXEC") == ["OK", "OK"]
    s.proc.kill(), s.proc.wait()
    s.start_again()
    with s.raw(timeout=120) as c:
        assert c.do("GET", "large") == b"x" + value[1:]
        assert c.do("MGET", "small", "other") == [b"1", b"1"]


@pytest.mark.timing
@pytest.mark.slow
def test_large_values_of_several_shards_take_their_memory_once(start_server, slow):
    """Their shards copied what the request had been received into."""
    if slow > 1:
        pytest.skip("a sanitizer's memory says nothing")
    s = start_server(client_query_buffer_limit="2gb")
    before = s.rss()
    values = {"several%d" % i: bytes([i]) * (8 * MB) for i in range(1, 25)}
    with s.raw(timeout=60) as c:
        c.send(encode("MSET", *(word for pair in values.items() for word in pair)))
        assert c.read() == "OK"
        assert s.rss_peak() - before < 8 * MB * len(values) * 1.2 + 32 * MB
        for name, value in values.items():
            assert c.do("GET", name) == value
        c.send(encode("MSET", *(word for name in values for word in (name, b"new" * MB))))  # over what is there
        assert c.read() == "OK"
        assert c.do("MGET", *values) == [b"new" * MB] * len(values)
