# SPDX-License-Identifier: BSD-3-Clause
"""sorted_sets: calls of the sorted set family, for generator.Generator."""

SCORES = [
    "0", "-0", "1", "1", "2", "2", "3", "-1", "1.5", "0.1", "-2.25", "1e10", "3.0e3", "1e300", "5e-324", "4611686018427387904", "-4611686018427387904",
    "4611686018427387903", "9007199254740993", "123456789012345678", "17179869184.5", "3.14159265358979323846", "1e17", "1e-7",
    "inf", "-inf", "+inf", "1e400", "nan", "", "abc", " 1", "0x10",
]  # fmt: skip
LIMITS = ["-inf", "+inf", "inf", "(1", "(2", "1", "2", "0", "(0", "-1", "1.5", "(1.5", "1e400", "(", "", "((1", "nan", "abc", "1 ", "-", "+", "[a"]
TEXTS = ["-", "+", "[a", "[b", "(a", "(b", "[m1", "(m5", "[", "(", "[1", "(100", "[mm", "a", "", "--", "[m\xff"]
SIZES = ["0", "1", "3", "8", "128"]  # of listpacks, so that most sequences go through both forms


class SortedSets:
    def zkey(self):
        return self.pick(self.keys[:4]) if self.chance(0.95) else self.key()

    def member(self):
        p = self.rng.random()
        if p < 0.5:
            return "m%d" % self.rng.randrange(12)
        if p < 0.8:
            return str(self.pick([0, 1, 2, 3, 10, 100, -1, 127, 128, 4096, 2**31, 2**63 - 1, "01", "a", "b", "mm"]))
        if p < 0.9:
            return bytes(self.rng.randrange(256) for _ in range(self.rng.randrange(12)))
        return "v" * self.pick([0, 8, 9, 20, 63, 64, 65, 254, 255, 300])

    def score(self):
        return str(self.rng.randrange(-3, 9)) if self.chance(0.6) else self.pick(SCORES)

    def limit(self):
        return self.score() if self.chance(0.3) else self.pick(LIMITS)

    def lexical(self):
        return self.pick(TEXTS) if self.chance(0.7) else self.pick(["[", "("]) + "m%d" % self.rng.randrange(12)

    def rank(self):
        return str(self.rng.randrange(-8, 12)) if self.chance(0.9) else self.integer()

    def c_zsizes(self):
        """Thresholds: the state of a server that outlives a sequence, so each begins with them."""
        return [
            ["CONFIG", "SET", "zset-max-listpack-entries", self.pick(SIZES)],
            ["CONFIG", "SET", "zset-max-ziplist-value", self.pick(["0", "8", "64", "300"])],
        ]

    def c_zadd(self):
        options = [self.option(w) for w in ("NX", "XX", "GT", "LT", "CH", "INCR") if self.chance(0.12)]
        self.rng.shuffle(options)
        most = 1 if any(o.upper() == "INCR" for o in options) and self.chance(0.9) else self.pick([1, 2, 4, 12])
        return ["ZADD", self.zkey()] + options + self.some(lambda: [self.score(), self.member()], 1, most)

    def c_zlexical(self):
        """Ranges of texts, over members that have one score: what they are otherwise, two servers cannot agree on."""
        key, score = self.zkey(), self.pick(["0", "0", "1.5", "inf"])
        make = [["DEL", key], ["ZADD", key] + self.some(lambda: [score, self.member()], 1, 14)]
        return make + [self.zlexical_call(key) for _ in range(self.rng.randrange(1, 5))]

    def zlexical_call(self, key):
        ends = [self.lexical(), self.lexical()]
        name = self.pick(["ZLEXCOUNT", "ZRANGEBYLEX", "ZREVRANGEBYLEX", "ZRANGE", "ZRANGE", "ZRANGESTORE", "ZREMRANGEBYLEX"])
        if name in ("ZLEXCOUNT", "ZREMRANGEBYLEX"):
            return [name, key] + ends
        if name.endswith("BYLEX"):
            return [name, key] + ends + self.zrange_options(["WITHSCORES"] if self.chance(0.1) else [])
        to = [self.zkey()] if name == "ZRANGESTORE" else []
        return [name] + to + [key] + ends + [self.option("BYLEX")] + self.zrange_options(["REV"])

    def c_zincrby(self):
        return ["ZINCRBY", self.zkey(), self.score(), self.member()]

    def c_zrem(self):
        return ["ZREM", self.zkey()] + self.some(self.member, 1, 3)

    def c_zmember(self):
        name = self.pick(["ZSCORE", "ZMSCORE", "ZRANK", "ZREVRANK", "ZRANK", "ZREVRANK"])
        args = [name, self.zkey(), self.member()]
        if name == "ZMSCORE":
            args += self.some(self.member, 0, 3)
        elif name != "ZSCORE" and self.chance(0.5):
            args.append(self.option("WITHSCORE", "WITHSCORE", "WITHSCORE", "WITHSCORES"))
        return args

    def c_zcard(self):
        return ["ZCARD", self.zkey()]

    def c_zcount(self):
        return ["ZCOUNT", self.zkey(), self.limit(), self.limit()]

    def zlimit(self):
        return [self.option("LIMIT"), self.small(), self.small()]

    def zrange_options(self, words):
        options = [[self.option(w)] for w in words if self.chance(0.3)]
        if self.chance(0.3):
            options.append(self.zlimit())
        self.rng.shuffle(options)
        return sum(options, [])

    def zends(self):
        make, word = self.pick([(self.rank, []), (self.limit, [self.option("BYSCORE")])])
        return [make(), make()], word if self.chance(0.95) else []

    def c_zrange(self):
        ends, word = self.zends()
        return ["ZRANGE", self.zkey()] + ends + word + self.zrange_options(["REV", "WITHSCORES"])

    def c_zrange_old(self):
        name = self.pick(["ZRANGEBYSCORE", "ZREVRANGEBYSCORE", "ZREVRANGE"])
        make = self.limit if "SCORE" in name else self.rank
        return [name, self.zkey(), make(), make()] + self.zrange_options(["WITHSCORES"])

    def c_zrangestore(self):
        ends, word = self.zends()
        return ["ZRANGESTORE", self.zkey(), self.zkey()] + ends + word + self.zrange_options(["REV"])

    def c_zremrange(self):
        name, make = self.pick([("ZREMRANGEBYRANK", self.rank), ("ZREMRANGEBYSCORE", self.limit)])
        return [name, self.zkey(), make(), make()]

    def c_zpop(self):
        return [self.pick(["ZPOPMIN", "ZPOPMAX"]), self.zkey()] + self.some(self.small, 0, 1)

    def c_zrandmember(self):
        args = ["ZRANDMEMBER", self.zkey()]
        if self.chance(0.8):
            args.append(self.pick(["0", "1", "-3", "5", "100", "-1", "abc", str(-(2**63)), str(2**62), str(2**63)]))
            if self.chance(0.5):
                args.append(self.option("WITHSCORES"))
        return args

    def c_zscan(self):
        options = [[self.option(w), make()] for w, make in (("MATCH", self.pattern), ("COUNT", self.small)) if self.chance(0.3)]
        options += [[self.option("NOSCORES")]] if self.chance(0.3) else []
        self.rng.shuffle(options)
        return ["ZSCAN", self.zkey(), self.cursor()] + sum(options, [])

    def c_zsadd(self):
        """A plain set among the inputs."""
        return ["SADD", self.zkey()] + self.some(self.member, 1, 6)

    def zinputs(self):
        keys = self.some(self.zkey, 1, 4)
        return [str(len(keys)) if self.chance(0.93) else self.integer()] + keys

    def c_zalgebra(self):
        name = self.pick(["ZUNION", "ZINTER", "ZDIFF", "ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE", "ZINTERCARD"])
        inputs, options = self.zinputs(), []
        if "DIFF" not in name and name != "ZINTERCARD" or self.chance(0.03):
            if self.chance(0.4):
                options.append([self.option("WEIGHTS")] + [self.score() for _ in inputs[1:]])
            if self.chance(0.4):
                options.append([self.option("AGGREGATE"), self.pick(["SUM", "MIN", "MAX", "min", "FOO"])])
        if "STORE" not in name and name != "ZINTERCARD" and self.chance(0.6) or self.chance(0.03):
            options.append([self.option("WITHSCORES")])
        if name == "ZINTERCARD" and self.chance(0.5) or self.chance(0.03):
            options.append([self.option("LIMIT"), self.small()])
        self.rng.shuffle(options)
        return [name] + ([self.zkey()] if "STORE" in name else []) + inputs + sum(options, [])

    def c_zmpop(self):
        options = [self.option("MIN", "MAX")] + ([self.option("COUNT"), self.small()] if self.chance(0.5) else [])
        return ["ZMPOP"] + self.zinputs() + options

    def sorted_set_families(self):
        return [
            (1, self.c_zsadd), (14, self.c_zalgebra), (4, self.c_zmpop),
            (20, self.c_zadd), (4, self.c_zlexical), (5, self.c_zincrby), (4, self.c_zrem), (6, self.c_zmember), (1, self.c_zcard),
            (4, self.c_zcount), (9, self.c_zrange), (7, self.c_zrange_old), (5, self.c_zrangestore), (3, self.c_zremrange), (3, self.c_zpop),
            (3, self.c_zrandmember), (4, self.c_zscan), (0.5, self.c_zsizes),
        ]  # fmt: skip
