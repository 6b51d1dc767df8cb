# SPDX-License-Identifier: BSD-3-Clause
"""What stands between clients and servers: HAProxy, which asks servers how they are and sends clients to the one that may be written
to, and twemproxy, which spreads keys over several. Clients work through them, a server goes, and what came of the work is counted."""

import csv
import io
import itertools
import json
import os
import shutil
import socket
import subprocess
import threading

import pytest
from conftest import connect, wait_for
from resp import Raw, encode
from server import free_port

pytestmark = [pytest.mark.row_each, pytest.mark.slow, pytest.mark.plain_port]


def find(name):
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")


class Proxy:
    """A process in a folder, with sockets there for clients and for questions."""

    def __init__(self, folder):
        self.folder, self.process = folder, None

    def path(self, name):
        return str(self.folder / name)

    def start(self, *words):
        with open(self.path("log"), "w") as log:
            self.process = subprocess.Popen(words, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)

    def listens(self, name):
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(self.path(name)) == 0

    def log(self):
        with open(self.path("log"), errors="replace") as f:
            return f.read()

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def proxy(tmp_path):
    p = Proxy(tmp_path)
    yield p
    p.end()


def do_all(c, requests):
    """Sends all, then reads the answers."""
    c.send(b"".join(encode(*request) for request in requests))
    return c.read_some(len(requests))


def ask(family, address, text):
    with socket.socket(family) as s:
        s.settimeout(60)
        s.connect(address)
        s.sendall(text)
        return b"".join(iter(lambda: s.recv(65536), b"")).decode()


# ---- HAProxy -----------------------------------------------------------------------------------

# One that is not primary would leave a check waiting for more, if it were not asked to end the connection.
HAPROXY = """
global
    stats socket SOCKETS/stats
defaults
    mode tcp
    timeout connect 20s
    timeout client 100s
    timeout server 100s
    timeout check 20s
    default-server check inter 50ms fall 3 rise 1
listen any
    bind unix@SOCKETS/any
    option redis-check
    balance roundrobin
SERVERS
listen password
    bind unix@SOCKETS/password
    option tcp-check
    tcp-check connect
    tcp-check send AUTH\\ secret\\r\\n
    tcp-check expect string +OK
    tcp-check send PING\\r\\n
    tcp-check expect string +PONG
    server s2 127.0.0.1:CLOSED
listen primary
    bind unix@SOCKETS/primary
    option tcp-check
    tcp-check connect
    tcp-check send PING\\r\\n
    tcp-check expect string +PONG
    tcp-check send info\\ replication\\r\\nQUIT\\r\\n
    tcp-check expect string role:master
    tcp-check expect string +OK
    default-server on-marked-down shutdown-sessions
SERVERS
listen role
    bind unix@SOCKETS/role
    option tcp-check
    tcp-check connect
    tcp-check send-binary 2a310d0a24340d0a524f4c450d0a2a310d0a24340d0a515549540d0a
    tcp-check expect binary 2a330d0a24360d0a6d61737465720d0a
SERVERS
"""


class HAProxy(Proxy):
    def serve(self, servers, closed):
        lines = "".join("    server s%d 127.0.0.1:%d\n" % (i, s.port) for i, s in enumerate(servers))
        (self.folder / "haproxy.cfg").write_text(HAPROXY.replace("SERVERS\n", lines).replace("CLOSED", str(closed.port)).replace("SOCKETS", str(self.folder)))
        self.start(find("haproxy"), "-db", "-f", "haproxy.cfg")
        assert wait_for(lambda: self.listens("stats") and self.listens("role")), self.log()

    def up(self):
        """Which servers are up, of each list; `checks` is the last check of each."""
        text = ask(socket.AF_UNIX, self.path("stats"), b"show stat\n").lstrip("# ")
        rows = [row for row in csv.DictReader(io.StringIO(text)) if row["svname"][0] == "s"]
        self.checks = {(row["pxname"], row["svname"]): (row["check_status"].lstrip("* "), row["last_chk"]) for row in rows}
        names = ("any", "password", "primary", "role")
        return tuple({int(row["svname"][1:]) for row in rows if row["pxname"] == name and row["status"].startswith("UP")} for name in names)

    def wait_for_up(self, *lists):
        assert wait_for(lambda: self.up() == lists and all(status for status, _ in self.checks.values()), 60), (self.checks, self.log())


