/* SPDX-License-Identifier: BSD-3-Clause */
/* spare: memory that a worker keeps for use again, or frees little by little.
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_WORKER_SPARE_H
#define SHOAL_SERVER_WORKER_SPARE_H

#include "base/arena.h"
#include "base/outbuf.h"
#include "server/worker/stock.h"

struct spare {
    struct outbuf_chunk *chunks; /* for the replies of batches and transactions */
    struct stock chunks_stock;
    struct arena waste; /* queues that were large, freed little by little */
    size_t waste_bytes;
    struct outbuf waste_replies; /* and what clients that have gone did not read */
};

#endif
