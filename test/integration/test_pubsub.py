# SPDX-License-Identifier: BSD-3-Clause
"""Publish and subscribe: who gets what, on any thread, in which order, in both protocols; and what a subscribed client may do.

Scenes run on any server.
"""

import re
import socket
import struct
import threading
import time

import pytest

from resp import Push, RespError, encode
from server import wait_for

pytestmark = pytest.mark.row_each


@pytest.fixture
def many(server):
    """Connections, as many as a test wants: they live on different threads."""
    opened = []

    def open_one(protocol="2", **options):
        c = server.raw(**options)
        opened.append(c)
        if protocol == "3":
            c.do("HELLO", "3")
        return c

    yield open_one
    for c in opened:
        c.close()
    with server.raw() as last:
        assert wait_for(lambda: last.do("PUBSUB", "CHANNELS") == [] and last.do("PUBSUB", "NUMPAT") == 0 and last.do("PUBSUB", "SHARDCHANNELS") == [])
        assert stat(last, "pubsub_clients") == 0 and stat(last, "pubsub_channels") == 0


def stat(c, name):
    found = re.search(name + r":(\d+)", c.do("INFO", "everything").decode())
    return int(found.group(1)) if found else 0


def subscribe(c, *names, word="subscribe"):
    c.send(encode(word, *names))
    return c.read_some(len(names))


def test_all_who_have_subscribed_get_it(many):
    publisher = many()
    listeners = [many(protocol) for protocol in "23232323"]
    for n, c in enumerate(listeners):
        assert subscribe(c, "news", "other") == [[b"subscribe", b"news", 1], [b"subscribe", b"other", 2]]
        assert publisher.do("PUBLISH", "news", "n%d" % n) == n + 1
        if n < 6:  # Valkey 9.1.2 answers garbage from 8 on
            assert publisher.do("PUBSUB", "NUMSUB", "news", "none", "other") == [b"news", n + 1, b"none", 0, b"other", n + 1]
    for n, c in enumerate(listeners):
        for i in range(n, len(listeners)):
            got = c.read()
            assert got == [b"message", b"news", b"n%d" % i] and isinstance(got, Push) == (n % 2 == 1)
    assert publisher.do("PUBLISH", "nobody", "x") == 0
    assert sorted(publisher.do("PUBSUB", "CHANNELS")) == [b"news", b"other"]
    assert publisher.do("PUBSUB", "CHANNELS", "n*") == [b"news"]
    for n, c in enumerate(listeners):
        assert c.read_some(n) == [[b"message", b"news", b"x"]] * n
        assert subscribe(c, "news", word="UNSUBSCRIBE") == [[b"unsubscribe", b"news", 1]]
        assert publisher.do("PUBLISH", "news", "x") == len(listeners) - n - 1


def test_patterns(many):
    publisher, a, b = many(), many(), many("3")
    assert subscribe(a, "n*", "*s", "none", word="PSUBSCRIBE") == [[b"psubscribe", b"n*", 1], [b"psubscribe", b"*s", 2], [b"psubscribe", b"none", 3]]
    subscribe(b, "n?ws", word="PSUBSCRIBE")
    subscribe(a, "news")
    assert publisher.do("PUBSUB", "NUMPAT") == 4
    assert publisher.do("PUBLISH", "news", "x") == 4
    assert a.read() == [b"message", b"news", b"x"]
    assert sorted(a.read_some(2)) == [[b"pmessage", b"*s", b"news", b"x"], [b"pmessage", b"n*", b"news", b"x"]]
    assert b.read() == [b"pmessage", b"n?ws", b"news", b"x"]
    assert publisher.do("PUBSUB", "CHANNELS") == [b"news"]
    subscribe(a, "n*", word="PUNSUBSCRIBE")
    assert publisher.do("PUBLISH", "never", "y") == 0
    assert publisher.do("PUBLISH", "news", "z") == 3


def test_unsubscribing_from_nothing_and_from_all(many):
    a = many()
    for word in ("UNSUBSCRIBE", "PUNSUBSCRIBE"):
        assert a.do(word) == [word.lower().encode(), None, 0]
        assert a.do(word, "x") == [word.lower().encode(), b"x", 0]
    subscribe(a, "x", "y", "x")
    subscribe(a, "p*", word="PSUBSCRIBE")
    a.send(encode("UNSUBSCRIBE"))
    assert sorted(one[1] for one in a.read_some(2)) == [b"x", b"y"]
    assert a.do("UNSUBSCRIBE") == [b"unsubscribe", None, 1]
    assert a.do("PUNSUBSCRIBE") == [b"punsubscribe", b"p*", 0]
    assert a.do("GET", "none") is None


