/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables against an array: random inserts and removals under good and under bad hashes, and walks
 * that must see every item that stays, once, whatever happens to the others meanwhile. */
#include "base/random.h"
#include "shard/ds/table.h"
#include "shard/memory/heap.h"

#include <criterion/criterion.h>
#include <string.h>

#define ITEMS_MAX 6000

struct item {
    uint64_t hash;
    bool present;
    bool stays; /* during a walk */
    unsigned visits;
};

struct model {
    struct shard_heap *heap;
    struct table table;
    struct table_env env;
    struct item items[ITEMS_MAX];
    unsigned item_count;
    unsigned present;
    struct rng rng;
};

static uint64_t item_hash(const void *arg, const void *item) {
    (void)arg;
    return ((const struct item *)item)->hash;
}

static struct model *model_new(unsigned item_count, uint64_t hash_mask, uint64_t seed) {
    struct model *model = calloc(1, sizeof(*model));
    model->heap = shard_heap_new();
    model->env = (struct table_env){model->heap, item_hash, NULL};
    model->item_count = item_count;
    rng_seed(&model->rng, seed);
    for (unsigned i = 0; i < item_count; i++) {
        model->items[i].hash = rng_next(&model->rng) & hash_mask;
    }
    return model;
}

static void model_free(struct model *model) {
    shard_heap_free(model->heap);
    free(model);
}

static bool table_has(const struct model *model, const struct item *wanted) {
    struct table_probe probe = table_probe(&model->table, wanted->hash);
    const struct item *item;
    while ((item = table_probe_next(&probe)) != NULL) {
        if (item == wanted) {
            return true;
        }
    }
    return false;
}

static void toggle(struct model *model, struct item *item) {
    cr_assert_eq(table_has(model, item), item->present);
    if (item->present) {
        cr_assert(table_remove(&model->table, &model->env, item->hash, item));
        model->present--;
    } else {
        cr_assert_not(table_remove(&model->table, &model->env, item->hash, item));
        table_insert(&model->table, &model->env, item->hash, item);
        model->present++;
    }
    item->present = !item->present;
    cr_assert_eq(table_has(model, item), item->present);
    cr_assert_eq(model->table.count, model->present);
}

/* Moves the number of items towards a target, with ups and downs. */
static void drift(struct model *model, unsigned target, unsigned steps) {
    for (unsigned i = 0; i < steps; i++) {
        struct item *item = &model->items[rng_below(&model->rng, model->item_count)];
        bool wanted = model->present < target ? !item->present : item->present;
        if (!item->stays && (wanted || rng_below(&model->rng, 4) == 0)) {
            toggle(model, item);
        }
    }
}

static void verify(const struct model *model) {
    table_verify(&model->table, &model->env);
    cr_assert_eq(table_bytes(&model->table), heap_used(model->heap));
    for (unsigned i = 0; i < model->item_count; i++) {
        cr_assert_eq(table_has(model, &model->items[i]), model->items[i].present);
    }
    for (unsigned i = 0; i < model->present; i += 1 + model->present / 50) {
        cr_assert(((struct item *)table_at(&model->table, i))->present);
    }
}

static void empty(struct model *model) {
    for (unsigned i = 0; i < model->item_count; i++) {
        if (model->items[i].present) {
            toggle(model, &model->items[i]);
        }
    }
    cr_assert_eq(heap_used(model->heap), 0);
    cr_assert_eq(model->table.root, 0);
}

static void grow_and_shrink(unsigned item_count, uint64_t hash_mask) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct model *model = model_new(item_count, hash_mask, seed);
        for (unsigned round = 0; round < 12; round++) {
            drift(model, (unsigned)rng_below(&model->rng, item_count), item_count);
            verify(model);
        }
        empty(model);
        model_free(model);
    }
}

Test(table, agrees_with_an_array) {
    grow_and_shrink(5, UINT64_MAX);
    grow_and_shrink(200, UINT64_MAX);
    grow_and_shrink(ITEMS_MAX, UINT64_MAX);
}

