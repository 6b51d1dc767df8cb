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
import signal
import sys
import time

import cases
import load
import progress
import replication
import report
import servers
import tls
import workloads

ROOT = servers.ROOT

# What is asked for is what the data takes: receive buffers that have been idle for a second are given back by then.
MEMORY_SETTLES = 1.5

# What a fill is expected to do, for the time that is left.
FILLED_PER_S = 400_000

# Names of what the group durability measures beside its cases.
SAVES, STARTS = "durability/save", "durability/start"


def parse_arguments():
    p = argparse.ArgumentParser(prog="./dev bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="a look: the chosen cases in short rounds, about two minutes")
    p.add_argument("--rounds", type=int, help="rounds (default 7, with --quick 4)")
    p.add_argument("--valkey", metavar="PATH", help="valkey-server, or a directory that holds it (default: --setup-peers', then PATH)")
    p.add_argument("--redis", metavar="PATH", help="redis-server (default: from PATH)")
    p.add_argument("--shoal", metavar="PATH", default=os.path.join(ROOT, "build-release", "server", "shoal-server"))
    p.add_argument("--io-backend", choices=("uring", "epoll"), help="backend of Shoal (default: auto)")
    allowed = sorted(os.sched_getaffinity(0))
    p.add_argument("--server-cpu", default=str(allowed[0]), help="CPU of the server (default: %(default)s, the first that may be used)")
    p.add_argument("--load-cpu", default=str(allowed[min(1, len(allowed) - 1)]), help="CPU of the load (default: %(default)s, the second)")
    p.add_argument("--only", metavar="TEXT", action="append", help="only cases whose name holds TEXT: small, large, shards, memory, durability, set, P16 ...")
    p.add_argument("--host", metavar="HOST:PORT", action="append", default=[], help="also measure this running server; it must be empty, and is emptied afterwards")
    p.add_argument("--p99-bound", metavar="MS", type=float, default=2.0, help="for the highest rate that keeps it (default %(default)s)")
    p.add_argument("--out", metavar="DIR", help="where the report goes (default bench/results/<date>)")
    p.add_argument("--readme", action="store_true", help="also put the figures into README.md")
    p.add_argument("--check-arguments", action="store_true", help=argparse.SUPPRESS)  # ./dev asks before it installs or builds
    options = p.parse_args()
    if options.rounds is not None and options.rounds < 1:
        p.error("--rounds must be 1 or more")
    for address in options.host:
        host, colon, port = address.rpartition(":")
        if not (host and colon and port.isdigit() and 0 < int(port) < 65536):
            p.error("--host takes HOST:PORT, not %s" % address)
    if options.p99_bound <= 0:
        p.error("--p99-bound must be more than 0")
    names = [c.name for c in cases.all_cases() + workloads.all_loads()] + ["memory/", "stalls", "pubsub", SAVES, STARTS, *replication.NAMES, *tls.NAMES]
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
    """Whether to measure it: what --only names; else everything, or with --quick what one would want to know first."""
    if options.only:
        return any(text in key for text in options.only)
    return not options.quick or any(key.startswith(begin) for begin in cases.QUICK)


class Bench:
    def __init__(self, options):
        self.options = options
        # Four rounds are the fewest that can show a difference.
        self.rounds = options.rounds or (4 if options.quick else 7)
        self.scale = 0.25 if options.quick else 1.0
        self.tool = shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")
        self.redis = options.redis or shutil.which("redis-server")
        self.valkey = servers.find_valkey(options.valkey)
        self.valkey_tool = self.valkey and servers.benchmark_beside(self.valkey)
        self.floor = os.path.join(ROOT, "build-release", "bench", "floor")
        self.openloop = os.path.join(ROOT, "build-release", "bench", "openloop")
        self.ceilings = {}  # (case key, server name) -> the highest rate so far, where the next round begins to look
        self.progress = progress.Progress()
        self.arguments = sys.argv[1:]
        self.at = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        self.began = time.monotonic()
        self.interrupted = False
        self.cases = {}  # case key -> Case, of what is in samples
        self.samples = {}  # case key -> server name -> [Sample]
        self.curves = []  # of the open loop, as samples.json has them
        self.memory = {}  # (keys, ttl) -> server name -> bytes per key
        self.types_memory = {}  # title -> server name -> bytes per element
        self.stalls = {}  # title -> server name -> (p99.9 ms, longest ms, how long the command took, ms)
        self.pubsub = {}  # title -> server name -> [CPU us for each message that arrives]
        self.saves = {}  # server name -> what a save has cost, and a start from it (report.save_rows)
        self.figures = {}  # case key -> {"group", "title", "servers": server name -> metric -> values}
        self.log_starts = {}  # server name -> what its log takes, and a start from it
        self.lines = {}  # server name -> command line
        self.load_line = []
        self.commit = report.commit()
        if not self.tool:
            sys.exit("bench: no redis-benchmark in PATH")

    def wants(self, key):
        return chosen(self.options, key)

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
        self.keep(case, name, sample)
        if not self.load_line:
            self.load_line = load.benchmark_line(self.tool, self.options.load_cpu, server.port, case, requests)

    def keep(self, case, name, sample):
        sample.at_s = time.monotonic() - self.began
        self.cases[case.key] = case
        self.samples.setdefault(case.key, {}).setdefault(name, []).append(sample)

    def keep_figures(self, group, key, title, name, values):
        """What has other columns than a load, or no rounds: metric -> value of one run."""
        figures = self.figures.setdefault(key, {"group": group, "title": title, "servers": {}})
        for metric, value in values.items():
            figures["servers"].setdefault(name, {}).setdefault(metric, []).append(value)

    def run_group(self, group, plan):
        """plan: list of (case, [(name in the report, server)])."""
        plan = [(case, entries) for case, entries in plan if chosen(self.options, case.name)]
        if not plan:
            return
        heading = "%s, log at %s" % (group, plan[0][0].log) if plan[0][0].log else group
        used = list({id(s): s for _, entries in plan for _, s in entries}.values())
        runs = sum(len(entries) for _, entries in plan)
        each = 0.2 + 1.1 * self.scale
        if group in workloads.HEADINGS:
            each = (12 if group == "ceiling" else 1) * (0.2 + load.WARM + self.seconds_of(plan[0][0]))
        rng = random.Random(7)
        try:
            if self.progress.step("%s, filling" % heading, len(used) * (0.5 + plan[0][0].keys / FILLED_PER_S)):
                for server in used:
                    self.start_filled(server, group, plan)
            for turn in range(self.rounds):
                if self.progress.step("%s, round %d of %d" % (heading, turn + 1, self.rounds), runs * each):
                    for case, entries in plan:
                        for name, server in rng.sample(entries, len(entries)):
                            (self.measure_load if group in workloads.HEADINGS else self.measure)(case, server, name)
        finally:
            for server in used:
                if server.started if server.kind == "remote" else server.proc:
                    server.stop()

    def start_filled(self, server, group, plan):
        server.start()
        self.lines.setdefault(server.name, server.line)
        if group in workloads.HEADINGS:
            load.ask(server, b"CONFIG", b"SET", b"maxclients", b"%d" % (max(case.clients for case, _ in plan) + 100))
            for case in {(c.fill, c.keys, c.value_bytes): c for c, _ in plan if c.fill}.values():
                load.pour(server, workloads.fill_commands(case))
        elif group in ("types", "scripts"):
            for name in sorted({case.fill for case, _ in plan if case.fill}):
                load.pour(server, cases.FILLS[name]())
        elif server.kind != "floor":
            case = plan[0][0]
            load.fill_benchmark_keys(server, case.keys, case.value_bytes)

    def run_speed(self):
        all_cases = [self.shrink(c) for c in cases.speed_cases()]
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
        plan = [(self.shrink(c), [(s.name, s) for s in (one, two)]) for c in cases.shard_cases()]
        self.run_group("shards", plan)

    def run_transactions(self):
        """Sequences of commands are sent by valkey-benchmark; without it only MSET is measured."""
        entries = [(s.name, s) for s in self.store_servers() + [self.shoal_server(2)]]
        plan = [(self.shrink(c), entries) for c in cases.txn_cases() if self.valkey_tool or not c.words]
        self.run_group("txn", plan)

    def run_types(self):
        if not self.valkey_tool:
            return
        entries = [(s.name, s) for s in self.store_servers()]
        self.run_group("types", [(case, entries) for case in cases.types_cases()])

    def run_cluster(self):
        """A node that has all slots against a server that is alone: what the check of slots costs, and each beside the others."""
        entries = []
        for server in self.store_servers():
            if server.kind == "shoal":
                entries.append(("shoal, no cluster", self.shoal_server(1)))
            entries.append((server.name, servers.whole_cluster(server)))
        self.run_group("cluster", [(self.shrink(c), entries) for c in cases.cluster_cases()])

    def run_scripts(self):
        if not self.valkey_tool:
            return
        entries = [(s.name, s) for s in self.store_servers() + [self.shoal_server(2)]]
        self.run_group("scripts", [(case, entries) for case in cases.script_cases()])

    # ---- Loads of openloop -------------------------------------------------------------------------------------------

    def run_loads(self):
        for group in workloads.HEADINGS:
            found = self.scaling_servers() if group == "scaling" else self.store_servers() + [servers.Remote(address) for address in self.options.host]
            loads = [self.shrink(case) for case in workloads.all_loads() if case.group == group]
            self.run_group(group, [(case, [(s.name, s) for s in found]) for case in loads])

    def scaling_servers(self):
        """Shoal with 1, 2, 4 ... shards, and Valkey with as many threads, on processors of their own where there are enough."""
        spare = [str(cpu) for cpu in sorted(os.sched_getaffinity(0)) if str(cpu) != self.options.load_cpu]
        counts = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= max(2, len(spare))]
        found = []
        for n in counts:
            cpus = ",".join(spare[:n]) if n <= len(spare) else ",".join([*spare, self.options.load_cpu])
            server = self.shoal_server(n)
            server.cpus = cpus
            found.append(server)
            if self.valkey:
                name = "valkey" if n == 1 else "valkey, %d threads" % n
                command = servers.quiet(self.valkey) if n == 1 else servers.threaded(self.valkey, n)
                found.append(servers.Server(name, command, cpus, "valkey"))
        return found

    def measure_load(self, case, server, name):
        seconds = self.seconds_of(case)
        if case.group == "ceiling":
            found = self.look_for_ceiling(case, server, name, seconds)
        elif case.purge:
            with load.purges(server, workloads.TENANTS, seconds / 10) as took:
                found = self.run_openloop(server, case, case.rate, seconds)
        else:
            found = self.run_openloop(server, case, case.rate, seconds)
        sample = load.open_sample(found)
        if case.group == "ceiling":
            sample.ops_per_s = self.ceilings[case.key, name]
        if case.purge:
            sample.purge_ms = took
        self.keep(case, name, sample)
        turn = len(self.samples[case.key][name])
        self.curves.append({"case": case.key, "server": name, "round": turn, "rate": found["rate"], "percentiles": found["percentiles"], "series": found["series"]})

    def seconds_of(self, case):
        return max(0.4, case.seconds / 4) if self.options.quick else case.seconds

    def run_openloop(self, server, case, rate, seconds):
        self.lines.setdefault("openloop", load.openloop_line(self.openloop, self.options.load_cpu, server, case, rate, seconds))
        return load.run_openloop(self.openloop, self.options.load_cpu, server, case, rate, seconds)

    def look_for_ceiling(self, case, server, name, seconds):
        """What openloop said of the highest rate that was kept, or of the lowest that was tried."""
        tried = {}

        def keeps(rate):
            tried[rate] = found = self.run_openloop(server, case, rate, seconds)
            late = found["unanswered"] + found["unsent"]
            kept = late <= (1 - workloads.CEILING_KEPT) * (late + found["answered"])
            return kept and found["latency_us"]["p99"] <= 1000 * self.options.p99_bound

        start = self.ceilings.get((case.key, name)) or workloads.CEILING_START
        highest = workloads.highest_rate(keeps, start, workloads.CEILING_STEP)
        self.ceilings[case.key, name] = highest
        return tried[highest or min(tried)]

    # ---- Durability --------------------------------------------------------------------------------------------------

    def run_logs(self):
        """SET with a log. Each mode has servers of its own."""
        for mode in cases.LOG_MODES:
            entries = []
            for server in self.store_servers():
                name, server.command = server.name, servers.logged(server.command, mode)
                server.name += ", log at %s" % mode
                entries.append((name, server))
            self.run_group("durability", [(self.shrink(c), entries) for c in cases.durability_cases() if c.log == mode])

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
            if not self.progress.step("%s, %s" % (SAVES, server.name), 3 * case.keys / FILLED_PER_S + 3 * seconds + MEMORY_SETTLES):
                continue
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
            if not self.progress.step("%s, %s" % (STARTS, server.name), 2 * case.keys / FILLED_PER_S):
                continue
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
        """The case itself, or what --quick has time for."""
        return dataclasses.replace(case, keys=min(case.keys, 100_000)) if self.options.quick else case

    # ---- Memory ------------------------------------------------------------------------------------------------------

    def run_memory(self):
        plan = cases.MEMORY[::2] if self.options.quick else cases.MEMORY
        for keys, ttl in plan:
            if not chosen(self.options, "memory/%d%s" % (keys, "/ttl" if ttl else "")):
                continue
            count = keys // 4 if self.options.quick else keys
            for server in self.store_servers():
                title = "memory, %d keys%s, %s" % (count, " with TTL" if ttl else "", server.name)
                if not self.progress.step(title, 0.5 + MEMORY_SETTLES + count / FILLED_PER_S):
                    continue
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
            if not chosen(self.options, "memory/%s" % title):
                continue
            count = elements // 4 if self.options.quick else elements
            for server in self.store_servers():
                if not self.progress.step("memory, %s, %s" % (title, server.name), 0.5 + MEMORY_SETTLES + count / FILLED_PER_S):
                    continue
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
            for server in self.store_servers():
                if not self.progress.step("stalls, %s, %s" % (title, server.name), 5 + elements / FILLED_PER_S):
                    continue
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
            for turn in range(min(self.rounds, 3)):
                for server in self.store_servers():
                    if not self.progress.step("pubsub, %s, round %d, %s" % (title, turn + 1, server.name), 1 + subscribers * messages * self.scale * 4e-6):
                        continue
                    server.start()
                    try:
                        us = load.fan_out(server, subscribers, value_bytes, max(5, int(messages * self.scale)))
                    finally:
                        server.stop()
                    self.pubsub.setdefault(title, {}).setdefault(server.name, []).append(us)

    def run(self):
        """All that was asked for, or what Ctrl-C has left time for."""
        self.everything()
        self.progress.start()
        self.began = time.monotonic()
        try:
            self.everything()
        except KeyboardInterrupt:
            self.interrupted = True
            print("\nbench: interrupted; what was measured is kept", file=sys.stderr, flush=True)
        self.seconds = time.monotonic() - self.began

    def everything(self):
        self.run_speed()
        self.run_loads()
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
        replication.run(self)
        tls.run(self)
        self.run_cluster()


def main():
    options = parse_arguments()
    servers.find_valkey(options.valkey)
    if options.check_arguments:
        return
    if options.server_cpu == options.load_cpu:
        print("bench: server and load share one CPU, figures say little", file=sys.stderr)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `timeout` and machines that build end a run so
    bench = Bench(options)
    bench.run()
    out = options.out or os.path.join(ROOT, "bench", "results", datetime.date.today().isoformat())
    os.makedirs(out, exist_ok=True)
    path = report.write(bench, out)
    if options.readme:
        report.update_readme(bench, os.path.join(ROOT, "README.md"), os.path.relpath(path, ROOT))
    print("bench: report in %s and %s" % (os.path.relpath(path), os.path.basename(path).replace(".md", ".html")))
    if bench.interrupted:
        sys.exit(130)


if __name__ == "__main__":
    main()
