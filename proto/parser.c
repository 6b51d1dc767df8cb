/* SPDX-License-Identifier: BSD-3-Clause */
/* Two readers of the same grammar. The fast one takes a multibulk request whose bytes are all
 * there, straight into slices, and gives up without a trace on anything unusual: a byte that is
 * missing, a limit, an odd number. The slow one remembers where it stands, knows every rule and
 * every error, and rescans what the fast one gave up on, once per request at most.
 *
 *      start --'*'--> args ... bulk header -> bulk -> ... -> request
 *        \--else--> inline line -> request
 *
 * Invariants:
 * 1. Whatever is decided depends on the bytes alone, never on where a read ended: a line is
 * searched for its end in its first PARSER_LINE_MAX + 1 bytes only, so that one that is too long is
 * so however it arrives.
 * 2. After PARSE_REQUEST, PARSE_EMPTY and PARSE_ERROR the parser is as parser_init left it, but for
 * its memory.
 * 3. Memory grows with the arguments that have arrived, never with what a header promises.
 * 4. Lengths are compared with what is left, never added to a position first: they may be near
 * 2^63.
 * 5. What lies apart is named by its place in the input without it, so a request is understood the
 * same when it is scanned once more. */
#include "proto/parser.h"

#include "base/check.h"
#include "base/must.h"
#include "base/num.h"
#include "base/words.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* A header or an inline command may be as long as this, its line end left out. */
#define PARSER_LINE_MAX 65536

#define PARSER_UNAUTHENTICATED_ARGS_MAX 10
#define PARSER_UNAUTHENTICATED_BULK_MAX 16384

#define PARSER_ERROR_BYTES 128

/* Room for more arguments than this is given back once their request is done. */
#define PARSER_ARGS_KEPT 64

void parser_init(struct parser *parser) {
    *parser = (struct parser){.args_left = -1, .bulk_len = -1};
}

void parser_fini(struct parser *parser) {
    free(parser->args);
    free(parser->error);
    parser_init(parser);
}

static void parser_restart(struct parser *parser) {
    parser->pos = 0;
    parser->args_left = -1;
    parser->bulk_len = -1;
    parser->argc = 0;
    parser->args_bytes = 0;
    parser->apart = NULL;
    parser->apart_count = parser->apart_seen = 0;
    if (UNLIKELY(parser->argv_cap > PARSER_ARGS_KEPT)) {
        free(parser->args);
        parser->args = NULL;
        parser->argv_cap = 0;
    }
}

__attribute__((format(printf, 2, 3))) static enum parse_status
parser_fail(struct parser *parser, const char *format, ...) {
    char text[PARSER_ERROR_BYTES];
    int prefix = snprintf(text, sizeof(text), "ERR Protocol error: ");
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text + prefix, sizeof(text) - (size_t)prefix, format, args);
    va_end(args);
    parser->error_len = (size_t)(prefix + n);
    check(parser->error_len < sizeof(text));
    free(parser->error);
    parser->error = memcpy(must_malloc(parser->error_len + 1), text, parser->error_len + 1);
    parser->error_pos = parser->pos;
    parser_restart(parser);
    return PARSE_ERROR;
}

/* ---- Slow path ---- */

static void parser_push_arg(struct parser *parser, size_t offset, size_t len) {
    if (parser->argc == parser->argv_cap) {
        uint32_t cap = parser->argv_cap ? parser->argv_cap * 2 : 8;
        check(cap > parser->argv_cap);
        parser->args = must_realloc(parser->args, (size_t)cap * sizeof(*parser->args));
        parser->argv_cap = cap;
    }
    parser->args[parser->argc++] = (struct parser_arg){offset, len};
    parser->args_bytes += len;
}

enum parser_line { LINE_MORE, LINE_READY, LINE_TOO_LONG };

/* The line at pos up to `stop`, which ends it and is not part of it. */
static enum parser_line parser_find_line(const struct parser *parser, struct bytes input, char stop,
                                         struct bytes *ret_line) {
    const char *start = input.ptr + parser->pos;
    size_t left = input.len - parser->pos;
    size_t window = left < PARSER_LINE_MAX + 1 ? left : PARSER_LINE_MAX + 1;
    const char *end = window ? memchr(start, stop, window) : NULL;
    if (!end) {
        return left > PARSER_LINE_MAX ? LINE_TOO_LONG : LINE_MORE;
    }
    *ret_line = bytes_make(start, (size_t)(end - start));
    return LINE_READY;
}

