# SPDX-License-Identifier: BSD-3-Clause
"""Slots that leave at once with their keys (CLUSTER MIGRATESLOTS): to a Valkey and to a Shoal, and between two Valkeys as the control; who
gets them is played by hand where it fails."""

import contextlib
import pathlib
import signal
import socket
import threading

import pytest

from cluster_nodes import Client, Nodes, agree, ask, find_cli, my_id, table
from resp import NULL_ARRAY, RespError, encode
from server import Server, find_peer, wait_for
from test_cluster_import import follow, join, jobs, pair, state, take_over

pytestmark = [
    pytest.mark.shoal_only,
    pytest.mark.slow,
    pytest.mark.row_pair,
    pytest.mark.skipif(find_cli() is None, reason="no valkey-cli: ./dev test installs it"),
]

ONCE = pytest.mark.row_once
LOST = b"Connection lost to target. Check CLUSTER GETSLOTMIGRATIONS on the target node for more information."


@pytest.fixture
def nodes(start_server):
    n = Nodes(start_server)
    yield n
    n.stop()


@contextlib.contextmanager
def stopped(node):
    node.stand_still()
    try:
        yield
    finally:
        node.proc.send_signal(signal.SIGCONT)


def move(source, target, *ranges):
    ranges = ranges or ("0", "4000")
    return ask(source, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *ranges, "NODE", my_id(target))


def ends(node, wanted):
    assert wait_for(lambda: state(node) in ("success", "failed", "cancelled"), 60), (jobs(node), node.log()[-3000:])
    assert state(node) == wanted, (jobs(node), node.log()[-3000:])


def fill(source, tags):
    """One key of each kind for each tag; what DUMP, or each kind's own command, says of them."""
    with source.raw() as c:
        for tag in tags:
            k = "{%s}" % tag
            words = [("SET", "s" + k, "v" * 300), ("SET", "i" + k, "12345"), ("RPUSH", "l" + k, *map(str, range(30))), ("HSET", "h" + k, "f", "1", "g", "2")]
            words += [("HPEXPIREAT", "h" + k, "4000000000000", "FIELDS", "1", "f"), ("SADD", "m" + k, "x", "1"), ("ZADD", "z" + k, "1.5", "a", "2", "b")]
            words += [("XADD", "x" + k, "1-1", "f", "v"), ("XGROUP", "CREATE", "x" + k, "g", "0"), ("PFADD", "p" + k, "a", "b"), ("SET", "t" + k, "1", "PXAT", "4000000000000")]
            for w in words:
                assert not isinstance(c.do(*w), RespError), w


def looks(node, tags):
    seen = {}
    with node.raw() as c:
        for tag in tags:
            k = "{%s}" % tag
            seen[tag] = [c.do("GET", "s" + k), c.do("GET", "i" + k), c.do("LRANGE", "l" + k, "0", "-1"), sorted(c.do("HGETALL", "h" + k))]
            seen[tag] += [c.do("HPEXPIRETIME", "h" + k, "FIELDS", "2", "f", "g"), sorted(c.do("SMEMBERS", "m" + k)), c.do("ZRANGE", "z" + k, "0", "-1", "WITHSCORES")]
            seen[tag] += [c.do("XRANGE", "x" + k, "-", "+"), c.do("XINFO", "GROUPS", "x" + k), c.do("PFCOUNT", "p" + k), c.do("PEXPIRETIME", "t" + k)]
    return seen


def tags_below(limit, count):
    """Tags whose slots are below that."""
    table_, found = crc_table(), []
    for i in range(100000):
        tag = "t%d" % i
        if crc16(table_, tag.encode()) % 16384 < limit:
            found.append(tag)
            if len(found) == count:
                break
    return found


def crc_table():
    rows = []
    for n in range(256):
        crc = n << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
        rows.append(crc)
    return rows


def crc16(rows, text):
    crc = 0
    for byte in text:
        crc = (crc << 8 ^ rows[(crc >> 8 ^ byte) & 0xFF]) & 0xFFFF
    return crc


