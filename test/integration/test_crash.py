# SPDX-License-Identifier: BSD-3-Clause
"""The last line: a server that ends by a signal, a failed check or for want of memory says so in its log, and what and where."""

import os
import re
import resource
import signal
import socket
import subprocess
import sys

import pytest

from resp import encode
from server import BAD_LOG, free_port, wait_for

pytestmark = pytest.mark.row_each

# With -fsanitize the faults are the sanitizer's to report.
FAULTS = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL")


def logged(server, name="last.log"):
    with open(os.path.join(server.dir, name)) as f:
        return f.read().splitlines()


def last_words(server, number, threads=1):
    """The server has ended by that signal; what it left in its log file and on stderr. Memory may run out in several threads at once."""
    assert server.wait(60) == -number
    server.stopped_by_test = True
    lines = [line for line in logged(server) if BAD_LOG.search(line) or "DEBUG PANIC" in line]
    assert 1 <= len(lines) <= threads, lines
    with open(server.log_path, errors="replace") as f:
        said = f.read()
    return lines[0], said


@pytest.fixture
def start_mortal(start_server):
    """start_server, for servers that are going to end by themselves: their last words are no fault of the test's."""
    servers = []

    def start(**options):
        s = start_server(logfile="last.log", **options)
        servers.append(s)
        return s

    yield start
    for s in servers:
        if s.stopped_by_test:
            for path in (s.log_path, os.path.join(s.dir, "last.log")):
                if os.path.exists(path):
                    os.truncate(path, 0)


def tell(server, *words):
    with server.raw() as c:
        c.send(encode(*words))
        c.sock.settimeout(60)
        try:
            assert c.sock.recv(10) == b""
        except ConnectionResetError:
            pass


HEAD = r"\d+:M \d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3} # Shoal \d+\.\d+\.\d+ commit=[0-9a-f]{8,}, modified=[01]: "


@pytest.mark.shoal_only
@pytest.mark.parametrize("how, reason", (("ASSERT", "check failed: .*"), ("PANIC", "DEBUG PANIC")))
def test_a_failed_check_leaves_a_line(start_mortal, how, reason):
    """It was on stderr alone, which nobody reads whose server is a daemon."""
    s = start_mortal()
    tell(s, "DEBUG", how)
    line, said = last_words(s, signal.SIGABRT)
    assert re.fullmatch(HEAD + r"\S*debug\.c:\d+: " + reason + r", thread shard-\d+", line), line
    assert re.search(r"debug\.c:\d+: " + reason, said)


@pytest.mark.shoal_only
def test_memory_that_ran_out_names_the_size(start_mortal, slow):
    """It was a failed check of a pointer."""
    if slow > 1:
        pytest.skip("the sanitizer ends the process by itself")
    s = start_mortal()
    tell(s, "DEBUG", "OOM")
    line, said = last_words(s, signal.SIGABRT)
    want = r"\S*debug\.c:\d+: out of memory: there are no %d bytes" % (sys.maxsize)
    assert re.fullmatch(HEAD + want + r", thread shard-\d+", line), line
    assert re.search(want, said)


