# SPDX-License-Identifier: BSD-3-Clause
"""Bugs that shipped in other servers of this protocol: each must not happen here. The names are rows of our list of them;
each test opens with how the bug showed."""

import os
import random
import re
import resource
import socket
import struct
import subprocess
import threading
import time

import pytest

from resp import RespError, encode
from server import free_port, wait_for
from test_shards import key_in

LLONG_MIN, LLONG_MAX = -(2**63), 2**63 - 1
BOUNDARIES = [LLONG_MIN, LLONG_MIN + 1, -(2**31) - 1, -(2**31), -1, 0, 1, 2**31 - 1, 2**31, 2**31 + 1, 2**32, LLONG_MAX - 1, LLONG_MAX, 2**63]
MB = 1 << 20


# ---- A. protocol, and what a client may cost before it says who it is ------------------------------------------------


def test_bug_01_unauthenticated_client_announces_huge_arguments(start_server, slow):
    """CVE-2021-32675: the server allocated what `*1048576` and `$536870912` announced, for anybody."""
    s = start_server(requirepass="x", maxclients=5000)
    before = s.rss()
    clients = []
    for n in range(400):
        c = s.raw()
        c.send([b"*1048576\r\n$536870912\r\n", b"*10\r\n$16384\r\n", b"*2\r\n$4\r\nAUTH\r\n$16384\r\nabc"][n % 3])
        clients.append(c)
    for c in clients[::3]:
        assert c.read() == "ERR Protocol error: unauthenticated multibulk length"
    assert s.rss() - before < (400 * 16 * 1024 + 16 * MB) * slow
    for c in clients:
        c.close()


@pytest.mark.parametrize("authenticated", (False, True))
def test_bug_02_reader_that_never_reads(start_server, authenticated, slow):
    """CVE-2025-21605: an unauthenticated client asked and never read; its replies grew to gigabytes."""
    config = {"maxmemory-clients": "16mb"}
    if not authenticated:
        config["requirepass"] = "x"
    s = start_server(config=config, password=None if authenticated else "x")
    c = s.raw(rcvbuf=4096, timeout=2)
    before = s.rss()
    if authenticated:
        c.do("SET", "blob", "x" * 15_000)  # small enough to be copied into each reply
    request = encode("GET", "blob") * 500
    sent = 0
    try:
        while sent < 400 * len(request):
            c.send(request)
            sent += len(request)
    except (socket.timeout, ConnectionResetError, BrokenPipeError, TimeoutError):
        pass
    ended = "evicted_clients" if authenticated else "client_output_buffer_limit_disconnections"
    assert wait_for(lambda: s.info("stats")[ended] == "1")
    assert s.rss() - before < 60 * MB * slow
    c.close()


def test_bug_03_parser_state_after_an_empty_request(server):
    """CVE-2026-27623: an empty request left the parser in a state that the next request tripped over, before any AUTH."""
    odd = [b"*0\r\n", b"*-1\r\n", b"\r\n", b"\n", b"*-2147483648\r\n"]
    good = [encode("PING"), b"PING\r\n", encode("ECHO", ""), encode("ECHO", "\r\n")]
    answers = {0: "PONG", 1: "PONG", 2: b"", 3: b"\r\n"}
    rng = random.Random(27623)
    for _ in range(100):
        stream, expect = b"", []
        for _ in range(20):
            stream += rng.choice(odd) if rng.random() < 0.6 else b""
            pick = rng.randrange(4)
            stream += good[pick]
            expect.append(answers[pick])
        cut = rng.randrange(len(stream))
        with server.raw() as c:
            c.send(stream[:cut])
            if cut % 3 == 0:
                time.sleep(0.001)
            c.send(stream[cut:])
            assert c.read_some(20) == expect


