/* SPDX-License-Identifier: BSD-3-Clause */
/* dispatch: see the header. Why so:
 *
 * Requests of a read are worked off in windows. A window is parsed and routed first, which tells
 * the memory system what will be needed, then run in order: by the time the first command touches
 * its key, the others are being fetched. A window ends at a fence (a command that must run after
 * all earlier requests and before all later ones), because what follows may depend on it (SELECT,
 * HELLO).
 *
 *     input -> window of staged requests -> here: call -> out, or held while something is away
 *                                        -> away: a batch per target, sent when all input is used
 *                                        -> home command, once nothing is away
 *
 * Invariants
 *  1. A request is either fully handed on (run, put in a batch, refused with a reply) or not
 * consumed at all: who must wait rewinds the input to its first byte and parses it again later.
 *  2. Every request makes exactly one entry in the order of replies, or appends to the last one.
 *  3. What home refuses is refused in refuse_and_count only.
 *  4. No script begins in a callback of the runtime: turns may be made in the middle of it
 * (busy.h). Its client goes on a little later, with the others that do (clients_run_ready).
 */
#include "server/call/dispatch.h"

#include "base/check.h"
#include "base/must.h"
#include "net/rt.h"
#include "proto/reply.h"
#include "server/call/batch.h"
#include "server/call/call.h"
#include "server/call/check.h"
#include "server/call/slot_check.h"
#include "server/client/client.h"
#include "server/client/client_flow.h"
#include "server/client/describe.h"
#include "server/client/identity.h"
#include "server/client/large.h"
#include "server/observe/commandlog.h"
#include "server/observe/monitor.h"
#include "server/replication/upstream.h"
#include "server/tracking/tracking.h"
#include "server/txn/multi.h"
#include "server/txn/txn.h"
#include "server/worker/handlers.h"
#include "server/worker/pausing.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdio.h>
#include <stdlib.h>

/* What one connection may add to its output in a turn, more or less: limits on the memory of
 * clients are looked at once a turn. */
#define OUTPUT_A_TURN_MAX (4 * 1024 * 1024)

enum route {
    ROUTE_UNKNOWN, /* no such command or subcommand, wrong arity: refuse says which */
    ROUTE_KEY,     /* on the shard of its keys: `target` */
    ROUTE_APART,   /* a transaction: keys on several shards, or what takes long with them locked */
    ROUTE_HOME,    /* on this thread */
    ROUTE_QUEUE,   /* inside MULTI: run by EXEC */
};

struct staged {
    struct request request;
    size_t start;        /* of the request in the input */
    struct large *large; /* its values that may be taken over, or NULL */
    const struct command_ref *ref;
    struct key key;
    struct keyset *keys; /* keyset.h */
    enum route route;
    unsigned target;
};

/* ---- Running ---- */

/* Where a reply written now has to go. */
static struct outbuf *reply_target(struct client *client) {
    if (client->flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP)) {
        return &client->worker->discard;
    }
    return client->pending_count > 0 ? &client->held : &client->out;
}

/* After a reply of `bytes` went to `target`: keeps the order (inv. 2). */
static inline void reply_done(struct client *client, struct outbuf *target, size_t bytes) {
    if (LIKELY(target == &client->out)) {
        return;
    }
    if (target == &client->held) {
        client_pend_held(client, bytes);
    } else if (target == &client->worker->discard) {
        outbuf_drain(target, target->bytes);
    }
}

/* Who has asked for more than he may have gets nothing of what comes after it. */
static inline void limit_reply(struct client *client, size_t bytes) {
    if (UNLIKELY(bytes > OUTBUF_CHUNK_BYTES)) {
        client_check_output(client);
    }
}

/* A caller is that of a whole window, in which some commands may come as lines. */
static inline void note_form(struct caller *caller, const struct staged *staged) {
    unsigned others = caller->manner & ~(unsigned)MANNER_INLINE;
    caller->manner = (uint16_t)(staged->request.inlined ? others | MANNER_INLINE : others);
}

static void run_here(struct client *client, struct staged *staged, struct caller *caller) {
    struct outbuf *target = reply_target(client);
    size_t before = target->bytes;
    struct reply reply;
    reply_init(&reply, target, client->resp);
    struct call what = {
        .ref = staged->ref,
        .argv = staged->request.argv,
        .argc = staged->request.argc,
        .key = &staged->key,
        .keys = staged->keys,
        .now_ms = rt_wall_ms(caller->worker->rt),
    };
    caller->large = staged->large;
    note_form(caller, staged);
    call(caller, &what, &reply);
    client->worker->stats.ops_here++;
    size_t bytes = target->bytes - before;
    reply_done(client, target, bytes);
    client_command_over(client);
    limit_reply(client, bytes);
}

