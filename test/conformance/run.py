# SPDX-License-Identifier: BSD-3-Clause
"""Runs Redis's own test suite against a running server, in the suite's external mode.

The suite is that of Debian 12's source package (7.0.15): the last version whose words Valkey shares. It is fetched into a private
apt state whose one source entry has the mirror and the key of this machine's own configuration, and unpacked below .cache;
nothing of it is in this tree. Of the private copy CHANGED is changed before it runs: what its start-up asks for that is not there
yet, and names of encodings.

`left_out.txt` names each test that is not run, with its reason. A name there that the suite does not have is a failure: the list
can only shrink.

    test/conformance/run.py --server build-release/server/shoal-server --shards 4 [UNIT...]
    test/conformance/run.py --fetch       only fetch the suite

The last line is `conformance: N passed, N failed, N left out`.
"""

import argparse
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CACHE = os.path.join(ROOT, ".cache", "conformance")
SUITE = "bookworm"
VERSION = "7.0.15"
LEFT_OUT = os.path.join(HERE, "left_out.txt")

# In the order of the suite. Those that are not here need what a later issue builds, or start servers of their own.
UNITS = """unit/protocol unit/keyspace unit/scan unit/info unit/info-command unit/type/string unit/type/incr unit/type/list
unit/type/list-2 unit/type/list-3 unit/type/set unit/type/zset unit/type/hash unit/type/stream unit/type/stream-cgroups unit/sort
unit/dump unit/expire unit/other unit/multi unit/quit unit/pubsub unit/introspection unit/introspection-2 unit/limits unit/bitops
unit/bitfield unit/geo unit/hyperloglog unit/lazyfree unit/pause unit/querybuf unit/networking unit/tracking unit/scripting unit/functions unit/aofrw
unit/acl unit/acl-v2 unit/auth unit/slowlog unit/latency-monitor unit/client-eviction unit/maxmemory unit/pubsubshard
integration/dismiss-mem integration/redis-cli""".split()

