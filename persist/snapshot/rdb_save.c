/* SPDX-License-Identifier: BSD-3-Clause */
/* Database by database, as the format has it, and in each shard by shard. What is written is gathered
 * up to a megabyte; a large value is written in pieces of that size.
 */
#include "persist/snapshot/rdb_save.h"

#include "base/crc64.h"
#include "base/num.h"
#include "persist/codec/rdb_file.h"
#include "persist/codec/rdb_write.h"
#include "persist/codec/value_write.h"

#include <string.h>

#define PIECE_BYTES (1u << 20)
#define KEYS_AT_ONCE 64

struct save {
    const struct rdb_save_options *options;
    struct rdb_saved *saved;
    const struct keyspace *keyspace; /* whose keys are put */
    struct text out;
    unsigned version;
    uint64_t sum;
    int file;
    int error;
};

static void flush(struct save *save) {
    if (save->out.len > 0 && save->error == 0) {
        const struct fs *fs = save->options->fs;
        save->error = fs->write_data(fs->arg, save->file, text_bytes(&save->out));
        if (save->options->check_sum) {
            save->sum = crc64(save->sum, text_bytes(&save->out));
        }
        save->saved->bytes += save->out.len;
    }
    text_clear(&save->out);
}

/* ---- Keys ---- */

static void put_key(void *arg, struct entry *entry) {
    struct save *save = arg;
    const struct rdb_save_options *options = save->options;
    struct usage_clock usage = {options->usage, save->keyspace, options->now_ms};
    struct value value = entry_value_of(entry);
    struct value_write write;
    if (save->error != 0) {
        return;
    }
    value_write_begin(&write, &value, save->version, options->compress);
    rdb_file_put_key(&save->out, entry_key(entry), write.type, entry_expires_at(entry),
                     usage_of(&usage, entry), options->compress);
    while (!value_write_some(&write, &save->out, PIECE_BYTES)) {
        flush(save);
    }
    if (save->out.len >= PIECE_BYTES) {
        flush(save);
    }
    save->saved->keys++;
}

static void put_keys(struct save *save, uint32_t db) {
    const struct rdb_save_options *options = save->options;
    for (unsigned i = 0; i < options->count; i++) {
        uint64_t cursor = 0;
        save->keyspace = options->keyspaces[i];
        do {
            cursor = keyspace_scan(options->keyspaces[i], db, cursor, KEYS_AT_ONCE, options->now_ms,
                                   put_key, save);
        } while (cursor != 0);
    }
}

/* ---- The file ---- */

struct sums {
    uint64_t keys, deadlines, volatiles;
};

static struct sums sums_of(const struct save *save, uint32_t db) {
    struct sums sums = {0};
    for (unsigned i = 0; i < save->options->count; i++) {
        const struct keyspace *ks = save->options->keyspaces[i];
        sums.keys += keyspace_count(ks, db);
        sums.deadlines += keyspace_count_expiring(ks, db);
        sums.volatiles += keyspace_count_volatile(ks, db);
    }
    return sums;
}

static void put_number(struct save *save, const char *name, uint64_t number) {
    char digits[NUM_I64_BYTES];
    rdb_file_put_aux(&save->out, bytes_of_text(name),
                     bytes_make(digits, num_format_u64(digits, number)));
}

static void put_begin(struct save *save) {
    const struct rdb_save_options *options = save->options;
    save->version = RDB_VERSION_MIN;
    for (uint32_t db = 0; db < options->databases; db++) {
        if (sums_of(save, db).volatiles > 0) {
            save->version = RDB_VERSION_VALKEY;
        }
    }
    rdb_file_put_begin(&save->out, save->version);
    rdb_file_put_aux(&save->out, BYTES("redis-ver"), bytes_of_text(options->redis_version));
    rdb_file_put_aux(&save->out, BYTES("valkey-ver"), bytes_of_text(options->valkey_version));
    put_number(save, "redis-bits", 64);
    put_number(save, "ctime", (uint64_t)options->now_ms / 1000);
    put_number(save, "used-mem", options->used_memory);
    put_number(save, "aof-base", 0);
}

static void put_all(struct save *save) {
    put_begin(save);
    text_append_bytes(&save->out, save->options->libraries);
    for (uint32_t db = 0; db < save->options->databases; db++) {
        struct sums sums = sums_of(save, db);
        if (sums.keys > 0) {
            rdb_file_put_db(&save->out, db, sums.keys, sums.deadlines);
            put_keys(save, db);
        }
    }
    flush(save);
    uint64_t sum = save->options->check_sum ? crc64(save->sum, RDB_FILE_END) : 0;
    rdb_file_put_end(&save->out, sum);
    flush(save);
}

bool rdb_save(const struct rdb_save_options *options, struct rdb_saved *ret, struct text *why) {
    *ret = (struct rdb_saved){0};
    struct save save = {.options = options, .saved = ret};
    const struct fs *fs = options->fs;
    int error = fs->open_data(fs->arg, options->temporary, true, 0600, &save.file);
    if (error != 0) {
        text_appendf(why, "%s cannot be made: %s", options->temporary, strerror(-error));
        return false;
    }
    text_init(&save.out);
    put_all(&save);
    text_fini(&save.out);
    error = fs->close_data(fs->arg, save.file, true);
    error = save.error != 0 ? save.error : error;
    error = error != 0 ? error : fs->rename(fs->arg, options->temporary, options->path);
    if (error != 0) {
        text_appendf(why, "%s cannot be written: %s", options->path, strerror(-error));
        fs->remove(fs->arg, options->temporary);
    }
    return error == 0;
}
