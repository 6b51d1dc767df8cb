# SPDX-License-Identifier: BSD-3-Clause
"""A lock with a deadline, and why that alone is not enough: who was held up too long believes that he still has it."""

import os
import secrets
import time

import redis

r = redis.Redis.from_url(os.environ.get("SHOAL_URL", "redis://127.0.0.1:6379"), decode_responses=True)


def lock(name, milliseconds):
    """(token to give it back with, number that grows from holder to holder), or None."""
    token = secrets.token_hex(16)
    # In one step: a number that is drawn later could be later than the next holder's.
    with r.pipeline(transaction=True) as p:
        p.incr("example:fence:" + name)
        p.set("example:lock:" + name, token, nx=True, px=milliseconds)
        number, got = p.execute()
    return (token, number) if got else None


def unlock(name, token):
    """Only what is still one's own: one command compares and deletes."""
    return r.execute_command("DELIFEQ", "example:lock:" + name, token) == 1


class Account:
    """What is protected takes part: it refuses whoever comes with an older number than it has seen."""

    newest = 0

    def write(self, fence):
        if fence < self.newest:
            return "refused"
        self.newest = fence
        return "written"


r.unlink("example:lock:account", "example:fence:account")
account = Account()
first = lock("account", 2000)
print("a second one gets it meanwhile:", "yes" if lock("account", 10000) else "no")
while r.exists("example:lock:account"):  # the first one is held up: a pause, a slow disk
    time.sleep(0.01)
second = lock("account", 10000)
print("the second one:", account.write(second[1]))
print("the first one, too late:", account.write(first[1]))
print("the first one gives it back:", "yes" if unlock("account", first[0]) else "no")
print("the second one gives it back:", "yes" if unlock("account", second[0]) else "no")
