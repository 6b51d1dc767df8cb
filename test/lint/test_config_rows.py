# SPDX-License-Identifier: BSD-3-Clause
"""Whether a row of server/config/config_table.c says that its directive acts must be what the code does."""

import re

import directives
import tree

# Read by functions of config*.c that others call.
THROUGH_FUNCTIONS = {"enable-protected-configs", "proc-title-template", "maxmemory-clients"}
# Read only to be shown, by INFO.
SHOWN = {"repl-backlog-size"}


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
