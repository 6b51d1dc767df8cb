# SPDX-License-Identifier: BSD-3-Clause
"""TLS: who may come in and how, certificates that change while clients are there, and peers that are hostile or slow."""

import os
import select
import socket
import ssl
import subprocess
import threading
import time

import pytest

import certs
import re
from certs import Authority, client_context, server_config
from conftest import tool
from resp import Raw, RespError, encode
from server import free_port, wait_for

pytestmark = [pytest.mark.plain_port, pytest.mark.row_each]  # it has both, and says which it means

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


class TlsRaw(Raw):
    """A raw connection to a TLS port."""

    def __init__(self, port, context=None, timeout=60.0, session=None, rcvbuf=None):
        super().__init__(("127.0.0.1", port), timeout=timeout, rcvbuf=rcvbuf)
        try:
            self.sock = (context or client_context()).wrap_socket(self.sock, server_hostname="localhost", session=session)
        except BaseException:
            self.sock.close()
            raise

    def is_refused(self):
        """With TLS 1.3 who connects is done with its handshake before the server has looked at its certificate."""
        try:
            return self.do("PING") != "PONG"
        except (ssl.SSLError, OSError, EOFError):
            return True


def refused(port, context):
    try:
        with TlsRaw(port, context) as c:
            return c.is_refused()
    except (ssl.SSLError, OSError):
        return True


def start(start_server, authority=None, **more):
    """A server with both ports; its plain one is s.port."""
    tls_port = free_port()
    s = start_server(config={**server_config(authority, **more), "tls-port": tls_port}, password=more.get("requirepass"))
    s.tls_port = tls_port
    return s


@pytest.fixture(scope="module")
def both(server_binary, base_config, kind):
    """A server with a plain port and one with TLS, as long as the module lasts."""
    from server import Server

    tls_port = free_port()
    s = Server(server_binary, {**base_config, **server_config(), "tls-port": tls_port}, kind=kind)
    s.tls_port = tls_port
    s.start()
    yield s
    s.stop()


@pytest.fixture
def authority(tmp_path):
    a = Authority(str(tmp_path / "certs"))
    a.sign("server")
    a.sign("client")
    return a


# ---- The usual ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_both_ports_serve_the_same_data(both, version):
    with TlsRaw(both.tls_port, client_context(version=version)) as c, both.raw() as plain:
        assert c.sock.version() == {TLS12: "TLSv1.2", TLS13: "TLSv1.3"}[version]
        assert c.do("SET", "by", "tls") == "OK"
        assert plain.do("GET", "by") == b"tls"
        assert c.do("ECHO", "x" * 100) == b"x" * 100


def test_port_0_leaves_tls_alone(start_server, tmp_path):
    path = str(tmp_path / "socket")
    tls_port = free_port()
    s = start_server(config={**server_config(), "tls-port": tls_port, "port": 0, "unixsocket": path})
    with TlsRaw(tls_port) as c, s.raw() as unix:
        assert c.do("SET", "k", "v") == "OK" and unix.do("GET", "k") == b"v"
        lines = c.do("INFO", "server").decode().splitlines()
        assert "tcp_port:%d" % tls_port in lines  # who looks at it, as the page does, is to find the server
        listeners = [line for line in lines if line.startswith("listener")]
        assert listeners == ["listener1:name=unix,bind=%s" % path, "listener2:name=tls,bind=*,bind=-::*,port=%d" % tls_port]


def test_redis_py(both):
    import redis

    url = "rediss://127.0.0.1:%d/0?ssl_cert_reqs=required&ssl_ca_certs=%s" % (both.tls_port, certs.shared().path("ca.crt"))
    with redis.Redis.from_url(url, decode_responses=True) as r:
        assert r.ping()
        with r.pipeline(transaction=False) as p:
            for i in range(1000):
                p.set("py:%d" % i, i)
            assert p.execute() == [True] * 1000
        assert r.mget("py:1", "py:999") == ["1", "999"]
        with r.pubsub() as sub:
            sub.subscribe("news")
            assert sub.get_message(timeout=30)["type"] == "subscribe"
            r.publish("news", "hello")
            assert sub.get_message(timeout=30)["data"] == "hello"


