# SPDX-License-Identifier: BSD-3-Clause
"""workload: what the clients of the checker's runs ask for, and how it is written into a history.

A workload is a function that picks one thing to do and yields lists of requests; what comes back is their parsed outcome.
It knows nothing of sockets: the same workloads go through raw pipelines and through redis-py (clients.py). The text of a step
is that of history.h.

Every value is a number of ten digits that nobody else writes: the client, its life, and a running number.
"""

import random

from slots import slot

DIGITS = 10
SLOTS = 16384
LIST_SECONDS = 0.4  # then everybody goes on with lists of another name: those that are read whole must stay short


def spread_names(prefix, count):
    """Names whose slots lie evenly over all slots, so that any number of shards gets its share."""
    names = []
    for i in range(count):
        low, high = i * SLOTS // count, (i + 1) * SLOTS // count
        names.append(next(n for n in ("%s%d_%d" % (prefix, i, j) for j in range(100000)) if low <= slot(n.encode()) < high))
    return names


class Keys:
    """The keys of a round: few, so that clients meet."""

    def __init__(self):
        self.registers = spread_names("x", 4)
        self.group = spread_names("m", 4)  # mostly written together, on several shards
        self.near = ["n%d{one}" % i for i in range(3)]  # on one shard
        self.watched = spread_names("w", 3) + ["w{one}"]
        self.moved = spread_names("a", 2)  # the first is renamed to the second
        self.data = spread_names("d", 4)  # written in one pipeline with a pointer, which comes behind it
        self.pointers = spread_names("p", 4)
        self.counters = spread_names("c", 2) + ["c{one}"]
        self.lists = spread_names("l", 4) + ["l0{one}", "l1{one}"]  # strings that are appended to
        self.queues = spread_names("q", 4) + ["q0{one}", "q1{one}"]  # lists that are pushed to
        self.hashes = spread_names("h", 3)  # a field that is a register
        self.zsets = spread_names("z", 3)  # a member whose score is one
        self.named = spread_names("k", 4)  # registers that are read by SORT: elements of a set name them
        self.stored = spread_names("u", 2)  # the second gets what the first has, by a store
        self.sets = spread_names("s", 4)  # counters: each member is added by one client alone, to the set that its number names


class Request:
    """One operation of a history, or None as its label for what is none (WATCH).

    steps: what it is about to do; parse(replies of its commands) -> the steps with what was seen, or None when it did
    nothing (EXEC's nil is told apart before). multi: the commands go between MULTI and EXEC.
    """

    gives_up = None  # the text of an error that says that it did nothing

    def __init__(self, label, steps, commands, parse, multi=False):
        self.label = label
        self.steps = steps
        self.commands = commands
        self.parse = parse
        self.multi = multi


class BadReply(Exception):
    """A reply that no correct server gives."""


def number(reply):
    if reply is None:
        return "nil"
    if len(reply) != DIGITS:
        raise BadReply("a value of %d bytes: %r" % (len(reply), reply))
    return "%d" % int(reply)


def tokens(reply):
    if reply is None:
        return ""
    if len(reply) % DIGITS:
        raise BadReply("a list of %d bytes: %r" % (len(reply), reply))
    return ",".join("%d" % int(reply[i : i + DIGITS]) for i in range(0, len(reply), DIGITS))


def elements(reply):
    if any(len(element) != DIGITS for element in reply):
        raise BadReply("a list has %r" % reply)
    return ",".join("%d" % int(element) for element in reply)


def place(reply):
    if reply % DIGITS:
        raise BadReply("APPEND answers %r" % reply)
    return reply // DIGITS


# ---- Steps: (command, its text before, function of its reply to its text after) --------------------------------------


def do_set(key, value):
    text = "w:%s=%s" % (key, value)
    return ("SET", key, value), text, lambda reply: text


def do_get(key):
    return ("GET", key), "", lambda reply: "r:%s=%s" % (key, number(reply))


def do_append(key, value):
    return ("APPEND", key, value), "a:%s=%s" % (key, value), lambda reply: "a:%s=%s@%d" % (key, value, place(reply))