/* False: it goes on elsewhere. */
static bool run_home(struct client *client, struct staged *staged, struct caller *caller) {
    struct outbuf *target = reply_target(client);
    size_t before = target->bytes;
    struct reply reply;
    reply_init(&reply, target, client->resp);
    struct call what = {
        .ref = staged->ref,
        .argv = staged->request.argv,
        .argc = staged->request.argc,
        .key = &NO_KEY,
        .keys = staged->keys,
        .now_ms = rt_wall_ms(caller->worker->rt),
    };
    caller->client = client;
    caller->large = NULL;
    note_form(caller, staged);
    bool complete = true;
    if (LIKELY(!client->worker->parked.is)) {
        complete = call(caller, &what, &reply);
    } else {
        call_beside(caller, &what, &reply);
    }
    caller->client = NULL;
    if (!complete) {
        return false;
    }
    size_t bytes = target->bytes - before;
    reply_done(client, target, bytes);
    if (UNLIKELY(!list_empty(&client->worker->topics.queue))) {
        client->worker->server->handlers->deliver(client->worker); /* behind the reply */
    }
    if (client->state != CLIENT_WAITING) { /* else the end of the wait says so */
        client_command_over(client);
    }
    limit_reply(client, bytes);
    return true;
}

static void run_away(struct client *client, struct staged *staged) {
    struct worker *worker = client->worker;
    struct batch *batch = worker->batches.open[staged->target];
    if (batch == NULL) {
        batch = batch_take(worker, client, client->input_buffer, staged->target);
        worker->batches.open[staged->target] = batch;
        worker->batches.open_count++;
        client->self_batches += staged->target == worker->id;
        client->bytes_away += batch->request_bytes;
    }
    if (UNLIKELY(staged->large != NULL)) {
        batch->large = staged->large;
    }
    client->bytes_away +=
        batch_add(batch, staged->ref, &staged->request, &staged->key, staged->keys, client);
    if (UNLIKELY(staged->keys != NULL) && staged->keys->wide) {
        batch->wide_ops++;
        worker->batches.wide_ops++;
    }
    if (client->pending_count == 0) {
        client->order.kind = worker->config->pipeline_order;
    }
    if (order_holds(&client->order, staged->ref->flags)) {
        order_add(&client->order, batch);
    }
    client_pend_op(client, batch, (client->flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP)) != 0);
    client->ops_pending++;
    if (LIKELY(staged->target != worker->id)) {
        worker->stats.ops_away++;
    } else {
        worker->stats.ops_here++;
    }
    if (batch->count == batch->ops_max) {
        client_send_batch(client, staged->target);
    }
    client_command_over(client);
}

/* ---- Routing ---- */

/* It waits for another server, with its keys locked; or it is a script, which may have to begin
 * anew. */
static bool sends(const struct staged *staged) {
    return staged->ref->row->spread == SPREAD_SEND || staged->ref->row->runs_script;
}

/* What is known of a script from its last call. */
static void route_script(struct worker *worker, struct staged *staged) {
    const struct request *request = &staged->request;
    if (worker->server->workers_count > 1 && !staged->keys->everywhere &&
        worker->server->handlers->script_is_everywhere(worker, staged->ref, request->argv)) {
        keyset_go_everywhere(staged->keys);
    }
}

/* Finds the target of a command that is not simple. */
static enum route route_keys(struct client *client, struct staged *staged) {
    struct worker *worker = client->worker;
    const struct request *request = &staged->request;
    staged->keys = keyset_new(&worker->scratch, worker->node, staged->ref, request->argv,
                              request->argc, client->db);
    if (UNLIKELY(staged->ref->row->runs_script)) {
        route_script(worker, staged);
        return ROUTE_APART;
    }
    if (staged->keys->count == 0) {
        /* The arguments make no sense: the command says so itself, on any shard. */
        staged->key = key_make(&worker->server->secret, BYTES(""));
        staged->target = worker->id;
        return ROUTE_KEY;
    }
    staged->key = staged->keys->list[0].key;
    staged->target = staged->keys->list[0].worker;
    /* They were looked up one after the other: unless the table stood all the while, they may be
     * apart, or part at any moment. A transaction can be planned anew. */
    uint64_t epoch = staged->keys->slots_epoch;
    bool may_part =
        staged->keys->wide && (slots_changing(epoch) || epoch != slots_epoch(&worker->node->slots));
    bool may_copy = staged->ref->row->copies && staged->target != worker->id;
    bool apart = staged->keys->apart || may_part || may_copy || sends(staged);
    return apart ? ROUTE_APART : ROUTE_KEY;
}

/* The command of a request. `previous` is the one staged before it, or NULL: pipelines repeat
 * themselves. One with subcommands is looked up again: COMMAND runs by itself, too. */
static const struct command_ref *find_command(const struct command_table *table,
                                              const struct request *request,
                                              const struct staged *previous) {
    if (previous != NULL && (previous->route == ROUTE_KEY || previous->route == ROUTE_QUEUE) &&
        previous->ref->repeats && bytes_equal_brief(previous->request.argv[0], request->argv[0])) {
        return previous->ref;
    }
    const struct command_ref *ref = command_table_find(table, request->argv[0]);
    if (ref != NULL && ref->subcommands_count > 0 && request->argc > 1) {
        ref = command_ref_find_sub(ref, request->argv[1]);
    }
    return ref;
}

