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

import dumps
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


@pytest.mark.timing
@pytest.mark.parametrize("authenticated", (False, True))
def test_bug_02_reader_that_never_reads(start_server, authenticated, slow):
    """CVE-2025-21605: an unauthenticated client asked and never read; its replies grew to gigabytes."""
    config = {"maxmemory-clients": "16mb"}
    if not authenticated:
        config["requirepass"] = "x"
    s = start_server(config=config, password=None if authenticated else "x")
    c = s.raw(rcvbuf=4096, timeout=5)
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


@pytest.mark.timing
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


# ---- C. dumps that are made to hurt -------------------------------------------------------------------------------------------

BAD_DUMP = "ERR Bad data format"


def lp(*items, count=None, size=None, broken=None):
    """A listpack of short texts and numbers; `count` and `size`: what it says of itself, `broken`: of its last element's length."""
    body = b""
    for item in items:
        if isinstance(item, int):
            data = bytes([item]) if 0 <= item < 128 else b"\xf4" + struct.pack("<q", item)
        else:
            data = bytes([0x80 | len(item)]) + item
        body += data + bytes([len(data)])
    if broken is not None:
        body = body[:-1] + bytes([broken])
    whole = 7 + len(body)
    return struct.pack("<IH", whole if size is None else size, len(items) if count is None else count) + body + b"\xff"


def packed(kind, row, version=11):
    return dumps.dump(kind, dumps.text(row), version)


def texts(*items):
    return b"".join(map(dumps.text, items))


def refuses(c, dump, why=""):
    """It is refused as broken and leaves nothing, and the server goes on; the same as a second dump over a key that is there."""
    assert c.do("RESTORE", "bad", "0", dump) == BAD_DUMP, why
    assert c.do("EXISTS", "bad") == 0, why
    c.do("SET", "bad", "old")
    assert c.do("RESTORE", "bad", "0", dump, "REPLACE") == BAD_DUMP, why
    assert c.do("GET", "bad") == b"old" and c.do("DEL", "bad") == 1, why


def takes(c, dump, key="good"):
    """It is taken; what it became can be dumped, and read once more."""
    assert c.do("RESTORE", key, "0", dump, "REPLACE") == "OK"
    again = c.do("DUMP", key)
    assert c.do("RESTORE", "again", "0", again, "REPLACE") == "OK"
    assert c.do("DEBUG", "DIGEST-VALUE", key) == c.do("DEBUG", "DIGEST-VALUE", "again")


PARSES_WHILE_COLLECTED = r"""
collectgarbage('setpause', 0) collectgarbage('setstepmul', 1000000)
local wrong = {}
for i = 1, 300 do
  local name = ('n'):rep(30) .. i .. ARGV[1]
  local code = {}
  for k = 1, 20 do code[k] = 'local a' .. k .. ' = "' .. ('s'):rep(50) .. k .. '" .. {' .. k .. '}' end
  code[#code + 1] = 'x ='
  local f, err = loadstring(table.concat(code, '\n'), '=' .. name)
  if f or not err:find(name:sub(1, 40), 1, true) or not err:find(':21: ', 1, true) then wrong[#wrong + 1] = tostring(err) end
  local good = assert(loadstring('local t = {...} return "' .. name .. '" .. #t, function() return t end', '=' .. name))
  local text, inner = good(1, 2)
  if text ~= name .. '2' or #inner() ~= 2 then wrong[#wrong + 1] = text end
end
collectgarbage('setpause', 200) collectgarbage('setstepmul', 200)
return wrong"""


def test_bug_11_and_12_code_that_is_parsed_while_garbage_is_collected(server):
    """CVE-2025-49844, CVE-2024-46981: names and texts that a parser still needed, or a script had, were collected as garbage. A collection
    with nearly every allocation, and every name is looked at afterwards; in an ASan build the libraries of our own are watched, too."""
    with server.raw() as c:
        for i in range(4):
            assert c.do("EVAL", PARSES_WHILE_COLLECTED, "0", str(i)) == []
        assert c.do("EVAL", "local co = {} for i = 1, 200 do co[i] = coroutine.wrap(function(...) local s = (...) .. i coroutine.yield(s) return s .. s end) co[i]('a') end "
                            "collectgarbage() local n = 0 for i = 1, 200 do n = n + #co[i]() end return n", "0") == 2 * (9 * 2 + 90 * 3 + 101 * 4)


BOUNDARY_ATTACK = r"""
local edges = {-2^63, -2^31 - 1, -2^31, -2^31 + 1, -1, 0, 1, 2, 2^31 - 2, 2^31 - 1, 2^31, 2^32 - 1, 2^32, 2^53, 2^63, 0/0, 1/0, -1/0, '', 'a', {}, {1, 2}, false}
local skipped = {['string.rep'] = true, ['redis.call'] = true, ['redis.pcall'] = true, ['server.call'] = true, ['server.pcall'] = true, ['_G.collectgarbage'] = true}
local seed, calls = tonumber(ARGV[1]), 0
local function draw() seed = (seed * 1103515245 + 12345) % 2147483648 return edges[math.floor(seed / 7) % #edges + 1] end
local names = {}
for _, library in ipairs({'_G', 'string', 'table', 'math', 'coroutine', 'os', 'bit', 'cjson', 'cmsgpack', 'struct', 'redis', 'server'}) do
  for name, f in pairs(_G[library]) do
    if type(f) == 'function' and not skipped[library .. '.' .. name] then names[#names + 1] = {library .. '.' .. name, f} end
  end
end
table.sort(names, function(a, b) return a[1] < b[1] end)
for _, named in ipairs(names) do
  for _ = 1, tonumber(ARGV[2]) do
    pcall(named[2], draw(), draw(), draw(), draw())
    calls = calls + 1
  end
end
redis.setresp(2)
return calls"""


def test_bug_13_integers_at_the_edge_and_long_brackets(server):
    """CVE-2025-46817, CVE-2025-46819: the length of unpack's result overflowed, and a long bracket without an end was read behind it."""
    with server.raw() as c:
        for i in range(20):
            assert c.do("EVAL", BOUNDARY_ATTACK, "0", str(i), "60") > 60 * 80
        for first, last in ((-(2**31), 2**31 - 1), (0, 2**31 - 1), (-1, 2**31 - 2), (2**31 - 9000, 2**31 - 1), (1, 10**7)):
            got = c.do("EVAL", "return {unpack({1, 2}, ARGV[1], ARGV[2])}", "0", str(first), str(last))
            assert "too many results to unpack" in str(got), (first, last, got)
        assert c.do("EVAL", "return {unpack({1, 2}, 2147483646, 2147483647)}", "0") == []
        for code in ("[", "[=", "[" + "=" * 70000, "--[" + "=" * 70000, "x = [" + "=" * 300 + "[ ]" + "=" * 299 + "]", "x = [[" + "]" * 5000, "'" + "\\9" * 3000, "x = 1e" + "9" * 999 + "e"):
            got = c.do("EVAL", "local f, err = loadstring(ARGV[1]) if f then return 'compiles' end return err", "0", code)
            assert isinstance(got, bytes) and (b"near" in got or got == b"compiles"), (code[:20], got)
        assert c.do("PING") == "PONG"


