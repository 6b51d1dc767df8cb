# SPDX-License-Identifier: BSD-3-Clause
"""Clients of every kind that ask for much and read nothing, all at once: each is closed at its limit, memory is bounded, and who reads
is served meanwhile."""

import re

import pytest

import certs
from resp import Raw, encode
from server import free_port, wait_for
from test_tls import TlsRaw

pytestmark = [pytest.mark.shoal_only, pytest.mark.plain_port, pytest.mark.row_each]

MB = 1 << 20
LIMIT = 2 * MB


def values(c, section, name):
    return int(re.search(rb"%s:(\d+)" % name.encode(), c.do("INFO", section)).group(1))


def becomes_replica(c):
    """As one begins: what it is sent it does not read."""
    for words in (("PING",), ("REPLCONF", "listening-port", "1"), ("REPLCONF", "capa", "eof", "capa", "psync2")):
        c.send(encode(*words))
        c.read()
    c.send(encode("PSYNC", "?", "-1"))


# What each of them sends at the beginning, and then again and again: a reply of 64 kB, or nothing, as it is told without asking.
KINDS = {
    "get": ([], ["GET", "large"]),
    "mget": ([], ["MGET"] + ["large"] * 8),
    "lrange": ([], ["LRANGE", "list", "0", "-1"]),
    "resp3": ([["HELLO", "3"]], ["HGETALL", "hash"]),
    "script": ([], ["EVAL", "return redis.call('GET', KEYS[1])", "1", "large"]),
    "multi": ([], ["MULTI", ";", "GET", "large", ";", "EXEC"]),
    "subscribe": ([["SUBSCRIBE", "news"]], None),
    "psubscribe": ([["PSUBSCRIBE", "n*"]], None),
    "ssubscribe": ([["SSUBSCRIBE", "news"]], None),
    "events": ([["PSUBSCRIBE", "__key*"]], None),
    "tracking": ([["HELLO", "3"], ["CLIENT", "TRACKING", "ON", "BCAST"]], None),
    "monitor": ([["MONITOR"]], None),
}


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("tls", (False, True), ids=("plain", "tls"))
def test_all_of_them_at_once(start_server, slow, tls):
    limits = " ".join("%s %d 0 0" % (name, LIMIT) for name in ("normal", "pubsub", "replica"))
    tls_port = free_port()
    s = start_server(config={
        **certs.server_config(), "tls-port": str(tls_port), "notify-keyspace-events": "KEA",
        "client-output-buffer-limit": [str(w) for w in limits.split(" ")], "repl-diskless-sync-delay": "0",
    })  # fmt: skip

    def dial():
        return TlsRaw(tls_port, rcvbuf=4096) if tls else Raw(("127.0.0.1", s.port), rcvbuf=4096)

    with s.raw() as c:
        c.do("SET", "large", "x" * 65_536)
        c.do("RPUSH", "list", *["x" * 64] * 1000)
        c.do("HSET", "hash", *["x" * 64] * 1000, *[w for n in range(500) for w in ("f%d" % n, "x" * 64)])
        before = s.rss()
        asking, told = {}, {}
        for name, (first, again) in KINDS.items():
            client = dial()
            for words in first:
                client.do(*words)
            (asking if again else told)[name] = client
        replica = dial()
        becomes_replica(replica)
        assert wait_for(lambda: values(c, "replication", "connected_slaves") == 1)
        ended = lambda: values(c, "stats", "client_output_buffer_limit_disconnections")  # noqa: E731
        for name, client in asking.items():
            request, words = b"", []
            for word in KINDS[name][1] + [";"]:
                if word == ";":
                    request, words = request + encode(*words), []
                else:
                    words.append(word)
            try:
                client.send(request * 300)  # 19 MB
            except OSError:
                pass
        assert wait_for(lambda: ended() >= len(asking)), ended()
        # A stream of changes and of messages for the others, from who reads his replies.
        name = "k" * 20_000
        for n in range(2000):
            c.send(encode("SET", "%s%d" % (name, n % 10), "v" * 2000) + encode("PUBLISH", "news", "m" * 20_000) + encode("SPUBLISH", "news", "m" * 20_000))
            c.read_some(3)
            if n % 50 == 49 and ended() >= len(asking) + len(told) + 1:
                break
        assert wait_for(lambda: ended() >= len(asking) + len(told) + 1), (ended(), c.do("CLIENT", "LIST"))
        assert wait_for(lambda: values(c, "clients", "connected_clients") <= 1)
        assert s.rss() - before < (len(KINDS) + 1) * (LIMIT + 2 * MB) * slow + 64 * MB
        for client in [replica, *asking.values(), *told.values()]:
            client.close()
