# SPDX-License-Identifier: BSD-3-Clause
"""Real threads under the checker: clients of all kinds work on few keys of a server, are killed and cut off at random, and
what they were told must be explained by one order of all operations that keeps to real time.

    ./dev checker 600               ten minutes over 1, 2, 3 and 4 shards and both backends
    ./dev checker 60 --shards 4 --io-backend epoll --seed 7

Time goes in rounds: a round has its own keys and its own history, which is checked while the next round runs. Some clients
are raw sockets with pipelines, some redis-py. What the server cannot do yet is left out, and said; with --require it is a
failure. Exit status: 0 all is well, 1 not, 2 it could not run. The last line has the totals.
"""

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "integration")]

from resp import RespError  # noqa: E402
from server import Server, kind_of, slowness  # noqa: E402
from workload import NEEDS, BadReply, Keys, do_count, do_get, do_hget, do_moved_get, do_read_list, do_scard, do_set, do_zscore, one, probe  # noqa: E402

ROUND_SECONDS = 4.0
PER_PROCESS = 6  # raw connections in one process
THREADS = 3  # of redis-py in one process
CHECKER_SECONDS = 600
MOST_TIMES = 8  # the seconds of a row that must find something


ANOMALIES = re.compile(r"\d+ anomalies, history in (\S+)$")


class Failure(Exception):
    """The server, or a client, did what it must not."""


class Totals:
    def __init__(self):
        self.runs = self.rounds = self.killed = 0
        self.operations = self.unknown = self.anomalies = 0
        self.seen = 0  # rows in which a wrong server was found out
        self.problems = []


class ClientProcess:
    """Several clients in one process, started again with another life when it is killed."""

    def __init__(self, kind, first, connections):
        self.kind, self.first, self.connections = kind, first, connections
        self.life = 0
        self.proc = None

    def start(self, run, began_ns, ends_ns):
        command = [sys.executable, os.path.join(HERE, "clients.py"), self.kind, str(run.server.port), os.path.join(run.folder, "log")]
        command += [str(self.first), str(self.life), str(self.connections), "%s/%d" % (run.seed, run.number)]
        command += [str(began_ns), str(ends_ns), "yes" if run.faults else "no", ",".join(run.workloads)]
        self.proc = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def kill(self):
        self.proc.kill()
        self.proc.communicate()
        self.life += 1

    def end(self, seconds):
        try:
            out, _ = self.proc.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure("a client did not end")
        if self.proc.returncode:
            raise Failure("a client ended with status %d: %s" % (self.proc.returncode, out[-3000:]))


class Round:
    """One history: its clients, who disturbs them, and the last reads."""

    def __init__(self, run, folder, number, seconds):
        self.server, self.workloads, self.faults, self.seed = run.server, run.workloads, run.options.faults, run.seed
        self.options, self.order = run.options, run.order
        self.folder, self.number, self.seconds = folder, number, seconds
        self.random = random.Random("%s/%d" % (run.seed, number))
        self.killed = 0
        self.slow = run.slow

    def operate(self):
        processes, first = [], 0
        raw = self.options.clients - self.options.clients // 4
        for kind, clients, most in (("raw", raw, PER_PROCESS), ("redis-py", self.options.clients - raw, THREADS)):
            while clients > 0:
                processes.append(ClientProcess(kind, first, min(clients, most)))
                first += processes[-1].connections
                clients -= processes[-1].connections
        with self.server.raw(timeout=60) as raw:
            raw.do("FLUSHALL")
            self.history = open(os.path.join(self.folder, "log.first"), "w")
            self.history.write("! %s\n" % self.order if self.order != "relaxed" else "")
            self.note(raw, [one(do_set(k, "%d" % (9 * 10**9 + 9 * 10**8 + i))) for i, k in enumerate(Keys().moved)])
            began_ns = time.monotonic_ns()
            ends_ns = began_ns + int(self.seconds * 1e9)
            for p in processes:
                p.start(self, began_ns, ends_ns)
            try:
                self.disturb(raw, processes, began_ns, ends_ns)
                for p in processes:
                    p.end(90 * self.slow)
            finally:
                for p in processes:
                    if p.proc.poll() is None:
                        p.kill()
            self.last_reads(raw)
            self.history.close()

    def disturb(self, admin, processes, began_ns, ends_ns):
        """Until the time is over: connections are cut by CLIENT KILL, whole processes by SIGKILL."""
        next_kill = time.monotonic() + self.seconds * (0.3 + 0.4 * self.random.random())
        own = admin.do("CLIENT", "ID")
        while time.monotonic_ns() < ends_ns:
            time.sleep(0.1)
            dead = next((p for p in processes if p.proc.poll() not in (None, 0)), None)
            if dead is not None:
                dead.end(10)
            if not self.faults:
                continue
            ids = [int(i) for i in re.findall(rb"(?:^|\n)id=(\d+)", admin.do("CLIENT", "LIST")) if int(i) != own]
            if ids:
                admin.do("CLIENT", "KILL", "ID", str(self.random.choice(ids)))
            if time.monotonic() > next_kill and time.monotonic_ns() < ends_ns:
                next_kill += self.seconds
                victim = self.random.choice(processes)
                victim.kill()
                victim.start(self, began_ns, ends_ns)
                self.killed += 1

    def note(self, raw, requests):
        """Runs requests one by one, as process 1."""
        for request in requests:
            called = time.monotonic_ns()
            reply = raw.do(*request.commands[0])
            if isinstance(reply, RespError):
                raise Failure("%s: %s" % (request.commands[0], reply))
            self.history.write("> 1 %d %s %s\n" % (called, request.label, request.steps))
            self.history.write("< 1 %d ok %s\n" % (time.monotonic_ns(), request.parse([reply])))

    def last_reads(self, raw):
        """What is there in the end is part of the history: it shows what was lost."""
        keys = Keys()
        self.note(raw, [one(do_get(k)) for k in keys.registers + keys.group + keys.near + keys.watched + keys.moved[:1]])
        self.note(raw, [one(do_moved_get(keys.moved[1]))] + [one(do_count(k)) for k in keys.counters])
        names = set()
        for name in os.listdir(self.folder):
            with open(os.path.join(self.folder, name)) as f:
                names |= set(re.findall(r"\ba:([^=\s]+)=", f.read()))
        self.note(raw, [one(do_read_list(k)) for k in sorted(names)])
        if "hash" in self.workloads:
            self.note(raw, [one(do_hget(k)) for k in keys.hashes])
        if "zset" in self.workloads:
            self.note(raw, [one(do_zscore(k)) for k in keys.zsets + keys.stored])
        if "set" in self.workloads:
            self.note(raw, [one(do_scard(k)) for k in keys.sets])


