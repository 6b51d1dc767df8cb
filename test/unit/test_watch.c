/* SPDX-License-Identifier: BSD-3-Clause */
#include "shard/watchers/watch.h"

#include "base/random.h"
#include "shard/memory/heap.h"
#include "test/unit/put.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define NOW INT64_C(1700000000000)

/* A keyspace whose hooks feed a table, as a worker's do. */
struct fixture {
    struct shard_heap *heap;
    struct keyspace *ks;
    struct watch_table watches;
    struct hash_secret secret;
    int64_t now_ms;
};

static void on_changed(void *arg, const struct key_news *news) {
    watch_touch(&((struct fixture *)arg)->watches, news->db, news->key);
}

static void on_flushing(void *arg, uint32_t db) {
    watch_flush(&((struct fixture *)arg)->watches, db);
}

static void on_swapping(void *arg, uint32_t a, uint32_t b) {
    struct fixture *f = arg;
    watch_swap(&f->watches, a, b, f->now_ms);
}

static struct fixture *fixture_new(void) {
    struct fixture *f = calloc(1, sizeof(*f));
    f->now_ms = NOW;
    struct rng rng;
    rng_seed(&rng, 23);
    for (size_t i = 0; i < sizeof(f->secret.bytes); i++) {
        f->secret.bytes[i] = (unsigned char)rng_next(&rng);
    }
    f->heap = shard_heap_new();
    f->ks = keyspace_new(&(struct keyspace_options){
        .databases = 4,
        .secret = &f->secret,
        .heap = f->heap,
        .now_ms = NOW,
        .hooks =
            {.arg = f, .changed = on_changed, .flushing = on_flushing, .swapping = on_swapping},
    });
    watch_init(&f->watches, f->ks);
    return f;
}

/* Every byte must have been given back by the clients' drops. */
static void fixture_free(struct fixture *f) {
    cr_assert_eq(f->watches.keys.count, 0);
    cr_assert_eq(f->watches.clients.count, 0);
    cr_assert_eq(f->watches.bytes, 0);
    watch_fini(&f->watches);
    keyspace_free(f->ks);
    shard_heap_free(f->heap);
    free(f);
}

static void set_in(struct fixture *f, uint32_t db, const char *name, int64_t expires_at) {
    struct key key = key_make(&f->secret, bytes_of_text(name));
    put_string(f->ks, db, &key, BYTES("value"), expires_at, NOW);
}

static void set(struct fixture *f, const char *name) {
    set_in(f, 0, name, NO_EXPIRY);
}

static void delete_key(struct fixture *f, const char *name) {
    struct key key = key_make(&f->secret, bytes_of_text(name));
    drop_key(f->ks, 0, &key, NOW, false);
}

static void watch_in(struct fixture *f, uint64_t client, uint32_t db, const char *name) {
    struct key key = key_make(&f->secret, bytes_of_text(name));
    watch_add(&f->watches, client, db, &key, NOW);
}

static void watch(struct fixture *f, uint64_t client, const char *name) {
    watch_in(f, client, 0, name);
}

static bool dirty(struct fixture *f, uint64_t client) {
    return watch_dirty(&f->watches, client, NOW);
}

static void drop(struct fixture *f, uint64_t client) {
    watch_drop(&f->watches, client);
}

/* ---- Marks ---- */

Test(watch, change_marks_all_who_watch_the_key_and_nobody_else) {
    struct fixture *f = fixture_new();
    watch(f, 1, "a");
    watch(f, 2, "a");
    watch(f, 2, "b");
    watch(f, 3, "b");
    set(f, "a");
    cr_assert(dirty(f, 1));
    cr_assert(dirty(f, 2));
    cr_assert_not(dirty(f, 3));
    cr_assert_not(dirty(f, 4));
    set(f, "b");
    cr_assert(dirty(f, 3));
    for (uint64_t client = 1; client <= 3; client++) {
        drop(f, client);
        cr_assert_not(dirty(f, client));
    }
    fixture_free(f);
}

Test(watch, key_is_watched_in_its_database_only) {
    struct fixture *f = fixture_new();
    watch_in(f, 1, 1, "k");
    set_in(f, 0, "k", NO_EXPIRY);
    cr_assert_not(dirty(f, 1));
    set_in(f, 1, "k", NO_EXPIRY);
    cr_assert(dirty(f, 1));
    drop(f, 1);
    fixture_free(f);
}

Test(watch, deleted_and_made_again_counts_as_changed) {
    struct fixture *f = fixture_new();
    set(f, "k");
    watch(f, 1, "k");
    delete_key(f, "k");
    set(f, "k");
    cr_assert(dirty(f, 1));
    drop(f, 1);
    fixture_free(f);
}

Test(watch, delete_of_a_missing_key_is_no_change) {
    struct fixture *f = fixture_new();
    watch(f, 1, "k");
    delete_key(f, "k");
    cr_assert_not(dirty(f, 1));
    drop(f, 1);
    fixture_free(f);
}