# (file, line, what it becomes, how often it is there if not once) in the private copy.
CHANGED = [
    # These do not need a server that the suite has started, but for some of their tests (left_out.txt).
    ("unit/aofrw.tcl", 'start_server {tags {"aofrw external:skip"}} {', 'start_server {tags {"aofrw"}} {'),
    (
        "unit/aofrw.tcl",
        'start_server {tags {"aofrw external:skip"} overrides {aof-use-rdb-preamble no}} {',
        'start_server {tags {"aofrw"} overrides {aof-use-rdb-preamble no}} {',
    ),
    ("unit/acl.tcl", 'start_server {tags {"acl external:skip"}} {', 'start_server {tags {"acl"}} {'),
    ("unit/acl-v2.tcl", 'start_server {tags {"acl external:skip"}} {', 'start_server {tags {"acl"}} {'),
    ("unit/auth.tcl", 'start_server {tags {"auth external:skip"}} {', 'start_server {tags {"auth"}} {'),
    ("unit/info.tcl", 'start_server {tags {"info" "external:skip"}} {', 'start_server {tags {"info"}} {'),
    ("unit/client-eviction.tcl", 'tags {"external:skip"} {', "tags {} {"),
    (
        "unit/pubsubshard.tcl",
        'start_server {tags {"pubsubshard external:skip"}} {\n    test "SPUBLISH/SSUBSCRIBE basics" {',
        'start_server {tags {"pubsubshard"}} {\n    test "SPUBLISH/SSUBSCRIBE basics" {',
    ),
    ("unit/maxmemory.tcl", 'start_server {tags {"maxmemory" "external:skip"}} {', 'start_server {tags {"maxmemory"}} {', 3),
    ("unit/maxmemory.tcl", 'start_server {tags {"maxmemory external:skip"}} {', 'start_server {tags {"maxmemory"}} {', 3),
    # What was flushed is freed beside what follows, and counts until then: a limit that is 100 kB more than that would be far away.
    (
        "unit/maxmemory.tcl",
        "            # make sure to start with a blank instance\n            r flushall",
        "            r flushall\n            wait_for_condition 100 50 {[s lazyfree_pending_objects] eq 0} else {fail {it is not freed}}",
        3,
    ),
    # The client and who looks for it are served by two threads: it is gone when what it has sent was read.
    (
        "unit/client-eviction.tcl",
        "            $rr flush\n        } e\n        assert {![client_exists $cname]}\n        $rr close\n        \n        # Restore settings",
        "            $rr flush\n        } e\n        wait_for_condition 100 50 {![client_exists $cname]} else {fail {it is there}}\n        $rr close\n"
        "        \n        # Restore settings",
    ),
    # All that are too large are gone some turns after CONFIG SET has been answered.
    (
        "unit/client-eviction.tcl",
        "        set total_client_mem [clients_sum tot-mem]\n        assert {$total_client_mem <= $maxmemory_clients}",
        "        wait_for_condition 100 50 {[clients_sum tot-mem] <= $maxmemory_clients} else {fail {too much}}",
    ),
    (
        "unit/client-eviction.tcl",
        "            r config set maxmemory-clients [expr $total_mem + $control_mem]",
        "            set limit [expr $total_mem + $control_mem]\n            r config set maxmemory-clients $limit\n"
        "            wait_for_condition 100 50 {[clients_sum tot-mem] <= $limit} else {fail {too much}}",
    ),
    (
        "unit/client-eviction.tcl",
        "            set client_mem [client_field client-$i tot-mem]",
        "            wait_for_condition 100 50 {[client_field client-$i tot-mem] >= $size} else {fail {it has not come}}\n"
        "            set client_mem [client_field client-$i tot-mem]",
    ),
    # What a unit above has set is not taken back in a server that the suite has not started.
    (
        "unit/client-eviction.tcl",
        '        test "client total memory grows during $type" {',
        '        r config set client-output-buffer-limit "normal 0 0 0"\n\n        test "client total memory grows during $type" {',
    ),
    # And what came to it with the question is counted in the answer, before it is gone for that.
    (
        "unit/client-eviction.tcl",
        "                assert {$mem < $maxmemory_clients}\n                $rr evalsha $script_sha 0",
        "                assert {$mem < $maxmemory_clients + 2 * $key_length}\n                $rr evalsha $script_sha 0",
    ),
    ("integration/dismiss-mem.tcl", 'start_server {tags {"dismiss external:skip"}} {', 'start_server {tags {"dismiss"}} {'),
    # Where the key that goes is another shard's it goes by that shard's thread, and the message may come after the reply.
    (
        "unit/tracking.tcl",
        "        assert_equal $res {invalidate volatile-key}\n        set res [r read]\n        assert_equal $res 0",
        "        assert_equal [lsort [list $res [r read]]] {0 {invalidate volatile-key}}",
    ),
    # And what is for two clients that redirect to a third comes there by way of their two threads.
    (
        "unit/tracking.tcl",
        "        assert {$res1 eq {key1{t}}}\n        assert {$res2 eq {key2{t}}}",
        "        assert_equal [lsort [list $res1 $res2]] {key1{t} key2{t}}",
    ),
    # What a client had on its way to a shard when its connection ended is done all the same, perhaps a moment after CLIENT LIST has
    # shown it no more.
    (
        "unit/aofrw.tcl",
        "            set d1 [debug_digest]\n\n            # Load the AOF",
        "            wait_for_condition 50 100 {[set d1 [debug_digest]] eq [after 500; debug_digest]} else {fail {it goes on}}\n\n"
        "            # Load the AOF",
    ),
    # And the LPUSH of one connection may overtake the EXEC of another that was not waited for.
    (
        "unit/type/list.tcl",
        "        $watching_client exec\n        # Blocked BLPOPLPUSH may create problems, unblock it.\n"
        "        r lpush srclist{t} element\n        set res [$watching_client read]",
        "        $watching_client exec\n        set res [$watching_client read]\n"
        "        # Blocked BLPOPLPUSH may create problems, unblock it.\n        r lpush srclist{t} element",
    ),
    # Small lists and sets are listpacks since then: a test that wants one of the larger encodings is about something else.
    (
        "support/test.tcl",
        "    assert_match $enc $val",
        "    if {$val eq {listpack} && $enc in {quicklist hashtable}} {set enc $val}\n    assert_match $enc $val",
    ),
    # Commands of two connections that are not waited for are served by two threads, and the second may come first.
    (
        "unit/type/list.tcl",
        "        $rd1 brpoplpush blist{t} target1{t} 0\n        $rd2 brpoplpush blist{t} target2{t} 0",
        "        $rd1 brpoplpush blist{t} target1{t} 0\n        wait_for_blocked_clients_count 1\n"
        "        $rd2 brpoplpush blist{t} target2{t} 0\n        wait_for_blocked_clients_count 2",
    ),
    (
        "unit/type/stream-cgroups.tcl",
        '        $rd XREAD BLOCK 0 STREAMS mystream "$"\n        r SET mystream val1',
        '        $rd XREAD BLOCK 0 STREAMS mystream "$"\n        wait_for_blocked_client\n        r SET mystream val1',
    ),
    # A script that has run before, and has looked for no keys elsewhere, keeps its own shard busy and leaves the others alone.
    ("unit/multi.tcl", "        $rd1 eval {while true do end} 0", '        $rd1 eval "while true do end -- [clock microseconds]" 0', 4),
    # UNSUBSCRIBE without arguments: its replies are not waited for, and another connection's PUBLISH, served by another thread,
    # may come first.
    (
        "unit/pubsub.tcl",
        "        unsubscribe $rd1\n        assert_equal 0 [r publish chan1 hello]",
        "        unsubscribe $rd1\n        foreach i {1 2 3} {$rd1 read}\n        assert_equal 0 [r publish chan1 hello]",
    ),
    (
        "unit/pubsubshard.tcl",
        "        sunsubscribe $rd1\n        assert_equal 0 [r SPUBLISH chan1 hello]",
        "        sunsubscribe $rd1\n        foreach i {1 2 3} {$rd1 read}\n        assert_equal 0 [r SPUBLISH chan1 hello]",
    ),
    (
        "unit/pubsub.tcl",
        "        punsubscribe $rd1\n        assert_equal 0 [r publish chan1.hi hello]",
        "        punsubscribe $rd1\n        foreach i {1 2 3} {$rd1 read}\n        assert_equal 0 [r publish chan1.hi hello]",
    ),
]

