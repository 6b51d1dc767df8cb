# SPDX-License-Identifier: BSD-3-Clause
"""Tests with the mark timing may try again; no others may, and none whose server does not end well."""

import os
import subprocess
import sys

import tree

sys.path.insert(0, os.path.join(tree.ROOT, "test"))

import run as suite  # noqa: E402

CASES = """
import os

import pytest

seen = {}


def nth(name):
    seen[name] = seen.get(name, 0) + 1
    return seen[name]


@pytest.fixture
def dies():
    yield
    raise AssertionError("the server died")


@pytest.mark.timing
@pytest.mark.parametrize("good", (1, 2, 3, 4))
def test_of_time(good):
    assert nth(good) == good


def test_of_facts():
    assert nth("fact") == 2


@pytest.mark.timing
def test_with_a_crash(dies):
    assert nth("crash") == 2


@pytest.mark.timing
def test_with_a_crash_behind_it(dies):
    pass
"""


def test_who_may_try_again(tmp_path):
    cases, report = tmp_path / "test_cases.py", tmp_path / "report.xml"
    cases.write_text(CASES)
    command = [suite.PYTHON, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", "-o", "junit_family=xunit1"]
    command += ["--rootdir", tmp_path, "--junitxml", report, "--server", os.path.join(tree.BUILD, "server", "shoal-server"), cases]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": os.path.join(tree.ROOT, "test", "integration")}, capture_output=True, text=True)
    passed, failed, skipped = suite.read_junit(report)
    assert (passed, skipped) == (3, 0), done.stdout + done.stderr
    assert sorted(set(failed)) == ["test_cases.%s" % name for name in ("test_of_facts", "test_of_time[4]", "test_with_a_crash", "test_with_a_crash_behind_it")]
    again = ["test_cases.test_of_time[%d] (%d attempts)" % row for row in ((2, 2), (3, 3), (4, 3))]
    assert suite.tried_again(report) == again
