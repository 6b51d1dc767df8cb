# SPDX-License-Identifier: BSD-3-Clause
"""Slots that come at once with their keys (CLUSTER SYNCSLOTS): the source is played by hand, so that each state can be looked at, or is
a Valkey under writes. What is played by hand is asked of a Valkey, too."""

import signal
import socket
import struct
import threading

import pytest

from cluster_nodes import Client, Nodes, agree, ask, cli, find_cli, my_id, said, table
from resp import RespError, encode
from server import Server, find_peer, wait_for

pytestmark = [
    pytest.mark.shoal_only,
    pytest.mark.slow,
    pytest.mark.row_pair,
    pytest.mark.skipif(find_cli() is None, reason="no valkey-cli: ./dev test installs it"),
]

ONCE = pytest.mark.row_once
HALF = 8192
JOB = "a" * 40
LOST = b"Connection lost to source. Check CLUSTER GETSLOTMIGRATIONS on the source node for more information."
MINE, COMES, OTHER = "a", "foo{b}", "{3560}"  # slots 15495, 3300 and 0


@pytest.fixture
def nodes(start_server):
    n = Nodes(start_server)
    yield n
    n.stop()


def join(*members):
    for node in members[1:]:
        assert ask(members[0], "CLUSTER", "MEET", "127.0.0.1", str(node.port)) == "OK"
    wait_for(lambda: all(said(node).get("cluster_known_nodes") == str(len(members)) for node in members))


def pair(nodes, source_kind, target_kind, of_source=None, **options):
    """The source has the lower half of the slots, the target the upper one."""
    if find_peer("valkey") is None:
        pytest.skip("no Valkey: ./dev test installs it")
    source, target = nodes.start(source_kind, **(of_source or {})), nodes.start(target_kind, **options)
    assert ask(source, "CLUSTER", "ADDSLOTSRANGE", "0", str(HALF - 1)) == "OK"
    assert ask(target, "CLUSTER", "ADDSLOTSRANGE", str(HALF), "16383") == "OK"
    join(source, target)
    assert agree([source, target])
    return source, target


def follow(nodes, kind, primary, *others):
    replica = nodes.start(kind)
    join(primary, *others, replica)
    wait_for(lambda: my_id(primary) in table(replica) and my_id(replica) in table(primary))
    assert wait_for(lambda: ask(replica, "CLUSTER", "REPLICATE", my_id(primary)) == "OK")
    assert wait_for(lambda: replica.info("replication").get("master_link_status") == "up")
    assert agree([primary, *others, replica])  # so that all would vote for it
    return replica


def take_over(replica):
    """One that is not done in five seconds is given up by Valkey as well."""

    def is_primary():
        return "master" in table(replica)[my_id(replica)]["flags"]

    assert wait_for(lambda: ask(replica, "CLUSTER", "FAILOVER") == "OK" and wait_for(is_primary, 10), 100) or is_primary(), replica.log()[-3000:]


@pytest.fixture(scope="module", params=["shoal", pytest.param("valkey", marks=pytest.mark.row_once)])
def pair_of_a_kind(request, server_binary, base_config, kind):
    def start(config, start):
        return Server(server_binary, {**base_config, **config}, kind=kind)

    n = Nodes(start)
    yield pair(n, "shoal", request.param)
    for node in n.all:
        node.stop()


@pytest.fixture
def two(pair_of_a_kind):
    """As they were made: what has moved goes back in the same way."""
    yield pair_of_a_kind
    source, target = pair_of_a_kind
    assert wait_for(lambda: state(target) in (None, "failed", "success"))
    if "0-4000" in table(target)[my_id(target)]["slots"]:
        assert agree([source, target])
        Source(target, source, "c" * 40).begin().to_the_end()
        assert agree([source, target])
    for node in (source, target):
        assert ask(node, "CONFIG", "SET", "maxmemory", "0") == ask(node, "FLUSHALL") == "OK"


def jobs(node):
    """The newest first."""
    return [dict(zip(job[::2], job[1::2])) for job in ask(node, "CLUSTER", "GETSLOTMIGRATIONS")]


def state(node, at=0):
    all_jobs = jobs(node)
    return all_jobs[at][b"state"].decode() if len(all_jobs) > at else None


