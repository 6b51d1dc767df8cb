# SPDX-License-Identifier: BSD-3-Clause
"""What the log says of clients at the levels verbose and debug, compared with Valkey: run it with --server valkey-server."""

import json
import os
import re
import socket
import struct
import time

import pytest

import certs
from resp import RespError, encode
from server import Server, free_port, wait_for
from test_crash import start_mortal  # noqa: F401

pytestmark = pytest.mark.row_each


@pytest.fixture(scope="module")
def talkative(server_binary, base_config, kind):
    path = os.path.join("/tmp", "shoal-log-%d" % os.getpid())
    s = Server(server_binary, dict(base_config, **{"loglevel": "debug", "unixsocket": path}), kind=kind)
    s.start()
    yield s
    s.stop()


class Since:
    """The lines that a log got since."""

    def __init__(self, server):
        self.server = server
        self.start = len(server.log())

    def text(self):
        return self.server.log()[self.start :]

    def has(self, pattern):
        assert wait_for(lambda: re.search(pattern, self.text(), re.M)), "no %r in\n%s" % (pattern, self.text())
        return re.search(pattern, self.text(), re.M)


INFO = r"id=\d+ addr=%s laddr=127\.0\.0\.1:\d+ fd=\d+ name=\*redacted\* age=\d+ idle=\d+ flags=N .* user=\*redacted\* redir=-1 .*"


def dial(server):
    s = socket.create_connection(("127.0.0.1", server.port))
    return s, re.escape("%s:%d" % s.getsockname())


def test_who_comes_and_goes(talkative, kind):
    if kind == "redis":
        pytest.skip("it shows names")
    since = Since(talkative)
    s, own = dial(talkative)
    since.has(r" - Accepted %s$" % own)
    s.sendall(encode("CLIENT", "SETNAME", "bob"))
    assert s.recv(10) == b"+OK\r\n"
    s.close()
    line = since.has(r" - Client closed connection " + INFO % own).group(0)
    assert "cmd=client|setname" in line and "bob" not in line and line.endswith("tot-cmds=1")


def test_who_comes_by_the_unix_socket(talkative):
    since = Since(talkative)
    path = talkative.config["unixsocket"]
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        since.has(r" - Accepted connection to %s$" % re.escape(path))
    since.has(r" - Client closed connection id=.*%s:0" % re.escape(path))


def test_who_breaks_off(talkative):
    since = Since(talkative)
    s, own = dial(talkative)
    s.sendall(b"PING\r\n")
    assert s.recv(10) == b"+PONG\r\n"
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
    since.has(r" - Reading from client: Connection reset by peer$")
    assert "Client closed connection" not in since.text()


def test_who_is_told_to_go_is_not_said_to_have_gone(talkative):
    since = Since(talkative)
    for words in (("QUIT",), ("CLIENT", "KILL", "ID", "0")):
        s, own = dial(talkative)
        if words[0] == "CLIENT":
            s.sendall(encode("CLIENT", "ID"))
            number = s.recv(20)[1:-2].decode()
            with talkative.raw() as c:
                assert c.do("CLIENT", "KILL", "ID", number, "SKIPME", "yes") == 1
        else:
            s.sendall(encode(*words))
        while s.recv(100):
            pass
        s.close()
    s, own = dial(talkative)
    s.close()
    since.has("Client closed connection .* addr=%s " % own)
    assert len(re.findall("Client closed connection", since.text())) <= 2  # that one, and who killed


