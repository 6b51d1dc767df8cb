# SPDX-License-Identifier: BSD-3-Clause
"""CONFIG GET, SET and REWRITE, configuration files and the command line, side by side with Valkey where there is one."""

import errno
import os
import subprocess

import pytest

from resp import RespError, encode
from server import Server, ServerFailed, find_peer, free_port, wait_for
from test_scripts import in_threads

pytestmark = pytest.mark.row_each

# What the harness itself sets, or what says where a server runs.
GIVEN = {"port", "dir", "save", "enable-debug-command", "logfile", "shards", "io-backend", "bind", "daemonize", "pidfile"}

HIDDEN = """aof-disable-auto-gc cluster-message-gossip-perc cluster-ping-interval debug-context enable-debug-assert
io-threads-always-active key-load-delay loading-process-events-interval-bytes lua-enable-insecure-api
lua-enable-deprecated-api min-io-threads-avoid-copy-reply min-string-size-avoid-copy-reply
min-string-size-avoid-copy-reply-threaded rdb-key-save-delay use-exit-on-panic watchdog-period""".split()

# Directives whose value is refused with a text of our own because what they ask for is not there, or that Debian's Valkey
# refuses for want of a library.
OWN_WORDS = {"appendonly", "tls-cluster", "tls-replication", "rdma-port", "rdma-bind", "activedefrag"}

# Values that would cut the test off, or lie outside of what a machine allows.
CUTS_OFF = {"port", "bind", "maxclients", "timeout"}


def values(c, pattern="*"):
    flat = c.do("CONFIG", "GET", pattern)
    return {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2])}


def value(c, name):
    return values(c, name)[name]


def test_names_and_defaults_are_valkeys(server, valkey):
    with server.raw() as ours, valkey.raw() as theirs:
        got, expected = values(ours), values(theirs)
        assert sorted(got) == sorted(expected)
        different = {n: (got[n], expected[n]) for n in got if n not in GIVEN and got[n] != expected[n]}
        assert different == {}
        for name in HIDDEN:
            assert values(ours, name) == values(theirs, name), name


def test_get_is_sorted_and_a_map_in_resp3(raw):
    names = raw.do("CONFIG", "GET", "*")[::2]
    assert names == sorted(names)
    raw.do("HELLO", "3")
    assert raw.do("CONFIG", "GET", "h?").get(b"hz") == b"10"


@pytest.mark.parametrize(
    "patterns",
    [
        ("HZ",), ("h?",), ("hz", "hz"), ("hz", "h*"), ("slowlog-max-len", "commandlog-slow*"), ("*max-len*",), ("nope",),
        ("watchdog*",), ("WATCHDOG-PERIOD",), ("Maxmem*",), ("[hH]z",), ("timeout", "hz", "tcp-backlog"), ("hz", "HZ", "Hz"),
        ("Z*", "HZ", "tcp-*"), ("",),
    ],
)  # fmt: skip
def test_get_patterns_as_valkey(server, valkey, patterns):
    with server.raw() as ours, valkey.raw() as theirs:
        assert ours.do("CONFIG", "GET", *patterns) == theirs.do("CONFIG", "GET", *patterns)


@pytest.mark.shoal_only
def test_own_directives_are_found_by_name(raw):
    assert "shards" not in values(raw)
    assert "shards" in values(raw, "shard*")
    assert value(raw, "pipeline-order") == "writes"


def test_every_value_can_be_set_to_itself(raw, kind):
    for name, own in values(raw).items():
        reply = raw.do("CONFIG", "SET", name, own)
        if isinstance(reply, RespError):
            expected = "can't set immutable config", "can't set protected config"
            assert reply.args[0].endswith(expected) or (kind == "valkey" and name == "rdma-bind"), (name, reply)
        assert value(raw, name) == own


BAD = ["zzz", "1kb", "-999999999999999999", "", "99999999999999999999", "1.5", "yes", "0", "5%", "a b", "1 2 3", "50 99 101"]


def test_every_directive_refuses_in_valkeys_words(server, valkey):
    """Each directive is set to each of a few values on both servers: same reply, and the same value afterwards."""
    different = []
    with server.raw() as ours, valkey.raw() as theirs:
        for name in sorted(values(theirs)) + HIDDEN:
            if name in OWN_WORDS | CUTS_OFF:
                continue
            before = value(ours, name), value(theirs, name)
            for bad in BAD:
                replies = ours.do("CONFIG", "SET", name, bad), theirs.do("CONFIG", "SET", name, bad)
                after = value(ours, name), value(theirs, name)
                if replies[0] != replies[1] or (replies[0] == "OK" and after[0] != after[1]):
                    different.append((name, bad, replies, after))
                for c, v in zip((ours, theirs), before):
                    c.do("CONFIG", "SET", name, v)
    assert different == []


