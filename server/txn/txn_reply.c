/* SPDX-License-Identifier: BSD-3-Clause */
/* txn_reply: what the shards have answered for the commands of a transaction becomes its reply.
 *
 * Each shard has written the replies of its tasks one behind the other (`part->out`), in the order
 * of the commands. So what a command's tasks have written lies first in each when its turn comes,
 * and is moved on, added up, or dropped.
 */
#include "base/check.h"
#include "base/num.h"
#include "proto/reply.h"
#include "server/client/client.h"
#include "server/cluster/redirect.h"
#include "server/observe/slot_stats.h"
#include "server/txn/txn_private.h"
#include "server/worker/worker.h"

#include <sys/uio.h>

static int64_t take_int(struct outbuf *out, size_t bytes) {
    struct iovec vectors[2];
    int n = outbuf_vectors(out, vectors, 2);
    check(n > 0 && vectors[0].iov_len >= bytes && bytes > 3);
    int64_t value = 0;
    bool ok = num_parse_i64(bytes_make((char *)vectors[0].iov_base + 1, bytes - 3), &value);
    check(ok);
    outbuf_drain(out, bytes);
    return value;
}

static void merge_elements(struct txn *txn, struct txn_command *command, struct reply *reply) {
    reply_array(reply, command->keys_count);
    for (uint32_t i = 0; i < command->keys_count; i++) {
        unsigned worker = command->keys[i].worker;
        struct txn_task *task = command->tasks[worker];
        struct outbuf *out = &txn->parts[worker]->out;
        size_t end = task->element_ends[task->merged + 1], start = task->element_ends[task->merged];
        if (task->merged == 0) {
            outbuf_drain(out, start); /* the shard's own header */
        }
        outbuf_move(reply->out, out, end - start);
        task->merged++;
    }
}

/* Passes the reply of this task on, as the whole command's, and drops those of the others. */
static void take_reply(struct txn *txn, struct txn_command *command, const struct txn_task *chosen,
                       struct reply *reply) {
    uint64_t ticks = 0;
    for (const struct txn_task *task = command->first; task != NULL; task = task->peer) {
        struct outbuf *out = &txn->parts[task->worker]->out;
        ticks += task->outcome.ticks;
        if (task == chosen) {
            outbuf_move(reply->out, out, task->outcome.reply_bytes);
        } else {
            outbuf_drain(out, task->outcome.reply_bytes);
        }
    }
    command->outcome = chosen->outcome;
    command->outcome.ticks = ticks;
}

/* SPREAD_EACH: what each key has, if it has something, in their order. */
static void merge_map(struct txn *txn, struct txn_command *command, struct reply *reply) {
    uint32_t count = 0;
    for (const struct txn_task *task = command->first; task != NULL; task = task->peer) {
        for (uint32_t i = 0; task->stage == STAGE_ACT && i < task->set->count; i++) {
            count += task->element_ends[i] > (i > 0 ? task->element_ends[i - 1] : 0);
        }
        command->outcome.ticks += task->outcome.ticks;
    }
    if (count == 0) {
        reply_null_array(reply);
    } else if (reply->resp == 2) {
        reply_array(reply, count);
    } else {
        reply_map(reply, count);
    }
    for (uint32_t i = 0; i < command->keys_count; i++) {
        struct txn_task *task = command->tasks[command->keys[i].worker];
        size_t start = task->merged > 0 ? task->element_ends[task->merged - 1] : 0;
        size_t bytes = task->element_ends[task->merged++] - start;
        outbuf_move(reply->out, &txn->parts[task->worker]->out, bytes);
    }
}

/* Of those who were asked who had something against it, the one who said so of the first key, or of
 * keys that are known to be asked in order just the first; else one who ran it. */
static const struct txn_task *first_with_reply(const struct txn_command *command) {
    const struct txn_task *task = command->first;
    if (command->spread == SPREAD_EACH) {
        const struct txn_task *first = NULL;
        for (; task != NULL; task = task->peer) {
            bool denies = task->stage == STAGE_ASK && task->outcome.reply_bytes > 0;
            if (denies && (first == NULL || task->outcome.denied_at < first->outcome.denied_at)) {
                first = task;
            }
        }
        return first;
    }
    while (task->outcome.reply_bytes == 0 && task->peer != NULL) {
        task = task->peer;
    }
    return task;
}

static const struct txn_task *first_with_error(const struct txn_command *command) {
    const struct txn_task *task = command->first;
    while (task != NULL && task->outcome.errors == 0) {
        task = task->peer;
    }
    return task;
}

