# SPDX-License-Identifier: BSD-3-Clause
"""cases: what is measured, how long, and what it should come to (docs/architecture.md, targets)."""

import dataclasses


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

    @property
    def key(self):
        return "%s/%s/P%d/%d" % (self.group, self.command, self.pipeline, self.value_bytes)

    @property
    def title(self):
        size = "%d B" % self.value_bytes if self.value_bytes < 1024 else "%d KB" % (self.value_bytes // 1024)
        if self.words:
            return self.command
        name = "MSET of 10 keys" if self.command == "mset" else self.command.upper()
        return "%s %s, pipeline %d" % (name, size, self.pipeline)


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


SET = ("4", "SET", "key:__rand_int__", "__data__")
PLAIN = Case("txn", "four SETs", 4, 64, 1_000_000, 240_000, words=SET, commands=4)
MULTI = Case(
    "txn", "MULTI, four SETs, EXEC", 6, 64, 1_000_000, 360_000, words=("MULTI", ";", *SET, ";", "EXEC"), commands=6,
    target_over_plain=1.3, target_over_plain_two_shards=3.0,
)  # fmt: skip


def txn_cases():
    return [Case("txn", "mset", 4, 64, 1_000_000, 60_000, target_us=4.5, target_us_two_shards=6.5), PLAIN, MULTI]


# (keys, with TTL) of the memory measurements; the targets are bytes of RSS per key.
MEMORY = [(1_000_000, False), (2_000_000, False), (1_000_000, True), (2_000_000, True)]
MEMORY_TARGET = {False: 100, True: 112}
