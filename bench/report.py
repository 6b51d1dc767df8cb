# SPDX-License-Identifier: BSD-3-Clause
"""report: medians, tables and plots of a benchmark run, as Markdown with PNG beside it, and the raw samples as JSON."""

import datetime
import os
import platform
import re
import subprocess
import tempfile

import cases
import page
import replication
import samples
import servers
import stats
import tls
import workloads
from stats import median, spread

SERVERS = ["floor", "shoal, no cluster", "shoal", "shoal, 2 shards", "redis", "valkey"]
COLOURS = {"floor": "#9aa0a6", "shoal, no cluster": "#5f6368", "shoal": "#1a73e8", "shoal, 2 shards": "#7baaf7", "redis": "#c5221f", "valkey": "#6a3fb5"}
README_BEGIN = "<!-- bench:begin -->"
README_END = "<!-- bench:end -->"


def cpu(bench, case, name):
    samples = bench.samples.get(case.key, {}).get(name)
    return median([s.cpu_us for s in samples]) if samples else None


# ---- The machine ---------------------------------------------------------------------------------------------------


def first_match(path, pattern):
    try:
        with open(path) as f:
            found = re.search(pattern, f.read(), re.M)
        return found.group(1).strip() if found else "unknown"
    except OSError:
        return "unknown"


def machine():
    memory = int(first_match("/proc/meminfo", r"^MemTotal:\s+(\d+)") or 0) / 1048576
    return [
        ("CPU", "%s, %d CPUs" % (first_match("/proc/cpuinfo", r"^model name\s*:\s*(.*)$"), os.cpu_count())),
        ("Memory", "%.0f GB" % memory),
        ("Kernel", "%s %s" % (platform.system(), platform.release())),
        ("System", first_match("/etc/os-release", r'^PRETTY_NAME="?([^"\n]*)')),
        ("Governor", first_match("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", r"(.*)")),
        ("Huge pages", first_match("/sys/kernel/mm/transparent_hugepage/enabled", r"\[(\w+)\]")),
    ]


def file_system():
    """The kind of the one that has the servers' directories: on tmpfs a sync costs nothing."""
    run = subprocess.run(["stat", "-f", "-c", "%T", tempfile.gettempdir()], capture_output=True, text=True)
    return {"ext2/ext3": "ext4"}.get(run.stdout.strip(), run.stdout.strip()) or "an unknown file system"


def commit():
    try:
        run = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=servers.ROOT, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return run.stdout.strip() or "unknown"


def versions(bench):
    """Of the programs, as (server name, version)."""
    rows = [("shoal", "%s, commit %s" % (servers.version_of(bench.options.shoal), bench.commit))]
    if bench.redis:
        rows.append(("redis", servers.version_of(bench.redis)))
    if bench.valkey:
        rows.append(("valkey", servers.version_of(bench.valkey)))
    rows.append(("load", servers.version_of(bench.tool)))
    return rows


# ---- Tables --------------------------------------------------------------------------------------------------------


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows]) + "\n"


def case_rows(bench, case):
    rows = []
    for name in SERVERS:
        samples = bench.samples.get(case.key, {}).get(name)
        if not samples:
            continue
        used = [s.cpu_us for s in samples]
        rate = [s.ops_per_s for s in samples]
        rows.append(
            [
                name,
                "%.3f" % median(used),
                "+-%.0f%%" % spread(used),
                "%.3f to %.3f" % found if (found := stats.interval(used)) else "-",
                "{:,.0f}".format(median(rate)),
                "+-%.0f%%" % spread(rate),
            ]
            + ["%.2f" % median([s.latency_ms[q] for s in samples]) for q in ("p50", "p95", "p99", "max")]
        )
    return rows


def energy(bench, case):
    """What one operation takes of the machine's energy, where it tells: a sentence, or none."""
    found = {n: [s.energy_uj for s in bench.samples[case.key][n] if s.energy_uj] for n in in_order(bench.samples[case.key])}
    told = ["%s %.2f" % (name, median(values)) for name, values in found.items() if values]
    return ["Energy of the machine, uJ/op: %s." % ", ".join(told)] if told else []