def test_bug_18_nothing_changes_under_a_script_that_lets_others_in(start_server):
    """CVE-2026-23631: while a script let others be answered, a sync replaced the data it was working on."""
    s = start_server(busy_reply_threshold=20)
    work = """while true do
      for i = 1, 50 do if redis.call('GET', 'k' .. i) ~= tostring(i) then return 'changed' end end
    end"""
    changes = (["FLUSHALL"], ["FLUSHDB"], ["SWAPDB", "0", "1"], ["DEBUG", "RELOAD"], ["FUNCTION", "FLUSH"], ["SCRIPT", "FLUSH"], ["SET", "k1", "x"], ["CONFIG", "SET", "appendonly", "yes"])
    with s.raw(timeout=60) as runs, s.raw(timeout=60) as c:
        assert c.do("MSET", *[word for i in range(1, 51) for word in (f"k{i}", i)]) == "OK"
        runs.send(encode("EVAL", work, "0"))
        assert wait_for(lambda: str(c.do("PING")).startswith("BUSY"))
        for words in changes:
            assert str(c.do(*words)).startswith("BUSY"), words
        assert c.do("SCRIPT", "KILL") == "OK"
        assert "killed by user" in str(runs.read())
        assert c.do("DBSIZE") == 50


def test_bug_19_there_is_no_debugger(server):
    """CVE-2021-32672: the protocol of the Lua debugger read beyond what it was sent."""
    with server.raw() as c:
        for mode in ("YES", "SYNC"):
            assert str(c.do("SCRIPT", "DEBUG", mode)) == "ERR SCRIPT DEBUG is not supported: there is no Lua debugger"
        assert c.do("SCRIPT", "DEBUG", "NO") == "OK"
        c.send(encode("EVAL", "redis.breakpoint() redis.debug('x') return 1", "0") + encode("PING"))
        assert c.read() == 1 and c.read() == "PONG"


@pytest.mark.shoal_only
def test_bug_20_elements_that_are_there_twice(server, r):
    """CVE-2026-25243: what a dump had twice was there twice, and walks of it left the memory of the value."""
    score = struct.pack("<d", 1.5)
    pad = [b"m%d" % i for i in range(700)]  # so many make a table at once
    with server.raw() as c:
        for name, dump in {
            "hash": dumps.dump(4, dumps.length(2) + texts(b"f", b"1", b"f", b"2")),
            "hash, a number and a text": dumps.dump(4, dumps.length(2) + texts(b"5", b"1") + b"\xc0\x05" + texts(b"2")),
            "large hash": dumps.dump(4, dumps.length(701) + texts(*[w for m in pad + pad[:1] for w in (m, b"v")])),
            "hash with deadlines": dumps.dump(22, dumps.length(2) + (texts(b"f", b"1") + struct.pack("<q", 2**45)) * 2, 80),
            "hash listpack": packed(16, lp(b"f", b"1", b"f", b"2")),
            "hash listpack, a number and a text": packed(16, lp(5, b"1", b"5", b"2")),
            "hash ziplist": packed(13, dumps.ziplist([b"f", b"1", b"f", b"2"])),
            "hash zipmap": packed(9, dumps.zipmap([(b"f", b"1"), (b"f", b"2")])),
            "hash listpack, a name alone": packed(16, lp(b"f", b"1", b"g")),
            "set": dumps.dump(2, dumps.length(2) + texts(b"m", b"m")),
            "large set": dumps.dump(2, dumps.length(701) + texts(*pad, b"m0")),
            "set listpack": packed(20, lp(b"m", b"n", b"m")),
            "set listpack, a number and a text": packed(20, lp(7, b"7")),
            "zset": dumps.dump(5, dumps.length(2) + (texts(b"m") + score) * 2),
            "large zset": dumps.dump(5, dumps.length(701) + b"".join(texts(m) + score for m in pad + pad[:1])),
            "zset in digits": dumps.dump(3, dumps.length(2) + (texts(b"m") + dumps.digits(1.5)) * 2),
            "zset listpack": packed(17, lp(b"m", 1, b"m", 2)),
            "zset ziplist": packed(12, dumps.ziplist([b"m", b"1", b"m", b"2"])),
            "zset listpack, a member alone": packed(17, lp(b"m", 1, b"n")),
        }.items():
            refuses(c, dump, name)


@pytest.mark.shoal_only
def test_bug_20_scores_that_are_no_numbers(server, r):
    """CVE-2026-25243: a score that is no number is in no order, and a tree with one cannot be searched."""
    nan, mad = struct.pack("<d", float("nan")), struct.pack("<Q", 0xFFF8000000000001)
    pad = b"".join(texts(b"m%d" % i) + struct.pack("<d", i) for i in range(200))
    with server.raw() as c:
        for name, dump in {
            "zset": dumps.dump(5, dumps.length(1) + texts(b"m") + nan),
            "zset, another": dumps.dump(5, dumps.length(1) + texts(b"m") + mad),
            "large zset": dumps.dump(5, dumps.length(201) + pad + texts(b"m") + nan),
            "zset in digits": dumps.dump(3, dumps.length(1) + texts(b"m") + b"\xfd"),
            "zset in digits, spelt": dumps.dump(3, dumps.length(1) + texts(b"m") + b"\x03nan"),
            "zset in digits, none": dumps.dump(3, dumps.length(1) + texts(b"m") + b"\x00"),
            "zset listpack": packed(17, lp(b"m", b"nan")),
            "zset listpack, a word": packed(17, lp(b"m", b"1x")),
            "zset listpack, nothing": packed(17, lp(b"m", b"")),
            "zset ziplist": packed(12, dumps.ziplist([b"m", b"-nan"])),
        }.items():
            refuses(c, dump, name)


@pytest.mark.shoal_only
def test_bug_20_rows_that_are_out_of_order(server, r):
    """CVE-2026-25243: a small sorted set was searched as if its order were right. Here it is put right."""
    rows = [b"c", 3, b"a", 1, b"z", 1, b"b", 2]
    with server.raw() as c:
        for dump in (packed(17, lp(*rows)), packed(12, dumps.ziplist([str(x).encode() if isinstance(x, int) else x for x in rows]))):
            takes(c, dump)
            assert c.do("ZRANGE", "good", "0", "-1") == [b"a", b"z", b"b", b"c"]
            assert c.do("ZRANK", "good", "c") == 3 and c.do("ZRANGEBYSCORE", "good", "2", "3") == [b"b", b"c"]
        # A text that should have been a number is found all the same.
        takes(c, packed(16, lp(b"12", b"v")))
        assert c.do("HGET", "good", "12") == b"v"
        takes(c, packed(20, lp(b"12", b"x")))
        assert c.do("SISMEMBER", "good", "12") == 1
        takes(c, dumps.dump(18, dumps.length(1) + dumps.length(2) + dumps.text(lp(b"12", b"x"))))
        assert c.do("LREM", "good", "0", "12") == 1


