# SPDX-License-Identifier: BSD-3-Clause
"""bits: calls of commands on bitmaps and HyperLogLogs, for the generator."""

import struct


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

    # ---- HyperLogLog

    def hll_key(self):
        """Mostly of a few, which hold one and are seldom overwritten."""
        return self.pick(["hll{t}", "hll:2", "hll:3"]) if self.chance(0.85) else self.key()

    def hll_elements(self):
        low, high = self.pick([(0, 3), (0, 3), (1, 20), (100, 400)])
        if low == 100 and self.chance(0.7):
            low, high = 1, 5
        alphabet = self.pick([10, 1000, 10**9])
        return self.some(lambda: self.value() if self.chance(0.1) else "e%d" % self.rng.randrange(alphabet), low, high)

    def hll_bytes(self):
        """What may be one, and may not: any header, any runs, mostly such that cover all registers."""
        kind = self.pick([1, 1, 1, 1, 0, 2])
        head = b"HYLL" + bytes([kind]) + b"\0" * 3 + struct.pack("<Q", self.pick([0, 7, 2**63, 2**63 + 5, 2**62]))
        left, runs = 16384, b""
        while left > 0:
            n = self.rng.choice([1, 2, 3, 4, 30, 64, 65, 1000, left])
            n = min(n, left)
            value = self.rng.randrange(1, 33)
            if n <= 4 and self.chance(0.7):
                runs += bytes([0x80 | (value - 1) << 2 | (n - 1)])
            elif n <= 64 and self.chance(0.9):
                runs += bytes([n - 1])
            else:
                runs += bytes([0x40 | (n - 1) >> 8, (n - 1) & 255])
            left -= n
            if self.chance(0.02):
                break
        if self.chance(0.1):
            runs += bytes(self.rng.randrange(64) for _ in range(self.pick([1, 2, 5])))
        if kind == 0:
            runs = bytes(self.rng.randrange(256) for _ in range(12288 if self.chance(0.8) else 100))
        return (head + runs)[: None if self.chance(0.95) else self.rng.randrange(40)]

    def c_pfadd(self):
        return ["PFADD", self.hll_key()] + self.hll_elements()

    def c_pfcount(self):
        return ["PFCOUNT"] + self.some(self.hll_key, 1, self.pick([1, 1, 3]))

    def c_pfmerge(self):
        return ["PFMERGE"] + self.some(self.hll_key, 1, 4)

    def c_pfset(self):
        key = self.hll_key()
        return [["SET", key, self.hll_bytes()], [self.pick(["PFCOUNT", "PFADD", "PFMERGE", "GET"]), key]]

    def c_pfdebug(self):
        """Not SIMD of anything but ON or OFF: Valkey answers that twice."""
        return ["PFDEBUG", self.option("GETREG", "DECODE", "ENCODING", "TODENSE") if self.chance(0.95) else "X", self.hll_key()]

    def c_pfget(self):
        return [self.pick(["GET", "STRLEN", "DEL"]), self.hll_key()]

    def bit_families(self):
        return [
            (3, self.c_setbit), (2, self.c_getbit), (3, self.c_bitcount), (3, self.c_bitpos), (3, self.c_bitfield),
            (1, self.c_bitfield_get), (4, self.c_bitop), (4, self.c_pfadd), (3, self.c_pfcount), (2, self.c_pfmerge),
            (0.5, self.c_pfset), (0.5, self.c_pfdebug), (0.5, self.c_pfget),
        ]  # fmt: skip