class Run:
    """One server, round after round."""

    def __init__(self, options, backend, shards, totals):
        self.options, self.totals = options, totals
        self.name = "%d shard%s, %s" % (shards, "s" * (shards > 1), backend)
        self.seed = "%s/%s" % (options.seed, self.name)
        kind = kind_of(options.server)
        config = {"shards": shards, "io-backend": backend} if kind == "shoal" else {}
        self.order = options.held_to or options.order or ("strict" if kind != "shoal" else "writes")
        if options.order and kind == "shoal":
            config["pipeline-order"] = options.order
        self.server = Server(options.server, config, kind=kind)
        self.slow = slowness(options.server)
        self.checks = []  # running checkers: (process, folder)

    def run(self, seconds):
        self.server.start()
        try:
            with self.server.raw() as raw:
                self.workloads, broken = probe(raw)
            for name, error in sorted(broken.items()):
                print("%s: workload %s is left out: %s" % (self.name, name, error))
                if self.options.require:
                    self.totals.problems.append("%s: %s is required: %s" % (self.name, name, error))
            if self.options.workloads:
                self.workloads = [w for w in self.workloads if w in self.options.workloads]
            if not self.workloads:
                raise Failure("there is nothing the server can do")
            self.rounds(seconds)
        finally:
            for process, _ in self.checks:
                process.wait()
            self.server.stop(check=not self.totals.problems and not self.options.must_fail)

    def rounds(self, seconds):
        """As long as nothing is wrong; or, of a server that is known to be, until it was found out: it may have died before, and
        a machine that has much to do may need longer for as many operations."""
        ends = time.monotonic() + seconds * (MOST_TIMES if self.options.must_fail else 1)
        number = 0
        while time.monotonic() < ends and not self.is_over():
            if not self.server.alive():
                self.server.start_again()
            folder = tempfile.mkdtemp(prefix="shoal-checker-")
            one_round = Round(self, folder, number, min(ROUND_SECONDS, max(1.0, ends - time.monotonic())))
            try:
                one_round.operate()
            except (Failure, BadReply, OSError, EOFError) as e:
                self.totals.problems.append("%s: %s" % (self.name, e))
                if self.options.must_fail:
                    self.server.kill()  # it is dead, or may never answer again
            self.totals.killed += one_round.killed
            number += 1
            self.totals.rounds += 1
            self.check(folder)
            self.collect(0 if self.options.must_fail else 1)
        self.collect(0)
        self.totals.runs += 1

    def is_over(self):
        problems = self.totals.problems
        return any(ANOMALIES.search(p) for p in problems) if self.options.must_fail else bool(problems)

    def check(self, folder):
        logs = sorted(os.path.join(folder, n) for n in os.listdir(folder))
        command = ["nice", "timeout", str(CHECKER_SECONDS * self.slow), self.options.checker] + logs
        self.checks.append((subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True), folder))

    def collect(self, leave):
        """Results of the checks, up to so many that may go on."""
        while len(self.checks) > leave:
            process, folder = self.checks.pop(0)
            out, _ = process.communicate()
            found = re.search(r"^checked (\d+) operations .*\((\d+) ok, \d+ failed, (\d+) unknown\) in .*: (no|\d+) anomal", out, re.M)
            if found is None or process.returncode not in (0, 1):
                self.totals.problems.append("%s: the checker ended with status %d: %s" % (self.name, process.returncode, out[-2000:]))
                continue
            self.totals.operations += int(found.group(1))
            self.totals.unknown += int(found.group(3))
            if int(found.group(2)) == 0:
                self.totals.problems.append("%s: a round without one operation that was answered" % self.name)
            if process.returncode:
                self.totals.anomalies += int(found.group(4))
                self.totals.problems.append("%s: %s anomalies, history in %s" % (self.name, found.group(4), folder))
                print(re.sub(r"(?m)^ .*\n", "", out) if self.options.must_fail else out, flush=True)
            else:
                shutil.rmtree(folder, ignore_errors=True)


