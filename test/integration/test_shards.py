# SPDX-License-Identifier: BSD-3-Clause
"""What only a server of several threads can do wrong: keys on several shards, fences, wake-ups, idle cost."""

import os
import random
import re
import threading
import time

import pytest

from resp import RespError, encode
from server import Server, wait_for
from slots import slot


def key_in(part, parts, prefix="k"):
    """A key whose slot lies in the middle of that part of the slots."""
    middle = (part * 2 + 1) * 16384 // (parts * 2)
    return min((prefix + str(i) for i in range(4000)), key=lambda k: abs(slot(k.encode()) - middle))


def test_slot_function():
    assert slot(b"123456789") == 0x31C3 % 16384
    assert slot(b"{user1000}.following") == slot(b"user1000")


# ---- one pipeline, one send ----------------------------------------------------------------------------------------------


@pytest.mark.timing
@pytest.mark.several_shards
def test_a_pipeline_over_several_shards_is_answered_with_one_send(server, r, shards):
    """What is ready first waits for what comes home later: a second send costs more than the ops."""
    keys = [key_in(part, shards) for part in range(shards)]
    with server.raw() as c:
        for shift in range(shards):
            turned = keys[shift:] + keys[:shift]
            request = b"".join(encode("APPEND", k, "x") for k in turned)

            def sends():
                before = server.info("stats")["total_writes_processed"]
                for n in range(20):
                    c.send(request)
                    c.read_some(len(keys))
                return int(server.info("stats")["total_writes_processed"]) - int(before)

            # One more is the answer to INFO. A thread without a processor lets a part come late, which is not waited for.
            assert wait_for(lambda: sends() == 20 + 1, seconds=60)


def processed(c):
    return int(re.search(rb"total_commands_processed:(\d+)", c.do("INFO", "stats"))[1])


@pytest.mark.several_shards
def test_who_writes_without_a_pause_is_answered_all_the_same(server, r, shards):
    """There is always something of his away: his replies must not wait for a moment when nothing is."""
    rounds = 400_000 // shards
    data = b"".join(encode("GET", key_in(part, shards)) for part in range(shards)) * rounds

    def before_the_first_reply():
        with server.raw(timeout=60) as c, server.raw() as other:
            before = processed(other)
            writer = threading.Thread(target=c.send, args=(data,))
            writer.start()
            assert c.fill()
            count = processed(other) - before
            while c.buf.count(b"\n") < rounds * shards:
                assert c.fill()
            writer.join()
            return count

    assert min(before_the_first_reply() for _ in range(3)) < rounds * shards / 2


# ---- more than one key ---------------------------------------------------------------------------------------------------

# Call, reply, what the two keys hold afterwards, and how many changes that counts as.
SEVERAL = [
    (["MGET", 0, 1], [b"first", b"second"], [b"first", b"second"], 0),
    (["MSET", 0, "v", 1, "w"], "OK", [b"v", b"w"], 2),
    (["MSETNX", 0, "v", 1, "v"], 0, [b"first", b"second"], 0),
    (["MSETEX", "2", 0, "v", 1, "w"], 1, [b"v", b"w"], 2),
    (["MSETEX", "2", 0, "v", 1, "w", "NX"], 0, [b"first", b"second"], 0),
    (["DEL", 0, 1, 0], 2, [None, None], 2),
    (["UNLINK", 0, 1], 2, [None, None], 2),
    (["EXISTS", 0, 1, 0], 3, [b"first", b"second"], 0),
    (["TOUCH", 0, 1], 2, [b"first", b"second"], 0),
    (["RENAME", 0, 1], "OK", [None, b"first"], 1),
    (["RENAMENX", 0, 1], 0, [b"first", b"second"], 0),
    (["COPY", 0, 1], 0, [b"first", b"second"], 0),
    (["COPY", 0, 1, "REPLACE"], 1, [b"first", b"first"], 1),
    (["LCS", 0, 1], b"s", [b"first", b"second"], 0),
    (["MSET", 0, "v", 1], RespError("ERR wrong number of arguments for 'mset' command"), [b"first", b"second"], 0),
]


