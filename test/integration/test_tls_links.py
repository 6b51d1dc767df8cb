# SPDX-License-Identifier: BSD-3-Clause
"""TLS outward: a replica of Valkey and of Shoal dials its primary within TLS, and Valkey follows Shoal so; whose certificates
will do, whose will not, and that it is the same link when it breaks and comes back. MIGRATE, too."""

import re
import socket
import ssl
import threading

import pytest

import certs
from certs import Authority, server_config
from cluster_nodes import Nodes
from resp import RespError
from server import Server, find_peer, free_port, wait_for
from test_follow import is_up, offset, said, same
from test_replication import fill, write

pytestmark = [pytest.mark.row_pair, pytest.mark.shoal_only, pytest.mark.plain_port]

MB = 1 << 20
LINK_BROKEN = "Error condition on socket for SYNC: "


@pytest.fixture
def authority(tmp_path):
    a = Authority(str(tmp_path / "certs"))
    a.sign("server")
    a.sign("client")
    return a


@pytest.fixture
def start(start_server):
    """start("shoal" or "valkey", **directives) starts a server with TLS on s.tls_port, and a plain port for the test."""
    own = []

    def start_one(kind, authority=None, **more):
        tls_port = free_port()
        config = {**server_config(authority), "tls-port": tls_port, **{name.replace("_", "-"): value for name, value in more.items()}}
        if kind == "shoal":
            s = start_server(config=config, password=more.get("requirepass"))
        else:
            path = find_peer(kind)
            if path is None:
                pytest.skip("no %s server to talk to: ./dev test installs one" % kind)
            s = Server(path, {"save": "", "repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1", "enable-debug-command": "yes", **config}, kind=kind)
            own.append(s)
            s.start()
        s.tls_port = tls_port
        return s

    yield start_one
    for s in own:
        s.stop(check=False)


@pytest.fixture
def nodes(start_server):
    n = Nodes(start_server)
    yield n
    n.stop()


# Primary and replica: a Shoal is one of the two at least.
pairs = pytest.mark.parametrize("primary_kind,replica_kind", [("shoal", "shoal"), ("valkey", "shoal"), ("shoal", "valkey")])


def point(replica, port):
    with replica.raw(timeout=60) as c:
        assert c.do("REPLICAOF", "127.0.0.1", port) == "OK"


def follow(replica, primary):
    point(replica, primary.tls_port)
    assert wait_for(lambda: is_up(replica), 60), replica.log()[-2000:]


def break_link(primary):
    """As seen by who follows; the number of links that were there."""
    with primary.raw() as c:
        return c.do("CLIENT", "KILL", "TYPE", "replica")


def syncs(primary):
    stats = primary.info("stats")
    return int(stats["sync_full"]), int(stats["sync_partial_ok"])


class Relay:
    """Hands bytes on to a port, notes those of who connects, and cuts all connections when it is told to."""

    def __init__(self, port):
        self.port_behind = port
        self.seen = b""
        self.socks = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()

    def cut(self):
        for sock in self.socks:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended

    def _accept(self):
        try:
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.port_behind))
                self.socks += [near, far]
                threading.Thread(target=self._hand_on, args=(near, far, True), daemon=True).start()
                threading.Thread(target=self._hand_on, args=(far, near, False), daemon=True).start()
        except OSError:
            pass

    def _hand_on(self, source, target, notes):
        try:
            while data := source.recv(1 << 16):
                if notes:
                    self.seen += data
                target.sendall(data)
        except OSError:
            pass
        for sock in (source, target):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


# ---- It works ----------------------------------------------------------------------------------------------------


@pairs
def test_it_has_what_its_primary_has(start, primary_kind, replica_kind):
    """What was there, what comes meanwhile, and large values, which take many records."""
    primary, replica = start(primary_kind), start(replica_kind, tls_replication="yes")
    with primary.raw(timeout=60) as c, replica.raw(timeout=60) as r:
        fill(c)
        c.do("SET", "large", b"x" * (5 * MB))
        threads = [threading.Thread(target=write, args=(primary.port, seed)) for seed in range(2)]
        for thread in threads:
            thread.start()
        follow(replica, primary)
        for thread in threads:
            thread.join()
        c.do("SET", "larger", b"y" * (7 * MB))
        assert same(primary, replica)
        assert r.do("STRLEN", "larger") == 7 * MB
        assert c.do("WAIT", "1", "0") == 1


