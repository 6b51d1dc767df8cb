/* SPDX-License-Identifier: BSD-3-Clause */
/* Positions are offsets, and every step asks whether it stays within the bytes: these come from files
 * and clients, and the forms were made to be walked by those who trust them.
 */
#include "persist/codec/packs.h"

#define ZIPLIST_HEADER_BYTES  10
#define ZIPLIST_LONG_BEFORE   254
#define ZIPLIST_COUNT_UNKNOWN 65535
#define ZIPMAP_LONG           254
#define PACK_END              255

/* ---- Bytes, never past their end ---- */

static bool is_within(const struct pack_walk *walk, size_t at, uint64_t length) {
    return at <= walk->bytes.len && length <= walk->bytes.len - at;
}

/* `size` bytes at `at`, little endian, and is past them. */
static uint64_t take(struct pack_walk *walk, size_t *at, unsigned size) {
    uint64_t number = 0;
    if (!is_within(walk, *at, size)) {
        walk->bad = true;
        return 0;
    }
    memcpy(&number, walk->bytes.ptr + *at, size);
    *at += size;
    return number;
}

static uint64_t take_big_endian(struct pack_walk *walk, size_t *at) {
    return __builtin_bswap32((uint32_t)take(walk, at, 4));
}

static struct listpack_item take_text(struct pack_walk *walk, size_t *at, uint64_t length) {
    struct listpack_item item = {.text = ""};
    if (length > LISTPACK_BYTES_MAX || !is_within(walk, *at, length)) {
        walk->bad = true;
        return item;
    }
    item.text = walk->bytes.ptr + *at;
    item.length = (uint32_t)length;
    *at += length;
    return item;
}

static struct listpack_item an_int(int64_t number) {
    return (struct listpack_item){.text = NULL, .number = number};
}

/* ---- Ziplists ---- */

static void ziplist_init(struct pack_walk *walk) {
    size_t at = 0;
    uint64_t bytes = take(walk, &at, 4);
    walk->bad |= bytes != walk->bytes.len || walk->bytes.len <= ZIPLIST_HEADER_BYTES;
    walk->at = ZIPLIST_HEADER_BYTES;
}

static struct listpack_item ziplist_content(struct pack_walk *walk, size_t *at) {
    unsigned kind = (unsigned)take(walk, at, 1);
    switch (kind >> 6) {
    case 0:
        return take_text(walk, at, kind & 63);
    case 1:
        return take_text(walk, at, (kind & 63) << 8 | take(walk, at, 1));
    case 2:
        walk->bad |= kind != 0x80;
        return take_text(walk, at, take_big_endian(walk, at));
    default:
        break;
    }
    switch (kind) {
    case 0xc0:
        return an_int((int16_t)take(walk, at, 2));
    case 0xd0:
        return an_int((int32_t)take(walk, at, 4));
    case 0xe0:
        return an_int((int64_t)take(walk, at, 8));
    case 0xf0:
        return an_int((int32_t)(take(walk, at, 3) << 8) >> 8);
    case 0xfe:
        return an_int((int8_t)take(walk, at, 1));
    default:
        walk->bad |= kind < 0xf1 || kind > 0xfd;
        return an_int((int64_t)(kind & 15) - 1);
    }
}

static void ziplist_end(struct pack_walk *walk) {
    size_t at = 4;
    uint64_t tail = take(walk, &at, 4), count = take(walk, &at, 2);
    size_t last = walk->count > 0 ? walk->last : ZIPLIST_HEADER_BYTES;
    walk->bad |= walk->at + 1 != walk->bytes.len || tail != last ||
                 (count != ZIPLIST_COUNT_UNKNOWN && count != walk->count);
}

static bool ziplist_next(struct pack_walk *walk, struct listpack_item *ret) {
    size_t at = walk->at;
    uint64_t before = take(walk, &at, 1);
    if (before == PACK_END || walk->bad) {
        ziplist_end(walk);
        return false;
    }
    before = before == ZIPLIST_LONG_BEFORE ? take(walk, &at, 4) : before;
    walk->bad |= before != (walk->count > 0 ? walk->at - walk->last : 0);
    *ret = ziplist_content(walk, &at);
    walk->last = walk->at;
    walk->at = at;
    return !walk->bad;
}

/* ---- Zipmaps ---- */

static bool zipmap_next(struct pack_walk *walk, struct listpack_item *ret) {
    size_t at = walk->at;
    uint64_t length = take(walk, &at, 1);
    if (length == PACK_END && walk->is_name) {
        unsigned char pairs = (unsigned char)walk->bytes.ptr[0];
        walk->bad |= at != walk->bytes.len || (pairs < ZIPMAP_LONG && pairs != walk->count / 2);
        return false;
    }
    if (length == ZIPMAP_LONG) {
        length = take(walk, &at, 4);
    } else {
        walk->bad |= length == PACK_END;
    }
    uint64_t unused = walk->is_name ? 0 : take(walk, &at, 1);
    if (!walk->bad) {
        *ret = take_text(walk, &at, length);
    }
    walk->bad |= !is_within(walk, at, unused);
    at += unused;
    walk->at = at;
    walk->is_name = !walk->is_name;
    return !walk->bad;
}

/* ---- Any ---- */

void pack_walk_init(struct pack_walk *walk, enum pack_kind kind, struct bytes bytes) {
    *walk = (struct pack_walk){.kind = kind, .bytes = bytes, .is_name = true};
    switch (kind) {
    case PACK_LISTPACK:
        walk->bad = !listpack_is_sound(bytes);
        walk->at = walk->bad ? 0 : listpack_first(bytes.ptr);
        break;
    case PACK_ZIPLIST:
        ziplist_init(walk);
        break;
    case PACK_ZIPMAP:
        walk->bad = bytes.len < 2;
        walk->at = 1;
        break;
    }
}

static bool listpack_step(struct pack_walk *walk, struct listpack_item *ret) {
    if (walk->at == 0) {
        return false;
    }
    *ret = listpack_get(walk->bytes.ptr, walk->at);
    walk->at = listpack_next(walk->bytes.ptr, walk->at);
    return true;
}

bool pack_walk_next(struct pack_walk *walk, struct listpack_item *ret) {
    if (walk->bad) {
        return false;
    }
    bool more = walk->kind == PACK_LISTPACK  ? listpack_step(walk, ret)
                : walk->kind == PACK_ZIPLIST ? ziplist_next(walk, ret)
                                             : zipmap_next(walk, ret);
    walk->count += more;
    return more;
}
