/* SPDX-License-Identifier: BSD-3-Clause */
/* random: a small fast generator (xoshiro256**) for sampling, eviction and tests.
 *
 * Thread: one at a time; each owner seeds its own, so that a simulated run repeats. Not for
 * secrets. Reference: D. Blackman, S. Vigna, "Scrambled linear pseudorandom number generators",
 * 2021.
 */
#ifndef SHOAL_BASE_RANDOM_H
#define SHOAL_BASE_RANDOM_H

#include <stdint.h>

struct rng {
    uint64_t state[4];
};

/* Any seed will do, 0 too. */
void rng_seed(struct rng *rng, uint64_t seed);

static inline uint64_t rng_rotate(uint64_t x, int k) {
    return (x << k) | (x >> (64 - k));
}

static inline uint64_t rng_next(struct rng *rng) {
    uint64_t *s = rng->state;
    uint64_t value = rng_rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rng_rotate(s[3], 45);
    return value;
}

/* Even over 0 .. n - 1; 0 when n is 0. */
uint64_t rng_below(struct rng *rng, uint64_t n);

/* Even over [0, 1). */
static inline double rng_unit(struct rng *rng) {
    return (double)(rng_next(rng) >> 11) * 0x1.0p-53;
}

#endif
