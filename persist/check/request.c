/* SPDX-License-Identifier: BSD-3-Clause */
/* Lengths are as Redis and we write them, digits only: an AOF that somebody has written by hand with
 * anything else is told of.
 */
#include "persist/check/request.h"

#include "base/must.h"
#include "base/num.h"

#include <stdlib.h>

void request_words_fini(struct request_words *words) {
    free(words->argv);
    *words = (struct request_words){0};
}

/* A line of such a type with a number. */
static enum request_got take_length(struct bytes *in, char type, int64_t max, int64_t *ret) {
    if (in->len == 0) {
        return REQUEST_SHORT;
    }
    if (in->ptr[0] != type) {
        return REQUEST_BAD;
    }
    size_t look = in->len < NUM_I64_BYTES ? in->len : NUM_I64_BYTES;
    const char *end = memchr(in->ptr, '\r', look);
    if (end == NULL || end + 1 == in->ptr + in->len) {
        return end == NULL && look == NUM_I64_BYTES ? REQUEST_BAD : REQUEST_SHORT;
    }
    if (end[1] != '\n' ||
        !num_parse_i64(bytes_make(in->ptr + 1, (size_t)(end - in->ptr - 1)), ret) || *ret < 0 ||
        *ret > max) {
        return REQUEST_BAD;
    }
    *in = bytes_make(end + 2, in->len - (size_t)(end + 2 - in->ptr));
    return REQUEST_WHOLE;
}

static enum request_got take_word(struct bytes *in, struct bytes *ret) {
    int64_t length;
    enum request_got got = take_length(in, '$', INT64_MAX, &length);
    if (got != REQUEST_WHOLE) {
        return got;
    }
    if (in->len < 2 || (uint64_t)length > in->len - 2) {
        return REQUEST_SHORT;
    }
    if (in->ptr[length] != '\r' || in->ptr[length + 1] != '\n') {
        return REQUEST_BAD;
    }
    *ret = bytes_make(in->ptr, (size_t)length);
    *in = bytes_make(in->ptr + length + 2, in->len - (size_t)length - 2);
    return REQUEST_WHOLE;
}

enum request_got request_take(struct bytes *input, struct request_words *ret) {
    struct bytes in = *input;
    int64_t count;
    ret->argc = 0;
    enum request_got got = take_length(&in, '*', INT32_MAX, &count);
    if (got == REQUEST_WHOLE && count == 0) {
        got = REQUEST_BAD;
    }
    for (int64_t i = 0; got == REQUEST_WHOLE && i < count; i++) {
        if (ret->argc == ret->room) {
            ret->room = ret->room ? ret->room * 2 : 16;
            ret->argv = must_realloc(ret->argv, ret->room * sizeof *ret->argv);
        }
        got = take_word(&in, &ret->argv[ret->argc]);
        ret->argc += got == REQUEST_WHOLE;
    }
    if (got == REQUEST_WHOLE) {
        *input = in;
    }
    return got;
}

bool request_mark(struct bytes word, uint32_t *ret_db, uint32_t *ret_order) {
    const char *end = word.ptr + word.len;
    const char *dot = word.len > 0 ? memchr(word.ptr, '.', word.len) : NULL;
    int64_t db, order = 0;
    if (word.len == 0 || word.ptr[0] != '@' ||
        !num_parse_i64(bytes_make(word.ptr + 1, (size_t)((dot ? dot : end) - word.ptr - 1)), &db) ||
        (dot != NULL && (!num_parse_i64(bytes_make(dot + 1, (size_t)(end - dot - 1)), &order) ||
                         order <= 0 || order > INT32_MAX)) ||
        db < (dot == NULL) || db > INT32_MAX) {
        return false;
    }
    *ret_db = (uint32_t)db;
    *ret_order = (uint32_t)order;
    return true;
}

bool request_take_mark(struct request_words *words, uint32_t *ret_db, uint32_t *ret_order) {
    *ret_db = *ret_order = 0;
    if (words->argc == 0) {
        return false;
    }
    if (words->argv[0].len == 0 || words->argv[0].ptr[0] != '@') {
        return true;
    }
    if (words->argc < 2 || !request_mark(words->argv[0], ret_db, ret_order)) {
        return false;
    }
    memmove(words->argv, words->argv + 1, --words->argc * sizeof *words->argv);
    return true;
}