@pytest.mark.slow
@pytest.mark.shoal_only
@pytest.mark.parametrize("size", (50, 3000, 100000))
def test_memory_that_really_runs_out(start_mortal, slow, shards, size):
    if slow > 1:
        pytest.skip("a sanitizer needs more address space than can be limited")
    s = start_mortal()
    with open("/proc/%d/statm" % s.pid) as f:
        used = int(f.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limit = used + 64 * 1024 * 1024
    resource.prlimit(s.pid, resource.RLIMIT_AS, (limit, limit))
    with s.raw() as c:
        try:
            for i in range(100):
                c.do("DEBUG", "POPULATE", "100000", "p%d" % i, str(size))
        except (OSError, EOFError):
            pass
    line, said = last_words(s, signal.SIGABRT, shards)
    assert re.fullmatch(HEAD + r"\S+\.c:\d+: out of memory: there are no [1-9]\d* bytes, thread shard-\d+", line), line


@pytest.mark.shoal_only
def test_a_fault_leaves_a_line_and_ends_it_by_the_signal(start_mortal, slow, server_binary):
    if slow > 1:
        pytest.skip("the sanitizer reports it")
    s = start_mortal()
    tell(s, "DEBUG", "SEGFAULT")
    line, said = last_words(s, signal.SIGSEGV)
    found = re.fullmatch(HEAD + r"crashed by signal SIGSEGV at address 0x8, program counter 0x[0-9a-f]+ \(shoal-server\+(0x[0-9a-f]+)\), thread shard-\d+", line)
    assert found, line
    assert "crashed by signal SIGSEGV" in said
    where = subprocess.run(["addr2line", "-f", "-i", "-e", server_binary, found.group(1)], capture_output=True, text=True).stdout
    assert "debug_segfault" in where or "command_debug" in where, where


@pytest.mark.shoal_only
@pytest.mark.parametrize("how", ("SEGFAULT", "ASSERT", "PANIC"))
def test_use_exit_on_panic(start_mortal, slow, how):
    """The same words, and an exit status instead of a signal: no core."""
    if slow > 1 and how == "SEGFAULT":
        pytest.skip("the sanitizer reports it")
    s = start_mortal()
    with s.raw() as c:
        assert c.do("CONFIG", "SET", "use-exit-on-panic", "yes") == "OK"
    tell(s, "DEBUG", how)
    assert s.wait(60) == 1
    s.stopped_by_test = True
    assert any(BAD_LOG.search(line) or "DEBUG PANIC" in line for line in logged(s))
    assert any("Registers:" in line for line in logged(s))


@pytest.mark.shoal_only
@pytest.mark.parametrize("enabled", ("yes", "no"))
@pytest.mark.parametrize("how", ("SEGFAULT", "ASSERT"))
def test_the_report_behind_the_line(start_mortal, slow, shards, how, enabled):
    """Registers; who called whom, by name; where the other threads were; the command and its client; INFO. Or nothing, with
    crash-log-enabled no."""
    if slow > 1 and how == "SEGFAULT":
        pytest.skip("the sanitizer reports it")
    s = start_mortal()
    with s.raw() as c:
        assert c.do("CONFIG", "SET", "crash-log-enabled", enabled, "hide-user-data-from-log", "no", "debug-context", 'rack "7"') == "OK"
        assert c.do("SET", "kept", "value") == "OK"
    tell(s, "DEBUG", how)
    line, said = last_words(s, signal.SIGSEGV if how == "SEGFAULT" else signal.SIGABRT)
    lines = logged(s)
    report = lines[lines.index(line) + 1 :]
    if enabled == "no":
        assert report == []
        return
    form = r"\d+:M \d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3} # "
    assert re.fullmatch(form + r"Registers:( \w+=0x[0-9a-f]+){18,}", report[0]), report[0]
    stacks = [frames_from(report, form, 1)]
    assert any(n.startswith(("command_debug", "debug_")) for n in stacks[0]) and any(n.startswith("worker_") for n in stacks[0]), stacks
    at = 1 + len(stacks[0])
    for _ in range(shards - 1):
        assert re.fullmatch(form + r"Meanwhile thread shard-\d+:", report[at]), report[at]
        stacks.append(frames_from(report, form, at + 1))
        assert any(n.startswith("worker_") for n in stacks[-1]), stacks
        at += 1 + len(stacks[-1])
    rest = [re.fullmatch(form + "(.*)", text).group(1) for text in report[at:]]
    assert rest.pop(0) == 'debug-context: "rack \\"7\\""'
    assert re.fullmatch(r"Command in hand on shard \d+: debug, 2 words", rest[0]), rest[0]
    assert rest[1] == 'Word 1, %d bytes: "%s"' % (len(how), how)
    assert re.fullmatch(r"Its client: id=\d+ addr=127.0.0.1:.* cmd=debug .*", rest[2]), rest[2]
    turns = [re.fullmatch(r"Turn of shard-(\d+), (\d+) ms before: \d+ commands in \d+ us, the last one (\S+), of client \d+", text) for text in rest[3:]]
    turns = [turn.groups() for turn in turns if turn]
    assert {"config|set", "set"} <= {name for _, _, name in turns} and len(turns) <= 16 * shards
    assert turns == sorted(turns, key=lambda turn: (int(turn[0]), int(turn[1])))
    assert "# Server" in rest and "# Shards" in rest and "valkey_version:9.1.2" in rest and "db0:keys=1,expires=0,avg_ttl=0,keys_with_volatile_items=0" in rest
    assert rest[-1] == "The report ends here."


def frames_from(report, form, at):
    """The names of a stack's functions, which begins there."""
    names = []
    for text in report[at:]:
        found = re.fullmatch(form + r"Stack (\d+)(?: of shard-\d+)?: (\S*) \(\S+\+0x[0-9a-f]+\)", text)
        if not found:
            break
        assert int(found.group(1)) == len(names), report
        names.append(found.group(2).split("+")[0])
    assert names, report[at : at + 3]
    return names


@pytest.mark.shoal_only
def test_words_are_not_in_the_report_of_who_hides_them(start_mortal):
    s = start_mortal()
    with s.raw() as c:
        assert c.do("CONFIG", "SET", "hide-user-data-from-log", "yes") == "OK"
        assert c.do("CLIENT", "SETNAME", "secretname") == "OK"
        c.send(encode("DEBUG", "ASSERT"))
        with pytest.raises((OSError, EOFError)):
            c.read()
    last_words(s, signal.SIGABRT)
    text = "\n".join(logged(s))
    assert "Word 1, 6 bytes: *redacted*" in text and "secretname" not in text


@pytest.mark.shoal_only
def test_the_watchdog_logs_where_a_stuck_thread_is(start_server, shards):
    """DEBUG SLEEP holds all threads up: each says so, once; and nobody does while all get on, whose watchdog is off, or who sleeps less."""
    s = start_server(logfile="last.log")
    form = r"\d+:M \d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3} # "
    expired = form + r"--- WATCHDOG TIMER EXPIRED --- thread shard-\d+ does not get on:"

    def reports():
        return [i for i, line in enumerate(logged(s)) if re.fullmatch(expired, line)]

    with s.raw() as c:
        assert c.do("CONFIG", "SET", "watchdog-period", "1") == "OK"
        assert c.do("CONFIG", "GET", "watchdog-period") == [b"watchdog-period", b"200"]
        assert c.do("CONFIG", "SET", "watchdog-period", "2000") == "OK"
        assert c.do("DEBUG", "SLEEP", "0.1") == "OK"
        assert reports() == []
        assert c.do("DEBUG", "SLEEP", "4") == "OK"
        assert wait_for(lambda: len(reports()) == shards)
        for n in range(shards):  # of threads that say it at the same time
            assert wait_for(lambda: any(re.search(r"# Stack \d+ of shard-%d: sleep_part\+" % n, line) for line in logged(s)))
        assert c.do("CONFIG", "SET", "watchdog-period", "0") == "OK"
        assert c.do("DEBUG", "SLEEP", "3") == "OK"
        assert c.do("PING") == "PONG" and len(reports()) == shards


@pytest.mark.shoal_only
def test_sigalrm_asks_where_all_threads_are(start_server, shards):
    s = start_server(logfile="last.log")
    s.proc.send_signal(signal.SIGALRM)
    assert wait_for(lambda: sum(bool(re.search(r"# Thread shard-\d+:$", line)) for line in logged(s)) == shards)
    assert any("Received SIGALRM" in line for line in logged(s))
    with s.raw() as c:
        assert c.do("PING") == "PONG"


@pytest.mark.shoal_only
@pytest.mark.parametrize("name", FAULTS + ("SIGABRT",))
def test_a_signal_that_somebody_sent(start_mortal, slow, name):
    if slow > 1 and name != "SIGABRT":
        pytest.skip("the sanitizer reports it")
    s = start_mortal()
    number = getattr(signal, name)
    s.proc.send_signal(number)
    line, said = last_words(s, number)
    assert re.fullmatch(HEAD + r"crashed by signal %s from process %d, program counter 0x[0-9a-f]+( \(.+\+0x[0-9a-f]+\))?, thread (main|shard-\d+)" % (name, os.getpid()), line), line
    assert "crashed by signal " + name in said


@pytest.mark.shoal_only
@pytest.mark.parametrize("form, pattern", (
    ("logfmt", r'pid=\d+ role=primary timestamp="\d{4}-\d\d-\d\dT\S+" level=warning message="Shoal .*check failed: .*"'),
    ("json", r'\{"pid":\d+,"role":"primary","timestamp":"\d{4}-\d\d-\d\dT\S+","level":"warning","message":"Shoal .*check failed: .*"\}'),
))  # fmt: skip
def test_the_last_line_has_the_form_of_all(start_mortal, form, pattern):
    s = start_mortal()
    with s.raw() as c:
        assert c.do("CONFIG", "SET", "log-format", form, "log-timestamp-format", "iso8601") == "OK"
    tell(s, "DEBUG", "ASSERT")
    line, said = last_words(s, signal.SIGABRT)
    assert re.fullmatch(pattern, line), line


@pytest.mark.shoal_only
def test_the_last_line_goes_to_the_system_log_too(start_mortal, system_log):
    s = start_mortal(syslog_enabled="yes")
    tell(s, "DEBUG", "ASSERT")
    last_words(s, signal.SIGABRT)
    line = system_log.told_until(s.pid, "check failed")[-1]
    assert line[0] == 16 * 8 + 4 and line[2] == "valkey"
    assert re.fullmatch(r"Shoal \S+ commit=.*check failed: .*, thread shard-\d+", line[3]), line


@pytest.mark.shoal_only
def test_the_last_line_of_who_has_a_long_name_in_the_system_log(start_mortal, system_log):
    """The handler has no more memory than it brings; a line that outgrew it was moved as if it had been allocated."""
    s = start_mortal(syslog_enabled="yes", syslog_ident="x" * 9000)
    tell(s, "DEBUG", "ASSERT")
    last_words(s, signal.SIGABRT)
    line = system_log.told_until(s.pid, "check failed")[-1]
    assert 100 < len(line[2]) < 2000 and set(line[2]) == {"x"}


@pytest.mark.shoal_only
def test_no_file_may_be_open_any_more(start_mortal):
    """The log file is opened for each line; a server that has no descriptor left has one for its last."""
    s = start_mortal(maxclients="100")
    highest = max(int(fd) for fd in os.listdir("/proc/%d/fd" % s.pid))
    resource.prlimit(s.pid, resource.RLIMIT_NOFILE, (highest + 2, highest + 2))
    tell(s, "DEBUG", "ASSERT")
    line, said = last_words(s, signal.SIGABRT)
    assert "check failed" in line


@pytest.mark.shoal_only
def test_a_daemon_leaves_its_last_line(start_server, tmp_path):
    s = start_server(start=False)
    port = free_port()
    pidfile = tmp_path / "pid"
    options = dict(s.config, port=port, dir=tmp_path, daemonize="yes", pidfile=pidfile, logfile="last.log")
    options["enable-debug-command"] = "yes"
    subprocess.run([s.binary] + [w for name, value in options.items() for w in ("--" + name, str(value))], check=True, timeout=60)
    assert wait_for(lambda: pidfile.exists() and pidfile.read_text().strip())

    def connected():
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            return None

    assert wait_for(lambda: connected() is not None)
    c = connected()
    c.sendall(encode("DEBUG", "ASSERT"))
    assert wait_for(lambda: "check failed" in (tmp_path / "last.log").read_text())


def test_closed_standard_streams(server_binary, base_config, tmp_path):
    """A listener or a client's socket got the number of stdout, and log lines went to a client."""
    port = free_port()
    options = dict(base_config, port=port, dir=tmp_path, save="", loglevel="notice")
    line = [server_binary] + [w for name, value in options.items() for w in ("--" + name, str(value))]
    proc = subprocess.Popen(line, preexec_fn=lambda: [os.close(fd) for fd in (0, 1, 2)])
    try:

        def answers():
            try:
                with socket.create_connection(("127.0.0.1", port)) as c:
                    c.sendall(b"PING\r\n")
                    return c.recv(100) == b"+PONG\r\n"
            except OSError:
                return False

        assert wait_for(answers)
        held = [os.readlink("/proc/%d/fd/%d" % (proc.pid, fd)) for fd in (0, 1, 2)]
        assert held == ["/dev/null"] * 3
    finally:
        proc.terminate()
        assert proc.wait(60) == 0
