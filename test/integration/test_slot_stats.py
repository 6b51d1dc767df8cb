# SPDX-License-Identifier: BSD-3-Clause
"""CLUSTER SLOT-STATS while `cluster-slot-stats-enabled`: what commands on a slot took, beside a Valkey. Keys and bytes are the same number by number;
time is there where something has run. What Valkey counts otherwise stands in OTHERWISE, with the reason (docs/compat.md)."""

import pytest

from cluster_nodes import Nodes, ask, said
from resp import RespError, encode
from server import find_peer, wait_for

pytestmark = [pytest.mark.shoal_only, pytest.mark.row_pair]

needs_valkey = pytest.mark.skipif(find_peer("valkey") is None, reason="no Valkey to compare with: ./dev test installs it")

KEY, OTHER = 12539, 12182  # slots of "key" and "foo"
METRICS = ["key-count", "cpu-usec", "network-bytes-in", "network-bytes-out"]


@pytest.fixture
def nodes(start_server):
    nodes = Nodes(start_server)
    yield nodes
    nodes.stop()


def start(nodes, kind, **options):
    node = nodes.start(kind, cluster_slot_stats_enabled="yes", **options)
    assert ask(node, "CLUSTER", "ADDSLOTSRANGE", "0", "16383") == "OK"
    assert wait_for(lambda: said(node).get("cluster_state") == "ok", 60)
    return node


def stats(node, most=8):
    """By slot, of those of which there is anything to say: no more than so many."""
    found = {}
    for metric in METRICS:
        rows = ask(node, "CLUSTER", "SLOT-STATS", "ORDERBY", metric, "LIMIT", str(most))
        found.update(of_rows([] if isinstance(rows, RespError) else rows))
    return found


def of_rows(rows):
    found = {}
    for slot, figures in rows:
        figures = {name.decode(): value for name, value in zip(figures[::2], figures[1::2])}
        if any(figures.values()):
            found[slot] = figures
    return found


def network(node):
    return {slot: (row["key-count"], row["network-bytes-in"], row["network-bytes-out"]) for slot, row in stats(node).items()}


class Scene:
    """One client of a node that has counted nothing yet, and others if it takes some."""

    def __init__(self, node):
        self.node, self.conns = node, []
        ask(node, "FLUSHALL")
        self.client = self.another()
        assert ask(node, "CONFIG", "RESETSTAT") == "OK"

    def another(self):
        self.conns.append(self.node.raw(timeout=30))
        return self.conns[-1]

    def do(self, *words):
        return self.client.do(*words)

    def all(self, *lines):
        return [self.do(*line.split(" ")) for line in lines]

    def waits(self, *words):
        """The client has sent this, and is blocked."""
        self.client.send(encode(*words))
        assert wait_for(lambda: b"blocked_clients:1\r\n" in ask(self.node, "INFO", "clients"), 30)

    def end(self):
        for c in self.conns:
            c.close()
        assert wait_for(lambda: b"blocked_clients:0\r\n" in ask(self.node, "INFO", "clients"), 30)


def words(*lines):
    return lambda s: s.all(*lines)


def pipeline(s):
    s.client.send(encode("SET", "key", "value") * 3 + encode("GET", "foo"))
    return [s.client.read() for _ in range(4)]


def line(text, replies=1):
    def send(s):
        s.client.send(text)
        return [s.client.read() for _ in range(replies)]

    return send


def blocked_and_served(s):
    s.waits("BLPOP", "key", "0")
    assert network(s.node) == {}
    s.another().do("LPUSH", "key", "value")
    return s.client.read()


def published(s):
    one, other = s.another(), s.another()
    one.do("SSUBSCRIBE", "key")
    other.do("HELLO", "3")
    other.do("SSUBSCRIBE", "key")
    ask(s.node, "CONFIG", "RESETSTAT")
    s.do("SPUBLISH", "key", "hello")
    return one.read(), other.read()


def unheard(how):
    def send(s):
        s.client.send(encode("CLIENT", "REPLY", how) + encode("SET", "key", "v") + encode("CLIENT", "REPLY", "ON"))
        return s.client.read()

    return send


def expired(s):
    s.do("SET", "key", "v", "PX", "1")
    assert wait_for(lambda: s.do("EXISTS", "{key}2") == 0 and ask(s.node, "DBSIZE") == 0, 30)
    ask(s.node, "CONFIG", "RESETSTAT")
    return s.do("GET", "key")


def subscribed_two(s):
    return s.do("SSUBSCRIBE", "key", "{key}2"), s.client.read()


CALLS_OTHERS = "#!lua flags=allow-cross-slot-keys\nredis.call('set','key','v') return redis.call('set','foo','v')"

