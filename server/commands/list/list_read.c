/* SPDX-License-Identifier: BSD-3-Clause */
/* list_read: what is in a list. */
#include "server/call/errors.h"
#include "server/commands/list/list.h"
#include "server/commands/list/list_change.h"

void command_llen(struct exec *x) {
    struct entry *entry;
    if (exec_find(x, &x->key, TYPE_LIST, LOOKUP_READ, &entry)) {
        struct value value = {0};
        if (entry != NULL) {
            value = entry_value_of(entry);
        }
        reply_int(x->reply, entry != NULL ? (int64_t)list_count(&value) : 0);
    }
}

void command_lindex(struct exec *x) {
    struct entry *entry;
    int64_t number;
    if (!exec_find(x, &x->key, TYPE_LIST, LOOKUP_READ, &entry)) {
        return;
    }
    if (entry == NULL) {
        reply_null(x->reply);
        return;
    }
    if (!exec_arg_i64(x, 2, &number)) {
        return;
    }
    struct value value = entry_value_of(entry);
    uint64_t index;
    if (list_index(number, list_count(&value), &index)) {
        list_reply_element(x->reply, &value, index);
    } else {
        reply_null(x->reply);
    }
}

struct list_span list_span_of(int64_t start, int64_t stop, uint64_t count) {
    int64_t has = (int64_t)count;
    start = start < 0 ? start + has : start;
    stop = stop < 0 ? stop + has : stop;
    start = start < 0 ? 0 : start;
    stop = stop < has ? stop : has - 1;
    if (start > stop || start >= has) {
        return (struct list_span){0, 0};
    }
    return (struct list_span){(uint64_t)start, (uint64_t)(stop - start + 1)};
}

void command_lrange(struct exec *x) {
    int64_t start, stop;
    struct entry *entry;
    if (!exec_arg_i64(x, 2, &start) || !exec_arg_i64(x, 3, &stop) ||
        !exec_find(x, &x->key, TYPE_LIST, LOOKUP_READ, &entry)) {
        return;
    }
    if (entry == NULL) {
        reply_array(x->reply, 0);
        return;
    }
    struct value value = entry_value_of(entry);
    struct list_span span = list_span_of(start, stop, list_count(&value));
    list_reply_elements(x->reply, &value, span.index, span.count, false);
}

/* ---- LPOS ---- */

struct pos {
    int64_t rank;    /* the first match that counts, from the end if it is negative */
    int64_t count;   /* of matches: -1: one, and the reply is no array; 0: all */
    int64_t max_len; /* elements that are looked at; 0: all */
};

static bool pos_options(const struct exec *x, struct pos *pos) {
    for (uint32_t i = 3; i < x->argc; i++) {
        bool more = i + 1 < x->argc;
        if (bytes_is(x->argv[i], "rank") && more) {
            if (!exec_arg_range(x, ++i, -INT64_MAX, INT64_MAX, NULL, &pos->rank)) {
                return false;
            }
            if (pos->rank == 0) {
                reply_error(x->reply, "ERR RANK can't be zero: use 1 to start from the first "
                                      "match, 2 from the second ... or use negative to start "
                                      "from the end of the list");
                return false;
            }
        } else if (bytes_is(x->argv[i], "count") && more) {
            if (!exec_arg_range(x, ++i, 0, INT64_MAX, "ERR COUNT can't be negative", &pos->count)) {
                return false;
            }
        } else if (bytes_is(x->argv[i], "maxlen") && more) {
            if (!exec_arg_range(x, ++i, 0, INT64_MAX, "ERR MAXLEN can't be negative",
                                &pos->max_len)) {
                return false;
            }
        } else {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

/* How many matches there are is known when they have been found, so they are found twice: first to
 * count them, if `reply` is NULL. Returns how many. */
static uint64_t find_matches(const struct value *value, struct bytes text, const struct pos *pos,
                             struct reply *reply) {
    struct listpack_new item = listpack_new(text);
    bool backward = pos->rank < 0;
    uint64_t skip = (uint64_t)(backward ? -pos->rank : pos->rank) - 1, matches = 0;
    uint64_t has = list_count(value), index = backward ? has - 1 : 0;
    uint64_t looks = pos->max_len > 0 ? (uint64_t)pos->max_len : UINT64_MAX;
    uint64_t most = pos->count > 0 ? (uint64_t)pos->count : pos->count < 0 ? 1 : UINT64_MAX;
    struct quicklist_iter iter;
    for (list_iter_open(&iter, value, index, backward); !iter.over && looks > 0 && matches < most;
         quicklist_iter_next(&iter), looks--) {
        if (quicklist_iter_equals(&iter, text, &item)) {
            if (skip > 0) {
                skip--;
            } else {
                matches++;
                if (reply != NULL) {
                    reply_int(reply, (int64_t)index);
                }
            }
        }
        index += backward ? -UINT64_C(1) : 1;
    }
    quicklist_iter_close(&iter);
    return matches;
}

void command_lpos(struct exec *x) {
    struct pos pos = {.rank = 1, .count = -1};
    struct entry *entry;
    if (!pos_options(x, &pos) || !exec_find(x, &x->key, TYPE_LIST, LOOKUP_READ, &entry)) {
        return;
    }
    bool as_array = pos.count != -1;
    uint64_t matches = 0;
    struct value value = {0};
    if (entry != NULL) {
        value = entry_value_of(entry);
        matches = find_matches(&value, x->argv[2], &pos, as_array ? NULL : x->reply);
    }
    if (as_array) {
        reply_array(x->reply, matches);
        if (matches > 0) {
            find_matches(&value, x->argv[2], &pos, x->reply);
        }
    } else if (matches == 0) {
        reply_null(x->reply);
    }
}
