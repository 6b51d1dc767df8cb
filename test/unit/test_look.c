/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/worker/look.h"

#include <criterion/criterion.h>

#define MS 1000000ull

/* One look a tenth of a millisecond; returns how many there were in `ms`. */
static unsigned looks_in(struct look *look, uint64_t *now_ns, unsigned ms, bool found,
                         uint64_t took_ns) {
    unsigned looks = 0;
    for (uint64_t until_ns = *now_ns + ms * MS; *now_ns < until_ns; *now_ns += MS / 10) {
        if (look_longest(look, LOOK_AWAY, *now_ns) > 0) {
            look_over(look, LOOK_AWAY, found, took_ns, *now_ns);
            looks++;
        }
    }
    return looks;
}

static struct look made(void) {
    struct look look;
    look_init(&look, true);
    return look;
}

Test(look, goes_on_while_it_finds_something_soon) {
    struct look look = made();
    uint64_t now_ns = 0;
    cr_assert_eq(looks_in(&look, &now_ns, 1000, true, 8000), 10000);
}

Test(look, ends_soon_and_costs_less_than_a_thousandth_when_nothing_comes) {
    struct look look = made();
    uint64_t now_ns = 0;
    uint64_t longest_ns = look_longest(&look, LOOK_AWAY, 0);
    cr_assert_leq(longest_ns, 20000, "a look is a few microseconds");
    cr_assert_leq(looks_in(&look, &now_ns, 20, false, longest_ns), LOOK_TRUST + 1);
    looks_in(&look, &now_ns, 2000, false, longest_ns);
    unsigned looks = looks_in(&look, &now_ns, 10000, false, longest_ns);
    cr_assert_leq(looks * longest_ns, 10000 * MS / 1000);
    cr_assert_gt(looks, 0, "and is tried again");
}

Test(look, ends_when_it_finds_something_at_a_higher_price_than_it_spares) {
    struct look look = made();
    uint64_t now_ns = 0;
    cr_assert_leq(looks_in(&look, &now_ns, 1000, true, look_longest(&look, LOOK_AWAY, 0)), 1000);
}

Test(look, is_back_within_a_second_when_it_pays_again) {
    struct look look = made();
    uint64_t now_ns = 0;
    looks_in(&look, &now_ns, 10000, false, 15000);
    looks_in(&look, &now_ns, 1000, true, 5000);
    cr_assert_eq(looks_in(&look, &now_ns, 1000, true, 5000), 10000);
}

Test(look, for_one_reason_says_nothing_of_the_other) {
    struct look look = made();
    uint64_t now_ns = 0;
    looks_in(&look, &now_ns, 10, false, 15000);
    cr_assert_eq(look_longest(&look, LOOK_AWAY, now_ns), 0);
    cr_assert_gt(look_longest(&look, LOOK_SERVED, now_ns), 0);
}

Test(look, never_happens_without_a_core_for_each_worker) {
    struct look look;
    look_init(&look, false);
    cr_assert_eq(look_longest(&look, LOOK_AWAY, 0), 0);
    cr_assert_eq(look_longest(&look, LOOK_SERVED, 1000 * MS), 0);
}
