/* SPDX-License-Identifier: BSD-3-Clause */
/* txn_here: an EXEC whose keys are all home's, while nobody holds locks there: it is no transaction
 * over shards, and runs like any other command.
 */
#include "net/rt.h"
#include "proto/reply.h"
#include "server/call/check.h"
#include "server/call/exec.h"
#include "server/call/rights.h"
#include "server/call/slot_check.h"
#include "server/client/client.h"
#include "server/observe/monitor.h"
#include "server/observe/slot_stats.h"
#include "server/txn/multi.h"
#include "server/txn/txn_private.h"
#include "server/worker/worker.h"

/* All keys of a queued command are home's, and it is over when it has run. */
static bool is_here(const struct worker *worker, const struct multi_command *command) {
    const struct command *row = command->ref->row;
    const struct keyset *keys = command->keys;
    bool begins_anew = row->runs_script && worker->server->workers_count > 1; /* perhaps */
    return row->place == PLACE_KEY && !begins_anew && !row->copies && row->spread != SPREAD_SEND &&
           keys->count > 0 && !keys->apart && keys->list[0].worker == worker->id;
}

/* Where the keys of all commands are, at last. False: they are not all home's. */
static bool find_keys(const struct worker *worker, struct multi_queue *queue) {
    bool here = true;
    for (uint32_t i = 0; i < queue->count; i++) {
        struct multi_command *command = &queue->commands[i];
        command->keys = keyset_new(&queue->arena, worker->node, command->ref, command->argv,
                                   command->argc, command->db);
        queue->bytes += keyset_bytes(command->keys);
        here &= is_here(worker, command);
    }
    return here;
}

static bool watches_here(const struct client *client) {
    const struct multi_watches *watches = client->watches;
    const struct worker *worker = client->worker;
    for (uint32_t i = 0; watches != NULL && i < watches->count; i++) {
        if (node_owner(worker->node, watches->keys[i].key.slot) != worker->id) {
            return false;
        }
    }
    return true;
}

static const struct key *first_key(const struct multi_command *command) {
    return &command->keys->list[0].key;
}

static void prefetch(const struct keyspace *keyspace, const struct multi_queue *queue) {
    for (uint32_t i = 0; i < queue->count; i++) {
        keyspace_prefetch_slot(keyspace, queue->commands[i].db, first_key(&queue->commands[i]));
    }
    for (uint32_t i = 0; i < queue->count; i++) {
        keyspace_prefetch_bucket(keyspace, queue->commands[i].db, first_key(&queue->commands[i]));
    }
    for (uint32_t i = 0; i < queue->count; i++) {
        keyspace_prefetch_entry(keyspace, queue->commands[i].db, first_key(&queue->commands[i]));
    }
}

/* Where the next reply of a queue goes: nowhere, once the client has asked for more than it may
 * have. All of the queue runs nevertheless. */
static struct outbuf *out_after(struct client *client, struct outbuf *out) {
    struct outbuf *discard = &client->worker->discard;
    if (out == &client->out && out->bytes > OUTBUF_CHUNK_BYTES && client_check_output(client)) {
        return discard;
    }
    if (out == discard) {
        outbuf_drain(discard, discard->bytes);
    }
    return out;
}

/* The cluster has, about all of them together. */
static bool is_redirected(struct worker *worker, const struct multi_queue *queue, uint16_t manner,
                          int64_t alive_ms) {
    struct slot_asked asked;
    slot_asked_init(&asked, manner);
    for (uint32_t i = 0; i < queue->count; i++) {
        const struct multi_command *command = &queue->commands[i];
        slot_asked_add(&asked, worker, command->ref,
                       check_call_flags(worker, command->ref, command->argv), command->argv,
                       command->argc, command->keys->list, command->keys->count, &worker->shard,
                       alive_ms);
    }
    return slot_asked_end(worker, &asked, manner) != NULL;
}

