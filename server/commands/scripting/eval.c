/* SPDX-License-Identifier: BSD-3-Clause */
/* eval: EVAL, FCALL and their like. A script whose keys are not all on one shard, or not known, has
 * been planned as a command about all keys (keyset->everywhere): then it runs at home, all keys are
 * locked, and it parks the other threads (park.h) and runs with all shards in view. */
#include "base/check.h"
#include "base/num.h"
#include "server/call/call.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/call/keyset.h"
#include "server/commands/scripting/scripting.h"
#include "server/script/functions.h"
#include "server/script/run.h"
#include "server/txn/txn.h"
#include "server/worker/park.h"
#include "server/worker/view.h"

#define KEYS_AT 3

/* What argv[1] is. */
enum named_by { BY_TEXT, BY_SHA, BY_FUNCTION };

struct what {
    enum named_by by;
    bool read_only;
};

/* What EVAL was called with, for when all are parked. The words are its transaction's. */
struct in_view {
    struct bytes *argv;
    uint32_t argc;
    const struct keyset *keys;
    struct what what;
};

/* False: the number of keys makes no sense, and the error is written. */
static bool read_keys_count(const struct exec *x, struct what what, int64_t *ret) {
    if (!num_parse_i64(x->argv[2], ret)) {
        reply_error(x->reply,
                    what.by == BY_FUNCTION ? "ERR Bad number of keys provided" : ERR_NOT_INTEGER);
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

static bool find_script(const struct exec *x, struct what what, struct script_start *start,
                        struct text *err) {
    struct script_state *state = script_state_of(x->worker);
    const struct script_local *local = what.by == BY_SHA
                                           ? script_of_sha(state, x->argv[1], err)
                                           : script_of_body(state, x->argv[1], false, err);
    if (local == NULL) {
        return false;
    }
    start->state = state;
    start->script = local->script;
    start->function = local->function;
    return true;
}

static bool find_function(const struct exec *x, struct script_start *start, struct text *err) {
    struct function_local local;
    if (!functions_find(x->worker, x->argv[1], &local, err)) {
        return false;
    }
    start->state = local.state;
    start->script = local.function->script;
    start->function = local.reference;
    start->name = local.function->name;
    return true;
}

static void start(struct exec *x, struct what what, const struct view *view,
                  const struct script_record *before) {
    struct text err;
    text_init(&err);
    struct script_start how = {
        .read_only = what.read_only, .keys_at = KEYS_AT, .view = view, .before = before};
    int64_t keys_count = 0;
    bool good = what.by == BY_FUNCTION
                    ? find_function(x, &how, &err) && read_keys_count(x, what, &keys_count)
                    : read_keys_count(x, what, &keys_count) && find_script(x, what, &how, &err);
    if (good) {
        how.keys_count = (uint32_t)keys_count;
        script_run(x, &how);
    } else if (err.len > 0) {
        reply_error(x->reply, err.ptr);
    }
    text_fini(&err);
}

static void run_in_view(struct exec *x, struct view *view, const void *args) {
    const struct in_view *in_view = args;
    x->argv = in_view->argv;
    x->argc = in_view->argc;
    x->keys = in_view->keys;
    start(x, in_view->what, view, txn_script_record(x->client));
    txn_run_riders(x, view);
}

static void eval(struct exec *x, enum named_by by, bool read_only) {
    struct what what = {by, read_only};
    const struct view *view = x->caller->view;
    if (x->keys != NULL && x->keys->everywhere && view == NULL) {
        struct in_view in_view = {x->argv, x->argc, x->keys, what};
        park_all(x, run_in_view, &in_view, sizeof in_view);
        return;
    }
    start(x, what, view, NULL);
}

void command_eval(struct exec *x) {
    eval(x, BY_TEXT, false);
}

void command_evalsha(struct exec *x) {
    eval(x, BY_SHA, false);
}

void command_eval_ro(struct exec *x) {
    eval(x, BY_TEXT, true);
}

void command_evalsha_ro(struct exec *x) {
    eval(x, BY_SHA, true);
}

void command_fcall(struct exec *x) {
    eval(x, BY_FUNCTION, false);
}

void command_fcall_ro(struct exec *x) {
    eval(x, BY_FUNCTION, true);
}
