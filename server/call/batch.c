/* SPDX-License-Identifier: BSD-3-Clause */
/* batch: see the header. Why so: a hop's fixed cost (a ring slot, a cache line moved each way,
 * perhaps a wake-up) is paid once for all the ops a read brought for one shard. The owner of the
 * keys looks at the whole batch before it runs it, so that the memory of op n+1 is on its way while
 * op n runs.
 *
 * A batch may be long: 64 ops that each take milliseconds, or write megabytes. It is cut then, and
 * goes on in the next turn; what it has done so far goes home ahead of it, in a message of its own,
 * so that the client's replies are seen, sent and counted while the rest runs. Only home knows what
 * its client may have of them, and may be off its processor: with more than AHEAD_MAX that home has
 * not taken yet, nothing more runs.
 *
 *     arrived -> runs -- locked key --> suspended, in line -------\
 *                  |---- no baton ----> suspended, till it comes --\
 *                  |---- slice over --> suspended, and cut --> goes on
 *                  |---- far ahead ---> suspended, till home has taken it
 *                  |---- slot gone --> lent to where the slot is, for one op; back, goes on
 *                  \---- all ran -----> home; its followers come up
 *
 * A slot may go to another shard while an op is on its way. The shard that the batch was sent to
 * keeps its place among the client's batches and lends it to the new owner for that one op, so that
 * the ops of a client keep their order. Its home sends nothing by the new table before all that was
 * routed by the old one is back. No op with keys in several slots meets a change of the table: they
 * are counted (`wide_ops`), and nothing moves while there are any.
 *
 * Batches are pooled by their home, and so are chunks for their replies. One keeps its arena's
 * first block, so a steady load allocates nothing.
 */
#include "server/call/batch.h"

#include "base/check.h"
#include "base/must.h"
#include "net/rt.h"
#include "proto/reply.h"
#include "server/acl/acl.h"
#include "server/call/call.h"
#include "server/call/order.h"
#include "server/client/client.h"
#include "server/worker/handlers.h"
#include "server/worker/message.h"
#include "server/worker/room.h"
#include "server/worker/worker.h"

#include <stdlib.h>

#define ARENA_BLOCK_BYTES  4096
#define ARENA_BLOCK_FRUGAL 512
#define BATCHES_KEPT_MAX   256
#define BATCH_BYTES        (batch_bytes(BATCH_OPS_MAX) + ARENA_BLOCK_BYTES)
/* With more replies than this it is cut. */
#define REPLIES_MAX (1024 * 1024)
#define AHEAD_MAX   (4 * REPLIES_MAX)

static size_t batch_bytes(uint32_t ops_max) {
    return sizeof(struct batch) + ops_max * sizeof(struct op);
}

static struct batch *batch_new(uint32_t ops_max, size_t arena_block_bytes) {
    struct batch *batch = must_malloc(batch_bytes(ops_max));
    batch->ops_max = ops_max;
    arena_init(&batch->arena, arena_block_bytes);
    return batch;
}

struct batch *batch_take(struct worker *worker, struct client *client, struct rt_buffer *input,
                         unsigned target) {
    struct batch *batch = worker->batches.pool;
    if (UNLIKELY(worker->room.frugal)) {
        batch = batch_new(BATCH_OPS_FRUGAL, ARENA_BLOCK_FRUGAL);
    } else if (batch != NULL) {
        worker->batches.pool = batch->next;
        stock_take(&worker->batches.stock);
    } else {
        batch = batch_new(BATCH_OPS_MAX, ARENA_BLOCK_BYTES);
    }
    outbuf_init(&batch->early);
    outbuf_init(&batch->out);
    worker_lend_chunk(worker, &batch->out);
    batch->message = (struct message){.kind = MESSAGE_BATCH, .home = (uint16_t)worker->id};
    batch->baton = (struct message){.kind = MESSAGE_BATON, .home = POST_ONE_WAY};
    batch->client = client;
    batch->target = target;
    batch->next = NULL;
    batch->input = rt_buffer_ref(input);
    batch->large = NULL;
    batch->user = NULL;
    batch->count = 0;
    batch->ready = 0;
    batch->handed_on = 0;
    batch->client_memory = 0;
    batch->ran = 0;
    batch->ahead = 0;
    batch->followers = batch->last_follower = NULL;
    list_node_init(&batch->cut_node);
    batch->sent = batch->returned = false;
    batch->suspended = false;
    batch->has_baton = batch->waits_for_baton = false;
    batch->next_in_order = NULL;
    batch->hand_overs = 0;
    batch->request_bytes = batch_bytes(batch->ops_max);
    batch->command_flags = 0;
    batch->wide_ops = 0;
    return batch;
}

