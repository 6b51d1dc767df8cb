# SPDX-License-Identifier: BSD-3-Clause
"""The command line tools that people use every day, against this server."""

import os
import re
import subprocess
import time

import pytest

from conftest import tls_arguments, tool
from resp import encode

pytestmark = pytest.mark.row_once


@pytest.fixture
def filled(server, r):
    for i in range(300):
        r.set("tool%d" % i, "x" * (i + 1))
    return r


def test_cli_commands(run_tool, r):
    assert run_tool("redis-cli", "SET", "a", "b").stdout == "OK\n"
    assert run_tool("redis-cli", "GET", "a").stdout == "b\n"
    assert run_tool("redis-cli", "-3", "GET", "a").stdout == "b\n"
    assert run_tool("redis-cli", "-n", "3", "GET", "a").stdout == "\n"
    assert "unknown command" in run_tool("redis-cli", "NOSUCH").stdout
    assert run_tool("redis-cli", "-r", "5", "INCR", "n").stdout == "1\n2\n3\n4\n5\n"
    assert run_tool("redis-cli", "-x", "SET", "fromstdin", stdin="hello").stdout == "OK\n"
    assert run_tool("redis-cli", "GET", "fromstdin").stdout == "hello\n"


def test_cli_interactive(run_tool, r):
    done = run_tool("redis-cli", stdin="SET i 1\nINCR i\nHELLO 3\nGET i\nSELECT 2\nINFO server\nQUIT\n")
    assert "OK\n2\n" in done.stdout and "redis_version" in done.stdout


def test_cli_bigkeys(run_tool, filled):
    out = run_tool("redis-cli", "--bigkeys").stdout
    assert "Sampled 300 keys in the keyspace!" in out
    assert re.search(r"Biggest string found '?\"tool299\"'? has 300 bytes", out)
    assert "300 strings with 45150 bytes" in out


def test_cli_memkeys(run_tool, filled):
    out = run_tool("redis-cli", "--memkeys").stdout
    assert "Sampled 300 keys in the keyspace!" in out
    assert '"tool299" has ' in out or "Biggest string found" in out


@pytest.mark.parametrize("policy", ("allkeys-lru", "allkeys-lfu"))
def test_cli_lru_test(start_server, policy):
    """It asks for keys of which some are used much, and stores those that are missing, until it is ended. A cache of any
    eighth of them would have an eighth."""
    s = start_server(save="", appendonly="no", maxmemory_policy=policy)
    limit = int(s.info("memory")["used_memory"]) + (1 << 20)
    with s.raw() as c:
        assert c.do("CONFIG", "SET", "maxmemory", str(limit)) == "OK"
    ours, its = os.openpty()  # it tells each second, but to a terminal only
    cli = subprocess.Popen([tool("redis-cli"), "-p", str(s.port), *tls_arguments(), "--lru-test", "100000"], stdin=its, stdout=its, stderr=its)
    os.close(its)
    try:
        said = []
        for line in os.fdopen(ours, errors="replace"):
            said.append(line)
            found = re.search(r"Hits: \d+ \(([\d.]+)%\) \| Misses: \d+", line)
            assert found or not line.strip(), said
            assert len(said) < 100, said
            if found and float(found.group(1)) > 25 and int(s.info("stats")["evicted_keys"]) > 1000:
                break
        assert float(found.group(1)) < 100, said
        assert int(s.info("memory")["used_memory"]) < limit * 1.01 + (1 << 20)
    finally:
        cli.kill()
        cli.wait()


@pytest.fixture
def all_types(r):
    """Keys of all types on all shards; of each type one that is by far the biggest."""
    for i in range(40):
        some = range(40 if i == 7 else 3)
        r.set("string%d" % i, "x" * len(some) * 100)
        r.rpush("list%d" % i, *some)
        r.sadd("set%d" % i, *["m%d" % j for j in some])
        r.hset("hash%d" % i, mapping={"f%d" % j: j for j in some})
        r.zadd("zset%d" % i, {"m%d" % j: j for j in some})
        for j in some:
            r.xadd("stream%d" % i, {"n": j})
    return r