/* The replies of all shards become one. */
static void merge_shares(struct txn *txn, struct txn_command *command, struct reply *reply) {
    int64_t sum = 0;
    if (command->spread == SPREAD_ELEMENTS) {
        merge_elements(txn, command, reply);
    }
    for (const struct txn_task *task = command->first; task != NULL; task = task->peer) {
        struct outbuf *out = &txn->parts[task->worker]->out;
        if (command->spread == SPREAD_SUM) {
            sum += take_int(out, task->outcome.reply_bytes);
        } else if (command->spread == SPREAD_OK) {
            outbuf_drain(out, task->outcome.reply_bytes);
        }
        command->outcome.ticks += task->outcome.ticks;
    }
    if (command->spread == SPREAD_SUM) {
        reply_int(reply, sum);
    } else if (command->spread == SPREAD_OK) {
        reply_ok(reply);
    }
}

static bool is_shared_out(const struct txn_command *command) {
    return command->spread != SPREAD_NONE && command->spread < SPREAD_IF;
}

static void merge(struct txn *txn, struct txn_command *command, struct reply *reply) {
    if (command->kind == TXN_HOME) {
        outbuf_move(reply->out, &txn->out, command->outcome.reply_bytes);
        return;
    }
    if (command->sent) { /* as those did nothing that they say of */
        for (const struct txn_task *task = command->first; task != NULL; task = task->peer) {
            command->outcome.ticks += task->outcome.ticks;
        }
        outbuf_move(reply->out, &txn->out, command->outcome.reply_bytes);
        return;
    }
    const struct txn_task *chosen =
        is_shared_out(command) ? first_with_error(command) : first_with_reply(command);
    if (chosen != NULL) {
        take_reply(txn, command, chosen, reply);
    } else if (command->spread == SPREAD_EACH) {
        merge_map(txn, command, reply);
    } else {
        merge_shares(txn, command, reply);
    }
}

/* What was read before somebody refused it is dropped. */
static void refuse(struct txn *txn, const struct txn_command *command, struct reply *reply,
                   bool over) {
    const struct txn_task *task = over ? NULL : command->first;
    for (; task != NULL; task = task->peer) {
        outbuf_drain(&txn->parts[task->worker]->out, task->outcome.reply_bytes);
    }
    struct reply own;
    reply_init(&own, reply->out, reply->resp);
    reply_error(&own, command->refusal);
    call_refused(txn->home, command->forbidden != NULL ? NULL : command->ref, &own);
    call_unexpected(txn->home, command->ref, client_manner(txn->client), 1, own.error_code);
}

bool txn_is_over_limit(struct txn *txn) {
    bool over = false;
    EACH_PART(txn, part) {
        over |= part->over;
    }
    return over;
}

const struct txn_task *txn_waiting_task(const struct txn *txn) {
    const struct txn_task *task = txn->blocked != NULL ? txn->commands[0].first : NULL;
    if (task != NULL && task->command->spread == SPREAD_EACH && !task->command->waits) {
        return NULL;
    }
    while (task != NULL && !task->outcome.waits) {
        task = task->peer;
    }
    return task;
}

static void count(struct txn *txn, struct txn_command *command, size_t reply_bytes) {
    struct worker *home = txn->home;
    for (const struct txn_task *task = command->first; task != NULL; task = task->peer) {
        txn->client->commands += task->outcome.commands;
    }
    const struct call what = {.ref = command->ref, .argv = command->argv, .argc = command->argc};
    command->outcome.reply_bytes = reply_bytes;
    call_count(home, command->ref, &command->outcome);
    if (UNLIKELY(home->slot_stats.counts)) {
        slot_stats_called(home, &what, client_manner(txn->client), command->outcome.script_slot,
                          command->outcome.ticks, reply_bytes);
    }
    call_unexpected(home, command->ref, client_manner(txn->client), command->outcome.errors,
                    command->outcome.error_code);
    call_log(home, &what, command->words, &command->outcome);
}

void txn_write_reply(struct txn *txn, struct reply *reply, bool over) {
    if (txn->queue != NULL && txn->dirty) {
        reply_null_array(reply);
        return;
    }
    if (txn->refusal != NULL) {
        if (redirect_is_told(txn->refusal)) {
            reply_error(reply, txn->refusal);
        } else {
            reply_errorf(reply, "EXECABORT Transaction discarded because of: %s", txn->refusal);
        }
        call_refused(txn->home, txn->ref, reply);
        call_unexpected(txn->home, txn->ref, client_manner(txn->client), 1, reply->error_code);
        return;
    }
    if (txn->queue != NULL) {
        reply_array(reply, txn->count);
        txn->client->commands += txn->count;
    }
    if (txn_waiting_task(txn) != NULL) {
        return;
    }
    txn->home->runs_for.client = txn->client_id; /* to the command logs */
    txn->home->runs_for.home = txn->home->id;
    for (uint32_t i = 0; i < txn->count; i++) {
        if (UNLIKELY(txn->commands[i].refusal != NULL)) {
            refuse(txn, &txn->commands[i], reply, over);
            continue;
        }
        size_t before = reply->out->bytes;
        if (!over) {
            merge(txn, &txn->commands[i], reply);
        }
        count(txn, &txn->commands[i], reply->out->bytes - before);
    }
}
