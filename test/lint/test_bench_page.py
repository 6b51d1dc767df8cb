# SPDX-License-Identifier: BSD-3-Clause
"""The page of a benchmark run stands alone and is well-formed whatever is missing; comparing two runs tells what became slower."""

import copy
import json
import math
import os
import random
import re
import subprocess
import sys
import xml.etree.ElementTree

import pytest
import tree

BENCH = os.path.join(tree.ROOT, "bench")
sys.path.insert(0, BENCH)
import cases  # noqa: E402
import compare  # noqa: E402
import page  # noqa: E402
import plots  # noqa: E402
import samples  # noqa: E402
import workloads  # noqa: E402

SPEEDS = {"floor": 0.8, "shoal": 1.0, "shoal, 2 shards": 1.1, "valkey": 1.4, "redis": 1.7, "valkey, 2 threads": 1.5, "10.0.0.1:6379": 2.0}


def some_cases():
    """Two of each group are enough to draw all that a page has."""
    found = {}
    for case in cases.speed_cases() + cases.types_cases() + workloads.all_loads():
        found.setdefault(case.group, []).append(case)
    return [case for group in found.values() for case in group[::4][:2] or group[:1]]


def made_up(rounds=7, names=tuple(SPEEDS), seed=1, slower=(), by=1.0):
    """A document as a run of everything leaves it; `slower` are cases where Shoal takes `by` times as long."""
    rng = random.Random(seed)
    found = {"cases": {}, "samples": [], "curves": []}
    for case in some_cases():
        found["cases"][case.key] = samples.describe(case)
        for name in names:
            for turn in range(1, rounds + 1):
                slow = SPEEDS[name] * rng.uniform(0.97, 1.03) * (by if name == "shoal" and case.key in slower else 1)
                for metric, value in (("cpu_us", slow), ("ops_per_s", 1e5 / slow), ("p99_ms", slow)):
                    found["samples"].append({"case": case.key, "server": name, "round": turn, "at_s": 1.0 * turn, "metric": metric, "value": value})
                percentiles = [[100 * (1 - 10 ** (-k / 10)), 100.0 * slow * (1 + k)] for k in range(40)] + [[100, 9e5]]
                series = [[i / 10, 100 if i else 0, 100.0, 300.0 * slow, 900.0] for i in range(20)]
                found["curves"].append({"case": case.key, "server": name, "round": turn, "rate": 1e4, "percentiles": percentiles, "series": series})
    found["cases"]["memory/1"] = {"group": "memory", "title": "keys <b>&amp; values"}
    found["samples"] += [{"case": "memory/1", "server": n, "round": 1, "at_s": 0, "metric": "bytes_each", "value": 100 * SPEEDS[n]} for n in names]
    return {
        "schema": samples.SCHEMA,
        "made": {"at": "2026-01-02T03:04:05+00:00", "seconds": 1, "rounds": rounds, "quick": False, "interrupted": False, "commit": "abc1234", "arguments": []},
        "machine": {"CPU": "a <cpu>"}, "programs": {"shoal": "1"}, "lines": {"shoal": "a && b"},
        "metrics": {name: {"unit": unit, "better": better, "what": what} for name, (unit, better, what) in samples.METRICS.items()},
        **found,
    }  # fmt: skip


@pytest.fixture(scope="module")
def whole():
    data = made_up()
    assert samples.complaint_about(data) is None
    assert set(SLOW) <= data["cases"].keys()
    return page.render(data)


def check_page(text):
    assert text.startswith("<!doctype html>") and text.count("<h1>") == 1
    # Well-formed but for two tags that HTML does not close, and one attribute without quotes.
    body = re.sub(r"<(meta[^>]*)>", r"<\1/>", text[len("<!doctype html>") :]).replace("class=soft", 'class="soft"')
    root = xml.etree.ElementTree.fromstring(body)
    for element in root.iter():
        for name, value in element.attrib.items():
            assert "nan" not in value.split() and "inf" not in value, (element.tag, name, value)
            if name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height") and element.tag != "svg":
                assert -1 <= float(value) <= 6000, (element.tag, name, value)
    return root


def test_the_page_is_well_formed_and_names_every_case(whole):
    root = check_page(whole)
    text = " ".join(root.itertext())
    for case in some_cases():
        assert case.title in text
    assert "keys <b>&amp; values" in text and "a <cpu>" in text and "10.0.0.1:6379" in text
    assert len(root.findall(".//svg")) > 15


def test_the_page_needs_nothing_else(whole):
    assert not re.search(r"https?://|<script|<link|<img|@import|url\(|src=|href=", whole)


def test_the_page_is_for_light_dark_and_phones(whole):
    assert "prefers-color-scheme:dark" in whole and 'name="viewport"' in whole
    light, dark = (dict(re.findall(r"(--\w+):(#\w+)", part)) for part in re.findall(r":root\{([^}]*)\}", page.STYLE))
    assert light.keys() == dark.keys() and all(light[name] != dark[name] for name in light)
    used = set(re.findall(r"var\((--\w+)\)", page.STYLE)) - {"--c"}
    assert used <= light.keys()


def test_classes_of_pictures_have_a_style(whole):
    used = {word for words in re.findall(r'class="([^"]+)"', whole) for word in words.split()}
    assert used <= set(re.findall(r"\.([a-z]\w*)", page.STYLE)) | {"good", "bad"}, used


LEAN = {
    "one round": made_up(rounds=1),
    "two rounds": made_up(rounds=2),
    "no other server": made_up(rounds=4, names=("shoal",)),
    "no shoal": made_up(rounds=4, names=("valkey", "10.0.0.1:6379")),
}


