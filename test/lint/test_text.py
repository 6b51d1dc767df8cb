# SPDX-License-Identifier: BSD-3-Clause
"""Licences, headers that say their thread, and docs that tell the truth about names."""

import os
import re

import pytest
import tree

SPDX = "SPDX-License-Identifier: BSD-3-Clause"
NEEDS_SPDX = (".c", ".h", ".py", ".js", ".mjs", "meson.build", ".sh")


def first_lines(text, n=2):
    return "\n".join(text.splitlines()[:n])


def functions_defined(text):
    """Names of the functions that a C source or header defines (static inline ones included)."""
    return set(re.findall(r"^[A-Za-z_][\w \t*]*?[ *](\w+)\([^;{}]*\)\s*\{", tree.without_comments(text), re.M))


def functions_named(markdown):
    """Names written as `name()` in a page."""
    return re.findall(r"`(\w+)\(\)`", markdown)


def test_every_source_opens_with_its_licence():
    paths = [p for p in tree.tracked() if p.endswith(NEEDS_SPDX)]
    paths += [p for p in tree.sources(".c", ".h") if p not in paths]
    bad = [p for p in paths if SPDX not in first_lines(tree.read(p))]
    assert not bad, "no SPDX line in the first two lines of: %s" % ", ".join(bad)


def test_every_header_says_its_thread():
    bad = [p for p in tree.sources(".h") if not re.search(r"\b(Threads?:|Crosses threads)", tree.read(p))]
    assert not bad, "no `Thread:` line in: %s" % ", ".join(bad)


def test_every_source_opens_with_why():
    bad = [p for p in tree.sources(".c") if not re.match(r"/\* SPDX[^\n]*\n/\* ", tree.read(p))]
    assert not bad, "no opening comment after the licence line in: %s" % ", ".join(bad)


WALK = "docs/walk-of-a-get.md"


def test_the_walk_of_a_get_names_functions_that_exist():
    named = functions_named(tree.read(WALK))
    assert len(named) >= 10, "%s names only %d functions" % (WALK, len(named))
    defined = set()
    for path in tree.sources(".c", ".h"):
        defined |= functions_defined(tree.read(path))
    missing = sorted(set(named) - defined)
    assert not missing, "%s names what is not defined: %s" % (WALK, ", ".join(missing))


def test_the_walk_names_the_file_of_each_function():
    page = tree.read(WALK)
    bad = []
    for path, name in re.findall(r"`((?:%s)/[\w/]+\.[ch])`[^`\n]*`(\w+)\(\)`" % "|".join(tree.FOLDERS), page):
        if not os.path.exists(os.path.join(tree.ROOT, path)) or name not in functions_defined(tree.read(path)):
            bad.append("%s is not defined in %s" % (name, path))
    assert not bad, "\n".join(bad)


def test_a_function_that_is_gone_is_seen():
    defined = functions_defined("static inline int a_one(int x) {\n}\nvoid\nb_two(void);\nstruct s *c_three(int a,\n    int b) {\n")
    assert defined == {"a_one", "c_three"}
    assert functions_named("calls `a_one()` then `gone()`, not `plain`") == ["a_one", "gone"]


def test_the_page_on_tests_names_every_file_of_integration_tests():
    page = tree.read("docs/testing.md")
    names = [n for n in os.listdir(os.path.join(tree.ROOT, "test", "integration")) if n.startswith("test_") and n.endswith(".py")]
    missing = sorted(n for n in names if "`%s`" % n not in page)
    assert len(names) > 10 and not missing, "docs/testing.md does not say what is in: %s" % ", ".join(missing)


def pages():
    found = [os.path.join(folder, n) for folder, _, names in os.walk(os.path.join(tree.ROOT, "docs")) for n in names if n.endswith(".md")]
    return ["README.md"] + sorted(os.path.relpath(path, tree.ROOT) for path in found)


@pytest.mark.parametrize("page", pages())
def test_paths_that_a_page_names_exist(page):
    text = tree.read(page)
    pattern = r"`((?:%s)/[\w./-]*)`" % "|".join(tree.FOLDERS + tree.OTHERS)
    missing = [p for p in re.findall(pattern, text) if not os.path.exists(os.path.join(tree.ROOT, p.rstrip("/")))]
    for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        if not os.path.exists(os.path.join(tree.ROOT, os.path.dirname(page), link)):
            missing.append(link)
    families = [f for f in os.listdir(os.path.join(tree.ROOT, "server", "commands")) if "." not in f]
    for path in re.findall(r"`([\w./-]*<family>[\w./<>-]*)`", text):  # stands for one of each; README leaves the room out
        for named in (path.replace("<family>", family) for family in families):
            if not any(os.path.exists(os.path.join(tree.ROOT, room, named)) for room in ("", "server")):
                missing.append(named)
    assert not missing, "%s names paths that do not exist: %s" % (page, ", ".join(missing))
