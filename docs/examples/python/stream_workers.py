# SPDX-License-Identifier: BSD-3-Clause
"""A stream with a group of workers: each entry goes to one of them, and stays with him until he says that it is done."""

import os
import threading

import redis

r = redis.Redis.from_url(os.environ.get("SHOAL_URL", "redis://127.0.0.1:6379"), decode_responses=True)
STREAM, GROUP = "example:orders", "billing"


def work(name, bills, stop):
    while not stop.is_set():
        for _, entries in r.xreadgroup(GROUP, name, {STREAM: ">"}, count=5, block=100) or []:
            for number, order in entries:
                bills.append(order["number"])
                # After the work. Who dies in between has it done twice: the work must bear that.
                r.xack(STREAM, GROUP, number)


def take_over(name, idle_ms):
    """What somebody has had for so long that he must be gone."""
    taken, start = [], "0-0"
    while True:
        start, entries = r.xautoclaim(STREAM, GROUP, name, min_idle_time=idle_ms, start_id=start, count=100)[:2]
        taken += [order["number"] for number, order in entries]
        for number, _ in entries:
            r.xack(STREAM, GROUP, number)
        if start == "0-0":
            return taken


r.unlink(STREAM)
r.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
for n in range(20):
    r.xadd(STREAM, {"number": n}, maxlen=10000, approximate=True)
r.xreadgroup(GROUP, "dead", {STREAM: ">"}, count=3)  # and never comes back
bills, stop = [], threading.Event()
workers = [threading.Thread(target=work, args=("worker-%d" % i, bills, stop)) for i in range(2)]
for worker in workers:
    worker.start()
while len(bills) < 17:
    stop.wait(0.01)
stop.set()
for worker in workers:
    worker.join()
print("done by two workers:", len(set(bills)))
print("left with the dead one:", r.xpending(STREAM, GROUP)["pending"])
print("taken over:", ", ".join(take_over("worker-0", 0)))
print("left:", r.xpending(STREAM, GROUP)["pending"])
