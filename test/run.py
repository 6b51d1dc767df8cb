# SPDX-License-Identifier: BSD-3-Clause
"""Runs every test and sums up: what ./dev test does once everything is built.

The last line is `N passed, N failed`; the exit status is 0 only when nothing failed and something passed. What failed is
printed where it failed and listed again before the last line. Results are read from the reports of the tools (JUnit XML
and TAP), never from their screens.

    ./dev test                      everything
    ./dev test unit lint            some parts
    ./dev test integration -- -k incr   arguments after -- go to pytest
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON = "/usr/bin/python3"

# The integration suite runs once per row: backend, shards.
MATRIX = [("uring", 1), ("uring", 2), ("uring", 4), ("epoll", 1), ("epoll", 2), ("epoll", 4)]
DIFFERENTIAL = [("uring", 1), ("uring", 4), ("epoll", 2)]
CHECKER = [(backend, shards) for backend in ("uring", "epoll") for shards in (1, 2, 3, 4)]
CHECKER_SECONDS = 4
PARTS = ["unit", "lint", "integration", "node", "differential", "checker"]


class Tally:
    """Passed and failed tests, with the names of what failed."""

    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = 0

    def add(self, part, passed, failed, skipped, seconds):
        self.passed += passed
        self.failed += ["%s: %s" % (part, name) for name in failed]
        self.skipped += skipped
        extra = ", %d skipped" % skipped if skipped else ""
        print("%-34s %5d passed, %d failed%s  (%.0f s)" % (part, passed, len(failed), extra, seconds), flush=True)


def read_junit(path, part):
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


def read_tap(text):
    """(passed, names of failed, skipped) of the summary of `node --test`'s TAP output."""
    counts = {name: int(n) for name, n in re.findall(r"^# (pass|fail|cancelled|skipped) (\d+)$", text, re.M)}
    if "pass" not in counts:
        return 0, ["node ended without a summary"], 0
    bad = counts.get("fail", 0) + counts.get("cancelled", 0)
    names = re.findall(r"^\s*not ok \d+ - (.*)$", text, re.M)
    failed = (names + ["a test without a name"] * bad)[:bad] if bad else []
    return counts["pass"], failed, counts.get("skipped", 0)


def run(command, env=None, cwd=ROOT, show=True, timeout=1500):
    """Runs a command; its output is shown only when it fails. Returns (status, output)."""
    with tempfile.TemporaryFile() as out:
        try:
            status = subprocess.run(
                command, cwd=cwd, env={**os.environ, **(env or {})}, stdout=out, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, timeout=timeout,
            ).returncode
        except subprocess.TimeoutExpired:
            status = 124
        out.seek(0)
        text = out.read().decode(errors="replace")
    if status and show:
        sys.stdout.write(text if len(text) < 60000 else text[:20000] + "\n[...]\n" + text[-40000:])
        print("exit status %d: %s" % (status, " ".join(command)), flush=True)
    return status, text


