#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""run: random command sequences against Shoal, Valkey 9.1 and Redis 7.0 side by side.

    test/differential/run.py --seed 1 --ops 20000 --shoal build-release/server/shoal-server

Each sequence starts on empty servers, is sent as one pipeline in RESP2 or RESP3, and is compared reply by reply (those inside
of EXEC's as replies to the calls that were queued), then by the final state of all keys and by how many changes were counted (with Valkey alone). Valkey decides: Shoal must equal it. Sequences of classic commands also run on Redis, whose
differences from Valkey must be listed in compare.py. A difference is run again to see that it repeats, shrunk to the fewest
commands, and printed with what every server said. Same seed, same sequences.

Without Valkey, Shoal is compared with Redis on the classic sequences alone.
"""

import argparse
import itertools
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

from compare import Unfolding, normal, redis_differs_knowingly  # noqa: E402
from generator import Generator, Second  # noqa: E402
from resp import encode  # noqa: E402
from server import Server, find_peer  # noqa: E402

SEQUENCE_LENGTH = 80
ROOT = os.path.dirname(os.path.dirname(HERE))


# Of which a sequence sets others, if the server knows them.
SET_LIMITS = [("intset-entries", "512"), ("listpack-entries", "128"), ("listpack-value", "64")]


class Target:
    """One running server and the connection that commands go to."""

    def __init__(self, name, binary, config=None):
        self.name = name
        self.server = Server(binary, config or {})
        self.server.start()
        self.conn = self.second = None

    def close(self):
        if self.conn:
            self.conn.close()
            self.second.close()

    def fresh(self, resp3):
        """New connections on an empty server."""
        self.close()
        self.conn, self.second = self.server.raw(timeout=60), self.server.raw(timeout=60)
        setup = [["SWAPDB", "0", "0"], ["FLUSHALL"], ["CONFIG", "SET", "timeout", "0"]]
        setup += [["CONFIG", "SET", "set-max-%s" % name, value] for name, value in SET_LIMITS]
        hello = [["HELLO", "3"]] if resp3 else []
        self.run(setup + hello + [Second(call) for call in hello])
        self.changes_before = self.changes()

    def run(self, calls):
        """One pipeline as long as one connection has the word."""
        out = []
        for second, turn in itertools.groupby(calls, lambda call: isinstance(call, Second)):
            turn = list(turn)
            conn = self.second if second else self.conn
            conn.send(b"".join(encode(*call) for call in turn))
            out += [conn.read_raw() for _ in turn]
        return out

    def changes(self):
        """Asked by a third connection: a sequence may end in the middle of a transaction."""
        with self.server.raw(timeout=60) as c:
            return int(re.search(rb"rdb_changes_since_last_save:(\d+)", c.do("INFO", "persistence")).group(1))

    def stop(self):
        self.close()
        self.server.stop(check=self.server.kind == "shoal")


def state_calls(keys):
    """Commands whose replies are the whole state."""
    calls = [["DISCARD"]]  # a sequence may end in the middle of a transaction
    for db in range(16):
        calls += [["SELECT", str(db)], ["KEYS", "*"]]
        for key in keys:
            calls += [[c, key] for c in ("TYPE", "GET", "STRLEN", "PTTL", "PEXPIRETIME")]
            calls += [["ZRANGE", key, "0", "-1", "WITHSCORES"]]
            calls += [["OBJECT", "ENCODING", key], ["SMEMBERS", key]]
    return calls


class Difference:
    """`call` was answered differently; `asked` is the call inside, when `call` is an EXEC."""

    def __init__(self, call, asked, replies, at):
        self.call, self.asked, self.replies, self.at = call, asked, replies, at


def first_difference(targets, calls, resp3, keys):
    """Run on all targets; the first Difference, or None."""
    results = []
    for target in targets:
        target.fresh(resp3)
        results.append(target.run(calls))
    difference = compare(targets, calls, results) or compare_changes([t for t in targets if t.name != "redis"], calls)
    if difference:
        return difference
    # The keys that exist, and those we know: a pool of a few.
    probe = state_calls(sorted(k for k in keys))
    results = [target.run(probe) for target in targets]
    difference = compare(targets, probe, results)
    if difference:
        difference.at += len(calls)
    return difference


def compare_changes(targets, calls):
    growth = {t.name: b"%d changes" % (t.changes() - t.changes_before) for t in targets}
    if len(set(growth.values())) == 1:
        return None
    call = ["INFO", "persistence"]
    return Difference(call, call, growth, len(calls))


def compare(targets, calls, results):
    queues = {False: Unfolding(), True: Unfolding()}
    for at, call in enumerate(calls):
        for asked, replies in queues[isinstance(call, Second)].unfold(call, [r[at] for r in results]):
            if differs(targets, asked, replies):
                return Difference(call, asked, {t.name: raw for t, (_, raw) in zip(targets, replies)}, at)
    return None


def differs(targets, call, replies):
    """Whether somebody answers that call otherwise than he should."""
    normals = {t.name: normal(call, value, raw) for t, (value, raw) in zip(targets, replies)}
    raws = {t.name: raw for t, (_, raw) in zip(targets, replies)}
    if all(n == normals["shoal"] for n in normals.values()):
        return False
    mark = "valkey" if "valkey" in normals else "shoal"
    if normals["shoal"] != normals[mark] or "redis" not in raws:
        return True
    return not redis_differs_knowingly(call, raws["redis"], raws[mark])


def shrink(targets, calls, resp3, keys, same):
    """Fewest commands that still differ in the same command."""
    size = max(1, len(calls) // 2)
    deadline = time.monotonic() + 60
    while size and time.monotonic() < deadline:
        at = 0
        while at < len(calls):
            fewer = calls[:at] + calls[at + size :]
            found = first_difference(targets, fewer, resp3, keys) if fewer else None
            if found and found.call[0] == same.call[0]:
                calls = fewer
            else:
                at += size
        size //= 2
    return calls


def text(raw):
    return repr(raw if len(raw) < 600 else raw[:600] + b"...")


def show(call):
    return ("~ " if isinstance(call, Second) else "") + " ".join(repr(a)[1:] if isinstance(a, bytes) else '"%s"' % a.encode("unicode_escape").decode() for a in call)


def report(targets, calls, resp3, found, label):
    print("DIFFERENCE in %s, %s" % (label, "RESP3" if resp3 else "RESP2"))
    for call in calls[: found.at + 1]:
        print("    " + show(call))
    if found.at >= len(calls):
        print("  then the state differs at")
        print("    " + show(found.call))
    if found.asked is not found.call:
        print("  in the reply to")
        print("    " + show(found.asked))
    for target in targets:
        if target.name in found.replies:
            print("  %-7s %s" % (target.name, text(found.replies[target.name])))
    print(flush=True)


def run(args):
    targets = [Target("shoal", args.shoal, args.shoal_config)]
    try:
        if args.valkey:
            targets.append(Target("valkey", args.valkey))
        if args.redis:
            targets.append(Target("redis", args.redis))
        if len(targets) == 1:
            print("nothing to compare with: give --valkey PATH or --redis PATH")
            return 2
        done, index, differences = 0, 0, 0
        while done < args.ops and differences < args.max_differences:
            seed = args.seed * 1_000_000 + index
            resp3, one_tag = bool(index & 1), index % 3 != 2
            classic = bool(index & 2) or not args.valkey
            generator = Generator(seed, classic, one_tag)
            calls = generator.sequence(SEQUENCE_LENGTH)
            part = [t for t in targets if t.name != "redis" or classic]
            label = "sequence %d of seed %d (%s, %s)" % (
                index, args.seed, "classic" if classic else "new", "one tag" if one_tag else "spread",
            )  # fmt: skip
            if args.only is None or args.only == index:
                found = first_difference(part, calls, resp3, generator.keys)
                if found and first_difference(part, calls, resp3, generator.keys):
                    small = shrink(part, calls, resp3, generator.keys, found)
                    again = first_difference(part, small, resp3, generator.keys) or found
                    report(part, small, resp3, again, label)
                    differences += 1
                elif found:
                    report(part, calls, resp3, found, label + " (not when it was run again)")
                    differences += 1
            done += len(calls)
            index += 1
        print("%d commands in %d sequences, seed %d: %d differences" % (done, index, args.seed, differences))
        return 1 if differences else 0
    finally:
        for target in targets:
            target.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ops", type=int, default=20_000)
    parser.add_argument("--only", type=int, help="only this sequence of the seed")
    parser.add_argument("--max-differences", type=int, default=10)
    parser.add_argument("--shoal", default=os.environ.get("SHOAL_SERVER", ROOT + "/build-release/server/shoal-server"))
    parser.add_argument("--shards", default=os.environ.get("SHOAL_SHARDS", "2"))
    parser.add_argument("--io-backend", default=os.environ.get("SHOAL_IO_BACKEND", "auto"))
    parser.add_argument("--as-peer", action="store_true", help="the server given as --shoal is another one (to try the tester)")
    parser.add_argument("--valkey", default=find_peer("valkey"))
    parser.add_argument("--redis", default=find_peer("redis"))
    args = parser.parse_args()
    args.shoal_config = {} if args.as_peer else {"shards": args.shards, "io-backend": args.io_backend}
    sys.exit(run(args))


if __name__ == "__main__":
    main()