def do_list(key):
    return ("GET", key), "", lambda reply: "l:%s=%s" % (key, tokens(reply))


def do_push(key, value):
    return ("RPUSH", key, value), "a:%s=%s" % (key, value), lambda reply: "a:%s=%s@%d" % (key, value, reply)


def do_range(key):
    return ("LRANGE", key, "0", "-1"), "", lambda reply: "l:%s=%s" % (key, elements(reply))


def do_read_list(key):
    """A string that was appended to, a list that was pushed to or a stream, whichever it is by its name."""
    if key.endswith("x"):
        return do_xrange(key)
    return do_range(key) if key.split(".", 1)[-1 if key.startswith("g") else 0].startswith("q") else do_list(key)


def do_push_by_way(key, value):
    """The same as do_push, in steps of a transaction: the element comes to its list from another one, mostly of another shard."""
    way = "way:" + value

    def step(*command):
        return command, "", lambda reply: ""

    if int(value) % 2:
        moves = [step("LMOVE", way, key, "LEFT", "RIGHT")]
    else:  # to the head, and from there to the tail
        moves = [step("RPOPLPUSH", way, key), step("LMOVE", key, key, "LEFT", "RIGHT")]
    return [step("RPUSH", way, value)] + moves + [(("LLEN", key), "a:%s=%s" % (key, value), lambda reply: "a:%s=%s@%d" % (key, value, reply))]


def do_incr(key):
    return ("INCR", key), "i:%s=?" % key, lambda reply: "i:%s=%d" % (key, reply)


def do_count(key):
    return ("GET", key), "", lambda reply: "c:%s=%d" % (key, int(reply or 0))


def do_getset(key, value):
    text = "w:%s=%s" % (key, value)
    return ("GETSET", key, value), text, lambda reply: "r:%s=%s %s" % (key, number(reply), text)


def do_mset(keys, value):
    text = " ".join("w:%s=%s" % (k, value) for k in keys)
    return ("MSET", *[x for k in keys for x in (k, value)]), text, lambda reply: text


def do_mget(keys):
    return ("MGET", *keys), "", lambda reply: " ".join("r:%s=%s" % (k, number(v)) for k, v in zip(keys, reply))


def do_lists(keys):
    return ("MGET", *keys), "", lambda reply: " ".join("l:%s=%s" % (k, tokens(v)) for k, v in zip(keys, reply))


def do_sort():
    """The registers that the elements name, at one moment, and in the order that they had then."""

    def parse(reply):
        names, values = [b"k" + name for name in reply[::2]], [number(value) for value in reply[1::2]]
        weights = [0 if value == "nil" else int(value) for value in values]
        if weights != sorted(weights):
            raise BadReply("SORT answers %r" % (reply,))
        return " ".join("r:%s=%s" % (name.decode(), value) for name, value in zip(names, values))

    return ("SORT_RO", "names", "BY", "k*", "GET", "#", "GET", "k*"), "", parse


def do_moved_get(key):
    """What was renamed carries two values: the one it had, and the one that was appended."""

    def parse(reply):
        if reply is not None and len(reply) not in (DIGITS, 2 * DIGITS):
            raise BadReply("%s has %d bytes: %r" % (key, len(reply), reply))
        return "r:%s=%s" % (key, number(reply and reply[-DIGITS:]))

    return ("GET", key), "", parse


def whole_number(score):
    """A score as a value: ten digits that have no leading zeros."""
    if score is None:
        return "nil"
    text = score.decode() if isinstance(score, bytes) else "%d" % score
    if not text.isdigit():
        raise BadReply("a score of %r" % (score,))
    return text


def do_xadd(key, value):
    text = "a:%s=%s" % (key, value)
    return ("XADD", key, "*", "t", value), text, lambda reply: text


def do_xrange(key):
    return ("XRANGE", key, "-", "+"), "", lambda reply: "l:%s=%s" % (key, ",".join(number(field(e[1])) for e in reply))