# Counted the same.
SAME = {
    "a write and a read": words("SET key value", "GET key"),
    "a pipeline": pipeline,
    "a line": line(b"SET key value\r\n"),
    "a line with blanks and quotes": line(b"  SET   key 'value'  \n"),
    "empty lines": line(b"\r\n\r\nSET key value\r\n"),
    "an error of a command": words("SET key value", "LPUSH key v"),
    "no command": words("GET", "GET key b", "NOPE key b", "MGET key b"),
    "several keys of a slot": words("MSET {key}1 v key v", "MGET {key}1 key"),
    "none": words("PING", "INFO", "DBSIZE", "SCAN 0", "CLUSTER KEYSLOT key", "CLUSTER COUNTKEYSINSLOT 12539", "COMMAND GETKEYS get key", "PUBLISH key hello", "PUBSUB SHARDNUMSUB key"),
    "behind others": words("PING", "SELECT 0", "HELLO 3", "HSET key a b", "HGETALL key", "GET key2"),
    "nothing queued": words("MULTI", "PING", "EXEC", "MULTI", "EXEC", "SET key value"),
    "watched": words("WATCH key", "UNWATCH"),
    "subcommands": words("SET key value", "OBJECT ENCODING key", "MEMORY USAGE key"),
    "copies": words("SET key value", "COPY key {key}a", "SORT key{key}", "DUMP key"),
    "large": lambda s: (s.do("SET", "key", b"x" * 200000), len(s.do("GET", "key"))),
    "subscribed": words("SSUBSCRIBE key"),
    "subscribed to two": subscribed_two,
    "subscribed and not": words("SSUBSCRIBE key", "SUNSUBSCRIBE key"),
    "subscribed and not to anything": words("SSUBSCRIBE key", "SUNSUBSCRIBE"),
    "published": published,
    "published for nobody": words("SPUBLISH key hello"),
    "replies off": unheard("OFF"),
    "a reply skipped": unheard("SKIP"),
    "blocked and served": blocked_and_served,
    "served at once": words("RPUSH key a", "BLPOP key 0"),
    "run out": expired,
    "asking": words("ASKING", "GET key"),
    "a script that has keys and does nothing": words("EVAL return-1 1 key", "EVAL return 1 0"),
}

# Not so, and what is counted here: of the transaction all and once, of a script all.
OTHERWISE = {
    "MULTI": (words("MULTI", "SET key value", "GET key", "EXEC"), {KEY: (1, 84, 20)}),  # Valkey: replies of what is inside count again
    "MULTI with others": (words("MULTI", "PING", "GET key", "EXEC"), {KEY: (0, 51, 9)}),
    "DISCARD": (words("MULTI", "GET key", "DISCARD", "GET key"), {KEY: (0, 22, 5)}),  # Valkey: what was queued counts, though it never ran
    "EXECABORT": (words("MULTI", "SET key", "GET key", "EXEC"), {}),
    "a script": (lambda s: s.do("EVAL", "return redis.call('set',KEYS[1],'v')", "1", "key"), {KEY: (1, 73, 5)}),  # Valkey: its calls' replies, and nothing else
    "a script without declared keys": (lambda s: s.do("EVAL", "return redis.call('set','key','v')", "0"), {KEY: (1, 62, 5)}),
    "blocked for a time": (words("BLPOP key 0.05"), {}),  # Valkey: the time of its look, and no bytes
    "a script that fails": (lambda s: s.do("EVAL", "return redis.call('lpush',KEYS[1])", "1", "key"), None),
    "keys of several slots": (lambda s: s.do("EVAL", CALLS_OTHERS, "0"), {KEY: (1, 0, 0), OTHER: (1, 0, 0)}),
    "keys of others than it declares": (lambda s: s.do("EVAL", CALLS_OTHERS, "1", "key"), {KEY: (1, 0, 0), OTHER: (1, 0, 0)}),
    "in MULTI": (
        lambda s: (s.do("MULTI"), s.do("EVAL", "return redis.call('set',KEYS[1],'v')", "1", "key"), s.do("SET", "key", "x"), s.do("EXEC")),
        {KEY: (1, 131, 14)},
    ),
}


@needs_valkey
def test_bytes_of_each_slot_are_as_in_valkey(nodes):
    shoal, valkey = start(nodes, "shoal"), start(nodes, "valkey")
    for name, play in SAME.items():
        seen = []
        for node in (shoal, valkey):
            scene = Scene(node)
            play(scene)
            seen.append(network(node))
            scene.end()
        assert seen[0] == seen[1], name


def test_what_is_counted_otherwise(nodes):
    node = start(nodes, "shoal")
    for name, (play, expected) in OTHERWISE.items():
        scene = Scene(node)
        reply = play(scene)
        found = network(node)
        if expected is None:
            expected = {KEY: (0, 71, len("-%s\r\n" % reply))}
        assert found == expected, name
        assert all((row["cpu-usec"] > 0) == (row["network-bytes-in"] > 0) for row in stats(node).values()), name
        scene.end()


