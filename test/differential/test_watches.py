# SPDX-License-Identifier: BSD-3-Clause
"""What counts as a change of a key: after each command that writes, who has watched a key (WATCH) is refused or not as in Valkey, and who
tracks all keys (CLIENT TRACKING BCAST) is told of those that Valkey tells of."""

import pytest
import writes

from resp import Push, encode

# Not PFDEBUG: docs/compat.md says why.
CASES = [one for one in writes.CASES if not one["name"].startswith("pfdebug")]


def told(c):
    """The keys of all messages that came ahead of the reply."""
    keys = set()
    c.send(encode("PING"))
    while isinstance(message := c.read(), Push):
        keys.update(message[1] or ["all"])
    return keys


def changed(server, one, keys):
    """[(command, whether each key has changed, the keys that were told of)]"""
    with server.raw() as c, server.raw() as tracks, server.raw() as first, server.raw() as second, server.raw() as third:
        c.do("FLUSHALL")
        c.do("DEBUG", "SET-ACTIVE-EXPIRE", 0 if one.get("lazy") else 1)
        tracks.do("HELLO", "3")
        tracks.do("CLIENT", "TRACKING", "ON", "BCAST")
        writes.run(c, one["before"], one["name"])
        told(tracks)
        found = []
        for command in one["commands"]:
            watching = list(zip(keys, (first, second, third)))
            for key, w in watching:
                w.do("WATCH", key)
            writes.run(c, [command], one["name"])
            w_says = []
            for _, w in watching:
                w.do("MULTI")
                w_says.append(w.do("EXEC") != [])
            found.append((command, w_says, told(tracks)))
        c.do("DEBUG", "SET-ACTIVE-EXPIRE", 1)
        return found


@pytest.mark.parametrize("one", CASES, ids=[one["name"] for one in CASES])
def test_what_is_a_change_is_one_in_valkey(shoal, valkey, one):
    keys = [writes.words_of("{%s}" % letter, one["name"])[0] for letter in "abc"]
    assert changed(shoal, one, keys) == changed(valkey, one, keys)
