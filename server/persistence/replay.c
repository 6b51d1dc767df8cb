/* SPDX-License-Identifier: BSD-3-Clause */
/* What a transaction does with messages and locks is done here by plain calls, one shard after the
 * other: the row's `spread` says what. A divided command runs once for each key, so it needs no
 * room for shares; who is lent values gets them as they lie.
 */
#include "server/persistence/replay.h"

#include "base/check.h"
#include "base/must.h"
#include "base/num.h"
#include "net/rt.h"
#include "server/call/call.h"
#include "server/call/keyset.h"
#include "server/server.h"
#include "server/worker/park.h"
#include "server/worker/worker.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES 4096

struct replay {
    struct worker *worker;
    struct view view;
    struct arena arena; /* of one command */
    struct outbuf out;
};

/* One command. */
struct run {
    struct replay *replay;
    const struct command_ref *ref;
    struct bytes *argv;
    uint32_t argc, db;
    int64_t now_ms;
    struct keyset *keys;
    struct reply reply;
};

static struct shard *shard_of(const struct view *view, uint16_t slot) {
    struct worker *owner = view->node->server->workers[node_owner(view->node, slot)];
    return &owner->shard;
}

struct replay *replay_new(struct worker *worker) {
    struct replay *replay = must_calloc(1, sizeof *replay);
    replay->worker = worker;
    replay->view = (struct view){.node = worker->node, .open = true, .shard = shard_of};
    arena_init(&replay->arena, ARENA_BYTES);
    outbuf_init(&replay->out);
    return replay;
}

void replay_free(struct replay *replay) {
    if (replay != NULL) {
        arena_fini(&replay->arena);
        outbuf_fini(&replay->out);
        free(replay);
    }
}

static enum replayed say(enum replayed what, struct text *why, struct bytes name,
                         const char *reason) {
    text_appendf(why, "'%.*s': %s", name.len < 64 ? (int)name.len : 64, name.ptr, reason);
    return what;
}

/* ---- All keys ---- */

static bool get_db(const struct worker *worker, struct bytes word, uint32_t *ret) {
    int64_t db;
    if (!num_parse_i64(word, &db) || db < 0 || db >= worker->config->databases) {
        return false;
    }
    *ret = (uint32_t)db;
    return true;
}

static bool is_about_all(const struct worker *worker, const struct bytes *argv, uint32_t argc) {
    uint32_t a, b;
    return bytes_is(argv[0], "flushall") || bytes_is(argv[0], "flushdb") ||
           (bytes_is(argv[0], "swapdb") && argc == 3 && get_db(worker, argv[1], &a) &&
            get_db(worker, argv[2], &b));
}

static void run_on_all(const struct run *run) {
    const struct worker *worker = run->replay->worker;
    const struct server *server = worker->server;
    uint32_t a = 0, b = 0;
    bool swaps = bytes_is(run->argv[0], "swapdb") && get_db(worker, run->argv[1], &a) &&
                 get_db(worker, run->argv[2], &b);
    bool all = bytes_is(run->argv[0], "flushall");
    for (unsigned i = 0; i < server->workers_count; i++) {
        struct keyspace *ks = server->workers[i]->shard.keyspace;
        if (swaps) {
            keyspace_swap_db(ks, a, b);
        } else {
            keyspace_flush(ks, all ? UINT32_MAX : run->db, false);
        }
    }
}

/* ---- Calls ---- */

static struct caller caller_at(const struct run *run, uint16_t slot) {
    struct replay *replay = run->replay;
    return (struct caller){
        .worker = replay->worker,
        .shard = view_shard(&replay->view, slot),
        .tick = rt_ticks(replay->worker->rt),
        .db = run->db,
        .manner = MANNER_SEES_DEAD | MANNER_REPLAYS,
        .asked = true,
    };
}

static struct call call_of(const struct run *run, const struct keyset_key *key) {
    return (struct call){
        .ref = run->ref,
        .argv = run->argv,
        .argc = run->argc,
        .key = &key->key,
        .keys = run->keys,
        .now_ms = run->now_ms,
    };
}

/* The copy of a large value, which a transaction makes in slices. */
static void finish_put(struct caller *caller) {
    struct put_later *later = caller->put_later;
    if (later != NULL) {
        struct keyspace *ks = caller->shard->keyspace;
        while (!keyspace_copy_some(ks, &later->copy)) {
        }
        keyspace_put_copy(ks, later->db, &later->key, &later->copy, later->expires_at,
                          later->now_ms, later->event);
        free(later);
        caller->put_later = NULL;
    }
}

