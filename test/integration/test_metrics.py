# SPDX-License-Identifier: BSD-3-Clause
"""metrics-port: what Prometheus, probes and a browser are shown, and to whom; what a listener for strangers must withstand.

Debian's prometheus-redis-exporter and prometheus, and a headless Chromium, take part where they are installed.
"""

import base64
import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import time
import urllib.request
import zlib

import pytest

from cluster_nodes import Nodes, said
from resp import encode
from server import free_port, wait_for

pytestmark = [pytest.mark.row_pair, pytest.mark.plain_port]

# What the dashboard asks for that comes with Debian's prometheus-redis-exporter.
DASHBOARD = """redis_up redis_uptime_in_seconds redis_connected_clients redis_blocked_clients redis_memory_used_bytes
redis_memory_max_bytes redis_commands_total redis_commands_duration_seconds_total redis_keyspace_hits_total
redis_keyspace_misses_total redis_net_input_bytes_total redis_net_output_bytes_total redis_db_keys redis_db_keys_expiring
redis_expired_keys_total redis_evicted_keys_total redis_commands_processed_total""".split()


@pytest.fixture
def served(start_server):
    """served(**settings): a server with metrics; its port is s.metrics."""

    def start(**options):
        for _ in range(5):
            port = free_port()
            server = start_server(metrics_port=port, start=False, **options)
            try:
                server.start()
            except Exception:
                if "metrics-port: could not listen" not in server.log():
                    raise
                continue
            server.metrics = port
            return server
        raise RuntimeError("no port for metrics")

    return start


def get(server, path, method="GET", **headers):
    """(status, headers, text)"""
    c = http.client.HTTPConnection("127.0.0.1", server.metrics, timeout=30)
    try:
        c.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = c.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        c.close()


def give_metrics(server):
    with server.raw() as c:
        while True:
            server.metrics = free_port()
            if c.do("CONFIG", "SET", "metrics-port", str(server.metrics)) == "OK":
                return server


def samples(text):
    """{name and labels: value}"""
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line and not line.startswith("#")}


def names(text):
    return {re.match(r"\w+", line).group(0) for line in text.splitlines() if line and not line.startswith("#")}


def basic(password, user="any"):
    return "Basic " + base64.b64encode(("%s:%s" % (user, password)).encode()).decode()


# ---- /metrics --------------------------------------------------------------------------------------------------------


def test_metrics_say_what_info_says(served):
    s = served()
    with s.raw() as c:
        for i in range(50):
            c.do("SET", "key:%d" % i, "x")
        c.do("EXPIRE", "key:1", 1000)
        c.do("GET", "key:2")
        c.do("GET", "nothing")
        c.do("LPUSH", "key:1", "x")
        c.do("CLIENT", "SETNAME", "metrics")
        status, headers, text = get(s, "/metrics")
        info = dict(line.split(":", 1) for line in c.do("INFO", "everything").decode().splitlines() if ":" in line)
    assert status == 200 and headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = samples(text)
    assert found['redis_db_keys{db="db0"}'] == 50 and found['redis_db_keys{db="db7"}'] == 0
    assert found['redis_db_keys_expiring{db="db0"}'] == 1
    assert 900 < found['redis_db_avg_ttl_seconds{db="db0"}'] <= 1000
    assert found["redis_keyspace_hits_total"] == int(info["keyspace_hits"]) >= 1
    assert found["redis_keyspace_misses_total"] == 1
    assert found['redis_commands_total{cmd="set"}'] == 50 and found['redis_commands_total{cmd="client|setname"}'] == 1
    assert found['redis_commands_failed_calls_total{cmd="lpush"}'] == 1 == found['redis_errors_total{err="WRONGTYPE"}']
    assert found['redis_commands_duration_seconds_total{cmd="set"}'] == pytest.approx(
        int(dict(x.split("=") for x in info["cmdstat_set"].split(","))["usec"]) / 1e6, abs=1e-9
    )
    assert found["redis_memory_used_rss_bytes"] > 1000000 and found["redis_connected_clients"] >= 1
    assert found["redis_rdb_last_bgsave_status"] == 1
    assert 'redis_latency_percentiles_usec{cmd="set",quantile="99.9"}' in found
    assert abs(found["redis_start_time_seconds"] - time.time()) < 60
    assert 'tcp_port="%d"' % s.port in text and 'role="master"' in text
    shards = [v for k, v in found.items() if k.startswith("shoal_shard_keys{")]
    assert sum(shards) == 50 and len(shards) == int(s.config["shards"])
    assert set(DASHBOARD) <= names(text)