@pytest.mark.parametrize("program", ["redis-cli", "valkey-cli"])
def test_command_line_client(both, program, tmp_path):
    a = certs.shared()
    run = [tool(program), "-p", str(both.tls_port), "--tls", "--cacert", a.path("ca.crt"), "--cert", a.path("client.crt"), "--key", a.path("client.key")]
    assert subprocess.run([*run, "SET", "cli", "1"], capture_output=True, text=True, timeout=30).stdout == "OK\n"
    value = os.urandom(300_000).hex()
    assert subprocess.run([*run, "-x", "SET", "big"], input=value, capture_output=True, text=True, timeout=30).stdout == "OK\n"
    assert subprocess.run([*run, "--raw", "GET", "big"], capture_output=True, text=True, timeout=30).stdout == value + "\n"
    piped = b"".join(encode("SET", "pipe:%d" % i, i) for i in range(10000))
    out = subprocess.run([*run, "--pipe"], input=piped, capture_output=True, timeout=60).stdout
    assert b"errors: 0, replies: 10000" in out


# ---- Who may come in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_client_certificates(start_server, authority, tmp_path, version):
    authority.sign("expired", expired=True)
    stranger = Authority(str(tmp_path / "strangers"))
    crt, key = stranger.sign("stranger")
    os.rename(crt, authority.path("stranger.crt"))
    os.rename(key, authority.path("stranger.key"))
    s = start(start_server, authority, tls_auth_clients="yes")

    def let_in():
        return {name for name in (None, "client", "expired", "stranger") if not refused(s.tls_port, client_context(authority, name, version))}

    assert let_in() == {"client"}
    assert "peer did not return a certificate" in s.log() and "certificate verify failed" in s.log()
    with s.raw() as c:
        assert c.do("CONFIG", "SET", "tls-auth-clients", "optional") == "OK"
        assert let_in() == {None, "client"}
        assert c.do("CONFIG", "SET", "tls-auth-clients", "no") == "OK"
        assert let_in() == {None, "client", "expired", "stranger"}


def test_a_session_of_before_does_not_get_in_without_a_certificate(start_server, authority):
    """What was agreed on while no certificate was asked for is not resumed when one is."""
    s = start(start_server, authority, tls_auth_clients="no")
    context = client_context(authority, version=TLS12)
    with TlsRaw(s.tls_port, context) as c:
        assert c.do("PING") == "PONG"
        session = c.sock.session
    with s.raw() as c:
        assert c.do("CONFIG", "SET", "tls-auth-clients", "yes") == "OK"
    with pytest.raises((ssl.SSLError, OSError)):
        with TlsRaw(s.tls_port, context, session=session) as c:
            assert not c.is_refused()


@pytest.mark.shoal_only  # in Valkey "default" is a user like any other, in Shoal the one that there is
def test_a_certificate_may_stand_for_a_password(start_server, authority):
    authority.sign("default")
    authority.sign("two", subject="/CN=default/CN=client")
    authority.sign("uri", extensions="subjectAltName=URI:nobody,URI:default")
    s = start(start_server, authority, tls_auth_clients="optional", requirepass="secret", tls_auth_clients_user="CN")

    def known():
        return {name for name in (None, "default", "client", "two", "uri") if not refused(s.tls_port, client_context(authority, name))}

    assert known() == {"default"}
    with s.raw() as c:
        assert c.do("AUTH", "secret") == "OK"
        for field, names in (("URI", {"uri"}), ("off", set()), ("CN", {"default"})):
            assert c.do("CONFIG", "SET", "tls-auth-clients-user", field) == "OK"
            assert known() == names


def test_a_certificate_that_names_no_user_is_in_the_log(start_server, authority):
    """As Valkey's: whom the certificate would be; of several addresses the last. One that names nobody at all is none."""
    authority.sign("stranger1")
    authority.sign("off")
    authority.sign("uris", extensions="subjectAltName=URI:nobody1,URI:nobody2")
    authority.sign("nameless", subject="/O=Shoal Test")
    s = start(start_server, authority, tls_auth_clients="optional", tls_auth_clients_user="CN")
    with s.raw() as c:
        assert c.do("ACL", "SETUSER", "off", "off") == "OK"

        def connect(*names):
            for name in names:
                with TlsRaw(s.tls_port, client_context(authority, name)) as other:
                    assert other.do("ACL", "WHOAMI") == b"default"

        connect("stranger1", "off", "nameless", None, "stranger1")
        assert c.do("CONFIG", "SET", "tls-auth-clients-user", "URI") == "OK"
        connect("uris", "off")
        entries = [dict(zip(e[::2], e[1::2])) for e in c.do("ACL", "LOG")]
        assert [(e[b"username"], e[b"count"]) for e in entries] == [(b"nobody2", 1), (b"stranger1", 2), (b"off", 1)]
        assert {(e[b"reason"], e[b"context"], e[b"object"]) for e in entries} == {(b"tls-cert", b"toplevel", b"")}
        assert b"acl_access_denied_tls_cert:4\r\n" in c.do("INFO", "stats")


