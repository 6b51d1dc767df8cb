# SPDX-License-Identifier: BSD-3-Clause
"""Nodes of Valkey, Redis and Shoal in one cluster: they meet, agree, move slots, fail over, forget. Each test runs on Valkey alone,
too: what does not pass there is not asked for."""

import os
import re
import signal

import pytest

import slots
from cluster_nodes import Client, Nodes, agree, ask, cli, create, find_cli, my_id, said, table
from resp import RespError, encode
from server import find_peer, wait_for

pytestmark = [
    pytest.mark.shoal_only,
    pytest.mark.slow,
    pytest.mark.row_pair,
    pytest.mark.skipif(find_cli() is None, reason="no valkey-cli: ./dev test installs it"),
]

MIXES = {
    "shoal": ["shoal", "shoal", "shoal"],
    "with-valkey": ["shoal", "valkey", "shoal"],
    "among-valkeys": ["valkey", "shoal", "valkey"],
    "with-redis": ["shoal", "redis", "valkey"],
}


@pytest.fixture
def nodes(start_server):
    n = Nodes(start_server)
    yield n
    n.stop()


@pytest.fixture(params=sorted(MIXES))
def three(request, nodes):
    """Three primaries that know each other and have all slots."""
    return start_three(nodes, MIXES[request.param])


@pytest.fixture
def mixed(nodes):
    return start_three(nodes, MIXES["with-valkey"] if find_peer("valkey") else MIXES["shoal"])


def start_three(nodes, kinds):
    if any(kind != "shoal" and find_peer(kind) is None for kind in kinds):
        pytest.skip("a peer is not installed: ./dev test does so")
    members = [nodes.start(kind) for kind in kinds]
    create(members)
    assert agree(members), [n.log()[-2000:] for n in members]
    return members


def test_they_serve_as_one(three):
    with Client(three) as c:
        for i in range(300):
            c.set("key:%d" % i, "v%d" % i)
        assert [c.get("key:%d" % i) for i in range(300)] == [b"v%d" % i for i in range(300)]
    assert sum(ask(node, "DBSIZE") for node in three) == 300
    for node in three:
        info = said(node)
        assert (info["cluster_known_nodes"], info["cluster_size"], info["cluster_slots_ok"]) == ("3", "3", "16384")
    assert "All 16384 slots covered" in cli("--cluster", "check", "127.0.0.1:%d" % three[0].port)


@pytest.mark.parametrize("kind", ("shoal", "valkey"))
def test_links_go_out_from_bind_source_addr(nodes, kind):
    """Who is met knows nothing of who comes but where from."""
    met, comes = nodes.start("shoal"), nodes.start(kind, bind_source_addr="127.0.0.9")
    if comes is None:
        pytest.skip("a peer is not installed: ./dev test does so")
    assert ask(comes, "CLUSTER", "MEET", "127.0.0.1", met.port) == "OK"
    name = my_id(comes)
    assert wait_for(lambda: "%s 127.0.0.9:%d@" % (name, comes.port) in ask(met, "CLUSTER", "NODES").decode()), met.log()[-2000:]


PAIRS = {"shoal": ("shoal", "shoal"), "of-valkey": ("valkey", "shoal"), "with-valkey": ("shoal", "valkey")}


@pytest.fixture(params=sorted(PAIRS))
def pair(request, nodes):
    """A primary of the first kind and its replica of the second, which hold a third of the slots; two primaries vote with it."""
    first, second = PAIRS[request.param]
    voters = ["shoal", "valkey"] if find_peer("valkey") else ["shoal", "shoal"]
    if "valkey" in (first, second) and not find_peer("valkey"):
        pytest.skip("no Valkey: ./dev test installs it")
    primaries = [nodes.start(kind) for kind in [first] + voters]
    create(primaries)
    replica = nodes.start(second)
    assert agree(primaries)
    ask(replica, "CLUSTER", "MEET", "127.0.0.1", primaries[0].port)
    assert wait_for(lambda: len(table(replica)) == 4, 60)
    assert wait_for(lambda: ask(replica, "CLUSTER", "REPLICATE", my_id(primaries[0])) == "OK", 60)
    everybody = primaries + [replica]
    assert agree(everybody), [n.log()[-2000:] for n in everybody]
    assert wait_for(lambda: replica.info("replication").get("master_link_status") == "up", 60), replica.log()[-3000:]
    return primaries, replica


