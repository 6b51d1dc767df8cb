# SPDX-License-Identifier: BSD-3-Clause
"""load: what drives the servers: redis-benchmark for speed, a pipe of exact commands for filling."""

import contextlib
import csv
import io
import json
import random
import re
import select
import subprocess
import threading
import time

import servers

CHUNK = 2000  # commands per write while filling
END = b"that-was-all-of-it"


class Sample:
    """One measured run."""

    def __init__(self, ops, seconds, cpu_ns, latency_ms):
        self.at_s = 0.0  # since the begin of the whole run
        self.ops_per_s = ops / seconds
        self.cpu_us = cpu_ns / 1000 / ops if cpu_ns is not None and ops else None  # None: of a server elsewhere
        self.latency_ms = latency_ms  # {"p50": .., "p95": .., "p99": .., "max": ..}
        self.energy_uj = None  # of the whole machine, for one operation, where it tells
        self.purge_ms = []  # how long it took to find and delete what a tenant has


def benchmark_line(tool, cpu, port, case, requests):
    if case.words:
        return [
            "taskset", "-c", cpu, tool, "-p", str(port), "-n", str(requests), "-c", str(case.clients), "-P", str(case.pipeline),
            "-d", str(case.value_bytes), "-r", str(case.keys), "--csv", *case.words,
        ]  # fmt: skip
    return [
        "taskset", "-c", cpu, tool, "-p", str(port), "-t", case.command, "-n", str(requests), "-c", str(case.clients),
        "-P", str(case.pipeline), "-d", str(case.value_bytes), "-r", str(case.keys), "--csv",
    ]  # fmt: skip


def run_benchmark(tool, cpu, server, case, requests):
    """Runs redis-benchmark once against a server and says what both saw."""
    before, energy = server.cpu_ns(), servers.energy_uj()
    run = subprocess.run(benchmark_line(tool, cpu, server.port, case, requests), capture_output=True, text=True, timeout=300)
    used, energy = server.cpu_ns() - before, energy_since(energy)
    rows = [r for r in csv.DictReader(io.StringIO(run.stdout[run.stdout.find('"test"') :]))]
    if run.returncode or len(rows) != 1:
        raise SystemExit("bench: redis-benchmark failed on %s:\n%s%s" % (server.name, run.stdout[-2000:], run.stderr[-2000:]))
    row = rows[0]
    latency = {q: float(row["%s_latency_ms" % q]) for q in ("p50", "p95", "p99", "max")}
    sample = Sample(requests / case.commands, requests / float(row["rps"]), used, latency)
    sample.energy_uj = energy and energy / (requests / case.commands)
    return sample


def energy_since(before):
    now = servers.energy_uj()
    return now - before if before is not None and now is not None and now > before else None


# ---- The open loop -------------------------------------------------------------------------------------------------

WARM = 0.3  # seconds, part of each run and not measured
SLICES = 100  # of a run, in its time series


def openloop_line(program, cpu, server, case, rate, seconds):
    line = ["taskset", "-c", cpu, program, "--host", server.host, "--port", str(server.port), "--rate", "%g" % rate, "--seconds", "%g" % seconds,
            "--warm", "%g" % WARM, "--clients", str(case.clients), "--depth", str(case.depth), "--keys", str(case.keys), "--choose", case.choose,
            "--value-bytes", str(case.value_bytes), "--slice-ms", "%g" % max(1, seconds * 1000 / SLICES)]  # fmt: skip
    return line + (["--pid", str(server.proc.pid)] if server.proc else []) + list(case.commands)


def run_openloop(program, cpu, server, case, rate, seconds):
    """What openloop says, as a dict."""
    line = openloop_line(program, cpu, server, case, rate, seconds)
    run = subprocess.run(line, capture_output=True, text=True, timeout=seconds + 300)
    if run.returncode:
        raise SystemExit("bench: openloop failed on %s:\n%s\n%s%s" % (server.name, " ".join(line), run.stdout[:500], run.stderr[-2000:]))
    found = json.loads(run.stdout)
    if found["errors"]:
        raise SystemExit("bench: %s answers %s: %s" % (server.name, case.title, found["first_error"]))
    return found


def open_sample(found):
    seconds, cpu = found["seconds"], found["cpu_s"]
    latency = {q: us / 1000 for q, us in found["latency_us"].items()}
    return Sample(found["answered_per_s"] * seconds, seconds, cpu if cpu is None else cpu * 1e9, latency)


