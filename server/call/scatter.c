/* SPDX-License-Identifier: BSD-3-Clause */
/* scatter: see the header. Why so: a keyless command needs every shard's share, and no thread may
 * look into another's. So the function travels: each worker runs it on what is its own and sends
 * the result home, where one function makes the reply.
 *
 * All of it is one allocation made and freed at home; a part is lent to its worker while its
 * message is away. A part that says it is not finished is run again in the next turn, so that a
 * long job (KEYS over a million keys) never stalls a loop.
 */
#include "server/call/scatter.h"

#include "base/check.h"
#include "base/must.h"
#include "net/rt.h"
#include "server/call/call.h"
#include "server/call/scatter_part.h"
#include "server/client/client.h"
#include "server/observe/commandlog.h"
#include "server/observe/slot_stats.h"
#include "server/worker/message.h"
#include "server/worker/pause.h"
#include "server/worker/worker.h"

#include <stdlib.h>
#include <string.h>

/* It runs to its end, also for a client that has gone. */
static const struct wait_kind wait_gather = {.name = "gather"};
static const struct wait_kind wait_shown = {.name = "shown", .shown_blocked = true};

struct scatter {
    struct client *client;
    struct caller caller;
    const struct command_ref *ref;
    scatter_part_fn *part;
    scatter_done_fn *done;
    void *args;
    int64_t now_ms;
    struct call_outcome outcome;    /* of what has run so far */
    struct commandlog_entry *words; /* of the command, for the command logs; or NULL */
    size_t part_bytes, args_bytes;
    int slot;             /* its only part is for whom that belongs to, or -1 */
    uint64_t slots_epoch; /* as it began */
    unsigned count, open;
    bool inside;                 /* CLIENT PAUSE waits for it */
    struct slot_stats_seen seen; /* the command, which goes with the input */
    struct scatter_part *parts;
};

static size_t round_up(size_t n) {
    return (n + 15) & ~(size_t)15;
}

static struct scatter *scatter_new(struct exec *x, unsigned count, scatter_part_fn *part,
                                   size_t part_bytes, const void *args, size_t args_bytes,
                                   scatter_done_fn *done) {
    struct client *client = x->client != NULL ? x->client : x->caller->asker;
    check(client != NULL && client->scatter == NULL && x->command->place != PLACE_PURE);
    size_t head = round_up(sizeof(struct scatter));
    size_t parts = round_up(count * sizeof(struct scatter_part));
    size_t each = round_up(part_bytes);
    char *memory = must_calloc(1, head + parts + count * each + round_up(args_bytes));
    struct scatter *scatter = (struct scatter *)memory;
    *scatter = (struct scatter){
        .client = client,
        .caller = *x->caller,
        .ref = x->ref,
        .part = part,
        .done = done,
        .args = memory + head + parts + count * each,
        .now_ms = x->now_ms,
        .part_bytes = part_bytes,
        .args_bytes = args_bytes,
        .slot = -1,
        .slots_epoch = slots_epoch(&x->worker->node->slots),
        .count = count,
        .open = count,
        .inside = client->parent == NULL && !pause_passes(x->ref),
        .parts = (struct scatter_part *)(memory + head),
    };
    for (unsigned i = 0; i < count; i++) {
        scatter->parts[i].scatter = scatter;
        scatter->parts[i].result = memory + head + parts + i * each;
        scatter->parts[i].message.home = (uint16_t)x->worker->id;
        list_node_init(&scatter->parts[i].node);
    }
    if (args_bytes > 0) {
        memcpy(scatter->args, args, args_bytes);
    }
    if (client->parent == NULL && x->argv != NULL) { /* its words go with the input */
        scatter->words = commandlog_words(x->command, x->argv, x->argc);
        if (UNLIKELY(x->worker->slot_stats.counts)) {
            slot_stats_see(&scatter->seen, x->ref, x->argv, x->argc, x->manner);
        }
    }
    client->scatter = scatter;
    x->goes_on = true;
    if (client->state == CLIENT_READING) { /* else its transaction asks, or it goes on asking */
        client_wait(client, &wait_gather, INT64_MAX);
    }
    if (scatter->inside) {
        pause_enter(&x->worker->pause, x->ref->flags);
    }
    return scatter;
}

/* Who has all shards in view runs all of it at once. A part that sleeps waits for something that
 * cannot happen meanwhile: no command that a script may call has one. */