/* Its one key; pipelines often name one again and again. */
static inline void route_simple(struct client *client, struct staged *staged,
                                const struct staged *previous) {
    const struct worker *worker = client->worker;
    struct bytes name = staged->request.argv[staged->ref->first_key];
    bool asked = previous != NULL && previous->route == ROUTE_KEY &&
                 bytes_equal_brief(previous->key.name, name);
    if (asked) {
        staged->key = (struct key){name, previous->key.hash, previous->key.slot};
    } else {
        staged->key = key_make(&worker->server->secret, name);
    }
    staged->target = node_owner(worker->node, staged->key.slot);
    staged->route = ROUTE_KEY;
    if (!asked && staged->target == worker->id) {
        keyspace_prefetch_slot(worker->shard.keyspace, client->db, &staged->key);
    }
}

static void stage(struct client *client, struct staged *staged, const struct staged *previous) {
    if (LIKELY(staged->request.alike && previous->route == ROUTE_KEY && previous->ref->plain)) {
        staged->ref = previous->ref; /* and all that was looked at there is as it was */
        staged->keys = NULL;
        route_simple(client, staged, previous);
        return;
    }
    struct worker *worker = client->worker;
    const struct request *request = &staged->request;
    const struct command_ref *ref = find_command(worker->server->commands, request, previous);
    staged->ref = ref;
    staged->keys = NULL;
    staged->route = ROUTE_UNKNOWN;
    if (UNLIKELY(ref == NULL)) {
        return;
    }
    int arity = ref->row->arity;
    if (UNLIKELY(arity > 0 ? request->argc != (uint32_t)arity : request->argc < (uint32_t)-arity)) {
        return;
    }
    if (UNLIKELY(client->multi != NULL) && ref->row->queue == QUEUE_IN_MULTI) {
        staged->route = ROUTE_QUEUE;
        return;
    }
    if (ref->row->place != PLACE_KEY) {
        if (UNLIKELY(ref->row->keys[0].begin != BEGIN_NONE)) { /* WATCH */
            staged->keys = keyset_new(&worker->scratch, worker->node, ref, request->argv,
                                      request->argc, client->db);
        }
        staged->route = ROUTE_HOME;
        return;
    }
    if (LIKELY(ref->simple)) {
        route_simple(client, staged, previous);
        return;
    }
    staged->route = route_keys(client, staged);
    if (staged->target == worker->id) {
        keyspace_prefetch_slot(worker->shard.keyspace, client->db, &staged->key);
    }
}

/* While a long script runs: nothing is routed to keys, or looked up. */
static void stage_beside(const struct client *client, struct staged *staged) {
    struct worker *worker = client->worker;
    const struct request *request = &staged->request;
    const struct command_ref *ref = find_command(worker->server->commands, request, NULL);
    int arity = ref != NULL ? ref->row->arity : 0;
    bool fits = arity > 0 ? request->argc == (uint32_t)arity : request->argc >= (uint32_t)-arity;
    staged->ref = ref;
    staged->keys = NULL;
    staged->target = worker->id;
    staged->route = ref == NULL || !fits                                         ? ROUTE_UNKNOWN
                    : client->multi != NULL && ref->row->queue == QUEUE_IN_MULTI ? ROUTE_QUEUE
                                                                                 : ROUTE_HOME;
    if (staged->route == ROUTE_HOME && ref->row->keys[0].begin != BEGIN_NONE) { /* WATCH */
        staged->keys = keyset_new(&worker->scratch, worker->node, ref, request->argv, request->argc,
                                  client->db);
    }
}

/* ---- Checks ---- */

static bool is_http(struct bytes name) {
    return bytes_is(name, "post") || bytes_is(name, "host:");
}

static bool is_exec(const struct staged *staged) {
    return staged->ref != NULL && staged->ref->row->queue == QUEUE_EXEC;
}

/* For ACL LOG. */
static void note_denied(const struct client *client, const struct staged *staged) {
    uint32_t at = 0;
    enum acl_verdict verdict = acl_check(client->user, staged->ref, staged->request.argv,
                                         staged->request.argc, check_db(client, staged->ref), &at);
    client_call_denied(client, verdict, client->multi != NULL ? ACL_LOG_MULTI : ACL_LOG_TOPLEVEL,
                       staged->ref, staged->request.argv[at], at);
}

static void refuse_and_count(struct client *client, const struct staged *staged,
                             enum refusal refusal) {
    struct outbuf *target = reply_target(client);
    size_t before = target->bytes;
    struct reply reply;
    reply_init(&reply, target, client->resp);
    if (UNLIKELY(refusal == REFUSE_ACL)) {
        note_denied(client, staged);
    }
    if (UNLIKELY(refusal == REFUSE_REDIRECT)) {
        reply_error(&reply, slot_check_home(client, staged->ref, &staged->request));
    } else {
        check_refuse(client, staged->ref, &staged->request, refusal, &reply);
    }
    call_refused(client->worker, staged->ref, &reply);
    if (UNLIKELY(refusal == REFUSE_UNKNOWN)) {
        call_unknown(client->worker, staged->request.argv[0], client_manner(client),
                     reply.error_code);
    } else {
        call_unexpected(client->worker, staged->ref, client_manner(client), 1, reply.error_code);
    }
    reply_done(client, target, target->bytes - before);
    client_command_over(client);
    if (is_exec(staged)) {
        client_discard(client);
    } else if (client->multi != NULL) {
        client->multi->failed = true;
    }
}