@pairs
def test_it_goes_on_where_it_was(start, primary_kind, replica_kind):
    primary, replica = start(primary_kind), start(replica_kind, tls_replication="yes")
    with primary.raw() as c, replica.raw() as r:
        follow(replica, primary)
        for i in range(1, 4):
            full, partial = syncs(primary)
            c.do("SET", "k", str(i))
            assert break_link(primary) == 1
            c.do("INCRBY", "sum", str(i))
            assert wait_for(lambda: syncs(primary) == (full, partial + 1), 60), (syncs(primary), replica.log()[-2000:])
            assert wait_for(lambda: r.do("MGET", "k", "sum") == c.do("MGET", "k", "sum"))
        assert same(primary, replica)


@pairs
def test_it_says_its_port_with_tls(start, primary_kind, replica_kind):
    primary, replica = start(primary_kind), start(replica_kind, tls_replication="yes")
    follow(replica, primary)

    def announced():
        return said(primary).get("slave0", "")

    assert wait_for(lambda: "port=%d," % replica.tls_port in announced()), announced()


def test_its_port_as_it_is_told_to(start):
    primary, replica = start("shoal"), start("shoal", tls_replication="yes", replica_announce_port="4711")
    follow(replica, primary)
    assert wait_for(lambda: "port=4711," in said(primary).get("slave0", ""))


def test_nothing_of_it_is_readable_on_its_way(start):
    """And a link that is cut by somebody on it goes on, too."""
    primary, replica = start("shoal"), start("shoal", tls_replication="yes", primaryauth="sesame")
    with Relay(primary.tls_port) as relay, primary.raw() as c, replica.raw() as r:
        point(replica, relay.port)
        assert wait_for(lambda: "Unable to AUTH to PRIMARY" in replica.log())
        r.do("CONFIG", "SET", "primaryauth", "")
        assert wait_for(lambda: is_up(replica), 60), replica.log()[-2000:]
        full, partial = syncs(primary)
        relay.cut()
        assert wait_for(lambda: syncs(primary) == (full, partial + 1), 60), replica.log()[-2000:]
        c.do("SET", "k", "v")
        assert wait_for(lambda: r.do("GET", "k") == b"v")
        assert b"REPLCONF" not in relay.seen and b"sesame" not in relay.seen and len(relay.seen) > 500


def test_it_begins_with_the_server(start):
    """As the configuration names it, without a port of its own with TLS, which it needs not."""
    primary = start("shoal")
    with primary.raw() as c:
        c.do("SET", "k", "v")
    replica = start("shoal", tls_replication="yes", tls_port=0, replicaof=["127.0.0.1", str(primary.tls_port)])
    assert wait_for(lambda: is_up(replica), 60), replica.log()[-2000:]
    assert same(primary, replica)
    assert wait_for(lambda: "port=%d," % replica.port in said(primary).get("slave0", ""))


def test_switched_over_while_it_runs(start):
    """The link that is there stays; the next one is the other kind."""
    primary, replica = start("shoal"), start("shoal")
    with replica.raw() as r:
        assert r.do("REPLICAOF", "127.0.0.1", primary.port) == "OK"
        assert wait_for(lambda: is_up(replica), 60)
        assert r.do("CONFIG", "SET", "tls-replication", "yes") == "OK"
        follow(replica, primary)
        assert wait_for(lambda: "port=%d," % replica.tls_port in said(primary).get("slave0", ""))
        assert r.do("CONFIG", "SET", "tls-replication", "no") == "OK"
        assert r.do("REPLICAOF", "127.0.0.1", primary.port) == "OK"
        assert wait_for(lambda: is_up(replica), 60)
        assert wait_for(lambda: "port=%d," % replica.port in said(primary).get("slave0", ""))


def test_a_chain_and_a_hand_over(start):
    first, second, third = [start("shoal", tls_replication="yes", repl_ping_replica_period="3600") for _ in range(3)]
    follow(second, first)
    follow(third, second)
    with first.raw() as c, second.raw() as d, third.raw() as e:
        c.do("SET", "k", "1")
        assert wait_for(lambda: e.do("GET", "k") == b"1")
        assert wait_for(lambda: "state=online" in said(first).get("slave0", "") and offset(first) == offset(second))
        assert c.do("FAILOVER", "TO", "127.0.0.1", second.tls_port) == "OK"
        assert wait_for(lambda: said(second).get("role") == "master" and is_up(first), 60), first.log()[-2000:]
        assert d.do("SET", "k", "2") == "OK"
        assert wait_for(lambda: c.do("GET", "k") == b"2" and e.do("GET", "k") == b"2")