def tag_of_slot(wanted):
    return next("t%d" % i for i in range(1_000_000) if slots.slot(b"t%d" % i) == wanted)


def fill(c, count=200):
    for i in range(count):
        c.set("key:%d" % i, "v%d" % i)


def check(c, count=200):
    missing = [i for i in range(count) if c.get("key:%d" % i) != b"v%d" % i]
    assert not missing, missing[:20]


def replicated(primary, replica):
    offset = int(primary.info("replication")["master_repl_offset"])
    return int(replica.info("replication")["slave_repl_offset"]) >= offset


def shows_replica(node, replica):
    return any(member[1] == replica.port for row in ask(node, "CLUSTER", "SLOTS") for member in row[3:])


def test_a_replica_takes_over(pair):
    """kill -9 of the primary; what its replica had is there, the old one comes back as a replica."""
    primaries, replica = pair
    old = primaries[0]
    with Client(primaries + [replica]) as c:
        fill(c)
        assert wait_for(lambda: replicated(old, replica))
        # Clients were not told of a replica that had nothing when it was heard of first.
        assert wait_for(lambda: all(shows_replica(node, replica) for node in primaries + [replica]), 60)
        others = primaries[1:] + [replica]
        for node in others:
            assert ask(node, "CONFIG", "SET", "cluster-node-timeout", "4000") == "OK"
        old.kill()
        assert wait_for(lambda: "master" in table(replica)[my_id(replica)]["flags"], 60), replica.log()[-3000:]
        assert agree(others), [n.log()[-2000:] for n in others]
        check(c)
        c.set("after", "1")
        old.start_again()
        assert agree(primaries + [replica]), [n.log()[-2000:] for n in primaries + [replica]]
        assert wait_for(lambda: old.info("replication")["role"] == "slave" and old.info("replication")["master_link_status"] == "up", 60)
        check(c)
        assert c.get("after") == b"1"


@pytest.mark.parametrize("pair", ("shoal", "of-valkey"), indirect=True)
def test_clients_are_not_sent_to_a_replica_that_loads_a_copy(pair):
    """It went on to say how far it had been before, so that all nodes named it to clients, and voters took it for one with data."""
    primaries, replica = pair
    primary = primaries[0]
    assert wait_for(lambda: all(shows_replica(node, replica) for node in (primary, replica)), 60)
    assert ask(primary, "DEBUG", "POPULATE", "2000", "key", "100") == "OK"
    assert ask(replica, "CONFIG", "SET", "key-load-delay", "20000", "loading-process-events-interval-bytes", "1024") == "OK"
    assert ask(primary, "CONFIG", "SET", "repl-backlog-size", "16384") == "OK"
    tag = tag_of_slot(int(table(primary)[my_id(primary)]["slots"][0].split("-")[0]))
    with primary.raw() as c:
        c.do("MULTI"), c.do("CLIENT", "KILL", "TYPE", "replica")
        for i in range(100):
            c.do("SET", "{%s}%d" % (tag, i), "x" * 20000)
        assert len(c.do("EXEC")) == 101
    assert wait_for(lambda: not shows_replica(primary, replica) and not shows_replica(replica, replica), 30)
    assert replica.info("persistence")["loading"] == "1"
    assert ask(replica, "CONFIG", "SET", "key-load-delay", "0") == "OK"
    assert wait_for(lambda: shows_replica(primary, replica) and shows_replica(replica, replica), 60)


def in_a_long_copy(nodes):
    """A primary, and a replica that was one, with a stream of its own, and gets a copy of all slowly."""
    primary, replica = nodes.start("shoal"), nodes.start("shoal")
    assert ask(primary, "CLUSTER", "ADDSLOTSRANGE", "0", "16383") == "OK"
    assert ask(primary, "DEBUG", "POPULATE", "2000", "key", "100") == "OK"
    assert ask(primary, "CONFIG", "SET", "rdb-key-save-delay", "20000") == "OK"
    with replica.raw() as c:
        c.send(encode("SYNC"))  # now there is a stream, and an offset
        assert wait_for(lambda: ask(replica, "PUBLISH", "a", "b") == 0 and int(replica.info("replication")["master_repl_offset"]) > 0, 30)
    ask(replica, "CLUSTER", "MEET", "127.0.0.1", primary.port)
    assert wait_for(lambda: ask(replica, "CLUSTER", "REPLICATE", my_id(primary)) == "OK", 60)
    assert wait_for(lambda: replica.info("replication")["master_sync_in_progress"] == "1", 60)
    return primary, replica


