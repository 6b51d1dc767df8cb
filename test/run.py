# SPDX-License-Identifier: BSD-3-Clause
"""Runs every test and sums up: what ./dev test does once everything is built.

The last line is `N passed, N failed`; the exit status is 0 only when nothing failed and something passed. What failed is
printed where it failed and listed again before the last line, and before it what took more than one attempt. Results are
read from the reports of the tools (JUnit XML and TAP), never from their screens.

    ./dev test                      everything
    ./dev test quick                what a few minutes can tell: lint, short unit tests, two rows of integration
    ./dev test unit lint            some parts
    ./dev test integration -- -k incr   arguments after -- go to pytest
"""

import argparse
import concurrent.futures
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON = "/usr/bin/python3"
sys.path.insert(0, os.path.join(ROOT, "test", "integration"))

from server import find_peer  # noqa: E402

# The integration suite runs once per row: backend, shards.
MATRIX = [("uring", 1), ("uring", 2), ("uring", 4), ("epoll", 1), ("epoll", 2), ("epoll", 4)]
# Tests that say that rows matter less (see test/integration/conftest.py) run on some of them.
EACH = [("uring", 1), ("epoll", 2), ("uring", 4)]
PAIR = [("epoll", 1), ("uring", 4)]
ONCE = [("uring", 4)]
ROWS_OF = {"row_each": EACH, "row_pair": PAIR, "row_once": ONCE}
QUICK = [("uring", 4), ("epoll", 1)]
# Tests of what writes do run on a server with a log, too.
LOGGED = [("uring", 4)]
LOGGED_FILES = ["expiry", "hash", "keyspace", "lent", "lists", "real_use", "refused", "scripts", "sets", "slots", "sort", "sorted_sets"]
LOGGED_FILES += ["stream_blocking", "transactions"]
DIFFERENTIAL = [("uring", 1), ("uring", 4), ("epoll", 2)]
NODE = [("uring", 2), ("epoll", 2)]
# What stands in front of a server in most programs, with other numbers of shards, too.
NODE_FRONT = [("uring", 1), ("epoll", 4)]
NODE_FRONT_FILES = ["applications", "ioredis", "node-redis"]
CHECKER = [(backend, shards) for backend in ("uring", "epoll") for shards in (1, 2, 3, 4)]
CHECKER_SECONDS = 4
CONFORMANCE = [("uring", 4), ("epoll", 1)]
# Files of integration tests that also run within TLS (--tls): what streams do, more than what commands do.
TLS = [("uring", 4), ("epoll", 1)]
TLS_FILES = ["large", "pipeline", "protocol"]
PARTS = ["unit", "lint", "integration", "node", "differential", "conformance", "checker"]


class Step:
    """One line of what is printed. seconds: what it takes on two quiet processors, roughly; only their ratios matter once some
    are over."""

    def __init__(self, name, seconds, act):
        self.name, self.seconds, self.act = name, seconds, act


def row_name(part, backend, shards):
    return "%s, %s, %d shard%s" % (part, backend, shards, "s" * (shards > 1))


def duration(seconds):
    return "%d min" % round(seconds / 60) if seconds >= 90 else "%d s" % seconds


class Progress:
    """Which of how many, and how long the rest will take: as estimated, and as the steps behind were slower or faster."""

    def __init__(self, steps):
        self.steps = steps
        self.done = 0
        self.estimated = 0.0
        self.began = time.monotonic()

    def end(self, step):
        """`[3/9] name`, and what remains, as texts."""
        self.estimated += step.seconds
        self.done += 1
        width = len(str(len(self.steps)))
        took = time.monotonic() - self.began
        left = (sum(s.seconds for s in self.steps) - self.estimated) * took / self.estimated
        head = "[%*d/%d] %-36s" % (width, self.done, len(self.steps), step.name)
        return head, ", about %s left" % duration(left) if self.done < len(self.steps) else ""


class Tally:
    """Passed and failed tests, with the names of what failed."""

    def __init__(self):
        self.passed = 0
        self.failed = []
        self.again = []
        self.skipped = 0

    def add(self, part, passed, failed, skipped):
        self.passed += passed
        self.failed += ["%s: %s" % (part, name) for name in failed]
        self.skipped += skipped
        return "%5d passed, %d failed%s" % (passed, len(failed), ", %d skipped" % skipped if skipped else "")