def test_what_a_subscribed_client_may_do(many):
    a = many()
    subscribe(a, "x")
    refusal = "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    for words, name in (("GET a", "get"), ("CLIENT LIST", "client|list"), ("MULTI", "multi"), ("HELLO 3", "hello"), ("PUBLISH x y", "publish")):
        assert a.do(*words.split(" ")) == RespError(refusal % name)
    assert a.do("GET").startswith("ERR wrong number")
    assert a.do("NOSUCH").startswith("ERR unknown command")
    assert a.do("PING") == [b"pong", b""]
    assert a.do("PING", "hi") == [b"pong", b"hi"]
    assert a.do("RESET") == "RESET"
    assert a.do("PING") == "PONG"
    subscribe(a, "x")
    assert a.do("QUIT") == "OK" and a.is_closed()


def test_resp3_may_do_all(many):
    a = many("3")
    subscribe(a, "x")
    assert a.do("PING") == "PONG"
    a.send(encode("PUBLISH", "x", "1") + encode("PING") + encode("PUBLISH", "x", "2") + encode("PING"))
    assert a.read_some(6) == [1, [b"message", b"x", b"1"], "PONG", 1, [b"message", b"x", b"2"], "PONG"]
    a.do("HELLO", "2")
    assert a.do("GET", "x").startswith("ERR Can't execute 'get'")


def test_in_transactions(many):
    a, b = many("3"), many()
    subscribe(a, "x")
    a.send(encode("MULTI") + encode("PUBLISH", "x", "1") + encode("GET", "none") + encode("SUBSCRIBE", "k") + encode("PUBLISH", "k", "2") + encode("EXEC"))
    assert a.read_some(5) == ["OK"] + ["QUEUED"] * 4
    # Pushes are elements of nothing: here they are read as if they were.
    assert a.read_raw()[1].startswith(b"*4\r\n:1\r\n_\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nk\r\n:2\r\n:1\r\n")
    assert a.read_some(2) == [[b"message", b"x", b"1"], [b"message", b"k", b"2"]]
    b.send(encode("MULTI") + encode("SUBSCRIBE", "m") + encode("PUBLISH", "m", "1") + encode("EXEC"))
    assert b.read_some(3) == ["OK", "QUEUED", "QUEUED"]
    assert b.read() == [[b"subscribe", b"m", 1], 1]
    assert b.read() == [b"message", b"m", b"1"]


def test_shard_channels_are_names_of_their_own(many):
    publisher, a, b = many(), many(), many("3")
    assert subscribe(a, "x", "y", "x", word="SSUBSCRIBE") == [[b"ssubscribe", b"x", 1], [b"ssubscribe", b"y", 2], [b"ssubscribe", b"x", 2]]
    assert subscribe(a, "x") == [[b"subscribe", b"x", 1]]
    assert subscribe(a, "x*", word="PSUBSCRIBE") == [[b"psubscribe", b"x*", 2]]
    assert subscribe(b, "x", word="SSUBSCRIBE") == [[b"ssubscribe", b"x", 1]]
    assert publisher.do("SPUBLISH", "x", "1") == 2 and publisher.do("PUBLISH", "x", "2") == 2 and publisher.do("SPUBLISH", "none", "1") == 0
    assert a.read_some(3) == [[b"smessage", b"x", b"1"], [b"message", b"x", b"2"], [b"pmessage", b"x*", b"x", b"2"]]
    got = b.read()
    assert got == [b"smessage", b"x", b"1"] and isinstance(got, Push)
    assert sorted(publisher.do("PUBSUB", "SHARDCHANNELS")) == [b"x", b"y"] and publisher.do("PUBSUB", "SHARDCHANNELS", "y*") == [b"y"]
    assert publisher.do("PUBSUB", "SHARDNUMSUB") == [] and publisher.do("PUBSUB", "SHARDNUMSUB", "x", "z") == [b"x", 2, b"z", 0]
    assert publisher.do("PUBSUB", "CHANNELS") == [b"x"] and publisher.do("PUBSUB", "NUMSUB", "x", "y") == [b"x", 1, b"y", 0]
    assert (stat(publisher, "pubsub_channels"), stat(publisher, "pubsub_patterns"), stat(publisher, "pubsubshard_channels")) == (1, 1, 2)
    line = next(one for one in publisher.do("CLIENT", "LIST", "TYPE", "pubsub").decode().splitlines() if " ssub=2 " in one)
    assert " flags=P " in line and " sub=1 psub=1 ssub=2 " in line
    assert subscribe(a, "none", word="SUNSUBSCRIBE") == [[b"sunsubscribe", b"none", 2]]
    a.send(encode("SUNSUBSCRIBE"))
    assert sorted(one[1] for one in a.read_some(2)) == [b"x", b"y"]
    assert a.do("SUNSUBSCRIBE") == [b"sunsubscribe", None, 0]
    assert a.do("UNSUBSCRIBE") == [b"unsubscribe", b"x", 1] and a.do("PUNSUBSCRIBE") == [b"punsubscribe", b"x*", 0]
    assert publisher.do("SPUBLISH", "x", "3") == 1 and b.read() == [b"smessage", b"x", b"3"]
    assert b.do("RESET") == "RESET" and publisher.do("SPUBLISH", "x", "4") == 0


