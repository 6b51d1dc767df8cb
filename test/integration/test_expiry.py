# SPDX-License-Identifier: BSD-3-Clause
"""Keys end on time, are never seen after it, and cost nothing afterwards."""

import time

import pytest

from resp import NULL_ARRAY, encode
from server import wait_for

pytestmark = pytest.mark.row_each


@pytest.mark.timing
@pytest.mark.slow
@pytest.mark.shoal_only
def test_expiry_is_on_time_among_many_other_deadlines(server, r, slow):
    """30,000 keys that end within two seconds among 100,000 that do not: DBSIZE, which looks at no key, follows the
    deadlines. At p99 at most 10 ms late by the server's own clock; the test allows for its own scheduling."""
    near, far = 30_000, 100_000

    def lateness(c, lead):
        """In ms, where it was seen, sorted; or None: the keys were not there before their time."""
        before = int(server.info("stats")["expired_keys"])
        base = int(time.time() * 1000) + lead
        for start in range(0, near, 10_000):
            c.send(b"".join(encode("SET", "n%d" % i, i, "PXAT", base + i % 2000) for i in range(start, start + 10_000)))
            c.read_some(10_000)
        if time.time() * 1000 >= base:
            assert wait_for(lambda: c.do("DBSIZE") == far)
            return None
        late = []
        per_ms = near // 2000
        while time.time() * 1000 < base + 2100:
            asked = time.time() * 1000
            left = c.do("DBSIZE") - far
            answered = time.time() * 1000
            # Keys whose deadline was at least 10 ms past before we asked must not be counted any more.
            should_be_gone = max(0, min(2000, int(asked - 10 - base))) * per_ms
            excess = left - (near - should_be_gone)
            if base < asked < base + 2100 and answered - asked < 20:
                late.append(max(0, excess) / per_ms)
            time.sleep(0.002)
        assert wait_for(lambda: c.do("DBSIZE") == far)
        assert int(server.info("stats")["expired_keys"]) - before == near
        return sorted(late)

    with server.raw(timeout=60) as c:
        for start in range(0, far, 10_000):
            c.send(b"".join(encode("SET", "far%d" % i, i, "EX", 10_000 + i % 5000) for i in range(start, start + 10_000)))
            c.read_some(10_000)
        seen = []
        for attempt in range(5):  # a machine that has something else to do may be late itself
            late = lateness(c, (1500 if slow == 1 else 8000) * 2**attempt)
            if late and len(late) > 100:
                seen.append("ms beyond 10: p50 %.1f p90 %.1f max %.1f" % (late[len(late) // 2], late[int(len(late) * 0.9)], late[-1]))
                if late[int(len(late) * 0.9)] <= 10 * slow:
                    return
    pytest.fail("never on time: %s" % seen)


def test_a_key_is_never_read_after_its_deadline(server, r):
    with server.raw() as c:
        for n in range(100):
            deadline = int(time.time() * 1000) + 15
            c.do("SET", "edge%d" % n, 1, "PXAT", deadline)
        while int(time.time() * 1000) <= deadline + 1:
            pass
        assert [c.do("GET", "edge%d" % n) for n in range(100)] == [None] * 100


def test_set_active_expire_off_and_on(server, lazy_expiry):
    with server.raw() as c:
        for n in range(100):
            c.do("SET", "ae%d" % n, 1, "PX", 1)
        time.sleep(0.3)
        assert c.do("DBSIZE") == 100
        assert c.do("GET", "ae1") is None
        assert c.do("DBSIZE") == 99
        assert c.do("DEBUG", "SET-ACTIVE-EXPIRE", 1) == "OK"
        assert wait_for(lambda: c.do("DBSIZE") == 0)


@pytest.mark.parametrize(
    "change",
    [
        ["PERSIST", "k"],
        ["SET", "k", "again"],
        ["EXPIRE", "k", "1000"],
        ["PEXPIREAT", "k", "4102444800000"],
        ["GETEX", "k", "PERSIST"],
        ["GETSET", "k", "again"],
        ["MSET", "k", "again"],
    ],
    ids=lambda c: c[0],
)
def test_a_changed_deadline_is_followed(server, r, change):
    with server.raw() as c:
        c.send(encode("SET", "k", "v", "PX", 150) + encode(*change))
        c.read_some(2)
        time.sleep(0.3)
        assert c.do("EXISTS", "k") == 1


def test_a_deadline_moved_nearer_is_followed(server, r):
    with server.raw() as c:
        c.do("SET", "k", "v", "EX", 1000)
        c.do("PEXPIRE", "k", 50)
        assert wait_for(lambda: c.do("DBSIZE") == 0)


def test_what_keeps_the_deadline(server, r):
    with server.raw() as c:
        calls = [
            ["SET", "{k}1", "1", "PX", 1000], ["INCR", "{k}1"], ["APPEND", "{k}1", "0"], ["SETRANGE", "{k}1", 0, "9"],
            ["SET", "{k}1", "5", "KEEPTTL"], ["RENAME", "{k}1", "{k}2"], ["COPY", "{k}2", "{k}3"], ["MOVE", "{k}3", 1], ["PTTL", "{k}2"],
        ]  # fmt: skip
        c.send(b"".join(encode(*call) for call in calls))
        got = c.read_some(len(calls))
        assert got[:-1] == ["OK", 2, 2, 2, "OK", "OK", 1, 1] and 0 < got[-1] <= 1000
        assert wait_for(lambda: c.do("DBSIZE") == 0)
        c.do("SELECT", 1)
        assert wait_for(lambda: c.do("DBSIZE") == 0)


def test_deadlines_of_all_sizes(server, r):
    """Deadlines from now to the end of time sit side by side in the timing wheel; the near ones fire, the others stay."""
    with server.raw() as c:
        near, far = range(10), range(16, 62)
        for n in [*near, *far]:
            assert c.do("SET", "w%d" % n, n, "PX", 1 << n) == "OK"
        assert wait_for(lambda: c.do("DBSIZE") == len(far))
        assert [c.do("GET", "w%d" % n) for n in far] == [b"%d" % n for n in far]
        assert c.do("PTTL", "w61") > 1 << 60


def test_expired_key_counts_as_missing_for_writes(server, lazy_expiry):
    with server.raw() as c:
        for n in range(8):
            c.do("SET", "x%d" % n, "5", "PX", 1)
        time.sleep(0.01)
        assert c.do("INCR", "x0") == 1 and c.do("TTL", "x0") == -1
        assert c.do("APPEND", "x1", "ab") == 2 and c.do("TTL", "x1") == -1
        assert c.do("SET", "x2", "v", "XX") is None
        assert c.do("SET", "x3", "v", "NX") == "OK"
        assert c.do("GETSET", "x4", "v") is None
        assert c.do("DEL", "x5") == 0
        assert c.do("SET", "x6", "v", "KEEPTTL") == "OK" and c.do("TTL", "x6") == -1
        assert c.do("EXPIRE", "x7", 100) == 0


def test_active_expire_effort_can_be_set(server, r):
    assert r.config_set("active-expire-effort", 10)
    for n in range(1000):
        r.set("e%d" % n, 1, px=1)
    assert wait_for(lambda: r.dbsize() == 0)
    r.config_set("active-expire-effort", 1)


# ---- Deadlines that have gone by already -------------------------------------------------------------------------------

PAST = [
    # what is there, the command, its reply, (expired_keys, changes, hits, misses), whether it is there afterwards
    ("v", "SET k w PXAT 1", "OK", (1, 1, 0, 0), 0),
    ("v", "SET k w EXAT 1 XX", "OK", (1, 1, 0, 0), 0),
    ("v", "SET k w PXAT 1 GET", b"v", (1, 1, 1, 0), 0),
    ("v", "SET k w PXAT 1 IFEQ v", "OK", (1, 1, 0, 0), 0),
    ("v", "SET k w PXAT 1 NX", None, (0, 0, 0, 0), 1),
    (None, "SET k w PXAT 1", "OK", (0, 0, 0, 0), 0),
    ("v", "EXPIRE k -1", 1, (1, 1, 0, 0), 0),
    ("v", "PEXPIRE k 0", 1, (1, 1, 0, 0), 0),
    ("v", "EXPIREAT k -5", 1, (1, 1, 0, 0), 0),
    ("v", "PEXPIREAT k 1", 1, (1, 1, 0, 0), 0),
    ("v", "EXPIRE k -1 XX", 0, (0, 0, 0, 0), 1),
    ("v", "EXPIRE k -1 LT", 1, (1, 1, 0, 0), 0),
    (None, "EXPIRE k -1", 0, (0, 0, 0, 0), 0),
    ("v", "GETEX k PXAT 1", b"v", (1, 1, 1, 0), 0),
    (None, "GETEX k EXAT 1", None, (0, 0, 0, 1), 0),
    # It stores what is dead at once: the next who looks, or time, deletes it.
    (None, "MSETEX 1 k w PXAT 1", 1, (0, 1, 0, 0), 1),
    ("v", "MSETEX 2 k w {k} w EXAT 1", 1, (0, 2, 0, 0), 2),
    ("v", "MSETEX 2 k w k x PXAT 1", 1, (1, 2, 0, 0), 1),
    (None, "MSETEX 2 k w other w PXAT 1 NX", 1, (0, 2, 0, 0), 2),
    ("v", "MSETEX 2 k w other w PXAT 1 XX", 0, (0, 0, 0, 0), 1),
]


@pytest.mark.parametrize("row", PAST, ids=lambda row: row[1] + (" there" if row[0] else ""))
def test_deadline_in_the_past_counts_as_valkey_counts(server, lazy_expiry, kind, row):
    before, command, reply, counts, left = row
    if kind == "redis":
        pytest.skip("Redis 7.0 counts otherwise and has no MSETEX")
    names = ("expired_keys", "rdb_changes_since_last_save", "keyspace_hits", "keyspace_misses")
    with server.raw() as c, server.raw() as watcher:
        if before:
            c.do("SET", "k", before)
        watcher.do("WATCH", "k")
        info = server.info()
        was = [int(info[name]) for name in names]
        assert c.do(*command.split()) == reply
        info = server.info()
        assert tuple(int(info[name]) - n for name, n in zip(names, was)) == counts
        assert c.do("DBSIZE") == left
        watcher.do("MULTI")
        assert (watcher.do("EXEC") == NULL_ARRAY) == (counts[1] > 0)
        if command.startswith("MSETEX") and counts[1]:
            assert c.do("GET", "k") is None
            assert int(server.info()["expired_keys"]) == was[0] + counts[0] + 1
            assert c.do("DEBUG", "SET-ACTIVE-EXPIRE", 1) == "OK"
            assert wait_for(lambda: c.do("DBSIZE") == 0)
            assert int(server.info()["expired_keys"]) == was[0] + counts[0] + left


def test_who_only_looks_at_the_insides_deletes_nothing(server, lazy_expiry, kind):
    with server.raw() as c:
        c.do("SET", "k", "v", "PX", 1)
        time.sleep(0.01)
        was = server.info()["expired_keys"]
        assert c.do("DEBUG", "OBJECT", "k").startswith("Value at:")
        assert c.do("MEMORY", "USAGE", "k") > 0
        assert c.do("DEBUG", "DIGEST-VALUE", "k")[0].strip("0") != ""
        assert c.do("DBSIZE") == 1 and server.info()["expired_keys"] == was
        assert c.do("RANDOMKEY") is None
        assert c.do("DBSIZE") == 0


# ---- Import mode -------------------------------------------------------------------------------------------------------

# command; what another client is told and the expired keys and changes that count; what the source is told, and the same.
# There are k and n, which have run out, and z.
IMPORT = [
    ("GET k", None, 0, 0, b"v", 0, 0),
    ("EXISTS k", 0, 0, 0, 1, 0, 0),
    ("TTL k", -2, 0, 0, 0, 0, 0),
    ("TYPE k", "none", 0, 0, "string", 0, 0),
    ("OBJECT ENCODING k", None, 0, 0, b"embstr", 0, 0),
    ("MGET k z", [None, b"v"], 0, 0, [b"v", b"v"], 0, 0),
    ("LCS k z LEN", 0, 0, 0, 1, 0, 0),
    ("SET k w", "OK", 1, 1, "OK", 0, 1),
    ("SET k w NX", "OK", 1, 1, None, 0, 0),
    ("SET k w XX", None, 1, 0, "OK", 0, 1),
    ("SET k w GET", None, 1, 1, b"v", 0, 1),
    ("SET k w PXAT 1", "OK", 1, 1, "OK", 0, 1),
    ("SET z w PXAT 1", "OK", 0, 1, "OK", 0, 1),
    ("SETNX k w", 1, 1, 1, 0, 0, 0),
    ("GETEX k PERSIST", None, 0, 0, b"v", 0, 1),
    ("GETEX z PXAT 1", b"v", 0, 1, b"v", 0, 1),
    ("EXPIRE k 100", 0, 1, 0, 1, 0, 1),
    ("EXPIRE z -1", 1, 0, 1, 1, 0, 1),
    ("MSETEX 1 new x PXAT 1", 1, 0, 1, 1, 0, 1),
    ("PERSIST k", 0, 1, 0, 1, 0, 1),
    ("APPEND k x", 1, 1, 1, 2, 0, 1),
    ("INCR n", 1, 1, 1, 3, 0, 1),
    ("DEL k", 1, 0, 1, 1, 0, 1),
    ("UNLINK k n", 2, 0, 2, 2, 0, 2),
    ("GETDEL k", None, 0, 1, b"v", 0, 1),
    ("DELIFEQ k v", 0, 1, 0, 1, 0, 1),
    ("COPY k new", 0, 0, 0, 1, 0, 1),
    ("COPY z k", 1, 1, 1, 0, 0, 0),
    ("COPY z k REPLACE", 1, 1, 1, 1, 0, 1),
    ("RENAME z k", "OK", 1, 1, "OK", 0, 1),
    ("RENAMENX z k", 1, 1, 1, 0, 0, 0),
    ("MSETNX k w", 1, 1, 1, 0, 0, 0),
    ("MSET k w n 3", "OK", 2, 2, "OK", 0, 2),
    ("SETRANGE k 0 x", 1, 1, 1, 1, 0, 1),
    ("STRLEN k", 0, 0, 0, 1, 0, 0),
    ("DBSIZE", 3, 0, 0, 3, 0, 0),
    ("KEYS k", [], 0, 0, [b"k"], 0, 0),
    ("RANDOMKEY", b"z", 0, 0, None, 0, 0),
]


@pytest.fixture
def import_mode(server, r, kind):
    if kind == "redis":
        pytest.skip("Redis has no import mode")
    r.config_set("import-mode", "yes")
    yield
    r.config_set("import-mode", "no")


@pytest.mark.parametrize("queued", [False, True], ids=["alone", "inside EXEC"])
def test_import_mode_is_valkeys(server, import_mode, queued):
    with server.raw() as other, server.raw() as source:
        assert source.do("CLIENT", "IMPORT-SOURCE", "ON") == "OK"
        for command, *expected in IMPORT:
            for c, (reply, expired, changes) in ((other, expected[:3]), (source, expected[3:])):
                other.do("FLUSHALL")
                for key, value in (("k", "v"), ("n", "2")):
                    other.do("SET", key, value, "PX", 1)
                other.do("SET", "z", "v")
                time.sleep(0.003)
                was = server.info()
                if queued:
                    c.send(encode("MULTI") + encode("GET", "z") + encode(*command.split()) + encode("EXEC"))
                    told = c.read_some(4)[-1][1]
                else:
                    told = c.do(*command.split())
                if command == "RANDOMKEY" and c is source:
                    assert told in (b"k", b"n", b"z")
                else:
                    assert told == reply, (command, c is source)
                info = server.info()
                counted = [int(info[name]) - int(was[name]) for name in ("expired_keys", "rdb_changes_since_last_save")]
                assert counted == [expired, changes], (command, c is source)


def test_import_mode_ends(server, r, import_mode):
    with server.raw() as c:
        c.do("CLIENT", "IMPORT-SOURCE", "ON")
        c.do("SET", "k", "v", "PX", 1)
        c.do("SET", "watched", "v", "PX", 30)
        c.do("WATCH", "watched")
        time.sleep(0.1)
        assert c.do("DBSIZE") == 2
        c.do("MULTI")
        c.do("GET", "watched")
        assert c.do("EXEC") == [b"v"]
        r.config_set("import-mode", "no")
        assert wait_for(lambda: r.dbsize() == 0)
        assert c.do("GET", "k") is None
        assert c.do("CLIENT", "IMPORT-SOURCE", "ON") == "ERR Server is not in import mode"
        assert c.do("CLIENT", "IMPORT-SOURCE", "OFF") == "OK"


@pytest.mark.timing
@pytest.mark.parametrize("alone", [True, False], ids=["behind it in the pipeline", "from another client"])
def test_what_comes_after_a_long_command_sees_the_time(server, r, alone):
    """Whatever ran later in the same turn saw the time at which that had begun: a deadline came by as much too early."""
    r.mset({"{t}a": "ab" * 4000, "{t}b": "ba" * 4000})
    with server.raw(timeout=60) as c, server.raw(timeout=60) as other:
        valid, until = 0, time.monotonic() + 60
        while valid < 3:
            assert time.monotonic() < until
            c.do("CONFIG", "RESETSTAT")
            began_ms = time.time() * 1000
            c.send(encode("LCS", "{t}a", "{t}b", "LEN"))
            if not alone:
                time.sleep(0.01)
            asked_ms = time.time() * 1000
            (c if alone else other).send(encode("SET", "{t}k", "v", "PX", "60000"))
            if alone:
                assert c.read() > 0
            assert (c if alone else other).read() == "OK"
            waited_ms = time.time() * 1000 - asked_ms
            if not alone:
                assert c.read() > 0
            took_ms = int(server.info("commandstats")["cmdstat_lcs"].split("usec=")[1].split(",")[0]) / 1000
            if alone or waited_ms > took_ms / 2:  # else it came before the long one, whose thread had no processor yet
                assert c.do("PEXPIRETIME", "{t}k") - 60000 >= began_ms + took_ms - 2
                valid += 1