Test(table, agrees_with_an_array_when_all_hashes_are_equal) {
    grow_and_shrink(1200, 0);
}

Test(table, agrees_with_an_array_when_hashes_differ_only_in_their_last_bits) {
    grow_and_shrink(1200, 0xFF);
}

Test(table, agrees_with_an_array_when_hashes_differ_only_in_their_first_bits) {
    grow_and_shrink(1200, UINT64_C(0x7) << 61);
}

Test(table, agrees_with_an_array_when_hashes_differ_only_in_the_middle) {
    grow_and_shrink(1500, UINT64_C(0x3FF) << 24);
}

/* ---- Walks ---- */

struct visits {
    uint64_t last_place;
    uint64_t seen;
};

static void visit(void *arg, void *item) {
    struct visits *visits = arg;
    struct item *it = item;
    it->visits++;
    visits->seen++;
    cr_assert(it->present);
}

/* How many leading bits it takes to say a place. */
static unsigned place_bits(uint64_t place) {
    return place ? TABLE_PLACE_BITS - (unsigned)__builtin_ctzll(place | TABLE_PLACE_END) : 0;
}

static void walk_while_changing(unsigned item_count, uint64_t hash_mask, uint64_t seed) {
    struct model *model = model_new(item_count, hash_mask, seed);
    for (unsigned round = 0; round < 20; round++) {
        drift(model, (unsigned)rng_below(&model->rng, item_count), item_count);
        for (unsigned i = 0; i < item_count; i++) {
            model->items[i].visits = 0;
            model->items[i].stays = model->items[i].present && rng_below(&model->rng, 3) == 0;
        }
        unsigned target = rng_below(&model->rng, 2) ? item_count : 0;
        uint64_t place = 0;
        while (place < TABLE_PLACE_END) {
            struct visits visits = {0};
            uint64_t count = 1 + rng_below(&model->rng, 40);
            uint64_t next = table_walk(&model->table, &model->env, place, TABLE_PLACE_END, count,
                                       visit, &visits);
            cr_assert_gt(next, place);
            cr_assert(visits.seen >= count || next == TABLE_PLACE_END);
            cr_assert_leq(place_bits(next), TABLE_STOP_BITS_MIN);
            if (hash_mask == UINT64_MAX) {
                cr_assert_leq(visits.seen, count + 8); /* those that share 17 bits */
            }
            place = next;
            drift(model, target, (unsigned)rng_below(&model->rng, 200));
        }
        for (unsigned i = 0; i < item_count; i++) {
            cr_assert_leq(model->items[i].visits, 1, "item %u was visited twice", i);
            cr_assert(!model->items[i].stays || model->items[i].visits == 1);
            model->items[i].stays = false;
        }
    }
    empty(model);
    model_free(model);
}

Test(table, walk_sees_what_stays_once_while_the_table_grows_and_shrinks) {
    for (uint64_t seed = 1; seed <= 4; seed++) {
        walk_while_changing(40, UINT64_MAX, seed);
        walk_while_changing(ITEMS_MAX, UINT64_MAX, seed);
        walk_while_changing(700, 0, seed);
        walk_while_changing(1000, 0xFFFFF, seed);
        walk_while_changing(1000, UINT64_C(0x3FF) << 24, seed);
        walk_while_changing(2000, UINT64_C(0xFFFF) << 40, seed);
    }
}

/* Walks a table of `from` items in steps of about `count` while it changes by `change` a step,
 * towards `to`. The first `stay` items stay. Returns the most bits that a place took. */
