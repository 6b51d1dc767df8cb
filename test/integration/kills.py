# SPDX-License-Identifier: BSD-3-Clause
"""kills: histories of many clients over all shards while their server is killed, and what must be there afterwards.

Each client works on keys of its own, whose values say how far it has come, so what is there after a crash can be compared with
what was acknowledged, and what one client has seen of another's keys with what is left of them:
  - what was acknowledged is there, and nothing that was never sent;
  - a transaction over shards is there as a whole or not at all;
  - what somebody has read is there, and if what he wrote then is there, what he had read is.
"""

import random
import threading
import time

from resp import Raw, RespError, encode
from server import wait_for

COUNTERS = 4


class Client:
    """What it has sent and what was acknowledged: `sent` may be there, `acked` must."""

    def __init__(self, number, seed):
        self.number = number
        self.rng = random.Random(seed)
        self.sent = {}
        self.acked = {}
        self.history = {}  # key -> [(when it was acknowledged, value)]
        self.seen = {}  # key of another -> the largest value that was read
        self.noted_sent = {}  # own note -> {value of it: (key of another, value read)}
        self.pushed = set()
        self.pushed_acked = set()
        self.popped = set()
        self.pops_open = 0
        self.acks = 0

    def ack(self, key, value):
        self.acked[key] = max(self.acked.get(key, 0), value)
        self.history.setdefault(key, []).append((time.monotonic(), value))

    def acked_before(self, key, since):
        """What had been acknowledged by then; all, if that is None."""
        if since is None:
            return self.acked.get(key, 0)
        return max([value for when, value in self.history.get(key, []) if when < since] + [0])

    def key(self, i):
        return "c:%d:%d" % (self.number, i)

    # Each returns (commands, what to do with their replies).

    def op_incr(self, _others):
        key = self.key(self.rng.randrange(COUNTERS))
        self.sent[key] = self.sent.get(key, 0) + 1

        def over(replies):
            self.ack(key, int(replies[0]))

        return [("INCR", key)], over

    def op_multi(self, _others):
        names = ["t:%d:%d" % (self.number, i) for i in range(3)]
        self.sent[names[0]] = self.sent.get(names[0], 0) + 1

        def over(replies):
            self.ack(names[0], int(replies[-1][0]))

        n = self.sent[names[0]]
        return [("MULTI",), ("INCR", names[0]), ("RPUSH", names[1], n), ("HINCRBY", names[2], "n", 1), ("EXEC",)], over

    def op_mset(self, _others):
        names = ["m:%d:%d" % (self.number, i) for i in range(3)]
        self.sent[names[0]] = n = self.sent.get(names[0], 0) + 1

        def over(_replies):
            self.ack(names[0], n)

        return [("MSET", names[0], n, names[1], n, names[2], n)], over

    def op_note(self, others):
        """Reads a counter of somebody else, and writes down what it was."""
        other = self.rng.choice(others)
        key = other.key(self.rng.randrange(COUNTERS))
        return [("GET", key)], lambda replies: self.saw(key, int(replies[0] or 0))

    def saw(self, key, value):
        self.seen[key] = max(self.seen.get(key, 0), value)
        self.note = (key, value)

    def op_write_note(self, _others):
        key, value = getattr(self, "note", (self.key(0), 0))
        name = "n:%d" % self.number
        return [("SET", name, "%s %d" % (key, value))], lambda replies: None

    def op_push(self, _others):
        item = "%d-%d" % (self.number, self.rng.getrandbits(60))
        self.pushed.add(item)
        return [("LPUSH", "queue", item)], lambda replies: self.pushed_acked.add(item)

    def op_pop(self, _others):
        self.pops_open += 1

        def over(replies):
            self.pops_open -= 1
            if replies[0] is not None:
                self.popped.add(text(replies[0]))

        return [("RPOP", "queue")], over

    OPS = [op_incr, op_incr, op_multi, op_mset, op_note, op_write_note, op_push, op_pop]


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def has_error(reply):
    return isinstance(reply, RespError) or (isinstance(reply, list) and any(has_error(r) for r in reply))


