/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers are copied out, as nothing in a file is aligned. Text that is not compressed is not copied.
 */
#include "persist/codec/rdb_read.h"

#include "base/crc64.h"
#include "base/must.h"
#include "persist/codec/rdb.h"

#include <liblzf/lzf.h>
#include <math.h>
#include <stdlib.h>

/* Three bytes of LZF say 264 at most. */
#define LZF_GROWTH_MAX 88

void rdb_text_fini(struct rdb_text *text) {
    free(text->room);
    *text = (struct rdb_text){0};
}

bool rdb_get_raw(struct rdb_input *in, size_t length, struct bytes *ret) {
    if (in->error != NULL || rdb_left(in) < length) {
        return false;
    }
    *ret = bytes_make(in->at, length);
    in->at += length;
    return true;
}

static bool get_copy(struct rdb_input *in, void *ret, size_t length) {
    struct bytes raw;
    if (!rdb_get_raw(in, length, &raw)) {
        return false;
    }
    memcpy(ret, raw.ptr, length);
    return true;
}

bool rdb_get_byte(struct rdb_input *in, uint8_t *ret) {
    return get_copy(in, ret, sizeof(*ret));
}

bool rdb_get_u32(struct rdb_input *in, uint32_t *ret) {
    return get_copy(in, ret, sizeof(*ret));
}

bool rdb_get_u64(struct rdb_input *in, uint64_t *ret) {
    return get_copy(in, ret, sizeof(*ret));
}

bool rdb_get_double(struct rdb_input *in, double *ret) {
    return get_copy(in, ret, sizeof(*ret));
}

bool rdb_get_digits(struct rdb_input *in, double *ret) {
    uint8_t length;
    struct bytes digits;
    if (!rdb_get_byte(in, &length)) {
        return false;
    }
    switch (length) {
    case 253:
        *ret = NAN;
        return true;
    case 254:
        *ret = INFINITY;
        return true;
    case 255:
        *ret = -INFINITY;
        return true;
    default:
        return rdb_get_raw(in, length, &digits) &&
               (num_parse_double(digits, ret) || rdb_fail(in, "a score that is no number"));
    }
}

/* ---- Lengths and texts ---- */

/* What begins with `first`: a length, or (`*ret_special`) one of enum rdb_length that is none. */
static bool get_length(struct rdb_input *in, uint64_t *ret, uint8_t *ret_special) {
    uint8_t first, second;
    uint32_t four;
    uint64_t eight;
    *ret_special = 0;
    if (!rdb_get_byte(in, &first)) {
        return false;
    }
    switch (first & 0xc0) {
    case RDB_LENGTH_6:
        *ret = first & 0x3f;
        return true;
    case RDB_LENGTH_14:
        if (!rdb_get_byte(in, &second)) {
            return false;
        }
        *ret = (uint64_t)(first & 0x3f) << 8 | second;
        return true;
    case RDB_LENGTH_32 & 0xc0:
        if (first == RDB_LENGTH_32 && rdb_get_u32(in, &four)) {
            *ret = __builtin_bswap32(four);
            return true;
        }
        if (first == RDB_LENGTH_64 && rdb_get_u64(in, &eight)) {
            *ret = __builtin_bswap64(eight);
            return true;
        }
        return first == RDB_LENGTH_32 || first == RDB_LENGTH_64 ? false
                                                                : rdb_fail(in, "an unknown length");
    default:
        *ret_special = first;
        return first <= RDB_TEXT_LZF || rdb_fail(in, "an unknown kind of text");
    }
}

bool rdb_get_length(struct rdb_input *in, uint64_t *ret) {
    uint8_t special;
    return get_length(in, ret, &special) && (special == 0 || rdb_fail(in, "a text for a length"));
}

static bool get_number(struct rdb_input *in, uint8_t kind, int64_t *ret) {
    int8_t i8 = 0;
    int16_t i16 = 0;
    int32_t i32 = 0;
    bool ok = kind == RDB_TEXT_INT8    ? get_copy(in, &i8, sizeof(i8))
              : kind == RDB_TEXT_INT16 ? get_copy(in, &i16, sizeof(i16))
                                       : get_copy(in, &i32, sizeof(i32));
    *ret = (int64_t)i8 + i16 + i32;
    return ok;
}

static bool get_compressed(struct rdb_input *in, struct bytes *ret, uint64_t *ret_length) {
    uint64_t packed;
    if (!rdb_get_length(in, &packed) || !rdb_get_length(in, ret_length)) {
        return false;
    }
    if (packed == 0 || *ret_length == 0 || packed > UINT32_MAX || *ret_length > UINT32_MAX ||
        *ret_length / LZF_GROWTH_MAX > packed) {
        return rdb_fail(in, "a compressed text that cannot be so long");
    }
    return rdb_get_raw(in, packed, ret);
}

static bool decompress(struct rdb_input *in, struct bytes packed, uint64_t length,
                       struct rdb_text *text) {
    if (text->room_bytes < length) {
        free(text->room);
        text->room = must_malloc(length);
        text->room_bytes = length;
    }
    unsigned got =
        lzf_decompress(packed.ptr, (unsigned)packed.len, text->room, (unsigned)length);
    text->bytes = bytes_make(text->room, length);
    return got == length || rdb_fail(in, "a compressed text that is broken");
}

bool rdb_get_text(struct rdb_input *in, struct rdb_text *text) {
    uint64_t length;
    uint8_t special;
    int64_t number;
    struct bytes packed;
    if (!get_length(in, &length, &special)) {
        return false;
    }
    switch (special) {
    case 0:
        return rdb_get_raw(in, length, &text->bytes);
    case RDB_TEXT_LZF:
        return get_compressed(in, &packed, &length) && decompress(in, packed, length, text);
    default:
        if (!get_number(in, special, &number)) {
            return false;
        }
        text->bytes = bytes_make(text->digits, num_format_i64(text->digits, number));
        return true;
    }
}

bool rdb_pass_text(struct rdb_input *in) {
    uint64_t length;
    uint8_t special;
    int64_t number;
    struct bytes passed;
    if (!get_length(in, &length, &special)) {
        return false;
    }
    switch (special) {
    case 0:
        return rdb_get_raw(in, length, &passed);
    case RDB_TEXT_LZF:
        return get_compressed(in, &passed, &length);
    default:
        return get_number(in, special, &number);
    }
}

/* ---- Dumps ---- */

bool rdb_version_is_known(unsigned version, bool relaxed) {
    return (version >= 1 && version <= RDB_VERSION_SHARED) || version == RDB_VERSION_VALKEY ||
           (relaxed && version > RDB_VERSION_SHARED);
}

bool rdb_get_footer(struct bytes dump, bool check_sum, struct bytes *ret_body,
                    unsigned *ret_version) {
    if (dump.len < RDB_FOOTER_BYTES) {
        return false;
    }
    size_t body = dump.len - RDB_FOOTER_BYTES;
    uint16_t version;
    uint64_t sum;
    memcpy(&version, dump.ptr + body, sizeof(version));
    memcpy(&sum, dump.ptr + body + sizeof(version), sizeof(sum));
    *ret_body = bytes_make(dump.ptr, body);
    *ret_version = version;
    return !check_sum || sum == crc64(0, bytes_make(dump.ptr, body + sizeof(version)));
}
