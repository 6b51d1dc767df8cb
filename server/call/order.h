/* SPDX-License-Identifier: BSD-3-Clause */
/* order: the writes of a connection take effect in the order in which it sent them, on whatever
 * shards (pipeline-order writes; strict: its reads too).
 *
 * Each connection has one baton: who has it may run the next of the ordered ops. Where the order
 * goes on at another shard, it is handed over, by a message from owner to owner. Home alone knows
 * the order: it says in the batches, before it sends them, which ops wait for the baton and which
 * hand it on, and to whom.
 *
 * Thread: home's functions at the client's home, the owner's where the batch runs.
 */
#ifndef SHOAL_SERVER_CALL_ORDER_H
#define SHOAL_SERVER_CALL_ORDER_H

#include "server/call/command.h"
#include "server/config/config.h"

#include <stdbool.h>

struct batch;
struct op;

/* Of one connection, at its home. */
struct order {
    enum config_pipeline_order kind; /* of what is away */
    unsigned hand_overs;             /* of the baton, in what is away */
    struct batch *last;              /* with the last ordered op, until it is back; or NULL */
};

/* Each may take a turn of two threads: with more than that on their way no more input is taken up,
 * so that what a client leaves behind is over soon. */
#define ORDER_HAND_OVERS_MAX 128

/* Home: whether a command with these flags keeps its place among those of other shards. */
static inline bool order_holds(const struct order *order, unsigned command_flags) {
    return order->kind == CONFIG_PIPELINE_STRICT ||
           (order->kind == CONFIG_PIPELINE_WRITES && (command_flags & CMD_WRITE));
}
/* Home: whether such a command may not run at home yet, because one before it in order is away. */
static inline bool order_must_wait(const struct order *order, unsigned command_flags) {
    bool away = order->last != NULL;
#ifdef SHOAL_UNSAFE_ORDER_HOME /* a test: what was sent counts as done */
    away = false;
#endif
    return away && order_holds(order, command_flags);
}
/* Home: the op that was added to a batch just now is the next in order. */
void order_add(struct order *order, struct batch *batch);
/* Home: a batch is back. Returns the batch that the baton goes to now, or NULL. */
struct batch *order_batch_home(struct order *order, struct batch *batch);

/* Owner: an op that waits for the baton is next. False: it is not here yet. */
bool order_may_run(struct batch *batch);
/* Owner: an op that hands the baton on has run. Returns the batch that it goes to now. */
struct batch *order_hand_on(struct batch *batch, const struct op *op);
/* Owner of the keys: the baton has come, perhaps before the batch. True: the batch waits for it,
 * and goes on now. */
bool order_baton_came(struct batch *batch);

#endif
