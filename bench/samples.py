# SPDX-License-Identifier: BSD-3-Clause
"""samples: what a run has measured, as rows of one shape, in files that outlive it: samples.json (bench/samples.schema.json) and samples.csv."""

import csv
import json
import os

import replication

SCHEMA = "shoal-bench/2"

# metric -> (unit, which is better, what it is)
METRICS = {
    "cpu_us": ("us", "lower", "user and system time of the server for one operation"),
    "ops_per_s": ("1/s", "higher", "operations a second"),
    "energy_uj": ("uJ", "lower", "energy of all processors, load and system included, for one operation"),
    "p50_ms": ("ms", "lower", "latency, median"),
    "p95_ms": ("ms", "lower", "latency, 95%"),
    "p99_ms": ("ms", "lower", "latency, 99%"),
    "p99.9_ms": ("ms", "lower", "latency, 99.9%"),
    "p99.99_ms": ("ms", "lower", "latency, 99.99%"),
    "max_ms": ("ms", "lower", "latency, the longest"),
    "bytes_each": ("B", "lower", "resident memory for each key or element"),
    "command_ms": ("ms", "lower", "how long the command itself took"),
    "save_s": ("s", "lower", "from BGSAVE to its end"),
    "start_s": ("s", "lower", "from the start of the process until it serves its keys"),
    "disk_bytes": ("B", "lower", "what its files take on the disk"),
    "peak_rss_bytes": ("B", "lower", "resident memory at the peak, with children"),
    **replication.METRICS,
}

FIELDS = ("group", "case", "server", "round", "at_s", "metric", "unit", "value")


def rows(bench):
    """(case key, description of the case, server, round, seconds since the begin, metric, value) of all that a run has measured."""
    for case, by_server in bench.samples.items():
        about = describe(bench.cases[case])
        for server, found in by_server.items():
            for turn, s in enumerate(found, 1):
                values = {"cpu_us": s.cpu_us, "ops_per_s": s.ops_per_s, "energy_uj": s.energy_uj, **{"%s_ms" % q: v for q, v in s.latency_ms.items()}}
                for metric, value in values.items():
                    if value is not None:
                        yield case, about, server, turn, s.at_s, metric, value
                for value in s.purge_ms:
                    yield case, about, server, turn, s.at_s, "command_ms", value
    for group, title, key, server, values in single(bench):
        for metric, found in values.items():
            for turn, value in enumerate(found, 1):
                yield key, {"group": group, "title": title}, server, turn, 0, metric, value


def single(bench):
    """What has no rounds, or is no run of a load: (group, title, key, server, {metric: values})."""
    for (keys, ttl), found in bench.memory.items():
        title = "%s keys of 16 B with 64 B%s" % ("{:,}".format(keys), ", TTL" if ttl else "")
        for server, value in found.items():
            yield "memory", title, "memory/%d%s" % (keys, "/ttl" if ttl else ""), server, {"bytes_each": [value]}
    for title, found in bench.types_memory.items():
        for server, value in found.items():
            yield "memory", title, "memory/%s" % title, server, {"bytes_each": [value]}
    for title, found in bench.stalls.items():
        for server, (late, longest, took) in found.items():
            yield "stalls", title, "stalls/%s" % title, server, {"p99.9_ms": [late], "max_ms": [longest], "command_ms": [took] if took else []}
    for title, found in bench.pubsub.items():
        for server, values in found.items():
            yield "pubsub", title, "pubsub/%s" % title, server, {"cpu_us": values}
    for server, s in bench.saves.items():
        values = {"save_s": s["seconds"], "start_s": s["start_s"], "disk_bytes": s["disk"], "peak_rss_bytes": s["rss"][1], "p99.9_ms": s["during_ms"][1]}
        yield "durability", "a save beside writes", "durability/save", server, {m: [v] for m, v in values.items()}
    for server, s in bench.log_starts.items():
        yield "durability", "a start from a log", "durability/start", server, {"start_s": [s["start_s"]], "disk_bytes": [s["disk"]]}
    for key, figures in bench.figures.items():
        for server, values in figures["servers"].items():
            yield figures["group"], figures["title"], key, server, values


def describe(case):
    return {
        "group": case.group, "title": case.title, "pipeline": case.pipeline, "value_bytes": case.value_bytes, "keys": case.keys, "clients": case.clients,
    }  # fmt: skip