def test_who_listens_to_shard_channels_alone_is_a_subscriber(many):
    publisher, a = many(), many()
    subscribe(a, "x", word="SSUBSCRIBE")
    refusal = "Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    assert a.do("GET", "k") == RespError("ERR " + refusal % "get")
    assert a.do("SPUBLISH", "x", "1") == RespError("ERR " + refusal % "spublish")
    assert a.do("EXEC") == RespError("EXECABORT Transaction discarded because of: " + refusal % "exec")
    assert a.do("PING") == [b"pong", b""]
    assert publisher.do("CLIENT", "KILL", "TYPE", "pubsub") == 1 and a.is_closed()
    assert wait_for(lambda: publisher.do("SPUBLISH", "x", "1") == 0)


def test_shard_channels_in_transactions(many):
    a = many()
    a.send(encode("MULTI") + encode("SSUBSCRIBE", "x") + encode("SPUBLISH", "x", "1") + encode("PUBSUB", "SHARDCHANNELS") + encode("SUNSUBSCRIBE", "x") + encode("EXEC"))
    assert a.read_some(5) == ["OK"] + ["QUEUED"] * 4
    assert a.read() == [RespError("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"), 0, [], [b"sunsubscribe", b"x", 0]]
    assert a.do("GET", "none") is None


def test_reply_off_does_not_hold_messages(many):
    a, b = many(), many()
    a.send(encode("CLIENT", "REPLY", "OFF") + encode("SUBSCRIBE", "x"))
    assert a.read() == [b"subscribe", b"x", 1]
    assert b.do("PUBLISH", "x", "1") == 1
    assert a.read() == [b"message", b"x", b"1"]


def test_client_list_shows_it(many):
    a, b = many(), many()
    who = str(a.do("CLIENT", "ID"))
    subscribe(a, "x", "y")
    subscribe(a, "p*", word="PSUBSCRIBE")
    line = b.do("CLIENT", "LIST", "TYPE", "pubsub").decode()
    assert "id=%s " % who in line and line.count("\n") == 1
    assert " flags=P " in line and " sub=2 psub=1 " in line
    assert "id=%s " % who not in b.do("CLIENT", "LIST", "TYPE", "normal").decode()
    assert (stat(b, "pubsub_clients"), stat(b, "pubsub_channels"), stat(b, "pubsub_patterns")) in ((1, 2, 1), (0, 2, 1))
    assert b.do("CLIENT", "KILL", "TYPE", "pubsub") == 1
    assert wait_for(lambda: b.do("PUBSUB", "NUMSUB", "x") == [b"x", 0])


def test_those_who_go_are_not_counted(many):
    b = many()
    for how in ("close", "kill"):
        listeners = [many() for _ in range(10)]
        ids = [str(c.do("CLIENT", "ID")) for c in listeners]
        for c in listeners:
            subscribe(c, "x", *["c%d" % i for i in range(50)])
        assert b.do("PUBLISH", "x", "1") == 10
        for c, i in zip(listeners, ids):
            if how == "kill":
                b.do("CLIENT", "KILL", "ID", i)
            else:
                c.close()
        assert wait_for(lambda: b.do("PUBLISH", "x", "2") == 0)
        assert b.do("PUBSUB", "CHANNELS") == []