/* A header: it ends with CR and one more byte, which the caller compares with LF. */
static enum parser_line parser_find_header(const struct parser *parser, struct bytes input,
                                           struct bytes *ret_line) {
    enum parser_line found = parser_find_line(parser, input, '\r', ret_line);
    if (found == LINE_READY && input.len - parser->pos - ret_line->len < 2) {
        return LINE_MORE;
    }
    return found;
}

static enum parse_status parser_fail_crlf(struct parser *parser) {
    return parser_fail(parser, "invalid CRLF in request");
}

/* Other servers look for the line end of an inline command as in a C string, so a NUL hides it for
 * good. */
static enum parser_line parser_find_inline(const struct parser *parser, struct bytes input,
                                           struct bytes *ret_line) {
    enum parser_line found = parser_find_line(parser, input, '\n', ret_line);
    if (found == LINE_READY && memchr(ret_line->ptr, 0, ret_line->len)) {
        return input.len > PARSER_LINE_MAX ? LINE_TOO_LONG : LINE_MORE;
    }
    return found;
}

static enum parse_status parser_inline(struct parser *parser, struct bytes input,
                                       struct arena *arena, struct request *ret_request,
                                       size_t *ret_consumed) {
    struct bytes line;
    enum parser_line found = parser_find_inline(parser, input, &line);
    if (found == LINE_MORE) {
        return PARSE_MORE;
    }
    if (found == LINE_TOO_LONG) {
        return parser_fail(parser, "too big inline request");
    }
    size_t consumed = line.len + 1;
    if (line.len && line.ptr[line.len - 1] == '\r') {
        line.len--;
    }
    int argc = words_count(line);
    if (argc < 0) {
        return parser_fail(parser, "unbalanced quotes in request");
    }
    *ret_consumed = consumed;
    parser_restart(parser);
    if (argc == 0) {
        return PARSE_EMPTY;
    }
    char *storage = arena_alloc(arena, line.len);
    struct bytes *argv = arena_alloc(arena, (size_t)argc * sizeof(*argv));
    words_fill(line, storage, argv);
    *ret_request =
        (struct request){.argv = argv, .argc = (uint32_t)argc, .inlined = true, .bytes = consumed};
    return PARSE_REQUEST;
}

/* "*3\r\n": PARSE_REQUEST when arguments follow. */
static enum parse_status parser_multibulk_header(struct parser *parser,
                                                 const struct parser_limits *limits,
                                                 struct bytes input, size_t *ret_consumed) {
    struct bytes line;
    enum parser_line found = parser_find_header(parser, input, &line);
    if (found == LINE_MORE) {
        return PARSE_MORE;
    }
    if (found == LINE_TOO_LONG) {
        return parser_fail(parser, "too big mbulk count string");
    }
    if (line.ptr[line.len + 1] != '\n') {
        return parser_fail_crlf(parser);
    }
    int64_t count;
    if (!num_parse_i64(bytes_make(line.ptr + 1, line.len - 1), &count) || count > INT_MAX) {
        return parser_fail(parser, "invalid multibulk length");
    }
    if (!limits->authenticated && count > PARSER_UNAUTHENTICATED_ARGS_MAX) {
        return parser_fail(parser, "unauthenticated multibulk length");
    }
    parser->pos = line.len + 2;
    if (count <= 0) {
        *ret_consumed = parser->pos;
        parser_restart(parser);
        return PARSE_EMPTY;
    }
    parser->args_left = count;
    return PARSE_REQUEST;
}

/* "$3\r\n": PARSE_REQUEST when bulk_len is known. */
static enum parse_status
parser_bulk_header(struct parser *parser, const struct parser_limits *limits, struct bytes input) {
    struct bytes line;
    enum parser_line found = parser_find_header(parser, input, &line);
    if (found == LINE_MORE) {
        return PARSE_MORE;
    }
    if (found == LINE_TOO_LONG) {
        return parser_fail(parser, "too big bulk count string");
    }
    char type = input.ptr[parser->pos];
    if (type != '$') {
        return parser_fail(parser, "expected '$', got '%c'", type);
    }
    if (line.ptr[line.len + 1] != '\n') {
        return parser_fail_crlf(parser);
    }
    int64_t len;
    if (!num_parse_i64(bytes_make(line.ptr + 1, line.len - 1), &len) || len < 0 ||
        len > limits->bulk_len_max) {
        return parser_fail(parser, "invalid bulk length");
    }
    if (!limits->authenticated && len > PARSER_UNAUTHENTICATED_BULK_MAX) {
        return parser_fail(parser, "unauthenticated bulk length");
    }
    parser->pos += line.len + 2;
    parser->bulk_len = len;
    return PARSE_REQUEST;
}