/* This shard has something against one of the commands: the answer is a transaction's. */
static bool is_refused(struct worker *worker, const struct multi_queue *queue, uint16_t manner,
                       int64_t alive_ms) {
    bool refused =
        UNLIKELY(worker->cluster != NULL) && is_redirected(worker, queue, manner, alive_ms);
    for (uint32_t i = 0; i < queue->count && !refused; i++) {
        refused = check_vote(worker, queue->commands[i].ref, manner) != NULL;
    }
    return refused;
}

/* A value of it is to be read by a save first: the transaction asks for its key. */
static bool waits_for_walk(struct worker *worker, const struct multi_queue *queue) {
    bool waits = false;
    for (uint32_t i = 0; i < queue->count && !list_empty(&worker->walks.list); i++) {
        const struct keyset *keys = queue->commands[i].keys;
        waits |= keyset_waits_for_walk(&worker->shard, keys->list, keys->count, worker->id);
    }
    return waits;
}

/* Its user may not do it any more. */
static bool is_forbidden(const struct client *client, const struct multi_command *command,
                         struct reply *reply) {
    const char *refusal =
        LIKELY(!(client->flags & CLIENT_RESTRICTED))
            ? NULL
            : rights_deny_exec(client, command->ref, command->argv, command->argc, command->db);
    if (LIKELY(refusal == NULL)) {
        return false;
    }
    reply_error(reply, refusal);
    call_refused(client->worker, NULL, reply);
    return true;
}

/* Its own part; the commands are counted one by one. */
static void count_exec(const struct exec *x, const struct multi_queue *queue) {
    struct worker *worker = x->worker;
    if (UNLIKELY(worker->slot_stats.counts)) {
        uint64_t ticks = rt_ticks(worker->rt) - x->caller->tick;
        slot_stats_exec(worker, slot_of_queue(queue), queue->count, ticks, x->manner);
    }
}

bool txn_exec_here(struct exec *x, struct multi_queue *queue) {
    struct worker *worker = x->worker;
    struct client *client = x->client;
    if (UNLIKELY(client->flags & CLIENT_RESTRICTED)) {
        multi_queue_follow(queue, client);
    }
    struct watch_table *watches = &worker->shard.watches;
    if (!find_keys(worker, queue) || worker->shard.locks.requests > 0 || !watches_here(client) ||
        is_refused(worker, queue, x->manner, exec_alive_ms(x)) || waits_for_walk(worker, queue)) {
        return false;
    }
    if (client->watches != NULL && watch_dirty(watches, client->id, exec_alive_ms(x))) {
        reply_null_array(x->reply);
    } else {
        if (UNLIKELY(monitors_look(&worker->monitors))) {
            txn_tell_queue(client, queue);
        }
        prefetch(x->keyspace, queue);
        count_exec(x, queue);
        reply_array(x->reply, queue->count);
        struct caller caller = {
            .worker = worker,
            .shard = x->shard,
            .tick = rt_ticks(worker->rt),
            .manner = x->manner,
            .asked = true,
            .inside = true,
        };
        struct outbuf *out = x->reply->out;
        for (uint32_t i = 0; i < queue->count; i++) {
            const struct multi_command *command = &queue->commands[i];
            struct reply reply;
            reply_init(&reply, out, x->reply->resp);
            struct call what = {
                .ref = command->ref,
                .argv = command->argv,
                .argc = command->argc,
                .key = first_key(command),
                .keys = command->keys,
                .now_ms = x->now_ms,
            };
            caller.db = command->db;
            if (LIKELY(!is_forbidden(client, command, &reply))) {
                call(&caller, &what, &reply);
            }
            out = out_after(client, out);
        }
        call_settle(&caller);
        x->caller->tick = caller.tick; /* their time is not EXEC's */
        client->commands += queue->count;
        worker->stats.ops_here += queue->count;
    }
    if (client->watches != NULL) {
        watch_drop(watches, client->id);
        client_forget_watches(client);
    }
    multi_queue_free(worker, queue);
    return true;
}
