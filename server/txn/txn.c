/* SPDX-License-Identifier: BSD-3-Clause */
/* txn: the coordinator. Why so: it drives parts through steps, and in each step a part has at most
 * one message away; when the last is home, the next step follows from what they brought. So there
 * is one place (`go_on`) that says what comes after what:
 *
 *     one shard, one phase:  ALONE -> reply
 *     home and one more:     HOME_FIRST, granted -> SCHEDULE the other, which runs at once
 *     else:                  SCHEDULE
 *
 *     any of these, slots have moved -> (CANCEL) -> planned anew -> SCHEDULE
 *     the same from PHASE, if what was read names keys that are not locked
 *     SCHEDULE, all granted ----> PHASE [SCATTER] -> PHASE ... -> reply, RELEASE
 *         ^   \-- some refused -> CANCEL
 *         +----------------------/  \-- three times -> FENCE, shard by shard -> SCHEDULE
 *     ALONE, its shard is sealed -> FENCE -> SCHEDULE
 *
 * A transaction that only reads in its first phase does so as soon as each shard grants its locks:
 * while they are held nothing can change, so what was read at different moments was all true at
 * the last of them.
 *
 * Its time is the coordinator's when it asks. A shard where others have seen keys run out at that
 * time or later grants, but reads nothing yet: then the time becomes a later one, and all parts
 * look AGAIN. So they do if keys may have run out by the last grant. From the grant on, nothing is
 * deleted there that was alive at the time it was asked for.
 *
 * Invariants
 *  1. The reply is written, and the client told to go on, exactly once: after all effects.
 *  2. Locks on all shards are granted before any is released (this is what keeps the order).
 *  3. The transaction is freed when no part is away and none is locked.
 *
 * Long, and one file: every step names the one that follows it, and all change the one state.
 */
#include "server/txn/txn.h"

#include "base/check.h"
#include "net/rt.h"
#include "proto/parser.h"
#include "server/call/effects.h"
#include "server/call/exec.h"
#include "server/call/rights.h"
#include "server/call/scatter.h"
#include "server/call/slot_check.h"
#include "server/client/client.h"
#include "server/client/large.h"
#include "server/observe/commandlog.h"
#include "server/observe/monitor.h"
#include "server/observe/slot_stats.h"
#include "server/txn/multi.h"
#include "server/txn/txn_private.h"
#include "server/worker/message.h"
#include "server/worker/pausing.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdlib.h>
#include <string.h>

/* ---- Life ---- */

/* A global command that ran inside a transaction is complete: its reply goes to txn_reply. */
static struct reply txn_reply(struct client *client);
static void txn_scatter_done(struct client *client, const struct call_outcome *outcome);
static const struct scatter_parent txn_parent = {.reply = txn_reply, .done = txn_scatter_done};

static struct txn *txn_new(struct client *client, const struct command_ref *ref) {
    struct worker *worker = client->worker;
    struct txn *txn = txn_take(worker);
    txn->home = worker;
    txn->client = client;
    txn->client_id = client->id;
    txn->ref = ref;
    txn->reply_max = client_reply_max(client);
    client->txn = txn;
    client->parent = &txn_parent;
    client->txns_open++;
    txn->tells = monitors_look(&worker->monitors);
    worker->stats.txns++;
    return txn;
}

/* Nothing of it is away: its parts have the rights of who its client is now. */
static void take_user(struct txn *txn) {
    const struct client *client = txn->client;
    const struct acl_user *user = client->flags & CLIENT_RESTRICTED ? client->user : NULL;
    if (UNLIKELY(txn->user != user)) {
        acl_user_unref(txn->user);
        txn->user = user != NULL ? acl_user_ref(user) : NULL;
    }
}

/* EXEC leaves out what he may not do any more. What comes next may have been changed by what was
 * before, AUTH or ACL; the first phase is judged before anybody is asked for locks, as who grants
 * the last one runs it at once. */
static void look_at_rights(struct txn *txn) {
    const struct client *client = txn->client;
    bool restricted = client->flags & CLIENT_RESTRICTED;
    take_user(txn);
    if (txn->judged > txn->phase) {
        return;
    }
    txn->judged = txn->phase + 1;
    for (uint32_t i = 0; UNLIKELY(restricted) && txn->queue != NULL && i < txn->count; i++) {
        struct txn_command *command = &txn->commands[i];
        if (command->phase == txn->phase) {
            command->forbidden =
                rights_deny_exec(client, command->ref, command->argv, command->argc, command->db);
            command->refusal = command->forbidden;
        }
    }
}

static void tasks_free(struct txn_task *first) {
    for (struct txn_task *task = first; task != NULL; task = task->next) {
        large_free(task->large);
        found_names_free(task->names);
        free(task->refusal);
    }
}

/* What a command has packed for another server. */
static void parcels_free(const struct txn_command *command) {
    for (uint32_t i = 0; command->parcels != NULL && i < command->keys_count; i++) {
        parcel_fini(&command->parcels[i]);
    }
}

