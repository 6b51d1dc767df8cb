/* SPDX-License-Identifier: BSD-3-Clause */
#include "shard/watchers/tracks.h"

#include "base/random.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define KEYS    40
#define CLIENTS 12

/* Who is known to have read what, by the book. */
struct fixture {
    struct tracks tracks;
    struct hash_secret secret;
    struct rng rng;
    bool reads[KEYS][CLIENTS];
    bool told[CLIENTS]; /* by the call that runs */
    int key;            /* that it has told of; -1: none */
};

static void fixture_init(struct fixture *f) {
    memset(f, 0, sizeof *f);
    rng_seed(&f->rng, 7);
    for (size_t i = 0; i < sizeof f->secret.bytes; i++) {
        f->secret.bytes[i] = (unsigned char)rng_next(&f->rng);
    }
    tracks_init(&f->tracks);
}

static struct key key_of(const struct fixture *f, unsigned n, char *name, size_t size) {
    int len = snprintf(name, size, n == 0 ? "" : n % 2 ? "{a}%u" : "key:%u", n);
    return key_make(&f->secret, bytes_make(name, (size_t)len));
}

static void on_tell(void *arg, uint64_t client, unsigned home, struct bytes key) {
    struct fixture *f = arg;
    cr_assert_lt(client, CLIENTS);
    cr_assert_eq(home, client % 3);
    cr_assert(!f->told[client], "told twice");
    f->told[client] = true;
    for (unsigned n = 0; n < KEYS; n++) {
        char name[32];
        if (bytes_equal(key_of(f, n, name, sizeof name).name, key)) {
            cr_assert(f->key == -1 || f->key == (int)n);
            f->key = (int)n;
        }
    }
    cr_assert_geq(f->key, 0);
}

static void forget_told(struct fixture *f) {
    memset(f->told, 0, sizeof f->told);
    f->key = -1;
}

/* What was told is what the book has of this key, which now is nothing. */
static void expect_told(struct fixture *f, unsigned key) {
    for (unsigned client = 0; client < CLIENTS; client++) {
        cr_assert_eq(f->told[client], f->reads[key][client]);
        f->reads[key][client] = false;
    }
}

static unsigned count(const struct fixture *f, unsigned *ret_keys) {
    unsigned items = 0;
    *ret_keys = 0;
    for (unsigned key = 0; key < KEYS; key++) {
        unsigned before = items;
        for (unsigned client = 0; client < CLIENTS; client++) {
            items += f->reads[key][client];
        }
        *ret_keys += items > before;
    }
    return items;
}

static void step(struct fixture *f) {
    unsigned key = (unsigned)rng_below(&f->rng, KEYS);
    unsigned client = (unsigned)rng_below(&f->rng, CLIENTS), known;
    char name[32];
    struct key k = key_of(f, key, name, sizeof name);
    unsigned what = (unsigned)rng_below(&f->rng, 100);
    forget_told(f);
    if (what < 70) {
        bool is_new = true;
        for (unsigned i = 0; i < CLIENTS; i++) {
            is_new &= !f->reads[key][i];
        }
        /* What clients that have gone had read is there until it is freed. */
        bool is_left = tracks_is_left(&f->tracks);
        bool added = tracks_add(&f->tracks, client, client % 3, &k);
        cr_assert(added == is_new || (is_left && !added));
        f->reads[key][client] = true;
    } else if (what < 88) {
        tracks_take(&f->tracks, &k, on_tell, f);
        expect_told(f, key);
    } else if (what < 94) {
        unsigned items = count(f, &known);
        bool is_left = tracks_is_left(&f->tracks);
        tracks_take_any(&f->tracks, rng_next(&f->rng), on_tell, f);
        cr_assert(f->key >= 0 ? items > 0 : items == 0 || is_left);
        if (f->key >= 0) {
            expect_told(f, (unsigned)f->key);
        }
    } else if (what < 98) {
        tracks_drop(&f->tracks, client);
        for (unsigned i = 0; i < KEYS; i++) {
            f->reads[i][client] = false;
        }
    } else if (what < 99) {
        tracks_clear(&f->tracks);
        memset(f->reads, 0, sizeof f->reads);
    }
    if (rng_below(&f->rng, 3) == 0) {
        tracks_free_some(&f->tracks);
    }
}

Test(tracks, tells_who_has_read_what_by_the_book) {
    static struct fixture f;
    fixture_init(&f);
    for (unsigned i = 0; i < 200000; i++) {
        step(&f);
        if (!tracks_is_left(&f.tracks)) {
            unsigned keys, items = count(&f, &keys);
            cr_assert_eq(f.tracks.items.count, items);
            cr_assert_eq(f.tracks.keys.count, keys);
        }
    }
    tracks_fini(&f.tracks);
    cr_assert_eq(tracks_memory(&f.tracks), 0);
}

static void on_slot(void *arg, uint64_t client, unsigned home, struct bytes key) {
    cr_assert(key.len > 3 && memcmp(key.ptr, "{a}", 3) == 0);
    ++*(unsigned *)arg;
}

Test(tracks, a_slot_leaves) {
    static struct fixture f;
    fixture_init(&f);
    for (unsigned n = 1; n < KEYS; n++) {
        char name[32];
        struct key key = key_of(&f, n, name, sizeof name);
        tracks_add(&f.tracks, 1, 1, &key);
        tracks_add(&f.tracks, 2, 2, &key);
    }
    unsigned told = 0;
    tracks_take_slot(&f.tracks, key_slot(BYTES("{a}")), on_slot, &told);
    cr_assert_eq(told, KEYS / 2 * 2);
    cr_assert_eq(f.tracks.keys.count, KEYS - 1 - KEYS / 2);
    tracks_fini(&f.tracks);
}

static void on_any(void *arg, uint64_t client, unsigned home, struct bytes key) {
    ++*(unsigned *)arg;
}

/* A client that had much goes in slices, and what it had read is told to nobody meanwhile. */
Test(tracks, what_is_large_goes_in_slices) {
    static struct fixture f;
    fixture_init(&f);
    for (unsigned n = 0; n < 20000; n++) {
        char name[32];
        struct key key = key_of(&f, n, name, sizeof name);
        tracks_add(&f.tracks, 1, 1, &key);
    }
    size_t bytes = tracks_memory(&f.tracks);
    tracks_drop(&f.tracks, 1);
    char name[32];
    struct key key = key_of(&f, 19999, name, sizeof name);
    unsigned told = 0, slices = 1;
    tracks_take(&f.tracks, &key, on_any, &told);
    cr_assert_eq(told, 0);
    while (tracks_free_some(&f.tracks)) {
        slices++;
    }
    cr_assert(slices > 10 && f.tracks.bytes == 0 && bytes > 20000 * 100);
    for (unsigned n = 0; n < 20000; n++) {
        key = key_of(&f, n, name, sizeof name);
        tracks_add(&f.tracks, 1, 1, &key);
    }
    tracks_clear(&f.tracks);
    cr_assert_eq(f.tracks.keys.count, 0);
    cr_assert_gt(tracks_memory(&f.tracks), bytes / 2);
    for (slices = 1; tracks_free_some(&f.tracks); slices++) {
    }
    cr_assert_gt(slices, 10);
    tracks_fini(&f.tracks);
}
