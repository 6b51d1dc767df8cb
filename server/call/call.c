/* SPDX-License-Identifier: BSD-3-Clause */
/* call: see the header. Why so: what must happen with every command (checks, time, counts; what it
 * changed, who watches) is said here once. A second way to run a command would forget one of them.
 *
 *     begin -> check_owner -> the function -> end -> clock -> counts
 *                   \-- says no: an error, nothing ran
 *
 * The clock is read once for each call: where one ends, the next of its caller begins. The time
 * between is so small that it is counted to the next.
 */
#include "server/call/call.h"

#include "base/check.h"
#include "base/must.h"
#include "net/rt.h"
#include "proto/reply.h"
#include "server/call/check.h"
#include "server/call/effects.h"
#include "server/worker/worker.h"

const struct key NO_KEY;

/* ---- Counts ---- */

static void count_error(struct worker *worker, uint32_t errors, const char *code) {
    worker->stats.error_replies += errors;
    for (unsigned i = 0; i < worker->tally.errors_count; i++) {
        if (strcmp(worker->tally.errors[i].code, code) == 0) {
            worker->tally.errors[i].count += errors;
            return;
        }
    }
    if (worker->tally.errors_count < ERROR_STATS_MAX) {
        struct error_stat *stat = &worker->tally.errors[worker->tally.errors_count++];
        strcpy(stat->code, code);
        stat->count = errors;
    }
}

static inline void count(struct worker *worker, const struct command_ref *ref, uint64_t ticks,
                         uint32_t errors, const char *code) {
    struct command_stats *stats = &worker->tally.commands[ref->id];
    stats->calls++;
    stats->ticks += ticks;
    worker->stats.commands_processed++;
    worker->stats.cycle_command_ticks += ticks;
    if (UNLIKELY(errors > 0)) {
        stats->failed++;
        count_error(worker, errors, code);
    }
    if (LIKELY(worker->config->latency_tracking)) {
        if (UNLIKELY(stats->latency == NULL)) {
            stats->latency = must_calloc(1, sizeof *stats->latency);
        }
        histogram_record(stats->latency, rt_ticks_to_ns(worker->rt, ticks));
    }
}

void call_count(struct worker *worker, const struct command_ref *ref,
                const struct call_outcome *outcome) {
    count(worker, ref, outcome->ticks, outcome->errors, outcome->error_code);
}

void call_refused(struct worker *worker, const struct command_ref *ref, const struct reply *reply) {
    if (ref != NULL) {
        worker->tally.commands[ref->id].rejected++;
    }
    count_error(worker, reply->errors, reply->error_code);
}

/* ---- Running ---- */

static inline struct exec exec_of(struct caller *caller, const struct call *what,
                                  struct reply *reply) {
    return (struct exec){
        .command = what->ref->row,
        .ref = what->ref,
        .argv = what->argv,
        .argc = what->argc,
        .db = caller->db,
        .shard = caller->shard,
        .keyspace = caller->shard->keyspace,
        .reply = reply,
        .now_ms = what->now_ms,
        .key = *what->key,
        .keys = what->keys,
        .manner = caller->manner,
        .client = caller->client,
        .worker = caller->worker,
        .caller = caller,
    };
}

/* Before and after each piece of a command: what it does to the shard has these bounds. */
static inline void begin(struct exec *x) {
    if (UNLIKELY(x->manner & MANNER_SEES_DEAD)) {
        keyspace_see_dead(x->keyspace, true);
    }
    if (UNLIKELY(x->worker->effects != NULL)) {
        effects_begin(x);
    }
}

static inline void end(struct exec *x) {
    if (UNLIKELY(x->manner & MANNER_SEES_DEAD)) {
        keyspace_see_dead(x->keyspace, false);
    }
    if (UNLIKELY(x->gathered)) {
        effects_end(x);
    }
}

/* The time since the last call of this caller. */
static inline uint64_t lap(struct caller *caller) {
    struct worker *worker = caller->worker;
    uint64_t now = rt_ticks(worker->rt);
    uint64_t ticks = now - caller->tick;
    caller->tick = worker->slice.tick = now;
    return ticks;
}

bool call(struct caller *caller, const struct call *what, struct reply *reply) {
    check_slow(what->piece == NULL && what->element_ends == NULL);
    struct worker *worker = caller->worker;
    const char *refusal = check_owner(worker, what->ref);
    if (UNLIKELY(refusal != NULL) && !caller->asked) {
        reply_error(reply, refusal);
        call_refused(worker, what->ref, reply);
        return true;
    }
    struct exec x = exec_of(caller, what, reply);
    begin(&x);
    x.command->run(&x);
    end(&x);
    uint64_t ticks = lap(caller);
    if (UNLIKELY(x.goes_on)) {
        return false;
    }
    count(worker, what->ref, ticks, reply->errors, reply->error_code);
    return true;
}

bool call_share(struct caller *caller, const struct call *what, struct reply *reply,
                struct call_outcome *outcome) {
    size_t before = reply->out->bytes;
    struct exec x = exec_of(caller, what, reply);
    x.elements.ends = what->element_ends;
    x.elements.start = before;
    x.stage = (uint8_t)what->stage;
    x.inputs.list = what->inputs;
    x.inputs.count = what->inputs_count;
    begin(&x);
    if (what->piece != NULL) {
        what->piece(&x, what->result);
    } else {
        x.command->run(&x);
    }
    end(&x);
    outcome->ticks += lap(caller);
    outcome->reply_bytes = reply->out->bytes - before;
    outcome->errors = reply->errors;
    outcome->takes = x.takes;
    if (UNLIKELY(reply->errors > 0)) {
        memcpy(outcome->error_code, reply->error_code, sizeof outcome->error_code);
    }
    return !x.goes_on;
}
