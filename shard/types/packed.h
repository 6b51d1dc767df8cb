/* SPDX-License-Identifier: BSD-3-Clause */
/* packed: collections that are one row of bytes: a listpack (of any type) or an intset (a set).
 *
 * Up to PACKED_INLINE_MAX bytes it lies in the key's entry, beyond in a block of its own, and
 * comes back when it has become half of that. A type changes it through packed_splice and the
 * functions of its format, and does not ask where it is:
 *
 *     struct listpack_new item = listpack_new(text);
 *     char *lp = packed_splice(change, at, 0, item.bytes);          room for it, at `at`
 *     listpack_put(lp + at, &item);
 *     listpack_changed(lp, packed_bytes(&change->value).len, +1);
 *
 * or, the same in one call, packed_insert. When it outgrows the type's thresholds, the type makes
 * its larger form of it and calls packed_leave.
 *
 * Thread: the owner's; what takes a `const struct value *` also whoever it is lent to.
 */
#ifndef SHOAL_SHARD_TYPES_PACKED_H
#define SHOAL_SHARD_TYPES_PACKED_H

#include "shard/ds/listpack.h"
#include "shard/keys/change.h"

#define PACKED_INLINE_MAX 512

static inline bool value_is_listpack(const struct value *value) {
    return value->form == FORM_LISTPACK ||
           (value->form == FORM_INLINE && value->type != TYPE_STRING);
}
static inline bool value_is_intset(const struct value *value) {
    return value->form == FORM_INTSET || value->form == FORM_INTS;
}

/* All of it, wherever it is. */
struct bytes packed_bytes(const struct value *value);
/* Of what is not a string and not of many blocks. */
static inline const char *packed_start(const struct value *value) {
    return value->form == FORM_INLINE || value->form == FORM_INTS ? value->bytes.ptr : value->root;
}

/* The key, which has nothing or something of another type, has an empty listpack from now on. */
void packed_make(struct change *change, enum value_type type);
/* Puts `insert` bytes of undefined content in the place of `remove` bytes at `at`. Returns the
 * beginning of all. The header is not touched but for what is in the bytes that were replaced. */
char *packed_splice(struct change *change, size_t at, size_t remove, size_t insert);
/* The value's bytes are not needed any more: its type has made another form of it, which is put
 * into change->value afterwards. */
void packed_leave(struct change *change);
/* Its type's larger form has become small, and is freed by the type: from now on it is this row of
 * bytes, a copy. */
void packed_put(struct change *change, bool intset, struct bytes bytes);
/* The same as packed_leave, but it becomes this row of bytes (another format, or in another order).
 */
void packed_replace(struct change *change, bool intset, struct bytes bytes);

/* ---- Listpacks ---- */

/* Puts an item before the one at `at`; 0: at the end. */
void packed_insert(struct change *change, size_t at, const struct listpack_new *item);
/* Another one in the place of the one at `at`. */
void packed_set(struct change *change, size_t at, const struct listpack_new *item);
/* Takes out `items` items, from the one at `at` on. */
void packed_remove(struct change *change, size_t at, uint32_t items);

#endif
