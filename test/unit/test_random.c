/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/random.h"

#include <criterion/criterion.h>

Test(random, follows_the_published_generator) {
    /* xoshiro256** from state 1, 2, 3, 4: the values of the reference implementation. */
    struct rng rng = {{1, 2, 3, 4}};
    static const uint64_t expected[] = {11520u, 0u, 1509978240u, 1215971899390074240u};
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(rng_next(&rng), expected[i]);
    }
}

Test(random, same_seed_same_run) {
    struct rng a, b, c;
    rng_seed(&a, 7);
    rng_seed(&b, 7);
    rng_seed(&c, 8);
    int same = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t value = rng_next(&a);
        cr_assert_eq(value, rng_next(&b));
        same += value == rng_next(&c);
    }
    cr_assert_eq(same, 0);
}

Test(random, seed_zero_is_as_good_as_any) {
    struct rng rng;
    rng_seed(&rng, 0);
    uint64_t all = 0;
    for (int i = 0; i < 100; i++) {
        all |= rng_next(&rng);
    }
    cr_assert_eq(all, UINT64_MAX);
}

Test(random, below_stays_below_and_hits_everything_evenly) {
    struct rng rng;
    rng_seed(&rng, 3);
    int hits[10] = {0};
    for (int i = 0; i < 100000; i++) {
        uint64_t value = rng_below(&rng, 10);
        cr_assert_lt(value, 10);
        hits[value]++;
    }
    for (int i = 0; i < 10; i++) {
        cr_assert(hits[i] > 9500 && hits[i] < 10500, "%d was hit %d times", i, hits[i]);
    }
    cr_assert_eq(rng_below(&rng, 0), 0);
    cr_assert_eq(rng_below(&rng, 1), 0);
    for (int i = 0; i < 1000; i++) {
        cr_assert_lt(rng_below(&rng, UINT64_MAX / 2 + 2), UINT64_MAX / 2 + 2);
    }
}

Test(random, unit_lies_in_zero_to_one) {
    struct rng rng;
    rng_seed(&rng, 5);
    double sum = 0;
    for (int i = 0; i < 10000; i++) {
        double value = rng_unit(&rng);
        cr_assert(value >= 0 && value < 1);
        sum += value;
    }
    cr_assert(sum > 4800 && sum < 5200);
}