@pytest.mark.shoal_only
def test_bug_20_compressed_texts_and_lengths_that_lie(server, r):
    """CVE-2026-25243: what a text said of its length, packed or not, was believed."""

    def lzf(data, length, size=None):
        return b"\xc3" + dumps.length(len(data) if size is None else size) + dumps.length(length) + data

    sound = b"\x00a\xe0\x10\x00"  # an a, and 25 bytes more from one byte before
    with server.raw() as c:
        takes(c, dumps.dump(0, lzf(sound, 26)))
        assert c.do("GET", "good") == b"a" * 26
        for name, body in {
            "longer than it is": lzf(sound, 27),
            "shorter than it is": lzf(sound, 25),
            "of no length": lzf(sound, 0),
            "of nothing": lzf(b"", 26),
            "of more than there is": lzf(sound, 26, 1000),
            "from before its beginning": lzf(b"\x00a\xe0\x10\x07", 26),
            "ends in a run": lzf(b"\x00a\xe0", 26),
            "ends in texts": lzf(b"\x1fa", 32),
            "of gigabytes": lzf(sound, 2**32 - 1),
            "of more": lzf(sound, 2**63),
            "of all": lzf(sound, 2**64 - 1, 2**64 - 1),
            "a text of all": dumps.length(2**64 - 1) + b"abc",
            "a text of one more": dumps.length(4) + b"abc",
            "a number cut off": b"\xc2\x01\x00",
            "an unknown kind": b"\xc4abc",
            "a length of a kind that is none": b"\x82\x00\x00\x00\x03abc",
            "nothing": b"",
        }.items():
            refuses(c, dumps.dump(0, body), name)


@pytest.mark.shoal_only
def test_bug_20_modules_and_types_that_are_none(server, r):
    """CVE-2026-25588, CVE-2026-25589: values of modules. There are none here, so none is read; nor any other unknown type."""
    with server.raw() as c:
        for kind in [6, 7, 8] + list(range(23, 256)):
            for body in (b"", b"\x81" + b"\xff" * 8, b"\x81\x00\x00\x00\x00\x00\x00\x04\x00\x05\x01x\x00"):
                assert c.do("RESTORE", "bad", "0", dumps.dump(kind, body, 11)) == BAD_DUMP, kind
        hash_2 = dumps.length(1) + texts(b"f", b"v") + struct.pack("<q", -1)
        assert c.do("RESTORE", "bad", "0", dumps.dump(22, hash_2, 11)) == BAD_DUMP  # Redis means something else by it
        takes(c, dumps.dump(22, hash_2, 80))
        refuses(c, dumps.dump(22, dumps.length(1) + texts(b"f", b"v") + struct.pack("<q", -2), 80))
        assert c.do("EXISTS", "bad") == 0


MASTER = lp(1, 0, 1, b"f", 0, 2, 0, 0, b"v", 4)  # a node with the one entry 1-1
EVERYTHING = b"\x81" + b"\xff" * 8


def stream_id(ms, seq):
    return struct.pack(">QQ", ms, seq)


def stream(nodes=None, length=1, last=(1, 1), first=(1, 1), deleted=(0, 0), added=1, groups=b"\x00", kind=21):
    nodes = [(stream_id(1, 1), MASTER)] if nodes is None else nodes
    body = dumps.length(len(nodes)) + b"".join(texts(*node) for node in nodes)
    numbers = (length, *last) if kind == 15 else (length, *last, *first, *deleted, added)
    return dumps.dump(kind, body + b"".join(map(dumps.length, numbers)) + groups, 11)


def group(pending, consumers, name=b"g", read=1, last=(1, 1)):
    """`pending`: (id, delivered, deliveries) each; `consumers`: (name, seen, ids) each."""
    body = dumps.text(name) + b"".join(map(dumps.length, last)) + dumps.length(read) + dumps.length(len(pending))
    body += b"".join(stream_id(*i) + struct.pack("<q", at) + dumps.length(times) for i, at, times in pending)
    body += dumps.length(len(consumers))
    for name, seen, ids in consumers:
        body += dumps.text(name) + struct.pack("<qq", seen, seen) + dumps.length(len(ids)) + b"".join(stream_id(*i) for i in ids)
    return body


def groups(*some):
    return dumps.length(len(some)) + b"".join(some)


@pytest.mark.shoal_only
def test_bug_21_pending_entries_of_two_consumers(server, r):
    """CVE-2026-63639: two consumers had one pending entry, and it was freed twice."""
    one, two = ((1, 1), 5, 1), ((1, 2), 5, 1)
    with server.raw() as c:
        takes(c, stream(groups=groups(group([one], [(b"a", 5, [(1, 1)]), (b"b", 5, [])]))))
        assert c.do("XPENDING", "good", "g") == [1, b"1-1", b"1-1", [[b"a", b"1"]]]
        assert c.do("XGROUP", "DELCONSUMER", "good", "g", "a") == 1
        for name, some in {
            "two have it": [group([one], [(b"a", 5, [(1, 1)]), (b"b", 5, [(1, 1)])])],
            "one has it twice": [group([one], [(b"a", 5, [(1, 1), (1, 1)])])],
            "and another has none": [group([one, two], [(b"a", 5, [(1, 1), (1, 1)])])],
            "nobody has it": [group([one], [(b"a", 5, [])])],
            "there is nobody": [group([one], [])],
            "one has what is not pending": [group([one], [(b"a", 5, [(1, 1), (1, 2)])])],
            "it is pending twice": [group([one, one], [(b"a", 5, [(1, 1)]), (b"b", 5, [(1, 1)])])],
            "out of order": [group([two, one], [(b"a", 5, [(1, 1), (1, 2)])])],
            "two consumers of one name": [group([one], [(b"a", 5, []), (b"a", 5, [(1, 1)])])],
            "two groups of one name": [group([], []), group([one], [(b"a", 5, [(1, 1)])])],
            "in the second group": [group([], []), group([one], [(b"a", 5, [])], name=b"h")],
        }.items():
            refuses(c, stream(groups=groups(*some)), name)


@pytest.mark.shoal_only
def test_bug_21_times_and_counts_at_the_edge(server, request, r):
    """Numbers of groups that no server writes: nothing overflows, and the group goes on as in Valkey."""
    odd = [-(2**63), -(2**63) + 1, -2, -1, 0, 2**63 - 1]
    scenes = []
    for number in odd:
        whole = number % 2**64
        scenes.append(stream(added=whole, groups=groups(group([((1, 1), number, whole)], [(b"a", number, [(1, 1)])], read=whole))))
        scenes.append(stream(added=1, last=(2**64 - 1, 2**64 - 1), groups=groups(group([((1, 1), number, 1)], [(b"a", number, [(1, 1)])], read=whole, last=(0, 0)))))

    def answers(s):
        out = []
        with s.raw() as c:
            for dump in scenes:
                out.append(str(c.do("RESTORE", "k", "0", dump, "REPLACE")))
                for call in [
                    ["XINFO", "GROUPS", "k"], ["XREADGROUP", "GROUP", "g", "a", "STREAMS", "k", ">"], ["XINFO", "GROUPS", "k"],
                    ["XADD", "k", "*", "f", "v"], ["XREADGROUP", "GROUP", "g", "a", "COUNT", "1", "STREAMS", "k", ">"], ["XPENDING", "k", "g"],
                    ["XREADGROUP", "GROUP", "g", "a", "STREAMS", "k", "0"], ["XACK", "k", "g", "1-1"], ["XLEN", "k"],
                ]:  # fmt: skip
                    got = c.do(*call)
                    text = re.sub(r"\d{13}-\d+", "now", str(got))  # what was added
                    out.append((call, text))
                for call in (["XINFO", "CONSUMERS", "k", "g"], ["XINFO", "STREAM", "k", "FULL"], ["XPENDING", "k", "g", "-", "+", "9"], ["XAUTOCLAIM", "k", "g", "b", "0", "0"]):
                    assert isinstance(c.do(*call), list)
        return out

    ours = answers(server)
    theirs = answers(request.getfixturevalue("valkey"))
    for mine, other in zip(ours, theirs):
        assert mine == other
    # What nobody has asked about since, too: a consumer's age alone.
    with server.raw() as c:
        for number in odd:
            takes(c, stream(groups=groups(group([((1, 1), number, 1)], [(b"a", number, [(1, 1)])]))))
            assert isinstance(c.do("XINFO", "CONSUMERS", "good", "g"), list)
            assert isinstance(c.do("XPENDING", "good", "g", "IDLE", "1", "-", "+", "9"), list)
            assert isinstance(c.do("XCLAIM", "good", "g", "b", "1", "1-1"), list)