@pytest.mark.parametrize("primary_kind", ["shoal", "valkey"])
def test_a_node_of_a_cluster_follows_so(nodes, primary_kind):
    """Its bus stays plain, and tells the ports."""
    ports = [free_port()]
    primary = nodes.start(primary_kind, **server_config(), tls_port=ports[0])
    if primary is None:
        pytest.skip("no %s server to talk to: ./dev test installs one" % primary_kind)
    ports.append(free_port())
    replica = nodes.start("shoal", **server_config(), tls_port=ports[1], tls_replication="yes")
    with primary.raw() as c, replica.raw() as r:
        assert c.do("CLUSTER", "ADDSLOTSRANGE", "0", "16383") == "OK"
        assert r.do("CLUSTER", "MEET", "127.0.0.1", primary.port) == "OK"
        name = c.do("CLUSTER", "MYID")
        assert wait_for(lambda: r.do("CLUSTER", "REPLICATE", name) == "OK", 60)
        assert wait_for(lambda: is_up(replica), 60), replica.log()[-2000:]
        assert wait_for(lambda: int(said(replica)["master_port"]) == ports[0])
        assert wait_for(lambda: c.do("SET", "k", "v") == "OK")  # when its cluster is up
        assert r.do("READONLY") == "OK"
        assert wait_for(lambda: r.do("GET", "k") == b"v")


# ---- Certificates ------------------------------------------------------------------------------------------------


@pairs
def test_a_primary_that_wants_a_certificate(start, authority, primary_kind, replica_kind):
    """It is shown the server's, or the client's if there is one."""
    primary = start(primary_kind, authority, tls_auth_clients="yes")
    replica = start(replica_kind, authority, tls_replication="yes")
    follow(replica, primary)
    own = {"tls_client_cert_file": authority.path("client.crt"), "tls_client_key_file": authority.path("client.key")}
    other = start(replica_kind, authority, tls_replication="yes", **own)
    follow(other, primary)


def test_the_certificate_of_the_client_comes_first(start, authority):
    """A primary that knows only the authority of the client's."""
    elsewhere = Authority(authority.path("elsewhere"), "elsewhere")
    cert, key = elsewhere.sign("link")
    primary = start("shoal", authority, tls_auth_clients="yes", tls_ca_cert_file=elsewhere.path("elsewhere.crt"))
    replica = start("shoal", authority, tls_replication="yes")
    with replica.raw() as r:
        point(replica, primary.tls_port)
        assert wait_for(lambda: re.search(LINK_BROKEN + ".* alert ", replica.log())), replica.log()[-2000:]
        assert not is_up(replica)
        assert r.do("CONFIG", "SET", "tls-client-cert-file", cert, "tls-client-key-file", key) == "OK"
        assert wait_for(lambda: is_up(replica), 60), replica.log()[-2000:]
        serial = replica.info("tls")["tls_client_cert_serial"]
        assert serial == elsewhere.serial("link")


@pairs
def test_a_primary_of_another_authority_is_refused(start, authority, primary_kind, replica_kind):
    """Nothing of it is believed; and when the right authority is named, it is followed."""
    primary = start(primary_kind)
    replica = start(replica_kind, authority, tls_replication="yes")
    with replica.raw() as r:
        r.do("SET", "mine", "1")
        point(replica, primary.tls_port)
        assert wait_for(lambda: replica.log().count(LINK_BROKEN) >= 2), replica.log()[-2000:]
        assert "certificate verify failed" in replica.log().split(LINK_BROKEN)[1].splitlines()[0]
        assert not is_up(replica) and syncs(primary) == (0, 0)
        assert r.do("EXISTS", "mine") == 1
        assert r.do("CONFIG", "SET", "tls-ca-cert-file", certs.shared().path("ca.crt")) == "OK"
        assert wait_for(lambda: is_up(replica), 60), replica.log()[-2000:]
        assert r.do("EXISTS", "mine") == 0


def test_an_expired_certificate_is_refused(start, authority):
    authority.sign("server", expired=True)
    primary = start("shoal", authority)
    replica = start("shoal", authority, tls_replication="yes")
    point(replica, primary.tls_port)
    assert wait_for(lambda: LINK_BROKEN in replica.log()), replica.log()[-2000:]
    assert "certificate verify failed" in replica.log().split(LINK_BROKEN)[1].splitlines()[0]
    authority.sign("server")
    with primary.raw() as c:
        assert c.do("CONFIG", "SET", "tls-cert-file", authority.path("server.crt")) == "OK"
    assert wait_for(lambda: is_up(replica), 60), replica.log()[-2000:]


@pairs
def test_names_in_certificates_do_not_matter(start, authority, primary_kind, replica_kind):
    authority.sign("server", subject="/CN=somewhere.else", extensions="subjectAltName=DNS:somewhere.else\n")
    primary = start(primary_kind, authority)
    replica = start(replica_kind, authority, tls_replication="yes")
    follow(replica, primary)