static void txn_free(struct txn *txn) {
    struct client *client = txn->client;
    if (txn->home->wal != NULL) {
        wal_let_go(txn->home->wal, &txn->stand); /* its parts are in blocks by now */
    }
    for (uint32_t i = 0; i < txn->count; i++) {
        commandlog_words_free(txn->commands[i].words);
        if (UNLIKELY(txn->packs)) {
            parcels_free(&txn->commands[i]);
        }
    }
    tasks_free(txn->stale);
    free(txn->record);
    acl_user_unref(txn->user);
    txn->user = NULL;
    EACH_PART(txn, part) {
        tasks_free(part->first);
        worker_reclaim_chunk(txn->home, &part->out);
    }
    worker_reclaim_chunk(txn->home, &txn->out);
    txn_put(txn->home, txn);
    client->txns_open--;
    if (client_is_closing(client)) {
        client_try_free(client);
    }
}

/* ---- Steps ---- */

static void go_on(struct txn *txn);

static void due(struct txn_part *part, enum txn_action action) {
    part->action = action;
    part->due = true;
}

/* What the client has said of its replies and of its reads: HELLO and CLIENT NO-TOUCH in the queue
 * change it between two phases. */
static void note_client(struct txn_part *part) {
    const struct client *client = part->txn->client;
    part->resp = client->resp;
    part->manner = client_manner(client);
}

static void send_part(struct txn_part *part) {
    struct worker *home = part->txn->home;
    part->due = false;
    part->phase = part->txn->phase;
    part->now_ms = part->txn->now_ms;
    if (part->worker == home->id) {
        txn_part_handle(home, part);
        return;
    }
    part->message.kind = MESSAGE_TXN;
    home->stats.ops_away++;
    post_send(home->server->office, home->id, part->worker, &part->message);
}

/* Sends all that are due. Home's own part is handled at once and last. False if none is away any
 * more, or none was due: the next step follows. It is left to the caller, because steps that follow
 * from inside each other would take a stack as deep as a long EXEC has phases. */
static bool send_due(struct txn *txn) {
    EACH_PART(txn, part) {
        txn->open += part->due;
    }
    struct txn_part *own = txn->parts[txn->home->id];
    EACH_PART(txn, part) {
        if (part != own && part->due) {
            send_part(part);
        }
    }
    if (own != NULL && own->due) {
        txn->sending = true;
        send_part(own);
        txn->sending = false;
    }
    return txn->open > 0;
}

void txn_part_done(struct txn_part *part) {
    struct txn *txn = part->txn;
    check(txn->open > 0);
    if (--txn->open == 0 && !txn->sending) {
        go_on(txn);
    }
}

void txn_part_home(struct worker *worker, struct message *message) {
    txn_part_done((struct txn_part *)message);
    worker->slice.tick = rt_ticks(worker->rt);
}

/* ---- Time ---- */

/* Before anything is seen, or once nothing of what was seen counts. */
static void take_time(struct txn *txn) {
    struct rt *rt = txn->home->rt;
    txn->time_settled = false;
    txn->now_us = txn->queue != NULL ? rt_wall_us(rt) : 0;
    txn->now_ms = rt_wall_ms(rt);
}

static void move_time(struct txn *txn, int64_t to_ms) {
    if (to_ms > txn->now_ms) {
        txn->now_ms = to_ms;
        txn->now_us = to_ms * 1000;
    }
}

/* No key that it has locked is past its deadline before. */
static int64_t first_death_ms(const struct txn *txn) {
    int64_t first_ms = INT64_MAX;
    EACH_PART(txn, part) {
        first_ms = part->locked && part->dies_ms < first_ms ? part->dies_ms : first_ms;
    }
    return first_ms;
}

/* Between the first grant and the last, others may have seen keys go where they are only hidden,
 * and have changed what is locked only now: what they saw must not come before that. */
static void catch_up(struct txn *txn) {
    int64_t dies_ms = first_death_ms(txn);
    if (dies_ms < INT64_MAX) {
        rt_wall_us(txn->home->rt);
        if (dies_ms <= rt_wall_ms(txn->home->rt)) {
            move_time(txn, rt_wall_ms(txn->home->rt));
        }
    }
}

int64_t txn_exec_time_us(const struct client *client) {
    return client->txn != NULL && client->txn->queue != NULL ? client->txn->now_us : 0;
}

/* ---- Locking ---- */

/* The current phase is a command that asks all workers by scatter: their locks must be held until
 * it is done, though they have no task. */
static bool runs_at_home(const struct txn *txn) {
    return txn->at < txn->count && txn->commands[txn->at].phase == txn->phase &&
           txn->commands[txn->at].kind == TXN_HOME;
}

static void schedule_part(struct txn *txn, struct txn_part *part, bool is_last_to_grant) {
    part->lock.number = txn->number;
    part->refused = true; /* till it says something else */
    part->late = false;
    part->eager = txn->reads_first || is_last_to_grant;
    part->grants_last = is_last_to_grant;
    part->release = is_last_to_grant && txn->phases == 1 && !runs_at_home(txn);
    due(part, TXN_SCHEDULE);
}