@pytest.mark.slow
def test_bug_04_accept_goes_on_after_it_failed(start_server, kind):
    """CVE-2025-48367: one failed accept stopped the server from accepting others."""
    s = start_server()
    limits = resource.prlimit(s.pid, resource.RLIMIT_NOFILE)
    with s.raw() as first:
        highest = max(map(int, os.listdir("/proc/%d/fd" % s.pid)))
        resource.prlimit(s.pid, resource.RLIMIT_NOFILE, (highest + 8, limits[1]))
        # io_uring remembers the limit of the moment when it was told to accept: another port makes it ask again.
        port = free_port()
        assert first.do("CONFIG", "SET", "port", port) == "OK"
        s.port = port
        waiting = [s.raw() for _ in range(20)]
        if kind == "shoal":  # it tells those whom it cannot accept
            assert waiting[-1].read() == RespError("ERR max number of clients reached")
        else:
            waiting[-1].send(encode("PING"))
            assert waiting[-1].is_silent()
        assert first.do("SET", "still", "served") == "OK"
        before = s.cpu_seconds()
        time.sleep(1)
        assert s.cpu_seconds() - before < 0.5 or kind != "shoal"
        resource.prlimit(s.pid, resource.RLIMIT_NOFILE, limits)
        if kind == "shoal":
            waiting += [s.raw() for _ in range(20)]
            assert [c.do("PING") for c in waiting[-20:]] == ["PONG"] * 20
        else:
            assert waiting[-1].read() == "PONG"
        for c in waiting:
            c.close()


def test_bug_05_line_breaks_in_errors_inject_replies(server):
    """CVE-2025-67733: CRLF inside an error text became a reply of its own; every reply after it was off by one."""
    rng = random.Random(67733)
    requests, count = b"", 0
    for _ in range(300):
        junk = bytes(rng.choice(b"\r\n+-:$*_,#(!=%~>|x\x00") for _ in range(rng.randrange(1, 30)))
        shape = rng.randrange(8)
        requests += {
            0: encode(b"no" + junk, junk, junk),
            1: encode("CLIENT", junk, junk),
            2: encode("CONFIG", "SET", junk, junk),
            3: encode("SET", "k", "v", junk),
            4: encode("OBJECT", junk, "k"),
            5: encode("DEBUG", "ERROR", junk),
            6: encode("CLIENT", "SETNAME", junk),
            7: encode("COMMAND", "GETKEYS", junk, junk),
        }[shape]
        requests += encode("ECHO", "mark%d" % count)
        count += 1
    for resp3 in (False, True):
        with server.raw() as c:
            if resp3:
                c.do("HELLO", "3")
            c.send(requests)
            for n in range(count):
                got = c.read()
                assert isinstance(got, RespError) or got == "OK"
                assert c.read() == b"mark%d" % n


@pytest.mark.parametrize("limit", (MB, 512 * MB, 1024 * MB, 4096 * MB, LLONG_MAX))
def test_bug_06_sizes_overflow_when_the_bulk_limit_is_raised(start_server, limit):
    """CVE-2021-21309, CVE-2021-41099: with proto-max-bulk-len raised, sums of sizes overflowed and the heap with them."""
    s = start_server(proto_max_bulk_len=limit)
    for size in (LLONG_MAX, LLONG_MAX - 1, 2**63, 2**62, 2**64 - 1, 2**64, -1):
        with s.raw() as c:
            c.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\nabc\r\n" % size)
            if 0 <= size <= limit:
                assert c.is_silent(0.05)
            else:
                assert c.read() == "ERR Protocol error: invalid bulk length"
    with s.raw() as c:
        c.do("SET", "k", "x")
        for offset in (LLONG_MAX, LLONG_MAX - 1, LLONG_MAX - 10, 2**62):
            assert isinstance(c.do("SETRANGE", "k", offset, "abc"), RespError)
        assert c.do("GET", "k") == b"x"
        for value in BOUNDARIES:
            got = c.do("CONFIG", "SET", "proto-max-bulk-len", value)
            assert (got == "OK") == (MB <= value <= LLONG_MAX)
        c.do("CONFIG", "SET", "proto-max-bulk-len", "512mb")


LISTEN_SPY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

