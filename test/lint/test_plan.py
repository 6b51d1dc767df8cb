# SPDX-License-Identifier: BSD-3-Clause
"""What ./dev test runs: no row is lost when tests say that not all matter, it stays within its time, and it says how far it is."""

import os
import signal
import subprocess
import sys
import threading

import pytest
import tree

sys.path.insert(0, os.path.join(tree.ROOT, "test"))

import run as suite  # noqa: E402

SHARDS = {shards for _, shards in suite.MATRIX}
BACKENDS = {backend for backend, _ in suite.MATRIX}


def plan(*args):
    command = [suite.PYTHON, os.path.join(tree.ROOT, "test", "run.py"), "--plan", *args]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_matrix_is_every_backend_with_every_number_of_shards():
    assert set(suite.MATRIX) == {(b, s) for b in ("uring", "epoll") for s in (1, 2, 4)}


@pytest.mark.parametrize("rows", (suite.EACH, suite.DIFFERENTIAL, suite.CHECKER))
def test_shorter_lists_of_rows_still_have_each_number_of_shards_and_each_backend(rows):
    assert {shards for _, shards in rows} >= SHARDS
    assert {backend for backend, _ in rows} == BACKENDS


def test_what_runs_once_runs():
    assert suite.ONCE and set(suite.EACH) | set(suite.PAIR) <= set(suite.MATRIX)
    assert set(suite.ONCE) <= set(suite.EACH) & set(suite.PAIR)  # a test of a file that runs in some rows may need one of them only
    assert {backend for backend, _ in suite.PAIR} == BACKENDS and 1 in {shards for _, shards in suite.PAIR} < SHARDS
    assert {backend for backend, _ in suite.QUICK} == {backend for backend, _ in suite.NODE} == BACKENDS


def test_what_stands_in_front_of_servers_runs_with_each_number_of_shards(monkeypatch):
    assert {shards for _, shards in suite.NODE + suite.NODE_FRONT} == SHARDS and {backend for backend, _ in suite.NODE_FRONT} == BACKENDS
    seen = []
    monkeypatch.setattr(suite.os.path, "getmtime", lambda path: 0)
    monkeypatch.setattr(suite.os.path, "exists", lambda path: True)
    monkeypatch.setattr(suite, "run", lambda command, env, cwd: seen.append((env["SHOAL_IO_BACKEND"], env["SHOAL_SHARDS"], command[3:])) or (0, "# pass 1\n"))
    for step in runner("node").plan:
        assert step.act() == (1, [], 0, 0)
    monkeypatch.undo()
    whole = [files for backend, shards, files in seen if shards == "2"]
    front = ["applications.test.mjs", "ioredis.test.mjs", "node-redis.test.mjs"]
    assert len(whole) == 2 and all(set(files) > set(front) for files in whole)
    assert [one for one in seen if one[1] != "2"] == [("uring", "1", front), ("epoll", "4", front)]


def left_out(steps, backend, shards):
    """Marks whose tests are left out in a row of a plan: read from what would be run."""
    seen = []
    runner_pytest, suite.Runner.pytest = suite.Runner.pytest, lambda self, name, folder, args=(), env=None: seen.append(args)
    try:
        next(s for s in steps if s.name == suite.row_name("integration", backend, shards)).act()
    finally:
        suite.Runner.pytest = runner_pytest
    args = seen[0]
    return args[args.index("--leave-out") + 1].split(",") if "--leave-out" in args else []


def runner(*args):
    return suite.Runner(*suite.parse_arguments(["--plan", *args]))


def test_rows_are_left_out_in_the_whole_matrix_only():
    steps = runner("integration").plan
    assert left_out(steps, "epoll", 4) == ["row_each", "row_pair", "row_once"]
    for mark, rows in suite.ROWS_OF.items():
        assert {r for r in suite.MATRIX if mark not in left_out(steps, *r)} == set(rows)
    for args in (["--shards", "4"], ["--io-backend", "epoll"], ["--", "-k", "incr"]):
        assert not left_out(runner("integration", *args).plan, "epoll", 4)


