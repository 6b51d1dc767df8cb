/* SPDX-License-Identifier: BSD-3-Clause */
/* batch: see the header. Why so: a hop's fixed cost (a ring slot, a cache line moved each way,
 * perhaps a wake-up) is paid once for all the ops a read brought for one shard. The owner of the
 * keys looks at the whole batch before it runs it, so that the memory of op n+1 is on its way while
 * op n runs.
 *
 * Batches are pooled by their home. One keeps its first reply chunk and its arena's first block, so
 * a steady load allocates nothing.
 */
#include "server/batch.h"

#include "base/check.h"
#include "net/rt.h"
#include "proto/reply.h"
#include "server/client.h"
#include "server/dispatch.h"
#include "server/message.h"
#include "server/worker.h"

#include <stdlib.h>

#define ARENA_BLOCK_BYTES 4096
/* A burst of connections must not be remembered for ever: some 20 KB each. */
#define BATCHES_KEPT_MAX 256

struct batch *batch_take(struct worker *worker, struct client *client, struct rt_buffer *input) {
    struct batch *batch = worker->batch_pool;
    if (batch != NULL) {
        worker->batch_pool = batch->next;
        worker->batch_pool_count--;
    } else {
        batch = malloc(sizeof *batch);
        check(batch != NULL);
        outbuf_init(&batch->out);
        arena_init(&batch->arena, ARENA_BLOCK_BYTES);
    }
    batch->message = (struct message){.kind = MESSAGE_BATCH, .home = (uint16_t)worker->id};
    batch->client = client;
    batch->next = NULL;
    batch->input = rt_buffer_ref(input);
    batch->now_ms = rt_wall_ms(worker->rt);
    batch->count = 0;
    batch->released = 0;
    batch->returned = false;
    batch->request_bytes = 0;
    return batch;
}

static void batch_free(struct batch *batch) {
    outbuf_fini(&batch->out);
    arena_fini(&batch->arena);
    free(batch);
}

void batch_put(struct worker *worker, struct batch *batch) {
    if (batch->input != NULL) {
        rt_buffer_unref(batch->input);
        batch->input = NULL;
    }
    if (worker->batch_pool_count >= BATCHES_KEPT_MAX) {
        batch_free(batch);
        return;
    }
    outbuf_drain(&batch->out, batch->out.bytes);
    arena_reset(&batch->arena);
    batch->next = worker->batch_pool;
    worker->batch_pool = batch;
    worker->batch_pool_count++;
}

void batch_pool_free(struct worker *worker) {
    while (worker->batch_pool != NULL) {
        struct batch *batch = worker->batch_pool;
        worker->batch_pool = batch->next;
        batch_free(batch);
    }
}

/* Words of an inline request lie in memory that its reader uses again: they go along. */
static void op_own_words(struct batch *batch, struct op *op) {
    for (uint32_t i = 0; i < op->argc; i++) {
        struct bytes *word = &op->argv[i];
        char *copy = arena_alloc(&batch->arena, word->len);
        if (word->len > 0) {
            memcpy(copy, word->ptr, word->len);
        }
        if (word->ptr == op->key.name.ptr && word->len == op->key.name.len) {
            op->key.name.ptr = copy;
        }
        word->ptr = copy;
    }
}

void batch_add(struct batch *batch, const struct command_slot *slot, const struct request *request,
               const struct key *key, const struct client *client) {
    check(batch->count < BATCH_OPS_MAX);
    struct op *op = &batch->ops[batch->count++];
    op->slot = slot;
    op->argv = arena_alloc(&batch->arena, request->argc * sizeof(*op->argv));
    memcpy(op->argv, request->argv, request->argc * sizeof(*op->argv));
    op->argc = request->argc;
    op->db = client->db;
    op->key = *key;
    op->resp = client->resp;
    op->no_touch = (client->flags & CLIENT_NO_TOUCH) != 0;
    if (UNLIKELY(request->inlined)) {
        op_own_words(batch, op);
    }
    batch->request_bytes += request->bytes;
}

void batch_run(struct worker *worker, struct batch *batch) {
    struct keyspace *keyspace = worker->shard.keyspace;
    for (uint32_t i = 0; i < batch->count; i++) {
        keyspace_prefetch_slot(keyspace, batch->ops[i].db, &batch->ops[i].key);
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        keyspace_prefetch_bucket(keyspace, batch->ops[i].db, &batch->ops[i].key);
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        keyspace_prefetch_entry(keyspace, batch->ops[i].db, &batch->ops[i].key);
    }
    struct reply reply;
    worker->tick = rt_ticks(worker->rt);
    for (uint32_t i = 0; i < batch->count; i++) {
        struct op *op = &batch->ops[i];
        reply_init(&reply, &batch->out, op->resp);
        size_t before = batch->out.bytes;
        op_run(worker, op->slot, op->argv, op->argc, op->db, &op->key, op->no_touch, batch->now_ms,
               &reply);
        batch->reply_bytes[i] = batch->out.bytes - before;
    }
    worker->stats.ops_for_others += batch->count;
}
