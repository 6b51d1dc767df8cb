# SPDX-License-Identifier: BSD-3-Clause
"""Lists under every kind of limit, beside Valkey: after each random change the same reply and the same encoding, and the same nodes:
where they begin and end is what decides when a list changes its form. And the same digests."""

import random
import re

import pytest

from resp import RespError

FILLS = ["-2", "-1", "-5", "0", "1", "4", "16", "128", "-3", "100000"]
KEYS = ["k0", "k1", "k2", "k3"]
STEPS = 300


class Lists:
    """Random calls; few different elements, so that equal ones are met."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.growing = True

    def element(self):
        p = self.rng.random()
        if p < 0.3:
            return str(self.rng.choice([0, 1, 127, 128, -1, -4096, 4096, 65535, 2**31, 2**63 - 1, -(2**63), self.rng.randrange(100)]))
        if p < 0.4:
            return self.rng.choice(["", "a", "007", "-0", "+1", "1.5", "9223372036854775808"])
        lengths = [1, 2, 10, 30, 63, 64, 100, 200] if p < 0.97 else [1000, 4000, 4088, 4089, 8150, 8185, 8192, 8193, 9000, 20000]
        return self.rng.choice("abcd") * self.rng.choice(lengths)

    def index(self):
        return str(self.rng.choice([0, -1, 1, -2, 2, self.rng.randrange(-50, 50), self.rng.randrange(-500, 500), 9999]))

    def side(self):
        return self.rng.choice(["LEFT", "RIGHT"])

    def call(self):
        rng, key = self.rng, self.rng.choice(KEYS)
        if rng.random() < (0.35 if self.growing else 0.1):
            return [rng.choice(["LPUSH", "RPUSH"]), key] + [self.element() for _ in range(rng.choice([1, 1, 1, 2, 3, 10, 40]))]
        return rng.choice(
            [
                lambda: [rng.choice(["LPOP", "RPOP"]), key],
                lambda: [rng.choice(["LPOP", "RPOP"]), key, str(rng.choice([0, 1, 2, 3] if self.growing else [1, 10, 100]))],
                lambda: ["LINDEX", key, self.index()],
                lambda: ["LSET", key, self.index(), self.element()],
                lambda: ["LINSERT", key, rng.choice(["BEFORE", "AFTER"]), self.element(), self.element()],
                lambda: ["LINSERT", key, rng.choice(["BEFORE", "AFTER"]), self.element(), self.element()],
                lambda: ["LREM", key, str(rng.choice([0, 1, -1, 2, -2, 3])), self.element()],
                lambda: ["LTRIM", key, str(rng.randrange(4)), str(-1 - rng.randrange(3))],
                lambda: ["LRANGE", key, self.index(), self.index()],
                lambda: ["LPOS", key, self.element(), "RANK", str(rng.choice([1, -1, 2, -2])), "COUNT", "0", "MAXLEN", str(rng.choice([0, 10, 100]))],
                lambda: ["LMOVE", key, rng.choice(KEYS), self.side(), self.side()],
                lambda: ["RPOPLPUSH", key, rng.choice(KEYS)],
                lambda: ["LLEN", key],
                lambda: ["RENAME", key, rng.choice(KEYS)] if rng.random() < 0.2 else ["COPY", key, rng.choice(KEYS), "REPLACE"],
            ]
        )()


def comparable(reply):
    return str(reply) if isinstance(reply, RespError) else reply


def nodes(reply):
    """What DEBUG OBJECT says of a list's form."""
    return re.findall(r"encoding:\w+|ql_nodes:\d+|ql_avg_node:[\d.]+|ql_listpack_max:\S+|ql_compressed:\d|ql_uncompressed_size:\d+", str(reply))


# A threshold of tests is looked at with two kinds of limits.
LIMITS = [(fill, "0") for fill in FILLS] + [(fill, threshold) for fill in ("-2", "4") for threshold in ("1b", "200b")]


@pytest.mark.parametrize("depth", ["0", "1", "3"])
@pytest.mark.parametrize("fill, threshold", LIMITS)
def test_forms_are_those_of_valkey(shoal, valkey, fill, threshold, depth):
    lists = Lists("%s %s %s" % (fill, threshold, depth))
    settings = [["CONFIG", "SET", "list-max-listpack-size", fill, "list-compress-depth", depth], ["DEBUG", "QUICKLIST-PACKED-THRESHOLD", threshold]]
    back = [["CONFIG", "SET", "list-max-listpack-size", "-2", "list-compress-depth", "0"], ["DEBUG", "QUICKLIST-PACKED-THRESHOLD", "0"]]
    with shoal.raw() as ours, valkey.raw() as theirs:
        try:
            for call in [["FLUSHALL"]] + settings:
                assert ours.do(*call) == theirs.do(*call) == "OK"
            for step in range(STEPS):
                lists.growing = step // 50 % 3 < 2
                call, key = lists.call(), lists.rng.choice(KEYS)
                assert comparable(ours.do(*call)) == comparable(theirs.do(*call)), call
                assert nodes(ours.do("DEBUG", "OBJECT", key)) == nodes(theirs.do("DEBUG", "OBJECT", key)), (call, key)
            assert ours.do("DEBUG", "DIGEST-VALUE", *KEYS) == theirs.do("DEBUG", "DIGEST-VALUE", *KEYS)
            assert ours.do("DEBUG", "DIGEST") == theirs.do("DEBUG", "DIGEST")
        finally:
            for call in back:
                ours.do(*call), theirs.do(*call)