/* The bulk at pos lies elsewhere. */
static bool parser_is_apart(const struct parser *parser) {
    return parser->apart_seen < parser->apart_count &&
           parser->apart[parser->apart_seen].offset == parser->pos;
}

static void parser_finish(struct parser *parser, struct bytes input, struct arena *arena,
                          struct request *ret_request, size_t *ret_consumed) {
    struct bytes *argv = arena_alloc(arena, parser->argc * sizeof(*argv));
    size_t bytes = parser->pos;
    uint32_t apart = 0;
    for (uint32_t i = 0; i < parser->argc; i++) {
        size_t offset = parser->args[i].offset;
        if (apart < parser->apart_seen && parser->apart[apart].offset == offset) {
            argv[i] = parser->apart[apart++].bytes;
            bytes += argv[i].len;
        } else {
            argv[i] = bytes_make(input.ptr + offset, parser->args[i].len);
        }
    }
    *ret_request = (struct request){.argv = argv, .argc = parser->argc, .bytes = bytes};
    *ret_consumed = parser->pos;
    parser_restart(parser);
}

static enum parse_status parser_slow(struct parser *parser, const struct parser_limits *limits,
                                     struct bytes input, struct arena *arena,
                                     struct request *ret_request, size_t *ret_consumed) {
    if (input.len == 0) {
        return PARSE_MORE;
    }
    if (parser->args_left < 0) {
        if (input.ptr[0] != '*') {
            return parser_inline(parser, input, arena, ret_request, ret_consumed);
        }
        enum parse_status status = parser_multibulk_header(parser, limits, input, ret_consumed);
        if (status != PARSE_REQUEST) {
            return status;
        }
    }
    while (parser->args_left > 0) {
        if (parser->bulk_len < 0) {
            enum parse_status status = parser_bulk_header(parser, limits, input);
            if (status != PARSE_REQUEST) {
                return status;
            }
        }
        bool apart = parser_is_apart(parser);
        check(!apart || parser->apart[parser->apart_seen].bytes.len == (uint64_t)parser->bulk_len);
        uint64_t here = apart ? 0 : (uint64_t)parser->bulk_len;
        size_t left = input.len - parser->pos;
        if (left < 2 || left - 2 < here) {
            return PARSE_MORE;
        }
        if (memcmp(input.ptr + parser->pos + here, "\r\n", 2) != 0) {
            return parser_fail_crlf(parser);
        }
        parser_push_arg(parser, parser->pos, (size_t)parser->bulk_len);
        parser->pos += (size_t)here + 2;
        parser->apart_seen += apart;
        parser->bulk_len = -1;
        parser->args_left--;
    }
    parser_finish(parser, input, arena, ret_request, ret_consumed);
    return PARSE_REQUEST;
}

/* ---- Fast path ---- */

static inline bool parser_at_crlf(const char *p) {
    return p[0] == '\r' && p[1] == '\n';
}

/* A plain number behind the type byte at p, with CRLF behind it: steps over all of them. NULL when
 * it is anything else or not all there. */
static inline const char *parser_fast_number(const char *p, const char *end, uint64_t *ret) {
    /* Type, digit, CR, LF are the least. */
    if (UNLIKELY(end - p < 4)) {
        return NULL;
    }
    unsigned digit = (unsigned char)(p[1] - '0');
    if (UNLIKELY(digit > 9)) {
        return NULL;
    }
    uint64_t value = digit;
    if (LIKELY(parser_at_crlf(p + 2))) {
        *ret = value;
        return p + 4;
    }
    const char *limit = end - p > 13 ? p + 13 : end;
    if (UNLIKELY(digit == 0)) {
        return NULL;
    }
    for (p += 2; p < limit; p++) {
        digit = (unsigned char)(*p - '0');
        if (digit > 9) {
            *ret = value;
            return end - p >= 2 && parser_at_crlf(p) ? p + 2 : NULL;
        }
        value = value * 10 + digit;
    }
    return NULL;
}

/* The same, and it must be of this type. Numbers of one and two digits, as nearly all are, are
 * taken at a glance: all bytes that must be there at once, the first one lowest. */
static inline const char *parser_fast_header(const char *p, const char *end, char type,
                                             uint64_t *ret) {
    if (LIKELY(end - p >= 8)) {
        uint64_t word;
        memcpy(&word, p, sizeof(word));
        unsigned digit = (unsigned)(word >> 8 & 0xFF) - '0';
        unsigned second = (unsigned)(word >> 16 & 0xFF) - '0';
        if ((word & 0xFFFF00FF) == (0x0A0D0000 | (unsigned char)type) && digit <= 9) {
            *ret = digit;
            return p + 4;
        }
        if ((word & 0xFFFF0000FF) == (0x0A0D000000 | (unsigned char)type) && digit - 1 < 9 &&
            second <= 9) {
            *ret = digit * 10 + second;
            return p + 5;
        }
    }
    return p < end && *p == type ? parser_fast_number(p, end, ret) : NULL;
}

