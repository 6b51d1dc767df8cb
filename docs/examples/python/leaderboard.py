# SPDX-License-Identifier: BSD-3-Clause
"""A leaderboard for each day, and one of the week put together from them."""

import os

import redis

r = redis.Redis.from_url(os.environ.get("SHOAL_URL", "redis://127.0.0.1:6379"), decode_responses=True)
BOARD = "example:board:"


def scored(day, player, points):
    with r.pipeline(transaction=True) as p:
        p.zincrby(BOARD + day, points, player)
        p.expire(BOARD + day, 14 * 24 * 3600)
        p.execute()


def around(board, player, neighbours=1):
    rank = r.zrevrank(BOARD + board, player)
    first = max(0, rank - neighbours)
    return [(first + i + 1, name, int(points)) for i, (name, points) in enumerate(r.zrevrange(BOARD + board, first, rank + neighbours, withscores=True))]


r.unlink(BOARD + "mon", BOARD + "tue", BOARD + "week")
for day, player, points in (("mon", "ann", 30), ("mon", "bob", 20), ("mon", "cem", 25), ("tue", "bob", 15), ("tue", "dia", 5), ("tue", "ann", 1)):
    scored(day, player, points)
# Some seconds old is good enough for a week, so it is put together now and then, not at each point.
r.zunionstore(BOARD + "week", [BOARD + "mon", BOARD + "tue"])
print("monday:", ", ".join("%s %d" % (name, points) for name, points in r.zrevrange(BOARD + "mon", 0, 1, withscores=True)))
print("the week:", ", ".join("%s %d" % (name, points) for name, points in r.zrevrange(BOARD + "week", 0, 1, withscores=True)))
print("around cem:", ", ".join("%d. %s %d" % row for row in around("week", "cem")))