/* Inside MULTI: the command is kept for EXEC. */
static void queue(struct client *client, const struct staged *staged) {
    struct outbuf *target = reply_target(client);
    size_t before = target->bytes;
    const struct request *request = &staged->request;
    int slot = client->worker->cluster == NULL
                   ? SLOT_NONE
                   : slot_of_call(staged->ref, request->argv, request->argc);
    multi_queue_add(client->multi, client->worker, staged->ref, request->argv, request->argc, slot);
    struct reply reply;
    reply_init(&reply, target, client->resp);
    reply_literal(&reply, "+QUEUED\r\n");
    reply_done(client, target, target->bytes - before);
    client_command_over(client);
}

/* Whether its keys are served here whatever it is; else slot_check_home says more. */
static bool is_served(const struct worker *worker, const struct staged *staged) {
    const struct keyset *keys = staged->keys;
    bool keyed = staged->route == ROUTE_KEY || staged->route == ROUTE_APART;
    if (!keyed || (keys != NULL && (keys->count == 0 || keys->wide))) {
        return false;
    }
    const struct key *key = keys != NULL ? &keys->list[0].key : &staged->key;
    return cluster_map_serves(worker->cluster, key->slot);
}

/* Another node of the cluster is to run it, or nobody may. */
static bool is_redirected(const struct client *client, const struct staged *staged) {
    const struct worker *worker = client->worker;
    bool asks = worker->cluster != NULL || client->flags & CLIENT_CAPA_REDIRECT;
    if (LIKELY(!asks) || staged->route == ROUTE_UNKNOWN) {
        return false;
    }
    return UNLIKELY(worker->cluster == NULL || !is_served(worker, staged)) &&
           slot_check_home(client, staged->ref, &staged->request) != NULL;
}

/* This server hands over, is a replica already, and the one that it would send the client to is
 * none but a replica yet: it would send the client back. */
static bool is_redirected_later(const struct client *client) {
    const struct worker *worker = client->worker;
    return worker->cluster == NULL && worker->pause.holds & PAUSE_FOR_FAILOVER;
}

/* CLIENT PAUSE holds this command back, or slots do that leave. */
static bool paused(const struct client *client, const struct staged *staged) {
    const struct worker *worker = client->worker;
    if (LIKELY(worker->pause.kind == PAUSE_NONE) || pause_passes(staged->ref) ||
        client->upstream != NULL) {
        return false;
    }
    unsigned flags = check_flags(client, staged->ref, staged->request.argv);
    return pause_forbids(&worker->pause, rt_mono_ms(worker->rt), flags) ||
           slot_check_held(client, staged->ref, &staged->request, flags);
}

/* Its client waits for its keys if they have nothing for it. */
static bool may_wait(const struct staged *staged) {
    return (staged->route == ROUTE_KEY || staged->route == ROUTE_APART) &&
           UNLIKELY(staged->ref->row->ready != NULL) &&
           command_may_wait(staged->ref->row, staged->request.argv, staged->request.argc);
}

/* It must run after all earlier requests and before all later ones. EXEC also when it is refused:
 * the transaction ends with it. */
static bool is_fence(const struct staged *staged) {
    return staged->route == ROUTE_APART || is_exec(staged) ||
           (staged->route == ROUTE_HOME && staged->ref->fences);
}

/* What comes behind it is staged later. */
static bool ends_window(const struct client *client, const struct staged *staged) {
    return is_fence(staged) || (may_wait(staged) && staged->target != client->worker->id);
}

/* All keys of all shards at one moment. */
static bool is_about_all(const struct command *row) {
    bool all = row->place == PLACE_ALL_KEYS && !row->walks;
#ifdef SHOAL_UNSAFE_WHOLE /* for the test that users of the simulator notice */
    all = false;
#endif
    return all;
}

/* In strict order what runs at home by itself comes after all that is away; and what another order
 * was set for after what is away under the one before. */
static bool is_strict_fence(const struct client *client, const struct staged *staged) {
    enum config_pipeline_order kind = client->worker->config->pipeline_order;
    return UNLIKELY(kind != client->order.kind) ||
           (kind == CONFIG_PIPELINE_STRICT && staged->route == ROUTE_HOME);
}

static inline bool nothing_waits_here(const struct client *client) {
    return !worker_may_block(client->worker) && client->self_batches == 0 &&
           client->order.last == NULL;
}

/* An op on a key of this shard that a transaction has locked, or that comes after one which may not
 * have run on another shard, waits in a batch like those for other shards; and what comes behind it
 * goes the same way, to stay in order. */
static bool must_wait_here(const struct client *client, const struct staged *staged) {
    struct worker *worker = client->worker;
    if (LIKELY(nothing_waits_here(client))) {
        return false;
    }
    if (client->self_batches > 0 || order_must_wait(&client->order, staged->ref->flags)) {
        return true;
    }
    return worker_may_block(worker) &&
           keyset_is_blocked(&worker->shard, staged->ref, client->db, &staged->key, staged->keys);
}

