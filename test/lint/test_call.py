# SPDX-License-Identifier: BSD-3-Clause
"""Commands run and are counted in one place, and those on keys know nothing but their call and their keys."""

import os
import re

import tree

CALL = "server/call/call.c"

# What nobody else may do: to make what a command sees, to run its function, and to count that it ran.
ONLY_IN_CALL = {
    "makes a struct exec": re.compile(r"\bstruct\s+exec\s+\w+\s*[=;\[]|\(struct\s+exec\)\s*\{"),
    "runs a command's function": re.compile(r"\b(row|command)(->|\.)run\s*\("),
    "counts a command": re.compile(
        r"(\+\+|--)\s*[\w.>\[\]-]*\b(calls|rejected|failed|commands_processed)\b"
        r"|\b(stats|commands\[[^\]]*\])(->|\.)(calls|rejected|failed|commands_processed)\s*(\+\+|\+=)"
        r"|\bhistogram_record\s*\("
    ),
}

# The families whose commands have keys; and their files with commands that have none, which run at home.
KEY_FAMILIES = ("string", "generic", "list", "set", "hash", "zset", "stream", "geo", "bitmap", "hyperloglog")
AT_HOME = {
    "server/commands/generic/generic_all.c", "server/commands/generic/generic_sort_view.c", "server/commands/generic/generic_wait.c",
}  # fmt: skip
# The snapshot of the configuration they may read (exec_config).
NOT_FOR_KEYS = re.compile(r"^server/(worker|client|txn)/|^server/config/(?!config\.h$)|^server/(server|node)\.h$")


def offences(path, text):
    if path in (CALL, "base/histogram.h"):
        return []
    code = tree.without_comments(text)
    return ["%s %s" % (path, what) for what, pattern in ONLY_IN_CALL.items() if pattern.search(code)]


def is_key_file(path):
    parts = path.split("/")
    return parts[:2] == ["server", "commands"] and parts[2] in KEY_FAMILIES and path not in AT_HOME


def looks_elsewhere(path, text):
    bad = ["%s includes %s" % (path, name) for name in tree.includes(text) if NOT_FOR_KEYS.search(name)]
    if re.search(r"\bx->(worker|client|caller)\b", tree.without_comments(text)):
        bad.append("%s looks at who runs it" % path)
    return bad


def test_commands_run_and_count_in_the_call_alone():
    bad = [b for path in tree.sources(".c", ".h", folders=("server", "base")) for b in offences(path, tree.read(path))]
    assert not bad, "\n".join(bad)
    assert all(pattern.search(tree.read(CALL)) for pattern in ONLY_IN_CALL.values())


def test_key_commands_know_neither_worker_nor_client():
    paths = [p for p in tree.sources(".c", ".h", folders=("server",)) if is_key_file(p)]
    assert len(paths) > 8
    bad = [b for path in paths for b in looks_elsewhere(path, tree.read(path))]
    assert not bad, "\n".join(bad)


def test_files_at_home_are_there():
    for path in AT_HOME:
        assert os.path.exists(os.path.join(tree.ROOT, path)), path


def test_offences_are_seen():
    for line in (
        "struct exec x = {.argv = argv};",
        "struct exec x;",
        "run((struct exec){0});",
        "ref->row->run(&x);",
        "stats->calls++;",
        "worker->stats.commands_processed += n;",
        "worker->commands[ref->id].rejected++;",
        "histogram_record(h, ns, 1);",
    ):
        assert offences("server/other.c", "void f(void) {\n    %s\n}\n" % line), line
    for line in ("void f(struct exec *x);", "/* struct exec x; */", "sum->calls += part->calls;", "if (ref->row->run == NULL) {}"):
        assert not offences("server/other.c", line + "\n"), line
    assert looks_elsewhere("server/commands/string/x.c", '#include "server/worker/worker.h"\n')
    assert looks_elsewhere("server/commands/string/x.c", "void f(struct exec *x) { x->client->db = 0; }\n")
    assert not looks_elsewhere("server/commands/string/x.c", '#include "server/call/exec.h"\n')
