# SPDX-License-Identifier: BSD-3-Clause
"""A build names the commit that it was made from, and says whether anything was changed since."""

import re
import shutil
import subprocess

import pytest
import tree


def described():
    done = subprocess.run(
        ["git", "--no-optional-locks", "describe", "--always", "--exclude=*", "--abbrev=8", "--dirty"], cwd=tree.ROOT, capture_output=True, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else "00000000"


def test_the_commit_is_that_of_the_tree():
    """It always said that the tree was changed: git looked at the folder of the build file alone."""
    if not tree.tracked():
        pytest.skip("no git here")
    ninja = shutil.which("ninja") or pytest.skip("no ninja here")
    subprocess.run([ninja, "-C", tree.BUILD, "server/commit.c"], check=True, capture_output=True)
    with open(tree.BUILD + "/server/commit.c") as f:
        assert re.search(r'build_commit\[\] = "(.*)"', f.read()).group(1) == described()
