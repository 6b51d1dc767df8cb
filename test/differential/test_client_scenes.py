# SPDX-License-Identifier: BSD-3-Clause
"""CLIENT LIST and CLIENT INFO in scripted scenes, compared with Valkey field by field, numbers included.

A scene is a function of three: the client that is looked at, another that looks, and a recorder. What it records is the line
of a client at that moment. Bytes are compared as differences to what the test itself has sent and received, as ids and
addresses are longer on one server than on the other.
"""

import re
import time

import pytest

from resp import Raw, encode
from server import wait_for

# Addresses and ids differ; time passes; sizes of buffers are each server's own; and a Valkey takes whole pipelines out of its
# query buffer before it runs the first of them.
OWN = {"id", "addr", "laddr", "fd", "age", "idle", "qbuf", "qbuf-free", "argv-mem", "rbs", "rbp", "obl", "oll", "omem", "tot-mem"}


class Counting(Raw):
    """Knows how much it has sent and received."""

    sent = received = 0

    def send(self, data):
        self.sent += len(data)
        super().send(data)

    def fill(self):
        before = len(self.buf) - (self.pos if self.pos > 1 << 20 else 0)
        more = super().fill()
        self.received += len(self.buf) - before
        return more


def fields(line):
    line = line.decode()
    return dict(word.split("=", 1) for word in line[4 if line.startswith("txt:") else 0 :].split())


class Recorder:
    def __init__(self, client, other):
        self.client, self.other, self.rows = client, other, []
        self.id = client.do("CLIENT", "ID")

    def line(self):
        return fields(self.other.do("CLIENT", "LIST", "ID", self.id))

    def take(self, row, sent=None, received=None, **more):
        row = dict(row)
        row["tot-net-in"] = int(row["tot-net-in"]) - (self.client.sent if sent is None else sent)
        row["tot-net-out"] = int(row["tot-net-out"]) - (self.client.received if received is None else received)
        self.rows.append({k: v for k, v in row.items() if k not in OWN})

    def look(self):
        """As another client sees it."""
        self.take(self.line())

    def ask(self, *commands, which=(-1,)):
        """Sends commands of which some are CLIENT INFO or LIST about itself, and takes what those say."""
        received = self.client.received
        self.client.send(b"".join(encode(*c) for c in commands))
        replies = self.client.read_some(len(commands))
        for i in which:
            reply = replies[i]
            while isinstance(reply, list):
                reply = next(e for e in reply if isinstance(e, bytes) and b"tot-cmds=" in e)
            self.take(fields(reply), received=received)
        return replies


INFO = ("CLIENT", "INFO")


def idle_at_first(a, o, rec):
    rec.look()
    rec.ask(INFO)
    rec.ask(INFO)
    rec.ask(("CLIENT", "LIST", "ID", rec.id))
    rec.look()


def key_commands(a, o, rec):
    a.do("SET", "k", "v")
    a.do("GET", "k")
    rec.look()
    rec.ask(INFO)
    a.do("MSET", *[w for n in range(50) for w in ("k%d" % n, "v" * 20)])
    a.do("MGET", *["k%d" % n for n in range(50)])
    rec.look()
    rec.ask(INFO)


def commands_over_all_shards(a, o, rec):
    for words in (("KEYS", "*"), ("SCAN", "5"), ("DBSIZE",), ("MSET", "a", "1", "b", "2"), ("RENAME", "a", "c"), ("FLUSHALL",), ("CONFIG", "GET", "port")):
        a.do(*words)
        rec.look()
    rec.ask(INFO)


def pipelines(a, o, rec):
    rec.ask(("SET", "k", "v"), ("GET", "k"), INFO, ("GET", "k"), ("PING",), which=(2,))
    rec.look()
    rec.ask(("PING",), INFO, INFO, ("PING",), which=(1, 2))
    rec.look()


def inside_multi(a, o, rec):
    a.do("MULTI")
    rec.look()
    a.do("SET", "k", "v")
    rec.look()
    a.do(*INFO)
    a.do("SET", "k2", "w" * 100)
    a.do("MGET", "k", "k2", "k3")
    rec.look()
    rec.ask(("EXEC",))
    rec.look()


def inside_exec_over_shards(a, o, rec):
    a.do("MULTI")
    for n in range(6):
        a.do("SET", "k%d" % n, "v")
    a.do(*INFO)
    a.do("GET", "k1")
    rec.look()
    rec.ask(("EXEC",))
    rec.look()


