/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_range: XLEN, XRANGE, XREVRANGE. */
#include "server/call/errors.h"
#include "server/commands/stream/stream.h"
#include "server/commands/stream/stream_args.h"

void command_xlen(struct exec *x) {
    struct entry *entry;
    if (!exec_find(x, &x->key, TYPE_STREAM, LOOKUP_READ, &entry)) {
        return;
    }
    uint64_t length = 0;
    if (entry != NULL) {
        struct value value = entry_value_of(entry);
        length = stream_of(&value)->length;
    }
    reply_int(x->reply, (int64_t)length);
}

/* COUNT, the last of several; -1: there is none. */
static bool read_count(const struct exec *x, uint32_t i, int64_t *ret) {
    *ret = -1;
    for (; i < x->argc; i += 2) {
        if (i + 1 >= x->argc || !bytes_is(x->argv[i], "count")) {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
        if (!exec_arg_i64(x, i + 1, ret)) {
            return false;
        }
        *ret = *ret < 0 ? 0 : *ret;
    }
    return true;
}

static void range(struct exec *x, bool reverse) {
    struct stream_id from, to;
    int64_t count;
    struct entry *entry;
    if (!stream_arg_range(x, reverse ? 3 : 2, reverse ? 2 : 3, &from, &to) ||
        !read_count(x, 4, &count) || !exec_find(x, &x->key, TYPE_STREAM, LOOKUP_READ, &entry)) {
        return;
    }
    if (entry == NULL) {
        reply_array(x->reply, 0);
        return;
    }
    if (count == 0) {
        reply_null_array(x->reply);
        return;
    }
    struct value value = entry_value_of(entry);
    struct stream_iter iter;
    stream_iter_init(&iter, stream_of(&value), from, to, reverse);
    uint64_t left = stream_iter_count(&iter, count < 0 ? UINT64_MAX : (uint64_t)count);
    reply_array(x->reply, left);
    for (; left > 0 && stream_iter_next(&iter); left--) {
        reply_stream_entry(x->reply, &iter);
    }
}

void command_xrange(struct exec *x) {
    range(x, false);
}

void command_xrevrange(struct exec *x) {
    range(x, true);
}