def field(fields):
    """Of a stream's entry that has one: redis-py makes a dictionary of it."""
    return fields[b"t"] if isinstance(fields, dict) else fields[1]


def do_hset(key, value):
    text = "w:%s=%s" % (key, value)
    return ("HSET", key, "f", value), text, lambda reply: text


def do_hget(key):
    return ("HGET", key, "f"), "", lambda reply: "r:%s=%s" % (key, number(reply))


def do_zadd(key, value):
    text = "w:%s=%d" % (key, int(value))
    return ("ZADD", key, "%d" % int(value), "m"), text, lambda reply: text


def do_zscore(key):
    return ("ZSCORE", key, "m"), "", lambda reply: "r:%s=%s" % (key, whole_number(reply))


def do_sadd(key, value):
    def parse(reply):
        if reply != 1:
            raise BadReply("SADD of a new member answers %r" % (reply,))
        return "i:%s=?" % key

    return ("SADD", key, value), "i:%s=?" % key, parse


def do_scard(key):
    return ("SCARD", key), "", lambda reply: "c:%s=%d" % (key, reply)


def do_sunion(keys):
    """All sets at one moment: how many members of each there are."""

    def parse(reply):
        counts = [0] * len(keys)
        for member in reply:
            counts[int(member) % len(keys)] += 1
        return " ".join("c:%s=%d" % pair for pair in zip(keys, counts))

    return ("SUNION", *keys), "", parse


def one(step, label=None):
    command, text, parse = step
    return Request(label or command[0], text, [command], lambda replies: parse(replies[0]))


def transaction(steps, label="EXEC"):
    def parse(replies):
        return " ".join(x for x in (p(r) for (_, _, p), r in zip(steps, replies)) if x)

    return Request(label, " ".join(t for _, t, _ in steps if t), [c for c, _, _ in steps], parse, multi=True)


# ---- Scripts -------------------------------------------------------------------------------------------------------------

# Runs the commands that stand in ARGV, each behind the number of its words, and gives their replies.
RUNS = """local out, at = {}, 1
while at <= #ARGV do
  out[#out + 1] = redis.call(unpack(ARGV, at + 1, at + ARGV[at]))
  at = at + ARGV[at] + 1
end
return out"""
GIVES_UP = "Script has written, and so has another one"


def do_script(steps, keys, variant, dirt=None):
    """All steps at one moment. Scripts of another `variant` are others to the server: what it has learned of one it does not know of
    them. dirt: a key of its own that it counts up first."""
    commands = ([("INCR", dirt)] if dirt else []) + [c for c, _, _ in steps]
    words = [str(w) for c in commands for w in (len(c), *c)]
    texts = " ".join(t for _, t, _ in steps if t)

    def parse(reply):
        if not isinstance(reply, list) or len(reply) != len(commands):
            raise BadReply("%d replies wanted: %r" % (len(commands), reply))
        return " ".join(x for x in (p(r) for (_, _, p), r in zip(steps, reply[len(commands) - len(steps) :])) if x)

    return ("EVAL", "-- %s\n%s" % (variant, RUNS), str(len(keys)), *keys, *words), texts, parse


def keys_of(steps):
    """What a step's command names."""
    found = []
    for command, _, _ in steps:
        found += command[1::2] if command[0] == "MSET" else command[1:] if command[0] == "MGET" else command[1:2]
    return sorted(set(found))


# ---- Workloads -----------------------------------------------------------------------------------------------------------


