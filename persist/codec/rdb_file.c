/* SPDX-License-Identifier: BSD-3-Clause */
/* An item is read whole or not at all: what is missing in its middle makes the reader go back to
 * its first byte, and nothing of it was believed yet. What stands before a key (its deadline, how it
 * was used) is an item of its own here, kept until the key comes.
 */
#include "persist/codec/rdb_file.h"

#include "base/check.h"
#include "base/crc64.h"
#include "persist/codec/rdb_write.h"

#include <stdio.h>

/* Files before this version have no checksum. */
#define SUM_SINCE 5

/* ---- Reading ---- */

void rdb_file_forget_key(struct rdb_file *file) {
    file->expires_at = -1;
    file->idle_seconds = -1;
    file->frequency = -1;
}

void rdb_file_init(struct rdb_file *file) {
    *file = (struct rdb_file){0};
    rdb_file_forget_key(file);
}

void rdb_file_fini(struct rdb_file *file) {
    rdb_text_fini(&file->texts[0]);
    rdb_text_fini(&file->texts[1]);
}

void rdb_file_passed(struct rdb_file *file, struct bytes bytes) {
    file->passed += bytes.len;
    if (!file->trusted) { /* a fifth of the time that a start from a snapshot takes */
        file->sum = crc64(file->sum, bytes);
    }
}

/* "REDIS0011", "VALKEY080". */
static bool read_begin(struct rdb_file *file, struct rdb_input *in) {
    struct bytes magic;
    int64_t version;
    if (!rdb_get_raw(in, 9, &magic)) {
        return false;
    }
    bool redis = memcmp(magic.ptr, "REDIS", 5) == 0;
    file->is_valkey = memcmp(magic.ptr, "VALKEY", 6) == 0;
    size_t word = redis ? 5 : 6;
    for (size_t i = word; i < 9; i++) {
        if (magic.ptr[i] < '0' || magic.ptr[i] > '9') {
            redis = file->is_valkey = false;
        }
    }
    if (!redis && !file->is_valkey) {
        return rdb_fail(in, "it is no RDB file");
    }
    version = 0;
    for (size_t i = word; i < 9; i++) {
        version = version * 10 + (magic.ptr[i] - '0');
    }
    file->version = (unsigned)version;
    bool known = redis ? version >= 1 && version <= RDB_VERSION_REDIS_LAST
                       : version == RDB_VERSION_VALKEY;
    if (!known && !(file->relaxed && version > 0)) {
        return rdb_fail(in, "an RDB version that is not known (with rdb-version-check relaxed it is "
                            "read as far as its types are)");
    }
    file->begun = true;
    return true;
}

static bool get_lengths(struct rdb_input *in, uint64_t *ret, int count) {
    for (int i = 0; i < count; i++) {
        if (!rdb_get_length(in, &ret[i])) {
            return false;
        }
    }
    return true;
}

/* What a module has put down, up to its end. */
static bool pass_module(struct rdb_input *in) {
    enum { MODULE_END, MODULE_INT, MODULE_UINT, MODULE_FLOAT, MODULE_DOUBLE, MODULE_TEXT };
    for (;;) {
        uint64_t what, number;
        uint32_t four;
        if (!rdb_get_length(in, &what)) {
            return false;
        }
        bool got;
        switch (what) {
        case MODULE_END:
            return true;
        case MODULE_INT:
        case MODULE_UINT:
            got = rdb_get_length(in, &number);
            break;
        case MODULE_FLOAT:
            got = rdb_get_u32(in, &four);
            break;
        case MODULE_DOUBLE:
            got = rdb_get_u64(in, &number);
            break;
        case MODULE_TEXT:
            got = rdb_pass_text(in);
            break;
        default:
            got = rdb_fail(in, "data of a module that is broken");
        }
        if (!got) {
            return false;
        }
    }
}

static bool pass_slot_import(const struct rdb_file *file, struct rdb_input *in) {
    uint64_t ranges, ends[2];
    if (!file->is_valkey) {
        return rdb_fail(in, "what a module knows of a key: there are no modules here");
    }
    if (!rdb_pass_text(in) || !rdb_get_length(in, &ranges)) {
        return false;
    }
    for (uint64_t i = 0; i < ranges; i++) {
        if (!get_lengths(in, ends, 2)) {
            return false;
        }
    }
    return true;
}

/* The checksum has not been added to itself. */
static bool read_end(struct rdb_file *file, struct rdb_input *in) {
    uint64_t sum;
    if (file->version < SUM_SINCE) {
        return true;
    }
    uint64_t expected = crc64(file->sum, RDB_FILE_END);
    return rdb_get_u64(in, &sum) &&
           (file->trusted || sum == 0 || sum == expected || rdb_fail(in, "the checksum of the file is wrong"));
}

