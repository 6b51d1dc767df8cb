# SPDX-License-Identifier: BSD-3-Clause
"""questions: reads questions.txt and asks."""

import os
import re

from compare import normal
from resp import encode

HERE = os.path.dirname(os.path.abspath(__file__))
ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "\\": b"\\", '"': b'"'}


def split(line):
    """Arguments of a line, quoted as redis-cli does; a backslash outside of quotes is itself."""
    args = []
    for quoted, bare in re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line):
        if bare:
            args.append(bare.replace("\\\\", "\\").encode())
            continue
        out, i = b"", 0
        while i < len(quoted):
            if quoted[i] == "\\" and quoted[i + 1] == "x":
                out += bytes([int(quoted[i + 2 : i + 4], 16)])
                i += 4
            elif quoted[i] == "\\":
                out += ESCAPES[quoted[i + 1]]
                i += 2
            else:
                out += quoted[i].encode()
                i += 1
        args.append(out)
    return args


def blocks():
    """[(name, [(line, call, compared)])]; a line `@closed` has no call."""
    out = []
    with open(os.path.join(HERE, "questions.txt")) as f:
        for line in f:
            line = line.strip()
            if line.startswith("== "):
                out.append((line[3:], []))
            elif line == "@closed":
                out[-1][1].append((line, None, True))
            elif line and not line.startswith("#"):
                out[-1][1].append((line, split(line.lstrip("!~")), not line.startswith("!")))
    return out


def ask(server, lines, resp3):
    """Replies to one block, one request at a time: (value, raw)."""
    with server.raw() as c, server.raw() as second:
        c.do("FLUSHALL")
        if resp3:
            c.do("HELLO", "3")
            second.do("HELLO", "3")
        out = []
        for line, call, _ in lines:
            asker = second if line.startswith("~") else c
            if call is None:
                out.append((None, b"closed" if asker.is_closed(2) else b"open"))
            else:
                asker.send(encode(*call))
                out.append(asker.read_raw())
        return out


def differences(server, mark, lines, resp3):
    """Lines that server and mark answer differently: [(line, server's reply, mark's reply)]."""
    ours, theirs = ask(server, lines, resp3), ask(mark, lines, resp3)
    out = []
    for (line, call, compared), (value, raw), (mark_value, mark_raw) in zip(lines, ours, theirs):
        if not compared:
            continue
        if call is None:
            same = raw == mark_raw
        else:
            same = normal(call, value, raw) == normal(call, mark_value, mark_raw)
        if not same:
            out.append((line, raw, mark_raw))
    return out