def test_new_certificates_while_it_is_linked(start, authority):
    """All of both sides: the link stays, and the next has them."""
    primary = start("shoal", authority, tls_auth_clients="yes")
    replica = start("shoal", authority, tls_replication="yes")
    follow(replica, primary)
    full, partial = syncs(primary)
    new = Authority(authority.path("new"), "new")
    cert, key = new.sign("server")
    for s in (primary, replica):
        with s.raw() as c:
            assert c.do("CONFIG", "SET", "tls-cert-file", cert, "tls-key-file", key, "tls-ca-cert-file", new.path("new.crt")) == "OK"
    with primary.raw() as c, replica.raw() as r:
        c.do("SET", "k", "1")
        assert wait_for(lambda: r.do("GET", "k") == b"1")
        assert syncs(primary) == (full, partial)
        assert break_link(primary) == 1
        assert wait_for(lambda: syncs(primary) == (full, partial + 1), 60), replica.log()[-2000:]
        c.do("SET", "k", "2")
        assert wait_for(lambda: r.do("GET", "k") == b"2")


# ---- Who does not speak it, or wrongly ---------------------------------------------------------------------------


class Peer:
    """Somebody whom a replica dials; `serve` gets each socket."""

    def __init__(self, serve):
        self.serve = serve
        self.count = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        try:
            while True:
                sock, _ = self.listener.accept()
                self.count += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()
        except OSError:
            pass

    def _serve(self, sock):
        with sock:
            try:
                self.serve(sock)
            except (OSError, ssl.SSLError):
                pass


def answer_plainly(sock):
    sock.recv(1 << 16)
    sock.sendall(b"-ERR unknown command\r\n")
    sock.recv(1 << 16)


def end_at_once(sock):
    sock.recv(1 << 16)


