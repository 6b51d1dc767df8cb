/* SPDX-License-Identifier: BSD-3-Clause */
/* pools: see the header. */
#include "server/worker/pools.h"

#include "server/call/batch.h"
#include "server/txn/multi.h"
#include "server/txn/txn.h"
#include "server/worker/worker.h"

static void chunk_pool_drop(struct worker *worker, unsigned count) {
    for (; count > 0; count--) {
        outbuf_free_kept(&worker->spare.chunks);
    }
}

static unsigned surplus(struct stock *stock, bool all) {
    stock->least = all ? stock->count : stock->least;
    return stock_surplus(stock);
}

void worker_trim_pools(struct worker *worker, bool all) {
    txn_pool_drop(worker, surplus(&worker->txns.stock, all));
    batch_pool_drop(worker, surplus(&worker->batches.stock, all));
    multi_pool_drop(worker, surplus(&worker->queues.stock, all));
    chunk_pool_drop(worker, surplus(&worker->spare.chunks_stock, all));
}

size_t worker_pools_memory(const struct worker *worker) {
    size_t chunk = sizeof(struct outbuf_chunk) + OUTBUF_CHUNK_BYTES;
    return txn_pool_memory(worker) + batch_pool_memory(worker) + multi_pool_memory(worker) +
           worker->spare.chunks_stock.count * chunk + worker->spare.waste_bytes +
           worker->spare.waste_replies.allocated;
}
