/* SPDX-License-Identifier: BSD-3-Clause */
/* Trees against a sorted array: random insertions, removals, new scores and ranges, under scores
 * that are all different, few, all equal, ascending and descending. */
#include "base/random.h"
#include "shard/ds/tree.h"
#include "shard/memory/heap.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ITEMS_MAX 20000

enum scores { SPREAD, FEW, EQUAL, ASCENDING, DESCENDING, WILD };

struct model {
    struct shard_heap *heap;
    struct tree tree;
    struct tree_item *items[ITEMS_MAX]; /* as they should stand */
    size_t count;
    enum scores scores;
    double last;
    unsigned names;
    struct rng rng;
};

static int compare(const struct tree_item *a, const struct tree_item *b) {
    if (a->score != b->score) {
        return a->score < b->score ? -1 : 1;
    }
    return bytes_compare(tree_item_member(a), tree_item_member(b));
}

static double draw_score(struct model *model) {
    static const double wild[] = {-INFINITY, INFINITY, 0,       -0.0,    1e308,
                                  -1e308,    5e-324,   -5e-324, 1.0 / 3, 1 << 20};
    switch (model->scores) {
    case SPREAD:
        return rng_unit(&model->rng) * 1e6 - 5e5;
    case FEW:
        return (double)rng_below(&model->rng, 7) - 3;
    case EQUAL:
        return 1.5;
    case ASCENDING:
        return model->last += 1;
    case DESCENDING:
        return model->last -= 1;
    case WILD:
        return rng_below(&model->rng, 2)
                   ? wild[rng_below(&model->rng, 10)]
                   : ldexp(rng_unit(&model->rng) - 0.5, (int)rng_below(&model->rng, 600) - 300);
    }
    return 0;
}

/* How many stand before it. */
static size_t place_of(const struct model *model, const struct tree_item *item) {
    size_t low = 0, high = model->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare(model->items[middle], item) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void array_insert(struct model *model, struct tree_item *item) {
    size_t at = place_of(model, item);
    memmove(&model->items[at + 1], &model->items[at], (model->count - at) * sizeof item);
    model->items[at] = item;
    model->count++;
}

static void array_remove(struct model *model, size_t at, size_t n) {
    memmove(&model->items[at], &model->items[at + n],
            (model->count - at - n) * sizeof model->items[0]);
    model->count -= n;
}

static void add(struct model *model) {
    char name[300];
    /* No two are alike; some are long, and prefixes of others. */
    int length = snprintf(name, sizeof name, "%x", model->names++ * 2654435761u);
    if (model->names % 64 == 0) {
        memset(name + length, 'x', sizeof name - (size_t)length);
        length = 254 + (int)(model->names / 64 % 3);
    }
    struct tree_item *item =
        tree_item_new(model->heap, bytes_make(name, (size_t)length), draw_score(model));
    tree_insert(&model->tree, model->heap, item);
    array_insert(model, item);
}

static void drop(struct model *model, size_t at) {
    struct tree_item *item = model->items[at];
    tree_remove(&model->tree, model->heap, item);
    array_remove(model, at, 1);
    tree_item_free(model->heap, item);
}

static void rescore(struct model *model, size_t at) {
    struct tree_item *item = model->items[at];
    bool near = model->scores != EQUAL && rng_below(&model->rng, 3) == 0;
    double score = near ? item->score + 1e-9 : draw_score(model);
    score = isnan(score) ? 0 : score;
    array_remove(model, at, 1);
    tree_rescore(&model->tree, model->heap, item, score);
    array_insert(model, item);
}

struct released {
    struct model *model;
    size_t at;
};

static void release(void *arg, struct tree_item *item) {
    struct released *released = arg;
    cr_assert_eq(item, released->model->items[released->at++]);
    tree_item_free(released->model->heap, item);
}

static void drop_range(struct model *model, size_t at, size_t n) {
    struct released released = {model, at};
    tree_remove_range(&model->tree, model->heap, at, n, release, &released);
    cr_assert_eq(released.at, at + n);
    array_remove(model, at, n);
}

static size_t draw_place(struct model *model) {
    return rng_below(&model->rng, model->count);
}

static void verify_bounds(struct model *model) {
    for (unsigned i = 0; i < 20; i++) {
        struct tree_bound bound = {
            .by_score = true, .behind = rng_below(&model->rng, 2) == 0, .score = draw_score(model)};
        if (model->count > 0 && i % 2) {
            bound.score = model->items[draw_place(model)]->score;
        }
        size_t expected = 0;
        while (expected < model->count &&
               (bound.behind ? model->items[expected]->score <= bound.score
                             : model->items[expected]->score < bound.score)) {
            expected++;
        }
        cr_assert_eq(tree_rank_of(&model->tree, &bound), expected);
    }
    for (unsigned i = 0; model->scores == EQUAL && i < 20; i++) {
        char name[16];
        int length = snprintf(name, sizeof name, "%x", (unsigned)rng_next(&model->rng));
        struct tree_bound bound = {.by_member = true,
                                   .behind = rng_below(&model->rng, 2) == 0,
                                   .member = bytes_make(name, (size_t)length)};
        if (model->count > 0 && i % 2) {
            bound.member = tree_item_member(model->items[draw_place(model)]);
        }
        size_t expected = 0;
        while (expected < model->count) {
            int order = bytes_compare(tree_item_member(model->items[expected]), bound.member);
            if (order > 0 || (order == 0 && !bound.behind)) {
                break;
            }
            expected++;
        }
        cr_assert_eq(tree_rank_of(&model->tree, &bound), expected);
    }
}

static void verify_walk(struct model *model, size_t from, bool down) {
    struct tree_iter iter;
    tree_iter_init(&iter, &model->tree, from, down);
    size_t n = down ? from + 1 : model->count - from;
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(tree_iter_next(&iter), model->items[down ? from - i : from + i]);
    }
    cr_assert_null(tree_iter_next(&iter));
}

