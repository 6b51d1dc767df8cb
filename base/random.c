/* SPDX-License-Identifier: BSD-3-Clause */
/* Seeding goes through splitmix64, as the generator's authors advise: it turns any seed, 0 too,
 * into a state that is not all zero and well mixed. */
#include "base/random.h"

void rng_seed(struct rng *rng, uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15u;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        rng->state[i] = z ^ (z >> 31);
    }
}

/* Multiply and take the high half; the few low halves that would favour some values are thrown
 * again (D. Lemire, "Fast random integer generation in an interval", 2019). */
uint64_t rng_below(struct rng *rng, uint64_t n) {
    if (n == 0) {
        return 0;
    }
    unsigned __int128 product = (unsigned __int128)rng_next(rng) * n;
    if ((uint64_t)product < n) {
        uint64_t unfair = (0 - n) % n;
        while ((uint64_t)product < unfair) {
            product = (unsigned __int128)rng_next(rng) * n;
        }
    }
    return (uint64_t)(product >> 64);
}