def comparisons(bench, case):
    """Sentences: what the rounds say of Shoal's CPU beside each other store's, which samples stand apart, and what it took of energy."""
    by_server = {name: [s.cpu_us for s in found] for name, found in bench.samples.get(case.key, {}).items()}
    said = energy(bench, case)
    for name in ("redis", "valkey"):
        if name in by_server and "shoal" in by_server:
            said.append("CPU of shoal against %s: %s." % (name, stats.difference(by_server["shoal"], by_server[name]).text()))
    for name, used in by_server.items():
        for i in stats.outliers(used):
            said.append("Round %d of %s stands apart: %.3f us." % (i + 1, name, used[i]))
    return said


LOAD_COLUMNS = ("p50", "p95", "p99", "p99.9", "p99.99", "max")


def load_sections(bench):
    """Of what was measured with openloop."""
    lines = []
    for group, heading in workloads.HEADINGS.items():
        shown = [case for key, case in bench.cases.items() if case.group == group and key in bench.samples]
        if shown:
            lines.append("## %s\n" % heading)
        if group == "ceiling" and shown:
            lines.append("The highest rate with p99 of %g ms at most, found to a factor of %g; latencies are those at that rate.\n" % (bench.options.p99_bound, workloads.CEILING_STEP))
        for case in shown:
            lines.append("**%s**\n" % case.title)
            rows = []
            for name in in_order(bench.samples[case.key]):
                found = bench.samples[case.key][name]
                used = [s.cpu_us for s in found if s.cpu_us is not None]
                latency = ["%.3g" % median([s.latency_ms[q] for s in found]) for q in LOAD_COLUMNS]
                rows.append([name, "{:,.0f}".format(median([s.ops_per_s for s in found])), "%.2f" % median(used) if used else "-", *latency])
            lines.append(table(["server", "answers/s", "cpu us/op", *("%s ms" % q for q in LOAD_COLUMNS)], rows))
            said = load_comparisons(bench, case)
            if said:
                lines.append(" ".join(said) + "\n")
    return lines


def metric_of(sample, metric):
    return sample.latency_ms[metric[:-3]] if metric.endswith("_ms") else getattr(sample, metric)


def load_comparisons(bench, case):
    values = {name: [v for s in found if (v := metric_of(s, case.compare)) is not None] for name, found in bench.samples[case.key].items()}
    what = {"cpu_us": "CPU", "ops_per_s": "Rate"}.get(case.compare, case.compare.removesuffix("_ms"))
    said = []
    for name in in_order(values):
        if name != "shoal" and values.get("shoal") and values[name] and not name.startswith("shoal,"):
            said.append("%s of shoal against %s: %s." % (what, name, stats.difference(values["shoal"], values[name]).text()))
    purged = {name: [v for s in found for v in s.purge_ms] for name, found in bench.samples[case.key].items()}
    if any(purged.values()):
        said.append("To find and delete what a tenant has took, median: %s." % ", ".join("%s %.1f ms" % (n, median(v)) for n, v in purged.items() if v))
    return said


def in_order(names):
    """Names of servers as reports list them."""
    return [n for n in SERVERS if n in names] + [n for n in names if n not in SERVERS]


def target_us(bench, case):
    """What a case must reach in cpu us per op, and how it is written; None where there is no target."""
    if case.target_over_one_shard:
        one = cpu(bench, case, "shoal")
        return one and (one * case.target_over_one_shard, "one shard x %.2f" % case.target_over_one_shard)
    base = cpu(bench, case, "floor")
    if base and case.target_over_floor_ratio:
        return base * case.target_over_floor_ratio, "floor + %.0f%%" % (100 * case.target_over_floor_ratio - 100)
    if base and case.target_over_floor_us:
        return base + case.target_over_floor_us, "floor + %.2f us" % case.target_over_floor_us
    return None