def test_those_who_go_before_all_workers_know_that_they_came(server, many):
    """On a thread that was busy their going overtook their coming: a topic that only one of its own clients listened to was freed there."""
    stayers, killers, publishers, busy = [many() for _ in range(8)], [many() for _ in range(4)], [many() for _ in range(8)], many(timeout=60)
    names = ["x%d" % i for i in range(8)]
    for c, name in zip(stayers, names):
        subscribe(c, name)
    for i in range(10):
        assert busy.do("RPUSH", "pub:long", *[str(n) for n in range(i * 20000, (i + 1) * 20000)]) == (i + 1) * 20000
    for _ in range(10):
        comers = [many() for _ in range(16)]
        ids = [str(c.do("CLIENT", "ID")) for c in comers]
        busy.send(encode("SORT", "pub:long", "ALPHA", "DESC", "LIMIT", "0", "1"))
        for c in comers:
            c.send(encode("SUBSCRIBE", *names))
        for n, c in enumerate(killers):
            c.send(b"".join(encode("CLIENT", "KILL", "ID", i) for i in ids[n::4]))
        for c in killers:
            assert c.read_some(4) == [1] * 4
        assert busy.read() == [b"99999"]
    assert wait_for(lambda: stat(busy, "pubsub_clients") == 8)
    for c, name in zip(stayers, names):
        assert wait_for(lambda: all(b.do("PUBSUB", "NUMSUB", name) == [name.encode(), 1] for b in publishers))
        assert [b.do("PUBLISH", name, "1") for b in publishers] == [1] * 8
        assert c.read_some(8) == [[b"message", name.encode(), b"1"]] * 8
    busy.do("DEL", "pub:long")


def test_who_goes_while_its_exec_subscribes_leaves_nothing(server, many):
    """EXEC goes on to its end; what it then subscribed to belonged to a client that was freed."""
    b = many()
    words = encode("MULTI") + b"".join(encode("SET", "pub:%d" % i, "v") for i in range(40))
    words += encode("SUBSCRIBE", "x", "y") + encode("PSUBSCRIBE", "x*") + encode("UNSUBSCRIBE", "y") + encode("EXEC")
    for i in range(300):
        c = server.raw()
        name = str(c.do("CLIENT", "ID")) if i % 3 == 0 else None
        c.send(words)
        if name:
            b.do("CLIENT", "KILL", "ID", name)
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.close()
    assert wait_for(lambda: b.do("PUBSUB", "NUMSUB", "x", "y") == [b"x", 0, b"y", 0] and b.do("PUBSUB", "NUMPAT") == 0)
    assert wait_for(lambda: b.do("PUBLISH", "x", "1") == 0)


def test_names_and_messages_may_be_anything(many):
    a, b = many(), many()
    for name in (b"", b"\r\n", b"\0\xff", b"x" * 100000):
        assert subscribe(a, name) == [[b"subscribe", name, 1]]
        for message in (b"", b"\r\n\0", b"y" * 300000):
            assert b.do("PUBLISH", name, message) == 1
            assert a.read() == [b"message", name, message]
        subscribe(a, name, word="UNSUBSCRIBE")


def test_errors(many):
    a = many()
    for words in (["SUBSCRIBE"], ["PSUBSCRIBE"], ["PUBLISH", "x"], ["PUBLISH", "x", "y", "z"], ["PUBSUB"]):
        assert a.do(*words) == RespError("ERR wrong number of arguments for '%s' command" % words[0].lower())
    assert a.do("PUBSUB", "FOO") == RespError("ERR unknown subcommand 'FOO'. Try PUBSUB HELP.")
    assert a.do("PUBSUB", "CHANNELS", "a", "b") == RespError("ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.")
    assert a.do("PUBSUB", "NUMPAT", "a") == RespError("ERR wrong number of arguments for 'pubsub|numpat' command")
    assert a.do("PUBSUB", "NUMSUB") == []


def test_a_listener_that_does_not_read_is_closed(many):
    """Its own limit holds, not that of others."""
    b = many()
    b.do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0 normal 0 0 0")
    try:
        a = many(rcvbuf=4096)
        subscribe(a, "x")
        assert wait_for(lambda: [b.do("PUBLISH", "x", "y" * 100000) for _ in range(50)][-1] == 0)
        assert b.do("PUBSUB", "CHANNELS") == []
    finally:
        b.do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 33554432 8388608 60 normal 0 0 0")


