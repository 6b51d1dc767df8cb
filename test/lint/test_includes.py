# SPDX-License-Identifier: BSD-3-Clause
"""The arrows between folders, and headers that stand on their own."""

import concurrent.futures
import os
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
        elif folder == "server" and name.endswith("_private.h") and os.path.dirname(name) != os.path.dirname(path):
            bad.append("%s includes %s, which is for its room alone" % (path, name))
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


# Lua's headers are the only ones that do not lie where the compiler looks.
LUA_FLAGS = subprocess.run(["pkg-config", "--cflags", "lua5.1"], capture_output=True, text=True).stdout.split()


def compile_alone(header, root=tree.ROOT):
    run = subprocess.run(
        [*tree.compiler(), "-std=gnu17", "-D_GNU_SOURCE", "-fsyntax-only", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"]
        + ["-Wno-unused-function", "-I", root, *LUA_FLAGS, "-x", "c", "-"],
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
    assert wrong_arrows("server/txn/x.c", '#include "server/client/x_private.h"\n')
    assert not wrong_arrows("server/txn/x.c", '#include "server/txn/x_private.h"\n')
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


def units_of(texts):
    """{source: unit}: sources of a room that include one _private.h of that room work on the inside of one thing and are
    one unit; a source is one by itself otherwise. `texts` is {source: its text}."""
    unit = {path: path for path in texts}
    for path, text in texts.items():
        for name in tree.includes(text):
            if name.endswith("_private.h") and os.path.dirname(name) == os.path.dirname(path):
                unit[path] = name
    return unit


def calls_between(units, undefined, home):
    """The graph of units: who calls, or reads a constant of, whom. `undefined` is {source: names}, `home` {name: source}."""
    graph = {unit: set() for unit in units.values()}
    for source, wanted in undefined.items():
        for name in wanted:
            target = units.get(home.get(name))
            if target is not None and target != units[source]:
                graph[units[source]].add(target)
    return {unit: sorted(targets) for unit, targets in graph.items()}


# In shard the keys ask the types what a value is, and the types write into the keys' entries.
@pytest.mark.parametrize("folder", [f for f in tree.FOLDERS if f != "shard" and tree.sources(".c", folders=(f,))])
def test_sources_do_not_call_each_other_in_a_circle(folder):
    """What is below does not know what is above it: it is given functions at the start (server/handlers.c)."""
    objects = tree.objects(folder)
    assert objects
    texts = {source: tree.read(source) for source, _ in objects}
    home = {name: source for source, path in objects for name in tree.defined(path)}
    undefined = {source: tree.undefined(path) for source, path in objects}
    cycle = find_cycle(calls_between(units_of(texts), undefined, home))
    assert cycle is None, " -> ".join(cycle)


def test_a_circle_of_calls_is_seen():
    private = '#include "room/x_private.h"\n'
    home = {"f": "room/a.c", "g": "room/b.c"}
    both = {"room/a.c": {"g"}, "room/b.c": {"f", "malloc"}}

    def cycle(a, b, calls=both):
        return find_cycle(calls_between(units_of({"room/a.c": a, "room/b.c": b}), calls, home))

    assert cycle("", "")
    assert cycle(private, "")
    assert cycle(private.replace("room", "hall"), private.replace("room", "hall"))
    assert cycle(private, private) is None
    assert cycle("", "", {"room/a.c": {"g"}, "room/b.c": set()}) is None


def reached(name, graph):
    """All headers that come along with one; `graph` is {header: [headers]}."""
    seen, todo = set(), [name]
    while todo:
        for following in graph.get(todo.pop(), ()):
            if following not in seen:
                seen.add(following)
                todo.append(following)
    return seen


def test_commands_do_not_see_the_worker():
    """What they may know of it is in server/worker/view.h; no header brings more."""
    graph = {path: tree.includes(tree.read(path)) for path in tree.sources(".h")}
    commands = [p for p in tree.sources(".c", ".h") if p.startswith("server/commands/")]
    assert len(commands) > 30
    for path in commands:
        graph[path] = tree.includes(tree.read(path))
    bad = [p for p in commands if "server/worker/worker.h" in reached(p, graph)]
    assert not bad, "commands that see the worker: %s" % ", ".join(bad)


def test_what_a_header_brings_along_is_seen():
    assert reached("a", {"a": ["b"], "b": ["c"], "c": ["b"]}) == {"b", "c"}


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