int listen(int fd, int backlog) {
    struct sockaddr_un address = {0};
    socklen_t size = sizeof(address);
    struct stat st;
    if (getsockname(fd, (struct sockaddr *)&address, &size) == 0 && address.sun_family == AF_UNIX &&
        stat(address.sun_path, &st) == 0) {
        fprintf(stderr, "listens with mode %o\n", (unsigned)st.st_mode & 0777);
    }
    return ((int (*)(int, int))dlsym(RTLD_NEXT, "listen"))(fd, backlog);
}
"""


def test_bug_07_unix_socket_is_open_to_all_for_a_moment(start_server, monkeypatch, tmp_path):
    """CVE-2023-45145: listen() came before chmod(), so for a moment anybody could connect."""
    spy = tmp_path / "spy.so"
    command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(spy), "-ldl"]
    subprocess.run(command, input=LISTEN_SPY, text=True, check=True)
    monkeypatch.setenv("LD_PRELOAD", str(spy))
    monkeypatch.setenv("ASAN_OPTIONS", "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", ""))
    old = os.umask(0)
    try:
        s = start_server(unixsocket=str(tmp_path / "race.sock"), unixsocketperm="600")
    finally:
        os.umask(old)
    assert re.findall(r"listens with mode (\d+)", s.log()) == ["600"]


def test_bug_08_http_smuggles_commands(server, r):
    """Cross-protocol scripting: a web page made the browser POST commands to the server on localhost."""
    for head in (b"POST / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"Host: x\r\n", b"pOsT x\r\n", b"hOsT: x\r\n"):
        with server.raw() as c:
            try:
                c.send(head + b"\r\nSET smuggled yes\r\n")
            except (ConnectionResetError, BrokenPipeError):
                pass
            c.read_all()
    assert r.get("smuggled") is None


def test_bug_09_output_accounting_misses_some_replies(start_server):
    """Redis #14934: replies sent without a copy were not counted, so limits did not see them."""
    s = start_server()
    with s.raw() as w:
        w.do("SET", "blob", "x" * MB)
        reader = s.raw(rcvbuf=4096)
        reader.do("CLIENT", "SETNAME", "reader")
        reader.send(encode("GET", "blob") * 32)
        assert wait_for(lambda: int(s.info("memory")["mem_clients_normal"]) >= 20 * MB)
        line = [row for row in w.do("CLIENT", "LIST").decode().splitlines() if "name=reader" in row][0]
        row = dict(word.split("=", 1) for word in line.split())
        assert int(row["omem"]) + int(row["obl"]) >= 20 * MB
        assert int(row["tot-mem"]) >= int(row["omem"])
        reader.close()
        assert wait_for(lambda: int(s.info("memory")["mem_clients_normal"]) < MB)


# ---- D. arithmetic -----------------------------------------------------------------------------------------------------------

# Commands and where their integers are (None marks the place).
INTEGER_CALLS = [
    ["SETRANGE", "k", None, "v"], ["GETRANGE", "k", None, None], ["SUBSTR", "k", None, None], ["INCRBY", "n", None],
    ["DECRBY", "n", None], ["INCRBYFLOAT", "n", None], ["EXPIRE", "k", None], ["PEXPIRE", "k", None], ["EXPIREAT", "k", None],
    ["PEXPIREAT", "k", None], ["SETEX", "x", None, "v"], ["PSETEX", "x", None, "v"], ["SET", "x", "v", "EX", None],
    ["SET", "x", "v", "PX", None], ["SET", "x", "v", "EXAT", None], ["SET", "x", "v", "PXAT", None], ["GETEX", "k", "EX", None],
    ["GETEX", "k", "PX", None], ["GETEX", "k", "EXAT", None], ["GETEX", "k", "PXAT", None], ["SCAN", None],
    ["SCAN", "0", "COUNT", None], ["SELECT", None], ["MOVE", "k", None], ["SWAPDB", None, None], ["COPY", "{k}1", "{k}2", "DB", None],
    ["LCS", "{k}1", "{k}2", "IDX", "MINMATCHLEN", None], ["MSETEX", None, "k", "v"], ["WAIT", "0", None],
    ["CLIENT", "KILL", "ID", None], ["CLIENT", "LIST", "ID", None], ["CLIENT", "UNBLOCK", None], ["CLIENT", "PAUSE", None, "WRITE"],
    ["MEMORY", "USAGE", "k", "SAMPLES", None], ["HELLO", None], ["CONFIG", "SET", "timeout", None], ["CONFIG", "SET", "hz", None],
    ["CLIENT", "LIST", "MAXAGE", None], ["CLIENT", "LIST", "IDLE", None], ["CLIENT", "LIST", "DB", None],
    ["COMMAND", "GETKEYS", "MSETEX", None, "k", "v"],
]  # fmt: skip