static void verify(struct model *model) {
    tree_verify(&model->tree);
    cr_assert_eq(model->tree.count, model->count);
    size_t items = 0;
    for (size_t i = 0; i < model->count; i++) {
        items += heap_block_bytes(tree_item_bytes(tree_item_member(model->items[i]).len));
    }
    cr_assert_eq(tree_bytes(&model->tree) + items, heap_used(model->heap));
    for (size_t i = 0; i < model->count; i += 1 + model->count / 100) {
        cr_assert_eq(tree_rank(&model->tree, model->items[i]), i);
        cr_assert_eq(tree_at(&model->tree, i), model->items[i]);
    }
    if (model->count > 0) {
        verify_walk(model, 0, false);
        verify_walk(model, model->count - 1, true);
        verify_walk(model, draw_place(model), false);
        verify_walk(model, draw_place(model), true);
    }
    verify_bounds(model);
}

static void step(struct model *model, size_t target) {
    uint64_t dice = rng_below(&model->rng, 100);
    bool grows = model->count < target ? dice < 70 : dice < 30;
    if (model->count == 0 || (grows && model->count < ITEMS_MAX)) {
        add(model);
    } else if (dice % 4 == 0) {
        rescore(model, draw_place(model));
    } else if (dice % 50 == 1) {
        size_t at = draw_place(model);
        uint64_t most = dice < 55 ? model->count : 300;
        size_t n = rng_below(&model->rng, most);
        drop_range(model, at, n < model->count - at ? n : model->count - at);
    } else {
        drop(model, draw_place(model));
    }
}

static struct tree_item *move(void *arg, struct tree_item *item) {
    struct model *model = arg;
    size_t at = place_of(model, item), copied, bytes;
    bytes = tree_item_bytes(tree_item_member(item).len);
    cr_assert_eq(model->items[at], item);
    model->items[at] = heap_relocate(model->heap, item, bytes, &copied);
    return model->items[at];
}

static void relocate(struct model *model) {
    uint64_t rank = 0;
    while (rank < model->tree.count) {
        size_t copied;
        rank = tree_relocate(&model->tree, model->heap, rank, move, model, &copied);
    }
    cr_assert_eq(rank, model->tree.count);
    verify(model);
}