@needs_valkey
def test_questions_are_answered_as_by_valkey(nodes):
    """Also while nothing is counted, and of a node that has some slots only."""
    said_by = []
    for kind in ("shoal", "valkey"):
        node = nodes.start(kind)
        ask(node, "CLUSTER", "ADDSLOTSRANGE", "10", "20", "12000", "13000")
        ask(node, "CONFIG", "SET", "cluster-require-full-coverage", "no")
        assert wait_for(lambda: said(node).get("cluster_state") == "ok", 60)
        lines = []
        for counts in ("no", "yes", "no", "yes"):
            assert ask(node, "CONFIG", "SET", "cluster-slot-stats-enabled", counts) == "OK"
            ask(node, "SET", "key", "v")
            for metric in [*METRICS, "Network-Bytes-IN", "memory-bytes", "nope"]:
                for more in ("", " LIMIT 2", " LIMIT 3 ASC", " ASC LIMIT 3", " DESC LIMIT 2", " LIMIT 0", " ASC DESC", " LIMIT 1 LIMIT 1", " NOPE"):
                    asked = "CLUSTER SLOT-STATS ORDERBY " + metric + more
                    lines.append((counts, asked, ask(node, *asked.split())))
            for span in ("12539 12539", "0 12", "19 12001", "20 10", "x 1", "-1 5", "0 16384"):
                lines.append((counts, span, ask(node, "CLUSTER", "SLOT-STATS", "SLOTSRANGE", *span.split())))
        said_by.append([(counts, asked, without_time(reply)) for counts, asked, reply in lines])
    for ours, theirs in zip(*said_by):
        assert ours == theirs


def without_time(reply):
    if not isinstance(reply, list):
        return reply
    for _, figures in reply:
        for i in range(0, len(figures), 2):
            if figures[i] == b"cpu-usec":
                figures[i + 1] = figures[i + 1] > 0
    return reply


def test_a_slot_that_goes_and_comes_back_begins_anew(nodes):
    node = start(nodes, "shoal")
    ask(node, "SET", "key", "value")
    ask(node, "SET", "foo", "value")
    assert stats(node)[KEY]["network-bytes-in"] == 33
    ask(node, "CLUSTER", "DELSLOTS", str(KEY))
    assert wait_for(lambda: KEY not in stats(node), 30)
    ask(node, "CLUSTER", "ADDSLOTS", str(KEY))
    assert wait_for(lambda: KEY in stats(node), 30)
    assert stats(node)[KEY] == {"key-count": 1, "cpu-usec": 0, "network-bytes-in": 0, "network-bytes-out": 0}
    assert stats(node)[OTHER]["network-bytes-in"] == 33


def test_nothing_is_counted_while_it_is_off_and_nothing_forgotten(nodes):
    node = start(nodes, "shoal")
    ask(node, "SET", "key", "value")
    assert ask(node, "CONFIG", "SET", "cluster-slot-stats-enabled", "no") == "OK"
    ask(node, "SET", "key", "value")
    assert stats(node)[KEY] == {"key-count": 1}
    assert ask(node, "CONFIG", "SET", "cluster-slot-stats-enabled", "yes") == "OK"
    assert network(node)[KEY] == (1, 33, 5)


def test_clients_of_all_workers_are_added_up(nodes):
    """Connections are spread over the workers, and so are the slots: nearly all of it is one worker's work for another."""
    node = start(nodes, "shoal")
    conns = [node.raw(timeout=30) for _ in range(8)]
    for c in conns:
        c.send(b"".join(encode("SET", "k%d" % i, "value") for i in range(200)))
    for c in conns:
        assert c.read_some(200) == ["OK"] * 200
    found = of_rows(ask(node, "CLUSTER", "SLOT-STATS", "SLOTSRANGE", "0", "16383"))
    assert sum(row["network-bytes-in"] for row in found.values()) == 8 * sum(len(encode("SET", "k%d" % i, "value")) for i in range(200))
    assert sum(row["network-bytes-out"] for row in found.values()) == 8 * 200 * 5
    assert all(row["cpu-usec"] >= 0 for row in found.values()) and sum(row["cpu-usec"] for row in found.values()) > 0
    for metric in METRICS:
        rows = [(dict(zip(figures[::2], figures[1::2]))[metric.encode()], slot) for slot, figures in ask(node, "CLUSTER", "SLOT-STATS", "ORDERBY", metric)]
        assert rows == sorted(rows, key=lambda row: (-row[0], row[1]))
    for c in conns:
        c.close()


@needs_valkey
@pytest.mark.slow
def test_replicas_count_what_they_apply_and_primaries_what_they_send(nodes):
    for kind in ("shoal", "valkey"):
        primary, replica = start(nodes, kind), nodes.start("shoal", cluster_slot_stats_enabled="yes")
        ask(replica, "CLUSTER", "MEET", "127.0.0.1", str(primary.port))
        mine = ask(primary, "CLUSTER", "MYID").decode()
        assert wait_for(lambda: ask(replica, "CLUSTER", "REPLICATE", mine) == "OK", 60)
        assert wait_for(lambda: b"state=online" in ask(primary, "INFO", "replication") and ask(primary, "WAIT", "1", "10") == 1, 60)
        for node in (primary, replica):
            ask(node, "CONFIG", "RESETSTAT")
        assert ask(primary, "SET", "key", "value") == "OK"
        assert network(primary) == {KEY: (1, 33, 38)}  # +OK, and what the replica is sent
        assert wait_for(lambda: network(replica) == {KEY: (1, 33, 0)}, 30)
