# SPDX-License-Identifier: BSD-3-Clause
"""Programs that look at a server and its keys: what a monitoring script asks with redis-py, and what RedisInsight sends when it
connects, browses, edits, profiles and looks for modules. Shoal and Valkey are asked the same, and answer alike."""

import re

import pytest
import redis

from resp import RespError
from server import Server, find_peer

pytestmark = [
    pytest.mark.row_each,
    pytest.mark.shoal_only,
    pytest.mark.plain_port,
    pytest.mark.skipif(find_peer("valkey") is None, reason="no Valkey to compare with: ./dev test installs it"),
]


@pytest.fixture(scope="module")
def valkey():
    server = Server(find_peer("valkey"), {"save": ""}, kind="valkey")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def both(server, valkey):
    """Connections to Shoal and to Valkey, with the same data."""
    with server.raw(timeout=60) as ours, valkey.raw(timeout=60) as theirs:
        for c in (ours, theirs):
            c.do("FLUSHALL")
            c.do("CONFIG", "SET", "slowlog-log-slower-than", "-1")
            c.do("SLOWLOG", "RESET")
            c.do("ACL", "LOG", "RESET")
            for words in DATA:
                assert not isinstance(c.do(*words), RespError), words
        yield ours, theirs


DATA = [
    ("SET", "app:title", "text"),
    ("SET", "app:number", "42"),
    ("SET", "app:session", "x" * 100, "EX", "100000"),
    ("RPUSH", "app:list", *range(10)),
    ("SADD", "app:set", "a", "b", "c"),
    ("ZADD", "app:zset", "1", "a", "2.5", "b", "3", "c"),
    ("HSET", "app:hash", "f", "v", "g", "w"),
    ("XADD", "app:stream", "1-1", "f", "v"),
    ("XADD", "app:stream", "2-1", "f", "w"),
    ("XGROUP", "CREATE", "app:stream", "workers", "0"),
    ("XREADGROUP", "GROUP", "workers", "one", "COUNT", "1", "STREAMS", "app:stream", ">"),
    ("SET", b"bytes:\x00\xff", b"\xac\xed\x00\x05"),
]
KEYS = [words[1] for words in DATA if words[0] not in ("XGROUP", "XREADGROUP")]


def shape(value):
    """What kind of answer it is: of numbers and texts nothing else; errors whole."""
    if isinstance(value, RespError):
        return value.text
    if isinstance(value, list):
        return [shape(v) for v in value]
    return type(value).__name__


def pairs(flat):
    return dict(zip(flat[::2], flat[1::2]))


SAME = """PING|SELECT 0|CLIENT SETNAME redisinsight-browser|CLIENT GETNAME|CLIENT SETINFO LIB-NAME insight|DBSIZE|CONFIG GET databases
ACL WHOAMI|ACL DRYRUN default GET app:title|ACL DRYRUN nobody GET k|ACL LIST|ACL USERS|ACL LOG|COMMAND COUNT X
COMMAND GETKEYS MSET a 1 b 2|COMMAND INFO scan|FT._LIST|FT.INFO idx|FT.SEARCH idx *|JSON.GET app:title|JSON.TYPE app:title
JSON.SET doc $ {}|JSON.OBJKEYS doc|JSON.DEBUG MEMORY doc|TS.INFO app:title|GRAPH.QUERY g q|BF.INFO b|RG.PYSTATS|AI.INFO|VINFO v
CLUSTER INFO|CLUSTER NODES|CLUSTER SLOTS|SENTINEL MASTERS|SENTINEL GET-MASTER-ADDR-BY-NAME m|ROLE|SLOWLOG LEN|SLOWLOG GET 50
CONFIG GET slowlog-log-slower-than|CONFIG GET slowlog-max-len|CONFIG GET maxmemory-policy|CONFIG GET notify-keyspace-events
PUBSUB CHANNELS|PUBSUB NUMSUB ch|PUBSUB NUMPAT|PUBSUB SHARDCHANNELS|SPUBLISH ch m|PUBLISH ch m|MEMORY USAGE nothing SAMPLES 0|OBJECT ENCODING nothing
OBJECT NONE|XINFO GROUPS app:stream|XINFO CONSUMERS app:list workers|XPENDING app:stream workers
STRLEN app:title|GETRANGE app:session 0 4999|GET app:number|SET app:title other KEEPTTL XX|GET app:title
LLEN app:list|LRANGE app:list 0 4|LINDEX app:list 3|LSET app:list 3 x|RPUSHX app:list y|LPUSHX app:list z|LPOP app:list 2|RPOP app:list|LPUSHX none y
SCARD app:set|SISMEMBER app:set a|SADD app:set d|SREM app:set d|ZCARD app:zset|ZRANGE app:zset 0 -1 WITHSCORES|ZREVRANGE app:zset 0 1 WITHSCORES
ZSCORE app:zset b|ZADD app:zset XX 7 b|ZREM app:zset nothing|ZSCAN app:zset 0 MATCH * COUNT 100|ZCOUNT app:zset -inf +inf
HLEN app:hash|HGET app:hash f|HSCAN app:hash 0 MATCH * COUNT 100|HSET app:hash h x|HDEL app:hash h|HTTL app:hash FIELDS 1 f|HEXPIRE app:hash 1000 FIELDS 1 f
XLEN app:stream|XRANGE app:stream - + COUNT 500|XREVRANGE app:stream + - COUNT 500|XACK app:stream workers 1-1|XGROUP SETID app:stream workers $
XCLAIM app:stream workers two 0 1-1|XGROUP DELCONSUMER app:stream workers one|XGROUP DESTROY app:stream none|XDEL app:stream 9-9
TTL app:title|PTTL nothing|EXPIRE app:title 100000|PERSIST app:title|RENAMENX app:title app:number|RENAME nothing x|EXISTS app:title|UNLINK nothing
SCAN 0 TYPE nosuch|SCAN x|TYPE nothing|HSCAN app:list 0|GET app:list|LATENCY LATEST|LATENCY DOCTOR x|EVAL "return 1" x|FUNCTION LIST|FCALL none 0"""

