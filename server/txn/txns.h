/* SPDX-License-Identifier: BSD-3-Clause */
/* txns: the transactions of one worker, as coordinator and as owner of keys (txn.h), and the queues
 * of MULTI that it keeps for use again (multi.h).
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_TXN_TXNS_H
#define SHOAL_SERVER_TXN_TXNS_H

#include "base/list.h"
#include "base/pqueue.h"
#include "server/worker/stock.h"

#include <stdbool.h>

struct multi_queue;
struct txn;

struct txns {
    struct txn *pool;
    struct stock stock;
    struct pqueue parts; /* that hold locks here, by the transaction's time */
    /* Scripts of this home that need all shards in view (txn_riders.c): the one that has asked for
     * it, and those that wait for it to end. */
    struct txn *asks_view, *first_in_line, *last_in_line;
    bool gathering;    /* nobody asks before all have come that come in this turn */
    struct list puts;  /* large values on their way to keys here: struct put_later */
    struct list packs; /* parts that pack values for another server */
    struct list tries; /* waits that may be over, once CLIENT PAUSE is (blocked.h) */
};

struct queues {
    struct multi_queue *pool;
    struct stock stock;
};

#endif