@pytest.mark.parametrize("sent, reason, dump", (
    (b'*1\r\nfoo\x01\r\nabc"def', "expected.*\\$.*", "'foo...abc\"def'"),
    (b"*1\r\n$-5\r\n" + b"x" * 300, "invalid bulk length", "'$-5.." + "x" * 59 + "' (... more 177 bytes ...) '" + "x" * 64 + "'"),
    (b"*2\r\n$3\r\nGET\r\n$x\r\n", "invalid bulk length", "'$x..'"),
    (b"*99999999999\r\n", "invalid m(ulti)?bulk (length|count)", "'*99999999999..'"),
    (b'SET "a\r\n', "unbalanced quotes in (inline )?request", "'SET \"a..'"),
    (b'PING\r\nSET "a\r\n', "unbalanced quotes in (inline )?request", "'SET \"a..'"),
))  # fmt: skip
@pytest.mark.parametrize("hide", ("yes", "no"))
def test_who_breaks_the_protocol(talkative, kind, sent, reason, dump, hide):
    if kind == "redis":
        pytest.skip("it hides nothing")
    with talkative.raw() as c:
        assert c.do("CONFIG", "SET", "hide-user-data-from-log", hide) == "OK"
    since = Since(talkative)
    s, own = dial(talkative)
    s.sendall(sent)
    assert s.recv(10)
    line = since.has(r" - Protocol error \(%s\) from client: id=\d+ addr=%s .*\. Query buffer: (.*)$" % (reason, own))
    assert line.group(0).endswith("Query buffer: " + ("*redacted*" if hide == "yes" else dump))
    assert (" name=*redacted* " in line.group(0)) == (hide == "yes")
    s.close()


@pytest.mark.slow
def test_who_is_idle(start_server):
    s = start_server(loglevel="verbose", timeout="1")
    since = Since(s)
    idle, own = dial(s)
    since.has(r" - Closing idle client")
    assert idle.recv(10) == b""


def test_who_takes_too_much(start_server, kind):
    if kind == "redis":
        pytest.skip("it shows names")
    s = start_server(client_query_buffer_limit="1mb", client_output_buffer_limit="normal 100000 0 0")
    since = Since(s)
    greedy, own = dial(s)
    try:
        greedy.sendall(b"*2\r\n$3\r\nGET\r\n$2000000\r\n" + b"x" * 1900000)
    except OSError:
        pass
    since.has(r" # Closing client that reached max query buffer length: " + INFO % own)
    with s.raw() as c:
        c.do("SET", "k", "v" * 90000)
    greedy, own = dial(s)
    greedy.sendall(b"GET k\r\n" * 1000)
    since.has(r" # Client " + INFO % own + r" (closed|scheduled to be closed ASAP) for overcoming of output buffer limits\.")


@pytest.mark.slow
def test_how_much_there_is(talkative):
    since = Since(talkative)
    with talkative.raw() as c:
        c.do("SET", "a", "1")
        c.do("SET", "b", "1", "EX", "1000")
        assert wait_for(lambda: re.search(r" - DB 0: \d keys \([01] volatile\)", since.text()), 30)
        c.do("FLUSHALL")
    since.has(r" \. .*clients connected")


def test_rewrite(start_server):
    s = start_server(config_file="hz 15\n", loglevel="debug")
    with s.raw() as c:
        assert c.do("CONFIG", "REWRITE") == "OK"
    text = s.log()
    assert re.search(r" \* CONFIG REWRITE executed with success\.$", text, re.M)
    assert re.search(r" \. Rewritten config file \(%s\) successfully$" % re.escape(os.path.join(s.dir, "server.conf")), text, re.M)


def test_rewrite_that_fails(start_server):
    s = start_server(config_file="hz 15\n")
    os.unlink(os.path.join(s.dir, "server.conf"))
    os.mkdir(os.path.join(s.dir, "server.conf"))
    with s.raw() as c:
        assert "Rewriting config file" in str(c.do("CONFIG", "REWRITE"))
    assert re.search(r" # CONFIG REWRITE failed: (?!ERR)", s.log())


def test_a_rewrite_without_a_file_is_no_line(talkative):
    since = Since(talkative)
    with talkative.raw() as c:
        assert c.do("CONFIG", "REWRITE") == RespError("ERR The server is running without a config file")
    since.has("Client closed connection")
    assert "REWRITE" not in since.text()


