/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/random.h"
#include "base/text.h"
#include "cluster/stream/backlog.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void collect(void *arg, struct piece *piece, struct bytes bytes) {
    cr_assert(bytes.len > 0);
    cr_assert(bytes.ptr >= piece->data && bytes.ptr + bytes.len <= piece->data + piece->cap);
    text_append_bytes(arg, bytes);
}

static void check_from(const struct backlog *backlog, const struct text *all, uint64_t first,
                       uint64_t offset) {
    struct text seen;
    text_init(&seen);
    backlog_show(backlog, offset, collect, &seen);
    cr_assert_eq(seen.len, all->len - (size_t)(offset - first));
    cr_assert_eq(memcmp(seen.ptr, all->ptr + (offset - first), seen.len), 0);
    text_fini(&seen);
}

Test(backlog, keeps_what_the_limit_says_and_shows_it_from_any_offset) {
    struct rng rng;
    rng_seed(&rng, 4);
    for (uint64_t limit = 1; limit < 2000000; limit = limit * 7 + 1) {
        struct backlog backlog;
        struct text all;
        text_init(&all);
        uint64_t first = 1 + rng_next(&rng) % 1000;
        backlog_init(&backlog, first, limit);
        cr_assert(backlog_covers(&backlog, first));
        cr_assert_not(backlog_covers(&backlog, first + 1));
        for (int i = 0; i < 300; i++) {
            size_t n = 1 + (size_t)(rng_next(&rng) % (i % 40 == 0 ? 300000 : 300));
            char *bytes = malloc(n);
            memset(bytes, 'a' + i % 26, n);
            backlog_append(&backlog, bytes_make(bytes, n));
            text_append(&all, bytes, n);
            free(bytes);
            cr_assert_eq(backlog.next, first + all.len);
            check_from(&backlog, &all, first, backlog.unsent);
            backlog_sent(&backlog);
            uint64_t kept = backlog.next - backlog.first;
            cr_assert(kept >= (all.len < limit ? all.len : limit));
            cr_assert(backlog.count <= 1 ||
                      backlog.next - backlog.parts[(backlog.head + 1) & (backlog.cap - 1)].offset <
                          limit);
            uint64_t at = backlog.first + rng_next(&rng) % (kept + 1);
            check_from(&backlog, &all, first, at);
            check_from(&backlog, &all, first, backlog.first);
            check_from(&backlog, &all, first, backlog.next);
            cr_assert_not(backlog_covers(&backlog, backlog.first - 1));
        }
        backlog_set_limit(&backlog, 1);
        backlog_sent(&backlog);
        cr_assert_eq(backlog.count, 1);
        backlog_reset(&backlog, 77);
        cr_assert_eq(backlog.memory, 0);
        cr_assert(backlog_covers(&backlog, 77) && !backlog_covers(&backlog, 78));
        backlog_fini(&backlog);
        text_fini(&all);
    }
}

static struct piece *held[64];
static struct bytes texts[64];
static unsigned held_count;

static void hold(void *arg, struct piece *piece, struct bytes bytes) {
    (void)arg;
    piece_ref(piece);
    held[held_count] = piece;
    texts[held_count++] = bytes;
}

Test(backlog, what_a_replica_holds_stays_though_the_backlog_goes_on) {
    struct backlog backlog;
    backlog_init(&backlog, 1, 10);
    static char words[200000];
    memset(words, 'w', sizeof words);
    backlog_append(&backlog, bytes_make(words, 100));
    backlog_show(&backlog, 1, hold, NULL);
    memset(words, 'x', sizeof words);
    for (int i = 0; i < 10; i++) {
        backlog_append(&backlog, bytes_make(words, sizeof words));
    }
    cr_assert_eq(held_count, 1);
    cr_assert_eq(texts[0].len, 100);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(texts[0].ptr[i], 'w');
    }
    backlog_fini(&backlog);
    piece_unref(held[0]);
}

Test(backlog, what_is_kept_back_is_shown_when_it_is_ready_and_comes_again_if_it_is_dropped) {
    struct rng rng;
    rng_seed(&rng, 9);
    struct backlog backlog;
    struct text all; /* what was ready, and what is kept back behind it */
    text_init(&all);
    backlog_init(&backlog, 1, 200000);
    for (int i = 0; i < 3000; i++) {
        size_t n = 1 + (size_t)(rng_next(&rng) % (i % 40 == 0 ? 300000 : 300));
        char *bytes = malloc(n);
        memset(bytes, 'a' + i % 26, n);
        backlog_keep(&backlog, bytes_make(bytes, n));
        text_append(&all, bytes, n);
        free(bytes);
        uint64_t ready = backlog.ready;
        cr_assert_eq(backlog.next, 1 + all.len);
        cr_assert_not(backlog_covers(&backlog, ready + 1));
        if (rng_next(&rng) % 3 == 0) {
            backlog_drop_kept(&backlog);
            all.len = (size_t)ready - 1;
            cr_assert_eq(backlog.next, ready);
        } else if (rng_next(&rng) % 2 == 0) {
            ready += rng_next(&rng) % (backlog.next - ready + 1);
            backlog_ready(&backlog, ready);
        }
        struct text shown = all;
        shown.len = (size_t)ready - 1;
        uint64_t kept = ready - backlog.first;
        check_from(&backlog, &shown, 1, backlog.first + rng_next(&rng) % (kept + 1));
        check_from(&backlog, &shown, 1, ready);
        cr_assert_geq(backlog.unsent, backlog.first);
        if (rng_next(&rng) % 4 == 0) {
            backlog_sent(&backlog);
            kept = ready - backlog.first;
            cr_assert(kept >= (shown.len < 200000 ? shown.len : 200000));
        }
    }
    text_fini(&all);
    backlog_fini(&backlog);
}