KINDS = [("shoal", "shoal"), pytest.param(("shoal", "valkey"), marks=ONCE), pytest.param(("valkey", "valkey"), marks=ONCE)]


@pytest.mark.parametrize("kinds", KINDS, ids=str)
def test_slots_leave_with_all_their_keys(nodes, kinds):
    source, target = pair(nodes, *kinds)
    tags = tags_below(4001, 40)
    fill(source, tags)
    before = looks(source, tags)
    assert move(source, target) == "OK"
    ends(source, "success")
    ends(target, "success")
    assert agree([source, target])
    assert table(source)[my_id(target)]["slots"] == ["0-4000", "8192-16383"]
    assert looks(target, tags) == before
    assert wait_for(lambda: ask(source, "DBSIZE") == 0) and ask(target, "DBSIZE") == 9 * len(tags)
    job = jobs(source)[0]
    assert (job[b"operation"], job[b"slot_ranges"], job[b"message"], job[b"name"]) == (b"EXPORT", b"0-4000", b"", jobs(target)[0][b"name"])
    assert (job[b"source_node"].decode(), job[b"target_node"].decode()) == (my_id(source), my_id(target))
    assert job[b"remaining_repl_size"] == 0


class Writer(threading.Thread):
    """Appends to lists and counts up in the slots that move, some of it in transactions and scripts, and follows them. What was acknowledged
    is known; an error must be one that tells where to go, or to come again."""

    SCRIPT = "redis.call('RPUSH', KEYS[1], ARGV[1]) return redis.call('INCR', KEYS[2])"

    def __init__(self, members, tags):
        super().__init__(daemon=True)
        self.conns = {node.port: node.raw(timeout=30) for node in members}
        self.members, self.tags, self.stop = members, tags, False
        self.acked = {tag: [] for tag in tags}
        self.wrong, self.redirects, self.tries_again = [], 0, 0

    def once(self, port, tag, n):
        conn, how = self.conns[port], n % 4
        words = [("RPUSH", "l{%s}" % tag, str(n)), ("INCR", "c{%s}" % tag)]
        if how == 0:
            conn.send(b"".join(encode(*w) for w in [("MULTI",), *words, ("EXEC",)]))
            replies = [conn.read() for _ in range(4)]
            bad = [r for r in replies[1:3] if isinstance(r, RespError)]
            return bad[0] if bad else replies[3]
        if how == 1:
            return conn.do("EVAL", self.SCRIPT, "2", "l{%s}" % tag, "c{%s}" % tag, str(n))
        return conn.do("RPUSH", "l{%s}" % tag, str(n))

    def run(self):
        home = {tag: self.members[0].port for tag in self.tags}
        n = 0
        while not self.stop:
            for tag in self.tags:
                n += 1
                while True:
                    reply = self.once(home[tag], tag, n)
                    if isinstance(reply, list):
                        reply = next((r for r in reply if isinstance(r, RespError)), reply)
                    text = str(reply)
                    if not isinstance(reply, RespError):
                        self.acked[tag].append(b"%d" % n)
                        break
                    if text.startswith(("MOVED ", "ASK ")):
                        home[tag] = int(text.rsplit(":", 1)[1])
                        self.redirects += 1
                    elif text.startswith("TRYAGAIN "):
                        self.tries_again += 1
                    else:
                        self.wrong.append((tag, n, text))
                        return

    def count(self):
        return sum(len(acked) for acked in self.acked.values())

    def end(self):
        self.stop = True
        self.join(60)
        assert not self.is_alive() and not self.wrong, self.wrong


def has_all(node, writers):
    """Each list is what was acknowledged, in its order, and nothing else; each counter has as many as there were."""
    with node.raw() as c:
        for w in writers:
            for tag, acked in w.acked.items():
                assert c.do("LRANGE", "l{%s}" % tag, "0", "-1") == acked, tag
                counted = sum(int(n) % 4 < 2 for n in acked)
                assert int(c.do("GET", "c{%s}" % tag) or 0) == counted, tag


