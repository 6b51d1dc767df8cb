/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_read: XREAD: what came behind an id, of several streams.
 *
 * Streams of several shards are lent to the one that runs it. As in Valkey all keys are looked up
 * to read the ids, and once more to read the streams: both count, and tell of what is missing.
 */
#include "server/commands/stream/stream_read.h"
#include "base/check.h"
#include "base/must.h"
#include "server/call/errors.h"
#include "server/commands/stream/stream.h"

#include <stdlib.h>

/* ---- Words ---- */

static bool refuse_of_group(const struct exec *x, const char *option) {
    reply_errorf(x->reply,
                 "ERR The %s option is only supported by XREADGROUP. You called XREAD instead.",
                 option);
    return false;
}

/* One option at *i, which goes on to its last word. */
static bool read_option(const struct exec *x, uint32_t *i, struct read_request *r) {
    struct bytes word = x->argv[*i];
    uint32_t more = x->argc - *i - 1;
    if (more > 0 && bytes_is(word, "block")) {
        r->blocks = true;
        return exec_arg_timeout_ms(x, ++*i, &r->block_ms);
    }
    if (more > 0 && bytes_is(word, "count")) {
        int64_t count;
        if (!exec_arg_i64(x, ++*i, &count)) {
            return false;
        }
        r->count = count > 0 ? (uint64_t)count : UINT64_MAX;
        return true;
    }
    if (more > 1 && bytes_is(word, "group")) {
        r->group = x->argv[*i + 1];
        r->consumer = x->argv[*i + 2];
        *i += 2;
        r->has_group = true;
        return r->of_group || refuse_of_group(x, "GROUP");
    }
    if (bytes_is(word, "noack")) {
        r->no_ack = true;
        return r->of_group || refuse_of_group(x, "NOACK");
    }
    reply_error(x->reply, ERR_SYNTAX);
    return false;
}

bool read_request_parse(const struct exec *x, bool of_group, struct read_request *r) {
    *r = (struct read_request){.of_group = of_group, .count = UINT64_MAX};
    for (uint32_t i = 1; i < x->argc && r->first == 0; i++) {
        if (i + 1 < x->argc && bytes_is(x->argv[i], "streams")) {
            r->first = i + 1;
        } else if (!read_option(x, &i, r)) {
            return false;
        }
    }
    if (r->first == 0) {
        reply_error(x->reply, ERR_SYNTAX);
        return false;
    }
    uint32_t words = x->argc - r->first;
    if (words % 2 != 0) {
        reply_errorf(x->reply,
                     "ERR Unbalanced '%s' list of streams: for each stream key an ID or '%c' must "
                     "be specified.",
                     x->command->name, of_group ? '>' : '$');
        return false;
    }
    r->streams = words / 2;
    if (of_group && !r->has_group) {
        reply_error(x->reply, "ERR Missing GROUP option for XREADGROUP");
        return false;
    }
    return true;
}

/* Where the first key stands; 0: nowhere, and *ret_blocks as far as it was looked. */
static uint32_t find_streams(const struct bytes *argv, uint32_t argc, bool *ret_blocks) {
    *ret_blocks = false;
    for (uint32_t i = 1; i + 1 < argc; i++) {
        if (bytes_is(argv[i], "streams")) {
            return i + 1;
        }
        bool blocks = bytes_is(argv[i], "block");
        *ret_blocks |= blocks;
        i += blocks || bytes_is(argv[i], "count") ? 1 : bytes_is(argv[i], "group") ? 2 : 0;
    }
    return 0;
}

bool stream_read_blocks(const struct bytes *argv, uint32_t argc) {
    bool blocks;
    find_streams(argv, argc, &blocks);
    return blocks;
}

struct bytes stream_read_group(const struct bytes *argv, uint32_t argc) {
    uint32_t i = 1;
    while (i + 1 < argc && !bytes_is(argv[i], "group")) {
        i += bytes_is(argv[i], "block") || bytes_is(argv[i], "count") ? 2 : 1;
    }
    return i + 1 < argc ? argv[i + 1] : BYTES("");
}

uint32_t stream_waited_id(const struct exec *x) {
    bool blocks;
    uint32_t at = find_streams(x->argv, x->argc, &blocks);
    uint32_t streams = (x->argc - at) / 2;
    while (!exec_looks_at(x, at)) {
        at++;
    }
    return at + streams;
}

/* ---- XREAD ---- */

/* One of the streams, and what of it is asked for. */
struct source {
    const struct stream *stream; /* NULL: it is missing */
    struct stream_id after;
    struct stream_iter iter;
    uint64_t count;
};

#define SOURCES_ON_STACK 8

static bool is_word(struct bytes text, char word) {
    return text.len == 1 && text.ptr[0] == word;
}

/* The id behind which it is to be read. */
static bool read_after(const struct exec *x, uint32_t argv_index, const struct stream *stream,
                       struct stream_id *ret) {
    struct bytes text = x->argv[argv_index];
    bool is_last = is_word(text, '+');
    if (is_last || is_word(text, '$')) {
        *ret = stream != NULL ? stream->last : STREAM_ID_MIN;
        if (is_last) {
            stream_id_down(ret);
        }
        return true;
    }
    if (is_word(text, '>')) {
        reply_error(x->reply, "ERR The > ID can be specified only when calling XREADGROUP using "
                              "the GROUP <group> <consumer> option.");
        return false;
    }
    return stream_arg_id(x, argv_index, 0, NULL, ret);
}

