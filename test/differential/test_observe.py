# SPDX-License-Identifier: BSD-3-Clause
"""What an operator asks of the whole server has Valkey's fields, in values of the same form: INFO, in several states of the server,
MEMORY STATS, MEMORY USAGE of every type with SAMPLES, MEMORY DOCTOR.

What is left out is named in docs/compat.md; the test reads that page.
"""

import contextlib
import pathlib
import re

import pytest

from conftest import SHOAL, shoal_config
from resp import Map, RespError, Verbatim, encode
from server import Server, find_peer, wait_for

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "compat.md").read_text()

FORMS = (
    ("number", r"-?\d+"),
    ("decimal", r"-?\d+\.\d+|-?nan|inf"),
    ("percentage", r"-?\d+\.\d+%"),
    ("size", r"\d+(\.\d+)?[BKMGTP]"),
    ("digest", r"[0-9a-f]{8}|[0-9a-f]{40}"),
)
# Numbers of fields of which there is one for each thread, listener, engine or database.
NUMBERED = re.compile(r"(?<=[a-z_])\d+(?=:|$)")


def form(value):
    for name, pattern in FORMS:
        if re.fullmatch(pattern, value):
            return name
    if "=" in value:
        return [item.split("=")[0] for item in value.split(",")]
    return "word"


def fields(text):
    """{(section, field): form}, in order"""
    found, section = {}, None
    for line in text.splitlines():
        if line.startswith("# "):
            section = line[2:]
        elif line:
            name, value = line.split(":", 1)
            found[section, NUMBERED.sub("N", name)] = form(value)
    return found


def info(server, *sections):
    with server.raw() as c:
        return fields(c.do("INFO", *(sections or ("everything",))).decode())


def left_out():
    """Fields of INFO that the page says are not there."""
    line = next(line for line in PAGE.splitlines() if line.startswith("- **INFO** has"))
    return set(re.findall(r"`(\w+)`", line.partition("Not there:")[2].partition(".")[0]))


def compare(shoal, valkey):
    ours, theirs = info(shoal), info(valkey)
    missing = {field for _, field in set(theirs) - set(ours)} - left_out()
    assert not missing, "not in INFO: %s" % sorted(missing)
    # Which form a git hash of zeros has, or a number that is none yet, is chance.
    other = {at: (ours[at], theirs[at]) for at in theirs if at in ours and ours[at] != theirs[at] and {ours[at], theirs[at]} != {"number", "digest"}}
    assert not other
    for section in {section for section, _ in theirs} - {"Commandstats", "Errorstats", "Latencystats"}:
        order = [field for where, field in theirs if where == section and (section, field) in ours]
        assert [field for where, field in ours if where == section and field in order] == order, section


@contextlib.contextmanager
def both(**settings):
    """A server of each kind, which ends after it."""
    path = find_peer("valkey")
    if not path:
        pytest.skip("no valkey-server: put it in PATH or give its path in SHOAL_VALKEY")
    settings = {name.replace("_", "-"): value for name, value in settings.items()}
    shoal, valkey = Server(SHOAL, dict(shoal_config(), **settings)), Server(path, settings, kind="valkey")
    with contextlib.ExitStack() as ends:
        for server in (shoal, valkey):
            server.start()
            ends.callback(server.stop, check=False)
        yield shoal, valkey


def each(servers, *commands):
    for server in servers:
        with server.raw(timeout=60) as c:
            for command in commands:
                answer = c.do(*command)
                assert not isinstance(answer, RespError), (server.kind, command, answer)


WORK = (
    ("SET", "text", "value", "EX", "1000"), ("GET", "text"), ("GET", "nothing"), ("HSET", "hash", "field", "value"),
    ("HEXPIRE", "hash", "1000", "FIELDS", "1", "field"), ("EVAL", "return 1", "0"), ("CONFIG", "GET", "maxmemory"),
    ("FUNCTION", "LOAD", "REPLACE", "#!lua name=observed\nserver.register_function('observed', function() return 1 end)"),
)  # fmt: skip


def test_fields_of_info(shoal, valkey):
    each((shoal, valkey), ("FLUSHALL",), *WORK)
    for server in (shoal, valkey):
        with server.raw() as c:
            assert c.do("LPUSH", "text", "x").startswith("WRONGTYPE")
    assert len(info(shoal)) > 250
    compare(shoal, valkey)


