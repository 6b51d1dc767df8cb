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

enum claim_state {
    CLAIM_FREE,
    CLAIM_TAKEN, /* for good */
    CLAIM_TRIED, /* a transaction of home's fetches what is there; if it is in vain, the claim is
                    free again */
};

struct claim {
    _Atomic(enum claim_state) claimed;
};

void claim_init(struct claim *claim);
/* What it was. It is `wanted` now if it was free: the caller, and nobody else, must end the wait,
 * or have home try to. */
enum claim_state claim_take(struct claim *claim, enum claim_state wanted);
/* What it was tried for was not there. Home's, while that transaction has the locks of all keys, so
 * that no shard asks for it. */
void claim_give_back(struct claim *claim);
/* What it is may be over before the caller looks again, but for CLAIM_TAKEN. */
enum claim_state claim_look(const struct claim *claim);

#endif
