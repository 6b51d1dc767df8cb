# SPDX-License-Identifier: BSD-3-Clause
"""compare: are two replies to one command the same? And which differences between Redis 7.0 and Valkey 9.1 are known.

Replies are compared byte for byte, except where two correct servers cannot agree: clocks, random picks, memory figures,
ids and the order of unordered results. Each such case is one row of NORMAL.
"""

import re

from resp import Map, RespError, Simple, parse


def upper(arg):
    return (arg if isinstance(arg, bytes) else str(arg).encode("utf-8", "surrogateescape")).upper()


def shape(value):
    """Only the types of a reply."""
    if isinstance(value, RespError):
        return ("error", value.text)
    if isinstance(value, list):
        return [shape(v) for v in value]
    return type(value).__name__


def near(tolerance):
    def normal(value):
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return Near(value, tolerance)
        return value

    return normal


def near_each(tolerance):
    def normal(value):
        return [near(tolerance)(one) for one in value] if type(value) is list else value

    return normal


class Near:
    """A number that equals any number close to it."""

    def __init__(self, value, tolerance):
        self.value, self.tolerance = value, tolerance

    def __eq__(self, other):
        return isinstance(other, Near) and abs(self.value - other.value) <= self.tolerance

    def __repr__(self):
        return "%d (+-%d)" % (self.value, self.tolerance)


def scan(value):
    """The cursor is the server's own and so is what one call returns."""
    if isinstance(value, list) and len(value) == 2:
        return "a cursor and keys"
    return value


def any_members(value):
    """How many, and of what kind."""
    return (type(value).__name__, shape(value))


def hello(value):
    """Names of the fields, and the values that are not about who answers."""
    if isinstance(value, RespError) or not isinstance(value, list):
        return value
    fields = value if isinstance(value, Map) else list(zip(value[::2], value[1::2]))
    return [(k, v if k in (b"proto", b"mode", b"role") else None) for k, v in fields if k != b"availability_zone"]


def settings(value):
    """Names and values, but for those that were given to the servers or are made from their names."""
    own = (b"port", b"dir", b"logfile", b"pidfile", b"syslog-ident", b"shards", b"io-backend", b"pipeline-order", b"shard-cpulist", b"save-format", b"metrics-port", b"metrics-bind", b"metrics-password", b"replicas-ack")
    if not isinstance(value, list):
        return value
    rows = list(value) if isinstance(value, Map) else list(zip(value[::2], value[1::2]))
    return [row for row in rows if row[0] not in own]


def sorted_keys(value):
    return sorted(value) if isinstance(value, list) else value


def members(value):
    """What has no order, with the type of its reply."""
    return (type(value).__name__, sorted_keys(value)) if not isinstance(value, RespError) else value


def drawn(value):
    """How many were drawn, of what shape, and in what they were put."""
    return (type(value).__name__, [shape(one) for one in value]) if isinstance(value, list) else shape(value)


def pairs(value):
    """Fields and values, which have no order."""
    if isinstance(value, RespError) or not isinstance(value, list):
        return value
    flat = not isinstance(value, Map)
    return (type(value).__name__, sorted(zip(value[::2], value[1::2]) if flat else value))


def stream_figures(value):
    """Nodes of a radix tree are Valkey's own, and clocks differ."""
    vague = (b"radix-tree-nodes", b"idle", b"inactive", b"seen-time", b"active-time")
    if isinstance(value, Map):
        return [(k, kind(v) if k in vague else pending_figures(v) if k == b"pending" else stream_figures(v)) for k, v in value]
    if isinstance(value, list) and value and value[0] in (b"length", b"name"):
        return stream_figures(Map(zip(value[::2], value[1::2])))
    if isinstance(value, list):
        return [stream_figures(v) for v in value]
    return value


def kind(value):
    """Never, or at some time."""
    return "never" if value == -1 else type(value).__name__


def pending_figures(value):
    """When it was delivered, or how long ago, is the third of four or the second of three."""
    if not isinstance(value, list) or isinstance(value, RespError):
        return value
    return [row[:-2] + [type(row[-2]).__name__, row[-1]] if isinstance(row, list) and len(row) > 2 else row for row in value]


