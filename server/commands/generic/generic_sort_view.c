/* SPDX-License-Identifier: BSD-3-Clause */
/* generic_sort_view: a SORT that reads keys on any shard. Its row says so (`reads_everywhere`), so
 * it has been planned as a command about all keys, in EXEC too: it runs at home, all keys are
 * locked. It parks the other threads (park.h), and then runs once more, as if it were on the shard
 * where its result goes, with all shards in view. */
#include "base/arena.h"
#include "base/check.h"
#include "base/must.h"
#include "server/call/call.h"
#include "server/call/effects.h"
#include "server/call/exec.h"
#include "server/call/keyset.h"
#include "server/commands/generic/generic.h"
#include "server/worker/park.h"
#include "server/worker/view.h"

#include <stdlib.h>
#include <string.h>

struct words_copy {
    uint32_t argc, db;
    size_t lengths[]; /* then their bytes */
};

/* The command runs once more, where its result goes, and sees all. */
static void sort_in_view(struct exec *x, struct view *view, const void *args) {
    const struct words_copy *copy = args;
    const char *text = (const char *)&copy->lengths[copy->argc];
    struct arena arena;
    arena_init(&arena, 1024);
    struct bytes *argv = arena_alloc(&arena, copy->argc * sizeof *argv);
    for (uint32_t i = 0; i < copy->argc; text += copy->lengths[i++]) {
        argv[i] = bytes_make(text, copy->lengths[i]);
    }
    struct keyset *keys =
        keyset_new(&arena, worker_node(x->worker), x->ref, argv, copy->argc, copy->db);
    const struct key *key = &keys->list[keys->count - 1].key;
    struct caller caller = *x->caller;
    caller.shard = view_shard(view, key->slot);
    caller.client = caller.asker = NULL;
    caller.db = copy->db;
    caller.asked = caller.inside = true;
    caller.view = view;
    struct call what = {
        .ref = x->ref,
        .argv = argv,
        .argc = copy->argc,
        .key = key,
        .keys = keys,
        .now_ms = x->now_ms,
    };
    struct call_outcome outcome = {0};
    bool over = call_share(&caller, &what, NULL, x->reply, &outcome);
    check(over);
    effect_told(x); /* by that call */
    arena_fini(&arena);
}

static void park(struct exec *x) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < x->argc; i++) {
        bytes += x->argv[i].len;
    }
    struct words_copy *copy;
    size_t head = sizeof *copy + x->argc * sizeof copy->lengths[0];
    copy = must_malloc(head + bytes);
    copy->argc = x->argc;
    copy->db = x->db;
    char *text = (char *)copy + head;
    for (uint32_t i = 0; i < x->argc; text += x->argv[i++].len) {
        copy->lengths[i] = x->argv[i].len;
        memcpy(text, x->argv[i].len > 0 ? x->argv[i].ptr : "", x->argv[i].len);
    }
    park_all(x, sort_in_view, copy, head + bytes);
    free(copy);
}

void command_sort(struct exec *x) {
    if (x->client != NULL && !exec_sees_all(x)) {
        park(x);
    } else {
        sort_run(x);
    }
}
