# SPDX-License-Identifier: BSD-3-Clause
"""COMMAND and its subcommands say the same about every command as Valkey does, but for prose."""

import pathlib
import re

import pytest

from resp import Map, RespError, Set

# What this server must have: containers with their subcommands.
COMMANDS = {
    "append": [], "decr": [], "decrby": [], "delifeq": [], "get": [], "getdel": [], "getex": [], "getrange": [],
    "getset": [], "incr": [], "incrby": [], "incrbyfloat": [], "lcs": [], "mget": [], "mset": [], "msetex": [],
    "msetnx": [], "psetex": [], "set": [], "setex": [], "setnx": [], "setrange": [], "strlen": [], "substr": [],
    "bitcount": [], "bitfield": [], "bitfield_ro": [], "bitop": [], "bitpos": [], "getbit": [], "setbit": [],
    "sadd": [], "scard": [], "sdiff": [], "sdiffstore": [], "sinter": [], "sintercard": [], "sinterstore": [],
    "sismember": [], "smembers": [], "smismember": [], "smove": [], "spop": [], "srandmember": [], "srem": [],
    "sscan": [], "sunion": [], "sunionstore": [],
    "hexpire": [], "hexpireat": [], "hexpiretime": [], "hgetdel": [], "hgetex": [], "hpersist": [], "hpexpire": [],
    "hpexpireat": [], "hpexpiretime": [], "hpttl": [], "hsetex": [], "httl": [],
    "xack": [], "xadd": [], "xautoclaim": [], "xclaim": [], "xdel": [],
    "xgroup": ["create", "createconsumer", "delconsumer", "destroy", "help", "setid"],
    "xinfo": ["consumers", "groups", "help", "stream"],
    "xlen": [], "xpending": [], "xrange": [], "xread": [], "xreadgroup": [], "xrevrange": [], "xsetid": [], "xtrim": [],
    "hdel": [], "hexists": [], "hget": [], "hgetall": [], "hincrby": [], "hincrbyfloat": [], "hkeys": [], "hlen": [],
    "hmget": [], "hmset": [], "hrandfield": [], "hscan": [], "hset": [], "hsetnx": [], "hstrlen": [], "hvals": [],
    "pfadd": [], "pfcount": [], "pfdebug": [], "pfmerge": [], "pfselftest": [],
    "copy": [], "del": [], "dump": [], "exists": [], "expire": [], "expireat": [], "expiretime": [], "keys": [], "move": [],
    "object": ["encoding", "freq", "help", "idletime", "refcount"],
    "persist": [], "pexpire": [], "pexpireat": [], "pexpiretime": [], "pttl": [], "randomkey": [], "rename": [],
    "renamenx": [], "restore": [], "restore-asking": [], "scan": [], "sort": [], "sort_ro": [], "touch": [], "ttl": [], "type": [], "unlink": [], "wait": [],
    "asking": [], "clusterscan": [],
    "cluster": ["countkeysinslot", "flushslot", "getkeysinslot", "help", "keyslot", "myid", "myshardid", "shards", "slot-stats", "slots"],
    "auth": [],
    "client": [
        "caching", "capa", "getname", "getredir", "help", "id", "import-source", "info", "kill", "list", "no-evict", "no-touch",
        "pause", "reply", "setinfo", "setname", "tracking", "trackinginfo", "unblock", "unpause",
    ],
    "echo": [], "hello": [], "ping": [], "quit": [], "reset": [], "select": [],
    "command": ["count", "docs", "getkeys", "getkeysandflags", "help", "info", "list"],
    "config": ["get", "help", "resetstat", "rewrite", "set"],
    "dbsize": [], "debug": [], "flushall": [], "lastsave": [], "save": [], "flushdb": [], "info": [], "lolwut": [], "monitor": [],
    "memory": ["doctor", "help", "malloc-stats", "purge", "stats", "usage"],
    "shutdown": [], "swapdb": [], "time": [],
    "psubscribe": [], "publish": [], "pubsub": ["channels", "help", "numpat", "numsub", "shardchannels", "shardnumsub"],
    "punsubscribe": [], "spublish": [], "ssubscribe": [], "subscribe": [], "sunsubscribe": [], "unsubscribe": [],
    "blmove": [], "blmpop": [], "blpop": [], "brpop": [], "brpoplpush": [], "lmpop": [],
    "lindex": [], "linsert": [], "llen": [], "lmove": [], "lpop": [], "lpos": [], "lpush": [], "lpushx": [],
    "lrange": [], "lrem": [], "lset": [], "ltrim": [], "rpop": [], "rpoplpush": [], "rpush": [], "rpushx": [],
    "zadd": [], "zcard": [], "zcount": [], "zincrby": [], "zlexcount": [], "zmscore": [], "zpopmax": [], "zpopmin": [],
    "zrandmember": [], "zrange": [], "zrangebylex": [], "zrangebyscore": [], "zrangestore": [], "zrank": [], "zrem": [],
    "zremrangebylex": [], "zremrangebyrank": [], "zremrangebyscore": [], "zrevrange": [], "zrevrangebylex": [],
    "zrevrangebyscore": [], "zrevrank": [], "zscan": [], "zscore": [],
    "geoadd": [], "geodist": [], "geohash": [], "geopos": [], "georadius": [], "georadius_ro": [], "georadiusbymember": [],
    "georadiusbymember_ro": [], "geosearch": [], "geosearchstore": [],
    "bzmpop": [], "bzpopmax": [], "bzpopmin": [], "zdiff": [], "zdiffstore": [], "zinter": [], "zintercard": [],
    "zinterstore": [], "zmpop": [], "zunion": [], "zunionstore": [],
    "discard": [], "exec": [], "multi": [], "unwatch": [], "watch": [],
    "bgrewriteaof": [], "bgsave": [], "migrate": [], "readonly": [], "readwrite": [],
    "eval": [], "eval_ro": [], "evalsha": [], "evalsha_ro": [], "fcall": [], "fcall_ro": [],
    "function": ["delete", "dump", "flush", "help", "kill", "list", "load", "restore", "stats"],
    "script": ["debug", "exists", "flush", "help", "kill", "load", "show"],
}  # fmt: skip
OWN = {b"memory|bigkeys"}  # what Valkey has not: docs/compat.md says so
NAMES = sorted(COMMANDS) + sorted("%s|%s" % (c, s) for c, subs in COMMANDS.items() for s in subs)

