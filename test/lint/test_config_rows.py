# SPDX-License-Identifier: BSD-3-Clause
"""Whether a row of server/config/config_table.c says that its directive acts must be what the code does."""

import re

import directives
import tree

# Read by functions of config*.c that others call.
THROUGH_FUNCTIONS = {"enable-protected-configs", "proc-title-template", "maxmemory-clients", "cluster-databases"}
# Read only to be shown, by INFO and metrics.
SHOWN = {"io-threads"}


def readers():
    """The text of all sources that may read a configuration but are not part of it."""
    files = [f for f in tree.sources(".c", ".h", folders=("server",)) if not re.match(r"server/config/", f)]
    assert "server/main.c" in files
    return "\n".join(tree.read(f) for f in files)


def test_directives_that_act_are_read_and_no_others():
    text = readers()
    wrong = []
    for name, acts in directives.rows(tree.read(directives.TABLE)).items():
        read = re.search(r"(config\)?|(worker|exec)_config\([^()]*\)|now|next)(->|\.)%s\b" % name.replace("-", "_"), text) is not None
        if name in THROUGH_FUNCTIONS:
            read = True
        if name in SHOWN:
            read = False
        if read != acts:
            wrong.append("%s: the row says %s, the code %s" % (name, "acts" if acts else "kept", "reads it" if read else "does not"))
    assert wrong == []


def test_no_row_that_acts_is_missed():
    """Who makes a directive act takes ROW_MISSED away: else the log says that it does not."""
    both = [line for line in tree.read(directives.TABLE).splitlines() if "ROW_ACTS" in line and "ROW_MISSED" in line]
    assert both == []


def test_the_configuration_file_has_every_directive_with_its_default():
    """Of packaging/shoal.conf. A new directive wants a place, a line of explanation and its default there."""
    table, conf = tree.read(directives.TABLE), tree.read(directives.CONF)
    expected = {**directives.defaults(table), "replicaof": "no one"}
    found = directives.settings(conf)
    names = [name for name, _, _ in found]
    assert sorted(set(expected) - set(names)) == [], "not in %s" % directives.CONF
    assert sorted(name for name in names if names.count(name) > 1 or name not in expected) == []
    assert [(n, v, expected[n]) for n, v, _ in found if directives.value(v) != expected[n]] == []
    assert directives.unexplained(conf) == []


def test_the_configuration_file_marks_what_does_not_act():
    conf = tree.read(directives.CONF)
    assert conf == directives.marked(conf, directives.rows(tree.read(directives.TABLE))), "run test/lint/directives.py"


def test_wrong_lines_of_a_configuration_file_are_seen():
    conf = '# Why.\n#a 1mb\n#b ""\n\n# [no effect]\n#c x y\n'
    assert directives.settings(conf) == [("a", "1mb", False), ("b", '""', False), ("c", "x y", True)]
    assert [directives.value(v) for _, v, _ in directives.settings(conf)] == ["1048576", "", "x y"]
    assert directives.unexplained(conf) == ["c"]
    assert directives.marked(conf, {"a": False, "b": True, "c": True}) == '# Why.\n# [no effect]\n#a 1mb\n#b ""\n\n#c x y\n'
