# SPDX-License-Identifier: BSD-3-Clause
"""server: starts, watches and stops server processes for tests.

Works for Shoal and, so that a test can be checked against the original, for redis-server and valkey-server.
Port numbers are picked by binding first, among those that no other process takes which runs tests here; a server that loses the race
for its port all the same is started again on another one.
"""

import collections
import fcntl
import functools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import certs
from resp import Raw, RespError

CACHE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".cache")
PORT_FIRST = int(os.environ.get("SHOAL_TEST_PORT_FIRST", "21000"))
PORT_LAST = int(os.environ.get("SHOAL_TEST_PORT_LAST", "23999"))
PORT_SHARES = 9  # the last is for those who cannot lock files: node/cluster.mjs

# What must never appear in a server's log, however a test ended.
BAD_LOG = re.compile(
    r"AddressSanitizer|ThreadSanitizer|LeakSanitizer|UndefinedBehavior|runtime error:|(?<!integrity )check failed|out of memory:|crashed by signal|"
    r"[Aa]ssertion .*failed|BUG REPORT START|stack smashing|double free|corrupted size"
)


def wait_for(condition, seconds=60.0):
    """Whether the condition comes true within that time, which costs only where it does not: long enough for a machine that has
    something else to do."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())


@functools.lru_cache(None)
def own_share():
    """Of all ports, as long as this process runs: nobody else takes one whose server is down for a moment, or has not begun to listen."""
    for share in range(PORT_SHARES - 1):
        path = os.path.join(tempfile.gettempdir(), "shoal-test-ports-%d-%d" % (os.getuid(), share))
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            continue
        return share
    return random.randrange(PORT_SHARES - 1)


GIVEN = collections.deque(maxlen=60)  # the last ports: who was given one may not listen yet, or be down for a moment


def some_port(last=PORT_LAST):
    """One that may be taken, by somebody else."""
    while True:
        port = random.randrange(PORT_FIRST + own_share(), last + 1, PORT_SHARES)
        if port not in GIVEN:
            GIVEN.append(port)
            return port


def free_port():
    for _ in range(1000):
        port = some_port()
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what was connected to it a moment ago does not matter
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError("no free port between %d and %d" % (PORT_FIRST, PORT_LAST))


def kind_of(binary):
    """shoal | redis | valkey, by what --version says."""
    out = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=30).stdout.lower()
    for kind in ("shoal", "valkey", "redis"):
        if out.startswith(kind):
            return kind
    return "shoal"


def slowness(binary):
    """How much longer this build may take than a fast one: sanitizers make it slow."""
    with open(binary, "rb") as f:
        text = f.read()
    return 10 if b"__asan_init" in text or b"__tsan_init" in text else 1


def find_peer(name):
    """Path of the `valkey` or `redis` server to compare with, or None: as the environment says, else as ./dev installed it,
    else from PATH. Of Redis only 7 will do: its differences from Valkey are known, Redis 8 has others."""
    given = os.environ.get("SHOAL_VALKEY" if name == "valkey" else "SHOAL_REDIS")
    if given:
        return given
    ours = os.path.join(CACHE, "peers/bin/valkey-server" if name == "valkey" else "bin/redis-server")
    path = ours if os.access(ours, os.X_OK) else shutil.which(name + "-server")
    if path and name == "redis" and " v=7." not in subprocess.run([path, "--version"], capture_output=True, text=True).stdout:
        return None
    return path


class ServerFailed(Exception):
    pass


class Server:
    """One server process with its own directory. Use start(), stop(); or as a context manager."""

    def __init__(self, binary, config=None, kind=None, args=(), config_file=None, password=None, start_timeout=60):
        self.binary = os.path.abspath(binary)
        self.kind = kind or kind_of(binary)
        self.config = dict(config or {})
        self.args = list(args)
        self.config_text = config_file
        self.password = password
        self.start_timeout = start_timeout
        self.dir = tempfile.mkdtemp(prefix="shoal-test-")
        self.log_path = os.path.join(self.dir, "server.log")
        self.proc = None
        self.port = None
        self.stopped_by_test = False
        self.waits_for_data = True  # start() is over when nothing is loaded any more
        self.env = {}  # besides this process's

    def __enter__(self):
        return self if self.alive() else self.start()

    def __exit__(self, *exc):
        self.stop()

    # ---- start -----------------------------------------------------------------------------------------------

    def command_line(self):
        line = [self.binary]
        if self.config_text is not None:
            path = os.path.join(self.dir, "server.conf")
            if not os.path.exists(path):
                with open(path, "w") as f:
                    f.write(self.config_text)
            line.append(path)
        config = {"port": self.port, "dir": self.dir, "save": "", "enable-debug-command": "yes", "shutdown-timeout": "0",
                  "repl-diskless-sync-delay": "0"}
        if "port" in self.config:
            self.port = int(self.config["port"])
        config.update(self.config)
        if Raw.tls and "tls-port" not in config:
            config = {**certs.server_config(), **config, "tls-port": config["port"], "port": 0}
        for name, value in config.items():
            line.append("--" + name.replace("_", "-"))
            values = value if isinstance(value, (list, tuple)) else [value]
            line += [str(v) for v in values]
        return line + self.args

    def start(self):
        for _ in range(5):
            self.port = free_port()
            try:
                return self._start_once()
            except ServerFailed:
                if "ddress already in use" not in self.log() or "port" in self.config:
                    raise
        raise ServerFailed("no port could be bound")

    def _start_once(self):
        assert not self.alive(), "nobody would end the one that runs"
        with open(self.log_path, "ab") as log:
            self.proc = subprocess.Popen(
                self.command_line(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir, env={**os.environ, **self.env}
            )
        deadline = time.monotonic() + self.start_timeout
        while time.monotonic() < deadline:
            if self.proc.poll() is not None:
                raise ServerFailed("server exited with %s at start\n%s" % (self.proc.returncode, self.log()))
            try:
                with self.raw(timeout=5) as c:
                    reply = c.do("PING")
                    loading = isinstance(reply, RespError) and str(reply).startswith("LOADING")
                    if (reply == "PONG" or isinstance(reply, RespError)) and not (loading and self.waits_for_data):
                        return self
            except (OSError, EOFError):
                pass
            time.sleep(0.02)
        self.kill()
        raise ServerFailed("server did not answer within %g s\n%s" % (self.start_timeout, self.log()))

    def start_again(self):
        """On the port of before, after kill(). It may be the old process's still: the kernel takes the rings of io_uring apart in its own time,
        which is long on a busy machine, and a server tries for two seconds only."""
        deadline = time.monotonic() + 60
        while True:
            before = len(self.log())
            try:
                return self._start_once()
            except ServerFailed:
                if "ddress already in use" not in self.log()[before:] or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    @property
    def address(self):
        if self.port:
            return ("127.0.0.1", self.port)
        return str(self.config["unixsocket"])

    def raw(self, **kwargs):
        return Raw(self.address, **kwargs)

    def accepts(self):
        """Whether a new connection is served; one that is refused is closed or hears an error."""
        with self.raw() as c:
            try:
                return c.do("PING") == "PONG"
            except (EOFError, OSError):
                return False

    # ---- watch -----------------------------------------------------------------------------------------------

    @property
    def pid(self):
        return self.proc.pid

    def log(self):
        text = ""
        if os.path.exists(self.log_path):
            with open(self.log_path, errors="replace") as f:
                text = f.read()
        logfile = self.config.get("logfile")
        if logfile and os.path.exists(os.path.join(self.dir, str(logfile))):
            with open(os.path.join(self.dir, str(logfile)), errors="replace") as f:
                text += f.read()
        return text

    def alive(self):
        return self.proc is not None and self.proc.poll() is None

    def stand_still(self):
        """Until SIGCONT. One thread is told, and tells the others when it runs next: back when all have stopped."""
        self.proc.send_signal(signal.SIGSTOP)
        assert wait_for(self._has_stopped, 60)

    def _has_stopped(self):
        states = set()
        for thread in os.listdir("/proc/%d/task" % self.pid):
            with open("/proc/%d/task/%s/stat" % (self.pid, thread)) as f:
                states.add(f.read().rsplit(")", 1)[1].split()[0])
        return states == {"T"}

    def rss(self):
        """Resident memory in bytes."""
        with open("/proc/%d/statm" % self.pid) as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def rss_anonymous(self):
        """Resident memory in bytes without the pages of files: how much of the program's text is there is the kernel's choice."""
        with open("/proc/%d/status" % self.pid) as f:
            return int(re.search(r"^RssAnon:\s+(\d+) kB", f.read(), re.M).group(1)) * 1024

    def rss_peak(self):
        """The most it ever was."""
        with open("/proc/%d/status" % self.pid) as f:
            return int(re.search(r"^VmHWM:\s+(\d+) kB", f.read(), re.M).group(1)) * 1024

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def info(self, section="everything"):
        """INFO as a dict of strings."""
        with self.raw() as c:
            if self.password:
                c.do("AUTH", self.password)
            return self.info_of(c, section)

    @staticmethod
    def info_of(c, section):
        """The same, asked on a connection that is there."""
        reply = c.do("INFO", section)
        if isinstance(reply, RespError):
            raise reply
        out = {}
        for line in reply.decode().splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.partition(":")
                out[name] = value
        return out

    def late_wakeups(self):
        """The sum of all late wake-up counters that INFO shows."""
        with self.raw() as c:
            if self.password:
                c.do("AUTH", self.password)
            text = c.do("INFO", "shards")
        if not isinstance(text, bytes):
            raise AssertionError("INFO shards answers %r" % text)
        counts = re.findall(r"late_wake_?ups?[=:](\d+)", text.decode())
        assert counts, "INFO shards shows no late wake-ups:\n" + text.decode()
        return sum(map(int, counts))

    # ---- stop ------------------------------------------------------------------------------------------------

    def wait(self, seconds=60):
        try:
            return self.proc.wait(seconds)
        except subprocess.TimeoutExpired:
            self.proc.send_signal(signal.SIGABRT)
            self.proc.wait(10)
            raise AssertionError("server did not exit within %g s\n%s" % (seconds, self.log()[-4000:]))

    def kill(self):
        if self.alive():
            self.proc.kill()
            self.proc.wait()

    def stop(self, check=True):
        """Ends the server by SIGTERM and checks that it was healthy to the end."""
        problems = []
        if self.proc is not None and not self.stopped_by_test:
            if self.proc.poll() is not None:
                problems.append("server died, exit code %s" % self.proc.returncode)
            else:
                if check and self.kind == "shoal":
                    try:
                        late = self.late_wakeups()
                        if late and slowness(self.binary) == 1:
                            problems.append("%d late wake-ups" % late)
                    except (OSError, EOFError, RespError) as e:
                        problems.append("could not ask for late wake-ups: %r" % e)
                self.proc.send_signal(signal.SIGTERM)
                try:
                    code = self.wait()
                    if code != 0:
                        problems.append("exit code %s" % code)
                except AssertionError as e:
                    problems.append(str(e))
        log = self.log()
        bad = BAD_LOG.search(log)
        if bad:
            problems.append("log says %r" % bad.group(0))
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)
        if check and problems:
            raise AssertionError("; ".join(problems) + "\n---- server log ----\n" + log[-8000:])
