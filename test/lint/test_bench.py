# SPDX-License-Identifier: BSD-3-Clause
"""What the benchmark suite says of its samples: figures with known answers, files that follow their schema, and no word too many."""

import csv
import importlib.util
import itertools
import json
import os
import random
import sys

import pytest
import tree

BENCH = os.path.join(tree.ROOT, "bench")
sys.path.insert(0, BENCH)
import cases  # noqa: E402
import hits  # noqa: E402
import load  # noqa: E402
import progress  # noqa: E402
import replication  # noqa: E402
import report  # noqa: E402
import samples  # noqa: E402
import servers  # noqa: E402
import stats  # noqa: E402
import tls  # noqa: E402
import workloads  # noqa: E402


def the_program():
    """bench/run.py, which is not the only run.py that tests look at."""
    spec = importlib.util.spec_from_file_location("bench_run", os.path.join(BENCH, "run.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bench_run = the_program()

# ---- Statistics ----------------------------------------------------------------------------------------------------


def test_the_test_of_mann_and_whitney_has_the_published_values():
    # All of one side below the other: 2 of C(n+m, n) orders are as extreme.
    assert stats.mann_whitney([1, 2, 3, 4], [5, 6, 7, 8]) == pytest.approx(2 / 70)
    assert stats.mann_whitney([1, 2, 3], [4, 5, 6]) == pytest.approx(2 / 20)
    # scipy.stats.mannwhitneyu(..., method="exact")
    assert stats.mann_whitney([19, 22, 16, 29, 24], [20, 11, 17, 12]) == pytest.approx(0.1111111, abs=1e-6)
    assert stats.mann_whitney([1, 1, 1], [1, 1, 1]) == 1.0


def brute_force(ours, theirs):
    both = list(ours) + list(theirs)
    ranks = [sum(w < v for w in both) + (sum(w == v for w in both) + 1) / 2 for v in both]
    middle = len(ours) * (len(both) + 1) / 2
    distance = abs(sum(ranks[: len(ours)]) - middle)
    sums = [sum(chosen) for chosen in itertools.combinations(ranks, len(ours))]
    return sum(abs(s - middle) >= distance - 1e-9 for s in sums) / len(sums)


def test_probabilities_are_those_of_all_orders_also_with_ties():
    rng = random.Random(5)
    for _ in range(40):
        ours = [rng.randrange(6) for _ in range(rng.randrange(1, 6))]
        theirs = [rng.randrange(6) for _ in range(rng.randrange(1, 6))]
        assert stats.mann_whitney(ours, theirs) == pytest.approx(brute_force(ours, theirs)), (ours, theirs)


def test_many_samples_are_near_what_counting_gives():
    rng = random.Random(6)
    for shift in (0, 0.5, 1):
        ours, theirs = [rng.gauss(0, 1) for _ in range(15)], [rng.gauss(shift, 1) for _ in range(15)]
        counted = stats.mann_whitney(ours, theirs)
        stats_most, stats.EXACT_MOST = stats.EXACT_MOST, 0
        try:
            assert stats.mann_whitney(ours, theirs) == pytest.approx(counted, abs=0.02)
        finally:
            stats.EXACT_MOST = stats_most


def test_servers_that_are_alike_are_rarely_said_to_differ():
    rng = random.Random(7)
    wrong = 0
    for _ in range(200):
        wrong += stats.mann_whitney(*([rng.lognormvariate(0, 0.2) for _ in range(7)] for _ in range(2))) <= stats.ALPHA
    assert wrong <= 0.08 * 200  # by construction about 0.05; the draws are always the same


def test_what_is_said_follows_from_the_rounds():
    slow, fast = [2.0, 2.1, 2.2, 2.05], [1.0, 1.1, 1.05, 1.02]
    assert stats.difference(slow, fast).kind == "more" and stats.difference(fast, slow).kind == "less"
    assert stats.difference(slow, [1.1] * 4).text() == "+89% (95%: x 1.82 to 2.00, p = 0.029)"
    assert "no difference" in stats.difference([1.0, 1.2, 1.1, 1.3], [1.05, 1.15, 1.25, 1.0]).text()
    assert "too few" in stats.difference(slow[:3], fast[:3]).text() and "too few" in stats.difference(slow, []).text()


def test_the_interval_holds_the_median_and_narrows_with_more_rounds():
    rng = random.Random(8)
    few, many = [rng.gauss(10, 1) for _ in range(5)], [rng.gauss(10, 1) for _ in range(200)]
    (a, b), (c, d) = stats.interval(few), stats.interval(many)
    assert a <= stats.median(few) <= b and c <= stats.median(many) <= d
    assert d - c < b - a
    assert stats.interval([3.0]) is None
    low, high = stats.ratio_interval([2.0, 2.0], [1.0, 1.0])
    assert low == high == 2


def test_a_round_that_stands_apart_is_named_and_others_are_not():
    assert stats.outliers([1.0, 1.1, 0.9, 1.05, 5.0, 1.02]) == [4]
    assert stats.outliers([1.0, 1.1, 0.9, 1.05, 1.02]) == []
    assert stats.outliers([1.0, 9.0]) == []


def test_of_many_tests_only_those_count_that_chance_does_not_explain():
    assert stats.survivors([0.001] + [0.5] * 19) == [True] + [False] * 19
    assert stats.survivors([0.04] + [0.5] * 19) == [False] * 20
    assert stats.survivors([0.01, 0.02, 0.03]) == [True] * 3


# ---- Progress ------------------------------------------------------------------------------------------------------


def test_time_left_follows_what_the_steps_have_taken():
    now, said = [0.0], []
    steps = progress.Progress(say=said.append, clock=lambda: now[0])
    for _ in range(4):
        assert not steps.step("plan", 100)
    steps.start()
    assert steps.left() == 400
    for turn in range(4):
        assert steps.step("step %d" % turn, 100)
        now[0] += 200  # twice as long as expected
    assert "step 0 (0%, about 7 min left)" in said[0]
    assert "step 2 (50%, about 7 min left)" in said[2] and "step 3 (75%, about 3 min left)" in said[3]


# ---- Files ---------------------------------------------------------------------------------------------------------


def made_up_run(tmp_path, monkeypatch, interrupt=None):
    """A Bench whose servers are random numbers: everything after the measuring is the real thing."""
    monkeypatch.setattr(report, "versions", lambda bench: [("shoal", "made up")])
    monkeypatch.setattr(report, "plot_cpu", lambda bench, all_cases, group, out: "cpu-%s.png" % group)
    monkeypatch.setattr(report, "plot_memory", lambda bench, out: "memory.png")
    monkeypatch.setattr(sys, "argv", ["run.py"])
    options = bench_run.parse_arguments()
    monkeypatch.setattr(bench_run.servers, "find_valkey", lambda given: None)
    bench = bench_run.Bench(options)
    bench.progress = progress.Progress(say=lambda text: None)
    rng = random.Random(9)

    def everything():
        for turn in range(7):
            if bench.progress.step("made up", 1):
                for case in cases.speed_cases():
                    for name, slow in (("shoal", 1.0), ("redis", 1.5), ("valkey", 1.0)):
                        if interrupt and turn == 2:
                            raise KeyboardInterrupt
                        used = slow * rng.uniform(0.95, 1.05) * (4 if name == "valkey" and turn == 6 else 1)
                        bench.keep(case, name, load.Sample(1000, 1, used * 1e6, {"p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 4.0}))
        bench.memory[1_000_000, False] = {"shoal": 100.0, "redis": 170.0}
        bench.stalls["a stall"] = {"shoal": (1.0, 2.0, None)}
        bench.pubsub["64 B to 10,000 subscribers"] = {"shoal": [1.0, 2.0]}
        if not bench.progress.planning:
            for key, columns in replication.COLUMNS.items():
                for used in (1.0, 2.0, 3.0):
                    bench.keep_figures("replication", key, "as made up", "shoal", {metric: used for metric, _, _ in columns})
            bench.keep_figures("tls", "tls/get/P1", "GET within TLS", "valkey", {"cpu_us": 17.125})

    bench.everything = everything
    bench.run()
    return bench, report.write(bench, str(tmp_path))


def test_a_run_leaves_samples_that_follow_the_schema(tmp_path, monkeypatch):
    bench, path = made_up_run(tmp_path, monkeypatch)
    data = samples.read(str(tmp_path))
    assert data["made"]["rounds"] == 7 and not data["made"]["interrupted"] and data["machine"]["CPU"]
    found = samples.by_case(data)["small/set/P1/64"]["cpu_us"]
    assert {name: len(values) for name, values in found.items()} == {"shoal": 7, "redis": 7, "valkey": 7}
    assert [round(s.cpu_us, 5) for s in bench.samples["small/set/P1/64"]["redis"]] == found["redis"]
    with open(tmp_path / "samples.csv", newline="") as f:
        lines = list(csv.DictReader(f))
    assert len(lines) == len(data["samples"]) and tuple(lines[0]) == samples.FIELDS
    key = [("case", str), ("server", str), ("round", int), ("metric", str), ("value", float)]
    assert [[kind(line[k]) for k, kind in key] for line in lines] == [[s[k] for k, _ in key] for s in data["samples"]]
    used = {s["metric"] for s in data["samples"]}
    assert {"cpu_us", "ops_per_s", "p99_ms", "bytes_each"} <= used <= set(samples.METRICS)
    with open(path) as f:
        text = f.read()
    assert "CPU of shoal against redis: -3" in text and "CPU of shoal against valkey: no difference" in text
    assert "Round 7 of valkey stands apart" in text and "Interrupted" not in text
    assert "## Replication" in text and "| shoal | 2.00 | 2.00 | +2% |" in text and "| valkey | 17.125 |" in text
    assert samples.by_case(data)["replication/sync"]["sync_s"]["shoal"] == [1.0, 2.0, 3.0]


def test_energy_is_told_where_the_machine_tells_it(tmp_path, monkeypatch):
    monkeypatch.setattr(servers, "POWERCAP", str(tmp_path / "none"))
    assert servers.energy_uj() is None and load.energy_since(None) is None
    for name, value in (("intel-rapl:0", 100), ("intel-rapl:1", 50), ("intel-rapl:0:0", 7), ("intel-rapl", None)):
        (tmp_path / name).mkdir()
        if value is not None:
            (tmp_path / name / "energy_uj").write_text("%d\n" % value)
    monkeypatch.setattr(servers, "POWERCAP", str(tmp_path))
    assert servers.energy_uj() == 150  # a package's parts are in it already
    assert load.energy_since(100) == 50 and load.energy_since(200) is None  # the counter has begun anew
    bench, _ = made_up_run(tmp_path, monkeypatch)
    case = cases.speed_cases()[0]
    assert report.energy(bench, case) == []
    for sample in bench.samples[case.key]["shoal"]:
        sample.energy_uj = 2.5
    assert report.energy(bench, case) == ["Energy of the machine, uJ/op: shoal 2.50."]


def test_each_metric_of_a_table_is_described():
    named = {metric for module in (replication, tls) for columns in module.COLUMNS.values() for metric, _, _ in columns}
    assert named <= set(samples.METRICS)


def test_the_notebook_reads_what_a_run_leaves(tmp_path, monkeypatch, made_up_samples, capsys):
    with open(os.path.join(BENCH, "samples.ipynb")) as f:
        cells = [c for c in json.load(f)["cells"] if c["cell_type"] == "code"]
    assert all(c["outputs"] == [] and c["execution_count"] is None for c in cells)
    programs = [compile("".join(c["source"]), "cell", "exec") for c in cells]
    matplotlib = pytest.importorskip("matplotlib")
    for name in ("pandas", "seaborn"):
        pytest.importorskip(name)
    matplotlib.use("Agg")
    data = json.loads(made_up_samples)
    data["curves"].append({"case": "open/x", "server": "shoal", "round": 1, "percentiles": [[50, 100], [99, 900], [100, 5000]], "series": []})
    samples.write(data, str(tmp_path))
    monkeypatch.setenv("SHOAL_RESULTS", str(tmp_path))
    names = {}
    for program in programs:
        exec(program, names)
    assert "%d samples" % len(data["samples"]) in capsys.readouterr().out
    assert names["cpu"].loc["small/set/P1/64", "redis"] > 1 and not names["curves"].empty


def test_what_an_interrupted_run_has_done_is_kept(tmp_path, monkeypatch, capsys):
    bench, path = made_up_run(tmp_path, monkeypatch, interrupt=True)
    assert bench.interrupted and "kept" in capsys.readouterr().err
    data = samples.read(str(tmp_path))
    assert data["made"]["interrupted"]
    assert len(samples.by_case(data)["small/get/P64/64"]["cpu_us"]["shoal"]) == 2
    with open(path) as f:
        text = f.read()
    assert "Interrupted" in text and "too few rounds to tell" in text


BROKEN = {
    "another schema": lambda d: d.update(schema="shoal-bench/1"),
    "no machine": lambda d: d.pop("machine"),
    "a value that is text": lambda d: d["samples"][3].update(value="3"),
    "a round that is no number": lambda d: d["samples"][0].update(round=1.5),
    "an unknown case": lambda d: d["samples"][0].update(case="nosuch"),
    "an unknown metric": lambda d: d["samples"][0].update(metric="nosuch"),
    "neither lower nor higher": lambda d: d["metrics"]["cpu_us"].update(better="blue"),
    "a curve without percentiles": lambda d: d["curves"].append({"case": "x", "server": "y", "round": 1, "series": []}),
}


@pytest.fixture(scope="module")
def made_up_samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made-up")
    with pytest.MonkeyPatch.context() as monkeypatch:
        made_up_run(folder, monkeypatch)
    return (folder / "samples.json").read_text()


@pytest.mark.parametrize("how", BROKEN)
def test_samples_that_break_the_schema_are_refused(tmp_path, made_up_samples, how):
    data = json.loads(made_up_samples)
    BROKEN[how](data)
    with open(tmp_path / "samples.json", "w") as f:
        json.dump(data, f)
    with pytest.raises(ValueError, match="samples.schema.json"):
        samples.read(str(tmp_path))


def test_the_page_of_the_suite_names_every_column():
    page = tree.read("bench/README.md")
    assert all("`%s`" % name in page for name in samples.FIELDS)


def test_a_quick_look_is_at_cases_that_exist_and_can_show_a_difference(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run.py", "--quick"])
    options = bench_run.parse_arguments()
    names = [case.name for case in cases.all_cases() + workloads.all_loads()] + ["memory/%d" % keys for keys, _ in cases.MEMORY]
    assert all(any(name.startswith(begin) for name in names) for begin in cases.QUICK)
    picked = [name for name in names if bench_run.chosen(options, name)]
    assert 8 <= len(picked) <= 20, picked
    rounds = bench_run.Bench(options).rounds
    assert stats.least_p(rounds, rounds) <= stats.ALPHA
    options.only = ["stalls"]
    assert bench_run.chosen(options, "stalls") and not bench_run.chosen(options, picked[0])


def test_the_plan_of_a_quick_look_is_about_two_minutes(monkeypatch):
    """By its own estimates, which are those of a quiet machine; nothing is started."""
    monkeypatch.setattr(sys, "argv", ["run.py", "--quick"])
    monkeypatch.setattr(bench_run.servers, "find_valkey", lambda given: "/no/valkey-server")
    monkeypatch.setattr(bench_run.servers, "benchmark_beside", lambda path: "/no/valkey-benchmark")
    bench = bench_run.Bench(bench_run.parse_arguments())
    bench.redis = "/no/redis-server"
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    bench.everything()
    assert 45 <= bench.progress.expected <= 150, bench.progress.expected


def test_every_case_has_a_name_of_its_own():
    keys = [case.key for case in cases.all_cases()]
    assert len(keys) == len(set(keys))


# ---- Hit ratios ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ("zipf", "scan", "changing"))
def test_a_trace_is_what_it_says(kind):
    """The same for all servers; what is walked over comes once and does not count; favourites change only where they are to."""
    batches = [hits.Trace(kind, 1000, 0.9, 1).batch(0) for _ in range(2)]
    assert batches[0] == batches[1]
    trace = hits.Trace(kind, 1000, 0.9, 1)
    names = [trace.batch(n / 10) for n in range(200)]
    walked = [name for batch in names for name, counts in batch if not counts]
    assert len(set(walked)) == len(walked) and (len(walked) == 200 * 34) == (kind == "scan")
    first, last = ({name for batch in part for name, counts in batch if counts} for part in (names[:20], names[-20:]))
    favourite = max(first, key=lambda name: sum((name, True) in batch for batch in names[:20]))
    seen = sum(batch.count((favourite, True)) for batch in names[-20:])
    assert (seen < 20) == (kind == "changing")