@pytest.mark.parametrize("call", INTEGER_CALLS, ids=lambda c: "-".join(str(a) for a in c[:4]))
def test_bug_29_boundary_integers(server, request, call):
    """CVE-2022-35977: SETRANGE and SORT computed sizes that overflowed. Every integer of every command at every boundary:
    an answer, no crash, and the same kind of answer as Valkey's."""

    def answers(s):
        out = []
        for number in BOUNDARIES:
            with s.raw() as c:
                c.do("FLUSHALL")
                c.do("SET", "k", "hello")
                c.do("MSET", "{k}1", "ohmytext", "{k}2", "mynewtext")
                got = c.do(*[number if a is None else a for a in call])
                out.append((number, got.text if isinstance(got, RespError) else type(got).__name__))
                c.do("HELLO", "2")
                c.do("CLIENT", "UNPAUSE")
                c.do("CONFIG", "SET", "timeout", "0", "hz", "10")
        return out

    ours = answers(server)  # also where there is no Valkey to compare with
    assert ours == answers(request.getfixturevalue("valkey"))


@pytest.mark.parametrize("name", ("MGET", "DEL", "EXISTS", "TOUCH", "UNLINK", "MSET", "MSETEX", "COMMAND"))
@pytest.mark.parametrize("count", (0, 1, 15, 16, 17, 255, 256, 257, 1023, 1024, 1025, 10_000))
def test_bug_32_counts_around_every_fixed_size(server, r, name, count):
    """CVE-2025-62507: an array on the stack held only so many ids, the command took more."""
    keys = ["{n}%d" % i for i in range(count)]
    pairs = [x for k in keys for x in (k, "v")]
    with server.raw() as c:
        if name in ("MSET", "MSETEX"):
            call = [name] + ([str(count)] if name == "MSETEX" else []) + pairs
        elif name == "COMMAND":
            call = ["COMMAND", "GETKEYS", "MGET"] + keys
        else:
            call = [name] + keys
        got = c.do(*call)
        if count == 0:
            assert isinstance(got, RespError)
        elif name == "MGET":
            assert got == [None] * count
        elif name == "COMMAND":
            assert got == [k.encode() for k in keys]
        elif name == "MSET":
            assert got == "OK" and c.do("DBSIZE") == count
        elif name == "MSETEX":
            assert got == 1 and c.do("DBSIZE") == count
        else:
            assert got == 0
        if name == "MSETEX":
            assert isinstance(c.do("MSETEX", str(count + 1), *pairs), RespError)


# A stream with entries, some of which are deleted, that one consumer was given.
STREAM_CALLS = [
    ["XADD", "s", "MAXLEN", "~", None, "*", "f", "v"], ["XADD", "s", "MAXLEN", "~", "1", "LIMIT", None, "*", "f", "v"], ["XTRIM", "s", "MAXLEN", None],
    ["XRANGE", "s", "-", "+", "COUNT", None], ["XRANGE", "s", None, None], ["XREAD", "COUNT", None, "STREAMS", "s", "0"],
    ["XREADGROUP", "GROUP", "g", "d", "COUNT", None, "STREAMS", "s", ">"], ["XREADGROUP", "GROUP", "g", "c", "COUNT", None, "STREAMS", "s", "0"],
    ["XAUTOCLAIM", "s", "g", "d", "0", "0", "COUNT", None], ["XAUTOCLAIM", "s", "g", "d", None, "0"], ["XCLAIM", "s", "g", "d", None, "1-1"],
    ["XCLAIM", "s", "g", "d", "0", "1-1", "IDLE", None], ["XCLAIM", "s", "g", "d", "0", "1-1", "TIME", None, "RETRYCOUNT", None],
    ["XPENDING", "s", "g", "-", "+", None], ["XPENDING", "s", "g", "IDLE", None, "-", "+", "5"], ["XINFO", "STREAM", "s", "FULL", "COUNT", None],
    ["XSETID", "s", None, "ENTRIESADDED", None], ["XGROUP", "SETID", "s", "g", "0", "ENTRIESREAD", None], ["XGROUP", "CREATE", "s", "h", None],
]  # fmt: skip


