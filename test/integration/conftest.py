# SPDX-License-Identifier: BSD-3-Clause
"""What all integration tests share: which server to test, how it is configured, and the fixtures that start it."""

import os
import re
import socket
import subprocess
import threading

import pytest
from _pytest.runner import runtestprotocol

import certs
from pyclient import py_client
from resp import Raw
from server import Server, find_peer, kind_of, slowness, wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def pytest_addoption(parser):
    group = parser.getgroup("shoal")
    group.addoption(
        "--server",
        default=os.environ.get("SHOAL_SERVER", os.path.join(ROOT, "build-release", "server", "shoal-server")),
        help="path of the server binary under test",
    )
    group.addoption("--shards", type=int, default=int(os.environ.get("SHOAL_SHARDS", "2")), help="number of shards")
    group.addoption(
        "--io-backend",
        choices=("auto", "uring", "epoll"),
        default=os.environ.get("SHOAL_IO_BACKEND", "auto"),
        help="runtime backend",
    )
    group.addoption("--appendonly", action="store_true", help="every server keeps a log, where a test does not say otherwise")
    group.addoption("--tls", action="store_true", help="servers listen with TLS, and tests speak it; not those marked plain_port")
    group.addoption("--leave-out", default="", metavar="MARK,...", help="tests with these marks are run in other rows (./dev test)")


ATTEMPTS = 3  # of a test with the mark timing


def pytest_configure(config):
    config.addinivalue_line("markers", "shoal_only: tests something that only Shoal has")
    config.addinivalue_line("markers", "several_shards: needs at least two shards")
    config.addinivalue_line("markers", "plain_port: about the directive port, or a program without TLS; --tls leaves it out")
    config.addinivalue_line("markers", "slow: takes more than a second; ./dev test quick leaves it out")
    config.addinivalue_line("markers", "timing: true only while nobody waits for a processor; has %d attempts, and tells how many it took" % ATTEMPTS)
    config.addinivalue_line("markers", "row_each: each number of shards and each backend matters, not which with which")
    config.addinivalue_line("markers", "row_pair: one shard or several, and each backend matters, not which with which")
    config.addinivalue_line("markers", "row_once: neither the number of shards nor the backend matters")
    binary = config.option.server = os.path.abspath(config.getoption("--server"))  # servers start in folders of their own
    if not os.access(binary, os.X_OK):
        raise pytest.UsageError("no server at %s: build it first (./dev build release) or give --server PATH" % binary)
    config.server_kind = kind_of(binary)
    if config.getoption("--tls"):
        Raw.tls = certs.client_context()


