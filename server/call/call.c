/* SPDX-License-Identifier: BSD-3-Clause */
/* call: see the header. Why so: what must happen with every command (checks, time, counts; what it
 * changed, who watches) is said here once. A second way to run a command would forget one of them.
 *
 *     begin -> check_owner -> the function -> end -> clock -> counts
 *                   \-- says no: an error, nothing ran
 *
 * The clock is read once for each call: where one ends, the next of its caller begins. The time
 * between is so small that it is counted to the next. Calls that are sure to be brief share even
 * that: a run of up to RUN_MAX of one command ends when another command comes, with an error, with
 * a reply or an argument that is large, or with the caller. So `calls` and `usec` are exact, each
 * call stands in the histogram with the mean of its run, and what takes long is timed by itself, or
 * with a few brief ones before it. What that says is compared with what the command logs want to
 * know (observe/commandlog.h); if that is less than a run might take there are no runs.
 */
#include "server/call/call.h"

#include "base/check.h"
#include "base/must.h"
#include "net/rt.h"
#include "proto/reply.h"
#include "server/call/check.h"
#include "server/call/effects.h"
#include "server/call/slot_check.h"
#include "server/call/touched.h"
#include "server/observe/commandlog.h"
#include "server/observe/hotkeys.h"
#include "server/observe/log.h"
#include "server/observe/slot_stats.h"
#include "server/tracking/news.h"
#include "server/worker/handlers.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdio.h>

/* See above. So many that a clock's reading hardly matters, and so few that a slice of a turn is
 * over in time. */
#define RUN_MAX 16
/* A command of this kind with more arguments may have more to do, and so may one that wrote more
 * (CALL_REPLY_BRIEF_BYTES). */
#define RUN_ARGS_MAX 8

const struct key NO_KEY;

/* ---- Counts ---- */

static struct error_stat *find_error(struct tally *tally, const char *code) {
    for (unsigned i = 0; i < tally->errors_count; i++) {
        if (strcmp(tally->errors[i].code, code) == 0) {
            return &tally->errors[i];
        }
    }
    return NULL;
}

/* All that commands answer, without a script's help. */
static const char *const own_errors[] = {
    "ASK",       "BUSY",         "BUSYGROUP", "BUSYKEY",   "CLUSTERDOWN", "CROSSSLOT",
    "DENIED",    "ERR",          "EXECABORT", "INPROG",    "INVALIDOBJ",  "IOERR",
    "LOADING",   "MASTERDOWN",   "MISCONF",   "MOVED",     "NOAUTH",      "NOGOODSLAVE",
    "NOGROUP",   "NOMASTERLINK", "NOPERM",    "NOPROTO",   "NOREPLICAS",  "NOSCRIPT",
    "NOTBUSY",   "NOTREADY",     "OOM",       "READONLY",  "REDIRECT",    "TRYAGAIN",
    "UNBLOCKED", "UNKILLABLE",   "UNSTABLE",  "WRONGPASS", "WRONGTYPE",   ERROR_STATS_MORE,
};
_Static_assert(sizeof own_errors / sizeof *own_errors <= ERROR_STATS_OWN_MAX, "each has a place");