def test_what_writes_do_is_tried_with_a_log(monkeypatch):
    """Of files that are there, in the whole matrix only."""
    seen = []
    monkeypatch.setattr(suite.Runner, "pytest", lambda self, name, folder, args=(), env=None: seen.append([folder, *args]))
    for step in runner("integration").plan:
        step.act()
    logged = [args for args in seen if "--appendonly" in args]
    assert len(logged) == len(suite.LOGGED) > 0
    files = [word for word in logged[0] if word.endswith(".py")]
    assert len(files) > 10 and all(os.path.exists(os.path.join(tree.ROOT, path)) for path in files)
    assert not [s for s in runner("quick").plan if "log" in s.name]


def test_everything_fits_into_three_quarters_of_an_hour_and_quick_into_three_minutes():
    """As the steps were measured, three at a time on two processors."""
    assert sum(step.seconds for step in runner().plan) / 3 < 45 * 60
    assert sum(step.seconds for step in runner("quick").plan) / 3 < 3 * 60


@pytest.mark.parametrize(
    "args, text",
    (
        (["nosuch"], "no part 'nosuch'"),
        (["quick", "unit"], "quick"),
        (["--shards", "7"], "no row"),
        (["node", "--shards", "3"], "no row"),
        (["--server", "/no/such/server"], "/no/such/server"),
        (["--seed", "x"], "--seed"),
    ),
)
def test_what_cannot_be_run_is_refused_by_the_plan(args, text):
    done = plan(*args)
    assert done.returncode == 2 and text in done.stderr and not done.stdout


def test_the_plan_names_its_steps():
    done = plan("integration", "--shards", "2")
    assert done.returncode == 0
    assert [line.split("  ")[0] for line in done.stdout.splitlines()[:-1]] == ["integration, %s, 2 shards" % b for b in ("uring", "epoll")]
    assert done.stdout.splitlines()[-1].startswith("2 steps, about ")


def test_the_time_left_follows_how_fast_the_steps_are(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(suite.time, "monotonic", lambda: now[0])
    steps = [suite.Step("a", 10, None), suite.Step("b", 20, None), suite.Step("c", 30, None)]
    progress = suite.Progress(steps)
    now[0] += 15  # half more than was estimated
    head, left = progress.end(steps[0])
    assert head.split() == ["[1/3]", "a"] and left == ", about 75 s left"
    now[0] += 15
    assert progress.end(steps[1])[1] == ", about 30 s left"
    now[0] += 100
    head, left = progress.end(steps[2])
    assert head.split() == ["[3/3]", "c"] and left == ""


def test_steps_run_side_by_side_and_each_says_its_line(capsys):
    both = threading.Barrier(2, timeout=30)

    def act(passed, failed):
        both.wait()
        return passed, failed, 0, 0

    tests = runner("lint", "--jobs", "2")
    tests.plan = [suite.Step("one", 1, lambda: act(3, [])), suite.Step("two", 1, lambda: act(1, ["x"]))]
    assert tests.all() == 1
    out = capsys.readouterr().out
    assert "/2] one" in out and "/2] two" in out and "FAILED two: x" in out
    assert out.splitlines()[-1] == "4 passed, 1 failed"


def hanging(command, came_far):
    """What run() says of a command that hangs; it has more time until it came so far, or says something."""
    for timeout in (1, 5, 20, 60):
        status, text = suite.run(command, timeout=timeout)
        if text or came_far():
            break
    return status, text


@pytest.fixture
def in_background():
    """As what a shell runs in the background, which does not hear the keyboard."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_step_that_hangs_may_tidy_up(in_background):
    code = "import time, sys\ntry:\n time.sleep(1000)\nexcept KeyboardInterrupt:\n print('was here')\n sys.exit(3)"
    status, text = hanging([suite.PYTHON, "-c", code], lambda: False)
    assert status == 124 and text == "was here\n"


def test_a_step_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    pid = tmp_path / "pid"
    status, _ = hanging(["sh", "-c", "sleep 1000 & echo $! >%s.new; mv %s.new %s; wait" % (pid, pid, pid)], pid.exists)
    assert status == 124
    child = int(pid.read_text())
    for _ in range(100):
        try:
            with open("/proc/%d/stat" % child) as f:
                if f.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return
        except FileNotFoundError:
            return
        suite.time.sleep(0.05)
    pytest.fail("process %d goes on" % child)
