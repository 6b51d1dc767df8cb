/* SPDX-License-Identifier: BSD-3-Clause */
/* The parser on any bytes: whole against split, with and without authentication. The first byte of
 * the input chooses how the rest is cut, so that the fuzzer finds cuts as it finds streams. */
#include "base/check.h"
#include "base/text.h"
#include "proto/parser.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
    struct parser parser;
    struct parser_limits limits;
    struct arena arena;
    struct text events;
};

static void run_open(struct run *run, bool authenticated) {
    run->limits = (struct parser_limits){.bulk_len_max = 1 << 20, .authenticated = authenticated};
    parser_init(&run->parser);
    arena_init(&run->arena, 1024);
    text_init(&run->events);
}

static void run_close(struct run *run) {
    parser_fini(&run->parser);
    arena_fini(&run->arena);
    text_fini(&run->events);
}

static void run_note(struct run *run, enum parse_status status, const struct request *request,
                     size_t consumed) {
    text_appendf(&run->events, "%d:", (int)status);
    if (status == PARSE_ERROR) {
        text_append_bytes(&run->events, parser_error(&run->parser));
        return;
    }
    text_appendf(&run->events, "%zu;", consumed);
    if (status == PARSE_EMPTY) {
        return;
    }
    check(request->argc >= 1 && request->bytes == consumed);
    for (uint32_t i = 0; i < request->argc; i++) {
        text_appendf(&run->events, "%zu,%d:", request->argv[i].len, request->inlined);
        text_append_bytes(&run->events, request->argv[i]);
    }
}

/* Requests out of `stream` from *from on; false after an error. The bytes are copied to memory of
 * their exact size, so that reading one too many is seen, and at another address each time, because
 * they may move between calls. */
static bool run_some(struct run *run, const char *stream, size_t *from, size_t to) {
    for (;;) {
        size_t n = to - *from;
        char *copy = malloc(n ? n : 1);
        memcpy(copy, stream + *from, n);
        struct request request;
        size_t consumed = 0;
        enum parse_status status = parser_run(&run->parser, &run->limits, bytes_make(copy, n),
                                              &run->arena, &request, &consumed);
        if (status != PARSE_MORE) {
            run_note(run, status, &request, consumed);
            check(consumed > 0 && consumed <= n);
            *from += consumed;
        }
        free(copy);
        arena_reset(&run->arena);
        if (status == PARSE_MORE || status == PARSE_ERROR) {
            check(status == PARSE_ERROR || parser_bytes_needed(&run->parser) == 0 ||
                  parser_bytes_needed(&run->parser) > n);
            return status == PARSE_MORE;
        }
    }
}

static void compare(const char *stream, size_t size, size_t part, bool authenticated) {
    struct run whole, parts;
    run_open(&whole, authenticated);
    run_open(&parts, authenticated);
    size_t from = 0;
    run_some(&whole, stream, &from, size);
    size_t parts_from = 0;
    for (size_t to = 0; to < size;) {
        to = size - to > part ? to + part : size;
        if (!run_some(&parts, stream, &parts_from, to)) {
            break;
        }
    }
    check(bytes_equal(text_bytes(&whole.events), text_bytes(&parts.events)));
    run_close(&whole);
    run_close(&parts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) {
        return 0;
    }
    const char *stream = (const char *)data + 1;
    size_t part = 1 + data[0] % 64;
    /* Long inputs in tiny parts take quadratic time for nothing new. */
    part = part > size / 256 ? part : size / 256;
    compare(stream, size - 1, part, data[0] < 192);
    return 0;
}
