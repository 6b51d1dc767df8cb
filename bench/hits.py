#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""hits: how much of what is asked for a cache still has, side by side with Valkey: bench/hits.py [--seconds N].

All servers have the same `maxmemory`, and are sent the same GETs in the same moments; who misses stores the key. Clocks of eviction
count seconds and minutes, so the rate is fixed and does not depend on who is faster. Traces:

zipf      keys by zipf, always the same ones
scan      the same, and every third request is of a walk over keys that nobody asks for again; those do not count
changing  by zipf, but which keys are the popular ones changes a little every second
"""

import argparse
import bisect
import itertools
import os
import random
import sys
import time

import servers

BATCH = 100
VALUE = b"v" * 200


class Trace:
    """Names of keys, a batch at a time, and which of them count."""

    def __init__(self, kind, keys, exponent, seed):
        self.kind, self.keys = kind, keys
        self.rng = random.Random(seed)
        self.weights = list(itertools.accumulate((i + 1) ** -exponent for i in range(keys)))
        self.places = list(range(keys))
        self.rng.shuffle(self.places)
        self.walked = 0
        self.shift = 0

    def batch(self, second):
        if self.kind == "changing":
            self.shift = int(second) * (self.keys // 500)
        names = []
        for i in range(BATCH):
            if self.kind == "scan" and i % 3 == 0:
                self.walked += 1
                names.append((b"walk:%d" % self.walked, False))
                continue
            rank = bisect.bisect(self.weights, self.rng.random() * self.weights[-1])
            # Ranks near each other move together: what was popular is forgotten from the top, and new keys come in there.
            names.append((b"key:%d" % self.places[(min(rank, self.keys - 1) - self.shift) % self.keys], True))
        return names


def request(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


class Contestant:
    def __init__(self, name, kind, command, maxmemory, policy):
        def whole(port, folder):
            return command(port, folder) + ["--maxmemory", maxmemory, "--maxmemory-policy", policy]

        self.name = name
        self.server = servers.Server(name, whole, ",".join(str(c) for c in sorted(os.sched_getaffinity(0))), kind)
        self.hits = self.asked = 0

    def start(self):
        self.server.start()
        self.socket = self.server.connect()
        self.file = self.socket.makefile("rb")

    def stop(self):
        self.socket.close()
        self.server.stop()

    def ask(self, names):
        self.socket.sendall(b"".join(request(b"GET", name) for name, _ in names))

    def read(self, names, counts):
        """Takes the answers and stores what was missed; its answers are taken at the next turn."""
        missed = {}
        for name, asked_for in names:
            line = self.file.readline()
            if line[:1] != b"$":
                sys.exit("bench: %s answers %r" % (self.name, line))
            hit = line != b"$-1\r\n"
            if hit:
                self.file.read(int(line[1:]) + 2)
            else:
                missed[name] = True
            if counts and asked_for:
                self.hits += hit
                self.asked += 1
        self.socket.sendall(b"".join(request(b"SET", name, VALUE) for name in missed))
        return len(missed)

    def settle(self, stored):
        for _ in range(stored):
            line = self.file.readline()
            if line != b"+OK\r\n":
                sys.exit("bench: %s answers %r" % (self.name, line))


def play(contestants, trace, seconds, rate):
    """The first half fills and does not count."""
    began = time.monotonic()
    batches = int(seconds * rate / BATCH)
    late = 0.0
    for n in range(batches):
        due = began + n * BATCH / rate
        now = time.monotonic()
        if now < due:
            time.sleep(due - now)
        late = max(late, now - due)
        names = trace.batch(n * BATCH / rate)
        for c in contestants:
            c.ask(names)
        stored = [c.read(names, n >= batches // 2) for c in contestants]
        for c, count in zip(contestants, stored):
            c.settle(count)
    return late


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seconds", type=float, default=60, help="of one trace")
    p.add_argument("--rate", type=float, default=8000, help="requests a second")
    p.add_argument("--keys", type=int, default=100_000)
    p.add_argument("--exponent", type=float, default=0.9)
    p.add_argument("--maxmemory", default="8mb")
    p.add_argument("--policies", default="allkeys-lru,allkeys-lfu")
    p.add_argument("--traces", default="zipf,scan,changing")
    p.add_argument("--shards", default="1,4")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--shoal", default=os.path.join(servers.ROOT, "build-release", "server", "shoal-server"))
    p.add_argument("--valkey")
    options = p.parse_args()
    valkey = servers.find_valkey(options.valkey)
    for policy, kind in itertools.product(options.policies.split(","), options.traces.split(",")):
        row = []
        for shards in options.shards.split(","):

            def shoal(port, folder, shards=shards):
                return servers.quiet(options.shoal)(port, folder) + ["--shards", shards]

            row.append(Contestant("shoal, shards %s" % shards, "shoal", shoal, options.maxmemory, policy))
        if valkey:
            row.append(Contestant("valkey", "valkey", servers.quiet(valkey), options.maxmemory, policy))
        started = []
        try:
            for c in row:
                c.start()
                started.append(c)
            late = play(row, Trace(kind, options.keys, options.exponent, options.seed), options.seconds, options.rate)
        finally:
            for c in started:
                c.stop()
        shown = ", ".join("%s %.2f%%" % (c.name, 100 * c.hits / max(c.asked, 1)) for c in row)
        print("%s, %s: %s" % (policy, kind, shown) + (" (late by up to %.1f s)" % late if late > 1 else ""), flush=True)


if __name__ == "__main__":
    main()
