# SPDX-License-Identifier: BSD-3-Clause
"""lists: calls of commands on lists, for the generator."""


class ListCalls:
    """Part of a Generator, which makes numbers, keys and chances."""

    def list_key(self):
        """Mostly keys that hold lists only, so that they become long."""
        if self.chance(0.1):
            return self.key()
        return self.pick(["{t}l1", "{t}l2", "{t}l3"] if self.one_tag else ["list:%d" % i for i in range(6)])

    def list_element(self):
        """Few different ones, so that equal elements are met; now and then one that fills a node, or is larger."""
        p = self.rng.random()
        if p < 0.6:
            return self.pick(["a", "b", "c", "", "0", "1", "-1", "127", "128", "-4096", "4096", "65536", "01", "-0", "1.5", "hello world"])
        if p < 0.7:
            return self.integer()
        if p < 0.95:
            return self.pick("xyz") * self.pick([20, 63, 64, 65, 200, 400])
        return self.pick("xyz") * self.pick([4080, 4090, 8179, 8180, 8185, 8192, 8193, 9000])

    def list_index(self):
        return str(self.rng.randrange(-12, 12)) if self.chance(0.8) else self.integer()

    def list_side(self):
        return self.option("LEFT", "RIGHT") if self.chance(0.97) else self.pick(["", "MIDDLE"])

    def c_push(self):
        name = self.pick(["LPUSH", "RPUSH", "LPUSH", "RPUSH", "LPUSHX", "RPUSHX"])
        return [name, self.list_key()] + self.some(self.list_element, 1, self.pick([1, 3, 40]))

    def c_pop(self):
        count = [self.small()] if self.chance(0.5) else []
        return [self.pick(["LPOP", "RPOP"]), self.list_key()] + count

    def c_llen(self):
        return ["LLEN", self.list_key()]

    def c_lindex(self):
        return ["LINDEX", self.list_key(), self.list_index()]

    def c_lrange(self):
        return ["LRANGE", self.list_key(), self.list_index(), self.list_index()]

    def c_lset(self):
        return ["LSET", self.list_key(), self.list_index(), self.list_element()]

    def c_linsert(self):
        return ["LINSERT", self.list_key(), self.option("BEFORE", "AFTER"), self.list_element(), self.list_element()]

    def c_lrem(self):
        return ["LREM", self.list_key(), self.small(), self.list_element()]

    def c_ltrim(self):
        if self.chance(0.7):
            return ["LTRIM", self.list_key(), str(self.rng.randrange(0, 4)), str(self.rng.randrange(-4, 0))]
        return ["LTRIM", self.list_key(), self.list_index(), self.list_index()]

    def c_lpos(self):
        options = [[self.option(word), self.small()] for word in ("RANK", "COUNT", "MAXLEN") if self.chance(0.4)]
        self.rng.shuffle(options)
        return ["LPOS", self.list_key(), self.list_element()] + sum(options, [])

    def c_lmove(self):
        if self.chance(0.3):
            return ["RPOPLPUSH", self.list_key(), self.list_key()]
        return ["LMOVE", self.list_key(), self.list_key(), self.list_side(), self.list_side()]

    def c_list_whole(self):
        """What any value knows, of a list."""
        return self.pick(
            [
                ["OBJECT", "ENCODING", self.list_key()], ["TYPE", self.list_key()], ["DEL", self.list_key()], ["EXPIRE", self.list_key(), "100000"],
                ["RENAME", self.list_key(), self.list_key()], ["COPY", self.list_key(), self.list_key(), "REPLACE"], ["SET", self.list_key(), "v"],
            ]
        )  # fmt: skip

    def list_families(self):
        return [
            (12, self.c_push), (4, self.c_pop), (1, self.c_llen), (3, self.c_lindex), (3, self.c_lrange), (3, self.c_lset), (3, self.c_linsert),
            (3, self.c_lrem), (2, self.c_ltrim), (4, self.c_lpos), (4, self.c_lmove), (4, self.c_list_whole),
        ]  # fmt: skip
