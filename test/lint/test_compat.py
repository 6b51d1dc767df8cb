# SPDX-License-Identifier: BSD-3-Clause
"""docs/compat.md lists exactly the directives that do nothing."""

import re

import directives
import tree


def test_the_page_lists_the_directives_that_do_not_act():
    rows = directives.rows(tree.read(directives.TABLE))
    assert len(rows) > 200
    inert = {name for name, acts in rows.items() if not acts}
    named = directives.listed(tree.read(directives.PAGE))
    again = "run /usr/bin/python3 test/lint/%s.py" % directives.__name__
    assert not inert - named, "not in docs/compat.md: %s (%s)" % (sorted(inert - named), again)
    assert not named - inert, "listed, but acts or does not exist: %s (%s)" % (sorted(named - inert), again)


def test_a_row_that_acts_is_told_from_one_that_does_not():
    text = 'config_rows[] = {\n    BOOL("a-b", NULL, f, "no", ROW_ACTS),\n    ENUM("c", "d", f, "x",\n         0, names),\n};\n'
    assert directives.rows(text) == {"a-b": True, "c": False}


def commands_of(text):
    """Names of the commands in a table's source, subcommands left out."""
    names = set()
    for body in re.findall(r"^const struct command commands_\w+\[\] = \{\n(.*?)^\};", text, re.M | re.S):
        names |= set(re.findall(r'^    \{\.name = "([\w-]+)"', body, re.M))
    return names


def test_the_page_names_every_command():
    there = set()
    for path in tree.sources("_rows.c", folders=("server",)):
        there |= commands_of(tree.read(path))
    assert len(there) > 60
    page = tree.read(directives.PAGE)
    table = page[page.index("## What is there") : page.index("## What is not there yet")]
    named = {word.lower() for word in re.findall(r"\b[A-Z_-]{3,}\b", re.sub(r"\(.*?\)", "", table))}
    assert not there - named, "not in docs/compat.md: %s" % sorted(there - named)
    assert not {n for n in named - there if n not in {"resp"}}, "in docs/compat.md, but not a command: %s" % sorted(named - there)


def test_a_command_is_told_from_its_subcommands():
    text = (
        'static const struct command one_subcommands[] = {\n    {.name = "sub"},\n};\n'
        'const struct command commands_x[] = {\n    {.name = "one",\n     .subcommands = one_subcommands},\n    {.name = "two"},\n};\n'
    )
    assert commands_of(text) == {"one", "two"}
