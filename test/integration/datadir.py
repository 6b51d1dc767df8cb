# SPDX-License-Identifier: BSD-3-Clause
"""datadir: directories of Shoal's data written byte by byte, as docs/durability.md describes them: what shoal-check is tried on."""

import ctypes
import ctypes.util
import os
import random
import struct

from resp import encode

HEAD = 64
BLOCK_HEAD = 112
RUN = 24


def _library():
    found = ctypes.CDLL(ctypes.util.find_library("xxhash") or "libxxhash.so.0")
    found.XXH3_64bits.restype = found.XXH3_64bits_withSeed.restype = ctypes.c_uint64
    found.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    found.XXH3_64bits_withSeed.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    return found


LIBRARY = _library()


def xxh3(data, seed=None):
    return LIBRARY.XXH3_64bits(data, len(data)) if seed is None else LIBRARY.XXH3_64bits_withSeed(data, len(data), seed)


def record(db, *words):
    """A command as the log has it; db: a number, or "DB.ORDER" for which of its transaction's it is of."""
    return encode(*(["@%s" % db] if db else []), *words)


class Segment:
    """A shard's log between two rotations. `blocks` has where each begins."""

    def __init__(self, shard, sequence=1, generation=1, salt=None, first_record=0):
        self.shard, self.sequence, self.generation = shard, sequence, generation
        self.salt = random.getrandbits(64) if salt is None else salt
        self.records = first_record
        head = b"SHOALLOG" + struct.pack("<IIQQQQQ", 1, shard, generation, sequence, 1790000000000, first_record, self.salt)
        self.data = head + struct.pack("<Q", xxh3(head))
        self.blocks = []
        self.closed, self.until = False, 0

    @property
    def name(self):
        return "log-%d-%d.segment" % (self.shard, self.sequence)

    def line(self):
        return "segment shard %d sequence %d salt %016x bytes %d until %d generation %d\n" % (
            self.shard, self.sequence, self.salt, len(self.data) if self.closed else 0, self.until, self.generation)

    def block(self, *runs, synced=0, safe=0, time_ms=1790000000000):
        """Runs are (number, parts, records)."""
        payload, table, count = b"", b"", 0
        for number, parts, records in runs:
            joined = b"".join(records)
            table += struct.pack("<QQII", number, len(joined), len(records), parts)
            payload += joined
            count += len(records)
        rest = struct.pack("<QQQQQQQQ20sIII", len(payload), len(payload), len(self.data), self.records, synced, safe, time_ms, 0,
                           b"", count, len(runs), 0) + table + payload
        self.blocks.append(len(self.data))
        self.data += b"ShBlock1" + struct.pack("<Q", xxh3(rest, self.salt)) + rest
        self.records += count


class Base:
    """A file of a snapshot; `keys` is an RDB stream of that many keys."""

    def __init__(self, shard, shards, keys=b"", count=0, generation=1, number=0, salt=None):
        self.shard, self.generation, self.count = shard, generation, count
        self.salt = random.getrandbits(64) if salt is None else salt
        head = b"SHOALSNP" + struct.pack("<IIIIQQQQ", 1, shard, shards, 0, generation, 1780000000000, number, self.salt)
        self.data = head + struct.pack("<Q", xxh3(head))
        self.frames = 0
        if count:
            self.frame(keys, count, 0)
        self.frame(b"", count, 2)

    def frame(self, content, keys, flags):
        rest = struct.pack("<IIQQQIII12s", len(content), len(content), self.frames, len(self.data), keys, flags, 0,
                           0 if flags & 2 else 16383, b"") + content
        self.data += b"ShFrame1" + struct.pack("<Q", xxh3(rest, self.salt)) + rest
        self.frames += 1

    @property
    def name(self):
        return "base-%d-%d.snapshot" % (self.generation, self.shard)

    def line(self):
        return "base shard %d salt %016x bytes %d keys %d\n" % (self.shard, self.salt, len(self.data), self.count)


def manifest(shards, bases=(), segments=(), generation=1, first=1, created_ms=1780000000000):
    text = "shoal-manifest 1\ngeneration %d created-ms %d first %d shards %d\n" % (generation, created_ms, first, shards)
    text += "".join(one.line() for one in sorted(bases, key=lambda b: b.shard))
    text += "".join(one.line() for one in sorted(segments, key=lambda s: (s.shard, s.sequence)))
    return text.encode() + b"end %016x\n" % xxh3(text.encode())


def write(path, shards, bases=(), segments=(), **kwargs):
    os.makedirs(path, exist_ok=True)
    for one in list(bases) + list(segments):
        with open(os.path.join(path, one.name), "wb") as f:
            f.write(one.data)
    with open(os.path.join(path, "shoal.manifest"), "wb") as f:
        f.write(manifest(shards, bases, segments, **kwargs))
    return path
