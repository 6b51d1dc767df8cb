# SPDX-License-Identifier: BSD-3-Clause
"""Expressions of Lua that use the libraries of scripts (cjson, cmsgpack, struct, bit): right ones, wrong ones, and bytes that mean harm.

A table has one key that is no number at most: the order of others is Lua's own business (docs/compat.md).
"""

import random

# What an expression comes to, as text: `expression` is ARGV[1].
SAYS = """
local function shown(v)
  if type(v) == 'number' then return string.format('%.17g', v) end
  if type(v) == 'table' then
    local names, out = {}, {}
    for k in pairs(v) do names[#names + 1] = {shown(k), k} end
    table.sort(names, function(a, b) return a[1] < b[1] end)
    for _, k in ipairs(names) do out[#out + 1] = k[1] .. '=' .. shown(v[k[2]]) end
    table.sort(out)
    return '{' .. table.concat(out, ' ') .. '}'
  end
  if type(v) == 'userdata' then return 'null' end
  return type(v) .. ':' .. tostring(v)
end
local function told(good, ...)
  if not good then return 'error ' .. tostring((...)) end
  local out = {}
  for i = 1, select('#', ...) do out[i] = shown((select(i, ...))) end
  return table.concat(out, ' ')
end
return told(pcall(assert(loadstring('return ' .. ARGV[1], '=t'))))
"""

NUMBERS = "1/0 -1/0 0/0 1e14 99999999999999 -99999999999999.5 0.1 1e300 5e-324 -0.5 2^63 -2^63 2^64".split()
STRINGS = [b"", b"a", b"abc", b"1", b"12.5", b"0x10", "é€😀".encode(), b'/\\"\b\f\n\r\t\x7f\0']
SIZES = [31, 32, 33, 255, 256, 257, 1023, 1024, 1025, 3000]
JSON = "null true false 0 -0 1 12345678901234567890 1.5e3 -1e-7 1E+2 0.1 123456789012345 1234567890123456 -15".split()
JSON_ODD = (
    "nan NaN inf -inf Infinity infinity 0x1F 007 +1 - 1e 1. -.5 .5 nul tru fals nan(abc) -0x1p3 1e999 i N I t n -nan 1x 12a".split()
)
JSON_PARTS = ["a", "\\n", "\\u0041", "\\u00e9", "\\u20ac", "\\ud83d\\ude00", "\\/", "\\\\", '\\"', "é", "x" * 300, "\t", "\x7f", "\x01"]
JSON_BAD_PARTS = ["\\ud83d", "\\ude00", "\\uD800\\u0041", "\\x", "\\u12g4", "\\u", "\0", "\\", "\\ud83d\\n"]
JSON_BYTES = b'[]{}",:\\0123456789truefalsn ue\0+-.xE'
PACKED_NUMBERS = [(0xCA, 4), (0xCB, 8), (0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8), (0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8)]
FORMATS = "bBhHlLTiIfdsxc<>! " * 2 + "bhid"
FORMATS_ODD = "c0 bc0 dc0 sc0 i2147483648 c99999999999 c2147483647 z ? q \\000 !0 !1 !2 !3 !4 !8 !16 !64".split()
BITS = "tobit tohex bnot band bor bxor lshift rshift arshift rol ror bswap".split()


def quoted(data):
    return '"%s"' % "".join("\\%03d" % c for c in data)


