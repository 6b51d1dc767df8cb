# SPDX-License-Identifier: BSD-3-Clause
"""Sentinels of Redis 7 and Valkey 9.1 watch over Shoals: a primary that is killed is replaced, one that comes back follows, and
a hand-over that is asked for happens; what all replicas had acknowledged is there."""

import os
import subprocess
import tempfile
import threading

import pytest

from resp import Raw, RespError
from server import find_peer, free_port, wait_for
from test_follow import follow, is_up, said

pytestmark = [pytest.mark.row_once, pytest.mark.shoal_only, pytest.mark.plain_port]


class Sentinels:
    """Three of them."""

    def __init__(self, kind, primary):
        path = find_peer(kind)
        if path is None:
            pytest.skip("no %s server, which has its Sentinel: ./dev test installs one" % kind)
        self.dir = tempfile.TemporaryDirectory(prefix="shoal-sentinel-")
        self.ports, self.procs = [], []
        for i in range(3):
            port = free_port()
            conf = os.path.join(self.dir.name, "%d.conf" % i)
            with open(conf, "w") as f:
                f.write("port %d\ndir %s\nsentinel monitor m 127.0.0.1 %d 2\nsentinel down-after-milliseconds m 3000\n"
                        "sentinel failover-timeout m 6000\n" % (port, self.dir.name, primary.port))
            with open(conf + ".log", "w") as log:
                self.procs.append(subprocess.Popen([path, conf, "--sentinel"], stdout=log, stderr=log))
            self.ports.append(port)

    def ask(self, *words):
        with Raw(("127.0.0.1", self.ports[0]), timeout=60) as c:
            return c.do("SENTINEL", *words)

    def has(self, replicas):
        try:
            found = self.ask("REPLICAS", "m")
            fine = [r for r in found if b"ok" == dict(zip(r[::2], r[1::2])).get(b"master-link-status")]
            return len(fine) == replicas and not isinstance(self.ask("CKQUORUM", "m"), RespError)
        except (OSError, EOFError):
            return False

    def primary(self):
        found = self.ask("GET-MASTER-ADDR-BY-NAME", "m")
        return int(found[1])

    def close(self):
        for proc in self.procs:
            proc.kill()
            proc.wait()
        self.dir.cleanup()


@pytest.mark.parametrize("kind", ("redis", "valkey"))
def test_who_is_killed_is_replaced(start_server, kind):
    servers = [start_server(config_file="# rewritten\n") for _ in range(3)]
    by_port = {s.port: s for s in servers}
    first = servers[0]
    for replica in servers[1:]:
        follow(replica, first)
    sentinels = Sentinels(kind, first)
    stop, acknowledged = threading.Event(), []

    def write():
        """To whoever is the primary; what both replicas have is noted."""
        i = 0
        while not stop.is_set():
            try:
                with Raw(("127.0.0.1", sentinels.primary()), timeout=10) as c:
                    while not stop.is_set():
                        i += 1
                        if c.do("SET", "k%d" % i, i) == "OK" and c.do("WAIT", "2", "1000") == 2:
                            acknowledged.append(i)
            except (OSError, EOFError):
                stop.wait(0.05)

    try:
        assert wait_for(lambda: sentinels.has(2), 200)
        writer = threading.Thread(target=write)
        writer.start()
        assert wait_for(lambda: len(acknowledged) > 100, 200)
        first.kill()
        assert wait_for(lambda: sentinels.primary() != first.port, 200)  # one that had no processor for two seconds looks on for half a minute
        first.start_again()

        def settled():
            """Whoever it is: on a machine that has something else to do there may be one more."""
            primary = by_port[sentinels.primary()]
            up = said(primary).get("role") == "master" and said(primary).get("connected_slaves") == "2"
            return up and all(is_up(s) for s in servers if s is not primary)

        assert wait_for(settled, 200)
        second = by_port[sentinels.primary()]
        count = len(acknowledged)
        assert wait_for(lambda: len(acknowledged) > count + 100, 200)

        def handed_over():
            """One that has begun may be given up, on a machine that has something else to do."""
            sentinels.ask("FAILOVER", "m")
            return wait_for(lambda: sentinels.primary() != second.port, 20)

        assert wait_for(handed_over, 200)
        assert wait_for(settled, 200)
        stop.set()
        writer.join()
        with by_port[sentinels.primary()].raw(timeout=60) as c:
            assert [i for i in acknowledged if c.do("GET", "k%d" % i) != b"%d" % i] == []
    finally:
        stop.set()
        sentinels.close()