class Workload:
    """What one client does. `names`: which of the workloads below the server can do."""

    def __init__(self, keys, names, seed, value_first, clock):
        self.keys = keys
        self.random = random.Random(seed)
        self.names = names
        self.value = value_first
        self.clock = clock  # seconds since the round began

    def new_value(self):
        self.value += 1
        return "%0*d" % (DIGITS, self.value)

    def some(self, names, most):
        return self.random.sample(names, self.random.randint(1, min(most, len(names))))

    def list_name(self, names=None):
        name = self.random.choice(names or self.keys.lists)
        return "%s.%d" % (name, self.clock() / LIST_SECONDS) if "{" not in name else "g%d.%s" % (self.clock() / LIST_SECONDS, name)

    def next(self):
        """Generator of lists of requests."""
        return getattr(self, self.random.choice(self.names))()

    def register_step(self):
        key = self.random.choice(self.keys.registers)
        what = self.random.randrange(5)
        if what < 2:
            return do_get(key)
        return do_set(key, self.new_value()) if what < 4 else do_getset(key, self.new_value())

    def register(self):
        yield [one(self.register_step())]

    def counter(self):
        key = self.random.choice(self.keys.counters)
        yield [one(do_incr(key) if self.random.randrange(3) else do_count(key))]

    def append(self):
        key = self.list_name()
        yield [one(do_append(key, self.new_value()) if self.random.randrange(2) else do_list(key))]

    def queue_name(self):
        return self.list_name(self.keys.queues)

    def push(self):
        key = self.queue_name()
        yield [one(do_push(key, self.new_value()) if self.random.randrange(2) else do_range(key))]

    def push_multi(self):
        """Pushes to lists on any shards and reads others, all at one moment."""
        steps = []
        for _ in range(self.random.randint(1, 4)):
            what = self.random.randrange(4)
            if what == 0:
                steps.append(do_push(self.queue_name(), self.new_value()))
            elif what == 1:
                steps += do_push_by_way(self.queue_name(), self.new_value())
            else:
                steps.append(do_range(self.queue_name()))
        yield [transaction(steps)]

    def pipeline(self):
        requests = []
        for _ in range(self.random.randint(2, 8)):
            what = self.random.randrange(4)
            if what == 0:
                requests.append(one(do_incr(self.random.choice(self.keys.counters))))
            elif what == 1 and "push" in self.names and self.random.randrange(2):
                requests.append(one(do_push(self.queue_name(), self.new_value())))
            elif what == 1:
                requests.append(one(do_append(self.list_name(), self.new_value())))
            elif what == 2 and "mset" in self.names:
                requests.append(one(self.mset_step()))
            else:
                requests.append(one(self.register_step()))
        yield requests

    def pointer(self):
        """Writes data and then the pointer to it; or waits for a pointer, so to speak, and follows it."""
        data, pointer = self.random.choice(self.keys.data), self.random.choice(self.keys.pointers)
        if self.random.randrange(2):
            yield [one(do_set(data, self.new_value())), one(do_set(pointer, self.new_value()))]
            return
        yield [one(do_get(pointer))]
        yield [one(do_get(data))]

    def mset_step(self):
        keys = self.keys.near if self.random.randrange(4) == 0 else self.keys.group
        if self.random.randrange(4):
            keys = list(keys)
            self.random.shuffle(keys)
        else:
            keys = self.some(keys, len(keys))
        return do_mset(keys, self.new_value()) if self.random.randrange(2) else do_mget(keys)

    def mset(self):
        yield [one(self.mset_step())]

    def lists(self):
        yield [one(do_lists(sorted({self.list_name() for _ in range(4)})))]

    def multi(self):
        yield [transaction(self.steps())]

    def script(self):
        """Several steps in a script: with all keys declared, on one shard or on many; with none; in EXEC, with other commands; one that
        the server takes for one of its own key, and that then looks elsewhere, before or behind its first write. Of that one only the
        last step writes what others see: if two such scripts are in each other's way, one ends with what it has done till then."""
        what, variant = self.random.randrange(6), self.random.randrange(4)
        steps = self.steps()
        if what == 0:
            yield [one(do_script(steps, keys_of(steps), "declared %d" % variant))]
        elif what == 1:
            yield [one(do_script(steps, [], "nothing declared %d" % variant))]
        elif what == 2:
            near = [do_append(self.list_name([n for n in self.keys.lists if "{" in n]), self.new_value()), do_incr("c{one}")]
            yield [one(do_script(near, ["c{one}"], "near"))]
        elif what == 3:
            yield [transaction(self.steps()[:2] + [do_script(steps, keys_of(steps)[:1], "in exec %d" % variant)] + self.steps()[:2])]
        else:
            value = self.new_value()
            dirt = "dirt:" + value
            steps = [do_list(self.list_name()) for _ in range(self.random.randrange(3))] + [self.random.choice((self.register_step, self.mset_step))()]
            last = one(do_script(steps, [dirt], value, dirt if what == 4 else None))
            last.gives_up = GIVES_UP
            yield [Request(None, "", [do_script([], [dirt], value, dirt)[0]], lambda replies: ""), last]

    def steps(self):
        steps = []
        for _ in range(self.random.randint(1, 6)):
            what = self.random.randrange(9)
            if what < 3:
                steps.append(do_append(self.list_name(), self.new_value()))
            elif what < 5:
                steps.append(do_list(self.list_name()))
            elif what < 6:
                steps.append(do_incr(self.random.choice(self.keys.counters)))
            elif what < 7:
                steps.append(self.register_step())
            else:
                steps.append(self.mset_step())
        return steps

    def watch(self):
        """Reads, thinks, and writes if nobody came between."""
        keys = self.some(self.keys.watched, 2)
        seen = yield [Request(None, "", [("WATCH", *keys)], lambda replies: "")] + [one(do_get(k)) for k in keys]
        written = keys if self.random.randrange(3) else [self.random.choice(keys)]
        value = self.new_value()
        # EXEC claims that what was read is still so.
        text = " ".join([read for read in seen if read] + ["w:%s=%s" % (k, value) for k in written])
        yield [Request("WATCH..EXEC", text, [("SET", k, value) for k in written], lambda replies: text, multi=True)]

    def move(self):
        """Takes a's value to b and gives a new one to a; no one may see a gone, or b half done."""
        a, b = self.keys.moved
        if self.random.randrange(2):
            yield [transaction([do_get(a), do_moved_get(b)])]
            return
        value = self.new_value()
        command = ("RENAME", a, b) if self.random.randrange(2) else ("COPY", a, b, "REPLACE")

        def moved(reply):
            if reply is None or len(reply) != 2 * DIGITS or reply[DIGITS:].decode() != value:
                raise BadReply("%s reads %r after %s and APPEND of %s in one EXEC" % (b, reply, command[0], value))
            return "w:%s=%s" % (b, value)

        steps = [
            do_get(a),
            (command, "", lambda reply: ""),
            (("APPEND", b, value), "w:%s=%s" % (b, value), lambda reply: ""),
            (("GET", b), "", moved),
            do_set(a, value),
        ]
        yield [transaction(steps)]


    def xadd(self):
        key = self.list_name() + "x"
        yield [one(do_xadd(key, self.new_value()) if self.random.randrange(2) else do_xrange(key))]

    def hash(self):
        key = self.random.choice(self.keys.hashes)
        yield [one(do_hset(key, self.new_value()) if self.random.randrange(2) else do_hget(key))]

    def zset(self):
        key = self.random.choice(self.keys.zsets)
        yield [one(do_zadd(key, self.new_value()) if self.random.randrange(2) else do_zscore(key))]

    def set(self):
        keys = self.keys.sets
        what = self.random.randrange(4)
        if what == 0:
            yield [one(do_sunion(keys))]
        elif what == 1:
            yield [one(do_scard(self.random.choice(keys)))]
        else:
            value = self.new_value()
            yield [one(do_sadd(keys[int(value) % len(keys)], value))]

    def sort(self):
        names = [key[1:] for key in self.keys.named]
        what = self.random.randrange(4)
        if what == 0:  # so that what a sort has found is no longer all
            yield [Request(None, "", [(self.random.choice(("SADD", "SREM")), "names", *self.some(names[1:], 2))], lambda replies: "")]
        elif what == 1:
            yield [one(do_mset(self.some(self.keys.named, 4), self.new_value()))]
        else:
            yield [Request(None, "", [("SADD", "names", names[0])], lambda replies: ""), one(do_sort())]

    def store(self):
        """b becomes what a is, then both get values of their own."""
        a, b = self.keys.stored
        if self.random.randrange(2):
            yield [transaction([do_zscore(a), do_zscore(b)])]
            return
        values = [self.new_value(), self.new_value()]
        seen = []

        def before(reply):
            seen.append(whole_number(reply))
            return "r:%s=%s" % (a, seen[-1])

        def stored(reply):
            if whole_number(reply) != seen[-1]:
                raise BadReply("%s has %r after a store of %s, which has %s" % (b, reply, a, seen[-1]))
            return ""

        steps = [
            (("ZSCORE", a, "m"), "", before),
            (("ZUNIONSTORE", b, "1", a), "", lambda reply: ""),
            (("ZSCORE", b, "m"), "", stored),
            do_zadd(b, values[0]),
            do_zadd(a, values[1]),
        ]
        yield [transaction(steps)]