static void run_in_view(struct exec *x, unsigned first, unsigned count, scatter_part_fn *part,
                        size_t part_bytes, const void *args, size_t args_bytes,
                        scatter_done_fn *done, int slot) {
    struct worker *const *workers = x->worker->server->workers;
    size_t each = round_up(part_bytes);
    char *memory = must_calloc(1, count * each + 1);
    void *results[CONFIG_SHARDS_MAX];
    for (unsigned i = 0; i < count; i++) {
        results[i] = memory + i * each;
        while (!part(workers[first + i], args, results[i])) {
            check(!workers[first + i]->job_sleeps);
        }
    }
    struct scatter scatter = {
        .caller = *x->caller,
        .part = part,
        .done = done,
        .args = (void *)args,
        .part_bytes = part_bytes,
        .args_bytes = args_bytes,
        .slot = slot,
    };
    struct scatter_result result = {
        .scatter = &scatter,
        .args = args,
        .parts = results,
        .parts_count = count,
    };
    done(x, &result);
    free(memory);
}

static bool has_view(const struct exec *x) {
    return x->caller->view != NULL;
}

static void part_send(struct worker *from, struct scatter_part *part, unsigned to) {
    part->worker = to;
    if (to == from->id) {
        scatter_part_arrived(from, &part->message);
        return;
    }
    part->message.kind = MESSAGE_PART;
    post_send(from->server->office, from->id, to, &part->message);
}

void scatter_all(struct exec *x, scatter_part_fn *part, size_t part_bytes, const void *args,
                 size_t args_bytes, scatter_done_fn *done) {
    const struct node *node = x->worker->node;
    if (has_view(x)) {
        run_in_view(x, node->first, node->count, part, part_bytes, args, args_bytes, done, -1);
        return;
    }
    struct scatter *scatter = scatter_new(x, node->count, part, part_bytes, args, args_bytes, done);
    NODE_EACH_WORKER(node, i) {
        part_send(x->worker, &scatter->parts[i - node->first], i);
    }
}

void scatter_one(struct exec *x, unsigned worker, scatter_part_fn *part, size_t part_bytes,
                 const void *args, size_t args_bytes, scatter_done_fn *done) {
    if (has_view(x)) {
        run_in_view(x, worker, 1, part, part_bytes, args, args_bytes, done, -1);
        return;
    }
    struct scatter *scatter = scatter_new(x, 1, part, part_bytes, args, args_bytes, done);
    part_send(x->worker, &scatter->parts[0], worker);
}

void scatter_show_blocked(struct exec *x) {
    struct client *client = x->client;
    if (client != NULL && client->state == CLIENT_WAITING && client->wait.kind == &wait_gather) {
        client_wait_on(client, &wait_shown, INT64_MAX);
    }
}

void scatter_slot(struct exec *x, uint16_t slot, scatter_part_fn *part, size_t part_bytes,
                  const void *args, size_t args_bytes, scatter_done_fn *done) {
    if (has_view(x)) {
        run_in_view(x, node_owner(x->worker->node, slot), 1, part, part_bytes, args, args_bytes,
                    done, slot);
        return;
    }
    struct scatter *scatter = scatter_new(x, 1, part, part_bytes, args, args_bytes, done);
    scatter->slot = slot;
    part_send(x->worker, &scatter->parts[0], node_owner(x->worker->node, slot));
}

void scatter_again(struct exec *x, const struct scatter_result *result) {
    const struct scatter *scatter = result->scatter;
    if (scatter->slot >= 0) {
        scatter_slot(x, (uint16_t)scatter->slot, scatter->part, scatter->part_bytes, scatter->args,
                     scatter->args_bytes, scatter->done);
    } else {
        scatter_all(x, scatter->part, scatter->part_bytes, scatter->args, scatter->args_bytes,
                    scatter->done);
    }
}

void scatter_ok(struct exec *x, const struct scatter_result *result) {
    reply_ok(x->reply);
}

void scatter_sleep(struct worker *worker) {
    worker->job_sleeps = true;
}

void scatter_wake(struct worker *worker) {
    list_splice_back(&worker->jobs, &worker->jobs_asleep);
}

void scatter_part_arrived(struct worker *worker, struct message *message) {
    struct scatter_part *part = (struct scatter_part *)message;
    list_push_back(&worker->jobs, &part->node);
}

