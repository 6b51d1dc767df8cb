# SPDX-License-Identifier: BSD-3-Clause
"""workloads: what is measured with bench/openloop.c: rates, key choices, sizes, numbers of connections, and what applications do.

Commands are written as openloop takes them: a weight, words, and places such as {key}.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Load:
    group: str  # open | ceiling | apps | choice | sizes | clients
    part: str
    title: str
    commands: tuple
    rate: int = 10_000  # requests a second that are due; 0: a closed loop
    clients: int = 50
    depth: int = 64  # requests that a connection may have under way
    keys: int = 100_000
    choose: str = "uniform"
    value_bytes: int = 64
    fill: tuple = ("SET", "key:{key}", "{data}")  # for every key first; (): nothing
    fill_share: float = 1.0  # of the keys
    seconds: float = 2.0
    compare: str = "p99_ms"  # the metric that servers are compared by
    purge: bool = False  # tenants are scanned for and deleted meanwhile
    log: str | None = None  # appendfsync; None: no log

    @property
    def key(self):
        return "%s/%s" % (self.group, self.part)

    @property
    def name(self):
        """What --only looks at."""
        return self.key

    @property
    def pipeline(self):
        """What one connection may have under way: as in a pipeline, if the loop is closed."""
        return self.depth


MIX = ("4 GET key:{key}", "1 SET key:{key} {data}")


def open_loads():
    return [Load("open", "%d" % rate, "4 GET : 1 SET of 64 B, %s a second" % "{:,}".format(rate), MIX, rate=rate) for rate in (2_000, 10_000, 30_000)]


def ceiling_loads():
    return [
        Load("ceiling", "get-set", "4 GET : 1 SET of 64 B", MIX, seconds=1.0, compare="ops_per_s"),
        Load("ceiling", "get-set-4k", "4 GET : 1 SET of 4 KB", MIX, value_bytes=4096, keys=20_000, seconds=1.0, compare="ops_per_s"),
    ]


CEILING_START = 4_000  # a second
CEILING_STEP = 1.1  # the highest rate is found to this factor
CEILING_KEPT = 0.98  # of what is due must be answered in time


def app_loads():
    """What applications do with such a server, at a rate that leaves every server room."""
    session = "sess:{tenant}:{key}"
    return [
        Load(
            "apps", "sessions", "session store: 1 KB JSON with TTL, tenants scanned for and deleted",
            ("70 GET %s" % session, "20 SET %s {json} EX 1800" % session, "10 EXPIRE %s 1800" % session),
            rate=8_000, value_bytes=1024, keys=50_000, choose="zipf", fill=("SET", session, "{json}", "EX", "1800"), purge=True,
        ),
        Load(
            "apps", "cache", "cache: zipf over twice what is there, misses fill it",
            ("1 GET page:{key} ?? SET page:{key} {data} EX 1",),
            value_bytes=2048, choose="zipf", fill=("SET", "page:{key}", "{data}", "EX", "60"), fill_share=0.5,
        ),
        Load(
            "apps", "leaderboard", "leaderboard of 100,000: scores, ranks and the top ten",
            ("5 ZINCRBY board {score} player:{key}", "3 ZREVRANK board player:{key}", "2 ZREVRANGE board 0 9 WITHSCORES"),
            fill=("ZADD", "board", "{score}", "player:{key}"),
        ),
        Load(
            "apps", "limiter", "limiter: INCR and EXPIRE NX of 10,000 windows, zipf",
            ("1 INCR limit:{key}", "1 EXPIRE limit:{key} 60 NX"), keys=10_000, choose="zipf", fill=(),
        ),
        Load(
            "apps", "jobs", "queue: LPUSH and RPOP of 256 B jobs",
            ("1 LPUSH jobs {data}", "1 RPOP jobs"), value_bytes=256, fill=(),
        ),
    ]  # fmt: skip


def choice_loads():
    return [
        Load("choice", choose.split(":")[0], "4 GET : 1 SET, keys %s" % what, MIX, choose=choose, rate=0, depth=16, seconds=1.0, compare="cpu_us")
        for choose, what in (("uniform", "uniform"), ("zipf:0.99", "by zipf 0.99"), ("hot:0.9", "90% one hot key"))
    ]


SIZES = (8, 64, 512, 4096, 32_768, 262_144, 1_048_576)
DEPTHS = (1, 16, 128)
UNDER_WAY_MOST = 256 << 20  # bytes that all clients may have asked for


def show_bytes(n):
    return "%d B" % n if n < 1024 else "%d KB" % (n >> 10) if n < 1 << 20 else "%d MB" % (n >> 20)


def size_loads():
    loads = []
    for size in SIZES:
        for depth in DEPTHS:
            clients = max(1, min(50, UNDER_WAY_MOST // (size * depth)))
            keys = max(16, min(100_000, (64 << 20) // size))
            title = "GET of %s, pipeline %d, %d clients" % (show_bytes(size), depth, clients)
            loads.append(
                Load(
                    "sizes", "%d/P%d" % (size, depth), title, ("1 GET s%d:{key}" % size,), rate=0, clients=clients, depth=depth, keys=keys,
                    value_bytes=size, fill=("SET", "s%d:{key}" % size, "{data}") if depth == DEPTHS[0] else (), seconds=0.5, compare="cpu_us",
                )
            )  # fmt: skip
    return loads


CLIENTS = (1, 10, 100, 1_000, 10_000)


def client_loads():
    return [
        Load("clients", "%d" % n, "4 GET : 1 SET, %s connections" % "{:,}".format(n), MIX, rate=0, clients=n, depth=1, seconds=1.0, compare="cpu_us")
        for n in CLIENTS
    ]


def scaling_loads():
    return [
        Load("scaling", "P%d" % depth, "4 GET : 1 SET, pipeline %d" % depth, MIX, rate=0, depth=depth, seconds=1.0, compare="cpu_us") for depth in (1, 16)
    ]


def all_loads():
    return open_loads() + ceiling_loads() + app_loads() + choice_loads() + size_loads() + client_loads() + scaling_loads()


TENANTS = 1000  # as openloop has them

HEADINGS = {
    "open": "Latency at a fixed rate (open loop)",
    "ceiling": "The highest rate that keeps the latency",
    "apps": "What applications do, at a fixed rate",
    "choice": "Which keys are asked for, as fast as it goes, pipeline 16",
    "sizes": "Sizes and pipelines, as fast as it goes",
    "clients": "Numbers of connections, as fast as it goes",
    "scaling": "More shards, as fast as it goes",
}


# ---- Filling -------------------------------------------------------------------------------------------------------


def data(n):
    return bytes(97 + i * 7 % 26 for i in range(26)) * (n // 26) + bytes(97 + i * 7 % 26 for i in range(n % 26))


def fill_commands(load):
    """The words of the commands that put there what a load asks for."""
    value = data(load.value_bytes)
    for i in range(int(load.keys * load.fill_share)):
        places = {"{key}": b"%012d" % i, "{tenant}": b"%03d" % (i % TENANTS), "{score}": b"%06d" % (i * 7919 % 1_000_000), "{data}": value, "{json}": value}
        yield tuple(replace_places(word, places) for word in load.fill)


def replace_places(word, places):
    text = word.encode()
    for place, value in places.items():
        text = text.replace(place.encode(), value)
    return text


# ---- The highest rate ----------------------------------------------------------------------------------------------


def highest_rate(keeps, start, step, most=100_000_000):
    """The highest rate for which keeps(rate) is true, to a factor of `step`; 0 if there is none.

    A rate is refused only if it fails twice: what else runs on the machine shall not decide.
    """
    works, fails, rate = 0, None, start
    while fails is None and rate < most:
        if keeps(rate) or keeps(rate):
            works, rate = rate, rate * 2
        else:
            fails = rate
    while works == 0 and fails > 10:
        rate = fails / 4
        if keeps(rate) or keeps(rate):
            works = rate
        else:
            fails = rate
    while works and fails and fails / works > step:
        rate = (works * fails) ** 0.5
        if keeps(rate) or keeps(rate):
            works = rate
        else:
            fails = rate
    return works
