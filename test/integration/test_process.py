# SPDX-License-Identifier: BSD-3-Clause
"""The server as a process: command line, start, refusals, signals, pid file, shutdown."""

import calendar
import datetime
import fcntl
import itertools
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

import forbid
from resp import Raw, RespError, encode
from server import ServerFailed, free_port, wait_for
from slots import slot

pytestmark = pytest.mark.row_each


def run(server_binary, *args, stdin="", timeout=60):
    return subprocess.run([server_binary, *args], input=stdin, capture_output=True, text=True, timeout=timeout)


# ---- command line ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ("--version", "-v"))
def test_version(server_binary, option, kind):
    done = run(server_binary, option)
    assert done.returncode == 0
    name = {"shoal": "Shoal", "valkey": "Valkey", "redis": "Redis"}[kind]
    assert re.match(name + r" server v=\d+\.\d+\.\d+ .*bits=64", done.stdout)


@pytest.mark.parametrize("option", ("--help", "-h"))
def test_help(server_binary, option):
    done = run(server_binary, option)
    text = done.stdout + done.stderr
    assert "Usage:" in text and "--port" in text
    assert done.returncode in (0, 1)


def test_config_from_a_file_and_the_command_line(start_server):
    s = start_server(config_file="timeout 77\nmaxmemory 10mb\n# a comment\n\nhz 20\n", hz="30")
    with s.raw() as c:
        assert c.do("CONFIG", "GET", "timeout") == [b"timeout", b"77"]
        assert c.do("CONFIG", "GET", "maxmemory") == [b"maxmemory", b"10485760"]
        assert c.do("CONFIG", "GET", "hz") == [b"hz", b"30"]
    assert s.info("server")["config_file"] == os.path.join(s.dir, "server.conf")