ALIKE = """TIME|CLIENT ID|LASTSAVE|MEMORY DOCTOR|XINFO STREAM app:stream|XINFO STREAM app:stream FULL|XINFO CONSUMERS app:stream workers|XPENDING app:stream workers - + 10|COMMAND DOCS get
COMMAND INFO get|INFO|INFO server|INFO keyspace|CLIENT LIST|CLIENT INFO|ACL CAT|ACL GETUSER default|OBJECT FREQ app:title|OBJECT IDLETIME app:title
MEMORY USAGE app:hash SAMPLES 0|MEMORY USAGE app:stream|DEBUG OBJECT app:title|LOLWUT|RANDOMKEY"""


def words_of(text):
    return [words for line in text.split("\n") for words in line.split("|")]


@pytest.mark.parametrize("words", words_of(SAME))
def test_what_has_one_answer(both, words):
    """Modules that nobody has are looked for: those errors, too, are Valkey's."""
    ours, theirs = (c.do(*words.split(" ")) for c in both)
    assert ours == theirs


@pytest.mark.parametrize("words", words_of(ALIKE))
def test_what_has_an_answer_of_the_same_shape(both, words):
    ours, theirs = (c.do(*words.split(" ")) for c in both)
    assert shape(ours) == shape(theirs)


@pytest.mark.parametrize("of", ("", "string", "list", "set", "zset", "hash", "stream", "ReJSON-RL"))
def test_the_tree_of_keys(both, of):
    """SCAN, and for each key TYPE, TTL, MEMORY USAGE, OBJECT ENCODING, in pipelines."""
    found = []
    for c in both:
        keys, cursor = [], b"0"
        while True:
            answer = c.do("SCAN", cursor, "MATCH", "*", "COUNT", "10000", *(("TYPE", of) if of else ()))
            if isinstance(answer, RespError):
                keys = answer.text
                break
            cursor, some = answer
            keys += some
            if cursor == b"0":
                break
        if isinstance(keys, list):
            keys = sorted((key, c.do("TYPE", key), c.do("TTL", key) > 0, c.do("MEMORY", "USAGE", key, "SAMPLES", "0") > 0, c.do("OBJECT", "ENCODING", key)) for key in keys)
        found.append(keys)
    assert found[0] == found[1]
    assert of or len(found[0]) == len(set(KEYS))


