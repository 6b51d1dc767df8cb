/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/slots.h"

#include "server/node.h"

#include <criterion/criterion.h>

static struct slots slots;

TestSuite(slots);

Test(slots, ranges_are_contiguous_and_even) {
    slots_init(&slots, 2, 3);
    unsigned counts[5] = {0};
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        unsigned owner = slots_owner(&slots, (uint16_t)slot);
        cr_assert(owner >= 2 && owner < 5);
        cr_assert(slot == 0 || owner >= slots_owner(&slots, (uint16_t)(slot - 1)));
        counts[owner]++;
    }
    for (unsigned i = 2; i < 5; i++) {
        cr_assert(counts[i] == SLOTS / 3 || counts[i] == SLOTS / 3 + 1);
    }
}

Test(slots, every_worker_of_the_most_has_its_own) {
    slots_init(&slots, 0, SLOTS_OWNERS_MAX);
    cr_assert_eq(slots_owner(&slots, 0), 0);
    cr_assert_eq(slots_owner(&slots, SLOTS - 1), SLOTS_OWNERS_MAX - 1);
}

Test(slots, an_epoch_is_odd_while_the_table_changes_and_another_one_afterwards) {
    slots_init(&slots, 0, 4);
    uint64_t before = slots_epoch(&slots);
    cr_assert(!slots_changing(before));
    slots_begin(&slots);
    cr_assert(slots_changing(slots_epoch(&slots)));
    slots_give(&slots, 5, 3);
    slots_end(&slots);
    cr_assert(!slots_changing(slots_epoch(&slots)));
    cr_assert_neq(slots_epoch(&slots), before);
    cr_assert_eq(slots_owner(&slots, 5), 3);
    cr_assert_eq(slots_owner(&slots, 4), 0);
    cr_assert_eq(slots_owner(&slots, 6), 0);
}

Test(slots, a_node_has_the_workers_and_the_port_that_follow_its_number) {
    static struct node node;
    node_init(&node, NULL, 2, "0123456789012345678901234567890123456789", 6, 2);
    unsigned seen = 0;
    NODE_EACH_WORKER(&node, i) {
        cr_assert(i == 6 || i == 7);
        seen++;
    }
    cr_assert_eq(seen, 2);
    cr_assert_eq(node_owner(&node, 0), 6);
    cr_assert_eq(node_owner(&node, SLOTS - 1), 7);
    cr_assert_eq(node_port(&node, 7000), 7002);
}