def test_config_from_stdin(server_binary, tmp_path, base_config):
    port = free_port()
    text = "port %d\ntimeout 55\ndir %s\nsave \"\"\n" % (port, tmp_path)
    text += "".join("%s %s\n" % pair for pair in base_config.items())
    proc = subprocess.Popen([server_binary, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        proc.stdin.write(text.encode())
        proc.stdin.close()

        def answers():
            try:
                with Raw(("127.0.0.1", port)) as c:
                    return c.do("CONFIG", "GET", "timeout") == [b"timeout", b"55"]
            except OSError:
                return False

        assert wait_for(answers)
        proc.send_signal(signal.SIGTERM)
        assert proc.wait(60) == 0
    finally:
        proc.kill()
        proc.wait()


@pytest.mark.parametrize(
    "text, line, quoted",
    [
        ("timeout 1\nnosuchdirective 5\n", "2", "nosuchdirective 5"),
        ("port abc\n", "1", "port abc"),
        ("\n\ntimeout 1 2\n", "3", "timeout 1 2"),
        ('timeout "1\n', "1", 'timeout "1'),
        ("maxmemory-policy foo\n", "1", "maxmemory-policy foo"),
        ("port 99999\n", "1", "port 99999"),
    ],
)
def test_bad_config_line_is_refused_with_line_and_text(server_binary, tmp_path, text, line, quoted):
    path = tmp_path / "bad.conf"
    path.write_text(text)
    done = run(server_binary, str(path))
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "FATAL CONFIG FILE ERROR" in said
    assert "at line " + line in said
    assert ">>> '%s'" % quoted in said


def test_config_file_that_does_not_exist(server_binary):
    done = run(server_binary, "/nosuch/file.conf")
    assert done.returncode == 1
    assert "/nosuch/file.conf" in done.stdout + done.stderr


def test_bad_option_on_the_command_line(server_binary):
    done = run(server_binary, "--nosuchoption", "5")
    assert done.returncode == 1
    assert "nosuchoption" in done.stdout + done.stderr


@pytest.mark.shoal_only
@pytest.mark.parametrize("switch", (["--sentinel"], ["--check-system"], ["--test-memory", "1"]))
def test_modes_that_are_not_there_are_refused(server_binary, switch):
    done = run(server_binary, *switch)
    assert done.returncode == 1
    assert switch[0] + " is not supported" in done.stderr


# ---- start ----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_port_that_is_taken_is_refused(start_server, kind):
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = free_port()
        holder.bind(("127.0.0.1", port))
        holder.listen()
        s = start_server(start=False, port=port, bind="127.0.0.1")
        started = time.monotonic()
        s.port = port
        s.proc = subprocess.Popen(
            s.command_line(), stdin=subprocess.DEVNULL, stdout=open(s.log_path, "w"), stderr=subprocess.STDOUT
        )
        assert s.proc.wait(60) == 1
        assert time.monotonic() - started < 30
        s.stopped_by_test = True
        assert str(port) in s.log() and "ddress already in use" in s.log()
        assert s.log().count("trying again") == (1 if kind == "shoal" else 0)


@pytest.mark.slow
def test_a_second_server_on_the_port_of_a_first_is_refused(start_server, server):
    """Two servers must not share a port by accident, as SO_REUSEPORT would let them."""
    s = start_server(start=False, port=server.port)
    s.port = server.port
    s.proc = subprocess.Popen(
        s.command_line(), stdin=subprocess.DEVNULL, stdout=open(s.log_path, "w"), stderr=subprocess.STDOUT
    )
    try:
        assert s.proc.wait(60) == 1
    finally:
        s.kill()
        s.stopped_by_test = True


def test_directory_that_does_not_exist_is_refused(start_server):
    s = start_server(start=False, dir="/nosuch/directory")
    with pytest.raises(ServerFailed):
        s.start()
    s.stopped_by_test = True
    assert "/nosuch/directory" in s.log()


def test_log_file_and_ready_line(start_server):
    s = start_server(logfile="own.log")
    with open(os.path.join(s.dir, "own.log")) as f:
        text = f.read()
    assert "Ready to accept connections" in text
    assert re.search(r"^%d:M \d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3} \* " % s.pid, text, re.M)


def test_a_picture_tells_mode_port_and_pid(start_server):
    """Test suites that start servers look for it; who reads the log of a service has one line instead."""
    s = start_server(always_show_logo="yes")
    text = s.log()
    assert re.search(r"Running in standalone mode\n.* Port: %d\n(.*\n)+.* PID: %d\n(.*\n)+.*Server initialized" % (s.port, s.pid), text)
    s = start_server(cluster_enabled="yes")
    assert "Running mode=cluster, port=%d.\n" % s.port in s.log() and "PID: " not in s.log()
    for options in ({"log_format": "json"}, {"loglevel": "warning"}):
        assert "PID: " not in start_server(always_show_logo="yes", **options).log()


@pytest.mark.shoal_only
def test_the_log_says_what_the_server_is(start_server):
    """A primary or a replica, in all forms, from the start and from when that changes."""
    s = start_server(logfile="own.log", replicaof="127.0.0.1 %d" % free_port())

    def forms():
        """What the log calls it, in turn."""
        with s.raw() as c:
            for form in ("legacy", "logfmt", "json"):
                assert c.do("CONFIG", "SET", "log-format", form) == "OK"
                c.do("DEBUG", "LOG", "now %s" % form)
        with open(os.path.join(s.dir, "own.log")) as f:
            lines = [line for line in f if "now " in line]
        return lines[-3], lines[-2], json.loads(lines[-1])["role"]

    with open(os.path.join(s.dir, "own.log")) as f:
        assert re.search(r"^%d:S .* Ready to accept connections" % s.pid, f.read(), re.M)
    for letter, role, change in (("S", "replica", ("NO", "ONE")), ("M", "primary", ("127.0.0.1", str(free_port()))), ("S", "replica", None)):
        legacy, logfmt, said = forms()
        assert legacy.startswith("%d:%s " % (s.pid, letter)) and " role=%s " % role in logfmt and said == role
        if change is not None:
            with s.raw() as c:
                c.do("CONFIG", "SET", "log-format", "legacy")
                assert c.do("REPLICAOF", *change) == "OK"


@pytest.mark.parametrize("zone, seconds", (("UTC0", 0), ("AAA+03:30", -12600), ("BBB-05:45", 20700)))
def test_log_times_are_local(start_server, zone, seconds):
    """Where the server is, on the right day, in all forms."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = zone
    try:
        s = start_server(logfile="own.log")
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
    with open(os.path.join(s.dir, "own.log")) as f:
        text = f.read()
    found = re.search(r"^%d:M (\d\d \w{3} \d{4} \d\d:\d\d:\d\d)\.\d{3} \* " % s.pid, text, re.M).group(1)
    said = calendar.timegm(time.strptime(found, "%d %b %Y %H:%M:%S")) - seconds
    assert abs(time.time() - said) < 60
    if s.kind == "redis":
        return
    with s.raw() as c:
        assert c.do("CONFIG", "SET", "log-timestamp-format", "iso8601") == "OK"
        c.do("DEBUG", "LOG", "now")
    with open(os.path.join(s.dir, "own.log")) as f:
        found = re.search(r"^%d:M (\S+) # .*now" % s.pid, f.read(), re.M).group(1)
    said = datetime.datetime.fromisoformat(found)
    assert said.utcoffset().total_seconds() == seconds and abs(time.time() - said.timestamp()) < 60


@pytest.mark.parametrize("facility, ident", ((None, None), ("user", "pear"), ("local7", "nut")))
def test_system_log(start_server, system_log, kind, facility, ident):
    """syslog-enabled was kept and did nothing. Lines go to the log file as well."""
    options = {} if facility is None else {"syslog-facility": facility, "syslog-ident": ident}
    s = start_server(config=dict(options, **{"syslog-enabled": "yes", "loglevel": "verbose"}), logfile="own.log")
    with s.raw() as c:
        c.do("DEBUG", "LOG", "here I am")
    lines = system_log.told_until(s.pid, "here I am")
    number = {"user": 1, "local0": 16, "local7": 23}[facility or "local0"]
    assert {line[2] for line in lines} == {ident or ("redis" if kind == "redis" else "valkey")}
    assert {line[0] for line in lines if "Ready to accept" in line[3]} == {number * 8 + 5}
    assert lines[-1][0] == number * 8 + 4
    said = calendar.timegm(time.strptime("%d %s" % (time.localtime().tm_year, lines[-1][1]), "%Y %b %d %H:%M:%S"))
    assert abs(said - calendar.timegm(time.localtime())) < 60
    with open(os.path.join(s.dir, "own.log")) as f:
        assert "here I am" in f.read()


def test_system_log_has_what_the_level_lets_through(start_server, system_log, kind):
    if kind == "redis":
        pytest.skip("its log level knows no nothing")
    s = start_server(config={"syslog-enabled": "yes", "loglevel": "warning"})
    with s.raw() as c:
        c.do("DEBUG", "LOG", "first")
        lines = system_log.told_until(s.pid, "first")
        assert not any("Ready to accept" in line[3] for line in lines)
        c.do("CONFIG", "SET", "loglevel", "nothing")
        c.do("DEBUG", "LOG", "second")
        c.do("CONFIG", "SET", "loglevel", "warning")
        c.do("DEBUG", "LOG", "third")
    assert not any("second" in line[3] for line in system_log.told_until(s.pid, "third"))


def test_log_level(start_server):
    s = start_server(loglevel="warning")
    assert "Ready to accept" not in s.log()


def test_pid_file(start_server, tmp_path):
    path = tmp_path / "server.pid"
    s = start_server(pidfile=str(path))
    assert path.read_text().strip() == str(s.pid)
    s.stop()
    s.stopped_by_test = True
    assert not path.exists()


def test_daemonize(start_server, tmp_path):
    path = tmp_path / "daemon.pid"
    s = start_server(start=False, daemonize="yes", pidfile=str(path), logfile="daemon.log")
    s.port = free_port()
    done = subprocess.run(s.command_line(), stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    s.stopped_by_test = True
    assert done.returncode == 0

    def answers():
        try:
            with s.raw() as c:
                return c.do("PING") == "PONG"
        except OSError:
            return False

    assert wait_for(answers) and wait_for(path.exists)
    pid = int(path.read_text())
    assert os.getsid(pid) == pid
    with s.raw() as c:
        c.send(encode("SHUTDOWN", "NOSAVE"))
        assert c.is_closed()
    assert wait_for(lambda: not path.exists())


@pytest.mark.parametrize("names", (("nosuch", "x"), ("get", "set")))
def test_a_daemon_that_cannot_start_says_so_to_who_started_it(start_server, names):
    """It had gone to the background before it looked at the names of commands: status 0, and not a word anywhere."""
    s = start_server(start=False, daemonize="yes", logfile="daemon.log")
    s.port = free_port()
    s.stopped_by_test = True
    done = subprocess.run(s.command_line() + ["--rename-command", *names], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert b"rename-command" in done.stdout + done.stderr


@pytest.fixture(params=("path", "abstract"))
def supervisor(request, tmp_path, monkeypatch):
    """The socket that systemd names to what it starts."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        name = str(tmp_path / "notify") if request.param == "path" else "@shoal-test-%d-%s" % (os.getpid(), tmp_path.name)
        notify.bind(name.replace("@", "\0"))
        notify.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield notify


def hears(notify, word):
    while word not in notify.recv(4096).split(b"\n"):
        pass


@pytest.mark.shoal_only  # the Valkey that is at hand was built without systemd
@pytest.mark.parametrize("supervised, daemonize", (("systemd", "no"), ("auto", "yes")))
@pytest.mark.parametrize("end", ("signal", "command"))
def test_supervised_by_systemd(start_server, supervisor, supervised, daemonize, end, tmp_path):
    """It went to the background when daemonize said so, and did not tell of its end."""
    path = tmp_path / "server.pid"
    s = start_server(supervised=supervised, daemonize=daemonize, pidfile=str(path))
    hears(supervisor, b"READY=1")
    assert s.alive() and path.read_text() == "%d\n" % s.pid
    assert s.info("server")["process_supervised"] == "systemd"
    with s.raw() as c:
        if end == "command":
            c.send(encode("SHUTDOWN", "NOSAVE"))
        else:
            s.proc.send_signal(signal.SIGTERM)
        hears(supervisor, b"STOPPING=1")
        assert s.wait() == 0
    s.stopped_by_test = True


@pytest.mark.parametrize("supervised", ("systemd", "upstart", "auto"))
@pytest.mark.parametrize("name", (None, "vsock:2:1", "/nosuch/socket", "/" + "x" * 200), ids=("none", "vsock", "nosuch", "long"))
def test_a_supervisor_that_is_not_there(start_server, supervised, name, monkeypatch):
    """INFO said what the configuration wishes."""
    if name is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", name)
    s = start_server(supervised=supervised)
    assert s.info("server")["process_supervised"] == "no"


@pytest.mark.shoal_only
@pytest.mark.parametrize("supervised, why", (("systemd", "NOTIFY_SOCKET is not set"), ("upstart", "UPSTART_JOB is not set")))
def test_a_supervisor_that_is_not_there_is_said(start_server, supervised, why):
    assert "supervised: %s cannot be told of this server (%s)" % (supervised, why) in start_server(supervised=supervised).log()


@pytest.mark.parametrize("supervised, daemonize", (("upstart", "no"), ("auto", "yes")))
def test_supervised_by_upstart(start_server, supervised, daemonize, kind, monkeypatch):
    """It stops itself to say that it is ready, and stays in the foreground."""
    monkeypatch.setenv("UPSTART_JOB", "server")
    s = start_server(start=False, supervised=supervised, daemonize=daemonize)
    s.port = free_port()
    with open(s.log_path, "w") as log:
        s.proc = subprocess.Popen(s.command_line(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=s.dir)

    def stopped():
        with open("/proc/%d/stat" % s.pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "T"

    assert wait_for(stopped)
    if kind == "shoal":
        assert "Ready to accept connections" in s.log()
    s.proc.send_signal(signal.SIGCONT)

    def answers():
        try:
            with s.raw() as c:
                return c.do("PING") == "PONG"
        except OSError:
            return False

    assert wait_for(answers)
    assert s.info("server")["process_supervised"] == "upstart"


def test_proc_title(start_server):
    s = start_server()

    def title():
        with open("/proc/%d/cmdline" % s.pid) as f:
            return f.read()

    assert wait_for(lambda: "*:%d" % s.port in title())


@pytest.mark.plain_port
def test_proc_title_follows_its_template_and_what_that_names(start_server):
    s = start_server()

    def title():
        with open("/proc/%d/cmdline" % s.pid) as f:
            return f.read()

    with s.raw() as c:
        assert c.do("CONFIG", "SET", "proc-title-template", "{port} {title}") == "OK"
        assert title().rstrip("\0") == "%d shoal-server" % s.port
        before = title()
        assert c.do("CONFIG", "SET", "proc-title-template", "{nothing}").startswith("ERR ")
        assert title() == before
        assert c.do("CONFIG", "SET", "port", "0") == "OK"  # what it names has changed
        assert title().rstrip("\0") == "0 shoal-server"
        assert c.do("CONFIG", "SET", "port", str(s.port)) == "OK"


# ---- backend ---------------------------------------------------------------------------------------------------------------


def behind(s, *words):
    """The server is started by another program, whose words these are."""
    line = s.command_line
    s.command_line = lambda: [*words, *line()]
    return s


def as_nobody(s):
    """For root, limits of locked memory do not hold. Some user who owns nothing may not look into this tree: he gets a copy of
    the server. Memory is counted by user, so he is not the same for all tests that run."""
    if os.geteuid() != 0:
        return s
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed")
    os.chmod(s.dir, 0o777)
    s.binary = shutil.copy(s.binary, s.dir)
    user = 30000 + os.getpid() % 30000
    return behind(s, "setpriv", "--reuid=%d" % user, "--regid=%d" % user, "--clear-groups")


def rings_of(pid):
    folder, rings = "/proc/%d/fd" % pid, 0
    for name in os.listdir(folder):
        try:
            rings += os.readlink(os.path.join(folder, name)) == "anon_inode:[io_uring]"
        except FileNotFoundError:  # a connection that has ended
            pass
    return rings


@pytest.mark.shoal_only
@pytest.mark.parametrize("backend", ("auto", "uring"))
def test_all_shards_have_one_backend_when_locked_memory_is_short(start_server, backend):
    """Some had a ring, the others epoll, and INFO and the log told of the first one."""
    seen = set()
    for kb in (0, 128, 192, 256, 320, 384, 512, 1024):
        s = as_nobody(start_server(start=False, shards=4, io_backend=backend))
        limit = "--memlock=%d:%d" % (kb * 1024, kb * 1024)
        behind(s, "prlimit", limit)
        try:
            s.start()
        except ServerFailed:
            assert backend == "uring" and s.proc.returncode == 1
            assert "io-backend is uring, and io_uring is not available here for 4 shards (io_uring_setup: " in s.log()
            s.stopped_by_test = True
            seen.add("refused")
            continue
        rings = rings_of(s.pid)
        assert rings in (0, 4)
        api = "io_uring" if rings else "epoll"
        assert s.info("server")["multiplexing_api"] == api
        assert ", io-backend=%s" % api in s.log()
        assert ("all shards use epoll" in s.log()) == (rings == 0)
        seen.add(api)
        s.stop()
        s.stopped_by_test = True
    assert seen <= ({"io_uring", "epoll"} if backend == "auto" else {"io_uring", "refused"})


@pytest.mark.slow
@pytest.mark.shoal_only
@pytest.mark.skipif(os.geteuid() != 0, reason="other processes of this user may have rings")
@pytest.mark.parametrize("end", (signal.SIGKILL, signal.SIGTERM))
def test_a_start_finds_the_locked_memory_of_the_one_before(start_server, end):
    """Where the limit is enough for one server and not for two, the next start got epoll one time in three: the kernel counts the
    memory of rings until it has taken them apart."""
    s = as_nobody(start_server(start=False, shards=4, io_backend="auto"))
    behind(s, "prlimit", "--memlock=%d:%d" % (520 * 1024, 520 * 1024)).start()
    if s.info("server")["multiplexing_api"] != "io_uring":
        pytest.skip("there is no io_uring here, or its rings are larger")
    for _ in range(8):
        clients = [s.raw() for _ in range(20)]
        assert all(c.do("PING") == "PONG" for c in clients)
        s.proc.send_signal(end)
        s.wait()
        s.start_again()
        assert s.info("server")["multiplexing_api"] == "io_uring"
        for c in clients:
            c.close()


@pytest.mark.shoal_only
@pytest.mark.parametrize("call", ("io_uring_setup", "io_uring_enter", "io_uring_register"))
def test_where_a_policy_forbids_io_uring(start_server, call):
    """One that forbids only to enter a ring ended the server with a failed check."""
    if start_server(io_backend="auto").info("server")["multiplexing_api"] != "io_uring":
        pytest.skip("the kernel or a sandbox forbids io_uring here")
    s = behind(start_server(start=False, io_backend="auto"), *forbid.prefix(call, "EPERM"))
    s.start()
    assert s.info("server")["multiplexing_api"] == "epoll"
    what = "provided buffer rings" if call == "io_uring_register" else call
    assert "io_uring is not available here (%s: Operation not permitted): all shards use epoll" % what in s.log()
    s = behind(start_server(start=False, io_backend="uring"), *forbid.prefix(call, "EPERM"))
    with pytest.raises(ServerFailed):
        s.start()
    assert s.proc.returncode == 1
    assert "io-backend is uring, and io_uring is not available here" in s.log()
    s.stopped_by_test = True


# ---- end -------------------------------------------------------------------------------------------------------------------


def says_its_end(server, by=""):
    """What operators look for. It was said of the command alone, as a warning, and not by whom. Redis has other words."""
    if server.kind == "redis":
        return True
    pattern = r"\* User requested shutdown\.\.\.%s$.*\* Removing the pid file\.$.* bye bye\.\.\.$"
    return re.search(pattern % by, server.log(), re.M | re.S)


@pytest.mark.parametrize("how", ("", "NOSAVE", "NOSAVE NOW FORCE", "now", "SAFE", "SAVE FORCE", "FORCE SAFE NOSAVE NOSAVE"))
def test_shutdown_command(start_server, how):
    s = start_server(pidfile="server.pid")
    others = [s.raw() for _ in range(5)]
    with s.raw() as c:
        c.send(encode("SHUTDOWN", *how.split()))
        assert c.is_closed()
    assert s.wait() == 0
    assert all(o.is_closed() for o in others)
    s.stopped_by_test = True
    who = r"id=\d+ addr=127\.0\.0\.1:\d+ laddr=127\.0\.0\.1:%d fd=\d+ name=\*redacted\* user=\*redacted\* lib-name= lib-ver=" % s.port
    assert says_its_end(s, r" \(user request from '%s'\)" % who)


@pytest.mark.shoal_only
def test_whoever_sees_the_end_may_start_anew(start_server):
    """A script asks for the end and starts the server again: the data was still held by the one that ended, now and then."""
    s = start_server(appendonly="yes")
    for i in range(20):
        with s.raw() as c:
            assert c.do("SET", "key%d" % i, "value") == "OK"
            c.send(encode("SHUTDOWN"))
            assert c.is_closed()
        data = os.open(os.path.join(s.dir, "appendonlydir"), os.O_RDONLY)
        fcntl.flock(data, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(data)
        assert s.wait() == 0
        s.start_again()
    with s.raw() as c:
        assert c.do("DBSIZE") == 20


def test_shutdown_under_load(start_server):
    s = start_server()
    clients = [s.raw() for _ in range(10)]
    for n, c in enumerate(clients):
        c.send(b"".join(encode("SET", "s%d:%d" % (n, i), "x" * 100) for i in range(5000)))
    s.proc.send_signal(signal.SIGTERM)
    assert s.wait() == 0
    s.stopped_by_test = True
    for c in clients:
        c.close()


@pytest.mark.slow
@pytest.mark.shoal_only
@pytest.mark.parametrize("commands", ([("MSET", "a", "1", "b", "2")], [("MULTI",), ("SET", "a", "1"), ("SET", "b", "1"), ("EXEC",)], [("KEYS", "*")], [("CONFIG", "SET", "bind", "127.0.0.2")]), ids=lambda x: x[0][0])
def test_what_runs_on_several_shards_when_the_end_begins_is_answered(start_server, commands):
    """Connections that waited for nothing were closed at once, and one whose transaction was on its way was taken for such a one.
    And other addresses were looked for among listeners that were there no more."""

    def answer(c, count):
        try:
            return [c.read() for _ in range(count)][-1]
        except (EOFError, ConnectionResetError):
            return None

    expect = {"MSET": "OK", "MULTI": ["OK", "OK"], "KEYS": [], "CONFIG": "OK"}[commands[0][0]]

    def answered():
        s = start_server(shards=3)
        clients = []
        for n in range(12):
            clients.append(s.raw())
            assert wait_for(lambda n=n: clients[n].do("CLIENT", "LIST").count(b"\n") == n + 1)  # that of the start has gone
        with s.raw() as sleeper:
            sleeper.send(encode("DEBUG", "SLEEP", "2"))  # all threads: what comes meanwhile they find together
            time.sleep(0.5)
            for c in clients:
                c.send(b"".join(encode(*words) for words in commands))
            s.proc.send_signal(signal.SIGTERM)
            replies = [answer(c, len(commands)) for c in clients]
        assert s.wait() == 0
        s.stopped_by_test = True
        replies = [r for r in replies if r is not None]
        assert replies == [expect] * len(replies)
        return len(replies)

    # The thread that takes the signal ends its sleep with it, and does not read any more: a third of them. Where threads wait for
    # a processor it is more, or the sleep is over before the signal comes.
    found = [answered()]
    while found[-1] != 8 and len(found) < 12:
        found.append(answered())
    assert found[-1] == 8, found


@pytest.mark.timing
@pytest.mark.slow
@pytest.mark.shoal_only
def test_the_end_waits_for_a_thread_that_is_busy(start_server):
    """The others gave up after five seconds, with transactions of theirs on their way to that thread: half of such a one
    was done, and the process ended with a failed check, because its locks were still held."""
    s = start_server(shards=2)
    long = {slot(b"{%d}" % n) * 2 // 16384: "{%d}" % n for n in range(100)}
    one, other = long[1] + "1", long[1] + "2"
    with s.raw(timeout=60) as busy, s.raw(timeout=60) as aside:
        assert [aside.do("SET", k, k[-1] * 11000) for k in (one, other)] == ["OK", "OK"]
        began = time.monotonic()
        assert aside.do("LCS", one, other, "LEN") == 0
        times = int(7 / (time.monotonic() - began)) + 1
        busy.send(encode("LCS", one, other, "LEN") * times)
        time.sleep(0.3)
        clients = [s.raw() for _ in range(4)]
        for c in clients:
            c.send(encode("MSET", long[0], "1", long[1], "2"))
        time.sleep(0.3)
        s.proc.send_signal(signal.SIGTERM)
        assert s.wait(60) == 0
    s.stopped_by_test = True
    assert "in time" not in s.log()


@pytest.mark.shoal_only
@pytest.mark.parametrize("turn", range(3))
@pytest.mark.parametrize("command", (False, True))
@pytest.mark.parametrize("clients", (0, 200))
def test_threads_that_end_while_others_still_ring_them(start_server, clients, command, turn):
    """A thread that freed its runtime rang those of others, which were gone by then: nearly every time when there were no
    connections to wait for. A signal that came while the threads were ending rang one that had ended."""
    s = start_server(shards=4)
    connections = [s.raw() for _ in range(clients)]
    for n, c in enumerate(connections):
        c.send(b"".join(encode("SET", "e%d:%d" % (n, i), "x" * 100) for i in range(100)))
    time.sleep(0.05)  # else the connection that start_server() made may still be there
    if command:
        with s.raw() as c:
            c.send(encode("SHUTDOWN", "NOSAVE"))
    s.proc.send_signal(signal.SIGTERM)
    assert s.wait() == 0
    s.stopped_by_test = True
    for c in connections:
        c.close()


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT))
def test_signals_end_it_cleanly(start_server, number):
    s = start_server(pidfile="server.pid")
    with s.raw() as c:
        c.do("SET", "a", "1")
        s.proc.send_signal(number)
        assert s.wait() == 0
        assert c.is_closed()
    s.stopped_by_test = True
    assert says_its_end(s)


@pytest.mark.timing
@pytest.mark.slow
@pytest.mark.parametrize("first", (signal.SIGTERM, signal.SIGINT))
@pytest.mark.parametrize("second", (signal.SIGTERM, signal.SIGINT))
def test_the_second_signal(start_server, tmp_path, first, second):
    """SIGTERM again, as supervisors send it, cut the end short; only SIGINT, of somebody who insists, does."""
    path = tmp_path / "server.pid"
    s = start_server(pidfile=str(path))
    with s.raw(timeout=60) as c:
        assert [c.do("SET", "{k}%d" % i, str(i) * 11000) for i in (1, 2)] == ["OK", "OK"]
        took = []
        for _ in range(3):  # one of them may have waited for a processor
            began = time.monotonic()
            assert c.do("LCS", "{k}1", "{k}2", "LEN") == 0
            took.append(time.monotonic() - began)
        c.send(encode("LCS", "{k}1", "{k}2", "LEN") * (int(3 / min(took)) + 1))
        time.sleep(0.2)
        s.proc.send_signal(first)
        time.sleep(0.2)
        s.proc.send_signal(second)
        code = s.wait(60)
    s.stopped_by_test = True
    insisted = second == signal.SIGINT
    assert code == (1 if insisted else 0)
    assert path.exists() == insisted
    assert ("You insist... exiting now." in s.log()) == insisted
    assert ("ready to exit, bye bye" in s.log()) == (not insisted)


@pytest.mark.shoal_only
def test_a_second_signal_ends_it_at_once(start_server):
    """Also when no thread has time for the first one. What it said went to the terminal, which a daemon has not."""
    s = start_server(logfile="server.log")
    with s.raw() as c:
        c.send(encode("DEBUG", "SLEEP", "60"))
        assert c.is_silent()

        def insist():
            s.proc.send_signal(signal.SIGINT)
            return not s.alive()

        assert wait_for(insist)
    s.stopped_by_test = True
    assert s.proc.returncode == 1
    with open(os.path.join(s.dir, "server.log")) as log:
        assert log.read().endswith(" You insist... exiting now.\n")


@pytest.mark.parametrize("number", (signal.SIGHUP, signal.SIGPIPE))
def test_signals_that_are_ignored(start_server, number):
    s = start_server()
    s.proc.send_signal(number)
    time.sleep(0.1)
    with s.raw() as c:
        assert c.do("PING") == "PONG"


def refusal(words):
    """What Valkey says to SHUTDOWN with these, or None when it ends."""
    if ("ABORT" in words and set(words) != {"ABORT"}) or {"SAVE", "NOSAVE"} <= set(words) or "FOO" in words:
        return RespError("ERR syntax error")
    if "ABORT" in words:
        return RespError("ERR No shutdown in progress.")
    return RespError("ERR SHUTDOWN FAILOVER is only supported in cluster mode.") if "FAILOVER" in words else None


def test_shutdown_arguments_that_are_refused(server):
    """FAILOVER ended the server."""
    words = ("NOSAVE", "SAVE", "NOW", "FORCE", "ABORT", "FAILOVER", "SAFE", "FOO")
    with server.raw() as c:
        for count in (1, 2, 3):
            for chosen in itertools.product(words, repeat=count):
                if refusal(chosen) is not None:
                    assert c.do("SHUTDOWN", *chosen) == refusal(chosen), chosen


@pytest.mark.shoal_only
def test_fewer_clients_where_the_system_has_fewer_files(start_server):
    s = behind(start_server(start=False), "prlimit", "--nofile=300:300").start()
    with s.raw() as c:
        room = int(c.do("CONFIG", "GET", "maxclients")[1])
        assert 100 < room < 300
        clients = [s.raw() for _ in range(room - 1)]
        assert [x.do("PING") for x in clients] == ["PONG"] * (room - 1)
        with s.raw() as one_more:
            assert one_more.read() == "ERR max number of clients reached"
        for x in clients:
            x.close()
        assert wait_for(lambda: c.do("CLIENT", "LIST").count(b"\n") == 1)
    assert "from 10000 to %d" % room in s.log()


def limited_to(s, files):
    """Nobody may not raise the hard limit."""
    return behind(as_nobody(s), "prlimit", "--nofile=" + files)


def soft_limit(s):
    with open("/proc/%d/limits" % s.pid) as f:
        return int(re.search(r"Max open files +(\d+)", f.read()).group(1))


def test_maxclients_beyond_what_files_allow_is_refused(start_server):
    """It was taken, and clients beyond the limit were left without an answer."""
    s = limited_to(start_server(start=False, enable_protected_configs="yes"), "300:300").start()
    with s.raw() as c:
        room = int(c.do("CONFIG", "GET", "maxclients")[1])
        folder = c.do("CONFIG", "GET", "dir")
        for wish in (room + 1, 20000, 1000000):
            assert c.do("CONFIG", "SET", "dir", "/", "maxclients", wish) == RespError(
                "ERR CONFIG SET failed (possibly related to argument 'maxclients') - "
                "The operating system is not able to handle the specified number of clients, try with %d" % room
            )
            assert c.do("CONFIG", "GET", "dir") == folder
            assert c.do("CONFIG", "GET", "maxclients") == [b"maxclients", b"%d" % room]
        for wish in (1, room):
            assert c.do("CONFIG", "SET", "maxclients", wish) == "OK"


def test_the_limit_of_files_is_raised_for_maxclients(start_server):
    s = limited_to(start_server(start=False, maxclients=100), "200:2000").start()
    with s.raw() as c:
        assert c.do("CONFIG", "SET", "maxclients", "1500") == "OK"
        assert soft_limit(s) >= 1532
        clients = [s.raw() for _ in range(300)]  # more than the limit was that io_uring began to accept with
        assert [x.do("PING") for x in clients] == ["PONG"] * 300
        for x in clients:
            x.close()
    s = limited_to(start_server(start=False), "200:2000").start()
    with s.raw() as c:
        assert 1700 < int(c.do("CONFIG", "GET", "maxclients")[1]) < 2000
        assert 1900 < soft_limit(s) <= 2000


def test_too_few_files_to_serve_anybody(start_server, kind):
    """It started, and no client was ever answered."""
    refused = 0
    for files in (12, 16, 24, 32, 36, 40, 52, 100):
        s = limited_to(start_server(start=False, **({"shards": 3} if kind == "shoal" else {})), "%d:%d" % (files, files))
        try:
            s.start()
        except ServerFailed:
            assert s.proc.returncode == 1
            assert "'ulimit -n'" in s.log()
            s.stopped_by_test = True
            refused += 1
            continue
        with s.raw() as c:
            assert c.do("PING") == "PONG"
    assert 3 <= refused < 8


@pytest.mark.shoal_only
def test_too_few_threads_to_start(start_server):
    """As where a container's `pids.max` is small: it was a failed check."""
    s = behind(as_nobody(start_server(start=False, shards=4)), "prlimit", "--nproc=3:3")
    if os.geteuid() != 0:
        pytest.skip("other processes of this user count")
    with pytest.raises(ServerFailed):
        s.start()
    s.stopped_by_test = True
    assert s.proc.returncode == 1
    assert "Could not start a thread for each of 4 shards: Resource temporarily unavailable" in s.log()


@pytest.mark.shoal_only
def test_out_of_files_clients_are_told(start_server):
    """They waited without an answer until another client left. Files that the server knows nothing of make it happen."""
    script = "import os, sys; [os.set_inheritable(os.dup(0), True) for _ in range(250)]; os.execv(sys.argv[1], sys.argv[1:])"
    s = behind(start_server(start=False, maxclients=200), sys.executable, "-c", script)
    behind(s, "prlimit", "--nofile=300:2000").start()
    with s.raw() as first:
        assert first.do("PING") == "PONG"
        served, told = [], 0
        for _ in range(70):
            c = s.raw()
            c.send(encode("PING"))
            try:
                reply = c.read()
            except (EOFError, ConnectionResetError):  # closed with the PING unread
                reply = "ERR max number of clients reached"
            if reply == "PONG":
                served.append(c)
            else:
                assert reply == "ERR max number of clients reached"
                told += 1
                c.close()
        assert served and told > 10
        assert int(s.info_of(first, "stats")["rejected_connections"]) == told
        assert s.log().count("No file can be opened for a new connection") == 1
        served.pop().close()

        assert wait_for(s.accepts)
        assert all(c.do("PING") == "PONG" for c in [first] + served)
        resource.prlimit(s.pid, resource.RLIMIT_NOFILE, (2000, 2000))
        more = [s.raw() for _ in range(70)]
        assert all(c.do("PING") == "PONG" for c in more)
        for c in served + more:
            c.close()


@pytest.mark.shoal_only
def test_a_client_that_cannot_be_watched_is_closed(start_server):
    s = behind(start_server(start=False, io_backend="epoll"), *forbid.prefix("epoll_ctl", "ENOSPC", "1==1", "2>=60")).start()
    served, closed = [], 0
    for _ in range(80):
        c = s.raw()
        c.send(encode("PING"))
        try:
            assert c.read() == "PONG"
            served.append(c)
        except (EOFError, ConnectionResetError):
            closed += 1
            c.close()
    assert served and closed
    first, rest = served[0], served[1:]
    assert wait_for(lambda: int(s.info_of(first, "clients")["connected_clients"]) == len(served))
    for c in rest:
        c.close()
    assert wait_for(lambda: int(s.info_of(first, "clients")["connected_clients"]) == 1)
    first.close()


@pytest.mark.shoal_only
@pytest.mark.parametrize("level", (1, 6))
def test_a_client_whose_socket_takes_no_settings_is_served(start_server, level):
    s = behind(start_server(start=False), *forbid.prefix("setsockopt", "ENOMEM", "1==%d" % level)).start()
    with s.raw() as c:
        assert c.do("PING") == "PONG"
