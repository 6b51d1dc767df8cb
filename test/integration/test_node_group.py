# SPDX-License-Identifier: BSD-3-Clause
"""cluster-node-per-shard: one start makes several nodes of a cluster, each with one shard, and ports that are counted up.

What they are for a user: a cluster on one machine from one file and one service. What ends them, and who is started again.
"""

import os
import random
import re
import signal
import socket
import subprocess

import pytest
from cluster_nodes import BUS, find_cli
from resp import Raw, RespError
from server import Server, ServerFailed, own_share, wait_for

NODES = 3

pytestmark = [pytest.mark.row_once, pytest.mark.plain_port]


# Below those that other tests take (server.py), with a block for each run of tests, so that nobody takes one whose node is down.
PORTS, BLOCK = 20000, 100


def free_run(count, part=0):
    """The first of `count` ports that are free with their buses; those of the two parts never meet."""
    block = PORTS + own_share() * BLOCK + part * BLOCK // 2
    for _ in range(200):
        first = block + random.randrange(BLOCK // 2 - count)
        try:
            for p in range(first, first + count):
                for q in (p, p + BUS):
                    with socket.socket() as s:
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        s.bind(("127.0.0.1", q))
        except OSError:
            continue
        return first
    raise RuntimeError("no run of ports is free")


class Group:
    def __init__(self, binary, count=NODES, **options):
        self.count, self.config_file = count, options.get("config_file")
        config = {"port": free_run(count), "shards": count, "cluster-enabled": "yes", "cluster-node-per-shard": "yes", "cluster-node-timeout": 2000}
        config.update({name.replace("_", "-"): value for name, value in options.items() if name not in ("config_file", "env")})
        config = {name: value for name, value in config.items() if value is not None}
        self.server = Server(binary, config, config_file=options.get("config_file"))
        self.server.env = options.get("env", {})

    def __enter__(self):
        for attempt in range(5):  # the kernel takes the rings of another test's server apart in its own time
            try:
                self.server.start()
                break
            except ServerFailed as e:
                if "ddress already in use" not in str(e) or self.config_file or attempt == 4:
                    raise
                self.server.config["port"] = free_run(self.count)
        assert wait_for(lambda: "All %d nodes serve" % self.count in self.server.log()), self.server.log()
        return self

    def __exit__(self, *exc):
        self.server.stop()

    @property
    def ports(self):
        return range(self.server.port, self.server.port + self.count)

    def node(self, index):
        return Raw(("127.0.0.1", self.ports[index]))

    def ask(self, index, *words):
        with self.node(index) as c:
            return c.do(*words)

    def pid(self, index):
        return int(re.search(r"process_id:(\d+)", self.ask(index, "INFO", "server").decode())[1])

    def create(self):
        cli = find_cli()
        if not cli:
            pytest.skip("no valkey-cli is installed")
        nodes = ["127.0.0.1:%d" % p for p in self.ports]
        done = subprocess.run([cli, "--cluster", "create", *nodes, "--cluster-yes"], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        assert wait_for(lambda: all(b"cluster_state:ok" in self.ask(i, "CLUSTER", "INFO") for i in range(self.count)))

    def owner(self, slot):
        for first, last, (_, port, *_rest), *_ in self.ask(0, "CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return port - self.server.port
        raise AssertionError("nobody has slot %d" % slot)

    def end(self):
        """What the parent exits with, which ends by itself or was told to."""
        self.server.stopped_by_test = True
        return self.server.wait()

    def put(self, key, value):
        index = self.owner(self.ask(0, "CLUSTER", "KEYSLOT", key))
        assert self.ask(index, "SET", key, value) == "OK"
        return index


def answers(port):
    try:
        with Raw(("127.0.0.1", port), timeout=5) as c:
            return c.do("PING") == "PONG"
    except (OSError, EOFError):
        return False


def is_gone(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def config(group, index, name):
    return group.ask(index, "CONFIG", "GET", name)[1].decode()


@pytest.fixture
def binary(request):
    return request.config.getoption("--server")


def test_each_node_has_what_is_its_own(binary):
    with Group(binary, maxmemory="300mb", maxmemory_clients="30%", unixsocket="s.sock", metrics_port=free_run(NODES, part=1), pidfile="group.pid") as g:
        for i in range(NODES):
            assert config(g, i, "port") == str(g.ports[i])
            assert config(g, i, "shards") == "1"
            assert config(g, i, "maxmemory") == str(100 << 20)
            assert config(g, i, "maxmemory-clients") == "30%"
            assert config(g, i, "cluster-config-file") == "nodes-%d.conf" % i
            assert config(g, i, "dbfilename") == "dump-%d.rdb" % i
            assert config(g, i, "appenddirname") == "appendonlydir-%d" % i
            assert config(g, i, "metrics-port") == str(int(g.server.config["metrics-port"]) + i)
            assert os.path.exists(os.path.join(g.server.dir, "s-%d.sock" % i))
            # It is written beside what the thread of the cluster does.
            assert wait_for(lambda i=i: os.path.exists(os.path.join(g.server.dir, "nodes-%d.conf" % i)))
        assert len({g.ask(i, "CLUSTER", "MYID") for i in range(NODES)}) == NODES
        assert len({g.pid(i) for i in range(NODES)} | {g.server.pid}) == NODES + 1
        with open(os.path.join(g.server.dir, "group.pid")) as f:
            assert int(f.read()) == g.server.pid
    assert not os.path.exists(os.path.join(g.server.dir, "group.pid"))


def test_a_cluster_of_one_start_keeps_its_keys_over_the_next(binary):
    with Group(binary, appendonly="yes") as g:
        g.create()
        where = {k: g.put(k, "v-" + k) for k in ("a", "b", "c", "d", "e", "f")}
        assert len(set(where.values())) > 1
        ids = [g.ask(i, "CLUSTER", "MYID") for i in range(NODES)]
        g.server.proc.send_signal(signal.SIGTERM)
        assert g.server.wait() == 0
        g.server.start_again()
        assert wait_for(lambda: all(answers(p) for p in g.ports))
        assert [g.ask(i, "CLUSTER", "MYID") for i in range(NODES)] == ids
        assert wait_for(lambda: all(b"cluster_state:ok" in g.ask(i, "CLUSTER", "INFO") for i in range(NODES)))
        for key, index in where.items():
            assert g.ask(index, "GET", key) == ("v-" + key).encode()


def test_who_is_killed_is_started_again_and_the_others_go_on(binary):
    with Group(binary, appendonly="yes", appendfsync="always") as g:
        g.create()
        index = g.put("a", "kept")
        others = [i for i in range(NODES) if i != index]
        pids = [g.pid(i) for i in range(NODES)]
        name = g.ask(index, "CLUSTER", "MYID")
        os.kill(pids[index], signal.SIGKILL)
        assert wait_for(lambda: "Node %d (pid %d) was ended by signal 9" % (index, pids[index]) in g.server.log())
        assert wait_for(lambda: answers(g.ports[index]))
        assert wait_for(lambda: g.ask(index, "GET", "a") == b"kept")
        assert g.ask(index, "CLUSTER", "MYID") == name
        assert [g.pid(i) for i in others] == [pids[i] for i in others]
        assert g.server.alive()


def test_who_is_started_again_has_what_the_file_says_now(binary):
    first = free_run(NODES)
    text = "port %d\nshards %d\ncluster-enabled yes\ncluster-node-per-shard yes\n" % (first, NODES)
    with Group(binary, port=first, shards=None, cluster_enabled=None, cluster_node_per_shard=None, cluster_node_timeout=None, config_file=text) as g:
        pid = g.pid(1)
        for i in range(NODES):
            assert g.ask(i, "CONFIG", "SET", "hz", "77") == "OK"
        assert g.ask(2, "CONFIG", "REWRITE") == "OK"
        os.kill(pid, signal.SIGKILL)
        assert wait_for(lambda: "Node 1 (pid %d) was ended" % pid in g.server.log())
        assert wait_for(lambda: answers(g.ports[1]))
        assert config(g, 1, "hz") == "77" and config(g, 1, "port") == str(g.ports[1])
        # One that cannot be read keeps nobody down.
        pid = g.pid(1)
        with open(os.path.join(g.server.dir, "server.conf"), "a") as f:
            f.write("no-such-directive 1\n")
        os.kill(pid, signal.SIGKILL)
        assert wait_for(lambda: "The configuration cannot be read any more" in g.server.log())
        assert wait_for(lambda: answers(g.ports[1]))
        assert config(g, 1, "port") == str(g.ports[1]) and os.path.samefile(config(g, 1, "dir"), g.server.dir)


def test_nodes_that_refuse_to_end_are_watched_over_as_before(binary):
    with Group(binary, shutdown_on_sigterm="safe") as g:
        g.create()
        g.server.proc.send_signal(signal.SIGTERM)
        assert wait_for(lambda: g.server.log().count("does not end: its reason is above") >= 1)
        assert all(answers(p) for p in g.ports)
        pid = g.pid(0)
        os.kill(pid, signal.SIGKILL)
        assert wait_for(lambda: "Node 0 (pid %d) was ended by signal 9" % pid in g.server.log())
        assert wait_for(lambda: answers(g.ports[0]))
        for i in range(NODES):
            assert wait_for(lambda i=i: g.ask(i, "CONFIG", "SET", "shutdown-on-sigterm", "default") == "OK")


def test_what_the_nodes_must_differ_in_is_not_set(binary):
    with Group(binary) as g:
        for name, value in (("port", "7000"), ("cluster-announce-port", "7000"), ("cluster-announce-human-nodename", "left")):
            reply = g.ask(1, "CONFIG", "SET", name, value)
            assert isinstance(reply, RespError) and "each node of cluster-node-per-shard has its own of" in str(reply)
        assert g.ask(1, "CONFIG", "SET", "maxmemory", "10mb") == "OK"


def test_a_node_that_is_shut_down_stays_down(binary):
    with Group(binary) as g:
        pid = g.pid(1)
        with g.node(1) as c:
            with pytest.raises((EOFError, OSError)):
                c.do("SHUTDOWN", "NOSAVE")
        assert wait_for(lambda: "Node 1 has ended." in g.server.log())
        assert is_gone(pid) and answers(g.ports[0]) and answers(g.ports[2])
        # The last one ends the parent.
        for i in (0, 2):
            with g.node(i) as c:
                with pytest.raises((EOFError, OSError)):
                    c.do("SHUTDOWN", "NOSAVE")
        assert g.end() == 0


def test_a_parent_that_is_killed_takes_its_nodes_along(binary):
    with Group(binary) as g:
        pids = [g.pid(i) for i in range(NODES)]
        g.server.kill()
        g.server.stopped_by_test = True
        assert wait_for(lambda: all(is_gone(p) for p in pids))


def test_a_node_that_cannot_start_ends_all(binary):
    first = free_run(NODES)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + 1))
        taken.listen()
        g = Group(binary, port=first)
        # The two others may have served for a moment.
        try:
            g.server.start()
        except ServerFailed:
            pass
        assert g.server.wait() == 1
        assert re.search(r"Node 1 \(pid \d+\) failed, with exit code 1: all nodes end", g.server.log())
        assert not any(answers(p) for p in (first, first + 2))


@pytest.mark.parametrize(
    "options, said",
    [
        ({"cluster_enabled": None}, "cluster-node-per-shard yes: nodes are a cluster's: it wants cluster-enabled yes"),
        ({"metrics_port": "close"}, "3 nodes from port {port} and from metrics-port {close} on would listen on the same ports: set them at least 3 apart."),
        ({"cluster_port": 65534}, "3 nodes from cluster-port 65534 on want ports over 65535."),
    ],
    ids=["alone", "collide", "beyond"],
)
def test_what_cannot_be_is_refused_before_anything_starts(binary, options, said):
    first = free_run(NODES)
    close = first + 2
    options = {name: close if value == "close" else value for name, value in options.items()}
    g = Group(binary, port=first, **options)
    with pytest.raises(ServerFailed) as refused:
        g.server.start()
    assert said.format(port=first, close=close) in str(refused.value)
    assert g.server.proc.returncode == 1


def test_any_node_rewrites_the_file_for_all(binary):
    first = free_run(NODES)
    text = "# of all\nport %d\nshards %d\ncluster-enabled yes\ncluster-node-per-shard yes\nmaxmemory 100mb\ncluster-node-timeout 2000\n" % (first, NODES)
    with Group(binary, port=first, shards=None, cluster_enabled=None, cluster_node_per_shard=None, cluster_node_timeout=None, config_file=text) as g:
        path = os.path.join(g.server.dir, "server.conf")
        assert g.ask(1, "CONFIG", "SET", "maxmemory", "50mb", "cluster-node-timeout", "3000") == "OK"
        assert g.ask(1, "CONFIG", "REWRITE") == "OK"
        with open(path) as f:
            lines = f.read().splitlines()
        assert lines[:7] == ["# of all", "port %d" % first, "shards %d" % NODES, "cluster-enabled yes", "cluster-node-per-shard yes",
                             "maxmemory 150mb", "cluster-node-timeout 3000"]
        for name in ("dbfilename", "appenddirname", "cluster-config-file", "metrics-port", "unixsocket"):
            assert not [x for x in lines if x.startswith(name)], lines
        # 100 MB by three are not whole: the line of who has not changed it stays nevertheless.
        with open(path, "w") as f:
            f.write(text)
        assert g.ask(2, "CONFIG", "REWRITE") == "OK"
        with open(path) as f:
            assert f.read().startswith(text.rsplit("cluster-node-timeout", 1)[0])


def test_nodes_that_end_together_are_warned_of(binary):
    with Group(binary) as g:
        g.create()
        assert wait_for(lambda: "Half of the votes of this cluster" in g.server.log())
        assert "This node and its primary were started together" not in g.server.log()
        name = g.ask(0, "CLUSTER", "MYID").decode()
        slots = g.ask(2, "CLUSTER", "SLOTS")
        mine = [(a, b) for a, b, (_, port, *_r), *_ in slots if port == g.ports[2]]
        for a, b in mine:  # a node with slots follows nobody
            for i in (0, 1, 2):
                assert g.ask(i, "CLUSTER", "DELSLOTSRANGE", str(a), str(b)) == "OK"
        assert wait_for(lambda: g.ask(2, "CLUSTER", "REPLICATE", name) == "OK")
        assert wait_for(lambda: "This node and its primary were started together" in g.server.log())


def test_a_supervisor_hears_once_when_all_serve(binary, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(path)
        told.settimeout(60)
        with Group(binary, supervised="systemd", env={"NOTIFY_SOCKET": path}) as g:
            heard = told.recv(4096)
            while b"READY=1" not in heard:
                heard = told.recv(4096)
            assert g.server.log().index("All 3 nodes serve") > 0
            g.server.proc.send_signal(signal.SIGTERM)
            assert g.end() == 0
        told.settimeout(0)
        rest = []
        try:
            while True:
                rest.append(told.recv(4096))
        except BlockingIOError:
            pass
        assert [x for x in rest if b"READY" in x] == []
        assert [x for x in rest if b"STOPPING=1" in x] != []


def test_a_command_on_a_slot_of_another_node_is_redirected(binary):
    with Group(binary) as g:
        g.create()
        index = g.owner(g.ask(0, "CLUSTER", "KEYSLOT", "a"))
        reply = g.ask((index + 1) % NODES, "GET", "a")
        assert isinstance(reply, RespError) and str(reply).endswith("127.0.0.1:%d" % g.ports[index])
