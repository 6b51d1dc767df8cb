# SPDX-License-Identifier: BSD-3-Clause
"""The servers of the differential suite: Shoal by SHOAL_SERVER, Valkey by SHOAL_VALKEY or PATH, Redis by PATH."""

import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "integration")]

from server import Server, find_peer, kind_of  # noqa: E402

SHOAL = os.environ.get("SHOAL_SERVER", os.path.join(ROOT, "build-release", "server", "shoal-server"))


def shoal_config():
    if kind_of(SHOAL) != "shoal":
        return {}
    return {"shards": os.environ.get("SHOAL_SHARDS", "2"), "io-backend": os.environ.get("SHOAL_IO_BACKEND", "auto")}


@pytest.fixture(scope="session")
def shoal():
    s = Server(SHOAL, shoal_config())
    s.start()
    yield s
    s.stop()


@pytest.fixture(scope="session")
def valkey():
    path = find_peer("valkey")
    if not path:
        pytest.skip("no valkey-server: put it in PATH or give its path in SHOAL_VALKEY")
    s = Server(path, {}, kind="valkey")
    s.start()
    yield s
    s.stop(check=False)
