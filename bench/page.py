# SPDX-License-Identifier: BSD-3-Clause
"""page: the report as one HTML file that needs nothing else: made of samples.json alone, for light and dark, for a desk and a phone."""

import html
import math
import os
import re

import plots
import stats

ORDER = ["shoal", "valkey", "redis", "floor"]  # classes s0 to s3; others follow as they come
OTHERS = ("valkey", "redis")

STYLE = """
:root{--ground:#fff;--card:#f6f7f9;--ink:#1b1f24;--soft:#5b6470;--grid:#dfe3e8;--good:#1a8f5a;--bad:#c8402b;
--s0:#1f6fd6;--s1:#7a4bc0;--s2:#d0492c;--s3:#8a929c;--s4:#139a9a;--s5:#b97a08;--s6:#c2418f;--s7:#4c8a2b}
@media (prefers-color-scheme:dark){:root{--ground:#12151a;--card:#1b2027;--ink:#e8ebef;--soft:#9aa4b1;--grid:#313843;--good:#4cc38a;--bad:#f0785f;
--s0:#62a5f5;--s1:#b18cf2;--s2:#f37f63;--s3:#98a1ac;--s4:#45c7c3;--s5:#e0ab45;--s6:#ea7dbd;--s7:#8fca69}}
*{box-sizing:border-box}html{-webkit-text-size-adjust:100%;color-scheme:light dark}
body{margin:0 auto;max-width:1180px;padding:20px 16px 60px;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.7rem;line-height:1.2;margin:.4em 0 .1em}h2{font-size:1.25rem;margin:2.2em 0 .3em}h3{font-size:.95rem;margin:0 0 .5em;font-weight:600}
p{max-width:75ch;margin:.4em 0}.soft{color:var(--soft);font-size:.9rem}.warn{border-left:4px solid var(--bad);padding:.4em .8em;background:var(--card)}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,320px),1fr));gap:14px;margin:.8em 0}
.card{background:var(--card);border-radius:10px;padding:14px;min-width:0}.tile b{display:block;font-size:1.9rem;line-height:1.15}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;margin:.5em 0;font-size:.9rem}.legend i{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:6px}
svg{display:block;width:100%;height:auto}svg text{fill:var(--soft);font:10.5px system-ui,sans-serif;paint-order:stroke;stroke:var(--card);stroke-width:3px;stroke-linejoin:round}svg text.strong{fill:var(--ink);font-weight:600;stroke:none}
.grid{stroke:var(--grid)}.zero{stroke:var(--soft);stroke-width:1.5}.line{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round}
.dot,.bar{fill:var(--c)}.box{fill:var(--c);fill-opacity:.25;stroke:var(--c)}.whisker{stroke:var(--c);stroke-width:1.5}.median{stroke:var(--c);stroke-width:2.5}
.faint{opacity:.35}.cell.good{fill:var(--good)}.cell.bad{fill:var(--bad)}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;width:100%}th,td{text-align:right;padding:4px 10px;border-bottom:1px solid var(--grid);white-space:nowrap}
th:first-child,td:first-child{text-align:left}thead th{color:var(--soft);font-weight:600}td.better{color:var(--good)}td.worse{color:var(--bad)}
details{margin:.6em 0}details h3{margin:1.4em 0 .3em}summary{cursor:pointer;font-weight:600}pre{overflow-x:auto;font-size:.8rem;background:var(--card);padding:12px;border-radius:8px}
""" + "".join(".s%d{--c:var(--s%d)}.legend .s%d{background:var(--s%d)}" % (i, i, i, i) for i in range(8))  # fmt: skip


def escape(words):
    return html.escape(str(words))


