#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""torture: a server that is killed, or loses its power, again and again, and what it has kept.

    torture.py crash|power --server PATH [--minutes N | --cycles N] [--mode always|everysec|no] [--shards N] [--seed N]

crash: kill -9 under load, at random times and, every other cycle, at a kill point (kill_points.py: all of them, in any order, again
and again); whatever appendfsync says, nothing that was acknowledged may be lost. Every tenth cycle has a client whose writes are
about whole databases, and what is left is what a beginning of them leaves.
power: the data lie on an ext4 of their own in a file, which is shut down under load as the kernel would be at a power cut: what
was not synced may be gone. `always` loses nothing that was acknowledged; the others nothing that the server has said to be on the
disk (log_unsynced_ms of INFO, asked for all the time), and with `everysec` that is never much older than a second: how old it was
at most is told at the end. Whatever is lost, what is left makes sense (kills.py). Needs root and loop devices.

Prints a line a cycle, and ends with the sum.
"""

import argparse
import fcntl
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

import kill_points  # noqa: E402
import kills  # noqa: E402
from server import BAD_LOG, Server, wait_for  # noqa: E402

EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
SHUT_WITHOUT_FLUSHING_ITS_JOURNAL = 2
IMAGE_MB = 256


class Disk:
    """An ext4 in a file."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="shoal-power-")
        self.image = os.path.join(self.dir, "image")
        self.mounted = os.path.join(self.dir, "disk")
        os.mkdir(self.mounted)
        with open(self.image, "wb") as f:
            f.truncate(IMAGE_MB << 20)
        subprocess.run(["mkfs.ext4", "-q", self.image], check=True)
        self.mount()

    def mount(self):
        subprocess.run(["mount", "-o", "loop", self.image, self.mounted], check=True)

    def cut_power(self):
        fd = os.open(self.mounted, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", SHUT_WITHOUT_FLUSHING_ITS_JOURNAL))
        finally:
            os.close(fd)

    def unmount(self):
        for _ in range(100):  # a process that has just been killed may hold it for a moment
            if subprocess.run(["umount", self.mounted], capture_output=True).returncode == 0:
                return
            time.sleep(0.05)
        raise RuntimeError("%s cannot be unmounted" % self.mounted)

    def remove(self):
        self.unmount()
        shutil.rmtree(self.dir)


class Torture:
    def __init__(self, options):
        self.options = options
        self.rng = random.Random(options.seed)
        self.disk = Disk() if options.kind == "power" else None
        config = {"appendonly": "yes", "appendfsync": options.mode, "shards": options.shards, "auto-aof-rewrite-min-size": "1mb"}
        if self.disk:
            config["dir"] = os.path.join(self.disk.mounted, "data")
            os.mkdir(config["dir"])
        if options.io_backend:
            config["io-backend"] = options.io_backend
        self.server = Server(options.server, config=config, start_timeout=120)
        self.clients = [kills.Client(i, self.rng.getrandbits(32)) for i in range(options.clients)]
        self.deaths = kill_points.Deaths(self.server, self.clients, self.rng, 60)
        self.synced_until = 0  # what had been acknowledged by then is on the disk, as the server has said
        self.unsynced_ms = []  # for how long something was not, as it said while it was tortured
        self.points = []  # that come next
        self.points_died_at = set()

    def crash(self):
        if self.disk:
            # A power cut ends both at once. Threads that go on a moment longer would hear errors of the disk, refuse writes, and
            # show what is in memory to who reads (docs/durability.md).
            self.server.stand_still()
            self.disk.cut_power()
        self.server.proc.kill()
        self.server.proc.wait()

    def watch_syncs(self, stop):
        """Until the connection breaks."""
        try:
            with self.server.raw() as raw:
                while not stop.wait(0.01):
                    asked_at = time.monotonic()
                    ms = int(re.search(rb"log_unsynced_ms:(\d+)", raw.do("INFO", "persistence")).group(1))
                    # The server's clock is as old as its turn.
                    self.synced_until = max(self.synced_until, asked_at - ms / 1000 - 0.005)
                    self.unsynced_ms.append(ms)
        except (OSError, EOFError, RuntimeError):
            pass

    def run_clients(self, seconds):
        self.synced_until, stop = 0, threading.Event()
        watcher = threading.Thread(target=self.watch_syncs, args=(stop,), daemon=True)
        if self.disk:
            watcher.start()
        refused = kills.run(self.clients, self.server.port, self.crash, seconds)
        stop.set()
        if self.disk:
            watcher.join()
        return refused

    def die_at_point(self):
        if not self.points:
            self.points = [p for p in kill_points.names(self.server) if kill_points.can_be_reached(p, self.options.mode, self.options.shards)]
            self.rng.shuffle(self.points)
        point = self.points.pop()
        often = set(kill_points.ways_to(point)) <= {"traffic", "rewrite"}
        count = self.rng.choice([1, 1, 2, 4]) if often else 1
        self.points_died_at.add(point)
        return ["%s %d: %s" % (point, count, w) for w in self.deaths.death(point, count)]

    def flush_and_swap(self):
        """With data of its own: all that there was goes, and so does this."""
        sequence = kills.Sequence(self.rng.getrandbits(32))
        with self.server.raw() as raw:
            raw.do("FLUSHALL")
        wrong = []
        for _ in range(3):
            sequence.run(self.server.port, self.crash, self.rng.choice([0.02, 0.1, 0.5]))
            self.server.start_again()
            wrong += sequence.check(self.server.port)
        with self.server.raw() as raw:
            raw.do("FLUSHALL")
        acks = [client.acks for client in self.clients]
        self.clients[:] = [kills.Client(i, self.rng.getrandbits(32)) for i in range(len(acks))]
        for client, count in zip(self.clients, acks):
            client.acks = count
        return wrong

    def cycle(self, number):
        if not self.disk and number % 10 == 8:
            return self.flush_and_swap()
        if not self.disk and number % 2:
            return self.die_at_point()
        seconds = self.rng.choice([0.02, 0.1, 0.3, 1.0, 2.5]) * self.rng.uniform(0.5, 1.5)
        rewrites = self.rng.random() < 0.3
        if rewrites:
            with self.server.raw() as raw:
                raw.do("BGREWRITEAOF")
        refused = self.run_clients(seconds)
        if self.disk:
            self.disk.unmount()
            self.disk.mount()
        self.server._start_once()
        lost_allowed = self.disk is not None and self.options.mode != "always"
        wrong = kills.check(self.clients, self.server.port, lost_allowed, self.synced_until if lost_allowed else None)
        # Between the cut of the power and that of the process the disk only says errors.
        wrong += ["refused: %s" % replies for replies in refused if not self.disk or "MISCONF" not in str(replies)][:3]
        bad = BAD_LOG.search(self.server.log())
        if bad:
            wrong.append("the log says %r" % bad.group(0))
        return wrong

    def run(self):
        self.server.start()
        deadline = time.monotonic() + self.options.minutes * 60 if self.options.minutes else None
        cycles = acked = failed = 0
        while (deadline and time.monotonic() < deadline) or (not deadline and cycles < self.options.cycles):
            wrong = self.cycle(cycles)
            cycles += 1
            acked = sum(c.acks for c in self.clients)
            print("cycle %d: %d acknowledged%s" % (cycles, acked, "".join("\n  " + w for w in wrong)), flush=True)
            if wrong:
                failed += 1
                kept = tempfile.mkdtemp(prefix="shoal-torture-")
                shutil.copytree(self.server.config.get("dir", self.server.dir), os.path.join(kept, "data"))
                print("  the data as they are now: %s" % kept, flush=True)
                break
        self.server.stop()
        if self.disk:
            self.disk.remove()
        print("%s, %s, %d shards: %d cycles, %d kill points, %d operations acknowledged, %d failed" % (
            self.options.kind, self.options.mode, self.options.shards, cycles, len(self.points_died_at), acked, failed))
        if self.disk and self.unsynced_ms:
            ages = sorted(self.unsynced_ms)
            print("not on the disk for so long, of %d times asked: median %d ms, 99%% %d ms, at most %d ms" % (
                len(ages), ages[len(ages) // 2], ages[len(ages) * 99 // 100], ages[-1]))
        return failed == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["crash", "power"])
    parser.add_argument("--server", required=True)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--mode", choices=["always", "everysec", "no"], default="always")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--io-backend")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print("seed %d" % options.seed, flush=True)
    sys.exit(0 if Torture(options).run() else 1)


if __name__ == "__main__":
    main()