@pytest.mark.parametrize("call, reply, after, changes", SEVERAL, ids=lambda c: " ".join(map(str, c)) if isinstance(c, list) else "")
def test_keys_on_several_shards(server, r, shards, call, reply, after, changes):
    """In whichever order the keys come, and wherever the connection lives: the same as on one shard."""
    for _ in range(4):
        with server.raw() as c:
            keys = [key_in(0, shards), key_in(shards - 1, shards, "other")]
            c.do("MSET", keys[0], "first", keys[1], "second")
            before, changes_before = command_calls(server, call[0]), changes_counted(server)
            assert c.do(*[keys[a] if isinstance(a, int) else a for a in call]) == reply
            assert command_calls(server, call[0]) == before + 1
            assert changes_counted(server) == changes_before + changes
            assert [c.do("GET", k) for k in keys] == after


def changes_counted(server):
    return int(server.info("persistence")["rdb_changes_since_last_save"])


def command_calls(server, name):
    line = server.info("commandstats").get("cmdstat_" + name.lower(), "calls=0")
    return int(re.search(r"calls=(\d+)", line)[1])


@pytest.mark.several_shards
def test_a_renamed_value_keeps_its_deadline_encoding_and_size_over_shards(server, r, shards):
    keys = [key_in(0, shards), key_in(shards - 1, shards)]
    for value in ["x" * 10, "x" * 5000, "x" * 100_000, "123"]:
        with server.raw() as c:
            c.do("FLUSHALL")
            c.do("SET", keys[0], value, "PX", 100_000)
            c.do("APPEND", keys[0], "4")
            encoding = c.do("OBJECT", "ENCODING", keys[0])
            assert c.do("RENAME", *keys) == "OK"
            assert c.do("GET", keys[1]) == value.encode() + b"4"
            assert c.do("OBJECT", "ENCODING", keys[1]) == encoding
            assert 90_000 < c.do("PTTL", keys[1]) <= 100_000
            assert c.do("DBSIZE") == 1


@pytest.mark.timing
@pytest.mark.several_shards
def test_a_large_value_is_renamed_over_shards_without_a_copy(start_server, shards, slow):
    """It was copied to where the command ran, and copied again to its new place: three times the memory for a while. One copy
    is made, when there is nothing else to do, after which what it was made of goes."""
    if slow > 1:
        pytest.skip("a sanitizer's memory says nothing")
    s = start_server()
    size = 100 << 20
    keys = [key_in(part, shards) for part in range(shards)]
    with s.raw(timeout=60) as c:
        c.do("SET", keys[0], "head")
        c.do("SETRANGE", keys[0], size - 1, "t")
        peak = s.rss()
        stop = threading.Event()

        def watch():
            nonlocal peak
            while not stop.is_set():
                peak = max(peak, s.rss())
                time.sleep(0.001)

        before = peak
        watcher = threading.Thread(target=watch)
        watcher.start()
        for n in range(5):
            at = (n + 1) % shards
            assert c.do("RENAME", keys[n % shards], keys[at]) == "OK"
            # The copy is made: the shard has the value once in its books; and what it was made of has gone back to the system.
            assert wait_for(lambda at=at: int(shard_lines(s)[at]["memory"]) < size * 1.5, 30), shard_lines(s)
            assert wait_for(lambda: s.rss() < before + size / 4, 30), (s.rss(), before)
        stop.set()
        watcher.join()
        last = keys[5 % shards]
        assert (c.do("STRLEN", last), c.do("GETRANGE", last, 0, 3), c.do("GETRANGE", last, -1, -1)) == (size, b"head", b"t")
    assert peak < before + size * 1.5


@pytest.mark.several_shards
def test_copy_over_shards_into_another_database(server, r, shards):
    keys = [key_in(0, shards), key_in(shards - 1, shards)]
    with server.raw() as c:
        c.do("SET", keys[0], "v")
        assert c.do("COPY", keys[0], keys[1], "DB", 3) == 1
        assert c.do("GET", keys[1]) is None
        c.do("SELECT", 3)
        assert c.do("GET", keys[1]) == b"v"
        assert c.do("DBSIZE") == 1