def becomes(node, wanted):
    assert wait_for(lambda: state(node) == wanted), (wanted, jobs(node), node.log()[-3000:])


class Source:
    """Plays the node that has the slots."""

    def __init__(self, source, target, name=JOB, slots=(0, 4000)):
        self.target = target
        self.conn = target.raw(timeout=30)
        words = ["CLUSTER", "SYNCSLOTS", "ESTABLISH", "SOURCE", my_id(source), "NAME", name, "SLOTSRANGE", *map(str, slots)]
        self.reply = self.conn.do(*words)

    def begin(self):
        assert self.reply == "OK"
        self.say("ACK")
        becomes(self.target, "receiving-snapshot")
        return self

    def say(self, word):
        self.conn.send(encode("CLUSTER", "SYNCSLOTS", word))

    def send(self, *commands):
        self.conn.send(b"".join(encode(*command.split()) for command in commands))

    def told(self, word):
        """What comes besides ACK."""
        while True:
            words = self.conn.read()
            assert words[:2] == [b"CLUSTER", b"SYNCSLOTS"]
            if words[2] != b"ACK":
                assert words[2] == word
                return

    def to_the_end(self):
        self.say("SNAPSHOT-EOF")
        self.told(b"REQUEST-PAUSE")
        assert state(self.target) == "waiting-for-paused"
        self.say("PAUSED")
        self.told(b"REQUEST-FAILOVER")
        assert state(self.target) == "failover-requested"
        self.say("FAILOVER-GRANTED")
        becomes(self.target, "success")


def test_what_is_refused(two):
    source, target = two
    ids = {"source": my_id(source), "target": my_id(target)}
    with target.raw() as c:
        for words, error in [
            ("", "syntax error"),
            ("SOURCE source NAME JOB", "syntax error"),
            ("NAME JOB SLOTSRANGE 0 5", "syntax error"),
            ("SOURCE source NAME JOB SLOTSRANGE", "No slot ranges specified"),
            ("SOURCE source NAME JOB SLOTSRANGE 0", "No end slot for final slot range"),
            ("SOURCE source NAME JOB SLOTSRANGE 5 0", "Start slot number 5 is greater than end slot number 0."),
            ("SOURCE source NAME JOB SLOTSRANGE 0 99999", "Invalid or out of range slot"),
            ("SOURCE source NAME JOB SLOTSRANGE 8190 8193", "Requested slots span multiple shards"),
            ("SOURCE source NAME JOB SLOTSRANGE 0 5 3 4", "Slot range 3-4 overlaps with previous range 0-5."),
            ("SOURCE source NAME JOB SLOTSRANGE 9000 9001", "Target node does not agree about current slot ownership"),
            ("SOURCE " + "f" * 40 + " NAME JOB SLOTSRANGE 0 1", "Target node does not know the source node"),
            ("SOURCE target NAME JOB SLOTSRANGE 9000 9001", "Source node is target node itself"),
            ("SOURCE source NAME x SLOTSRANGE 0 1", "syntax error"),
            ("SOURCE source SOURCE source NAME JOB SLOTSRANGE 0 1", "syntax error"),
            ("SOURCE source NAME JOB SLOTSRANGE 0 1 x y", "syntax error"),
        ]:
            words = [ids.get(word, word).replace("JOB", JOB) for word in words.split()]
            assert str(c.do("CLUSTER", "SYNCSLOTS", "ESTABLISH", *words)) == "ERR " + error, words
        for word in ("SNAPSHOT-EOF", "PAUSED", "FAILOVER-GRANTED", "ACK"):
            assert str(c.do("CLUSTER", "SYNCSLOTS", word)) == "ERR CLUSTER SYNCSLOTS %s should only be used by slot migration clients" % word
        assert str(c.do("CLUSTER", "SYNCSLOTS", "FINISH", "STATE", "success", "NAME", JOB)) == "ERR No such slot migration job"
        assert str(c.do("CLUSTER", "CANCELSLOTMIGRATIONS")) == "ERR No migrations ongoing"
        assert c.do("PING") == "PONG"


