/* SPDX-License-Identifier: BSD-3-Clause */
/* What a key costs: resident bytes, and nanoseconds per operation, of the keyspace alone.
 *
 *     keyspace_bench [keys] [ttl] [one-slot] [pauses] [expire]
 *
 * ttl: every key gets a deadline within the hour. one-slot: all keys share a hash tag. pauses: the
 * worst single insert instead of the mean. expire: let them all run out.
 */
#include "base/random.h"
#include "shard/keys/keyspace.h"
#include "shard/memory/heap.h"
#include "test/unit/put.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define VALUE_BYTES 64
#define PIPELINE    16
#define NOW_MS      INT64_C(1700000000000)

struct bench {
    struct keyspace *ks;
    struct hash_secret secret;
    uint64_t keys;
    bool ttl;
    bool one_slot;
    bool pauses;
    bool expire;
    int64_t ttl_ms;
    struct rng rng;
    char value[VALUE_BYTES];
};

static uint64_t now_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Anonymous pages only: which pages of the program itself have been touched is noise. */
static size_t resident_bytes(void) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    unsigned long kilobytes = 0;
    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "RssAnon: %lu", &kilobytes) == 1) {
            break;
        }
    }
    if (!file || kilobytes == 0) {
        abort();
    }
    fclose(file);
    return kilobytes * 1024;
}

/* 16 bytes, as redis-benchmark makes them; with a tag when all are to share a slot. */
static struct key make_key(const struct bench *bench, uint64_t number, char *text) {
    memcpy(text, bench->one_slot ? "{k}:" : "key:", 4);
    for (int i = 15; i >= 4; i--, number /= 10) {
        text[i] = (char)('0' + number % 10);
    }
    return key_make(&bench->secret, bytes_make(text, 16));
}

static void report(const char *what, uint64_t start, uint64_t count) {
    printf("%-28s %8.1f ns\n", what, (double)(now_ns(CLOCK_MONOTONIC) - start) / (double)count);
}

static void set_one(struct bench *bench, const struct key *key) {
    int64_t expires_at = NO_EXPIRY;
    if (bench->ttl) {
        expires_at = NOW_MS + 60000 + (int64_t)rng_below(&bench->rng, (uint64_t)bench->ttl_ms);
    }
    put_string(bench->ks, 0, key, bytes_make(bench->value, VALUE_BYTES), expires_at, NOW_MS);
}

static struct key nth_key(const struct bench *bench, uint64_t n, char *text) {
    return make_key(bench, n * UINT64_C(0x9E3779B97F4A7C15) % 1000000000000u, text);
}

static void insert_all(struct bench *bench) {
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    for (uint64_t i = 0; i < bench->keys; i++) {
        char text[32];
        struct key key = nth_key(bench, i, text);
        set_one(bench, &key);
    }
    report("insert", start, bench->keys);
}

#define PAUSE_ROUNDS 5

/* The same inserts several times over, of which the shortest counts for each: a pause of the table
 * comes every time, one of the machine does not. */
static void insert_all_timed(struct bench *bench) {
    uint32_t *shortest = malloc(bench->keys * sizeof(*shortest));
    memset(shortest, 0xFF, bench->keys * sizeof(*shortest));
    for (int round = 0; round < PAUSE_ROUNDS; round++) {
        keyspace_flush(bench->ks, 0, false);
        for (uint64_t i = 0; i < bench->keys; i++) {
            char text[32];
            struct key key = nth_key(bench, i, text);
            uint64_t before = now_ns(CLOCK_MONOTONIC);
            set_one(bench, &key);
            uint64_t taken = now_ns(CLOCK_MONOTONIC) - before;
            shortest[i] = taken < shortest[i] ? (uint32_t)taken : shortest[i];
        }
    }
    uint32_t worst_ns = 0;
    uint64_t over_20us = 0;
    for (uint64_t i = 0; i < bench->keys; i++) {
        worst_ns = shortest[i] > worst_ns ? shortest[i] : worst_ns;
        over_20us += shortest[i] > 20000;
    }
    printf("%-28s %8.1f us (over 20 us: %llu)\n", "worst insert", (double)worst_ns / 1000,
           (unsigned long long)over_20us);
    free(shortest);
}

static void run_pipelines(struct bench *bench, const char *what, bool prefetch, bool write) {
    uint64_t rounds = 2000000 / PIPELINE;
    uint64_t found = 0;
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    for (uint64_t r = 0; r < rounds; r++) {
        char texts[PIPELINE][32];
        struct key keys[PIPELINE];
        for (unsigned i = 0; i < PIPELINE; i++) {
            uint64_t number = rng_below(&bench->rng, bench->keys);
            keys[i] =
                make_key(bench, number * UINT64_C(0x9E3779B97F4A7C15) % 1000000000000u, texts[i]);
        }
        for (unsigned i = 0; prefetch && i < PIPELINE; i++) {
            keyspace_prefetch_bucket(bench->ks, 0, &keys[i]);
        }
        for (unsigned i = 0; prefetch && i < PIPELINE; i++) {
            keyspace_prefetch_entry(bench->ks, 0, &keys[i]);
        }
        for (unsigned i = 0; i < PIPELINE; i++) {
            if (write) {
                set_one(bench, &keys[i]);
                continue;
            }
            char scratch[NUMBER_TEXT_BYTES];
            struct entry *entry = keyspace_find(bench->ks, 0, &keys[i], NOW_MS, LOOKUP_READ);
            found += entry && string_bytes(entry, scratch).ptr[VALUE_BYTES - 1] == 'v';
        }
    }
    report(what, start, rounds * PIPELINE);
    if (!write && found != rounds * PIPELINE) {
        printf("only %llu found\n", (unsigned long long)found);
    }
}

