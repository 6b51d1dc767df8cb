# SPDX-License-Identifier: BSD-3-Clause
"""Clusters of nodes of several kinds, made as users make them: by valkey-cli --cluster."""

import os
import shutil
import socket
import subprocess

from resp import RespError
from server import PORT_LAST, Server, ServerFailed, find_peer, some_port, wait_for

BUS = 10000  # its port is so far above


def find_cli():
    valkey = find_peer("valkey")
    beside = os.path.join(os.path.dirname(valkey), "valkey-cli") if valkey else ""
    return beside if os.access(beside, os.X_OK) else shutil.which("valkey-cli")


def ports_below():
    """The first of the ports that the system gives to who connects: a bus port among them may be taken while its node is down."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        return int(f.read().split()[0])


def pick_port():
    """Free with its bus."""
    for _ in range(1000):
        port = some_port(min(PORT_LAST, ports_below() - 1 - BUS))
        try:
            for p in (port, port + BUS):
                with socket.socket() as s:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind(("127.0.0.1", p))
        except OSError:
            continue
        return port
    raise RuntimeError("no port is free with its bus")


class Nodes:
    """Starts nodes, and knows how to ask them."""

    def __init__(self, start_server, timeout_ms=15000):
        self.start_server, self.timeout_ms = start_server, timeout_ms
        self.all = []
        self.own = []

    def start(self, kind, **options):
        for _ in range(5):  # somebody else may be faster
            try:
                return self.start_once(kind, **options)
            except ServerFailed as e:
                if "ddress already in use" not in str(e):
                    raise
        raise ServerFailed("no port could be bound")

    def start_once(self, kind, **options):
        config = {"port": str(pick_port()), "cluster-enabled": "yes", "cluster-node-timeout": str(self.timeout_ms), "repl-diskless-sync-delay": "0", "save": ""}
        config.update({name.replace("_", "-"): value for name, value in options.items()})
        if kind == "shoal":
            node = self.start_server(config=config, start=False)
            node.stopped_by_test = True  # unless it starts
            node.start()
            node.stopped_by_test = False
        else:
            path = find_peer(kind)
            if path is None:
                return None
            node = Server(path, config, kind=kind)
            node.start()
            self.own.append(node)
        self.all.append(node)
        return node

    def stop(self):
        for node in self.own:
            node.stop(check=False)

    def live(self):
        return [node for node in self.all if node.alive()]


def cli(*words, program=None):
    done = subprocess.run([program or find_cli(), *map(str, words)], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def create(nodes, replicas=0):
    addresses = ["127.0.0.1:%d" % node.port for node in nodes]
    return cli("--cluster", "create", *addresses, "--cluster-replicas", replicas, "--cluster-yes")


def ask(node, *words):
    with node.raw(timeout=30) as c:
        return c.do(*words)


def said(node):
    """CLUSTER INFO."""
    reply = ask(node, "CLUSTER", "INFO")
    return {} if isinstance(reply, RespError) else dict(line.split(":", 1) for line in reply.decode().split())


def table(node):
    """CLUSTER NODES by id."""
    rows = {}
    for line in ask(node, "CLUSTER", "NODES").decode().splitlines():
        words = line.split(" ")
        rows[words[0]] = {
            "address": words[1],
            "port": int(words[1].split("@")[0].rsplit(":", 1)[1]),
            "flags": set(words[2].split(",")),
            "primary": words[3],
            "epoch": int(words[6]),
            "linked": words[7] == "connected",
            "slots": words[8:],
        }
    return rows


def my_id(node):
    return ask(node, "CLUSTER", "MYID").decode()


def signature(node):
    """Who has which slots, and whose replica is who: the same in the eyes of all."""
    return sorted(
        (i, row["flags"] & {"master", "slave", "fail"} == {"slave"}, row["primary"], tuple(row["slots"])) for i, row in table(node).items() if "fail" not in row["flags"]
    )


def agree(nodes, seconds=60):
    """All are up, and see the same."""

    def do():
        views = [signature(node) for node in nodes]
        return all(view == views[0] for view in views) and all(said(node).get("cluster_state") == "ok" for node in nodes)

    return wait_for(do, seconds)


class Client:
    """Follows redirects, as clients do."""

    def __init__(self, nodes):
        self.nodes = nodes
        self.conns = {}
        self.slots = {}

    def conn(self, port):
        if port not in self.conns:
            node = next(n for n in self.nodes if n.port == port)
            self.conns[port] = node.raw(timeout=30)
        return self.conns[port]

    def close(self):
        for c in self.conns.values():
            c.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def do(self, slot_of, *words, seconds=60):
        """Until somebody answers with something else than that he cannot now."""
        outcome = []

        def attempt():
            live = [n.port for n in self.nodes if n.alive()]
            port = self.slots.get(slot_of, live[0])
            port = port if port in live else live[0]
            asking = False
            for _ in range(8):
                try:
                    c = self.conn(port)
                    if asking:
                        c.do("ASKING")
                    reply = c.do(*words)
                except (OSError, EOFError):
                    self.conns.pop(port, None)
                    self.slots.pop(slot_of, None)
                    return False
                asking = False
                if isinstance(reply, RespError):
                    code, _, rest = str(reply).partition(" ")
                    if code in ("MOVED", "ASK"):
                        port = int(rest.rsplit(":", 1)[1])
                        asking = code == "ASK"
                        if code == "MOVED":
                            self.slots[slot_of] = port
                        if port not in live:
                            self.slots.pop(slot_of, None)
                            return False
                        continue
                    if code in ("CLUSTERDOWN", "TRYAGAIN", "LOADING", "READONLY", "MASTERDOWN"):
                        self.slots.pop(slot_of, None)
                        return False
                outcome.append(reply)
                return True
            return False

        assert wait_for(attempt, seconds), (words, [n.log()[-1500:] for n in self.nodes])
        return outcome[0]

    def set(self, key, value):
        assert self.do(key, "SET", key, value) == "OK"

    def get(self, key):
        return self.do(key, "GET", key)
