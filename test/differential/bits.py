# SPDX-License-Identifier: BSD-3-Clause
"""bits: calls of commands on bitmaps, for the generator."""


class BitCalls:
    """Part of a Generator, which makes numbers, keys and chances."""

    def bit_offset(self):
        p = self.rng.random()
        if p < 0.8:
            return str(self.rng.randrange(0, self.pick([8, 70, 1000, 9000])))
        return self.pick([self.integer(), "-1", "4294967295", "4294967296", "#1", "#-1", "1.0", "34359738368"])

    def bit_value(self):
        return self.pick(["0", "1"]) if self.chance(0.9) else self.integer()

    def bit_range(self, bits=True):
        """Nothing, a start, or a start and an end, perhaps with a unit."""
        out = [self.bit_index() for _ in range(self.pick([0, 1, 2, 2, 2]))]
        if len(out) == 2 and bits and self.chance(0.6):
            out.append(self.option("BIT", "BYTE", "BITS") if self.chance(0.95) else "")
        return out

    def bit_index(self):
        return str(self.rng.randrange(-90, 90)) if self.chance(0.6) else self.small()

    def c_setbit(self):
        return ["SETBIT", self.key(), self.bit_offset(), self.bit_value()]

    def c_getbit(self):
        return ["GETBIT", self.key(), self.bit_offset()]

    def c_bitcount(self):
        return ["BITCOUNT", self.key()] + self.bit_range()

    def c_bitpos(self):
        return ["BITPOS", self.key(), self.bit_value()] + self.bit_range()

    def c_bitop(self):
        op = self.option("AND", "OR", "XOR", "NOT") if self.chance(0.95) else self.pick(["DIFF", "DIFF1", "ANDOR", "ONE", ""])
        inputs = self.some(self.key, 1, self.pick([1, 2, 5, 20]))
        return ["BITOP", op, self.key()] + (inputs[:1] if op.upper() == "NOT" and self.chance(0.9) else inputs)

    def bit_field(self):
        kind = self.pick("iu") + str(self.rng.randrange(1, 65)) if self.chance(0.9) else self.pick(["i65", "u64", "i0", "u-1", "x8", "", "i", "I8", "u+8", "i08"])
        offset = self.pick(["", "#"]) + str(self.rng.randrange(0, 80)) if self.chance(0.95) else self.pick(["#", "##1", "#99999999999999999999", "-1", "#4294967296", self.integer()])
        word = self.option("GET", "SET", "INCRBY")
        value = [] if word.upper() == "GET" else [str(self.rng.randrange(-300, 300)) if self.chance(0.5) else self.integer()]
        before = [self.option("OVERFLOW"), self.option("WRAP", "SAT", "FAIL") if self.chance(0.95) else self.pick(["", "x"])] if self.chance(0.4) else []
        return before + [word, kind, offset] + value

    def c_bitfield(self):
        return ["BITFIELD", self.key()] + self.some(self.bit_field, 0, self.pick([1, 2, 4, 12]))

    def c_bitfield_get(self):
        fields = self.some(lambda: ["GET"] + self.bit_field()[-3:][-2:], 0, 3) if self.chance(0.7) else self.some(self.bit_field, 0, 2)
        return [self.pick(["BITFIELD_RO", "BITFIELD_RO", "BITFIELD"]), self.key()] + fields

    def bit_families(self):
        return [
            (3, self.c_setbit), (2, self.c_getbit), (3, self.c_bitcount), (3, self.c_bitpos), (3, self.c_bitfield),
            (1, self.c_bitfield_get), (4, self.c_bitop),
        ]  # fmt: skip
