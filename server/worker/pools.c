/* SPDX-License-Identifier: BSD-3-Clause */
/* pools: see the header. */
#include "server/worker/pools.h"

#include "server/call/batch.h"
#include "server/txn/multi.h"
#include "server/txn/txn.h"
#include "server/worker/worker.h"

static void chunk_pool_drop(struct worker *worker, unsigned count) {
    for (; count > 0; count--) {
        outbuf_free_kept(&worker->chunk_pool);
    }
}

static unsigned surplus(struct stock *stock, bool all) {
    stock->least = all ? stock->count : stock->least;
    return stock_surplus(stock);
}

void worker_trim_pools(struct worker *worker, bool all) {
    txn_pool_drop(worker, surplus(&worker->txn_stock, all));
    batch_pool_drop(worker, surplus(&worker->batch_stock, all));
    multi_pool_drop(worker, surplus(&worker->multi_stock, all));
    chunk_pool_drop(worker, surplus(&worker->chunk_stock, all));
}

size_t worker_pools_memory(const struct worker *worker) {
    size_t chunk = sizeof(struct outbuf_chunk) + OUTBUF_CHUNK_BYTES;
    return txn_pool_memory(worker) + batch_pool_memory(worker) + multi_pool_memory(worker) +
           worker->chunk_stock.count * chunk + worker->waste_bytes +
           worker->waste_replies.allocated;
}