# (command, subcommand or None, normal form of a parsed reply)
NORMAL = [
    (b"XPENDING", None, pending_figures),
    (b"XINFO", b"STREAM", stream_figures),
    (b"XINFO", b"CONSUMERS", stream_figures),
    (b"TIME", None, shape),
    (b"RANDOMKEY", None, shape),
    (b"SCAN", None, scan),
    (b"KEYS", None, sorted_keys),
    (b"SMEMBERS", None, members),
    (b"HGETALL", None, pairs),
    (b"HKEYS", None, members),
    (b"HVALS", None, members),
    (b"HSCAN", None, scan),
    (b"HRANDFIELD", None, drawn),
    (b"ZSCAN", None, scan),
    (b"ZRANDMEMBER", None, any_members),
    (b"SINTER", None, members),
    (b"SUNION", None, members),
    (b"SDIFF", None, members),
    (b"SSCAN", None, scan),
    (b"SRANDMEMBER", None, drawn),
    (b"SPOP", None, drawn),
    (b"TTL", None, near(2)),
    (b"PTTL", None, near(3000)),
    (b"EXPIRETIME", None, near(3)),
    (b"PEXPIRETIME", None, near(3000)),
    (b"HTTL", None, near_each(2)),
    (b"HPTTL", None, near_each(3000)),
    (b"HEXPIRETIME", None, near_each(3)),
    (b"HPEXPIRETIME", None, near_each(3000)),
    (b"OBJECT", b"IDLETIME", shape),
    (b"OBJECT", b"FREQ", shape),
    (b"MEMORY", b"USAGE", shape),
    (b"CONFIG", b"GET", settings),
    (b"CLIENT", b"ID", shape),
    (b"CLIENT", b"LIST", shape),
    (b"CLIENT", b"INFO", shape),
    (b"HELLO", None, hello),
]


def normal(call, value, raw):
    name = upper(call[0])
    sub = upper(call[1]) if len(call) > 1 else None
    for row_name, row_sub, function in NORMAL:
        if row_name == name and row_sub in (None, sub):
            return function(value)
    return raw


class Unfolding:
    """What one connection has queued: the replies inside of EXEC's are compared as those of the calls that they answer."""

    def __init__(self):
        self.queue = None

    def unfold(self, call, replies):
        """[(call, its (value, raw) of every server)]: the calls queued if this is an EXEC that all have run, else this one."""
        name, value = upper(call[0]), replies[0][0]
        queue = self.queue
        if isinstance(value, Simple):
            if name == b"MULTI" and value == "OK":
                self.queue = []
            elif queue is not None and value == "QUEUED":
                queue.append(call)
        if name in (b"EXEC", b"RESET") or name == b"DISCARD" and value == "OK":
            self.queue = None
        if name != b"EXEC" or not queue or any(type(v) is not list or len(v) != len(queue) for v, _ in replies):
            return [(call, replies)]
        parts = [elements(value, raw) for value, raw in replies]
        # The others count a value twice that is a word of the queue as well.
        counts = [[upper(word) for word in inner[:2]] == [b"OBJECT", b"REFCOUNT"] for inner in queue]
        return [(inner, [p[n] for p in parts]) for n, inner in enumerate(queue) if not counts[n]]


def elements(value, raw):
    """(value, raw) of each element of an array."""
    at, out = raw.index(b"\n") + 1, []
    for element in value:
        _, end = parse(raw, at)
        out.append((element, raw[at:end]))
        at = end
    return out


