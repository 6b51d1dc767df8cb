/* SPDX-License-Identifier: BSD-3-Clause */
/* Lengths are looked at before the checksum, which is over as many bytes as they say; what a block
 * says about itself is believed only behind it.
 */
#include "persist/log/log_block.h"

#include "base/check.h"
#include "persist/log/log_bytes.h"

#include <lz4.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define VERSION 1

/* Less is not tried: some small writes, which have little in common. */
#define COMPRESS_MIN 1024
/* LZ4's acceleration: requests with values of no pattern take half the time of 1, and 2% more
 * room. */
#define HASTE 4
/* A large payload is tried with so many pieces. */
#define SAMPLES      8
#define SAMPLE_BYTES 8192
/* No compressed byte stands for more. */
#define LZ4_RATIO_MAX 255

static const char segment_magic[8] = "SHOALLOG";
static const char block_magic[8] = "ShBlock1";

/* ---- The header of a segment ---- */

enum {
    SEGMENT_VERSION = 8,
    SEGMENT_SHARD = 12,
    SEGMENT_GENERATION = 16,
    SEGMENT_SEQUENCE = 24,
    SEGMENT_CREATED = 32,
    SEGMENT_FIRST = 40,
    SEGMENT_SALT = 48,
    SEGMENT_HASH = 56
};

void log_segment_encode(const struct log_segment *segment, char to[LOG_SEGMENT_BYTES]) {
    memcpy(to, segment_magic, sizeof segment_magic);
    log_put_u32(to + SEGMENT_VERSION, VERSION);
    log_put_u32(to + SEGMENT_SHARD, segment->shard);
    log_put_u64(to + SEGMENT_GENERATION, segment->generation);
    log_put_u64(to + SEGMENT_SEQUENCE, segment->sequence);
    log_put_u64(to + SEGMENT_CREATED, segment->created_ms);
    log_put_u64(to + SEGMENT_FIRST, segment->first_record);
    log_put_u64(to + SEGMENT_SALT, segment->salt);
    log_put_u64(to + SEGMENT_HASH, XXH3_64bits(to, SEGMENT_HASH));
}

const char *log_segment_decode(struct bytes input, struct log_segment *ret) {
    if (input.len < LOG_SEGMENT_BYTES) {
        return "the file ends in its header";
    }
    const char *from = input.ptr;
    if (memcmp(from, segment_magic, sizeof segment_magic) != 0) {
        return "it is no segment of a log";
    }
    if (log_get_u64(from + SEGMENT_HASH) != XXH3_64bits(from, SEGMENT_HASH)) {
        return "the checksum of its header is wrong";
    }
    if (log_get_u32(from + SEGMENT_VERSION) != VERSION) {
        return "it is of an unknown version";
    }
    *ret = (struct log_segment){
        .shard = log_get_u32(from + SEGMENT_SHARD),
        .generation = log_get_u64(from + SEGMENT_GENERATION),
        .sequence = log_get_u64(from + SEGMENT_SEQUENCE),
        .created_ms = log_get_u64(from + SEGMENT_CREATED),
        .first_record = log_get_u64(from + SEGMENT_FIRST),
        .salt = log_get_u64(from + SEGMENT_SALT),
    };
    return NULL;
}

/* ---- The header of a block ---- */

enum {
    HEAD_HASH = 8,
    HEAD_STORED = 16,
    HEAD_RAW = 24,
    HEAD_OFFSET = 32,
    HEAD_FIRST = 40,
    HEAD_SYNCED = 48,
    HEAD_SAFE = 56,
    HEAD_TIME = 64,
    HEAD_STREAM_OFFSET = 72,
    HEAD_STREAM_ID = 80,
    HEAD_RECORDS = 100,
    HEAD_RUNS = 104,
    HEAD_RESERVED = 108
};

/* Of everything behind the checksum. */
static uint64_t hash_of(const char *block, uint64_t bytes, const struct log_segment *segment) {
    return XXH3_64bits_withSeed(block + HEAD_STORED, bytes - HEAD_STORED, segment->salt);
}

static void put_head(char *to, const struct log_block *block) {
    memcpy(to, block_magic, sizeof block_magic);
    log_put_u64(to + HEAD_STORED, block->stored_bytes);
    log_put_u64(to + HEAD_RAW, block->raw_bytes);
    log_put_u64(to + HEAD_OFFSET, block->offset);
    log_put_u64(to + HEAD_FIRST, block->first_record);
    log_put_u64(to + HEAD_SYNCED, block->synced);
    log_put_u64(to + HEAD_SAFE, block->safe);
    log_put_u64(to + HEAD_TIME, block->time_ms);
    log_put_u64(to + HEAD_STREAM_OFFSET, block->stream_offset);
    memcpy(to + HEAD_STREAM_ID, block->stream_id, LOG_ID_BYTES);
    log_put_u32(to + HEAD_RECORDS, block->records);
    log_put_u32(to + HEAD_RUNS, block->runs);
    log_put_u32(to + HEAD_RESERVED, 0);
}