@pytest.mark.timing
def test_a_listener_that_reads_too_slowly_for_too_long_is_closed(many):
    """The soft limit: over it for so many seconds; who is below it again in time stays."""
    b = many()
    b.do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 200kb 5 normal 0 0 0")
    try:
        frame = len(encode("message", "x", "y" * 100000))
        total = 100  # more than a socket holds

        def in_time():
            """One who has read all of it before the time was over; None where the machine had something else to do."""
            slow, late = many(rcvbuf=4096), many(rcvbuf=4096)
            subscribe(slow, "x")
            subscribe(late, "x")
            began = time.monotonic()
            for _ in range(total):
                b.do("PUBLISH", "x", "y" * 100000)
            left, data = total * frame, b"x"
            while left > 0 and data:
                data = late.sock.recv(1 << 20)
                left -= len(data)
            if time.monotonic() - began < 4:
                assert data, "closed before its time"
                return late
            slow.close()
            late.close()
            assert wait_for(lambda: b.do("PUBSUB", "NUMSUB", "x") == [b"x", 0])
            return None

        late = next(filter(None, (in_time() for _ in range(10))))
        assert wait_for(lambda: b.do("PUBLISH", "x", "z") == 1)
        assert late.read() == [b"message", b"x", b"z"]
    finally:
        b.do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 33554432 8388608 60 normal 0 0 0")


@pytest.mark.timing
@pytest.mark.shoal_only
def test_a_message_is_there_once_for_all_who_have_not_read_it(server, many):
    b = many()
    b.do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0")

    def rss():
        with open("/proc/%d/status" % server.pid) as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) * 1024

    try:
        slow = [many("3" if n % 2 else "2", rcvbuf=4096) for n in range(40)]
        for c in slow:
            subscribe(c, "x")
        before, message, count = rss(), "y" * 1000000, 20
        for _ in range(count):
            assert b.do("PUBLISH", "x", message) == len(slow)
        workers = server.shards if hasattr(server, "shards") else 4
        # Copies would be 800 MB. What the sockets hold is not the process's.
        assert rss() - before < 150_000_000 + workers * 3 * count * len(message)
        for c in slow[:4]:
            assert c.read_some(count) == [[b"message", b"x", message.encode()]] * count
    finally:
        b.do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 33554432 8388608 60")


def test_a_subscription_is_known_everywhere_once_it_is_answered(many):
    publishers = [many() for _ in range(8)]
    a = many()
    for i in range(60):
        name = "c%d" % i
        subscribe(a, name)
        assert publishers[i % 8].do("PUBLISH", name, "x") == 1
        assert a.read() == [b"message", name.encode(), b"x"]
        subscribe(a, name, word="UNSUBSCRIBE")
        assert publishers[(i + 1) % 8].do("PUBLISH", name, "x") == 0


def test_nothing_comes_that_was_answered_before_subscribe_was_sent(many):
    """Input of a client overtook messages that lay in its thread's box."""
    publisher = many()
    for _ in range(20):
        listeners = [many() for _ in range(8)]
        for n, c in enumerate(listeners):
            assert subscribe(c, "news") == [[b"subscribe", b"news", 1]]
            assert publisher.do("PUBLISH", "news", str(n)) == n + 1
        for n, c in enumerate(listeners):
            assert c.read() == [b"message", b"news", b"%d" % n]
            c.close()
        assert wait_for(lambda: publisher.do("PUBSUB", "NUMSUB", "news") == [b"news", 0])


@pytest.mark.parametrize("command", ["subscribe", "psubscribe"])
def test_what_was_answered_before_unsubscribe_was_sent_comes_before_its_answer(many, command):
    """It was lost for who had been counted."""
    publishers, listeners, off = [many() for _ in range(4)], [many(protocol) for protocol in "23232323"], command.replace("subscribe", "unsubscribe")
    for n in range(40):
        for i, c in enumerate(listeners):
            subscribe(c, "a", "b", word=command)
            publisher = publishers[(n + i) % 4]
            assert [publisher.do("PUBLISH", name, "x") for name in ("a", "b")] == [1, 1]
            c.send(encode(off, *([] if i % 2 else ["a", "b"])))
            assert [item[0] for item in c.read_some(4)] == [b"message" if command == "subscribe" else b"pmessage"] * 2 + [off.encode()] * 2


