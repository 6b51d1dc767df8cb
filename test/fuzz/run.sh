#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Builds the fuzz targets with clang and runs each for some seconds: test/fuzz/run.sh [SECONDS [NAME...]]
# What a target finds is left in build-fuzz/found/NAME; what it learned stays in build-fuzz/corpus/NAME.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- commands acl base_file bus cjson cmsgpack config dump frames glob hll http http_listener intset listpack log_block manifest num parser quicklist reader request stream_node struct tls tracks words

arguments="-Dfuzz=true -Dtests=false -Dmimalloc=false --buildtype=debugoptimized -Db_sanitize=address,undefined"
if [ "$(cat build-fuzz/run.args 2>/dev/null)" != "$arguments" ]; then
    # shellcheck disable=SC2086 # one word per argument
    rm -rf build-fuzz/meson-* build-fuzz/build.ninja && CC=clang meson setup $arguments build-fuzz
    echo "$arguments" >build-fuzz/run.args
fi
targets=
for name in "$@"; do
    targets="$targets test/fuzz/fuzz_$name"
done
# shellcheck disable=SC2086 # one word per target
ninja -C build-fuzz $targets

for name in "$@"; do
    mkdir -p "build-fuzz/corpus/$name" "build-fuzz/found/$name"
    echo "== $name for $seconds s"
    "build-fuzz/test/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=10 -max_len=16384 -print_final_stats=1 \
        -artifact_prefix="build-fuzz/found/$name/" "build-fuzz/corpus/$name" "test/fuzz/corpus/$name" 2>&1 |
        tee "build-fuzz/found/$name.log" | grep -E 'stat::number_of_executed_units|ERROR|SUMMARY|check failed' || true
    if grep -qE 'ERROR|SUMMARY|check failed' "build-fuzz/found/$name.log" ||
        ! grep -q 'stat::number_of_executed_units' "build-fuzz/found/$name.log"; then
        echo "$name failed: see build-fuzz/found/$name.log"
        exit 1
    fi
done