/* A command that copies, and whose keys are here: a value of theirs takes long to copy. */
static bool copies_long(const struct client *client, const struct staged *staged) {
    const struct keyspace *keyspace = client->worker->shard.keyspace;
    bool is_long = false;
    for (uint32_t i = 0; i < staged->keys->count; i++) {
        const struct keyset_key *key = &staged->keys->list[i];
        if (key->flags & KEY_ACCESS) {
            struct loan loan = entry_loan(keyspace_find_any(keyspace, key->db, &key->key));
            is_long |= loan.present && keyspace_put_is_long(keyspace, &loan);
        }
    }
    return is_long;
}

/* It is a transaction: its keys lie on several shards, or it is about all of them at once (also of
 * one: an EXEC of several phases may be under way); or it makes a copy that takes long, or that
 * cannot be made yet, when what it is of may have grown. */
static bool is_apart(const struct client *client, const struct staged *staged) {
    if (LIKELY(staged->route == ROUTE_KEY)) {
        return UNLIKELY(staged->keys != NULL) && staged->ref->row->copies &&
               (must_wait_here(client, staged) || copies_long(client, staged));
    }
    return staged->route == ROUTE_APART ||
           (staged->route == ROUTE_HOME && is_about_all(staged->ref->row));
}

/* One of the keys that it would wait for has something for it, here and now. */
static bool is_ready(const struct staged *staged, struct caller *caller) {
    struct call what = {
        .ref = staged->ref,
        .argv = staged->request.argv,
        .argc = staged->request.argc,
        .keys = staged->keys,
        .now_ms = rt_wall_ms(caller->worker->rt),
    };
    bool ready = false;
    for (uint32_t i = 0; staged->keys != NULL && i < staged->keys->count && !ready; i++) {
        const struct keyset_key *key = &staged->keys->list[i];
        if (key->flags & KEY_ACCESS) {
            what.key = &key->key;
            caller->only = key->index;
            ready = call_ready(caller, &what) == WAITER_SERVES;
        }
    }
    caller->only = 0;
    return ready;
}

/* It may have to wait, which takes a transaction: unless its keys are here and it is served at
 * once, as its like that does not wait would be. */
static bool waits(const struct client *client, const struct staged *staged, struct caller *caller) {
    return may_wait(staged) &&
           (staged->route != ROUTE_KEY || staged->target != client->worker->id ||
            must_wait_here(client, staged) || !is_ready(staged, caller));
}

/* It is a transaction by itself. What it sends: what came before is answered before, and what comes
 * behind it locks nothing meanwhile. Keys that its values name: it may begin anew to have them. */
static bool goes_alone(const struct staged *staged) {
    return staged->route == ROUTE_APART && UNLIKELY(sends(staged) || staged->keys->everywhere);
}

/* ---- Scripts ---- */

static bool begins_script(const struct client *client, const struct staged *staged) {
    return staged->ref->row->runs_script
               ? staged->route != ROUTE_QUEUE
               : is_exec(staged) && client->multi != NULL && client->multi->runs_scripts;
}

/* Whether a command runs while a long script has this shard in view: it may touch no table, and
 * neither may what becomes of its client. */
static bool runs_beside(const struct client *client, const struct staged *staged) {
    return client->watches == NULL && staged->keys == NULL &&
           !(client->flags & (CLIENT_SUBSCRIBED | CLIENT_TRACKED)) && client->monitor == NULL;
}

/* It needs several shards, and one of those is in a long script: it would have to wait for that. */
static bool needs_busy(const struct client *client, const struct staged *staged) {
    const struct server *server = client->worker->server;
    const struct command *row = staged->ref->row;
    if (staged->route == ROUTE_HOME) {
        return (row->place == PLACE_EACH_WORKER || row->place == PLACE_ALL_KEYS) &&
               !(row->flags & CMD_ALLOW_BUSY) && server_busy_script(server) != 0;
    }
    if (staged->route != ROUTE_APART) {
        return false;
    }
    if (staged->keys->everywhere) {
        return server_busy_script(server) != 0;
    }
    bool busy = false;
    for (uint32_t i = 0; i < staged->keys->count; i++) {
        busy |= shared_script(server->shared, staged->keys->list[i].worker) != 0;
    }
    return busy;
}

/* inv. 4; and a refused EXEC drops what its client watches, which is in a table. */
static bool goes_on_later(const struct client *client, const struct staged *staged, bool refused) {
    const struct worker *worker = client->worker;
    return refused ? worker->parked.is && is_exec(staged) && client->watches != NULL
                   : worker->loop.in_rt && begins_script(client, staged);
}

/* ---- What monitors are told ---- */

static void tell(struct client *client, const struct staged *staged) {
    if (!monitor_shows(staged->ref)) {
        return;
    }
    struct text line;
    text_init(&line);
    monitor_add(&line, client, staged->ref, staged->request.argv, staged->request.argc, client->db);
    monitor_tell(client->worker, &line);
}