static void batch_free(struct batch *batch) {
    arena_fini(&batch->arena);
    free(batch);
}

void batch_put(struct worker *worker, struct batch *batch) {
    if (batch->input != NULL) {
        rt_buffer_unref(batch->input);
        batch->input = NULL;
    }
    outbuf_fini(&batch->early);
    worker_reclaim_chunk(worker, &batch->out);
    if (batch->ops_max < BATCH_OPS_MAX ||
        !room_may_keep(worker, &worker->batches.stock, BATCHES_KEPT_MAX, BATCH_BYTES)) {
        batch_free(batch);
        return;
    }
    arena_reset(&batch->arena);
    batch->next = worker->batches.pool;
    worker->batches.pool = batch;
    stock_put(&worker->batches.stock);
}

void batch_pool_drop(struct worker *worker, unsigned count) {
    for (; count > 0; count--) {
        struct batch *batch = worker->batches.pool;
        worker->batches.pool = batch->next;
        batch_free(batch);
    }
}

bool batches_wide(const struct worker *worker) {
    return worker->batches.wide_ops > 0;
}

size_t batch_pool_memory(const struct worker *worker) {
    return worker->batches.stock.count * BATCH_BYTES;
}

/* Words of an inline request lie in memory that its reader uses again: they go along. */
static void op_own_words(struct batch *batch, struct op *op) {
    for (uint32_t i = 0; i < op->argc; i++) {
        struct bytes *word = &op->argv[i];
        char *copy = arena_alloc(&batch->arena, word->len);
        if (word->len > 0) {
            memcpy(copy, word->ptr, word->len);
        }
        if (op->ref->simple && i == (uint32_t)op->ref->first_key) {
            op->key.name.ptr = copy;
        }
        word->ptr = copy;
    }
}

size_t batch_add(struct batch *batch, const struct command_ref *ref, const struct request *request,
                 const struct key *key, const struct keyset *keys, const struct client *client) {
    check(batch->count < batch->ops_max);
    batch->client_id = client->id;
    if (UNLIKELY(client->flags & CLIENT_RESTRICTED) && batch->user != client->user) {
        acl_user_unref(batch->user);
        batch->user = acl_user_ref(client->user);
    }
    batch->slots_epoch = client->slots_epoch;
    struct op *op = &batch->ops[batch->count++];
    op->ref = ref;
    op->argv = arena_alloc(&batch->arena, request->argc * sizeof(*op->argv));
    memcpy(op->argv, request->argv, request->argc * sizeof(*op->argv));
    op->argc = request->argc;
    op->db = client->db;
    op->key = *key;
    op->resp = client->resp;
    op->manner = client_manner(client);
    op->waits = false;
    op->next = NULL;
    if (UNLIKELY(request->inlined)) {
        op_own_words(batch, op);
        op->manner |= MANNER_INLINE;
    }
    op->keys = keyset_copy(&batch->arena, keys, op->argv);
    if (op->keys != NULL && op->keys->count > 0) {
        op->key = op->keys->list[0].key;
    }
    size_t bytes = request->bytes + request->argc * sizeof(*op->argv) + keyset_bytes(keys);
    batch->request_bytes += bytes;
    batch->command_flags |= ref->flags;
    return bytes;
}

/* ---- Home again ---- */