@pytest.mark.several_shards
def test_what_is_made_over_shards_counts_accesses_as_configured(start_server, shards):
    """With an LFU policy the values that MSETNX, MSETEX and COPY made had counters of nothing: seconds stood there."""
    s = start_server(config={"maxmemory-policy": "allkeys-lfu", "lfu-log-factor": "0"})
    a, b = key_in(0, shards), key_in(shards - 1, shards, "other")
    with s.raw() as c:
        for call in (("MSETNX", a, "1", b, "2"), ("MSETEX", "2", a, "1", b, "2", "EX", "1000")):
            c.do("DEL", a, b)
            assert c.do(*call) == 1
            assert [c.do("OBJECT", "FREQ", key) for key in (a, b)] == [5, 5], call
        c.do("DEL", b)
        c.do("COPY", a, b)
        assert c.do("OBJECT", "FREQ", b) == 5
        c.do("CONFIG", "SET", "maxmemory-policy", "noeviction")

        def idle():
            c.do("DEL", a, b)
            c.do("MSETNX", a, "1", b, "2")
            return [c.do("OBJECT", "IDLETIME", key) for key in (a, b)]

        assert any(idle() == [0, 0] for _ in range(3))


@pytest.mark.slow
@pytest.mark.several_shards
@pytest.mark.parametrize("command", ("LCS", "COPY"))
def test_what_is_lent_by_another_shard_is_touched(server, r, shards, command):
    """As by the same command on one shard, and not with CLIENT NO-TOUCH."""
    a, b = key_in(0, shards), key_in(shards - 1, shards, "other")
    with server.raw() as c:
        c.do("MSET", a, "1", b, "2")
        time.sleep(1.2)
        c.do("CLIENT", "NO-TOUCH", "ON")
        c.do(command, a, b)
        assert c.do("OBJECT", "IDLETIME", a) >= 1
        c.do("CLIENT", "NO-TOUCH", "OFF")

        def touched():
            c.do(command, a, b)
            return c.do("OBJECT", "IDLETIME", a) == 0

        assert wait_for(touched)


@pytest.mark.several_shards
def test_a_pipeline_sees_its_own_writes_over_shards(server, r, shards):
    keys = [key_in(part, shards) for part in range(shards)]
    with server.raw() as c:
        for n in range(200):
            pairs = [w for k in keys for w in (k, "m%d" % n)]
            c.send(encode("SET", keys[0], "s%d" % n) + encode("MSET", *pairs) + encode("GET", keys[0]) + encode("MGET", *keys) + encode("DEL", keys[-1]) + encode("GET", keys[-1]))
            assert c.read_some(6) == ["OK", "OK", b"m%d" % n, [b"m%d" % n] * shards, 1, None]


@pytest.mark.several_shards
def test_nobody_sees_half_of_a_write_over_shards(server, r, shards):
    """Two write all keys at once, two read them, and single writes go on beside: all or nothing is seen."""
    keys = [key_in(part, shards) for part in range(shards)]
    r.mset({k: "0" for k in keys})
    stop, torn, reads = threading.Event(), [], [0]

    def write(me):
        with server.raw() as c:
            n = 0
            while not stop.is_set():
                n += 1
                c.do("MSET", *[w for k in keys for w in (k, "%d:%d" % (me, n))])

    def read():
        with server.raw() as c:
            while not stop.is_set():
                got = c.do("MGET", *keys)
                reads[0] += 1
                if len(set(got)) != 1:
                    torn.append(got)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(2)] + [threading.Thread(target=read) for _ in range(2)]
    for t in threads:
        t.start()
    with server.raw() as c:
        for n in range(300):
            assert c.do("INCR", keys[0] + "{%s}" % keys[0]) == n + 1
    assert wait_for(lambda: torn or reads[0] > 100)
    stop.set()
    for t in threads:
        t.join()
    assert not torn