@contextlib.contextmanager
def purges(server, tenants, pause):
    """Meanwhile another client looks for all keys of one tenant after the other, and deletes them. Yields a list that gets how many ms each took."""
    took, done, failed = [], threading.Event(), []

    def work():
        try:
            with server.connect() as s:
                for turn in range(tenants):
                    if done.wait(pause):
                        return
                    before = time.perf_counter()
                    purge(s, b"sess:%03d:*" % (turn * 7 % tenants))
                    took.append((time.perf_counter() - before) * 1000)
        except OSError as e:
            failed.append(e)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield took
    finally:
        done.set()
        worker.join()
    if failed:
        raise SystemExit("bench: %s: a tenant could not be deleted: %s" % (server.name, failed[0]))


def purge(s, pattern):
    cursor = b"0"
    while True:
        cursor, keys = call(s, b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"1000")
        if keys:
            call(s, b"DEL", *keys)
        if cursor == b"0":
            return


def call(s, *words):
    """One command on a socket that nobody else uses; its answer as Python has it."""
    s.sendall(command(*words))
    with s.makefile("rb") as answers:
        return read_reply(answers)


def read_reply(answers):
    line = answers.readline()
    if not line or line[:1] == b"-":
        raise OSError("the server %s" % (line[1:].decode().strip() or "has closed the connection"))
    if line[:1] == b"$":
        return answers.read(int(line[1:]) + 2)[:-2] if int(line[1:]) >= 0 else None
    if line[:1] == b"*":
        return [read_reply(answers) for _ in range(int(line[1:]))]
    return line[1:-2]


def command(*args):
    """RESP of one command."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        parts.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
    return b"".join(parts)


def pipe(server, commands, count):
    """Sends `count` commands that each answer +OK and waits for all the answers, one chunk ahead of them."""
    with server.connect() as s:
        owed = 0
        sent = 0
        while sent < count:
            chunk = [c for _, c in zip(range(min(CHUNK, count - sent)), commands)]
            s.sendall(b"".join(chunk))
            sent += len(chunk)
            owed += len(chunk) * 5
            while owed > (CHUNK * 5 if sent < count else 0):
                data = s.recv(65536)
                if not data:
                    raise SystemExit("bench: %s closed the connection while it was filled" % server.name)
                if b"-" in data:
                    raise SystemExit("bench: %s refused a write: %s" % (server.name, data[:200]))
                owed -= len(data)


def pour(server, commands):
    """Sends commands, whatever they answer, and waits until all are done."""
    with server.connect() as s:

        def read():
            tail = b"\r\n"
            while END not in tail:
                data = s.recv(1 << 20)
                tail = tail[-len(END) :] + data
                if not data or b"\r\n-" in tail:
                    failed.append(data[:300])
                    return

        failed = []
        reader = threading.Thread(target=read)
        reader.start()
        chunk = []
        for words in commands:
            chunk.append(command(*words))
            if len(chunk) == CHUNK // 10:
                s.sendall(b"".join(chunk))
                chunk = []
        s.sendall(b"".join(chunk) + command(b"ECHO", END))
        reader.join()
        if failed:
            raise SystemExit("bench: %s refused a write: %s" % (server.name, failed[0]))


def stall(server, words, seconds):
    """Sends one command on `big` while another client asks its shard for a small key in a closed loop for some seconds. Returns
    that one's (p99.9, longest) in ms, and how long the command took."""
    ask, times = command(b"GET", b"{big}small"), []
    with server.connect() as s, server.connect() as other:
        s.sendall(command(b"SET", b"{big}small", b"1"))
        s.recv(64)
        began = time.monotonic()
        sent = took = None
        other.setblocking(False)
        while time.monotonic() - began < seconds:
            if sent is None and time.monotonic() - began > 0.2:
                sent = time.monotonic()
                other.sendall(command(*words))
            before = time.perf_counter()
            s.sendall(ask)
            s.recv(64)
            times.append(time.perf_counter() - before)
            if sent is not None and took is None:
                with contextlib.suppress(BlockingIOError):
                    took = (time.monotonic() - sent) * 1000 if other.recv(64) else None
    times.sort()
    return times[int(len(times) * 0.999)] * 1000, times[-1] * 1000, took


def ask(server, *words):
    """One command; what has come of its answer."""
    with server.connect() as s:
        s.sendall(command(*words))
        return s.recv(65536)