def test_a_replica_without_its_copy_tells_no_offset(nodes):
    """Who had been a primary told its own until it had its copy, and with that won elections over replicas with the data."""
    primary, replica = in_a_long_copy(nodes)
    assert wait_for(lambda: "slave" in table(primary).get(my_id(replica), {"flags": ()})["flags"], 30)
    assert wait_for(lambda: not shows_replica(primary, replica) and not shows_replica(replica, replica), 30)
    assert replica.info("replication")["master_sync_in_progress"] == "1"
    assert ask(primary, "CONFIG", "SET", "rdb-key-save-delay", "0") == "OK"
    assert wait_for(lambda: shows_replica(primary, replica), 60)


def test_a_replica_whose_copy_breaks_off_tells_no_offset(nodes):
    """It told that of its own former stream again, and was named to clients."""
    primary, replica = in_a_long_copy(nodes)
    primary.kill()
    primary.stopped_by_test = True
    assert wait_for(lambda: replica.info("replication")["master_sync_in_progress"] == "0", 60)
    assert replica.info("replication")["master_link_status"] == "down"
    for _ in range(20):  # told anew in each turn
        assert not shows_replica(replica, replica)
        assert ask(replica, "PING") == "PONG"


def test_a_replica_that_comes_from_another_shard_tells_no_offset_before_its_copy(nodes):
    """It told that of the stream it had followed until the copy began: if its new primary died before, it won the election with other data."""
    first, second, replica = (nodes.start("shoal") for _ in range(3))
    assert ask(first, "CLUSTER", "ADDSLOTSRANGE", "0", "8191") == ask(second, "CLUSTER", "ADDSLOTSRANGE", "8192", "16383") == "OK"
    for node in (second, replica):
        ask(first, "CLUSTER", "MEET", "127.0.0.1", node.port)
    assert wait_for(lambda: all(said(node)["cluster_known_nodes"] == "3" for node in (first, second, replica)), 60)
    assert wait_for(lambda: ask(replica, "CLUSTER", "REPLICATE", my_id(first)) == "OK", 60)
    assert wait_for(lambda: all(shows_replica(node, replica) for node in (first, second, replica)), 60)
    there = my_id(second)
    second.stand_still()
    try:
        assert ask(replica, "CLUSTER", "REPLICATE", there) == "OK"
        assert wait_for(lambda: table(first)[my_id(replica)]["primary"] == there)
        assert wait_for(lambda: not shows_replica(first, replica) and not shows_replica(replica, replica))
        for _ in range(20):
            assert not shows_replica(first, replica) and not shows_replica(replica, replica)
    finally:
        second.proc.send_signal(signal.SIGCONT)
    assert wait_for(lambda: all(shows_replica(node, replica) for node in (first, second, replica)), 60)


@pytest.mark.parametrize("pair", ("shoal", "with-valkey"), indirect=True)
def test_a_new_replica_hears_of_slots_on_their_way(pair):
    """It knew of none that had been opened before it came, and had none when it took over."""
    primaries, replica = pair
    primary, other = primaries[:2]
    leaves = table(primary)[my_id(primary)]["slots"][0].split("-")[0]
    comes = table(other)[my_id(other)]["slots"][0].split("-")[0]
    assert ask(replica, "CLUSTER", "RESET") == "OK"
    assert ask(primary, "CLUSTER", "SETSLOT", leaves, "MIGRATING", my_id(other)) == "OK"
    assert ask(primary, "CLUSTER", "SETSLOT", comes, "IMPORTING", my_id(other)) == "OK"
    ask(replica, "CLUSTER", "MEET", "127.0.0.1", primary.port)
    assert wait_for(lambda: len(table(replica)) == 4 and not any("handshake" in row["flags"] for row in table(replica).values()), 60)
    assert wait_for(lambda: ask(replica, "CLUSTER", "REPLICATE", my_id(primary)) == "OK", 60)
    wanted = {"[%s->-%s]" % (leaves, my_id(other)), "[%s-<-%s]" % (comes, my_id(other))}
    assert wait_for(lambda: wanted == set(table(replica)[my_id(replica)]["slots"]), 60), (table(replica), replica.log()[-2000:])


