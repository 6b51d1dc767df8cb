/* SPDX-License-Identifier: BSD-3-Clause */
/* listpack: see the header.
 *
 * Encodings, by the first byte:
 *
 *     0xxxxxxx  0 to 127                       1110xxxx +1  text of up to 4095 bytes
 *     10xxxxxx  text of up to 63 bytes         0xF0     +4  text
 *     110xxxxx +1  13 bits, signed             0xF1 0xF2 0xF3 0xF4  16, 24, 32, 64 bits, signed
 *
 * The length behind an item has 7 bits to a byte; the last byte has the lowest, and all but the
 * first have their highest bit set: so it is read backwards until a byte has not.
 */
#include "shard/ds/listpack.h"

#include "base/check.h"

#define END           0xFF
#define ITEMS_UNKNOWN UINT16_MAX

enum { TEXT_32 = 0xF0, INT_16, INT_24, INT_32, INT_64 };

static inline const unsigned char *byte_at(const char *lp, size_t at) {
    return (const unsigned char *)lp + at;
}

static uint32_t read_u32(const unsigned char *p) {
    uint32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

/* ---- The header ---- */

static uint16_t header_items(const char *lp) {
    uint16_t items;
    memcpy(&items, lp + 4, sizeof items);
    return items;
}

static void write_header(char *lp, uint32_t bytes, uint16_t items) {
    memcpy(lp, &bytes, sizeof bytes);
    memcpy(lp + 4, &items, sizeof items);
}

void listpack_init(char *lp) {
    write_header(lp, LISTPACK_EMPTY_BYTES, 0);
    lp[LISTPACK_HEADER_BYTES] = (char)END;
}

void listpack_changed(char *lp, size_t bytes, int64_t items) {
    check_slow(bytes <= UINT32_MAX && *byte_at(lp, bytes - 1) == END);
    int64_t count = header_items(lp);
    if (count != ITEMS_UNKNOWN) {
        count += items;
        count = count < ITEMS_UNKNOWN ? count : ITEMS_UNKNOWN;
        check_slow(count >= 0);
    } else if (bytes == LISTPACK_EMPTY_BYTES) {
        count = 0;
    }
    write_header(lp, (uint32_t)bytes, (uint16_t)count);
}

/* ---- Sizes ---- */

/* Bytes of encoding and content. */
static inline size_t content_bytes(const unsigned char *p) {
    if (p[0] < 0x80) {
        return 1;
    }
    if (p[0] < 0xC0) {
        return 1 + (p[0] & 0x3Fu);
    }
    if (p[0] < 0xE0) {
        return 2;
    }
    if (p[0] < 0xF0) {
        return 2 + ((p[0] & 0xFu) << 8 | p[1]);
    }
    switch (p[0]) {
    case TEXT_32:
        return 5 + (size_t)read_u32(p + 1);
    case INT_16:
        return 3;
    case INT_24:
        return 4;
    case INT_32:
        return 5;
    case INT_64:
        return 9;
    default:
        return 1; /* the end */
    }
}

static inline size_t back_bytes(size_t content) {
    return content < 128         ? 1
           : content < 16383     ? 2
           : content < 2097151   ? 3
           : content < 268435455 ? 4
                                 : 5;
}

static inline size_t item_bytes(const unsigned char *p) {
    size_t content = content_bytes(p);
    return content + back_bytes(content);
}

size_t listpack_item_bytes(const char *lp, size_t at) {
    return item_bytes(byte_at(lp, at));
}

/* ---- Steps ---- */

size_t listpack_first(const char *lp) {
    return *byte_at(lp, LISTPACK_HEADER_BYTES) == END ? 0 : LISTPACK_HEADER_BYTES;
}

size_t listpack_next(const char *lp, size_t at) {
    at += item_bytes(byte_at(lp, at));
    return *byte_at(lp, at) == END ? 0 : at;
}

/* The item that ends where this one, or the end of all, begins. */
static size_t before(const char *lp, size_t at) {
    const unsigned char *p = byte_at(lp, at - 1);
    size_t content = 0;
    for (unsigned shift = 0;; shift += 7, p--) {
        content |= (size_t)(*p & 127) << shift;
        if (*p < 128) {
            break;
        }
    }
    return at - content - back_bytes(content);
}

size_t listpack_prev(const char *lp, size_t at) {
    return at == LISTPACK_HEADER_BYTES ? 0 : before(lp, at);
}

size_t listpack_last(const char *lp) {
    return listpack_prev(lp, listpack_bytes(lp) - 1);
}

uint32_t listpack_count(const char *lp) {
    uint32_t count = header_items(lp);
    if (UNLIKELY(count == ITEMS_UNKNOWN)) {
        count = 0;
        for (size_t at = listpack_first(lp); at != 0; at = listpack_next(lp, at)) {
            count++;
        }
    }
    return count;
}

size_t listpack_seek(const char *lp, int64_t index) {
    int64_t count = header_items(lp);
    if (count != ITEMS_UNKNOWN) {
        if (index < -count || index >= count) {
            return 0;
        }
        index = index < 0 ? index + count : index;
        index = index > count / 2 ? index - count : index; /* from the nearer end */
    }
    size_t at = index < 0 ? listpack_last(lp) : listpack_first(lp);
    for (; index > 0 && at != 0; index--) {
        at = listpack_next(lp, at);
    }
    for (; index < -1 && at != 0; index++) {
        at = listpack_prev(lp, at);
    }
    return at;
}

/* ---- Items ---- */

static int64_t read_int(const unsigned char *p) {
    int16_t i16;
    int32_t i32;
    int64_t i64;
    switch (p[0]) {
    case INT_16:
        memcpy(&i16, p + 1, sizeof i16);
        return i16;
    case INT_24:
        return (int32_t)((uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24) >> 8;
    case INT_32:
        memcpy(&i32, p + 1, sizeof i32);
        return i32;
    default:
        check_slow(p[0] == INT_64);
        memcpy(&i64, p + 1, sizeof i64);
        return i64;
    }
}

struct listpack_item listpack_get(const char *lp, size_t at) {
    const unsigned char *p = byte_at(lp, at);
    if (p[0] < 0x80) {
        return (struct listpack_item){.number = p[0]};
    }
    if (p[0] < 0xC0) {
        return (struct listpack_item){.text = lp + at + 1, .length = p[0] & 0x3Fu};
    }
    if (p[0] < 0xE0) {
        int64_t number = (p[0] & 0x1F) << 8 | p[1];
        return (struct listpack_item){.number = number >= 4096 ? number - 8192 : number};
    }
    if (p[0] < 0xF0) {
        return (struct listpack_item){.text = lp + at + 2, .length = (p[0] & 0xFu) << 8 | p[1]};
    }
    if (p[0] == TEXT_32) {
        return (struct listpack_item){.text = lp + at + 5, .length = read_u32(p + 1)};
    }
    return (struct listpack_item){.number = read_int(p)};
}

static size_t int_content_bytes(int64_t n) {
    if (n >= 0 && n <= 127) {
        return 1;
    }
    if (n >= -4096 && n <= 4095) {
        return 2;
    }
    if (n >= INT16_MIN && n <= INT16_MAX) {
        return 3;
    }
    if (n >= -8388608 && n <= 8388607) {
        return 4;
    }
    return n >= INT32_MIN && n <= INT32_MAX ? 5 : 9;
}

struct listpack_new listpack_new_int(int64_t number) {
    size_t content = int_content_bytes(number);
    return (struct listpack_new){.number = number, .is_number = true, .bytes = content + 1};
}

struct listpack_new listpack_new(struct bytes text) {
    int64_t number;
    if (text.len > 0 && text.len <= 20 && num_parse_i64(text, &number)) {
        return listpack_new_int(number);
    }
    size_t content = text.len + (text.len < 64 ? 1 : text.len < 4096 ? 2 : 5);
    return (struct listpack_new){.text = text, .bytes = content + back_bytes(content)};
}

static char *put_back_length(char *to, size_t content) {
    size_t n = back_bytes(content);
    for (size_t i = 0; i < n; i++) {
        unsigned bits = (unsigned)(content >> (7 * (n - 1 - i))) & 127;
        *to++ = (char)(i == 0 ? bits : bits | 128);
    }
    return to;
}

static char *put_int(char *to, int64_t n) {
    size_t content = int_content_bytes(n);
    uint64_t bits = (uint64_t)n;
    if (content == 1) {
        *to++ = (char)n;
    } else if (content == 2) {
        *to++ = (char)(0xC0 | ((bits >> 8) & 0x1F));
        *to++ = (char)bits;
    } else {
        *to++ = (char)(content == 9 ? INT_64 : INT_16 + (int)content - 3);
        memcpy(to, &bits, content - 1); /* little endian */
        to += content - 1;
    }
    return put_back_length(to, content);
}

char *listpack_put(char *to, const struct listpack_new *item) {
    if (item->is_number) {
        return put_int(to, item->number);
    }
    size_t n = item->text.len, head;
    if (n < 64) {
        head = 1;
        to[0] = (char)(0x80 | n);
    } else if (n < 4096) {
        head = 2;
        to[0] = (char)(0xE0 | n >> 8);
        to[1] = (char)n;
    } else {
        head = 5;
        uint32_t length = (uint32_t)n;
        to[0] = (char)TEXT_32;
        memcpy(to + 1, &length, sizeof length);
    }
    if (n > 0) {
        memcpy(to + head, item->text.ptr, n);
    }
    return put_back_length(to + head + n, head + n);
}

/* ---- Finding ---- */

bool listpack_equals(const char *lp, size_t at, const struct listpack_new *item) {
    struct listpack_item found = listpack_get(lp, at);
    if (item->is_number) {
        if (found.text == NULL) {
            return found.number == item->number;
        }
        return false; /* a text that reads as a number is stored as one */
    }
    return found.text != NULL && found.length == item->text.len &&
           memcmp(found.text, item->text.ptr, found.length) == 0;
}

size_t listpack_find(const char *lp, size_t from, const struct listpack_new *item,
                     uint32_t stride) {
    for (size_t at = from; at != 0;) {
        if (listpack_equals(lp, at, item)) {
            return at;
        }
        for (uint32_t i = 0; i < stride && at != 0; i++) {
            at = listpack_next(lp, at);
        }
    }
    return 0;
}

/* The last `limit` equal ones begin here; the first of all if there are fewer. */
static size_t find_last(const char *lp, const struct listpack_new *item, uint64_t limit) {
    size_t found = LISTPACK_HEADER_BYTES;
    for (size_t at = listpack_last(lp); at != 0 && limit > 0; at = listpack_prev(lp, at)) {
        if (listpack_equals(lp, at, item)) {
            found = at;
            limit--;
        }
    }
    return found;
}

uint32_t listpack_squeeze(char *lp, const struct listpack_new *item, uint64_t limit, bool from_tail,
                          size_t *ret_end) {
    size_t end = listpack_bytes(lp) - 1;
    size_t at = from_tail ? find_last(lp, item, limit) : LISTPACK_HEADER_BYTES, to = at;
    uint32_t removed = 0;
    while (at < end) {
        size_t bytes = listpack_item_bytes(lp, at);
        if (removed < limit && listpack_equals(lp, at, item)) {
            removed++;
        } else {
            memmove(lp + to, lp + at, removed > 0 ? bytes : 0);
            to += bytes;
        }
        at += bytes;
    }
    *ret_end = to;
    return removed;
}

/* ---- Foreign bytes ---- */

/* Whether an item begins here, with all of it before the end. */
static bool item_is_sound(const unsigned char *p, size_t left) {
    size_t head = p[0] >= 0xE0 && p[0] < 0xF0 ? 2 : p[0] == TEXT_32 ? 5 : 1;
    if (p[0] > INT_64 || left < head) {
        return false;
    }
    size_t content = content_bytes(p), back = back_bytes(content);
    if (content >= left || back > left - content) {
        return false;
    }
    char length[5];
    put_back_length(length, content);
    return memcmp(length, p + content, back) == 0;
}

bool listpack_is_sound(struct bytes bytes) {
    if (bytes.len < LISTPACK_EMPTY_BYTES || bytes.len > LISTPACK_BYTES_MAX ||
        listpack_bytes(bytes.ptr) != bytes.len || *byte_at(bytes.ptr, bytes.len - 1) != END) {
        return false;
    }
    uint32_t items = 0;
    size_t at = LISTPACK_HEADER_BYTES, end = bytes.len - 1;
    while (at < end) {
        if (!item_is_sound(byte_at(bytes.ptr, at), end - at)) {
            return false;
        }
        at += item_bytes(byte_at(bytes.ptr, at));
        items++;
    }
    uint16_t said = header_items(bytes.ptr);
    return at == end && (said == ITEMS_UNKNOWN || said == items);
}
