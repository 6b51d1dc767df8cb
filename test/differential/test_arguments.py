# SPDX-License-Identifier: BSD-3-Clause
"""Calls whose arguments are wrong in every way (arguments.py), answered as by Valkey: which check comes first, and what it says."""

import os

import pytest

from arguments import FAMILIES, FILL, Arguments, commands
from compare import Unfolding, normal
from resp import encode

PARTS = int(os.environ.get("SHOAL_ARGUMENT_PARTS", "40"))
CALLS_A_PART = 40


def ask(server, calls):
    """Replies on keys that were filled anew."""
    with server.raw(timeout=60) as c:
        before = [["FLUSHALL"]] + commands(FILL)
        c.send(b"".join(encode(*call) for call in before + calls))
        return [c.read_raw() for _ in before + calls][len(before) :]


def first_difference(shoal, valkey, calls):
    ours, theirs, queue = ask(shoal, calls), ask(valkey, calls), Unfolding()
    for at, call in enumerate(calls):
        for asked, ((value, raw), (other, other_raw)) in queue.unfold(call, [ours[at], theirs[at]]):
            asked = [word.encode() for word in asked]
            if normal(asked, value, raw) != normal(asked, other, other_raw):
                return at, b" ".join(asked), raw, other_raw
    return None


@pytest.mark.parametrize("seed", (1, 2))
@pytest.mark.parametrize("family", FAMILIES)
def test_wrong_arguments_are_refused_as_in_valkey(shoal, valkey, family, seed):
    arguments = Arguments(family, seed)
    found = []
    for _ in range(PARTS):
        calls = arguments.calls(CALLS_A_PART)
        difference = first_difference(shoal, valkey, calls)
        for _ in range(3):  # GT and LT compare deadlines that the two set in their own milliseconds
            difference = difference and first_difference(shoal, valkey, calls)
        if difference is not None:
            alone = first_difference(shoal, valkey, [calls[difference[0]]])
            found.append(difference[1:] + ("alone" if alone else "after %s" % calls[: difference[0]],))
    assert not found, "\n" + "\n".join("%s\n    ours   %s\n    theirs %s\n    %s" % one for one in found)
