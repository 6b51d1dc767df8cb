# SPDX-License-Identifier: BSD-3-Clause
"""tree: the source tree and its object files, as the structure checks see them."""

import functools
import os
import re
import shlex
import shutil
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("SHOAL_BUILD", os.path.join(ROOT, "build-debug"))

# docs/architecture.md: a folder may include its own headers and those of the folders named here.
ARROWS = {
    "base": set(),
    "proto": {"base"},
    "net": {"base"},
    "shard": {"base", "net"},
    "persist": {"base", "proto", "net", "shard"},
    "cluster": {"base", "proto", "net", "shard", "persist"},
    "server": {"base", "proto", "net", "shard", "persist", "cluster"},
}
FOLDERS = tuple(ARROWS)
# Folders at the top that are not layers of the server. A new one is told here and in README's map.
OTHERS = ("bench", "docs", "packaging", "test")
# shard knows no sockets: of net it may only see the wake-up behind a mailbox and the clock.
NARROW = {("shard", "net"): {"net/rt.h"}}


def compiler():
    """Its words: CC may be more than one, such as `ccache gcc`."""
    return shlex.split(os.environ.get("CC", "")) or [shutil.which("cc") or "gcc"]


def sources(*suffixes, folders=FOLDERS):
    """Paths, relative to the root, of the files of these folders that end so."""
    found = []
    for folder in folders:
        for directory, _, names in os.walk(os.path.join(ROOT, folder)):
            for name in names:
                if name.endswith(suffixes):
                    found.append(os.path.relpath(os.path.join(directory, name), ROOT))
    return sorted(found)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def tracked():
    """What git tracks, or nothing where there is no git."""
    try:
        out = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [p for p in out.decode().split("\0") if p and os.path.exists(os.path.join(ROOT, p))]


def includes(text):
    """Project headers that a source names, in quotes or not."""
    found = re.findall(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>|(\w+))', text, re.M)
    return [own or macro or system for own, system, macro in found if not system or os.path.exists(os.path.join(ROOT, system))]


def without_comments(text):
    """C source with comments and the contents of strings blanked, line numbers kept."""

    def blank(match):
        found = match.group(0)
        if found.startswith("/"):
            return re.sub(r"[^\n]", " ", found)
        return found[0] + found[-1]

    return re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])+'", blank, text, flags=re.S)


def objects(folder):
    """(source name, object path) of a folder's compiled sources."""
    found = []
    base = os.path.join(BUILD, folder)
    flattened = {s[len(folder) + 1 :].replace("/", "_"): s for s in sources(".c", folders=(folder,))}
    for directory, _, names in os.walk(base):
        for name in names:
            if name.endswith(".c.o"):
                # Meson flattens client/client.c to client_client.c.o.
                source = flattened.get(name[: -len(".o")], "")
                if source:
                    found.append((source, os.path.join(directory, name)))
    return sorted(found)


def read_names(paths, option):
    """{path: names in its table of symbols}, for --undefined-only or --defined-only."""
    out = subprocess.run(["nm", "--extern-only", option, "--format=posix"] + paths, capture_output=True, text=True, check=True).stdout
    found = {path: set() for path in paths}
    here = found[paths[0]]
    for line in out.splitlines():
        if line.endswith(":") and line[:-1] in found:
            here = found[line[:-1]]
        elif line:
            here.add(line.split()[0].split("@")[0])
    return found


@functools.lru_cache(maxsize=None)
def names_of_all(option):
    return read_names([path for folder in FOLDERS for _, path in objects(folder)], option)


def names(path, option):
    """Names in an object's table of symbols."""
    everywhere = names_of_all(option)
    return everywhere[path] if path in everywhere else read_names([path], option)[path]


def defined(path):
    """Names that an object offers to others."""
    return names(path, "--defined-only")


def undefined(path):
    """Names that an object takes from elsewhere."""
    return names(path, "--undefined-only")


def undecorated(name):
    """A libc function's name without what compiler and libc hang on to it."""
    name = re.sub(r"^__isoc\d+_", "", name)
    if name.endswith("_chk"):
        name = name[: -len("_chk")].lstrip("_")
    return re.sub(r"^(\D+)64$", r"\1", name)  # open64 and its like


def mutable_data(path):
    """Variables of an object that can change: what lies in .data, .bss, their thread-local kin, or is common."""
    out = subprocess.run(["objdump", "-t", "-w", path], capture_output=True, text=True, check=True).stdout
    found = []
    for line in out.splitlines():
        match = re.match(r"^[0-9a-f]+ (.{7}) (\S+)\s+([0-9a-f]+) (?:\.hidden )?(\S+)$", line)
        if not match:
            continue
        flags, section, size, name = match.groups()
        if "d" in flags.strip().split()[-1:] or int(size, 16) == 0:
            continue
        changeable = re.match(r"^\.(data|bss|tdata|tbss)(\.|$)", section) and not section.startswith(".data.rel.ro")
        if changeable or section == "*COM*":
            found.append(name)
    return found