CATEGORIES = """keyspace read write set sortedset list hash string bitmap hyperloglog geo stream pubsub admin fast slow
blocking dangerous connection transaction scripting""".split()


def ask(server, resp, *call):
    with server.raw() as c:
        if resp == 3:
            c.do("HELLO", "3")
        return c.do(*call)


def without_subcommands(row):
    """A COMMAND INFO row; subcommands are asked by their own names. Sets have no order, notes are prose."""
    row = list(row)
    for i in (2, 6, 7):
        assert isinstance(row[i], list)
    row[8] = [[(key, None if key == b"notes" else value) for key, value in pairs(spec)] for spec in row[8]]
    return [sorted(f, key=repr) if isinstance(f, Set) else f for f in row[:9]]


@pytest.mark.parametrize("resp", (2, 3))
@pytest.mark.parametrize("name", NAMES)
def test_info(shoal, valkey, name, resp):
    ours, theirs = ask(shoal, resp, "COMMAND", "INFO", name), ask(valkey, resp, "COMMAND", "INFO", name)
    assert ours[0] is not None, "%s does not exist" % name
    assert without_subcommands(ours[0]) == without_subcommands(theirs[0])
    known = {row[0] for row in theirs[0][9]}
    assert {row[0] for row in ours[0][9]} <= known | OWN
    assert type(ours[0][9]) is type(theirs[0][9])


def known_to_both(shoal, valkey):
    ours, theirs = (set(ask(server, 2, "COMMAND", "LIST")) for server in (shoal, valkey))
    assert len(ours) > 300
    return ours & theirs


def test_all_have_the_flags_the_categories_and_the_keys_that_valkey_says(shoal, valkey):
    """Whatever is known here, named above or not: what a user may do follows from it."""
    for name in sorted(known_to_both(shoal, valkey)):
        ours, theirs = (without_subcommands(ask(server, 2, "COMMAND", "INFO", name)[0]) for server in (shoal, valkey))
        assert ours == theirs, name