def document(bench, machine, programs):
    """The whole of samples.json."""
    found = {"cases": {}, "samples": []}
    for case, about, server, turn, at_s, metric, value in rows(bench):
        found["cases"][case] = about
        found["samples"].append({"case": case, "server": server, "round": turn, "at_s": round(at_s, 2), "metric": metric, "value": round(value, 5)})
    return {
        "schema": SCHEMA,
        "made": {
            "at": bench.at, "seconds": round(bench.seconds, 1), "rounds": bench.rounds, "quick": bool(bench.options.quick),
            "interrupted": bench.interrupted, "commit": bench.commit, "arguments": list(bench.arguments),
        },
        "machine": dict(machine),
        "programs": dict(programs),
        "lines": {name: " ".join(line) for name, line in bench.lines.items()},
        "metrics": {name: {"unit": unit, "better": better, "what": what} for name, (unit, better, what) in METRICS.items()},
        "curves": bench.curves,
        **found,
    }  # fmt: skip


def write(data, out):
    """Both files. Long lists have one entry a line, for those who look at them with other tools."""
    complaint = complaint_about(data)
    assert not complaint, complaint
    with open(os.path.join(out, "samples.json"), "w") as f:
        parts = []
        for name, value in data.items():
            if isinstance(value, list) and value:
                text = "[\n  %s\n ]" % ",\n  ".join(json.dumps(entry) for entry in value)
            else:
                text = json.dumps(value, indent=1).replace("\n", "\n ")
            parts.append(" %s: %s" % (json.dumps(name), text))
        f.write("{\n%s\n}\n" % ",\n".join(parts))
    with open(os.path.join(out, "samples.csv"), "w", newline="") as f:
        lines = csv.writer(f)
        lines.writerow(FIELDS)
        for s in data["samples"]:
            group, unit = data["cases"][s["case"]]["group"], data["metrics"][s["metric"]]["unit"]
            lines.writerow([group, s["case"], s["server"], s["round"], s["at_s"], s["metric"], unit, s["value"]])


def read(path):
    """Of a results folder, or of the file itself. Says what is wrong with it as ValueError."""
    if os.path.isdir(path):
        path = os.path.join(path, "samples.json")
    try:
        with open(path) as f:
            data = json.load(f)
    except (OSError, ValueError) as e:
        raise ValueError("%s cannot be read: %s" % (path, e)) from None
    complaint = complaint_about(data)
    if complaint:
        raise ValueError("%s is not what bench/samples.schema.json describes: %s" % (path, complaint))
    return data


def by_case(data):
    """case key -> metric -> server -> values in the order of rounds."""
    found = {}
    for s in sorted(data["samples"], key=lambda s: s["round"]):
        found.setdefault(s["case"], {}).setdefault(s["metric"], {}).setdefault(s["server"], []).append(s["value"])
    return found


# ---- The schema ----------------------------------------------------------------------------------------------------

TYPES = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
}


def complaint_about(data):
    """What is wrong with the content of a samples.json; None if it is right."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "samples.schema.json")) as f:
        complaint = mismatch(json.load(f), data, "it")
    if complaint:
        return complaint
    for s in data["samples"]:
        for name, known in (("case", data["cases"]), ("metric", data["metrics"])):
            if s[name] not in known:
                return "a sample has the %s '%s', which is not described" % (name, s[name])
    return None


def mismatch(schema, value, where):
    """What the schema says against a value; None if nothing. Knows the words that our schema uses."""
    if "const" in schema and value != schema["const"]:
        return "%s is %.40r, not %r" % (where, value, schema["const"])
    if "enum" in schema and value not in schema["enum"]:
        return "%s is %.40r, none of %s" % (where, value, ", ".join(schema["enum"]))
    if "type" in schema and not TYPES[schema["type"]](value):
        return "%s is %.40r, no %s" % (where, value, schema["type"])
    parts = []
    if isinstance(value, dict):
        missing = [name for name in schema.get("required", ()) if name not in value]
        if missing:
            return "%s has no %s" % (where, ", ".join(missing))
        named = schema.get("properties", {})
        parts = [(named.get(k, schema.get("additionalProperties", {})), v, "%s.%s" % (where, k)) for k, v in value.items()]
    elif isinstance(value, list) and "items" in schema:
        parts = [(schema["items"], v, "%s[%d]" % (where, i)) for i, v in enumerate(value)]
    for part in parts:
        complaint = mismatch(*part)
        if complaint:
            return complaint
    return None
