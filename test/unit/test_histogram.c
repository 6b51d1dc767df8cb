/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/histogram.h"
#include "base/random.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct histogram *make(void) {
    struct histogram *histogram = malloc(sizeof(*histogram));
    histogram_reset(histogram);
    return histogram;
}

Test(histogram, empty_has_no_percentiles) {
    struct histogram *histogram = make();
    cr_assert_eq(histogram_percentile(histogram, 50), 0);
    cr_assert_eq(histogram_count_up_to(histogram, 1000), 0);
    free(histogram);
}

Test(histogram, buckets_rise_with_the_value_and_stay_inside) {
    uint32_t last = 0;
    for (uint64_t ns = 0; ns < 1u << 21; ns++) {
        uint32_t bucket = histogram_bucket(ns);
        cr_assert(bucket == last || bucket == last + 1 || ns <= 1);
        last = bucket;
    }
    cr_assert_lt(histogram_bucket(HISTOGRAM_NS_MAX), HISTOGRAM_BUCKETS);
    cr_assert_eq(histogram_bucket(UINT64_MAX), histogram_bucket(HISTOGRAM_NS_MAX));
    cr_assert_eq(histogram_bucket(0), histogram_bucket(1));
}

Test(histogram, keeps_two_significant_digits) {
    for (uint64_t ns = 1; ns < HISTOGRAM_NS_MAX; ns += ns / 97 + 1) {
        uint64_t highest = histogram_highest_equivalent(ns);
        cr_assert_geq(highest, ns);
        cr_assert_leq(highest - ns, ns / 100);
        cr_assert_eq(histogram_bucket(highest), histogram_bucket(ns));
        cr_assert_eq(histogram_bucket(highest + 1), histogram_bucket(ns) + 1);
    }
}

/* What Valkey prints for a command that takes 1, 2, 4 ... microseconds (INFO latencystats). */
Test(histogram, ends_buckets_where_other_servers_do) {
    cr_assert_eq(histogram_highest_equivalent(1000), 1003);
    cr_assert_eq(histogram_highest_equivalent(2000), 2007);
    cr_assert_eq(histogram_highest_equivalent(4000), 4015);
    cr_assert_eq(histogram_highest_equivalent(16384), 16511);
    cr_assert_eq(histogram_highest_equivalent(32768), 33023);
    cr_assert_eq(histogram_highest_equivalent(1000000), 1003519);
}

Test(histogram, percentiles_rank_the_records) {
    struct histogram *histogram = make();
    for (int i = 0; i < 90; i++) {
        histogram_record(histogram, 10, 1);
    }
    for (int i = 0; i < 9; i++) {
        histogram_record(histogram, 200, 1);
    }
    histogram_record(histogram, 5000000000u, 1);
    cr_assert_eq(histogram->total, 100);
    cr_assert_eq(histogram_percentile(histogram, 0), 10);
    cr_assert_eq(histogram_percentile(histogram, 50), 10);
    cr_assert_eq(histogram_percentile(histogram, 90), 10);
    cr_assert_eq(histogram_percentile(histogram, 91), 200);
    cr_assert_eq(histogram_percentile(histogram, 99), 200);
    cr_assert_eq(histogram_percentile(histogram, 100),
                 histogram_highest_equivalent(HISTOGRAM_NS_MAX));
    cr_assert_eq(histogram_count_up_to(histogram, 199), 90);
    cr_assert_eq(histogram_count_up_to(histogram, 200), 99);
    cr_assert_eq(histogram_count_up_to(histogram, UINT64_MAX), 100);
    free(histogram);
}

Test(histogram, adding_equals_recording_all_in_one) {
    struct histogram *parts[3] = {make(), make(), make()};
    struct histogram *all = make();
    struct histogram *sum = make();
    struct rng rng;
    rng_seed(&rng, 1);
    for (int i = 0; i < 10000; i++) {
        uint64_t ns = rng_next(&rng) >> (rng_below(&rng, 40) + 24);
        histogram_record(parts[i % 3], ns, 1);
        histogram_record(all, ns, 1);
    }
    for (int i = 0; i < 3; i++) {
        histogram_add(sum, parts[i]);
        free(parts[i]);
    }
    cr_assert_eq(memcmp(sum, all, sizeof(*all)), 0);
    histogram_reset(sum);
    cr_assert_eq(sum->total, 0);
    cr_assert_eq(histogram_count_up_to(sum, UINT64_MAX), 0);
    free(all);
    free(sum);
}
