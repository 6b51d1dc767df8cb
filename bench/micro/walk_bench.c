/* SPDX-License-Identifier: BSD-3-Clause */
/* What a walk of a snapshot costs, and what it costs others, in the keyspace alone.
 *
 *     walk_bench KEYS            all of the table below
 *     walk_bench KEYS WHAT       one row: idle-get, idle-set, walk-get, walk-set, again-set, walk
 *
 * In all rows but `walk` a walk has begun and stands still: the worst case, where every key that is
 * set is still to be shown. again-set: of keys that have been set since the cut. With
 * `valgrind --tool=callgrind --toggle-collect=measured` one row's instructions are counted.
 */
#include "base/random.h"
#include "persist/snapshot/walk.h"
#include "shard/memory/heap.h"
#include "test/unit/put.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define VALUE_BYTES  64
#define NOW_MS       INT64_C(1700000000000)
#define SLICE_BUDGET ((size_t)64 << 10)
#define PIPELINE     16

struct bench {
    struct keyspace *ks;
    struct walks walks;
    struct hash_secret secret;
    struct rng rng;
    uint64_t keys, found;
    uint64_t shown, bytes, slices, longest_ns;
    char value[VALUE_BYTES];
};

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static struct key make_key(const struct bench *bench, uint64_t number, char *text) {
    snprintf(text, 17, "key:%012llu", (unsigned long long)number);
    return key_make(&bench->secret, bytes_make(text, 16));
}

static void show(void *arg, const struct walk_item *item) {
    struct bench *bench = arg;
    bench->shown += item->last;
    bench->bytes += item->piece.len + item->name.len;
}

static struct walk *begin(struct bench *bench) {
    struct walk_options options = {.version = RDB_VERSION_MIN, .show = show, .arg = bench};
    return walk_begin(&bench->walks, &options);
}

static void walk_all(struct bench *bench, struct walk *walk) {
    bool over = false;
    while (!over) {
        uint64_t before = now_ns();
        over = walk_some(walk, SLICE_BUDGET);
        uint64_t took = now_ns() - before;
        bench->longest_ns = took > bench->longest_ns ? took : bench->longest_ns;
        bench->slices++;
    }
    walk_end(walk);
}

/* As dispatch does, memory is asked for a pipeline ahead. */
__attribute__((noinline)) void measured(struct bench *bench, bool sets, uint64_t step);
void measured(struct bench *bench, bool sets, uint64_t step) {
    char texts[PIPELINE][24];
    struct key keys[PIPELINE];
    for (uint64_t i = 0; i + PIPELINE <= bench->keys; i += PIPELINE) {
        for (unsigned k = 0; k < PIPELINE; k++) {
            keys[k] = make_key(bench, (i + k) * step % bench->keys, texts[k]);
            keyspace_prefetch_slot(bench->ks, 0, &keys[k]);
        }
        for (unsigned k = 0; k < PIPELINE; k++) {
            keyspace_prefetch_bucket(bench->ks, 0, &keys[k]);
        }
        for (unsigned k = 0; k < PIPELINE; k++) {
            keyspace_prefetch_entry(bench->ks, 0, &keys[k]);
        }
        for (unsigned k = 0; k < PIPELINE; k++) {
            if (sets) {
                put_string(bench->ks, 0, &keys[k], bytes_make(bench->value, VALUE_BYTES), NO_EXPIRY,
                           NOW_MS);
            } else {
                bench->found += keyspace_find(bench->ks, 0, &keys[k], NOW_MS, LOOKUP_READ) != NULL;
            }
        }
    }
}

static void row(struct bench *bench, const char *name, bool sets) {
    uint64_t before = now_ns();
    measured(bench, sets, 7919);
    printf("%-10s %7.1f ns a key\n", name, (double)(now_ns() - before) / (double)bench->keys);
}

static bool wanted(int argc, char **argv, const char *name) {
    return argc < 3 || strcmp(argv[2], name) == 0;
}

static void run(struct bench *bench, int argc, char **argv) {
    if (wanted(argc, argv, "idle-get")) {
        row(bench, "idle-get", false);
    }
    if (wanted(argc, argv, "idle-set")) {
        row(bench, "idle-set", true);
    }
    struct walk *walk = begin(bench);
    if (wanted(argc, argv, "walk-get")) {
        row(bench, "walk-get", false);
    }
    if (wanted(argc, argv, "walk-set")) {
        row(bench, "walk-set", true);
    }
    if (wanted(argc, argv, "again-set")) {
        if (argc >= 3) {
            measured(bench, true, 7919);
        }
        row(bench, "again-set", true);
    }
    printf("%zu bytes of marks\n", walk_progress(walk).bytes_kept);
    walk_end(walk);
    if (wanted(argc, argv, "walk")) {
        bench->shown = bench->bytes = 0;
        uint64_t before = now_ns();
        walk_all(bench, begin(bench));
        printf("walk       %7.1f ns a key, %.1f bytes, %llu keys, %llu slices, longest %.1f us\n",
               (double)(now_ns() - before) / (double)bench->shown,
               (double)bench->bytes / (double)bench->shown, (unsigned long long)bench->shown,
               (unsigned long long)bench->slices, (double)bench->longest_ns / 1000);
    }
}

int main(int argc, char **argv) {
    static struct bench bench;
    bench.keys = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    rng_seed(&bench.rng, 7);
    for (size_t i = 0; i < sizeof(bench.secret.bytes); i++) {
        bench.secret.bytes[i] = (unsigned char)rng_next(&bench.rng);
    }
    memset(bench.value, 'v', VALUE_BYTES);
    bench.ks = keyspace_new(&(struct keyspace_options){
        .databases = 16,
        .secret = &bench.secret,
        .heap = shard_heap_new(),
        .now_ms = NOW_MS,
    });
    walks_init(&bench.walks, bench.ks);
    for (uint64_t i = 0; i < bench.keys; i++) {
        char text[24];
        struct key key = make_key(&bench, i, text);
        put_string(bench.ks, 0, &key, bytes_make(bench.value, VALUE_BYTES), NO_EXPIRY, NOW_MS);
    }
    run(&bench, argc, argv);
    return 0;
}