# (unit, pattern, replacement): what errors say otherwise since then, but with the same meaning.
REWORDED = [
    ("unit/acl.tcl", "Redis instance is not configured", "instance is not configured"),
    ("unit/acl-v2.tcl", r"\*NOPERM\*keys\*", "*NOPERM*key*"),
    ("unit/acl.tcl", r"\*NOPERM\*channels\*", "*NOPERM*channel*"),
    ("unit/acl-v2.tcl", r'"This user has ([^"]*)" +\[r ACL DRYRUN (\S+)', r'"User \2 has \1" [r ACL DRYRUN \2'),
    ("unit/acl.tcl", r'"This user has ([^"]*)" +\[r ACL DRYRUN (\S+)', r'"User \2 has \1" [r ACL DRYRUN \2'),
]

NOISE = re.compile(r"\x1b\[[0-9;]*m")
RESULT = re.compile(r"^\[(ok|err|exception|ignore|skip)\]: (.*)$")


# ---- Fetching ------------------------------------------------------------------------------------------------------------------


def stanzas(text):
    """deb822: a dict per paragraph."""
    for paragraph in re.split(r"\n\s*\n", text):
        fields = {}
        for line in paragraph.splitlines():
            if line[:1] not in ("#", " ", "\t") and ":" in line:
                key, value = line.split(":", 1)
                fields[key.strip().lower()] = value.strip()
        if fields:
            yield fields


def mirror(folder="/etc/apt"):
    """(address, key or None) of the Debian archive that this machine uses, or None."""
    parts = os.path.join(folder, "sources.list.d")
    names = sorted(os.listdir(parts)) if os.path.isdir(parts) else []
    for path in [os.path.join(folder, "sources.list")] + [os.path.join(parts, name) for name in names]:
        if not os.path.isfile(path):
            continue
        with open(path, errors="replace") as f:
            text = f.read()
        found = []
        if path.endswith(".sources"):
            for fields in stanzas(text):
                found += [(uri, fields.get("signed-by")) for uri in fields.get("uris", "").split()]
        else:
            for options, uri in re.findall(r"^\s*deb(?:-src)?\s+(?:\[([^]]*)\]\s+)?(\S+)\s", text, re.M):
                key = re.search(r"signed-by=(\S+)", options)
                found.append((uri, key and key.group(1)))
        for uri, key in found:
            if re.search(r"/debian/?$", uri):
                return uri, key
    return None


