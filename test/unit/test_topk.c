/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/topk.h"

#include "base/random.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t hash_of(uint64_t n) {
    struct rng rng;
    rng_seed(&rng, n);
    return rng_next(&rng);
}

static void add(struct topk *top, unsigned n, uint64_t weight) {
    char name[32];
    int len = snprintf(name, sizeof name, "item:%u", n);
    topk_add(top, hash_of(n), 0, bytes_make(name, (size_t)len), weight);
}

static const struct topk_item *find(const struct topk *top, unsigned n) {
    for (uint32_t i = 0; i < top->used; i++) {
        if (top->items[i].hash == hash_of(n)) {
            return &top->items[i];
        }
    }
    return NULL;
}

static void verify(const struct topk *top) {
    size_t bytes = sizeof *top;
    for (uint32_t i = 0; i < top->used; i++) {
        const struct topk_item *item = &top->items[top->heap[i]];
        cr_assert_eq(item->place, i);
        bytes += item->name_room;
        cr_assert_leq(item->error, item->count);
        cr_assert(i == 0 || item->count >= top->items[top->heap[(i - 1) / 2]].count);
        uint16_t at = top->buckets[item->hash % TOPK_BUCKETS];
        while (at != 0 && &top->items[at - 1] != item) {
            at = top->items[at - 1].next;
        }
        cr_assert_neq(at, 0, "an item is in the chain of its bucket");
    }
    cr_assert_eq(topk_memory(top), bytes);
}

Test(topk, few_items_are_counted_exactly) {
    struct topk top;
    topk_init(&top);
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned n = 0; n < TOPK_ITEMS; n++) {
            add(&top, n, n + 1);
        }
    }
    verify(&top);
    cr_assert_eq(top.used, TOPK_ITEMS);
    for (unsigned n = 0; n < TOPK_ITEMS; n++) {
        cr_assert_eq(find(&top, n)->count, 50u * (n + 1));
        cr_assert_eq(find(&top, n)->error, 0);
    }
    topk_fini(&top);
}

Test(topk, counts_are_within_their_errors_and_the_frequent_are_there) {
    enum { ITEMS = 5000, ADDS = 200000 };
    struct topk top;
    topk_init(&top);
    uint64_t *truth = calloc(ITEMS, sizeof *truth), total = 0;
    struct rng rng;
    rng_seed(&rng, 7);
    for (int i = 0; i < ADDS; i++) {
        /* Squared twice: few come up very often. */
        double u = rng_unit(&rng);
        unsigned n = (unsigned)(u * u * u * u * ITEMS);
        uint64_t weight = 1 + rng_below(&rng, 4);
        truth[n] += weight;
        total += weight;
        add(&top, n, weight);
        if (i % 10000 == 0) {
            verify(&top);
        }
    }
    verify(&top);
    unsigned frequent = 0;
    for (unsigned n = 0; n < ITEMS; n++) {
        const struct topk_item *item = find(&top, n);
        if (item != NULL) {
            cr_assert_leq(topk_least(item), truth[n]);
            cr_assert_geq(item->count, truth[n]);
        }
        if (truth[n] > total / TOPK_ITEMS) {
            cr_assert_not_null(item);
            frequent++;
        }
    }
    cr_assert_geq(frequent, 5, "the test has frequent items");
    free(truth);
    topk_fini(&top);
}

Test(topk, an_even_stream_makes_nobody_frequent) {
    struct topk top;
    topk_init(&top);
    for (unsigned n = 0; n < 100000; n++) {
        add(&top, n, 1);
    }
    verify(&top);
    for (uint32_t i = 0; i < top.used; i++) {
        cr_assert_eq(topk_least(&top.items[i]), 1);
    }
    topk_fini(&top);
}

Test(topk, the_same_name_with_another_tag_is_another_item) {
    struct topk top;
    topk_init(&top);
    topk_add(&top, 1, 0, BYTES("a"), 1);
    topk_add(&top, 1, 3, BYTES("a"), 5);
    cr_assert_eq(top.used, 2);
    cr_assert_eq(top.items[0].count, 1);
    cr_assert_eq(top.items[1].count, 5);
    topk_fini(&top);
}

Test(topk, what_fades_keeps_its_order_and_is_passed_by_what_is_new) {
    struct topk top;
    topk_init(&top);
    for (unsigned n = 0; n < 2 * TOPK_ITEMS; n++) {
        add(&top, n, 100 + n);
    }
    const struct topk_item *old = &top.items[top.heap[top.used - 1]];
    uint64_t hash = old->hash, before = old->count;
    for (int i = 0; i < 100; i++) {
        topk_fade(&top, 4);
        verify(&top);
    }
    cr_assert_lt(before / 10, before);
    for (uint32_t i = 0; i < top.used; i++) {
        cr_assert_lt(top.items[i].count, 16, "no more than the shift cannot take");
        cr_assert(top.items[i].hash != hash || top.items[i].count < before / 10);
    }
    add(&top, 100000, 20);
    cr_assert_geq(find(&top, 100000)->count, 20);
    cr_assert_eq(top.heap[find(&top, 100000)->place], find(&top, 100000) - top.items);
    topk_fini(&top);
}

Test(topk, long_names_are_cut_and_memory_is_bounded) {
    static char name[5000];
    struct topk top;
    topk_init(&top);
    size_t empty = topk_memory(&top);
    for (uint64_t n = 0; n < 1000; n++) {
        memset(name, 'a' + (int)(n % 26), sizeof name);
        topk_add(&top, hash_of(n), 0, bytes_make(name, n % sizeof name), 1);
        topk_add(&top, hash_of(n), 1, bytes_make(name, sizeof name), 1);
    }
    verify(&top);
    cr_assert_leq(topk_memory(&top), empty + TOPK_ITEMS * TOPK_NAME_MAX);
    for (uint32_t i = 0; i < top.used; i++) {
        cr_assert_leq(topk_name(&top.items[i]).len, TOPK_NAME_MAX);
    }
    topk_clear(&top);
    cr_assert_eq(top.used, 0);
    cr_assert_eq(topk_memory(&top), empty);
    topk_fini(&top);
}