static void schedule(struct txn *txn) {
    txn->state = STATE_SCHEDULE;
    take_time(txn);
    txn->number = shared_next_number(txn->home->server->shared);
    EACH_PART(txn, part) {
        schedule_part(txn, part, false);
    }
}

/* The common case of two shards of which one is home: once home's locks are granted, the other
 * shard is the last to grant, and may run and release in the same hop. */
static void schedule_home(struct txn *txn) {
    txn->state = STATE_HOME_FIRST;
    take_time(txn);
    txn->number = shared_next_number(txn->home->server->shared);
    EACH_PART(txn, part) {
        part->refused = true;
    }
    schedule_part(txn, txn->parts[txn->home->id], false);
}

static void schedule_other(struct txn *txn) {
    txn->state = STATE_SCHEDULE;
    int64_t dies_ms = first_death_ms(txn);
    EACH_PART(txn, part) {
        if (part->worker != txn->home->id) {
            part->others_die_ms = dies_ms;
            schedule_part(txn, part, !txn_is_logged(txn->home, txn) && !txn->tells);
        }
    }
}

/* What was read in the first hop does not count. */
static void forget_reads(struct txn_part *part) {
    part->next = part->first;
    part->over = false;
    outbuf_drain(&part->out, part->out.bytes);
    for (struct txn_task *task = part->first; task != NULL; task = task->next) {
        task->outcome = (struct call_outcome){0};
        found_names_free(task->names);
        task->names = NULL;
        free(task->refusal);
        task->refusal = NULL;
    }
}

static bool any_moved(const struct txn *txn) {
    bool any = false;
    EACH_PART(txn, part) {
        any |= part->moved;
    }
    return any;
}

/* Of two that have begun on a shard that is sealed for them the later one gives up: each would wait
 * for the other. */
static bool gives_up(const struct txn *txn) {
    bool gives = false;
    EACH_PART(txn, part) {
        gives |= part->refused && part->lock.sealed_by > 0 && part->lock.sealed_by < txn->seal;
    }
    return gives;
}

static void cancel(struct txn *txn) {
    txn->state = STATE_CANCEL;
    txn->gives_up = txn->seal > 0 && gives_up(txn);
    txn->plan_anew = any_moved(txn);
    if (!txn->plan_anew) {
        txn->refusals++;
        txn->home->stats.txn_refusals++;
    }
    txn_forget_votes(txn);
    EACH_PART(txn, part) {
        forget_reads(part);
        if (!part->refused) {
            due(part, TXN_CANCEL);
        }
    }
}

/* If one is late: all that have their locks look again, at a time that no shard has seen yet. Their
 * answer is the one to the same question. */
static bool look_again(struct txn *txn) {
    int64_t before_ms = txn->now_ms;
    bool last_ran = false;
    EACH_PART(txn, part) {
        if (part->late) {
            move_time(txn, part->expired_ms + 1);
        }
        last_ran |= part->grants_last && !part->late;
    }
    if (txn->state == STATE_SCHEDULE && !txn->time_settled) {
        txn->time_settled = true;
        if (!last_ran) {
            catch_up(txn);
        }
    }
    bool late = txn->now_ms > before_ms;
    if (late) {
        txn->home->stats.txn_times_moved++;
        txn_forget_votes(txn);
    }
    EACH_PART(txn, part) {
        if (late && part->locked) {
            forget_reads(part);
            part->eager = txn->reads_first;
            part->release = false;
            due(part, TXN_AGAIN);
        }
    }
    return late;
}

/* The next shard in ascending order; false when all are fenced. */
static bool fence_next(struct txn *txn) {
    txn->state = STATE_FENCE;
    const struct node *node = txn->home->node;
    while (txn->fenced < node->count) {
        struct txn_part *part = txn->parts[node->first + txn->fenced++];
        if (part != NULL) {
            due(part, TXN_FENCE);
            return true;
        }
    }
    return false;
}

/* ---- Running at home ---- */

/* In whose name home runs what comes next. */
static struct caller caller_of(const struct txn *txn, struct shard *shard) {
    struct worker *worker = txn->home;
    worker->runs_for.client = txn->client_id;
    worker->runs_for.home = worker->id;
    return (struct caller){
        .worker = worker,
        .shard = shard,
        .tick = rt_ticks(worker->rt),
        .manner = client_manner(txn->client),
        .txn = txn->effects,
    };
}

/* Runs a command on this thread: with all shards in view, or (NULL) on this one. False: it asks all
 * workers. */
static bool run_on(struct txn *txn, struct txn_command *command, const struct view *view) {
    struct reply reply = txn_reply(txn->client);
    struct caller caller = caller_of(txn, &txn->home->shard);
    caller.view = view;
    caller.inside = view != NULL;
    caller.db = command->db;
    caller.order = (uint32_t)(command - txn->commands);
    caller.client = command->kind == TXN_HOME ? txn->client : NULL;
    struct call what = {
        .ref = command->ref,
        .argv = command->argv,
        .argc = command->argc,
        .key = command->keys_count > 0 ? &command->keys[0].key : &NO_KEY,
        .keys = command->set,
        .now_ms = txn->now_ms,
    };
    return call_share(&caller, &what, NULL, &reply, &command->outcome);
}