def multi_that_comes_to_nothing(a, o, rec):
    a.do("MULTI")
    a.do("SET", "k", "v")
    a.do("DISCARD")
    rec.look()
    a.do("MULTI")
    a.do("SET", "k")
    rec.look()
    a.do("EXEC")
    rec.look()
    a.do("SELECT", "3")
    a.do("MULTI")
    a.do("SET", "k", "v")
    a.do("RESET")
    rec.look()


def errors(a, o, rec):
    for words in (("NOSUCH",), ("GET",), ("GET", "a", "b"), ("CLIENT", "FOO"), ("SET", "k", "x"), ("INCR", "k"), ("NOSUCH", "x"), ("PING",)):
        a.do(*words)
        rec.look()
    rec.ask(("FOO",), INFO)


LIBRARY = """#!lua name=scene
server.register_function('sets', function(keys) return server.call('SET', keys[1], 1) end)"""


def scripts(a, o, rec):
    """What they call counts, but for what is refused; also of one that begins anew, which needs a key that it did not declare."""
    far = "redis.call('INCR', KEYS[1]) for i = 1, 20 do redis.call('SET', 'k' .. i, 1) end"
    for words in (
        ("EVAL", "return redis.call('SET', KEYS[1], 1)", "1", "a"),
        ("EVAL", "redis.call('SET', KEYS[1], 1) return redis.call('GET', KEYS[1])", "1", "b"),
        ("EVAL", "redis.pcall('NOSUCH') redis.pcall('GET') redis.pcall('MULTI') redis.pcall('GET', 'a')", "0"),
        ("EVAL", "redis.pcall('LPUSH', KEYS[1], 1)", "1", "a"),
        ("EVAL", "redis.call('SET', KEYS[1], 1) error('x')", "1", "a"),
        ("EVAL", "redis.call('LPUSH', KEYS[1], 1)", "1", "a"),
        ("EVAL_RO", "redis.pcall('SET', KEYS[1], 1) redis.pcall('GET', KEYS[1])", "1", "a"),
        ("EVAL", "redis.call('MSET', KEYS[1], 1, KEYS[2], 2)", "2", "a", "b"),
        ("EVAL", "redis.call('SELECT', 1) redis.call('PING') redis.call('DBSIZE')", "0"),
        ("EVAL", "if KEYS[1] == 'n' then redis.call('INCR', 'n') end " + far, "1", "n"),
        ("EVAL", "if KEYS[1] == 'n' then redis.call('INCR', 'n') end " + far, "1", "n"),
        ("EVAL", "nosuch()", "0"),
        ("EVALSHA", "f" * 40, "0"),
        ("FUNCTION", "LOAD", "REPLACE", LIBRARY),
        ("FCALL", "sets", "1", "a"),
        ("MULTI",),
        ("SET", "a", "1"),
        ("EVAL", "redis.call('SET', KEYS[1], 1) redis.call('SET', KEYS[2], 1)", "2", "q", "r"),
        ("FCALL", "sets", "1", "b"),
        ("EXEC",),
    ):
        a.do(*words)
        rec.look()


def watching(a, o, rec):
    a.do("WATCH", "a", "b", "c", "a")
    rec.look()
    a.do("MULTI")
    a.do(*INFO)
    rec.ask(("EXEC",))
    rec.look()
    a.do("WATCH", "a")
    a.do("UNWATCH")
    rec.look()


def waiting(a, o, rec):
    a.do("SET", "k", "v")
    a.send(encode("WAIT", "1", "0"))
    assert wait_for(lambda: rec.line()["flags"] == "b")
    rec.look()
    o.do("CLIENT", "UNBLOCK", rec.id)
    a.read()
    rec.look()
    rec.ask(INFO)


def paused(a, o, rec):
    o.do("CLIENT", "PAUSE", "100000", "WRITE")
    rec.look()
    a.send(encode("SET", "k", "v"))
    assert wait_for(lambda: rec.line()["cmd"] == "set")
    rec.look()
    o.do("CLIENT", "UNPAUSE")
    a.read()
    rec.look()


