/* SPDX-License-Identifier: BSD-3-Clause */
/* Lengths are looked at before the checksum, which is over as many bytes as they say; what a frame
 * says about itself is believed only behind it.
 */
#include "persist/snapshot/frames.h"

#include "base/check.h"
#include "persist/log/log_bytes.h"
#include "shard/keys/keyspace.h"

#include <lz4.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define VERSION 1

/* Less is not tried. */
#define PACK_MIN 128

static const char file_magic[8] = "SHOALSNP";
static const char frame_magic[8] = "ShFrame1";

/* ---- The header of a file ---- */

enum {
    FILE_VERSION = 8,
    FILE_SHARD = 12,
    FILE_SHARDS = 16,
    FILE_RESERVED = 20,
    FILE_GENERATION = 24,
    FILE_CREATED = 32,
    FILE_NUMBER = 40,
    FILE_SALT = 48,
    FILE_HASH = 56
};

void frames_head_encode(const struct frames_head *head, char to[FRAMES_HEAD_BYTES]) {
    memcpy(to, file_magic, sizeof file_magic);
    log_put_u32(to + FILE_VERSION, VERSION);
    log_put_u32(to + FILE_SHARD, head->shard);
    log_put_u32(to + FILE_SHARDS, head->shards);
    log_put_u32(to + FILE_RESERVED, 0);
    log_put_u64(to + FILE_GENERATION, head->generation);
    log_put_u64(to + FILE_CREATED, head->created_ms);
    log_put_u64(to + FILE_NUMBER, head->number);
    log_put_u64(to + FILE_SALT, head->salt);
    log_put_u64(to + FILE_HASH, XXH3_64bits(to, FILE_HASH));
}

const char *frames_head_decode(struct bytes input, struct frames_head *ret) {
    if (input.len < FRAMES_HEAD_BYTES) {
        return "the file ends in its header";
    }
    const char *from = input.ptr;
    if (memcmp(from, file_magic, sizeof file_magic) != 0) {
        return "it is no file of a snapshot";
    }
    if (log_get_u64(from + FILE_HASH) != XXH3_64bits(from, FILE_HASH)) {
        return "the checksum of its header is wrong";
    }
    if (log_get_u32(from + FILE_VERSION) != VERSION) {
        return "it is of an unknown version";
    }
    *ret = (struct frames_head){
        .shard = log_get_u32(from + FILE_SHARD),
        .shards = log_get_u32(from + FILE_SHARDS),
        .generation = log_get_u64(from + FILE_GENERATION),
        .created_ms = log_get_u64(from + FILE_CREATED),
        .number = log_get_u64(from + FILE_NUMBER),
        .salt = log_get_u64(from + FILE_SALT),
    };
    return NULL;
}

/* ---- The header of a frame ---- */

enum {
    FRAME_HASH = 8,
    FRAME_STORED = 16,
    FRAME_RAW = 20,
    FRAME_INDEX = 24,
    FRAME_OFFSET = 32,
    FRAME_KEYS = 40,
    FRAME_FLAGS = 48,
    FRAME_SLOT_FIRST = 52,
    FRAME_SLOT_LAST = 56,
    FRAME_RESERVED = 60
};

/* Of everything behind the checksum. */
static uint64_t hash_of(const char *frame, uint64_t bytes, const struct frames_head *head) {
    return XXH3_64bits_withSeed(frame + FRAME_STORED, bytes - FRAME_STORED, head->salt);
}

static void put_head(char *to, const struct frame *frame) {
    memcpy(to, frame_magic, sizeof frame_magic);
    log_put_u32(to + FRAME_STORED, frame->stored_bytes);
    log_put_u32(to + FRAME_RAW, frame->raw_bytes);
    log_put_u64(to + FRAME_INDEX, frame->index);
    log_put_u64(to + FRAME_OFFSET, frame->offset);
    log_put_u64(to + FRAME_KEYS, frame->keys);
    log_put_u32(to + FRAME_FLAGS, frame->flags);
    log_put_u32(to + FRAME_SLOT_FIRST, frame->slot_first);
    log_put_u32(to + FRAME_SLOT_LAST, frame->slot_last);
    memset(to + FRAME_RESERVED, 0, FRAME_HEAD_BYTES - FRAME_RESERVED);
}

static void get_head(const char *from, struct frame *ret) {
    *ret = (struct frame){
        .index = log_get_u64(from + FRAME_INDEX),
        .offset = log_get_u64(from + FRAME_OFFSET),
        .keys = log_get_u64(from + FRAME_KEYS),
        .flags = log_get_u32(from + FRAME_FLAGS),
        .slot_first = (uint16_t)log_get_u32(from + FRAME_SLOT_FIRST),
        .slot_last = (uint16_t)log_get_u32(from + FRAME_SLOT_LAST),
        .raw_bytes = log_get_u32(from + FRAME_RAW),
        .stored_bytes = log_get_u32(from + FRAME_STORED),
    };
    ret->bytes = (uint64_t)FRAME_HEAD_BYTES + ret->stored_bytes;
}

