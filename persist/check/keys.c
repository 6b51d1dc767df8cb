/* SPDX-License-Identifier: BSD-3-Clause */
/* keys: see the header. It is in a value or between two items; what is not whole waits in `left`
 * for more bytes, and a value that has begun keeps what it has.
 */
#include "persist/check/keys.h"

void keys_init(struct keys *keys, const struct keys_options *options, bool is_file) {
    *keys = (struct keys){.options = *options};
    rdb_file_init(&keys->file);
    if (!is_file) {
        keys->file.begun = keys->file.is_valkey = true;
        keys->file.version = RDB_VERSION_VALKEY;
    }
    keys->file.relaxed = true;
    text_init(&keys->name);
    text_init(&keys->left);
    keys->has_db = is_file;
}

void keys_fini(struct keys *keys) {
    if (keys->in_value) {
        size_t making = keyspace_making(keys->options.ks);
        value_read_fini(&keys->read);
        keyspace_made(keys->options.ks, making);
    }
    rdb_file_fini(&keys->file);
    text_fini(&keys->name);
    text_fini(&keys->left);
}

bool keys_is_between(const struct keys *keys) {
    return !keys->in_value && keys->left.len == 0;
}

void keys_begin_frame(struct keys *keys) {
    keys->has_db = false;
}

static const char *begin_value(struct keys *keys) {
    struct rdb_file *file = &keys->file;
    if (!keys->has_db) {
        return "a key without a database";
    }
    if (file->db >= KEYS_DATABASES_MAX) {
        return "a database that cannot be";
    }
    text_clear(&keys->name);
    text_append_bytes(&keys->name, file->texts[0].bytes);
    struct value_read_options how = {keys->options.rules, rdb_file_version(file), INT64_MIN};
    size_t making = keyspace_making(keys->options.ks);
    value_read_init(&keys->read, keys->options.ks, &how, file->type);
    keyspace_made(keys->options.ks, making);
    keys->in_value = true;
    return NULL;
}

static const char *end_value(struct keys *keys, enum value_read_result result) {
    const char *error = NULL;
    struct rdb_file *file = &keys->file;
    if (result == VALUE_EMPTY) {
        keys->empty++;
    } else {
        keys->count++;
        struct keys_key key = {
            .name = text_bytes(&keys->name),
            .db = (uint32_t)file->db,
            .slot = key_slot(text_bytes(&keys->name)),
            .type = keys->read.build.type,
            .expires_at = file->expires_at,
            .idle_seconds = file->idle_seconds,
            .frequency = file->frequency,
            .build = &keys->read.build,
        };
        error = keys->options.key(keys->options.arg, &key);
    }
    size_t making = keyspace_making(keys->options.ks);
    value_read_fini(&keys->read);
    keyspace_made(keys->options.ks, making);
    keys->in_value = false;
    rdb_file_forget_key(file);
    return error;
}

static const char *bad_value(struct keys *keys, const struct rdb_input *in) {
    struct text *why = keys->options.why;
    if (why == NULL) {
        return in->error;
    }
    text_clear(why);
    return value_read_is_unknown(&keys->read, text_bytes(&keys->name), why) ? why->ptr : in->error;
}

/* False: more bytes are needed, or *ret_error. */
static bool pass_value(struct keys *keys, struct rdb_input *in, const char **ret_error) {
    const char *before = in->at;
    size_t making = keyspace_making(keys->options.ks);
    enum value_read_result result = value_read_some(&keys->read, in);
    keyspace_made(keys->options.ks, making);
    rdb_file_passed(&keys->file, bytes_make(before, (size_t)(in->at - before)));
    if (result == VALUE_MORE) {
        return false;
    }
    *ret_error = result == VALUE_BAD ? bad_value(keys, in) : end_value(keys, result);
    return *ret_error == NULL;
}

/* The same of what is not a value. */
static bool pass_item(struct keys *keys, struct rdb_input *in, const char **ret_error) {
    switch (rdb_file_next(&keys->file, in)) {
    case RDB_ITEM_MORE:
        return false;
    case RDB_ITEM_KEY:
        *ret_error = begin_value(keys);
        break;
    case RDB_ITEM_DB:
        keys->has_db = true;
        break;
    case RDB_ITEM_FUNCTION:
        keys->functions++;
        if (keys->options.library != NULL) {
            *ret_error = keys->options.library(keys->options.arg, keys->file.texts[0].bytes);
        }
        break;
    case RDB_ITEM_END:
        keys->ended = true;
        break;
    case RDB_ITEM_BAD:
        *ret_error = in->error;
        break;
    default:
        break;
    }
    return *ret_error == NULL;
}

const char *keys_push(struct keys *keys, struct bytes bytes) {
    const char *error = NULL;
    text_append_bytes(&keys->left, bytes);
    struct rdb_input in = rdb_input(text_bytes(&keys->left));
    bool goes_on = true;
    while (goes_on && !keys->ended && (keys->in_value || rdb_left(&in) > 0)) {
        goes_on = keys->in_value ? pass_value(keys, &in, &error) : pass_item(keys, &in, &error);
    }
    if (error == NULL && keys->ended && !keys->stops && rdb_left(&in) > 0) {
        error = "something follows the end";
    }
    size_t left = rdb_left(&in);
    memmove(keys->left.ptr, in.at, left);
    keys->left.len = left;
    return error;
}