static struct reply txn_reply(struct client *client) {
    struct reply reply;
    reply_init(&reply, &client->txn->out, client->resp);
    return reply;
}

/* ---- Phases ---- */

static bool is_last(const struct txn *txn) {
    return txn->phase + 1 == txn->phases;
}

/* The next task that is not left out, if it is this phase's. */
static bool has_task(const struct txn *txn, struct txn_part *part) {
    while (part->next != NULL && part->next->phase == txn->phase && txn_task_is_off(part->next)) {
        part->next = part->next->next;
    }
    return part->next != NULL && part->next->phase == txn->phase;
}

/* Whether something of this phase may write. */
static bool may_write(const struct txn *txn) {
    bool may = runs_at_home(txn);
    EACH_PART(txn, part) {
        for (const struct txn_task *task = has_task(txn, part) ? part->next : NULL;
             task != NULL && task->phase == txn->phase; task = task->next) {
            may |= task->stage != STAGE_LEND && task->stage != STAGE_ASK;
        }
    }
    return may;
}

/* Before the first lock goes back, and what it has done goes to the logs. The latest moment for its
 * number is the best, since everybody's replies wait for what has one: in the middle of a long
 * script nobody would hear that it is one. */
static void draw_number(struct txn *txn) {
    if (UNLIKELY(txn->may_have_written) && txn->stand.number == 0) {
        wal_draw(txn->home->wal, &txn->stand);
    }
}

/* Each part that has tasks in this phase runs them; in the last one they are also what it had to
 * wait for, and it gives its locks back. */
static void start_phase(struct txn *txn) {
    txn->state = STATE_PHASE;
    look_at_rights(txn);
    if (UNLIKELY(txn->tells)) {
        txn_tell(txn);
    }
    if (UNLIKELY(txn_is_logged(txn->home, txn))) {
        txn->may_have_written |= may_write(txn);
    }
    EACH_PART(txn, part) {
        if (has_task(txn, part)) {
            part->release = is_last(txn);
            if (part->release) {
                draw_number(txn);
            }
            note_client(part);
            due(part, TXN_RUN);
        }
    }
}

/* Runs what home has to run of this phase. False: a scatter is on its way. */
static bool run_at_home(struct txn *txn) {
    while (txn->at < txn->count && txn->commands[txn->at].phase == txn->phase) {
        struct txn_command *command = &txn->commands[txn->at++];
        if (command->kind == TXN_HOME && command->forbidden == NULL) {
            txn->out_mark = txn->out.bytes;
            if (!run_on(txn, command, NULL)) {
                txn->state = STATE_SCATTER;
                return false;
            }
        }
    }
    return true;
}

/* ---- Another server ---- */

static void sent(struct txn *txn) {
    struct txn_command *command = txn->sender;
    const struct reply *reply = &txn->errand->reply;
    txn->sender = NULL;
    command->sent = true;
    command->denied = !txn->errand->acts;
    command->outcome.reply_bytes = txn->out.bytes - txn->out_mark;
    command->outcome.errors = reply->errors;
    memcpy(command->outcome.error_code, reply->error_code, sizeof command->outcome.error_code);
    parcels_free(command);
}

static void sending_over(struct sending *sending) {
    struct txn *txn = sending->arg;
    sent(txn);
    go_on(txn);
}

/* They are the client's who asked for it, till the end. */
static void account_parcels(struct txn *txn, const struct txn_command *command) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < command->keys_count; i++) {
        bytes += command->parcels[i].present ? command->parcels[i].dump.cap : 0;
    }
    txn->bytes += bytes;
    txn->client->bytes_away += bytes;
}

/* The parcels of a command are packed, and its keys are locked till it is known what has become of
 * them. False: they are on their way. */
static bool send_parcels(struct txn *txn) {
    struct txn_command *command = txn->sender;
    txn->state = STATE_SEND;
    txn->out_mark = txn->out.bytes;
    account_parcels(txn, command);
    txn->errand = arena_alloc(&txn->arena, sizeof *txn->errand);
    *txn->errand = (struct sending){
        .worker = txn->home,
        .argv = command->argv,
        .argc = command->argc,
        .parcels = command->parcels,
        .count = command->keys_count,
        .reply = txn_reply(txn->client),
        .over = sending_over,
        .arg = txn,
    };
    if (!command->ref->row->send(txn->errand)) {
        return false;
    }
    sent(txn);
    return true;
}

/* ---- The end ---- */

