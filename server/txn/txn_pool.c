/* SPDX-License-Identifier: BSD-3-Clause */
/* txn_pool: transactions that are not in use. Each keeps the first block of its arena and room for
 * a part for each worker, so a steady load allocates nothing.
 */
#include "base/must.h"
#include "server/txn/txn_private.h"
#include "server/worker/room.h"
#include "server/worker/worker.h"

#include <stdlib.h>

#define ARENA_BLOCK_BYTES (16 * 1024)
#define TXNS_KEPT_MAX     64

static size_t txn_bytes(const struct worker *worker) {
    return sizeof(struct txn) + ARENA_BLOCK_BYTES +
           worker->server->workers_count * sizeof(struct txn_part);
}

struct txn *txn_take(struct worker *worker) {
    struct txn *txn = worker->txns.pool;
    if (txn != NULL) {
        worker->txns.pool = txn->next;
        stock_take(&worker->txns.stock);
        *txn = (struct txn){.arena = txn->arena, .space = txn->space};
    } else {
        txn = must_calloc(1, sizeof *txn);
        arena_init(&txn->arena, ARENA_BLOCK_BYTES);
        txn->space = must_calloc(worker->server->workers_count, sizeof *txn->space);
    }
    outbuf_init(&txn->out);
    return txn;
}

static void txn_drop(struct txn *txn) {
    arena_fini(&txn->arena);
    free(txn->space);
    free(txn);
}

void txn_put(struct worker *worker, struct txn *txn) {
    if (!room_may_keep(worker, &worker->txns.stock, TXNS_KEPT_MAX, txn_bytes(worker))) {
        txn_drop(txn);
        return;
    }
    arena_reset(&txn->arena);
    txn->next = worker->txns.pool;
    worker->txns.pool = txn;
    stock_put(&worker->txns.stock);
}

void txn_pool_drop(struct worker *worker, unsigned count) {
    for (; count > 0; count--) {
        struct txn *txn = worker->txns.pool;
        worker->txns.pool = txn->next;
        txn_drop(txn);
    }
}

size_t txn_pool_memory(const struct worker *worker) {
    return worker->txns.stock.count * txn_bytes(worker);
}