def test_slow_log_and_spikes(served):
    """Under the exporter's names, of all shards."""
    s = served(slowlog_log_slower_than="-1", enable_debug_command="yes")
    found = samples(get(s, "/metrics")[2])
    assert found["redis_slowlog_length"] == found["redis_slowlog_last_id"] == found["redis_last_slow_execution_duration_seconds"] == 0
    with s.raw(timeout=60) as c:
        c.do("CONFIG", "SET", "slowlog-log-slower-than", "20000", "latency-monitor-threshold", "20")
        for _ in range(3):
            c.do("DEBUG", "SLEEP", "0.05")
        c.do("CONFIG", "SET", "slowlog-log-slower-than", "-1", "latency-monitor-threshold", "0")
        newest = c.do("SLOWLOG", "GET", "1")[0]
        length = c.do("SLOWLOG", "LEN")
        spikes = {e[0].decode(): e for e in c.do("LATENCY", "LATEST")}
        found = samples(get(s, "/metrics")[2])
    assert found["redis_slowlog_length"] == length >= 3
    assert found["redis_slowlog_last_id"] == newest[0] >= 2
    assert newest[2] >= 20000 and found["redis_last_slow_execution_duration_seconds"] == pytest.approx(newest[2] / 1e6)
    assert "command" in spikes
    for event, (_, at, last, _, _, _) in spikes.items():
        assert found['redis_latency_spike_last{event_name="%s"}' % event] == at
        assert found['redis_latency_spike_duration_seconds{event_name="%s"}' % event] == pytest.approx(last / 1000)


def test_hot_keys_and_slow_commands_are_in_the_state(served):
    s = served(slowlog_log_slower_than="-1", enable_debug_command="yes")
    with s.raw(timeout=60) as c:
        for i in range(300):
            c.do("SET", 'hot "key"\\\xff'.encode("latin-1"), "v")
            c.do("GET", "cool:%d" % i)
        c.do("CLIENT", "SETNAME", "slow-one")
        c.do("CONFIG", "SET", "slowlog-log-slower-than", "20000")
        c.do("DEBUG", "SLEEP", "0.05")
        state = json.loads(get(s, "/api/state")[2])
    key, db, qps, shard = state["hotkeys"][0]
    assert key == 'hot "key"\\\xff' and db == 0 and qps > 1 and 0 <= shard < int(s.config["shards"])
    assert all(qps >= other[2] for other in state["hotkeys"])
    slow = next(entry for entry in state["slow"] if entry[3] == ["DEBUG", "SLEEP", "0.05"])
    assert slow[2] >= 50000 and abs(slow[1] - time.time()) < 60 and slow[4].startswith("127.0.0.1:") and slow[5] == "slow-one"


def test_the_biggest_keys(served):
    """What MEMORY BIGKEYS says; who asks while there is a walk gets its result, and it costs at most so much of the time."""
    s = served(enable_debug_command="yes")
    assert json.loads(get(s, "/api/bigkeys")[2])["types"] == {}
    with s.raw(timeout=60) as c:
        c.do("DEBUG", "POPULATE", "30000", "key", "20")
        c.do("SET", 'big "key"\\\xff'.encode("latin-1"), "x" * 10000)
        c.do("HSET", "hash", "f", "v", "g", "w")

        def found():
            return json.loads(get(s, "/api/bigkeys")[2])["types"]

        assert wait_for(lambda: "hash" in found())
        types = found()
        assert {k: types["hash"][k] for k in ("keys", "elements")} == {"keys": 1, "elements": 2} and types["string"]["keys"] == 30001
        key, db, memory, elements = types["string"]["by_memory"][0]
        assert (key, db, elements) == ('big "key"\\\xff', 0, 10000) and memory == c.do("MEMORY", "USAGE", key.encode("latin-1"))
        assert types["string"]["by_elements"][0] == types["string"]["by_memory"][0] and len(types["string"]["by_memory"]) == 16
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda i: get(s, ("/api/bigkeys", "/api/state")[i % 2]), range(32)))
        assert all(status == 200 for status, _, _ in answers)
        assert all(json.loads(text)["types"]["string"]["keys"] == 30001 for _, _, text in answers[::2])
    assert get(s, "/nothing")[0] == 404 and "/api/bigkeys" in get(s, "/nothing")[2]


def test_the_end_does_not_wait_for_a_walk(served):
    s = served(enable_debug_command="yes")
    with s.raw(timeout=60) as c, socket.create_connection(("127.0.0.1", s.metrics), 30) as asks:
        c.do("DEBUG", "POPULATE", "100000", "key", "20")
        asks.sendall(b"GET /api/bigkeys HTTP/1.1\r\nHost: localhost\r\n\r\n")
        c.send(encode("MEMORY", "BIGKEYS"))
        s.stopped_by_test = True
        s.proc.terminate()
        assert s.wait(60) == 0


def test_numbers_grow_by_what_was_done(served):
    s = served()
    before = samples(get(s, "/metrics")[2])
    with s.raw() as c:
        for i in range(200):
            c.do("SET", "k%d" % i, "v")
    after = samples(get(s, "/metrics")[2])

    def grown(name):
        return sum(v for k, v in after.items() if k.startswith(name)) - sum(v for k, v in before.items() if k.startswith(name))

    assert grown('redis_commands_total{cmd="set"}') == 200
    assert grown("shoal_shard_ops_total") == 200
    assert grown("shoal_shard_cpu_seconds_total") > 0
    assert all(after[k] >= v for k, v in before.items() if k.startswith("shoal_shard_waiting_seconds_total"))


