# SPDX-License-Identifier: BSD-3-Clause
"""./dev by itself: what it refuses before it installs or builds anything, where it says what, what it leaves behind.

It runs in a tree of its own whose packages, compilers and server are a few lines of shell that write down how they were called.
"""

import os
import re
import shlex
import shutil
import socket
import subprocess
import time

import pytest
import tree

COREUTILS = "bash sh env dirname readlink cat mkdir tr sort sed grep tail head rm ln cp chmod sleep awk find nproc id mktemp touch kill python3 ls"

# A server that tells its arguments and folder, or goes to the background when its configuration says so.
SERVER = r"""#!/usr/bin/python3
import os, socket, sys, time
text = " ".join(sys.argv[1:])
if len(sys.argv) > 1 and os.path.isfile(sys.argv[1]):
    text += " " + open(sys.argv[1]).read()
print("server in %s: %s" % (os.getcwd(), " ".join(sys.argv[1:])), flush=True)
"""


class Front:
    """A copy of ./dev with everything around it."""

    def __init__(self, folder):
        self.top, self.bin, self.tmp = folder / "top", folder / "bin", folder / "tmp"
        for path in (self.top, self.bin, self.tmp):
            path.mkdir()
        self.calls = folder / "calls"
        shutil.copy(os.path.join(tree.ROOT, "dev"), self.top)
        for part in ("test", "bench"):
            os.symlink(os.path.join(tree.ROOT, part), self.top / part)
        for name in COREUTILS.split():
            os.symlink(shutil.which(name), self.bin / name)
        self.fake("dpkg-query", 'echo "$0 $*" >>"%s"; [ ! -f "%s/packages" ] || echo installed' % (self.calls, folder))
        self.packages = folder / "packages"
        self.packages.touch()
        self.fake(
            "meson",
            'for dir; do case $dir in build-*) mkdir -p $dir/server $dir/test/sim; touch $dir/build.ninja; '
            'for program in server/shoal-server test/sim/shoal-sim; do cp "%s/server" $dir/$program; done ;; esac; done' % folder,
        )
        (folder / "server").write_text(SERVER)
        (folder / "server").chmod(0o755)
        self.server = folder / "server"
        self.fake("ninja", "echo ninja: no work to do.")
        self.fake("redis-cli", "true")

    def fake(self, name, body):
        path = self.bin / name
        if path.is_symlink():
            path.unlink()
        path.write_text('#!/bin/sh\n[ %s = dpkg-query ] || echo "%s $*" >>"%s"\n%s\n' % (name, name, self.calls, body))
        path.chmod(0o755)

    def not_root(self):
        self.fake("id", "echo 1000")

    def run(self, *args, cwd=None, timeout=60):
        env = {"PATH": str(self.bin), "TMPDIR": str(self.tmp), "HOME": str(self.tmp), "LC_ALL": "C"}
        done = subprocess.run([str(self.top / "dev"), *args], cwd=cwd or self.top, env=env, capture_output=True, text=True, timeout=timeout)
        assert not os.listdir(self.tmp), "left behind: %s" % os.listdir(self.tmp)
        return done

    def did(self):
        """Whether something was installed or built, or asked whether it is."""
        return self.calls.read_text() if self.calls.exists() else ""


@pytest.fixture
def front(tmp_path):
    return Front(tmp_path)


@pytest.mark.parametrize("command", ("run", "test", "build", "bench", "checker", "sim", "fuzz"))
def test_without_root_or_sudo_the_missing_packages_are_on_the_screen(front, command):
    front.not_root()
    front.packages.unlink()
    done = front.run(command)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and "missing" in lines[0] and "sudo" in lines[0]
    assert "python3" in lines[0] if command in ("test", "bench", "checker") else "meson" in lines[0] and "gcc" in lines[0]


def test_what_apt_says_is_shown_when_it_fails(front):
    front.not_root()
    front.packages.unlink()
    front.fake("sudo", 'shift 2; "$@"')
    front.fake("apt-get", "echo E: no way to the mirror; exit 100")
    done = front.run("build")
    assert done.returncode == 1
    assert "no way to the mirror" in done.stderr and "could not install: gcc" in done.stderr


