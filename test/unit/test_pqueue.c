/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/pqueue.h"
#include "base/random.h"

#include "growth.h"

#include <criterion/criterion.h>
#include <stdlib.h>

struct item {
    struct pqueue_node node;
};

static int64_t lowest(const struct item *items, unsigned count, bool *ret_any) {
    int64_t key = INT64_MAX;
    *ret_any = false;
    for (unsigned i = 0; i < count; i++) {
        if (pqueue_node_queued(&items[i].node)) {
            *ret_any = true;
            key = items[i].node.key < key ? items[i].node.key : key;
        }
    }
    return key;
}

Test(pqueue, is_like_looking_at_all_of_them) {
    struct rng rng;
    rng_seed(&rng, 7);
    struct item items[60];
    struct pqueue queue;
    pqueue_init(&queue);
    for (unsigned i = 0; i < 60; i++) {
        pqueue_node_init(&items[i].node);
    }
    for (unsigned step = 0; step < 200000; step++) {
        struct item *item = &items[rng_below(&rng, 60)];
        if (!pqueue_node_queued(&item->node)) {
            pqueue_add(&queue, &item->node, (int64_t)rng_below(&rng, 40) - 20);
        } else if (rng_below(&rng, 3) == 0) {
            pqueue_remove(&queue, pqueue_first(&queue));
        } else {
            pqueue_remove(&queue, &item->node);
        }
        bool any;
        int64_t key = lowest(items, 60, &any);
        const struct pqueue_node *first = pqueue_first(&queue);
        cr_assert_eq(first != NULL, any);
        cr_assert(!any || (first->key == key && pqueue_node_queued(first)));
    }
}

Test(pqueue, removing_what_is_in_no_queue_is_harmless) {
    struct pqueue queue;
    struct item item;
    pqueue_init(&queue);
    pqueue_node_init(&item.node);
    pqueue_remove(&queue, &item.node);
    pqueue_add(&queue, &item.node, 3);
    pqueue_remove(&queue, &item.node);
    pqueue_remove(&queue, &item.node);
    cr_assert_null(pqueue_first(&queue));
}

/* Fills a queue with keys that go up, go down or jump, and takes all out again: the lowest first,
 * or as they came. */
static void fill_and_empty(unsigned n, int64_t step, bool lowest_first) {
    struct item *items = malloc(n * sizeof *items);
    cr_assert_not_null(items);
    struct pqueue queue;
    pqueue_init(&queue);
    for (unsigned i = 0; i < n; i++) {
        pqueue_node_init(&items[i].node);
        pqueue_add(&queue, &items[i].node, (int64_t)i * step % 65537);
    }
    int64_t last = INT64_MIN;
    for (unsigned i = 0; i < n; i++) {
        struct pqueue_node *node = lowest_first ? pqueue_first(&queue) : &items[i].node;
        cr_assert(!lowest_first || node->key >= last);
        last = node->key;
        pqueue_remove(&queue, node);
    }
    cr_assert_null(pqueue_first(&queue));
    free(items);
}

static void work(unsigned n) {
    static const int64_t steps[] = {1, -1, 7919, 0};
    for (unsigned i = 0; i < 4; i++) {
        fill_and_empty(n, steps[i], true);
        fill_and_empty(n, steps[i], false);
    }
}

Test(pqueue, any_order_costs_hardly_more_than_a_step_for_each) {
    assert_grows_gently(work, 2000);
}
