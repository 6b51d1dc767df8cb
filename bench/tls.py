#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""tls: the server's CPU per operation within TLS, side by side with Valkey: bench/tls.py [--rounds N].

The handshakes of 50 clients are measured apart and taken off, so what is left is what a command costs. Servers alternate; the
median of the rounds is shown.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

import servers

GROUP = "tls"
NAME = "tls/%s/P%d"
HEADING = "TLS\n\nThe server's CPU us for a command within TLS, without the handshakes; 50 clients, values of 64 B."
COLUMNS = {"tls/": [("cpu_us", "CPU us", "%.3f")]}
PLANS = [("get", 1, 100_000), ("set", 1, 100_000), ("get", 16, 600_000), ("set", 16, 600_000)]
CLIENTS = 50
NAMES = [NAME % plan[:2] for plan in PLANS]


def make_certificate(folder):
    key, cert = os.path.join(folder, "key"), os.path.join(folder, "crt")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert,
         "-days", "1", "-subj", "/CN=bench"], check=True, capture_output=True,
    )  # fmt: skip
    return key, cert


class Contestant:
    def __init__(self, name, kind, program, arguments, cpu, files):
        self.tls_port = servers.free_port()
        key, cert = files
        tls = ["--tls-port", str(self.tls_port), "--tls-key-file", key, "--tls-cert-file", cert, "--tls-ca-cert-file", cert,
               "--tls-auth-clients", "no", "--save", ""]  # fmt: skip
        self.server = servers.Server(name, lambda port, folder: [program, "--port", str(port), "--dir", folder, *tls, *arguments], cpu, kind)
        self.cert = cert

    def cpu_us(self, tool, load_cpu, plan, scale=1.0):
        """Of one operation."""
        command, pipeline, n = plan[0], plan[1], int(plan[2] * scale)
        line = ["taskset", "-c", load_cpu, tool, "-p", str(self.tls_port), "--tls", "--cacert", self.cert, "-t", command, "-P", str(pipeline),
                "-c", str(CLIENTS), "-d", "64", "-r", "100000", "-q", "-n"]  # fmt: skip
        used = []
        self.server.start()
        try:
            for requests in (CLIENTS, n + CLIENTS):
                before = self.server.cpu_ns()
                subprocess.run([*line, str(requests)], check=True, capture_output=True)
                used.append(self.server.cpu_ns() - before)
        finally:
            self.server.stop()
        return (used[1] - used[0]) / 1000 / n


def contestants(shoal, valkey, cpu, files):
    for backend in ("uring", "epoll"):
        yield Contestant("shoal " + backend, "shoal", shoal, ["--shards", "1", "--io-backend", backend], cpu, files)
    if valkey:
        yield Contestant("valkey", "valkey", valkey, [], cpu, files)


def run(bench):
    """As a part of ./dev bench, if the tool speaks TLS."""
    plans = [p for p in PLANS if bench.wants(NAME % p[:2])]
    tool = bench.valkey_tool
    if not plans or not tool or not shutil.which("openssl"):
        return
    with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder:
        files = make_certificate(folder)
        everybody = list(contestants(bench.options.shoal, bench.valkey, bench.options.server_cpu, files))
        for turn in range(bench.rounds):
            for plan in plans:
                for c in everybody:
                    if bench.progress.step("%s, round %d, %s" % (NAME % plan[:2], turn + 1, c.server.name), 2.5):
                        used = c.cpu_us(tool, bench.options.load_cpu, plan, bench.scale)
                        bench.lines.setdefault("tls, " + c.server.name, c.server.line)
                        bench.keep_figures(GROUP, NAME % plan[:2], "%s, pipeline %d, within TLS" % (plan[0].upper(), plan[1]), c.server.name, {"cpu_us": used})


def main():
    allowed = sorted(os.sched_getaffinity(0))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--shoal", default=os.path.join(servers.ROOT, "build-release", "server", "shoal-server"))
    p.add_argument("--valkey", default=os.path.join(servers.ROOT, ".cache", "peers", "bin", "valkey-server"))
    options = p.parse_args()
    valkey = options.valkey if os.access(options.valkey, os.X_OK) else shutil.which("valkey-server")
    tool = shutil.which("valkey-benchmark", path=os.path.dirname(valkey)) if valkey else None
    tool = tool or shutil.which("redis-benchmark")
    if not tool:
        sys.exit("bench: neither valkey-benchmark nor redis-benchmark is there")
    server_cpu, load_cpu = str(allowed[0]), str(allowed[-1])
    with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder:
        files = make_certificate(folder)
        all_ = list(contestants(options.shoal, valkey, server_cpu, files))
        for plan in PLANS:
            found = {c.server.name: [] for c in all_}
            for _ in range(options.rounds):
                for c in all_:
                    found[c.server.name].append(c.cpu_us(tool, load_cpu, plan))
            shown = ", ".join("%s %.2f us" % (name, statistics.median(us)) for name, us in found.items())
            print("%s, pipeline %d: %s" % (plan[0].upper(), plan[1], shown), flush=True)


if __name__ == "__main__":
    main()