def txn_targets(bench, case):
    """(suffix, server, target in us, how it is written) of a case of the group txn."""
    plain, two = "shoal", "shoal, 2 shards"
    found = []
    if case.target_us:
        found.append(("", plain, case.target_us, "%.1f us" % case.target_us))
        found.append((", two shards", two, case.target_us_two_shards, "%.1f us" % case.target_us_two_shards))
    base = cpu(bench, cases.PLAIN, plain)
    if case.target_over_plain and base:
        found.append(("", plain, base * case.target_over_plain, "four SETs x %.1f" % case.target_over_plain))
        found.append((", two shards", two, base * case.target_over_plain_two_shards, "four SETs on one shard x %.1f" % case.target_over_plain_two_shards))
    return found


def txn_rows(bench):
    rows = []
    for case in cases.txn_cases():
        for suffix, server, target, written in txn_targets(bench, case):
            ours = cpu(bench, case, server)
            if ours is not None:
                others = ["%.3f" % v if (v := cpu(bench, case, n)) is not None else "-" for n in ("redis", "valkey")]
                verdict = "reached" if ours <= target else "missed by %.0f%%" % (100 * ours / target - 100)
                rows.append([case.title + suffix, "-", *others, "%.3f" % ours, "%.3f (%s)" % (target, written), verdict])
    return rows


def durability_rows(bench):
    """Against the targets."""
    rows = []
    for case in cases.durability_cases():
        ours = cpu(bench, case, "shoal")
        if ours is not None and case.target_us:
            others = ["%.3f" % v if (v := cpu(bench, case, n)) is not None else "-" for n in ("redis", "valkey")]
            verdict = "reached" if ours <= case.target_us else "missed by %.0f%%" % (100 * ours / case.target_us - 100)
            rows.append([case.title, "-", *others, "%.3f" % ours, "%.1f us" % case.target_us, verdict])
    one, two = "shoal", "shoal, 2 shards"
    goals = [
        ("memory at the peak of a save over the start", one, lambda s: 100 * (s["rss"][1] / s["rss"][0] - 1), "%+.0f%%", 100 * cases.SAVE_TARGET_PEAK),
        ("GET p99.9 of another client during a save", one, lambda s: s["during_ms"][1], "%.2f ms", cases.SAVE_TARGET_MS),
        ("start from a snapshot, two shards", two, lambda s: s["start_s"], "%.2f s", cases.START_TARGET_S),
    ]
    for title, name, value, shape, goal in goals:
        if name in bench.saves:
            ours = value(bench.saves[name])
            others = [shape % value(bench.saves[n]) if n in bench.saves else "-" for n in ("redis", "valkey")]
            rows.append([title, "-", *others, shape % ours, shape % goal, "reached" if ours <= goal else "missed"])
    return rows


def save_rows(bench):
    rows = []
    for name, s in bench.saves.items():
        growth = ["%.0f MB, %+.0f%%" % (peak / 1e6, 100 * (peak / start - 1)) for start, peak in (s["rss"], s["pss"])]
        gets = [" / ".join("%.2f" % v for v in s[when]) for when in ("before_ms", "loaded_ms", "during_ms")]
        rows.append([name, "%.2f" % s["seconds"], *growth, *gets, "%.0f MB" % (s["disk"] / 1e6), "%.2f" % s["start_s"]])
    return rows


def durability_tables(bench):
    out = "## A save, and starts\n\nEvery server may use both CPUs. Files are in %s, and in the page cache when a server starts.\n\n" % file_system()
    if bench.saves:
        out += (
            "BGSAVE of %s keys of 16 B with 64 B values (random hexadecimal digits), beside %s SETs a second (50 clients, pipeline 16), and what another client's GETs in "
            "a closed loop took before the writes, beside them, and during the save: p50 / p99.9 / longest, ms. Memory is the peak, and its "
            "growth over the peak beside the writes alone; children count. RSS has a page that parent and child share twice, PSS once. "
            "The start is from what was saved.\n\n"
        ) % ("{:,}".format(next(iter(bench.saves.values()))["keys"]), "{:,}".format(cases.SAVE_WRITES_PER_S))
        head = ["", "save, s", "RSS", "PSS", "GET before", "beside writes", "during the save", "on disk", "start, s"]
        out += table(head, save_rows(bench)) + "\n"
    if bench.log_starts:
        out += "A log (`everysec`, never rewritten) of %s SETs of as many keys:\n\n" % "{:,}".format(next(iter(bench.log_starts.values()))["keys"])
        out += table(["", "on disk", "start, s"], [[n, "%.0f MB" % (f["disk"] / 1e6), "%.2f" % f["start_s"]] for n, f in bench.log_starts.items()])
    return out