def test_notice_says_none_of_it(start_server):
    s = start_server(loglevel="notice")
    since = Since(s)
    for sent in (b"PING\r\n", b"*1\r\nfoo\r\n"):
        c, own = dial(s)
        c.sendall(sent)
        assert c.recv(10)
        c.close()
    with s.raw() as c:
        c.do("DEBUG", "LOG", "end")
    since.has("end")
    assert len(since.text().splitlines()) == 1


# ---- What is written is a line, and one that its reader can read ---------------------------------------------------------

HOSTILE = b'q"uo\'te\\back\nline\r\x1b[31mred\x1b]0;t\x07 \x00nul \xff\xfe\xc3( caf\xc3\xa9 \xc2\x9b31m \xed\xa0\x80 \xf0\x9f\x90\x9f \xe2\x80\xa8 end=" level=warning'
WORD = HOSTILE.replace(b" ", b"_").replace(b"\x00", b"").replace(b"\n", b"").replace(b"\r", b"")
FORMS = {
    "json": re.compile(r"\{.*\}"),
    "logfmt": re.compile(r'pid=(\d+) role=(\w+) timestamp="([^"\\]*)" level=(\w+) message=("(?:[^"\\]|\\.)*")'),
}


def read_line(form, line):
    """Its message. Whoever wrote it, each line is text of UTF-8 without anything that a terminal obeys."""
    text = line.decode("utf-8", "strict")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", text), line
    match = FORMS[form].fullmatch(text)
    assert match, line
    if form == "json":
        fields = json.loads(text)
        assert list(fields) == ["pid", "role", "timestamp", "level", "message"], line
        assert isinstance(fields["pid"], int) and isinstance(fields["message"], str), line
        return fields["message"]
    return json.loads(match.group(5))


@pytest.mark.shoal_only
@pytest.mark.parametrize("form", ("json", "logfmt"))
def test_hostile_content_breaks_no_line(start_mortal, form, tmp_path):
    folder = os.path.join(os.fsencode(tmp_path), b"f" + WORD)
    os.mkdir(folder)
    s = start_mortal(**{
        "log-format": form, "loglevel": "debug", "hide-user-data-from-log": "no", "enable-debug-command": "yes", "enable-protected-configs": "yes",
    })  # fmt: skip
    with s.raw() as c, s.raw() as other:
        assert c.do("DEBUG", "LOG", HOSTILE) == "OK"
        assert c.do("DEBUG", "LOG", HOSTILE * 120) == "OK"
        assert c.do("EVAL", "redis.log(redis.LOG_WARNING, ARGV[1]) return 1", "0", b"by script " + HOSTILE) == 1
        user = b"u" + WORD
        assert c.do("ACL", "SETUSER", user, "on", ">p", "~*", "+@all") == "OK"
        assert other.do("AUTH", user, "p") == "OK"
        assert other.do("CLIENT", "SETNAME", b'na"me\\x') == "OK"
        assert other.do("SET", HOSTILE, HOSTILE) == "OK"
        other.send(b"*1\r\n$1\r\n" + b"x\r\n*1\r\n" + HOSTILE)
        assert b"Protocol error" in other.read_all()
        c.do("ACL", "LOAD"), c.do(HOSTILE), c.do("GET", HOSTILE, "x"), c.do("CONFIG", "SET", HOSTILE, HOSTILE)
        c.do("CONFIG", "SET", "dir", folder)
        c.do("CONFIG", "SET", "dbfilename", b"d" + WORD)
        c.do("SAVE"), c.do("CONFIG", "SET", "save-format", "rdb"), c.do("SAVE")
        c.do("REPLICAOF", b"ho" + HOSTILE, "1"), c.do("REPLICAOF", "NO", "ONE")
        c.do("CONFIG", "SET", "tls-cert-file", b"/none/" + WORD, "tls-port", "1")
        assert c.do("PING") == "PONG"
    with s.raw() as c:
        c.send(encode("DEBUG", "PANIC", HOSTILE))
        s.proc.wait(60)
    s.stopped_by_test = True
    lines = []
    for place in (os.fsencode(s.dir), folder):  # it follows CONFIG SET dir
        with open(os.path.join(place, b"last.log"), "rb") as f:
            lines += f.read().split(b"\n")
        assert lines.pop() == b""
    messages = [read_line(form, line) for line in lines]
    text = HOSTILE.split(b"\x00")[0].decode()
    assert any(m.startswith("DEBUG LOG: " + text[:20]) for m in messages)
    assert any(m.startswith("by script " + text) for m in messages)
    assert any("Protocol error" in m and 'name=na"me' in m for m in messages)
    assert any("Command in hand on shard" in m for m in messages) and messages[-1] == "The report ends here."


