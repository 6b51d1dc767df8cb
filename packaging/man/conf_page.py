#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""conf_page.py shoal.conf PAGE VERSION: makes shoal.conf(5) of the file, so that there is one text about each directive."""

import re
import sys


def escaped(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace('"', "\\(dq")
    return "\\&" + text if text.startswith((".", "\\(aq")) else text


def prose(lines):
    """Explanations run on; what is indented further is shown as it stands."""
    out, example = [], False
    for line in lines:
        if not line:
            out.append(".EE\n.RE\n.PP" if example else ".PP")
            example = False
            continue
        if line.startswith("  ") != example:
            example = not example
            out.append(".RS\n.EX" if example else ".EE\n.RE")
        # `name` is in bold.
        parts = re.split(r"`([^`]+)`", line.strip())
        out.append("".join("\\fB%s\\fR" % escaped(p) if i % 2 else escaped(p) for i, p in enumerate(parts)).replace("\\fB\\&", "\\&\\fB"))
    return [line for line in out + ([".EE\n.RE"] if example else []) if line]


def page(conf, version):
    out = [
        '.\\" Made from shoal.conf by conf_page.py.',
        '.TH SHOAL.CONF 5 "" "Shoal %s" "File formats"' % version,
        ".SH NAME",
        "shoal.conf \\- configuration of shoal\\-server(1)",
        ".SH DESCRIPTION",
    ]
    for block in re.split(r"\n\n+", conf.strip()):
        lines = block.splitlines()
        heading = re.fullmatch(r"# ==== (.*) ====", lines[0])
        if heading:
            out.append('.SH "%s"' % escaped(heading.group(1).upper()))
            out += prose(line[2:] for line in lines[1:])
            continue
        told, settings, mark = [], [], False
        for line in lines:
            if line == "# [no effect]":
                mark = True
            elif line.startswith("# ") or line == "#":
                told.append(line[2:])
            else:
                settings.append((line[1:], mark))
                mark = False
        if not settings:
            out += [".PP"] + prose(told)
            continue
        for i, (setting, inert) in enumerate(settings):
            name, value = setting.split(" ", 1)
            out.append(".TP" if i == 0 else ".TQ")
            out.append("\\fB%s\\fR %s%s" % (escaped(name), escaped(value), " (no effect)" if inert else ""))
        out += prose(told)
    out += [".SH SEE ALSO", "\\fBshoal\\-server\\fR(1), \\fBshoal\\-check\\fR(1)"]
    return "\n".join(out) + "\n"


def main():
    with open(sys.argv[1], encoding="utf-8") as source, open(sys.argv[2], "w", encoding="utf-8") as target:
        target.write(page(source.read(), sys.argv[3]))


if __name__ == "__main__":
    main()
