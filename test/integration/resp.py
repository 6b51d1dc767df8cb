# SPDX-License-Identifier: BSD-3-Clause
"""resp: a small RESP2/RESP3 codec for tests, and a raw connection on top of it.

Client libraries hide what a server really sent: they turn types into each other, swallow push messages and reconnect. Tests
of the protocol and the differential tester want the bytes, so this parser keeps every type apart and knows where each reply
begins and ends.
"""

import select
import socket
import ssl
import threading
import time


class RespError(Exception):
    """An error reply (`-` or `!`); compares equal to its text."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text

    def __eq__(self, other):
        return self.text == (other.text if isinstance(other, RespError) else other)

    def __hash__(self):
        return hash(self.text)

    def __repr__(self):
        return "RespError(%r)" % self.text

    def startswith(self, prefix):
        return self.text.startswith(prefix)


class Simple(str):
    """A `+` line."""

    def __repr__(self):
        return "Simple(%s)" % str.__repr__(self)


class Set(list):
    """A RESP3 set, in the order it was sent."""


class Push(list):
    """A RESP3 push message."""


class Map(list):
    """A RESP3 map: a list of (key, value) pairs, in the order it was sent."""

    def get(self, key, default=None):
        for k, v in self:
            if k == key:
                return v
        return default

    def keys(self):
        return [k for k, _ in self]


class Verbatim(bytes):
    """A RESP3 verbatim string, format prefix included (`txt:...`)."""


class BigNumber(int):
    """A RESP3 big number."""


class NullArray:
    """RESP2's `*-1`."""

    def __repr__(self):
        return "NULL_ARRAY"


NULL_ARRAY = NullArray()


class Incomplete(Exception):
    pass


class ProtocolError(Exception):
    """The server sent bytes that are not RESP."""


def encode(*args):
    """One request as an array of bulk strings."""
    out = [b"*%d\r\n" % len(args)]
    for arg in args:
        if isinstance(arg, str):
            arg = arg.encode("utf-8", "surrogateescape")
        elif isinstance(arg, (int, float)):
            arg = repr(arg).encode()
        out.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
    return b"".join(out)


def _line(buf, pos):
    end = buf.find(b"\r\n", pos)
    if end < 0:
        raise Incomplete()
    return bytes(buf[pos:end]), end + 2


def parse(buf, pos=0):
    """Parse one reply at `pos`; returns (value, position after it). Raises Incomplete when bytes are missing."""
    if pos >= len(buf):
        raise Incomplete()
    kind = chr(buf[pos])
    line, pos = _line(buf, pos + 1)
    if kind == "+":
        return Simple(line.decode("utf-8", "surrogateescape")), pos
    if kind == "-":
        return RespError(line.decode("utf-8", "surrogateescape")), pos
    if kind == ":":
        return int(line), pos
    if kind == ",":
        return float(line), pos
    if kind == "#":
        if line not in (b"t", b"f"):
            raise ProtocolError("bad boolean %r" % line)
        return line == b"t", pos
    if kind == "_":
        if line:
            raise ProtocolError("bad null %r" % line)
        return None, pos
    if kind == "(":
        return BigNumber(line), pos
    if kind in "$=!":
        length = int(line)
        if length == -1:
            return None, pos
        if length < 0:
            raise ProtocolError("bad length %r" % line)
        if len(buf) < pos + length + 2:
            raise Incomplete()
        body = bytes(buf[pos : pos + length])
        if buf[pos + length : pos + length + 2] != b"\r\n":
            raise ProtocolError("bulk of %d bytes is not ended by CRLF" % length)
        pos += length + 2
        if kind == "=":
            return Verbatim(body), pos
        if kind == "!":
            return RespError(body.decode("utf-8", "surrogateescape")), pos
        return body, pos
    if kind in "*~>":
        length = int(line)
        if length == -1:
            return NULL_ARRAY, pos
        out = {"*": list, "~": Set, ">": Push}[kind]()
        for _ in range(length):
            value, pos = parse(buf, pos)
            out.append(value)
        return out, pos
    if kind == "%":
        out = Map()
        for _ in range(int(line)):
            key, pos = parse(buf, pos)
            value, pos = parse(buf, pos)
            out.append((key, value))
        return out, pos
    if kind == "|":
        for _ in range(2 * int(line)):
            _, pos = parse(buf, pos)
        return parse(buf, pos)
    raise ProtocolError("reply starts with %r" % kind)