@pytest.mark.slow
@pytest.mark.several_shards
def test_nobody_starves_when_all_want_the_same_keys(server, r, shards):
    """Six write all keys over and over; a reader, a command on lent values and single writes on those keys get their turns beside them."""
    keys = [key_in(part, shards) for part in range(shards)]
    other = [key_in(part, shards, "other") for part in range(2)]

    def run(stop, done, name, *requests):
        with server.raw(timeout=30) as c:
            n = 0
            while not stop.is_set():
                for request in requests:
                    c.do(*request)
                n += 1
            done[name] = n

    pairs = [w for k in keys for w in (k, "v")]
    jobs = [("write%d" % i, ["MSET", *pairs]) for i in range(6)]
    jobs += [("read", ["MGET", *keys]), ("one", ["APPEND", keys[0], "x"]), ("move", ["COPY", keys[0], keys[1], "REPLACE"]), ("all", ["DBSIZE"])]
    jobs += [("aside", ["MSET", other[0], "v", other[1], "v"])]

    def turns():
        stop, done = threading.Event(), {}
        threads = [threading.Thread(target=run, args=(stop, done, *job)) for job in jobs]
        for t in threads:
            t.start()
        time.sleep(2)
        stop.set()
        for t in threads:
            t.join()
        fair = sum(done["write%d" % i] for i in range(6)) / 6
        return min(done.values()) > fair / 10, done

    found = [turns()]
    while not found[-1][0] and len(found) < 4:  # who waited for a processor has starved, too
        found.append(turns())
    assert found[-1][0], found
    refused = sum(int(v["txn_refusals"]) for v in shard_lines(server))
    begun = sum(int(v["txns"]) for v in shard_lines(server))
    assert begun > 100 and refused <= 3 * begun  # after three refusals it cannot be refused again


def shard_lines(server):
    info = server.info("shards")
    return [dict(pair.split("=") for pair in info[k].split(",")) for k in info.keys() if k.startswith("shard")]


@pytest.mark.several_shards
def test_clients_that_die_in_a_transaction_leave_nothing_locked(server, r, shards):
    keys = [key_in(part, shards) for part in range(shards)]
    pairs = [w for k in keys for w in (k, "v")]
    with server.raw() as c:
        before = c.do("CLIENT", "LIST").count(b"\n")
    for n in range(100):
        c = server.raw()
        c.send(encode("MSET", *pairs) * (1 + n % 5) + encode("MGET", *keys) * (n % 3) + encode("RENAME", keys[0], keys[-1]))
        if n % 2:
            c.read()
        c.close()
    with server.raw() as c:
        assert wait_for(lambda: c.do("CLIENT", "LIST").count(b"\n") <= before)
        for k in keys:
            assert c.do("SET", k, "after") == "OK"
        assert c.do("MGET", *keys) == [b"after"] * shards


@pytest.mark.parametrize("call", [row[0] for row in SEVERAL[:-1]], ids=lambda c: " ".join(map(str, c)))
def test_keys_with_one_tag_are_served(server, r, call):
    keys = ["{same}1", "{same}2"]
    with server.raw() as c:
        c.do("SET", keys[0], "first")
        got = c.do(*[keys[a] if isinstance(a, int) else a for a in call])
        assert not isinstance(got, RespError)


def test_the_same_key_twice_is_one_shard(server, r):
    with server.raw() as c:
        assert c.do("MSET", "twice", "a", "twice", "b") == "OK"
        assert c.do("MGET", "twice", "twice") == [b"b", b"b"]
        assert c.do("EXISTS", "twice", "twice") == 2


@pytest.mark.timing
def test_a_condition_on_many_keys(server, r, slow):
    """Each key that changed was looked for among all keys from the first on: 30,000 of them took ten seconds, in which the
    thread did nothing else."""
    names = ["many:%d" % n for n in range(50_000)]
    with server.raw(timeout=60) as c:

        def took():
            c.do("FLUSHALL")
            began = time.monotonic()
            assert c.do("MSETNX", *[word for name in names for word in (name, "v")]) == 1
            return time.monotonic() - began

        assert any(took() < 4 * slow or server.kind != "shoal" for _ in range(3))
        assert c.do("EXISTS", *names) == len(names)


# ---- work of all threads together -------------------------------------------------------------------------------------------


def test_every_shard_has_its_share_of_keys_and_answers(server, r, shards):
    with server.raw() as c:
        for part in range(shards):
            key = key_in(part, shards)
            assert c.do("SET", key, part) == "OK"
            assert c.do("GET", key) == b"%d" % part
        assert c.do("DBSIZE") == shards