def read_junit(path):
    """(passed, names of failed, skipped) of a JUnit report; a report that is missing or empty is a failure."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as e:
        return 0, ["no report: %s" % e], 0
    passed, failed, skipped = 0, [], 0
    for suite in root.iter("testsuite"):
        cases = list(suite.iter("testcase"))
        for case in cases:
            if case.find("failure") is not None or case.find("error") is not None:
                failed.append(".".join(x for x in (case.get("classname"), case.get("name")) if x))
            elif case.find("skipped") is not None:
                skipped += 1
            else:
                passed += 1
        broken = int(suite.get("errors") or 0) + int(suite.get("failures") or 0)
        if broken and not any(c.find("failure") is not None or c.find("error") is not None for c in cases):
            failed.append("%s ended without saying which test failed" % suite.get("name"))
    return passed, failed, skipped


def tried_again(path):
    """Names of what passed or failed only after further attempts: tests of time (see test/integration/conftest.py)."""
    try:
        cases = ElementTree.parse(path).getroot().iter("testcase")
    except (OSError, ElementTree.ParseError):
        return []
    again = []
    for case in cases:
        attempts = max([1] + [int(p.get("value")) for p in case.iter("property") if p.get("name") == "attempts"])
        if attempts > 1:
            again.append("%s.%s (%d attempts)" % (case.get("classname"), case.get("name"), attempts))
    return again


def read_tap(text):
    """(passed, names of failed, skipped) of the summary of `node --test`'s TAP output."""
    counts = {name: int(n) for name, n in re.findall(r"^# (pass|fail|cancelled|skipped) (\d+)$", text, re.M)}
    if "pass" not in counts:
        return 0, ["node ended without a summary"], 0
    bad = counts.get("fail", 0) + counts.get("cancelled", 0)
    names = re.findall(r"^\s*not ok \d+ - (.*)$", text, re.M)
    failed = (names + ["a test without a name"] * bad)[:bad] if bad else []
    return counts["pass"], failed, counts.get("skipped", 0)


