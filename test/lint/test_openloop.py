# SPDX-License-Identifier: BSD-3-Clause
"""The open loop of the benchmark suite: nothing that was due is left out, answers of all shapes are read, and what is built on it."""

import collections
import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest
import tree

sys.path.insert(0, os.path.join(tree.ROOT, "bench"))
import load  # noqa: E402
import servers  # noqa: E402
import workloads  # noqa: E402


@pytest.fixture(scope="module")
def openloop(tmp_path_factory):
    program = str(tmp_path_factory.mktemp("openloop") / "openloop")
    source = os.path.join(tree.ROOT, "bench", "openloop.c")
    subprocess.run([*tree.compiler(), "-std=c11", "-D_GNU_SOURCE", "-O1", "-I", tree.ROOT, source, "-o", program, "-lm"], check=True)

    def run(port, *arguments, code=0):
        done = subprocess.run([program, "--port", str(port), *arguments], capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stderr + done.stdout[:300]
        return json.loads(done.stdout) if done.stdout else done.stderr

    return run


def requests_of(stream):
    """Commands as they arrive, as lists of words."""
    while True:
        head = stream.readline()
        if not head:
            return
        words = []
        for _ in range(int(head[1:])):
            size = int(stream.readline()[1:])
            words.append(stream.read(size + 2)[:-2])
        yield words


@contextlib.contextmanager
def answering(answer, send=lambda s, data: s.sendall(data)):
    """A server that gives answer(n, words) to the n-th command. Yields its port, and the commands that have come."""
    seen, listener = [], socket.create_server(("127.0.0.1", 0))

    def serve(s):
        with s, s.makefile("rb") as stream, contextlib.suppress(OSError):
            for words in requests_of(stream):
                seen.append(words)
                send(s, answer(len(seen), words))

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], seen
    finally:
        listener.close()


def ok(n, words):
    return b"+OK\r\n"


def test_a_stall_counts_for_all_that_was_due_in_it(openloop):
    def answer(n, words):
        if n == 100:
            time.sleep(0.4)
        return b"+OK\r\n"

    with answering(answer) as (port, _):
        found = openloop(port, "--rate", "500", "--seconds", "1", "--clients", "1", "--arrive", "even", "1 PING")
    # Two tenths of the requests are due in the first half of the stall and wait for the second at least.
    at = {p: us for p, us in found["percentiles"]}
    assert min(us for p, us in at.items() if p > 85) >= 195_000, at
    assert max(longest for _, _, _, _, longest in found["series"]) == found["latency_us"]["max"] >= 390_000


def test_all_that_was_due_is_counted_once(openloop):
    with answering(ok) as (port, _):
        found = openloop(port, "--rate", "1000", "--seconds", "0.5", "--warm", "0.1", "--arrive", "even", "1 PING")
    assert abs(found["answered"] + found["unanswered"] + found["unsent"] - 500) <= 1
    assert sum(count for _, count, *_ in found["series"]) == found["answered"] + found["unanswered"] + found["unsent"]
    rising = [us for _, us in found["percentiles"]]
    assert rising == sorted(rising) and found["cpu_s"] is None


def test_what_a_server_never_answers_counts_as_late(openloop):
    with answering(lambda n, words: b"+OK\r\n" if n < 50 else b"") as (port, _):
        found = openloop(port, "--rate", "1000", "--seconds", "0.5", "--clients", "2", "--depth", "8", "--arrive", "even", "1 PING")
    assert found["answered"] < 50 and found["unanswered"] + found["unsent"] > 400
    assert found["latency_us"]["p50"] > 200_000


SHAPES = [b"*2\r\n$3\r\nfoo\r\n*2\r\n:1\r\n$-1\r\n", b"$-1\r\n", b"+" + b"x" * 200 + b"\r\n", b"*0\r\n", b"*-1\r\n", b"$6\r\n\r\n-a\r\n\r\n", b":5\r\n", b"$0\r\n\r\n"]


@pytest.mark.parametrize("piece", (1, 2, 7, 1000))
def test_answers_of_all_shapes_are_told_apart_however_they_are_cut(openloop, piece):
    def send(s, data):
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(0, len(data), piece):
            s.sendall(data[i : i + piece])

    with answering(lambda n, words: SHAPES[n % len(SHAPES)], send) as (port, _):
        found = openloop(port, "--rate", "0", "--seconds", "1", "--clients", "1", "--depth", "3", "1 PING")
    rounds = found["answered"] / len(SHAPES)
    assert found["answered"] > 0 and found["errors"] == 0
    assert 2 * int(rounds) <= found["nulls"] <= 2 * (int(rounds) + 1)


def test_a_null_answer_is_followed_by_the_fill_of_the_same_key(openloop):
    with answering(lambda n, words: b"$-1\r\n" if words[0] == b"GET" else b"+OK\r\n") as (port, seen):
        found = openloop(port, "--rate", "500", "--seconds", "0.3", "--clients", "1", "--depth", "1", "--value-bytes", "10", "1 GET k:{key} ?? SET k:{key} {data} EX 9")
    pairs = list(zip(seen[::2], seen[1::2]))
    assert len(pairs) > 2 and found["filled"] >= len(pairs) - 1
    for get, fill in pairs:
        assert get[0] == b"GET" and fill[:2] == [b"SET", get[1]] and len(fill[2]) == 10 and fill[3:] == [b"EX", b"9"]