def test_counters_lose_nothing_under_concurrency(server, r):
    """Eight clients add to the same keys from all threads; the sums are exact."""
    keys = ["cnt%d" % i for i in range(16)]
    rounds, clients = 60, 8

    def work(seed):
        rng = random.Random(seed)
        with server.raw(timeout=60) as c:
            for _ in range(rounds):
                order = keys * 4
                rng.shuffle(order)
                c.send(b"".join(encode("INCR", k) for k in order))
                c.read_some(len(order))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    with server.raw() as c:
        assert [c.do("GET", k) for k in keys] == [b"%d" % (rounds * clients * 4)] * len(keys)


def test_config_set_is_seen_by_every_thread_at_once(server, r):
    """After the OK of CONFIG SET every thread works by it."""
    clients = [server.raw() for _ in range(8)]
    try:
        for value in (b"1mb", b"512mb"):
            assert clients[0].do("CONFIG", "SET", "proto-max-bulk-len", value) == "OK"
            for n, c in enumerate(clients):
                c.do("SET", "pm%d" % n, "x")
                got = c.do("SETRANGE", "pm%d" % n, 2 << 20, "x")
                assert isinstance(got, RespError) == (value == b"1mb")
                c.do("DEL", "pm%d" % n)
    finally:
        clients[0].do("CONFIG", "SET", "proto-max-bulk-len", "512mb")
        for c in clients:
            c.close()


def test_global_commands_while_everybody_writes(server, r, slow):
    stop = threading.Event()
    errors = []

    def write(n):
        try:
            with server.raw(timeout=60) as c:
                i = 0
                while not stop.is_set():
                    c.send(b"".join(encode("SET", "g%d:%d" % (n, i + j), j) for j in range(50)))
                    c.read_some(50)
                    i += 50
        except Exception as e:  # noqa: BLE001
            errors.append(e)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    try:
        with server.raw(timeout=30) as c:
            for n in range(60):
                assert c.do("DBSIZE") >= 0
                assert c.do("INFO", "everything").startswith(b"# Server")
                assert c.do("CONFIG", "SET", "timeout", 1000 + n) == "OK"
                assert len(c.do("CLIENT", "LIST").splitlines()) >= 5
                assert c.do("FLUSHALL", "ASYNC" if n % 2 else "SYNC") == "OK"
                assert c.do("SWAPDB", 0, 1) == "OK"
                assert isinstance(c.do("SCAN", 0)[1], list)
                c.do("RANDOMKEY")
            assert c.do("CONFIG", "SET", "timeout", 0) == "OK"
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not errors
    if server.kind == "shoal" and slow == 1:
        assert server.late_wakeups() == 0


@pytest.mark.shoal_only
@pytest.mark.parametrize("count", (1, 2, 3, 4, 7))
def test_any_number_of_shards(start_server, count):
    s = start_server(shards=count)
    with s.raw() as c:
        assert c.do("CONFIG", "GET", "shards") == [b"shards", b"%d" % count]
        c.send(b"".join(encode("SET", "n%d" % i, i) for i in range(1000)))
        assert c.read_some(1000) == ["OK"] * 1000
        assert c.do("DBSIZE") == 1000
        assert len(c.do("KEYS", "*")) == 1000
        assert isinstance(c.do("CONFIG", "SET", "shards", 2), RespError)


def sum_of_shards(c, name):
    return sum(int(n) for n in re.findall(rb"\b%s=(\d+)" % name, c.do("INFO", "shards")))


@pytest.mark.shoal_only
@pytest.mark.parametrize("command", (("GET",), ("SET", "x"), ("INCR",), ("APPEND", "x")))
def test_threads_that_sleep_are_visited_and_not_woken(start_server, command):
    """One request at a time, and all other threads are idle: their answers need no wake-up. On a busy machine some do."""
    s = start_server(shards=4)
    names = (b"trips", b"visits", b"wakeups_sent")

    def spared(c):
        before = [sum_of_shards(c, name) for name in names]
        for i in range(400):
            c.do(command[0], "%s%d" % (command[0], i % 40), *command[1:])
        trips, visits, woken = (sum_of_shards(c, name) - n for name, n in zip(names, before))
        assert trips >= 200, "the keys are on all shards"
        return visits > trips / 2 and woken < trips / 4

    with s.raw() as c:
        assert wait_for(lambda: spared(c))
    assert s.late_wakeups() == 0


