# SPDX-License-Identifier: BSD-3-Clause
"""No state outside structs, and atomics in a handful of files: many whole servers must live in one process."""

import re
import subprocess

import pytest
import tree

# Files that may speak of atomics: everywhere else the code may be read as single-threaded.
ATOMIC_FILES = {
    "cluster/stream/piece.c",  # who holds a piece of the replication stream: its home, and the homes of replicas
    "cluster/stream/piece.h",
    "server/acl/acl_user.c",  # how many hold a user
    "server/acl/acl_users.c",  # how many hold a table of them
    "net/rt.c",  # rt_wake: ends the sleep of another thread
    "net/rt_private.h",
    "net/rt_uring.c",  # the rings shared with the kernel
    "server/script/libraries.c",  # how many hold a library, and whether any has changed
    "server/script/scripts.c",  # how many hold a script, and what is known of where it goes
    "server/persistence/kill_points.c",  # which point is armed: any thread arms it, and any passes it
    "server/persistence/kill_points.h",
    "server/slots.h",  # the table of slots: read by all threads for every key, changed by one
    "server/worker/shared.c",  # counters of the whole process
    "shard/memory/blob.c",  # pins of large values, which any thread may let go
    "shard/memory/blob.h",
    "shard/memory/heap.c",  # the stack of blocks that other threads return
    "shard/watchers/claim.c",  # which of several shards ends a client's wait
    "shard/watchers/claim.h",
    "shard/mailbox.c",  # rings between threads and the sleep handshake
}

# Variables that change for the whole process, each with its reason.
ALLOWED_STATE = {}

ATOMIC = re.compile(r"\b(_Atomic|stdatomic\.h|atomic_\w+|__atomic_\w+|__sync_\w+|io_uring_smp_\w+)\b")

FOLDERS = [f for f in tree.FOLDERS if tree.sources(".c", folders=(f,))]


def uses_atomics(text):
    return bool(ATOMIC.search(tree.without_comments(text)))


def atomic_fields(text):
    """Fields that a header declares as atomic: elsewhere they could be used without a word that says so."""
    return set(re.findall(r"\b(?:_Atomic\b[^;]*?|atomic_\w+\s+)\b(\w+);", tree.without_comments(text)))


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_mutable_is_global(folder):
    bad = []
    for source, path in tree.objects(folder):
        for name in tree.mutable_data(path):
            if name not in ALLOWED_STATE.get(source, set()):
                bad.append("%s has the variable %s outside any struct" % (source, name))
    assert not bad, "\n".join(bad)


def test_state_outside_structs_is_seen(tmp_path):
    source = tmp_path / "state.c"
    source.write_text(
        "static int hidden; int shown = 3; _Thread_local int own; const char *const names[] = {\"a\"};\n"
        "int f(void) { static long inner; return hidden++ + (int)inner++ + own + names[0][0]; }\n"
    )
    subprocess.run([*tree.compiler(), "-c", "-fPIE", str(source), "-o", str(tmp_path / "state.o")], check=True)
    found = {re.sub(r"\.\d+$", "", n) for n in tree.mutable_data(str(tmp_path / "state.o"))}
    assert found == {"hidden", "shown", "own", "inner"}


def test_atomics_live_in_the_listed_files():
    used = {p for p in tree.sources(".c", ".h") if uses_atomics(tree.read(p))}
    assert used <= ATOMIC_FILES, "atomics outside the listed files: %s" % sorted(used - ATOMIC_FILES)
    assert used == ATOMIC_FILES, "listed, but without atomics: %s" % sorted(ATOMIC_FILES - used)


def test_atomic_fields_are_used_in_the_listed_files_only():
    fields = set().union(*(atomic_fields(tree.read(p)) for p in ATOMIC_FILES if p.endswith(".h")))
    assert fields
    used = re.compile(r"(->|\.)(%s)\b" % "|".join(fields))
    bad = [p for p in tree.sources(".c", ".h") if p not in ATOMIC_FILES and used.search(tree.without_comments(tree.read(p)))]
    assert not bad, "fields %s are used in: %s" % (sorted(fields), ", ".join(bad))


def test_an_atomic_is_seen():
    assert atomic_fields("struct s {\n    _Atomic uint32_t pins;\n    _Alignas(64) atomic_bool wake; /* now */\n    int n;\n};") == {"pins", "wake"}
    assert uses_atomics("static _Atomic int x;")
    assert uses_atomics("#include <stdatomic.h>\n")
    assert not uses_atomics("/* atomic_load is not for us */ int commands_atomicity;")