def types_rows(bench):
    rows = []
    for case in cases.types_cases():
        ours, theirs = cpu(bench, case, "shoal"), cpu(bench, case, "valkey")
        if ours is not None and theirs is not None:
            redis = "%.3f" % v if (v := cpu(bench, case, "redis")) is not None else "-"
            target = theirs * case.target_over_valkey
            verdict = "reached" if ours <= target else "missed by %.0f%%" % (100 * ours / target - 100)
            goal = "%.3f (Valkey x %.1f)" % (target, case.target_over_valkey)
            rows.append([case.title, "-", redis, "%.3f" % theirs, "%.3f" % ours, goal, verdict])
    for title, _, _, goal in cases.TYPES_MEMORY:
        found = bench.types_memory.get(title)
        if found:
            others = ["%.1f B" % found[n] if n in found else "-" for n in ("redis", "valkey")]
            verdict = "reached" if found["shoal"] <= goal else "missed by %.0f%%" % (100 * found["shoal"] / goal - 100)
            rows.append(["RSS per element, %s" % title, "-"] + others + ["%.1f B" % found["shoal"], "%d B" % goal, verdict])
    for title, found in bench.stalls.items():
        others = ["%.2f ms" % found[n][0] if n in found else "-" for n in ("redis", "valkey")]
        verdict = "reached" if found["shoal"][0] <= 1 else "missed"
        rows.append(["GET p99.9 of another client, %s" % title, "-"] + others + ["%.2f ms" % found["shoal"][0], "1 ms", verdict])
    return rows


def script_rows(bench):
    rows = []
    for case in cases.script_cases():
        ours, theirs = cpu(bench, case, "shoal"), cpu(bench, case, "valkey")
        if case.target_over_valkey:
            base, ratio, name = theirs, case.target_over_valkey, "Valkey"
        else:
            near, ours = next(c for c in cases.script_cases() if c.pipeline == case.pipeline and c.target_over_valkey), cpu(bench, case, "shoal, 2 shards")
            base, ratio, name = cpu(bench, near, "shoal"), case.target_over_near_two_shards, "one shard, own key"
        if ours is not None and base is not None:
            others = ["%.3f" % v if (v := cpu(bench, case, n)) is not None else "-" for n in ("redis", "valkey")]
            verdict = "reached" if ours <= base * ratio else "missed by %.0f%%" % (100 * ours / (base * ratio) - 100)
            title = "%s, pipeline %d%s" % (case.title, case.pipeline, "" if case.target_over_valkey else ", two shards")
            rows.append([title, "-", *others, "%.3f" % ours, "%.3f (%s x %.1f)" % (base * ratio, name, ratio), verdict])
    return rows


def pubsub_rows(bench):
    rows = []
    for title, _, _, _, ratio in cases.PUBSUB:
        found = {name: median(samples) for name, samples in bench.pubsub.get(title, {}).items()}
        if "valkey" in found:
            goal = found["valkey"] * ratio
            verdict = "reached" if found["shoal"] <= goal else "missed by %.0f%%" % (100 * found["shoal"] / goal - 100)
            redis = "%.3f" % found["redis"] if "redis" in found else "-"
            rows.append(["PUBLISH of %s, each" % title, "-", redis, "%.3f" % found["valkey"], "%.3f" % found["shoal"], "%.3f (Valkey x %.1f)" % (goal, ratio), verdict])
    return rows


