# SPDX-License-Identifier: BSD-3-Clause
"""Cache-aside: what was read from the database is kept for a while; who changes it there takes it out of the cache."""

import json
import os
import random

import redis

r = redis.Redis.from_url(os.environ.get("SHOAL_URL", "redis://127.0.0.1:6379"), decode_responses=True)
database = {"42": {"name": "lamp", "price": 30}}
SECONDS = 300


def product(number):
    key = "example:product:" + number
    cached = r.get(key)
    if cached is not None:
        return json.loads(cached), "the cache"
    row = database[number]
    # Not all at once: what was cached together must not run out together.
    r.set(key, json.dumps(row), ex=SECONDS + random.randrange(SECONDS // 10))
    return row, "the database"


def change_price(number, price):
    database[number] = {**database[number], "price": price}
    # Behind the database, never ahead of it. A reader who fetched the old row just before may still put it back: it is old
    # for SECONDS at most. Where that is too long, see tags.py: a version in the key's value is looked at by each read.
    r.unlink("example:product:" + number)


r.unlink("example:product:42")
row, where = product("42")
print("first read: %d, from %s" % (row["price"], where))
row, where = product("42")
print("second read: %d, from %s" % (row["price"], where))
change_price("42", 25)
row, where = product("42")
print("after the change: %d, from %s" % (row["price"], where))
