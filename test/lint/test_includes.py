# SPDX-License-Identifier: BSD-3-Clause
"""The arrows between folders, and headers that stand on their own."""

import concurrent.futures
import os
import shutil
import subprocess

import pytest
import tree


# Headers of the files of one folder.
PRIVATE = ("_private.h", "_parts.h", "_row.h")


def wrong_arrows(path, text):
    folder = path.split("/")[0]
    bad = []
    for name in tree.includes(text):
        target = name.split("/")[0]
        if "/" not in name:
            bad.append("%s includes %s without its folder" % (path, name))
        elif target != folder and target not in tree.ARROWS[folder]:
            bad.append("%s includes %s: %s may not see %s" % (path, name, folder, target))
        elif name not in tree.NARROW.get((folder, target), {name}):
            bad.append("%s includes %s: of %s it may see only %s" % (path, name, target, tree.NARROW[(folder, target)]))
        elif target != folder and name.endswith(PRIVATE):
            bad.append("%s includes %s, which is for %s alone" % (path, name, target))
    return bad


def wrong_calls(path, called, home):
    """Calls of what lies above, which a declaration by hand would hide; `home` is {name: folder}."""
    folder = path.split("/")[0]
    return [
        "%s calls %s: %s may not see %s" % (path, name, folder, home[name])
        for name in sorted(called)
        if home.get(name, folder) not in tree.ARROWS[folder] | {folder}
    ]


def find_cycle(graph):
    """A cycle of a graph {node: [nodes]} as a list, or None."""
    state = {}

    def visit(node, trail):
        state[node] = "open"
        for following in graph.get(node, ()):
            if state.get(following) == "open":
                return trail[trail.index(following) :] + [following] if following in trail else [following]
            if following not in state:
                cycle = visit(following, trail + [following])
                if cycle:
                    return cycle
        state[node] = "done"
        return None

    for node in sorted(graph):
        if node not in state:
            cycle = visit(node, [node])
            if cycle:
                return cycle
    return None


def compile_alone(header, root=tree.ROOT):
    cc = os.environ.get("CC") or shutil.which("cc") or "gcc"
    run = subprocess.run(
        [cc, "-std=gnu17", "-D_GNU_SOURCE", "-fsyntax-only", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"]
        + ["-Wno-unused-function", "-I", root, "-x", "c", "-"],
        input='#include "%s"\nextern int one_declaration;\n' % header,
        capture_output=True,
        text=True,
    )
    return run.stderr if run.returncode else ""


def test_folders_include_only_what_lies_below_them():
    bad = []
    for path in tree.sources(".c", ".h"):
        bad += wrong_arrows(path, tree.read(path))
    assert not bad, "\n".join(bad)


def test_a_wrong_arrow_is_seen():
    assert wrong_arrows("base/x.c", '#include "shard/shard.h"\n')
    assert wrong_arrows("shard/x.c", '#include "net/file.h"\n')
    assert wrong_arrows("shard/x.c", '#include "shard.h"\n')
    assert wrong_arrows("base/x.c", "#include <shard/shard.h>\n")
    assert wrong_arrows("base/x.c", "#include HEADER\n")
    assert wrong_arrows("server/x.c", '#include "net/rt_private.h"\n')
    assert not wrong_arrows("shard/x.c", '#include "net/rt.h"\n#include "base/check.h"\n#include <stdlib.h>\n')


def test_objects_call_only_what_lies_below_them():
    objects = [pair for folder in tree.FOLDERS for pair in tree.objects(folder)]
    home = {name: source.split("/")[0] for source, path in objects for name in tree.defined(path) - {"main"}}
    assert home["rt_turn"] == "net" and home["worker_run"] == "server"
    bad = [line for source, path in objects for line in wrong_calls(source, tree.undefined(path), home)]
    assert not bad, "\n".join(bad)


def test_a_wrong_call_is_seen():
    home = {"worker_run": "server", "rt_turn": "net", "table_find": "shard"}
    assert wrong_calls("shard/x.c", {"worker_run", "malloc"}, home)
    assert not wrong_calls("shard/x.c", {"rt_turn", "table_find", "malloc"}, home)


def test_included_headers_exist():
    missing = [
        "%s includes %s" % (path, name)
        for path in tree.sources(".c", ".h")
        for name in tree.includes(tree.read(path))
        if not os.path.exists(os.path.join(tree.ROOT, name))
    ]
    assert not missing, "\n".join(missing)


def test_headers_do_not_include_each_other_in_a_circle():
    graph = {path: tree.includes(tree.read(path)) for path in tree.sources(".h")}
    cycle = find_cycle(graph)
    assert cycle is None, " -> ".join(cycle)


def test_a_circle_is_seen():
    assert find_cycle({"a": ["b"], "b": ["c"], "c": ["a"]})
    assert find_cycle({"a": ["b", "c"], "b": ["c"], "c": []}) is None


def test_every_header_compiles_alone():
    headers = tree.sources(".h")
    assert headers
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        errors = [e for e in pool.map(compile_alone, headers) if e]
    assert not errors, "\n".join(errors)


def test_a_header_that_needs_another_is_seen(tmp_path):
    (tmp_path / "lonely.h").write_text("struct later *f(uint32_t n);\n")
    assert "uint32_t" in compile_alone("lonely.h", str(tmp_path))


def test_no_source_is_included():
    bad = [p for p in tree.sources(".c", ".h", folders=tree.FOLDERS + ("test",)) for n in tree.includes(tree.read(p)) if n.endswith(".c")]
    assert not bad, "tests link libraries, nothing includes a .c: %s" % bad


@pytest.mark.parametrize("folder", [f for f in tree.FOLDERS if tree.sources(".h", folders=(f,))])
def test_header_guards_name_their_path(folder):
    bad = []
    for path in tree.sources(".h", folders=(folder,)):
        guard = "SHOAL_" + path[: -len(".h")].upper().replace("/", "_").replace("-", "_") + "_H"
        if "#ifndef %s\n#define %s\n" % (guard, guard) not in tree.read(path):
            bad.append("%s: its guard is not %s" % (path, guard))
    assert not bad, "\n".join(bad)