SETS = [
    ("timeout", " 5"), ("timeout", "05"), ("timeout", "+5"), ("timeout", "-0"), ("TIMEOUT", "7"),
    ("maxmemory", "1B"), ("maxmemory", "1k"), ("maxmemory", "1Kb"), ("maxmemory", "1GB"), ("maxmemory", "1t"),
    ("maxmemory", "1.5mb"), ("maxmemory", "-1"), ("maxmemory", "18446744073709551615"), ("maxmemory", "18446744073709551616"),
    ("maxmemory-clients", "100%"), ("maxmemory-clients", "101%"), ("maxmemory-clients", "-5%"), ("maxmemory-clients", "%"),
    ("slot-migration-max-failover-repl-bytes", "-2"), ("repl-backlog-size", "9223372036854775808"), ("repl-backlog-size", "1"),
    ("activerehashing", "YES"), ("activerehashing", "yes "), ("loglevel", "NOTICE"), ("loglevel", "notice debug"),
    ("shutdown-on-sigterm", "now save"), ("shutdown-on-sigterm", "save nosave"), ("shutdown-on-sigterm", "default now"),
    ("shutdown-on-sigterm", "save  now"), ("proc-title-template", "{title}"), ("proc-title-template", "{bad}"),
    ("proc-title-template", "{{x}}"), ("cluster-announce-hostname", "bad_host"), ("cluster-announce-hostname", "x" * 256),
    ("cluster-announce-human-nodename", "a,b"), ("cluster-announce-client-ipv4", "1.2.3"), ("cluster-announce-ip", "x" * 46),
    ("availability-zone", "a\nb"), ("locale-collate", "POSIX"), ("save", "3600 1 300"), ("save", "60 10 30 5"), ("save", "0 1"),
    ("notify-keyspace-events", "g$lshzxetd"), ("notify-keyspace-events", "AKEmn"), ("notify-keyspace-events", "Kq"),
    ("latency-tracking-info-percentiles", "12.345678901234"), ("latency-tracking-info-percentiles", "inf"),
    ("latency-tracking-info-percentiles", "50  99"), ("client-output-buffer-limit", "normal 1mb 1kb 60"),
    ("client-output-buffer-limit", "master 0 0 0"), ("client-output-buffer-limit", "normal 0 0 60s"),
    ("client-output-buffer-limit", "normal 0 0"), ("oom-score-adj-values", "0 0 2001"), ("hz", "501"), ("hz", "0"),
    ("nope", "1"), ("timeout", "1", "nope", "1"), ("nope", "1", "daemonize", "1"), ("daemonize", "1", "nope", "1"),
    ("timeout", "1", "timeout", "2"), ("timeout", "a", "timeout", "2"), ("timeout", "1", "TIMEOUT", "2"),
    ("slowlog-max-len", "1", "commandlog-slow-execution-max-len", "2"), ("timeout", "1", "hz", "b"), ("timeout", "a", "hz", "b"),
    ("timeout", "a", "daemonize", "b"), ("dir", "/", "dir", "/"), ("maxmemory", "1", "maxmemory", "2", "nope", "1"),
    ("Timeout", "a"), ("NoPe", "a"), ("dbfilename", "x", "daemonize", "x"), ("dynamic-hz", "yes"), ("user", "x"), ("include", "x"),
    ("timeout",), (), ("timeout", "1", "hz"),
]  # fmt: skip


def test_sets_answer_as_valkey(server, valkey):
    with server.raw() as ours, valkey.raw() as theirs:
        for pairs in SETS:
            names = [n for n in pairs[::2] if values(theirs, n.lower())]
            before = [(n, value(ours, n), value(theirs, n)) for n in names]
            assert ours.do("CONFIG", "SET", *pairs) == theirs.do("CONFIG", "SET", *pairs), pairs
            for n in names:
                if n not in GIVEN:
                    assert value(ours, n) == value(theirs, n), pairs
            for n, mine, other in before:
                ours.do("CONFIG", "SET", n, mine)
                theirs.do("CONFIG", "SET", n, other)


