# SPDX-License-Identifier: BSD-3-Clause
"""Dumps of values made by hand, in forms that no server writes any more: what Redis up to 6.2 and Valkey still read."""

import struct

POLYNOMIAL = 0x95AC9329AC4BC9B5


def _row(byte):
    for _ in range(8):
        byte = byte >> 1 ^ (POLYNOMIAL if byte & 1 else 0)
    return byte


TABLE = [_row(i) for i in range(256)]


def crc64(data):
    crc = 0
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc


def length(n):
    if n < 64:
        return bytes([n])
    if n < 16384:
        return bytes([0x40 | n >> 8, n & 255])
    return b"\x80" + struct.pack(">I", n) if n < 2**32 else b"\x81" + struct.pack(">Q", n)


def text(data):
    return length(len(data)) + data


def dump(kind, body, version=9):
    data = bytes([kind]) + body + struct.pack("<H", version)
    return data + struct.pack("<Q", crc64(data))


def signed(data):
    """The dump that these bytes are, with a checksum that is right."""
    return data[:-8] + struct.pack("<Q", crc64(data[:-8]))


def _ziplist_content(element):
    try:
        number = int(element)
        if str(number).encode() != element:
            raise ValueError
    except ValueError:
        n = len(element)
        head = bytes([n]) if n < 64 else bytes([0x40 | n >> 8, n & 255]) if n < 16384 else b"\x80" + struct.pack(">I", n)
        return head + element
    if 0 <= number <= 12:
        return bytes([0xF1 + number])
    if -128 <= number < 128:
        return b"\xfe" + struct.pack("<b", number)
    if -(2**15) <= number < 2**15:
        return b"\xc0" + struct.pack("<h", number)
    if -(2**23) <= number < 2**23:
        return b"\xf0" + struct.pack("<i", number)[:3]
    if -(2**31) <= number < 2**31:
        return b"\xd0" + struct.pack("<i", number)
    return b"\xe0" + struct.pack("<q", number)


def ziplist(elements):
    items, before, last = b"", 0, 0
    for element in elements:
        item = (bytes([before]) if before < 254 else b"\xfe" + struct.pack("<I", before)) + _ziplist_content(element)
        last = len(items)
        items += item
        before = len(item)
    count = min(len(elements), 65535)
    return struct.pack("<IIH", 11 + len(items), 10 + last, count) + items + b"\xff"


def zipmap(pairs):
    def size(n):
        return bytes([n]) if n < 254 else b"\xfe" + struct.pack("<I", n)

    out = bytes([min(len(pairs), 254)])
    for i, (name, value) in enumerate(pairs):
        unused = i % 3
        out += size(len(name)) + name + size(len(value)) + bytes([unused]) + value + b"?" * unused
    return out + b"\xff"


def _listpack_content(element):
    """A number as it would be in the row, or bytes."""
    if isinstance(element, int):
        if 0 <= element < 128:
            return bytes([element])
        return b"\xf4" + struct.pack("<q", element)
    n = len(element)
    head = bytes([0x80 | n]) if n < 64 else bytes([0xE0 | n >> 8, n & 255]) if n < 4096 else b"\xf0" + struct.pack("<I", n)
    return head + element


def listpack(elements):
    items = b""
    for element in elements:
        content = _listpack_content(element)
        back, n = b"", len(content)
        while True:  # its length once more, seven bits a byte, to be read from the right
            back = bytes([n & 127 | (128 if back else 0)]) + back
            n >>= 7
            if n == 0:
                break
        back = bytes([back[0] & 127]) + bytes(b | 128 for b in back[1:])
        items += content + back
    return struct.pack("<IH", 7 + len(items), min(len(elements), 65535)) + items + b"\xff"


def hash_of_redis(fields, packed):
    """A hash as Redis from 7.4 on has it if there are deadlines: (name, value, ms or 0). Its type and body."""
    first = min((ms for _, _, ms in fields if ms), default=2**48)
    if packed:
        return 25, struct.pack("<Q", first) + text(listpack([item for name, value, ms in fields for item in (name, value, ms)]))
    body = b"".join(length(ms - first + 1 if ms else 0) + text(name) + text(value) for name, value, ms in fields)
    return 24, struct.pack("<Q", first) + length(len(fields)) + body


def redis_file(*keys, version=12):
    """A file as Redis writes it, with a checksum: (name, type, body) or bytes as they are."""
    data = b"REDIS%04d" % version + b"\xfa" + text(b"redis-ver") + text(b"8.0.2") + b"\xfe\x00\xfb" + length(len(keys)) + b"\x00"
    for key in keys:
        data += key if isinstance(key, bytes) else bytes([key[1]]) + text(key[0]) + key[2]
    data += b"\xff"
    return data + struct.pack("<Q", crc64(data))


def intset(numbers):
    numbers = sorted(numbers)
    width = next(w for w in (2, 4, 8) if all(-(1 << 8 * w - 1) <= n < 1 << 8 * w - 1 for n in numbers))
    form = {2: "<h", 4: "<i", 8: "<q"}[width]
    return struct.pack("<II", width, len(numbers)) + b"".join(struct.pack(form, n) for n in numbers)


def digits(score):
    if score != score:
        return b"\xfd"
    if score in (float("inf"), float("-inf")):
        return b"\xfe" if score > 0 else b"\xff"
    data = repr(score).encode()
    return bytes([len(data)]) + data


def old_forms(rng, sizes, element):
    """(name, dump): values of these sizes, each in a form of older servers; element(rng) makes one element."""
    for n in sizes:
        elements = [element(rng) for _ in range(n)]
        names = sorted(set(elements)) or [b"a"]
        pairs = [(name, element(rng)) for name in names]
        scores = [(name, float(rng.choice([rng.randrange(100), 1.5, -2.25, 1e20, float("inf")]))) for name in names]
        ordered = sorted(scores, key=lambda pair: (pair[1], pair[0]))
        flat = [item for pair in pairs for item in pair]
        packed = [item for name, value in ordered for item in (name, (b"%d" % value if value == int(value) else repr(value).encode()) if abs(value) < 1e18 else repr(value).encode())]
        numbers = {rng.randrange(-100, 100) for _ in range(n)} | {rng.randrange(-(2 ** rng.choice([15, 31, 40])), 2**15) for _ in range(n)}
        yield "list", dump(1, length(n) + b"".join(map(text, elements)), 6)
        yield "set", dump(2, length(len(names)) + b"".join(map(text, names)))
        yield "zset", dump(3, length(len(names)) + b"".join(text(name) + digits(value) for name, value in scores), 6)
        yield "hash", dump(4, length(len(pairs)) + b"".join(map(text, flat)))
        yield "zipmap", dump(9, text(zipmap(pairs)), 2)
        yield "list ziplist", dump(10, text(ziplist(elements)), 6)
        yield "intset", dump(11, text(intset(numbers)))
        yield "zset ziplist", dump(12, text(ziplist(packed)))
        yield "hash ziplist", dump(13, text(ziplist(flat)))
        nodes = [elements[i : i + 7] for i in range(0, n, 7)]
        yield "quicklist", dump(14, length(len(nodes)) + b"".join(text(ziplist(node)) for node in nodes))
