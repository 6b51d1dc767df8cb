# SPDX-License-Identifier: BSD-3-Clause
"""kill -9 at each named point: of writing the log, saving, rewriting, starting (kill_points.py)."""

import os
import random
import re

import kills
import pytest
from kill_points import Deaths, can_be_reached, names, ways_to
from resp import RespError
from server import ServerFailed, wait_for

pytestmark = [pytest.mark.shoal_only, pytest.mark.row_pair, pytest.mark.slow]


def test_there_are_enough_and_each_has_a_way_that_leads_to_it(server):
    there = names(server)
    assert len(there) == len(set(there)) >= 60
    assert not [name for name in there if not ways_to(name)]


def test_only_names_that_exist_are_armed(server, raw):
    for wrong in (["nowhere"], ["cut.taken", "0"], ["cut.taken", "x"], [""], ["base.read.half"]):
        assert isinstance(raw.do("DEBUG", "KILL-POINT", *wrong), RespError), wrong
    assert raw.do("DEBUG", "KILL-POINT", "cut.taken") == "OK"
    assert raw.do("DEBUG", "KILL-POINT", "OFF") == "OK"
    assert raw.do("SAVE") == "OK"
    assert server.alive()


@pytest.mark.parametrize("mode", ["always", "everysec"])
def test_what_was_promised_survives_a_death_at_every_point(start_server, shards, slow, mode):
    seed = random.getrandbits(32)
    rng = random.Random(seed)
    server = start_server(appendonly="yes", appendfsync=mode)
    deaths = Deaths(server, [kills.Client(i, rng.getrandbits(32)) for i in range(5)], rng, 60 * slow)
    points = [point for point in names(server) if can_be_reached(point, mode, shards)]
    rng.shuffle(points)
    for point in points:
        wrong = deaths.death(point)
        assert not wrong, "%s, seed %d, after %s:\n%s" % (point, seed, points[: points.index(point)][-3:], "\n".join(wrong))
    # What the deaths have left behind goes with the next snapshot and start. Unfinished files of a snapshot may stay until one
    # comes that has their names.
    assert deaths.ask("SAVE") == "OK"
    server.kill()
    server.start_again()
    generation, named = named_files(server)
    younger = {name for name in data_files(server) if name.startswith("base-") and int(name.split("-")[1]) > generation}
    assert wait_for(lambda: data_files(server) - younger == named_files(server)[1]), data_files(server) ^ named


def data_dir(server):
    return os.path.join(server.dir, "appendonlydir")


def data_files(server):
    return set(os.listdir(data_dir(server))) - {"shoal.manifest"}


def named_files(server):
    with open(os.path.join(data_dir(server), "shoal.manifest")) as f:
        text = f.read()
    generation = int(re.search(r"^generation (\d+)", text, re.M).group(1))
    bases = {"base-%d-%s.snapshot" % (generation, shard) for shard in re.findall(r"^base shard (\d+)", text, re.M)}
    return generation, bases | {"log-%s-%s.segment" % names for names in re.findall(r"^segment shard (\d+) sequence (\d+)", text, re.M)}


def test_a_log_whose_manifest_is_missing_is_not_forgotten(start_server):
    server = start_server(appendonly="yes")
    with server.raw() as raw:
        assert raw.do("SET", "k", "v") == "OK"
    server.kill()
    manifest = os.path.join(data_dir(server), "shoal.manifest")
    os.rename(manifest, manifest + ".away")
    for appendonly in ("yes", "no"):
        server.config["appendonly"] = appendonly
        with pytest.raises(ServerFailed, match=r"shoal\.manifest is missing: appendonlydir/log-\d+-\d+\.segment has records"):
            server.start_again()
    os.rename(manifest + ".away", manifest)
    server.start_again()
    with server.raw() as raw:
        assert raw.do("GET", "k") == b"v"