def target_rows(bench, all_cases):
    rows = txn_rows(bench) + durability_rows(bench) + types_rows(bench) + script_rows(bench) + pubsub_rows(bench)
    for case in all_cases:
        target = target_us(bench, case)
        ours = cpu(bench, case, "shoal, 2 shards" if case.target_over_one_shard else "shoal")
        if not target or ours is None:
            continue
        others = ["%.3f" % v if (v := cpu(bench, case, n)) is not None else "-" for n in ("floor", "redis", "valkey")]
        title = case.title + (", two shards" if case.target_over_one_shard else "")
        verdict = "reached" if ours <= target[0] else "missed by %.0f%%" % (100 * ours / target[0] - 100)
        rows.append([title] + others + ["%.3f" % ours, "%.3f (%s)" % target, verdict])
    for (keys, ttl), found in sorted(bench.memory.items(), key=lambda item: (item[0][1], item[0][0])):
        goal = cases.MEMORY_TARGET[ttl]
        others = ["%.0f B" % found[n] if n in found else "-" for n in ("redis", "valkey")]
        verdict = "reached" if found["shoal"] <= goal else "missed by %.0f%%" % (100 * found["shoal"] / goal - 100)
        rows.append([memory_title(keys, ttl), "-"] + others + ["%.1f B" % found["shoal"], "%d B" % goal, verdict])
    return rows


def memory_title(keys, ttl):
    count = "%gM" % (keys / 1e6)
    return "RSS per key, 16 B key + 64 B value%s, %s keys" % (", TTL" if ttl else "", count)


# ---- Plots ---------------------------------------------------------------------------------------------------------


def plot_cpu(bench, all_cases, group, out):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [c for c in all_cases if c.group == group and c.key in bench.samples]
    names = [n for n in SERVERS if any(n in bench.samples[c.key] for c in shown)]
    if not shown:
        return None
    figure, axes = plt.subplots(1, len(shown), figsize=(2.3 * len(shown), 3.4))
    for axis, case in zip([axes] if len(shown) == 1 else axes, shown):
        here = [n for n in names if n in bench.samples[case.key]]
        used = [[s.cpu_us for s in bench.samples[case.key][n]] for n in here]
        middle = [median(u) for u in used]
        error = [[m - min(u) for m, u in zip(middle, used)], [max(u) - m for m, u in zip(middle, used)]]
        axis.bar(range(len(here)), middle, yerr=error, capsize=2, color=[COLOURS[n] for n in here])
        axis.set_xticks(range(len(here)), [n.replace(", ", ",\n") for n in here], rotation=90, fontsize=8)
        axis.set_title(case.title.replace(", ", "\n"), fontsize=9)
        axis.tick_params(axis="y", labelsize=8)
    figure.supylabel("server CPU per operation, us (median, whiskers: extremes)", fontsize=8)
    figure.tight_layout()
    path = os.path.join(out, "cpu-%s.png" % group)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return os.path.basename(path)


def plot_memory(bench, out):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    if not bench.memory:
        return None
    rows = sorted(bench.memory, key=lambda item: (item[1], item[0]))
    names = [n for n in SERVERS if n in bench.memory[rows[0]]]
    figure, axis = plt.subplots(figsize=(7, 3.4))
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        places = [r + i * width for r in range(len(rows))]
        axis.bar(places, [bench.memory[r].get(name, 0) for r in rows], width, label=name, color=COLOURS[name])
    axis.set_xticks([r + 0.4 - width / 2 for r in range(len(rows))], ["%gM%s" % (k / 1e6, ", TTL" if t else "") for k, t in rows])
    axis.set_ylabel("bytes of RSS per key")
    axis.legend(fontsize=8)
    figure.tight_layout()
    path = os.path.join(out, "memory.png")
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return os.path.basename(path)


# ---- The page ------------------------------------------------------------------------------------------------------

HEADINGS = {
    "small": "SET and GET of 64 B values, a million random keys, 50 clients",
    "large": "SET and GET of 16 KB values, ten thousand random keys, 50 clients",
    "shards": "Two shards against one, random keys over one port",
    "durability": "SET of 64 B values with the log at always, everysec and no, a million random keys, 50 clients",
    "cluster": "A node of a cluster that has all slots, beside a server that is alone",
    "types": "Data types; one key unless it says otherwise",
    "scripts": "Scripts that get and set one key of 100,000, 50 clients",
    "txn": "Several keys and transactions, random keys; an operation is the whole command or sequence",
}