def test_a_slot_is_emptied(pair):
    """At one moment, on the replica too, whichever of both kinds it is; other slots keep what they have."""
    primaries, replica = pair
    primary, count = primaries[0], 3000
    slot = int(next(words for words in table(primary)[my_id(primary)]["slots"]).split("-")[0])
    tag = tag_of_slot(slot)
    names = ["{%s}%d" % (tag, i) for i in range(count)]
    with primary.raw(timeout=60) as c, primary.raw(timeout=60) as reader, replica.raw(timeout=60) as r:
        other = "{%s}" % tag_of_slot(slot + 1)
        assert c.do("SET", other, "stays") == "OK"
        for _ in range(3):
            assert c.do("MSET", *[word for name in names for word in (name, "v")]) == "OK"
            assert c.do("CLUSTER", "COUNTKEYSINSLOT", slot) == count
            c.send(encode("CLUSTER", "FLUSHSLOT", str(slot)))
            seen = [reader.do("EXISTS", *names) for _ in range(30)]
            assert c.read() == "OK"
            assert set(seen) <= {0, count}
            assert c.do("CLUSTER", "COUNTKEYSINSLOT", slot) == 0 and c.do("DBSIZE") == 1
        assert "READONLY" in str(r.do("CLUSTER", "FLUSHSLOT", str(slot)))
        assert wait_for(lambda: replicated(primary, replica))
        assert wait_for(lambda: r.do("DBSIZE") == 1)
        r.do("READONLY")
        assert r.do("GET", other) == b"stays"


def test_it_is_handed_over(pair):
    """CLUSTER FAILOVER: nothing is lost, nobody hears an error but redirects."""
    primaries, replica = pair
    old = primaries[0]
    with Client(primaries + [replica]) as c:
        fill(c)
        for new, former in ((replica, old), (old, replica)):
            assert wait_for(lambda: replicated(former, new))


            def has_taken_over(seconds):
                return wait_for(lambda: "master" in table(new)[my_id(new)]["flags"], seconds)

            # One that is not done in five seconds is given up by Valkey as well.
            assert wait_for(lambda: ask(new, "CLUSTER", "FAILOVER") == "OK" and has_taken_over(20), 100) or has_taken_over(0), new.log()[-3000:] + former.log()[-3000:]
            assert agree(primaries + [replica])
            assert wait_for(lambda: former.info("replication").get("master_link_status") == "up", 60), former.log()[-3000:]
            check(c)
            c.set("after", "1")


def test_slots_move(three):
    """valkey-cli --cluster reshard, old way, there and back, with keys in them."""
    # valkey-cli asks the source for a directive that Redis has not, and ends when it is not there.
    program = "redis-cli" if any(node.kind == "redis" for node in three) else None
    with Client(three) as c:
        fill(c, 500)
        for source, target in ((three[0], three[1]), (three[1], three[2]), (three[2], three[0])):
            words = ["--cluster-from", my_id(source), "--cluster-to", my_id(target), "--cluster-slots", "60", "--cluster-yes"]
            cli("--cluster", "reshard", "127.0.0.1:%d" % source.port, *words, program=program)
            assert agree(three), [n.log()[-2000:] for n in three]
            check(c, 500)
    assert sum(ask(node, "DBSIZE") for node in three) == 500


def test_a_node_is_forgotten(mixed):
    gone = mixed[2]
    i = my_id(gone)
    for node in mixed[:2]:
        assert ask(node, "CLUSTER", "FORGET", i) == "OK"
    assert wait_for(lambda: all(i not in table(node) for node in mixed[:2]))


def test_a_node_comes_back_with_what_it_was(mixed):
    """All end and start again: the same nodes with the same slots, from their files."""
    before = [(my_id(node), sorted(table(node)[my_id(node)]["slots"])) for node in mixed]
    for node in mixed:
        node.kill()
    for node in mixed:
        node.start_again()
    assert agree(mixed), [n.log()[-2000:] for n in mixed]
    assert [(my_id(node), sorted(table(node)[my_id(node)]["slots"])) for node in mixed] == before