def stop_in_the_middle(sock):
    """Half of its first record."""
    sock.recv(1 << 16)
    sock.sendall(b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76")


@pytest.mark.parametrize(
    "serve,why", [(answer_plainly, "wrong version number"), (end_at_once, "Connection reset by peer"), (stop_in_the_middle, "Connection reset by peer")]
)
def test_a_primary_that_speaks_none(start, serve, why):
    """It is asked again and again, and the replica serves meanwhile."""
    replica = start("shoal", tls_replication="yes")
    with Peer(serve) as peer, replica.raw() as r:
        r.do("SET", "mine", "1")
        point(replica, peer.port)
        assert wait_for(lambda: peer.count >= 3 and replica.log().count(LINK_BROKEN) >= 2), replica.log()[-2000:]
        assert why in replica.log().split(LINK_BROKEN)[1].splitlines()[0]
        assert r.do("GET", "mine") == b"1" and not is_up(replica)


@pytest.mark.slow
@pytest.mark.parametrize("primary_kind", ["shoal", "valkey"])
def test_a_plain_port_is_not_followed(start, primary_kind):
    """Whether it answers the handshake or waits for the end of its line is its affair."""
    primary = start(primary_kind)
    replica = start("shoal", tls_replication="yes")
    with replica.raw() as r:
        r.do("SET", "mine", "1")
        point(replica, primary.port)
        assert wait_for(lambda: LINK_BROKEN in replica.log()), replica.log()[-2000:]
        assert not is_up(replica) and syncs(primary) == (0, 0)
        assert r.do("GET", "mine") == b"1"


def test_a_port_with_tls_is_not_followed_plainly(start):
    primary, replica = start("shoal"), start("shoal")
    point(replica, primary.tls_port)
    assert wait_for(lambda: "Error accepting a client connection" in primary.log()), primary.log()[-2000:]
    assert not is_up(replica) and syncs(primary) == (0, 0)


@pytest.mark.slow
def test_a_primary_that_says_nothing_is_given_up(start):
    done = threading.Event()
    replica = start("shoal", tls_replication="yes")
    with Peer(lambda sock: done.wait(120)) as peer:
        point(replica, peer.port)
        assert wait_for(lambda: LINK_BROKEN + "handshake timed out" in replica.log(), 60), replica.log()[-2000:]
        assert wait_for(lambda: peer.count >= 2)
        done.set()


def test_nobody_there(start):
    replica = start("shoal", tls_replication="yes")
    port = free_port()
    point(replica, port)
    assert wait_for(lambda: LINK_BROKEN + "Connection refused" in replica.log()), replica.log()[-2000:]


def test_told_otherwise_in_the_middle_of_a_handshake(start):
    """The role changes while nobody answers."""
    done = threading.Event()
    primary, replica = start("shoal"), start("shoal", tls_replication="yes")
    with Peer(lambda sock: done.wait(120)) as peer:
        point(replica, peer.port)
        assert wait_for(lambda: peer.count >= 1)
        follow(replica, primary)
        point(replica, peer.port)
        assert wait_for(lambda: peer.count >= 2)
        with replica.raw() as r:
            assert r.do("REPLICAOF", "NO", "ONE") == "OK"
            assert r.do("SET", "k", "v") == "OK"
        done.set()


# ---- MIGRATE -----------------------------------------------------------------------------------------------------

UNKNOWN = "IOERR error or timeout connecting to the client"


def migrate(c, port, *args, timeout="30000"):
    return c.do("MIGRATE", "127.0.0.1", str(port), *(args or ("k", "0")), timeout)


@pairs
def test_keys_go_there(start, primary_kind, replica_kind):
    """From the second to the first, which asks for a password; a large one, too."""
    target, source = start(primary_kind, requirepass="sesame"), start(replica_kind, tls_cluster="yes")
    with target.raw(timeout=60) as t, source.raw(timeout=60) as c:
        assert t.do("AUTH", "sesame") == "OK"
        keys = ["k%d" % i for i in range(50)]
        for key in keys:
            c.do("SET", key, key * 10)
        c.do("SET", "large", b"x" * (5 * MB))
        for words in (keys[:1], keys[1:], ["large"]):
            assert c.do("MIGRATE", "127.0.0.1", str(target.tls_port), "", "0", "30000", "AUTH", "sesame", "KEYS", *words) == "OK"
        assert c.do("DBSIZE") == 0 and t.do("DBSIZE") == 51
        assert t.do("MGET", *keys) == [(key * 10).encode() for key in keys]
        assert t.do("STRLEN", "large") == 5 * MB


@pytest.mark.parametrize("kind", ["shoal", "valkey"])
def test_no_key_goes_to_a_target_that_is_not_believed(start, authority, kind):
    """Of another authority; and one that does not speak TLS."""
    target, source = start("shoal"), start(kind, authority, tls_cluster="yes")
    with target.raw() as t, source.raw() as c:
        c.do("SET", "k", "v")
        assert str(migrate(c, target.tls_port)) == UNKNOWN
        assert str(migrate(c, target.port, timeout="500")) == UNKNOWN
        assert c.do("GET", "k") == b"v" and t.do("DBSIZE") == 0
        assert c.do("CONFIG", "SET", "tls-ca-cert-file", certs.shared().path("ca.crt")) == "OK"
        assert migrate(c, target.tls_port) == "OK"
        assert t.do("GET", "k") == b"v"


def test_a_plain_connection_is_none_for_who_wants_tls(start):
    """Nor the other way round: a connection that is kept is used as it was made."""
    target, source = start("shoal"), start("shoal")
    with target.raw() as t, source.raw() as c:
        c.do("SET", "k", "v")
        assert migrate(c, target.port) == "OK"
        c.do("SET", "k", "w")
        assert c.do("CONFIG", "SET", "tls-cluster", "yes") == "OK"
        assert str(migrate(c, target.port, timeout="500")) == UNKNOWN
        assert migrate(c, target.tls_port, "k", "1") == "OK"
        c.do("SET", "k", "x")
        assert c.do("CONFIG", "SET", "tls-cluster", "no") == "OK"
        assert str(migrate(c, target.tls_port, timeout="500")).startswith("IOERR")
        assert c.do("GET", "k") == b"x"
        assert t.do("GET", "k") == b"v" and t.do("SELECT", "1") == "OK" and t.do("GET", "k") == b"w"


# ---- What it needs -----------------------------------------------------------------------------------------------


def test_without_certificates_it_is_refused(start_server):
    s = start_server()
    with s.raw() as c:
        error = RespError("ERR CONFIG SET failed (possibly related to argument 'tls-replication') - Unable to update TLS configuration. Check server logs.")
        assert c.do("CONFIG", "SET", "tls-replication", "yes") == error
        assert "No tls-cert-file configured!" in s.log()
        assert c.do("CONFIG", "GET", "tls-replication") == [b"tls-replication", b"no"]


def test_without_an_authority_it_does_not_start(start_server):
    config = {**server_config(), "tls-replication": "yes", "tls-ca-cert-file": ""}
    s = start_server(config=config, start=False)
    with pytest.raises(Exception, match="exited"):
        s.start()
    assert re.search("Either tls-ca-cert-file or tls-ca-cert-dir must be specified", s.log())
    s.stopped_by_test = True