def test_a_client_does_not_trust_a_server_of_another_authority(both, authority):
    with pytest.raises(ssl.SSLCertVerificationError):
        TlsRaw(both.tls_port, client_context(authority))
    with TlsRaw(both.tls_port) as c:
        assert c.do("PING") == "PONG"


@pytest.mark.parametrize("version", [TLS12, TLS13])
@pytest.mark.parametrize("caching", ["yes", "no"])
def test_sessions_are_resumed(start_server, version, caching):
    s = start(start_server, tls_session_caching=caching)
    context = client_context(version=version)
    session = None
    reused = []
    for _ in range(6):  # of several workers
        with TlsRaw(s.tls_port, context, session=session) as c:
            assert c.do("PING") == "PONG"
            reused.append(c.sock.session_reused)
            session = c.sock.session
    assert reused == [False] + [caching == "yes"] * 5


def test_a_session_is_forgotten_when_its_time_is_over(start_server):
    s = start(start_server, tls_session_cache_timeout="1")
    context = client_context(version=TLS12)
    with TlsRaw(s.tls_port, context) as c:
        assert c.do("PING") == "PONG"
        session = c.sock.session
    time.sleep(2.5)
    with TlsRaw(s.tls_port, context, session=session) as c:
        assert c.do("PING") == "PONG" and not c.sock.session_reused


# ---- Directives --------------------------------------------------------------------------------------------------


def test_authorities_in_a_folder(start_server, authority, tmp_path):
    """By the names that openssl rehash gives them; no file names them."""
    folder = tmp_path / "authorities"
    folder.mkdir()
    digest = subprocess.run(["openssl", "x509", "-hash", "-noout", "-in", authority.path("ca.crt")], capture_output=True, text=True, check=True).stdout.strip()
    os.symlink(authority.path("ca.crt"), folder / (digest + ".0"))
    s = start(start_server, authority, tls_auth_clients="yes", tls_ca_cert_file="", tls_ca_cert_dir=str(folder))
    assert not refused(s.tls_port, client_context(authority, "client"))
    assert refused(s.tls_port, client_context(authority))
    stranger = Authority(str(tmp_path / "strangers"))
    for path in stranger.sign("stranger"):
        os.rename(path, authority.path(os.path.basename(path)))
    assert refused(s.tls_port, client_context(authority, "stranger"))


def test_parameters_of_diffie_and_hellman(start_server, tmp_path):
    """Of use with a key of RSA and TLS 1.2 alone."""
    name = str(tmp_path / "rsa")
    for args in (
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", name + ".key", "-out", name + ".crt", "-subj", "/CN=localhost"],
        ["genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048", "-out", name + ".dh"],
    ):
        subprocess.run(["openssl", *args], check=True, capture_output=True)
    s = start(start_server, tls_cert_file=name + ".crt", tls_key_file=name + ".key", tls_dh_params_file=name + ".dh")
    context = client_context(version=TLS12)
    context.load_verify_locations(name + ".crt")
    context.set_ciphers("DHE-RSA-AES128-GCM-SHA256")
    with TlsRaw(s.tls_port, context) as c:
        assert c.sock.cipher()[0] == "DHE-RSA-AES128-GCM-SHA256" and c.do("PING") == "PONG"


UPDATE = "ERR CONFIG SET failed (possibly related to argument '%s') - Unable to update TLS configuration. Check server logs."


