# SPDX-License-Identifier: BSD-3-Clause
"""What the clients of the checker write down can be read, whatever becomes of them."""

import socket
import threading
import time

import pytest
import redis

from clients import Log, PyClient
from pyclient import py_client
from workload import do_get, do_set, one


def test_a_line_that_was_cut_by_a_kill_does_not_join_the_next(tmp_path):
    path = str(tmp_path / "log.0")
    first = Log(path)
    first.call(7, [one(do_set("x", "1"))])
    first.answer(7, 10, "ok", "w:x=1")
    first.close()
    whole = (tmp_path / "log.0").read_text()
    assert whole.endswith("< 7 10 ok w:x=1\n")
    for cut in ("<", "< 7 11 ok r:x=", "> 7 12 SET w:x=2"):
        (tmp_path / "log.0").write_text(whole + cut)
        second = Log(path)
        second.call(8, [one(do_get("x"))])
        second.close()
        text = (tmp_path / "log.0").read_text()
        assert text.startswith(whole + "> 8 ") and text.endswith(" GET \n") and text.count("\n") == 3


class Options:
    """What a client needs to know."""

    faults, life, first, seed, began_ns, workloads = False, 0, 0, "1", 0, ["register"]

    def __init__(self, port, log, seconds):
        self.port, self.log = port, log
        self.ends_ns = time.monotonic_ns() + int(seconds * 1e9)


def test_a_client_that_is_cut_off_while_it_connects_tries_again(tmp_path):
    """redis-py 6 speaks before it is asked to; a connection that is killed then ended the whole run."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen = []

        def serve():
            while True:
                try:
                    seen.append(listener.accept()[0])
                except OSError:
                    return
                seen[-1].close()

        threading.Thread(target=serve, daemon=True).start()
        client = PyClient(Options(listener.getsockname()[1], str(tmp_path / "log"), 0.3), 0)
        client.start()
        client.join(30)
        listener.shutdown(socket.SHUT_RDWR)
    assert client.error is None and not client.is_alive()
    assert len(seen) > 1


def test_redis_py_sends_nothing_again():
    """What it repeated behind our back happened twice, and was taken for a lost update: redis-py 6 does so three times."""
    got = []

    def serve(listener):
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            with conn:
                data = conn.recv(4096)
                while b"CLIENT" in data:  # newer versions introduce themselves
                    conn.sendall(b"+OK\r\n" * data.count(b"CLIENT"))
                    data = conn.recv(4096)
                got.append(data)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        client = py_client(listener.getsockname()[1], single_connection_client=True)
        with pytest.raises(redis.ConnectionError):
            client.execute_command("INCR", "n")
        listener.shutdown(socket.SHUT_RDWR)
    assert len([data for data in got if b"INCR" in data]) == 1