def fan_out(server, subscribers, value_bytes, messages):
    """Publishes to many who have subscribed, each message once all have the one before. CPU us of the server for each that arrives."""
    ask(server, b"CONFIG", b"SET", b"maxclients", b"%d" % (subscribers + 100))
    answer, payload = b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n", b"x" * value_bytes
    frame = len(b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$%d\r\n%s\r\n" % (value_bytes, payload))
    with contextlib.ExitStack() as stack, select.epoll() as epoll, server.connect() as publisher:
        listeners = {}
        for _ in range(subscribers):
            s = stack.enter_context(server.connect())
            s.sendall(command(b"SUBSCRIBE", b"news"))
            got = b""
            while len(got) < len(answer):
                got += s.recv(len(answer) - len(got))
            s.setblocking(False)
            epoll.register(s, select.EPOLLIN)
            listeners[s.fileno()] = s
        before = server.cpu_ns()
        for _ in range(messages):
            publisher.sendall(command(b"PUBLISH", b"news", payload))
            left = subscribers * frame
            while left > 0:
                for fd, _ in epoll.poll():
                    left -= len(listeners[fd].recv(1 << 17))
            publisher.recv(64)
        return (server.cpu_ns() - before) / 1000 / (subscribers * messages)


class Asker:
    """A client that asks for random keys in a closed loop, and looks at the server's memory between two questions."""

    LOOKS = 0.05  # seconds between two looks

    def __init__(self, server, keys):
        self.server, self.keys, self.rng = server, keys, random.Random(3)

    def run(self, done):
        """Asks until done(), which is looked at like the memory. Returns (p50, p99.9, longest) in ms and the peaks of RSS and PSS."""
        times, peaks, look = [], (0, 0), 0
        with self.server.connect() as s:
            while True:
                before = time.perf_counter()
                s.sendall(command(b"GET", b"key:%012d" % self.rng.randrange(self.keys)))
                answer = s.recv(256)
                if answer[:1] != b"$":
                    raise SystemExit("bench: %s does not answer GET, but %s" % (self.server.name, answer or b"hangs up"))
                after = time.perf_counter()
                times.append(after - before)
                if after >= look:
                    peaks = tuple(map(max, peaks, self.server.rss_and_pss()))
                    if done():
                        break
                    look = time.perf_counter() + self.LOOKS
        times.sort()
        return [times[int(len(times) * q)] * 1000 for q in (0.5, 0.999)] + [times[-1] * 1000], peaks

    def for_seconds(self, seconds):
        end = time.monotonic() + seconds
        return self.run(lambda: time.monotonic() >= end)


def save(server, asker):
    """BGSAVE while the asker asks. Returns how many seconds it took, and what the asker has seen."""
    with server.connect() as s:
        s.setblocking(False)
        heard, ended = bytearray(), []
        question = command(b"INFO", b"persistence")
        began = time.monotonic()
        s.sendall(command(b"BGSAVE") + question)

        def done():
            with contextlib.suppress(BlockingIOError):
                heard.extend(s.recv(65536))
            state = re.search(rb"rdb_bgsave_in_progress:(\d)\r\n.*rdb_last_bgsave_status:(\w+)\r\n.*\r\n\Z", heard, re.S)
            if state and state.group(1) == b"0":
                if heard[:1] != b"+" or state.group(2) != b"ok":
                    raise SystemExit("bench: %s did not save: %s" % (server.name, bytes(heard[:300])))
                ended.append(time.monotonic())
            elif state:
                del heard[1:]
                s.sendall(question)
            return bool(ended)

        seen = asker.run(done)
    return ended[0] - began, seen


@contextlib.contextmanager
def writes(tool, cpu, server, case, per_second):
    """Writes of a benchmark in the background, so many a second."""
    line = benchmark_line(tool, cpu, server.port, case, case.requests) + ["--rps", str(per_second)]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        try:
            yield line
            if run.poll() is not None:
                raise SystemExit("bench: the writes to %s have ended early" % server.name)
        finally:
            run.kill()


def fill_benchmark_keys(server, keys, value_bytes):
    """Every key that redis-benchmark -r may ask for, so that GET finds something."""
    value = b"x" * value_bytes
    pipe(server, (command(b"SET", b"key:%012d" % i, value) for i in range(keys)), keys)


def fill_durable_keys(server, keys, value_bytes):
    """The same keys with values that differ and do not pack well, for sizes of files."""
    rng = random.Random(2)
    pipe(server, (command(b"SET", b"key:%012d" % i, b"%0*x" % (value_bytes, rng.getrandbits(4 * value_bytes))) for i in range(keys)), keys)


def fill_exact_keys(server, keys, ttl):
    """Keys of 16 bytes with values of 64 bytes that are no numbers, for memory per key."""
    rng = random.Random(1)
    pad = bytes(rng.randrange(97, 123) for _ in range(48))

    def commands():
        for i in range(keys):
            key = b"key-%012d" % i
            value = pad + b"%016x" % rng.getrandbits(64)
            if ttl:
                yield command(b"SET", key, value, b"EX", b"%d" % (50000 + rng.randrange(50000)))
            else:
                yield command(b"SET", key, value)

    pipe(server, commands(), keys)