def test_publish_reaches_all(mixed):
    """When the links stand: what is published in the first moments of a cluster may be lost, in Valkey as well."""
    subscribers = [node.raw(timeout=30) for node in mixed]
    heard = [set() for _ in mixed]
    for c in subscribers:
        c.do("SUBSCRIBE", "news")

    def all_have_heard():
        for i, node in enumerate(mixed):
            ask(node, "PUBLISH", "news", "n%d" % i)
            ask(node, "PUBLISH", "news", "end")
        for c, names in zip(subscribers, heard):
            while (text := c.read()[2]) != b"end":
                names.add(text)
        return all(len(names) == len(mixed) for names in heard)

    assert wait_for(all_have_heard), heard
    for c in subscribers:
        c.close()


def test_what_a_burst_has_taken_of_the_links_is_given_back(mixed):
    """`mem_cluster_links` stayed at what had once been published in one go, for ever."""

    def taken(node):
        return int(re.search(r"mem_cluster_links:(\d+)", ask(node, "INFO", "memory").decode()).group(1))

    for node in mixed:
        before = taken(node)
        with node.raw() as c:
            c.do("MULTI")
            for _ in range(20):
                c.do("PUBLISH", "news", "x" * 100_000)
            c.do("EXEC")
        sent = ask(node, "PUBLISH", "news", "end")
        assert sent == 0 and wait_for(lambda: taken(node) < before + 500_000, 60), (before, taken(node))


def test_what_the_bus_counts_begins_anew_with_resetstat(mixed):
    def counted(node):
        return sum(int(said(node)["cluster_stats_messages_%s" % way]) for way in ("sent", "received"))

    for node in mixed:
        assert wait_for(lambda: counted(node) > 100, 120)
        with node.raw() as c:
            c.do("MULTI"), c.do("CONFIG", "RESETSTAT"), c.do("CLUSTER", "INFO")
            reset, text = c.do("EXEC")
        told = dict(line.split(":", 1) for line in text.decode().split())
        assert reset == "OK" and int(told["cluster_stats_messages_sent"]) < 50 and int(told["cluster_stats_bytes_sent"]) < 100_000


def test_a_primary_that_ends_hands_over(pair):
    """SHUTDOWN FAILOVER, or a signal that means it: nobody waits for its failure to be seen; SAFE is refused to who has slots."""
    primaries, replica = pair
    old, name = primaries[0], my_id(primaries[0])
    assert wait_for(lambda: len(table(old)) == 4)
    if old.kind != "shoal":  # it forgets the name of who asks for the stream before the bus has told of him
        ask(old, "CLIENT", "KILL", "TYPE", "replica")
        assert wait_for(lambda: replica.info("replication").get("master_link_status") == "up" and old.info("replication")["connected_slaves"] == "1")
    assert ask(old, "SHUTDOWN", "SAFE") == RespError("ERR Errors trying to SHUTDOWN. Check logs.") and ask(old, "PING") == "PONG"
    assert "This is a voting primary. Shutting down may cause the cluster to go down. Can't exit." in old.log()
    with Client(primaries + [replica]) as c:
        fill(c)
        assert ask(old, "CONFIG", "SET", "shutdown-on-sigterm", "failover", "shutdown-timeout", 10) == "OK"
        old.stopped_by_test = True
        if old.kind == replica.kind:
            old.proc.terminate()
        else:
            with old.raw(timeout=60) as leaving:
                leaving.send(encode("SHUTDOWN", "NOSAVE", "FAILOVER"))
                with pytest.raises((EOFError, OSError)):
                    leaving.read()
        assert wait_for(lambda: not old.alive(), 60)
        assert old.proc.returncode == 0, old.log()[-2000:]
        assert wait_for(lambda: "master" in table(replica)[my_id(replica)]["flags"], 60), old.log()[-2000:] + replica.log()[-2000:]
        assert "fail" not in table(replica)[name]["flags"], "it took over as others do, too"
        check(c)
    assert "Perform auto failover to replica %s on shutdown." % my_id(replica) in old.log()


