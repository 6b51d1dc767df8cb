# SPDX-License-Identifier: BSD-3-Clause
"""hashes: calls of commands on hashes, for the generator."""


class HashCalls:
    """Part of a Generator, which makes numbers, keys and chances."""

    def field(self):
        p = self.rng.random()
        if p < 0.75:
            return self.pick(["f1", "f2", "f3", "f4", "12", "-7"])
        if p < 0.9:
            return "n%d" % self.rng.randrange(600)
        return self.pick(["", "007", "x" * 63, "x" * 64, "x" * 65, "x" * 300, b"\x00\xff", self.value()])

    def fields(self, high=4):
        return self.some(self.field, 1, self.pick([1, 1, 2, high]))

    def field_value(self):
        return [self.field(), self.value()]

    def c_hset(self):
        pairs = self.some(self.field_value, 1, self.pick([1, 1, 3, 8]))
        if self.chance(0.02):
            first = self.rng.randrange(300)
            pairs = [word for i in range(self.pick([127, 128, 511, 512, 513])) for word in ("n%d" % (first + i), "v")]
        return [self.pick(["HSET", "HSET", "HMSET"]), self.key()] + pairs

    def c_hsetnx(self):
        return ["HSETNX", self.key()] + self.field_value()

    def c_hget(self):
        return [self.pick(["HGET", "HEXISTS", "HSTRLEN"]), self.key(), self.field()]

    def c_hmget(self):
        return ["HMGET", self.key()] + self.fields()

    def c_hall(self):
        return [self.pick(["HGETALL", "HKEYS", "HVALS", "HLEN"]), self.key()]

    def c_hdel(self):
        if self.chance(0.05):
            return ["HDEL", self.key()] + ["n%d" % i for i in range(600)]
        return ["HDEL", self.key()] + self.fields(9)

    def c_hincrby(self):
        return ["HINCRBY", self.key(), self.field(), self.integer()]

    def c_hincrbyfloat(self):
        return ["HINCRBYFLOAT", self.key(), self.field(), self.pick(self.floats()) if self.chance(0.8) else self.value()]

    def c_hrandfield(self):
        call = ["HRANDFIELD", self.key()]
        if self.chance(0.8):
            call.append(str(self.rng.randrange(-12, 12)) if self.chance(0.8) else self.pick(["", "x", "-9223372036854775808", "9223372036854775807", "1.0"]))
            if self.chance(0.5):
                call.append(self.option("WITHVALUES"))
        return call

    def c_hscan(self):
        call = ["HSCAN", self.key(), "0" if self.chance(0.9) else self.integer()]
        for _ in range(self.pick([0, 1, 1, 2])):
            call += self.pick([[self.option("COUNT"), self.small()], [self.option("MATCH"), self.pick(["*", "f*", "n1?", ""])], [self.option("NOVALUES")]])
        return call

    # ---- deadlines

    def numfields(self, fields):
        return [self.option("FIELDS"), str(len(fields)) if self.chance(0.9) else self.integer()] + fields

    def c_hexpire(self):
        name, when = self.pick([("HEXPIRE", self.seconds), ("HPEXPIRE", self.milliseconds), ("HEXPIREAT", self.at_seconds), ("HPEXPIREAT", self.at_milliseconds)])
        conditions = [self.option("NX", "XX", "GT", "LT") for _ in range(self.pick([0, 0, 0, 1, 1, 2]))]
        time = when() if self.chance(0.9) else "0"
        return [name, self.key(), time] + conditions + self.numfields(self.fields())

    def c_httl(self):
        return [self.pick(["HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME", "HPERSIST", "HGETDEL"]), self.key()] + self.numfields(self.fields())

    def c_hgetex(self):
        options = self.expiry(persist=True, keepttl=self.chance(0.05)) if self.chance(0.8) else []
        return ["HGETEX", self.key()] + options + self.numfields(self.fields())

    def c_hsetex(self):
        options = [self.expiry()] if self.chance(0.7) else []
        if self.chance(0.3):
            options.append([self.option("NX", "XX")])
        if self.chance(0.3):
            options.append([self.option("FNX", "FXX")])
        self.rng.shuffle(options)
        pairs = self.some(self.field_value, 1, self.pick([1, 1, 3]))
        # Not every number: with 2^63 and a few the original takes twice as many for none.
        count = str(len(pairs) // 2) if self.chance(0.9) else self.pick(["0", "-1", "7", "x", "2147483648", "01"])
        return ["HSETEX", self.key()] + sum(options, []) + [self.option("FIELDS"), count] + pairs

    def hash_families(self):
        one = [
            (6, self.c_hset), (1, self.c_hsetnx), (4, self.c_hget), (2, self.c_hmget), (3, self.c_hall), (3, self.c_hdel),
            (2, self.c_hincrby), (2, self.c_hincrbyfloat), (2, self.c_hrandfield),
        ]  # fmt: skip
        new = [(2, self.c_hscan), (4, self.c_hexpire), (4, self.c_httl), (3, self.c_hgetex), (4, self.c_hsetex)]
        return one + ([] if self.classic else new)
