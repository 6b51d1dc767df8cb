/* SPDX-License-Identifier: BSD-3-Clause */
/* list_block: list commands whose client waits until a list has elements.
 *
 * Each looks at its keys from left to right and takes from the first that is there, as its like
 * without B does; only if none is there it waits. Served, it runs again on the one key that has got
 * something (exec_looks_at).
 */
#include "server/call/exec.h"
#include "server/commands/list/list.h"

enum waiter_answer list_ready(const struct exec *x) {
    return exec_ready(x, TYPE_LIST);
}

static void pop(struct exec *x, bool tail) {
    int64_t timeout_ms;
    if (!exec_arg_timeout(x, x->argc - 1, &timeout_ms)) {
        return;
    }
    for (uint32_t i = 1; i < x->argc - 1; i++) {
        if (!exec_looks_at(x, i)) {
            continue;
        }
        struct key key = exec_key(x, i);
        struct entry *entry;
        if (!exec_find(x, &key, TYPE_LIST, LOOKUP_WRITE, &entry)) {
            return;
        }
        if (entry != NULL) {
            list_serve_pop(x, &key, entry, tail);
            return;
        }
    }
    if (!exec_wait(x, timeout_ms)) {
        reply_null_array(x->reply);
    }
}

void command_blpop(struct exec *x) {
    pop(x, false);
}

void command_brpop(struct exec *x) {
    pop(x, true);
}

void command_blmpop(struct exec *x) {
    int64_t timeout_ms;
    struct list_pops pops;
    if (list_arg_pops(x, 2, &pops) && exec_arg_timeout(x, 1, &timeout_ms) &&
        !list_pop_first(x, &pops) && !exec_wait(x, timeout_ms)) {
        reply_null_array(x->reply);
    }
}

static void move(struct exec *x, uint32_t timeout_index, struct list_move how) {
    int64_t timeout_ms;
    if (exec_arg_timeout(x, timeout_index, &timeout_ms) && !list_serve_move(x, how) &&
        !exec_wait(x, timeout_ms)) {
        reply_null(x->reply);
    }
}

void command_blmove(struct exec *x) {
    struct list_move how = {0};
    if (list_arg_tail(x, 3, &how.from_tail) && list_arg_tail(x, 4, &how.to_tail)) {
        move(x, 5, how);
    }
}

void command_brpoplpush(struct exec *x) {
    move(x, 3, (struct list_move){.from_tail = true, .to_tail = false, .named_rpoplpush = true});
}