void batch_take_news(struct worker *worker, struct batch *batch, struct batch_news *news) {
    check(!batch->returned && news->ran >= batch->ready && news->ran < batch->count);
    batch->ready = news->ran;
    outbuf_splice(&batch->early, &news->out);
    outbuf_fini(&news->out);
    if (news->stands) {
        news->message.kind = MESSAGE_BATCH_HEARD;
        post_send(worker->server->office, worker->id, batch->target, &news->message);
    } else {
        free(news);
    }
}

void batch_returned(struct batch *batch) {
    check(!batch->returned && batch->ran == batch->count);
    batch->returned = true;
    if (UNLIKELY(batch->ready > 0)) {
        struct outbuf rest = batch->out;
        batch->out = batch->early;
        outbuf_splice(&batch->out, &rest);
        outbuf_fini(&rest);
        outbuf_init(&batch->early);
    }
    batch->ready = batch->count;
    if (UNLIKELY(batch->wide_ops > 0)) {
        batch->client->worker->batches.wide_ops -= batch->wide_ops;
    }
    if (batch->input != NULL) {
        rt_buffer_unref(batch->input);
        batch->input = NULL;
    }
    if (UNLIKELY(batch->user != NULL)) {
        acl_user_unref(batch->user);
        batch->user = NULL;
    }
    arena_reset(&batch->arena);
}

size_t batch_memory_at_home(const struct batch *batch) {
    return batch->returned ? batch_bytes(batch->ops_max) + batch->out.allocated
                           : batch->early.allocated;
}

/* ---- At the owner of the keys ---- */

static struct caller caller_of(struct worker *worker) {
    return (struct caller){.worker = worker, .shard = &worker->shard, .tick = worker->slice.tick};
}

/* In whose name its ops run. */
static struct caller caller_for(struct worker *worker, const struct batch *batch) {
    worker->runs_for.client = batch->client_id;
    worker->runs_for.home = batch->message.home;
    worker->runs_for.user = batch->user;
    return caller_of(worker);
}

/* Runs the next op; returns the bytes of its reply. */
static size_t run_op(struct caller *caller, struct batch *batch) {
    struct op *op = &batch->ops[batch->ran];
    struct reply reply;
    reply_init(&reply, &batch->out, op->resp);
    size_t before = batch->out.bytes;
    struct call what = {
        .ref = op->ref,
        .argv = op->argv,
        .argc = op->argc,
        .key = &op->key,
        .keys = op->keys,
        /* The owner's time: by home's, others may have seen keys go that were still there. */
        .now_ms = rt_wall_ms(caller->worker->rt),
    };
    caller->db = op->db;
    caller->manner = op->manner;
    caller->large = batch->ran == 0 ? batch->large : NULL;
    call(caller, &what, &reply);
    size_t bytes = batch->out.bytes - before;
    batch->reply_bytes[batch->ran++] = bytes;
    if (UNLIKELY(op->next != NULL)) {
        batch_send_baton(caller->worker, order_hand_on(batch, op));
    }
    return bytes;
}

/* A pipeline whose writes go to and fro between two shards comes in many stretches of an op or two:
 * their calls are counted together, as are those of one stretch. */
static void take_run(struct worker *worker, struct caller *caller) {
    if (worker->batches.run.calls > 0) {
        caller->run = worker->batches.run;
        caller->tick = worker->batches.run_tick;
        worker->batches.run = (struct call_run){0};
    }
}

static void leave_run(struct worker *worker, const struct caller *caller) {
    worker->batches.run = caller->run;
    worker->batches.run_tick = caller->tick;
}

void batches_settle(struct worker *worker) {
    if (worker->batches.run.calls > 0) {
        struct caller caller = caller_of(worker);
        take_run(worker, &caller);
        call_settle(&caller);
    }
}

static void batch_go_on(struct worker *worker, struct batch *batch);

/* Until it is over it stands among those that wait, so that what comes behind it from the same
 * client follows it. */