Test(watch, marked_client_holds_no_watches) {
    struct fixture *f = fixture_new();
    watch(f, 1, "a");
    watch(f, 1, "b");
    cr_assert_eq(f->watches.keys.count, 2);
    set(f, "a");
    cr_assert_eq(f->watches.keys.count, 0);
    watch(f, 1, "c"); /* it cannot succeed any more: nothing is kept for it */
    cr_assert_eq(f->watches.keys.count, 0);
    cr_assert(dirty(f, 1));
    drop(f, 1);
    fixture_free(f);
}

Test(watch, watching_twice_is_watching_once) {
    struct fixture *f = fixture_new();
    watch(f, 1, "k");
    size_t bytes = f->watches.bytes;
    watch(f, 1, "k");
    cr_assert_eq(f->watches.bytes, bytes);
    drop(f, 1);
    fixture_free(f);
}

Test(watch, drop_ends_the_watch_for_this_client_only) {
    struct fixture *f = fixture_new();
    watch(f, 1, "k");
    watch(f, 2, "k");
    drop(f, 1);
    set(f, "k");
    cr_assert_not(dirty(f, 1));
    cr_assert(dirty(f, 2));
    drop(f, 2);
    drop(f, 2);
    fixture_free(f);
}

/* ---- Deadlines ---- */

Test(watch, key_that_ran_out_has_changed_also_before_it_is_deleted) {
    struct fixture *f = fixture_new();
    set_in(f, 0, "k", NOW + 10);
    watch(f, 1, "k");
    cr_assert_not(watch_dirty(&f->watches, 1, NOW + 10));
    cr_assert(watch_dirty(&f->watches, 1, NOW + 11));
    struct key key = key_make(&f->secret, BYTES("k"));
    cr_assert_null(keyspace_find(f->ks, 0, &key, NOW + 11, LOOKUP_READ));
    cr_assert(watch_dirty(&f->watches, 1, NOW + 11));
    drop(f, 1);
    fixture_free(f);
}

Test(watch, key_that_had_run_out_when_it_was_watched_may_be_deleted) {
    struct fixture *f = fixture_new();
    set_in(f, 0, "k", NOW - 10);
    watch(f, 1, "k");
    cr_assert_not(dirty(f, 1));
    struct key key = key_make(&f->secret, BYTES("k"));
    cr_assert_null(keyspace_find(f->ks, 0, &key, NOW, LOOKUP_READ));
    cr_assert_not(dirty(f, 1));
    set(f, "k"); /* but not made anew */
    cr_assert(dirty(f, 1));
    drop(f, 1);
    fixture_free(f);
}

Test(watch, new_deadline_is_a_change) {
    struct fixture *f = fixture_new();
    set(f, "k");
    watch(f, 1, "k");
    struct key key = key_make(&f->secret, BYTES("k"));
    struct entry *entry = keyspace_find(f->ks, 0, &key, NOW, LOOKUP_WRITE);
    keyspace_set_expiry(f->ks, 0, &key, entry, NOW + 1000);
    cr_assert(dirty(f, 1));
    drop(f, 1);
    fixture_free(f);
}

/* ---- Whole databases ---- */

Test(watch, flush_changes_the_keys_that_exist) {
    struct fixture *f = fixture_new();
    set(f, "a");
    watch(f, 1, "a");
    watch(f, 2, "missing");
    set_in(f, 1, "a", NO_EXPIRY);
    watch_in(f, 3, 1, "a");
    keyspace_flush(f->ks, 0, true);
    cr_assert(dirty(f, 1));
    cr_assert_not(dirty(f, 2));
    cr_assert_not(dirty(f, 3));
    keyspace_flush(f->ks, UINT32_MAX, false);
    cr_assert_not(dirty(f, 2));
    cr_assert(dirty(f, 3));
    for (uint64_t client = 1; client <= 3; client++) {
        drop(f, client);
    }
    fixture_free(f);
}

Test(watch, swap_changes_the_keys_that_exist_in_one_of_the_two) {
    struct fixture *f = fixture_new();
    set_in(f, 0, "here", NO_EXPIRY);
    set_in(f, 1, "there", NO_EXPIRY);
    watch_in(f, 1, 0, "here");
    watch_in(f, 2, 0, "there");
    watch_in(f, 3, 0, "nowhere");
    watch_in(f, 4, 1, "here");
    watch_in(f, 5, 2, "here");
    keyspace_swap_db(f->ks, 2, 2);
    keyspace_swap_db(f->ks, 0, 1);
    cr_assert(dirty(f, 1));
    cr_assert(dirty(f, 2));
    cr_assert_not(dirty(f, 3));
    cr_assert(dirty(f, 4));
    cr_assert_not(dirty(f, 5));
    for (uint64_t client = 1; client <= 5; client++) {
        drop(f, client);
    }
    fixture_free(f);
}