def test_programs_that_would_begin_a_service_are_unpacked(front):
    """Or the run goes on without them."""
    front.fake("valkey-server", "true")
    front.fake("redis-server", "true")
    front.fake("node", "echo 18")
    front.fake("npm", "true")
    front.fake("apt-get", '[ "$2" = download ] || exit 100; case $3 in prometheus) exit 100 ;; esac; touch "$3_1.0_amd64.deb"')
    front.fake("dpkg-deb", 'mkdir -p "$3/usr/bin"; name=${2##*/}; touch "$3/usr/bin/${name%%_*}"; chmod +x "$3/usr/bin/${name%%_*}"')
    (front.top / "test").unlink()
    (front.top / "test").mkdir()
    (front.top / "test" / "run.py").write_text("import shutil\nprint(shutil.which('prometheus-redis-exporter'), shutil.which('prometheus'))\n")
    for _ in range(2):
        done = front.run("test")
        assert done.returncode == 0, done.stderr
        last = done.stdout.splitlines()[-1]
        assert last == "%s/.cache/programs/usr/bin/prometheus-redis-exporter None" % front.top
        assert "going on without prometheus (why is in .cache/unpack.log)" in done.stderr
    assert front.did().count("apt-get -q download prometheus-redis-exporter") == 1  # it is there the second time
    assert not list((front.top / ".cache" / "programs").glob("*.deb"))