/* Before it runs: it may take over its words. */
static void tell_here(struct client *client, const struct staged *staged) {
    if (check_owner(client->worker, staged->ref, client_manner(client)) == NULL) {
        tell(client, staged);
    }
}

/* After it has run, behind its reply. An EXEC that goes on tells by itself. */
static void tell_home(struct client *client, const struct staged *staged, bool complete) {
    if (complete || !is_exec(staged)) {
        tell(client, staged);
    }
}

/* ---- What the log of large requests is told ---- */

static bool may_be_large(const struct client *client, size_t used) {
    return UNLIKELY(used + large_bytes(client->large) >= client->worker->logs.request_bytes);
}

/* It runs now. */
static void log_size(struct client *client, const struct staged *staged) {
    const struct request *request = &staged->request;
    if (request->bytes >= client->worker->logs.request_bytes) {
        commandlog_request(client->worker, staged->ref, request->argv, request->argc,
                           request->bytes);
    }
}

/* ---- The window ---- */

static void start_gathered(struct client *client) {
    struct txn *txn = client->gathered;
    client->gathered = NULL;
    txn_start(txn);
}

/* Joins the transaction that is being gathered. */
static void run_apart(struct client *client, struct staged *staged, bool alone) {
    if (client->gathered == NULL) {
        client->gathered = txn_open(client, client->input_buffer);
    }
    txn_add(client->gathered, staged->ref, &staged->request, staged->keys, staged->large);
    bool drops = client->flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT);
    if (drops || alone || txn_count(client->gathered) == TXN_COMMANDS_MAX) {
        start_gathered(client);
    }
}

/* There is nothing to do but to run it: its key is here, nothing of its client is away or waits,
 * and nobody holds anything back. All that run_staged looks at is looked at here too; this is what
 * nearly every command takes, so it asks no more than it must. */
static inline bool goes_ahead(const struct client *client, const struct staged *staged,
                              unsigned hindrances) {
    const struct worker *worker = client->worker;
    return staged->route == ROUTE_KEY && staged->ref->plain && staged->target == worker->id &&
           hindrances == 0 && client->pending_count == 0 && client->gathered == NULL &&
           client->state == CLIENT_READING &&
           !(client->flags & (CLIENT_SUBSCRIBED | CLIENT_TRACKED)) &&
           worker->pause.kind == PAUSE_NONE && nothing_waits_here(client);
}

/* False: it must wait, and nothing of it was done. */
static bool run_staged(struct client *client, struct staged *staged, struct caller *caller,
                       unsigned hindrances, bool slots_moved) {
    struct worker *worker = client->worker;
    const struct command_ref *ref = staged->ref;
    if (LIKELY(goes_ahead(client, staged, hindrances))) {
        client->commands++;
        client->last_command = ref;
        client->gate.tells = true;
        run_here(client, staged, caller);
        return true;
    }
    bool tracked = client->flags & CLIENT_TRACKED;
    if (UNLIKELY(tracked)) {
        if (!tracking_may_go_on(client)) {
            return false;
        }
        caller->manner = client_manner(client);
    }
    bool redirected = is_redirected(client, staged);
    bool later = UNLIKELY(redirected) && is_redirected_later(client);
    hindrances |= redirected && !later ? HINDERED_REDIRECT : 0;
    hindrances &= later ? ~(unsigned)HINDERED_ROLE : ~0u; /* it is not refused as a write either */
    enum refusal refusal = check_home(client, ref, hindrances, staged->route != ROUTE_UNKNOWN,
                                      staged->route == ROUTE_QUEUE, &staged->request);
    if (refusal == REFUSE_NOT && (needs_busy(client, staged) ||
                                  (UNLIKELY(worker->parked.is) && !runs_beside(client, staged)))) {
        refusal = REFUSE_BUSY;
    }
    if (UNLIKELY(refusal == REFUSE_LOADING) && hindrances & HINDERED_LOADING &&
        worker->pause.brief) {
        later = true;
        refusal = REFUSE_NOT;
    }
    bool refused = refusal != REFUSE_NOT;
    if (UNLIKELY(goes_on_later(client, staged, refused))) {
        if (client->gathered != NULL) {
            start_gathered(client);
        } else if (client->state == CLIENT_READING) { /* else it waits with what came before */
            client_resume(client);
        }
        return false;
    }
    bool stops = !refused && UNLIKELY(later || paused(client, staged));
    bool goes = !refused && !stops;
    bool alone = goes && (waits(client, staged, caller) || goes_alone(staged));
    bool away = goes && staged->route == ROUTE_KEY &&
                (staged->target != worker->id || must_wait_here(client, staged));
    bool told = UNLIKELY(hindrances & HINDERED_MONITORS);
    bool apart = alone || (goes && is_apart(client, staged)) || (told && away);
    if (client->gathered != NULL && (!apart || stops || alone)) {
        start_gathered(client);
    }
    if (client->state != CLIENT_READING) {
        return false; /* a transaction has begun with what came before */
    }
    if (stops) {
        client->last_command = ref; /* CLIENT LIST shows what it waits with */
        pause_client(client);
        return false;
    }
    if (client->pending_count > 0 && !refused) {
        if (apart || tracked || is_fence(staged) || slots_moved ||
            is_strict_fence(client, staged)) {
            client_move(client, CLIENT_FENCED);
            return false;
        }
    }
    if (!refused && UNLIKELY(begins_script(client, staged))) {
        client->flags |= CLIENT_RAN_SCRIPT;
    }
    bool runs = !refused && staged->route != ROUTE_QUEUE;
    client->commands += runs;
    client->last_command = ref;
    gate_note(client, runs ? ref : NULL);
    if (UNLIKELY(hindrances & HINDERED_SIZE) && runs) {
        log_size(client, staged);
    }
    if (UNLIKELY(refused)) {
        if (ref == NULL && is_http(staged->request.argv[0])) {
            log_http(worker, client);
            client_close(client);
            return true;
        }
        refuse_and_count(client, staged, refusal);
    } else if (apart) {
        run_apart(client, staged, alone || tracked);
    } else if (UNLIKELY(staged->route == ROUTE_QUEUE)) {
        queue(client, staged);
    } else if (staged->route == ROUTE_HOME) {
        bool complete = run_home(client, staged, caller);
        if (told) {
            tell_home(client, staged, complete);
        }
    } else if (away) {
        run_away(client, staged);
    } else {
        if (told) {
            tell_here(client, staged);
        }
        run_here(client, staged, caller);
    }
    if (UNLIKELY(tracked)) {
        tracking_took_up(client, ref);
    }
    return true;
}