def work(client, others, port, stop, refused):
    """Until the connection breaks."""
    try:
        with Raw(("127.0.0.1", port), timeout=60) as raw:
            while not stop.is_set():
                batch = [client.rng.choice(Client.OPS)(client, others) for _ in range(client.rng.choice([1, 1, 2, 8]))]
                for commands, _ in batch:
                    for command in commands:
                        raw.send(encode(*command))
                for commands, over in batch:
                    replies = [raw.read() for _ in commands]
                    if any(has_error(r) for r in replies):
                        refused.append(replies)
                        continue
                    over(replies)
                    client.acks += 1
    except (OSError, EOFError):
        pass


def run(clients, port, crash, seconds):
    """All clients at once; after so long `crash()` ends the server. Returns replies that were errors."""
    stop, refused = threading.Event(), []
    threads = [threading.Thread(target=work, args=(c, clients, port, stop, refused), daemon=True) for c in clients]
    for thread in threads:
        thread.start()
    stop.wait(seconds)
    crash()
    stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a client still waits for a server that has gone"
    return refused


def judge(client, key, value, lost_allowed, since):
    """Against what was acknowledged, and sent. From then on that is what counts."""
    least = client.acked_before(key, since) if not lost_allowed or since is not None else 0
    wrong = []
    if not least <= value <= client.sent.get(key, 0):
        wrong.append("%s is %d, acknowledged %d, sent %d" % (key, value, least, client.sent.get(key, 0)))
    client.sent[key] = client.acked[key] = value
    client.history[key] = [(0, value)]
    return wrong


def check(clients, port, lost_allowed=False, since=None):
    """What the server has now. `lost_allowed`: it need not have all that was acknowledged, but what was before `since`, unless
    that is None; and what it has must make sense. From then on that is what counts."""
    wrong = []
    with Raw(("127.0.0.1", port), timeout=60) as raw:

        def ask(*command):
            raw.send(encode(*command))
            return raw.read()

        assert wait_for(lambda: not has_error(ask("GET", "queue:none")), 120), "it loads for ever"
        values = {}
        for client in clients:
            for key in [client.key(i) for i in range(COUNTERS)]:
                values[key] = int(ask("GET", key) or 0)
                wrong += judge(client, key, values[key], lost_allowed, since)
            names = ["t:%d:%d" % (client.number, i) for i in range(3)]
            count = int(ask("GET", names[0]) or 0)
            parts = [count, ask("LLEN", names[1]), int(ask("HGET", names[2], "n") or 0)]
            if len(set(parts)) != 1:
                wrong.append("half a transaction of client %d: %s" % (client.number, parts))
            mset = [int(v or 0) for v in ask("MGET", *["m:%d:%d" % (client.number, i) for i in range(3)])]
            if len(set(mset)) != 1:
                wrong.append("half an MSET of client %d: %s" % (client.number, mset))
            for name, value in ((names[0], count), ("m:%d:0" % client.number, mset[0])):
                wrong += judge(client, name, value, lost_allowed, since)
        for client in clients:
            for key, value in client.seen.items():
                if values[key] < value and not lost_allowed:
                    wrong.append("client %d has seen %s at %d, it is %d" % (client.number, key, value, values[key]))
            note = text(ask("GET", "n:%d" % client.number))
            if note:
                key, value = note.rsplit(" ", 1)
                if values[key] < int(value):
                    wrong.append("client %d had written down that %s is %s, it is %d" % (client.number, key, value, values[key]))
            client.seen = {}
            client.note = (client.key(0), 0)
        wrong += check_queue(clients, [text(i) for i in ask("LRANGE", "queue", 0, -1)], lost_allowed)
    return wrong


def check_queue(clients, there, lost_allowed):
    wrong = []
    pushed = set().union(*[c.pushed for c in clients])
    acked = set().union(*[c.pushed_acked for c in clients])
    popped = set().union(*[c.popped for c in clients])
    open_pops = sum(c.pops_open for c in clients)
    if len(there) != len(set(there)):
        wrong.append("an element of the queue is there twice")
    if not set(there) <= pushed:
        wrong.append("elements that nobody has pushed: %s" % sorted(set(there) - pushed)[:5])
    if not lost_allowed:
        if set(there) & popped:
            wrong.append("elements that were popped are there again: %s" % sorted(set(there) & popped)[:5])
        lost = acked - popped - set(there)
        if len(lost) > open_pops:
            wrong.append("%d elements are lost, %d pops were under way" % (len(lost), open_pops))
    for client in clients:
        client.pushed &= set(there)
        client.pushed_acked = set(client.pushed)
        client.popped = set()
        client.pops_open = 0
    return wrong


