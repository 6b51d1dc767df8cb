/* SPDX-License-Identifier: BSD-3-Clause */
/* list_edit: changes in the middle of a list. */
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/commands/list/list.h"
#include "server/commands/list/list_change.h"

/* The form changes before it is known whether there is such an element: so it does in Valkey. */
void command_lset(struct exec *x) {
    struct entry *entry;
    if (!exec_find(x, &x->key, TYPE_LIST, LOOKUP_WRITE, &entry)) {
        return;
    }
    int64_t number;
    if (entry == NULL) {
        reply_error(x->reply, ERR_NO_KEY);
        return;
    }
    if (!exec_arg_i64(x, 2, &number)) {
        return;
    }
    struct change change;
    struct list_rules rules = list_rules_of(x);
    list_open(x, &change, &x->key, entry);
    list_grow(&change, &rules, &x->argv[3], 1);
    uint64_t index;
    bool there = list_index(number, list_count(&change.value), &index);
    if (there) {
        list_set(&change, index, x->argv[3]);
        list_shrink(&change, &rules);
        reply_ok(x->reply);
    } else {
        reply_error(x->reply, ERR_OUT_OF_RANGE);
    }
    change_close(&change, there ? EVENT_LSET : EVENT_NONE);
}

static bool find_pivot(const struct value *value, struct bytes pivot, uint64_t *ret_index) {
    struct listpack_new item = listpack_new(pivot);
    struct quicklist_iter iter;
    uint64_t index = 0;
    for (list_iter_open(&iter, value, 0, false);
         !iter.over && !quicklist_iter_equals(&iter, pivot, &item); quicklist_iter_next(&iter)) {
        index++;
    }
    bool found = !iter.over;
    quicklist_iter_close(&iter);
    *ret_index = index;
    return found;
}

void command_linsert(struct exec *x) {
    bool after = bytes_is(x->argv[2], "after");
    if (!after && !bytes_is(x->argv[2], "before")) {
        reply_error(x->reply, ERR_SYNTAX);
        return;
    }
    struct entry *entry;
    if (!exec_find(x, &x->key, TYPE_LIST, LOOKUP_WRITE, &entry)) {
        return;
    }
    if (entry == NULL) {
        reply_int(x->reply, 0);
        return;
    }
    struct change change;
    struct list_rules rules = list_rules_of(x);
    list_open(x, &change, &x->key, entry);
    list_grow(&change, &rules, &x->argv[4], 1);
    uint64_t index;
    bool found = find_pivot(&change.value, x->argv[3], &index);
    if (found) {
        list_insert(&change, index, x->argv[4], after);
    }
    reply_int(x->reply, found ? (int64_t)list_count(&change.value) : -1);
    change_close(&change, found ? EVENT_LINSERT : EVENT_NONE);
}

void command_lrem(struct exec *x) {
    int64_t limit;
    struct entry *entry;
    if (!exec_arg_range(x, 2, -INT64_MAX, INT64_MAX, NULL, &limit) ||
        !exec_find(x, &x->key, TYPE_LIST, LOOKUP_WRITE, &entry)) {
        return;
    }
    if (entry == NULL) {
        reply_int(x->reply, 0);
        return;
    }
    struct change change;
    struct list_rules rules = list_rules_of(x);
    list_open(x, &change, &x->key, entry);
    uint64_t most = limit == 0 ? UINT64_MAX : (uint64_t)(limit < 0 ? -limit : limit);
    uint64_t removed = list_remove_equal(&change, x->argv[3], most, limit < 0);
    if (removed > 0) {
        list_shrink(&change, &rules);
    }
    reply_int(x->reply, (int64_t)removed);
    change_close(&change, removed > 0 ? EVENT_LREM : EVENT_NONE);
    keyspace_count_elements(x->keyspace, removed);
}

/* Tells the event also if all elements stay; then there is no effect, and WATCH does not see it. */
void command_ltrim(struct exec *x) {
    int64_t start, stop;
    struct entry *entry;
    if (!exec_arg_i64(x, 2, &start) || !exec_arg_i64(x, 3, &stop) ||
        !exec_find(x, &x->key, TYPE_LIST, LOOKUP_WRITE, &entry)) {
        return;
    }
    if (entry == NULL) {
        reply_ok(x->reply);
        return;
    }
    struct change change;
    struct list_rules rules = list_rules_of(x);
    list_open(x, &change, &x->key, entry);
    uint64_t has = list_count(&change.value);
    struct list_span stays = list_span_of(start, stop, has);
    list_cut(&change, stays.index + stays.count, has - stays.index - stays.count);
    list_cut(&change, 0, stays.index);
    list_shrink(&change, &rules);
    uint64_t changes = keyspace_changes(x->keyspace);
    if (stays.count < has) {
        change_close(&change, EVENT_LTRIM);
    } else {
        change_close(&change, EVENT_NONE);
        keyspace_note(x->keyspace, x->db, &x->key, EVENT_LTRIM, TYPE_LIST);
    }
    keyspace_set_changes(x->keyspace, changes + has - stays.count);
    reply_ok(x->reply);
}