def test_json_writes_control_characters_as_valkey_does(start_mortal):
    s = start_mortal(**{"log-format": "json", "enable-debug-command": "yes"})
    with s.raw() as c:
        assert c.do("DEBUG", "LOG", b"a\bb\tc\nd\x0be\x0cf\rg") == "OK"
    assert r"DEBUG LOG: a\bb\tc\nd\u000be\ff\rg" in s.log()


# ---- Strangers do not fill the disk --------------------------------------------------------------------------------------

STRANGERS = 5000
LINES, EVERY_S = {"HTTP": 1, "TLS": 32, "protocol": 32}, {"HTTP": 60, "TLS": 10, "protocol": 10}  # server/observe/flood.c


def come_and_go(port, sent):
    """5,000 connections, some hundred at a time, each of which is closed by the server."""
    for _ in range(STRANGERS // 250):
        there = [socket.create_connection(("127.0.0.1", port)) for _ in range(250)]
        for one in there:
            one.sendall(sent)
        for one in there:
            try:
                while one.recv(4096):
                    pass
            except ConnectionError:
                pass
            one.close()


@pytest.mark.shoal_only
@pytest.mark.plain_port
@pytest.mark.row_each
@pytest.mark.slow
@pytest.mark.parametrize(
    "what, sent, line, about",
    (
        ("HTTP", b"POST / HTTP/1.1\r\n\r\n", "Possible SECURITY ATTACK detected", "connections that sent HTTP"),
        ("TLS", b"GET / HTTP/1.1\r\n\r\n", "Error accepting a client connection", "failed TLS handshakes"),
        ("protocol", b"*1\r\n$x\r\n", "Protocol error", "protocol errors"),
    ),
)
def test_strangers_do_not_fill_the_log(start_server, shards, what, sent, line, about):
    """Each thread has so many lines of a kind in some seconds, and says how many it has left out. None is lost, at the end either."""
    tls_port = free_port()
    level = "verbose" if what == "protocol" else "notice"
    s = start_server(config={**certs.server_config(), "tls-port": tls_port, "requirepass": "secret", "loglevel": level}, password="secret")
    began = time.monotonic()
    come_and_go(tls_port if what == "TLS" else s.port, sent)
    s.proc.terminate()
    s.wait()
    s.stopped_by_test = True
    spans = (time.monotonic() - began) // EVERY_S[what] + 2
    log = s.log()
    logged = log.count(line)
    left_out = [int(n) for n in re.findall(r"Left out of the log: (\d+) more lines about %s, in \d+ s\." % re.escape(about), log)]
    assert 0 < logged <= LINES[what] * shards * spans
    assert len(left_out) <= shards * spans
    assert logged + sum(left_out) == STRANGERS
    if level == "notice":
        assert len(log) < 200 * (logged + len(left_out) + 200), "something else fills it"


@pytest.mark.shoal_only
@pytest.mark.row_each
def test_who_finds_no_place_leaves_no_line(start_server):
    """maxclients is counted (rejected_connections), not told of one by one."""
    s = start_server(maxclients="20")
    with s.raw() as c:
        assert wait_for(lambda: "Ready to accept connections" in s.log())
        before = len(s.log())
        kept = [s.raw() for _ in range(10)]
        assert all(one.do("PING") == "PONG" for one in kept)
        while int(s.info_of(c, "stats")["rejected_connections"]) < 1000:
            some = [socket.create_connection(("127.0.0.1", s.port)) for _ in range(50)]
            for one in some:
                one.close()
        assert len(s.log()) == before
