# SPDX-License-Identifier: BSD-3-Clause
"""Compares Shoal with Redis and Valkey on this machine and writes bench/results/<date>/report.md.

All servers are up at once and idle but for the one that is measured; rounds interleave them, in another order each round, so that what
changes on the machine changes for all. The server runs on one CPU and the load on another. CPU per operation is the
figure to compare: it does not depend on how fast the load generator is.
"""

import argparse
import dataclasses
import datetime
import os
import random
import resource
import shutil
import sys
import time

import cases
import load
import report
import servers

ROOT = servers.ROOT

# What is asked for is what the data takes: receive buffers that have been idle for a second are given back by then.
MEMORY_SETTLES = 1.5

# Names of what the group durability measures beside its cases.
SAVES, STARTS = "durability/save", "durability/start"


def parse_arguments():
    p = argparse.ArgumentParser(prog="./dev bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="a look, not a measurement: one short round, about two minutes")
    p.add_argument("--rounds", type=int, help="rounds (default 7, with --quick 1)")
    p.add_argument("--valkey", metavar="PATH", help="valkey-server, or a directory that holds it (default: --setup-peers', then PATH)")
    p.add_argument("--redis", metavar="PATH", help="redis-server (default: from PATH)")
    p.add_argument("--shoal", metavar="PATH", default=os.path.join(ROOT, "build-release", "server", "shoal-server"))
    p.add_argument("--io-backend", choices=("uring", "epoll"), help="backend of Shoal (default: auto)")
    allowed = sorted(os.sched_getaffinity(0))
    p.add_argument("--server-cpu", default=str(allowed[0]), help="CPU of the server (default: %(default)s, the first that may be used)")
    p.add_argument("--load-cpu", default=str(allowed[min(1, len(allowed) - 1)]), help="CPU of the load (default: %(default)s, the second)")
    p.add_argument("--only", metavar="TEXT", action="append", help="only cases whose name holds TEXT: small, large, shards, memory, durability, set, P16 ...")
    p.add_argument("--out", metavar="DIR", help="where the report goes (default bench/results/<date>)")
    p.add_argument("--readme", action="store_true", help="also put the figures into README.md")
    p.add_argument("--check-arguments", action="store_true", help=argparse.SUPPRESS)  # ./dev asks before it installs or builds
    options = p.parse_args()
    if options.rounds is not None and options.rounds < 1:
        p.error("--rounds must be 1 or more")
    all_cases = cases.speed_cases() + cases.shard_cases() + cases.txn_cases() + cases.durability_cases() + cases.types_cases() + cases.script_cases()
    names = [c.name for c in all_cases] + ["memory", "stalls", "pubsub", SAVES, STARTS]
    for text in options.only or []:
        if not any(text in name for name in names):
            p.error("no case has '%s' in its name; there are: %s" % (text, ", ".join(sorted(set(names)))))
    for path in (options.shoal, options.redis):
        if path and not os.access(path, os.X_OK) and path != p.get_default("shoal"):
            p.error("no program at %s" % path)
    # Servers are started in folders of their own.
    options.shoal, options.redis = os.path.abspath(options.shoal), options.redis and os.path.abspath(options.redis)
    return options


def chosen(options, key):
    return not options.only or any(text in key for text in options.only)


class Bench:
    def __init__(self, options):
        self.options = options
        self.rounds = options.rounds or (1 if options.quick else 7)
        self.scale = 0.25 if options.quick else 1.0
        self.tool = shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")
        self.redis = options.redis or shutil.which("redis-server")
        self.valkey = servers.find_valkey(options.valkey)
        self.valkey_tool = self.valkey and servers.benchmark_beside(self.valkey)
        self.floor = os.path.join(ROOT, "build-release", "bench", "floor")
        self.samples = {}  # case key -> server name -> [Sample]
        self.memory = {}  # (keys, ttl) -> server name -> bytes per key
        self.types_memory = {}  # title -> server name -> bytes per element
        self.stalls = {}  # title -> server name -> (p99.9 ms, longest ms, how long the command took, ms)
        self.pubsub = {}  # title -> server name -> [CPU us for each message that arrives]
        self.saves = {}  # server name -> what a save has cost, and a start from it (report.save_rows)
        self.log_starts = {}  # server name -> what its log takes, and a start from it
        self.lines = {}  # server name -> command line
        self.load_line = []
        self.commit = report.commit()
        if not self.tool:
            sys.exit("bench: no redis-benchmark in PATH")

    # ---- Which servers -----------------------------------------------------------------------------------------------

    def shoal_server(self, shards):
        cpus = self.options.server_cpu if shards == 1 else "%s,%s" % (self.options.server_cpu, self.options.load_cpu)
        name = "shoal" if shards == 1 else "shoal, %d shards" % shards
        return servers.Server(name, servers.shoal(self.options.shoal, shards, self.options.io_backend), cpus, "shoal")

    def store_servers(self):
        found = [self.shoal_server(1)]
        if self.redis:
            found.append(servers.Server("redis", servers.quiet(self.redis), self.options.server_cpu, "redis"))
        if self.valkey:
            found.append(servers.Server("valkey", servers.quiet(self.valkey), self.options.server_cpu, "valkey"))
        return found

    def floor_server(self, reply_bytes):
        name = "floor" if not reply_bytes else "floor %d" % reply_bytes
        return servers.Server(name, servers.floor(self.floor, reply_bytes), self.options.server_cpu, "floor")

    # ---- Speed -------------------------------------------------------------------------------------------------------

    def measure(self, case, server, name):
        requests = max(1000, int(case.requests * self.scale))
        tool = self.valkey_tool if case.words else self.tool
        sample = load.run_benchmark(tool, self.options.load_cpu, server, case, requests)
        self.samples.setdefault(case.key, {}).setdefault(name, []).append(sample)
        if not self.load_line:
            self.load_line = load.benchmark_line(self.tool, self.options.load_cpu, server.port, case, requests)

    def run_group(self, group, plan):
        """plan: list of (case, [(name in the report, server)])."""
        plan = [(case, entries) for case, entries in plan if chosen(self.options, case.name)]
        if not plan:
            return
        used = list({id(s): s for _, entries in plan for _, s in entries}.values())
        rng = random.Random(7)
        try:
            for server in used:
                server.start()
                self.lines.setdefault(server.name, server.line)
                if group in ("types", "scripts"):
                    for name in sorted({case.fill for case, _ in plan if case.fill}):
                        load.pour(server, cases.FILLS[name]())
                elif server.kind != "floor":
                    case = plan[0][0]
                    keys = min(case.keys, 250_000) if self.options.quick else case.keys
                    load.fill_benchmark_keys(server, keys, case.value_bytes)
            for turn in range(self.rounds):
                print("bench: %s, round %d of %d" % (group, turn + 1, self.rounds), flush=True)
                for case, entries in plan:
                    for name, server in rng.sample(entries, len(entries)):
                        self.measure(case, server, name)
        finally:
            for server in used:
                if server.proc:
                    server.stop()

    def run_speed(self):
        all_cases = cases.speed_cases()
        if self.options.quick:
            all_cases = [self.shrink(c) for c in all_cases]
        for group in ("small", "large"):
            stores = self.store_servers()
            size = next(c.value_bytes for c in all_cases if c.group == group)
            ok, value = self.floor_server(0), self.floor_server(size)
            plan = []
            for case in all_cases:
                if case.group == group:
                    plan.append((case, [("floor", ok if case.command == "set" else value)] + [(s.name, s) for s in stores]))
            self.run_group(group, plan)

    def run_shards(self):
        one, two = self.shoal_server(1), self.shoal_server(2)
        plan = [(self.shrink(c) if self.options.quick else c, [(s.name, s) for s in (one, two)]) for c in cases.shard_cases()]
        self.run_group("shards", plan)

    def run_transactions(self):
        """Sequences of commands are sent by valkey-benchmark; without it only MSET is measured."""
        entries = [(s.name, s) for s in self.store_servers() + [self.shoal_server(2)]]
        plan = [(self.shrink(c) if self.options.quick else c, entries) for c in cases.txn_cases() if self.valkey_tool or not c.words]
        self.run_group("txn", plan)

    def run_types(self):
        if not self.valkey_tool:
            return
        entries = [(s.name, s) for s in self.store_servers()]
        self.run_group("types", [(case, entries) for case in cases.types_cases()])

    def run_scripts(self):
        if not self.valkey_tool:
            return
        entries = [(s.name, s) for s in self.store_servers() + [self.shoal_server(2)]]
        self.run_group("scripts", [(case, entries) for case in cases.script_cases()])

    # ---- Durability --------------------------------------------------------------------------------------------------

    def run_logs(self):
        """SET with a log. Each mode has servers of its own."""
        for mode in cases.LOG_MODES:
            entries = []
            for server in self.store_servers():
                name, server.command = server.name, servers.logged(server.command, mode)
                server.name += ", log at %s" % mode
                entries.append((name, server))
            self.run_group("durability", [(self.shrink(c) if self.options.quick else c, entries) for c in cases.durability_cases() if c.log == mode])

    def durable_servers(self):
        """All on both CPUs: the child that saves for Redis and Valkey would else take the CPU of its parent."""
        found = self.store_servers() + [self.shoal_server(2)]
        for server in found:
            server.cpus = "%s,%s" % (self.options.server_cpu, self.options.load_cpu)
        return found

    def saving_servers(self):
        found = self.durable_servers()
        for server in self.durable_servers():
            if server.kind == "shoal":
                server.name, server.command = server.name + ", dump.rdb", servers.as_rdb(server.command)
                found.append(server)
        return found

    def run_saves(self):
        """A save beside writes, and a start from what it left."""
        if not self.valkey_tool or not chosen(self.options, SAVES):
            return
        case, seconds = self.durable_case(), 0.5 if self.options.quick else 4
        for server in self.saving_servers():
            print("bench: %s, %s" % (SAVES, server.name), flush=True)
            server.start()
            try:
                load.fill_durable_keys(server, case.keys, case.value_bytes)
                time.sleep(MEMORY_SETTLES)
                asker = load.Asker(server, case.keys)
                before, _ = asker.for_seconds(seconds)
                with load.writes(self.valkey_tool, self.options.load_cpu, server, case, cases.SAVE_WRITES_PER_S):
                    time.sleep(0.3)
                    loaded, memory = asker.for_seconds(seconds)
                    took, (during, peak) = load.save(server, asker)
                self.saves[server.name] = {
                    "keys": case.keys, "seconds": took, "before_ms": before, "loaded_ms": loaded, "during_ms": during,
                    "rss": [memory[0], peak[0]], "pss": [memory[1], peak[1]], "disk": server.disk(), "start_s": self.start_again(server, case.keys),
                }  # fmt: skip
                self.lines.setdefault("save, " + server.name, server.line)
            finally:
                server.stop()

    def run_log_starts(self):
        """A start from a log of as many SETs as there are keys."""
        if not chosen(self.options, STARTS):
            return
        case = self.durable_case()
        for server in self.durable_servers():
            print("bench: %s, %s" % (STARTS, server.name), flush=True)
            server.command = servers.logged(server.command, "everysec")
            server.start()
            try:
                load.fill_durable_keys(server, case.keys, case.value_bytes)
                took = self.start_again(server, case.keys)
                self.log_starts[server.name] = {"keys": case.keys, "disk": server.disk(), "start_s": took}
                self.lines.setdefault("log, " + server.name, server.line)
            finally:
                server.stop()

    def durable_case(self):
        return dataclasses.replace(cases.DURABLE, keys=100_000) if self.options.quick else cases.DURABLE

    def start_again(self, server, keys):
        took = server.restart()
        there = load.ask(server, b"DBSIZE")
        if there != b":%d\r\n" % keys:
            sys.exit("bench: %s has started without its keys: %s of %d" % (server.name, there, keys))
        return took

    def shrink(self, case):
        return dataclasses.replace(case, keys=min(case.keys, 250_000))

    # ---- Memory ------------------------------------------------------------------------------------------------------

    def run_memory(self):
        plan = cases.MEMORY[::2] if self.options.quick else cases.MEMORY
        for keys, ttl in plan:
            if not chosen(self.options, "memory"):
                return
            count = keys // 4 if self.options.quick else keys
            print("bench: memory, %d keys%s" % (count, " with TTL" if ttl else ""), flush=True)
            for server in self.store_servers():
                server.start()
                try:
                    time.sleep(0.3)
                    before = server.rss()
                    load.fill_exact_keys(server, count, ttl)
                    time.sleep(MEMORY_SETTLES)
                    per_key = (server.rss() - before) / count
                finally:
                    server.stop()
                self.memory.setdefault((count, ttl), {})[server.name] = per_key

    def run_types_memory(self):
        for title, commands, elements, _ in cases.TYPES_MEMORY:
            if not chosen(self.options, "memory"):
                return
            count = elements // 4 if self.options.quick else elements
            print("bench: memory, %s" % title, flush=True)
            for server in self.store_servers():
                server.start()
                try:
                    time.sleep(0.3)
                    before = server.rss()
                    load.pour(server, commands(count))
                    time.sleep(MEMORY_SETTLES)
                    per_element = (server.rss() - before) / count
                finally:
                    server.stop()
                self.types_memory.setdefault(title, {})[server.name] = per_element

    def run_stalls(self):
        for title, commands, elements, words in cases.STALLS:
            if not chosen(self.options, "stalls") or self.options.quick:
                return
            print("bench: stalls, %s" % title, flush=True)
            for server in self.store_servers():
                server.start()
                try:
                    load.pour(server, commands(elements))
                    self.stalls.setdefault(title, {})[server.name] = load.stall(server, words, 4)
                finally:
                    server.stop()

    def run_pubsub(self):
        if not chosen(self.options, "pubsub"):
            return
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        for title, subscribers, value_bytes, messages, _ in cases.PUBSUB:
            print("bench: pubsub, %s" % title, flush=True)
            for _ in range(min(self.rounds, 3)):
                for server in self.store_servers():
                    server.start()
                    try:
                        us = load.fan_out(server, subscribers, value_bytes, max(5, int(messages * self.scale)))
                    finally:
                        server.stop()
                    self.pubsub.setdefault(title, {}).setdefault(server.name, []).append(us)

    def run(self):
        began = time.monotonic()
        self.run_speed()
        self.run_shards()
        self.run_transactions()
        self.run_logs()
        self.run_saves()
        self.run_log_starts()
        self.run_types()
        self.run_scripts()
        self.run_memory()
        self.run_types_memory()
        self.run_stalls()
        self.run_pubsub()
        self.seconds = time.monotonic() - began


def main():
    options = parse_arguments()
    servers.find_valkey(options.valkey)
    if options.check_arguments:
        return
    if options.server_cpu == options.load_cpu:
        print("bench: server and load share one CPU, figures say little", file=sys.stderr)
    bench = Bench(options)
    bench.run()
    out = options.out or os.path.join(ROOT, "bench", "results", datetime.date.today().isoformat())
    os.makedirs(out, exist_ok=True)
    path = report.write(bench, out)
    if options.readme:
        report.update_readme(bench, os.path.join(ROOT, "README.md"), os.path.relpath(path, ROOT))
    print("bench: report in %s" % os.path.relpath(path))


if __name__ == "__main__":
    main()
