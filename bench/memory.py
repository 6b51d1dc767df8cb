#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""memory: what docs/operations.md says of memory, measured: bench/memory.py [limit|deletes|idle ...] [--rounds N].

limit     the server's CPU for a SET of a new key of 100 bytes where each has to make room for itself, and where there is room; one
          shard, pipeline 16. The servers take turns; medians of the rounds, and the first by the second.
deletes   RSS by used_memory, when nine of ten keys at random of a gigabyte of mixed sizes have been deleted and a while has passed,
          and the longest PING meanwhile
idle      RSS for each of ten thousand connections that have sent nothing
"""

import argparse
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time

import servers

POLICIES = "allkeys-lru,allkeys-lfu,allkeys-random,volatile-lru,volatile-lfu,volatile-random,volatile-ttl"
BATCH = 500


def all_cpus():
    return ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0)))


def request(*words):
    words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def ask(server, *words):
    """One request, and what the first line of the answer, or the text of it, is."""
    with server.connect() as s, s.makefile("rb") as f:
        s.sendall(request(*words))
        line = f.readline()
        if line[:1] == b"-":
            sys.exit("bench: %s answers %r" % (server.name, line))
        return f.read(int(line[1:])).decode() if line[:1] == b"$" else line[1:].strip().decode()


def info(server, field):
    return int(next(line for line in ask(server, "INFO", "everything").split("\r\n") if line.startswith(field + ":")).split(":")[1])


# ---- limit -----------------------------------------------------------------------------------------------------------


def load(server, tool, cpu, n, policy):
    line = ["taskset", "-c", cpu, tool, "-p", str(server.port), "-P", "16", "-r", "1000000000", "-n", str(n), "-d", "100", "-q"]
    words = ["SET", "key:__rand_int__", "v" * 100] + (["EX", "10000"] if policy.startswith("volatile") else [])
    subprocess.run(line + words, check=True, capture_output=True)


def cost_of_write(contestant, tool, options, policy, limited):
    """In microseconds."""
    name, kind, command = contestant
    allowed = sorted(os.sched_getaffinity(0))
    server = servers.Server(name, command, str(allowed[0]), kind)
    server.start()
    try:
        load(server, tool, str(allowed[-1]), options.fill, policy)
        if limited:
            ask(server, "CONFIG", "SET", "maxmemory-policy", policy, "maxmemory", info(server, "used_memory"))
            load(server, tool, str(allowed[-1]), options.fill, policy)  # the use of memory has settled
        before, gone = server.cpu_ns(), info(server, "evicted_keys")
        load(server, tool, str(allowed[-1]), options.requests, policy)
        used = (server.cpu_ns() - before) / 1000 / options.requests
        if limited and info(server, "evicted_keys") - gone < options.requests * 0.75:
            sys.exit("bench: %s has not evicted a key for each write" % name)
        return used
    finally:
        server.stop()


def limit(options, contestants):
    tool = options.benchmark
    for policy in options.policies.split(","):
        found = {c[0]: ([], []) for c in contestants}
        for _ in range(options.rounds):
            for c in contestants:
                for limited in (False, True):
                    found[c[0]][limited].append(cost_of_write(c, tool, options, policy, limited))
        shown = []
        for name, (below, at) in found.items():
            a, b = statistics.median(at), statistics.median(below)
            shown.append("%s %.2f us, %.2f below the limit: %.2f" % (name, a, b, a / b))
        print("limit, %s: %s" % (policy, "; ".join(shown)), flush=True)


# ---- deletes ---------------------------------------------------------------------------------------------------------


def send_all(server, requests):
    """In batches."""
    with server.connect() as s, s.makefile("rb") as f:
        count = 0
        batch = []

        def flush():
            s.sendall(b"".join(batch))
            for _ in batch:
                if f.readline()[:1] not in (b"+", b":"):
                    sys.exit("bench: %s refuses a request" % server.name)
            batch.clear()

        for r in requests:
            batch.append(r)
            count += 1
            if len(batch) == BATCH:
                flush()
        flush()
        return count


class Pings:
    """The longest PING while it goes on."""

    def __init__(self, server):
        self.server, self.longest, self.over = server, 0.0, False
        self.thread = threading.Thread(target=self.run)

    def run(self):
        with self.server.connect() as s:
            while not self.over:
                began = time.monotonic()
                s.sendall(b"PING\r\n")
                s.recv(16)
                self.longest = max(self.longest, time.monotonic() - began)
                time.sleep(0.002)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join()


def deletes(options, contestants):
    for name, kind, command in contestants:
        server = servers.Server(name, command, all_cpus(), kind)
        server.start()
        try:
            rng = random.Random(1)
            noise = rng.randbytes(2 * options.largest)
            sizes, total = [], 0
            while total < options.bytes:  # the logarithm of a size is even
                sizes.append(int(16 * (options.largest / 16) ** rng.random()))
                total += sizes[-1]
            send_all(server, (request("SET", "key:%d" % i, noise[i % options.largest :][:size]) for i, size in enumerate(sizes)))
            before = server.rss() / info(server, "used_memory")
            gone = [i for i in range(len(sizes)) if rng.random() < 0.9]
            rng.shuffle(gone)
            with Pings(server) as pings:
                send_all(server, (request("DEL", "key:%d" % i) for i in gone))
                time.sleep(options.pause)
            used, rss = info(server, "used_memory"), server.rss()
        finally:
            server.stop()
        print(
            "deletes, %s: %d keys up to %d bytes; RSS %.2f of used_memory before, %.2f after (%.1f MB of %.1f); longest PING %.1f ms"
            % (name, len(sizes), options.largest, before, rss / used, rss / 1e6, used / 1e6, pings.longest * 1000),
            flush=True,
        )


# ---- idle ------------------------------------------------------------------------------------------------------------


def idle(options, contestants):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, options.connections + 200)), hard))
    for name, kind, command in contestants:
        server = servers.Server(name, lambda port, folder, c=command: c(port, folder) + ["--maxclients", str(options.connections + 100)], all_cpus(), kind)
        server.start()
        try:
            ask(server, "PING")
            time.sleep(options.pause / 2)
            before = server.rss()
            held = []
            for _ in range(options.connections):
                s = socket.create_connection((server.host, server.port))
                held.append(s)
            while info(server, "connected_clients") < options.connections:
                time.sleep(0.1)
            time.sleep(options.pause)
            each = (server.rss() - before) / options.connections
            for s in held:
                s.close()
        finally:
            server.stop()
        print("idle, %s: %.0f bytes of RSS for each of %d connections" % (name, each, options.connections), flush=True)


KINDS = {"limit": limit, "deletes": deletes, "idle": idle}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("kinds", nargs="*", metavar="kind", help="limit, deletes, idle; none: all of them")
    p.add_argument("--rounds", type=int, default=5, help="of limit")
    p.add_argument("--policies", default=POLICIES)
    p.add_argument("--fill", type=int, default=400_000, help="keys before the measurement")
    p.add_argument("--requests", type=int, default=800_000)
    p.add_argument("--bytes", type=int, default=1_000_000_000, help="of values before most are deleted")
    p.add_argument("--largest", type=int, default=8192, help="of these values")
    p.add_argument("--connections", type=int, default=10_000)
    p.add_argument("--pause", type=float, default=6, help="seconds until memory is looked at")
    p.add_argument("--shards", default="1,4", help="of deletes and idle")
    p.add_argument("--shoal", default=os.path.join(servers.ROOT, "build-release", "server", "shoal-server"))
    p.add_argument("--valkey", help="path of valkey-server; 'no': without")
    options = p.parse_args()
    unknown = [k for k in options.kinds if k not in KINDS]
    if unknown:
        p.error("there is no %s" % unknown[0])
    valkey = None if options.valkey == "no" else servers.find_valkey(options.valkey)
    peer = [("valkey", "valkey", servers.quiet(valkey))] if valkey else []
    options.benchmark = (valkey and servers.benchmark_beside(valkey)) or servers.shutil.which("redis-benchmark")
    for kind in options.kinds or KINDS:
        if kind == "limit" and not options.benchmark:
            sys.exit("bench: neither valkey-benchmark nor redis-benchmark is there")
        counts = ["1"] if kind == "limit" else options.shards.split(",")
        ours = [("shoal, shards %s" % n, "shoal", servers.shoal(options.shoal, int(n), None)) for n in counts]
        KINDS[kind](options, ours + peer)


if __name__ == "__main__":
    main()
