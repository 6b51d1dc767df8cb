/* SPDX-License-Identifier: BSD-3-Clause */
/* The file is read in pieces of a megabyte behind what is left of the one before: more is in memory
 * only where one text is longer.
 */
#include "persist/snapshot/rdb_load.h"

#include "base/must.h"
#include "base/num.h"

#include <stdlib.h>

#define PIECE_BYTES (1u << 20)
/* What a file says of itself stands before that. */
#define HEAD_BYTES 4096
/* .. but for a Valkey, which tells of each slot on its way. */
#define SAID_BYTES (1024 * 1024)

struct load {
    const struct fs *fs;
    struct rdb_input input;
    int handle;
    char *buffer;
    size_t room;
    int error; /* -errno */
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
    ssize_t n =
        load->fs->read_data(load->fs->arg, load->handle, load->buffer + left, load->room - left);
    load->error = n < 0 ? (int)n : 0;
    load->input = rdb_input(bytes_make(load->buffer, left + (n > 0 ? (size_t)n : 0)));
    return n > 0;
}

static bool load_all(struct load *load, struct rdb_keys *keys) {
    enum rdb_keys_got got;
    while ((got = rdb_keys_some(keys, &load->input, UINT32_MAX)) != RDB_KEYS_END) {
        if (got == RDB_KEYS_BAD) {
            return false;
        }
        if (got == RDB_KEYS_MORE && !read_more(load)) {
            load->input.error = load->error != 0 ? "it cannot be read" : RDB_KEYS_CUT_OFF;
            return false;
        }
    }
    return true;
}

bool rdb_load(const struct fs *fs, const char *path, const struct rdb_keys_options *options,
              struct rdb_loaded *ret, struct text *why) {
    *ret = (struct rdb_loaded){0};
    struct load load = {.fs = fs};
    int error = fs->open_data(fs->arg, path, false, 0, &load.handle);
    if (error != 0) {
        text_appendf(why, "%s cannot be opened: %s", path, strerror(-error));
        return false;
    }
    struct rdb_keys keys;
    rdb_keys_init(&keys, options);
    bool whole = load_all(&load, &keys);
    *ret = keys.loaded;
    ret->bytes = keys.file.passed;
    if (!whole) {
        text_appendf(why, "%s is not loaded: %s (at byte %llu%s%s)", path, load.input.error,
                     (unsigned long long)keys.file.passed, load.error != 0 ? ", " : "",
                     load.error != 0 ? strerror(-load.error) : "");
    }
    rdb_keys_fini(&keys);
    free(load.buffer);
    fs->close_data(fs->arg, load.handle, false);
    return whole;
}

bool rdb_begins(const struct fs *fs, const char *path, bool relaxed, struct text *why) {
    char head[9]; /* a word and a version */
    int handle;
    int error = fs->open_data(fs->arg, path, false, 0, &handle);
    if (error != 0) {
        text_appendf(why, "%s cannot be opened: %s", path, strerror(-error));
        return false;
    }
    ssize_t n = fs->read_data(fs->arg, handle, head, sizeof head);
    fs->close_data(fs->arg, handle, false);
    struct rdb_file file;
    struct rdb_input input = rdb_input(bytes_make(head, n > 0 ? (size_t)n : 0));
    rdb_file_init(&file);
    file.relaxed = relaxed;
    enum rdb_item item = rdb_file_next(&file, &input);
    bool begins = item == RDB_ITEM_MORE && file.begun;
    if (!begins) {
        text_appendf(why, "%s is not loaded: %s", path,
                     input.error != NULL ? input.error : RDB_KEYS_CUT_OFF);
    }
    rdb_file_fini(&file);
    return begins;
}

bool rdb_says(const struct fs *fs, const char *path, const char *name, struct text *ret) {
    int handle;
    text_clear(ret);
    if (fs->open_data(fs->arg, path, false, 0, &handle) != 0) {
        return false;
    }
    char *head = must_malloc(SAID_BYTES);
    ssize_t n = fs->read_data(fs->arg, handle, head, SAID_BYTES);
    fs->close_data(fs->arg, handle, false);
    struct rdb_file file;
    struct rdb_input input = rdb_input(bytes_make(head, n > 0 ? (size_t)n : 0));
    rdb_file_init(&file);
    file.relaxed = true; /* who loads it looks at the version */
    bool says = false;
    while (rdb_file_next(&file, &input) == RDB_ITEM_AUX) {
        if (bytes_equal(file.texts[0].bytes, bytes_of_text(name))) {
            says = true;
            text_clear(ret);
            text_append_bytes(ret, file.texts[1].bytes);
        }
    }
    rdb_file_fini(&file);
    free(head);
    return says;
}

int64_t rdb_says_number(const struct fs *fs, const char *path, const char *name,
                        int64_t otherwise) {
    struct text said;
    int64_t number;
    text_init(&said);
    bool is = rdb_says(fs, path, name, &said) && num_parse_i64(text_bytes(&said), &number);
    text_fini(&said);
    return is ? number : otherwise;
}
