/* SPDX-License-Identifier: BSD-3-Clause */
/* source: see the header. It reads some kilobytes at a time; more stays in memory only where one
 * thing is longer.
 */
#include "persist/check/source.h"

#include "base/check.h"

#define PIECE_BYTES ((size_t)64 << 10)

int source_open(struct source *source, const struct fs *fs, const char *path) {
    *source = (struct source){.fs = fs, .limit = UINT64_MAX};
    text_init(&source->text);
    source->error = fs->open_data(fs->arg, path, false, 0, &source->file);
    source->is_open = source->error == 0;
    source->over = !source->is_open;
    return source->error;
}

void source_close(struct source *source) {
    if (source->is_open) {
        source->fs->close_data(source->fs->arg, source->file, false);
    }
    text_fini(&source->text);
}

void source_set_limit(struct source *source, uint64_t limit) {
    source->limit = limit;
}

int source_seek(struct source *source, uint64_t offset) {
    text_clear(&source->text);
    source->passed = 0;
    source->at = offset;
    source->error = source->fs->seek_data(source->fs->arg, source->file, offset);
    source->over = source->error != 0;
    return source->error;
}

bool source_more(struct source *source) {
    struct text *text = &source->text;
    if (source->over) {
        return false;
    }
    if (source->passed > 0) {
        memmove(text->ptr, text->ptr + source->passed, text->len - source->passed);
        text->len -= source->passed;
        source->passed = 0;
    }
    uint64_t end = source->at + text->len;
    uint64_t room = source->limit > end ? source->limit - end : 0;
    size_t want = room < PIECE_BYTES ? (size_t)room : PIECE_BYTES;
    text_reserve(text, want + 1);
    ssize_t n = want == 0 ? 0
                          : source->fs->read_data(source->fs->arg, source->file,
                                                  text->ptr + text->len, want);
    source->error = n < 0 ? (int)n : 0;
    source->over = n <= 0;
    text->len += n > 0 ? (size_t)n : 0;
    return n > 0;
}

void source_pass(struct source *source, size_t bytes) {
    check(bytes <= source->text.len - source->passed);
    source->passed += bytes;
    source->at += bytes;
}

int source_size(const struct source *source, uint64_t *ret_bytes) {
    return source->fs->size_data(source->fs->arg, source->file, ret_bytes);
}

void text_append_pattern(struct text *text, struct bytes path) {
    for (size_t i = 0; i < path.len; i++) {
        if (strchr("*?[]\\", path.ptr[i]) != NULL) {
            text_append_char(text, '\\');
        }
        text_append_char(text, path.ptr[i]);
    }
}