def half_a_request(a, o, rec):
    for n in (10, 100_000):
        whole = encode("SET", "k", "x" * n)
        a.send(whole[: len(whole) // 2])
        assert wait_for(lambda: int(rec.line()["tot-net-in"]) == a.sent)
        rec.look()
        a.send(whole[len(whole) // 2 :])
        a.read()
        rec.look()


def inline_requests(a, o, rec):
    a.inline("SET k v")
    rec.look()
    a.inline("NOSUCH k v")
    rec.look()
    received = a.received
    reply = a.inline("CLIENT INFO")
    rec.take(fields(reply), received=received)


def silent_replies(a, o, rec):
    a.send(encode("CLIENT", "REPLY", "OFF") + encode("PING") + encode("SET", "k", "v"))
    assert wait_for(lambda: rec.line()["cmd"] == "set")
    rec.look()
    a.do("CLIENT", "REPLY", "ON")
    rec.look()
    a.send(encode("CLIENT", "REPLY", "SKIP") + encode("PING") + encode("SET", "k", "v"))
    a.read()
    rec.look()


def names_and_switches(a, o, rec):
    a.do("HELLO", "3", "SETNAME", "foo")
    a.do("CLIENT", "SETINFO", "LIB-NAME", "lib")
    a.do("CLIENT", "SETINFO", "LIB-VER", "1.2.3")
    rec.look()
    a.do("READONLY")
    a.do("CLIENT", "NO-EVICT", "ON")
    a.do("CLIENT", "NO-TOUCH", "ON")
    a.do("CLIENT", "CAPA", "REDIRECT")
    a.do("SELECT", "7")
    rec.look()
    rec.ask(INFO)
    a.do("RESET")
    rec.look()


def large_replies(a, o, rec):
    a.do("SET", "big", "x" * 300_000)
    a.do("GET", "big")
    rec.look()
    rec.ask(INFO)


def client_side_caching(a, o, rec):
    a.do("HELLO", "3")
    a.do("CLIENT", "TRACKING", "ON", "OPTIN")
    rec.look()
    a.do("CLIENT", "TRACKING", "OFF")
    a.do("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "key:")
    rec.look()
    o.do("SET", "key:1", "1")
    a.read()
    rec.look()
    a.do("RESET")
    rec.look()


SCENES = (
    idle_at_first, key_commands, commands_over_all_shards, pipelines, inside_multi, inside_exec_over_shards, multi_that_comes_to_nothing, errors,
    scripts, watching, waiting, paused, half_a_request, inline_requests, silent_replies, names_and_switches, large_replies, client_side_caching,
)  # fmt: skip


def record(server, scene):
    with Counting(server.address, timeout=30) as a, server.raw(timeout=30) as o:
        o.do("FLUSHALL")
        rec = Recorder(a, o)
        try:
            scene(a, o, rec)
        finally:
            o.do("CLIENT", "UNPAUSE")
        return rec.rows


@pytest.mark.parametrize("scene", SCENES, ids=[s.__name__ for s in SCENES])
def test_client_list_says_what_valkey_says(shoal, valkey, scene):
    ours, theirs = record(shoal, scene), record(valkey, scene)
    assert len(ours) == len(theirs)
    for i, (mine, original) in enumerate(zip(ours, theirs)):
        assert list(mine) == list(original), "line %d" % i
        assert mine == original, "line %d" % i


FILTERS = """
    IDLE 2|IDLE 1|IDLE 100|MAXAGE 2|MAXAGE 1|MAXAGE 100|IDLE 2 IDLE 100|IDLE 100 IDLE 2|NOT-IDLE 2|NOT-MAXAGE 2
    FLAGS x|FLAGS b|FLAGS N|FLAGS e|FLAGS r|FLAGS T|FLAGS re|FLAGS ee|FLAGS O|FLAGS A|FLAGS Q|FLAGS x FLAGS b
    NOT-FLAGS N|NOT-FLAGS x|NOT-FLAGS er|NOT-FLAGS eT|NOT-FLAGS Q|CAPA r|NOT-CAPA r|CAPA rr|CAPA x|NOT-CAPA x
    DB 3|DB 0|NOT-DB 3|NOT-DB 0|DB 15|DB 16|DB -1|DB 3 DB 0|IP 127.0.0.1|NOT-IP 127.0.0.1|IP 127.0.0.2|IP ::1
    LIB-NAME la|NOT-LIB-NAME la|LIB-VER 1.2|NOT-LIB-VER 1.2|LIB-NAME la LIB-VER 1.2|NAME c|NOT-NAME c|NAME a NAME c|NAME a NOT-NAME a
    USER default|NOT-USER default|USER nosuch|NOT-USER nosuch|TYPE normal|NOT-TYPE normal|TYPE pubsub|NOT-TYPE pubsub|TYPE replica
    TYPE primary|NOT-TYPE master|TYPE foo|NOT-TYPE foo|SKIPME yes|SKIPME no|SKIPME yes NAME o|SKIPME no NAME o|SKIPME maybe|NOT-SKIPME yes
    IDLE 0|IDLE -1|IDLE x|MAXAGE 0|MAXAGE -1|MAXAGE 9223372036854775807|MAXAGE 9223372036854775808|ID 99999|NOT-ID 99999|ID a|ID 0|NOT-ID 0
    ADDR 1.2.3.4:5|NOT-ADDR 1.2.3.4:5|LADDR 1.2.3.4:5|NOT-LADDR 1.2.3.4:5|FOO 1|NOT-FOO 1|NOT-|NOT-NOT-ID 1|IDLE|ID|NAME
    IDLE 2 MAXAGE 2 FLAGS N TYPE normal DB 0 NOT-NAME e
"""  # fmt: skip


class Company:
    """Clients of all kinds on one server; o is the one who asks."""

    def __init__(self, server):
        self.server = server
        for name in "abcdefghio":
            self.make(name)
        self.a.do("SELECT", "3")
        self.a.do("CLIENT", "SETINFO", "LIB-NAME", "la")
        self.a.do("MULTI")
        self.b.do("SET", "k", "v")
        self.b.send(encode("WAIT", "1", "0"))
        self.c.do("HELLO", "3")
        self.c.do("CLIENT", "SETINFO", "LIB-VER", "1.2")
        self.d.do("CLIENT", "NO-EVICT", "ON")
        self.d.do("READONLY")
        self.d.do("CLIENT", "CAPA", "REDIRECT")
        self.e.do("WATCH", "x")
        self.f.do("CLIENT", "NO-TOUCH", "ON")

    def make(self, name):
        client = self.server.raw(timeout=30)
        setattr(self, name, client)
        client.do("CLIENT", "SETNAME", name)

    def listed(self, words):
        reply = self.o.do("CLIENT", "LIST", *words)
        return sorted(re.findall(r" name=(\w) ", reply.decode())) if isinstance(reply, bytes) else reply

    def close(self):
        for name in "abcdefghijo":
            getattr(self, name).close()


def test_filters_find_whom_valkey_finds(shoal, valkey):
    """CLIENT LIST and KILL by every test there is. Idle seconds are differences of whole seconds, not whole seconds of a difference."""

    def found():
        """What each finds, and how long that took: whoever came last is as young as the filters take him for a second or two."""
        companies = [Company(server) for server in (shoal, valkey)]
        time.sleep(3.1)
        began = time.monotonic()
        for company in companies:
            company.g.do("PING")
            company.make("j")
        out = []
        for words in (f.split() for line in FILTERS.split("\n") for f in line.split("|") if f.strip()):
            out.append((words, *[c.listed(words) for c in companies]))
        out += killed(companies)
        return out, time.monotonic() - began

    for _ in range(5):
        out, took = found()
        if took < 1:
            break
    assert [(words, ours, theirs) for words, ours, theirs in out if ours != theirs] == []


def killed(companies):
    out = []
    for words in ("FLAGS Q", "IDLE x", "IDLE 0", "NAME", "USER nosuch", "IDLE 100", "FLAGS b NOT-NAME b", "ADDR 1:2", "LADDR 1:1 SKIPME no", "FLAGS e", "IDLE 2 NAME c",
                  "MAXAGE 2 NAME f", "FLAGS b", "LIB-NAME la", "IDLE 2 NOT-NAME i", "NAME o", "MAXAGE 2", "NAME o SKIPME no"):  # fmt: skip
        out.append((words, *[c.o.do("CLIENT", "KILL", *words.split()) for c in companies]))
    for company in companies:
        assert company.o.is_closed()
        company.close()
    return out


def within_one_second(what):
    """Runs it again until it neither began near the turn of a second nor met one; what it gave, and the second."""
    while True:
        began = time.time()
        given = what()
        if began % 1 > 0.05 and int(time.time() + 0.05) == int(began):
            return given, int(began)
        time.sleep(0.02)


@pytest.mark.parametrize("share", (0.1, 0.5, 0.92))
def test_seconds_turn_when_valkeys_do(shoal, valkey, share):
    """Idle from x.9 to y.1 is as long as the seconds say."""
    clients = [(server.raw(), server.raw()) for server in (shoal, valkey)]
    ids = [a.do("CLIENT", "ID") for a, _ in clients]
    for wait in (0.3, 0.7, 1.0):
        time.sleep(1 - time.time() % 1 + share)
        _, marked = within_one_second(lambda: [a.do("PING") for a, _ in clients])
        time.sleep(wait)
        idle, asked = within_one_second(lambda: [int(fields(o.do("CLIENT", "LIST", "ID", i))["idle"]) for (_, o), i in zip(clients, ids)])
        assert idle == [asked - marked] * 2
    for pair in clients:
        for c in pair:
            c.close()