def pairs(value):
    return list(value) if isinstance(value, Map) else list(zip(value[::2], value[1::2]))


def without_prose(docs):
    """A COMMAND DOCS entry without summaries, complexity, texts of histories, and subcommands."""
    out = []
    for key, value in pairs(docs):
        if key in (b"summary", b"complexity", b"subcommands"):
            assert key == b"subcommands" or value, "%r is empty" % key
            continue
        if key == b"history":
            value = [entry[0] for entry in value]
        if key == b"arguments":
            value = [without_prose(argument) for argument in value]
        if isinstance(value, Set):
            value = sorted(value)
        out.append((key, value))
    return out


@pytest.mark.parametrize("resp", (2, 3))
@pytest.mark.parametrize("name", NAMES)
def test_docs(shoal, valkey, name, resp):
    ours, theirs = pairs(ask(shoal, resp, "COMMAND", "DOCS", name)), pairs(ask(valkey, resp, "COMMAND", "DOCS", name))
    assert len(ours) == 1 and ours[0][0] == theirs[0][0]
    assert without_prose(ours[0][1]) == without_prose(theirs[0][1])
    has = {key for key, _ in pairs(ours[0][1])}
    assert b"summary" in has
    assert (b"complexity" in has) == (b"complexity" in {key for key, _ in pairs(theirs[0][1])})


def test_count_list_and_the_bare_command_agree(shoal):
    everything = ask(shoal, 2, "COMMAND", "LIST")
    names = [n for n in everything if b"|" not in n]
    assert ask(shoal, 2, "COMMAND", "COUNT") == len(names) == len(set(names))
    assert len(everything) == len(set(everything))
    assert sorted(row[0] for row in ask(shoal, 2, "COMMAND")) == sorted(names)
    assert sorted(row[0] for row in ask(shoal, 2, "COMMAND", "INFO")) == sorted(names)
    assert sorted(key for key, _ in pairs(ask(shoal, 2, "COMMAND", "DOCS"))) == sorted(names)
    assert {n.encode() for n in NAMES} <= set(everything)


@pytest.mark.parametrize("category", CATEGORIES)
def test_list_by_category(shoal, valkey, category):
    """Every command that exists here is in the categories that Valkey puts it in, subcommands included."""

    def members(server):
        return set(ask(server, 2, "COMMAND", "LIST", "FILTERBY", "ACLCAT", category))

    here = known_to_both(shoal, valkey)
    assert not here & OWN
    assert members(shoal) & here == members(valkey) & here
    assert {name.encode() for name in NAMES} <= here


@pytest.mark.parametrize("pattern", ("get*", "*", "client|*", "[sg]et*", "config|?et", "GET*", "nosuch"))
def test_list_by_pattern(shoal, valkey, pattern):
    def members(server):
        return set(ask(server, 2, "COMMAND", "LIST", "FILTERBY", "PATTERN", pattern))

    here = {name.encode() for name in NAMES}
    assert members(shoal) & here == members(valkey) & here