@pytest.mark.shoal_only
def test_bug_22_counts_inside_of_a_stream_that_lie(server, r):
    """Dragonfly #7931: the count of fields inside of a stream's node was trusted."""
    at = stream_id(1, 1)
    with server.raw() as c:
        takes(c, stream())
        takes(c, stream(kind=15))
        assert c.do("XRANGE", "good", "-", "+") == [[b"1-1", [b"f", b"v"]]]
        assert c.do("XADD", "good", "2-0", "f", "v") == b"2-0" and c.do("XTRIM", "good", "MAXLEN", "0") == 2
        huge = 2**63 - 1
        for name, node in {
            "more fields of the master": lp(1, 0, 2, b"f", 0, 2, 0, 0, b"v", 4),
            "fields beyond all": lp(1, 0, huge, b"f", 0, 2, 0, 0, b"v", 4),
            "fewer than none": lp(1, 0, -1, b"f", 0, 2, 0, 0, b"v", 4),
            "more entries": lp(2, 0, 1, b"f", 0, 2, 0, 0, b"v", 4),
            "entries beyond all": lp(huge, 0, 1, b"f", 0, 2, 0, 0, b"v", 4),
            "deleted ones that are not": lp(0, 1, 1, b"f", 0, 2, 0, 0, b"v", 4),
            "deleted ones, and they are": lp(1, 0, 1, b"f", 0, 3, 0, 0, b"v", 4),
            "an entry of more fields": lp(1, 0, 1, b"f", 0, 0, 0, 0, 9, b"f", b"v", 6),
            "an entry of fields beyond all": lp(1, 0, 1, b"f", 0, 0, 0, 0, huge, b"f", b"v", 6),
            "an entry of fewer than none": lp(1, 0, 1, b"f", 0, 0, 0, 0, -1, b"f", b"v", 6),
            "a way back that is wrong": lp(1, 0, 1, b"f", 0, 2, 0, 0, b"v", 9),
            "flags that are none": lp(1, 0, 1, b"f", 0, 64, 0, 0, b"v", 4),
            "counts that are texts": lp(b"x", 0, 1, b"f", 0, 2, 0, 0, b"v", 4),
            "a master without an end": lp(1, 0, 1, b"f", 7, 2, 0, 0, b"v", 4),
            "two of one id": lp(2, 0, 1, b"f", 0, 2, 0, 0, b"v", 4, 2, 0, 0, b"v", 4),
            "ids that go back": lp(2, 0, 1, b"f", 0, 2, 0, 5, b"v", 4, 2, 0, 1, b"v", 4),
            "only a master": lp(1, 0, 1),
            "nothing": lp(),
            "no listpack": b"",
            "another count of elements": lp(1, 0, 1, b"f", 0, 2, 0, 0, b"v", 4, count=9),
        }.items():
            refuses(c, stream([(at, node)], length=1), name)
        for name, dump in {
            "a length of more": stream(length=2),
            "a length of none": stream(length=0),
            "a last id before the last entry": stream(last=(1, 0)),
            "a node's id that is none": stream([(b"abc", MASTER)]),
            "a node twice": stream([(at, MASTER), (at, MASTER)], length=2),
            "nodes out of order": stream([(stream_id(2, 0), MASTER), (at, MASTER)], length=2, last=(3, 0)),
            "groups beyond all": stream(groups=EVERYTHING),
        }.items():
            refuses(c, dump, name)


@pytest.mark.shoal_only
def test_bug_23_packed_rows_that_lie(server, r):
    """CVE-2021-32627, 32628, 32687: sizes and counts of ziplists, intsets and streams were believed, or overflowed."""
    zl = dumps.ziplist([b"a", b"bb", b"3"])  # 10 bytes of head, then 3, 4 and 2 bytes, and the end
    assert len(zl) == 20

    def put(at, data):
        return zl[:at] + data + zl[at + len(data) :]

    u32 = struct.Struct("<I").pack
    ziplists = {
        "cut off": zl[:-1], "empty": b"", "a head": zl[:10], "longer": zl + b"\xff", "size less": put(0, u32(19)), "size more": put(0, u32(21)),
        "size of all": put(0, u32(2**32 - 1)), "tail before": put(4, u32(13)), "tail beyond": put(4, u32(2**31)), "count less": put(8, b"\x02\x00"),
        "count more": put(8, b"\x04\x00"), "way back": put(13, b"\x02"), "way back of five bytes": put(13, b"\xfe"), "length beyond": put(14, b"\x3f"),
        "length of 14 bits": put(14, b"\x7f\xff"), "length of 32 bits": put(11, b"\x80\xff\xff\xff\xff"), "no kind": put(18, b"\xff"), "no end": put(19, b"\x01"),
    }  # fmt: skip
    listpacks = {
        "cut off": lp(b"a", b"b")[:-1], "longer": lp(b"a", b"b") + b"\xff", "size less": lp(b"a", b"b", size=12), "size more": lp(b"a", b"b", size=14),
        "size of all": lp(b"a", b"b", size=2**32 - 1), "count less": lp(b"a", b"b", count=1), "count more": lp(b"a", b"b", count=3), "way back": lp(b"a", b"b", broken=1),
        "way back beyond": lp(b"a", b"b", broken=127), "way back of many bytes": lp(b"a", b"b", broken=255), "length beyond": lp(b"a", b"b").replace(b"\x81b", b"\xbfb"),
        "length of 12 bits": lp(b"a", b"bb").replace(b"\x82bb", b"\xef\xffb"), "length of 32 bits": lp(b"a", b"bbbbb").replace(b"\x85bbbbb", b"\xf0\xff\xff\xff\xffb"),
        "no kind": lp(b"a", b"b").replace(b"\x81b", b"\xf5b"), "no end": lp(b"a", b"b")[:-1] + b"\x01", "empty": b"", "a head": lp()[:6],
    }  # fmt: skip
    ints = dumps.intset([1, 2, 300])
    assert ints[:8] == struct.pack("<II", 2, 3)
    intsets = {
        "count more": struct.pack("<II", 2, 4) + ints[8:], "count less": struct.pack("<II", 2, 2) + ints[8:], "count of all": struct.pack("<II", 2, 2**32 - 1) + ints[8:],
        "count that overflows": struct.pack("<II", 2, 2**31 + 3) + ints[8:], "width": struct.pack("<II", 4, 3) + ints[8:], "width of none": struct.pack("<II", 0, 3) + ints[8:],
        "width of three": struct.pack("<II", 3, 2) + ints[8:], "out of order": ints[:8] + struct.pack("<hhh", 2, 1, 300), "twice": ints[:8] + struct.pack("<hhh", 1, 1, 300),
        "cut off": ints[:-1], "longer": ints + b"\x00\x00", "a head": ints[:7], "empty": b"",
    }  # fmt: skip
    zm = dumps.zipmap([(b"a", b"1"), (b"b", b"2")])
    zipmaps = {
        "cut off": zm[:-1], "longer": zm + b"\xff", "count more": b"\x03" + zm[1:], "count less": b"\x01" + zm[1:], "length beyond": zm[:1] + b"\x50" + zm[2:],
        "length of 32 bits": zm[:1] + b"\xfe\xff\xff\xff\xff" + zm[2:], "unused beyond": zm[:4] + b"\xf0" + zm[5:], "empty": b"", "a count": b"\x01",
    }  # fmt: skip
    with server.raw() as c:
        takes(c, dumps.dump(10, dumps.text(zl), 6))
        assert c.do("LRANGE", "good", "0", "-1") == [b"a", b"bb", b"3"]
        takes(c, packed(11, ints))
        assert c.do("SCARD", "good") == 3
        takes(c, packed(9, zm))
        assert c.do("HGETALL", "good") == [b"a", b"1", b"b", b"2"]
        for name, row in ziplists.items():
            refuses(c, packed(10, row), "list ziplist " + name)
            refuses(c, packed(13, row), "hash ziplist " + name)
            refuses(c, packed(12, row), "zset ziplist " + name)
            refuses(c, dumps.dump(14, dumps.length(2) + texts(zl, row)), "quicklist " + name)
        for name, row in listpacks.items():
            for kind in (16, 17, 20):
                refuses(c, packed(kind, row), "listpack %d %s" % (kind, name))
            refuses(c, dumps.dump(18, dumps.length(2) + dumps.length(2) + dumps.text(lp(b"x")) + dumps.length(2) + dumps.text(row)), "quicklist " + name)
        refuses(c, dumps.dump(18, dumps.length(1) + dumps.length(3) + dumps.text(lp(b"x"))), "a node of no kind")
        for name, row in intsets.items():
            refuses(c, packed(11, row), "intset " + name)
        for name, row in zipmaps.items():
            refuses(c, packed(9, row), "zipmap " + name)


