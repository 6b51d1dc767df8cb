/* SPDX-License-Identifier: BSD-3-Clause */
/* histogram: how long things took, with two significant digits from 1 ns to 1 s.
 *
 * Thread: one at a time; histograms of several threads are added up by whoever collects them.
 * Memory: 24 KB inside the struct. The caller allocates one per command that was ever called, not
 * per command there is. Counts are 64 bits wide: at 3 million calls a second 32 bits would wrap
 * within half an hour.
 *
 * The buckets are those of an HdrHistogram (lowest 1, highest 1e9, 2 digits), so that percentiles
 * come out as other servers of this protocol print them: 256 linear steps, then 128 steps for each
 * doubling.
 */
#ifndef SHOAL_BASE_HISTOGRAM_H
#define SHOAL_BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_NS_MAX  1000000000
#define HISTOGRAM_BUCKETS 3072

struct histogram {
    uint64_t total;
    uint64_t counts[HISTOGRAM_BUCKETS];
};

void histogram_reset(struct histogram *histogram);

/* The bucket of a duration; out of range counts as the nearest end of the range. */
static inline uint32_t histogram_bucket(uint64_t ns) {
    ns = ns < 1 ? 1 : ns;
    ns = ns > HISTOGRAM_NS_MAX ? HISTOGRAM_NS_MAX : ns;
    uint32_t doublings = (uint32_t)(56 - __builtin_clzll(ns | 255));
    return doublings * 128 + (uint32_t)(ns >> doublings);
}

/* That `count` things took so long each. */
static inline void histogram_record(struct histogram *histogram, uint64_t ns, uint64_t count) {
    histogram->counts[histogram_bucket(ns)] += count;
    histogram->total += count;
}

void histogram_add(struct histogram *target, const struct histogram *source);

/* The duration that `percent` of all records do not exceed, as the highest value of its bucket; 0
 * without records. */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);

/* The highest duration that shares a bucket with ns. */
uint64_t histogram_highest_equivalent(uint64_t ns);

/* How many records lie in buckets up to that of ns. */
uint64_t histogram_count_up_to(const struct histogram *histogram, uint64_t ns);

#endif
