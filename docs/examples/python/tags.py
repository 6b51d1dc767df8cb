# SPDX-License-Identifier: BSD-3-Clause
"""Invalidation by tags: a cached page notes the versions of its tags, a change makes the tag's version another one. Nothing is searched
for or deleted: what is out of date is not believed, and runs out by itself."""

import json
import os

import redis

r = redis.Redis.from_url(os.environ.get("SHOAL_URL", "redis://127.0.0.1:6379"), decode_responses=True)


def page(name, tags, make):
    """One trip for the page and its tags' versions, which are of one moment, on however many shards they lie."""
    cached, *now = r.mget("example:page:" + name, *("example:tag:" + t for t in tags))
    now = [int(v or 0) for v in now]
    if cached is not None:
        entry = json.loads(cached)
        if entry["versions"] == now:
            return entry["text"], "cached"
    # The versions from before it was made: a change meanwhile makes it out of date at once.
    text = make()
    r.set("example:page:" + name, json.dumps({"versions": now, "text": text}), ex=3600)
    return text, "made"


def changed(tag):
    r.incr("example:tag:" + tag)


r.unlink("example:page:home", "example:page:about", "example:tag:news", "example:tag:staff")
home = ("home", ["news", "staff"], lambda: "welcome")
about = ("about", ["staff"], lambda: "who we are")
print("home is %s, about is %s" % (page(*home)[1], page(*about)[1]))
print("home is %s, about is %s" % (page(*home)[1], page(*about)[1]))
changed("news")
print("after news: home is %s, about is %s" % (page(*home)[1], page(*about)[1]))
changed("staff")
print("after staff: home is %s, about is %s" % (page(*home)[1], page(*about)[1]))
