# SPDX-License-Identifier: BSD-3-Clause
"""replication: what a replica costs its primary, how far it is behind, and how long a hand-over takes. Each server beside a replica of its own kind."""

import contextlib
import os
import re
import statistics
import threading
import time

import cases
import load
import servers

SYNC, STREAM, LAG, FAILOVER = "replication/sync", "replication/stream", "replication/lag", "replication/failover"
NAMES = (SYNC, STREAM, LAG, FAILOVER)

STREAM_CASE = cases.Case("replication", "set", 16, 64, 1_000_000, 400_000)
SYNC_WRITES_PER_S = 50_000
LAG_WRITES_PER_S = (20_000, 100_000)
LAG_MARKS = 400
FAILOVERS = 20

GROUP = "replication"
HEADING = "Replication\n\nEach beside a replica of its own kind, which shares the CPU of the load; medians of up to three rounds."
COLUMNS = {
    SYNC: [("sync_s", "seconds", "%.2f"), ("sync_cpu_s", "CPU s of the primary", "%.2f"), ("peak_rss_growth", "RSS at the peak", "%+.0f%%"), ("peak_pss_growth", "PSS", "%+.0f%%"),
           ("p50_ms", "GET p50, ms", "%.2f"), ("p99.9_ms", "p99.9", "%.2f"), ("max_ms", "longest", "%.1f")],
    STREAM: [("cpu_us", "SET without a replica, CPU us", "%.3f"), ("replica_extra_us", "more with one", "%+.3f"), ("apply_us", "the replica's CPU us", "%.3f"), ("behind_s", "behind at the end, s", "%.2f")],
    LAG: [("p50_ms", "p50 ms", "%.2f"), ("p99_ms", "p99", "%.2f"), ("max_ms", "longest", "%.2f")],
    FAILOVER: [("p50_ms", "no write for, p50 ms", "%.1f"), ("p99_ms", "p99", "%.1f"), ("max_ms", "longest", "%.1f")],
}  # fmt: skip

METRICS = {
    "sync_s": ("s", "lower", "from REPLICAOF until the link is up"),
    "sync_cpu_s": ("s", "lower", "CPU of the primary and its children meanwhile"),
    "peak_rss_growth": ("%", "lower", "resident memory at the peak over that at the begin, with children"),
    "peak_pss_growth": ("%", "lower", "the same with what is shared counted once"),
    "replica_extra_us": ("us", "lower", "CPU of the primary for one SET more than without a replica"),
    "apply_us": ("us", "lower", "CPU of the replica for one SET"),
    "behind_s": ("s", "lower", "from the last reply until the replica has everything"),
}  # fmt: skip


def dual_channel(command):
    return lambda port, directory: command(port, directory) + ["--dual-channel-replication-enabled", "yes"]


def at_once(command):
    """A full sync that does not wait for other replicas to come."""
    return lambda port, directory: command(port, directory) + ["--repl-diskless-sync-delay", "0"]


def pairs(bench, found):
    """(name, primary, replica), not started."""
    for server in found:
        kinds = [(server.name, server.command)]
        if server.kind == "valkey":
            kinds.append(("valkey, dual channel", dual_channel(server.command)))
        for name, command in kinds:
            yield name, *(servers.Server("%s, %s" % (name, part), at_once(command), cpus, server.kind) for part, cpus in (("primary", server.cpus), ("replica", bench.options.load_cpu)))


@contextlib.contextmanager
def running(bench, *found):
    try:
        for server in found:
            server.start()
            bench.lines.setdefault(server.name, server.line)
        yield
    finally:
        for server in found:
            if server.proc:
                server.stop()


def info(server, section):
    return dict(re.findall(r"^([\w-]+):(.*?)\r?$", load.ask(server, b"INFO", section.encode()).decode(errors="replace"), re.M))


def follow(replica, primary):
    load.ask(replica, b"REPLICAOF", primary.host.encode(), b"%d" % primary.port)


