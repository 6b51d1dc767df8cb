/* SPDX-License-Identifier: BSD-3-Clause */
/* shard/ds/quicklist: what takes time goes from node to node, however many there are: it looked
 * each up in the directory, which is as long as the list. (What a list does is asked in
 * model_quicklist.) */
#include "shard/ds/quicklist.h"

#include "growth.h"
#include "shard/memory/heap.h"

#include <criterion/criterion.h>

#define NODES 6000

static struct shard_heap *heap;
static struct quicklist *list;

static void begin(void) {
    heap = shard_heap_new();
}

static void end(void) {
    cr_assert_eq(heap_used(heap), 0);
    shard_heap_free(heap);
}

TestSuite(quicklist, .init = begin, .fini = end);

/* A node for each element. */
static void make(unsigned n) {
    list = quicklist_new(heap, 1, 0);
    for (unsigned i = 0; i < n; i++) {
        quicklist_push(heap, list, i % 2 == 0 ? BYTES("even") : BYTES("odd"), true);
    }
}

static void drop(unsigned n) {
    size_t budget = SIZE_MAX;
    quicklist_verify(list);
    cr_assert_leq(quicklist_count(list), n);
    cr_assert(quicklist_free_some(heap, list, &budget));
}

static void look_for_what_is_not_there(unsigned n) {
    cr_assert_eq(quicklist_remove_equal(heap, list, BYTES("none"), n, false), 0);
    cr_assert_eq(quicklist_remove_equal(heap, list, BYTES("none"), n, true), 0);
}

Test(quicklist, what_is_not_there_is_looked_for_from_node_to_node) {
    assert_work_grows_gently(make, look_for_what_is_not_there, drop, NODES);
}

static void remove_half(unsigned n) {
    cr_assert_eq(quicklist_remove_equal(heap, list, BYTES("odd"), n / 4, true), n / 4);
    cr_assert_eq(quicklist_remove_equal(heap, list, BYTES("odd"), n, false), n / 4);
    struct quicklist_iter iter;
    char scratch[NUM_I64_BYTES];
    uint64_t left = 0;
    for (quicklist_iter_open(&iter, list, 0, false); !iter.over; quicklist_iter_next(&iter)) {
        cr_assert(bytes_equal(quicklist_iter_text(&iter, scratch), BYTES("even")));
        left++;
    }
    quicklist_iter_close(&iter);
    cr_assert_eq(left, n / 2);
}

Test(quicklist, what_is_everywhere_is_removed_from_node_to_node) {
    assert_work_grows_gently(make, remove_half, drop, NODES);
}

static void cut(unsigned n) {
    quicklist_remove(heap, list, n / 4, n / 2);
}

Test(quicklist, a_middle_is_cut_out_from_node_to_node) {
    assert_work_grows_gently(make, cut, drop, NODES);
}

static void copy(unsigned n) {
    struct quicklist *made = NULL;
    uint64_t cursor = 0;
    size_t budget = SIZE_MAX;
    cr_assert(quicklist_copy_some(heap, list, &made, &cursor, &budget));
    cr_assert(quicklist_free_some(heap, list, &budget));
    list = made;
    cr_assert_eq(quicklist_count(list), n);
}

Test(quicklist, it_is_copied_from_node_to_node) {
    assert_work_grows_gently(make, copy, drop, 4 * NODES);
}

static void move(unsigned n) {
    uint64_t cursor = 0;
    size_t budget = SIZE_MAX;
    cr_assert(quicklist_relocate_some(heap, &list, &cursor, &budget));
    cr_assert_eq(cursor, n);
}

Test(quicklist, it_is_moved_from_node_to_node) {
    assert_work_grows_gently(make, move, drop, NODES);
}