def test_fields_of_info_with_a_log_and_a_limit():
    with both(appendonly="yes", maxmemory="200mb", maxmemory_policy="allkeys-lfu") as servers:
        each(servers, *WORK)
        compare(*servers)
        each(servers, ("BGREWRITEAOF",))
        for server in servers:
            assert wait_for(lambda: server.info("persistence")["aof_rewrites"] != "0")
        compare(*servers)


def test_fields_of_info_after_a_save_and_while_clients_wait():
    with both() as servers:
        each(servers, *WORK)
        each(servers, ("BGSAVE",), ("CLIENT", "PAUSE", "100000", "WRITE"))
        with contextlib.ExitStack() as waiting:
            for server in servers:
                c = waiting.enter_context(server.raw())
                c.do("CLIENT", "TRACKING", "ON")
                c.do("WATCH", "text")
                c.do("SUBSCRIBE", "channel")
                assert wait_for(lambda: server.info("persistence")["rdb_bgsave_in_progress"] == "0")
            compare(*servers)
        each(servers, ("CLIENT", "UNPAUSE"))


# ---- MEMORY ----------------------------------------------------------------------------------------------------------


def kinds(value):
    """The types of a reply, by the names of its pairs."""
    if isinstance(value, Map):
        return [(name, kinds(v)) for name, v in value]
    return type(value)


def flat_kinds(value):
    return [(name, flat_kinds(v) if isinstance(v, list) else type(v)) for name, v in zip(value[::2], value[1::2])]


def test_memory_stats():
    """Servers of its own: Valkey names every database that has ever been used."""
    answers = {}
    with both() as servers:
        each(servers, *WORK, ("SELECT", "3"), ("SET", "other", "x"))
        for server in servers:
            for protocol in ("2", "3"):
                with server.raw() as c:
                    c.do("HELLO", protocol)
                    stats = c.do("MEMORY", "STATS")
                    answers.setdefault(protocol, []).append(kinds(stats) if protocol == "3" else flat_kinds(stats))
    for protocol, (ours, theirs) in answers.items():
        assert [name for name, _ in theirs if re.match(rb"db\.\d", name)] == [b"db.0", b"db.3"]
        assert ours == theirs, protocol


def test_memory_stats_add_up(shoal):
    """Overhead and data are all there is; what is kept of commands is overhead."""

    def stats():
        with shoal.raw() as c:
            c.do("HELLO", "3")
            return dict(list(c.do("MEMORY", "STATS")))

    each((shoal,), ("FLUSHALL",), ("SLOWLOG", "RESET"), ("CONFIG", "SET", "slowlog-log-slower-than", "-1", "slowlog-max-len", "128"))
    before = stats()
    each((shoal,), ("CONFIG", "SET", "slowlog-log-slower-than", "0"), *[("ECHO", "x" * 120) for _ in range(200)])
    each((shoal,), ("CONFIG", "SET", "slowlog-log-slower-than", "-1"))
    # Threads say now and then what they have.
    assert wait_for(lambda: stats()[b"overhead.total"] - before[b"overhead.total"] > 128 * 100)
    after = stats()
    for found in (before, after):
        assert found[b"overhead.total"] + found[b"dataset.bytes"] == found[b"total.allocated"]
        assert found[b"startup.allocated"] <= found[b"overhead.total"] <= found[b"total.allocated"] <= found[b"peak.allocated"]
    each((shoal,), ("SLOWLOG", "RESET"), ("CONFIG", "SET", "slowlog-log-slower-than", "10000"))
    assert wait_for(lambda: stats()[b"overhead.total"] < after[b"overhead.total"] - 128 * 100)


