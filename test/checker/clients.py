# SPDX-License-Identifier: BSD-3-Clause
"""clients: processes that run workloads against a server and write down what they did, before and after.

The line of a call is in the file before its bytes are sent: a process that is killed has told what may have happened. The
lines of answers may wait for the next write: an answer that is lost with its process makes an operation one whose outcome
is unknown, which is weaker but true. After a lost connection a client goes on under another number.

    clients.py raw|redis-py PORT LOG CLIENT LIFE CONNECTIONS SEED ENDS_NS FAULTS WORKLOAD,...
"""

import os
import random
import selectors
import socket
import struct
import sys
import threading
import time

import redis

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "integration")]

from pyclient import py_client  # noqa: E402
from resp import NULL_ARRAY, Incomplete, RespError, encode, parse  # noqa: E402
from workload import BadReply, Keys, Workload  # noqa: E402

STUCK_SECONDS = 60
RESET_EVERY = 400  # operations, on average, between resets by the client


class Log:
    """The file of one client."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self.end_at_whole_line()
        self.late = ""

    def end_at_whole_line(self):
        """SIGKILL may have cut the last write of an earlier life: of a call that was not sent yet, or of answers."""
        size = os.fstat(self.fd).st_size
        whole = os.pread(self.fd, size, 0).rfind(b"\n") + 1
        if whole < size:
            os.ftruncate(self.fd, whole)

    def call(self, process, requests):
        now = time.monotonic_ns()
        text = self.late + "".join("> %d %d %s %s\n" % (process, now, r.label, r.steps) for r in requests if r.label)
        self.late = ""
        if text:
            os.write(self.fd, text.encode())

    def answer(self, process, now, outcome, steps=""):
        self.late += "< %d %d %s %s\n" % (process, now, outcome, steps)

    def close(self):
        os.write(self.fd, self.late.encode())
        os.close(self.fd)


class Client:
    """One connection after the other; a subclass says how bytes travel."""

    def __init__(self, options, number):
        self.options = options
        value = (10 + number) * 10**8 + options.life * 10**6
        self.process = value
        self.log = Log("%s.%d" % (options.log, number))
        self.random = random.Random("%s/%d" % (options.seed, value))
        began = time.monotonic()
        self.workload = Workload(Keys(), options.workloads, "%s/%d" % (options.seed, value), value, lambda: began_clock(options, began))
        self.counts = {"ok": 0, "fail": 0, "unknown": 0}
        self.generator = None

    def finish(self, request, now, replies):
        """Notes the answer to one request; replies None: nil of EXEC. Returns its steps, or None if it did nothing."""
        error = next((r for r in replies or [] if isinstance(r, (RespError, redis.ResponseError))), None)
        if error is not None and request.gives_up and request.gives_up in str(error):
            replies = error = None
        if error is not None:
            raise BadReply("%s: %s" % (request.commands, error))
        if not request.label:
            return ""
        steps = request.parse(replies) if replies is not None else None
        outcome = "fail" if steps is None else "ok"
        self.log.answer(self.process, now, outcome, steps or "")
        self.counts[outcome] += 1
        return steps

    def lose(self, requests, outcome="unknown"):
        """The connection is gone with these unanswered."""
        now = time.monotonic_ns()
        for request in requests:
            if request.label:
                self.log.answer(self.process, now, outcome)
                self.counts[outcome] += 1
        self.process += 1
        self.generator = None

    def next_requests(self, results):
        """The next list of requests, given what came of the last."""
        if self.generator is not None:
            try:
                return self.generator.send(results)
            except StopIteration:
                pass
        self.generator = self.workload.next()
        return next(self.generator)

    def over(self):
        """Nothing more is sent: a WATCH stays without its EXEC."""
        return time.monotonic_ns() > self.options.ends_ns


def began_clock(options, began):
    return max(0.0, time.monotonic() - options.began_ns / 1e9) if options.began_ns else time.monotonic() - began


class RawClient(Client):
    """Sends what is to be sent at once and reads when there is something: many of them in one loop."""

    def __init__(self, options, number, selector):
        super().__init__(options, number)
        self.selector = selector
        self.sock = None
        self.closed = False
        self.start()

    def connect(self):
        self.sock = socket.create_connection(("127.0.0.1", self.options.port), timeout=STUCK_SECONDS)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.selector.register(self.sock, selectors.EVENT_READ, self)
        self.buf = bytearray()

    def reset(self):
        """Ends the connection the hard way."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.drop()

    def drop(self):
        self.selector.unregister(self.sock)
        self.sock.close()
        self.sock = None

    def start(self, results=None):
        """The next requests are on their way when this returns, or the client is done."""
        while True:
            if self.over():
                if self.sock is not None:
                    self.drop()
                self.closed = True
                return
            if self.sock is None:
                self.connect()
            self.requests = self.next_requests(results)
            results = None
            data = []
            for r in self.requests:
                commands = [("MULTI",)] + r.commands + [("EXEC",)] if r.multi else r.commands
                data += [encode(*c) for c in commands]
            self.want = len(data)
            self.replies = []
            self.sent = time.monotonic()
            if not self.fault(b"".join(data)):
                return

    def fault(self, data):
        """Sends, or something that goes wrong. True if the connection is gone."""
        kind = self.random.randrange(3 * RESET_EVERY) if self.options.faults else 9
        self.log.call(self.process, self.requests)
        try:
            if kind == 0 and len(self.requests) == 1:
                # Half a request: it cannot have happened.
                self.sock.sendall(data[: self.random.randrange(1, len(data))])
                self.reset()
                self.lose(self.requests, "fail")
                return True
            self.sock.sendall(data)
            if kind in (1, 2):
                self.reset()
                self.lose(self.requests)
                return True
        except OSError:
            self.drop()
            self.lose(self.requests)
            return True
        return False

    def readable(self):
        try:
            data = self.sock.recv(1 << 16)
        except OSError:
            data = b""
        now = time.monotonic_ns()
        if not data:
            self.drop()
            self.lose(self.requests[self.answered() :])
            self.start()
            return
        self.buf += data
        pos = 0
        try:
            while pos < len(self.buf):
                reply, pos = parse(self.buf, pos)
                self.replies.append(reply)
        except Incomplete:
            pass
        del self.buf[:pos]
        if len(self.replies) > self.want:
            raise BadReply("%d replies to %d commands" % (len(self.replies), self.want))
        if len(self.replies) == self.want:
            self.start([self.take(request, now) for request in self.requests])

    def answered(self):
        """Requests that were answered before the connection broke are noted as such: how many."""
        count, now = 0, time.monotonic_ns()
        for request in self.requests:
            need = len(request.commands) + 2 * request.multi
            if len(self.replies) < need:
                break
            self.take(request, now)
            count += 1
        return count

    def take(self, request, now):
        need = len(request.commands) + 2 * request.multi
        replies, self.replies = self.replies[:need], self.replies[need:]
        if not request.multi:
            return self.finish(request, now, replies)
        wrong = next((r for r, want in zip(replies[:-1], ["OK"] + ["QUEUED"] * len(request.commands)) if r != want), None)
        if wrong is not None:
            raise BadReply("%s %s: %r" % (request.label, request.commands, wrong))
        last = replies[-1]
        return self.finish(request, now, None if last is NULL_ARRAY else last if isinstance(last, list) else [last])