def test_config_set(start_server, authority):
    s = start(start_server, authority)
    with open(authority.path("bad.crt"), "w") as f:
        f.write("no certificate\n")
    missing = authority.path("missing")
    with s.raw() as c, TlsRaw(s.tls_port, client_context(authority)) as stays:
        for name, value, said in [
            ("tls-cert-file", missing, "Failed to load certificate: %s: error:" % missing),
            ("tls-cert-file", authority.path("bad.crt"), "Failed to load certificate: %s: error:" % authority.path("bad.crt")),
            ("tls-cert-file", "", "No tls-cert-file configured!"),
            ("tls-key-file", authority.path("client.key"), "Failed to load private key: %s: error:" % authority.path("client.key")),
            ("tls-ca-cert-file", missing, "Failed to configure CA certificate(s) file/directory: error:"),
            ("tls-protocols", "foo", "Invalid tls-protocols specified. Use a combination of 'TLSv1', 'TLSv1.1', 'TLSv1.2' and 'TLSv1.3'."),
            ("tls-ciphers", "nonsense", "Failed to configure ciphers: nonsense"),
            ("tls-ciphersuites", "nonsense", "Failed to configure ciphersuites: nonsense"),
            ("tls-dh-params-file", missing, "Failed to load %s: No such file or directory" % missing),
        ]:
            before = c.do("CONFIG", "GET", name)
            assert c.do("CONFIG", "SET", name, value) == RespError(UPDATE % name)
            assert said in s.log()
            assert c.do("CONFIG", "GET", name) == before
            with TlsRaw(s.tls_port, client_context(authority)) as fresh:
                assert fresh.do("PING") == "PONG"
        assert stays.do("PING") == "PONG"
        assert c.do("CONFIG", "SET", "tls-ca-cert-file", "", "tls-auth-clients", "yes").startswith("ERR CONFIG SET failed")
        assert "Either tls-ca-cert-file or tls-ca-cert-dir must be specified" in s.log()


def test_protocols(start_server):
    s = start(start_server)
    with s.raw() as c:
        for words, allowed in [("TLSv1.2", [TLS12]), ("TLSv1.3", [TLS13]), ("tlsv1.2 TLSv1.3", [TLS12, TLS13]), ("", [TLS12, TLS13])]:
            assert c.do("CONFIG", "SET", "tls-protocols", words) == "OK"
            assert [v for v in (TLS12, TLS13) if not refused(s.tls_port, client_context(version=v))] == allowed


def test_ciphers(start_server):
    s = start(start_server, tls_ciphers="ECDHE-ECDSA-AES256-GCM-SHA384", tls_ciphersuites="TLS_CHACHA20_POLY1305_SHA256")
    for version, name in [(TLS12, "ECDHE-ECDSA-AES256-GCM-SHA384"), (TLS13, "TLS_CHACHA20_POLY1305_SHA256")]:
        with TlsRaw(s.tls_port, client_context(version=version)) as c:
            assert c.sock.cipher()[0] == name and c.do("PING") == "PONG"
    context = client_context(version=TLS12)
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    assert refused(s.tls_port, context)


def test_the_server_may_choose_the_cipher(start_server):
    first, second = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"
    s = start(start_server, tls_ciphers="%s:%s" % (first, second))
    context = client_context(version=TLS12)
    context.set_ciphers("%s:%s" % (second, first))

    def chosen():
        with TlsRaw(s.tls_port, context) as c:
            return c.sock.cipher()[0]

    assert chosen() == second
    with s.raw() as c:
        assert c.do("CONFIG", "SET", "tls-prefer-server-ciphers", "yes") == "OK"
    assert chosen() == first


def test_a_key_behind_a_password(start_server, authority):
    authority.sign("server", password="sesame")
    s = start(start_server, authority, tls_key_file=authority.path("server.locked"), tls_key_file_pass="sesame")
    assert not refused(s.tls_port, client_context(authority))
    with s.raw() as c:
        for wrong in ("open", ""):
            assert c.do("CONFIG", "SET", "tls-key-file-pass", wrong) == RespError(UPDATE % "tls-key-file-pass")
    assert not refused(s.tls_port, client_context(authority))
    assert "sesame" not in s.log()


def test_the_port_moves(start_server):
    s = start(start_server)
    with s.raw() as c, TlsRaw(s.tls_port) as stays:
        assert c.do("CONFIG", "SET", "tls-port", s.port) == RespError(
            "ERR CONFIG SET failed (possibly related to argument 'tls-port') - Unable to listen on this port. Check server logs."
        )
        other = free_port()
        assert c.do("CONFIG", "SET", "tls-port", other) == "OK"
        assert not refused(other, client_context()) and refused(s.tls_port, client_context())
        assert c.do("CONFIG", "SET", "tls-port", 0) == "OK"
        assert refused(other, client_context())
        assert c.do("CONFIG", "SET", "tls-cert-file", "/missing") == "OK"  # nobody looks at it now
        assert c.do("CONFIG", "SET", "tls-port", other) == RespError(UPDATE % "tls-port")
        assert c.do("CONFIG", "SET", "tls-cert-file", certs.shared().path("server.crt"), "tls-port", other) == "OK"
        assert not refused(other, client_context())
        assert stays.do("PING") == "PONG"