/* The client has its reply and goes on. */
static void finish(struct txn *txn) {
    struct worker *worker = txn->home;
    struct client *client = txn->client;
    bool over = txn_is_over_limit(txn);
    if (over && !client_is_closing(client)) {
        client_close_over_limit(client);
    }
    bool gone = client_is_closing(client);
    struct reply reply;
    client->txn = NULL;
    client->parent = NULL;
    if (gone) {
        reply_init(&reply, &worker->discard, client->resp);
    } else {
        reply = client_reply(client);
    }
    txn_write_reply(txn, &reply, over);
    if (reply.out == &worker->discard) {
        outbuf_drain(reply.out, reply.out->bytes);
    }
    if (txn->queue != NULL) {
        if (txn->dirty || txn->refusal == NULL) {
            call_count(worker, txn->ref, &(struct call_outcome){0});
        }
        if (UNLIKELY(worker->slot_stats.counts) && !txn->dirty && txn->refusal == NULL) {
            slot_stats_exec(worker, slot_of_queue(txn->queue), txn->count, 0,
                            client_manner(client));
        }
        multi_queue_free(worker, txn->queue);
        client_forget_watches(client);
    }
    if (txn->input != NULL) {
        rt_buffer_unref(txn->input);
    }
    client->bytes_away -= txn->bytes;
    const struct txn_task *waiting = txn_waiting_task(txn);
    if (waiting != NULL) {
        blocked_begin(txn->blocked, waiting->outcome.wait_ms);
        return;
    }
    if (txn->blocked != NULL) {
        blocked_over(txn->blocked);
    }
    if (gone) {
        return;
    }
    client_command_over(client);
    if (client_check_output(client)) {
        return;
    }
    if (txn->starting) {
        client_wait_over_here(client);
    } else {
        client_wait_over(client);
    }
}

static void release_all(struct txn *txn, enum txn_state state) {
    txn->state = state;
    EACH_PART(txn, part) {
        if (part->locked || part->watches ||
            part->seal > 0) { /* it may have been left alone, as home said no */
            due(part, TXN_RELEASE);
        }
    }
    if (!send_due(txn)) {
        go_on(txn);
    }
}

static void end(struct txn *txn) {
    pause_leave(&txn->home->pause, txn->flags);
    if (UNLIKELY(txn->tells)) { /* it holds none */
        txn_tell(txn);
    }
    if (txn->pauses) {
        release_all(txn, STATE_LET_GO);
        return;
    }
    struct worker *home = txn->home;
    struct txn *riders = txn->riders;
    bool asked_view = home->txns.asks_view == txn;
    draw_number(txn);
    finish(txn);
    release_all(txn, STATE_RELEASE);
    if (UNLIKELY(asked_view)) {
        txn_riders_end(home, riders);
    }
}

void txn_run_in_view(struct txn *txn, const struct view *view) {
    size_t bytes = txn->home->server->workers_count * sizeof *txn->parts;
    txn->parts = memset(arena_alloc(&txn->arena, bytes), 0, bytes); /* it has none */
    txn->commands[0].kind = TXN_HOME;
    bool over = run_on(txn, &txn->commands[0], view);
    check(over);
    txn->rode = true;
}

void txn_end_ridden(struct txn *txn) {
    pause_leave(&txn->home->pause, txn->flags);
    finish(txn);
    txn_free(txn);
}

static void stands(struct exec *x, const struct scatter_result *result) {
}

static void begin_to_wait(struct exec *x, const struct scatter_result *result) {
    pause_wait(x, stands);
}

/* Nothing of it is left to do, and nobody waits for it. */
static void wait_until_pause_stands(struct txn *txn) {
    txn->state = STATE_STANDS;
    struct caller caller = caller_of(txn, &txn->home->shard);
    caller.client = txn->client;
    struct call what = {
        .ref = txn->ref,
        .key = &NO_KEY,
        .now_ms = txn->now_ms,
    };
    struct call_part part = {.later = begin_to_wait};
    struct reply none;
    reply_init(&none, &txn->home->discard, txn->client->resp);
    struct call_outcome outcome = {0};
    call_share(&caller, &what, &part, &none, &outcome);
}

void txn_pauses(struct client *client) {
    client->txn->pauses = true;
}

/* ---- The plan ---- */

/* What the first phase does changes nothing: it may be done twice. */
static bool reads_first(const struct txn *txn) {
    for (uint32_t i = 0; i < txn->count && txn->commands[i].phase == 0; i++) {
        const struct txn_command *command = &txn->commands[i];
        if (command->kind == TXN_TASKS && command->first->stage == STAGE_ALL &&
            (command->ref->flags & (CMD_WRITE | CMD_MAY_REPLICATE) || txn->blocked != NULL)) {
            return false;
        }
        if (command->spread == SPREAD_SEND) { /* it packs for long, perhaps */
            return false;
        }
    }
    return true;
}

/* One of its parts, or NULL if it has none. */
static struct txn_part *plan(struct txn *txn) {
    txn_plan(txn);
    txn->reads_first = reads_first(txn);
    struct txn_part *some = NULL;
    EACH_PART(txn, part) {
        part->next = part->first;
        note_client(part);
        some = part;
    }
    return some;
}

/* Slots have moved before anything of it was done, or it has found keys that it had not: nothing of
 * the plan counts, and nothing is locked by it. What its tasks hold may be named by the commands.
 */
