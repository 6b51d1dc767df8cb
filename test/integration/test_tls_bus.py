# SPDX-License-Identifier: BSD-3-Clause
"""TLS on the bus of a cluster: nodes of Shoal alone and with Valkey, all of whose links, to each other and to their primaries, are
so. What is told on them, a failover, a reshard; and who has no certificate is not heard."""

import re
import socket
import ssl

import pytest

import certs
from certs import client_context, server_config
from cluster_nodes import BUS, Client, Nodes, agree, ask, cli, find_cli, my_id, pick_port, said, table
from resp import Raw
from server import ServerFailed, find_peer, wait_for

pytestmark = [pytest.mark.row_pair, pytest.mark.shoal_only, pytest.mark.plain_port]

MIXES = {"shoal": ["shoal"] * 3, "with-valkey": ["valkey", "shoal", "shoal"]}


class TlsNodes(Nodes):
    """Each has a plain port besides, for the test."""

    def start(self, kind, **options):
        for _ in range(5):
            port = pick_port()
            try:
                node = self.start_once(kind, **{**server_config(), "tls-port": port, "tls-cluster": "yes", "tls-replication": "yes", **options})
                break
            except ServerFailed as e:
                if "ddress already in use" not in str(e):
                    raise
        else:
            raise ServerFailed("no port could be bound")
        if node is not None:
            node.tls_port = port
        return node


@pytest.fixture
def nodes(start_server):
    n = TlsNodes(start_server)
    yield n
    n.stop()


def meet(node, other):
    assert ask(node, "CLUSTER", "MEET", "127.0.0.1", other.tls_port) == "OK"


@pytest.fixture(params=sorted(MIXES))
def three(request, nodes):
    """Primaries with all slots between them."""
    if "valkey" in MIXES[request.param] and find_peer("valkey") is None:
        pytest.skip("no Valkey: ./dev test installs it")
    members = [nodes.start(kind) for kind in MIXES[request.param]]
    bounds = [0, 5461, 10923, 16384]
    for i, node in enumerate(members):
        assert ask(node, "CLUSTER", "ADDSLOTSRANGE", bounds[i], bounds[i + 1] - 1) == "OK"
        assert ask(node, "CLUSTER", "SET-CONFIG-EPOCH", i + 1) == "OK"
    for other in members[1:]:
        meet(members[0], other)
    assert agree_on(members, 3), [n.log()[-2000:] for n in members]
    return members


def agree_on(members, count):
    return wait_for(lambda: all(said(node).get("cluster_known_nodes") == str(count) for node in members), 60) and agree(members)


def fill(c, count=200):
    for i in range(count):
        c.set("key:%d" % i, "v%d" % i)


def check(c, count=200):
    missing = [i for i in range(count) if c.get("key:%d" % i) != b"v%d" % i]
    assert not missing, missing[:20]


def tls_raw(port):
    c = Raw(("127.0.0.1", port))
    c.sock = client_context().wrap_socket(c.sock, server_hostname="localhost")
    return c


def test_they_serve_as_one(three):
    with Client(three) as c:
        fill(c)
        check(c)
    ports = {node.port for node in three}, {node.tls_port for node in three}
    buses = {port + BUS for port in ports[1]}
    for node in three:
        # Whoever asks is told the ports that he can speak to.
        assert wait_for(lambda: {row["port"] for row in table(node).values()} == ports[0])
        assert wait_for(lambda: {int(row["address"].split("@")[1].split(",")[0]) for row in table(node).values()} == buses)
        with tls_raw(node.tls_port) as c:
            assert wait_for(lambda: {row[2][1] for row in c.do("CLUSTER", "SLOTS")} == ports[1])


def test_what_is_published_is_heard_everywhere(three):
    """When the links stand; also what takes many records."""
    sizes = [10, 300_000]
    listeners = [node.raw(timeout=60) for node in three]
    for c in listeners:
        assert c.do("SUBSCRIBE", "news") == [b"subscribe", b"news", 1]
    heard = [set() for _ in three]
    wanted = {b"%d" % i + b"x" * size for i in range(3) for size in sizes}

    def all_have_heard():
        for i, node in enumerate(three):
            for size in sizes:
                ask(node, "PUBLISH", "news", b"%d" % i + b"x" * size)
        for i, node in enumerate(three):  # which its own listener hears for certain
            ask(node, "PUBLISH", "news", "end %d" % i)
        for i, c in enumerate(listeners):
            while (text := c.read()[2]) != b"end %d" % i:
                heard[i].add(text)
        return all(names >= wanted for names in heard)

    assert wait_for(all_have_heard), [{name[:1]: len(name) for name in names} for names in heard]
    for c in listeners:
        c.close()


