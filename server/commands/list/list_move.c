/* SPDX-License-Identifier: BSD-3-Clause */
/* list_move: an element goes from one list to another, or elements go from the first list that has
 * some.
 *
 * Lists on two shards (SPREAD_MOVE): at the owner of the destination the source is lent, its
 * element is copied from there; then the source's owner takes it off (exec_takes). Each says as an
 * effect what it has done.
 */
#include "base/must.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/commands/list/list.h"
#include "server/commands/list/list_change.h"

#include <stdlib.h>

bool list_arg_tail(const struct exec *x, uint32_t argv_index, bool *ret_tail) {
    *ret_tail = bytes_is(x->argv[argv_index], "right");
    if (!*ret_tail && !bytes_is(x->argv[argv_index], "left")) {
        reply_error(x->reply, ERR_SYNTAX);
        return false;
    }
    return true;
}

/* ---- To another list ---- */

static void push_one(const struct exec *x, struct change *change, struct bytes text, bool tail) {
    struct list_rules rules = list_rules_of(x);
    list_grow(change, &rules, &text, 1);
    list_push(change, text, tail);
}

/* The source is the destination. What is moved lies in what changes, so it is copied first. */
static void turn(const struct exec *x, const struct key *key, struct entry *entry,
                 struct bytes text, struct list_move move) {
    char room[512], *copy = text.len <= sizeof room ? room : must_malloc(text.len);
    memcpy(copy, text.ptr, text.len);
    struct change change;
    struct list_rules rules = list_rules_of(x);
    list_open(x, &change, key, entry);
    list_cut(&change, move.from_tail ? list_count(&change.value) - 1 : 0, 1);
    push_one(x, &change, bytes_make(copy, text.len), move.to_tail);
    list_shrink(&change, &rules);
    change_close(&change, list_push_event(move.to_tail));
    keyspace_note(x->keyspace, x->db, key, list_pop_event(move.from_tail), TYPE_LIST);
    if (copy != room) {
        free(copy);
    }
}

static void state_move(const struct exec *x, struct list_move move) {
    if (move.named_rpoplpush) {
        EFFECT(x, BYTES("RPOPLPUSH"), x->argv[1], x->argv[2]);
    } else {
        EFFECT(x, BYTES("LMOVE"), x->argv[1], x->argv[2],
               move.from_tail ? BYTES("RIGHT") : BYTES("LEFT"),
               move.to_tail ? BYTES("RIGHT") : BYTES("LEFT"));
    }
}

/* At the owner of the source: what was copied goes. */
static void take_moved(struct exec *x, struct list_move move) {
#ifdef SHOAL_UNSAFE_WAITS_MOVE /* for the test that users of the simulator notice */
    return;
#endif
    struct entry *entry = keyspace_find_any(x->keyspace, x->db, &x->key);
    uint64_t changes = keyspace_changes(x->keyspace);
    struct change change;
    list_open(x, &change, &x->key, entry);
    list_take(x, &change, move.from_tail, 1);
    keyspace_set_changes(x->keyspace, changes); /* where it went to it was counted */
    EFFECT(x, move.from_tail ? BYTES("RPOP") : BYTES("LPOP"), x->key.name);
}

static void move_text(struct exec *x, const struct loan *from, const struct key *to,
                      struct entry *to_entry, struct bytes text, struct list_move move) {
    struct change change;
    struct key source = exec_key(x, 1);
    if (from->entry != NULL && from->entry == to_entry) {
        turn(x, &source, to_entry, text, move);
        state_move(x, move);
        return;
    }
    list_open(x, &change, to, to_entry);
    push_one(x, &change, text, move.to_tail);
    change_close(&change, list_push_event(move.to_tail));
    if (from->entry == NULL) {
        EFFECT(x, move.to_tail ? BYTES("RPUSH") : BYTES("LPUSH"), to->name, text);
        exec_take(x);
        return;
    }
    uint64_t changes = keyspace_changes(x->keyspace);
    list_open(x, &change, &source, from->entry);
    list_take(x, &change, move.from_tail, 1);
    keyspace_set_changes(x->keyspace, changes); /* all of it is one */
    state_move(x, move);
}

bool list_serve_move(struct exec *x, struct list_move move) {
    if (exec_takes(x)) {
        take_moved(x, move);
        return true;
    }
    struct loan from;
    if (!exec_input(x, 1, LOOKUP_WRITE, &from)) {
        return false;
    }
    if (from.value.type != TYPE_LIST) {
        reply_error(x->reply, ERR_WRONG_TYPE);
        return true;
    }
    struct key to = exec_key(x, 2);
    struct entry *to_entry;
    if (!exec_find(x, &to, TYPE_LIST, LOOKUP_WRITE, &to_entry)) {
        return true;
    }
    struct quicklist_iter iter;
    char scratch[NUM_I64_BYTES];
    list_iter_open(&iter, &from.value, move.from_tail ? list_count(&from.value) - 1 : 0, false);
    struct bytes text = quicklist_iter_text(&iter, scratch);
    reply_bulk(x->reply, text);
    move_text(x, &from, &to, to_entry, text, move);
    quicklist_iter_close(&iter);
    return true;
}

static void move(struct exec *x, struct list_move move) {
    if (!list_serve_move(x, move)) {
        reply_null(x->reply);
    }
}

void command_lmove(struct exec *x) {
    struct list_move how = {0};
    if (list_arg_tail(x, 3, &how.from_tail) && list_arg_tail(x, 4, &how.to_tail)) {
        move(x, how);
    }
}

void command_rpoplpush(struct exec *x) {
    move(x, (struct list_move){.from_tail = true, .to_tail = false, .named_rpoplpush = true});
}

/* ---- From the first list that has some ---- */

bool list_arg_pops(const struct exec *x, uint32_t numkeys_index, struct list_pops *ret) {
    int64_t keys, count = 1;
    if (!exec_arg_range(x, numkeys_index, 1, INT64_MAX, "ERR numkeys should be greater than 0",
                        &keys)) {
        return false;
    }
    if (keys >= x->argc || numkeys_index + 1 + (uint64_t)keys >= x->argc) {
        reply_error(x->reply, ERR_SYNTAX);
        return false;
    }
    ret->first_key = numkeys_index + 1;
    ret->keys = (uint32_t)keys;
    uint32_t i = ret->first_key + ret->keys;
    if (!list_arg_tail(x, i++, &ret->tail)) {
        return false;
    }
    if (i < x->argc) {
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
    ret->count = (uint64_t)count;
    return true;
}

bool list_pop_first(struct exec *x, const struct list_pops *pops) {
    for (uint32_t i = 0; i < pops->keys; i++) {
        if (!exec_looks_at(x, pops->first_key + i)) {
            continue;
        }
        struct key key = exec_key(x, pops->first_key + i);
        struct entry *entry;
        if (!exec_find(x, &key, TYPE_LIST, LOOKUP_WRITE, &entry)) {
            return true;
        }
        if (entry != NULL) {
            list_serve_pops(x, &key, entry, pops->tail, pops->count);
            return true;
        }
    }
    return false;
}

void command_lmpop(struct exec *x) {
    struct list_pops pops;
    if (list_arg_pops(x, 1, &pops) && !list_pop_first(x, &pops)) {
        reply_null_array(x->reply);
    }
}
