# SPDX-License-Identifier: BSD-3-Clause
"""What a client of one node sees, asked of two or three Shoals and of as many Valkeys: who serves which keys, slots on their way,
who waits or has subscribed where a slot leaves, a replica, a cluster that is down. The answers are the same but for ids, ports, offsets
and what DIFFERS names."""

import re

import pytest

from cluster_nodes import Nodes, ask, my_id, said, table
from resp import RespError, encode
from server import find_peer, wait_for

pytestmark = [
    pytest.mark.shoal_only,
    pytest.mark.slow,
    pytest.mark.row_pair,
    pytest.mark.skipif(find_peer("valkey") is None, reason="no Valkey to compare with: ./dev test installs it"),
]

# Of what differs on purpose, or is not there yet (docs/compat.md): the words that were sent begin so.
DIFFERS = (
    "EVAL return redis.call('cluster',",  # the brain answers no script
    "WATCH {bar}no",  # the key may lie on another shard than its client
)


class Asker:
    """Questions and their answers, with names in place of what is another in each run."""

    def __init__(self, nodes):
        self.nodes = nodes
        self.lines = []
        self.names = {}
        self.conns = {}

    def node(self, name, kind, **options):
        node = self.nodes.start(kind, **options)
        self.names[str(node.port)] = "port-of-" + name
        self.names[my_id(node)] = "id-of-" + name
        self.names[ask(node, "CLUSTER", "MYSHARDID").decode()] = "shard-of-" + name
        self.conns[name] = node.raw(timeout=30)
        setattr(self, name, node)
        return node

    def plain(self, value):
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        if isinstance(value, str):
            for text, name in self.names.items():
                value = re.sub(r"(?<![0-9a-f])%s(?![0-9a-f])" % text, name, value)
            return value
        if isinstance(value, RespError):
            return "-" + self.plain(str(value))
        if isinstance(value, dict):
            return {self.plain(k): self.plain(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            value = [self.plain(v) for v in value]
            if "replication-offset" in value:
                value[value.index("replication-offset") + 1] = "offset"
            return value
        return self.names.get(str(value), value) if isinstance(value, int) and not isinstance(value, bool) else value

    def say(self, what, reply):
        self.lines.append((what, self.plain(reply)))

    def ask(self, name, *questions):
        """Each is a text of words, or a list of them."""
        for question in questions:
            words = question if isinstance(question, list) else question.split()
            self.say("%s: %s" % (name, self.plain(" ".join(words))), self.conns[name].do(*words))

    def quietly(self, name, *words):
        return self.conns[name].do(*words)


def script(text, *more):
    return ["EVAL", text, *more]


ALONE = ["GET a", "SELECT 1", "DBSIZE", "SPUBLISH a b", "PUBLISH a b", script("return 1", "0"), "CLUSTER SLOTS", "CLUSTER MYSHARDID", "ASKING", "SCAN 0",
         "RANDOMKEY", "KEYS *", "SWAPDB 0 0", "MOVE a 0", "CONFIG GET databases", "ROLE", "REPLICAOF 127.0.0.1 1", "FAILOVER", "CLUSTER", "CLUSTER nope",
         "CLUSTER KEYSLOT", "CLUSTER MEET", "CLUSTERSCAN x"]

KEYS = ["GET foo", "GET bar", "MGET foo bar", "MSET bar 1 {bar}x 2", "MSET bar 1 c 2", script("return 1", "2", "foo", "bar"), script("return 1", "1", "foo"),
        script("return redis.call('get','foo')", "1", "bar"), script("#!lua flags=allow-cross-slot-keys\nredis.call('set','bar',1); return redis.call('set','{bar}y',2)", "0"),
        "SPUBLISH foo 1", "SPUBLISH bar 1", "SSUBSCRIBE foo bar", "SSUBSCRIBE foo", "PUBSUB SHARDNUMSUB foo", "WATCH foo", "WATCH foo bar", "OBJECT ENCODING foo",
        "SORT bar BY w_*", "SORT bar BY w_{bar}_*", "SORT bar GET #", "SORT bar GET x_*", "SORT bar BY nosort", "SORT foo BY w_*", "SUBSTR foo", "GETX",
        "XREAD STREAMS foo bar 0 0", "BLPOP foo bar 1", "LMPOP 2 foo bar LEFT", "RESTORE-ASKING foo 0 x", "RESTORE foo 0 x", "MEMORY USAGE foo", "PFCOUNT foo bar",
        "COPY bar {bar}2", "COPY bar foo", "RENAME bar foo", "FCALL f 1 foo", "CLUSTERSCAN abc", "CLUSTERSCAN 5", "CLUSTERSCAN 0-{}-0",
        "CLUSTERSCAN 0-{bar}-0 SLOT 1", "CLUSTERSCAN 0-{bar}-0 COUNT 0", "CLUSTERSCAN 0-{bar}-0 NOPE", "CLUSTERSCAN 0-{bar}-0 SLOT 99999", "CLUSTER SLOTS",
        "CLUSTERSCAN 0 MATCH {06S}*", "CLUSTERSCAN 0 MATCH {Qi}*", "CLUSTERSCAN 0 SLOT 0 MATCH {Qi}*", "CLUSTERSCAN 0 SLOT 1 MATCH {Qi}*", "CLUSTERSCAN 0-{Qi}-0 MATCH {06S}*",
        "CLUSTERSCAN 0-{06S}-0 SLOT 0 MATCH {Qi}*", "CLUSTERSCAN 0-{06S}-0 MATCH {Qi}*", "CLUSTERSCAN 0 SLOT 866", "CLUSTERSCAN 0 SLOT 16383", "CLUSTERSCAN 0 SLOT 12345",
        "CLUSTER COUNTKEYSINSLOT -1", "CLUSTER COUNTKEYSINSLOT x", "CLUSTER GETKEYSINSLOT 5061 -1", "CLUSTER GETKEYSINSLOT x 1", "CLUSTER GETKEYSINSLOT 1 x",
        "CLUSTER SLOT-STATS", "CLUSTER SLOT-STATS SLOTSRANGE 5061 5061", "CLUSTER SLOT-STATS SLOTSRANGE 5 4", "CLUSTER SLOT-STATS SLOTSRANGE x 4",
        "CLUSTER SLOT-STATS ORDERBY KEY-COUNT LIMIT 0", "CLUSTER SLOT-STATS ORDERBY nope", "CLUSTER SLOT-STATS ORDERBY KEY-COUNT NOPE",
        "READONLY", "READWRITE", "INFO cluster"]

FLUSHED = ["CLUSTER FLUSHSLOT", "CLUSTER FLUSHSLOT x", "CLUSTER FLUSHSLOT x nope", "CLUSTER FLUSHSLOT -1", "CLUSTER FLUSHSLOT 16384", "CLUSTER flushslot 5061 nope",
           "CLUSTER FlushSlot 5061 ASYNC SYNC", "CLUSTER FLUSHSLOT 1", "CLUSTER FLUSHSLOT 12000", "MSET bar 1 {bar}2 2", "HSET {bar}h f v", "SET other x", "CLUSTER FLUSHSLOT 5061",
           "CLUSTER COUNTKEYSINSLOT 5061", "GET {bar}2", "GET other", "SET bar 1", "CLUSTER FLUSHSLOT 5061 async", "EXISTS bar", "SET bar 1", "CLUSTER FLUSHSLOT 5061 SYNC",
           "EXISTS bar", "MULTI", "SET bar 1", "CLUSTER FLUSHSLOT 5061", "SET {bar}2 2", "EXEC", "EXISTS bar {bar}2", "MULTI", "CLUSTER FLUSHSLOT 99999", "EXEC",
           script("redis.call('set',KEYS[1],2); return {redis.call('cluster','flushslot',5061), redis.call('exists',KEYS[1])}", "1", "bar"), "EXISTS {bar}2"]

OPEN = ["GET bar", "GET {bar}no", "MGET bar {bar}no", "MGET {bar}n1 {bar}n2", "SET {bar}no 1", "COPY bar {bar}c", "MOVE bar 1", "COPY bar bar DB 1",
        script("return redis.call('get',KEYS[1])", "1", "{bar}no"), script("return redis.call('get',KEYS[1])", "1", "bar"), "SPUBLISH bar x", "BLPOP {bar}l 1",
        "WATCH {bar}no", "CLUSTER SLOTS", "MULTI", "SET {bar}no 1", "EXEC", "MULTI", "GET bar", "EXEC"]

COMING = ["GET bar", "ASKING", "GET bar", "GET bar", "ASKING", "SET {bar}no 1", "ASKING", "MGET bar {bar}no", "ASKING", "MGET {bar}no {bar}no", "ASKING",
          "MOVE {bar}no 1", "RESTORE-ASKING bar 0 x", "SPUBLISH bar x", "ASKING", "MULTI", "SET {bar}m 1", "EXEC", "ASKING", "PING", "GET {bar}m"]

REPLICA = ["GET hello", "SET hello 1", "SPUBLISH hello 1", "READONLY", "GET hello", "SET hello 1", ["EVAL_RO", "return redis.call('get',KEYS[1])", "1", "hello"],
           script("return redis.call('set',KEYS[1],1)", "1", "hello"), "GET foo", "CLUSTER SLOTS", "MULTI", "GET hello", "EXEC", "MULTI", "GET hello", "SET hello 1",
           "EXEC", "CLUSTER FLUSHSLOT 866", "GET hello", "READWRITE", "MULTI", "GET hello", "EXEC"]

DOWN = ["GET hello", "SET hello 1", "SPUBLISH hello 1", "GET foo", "CONFIG SET cluster-allow-reads-when-down yes", "GET hello", "SET hello 1",
        "CONFIG SET cluster-allow-reads-when-down no", "CONFIG SET cluster-allow-pubsubshard-when-down no", "SPUBLISH hello 1", "MGET foo bar", "DBSIZE", "MULTI",
        "SET hello 1", "EXEC"]


def is_up(node):
    return said(node).get("cluster_state") == "ok"


def ask_all(nodes, kind):
    q = Asker(nodes)
    a, b = q.node("a", kind), q.node("b", kind)
    q.ask("a", *ALONE)
    q.ask("a", "CLUSTER ADDSLOTSRANGE 0 8191")
    q.ask("b", "CLUSTER ADDSLOTSRANGE 8192 16383")
    q.quietly("a", "CLUSTER", "MEET", "127.0.0.1", str(b.port))
    assert wait_for(lambda: is_up(a) and is_up(b), 60)
    assert wait_for(lambda: all(len(ask(n, "CLUSTER", "SLOTS")) == 2 for n in (a, b)), 60)
    q.ask("a", *KEYS)
    q.ask("a", "MULTI", "SET bar 1", "SET foo 2", "EXEC", "MULTI", "SET bar 1", "SET a{bar} 2", "EXEC", "MULTI", "SET bar 1", "SET b 2", "EXEC", "MULTI", "MGET bar b",
          "EXEC", "MULTI", "PING", "EXEC", "MULTI", "SELECT 1", "EXEC")
    flush_slot(q, a)
    open_slot(q, a, b)
    leave_slot(q, a, b)
    have_replica(q, kind, a)
    go_down(q, a)
    return q.lines


def flush_slot(q, a):
    """Also who watches, and who has asked to be told."""
    q.quietly("a", "CONFIG", "SET", "notify-keyspace-events", "KEA")
    with a.raw(timeout=30) as watcher, a.raw(timeout=30) as listener:
        listener.do("PSUBSCRIBE", "__key*__:*")
        q.quietly("a", "SET", "{bar}1", "1")
        for words in ("WATCH {bar}1", "MULTI"):
            q.say("watcher: " + words, watcher.do(*words.split()))
        q.ask("a", *FLUSHED)
        q.say("watcher: EXEC", watcher.do("EXEC"))
        q.quietly("a", "SET", "{bar}end", "1")
        heard = []
        while not heard or heard[-1] != ("__keyevent@0__:set", "{bar}end"):
            heard.append(tuple(q.plain(word) for word in listener.read()[2:]))
        q.say("events", sorted(heard))
    q.quietly("a", "CONFIG", "SET", "notify-keyspace-events", "")


def open_slot(q, a, b):
    q.quietly("a", "FLUSHALL")
    q.quietly("a", "SET", "bar", "1")
    q.ask("b", "CLUSTER SETSLOT 5061 IMPORTING %s" % my_id(a))
    q.ask("a", "CLUSTER SETSLOT 5061 MIGRATING %s" % my_id(b), *OPEN)
    q.ask("b", *COMING)
    # One that leaves has no place ahead of one that comes: they are shown in the order of slots.
    q.quietly("b", "CLUSTER", "SETSLOT", "9000", "MIGRATING", my_id(a))
    q.say("b: open slots", table(b)[my_id(b)]["slots"])
    q.quietly("b", "CLUSTER", "SETSLOT", "9000", "STABLE")
    q.ask("a", "MIGRATE 127.0.0.1 %d bar 0 5000" % b.port, "GET bar")
    for name in ("a", "b"):
        q.ask(name, "CLUSTER SETSLOT 5061 STABLE")


def leave_slot(q, a, b):
    """Who waits, and who has subscribed, where a slot leaves."""
    with a.raw(timeout=30) as waiter, a.raw(timeout=30) as subscriber:
        subscriber.do("SSUBSCRIBE", "bar")
        waiter.send(encode("BLPOP", "{bar}l", "0"))
        assert wait_for(lambda: int(a.info("clients")["blocked_clients"]) == 1)
        q.quietly("b", "CLUSTER", "SETSLOT", "5061", "IMPORTING", my_id(a))
        q.quietly("a", "CLUSTER", "SETSLOT", "5061", "MIGRATING", my_id(b))
        for key in q.quietly("a", "CLUSTER", "GETKEYSINSLOT", "5061", "100"):
            assert q.quietly("a", "MIGRATE", "127.0.0.1", str(b.port), key, "0", "5000", "REPLACE") == "OK"
        q.ask("b", "CLUSTER SETSLOT 5061 NODE %s" % my_id(b))
        q.ask("a", "CLUSTER SETSLOT 5061 NODE %s" % my_id(b))
        q.say("who waited", waiter.read())
        q.say("who had subscribed", subscriber.read())
    q.ask("a", "GET bar")
    for kind in ("hostname", "unknown-endpoint", "ip"):
        q.ask("a", "CONFIG SET cluster-preferred-endpoint-type %s" % kind, "GET foo", "CLUSTER SLOTS")


def have_replica(q, kind, a):
    q.quietly("a", "SET", "hello", "h")
    c = q.node("c", kind)
    q.quietly("a", "CLUSTER", "MEET", "127.0.0.1", str(c.port))
    assert wait_for(lambda: is_up(c), 60)
    assert wait_for(lambda: ask(c, "CLUSTER", "REPLICATE", my_id(a)) == "OK", 60)
    assert wait_for(lambda: c.info("replication").get("master_link_status") == "up", 60)
    assert wait_for(lambda: all(len(row) > 3 for row in ask(c, "CLUSTER", "SLOTS") if row[0] == 0), 60)
    q.ask("c", *REPLICA)
    show_info(q, a, c)


NOT_SAID = re.compile("cluster_stats_messages_(?!sent|received)|cluster_stats_.*bytes|cluster_my_epoch|cluster_current_epoch|_(sent|received)$")
COUNTED = ("mem_cluster_links", "mem_replication_backlog", "mem_total_replication_buffers", "total_net_repl_output_bytes")


def show_info(q, a, c):
    """What of INFO is about the cluster and replication: lines as they are, or whether they count anything."""
    for name, node in (("a", a), ("c", c)):
        lines = ask(node, "INFO", "cluster_info").decode().splitlines()
        q.say("%s: names of cluster_info" % name, [line.split(":")[0] for line in lines if not re.match("cluster_stats_messages_(?!sent|received)", line)])
        q.say("%s: cluster_info" % name, [line for line in lines if not NOT_SAID.search(line.split(":")[0])])
        q.say("%s: the same as CLUSTER INFO" % name, [line.split(":")[0] for line in lines[1:]] == [line.split(":")[0] for line in ask(node, "CLUSTER", "INFO").decode().splitlines()])
        q.say("%s: default" % name, "cluster_state" in ask(node, "INFO").decode())
        q.say("%s: all" % name, all("cluster_state:ok" in ask(node, "INFO", word).decode() for word in ("all", "everything")))
        q.say("%s: connections" % name, node.info("clients")["cluster_connections"])
    q.say("in EXEC", ask_in_exec(a))
    assert wait_for(lambda: all(int(a.info("everything")[field]) > 0 for field in COUNTED), 30), [(field, a.info("everything")[field]) for field in COUNTED]
    assert int(c.info("stats")["total_net_repl_input_bytes"]) > 0 == int(a.info("stats")["total_net_repl_input_bytes"])
    stats = ask(a, "MEMORY", "STATS")
    assert stats[stats.index(b"cluster.links") + 1] > 0 and stats[stats.index(b"replication.backlog") + 1] > 0


def ask_in_exec(node):
    with node.raw(timeout=30) as c:
        replies = [c.do(*words.split()) for words in ("MULTI", "INFO cluster_info", "PING", "EXEC")]
        return replies[:3], replies[3][0].decode().splitlines()[:2], replies[3][1]


def go_down(q, a):
    with a.raw(timeout=30) as waiter:
        waiter.send(encode("BLPOP", "hello2", "0"))
        waits = "MOVED" not in str(ask(a, "TYPE", "hello2"))
        assert not waits or wait_for(lambda: int(a.info("clients")["blocked_clients"]) == 1)
        q.ask("a", "CLUSTER DELSLOTS 1")
        assert wait_for(lambda: said(a)["cluster_state"] == "fail", 60)
        q.say("who waited", waiter.read())
    q.ask("a", *DOWN)


def test_a_client_sees_the_same(start_server):
    answers = []
    for kind in ("valkey", "shoal"):
        nodes = Nodes(start_server)
        try:
            answers.append(ask_all(nodes, kind))
        finally:
            nodes.stop()
    theirs, ours = answers
    assert [what for what, _ in theirs] == [what for what, _ in ours]
    others = [
        (what, theirs_said, ours_said)
        for (what, theirs_said), (_, ours_said) in zip(theirs, ours)
        if theirs_said != ours_said and not what.split(": ", 1)[-1].startswith(DIFFERS)
    ]
    assert not others, "\n".join("%s\n   Valkey: %r\n   Shoal:  %r" % line for line in others)


def test_many_databases(start_server):
    nodes = Nodes(start_server)
    node = nodes.start("shoal", cluster_databases=4)
    with node.raw() as c:
        assert c.do("SELECT", "3") == "OK" and "out of range" in str(c.do("SELECT", "4"))
        assert c.do("CLUSTER", "ADDSLOTSRANGE", "0", "16383") == "OK"
        assert wait_for(lambda: is_up(node), 30)
        assert c.do("SET", "bar", "1") == "OK" and c.do("MOVE", "bar", "0") == 1
        assert c.do("CLUSTER", "COUNTKEYSINSLOT", "5061") == 0
        assert c.do("SELECT", "0") == "OK" and c.do("CLUSTER", "COUNTKEYSINSLOT", "5061") == 1