@pytest.fixture
def haproxy(tmp_path):
    if not find("haproxy"):
        pytest.skip("no haproxy")
    p = HAProxy(tmp_path)
    yield p
    p.end()


def test_haproxy_sends_clients_to_the_one_that_is_primary(haproxy, start_server):
    first = start_server()
    second = start_server(replicaof="127.0.0.1 %d" % first.port)
    closed = start_server(requirepass="secret")
    haproxy.serve([first, second], closed)
    haproxy.wait_for_up({0, 1}, {2}, {0}, {0})
    assert haproxy.checks["any", "s0"][0] == haproxy.checks["primary", "s0"][0] == "L7OK"
    with connect(second) as r:
        assert wait_for(lambda: r.info("replication")["master_link_status"] == "up")

    members = itertools.count()
    wrong = []

    def count():
        with Raw(haproxy.path("primary"), timeout=60) as c:
            for _ in range(200):
                if do_all(c, [("SET", "last", "x"), ("SADD", "members", next(members)), ("INCR", "counter")])[:2] != ["OK", 1]:
                    wrong.append(1)

    def work():
        threads = [threading.Thread(target=count) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(200)
        assert not wrong and not any(t.is_alive() for t in threads)

    work()
    for server in (first, second):
        with connect(server) as r:
            assert wait_for(lambda: (r.get("counter"), r.scard("members")) == ("800", 800))
    with Raw(haproxy.path("any")) as c:
        assert c.do("PING") == "PONG"

    # The places are changed; whoever was connected is cut off, and comes to the other.
    with connect(first) as one, connect(second) as two, Raw(haproxy.path("primary")) as c:
        assert c.do("PING") == "PONG"
        two.replicaof("NO", "ONE")
        haproxy.wait_for_up({0, 1}, {2}, {0, 1}, {0, 1})
        one.replicaof("127.0.0.1", second.port)
        haproxy.wait_for_up({0, 1}, {2}, {1}, {1})

        def is_cut():
            try:
                return c.do("PING") != "PONG"
            except (EOFError, OSError):
                return True

        assert wait_for(is_cut)
        work()
        assert wait_for(lambda: one.info("replication")["master_link_status"] == "up")
        for r in (one, two):
            assert wait_for(lambda: (r.get("counter"), r.scard("members")) == ("1600", 1600))

    first.stop()
    first.stopped_by_test = True
    haproxy.wait_for_up({1}, {2}, {1}, {1})
    assert int(second.info("stats")["total_error_replies"]) <= 10


# ---- twemproxy ---------------------------------------------------------------------------------


class Nutcracker(Proxy):
    def serve(self, servers, **options):
        lines = ["pool:", "  listen: " + self.path("clients"), "  hash: fnv1a_64", "  distribution: ketama", "  redis: true"]
        lines += ["  %s: %s" % each for each in options.items()]
        lines += ["  servers:"] + ["   - 127.0.0.1:%d:1 s%d" % (s.port, i) for i, s in enumerate(servers)]
        (self.folder / "nutcracker.yml").write_text("\n".join(lines) + "\n")
        for _ in range(5):  # it wants a port for its statistics, and ends when that is taken
            self.stats_port = free_port()
            self.start(find("nutcracker"), "-c", "nutcracker.yml", "-a", "127.0.0.1", "-s", str(self.stats_port))
            if wait_for(lambda: self.listens("clients") or self.process.poll() is not None) and self.process.poll() is None:
                return
        raise AssertionError(self.log())

    def stats(self):
        return json.loads(ask(socket.AF_INET, ("127.0.0.1", self.stats_port), b""))["pool"]


@pytest.fixture
def nutcracker(tmp_path):
    if not find("nutcracker"):
        pytest.skip("no nutcracker")
    p = Nutcracker(tmp_path)
    yield p
    p.end()


def test_twemproxy_spreads_keys_over_servers(nutcracker, start_server):
    servers = [start_server(requirepass="secret") for _ in range(3)]
    nutcracker.serve(servers, hash_tag='"{}"', preconnect="true", redis_auth="secret", server_connections=2)

    def client():
        c = Raw(nutcracker.path("clients"), timeout=60)
        assert c.do("AUTH", "secret") == "OK"
        return c

    with Raw(nutcracker.path("clients")) as c:
        assert str(c.do("GET", "a")).startswith("NOAUTH")
    wrong = []

    def work(number):
        with client() as c:
            for turn in range(20):
                names = ["own:%d:%d" % (number, i) for i in range(50)]
                if c.do("MSET", *sum(([name, "%d" % turn] for name in names), [])) != "OK":
                    wrong.append("MSET")
                requests = [("INCR", "shared:%d" % (i % 17)) for i in range(50)] + [("MGET", *names), ("GET", names[7])]
                answers = do_all(c, requests)
                if answers[50:] != [[b"%d" % turn] * 50, b"%d" % turn] or not all(isinstance(n, int) for n in answers[:50]):
                    wrong.append(answers)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(200)
    assert not wrong and not any(t.is_alive() for t in threads)
    with client() as c:
        assert sum(map(int, c.do("MGET", *["shared:%d" % i for i in range(17)]))) == 4 * 20 * 50
        sizes = [int(server.info("keyspace")["db0"].split("keys=")[1].split(",")[0]) for server in servers]
        assert sum(sizes) == 4 * 50 + 17 and min(sizes) > 0
        assert c.do("DEL", *["own:%d:%d" % (n, i) for n in range(4) for i in range(50)]) == 200

        big = os.urandom(3_000_000)
        assert c.do("SET", "big", big) == "OK" and c.do("GET", "big") == big
        move = "redis.call('RPUSH', KEYS[2], redis.call('LPOP', KEYS[1])) return redis.call('LLEN', KEYS[2])"
        # One by one: over two connections to a server the second may come first.
        assert c.do("RPUSH", "{jobs}:new", "a", "b") == 2
        assert c.do("EVAL", move, "2", "{jobs}:new", "{jobs}:done") == 1
        assert c.do("SINTERSTORE", "{s}3", "{s}1", "{s}2") == 0
        assert c.do("ZADD", "board", "1", "ada", "2", "bob") == 2 and c.do("ZRANGE", "board", "0", "-1") == [b"ada", b"bob"]
        assert str(c.do("INCR", "big")).startswith("ERR value is not an integer")
    stats = nutcracker.stats()
    assert all(stats["s%d" % i][name] == 0 for i in range(3) for name in ("server_eof", "server_err", "server_timedout"))


def test_twemproxy_goes_on_without_a_server_that_is_gone(nutcracker, start_server):
    servers = [start_server() for _ in range(3)]
    nutcracker.serve(servers, auto_eject_hosts="true", server_failure_limit=1, server_retry_timeout=500)
    names = ["key%d" % i for i in range(100)]

    def all_set():
        with Raw(nutcracker.path("clients"), timeout=60) as c:
            return do_all(c, [("SET", name, name) for name in names]) == ["OK"] * 100

    assert all_set()
    servers[1].kill()
    # Each time that it tries again, a request goes there.
    assert wait_for(all_set, 60)
    for server in (servers[0], servers[2]):
        assert server.raw().do("DBSIZE") > 0
    servers[1].start_again()
    assert wait_for(lambda: all_set() and servers[1].raw().do("DBSIZE") > 0, 60)
    assert all_set()  # before, it may have come back in the middle
    with Raw(nutcracker.path("clients"), timeout=60) as c:
        assert do_all(c, [("GET", name) for name in names]) == [name.encode() for name in names]