static unsigned walk_many(struct model *model, struct item *items, unsigned from, unsigned to,
                          unsigned change, unsigned stay, uint64_t count) {
    for (unsigned i = 0; i < from; i++) {
        items[i].present = true;
        table_insert(&model->table, &model->env, items[i].hash, &items[i]);
    }
    unsigned now = from, bits = 0;
    for (uint64_t place = 0; place < TABLE_PLACE_END;) {
        struct visits visits = {0};
        place =
            table_walk(&model->table, &model->env, place, TABLE_PLACE_END, count, visit, &visits);
        cr_assert_leq(visits.seen, count + 16);
        bits = place_bits(place) > bits ? place_bits(place) : bits;
        for (unsigned i = 0; i < change && now != to; i++) {
            if (now < to) {
                items[now].present = true;
                table_insert(&model->table, &model->env, items[now].hash, &items[now]);
                now++;
            } else {
                now--;
                items[now].present = false;
                cr_assert(table_remove(&model->table, &model->env, items[now].hash, &items[now]));
            }
        }
    }
    cr_assert_eq(now, to);
    for (unsigned i = 0; i < (from > to ? from : to); i++) {
        cr_assert_leq(items[i].visits, 1);
        cr_assert(i >= stay || items[i].visits == 1);
        items[i].visits = 0;
        if (items[i].present) {
            items[i].present = false;
            table_remove(&model->table, &model->env, items[i].hash, &items[i]);
        }
    }
    return bits;
}

Test(table, places_are_short_while_a_table_is_small_and_grow_with_it) {
    enum { MANY = 300000, SMALL = 1 << TABLE_STOP_BITS_MIN };
    struct model *model = model_new(0, 0, 11);
    struct item *items = calloc(MANY, sizeof(*items));
    for (unsigned i = 0; i < MANY; i++) {
        items[i].hash = rng_next(&model->rng);
    }
    for (unsigned count = 1; count <= 64; count *= 8) {
        cr_assert_leq(walk_many(model, items, 60, 60, 0, 60, count), TABLE_STOP_BITS_MIN);
        cr_assert_leq(walk_many(model, items, 300, 300, 0, 300, count), TABLE_STOP_BITS_MIN);
        cr_assert_leq(walk_many(model, items, SMALL - 1, SMALL - 1, 0, SMALL - 1, count),
                      TABLE_STOP_BITS_MIN);
        cr_assert_leq(walk_many(model, items, MANY, MANY, 0, MANY, count), 19);
        cr_assert_leq(walk_many(model, items, 3000, MANY, 1 + 300 * count, 3000, count), 19);
        cr_assert_leq(walk_many(model, items, MANY, 3000, 1 + 30 * count, 3000, count), 19);
    }
    free(items);
    model_free(model);
}

Test(table, walk_stops_at_the_group_that_holds_its_end) {
    struct model *model = model_new(3000, UINT64_MAX, 5);
    drift(model, 3000, 9000);
    for (unsigned i = 0; i < 300; i++) {
        uint64_t a = table_place(rng_next(&model->rng));
        uint64_t b = a + rng_below(&model->rng, TABLE_PLACE_END - a);
        for (unsigned k = 0; k < model->item_count; k++) {
            model->items[k].visits = 0;
        }
        struct visits visits = {0};
        uint64_t next = table_walk(&model->table, &model->env, a, b, UINT64_MAX, visit, &visits);
        cr_assert_geq(next, b);
        for (unsigned k = 0; k < model->item_count; k++) {
            const struct item *item = &model->items[k];
            uint64_t place = table_place(item->hash);
            bool inside = item->present && place >= a && place < b;
            cr_assert(!inside || item->visits == 1);
            cr_assert(inside || item->visits == 0 || (place >= b && place < next));
        }
    }
    empty(model);
    model_free(model);
}

/* ---- Draining ---- */

static void released(void *arg, void *item) {
    unsigned *count = arg;
    struct item *it = item;
    cr_assert(it->present);
    it->present = false;
    (*count)++;
}

Test(table, drain_takes_everything_in_slices_and_frees_all_memory) {
    struct model *model = model_new(ITEMS_MAX, UINT64_MAX, 9);
    drift(model, ITEMS_MAX, 4 * ITEMS_MAX);
    unsigned total = model->table.count;
    unsigned count = 0;
    while (model->table.count) {
        unsigned before = count;
        uint64_t n = table_drain(&model->table, &model->env, 70, released, &count);
        cr_assert_eq(n, count - before);
        cr_assert(n == 70 || model->table.count == 0);
    }
    cr_assert_eq(count, total);
    cr_assert_eq(heap_used(model->heap), 0);
    model_free(model);
}