def test_a_start_without_certificates_fails(start_server, server_binary):
    run = subprocess.run([server_binary, "--port", "0", "--tls-port", str(free_port())], capture_output=True, text=True, timeout=30)
    assert run.returncode == 1
    assert "No tls-cert-file configured!" in run.stdout
    assert "Failed to configure TLS. Check logs for more info." in run.stdout


# ---- Certificates that change ------------------------------------------------------------------------------------


def shown_serial(port, authority):
    with TlsRaw(port, client_context(authority)) as c:
        der = c.sock.getpeercert(binary_form=True)
    run = subprocess.run(["openssl", "x509", "-inform", "DER", "-noout", "-serial"], input=der, capture_output=True, check=True)
    return run.stdout.decode().strip().split("=")[1]


def test_certificates_are_read_again(start_server, authority):
    s = start(start_server, authority)
    first = authority.serial("server")
    with TlsRaw(s.tls_port, client_context(authority)) as stays, s.raw() as c:
        assert shown_serial(s.tls_port, authority) == first
        authority.sign("server")
        second = authority.serial("server")
        assert first != second and shown_serial(s.tls_port, authority) == first
        # The same value as before: it is read again.
        assert c.do("CONFIG", "SET", "tls-cert-file", authority.path("server.crt")) == "OK"
        assert shown_serial(s.tls_port, authority) == second
        assert stays.do("PING") == "PONG"
        info = s.info("tls")
        assert info["tls_server_cert_serial"] == second and info["tls_ca_cert_serial"] == authority.serial("ca")
        assert 364 * 86400 < int(info["tls_server_cert_expires_in_seconds"]) <= 365 * 86400
        assert info["tls_client_cert_serial"] == "none" and info["tls_client_cert_expires_in_seconds"] == "0"
        client = authority.path("client")
        assert c.do("CONFIG", "SET", "tls-client-cert-file", client + ".crt", "tls-client-key-file", client + ".key") == "OK"
        assert s.info("tls")["tls_client_cert_serial"] == authority.serial("client")


def test_certificates_are_read_again_by_themselves(start_server, authority):
    s = start(start_server, authority, tls_auto_reload_interval=1)
    with TlsRaw(s.tls_port, client_context(authority)) as stays:
        for _ in range(2):
            authority.sign("server")
            assert wait_for(lambda: s.info("tls")["tls_server_cert_serial"] == authority.serial("server"))
            assert shown_serial(s.tls_port, authority) == authority.serial("server")
        assert wait_for(lambda: s.log().count("TLS materials reloaded successfully") >= 2)
        good = authority.serial("server")
        os.rename(authority.path("server.crt"), authority.path("kept.crt"))
        assert wait_for(lambda: "Background TLS reload failed" in s.log())
        assert shown_serial(s.tls_port, authority) == good
        assert stays.do("PING") == "PONG"


# ---- Hostile and slow --------------------------------------------------------------------------------------------


def test_garbage_and_plain_clients_are_closed(both):
    for bytes_ in (b"PING\r\n", encode("SET", "k", "v"), b"GET / HTTP/1.1\r\n\r\n", os.urandom(50_000), b"\x16\x03\x01\xff\xff" + b"x" * 70_000,
                   b"\x16\x03\x01\x00\x05\x01\x00\xff\xff\xff"):  # fmt: skip
        with Raw(("127.0.0.1", both.tls_port)) as c:
            try:
                c.send(bytes_)
            except OSError:
                pass
            try:
                assert b"PONG" not in c.read_all(15.0)
            except OSError:
                pass
    with TlsRaw(both.tls_port) as c:
        assert c.do("PING") == "PONG"


def test_garbage_behind_a_handshake_ends_the_connection(both):
    for bytes_ in (os.urandom(1000), b"\x17\x03\x03\x00\x20" + b"x" * 32, b"\x17\x03\x03\xff\xff" + b"x" * 70_000):
        with TlsRaw(both.tls_port) as c:
            assert c.do("PING") == "PONG"
            plain = socket.socket(fileno=os.dup(c.sock.fileno()))
            plain.settimeout(10)
            with plain:
                try:
                    plain.sendall(bytes_)
                    while plain.recv(65536):
                        pass
                except OSError:
                    pass
    with TlsRaw(both.tls_port) as c:
        assert c.do("PING") == "PONG"