static void get_head(const char *from, struct log_block *ret) {
    *ret = (struct log_block){
        .runs = log_get_u32(from + HEAD_RUNS),
        .stored_bytes = log_get_u64(from + HEAD_STORED),
        .raw_bytes = log_get_u64(from + HEAD_RAW),
        .offset = log_get_u64(from + HEAD_OFFSET),
        .first_record = log_get_u64(from + HEAD_FIRST),
        .synced = log_get_u64(from + HEAD_SYNCED),
        .safe = log_get_u64(from + HEAD_SAFE),
        .time_ms = log_get_u64(from + HEAD_TIME),
        .stream_offset = log_get_u64(from + HEAD_STREAM_OFFSET),
        .records = log_get_u32(from + HEAD_RECORDS),
    };
    memcpy(ret->stream_id, from + HEAD_STREAM_ID, LOG_ID_BYTES);
}

/* ---- Writing ---- */

/* Appends it, smaller than it is; returns how many bytes that took, or 0: it was not worth it. */
static uint64_t pack(struct text *out, struct bytes payload) {
    if (payload.len < COMPRESS_MIN || payload.len > LZ4_MAX_INPUT_SIZE) {
        return 0;
    }
    size_t room = payload.len - payload.len / 8; /* else it is not worth unpacking */
    text_reserve(out, room);
    int packed =
        LZ4_compress_fast(payload.ptr, out->ptr + out->len, (int)payload.len, (int)room, HASTE);
    if (packed <= 0) {
        return 0;
    }
    out->len += (size_t)packed;
    out->ptr[out->len] = 0;
    return (uint64_t)packed;
}

/* Appends the payload as it is, or smaller; returns how many bytes that took. */
static uint64_t store(struct text *out, struct bytes payload) {
    uint64_t packed = pack(out, payload);
    if (packed == 0) {
        text_append_bytes(out, payload);
    }
    return packed > 0 ? packed : payload.len;
}

/* Of pieces from all over it. */
static bool would_pack(struct bytes payload) {
    char out[SAMPLE_BYTES];
    uint64_t packed = 0;
    for (size_t i = 0; i < SAMPLES; i++) {
        const char *from = payload.ptr + (payload.len - SAMPLE_BYTES) / (SAMPLES - 1) * i;
        int n = LZ4_compress_fast(from, out, SAMPLE_BYTES, SAMPLE_BYTES, HASTE);
        packed += n > 0 ? (uint64_t)n : SAMPLE_BYTES;
    }
    return packed < (uint64_t)SAMPLES * SAMPLE_BYTES * 7 / 8;
}

static void put_runs(char *to, struct log_block *block, const struct log_run *runs) {
    uint64_t bytes = 0;
    block->records = 0;
    for (uint32_t i = 0; i < block->runs; i++, to += LOG_RUN_BYTES) {
        check(runs[i].number != 0);
        log_put_u64(to, runs[i].number);
        log_put_u64(to + 8, runs[i].bytes);
        log_put_u32(to + 16, runs[i].records);
        log_put_u32(to + 20, runs[i].parts);
        block->records += runs[i].records;
        bytes += runs[i].bytes;
    }
    check(bytes == block->raw_bytes);
}

static size_t front_bytes(const struct log_block *block) {
    check(block->runs > 0 && block->offset >= LOG_SEGMENT_BYTES);
    return LOG_HEAD_BYTES + (size_t)block->runs * LOG_RUN_BYTES;
}

/* The payload stands there already. */
static void put_front(char *head, const struct log_segment *segment, struct log_block *block,
                      const struct log_run *runs) {
    block->bytes = front_bytes(block) + block->stored_bytes;
    put_runs(head + LOG_HEAD_BYTES, block, runs);
    put_head(head, block);
    log_put_u64(head + HEAD_HASH, hash_of(head, block->bytes, segment));
}

void log_block_encode(struct text *out, const struct log_segment *segment, struct log_block *block,
                      const struct log_run *runs, struct bytes payload) {
    size_t start = out->len, front = front_bytes(block);
    text_reserve(out, front + payload.len);
    out->len += front;
    block->raw_bytes = payload.len;
    block->stored_bytes = store(out, payload);
    put_front(out->ptr + start, segment, block, runs);
}

