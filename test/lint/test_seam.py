# SPDX-License-Identifier: BSD-3-Clause
"""Sockets, files, clocks and chance pass through net/ and nowhere else: read from what the objects link to.

Sources can hide a call behind a macro; the symbols that an object leaves undefined cannot. So this looks at the objects of a debug build, and
has a list of what may be called: no list of what may not be is ever whole.
"""

import functools
import re
import subprocess

import pytest
import tree

# Functions whose answer depends on nothing but what they are given; memory is taken for granted.
PURE = set(
    "abort qsort bsearch malloc calloc realloc free aligned_alloc "
    "memchr memrchr memmem memcmp bcmp memcpy mempcpy memmove memset "
    "strlen strnlen strcmp strncmp strcasecmp strncasecmp strchr strrchr strstr strspn strcspn strpbrk "
    "asin atan2 cos fmax fmin llrint sin sincos sqrt "
    "strcpy strncpy stpcpy strncat strdup strndup strerror strtod strtold strtol strtoll strtoul strtoull "
    "snprintf vsnprintf strftime gmtime_r inet_pton inet_ntop "
    "floor floorl ceil ceill round fmod pow log log2 log10 exp sqrt "
    "LZ4_compress_default LZ4_compress_fast LZ4_decompress_safe lzf_compress lzf_decompress".split()
)
# What compilers, sanitizers and the allocator bring along.
MACHINERY = re.compile(
    r"__(asan|ubsan|tsan|sanitizer|gcov|llvm|aarch64)_|__[a-z]+[dt]i[234]$|__(stack_chk_fail|errno_location|cpu_model|cpu_features2)$|_GLOBAL_OFFSET_TABLE_$|mi_"
)
# Functions of Lua work on a Lua state and nothing else; what reads files, or brings os, io and package along, is not meant.
LUA = re.compile(r"lua_\w+$|luaL_(?!loadfile$|openlibs$)\w+$|luaopen_(base|string|table|math)$")

# The few exceptions, each with its reason. An entry that is not needed any more fails the test.
ALLOWED = {
    # A failed check has no caller to tell: it writes its line, hands it to the handler of SIGABRT and aborts.
    "base/check.c": {"write", "pthread_self", "pthread_sigqueue"},
    # The time of a log line is shown in local time; no decision hangs on it.
    "server/observe/line.c": {"getpid", "localtime_r"},
    # Pages for slabs and tables come from the system; their content is ours alone, so a simulation repeats.
    "shard/memory/sysmem.c": {"mmap", "mremap", "munmap", "madvise", "sysconf"},
    # locale-collate must name a locale of this machine, and SORT ALPHA sorts by it.
    "server/config/config_check.c": {"newlocale", "freelocale"},
    "server/commands/generic/generic_sort.c": {"newlocale", "freelocale", "strxfrm_l"},
    # main makes the process: its threads, its signals, its name, and a word to the terminal before there is a log.
    "server/main.c": {
        "fprintf", "printf", "puts", "stderr", "_exit", "readlink", "tzset", "signal", "sigaddset", "sigemptyset", "sigwait",
        "pthread_barrier_init", "pthread_barrier_wait", "pthread_create", "pthread_join", "pthread_kill", "pthread_mutex_init",
        "pthread_mutex_lock", "pthread_mutex_unlock", "pthread_self", "pthread_setaffinity_np", "pthread_setname_np", "pthread_sigmask",
        "build_commit",  # a constant of a source that the build makes
    },  # fmt: skip
    # As main does: before there is a log, a word to the terminal.
    "server/node_group.c": {"fprintf", "stderr"},
    # The program for data on disk talks to a terminal.
    "server/check/main.c": {"fprintf", "printf", "puts", "stderr"},
    # Scripts are the process's: a table that each thread asks once for each of them, behind a lock that is held for no longer.
    "server/acl/acl_log.c": {"pthread_mutex_destroy", "pthread_mutex_init", "pthread_mutex_lock", "pthread_mutex_unlock"},
    "server/script/scripts.c": {"pthread_mutex_destroy", "pthread_mutex_init", "pthread_mutex_lock", "pthread_mutex_unlock"},
    "server/script/libraries.c": {"pthread_mutex_destroy", "pthread_mutex_init", "pthread_mutex_lock", "pthread_mutex_unlock"},
    # Constants of a source that the build makes.
    "server/http/http.c": {"page_html", "page_html_bytes"},
    # INFO names the operating system.
    "server/commands/server/info_sections.c": {"uname"},
}


def calls_outside(path):
    """Functions that are not ours and not known to be pure."""
    foreign = {tree.undecorated(name) for name in tree.undefined(path) - own_names() if not MACHINERY.match(name) and not LUA.match(name)}
    return foreign - PURE


@functools.cache
def own_names():
    return {name for folder in tree.FOLDERS for _, path in tree.objects(folder) for name in tree.defined(path)}


FOLDERS = [f for f in tree.FOLDERS if tree.sources(".c", folders=(f,))]


@pytest.mark.parametrize("folder", [f for f in FOLDERS if f != "net"])
def test_only_net_calls_the_outside(folder):
    bad = []
    for source, path in tree.objects(folder):
        for name in sorted(calls_outside(path) - ALLOWED.get(source, set())):
            bad.append("%s calls %s, which is not on the list of pure functions" % (source, name))
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_source_was_looked_at(folder):
    compiled = {source for source, _ in tree.objects(folder)}
    missing = [p for p in tree.sources(".c", folders=(folder,)) if p not in compiled]
    assert not missing, "no object in %s for: %s" % (tree.BUILD, ", ".join(missing))


def test_every_exception_is_still_needed():
    stale = []
    for source, names in ALLOWED.items():
        used = {n for s, path in tree.objects(source.split("/")[0]) if s == source for n in calls_outside(path)}
        stale += ["%s no longer calls %s" % (source, n) for n in sorted(names - used)]
    assert not stale, "\n".join(stale)


def test_a_call_to_the_outside_is_seen(tmp_path):
    source = tmp_path / "leak.c"
    source.write_text("#include <time.h>\n#include <stdio.h>\n#include <string.h>\n"
                      "long f(const char *s) { puts(s); return time(0) + strlen(s); }\n")
    subprocess.run([*tree.compiler(), "-c", "-O2", "-D_FORTIFY_SOURCE=2", str(source), "-o", str(tmp_path / "leak.o")], check=True)
    assert calls_outside(str(tmp_path / "leak.o")) == {"time", "puts"}