static void plan_anew(struct txn *txn) {
    txn->home->stats.ops_moved += any_moved(txn);
    if (txn->home->wal != NULL) {
        wal_let_go(txn->home->wal, &txn->stand); /* its parts are in blocks, and did nothing */
    }
    EACH_PART(txn, part) {
        if (part->first != NULL) {
            part->last->next = txn->stale;
            txn->stale = part->first;
        }
        worker_reclaim_chunk(txn->home, &part->out);
    }
    for (uint32_t i = 0; i < txn->count; i++) {
        struct txn_command *command = &txn->commands[i];
        /* What was received apart is copied this time. */
        *command = (struct txn_command){
            .ref = command->ref,
            .argv = command->argv,
            .argc = command->argc,
            .db = command->db,
            .set = command->set,
            .tries = command->tries,
            .parks = command->parks,
            .words = command->words,
        };
    }
    txn->parts_count = 0;
    txn->refusals = txn->fenced = 0;
    txn->phase = txn->concluded = txn->at = txn->judged = 0;
    txn->plan_anew = txn->may_have_written = false;
    plan(txn);
}

/* What it began to read names keys that it had not locked: it has them next time. Those that it had
 * are kept, as what it reads may still name them. False: there are none. */
static bool take_names(struct txn *txn) {
    struct txn_command *command = &txn->commands[0];
    const struct txn_task *task = txn->count == 1 ? command->first : NULL;
    while (task != NULL && task->names == NULL) {
        task = task->peer;
    }
    if (LIKELY(task == NULL)) {
        return false;
    }
    const struct found_names *names = task->names;
    size_t count = (size_t)names->count + command->set->found;
    command->parks = ++command->tries > TXN_TRIES_MAX || count > FOUND_NAMES_MAX;
    if (!command->parks) {
        command->set = keyset_with(&txn->arena, txn->home->node, command->set, names, command->db);
        size_t bytes = names->text.len + keyset_bytes(command->set);
        txn->bytes += bytes;
        txn->client->bytes_away += bytes;
    }
    return true;
}

/* What it has locked goes back before that. */
static void begin_anew(struct txn *txn) {
    txn->state = STATE_CANCEL;
    txn->plan_anew = true;
    EACH_PART(txn, part) {
        if (part->locked) {
            due(part, TXN_CANCEL);
        }
    }
}

/* Another shard has closed a key for it, or is sealed: whoever is kept out there may hold locks
 * here.
 */
static bool is_awaited_elsewhere(const struct txn *txn) {
    bool is = false;
    EACH_PART(txn, part) {
        is |= (part->lock.own != NULL || part->seal > 0) && part->worker != txn->home->id;
    }
    return is;
}

/* The first question to the shards. */
static void schedule_first(struct txn *txn) {
    look_at_rights(txn);
    if (txn->parts_count == 2 && txn->parts[txn->home->id] != NULL && !is_awaited_elsewhere(txn)) {
        schedule_home(txn);
    } else {
        schedule(txn);
    }
}

/* A script has looked for a key that is not here, or that somebody has locked: it begins once more,
 * with all shards in view. If it has done something, that stays, its shard is sealed until all is
 * over, and it is told again what it was answered so far (script/run.h). */
static bool escapes(struct txn *txn) {
    struct txn_command *command = &txn->commands[0];
    if (txn->count > 1 || command->first == NULL || !command->first->outcome.escapes) {
        return false;
    }
    if (command->first->outcome.record != NULL) {
        txn->record = command->first->outcome.record;
        txn->sealed = command->first->worker;
        txn->seal = txn->parts[txn->sealed]->seal;
    }
    return true;
}

/* ---- What comes after what ---- */

static bool any_refused(const struct txn *txn) {
    bool any = false;
    EACH_PART(txn, part) {
        any |= part->refused;
    }
    return any;
}

static void look_for_dirt(struct txn *txn) {
    EACH_PART(txn, part) {
        txn->dirty |= part->dirty;
    }
}

