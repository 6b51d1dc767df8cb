# SPDX-License-Identifier: BSD-3-Clause
"""generator: random command sequences from a seed.

Every command that Shoal has gets a function that builds a plausible call with all its options; a mutation step then
breaks some of them (arguments dropped, doubled, swapped, replaced by boundary values). The aim is not realistic traffic but
every branch of argument checking, in every order of checks, on keys in every state.

Two kinds of sequences:
  one_tag   all keys share a hash tag, so commands with several keys stay on one shard
  spread    keys lie on all shards, and so do those of one command
and two vocabularies: `classic` is what Redis 7.0 knows as well, otherwise everything Valkey 9.1 knows.

Most calls are the first connection's; those of class Second are another's, which comes between: keys are watched and changed.

Times are chosen so that no key is about to expire while a sequence runs: either far in the future, or already past.
"""

import random
import re
import time

from bits import BitCalls
from sets import SetCalls
from streams import StreamCalls
from geo import GeoCalls
from hashes import HashCalls
from lists import ListCalls
from sorted_sets import SortedSets
from sorting import SortCalls
from streams import StreamCalls

LLONG_MIN, LLONG_MAX = -(2**63), 2**63 - 1
INTS = [
    LLONG_MIN, LLONG_MIN + 1, LLONG_MIN - 1, -(2**31) - 1, -(2**31), -1, 0, 1, 2, 3, 10, 2**31 - 1, 2**31, 2**31 + 1,
    2**32 - 1, 2**32, 2**53, 2**62, LLONG_MAX - 1, LLONG_MAX, LLONG_MAX + 1, 2**64 - 1, 2**64,
]  # fmt: skip
NOT_INTS = ["", "abc", "1.5", "1e3", " 1", "1 ", "+1", "-0", "00", "01", "0x10", "-", "9" * 30, "1\x00", "inf", "nan"]
FLOATS = [
    "0", "-0", "1", "3.0e3", "0.1", "1.5", "-1.5", "1e10", "5e-324", "1e308", "-1e308", "1e400", "inf", "-inf", "+inf",
    "nan", "", "abc", "1,5", " 1", "1 ", "0x1p3", "123456789012345678", "0.000000000000000001", "3.14159265358979323846",
    "1e17", "1e-17", "10.00", ".5", "5.", "1e", "17179869184.5",
]  # fmt: skip
FAR_SECONDS, FAR_MS = 100_000, 100_000_000


class Second(list):
    """A call of the second connection."""


