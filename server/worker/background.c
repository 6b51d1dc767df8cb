/* SPDX-License-Identifier: BSD-3-Clause */
/* background: see the header. */
#include "server/worker/background.h"

#include "net/rt.h"
#include "server/txn/txn.h"
#include "server/worker/worker.h"

int64_t background_work(struct worker *worker) {
    int64_t now_ms = rt_wall_ms(worker->rt);
    int64_t until_ms = txn_expiry_ms(worker, now_ms);
    int64_t next_ms = keyspace_work(worker->shard.keyspace, until_ms);
    /* What a transaction holds back comes up in the turn in which that ends. */
    return next_ms > until_ms && next_ms <= now_ms ? now_ms + 1 : next_ms;
}
