/* SPDX-License-Identifier: BSD-3-Clause */
/* parser: finds requests in a byte stream, in place and incrementally.
 *
 * Thread: any; pure over its own state. The caller owns the bytes. `parser_run` is given all
 * unconsumed bytes of the stream from the first byte of the current request on; between calls the
 * bytes may move as long as they stay the same, because the parser keeps offsets. Argument slices
 * of a finished request point into those bytes.
 *
 * For every byte stream and every split of it the same requests and errors come out (property
 * test).
 */
#ifndef SHOAL_PROTO_PARSER_H
#define SHOAL_PROTO_PARSER_H

#include "base/arena.h"
#include "base/bytes.h"

#include <stdint.h>

enum parse_status {
    PARSE_MORE,    /* incomplete: call again with more bytes */
    PARSE_REQUEST, /* one request: argc >= 1 */
    PARSE_EMPTY,   /* an empty request (*0, *-1, blank line): consumed, no reply */
    PARSE_ERROR,   /* protocol error: parser->error says which; the connection must close after the
                      reply */
};

struct parser_limits {
    int64_t bulk_len_max;    /* proto-max-bulk-len */
    int64_t query_bytes_max; /* client-query-buffer-limit: enforced by the connection, not here */
    bool authenticated;      /* false: at most 10 arguments and 16384 bytes a bulk */
};

struct request {
    struct bytes *argv; /* in the arena */
    uint32_t argc;
    bool inlined;    /* came as an inline command */
    bool alike;      /* begins as the one before it: as many arguments, and the same name */
    uint8_t name_at; /* where argv[0] stands, from its first byte on; 0: nobody has noted it */
    size_t bytes;    /* length on the wire, what lies apart included */
};

struct parser_arg {
    size_t offset;
    size_t len;
};

/* A bulk whose bytes lie elsewhere: the input goes on with its line end at `offset`, where its
 * first byte would be. */
struct parser_apart {
    size_t offset; /* from the first byte of the request */
    struct bytes bytes;
};

struct parser {
    /* Private: where the scan of the current request stands. Offsets count from its first byte. */
    size_t pos;
    int64_t args_left; /* of a multibulk; -1 outside one */
    int64_t bulk_len;  /* of the bulk being read; -1 when its header is still to come */
    uint32_t argc;
    uint32_t argv_cap;
    struct parser_arg *args;
    size_t args_bytes; /* sum of the lengths so far: argv-mem of CLIENT LIST */
    const struct parser_apart *apart;
    uint32_t apart_count;
    uint32_t apart_seen; /* those that the scan has passed */
    /* Set with PARSE_ERROR: the whole text after "-", e.g. "ERR Protocol error: ...". It may quote
     * a byte of the stream, even a NUL, hence its length. */
    char *error; /* or NULL: few connections ever have one */
    size_t error_len;
    size_t error_pos; /* where in the request the scan had come to */
};

void parser_init(struct parser *parser);
void parser_fini(struct parser *parser);

/* Looks for one request at the start of `input`. On anything but PARSE_MORE *ret_consumed bytes are
 * done with. Slices and argv of *ret_request live as long as `input` and the arena's contents. */
enum parse_status parser_run(struct parser *parser, const struct parser_limits *limits,
                             struct bytes input, struct arena *arena, struct request *ret_request,
                             size_t *ret_consumed);
/* The same. `before`: a request found under the same limits, whose bytes are still there, or NULL:
 * if this one begins as that did, its beginning need not be understood anew. */
enum parse_status parser_run_after(struct parser *parser, const struct parser_limits *limits,
                                   struct bytes input, const struct request *before,
                                   struct arena *arena, struct request *ret_request,
                                   size_t *ret_consumed);

/* The text of the last PARSE_ERROR, as reply_error_bytes wants it. */
static inline struct bytes parser_error(const struct parser *parser) {
    return bytes_make(parser->error, parser->error_len);
}

/* After PARSE_MORE: how many bytes the request has at least, as far as its headers tell (0:
 * unknown). Lets the connection size its buffer for a big bulk. */
size_t parser_bytes_needed(const struct parser *parser);

/* After PARSE_MORE: true if it is a bulk that is not all there. *ret_offset says where its first
 * byte is in the input, or will be. */
bool parser_bulk_missing(const struct parser *parser, size_t *ret_offset, size_t *ret_len);

/* Large values need not lie in the input: the caller may take the bytes of a bulk that
 * parser_bulk_missing told of out of it, collect them elsewhere, and go on when they are complete.
 * Names all such bulks of the request at the start of the input, in order; to be said before every
 * parser_run for that request, also when it is scanned anew after parser_fini. The array is the
 * caller's and is forgotten when the request is over. */
void parser_set_apart(struct parser *parser, const struct parser_apart *apart, uint32_t count);

#endif