def test_open_metrics(served):
    s = served()
    with s.raw() as c:
        c.do("SET", "a", "b")
    status, headers, text = get(s, "/metrics", Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert status == 200 and headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n") and "\n\n" not in text
    families = {}  # each family once, its samples right behind its type, counters with _total
    current = None
    for line in text.splitlines()[:-1]:
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in families
            families[name] = kind
            current = name
        elif not line.startswith("#"):
            sample = re.match(r"\w+", line).group(0)
            assert sample == (current + "_total" if families[current] == "counter" else current), line
    assert families["redis_keyspace_hits"] == "counter" and families["redis_db_keys"] == "gauge"
    assert names(text) == names(get(s, "/metrics")[2])


def test_label_values_are_escaped(served):
    s = served(availability_zone='a"b\\c')
    assert get(s, "/metrics")[0] == 200


def test_the_log_is_shown(served):
    s = served(appendonly="yes", appendfsync="always")
    with s.raw() as c:
        for i in range(10):
            c.do("SET", "k%d" % i, "v")
    found = samples(get(s, "/metrics")[2])
    assert found["redis_aof_enabled"] == 1 and found["redis_aof_last_write_status"] == 1
    assert found["shoal_log_last_number"] >= found["shoal_log_safe_number"] >= 10


def followed(served):
    """A primary and its replica, which has all."""
    primary, replica = served(), served(repl_diskless_sync_delay="0")
    with primary.raw() as c, replica.raw() as d:
        assert c.do("CONFIG", "SET", "repl-diskless-sync-delay", "0") == "OK"
        assert d.do("REPLICAOF", "127.0.0.1", primary.port) == "OK"
        assert c.do("WAIT", "1", "60000") == 1
        c.do("SET", "a", "b")
        assert c.do("WAIT", "1", "60000") == 1
    assert wait_for(lambda: "state=online" in primary.info("replication").get("slave0", "")), primary.info("replication")
    return primary, replica


def cluster_node(start_server):
    """One that has all slots, and metrics."""
    nodes = Nodes(start_server)
    node, other = nodes.start("shoal"), nodes.start("shoal")
    give_metrics(node)
    with node.raw() as c:
        assert c.do("CLUSTER", "ADDSLOTSRANGE", "0", "16383") == "OK"
        assert c.do("CLUSTER", "MEET", "127.0.0.1", other.port) == "OK"
    assert wait_for(lambda: said(node)["cluster_known_nodes"] == "2" and said(node)["cluster_state"] == "ok")
    return node


def labelled(**labels):
    return "{%s}" % ",".join('%s="%s"' % pair for pair in labels.items())


def test_a_replica_and_its_primary(served):
    primary, replica = followed(served)
    master = labelled(master_host="127.0.0.1", master_port=primary.port)
    found = samples(get(replica, "/metrics")[2])
    assert found["redis_master_link_up" + master] == 1 and found["redis_master_sync_in_progress" + master] == 0
    assert 0 <= found["redis_master_last_io_seconds_ago" + master] <= 60
    assert found["redis_slave_info" + master[:-1] + ',read_only="1"}'] == 1 and found["redis_slave_priority"] == 100
    assert found["redis_slave_repl_offset" + master] > 0
    assert 'role="slave"' in get(replica, "/metrics")[2]
    slave = labelled(slave_ip="127.0.0.1", slave_port=replica.port, slave_state="online")
    found = samples(get(primary, "/metrics")[2])
    assert 0 < found["redis_connected_slave_offset_bytes" + slave] <= found["redis_master_repl_offset"]
    assert 0 <= found["redis_connected_slave_lag_seconds" + slave] <= 60
    assert found["redis_connected_slaves"] == 1 and not any("master_link" in name for name in found)
    primary.stopped_by_test = True
    primary.proc.terminate()
    assert primary.wait(60) == 0
    assert wait_for(lambda: samples(get(replica, "/metrics")[2])["redis_master_link_up" + master] == 0)
    found = samples(get(replica, "/metrics")[2])
    assert found["redis_master_last_io_seconds_ago" + master] == -1 and found["redis_master_link_down_since_seconds" + master] >= 0


def test_what_goes_to_replicas_in_a_second(served):
    """It was 0 whatever went."""
    primary, replica = followed(served)

    def attempt():
        with primary.raw() as c:
            c.do("SET", "large", "x" * 4000000)
            c.do("WAIT", "1", "60000")
        sent, got = primary.info("stats"), replica.info("stats")
        return float(sent["instantaneous_output_repl_kbps"]) > 100 and float(got["instantaneous_input_repl_kbps"]) > 100

    assert wait_for(attempt)
    assert float(primary.info("stats")["instantaneous_input_repl_kbps"]) == 0


def test_a_node_of_a_cluster(start_server):
    node = cluster_node(start_server)
    found, info = samples(get(node, "/metrics")[2]), said(node)
    assert found["redis_cluster_state"] == 1 and found["redis_cluster_slots_assigned"] == 16384
    assert found["redis_cluster_known_nodes"] == 2 and found["redis_cluster_size"] == 1
    assert 0 < found["redis_cluster_messages_sent_total"] <= int(info["cluster_stats_messages_sent"])
    assert {"redis_" + name for name in info if name.startswith("cluster_") and not re.search("messages_(sent|received)$", name)} <= set(found)
    assert json.loads(get(node, "/api/state")[2])["info"]["cluster_known_nodes"] == "2"
    with node.raw() as c:
        assert c.do("CLUSTER", "DELSLOTS", "7") == "OK"
    assert wait_for(lambda: samples(get(node, "/metrics")[2])["redis_cluster_state"] == 0)


def test_who_was_denied_what(served):
    s = served()
    with s.raw() as c, s.raw() as d:
        c.do("ACL", "SETUSER", "few", "on", ">few", "~a*", "resetchannels", "+@all", "-get", "resetdbs", "db=0")
        assert "WRONGPASS" in str(d.do("AUTH", "few", "many"))
        assert d.do("AUTH", "few", "few") == "OK"
        for words in (("GET", "a"), ("SET", "b", "1"), ("PUBLISH", "a", "b"), ("SELECT", "1")):
            assert "NOPERM" in str(d.do(*words)), words
        found = samples(get(s, "/metrics")[2])
    for what in ("auth", "cmd", "key", "channel", "db"):
        assert found["redis_acl_access_denied_%s_total" % what] == 1, what
    assert found["redis_acl_access_denied_tls_cert_total"] == 0


@contextlib.contextmanager
def running(*command):
    with open(os.devnull, "wb") as nothing:
        process = subprocess.Popen(command, stdout=nothing, stderr=nothing, stdin=nothing)
    try:
        yield process
    finally:
        process.kill()
        process.wait(60)


def fetched(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read().decode()
    except OSError:
        return ""


def need(program):
    path = shutil.which(program)
    if not path:
        pytest.skip("%s is not installed" % program)
    return path


def exported(server):
    """What the exporter says of it."""
    exporter, port = need("prometheus-redis-exporter"), free_port()
    with running(exporter, "-redis.addr", "redis://127.0.0.1:%d" % server.port, "-web.listen-address", "127.0.0.1:%d" % port):
        url = "http://127.0.0.1:%d/metrics" % port
        found = []

        def reads():
            found.append(fetched(url))
            return "redis_up 1" in found[-1]

        assert wait_for(reads)
        return found[-1]


def missing_here(theirs, ours):
    """Names of theirs that are not ours, but for those that are about the exporter."""
    its_own = re.compile(r"redis_(exporter_|last_key_groups_scrape|target_scrape_request_errors)")
    return {n for n in names(theirs) if n.startswith("redis_") and not its_own.match(n)} - names(ours)


@pytest.mark.slow
@pytest.mark.row_once
def test_the_exporter_has_nothing_that_is_not_here(served):
    """It works against this server, and each of its metrics about one has the same name and value here."""
    s = served()
    with s.raw() as c:
        for i in range(20):
            c.do("SET", "k%d" % i, "v", "EX", 1000)
        c.do("GET", "k1")
        c.do("LPUSH", "k1", "v")
    theirs = exported(s)
    ours = get(s, "/metrics")[2]
    assert not missing_here(theirs, ours)
    theirs, ours = samples(theirs), samples(ours)
    for name in ('redis_db_keys{db="db0"}', 'redis_commands_total{cmd="set"}', "redis_keyspace_hits_total", 'redis_errors_total{err="WRONGTYPE"}'):
        assert theirs[name] == ours[name] > 0, name


@pytest.mark.slow
@pytest.mark.row_once
def test_the_exporter_has_nothing_of_replicas_and_clusters_that_is_not_here(served, start_server):
    need("prometheus-redis-exporter")
    for s, expected in zip(
        (*followed(served), cluster_node(start_server)), ("redis_connected_slave_lag_seconds", "redis_master_link_up", "redis_cluster_size")
    ):
        theirs = exported(s)
        ours = get(s, "/metrics")[2]
        assert expected in names(theirs)
        assert not missing_here(theirs, ours)
        about = re.compile("redis_(master|slave|connected_slave|cluster|repl|instance)")
        theirs, ours = ({name for name in samples(text) if about.match(name) and "instance_info" not in name} for text in (theirs, ours))
        assert not theirs - ours  # with their labels


@pytest.mark.slow
@pytest.mark.row_once
def test_prometheus_scrapes(served, tmp_path):
    prometheus = need("prometheus")
    s = served(metrics_password="see me")
    with s.raw() as c:
        for i in range(7):
            c.do("SET", "k%d" % i, "v")
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n- job_name: shoal\n  basic_auth: {username: x, password: see me}\n"
        "  static_configs: [{targets: ['127.0.0.1:%d']}]\n" % s.metrics
    )
    port = free_port()
    with running(
        prometheus, "--config.file=%s" % config, "--storage.tsdb.path=%s" % (tmp_path / "data"), "--web.listen-address=127.0.0.1:%d" % port
    ):

        def ask(query):
            answer = fetched("http://127.0.0.1:%d/api/v1/query?query=%s" % (port, query))
            found = json.loads(answer)["data"]["result"] if answer else []
            return [float(x["value"][1]) for x in found]

        assert wait_for(lambda: ask("up") == [1], 60), fetched("http://127.0.0.1:%d/api/v1/targets" % port)
        assert wait_for(lambda: ask("redis_db_keys%7Bdb=%22db0%22%7D") == [7])
        assert wait_for(lambda: sum(ask("shoal_shard_keys")) == 7)
        assert wait_for(lambda: ask("redis_commands_total%7Bcmd=%22set%22%7D") == [7])


# ---- Probes ----------------------------------------------------------------------------------------------------------


def test_probes(served):
    s = served()
    assert get(s, "/healthz")[::2] == (200, "alive\n")
    assert get(s, "/readyz")[::2] == (200, "ready\n")
    assert get(s, "/healthz", "HEAD")[::2] == (200, "")


def test_not_ready_while_writes_are_refused(served):
    s = served(save="3600 1", maxmemory_policy="noeviction")
    with s.raw() as c:
        c.do("SET", "a", "b")
        assert c.do("CONFIG", "SET", "save-format", "rdb") == "OK"
        os.mkdir(os.path.join(s.dir, "dump.rdb"))  # so that no file can take this name
        c.do("BGSAVE")
        assert wait_for(lambda: get(s, "/readyz")[0] == 503)
        assert "could not be saved" in get(s, "/readyz")[2]
        assert get(s, "/healthz")[0] == 200
        os.rmdir(os.path.join(s.dir, "dump.rdb"))
        assert wait_for(lambda: "ERR" not in str(c.do("BGSAVE")) and get(s, "/readyz")[0] == 200)


def test_not_ready_where_one_shard_refuses_writes(served):
    """Who may be refused though another shard has some of the limit left, and when there is room again."""
    s = served(maxmemory_policy="noeviction")
    with s.raw() as c:
        c.do("CONFIG", "SET", "maxmemory", str(int(s.info("memory")["used_memory"]) + (4 << 20)))
        refused = 0
        for i in range(100000):
            refused = refused + 1 if "OOM" in str(c.do("SET", "{t}:%d" % i, "x" * 2000)) else 0
            if refused == 20:
                break
        assert refused == 20
        assert wait_for(lambda: get(s, "/readyz")[::2] == (503, "writes are refused: maxmemory is reached\n"))
        assert "OOM" in str(c.do("SET", "{t}", "x" * 2000))
        c.do("FLUSHALL")
        assert wait_for(lambda: get(s, "/readyz")[0] == 200)
        assert c.do("SET", "{t}", "x" * 2000) == "OK"


def test_not_ready_when_memory_is_used_up(served):
    s = served(maxmemory_policy="noeviction")
    with s.raw() as c:
        c.do("CONFIG", "SET", "maxmemory", "1")
        assert wait_for(lambda: get(s, "/readyz")[::2] == (503, "writes are refused: maxmemory is reached\n"))
        assert json.loads(get(s, "/api/state")[2])["not_ready"] == "writes are refused: maxmemory is reached"
        c.do("CONFIG", "SET", "maxmemory", "0")
        assert get(s, "/readyz")[0] == 200


def test_not_ready_when_it_refuses_for_others(served):
    """For want of replicas, of a primary, of a cluster."""
    s = served(cluster_enabled="yes")
    with s.raw() as c:
        assert get(s, "/readyz")[::2] == (503, "the cluster is down\n")
        c.do("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        assert wait_for(lambda: get(s, "/readyz")[0] == 200)
    s = served(min_replicas_to_write="1")
    with s.raw() as c:
        few = (503, "writes are refused: there are too few replicas\n")
        assert get(s, "/readyz")[::2] == few
        c.do("CONFIG", "SET", "min-replicas-to-write", "0")
        assert get(s, "/readyz")[0] == 200
        c.do("CONFIG", "SET", "replicas-ack", "1")
        assert get(s, "/readyz")[::2] == few
        c.do("REPLICAOF", "127.0.0.1", str(free_port()))
        assert wait_for(lambda: get(s, "/readyz")[0] == 200)
        c.do("CONFIG", "SET", "replica-serve-stale-data", "no")
        assert get(s, "/readyz")[::2] == (503, "the link to the primary is down\n")
        assert get(s, "/healthz")[0] == 200
        c.do("CONFIG", "SET", "replica-serve-stale-data", "yes")
        assert get(s, "/readyz")[0] == 200


def test_not_ready_while_loading(served):
    """The log was begun in a directory whose name had been freed, if any directive was set while data was loaded: so the server ended."""
    s = served(appendonly="yes")
    with s.raw() as c:
        for i in range(3000):
            c.do("SET", "k%d" % i, "v")
        c.do("BGREWRITEAOF")  # a snapshot, whose keys are read as slowly as is said
        assert wait_for(lambda: s.info("persistence")["aof_rewrites"] == "1" and s.info("persistence")["aof_rewrite_in_progress"] == "0")
    s.proc.terminate()
    assert s.wait(60) == 0
    s.config["key-load-delay"] = "20000"
    s.waits_for_data = False
    s.start_again()
    assert get(s, "/readyz")[::2] == (503, "data is being loaded\n")
    assert get(s, "/healthz")[0] == 200
    assert samples(get(s, "/metrics")[2])["redis_loading_dump_file"] == 1
    with s.raw() as c:
        c.do("CONFIG", "SET", "key-load-delay", "0")
        assert wait_for(lambda: get(s, "/readyz")[0] == 200)


def test_a_long_script_does_not_silence_the_probes(served):
    s = served(lua_time_limit="50")
    with s.raw() as runs, s.raw() as other:
        runs.send(encode("EVAL", "while true do end", "0"))
        assert wait_for(lambda: "BUSY" in str(other.do("PING")))
        assert get(s, "/readyz")[::2] == (503, "a script runs for long\n")
        assert get(s, "/healthz")[0] == 200
        assert other.do("SCRIPT", "KILL") == "OK"
        assert wait_for(lambda: get(s, "/readyz")[0] == 200)
        assert get(s, "/metrics")[0] == 200


# ---- Who may see -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", ({"metrics_password": "let:me in"}, {"requirepass": "let:me in"}, {"requirepass": "other", "metrics_password": "let:me in"}))
def test_a_password(served, settings):
    s = served(**settings)
    for path in ("/", "/metrics", "/api/state", "/api/bigkeys", "/nothing"):
        status, headers, text = get(s, path)
        assert status == 401 and headers["WWW-Authenticate"].startswith("Basic ") and "redis_" not in text
    for wrong in ("", "let:me", "let:me in ", "other"):
        assert get(s, "/metrics", Authorization=basic(wrong))[0] == 401
    for garbage in ("Basic", "Basic !!!!", "Basic bGV0", "Bearer let:me in", "Basic " + "A" * 4000):
        assert get(s, "/metrics", Authorization=garbage)[0] == 401
    assert get(s, "/metrics", Authorization=basic("let:me in"))[0] == 200
    assert get(s, "/", Authorization=basic("let:me in", user=""))[0] == 200
    assert get(s, "/healthz")[0] == get(s, "/readyz")[0] == 200
    assert "let:me in" not in s.log()


def test_where_clients_log_in_by_users_it_wants_a_password_of_its_own(served):
    """There is none to ask for: it was open to whoever is on this machine, with names of keys and words of slow commands."""
    s = served()
    rules = [("on", ">secret"), ("off",), ("reset", "on", "nopass")]
    with s.raw() as c:
        c.do("ACL", "SETUSER", "boss", "on", ">boss", "~*", "&*", "+@all")
        c.do("AUTH", "boss", "boss")
        for rule in rules:
            assert c.do("ACL", "SETUSER", "default", *rule) == "OK"
            closed = rule != rules[-1]
            for path in ("/", "/metrics", "/api/state"):
                status, _, text = get(s, path)
                assert status == (403 if closed else 200) and (not closed or "metrics-password" in text)
            assert get(s, "/healthz")[0] == get(s, "/readyz")[0] == 200
        assert c.do("ACL", "SETUSER", "default", "off") == "OK"
        assert c.do("CONFIG", "SET", "metrics-password", "let:me in") == "OK"
        assert get(s, "/metrics")[0] == 401
        assert get(s, "/metrics", Authorization=basic("let:me in"))[0] == 200
        assert c.do("ACL", "SETUSER", "default", *rules[-1], "~*", "&*", "+@all") == "OK"  # who looks after it at the end is let in


def test_a_foreign_name_for_this_machine_is_refused(served):
    s = served()
    for host in ("evil.example", "evil.example:%d" % s.metrics, "127.0.0.1.evil.example"):
        assert get(s, "/api/state", Host=host)[0] == 421
        assert get(s, "/metrics", Host=host)[0] == 421
    for host in ("localhost", "LOCALHOST:9", "127.0.0.1:%d" % s.metrics, "[::1]:80"):
        assert get(s, "/api/state", Host=host)[0] == 200
    with s.raw() as c:
        c.do("CONFIG", "SET", "metrics-password", "x")
    assert get(s, "/metrics", Host="evil.example", Authorization=basic("x"))[0] == 200


def test_the_port_can_change_while_it_runs(served):
    s = served()
    first, second = s.metrics, free_port()
    with s.raw() as c, socket.socket() as taken:
        assert c.do("CONFIG", "GET", "metrics-bind") == [b"metrics-bind", b"127.0.0.1 -::1"]
        assert c.do("CONFIG", "SET", "metrics-port", str(second)) == "OK"
        s.metrics = second
        assert get(s, "/healthz")[0] == 200
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", first), 5).close()
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "Unable to listen" in str(c.do("CONFIG", "SET", "metrics-port", str(taken.getsockname()[1])))
        assert get(s, "/healthz")[0] == 200
        assert "Unable to listen" in str(c.do("CONFIG", "SET", "metrics-bind", "203.0.113.7"))
        assert get(s, "/healthz")[0] == 200
        assert c.do("CONFIG", "SET", "metrics-port", "0") == "OK"
        with pytest.raises(OSError):
            get(s, "/healthz")
    assert wait_for(lambda: "Metrics on http://127.0.0.1:%d/metrics" % second in s.log())


def test_who_opens_it_to_all_is_told(served):
    s = served(metrics_bind="0.0.0.0")
    assert "set metrics-password" in s.log()


# ---- What it must withstand ------------------------------------------------------------------------------------------


def exchange(server, *parts):
    """What comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", server.metrics), 30) as c:
        got = b""
        with contextlib.suppress(ConnectionError):
            for part in parts:
                c.sendall(part)
            while True:
                more = c.recv(65536)
                if not more:
                    break
                got += more
        return got


@pytest.mark.parametrize(
    "request_text, status",
    (
        (b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"405"),
        (b"PUT /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", b"405"),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", b"400"),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nHost : localhost\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n folded: x\r\n\r\n", b"400"),
        (b"GET /met\x00rics HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400"),
        (b"GET metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/2.0\r\nHost: localhost\r\n\r\n", b"505"),
        (b"GET /metrics\r\n\r\n", b"505"),
        (b"PING\r\n\r\n", b"400"),
        (b"*1\r\n$4\r\nPING\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 9000, b"431"),
        (b"GET /" + b"a" * 9000, b"431"),
        (b"GET /no HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"404"),
        (b"GET /healthz?x=y HTTP/1.0\r\n\r\n", b"200"),
    ),
)
def test_requests_that_are_refused(server_with_metrics, request_text, status):
    got = exchange(server_with_metrics, request_text)
    assert got.startswith(b"HTTP/1.1 " + status + b" "), got[:200]
    assert get(server_with_metrics, "/healthz")[0] == 200


@pytest.fixture(scope="module")
def server_with_metrics(server):
    """The shared server, with metrics."""
    return give_metrics(server)


def test_requests_in_a_row_and_in_pieces(server_with_metrics):
    one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert exchange(server_with_metrics, one * 5 + last).count(b"HTTP/1.1 200 OK") == 6
    assert exchange(server_with_metrics, *[bytes([b]) for b in one + last]).count(b"HTTP/1.1 200 OK") == 2
    mixed = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" + one + last
    got = exchange(server_with_metrics, mixed)
    assert got.count(b"HTTP/1.1 200 OK") == 3 and got.index(b"redis_up 1") < got.index(b"alive") < got.index(b"ready")


def test_who_asks_and_does_not_read_is_cut_off(server_with_metrics):
    s = server_with_metrics
    with socket.create_connection(("127.0.0.1", s.metrics), 30) as c:
        with pytest.raises(OSError):
            for _ in range(200000):
                c.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
    assert get(s, "/healthz")[0] == 200


def test_many_connections(server_with_metrics):
    """More than there are places for: those that are idle make room, and who keeps theirs busy has the others refused."""
    s = server_with_metrics
    open_ones = [socket.create_connection(("127.0.0.1", s.metrics), 30) for _ in range(200)]
    try:
        assert wait_for(lambda: get_or_none(s) == 200)
    finally:
        for c in open_ones:
            c.close()
    assert wait_for(lambda: get_or_none(s) == 200)


def test_who_has_just_come_is_not_the_longest_idle(server_with_metrics):
    """He has less time for his first request than others between two, and was the first to go for that."""
    s = server_with_metrics
    ask, reply = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 200 OK"
    connections = []

    def come():
        connections.append(socket.create_connection(("127.0.0.1", s.metrics), 60))
        return connections[-1]

    def answer(c):
        c.sendall(ask)
        return c.recv(len(reply))

    try:
        assert [answer(come()) for _ in range(32)] == [reply] * 32
        fresh = come()
        assert answer(come()) == answer(fresh) == reply
    finally:
        for c in connections:
            c.close()


def get_or_none(server):
    try:
        return get(server, "/healthz")[0]
    except OSError:
        return None


def test_many_ask_at_once(server_with_metrics):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda i: get(server_with_metrics, ("/metrics", "/api/state")[i % 2])[0], range(64)))
    assert found == [200] * 64


def test_the_end_does_not_wait_for_who_looks(served):
    s = served()
    with socket.create_connection(("127.0.0.1", s.metrics), 30) as idle, socket.create_connection(("127.0.0.1", s.metrics), 30) as half:
        half.sendall(b"GET /metrics HTT")
        assert get(s, "/metrics")[0] == 200
        idle.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        s.proc.terminate()
        assert s.wait(60) == 0
        s.stopped_by_test = True


# ---- The page --------------------------------------------------------------------------------------------------------


def test_the_page_and_its_state(served):
    s = served()
    with s.raw() as c:
        for i in range(300):
            c.do("SET", "k%d" % i, "v" * 100)
        c.do("CLIENT", "SETNAME", "looked-at")
        status, headers, page = get(s, "/")
        assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert not re.search(r"(src|href)=|url\(|@import|https?://(?!www\.w3\.org)", page), "the page loads something from elsewhere"
        state = json.loads(get(s, "/api/state")[2])
    assert state["info"]["tcp_port"] == str(s.port)
    assert len(state["slots"]) == 256 and sum(keys for _, keys in state["slots"]) == 300
    assert {shard for shard, _ in state["slots"]} == set(range(int(s.config["shards"])))
    assert sum(n for _, n in state["latencies"]) >= 300
    assert any("name=looked-at " in line for _, line in state["clients"])


class Browser:
    """A headless Chromium."""

    def __init__(self, program, directory):
        self.common = [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir=%s" % directory, "--virtual-time-budget=20000"]
        self.directory = directory
        self.login = ""  # what stands before the host in the address

    def run(self, server, *options):
        command = [*self.common, *options, "http://%s127.0.0.1:%d/#big" % (self.login, server.metrics)]
        for _ in range(3):  # it may not come up, or fall: what is tested is what it shows
            with contextlib.suppress(subprocess.TimeoutExpired):
                done = subprocess.run(command, capture_output=True, timeout=200)
                if done.returncode == 0:
                    return done.stdout.decode()
        raise RuntimeError("the browser does not run")

    def dom(self, server, *options):
        """What the page has become, without its script."""
        dom = self.run(server, "--dump-dom", *options)
        assert re.search(r'data-looks="[1-9]', dom), dom[-3000:]
        dom = re.sub(r"<script>\n.*?</script>", "", dom, flags=re.S)  # it has the words that are looked for
        assert "no answer" not in dom and "NaN" not in dom and "undefined" not in dom
        return dom

    def picture(self, server, name, *options):
        """The bytes of a PNG; with SHOAL_SCREENSHOTS a copy is left there."""
        path = os.path.join(os.environ.get("SHOAL_SCREENSHOTS") or str(self.directory), name + ".png")
        self.run(server, "--hide-scrollbars", "--screenshot=" + path, *options)
        with open(path, "rb") as f:
            return f.read()


@pytest.fixture
def browser(tmp_path):
    program = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)
    if not program:
        pytest.skip("no Chromium is installed")
    return Browser(program, tmp_path)


def panel(dom, name, tag="table"):
    return re.search(r'<%s[^>]* id="%s".*?</%s>|<%s id="%s".*?</%s>' % ((tag, name, tag) * 2), dom, re.S).group(0)


def corner(png):
    """The first pixel: no filter of a PNG changes that one."""
    at, packed = 8, b""
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        packed += png[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += 12 + length
    return tuple(zlib.decompress(packed)[1:4])


@pytest.mark.slow
@pytest.mark.row_once
@pytest.mark.parametrize("size", ("1280,2400", "390,4200"))
def test_a_browser_shows_it(served, browser, size):
    """The curves are drawn and nothing fails."""
    s = served()
    with s.raw() as c:
        for i in range(2000):
            c.do("SET", "k%d" % i, "v" * 100)
        c.do("HSET", "<script>document.title='broken'</script>big", *range(2000))
        c.do("CLIENT", "SETNAME", "<script>document.title='broken'</script>")
        c.do("CONFIG", "SET", "slowlog-log-slower-than", "0")
        for _ in range(20000):
            c.send(encode("GET", "<script>document.title='broken'</script>hot"))
        c.read_some(20000)
        c.do("CONFIG", "SET", "slowlog-log-slower-than", "-1")
        dom = browser.dom(s, "--window-size=" + size)
        for scheme, background in ((0, (0x0F, 0x14, 0x1B)), (1, (0xF6, 0xF7, 0xF9))):
            options = ("--window-size=" + size, "--blink-settings=preferredColorScheme=%d" % scheme)
            png = browser.picture(s, "page-%s-%s" % (size.split(",")[0], ("dark", "light")[scheme]), *options)
            assert corner(png) == background
    assert ">serving<" in dom and "<title>broken" not in dom
    for name in ("hotkeys", "slow", "big-memory", "big-types"):
        rows = panel(dom, name)
        assert "document.title" in rows and "&lt;script" in rows, rows
    for curve in ("ops", "latency", "memory", "network", "load"):
        drawn = panel(dom, curve, "svg")
        assert '<path d="M' in drawn or '<path d=""' in drawn, curve
    assert re.search(r'id="cluster" hidden', dom) and re.search(r'id="replication" hidden', dom)


@pytest.mark.slow
@pytest.mark.row_once
def test_a_browser_that_has_the_password_in_its_address(served, browser):
    """The page came, and nothing else: a browser refuses to fetch what is named by such an address."""
    browser.login = "anybody:secret@"
    s = served(metrics_password="secret")
    with s.raw() as c:
        assert c.do("SET", "the:only:key", "v" * 5000) == "OK"
    dom = browser.dom(s)
    assert "the:only:key" in panel(dom, "big-memory")


@pytest.mark.slow
@pytest.mark.row_once
def test_a_browser_shows_a_server_at_its_limit(served, browser):
    """What goes, and under noeviction that writes are refused."""
    s = served(maxmemory="20mb", maxmemory_policy="allkeys-lru")
    with s.raw() as c:
        for at in range(0, 40000, 1000):
            c.send(b"".join(encode("SET", "k%d" % i, "v" * 1000) for i in range(at, at + 1000)))
            assert c.read_some(1000) == ["OK"] * 1000
        dom = browser.dom(s)
        assert ">serving<" in dom and "evicted/s" in dom and "20.0 MB, allkeys-lru" in dom
        assert c.do("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1mb") == "OK"
        dom = browser.dom(s)
        assert re.search(r'id="state" class="state bad">writes are refused: maxmemory is reached<', dom), dom[:3000]


@pytest.mark.slow
@pytest.mark.row_once
def test_a_browser_shows_replicas_and_clusters(served, start_server, browser):
    primary, replica = followed(served)
    dom = browser.dom(primary)
    assert ">serving<" in dom and "127.0.0.1:%d" % replica.port in panel(dom, "replicas") and "online" in panel(dom, "replicas")
    dom = browser.dom(replica)
    assert ">replica<" in dom and "a replica of 127.0.0.1:%d · link up" % primary.port in dom
    node = cluster_node(start_server)
    with node.raw() as c:
        other = next(x for x in c.do("CLUSTER", "NODES").decode().splitlines() if "myself" not in x).split()
    state = json.loads(get(node, "/api/state")[2])
    mine = next(n for n, found in enumerate(state["nodes"]) if found[6])
    assert state["owners"] == [mine] * 256 and state["nodes"][mine][2:5] == [node.port, -1, 16384]
    assert {found[0] for found in state["nodes"]} >= {other[0]}
    dom = browser.dom(node)
    assert "127.0.0.1:%d (this one)" % node.port in panel(dom, "nodes") and "16384 of 16384 slots" in dom
    assert panel(dom, "owners", "div").count("<i ") == 256
    browser.picture(node, "page-cluster", "--window-size=1280,2400")
    with node.raw() as c:
        assert c.do("CLUSTER", "DELSLOTS", "64") == "OK"
    assert wait_for(lambda: json.loads(get(node, "/api/state")[2])["owners"] == [mine, -1] + [mine] * 254)
