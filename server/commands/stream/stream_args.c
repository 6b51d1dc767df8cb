/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_args: see the header. */
#include "server/commands/stream/stream_args.h"

#include "base/num.h"
#include "server/call/errors.h"

#include <string.h>

size_t stream_id_format(char *text, struct stream_id id) {
    size_t n = num_format_u64(text, id.ms);
    text[n++] = '-';
    return n + num_format_u64(text + n, id.seq);
}

/* Valkey reads ids from a buffer of this size that ends with NUL. */
#define ID_TEXT_MAX 127

enum id_words {
    ID_EDGES = 1 << 0,   /* - and + */
    ID_ANY_SEQ = 1 << 1, /* <ms>-* */
};

static bool parse_id(struct bytes text, uint64_t seq, unsigned words, bool *ret_any_seq,
                     struct stream_id *ret) {
    if (text.len > ID_TEXT_MAX) {
        return false;
    }
    const char *nul = memchr(text.ptr, 0, text.len);
    text.len = nul != NULL ? (size_t)(nul - text.ptr) : text.len;
    *ret_any_seq = false;
    if (text.len == 1 && (text.ptr[0] == '-' || text.ptr[0] == '+')) {
        *ret = text.ptr[0] == '-' ? STREAM_ID_MIN : STREAM_ID_MAX;
        return words & ID_EDGES;
    }
    const char *dash = memchr(text.ptr, '-', text.len);
    struct bytes ms = bytes_make(text.ptr, dash != NULL ? (size_t)(dash - text.ptr) : text.len);
    ret->seq = seq;
    if (!num_parse_u64(ms, &ret->ms)) {
        return false;
    }
    if (dash == NULL) {
        return true;
    }
    struct bytes rest = bytes_make(dash + 1, text.len - ms.len - 1);
    if (words & ID_ANY_SEQ && rest.len == 1 && rest.ptr[0] == '*') {
        *ret_any_seq = true;
        ret->seq = 0;
        return true;
    }
    return num_parse_u64(rest, &ret->seq);
}

static bool refuse_id(const struct exec *x) {
    reply_error(x->reply, "ERR Invalid stream ID specified as stream command argument");
    return false;
}

bool stream_arg_id(const struct exec *x, uint32_t argv_index, uint64_t seq, bool *ret_any_seq,
                   struct stream_id *ret) {
    bool any_seq;
    unsigned words = ret_any_seq != NULL ? ID_ANY_SEQ : 0;
    if (!parse_id(x->argv[argv_index], seq, words, &any_seq, ret)) {
        return refuse_id(x);
    }
    if (ret_any_seq != NULL) {
        *ret_any_seq = any_seq;
    }
    return true;
}

bool stream_id_parse(struct bytes text, struct stream_id *ret) {
    bool any_seq;
    return parse_id(text, 0, 0, &any_seq, ret);
}

/* One end; *ret_outside: it is not in the range itself. */
static bool arg_end(const struct exec *x, uint32_t argv_index, uint64_t seq, bool *ret_outside,
                    struct stream_id *ret) {
    struct bytes text = x->argv[argv_index];
    bool any_seq;
    *ret_outside = text.len > 1 && text.ptr[0] == '(';
    if (*ret_outside) {
        text = bytes_make(text.ptr + 1, text.len - 1);
    }
    return parse_id(text, seq, *ret_outside ? 0 : ID_EDGES, &any_seq, ret) || refuse_id(x);
}

bool stream_arg_from(const struct exec *x, uint32_t argv_index, struct stream_id *ret) {
    bool outside;
    if (!arg_end(x, argv_index, 0, &outside, ret)) {
        return false;
    }
    if (outside && !stream_id_up(ret)) {
        reply_error(x->reply, "ERR invalid start ID for the interval");
        return false;
    }
    return true;
}

bool stream_arg_range(const struct exec *x, uint32_t from_index, uint32_t to_index,
                      struct stream_id *ret_from, struct stream_id *ret_to) {
    bool outside;
    if (!stream_arg_from(x, from_index, ret_from)) {
        return false;
    }
    if (!arg_end(x, to_index, UINT64_MAX, &outside, ret_to)) {
        return false;
    }
    if (outside && !stream_id_down(ret_to)) {
        reply_error(x->reply, "ERR invalid end ID for the interval");
        return false;
    }
    return true;
}

void stream_no_group(const struct exec *x, struct bytes key, struct bytes group) {
    reply_errorf(x->reply, "NOGROUP No such consumer group '%.*s' for key name '%.*s'",
                 bytes_precision(group), group.ptr, bytes_precision(key), key.ptr);
}

/* ---- Replies ---- */

void reply_stream_id(struct reply *r, struct stream_id id) {
    char text[STREAM_ID_BYTES];
    reply_bulk(r, stream_id_text(text, id));
}

static void reply_item(struct reply *r, const struct listpack_item *item) {
    char scratch[NUM_I64_BYTES];
    reply_bulk(r, listpack_text(item, scratch));
}

void reply_stream_entry(struct reply *r, struct stream_iter *iter) {
    reply_array(r, 2);
    reply_stream_id(r, iter->id);
    reply_array(r, UINT64_C(2) * iter->fields);
    for (uint32_t i = 0; i < iter->fields; i++) {
        struct listpack_item field, value;
        stream_iter_field(iter, &field, &value);
        reply_item(r, &field);
        reply_item(r, &value);
    }
}