def wait_until(condition, what, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("bench: %s has not come about within %d s" % (what, seconds))
        time.sleep(0.002)


def is_linked(replica):
    return info(replica, "replication").get("master_link_status") == "up"


def has_all(replica, primary):
    """Both have the same place in the stream, which the primary may have moved on by a PING meanwhile."""
    return int(info(replica, "replication").get("slave_repl_offset", -1)) >= int(info(primary, "replication")["master_repl_offset"])


def cpu_with_children_s(server):
    with open("/proc/%d/stat" % server.proc.pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return sum(int(fields[i]) for i in (11, 12, 13, 14)) / os.sysconf("SC_CLK_TCK")


# ---- A full sync ---------------------------------------------------------------------------------------------------


def measure_sync(bench, primary, replica, keys):
    load.fill_durable_keys(primary, keys, cases.DURABLE.value_bytes)
    time.sleep(1.5)
    asker = load.Asker(primary, keys)
    with load.writes(bench.valkey_tool, bench.options.load_cpu, primary, cases.DURABLE, SYNC_WRITES_PER_S):
        time.sleep(0.3)
        _, memory = asker.for_seconds(1)
        before = cpu_with_children_s(primary)
        began = time.monotonic()
        follow(replica, primary)
        linked = []

        def done():
            if is_linked(replica):
                linked.append(time.monotonic())
            return bool(linked)

        gets, peak = asker.run(done)
        took = linked[0] - began
        used = cpu_with_children_s(primary) - before
    growth = [100 * (p / m - 1) for p, m in zip(peak, memory)]
    return {"sync_s": took, "sync_cpu_s": used, "peak_rss_growth": growth[0], "peak_pss_growth": growth[1], "p50_ms": gets[0], "p99.9_ms": gets[1], "max_ms": gets[2]}


# ---- The stream ----------------------------------------------------------------------------------------------------


def measure_stream(bench, primary, replica):
    case = STREAM_CASE
    requests = int(case.requests * bench.scale)
    load.fill_benchmark_keys(primary, case.keys, case.value_bytes)
    alone = load.run_benchmark(bench.tool, bench.options.load_cpu, primary, case, requests)
    follow(replica, primary)
    wait_until(lambda: is_linked(replica) and has_all(replica, primary), "a replica of %s" % primary.name)
    before = replica.cpu_ns()
    followed = load.run_benchmark(bench.tool, bench.options.load_cpu, primary, case, requests)
    ended = time.monotonic()
    wait_until(lambda: has_all(replica, primary), "all writes at the replica of %s" % primary.name)
    return {
        "cpu_us": alone.cpu_us, "replica_extra_us": followed.cpu_us - alone.cpu_us, "apply_us": (replica.cpu_ns() - before) / 1000 / requests,
        "behind_s": time.monotonic() - ended,
    }  # fmt: skip


def spread_ms(times):
    times = sorted(times)
    return {"p50_ms": 1000 * statistics.median(times), "p99_ms": 1000 * times[int(0.99 * (len(times) - 1))], "max_ms": 1000 * times[-1]}


def measure_lag(bench, primary, replica, per_second):
    """From the reply to a write until the replica shows it, as a client sees it that asks again and again."""
    follow(replica, primary)
    wait_until(lambda: is_linked(replica), "a replica of %s" % primary.name)
    times = []
    with load.writes(bench.valkey_tool, bench.options.load_cpu, primary, cases.DURABLE, per_second), primary.connect() as to, replica.connect() as at:
        time.sleep(0.3)
        for i in range(max(20, int(LAG_MARKS * bench.scale))):
            mark = b"%d" % i
            load.call(to, b"SET", b"mark", mark)
            began = time.perf_counter()
            while load.call(at, b"GET", b"mark") != mark:
                pass
            times.append(time.perf_counter() - began)
            time.sleep(0.003)
    return spread_ms(times)


# ---- A hand-over ---------------------------------------------------------------------------------------------------


class Writer(threading.Thread):
    """Writes to whichever of two servers takes it, and knows when each write was answered."""

    def __init__(self, pair):
        super().__init__()
        self.pair, self.times, self.done, self.failed = pair, [time.perf_counter()], threading.Event(), None

    def run(self):
        try:
            with self.pair[0].connect() as a, self.pair[1].connect() as b:
                at = 0
                while not self.done.is_set():
                    (a, b)[at].sendall(load.command(b"SET", b"key:%012d" % (len(self.times) % 1000), b"x" * 64))
                    answer = (a, b)[at].recv(4096)
                    if answer.startswith(b"+OK"):
                        self.times.append(time.perf_counter())
                    elif answer.startswith((b"-READONLY", b"-UNBLOCKED", b"-LOADING", b"-MASTERDOWN", b"-REDIRECT")):
                        at = 1 - at
                    else:
                        raise OSError("a write was answered with %s" % (answer or b"nothing"))
        except OSError as e:
            self.failed = e


def measure_failover(bench, primary, replica):
    pair = [primary, replica]
    follow(replica, primary)
    wait_until(lambda: is_linked(replica), "a replica of %s" % primary.name)
    gaps = []
    for _ in range(max(4, int(FAILOVERS * bench.scale))):
        wait_until(lambda: is_linked(pair[1]) and has_all(pair[1], pair[0]), "a replica of %s" % primary.name)
        writer = Writer(pair)
        writer.start()
        time.sleep(0.1)
        load.ask(pair[0], b"FAILOVER")
        wait_until(lambda p=pair: info(p[1], "replication").get("role") == "master", "a hand-over of %s" % primary.name)
        time.sleep(0.2)
        writer.done.set()
        writer.join()
        if writer.failed:
            raise SystemExit("bench: %s: %s" % (primary.name, writer.failed))
        gaps.append(max(b - a for a, b in zip(writer.times, writer.times[1:])))
        pair.reverse()
    return spread_ms(gaps)


# ---- All of it -----------------------------------------------------------------------------------------------------


def plan(bench):
    """(case key, title, seconds it takes, function(primary, replica), servers)."""
    keys = bench.durable_case().keys
    on_two = bench.durable_servers
    yield SYNC, "a full sync of {:,} keys while {:,} writes a second go on".format(keys, SYNC_WRITES_PER_S), 6 + 4 * keys / 400_000, lambda p, r: measure_sync(bench, p, r, keys), on_two
    yield STREAM, "SET 64 B at pipeline 16", 4, lambda p, r: measure_stream(bench, p, r), on_two
    for rate in LAG_WRITES_PER_S:
        yield "%s/%d" % (LAG, rate), "how far the replica is behind at {:,} writes a second".format(rate), 6, lambda p, r, rate=rate: measure_lag(bench, p, r, rate), on_two
    yield FAILOVER, "FAILOVER under one writer", 12, lambda p, r: measure_failover(bench, p, r), on_two


def run(bench):
    for key, title, seconds, act, find in plan(bench):
        if not bench.valkey_tool or not bench.wants(key):
            continue
        for turn in range(min(bench.rounds, 3)):
            for name, primary, replica in pairs(bench, find()):
                if bench.progress.step("%s, round %d, %s" % (key, turn + 1, name), seconds):
                    with running(bench, primary, replica):
                        found = act(primary, replica)
                    bench.keep_figures(GROUP, key, title, name, found)