static void call_stage(struct run *run, struct caller *caller, const struct keyset_key *key,
                       const struct call_part *part, struct call_outcome *outcome) {
    struct call what = call_of(run, key);
    *outcome = (struct call_outcome){0};
    call_share(caller, &what, part, &run->reply, outcome);
    finish_put(caller);
}

/* All its keys are on one shard. */
static bool run_here(struct run *run) {
    const struct keyset_key *key = &run->keys->list[0];
    struct caller caller = caller_at(run, key->key.slot);
    caller.view = run->keys->everywhere ? &run->replay->view : NULL;
    struct call what = call_of(run, key);
    bool over = call(&caller, &what, &run->reply);
    finish_put(&caller);
    call_settle(&caller);
    return over;
}

/* ---- Keys on several shards ---- */

/* Once for each key, with its words and those that stand before and behind all of them. */
static bool run_for_each(struct run *run) {
    struct replay *replay = run->replay;
    const struct key_spec *spec = &run->ref->row->keys[0];
    const struct keyset *keys = run->keys;
    bool counted = spec->find == FIND_KEYNUM;
    uint32_t head = keys->list[0].index,
             step = (uint32_t)(counted ? spec->keynum_step : spec->step);
    uint32_t end = head + keys->count * step;
    if (end > run->argc || (!counted && end < run->argc)) {
        return run_here(run); /* it says itself what is wrong */
    }
    uint32_t tail = run->argc - end;
    struct run one = *run;
    one.argv = arena_alloc(&replay->arena, (head + step + tail) * sizeof *one.argv);
    one.argc = head + step + tail;
    memcpy(one.argv, run->argv, head * sizeof *one.argv);
    memcpy(one.argv + head + step, run->argv + end, tail * sizeof *one.argv);
    if (counted) {
        one.argv[spec->index + spec->keynum] = BYTES("1");
    }
    for (uint32_t i = 0; i < keys->count; i++) {
        memcpy(one.argv + head, run->argv + keys->list[i].index, step * sizeof *one.argv);
        one.keys =
            keyset_new(&replay->arena, replay->worker->node, run->ref, one.argv, one.argc, run->db);
        const struct keyset_key *key = &one.keys->list[0];
        struct caller caller = caller_at(run, key->key.slot);
        /* It is in the log because all keys let it run. */
        struct call_part part = {.stage =
                                     run->ref->row->spread == SPREAD_IF ? STAGE_ACT : STAGE_ALL};
        struct call_outcome outcome;
        size_t ends[2];
        part.element_ends = run->ref->row->spread == SPREAD_ELEMENTS ? ends : NULL;
        call_stage(&one, &caller, key, &part, &outcome);
        run->reply = one.reply;
    }
    return true;
}

/* At the owner of the first that has a value. */
static bool run_at_first(struct run *run) {
    const struct keyset *keys = run->keys;
    for (uint32_t i = 0; i < keys->count; i++) {
        const struct keyset_key *key = &keys->list[i];
        struct caller caller = caller_at(run, key->key.slot);
        if (keyspace_find_any(caller.shard->keyspace, key->db, &key->key) != NULL) {
            struct call_outcome outcome;
            caller.only = key->index;
            call_stage(run, &caller, key, NULL, &outcome);
            break;
        }
    }
    return true;
}

static const struct keyset_key *written(const struct keyset *keys) {
    for (uint32_t i = 0; i < keys->count; i++) {
        if (!(keys->list[i].flags & (KEY_RO | KEY_DELETE))) {
            return &keys->list[i];
        }
    }
    return &keys->list[0];
}

