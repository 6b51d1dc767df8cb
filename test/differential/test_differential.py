# SPDX-License-Identifier: BSD-3-Clause
"""A short run of the differential tester, and all fixed questions. For a long run see run.py."""

import os
import subprocess
import sys

import pytest

import questions
from conftest import HERE, SHOAL
from server import find_peer, kind_of

BLOCKS = questions.blocks()
OPS = int(os.environ.get("SHOAL_DIFFERENTIAL_OPS", "20000"))


def show(found):
    return "\n".join("%s\n    ours   %r\n    theirs %r" % row for row in found)


@pytest.mark.parametrize("resp", (2, 3))
@pytest.mark.parametrize("name, lines", BLOCKS, ids=[b[0].replace(" ", "-") for b in BLOCKS])
def test_answers_as_valkey(shoal, valkey, name, lines, resp):
    found = questions.differences(shoal, valkey, lines, resp == 3)
    assert not found, "\n" + show(found)


@pytest.mark.parametrize("seed", (1, 2, 3))
def test_random_sequences(seed):
    """Random commands, all options, boundary values: same replies and final state as the peers that are here."""
    if not find_peer("valkey") and not find_peer("redis"):
        pytest.skip("neither valkey-server nor redis-server is here")
    command = [sys.executable, os.path.join(HERE, "run.py"), "--shoal", SHOAL, "--seed", str(seed), "--ops", str(OPS // 3)]
    if kind_of(SHOAL) != "shoal":
        command.append("--as-peer")
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-4000:]
