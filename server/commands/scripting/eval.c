/* SPDX-License-Identifier: BSD-3-Clause */
/* eval: EVAL and its like. A script whose keys are not all on one shard, or not known, has been
 * planned as a command about all keys (keyset->everywhere): then it runs at home, all keys are
 * locked, and it parks the other threads (park.h) and runs with all shards in view. */
#include "base/check.h"
#include "base/num.h"
#include "server/call/call.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/call/keyset.h"
#include "server/commands/scripting/scripting.h"
#include "server/script/run.h"
#include "server/txn/txn.h"
#include "server/worker/park.h"
#include "server/worker/view.h"

#define KEYS_AT 3

/* What EVAL was called with, for when all are parked. The words are its transaction's. */
struct in_view {
    struct bytes *argv;
    uint32_t argc;
    const struct keyset *keys;
    bool by_sha, read_only;
};

/* False: the number of keys makes no sense, and the error is written. */
static bool read_keys_count(const struct exec *x, int64_t *ret) {
    if (!exec_arg_i64(x, 2, ret)) {
        return false;
    }
    if (*ret > (int64_t)x->argc - KEYS_AT) {
        reply_error(x->reply, "ERR Number of keys can't be greater than number of args");
        return false;
    }
    if (*ret < 0) {
        reply_error(x->reply, "ERR Number of keys can't be negative");
        return false;
    }
    return true;
}

static void start(struct exec *x, bool by_sha, bool read_only, const struct view *view,
                  const struct script_record *before) {
    int64_t keys_count;
    struct text err;
    text_init(&err);
    struct script_state *state = script_state_of(x->worker);
    if (read_keys_count(x, &keys_count)) {
        struct script_local *local = by_sha ? script_of_sha(state, x->argv[1], &err)
                                            : script_of_body(state, x->argv[1], false, &err);
        if (local == NULL) {
            reply_error(x->reply, err.ptr);
        } else {
            unsigned flags = script_flags(local->script);
            struct script_start how = {
                .script = local->script,
                .function = local->function,
                .read_only = read_only || flags & SCRIPT_NO_WRITES,
                .keys_at = KEYS_AT,
                .keys_count = (uint32_t)keys_count,
                .view = view,
                .before = before,
            };
            script_run(x, &how);
        }
    }
    text_fini(&err);
}

static void run_in_view(struct exec *x, struct view *view, const void *args) {
    const struct in_view *in_view = args;
    x->argv = in_view->argv;
    x->argc = in_view->argc;
    x->keys = in_view->keys;
    start(x, in_view->by_sha, in_view->read_only, view, txn_script_record(x->client));
    txn_run_riders(x, view);
}

static void eval(struct exec *x, bool by_sha, bool read_only) {
    const struct view *view = x->caller->view;
    if (x->keys != NULL && x->keys->everywhere && view == NULL) {
        struct in_view in_view = {x->argv, x->argc, x->keys, by_sha, read_only};
        park_all(x, run_in_view, &in_view, sizeof in_view);
        return;
    }
    start(x, by_sha, read_only, view, NULL);
}

void command_eval(struct exec *x) {
    eval(x, false, false);
}

void command_evalsha(struct exec *x) {
    eval(x, true, false);
}

void command_eval_ro(struct exec *x) {
    eval(x, false, true);
}

void command_evalsha_ro(struct exec *x) {
    eval(x, true, true);
}
