# SPDX-License-Identifier: BSD-3-Clause
"""LATENCY: spikes of what is watched, over all shards; histograms of commands; INFO commandstats, errorstats and latencystats.

Scenes run on any server.
"""

import re
import signal
import time

import pytest

from failing_disk import FailingDisk
from resp import Map, encode
from server import wait_for


@pytest.fixture
def c(server):
    with server.raw(timeout=30) as c:
        c.do("FLUSHALL")
        c.do("CONFIG", "SET", "latency-monitor-threshold", "200")  # a command that waits for a processor is no spike
        c.do("LATENCY", "RESET")
        yield c
        c.do("CONFIG", "SET", "latency-monitor-threshold", "0", "latency-tracking", "yes", "latency-tracking-info-percentiles", "50 99 99.9")
        c.do("LATENCY", "RESET")


def latest(c):
    return {e[0].decode(): e[1:] for e in c.do("LATENCY", "LATEST")}


def names(c):
    return [e[0] for e in c.do("LATENCY", "HISTORY", "command")]


def sleep_until_next_second(c, seconds):
    """DEBUG SLEEP in a second in which there was none."""
    before = names(c)
    assert wait_for(lambda: not before or int(c.do("TIME")[0]) > before[-1])
    assert c.do("DEBUG", "SLEEP", str(seconds)) == "OK"


def test_spikes_of_commands(c):
    for seconds in (0.25, 0.45, 0.26):
        sleep_until_next_second(c, seconds)
    history = c.do("LATENCY", "HISTORY", "command")
    assert len(history) == 3
    assert [at for at, ms in history] == sorted({at for at, ms in history})
    assert all(ms >= least for (at, ms), least in zip(history, (250, 450, 260)))
    at, last, most, total, count = latest(c)["command"]
    assert [at, last] == history[-1]
    assert most == max(ms for _, ms in history)
    assert (total, count) == (sum(ms for _, ms in history), 3)
    assert c.do("LATENCY", "HISTORY", "COMMAND") == []
    assert c.do("LATENCY", "HISTORY", "nothing") == []


def test_one_spike_a_second(c):
    """The longest of it stands; all are counted."""
    sleep_until_next_second(c, 0.25)
    for _ in range(7):
        c.do("DEBUG", "SLEEP", "0.21")
    at, last, most, total, count = latest(c)["command"]
    history = c.do("LATENCY", "HISTORY", "command")
    assert count == 8 > len(history)
    assert total >= 7 * 210
    assert most == max(ms for _, ms in history)


def test_nothing_below_the_threshold(c):
    c.do("CONFIG", "SET", "latency-monitor-threshold", "30000")
    c.do("DEBUG", "SLEEP", "0.05")
    assert latest(c) == {}
    c.do("CONFIG", "SET", "latency-monitor-threshold", "0")
    c.do("DEBUG", "SLEEP", "0.05")
    assert latest(c) == {}


def test_reset(c):
    c.do("DEBUG", "SLEEP", "0.25")
    assert c.do("LATENCY", "RESET", "nothing", "fast-command-not") == 0
    assert "command" in latest(c)
    assert c.do("LATENCY", "RESET", "nothing", "command") == 1
    assert "command" not in latest(c)
    c.do("DEBUG", "SLEEP", "0.25")
    assert c.do("LATENCY", "RESET") >= 1
    assert "command" not in latest(c)


def test_graph(c):
    assert c.do("LATENCY", "GRAPH", "command") == "ERR No samples available for event 'command'"
    assert c.do("LATENCY", "GRAPH", "nothing") == "ERR No samples available for event 'nothing'"
    sleep_until_next_second(c, 0.8)
    sleep_until_next_second(c, 0.25)
    (_, high), (_, low) = c.do("LATENCY", "HISTORY", "command")
    lines = c.do("LATENCY", "GRAPH", "command").decode().split("\n")
    assert lines[0] == "command - high %d ms, low %d ms (all time high %d ms)" % (high, low, high)
    assert lines[1] == "-" * 80
    assert lines[2:7] == ["# ", "| ", "| ", "|_", "  "]
    ages = [re.fullmatch(r"(\d+)[smhd] *", "".join(column)) for column in zip(*lines[7:-1])]
    assert len(ages) == 2 and all(ages)
    assert int(ages[0].group(1)) >= int(ages[1].group(1))


def test_doctor(c):
    assert "command:" not in c.do("LATENCY", "DOCTOR").decode()
    c.do("DEBUG", "SLEEP", "0.25")
    assert re.search(r"\d\. command: 1 latency spikes \(average \d+ms, mean deviation 0ms, period [1-9]\d*\.00 sec\). Worst all time event \d+ms\.",
                     c.do("LATENCY", "DOCTOR").decode())