class PyClient(Client, threading.Thread):
    """redis-py as people use it, in a thread."""

    def __init__(self, options, number):
        Client.__init__(self, options, number)
        threading.Thread.__init__(self, daemon=True)
        self.error = None

    def run(self):
        try:
            while not self.over():
                self.connection()
            self.log.close()
        except Exception as e:  # noqa: BLE001 - told by the main thread
            self.error = e

    def connection(self):
        """Until the connection is lost or the time is over."""
        r = pipe = None
        results = None
        requests = []
        try:
            # Newer versions introduce themselves here, and may be killed while they do.
            r = py_client(self.options.port, single_connection_client=True, socket_timeout=STUCK_SECONDS)
            while not self.over():
                requests = self.next_requests(results)
                if requests[0].commands[0][0] == "WATCH":
                    pipe = r.pipeline(transaction=True)
                self.log.call(self.process, requests)
                replies = self.send(r, pipe, requests)
                now = time.monotonic_ns()
                pending, requests = requests, []
                results = [self.finish(q, now, p) for q, p in zip(pending, replies)]
                if pending[0].multi and pipe is not None:
                    pipe.reset()
                    pipe = None
        except redis.TimeoutError:
            raise BadReply("no reply within %d s to %s" % (STUCK_SECONDS, [q.commands for q in requests]))
        except (redis.ConnectionError, redis.WatchError, OSError):
            # redis-py says WatchError too when the connection breaks while it watches, whatever became of EXEC.
            self.lose(requests)
        finally:
            if r is not None:
                r.connection_pool.disconnect()
                r.close()

    def send(self, r, pipe, requests):
        """Replies per request; None for nil of EXEC."""
        if requests[0].multi:
            p = pipe if pipe is not None else r.pipeline(transaction=True)
            if pipe is not None:
                p.multi()
            for c in requests[0].commands:
                p.execute_command(*c)
            try:
                return [p.execute(raise_on_error=False)]
            except redis.WatchError as e:
                if "ConnectionError" in str(e):
                    raise
                return [None]
        if pipe is not None:
            # Not a pipeline yet: after WATCH redis-py runs each command at once.
            return [[pipe.watch(*q.commands[0][1:]) if q.commands[0][0] == "WATCH" else pipe.execute_command(*q.commands[0])] for q in requests]
        if len(requests) == 1:
            return [[r.execute_command(*requests[0].commands[0])]]
        p = r.pipeline(transaction=False)
        for q in requests:
            p.execute_command(*q.commands[0])
        return [[x] for x in p.execute(raise_on_error=False)]


def run_raw(options):
    selector = selectors.DefaultSelector()
    clients = [RawClient(options, options.first + i, selector) for i in range(options.connections)]
    while not all(c.closed for c in clients):
        for key, _ in selector.select(1):
            key.data.readable()
        late = next((c for c in clients if not c.closed and time.monotonic() - c.sent > STUCK_SECONDS), None)
        if late is not None:
            raise BadReply("no reply within %d s to %s" % (STUCK_SECONDS, [r.commands for r in late.requests]))
    for c in clients:
        c.log.close()
    return clients


def run_py(options):
    clients = [PyClient(options, options.first + i) for i in range(options.connections)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
        if c.error is not None:
            raise c.error
    return clients


class Options:
    def __init__(self, argv):
        self.port, self.log = int(argv[1]), argv[2]
        self.first, self.life, self.connections = int(argv[3]), int(argv[4]), int(argv[5])
        self.seed = argv[6]
        self.began_ns, self.ends_ns = int(argv[7]), int(argv[8])
        self.faults = argv[9] == "yes"
        self.workloads = argv[10].split(",")


def main():
    options = Options(sys.argv[1:])
    try:
        (run_raw if sys.argv[1] == "raw" else run_py)(options)
    except BadReply as e:
        print("client %d: %s" % (options.first, e), flush=True)
        sys.exit(3)


if __name__ == "__main__":
    main()