class Expressions:
    def __init__(self, seed):
        self.rng = random.Random(seed)

    def bytes(self, n):
        return bytes(self.rng.randrange(256) for _ in range(n))

    def number(self):
        r = self.rng
        return r.choice(
            [
                lambda: str(r.randrange(-200, 300)),
                lambda: str(r.randrange(-(2**33), 2**33)),
                lambda: repr(r.random() * 10 ** r.randrange(-20, 20)),
                lambda: r.choice(["2^%d", "-2^%d", "(2^%d-1)", "-(2^%d+1)"]) % r.randrange(66),
                lambda: r.choice(NUMBERS),
            ]
        )()

    def string(self):
        r = self.rng
        return quoted(r.choice([r.choice(STRINGS), self.bytes(r.randrange(12)), b"x" * r.choice(SIZES)]))

    def key(self):
        number = self.rng.choice([str(self.rng.randrange(-1, 20)), self.number(), "3"])
        return "7" if number == "0/0" else number

    def value(self, depth=0):
        r = self.rng
        kind = r.randrange(14)
        if kind < 4:
            return self.number()
        if kind < 7:
            return self.string()
        if kind < 9:
            return r.choice(["true", "false", "nil", "cjson.null", "string.rep", "true", "true"])
        if depth > 4:
            return "{}"
        n = r.choice([0, 1, 2, 3, 3, 5, 16, 17]) if depth < 2 else r.randrange(4)
        if kind < 11:
            return "{%s}" % ",".join(self.value(depth + 1) for _ in range(n))
        if kind == 11:
            return "{[%s]=%s}" % (r.choice([self.string(), self.string(), "true", "0/0"]), self.value(depth + 1))
        return "{%s}" % ",".join("[%s]=%s" % (self.key(), self.value(depth + 1)) for _ in range(n))

    def json(self, depth=0):
        r = self.rng
        kind = r.randrange(13)
        if kind < 2:
            return r.choice(JSON)
        if kind < 3:
            return r.choice(JSON_ODD)
        if kind < 6:
            parts = JSON_PARTS + (JSON_BAD_PARTS if r.random() < 0.1 else [])
            return '"%s"' % "".join(r.choice(parts) for _ in range(r.randrange(6)))
        if depth > 5:
            return "[]"

        def blank():
            return r.choice(["", "", " ", "\n\t", "\r"])

        if kind < 9:
            return "[%s%s]" % (blank(), ("," + blank()).join(self.json(depth + 1) + blank() for _ in range(r.randrange(5))))
        pairs = ('"%s"%s:%s%s' % (r.choice(["a", "b", "1", "", "\\n"]), blank(), blank(), self.json(depth + 1)) for _ in range(r.randrange(5)))
        return "{%s%s}" % (blank(), ("," + blank()).join(pairs))

    def packed(self, depth=0):
        r = self.rng
        kind = r.randrange(12)
        if kind < 3:
            return self.bytes(1)
        if kind < 4:
            return bytes([r.choice([0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xC7, 0xD4])])
        if kind < 7:
            first, size = r.choice(PACKED_NUMBERS)
            return bytes([first]) + self.bytes(size)
        if kind < 9:
            n = r.randrange(40)
            return r.choice([bytes([0xA0 | n & 31]), bytes([0xD9, n]), bytes([0xDA, 0, n]), bytes([0xDB, 0, 0, 0, n])]) + self.bytes(n)
        if depth > 5:
            return b"\x90"
        n = r.randrange(4)
        if kind < 11:
            head = r.choice([bytes([0x90 | n]), bytes([0xDC, 0, n]), bytes([0xDD, 0, 0, 0, n])])
            return head + b"".join(self.packed(depth + 1) for _ in range(n))
        n %= 2  # of several keys that are tables, nobody knows the order
        head = r.choice([bytes([0x80 | n]), bytes([0xDE, 0, n]), bytes([0xDF, 0, 0, 0, n])])
        return head + b"".join(self.packed(depth + 1) for _ in range(2 * n))

    def changed(self, data, alphabet):
        """A few bytes of it are others, missing, there twice, or come from nowhere."""
        r = self.rng
        data = bytearray(data)
        for _ in range(r.choice([0, 0, 0, 1, 1, 2, 3])):
            kind, at = r.randrange(5), r.randrange(len(data) + 1)
            if kind == 0 and at < len(data):
                data[at] = r.choice(alphabet)
            elif kind == 1:
                del data[at : at + 1]
            elif kind == 2:
                data.insert(at, r.choice(alphabet))
            elif kind == 3:
                del data[at:]
            else:
                data[at:at] = data[at : at + r.randrange(6)]
        return bytes(data)

    def message(self):
        return quoted(self.changed(b"".join(self.packed() for _ in range(self.rng.randrange(1, 4))), bytes(range(256))))

    def format(self):
        r = self.rng
        letters = []
        for _ in range(r.randrange(1, 7)):
            odd = r.choice(FORMATS_ODD + ["%s%d" % (r.choice("iIc"), r.randrange(34)) for _ in range(9)])
            letters.append(odd if r.random() < 0.3 else r.choice(FORMATS))
        return '"%s"' % "".join(letters)

    def some(self, what, most):
        return ",".join(what() for _ in range(self.rng.randrange(1, most)))

    def next(self):
        r = self.rng
        number_or_string = lambda: self.number() if r.random() < 0.8 else self.string()  # noqa: E731
        data = lambda: quoted(bytes(r.choice([0, 0, 1, 2, 3, 5, 128, 255, r.randrange(256)]) for _ in range(r.choice([0, 3, 9, 30, 60]))))  # noqa: E731
        offset = lambda: r.choice([str(r.randrange(-2, 8)), str(r.randrange(-2, 8)), self.number(), "nil", self.string()])  # noqa: E731
        return r.choice(
            [
                lambda: "cjson.encode(%s)" % self.value(),
                lambda: "cjson.decode(%s)" % quoted(self.changed(self.json().encode(), JSON_BYTES)),
                lambda: "cmsgpack.pack(%s)" % self.some(self.value, 4),
                lambda: "cmsgpack.unpack(%s)" % self.message(),
                lambda: "cmsgpack.unpack_one(%s,%s)" % (self.message(), offset()),
                lambda: "cmsgpack.unpack_limit(%s,%s)" % (self.message(), self.some(offset, 3)),
                lambda: "struct.pack(%s,%s)" % (self.format(), self.some(number_or_string, 6)),
                lambda: "struct.unpack(%s,%s,%s)" % (self.format(), data(), r.choice(["1", "nil", offset()])),
                lambda: "struct.size(%s)" % self.format(),
                lambda: "bit.%s(%s)" % (r.choice(BITS), self.some(number_or_string, 4)),
            ]
        )()
