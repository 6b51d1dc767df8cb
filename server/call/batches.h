/* SPDX-License-Identifier: BSD-3-Clause */
/* batches: of one worker, as home and as owner of keys (batch.h).
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_CALL_BATCHES_H
#define SHOAL_SERVER_CALL_BATCHES_H

#include "base/links.h"
#include "base/list.h"
#include "server/call/call.h"
#include "server/worker/stock.h"

struct batch;

struct batches {
    /* Home's. */
    struct batch *pool;
    struct stock stock;
    struct batch **open; /* by target: of the client that is being worked off */
    unsigned open_count;
    unsigned wide_ops; /* of its clients, in batches: on one shard, but in several slots */
    /* The owner's. */
    struct links suspended; /* whose next op waits, by client: for a lock */
    struct list cut;        /* or for the next turn */
    struct call_run run;    /* calls that are not counted yet: batches_settle */
    uint64_t run_tick;      /* since then */
};

#endif