static void suspend(struct worker *worker, struct batch *batch) {
    if (!batch->suspended) {
        batch->suspended = true;
        batch->link.hash = links_hash(batch->client_id);
        links_add(&worker->batches.suspended, &batch->link);
    }
}

/* What is ready goes home now, the rest goes on in the next turn, or when home has taken that. */
static void batch_cut(struct worker *worker, struct batch *batch) {
#ifdef SHOAL_UNSAFE_ORDER_CUT /* a test: the baton is handed on before the write has run */
    for (uint32_t i = batch->ran; i < batch->count; i++) {
        struct op *op = &batch->ops[i];
        if (op->waits) {
            break;
        }
        if (op->next != NULL) {
            batch_send_baton(worker, order_hand_on(batch, op));
            op->next = NULL;
        }
    }
#endif
    suspend(worker, batch);
    batch->ahead += batch->out.bytes;
    bool stands = batch->ahead > AHEAD_MAX;
    if (!stands) {
        list_push_back(&worker->batches.cut, &batch->cut_node);
        if (batch->out.bytes == 0) {
            return;
        }
    }
    struct batch_news *news = must_malloc(sizeof *news);
    *news = (struct batch_news){
        .message = {.kind = MESSAGE_BATCH_NEWS, .home = POST_ONE_WAY},
        .batch = batch,
        .ran = batch->ran,
        .stands = stands,
        .out = batch->out,
    };
    outbuf_init(&batch->out);
    post_send(worker->server->office, worker->id, batch->message.home, &news->message);
}

void batch_heard(struct worker *worker, struct message *message) {
    struct batch *batch = ((struct batch_news *)message)->batch;
    free(message);
    batch->ahead = 0;
    list_push_back(&worker->batches.cut, &batch->cut_node);
}

void batches_go_on(struct worker *worker) {
    struct list cut;
    list_init(&cut);
    list_splice_back(&cut, &worker->batches.cut); /* who is cut again goes on in the next turn */
    struct list_node *node;
    while (!worker_slice_over(worker) && (node = list_pop_front(&cut)) != NULL) {
        batch_go_on(worker, LIST_ENTRY(node, struct batch, cut_node));
        batches_settle(worker);
    }
    list_splice_back(&cut, &worker->batches.cut);
    list_splice_back(&worker->batches.cut, &cut);
}

/* The next op's keys are this shard's, though the table may have changed since it was routed. */
static bool is_owner(const struct worker *worker, const struct batch *batch) {
#ifdef SHOAL_UNSAFE_SLOTS /* for the test that users of the simulator notice */
    return true;
#endif
    return batch->slots_epoch == slots_epoch(&worker->node->slots) ||
           node_owner(worker->node, batch->ops[batch->ran].key.slot) == worker->id;
}

static struct batch *batch_of_lock(struct lock_request *request) {
    return (struct batch *)((char *)request - offsetof(struct batch, lock));
}

/* Its key's lock was waited for, and perhaps the slot has gone meanwhile. */
static void run_locked(struct worker *worker, struct batch *batch) {
    batches_settle(worker);
    worker->slice.tick = rt_ticks(worker->rt);
    struct caller caller = caller_for(worker, batch);
    caller.holds = &batch->lock; /* who waits for what it brings is served before others see it */
    if (is_owner(worker, batch)) {
        run_op(&caller, batch);
        call_settle(&caller);
    }
    locks_release(&worker->shard.locks, &batch->lock);
    if (UNLIKELY(worker->keys_ready)) { /* what it only reads it has kept from who waits */
        worker->server->handlers->serve_waiters(worker, NULL, rt_wall_ms(worker->rt));
    }
}

static void op_settled(void *context, struct lock_request *request) {
    struct worker *worker = context;
    struct batch *batch = batch_of_lock(request);
    run_locked(worker, batch);
    batch_go_on(worker, batch);
    batches_settle(worker);
}

