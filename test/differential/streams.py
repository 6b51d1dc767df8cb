# SPDX-License-Identifier: BSD-3-Clause
"""streams: calls of commands on streams, for the generator. Ids are never drawn from a clock."""


class StreamCalls:
    """Part of a Generator, which makes numbers, keys and chances."""

    def stream_key(self):
        return self.pick(self.keys[:3]) if self.chance(0.9) else self.key()

    def stream_id(self):
        p = self.rng.random()
        if p < 0.75:
            return "%d-%d" % (self.rng.randrange(6), self.rng.randrange(6))
        if p < 0.9:
            return str(self.rng.randrange(8))
        top = "18446744073709551615"
        return self.pick([
            "0-0", "0-1", "%s-%s" % (top, top), "%s-18446744073709551614" % top, "%s-0" % top, top, "5-" + top, "5-18446744073709551616",
            "18446744073709551616-1", "-1-1", "1--1", "1-", "-", "+", "-5", "5-5-5", "1-1x", "", "x", "01-01", "5-*", "(5", "5-1\x00x", "1" * 130,
        ])  # fmt: skip

    def new_id(self):
        p = self.rng.random()
        if p < 0.5:
            return "%d-*" % self.rng.randrange(40)
        if p < 0.85:
            return "%d-%d" % (self.rng.randrange(40), self.rng.randrange(40))
        return self.stream_id()

    def range_end(self, edge):
        p = self.rng.random()
        if p < 0.3:
            return edge
        return ("(" if p < 0.5 else "") + self.stream_id()

    def range_ends(self, reverse=False):
        ends = [self.range_end("-"), self.range_end("+")]
        return ends[::-1] if reverse else ends

    def stream_trim(self):
        word = self.option("MAXLEN", "MINID")
        about = self.pick([[], [], ["="], ["~"], ["~"]])
        threshold = self.small() if word.upper() == "MAXLEN" else self.stream_id()
        limit = [self.option("LIMIT"), self.small()] if self.chance(0.4 if "~" in about else 0.05) else []
        return limit + [word] + about + [threshold] if self.chance(0.1) else [word] + about + [threshold] + limit

    def stream_fields(self):
        if self.chance(0.6):
            return ["f", self.value(), "g", self.value()]
        return [word for _ in range(self.rng.randrange(0, 4)) for word in (self.pick(["f", "g", "h", "7", ""]), self.value())]

    def c_xadd(self):
        options = [self.option("NOMKSTREAM")] if self.chance(0.1) else []
        if self.chance(0.15):
            options += self.stream_trim()
        return ["XADD", self.stream_key()] + options + [self.new_id()] + self.stream_fields()

    def c_xtrim(self):
        return ["XTRIM", self.stream_key()] + self.stream_trim()

    def c_xdel(self):
        return ["XDEL", self.stream_key()] + self.some(self.stream_id, 1, self.pick([1, 3, 20]))

    def c_xsetid(self):
        options = [self.option("ENTRIESADDED"), self.integer()] if self.chance(0.3) else []
        options += [self.option("MAXDELETEDID"), self.stream_id()] if self.chance(0.3) else []
        return ["XSETID", self.stream_key(), self.stream_id() if self.chance(0.3) else "%d-%d" % (self.rng.randrange(60), 1)] + options

    def c_xrange(self):
        reverse = self.chance(0.4)
        count = [self.option("COUNT"), self.small()] if self.chance(0.4) else []
        return ["XREVRANGE" if reverse else "XRANGE", self.stream_key()] + self.range_ends(reverse) + count

    def c_xlen(self):
        return ["XLEN", self.key()]

    def c_xread(self):
        count = [self.option("COUNT"), self.small()] if self.chance(0.5) else []
        keys = self.some(self.stream_key, 1, 3)
        after = [self.pick(["$", "+"]) if self.chance(0.2) and not self.classic else self.stream_id() for _ in keys]
        return ["XREAD"] + count + [self.option("STREAMS")] + keys + after

    # ---- groups

    def group(self):
        return self.pick(["g", "g", "h"]) if self.chance(0.97) else self.pick(["", "nobody", "g\x00"])

    def consumer(self):
        return self.pick(["c", "d", "e"])

    def c_xgroup(self):
        word = self.option("CREATE", "CREATE", "SETID", "DESTROY", "CREATECONSUMER", "DELCONSUMER") if self.chance(0.97) else self.pick(["FOO", ""])
        upper = word.upper()
        call = ["XGROUP", word, self.stream_key(), self.group()]
        if upper in ("CREATE", "SETID"):
            call.append(self.pick(["$", "0", "0", self.stream_id()]))
            if upper == "CREATE" and self.chance(0.3):
                call.append(self.option("MKSTREAM"))
            if self.chance(0.2):
                call += [self.option("ENTRIESREAD"), self.small()]
        if upper in ("CREATECONSUMER", "DELCONSUMER"):
            call.append(self.consumer())
        return call

    def c_xreadgroup(self):
        options = [self.option("COUNT"), self.small()] if self.chance(0.5) else []
        options += [self.option("NOACK")] if self.chance(0.15) else []
        keys = self.some(self.stream_key, 1, self.pick([1, 1, 3]))
        after = [">" if self.chance(0.7) else self.stream_id() for _ in keys]
        return ["XREADGROUP", self.option("GROUP"), self.group(), self.consumer()] + options + [self.option("STREAMS")] + keys + after

    def c_xack(self):
        return ["XACK", self.stream_key(), self.group()] + self.some(self.stream_id, 1, self.pick([1, 3, 20]))

    def c_xpending(self):
        call = ["XPENDING", self.stream_key(), self.group()]
        if self.chance(0.7):
            call += [self.option("IDLE"), self.pick(["0", "100000", "x"])] if self.chance(0.2) else []
            call += self.range_ends() + [self.small()]
            call += [self.consumer()] if self.chance(0.4) else []
        return call

    def c_xclaim(self):
        call = ["XCLAIM", self.stream_key(), self.group(), self.consumer(), self.pick(["0", "0", "0", "100000", "-1", "x"])]
        call += self.some(self.stream_id, 1, 4)
        for option in self.some(lambda: self.pick(["IDLE", "TIME", "RETRYCOUNT", "FORCE", "JUSTID", "LASTID", "FOO"]), 0, 2):
            value = {"IDLE": self.small, "TIME": self.small, "RETRYCOUNT": self.small, "LASTID": self.stream_id}.get(option)
            call += [self.option(option)] + ([value()] if value else [])
        return call

    def c_xautoclaim(self):
        call = ["XAUTOCLAIM", self.stream_key(), self.group(), self.consumer(), self.pick(["0", "0", "0", "100000", "-1", "x"]), self.range_end("-")]
        call += [self.option("COUNT"), self.small()] if self.chance(0.5) else []
        return call + ([self.option("JUSTID")] if self.chance(0.3) else [])

    def c_xinfo(self):
        word = self.option("STREAM", "STREAM", "GROUPS", "GROUPS", "CONSUMERS")
        call = ["XINFO", word, self.stream_key()]
        if word.upper() == "CONSUMERS":
            call.append(self.group())
        elif word.upper() == "STREAM" and self.chance(0.5):
            call += [self.option("FULL")] + ([self.option("COUNT"), self.small()] if self.chance(0.5) else [])
        return call

    def stream_families(self):
        return [
            (6, self.c_xadd), (1, self.c_xtrim), (2, self.c_xdel), (1, self.c_xsetid), (3, self.c_xrange), (1, self.c_xlen), (2, self.c_xread),
            (2, self.c_xgroup), (4, self.c_xreadgroup), (1, self.c_xack), (1, self.c_xpending), (1, self.c_xclaim), (1, self.c_xautoclaim), (2, self.c_xinfo),
        ]  # fmt: skip
