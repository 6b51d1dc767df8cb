/* SPDX-License-Identifier: BSD-3-Clause */
/* rdb_keys: see the header. Strings, which most keys are, are taken from where they stand; other
 * values are put together by value_read, in slices.
 */
#include "persist/snapshot/rdb_keys.h"

void rdb_keys_init(struct rdb_keys *keys, const struct rdb_keys_options *options) {
    *keys = (struct rdb_keys){.options = *options};
    rdb_file_init(&keys->file);
    keys->file.relaxed = options->relaxed;
    keys->file.trusted = !options->check_sum;
    if (options->frames) {
        keys->file.begun = true;
        keys->file.trusted = true; /* frames have checksums of their own */
        keys->file.is_valkey = true;
        keys->file.version = RDB_VERSION_VALKEY;
    }
    text_init(&keys->name);
    text_init(&keys->why);
}

static struct keyspace *where(const struct rdb_keys *keys) {
    return keys->ks != NULL ? keys->ks : keys->options.any;
}

void rdb_keys_leave_value(struct rdb_keys *keys) {
    if (keys->in_value) {
        size_t making = keyspace_making(where(keys));
        value_read_fini(&keys->read);
        keyspace_made(where(keys), making);
        keys->in_value = false;
    }
    rdb_file_forget_key(&keys->file);
}

void rdb_keys_fini(struct rdb_keys *keys) {
    rdb_keys_leave_value(keys);
    rdb_file_fini(&keys->file);
    rdb_text_fini(&keys->text);
    text_fini(&keys->name);
    text_fini(&keys->why);
}

bool rdb_keys_in_own_key(const struct rdb_keys *keys) {
    return keys->in_value && keys->ks != NULL;
}

static bool is_over(const struct rdb_keys *keys) {
    int64_t expires_at = keys->file.expires_at;
    return expires_at != NO_EXPIRY && expires_at < keys->options.now_ms && !keys->options.keep_over;
}

static void put(struct rdb_keys *keys, const struct value *value) {
    const struct rdb_file *file = &keys->file;
    uint32_t db = keys->options.first_db + (uint32_t)file->db;
    int64_t now_ms = keys->options.now_ms;
    keyspace_add(keys->ks, db, &keys->key, value, file->expires_at, now_ms);
    if (file->idle_seconds >= 0 || file->frequency >= 0) {
        keyspace_set_usage(keys->ks, db, &keys->key, file->idle_seconds, file->frequency, now_ms);
    }
    keys->loaded.keys++;
}

/* It is there already, and stays. One that is over in the file replaces nothing. */
static bool is_twice(struct rdb_keys *keys) {
    uint32_t db = keys->options.first_db + (uint32_t)keys->file.db;
    if (keyspace_find_any(keys->ks, db, &keys->key) == NULL) {
        return false;
    }
    if (keys->options.replaces && !is_over(keys)) {
        keyspace_delete(keys->ks, db, &keys->key, keys->options.now_ms, false, EVENT_DEL);
        return keyspace_find_any(keys->ks, db, &keys->key) != NULL;
    }
    return !keys->options.replaces;
}

/* ---- Values ---- */

static void begin_value(struct rdb_keys *keys) {
    const struct rdb_file *file = &keys->file;
    int64_t alive_ms = keys->options.keep_over ? INT64_MIN : keys->options.now_ms;
    struct value_read_options how = {keys->options.rules, rdb_file_version(file), alive_ms};
    size_t making = keyspace_making(where(keys));
    value_read_init(&keys->read, where(keys), &how, file->type);
    keyspace_made(where(keys), making);
    keys->in_value = true;
}

static bool fail(struct rdb_input *input, const char *error) {
    input->error = error;
    return false;
}

/* The value is whole, or is none. */
static bool end_value(struct rdb_keys *keys, struct rdb_input *input, bool empty) {
    bool sound = true;
    if (keys->ks == NULL) {
        return true;
    }
    if (empty) {
        keys->loaded.empty++;
    } else if (is_twice(keys)) {
        sound = fail(input, "a key is there twice");
    } else if (is_over(keys)) {
        keys->loaded.expired++;
    } else {
        size_t making = keyspace_making(keys->ks);
        struct value value = value_build_take(&keys->read.build);
        keyspace_made(keys->ks, making);
        put(keys, &value);
    }
    return sound;
}

