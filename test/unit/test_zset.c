/* SPDX-License-Identifier: BSD-3-Clause */
/* Sorted sets, in every form and from one to the other, against scores by member; and large ones
 * copied, moved and freed in slices. */
#include "shard/types/zset.h"

#include "base/random.h"
#include "shard/keys/keyspace_private.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define NOW     INT64_C(1700000000000)
#define MEMBERS 400

struct model {
    struct shard_heap *heap;
    struct keyspace *ks;
    struct key key;
    struct zset_bounds bounds;
    bool is_member[MEMBERS];
    double scores[MEMBERS];
    uint64_t count;
    struct rng rng;
};

static const struct hash_secret secret;

static struct bytes name_of(unsigned member, char *room) {
    /* Numbers are stored in another way than texts. */
    const char *format = member % 3 == 0 ? "%u" : "member:%04u";
    int length = snprintf(room, 40, format, member);
    return bytes_make(room, (size_t)length);
}

static double draw_score(struct model *model) {
    static const double scores[] = {0,      1,       -1,   0.1,      -2.5,      1e300,
                                    0x1p62, -0x1p62, 1e17, INFINITY, -INFINITY, 12345};
    if (rng_below(&model->rng, 2)) {
        return scores[rng_below(&model->rng, 12)];
    }
    return rng_unit(&model->rng) * 100;
}

static struct model *model_new(struct zset_bounds bounds, uint64_t seed) {
    struct model *model = calloc(1, sizeof *model);
    model->heap = shard_heap_new();
    model->ks = keyspace_new(&(struct keyspace_options){
        .databases = 1, .secret = &secret, .heap = model->heap, .now_ms = NOW});
    model->key = key_make(&secret, BYTES("a sorted set"));
    model->bounds = bounds;
    rng_seed(&model->rng, seed);
    return model;
}

static void model_free(struct model *model) {
    keyspace_free(model->ks);
    shard_heap_free(model->heap);
    free(model);
}

static struct entry *find(struct model *model) {
    return keyspace_find(model->ks, 0, &model->key, NOW, LOOKUP_WRITE);
}

/* Whether the model's a stands before b. */
static bool before(const struct model *model, unsigned a, unsigned b) {
    if (model->scores[a] != model->scores[b]) {
        return model->scores[a] < model->scores[b];
    }
    char room_a[40], room_b[40];
    return bytes_compare(name_of(a, room_a), name_of(b, room_b)) < 0;
}

static uint64_t rank_of(const struct model *model, unsigned member) {
    uint64_t rank = 0;
    for (unsigned other = 0; other < MEMBERS; other++) {
        rank += model->is_member[other] && before(model, other, member);
    }
    return rank;
}

static void put(struct model *model, struct change *change, unsigned member) {
    char room[40];
    struct bytes name = name_of(member, room);
    struct zset_place place;
    zset_find(&change->value, name, &place);
    cr_assert_eq(place.found, model->is_member[member]);
    cr_assert(!place.found || place.score == model->scores[member]);
    double score = draw_score(model);
    zset_put(change, &model->bounds, name, &place, score);
    model->count += !model->is_member[member];
    model->is_member[member] = true;
    model->scores[member] = score;
}

static void drop(struct model *model, struct change *change, unsigned member) {
    char room[40];
    struct bytes name = name_of(member, room);
    struct zset_place place;
    zset_find(&change->value, name, &place);
    cr_assert_eq(place.found, model->is_member[member]);
    if (place.found) {
        zset_remove(change, name, &place);
        model->is_member[member] = false;
        model->count--;
    }
}

static void drop_span(struct model *model, struct change *change) {
    uint64_t start = rng_below(&model->rng, model->count);
    uint64_t end = start + rng_below(&model->rng, 6);
    end = end < model->count ? end : model->count;
    bool gone[MEMBERS];
    for (unsigned member = 0; member < MEMBERS; member++) {
        uint64_t rank = model->is_member[member] ? rank_of(model, member) : UINT64_MAX;
        gone[member] = rank >= start && rank < end;
    }
    for (unsigned member = 0; member < MEMBERS; member++) {
        model->is_member[member] &= !gone[member];
    }
    model->count -= end - start;
    zset_remove_span(change, (struct zset_span){start, end});
}