/* ---- Writing ---- */

/* Appends it as it is, or smaller; returns how many bytes that took. */
static uint32_t store(struct text *out, struct bytes raw, bool pack) {
    if (pack && raw.len >= PACK_MIN) {
        size_t room = raw.len - raw.len / 16; /* else it is not worth unpacking */
        text_reserve(out, room);
        int packed = LZ4_compress_default(raw.ptr, out->ptr + out->len, (int)raw.len, (int)room);
        if (packed > 0) {
            out->len += (size_t)packed;
            out->ptr[out->len] = 0;
            return (uint32_t)packed;
        }
    }
    text_append_bytes(out, raw);
    return (uint32_t)raw.len;
}

void frame_encode(struct text *out, const struct frames_head *head, struct frame *frame,
                  struct bytes raw, bool pack) {
    check(raw.len <= FRAME_RAW_MAX && frame->offset >= FRAMES_HEAD_BYTES);
    size_t start = out->len;
    text_reserve(out, FRAME_HEAD_BYTES + raw.len);
    out->len += FRAME_HEAD_BYTES;
    frame->raw_bytes = (uint32_t)raw.len;
    frame->stored_bytes = store(out, raw, pack);
    frame->bytes = (uint64_t)FRAME_HEAD_BYTES + frame->stored_bytes;
    char *to = out->ptr + start;
    put_head(to, frame);
    log_put_u64(to + FRAME_HASH, hash_of(to, frame->bytes, head));
}

/* ---- Reading ---- */

static enum frame_got bad(const char **ret_error, const char *error) {
    *ret_error = error;
    return FRAME_BAD;
}

enum frame_got frame_peek(struct bytes input, uint64_t index, uint64_t offset, struct frame *ret,
                          const char **ret_error) {
    *ret_error = NULL;
    size_t magic = input.len < sizeof frame_magic ? input.len : sizeof frame_magic;
    if (memcmp(input.ptr, frame_magic, magic) != 0) {
        return bad(ret_error, "no frame begins there");
    }
    if (input.len < FRAME_HEAD_BYTES) {
        return FRAME_SHORT;
    }
    get_head(input.ptr, ret);
    if (ret->offset != offset || ret->index != index) {
        return bad(ret_error, "a frame of another place");
    }
    if (ret->raw_bytes > FRAME_RAW_MAX || ret->stored_bytes > ret->raw_bytes) {
        return bad(ret_error, "lengths that cannot be");
    }
    /* Who passes frames relies on this: its slots are somebody's. */
    if (ret->slot_first > ret->slot_last || ret->slot_last >= SLOTS) {
        return bad(ret_error, "slots that cannot be");
    }
    return FRAME_WHOLE;
}

enum frame_got frame_decode(struct bytes input, const struct frames_head *head, uint64_t index,
                            uint64_t offset, struct frame *ret, size_t *ret_need,
                            const char **ret_error) {
    *ret_need = FRAME_HEAD_BYTES;
    enum frame_got got = frame_peek(input, index, offset, ret, ret_error);
    if (got != FRAME_WHOLE) {
        return got;
    }
    if (input.len < ret->bytes) {
        *ret_need = (size_t)ret->bytes;
        return FRAME_SHORT;
    }
    if (log_get_u64(input.ptr + FRAME_HASH) != hash_of(input.ptr, ret->bytes, head)) {
        return bad(ret_error, "the checksum of a frame is wrong");
    }
    if ((ret->flags & ~(FRAME_GOES_ON | FRAME_LAST)) != 0 ||
        ((ret->flags & FRAME_LAST) != 0 && ret->raw_bytes != 0)) {
        return bad(ret_error, "a frame's header makes no sense");
    }
    ret->stored = bytes_make(input.ptr + FRAME_HEAD_BYTES, ret->stored_bytes);
    return FRAME_WHOLE;
}

bool frame_raw(const struct frame *frame, struct text *room, struct bytes *ret) {
    *ret = frame->stored;
    if (frame->stored_bytes == frame->raw_bytes) {
        return true;
    }
    text_clear(room);
    text_reserve(room, frame->raw_bytes);
    int raw = LZ4_decompress_safe(frame->stored.ptr, room->ptr, (int)frame->stored_bytes,
                                  (int)frame->raw_bytes);
    if (raw < 0 || (uint32_t)raw != frame->raw_bytes) {
        return false;
    }
    room->len = (size_t)raw;
    room->ptr[raw] = 0;
    *ret = text_bytes(room);
    return true;
}
