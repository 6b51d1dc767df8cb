# SPDX-License-Identifier: BSD-3-Clause
"""README's map of folders says what the tree and its arrows are."""

import re

import tree


def mapped(page):
    """{folder: what it may use} of the map in a page."""
    section = page[page.index("## Map of folders") :]
    rows = re.findall(r"^\| `([\w-]+)/` \|.*\| ([\w, ]*?) ?\|$", section, re.M)
    return {folder: {name for name in uses.split(", ") if name} for folder, uses in rows}


def told_wrongly(page, folders):
    """What is wrong with a page's map, for a tree with these folders at the top."""
    says = mapped(page)
    bad = ["%s/ is at the top, and not in tree.py" % f for f in sorted(folders - set(tree.FOLDERS) - set(tree.OTHERS))]
    bad += ["%s/ is not in README's map" % f for f in sorted(folders - set(says))]
    bad += ["README's map has %s/, which is not there" % f for f in sorted(set(says) - folders)]
    return bad + ["README's map is wrong about what %s/ may use" % f for f in sorted(says) if says[f] != tree.ARROWS.get(f, set())]


def top_folders():
    found = {path.split("/")[0] for path in tree.tracked() if "/" in path}
    return {f for f in found if not f.startswith(".")}


def test_the_map_of_folders_is_the_tree():
    folders = top_folders() or set(tree.FOLDERS) | set(tree.OTHERS)  # without git: what tree.py knows
    assert told_wrongly(tree.read("README.md"), folders) == []


def test_a_map_that_is_wrong_is_seen():
    page = "## Map of folders\n| `base/` | x | |\n| `net/` | y, `a/` | base, proto |\n| `gone/` | z | |\n"
    assert mapped(page) == {"base": set(), "net": {"base", "proto"}, "gone": set()}
    assert told_wrongly(page, {"base", "net", "new"}) == [
        "new/ is at the top, and not in tree.py",
        "new/ is not in README's map",
        "README's map has gone/, which is not there",
        "README's map is wrong about what net/ may use",
    ]
