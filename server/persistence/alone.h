/* SPDX-License-Identifier: BSD-3-Clause */
/* alone: while data is loaded, worker 0 has the keys of all shards to itself for a slice of time.
 * The others are parked (worker/park.h) for that long, and answer again after it. It is no
 * transaction: as long as data is loaded no command may see a key, so there are no locks and nobody
 * else who parks (who could is refused: DEBUG).
 *
 *     alone_ask; some turns later alone_is; work; alone_over
 *
 * Thread: worker 0's; alone_asked on each other worker.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_ALONE_H
#define SHOAL_SERVER_PERSISTENCE_ALONE_H

#include "shard/mailbox.h"

#include <stdbool.h>

struct worker;

struct alone {
    struct message *messages; /* by worker */
    unsigned away;            /* that have not answered yet */
    bool asked;
};

void alone_init(struct alone *alone, unsigned workers);
void alone_fini(struct alone *alone);
/* Nothing happens if it has asked already. */
void alone_ask(struct alone *alone, struct worker *worker);
static inline bool alone_is(const struct alone *alone) {
    return alone->asked && alone->away == 0;
}
/* The others go on. */
void alone_over(struct alone *alone, struct worker *worker);

/* Messages. */
void alone_asked(struct worker *worker, struct message *message);

#endif