static void protocol_error(struct client *client) {
    struct worker *worker = client->worker;
    struct outbuf *target = reply_target(client);
    size_t before = target->bytes;
    struct reply reply;
    reply_init(&reply, target, client->resp);
    reply_error_bytes(&reply, parser_error(&client->parser));
    call_refused(worker, NULL, &reply);
    reply_done(client, target, target->bytes - before);
    client_close_after_reply(client);
}

/* Parses up to a window's requests; *ret_used is where it stopped. */
static unsigned stage_window(struct client *client, struct staged *window, size_t *ret_used,
                             enum parse_status *ret_status) {
    struct worker *worker = client->worker;
    const struct parser_limits limits = client_parser_limits(client);
    unsigned n = 0;
    size_t used = 0;
    enum parse_status status = PARSE_REQUEST;
    while (n < DISPATCH_WINDOW && used < client->input.len) {
        struct staged *staged = &window[n];
        struct bytes rest = bytes_make(client->input.ptr + used, client->input.len - used);
        size_t consumed = 0;
        if (used == 0) {
            large_tell(client->large, &client->parser);
        }
        const struct staged *previous = n > 0 ? staged - 1 : NULL;
        status = parser_run_after(&client->parser, &limits, rest,
                                  previous != NULL ? &previous->request : NULL, &worker->scratch,
                                  &staged->request, &consumed);
        if (status == PARSE_MORE) {
            break;
        }
        staged->start = used;
        staged->large = used == 0 ? client->large : NULL;
        used += consumed;
        if (status == PARSE_ERROR) {
            if (n > 0 && staged[-1].route == ROUTE_APART) { /* its turn comes after that */
                used = staged->start;
                status = PARSE_REQUEST;
                parser_fini(&client->parser);
            }
            break;
        }
        if (status == PARSE_EMPTY) {
            continue;
        }
        if (UNLIKELY(worker->hindrances & HINDERED_BUSY)) {
            stage_beside(client, staged);
            n++;
            break;
        }
        stage(client, staged, previous);
        n++;
        if (UNLIKELY(client->flags & CLIENT_ASKING)) {
            break; /* it was said of this one alone */
        }
        bool after_apart = n > 1 && staged[-1].route == ROUTE_APART;
        if (LIKELY(staged->route == ROUTE_KEY && staged->ref->plain && !after_apart)) {
            continue;
        }
        if (staged->route == ROUTE_APART ? n == TXN_COMMANDS_MAX
                                         : after_apart || ends_window(client, staged)) {
            break;
        }
    }
    *ret_used = used;
    *ret_status = status;
    return n;
}

static bool can_go_on(const struct client *client) {
    return client->state == CLIENT_READING && client->input.len > 0 &&
           large_missing(client->large) == 0;
}

static bool is_here(const struct client *client, const struct staged *staged) {
    return staged->route == ROUTE_KEY && staged->target == client->worker->id;
}

/* The memory of all keys of the window is asked for before the first is touched, and so is that of
 * the elements that are looked up in large values. Often it is one key again and again. */
