# SPDX-License-Identifier: BSD-3-Clause
"""INFO: sections, fields, and numbers that are exact right after the command."""

import re
import time

import pytest

from conftest import connect
from resp import encode
from server import wait_for

pytestmark = pytest.mark.row_each

# Fields that only a Valkey with Lua, threads or replicas of its own can have, or that depend on the build.
NOT_COMPARED = re.compile(r"module$|engine_\d|listener\d+$|used_active_time_|cmdstat_|errorstat_|latency_percentiles|db\d+$|shoal_|allocator_")


def sections(text):
    """{section: [field names]} in order."""
    out, current = {}, None
    for line in text.splitlines():
        if line.startswith("# "):
            current = out.setdefault(line[2:], [])
        elif line:
            current.append(line.split(":", 1)[0])
    return out


def info_text(server, *args):
    with server.raw() as c:
        return c.do("INFO", *args).decode()


# ---- form ------------------------------------------------------------------------------------------------------------


def test_default_sections_and_their_order(server, valkey):
    ours = [s for s in sections(info_text(server)) if s != "Shards"]
    theirs = [s for s in sections(info_text(valkey)) if s != "Modules"]
    assert [s for s in ours if s != "Modules"] == theirs


@pytest.mark.parametrize("name", ("all", "everything"))
def test_all_sections(server, valkey, name):
    assert set(sections(info_text(valkey, name))) - {"Modules"} <= set(sections(info_text(server, name)))


@pytest.mark.parametrize(
    "section",
    "server clients memory persistence stats replication cpu errorstats cluster keyspace tls".split(),
)
def test_fields_of_a_section(server, valkey, section):
    """Every field that Valkey has, in Valkey's order; fields of our own may stand between."""
    ours = list(sections(info_text(server, section)).values())
    theirs = list(sections(info_text(valkey, section)).values())
    assert len(ours) == 1
    want = [f for f in theirs[0] if not NOT_COMPARED.match(f)]
    assert [f for f in ours[0] if f in want] == want


def test_several_sections_and_unknown_ones(server):
    assert list(sections(info_text(server, "cpu", "server"))) == ["Server", "CPU"]
    assert info_text(server, "nosuchsection") == ""
    assert list(sections(info_text(server, "CLIENTS"))) == ["Clients"]
    assert info_text(server, "server").startswith("# Server\r\n")
    text = info_text(server, "server", "clients")
    assert "\r\n\r\n# Clients\r\n" in text and text.endswith("\r\n")


def test_default_and_extra_sections_together(server):
    assert "Commandstats" in sections(info_text(server, "default", "commandstats"))
    assert "Commandstats" not in sections(info_text(server))
    assert "Commandstats" in sections(info_text(server, "all"))


@pytest.mark.shoal_only
def test_identity(server):
    info = server.info("server")
    assert info["redis_version"] == "7.2.4"
    assert info["valkey_version"] == "9.1.2"
    assert re.match(r"\d+\.\d+\.\d+", info["shoal_version"])
    assert info["server_mode"] == "standalone"
    assert info["tcp_port"] == str(server.port)
    assert info["process_id"] == str(server.pid)
    assert info["multiplexing_api"] in ("io_uring", "epoll", "uring")
    assert re.fullmatch(r"[0-9a-f]{40}", info["run_id"])


def test_uptime_and_clock(server):
    info = server.info("server")
    assert abs(int(info["server_time_usec"]) / 1e6 - time.time()) < 5
    assert 0 <= int(info["uptime_in_seconds"]) < 3600


