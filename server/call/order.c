/* SPDX-License-Identifier: BSD-3-Clause */
/* order: see the header. Why so: who has seen a write of a connection (a job's number in a queue)
 * must find the earlier ones (the job), wherever they are. To wait at home for each write would
 * cost a pipeline a trip per op. Here all its ops are sent at once, those of a shard in one batch,
 * and what goes from thread to thread between them is one small message where the order changes
 * shards: no more than the number of times that it does so.
 *
 *     batch to X   a . b . . . e          a, b, c, d, e: writes, in order; dots: reads
 *     batch to Y     .   c d .            b hands on to Y, c waits; d hands on to X, e waits
 *
 * Where the next batch was not known yet when this one was sent, home hands on, once that is back.
 * Reads are not in order, but ops on one shard run one after the other: those behind a write that
 * waits do wait, and see it.
 *
 * Invariants
 *  1. The baton is handed on when the op before has run; not when it was begun, or stands in line
 * for a lock. It is a message, so it is seen with all that its sender has done, once the sender's
 * turn is over: what must happen to a turn before anybody sees its effects has happened then.
 *  2. A batch that waits is not back, so what a message or `next` names is there. A batch is handed
 * the baton at most once for each op that waits, and only one at a time.
 *  3. The op that is first in order and has not run waits for nothing but a lock, or for ops of the
 * same connection that are before it in order or not in order at all: so there are no circles.
 */
#include "server/call/order.h"

#include "base/check.h"
#include "server/call/batch.h"

void order_add(struct order *order, struct batch *batch) {
    struct op *op = &batch->ops[batch->count - 1];
    struct batch *last = order->last;
    if (last != NULL && last->target != batch->target) {
        op->waits = true;
        batch->hand_overs++;
        order->hand_overs++;
        if (last->sent) {
            last->next_in_order = batch;
        } else {
            last->ops[last->last_in_order].next = batch;
        }
    }
    batch->last_in_order = batch->count - 1;
    order->last = batch;
}

struct batch *order_batch_home(struct order *order, struct batch *batch) {
    if (order->last == batch) {
        order->last = NULL;
    }
    order->hand_overs -= batch->hand_overs;
    return batch->next_in_order;
}

bool order_may_run(struct batch *batch) {
    batch->waits_for_baton = !batch->has_baton;
    return batch->has_baton;
}

struct batch *order_hand_on(struct batch *batch, const struct op *op) {
    batch->has_baton = false;
    return op->next;
}

bool order_baton_came(struct batch *batch) {
    check(!batch->has_baton);
    bool waited = batch->waits_for_baton;
    batch->has_baton = true;
    batch->waits_for_baton = false;
    return waited;
}
