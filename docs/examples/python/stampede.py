# SPDX-License-Identifier: BSD-3-Clause
"""A stampede: many want what is not cached. One of them makes it, the others wait for him; if he dies another one does."""

import os
import secrets
import threading
import time

import redis

r = redis.Redis.from_url(os.environ.get("SHOAL_URL", "redis://127.0.0.1:6379"), decode_responses=True)
KEY = "example:report"
made = []


def make():
    made.append(1)
    time.sleep(0.2)  # what takes long
    return "the report"


def report():
    while True:
        text = r.get(KEY)
        if text is not None:
            return text
        token = secrets.token_hex(8)
        if r.set(KEY + ":lock", token, nx=True, px=10000):
            try:
                # Somebody may have been through between the two looks.
                text = r.get(KEY)
                if text is None:
                    text = make()
                    r.set(KEY, text, ex=60)
                return text
            finally:
                r.execute_command("DELIFEQ", KEY + ":lock", token)
        time.sleep(0.02)


r.unlink(KEY, KEY + ":lock")
texts = []
readers = [threading.Thread(target=lambda: texts.append(report())) for _ in range(20)]
for reader in readers:
    reader.start()
for reader in readers:
    reader.join()
print("%d readers have it, it was made %d time" % (texts.count("the report"), len(made)))