def test_the_fields_of_what_is_shown(both):
    """Of INFO, MEMORY STATS and CLIENT LIST: none of Valkey's is missing."""
    ours, theirs = both
    fields = [set(re.findall(r"^(\w+):", c.do("INFO", "everything").decode(), re.M)) for c in both]
    assert {name for name in fields[1] - fields[0] if not name.startswith(("cmdstat_", "latency_percentiles_", "errorstat_"))} <= {"module"}
    assert set(pairs(ours.do("MEMORY", "STATS"))) >= set(pairs(theirs.do("MEMORY", "STATS")))
    lists = [[word.split("=")[0] for word in c.do("CLIENT", "LIST").decode().splitlines()[0].split(" ")] for c in both]
    assert lists[0][: len(lists[1])] == lists[1]
    assert ours.do("COMMAND", "COUNT") >= theirs.do("COMMAND", "COUNT")


def test_the_profiler(both, server, valkey):
    """MONITOR, from a connection of its own."""
    seen = []
    for c, s in zip(both, (server, valkey)):
        with s.raw() as m:
            assert m.do("MONITOR") == "OK"
            c.do("HSET", "app:hash", "f", "a \"b\"\n")
            line = str(m.read())
        assert re.match(r"\d+\.\d{6} \[0 127\.0\.0\.1:\d+\] ", line), line
        seen.append(line.split("] ", 1)[1])
    assert seen[0] == seen[1]


def test_edited_values_are_told_of(both, server, valkey):
    """Notifications of keys, which it hears by PSUBSCRIBE."""
    heard = []
    for c, s in zip(both, (server, valkey)):
        assert c.do("CONFIG", "SET", "notify-keyspace-events", "KEA") == "OK"
        with s.raw() as m:
            assert m.do("PSUBSCRIBE", "__key*@0__:*") == [b"psubscribe", b"__key*@0__:*", 1]
            c.do("SET", "app:title", "edited")
            c.do("DEL", "app:title")
            heard.append(m.read_some(4))
        assert c.do("CONFIG", "SET", "notify-keyspace-events", "") == "OK"
    assert heard[0] == heard[1]


def stats(r):
    """Names of MEMORY STATS. Older versions of redis-py take all that begins with `db.` for the lists of databases, and fail."""
    try:
        found = r.memory_stats()
    except TypeError:
        flat = r.execute_command("MEMORY", "STATS")
        found = {"(not by redis-py)": 1, **{name.decode(): value for name, value in pairs(flat).items()}}
    return [name for name in found if not re.match(r"db\.\d", name)]


def monitored(server):
    """What a script of an operator collects, as such scripts are written."""
    r = redis.Redis(port=server.port, socket_timeout=60)
    info = r.info()
    report = {
        "info": {name: type(info[name]).__name__ for name in MONITORED},
        "db0": sorted(info["db0"]),
        "slow": [sorted(entry) for entry in r.slowlog_get(128)][:1],
        "stats": sorted(stats(r)),
        "clients": [sorted(client) for client in r.client_list()][:1],
        "types": {},
    }
    usage = {}
    for key in r.scan_iter(count=5):
        usage[key] = r.memory_usage(key)
        kind = r.type(key)
        report["types"][kind] = report["types"].get(kind, 0) + 1
    assert len(usage) == r.dbsize() and all(bytes_ > 0 for bytes_ in usage.values())
    assert max(usage, key=usage.get) in {k if isinstance(k, bytes) else k.encode() for k in KEYS}
    r.close()
    return report


MONITORED = """redis_version uptime_in_seconds connected_clients blocked_clients used_memory used_memory_rss used_memory_peak maxmemory mem_fragmentation_ratio
total_commands_processed instantaneous_ops_per_sec keyspace_hits keyspace_misses evicted_keys expired_keys rdb_last_bgsave_status aof_enabled role connected_slaves
used_cpu_sys used_cpu_user rejected_connections total_net_input_bytes total_net_output_bytes latest_fork_usec loading""".split()


def test_a_monitoring_script(both, server, valkey):
    for c in both:
        c.do("CONFIG", "SET", "slowlog-log-slower-than", "0")
        c.do("PING")
        c.do("CONFIG", "SET", "slowlog-log-slower-than", "-1")
    ours, theirs = monitored(server), monitored(valkey)
    for name in theirs:
        if name == "stats":
            assert set(theirs[name]) <= set(ours[name])
        elif name == "clients":
            assert set(theirs[name][0]) <= set(ours[name][0])
        else:
            assert ours[name] == theirs[name], name
    assert ours["slow"]