@pytest.mark.shoal_only
def test_what_a_visit_leaves_behind_is_done(start_server):
    """Deadlines set, and values made and freed, by visitors alone: nobody asks for the keys again, and the threads whose
    keys they are sleep."""
    s = start_server(shards=4)
    with s.raw() as c:
        for i in range(400):
            c.do("SET", "k%d" % i, "x" * (i * 10), "PX", 20 + i % 7)
        assert wait_for(lambda: s.info("stats")["expired_keys"] == "400")
        assert c.do("DBSIZE") == 0


@pytest.mark.shoal_only
def test_shards_default_to_the_cpus_of_the_process(server_binary, pytestconfig):
    cpu = min(os.sched_getaffinity(0))
    for cpus in ([cpu], sorted(os.sched_getaffinity(0))[:2]):
        s = Server("/usr/bin/taskset", {"io-backend": pytestconfig.getoption("--io-backend")}, kind="shoal")
        s.command_line = lambda line=s.command_line, cpus=cpus: (
            ["/usr/bin/taskset", "-c", ",".join(map(str, cpus)), server_binary] + line()[1:]
        )
        with s:
            with s.raw() as c:
                assert len(re.findall(rb"^shard_?\d+:", c.do("INFO", "shards"), re.M)) == len(cpus)


@pytest.mark.shoal_only
def test_connections_are_spread_over_the_threads(server, r, shards):
    clients = [server.raw() for _ in range(16 * shards)]
    try:
        for c in clients:
            c.do("PING")
        text = clients[0].do("INFO", "shards").decode()
        counts = [int(n) for n in re.findall(r"\bconnections=(\d+)", text)]
        assert len(counts) == shards and sum(counts) >= 16 * shards
        assert min(counts) >= 8
    finally:
        for c in clients:
            c.close()


def affinities(pid):
    """What CPUs each thread of a process may run on."""
    out = set()
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, task)) as f:
            out.add(re.search(r"Cpus_allowed_list:\s*(\S+)", f.read()).group(1))
    return out


@pytest.mark.shoal_only
def test_threads_are_pinned_only_when_asked(start_server, server):
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("one CPU only")
    assert len(affinities(server.pid)) == 1
    s = start_server(shards=2, shard_cpulist="%d,%d" % (cpus[0], cpus[1]))
    assert {str(cpus[0]), str(cpus[1])} <= affinities(s.pid)
    s = start_server(shards=0, server_cpulist=str(cpus[1]))
    assert affinities(s.pid) == {str(cpus[1])}
    with s.raw() as c:
        assert len(re.findall(rb"^shard_?\d+:", c.do("INFO", "shards"), re.M)) == 1


def beside(pid):
    """{name: what CPUs it may run on} of the threads that sync and do what blocks: ours, and those of the kernel for a ring."""
    found = {}
    for task in os.listdir("/proc/%d/task" % pid):
        try:
            with open("/proc/%d/task/%s/status" % (pid, task)) as f:
                text = f.read()
        except (FileNotFoundError, ProcessLookupError):
            continue
        name = re.search(r"Name:\s*(\S+)", text).group(1)
        if name.startswith("iou-wrk") or name in ("files", "file-syncs", "beside", "resolver"):
            found[name] = re.search(r"Cpus_allowed_list:\s*(\S+)", text).group(1)
    return found


@pytest.mark.shoal_only
def test_what_is_done_beside_the_shards_runs_where_bio_cpulist_says(start_server, tmp_path):
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("one CPU only")
    (tmp_path / "users.acl").touch()
    s = start_server(bio_cpulist=str(cpus[1]), appendonly="yes", aclfile=os.path.join(str(tmp_path), "users.acl"))
    with s.raw() as c:

        def syncs():
            assert c.do("SET", "k", "v") == "OK" and c.do("ACL", "SAVE") == "OK"  # the log is synced, and a small file written
            found = beside(s.pid)
            return "beside" in found and any(name.startswith(("iou-wrk", "file-syncs")) for name in found)

        assert wait_for(syncs)
    assert set(beside(s.pid).values()) == {str(cpus[1])}, beside(s.pid)
    assert affinities(s.pid) != {str(cpus[1])}  # the shards' threads stay where they were


