/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/list.h"

#include <criterion/criterion.h>

struct item {
    int id;
    struct list_node node;
};

/* The ids from first to last as one decimal number. */
static int digits_of(const struct list *list) {
    int digits = 0;
    LIST_EACH(list, node) {
        digits = digits * 10 + LIST_ENTRY(node, struct item, node)->id;
    }
    return digits;
}

static void make(struct item *items, int n) {
    for (int i = 0; i < n; i++) {
        items[i].id = i + 1;
        list_node_init(&items[i].node);
    }
}

Test(list, empty_list_has_no_ends) {
    struct list list;
    list_init(&list);
    cr_assert(list_empty(&list));
    cr_assert_null(list_first(&list));
    cr_assert_null(list_last(&list));
    cr_assert_null(list_pop_front(&list));
    cr_assert_eq(digits_of(&list), 0);
}

Test(list, pushes_keep_order) {
    struct item items[4];
    struct list list;
    make(items, 4);
    list_init(&list);
    list_push_back(&list, &items[1].node);
    list_push_back(&list, &items[2].node);
    list_push_front(&list, &items[0].node);
    list_insert_after(&items[1].node, &items[3].node);
    cr_assert_eq(digits_of(&list), 1243);
    cr_assert_eq(list_first(&list), &items[0].node);
    cr_assert_eq(list_last(&list), &items[2].node);
    cr_assert_eq(list_pop_front(&list), &items[0].node);
    cr_assert_eq(digits_of(&list), 243);
}

Test(list, removal_unlinks_and_is_harmless_twice) {
    struct item items[3];
    struct list list;
    make(items, 3);
    list_init(&list);
    for (int i = 0; i < 3; i++) {
        list_push_back(&list, &items[i].node);
    }
    cr_assert(list_node_linked(&items[1].node));
    list_remove(&items[1].node);
    cr_assert(!list_node_linked(&items[1].node));
    list_remove(&items[1].node);
    cr_assert_eq(digits_of(&list), 13);
}

Test(list, safe_walk_allows_removing_each) {
    struct item items[5];
    struct list list;
    make(items, 5);
    list_init(&list);
    for (int i = 0; i < 5; i++) {
        list_push_back(&list, &items[i].node);
    }
    LIST_EACH_SAFE(&list, node) {
        if (LIST_ENTRY(node, struct item, node)->id % 2) {
            list_remove(node);
        }
    }
    cr_assert_eq(digits_of(&list), 24);
}

Test(list, splice_moves_all) {
    struct item items[4];
    struct list target, source;
    make(items, 4);
    list_init(&target);
    list_init(&source);
    list_splice_back(&target, &source);
    cr_assert(list_empty(&target));
    list_push_back(&target, &items[0].node);
    list_push_back(&source, &items[1].node);
    list_push_back(&source, &items[2].node);
    list_splice_back(&target, &source);
    cr_assert_eq(digits_of(&target), 123);
    cr_assert(list_empty(&source));
    list_push_back(&source, &items[3].node);
    cr_assert_eq(digits_of(&source), 4);
}
