/* SPDX-License-Identifier: BSD-3-Clause */
/* Bucket b below 256 holds the value b. From there each doubling d (1, 2, ...) has 128 buckets of
 * 2^d values, which keeps two digits: 256 steps in a decade's upper half are finer than 1 in 100.
 */
#include "base/histogram.h"

#include <string.h>

void histogram_reset(struct histogram *histogram) {
    memset(histogram, 0, sizeof(*histogram));
}

void histogram_add(struct histogram *target, const struct histogram *source) {
    if (source->total == 0) {
        return;
    }
    target->total += source->total;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        target->counts[i] += source->counts[i];
    }
}

static uint64_t histogram_bucket_highest(uint32_t bucket) {
    uint32_t doublings = bucket < 256 ? 0 : bucket / 128 - 1;
    uint64_t step = bucket - doublings * 128;
    return ((step + 1) << doublings) - 1;
}

uint64_t histogram_highest_equivalent(uint64_t ns) {
    return histogram_bucket_highest(histogram_bucket(ns));
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent) {
    if (histogram->total == 0) {
        return 0;
    }
    percent = percent > 100 ? 100 : percent;
    uint64_t wanted = (uint64_t)(percent / 100 * (double)histogram->total + 0.5);
    wanted = wanted < 1 ? 1 : wanted;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen >= wanted) {
            return histogram_bucket_highest(i);
        }
    }
    return histogram_highest_equivalent(HISTOGRAM_NS_MAX);
}

uint64_t histogram_count_up_to(const struct histogram *histogram, uint64_t ns) {
    uint64_t seen = 0;
    for (uint32_t i = 0; i <= histogram_bucket(ns); i++) {
        seen += histogram->counts[i];
    }
    return seen;
}
