/* SPDX-License-Identifier: BSD-3-Clause */
/* transaction: MULTI, EXEC, DISCARD, WATCH, UNWATCH.
 *
 * Queueing is dispatch's business; running is the coordinator's (server/txn/txn.h). Here is what
 * begins and ends a transaction, and WATCH, which tells each shard that owns one of the keys who
 * wants to know. The names stay in the client's list: the parts of WATCH read them there, because
 * the client waits and cannot change its list meanwhile.
 */
#include "server/commands/transaction/transaction.h"

#include "server/call/exec.h"
#include "server/call/scatter.h"
#include "server/client/client.h"
#include "server/node.h"
#include "server/txn/multi.h"
#include "server/txn/txn.h"
#include "server/worker/view.h"
#include "shard/shard.h"

void command_multi(struct exec *x) {
    struct client *client = x->client;
    client->multi = multi_queue_new(x->worker, client->db);
    client->flags |= CLIENT_MULTI_USED;
    reply_ok(x->reply);
}

void command_discard(struct exec *x) {
    if (x->client->multi == NULL) {
        reply_error(x->reply, "ERR DISCARD without MULTI");
        return;
    }
    client_discard(x->client);
    reply_ok(x->reply);
}

void command_exec(struct exec *x) {
    struct client *client = x->client;
    struct multi_queue *queue = client->multi;
    if (queue == NULL) {
        reply_error(x->reply, "ERR EXEC without MULTI");
        return;
    }
    if (queue->failed) {
        client_discard(client);
        reply_error(x->reply, "EXECABORT Transaction discarded because of previous errors.");
        return;
    }
    if (queue->count == 0 && client->watches == NULL) {
        client_discard(client);
        reply_array(x->reply, 0);
        return;
    }
    client->multi = NULL;
    txn_exec(x, queue);
}

/* ---- WATCH ---- */

struct watch_call {
    uint64_t client;
    const struct watched_key *keys;
    uint32_t count;
    int64_t now_ms;
};

/* The keys that this worker owns. */
static bool watch_part(struct worker *worker, const void *args, void *part) {
    (void)part;
    const struct watch_call *call = args;
    if (UNLIKELY(slots_changing(slots_epoch(&worker_node(worker)->slots)))) {
        return false; /* keys may be on their way */
    }
    for (uint32_t i = 0; i < call->count; i++) {
        const struct watched_key *one = &call->keys[i];
        if (node_owner(worker_node(worker), one->key.slot) == worker_id(worker)) {
            watch_add(&worker_shard(worker)->watches, call->client, one->db, &one->key,
                      call->now_ms);
        }
    }
    return true;
}

/* A slot that is watched stays; but one may have gone before its owner heard of this. */
static void watch_done(struct exec *x, const struct scatter_result *result) {
    if (UNLIKELY(result->moved && x->client != NULL)) {
        scatter_again(x, result);
        return;
    }
    reply_ok(x->reply);
}

void command_watch(struct exec *x) {
    struct client *client = x->client;
    const struct node *node = worker_node(x->worker);
    client->flags |= CLIENT_MULTI_USED;
    uint32_t before = client->watches != NULL ? client->watches->count : 0;
    for (uint32_t i = 1; i < x->argc; i++) {
        struct key key = exec_key(x, i);
        multi_watch_note(&client->watches, x->db, &key);
    }
    struct watch_call call = {
        .client = client->id,
        .keys = client->watches->keys + before,
        .count = client->watches->count - before,
        .now_ms = exec_alive_ms(x),
    };
    if (call.count == 0) {
        reply_ok(x->reply);
        return;
    }
    unsigned target = node_owner(node, call.keys[0].key.slot);
    for (uint32_t i = 1; i < call.count; i++) {
        if (node_owner(node, call.keys[i].key.slot) != target) {
            scatter_all(x, watch_part, 0, &call, sizeof call, watch_done);
            return;
        }
    }
    if (target == worker_id(x->worker) && watch_part(x->worker, &call, NULL)) {
        reply_ok(x->reply);
    } else {
        scatter_one(x, target, watch_part, 0, &call, sizeof call, watch_done);
    }
}

void command_unwatch(struct exec *x) {
    client_unwatch(x->client);
    reply_ok(x->reply);
}