/* Where the key lies that it writes, with what it reads lent; then goes what it took. */
static bool run_at(struct run *run) {
    struct replay *replay = run->replay;
    const struct keyset *keys = run->keys;
    struct exec_input *inputs = arena_alloc(&replay->arena, keys->count * sizeof *inputs);
    for (uint32_t i = 0; i < keys->count; i++) {
        const struct keyset_key *key = &keys->list[i];
        struct keyspace *ks = view_shard(&replay->view, key->key.slot)->keyspace;
        struct entry *entry =
            key->flags & KEY_ACCESS ? keyspace_find_any(ks, key->db, &key->key) : NULL;
        inputs[i] = (struct exec_input){.index = key->index};
        if (entry != NULL) {
            inputs[i].loan = keyspace_lend(ks, entry);
        }
    }
    const struct keyset_key *at = written(keys);
    struct caller caller = caller_at(run, at->key.slot);
    struct call_part part = {.stage = STAGE_AT, .inputs = inputs, .inputs_count = keys->count};
    struct call_outcome outcome;
    call_stage(run, &caller, at, &part, &outcome);
    for (uint32_t i = 0; i < keys->count; i++) {
        if (inputs[i].loan.present) {
            keyspace_take_back(view_shard(&replay->view, keys->list[i].key.slot)->keyspace, 1);
        }
    }
    for (uint32_t i = 0; outcome.takes && i < keys->count; i++) {
        if (keys->list[i].flags & KEY_DELETE) {
            struct reply unread;
            struct call_outcome taken;
            struct run take = *run;
            reply_init(&unread, &replay->out, 2);
            take.reply = unread;
            caller = caller_at(run, keys->list[i].key.slot);
            part.stage = STAGE_TAKE;
            call_stage(&take, &caller, &keys->list[i], &part, &taken);
        }
    }
    return true;
}

static bool run_apart(struct run *run) {
    switch (run->ref->row->spread) {
    case SPREAD_SUM:
    case SPREAD_OK:
    case SPREAD_ELEMENTS:
    case SPREAD_IF:
        return run_for_each(run);
    case SPREAD_FIRST:
        return run_at_first(run);
    case SPREAD_AT:
    case SPREAD_MOVE:
        return run_at(run);
    default:
        return false;
    }
}

/* ---- One command ---- */

/* What was answered, if that was an error. */
static enum replayed answered(struct run *run, struct text *why) {
    struct replay *replay = run->replay;
    char text[200] = "";
    struct iovec part;
    enum replayed what = REPLAY_DONE;
    if (run->reply.errors > 0) {
        if (outbuf_vectors(&replay->out, &part, 1) > 0) {
            size_t n = part.iov_len < sizeof text - 1 ? part.iov_len : sizeof text - 1;
            memcpy(text, part.iov_base, n);
            text[n] = 0;
            text[strcspn(text, "\r\n")] = 0;
        }
        what = say(REPLAY_FAILED, why, run->argv[0], text);
    }
    outbuf_drain(&replay->out, replay->out.bytes);
    return what;
}

static const struct command_ref *find(const struct worker *worker, const struct bytes *argv,
                                      uint32_t argc) {
    const struct command_ref *ref = command_table_find(worker->server->commands, argv[0]);
    if (ref != NULL && ref->subcommands_count > 0) {
        ref = argc > 1 ? command_ref_find_sub(ref, argv[1]) : NULL;
    }
    return ref;
}

const char *replay_refusal(const struct worker *worker, const struct bytes *argv, uint32_t argc) {
    if (is_about_all(worker, argv, argc)) {
        return NULL;
    }
    const struct command_ref *ref = find(worker, argv, argc);
    if (ref == NULL || ref->row->place != PLACE_KEY) {
        return "no command that a log can have";
    }
    int arity = ref->row->arity;
    bool fits = arity > 0 ? argc == (uint32_t)arity : argc >= (uint32_t)-arity;
    return fits ? NULL : "a wrong number of arguments";
}

enum replayed replay_run(struct replay *replay, uint32_t db, struct bytes *argv, uint32_t argc,
                         int64_t now_ms, struct text *why) {
    struct run run = {.replay = replay, .argv = argv, .argc = argc, .db = db, .now_ms = now_ms};
    const char *refusal = replay_refusal(replay->worker, argv, argc);
    if (refusal != NULL) {
        return say(REPLAY_UNKNOWN, why, argv[0], refusal);
    }
    if (is_about_all(replay->worker, argv, argc)) {
        run_on_all(&run);
        return REPLAY_DONE;
    }
    arena_reset(&replay->arena);
    run.ref = find(replay->worker, argv, argc);
    run.keys = keyset_new(&replay->arena, replay->worker->node, run.ref, argv, argc, db);
    if (run.keys->count == 0) {
        return say(REPLAY_UNKNOWN, why, argv[0], "its keys cannot be found");
    }
    reply_init(&run.reply, &replay->out, 2);
    bool over = run.keys->apart && !run.keys->everywhere ? run_apart(&run) : run_here(&run);
    enum replayed what = answered(&run, why);
    return over ? what : say(REPLAY_UNKNOWN, why, argv[0], "no command that a log can have");
}