# Known differences of Redis 7.0 from Valkey 9.1: (command, what Redis says, what Valkey says), matched on raw replies.
REDIS_DIFFERS = [
    # Sets became listpacks in 7.2.
    (rb"OBJECT ENCODING ", rb"\$9\r\nhashtable", rb"\$8\r\nlistpack"),
    # 9.x keeps longer strings embedded.
    (rb"OBJECT ENCODING ", rb"\$3\r\nraw", rb"\$6\r\nembstr"),
    # GETEX looks at its arguments before it looks for the key.
    (rb"GETEX ", rb"(\$-1|_)\r\n|-WRONGTYPE", rb"-ERR (value is not an integer|invalid expire time)"),
    # SCAN reads its cursor first, more strictly but for spaces, and knows the names of types.
    (rb"S?SCAN ", rb"\*2|-ERR|-WRONGTYPE", rb"-ERR (invalid cursor|unknown type name|NOVALUES|NOSCORES)"),
    (rb"S?SCAN .* \+?0|SCAN  0", rb"-ERR invalid cursor", rb""),
    # Bits are counted of strings only: which is said before or after what is wrong with the range.
    (rb"BITCOUNT |BITPOS ", rb"-WRONGTYPE|-ERR", rb"-ERR"),
    # What a store writes is not read.
    (rb"COMMAND GETKEYSANDFLAGS S\w+STORE ", rb"\*", rb"\*"),
    (rb"OBJECT REFCOUNT ", rb":2147483647", rb":1\r"),
    (rb"WAIT ", rb":0", rb"-ERR timeout is out of range"),
    (rb"CLIENT LIST ID ", rb"-ERR Invalid client ID|\$0|=4", rb"-ERR"),
    (rb"CLIENT LIST TYPE ", rb"-ERR syntax error", rb"-ERR Unknown client type"),
    # HELLO reads all of its options before it does anything.
    (rb"HELLO ", rb"-WRONGPASS", rb"-ERR Syntax error in HELLO option"),
    (rb"CLIENT KILL ID ", rb"-ERR client-id should|-ERR syntax error", rb"-ERR syntax error|:0"),
    # A key whose deadline is already past when it is written counts until somebody looks at it.
    (rb"DBSIZE$", rb":\d+", rb":\d+"),
    # No subcommands are an empty set there.
    (rb"COMMAND INFO ", rb"\*.*~0\r\n", rb"\*.*\*0\r\n"),
    (rb"COMMAND GETKEYS", rb"-ERR wrong number of arguments for 'command", rb"-ERR"),
    # XREAD and XREADGROUP: names in errors, and `+` for the last entry.
    (rb"XREAD(GROUP)? ", rb"-ERR Unbalanced X", rb"-ERR Unbalanced 'x"),
    (rb"XREAD .* \+", rb"-ERR Invalid stream ID", rb""),
    # Options are read before the key is looked for.
    (rb"(BITCOUNT|BITPOS|GETEX) ", rb"-WRONGTYPE", rb"-ERR"),
    # Valkey 9 counts what groups have read otherwise, and knows when a consumer was active.
    (rb"XINFO (STREAM|GROUPS|CONSUMERS)", rb"[*%]", rb"[*%]"),
    # Ranges of bits are read before the key is looked for, and BITCOUNT's may have no end.
    (rb"BIT(COUNT|POS) ", rb":(0|-1)|-WRONGTYPE", rb"-ERR (syntax error|value is not an integer)|-WRONGTYPE"),
    (rb"BITCOUNT \S* \S*$", rb"-ERR syntax error|:0", rb""),
    (rb"BITCOUNT ", rb"-ERR value is not an integer", rb"-ERR syntax error"),
    (rb"(BITCOUNT|BITPOS|GETEX) ", rb"-WRONGTYPE", rb"-ERR "),
    # Every list is a quicklist; LREM and LPOS take a number that has no opposite.
    (rb"OBJECT ENCODING ", rb"\$9\r\nquicklist", rb"\$8\r\nlistpack"),
    (rb"(LREM|LPOS) .*-9223372036854775808", rb"", rb"-ERR value is out of range"),
]


def redis_differs_knowingly(call, redis_raw, valkey_raw):
    line = b" ".join(upper(a) for a in call)
    for command, redis, valkey in REDIS_DIFFERS:
        if re.match(command, line) and re.match(redis, redis_raw, re.S) and re.match(valkey, valkey_raw, re.S):
            return True
    return False
