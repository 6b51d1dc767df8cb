/* SPDX-License-Identifier: BSD-3-Clause */
/* list: a list's value, whichever form it has: one listpack, or, beyond list-max-listpack-size, a
 * quicklist. It changes form where Valkey's does: before elements are added, to a quicklist if they
 * might make the listpack too large; when elements have gone, back if half of that is not used up.
 *
 * Thread: the owner's; what takes a `const struct value *` also whoever it is lent to.
 */
#ifndef SHOAL_SHARD_TYPES_LIST_H
#define SHOAL_SHARD_TYPES_LIST_H

#include "shard/ds/quicklist.h"
#include "shard/keys/change.h"

struct list_rules {
    int64_t fill;              /* list-max-listpack-size */
    int64_t depth;             /* list-compress-depth */
    uint64_t packed_threshold; /* quicklist_set_packed_threshold */
};

/* ---- Reading ---- */

uint64_t list_count(const struct value *value);
/* The element at an end of a list that has some; a number is written to `scratch` (NUM_I64_BYTES).
 */
struct bytes list_end(const struct value *value, bool tail, char *scratch);
/* One element after the other, from an index on: quicklist_iter_next, and _close in the end. */
void list_iter_open(struct quicklist_iter *iter, const struct value *value, uint64_t index,
                    bool backward);

/* What DEBUG OBJECT adds about a quicklist, with a space before it; nothing about another form.
 * `brief`: without the bytes. */
void list_describe(const struct value *value, bool brief, char *text, size_t room);

/* ---- Changing, within an open change ---- */

/* These are about to be added: the form for them. */
void list_grow(struct change *change, const struct list_rules *rules, const struct bytes *texts,
               uint32_t count);
void list_push(struct change *change, struct bytes text, bool tail);
/* Of elements that are there: */
void list_insert(struct change *change, uint64_t index, struct bytes text, bool after);
void list_set(struct change *change, uint64_t index, struct bytes text);
void list_cut(struct change *change, uint64_t index, uint64_t count);
void list_drop(struct change *change, bool tail); /* the one at an end */
/* The first or (from_tail) last ones with this text; returns how many there were. */
uint64_t list_remove_equal(struct change *change, struct bytes text, uint64_t limit,
                           bool from_tail);
/* Elements have gone or become smaller: the form for what is left. */
void list_shrink(struct change *change, const struct list_rules *rules);

#endif