static void prefetch_window(const struct client *client, const struct staged *window, unsigned n) {
    const struct keyspace *keyspace = client->worker->shard.keyspace;
    const struct key *keys[DISPATCH_WINDOW];
    struct element_hint hints[DISPATCH_WINDOW];
    unsigned keys_count = 0, hints_count = 0;
    if (n < 2) {
        return; /* it is touched at once */
    }
    for (unsigned i = 0; i < n; i++) {
        if (!is_here(client, &window[i])) {
            continue;
        }
        const struct key *key = &window[i].key;
        if (keys_count == 0 || key->hash != keys[keys_count - 1]->hash) {
            keys[keys_count++] = key;
            keyspace_prefetch_bucket(keyspace, client->db, key);
        }
        const struct command_ref *ref = window[i].ref;
        if (ref->element != 0) {
            const struct request *request = &window[i].request;
            hints[hints_count++] = (struct element_hint){
                .key = key,
                .element = command_element(ref, request->argv, request->argc),
                .db = client->db,
            };
        }
    }
    for (unsigned i = 0; i < keys_count; i++) {
        keyspace_prefetch_entry(keyspace, client->db, keys[i]);
    }
    if (hints_count > 1) {
        keyspace_prefetch_elements(keyspace, hints, hints_count);
    }
}

static unsigned hindrances_of(const struct client *client) {
    struct worker *worker = client->worker;
    if (UNLIKELY(client->upstream != NULL)) { /* what it has done is done here, too */
        return worker->hindrances & HINDERED_MONITORS;
    }
    unsigned hindrances = client_may_run(client) ? 0 : HINDERED_LOGIN;
    if (UNLIKELY(worker->load != NULL || worker->pause.brief) &&
        (worker->pause.brief || shared_loading(worker->server->shared))) {
        hindrances |= HINDERED_LOADING;
    }
    if (UNLIKELY(worker->room.limit > 0) && client->multi != NULL && !room_is_anywhere(worker)) {
        hindrances |= HINDERED_MEMORY;
    }
    if (UNLIKELY(client->flags & CLIENT_RESTRICTED)) {
        hindrances |= HINDERED_ACL;
    }
    return hindrances | worker->hindrances;
}

static void run_window(struct client *client) {
    struct worker *worker = client->worker;
    struct staged window[DISPATCH_WINDOW];
    size_t used;
    enum parse_status status;
    const struct slots *slots = &worker->node->slots;
    uint64_t epoch = slots_epoch(slots);
    unsigned n = stage_window(client, window, &used, &status);
    size_t scanned = used;
    if (client->pending_count == 0) {
        client->slots_epoch = epoch;
    }
    /* By another table than what is away: it must not overtake that. */
    bool moved =
        epoch != client->slots_epoch || slots_changing(epoch) || epoch != slots_epoch(slots);
    prefetch_window(client, window, n);
    unsigned hindrances = hindrances_of(client);
    hindrances |= may_be_large(client, used) ? HINDERED_SIZE : 0;
    bool whole = true, cut = false;
    worker_slice_enter(worker);
    worker->runs_for.client = client->id;
    worker->runs_for.home = worker->id;
    struct caller caller = {
        .worker = worker,
        .shard = &worker->shard,
        .tick = worker->slice.tick,
        .db = client->db, /* what changes it, or the manner, ends the window */
        .manner = client_manner(client),
    };
    for (unsigned i = 0; i < n; i++) {
        upstream_note(client, window[i].start);
        cut = i > 0 && UNLIKELY(worker_slice_over(worker));
        if (cut || !run_staged(client, &window[i], &caller, hindrances, moved)) {
            used = window[i].start; /* inv. 1 */
            whole = false;
            break;
        }
        if (client->state >= CLIENT_ENDING) {
            break;
        }
    }
    call_settle(&caller);
    if (client->gathered != NULL) {
        start_gathered(client);
    }
    if (cut && client->state == CLIENT_READING) {
        client_resume(client);
    }
    client->input_scanned = 0;
    if (!whole) {
        client->input_scanned = scanned + client->parser.pos - used;
        parser_fini(&client->parser); /* forgets a scan of what comes after */
    }
    bool wrong = whole && status == PARSE_ERROR && !client_is_closing(client);
    if (UNLIKELY(wrong)) {
        size_t at = window[n].start + client->parser.error_pos;
        log_protocol_error(worker, client, parser_error(&client->parser),
                           bytes_make(client->input.ptr + at, client->input.len - at));
    }
    if (!client_is_closing(client)) {
        client_input_used(client, used);
    }
    if (UNLIKELY(wrong)) {
        protocol_error(client);
    }
    if (status == PARSE_MORE && whole) {
        client->flags |= CLIENT_INPUT_PARTIAL;
    }
    arena_reset(&worker->scratch);
}

void client_process(struct client *client) {
    struct worker *worker = client->worker;
    worker_begin_small(worker, &client->out);
    while (can_go_on(client)) {
        if (UNLIKELY(client_is_full(client))) {
            client_move(client, CLIENT_FULL);
            break;
        }
        bool waits = client->upstream != NULL && server_busy_script(worker->server) != 0;
        if (UNLIKELY(waits || worker_slice_over(worker))) {
            client_resume(client);
            break;
        }
        client->flags &= ~(unsigned)CLIENT_INPUT_PARTIAL;
        run_window(client);
        if (client_check_output(client) || (client->flags & CLIENT_INPUT_PARTIAL)) {
            break;
        }
        if (client->state == CLIENT_READING &&
            client->out.bytes > client->out_flushed + OUTPUT_A_TURN_MAX) {
            client_resume(client);
            break;
        }
    }
    client_send_batches(client);
    client_after_process(client);
}
