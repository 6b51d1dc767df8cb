# SPDX-License-Identifier: BSD-3-Clause
"""How a value is stored is its type's affair (shard/types): nobody above the shard asks for it, but the codec, whose own forms these are, too."""

import re

import tree

ASKS = re.compile(r"\bFORM_[A-Z]+\b|(->|\.)form\b")


def test_nobody_above_the_shard_asks_how_a_value_is_stored():
    above = tuple(folder for folder in tree.FOLDERS if folder not in ("base", "proto", "net", "shard"))
    bad = [path for path in tree.sources(".c", ".h", folders=above) if ASKS.search(tree.without_comments(tree.read(path)))]
    assert [path for path in bad if not path.startswith("persist/codec/value_")] == []


def test_within_the_shard_only_keys_and_types_do():
    paths = [path for path in tree.sources(".c", ".h", folders=("shard",)) if ASKS.search(tree.without_comments(tree.read(path)))]
    assert paths  # the pattern finds something
    assert [path for path in paths if not path.startswith(("shard/keys/", "shard/types/"))] == []