static void run(enum scores scores, size_t most, uint64_t seed) {
    struct model *model = calloc(1, sizeof *model);
    model->heap = shard_heap_new();
    model->scores = scores;
    rng_seed(&model->rng, seed);
    for (unsigned round = 0; round < 12; round++) {
        size_t target = rng_below(&model->rng, most);
        for (size_t i = 0; i < most; i++) {
            step(model, target);
        }
        verify(model);
        relocate(model);
    }
    while (model->count > 0) {
        drop(model, draw_place(model));
        if (model->count % 512 == 0) {
            verify(model);
        }
    }
    cr_assert_eq(heap_used(model->heap), 0);
    /* And freed in slices, its items first. */
    for (size_t i = 0; i < most; i++) {
        add(model);
    }
    while (model->count > 0) {
        tree_item_free(model->heap, model->items[--model->count]);
    }
    size_t budget = 1;
    while (!tree_free_some(&model->tree, model->heap, &budget)) {
        budget = 1 + rng_below(&model->rng, 5000);
    }
    cr_assert_eq(heap_used(model->heap), 0);
    shard_heap_free(model->heap);
    free(model);
}

static void run_sizes(enum scores scores) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
        run(scores, 12, seed);
        run(scores, 600, seed);
    }
    run(scores, ITEMS_MAX, 4);
}

Test(tree, agrees_with_an_array) {
    run_sizes(SPREAD);
}

Test(tree, agrees_with_an_array_when_there_are_few_scores) {
    run_sizes(FEW);
}

Test(tree, agrees_with_an_array_when_all_scores_are_equal) {
    run_sizes(EQUAL);
}

Test(tree, agrees_with_an_array_when_scores_ascend) {
    run_sizes(ASCENDING);
}

Test(tree, agrees_with_an_array_when_scores_descend) {
    run_sizes(DESCENDING);
}

Test(tree, agrees_with_an_array_when_scores_are_at_their_limits) {
    run_sizes(WILD);
}

/* Bytes of the tree itself for each of 200,000 items. */
static double bytes_per_item(enum scores scores) {
    enum { MANY = 200000 };
    struct shard_heap *heap = shard_heap_new();
    struct model *model = calloc(1, sizeof *model);
    model->scores = scores;
    rng_seed(&model->rng, 1);
    struct tree tree = {0};
    for (unsigned i = 0; i < MANY; i++) {
        char name[24];
        int length = snprintf(name, sizeof name, "member:%09u", i);
        double score = draw_score(model);
        tree_insert(&tree, heap, tree_item_new(heap, bytes_make(name, (size_t)length), score));
    }
    tree_verify(&tree);
    double bytes = (double)tree_bytes(&tree) / MANY;
    free(model);
    shard_heap_free(heap);
    return bytes;
}

Test(tree, takes_little_more_than_a_word_for_each_item) {
    cr_assert_lt(bytes_per_item(ASCENDING), 8.7);
    cr_assert_lt(bytes_per_item(DESCENDING), 8.7);
    cr_assert_lt(bytes_per_item(SPREAD), 9.3);
    cr_assert_lt(bytes_per_item(EQUAL), 9.3);
}

/* Ascending items leave full nodes. What then came in between, at the end of one of them but not of
 * its level, each before the one before, made a node of one leaf of every half that was left over.
 */
Test(tree, what_comes_in_between_full_nodes_takes_no_more) {
    enum { PUT_FIRST = 4 * 64 * 126, GAP = 64 * 126 - 100, PUT_BETWEEN = 60000 };
    struct shard_heap *heap = shard_heap_new();
    struct tree tree = {0};
    for (unsigned i = 0; i < PUT_FIRST; i++) {
        tree_insert(&tree, heap, tree_item_new(heap, BYTES("member"), i));
    }
    for (unsigned i = 1; i <= PUT_BETWEEN; i++) {
        tree_insert(&tree, heap, tree_item_new(heap, BYTES("member"), GAP + 1 - i * 1e-6));
    }
    tree_verify(&tree);
    cr_assert_lt((double)tree_bytes(&tree) / (PUT_FIRST + PUT_BETWEEN), 10);
    struct rng rng;
    rng_seed(&rng, 1);
    while (tree.count > 0) {
        struct tree_item *item = tree_at(&tree, rng_below(&rng, tree.count));
        tree_remove(&tree, heap, item);
        tree_item_free(heap, item);
        if (tree.count % 4096 == 0) {
            tree_verify(&tree);
        }
    }
    cr_assert_eq(heap_used(heap), 0);
    shard_heap_free(heap);
}