@pytest.mark.shoal_only
def test_shards_section(server, shards, r):
    for i in range(200):
        r.set("shard%d" % i, i)
    text = info_text(server, "shards")
    assert text.startswith("# Shards\r\n")
    rows = [line for line in text.splitlines() if re.match(r"shard_?\d+:", line)]
    assert len(rows) == shards
    keys = [int(re.search(r"\bkeys=(\d+)", row).group(1)) for row in rows]
    assert sum(keys) == 200
    if shards > 1:
        assert min(keys) > 0
    for row in rows:
        fields = dict(f.split("=") for f in row.split(":")[1].split(","))
        for field in ("keys", "ops", "hops", "connections", "trips", "looks", "looks_found", "wakeups_sent", "visits", "rounds"):
            assert fields[field].isdigit(), "no %s in %s" % (field, row)
        assert int(fields["looks_found"]) <= int(fields["looks"])
        per_trip = int(fields["hops"]) / int(fields["trips"]) if int(fields["trips"]) else 0
        assert abs(float(fields["ops_per_trip"]) - per_trip) < 0.01
        if shards == 1:
            assert int(fields["trips"]) == int(fields["looks"]) == int(fields["visits"]) == 0
    assert server.late_wakeups() == 0


# ---- numbers -------------------------------------------------------------------------------------------------------------


def test_commandstats_are_exact_right_after_the_commands(server, r):
    """Commands of one connection, on all shards; the very next INFO counts every one."""
    with server.raw() as c:
        for n in (1, 10, 500):
            c.do("CONFIG", "RESETSTAT")
            c.send(b"".join(encode("SET", "cs%d" % i, i) for i in range(n)) + encode("GET", "cs0") + encode("INFO", "commandstats"))
            text = c.read_some(n + 2)[-1].decode()
            assert "cmdstat_set:calls=%d," % n in text
            assert "cmdstat_get:calls=1," in text
            assert "cmdstat_config|resetstat:calls=1," in text


def test_commandstats_rejected_and_failed(server, r):
    with server.raw() as c:
        c.do("SET", "cs", "abc")
        c.do("CONFIG", "RESETSTAT")
        c.do("INCR", "cs")
        c.do("INCR")
        c.do("INCR", "cs", "x")
        text = c.do("INFO", "commandstats").decode()
        row = re.search(r"cmdstat_incr:(.*)\r", text).group(1)
        assert re.fullmatch(r"calls=1,usec=\d+,usec_per_call=\d+\.\d\d,rejected_calls=2,failed_calls=1", row)


def test_errorstats(server, r):
    with server.raw() as c:
        c.do("SET", "es", "abc")
        c.do("CONFIG", "RESETSTAT")
        c.do("INCR", "es")
        c.do("NOSUCH")
        c.do("GET")
        c.do("AUTH", "a", "b")
        info = server.info("errorstats")
        assert info["errorstat_ERR"] == "count=3"
        assert info["errorstat_WRONGPASS"] == "count=1"
        assert server.info("stats")["total_error_replies"] == "4"
        c.do("CONFIG", "RESETSTAT")
        assert "errorstat_ERR" not in server.info("errorstats")


def test_latencystats(server, r):
    for i in range(20):
        r.set("l%d" % i, i)
    info = server.info("latencystats")
    assert re.fullmatch(r"p50=\d+\.\d+,p99=\d+\.\d+,p99\.9=\d+\.\d+", info["latency_percentiles_usec_set"])


def test_hits_and_misses(server, r):
    r.mset({"{h}1": "a", "{h}2": "b"})
    r.config_resetstat()
    r.get("{h}1")
    r.get("none")
    r.mget("{h}1", "{h}2", "{h}3")
    r.exists("{h}1")
    stats = server.info("stats")
    assert stats["keyspace_hits"] == "4" and stats["keyspace_misses"] == "2"


def test_keyspace_section(server, r):
    for i in range(100):
        r.set("ks%d" % i, i)
    for i in range(30):
        r.expire("ks%d" % i, 1000)
    other = connect(server, db=5)
    other.set("x", 1)
    info = server.info("keyspace")
    assert re.match(r"keys=100,expires=30,avg_ttl=\d+", info["db0"])
    assert info["db5"].startswith("keys=1,expires=0,avg_ttl=0")
    assert "db1" not in info
    assert 0 <= int(re.search(r"avg_ttl=(\d+)", info["db0"]).group(1)) <= 1000_000
    other.flushall()
    assert server.info("keyspace") == {}