def end_group(proc):
    """Ends a process that was started with its own group, and who else is in it: first as from the keyboard, so that it can tell
    where it was and tidy up."""
    for number, seconds in ((signal.SIGINT, 20), (signal.SIGKILL, 20)):
        if number == signal.SIGKILL or proc.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(proc.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            proc.wait(seconds)


RUNNING = set()  # processes with groups of their own
PRINTING = threading.Lock()


def end_all():
    for proc in list(RUNNING):
        end_group(proc)


def run(command, env=None, cwd=ROOT, timeout=2700):
    """Runs a command; its output is shown only when it fails. Returns (status, output). Nothing that it started outlives it."""
    with tempfile.TemporaryFile() as out:
        proc = subprocess.Popen(
            command, cwd=cwd, env={**os.environ, **(env or {})}, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # who runs in the background ignores it
        )
        RUNNING.add(proc)
        try:
            status = proc.wait(timeout)
        except subprocess.TimeoutExpired:
            status = 124
        finally:
            end_group(proc)
            RUNNING.discard(proc)
        out.seek(0)
        text = out.read().decode(errors="replace")
    if status:
        late = " (it was not over after %d s)" % timeout if status == 124 else ""
        with PRINTING:
            sys.stdout.write("\n" + (text if len(text) < 60000 else text[:20000] + "\n[...]\n" + text[-40000:]))
            print("exit status %d%s: %s" % (status, late, " ".join(command)), flush=True)
    return status, text


class Runner:
    def __init__(self, options, pytest_args):
        self.options = options
        self.pytest_args = pytest_args
        self.tally = Tally()
        self.whole = not (options.quick or options.shards or options.io_backend or pytest_args)
        self.plan = [step for part in options.parts for step in getattr(self, part)()]

    def all(self):
        """Several steps at a time: most of what they do is waiting. Each prints its line when it is over."""
        progress = Progress(self.plan)
        with tempfile.TemporaryDirectory(prefix="shoal-reports-") as self.reports:
            with concurrent.futures.ThreadPoolExecutor(self.options.jobs) as pool:
                began = {}

                def run_step(step):
                    began[step] = time.monotonic()
                    return step.act()

                # What takes longest begins first, so that nothing is left over alone in the end.
                running = {pool.submit(run_step, step): step for step in sorted(self.plan, key=lambda step: -step.seconds)}
                try:
                    for future in concurrent.futures.as_completed(running):
                        step = running[future]
                        self.note(progress, step, *future.result(), time.monotonic() - began[step])
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    end_all()
                    raise
        for name in self.tally.again:
            print("AGAIN %s" % name)
        for name in self.tally.failed:
            print("FAILED %s" % name)
        print("%d passed, %d failed" % (self.tally.passed, len(self.tally.failed)))
        return 1 if self.tally.failed or not self.tally.passed else 0

    def note(self, progress, step, passed, failed, skipped, status, seconds):
        if status and not failed:
            failed = ["exit status %d" % status]
        if not status and passed == 0 and not failed and not skipped:
            failed = ["nothing ran"]
        result = self.tally.add(step.name, passed, failed, skipped)
        head, left = progress.end(step)
        print("%s%s  (%d s%s)" % (head, result, seconds, left), flush=True)

    def rows(self, rows):
        return [
            (backend, shards)
            for backend, shards in rows
            if self.options.io_backend in (None, backend) and self.options.shards in (None, shards)
        ]

    # ---- The parts: lists of steps -----------------------------------------------------------------------------------

    def unit(self):
        """Unit and model tests, by meson; TAP of each test program is in its report."""

        def act():
            report = os.path.join(self.options.build, "meson-logs", "testlog.junit.xml")
            if os.path.exists(report):
                os.remove(report)
            command = ["meson", "test", "-C", self.options.build, "--print-errorlogs", "--no-rebuild"]
            status, _ = run(command + ["--no-suite", "long"] * self.options.quick)
            return *read_junit(report), status

        return [Step("unit and short models", 60, act) if self.options.quick else Step("unit and model", 450, act)]

    def pytest(self, name, folder, args=(), env=None):
        report = os.path.join(self.reports, re.sub(r"\W+", "-", name) + ".xml")
        # A test that hangs tells where before the step is ended.
        command = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "faulthandler_timeout=600", "--junitxml", report]
        status, _ = run(command + ["-o", "junit_family=xunit1", folder, *args, *self.pytest_args], env=env)
        self.tally.again += ["%s: %s" % (name, test) for test in tried_again(report)]
        return *read_junit(report), status

    def lint(self):
        return [Step("lint", 70, lambda: self.pytest("lint", "test/lint", env={"SHOAL_BUILD": self.options.build}))]

    def integration(self):
        steps = []
        for backend, shards in self.rows(QUICK if self.options.quick else MATRIX):
            args = ["--server", self.options.server, "--shards", str(shards), "--io-backend", backend]
            if self.options.quick:
                args += ["-m", "not slow"]
            elif self.whole:
                row = (backend, shards)
                args += ["--leave-out", ",".join(mark for mark, rows in ROWS_OF.items() if row not in rows)]
            name = row_name("integration", backend, shards)
            seconds = 120 if self.options.quick else 350 + 700 * ((backend, shards) in EACH) + 700 * ((backend, shards) in PAIR)
            steps.append(Step(name, seconds, lambda n=name, a=args: self.pytest(n, "test/integration", a)))
        return steps + ([] if self.options.quick else self.integration_tls() + self.integration_logged())

    def integration_logged(self):
        steps = []
        first, *others = ["test/integration/test_%s.py" % name for name in LOGGED_FILES]
        for backend, shards in self.rows(LOGGED):
            args = [*others, "--server", self.options.server, "--shards", str(shards), "--io-backend", backend, "--appendonly"]
            name = row_name("integration with a log", backend, shards)
            steps.append(Step(name, 125, lambda n=name, a=args: self.pytest(n, first, a)))
        return steps

    def integration_tls(self):
        steps = []
        first, *others = ["test/integration/test_%s.py" % name for name in TLS_FILES]
        for backend, shards in self.rows(TLS):
            args = [*others, "--server", self.options.server, "--shards", str(shards), "--io-backend", backend, "--tls"]
            name = row_name("integration within TLS", backend, shards)
            steps.append(Step(name, 35, lambda n=name, a=args: self.pytest(n, first, a)))
        return steps

    def differential(self):
        """Random command sequences side by side with Valkey and Redis; each sequence counts as a test."""

        def act(backend, shards):
            command = [PYTHON, "test/differential/run.py", "--shoal", self.options.server, "--shards", str(shards)]
            command += ["--io-backend", backend, "--seed", str(self.options.seed), "--ops", str(self.options.ops)]
            if not find_peer("valkey") and not find_peer("redis"):
                print("neither a Valkey nor a Redis 7 to compare with: ", end="")
                return 0, [], 1, 0
            status, text = run(command)
            found = re.search(r"(\d+) commands in (\d+) sequences, seed \d+: (\d+) differences", text)
            passed, bad = (int(found.group(2)) - int(found.group(3)), int(found.group(3))) if found else (0, 0)
            return passed, re.findall(r"^DIFFERENCE in (.*)$", text, re.M) if bad else [], 0, status

        steps = [
            Step(row_name("differential", *row), max(2, self.options.ops // 2500), lambda row=row: act(*row))
            for row in self.rows(DIFFERENTIAL)
        ]
        name, env = "questions and metadata", {"SHOAL_SERVER": self.options.server}
        args = ["-k", "not random_sequences"]
        return steps + [Step(name, 130, lambda: self.pytest(name, "test/differential", args, env))]

    def node(self):
        """ioredis, iovalkey and node-redis against the server, each test file in its own process."""
        folder = os.path.join(ROOT, "test", "integration", "node")
        fetching = threading.Lock()

        def act(backend, shards, names):
            with fetching:
                lock = os.path.join(folder, "package-lock.json")
                done = os.path.join(folder, "node_modules", ".package-lock.json")
                if not os.path.exists(done) or os.path.getmtime(done) < os.path.getmtime(lock):
                    status, _ = run(["npm", "ci", "--no-fund", "--no-audit", "--loglevel=error"], cwd=folder)
                    if status:
                        return 0, ["npm ci"], 0, status
            env = {"SHOAL_SERVER": self.options.server, "SHOAL_SHARDS": str(shards), "SHOAL_IO_BACKEND": backend}
            files = [n + ".test.mjs" for n in names] or sorted(n for n in os.listdir(folder) if n.endswith(".test.mjs"))
            status, text = run(["node", "--test", "--test-reporter=tap", *files], env=env, cwd=folder)
            return *read_tap(text), status

        steps = [Step(row_name("node clients", *row), 75, lambda row=row: act(*row, [])) for row in self.rows(NODE)]
        front = [Step(row_name("node front ends", *row), 14, lambda row=row: act(*row, NODE_FRONT_FILES)) for row in self.rows(NODE_FRONT)]
        return steps + front

    def conformance(self):
        """Redis's own tests against the server; each of them counts."""

        def act(backend, shards):
            command = [PYTHON, "test/conformance/run.py", "--server", self.options.server, "--shards", str(shards), "--io-backend", backend]
            status, text = run([*command, "--may-be-missing"])
            found = re.search(r"^conformance: (\d+) passed, (\d+) failed, (\d+) left out$", text, re.M)
            if not found:
                return 0, [], 1, status
            return int(found.group(1)), re.findall(r"^FAILED (.*)$", text, re.M), int(found.group(3)), status

        return [Step(row_name("conformance", *row), 360, lambda row=row: act(*row)) for row in self.rows(CONFORMANCE)]

    def checker(self):
        """Histories of real threads, a few seconds per row; then those of other orders of pipelines, and servers that must be found out: one that is held to what it does not promise, one whose locks are off."""
        folder = os.path.join(self.options.build, "test", "checker")

        def act(backend, shards, kind, arguments):
            server = os.path.join(folder, "shoal-server-unlocked") if kind == "unlocked" else self.options.server
            wrong = "--must-fail" in arguments
            command = [PYTHON, "test/checker/run.py", "--server", server, "--checker", os.path.join(folder, "checker")]
            command += ["--shards", str(shards), "--io-backend", backend, "--seed", str(self.options.seed)]
            command += ["--seconds", str(CHECKER_SECONDS * (2 if wrong else 1)), *([] if wrong else ["--require"]), *arguments]
            status, text = run(command)
            done = re.search(r"^checker: 1 runs, (\d+) rounds, [1-9]\d* operations .*: (no anomaly|1 runs with anomalies, as wanted)$", text, re.M)
            return *((1, []) if done and not status else (0, ["see above"])), 0, status

        name = "checker, its clients"
        steps = [Step(name, 1, lambda: self.pytest(name, "test/checker"))]
        for kind, arguments, only in (
            ("", [], (1, 2, 3, 4)),
            ("strict", ["--order", "strict"], (4,)),
            ("relaxed", ["--order", "relaxed"], (3,)),
            ("relaxed, held to writes", ["--order", "relaxed", "--held-to", "writes", "--must-fail"], (4,)),
            ("unlocked", ["--must-fail"], (2, 4)),
        ):
            for backend, shards in self.rows(CHECKER):
                if shards in only:
                    row = row_name("checker", backend, shards) + (", " + kind if kind else "")
                    args = backend, shards, kind, arguments
                    steps.append(Step(row, 1 if "--must-fail" in arguments else 5, lambda a=args: act(*a)))
        return steps


def parse_arguments(args):
    """(options, what goes to pytest); ends the process if they make no sense."""
    pytest_args = []
    if "--" in args:
        split = args.index("--")
        args, pytest_args = args[:split], args[split + 1 :]
    parser = argparse.ArgumentParser(prog="./dev test", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="any of: %s (default: all); or quick" % ", ".join(PARTS))
    parser.add_argument("--server", default=os.path.join(ROOT, "build-release", "server", "shoal-server"), help="binary under test")
    parser.add_argument("--build", default=os.path.join(ROOT, "build-debug"), help="build whose unit tests and objects are used")
    parser.add_argument("--shards", type=int, help="only these rows of the matrix, with all tests")
    parser.add_argument("--io-backend", choices=("uring", "epoll"), help="only these rows of the matrix, with all tests")
    parser.add_argument("--seed", type=int, default=1, help="of the differential test")
    parser.add_argument("--ops", type=int, default=20_000, help="commands of each differential run")
    parser.add_argument("--jobs", type=int, default=min(3, len(os.sched_getaffinity(0)) + 1), help="steps at a time (%(default)s)")
    parser.add_argument("--plan", action="store_true", help="say what would be run, and run nothing")
    parser.add_argument("--check-arguments", action="store_true", help=argparse.SUPPRESS)  # ./dev asks before it installs or builds
    options = parser.parse_args(args)
    for part in options.parts:
        if part not in PARTS + ["quick"]:
            parser.error("no part '%s'; there are: %s" % (part, ", ".join(PARTS + ["quick"])))
    if options.jobs < 1:
        parser.error("--jobs must be 1 or more")
    if options.shards not in {None} | {shards for _, shards in MATRIX + CHECKER}:
        parser.error("no row with %d shards" % options.shards)
    options.quick = "quick" in options.parts
    if options.quick and len(options.parts) > 1:
        parser.error("quick is a choice of parts: it stands alone")
    if options.quick:
        options.parts = ["lint", "unit", "integration"]
    options.parts = options.parts or PARTS
    options.server = os.path.abspath(options.server)
    options.build = os.path.abspath(options.build)
    for path in (options.server, options.build):
        made_here = any(path.startswith(os.path.join(ROOT, "build-" + name)) for name in ("release", "debug"))
        if not os.path.exists(path) and not ((options.plan or options.check_arguments) and made_here):
            parser.error("no %s: build it first (./dev build PRESET)" % path)
    if not Runner(options, pytest_args).plan:
        parser.error("no row like that in: %s" % ", ".join(options.parts))
    return options, pytest_args


def main():
    options, pytest_args = parse_arguments(sys.argv[1:])
    runner = Runner(options, pytest_args)
    if options.check_arguments:
        return
    if options.plan:
        total = sum(step.seconds for step in runner.plan)
        for step in runner.plan:
            print("%-36s about %s" % (step.name, duration(step.seconds)))
        print("%d steps, about %s with %d at a time" % (len(runner.plan), duration(total / options.jobs), options.jobs))
        return
    if not find_peer("valkey"):
        print("no valkey-server: what compares with it is skipped (./dev bench --setup-peers fetches one)")
    try:
        sys.exit(runner.all())
    except KeyboardInterrupt:
        print("\ninterrupted")
        sys.exit(130)


if __name__ == "__main__":
    main()