static bool is_own_error(const char *code) {
    for (size_t i = 0; i < sizeof own_errors / sizeof *own_errors; i++) {
        if (strcmp(code, own_errors[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void count_error(struct worker *worker, uint32_t errors, const char *code) {
    if (strcmp(code, CALL_ERROR_COUNTED) == 0) {
        return;
    }
    struct tally *tally = &worker->tally;
    worker->stats.error_replies += errors;
    struct error_stat *stat = find_error(tally, code);
    bool made_up = stat == NULL && !is_own_error(code);
    if (made_up && tally->errors_made_up == ERROR_STATS_MADE_UP_MAX) {
        code = ERROR_STATS_MORE;
        made_up = false;
        stat = find_error(tally, code);
    }
    if (stat == NULL) {
        stat = &tally->errors[tally->errors_count++];
        *stat = (struct error_stat){.made_up = made_up};
        strcpy(stat->code, code);
        tally->errors_made_up += made_up;
    }
    stat->count += errors;
}

/* Of a word that is no command, in the log. */
#define WORD_SHOWN_BYTES 128

/* What our primary has done must be possible here, too: else the two differ from now on. */
static __attribute__((noinline)) void note_unexpected(struct worker *worker, const char *name,
                                                      const char *code) {
    worker->stats.unexpected_errors++;
    log_worker(worker, LOG_WARNING,
               "== CRITICAL == This replica is sending an error to its primary: '%s' after "
               "processing the command '%s'",
               code, name);
    /* Who writes here himself has made the two differ, and may have meant to. */
    if (worker->config->propagation_error_behavior != CONFIG_PROPAGATION_IGNORE &&
        worker->config->replica_read_only) {
        die("panic for an error of a command of the primary (propagation-error-behavior)", __FILE__,
            __LINE__);
    }
}

/* Slots that come here are not what they are there any more. That who sends them has not heard yet
 * that it is over is nothing. */
static __attribute__((noinline)) void
note_import_error(struct worker *worker, const struct command_ref *ref, const char *code) {
    const char *name = ref != NULL ? ref->full_name : "unknown";
    if (strcmp(name, "cluster|syncslots") != 0) {
        log_worker(worker, LOG_WARNING,
                   "A command of who sends slots has failed: '%s' after processing the command "
                   "'%s'",
                   code, name);
        shared_break_import(worker->server->shared,
                            strcmp(code, "OOM") == 0 ? IMPORT_BREAK_FULL : IMPORT_BREAK_ERROR);
    }
}

void call_unexpected(struct worker *worker, const struct command_ref *ref, uint16_t manner,
                     uint32_t errors, const char *code) {
    if (UNLIKELY(manner & MANNER_UPSTREAM) && errors > 0) {
        note_unexpected(worker, ref != NULL ? ref->full_name : "<unknown>", code);
    }
    if (UNLIKELY(manner & MANNER_IMPORTS) && errors > 0) {
        note_import_error(worker, ref, code);
    }
}

void call_unknown(struct worker *worker, struct bytes word, uint16_t manner, const char *code) {
    if (UNLIKELY(manner & MANNER_UPSTREAM)) {
        char said[WORD_SHOWN_BYTES + 64];
        size_t shown = word.len < WORD_SHOWN_BYTES ? word.len : WORD_SHOWN_BYTES;
        snprintf(said, sizeof said, "%s unknown command '%.*s'", code, (int)shown, word.ptr);
        note_unexpected(worker, "<unknown>", said);
    } else {
        call_unexpected(worker, NULL, manner, 1, code);
    }
}

/* So many calls have taken so long together; if it is just one it may have failed. */
static inline void count(struct worker *worker, const struct command_ref *ref, uint32_t calls,
                         uint64_t ticks) {
    struct command_stats *stats = &worker->tally.commands[ref->id];
    stats->calls += calls;
    stats->ticks += ticks;
    worker->tally.last_id = ref->id;
    worker->stats.commands_processed += calls;
    worker->stats.cycle_command_ticks += ticks;
    if (LIKELY(worker->config->latency_tracking)) {
        if (UNLIKELY(stats->latency == NULL)) {
            stats->latency = must_calloc(1, sizeof *stats->latency);
        }
        uint64_t each = calls > 1 ? ticks / calls : ticks;
        histogram_record(stats->latency, rt_ticks_to_ns(worker->rt, each), calls);
    }
}

static void count_failed(struct worker *worker, const struct command_ref *ref, uint32_t errors,
                         const char *code) {
    worker->tally.commands[ref->id].failed++;
    count_error(worker, errors, code);
}

void call_count(struct worker *worker, const struct command_ref *ref,
                const struct call_outcome *outcome) {
    count(worker, ref, 1, outcome->ticks);
    if (UNLIKELY(outcome->errors > 0)) {
        count_failed(worker, ref, outcome->errors, outcome->error_code);
    }
}

void call_refused(struct worker *worker, const struct command_ref *ref, const struct reply *reply) {
    if (ref != NULL) {
        worker->tally.commands[ref->id].rejected++;
    }
    count_error(worker, reply->errors, reply->error_code);
}

/* ---- Running ---- */

/* Field by field: to make all of it zero first takes as long as a third of a GET. */
static inline void exec_init(struct exec *x, struct caller *caller, const struct call *what,
                             struct reply *reply) {
    x->command = what->ref->row;
    x->ref = what->ref;
    x->argv = what->argv;
    x->argc = what->argc;
    x->db = caller->db;
    x->shard = caller->shard;
    x->keyspace = caller->shard->keyspace;
    x->reply = reply;
    x->now_ms = what->now_ms;
    x->key = *what->key;
    x->keys = what->keys;
    x->manner = caller->manner;
    x->client = caller->client;
    x->worker = caller->worker;
    x->caller = caller;
    x->goes_on = x->takes = x->gathered = false;
    x->stage = STAGE_ALL;
    x->elements.ends = NULL;
    x->elements.count = 0;
}

/* Before and after each part of a command: what it does to the shard has these bounds. */
static inline void begin(struct exec *x) {
    if (UNLIKELY(x->manner & MANNER_SEES_DEAD)) {
        keyspace_see_dead(x->keyspace, true);
    }
    if (UNLIKELY(x->worker->effects != NULL)) {
        effects_begin(x);
    }
}

static __attribute__((noinline)) void after(struct exec *x) {
    if (x->gathered) {
        effects_tell(x);
    }
    if (x->worker->keys_ready && !x->caller->inside) {
        x->worker->server->handlers->serve_waiters(x->worker, x->caller->holds, x->now_ms);
    }
    if (x->gathered) {
        effects_end(x);
    }
}

static __attribute__((noinline)) void end_of_manner(const struct exec *x) {
    if (x->manner & MANNER_SEES_DEAD) {
        keyspace_see_dead(x->keyspace, false);
    }
    if (x->manner & MANNER_TRACKS) {
        news_remember(x);
    }
}

/* On a writable replica what a client has written is its own to end. */
static __attribute__((noinline)) void note_own(const struct exec *x) {
    struct own_deadlines *own = &x->caller->shard->own_deadlines;
    if (!(x->command->flags & CMD_WRITE) || x->manner & (MANNER_UPSTREAM | MANNER_REPLAYS)) {
        return;
    }
    for (uint32_t i = 0; x->keys != NULL && i < x->keys->count; i++) {
        if (!(x->keys->list[i].flags & KEY_RO)) {
            own_deadlines_note(own, x->keys->list[i].db, &x->keys->list[i].key);
        }
    }
    if (x->keys == NULL && x->key.name.ptr != NULL) {
        own_deadlines_note(own, x->caller->db, &x->key);
    }
}

static inline void end(struct exec *x) {
    if (UNLIKELY(x->worker->server->role.replica) && !x->worker->config->replica_read_only) {
        note_own(x);
    }
    if (UNLIKELY(x->manner & (MANNER_SEES_DEAD | MANNER_TRACKS))) {
        end_of_manner(x);
    }
    if (UNLIKELY(x->gathered | x->worker->keys_ready)) {
        after(x);
    }
}

static inline void run(struct exec *x) {
    const struct exec *outer = x->worker->exec; /* a script, which calls it */
    x->worker->exec = x;
#ifdef SHOAL_CHECK_SLOW
    struct touched touched;
    touched_watch(&touched, x);
    x->command->run(x);
    touched_end(&touched);
#else
    x->command->run(x);
#endif
    x->worker->exec = outer;
}

/* The time since the last call of this caller. */
static inline uint64_t lap(struct caller *caller) {
    struct worker *worker = caller->worker;
    uint64_t now = rt_ticks(worker->rt);
    uint64_t ticks = now - caller->tick;
    caller->tick = worker->slice.tick = now;
    return ticks;
}

/* What each of the calls has taken, or, if the last was not like the others, all of them. */
static inline uint64_t settle(struct caller *caller) {
    struct call_run *run = &caller->run;
    uint64_t ticks = 0;
    if (run->calls > 0) {
        ticks = lap(caller);
        count(caller->worker, run->ref, run->calls, ticks);
        ticks = run->calls == RUN_MAX ? ticks / RUN_MAX : ticks;
    }
    *run = (struct call_run){0};
    return ticks;
}

void call_settle(struct caller *caller) {
    settle(caller);
}

/* The next calls may be counted with this one. */
static inline void run_begin(struct caller *caller, const struct command_ref *ref) {
    call_settle(caller);
    caller->run.ref = ref;
    const struct worker *worker = caller->worker;
    bool times_each = worker->logs.times_each | worker->slot_stats.counts;
    caller->run.max = ref->brief && !times_each ? RUN_MAX : 1;
}

/* ---- What the command logs are told ---- */

/* Its words, if it may take them over. */
static inline struct commandlog_entry *words_of(const struct caller *caller,
                                                const struct call *what) {
    bool takes = UNLIKELY(caller->large != NULL) && commandlogs_look(&caller->worker->logs);
    return takes ? commandlog_words(what->ref->row, what->argv, what->argc) : NULL;
}

static __attribute__((noinline)) void log_reached(struct worker *worker, const struct call *what,
                                                  const struct commandlog_entry *words,
                                                  uint64_t ticks, size_t reply_bytes) {
    bool fast = what->ref->row->flags & CMD_FAST;
    latency_note(worker, &worker->latency, fast ? LATENCY_FAST_COMMAND : LATENCY_COMMAND, ticks);
    if (words != NULL) {
        commandlog_ran_words(worker, what->ref, words, ticks, reply_bytes);
    } else {
        commandlog_ran(worker, what->ref, what->argv, what->argc, ticks, reply_bytes);
    }
}

static inline void log_call(struct worker *worker, const struct call *what,
                            struct commandlog_entry *words, uint64_t ticks, size_t reply_bytes) {
    if (UNLIKELY(commandlogs_reached(&worker->logs, ticks, reply_bytes))) {
        log_reached(worker, what, words, ticks, reply_bytes);
    }
    if (UNLIKELY(words != NULL)) {
        commandlog_words_free(words);
    }
}

void call_log(struct worker *worker, const struct call *what, const struct commandlog_entry *words,
              const struct call_outcome *outcome) {
    if (UNLIKELY(commandlogs_reached(&worker->logs, outcome->ticks, outcome->reply_bytes))) {
        log_reached(worker, what, words, outcome->ticks, outcome->reply_bytes);
    }
}

static inline void note_keys(const struct caller *caller, const struct call *what) {
    struct hotkeys *hot = &caller->worker->hotkeys;
    if (hotkeys_due(hot)) {
        /* What is done again while a log is read is nobody's traffic. */
        hotkeys_look(hot, caller->db, caller->manner & MANNER_REPLAYS ? NULL : what);
    }
}

/* A reply that nobody gets is none. */
static __attribute__((noinline)) void count_slot(struct caller *caller, const struct call *what,
                                                 uint64_t ticks, const struct reply *reply,
                                                 size_t reply_bytes) {
    bool unheard = reply->out == &caller->worker->discard;
    slot_stats_called(caller->worker, what, caller->manner, caller->script_slot, ticks,
                      unheard ? 0 : reply_bytes);
    caller->script_slot = 0;
}

/* ---- Calls ---- */

static __attribute__((noinline)) bool refuse(const struct caller *caller, const struct call *what,
                                             const char *error, struct reply *reply) {
    reply_error(reply, error);
    call_refused(caller->worker, what->ref, reply);
    call_unexpected(caller->worker, what->ref, caller->manner, 1, reply->error_code);
    return true;
}

bool call(struct caller *caller, const struct call *what, struct reply *reply) {
    struct worker *worker = caller->worker;
    if (UNLIKELY(worker->cluster != NULL) && !caller->asked) {
        const char *error = slot_check_call(caller, what);
        if (UNLIKELY(error != NULL)) {
            return refuse(caller, what, error, reply);
        }
    }
    if (UNLIKELY(worker->owner_asks) && !caller->asked) {
        const char *refusal = check_owner(worker, what->ref, caller->manner);
        if (refusal != NULL) {
            return refuse(caller, what, refusal, reply);
        }
    }
    if (caller->run.ref != what->ref) {
        run_begin(caller, what->ref);
    }
    note_keys(caller, what);
    size_t before = reply->out->bytes;
    struct commandlog_entry *words = words_of(caller, what);
    struct exec x;
    exec_init(&x, caller, what, reply);
    begin(&x);
    run(&x);
    end(&x);
    if (UNLIKELY(x.goes_on)) {
        lap(caller);
        caller->run = (struct call_run){0};
        commandlog_words_free(words);
        return false;
    }
    size_t reply_bytes = reply->out->bytes - before;
    bool more = ++caller->run.calls < caller->run.max && reply->errors == 0 &&
                what->argc <= RUN_ARGS_MAX && caller->large == NULL &&
                reply_bytes <= CALL_REPLY_BRIEF_BYTES;
    if (LIKELY(more)) {
        return true;
    }
    uint64_t ticks = settle(caller);
    if (UNLIKELY(worker->slot_stats.counts)) {
        count_slot(caller, what, ticks, reply, reply_bytes);
    }
    log_call(worker, what, words, ticks, reply_bytes);
    if (UNLIKELY(reply->errors > 0)) {
        count_failed(worker, what->ref, reply->errors, reply->error_code);
        call_unexpected(worker, what->ref, caller->manner, reply->errors, reply->error_code);
    }
    return true;
}

void call_beside(struct caller *caller, const struct call *what, struct reply *reply) {
    run_begin(caller, what->ref);
    size_t before = reply->out->bytes;
    struct exec x;
    exec_init(&x, caller, what, reply);
    x.command->run(&x);
    check(!x.goes_on);
    caller->run.calls++;
    log_call(caller->worker, what, NULL, settle(caller), reply->out->bytes - before);
    if (UNLIKELY(reply->errors > 0)) {
        count_failed(caller->worker, what->ref, reply->errors, reply->error_code);
        call_unexpected(caller->worker, what->ref, caller->manner, reply->errors,
                        reply->error_code);
    }
}

bool call_share(struct caller *caller, const struct call *what, const struct call_part *part,
                struct reply *reply, struct call_outcome *outcome) {
    check_slow(caller->run.calls == 0);
    bool again = part != NULL && (part->stage == STAGE_ASK || part->stage == STAGE_TAKE);
    if (!again) {
        note_keys(caller, what);
    }
    size_t before = reply->out->bytes;
    struct exec x;
    exec_init(&x, caller, what, reply);
    if (part != NULL) {
        x.stage = (uint8_t)part->stage;
        x.inputs.list = part->inputs;
        x.inputs.count = part->inputs_count;
        x.parcels = part->parcels;
        x.elements.ends = part->element_ends;
        x.elements.start = before;
    }
    begin(&x);
    if (part != NULL && part->later != NULL) {
        part->later(&x, part->result);
    } else {
        run(&x);
    }
    end(&x);
    outcome->ticks += lap(caller);
    outcome->reply_bytes = reply->out->bytes - before;
    outcome->errors = reply->errors;
    outcome->takes = x.takes;
    outcome->denied_at = x.denied_at;
    outcome->escapes = caller->escapes;
    outcome->record = caller->record;
    outcome->commands = caller->commands;
    outcome->script_slot = caller->script_slot;
    outcome->waits = caller->waits;
    outcome->wait_ms = caller->wait_ms;
    if (UNLIKELY(reply->errors > 0)) {
        memcpy(outcome->error_code, reply->error_code, sizeof outcome->error_code);
    }
    return !x.goes_on;
}

enum waiter_answer call_ready(struct caller *caller, const struct call *what) {
    /* Nobody reads it; arguments that were not looked at before may make no sense. */
    struct outbuf out;
    struct reply reply;
    outbuf_init(&out);
    reply_init(&reply, &out, 2);
    struct exec x;
    exec_init(&x, caller, what, &reply);
    enum waiter_answer answer = what->ref->row->ready(&x);
    outbuf_fini(&out);
    return answer;
}