def test_what_may_not_leave_is_refused(two):
    """The order of these refusals is Valkey's."""
    source, target = two
    before = jobs(target)
    ids = {"source": my_id(source), "target": my_id(target)}
    cases = [
        ("SLOTSRANGE 1", "No end slot for final slot range"),
        ("OWN", "syntax error"),
        ("SLOTSRANGE NODE", "No slot ranges specified"),
        ("SLOTSRANGE 1 NODE source", "Invalid or out of range slot"),
        ("OWN NODE", "syntax error"),
        ("SLOTSRANGE 01 2 NODE source", "No slot ranges specified"),
        ("SLOTSRANGE 1 16384 NODE source", "Invalid or out of range slot"),
        ("SLOTSRANGE 2 1 NODE " + "f" * 40, "Start slot number 2 is greater than end slot number 1."),
        ("OWN NODE abc", "Invalid node name: abc"),
        ("OWN NODE " + "f" * 40, "Unknown node name: " + "f" * 40),
        ("OWN NODE target", "Target node can not be this node."),
        ("FOREIGN NODE " + "f" * 40, "Slots are not served by this node."),
        ("FOREIGN NODE target SLOTSRANGE x", "Slots are not served by this node."),
        ("SLOTSRANGE 8190 8193 NODE source", "Requested slots span multiple shards"),
        ("OWN 16382 16383 NODE source", "Slot range 16382-16383 overlaps with previous range 16381-16382."),
        ("OWN NODE source OWN NODE " + "f" * 40, "Slot ranges in migrations overlap"),
        ("OWN NODE source x", "syntax error"),
        ("OWN NODE source SLOTSRANGE", "No slot ranges specified"),
        ("OWN x source", "syntax error"),
        ("NODE source OWN", "syntax error"),
    ]
    own, foreign = "SLOTSRANGE 16381 16382", "SLOTSRANGE 1 2"
    for words, error in cases:
        text = words.replace("OWN", own).replace("FOREIGN", foreign)
        sent = [ids.get(word, word) for word in text.split()]
        assert str(ask(target, "CLUSTER", "MIGRATESLOTS", *sent)) == "ERR " + error, words
    assert ask(target, "CLUSTER", "SETSLOT", "16383", "MIGRATING", ids["source"]) == "OK"
    assert str(ask(target, "CLUSTER", "MIGRATESLOTS", "x", "y")) == "ERR Slots are being manually migrated"
    assert ask(target, "CLUSTER", "SETSLOT", "16383", "STABLE") == "OK"
    assert jobs(target) == before


def test_keys_are_hidden_until_the_claim(two):
    source, target = two
    assert ask(target, "SET", MINE, "1") == "OK"
    s = Source(source, target).begin()
    many = ["SET k%d{b} v" % i for i in range(300)]
    s.send("SELECT 0", "SET %s 1" % COMES, "INCR " + COMES, "PEXPIREAT %s 1000" % COMES.replace("foo", "gone"), "RPUSH list{b} x y", *many)
    assert wait_for(lambda: ask(target, "CLUSTER", "COUNTKEYSINSLOT", "3300") == 302)
    with target.raw() as c:
        assert c.do("DBSIZE") == 1
        assert c.do("KEYS", "*") == c.do("KEYS", "[a-z]*") == [MINE.encode()]
        assert c.do("KEYS", "*{b}") == []
        assert c.do("SCAN", "0", "COUNT", "100000")[1] == [MINE.encode()]
        assert {c.do("RANDOMKEY") for _ in range(20)} == {MINE.encode()}
        assert c.do("GET", COMES).startswith("MOVED 3300 ")
        assert c.do("INFO", "keyspace").split(b"\r\n")[1].startswith(b"db0:keys=1,expires=0,")
        assert str(c.do("CLUSTER", "SETSLOT", "9000", "STABLE")) == "ERR Slot import in progress."
        assert b" flags=i " in c.do("CLIENT", "LIST")
    again = Source(source, target, "b" * 40, (4000, 4001)).reply
    assert str(again) == "ERR Slot is already being imported on the target by a different migration"
    job = jobs(target)[0]
    assert (job[b"operation"], job[b"slot_ranges"], job[b"message"]) == (b"IMPORT", b"0-4000", b"")
    assert (job[b"source_node"].decode(), job[b"target_node"].decode()) == (my_id(source), my_id(target))
    s.to_the_end()
    assert ask(target, "DBSIZE") == 303
    assert ask(target, "GET", COMES) == b"2"
    assert ask(target, "LRANGE", "list{b}", "0", "-1") == [b"x", b"y"]
    assert s.conn.is_closed()
    row = table(target)[my_id(target)]
    assert row["slots"] == ["0-4000", "8192-16383"] and row["epoch"] == max(r["epoch"] for r in table(target).values())
    assert agree([source, target])
    assert wait_for(lambda: str(ask(source, "GET", COMES)).startswith("MOVED 3300 127.0.0.1:%d" % target.port))


