/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands on keys run wherever those lie (anywhere.h); those about all keys are done here. */
#include "server/persistence/replay.h"

#include "base/check.h"
#include "base/must.h"
#include "base/num.h"
#include "net/rt.h"
#include "server/call/anywhere.h"
#include "server/call/keyset.h"
#include "server/cluster/slot_drop.h"
#include "server/script/library_dump.h"
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
    const struct replay_command *what;
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
    if (!num_parse_i64(word, &db) || db < 0 || db >= config_databases(worker->config)) {
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
    const struct bytes *argv = run->what->argv;
    uint32_t a = 0, b = 0;
    bool swaps =
        bytes_is(argv[0], "swapdb") && get_db(worker, argv[1], &a) && get_db(worker, argv[2], &b);
    bool all = bytes_is(argv[0], "flushall");
#ifdef SHOAL_UNSAFE_LOG_FLUSH /* for the test that crashes in the simulator show it */
    const unsigned first = all;
#else
    const unsigned first = 0;
#endif
    for (unsigned i = first; i < server->workers_count; i++) {
        struct keyspace *ks = server->workers[i]->shard.keyspace;
        if (swaps) {
            keyspace_swap_db(ks, a, b);
        } else {
            keyspace_flush(ks, all ? UINT32_MAX : run->what->db, false);
        }
    }
}

/* ---- A slot (Valkey's AOF has it so) ---- */

static bool is_about_slot(const struct bytes *argv, uint32_t argc) {
    int64_t slot;
    return bytes_is(argv[0], "cluster") && (argc == 3 || argc == 4) &&
           bytes_is(argv[1], "flushslot") && num_parse_i64(argv[2], &slot) && slot >= 0 &&
           slot < SLOTS;
}

static void run_on_slot(const struct run *run) {
    const struct worker *worker = run->replay->worker;
    int64_t slot = 0;
    check(num_parse_i64(run->what->argv[2], &slot));
    struct slot_drop drop = {
        .seen_ms = INT64_MIN, .now_ms = run->what->now_ms, .slot = (uint16_t)slot};
    while (!slot_drop_some(worker->server->workers[node_owner(worker->node, drop.slot)], &drop)) {
    }
}

/* ---- Libraries of functions ---- */

static bool is_about_libraries(const struct bytes *argv, uint32_t argc) {
    return bytes_is(argv[0], "function") && argc > 1 &&
           (((bytes_is(argv[1], "load") || bytes_is(argv[1], "restore")) && argc >= 3) ||
            (bytes_is(argv[1], "delete") && argc == 3) ||
            (bytes_is(argv[1], "flush") && argc <= 3));
}

static enum libraries_policy policy_of(struct bytes word, enum libraries_policy otherwise) {
    return bytes_is(word, "replace") ? LIBRARIES_REPLACE
           : bytes_is(word, "flush") ? LIBRARIES_FLUSH
                                     : otherwise;
}

