# SPDX-License-Identifier: BSD-3-Clause
"""What the log says of clients at the levels verbose and debug, compared with Valkey: run it with --server valkey-server."""

import os
import re
import socket
import struct

import pytest

from resp import RespError, encode
from server import Server, wait_for

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