def test_what_has_run_out_is_the_source_s_to_delete(two, request):
    """Its clock may be behind: what it still has, and lets live on, is not lost."""
    source, target = two
    s = Source(source, target).begin()
    s.send("SET short{b} 1 PX 1", "SET two{b} 1 PX 1", "SET stays{b} 1")
    assert wait_for(lambda: ask(target, "CLUSTER", "COUNTKEYSINSLOT", "3300") == 3)
    s.send("PERSIST short{b}", "INCR short{b}")
    s.to_the_end()
    assert ask(target, "GET", "short{b}") == b"2"
    if request.node.callspec.params["pair_of_a_kind"] == "valkey":  # one has shown it once, right behind the end of the job
        wait_for(lambda: ask(target, "GET", "two{b}") is None)
    assert ask(target, "GET", "two{b}") is None


def broken_by_an_error(source, target, s):
    s.send("LPUSH list{b} x", "INCR list{b}")
    return b"Failed to process command during slot migration. Check logs for more information"


def broken_by_what_comes_too_early(source, target, s):
    s.say("FAILOVER-GRANTED")
    return b"Unexpected state machine transition"


def broken_by_a_flush(source, target, s):
    assert ask(target, "FLUSHDB") == "OK"
    return b"Data was flushed"


def broken_by_its_end(source, target, s):
    s.conn.close()
    return LOST


def broken_by_an_unknown_word(source, target, s):
    s.say("WHATEVER")
    return b"Unknown SYNCSLOTS subcommand used"


@pytest.mark.parametrize(
    "how", [broken_by_an_error, broken_by_what_comes_too_early, broken_by_a_flush, broken_by_its_end, broken_by_an_unknown_word], ids=lambda f: f.__name__
)
@pytest.mark.timing
def test_a_job_that_breaks_leaves_nothing(two, how):
    source, target = two
    s = Source(source, target).begin()
    s.send("SET short{b} 1 PX 1", "SELECT 0", *["SET k%d{b} 1" % i for i in range(1000)])
    assert wait_for(lambda: ask(target, "CLUSTER", "COUNTKEYSINSLOT", "3300") == 1001)
    why = how(source, target, s)
    becomes(target, "failed")
    assert jobs(target)[0][b"message"] == why
    assert ask(target, "CLUSTER", "COUNTKEYSINSLOT", "3300") == ask(target, "DBSIZE") == 0
    assert how == broken_by_its_end or s.conn.is_closed()
    assert ask(source, "CLUSTER", "COUNTKEYSINSLOT", "3300") == 0 and not str(ask(source, "GET", COMES)).startswith("MOVED")


@pytest.mark.timing
def test_too_little_memory_breaks_it(two):
    source, target = two
    s = Source(source, target).begin()
    assert ask(target, "CONFIG", "SET", "maxmemory", "1") == "OK"
    s.send("SET k{b} 1")
    becomes(target, "failed")
    assert jobs(target)[0][b"message"] == b"Ran out of memory (OOM) during slot import"


@pytest.mark.timing
def test_what_is_hidden_is_no_reason_to_go_on_without_memory(nodes):
    """It cannot be evicted; there was no end to it then."""
    source, target = pair(nodes, "shoal", "shoal")
    s = Source(source, target).begin()
    used = int(target.info("memory")["used_memory"])
    config = ["CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", str(used + 2_000_000)]
    assert ask(target, *config) == "OK"
    s.send(*["SET k%d{b} %s" % (i, "v" * 10000) for i in range(600)])
    becomes(target, "failed")
    assert jobs(target)[0][b"message"] == b"Ran out of memory (OOM) during slot import"


