# SPDX-License-Identifier: BSD-3-Clause
"""cases: what is measured, how long, and what it should come to (docs/architecture.md, targets)."""

import dataclasses
import hashlib


@dataclasses.dataclass(frozen=True)
class Case:
    group: str
    command: str  # get | set
    pipeline: int
    value_bytes: int
    keys: int
    requests: int  # of one run of the full benchmark: about a second
    clients: int = 50
    target_over_floor_us: float | None = None  # cpu us per op above the floor
    target_over_floor_ratio: float | None = None
    target_over_one_shard: float | None = None  # two shards against one
    target_us: float | None = None
    target_us_two_shards: float | None = None
    target_over_plain: float | None = None  # against the same commands without MULTI
    target_over_plain_two_shards: float | None = None
    words: tuple = ()  # of valkey-benchmark, instead of -t: a sequence of commands
    commands: int = 1  # in the sequence; an operation is all of them
    fill: str | None = None  # of the group types: what must be there first (FILLS)
    target_over_valkey: float | None = None
    target_over_near_two_shards: float | None = None  # a script of any keys against one of its own key, on one shard
    log: str | None = None  # appendfsync; None: no log

    @property
    def key(self):
        group = "%s/%s" % (self.group, self.log) if self.log else self.group
        return "%s/%s/P%d/%d" % (group, self.command, self.pipeline, self.value_bytes)

    @property
    def name(self):
        """What --only looks at."""
        return self.key.lower() if self.group == "types" else self.key

    @property
    def title(self):
        size = "%d B" % self.value_bytes if self.value_bytes < 1024 else "%d KB" % (self.value_bytes // 1024)
        if self.group == "types":
            return "%s, pipeline %d" % (self.command, self.pipeline)
        if self.words:
            return self.command
        name = "MSET of 10 keys" if self.command == "mset" else self.command.upper()
        log = ", log at %s" % self.log if self.log else ""
        return "%s %s, pipeline %d%s" % (name, size, self.pipeline, log)


def speed_cases():
    small = {1: (60_000, None, 1.10), 16: (800_000, 0.25, None), 64: (1_600_000, 0.20, None)}
    cases = []
    for pipeline, (requests, over_us, over_ratio) in small.items():
        for command in ("set", "get"):
            cases.append(
                Case("small", command, pipeline, 64, 1_000_000, requests, target_over_floor_us=over_us, target_over_floor_ratio=over_ratio)
            )
    for pipeline, requests in ((1, 30_000), (16, 60_000)):
        for command in ("set", "get"):
            cases.append(Case("large", command, pipeline, 16384, 10_000, requests))
    return cases


def shard_cases():
    cases = []
    for pipeline, requests, ratio in ((1, 60_000, 1.4), (16, 800_000, 1.25), (64, 1_600_000, 1.25)):
        for command in ("set", "get"):
            cases.append(Case("shards", command, pipeline, 64, 1_000_000, requests, target_over_one_shard=ratio))
    return cases


def cluster_cases():
    """Routing may cost 0.03 us over a server that is alone."""
    return [
        Case("cluster", command, pipeline, 64, 1_000_000, requests)
        for pipeline, requests in ((1, 60_000), (16, 800_000))
        for command in ("set", "get")
    ]


SET = ("4", "SET", "key:__rand_int__", "__data__")
PLAIN = Case("txn", "four SETs", 4, 64, 1_000_000, 240_000, words=SET, commands=4)
MULTI = Case(
    "txn", "MULTI, four SETs, EXEC", 6, 64, 1_000_000, 360_000, words=("MULTI", ";", *SET, ";", "EXEC"), commands=6,
    target_over_plain=1.3, target_over_plain_two_shards=3.0,
)  # fmt: skip


def txn_cases():
    return [Case("txn", "mset", 4, 64, 1_000_000, 60_000, target_us=4.5, target_us_two_shards=6.5), PLAIN, MULTI]


# ---- Durability ----------------------------------------------------------------------------------------------------

LOG_MODES = ("always", "everysec", "no")
LOG_TARGET_US = {("always", 1): 7.0, ("always", 16): 1.2}


def durability_cases():
    return [
        Case("durability", "set", pipeline, 64, 1_000_000, requests, log=mode, target_us=LOG_TARGET_US.get((mode, pipeline)))
        for mode in LOG_MODES
        for pipeline, requests in ((1, 40_000), (16, 400_000))
    ]


# What is saved, and loaded at a start. The writes beside a save are so many a second for every server, else the fastest has most to copy.
DURABLE = Case("durability", "set", 16, 64, 2_000_000, 1_000_000_000)
SAVE_WRITES_PER_S = 50_000
SAVE_TARGET_PEAK = 0.05  # over the memory at the start
SAVE_TARGET_MS = 2.0  # GET p99.9 of another client meanwhile
START_TARGET_S = 0.6  # on two shards

# ---- Data types ----------------------------------------------------------------------------------------------------

# What is there before a case is measured: name -> commands. Elements have 16 bytes, and are no numbers.


def element(i):
    return b"elem%012d" % i  # as redis-benchmark makes them of elem__rand_int__


def many(name, key, count, per_command, words):
    for begin in range(0, count, per_command):
        yield (name, key, *[word for i in range(begin, min(begin + per_command, count)) for word in words(i)])


def scattered(i):
    """A score that is not in the order of the members."""
    return b"%d" % (i * 2654435761 % 1000000007)


FILLS = {
    "list": lambda: many(b"RPUSH", b"list:long", 100_000, 100, lambda i: (element(i),)),
    "set": lambda: many(b"SADD", b"set:long", 100_000, 100, lambda i: (element(i),)),
    "set500": lambda: many(b"SADD", b"set:500", 500, 100, lambda i: (element(i),)),
    "sets": lambda: (c for k in (b"set:a", b"set:b") for c in many(b"SADD", k, 10_000, 100, lambda i, k=k: (element(i * 2 if k == b"set:a" else i * 3),))),
    "hash": lambda: many(b"HSET", b"hash:long", 100_000, 100, lambda i: (element(i), b"x" * 32)),
    "hash1000": lambda: many(b"HSET", b"hash:1000", 1000, 100, lambda i: (element(i), b"x" * 32)),
    "hashes": lambda: ((b"HSET", b"user:%012d" % k, *[w for i in range(10) for w in (b"field%d" % i, b"value-%d" % i)]) for k in range(50_000)),
    "zset": lambda: many(b"ZADD", b"zset:long", 1_000_000, 100, lambda i: (scattered(i), element(i))),
    "stream": lambda: ((b"XADD", b"stream:long", b"*", b"temperature", b"21.5", b"humidity", b"%d" % (i % 100)) for i in range(100_000)),
    "group": lambda: iter([(b"XADD", b"stream:group", b"*", b"a", b"b"), (b"XGROUP", b"CREATE", b"stream:group", b"g", b"0")]),
    "bits": lambda: iter([(b"SETRANGE", b"bits", b"0", b"\x5a" * 10_000)]),
    "numbers": lambda: many(b"RPUSH", b"numbers", 1000, 100, lambda i: (b"%d" % (i * 7919 % 1009),)),
}

# (title, words, fill, random range, requests at pipeline 16, ratio to Valkey's CPU)
TYPES = [
    ("LPUSH", ("LPUSH", "list", "__data__"), None, 1, 400_000, 0.6),
    ("RPOP", ("RPOP", "list"), None, 1, 400_000, 0.6),
    ("LRANGE of 100", ("LRANGE", "list:long", "1000", "1099"), "list", 1, 40_000, 1.0),
    ("LRANGE of 500", ("LRANGE", "list:long", "1000", "1499"), "list", 1, 10_000, 1.0),
    ("SADD", ("SADD", "set", "elem__rand_int__"), None, 1_000_000, 400_000, 0.6),
    ("SISMEMBER", ("SISMEMBER", "set:long", "elem__rand_int__"), "set", 100_000, 400_000, 0.6),
    ("SMEMBERS of 500", ("SMEMBERS", "set:500"), "set500", 1, 10_000, 1.0),
    ("SINTER of two sets of 10k", ("SINTER", "set:a", "set:b"), "sets", 1, 400, 1.0),
    ("HSET", ("HSET", "hash", "elem__rand_int__", "__data__"), None, 100_000, 400_000, 0.6),
    ("HGET", ("HGET", "hash:long", "elem__rand_int__"), "hash", 100_000, 400_000, 0.6),
    ("HSET, small hashes", ("HSET", "user:__rand_int__", "field5", "value-7"), "hashes", 50_000, 400_000, 0.6),
    ("HGETALL, small hashes", ("HGETALL", "user:__rand_int__"), "hashes", 50_000, 200_000, 0.6),
    ("HGETALL of 1,000 fields", ("HGETALL", "hash:1000"), "hash1000", 1, 4_000, 1.0),
    ("ZADD into a million", ("ZADD", "zset:long", "__rand_int__", "elem__rand_int__"), "zset", 1_000_000, 200_000, 0.4),
    ("ZRANK in a million", ("ZRANK", "zset:long", "elem__rand_int__"), "zset", 1_000_000, 200_000, 0.6),
    ("ZRANGE of 10 in a million", ("ZRANGE", "zset:long", "500000", "500009"), "zset", 1, 200_000, 0.6),
    ("ZRANGE of 500", ("ZRANGE", "zset:long", "1000", "1499"), "zset", 1, 10_000, 1.0),
    ("XADD", ("XADD", "stream", "*", "temperature", "21.5", "humidity", "40"), None, 1, 200_000, 0.6),
    ("XRANGE of 10", ("XRANGE", "stream:long", "-", "+", "COUNT", "10"), "stream", 1, 100_000, 0.6),
    ("XREADGROUP, nothing new", ("XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "STREAMS", "stream:group", ">"), "group", 1, 200_000, 0.6),
    ("PFADD", ("PFADD", "visitors", "elem__rand_int__"), None, 1_000_000, 400_000, 0.6),
    ("BITCOUNT of 10 KB", ("BITCOUNT", "bits"), "bits", 1, 100_000, 1.0),
    ("SORT of 1,000", ("SORT", "numbers", "LIMIT", "0", "10"), "numbers", 1, 4_000, 1.0),
]  # fmt: skip


def types_cases():
    cases = []
    for pipeline in (1, 16):
        for title, words, fill, span, requests, ratio in TYPES:
            count = requests if pipeline == 16 else max(400, min(40_000, requests // 8))
            cases.append(
                Case(
                    "types", title, pipeline, 32, span, count, words=words, fill=fill,
                    target_over_valkey=ratio if pipeline == 16 else 1.0,
                )
            )  # fmt: skip
    return cases


# ---- Scripts ------------------------------------------------------------------------------------------------------

# One keeps to the key that it declares, the other derives its key, so that it has all shards to itself.
SCRIPTS = {
    "near": b"local v = redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], ARGV[1]) return v",
    "far": b"local k = KEYS[1] .. ':x' local v = redis.call('GET', k) redis.call('SET', k, ARGV[1]) return v",
}
FILLS["scripts"] = lambda: ((b"SCRIPT", b"LOAD", body) for body in SCRIPTS.values())


def script_case(kind, pipeline, requests, **target):
    sha = hashlib.sha1(SCRIPTS[kind]).hexdigest()
    title = "EVALSHA of GET and SET%s" % (", key derived" if kind == "far" else "")
    return Case("scripts", title, pipeline, 64, 100_000, requests, words=("EVALSHA", sha, "1", "key:__rand_int__", "__data__"), fill="scripts", **target)


# In global mode two shards are compared with what one takes for the other script.
NEAR = {p: script_case("near", p, n, target_over_valkey=0.8) for p, n in ((1, 40_000), (16, 320_000))}
FAR = {p: script_case("far", p, n, target_over_near_two_shards=3.0) for p, n in ((1, 20_000), (16, 80_000))}


def script_cases():
    return [case for p in NEAR for case in (NEAR[p], FAR[p])]


# How the names of the cases of --quick begin: small requests in and without pipelines, a rate, the two most usual applications, memory.
QUICK = ("small/set/P1/", "small/get/P1/", "small/set/P16/", "small/get/P16/", "open/10000", "apps/sessions", "apps/cache",
         "scaling/P16", "memory/1000000")  # fmt: skip


def all_cases():
    return speed_cases() + shard_cases() + txn_cases() + cluster_cases() + durability_cases() + types_cases() + script_cases()


# (title, commands, elements or keys, target in bytes of RSS for each)
TYPES_MEMORY = [
    ("zset of 500k, 16 B members", lambda n: many(b"ZADD", b"z", n, 100, lambda i: (scattered(i), element(i))), 500_000, 56),
    ("set of 500k, 16 B members", lambda n: many(b"SADD", b"s", n, 100, lambda i: (element(i),)), 500_000, 42),
    ("hash of 500k, 16 B field + 32 B value", lambda n: many(b"HSET", b"h", n, 100, lambda i: (element(i), b"%032x" % (i * 7919))), 500_000, 72),
    ("hashes of 10 small fields, per hash", lambda n: ((b"HSET", b"user:%08d" % k, *[w for i in range(10) for w in (b"field%d" % i, b"value-%d" % (k % 1000))]) for k in range(n)), 50_000, 300),
    ("list of 500k, 32 B elements", lambda n: many(b"RPUSH", b"l", n, 100, lambda i: (b"%032x" % (i * 7919),)), 500_000, 35),
    ("stream of 500k, 2 small fields", lambda n: ((b"XADD", b"x", b"*", b"temperature", b"%d.5" % (i % 40), b"humidity", b"%d" % (i % 100)) for i in range(n)), 500_000, 29),
]  # fmt: skip



def pending(key, n):
    """A stream of n entries that have all been given to one consumer of a group."""
    for i in range(n):
        yield (b"XADD", key, b"%d-1" % (i + 1), b"f", b"v")
    yield (b"XGROUP", b"CREATE", key, b"g", b"0")
    for _ in range(0, n, 1000):
        yield (b"XREADGROUP", b"GROUP", b"g", b"c", b"COUNT", b"1000", b"STREAMS", key, b">")


def big_zset(n):
    return many(b"ZADD", b"big", n, 500, lambda i: (scattered(i), b"%d-x" % i))


# What is done while another client asks the same shard: (title, what is there, elements, command)
STALLS = [
    ("UNLINK of a set of 5M", lambda n: many(b"SADD", b"big", n, 500, lambda i: (b"%d-x" % i,)), 5_000_000, (b"UNLINK", b"big")),
    ("SET over a sorted set of 2M", big_zset, 2_000_000, (b"SET", b"big", b"1")),
    ("COPY of a sorted set of 2M", big_zset, 2_000_000, (b"COPY", b"big", b"{big}copy")),
    ("ZREMRANGEBYRANK of 2M but 100", big_zset, 2_000_000, (b"ZREMRANGEBYRANK", b"big", b"0", b"-101")),
    ("ZREMRANGEBYRANK of half of 2M", big_zset, 2_000_000, (b"ZREMRANGEBYRANK", b"big", b"0", b"999999")),
    ("XGROUP DESTROY, 1M pending", lambda n: pending(b"big", n), 1_000_000, (b"XGROUP", b"DESTROY", b"big", b"g")),
    ("XTRIM of 1M to 100", lambda n: pending(b"big", n), 1_000_000, (b"XTRIM", b"big", b"MAXLEN", b"100")),
    ("DEL of a list of 5M", lambda n: many(b"RPUSH", b"big", n, 500, lambda i: (b"element of some length %d" % i,)), 5_000_000, (b"DEL", b"big")),
]

# One publisher, many who have subscribed: (title, subscribers, bytes of a message, messages, ratio to Valkey's CPU)
PUBSUB = [
    ("64 B to 10,000 subscribers", 10_000, 64, 30, 0.5),
    ("16 KB to 1,000 subscribers", 1_000, 16_384, 100, 1.0),
]

# (keys, with TTL) of the memory measurements; the targets are bytes of RSS per key.
MEMORY = [(1_000_000, False), (2_000_000, False), (1_000_000, True), (2_000_000, True)]
MEMORY_TARGET = {False: 100, True: 112}
