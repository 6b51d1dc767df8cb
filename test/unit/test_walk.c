/* SPDX-License-Identifier: BSD-3-Clause */
/* What a walk does with large values and flushed databases, one case each; model_walk.c has the
 * rest. */
#include "persist/snapshot/walk.h"

#include "base/random.h"
#include "base/text.h"
#include "persist/codec/rdb_read.h"
#include "shard/memory/heap.h"
#include "shard/types/list.h"
#include "shard/types/packed.h"
#include "shard/types/set.h"
#include "shard/types/zset.h"
#include "test/unit/put.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW INT64_C(1700000000000)

struct fixture {
    struct shard_heap *heap;
    struct keyspace *ks;
    struct hash_secret secret;
    struct walks walks;
    struct walk *walk;
    struct text value; /* of all keys shown, one behind the other */
    unsigned keys, pieces;
    size_t longest;
};

static void show(void *arg, const struct walk_item *item) {
    struct fixture *f = arg;
    f->keys += item->first;
    f->pieces++;
    f->longest = item->piece.len > f->longest ? item->piece.len : f->longest;
    text_append_bytes(&f->value, item->piece);
}

static struct fixture *fixture_new(void) {
    struct fixture *f = calloc(1, sizeof *f);
    struct rng rng;
    rng_seed(&rng, 5);
    for (size_t i = 0; i < sizeof f->secret.bytes; i++) {
        f->secret.bytes[i] = (unsigned char)rng_next(&rng);
    }
    f->heap = shard_heap_new();
    f->ks = keyspace_new(&(struct keyspace_options){
        .databases = 2, .secret = &f->secret, .heap = f->heap, .now_ms = NOW});
    walks_init(&f->walks, f->ks);
    text_init(&f->value);
    return f;
}

static void begin(struct fixture *f) {
    struct walk_options options = {.version = RDB_VERSION_MIN, .show = show, .arg = f};
    f->walk = walk_begin(&f->walks, &options);
}

static void finish(struct fixture *f) {
    while (!walk_some(f->walk, 20000)) {
    }
}

static void fixture_free(struct fixture *f) {
    if (f->walk) {
        walk_end(f->walk);
    }
    walks_fini(&f->walks);
    keyspace_verify(f->ks);
    keyspace_free(f->ks);
    cr_assert_eq(heap_used(f->heap), 0);
    shard_heap_free(f->heap);
    text_fini(&f->value);
    free(f);
}

static struct key key_of(const struct fixture *f, const char *name) {
    return key_make(&f->secret, bytes_make(name, strlen(name)));
}

static struct entry *find(const struct fixture *f, const struct key *key) {
    return keyspace_find_any(f->ks, 0, key);
}

static void fill_zset(struct fixture *f, const struct key *key, unsigned count) {
    static const struct zset_bounds bounds = {0, 0};
    struct change change;
    change_open(&change, f->ks, 0, key, NULL, NOW);
    zset_make(&change, &bounds, count, 20);
    for (unsigned i = 0; i < count; i++) {
        char name[20];
        struct bytes member = bytes_make(name, (size_t)snprintf(name, sizeof name, "m%u", i));
        struct zset_place place;
        zset_find(&change.value, member, &place);
        zset_put(&change, &bounds, member, &place, i);
    }
    change_close(&change, EVENT_ZADD);
}

static void push(struct fixture *f, const struct key *key, unsigned count) {
    static const struct list_rules rules = {-2, 0, 0};
    static char text[200];
    struct change change;
    struct bytes element = bytes_make(text, sizeof text);
    change_open(&change, f->ks, 0, key, find(f, key), NOW);
    if (!change.entry) {
        packed_make(&change, TYPE_LIST);
    }
    change_element(&change, NULL);
    for (unsigned i = 0; i < count; i++) {
        list_grow(&change, &rules, &element, 1);
        list_push(&change, element, true);
    }
    change_close(&change, EVENT_RPUSH);
}

/* The count in front of what has been shown. */
static uint64_t shown_count(const struct fixture *f) {
    struct rdb_input in = rdb_input(text_bytes(&f->value));
    uint64_t count = 0;
    cr_assert(rdb_get_length(&in, &count));
    return count;
}

static void remove_span(struct fixture *f, const struct key *key, uint64_t start, uint64_t end) {
    struct change change;
    change_open(&change, f->ks, 0, key, find(f, key), NOW);
    zset_remove_span(&change, (struct zset_span){start, end});
    change_close(&change, EVENT_ZREMRANGEBYRANK);
}

