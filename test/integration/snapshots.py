# SPDX-License-Identifier: BSD-3-Clause
"""Reads the files of a snapshot, as docs/durability.md has them, and makes one RDB file of them that any server loads."""

import os
import struct


def unpack_lz4(data, size):
    """One block of LZ4."""
    out = bytearray()
    at = 0

    def more(n):
        nonlocal at
        if n == 15:
            while True:
                byte = data[at]
                at += 1
                n += byte
                if byte != 255:
                    break
        return n

    while at < len(data):
        token = data[at]
        at += 1
        literals = more(token >> 4)
        out += data[at : at + literals]
        at += literals
        if at == len(data):
            break
        back = data[at] | data[at + 1] << 8
        at += 2
        n = more(token & 15) + 4
        start = len(out) - back
        if back >= n:
            out += out[start : start + n]
        else:
            for i in range(n):
                out.append(out[start + i])
    assert len(out) == size
    return bytes(out)


def manifest(directory):
    """Lines of the manifest as lists of words, or None without one."""
    try:
        with open(os.path.join(directory, "appendonlydir", "shoal.manifest")) as f:
            return [line.split() for line in f]
    except FileNotFoundError:
        return None


def bases(directory):
    """Paths of the files, in the order of their shards, and the keys that the manifest says of each."""
    lines = manifest(directory)
    generation = lines[1][1]
    found = []
    for line in lines:
        if line[0] == "base":
            path = os.path.join(directory, "appendonlydir", "base-%s-%s.snapshot" % (generation, line[2]))
            assert os.path.getsize(path) == int(line[6])
            found.append((path, int(line[8])))
    return found


def frames(path):
    """(flags, keys, first slot, last slot, content) of each frame; looks at all that is not a checksum."""
    with open(path, "rb") as f:
        data = f.read()
    assert data[:8] == b"SHOALSNP" and struct.unpack_from("<I", data, 8)[0] == 1
    at, index, out = 64, 0, []
    while at < len(data):
        magic, _, stored, raw, number, where, keys, flags, first, last = struct.unpack_from("<8sQIIQQQIII", data, at)
        assert (magic, number, where) == (b"ShFrame1", index, at) and first <= last
        assert data[at + 60 : at + 72] == bytes(12)
        content = data[at + 72 : at + 72 + stored]
        out.append((flags, keys, first, last, content if stored == raw else unpack_lz4(content, raw)))
        at += 72 + stored
        index += 1
    assert out[-1][0] == 2 and out[-1][4] == b"" and all(flags in (0, 1) for flags, *_ in out[:-1])
    assert out[-1][1] == sum(frame[1] for frame in out[:-1])
    return out


def as_rdb(directory, version=b"REDIS0010"):
    """All of a snapshot as an RDB file without a checksum."""
    out = [version]
    for path, keys in bases(directory):
        found = frames(path)
        assert found[-1][1] == keys
        out += [frame[4] for frame in found]
    return b"".join(out) + b"\xff" + bytes(8)