/* Stands in line for the next op's keys. */
static void op_lock(struct worker *worker, struct batch *batch,
                    void (*settled)(void *context, struct lock_request *request)) {
    struct op *op = &batch->ops[batch->ran];
#ifdef SHOAL_UNSAFE_ORDER_LOCK /* a test: the baton is handed on before the lock is had */
    if (op->next != NULL) {
        batch_send_baton(worker, order_hand_on(batch, op));
        op->next = NULL;
        op->waits = false;
    }
#endif
    keyset_lock(&batch->lock, &batch->arena, op->ref, &op->key, op->keys);
    worker->stats.lock_waits++;
    batch->lock.settled = settled;
    if (locks_submit(&worker->shard.locks, &batch->lock) != LOCK_WAITS) {
        settled(worker, &batch->lock);
    }
}

static void op_wait(struct worker *worker, struct batch *batch) {
    suspend(worker, batch);
    op_lock(worker, batch, op_settled);
}

static bool op_is_blocked_here(struct worker *worker, const struct op *op) {
    return worker_may_block(worker) &&
           keyset_is_blocked(&worker->shard, op->ref, op->db, &op->key, op->keys);
}

/* ---- An op whose slot has gone ---- */

static void lend_to_owner(struct worker *worker, struct batch *batch) {
    batch->message.kind = MESSAGE_BATCH_LENT;
    post_send(worker->server->office, worker->id,
              node_owner(worker->node, batch->ops[batch->ran].key.slot), &batch->message);
}

/* Its place here stays. */
static void batch_lend(struct worker *worker, struct batch *batch) {
    worker->stats.ops_moved++;
    suspend(worker, batch);
    lend_to_owner(worker, batch);
}

static void give_back(struct worker *worker, struct batch *batch) {
    batch->message.kind = MESSAGE_BATCH_BACK;
    post_send(worker->server->office, worker->id, batch->target, &batch->message);
}

static void lent_settled(void *context, struct lock_request *request) {
    struct worker *worker = context;
    struct batch *batch = batch_of_lock(request);
    run_locked(worker, batch);
    give_back(worker, batch); /* to be lent again, if the slot has gone on */
}

void batch_lent(struct worker *worker, struct message *message) {
    struct batch *batch = (struct batch *)message;
    worker_slice_enter(worker);
    if (!is_owner(worker, batch)) {
        give_back(worker, batch);
    } else if (op_is_blocked_here(worker, &batch->ops[batch->ran])) {
        op_lock(worker, batch, lent_settled);
    } else {
        struct caller caller = caller_for(worker, batch);
        run_op(&caller, batch);
        call_settle(&caller);
        give_back(worker, batch);
    }
}

void batch_back(struct worker *worker, struct message *message) {
    struct batch *batch = (struct batch *)message;
    batch_go_on(worker, batch);
    batches_settle(worker);
}

/* Home it goes; and the first that stood behind it comes up, with the others behind it. */
static struct batch *batch_over(struct worker *worker, struct batch *batch) {
    struct batch *follower = batch->followers;
    batch->followers = NULL;
    if (batch->suspended) {
        links_remove(&worker->batches.suspended, &batch->link);
    }
    if (batch->message.home != worker->id) {
        worker->stats.ops_for_others += batch->count;
    }
    size_t ahead = batch->ahead + batch->out.bytes;
    batch->message.kind = MESSAGE_BATCH_DONE;
    post_send(worker->server->office, worker->id, batch->message.home, &batch->message);
    if (follower != NULL) {
        follower->followers = follower->next;
        follower->last_follower = follower->next != NULL ? batch->last_follower : NULL;
        follower->next = NULL;
        follower->ahead = ahead;
    }
    return follower;
}

/* Its reply was the last for now. */
static bool is_enough(const struct worker *worker, const struct batch *batch, size_t reply_bytes) {
    return worker_slice_over(worker) ||
           (UNLIKELY(reply_bytes > OUTBUF_CHUNK_BYTES) && batch->out.bytes > REPLIES_MAX);
}