# What each workload needs the server to answer without an error, on keys of several shards.
NEEDS = {
    "register": [["SET x0 1", "GETSET x0 2"]],
    "counter": [["INCR c0"]],
    "append": [["APPEND l0 1"]],
    "push": [["RPUSH q0 1", "LRANGE q0 0 -1"]],
    "push_multi": [["MULTI", "RPUSH p0 1", "LMOVE p0 p1 LEFT RIGHT", "RPOPLPUSH p1 p2", "LMOVE p2 p3 LEFT RIGHT", "LLEN p3", "LRANGE p3 0 -1", "EXEC", "DEL p3"]],
    "pipeline": [],
    "pointer": [],
    "mset": [["MSET p0 1 p1 1 p2 1 p3 1 p4 1 p5 1 p6 1 p7 1"], ["MGET p0 p1 p2 p3 p4 p5 p6 p7"]],
    "lists": [["MGET p0 p1 p2 p3 p4 p5 p6 p7"]],
    "multi": [["MULTI", "SET p0 1", "SET p1 1", "SET p2 1", "SET p3 1", "SET p4 1", "SET p5 1", "GET p6", "GET p7", "EXEC"]],
    "watch": [["WATCH p0 p1 p2 p3 p4 p5 p6 p7", "MULTI", "SET p0 1", "SET p1 1", "SET p2 1", "EXEC"]],
    "move": [
        ["SET %s 1" % a, "MULTI", "COPY %s %s REPLACE" % (a, b), "RENAME %s %s" % (a, b), "APPEND %s 1" % b, "SET %s 1" % a, "EXEC"]
        for a, b in [("p%d" % i, "p%d" % (i + 1)) for i in range(8)]
    ],
    "xadd": [["XADD x * t 1", "XRANGE x - +"]],
    "hash": [["HSET h f 1", "HGET h f"]],
    "zset": [["ZADD zz 1 m", "ZSCORE zz m"]],
    "set": [["SADD s0 1", "SCARD s0", "SUNION s0 s1 s2 s3 s4 s5 s6 s7"]],
    "sort": [["SADD names 1 2 3 4 5 6 7 8", "SORT_RO names BY k* GET # GET k*"]],
    "script": [["EVAL return{redis.call('SET',KEYS[1],1),redis.call('SET',ARGV[1],1)} 1 p%d p%d" % (i, i + 1)] for i in range(8)],
    "store": [["ZADD z%d 1 m" % i, "ZUNIONSTORE z%d 1 z%d" % (i + 1, i)] for i in range(8)],
}


def first_error(reply):
    """The text of the first error in a reply, or None."""
    if isinstance(reply, Exception):
        return str(reply)
    if isinstance(reply, list):
        return next((e for e in map(first_error, reply) if e), None)
    return None


def probe(raw):
    """({workloads that work}, {name: error of those that do not}). Leaves the server empty."""
    works, broken = [], {}
    for name, scripts in NEEDS.items():
        errors = [first_error(raw.do(*line.split())) for script in scripts for line in script]
        error = next((e for e in errors if e), None)
        if error:
            broken[name] = error
            raw.do("DISCARD")
            raw.do("UNWATCH")
        else:
            works.append(name)
    raw.do("FLUSHALL")
    return works, broken