@pytest.mark.shoal_only
def test_bug_24_hyperloglogs_of_any_bytes(server, r):
    """CVE-2025-32023: runs of a sparse HyperLogLog that reached past its end. By SET and by RESTORE."""
    rng = random.Random(32023)
    with server.raw() as c:
        c.do("PFADD", "sound", *range(50))
        sound = c.do("GET", "sound")
        for turn in range(600):
            runs = bytearray(sound[16:]) if turn % 2 else bytearray(rng.choice([0x7F, 0xFF, 0x80, 0x40, 0x00, rng.randrange(256)]) for _ in range(rng.randrange(60)))
            for _ in range(rng.randrange(3) if runs else 0):
                runs[rng.randrange(len(runs))] = rng.choice([0x7F, 0xFF, 0x00, rng.randrange(256)])
            data = b"HYLL" + bytes([rng.choice([0, 1, 1, 1, 2])]) + bytes(3) + struct.pack("<Q", rng.choice([0, 2**63, 2**64 - 1])) + bytes(runs)
            if turn % 3:
                c.do("SET", "h", data)
            else:
                assert c.do("RESTORE", "h", "0", dumps.dump(0, dumps.text(data)), "REPLACE") == "OK"
            for call in (["PFCOUNT", "h"], ["PFCOUNT", "h", "sound"], ["PFMERGE", "to", "h", "sound"], ["PFADD", "h", "a", "b"], ["PFMERGE", "h", "sound"], ["PFCOUNT", "h"]):
                got = c.do(*call)
                assert isinstance(got, (int, RespError)) or got == "OK", (call, data)
        assert c.do("PFCOUNT", "sound") == 50


def test_bug_26_floats_that_are_none_are_never_stored(server, r):
    """CVE-2023-28856: HINCRBYFLOAT stored what could not be read back, and the server ended when it was asked for."""
    rng = random.Random(28856)
    numbers = ["nan", "-nan", "inf", "-inf", "+inf", "1e308", "-1e308", "1.7976931348623157e308", "1e4932", "-1e4932", "1e5000", "5e-324", "1e-5000", "0", "-0", "3.0e3", "0x1p3", "1e17"]
    with server.raw() as c:
        for turn in range(400):
            c.do("DEL", "h", "s") if turn % 5 == 0 else None
            by = rng.choice(numbers) if rng.random() < 0.7 else repr(rng.uniform(-1, 1) * 10 ** rng.randrange(-300, 300))
            for call, get in ((["HINCRBYFLOAT", "h", "f", by], ["HGET", "h", "f"]), (["INCRBYFLOAT", "s", by], ["GET", "s"])):
                before, got = c.do(*get), c.do(*call)
                kept = c.do(*get)
                assert kept == (before if isinstance(got, RespError) else got), by
                assert kept is None or (b"n" not in kept and b"x" not in kept), (by, kept)
        c.do("HSET", "h", "f", "nan"), c.do("SET", "s", "nan")
        assert isinstance(c.do("HINCRBYFLOAT", "h", "f", "1"), RespError) and isinstance(c.do("INCRBYFLOAT", "s", "1"), RespError)
        c.do("HSET", "h", "f", "1.5")
        assert c.do("RESTORE", "again", "0", c.do("DUMP", "h"), "REPLACE") == "OK" and c.do("HGET", "again", "f") == b"1.5"