@pytest.mark.parametrize("call", STREAM_CALLS, ids=lambda c: "-".join(str(a) for a in c[:7]))
def test_bug_31_counts_of_streams_at_the_edge(server, request, call):
    """CVE-2022-31144, CVE-2022-35951: XAUTOCLAIM multiplied its COUNT, and forgot what it found deleted."""

    idle = call[:2] == ["XPENDING", "s"] and "IDLE" in call or call[0] in ("XCLAIM", "XAUTOCLAIM") and call[4] is None

    def answers(s):
        out = []
        for number in BOUNDARIES:
            if idle and 0 < int(number) < 60000:
                continue  # so long it may have been idle, or not
            with s.raw() as c:
                c.do("DEL", "s")
                for i in range(1, 8):
                    c.do("XADD", "s", "1-%d" % i, "f", "v")
                c.do("XGROUP", "CREATE", "s", "g", "0")
                c.do("XREADGROUP", "GROUP", "g", "c", "COUNT", "6", "STREAMS", "s", ">")
                c.do("XDEL", "s", "1-2", "1-3")
                got = c.do(*[number if a is None else a for a in call])
                out.append((number, got.text if isinstance(got, RespError) else len(got) if isinstance(got, list) else type(got).__name__))
                out.append((c.do("XLEN", "s"), c.do("XPENDING", "s", "g")))
        return out

    ours = answers(server)
    assert ours == answers(request.getfixturevalue("valkey"))


@pytest.mark.parametrize("count", (0, 1, 7, 8, 9, 15, 16, 17, 1024, 10_000))
def test_bug_32_ids_around_every_fixed_size(server, r, count):
    """CVE-2025-62507: XACKDEL had room for eight ids on its stack. All that takes ids, with any number of them."""
    ids = ["1-%d" % i for i in range(1, count + 1)]
    with server.raw() as c:
        c.do("DEL", "s")
        c.do("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")
        c.send(b"".join(encode("XADD", "s", i, "f", "v") for i in ids))
        assert [c.read() for _ in ids] == [i.encode() for i in ids]
        for call, done in [
            (["XREADGROUP", "GROUP", "g", "c", "STREAMS"] + ["s"] * count + [">"] * count, None),
            (["XCLAIM", "s", "g", "d", "0"] + ids + ["JUSTID"], [i.encode() for i in ids]),
            (["XACK", "s", "g"] + ids, count),
            (["XREAD", "COUNT", "1", "STREAMS"] + ["s"] * count + ids, None),
            (["XDEL", "s"] + ids, count),
        ]:
            got = c.do(*call)
            assert isinstance(got, RespError) if count == 0 and call[0] != "XCLAIM" else done is None or got == done, call[:6]


def test_bug_34_msetnx_with_the_same_key_twice(server, r):
    """CVE-2023-28425: MSETNX with a key named twice hit an assertion."""
    with server.raw() as c:
        assert c.do("MSETNX", "d", "1", "d", "2") == 1
        assert c.do("GET", "d") == b"2"
        assert c.do("MSETNX", "d", "3", "d", "4") == 0
        assert c.do("MSETEX", 2, "e", "1", "e", "2", "NX") == 1
        assert c.do("GET", "e") == b"2"
        assert c.do("DEL", "d", "d") == 1 and c.do("DEL", "e", "e") == 1
        assert c.do("MSET", "d", "1", "d", "2", "d", "3") == "OK"
        assert c.do("RENAME", "d", "d") == "OK"
        assert c.do("COPY", "d", "d") == "ERR source and destination objects are the same"
        assert c.do("LCS", "d", "d") == b"3"
        assert c.do("EXISTS", "d", "d", "d") == 3


