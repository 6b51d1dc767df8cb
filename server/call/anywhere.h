/* SPDX-License-Identifier: BSD-3-Clause */
/* anywhere: runs a command on the shards of all workers, wherever its keys lie, at once and to its
 * end, for who has them all to itself: a script that all others are parked for, a log that is
 * replayed. What a transaction does with messages and locks is done here by plain calls.
 *
 * Thread: the one that has the view (park.h), or has all shards to itself (alone.h).
 */
#ifndef SHOAL_SERVER_CALL_ANYWHERE_H
#define SHOAL_SERVER_CALL_ANYWHERE_H

#include "server/call/call.h"

struct arena;
struct keyset;

struct anywhere {
    /* In whose name: worker, db, manner, txn and order, asked, inside. Shard and view are set for
     * each call. */
    struct caller caller;
    const struct view *view;
    struct arena *arena;  /* of one command: its keys and shares; the caller resets it */
    bool is_known_to_run; /* SPREAD_IF: nobody needs to be asked */
};

/* The command on keys (of keyset_new; none, if it has none). False: no such command can run so, and
 * nothing was done. */
bool anywhere_run(struct anywhere *anywhere, const struct call *what, struct reply *reply,
                  struct call_outcome *outcome);

#endif