# ---- One client, whose writes are about whole databases, too


class Sequence:
    """What one connection writes, in its order, so that what is there after a crash is what some number of its operations leave:
    at least as many as were acknowledged. FLUSHALL, FLUSHDB and SWAPDB are among them, alone and in EXEC."""

    DATABASES = 2

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.state = [{} for _ in range(self.DATABASES)]
        self.sent = []  # operations: lists of (database, command)
        self.acked = 0
        self.count = 0

    def draw_command(self):
        self.count += 1
        key = ["k%d" % self.rng.randrange(20) for _ in range(3)]
        return self.rng.choice(
            [("SET", key[0], self.count)] * 4
            + [("MSET", key[0], self.count, key[1], self.count, key[2], self.count)] * 4
            + [("DEL", *key), ("FLUSHDB",), ("FLUSHALL",), ("SWAPDB", 0, 1)]
        )

    def draw(self):
        length = self.rng.choice([1, 1, 1, 3, 6])
        return [(self.rng.randrange(self.DATABASES), self.draw_command()) for _ in range(length)]

    @staticmethod
    def apply(state, operation):
        for db, (name, *words) in operation:
            if name == "FLUSHALL":
                for one in state:
                    one.clear()
            elif name == "FLUSHDB":
                state[db].clear()
            elif name == "SWAPDB":
                state[0], state[1] = state[1], state[0]
            elif name == "DEL":
                for key in words:
                    state[db].pop(key, None)
            else:
                state[db].update({key: str(value) for key, value in zip(words[::2], words[1::2])})

    @staticmethod
    def request(operation):
        """What is sent, and how many replies there will be."""
        commands = []
        for db, command in operation:
            commands += [("SELECT", db), command]
        if len(operation) > 1:
            commands = [("MULTI",), *commands, ("EXEC",)]
        return b"".join(encode(*command) for command in commands), len(commands)

    def work(self, port, stop):
        try:
            with Raw(("127.0.0.1", port), timeout=60) as raw:
                while not stop.is_set():
                    batch = [self.draw() for _ in range(self.rng.choice([1, 1, 2, 8, 30]))]
                    requests = [self.request(operation) for operation in batch]
                    self.sent += batch
                    raw.send(b"".join(request for request, _ in requests))
                    for _, replies in requests:
                        assert not any(has_error(raw.read()) for _ in range(replies))
                        self.acked += 1
        except (OSError, EOFError):
            pass

    def run(self, port, crash, seconds):
        stop = threading.Event()
        thread = threading.Thread(target=self.work, args=(port, stop), daemon=True)
        thread.start()
        stop.wait(seconds)
        crash()
        stop.set()
        thread.join(60)
        assert not thread.is_alive(), "a client still waits for a server that has gone"

    def check(self, port):
        """What the server has is what so many operations leave; it goes on from there. Returns what is wrong."""
        there = []
        with Raw(("127.0.0.1", port), timeout=60) as raw:

            def ask(*command):
                raw.send(encode(*command))
                return raw.read()

            assert wait_for(lambda: not has_error(ask("GET", "none")), 120), "it loads for ever"
            for db in range(self.DATABASES):
                ask("SELECT", db)
                keys = [text(key) for key in ask("KEYS", "*")]
                there.append({key: text(ask("GET", key)) for key in keys})
        state, found = self.state, None
        for i in range(len(self.sent) + 1):
            if i >= self.acked and state == there:
                found = [dict(one) for one in state]
            if i < len(self.sent):
                self.apply(state, self.sent[i])
        wrong = "%s is there, %d acknowledged of %d would leave %s" % (there, self.acked, len(self.sent), state)
        self.state, self.sent, self.acked = there, [], 0
        return [] if found is not None else [wrong]