bool scatter_run_jobs(struct worker *worker) {
    struct list jobs;
    list_init(&jobs);
    list_splice_back(&jobs, &worker->jobs); /* what comes up meanwhile is for the next turn */
    struct list_node *node;
    while (!worker_slice_over(worker) && !worker->parked.is &&
           (node = list_pop_front(&jobs)) != NULL) {
        worker_slice_enter(worker);
        struct scatter_part *part = LIST_ENTRY(node, struct scatter_part, node);
        const struct scatter *scatter = part->scatter;
        worker_reach_time(worker, scatter->now_ms);
        unsigned owner = scatter->slot >= 0 && !part->begun
                             ? node_owner(worker->node, (uint16_t)scatter->slot)
                             : worker->id;
        if (UNLIKELY(owner != worker->id)) {
            part_send(worker, part, owner);
            continue;
        }
        part->begun = true;
        uint64_t start = worker->slice.tick;
        bool over = part->scatter->part(worker, part->scatter->args, part->result);
        worker->slice.tick = rt_ticks(worker->rt);
        part->ticks += worker->slice.tick - start;
        if (!over) {
            list_push_back(worker->job_sleeps ? &worker->jobs_asleep : &worker->jobs, &part->node);
            worker->job_sleeps = false;
        } else if (part->message.home == worker->id) {
            scatter_part_home(worker, &part->message);
        } else {
            part->message.kind = MESSAGE_PART_DONE;
            post_send(worker->server->office, worker->id, part->message.home, &part->message);
        }
    }
    list_splice_back(&jobs, &worker->jobs);
    list_splice_back(&worker->jobs, &jobs);
    return !list_empty(&worker->jobs);
}

/* All parts are home: the reply is made. */
static void scatter_finish(struct worker *worker, struct scatter *scatter) {
    struct client *client = scatter->client;
    const struct scatter_parent *parent = client->parent;
    bool gone = parent == NULL && client_is_closing(client);
    void *results[CONFIG_SHARDS_MAX];
    uint64_t longest = 0;
    for (unsigned i = 0; i < scatter->count; i++) {
        results[i] = scatter->parts[i].result;
        longest = scatter->parts[i].ticks > longest ? scatter->parts[i].ticks : longest;
    }
    scatter->outcome.ticks += longest; /* they run side by side */
    client->scatter = NULL;
    struct reply reply;
    if (parent != NULL) {
        reply = parent->reply(client);
    } else if (gone) {
        reply_init(&reply, &worker->discard, client->resp);
    } else {
        reply = client_reply(client);
    }
    struct caller caller = scatter->caller;
    caller.client = gone ? NULL : client;
    caller.asker = client;
    worker->runs_for.client = client->id;
    worker->runs_for.home = worker->id;
    caller.tick = rt_ticks(worker->rt);
    uint64_t epoch = slots_epoch(&worker->node->slots);
    struct scatter_result result = {
        .scatter = scatter,
        .moved = epoch != scatter->slots_epoch || slots_changing(epoch),
        .args = scatter->args,
        .parts = results,
        .parts_count = scatter->count,
    };
    struct call what = {
        .ref = scatter->ref,
        .key = &NO_KEY,
        .now_ms = scatter->now_ms,
    };
    struct call_part part = {.later = scatter->done, .result = &result};
    struct call_outcome outcome = scatter->outcome;
    bool complete = call_share(&caller, &what, &part, &reply, &outcome);
    if (reply.out == &worker->discard) {
        outbuf_drain(reply.out, reply.out->bytes);
    }
    const struct command_ref *ref = scatter->ref;
    struct commandlog_entry *words = scatter->words;
    struct slot_stats_seen seen = scatter->seen;
    if (scatter->inside) {
        pause_leave(&worker->pause, ref->flags);
    }
    free(scatter);
    if (!complete) { /* it went on to the next shard */
        client->scatter->outcome = outcome;
        client->scatter->words = words;
        client->scatter->seen = seen;
        return;
    }
    if (parent != NULL) {
        parent->done(client, &outcome);
        return;
    }
    call_count(worker, ref, &outcome);
    if (UNLIKELY(seen.counts)) {
        slot_stats_seen_is_over(worker, &seen, outcome.ticks, outcome.reply_bytes);
    }
    if (words != NULL) {
        call_log(worker, &what, words, &outcome);
        commandlog_words_free(words);
    }
    if (gone) {
        client_try_free(client);
        return;
    }
    client_command_over(client);
    if (!client_check_output(client)) {
        client_wait_over(client);
    }
}

void scatter_part_home(struct worker *worker, struct message *message) {
    struct scatter *scatter = ((struct scatter_part *)message)->scatter;
    check(scatter->open > 0);
    if (--scatter->open == 0) {
        scatter_finish(worker, scatter);
    }
    worker->slice.tick = rt_ticks(worker->rt);
}