/* Goes on with the value. False: bytes are missing, or it is bad. */
static bool go_on(struct rdb_keys *keys, struct rdb_input *input) {
    const char *before = input->at;
    size_t making = keyspace_making(where(keys));
    enum value_read_result got = value_read_some(&keys->read, input);
    keyspace_made(where(keys), making);
    rdb_file_passed(&keys->file, bytes_make(before, (size_t)(input->at - before)));
    if (got == VALUE_MORE || got == VALUE_BAD) {
        if (got == VALUE_BAD &&
            value_read_is_unknown(&keys->read, text_bytes(&keys->name), &keys->why)) {
            input->error = keys->why.ptr;
        }
        return false;
    }
    bool sound = end_value(keys, input, got == VALUE_EMPTY);
    rdb_keys_leave_value(keys);
    return sound;
}

/* ---- Keys ---- */

/* A string that is there whole; false: it is not, or is bad. */
static bool take_string(struct rdb_keys *keys, struct rdb_input *input) {
    const char *before = input->at;
    if (!rdb_get_text(input, &keys->text)) {
        input->at = input->error != NULL ? input->at : before;
        return false;
    }
    rdb_file_passed(&keys->file, bytes_make(before, (size_t)(input->at - before)));
    bool sound = true;
    if (keys->ks != NULL) {
        if (is_twice(keys)) {
            sound = fail(input, "a key is there twice");
        } else if (is_over(keys)) {
            keys->loaded.expired++;
        } else {
            size_t making = keyspace_making(keys->ks);
            struct value value = string_new(keyspace_heap(keys->ks), keys->text.bytes);
            keyspace_made(keys->ks, making);
            put(keys, &value);
        }
    }
    rdb_file_forget_key(&keys->file);
    return sound;
}

/* Behind a key's name. False: more bytes are needed, or it is bad. */
static bool begin_key(struct rdb_keys *keys, struct rdb_input *input) {
    struct bytes name = keys->file.texts[0].bytes;
    keys->key = key_make(keys->options.secret, name);
    keys->ks = keys->options.keyspace_of(keys->options.arg, keys->key.slot);
    if (keys->file.type == RDB_STRING) {
        if (take_string(keys, input)) {
            return true;
        }
        if (input->error != NULL) {
            return false;
        }
    }
    /* The input will move. */
    text_clear(&keys->name);
    text_append_bytes(&keys->name, name);
    keys->key.name = text_bytes(&keys->name);
    begin_value(keys);
    return go_on(keys, input);
}

static enum rdb_keys_got not_yet(const struct rdb_input *input) {
    return input->error != NULL ? RDB_KEYS_BAD : RDB_KEYS_MORE;
}

enum rdb_keys_got rdb_keys_some(struct rdb_keys *keys, struct rdb_input *input, uint32_t budget) {
    struct rdb_file *file = &keys->file;
    if (keys->in_value && !go_on(keys, input)) {
        return not_yet(input);
    }
    for (uint32_t done = 0; done < budget;) {
        switch (rdb_file_next(file, input)) {
        case RDB_ITEM_MORE:
            return RDB_KEYS_MORE;
        case RDB_ITEM_DB:
            if (file->db >= keys->options.databases) {
                input->error = "a database beyond those that are configured";
                return RDB_KEYS_BAD;
            }
            break;
        case RDB_ITEM_KEY:
            if (!begin_key(keys, input)) {
                return not_yet(input);
            }
            done++;
            break;
        case RDB_ITEM_FUNCTION:
            keys->loaded.functions++;
            if (keys->options.library != NULL &&
                !keys->options.library(keys->options.arg, file->texts[0].bytes)) {
                input->error = "a library of functions that does not load";
                return RDB_KEYS_BAD;
            }
            break;
        case RDB_ITEM_BAD:
            return RDB_KEYS_BAD;
        case RDB_ITEM_END:
            return RDB_KEYS_END;
        default:
            break;
        }
    }
    return RDB_KEYS_SLICE;
}
