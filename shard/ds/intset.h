/* SPDX-License-Identifier: BSD-3-Clause */
/* intset: different integers in ascending order, in one block of bytes.
 *
 * The format is that of Redis and Valkey, byte for byte, so that thresholds mean the same and dumps
 * can be copied:
 *
 *     0       4       8
 *     width   count   number number ...        all little endian
 *
 * A number takes `width` bytes: 2, 4 or 8, which the first one that does not fit makes wider for
 * all, and nothing makes narrower again.
 *
 * Pure functions over bytes: who owns them makes room (types/packed.h for a set that is an intset).
 *
 *     struct intset_room room = intset_room(is, index, number);    where intset_find says it goes
 *     is = packed_splice(change, room.at, 0, room.bytes);
 *     intset_put(is, index, number);
 *
 * Thread: any; whoever may read or write the bytes.
 */
#ifndef SHOAL_SHARD_DS_INTSET_H
#define SHOAL_SHARD_DS_INTSET_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define INTSET_HEADER_BYTES 8
/* As many as Valkey has in one, whatever is configured. */
#define INTSET_COUNT_MAX (UINT32_C(1) << 30)

/* Writes an empty one: INTSET_HEADER_BYTES. */
void intset_init(char *is);

/* ---- Reading ---- */

static inline uint32_t intset_width(const char *is) {
    uint32_t width;
    memcpy(&width, is, sizeof width);
    return width;
}
static inline uint32_t intset_count(const char *is) {
    uint32_t count;
    memcpy(&count, is + sizeof count, sizeof count);
    return count;
}
static inline size_t intset_bytes(const char *is) {
    return INTSET_HEADER_BYTES + (size_t)intset_width(is) * intset_count(is);
}
/* One of numbers of this width. */
static inline int64_t intset_number(const char *numbers, uint32_t width, uint32_t index) {
    const char *at = numbers + (size_t)width * index;
    int16_t i16;
    int32_t i32;
    int64_t i64;
    switch (width) {
    case sizeof i16:
        memcpy(&i16, at, sizeof i16);
        return i16;
    case sizeof i32:
        memcpy(&i32, at, sizeof i32);
        return i32;
    default:
        memcpy(&i64, at, sizeof i64);
        return i64;
    }
}
static inline int64_t intset_get(const char *is, uint32_t index) {
    return intset_number(is + INTSET_HEADER_BYTES, intset_width(is), index);
}
/* Whether it is there, and at which index it is or would be. */
bool intset_find(const char *is, int64_t number, uint32_t *ret_index);

/* ---- Writing ---- */

/* The room that a number that is not there needs before it can be put in. */
struct intset_room {
    size_t at, bytes;
};
struct intset_room intset_room(const char *is, uint32_t index, int64_t number);
/* Puts it there. */
void intset_put(char *is, uint32_t index, int64_t number);
/* The bytes of the number at this index, and, once they are cut out, that it is gone. */
struct intset_room intset_cut(const char *is, uint32_t index);
void intset_took(char *is);

/* ---- Foreign bytes ---- */

/* Whether these are an intset that is not empty, and whole. */
bool intset_is_sound(struct bytes bytes);

#endif
