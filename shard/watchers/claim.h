/* SPDX-License-Identifier: BSD-3-Clause */
/* claim: who ends a client's wait for keys: the first that asks, and nobody else.
 *
 * Crosses threads: it lies in the memory of the client's home, and every shard at which the client
 * waits may look at it and try, as long as its part of the wait is lent to it (waiters.h). Claimed
 * once, it stays so: the next wait has a claim of its own.
 *
 * By messages it could be done without an atomic, but then a shard would have to ask home before it
 * gives a value away, and for the time of that trip others would see what in Valkey nobody sees: a
 * value in a list for which somebody waits.
 */
#ifndef SHOAL_SHARD_WATCHERS_CLAIM_H
#define SHOAL_SHARD_WATCHERS_CLAIM_H

#include <stdatomic.h>
#include <stdbool.h>

struct claim {
    atomic_bool claimed;
};

void claim_init(struct claim *claim);
/* True for one caller: it must end the wait. */
bool claim_take(struct claim *claim);
/* Somebody has it. That nobody has may be over before the caller looks again. */
bool claim_is_taken(const struct claim *claim);

#endif
