/* SPDX-License-Identifier: BSD-3-Clause */
/* list_change: what the files of the list commands share.
 *
 * Thread: the shard that owns the keys.
 */
#ifndef SHOAL_SERVER_COMMANDS_LIST_LIST_CHANGE_H
#define SHOAL_SERVER_COMMANDS_LIST_LIST_CHANGE_H

#include "server/call/exec.h"
#include "shard/types/list.h"

struct list_rules list_rules_of(const struct exec *x);
/* Opens a change of a list, which is made if the key has none (NULL). */
void list_open(const struct exec *x, struct change *change, const struct key *key,
               struct entry *entry);

static inline enum key_event list_push_event(bool tail) {
    return tail ? EVENT_RPUSH : EVENT_LPUSH;
}
static inline enum key_event list_pop_event(bool tail) {
    return tail ? EVENT_RPOP : EVENT_LPOP;
}

/* Takes up to `count` elements off one end, and closes the change. */
void list_take(const struct exec *x, struct change *change, bool tail, uint64_t count);
/* An array of elements from an index on. */
void list_reply_elements(struct reply *reply, const struct value *value, uint64_t index,
                         uint64_t count, bool backward);
/* One of them. */
void list_reply_element(struct reply *reply, const struct value *value, uint64_t index);

/* An index as commands count them, from the end if it is negative; false: there is none such. */
static inline bool list_index(int64_t index, uint64_t count, uint64_t *ret) {
    *ret = index < 0 ? (uint64_t)index + count : (uint64_t)index;
    return *ret < count;
}

/* The elements from start to stop, as LRANGE and LTRIM count them. */
struct list_span {
    uint64_t index, count;
};
struct list_span list_span_of(int64_t start, int64_t stop, uint64_t count);

#endif
