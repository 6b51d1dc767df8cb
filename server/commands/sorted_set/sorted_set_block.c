/* SPDX-License-Identifier: BSD-3-Clause */
/* Sorted sets among several keys: ZMPOP, and those whose client waits until one has members.
 *
 * Each looks at its keys from left to right and pops from the first that is there; only if none is
 * there it waits. Served, it runs again on the one key that has got something (exec_looks_at).
 */
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/commands/sorted_set/sorted_set.h"

enum waiter_answer sorted_set_ready(const struct exec *x) {
    return exec_ready(x, TYPE_ZSET);
}

/* Where it may pop, and what. */
struct pops {
    uint32_t first_key, keys; /* in argv */
    struct sorted_set_popping what;
};

/* The name of what it did: the count is told where it was asked for. */
static void state_effect(struct exec *x, const struct key *key, const struct pops *pops,
                         uint64_t count) {
    struct bytes name = pops->what.max ? BYTES("ZPOPMAX") : BYTES("ZPOPMIN");
    char number[EFFECT_INT_BYTES];
    struct bytes argv[] = {name, key->name, effect_int(number, (int64_t)count)};
    effect_state(x, argv, pops->what.nested ? 3 : 2);
}

/* False: none has anything. */
static bool pop_first(struct exec *x, const struct pops *pops) {
    for (uint32_t i = pops->first_key; i < pops->first_key + pops->keys; i++) {
        if (!exec_looks_at(x, i)) {
            continue;
        }
        struct key key = exec_key(x, i);
        struct entry *entry;
        if (!exec_find(x, &key, TYPE_ZSET, LOOKUP_WRITE, &entry)) {
            return true;
        }
        if (entry != NULL) {
            state_effect(x, &key, pops, sorted_set_pop(x, &key, entry, &pops->what));
            return true;
        }
    }
    return false;
}

static void pop_or_wait(struct exec *x, bool max) {
    struct pops pops = {
        .first_key = 1, .keys = x->argc - 2, .what = {.max = max, .tells_key = true, .count = 1}};
    int64_t timeout_ms;
    if (exec_arg_timeout(x, x->argc - 1, &timeout_ms) && !pop_first(x, &pops) &&
        !exec_wait(x, timeout_ms)) {
        reply_null_array(x->reply);
    }
}

void command_bzpopmin(struct exec *x) {
    pop_or_wait(x, false);
}

void command_bzpopmax(struct exec *x) {
    pop_or_wait(x, true);
}

/* numkeys key ... MIN or MAX, COUNT n */
static bool pops_read(const struct exec *x, uint32_t numkeys_index, struct pops *ret) {
    int64_t keys, count = 1;
    if (!exec_arg_range(x, numkeys_index, 1, INT64_MAX, "ERR numkeys should be greater than 0",
                        &keys)) {
        return false;
    }
    uint32_t left = x->argc - numkeys_index - 1;
    uint32_t i = numkeys_index + 1 + (uint32_t)keys;
    bool is_max = keys < left && bytes_is(x->argv[i], "max");
    if (keys >= left || (!is_max && !bytes_is(x->argv[i], "min"))) {
        reply_error(x->reply, ERR_SYNTAX);
        return false;
    }
    if (++i < x->argc) {
        if (!bytes_is(x->argv[i], "count") || i + 1 >= x->argc) {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
        if (!exec_arg_range(x, i + 1, 1, INT64_MAX, "ERR count should be greater than 0", &count)) {
            return false;
        }
        if (i + 2 < x->argc) {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
    }
    *ret = (struct pops){
        .first_key = numkeys_index + 1,
        .keys = (uint32_t)keys,
        .what = {.max = is_max, .nested = true, .tells_key = true, .count = (uint64_t)count}};
    return true;
}

void command_zmpop(struct exec *x) {
    struct pops pops;
    if (pops_read(x, 1, &pops) && !pop_first(x, &pops)) {
        reply_null_array(x->reply);
    }
}

void command_bzmpop(struct exec *x) {
    struct pops pops;
    int64_t timeout_ms;
    if (pops_read(x, 2, &pops) && exec_arg_timeout(x, 1, &timeout_ms) && !pop_first(x, &pops) &&
        !exec_wait(x, timeout_ms)) {
        reply_null_array(x->reply);
    }
}