MANY = [str(i) for i in range(2000)]
LONG = ["element number %d of them" % i for i in range(2000)]
VALUES = {
    "number": [("SET", "v", "12345")],
    "short": [("SET", "v", "short")],
    "long": [("SET", "v", "x" * 5000)],
    "listpack": [("RPUSH", "v", "a", "b")],
    "quicklist": [("RPUSH", "v", *LONG)],
    "intset": [("SADD", "v", "1", "2")],
    "small set": [("SADD", "v", "a", "b")],
    "set": [("SADD", "v", *LONG)],
    "small sorted set": [("ZADD", "v", "1", "a")],
    "sorted set": [("ZADD", "v", *[x for pair in zip(MANY, LONG) for x in pair])],
    "small hash": [("HSET", "v", "a", "b")],
    "hash": [("HSET", "v", *[x for pair in zip(LONG, MANY) for x in pair])],
    "hash with deadlines": [("HSET", "v", "a", "b", "c", "d"), ("HEXPIRE", "v", "1000", "FIELDS", "1", "a")],
    "stream": [("XADD", "v", "*", "a", "b")] * 200 + [("XGROUP", "CREATE", "v", "g", "0"), ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "v", ">")],
    "hyperloglog": [("PFADD", "v", "a", "b")],
    "with a deadline": [("SET", "v", "x", "EX", "1000")],
    "nothing": [],
}
QUESTIONS = (
    [], ["SAMPLES", "0"], ["SAMPLES", "1"], ["SAMPLES", "5"], ["samples", "1000000"], ["SAMPLES", "-1"], ["SAMPLES", "x"], ["SAMPLES"],
    ["SAMPLES", "1", "SAMPLES", "2"], ["OTHER", "1"], ["SAMPLES", "9223372036854775807"], ["SAMPLES", "9223372036854775808"],
)  # fmt: skip


@pytest.mark.parametrize("kind", VALUES)
def test_memory_usage_of_every_type(shoal, valkey, kind):
    each((shoal, valkey), ("DEL", "v"), *VALUES[kind])
    for question in QUESTIONS:
        ours, theirs = [], []
        for server, answers in ((shoal, ours), (valkey, theirs)):
            with server.raw() as c:
                answers.append(c.do("MEMORY", "USAGE", "v", *question))
        if isinstance(theirs[0], int):
            assert isinstance(ours[0], int) and ours[0] > 0, question
        else:
            assert ours == theirs, question


def test_memory_usage_counts_every_element(shoal):
    """Whatever SAMPLES says."""
    with shoal.raw() as c:
        for kind, commands in VALUES.items():
            c.do("DEL", "v")
            for command in commands:
                c.do(*command)
            sizes = {c.do("MEMORY", "USAGE", "v", "SAMPLES", n) for n in ("0", "1", "5", "100000")}
            assert len(sizes) == 1, kind
            if kind in ("quicklist", "set", "sorted set", "hash"):
                assert sum(map(len, LONG)) < sizes.pop() < 10 * sum(map(len, LONG)), kind
        c.do("DEL", "v")


def test_memory_doctor_speaks(shoal, valkey):
    for server in (shoal, valkey):
        for protocol in ("2", "3"):
            with server.raw() as c:
                c.do("HELLO", protocol)
                said = c.do("MEMORY", "DOCTOR")
                assert type(said) is (Verbatim if protocol == "3" else bytes)
                assert said.startswith(b"txt:") == (protocol == "3") and len(said) > 40


def test_memory_doctor_names_what_is_wrong():
    """Scripts without end, a log that takes much, a peak that is long over."""
    with both(slowlog_max_len="100000", slowlog_log_slower_than="-1") as (shoal, _):
        with shoal.raw(timeout=60) as c:
            assert b"too little data" in c.do("MEMORY", "DOCTOR")
            c.do("SET", "big", "x" * 10_000_000)
            said = c.do("MEMORY", "DOCTOR")
            assert b"Scripts" not in said and b"Logs" not in said and b"too little" not in said
            for i in range(1001):
                c.do("SCRIPT", "LOAD", "return %d" % i)
            assert b" * Scripts: 1001" in c.do("MEMORY", "DOCTOR")
            c.do("SCRIPT", "FLUSH")
            c.do("CONFIG", "SET", "slowlog-log-slower-than", "0")
            c.send(encode("ECHO", "x" * 128) * 60_000)
            c.read_some(60_000)
            c.do("CONFIG", "SET", "slowlog-log-slower-than", "-1")
            assert b" * Logs: " in c.do("MEMORY", "DOCTOR")
            c.do("SLOWLOG", "RESET")
            said = c.do("MEMORY", "DOCTOR")
            assert b"Logs" not in said and b"Scripts" not in said
            c.do("SET", "peak", "x" * 50_000_000)
            assert int(shoal.info("memory")["used_memory_peak"]) > 50_000_000
            c.do("DEL", "peak")
            assert wait_for(lambda: b" * Peak: " in c.do("MEMORY", "DOCTOR"))