def stopped_in(s, c, event, work):
    """The event's row: the process is stopped for longer than the threshold, again and again after `work`, until it was where the event
    looks. What it looks at is short whatever the data is."""
    c.do("CONFIG", "SET", "latency-monitor-threshold", "20")
    deadline = time.monotonic() + 120
    while event not in latest(c) and time.monotonic() < deadline:
        answers = work()
        s.proc.send_signal(signal.SIGSTOP)
        time.sleep(0.03)
        s.proc.send_signal(signal.SIGCONT)
        for _ in range(answers or 0):
            c.read()
    at, last, most, total, count = latest(c)[event]
    assert 20 <= last <= most <= total and count >= 1
    assert event + ": " in c.do("LATENCY", "DOCTOR").decode()
    assert c.do("LATENCY", "RESET", event) == 1


@pytest.mark.row_once
@pytest.mark.shoal_only
def test_slices_of_a_save(start_server):
    s = start_server(save="", appendonly="no")
    with s.raw(timeout=60) as c:
        c.do("DEBUG", "POPULATE", "60000", "k", "200")

        def save():
            if s.info("persistence")["rdb_bgsave_in_progress"] == "0":
                c.do("BGSAVE")

        stopped_in(s, c, "save-cycle", save)
        assert wait_for(lambda: s.info("persistence")["rdb_bgsave_in_progress"] == "0")


@pytest.mark.row_once
@pytest.mark.shoal_only
@pytest.mark.parametrize("event,fsync,call", [("aof-write", "no", "w"), ("aof-fsync", "everysec", "s"), ("aof-fsync-always", "always", "s")])
def test_the_log(start_server, slow, event, fsync, call):
    """A disk that stands still for a while."""
    if slow > 1:
        pytest.skip("a sanitizer wants to be the first library")  # and so does what lets the disk stand
    s = start_server(start=False, save="", appendonly="yes", appendfsync=fsync, io_backend="epoll")
    disk = FailingDisk(s)
    s.start()
    with s.raw(timeout=60) as c:
        c.do("CONFIG", "SET", "latency-monitor-threshold", "20")
        disk.stands_still(call)
        c.send(encode("SET", "k", "v"))
        assert wait_for(disk.has_stopped)
        time.sleep(0.03)
        disk.works()
        assert c.read() == "OK"
        assert wait_for(lambda: event in latest(c))
        at, last, most, total, count = latest(c)[event]
        assert 20 <= last <= most <= total and count >= 1


@pytest.mark.row_once
@pytest.mark.shoal_only
def test_eviction(start_server):
    s = start_server(save="", appendonly="no", maxmemory_policy="allkeys-random")
    with s.raw(timeout=60) as c:

        def press():
            if c.do("DBSIZE") < 2000:
                c.do("CONFIG", "SET", "maxmemory", "0")
                c.do("DEBUG", "POPULATE", "60000", "k", "200")
            c.send(encode("CONFIG", "SET", "maxmemory", "1"))
            return 1

        stopped_in(s, c, "eviction-cycle", press)
        stopped_in(s, c, "eviction-del", press)


@pytest.mark.row_once
@pytest.mark.shoal_only
def test_what_goes_by_itself(start_server):
    s = start_server(save="", appendonly="no")
    with s.raw(timeout=60) as c:

        def run_out():
            """All at the same moment."""
            at = time.time() + 0.1
            c.send(b"".join(encode("SET", "k%d" % i, "v", "PXAT", str(int(at * 1000))) for i in range(5000)))
            for _ in range(5000):
                c.read()
            time.sleep(max(0, at + 0.001 - time.time()))

        stopped_in(s, c, "expire-cycle", run_out)


@pytest.mark.shoal_only
def test_a_turn(c):
    c.do("DEBUG", "SLEEP", "0.25")
    at, last, most, total, count = latest(c)["turn"]
    assert 250 <= last <= most <= total and count >= 1


def test_errors_and_help(c):
    assert c.do("LATENCY", "FOO") == "ERR unknown subcommand 'FOO'. Try LATENCY HELP."
    assert c.do("LATENCY", "HISTORY") == "ERR wrong number of arguments for 'latency|history' command"
    assert c.do("LATENCY", "LATEST", "x") == "ERR wrong number of arguments for 'latency|latest' command"
    words = {str(line.decode() if isinstance(line, bytes) else line).split()[0] for line in c.do("LATENCY", "HELP")}
    assert {"DOCTOR", "GRAPH", "HISTORY", "LATEST", "RESET", "HISTOGRAM", "HELP"} <= words