@pytest.mark.parametrize(
    "args, text",
    (
        (["nosuch"], "unknown command 'nosuch'"),
        (["test", "nosuch"], "no part 'nosuch'"),
        (["test", "--server", "/no/such"], "/no/such"),
        (["build", "nosuch"], "unknown build 'nosuch'"),
        (["build", "debug", "asan"], "too many"),
        (["deb", "here", "there"], "too many"),
        (["run", "/no/such.conf"], "/no/such.conf: No such file"),
        (["run", "/"], "directory"),
        (["bench", "--nosuch"], "--nosuch"),
        (["bench", "--valkey", "/no/such"], "/no/such"),
        (["bench", "--only", "nosuch"], "nosuch"),
        (["bench", "--quick", "--setup-peers", "--rounds", "x"], "--rounds"),
        (["checker", "soon"], "soon"),
        (["checker", "--workloads", "nosuch"], "no workload 'nosuch'"),
        (["checker", "--io-backend", "nosuch"], "--io-backend"),
        (["fmt", "nosuch"], "nosuch"),
        (["fuzz", "soon"], "soon"),
        (["fuzz", "60", "nosuch"], "no fuzz target 'nosuch'; there are: acl base_file bus cjson"),
        (["sim", "soon"], "soon"),
        (["sim", "10m10"], "10m10"),
        (["sim", "--seed"], "--seed needs a number"),
        (["sim", "--seed", "x"], "--seed needs a number"),
        (["sim", "--build", "nosuch"], "unknown build 'nosuch'"),
    ),
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_bad_arguments_are_refused_before_anything_is_done(front, args, text):
    front.packages.unlink()
    front.fake("apt-get", "exit 100")
    # python3 itself may be asked for: it reads the arguments.
    front.fake("dpkg-query", 'case "$*" in *" python3") echo installed ;; *) echo "dpkg-query $*" >>"%s" ;; esac' % front.calls)
    done = front.run(*args)
    assert done.returncode in (1, 2) and text in done.stderr
    assert front.did() == ""


@pytest.mark.parametrize("args", (["help"], ["--help"], [], ["build", "--help"], ["fmt", "-h"], ["sim", "--help"], ["fuzz", "--help"], ["test", "--help"], ["bench", "--help"], ["checker", "-h"]), ids=" ".join)
def test_help_does_nothing_else(front, args):
    done = front.run(*args)
    assert done.returncode == 0 and "./dev" in done.stdout
    assert "ninja" not in front.did()


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may read everything")
def test_a_configuration_that_may_not_be_read_is_there(front, tmp_path):
    conf = tmp_path / "secret.conf"
    conf.write_text("port 7000\n")
    conf.chmod(0)
    drop = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"] if os.geteuid() == 0 else []
    for folder in [tmp_path, *tmp_path.parents]:  # pytest's own folders are closed to others
        if folder.stat().st_uid == os.geteuid() and str(folder).startswith(str(tmp_path.parents[1])):
            folder.chmod(0o755)
    done = subprocess.run([*drop, "/bin/bash", str(front.top / "dev"), "run", str(conf)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "%s: Permission denied" % conf in done.stderr


def test_run_serves_with_data_beside_it(front, tmp_path):
    done = front.run("run", "--port", "7000", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == "server in %s: --port 6379 --dir %s/data --port 7000\n" % (tmp_path, front.top)
    assert (front.top / "data").is_dir()


def test_paths_are_those_of_the_folder_it_was_called_from(front, tmp_path):
    (tmp_path / "my.conf").write_text("port 7000\n")
    done = front.run("run", "my.conf", "--shards", "2", cwd=tmp_path)
    assert done.stdout == "server in %s: my.conf --shards 2\n" % tmp_path
    assert front.run("test", "--plan", "--server", "my.conf", "lint", cwd=tmp_path).returncode == 0
    assert "no program at my.conf" in front.run("bench", "--redis", "my.conf", cwd=tmp_path).stderr


def test_the_servers_status_is_the_status(front):
    front.server.write_text("#!/bin/sh\nexit 7\n")
    assert front.run("run").returncode == 7


def test_without_redis_cli_it_serves_all_the_same(front):
    (front.bin / "redis-cli").unlink()
    front.not_root()
    front.fake("dpkg-query", 'case "$*" in *" redis-tools") ;; *) echo installed ;; esac')
    done = front.run("run")
    assert done.returncode == 0 and "server in" in done.stdout
    assert "missing" in done.stderr and "redis-tools" in done.stderr and "going on without redis-cli" in done.stderr


def test_redis_cli_is_installed_with_the_server(front):
    (front.bin / "redis-cli").unlink()
    front.fake("dpkg-query", 'case "$*" in *" redis-tools") ;; *) echo installed ;; esac')
    front.fake("apt-get", "true")
    front.fake("id", "echo 0")
    assert front.run("run").returncode == 0
    assert "install redis-tools" in front.did()


def test_one_program_that_cannot_be_had_keeps_none_of_the_others_away(front):
    (front.top / "test").unlink()
    for path in ("test/run.py", "test/conformance/run.py"):
        (front.top / path).parent.mkdir(parents=True, exist_ok=True)
        (front.top / path).write_text("import sys\n'--check-arguments' in sys.argv or print('tests ran')\n")
    for name in ("redis-server", "valkey-server", "prometheus", "prometheus-redis-exporter"):
        front.fake(name, "true")
    front.fake("id", "echo 0")
    front.fake("dpkg-query", 'case "$*" in *" nutcracker" | *" haproxy") ;; *) echo installed ;; esac')
    front.fake("apt-get", 'case "$*" in *" nutcracker"*) echo E: Unable to locate package nutcracker; exit 100 ;; esac')
    done = front.run("test")
    assert done.returncode == 0 and "tests ran" in done.stdout
    assert "Unable to locate package nutcracker" in done.stderr
    assert re.findall("going on without (.*)", done.stderr) == ["nutcracker"]
    assert "install haproxy\n" in front.did()
    (front.bin / "prometheus").unlink()
    done = front.run("test")
    assert done.returncode == 0 and "tests ran" in done.stdout
    assert re.findall("going on without (.*)", done.stderr) == ["nutcracker", "prometheus (why is in .cache/unpack.log)"]


def test_a_configuration_that_includes_itself_is_for_the_server_to_refuse(front, tmp_path):
    (tmp_path / "my.conf").write_text("include my.conf\n")
    assert front.run("run", "my.conf", cwd=tmp_path).stdout.endswith(": my.conf\n")


def test_it_may_change_while_it_runs(front):
    """A pull in the middle of a long command made bash go on reading somewhere in the new file."""
    front.fake("clang-format-14", "yes 'echo surprise' | head -n 5000 >dev")
    (front.bin / "yes").symlink_to(shutil.which("yes"))
    for folder in "base proto net shard server".split():
        (front.top / folder).mkdir()
    (front.top / "base" / "a.c").touch()
    done = front.run("fmt")
    assert done.returncode == 0 and done.stdout == ""


def real_server():
    path = os.path.join(tree.ROOT, "build-release", "server", "shoal-server")
    if not os.access(path, os.X_OK):
        pytest.skip("no server: ./dev build release")
    return path


@pytest.mark.parametrize("how", ("file", "include", "words"))
def test_a_server_in_the_background_is_told_of(front, tmp_path, how):
    shutil.copy(real_server(), front.server)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    conf = tmp_path / "my.conf"
    lines = "port %d\nbind 127.0.0.1\nshards 1\ndir %s\nlogfile my.log\npidfile %s/my.pid\n" % (port, tmp_path, tmp_path)
    (tmp_path / "more.conf").write_text("# a comment\nDaemonize 'yes'\r\n")
    conf.write_text(lines + {"file": "daemonize yes", "include": "include *.conf.no\ninclude more.conf\n", "words": ""}[how])
    done = front.run("run", "my.conf", *(["--daemonize", "yes"] if how == "words" else []), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    pid = int((tmp_path / "my.pid").read_text())
    try:
        assert "pid %d, port %d, log %s/my.log; kill %d ends it" % (pid, port, tmp_path, pid) in done.stderr
        # It is there already when that is said. A second one is not, and that is said too.
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        again = front.run("run", "my.conf", "--pidfile", "", *(["--daemonize", "yes"] if how == "words" else []), cwd=tmp_path)
        assert again.returncode == 1 and "ended" in again.stderr and "%s/my.log" % tmp_path in again.stderr
    finally:
        os.kill(pid, 15)
        for _ in range(500):
            if not os.path.exists("/proc/%d" % pid):
                break
            time.sleep(0.02)


# ---- What the pages say to type ----------------------------------------------------------------------------------------------


def commands_of(page):
    """Commands in blocks of sh and in `code`, one by one, without comments. What has a word in capitals is a pattern, not a command."""
    lines = [line for block in re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S) for line in block.splitlines()]
    lines += re.findall(r"`((?:\./dev|test/[\w/]+\.(?:py|sh)) [^`\n]*)`", page)
    found = []
    for line in lines:
        parts = re.sub(r"\s#.*", "", line).split("&&")
        found += [shlex.split(part) for part in parts if part.strip() and not re.search(r"\b[A-Z]{1,}\b", part)]
    return found


def pages():
    return ["README.md"] + sorted("docs/" + n for n in os.listdir(os.path.join(tree.ROOT, "docs")) if n.endswith(".md"))


def test_commands_are_found_in_a_page():
    page = "Try `./dev fmt` or `./dev sim N`.\n```sh\n./dev build asan && ./dev test unit   # long\n```\n```\n$ redis-cli\n```\n"
    assert commands_of(page) == [["./dev", "build", "asan"], ["./dev", "test", "unit"], ["./dev", "fmt"]]


@pytest.mark.parametrize("page", [p for p in pages() if commands_of(tree.read(p))])
def test_the_commands_of_a_page_are_understood(front, tmp_path, page):
    front.fake("redis-check-rdb", "true")
    front.fake("clang-format-14", "true")
    (front.top / "base").mkdir()
    for name in "clang git".split():
        front.fake(name, "true")
    for preset in ("asan", "tsan", "debug"):
        os.makedirs(front.top / ("build-" + preset) / "server")
        (front.top / ("build-" + preset) / "server" / "shoal-server").touch()
    bad = []
    for words in commands_of(tree.read(page)):
        if words[0] != "./dev":
            if "/" in words[0] and not words[0].startswith("build-") and not os.access(os.path.join(tree.ROOT, words[0]), os.X_OK):
                bad.append("%s cannot be executed" % words[0])
            continue
        program = {"test": "test/run.py", "checker": "test/checker/run.py", "bench": "bench/run.py"}.get(words[1])
        if program:
            arguments = [w for w in words[2:] if w != "--setup-peers"]
            line = ["/usr/bin/python3", os.path.join(front.top, program), "--check-arguments", *arguments]
            done = subprocess.run(line, cwd=front.top, capture_output=True, text=True)
        elif words[1:2] in (["fuzz"], ["torture"], ["deb"]) or words[1:2] == ["run"] and len(words) > 2 and words[2].startswith("/"):
            continue  # runs for as long as it says; needs that file
        else:
            done = front.run(*words[1:])
        if done.returncode:
            bad.append("%s: %s" % (" ".join(words), done.stderr.strip().splitlines()[-1:]))
    assert not bad, "\n".join(bad)