/* Pipelines repeat themselves: up to the name, and its line end, the same bytes mean the same. */
static inline bool parser_begins_alike(struct bytes input, const struct request *before) {
    if (before == NULL || before->name_at == 0) {
        return false;
    }
    const char *start = before->argv[0].ptr - before->name_at;
    size_t head = before->name_at + before->argv[0].len + 2;
    return input.len >= head &&
           bytes_equal_brief(bytes_make(input.ptr, head), bytes_make(start, head));
}

/* How many bytes the request takes, or 0 when the slow path must look. */
static inline size_t parser_fast(const struct parser_limits *limits, struct bytes input,
                                 const struct request *before, struct arena *arena,
                                 struct request *ret_request) {
    const char *p = input.ptr;
    const char *end = p + input.len;
    uint64_t argc, i = 0;
    struct bytes *argv;
    bool alike = parser_begins_alike(input, before);
    if (alike) {
        argc = before->argc;
        argv = arena_alloc(arena, argc * sizeof(*argv));
        argv[0] = bytes_make(p + before->name_at, before->argv[0].len);
        p = argv[0].ptr + argv[0].len + 2;
        i = 1;
    } else {
        p = parser_fast_header(p, end, '*', &argc);
        /* "$0" and two line ends are the shortest argument, so argc is bounded by what is there. */
        if (UNLIKELY(!p || argc == 0 || argc > INT_MAX || argc > (size_t)(end - p) / 6)) {
            return 0;
        }
        argv = arena_alloc(arena, argc * sizeof(*argv));
    }
    uint64_t bulk_len_max = (uint64_t)limits->bulk_len_max;
    for (; i < argc; i++) {
        uint64_t len;
        p = parser_fast_header(p, end, '$', &len);
        /* Of at most 12 digits: nothing overflows. */
        if (UNLIKELY(!p || len > bulk_len_max || (size_t)(end - p) < len + 2)) {
            return 0;
        }
        if (UNLIKELY(!parser_at_crlf(p + len))) {
            return 0;
        }
        argv[i] = bytes_make(p, len);
        p += len + 2;
    }
    *ret_request = (struct request){
        .argv = argv,
        .argc = (uint32_t)argc,
        .alike = alike,
        .name_at = (uint8_t)(argv[0].ptr - input.ptr), /* two headers of at most 15 bytes */
        .bytes = (size_t)(p - input.ptr),
    };
    return ret_request->bytes;
}

enum parse_status parser_run(struct parser *parser, const struct parser_limits *limits,
                             struct bytes input, struct arena *arena, struct request *ret_request,
                             size_t *ret_consumed) {
    return parser_run_after(parser, limits, input, NULL, arena, ret_request, ret_consumed);
}

enum parse_status parser_run_after(struct parser *parser, const struct parser_limits *limits,
                                   struct bytes input, const struct request *before,
                                   struct arena *arena, struct request *ret_request,
                                   size_t *ret_consumed) {
    if (LIKELY(parser->args_left < 0 && limits->authenticated && parser->apart_count == 0)) {
        size_t bytes = parser_fast(limits, input, before, arena, ret_request);
        if (LIKELY(bytes)) {
            *ret_consumed = bytes;
            return PARSE_REQUEST;
        }
    }
    enum parse_status status = parser_slow(parser, limits, input, arena, ret_request, ret_consumed);
    if (status == PARSE_ERROR) {
        /* What follows cannot be understood. */
        *ret_consumed = input.len;
    }
    return status;
}

size_t parser_bytes_needed(const struct parser *parser) {
    if (parser->bulk_len < 0) {
        return 0;
    }
    if (parser_is_apart(parser)) {
        return parser->pos + 2;
    }
    size_t room = SIZE_MAX - parser->pos - 2;
    return (uint64_t)parser->bulk_len > room ? SIZE_MAX
                                             : parser->pos + (size_t)parser->bulk_len + 2;
}

bool parser_bulk_missing(const struct parser *parser, size_t *ret_offset, size_t *ret_len) {
    if (parser->bulk_len < 0 || parser_is_apart(parser)) {
        return false;
    }
    *ret_offset = parser->pos;
    *ret_len = (size_t)parser->bulk_len;
    return true;
}

void parser_set_apart(struct parser *parser, const struct parser_apart *apart, uint32_t count) {
    check(count >= parser->apart_seen);
    parser->apart = apart;
    parser->apart_count = count;
}
