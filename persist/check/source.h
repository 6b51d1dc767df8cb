/* SPDX-License-Identifier: BSD-3-Clause */
/* source: a file read from some place on, of which those bytes are kept that are not done with yet.
 *
 *     while (... bytes = source_bytes(&source) are too few ...) { if (!source_more(&source)) { ... } }
 *     source_pass(&source, n);
 *
 * Thread: one.
 */
#ifndef SHOAL_PERSIST_CHECK_SOURCE_H
#define SHOAL_PERSIST_CHECK_SOURCE_H

#include "base/text.h"
#include "net/file.h"

struct source {
    const struct fs *fs;
    int file;
    bool is_open;
    bool over;       /* there is nothing behind what is here */
    int error;       /* -errno of a read */
    uint64_t at;     /* in the file, of the first byte that is here */
    uint64_t limit;  /* the file counts up to here */
    struct text text;
    size_t passed; /* of it */
};

/* 0 or -errno; to be closed in any case. */
int source_open(struct source *source, const struct fs *fs, const char *path);
void source_close(struct source *source);
/* Nothing behind that byte is read. */
void source_set_limit(struct source *source, uint64_t limit);
/* Goes to another place. */
int source_seek(struct source *source, uint64_t offset);

static inline struct bytes source_bytes(const struct source *source) {
    return bytes_make(source->text.ptr + source->passed, source->text.len - source->passed);
}
/* Reads on. False: there is no more, or it cannot be read (`error`). */
bool source_more(struct source *source);
void source_pass(struct source *source, size_t bytes);

/* Of the file. 0 or -errno. */
int source_size(const struct source *source, uint64_t *ret_bytes);

/* A path as a pattern that matches nothing else. */
void text_append_pattern(struct text *text, struct bytes path);

#endif
