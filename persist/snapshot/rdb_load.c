/* SPDX-License-Identifier: BSD-3-Clause */
/* The file is read in pieces of a megabyte behind what is left of the one before: more is in memory
 * only where one text is longer. A value is built while its bytes pass.
 */
#include "persist/snapshot/rdb_load.h"

#include "base/must.h"
#include "persist/codec/rdb_file.h"
#include "persist/codec/value_read.h"

#include <stdlib.h>

#define PIECE_BYTES (1u << 20)

struct load {
    const struct rdb_load_options *options;
    struct rdb_loaded *loaded;
    struct rdb_file file;
    struct rdb_input input;
    int handle;
    char *buffer;
    size_t room;
    bool over; /* the file has no more bytes */
    int error; /* -errno */
    struct text name;
};

/* More bytes behind those that are left. False: there are none. */
static bool read_more(struct load *load) {
    size_t left = rdb_left(&load->input);
    if (left > 0 && load->input.at != load->buffer) {
        memmove(load->buffer, load->input.at, left);
    }
    if (load->room - left < PIECE_BYTES) {
        load->room = left * 2 + PIECE_BYTES;
        load->buffer = must_realloc(load->buffer, load->room);
    }
    const struct fs *fs = load->options->fs;
    ssize_t n = fs->read_data(fs->arg, load->handle, load->buffer + left, load->room - left);
    load->error = n < 0 ? (int)n : 0;
    load->over = n <= 0;
    load->input = rdb_input(bytes_make(load->buffer, left + (n > 0 ? (size_t)n : 0)));
    return n > 0;
}

/* ---- A key ---- */

static bool fail(struct load *load, const char *reason) {
    load->input.error = reason;
    return false;
}

static bool read_value(struct load *load, struct value_read *read,
                       enum value_read_result *ret_result) {
    for (;;) {
        const char *before = load->input.at;
        *ret_result = value_read_some(read, &load->input);
        rdb_file_passed(&load->file, bytes_make(before, (size_t)(load->input.at - before)));
        if (*ret_result == VALUE_BAD) {
            return false;
        }
        if (*ret_result != VALUE_MORE) {
            return true;
        }
        if (!read_more(load)) {
            return fail(load, "the file ends in the middle of a value");
        }
    }
}

static bool put_key(struct load *load, struct keyspace *ks, const struct key *key,
                    struct value_read *read) {
    const struct rdb_file *file = &load->file;
    int64_t now_ms = load->options->now_ms;
    uint32_t db = (uint32_t)file->db;
    if (keyspace_find_any(ks, db, key) != NULL) {
        return fail(load, "a key is there twice");
    }
    if (file->expires_at != NO_EXPIRY && file->expires_at < now_ms) {
        load->loaded->expired++;
        return true;
    }
    size_t making = keyspace_making(ks);
    struct value value = value_build_take(&read->build);
    keyspace_made(ks, making);
    keyspace_take(ks, db, key, &value, file->expires_at, now_ms, EVENT_RESTORE);
    keyspace_set_usage(ks, db, key, file->idle_seconds, file->frequency, now_ms);
    load->loaded->keys++;
    return true;
}

static bool load_key(struct load *load) {
    const struct rdb_load_options *options = load->options;
    struct rdb_file *file = &load->file;
    /* The input will move. */
    text_clear(&load->name);
    text_append_bytes(&load->name, file->texts[0].bytes);
    struct key key = key_make(options->secret, text_bytes(&load->name));
    struct keyspace *ks = options->keyspace_of(options->arg, key.slot);
    /* Only Valkey's files have the fields with deadlines that we know. */
    unsigned version = file->version > RDB_VERSION_SHARED && !file->is_valkey ? RDB_VERSION_SHARED
                                                                             : file->version;
    struct value_read_options how = {options->rules, version, options->now_ms};
    struct value_read read;
    enum value_read_result result;
    size_t making = keyspace_making(ks);
    value_read_init(&read, ks, &how, file->type);
    bool sound = read_value(load, &read, &result);
    keyspace_made(ks, making);
    if (sound && result == VALUE_EMPTY) {
        load->loaded->empty++;
    } else if (sound) {
        sound = put_key(load, ks, &key, &read);
    }
    making = keyspace_making(ks);
    value_read_fini(&read);
    keyspace_made(ks, making);
    rdb_file_forget_key(file);
    return sound;
}

/* ---- The file ---- */

static bool load_items(struct load *load) {
    struct rdb_file *file = &load->file;
    for (;;) {
        switch (rdb_file_next(file, &load->input)) {
        case RDB_ITEM_MORE:
            if (!read_more(load)) {
                return fail(load, load->error != 0 ? "it cannot be read" : "the file is cut off");
            }
            break;
        case RDB_ITEM_DB:
            if (file->db >= load->options->databases) {
                return fail(load, "a database beyond those that are configured");
            }
            break;
        case RDB_ITEM_KEY:
            if (!load_key(load)) {
                return false;
            }
            break;
        case RDB_ITEM_FUNCTION:
            load->loaded->functions++;
            break;
        case RDB_ITEM_BAD:
            return false;
        case RDB_ITEM_END:
            return true;
        default:
            break;
        }
    }
}

bool rdb_load(const struct rdb_load_options *options, struct rdb_loaded *ret, struct text *why) {
    *ret = (struct rdb_loaded){0};
    struct load load = {.options = options, .loaded = ret};
    const struct fs *fs = options->fs;
    int error = fs->open_data(fs->arg, options->path, false, 0, &load.handle);
    if (error != 0) {
        text_appendf(why, "%s cannot be opened: %s", options->path, strerror(-error));
        return false;
    }
    rdb_file_init(&load.file);
    load.file.relaxed = options->relaxed;
    load.file.trusted = !options->check_sum;
    text_init(&load.name);
    bool whole = load_items(&load);
    ret->bytes = load.file.passed;
    if (!whole) {
        text_appendf(why, "%s is not loaded: %s (at byte %llu%s%s)", options->path,
                     load.input.error, (unsigned long long)load.file.passed,
                     load.error != 0 ? ", " : "", load.error != 0 ? strerror(-load.error) : "");
    }
    rdb_file_fini(&load.file);
    text_fini(&load.name);
    free(load.buffer);
    fs->close_data(fs->arg, load.handle, false);
    return whole;
}
