# SPDX-License-Identifier: BSD-3-Clause
"""servers: the servers under comparison: how each is started, and what the kernel says it used."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """One process with a scratch directory of its own, on given CPUs."""

    def __init__(self, name, command, cpus, kind):
        self.name = name  # as the report calls it
        self.command = command  # function(port, directory) -> list
        self.cpus = cpus
        self.kind = kind  # floor | shoal | redis | valkey
        self.proc = None
        self.line = []

    def start(self):
        self.dir = tempfile.mkdtemp(prefix="shoal-bench-")
        self.port = free_port()
        self.line = ["taskset", "-c", self.cpus] + self.command(self.port, self.dir)
        self.log = open(os.path.join(self.dir, "log"), "wb")
        self.proc = subprocess.Popen(self.line, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=self.dir)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.proc.poll() is not None:
                break
            try:
                with self.connect() as s:
                    s.sendall(b"*1\r\n$4\r\nPING\r\n")
                    if s.recv(64):
                        return self
            except OSError:
                time.sleep(0.02)
        with open(os.path.join(self.dir, "log"), errors="replace") as f:
            text = f.read()
        self.stop()
        raise SystemExit("bench: %s did not start: %s\n%s" % (self.name, " ".join(self.line), text[-2000:]))

    def stop(self):
        if self.proc and self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def connect(self):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def cpu_ns(self):
        """User and system time of all threads so far, from the process's own CPU clock: what /proc/PID/stat counts, in nanoseconds."""
        return time.clock_gettime_ns((~self.proc.pid) << 3 | 2)

    def rss(self):
        with open("/proc/%d/status" % self.proc.pid) as f:
            return int(re.search(r"^VmRSS:\s+(\d+) kB", f.read(), re.M).group(1)) * 1024


def version_of(path):
    """The first line of --version."""
    out = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20)
    return (out.stdout or out.stderr).strip().splitlines()[0]


def find_valkey(given):
    """Path of valkey-server: as given, from ./dev bench --setup-peers, or from PATH; None where there is none."""
    if given:
        path = os.path.join(given, "valkey-server") if os.path.isdir(given) else given
        if not os.access(path, os.X_OK):
            raise SystemExit("bench: no program at %s" % path)
        return os.path.abspath(path)
    ours = os.path.join(ROOT, ".cache", "peers", "bin", "valkey-server")
    return ours if os.access(ours, os.X_OK) else shutil.which("valkey-server")


def benchmark_beside(server):
    """valkey-benchmark in the same directory as valkey-server, or None."""
    path = os.path.join(os.path.dirname(server), "valkey-benchmark")
    return path if os.access(path, os.X_OK) else None


def quiet(path):
    """redis-server and valkey-server as a plain cache: no persistence, defaults otherwise."""

    def command(port, directory):
        return [path, "--port", str(port), "--save", "", "--appendonly", "no", "--dir", directory]

    return command


def shoal(path, shards, backend):
    def command(port, directory):
        line = [path, "--port", str(port), "--save", "", "--dir", directory, "--shards", str(shards)]
        return line + (["--io-backend", backend] if backend else [])

    return command


def floor(path, reply_bytes):
    def command(port, directory):
        return [path, str(port)] + ([str(reply_bytes)] if reply_bytes else [])

    return command