def test_bug_35_patterns_that_take_forever(server, r, slow):
    """CVE-2022-36021, CVE-2024-31228: a pattern like `*a*a*a*b` took exponential time, a long one overflowed the stack."""
    with server.raw(timeout=60) as c:
        c.do("SET", "a" * 5000, "1")
        c.do("SET", "b" * 100_000, "1")
        for pattern in ("*a" * 200 + "b", "*?" * 3000, "a*" * 1000 + "b", "[" * 50_000, "*" * 200_000 + "x", "\\" * 50_000, "?*" * 20_000 + "z"):
            t = time.monotonic()
            assert len(c.do("KEYS", pattern)) == (2 if pattern == "*?" * 3000 else 0)
            c.do("SCAN", "0", "MATCH", pattern, "COUNT", "1000")
            c.do("CONFIG", "GET", pattern)
            c.do("COMMAND", "LIST", "FILTERBY", "PATTERN", pattern)
            assert time.monotonic() - t < 5 * slow, pattern[:20]


def test_bug_36_lcs_of_big_values(server, r):
    """CVE-2021-29477: LCS multiplied two lengths into a size that overflowed."""
    with server.raw(timeout=30) as c:
        c.do("SET", "{l}1", "a" * 2_000_000)
        c.do("SET", "{l}2", "b" * 2_000_000)
        for options in ([], ["LEN"], ["IDX"]):
            got = c.do("LCS", "{l}1", "{l}2", *options)
            assert isinstance(got, RespError)
        assert c.do("PING") == "PONG"


@pytest.mark.parametrize("cursor", (2**63, 2**63 - 1, 2**63 + 1, 2**64 - 1, 2**32, 2**31, 16383, 16384, 2**48, 2**56))
def test_bug_37_scan_cursors_and_counts_at_the_edge(server, r, cursor):
    """Dragonfly #4466: SCAN 9223372036854775808 crashed; Redis #14982: SCAN COUNT overflowed."""
    for i in range(100):
        r.set("sc%d" % i, i)
    with server.raw() as c:
        for count in (1, 10, LLONG_MAX, LLONG_MAX - 1, 2**62, 2**32, 2**31):
            got = c.do("SCAN", cursor, "COUNT", count)
            assert isinstance(got, list)
            assert 0 <= int(got[0]) < 2**64
        assert c.do("DBSIZE") == 100


@pytest.mark.shoal_only
def test_bug_38_no_command_takes_more_than_a_second(server, r, slow):
    """Redis #13515: an invalid length led into an endless loop. Every command, any arguments: an answer within a second."""
    rng = random.Random(13515)
    with server.raw(timeout=5 * slow) as c:
        names = [n.decode() for n in c.do("COMMAND", "LIST")]
        skip = ("shutdown", "debug", "wait", "client|pause", "client|reply", "client|kill", "quit", "config|set", "sync", "psync")
        blocking = [n.decode() for n in c.do("COMMAND", "LIST", "FILTERBY", "ACLCAT", "blocking")]  # as long as they are told to
        names = [n for n in names if n not in skip and n not in blocking and not n.startswith(("subscribe", "psub", "ssub", "monitor", "client"))]
        values = [str(b) for b in BOUNDARIES] + ["", "k", "COUNT", "*", "EX", "x" * 1000, "0", "\x00"]
        for name in names:
            for _ in range(12):
                args = [rng.choice(values) for _ in range(rng.randrange(6))]
                if name == "setrange" and len(args) > 1:
                    args[1] = rng.choice(["0", "1", "-1", str(LLONG_MAX)])
                t = time.monotonic()
                c.do(*name.split("|"), *args)
                assert time.monotonic() - t < 1 * slow, (name, args)
            c.do("RESET")


def test_bug_40_keys_of_calls_that_are_cut_short(server):
    """CVE-2023-36824: COMMAND GETKEYS of a call with too few arguments read behind their end."""
    rng = random.Random(36824)
    values = [b"%d" % n for n in BOUNDARIES] + [b"", b"k", b"GET", b"1"]
    with server.raw() as c:
        for name in c.do("COMMAND", "LIST"):
            for count in (0, 1, 2, 3, 4, 7):
                args = [rng.choice(values) for _ in range(count)]
                got = c.do("COMMAND", "GETKEYS", *name.split(b"|"), *args)
                assert isinstance(got, RespError) or (got and set(got) <= set(args)), (name, args, got)


