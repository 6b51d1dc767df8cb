/* SPDX-License-Identifier: BSD-3-Clause */
/* listpack: a row of short texts and integers in one block of bytes, read from either end.
 *
 * The format is that of Redis and Valkey, byte for byte (the listpack specification), so that
 * thresholds in bytes mean the same and dumps can be copied:
 *
 *     0       4       6
 *     bytes   items   item item ...  0xFF        both little endian; items: 65535 means unknown
 *
 *     item: encoding and content, then their length once more, readable from the right
 *
 * Pure functions over bytes: who owns them makes room (types/packed.h for a collection that is one
 * listpack, nodes of lists and streams for themselves), puts items in, and says so to the header.
 * An item is named by its offset from the beginning; 0 is none.
 *
 * Thread: any; whoever may read or write the bytes.
 */
#ifndef SHOAL_SHARD_DS_LISTPACK_H
#define SHOAL_SHARD_DS_LISTPACK_H

#include "base/bytes.h"
#include "base/num.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define LISTPACK_HEADER_BYTES 6
#define LISTPACK_EMPTY_BYTES  7
/* What no block may outgrow: the header could say more, but no dump may. */
#define LISTPACK_BYTES_MAX (UINT32_C(1) << 30)

/* ---- The header ---- */

/* Writes an empty one: LISTPACK_EMPTY_BYTES. */
void listpack_init(char *lp);
static inline size_t listpack_bytes(const char *lp) {
    uint32_t bytes;
    memcpy(&bytes, lp, sizeof bytes);
    return bytes;
}
/* Counts them, if there are more than the header can say. */
uint32_t listpack_count(const char *lp);
/* So many bytes, and items more or less, are in it now. */
void listpack_changed(char *lp, size_t bytes, int64_t items);

/* ---- Reading ---- */

/* An item's text, or its number. */
struct listpack_item {
    const char *text; /* NULL: a number */
    uint32_t length;
    int64_t number;
};

size_t listpack_first(const char *lp);
size_t listpack_last(const char *lp);
size_t listpack_next(const char *lp, size_t at);
size_t listpack_prev(const char *lp, size_t at);
/* By index, from the end (-1) if it is negative. */
size_t listpack_seek(const char *lp, int64_t index);
/* Bytes of the item as it is stored. */
size_t listpack_item_bytes(const char *lp, size_t at);
struct listpack_item listpack_get(const char *lp, size_t at);
/* A number is written to `scratch` (NUM_I64_BYTES). */
static inline struct bytes listpack_text(const struct listpack_item *item, char *scratch) {
    return item->text != NULL ? bytes_make(item->text, item->length)
                              : bytes_make(scratch, num_format_i64(scratch, item->number));
}

/* ---- Writing ---- */

/* How a text is stored. */
struct listpack_new {
    struct bytes text; /* if it is no number */
    int64_t number;
    bool is_number;
    size_t bytes; /* as it will be stored */
};
struct listpack_new listpack_new(struct bytes text);
struct listpack_new listpack_new_int(int64_t number);
/* Writes `item->bytes` bytes; returns the end of them. */
char *listpack_put(char *to, const struct listpack_new *item);

/* ---- Finding ---- */

bool listpack_equals(const char *lp, size_t at, const struct listpack_new *item);
/* The first equal one among `from` and each `stride`th after it. */
size_t listpack_find(const char *lp, size_t from, const struct listpack_new *item, uint32_t stride);
/* Moves all but up to `limit` equal items, the first or (from_tail) the last ones, together.
 * Returns how many are left out; behind those that stay, *ret_end is the first of the bytes that
 * are to be cut out before the last byte of all, which is still where it was. */
uint32_t listpack_squeeze(char *lp, const struct listpack_new *item, uint64_t limit, bool from_tail,
                          size_t *ret_end);

/* ---- Foreign bytes ---- */

/* Whether these are a listpack, and whole: nothing else here reads past the end of such. */
bool listpack_is_sound(struct bytes bytes);

#endif
