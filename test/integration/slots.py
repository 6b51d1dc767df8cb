# SPDX-License-Identifier: BSD-3-Clause
"""slots: which of the 16384 slots a key is in, by the book."""

CRC16 = []
for byte in range(256):
    crc = byte << 8
    for _ in range(8):
        crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
    CRC16.append(crc & 0xFFFF)


def slot(key):
    """The hash slot of a key."""
    if b"{" in key:
        tag = key.split(b"{", 1)[1].split(b"}", 1)
        if len(tag) == 2 and tag[0]:
            key = tag[0]
    crc = 0
    for byte in key:
        crc = ((crc << 8) & 0xFFFF) ^ CRC16[((crc >> 8) ^ byte) & 0xFF]
    return crc % 16384


def tag_of(part, parts):
    """A hash tag whose keys lie on that shard."""
    return next(b"t%d" % i for i in range(100_000) if slot(b"t%d" % i) * parts // 16384 == part)