def judge_blindness(run, totals):
    """For a server that is known to be wrong: anomalies are what was wanted. Its clients may have seen nonsense as well."""
    found = [p for p in totals.problems if ANOMALIES.search(p)]
    if found:
        totals.seen += 1
        for problem in found:
            print("as wanted: %s" % problem)
            shutil.rmtree(ANOMALIES.search(problem).group(1), ignore_errors=True)
        totals.problems = []  # what else such a server does to its clients, as to close them, says nothing
    elif not totals.problems:
        totals.problems.append("%s: nothing was found" % run.name)


def find_checker():
    """The checker of the fastest build that has one."""
    paths = [os.path.join(ROOT, "build-%s" % b, "test", "checker", "checker") for b in ("release", "debug", "asan")]
    return next((p for p in paths if os.access(p, os.X_OK)), paths[1])


def numbers(text):
    return [int(x) for x in text.split(",")]


def main():
    parser = argparse.ArgumentParser(prog="./dev checker", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("time", nargs="?", type=float, metavar="SECONDS", help="of all rows of the matrix together (default 60)")
    parser.add_argument("--seconds", type=float, help="of each row")
    parser.add_argument("--server", default=os.path.join(ROOT, "build-release", "server", "shoal-server"), help="binary under test")
    parser.add_argument("--checker", default=find_checker(), help="the checker's binary")
    parser.add_argument("--shards", type=numbers, default=[1, 2, 3, 4], help="comma-separated, default 1,2,3,4")
    parser.add_argument("--io-backend", default="uring,epoll", help="uring, epoll or both (the default)")
    parser.add_argument("--seed", default="1", help="of what clients choose; what comes of it is up to the threads")
    parser.add_argument("--clients", type=int, default=24, help="connections, at most 89; a quarter of them redis-py")
    parser.add_argument("--workloads", type=lambda text: text.split(","), help="only these: see workload.py")
    parser.add_argument("--order", choices=("relaxed", "writes", "strict"), help="pipeline-order: how what a connection sends must happen; default: as the server has it")
    parser.add_argument("--held-to", choices=("relaxed", "writes", "strict"), help="the order that a history must show, another one than the server's")
    parser.add_argument("--no-faults", dest="faults", action="store_false", help="kill nobody")
    parser.add_argument("--must-fail", action="store_true", help="the other way round: a row in which nothing is found is a problem")
    parser.add_argument("--require", action="store_true", help="fail if a workload has to be left out")
    parser.add_argument("--check-arguments", action="store_true", help=argparse.SUPPRESS)  # ./dev asks before it installs or builds
    options = parser.parse_args()
    unknown = [w for w in options.workloads or [] if w not in NEEDS]
    if unknown:
        parser.error("no workload '%s'; there are: %s" % (unknown[0], ", ".join(NEEDS)))
    if not set(options.io_backend.split(",")) <= {"uring", "epoll"}:
        parser.error("--io-backend must be uring, epoll or both, with a comma between")
    if not 1 <= options.clients < 90:
        parser.error("--clients must be 1 to 89")
    if options.check_arguments:
        return
    for path in (options.server, options.checker):
        if not os.access(path, os.X_OK):
            print("checker: no %s: build it first (./dev build release, ./dev build debug)" % path)
            sys.exit(2)
    rows = [(b, s) for b in options.io_backend.split(",") for s in options.shards]
    seconds = options.seconds or (options.time or 60.0) / len(rows)
    totals = Totals()
    began = time.monotonic()
    for backend, shards in rows:
        run = Run(options, backend, shards, totals)
        before = totals.operations
        try:
            run.run(seconds)
        except (Failure, AssertionError, OSError, EOFError) as e:
            totals.problems.append("%s: %s" % (run.name, e))
        print("%s: %d operations (%s)" % (run.name, totals.operations - before, " ".join(getattr(run, "workloads", []))), flush=True)
        if options.must_fail:
            judge_blindness(run, totals)
        if totals.problems:
            break
    for problem in totals.problems:
        print("PROBLEM %s" % problem)
    print(
        "checker: %d runs, %d rounds, %d operations (%d unknown), %d processes killed, %.0f s: %s"
        % (
            totals.runs,
            totals.rounds,
            totals.operations,
            totals.unknown,
            totals.killed,
            time.monotonic() - began,
            "%d anomalies, %d problems" % (totals.anomalies, len(totals.problems)) if totals.problems
            else "%d runs with anomalies, as wanted" % totals.seen if options.must_fail
            else "no anomaly",
        )
    )
    sys.exit(1 if totals.problems else 0)


if __name__ == "__main__":
    main()
