/* SPDX-License-Identifier: BSD-3-Clause */
/* The reader of replies on any bytes: whole against split. The first byte of the input chooses how
 * the rest is cut, so that the fuzzer finds cuts as it finds streams. */
#include "base/check.h"
#include "base/text.h"
#include "proto/reader.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct reader_limits limits = {.bulk_len_max = 1 << 20, .values_max = 1000};

static void note(struct text *events, const struct reader_reply *reply, size_t consumed) {
    text_appendf(events, "%zu:", consumed);
    check(reply->count >= 1 && reply->count <= limits.values_max);
    /* Each value lies within the one that holds it, and all of them make up the reply. */
    for (uint32_t i = 0; i < reply->count; i++) {
        const struct reader_value *value = &reply->values[i];
        check(value->span >= 1 && value->span <= reply->count - i);
        check(value->kind >= READER_ARRAY || value->span == 1);
        const struct reader_value *in = value + 1;
        for (int64_t left = value->kind >= READER_ARRAY ? value->integer : 0; left > 0;) {
            check(in < reader_next(value));
            left -= in->kind != READER_ATTRIBUTE;
            in = reader_next(in);
        }
        check(in == reader_next(value));
        text_appendf(events, "%d,%u,%lld:", (int)value->kind, value->span,
                     (long long)value->integer);
        text_append_bytes(events, value->text);
    }
    check(reader_next(reader_reply_value(reply)) == reply->values + reply->count);
}

/* Replies out of `stream` from *from on; false after an error. The bytes are copied to memory of
 * their exact size, so that reading one too many is seen, and at another address each time. */
static bool run_some(struct reader *reader, struct text *events, const char *stream, size_t *from,
                     size_t to) {
    for (;;) {
        size_t n = to - *from, consumed = 0;
        char *copy = malloc(n ? n : 1);
        memcpy(copy, stream + *from, n);
        struct reader_reply reply;
        enum read_status status =
            reader_run(reader, &limits, bytes_make(copy, n), &reply, &consumed);
        if (status == READ_REPLY) {
            check(consumed > 0 && consumed <= n);
            note(events, &reply, consumed);
            *from += consumed;
        } else if (status == READ_ERROR) {
            text_append_text(events, reader->error);
        } else {
            check(reader_bytes_needed(reader) > n);
        }
        check(reader->capacity <= 64 || reader->capacity <= 2 * n);
        free(copy);
        if (status != READ_REPLY) {
            return status == READ_MORE;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) {
        return 0;
    }
    const char *stream = (const char *)data + 1;
    size--;
    size_t part = 1 + data[0] % 64;
    /* Long inputs in tiny parts take quadratic time for nothing new. */
    part = part > size / 256 ? part : size / 256;
    struct reader whole, parts;
    struct text whole_events, parts_events;
    reader_init(&whole);
    reader_init(&parts);
    text_init(&whole_events);
    text_init(&parts_events);
    size_t from = 0;
    run_some(&whole, &whole_events, stream, &from, size);
    from = 0;
    for (size_t to = 0; to < size;) {
        to = size - to > part ? to + part : size;
        if (!run_some(&parts, &parts_events, stream, &from, to)) {
            break;
        }
    }
    check(bytes_equal(text_bytes(&whole_events), text_bytes(&parts_events)));
    reader_fini(&whole);
    reader_fini(&parts);
    text_fini(&whole_events);
    text_fini(&parts_events);
    return 0;
}