class Generator(BitCalls, HashCalls, ListCalls, SetCalls, StreamCalls, SortedSets, SortCalls, GeoCalls):
    def __init__(self, seed, classic, one_tag):
        self.rng = random.Random(seed)
        self.classic = classic
        self.one_tag = one_tag
        names = ["a", "b", "c", "d", "e"]
        if one_tag:
            self.keys = ["{t}%s" % n for n in names] + ["t", "x{t}" + "long" * 8]
        else:
            self.keys = ["key:%d" % i for i in range(12)]
        self.now = int(time.time())
        self.typed = not classic and self.pick([None, None, None, "zset", "geo"])  # of sorted sets
        self.inside = set()  # which connections, first or second, are between MULTI and EXEC

    # ---- arguments -----------------------------------------------------------------------------------------------

    def pick(self, items):
        return self.rng.choice(items)

    def chance(self, p):
        return self.rng.random() < p

    def key(self):
        return self.pick(self.keys)

    def integer(self):
        p = self.rng.random()
        if p < 0.5:
            return str(self.rng.randrange(-20, 30))
        if p < 0.9:
            return str(self.pick(INTS))
        return self.pick(NOT_INTS)

    def small(self):
        return str(self.rng.randrange(-3, 12)) if self.chance(0.8) else self.integer()

    def value(self):
        p = self.rng.random()
        if p < 0.25:
            return self.pick(["foo", "bar", "hello world", "", "a", "ohmytext", "mynewtext"])
        if p < 0.5:
            return str(self.pick(INTS))
        if p < 0.6:
            return self.pick(NOT_INTS + FLOATS)
        if p < 0.7:
            return str(self.rng.randrange(10000))
        if p < 0.85:
            return bytes(self.rng.randrange(256) for _ in range(self.rng.randrange(12)))
        if p < 0.99:
            return "v" * self.pick([20, 21, 39, 40, 43, 44, 45, 60, 62, 63, 64, 65, 80, 95, 100, 110, 120, 128, 200])
        return "big" * 1500

    def floats(self):
        return FLOATS

    def option(self, *words):
        """A word, in any case."""
        word = self.pick(words)
        p = self.rng.random()
        if p < 0.2:
            return word.lower()
        if p < 0.25:
            return word.capitalize()
        return word

    def seconds(self):
        if self.chance(0.7):
            return str(FAR_SECONDS + self.rng.randrange(1000))
        return str(self.pick([x for x in INTS if not 0 < x < 100] + [2**53 // 1000, LLONG_MAX // 1000])) if self.chance(0.7) else self.pick(NOT_INTS)

    def milliseconds(self):
        if self.chance(0.7):
            return str(FAR_MS + self.rng.randrange(10_000_000))
        return str(self.pick([x for x in INTS if not 0 < x < 10_000])) if self.chance(0.7) else self.pick(NOT_INTS)

    def at_seconds(self):
        if self.chance(0.7):
            return str(self.now + FAR_SECONDS + self.rng.randrange(1000))
        return str(self.pick(INTS)) if self.chance(0.7) else self.pick(NOT_INTS)

    def at_milliseconds(self):
        if self.chance(0.7):
            return str((self.now + FAR_SECONDS) * 1000 + self.rng.randrange(1000_000))
        return str(self.pick(INTS)) if self.chance(0.7) else self.pick(NOT_INTS)

    def expiry(self, keepttl=True, persist=False):
        words = ["EX", "PX", "EXAT", "PXAT"] + (["KEEPTTL"] if keepttl else []) + (["PERSIST"] if persist else [])
        word = self.pick(words)
        if word in ("KEEPTTL", "PERSIST"):
            return [self.option(word)]
        value = {
            "EX": self.seconds,
            "PX": self.milliseconds,
            "EXAT": self.at_seconds,
            "PXAT": self.at_milliseconds,
        }[word]()
        return [self.option(word), value]

    def some(self, make, low=1, high=4):
        out = []
        for _ in range(self.rng.randint(low, high)):
            got = make()
            out += got if isinstance(got, list) else [got]
        return out

    def db(self):
        p = self.rng.random()
        if p < 0.6:
            return self.pick(["0", "1", "9"])
        return self.pick(["15", "16", "-1", "abc", "", "2147483648", str(LLONG_MAX), "1.0", "00"])

    def pattern(self):
        return self.pick(["*", "", "?", "{t}*", "*a", "key:[0-5]", "key:[^0]", "*[a-b", "\\*", "t", "k*y:?", "**a", "[]", "*" * 20 + "b"])

    def cursor(self):
        return "0" if self.chance(0.6) else self.pick(["abc", "-1", "", "99999999999999999999", "1.5", " 0", "+0", "0x1"])

    # ---- string ------------------------------------------------------------------------------------------------------

    def c_set(self):
        args = ["SET", self.key(), self.value()]
        options = []
        if self.chance(0.4):
            options.append([self.option("NX", "XX")])
        if not self.classic and self.chance(0.2):
            options.append([self.option("IFEQ"), self.value()])
        if self.chance(0.25):
            options.append([self.option("GET")])
        if self.chance(0.4):
            options.append(self.expiry())
        if self.chance(0.05):
            options.append(self.expiry())
        self.rng.shuffle(options)
        return args + sum(options, [])

    def c_set_plain(self):
        return ["SET", self.key(), self.value()]

    def c_get(self):
        return [self.pick(["GET", "GETDEL", "STRLEN", "INCR", "DECR"]), self.key()]

    def c_getex(self):
        return ["GETEX", self.key()] + (self.expiry(keepttl=self.chance(0.05), persist=True) if self.chance(0.8) else [])

    def c_setx(self):
        name = self.pick(["SETEX", "PSETEX"])
        return [name, self.key(), self.seconds() if name == "SETEX" else self.milliseconds(), self.value()]

    def c_two(self):
        return [self.pick(["SETNX", "GETSET", "APPEND"]), self.key(), self.value()]

    def c_incr(self):
        return [self.pick(["INCRBY", "DECRBY"]), self.key(), self.integer()]

    def c_incrbyfloat(self):
        return ["INCRBYFLOAT", self.key(), self.pick(FLOATS) if self.chance(0.7) else self.integer()]

    def c_range(self):
        return [self.pick(["GETRANGE", "SUBSTR"]), self.key(), self.small(), self.small()]

    def c_setrange(self):
        return ["SETRANGE", self.key(), self.small(), self.value()]

    def c_mget(self):
        return ["MGET"] + self.some(self.key)

    def c_mset(self):
        return [self.pick(["MSET", "MSETNX"])] + self.some(lambda: [self.key(), self.value()])

    def c_msetex(self):
        pairs = self.some(lambda: [self.key(), self.value()])
        count = str(len(pairs) // 2) if self.chance(0.85) else self.integer()
        options = []
        if self.chance(0.4):
            options.append([self.option("NX", "XX")])
        if self.chance(0.5):
            options.append(self.expiry())
        if self.chance(0.05):
            options.append(self.expiry())
        self.rng.shuffle(options)
        return ["MSETEX", count] + pairs + sum(options, [])

    def c_delifeq(self):
        return ["DELIFEQ", self.key(), self.value()]

    def c_set_delifeq(self):
        """A value and the same value again, so that the comparing commands also say yes."""
        key, value = self.key(), self.value()
        again = self.pick([["DELIFEQ", key, value], ["SET", key, self.value(), "IFEQ", value], ["SET", key, "new", "GET", "IFEQ", value]])
        return [["SET", key, value], again]

    def c_lcs(self):
        options = []
        if self.chance(0.4):
            options.append([self.option("LEN")])
        if self.chance(0.4):
            options.append([self.option("IDX")])
        if self.chance(0.3):
            options.append([self.option("MINMATCHLEN"), self.small()])
        if self.chance(0.3):
            options.append([self.option("WITHMATCHLEN")])
        self.rng.shuffle(options)
        return ["LCS", self.key(), self.key()] + sum(options, [])

    # ---- generic ----------------------------------------------------------------------------------------------------

    def c_del(self):
        return [self.pick(["DEL", "UNLINK", "EXISTS", "TOUCH"])] + self.some(self.key)

    def c_del_one(self):
        return [self.pick(["DEL", "UNLINK", "EXISTS", "TOUCH"]), self.key()]

    def c_expire(self):
        name = self.pick(["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"])
        value = {
            "EXPIRE": self.seconds,
            "PEXPIRE": self.milliseconds,
            "EXPIREAT": self.at_seconds,
            "PEXPIREAT": self.at_milliseconds,
        }[name]()
        options = [self.option(w) for w in ("NX", "XX", "GT", "LT") if self.chance(0.2)]
        self.rng.shuffle(options)
        return [name, self.key(), value] + options

    def c_ttl(self):
        return [self.pick(["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "PERSIST", "TYPE"]), self.key()]

    def c_rename(self):
        return [self.pick(["RENAME", "RENAMENX"]), self.key(), self.key()]

    def c_copy(self):
        args = ["COPY", self.key(), self.key()]
        options = []
        if self.chance(0.3):
            options.append([self.option("DB"), self.db()])
        if self.chance(0.4):
            options.append([self.option("REPLACE")])
        self.rng.shuffle(options)
        return args + sum(options, [])

    def c_move(self):
        return ["MOVE", self.key(), self.db()]

    def c_object(self):
        return ["OBJECT", self.option("ENCODING", "REFCOUNT", "IDLETIME", "FREQ"), self.key()]

    def c_keys(self):
        return ["KEYS", self.pattern()]

    def c_scan(self):
        options = []
        if self.chance(0.4):
            options.append([self.option("MATCH"), self.pattern()])
        if self.chance(0.4):
            options.append([self.option("COUNT"), self.pick(["10", "1000", "1", "0", "-1", "abc", str(LLONG_MAX), str(2**63), str(2**31)])])
        if self.chance(0.4):
            options.append([self.option("TYPE"), self.pick(["string", "STRING", "list", "foo", ""])])
        self.rng.shuffle(options)
        return ["SCAN", self.cursor()] + sum(options, [])

    def c_global(self):
        return self.pick([["DBSIZE"], ["RANDOMKEY"], ["DBSIZE"], ["TIME"]])

    def c_flush(self):
        return [self.pick(["FLUSHDB", "FLUSHALL"])] + self.pick([[], ["SYNC"], ["ASYNC"], ["async"], ["FOO"], ["SYNC", "ASYNC"]])

    def c_swapdb(self):
        return ["SWAPDB", self.db(), self.db()]

    def c_wait(self):
        return ["WAIT", self.pick(["0", "0", "-1", "abc"]), self.pick(["0", "1", "-1", "abc", str(LLONG_MAX)])]

    # ---- connection and server --------------------------------------------------------------------------------------

    def c_select(self):
        return ["SELECT", self.db()]

    def c_connection(self):
        return self.pick(
            [
                ["PING"], ["PING", self.value()], ["ECHO", self.value()], ["CLIENT", "GETNAME"], ["CLIENT", "ID"],
                ["CLIENT", "SETNAME", self.pick(["name", "", "a b", "\x7f", "x\n", "ok"])], ["CLIENT", "GETREDIR"],
                ["CLIENT", "NO-EVICT", self.option("ON", "OFF", "X")], ["CLIENT", "UNBLOCK", self.integer()],
                ["CLIENT", "REPLY", "ON"], ["CLIENT", "KILL", "ID", self.pick(["0", "-1", "abc", "999999999"])],
                ["CLIENT", "LIST", "TYPE", self.pick(["foo", "replica", "pubsub"])],
                ["CLIENT", "LIST", "ID", self.pick(["abc", "-1", "0", "999999999"])],
                ["AUTH", "x"], ["AUTH", "default", "x"], ["AUTH", "no", "x"], ["AUTH", "a", "b", "c"],
                ["HELLO", self.pick(["abc", "1", "4", "-1", "", "3.0"])], ["HELLO", "2", self.pick(["AUTH", "SETNAME", "FOO"])],
                ["HELLO", "2", "SETNAME", "a b"], ["HELLO", "2", "AUTH", "x", "y"],
            ]
        )  # fmt: skip

    def c_connection_new(self):
        return self.pick(
            [
                ["CLIENT", "NO-TOUCH", self.option("ON", "OFF", "X")],
                ["CLIENT", "SETINFO", self.option("LIB-NAME", "LIB-VER", "X"), self.pick(["redis-py", "", "a b", "1.2\n"])],
                ["CLIENT", "CAPA", self.pick(["redirect", "foo"])],
                ["CLIENT", "LIST", self.pick(["USER", "NAME", "DB", "MAXAGE", "FLAGS", "IDLE", "LIB-NAME", "NOT-DB"]), self.pick(["", "abc", "-1", "Z"])],
                ["CLIENT", "KILL", self.pick(["DB", "MAXAGE", "FLAGS", "IDLE"]), self.pick(["", "abc", "-1", "Z"])],
            ]
        )  # fmt: skip

    def c_server(self):
        return self.pick(
            [
                ["CONFIG", "GET", self.pick(["maxmemory", "nosuch", "hz", "timeo*", "[", ""])],
                ["CONFIG", "SET", self.pick(["nosuch", "port", "databases", "hz", "timeout"]), self.pick(["abc", "", "-1", str(2**63)])],
                ["CONFIG", "SET", "timeout"], ["CONFIG", "GET"], ["CONFIG", "FOO"], ["CONFIG"],
                ["MEMORY", "USAGE", self.key()], ["MEMORY", "USAGE", self.key(), "SAMPLES", self.integer()],
                ["MEMORY", "FOO"], ["DEBUG", "SLEEP", "0"], ["DEBUG", "FOO"], ["COMMAND", "COUNT", "x"],
                ["COMMAND", "INFO", "nosuch"], ["COMMAND", "LIST", "FILTERBY", self.pick(["ACLCAT", "PATTERN", "MODULE", "X"]), self.pick(["nosuch", "gete*"])],
                ["SHUTDOWN", "ABORT"], ["SHUTDOWN", "FOO"], ["SHUTDOWN", "NOSAVE", "SAVE"], ["SHUTDOWN", "ABORT", "NOW"],
            ]
        )  # fmt: skip

    def c_getkeys(self):
        inner = self.call()
        return ["COMMAND", self.option("GETKEYS", "GETKEYSANDFLAGS")] + inner

    # ---- transactions ------------------------------------------------------------------------------------------------

    def single(self):
        """A call that is safe, perhaps broken."""
        while True:
            call = self.call()
            if self.chance(0.1):
                call = self.mutate(call)
            if self.is_safe(call) and not self.short_lived(call):
                return call

    def several_shards(self):
        """A call that needs more than one key, or all shards."""
        makers = [self.c_mget, self.c_mset, self.c_del, self.c_rename, self.c_copy, self.c_lcs, self.c_bitop, self.c_pfcount, self.c_pfmerge, self.c_lmove, self.c_xread, self.c_xreadgroup, self.c_global, self.c_flush, self.c_swapdb, self.c_keys]
        while True:
            call = self.pick(makers if self.classic else makers + [self.c_msetex, self.c_sort])()
            if self.is_safe(call) and not self.short_lived(call):
                return call

    def any_single(self):
        return self.several_shards() if self.chance(0.4) else self.single()

    def c_transaction(self):
        """WATCH, MULTI, what is queued, EXEC: each part now and then missing or in the wrong place, and calls or whole
        transactions of the second connection in between."""
        out = []
        if self.chance(0.5):
            out += [["WATCH"] + self.some(self.key, 1, 5) for _ in range(self.pick([1, 1, 2]))]
            if self.chance(0.3):
                out.append(self.any_single())
            if self.chance(0.1):
                out.append(["UNWATCH"])
        out.append(["MULTI"] if self.chance(0.98) else ["MULTI", "x"])
        out += [self.any_single() for _ in range(self.rng.randrange(9))]
        if self.chance(0.15):
            breaks = [["NOSUCH", "x"], ["GET"], ["UNWATCH"], ["WATCH"], ["DISCARD", "x"], ["EXEC", "x"], ["MSET", self.key()], ["CLIENT", "NOSUCH"]]
            breaks += [["MULTI"], ["WATCH", self.key()], ["CLIENT", "REPLY", "SKIP"], ["SHUTDOWN", "FOO"]]
            out.insert(self.rng.randrange(len(out)) + 1, self.pick(breaks))
        end = self.pick([["DISCARD"], ["DISCARD"], ["RESET"], None]) if self.chance(0.12) else ["EXEC"]
        if end:
            out.append(end)
        while self.chance(0.5):
            between = [self.any_single()]
            if self.chance(0.2):
                between = [["MULTI"], self.any_single(), self.several_shards(), ["EXEC"]]
            at = self.rng.randrange(len(out) + 1)
            out[at:at] = [Second(c) for c in between]
        return out

    def c_second(self):
        return Second(self.any_single())

    def out_of_place(self, call):
        """Nothing that closes a connection or silences it, and to Redis 7.0 nothing that it queues or refuses otherwise than
        Valkey, because it runs the rest of the transaction."""
        words = [str(a).upper() for a in call]
        second = isinstance(call, Second)
        is_inside = second in self.inside
        if words == ["MULTI"] and not is_inside:
            self.inside.add(second)
        elif words[0] in ("EXEC", "RESET") or words == ["DISCARD"]:
            self.inside.discard(second)
        elif words[:2] == ["CLIENT", "REPLY"] and words[2:] != ["ON"]:
            return self.classic or not is_inside
        elif is_inside and self.classic:
            return words[0] in ("MULTI", "WATCH", "SHUTDOWN", "COMMAND") or words[:2] == ["CLIENT", "REPLY"]
        return False

    # ---- sequences ---------------------------------------------------------------------------------------------------

    def families(self):
        if self.typed:  # what Redis 7.0 says of them is not compared
            others = [(6, self.c_del_one), (5, self.c_object), (3, self.c_ttl), (3, self.c_expire), (3, self.c_copy), (3, self.c_rename)]
            return (self.geo_families() if self.typed == "geo" else self.sorted_set_families()) + others + [(3, self.c_set_plain), (5, self.c_transaction), (2, self.c_second)]
        one_key = [
            (14, self.c_set), (6, self.c_set_plain), (10, self.c_get), (5, self.c_getex), (3, self.c_setx), (6, self.c_two),
            (5, self.c_incr), (4, self.c_incrbyfloat), (5, self.c_range), (4, self.c_setrange), (4, self.c_del_one),
            (7, self.c_expire), (7, self.c_ttl), (2, self.c_move), (4, self.c_object), (1, self.c_keys), (2, self.c_scan),
            (1, self.c_global), (0.3, self.c_flush), (0.5, self.c_swapdb), (0.5, self.c_wait), (2, self.c_select),
            (2, self.c_connection), (1, self.c_server),
        ]  # fmt: skip
        several = [(4, self.c_mget), (4, self.c_mset), (4, self.c_del), (4, self.c_rename), (4, self.c_copy), (4, self.c_lcs)]
        new = [(2, self.c_delifeq), (3, self.c_set_delifeq), (1, self.c_connection_new)]
        transactions = [(5, self.c_transaction), (2, self.c_second)]
        new_several = [(4, self.c_msetex)]
        of_types = self.bit_families() + self.hash_families() + self.list_families() + self.set_families() + self.stream_families()
        return one_key + several + of_types + transactions + ([] if self.classic else new + new_several + self.sort_families())

    def call(self):
        while True:
            family = self._pick_family()
            if family not in (self.c_transaction, self.c_second):
                got = family()
                if not isinstance(got[0], list):
                    return got

    def _pick_family(self):
        families = self.families()
        return self.rng.choices([f for _, f in families], [w for w, _ in families])[0]

    def mutate(self, call):
        """Break a call in one place; the command name stays, so that nothing unlisted can run."""
        call = list(call)
        kind = self.rng.randrange(6)
        at = self.rng.randrange(1, len(call)) if len(call) > 1 else None
        if kind == 0 or at is None:
            call.append(self.pick(["", "FOO", "NX", "GET", "0", self.integer(), "EX"]))
        elif kind == 1:
            del call[at]
        elif kind == 2:
            call.insert(at, call[at])
        elif kind == 3:
            call[at] = self.integer()
        elif kind == 4:
            other = self.rng.randrange(1, len(call))
            call[at], call[other] = call[other], call[at]
        else:
            call[at] = self.pick(["", "EX", "KEEPTTL", "GET", "abc", "*"])
        return call

    def is_int64(self, text):
        """A number that does not fit into 33 bits."""
        try:
            return 2**33 <= abs(int(text)) < 2**64
        except ValueError:
            return False

    def is_huge(self, text, most):
        """An offset up to which a string would grow that takes long to compare."""
        try:
            return most < int(text) < 2**33
        except ValueError:
            return False

    def is_safe(self, call):
        """Nothing that stops, blocks or disconnects, not even after a mutation."""
        words = [str(a, "latin1").upper() if isinstance(a, bytes) else str(a).upper() for a in call]
        name, sub = words[0], words[1] if len(words) > 1 else ""
        if name == "SHUTDOWN":
            return len(words) > 1 and any(w in ("ABORT", "FOO") for w in words[1:]) or words[1:] == ["NOSAVE", "SAVE"]
        if name == "WAIT":
            return len(words) < 3 or words[1] in ("0", "-1", "ABC", "") or len(words) > 3
        if name == "CLIENT":
            if sub == "KILL":
                return len(words) <= 2 or words[2] in ("ID", "DB", "MAXAGE", "FLAGS", "IDLE") and words[3:4] != [] and (
                    words[3] in ("0", "-1", "ABC", "999999999", "") and not (words[2] in ("DB", "IDLE", "MAXAGE") and words[3] == "0" or words[2:4] == ["FLAGS", ""])
                )
            return sub not in ("PAUSE",) and not (sub == "REPLY" and words[2:] != ["ON"])
        if name == "HELLO":
            return sub not in ("2", "3") or len(words) > 2
        if name == "DEBUG":
            return words == ["DEBUG", "SLEEP", "0"] or sub == "FOO"
        if name == "CONFIG" and sub == "SET":
            return len(words) < 4 or words[3] in ("ABC", "", "-1", str(2**63)) or words[2] == "NOSUCH" or "-MAX-" in words[2]
        if name in ("SPOP", "SRANDMEMBER"):
            return self.is_drawn_alike(words)
        if name == "COMMAND" and sub in ("INFO", "DOCS", "LIST", "COUNT", ""):
            return len(words) > 2
        if name == "COMMAND" and len(words) < 3:
            return sub in ("GETKEYS", "GETKEYSANDFLAGS", "FOO")
        if name == "ZRANDMEMBER" and len(words) > 2:
            return not re.fullmatch(r"-\d{4,}", words[2])
        if name == "SETRANGE" and len(words) > 2:
            return not self.is_huge(words[2], 200_000)
        if name == "LSET" and len(words) > 2:  # of which Valkey takes the lower 32 bits
            return not self.is_huge(words[2].lstrip("-"), 2**31 - 1) and not self.is_int64(words[2])
        if name == "XADD" and "*" in words or name in ("XREAD", "XREADGROUP") and "BLOCK" in words:
            return False
        if name in ("SETBIT", "BITFIELD"):
            return not any(self.is_huge(word.strip("#"), 20_000) for word in words[2:])
        return True

    def short_lived(self, call):
        """A deadline so near that the key would expire while the sequence runs."""
        words = [str(a, "latin1").upper() if isinstance(a, bytes) else str(a).upper() for a in call]

        def between(text, low, high):
            try:
                return low < int(text) < high
            except ValueError:
                return False

        limits = {"EX": (0, 1000), "PX": (0, 1_000_000)}
        if words[0] == "MSETEX":  # the original counts what was past when it was written until somebody looks at it
            limits.update({"EXAT": (0, self.now), "PXAT": (0, self.now * 1000)})
        for word, value in zip(words, words[1:]):
            if word in limits and between(value, *limits[word]):
                return True
        if words[0] in ("EXPIRE", "SETEX", "HEXPIRE") and len(words) > 2:
            return between(words[2], 0, 1000)
        if words[0] in ("PEXPIRE", "PSETEX", "HPEXPIRE") and len(words) > 2:
            return between(words[2], 0, 1_000_000)
        return False

    def sequence(self, length):
        out = self.c_zsizes() if self.typed else []
        while len(out) < length:
            if self.chance(0.04):
                got = [self.c_getkeys()]
            else:
                got = self._pick_family()()
                got = got if isinstance(got[0], list) else [got]
            made = any(isinstance(c, Second) or c[0] in ("MULTI", "WATCH") for c in got)  # of calls that are safe
            if self.chance(0.12) and not made:
                got[-1] = self.mutate(got[-1])
            if made or all(self.is_safe(c) and not self.short_lived(c) for c in got):
                out += [c for c in got if not self.out_of_place(c)]
        return out
