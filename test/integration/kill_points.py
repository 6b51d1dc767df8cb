# SPDX-License-Identifier: BSD-3-Clause
"""kill_points: a server that dies at each of its kill points, one after the other, with the same data, under the same clients.

A point is armed (DEBUG KILL-POINT; SHOAL_KILL_POINT for those of a start), and what leads to it is done, under load where there
can be one; the process must die there. After the start behind it all that was promised must be there (kills.py).
"""

import re
import signal
import time

import kills
from resp import RespError
from server import ServerFailed, wait_for

# What leads to a point: the first pattern that fits; one of several ways by chance.
WAYS = [
    (r"start\.imported|rdb\.", "import_rdb"),
    (r"start\.|base\.(open|read)|segment\.(open|read)|manifest\.(open|read|close)", "start"),
    (r"manifest\.rename|manifest-gone\.", "rdb_instead"),
    (r"(base|segment)\.remove|data-dir\.sync|dir\.sync", "rewrite rdb_instead"),
    (r"log\.promises", "begin_log"),
    (r"log\.stops", "stop_log"),
    (r"rdb-temp\.|save\.joined", "save_rdb"),
    (r"cut\.|save\.|manifest-temp\.|base\.|segment\.(create|head|sync|close|remove)|data-dir\.|dir\.|log\.(prepared|named|retired)", "rewrite"),
    (r"segment\.write|log\.(sealed|written|synced)|gate\.|txn\.", "traffic"),
]


def ways_to(point):
    """Names of methods of Deaths."""
    return next((ways.split() for pattern, ways in WAYS if re.match(pattern, point)), [])


def can_be_reached(point, mode, shards):
    if point.startswith("segment.write-sync."):
        return mode == "always"
    if point.startswith("segment.write."):
        return mode != "always"
    if point == "log.synced":
        return mode == "everysec"
    if re.match(r"txn\.|rdb-temp\.(open|read|remove)", point):
        return shards > 1
    return True


def names(server):
    with server.raw() as raw:
        return [name.decode() for name in raw.do("DEBUG", "KILL-POINT", "LIST")]


class Deaths:
    """`server` keeps a log and runs; it does again after each death(). `clients` are those of kills.py."""

    def __init__(self, server, clients, rng, patience=15):
        self.server, self.clients, self.rng, self.patience = server, clients, rng, patience

    def death(self, point, count=1):
        """What is wrong."""
        return getattr(self, self.rng.choice(ways_to(point)))(point, count)

    # ---- Parts of a way --------------------------------------------------------------------------------------

    def ask(self, *command):
        """Its reply, or None if the server died over it."""
        try:
            with self.server.raw(timeout=self.patience) as raw:
                return raw.do(*command)
        except (OSError, EOFError):
            return None

    def arm(self, point, count):
        reply = self.ask("DEBUG", "KILL-POINT", point, count)
        assert not isinstance(reply, RespError), reply

    def dies(self, lead):
        """Whether it does, where it was armed to, as lead() is done again and again."""
        deadline = time.monotonic() + self.patience
        while self.server.proc.poll() is None and time.monotonic() < deadline:
            lead()
            wait_for(lambda: self.server.proc.poll() is not None, 0.3)
        died = self.server.proc.poll() == -signal.SIGKILL
        self.server.kill()
        return died

    def dies_at_start(self, point, count):
        self.server.env = {"SHOAL_KILL_POINT": "%s %d" % (point, count)}
        try:
            self.server.start_again()
        except ServerFailed:
            return self.server.proc.returncode == -signal.SIGKILL
        finally:
            self.server.env = {}
        self.server.kill()
        return False

    def under_load(self, crash):
        """(what crash() says, error replies)"""
        said = []
        refused = kills.run(self.clients, self.server.port, lambda: said.append(crash()), self.rng.uniform(0.05, 0.15))
        return said[0], ["refused: %s" % replies for replies in refused][:3]

    def look(self, died, refused=(), since=None):
        """Starts it again and looks at what it has: all, or what was acknowledged before `since`."""
        self.server.start_again()
        wrong = kills.check(self.clients, self.server.port, since is not None, since)
        return ([] if died else ["it was never there"]) + list(refused) + wrong

    def armed_under_load(self, point, count, lead):
        def crash():
            self.arm(point, count)
            return self.dies(lead)

        return self.look(*self.under_load(crash))

    def log_ends(self):
        self.ask("CONFIG", "SET", "appendonly", "no")
        assert wait_for(lambda: self.server.info("persistence")["aof_enabled"] == "0", self.patience)

    # ---- Ways ------------------------------------------------------------------------------------------------

    def traffic(self, point, count):
        return self.armed_under_load(point, count, lambda: None)

    def rewrite(self, point, count):
        return self.armed_under_load(point, count, lambda: self.ask("BGREWRITEAOF"))

    def save_rdb(self, point, count):
        self.ask("CONFIG", "SET", "save-format", "rdb")
        return self.armed_under_load(point, count, lambda: self.ask("BGSAVE"))

    def stop_log(self, point, count):
        return self.armed_under_load(point, count, lambda: self.ask("CONFIG", "SET", "appendonly", "no"))

    def begin_log(self, point, count):
        def crash():
            since = time.monotonic()
            self.log_ends()
            self.arm(point, count)
            return since, self.dies(lambda: self.ask("CONFIG", "SET", "appendonly", "yes"))

        (since, died), refused = self.under_load(crash)
        return self.look(died, refused, since)

    def rdb_instead(self, point, count):
        """An RDB file takes the place of the manifest, and of a snapshot that it names."""
        assert self.ask("SAVE") == "OK"

        def crash():
            since = time.monotonic()
            self.ask("CONFIG", "SET", "save-format", "rdb")
            self.log_ends()
            self.arm(point, count)
            return since, self.dies(lambda: self.ask("SAVE"))

        (since, died), refused = self.under_load(crash)
        return self.look(died, refused, since)

    def start(self, point, count):
        if point.startswith("base."):
            assert self.ask("SAVE") == "OK"
        _, refused = self.under_load(self.server.kill)
        return self.look(self.dies_at_start(point, count), refused)

    def import_rdb(self, point, count):
        self.ask("SET", "imported", "1")  # of an import of nothing no snapshot is made
        self.ask("CONFIG", "SET", "save-format", "rdb")
        self.log_ends()
        assert self.ask("SAVE") == "OK"
        self.server.kill()
        return self.look(self.dies_at_start(point, count))