def pytest_collection_modifyitems(config, items):
    elsewhere = [item for item in items if any(map(item.get_closest_marker, filter(None, config.getoption("--leave-out").split(","))))]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]
    for item in items:
        if config.getoption("--tls") and item.get_closest_marker("plain_port"):
            item.add_marker(pytest.mark.skip(reason="needs a plain port"))
        if config.server_kind != "shoal":
            if item.get_closest_marker("shoal_only") or item.get_closest_marker("several_shards"):
                item.add_marker(pytest.mark.skip(reason="only Shoal has it, this is %s" % config.server_kind))
        elif item.get_closest_marker("several_shards") and config.getoption("--shards") < 2:
            item.add_marker(pytest.mark.skip(reason="needs at least two shards, run with --shards 2"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """A test of times, of sizes or of how often, by its mark timing: what it asserts is true only while all threads get a
    processor when they want one, and others use them, too. It may try again, unless a server crashed or reported a fault
    of its own: its end would tell (see start_server)."""
    if not item.get_closest_marker("timing"):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for attempt in range(1, ATTEMPTS + 1):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        failed = {report.when for report in reports if report.failed}
        if failed != {"call"}:
            break
    for report in reports:
        report.user_properties.append(("attempts", attempt))
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def running_children(binary):
    """Servers that this process has started and nobody has ended."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % name) as f:
                state, parent = f.read().rsplit(")", 1)[1].split()[:2]
            if int(parent) == os.getpid() and state != "Z" and os.readlink("/proc/%s/exe" % name) == os.path.realpath(binary):
                found.append(int(name))
        except OSError:
            pass  # it has ended
    return found


def pytest_sessionfinish(session):
    """A test that leaves a server behind slows all that come after it."""
    binary = session.config.getoption("--server")
    if not wait_for(lambda: not running_children(binary), 20):
        print("\nservers that are left: %s" % running_children(binary))
        session.exitstatus = 1


def pytest_report_header(config):
    return "server: %s (%s), shards %d, io-backend %s" % (
        config.getoption("--server"),
        config.server_kind,
        config.getoption("--shards"),
        config.getoption("--io-backend"),
    )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the log of every server a failed test used."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for server in [item.funcargs.get("server")] + list(getattr(item, "own_servers", [])):
            if isinstance(server, Server):
                report.sections.append(("log of server on port %s" % server.port, server.log()[-6000:]))


@pytest.fixture(scope="session")
def kind(pytestconfig):
    return pytestconfig.server_kind


@pytest.fixture(scope="session")
def shards(pytestconfig):
    return pytestconfig.getoption("--shards") if pytestconfig.server_kind == "shoal" else 1


@pytest.fixture(scope="session")
def server_binary(pytestconfig):
    return pytestconfig.getoption("--server")


@pytest.fixture(scope="session")
def slow(pytestconfig):
    """What time limits are multiplied with."""
    return slowness(pytestconfig.getoption("--server"))


@pytest.fixture(scope="session")
def base_config(pytestconfig):
    """Settings that every server of this run gets."""
    if pytestconfig.server_kind != "shoal":
        return {}
    config = {"shards": pytestconfig.getoption("--shards"), "io-backend": pytestconfig.getoption("--io-backend")}
    if pytestconfig.getoption("--appendonly"):
        config["appendonly"] = "yes"
    return config


@pytest.fixture(scope="module")
def server(server_binary, base_config, kind):
    """One server for the tests of a file that need no configuration of their own."""
    s = Server(server_binary, base_config, kind=kind)
    s.start()
    yield s
    if base_config.get("appendonly") == "yes":
        check_log(s)
    s.stop()


def check_log(server):
    """What a start would read from the log is what the server has."""
    with server.raw(timeout=60) as c:
        for _ in range(5):  # in between keys may run out
            before = c.do("DEBUG", "DIGEST")
            assert c.do("DEBUG", "LOADAOF") == "OK", server.log()[-2000:]
            after = c.do("DEBUG", "DIGEST")
            if after == before:
                return
        raise AssertionError("the log says something else: %s, %s" % (before, after))


@pytest.fixture
def start_server(request, server_binary, base_config, kind):
    """start_server(maxclients=10, config_file="...", args=[...]) starts a server with settings of its own."""
    request.node.own_servers = []

    def start(config_file=None, args=(), password=None, start=True, config=None, **options):
        merged = dict(base_config)
        merged.update(config or {})
        merged.update({name.replace("_", "-"): value for name, value in options.items()})
        if options.get("requirepass"):
            password = options["requirepass"]
        s = Server(server_binary, merged, kind=kind, config_file=config_file, args=args, password=password)
        request.node.own_servers.append(s)
        return s.start() if start else s

    yield start
    errors = []
    for s in request.node.own_servers:
        try:
            s.stop()
        except AssertionError as e:
            errors.append(str(e))
    if errors:
        raise AssertionError("\n".join(errors))


def connect(server, **options):
    options.setdefault("decode_responses", True)
    options.setdefault("socket_timeout", 30)
    if server.password:
        options.setdefault("password", server.password)
    return py_client(server.port, **options)


@pytest.fixture
def r(server):
    """A client of the shared server, which is empty."""
    client = connect(server)
    client.flushall()
    client.config_resetstat()
    yield client
    client.close()


@pytest.fixture
def lazy_expiry(server, r):
    """The shared server, empty, deletes no key that nobody asks for."""
    assert r.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    yield
    r.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", 1)


@pytest.fixture
def raw(server):
    """A raw connection to the shared server."""
    with server.raw() as c:
        yield c


@pytest.fixture(scope="session")
def valkey():
    """A running Valkey to compare with; skips when there is none."""
    path = find_peer("valkey")
    if not path:
        pytest.skip("no valkey-server: put it in PATH or give its path in SHOAL_VALKEY")
    s = Server(path, {}, kind="valkey")
    s.start()
    yield s
    s.stop(check=False)


class SystemLog:
    """What processes tell syslog(3)'s socket: read all the time, for a writer waits while it is full."""

    def __init__(self, sock):
        self.sock = sock
        self.messages = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            while True:
                self.messages.append(self.sock.recv(65536).decode())
        except OSError:
            pass

    def told_until(self, pid, word):
        """What that process told up to a line with the word: (priority, time, ident, text)."""
        form = re.compile(r"<(\d+)>(\w{3} [ \d]\d \d\d:\d\d:\d\d) (\S+)\[(\d+)\]: (.*)")

        def told():
            found = [m for m in map(form.fullmatch, list(self.messages)) if m and int(m.group(4)) == pid]
            return [(int(m.group(1)), m.group(2), m.group(3), m.group(5)) for m in found]

        assert wait_for(lambda: any(word in line[3] for line in told())), self.messages[-20:]
        lines = told()
        return lines[: 1 + min(i for i, line in enumerate(lines) if word in line[3])]


@pytest.fixture
def system_log():
    if os.path.exists("/dev/log"):
        pytest.skip("this system has a log of its own")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        try:
            s.bind("/dev/log")
        except OSError as e:
            pytest.skip("no socket at /dev/log: %s" % e)
        try:
            yield SystemLog(s)
        finally:
            os.unlink("/dev/log")
            s.shutdown(socket.SHUT_RDWR)


def tool(name):
    """Path of redis-cli, valkey-cli, redis-benchmark ...; skips when it is missing. Those of Valkey are also where it was fetched to."""
    import shutil

    peer = find_peer("valkey")
    folder = os.path.dirname(peer) if peer else None
    valkeys = name.replace("redis-", "valkey-")
    path = shutil.which(name) or shutil.which(valkeys) or (folder and shutil.which(valkeys, path=folder))
    if not path:
        pytest.skip("%s is not installed" % name)
    return path


def tls_arguments():
    """What redis-cli and its like need to reach the port of a server."""
    return ["--tls", "--cacert", certs.shared().path("ca.crt")] if Raw.tls else []


@pytest.fixture
def run_tool(server):
    def run(name, *args, stdin=None, timeout=60, port=None):
        return subprocess.run(
            [tool(name), "-p", str(port or server.port), *tls_arguments(), *args],
            input=stdin,
            capture_output=True,
            text=isinstance(stdin, str) or stdin is None,
            timeout=timeout,
        )

    return run