# ---- Histograms ----------------------------------------------------------------------------------------------------


def histograms(c, *wanted):
    pairs = c.do("LATENCY", "HISTOGRAM", *wanted)
    return {pairs[i].decode(): pairs[i + 1] for i in range(0, len(pairs), 2)}


def test_histogram(c):
    c.do("CONFIG", "RESETSTAT")
    for i in range(50):
        c.do("SET", "k%d" % i, "v")
    c.do("DEBUG", "SLEEP", "0.1")
    c.do("DEBUG", "SLEEP", "0.57")
    c.do("CLIENT", "ID")
    c.do("CLIENT", "GETNAME")
    found = histograms(c, "set", "nothing", "GET", "debug", "client")
    assert set(found) == {"set", "debug", "client|id", "client|getname"}
    words, calls, word, steps = found["set"]
    assert (words, calls, word) == (b"calls", 50, b"histogram_usec")
    limits, counts = steps[::2], steps[1::2]
    assert counts[-1] == 50 and counts == sorted(set(counts))
    possible = [1, 2, 4, 8, 16, 33, 66, 132, 264, 528, 1056, 2113, 4227, 8454, 16908, 33816, 67633, 135266, 270532, 541065, 1073741]
    assert limits == sorted(set(limits)) and set(limits) <= set(possible)
    assert found["debug"][3][-2:] == [1073741, 2] and set(found["debug"][3][::2]) <= set(possible)
    assert set(histograms(c, "client|id")) == {"client|id"}
    assert {"set", "config|resetstat", "latency|histogram"} <= set(histograms(c))
    c.do("HELLO", "3")
    reply = c.do("LATENCY", "HISTOGRAM", "set")
    assert isinstance(reply, Map) and isinstance(reply.get(b"set"), Map)
    assert reply.get(b"set").get(b"calls") == 50
    c.do("HELLO", "2")
    c.do("CONFIG", "RESETSTAT")
    assert histograms(c, "set") == {}


def test_tracking_can_be_off(c, server):
    c.do("CONFIG", "RESETSTAT")
    c.do("CONFIG", "SET", "latency-tracking", "no")
    c.do("GET", "k")
    assert histograms(c, "get") == {}
    assert "latency_percentiles_usec_get" not in server.info("latencystats")
    assert server.info("commandstats")["cmdstat_get"].startswith("calls=1,")
    c.do("CONFIG", "SET", "latency-tracking", "yes", "latency-tracking-info-percentiles", "0 50 100")
    c.do("GET", "k")
    assert re.fullmatch(r"p0=[\d.]+,p50=[\d.]+,p100=[\d.]+", server.info("latencystats")["latency_percentiles_usec_get"])


def test_parts_on_other_shards_are_counted(c, server):
    """KEYS over many keys: what takes its time is on the shards, and they work side by side."""
    for i in range(0, 20000, 500):
        c.do("MSET", *sum((["key:%d" % n, "v"] for n in range(i, i + 500)), []))
    c.do("CONFIG", "RESETSTAT")
    c.do("KEYS", "*no*such*pattern*here*")
    usec = int(re.search(r"usec=(\d+)", server.info("commandstats")["cmdstat_keys"]).group(1))
    assert usec >= 50


# ---- Errors --------------------------------------------------------------------------------------------------------


def test_kinds_of_errors_are_bounded(c, server):
    c.do("CONFIG", "RESETSTAT")
    for i in range(140):
        c.do("EVAL", "return redis.error_reply('E%d bad')" % i, "0")
    stats = server.info("errorstats")
    assert len(stats) == 129
    assert stats["errorstat_ERRORSTATS_OVERFLOW"] == "count=12"
    assert stats["errorstat_E0"] == "count=1"
    assert int(server.info("stats")["total_error_replies"]) == 140
    # What is no script's invention is told of nevertheless, and what has its place keeps it.
    c.do("GET")
    c.do("EVAL", "return redis.call('GET', 'a', 'b')", "0")
    c.do("EVAL", "return redis.error_reply('E0 again')", "0")
    c.do("EVAL", "return {err = 'Made up'}", "0")
    stats = server.info("errorstats")
    assert [stats["errorstat_" + name] for name in ("ERR", "E0", "ERRORSTATS_OVERFLOW")] == ["count=2", "count=2", "count=13"]
    c.do("CONFIG", "RESETSTAT")
    c.do("GET")
    assert server.info("errorstats") == {"errorstat_ERR": "count=1"}