def test_bug_46_config_values_cannot_bring_in_lines(start_server):
    """CVE of 8.6.3: a line break in a value that CONFIG REWRITE wrote became a directive of its own."""
    s = start_server(config_file="# mine\n")
    with s.raw() as c:
        assert isinstance(c.do("CONFIG", "SET", "dir", "/tmp"), RespError)
        assert isinstance(c.do("CONFIG", "SET", "dbfilename", "x.so"), RespError)
        c.do("CONFIG", "SET", "proc-title-template", "a\nrequirepass injected")
        c.do("CONFIG", "SET", "availability-zone", "a\nrequirepass injected\n")
        assert c.do("CONFIG", "REWRITE") == "OK"
    with open(os.path.join(s.dir, "server.conf")) as f:
        lines = [line.strip() for line in f]
    assert not any(line.startswith("requirepass") for line in lines)


# ---- G. the life of clients, threads, deadlocks ------------------------------------------------------------------------------


def spread_keys(shards, n):
    return [key_in(i % shards, shards, "g%d:" % i) for i in range(n)]


def eight_at_once(work, slow):
    """work(n) in a thread each; all of them end."""
    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60 * slow)
        assert not t.is_alive()


def all_is_given_back(server, keys):
    """Nothing of clients that are gone is left: no watch, no lock that somebody would wait for."""
    with server.raw() as c:
        for n, key in enumerate(keys):
            assert c.do("SET", key, str(n)) == "OK"
        assert c.do("MULTI") == "OK"
        c.do("MGET", *keys)
        assert c.do("EXEC") == [[str(n).encode() for n in range(len(keys))]]
    if server.kind != "redis":
        assert wait_for(lambda: server.info("clients")["total_watched_keys"] == "0")


@pytest.mark.parametrize("how", ("kill", "close", "reset"))
def test_bug_47_client_dies_at_any_point_of_what_it_waits_for(server, r, shards, how):
    """CVE-2026-23479: a client was freed while its command still ran. Here one goes at every point of WATCH, MULTI, EXEC, commands
    over several shards, and of those that ask all shards."""
    keys = spread_keys(shards, 8)
    pairs = [word for key in keys for word in (key, "x")]
    calls = [
        [("WATCH", *keys)], [("MSET", *pairs)], [("KEYS", "*")], [("WAIT", "1", "0")], [("RENAME", keys[0], keys[1])],
        [("WATCH", *keys), ("MULTI",), ("MSET", *pairs), ("DBSIZE",), ("FLUSHALL",), ("CONFIG", "SET", "timeout", "0"), ("EXEC",)],
        [("WATCH", *keys), ("UNWATCH",), ("WATCH", *keys), ("MULTI",), ("INCR", keys[0]), ("KEYS", "*"), ("EXEC",), ("MGET", *keys)],
        [("FLUSHALL",), ("MSET", *pairs), ("SWAPDB", "0", "1"), ("SWAPDB", "0", "1")],
    ]  # fmt: skip
    rng = random.Random(47)
    killer = server.raw()
    for turn in range(400):
        stream = b"".join(encode(*call) for call in calls[turn % len(calls)])
        stream = stream * 3 if turn % len(calls) != 3 else stream
        c = server.raw()
        me = c.do("CLIENT", "ID")
        cut = len(stream) if rng.random() < 0.5 else rng.randrange(len(stream))
        c.send(stream[:cut])
        time.sleep(rng.choice((0, 0, 0.0002, 0.001)))
        if how == "kill":
            assert killer.do("CLIENT", "KILL", "ID", str(me)) in (0, 1)
        elif how == "reset":
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.close()
    killer.close()
    r.flushall()
    all_is_given_back(server, keys)


def test_bug_48_kill_of_a_client_whose_output_is_waiting(server, r, shards):
    """CVE-2026-56684: a killed client stayed in the list of those with something to send."""
    keys = spread_keys(shards, 4)
    for key in keys:
        r.set(key, "x" * 200_000)
    with server.raw() as killer:
        for turn in range(30):
            c = server.raw(rcvbuf=4096)
            me = c.do("CLIENT", "ID")
            c.send((encode("MULTI") + encode("MGET", *keys) + encode("EXEC")) * 5 + encode("MGET", *keys) * 5)
            time.sleep(0.002 * (turn % 3))
            assert killer.do("CLIENT", "KILL", "ID", str(me)) == 1
            assert killer.do("PING") == "PONG"
            c.close()
    all_is_given_back(server, keys)