def generic(line):
    """A command line without the accidents of one run."""
    text = " ".join("''" if word == "" else word for word in line)
    text = re.sub(r"\S*/(?=[\w.-]+(?: |$))(?<!--dir )", "", text)
    text = re.sub(r"--dir \S+", "--dir DIR", text)
    return re.sub(r"(--port|-p|floor) \d+", r"\1 PORT", text)


def write(bench, out):
    all_cases = cases.all_cases()
    about, programs = machine(), versions(bench)
    data = samples.document(bench, about, programs)
    samples.write(data, out)
    page.write(data, out)
    lines = ["# Shoal, Redis and Valkey on one machine, %s\n" % datetime.date.today().isoformat()]
    if bench.interrupted:
        lines.append("**Interrupted: cases are missing, or have fewer rounds than it says here.**\n")
    kind = "%s of %d interleaved rounds" % ("a quick look, medians" if bench.options.quick else "medians", bench.rounds)
    lines.append(
        "Made by `./dev bench`: %s, %.0f minutes. The server has CPU %s, the load CPU %s; with two shards the second one shares "
        "the CPU of the load, so compare the CPU per operation there, not the rate. `cpu` is the server's user and system microseconds per "
        "operation; +- is half the distance between the extremes, and 95%% the bootstrap interval of the median. Two servers differ where a test of Mann "
        "and Whitney over the rounds says so (p below 0.05). *floor* answers a constant (`bench/floor.c`): what the network alone costs here.\n"
        % (kind, bench.seconds / 60, bench.options.server_cpu, bench.options.load_cpu)
    )
    if bench.options.quick:
        lines.append("A quick look asks for 100,000 different keys at most, whatever the headings say.\n")
    lines.append(table(["machine", ""], about))
    lines.append(table(["program", "version"], programs))
    rows = target_rows(bench, all_cases)
    if rows:
        lines.append("## Against the targets\n")
        lines.append(table(["", "floor", "redis", "valkey", "shoal", "target", ""], rows))
    for group, heading in HEADINGS.items():
        shown = [c for c in all_cases if c.group == group and c.key in bench.samples]
        if not shown:
            continue
        lines.append("## %s\n" % heading)
        if group != "types":  # too many for one picture
            lines.append("![CPU per operation](%s)\n" % plot_cpu(bench, all_cases, group, out))
        for case in shown:
            lines.append("**%s**\n" % case.title)
            lines.append(table(["server", "cpu us/op", "", "95%", "ops/s", "", "p50 ms", "p95 ms", "p99 ms", "max ms"], case_rows(bench, case)))
            said = comparisons(bench, case)
            if said:
                lines.append(" ".join(said) + "\n")
    lines += load_sections(bench)
    if bench.memory:
        lines.append("## Memory per key\n")
        lines.append("RSS after the load minus RSS before it, by the number of keys; one fresh server each.\n")
        lines.append("![Memory per key](%s)\n" % plot_memory(bench, out))
        names = [n for n in SERVERS if n in next(iter(bench.memory.values()))]
        order = sorted(bench.memory, key=lambda item: (item[1], item[0]))
        lines.append(table([""] + names, [[memory_title(*r)] + ["%.1f B" % bench.memory[r][n] if n in bench.memory[r] else "-" for n in names] for r in order]))
    if bench.saves or bench.log_starts:
        lines.append(durability_tables(bench))
    if bench.types_memory or bench.stalls:
        lines.append(types_tables(bench))
    if bench.pubsub:
        lines.append(pubsub_table(bench))
    lines += figure_sections(bench)
    lines.append("## Commands\n")
    lines.append("```\n%s\n```\n" % "\n".join([generic(line) for line in bench.lines.values()] + ([generic(bench.load_line)] if bench.load_line else [])))
    lines.append(
        "`-t`, `-n`, `-P`, `-d` and `-r` vary by case as the tables say. Before GET and SET are measured every key of the range is "
        "set once. All samples are in `samples.json` and `samples.csv` (`bench/README.md` says how to read them).\n"
    )
    path = os.path.join(out, "report.md")
    with open(path, "w") as f:
        f.write("\n".join(lines))
    return path