/* One step further; true if parts are away or a scatter is, false to step on. */
static bool step(struct txn *txn) {
    switch (txn->state) {
    case STATE_HOME_FIRST:
        if (txn->parts[txn->home->id]->refused || any_moved(txn)) {
            cancel(txn);
            break;
        }
        if (look_again(txn)) {
            break;
        }
        look_for_dirt(txn);
        txn_count_votes(txn);
        if (!txn_is_over_early(txn)) {
            schedule_other(txn);
        }
        break;
    case STATE_SCHEDULE:
        if (any_refused(txn) || any_moved(txn)) {
            cancel(txn);
            break;
        }
        if (look_again(txn)) {
            break;
        }
        look_for_dirt(txn);
        txn_count_votes(txn);
        if (!txn_is_over_early(txn)) {
            start_phase(txn); /* nothing is due if it was read already */
        }
        break;
    case STATE_CANCEL:
        if (UNLIKELY(txn->gives_up)) {
            txn->commands[0].refusal =
                "ERR Script has written, and so has another one that it would have to wait for";
            txn->phase = txn->phases;
        } else if (txn->plan_anew) {
            plan_anew(txn);
            schedule_first(txn);
        } else if (txn->refusals < TXN_REFUSALS_MAX || !fence_next(txn)) {
            schedule(txn);
        }
        break;
    case STATE_FENCE:
        if (!fence_next(txn)) {
            txn->refusals = txn->fenced = 0; /* a seal may refuse it all the same: then once more */
            schedule(txn);
        }
        break;
    case STATE_PHASE:
    case STATE_SCATTER:
        if (!run_at_home(txn)) {
            return true;
        }
        txn_conclude(txn);
        if (UNLIKELY(take_names(txn))) {
            begin_anew(txn);
            break;
        }
        if (UNLIKELY(txn->sender != NULL) && !send_parcels(txn)) {
            return true;
        }
        txn->phase++;
        start_phase(txn);
        break;
    case STATE_SEND:
        txn->phase++;
        start_phase(txn);
        break;
    case STATE_ALONE:
    case STATE_LET_GO:
    case STATE_STANDS:
    case STATE_RELEASE:
        check(false);
    }
    return false;
}

static void go_on(struct txn *txn) {
    if (txn->state == STATE_LET_GO) {
        wait_until_pause_stands(txn);
        return;
    }
    if (txn->state == STATE_STANDS) {
        finish(txn);
        txn->state = STATE_RELEASE;
    }
    if (txn->state == STATE_RELEASE) {
        txn_free(txn);
        return;
    }
    if (txn->state == STATE_ALONE && UNLIKELY(any_moved(txn) || escapes(txn) || take_names(txn))) {
        struct keyset *set = txn->commands[0].set;
        if (txn->queue == NULL && set != NULL && set->is_script) {
            keyset_go_everywhere(set); /* it is not alone any more, and could not escape */
        }
        plan_anew(txn);
        if (txn->seal == 0 || !fence_next(txn)) { /* whoever waits for it is refused if it is */
            schedule_first(txn);
        }
        if (send_due(txn)) {
            return;
        }
    }
    if (txn->state == STATE_ALONE) {
        EACH_PART(txn, part) {
            move_time(txn, part->now_ms);
        }
        look_for_dirt(txn);
        txn_count_votes(txn);
        if (!txn_is_over_early(txn)) {
            run_at_home(txn); /* PING and the like */
        }
        end(txn);
        return;
    }
    do {
        if (step(txn)) {
            return;
        }
        if (txn->phase == txn->phases || txn_is_over_early(txn)) {
            end(txn);
            return;
        }
    } while (!send_due(txn));
}

/* ---- Beginning ---- */

/* It runs to its end, also for a client that has gone. */
static const struct wait_kind wait_txn = {.name = "txn"};

static bool runs_script(const struct txn *txn) {
    return txn->queue == NULL && txn->commands[0].ref->row->runs_script;
}

/* What monitors see of a script is said when it holds its locks, and it begins no second time after
 * that: so it has all shards in view from the first, if there are several. */
static void prepare_to_tell(const struct txn *txn) {
    struct keyset *set = runs_script(txn) ? txn->commands[0].set : NULL;
    if (set != NULL && set->is_script && txn->home->node->count > 1) {
        keyset_go_everywhere(set);
    }
}

static void start(struct txn *txn) {
    txn->flags = txn->queue != NULL ? txn->queue->flags : txn->flags;
    txn->effects = effects_txn(txn->home);
    if (UNLIKELY(txn->tells)) {
        prepare_to_tell(txn);
    }
    pause_enter(&txn->home->pause, txn->flags);
    if (LIKELY(!txn_stands_in_line(txn))) {
        txn_begin(txn);
    }
}

void txn_begin(struct txn *txn) {
    struct txn_part *some = plan(txn);
    take_user(txn);
    if (txn->parts_count == 0) {
        txn->state = STATE_PHASE;
        look_at_rights(txn);
        take_time(txn);
    } else if (txn->parts_count == 1 && txn->phases == 1 && txn->scope == LOCK_KEYS &&
               some->first != NULL && (!txn->tells || runs_script(txn))) {
        txn->state = STATE_ALONE;
        look_at_rights(txn);
        take_time(txn);
        if (UNLIKELY(txn->tells)) {
            txn_tell(txn);
        }
        due(some, TXN_ALONE);
    } else {
        schedule_first(txn);
    }
    if (!send_due(txn)) {
        go_on(txn);
    }
}

void txn_start(struct txn *txn) {
    struct client *client = txn->client;
    txn->starting = true;
    client_wait(client, &wait_txn, INT64_MAX);
    start(txn);
    if (client->txn == txn) {
        txn->starting = false;
    }
}

static struct bytes *copy_words(struct txn *txn, const struct request *request) {
    struct bytes *argv = arena_alloc(&txn->arena, request->argc * sizeof *argv);
    memcpy(argv, request->argv, request->argc * sizeof *argv);
    for (uint32_t i = 0; request->inlined && i < request->argc; i++) {
        char *copy = arena_alloc(&txn->arena, argv[i].len);
        memcpy(copy, argv[i].ptr, argv[i].len);
        argv[i].ptr = copy;
    }
    return argv;
}

