# SPDX-License-Identifier: BSD-3-Clause
"""What is installed beside the server: the configuration loads and says what the defaults are, the files go where they belong, the
unit is one, the health check tells the truth. What needs clean systems is packaging/try_deb.sh."""

import os
import re
import shutil
import subprocess

import pytest

from conftest import ROOT
from server import free_port

pytestmark = [pytest.mark.row_once, pytest.mark.shoal_only, pytest.mark.plain_port]

PACKAGING = os.path.join(ROOT, "packaging")


def settings():
    """{directive: value as it stands} of shoal.conf."""
    text = open(os.path.join(PACKAGING, "shoal.conf")).read()
    return dict(re.findall(r"^#([\w-]+) (.+)$", text, re.M))


def get(c, name):
    found = c.do("CONFIG", "GET", name)
    assert found[:1] == [name.encode()] and len(found) == 2
    return found[1].decode()


def test_all_settings_of_the_file_load_and_change_nothing(start_server, tmp_path):
    """As if somebody had taken every # away; but for what would not be a test's, and what makes sense with a value only."""
    own = {"port", "dir", "shards", "io-backend", "save", "bind", "daemonize", "enable-debug-command", "logfile", "pidfile"}
    plain = start_server()
    taken = {name: value for name, value in settings().items() if name not in own}
    full = start_server(config_file="".join("%s %s\n" % one for one in taken.items()))
    with plain.raw() as a, full.raw() as b:
        assert {name: get(b, name) for name in taken} == {name: get(a, name) for name in taken}
        assert len(taken) > 200


def test_the_file_as_it_is_changes_nothing(start_server):
    plain, full = start_server(), start_server(config_file=open(os.path.join(PACKAGING, "shoal.conf")).read())
    with plain.raw() as a, full.raw() as b:
        own = ("port", "dir", "logfile")
        assert {n: get(b, n) for n in settings() if n not in own} == {n: get(a, n) for n in settings() if n not in own}


@pytest.fixture(scope="module")
def installed(server_binary, tmp_path_factory):
    """The root into which the build of the server under test was installed."""
    build = os.path.dirname(os.path.dirname(server_binary))
    if not os.path.exists(os.path.join(build, "build.ninja")) or not shutil.which("meson"):
        pytest.skip("the server is not in the folder that it was built in")
    root = str(tmp_path_factory.mktemp("root"))
    for _ in range(2):  # installed again it must keep what was written into the configuration
        done = subprocess.run(["meson", "install", "-C", build, "--destdir", root, "--no-rebuild", "--quiet"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        found = subprocess.run(["find", root, "-name", "shoal.conf", "-path", "*/etc/*"], capture_output=True, text=True).stdout.split()
        assert len(found) == 1
        with open(found[0], "a") as conf:
            conf.write("# mine\n")
    assert open(found[0]).read().count("# mine") == 2
    return root


def where(root, pattern):
    found = [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]
    found = [path for path in found if re.search(pattern, path)]
    assert len(found) == 1, (pattern, found)
    return found[0]


def test_every_file_is_installed_once(installed):
    for pattern in (
        r"bin/shoal-server$", r"bin/shoal-check$", r"etc/shoal/shoal\.conf$", r"share/shoal/shoal\.conf$", r"systemd/system/shoal-server\.service$",
        r"man1/shoal-server\.1$", r"man1/shoal-check\.1$", r"man5/shoal\.conf\.5$", r"completions/shoal-server$", r"completions/shoal-check$", r"logrotate/shoal$",
    ):  # fmt: skip
        where(installed, pattern)
    for pattern in (r"man1/shoal-server\.1$", r"service$"):
        assert not re.search(r"@\w+@", open(where(installed, pattern)).read())


def test_the_unit_is_one(installed, tmp_path):
    text = open(where(installed, r"\.service$")).read()
    start = re.search(r"^ExecStart=(.*)$", text, re.M).group(1).split()
    assert start[1].endswith("/etc/shoal/shoal.conf") and start[2:] == ["--supervised", "systemd", "--daemonize", "no"]
    assert os.path.exists(installed + start[0]) and os.path.exists(installed + start[1])
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze")
    unit = tmp_path / "shoal-server.service"
    unit.write_text(text.replace(start[0], installed + start[0]))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if "shoal" in line]
    assert said == []


def test_completion_knows_commands_and_directives(installed):
    ask = """
        source "$1"
        COMP_WORDS=(shoal-check re) COMP_CWORD=1; _shoal_check; echo "${COMPREPLY[@]}"
        COMP_WORDS=(shoal-check repair --) COMP_CWORD=2; _shoal_check; echo "${COMPREPLY[@]}"
        COMP_WORDS=(shoal-server --maxmemory-p) COMP_CWORD=1; _shoal_server; echo "${COMPREPLY[@]}"
    """
    path = os.path.dirname(where(installed, r"bin/shoal-server$")) + ":" + os.environ["PATH"]
    done = subprocess.run(["bash", "-c", ask, "bash", where(installed, r"completions/shoal-server$")], capture_output=True, text=True, env={**os.environ, "PATH": path})
    assert done.stdout.splitlines() == ["repair restore records", "--yes", "--maxmemory-policy"], done.stderr


def test_the_health_check_of_the_image(start_server):
    port = free_port()
    s = start_server(metrics_port=port)

    def healthy(*args, port=port):
        line = ["bash", os.path.join(PACKAGING, "containers", "healthy.sh"), *args]
        return subprocess.run(line, env={**os.environ, "SHOAL_METRICS_PORT": str(port)}, capture_output=True).returncode == 0

    assert healthy() and healthy("/healthz") and not healthy("/nothing")
    with s.raw() as c:  # full, and nothing may be evicted: it takes no writes
        assert c.do("CONFIG", "SET", "maxmemory", "1") == "OK"
        assert not healthy() and healthy("/healthz")
        assert c.do("CONFIG", "SET", "maxmemory", "0") == "OK"
    assert not healthy(port=free_port())


def test_the_configurations_of_containers_load(start_server, tmp_path):
    """Those of the image and of Kubernetes, with the folders of this machine."""
    secret = tmp_path / "secret.conf"
    secret.write_text("requirepass a-password\nprimaryauth a-password\n")
    files = [open(os.path.join(PACKAGING, "containers", "container.conf")).read()]
    text = open(os.path.join(PACKAGING, "containers", "kubernetes.yaml")).read()
    files += [re.sub(r"^    ", "", block, flags=re.M) for block in re.findall(r"\.conf: \|\n((?:    .*\n)+)", text)]
    assert len(files) == 3
    for conf in files:
        conf = conf.replace("/etc/shoal/secret/secret.conf", str(secret)).replace("dir /data", "dir %s" % tmp_path).replace("replicaof shoal 6379", "replicaof 127.0.0.1 1")
        password = "a-password" if "include" in conf else None
        s = start_server(config_file=conf, password=password, config={"metrics-port": "0"})
        with s.raw() as c:
            if password:
                assert c.do("AUTH", password) == "OK"
            assert get(c, "appendonly") == ("yes" if "appendonly yes" in conf else "no")
