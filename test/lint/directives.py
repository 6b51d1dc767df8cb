# SPDX-License-Identifier: BSD-3-Clause
"""directives: what the rows of server/config/config_table.c say, and the pages that must say the same: the list in docs/compat.md of
directives that do not act, and packaging/shoal.conf, which has each with its default and marks those.

Run it to write the list and the marks anew.
"""

import os
import re
import textwrap

import tree

TABLE = "server/config/config_table.c"
PAGE = "docs/compat.md"
CONF = "packaging/shoal.conf"
BEGIN, END = "<!-- directives:begin -->", "<!-- directives:end -->"
MARK = "# [no effect]"
UNITS = {"k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}


def bodies(text):
    """{directive: (kind, the rest of its row)} of the table's source."""
    body = text[text.index("config_rows[] = {") :]
    found = re.findall(r'^    ([A-Z]+)\("([\w-]+)",(.*?)\),\n', body, re.M | re.S)
    assert len(found) == len(re.findall(r"^    [A-Z]+\(", body, re.M)), "a row has another form"
    return {name: (kind, rest) for kind, name, rest in found}


def rows(text):
    """{directive: whether it acts} of the table's source."""
    return {name: "ROW_ACTS" in rest for name, (_, rest) in bodies(text).items()}


def defaults(text):
    """{directive: its default, as the table has it}."""
    return {name: re.search(r'"([^"]*)", (?:ROW_|0)', rest).group(1) for name, (_, rest) in bodies(text).items()}


def kinds(text):
    """{directive: the macro that its row is made by}."""
    return {name: kind for name, (kind, _) in bodies(text).items()}


def listed(page):
    """Directives in the list of the page."""
    block = page[page.index(BEGIN) + len(BEGIN) : page.index(END)]
    return set(re.findall(r"`([\w-]+)`", block))


def settings(conf):
    """(directive, value, whether the line above is the mark) of each setting in shoal.conf."""
    lines = conf.splitlines()
    found = [(re.fullmatch(r"#([\w-]+) (.+)", line), above) for above, line in zip([""] + lines, lines)]
    return [(match.group(1), match.group(2), above == MARK) for match, above in found if match]


def value(text):
    """Of a setting without its quotes, a size without its unit."""
    size = re.fullmatch(r"(\d+)(%s)" % "|".join(UNITS), text)
    return str(int(size.group(1)) * UNITS[size.group(2)]) if size else re.sub(r'^"(.*)"$', r"\1", text)


def unexplained(conf):
    """Settings that no explanation stands above, in the block that an empty line begins."""
    found = []
    for block in conf.split("\n\n"):
        named = [name for name, _, _ in settings(block)]
        if named and not any(line.startswith("# ") and line != MARK for line in block.splitlines()):
            found += named
    return found


def marked(conf, acts):
    """shoal.conf with the marks that the rows ask for."""
    lines = []
    for line in conf.splitlines():
        match = re.fullmatch(r"#([\w-]+) .+", line)
        if match and not acts.get(match.group(1), True):
            lines.append(MARK)
        if line != MARK:
            lines.append(line)
    return "\n".join(lines) + "\n"


def write(path, text):
    with open(os.path.join(tree.ROOT, path), "w", encoding="utf-8") as f:
        f.write(text)


def main():
    acts = rows(tree.read(TABLE))
    inert = sorted(name for name in acts if not acts[name])
    head, rest = tree.read(PAGE).split(BEGIN)
    lines = textwrap.wrap(", ".join("`%s`" % n for n in inert) + ".", 140, break_on_hyphens=False)
    write(PAGE, "%s%s\n%s\n%s%s" % (head, BEGIN, "\n".join(lines), END, rest.split(END)[1]))
    write(CONF, marked(tree.read(CONF), acts))


if __name__ == "__main__":
    main()