def test_places_are_what_the_page_of_the_program_says(openloop):
    with answering(ok) as (port, seen):
        openloop(
            port, "--rate", "0", "--seconds", "0.4", "--clients", "1", "--depth", "1", "--keys", "5000", "--value-bytes", "100",
            "3 SET {tenant}:{key} {json}", "1 ZADD z {score} m{count} {any}",
        )  # fmt: skip
    sets, adds = ([w for w in seen if w[0] == name] for name in (b"SET", b"ZADD"))
    assert sets and adds
    for _, key, value in sets:
        tenant, number = key.split(b":")
        assert len(number) == 12 and int(number) < 5000 and int(tenant) == int(number) % 1000
        assert len(value) == 100 and json.loads(value)["user"]
    assert [int(member[1:]) for _, _, _, member, _ in adds] == list(range(len(adds)))
    assert all(len(score) == 6 and score.isdigit() and int(any_) < 5000 for _, _, score, _, any_ in adds)


@pytest.mark.parametrize("choose, least, most", (("uniform", 0, 0.02), ("zipf:1", 0.08, 0.25), ("hot:0.5", 0.4, 0.6)))
def test_keys_are_chosen_as_asked(openloop, choose, least, most):
    with answering(ok) as (port, seen):
        openloop(port, "--rate", "4000", "--seconds", "1", "--clients", "4", "--keys", "1000", "--choose", choose, "1 GET {key}")
        keys = collections.Counter(words[1] for words in list(seen))
    share = keys.most_common(1)[0][1] / sum(keys.values())
    # By zipf with exponent 1 the first of 1,000 has 1 of 7.49 parts.
    assert sum(keys.values()) > 100 and least <= share <= most, share


def test_errors_are_told(openloop):
    with answering(lambda n, words: b"-ERR not \"today\"\r\n") as (port, _):
        found = openloop(port, "--rate", "100", "--seconds", "0.2", "1 PING", code=1)
    assert found["first_error"] == '-ERR not "today"' and found["errors"] > 0


@pytest.mark.parametrize(
    "arguments, word",
    (
        ([], "no command"),
        (["GET k"], "weight"),
        (["1"], "without words"),
        (["--rate", "fast", "1 PING"], "--rate"),
        (["--choose", "nosuch", "1 PING"], "--choose"),
        (["--arrive", "late", "1 PING"], "--arrive"),
        (["--seconds", "0", "1 PING"], "--seconds"),
    ),
)
def test_wrong_arguments_are_refused(openloop, arguments, word):
    assert word in openloop(1, *arguments, code=1)


# ---- What is built on it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("truth", (3, 150, 4_000, 5_555, 70_000, 1_000_000))
@pytest.mark.parametrize("start", (100, 4_000))
def test_the_highest_rate_is_found_to_the_step(truth, start):
    found = workloads.highest_rate(lambda rate: rate <= truth, start, 1.1)
    if truth < 10:
        assert found == 0 or truth / 1.1 <= found <= truth
    else:
        assert truth / 1.1 <= found <= truth


def test_one_failure_of_a_rate_does_not_decide():
    tries = collections.Counter()

    def keeps(rate):
        tries[rate] += 1
        return rate <= 5_000 and tries[rate] > 1  # each rate fails once

    assert 5_000 / 1.1 <= workloads.highest_rate(keeps, 1_000, 1.1) <= 5_000


def test_every_load_has_a_key_of_its_own_and_what_it_asks_for():
    loads = workloads.all_loads()
    assert len({case.key for case in loads}) == len(loads)
    assert {case.group for case in loads} == set(workloads.HEADINGS)
    for case in loads:
        if case.fill:
            words = next(workloads.fill_commands(case))
            assert not any(b"{" in word for word in words if not word.startswith(b'{"')), words


def test_a_tenant_is_found_in_pieces_and_deleted():
    there, cursors = {b"sess:%03d:%d" % (i % 3, i) for i in range(50)}, []

    def answer(n, words):
        if words[0] == b"DEL":
            assert set(words[1:]) <= there
            there.difference_update(words[1:])
            return b":%d\r\n" % (len(words) - 1)
        cursors.append(words[1])
        names = [k for k in there if k.startswith(words[3][:-1])][:5]
        more = b"0" if len(cursors) > 8 else b"%d" % len(cursors)
        return b"*2\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(more), more) for _ in "x") + b"*%d\r\n" % len(names) + b"".join(b"$%d\r\n%s\r\n" % (len(k), k) for k in names)

    with answering(answer) as (port, _), socket.create_connection(("127.0.0.1", port)) as s:
        load.purge(s, b"sess:001:*")
    assert cursors == [b"0"] + [b"%d" % i for i in range(1, 9)]
    assert not any(k.startswith(b"sess:001") for k in there) and len(there) == 33


def test_answers_are_read_as_python_has_them():
    assert load.read_reply(io.BytesIO(b"*3\r\n$1\r\na\r\n*1\r\n:7\r\n$-1\r\n")) == [b"a", [b"7"], None]
    with pytest.raises(OSError, match="NOAUTH"):
        load.read_reply(io.BytesIO(b"-NOAUTH no\r\n"))


def test_a_running_server_is_measured_only_if_it_is_empty_and_is_emptied_afterwards():
    keys = [b":3\r\n"]
    with answering(lambda n, words: keys[0] if words[0] == b"DBSIZE" else b"+OK\r\n") as (port, seen):
        remote = servers.Remote("127.0.0.1:%d" % port)
        with pytest.raises(SystemExit, match="has data"):
            remote.start()
        remote.stop()
        assert [b"FLUSHDB"] not in seen
        keys[0] = b":0\r\n"
        remote.start().stop()
        assert seen[-1] == [b"FLUSHDB"]