static void step(struct model *model, bool growing) {
    struct change change;
    struct entry *entry = find(model);
    cr_assert_eq(entry != NULL, model->count > 0);
    change_open(&change, model->ks, 0, &model->key, entry, NOW);
    if (entry == NULL) {
        zset_make(&change, &model->bounds, 1, 10);
    }
    unsigned member = (unsigned)rng_below(&model->rng, MEMBERS);
    uint64_t dice = rng_below(&model->rng, 10);
    if (model->count == 0 || dice < (growing ? 7 : 3)) {
        put(model, &change, member);
    } else if (dice == 9) {
        drop_span(model, &change);
    } else {
        drop(model, &change, member);
    }
    change_close(&change, EVENT_ZADD);
}

static void verify(struct model *model) {
    keyspace_verify(model->ks);
    struct entry *entry = find(model);
    if (entry == NULL) {
        return;
    }
    struct value value = entry_value_of(entry);
    cr_assert_eq(zset_count(&value), model->count);
    for (int down = 0; down < 2; down++) {
        struct zset_walk walk;
        struct zset_item item;
        uint64_t rank = down ? model->count - 1 : 0;
        zset_walk_init(&walk, &value, rank, down);
        for (uint64_t i = 0; i < model->count; i++, rank += down ? UINT64_MAX : 1) {
            uint64_t told;
            double score;
            cr_assert(zset_walk_next(&walk, &item));
            cr_assert(zset_rank(&value, item.member, &told, &score));
            cr_assert_eq(told, rank);
            cr_assert_eq(score, item.score);
        }
        cr_assert_not(zset_walk_next(&walk, &item));
    }
    for (unsigned member = 0; member < MEMBERS; member += 7) {
        char room[40];
        struct element_hint hint = {.key = &model->key, .element = name_of(member, room)};
        keyspace_prefetch_elements(model->ks, &hint, 1);
        cr_assert_eq(hint.names != NULL, zset_is_large(&value));
        if (hint.names != NULL && model->is_member[member]) {
            struct table_probe probe = table_probe(hint.names, hint.hash);
            cr_assert_not_null(table_probe_next(&probe));
        }
        uint64_t rank;
        double score;
        bool found = zset_rank(&value, name_of(member, room), &rank, &score);
        cr_assert_eq(found, model->is_member[member]);
        cr_assert(!found || (score == model->scores[member] && rank == rank_of(model, member)));
    }
}

/* The same again, in slices of its own heap; and moved about. */
static void copy_and_move(struct model *model) {
    struct entry *entry = find(model);
    struct value value = entry_value_of(entry);
    if (!value_is_rooted(&value)) {
        return;
    }
    const struct form *form = forms_find(&value_forms, &value);
    struct shard_heap *heap = shard_heap_new();
    struct value copy = {.type = value.type, .form = value.form};
    uint64_t cursor = 0;
    size_t budget;
    do {
        budget = 100;
    } while (!form->copy_some(heap, &value, &copy, &cursor, &budget));
    cr_assert_eq(form->memory(&copy), heap_used(heap));
    form->verify(&copy);
    cr_assert_eq(zset_count(&copy), model->count);
    cursor = 0;
    do {
        budget = 100;
    } while (!form->relocate_some(heap, &copy, &cursor, &budget));
    form->verify(&copy);
    do {
        budget = 100;
    } while (!form->free_some(heap, &copy, &budget));
    cr_assert_eq(heap_used(heap), 0);
    shard_heap_free(heap);
}