/* Behind an opcode. True: `*ret` is there. */
static bool read_opcode(struct rdb_file *file, struct rdb_input *in, uint8_t opcode,
                        enum rdb_item *ret) {
    uint64_t lengths[3], ms;
    uint32_t seconds;
    uint8_t frequency;
    *ret = RDB_ITEM_OTHER;
    switch (opcode) {
    case RDB_AUX:
        *ret = RDB_ITEM_AUX;
        return rdb_get_text(in, &file->texts[0]) && rdb_get_text(in, &file->texts[1]);
    case RDB_SELECT:
        *ret = RDB_ITEM_DB;
        return rdb_get_length(in, &file->db);
    case RDB_RESIZE:
        *ret = RDB_ITEM_SIZES;
        if (!get_lengths(in, lengths, 2)) {
            return false;
        }
        file->keys = lengths[0];
        file->deadlines = lengths[1];
        return true;
    case RDB_FUNCTION:
        *ret = RDB_ITEM_FUNCTION;
        return rdb_get_text(in, &file->texts[0]);
    case RDB_FUNCTION_PRE:
        return rdb_fail(in, "functions of a version that was never released");
    case RDB_MODULE_AUX:
        return get_lengths(in, lengths, 3) && pass_module(in);
    case RDB_SLOT_INFO:
        return get_lengths(in, lengths, 3);
    case RDB_SLOT_IMPORT:
        return pass_slot_import(file, in);
    case RDB_EXPIRY_MS:
        if (!rdb_get_u64(in, &ms)) {
            return false;
        }
        file->expires_at = (int64_t)ms;
        return true;
    case RDB_EXPIRY_SECONDS:
        if (!rdb_get_u32(in, &seconds)) {
            return false;
        }
        file->expires_at = (int64_t)(int32_t)seconds * 1000;
        return true;
    case RDB_IDLE:
        if (!rdb_get_length(in, &lengths[0])) {
            return false;
        }
        file->idle_seconds = lengths[0] < INT64_MAX ? (int64_t)lengths[0] : INT64_MAX;
        return true;
    case RDB_FREQUENCY:
        if (!rdb_get_byte(in, &frequency)) {
            return false;
        }
        file->frequency = frequency;
        return true;
    case RDB_END:
        *ret = RDB_ITEM_END;
        return read_end(file, in);
    default:
        *ret = RDB_ITEM_KEY;
        file->type = opcode;
        return rdb_get_text(in, &file->texts[0]);
    }
}

/* Belongs to the key that comes. */
static bool is_of_key(uint8_t opcode) {
    return opcode == RDB_EXPIRY_MS || opcode == RDB_EXPIRY_SECONDS || opcode == RDB_IDLE ||
           opcode == RDB_FREQUENCY;
}

unsigned rdb_file_version(const struct rdb_file *file) {
    bool foreign = file->version > RDB_VERSION_SHARED && !file->is_valkey;
    return foreign ? RDB_VERSION_REDIS : file->version;
}

enum rdb_item rdb_file_next(struct rdb_file *file, struct rdb_input *in) {
    for (;;) {
        const char *before = in->at;
        enum rdb_item item = RDB_ITEM_OTHER;
        uint8_t opcode = 0;
        bool got = file->begun
                       ? rdb_get_byte(in, &opcode) && read_opcode(file, in, opcode, &item)
                       : read_begin(file, in);
        if (in->error != NULL) {
            return RDB_ITEM_BAD;
        }
        if (!got) {
            in->at = before;
            return RDB_ITEM_MORE;
        }
        rdb_file_passed(file, bytes_make(before, (size_t)(in->at - before)));
        bool goes_on = item == RDB_ITEM_OTHER && (opcode == 0 || is_of_key(opcode));
        if (!goes_on) {
            return item;
        }
    }
}

/* ---- Writing ---- */

void rdb_file_put_begin(struct text *out, unsigned version) {
    bool valkey = version > RDB_VERSION_SHARED;
    text_appendf(out, valkey ? "VALKEY%03u" : "REDIS%04u", version);
}

void rdb_file_put_aux(struct text *out, struct bytes name, struct bytes value) {
    rdb_put_byte(out, RDB_AUX);
    rdb_put_text(out, name, false);
    rdb_put_text(out, value, false);
}

void rdb_file_put_select(struct text *out, uint32_t db) {
    rdb_put_byte(out, RDB_SELECT);
    rdb_put_length(out, db);
}

void rdb_file_put_db(struct text *out, uint32_t db, uint64_t keys, uint64_t deadlines) {
    rdb_file_put_select(out, db);
    rdb_put_byte(out, RDB_RESIZE);
    rdb_put_length(out, keys);
    rdb_put_length(out, deadlines);
}

void rdb_file_put_key(struct text *out, struct bytes name, enum rdb_type type, int64_t expires_at,
                      struct rdb_usage usage, bool compress) {
    if (expires_at != -1) {
        rdb_put_byte(out, RDB_EXPIRY_MS);
        rdb_put_u64(out, (uint64_t)expires_at);
    }
    if (usage.idle_seconds >= 0) {
        rdb_put_byte(out, RDB_IDLE);
        rdb_put_length(out, (uint64_t)usage.idle_seconds);
    }
    if (usage.frequency >= 0) {
        rdb_put_byte(out, RDB_FREQUENCY);
        rdb_put_byte(out, (uint8_t)usage.frequency);
    }
    rdb_put_byte(out, (uint8_t)type);
    rdb_put_text(out, name, compress);
}

void rdb_file_put_end(struct text *out, uint64_t sum) {
    text_append_bytes(out, RDB_FILE_END);
    rdb_put_u64(out, sum);
}