@pytest.mark.timing
def test_a_name_is_a_text(nodes):
    """And of one job at a time, which has a connection to itself."""
    source, target = pair(nodes, "shoal", "shoal")
    for name in (b"a\0" + b"a" * 38, b"A" * 40, b"a\n" + b"a" * 38):
        assert str(Source(source, target, name).reply) == "ERR syntax error"
    first = Source(source, target).begin()
    busy = "ERR A slot migration of this name, or by this connection, goes on"
    assert str(Source(source, target, slots=(4001, 4002)).reply) == busy
    first.conn.send(encode("CLUSTER", "SYNCSLOTS", "ESTABLISH", "SOURCE", my_id(source), "NAME", "b" * 40, "SLOTSRANGE", "4001", "4002"))
    first.to_the_end()
    assert [job[b"name"] for job in jobs(target)] == [JOB.encode()]


@pytest.mark.timing
def test_sources_that_are_gone_before_they_are_answered(nodes):
    source, target = pair(nodes, "shoal", "shoal")
    words = ["CLUSTER", "SYNCSLOTS", "ESTABLISH", "SOURCE", my_id(source), "NAME", JOB, "SLOTSRANGE", "0", "1"]
    for i in range(60):
        with socket.create_connection(("127.0.0.1", target.port)) as c:
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.sendall(encode(*words[:6], "%040d" % i, *words[7:]))
    assert wait_for(lambda: all(job[b"state"] == b"failed" for job in jobs(target)))
    Source(source, target, slots=(0, 1)).begin().to_the_end()


@ONCE
def test_a_new_owner_breaks_it(nodes):
    source, target = pair(nodes, "shoal", "shoal")
    s = Source(source, target).begin()
    s.send("SET %s 1" % COMES)
    assert ask(source, "CLUSTER", "DELSLOTS", "5") == ask(target, "CLUSTER", "DELSLOTS", "5") == "OK"
    becomes(target, "failed")
    assert jobs(target)[0][b"message"] == b"Slots are no longer owned by source node"
    assert ask(target, "CLUSTER", "COUNTKEYSINSLOT", "3300") == 0 and s.conn.is_closed()
    assert ask(target, "CONFIG", "SET", "cluster-slot-migration-log-max-len", "0") == "OK"
    assert wait_for(lambda: jobs(target) == [])


def test_who_falls_silent_is_given_up(nodes):
    source, target = pair(nodes, "shoal", "shoal", repl_timeout="1")
    s = Source(source, target)
    s.say("ACK")
    becomes(target, "failed")
    assert jobs(target)[0][b"message"] == b"Timed out after too long with no interaction"
    assert s.conn.is_closed()


def test_keys_that_are_there_already_are_not_mixed_with_what_comes(nodes):
    source, target = pair(nodes, "shoal", "shoal")
    assert ask(target, "CLUSTER", "SETSLOT", "3300", "IMPORTING", my_id(source)) == "OK"
    with target.raw() as c:
        assert c.do("ASKING") == c.do("SET", COMES, "1") == "OK"
    assert ask(target, "CLUSTER", "SETSLOT", "3300", "STABLE") == "OK"
    assert str(Source(source, target).reply) == "ERR Target node has keys of these slots already"
    assert jobs(target) == []
    Source(source, target, JOB, (3301, 4000, 0, 3299)).begin().to_the_end()


@ONCE
def test_within_multi_it_is_refused(nodes):
    source, target = pair(nodes, "shoal", "shoal")
    with target.raw() as c:
        assert c.do("MULTI") == "OK"
        assert c.do("CLUSTER", "SYNCSLOTS", "ESTABLISH", "SOURCE", my_id(source), "NAME", JOB, "SLOTSRANGE", "0", "1") == "QUEUED"
        assert isinstance(c.do("EXEC")[0], RespError)
        assert c.do("CLUSTER", "GETSLOTMIGRATIONS") == []