@pytest.mark.timing
@pytest.mark.shoal_only
def test_bug_27_counts_of_much_with_few_bytes(server, r, slow):
    """"Added limits during RDB load": a dump of a few bytes said how many elements come, and memory for them was taken."""
    counts = [2**20, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**60, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
    with server.raw() as c:
        c.do("SET", "warm", "up")
        before = server.rss()
        for n in counts:
            for kind, body in [
                (1, texts(b"a")), (2, texts(b"a")), (3, texts(b"a") + dumps.digits(1.0)), (4, texts(b"a", b"1")), (5, texts(b"a") + struct.pack("<d", 1)),
                (14, texts(dumps.ziplist([b"a"]))), (18, b"\x02" + texts(lp(b"a"))), (18, b"\x01" + texts(b"a")),
                (15, texts(stream_id(1, 1), MASTER)), (19, texts(stream_id(1, 1), MASTER)), (21, texts(stream_id(1, 1), MASTER)),
                (22, texts(b"a", b"1") + struct.pack("<q", -1)),
            ]:  # fmt: skip
                version = 80 if kind == 22 else 11

                def took(kind=kind, body=body, n=n, version=version):
                    t = time.monotonic()
                    refuses(c, dumps.dump(kind, dumps.length(n) + body, version), (kind, n))
                    refuses(c, dumps.dump(kind, dumps.length(n), version), (kind, n))
                    return time.monotonic() - t

                assert any(took() < 1 * slow for _ in range(5)), (kind, n)  # it may wait for a processor, too
            many = dumps.length(n)
            for some in (
                many,
                b"\x01" + dumps.text(b"g") + b"\x01\x01\x01" + many,  # pending entries
                b"\x01" + dumps.text(b"g") + b"\x01\x01\x01\x00" + many,  # consumers
                b"\x01" + dumps.text(b"g") + b"\x01\x01\x01\x00\x01" + dumps.text(b"c") + bytes(16) + many,  # what one has
            ):
                refuses(c, stream(groups=some), ("groups", n))
        assert server.rss() - before < 16 * MB * slow


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


# The same for commands on collections; None marks the places.
COLLECTION_CALLS = [
    "LPOP l ?", "RPOP l ?", "LMPOP 1 l LEFT COUNT ?", "LMPOP ? l LEFT", "LPOS l a RANK ?", "LPOS l a COUNT ?", "LPOS l a MAXLEN ?", "LRANGE l ? ?", "LINDEX l ?",
    "LSET l ? x", "LTRIM l ? ?", "LREM l ? a", "SORT l ALPHA LIMIT ? ?", "SORT l ALPHA LIMIT 1 ?", "SRANDMEMBER s ?", "SPOP s ?", "SINTERCARD ? s", "SINTERCARD 1 s LIMIT ?",
    "SSCAN s ?", "SSCAN s 0 COUNT ?", "HSCAN h ?", "HSCAN h 0 COUNT ?", "HRANDFIELD h ?", "HRANDFIELD h ? WITHVALUES", "HINCRBY h n ?", "HEXPIRE h ? FIELDS 1 a",
    "HPEXPIREAT h ? FIELDS 1 a", "HEXPIRE h 100 FIELDS ? a", "HGETEX h EX ? FIELDS 1 a", "HGETEX h FIELDS ? a", "HSETEX h FIELDS ? a 1", "ZSCAN z ?", "ZSCAN z 0 COUNT ?",
    "ZRANDMEMBER z ?", "ZRANDMEMBER z ? WITHSCORES", "ZRANGE z ? ?", "ZREVRANGE z ? ? WITHSCORES", "ZRANGE z 0 9 BYSCORE LIMIT ? ?", "ZRANGE z 0 9 BYSCORE LIMIT 1 ?",
    "ZRANGESTORE {z}d {z}z ? ?", "ZREVRANGEBYSCORE z 9 0 LIMIT ? 2", "ZRANGEBYLEX z - + LIMIT ? ?", "ZREMRANGEBYRANK z ? ?", "ZREMRANGEBYSCORE z ? ?", "ZCOUNT z ? ?",
    "ZPOPMIN z ?", "ZPOPMAX z ?", "ZMPOP 1 z MIN COUNT ?", "ZMPOP ? z MIN", "ZINTERCARD 1 z LIMIT ?", "ZUNION ? z", "ZINCRBY z ? m", "GEOSEARCH g FROMMEMBER m BYRADIUS 9 km COUNT ?",
    "BITCOUNT k ? ?", "BITCOUNT k ? ? BIT", "BITPOS k 1 ? ?", "BITPOS k 0 ? ? BIT", "GETBIT k ?", "SETBIT k ? 1", "BITFIELD k GET u8 ?", "BITFIELD k GET u8 #?", "BITFIELD k SET u8 ? 1",
    "BITFIELD k SET i64 #0 ?", "BITFIELD k OVERFLOW SAT INCRBY i64 0 ? INCRBY i64 0 ?", "BITFIELD k OVERFLOW FAIL INCRBY u63 0 ? INCRBY i8 3 ?",
]  # fmt: skip


@pytest.mark.parametrize("call", COLLECTION_CALLS)
def test_bug_30_boundary_integers_of_collections(server, request, call):
    """CVE-2023-22458, CVE-2023-25155: a count of LONG_MIN for HRANDFIELD and ZRANDMEMBER, a huge one for SRANDMEMBER, hit an
    assertion. Redis #14982: COUNT of SCAN and ZMPOP overflowed. CVE-2021-32761: places of bits did. Here all integers of collections."""
    draws = "RAND" in call
    writes_bits = call.startswith(("SETBIT", "BITFIELD k SET u8"))

    def answers(s):
        out = []
        for number in BOUNDARIES:
            if draws and LLONG_MIN // 2 <= number < -1 or number == LLONG_MIN + 1 and draws and "WITH" not in call:
                continue  # so many would come
            if writes_bits and 2**31 - 1 <= number < 2**32:
                continue  # a string so long
            with s.raw() as c:
                c.do("FLUSHALL")
                c.do("RPUSH", "l", "a", "b", "a", "c", "d"), c.do("SADD", "s", "a", "b", "1"), c.do("SET", "k", "\x0f\xff\x00ab")
                c.do("HSET", "h", "a", "1", "n", "7"), c.do("GEOADD", "g", "13.3", "38.1", "m")
                c.do("ZADD", "z", "1", "m", "2", "n", "3", "o"), c.do("ZADD", "{z}z", "1", "m", "2", "n")
                got = c.do(*call.replace("?", str(number)).split())
                if (call.startswith("LSET") or "#?" in call) and abs(number) > 2**31 + 1:
                    got = None if s.kind != "shoal" or isinstance(got, RespError) else got  # Valkey's overflow: docs/compat.md
                if isinstance(got, RespError):
                    got = got.text
                elif draws or call.startswith("SPOP") or "SCAN" in call:
                    got = len(got)
                out.append((number, got, [c.do("EXISTS", key) for key in ("l", "s", "h", "z", "{z}d")], c.do("ZCARD", "z"), c.do("LLEN", "l"), c.do("GET", "k")))
        return out

    ours = answers(server)
    assert ours == answers(request.getfixturevalue("valkey"))


def test_bug_31_counters_of_groups_at_their_end(server, request, r):
    """Counters of groups and pending entries that were set to the last number there is went on from it by undefined arithmetic."""

    def answers(s):
        with s.raw() as c:
            c.do("DEL", "s")
            for i in range(1, 4):
                c.do("XADD", "s", "1-%d" % i, "f", "v")
            calls = [
                ["XGROUP", "CREATE", "s", "g", "1-1", "ENTRIESREAD", LLONG_MAX], ["XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "STREAMS", "s", ">"], ["XINFO", "GROUPS", "s"],
                ["XCLAIM", "s", "g", "d", "0", "1-2", "RETRYCOUNT", LLONG_MAX], ["XCLAIM", "s", "g", "d", "0", "1-2"], ["XPENDING", "s", "g"],
                ["XCLAIM", "s", "g", "d", "0", "1-2", "RETRYCOUNT", LLONG_MAX], ["XAUTOCLAIM", "s", "g", "c", "0", "0"], ["XPENDING", "s", "g"],
                ["XCLAIM", "s", "g", "d", "0", "1-2", "RETRYCOUNT", LLONG_MAX], ["XREADGROUP", "GROUP", "g", "d", "STREAMS", "s", "0"], ["XPENDING", "s", "g"],
                ["XSETID", "s", "9-9", "ENTRIESADDED", LLONG_MAX], ["XADD", "s", "10-0", "f", "v"], ["XGROUP", "CREATE", "s", "h", "1-1"], ["XGROUP", "CREATE", "s", "i", "0"], ["XINFO", "GROUPS", "s"],
            ]  # fmt: skip
            out = [c.do(*call) for call in calls]
            return out + [row[3] for row in c.do("XPENDING", "s", "g", "-", "+", "9")]

    ours = answers(server)
    assert ours == answers(request.getfixturevalue("valkey"))


@pytest.mark.parametrize("count", (0, 1, 7, 8, 9, 15, 16, 17, 255, 256, 1024, 10_000))
def test_bug_32_fields_around_every_fixed_size(server, r, count):
    """Redis 8: HGETEX without its numfields read past its arguments. Any number of fields, and numbers that are not theirs."""
    fields = ["f%d" % i for i in range(count)]
    pairs = [word for f in fields for word in (f, "v")]
    with server.raw() as c:
        for call in (["HGETEX", "h", "FIELDS"], ["HGETEX", "h", "EX", "9", "FIELDS"], ["HTTL", "h", "FIELDS"], ["HPERSIST", "h", "FIELDS"], ["HEXPIRE", "h", "9", "FIELDS"], ["HSETEX", "h", "FIELDS"]):
            if "" in c.do("COMMAND", "INFO", call[0]) or c.do("COMMAND", "INFO", call[0]) == [None]:
                continue  # not in this version
            given = pairs if call[0] == "HSETEX" else fields
            assert isinstance(c.do(*call), RespError) and isinstance(c.do(*call, *given), RespError)
            for wrong in (0, -1, count + 1, count - 1, 2**31, 2**32 + count, LLONG_MAX, LLONG_MIN):
                assert isinstance(c.do(*call, wrong, *given), RespError), (call, wrong)
            c.do("DEL", "h")
            got = c.do(*call, count, *given)
            assert isinstance(got, RespError) if count == 0 else got == 1 if call[0] == "HSETEX" else len(got) == count, call


def test_bug_34_one_key_for_all(server, request, r):
    """CVE-2023-28425, of collections: a key that is source and destination, or both sources."""

    def answers(s):
        with s.raw() as c:
            c.do("FLUSHALL")
            c.do("RPUSH", "l", "a", "b", "c"), c.do("SADD", "s", "1", "2"), c.do("ZADD", "z", "1", "m", "2", "n"), c.do("SET", "k", "ab"), c.do("PFADD", "p", "a")
            calls = "LMOVE l l LEFT RIGHT|RPOPLPUSH l l|BLMOVE l l LEFT LEFT 1|LMPOP 2 l l LEFT|BLPOP l l 1|SMOVE s s 1|SINTER s s|SUNIONSTORE s s s|SDIFFSTORE s s s|SINTERCARD 2 z z|\
ZUNIONSTORE z 2 z z|ZINTERSTORE z 2 z z WEIGHTS 2 3|ZRANGESTORE z z 0 0|ZMPOP 2 z z MIN|ZDIFFSTORE z 2 z z|BITOP AND k k k|BITOP NOT k k|PFMERGE p p p|PFCOUNT p p|SORT l STORE l|EXISTS l s z k p|DEL l l p p"
            return [sorted(got) if isinstance(got, list) and call.startswith("S") else str(got) for call in calls.split("|") for got in [c.do(*call.split())]]

    ours = answers(server)
    assert ours == answers(request.getfixturevalue("valkey"))


@pytest.mark.parametrize("count", (1, 511, 512, 513, 5000))
def test_bug_36_copy_of_a_set_of_numbers(server, r, count):
    """CVE-2021-29478: COPY of a large intset wrote behind its copy."""
    with server.raw() as c:
        c.do("CONFIG", "SET", "set-max-intset-entries", "1000000")
        c.do("SADD", "{i}from", *range(-count, 0), *range(2**40, 2**40 + count))
        assert c.do("COPY", "{i}from", "{i}to") == 1
        c.do("SADD", "{i}to", "7"), c.do("SREM", "{i}from", str(-count))
        assert c.do("SCARD", "{i}to") == 2 * count + 1 and c.do("SCARD", "{i}from") == 2 * count - 1
        assert c.do("SISMEMBER", "{i}to", str(-count)) == 1 and c.do("OBJECT", "ENCODING", "{i}to") == b"intset"
        assert c.do("SDIFF", "{i}to", "{i}from") == [str(-count).encode(), b"7"]
        c.do("CONFIG", "SET", "set-max-intset-entries", "512")


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


@pytest.mark.timing
def test_bug_35_patterns_that_take_forever(server, r, slow):
    """CVE-2022-36021, CVE-2024-31228: a pattern like `*a*a*a*b` took exponential time, a long one overflowed the stack."""
    with server.raw(timeout=60) as c:
        c.do("SET", "a" * 5000, "1")
        c.do("SET", "b" * 100_000, "1")
        for pattern in ("*a" * 200 + "b", "*?" * 3000, "a*" * 1000 + "b", "[" * 50_000, "*" * 200_000 + "x", "\\" * 50_000, "?*" * 20_000 + "z"):

            def took(pattern=pattern):
                t = time.monotonic()
                assert len(c.do("KEYS", pattern)) == (2 if pattern == "*?" * 3000 else 0)
                c.do("SCAN", "0", "MATCH", pattern, "COUNT", "1000")
                c.do("CONFIG", "GET", pattern)
                c.do("COMMAND", "LIST", "FILTERBY", "PATTERN", pattern)
                return time.monotonic() - t

            assert any(took() < 5 * slow for _ in range(5)), pattern[:20]  # it may wait for a processor, too


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


@pytest.mark.timing
@pytest.mark.shoal_only
def test_bug_38_no_command_takes_more_than_a_second(server, r, slow):
    """Redis #13515: an invalid length led into an endless loop. Every command, any arguments: an answer within a second."""
    with server.raw(timeout=60) as c:
        names = [n.decode() for n in c.do("COMMAND", "LIST")]
        skip = ("shutdown", "debug", "wait", "client|pause", "client|reply", "client|kill", "quit", "config|set", "sync", "psync", "replicaof", "slaveof", "failover")
        blocking = [n.decode() for n in c.do("COMMAND", "LIST", "FILTERBY", "ACLCAT", "blocking")]  # as long as they are told to
        names = [n for n in names if n not in skip and n not in blocking and not n.startswith(("subscribe", "psub", "ssub", "monitor", "client"))]
        values = [str(b) for b in BOUNDARIES] + ["", "k", "COUNT", "*", "EX", "x" * 1000, "0", "\x00"]
        for name in names:
            rng = random.Random("13515 %s" % name)  # of its own: a new command changes nothing for the others
            for _ in range(12):
                args = [rng.choice(values) for _ in range(rng.randrange(6))]
                if name == "setrange" and len(args) > 1:
                    args[1] = rng.choice(["0", "1", "-1", str(LLONG_MAX)])

                def took(name=name, args=args):
                    t = time.monotonic()
                    c.do(*name.split("|"), *args)
                    return time.monotonic() - t

                assert any(took() < 1 * slow for _ in range(5)), (name, args)  # it may wait for a processor, too
            c.do("RESET")


def test_bug_39_keys_that_are_touched_are_keys_that_are_asked_for(server, r):
    """CVE-2023-41053 and others: SORT_RO, MSETEX and GEORADIUS with STORE touched keys of which the user's rules were not asked."""
    with server.raw() as admin, server.raw() as c:
        admin.do("MSET", "mine:w", "1", "yours:w", "2", "mine:1", "a", "yours:1", "b", "mine:num", "3", "yours:num", "4")
        admin.do("RPUSH", "mine:list", "1")
        admin.do("RPUSH", "yours:list", "1")
        for who in ("mine", "yours"):
            admin.do("GEOADD", who + ":geo", "13.361389", "38.115556", "Palermo")
            admin.do("ZADD", who + ":z", "1", "a", "2", "b")
            admin.do("SADD", who + ":s", "a", "b")
            admin.do("XADD", who + ":x", "1-1", "f", "v")
        assert admin.do("ACL", "SETUSER", "guest39", "on", ">p", "~mine:*", "%R~read:*", "+@all") == "OK"
        assert c.do("AUTH", "guest39", "p") == "OK"
        calls = [
            "SORT_RO yours:list", "SORT_RO mine:list BY yours:*", "SORT_RO mine:list GET yours:*", "SORT_RO mine:list GET mine:*",
            "SORT mine:list STORE yours:new", "SORT mine:list BY nosort GET #  STORE read:new",
            "MSETEX 2 mine:new v yours:new v", "MSETEX 1 read:new v NX", "MSETNX mine:new v yours:new v",
            "GEORADIUS mine:geo 15 37 200 km STORE yours:new", "GEORADIUS mine:geo 15 37 200 km STOREDIST yours:new",
            "GEORADIUS mine:geo 15 37 200 km STORE mine:new STORE yours:new", "GEORADIUS mine:geo 15 37 200 km STOREDIST mine:new STORE yours:new",
            "GEORADIUSBYMEMBER mine:geo Palermo 200 km STORE yours:new", "GEOSEARCHSTORE yours:new mine:geo FROMMEMBER Palermo BYRADIUS 1 km",
            "GEOSEARCHSTORE mine:new yours:geo FROMMEMBER Palermo BYRADIUS 1 km", "GEORADIUS mine:geo 15 37 200 km STORE read:new",
            "ZUNIONSTORE mine:new 2 mine:z yours:z", "ZUNIONSTORE yours:new 1 mine:z", "ZUNION 2 mine:z yours:z", "ZINTERCARD 2 mine:z yours:z",
            "ZRANGESTORE yours:new mine:z 0 -1", "ZRANGESTORE mine:new yours:z 0 -1", "SINTERCARD 2 mine:s yours:s", "SDIFFSTORE mine:new mine:s yours:s",
            "BITOP OR mine:new mine:num yours:num", "BITOP OR yours:new mine:num", "PFMERGE mine:new yours:hll", "PFCOUNT mine:a yours:a", "LCS mine:num yours:num",
            "LMPOP 2 mine:nolist yours:list LEFT", "ZMPOP 2 mine:noz yours:z MIN", "BLMPOP 1 2 mine:nolist yours:list LEFT", "BZMPOP 1 2 mine:noz yours:z MIN",
            "BLPOP mine:nolist yours:list 1", "LMOVE mine:list yours:new LEFT LEFT", "BLMOVE yours:list mine:new LEFT LEFT 1", "SMOVE mine:s yours:s a",
            "XREAD STREAMS mine:x yours:x 0 0", "XREAD COUNT 1 STREAMS yours:x 0", "XREADGROUP GROUP g c STREAMS yours:x >", "COPY mine:num yours:new", "COPY yours:num mine:new",
            "COPY mine:num read:new", "RENAME mine:num yours:new", "RENAMENX yours:num mine:new", "GETEX read:a PERSIST", "GETDEL read:a", "SET read:a v GET", "GETSET read:a v",
            "EVAL return 2 mine:a yours:a", "EVAL_RO return 1 yours:a", "FCALL nosuch 1 yours:a", "OBJECT FREQ yours:num", "MEMORY USAGE yours:num",
            "MIGRATE 127.0.0.1 1 yours:num 0 10", "TOUCH mine:num yours:num", "UNLINK mine:nokey yours:num", "WATCH yours:num", "DUMP yours:num", "MGET mine:num yours:num",
        ]  # fmt: skip
        before = {key: admin.do("DUMP", key) for key in ("yours:list", "yours:z", "yours:s", "yours:num", "yours:new", "read:new")}
        for call in calls:
            words = call.split()
            reply = c.do(*words)
            if isinstance(reply, RespError) and reply.text.startswith(("ERR unknown command", "ERR syntax error")):
                continue  # of another version
            assert isinstance(reply, RespError) and ("NOPERM" in reply.text or "insufficient ACL permissions" in reply.text), (call, reply)
        assert {key: admin.do("DUMP", key) for key in before} == before
        assert c.do("SORT_RO", "mine:list") == [b"1"] and c.do("GEORADIUS", "mine:geo", "15", "37", "200", "km", "STORE", "mine:new") == 1
        admin.do("ACL", "DELUSER", "guest39")


def test_bug_40_keys_of_calls_that_are_cut_short(server):
    """CVE-2023-36824: COMMAND GETKEYS of a call with too few arguments read behind their end."""
    rng = random.Random(36824)
    values = [b"%d" % n for n in BOUNDARIES] + [b"", b"k", b"GET", b"1"]
    with server.raw() as c:
        for name in c.do("COMMAND", "LIST"):
            for count in (0, 1, 2, 3, 4, 7):
                args = [rng.choice(values) for _ in range(count)]
                got = c.do("COMMAND", "GETKEYS", *name.split(b"|"), *args)
                # Scripts may have no keys, and what they say of how many they have is not believed.
                some = got or name.startswith((b"eval", b"fcall"))
                assert isinstance(got, RespError) or (some and set(got) <= set(args)), (name, args, got)


SELECTORS = [
    "(", ")", "()", "( )", "(()", "())", "((+get))", "(+get", "+get)", "(+get) (", "(~a (+get))", "(+get)(+set)", "(on)", "(>x)", "(reset)", "(clearselectors)", "(~a +nosuch)",
    "(%R)", "(%R~a", "%R~(", "(~a)b", "(\t)", "(+@)", "(+config|)", "(db=)", "(db=x)", "(&", "(+get\0)", "(" * 500 + ")" * 500, "( " * 500 + ") " * 500, "(" + "~a " * 5000 + ")",
    "(+@all -@all +@read -@write ~* %W~x &c db=0)", "(~" + "(" * 100 + ")", "(-@all", "  ( +get )  ",
]  # fmt: skip


@pytest.mark.shoal_only  # Valkey 9.1.2 ends by a signal at ACL LOAD
@pytest.mark.row_each
def test_bug_41_selectors_that_do_not_end(start_server, tmp_path):
    """CVE-2024-51741: a selector that made no sense ended the server; CVE-2024-31227. What is told of a user makes the same one again."""
    rng = random.Random(51741)
    path = tmp_path / "users.acl"
    path.write_text("user default on nopass ~* &* +@all\n")
    s = start_server(aclfile=str(path))
    with s.raw() as c:
        for n in range(300):
            rules = rng.choices(SELECTORS, k=1 if n < len(SELECTORS) else rng.randrange(1, 5))
            if n < len(SELECTORS):
                rules = [SELECTORS[n]]
            words = rules if rng.random() < 0.5 else " ".join(rules).split(" ")
            reply = c.do("ACL", "SETUSER", "u%d" % (n % 40), *words)
            assert reply == "OK" or reply.text.startswith("ERR"), words
            c.do("ACL", "DRYRUN", "u%d" % (n % 40), "GET", "a")
        told = c.do("ACL", "LIST")
        assert len(told) > 5
        path.write_bytes(b"\n".join(told) + b"\n")
        assert c.do("ACL", "LOAD") == "OK" and c.do("ACL", "LIST") == told
        assert c.do("ACL", "SAVE") == "OK" and c.do("ACL", "LOAD") == "OK" and c.do("ACL", "LIST") == told
        for rules in SELECTORS:
            path.write_text("user default on nopass ~* &* +@all\nuser x %s\n" % rules)
            reply = c.do("ACL", "LOAD")
            assert reply == "OK" or reply.text.startswith("ERR "), rules
        assert c.do("PING") == "PONG"


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
                with server.raw(timeout=60 * slow) as c:
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
                while time.monotonic() < stop or done[me] <= 5:
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