/* Few of many members, and most of them, which makes a new tree of the others. */
Test(walk, members_that_go_in_spans_are_not_written_at_once) {
    static const struct zset_span spans[] = {{100, 1100}, {100, 9900}};
    for (unsigned i = 0; i < 2; i++) {
        struct fixture *f = fixture_new();
        struct key key = key_of(f, "zset");
        fill_zset(f, &key, 10000);
        begin(f);
        while (f->pieces < 2) {
            walk_some(f->walk, 20000);
        }
        remove_span(f, &key, spans[i].start, spans[i].end);
        finish(f);
        cr_assert_eq(walk_progress(f->walk).stall_bytes_max, 0);
        cr_assert_eq(shown_count(f), 10000);
        size_t members = 0;
        for (size_t at = 0; at < f->value.len; at++) {
            members += f->value.ptr[at] == 'm';
        }
        cr_assert_geq(members, 10000);
        fixture_free(f);
    }
}

Test(walk, a_flush_hands_its_keys_over) {
    struct fixture *f = fixture_new();
    char name[20];
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "key%u", i);
        struct key key = key_of(f, name);
        put_text(f->ks, 0, &key, BYTES("value"), NO_EXPIRY, NOW);
    }
    begin(f);
    cr_assert_eq(keyspace_flush(f->ks, UINT32_MAX, false), 1000);
    cr_assert_eq(f->keys, 0); /* nothing was shown for it */
    cr_assert_eq(keyspace_count(f->ks, 0), 0);
    cr_assert_eq(keyspace_stats(f->ks)->lazyfree_pending, 1000);
    finish(f);
    cr_assert_eq(f->keys, 1000);
    while (keyspace_work(f->ks, NOW) <= NOW) {
    }
    cr_assert_eq(keyspace_stats(f->ks)->lazyfree_pending, 0);
    fixture_free(f);
}

Test(walk, a_large_value_whose_key_goes_is_kept_until_it_is_shown) {
    struct fixture *f = fixture_new();
    struct key key = key_of(f, "zset");
    fill_zset(f, &key, 5000);
    begin(f);
    size_t used = heap_used(f->heap);
    cr_assert(drop_key(f->ks, 0, &key, NOW, true));
    while (keyspace_work(f->ks, NOW) <= NOW) {
    }
    cr_assert_gt(heap_used(f->heap), used * 9 / 10);
    keyspace_verify(f->ks);
    finish(f);
    cr_assert_eq(f->keys, 1);
    cr_assert_gt(f->pieces, 2);
    cr_assert_lt(f->longest, 25000);
    cr_assert_eq(shown_count(f), 5000);
    while (keyspace_work(f->ks, NOW) <= NOW) {
    }
    cr_assert_lt(heap_used(f->heap), used / 10);
    fixture_free(f);
}

Test(walk, a_large_string_is_shown_in_pieces_while_it_changes) {
    struct fixture *f = fixture_new();
    struct key key = key_of(f, "string");
    char *bytes = malloc(500000);
    memset(bytes, 'a', 500000);
    put_text(f->ks, 0, &key, bytes_make(bytes, 500000), NO_EXPIRY, NOW);
    begin(f);
    for (size_t at = 0; at < 500000; at += 1000) {
        walk_some(f->walk, 1000);
        edit_string(f->ks, 0, &key, find(f, &key), 500000, false, NOW)[at] = 'b';
    }
    finish(f);
    cr_assert_eq(f->value.len, 500005);
    cr_assert_eq(memcmp(f->value.ptr + 5, bytes, 500000), 0);
    free(bytes);
    fixture_free(f);
}

/* A list's changes name no element: who can wait asks first. */
Test(walk, a_long_list_is_shown_next_for_who_waits_to_change_it) {
    struct fixture *f = fixture_new();
    struct key lists[] = {key_of(f, "list"), key_of(f, "other"), key_of(f, "short")};
    push(f, &lists[0], 20000);
    push(f, &lists[1], 20000);
    push(f, &lists[2], 10);
    cr_assert(!walks_would_stall(&f->walks, 0, &lists[0], find(f, &lists[0])));
    begin(f);
    cr_assert(!walks_would_stall(&f->walks, 0, &lists[2], find(f, &lists[2])));
    cr_assert(!walks_would_stall(&f->walks, 0, &lists[2], NULL));
    unsigned slices = 0;
    while (walks_would_stall(&f->walks, 0, &lists[0], find(f, &lists[0]))) {
        walk_some(f->walk, 20000);
        slices++;
    }
    cr_assert(slices > 100 && f->keys <= 2);
    push(f, &lists[0], 1);
    cr_assert_eq(walk_progress(f->walk).stall_bytes_max, 0);
    push(f, &lists[1], 1); /* who does not ask */
    cr_assert_gt(walk_progress(f->walk).stall_bytes_max, 1000000);
    finish(f);
    cr_assert_eq(f->keys, 3);
    fixture_free(f);
}
