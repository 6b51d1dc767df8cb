# SPDX-License-Identifier: BSD-3-Clause
"""The handbook, typed as it stands: what a page has behind `$` is run by one shell on a terminal, with a network and processes of
its own, and must answer what stands below it (`...` stands for anything). Pages are their own tests; what is wrong is told by line."""

import os
import pty
import re
import shutil
import subprocess
import sys
import threading

import pytest

from conftest import ROOT, tool
from server import find_peer

pytestmark = [pytest.mark.row_once, pytest.mark.shoal_only, pytest.mark.plain_port, pytest.mark.slow]

BOOK = os.path.join(ROOT, "docs", "handbook")
ALONE = ["unshare", "--net", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"] + (["--user", "--map-root-user"] if os.geteuid() else [])
# The network of a new namespace has one interface, which is down.
LOOPBACK_UP = "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 1))"
MARK = "\x01"


def conversations(page):
    """[(line number, command, expected answer)] of the console blocks of a page, in order."""
    found, inside = [], False
    for number, line in enumerate(page.splitlines(), 1):
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and line.startswith("$ "):
            found.append([number, line[2:], ""])
        elif inside and line.startswith("> ") and found and not found[-1][2]:
            found[-1][1] += "\n" + line[2:]
        elif inside:
            found[-1][2] += line + "\n"
    return [tuple(one) for one in found]


def fits(expected, answer):
    pattern = "".join(".*" if part == "..." else re.escape(part) for part in re.split(r"(\.\.\.)", expected.strip()))
    return re.fullmatch(pattern, answer.strip(), re.S) is not None


def typed(commands, folder, env, seconds):
    """What a shell on a terminal answers to each command."""
    lines = ["%s -c \"%s\" || exit" % (sys.executable, LOOPBACK_UP)]
    for command in commands:
        lines += [command, "printf '%s'" % MARK.replace("\x01", "\\001")]
    with open(os.path.join(folder, ".typed"), "w") as script:
        script.write("\n".join(lines) + "\n")
    terminal, other = pty.openpty()
    said = bytearray()

    def listen():
        try:
            while more := os.read(terminal, 65536):
                said.extend(more)
        except OSError:
            pass  # nobody has its other side any more

    listener = threading.Thread(target=listen)
    listener.start()
    process = subprocess.Popen([*ALONE, "bash", ".typed"], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=other, stderr=other, start_new_session=True)
    os.close(other)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    listener.join(20)
    os.close(terminal)
    return said.decode(errors="replace").replace("\r", "").split(MARK)


@pytest.fixture
def place(tmp_path, pytestconfig, server_binary):
    """A folder as a reader has it, and the programs that the pages name."""
    if subprocess.run([*ALONE, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces to be had here")
    programs = tmp_path / "bin"
    programs.mkdir()
    options = "--shards %d --io-backend %s" % (pytestconfig.getoption("--shards"), pytestconfig.getoption("--io-backend"))
    (programs / "shoal-server").write_text('#!/bin/sh\nexec "%s" %s "$@"\n' % (server_binary, options))
    (programs / "shoal-server").chmod(0o755)
    (programs / "shoal-check").symlink_to(os.path.join(os.path.dirname(server_binary), "shoal-check"))
    (programs / "redis-cli").symlink_to(tool("redis-cli"))
    (programs / "python3").symlink_to("/usr/bin/python3")
    if find_peer("redis"):
        (programs / "redis-server").symlink_to(find_peer("redis"))
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "examples").symlink_to(os.path.join(ROOT, "docs", "examples"))
    env = {"PATH": "%s:/usr/bin:/bin" % programs, "HOME": str(folder), "LC_ALL": "C.UTF-8", "TERM": "dumb", "PYTHONDONTWRITEBYTECODE": "1"}
    return folder, env


def pages():
    beside = [os.path.join("..", "..", "SECURITY.md")]
    return sorted(name for name in os.listdir(BOOK) + beside if conversations(open(os.path.join(BOOK, name)).read()))


@pytest.mark.parametrize("name", pages())
def test_a_page(place, slow, name):
    folder, env = place
    told = conversations(open(os.path.join(BOOK, name)).read())
    words = " ".join(command for _, command, _ in told)
    for program in ("redis-server", "curl"):
        if re.search(r"\b%s " % program, words) and not shutil.which(program, path=env["PATH"]):
            pytest.skip("no %s" % program)
    answers = typed([command for _, command, _ in told], str(folder), env, 120 * slow)
    log = "".join("\n%s:\n%s" % (path.name, path.read_text()[-2000:]) for path in sorted(folder.glob("*.log")))
    for i, (number, command, expected) in enumerate(told):
        answer = answers[i] if i < len(answers) - 1 else "(none: it ended before)\n" + answers[-1]
        assert fits(expected, answer), "%s, line %d: $ %s\nanswered:\n%s\nexpected:\n%s%s" % (name, number, command, answer, expected, log)


def test_every_program_is_on_a_page():
    page = open(os.path.join(BOOK, "patterns.md")).read()
    python = sorted(os.listdir(os.path.join(ROOT, "docs", "examples", "python")))
    node = sorted(os.listdir(os.path.join(ROOT, "docs", "examples", "node")))
    assert [name[:-3] for name in python if name.endswith(".py")] == [name[:-3] for name in node if name.endswith(".js")]
    commands = [command for _, command, _ in conversations(page)]
    assert [n for n in python if n.endswith(".py") and "python3 examples/python/" + n not in commands] == []
    assert [n for n in node if n.endswith(".js") and "(../examples/node/%s)" % n not in page] == []


def test_what_a_page_says_wrongly_is_seen():
    page = "x\n```console\n$ echo a\na\n$ cat <<E\n> b\n> E\nb\n```\n```sh\n$ no\n```\n"
    assert conversations(page) == [(3, "echo a", "a\n"), (5, "cat <<E\nb\nE", "b\n")]
    assert fits("a...c\n", "a\nb\nc\n") and fits("", "\n") and not fits("a\n", "b\n") and not fits("a\n", "a\nb\n") and not fits("...a", "ab")