@pytest.mark.parametrize("kinds", (("shoal", "shoal", "shoal"), ("shoal", "valkey", "shoal")), ids=("shoal", "with-valkey"))
def test_nodes_with_new_addresses_find_each_other_by_name(start_server, kinds):
    """Started anew where nobody knows them, as pods are: what each has of the others, and of itself, are addresses of nobody."""
    if "valkey" in kinds and find_peer("valkey") is None:
        pytest.skip("a peer is not installed: ./dev test does so")
    nodes = Nodes(start_server, timeout_ms=3000)
    try:
        members = [nodes.start(kind, bind="127.0.0.1", cluster_announce_hostname="localhost") for kind in kinds]
        create(members)
        assert agree(members)
        assert wait_for(lambda: all(ask(node, "CLUSTER", "NODES").count(b",localhost") == 3 for node in members))
        for node in members:
            node.kill()
        for node in members:
            path = os.path.join(node.dir, "nodes.conf")
            with open(path) as f:
                text = f.read()
            with open(path, "w") as f:
                f.write(text.replace("127.0.0.1:", "127.0.0.77:"))
            assert text.count("127.0.0.1:") == 3
        for node in members:
            node.start_again()
        assert agree(members, 120), [n.log()[-2000:] for n in members]
        for node in members:
            if node.kind == "shoal":
                assert wait_for(lambda: ask(node, "CLUSTER", "NODES").count(b" 127.0.0.1:") == 3), ask(node, "CLUSTER", "NODES")
    finally:
        nodes.stop()


def test_clients_are_told_what_is_announced_for_them(mixed):
    """CLUSTER NODES, too."""

    def shown(node):
        return {row["address"].split("@")[0] for row in table(node).values()}

    own = {"127.0.0.1:%d" % node.port for node in mixed}
    for i, node in enumerate(mixed):
        assert ask(node, "CONFIG", "SET", "cluster-announce-client-ipv4", "111.222.111.%d" % i, "cluster-announce-client-port", 7000 + i) == "OK"
    assert wait_for(lambda: all(shown(node) == {"111.222.111.%d:%d" % (i, 7000 + i) for i in range(3)} for node in mixed)), [shown(node) for node in mixed]
    for node in mixed:
        with open(os.path.join(node.dir, "nodes.conf")) as f:
            text = f.read()
        assert all(" %s@" % address in text for address in own)
        assert ask(node, "CONFIG", "SET", "cluster-announce-client-ipv4", "", "cluster-announce-client-port", 0) == "OK"
    assert wait_for(lambda: all(shown(node) == own for node in mixed)), [shown(node) for node in mixed]


def test_links_that_break_when_a_test_wants_it(nodes):
    """DEBUG CLUSTERLINK and the like, which Valkey's own tests use."""
    one, other = nodes.start("shoal", cluster_node_timeout=1500), nodes.start("shoal", cluster_node_timeout=1500)
    name = my_id(other)
    assert ask(one, "CLUSTER", "MEET", "127.0.0.1", other.port) == "OK"
    assert wait_for(lambda: all(len(table(n)) == 2 and all(row["linked"] for row in table(n).values()) for n in (one, other)))

    def links():
        return {link[1]: link[5] for link in ask(one, "CLUSTER", "LINKS")}

    def made():
        return links().get(b"to"), links().get(b"from")

    assert wait_for(lambda: None not in made())
    for way, index in (("to", 0), ("from", 1), ("all", 0)):
        before = made()
        assert ask(one, "DEBUG", "CLUSTERLINK", "KILL", way, name) == "OK"
        assert wait_for(lambda: None not in made() and made()[index] != before[index])
    assert ask(one, "DEBUG", "CLUSTERLINK", "KILL", "to", my_id(one)) == RespError("ERR Cannot free cluster link(s) to myself")
    assert ask(one, "DEBUG", "CLUSTERLINK", "KILL", "to", "x") == RespError("ERR Unknown node x")
    assert ask(one, "DEBUG", "CLUSTERLINK", "KILL", "by", name) == RespError("ERR Unknown direction by")
    assert ask(one, "DEBUG", "DISABLE-CLUSTER-RECONNECTION", 1) == "OK"
    assert ask(one, "DEBUG", "CLUSTERLINK", "KILL", "to", name) == "OK"
    assert not table(one)[name]["linked"] and links().get(b"to") is None
    assert ask(one, "DEBUG", "DISABLE-CLUSTER-RECONNECTION", 0) == "OK"
    assert wait_for(lambda: table(one)[name]["linked"])
    assert ask(one, "DEBUG", "DROP-CLUSTER-PACKET-FILTER", -2) == "OK"
    assert wait_for(lambda: "fail?" in table(one)[name]["flags"])
    assert ask(one, "DEBUG", "DROP-CLUSTER-PACKET-FILTER", -1) == "OK"
    assert wait_for(lambda: "fail?" not in table(one)[name]["flags"])