/* It was good once: however long it takes. */
static enum replayed run_on_libraries(const struct run *run, struct text *why) {
    struct worker *worker = run->replay->worker;
    struct libraries *libraries = worker->server->libraries;
    const struct bytes *argv = run->what->argv;
    uint32_t argc = run->what->argc;
    struct text err;
    text_init(&err);
    bool good = true;
    if (bytes_is(argv[1], "flush")) {
        libraries_flush(libraries);
    } else if (bytes_is(argv[1], "delete")) {
        good = libraries_delete(libraries, argv[2]);
        text_append_text(&err, "ERR Library not found");
    } else if (bytes_is(argv[1], "load")) {
        good = library_dump_add(worker, argv[argc - 1], libraries,
                                policy_of(argc > 3 ? argv[2] : BYTES(""), LIBRARIES_APPEND), &err);
    } else {
        good = library_dump_read(worker, argv[2], true, libraries,
                                 policy_of(argc > 3 ? argv[3] : BYTES(""), LIBRARIES_APPEND), &err);
    }
    enum replayed what = good ? REPLAY_DONE : say(REPLAY_FAILED, why, argv[0], err.ptr);
    text_fini(&err);
    return what;
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
        what = say(REPLAY_FAILED, why, run->what->argv[0], text);
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

static bool is_of_keys(const struct command_ref *ref, uint32_t argc, const char **ret_refusal) {
    if (ref == NULL || ref->row->place != PLACE_KEY || ref->row->runs_script) {
        *ret_refusal = "no command that a log can have";
        return false;
    }
    int arity = ref->row->arity;
    bool fits = arity > 0 ? argc == (uint32_t)arity : argc >= (uint32_t)-arity;
    *ret_refusal = fits ? NULL : "a wrong number of arguments";
    return fits;
}

const char *replay_refusal(const struct worker *worker, const struct bytes *argv, uint32_t argc) {
    const char *refusal = NULL;
    if (!is_about_all(worker, argv, argc) && !is_about_slot(argv, argc) &&
        !is_about_libraries(argv, argc)) {
        is_of_keys(find(worker, argv, argc), argc, &refusal);
    }
    return refusal;
}

bool replay_is_of_all(const struct worker *worker, const struct bytes *argv, uint32_t argc) {
    const struct command_ref *ref = find(worker, argv, argc);
    return ref != NULL && ref->row->place != PLACE_KEY;
}

enum replayed replay_look(const struct worker *worker, struct arena *arena,
                          struct replay_command *what, struct text *why) {
    const char *refusal = NULL;
    const struct command_ref *ref = find(worker, what->argv, what->argc);
    what->keys = NULL;
    what->ref = ref;
    if (ref != NULL && ref->row->place != PLACE_KEY) {
        refusal = replay_refusal(worker, what->argv, what->argc);
    } else if (is_of_keys(ref, what->argc, &refusal)) {
        what->keys = keyset_new(arena, worker->node, ref, what->argv, what->argc, what->db);
        refusal = what->keys->count == 0 ? "its keys cannot be found" : NULL;
    }
    return refusal == NULL ? REPLAY_DONE : say(REPLAY_UNKNOWN, why, what->argv[0], refusal);
}

unsigned replay_owner(const struct replay_command *what) {
    return what->keys == NULL || what->keys->apart ? REPLAY_OWNER_ALL : what->keys->list[0].worker;
}

static enum replayed run_on_keys(struct run *run, struct text *why) {
    struct replay *replay = run->replay;
    const struct replay_command *what = run->what;
    reply_init(&run->reply, &replay->out, 2);
    struct anywhere anywhere = {
        .caller = {.worker = replay->worker,
                   .db = what->db,
                   .manner = MANNER_SEES_DEAD | MANNER_REPLAYS,
                   .asked = true},
        .view = &replay->view,
        .arena = &replay->arena,
        .is_known_to_run = true, /* it is in the log because all keys let it run */
    };
    struct call call = {
        .ref = what->ref,
        .argv = what->argv,
        .argc = what->argc,
        .keys = what->keys,
        .now_ms = what->now_ms,
    };
    struct call_outcome outcome = {0};
    bool over = anywhere_run(&anywhere, &call, &run->reply, &outcome);
    enum replayed replayed = answered(run, why);
    return over ? replayed
                : say(REPLAY_UNKNOWN, why, what->argv[0], "no command that a log can have");
}

static enum replayed do_it(struct replay *replay, const struct replay_command *what,
                           struct text *why) {
    struct run run = {.replay = replay, .what = what};
    if (what->keys != NULL) {
        return run_on_keys(&run, why);
    }
    if (is_about_libraries(what->argv, what->argc)) {
        return run_on_libraries(&run, why);
    }
    if (is_about_slot(what->argv, what->argc)) {
        run_on_slot(&run);
    } else {
        run_on_all(&run);
    }
    return REPLAY_DONE;
}

enum replayed replay_do(struct replay *replay, const struct replay_command *what,
                        struct text *why) {
    arena_reset(&replay->arena);
    return do_it(replay, what, why);
}

enum replayed replay_run(struct replay *replay, uint32_t db, struct bytes *argv, uint32_t argc,
                         int64_t now_ms, struct text *why) {
    struct replay_command what = {.argv = argv, .argc = argc, .db = db, .now_ms = now_ms};
    arena_reset(&replay->arena);
    enum replayed good = replay_look(replay->worker, &replay->arena, &what, why);
    return good == REPLAY_DONE ? do_it(replay, &what, why) : good;
}