void log_block_encode_large(struct text *payload, struct bytes before,
                            const struct log_segment *segment, struct log_block *block,
                            const struct log_run *runs) {
    size_t front = before.len + front_bytes(block);
    uint64_t packed = 0;
    block->raw_bytes = payload->len;
    if (payload->len > (size_t)SAMPLES * SAMPLE_BYTES && would_pack(text_bytes(payload))) {
        struct text out;
        text_init(&out);
        text_reserve(&out, front + payload->len - payload->len / 8);
        out.len = front;
        packed = pack(&out, text_bytes(payload));
        if (packed > 0) {
            text_fini(payload);
            *payload = out;
        } else {
            text_fini(&out);
        }
    }
    if (packed == 0) {
        text_reserve(payload, front);
        memmove(payload->ptr + front, payload->ptr, payload->len);
        payload->len += front;
        payload->ptr[payload->len] = 0;
    }
    block->stored_bytes = packed > 0 ? packed : block->raw_bytes;
    memcpy(payload->ptr, before.ptr, before.len);
    put_front(payload->ptr + before.len, segment, block, runs);
}

/* ---- Reading ---- */

static enum log_got bad(const char **ret_error, const char *error) {
    *ret_error = error;
    return LOG_BAD;
}

struct log_run log_block_run(const struct log_block *block, uint32_t i) {
    check(i < block->runs);
    const char *from = block->run_bytes.ptr + (size_t)i * LOG_RUN_BYTES;
    return (struct log_run){
        .number = log_get_u64(from),
        .bytes = log_get_u64(from + 8),
        .records = log_get_u32(from + 16),
        .parts = log_get_u32(from + 20),
    };
}

/* Its runs are what the header says they are. */
static bool runs_agree(const struct log_block *block) {
    uint64_t bytes = 0, records = 0;
    for (uint32_t i = 0; i < block->runs; i++) {
        struct log_run run = log_block_run(block, i);
        if (run.number == 0 || run.bytes > block->raw_bytes - bytes ||
            (run.records == 0) != (run.bytes == 0) || (run.parts == 0 && run.records != 0)) {
            return false;
        }
        bytes += run.bytes;
        records += run.records;
    }
    return bytes == block->raw_bytes && records == block->records && block->runs > 0;
}

enum log_got log_block_decode(struct bytes input, const struct log_segment *segment,
                              uint64_t offset, struct log_block *ret, const char **ret_error) {
    *ret_error = NULL;
    size_t magic = input.len < sizeof block_magic ? input.len : sizeof block_magic;
    if (memcmp(input.ptr, block_magic, magic) != 0) {
        return bad(ret_error, "no block begins there");
    }
    if (input.len < LOG_HEAD_BYTES) {
        return LOG_SHORT;
    }
    get_head(input.ptr, ret);
    if (ret->offset != offset) {
        return bad(ret_error, "a block of another place");
    }
    uint64_t left = input.len - LOG_HEAD_BYTES, table = (uint64_t)ret->runs * LOG_RUN_BYTES;
    if (ret->stored_bytes > ret->raw_bytes ||
        ret->raw_bytes / LZ4_RATIO_MAX > ret->stored_bytes) {
        return bad(ret_error, "lengths that cannot be");
    }
    if (table > left || ret->stored_bytes > left - table) {
        return LOG_SHORT;
    }
    ret->bytes = LOG_HEAD_BYTES + table + ret->stored_bytes;
    ret->run_bytes = bytes_make(input.ptr + LOG_HEAD_BYTES, (size_t)table);
    ret->stored = bytes_make(ret->run_bytes.ptr + table, (size_t)ret->stored_bytes);
    if (log_get_u64(input.ptr + HEAD_HASH) != hash_of(input.ptr, ret->bytes, segment)) {
        return bad(ret_error, "the checksum of a block is wrong");
    }
    if (!runs_agree(ret)) {
        return bad(ret_error, "a block's runs are not those of its header");
    }
    return LOG_WHOLE;
}

bool log_block_payload(const struct log_block *block, struct text *room, struct bytes *ret) {
    *ret = block->stored;
    if (block->stored_bytes == block->raw_bytes) {
        return true;
    }
    if (block->raw_bytes > LZ4_MAX_INPUT_SIZE) {
        return false;
    }
    text_clear(room);
    text_reserve(room, (size_t)block->raw_bytes);
    int raw = LZ4_decompress_safe(block->stored.ptr, room->ptr, (int)block->stored_bytes,
                                  (int)block->raw_bytes);
    if (raw < 0 || (uint64_t)raw != block->raw_bytes) {
        return false;
    }
    room->len = (size_t)raw;
    room->ptr[raw] = 0;
    *ret = text_bytes(room);
    return true;
}