def test_all_or_nothing(raw):
    before = values(raw)
    assert isinstance(raw.do("CONFIG", "SET", "timeout", "100", "maxmemory", "1gb", "hz", "x"), RespError)
    assert values(raw) == before


@pytest.mark.shoal_only
@pytest.mark.parametrize("name, asked", [("rdma-port", "6380")])
def test_what_would_endanger_data_is_refused(raw, name, asked):
    reply = raw.do("CONFIG", "SET", name, asked)
    assert isinstance(reply, RespError) and name in reply.args[0]
    assert value(raw, name) in ("no", "0")


@pytest.mark.shoal_only
@pytest.mark.parametrize(
    "line",
    ["loadmodule /x.so"],
)
def test_start_is_refused_for_what_is_not_there(server_binary, tmp_path, line):
    conf = tmp_path / "shoal.conf"
    conf.write_text("port %d\n%s\n" % (free_port(), line))
    done = subprocess.run([server_binary, str(conf)], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 1
    assert line.split()[0] in done.stderr and "not there yet in Shoal" in done.stderr


# ---- files and the command line ------------------------------------------------------------------------------------------


LINES = [
    "timeout", "\n\ntimeout abc", "timeout 1 2", "nope 1", 'timeout "5', "timeout 5 # c", 'timeout 5"', "daemonize maybe",
    "loglevel bad", "maxmemory 1x", "unixsocketperm 999", "unixsocketperm 1000", "port 70000", "include", "rename-command GET",
    "sentinel monitor a b 1 2", "replicaof a", "replicaof a 99999", "dynamic-hz", "dynamic-hz 1 2 3", "save 1",
    "client-output-buffer-limit normal 1 2", "client-output-buffer-limit foo 1 2 3", "notify-keyspace-events Kq",
    "notify-keyspace-events", "dir /nonexistent", "dbfilename a/b", "appendfilename a/b", "appenddirname a/b", 'appendfilename ""',
    "requirepass a b", "oom-score-adj-values 1 2", "shutdown-on-sigint save nosave", "latency-tracking-info-percentiles 50 x",
    "proc-title-template {x}", "maxmemory-clients 200%", "maxclients 0", "databases 0", "supervised maybe", "aclfile",
    "io-threads 257", "enable-debug-command maybe", "syslog-facility local9",
]  # fmt: skip


def fatal(binary, conf, cwd, *args):
    done = subprocess.run([binary, str(conf), *args], capture_output=True, text=True, timeout=60, cwd=cwd)
    text = done.stdout + done.stderr
    return done.returncode, text[text.find("***") :]


def test_wrong_lines_are_told_as_valkey_tells_them(server_binary, tmp_path):
    peer = find_peer("valkey")
    if not peer:
        pytest.skip("no valkey-server")
    conf = tmp_path / "server.conf"
    for line in LINES:
        conf.write_text("# head\n%s\n" % line)
        assert fatal(server_binary, conf, tmp_path) == fatal(peer, conf, tmp_path), line


OPTIONS = [
    ("--timeout",), ("--timeout", "x"), ("--timeout", "--hz", "20"), ("--timeout=5",), ("--nope", "5"), ("--timeout", "5 --hz 20"),
    ("--timeout", "5", "6"), ("--timeout", "5", "--hz"), ("--timeout", "5", "stray", "--hz", "x"), ("--bind", "127.0.0.1", "--", "5"),
]  # fmt: skip


def test_wrong_options_are_told_as_valkey_tells_them(server_binary, tmp_path):
    peer = find_peer("valkey")
    if not peer:
        pytest.skip("no valkey-server")
    conf = tmp_path / "server.conf"
    conf.write_text("hz 20\n# c\n")
    for args in OPTIONS:
        assert fatal(server_binary, conf, tmp_path, *args) == fatal(peer, conf, tmp_path, *args), args


@pytest.mark.parametrize(
    "args, name, expected",
    [
        (["--save", "1", "1", "--save", "2 2"], "save", "1 1 2 2"),
        (["--save"], "save", ""),
        (["--save", "--timeout", "5"], "timeout", "5"),
        (["--save", '""'], "save", ""),
        (["--bind", "127.0.0.1", "-::1"], "bind", "127.0.0.1 -::1"),
        (["--bind", "127.0.0.1 -::1"], "bind", "127.0.0.1 -::1"),
        (["--timeout 5"], "timeout", "5"),
        (["--timeout", "5", "--timeout", "6"], "timeout", "6"),
        (["--proc-title-template", '{{a}} "b"'], "proc-title-template", '{{a}} "b"'),
        (["--shutdown-on-sigterm", "save", "now"], "shutdown-on-sigterm", "save now"),
        (["--oom-score-adj-values", "1 2 3"], "oom-score-adj-values", "1 2 3"),
    ],
)
def test_options(server_binary, base_config, kind, args, name, expected):
    """Without the settings of the harness in the way: they would add to save."""
    port = free_port()
    line = [server_binary, "--port", str(port)]
    for option, v in base_config.items():
        line += ["--" + option, str(v)]
    s = Server(server_binary, base_config, kind=kind)
    s.port = port
    s.command_line = lambda: line + args
    try:
        s._start_once()
        with s.raw() as c:
            assert value(c, name) == expected
    finally:
        s.stop()


STOCK = ["/etc/redis/redis.conf", "/etc/valkey/valkey.conf", os.environ.get("SHOAL_VALKEY_CONF", "")]


@pytest.mark.parametrize("path", STOCK)
def test_a_stock_file_loads(start_server, path, tmp_path):
    """Only where it would write is changed."""
    if not path or not os.path.exists(path) or not os.access(path, os.R_OK):
        pytest.skip("no %s" % (path or "SHOAL_VALKEY_CONF"))
    lines = []
    for line in open(path):
        word = line.split(" ", 1)[0]
        if word in ("dir", "logfile", "pidfile"):
            line = "%s %s\n" % (word, {"dir": tmp_path, "logfile": '""', "pidfile": tmp_path / "pid"}[word])
        lines.append(line)
    s = start_server(config_file="".join(lines), daemonize="no", pidfile="")
    with s.raw() as c:
        assert value(c, "bind") == "127.0.0.1 -::1"
        assert value(c, "stream-node-max-bytes") == "4096"


def test_includes_and_quotes(start_server, tmp_path):
    (tmp_path / "a.conf").write_text("timeout 1\nhz 30\n")
    (tmp_path / "b.conf").write_text("timeout 2\n")
    s = start_server(
        config_file='hz "\\x35"\ninclude %s/*.conf\ninclude %s/none*.conf\nREQUIREPASS "a \\"b\\" \\\\"\n' % (tmp_path, tmp_path),
        password='a "b" \\',
    )
    with s.raw() as c:
        assert c.do("AUTH", 'a "b" \\') == "OK"
        assert (value(c, "timeout"), value(c, "hz")) == ("2", "30")


def test_a_missing_include_is_fatal(server_binary, tmp_path):
    conf = tmp_path / "server.conf"
    conf.write_text("include /nonexistent/x.conf\n")
    done = subprocess.run([server_binary, str(conf)], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 1
    fatal_line = "Fatal error, can't open config file '/nonexistent/x.conf': No such file or directory"
    assert fatal_line in done.stdout + done.stderr


# ---- CONFIG REWRITE ------------------------------------------------------------------------------------------------------


CHANGES = {
    "timeout": "500", "hz": "20", "maxmemory": "100mb", "maxmemory-clients": "5%", "save": "1 2 3 4", "notify-keyspace-events": "KEA",
    "client-output-buffer-limit": "normal 1gb 2mb 3", "latency-tracking-info-percentiles": "50 99.5", "loglevel": "verbose",
    "availability-zone": 'x y\nrequirepass evil\n"', "ignore-warnings": "it's", "shutdown-on-sigterm": "now save",
    "slowlog-max-len": "7", "masterauth": "\\ \"'\t", "oom-score-adj-values": "1 2 3", "list-compress-depth": "3",
}  # fmt: skip


@pytest.mark.parametrize("everything", (False, True))
def test_rewrite_reads_back_the_same(start_server, server_binary, kind, tmp_path, everything):
    """Also what DEBUG has written, with a line for each directive that has its default."""
    s = start_server(enable_debug_command="yes", config_file="# my server\n\ntimeout 1\n# about save\nsave 9 9\nsave 8 8\nslowlog-max-len 128\n")
    with s.raw() as c:
        for name, v in CHANGES.items():
            assert c.do("CONFIG", "SET", name, v) == "OK", name
        assert c.do(*(["DEBUG", "CONFIG-REWRITE-FORCE-ALL"] if everything else ["CONFIG", "REWRITE"])) == "OK"
        before = values(c)
    text = open(os.path.join(s.dir, "server.conf")).read()
    assert text.startswith("# my server\n\ntimeout 500\n# about save\nsave 1 2 3 4\n")
    assert "# Generated by CONFIG REWRITE\n" in text
    assert all(("\n%s " % name in text) == everything for name in ("active-expire-effort", "tcp-keepalive", "stream-node-max-entries"))
    s.proc.terminate()
    s.wait()
    s.stopped_by_test = True
    again = Server(server_binary, {}, kind=kind)
    again.port = s.port
    again.command_line = lambda: [server_binary, os.path.join(s.dir, "server.conf")]
    try:
        again.start_again()
        with again.raw() as c:
            assert values(c) == before
            assert value(c, "requirepass") == ""
            assert c.do("CONFIG", "REWRITE") == "OK"
    finally:
        again.stop()
    assert open(os.path.join(s.dir, "server.conf")).read().rstrip("\n") == text.rstrip("\n")


@pytest.mark.shoal_only
def test_rewrite_leaves_alone_what_is_still_true(start_server):
    text = "# c\n  timeout   5 \n\n\nmaxmemory 5mb\nslowlog-max-len 3\nclient-output-buffer-limit slave 1 2 3\nrename-command LOLWUT x\n"
    s = start_server(config_file=text)
    with s.raw() as c:
        assert c.do("CONFIG", "REWRITE") == "OK"
    assert open(os.path.join(s.dir, "server.conf")).read().startswith(text)


def open_writer(fifo, files):
    """Once somebody reads it."""
    try:
        files.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as e:
        if e.errno != errno.ENXIO:
            raise
    return files


@pytest.mark.shoal_only
def test_a_rewrite_holds_nobody_up_and_another_waits_for_it(start_server):
    s = start_server(config_file="hz 15\n")
    path = os.path.join(s.dir, "server.conf")
    os.unlink(path)
    os.mkfifo(path)  # to read it takes till somebody writes
    with s.raw() as first, s.raw() as second, s.raw() as other:
        first.send(encode("CONFIG", "REWRITE"))
        second.send(encode("CONFIG", "REWRITE"))
        for i in range(64):
            assert other.do("SET", "key:%d" % i, i) == "OK"
        assert other.do("CONFIG", "SET", "hz", "20") == "OK"
        files = []
        assert wait_for(lambda: open_writer(path, files))
        os.write(files[0], b"# mine\nhz 15\n"), os.close(files[0])
        assert [first.read(), second.read()] == ["OK", "OK"]
        assert open(path).read().startswith("# mine\nhz 20\n")


def test_rewrites_at_once_with_changes(start_server):
    s = start_server(config_file="# mine\ntimeout 1\n")

    def one(i):
        with s.raw() as c:
            for n in range(20):
                assert c.do("CONFIG", "SET", "timeout", 1000 + 20 * i + n) == "OK"
                assert c.do("CONFIG", "REWRITE") == "OK"

    in_threads(4, one)
    with s.raw() as c:
        assert open(os.path.join(s.dir, "server.conf")).read().startswith("# mine\ntimeout %s\n" % value(c, "timeout"))


def test_rewrite_without_a_file(raw):
    assert raw.do("CONFIG", "REWRITE") == RespError("ERR The server is running without a config file")


def test_protected_names_open_by_enable_protected_configs(start_server, tmp_path):
    s = start_server(enable_protected_configs="local")
    with s.raw() as c:
        assert c.do("CONFIG", "SET", "dbfilename", "x.rdb") == "OK"
        assert c.do("CONFIG", "SET", "dir", str(tmp_path)) == "OK"
        assert value(c, "dir") == str(tmp_path)
        failed = "ERR CONFIG SET failed (possibly related to argument '%s') - %s"
        assert c.do("CONFIG", "SET", "dir", "/nonexistent") == RespError(failed % ("dir", "No such file or directory"))
        slash = "dbfilename can't be a path, just a filename"
        assert c.do("CONFIG", "SET", "dbfilename", "a/b") == RespError(failed % ("dbfilename", slash))


def test_a_hash_seed_gives_every_server_the_same_order(start_server):
    orders = []
    for seed in ("one", "one", "two"):
        s = start_server(hash_seed=seed)
        with s.raw() as c:
            for i in range(100):
                c.do("SET", "{tag}%d" % i, "v")
            orders.append(c.do("SCAN", "0", "COUNT", "1000")[1])
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == sorted(orders[2]) and orders[0] != orders[2]