def test_a_replica_takes_over(three, nodes):
    """kill -9 of the primary; all comes back on its links, and the nodes that start again find each other by their files."""
    old = three[0]
    replica = nodes.start("shoal")
    meet(replica, three[1])
    assert agree_on(three + [replica], 4)
    assert wait_for(lambda: ask(replica, "CLUSTER", "REPLICATE", my_id(old)) == "OK", 60)
    assert wait_for(lambda: replica.info("replication").get("master_link_status") == "up", 60), replica.log()[-3000:]
    assert wait_for(lambda: int(replica.info("replication")["master_port"]) == old.tls_port)
    with Client(three + [replica]) as c:
        fill(c)
        assert wait_for(lambda: replica.info("replication")["slave_repl_offset"] == old.info("replication")["master_repl_offset"])
        assert agree(three + [replica])
        old.kill()
        assert wait_for(lambda: "master" in table(replica)[my_id(replica)]["flags"], 60), replica.log()[-3000:]
        assert agree(three[1:] + [replica]), [n.log()[-2000:] for n in three[1:] + [replica]]
        check(c)
        c.set("after", "1")
        old.start_again()
        assert agree(three + [replica]), [n.log()[-2000:] for n in three + [replica]]
        assert wait_for(lambda: old.info("replication")["role"] == "slave" and old.info("replication")["master_link_status"] == "up", 60)
        check(c)


@pytest.mark.parametrize("how", [[], ["--cluster-use-atomic-slot-migration"]], ids=["MIGRATE", "at once"])
def test_slots_move(three, how):
    """By valkey-cli, which speaks TLS, too, so each MIGRATE is told the port of a node with it."""
    if find_cli() is None:
        pytest.skip("no valkey-cli")
    source, target = three[1], three[2]
    with Client(three) as c:
        fill(c)
        words = "--cluster-from", my_id(source), "--cluster-to", my_id(target), "--cluster-slots", "300", "--cluster-yes"
        cli("--cluster", "reshard", "127.0.0.1:%d" % source.tls_port, *words, "--tls", "--cacert", certs.shared().path("ca.crt"), *how)
        assert agree(three)
        check(c)
    assert said(target)["cluster_slots_assigned"] == "16384"
    assert len(table(target)[my_id(target)]["slots"]) == 2


# ---- Who is not heard --------------------------------------------------------------------------------------------


def stays_open(sock, seconds):
    """Whether the handshake holds: with TLS 1.3 it is refused after its end."""
    sock.settimeout(seconds)
    try:
        sock.sendall(b"RCmb")
        sock.recv(1)
        return False
    except TimeoutError:
        return True
    except (OSError, ssl.SSLError):
        return False


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_who_shows_no_certificate(nodes, version):
    """Whatever is asked of clients; nor who brings a session of a client's."""
    node = nodes.start("shoal")
    context = client_context(version=version)
    with Raw(("127.0.0.1", node.tls_port)) as c:
        c.sock = context.wrap_socket(c.sock, server_hostname="localhost")
        assert c.do("PING") == "PONG"
        session = c.sock.session
    assert session is not None
    for brought in (None, session):
        with socket.create_connection(("127.0.0.1", node.tls_port + BUS)) as plain:
            try:
                with context.wrap_socket(plain, server_hostname="localhost", session=brought) as sock:
                    assert not sock.session_reused and not stays_open(sock, 60)
            except (OSError, ssl.SSLError):
                pass
    known = client_context(cert="client", version=version)
    with socket.create_connection(("127.0.0.1", node.tls_port + BUS)) as plain, known.wrap_socket(plain, server_hostname="localhost") as sock:
        assert stays_open(sock, 1)
    assert ask(node, "PING") == "PONG"


def test_who_speaks_plainly(nodes):
    node = nodes.start("shoal")
    with socket.create_connection(("127.0.0.1", node.tls_port + BUS)) as plain:
        plain.settimeout(30)
        plain.sendall(b"RCmb" + bytes(300))
        try:
            assert not plain.recv(100).startswith(b"RCmb")
        except OSError:
            pass
    assert ask(node, "PING") == "PONG"


def test_a_node_of_another_authority_is_not_met(nodes, tmp_path):
    """Whoever of the two dials; and with the right certificates it is."""
    stranger = certs.Authority(str(tmp_path / "certs"))
    stranger.sign("server")
    node = nodes.start("shoal", loglevel="verbose")
    other = nodes.start("shoal", loglevel="verbose", **server_config(stranger))
    refused = "Connection with the node at 127.0.0.1 failed: .*certificate verify failed"
    for dials, waits in ((node, other), (other, node)):

        def is_refused():
            meet(dials, waits)  # which is given up after a while
            return re.search(refused, dials.log()) and "Error accepting cluster node at 127.0.0.1: " in waits.log()

        assert wait_for(is_refused), dials.log()[-2000:] + waits.log()[-2000:]
    assert my_id(other) not in table(node) and my_id(node) not in table(other)
    right = server_config()
    files = [word for name in ("tls-cert-file", "tls-key-file", "tls-ca-cert-file") for word in (name, right[name])]
    assert ask(other, "CONFIG", "SET", *files) == "OK"

    def are_met():
        meet(other, node)
        return my_id(other) in table(node) and my_id(node) in table(other)

    assert wait_for(are_met), node.log()[-2000:]
