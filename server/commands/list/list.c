/* SPDX-License-Identifier: BSD-3-Clause */
/* list: elements come and go at the ends of a list.
 *
 * Reading is in list_read.c, changing the middle in list_edit.c, moving from list to list in
 * list_move.c, the rows in list_rows.c.
 */
#include "server/commands/list/list.h"

#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/commands/list/list_change.h"
#include "server/config/config.h"
#include "shard/shard.h"
#include "shard/types/packed.h"

struct list_rules list_rules_of(const struct exec *x) {
    const struct config *config = exec_config(x);
    return (struct list_rules){
        .fill = config->list_max_listpack_size,
        .depth = config->list_compress_depth,
        .packed_threshold = x->shard->list_packed_threshold,
    };
}

void list_open(const struct exec *x, struct change *change, const struct key *key,
               struct entry *entry) {
    change_open(change, x->keyspace, x->db, key, entry, x->now_ms);
    if (entry == NULL) {
        packed_make(change, TYPE_LIST);
    }
    change_element(change, NULL);
}

/* ---- Push ---- */

static void push(struct exec *x, bool tail, bool only_if_there) {
    struct entry *entry;
    if (!exec_find(x, &x->key, TYPE_LIST, LOOKUP_WRITE, &entry)) {
        return;
    }
    if (entry == NULL && only_if_there) {
        reply_int(x->reply, 0);
        return;
    }
    struct change change;
    struct list_rules rules = list_rules_of(x);
    list_open(x, &change, &x->key, entry);
    list_grow(&change, &rules, x->argv + 2, x->argc - 2);
    for (uint32_t i = 2; i < x->argc; i++) {
        list_push(&change, x->argv[i], tail);
    }
    reply_int(x->reply, (int64_t)list_count(&change.value));
    change_close(&change, list_push_event(tail));
    keyspace_count_elements(x->keyspace, x->argc - 2);
}

void command_lpush(struct exec *x) {
    push(x, false, false);
}

void command_rpush(struct exec *x) {
    push(x, true, false);
}

void command_lpushx(struct exec *x) {
    push(x, false, true);
}

void command_rpushx(struct exec *x) {
    push(x, true, true);
}

/* ---- Pop ---- */

void list_take(const struct exec *x, struct change *change, bool tail, uint64_t count) {
    struct list_rules rules = list_rules_of(x);
    uint64_t has = list_count(&change->value);
    count = count < has ? count : has;
    if (count == 1) {
        list_drop(change, tail);
    } else {
        list_cut(change, tail ? has - count : 0, count);
    }
    list_shrink(change, &rules);
    change_close(change, list_pop_event(tail));
    keyspace_count_elements(x->keyspace, count);
}

void list_reply_elements(struct reply *reply, const struct value *value, uint64_t index,
                         uint64_t count, bool backward) {
    struct quicklist_iter iter;
    char scratch[NUM_I64_BYTES];
    struct reply_bulks bulks = {.reply = reply};
    reply_array(reply, count);
    for (list_iter_open(&iter, value, index, backward); count > 0; count--) {
        reply_bulks_add(&bulks, quicklist_iter_text(&iter, scratch));
        quicklist_iter_next(&iter);
    }
    reply_bulks_end(&bulks);
    quicklist_iter_close(&iter);
}

void list_reply_element(struct reply *reply, const struct value *value, uint64_t index) {
    struct quicklist_iter iter;
    char scratch[NUM_I64_BYTES];
    list_iter_open(&iter, value, index, false);
    reply_bulk(reply, quicklist_iter_text(&iter, scratch));
    quicklist_iter_close(&iter);
}

/* Up to `count` of them as an array, from that end on. */
static void reply_taken(struct reply *reply, const struct value *value, bool tail, uint64_t count) {
    uint64_t has = list_count(value);
    list_reply_elements(reply, value, tail ? has - 1 : 0, count < has ? count : has, tail);
}

static void pop(struct exec *x, bool tail) {
    bool counted = x->argc > 2;
    int64_t count = 1;
    if (x->argc > 3) {
        exec_arity_error(x);
        return;
    }
    if (counted && !exec_arg_range(x, 2, 0, INT64_MAX, ERR_NOT_POSITIVE, &count)) {
        return;
    }
    struct entry *entry;
    if (!exec_find(x, &x->key, TYPE_LIST, LOOKUP_WRITE, &entry)) {
        return;
    }
    if (entry == NULL) {
        counted ? reply_null_array(x->reply) : reply_null(x->reply);
        return;
    }
    if (count == 0) {
        reply_array(x->reply, 0);
        return;
    }
    struct change change;
    list_open(x, &change, &x->key, entry);
    if (counted) {
        reply_taken(x->reply, &change.value, tail, (uint64_t)count);
    } else {
        char scratch[NUM_I64_BYTES];
        reply_bulk(x->reply, list_end(&change.value, tail, scratch));
    }
    list_take(x, &change, tail, (uint64_t)count);
}

void command_lpop(struct exec *x) {
    pop(x, false);
}

void command_rpop(struct exec *x) {
    pop(x, true);
}

/* ---- For who waited, or might have ---- */

void list_serve_pop(struct exec *x, const struct key *key, struct entry *entry, bool tail) {
    struct change change;
    list_open(x, &change, key, entry);
    reply_array(x->reply, 2);
    reply_bulk(x->reply, key->name);
    char scratch[NUM_I64_BYTES];
    reply_bulk(x->reply, list_end(&change.value, tail, scratch));
    list_take(x, &change, tail, 1);
    EFFECT(x, tail ? BYTES("RPOP") : BYTES("LPOP"), key->name);
}

void list_serve_pops(struct exec *x, const struct key *key, struct entry *entry, bool tail,
                     uint64_t count) {
    struct change change;
    list_open(x, &change, key, entry);
    uint64_t has = list_count(&change.value);
    count = count < has ? count : has;
    reply_array(x->reply, 2);
    reply_bulk(x->reply, key->name);
    reply_taken(x->reply, &change.value, tail, count);
    list_take(x, &change, tail, count);
    char number[EFFECT_INT_BYTES];
    EFFECT(x, tail ? BYTES("RPOP") : BYTES("LPOP"), key->name, effect_int(number, (int64_t)count));
}