def test_questions_are_answered_while_the_file_cannot_be_written(nodes):
    """CLUSTER INFO, NODES and all behind them waited for the disk for ever, and with them clients that ask so where slots are."""
    node = nodes.start("shoal")
    path = os.path.join(node.dir, "nodes.conf")
    assert ask(node, "CLUSTER", "ADDSLOTSRANGE", "0", "16383") == "OK"
    os.remove(path)
    os.mkdir(path)  # it is written beside and put in its place, which cannot be done now
    reply = ask(node, "CLUSTER", "BUMPEPOCH")
    assert isinstance(reply, RespError) and "nodes.conf could not be written" in str(reply)
    assert ask(node, "CLUSTER", "DELSLOTS", "7").startswith("ERR")
    assert said(node)["cluster_slots_assigned"] == "16383" and table(node)[my_id(node)]["slots"] == ["0-6", "8-16383"]
    assert ask(node, "CLUSTER", "DELSLOTS", "7") == RespError("ERR Slot 7 is already unassigned")
    os.rmdir(path)
    assert wait_for(lambda: os.path.isfile(path), 30)
    assert wait_for(lambda: ask(node, "CLUSTER", "SAVECONFIG") == "OK", 30)  # a change that is refused here is made nevertheless
    assert ask(node, "CLUSTER", "ADDSLOTS", "7") == "OK"


def test_changes_go_on_while_the_file_need_not_be_written(nodes):
    """cluster-config-save-behavior best-effort: each but the first change was answered with an error, though it was made."""
    node = nodes.start("shoal", **{"cluster-config-save-behavior": "best-effort"})
    path = os.path.join(node.dir, "nodes.conf")
    os.remove(path)
    os.mkdir(path)
    for slot in range(20):
        assert ask(node, "CLUSTER", "ADDSLOTS", str(slot)) == "OK"
    assert table(node)[my_id(node)]["slots"] == ["0-19"]
    os.rmdir(path)
    assert wait_for(lambda: os.path.isfile(path), 30)


def test_users_of_some_databases_move_no_slots(nodes):
    """What is about all databases is for who may use all."""
    node = nodes.start("shoal")
    assert ask(node, "ACL", "SETUSER", "few", "on", "nopass", "~*", "+@all", "db=0") == "OK"
    with node.raw() as c:
        assert c.do("AUTH", "few", "x") == "OK"
        for words in (("MIGRATESLOTS", "SLOTSRANGE", "0", "1", "NODE", "x"), ("CANCELSLOTMIGRATIONS",), ("FLUSHSLOT", "1")):
            assert str(c.do("CLUSTER", *words)).startswith("NOPERM"), words
        assert c.do("CLUSTER", "GETSLOTMIGRATIONS") == []


def test_meet_is_said_until_it_is_answered(nodes):
    """Valkey's test of it: answers get lost, and the link with them."""
    one, other = nodes.start("shoal", cluster_node_timeout=3000), nodes.start("shoal", cluster_node_timeout=3000)
    for words in (("DROP-CLUSTER-PACKET-FILTER", 1), ("CLOSE-CLUSTER-LINK-ON-PACKET-DROP", 1)):  # PONG
        assert ask(one, "DEBUG", *words) == "OK"
    assert ask(one, "CLUSTER", "MEET", "127.0.0.1", other.port) == "OK"
    assert wait_for(lambda: int(said(other).get("cluster_stats_messages_meet_received", 0)) > 1)
    assert ask(one, "DEBUG", "DROP-CLUSTER-PACKET-FILTER", -1) == "OK"
    assert wait_for(lambda: all(len(table(n)) == 2 and all(row["linked"] for row in table(n).values()) for n in (one, other)))