static void run(struct zset_bounds bounds, uint64_t seed) {
    struct model *model = model_new(bounds, seed);
    for (int i = 0; i < 6000; i++) {
        step(model, i / 1500 % 2 == 0);
        if (i % 250 == 249) {
            verify(model);
            if (model->count > 0) {
                copy_and_move(model);
            }
        }
    }
    model_free(model);
}

Test(zset, agrees_with_a_model_as_a_listpack) {
    run((struct zset_bounds){1000, 64}, 1);
}

Test(zset, agrees_with_a_model_as_a_tree) {
    run((struct zset_bounds){0, 0}, 2);
}

Test(zset, agrees_with_a_model_from_one_to_the_other) {
    run((struct zset_bounds){100, 64}, 3);
    run((struct zset_bounds){300, 10}, 4);
}

Test(zset, what_is_made_of_its_own_members_has_them) {
    static const struct zset_bounds bounds[] = {{1000, 64}, {20, 64}, {0, 0}};
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned j = 0; j < 3; j++) {
            struct model *model = model_new(bounds[i], 5);
            for (unsigned n = 0; n < 60; n++) {
                step(model, true);
            }
            struct entry *entry = find(model);
            struct value value = entry_value_of(entry);
            struct zset_item items[MEMBERS];
            char texts[MEMBERS][40];
            struct zset_walk walk;
            zset_walk_init(&walk, &value, 0, false);
            for (uint64_t n = 0; zset_walk_next(&walk, &items[n]); n++) {
                if (items[n].member.ptr == walk.scratch) {
                    memcpy(texts[n], walk.scratch, items[n].member.len);
                    items[n].member.ptr = texts[n];
                }
            }
            struct change change;
            change_open(&change, model->ks, 0, &model->key, entry, NOW);
            zset_make_of(&change, &bounds[j], items, model->count);
            change_close(&change, EVENT_ZUNIONSTORE);
            value = entry_value_of(find(model));
            cr_assert_eq(zset_is_large(&value), model->count > bounds[j].entries);
            verify(model);
            model_free(model);
        }
    }
}

/* Each was taken out of the tree and the table by itself, and freed: ZREMRANGEBYRANK of all but a
 * few was a stall. */
Test(zset, what_is_left_of_much_is_a_small_one_and_the_rest_is_freed_in_slices) {
    static const struct zset_span spans[] = {{0, 5000}, {0, 4900}, {100, 5000}, {50, 4950}};
    for (unsigned i = 0; i < sizeof spans / sizeof spans[0]; i++) {
        struct model *model = model_new((struct zset_bounds){0, 0}, 6);
        struct zset_item items[5000];
        char texts[5000][40];
        for (unsigned n = 0; n < 5000; n++) {
            items[n] = (struct zset_item){.member = name_of(n, texts[n]), .score = n};
        }
        struct change change;
        change_open(&change, model->ks, 0, &model->key, NULL, NOW);
        zset_make_of(&change, &model->bounds, items, 5000);
        change_close(&change, EVENT_ZUNIONSTORE);
        size_t used = heap_used(model->heap);
        change_open(&change, model->ks, 0, &model->key, find(model), NOW);
        zset_remove_span(&change, spans[i]);
        change_close(&change, EVENT_ZREMRANGEBYRANK);
        cr_assert_gt(heap_used(model->heap), used / 3);
        cr_assert_eq(keyspace_stats(model->ks)->lazyfree_pending, 1);
        keyspace_verify(model->ks);
        struct entry *entry = find(model);
        uint64_t left = 5000 - (spans[i].end - spans[i].start);
        cr_assert_eq(entry != NULL, left > 0);
        if (entry != NULL) {
            struct value value = entry_value_of(entry);
            cr_assert_eq(zset_count(&value), left);
        }
        while (keyspace_stats(model->ks)->lazyfree_pending > 0) {
            keyspace_work(model->ks, NOW);
        }
        cr_assert_lt(heap_used(model->heap), used / 3);
        model_free(model);
    }
}