@pytest.mark.parametrize("kinds", [("shoal", "shoal"), ("shoal", "valkey")], ids=str)
def test_no_write_is_lost(nodes, kinds):
    source, target = pair(nodes, *kinds)
    tags = tags_below(4001, 24)
    fill(source, tags_below(4001, 200)[24:])
    stays = [tag for tag in tags_below(8192, 100) if tag not in tags_below(4001, 100)][:4]
    writers = [Writer([source, target], tags[i::3]) for i in range(3)] + [Writer([source, target], stays)]
    for w in writers:
        w.start()
    assert wait_for(lambda: all(w.count() > 50 for w in writers))
    assert move(source, target) == "OK"
    ends(source, "success")
    seen = [w.count() for w in writers]
    assert wait_for(lambda: all(w.count() > n + 20 for w, n in zip(writers, seen)))
    for w in writers:
        w.end()
    assert all(w.redirects > 0 for w in writers[:3]) and writers[3].redirects == 0
    has_all(target, writers[:3])
    has_all(source, writers[3:])


class Target:
    """Plays the node that gets the slots: all but the bus, where a true one answers for it."""

    def __init__(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(8)
        self.listener.settimeout(60)
        self.port, self.conn, self.seen = self.listener.getsockname()[1], None, b""

    def close(self):
        self.listener.close()
        if self.conn is not None:
            self.conn.close()

    def accept(self):
        if self.conn is not None:
            self.conn.close()
        self.conn, _ = self.listener.accept()
        self.conn.settimeout(60)
        self.seen = b""
        return self

    def hears(self, *words):
        """Reads until these have come."""
        for word in words:
            word = word.encode()
            while word not in self.seen:
                data = self.conn.recv(1 << 16)
                assert data, (word, self.seen[-300:])
                self.seen += data
            self.seen = self.seen[self.seen.index(word) + len(word) :]
        return self

    def says(self, *words):
        self.conn.sendall(b"".join(encode("CLUSTER", "SYNCSLOTS", word) for word in words))
        return self

    def accepts(self):
        self.accept().hears("ESTABLISH\r\n", "4000\r\n")
        self.conn.sendall(b"+OK\r\n")
        return self

    def to_replicating(self):
        return self.accepts().says("ACK").hears("SNAPSHOT-EOF\r\n")

    def to_paused(self):
        return self.to_replicating().says("REQUEST-PAUSE").hears("PAUSED\r\n")

    def to_granted(self):
        return self.to_paused().says("REQUEST-FAILOVER").hears("FAILOVER-GRANTED\r\n")

    def has_ended(self):
        """Reads what is left; true."""
        try:
            while self.conn.fileno() >= 0 and self.conn.recv(1 << 16):
                pass
        except ConnectionError:
            pass
        return True


@pytest.fixture(scope="module", params=["shoal", "valkey"])
def played(request, server_binary, base_config, kind):
    """A source, who it is told is its target, and the one that is played."""

    def start(config, start):
        return Server(server_binary, {**base_config, **config}, kind=kind)

    n, target = Nodes(start), Target()
    source, real = pair(n, request.param, request.param, cluster_announce_port=str(target.port))
    yield source, real, target
    target.close()
    for node in n.all:
        node.stop()


def refuse_password(target):
    target.accept().hears("AUTH\r\n", "secret\r\n").conn.sendall(b"-WRONGPASS no\r\n")


# What is set while it lasts, what the target does, and what the job says of it.
HOW = {
    "end at once": ("", lambda s, t: t.accept().conn.close(), LOST),
    "error": ("", lambda s, t: t.accept().hears("4000\r\n").conn.sendall(b"-ERR no room\r\n"), b"Received error during handshake to target: -ERR no room\r\n"),
    "end": ("", lambda s, t: t.to_replicating().conn.close(), LOST),
    "end when paused": ("", lambda s, t: t.to_paused().conn.close(), LOST),
    "flush": ("", lambda s, t: t.to_replicating() and ask(s, "FLUSHALL"), b"Data was flushed"),
    "wrong word": ("", lambda s, t: t.to_replicating().says("REQUEST-FAILOVER"), b"Unexpected state machine transition"),
    "unknown word": ("", lambda s, t: t.to_replicating().says("NOISE"), b"Unknown SYNCSLOTS subcommand used"),
    "silence": ("repl-timeout 60 60", lambda s, t: t.to_replicating() and ask(s, "CONFIG", "SET", "repl-timeout", "1"), b"Timed out after too long with no interaction"),
    "pause": ("cluster-manual-failover-timeout 300 5000", lambda s, t: t.to_paused(), b"Timed out before streaming completed"),
    "password": ("primaryauth secret ", lambda s, t: refuse_password(t), b"Failed to AUTH to target node: -WRONGPASS no"),
}


@ONCE
@pytest.mark.parametrize("how", HOW)
def test_what_fails_before_the_grant_changes_nothing(played, how):
    source, real, target = played
    setting, act, message = HOW[how]
    name, value, usual = setting.split(" ") if setting else ("repl-timeout", "60", "60")
    assert ask(source, "CONFIG", "SET", name, value) == "OK"
    tag = tags_below(4001, 1)[0]
    assert ask(source, "SET", "{%s}" % tag, "1") == "OK" and move(source, real) == "OK"
    act(source, target)
    ends(source, "failed")
    assert ask(source, "CONFIG", "SET", name, usual) == "OK"
    assert jobs(source)[0][b"message"] == message
    assert target.has_ended()
    assert ask(source, "SET", "{%s}" % tag, "2") == "OK"
    assert "0-8191" in table(source)[my_id(source)]["slots"]


@ONCE
def test_what_goes_on_is_cancelled(played):
    source, real, target = played
    assert move(source, real, "0", "4000", "NODE", my_id(real), "SLOTSRANGE", "4001", "4001") == "OK"
    assert len([job for job in jobs(source) if job[b"state"] not in (b"failed", b"success", b"cancelled")]) == 2
    assert str(move(source, real)) == "ERR I am already migrating slot 0."
    assert str(ask(source, "CLUSTER", "SETSLOT", "8000", "MIGRATING", my_id(real))) == "ERR Slot export in progress."
    assert ask(source, "CLUSTER", "CANCELSLOTMIGRATIONS") == "OK"
    assert [job[b"state"] for job in jobs(source)[:2]] == [b"cancelled", b"cancelled"]
    assert str(ask(source, "CLUSTER", "CANCELSLOTMIGRATIONS")) == "ERR No migrations ongoing"
    for _ in range(2):
        assert target.accept().has_ended()


def held_write(source, tag):
    """Somebody who writes to a slot that is about to leave: the connection, on which nothing comes while it waits."""
    c = source.raw(timeout=60)
    c.send(encode("SET", "{%s}" % tag, "waits"))
    assert wait_for(lambda: b"cmd=set" in ask(source, "CLIENT", "LIST"))
    return c


@pytest.fixture
def own_played(nodes):
    target = Target()
    source, real = pair(nodes, "shoal", "shoal", cluster_announce_port=str(target.port))
    yield source, real, target
    target.close()


def test_what_was_granted_is_not_written_to(own_played):
    """Until the target answers, with its connection ended, that it has not got the slots. All others are."""
    source, real, target = own_played
    low, high = tags_below(4001, 1)[0], [tag for tag in tags_below(8192, 100) if tag not in tags_below(4001, 100)][0]
    assert ask(source, "SET", "{%s}" % low, "before") == "OK" and move(source, real) == "OK"
    target.to_granted()
    assert state(source) == "failover-granted"
    assert str(ask(source, "CLUSTER", "CANCELSLOTMIGRATIONS")) == "ERR Slots that were granted to their new owner already are not taken back"
    epoch = table(source)[my_id(source)]["epoch"]
    c = held_write(source, low)
    assert ask(source, "GET", "{%s}" % low) == b"before" and ask(source, "SET", "{%s}" % high, "1") == "OK"
    target.conn.close()
    assert c.read() == "OK"
    c.close()
    ends(source, "failed")
    assert jobs(source)[0][b"message"] == LOST and table(source)[my_id(source)]["epoch"] > epoch
    assert agree([source, real]) and "0-8191" in table(real)[my_id(source)]["slots"]
    assert ask(source, "GET", "{%s}" % low) == b"waits"


@ONCE
def test_what_was_granted_is_not_written_to_behind_a_restart(nodes, tmp_path):
    """It was forgotten with the process: what the source took then was lost with the claim. A Valkey starts from that file as well."""
    keeps = {"appendonly": "yes", "appendfsync": "always"}
    target = Target()
    source, real = pair(nodes, "shoal", "shoal", of_source={**keeps, "cluster_node_timeout": "60000"}, cluster_announce_port=str(target.port), cluster_node_timeout="60000")
    low, high = tags_below(4001, 1)[0], [tag for tag in tags_below(8192, 100) if tag not in tags_below(4001, 100)][0]
    assert ask(source, "SET", "{%s}" % low, "before") == "OK" and move(source, real) == "OK"
    target.to_granted()
    went = my_id(source)
    with stopped(real):
        source.kill()
        text = (pathlib.Path(source.dir) / "nodes.conf").read_text()
        assert "granted" in text.splitlines()[-1]
        source.start_again()
        assert wait_for(lambda: ask(source, "SET", "{%s}" % high, "1") == "OK")
        assert state(source) == "failover-granted" and ask(source, "GET", "{%s}" % low) == b"before"
        c = held_write(source, low)
    assert c.read() == "OK"
    c.close()
    ends(source, "failed")
    assert jobs(source)[0][b"message"] == LOST
    assert agree([source, real]) and "0-8191" in table(real)[went]["slots"]
    assert ask(source, "GET", "{%s}" % low) == b"waits"
    assert "granted" not in (pathlib.Path(source.dir) / "nodes.conf").read_text()
    for node in (source, real):
        node.kill()
        node.stopped_by_test = True
    target.close()
    (tmp_path / "nodes.conf").write_text(text)
    valkey = nodes.start("valkey", cluster_config_file=str(tmp_path / "nodes.conf"))
    assert my_id(valkey) == went and table(valkey)[went]["slots"] == ["0-8191"]


@pytest.mark.parametrize("kinds", KINDS, ids=str)
def test_who_waits_for_a_key_or_watches_one_hears_of_it(nodes, kinds):
    source, target = pair(nodes, *kinds)
    key = "{%s}" % tags_below(4001, 1)[0]
    with source.raw(timeout=60) as pops, source.raw(timeout=60) as watches:
        assert ask(source, "SET", key, "1") == "OK" and watches.do("WATCH", key) == "OK"
        pops.send(encode("BLPOP", "l" + key, "0"))
        assert wait_for(lambda: source.info("clients")["blocked_clients"] == "1")
        assert move(source, target) == "OK"
        ends(source, "success")
        assert str(pops.read()).startswith("MOVED ")
        assert wait_for(lambda: ask(source, "DBSIZE") == 0)
        assert (watches.do("MULTI"), watches.do("PING"), watches.do("EXEC")) == ("OK", "QUEUED", NULL_ARRAY)


@pytest.mark.parametrize("kinds", [("shoal", "shoal"), pytest.param(("shoal", "valkey"), marks=ONCE)], ids=str)
def test_large_values_and_several_databases_go_along(nodes, kinds):
    """Of two databases; and while one of the large values is being written to."""
    source, target = pair(nodes, *kinds, of_source={"cluster_databases": "2"}, cluster_databases="2")
    key = "{%s}" % tags_below(4001, 1)[0]
    with source.raw(timeout=60) as c:
        for db in ("0", "1"):
            assert c.do("SELECT", db) == "OK"
            for i in range(20):
                c.send(encode("RPUSH", "l" + key, *["%d:%d" % (i, j) + "x" * 90 for j in range(1000)]))
                c.send(encode("HSET", "h" + key, *[w for j in range(1000) for w in ("%d:%d" % (i, j), "y" * 90)]))
            assert all(isinstance(c.read(), int) for _ in range(40))
            assert c.do("SET", "s" + key, db * 3000000) == "OK"
        assert move(source, target) == "OK"
        pushed = 0
        while not isinstance(c.do("RPUSH", "l" + key, "more"), RespError):
            pushed += 1
    ends(source, "success")
    with target.raw(timeout=60) as c:
        for db in ("0", "1"):
            assert c.do("SELECT", db) == "OK"
            assert c.do("STRLEN", "s" + key) == 3000000 and c.do("GETRANGE", "s" + key, "-1", "-1") == db.encode()
            assert c.do("HLEN", "h" + key) == 20000 and c.do("HGET", "h" + key, "19:999") == b"y" * 90
            assert c.do("LLEN", "l" + key) == 20000 + (pushed if db == "1" else 0) and c.do("LINDEX", "l" + key, "19999") == b"19:999" + b"x" * 90
    assert pushed > 0


@ONCE
@pytest.mark.parametrize("kinds", [("shoal", "shoal"), ("shoal", "valkey")], ids=str)
def test_debug_holds_a_migration_where_it_says(nodes, kinds):
    source, target = pair(nodes, *kinds)
    fill(source, tags_below(4001, 10))
    for node in (source, target):
        assert ask(node, "DEBUG", "SLOTMIGRATION", "PREVENT-PAUSE", "1") == "OK"
    assert move(source, target) == "OK"
    assert wait_for(lambda: state(source) == "waiting-to-pause", 60)
    assert not wait_for(lambda: state(source) != "waiting-to-pause", 1)
    with source.raw() as c:
        assert c.do("SET", "{%s}late" % tags_below(4001, 1)[0], "1") == "OK"  # nothing stands still
    for node in (source, target):
        assert ask(node, "DEBUG", "SLOTMIGRATION", "PREVENT-FAILOVER", "1") == "OK"
        assert ask(node, "DEBUG", "SLOTMIGRATION", "PREVENT-PAUSE", "0") == "OK"
    assert wait_for(lambda: state(source) == "failover-granted", 60)
    for node in (source, target):
        assert ask(node, "DEBUG", "SLOTMIGRATION", "PREVENT-FAILOVER", "0") == "OK"
    ends(source, "success")
    ends(target, "success")


@ONCE
def test_several_go_at_once(nodes):
    """To two nodes, of both kinds, and each of several ranges, under writes."""
    source, other = pair(nodes, "shoal", "valkey")
    third = nodes.start("shoal")
    join(source, other, third)
    assert agree([source, other, third])
    tags = tags_below(8000, 60)
    fill(source, tags)
    before = looks(source, tags)
    writers = [Writer([source, other, third], ["w" + tag for tag in tags[i::2]]) for i in range(2)]
    for w in writers:
        w.start()
    words = ["SLOTSRANGE", "0", "999", "3000", "3999", "NODE", my_id(other), "SLOTSRANGE", "1000", "2999", "4500", "4500", "NODE", my_id(third)]
    words += ["SLOTSRANGE", "5000", "7999", "NODE", my_id(third)]
    assert ask(source, "CLUSTER", "MIGRATESLOTS", *words) == "OK"
    assert wait_for(lambda: [state(source, i) for i in range(3)] == ["success"] * 3, 60), jobs(source)
    assert agree([source, other, third])
    for w in writers:
        w.end()
    assert table(source)[my_id(source)]["slots"] == ["4000-4499", "4501-4999", "8000-8191"]
    with Client([source, other, third]) as c:
        for tag in tags:
            assert c.get("i{%s}" % tag) == b"12345"
        for w in writers:
            for tag, acked in w.acked.items():
                assert c.do("l{%s}" % tag, "LRANGE", "l{%s}" % tag, "0", "-1") == acked
    assert len(before) == 60


@ONCE
@pytest.mark.parametrize("who", ["source", "target"])
def test_an_end_that_is_killed(nodes, who):
    """In the middle of it, with so much to send that it takes a while: what was written is with the source."""
    keeps = {"appendonly": "yes", "appendfsync": "always"}
    source, target = pair(nodes, "shoal", "shoal", of_source=keeps, **keeps)
    tag = tags_below(4001, 1)[0]
    with source.raw(timeout=60) as c:
        for i in range(100):
            assert c.do("SET", "%d{%s}" % (i, tag), "v" * 200000) == "OK"
        assert c.do("SET", "last{%s}" % tag, "1") == "OK"
    assert move(source, target) == "OK"
    wait_for(lambda: state(target) not in (None, "waiting-for-ack"))  # it may be over by now as well
    killed, other = (source, target) if who == "source" else (target, source)
    killed.kill()
    killed.start_again()
    assert wait_for(lambda: state(other) in ("failed", "success", None))
    assert agree([source, target])
    at = target if "0-4000" in table(source)[my_id(target)]["slots"] else source
    assert wait_for(lambda: ask(at, "GET", "last{%s}" % tag) == b"1")
    assert all(ask(at, "STRLEN", "%d{%s}" % (i, tag)) == 200000 for i in range(100))
    assert wait_for(lambda: ask(target if at is source else source, "DBSIZE") == 0)


@ONCE
@pytest.mark.parametrize("kinds", [("shoal", "shoal"), ("shoal", "valkey")], ids=str)
def test_what_runs_out_on_its_way_is_gone(nodes, kinds):
    source, target = pair(nodes, *kinds)
    tag = tags_below(4001, 1)[0]
    with source.raw() as c:
        for i in range(300):
            c.send(encode("SET", "%d{%s}" % (i, tag), "x", "PX", str(1 + i)) + encode("HSETEX", "h%d{%s}" % (i, tag), "PX", str(1 + i), "FIELDS", "1", "f", "v"))
        assert [c.read() for _ in range(600)] == ["OK", 1] * 300
        assert c.do("SET", "stays{%s}" % tag, "1") == "OK"
    assert move(source, target) == "OK"
    ends(source, "success")
    assert wait_for(lambda: ask(target, "DBSIZE") == 1 and ask(source, "DBSIZE") == 0)


@ONCE
def test_replicas_of_both_ends_follow(nodes):
    source, target = pair(nodes, "shoal", "shoal")
    behind_source = follow(nodes, "shoal", source, target)
    behind_target = follow(nodes, "valkey", target, source, behind_source)
    tags = tags_below(4001, 20)
    fill(source, tags)
    before = looks(source, tags)
    assert wait_for(lambda: ask(behind_source, "DBSIZE") == 9 * len(tags))
    assert move(source, target) == "OK"
    ends(source, "success")
    assert wait_for(lambda: ask(behind_source, "DBSIZE") == 0 and ask(behind_target, "DBSIZE") == 9 * len(tags))
    assert looks(target, tags) == before


@ONCE
def test_a_source_that_is_no_primary_any_more_gives_it_up(nodes):
    target = Target()
    source, real = pair(nodes, "shoal", "shoal", cluster_announce_port=str(target.port))
    replica = follow(nodes, "shoal", source, real)
    assert move(source, real) == "OK"
    target.to_replicating()
    take_over(replica)
    ends(source, "failed")
    assert jobs(source)[0][b"message"] == b"Slots are no longer owned by myself"
    assert target.has_ended()
    target.close()


@ONCE
@pytest.mark.parametrize("source_kind", ["shoal", "valkey"])
def test_replicas_of_the_target_have_all_before_it_claims(nodes, source_kind):
    """It claimed with a replica far behind, which took over when the target was killed: the source had dropped by then what it lacked."""
    source, target = pair(nodes, source_kind, "shoal", of_source={"cluster_manual_failover_timeout": "60000"}, cluster_manual_failover_timeout="60000")
    replica = follow(nodes, "shoal", target, source)
    tags = tags_below(4001, 20)
    fill(source, tags)
    before = looks(source, tags)
    with stopped(replica):
        assert move(source, target) == "OK"
        assert wait_for(lambda: state(source) == "failover-paused"), (jobs(source), jobs(target))
        for _ in range(20):
            assert (state(source), state(target)) == ("failover-paused", "waiting-for-paused")
    went = my_id(target)
    ends(source, "success")
    target.kill()
    target.stopped_by_test = True
    assert wait_for(lambda: "0-4000" in table(replica)[went]["slots"]), table(replica)
    assert ask(replica, "CLUSTER", "FAILOVER", "TAKEOVER") == "OK"
    assert wait_for(lambda: "0-4000" in table(source)[my_id(replica)]["slots"] and looks(replica, tags) == before)


@ONCE
@pytest.mark.parametrize("source_kind", ["shoal", "valkey"])
def test_a_replica_that_does_not_answer_holds_up_no_claim_for_long(nodes, source_kind):
    """Half of cluster-manual-failover-timeout, so that a source whose pause ends after twice that sees the claim."""
    source, target = pair(nodes, source_kind, "shoal", of_source={"cluster_manual_failover_timeout": "2000"}, cluster_manual_failover_timeout="2000")
    replica = follow(nodes, "shoal", target, source)
    tags = tags_below(4001, 5)
    fill(source, tags)
    before = looks(source, tags)
    with stopped(replica):
        assert move(source, target) == "OK"
        ends(source, "success")
        assert "claims slots that not all replicas have" in target.log()
        assert looks(target, tags) == before
    assert wait_for(lambda: ask(replica, "DBSIZE") == 9 * len(tags))


@pytest.mark.parametrize("kinds", [("shoal", "shoal"), pytest.param(("valkey", "valkey"), marks=ONCE)], ids=str)
def test_what_moves_is_counted(nodes, kinds):
    """All of it was 0. A slow walk (as tests want it) can be looked at, and ended."""
    source, target = pair(nodes, *kinds)
    tag = tags_below(4001, 1)[0]
    with source.raw() as c:
        for i in range(100):
            assert c.do("SET", "%d{%s}" % (i, tag), "v" * 10000) == "OK"
    assert ask(source, "CONFIG", "SET", "rdb-key-save-delay", "1000000") == "OK"
    assert move(source, target) == "OK"
    assert wait_for(lambda: state(source) == "snapshotting" and state(target) == "receiving-snapshot")
    assert wait_for(lambda: int(target.info("memory")["mem_cluster_slot_import"]) > 0)
    assert int(source.info("memory")["mem_cluster_slot_export"]) > 0
    assert any(b" flags=i" in row for row in ask(target, "CLIENT", "LIST").split(b"\n"))
    assert state(source) == "snapshotting" and ask(source, "CLUSTER", "CANCELSLOTMIGRATIONS") == "OK"
    ends(source, "cancelled")
    ends(target, "failed")
    assert ask(source, "CONFIG", "SET", "rdb-key-save-delay", "0") == "OK"
    before = int(target.info("stats")["total_net_cluster_slot_import_bytes"])
    assert move(source, target) == "OK"
    ends(source, "success")
    assert int(target.info("stats")["total_net_cluster_slot_import_bytes"]) - before > 1000000
    assert int(source.info("stats")["total_net_cluster_slot_export_bytes"]) > 1000000
    assert wait_for(lambda: target.info("memory")["mem_cluster_slot_import"] == "0" and source.info("memory")["mem_cluster_slot_export"] == "0")

