/* SPDX-License-Identifier: BSD-3-Clause */
/* What is put is as short as the format lets it be: most of a file are keys, small numbers and short
 * texts.
 */
#include "persist/codec/rdb_write.h"

#include "base/crc64.h"
#include "base/num.h"
#include "base/must.h"
#include "persist/codec/rdb.h"

#include <liblzf/lzf.h>
#include <stdlib.h>

/* Shorter texts are not worth the attempt. */
#define COMPRESS_MIN 20
/* Longer ones the library cannot count. */
#define COMPRESS_MAX (UINT32_C(1) << 31)
/* Longer texts are no number of 32 bits. */
#define NUMBER_MAX 11

void rdb_put_byte(struct text *out, uint8_t byte) {
    text_append_char(out, (char)byte);
}

static void put_big_endian(struct text *out, uint64_t number, int bytes) {
    char raw[8];
    for (int i = 0; i < bytes; i++) {
        raw[i] = (char)(number >> 8 * (bytes - 1 - i));
    }
    text_append(out, raw, (size_t)bytes);
}

void rdb_put_length(struct text *out, uint64_t length) {
    if (length < 1 << 6) {
        rdb_put_byte(out, (uint8_t)(RDB_LENGTH_6 | length));
    } else if (length < 1 << 14) {
        put_big_endian(out, RDB_LENGTH_14 << 8 | length, 2);
    } else if (length <= UINT32_MAX) {
        rdb_put_byte(out, RDB_LENGTH_32);
        put_big_endian(out, length, 4);
    } else {
        rdb_put_byte(out, RDB_LENGTH_64);
        put_big_endian(out, length, 8);
    }
}

void rdb_put_u64(struct text *out, uint64_t number) {
    text_append(out, &number, sizeof(number));
}

void rdb_put_double(struct text *out, double number) {
    text_append(out, &number, sizeof(number));
}

void rdb_put_plain(struct text *out, struct bytes text) {
    rdb_put_length(out, text.len);
    text_append_bytes(out, text);
}

/* True: it is put. */
static bool put_number(struct text *out, int64_t number) {
    int8_t i8 = (int8_t)number;
    int16_t i16 = (int16_t)number;
    int32_t i32 = (int32_t)number;
    if (i8 == number) {
        rdb_put_byte(out, RDB_TEXT_INT8);
        text_append(out, &i8, sizeof(i8));
    } else if (i16 == number) {
        rdb_put_byte(out, RDB_TEXT_INT16);
        text_append(out, &i16, sizeof(i16));
    } else if (i32 == number) {
        rdb_put_byte(out, RDB_TEXT_INT32);
        text_append(out, &i32, sizeof(i32));
    } else {
        return false;
    }
    return true;
}

void rdb_put_int(struct text *out, int64_t number) {
    if (!put_number(out, number)) {
        char digits[NUM_I64_BYTES];
        rdb_put_plain(out, bytes_make(digits, num_format_i64(digits, number)));
    }
}

/* True: it is put, and shorter. */
static bool put_compressed(struct text *out, struct bytes text) {
    if (text.len <= COMPRESS_MIN || text.len >= COMPRESS_MAX) {
        return false;
    }
    char *room = must_malloc(text.len);
    /* At least the four bytes that say both lengths are to be saved. */
    unsigned length =
        lzf_compress(text.ptr, (unsigned)text.len, room, (unsigned)text.len - 4);
    if (length > 0) {
        rdb_put_byte(out, RDB_TEXT_LZF);
        rdb_put_length(out, length);
        rdb_put_length(out, text.len);
        text_append(out, room, length);
    }
    free(room);
    return length > 0;
}

void rdb_put_text(struct text *out, struct bytes text, bool compress) {
    int64_t number;
    if (text.len <= NUMBER_MAX && num_parse_i64(text, &number) && put_number(out, number)) {
        return;
    }
    if (!compress || !put_compressed(out, text)) {
        rdb_put_plain(out, text);
    }
}

void rdb_put_footer_after(struct text *out, uint64_t crc, unsigned version) {
    uint16_t raw = (uint16_t)version;
    text_append(out, &raw, sizeof(raw));
    rdb_put_u64(out, crc64(crc, bytes_make((const char *)&raw, sizeof(raw))));
}

void rdb_put_footer(struct text *out, size_t start, unsigned version) {
    uint64_t crc = crc64(0, bytes_make(out->ptr + start, out->len - start));
    rdb_put_footer_after(out, crc, version);
}
