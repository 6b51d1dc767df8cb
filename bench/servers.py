# SPDX-License-Identifier: BSD-3-Clause
"""servers: the servers under comparison: how each is started, and what the kernel says it used."""

import contextlib
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

    host = "127.0.0.1"

    def __init__(self, name, command, cpus, kind):
        self.name = name  # as the report calls it
        self.command = command  # function(port, directory) -> list
        self.cpus = cpus
        self.kind = kind  # floor | shoal | redis | valkey
        self.proc = None
        self.line = []

    def start(self):
        self.dir = tempfile.mkdtemp(prefix="shoal-bench-")
        try:
            self.launch(20)
        except KeyboardInterrupt:
            self.stop()
            raise
        return self

    def launch(self, patience):
        """Starts the process over what its directory has, and waits until it serves: a server that loads answers an error."""
        self.port = free_port()
        self.line = ["taskset", "-c", self.cpus] + self.command(self.port, self.dir)
        self.log = open(os.path.join(self.dir, "log"), "wb")
        self.proc = subprocess.Popen(self.line, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=self.dir)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if self.proc.poll() is not None:
                break
            try:
                with self.connect() as s:
                    s.sendall(b"*1\r\n$4\r\nPING\r\n")
                    if s.recv(64)[:1] not in (b"", b"-"):
                        return
            except OSError:
                pass
            time.sleep(0.005)
        with open(os.path.join(self.dir, "log"), errors="replace") as f:
            text = f.read()
        self.stop()
        raise SystemExit("bench: %s did not start: %s\n%s" % (self.name, " ".join(self.line), text[-2000:]))

    def restart(self):
        """Ends the process in good order and starts it again over the same directory. Returns the seconds until it served."""
        self.proc.terminate()
        self.proc.wait(timeout=60)
        self.log.close()
        began = time.monotonic()
        self.launch(300)
        return time.monotonic() - began

    def stop(self):
        if self.proc and self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def connect(self):
        s = socket.create_connection((self.host, self.port), timeout=60)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def cpu_ns(self):
        """User and system time of all threads so far, from the process's own CPU clock: what /proc/PID/stat counts, in nanoseconds."""
        return time.clock_gettime_ns((~self.proc.pid) << 3 | 2)

    def rss(self):
        return proc_bytes(self.proc.pid, "status", "VmRSS")

    def rss_and_pss(self):
        """Of the process and its children. RSS has what they share once for each of them, PSS has it once."""
        pid = self.proc.pid
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            pids = [pid] + [int(child) for child in f.read().split()]
        return tuple(sum(proc_bytes(p, *what) for p in pids) for what in (("status", "VmRSS"), ("smaps_rollup", "Pss")))

    def disk(self):
        """Bytes that its files take on the disk."""
        files = [os.path.join(where, name) for where, _, names in os.walk(self.dir) for name in names]
        return sum(os.stat(path).st_blocks * 512 for path in files if path != self.log.name)


class Remote(Server):
    """A server that somebody else has started. Its CPU and memory are not seen, and it is neither started nor stopped."""

    def __init__(self, address):
        host, _, port = address.rpartition(":")
        super().__init__(address, None, "", "remote")
        self.host, self.port = host.strip("[]"), int(port)

    def start(self):
        try:
            with self.connect() as s:
                s.sendall(b"*1\r\n$6\r\nDBSIZE\r\n")
                answer = s.recv(256)
        except OSError as e:
            raise SystemExit("bench: %s: %s" % (self.name, e)) from None
        if answer[:1] != b":":
            raise SystemExit("bench: %s does not say how many keys it has: %s" % (self.name, answer.decode(errors="replace").strip() or "it hung up"))
        if answer != b":0\r\n":
            raise SystemExit("bench: %s has data (%s keys): a server to measure must be empty, and is emptied afterwards" % (self.name, answer[1:-2].decode()))
        self.started = True
        return self

    started = False

    def stop(self):
        """Takes back what the run has put there: it was empty."""
        if self.started:
            self.started = False
            with self.connect() as s:
                s.sendall(b"*1\r\n$7\r\nFLUSHDB\r\n")
                s.recv(256)


def proc_bytes(pid, file, field):
    """A field of a process's file in /proc; 0 when it has just ended."""
    try:
        with open("/proc/%d/%s" % (pid, file)) as f:
            found = re.search(r"^%s:\s+(\d+) kB" % field, f.read(), re.M)
    except (FileNotFoundError, ProcessLookupError):
        found = None
    return int(found.group(1)) * 1024 if found else 0


POWERCAP = "/sys/class/powercap"


def energy_uj():
    """What all packages of processors have used so far, in microjoules; None where the machine does not tell, or not us. A counter begins
    anew once in a while: who takes a difference looks whether it is negative."""
    total = None
    with contextlib.suppress(OSError):
        for name in os.listdir(POWERCAP):
            if re.fullmatch(r"[\w-]+:\d+", name):  # with another :N it is a part of one
                with contextlib.suppress(OSError, ValueError), open(os.path.join(POWERCAP, name, "energy_uj")) as f:
                    total = (total or 0) + int(f.read())
    return total


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


def threaded(path, threads):
    """valkey-server with threads that read and write."""
    return lambda port, directory: quiet(path)(port, directory) + ["--io-threads", str(threads)]


def shoal(path, shards, backend):
    def command(port, directory):
        line = [path, "--port", str(port), "--save", "", "--dir", directory, "--shards", str(shards)]
        return line + (["--io-backend", backend] if backend else [])

    return command


class WholeCluster(Server):
    """A node of a cluster that has all slots."""

    def start(self):
        super().start()
        with self.connect() as s:
            s.sendall(b"CLUSTER ADDSLOTSRANGE 0 16383\r\n")
            answer = s.recv(256)
            if answer != b"+OK\r\n":
                raise SystemExit("bench: %s does not take all slots: %s" % (self.name, answer.decode(errors="replace")))
            end = time.monotonic() + 30
            while b"cluster_state:ok" not in answer:
                if time.monotonic() > end:
                    raise SystemExit("bench: %s does not become a cluster" % self.name)
                time.sleep(0.05)
                s.sendall(b"CLUSTER INFO\r\n")
                answer = s.recv(65536)
        return self


def whole_cluster(server):
    def command(port, directory):
        return server.command(port, directory) + ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]

    return WholeCluster(server.name + ", all slots", command, server.cpus, server.kind)


def logged(command, mode):
    """The same server with a log. It is never rewritten: what is measured is one log, of all that was written."""

    def with_log(port, directory):
        return command(port, directory) + ["--appendonly", "yes", "--appendfsync", mode, "--auto-aof-rewrite-percentage", "0"]

    return with_log


def as_rdb(command):
    """Shoal, saving as dump.rdb."""
    return lambda port, directory: command(port, directory) + ["--save-format", "rdb"]


def floor(path, reply_bytes):
    def command(port, directory):
        return [path, str(port)] + ([str(reply_bytes)] if reply_bytes else [])

    return command