def test_abrupt_ends(both):
    """A connection that breaks in the middle of anything: of its handshake, of a record, of a reply."""
    hello = client_hello()
    before = int(both.info("clients")["connected_clients"])
    for n in (0, 1, 5, 50, len(hello)):
        with Raw(("127.0.0.1", both.tls_port)) as c:
            c.send(hello[:n])
    for _ in range(50):
        with TlsRaw(both.tls_port) as c:
            c.send(encode("SET", "big", "x" * 100_000) + encode("GET", "big") * 20)
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert wait_for(lambda: int(both.info("clients")["connected_clients"]) <= before)


def client_hello():
    outgoing = ssl.MemoryBIO()
    handshake = client_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        handshake.do_handshake()
    return outgoing.read()


def test_the_end_is_announced(both):
    """A client that is closed in good order is told by TLS that this was all."""
    with TlsRaw(both.tls_port) as c:
        c.sock.suppress_ragged_eofs = False
        assert c.do("QUIT") == "OK"
        assert c.sock.recv(100) == b""


def test_a_client_that_ends_its_side_gets_its_replies(both):
    with TlsRaw(both.tls_port) as c:
        c.send(encode("GET", "k") * 100 + encode("ECHO", "last"))
        with pytest.raises(ssl.SSLError, match="APPLICATION_DATA_AFTER_CLOSE_NOTIFY"):  # that is what Python calls them
            c.sock.unwrap()


@pytest.mark.timing
@pytest.mark.slow
def test_half_open_handshakes_by_the_thousand(start_server, slow):
    """Memory is bounded, others are served, and they time out."""
    s = start(start_server)
    hello = client_hello()
    with TlsRaw(s.tls_port) as c:
        assert c.do("PING") == "PONG"
        before = s.rss()
        half = []
        try:
            for i in range(3000):
                sock = socket.create_connection(("127.0.0.1", s.tls_port))
                half.append(sock)
                if i % 3 != 0:
                    sock.sendall(hello if i % 3 == 1 else hello[:100])
                if i % 300 == 0:
                    assert c.do("PING") == "PONG"
            began = time.monotonic()
            with TlsRaw(s.tls_port) as fresh:  # there is room for one who means it
                assert fresh.do("PING") == "PONG"
            assert time.monotonic() - began < 5 * slow
            assert s.rss() - before < (200 << 20) * (3 if slow > 1 else 1)
            # None of them is there for longer than ten seconds.
            assert wait_for(lambda: int(s.info("clients")["connected_clients"]) <= 2, 30 * slow)
        finally:
            for sock in half:
                sock.close()
        assert c.do("PING") == "PONG"
    # Each is told of, but for those that were too many for the log (server/observe/flood.c): they are counted.
    told = r"Error accepting a client connection: handshake (?:timed out|given up)|Left out of the log: (\d+) more lines about failed TLS handshakes"
    assert wait_for(lambda: sum(int(n or 1) for n in re.findall(told, s.log())) > 100)


