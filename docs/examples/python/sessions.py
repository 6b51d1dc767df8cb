# SPDX-License-Identifier: BSD-3-Clause
"""Sessions: a hash for each, which lives on as long as it is used; and a set of each user's, to end all of them at once."""

import os
import secrets

import redis

r = redis.Redis.from_url(os.environ.get("SHOAL_URL", "redis://127.0.0.1:6379"), decode_responses=True)
SECONDS = 1800


def log_in(user):
    token = secrets.token_urlsafe(24)
    with r.pipeline(transaction=True) as p:
        p.hset("example:session:" + token, mapping={"user": user, "page": "home"})
        p.expire("example:session:" + token, SECONDS)
        p.sadd("example:sessions:" + user, token)
        p.expire("example:sessions:" + user, 30 * 24 * 3600)
        p.execute()
    return token


def visit(token, page):
    """The session's user, or None if it is over. GETEX has no hashes, so two commands: one trip."""
    with r.pipeline(transaction=True) as p:
        p.expire("example:session:" + token, SECONDS)
        p.hget("example:session:" + token, "user")
        there, user = p.execute()
    if there:
        r.hset("example:session:" + token, "page", page)
    return user


def log_out_everywhere(user):
    tokens = r.smembers("example:sessions:" + user)
    return r.unlink("example:sessions:" + user, *("example:session:" + t for t in tokens)) - 1


r.unlink("example:sessions:ann")
phone, laptop = log_in("ann"), log_in("ann")
print("the phone is", visit(phone, "cart"))
print("a made-up token is", visit("x", "cart") or "nobody")
print("ended everywhere:", log_out_everywhere("ann"))
print("the laptop is", visit(laptop, "cart") or "nobody")
