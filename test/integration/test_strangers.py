# SPDX-License-Identifier: BSD-3-Clause
"""What those may cost who have not said who they are: their memory together, and how many come of one address."""

import re

import pytest

from resp import Raw, encode
from server import wait_for

pytestmark = [pytest.mark.shoal_only, pytest.mark.row_each, pytest.mark.plain_port]

MB = 1 << 20
# Ten words of an AUTH, the last of which does not end: as much as a stranger may send.
HOARD = b"*10\r\n" + (b"$16384\r\n" + b"x" * 16384 + b"\r\n") * 9 + b"$16384\r\n" + b"x" * 16000


def rejected(c):
    return int(re.search(rb"rejected_connections:(\d+)", c.do("INFO", "stats")).group(1))


def closed(c):
    return int(re.search(rb"client_query_buffer_limit_disconnections:(\d+)", c.do("INFO", "stats")).group(1))


def test_strangers_together_hold_no_more_than_they_may(start_server, slow):
    """Each had its limits, and ten thousand of them a gigabyte and a half."""
    s = start_server(requirepass="secret", unauthenticated_maxmemory="4mb", maxclients="2000")
    with s.raw() as c:
        assert c.do("AUTH", "secret") == "OK"
        before = s.rss()
        idle = [s.raw() for _ in range(200)]  # who says nothing counts for nothing
        hoarders = []
        for n in range(200):
            h = s.raw()
            try:
                h.send(HOARD)
            except OSError:
                pass
            hoarders.append(h)
            if n % 20 == 0:  # one who means it, and one who is in
                with s.raw() as fresh:
                    assert fresh.do("AUTH", "secret") == "OK"
                    assert fresh.do("SET", "k", "v" * 100_000) == "OK"
        assert wait_for(lambda: closed(c) >= 170)
        assert 10 <= 200 - closed(c)  # those within it stay
        assert s.rss() - before < 40 * MB * slow
        for i in idle:
            assert i.do("AUTH", "secret") == "OK"
            i.close()
        for h in hoarders:
            h.close()
        # What they held is given back to those who come.
        assert wait_for(lambda: int(re.search(rb"connected_clients:(\d+)", c.do("INFO", "clients")).group(1)) == 1)
        for _ in range(10):
            with s.raw() as h:
                h.send(HOARD + b"x" * 384 + b"\r\n")
                assert h.read() == "NOAUTH Authentication required."
        assert "unauthenticated-maxmemory" in s.log()


def test_who_has_logged_in_counts_for_nothing(start_server):
    s = start_server(requirepass="secret", unauthenticated_maxmemory="100kb")
    clients = [s.raw() for _ in range(30)]
    for c in clients:
        assert c.do("AUTH", "secret") == "OK"
        c.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n" + b"x" * 90_000)
    with s.raw() as c:
        assert c.do("AUTH", "secret") == "OK" and closed(c) == 0
        assert c.do("CONFIG", "SET", "unauthenticated-maxmemory", "0") == "OK"
        strangers = [s.raw() for _ in range(30)]
        for h in strangers:
            h.send(HOARD)
        assert wait_for(lambda: sum(int(n) > 100_000 for n in re.findall(rb"tot-mem=(\d+)", c.do("CLIENT", "LIST"))) >= 30)
        assert closed(c) == 0
    for c in clients + strangers:
        c.close()


def test_so_many_of_one_address(start_server, tmp_path):
    path = str(tmp_path / "s")
    s = start_server(bind="127.0.0.1 ::1", unixsocket=path)
    with s.raw() as early:  # it does not count: there was no limit when it came
        assert early.do("CONFIG", "SET", "address-maxclients", "5") == "OK"
        assert early.do("CONFIG", "GET", "address-maxclients") == [b"address-maxclients", b"5"]
        mine = [dial(s, "127.0.0.1") for _ in range(5)]
        others = [dial(s, "127.0.0.2") for _ in range(5)]
        for c in mine + others:
            assert c.do("PING") == "PONG"
        before = rejected(early)
        for source in ("127.0.0.1", "127.0.0.2"):
            with dial(s, source) as c:
                assert c.read() == "ERR max number of clients of this address reached"
                assert c.is_closed()
        assert rejected(early) == before + 2
        with Raw(path) as c:
            assert c.do("PING") == "PONG"
        with dial(s, "127.0.0.3") as c:
            assert c.do("PING") == "PONG"
        # Who goes makes room for one.
        mine.pop().close()
        assert wait_for(lambda: answers(s, "127.0.0.1"))
        assert early.do("CONFIG", "SET", "address-maxclients", "0") == "OK"
        more = [dial(s, "127.0.0.1") for _ in range(10)]
        for c in more:
            assert c.do("PING") == "PONG"
        for c in mine + others + more:
            c.close()
        # Nothing is left of those who are gone.
        assert wait_for(lambda: int(re.search(rb"connected_clients:(\d+)", early.do("INFO", "clients")).group(1)) == 1)
        assert early.do("CONFIG", "SET", "address-maxclients", "5") == "OK"
        six = [s.raw() for _ in range(5)]
        for c in six:
            assert c.do("PING") == "PONG"
            c.close()


def test_a_network_of_ipv6_is_one_address(start_server):
    s = start_server(bind="127.0.0.1 -::1", address_maxclients="3")
    try:
        clients = [Raw(("::1", s.port)) for _ in range(3)]
    except OSError:
        pytest.skip("no IPv6 here")
    for c in clients:
        assert c.do("PING") == "PONG"
    with Raw(("::1", s.port)) as c:
        assert c.read() == "ERR max number of clients of this address reached"
    with s.raw() as c:
        assert c.do("PING") == "PONG"
    for c in clients:
        c.close()


def dial(s, source):
    return Raw(("127.0.0.1", s.port), source=source)


def answers(s, source):
    with dial(s, source) as c:
        c.send(encode("PING"))
        return c.read() == "PONG"
