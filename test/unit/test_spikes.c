/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/observe/spikes.h"

#include <criterion/criterion.h>

Test(spikes, one_for_each_second_is_kept_the_longest) {
    struct spikes spikes = {0};
    spikes_add(&spikes, 100, 5);
    spikes_add(&spikes, 100, 9);
    spikes_add(&spikes, 100, 7);
    spikes_add(&spikes, 101, 3);
    cr_assert_eq(spikes.count, 2);
    cr_assert(spikes_at(&spikes, 0)->at_s == 100 && spikes_at(&spikes, 0)->ms == 9);
    cr_assert(spikes_at(&spikes, 1)->at_s == 101 && spikes_at(&spikes, 1)->ms == 3);
    cr_assert_eq(spikes.max_ms, 9);
}

Test(spikes, the_oldest_go_and_are_counted_still) {
    struct spikes spikes = {0};
    for (int i = 0; i < SPIKES_KEPT + 40; i++) {
        spikes_add(&spikes, 1000 + i, i == 0 ? 500 : 1 + i % 7);
    }
    cr_assert_eq(spikes.count, SPIKES_KEPT);
    for (uint32_t n = 0; n < SPIKES_KEPT; n++) {
        cr_assert_eq(spikes_at(&spikes, n)->at_s, 1000 + 40 + (int64_t)n);
        cr_assert_eq(spikes_at(&spikes, n)->ms, 1 + (40 + (int64_t)n) % 7);
    }
    cr_assert_eq(spikes.max_ms, 500);
    cr_assert_eq(spikes.all, SPIKES_KEPT + 40);
}

Test(spikes, who_is_late_counts_as_of_the_second_before) {
    struct spikes spikes = {0};
    spikes_add(&spikes, 100, 5);
    spikes_add(&spikes, 99, 8);
    cr_assert_eq(spikes.count, 1);
    cr_assert(spikes_at(&spikes, 0)->at_s == 100 && spikes_at(&spikes, 0)->ms == 8);
    cr_assert_eq(spikes.all, 2);
    cr_assert_eq(spikes.sum_ms, 13);
}

Test(spikes, merged_they_are_in_order_and_the_longer_of_a_second_stays) {
    struct spikes a = {0}, b = {0}, empty = {0};
    for (int i = 0; i < 100; i += 2) {
        spikes_add(&a, 1000 + i, 10);
    }
    for (int i = 0; i < 100; i += 5) {
        spikes_add(&b, 1000 + i, i % 2 == 0 ? 20 : 30);
    }
    spikes_merge(&a, &b);
    spikes_merge(&a, &empty);
    cr_assert_eq(a.all, 70);
    cr_assert_eq(a.sum_ms, 50 * 10 + 10 * 20 + 10 * 30);
    cr_assert_eq(a.max_ms, 30);
    cr_assert_eq(a.count, 60);
    uint32_t n = 0;
    for (int i = 0; i < 100; i++) {
        if (i % 2 == 0 || i % 5 == 0) {
            int64_t ms = i % 10 == 0 ? 20 : i % 2 == 0 ? 10 : 30;
            cr_assert(spikes_at(&a, n)->at_s == 1000 + i && spikes_at(&a, n)->ms == ms);
            n++;
        }
    }
}

Test(spikes, of_two_that_are_full_the_newest_of_both_are_kept) {
    struct spikes a = {0}, b = {0};
    for (int i = 0; i < 2 * SPIKES_KEPT; i++) {
        spikes_add(&a, 2 * i, 1);
        spikes_add(&b, 2 * i + 1, 2);
    }
    spikes_merge(&a, &b);
    cr_assert_eq(a.count, SPIKES_KEPT);
    for (uint32_t n = 0; n < SPIKES_KEPT; n++) {
        int64_t at_s = 4 * SPIKES_KEPT - SPIKES_KEPT + (int64_t)n;
        cr_assert(spikes_at(&a, n)->at_s == at_s && spikes_at(&a, n)->ms == 1 + at_s % 2);
    }
    cr_assert_eq(a.all, 4 * SPIKES_KEPT);
}