@pytest.mark.parametrize("cli", ("redis-cli", "valkey-cli"))
def test_cli_big_and_hot_keys_of_all_types(run_tool, all_types, cli):
    names = {"list": "items", "set": "members", "hash": "fields", "zset": "members", "stream": "entries"}
    out = run_tool(cli, "--bigkeys").stdout
    assert "Sampled 240 keys in the keyspace!" in out
    for kind, unit in names.items():
        assert re.search(r"Biggest +%s found '?\"%s7\"'? has 40 %s" % (kind, kind, unit), out), out
        assert "40 %ss with %d %s" % (kind, 39 * 3 + 40, unit) in out
    out = run_tool(cli, "--memkeys").stdout
    for kind in ("string", *names):
        found = re.search(r"Biggest +%s found '?\"%s\d+\"'? has (\d+) bytes" % (kind, kind), out)
        sizes = [all_types.memory_usage(kind + str(i)) for i in range(40)]
        assert found and int(found[1]) == max(sizes) == sizes[7], out
        assert "40 %ss with %d bytes" % (kind, sum(sizes)) in out
    all_types.config_set("maxmemory-policy", "allkeys-lfu")
    try:
        for _ in range(500):
            all_types.hget("hash3", "f1")
        out = run_tool(cli, "--hotkeys").stdout
        hottest = re.findall(r"hot key found with counter: (\d+)\s+keyname: \"(\w+)\"", out)
        assert hottest and hottest[0][1] == "hash3", out
    finally:
        all_types.config_set("maxmemory-policy", "noeviction")


def test_cli_scan(run_tool, filled):
    out = run_tool("redis-cli", "--scan", "--pattern", "tool1*").stdout.split()
    assert sorted(out) == sorted("tool%d" % i for i in range(300) if str(i).startswith("1"))


def test_cli_stat(server, filled):
    proc = subprocess.Popen(
        ["stdbuf", "-oL", tool("redis-cli"), "-p", str(server.port), "--stat", "-i", "0.1"], stdout=subprocess.PIPE, text=True
    )
    try:
        lines = [proc.stdout.readline() for _ in range(5)]
    finally:
        proc.kill()
        proc.wait()
    assert "keys" in lines[1]
    assert re.match(r"300 +\d+(\.\d+)?[KM] +\d+ +0 +\d+ \(\+\d+\) +\d+", lines[2]), lines[2]


@pytest.mark.slow
def test_cli_latency(server, r):
    proc = subprocess.Popen(
        [tool("redis-cli"), "-p", str(server.port), "--latency", "--raw", "-i", "1"], stdout=subprocess.PIPE, text=True
    )
    try:
        time.sleep(0.1)
        out, _ = proc.communicate(timeout=60)
    finally:
        proc.kill()
    low, high, average, count = out.split()
    assert int(low) <= float(average) <= int(high) and int(count) > 10


def test_cli_pipe(run_tool, server, r):
    data = b"".join(encode("SET", "pipe%d" % i, i) for i in range(50_000))
    out = run_tool("redis-cli", "--pipe", stdin=data).stdout.decode()
    assert "errors: 0, replies: 50000" in out
    assert r.dbsize() == 50_000


def test_cli_help_of_commands_comes_from_the_server(run_tool):
    done = run_tool("redis-cli", "COMMAND", "DOCS", "GET")
    assert "summary" in done.stdout


def test_cli_over_a_unix_socket(start_server, tmp_path):
    path = str(tmp_path / "cli.sock")
    start_server(unixsocket=path)
    done = subprocess.run([tool("redis-cli"), "-s", path, "PING"], capture_output=True, text=True, timeout=60)
    assert done.stdout == "PONG\n"


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", (1, 16))
def test_benchmark(run_tool, server, r, pipeline):
    done = run_tool("redis-benchmark", "-t", "ping,set,get,incr,mset", "-P", str(pipeline), "-n", "20000", "-r", "1000", "-q", timeout=100)
    assert done.returncode == 0
    out = done.stdout + done.stderr
    assert "rror" not in out.replace("WARNING", "")
    for name in ("PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"):
        assert re.search(re.escape(name) + r": \d+", out), name
    assert r.dbsize() > 100


@pytest.mark.slow
@pytest.mark.parametrize("name", ("redis-benchmark", "valkey-benchmark"))
def test_benchmark_of_all_types(run_tool, server, r, name):
    """Every test that the program has and that needs no script, each with its own answer."""
    tests = ["lpush", "rpush", "lpop", "rpop", "sadd", "hset", "spop", "zadd", "zpopmin", "lrange_100", "lrange_600"]
    if name == "valkey-benchmark":
        tests += ["mget", "xadd"]
    done = run_tool(name, "-t", ",".join(tests), "-P", "4", "-n", "2000", "-r", "500", "-q", timeout=100)
    out = done.stdout + done.stderr
    assert done.returncode == 0 and "rror" not in out.replace("WARNING", ""), out
    for test in tests:
        assert re.search(test + r"[^\r\n]*: \d+", out, re.I), test


def test_benchmark_with_resp3_and_many_clients(run_tool, server, r):
    done = run_tool("redis-benchmark", "-3", "-c", "200", "-t", "set,get", "-P", "8", "-n", "20000", "-d", "1000", "-q")
    assert done.returncode == 0
    assert "GET:" in done.stdout