static bool find_source(const struct exec *x, const struct read_request *r, uint32_t i,
                        struct source *source) {
    struct loan loan;
    source->stream = NULL;
    source->after = STREAM_ID_MIN;
    if (!exec_looks_at(x, r->first + i)) {
        return true;
    }
    if (exec_input(x, r->first + i, LOOKUP_READ, &loan)) {
        if (loan.value.type != TYPE_STREAM) {
            reply_error(x->reply, ERR_WRONG_TYPE);
            return false;
        }
        source->stream = stream_of(&loan.value);
    }
    return read_after(x, r->first + r->streams + i, source->stream, &source->after);
}

/* It was looked up a second time. */
static void look_again(const struct exec *x, uint32_t argv_index, bool present) {
    keyspace_count_lookup(x->keyspace, present, LOOKUP_READ);
    if (UNLIKELY(!present)) {
        struct key key = exec_key(x, argv_index);
        keyspace_note(x->keyspace, x->db, &key, EVENT_KEYMISS, TYPE_STRING);
    }
}

/* Whether it has something, of which iter and count are then; up to `max`. */
static bool has_more(struct source *source, uint64_t max) {
    const struct stream *stream = source->stream;
    struct stream_id from = source->after;
    if (stream == NULL || !stream_id_less(source->after, stream->last) || !stream_id_up(&from)) {
        return false;
    }
    stream_iter_init(&source->iter, stream, from, STREAM_ID_MAX, false);
    source->count = stream_iter_count(&source->iter, max);
    return source->count > 0;
}

void reply_streams_head(struct reply *r, uint32_t streams) {
    if (r->resp == 2) {
        reply_array(r, streams);
    } else {
        reply_map(r, streams);
    }
}

void reply_stream_name(struct reply *r, struct bytes name) {
    if (r->resp == 2) {
        reply_array(r, 2);
    }
    reply_bulk(r, name);
}

static void reply_source(const struct exec *x, struct bytes name, struct source *source) {
    reply_stream_name(x->reply, name);
    reply_array(x->reply, source->count);
    for (uint64_t left = source->count; left > 0 && stream_iter_next(&source->iter); left--) {
        reply_stream_entry(x->reply, &source->iter);
    }
}

/* `$` means the last entry that there is now. */
static bool wait(struct exec *x, const struct read_request *r, const struct source *sources) {
    for (uint32_t i = 0; i < r->streams; i++) {
        uint32_t id = r->first + r->streams + i;
        if (is_word(x->argv[id], '$')) {
            char text[STREAM_ID_BYTES];
            exec_wait_word(x, id, stream_id_text(text, sources[i].after));
        }
    }
    return exec_wait(x, r->block_ms);
}

/* Something has come that is not behind its id. As in Valkey it reads all the same, and is told of a
 * key that is no stream any more; that this became so was nothing to it. */
static enum waiter_answer look_at_others(const struct exec *x) {
    bool blocks;
    uint32_t first = find_streams(x->argv, x->argc, &blocks);
    for (uint32_t i = 0; i < (x->argc - first) / 2; i++) {
        const struct entry *entry = exec_peek_at(x, first + i);
        if (entry != NULL && entry_type(entry) != TYPE_STREAM) {
            return WAITER_SERVES;
        }
    }
    return WAITER_PASSES;
}

enum waiter_answer stream_read_ready(const struct exec *x) {
    const struct entry *entry = exec_peek(x);
    if (entry == NULL || entry_type(entry) != TYPE_STREAM) {
        return WAITER_PASSES;
    }
    struct value value = entry_value_of(entry);
    struct source source;
    source.stream = stream_of(&value);
    return read_after(x, stream_waited_id(x), source.stream, &source.after) && has_more(&source, 1)
               ? WAITER_SERVES
               : look_at_others(x);
}

static void reply_sources(struct exec *x, const struct read_request *r, struct source *sources) {
    uint32_t served = 0;
    for (uint32_t i = 0; i < r->streams; i++) {
        if (exec_looks_at(x, r->first + i)) {
            look_again(x, r->first + i, sources[i].stream != NULL);
        }
        if (!has_more(&sources[i], r->count)) {
            sources[i].stream = NULL;
        }
        served += sources[i].stream != NULL;
    }
    if (served == 0) {
        if (!r->blocks || !wait(x, r, sources)) {
            reply_null_array(x->reply);
        }
        return;
    }
    reply_streams_head(x->reply, served);
    for (uint32_t i = 0; i < r->streams; i++) {
        if (sources[i].stream != NULL) {
            reply_source(x, x->argv[r->first + i], &sources[i]);
        }
    }
}

void command_xread(struct exec *x) {
    struct read_request r;
    if (!read_request_parse(x, false, &r)) {
        return;
    }
    struct source on_stack[SOURCES_ON_STACK], *sources = on_stack;
    if (r.streams > SOURCES_ON_STACK) {
        sources = must_malloc(r.streams * sizeof *sources);
    }
    bool sound = true;
    for (uint32_t i = 0; sound && i < r.streams; i++) {
        sound = find_source(x, &r, i, &sources[i]);
    }
    if (sound) {
        reply_sources(x, &r, sources);
    }
    if (sources != on_stack) {
        free(sources);
    }
}