@pytest.mark.parametrize("kinds", [("shoal", "shoal"), pytest.param(("shoal", "valkey"), marks=ONCE), pytest.param(("valkey", "shoal"), marks=ONCE)], ids="-".join)
def test_replicas_hide_the_keys_too(nodes, kinds):
    """And drop what came when they take over."""
    source, target = pair(nodes, "shoal", kinds[0])
    replica = follow(nodes, kinds[1], target, source)
    for name, good in (("a" * 40, False), ("b" * 40, True)):
        s = Source(source, target, name, (3300, 3300)).begin()
        s.send(*["SET k%d{b} 1" % i for i in range(100)])
        assert wait_for(lambda: ask(replica, "CLUSTER", "COUNTKEYSINSLOT", "3300") == 100)
        assert state(replica) == "occurring-on-primary" and ask(replica, "DBSIZE") == 0 and ask(replica, "KEYS", "*") == []
        if good:
            s.to_the_end()
        else:
            s.conn.close()
            becomes(target, "failed")
        becomes(replica, "success" if good else "failed")
        assert wait_for(lambda n=100 * good: ask(replica, "DBSIZE") == n)
        assert jobs(replica)[0][b"message"] == jobs(target)[0][b"message"]
    assert kinds[1] == "valkey" or replica.info("stats")["unexpected_error_replies"] == "0"
    s = Source(source, target, "c" * 40, (0, 10)).begin()
    s.send("SET %s 1" % OTHER)
    assert wait_for(lambda: ask(replica, "CLUSTER", "COUNTKEYSINSLOT", "0") == 1)
    take_over(replica)
    becomes(replica, "failed")
    assert jobs(replica)[0][b"message"] == b"A failover occurred during slot import"
    assert ask(replica, "CLUSTER", "COUNTKEYSINSLOT", "0") == 0 and ask(replica, "DBSIZE") == 100
    assert s.conn.is_closed()
    assert wait_for(lambda: ask(target, "CLUSTER", "COUNTKEYSINSLOT", "0") == 0 and ask(target, "DBSIZE") == 100)
    becomes(target, "failed")


@pytest.mark.parametrize("kinds", [("shoal", "shoal"), pytest.param(("shoal", "valkey"), marks=ONCE), pytest.param(("valkey", "shoal"), marks=ONCE)], ids="-".join)
def test_who_takes_over_knows_which_slots_are_open(nodes, kinds):
    """SETSLOT, by the stream: keys that have come by MIGRATE are still served, and the reshard can go on."""
    source, target = pair(nodes, "shoal", kinds[0])
    replica = follow(nodes, kinds[1], target, source)

    def opened(node):
        return [word for word in table(node)[my_id(node)]["slots"] if word.startswith("[")]

    for words, there in (
        (("9000", "MIGRATING", my_id(source)), ["[9000->-%s]" % my_id(source)]),
        (("9000", "STABLE"), []),
        (("3300", "IMPORTING", my_id(source)), ["[3300-<-%s]" % my_id(source)]),
    ):
        assert ask(target, "CLUSTER", "SETSLOT", *words) == "OK"
        assert opened(target) == there and wait_for(lambda t=there: opened(replica) == t)
    with target.raw() as c:
        assert c.do("ASKING") == c.do("SET", COMES, "1") == "OK"
        assert c.do("WAIT", "1", "0") == 1
    take_over(replica)
    assert opened(replica) == ["[3300-<-%s]" % my_id(source)]
    with replica.raw() as c:
        assert wait_for(lambda: c.do("ASKING") == "OK" and c.do("GET", COMES) == b"1")