def fetch():
    """The folder of the suite; None, and a line that says why, if it cannot be had."""
    folder = os.path.join(CACHE, "redis-" + VERSION)
    if os.path.isdir(os.path.join(folder, "tests")):
        return folder
    if not shutil.which("apt-get") or not mirror():
        print("no Debian archive is configured here")
        return None
    uri, key = mirror()
    state = os.path.join(CACHE, "apt")
    for name in ("lists/partial", "cache/archives/partial", "etc"):
        os.makedirs(os.path.join(state, name), exist_ok=True)
    with open(os.path.join(state, "etc", "source.sources"), "w") as f:
        signed = "Signed-By: %s\n" % key if key else ""
        f.write("Types: deb-src\nURIs: %s\nSuites: %s\nComponents: main\n%s" % (uri, SUITE, signed))
    options = {
        "Dir::State::lists": state + "/lists", "Dir::Cache": state + "/cache", "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": state + "/etc", "APT::Sandbox::User": "",
    }  # fmt: skip
    apt = ["apt-get", "-qq"] + [word for name, value in options.items() for word in ("-o", "%s=%s" % (name, value))]
    for command in (["update"], ["source", "--download-only", "redis"]):
        done = subprocess.run(apt + command, cwd=state, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            print("the suite could not be fetched: " + done.stdout.strip()[-500:])
            return None
    archive = os.path.join(state, "redis_%s.orig.tar.gz" % VERSION)
    if not os.path.exists(archive):
        print("the archive has another version of redis: %s" % sorted(os.listdir(state)))
        return None
    with tempfile.TemporaryDirectory(dir=CACHE) as unpacked:
        with tarfile.open(archive) as tar:
            wanted = [m for m in tar.getmembers() if m.name.startswith("redis-%s/tests/" % VERSION)]
            tar.extractall(unpacked, members=wanted)
        os.rename(os.path.join(unpacked, "redis-" + VERSION), folder)
    return folder


def prepare(suite, folder):
    """A copy of the suite that can be run here."""
    shutil.copytree(os.path.join(suite, "tests"), os.path.join(folder, "tests"))
    for name, line, becomes, *times in CHANGED:
        path = os.path.join(folder, "tests", name)
        with open(path, encoding="latin-1") as f:
            text = "\n" + f.read()
        assert text.count("\n%s\n" % line) == (times or [1])[0], line
        with open(path, "w", encoding="latin-1") as f:
            f.write(text.replace("\n%s\n" % line, "\n%s\n" % becomes)[1:])
    for name, pattern, becomes in REWORDED:
        path = os.path.join(folder, "tests", name)
        with open(path, encoding="latin-1") as f:
            text, count = re.subn(pattern, becomes, f.read())
        assert count, pattern
        with open(path, "w", encoding="latin-1") as f:
            f.write(text)


# ---- What is left out ----------------------------------------------------------------------------------------------------------


SEVERAL = "with several shards: "


def left_out(shards):
    """{unit: {name: reason}}"""
    out = {}
    with open(LEFT_OUT) as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                unit, name, reason = (part.strip() for part in line.split(" | "))
                assert reason, line
                assert unit in UNITS, "no unit %s" % unit
                assert name not in out.setdefault(unit, {}), "twice: " + line
                out[unit][name] = reason
    if shards == 1:
        out = {unit: {name: reason for name, reason in names.items() if not reason.startswith(SEVERAL)} for unit, names in out.items()}
    return out


# ---- Running -------------------------------------------------------------------------------------------------------------------


class Server:
    def __init__(self, options):
        self.folder = tempfile.TemporaryDirectory(prefix="shoal-conformance-")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        command = [options.server, "--port", str(self.port), "--enable-debug-command", "yes", "--save", "", "--dir", self.folder.name]
        if not options.original:
            command += ["--shards", str(options.shards), "--io-backend", options.io_backend]
        self.log = open(os.path.join(self.folder.name, "log"), "w+", errors="replace")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT)
        for _ in range(600):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        sys.exit("the server does not listen")

    def end(self):
        """What is wrong with how it ended, or None."""
        status = self.process.poll()
        if status is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                status = self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                status = self.process.wait()
        self.log.seek(0)
        tail = self.log.read()[-3000:]
        self.log.close()
        self.folder.cleanup()
        return None if status == 0 else "the server ended with status %s\n%s" % (status, tail)


