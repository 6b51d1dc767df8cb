# SPDX-License-Identifier: BSD-3-Clause
"""sorting: calls of SORT and SORT_RO, for the generator.

Redis 7.0 reads numbers otherwise and has other encodings, so these are for Valkey alone. Weights are there for some elements only. Where equal ones come depends on the order in a set and, with LIMIT, on the sort
itself, so what may be equal (ALPHA by what is missing) is asked of lists without LIMIT. Valkey makes a skiplist of a sorted set
that it sorts, so those that are sorted are one already.
"""


class SortCalls:
    """Part of a Generator, which makes numbers, keys and chances."""

    def sort_key(self):
        return self.pick(["sort:l", "sort:s", "sort:z", "sort{t}l", "sort{t}n"]) if self.chance(0.9) else self.key()

    def sort_element(self):
        return self.pick(["1", "2", "3", "10", "-1", "007", "a", "b", "B", "1.5", "1e3", "", "inf"]) if self.chance(0.3) else str(self.rng.randrange(-5, 15))

    def c_sort_fill(self):
        key = self.pick(["sort:l", "sort{t}l", "sort{t}n", "sort:s", "sort:z"])
        elements = self.some(self.sort_element, 1, 8)
        if key == "sort:s":
            return ["SADD", key] + elements
        if key == "sort:z":
            return ["ZADD", key] + sum([[str(self.rng.randrange(9)), e] for e in elements + ["z" * 70]], [])
        if key == "sort{t}n":
            elements = [str(self.rng.randrange(100)) for _ in elements]
        return [self.pick(["RPUSH", "LPUSH"]), key] + elements

    def c_sort_weights(self):
        kind = self.pick(["w:%s", "w{%s}", "x:%s", "{t}%s"])
        if self.chance(0.3):
            return ["HSET", "h:" + self.sort_element(), self.pick(["f", "g"]), self.value()]
        return [self.pick(["SET", "SET", "SET", "DEL"]), kind % self.sort_element()] + ([self.sort_element()])

    def c_sort_set_weight(self):
        call = self.c_sort_weights()
        return call[:2] if call[0] == "DEL" else call

    def c_sort(self):
        key = self.sort_key()
        options, limited = [], self.chance(0.3)
        by = self.pick(["w:*", "w{*}", "h:*->f", "{t}*", "nosort", "", "#", "*", "h:*->", "w:*->f"]) if self.chance(0.5) else None
        alpha = self.chance(0.5)
        stable = key in ("sort:l", "sort{t}l", "sort{t}n")
        if by is not None and "*" in by and alpha and (limited or not stable):
            alpha = False
        if by in ("nosort", "", "#") and not stable and key != "sort:z":
            by = None
        if by is not None:
            options.append([self.option("BY"), by])
        if alpha:
            options.append([self.option("ALPHA")])
        if limited:
            options.append([self.option("LIMIT"), self.small(), self.small()])
        if self.chance(0.4):
            options.append([self.option("ASC", "DESC")])
        for _ in range(self.pick([0, 0, 0, 1, 2])):
            options.append([self.option("GET"), self.pick(["#", "w:*", "x:*", "h:*->f", "h:*->g", "none", "{t}*", "*"])])
        if self.chance(0.25):
            options.append([self.option("STORE"), self.pick(["sort:d", "sort{t}d", "w:1", key])])
        self.rng.shuffle(options)
        return [self.pick(["SORT", "SORT", "SORT", "SORT_RO"]), key] + sum(options, [])

    def c_sort_look(self):
        key = self.pick(["sort:d", "sort{t}d", "sort:l", "sort{t}l", "sort{t}n"])
        return self.pick([["LRANGE", key, "0", "-1"], ["OBJECT", "ENCODING", key], ["DEL", key], ["TYPE", key]])

    def sort_families(self):
        return [(2, self.c_sort_fill), (2, self.c_sort_set_weight), (4, self.c_sort), (1, self.c_sort_look)]