class Found:
    """The samples of a document, by what a page asks for."""

    def __init__(self, data):
        self.data, self.cases = data, data["cases"]
        self.values = {}  # case -> metric -> server -> values
        for s in sorted(data["samples"], key=lambda s: s["round"]):
            self.values.setdefault(s["case"], {}).setdefault(s["metric"], {}).setdefault(s["server"], []).append(s["value"])
        seen = list(dict.fromkeys(s["server"] for s in data["samples"]))
        self.servers = [n for n in ORDER if n in seen] + [n for n in seen if n not in ORDER]
        extra = [n for n in seen if n not in ORDER]
        self.kinds = {n: "s%d" % (ORDER.index(n) if n in ORDER else 4 + extra.index(n) % 4) for n in seen}

    def group(self, *names):
        return [key for key, case in self.cases.items() if case["group"] in names]

    def of(self, case, metric):
        """[(class, server, values)] in the order of servers."""
        by_server = self.values.get(case, {}).get(metric, {})
        return [(self.kinds[n], n, by_server[n]) for n in self.servers if n in by_server]

    def difference(self, case, metric, other):
        by_server = self.values.get(case, {}).get(metric, {})
        return stats.difference(by_server.get("shoal", []), by_server.get(other, []))

    def title(self, case):
        return self.cases[case]["title"]

    def curves(self, case):
        return [c for c in self.data.get("curves", []) if c["case"] == case]


def card(title, body, note=""):
    return '<section class="card"><h3>%s</h3>%s%s</section>' % (escape(title), body, '<p class="soft">%s</p>' % escape(note) if note else "")


def cards(parts):
    return '<div class="cards">%s</div>' % "".join(parts)


def legend(found, shown):
    return '<div class="legend">%s</div>' % "".join('<span><i class="%s"></i>%s</span>' % (found.kinds[n], escape(n)) for n in shown)


# ---- At one look ---------------------------------------------------------------------------------------------------


def tile(number, words, note):
    return '<section class="card tile"><b>%s</b>%s<p class="soft">%s</p></section>' % (escape(number), escape(words), escape(note))