# Calls of every shape, right and wrong: the keys that are found, or the error.
CALLS = [
    ["SET", "k", "v"], ["SET", "k", "v", "GET"], ["SET", "k", "v", "EX", "1", "GET"], ["SET", "k"], ["SET", "k", "v", "XX", "IFEQ", "GET"],
    ["MSETEX", "1", "k", "v"], ["MSETEX", "2", "k", "v", "l", "w"], ["MSETEX", "2", "k", "v"], ["MSETEX", "x", "k", "v"],
    ["MSETEX", "-1", "k", "v"], ["MSETEX", "0", "k", "v"], ["MSETEX", "99999999999", "k", "v"], ["MSETEX", "2", "k", "v", "l", "w", "EX", "9"],
    ["OBJECT", "FREQ"], ["MEMORY", "USAGE", "k", "SAMPLES", "1"], ["MEMORY", "STATS"], ["CLIENT", "ID"], ["COMMAND", "GETKEYS", "GET", "k"],
    ["KEYS", "*"], ["SCAN", "0"], ["SWAPDB", "0", "1"], ["SELECT", "1"], ["DEBUG", "OBJECT", "k"],
]  # fmt: skip
CALLS += [
    ["XREAD", "STREAMS", "a", "0"], ["XREAD", "COUNT", "1", "streams", "a", "b", "0", "0"], ["XREAD", "STREAMS", "a", "b", "0"], ["XREAD", "STREAMS"],
    ["XREAD", "COUNT", "STREAMS", "STREAMS", "a", "0"], ["XREADGROUP", "GROUP", "g", "c", "STREAMS", "a", "b", ">", ">"],
    ["XREADGROUP", "GROUP", "STREAMS", "c", "STREAMS", "a", ">"], ["XGROUP", "CREATE", "a", "g", "0"], ["XINFO", "STREAM", "a"],
]  # fmt: skip
CALLS += [[name] + ["arg%d" % i for i in range(n)] for name in sorted(COMMANDS) for n in (1, 2, 3, 4)]


@pytest.mark.parametrize("resp", (2, 3))
@pytest.mark.parametrize("sub", ("GETKEYS", "GETKEYSANDFLAGS"))
def test_getkeys(shoal, valkey, sub, resp):
    found = []
    for call in CALLS:
        ours, theirs = ask(shoal, resp, "COMMAND", sub, *call), ask(valkey, resp, "COMMAND", sub, *call)
        if not same_keys(ours, theirs):
            found.append("%s\n    ours   %r\n    theirs %r" % (" ".join(call), ours, theirs))
    assert not found, "\n" + "\n".join(found)


def same_keys(a, b):
    if isinstance(a, RespError) or isinstance(b, RespError):
        return a == b
    return [sorted(x) if isinstance(x, Set) else x for row in a for x in (row if isinstance(row, list) else [row])] == [
        sorted(x) if isinstance(x, Set) else x for row in b for x in (row if isinstance(row, list) else [row])
    ]


def test_info_of_several_and_unknown_names(shoal, valkey):
    for resp in (2, 3):
        ours = ask(shoal, resp, "COMMAND", "INFO", "get", "nosuch", "GET", "config|nosuch", "client|id", "get|id")
        theirs = ask(valkey, resp, "COMMAND", "INFO", "get", "nosuch", "GET", "config|nosuch", "client|id", "get|id")
        assert [r and r[0] for r in ours] == [r and r[0] for r in theirs]
        assert ask(shoal, resp, "COMMAND", "DOCS", "nosuch", "nosuch|x") == ask(valkey, resp, "COMMAND", "DOCS", "nosuch", "nosuch|x")


def test_help_texts_are_lists_of_lines(shoal):
    """HELP is prose, so only its form is checked: what Valkey's first line says, then lines."""
    for container in ("CLIENT", "CONFIG", "COMMAND", "MEMORY", "OBJECT", "DEBUG"):
        lines = ask(shoal, 2, container, "HELP")
        assert isinstance(lines, list) and len(lines) > 4
        assert lines[0] == "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:" % container
        assert "HELP" in lines


def test_the_page_names_what_is_missing(shoal, valkey):
    """docs/compat.md lists every command and subcommand of Valkey that is unknown here, and none that is known."""
    page = (pathlib.Path(__file__).parents[2] / "docs" / "compat.md").read_text()
    listed = page[page.index("- **Commands** that are unknown so far:") :].partition("\n- ")[0]
    ours, theirs = ({name.decode() for name in ask(server, 2, "COMMAND", "LIST")} for server in (shoal, valkey))
    missing = {name for name in theirs - ours if "|" not in name or name.split("|")[0] in ours}
    names = {name: r"(?<![\w-])%s(?![\w-])" % name.upper().replace("|", " ") for name in missing | ours}
    assert [name for name in sorted(missing) if not re.search(names[name], listed)] == []
    containers = {name.split("|")[0] for name in missing if "|" in name}
    for name in missing:  # INFO is known, CLUSTER INFO may not be
        listed = re.sub(names[name], "", listed)
    assert [name for name in sorted(ours - containers) if re.search(names[name], listed)] == []