@pytest.mark.parametrize("how", [*LEAN, "nothing", "no curves", "zeros", "no rate kept"])
def test_the_page_lives_with_what_is_missing(how):
    data = copy.deepcopy(LEAN.get(how) or LEAN["two rounds"])
    if how == "nothing":
        data.update(cases={}, samples=[], curves=[])
    if how == "no curves":
        data["curves"] = []
    for s in data["samples"]:
        if how == "zeros" or how == "no rate kept" and s["case"].startswith("ceiling"):
            s["value"] = 0
    data["made"]["interrupted"] = True
    assert "Interrupted" in page.render(data)
    check_page(page.render(data))


def test_the_tiles_say_what_the_samples_say(whole):
    # 1 / 1.4 and 1 / 1.7 of the CPU, and 1.4 and 1.7 of the rate.
    for words in ("<b>29% less</b>server CPU for an operation than Valkey", "<b>41% less</b>server CPU for an operation than Redis"):
        assert words in re.sub(r"(\d+)%", lambda m: "%d%%" % near(int(m.group(1)), (29, 41)), whole)
    assert re.search(r"<b>(38|39|40|41|42)% higher</b>rate that keeps the latency than Valkey", whole), re.findall("<b>[^/]*/b>[^<]*", whole)


def near(value, goals):
    return next((g for g in goals if abs(value - g) <= 1), value)


@pytest.mark.parametrize("log", (False, True))
def test_an_axis_has_room_for_all_values_and_ticks_to_read_them(log):
    rng = random.Random(2)
    for _ in range(300):
        values = [10 ** rng.uniform(-6, 9) for _ in range(rng.randrange(1, 6))]
        axis = plots.Axis(values, 0, 100, log)
        assert all(-1e-6 <= axis(v) <= 100 + 1e-6 for v in values), values
        assert 2 <= len(axis.ticks) <= (20 if log else 7), (values, axis.ticks)
        assert axis.ticks == sorted(set(axis.ticks)) and math.isclose(axis(axis.ticks[-1]), 100)


# ---- Two runs ------------------------------------------------------------------------------------------------------

LESS = ("shoal", "redis")
SLOW = ("small/set/P1/64", "small/set/P64/64")


@pytest.fixture()
def runs(tmp_path):
    def write(name, data):
        folder = tmp_path / name
        folder.mkdir()
        samples.write(data, str(folder))
        return str(folder)

    return write


def ask(*arguments):
    done = subprocess.run([sys.executable, os.path.join(BENCH, "compare.py"), *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def figures_of(before, after):
    return compare.figures(before, after, 0.03)


def test_what_became_slower_is_named_and_nothing_else():
    before, after = made_up(names=LESS), made_up(names=LESS, seed=2, slower=SLOW, by=1.25)
    worse = {(f.case, f.server, f.metric) for f in figures_of(before, after) if f.worse > 0 and f.certain}
    assert worse == {(case, "shoal", metric) for case in SLOW for metric in ("cpu_us", "ops_per_s", "p99_ms")}
    back = {(f.case, f.server) for f in figures_of(after, before) if f.worse < 0 and f.certain}
    assert back == {(case, "shoal") for case in SLOW}
    assert not any(f.worse > 0 for f in figures_of(after, before) if f.case in SLOW and f.server == "shoal")


def test_the_command_ends_with_1_if_something_became_slower(runs):
    before, after = runs("a", made_up(names=LESS)), runs("b", made_up(names=LESS, seed=2, slower=SLOW, by=1.25))
    code, said = ask(before, after, "--server", "shoal")
    assert code == 1 and "Worse (" in said and "SET 64 B, pipeline 1, shoal, cpu_us: +2" in said and "certain" in said
    code, said = ask(before, before)
    assert code == 0 and "0 worse, 0 better" in said


def test_few_rounds_tell_nothing(runs):
    code, said = ask(runs("a", made_up(rounds=3, names=LESS)), runs("b", made_up(rounds=3, names=LESS, slower=SLOW, by=2)))
    assert code == 0 and "0 worse" in said and not re.search(r"\b0 with too few", said)


def test_a_change_smaller_than_asked_for_is_none(runs):
    before, after = runs("a", made_up(names=LESS)), runs("b", made_up(names=LESS, seed=2, slower=SLOW, by=1.25))
    assert ask(before, after, "--least", "40")[0] == 0


def test_another_machine_or_version_is_told(runs):
    other = made_up(names=LESS)
    other["machine"]["CPU"], other["programs"]["redis"] = "another", "8"
    _, said = ask(runs("a", made_up(names=LESS)), runs("b", other))
    assert "differs: CPU: a <cpu> -> another" in said and "differs: redis: - -> 8" in said


def test_runs_are_found_by_their_commit(tmp_path, monkeypatch, runs):
    early, late = made_up(rounds=2, names=LESS), made_up(rounds=2, names=LESS)
    late["made"]["at"] = "2026-02-02T03:04:05+00:00"
    runs("a", late)
    runs("b", early)
    (tmp_path / "old").mkdir()
    monkeypatch.setattr(compare, "RESULTS", str(tmp_path))
    assert compare.find("abc1")["made"]["at"] == late["made"]["at"]
    assert compare.find(str(tmp_path / "b"))["made"]["at"] == early["made"]["at"]
    for name in ("def5", "abc"):
        with pytest.raises(ValueError, match="no run of such a commit"):
            compare.find(name)


def test_what_cannot_be_compared_is_refused_with_a_reason(tmp_path, runs):
    one = runs("a", made_up(rounds=2, names=("redis",)))
    assert "nothing in common" in ask(one, one, "--server", "shoal")[1]
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "samples.json").write_text(json.dumps({"schema": "other"}))
    code, said = ask(one, str(tmp_path / "broken"))
    assert code == 1 and "samples.schema.json" in said
    assert ask(one)[0] == 2