def test_connections_and_commands_are_counted(server, r):
    before = server.info("stats")
    with server.raw() as c:
        for _ in range(10):
            c.do("PING")
        after = {k: v for k, v in server.info("stats").items()}
    # INFO itself is a connection and a command, asked after it was counted.
    assert int(after["total_connections_received"]) - int(before["total_connections_received"]) == 2
    assert int(after["total_commands_processed"]) - int(before["total_commands_processed"]) == 11
    assert int(after["total_net_input_bytes"]) > int(before["total_net_input_bytes"])


def test_connected_clients(server, r):
    r.connection_pool.disconnect()
    clients = [server.raw() for _ in range(7)]
    for c in clients:
        c.do("PING")

    # Each question has a connection of its own, and the one before may still be ending: once is enough.
    assert wait_for(lambda: server.info("clients")["connected_clients"] == "8")
    for c in clients:
        c.close()
    assert wait_for(lambda: server.info("clients")["connected_clients"] == "1")


def test_memory_follows_the_data(server, r):
    empty = int(server.info("memory")["used_memory"])
    r.set("big", "x" * 10_000_000)
    full = server.info("memory")
    assert 10_000_000 <= int(full["used_memory"]) - empty < 25_000_000
    assert int(full["used_memory_peak"]) >= int(full["used_memory"])
    assert int(full["used_memory_rss"]) > 1_000_000
    r.delete("big")
    assert wait_for(lambda: int(server.info("memory")["used_memory"]) - empty < 1_000_000)


def test_memory_usage_and_stats(server, r):
    r.set("mu", "x" * 10_000)
    assert 10_000 <= r.memory_usage("mu") < 13_000
    assert r.memory_usage("none") is None
    with server.raw() as c:
        flat = c.do("MEMORY", "STATS")
    stats = dict(zip(flat[0::2], flat[1::2]))
    assert stats[b"keys.count"] == 1
    assert stats[b"total.allocated"] > 10_000
    assert stats[b"db.0"][0::2] == [b"overhead.hashtable.main", b"overhead.hashtable.expires"]


def test_memory_stats_fields(server, valkey, r):
    r.set("k", "v")
    with valkey.raw() as c:
        c.do("FLUSHALL")
        c.do("SET", "k", "v")
        theirs = [f for f in c.do("MEMORY", "STATS")[0::2] if not re.match(rb"db\.\d", f)]
        c.do("FLUSHALL")
    with server.raw() as c:
        assert [f for f in c.do("MEMORY", "STATS")[0::2] if not re.match(rb"db\.\d", f)] == theirs


def test_expired_keys_are_counted(server, r):
    for i in range(50):
        r.set("ex%d" % i, "v", px=1)
    assert wait_for(lambda: server.info("stats")["expired_keys"] == "50")


@pytest.mark.shoal_only
def test_what_turns_spend_their_time_with(start_server, tmp_path):
    """These were 0 whatever there was."""
    s = start_server(appendonly="yes", appendfsync="always", dir=str(tmp_path))
    with s.raw(timeout=60) as c:
        c.send(b"".join(encode("SET", "k%d" % i, "v", "PX", 50) for i in range(50_000)))
        assert set(c.read_some(50_000)) == {"OK"}
    assert wait_for(lambda: int(s.info("stats")["expire_cycle_cpu_milliseconds"]) > 0)
    assert int(s.info("memory")["mem_aof_buffer"]) > 0
    debug = s.info("debug")
    assert int(debug["eventloop_duration_aof_sum"]) > 0
    assert wait_for(lambda: int(s.info("debug")["eventloop_duration_cron_sum"]) > 0)
    assert int(debug["eventloop_cmd_per_cycle_max"]) > 1
    assert 0 < int(debug["eventloop_duration_max"])
    spent = int(s.info("stats")["eventloop_duration_sum"])
    assert int(debug["eventloop_duration_aof_sum"]) + int(debug["eventloop_duration_cron_sum"]) <= spent


def test_resetstat(server, r):
    r.set("a", 1)
    r.get("a")
    r.config_resetstat()
    stats = server.info("stats")
    for name in ("keyspace_hits", "keyspace_misses", "expired_keys", "rejected_connections", "total_error_replies"):
        assert stats[name] == "0"
    assert "cmdstat_set" not in server.info("commandstats")
