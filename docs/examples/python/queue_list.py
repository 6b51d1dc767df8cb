# SPDX-License-Identifier: BSD-3-Clause
"""A queue in a list. Who takes a job puts it into a list of his own in the same step: if he dies it is found there."""

import json
import os

import redis

r = redis.Redis.from_url(os.environ.get("SHOAL_URL", "redis://127.0.0.1:6379"), decode_responses=True)
QUEUE = "example:queue"


def put(job):
    r.lpush(QUEUE, json.dumps(job, separators=(",", ":")))


def take(worker, seconds):
    """Waits for a job up to so many seconds; None if none came."""
    return r.blmove(QUEUE, QUEUE + ":" + worker, seconds, "RIGHT", "LEFT")


def done(worker, job):
    r.lrem(QUEUE + ":" + worker, 1, job)


def bring_back(worker):
    """For a worker of whom it is known that he is gone. His oldest job is the next one again."""
    count = 0
    while r.lmove(QUEUE + ":" + worker, QUEUE, "LEFT", "RIGHT"):
        count += 1
    return count


r.unlink(QUEUE, QUEUE + ":one", QUEUE + ":two")
for n in range(3):
    put({"mail": n})
job = take("one", 1)
print("one does", job)
done("one", job)
print("one takes", take("one", 1), "and dies")
print("brought back:", bring_back("one"))
while (job := take("two", 0.1)) is not None:
    print("two does", job)
    done("two", job)
print("left:", r.llen(QUEUE) + r.llen(QUEUE + ":one") + r.llen(QUEUE + ":two"))
