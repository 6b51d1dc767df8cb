# SPDX-License-Identifier: BSD-3-Clause
"""Tells whether something became slower between two runs: ./dev bench compare BEFORE AFTER.

BEFORE and AFTER are folders of results, their samples.json, or commits of which bench/results has a run. Every figure that both
runs have of a server is compared. One that is worse by --least or more, where a test of Mann and Whitney over the rounds finds a
difference, is told, and the exit code is 1. Of many figures some look different by chance: those that stay when that is allowed for
(Benjamini and Hochberg) are called certain, others worth another run. Two runs have two states of the machine in them: servers that
did not change, as Redis, show how much that alone does, so they are compared as well.
"""

import argparse
import collections
import os
import sys

import samples
import servers
import stats

RESULTS = os.path.join(servers.ROOT, "bench", "results")

Figure = collections.namedtuple("Figure", "case title server metric difference worse certain")


def find(name):
    """The samples that are meant. Says what is wrong as ValueError."""
    if os.path.exists(name):
        return samples.read(name)
    matches = []
    for folder in sorted(os.listdir(RESULTS)) if os.path.isdir(RESULTS) else ():
        try:
            data = samples.read(os.path.join(RESULTS, folder))
        except ValueError:
            continue
        if len(name) >= 4 and data["made"]["commit"].startswith(name):
            matches.append(data)
    if not matches:
        raise ValueError("%s is no folder of results, and bench/results has no run of such a commit" % name)
    return max(matches, key=lambda data: data["made"]["at"])


def figures(before, after, least):
    """Of all that both have measured, in the order of the cases; worse: 1, better: -1, neither: 0."""
    old, new = samples.by_case(before), samples.by_case(after)
    pairs = []
    for case in (c for c in new if c in old):
        for metric in (m for m in new[case] if m in old[case]):
            for server in (s for s in new[case][metric] if s in old[case][metric]):
                pairs.append((case, metric, server, stats.difference(new[case][metric][server], old[case][metric][server])))
    told = [d.kind in ("less", "more") for *_, d in pairs]
    tested = [d.p for *_, d in pairs if d.kind != "unknown"]
    kept = iter(stats.survivors(tested))
    certain = [next(kept) if d.kind != "unknown" else False for *_, d in pairs]
    found = []
    for (case, metric, server, d), differs, sure in zip(pairs, told, certain):
        lower_is_better = after["metrics"][metric]["better"] == "lower"
        far = differs and abs(d.ratio - 1) >= least
        worse = 0 if not far else 1 if (d.ratio > 1) == lower_is_better else -1
        found.append(Figure(case, after["cases"][case]["title"], server, metric, d, worse, sure))
    return found


def told(figure):
    sure = "certain" if figure.certain else "worth another run"
    return "  %s, %s, %s: %s; %s" % (figure.title, figure.server, figure.metric, figure.difference.text(), sure)


def report(before, after, found, least):
    """Lines to print."""
    names = [data["made"]["commit"] + " of " + data["made"]["at"][:16].replace("T", " ") for data in (before, after)]
    lines = ["%s -> %s" % tuple(names)]
    for what in ("machine", "programs"):
        for key in sorted({*before[what], *after[what]}):
            a, b = before[what].get(key, "-"), after[what].get(key, "-")
            if a != b:
                lines.append("differs: %s: %s -> %s" % (key, a, b))
    for title, worse in (("Worse", 1), ("Better", -1)):
        shown = sorted((f for f in found if f.worse == worse), key=lambda f: (not f.certain, f.difference.p))
        if shown:
            lines += ["", "%s (%d):" % (title, len(shown))] + [told(f) for f in shown]
    unknown = sum(f.difference.kind == "unknown" for f in found)
    same = sum(f.worse == 0 for f in found) - unknown
    lines += ["", "%d figures: %d worse, %d better, %d no difference of %g%% or more, %d with too few rounds to tell" % (
        len(found), sum(f.worse > 0 for f in found), sum(f.worse < 0 for f in found), same, 100 * least, unknown)]  # fmt: skip
    tested = len(found) - unknown
    if tested:
        lines.append("(by chance alone about %.0f of %d would seem to differ at p below %g)" % (stats.ALPHA * tested, tested, stats.ALPHA))
    return lines


def parse_arguments():
    p = argparse.ArgumentParser(prog="./dev bench compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("before", metavar="BEFORE")
    p.add_argument("after", metavar="AFTER")
    p.add_argument("--least", type=float, default=3, metavar="PERCENT", help="smaller changes are none (default %(default)s)")
    p.add_argument("--server", metavar="NAME", help="only figures of this server, for example shoal")
    p.add_argument("--check-arguments", action="store_true", help=argparse.SUPPRESS)
    options = p.parse_args()
    if not options.least >= 0:
        p.error("--least takes per cents")
    return options


def main():
    options = parse_arguments()
    if options.check_arguments:
        return
    try:
        before, after = find(options.before), find(options.after)
    except ValueError as e:
        sys.exit("bench: %s" % e)
    least = options.least / 100
    found = [f for f in figures(before, after, least) if options.server in (None, f.server)]
    if not found:
        sys.exit("bench: the two runs have nothing in common%s" % (" for %s" % options.server if options.server else ""))
    print("\n".join(report(before, after, found, least)))
    if any(f.worse > 0 for f in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
