# SPDX-License-Identifier: BSD-3-Clause
"""docs/compat.md lists exactly the directives that do nothing."""

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
