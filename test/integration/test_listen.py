# SPDX-License-Identifier: BSD-3-Clause
"""Where the server listens: addresses, unix socket, protected mode."""

import ctypes
import grp
import os
import resource
import socket
import stat
import threading

import pytest

import certs
from resp import Raw, RespError, encode
from server import ServerFailed, free_port, wait_for


BIND_FAILED = RespError("ERR CONFIG SET failed (possibly related to argument 'bind') - Failed to bind to specified addresses.")


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


def own_address():
    """An address of this machine that is not loopback, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))
            address = s.getsockname()[0]
        except OSError:
            return None
    return None if address.startswith("127.") else address


def test_several_bind_addresses(start_server):
    s = start_server(bind=["127.0.0.1", "127.0.0.2"])
    for address in ("127.0.0.1", "127.0.0.2"):
        with Raw((address, s.port)) as c:
            assert c.do("PING") == "PONG"
            assert ("laddr=%s:%d " % (address, s.port)).encode() in c.do("CLIENT", "INFO")
    with pytest.raises(ConnectionRefusedError):
        Raw(("127.0.0.3", s.port))
    assert s.info("server")["listener0"] == "name=tcp,bind=127.0.0.1,bind=127.0.0.2,port=%d" % s.port


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_ipv6(start_server):
    s = start_server(bind=["127.0.0.1", "::1"])
    with Raw(("::1", s.port)) as c:
        assert c.do("PING") == "PONG"
        line = c.do("CLIENT", "INFO").decode()
        assert " addr=[::1]:" in line and " laddr=[::1]:%d " % s.port in line


def test_optional_bind_address_that_does_not_exist_is_skipped(start_server):
    s = start_server(bind=["127.0.0.1", "-192.0.2.77"])
    with s.raw() as c:
        assert c.do("PING") == "PONG"


def test_bind_address_that_does_not_exist_is_refused(start_server):
    s = start_server(start=False, bind=["127.0.0.1", "192.0.2.77"])
    with pytest.raises(ServerFailed):
        s.start()
    s.stopped_by_test = True
    assert "192.0.2.77" in s.log()


def test_unix_socket_and_its_permissions(start_server, tmp_path):
    path = str(tmp_path / "s.sock")
    s = start_server(unixsocket=path, unixsocketperm="700")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    with Raw(path) as c:
        assert c.do("SET", "unix", "1") == "OK"
        line = c.do("CLIENT", "INFO").decode()
        assert " addr=" in line and line.count(path + ":0") == 2 and " flags=U " in line
    with s.raw() as c:
        assert c.do("GET", "unix") == b"1"
    s.stop()
    s.stopped_by_test = True
    assert not os.path.exists(path)


def test_kill_by_the_address_that_unix_clients_share(start_server, tmp_path):
    path = str(tmp_path / "s.sock")
    s = start_server(unixsocket=path)
    clients = [Raw(path) for _ in range(8)]
    line = [c.do("CLIENT", "INFO").decode() for c in clients][0]
    address = line.split(" addr=")[1].split()[0]
    with s.raw() as killer:
        assert killer.do("CLIENT", "KILL", address) == "OK"
        assert all(c.is_closed() for c in clients)
        assert killer.do("CLIENT", "KILL", address) == RespError("ERR No such client")
    with Raw(path) as c:
        assert c.do("CLIENT", "KILL", address) == "OK"
        assert c.is_closed()


def test_unix_socket_and_its_group(start_server, tmp_path):
    mine = set(os.getgroups())
    others = [g for g in grp.getgrall() if g.gr_gid != os.getegid() and (os.geteuid() == 0 or g.gr_gid in mine)]
    if not others:
        pytest.skip("this user is in one group only")
    path = str(tmp_path / "group.sock")
    start_server(unixsocket=path, unixsocketgroup=others[0].gr_name, unixsocketperm="770")
    assert os.stat(path).st_gid == others[0].gr_gid
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o770
    s = start_server(start=False, unixsocket=str(tmp_path / "none.sock"), unixsocketgroup="no-such-group")
    with pytest.raises(ServerFailed):
        s.start()
    s.stopped_by_test = True


def test_only_a_unix_socket(start_server, tmp_path):
    path = str(tmp_path / "only.sock")
    s = start_server(port=0, unixsocket=path)
    assert s.address == path
    with Raw(path) as c:
        assert c.do("PING") == "PONG"


def test_stale_unix_socket_is_replaced(start_server, tmp_path):
    path = str(tmp_path / "stale.sock")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    start_server(unixsocket=path)
    with Raw(path) as c:
        assert c.do("PING") == "PONG"


def test_a_file_in_the_place_of_the_unix_socket(start_server, tmp_path):
    """Programs hold a name with an empty file (mktemp, as Perl's clients do in their tests) and hand it to the server. A file with
    something in it is somebody's."""
    held, somebodys = tmp_path / "held.sock", tmp_path / "letter"
    held.touch()
    start_server(unixsocket=str(held))
    with Raw(str(held)) as c:
        assert c.do("PING") == "PONG"
    somebodys.write_text("not yours")
    s = start_server(start=False, unixsocket=str(somebodys))
    with pytest.raises(ServerFailed):
        s.start()
    s.stopped_by_test = True
    assert "Could not open unix socket %s: Address already in use" % somebodys in s.log()
    assert somebodys.read_text() == "not yours"


@pytest.mark.parametrize("turn", range(5))
def test_a_start_after_a_kill(start_server, tmp_path, turn):
    """The kernel takes the rings of a killed process apart in its own time. Till then its sockets were bound, and the next start
    failed."""
    path = str(tmp_path / "s.sock")
    s = start_server(bind=["127.0.0.1", "127.0.0.2"] + ["::1"] * has_ipv6(), unixsocket=path)

    def starts_at_once():
        """Unless the kernel takes longer than a server tries."""
        clients = [s.raw() for _ in range(10)] + [Raw(path)]
        for c in clients:
            assert c.do("PING") == "PONG"
        said = s.log().count("trying again")
        s.kill()
        s.start_again()
        for c in clients:
            c.close()
        return s.log().count("trying again") - said <= 1

    assert any(starts_at_once() for _ in range(4))
    for address in ("127.0.0.1", "127.0.0.2") + ("::1",) * has_ipv6():
        with Raw((address, s.port)) as c:
            assert c.do("PING") == "PONG"
    with Raw(path) as c:
        assert c.do("PING") == "PONG"


@pytest.mark.shoal_only
def test_a_port_that_is_let_go_of_during_the_start(start_server):
    s = start_server()
    s.kill()
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        assert wait_for(lambda: bound(holder, s.port))
        holder.listen()

        def let_go_when_asked_for():
            wait_for(lambda: "is in use: trying again" in s.log())
            holder.close()

        let_go = threading.Thread(target=let_go_when_asked_for)
        let_go.start()
        s.start_again()
        let_go.join()
    assert "127.0.0.1:%d is in use: trying again" % s.port in s.log() or "*:%d is in use: trying again" % s.port in s.log()


def bound(a_socket, port):
    try:
        a_socket.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def test_protected_mode_refuses_other_machines(start_server):
    """Asked over an own address that is not loopback, as another machine would be."""
    address = own_address()
    if not address:
        pytest.skip("this machine has only loopback")
    s = start_server(bind="*")
    before = s.info("stats")
    with Raw((address, s.port)) as c:
        reply = c.read()
        assert isinstance(reply, RespError) and reply.startswith("DENIED ")
        assert c.is_closed()
    after = s.info("stats")
    names = "rejected_connections", "total_connections_received"
    # INFO comes by a connection of its own; who is refused was not received.
    assert [int(after[name]) - int(before[name]) for name in names] == [1, 1]
    with s.raw() as c:
        assert c.do("CONFIG", "SET", "protected-mode", "no") == "OK"
    with Raw((address, s.port)) as c:
        assert c.do("PING") == "PONG"
    with s.raw() as c:
        c.do("CONFIG", "SET", "protected-mode", "yes")
        c.do("CONFIG", "SET", "requirepass", "x")
    s.password = "x"
    with Raw((address, s.port)) as c:
        assert c.do("PING") == "NOAUTH Authentication required."


def test_port_can_be_changed_at_run_time(start_server):
    s = start_server()
    port = free_port()
    with s.raw() as c:
        assert c.do("CONFIG", "SET", "port", port) == "OK"
        with Raw(("127.0.0.1", port)) as other:
            assert other.do("PING") == "PONG"
        assert c.do("PING") == "PONG"
    with pytest.raises(ConnectionRefusedError):
        s.raw()
    s.port = port


def test_port_that_is_taken_changes_nothing(start_server):
    s, other = start_server(), start_server()
    with s.raw() as c:
        got = c.do("CONFIG", "SET", "port", other.port)
        assert isinstance(got, RespError) and "Unable to listen on this port" in got.text
        assert c.do("CONFIG", "GET", "port") == [b"port", b"%d" % s.port]
    with s.raw() as c:
        assert c.do("PING") == "PONG"


def test_bind_can_be_changed_at_run_time(start_server):
    s = start_server(bind=["127.0.0.1", "127.0.0.2"])
    with s.raw() as c:
        assert c.do("CONFIG", "SET", "bind", "127.0.0.1 127.0.0.4") == "OK"
        assert c.do("CONFIG", "GET", "bind") == [b"bind", b"127.0.0.1 127.0.0.4"]
    with Raw(("127.0.0.4", s.port)) as c:
        assert c.do("PING") == "PONG"
    with pytest.raises(ConnectionRefusedError):
        Raw(("127.0.0.2", s.port))


def test_bind_that_fails_leaves_the_old_addresses(start_server):
    s = start_server(bind=["127.0.0.1", "127.0.0.2"])
    with s.raw() as c:
        assert c.do("CONFIG", "SET", "bind", "127.0.0.1 192.0.2.77") == BIND_FAILED
        assert c.do("CONFIG", "GET", "bind") == [b"bind", b"127.0.0.1 127.0.0.2"]
    for address in ("127.0.0.1", "127.0.0.2"):
        with Raw((address, s.port)) as c:
            assert c.do("PING") == "PONG"


def test_bind_can_be_changed_when_files_have_run_out(start_server):
    """With io_uring old listeners kept their descriptors for a moment: there were none for new ones, nor for the old again,
    and nobody could connect any more."""
    s = start_server()
    with s.raw() as r:
        files = len(os.listdir("/proc/%d/fd" % s.pid)) + 8
        resource.prlimit(s.pid, resource.RLIMIT_NOFILE, (files, files))
        clients = [s.raw() for _ in range(20)]
        assert wait_for(lambda: len(os.listdir("/proc/%d/fd" % s.pid)) >= files - 1)
        assert r.do("CONFIG", "SET", "bind", "127.0.0.1") == "OK"
        for c in clients:
            c.close()
        assert wait_for(lambda: len(os.listdir("/proc/%d/fd" % s.pid)) < files - 4)
        with s.raw() as c:
            assert c.do("PING") == "PONG"


@pytest.mark.shoal_only
def test_bind_that_fails_both_ways_leaves_the_connections_that_are_there(start_server):
    """When the old addresses could not be had again either, a check failed and the server ended. Without room for another
    file no socket can be opened."""
    s = start_server(bind="127.0.0.1")
    limits = resource.prlimit(s.pid, resource.RLIMIT_NOFILE)
    with s.raw() as c:
        assert c.do("PING") == "PONG"
        resource.prlimit(s.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        assert c.do("CONFIG", "SET", "bind", "127.0.0.1 127.0.0.2") == BIND_FAILED
        assert c.do("CONFIG", "GET", "bind") == [b"bind", b"127.0.0.1"]
        assert c.do("PING") == "PONG"
        with pytest.raises(ConnectionRefusedError):
            s.raw()
        assert s.log().count("Could not create server TCP listening socket") == 2
        resource.prlimit(s.pid, resource.RLIMIT_NOFILE, limits)
        assert c.do("CONFIG", "SET", "bind", "127.0.0.1 127.0.0.2") == "OK"
    with Raw(("127.0.0.2", s.port)) as c:
        assert c.do("PING") == "PONG"


IPPROTO_MPTCP, SOL_MPTCP, MPTCP_INFO, SO_MARK, PIDFD_GETFD = 262, 284, 1, 36, 438


def speaks_mptcp(port):
    """Whether a server answers in MPTCP; else the kernel goes on in TCP."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as s:
        s.settimeout(20)
        s.connect(("127.0.0.1", port))
        s.sendall(b"PING\r\n")
        assert s.recv(7) == b"+PONG\r\n"
        try:
            flags = int.from_bytes(s.getsockopt(SOL_MPTCP, MPTCP_INFO, 64)[8:12], "little")
        except OSError:
            return False
        return flags & 1 == 0  # MPTCP_INFO_FLAG_FALLBACK


def has_mptcp():
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as s:
            s.bind(("127.0.0.1", 0))
            s.listen(1)
        return True
    except OSError:
        return False


@pytest.mark.plain_port
@pytest.mark.skipif(not has_mptcp(), reason="no MPTCP here")
@pytest.mark.parametrize("mptcp", ("yes", "no"))
def test_mptcp_is_spoken_if_it_is_asked_for(start_server, mptcp):
    s = start_server(mptcp=mptcp)
    assert speaks_mptcp(s.port) == (mptcp == "yes")
    with s.raw() as c:
        assert c.do("PING") == "PONG"


def may_mark():
    with socket.socket() as s:
        try:
            s.setsockopt(socket.SOL_SOCKET, SO_MARK, 7)
        except PermissionError:
            return False
        return True


def marks(pid):
    """Of all sockets of the process that have a local port."""
    found = []
    pidfd = os.pidfd_open(pid)
    for name in os.listdir("/proc/%d/fd" % pid):
        fd = ctypes.CDLL(None).syscall(PIDFD_GETFD, pidfd, int(name), 0)
        if fd < 0:
            continue
        try:
            with socket.socket(fileno=fd) as s:
                if s.family in (socket.AF_INET, socket.AF_INET6) and s.getsockname()[1]:
                    found.append(s.getsockopt(socket.SOL_SOCKET, SO_MARK))
        except OSError:
            pass  # it is no socket
    os.close(pidfd)
    return found


def test_sockets_of_clients_are_marked(start_server):
    """socket-mark-id: the listening socket and what it accepts. Who may not is told so, and serves."""
    s = start_server(bind="127.0.0.1", **{"socket-mark-id": 4711})
    with s.raw() as c:
        assert c.do("PING") == "PONG"
        if may_mark():
            assert marks(s.pid).count(4711) >= 2
        else:
            assert s.kind != "shoal" or "socket-mark-id: the system does not let the server mark its sockets" in s.log()


@pytest.mark.plain_port
@pytest.mark.parametrize("tls", (False, True))
def test_new_connections_of_one_turn_are_counted(start_server, tls):
    """max-new-connections-per-cycle 1, and its relative of TLS: with 200 that wait, the thread that accepts makes 200 turns. Those that
    have hung up meanwhile count, too."""
    cycle = {"max-new-connections-per-cycle": 1000, "max-new-tls-connections-per-cycle": 1000}
    cycle["max-new-%sconnections-per-cycle" % ("tls-" if tls else "")] = 1
    port = free_port()
    s = start_server(config={**certs.server_config(), **cycle, "tls-port": port, "enable-debug-command": "yes"})
    with s.raw() as c:
        before = int(s.info("stats")["eventloop_cycles"])
        accepted = int(s.info("stats")["total_connections_received"])
        c.send(encode("DEBUG", "SLEEP", "0.3"))
        waiting = [socket.create_connection(("127.0.0.1", port if tls else s.port)) for _ in range(200)]
        assert c.read() == "OK"
        assert wait_for(lambda: int(s.info("stats")["total_connections_received"]) >= accepted + 200)
        assert int(s.info("stats")["eventloop_cycles"]) - before >= 200
        for one in waiting:
            one.close()
