# SPDX-License-Identifier: BSD-3-Clause
"""directives: which rows of server/config/config_table.c say that they act, and the list in docs/compat.md of those that do not.

Run it to write the list anew.
"""

import os
import re
import textwrap

import tree

TABLE = "server/config/config_table.c"
PAGE = "docs/compat.md"
BEGIN, END = "<!-- directives:begin -->", "<!-- directives:end -->"


def rows(text):
    """{directive: whether it acts} of the table's source."""
    body = text[text.index("config_rows[] = {") :]
    found = re.findall(r'^    [A-Z]+\("([\w-]+)",(.*?)\),\n', body, re.M | re.S)
    assert len(found) == len(re.findall(r"^    [A-Z]+\(", body, re.M)), "a row has another form"
    return {name: "ROW_ACTS" in rest for name, rest in found}


def listed(page):
    """Directives in the list of the page."""
    block = page[page.index(BEGIN) + len(BEGIN) : page.index(END)]
    return set(re.findall(r"`([\w-]+)`", block))


def main():
    inert = sorted(name for name, acts in rows(tree.read(TABLE)).items() if not acts)
    page = tree.read(PAGE)
    head, rest = page.split(BEGIN)
    with open(os.path.join(tree.ROOT, PAGE), "w", encoding="utf-8") as f:
        f.write("%s%s\n%s\n%s%s" % (head, BEGIN, "\n".join(textwrap.wrap(", ".join("`%s`" % n for n in inert) + ".", 140, break_on_hyphens=False)), END, rest.split(END)[1]))


if __name__ == "__main__":
    main()