def test_bug_49_kill_from_inside_of_a_walk_over_clients(server, r, shards):
    """Valkey #4198: CLIENT KILL freed clients that the walk was about to visit; also of itself, and inside EXEC."""
    keys = spread_keys(shards, 4)
    for _ in range(10):
        victims = [server.raw() for _ in range(12)]
        for n, c in enumerate(victims):
            c.do("CLIENT", "SETNAME", "victim")
            if n % 3 == 0:
                c.do("WATCH", *keys)
            elif n % 3 == 1:
                c.send(encode("WAIT", "1", "0"))
            else:
                c.do("MULTI")
        c = victims[-1]
        c.do("CLIENT", "KILL", "ID", "0")
        assert c.do("CLIENT", "LIST", "ID", "0") == "QUEUED"
        assert c.do("CLIENT", "KILL", "NAME", "victim", "SKIPME", "no") == "QUEUED"
        assert c.do("SET", keys[0], "after") == "QUEUED"
        c.send(encode("EXEC"))
        for victim in victims:
            assert victim.is_closed()
            victim.close()
    assert r.ping()
    assert r.get(keys[0]) == "after"
    all_is_given_back(server, keys)


@pytest.mark.slow
def test_bug_50_clients_of_all_threads_kill_each_other(server, r, shards, slow):
    """KeyDB #183, #206: two threads that killed each other's clients waited for each other for ever."""
    keys = spread_keys(shards, 4)
    stop, failed = time.monotonic() + 2, []

    def work(me):
        rng = random.Random(me)
        while time.monotonic() < stop:
            try:
                with server.raw(timeout=20 * slow) as c:
                    c.do("CLIENT", "SETNAME", "k%d" % me)
                    for _ in range(20):
                        c.do("SET", rng.choice(keys), "v", "PX", str(rng.randrange(1, 4)))
                        c.do("MULTI")
                        c.do("MSET", *[word for key in keys for word in (key, "v")])
                        c.do("EXEC")
                        c.do("CLIENT", "KILL", "NAME", "k%d" % rng.randrange(8))
            except (EOFError, ConnectionError):
                pass  # it was its turn
            except Exception as e:  # noqa: BLE001
                failed.append(repr(e))
                return

    eight_at_once(work, slow)
    assert not failed
    r.flushall()
    all_is_given_back(server, keys)


@pytest.mark.slow
def test_bug_51_transactions_that_want_each_others_keys(server, r, shards, slow):
    """Dragonfly #3530, #4568, #4685: transactions over several threads, databases, and global commands inside of them, waited in a
    circle. Here all want the same keys in different orders, some everything; each must be answered."""
    keys = spread_keys(shards, 4)
    stop, failed, done = time.monotonic() + 2, [], [0] * 8

    def work(me):
        rng = random.Random(me)
        try:
            with server.raw(timeout=30 * slow) as c:
                while time.monotonic() < stop:
                    mine = rng.sample(keys, 3)
                    inside = [
                        ("RENAME", mine[0], mine[1]), ("MSET", *[w for k in mine for w in (k, "v")]), ("COPY", mine[1], mine[2], "REPLACE"),
                        ("COPY", mine[2], mine[0], "DB", "1", "REPLACE"), ("MOVE", mine[0], "1"), ("DEL", *mine), ("MGET", *mine),
                        ("SWAPDB", "0", "1"), ("DBSIZE",), ("FLUSHALL",), ("SELECT", "1"), ("SELECT", "0"),
                    ]  # fmt: skip
                    calls = rng.sample(inside, 4)
                    if rng.random() < 0.7:
                        calls = [("WATCH", *mine), ("MULTI",)] + calls + [("EXEC",)]
                    c.send(b"".join(encode(*call) for call in calls))
                    c.read_some(len(calls))
                    done[me] += 1
        except Exception as e:  # noqa: BLE001
            failed.append(repr(e))

    eight_at_once(work, slow)
    assert not failed
    assert min(done) > 5
    r.flushall()
    all_is_given_back(server, keys)
