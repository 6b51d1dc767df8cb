# SPDX-License-Identifier: BSD-3-Clause
"""sets: calls of commands on sets, for the generator."""


class SetCalls:
    """Part of a Generator, which makes numbers, keys and chances."""

    def set_key(self):
        """Mostly one of a few that hold sets, so that they meet; now and then one of anything."""
        return self.pick(self.keys[:4]) if self.chance(0.8) else self.key()

    def member(self):
        p = self.rng.random()
        if p < 0.5:
            return str(self.rng.randrange(12))
        if p < 0.8:
            return self.pick(["a", "b", "c", "x", "", "member", "v" * 63, "v" * 64, "v" * 65, "-0", "00", " 1"])
        return self.value() if self.chance(0.8) else self.integer()

    def c_sadd(self):
        p = self.rng.random()
        if p < 0.08:  # across a threshold
            first, count = self.rng.randrange(1000), self.pick([100, 127, 128, 129, 200, 511, 512, 513])
            words = [str(first + i) for i in range(count)]
            if self.chance(0.4):
                words[self.rng.randrange(count)] = "text"
            return ["SADD", self.set_key()] + words
        return ["SADD", self.set_key()] + self.some(self.member, high=8)

    def c_srem(self):
        return ["SREM", self.set_key()] + self.some(self.member, high=8)

    def c_set_ask(self):
        p = self.rng.random()
        if p < 0.4:
            return [self.pick(["SMEMBERS", "SCARD"]), self.set_key()]
        if p < 0.7:
            return ["SISMEMBER", self.set_key(), self.member()]
        return ["SMISMEMBER", self.set_key()] + self.some(self.member, high=8)

    def c_smove(self):
        return ["SMOVE", self.set_key(), self.set_key(), self.member()]

    def c_set_algebra(self):
        p = self.rng.random()
        if p < 0.4:
            return [self.pick(["SINTER", "SUNION", "SDIFF"])] + self.some(self.set_key, high=5)
        if p < 0.8:
            return [self.pick(["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"]), self.set_key()] + self.some(self.set_key, high=5)
        keys = self.some(self.set_key, high=5)
        limit = [self.option("LIMIT"), self.small()] if self.chance(0.5) else []
        return ["SINTERCARD", str(len(keys)) if self.chance(0.85) else self.integer()] + keys + limit

    def c_set_drawn(self):
        """What is drawn is not the same twice, so what is taken out is all."""
        key = self.set_key()
        p = self.rng.random()
        if p < 0.4:
            return ["SRANDMEMBER", key] + ([self.small()] if self.chance(0.8) else [])
        if p < 0.7:
            return ["SPOP", key, self.pick(["0", "100000", "-1", "abc", "1.5", str(2**63 - 1), str(-(2**63)), str(2**63)])]
        return [["SADD", key, self.member()], ["SPOP", key, "100000"]]

    def is_drawn_alike(self, words):
        """Whether two servers have the same left afterwards, and soon."""
        try:
            count = int(words[2]) if len(words) == 3 else 0
        except ValueError:
            return True
        if words[0] == "SPOP":
            return len(words) > 2 and not 0 < count < 100000
        return count > -1000 or count <= -(2**63)

    def c_sscan(self):
        options = []
        if self.chance(0.4):
            options.append([self.option("MATCH"), self.pattern()])
        if self.chance(0.4):
            options.append([self.option("COUNT"), self.small()])
        if self.chance(0.1):
            options.append([self.option("NOVALUES", "NOSCORES", "TYPE")])
        self.rng.shuffle(options)
        return ["SSCAN", self.set_key(), self.cursor()] + sum(options, [])

    def c_set_limits(self):
        """Never fewer integers in an intset than a listpack may have: then the form would be a matter of order."""
        ints, texts = self.pick([(512, 128), (512, 128), (64, 8), (8, 8), (8, 3), (3, 1), (1, 0), (0, 0)])
        names = ["set-max-intset-entries", str(ints)]
        if not self.classic:
            names += ["set-max-listpack-entries", str(texts), "set-max-listpack-value", self.pick(["64", "5", "0"])]
        return ["CONFIG", "SET"] + names

    def set_families(self):
        """How often each is called."""
        one_key = [
            (8, self.c_sadd), (4, self.c_srem), (4, self.c_set_ask), (3, self.c_set_drawn), (2, self.c_sscan),
            (0.7, self.c_set_limits),
        ]  # fmt: skip
        return one_key + [(3, self.c_smove), (8, self.c_set_algebra)]