@pytest.mark.parametrize("kinds", [("shoal", "shoal"), pytest.param(("shoal", "valkey"), marks=ONCE), pytest.param(("valkey", "shoal"), marks=ONCE), pytest.param(("valkey", "valkey"), marks=ONCE)], ids="-".join)
def test_replicas_know_of_an_open_slot_before_who_opens_it(nodes, kinds):
    """SETSLOT was told to them behind, so who took over in between had another idea of whose the slot was."""
    source, target = pair(nodes, "shoal", kinds[0])
    replica = follow(nodes, kinds[1], target, source)
    there = my_id(source)

    def opened(node):
        return [word for word in table(node)[my_id(node)]["slots"] if word.startswith("[")]

    def set_slot(*words):
        return str(ask(target, "CLUSTER", "SETSLOT", *words))

    replica.stand_still()
    try:
        for words in (("9000", "MIGRATING", there, "TIMEOUT", "100"), ("9000", "STABLE", "TIMEOUT", "1"), ("9000", "NODE", there, "TIMEOUT", "100"), ("9000", "MIGRATING", there)):
            assert set_slot(*words) == "NOREPLICAS Not enough good replicas to write."
            assert opened(target) == [] and table(target)[my_id(target)]["slots"] == ["8192-16383"]
        for words, error in (
            (("9000", "MIGRATING", there, "TIMEOUT", "-1"), "timeout is negative"),
            (("9000", "MIGRATING", there, "TIMEOUT", "x"), "timeout is not an integer or out of range"),
            (("9000", "MIGRATING", there, "TIMEOUT"), "Missing timeout value"),
            (("5", "MIGRATING", there, "TIMEOUT", "0"), "I'm not the owner of hash slot 5"),
            (("9000", "MIGRATING", "f" * 40), "I don't know about node " + "f" * 40),
        ):
            assert set_slot(*words) == "ERR " + error
        c = target.raw(timeout=60)
        c.send(encode("CLUSTER", "SETSLOT", "9001", "MIGRATING", there, "TIMEOUT", "0"))
        for _ in range(20):
            assert opened(target) == []
    finally:
        replica.proc.send_signal(signal.SIGCONT)
    assert c.read() == "OK"
    c.close()
    assert "[9001->-%s]" % there in opened(target) and "[9001->-%s]" % there in opened(replica)
    for i in range(9100, 9150):
        assert set_slot(str(i), "MIGRATING", there) == "OK"
        assert "[%d->-%s]" % (i, there) in opened(replica)


@pytest.mark.parametrize("kinds", [("shoal", "shoal"), pytest.param(("shoal", "valkey"), marks=ONCE)], ids="-".join)
def test_who_comes_back_opens_no_slots_that_were_closed_meanwhile(nodes, kinds):
    """An old primary that follows its successor had them open for good, and as a primary again sent clients elsewhere. What is open
    still it is told, whatever it knew: by a Valkey within the copy of the keys."""
    source, target = pair(nodes, "shoal", kinds[0])
    replica = follow(nodes, kinds[1], target, source)

    def opened(node):
        return {word for word in table(node)[my_id(node)]["slots"] if word.startswith("[")}

    there = my_id(source)
    for words in (("9000", "MIGRATING"), ("9001", "MIGRATING"), ("3300", "IMPORTING"), ("3301", "IMPORTING")):
        assert ask(target, "CLUSTER", "SETSLOT", *words, there) == "OK"
    wanted = {"[%d%s%s]" % (slot, way, there) for slot, way in ((9000, "->-"), (9001, "->-"), (3300, "-<-"), (3301, "-<-"))}
    assert wait_for(lambda: opened(replica) == wanted)
    target.kill()
    assert ask(replica, "CLUSTER", "FAILOVER", "TAKEOVER") == "OK"
    assert wait_for(lambda: "master" in table(replica)[my_id(replica)]["flags"])
    for words in (("9000", "STABLE"), ("3300", "STABLE"), ("9002", "MIGRATING", there), ("3302", "IMPORTING", there)):
        assert ask(replica, "CLUSTER", "SETSLOT", *words) == "OK"
    assert ask(replica, "SET", MINE, "1") == "OK"
    target.start_again()
    assert wait_for(lambda: target.info("replication").get("master_link_status") == "up" and ask(target, "DBSIZE") == 1), target.log()[-3000:]
    wanted = {"[%d%s%s]" % (slot, way, there) for slot, way in ((9001, "->-"), (9002, "->-"), (3301, "-<-"), (3302, "-<-"))}
    assert wait_for(lambda: opened(target) == wanted), (opened(target), target.log()[-3000:])


@ONCE
@pytest.mark.parametrize("how", ["log", "save"])
def test_a_restart_drops_what_came(nodes, how):
    source, target = pair(nodes, "shoal", "shoal", **({"appendonly": "yes", "appendfsync": "always"} if how == "log" else {}))
    assert ask(target, "SET", MINE, "1") == "OK"
    s = Source(source, target).begin()
    s.send(*["SET k%d{b} 1" % i for i in range(100)])
    assert wait_for(lambda: ask(target, "CLUSTER", "COUNTKEYSINSLOT", "3300") == 100)
    if how == "save":
        assert ask(target, "SAVE") == "OK"
    target.kill()
    target.start_again()
    assert wait_for(lambda: ask(target, "CLUSTER", "COUNTKEYSINSLOT", "3300") == 0)
    assert wait_for(lambda: ask(target, "GET", MINE) == b"1")
    assert ask(target, "DBSIZE") == 1 and jobs(target) == []