@pytest.mark.shoal_only
@pytest.mark.parametrize("value", ["yes", "no"])
def test_huge_pages_are_left_to_others(start_server, value):
    """Only where the system gives them to everybody: else who asks for them knows why."""
    with open("/sys/kernel/mm/transparent_hugepage/enabled") as f:
        always = "[always]" in f.read()
    s = start_server(disable_thp=value)
    with open("/proc/%d/status" % s.pid) as f:
        said = re.search(r"THP_enabled:\s*(\d)", f.read())
    assert said is None or said.group(1) == ("0" if value == "yes" and always else "1")


# ---- backends, wake-ups and idle cost ------------------------------------------------------------------------------------------


@pytest.mark.shoal_only
@pytest.mark.parametrize("backend", ("epoll", "uring", "auto"))
def test_backends(start_server, backend):
    s = start_server(start=False, io_backend=backend)
    try:
        s.start()
    except Exception:  # noqa: BLE001
        if backend == "uring" and "io_uring" in s.log():
            s.stopped_by_test = True
            pytest.skip("the kernel or a sandbox forbids io_uring here")
        raise
    with s.raw() as c:
        assert c.do("CONFIG", "GET", "io-backend") == [b"io-backend", backend.encode()]
        c.send(b"".join(encode("SET", "b%d" % i, "x" * i) for i in range(2000)))
        assert c.read_some(2000) == ["OK"] * 2000
    api = s.info("server")["multiplexing_api"]
    if backend == "epoll":
        assert api == "epoll"
    else:
        assert ("uring" in api) or backend == "auto"
    if backend == "auto":
        assert "uring" in s.log() or "epoll" in s.log()


@pytest.mark.timing
@pytest.mark.slow
@pytest.mark.parametrize("clients", (0, 50))
def test_idle_server_uses_less_than_a_percent_of_a_core(start_server, clients, slow):
    s = start_server()
    connections = [s.raw() for _ in range(clients)]
    for c in connections:
        c.do("SET", "idle", "1", "EX", "1000")
    time.sleep(0.5)

    def used():
        before = s.cpu_seconds()
        time.sleep(3.0)
        return (s.cpu_seconds() - before) / 3.0

    found = [used()]
    while found[-1] > 0.01 * slow and len(found) < 5:  # in ticks of ten milliseconds, some of which others have made long
        found.append(used())
    for c in connections:
        c.close()
    assert found[-1] <= 0.01 * slow, "of a core: %r" % found


@pytest.mark.timing
@pytest.mark.shoal_only
def test_no_wakeup_is_late_under_sparse_traffic(server, r, slow):
    """Requests with pauses in between: every hop has to wake a sleeping thread, the case where wake-ups get lost."""
    with server.raw() as c:

        def worst():
            took = []
            for i in range(300):
                time.sleep(0.002)
                t = time.monotonic()
                c.do("SET", "sparse%d" % i, i)
                took.append(time.monotonic() - t)
            return max(took)

        # A thread may wait for a processor, too: but not each time. What is late for want of a wake-up is counted.
        assert any(worst() < 0.5 * slow for _ in range(6))
    if slow == 1:
        assert server.late_wakeups() == 0


# ---- one after the other in one transaction --------------------------------------------------------------------------------


@pytest.mark.several_shards
def test_what_is_renamed_stays_as_it_was_written_afterwards(r, raw, shards):
    """A run of commands in a pipeline is one transaction. What a RENAME or COPY in it had carried was written again by the
    next of them: over what a command between the two had written."""
    a, b, c, d = (key_in(part, 4, prefix) for part, prefix in enumerate("abcd"))
    commands = [("MSET", a, "1", b, "2", c, "3"), ("RENAME", a, b), ("MSET", a, "4", b, "5", d, "6"), ("COPY", c, d, "REPLACE")]
    raw.send(b"".join(encode(*command) for command in commands) + encode("MGET", a, b, c, d))
    assert raw.read_some(5) == ["OK", "OK", "OK", 1, [b"4", b"5", b"3", b"3"]]