def pick_base():
    """The suite listens so far below what it is given; another row runs beside this one, and picks, too."""
    for _ in range(1000):
        base = random.randrange(10000, 30000, 40)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", base - 32))
            except OSError:
                continue
        return base
    sys.exit("no port is free for the suite")


def run_unit(options, suite, unit, names):
    """(passed, failures, names that were seen)"""
    server = Server(options)
    passed, failed, seen = 0, [], set()
    with tempfile.TemporaryDirectory(prefix="shoal-conformance-") as folder:
        prepare(suite, folder)
        os.mkdir(os.path.join(folder, "src"))  # where the suite looks for programs
        os.symlink(shutil.which("redis-cli") or "/usr/bin/redis-cli", os.path.join(folder, "src", "redis-cli"))
        skip = os.path.join(folder, "skip")
        with open(skip, "w") as f:
            f.write("\n".join(names))
        command = ["tclsh", "tests/test_helper.tcl", "--host", "127.0.0.1", "--port", str(server.port), "--single", unit]
        command += ["--baseport", str(pick_base())]
        command += ["--durable", "--skipfile", skip, "--tags", "-needs:repl"]
        try:
            done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=options.timeout)
            text = done.stdout.decode(errors="replace")
            status = done.returncode
        except subprocess.TimeoutExpired as e:
            text, status = (e.stdout or b"").decode(errors="replace"), "124 (it was not over in time)"
    lines = [NOISE.sub("", line) for line in text.splitlines()]
    for i, line in enumerate(lines):
        found = RESULT.match(line)
        if not found:
            continue
        kind, rest = found.groups()
        if kind == "ok":
            passed += 1
        elif kind == "skip":
            seen.add(rest)
        elif kind in ("err", "exception"):
            failed.append("%s: %s" % (unit, "\n    ".join([rest] + lines[i + 1 : i + 4])))
    if status and not failed:
        failed.append("%s: exit status %s\n    %s" % (unit, status, "\n    ".join(lines[-12:])))
    bad_end = server.end()
    if bad_end:
        failed.append("%s: %s" % (unit, bad_end))
    return passed, failed, seen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("units", nargs="*", metavar="UNIT")
    parser.add_argument("--server", default=os.path.join(ROOT, "build-release", "server", "shoal-server"))
    parser.add_argument("--original", action="store_true", help="the server is a redis-server or valkey-server")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--io-backend", default="uring")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for one unit")
    parser.add_argument("--all", action="store_true", help="leave nothing out")
    parser.add_argument("--fetch", action="store_true")
    parser.add_argument("--may-be-missing", action="store_true", help="without the suite nothing is run, and that is no failure")
    options = parser.parse_args()
    suite = fetch()
    if options.fetch or suite is None:
        sys.exit(0 if suite or options.may_be_missing else 3)
    out = {} if options.all else left_out(options.shards)
    passed, failed, left = 0, [], 0
    for unit in options.units or UNITS:
        names = out.get(unit, {})
        if "*" in names:
            print("%-28s left out: %s" % (unit, names["*"]))
            left += 1
            continue
        began = time.monotonic()
        ok, bad, seen = run_unit(options, suite, unit, list(names))
        bad += ["%s: left_out.txt names a test that the suite does not have: %s" % (unit, name) for name in names if name not in seen]
        print("%-28s %4d passed, %d failed, %d left out (%d s)" % (unit, ok, len(bad), len(names), time.monotonic() - began), flush=True)
        passed, left = passed + ok, left + len(names)
        failed += bad
    for text in failed:
        print("FAILED %s" % text)
    print("conformance: %d passed, %d failed, %d left out" % (passed, len(failed), left))
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