def test_key_updates_without_reading(both):
    """Whoever asks for one all the time and never reads is not answered without end."""
    program = "openssl"
    run = subprocess.Popen(
        [program, "s_client", "-connect", "127.0.0.1:%d" % both.tls_port, "-CAfile", certs.shared().path("ca.crt"), "-tls1_3"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        run.stdin.write(b"PING\r\n")
        run.stdin.flush()
        for _ in range(200):
            run.stdin.write(b"K\n")
            run.stdin.flush()
        run.stdin.write(b"ECHO after\r\n")
        run.stdin.flush()
        got = b""
        deadline = time.monotonic() + 20
        while b"after" not in got and time.monotonic() < deadline:
            if select.select([run.stdout], [], [], 1)[0]:
                more = os.read(run.stdout.fileno(), 65536)
                if not more:
                    break
                got += more
        assert b"+PONG" in got and b"after" in got
    finally:
        run.kill()
        run.wait()
        run.stdin.close()
        run.stdout.close()


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_pipeline_of_ten_thousand(both, version):
    with TlsRaw(both.tls_port, client_context(version=version), timeout=60) as c:
        sender = threading.Thread(target=c.send, args=(b"".join(encode("SET", "p:%d" % i, i) + encode("GET", "p:%d" % i) for i in range(10000)),))
        sender.start()
        for i in range(10000):
            assert c.read() == "OK" and c.read() == b"%d" % i
        sender.join()


def test_requests_in_pieces(both):
    """Records of one byte, and many of them at once."""
    with TlsRaw(both.tls_port) as c:
        for byte in encode("SET", "pieces", "0123456789"):
            c.send(bytes([byte]))
        assert c.read() == "OK"
        for _ in range(50):
            for byte in encode("GET", "pieces"):
                c.send(bytes([byte]))
        assert c.read_some(50) == [b"0123456789"] * 50


@pytest.mark.parametrize("bytes_", [16383, 16384, 16385, 40_000, 65_536, 1_000_000])
def test_sizes_about_those_of_records(both, bytes_):
    value = os.urandom(bytes_)
    with TlsRaw(both.tls_port) as c:
        assert c.do("SET", "v", value) == "OK"
        assert c.do("GET", "v") == value
        c.send(encode("PING") + encode("GET", "v") + encode("PING") + encode("GET", "v"))
        assert c.read_some(4) == ["PONG", value, "PONG", value]


@pytest.mark.timing
@pytest.mark.slow
def test_a_value_of_200_mb(start_server, slow):
    s = start(start_server)
    piece = os.urandom(1 << 20)
    n = 200 if slow == 1 else 20
    with TlsRaw(s.tls_port, timeout=120) as c:
        c.send(b"*3\r\n$3\r\nSET\r\n$4\r\nhuge\r\n$%d\r\n" % (n << 20))
        for _ in range(n):
            c.send(piece)
        c.send(b"\r\n")
        assert c.read() == "OK"
        # It was received into the memory that it stays in.
        assert s.rss_peak() < (2 if slow > 1 else 1.3) * (n << 20) + (100 << 20)
        assert c.do("STRLEN", "huge") == n << 20
        c.send(encode("GET", "huge"))
        reader = c.sock.makefile("rb", buffering=1 << 20)
        assert reader.readline() == b"$%d\r\n" % (n << 20)
        for _ in range(n):
            assert reader.read(1 << 20) == piece
        assert reader.readline() == b"\r\n"


def test_slow_readers_hold_nobody_up(both):
    with both.raw() as c:
        assert c.do("SET", "long", "x" * 1_000_000) == "OK"
    readers = [TlsRaw(both.tls_port, rcvbuf=4096) for _ in range(8)]
    try:
        for reader in readers:
            reader.send(encode("GET", "long") * 5)
        with TlsRaw(both.tls_port) as c:
            for _ in range(100):
                assert c.do("PING") == "PONG"
        for reader in readers:
            assert reader.read() == b"x" * 1_000_000
        for reader in readers:
            assert reader.read_some(4) == [b"x" * 1_000_000] * 4
    finally:
        for reader in readers:
            reader.close()


def test_a_reader_over_its_limit_is_closed(start_server):
    s = start(start_server, client_output_buffer_limit="normal 2mb 0 0")
    with TlsRaw(s.tls_port, rcvbuf=4096) as c:
        assert c.do("SET", "long", "x" * 1_000_000) == "OK"
        c.send(encode("GET", "long") * 30)
        assert wait_for(lambda: int(s.info("clients")["connected_clients"]) == 1)


def test_client_kill_of_half_open_ones(both):
    """Killed by address while the handshake is under way."""
    with both.raw() as killer:
        for n in (0, 100, 10_000):
            with socket.create_connection(("127.0.0.1", both.tls_port)) as c:
                c.sendall(client_hello()[:n])
                address = "%s:%d" % c.getsockname()
                assert wait_for(lambda: killer.do("CLIENT", "KILL", "ADDR", address) == 1)
                c.settimeout(10)
                try:
                    while c.recv(65536):
                        pass
                except OSError:
                    pass
    with TlsRaw(both.tls_port) as c:
        assert c.do("PING") == "PONG"


def test_what_client_list_says(both):
    with TlsRaw(both.tls_port) as c:
        fields = dict(f.split("=", 1) for f in c.do("CLIENT", "LIST", "ID", c.do("CLIENT", "ID")).decode().split())
        assert fields["laddr"] == "127.0.0.1:%d" % both.tls_port and fields["flags"] == "N"
        assert int(fields["tot-net-in"]) < 200  # of what was in the records
