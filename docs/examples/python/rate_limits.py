# SPDX-License-Identifier: BSD-3-Clause
"""Three limiters: a counter for each window, a log of the last ones, a bucket of tokens."""

import os
import secrets
import time

import redis

r = redis.Redis.from_url(os.environ.get("SHOAL_URL", "redis://127.0.0.1:6379"), decode_responses=True)


def window(who, limit, seconds):
    """The cheapest. A window begins with its first request; around its end twice the limit may pass in a short time."""
    with r.pipeline(transaction=True) as p:
        p.incr("example:window:" + who)
        p.expire("example:window:" + who, seconds, nx=True)
        return p.execute()[0] <= limit


def log(who, limit, seconds):
    """Exact, for what it costs: an element for each request of the last seconds, refused ones included."""
    key, now = "example:log:" + who, time.time()
    with r.pipeline(transaction=True) as p:
        p.zremrangebyscore(key, 0, now - seconds)
        p.zadd(key, {secrets.token_hex(8): now})
        p.zcard(key)
        p.expire(key, seconds)
        return p.execute()[2] <= limit


# Two numbers a key, bursts up to the bucket's size, and the server's own clock: a script, so that all of it is one step.
BUCKET = r.register_script(
    """
    local size, per_second, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
    if now < 0 then
        local time = redis.call('TIME')
        now = time[1] + time[2] / 1000000
    end
    local had = redis.call('HMGET', KEYS[1], 'tokens', 'time')
    local tokens = math.min(size, (tonumber(had[1]) or size) + (now - (tonumber(had[2]) or now)) * per_second)
    local allowed = tokens >= 1
    if allowed then tokens = tokens - 1 end
    redis.call('HSET', KEYS[1], 'tokens', tokens, 'time', now)
    redis.call('EXPIRE', KEYS[1], math.ceil(size / per_second))
    return allowed and 1 or 0
    """
)


def bucket(who, size, per_second, now=-1):
    return BUCKET(keys=["example:bucket:" + who], args=[size, per_second, now]) == 1


r.unlink("example:window:ann", "example:log:ann", "example:bucket:ann")
print("window: %d of 10" % sum(window("ann", 5, 60) for _ in range(10)))
print("log: %d of 10" % sum(log("ann", 5, 60) for _ in range(10)))
print("bucket: %d of 10" % sum(bucket("ann", 5, 0.5, now=1000) for _ in range(10)))
print("bucket, four seconds later: %d of 10" % sum(bucket("ann", 5, 0.5, now=1004) for _ in range(10)))
