/* SPDX-License-Identifier: BSD-3-Clause */
/* debug_view: see the header. The words travel with the parking: by the time that all are parked,
 * the request is not there any more. */
#include "server/commands/server/debug_view.h"

#include "base/check.h"
#include "base/must.h"
#include "net/rt.h"
#include "server/call/call.h"
#include "server/call/keyset.h"
#include "server/server.h"
#include "server/txn/txn.h"
#include "server/worker/park.h"
#include "server/worker/view.h"

#include <stdlib.h>
#include <string.h>

/* One command of the request, or where it ends. */
struct words {
    struct bytes *argv;
    uint32_t argc;
};

/* From `at` on, up to the next ";". */
static struct words next_words(struct bytes *argv, uint32_t argc, uint32_t at) {
    uint32_t end = at;
    while (end < argc && !bytes_is(argv[end], ";")) {
        end++;
    }
    return (struct words){argv + at, end - at};
}

/* NULL: it cannot run in a view, as its keys do not lie on one shard, or it is no such command. */
static const struct command_ref *find(const struct worker *worker, struct arena *arena,
                                      struct words words, uint32_t db, struct keyset **ret_keys) {
    if (words.argc == 0) {
        return NULL;
    }
    const struct command_ref *ref =
        command_table_find(worker_server(worker)->commands, words.argv[0]);
    if (ref == NULL || ref->row->run == NULL || ref->row->place != PLACE_KEY) {
        return NULL;
    }
    int arity = ref->row->arity;
    if (arity > 0 ? words.argc != (uint32_t)arity : words.argc < (uint32_t)-arity) {
        return NULL;
    }
    *ret_keys = keyset_new(arena, worker_node(worker), ref, words.argv, words.argc, db);
    return (*ret_keys)->count > 0 && !(*ret_keys)->apart ? ref : NULL;
}

/* ---- With all parked ---- */

struct request_copy {
    uint32_t argc, db, commands;
    struct {
        uint32_t at, len;
    } words[]; /* then their bytes */
};

static void run_one(struct exec *x, struct view *view, struct arena *arena, struct words words,
                    uint32_t db) {
    struct worker *worker = x->worker;
    struct reply reply;
    reply_init(&reply, x->reply->out, x->reply->resp);
    struct keyset *keys;
    const struct command_ref *ref = find(worker, arena, words, db, &keys);
    if (ref == NULL) { /* its slots have gone apart since it was looked at */
        reply_error(&reply, "ERR Its keys lie on several shards");
        return;
    }
    struct caller caller = {
        .worker = worker,
        .shard = view_shard(view, keys->list[0].key.slot),
        .tick = rt_ticks(worker_rt(worker)),
        .db = db,
        .manner = x->manner,
        .asked = true,
    };
    struct call what = {
        .ref = ref,
        .argv = words.argv,
        .argc = words.argc,
        .key = &keys->list[0].key,
        .keys = ref->simple ? NULL : keys,
        .now_ms = x->now_ms,
    };
    check(call(&caller, &what, &reply));
    call_settle(&caller);
}

static void run(struct exec *x, struct view *view, const void *args) {
    const struct request_copy *copy = args;
    const char *text = (const char *)&copy->words[copy->argc];
    struct arena arena;
    arena_init(&arena, 4096);
    struct bytes *argv = arena_alloc(&arena, copy->argc * sizeof *argv);
    for (uint32_t i = 0; i < copy->argc; i++) {
        argv[i] = bytes_make(text + copy->words[i].at, copy->words[i].len);
    }
    reply_array(x->reply, copy->commands);
    for (uint32_t at = 0; at < copy->argc;) {
        struct words words = next_words(argv, copy->argc, at);
        run_one(x, view, &arena, words, copy->db);
        at += words.argc + 1;
    }
    arena_fini(&arena);
}

/* ---- The request ---- */

static void park_with_copy(struct exec *x, struct bytes *argv, uint32_t argc, uint32_t commands) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < argc; i++) {
        bytes += argv[i].len;
    }
    struct request_copy *copy;
    size_t head = sizeof *copy + argc * sizeof copy->words[0];
    copy = must_malloc(head + bytes);
    copy->argc = argc;
    copy->db = x->db;
    copy->commands = commands;
    char *text = (char *)copy + head;
    uint32_t at = 0;
    for (uint32_t i = 0; i < argc; i++) {
        copy->words[i].at = at;
        copy->words[i].len = (uint32_t)argv[i].len;
        if (argv[i].len > 0) {
            memcpy(text + at, argv[i].ptr, argv[i].len);
        }
        at += (uint32_t)argv[i].len;
    }
    park_all(x, run, copy, head + bytes);
    free(copy);
}

void debug_view(struct exec *x) {
    struct bytes *argv = x->argv + 2;
    uint32_t argc = x->argc - 2, commands = 0, done;
    struct arena arena;
    arena_init(&arena, 4096);
    bool sense = true;
    size_t bytes = 0;
    for (uint32_t at = 0; at < argc && sense; commands++) {
        struct words words = next_words(argv, argc, at);
        struct keyset *keys;
        sense = find(x->worker, &arena, words, x->db, &keys) != NULL;
        at += words.argc + 1;
    }
    for (uint32_t i = 0; i < argc; i++) {
        bytes += argv[i].len;
    }
    arena_fini(&arena);
    if (!sense || bytes > UINT32_MAX) {
        reply_error(x->reply, "ERR DEBUG VIEW takes commands on keys of one shard each, with ; "
                              "between them");
    } else if (txn_holds_all(x->client)) {
        park_with_copy(x, argv, argc, commands);
    } else if (txn_exec_queue(x->client, &done) != NULL) {
        reply_error(x->reply, "ERR DEBUG VIEW is not for MULTI");
    } else {
        txn_hold_all(x);
    }
}