class Writer(threading.Thread):
    """Counts up keys in the slots that move, and follows them."""

    def __init__(self, members, keys):
        super().__init__(daemon=True)
        self.client, self.keys, self.stop, self.sent = Client(members), keys, False, {}

    def run(self):
        while not self.stop:
            for key in self.keys:
                self.client.do(key, "INCR", key)
                self.sent[key] = self.sent.get(key, 0) + 1
        self.client.close()


@pytest.mark.parametrize("target_kind", ["shoal", pytest.param("valkey", marks=ONCE)])
def test_a_valkey_sends_under_writes(nodes, target_kind):
    source, target = pair(nodes, "valkey", target_kind)
    with source.raw() as c:
        for i in range(500):
            words = [("SET", "s%d{b}" % i, "v" * i), ("RPUSH", "l%d{b}" % i, *map(str, range(i % 50 + 1))), ("HSET", "h%d{b}" % i, "f", str(i)), ("SADD", "m%d{b}" % i, "x", "1")]
            words += [("ZADD", "z%d{b}" % i, str(i), "m"), ("XADD", "x%d{b}" % i, "1-1", "f", "v"), ("SET", "t%d{b}" % i, "1", "EX", "10000")]
            for w in words:
                assert not isinstance(c.do(*w), RespError)
        before = {key: c.do("DUMP", key)[:-10] for key in c.do("KEYS", "*") if key[:1] in b"slmt"}
    writer = Writer([source, target], ["count%d{b}" % i for i in range(5)])
    writer.start()
    assert wait_for(lambda: len(writer.sent) == 5)
    assert ask(source, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", "0", "4000", "NODE", my_id(target)) == "OK"
    assert wait_for(lambda: state(source) in ("success", "failed"))
    assert state(source) == state(target) == "success", (jobs(source), jobs(target), target.log()[-3000:])
    seen = sum(writer.sent.values())
    assert wait_for(lambda: sum(writer.sent.values()) > seen + 10)
    writer.stop = True
    writer.join()
    assert {key: int(ask(target, "GET", key)) for key in writer.sent} == writer.sent
    assert ask(target, "DBSIZE") == 500 * 7 + 5 and wait_for(lambda: ask(source, "DBSIZE") == 0)
    with target.raw() as c:
        for key, dump in before.items():
            assert target_kind == "shoal" or c.do("DUMP", key)[:-10] == dump
        assert c.do("ZSCORE", "z7{b}", "m") == b"7" and c.do("XLEN", "x7{b}") == 1 and c.do("HGET", "h7{b}", "f") == b"7"
        assert c.do("LRANGE", "l7{b}", "0", "-1") == [b"%d" % i for i in range(8)] and c.do("SMEMBERS", "m7{b}").__len__() == 2
        assert 9000 < c.do("TTL", "t7{b}") <= 10000 and c.do("GET", "s7{b}") == b"v" * 7


@pytest.mark.row_once
@pytest.mark.parametrize("kinds", [("valkey", "shoal"), ("shoal", "valkey"), ("shoal", "shoal")], ids=str)
def test_valkey_cli_moves_them_at_once(nodes, kinds):
    source, target = pair(nodes, *kinds)
    with source.raw() as c:
        names = ["k:%d" % i for i in range(2000)]
        here = [name for name in names if not isinstance(c.do("SET", name, name), RespError)]
    words = ["--cluster-from", my_id(source), "--cluster-to", my_id(target), "--cluster-slots", "4096", "--cluster-yes"]
    cli("--cluster", "reshard", "127.0.0.1:%d" % source.port, *words, "--cluster-use-atomic-slot-migration")
    assert agree([source, target])
    assert table(target)[my_id(target)]["slots"] == ["0-4095", "8192-16383"] and {job[b"state"] for job in jobs(target)} == {b"success"}
    assert ask(source, "DBSIZE") + ask(target, "DBSIZE") == len(here) and 0 < ask(source, "DBSIZE") < len(here)
    with Client([source, target]) as c:
        assert [c.get(name) for name in here] == [name.encode() for name in here]