class Raw:
    """A raw connection: what is sent and what comes back, byte for byte."""

    tls = None  # an ssl.SSLContext: all connections but those to unix sockets are within TLS (pytest --tls)

    def __init__(self, address, timeout=30.0, rcvbuf=None, source=None):
        family = socket.AF_UNIX
        if not isinstance(address, str):
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(timeout)
        if source:  # another address of this machine
            self.sock.bind((source, 0))
        self.sock.connect(address)
        if family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                try:
                    self.sock = self.tls.wrap_socket(self.sock, server_hostname="localhost")
                except BaseException:
                    self.sock.close()
                    raise
        self.buf = bytearray()
        self.pos = 0
        self.tls_lock = threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        if isinstance(data, str):
            data = data.encode()
        if isinstance(self.sock, ssl.SSLSocket):
            self.send_in_tls(memoryview(data))
        else:
            self.sock.sendall(data)

    def in_tls(self, step, *args):
        """A step of TLS that does not wait, or None: it would have to. One at a time: a test may send in one thread and receive in another,
        which Python's ssl does not bear."""
        with self.tls_lock:
            timeout = self.sock.gettimeout()
            self.sock.settimeout(0)
            try:
                return step(*args)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return None
            finally:
                self.sock.settimeout(timeout)

    def wait_in_tls(self, writes):
        timeout = self.sock.gettimeout()
        poll = select.poll()  # not select: there may be thousands of descriptors
        poll.register(self.sock, select.POLLOUT if writes else select.POLLIN)
        if not poll.poll(timeout * 1000 if timeout is not None else None):
            raise TimeoutError("timed out")

    def send_in_tls(self, data):
        while len(data) > 0:
            sent = self.in_tls(self.sock.send, data)
            if sent is None:
                self.wait_in_tls(True)
            else:
                data = data[sent:]

    def receive(self, most):
        if not isinstance(self.sock, ssl.SSLSocket):
            return self.sock.recv(most)
        while True:
            data = self.in_tls(self.sock.recv, most)
            if data is not None:
                return data
            self.wait_in_tls(False)

    def fill(self):
        """Read some more bytes; False at end of stream."""
        if self.pos > 1 << 20:
            del self.buf[: self.pos]
            self.pos = 0
        data = self.receive(1 << 16)
        self.buf += data
        return bool(data)

    def has_more(self):
        """Whether something is there to read."""
        return bool(self.tls and self.sock.pending()) or bool(select.select([self.sock], [], [], 0)[0])

    def read_raw(self):
        """One reply as (value, raw bytes). Raises EOFError when the server closed."""
        while True:
            try:
                value, end = parse(self.buf, self.pos)
            except Incomplete:
                wanted = 2 * (len(self.buf) - self.pos)
                if not self.fill():
                    raise EOFError("closed by the server, unread: %r" % bytes(self.buf[self.pos :][:200]))
                # A long reply is parsed again from its start: not for each piece of it that is there already.
                while len(self.buf) - self.pos < wanted and self.has_more() and self.fill():
                    pass
                continue
            raw = bytes(self.buf[self.pos : end])
            self.pos = end
            return value, raw

    def read(self):
        return self.read_raw()[0]

    def read_some(self, count):
        return [self.read() for _ in range(count)]

    def do(self, *args):
        """Send one command, return its reply (errors are returned, not raised)."""
        self.send(encode(*args))
        return self.read()

    def inline(self, line):
        self.send(line + "\r\n")
        return self.read()

    def read_all(self, seconds=30.0):
        """All bytes until the server closes the connection, or fails when it does not in time."""
        deadline = time.monotonic() + seconds
        self.sock.settimeout(seconds)
        try:
            while self.fill():
                if time.monotonic() > deadline:
                    raise TimeoutError("still open after %g s" % seconds)
        except ConnectionResetError:
            pass
        return bytes(self.buf[self.pos :])

    def is_closed(self, seconds=30.0):
        """True if the server ends the connection within that time."""
        try:
            self.read_all(seconds)
            return True
        except (socket.timeout, TimeoutError):
            return False

    def is_silent(self, seconds=0.2):
        """True if nothing arrives within that time."""
        if self.pos < len(self.buf):
            return False
        old = self.sock.gettimeout()
        self.sock.settimeout(seconds)
        try:
            return not self.fill()
        except socket.timeout:
            return True
        finally:
            self.sock.settimeout(old)