static void make_keys_only(struct bench *bench) {
    uint64_t sum = 0;
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    for (uint64_t i = 0; i < 2000000; i++) {
        char text[32];
        sum += make_key(bench, rng_below(&bench->rng, bench->keys), text).hash;
    }
    report(sum ? "(making a key)" : "", start, 2000000);
}

static int compare_u32(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

#define EXPIRE_MS 60000

/* All keys run out within a minute of pretended time; how long does the work of each millisecond
 * take? Below 1000 us nothing is late. */
static void expire_all(struct bench *bench) {
    uint64_t slices_max = bench->keys + EXPIRE_MS + 1; /* one in each millisecond at the least */
    uint32_t *slices = malloc(slices_max * sizeof(*slices));
    uint32_t *turns = malloc((EXPIRE_MS + 1) * sizeof(*turns));
    uint64_t slice_count = 0;
    unsigned turn_count = 0;
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    int64_t begin = NOW_MS + 60000;
    for (int64_t now_ms = begin; now_ms <= begin + EXPIRE_MS; now_ms++) {
        uint64_t turn_start = now_ns(CLOCK_MONOTONIC);
        int64_t next;
        do {
            uint64_t before = now_ns(CLOCK_MONOTONIC);
            next = keyspace_work(bench->ks, now_ms);
            slices[slice_count++] = (uint32_t)(now_ns(CLOCK_MONOTONIC) - before);
        } while (next <= now_ms && slice_count < bench->keys);
        turns[turn_count++] = (uint32_t)(now_ns(CLOCK_MONOTONIC) - turn_start);
    }
    report("expire", start, bench->keys);
    qsort(slices, slice_count, sizeof(*slices), compare_u32);
    qsort(turns, turn_count, sizeof(*turns), compare_u32);
    printf("%-28s p50 %u p99 %u p99.9 %u us\n", "a slice", slices[slice_count / 2] / 1000,
           slices[slice_count * 99 / 100] / 1000, slices[slice_count * 999 / 1000] / 1000);
    printf("%-28s p50 %u p99 %u p99.9 %u us\n", "work of a millisecond",
           turns[turn_count / 2] / 1000, turns[turn_count * 99 / 100] / 1000,
           turns[turn_count * 999 / 1000] / 1000);
    printf("%-28s %llu, latest by %llu ms\n", "expired",
           (unsigned long long)keyspace_stats(bench->ks)->expired_keys,
           (unsigned long long)keyspace_stats(bench->ks)->expire_late_ms_max);
    free(slices);
    free(turns);
}

int main(int argc, char **argv) {
    struct bench bench = {.keys = 1000000};
    for (int i = 1; i < argc; i++) {
        bench.ttl |= strcmp(argv[i], "ttl") == 0;
        bench.one_slot |= strcmp(argv[i], "one-slot") == 0;
        bench.expire |= strcmp(argv[i], "expire") == 0;
        bench.pauses |= strcmp(argv[i], "pauses") == 0;
        if (atoll(argv[i]) > 0) {
            bench.keys = (uint64_t)atoll(argv[i]);
        }
    }
    bench.ttl |= bench.expire;
    bench.ttl_ms = bench.expire ? EXPIRE_MS : 3600 * 1000;
    rng_seed(&bench.rng, 1);
    for (size_t i = 0; i < sizeof(bench.secret.bytes); i++) {
        bench.secret.bytes[i] = (unsigned char)rng_next(&bench.rng);
    }
    memset(bench.value, 'v', sizeof(bench.value));
    struct shard_heap *heap = shard_heap_new();
    bench.ks = keyspace_new(&(struct keyspace_options){
        .databases = 16, .secret = &bench.secret, .heap = heap, .now_ms = NOW_MS});

    size_t before = resident_bytes();
    (bench.pauses ? insert_all_timed : insert_all)(&bench);
    double n = (double)keyspace_count(bench.ks, 0);
    printf("%-28s %8.0f\n", "keys", n);
    printf("%-28s %8.2f bytes\n", "resident per key", (double)(resident_bytes() - before) / n);
    for (int64_t now_ms = NOW_MS; keyspace_work(bench.ks, now_ms) <= NOW_MS + 30000;) {
        now_ms++;
    }
    printf("%-28s %8.2f bytes\n", "the same after some rest",
           (double)(resident_bytes() - before) / n);
    printf("%-28s %8.2f bytes\n", "accounted per key", (double)keyspace_memory(bench.ks) / n);
    printf("%-28s %8.2f bytes\n", "tables per key", (double)keyspace_table_memory(bench.ks, 0) / n);
    printf("%-28s %8.2f bytes\n", "wheel per key", (double)keyspace_wheel_memory(bench.ks, 0) / n);
    if (bench.expire) {
        expire_all(&bench);
        return 0;
    }
    make_keys_only(&bench);
    run_pipelines(&bench, "find", false, false);
    run_pipelines(&bench, "find, prefetched", true, false);
    run_pipelines(&bench, "overwrite", false, true);
    run_pipelines(&bench, "overwrite, prefetched", true, true);
    keyspace_verify(bench.ks);
    keyspace_free(bench.ks);
    shard_heap_free(heap);
    return 0;
}