struct txn *txn_open(struct client *client, struct rt_buffer *input) {
    struct txn *txn = txn_new(client, NULL);
    txn->input = rt_buffer_ref(input);
    txn->commands = arena_alloc(&txn->arena, TXN_COMMANDS_MAX * sizeof *txn->commands);
    return txn;
}

void txn_add(struct txn *txn, const struct command_ref *ref, const struct request *request,
             const struct keyset *keys, struct large *large) {
    check(txn->count < TXN_COMMANDS_MAX);
    size_t bytes = request->bytes + request->argc * sizeof(struct bytes) + keyset_bytes(keys);
    txn->bytes += bytes;
    txn->flags |= ref->flags;
    txn->client->bytes_away += bytes;
    if (command_may_wait(ref->row, request->argv, request->argc)) {
        txn->blocked = blocked_new(txn->client, ref, request);
    }
    struct bytes *argv =
        txn->blocked != NULL ? blocked_words(txn->blocked) : copy_words(txn, request);
    txn->commands[txn->count++] = (struct txn_command){
        .ref = ref,
        .argv = argv,
        .argc = request->argc,
        .db = txn->client->db,
        .set = keyset_copy(&txn->arena, keys, argv),
        .large = large,
        .words = large != NULL && commandlogs_look(&txn->home->logs)
                     ? commandlog_words(ref->row, argv, request->argc)
                     : NULL,
    };
}

void txn_try(struct client *client, struct blocked *blocked, const struct txn_command *command) {
    struct txn *txn = txn_new(client, NULL);
    txn->blocked = blocked;
    txn->commands = arena_alloc(&txn->arena, sizeof *txn->commands);
    txn->commands[txn->count++] = *command;
    txn->flags = command->ref->flags;
    txn->tells = false; /* it has been told, when the client began to wait */
    client_wait_on(client, &wait_txn, INT64_MAX);
    start(txn);
}

uint32_t txn_count(const struct txn *txn) {
    return txn->count;
}

void txn_hold_all(struct exec *x) {
    struct client *client = x->client;
    x->goes_on = true;
    struct txn *txn = txn_open(client, client->input_buffer);
    struct request request = {.argv = x->argv, .argc = x->argc, .inlined = true}; /* copied */
    txn->scope = LOCK_ALL_EXCLUSIVE;
    txn->tells = false; /* dispatch does */
    txn_add(txn, x->ref, &request, NULL, NULL);
    txn_start(txn);
}

bool txn_holds_all(const struct client *client) {
    const struct txn *txn = client->txn;
    return txn != NULL && txn->queue == NULL && txn->scope == LOCK_ALL_EXCLUSIVE;
}

const void *txn_script_record(const struct client *client) {
    return client->txn != NULL ? client->txn->record : NULL;
}

bool txn_locks_all(const struct client *client) {
    return client->txn != NULL && client->txn->scope != LOCK_KEYS;
}

void txn_exec(struct exec *x, struct multi_queue *queue) {
    if (txn_exec_here(x, queue)) {
        return;
    }
    x->goes_on = true;
    struct txn *txn = txn_new(x->client, x->ref);
    txn->queue = queue;
    txn->word = bytes_make(arena_alloc(&txn->arena, x->argv[0].len), x->argv[0].len);
    memcpy((char *)txn->word.ptr, x->argv[0].ptr, txn->word.len);
    txn->bytes = multi_queue_memory(queue);
    x->client->bytes_away += txn->bytes;
    txn->count = queue->count;
    txn->commands = arena_alloc(&txn->arena, queue->count * sizeof *txn->commands);
    for (uint32_t i = 0; i < queue->count; i++) {
        const struct multi_command *command = &queue->commands[i];
        if (command->keys->is_script) { /* it cannot begin anew in the middle of others */
            keyset_go_everywhere(command->keys);
        }
        txn->commands[i] = (struct txn_command){
            .ref = command->ref,
            .argv = command->argv,
            .argc = command->argc,
            .db = command->db,
            .set = command->keys,
        };
    }
    txn_start(txn);
}

const struct multi_queue *txn_exec_queue(const struct client *client, uint32_t *ret_done) {
    const struct txn *txn = client->txn;
    *ret_done = 0;
    if (txn == NULL || txn->queue == NULL) {
        return NULL;
    }
    *ret_done = txn->at > 0 ? txn->at - 1 : 0;
    return txn->queue;
}

static void txn_scatter_done(struct client *client, const struct call_outcome *outcome) {
    struct txn *txn = client->txn;
    if (txn->state == STATE_STANDS) {
        go_on(txn);
        return;
    }
    struct txn_command *command = &txn->commands[txn->at - 1];
    command->outcome = *outcome;
    command->outcome.reply_bytes = txn->out.bytes - txn->out_mark;
    go_on(txn);
}