@pytest.mark.parametrize("command", ["subscribe", "psubscribe"])
def test_what_was_counted_comes_before_the_answer_to_reset(server, many, command):
    """It was lost, if it came from another thread."""
    publishers, listeners = [many() for _ in range(4)], [many(protocol) for protocol in "23232323"]
    for n in range(20):
        for i, c in enumerate(listeners):
            if i % 2:
                c.do("HELLO", "3")
            subscribe(c, "a", word=command)
            for publisher in publishers:
                publisher.send(encode("PUBLISH", "a", "x") * 3)
            counted = sum(publishers[0].read_some(3)) if n % 2 else 0
            c.send(encode("RESET") + encode("PING"))
            counted += sum(sum(publisher.read_some(3)) for publisher in publishers[n % 2 :])
            got = c.read_some(counted + 2)
            assert [item[-1] for item in got[:-2]] == [b"x"] * counted and got[-2:] == ["RESET", "PONG"], got
            assert all(isinstance(item, Push) == bool(i % 2) for item in got[:-2])


def test_reset_of_what_subscribes_in_the_same_write(many):
    """In EXEC, with replies that are off, and twice."""
    c, d = many(), many()
    for n in range(30):
        c.send(b"".join(encode(*words) for words in [("MULTI",), ("SUBSCRIBE", "a"), ("PUBLISH", "a", "x"), ("EXEC",), ("RESET",), ("RESET",), ("PING",)]))
        got = c.read_some(8)
        assert got[:3] == ["OK", "QUEUED", "QUEUED"] and got[-3:] == ["RESET", "RESET", "PONG"], got
        assert d.do("PUBLISH", "a", "late") == 0
        c.send(b"".join(encode(*words) for words in [("HELLO", "3"), ("SUBSCRIBE", "a"), ("CLIENT", "REPLY", "OFF"), ("PUBLISH", "a", "y"), ("RESET",), ("PING",)]))
        assert c.read_some(5)[1:] == [[b"subscribe", b"a", 1], [b"message", b"a", b"y"], "RESET", "PONG"]


@pytest.mark.parametrize("command", ["subscribe", "psubscribe"])
def test_nothing_comes_behind_the_answer_to_unsubscribe(many, command):
    """A client that had subscribed in the same write as it published got its message after it had been told that it had
    unsubscribed. Found by users of the simulator."""
    c, off = many("3"), command.replace("subscribe", "unsubscribe")
    for n in range(20):
        name = "channel-%d" % n
        c.send(b"".join(encode(*words) for words in [(command, name), ("PUBLISH", name, "m"), (off, name),
                                                            ("PUBLISH", name, "late"), ("ECHO", "end")]))
        got = c.read_some(5 + 1)
        kinds = [item[0] for item in got if isinstance(item, Push)]
        assert kinds == [command.encode(), b"message" if command == "subscribe" else b"pmessage", off.encode()], got
        assert sorted(item for item in got if isinstance(item, int)) == [0, 1] and b"end" in got


def test_a_publisher_sees_its_earlier_writes_done(many):
    """Who gets the message finds what was written before it."""
    a, b = many("3"), many()
    subscribe(a, "x")
    for i in range(50):
        keys = ["pub:%d:%d" % (i, j) for j in range(8)]
        b.send(b"".join(encode("SET", key, "v") for key in keys) + encode("PUBLISH", "x", str(i)))
        assert a.read() == [b"message", b"x", str(i).encode()]
        assert a.do("EXISTS", *keys) == 8
        b.read_some(9)
        b.do("DEL", *keys)


def test_many_at_once(server, many):
    """Messages of one publisher come in their order, all of them, while others come and go."""
    listeners = [many(protocol) for protocol in "23232323"]
    for c in listeners:
        subscribe(c, "all")
    failed = []

    def publish(number):
        try:
            with server.raw() as c:
                for i in range(200):
                    c.send(encode("PUBLISH", "all", "%d %d" % (number, i)))
                c.read_some(200)
        except Exception as e:
            failed.append(e)

    def come_and_go():
        try:
            with server.raw() as c:
                for i in range(60):
                    subscribe(c, "all2", "a%d" % i)
                    c.send(encode("UNSUBSCRIBE"))
                    c.read_some(2)
        except Exception as e:
            failed.append(e)

    threads = [threading.Thread(target=publish, args=(i,)) for i in range(6)] + [threading.Thread(target=come_and_go) for _ in range(3)]
    for t in threads:
        t.start()
    for c in listeners:
        last = {}
        for _ in range(6 * 200):
            kind, channel, text = c.read()
            number, i = text.split(b" ")
            assert last.get(number, -1) + 1 == int(i)
            last[number] = int(i)
    for t in threads:
        t.join()
    assert not failed, failed[0]
