/* SPDX-License-Identifier: BSD-3-Clause */
/* growth: is sixteen times as much work sixteen times as dear, more or less? What is quadratic
 * takes 256 times as long. No limit on time: the same code is measured against itself, in the
 * thread's own CPU time, and the best of some tries counts. */
#ifndef SHOAL_TEST_GROWTH_H
#define SHOAL_TEST_GROWTH_H

#include <criterion/criterion.h>
#include <stdint.h>
#include <time.h>

#define GROWTH_FACTOR 16
/* Caches and logarithms may cost as much again, and then half. */
#define GROWTH_MAX (GROWTH_FACTOR * 5)

typedef void growth_fn(unsigned n);

/* `make` and `drop` (NULL: nothing) are not measured. */
static inline uint64_t growth_measure(growth_fn *make, growth_fn *work, growth_fn *drop,
                                      unsigned n) {
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        struct timespec start, end;
        if (make != NULL) {
            make(n);
        }
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
        work(n);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
        if (drop != NULL) {
            drop(n);
        }
        uint64_t ns = (uint64_t)(end.tv_sec - start.tv_sec) * 1000000000u + (uint64_t)end.tv_nsec -
                      (uint64_t)start.tv_nsec;
        best = ns < best ? ns : best;
    }
    return best;
}

/* `n` must be enough that its work, and not what surrounds it, takes the time. */
static inline void assert_work_grows_gently(growth_fn *make, growth_fn *work, growth_fn *drop,
                                            unsigned n) {
    uint64_t few = growth_measure(make, work, drop, n);
    uint64_t many = growth_measure(make, work, drop, n * GROWTH_FACTOR);
    cr_assert_lt(many, few * GROWTH_MAX, "%u: %llu ns, %u: %llu ns", n, (unsigned long long)few,
                 n * GROWTH_FACTOR, (unsigned long long)many);
}

static inline void assert_grows_gently(growth_fn *work, unsigned n) {
    assert_work_grows_gently(NULL, work, NULL, n);
}

#endif