Test(watch, swap_that_brings_a_key_past_its_deadline_is_no_change) {
    struct fixture *f = fixture_new();
    set_in(f, 1, "k", NOW - 10);
    watch_in(f, 1, 0, "k");
    keyspace_swap_db(f->ks, 0, 1);
    cr_assert_not(dirty(f, 1));
    struct key key = key_make(&f->secret, BYTES("k"));
    cr_assert_null(keyspace_find(f->ks, 0, &key, NOW, LOOKUP_READ));
    cr_assert_not(dirty(f, 1));
    drop(f, 1);
    fixture_free(f);
}

/* ---- Many ---- */

#define CLIENTS 40
#define KEYS    20
#define DBS     2

/* What one client and one key of the naive model are. */
struct naive {
    bool watching[CLIENTS][DBS][KEYS], existed[CLIENTS][DBS][KEYS], marked[CLIENTS];
    int64_t deadline[DBS][KEYS]; /* 0: missing; NO_EXPIRY */
};

static bool naive_has(const struct naive *n, unsigned db, unsigned k, int64_t now_ms) {
    return n->deadline[db][k] == NO_EXPIRY || n->deadline[db][k] >= now_ms;
}

/* There or not before and after, the key may be another now; missing before and after it is not. */
static void naive_change(struct naive *n, unsigned db, unsigned k, bool missing) {
    for (unsigned c = 0; c < CLIENTS; c++) {
        n->marked[c] |= n->watching[c][db][k] && (n->existed[c][db][k] || !missing);
    }
}

static bool naive_dirty(const struct naive *n, unsigned client, int64_t now_ms) {
    bool run_out = false;
    for (unsigned db = 0; db < DBS; db++) {
        for (unsigned k = 0; k < KEYS; k++) {
            run_out |= n->watching[client][db][k] && n->existed[client][db][k] &&
                       !naive_has(n, db, k, now_ms);
        }
    }
    return run_out || n->marked[client];
}

static void naive_drop(struct naive *n, unsigned client) {
    n->marked[client] = false;
    memset(n->watching[client], 0, sizeof n->watching[client]);
}

static void naive_swap(struct naive *n, int64_t now_ms) {
    for (unsigned k = 0; k < KEYS; k++) {
        for (unsigned db = 0; db < DBS; db++) {
            naive_change(n, db, k, !naive_has(n, 1 - db, k, now_ms));
        }
        int64_t deadline = n->deadline[0][k];
        n->deadline[0][k] = n->deadline[1][k];
        n->deadline[1][k] = deadline;
    }
}

/* Random watches, drops and changes of every kind, with a clock that goes on, against sets of what
 * each client should see. */
Test(watch, agrees_with_a_naive_model) {
    struct fixture *f = fixture_new();
    static struct naive n;
    struct rng rng;
    rng_seed(&rng, 5);
    unsigned clean = 0, dirty = 0;
    for (int step = 0; step < 40000; step++) {
        f->now_ms += rng_below(&rng, 4) == 0;
        int64_t now_ms = f->now_ms;
        unsigned client = (unsigned)rng_below(&rng, CLIENTS), k = (unsigned)rng_below(&rng, KEYS);
        unsigned db = (unsigned)rng_below(&rng, DBS);
        char name[16];
        snprintf(name, sizeof name, "key:%u", k);
        struct key key = key_make(&f->secret, bytes_of_text(name));
        uint64_t what = rng_below(&rng, 1000);
        if (what < 300) {
            watch_add(&f->watches, client, db, &key, now_ms);
            if (!n.watching[client][db][k]) {
                n.watching[client][db][k] = true;
                n.existed[client][db][k] = naive_has(&n, db, k, now_ms);
            }
        } else if (what < 650) {
            watch_drop(&f->watches, client);
            naive_drop(&n, client);
        } else if (what < 800) {
            int64_t deadline =
                rng_below(&rng, 2) ? NO_EXPIRY : now_ms + (int64_t)rng_below(&rng, 20);
            put_string(f->ks, db, &key, BYTES("v"), deadline, now_ms);
            n.deadline[db][k] = deadline;
            naive_change(&n, db, k, false);
        } else if (what < 920) {
            bool was_there = n.deadline[db][k] != 0;
            drop_key(f->ks, db, &key, now_ms, false);
            n.deadline[db][k] = 0;
            if (was_there) {
                naive_change(&n, db, k, true);
            }
        } else if (what < 930) {
            keyspace_flush(f->ks, db, rng_below(&rng, 2));
            for (unsigned i = 0; i < KEYS; i++) {
                n.deadline[db][i] = 0;
                naive_change(&n, db, i, true);
            }
        } else {
            keyspace_swap_db(f->ks, 0, 1);
            naive_swap(&n, now_ms);
        }
        for (unsigned i = 0; i < CLIENTS; i++) {
            bool expected = naive_dirty(&n, i, now_ms);
            cr_assert_eq(watch_dirty(&f->watches, i, now_ms), expected, "step %d", step);
            clean += !expected;
            dirty += expected;
        }
    }
    cr_assert_gt(clean, 100000u);
    cr_assert_gt(dirty, 100000u);
    for (unsigned i = 0; i < CLIENTS; i++) {
        drop(f, i);
    }
    fixture_free(f);
}