def geometric(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def change(ratio, less, more):
    """ "41% less"; a factor where per cents would be odd."""
    if ratio > 2:
        return "x %.1f %s" % (ratio, more)
    return "%.0f%% %s" % (abs(100 * ratio - 100), less if ratio < 1 else more)


def tally(differences):
    counts = {kind: sum(d.kind == kind for d in differences) for kind in ("less", "none", "more", "unknown")}
    names = {"less": "less in %d", "none": "no difference in %d", "more": "more in %d", "unknown": "too few rounds to tell in %d"}
    return "%d cases: %s" % (len(differences), ", ".join(names[k] % n for k, n in counts.items() if n))


def cpu_keys(found):
    """What has pictures of its own is left out."""
    return [k for k, case in found.cases.items() if case["group"] not in ("sizes", "clients", "scaling", "open", "ceiling")]


def tiles(found):
    parts = []
    for other in OTHERS:
        for metric, keys, less, more, what in (
            ("cpu_us", cpu_keys(found), "less", "more", "server CPU for an operation than %s"),
            ("bytes_each", found.group("memory"), "less", "more", "memory for each key or element than %s"),
            ("ops_per_s", found.group("ceiling"), "lower", "higher", "rate that keeps the latency than %s"),
        ):
            differences = [d for k in keys if math.isfinite((d := found.difference(k, metric, other)).ratio) and d.ratio > 0]
            if differences:
                ratio = geometric([d.ratio for d in differences])
                words = what % other.capitalize()
                # Memory is measured once: it does not vary from round to round.
                counted = "%d cases" % len(differences) if metric == "bytes_each" else tally(differences)
                parts.append(tile(change(ratio, less, more), words, "geometric mean of " + counted))
    return cards(parts)


def ratio_section(found):
    parts = []
    for other in OTHERS:
        rows = [(found.title(k), found.kinds[other], d) for k in cpu_keys(found) if (d := found.difference(k, "cpu_us", other)) and math.isfinite(d.ratio) and d.ratio > 0]
        if rows:
            rows.sort(key=lambda row: row[2].ratio)
            parts.append(card("Shoal against %s" % other.capitalize(), plots.ratios(rows, "CPU of Shoal against %s" % other)))
    if not parts:
        return ""
    note = "Left of the middle Shoal takes less. Lines are 95% intervals; what is faint is no difference that the rounds could show."
    return "<h2>Server CPU for an operation</h2><p class=soft>%s</p>%s" % (note, cards(parts))


# ---- Groups --------------------------------------------------------------------------------------------------------


def box_section(found):
    parts = []
    for key in found.group("small", "large", "shards", "txn", "scripts"):
        groups = found.of(key, "cpu_us")
        if groups:
            parts.append(card(found.title(key), plots.boxes(groups, found.title(key), "us of server CPU")))
    return "<h2>Rounds</h2><p class=soft>Each dot is a round; the box is the middle half.</p>%s" % cards(parts) if parts else ""


def latency_section(found):
    parts = []
    for key in found.group("open", "apps"):
        curves, series = [], []  # of each server
        for name in found.servers:
            mine = [c for c in found.curves(key) if c["server"] == name]
            if mine:
                # The round whose p99 is in the middle stands for all.
                mine.sort(key=lambda c: next((ms for p, ms in c["percentiles"] if p >= 99), c["percentiles"][-1][1]))
                one = mine[len(mine) // 2]
                curves.append((found.kinds[name], name, [(p, us / 1000) for p, us in one["percentiles"]]))
                series.append((found.kinds[name], name, [(at, p99 / 1000) for at, count, _, p99, _ in one["series"] if count]))
        if curves:
            both = plots.percentile_curves(curves, found.title(key)) + plots.lines(series, "p99 over time", "seconds into the run", "p99, ms", y_log=True)
            parts.append(card(found.title(key), both))
    if not parts:
        return ""
    note = "Requests come at a fixed rate, answered or not, and latency counts from when each was due. Above: how slow the slowest are; below: p99 over the run. The round with the median p99."
    return "<h2>Latency</h2><p class=soft>%s</p>%s%s" % (note, legend(found, list(dict.fromkeys(c["server"] for key in found.group("open", "apps") for c in found.curves(key)))), cards(parts))


def ceiling_section(found):
    parts = []
    for key in found.group("ceiling"):
        rows = [(kind, name, stats.median(values)) for kind, name, values in found.of(key, "ops_per_s")]
        parts.append(card(found.title(key), plots.bars(rows, found.title(key), "/s")))
    return "<h2>The highest rate that keeps the latency</h2>%s" % cards(parts) if parts else ""


def medians_over(found, keys, metric, at):
    """[(class, server, [(at(case), median)])]."""
    series = {}
    for key in keys:
        for kind, name, values in found.of(key, metric):
            series.setdefault((kind, name), []).append((at(found.cases[key]), stats.median(values)))
    return [(kind, name, sorted(points)) for (kind, name), points in series.items()]


def clients_section(found):
    keys = found.group("clients")
    if not keys:
        return ""
    at = lambda case: case["clients"]  # noqa: E731
    rate = plots.lines(medians_over(found, keys, "ops_per_s", at), "rate", "connections", "requests/s", x_log=True, dots=True)
    late = plots.lines(medians_over(found, keys, "p99_ms", at), "p99", "connections", "p99, ms", x_log=True, y_log=True, dots=True)
    return "<h2>Connections</h2>%s%s" % (legend(found, [name for _, name, _ in found.of(keys[0], "ops_per_s")]), cards([card("Requests a second", rate), card("p99", late)]))


def threads_of(name):
    counted = re.search(r", (\d+) (?:shards|threads)$", name)
    return int(counted.group(1)) if counted else 1


def scaling_section(found):
    parts = []
    for key in found.group("scaling"):
        series = {}
        for _, name, values in found.of(key, "ops_per_s"):
            series.setdefault(name.split(",")[0], []).append((threads_of(name), stats.median(values)))
        drawn = [(found.kinds[name], name, sorted(points)) for name, points in series.items() if name in found.kinds]
        labels = sorted({(n, str(n)) for _, _, points in drawn for n, _ in points})
        if drawn:
            parts.append(card(found.title(key), plots.lines(drawn, found.title(key), "shards or threads", "requests/s", dots=True, x_labels=labels)))
    return "<h2>More shards</h2>%s" % cards(parts) if parts else ""


def show_bytes(n):
    return "%d B" % n if n < 1024 else "%d KB" % (n >> 10) if n < 1 << 20 else "%d MB" % (n >> 20)


def size_section(found):
    keys = found.group("sizes")
    parts = []
    for other in OTHERS:
        cells = {}
        for key in keys:
            case, d = found.cases[key], found.difference(key, "ops_per_s", other)
            if math.isfinite(d.ratio) and d.ratio > 0:
                cells["P%d" % case["pipeline"], show_bytes(case["value_bytes"])] = (math.log2(d.ratio), "x %.2f" % d.ratio)
        if cells:
            columns = ["P%d" % n for n in sorted({found.cases[k]["pipeline"] for k in keys})]
            rows = [show_bytes(n) for n in sorted({found.cases[k]["value_bytes"] for k in keys})]
            parts.append(card("Shoal's rate against %s's" % other.capitalize(), plots.heat(cells, columns, rows, "sizes and pipelines", "pipeline", "size of a value")))
    return "<h2>Sizes and pipelines</h2>%s" % cards(parts) if parts else ""


def memory_section(found):
    parts = []
    for key in found.group("memory"):
        rows = [(kind, name, stats.median(values)) for kind, name, values in found.of(key, "bytes_each")]
        parts.append(card(found.title(key), plots.bars(rows, found.title(key), "B")))
    return "<h2>Memory for each key or element</h2>%s" % cards(parts) if parts else ""


def table(head, rows):
    top = "".join("<th>%s</th>" % escape(h) for h in head)
    body = "".join("<tr>%s</tr>" % "".join(cell if cell.startswith("<td") else "<td>%s</td>" % escape(cell) for cell in row) for row in rows)
    return '<div class="scroll"><table><thead><tr>%s</tr></thead><tbody>%s</tbody></table></div>' % (top, body)


def case_table(found, key):
    rows, metrics = [], found.values[key]
    for metric in metrics:
        better = found.data["metrics"][metric]["better"]
        for _, name, values in found.of(key, metric):
            between = stats.interval(values)
            shown = "%s to %s" % tuple(plots.show(v) for v in between) if between else "-"
            row = [name, metric, plots.show(stats.median(values)), shown, str(len(values)), ""]
            if name != "shoal" and "shoal" in metrics[metric]:
                d = found.difference(key, metric, name)
                good = {"less": better == "lower", "more": better == "higher"}.get(d.kind)
                row[-1] = '<td class="%s">%s</td>' % ("" if good is None else "better" if good else "worse", escape(d.text()))
            row.append(", ".join("round %d" % (i + 1) for i in stats.outliers(values)))
            rows.append(row)
    return table(["server", "metric", "median", "95%", "n", "Shoal against it", "stand apart"], rows)


def all_cases(found):
    parts = []
    for group in dict.fromkeys(case["group"] for case in found.cases.values()):
        keys = [key for key in found.group(group) if key in found.values]
        inner = "".join("<h3>%s</h3>%s" % (escape(found.title(key)), case_table(found, key)) for key in keys)
        parts.append("<details><summary>%s, %d cases</summary>%s</details>" % (escape(group), len(keys), inner))
    return "<h2>Every case</h2>%s" % "".join(parts)


def method(found):
    data = found.data
    rows = [[k, v] for k, v in [*data["machine"].items(), *data["programs"].items()]]
    lines = "\n".join("%s: %s" % item for item in data.get("lines", {}).items())
    return (
        "<h2>How it was measured</h2><p>Server and load have a processor each. Rounds interleave the servers. CPU is the server's own, user and system. "
        "Servers are said to differ where the test of Mann and Whitney over the rounds finds it (p below 0.05); intervals are bootstrapped.</p>"
        '%s<details><summary>Command lines</summary><pre>%s</pre></details><p class="soft">All samples are in samples.json and samples.csv beside this file.</p>'
    ) % (table(["", ""], rows), escape(lines))


def render(data):
    found, made = Found(data), data["made"]
    kind = "a quick look" if made["quick"] else "%d rounds" % made["rounds"]
    head = "%s, %s, %s, commit %s" % (made["at"][:16].replace("T", " "), kind, data["machine"].get("CPU", ""), made["commit"])
    warn = '<p class="warn">Interrupted: cases are missing, or short of rounds.</p>' if made["interrupted"] else ""
    sections = (ratio_section, latency_section, ceiling_section, memory_section, box_section, size_section, clients_section, scaling_section, all_cases, method)
    body = "".join(section(found) for section in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        "<title>Shoal benchmark, %s</title><style>%s</style></head><body><h1>Shoal beside Redis and Valkey</h1>"
        '<p class="soft">%s</p>%s%s%s%s</body></html>\n'
    ) % (escape(made["at"][:10]), STYLE, escape(head), warn, tiles(found), legend(found, found.servers), body)


def write(data, out):
    path = os.path.join(out, "report.html")
    with open(path, "w") as f:
        f.write(render(data))
    return path