/* Runs its ops as far as they may; true if all have run. Leaves a run of calls to be settled. */
static bool run_ops(struct worker *worker, struct batch *batch) {
    struct caller caller = caller_for(worker, batch);
    take_run(worker, &caller);
    bool moved = batch->slots_epoch != slots_epoch(&worker->node->slots);
    while (batch->ran < batch->count) {
        if (UNLIKELY(batch->ops[batch->ran].waits) && !order_may_run(batch)) {
            leave_run(worker, &caller);
            suspend(worker, batch);
            return false;
        }
        if (UNLIKELY(moved) && !is_owner(worker, batch)) {
            call_settle(&caller);
            batch_lend(worker, batch);
            return false;
        }
        if (op_is_blocked_here(worker, &batch->ops[batch->ran])) {
            call_settle(&caller);
            op_wait(worker, batch);
            return false;
        }
        if (UNLIKELY(worker->loop.in_visit) && !batch->ops[batch->ran].ref->brief) {
            call_settle(&caller);
            batch_cut(worker, batch); /* who visits does not keep two threads waiting */
            return false;
        }
        size_t bytes = run_op(&caller, batch);
        if (UNLIKELY(is_enough(worker, batch, bytes)) && batch->ran < batch->count) {
            call_settle(&caller);
            batch_cut(worker, batch);
            return false;
        }
    }
    leave_run(worker, &caller);
    return true;
}

static void batch_go_on(struct worker *worker, struct batch *batch) {
    worker_slice_enter(worker);
    while (run_ops(worker, batch)) {
        batch = batch_over(worker, batch);
        if (LIKELY(batch == NULL)) {
            return;
        }
        if (worker_slice_over(worker) || batch->ahead > AHEAD_MAX) {
            batch_cut(worker, batch);
            return;
        }
    }
}

void batch_send_baton(struct worker *worker, struct batch *batch) {
    post_send(worker->server->office, worker->id, batch->target, &batch->baton);
}

void batch_baton_arrived(struct worker *worker, struct message *baton) {
    struct batch *batch = batch_of_baton(baton);
    if (order_baton_came(batch)) {
        batch_go_on(worker, batch);
    }
}

/* An earlier batch of the same client waits here: this one goes behind it. */
static bool follows(struct worker *worker, struct batch *batch) {
    uint64_t hash = links_hash(batch->client_id);
    struct link *at = links_first(&worker->batches.suspended, hash);
    while (at != NULL && LINK_ENTRY(at, struct batch, link)->client_id != batch->client_id) {
        at = at->next;
    }
    if (at == NULL) {
        return false;
    }
    struct batch *first = LINK_ENTRY(at, struct batch, link);
    if (first->followers == NULL) {
        first->followers = batch;
    } else {
        first->last_follower->next = batch;
    }
    first->last_follower = batch;
    return true;
}

/* The memory of all its keys is asked for before the first is touched, and so is that of the
 * elements that are looked up in large values. */
static void prefetch_ops(const struct keyspace *keyspace, const struct batch *batch) {
    struct element_hint hints[BATCH_OPS_MAX];
    unsigned hints_count = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        keyspace_prefetch_slot(keyspace, batch->ops[i].db, &batch->ops[i].key);
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        keyspace_prefetch_bucket(keyspace, batch->ops[i].db, &batch->ops[i].key);
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct op *op = &batch->ops[i];
        keyspace_prefetch_entry(keyspace, op->db, &op->key);
        if (op->ref->element != 0) {
            hints[hints_count++] = (struct element_hint){
                .key = &op->key,
                .element = command_element(op->ref, op->argv, op->argc),
                .db = op->db,
            };
        }
    }
    if (hints_count > 1) {
        keyspace_prefetch_elements(keyspace, hints, hints_count);
    }
}

void batch_arrived(struct worker *worker, struct message *message) {
    struct batch *batch = (struct batch *)message;
    if (UNLIKELY(worker->batches.suspended.count > 0) && follows(worker, batch)) {
        return;
    }
    prefetch_ops(worker->shard.keyspace, batch);
    batch_go_on(worker, batch);
}