class Runner:
    def __init__(self, options, pytest_args):
        self.options = options
        self.pytest_args = pytest_args
        self.tally = Tally()
        self.reports = tempfile.mkdtemp(prefix="shoal-reports-")

    def record(self, part, result, status, began):
        passed, failed, skipped = result
        if status and not failed:
            failed = ["exit status %d" % status]
        if not status and passed == 0 and not failed:
            failed = ["nothing ran"]
        self.tally.add(part, passed, failed, skipped, time.monotonic() - began)

    # ---- The parts ---------------------------------------------------------------------------------------------------

    def unit(self):
        """Unit and model tests, by meson; TAP of each test program is in its report."""
        began = time.monotonic()
        report = os.path.join(self.options.build, "meson-logs", "testlog.junit.xml")
        if os.path.exists(report):
            os.remove(report)
        status, _ = run(["meson", "test", "-C", self.options.build, "--print-errorlogs", "--no-rebuild"])
        self.record("unit and model", read_junit(report, "unit"), status, began)

    def pytest(self, part, folder, args=(), env=None):
        began = time.monotonic()
        report = os.path.join(self.reports, re.sub(r"\W+", "-", part) + ".xml")
        command = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml", report]
        status, _ = run(command + ["-o", "junit_family=xunit1", folder, *args, *self.pytest_args], env=env)
        self.record(part, read_junit(report, part), status, began)

    def lint(self):
        self.pytest("lint", "test/lint", env={"SHOAL_BUILD": self.options.build})

    def matrix(self, rows=MATRIX):
        return [
            (backend, shards)
            for backend, shards in rows
            if self.options.io_backend in (None, backend) and self.options.shards in (None, shards)
        ]

    def integration(self):
        for backend, shards in self.matrix():
            self.pytest(
                "integration, %s, %d shard%s" % (backend, shards, "s" * (shards > 1)),
                "test/integration",
                ["--server", self.options.server, "--shards", str(shards), "--io-backend", backend],
            )

    def differential(self):
        """Random command sequences side by side with Valkey and Redis; each sequence counts as a test."""
        for backend, shards in self.matrix():
            if (backend, shards) not in DIFFERENTIAL:
                continue
            began = time.monotonic()
            command = [PYTHON, "test/differential/run.py", "--shoal", self.options.server, "--shards", str(shards)]
            command += ["--io-backend", backend, "--seed", self.options.seed, "--ops", str(self.options.ops)]
            if not redis_is_7():
                command += ["--redis", ""]
            status, text = run(command)
            found = re.search(r"(\d+) commands in (\d+) sequences, seed \d+: (\d+) differences", text)
            passed, bad = (int(found.group(2)) - int(found.group(3)), int(found.group(3))) if found else (0, 0)
            failed = re.findall(r"^DIFFERENCE in (.*)$", text, re.M) if bad else []
            self.record("differential, %s, %d shard%s" % (backend, shards, "s" * (shards > 1)), (passed, failed, 0), status, began)
        self.pytest(
            "questions and metadata", "test/differential", ["-k", "not random_sequences"], {"SHOAL_SERVER": self.options.server}
        )

    def node(self):
        """ioredis and node-redis against the server, each test file in its own process."""
        folder = os.path.join(ROOT, "test", "integration", "node")
        lock = os.path.join(folder, "package-lock.json")
        done = os.path.join(folder, "node_modules", ".package-lock.json")
        if not os.path.exists(done) or os.path.getmtime(done) < os.path.getmtime(lock):
            began = time.monotonic()
            status, _ = run(["npm", "ci", "--no-fund", "--no-audit", "--loglevel=error"], cwd=folder)
            if status:
                self.record("node clients", (0, ["npm ci"], 0), status, began)
                return
        for backend, shards in self.matrix():
            if shards != 2:
                continue
            began = time.monotonic()
            env = {"SHOAL_SERVER": self.options.server, "SHOAL_SHARDS": str(shards), "SHOAL_IO_BACKEND": backend}
            files = sorted(n for n in os.listdir(folder) if n.endswith(".test.mjs"))
            status, text = run(["node", "--test", "--test-reporter=tap", *files], env=env, cwd=folder)
            self.record("node clients, %s, %d shards" % (backend, shards), read_tap(text), status, began)

    def checker(self):
        """Histories of real threads, a few seconds per row; then those of strict pipelines, and a server whose locks are off, which must be found out."""
        self.pytest("checker, its clients", "test/checker")
        folder = os.path.join(self.options.build, "test", "checker")
        for strict, unlocked, only in ((False, False, (1, 2, 3, 4)), (True, False, (4,)), (False, True, (2, 4))):
            for backend, shards in self.matrix(CHECKER):
                if shards not in only:
                    continue
                began = time.monotonic()
                server = os.path.join(folder, "shoal-server-unlocked") if unlocked else self.options.server
                command = [PYTHON, "test/checker/run.py", "--server", server, "--checker", os.path.join(folder, "checker")]
                command += ["--shards", str(shards), "--io-backend", backend, "--seed", self.options.seed]
                command += ["--seconds", str(CHECKER_SECONDS * (2 if unlocked else 1)), "--must-fail" if unlocked else "--require"]
                command += ["--strict"] * strict
                status, text = run(command)
                done = re.search(r"^checker: 1 runs, (\d+) rounds, [1-9]\d* operations .*: (no anomaly|1 runs with anomalies, as wanted)$", text, re.M)
                part = "checker, %s, %d shard%s%s" % (backend, shards, "s" * (shards > 1), ", strict" * strict + ", unlocked" * unlocked)
                self.record(part, (1, [], 0) if done and not status else (0, ["see above"], 0), status, began)

    def all(self):
        for part in self.options.parts or PARTS:
            getattr(self, part)()
        shutil.rmtree(self.reports, ignore_errors=True)
        for name in self.tally.failed:
            print("FAILED %s" % name)
        print("%d passed, %d failed" % (self.tally.passed, len(self.tally.failed)))
        return 1 if self.tally.failed or not self.tally.passed else 0


def redis_is_7():
    """The differences of Redis 7 from Valkey are known to the differential test; Redis 8 has others, and loses replies of some pipelines."""
    path = os.environ.get("SHOAL_REDIS") or shutil.which("redis-server")
    if not path:
        return False
    return " v=7." in subprocess.run([path, "--version"], capture_output=True, text=True).stdout


def find_valkey():
    """The Valkey that tests compare with: as the environment says, else from ./dev bench --setup-peers, else from PATH."""
    ours = os.path.join(ROOT, ".cache", "peers", "bin", "valkey-server")
    return os.environ.get("SHOAL_VALKEY") or (ours if os.access(ours, os.X_OK) else shutil.which("valkey-server"))


def main():
    args = sys.argv[1:]
    pytest_args = []
    if "--" in args:
        split = args.index("--")
        args, pytest_args = args[:split], args[split + 1 :]
    parser = argparse.ArgumentParser(prog="./dev test", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="any of: %s (default: all)" % ", ".join(PARTS))
    parser.add_argument("--server", default=os.path.join(ROOT, "build-release", "server", "shoal-server"), help="binary under test")
    parser.add_argument("--build", default=os.path.join(ROOT, "build-debug"), help="build whose unit tests and objects are used")
    parser.add_argument("--shards", type=int, help="only this row of the matrix")
    parser.add_argument("--io-backend", choices=("uring", "epoll"), help="only this row of the matrix")
    parser.add_argument("--seed", default="1", help="of the differential test")
    parser.add_argument("--ops", type=int, default=20_000, help="commands of each differential run")
    options = parser.parse_args(args)
    for part in options.parts:
        if part not in PARTS:
            parser.error("no part '%s'; there are: %s" % (part, ", ".join(PARTS)))
    if options.shards and options.shards not in {shards for _, shards in MATRIX}:
        parser.error("no row with %d shards in the matrix" % options.shards)
    options.server = os.path.abspath(options.server)
    options.build = os.path.abspath(options.build)
    valkey = find_valkey()
    if valkey:
        os.environ["SHOAL_VALKEY"] = valkey
    else:
        print("no valkey-server: what compares with it is skipped (./dev bench --setup-peers fetches one)")
    sys.exit(Runner(options, pytest_args).all())


if __name__ == "__main__":
    main()