def figure_sections(bench):
    """Of what has columns of its own."""
    lines = []
    for module in (replication, tls):
        shown = {key: f for key, f in bench.figures.items() if f["group"] == module.GROUP}
        if shown:
            lines.append("## %s\n" % module.HEADING)
        for key, figures in shown.items():
            columns = next(c for begin, c in module.COLUMNS.items() if key.startswith(begin))
            rows = [[name] + [shape % median(found[metric]) for metric, _, shape in columns] for name, found in figures["servers"].items()]
            lines.append("**%s%s**\n" % (figures["title"][:1].upper(), figures["title"][1:]))
            lines.append(table([""] + [heading for _, heading, _ in columns], rows))
    return lines


def pubsub_table(bench):
    names = [n for n in SERVERS if any(n in found for found in bench.pubsub.values())]
    rows = [[title] + ["%.2f" % median(found[n]) if n in found else "-" for n in names] for title, found in bench.pubsub.items()]
    return "## Publish and subscribe\n\nThe server's CPU us for each message that arrives.\n\n" + table([""] + names, rows)


def types_tables(bench):
    names = [n for n in SERVERS if any(n in found for found in [*bench.types_memory.values(), *bench.stalls.values()])]
    out = "## Memory per element, and what huge values cost others\n\n"
    if bench.types_memory:
        out += table([""] + names, [[title] + ["%.1f B" % found[n] if n in found else "-" for n in names] for title, found in bench.types_memory.items()]) + "\n"
    if bench.stalls:
        out += "Another client's GETs in a closed loop meanwhile: p99.9 / longest, ms.\n\n"
        out += table([""] + names, [[title] + ["%.2f / %.2f" % found[n][:2] if n in found else "-" for n in names] for title, found in bench.stalls.items()])
    return out


def readme_block(bench, report_path):
    rows = []
    for case in cases.speed_cases():
        if case.group == "small":
            values = ["%.2f" % v if (v := cpu(bench, case, n)) is not None else "-" for n in ("floor", "shoal", "valkey", "redis")]
            rows.append([case.title + ", server CPU us/op"] + values)
    for (keys, ttl), found in sorted(bench.memory.items(), key=lambda item: (item[0][1], item[0][0])):
        values = ["%.0f B" % found[n] if n in found else "-" for n in ("shoal", "valkey", "redis")]
        rows.append([memory_title(keys, ttl), "-"] + values)
    for case in cases.types_cases():
        if case.pipeline == 16:
            values = ["%.2f" % v if (v := cpu(bench, case, n)) is not None else "-" for n in ("shoal", "valkey", "redis")]
            rows.append([case.title + ", server CPU us/op", "-"] + values)
    for title, found in bench.types_memory.items():
        values = ["%.0f B" % found[n] if n in found else "-" for n in ("shoal", "valkey", "redis")]
        rows.append(["RSS per element, %s" % title, "-"] + values)
    text = table(["", "network floor", "Shoal", "Valkey", "Redis"], rows)
    named = "; ".join("%s: %s" % row for row in versions(bench) if row[0] != "load")
    return "%s\nOne server thread each, load on another CPU, medians of %d rounds; [the whole report](%s). %s.\n" % (
        text, bench.rounds, report_path, named,
    )  # fmt: skip


def update_readme(bench, path, report_path):
    with open(path) as f:
        text = f.read()
    before, _, rest = text.partition(README_BEGIN)
    _, _, after = rest.partition(README_END)
    if not after:
        raise SystemExit("bench: README.md has no %s ... %s" % (README_BEGIN, README_END))
    with open(path, "w") as f:
        f.write("%s%s\n%s%s%s" % (before, README_BEGIN, readme_block(bench, report_path), README_END, after))
