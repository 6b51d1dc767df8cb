/* SPDX-License-Identifier: BSD-3-Clause */
/* debug_slots: see the header. One moment of all shards: a transaction that has everything locked
 * begins the change of the table (server/slots.h), asks all workers, has the keys lent to the shard
 * where they belong from now on and copied there, and ends it.
 *
 *     all locked -> begin -> ask all -- one says no ----------------------> end: -BUSYSLOT
 *                                   \-- lend -> put -> drop -> give -> end: +OK
 *
 * A worker says no while one of its clients has an operation on its way whose keys lie in several
 * slots of one shard: those may not part. So does the owner while somebody watches keys there, or
 * waits for them: marks and lines do not travel; or while a save has still to see them. All of that
 * passes, and the change is asked for again.
 */
#include "server/commands/server/debug_slots.h"

#include "base/num.h"
#include "net/rt.h"
#include "server/call/batch.h"
#include "server/call/scatter.h"
#include "server/cluster/export_share.h"
#include "server/node.h"
#include "server/persistence/save_share.h"
#include "server/tracking/news.h"
#include "server/txn/txn.h"
#include "server/worker/view.h"
#include "shard/shard.h"

struct move_args {
    uint16_t slot;
    uint16_t from, to;
    struct slot_loan *lent; /* the keys */
};

struct move_part {
    bool busy;
    struct slot_loan *lent;
};

static bool ask_part(struct worker *worker, const void *args_ptr, void *part_ptr) {
    const struct move_args *args = args_ptr;
    struct move_part *part = part_ptr;
    const struct shard *shard = worker_shard(worker);
    bool watched = worker_id(worker) == args->from &&
                   (shard->watches.clients.count > 0 || shard->waiters.lines.count > 0);
    bool saved = worker_id(worker) == args->from && save_share_needs_slot(worker, args->slot);
    bool leaves = export_shares_need_slot(worker, args->slot);
    part->busy = watched || saved || leaves || batches_wide(worker);
    return true;
}

static bool lend_part(struct worker *worker, const void *args_ptr, void *part_ptr) {
    const struct move_args *args = args_ptr;
    struct move_part *part = part_ptr;
    news_slot_leaves(worker, args->slot);
    part->lent = keyspace_lend_slot(worker_shard(worker)->keyspace, args->slot);
    return true;
}

static bool put_part(struct worker *worker, const void *args_ptr, void *part_ptr) {
    const struct move_args *args = args_ptr;
    return keyspace_put_slot(worker_shard(worker)->keyspace, args->lent,
                             rt_wall_ms(worker_rt(worker)));
}

static bool drop_part(struct worker *worker, const void *args_ptr, void *part_ptr) {
    const struct move_args *args = args_ptr;
    keyspace_drop_slot(worker_shard(worker)->keyspace, args->lent);
    return true;
}

static void drop_done(struct exec *x, const struct scatter_result *result) {
    const struct move_args *args = result->args;
    struct slots *slots = &worker_node(x->worker)->slots;
    slots_give(slots, args->slot, args->to);
    slots_end(slots);
    reply_ok(x->reply);
}

static void put_done(struct exec *x, const struct scatter_result *result) {
    const struct move_args *args = result->args;
    scatter_one(x, args->from, drop_part, 0, args, sizeof *args, drop_done);
}

static void lend_done(struct exec *x, const struct scatter_result *result) {
    struct move_args args = *(const struct move_args *)result->args;
    args.lent = ((const struct move_part *)result->parts[0])->lent;
    scatter_one(x, args.to, put_part, 0, &args, sizeof args, put_done);
}

static void ask_done(struct exec *x, const struct scatter_result *result) {
    const struct move_args *args = result->args;
    bool busy = false;
    for (unsigned i = 0; i < result->parts_count; i++) {
        busy |= ((const struct move_part *)result->parts[i])->busy;
    }
    if (busy) {
        slots_end(&worker_node(x->worker)->slots);
        reply_error(x->reply, "BUSYSLOT Try again: the slot is being used");
        return;
    }
    scatter_one(x, args->from, lend_part, sizeof(struct move_part), args, sizeof *args, lend_done);
}

/* With all locked. */
static void move_slot(struct exec *x, uint16_t slot, unsigned to) {
    struct node *node = worker_node(x->worker);
    struct move_args args = {.slot = slot, .from = (uint16_t)node_owner(node, slot)};
    args.to = (uint16_t)to;
    if (args.from == args.to) {
        reply_ok(x->reply);
        return;
    }
    slots_begin(&node->slots);
    scatter_all(x, ask_part, sizeof(struct move_part), &args, sizeof args, ask_done);
}

void debug_move_slot(struct exec *x) {
    const struct node *node = worker_node(x->worker);
    int64_t slot, shard;
    uint32_t done;
    if (!num_parse_i64(x->argv[2], &slot) || slot < 0 || slot >= SLOTS) {
        reply_error(x->reply, "ERR Invalid or out of range slot");
    } else if (!num_parse_i64(x->argv[3], &shard) || shard < node->first ||
               shard >= node->first + node->count) {
        reply_error(x->reply, "ERR No such shard");
    } else if (txn_holds_all(x->client)) {
        move_slot(x, (uint16_t)slot, (unsigned)shard);
    } else if (txn_exec_queue(x->client, &done) != NULL) {
        reply_error(x->reply, "ERR DEBUG MOVE-SLOT is not for MULTI");
    } else {
        txn_hold_all(x);
    }
}
