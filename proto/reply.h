/* SPDX-License-Identifier: BSD-3-Clause */
/* reply: writes RESP2 or RESP3 into an outbuf.
 *
 * Thread: one at a time. Knows every RESP3 type; each function writes the RESP2 form when the
 * connection speaks RESP2. Counts errors, so that whoever ran the command can keep statistics.
 * The replies that most commands give are in line: one room check, then plain stores.
 */
#ifndef SHOAL_PROTO_REPLY_H
#define SHOAL_PROTO_REPLY_H

#include "base/bytes.h"
#include "base/check.h"
#include "base/num.h"
#include "base/outbuf.h"

#include <stdint.h>

struct reply {
    struct outbuf *out;
    uint8_t resp;        /* 2 or 3 */
    uint32_t errors;     /* errors written since it was last zeroed */
    char error_code[32]; /* first word of the last error, NUL-terminated: for errorstats */
};

/* Room for the type byte, a 64-bit number with its sign, and CRLF. */
#define REPLY_HEADER_BYTES 24

static inline void reply_init(struct reply *r, struct outbuf *out, uint8_t resp) {
    r->out = out;
    r->resp = resp;
    r->errors = 0;
    r->error_code[0] = 0;
}

/* Text whose length the compiler knows: one store or two. */
#define reply_literal(r, literal)                                                                  \
    do {                                                                                           \
        memcpy(outbuf_reserve((r)->out, sizeof(literal) - 1), literal, sizeof(literal) - 1);       \
        outbuf_commit((r)->out, sizeof(literal) - 1);                                              \
    } while (0)

/* Type byte, number, CRLF at `p`; returns how many bytes. */
static inline size_t reply_put_header(char *p, char type, uint64_t n) {
    p[0] = type;
    size_t digits = num_put_u64(p + 1, n);
    memcpy(p + 1 + digits, "\r\n", 2);
    return digits + 3;
}

static inline void reply_header(struct reply *r, char type, uint64_t n) {
    char *p = outbuf_reserve(r->out, REPLY_HEADER_BYTES);
    outbuf_commit(r->out, reply_put_header(p, type, n));
}

/* +OK */
static inline void reply_ok(struct reply *r) {
    reply_literal(r, "+OK\r\n");
}

/* $-1 or _ */
static inline void reply_null(struct reply *r) {
    if (r->resp == 2) {
        reply_literal(r, "$-1\r\n");
    } else {
        reply_literal(r, "_\r\n");
    }
}

/* *-1 or _ */
static inline void reply_null_array(struct reply *r) {
    if (r->resp == 2) {
        reply_literal(r, "*-1\r\n");
    } else {
        reply_literal(r, "_\r\n");
    }
}

static inline void reply_int(struct reply *r, int64_t value) {
    if (value >= 0) {
        reply_header(r, ':', (uint64_t)value);
        return;
    }
    char *p = outbuf_reserve(r->out, REPLY_HEADER_BYTES);
    memcpy(p, ":-", 2);
    size_t digits = num_format_u64(p + 2, 0 - (uint64_t)value);
    memcpy(p + 2 + digits, "\r\n", 2);
    outbuf_commit(r->out, digits + 4);
}

static inline void reply_bulk(struct reply *r, struct bytes bytes) {
    char *p = outbuf_reserve(r->out, bytes.len + REPLY_HEADER_BYTES + 2);
    size_t header = reply_put_header(p, '$', bytes.len);
    if (bytes.len) {
        memcpy(p + header, bytes.ptr, bytes.len);
    }
    memcpy(p + header + bytes.len, "\r\n", 2);
    outbuf_commit(r->out, header + bytes.len + 2);
}

/* Many bulks that follow each other, with nothing between them: room is asked for once for some,
 * and each is written there and then. The last is in the reply after reply_bulks_end. */
struct reply_bulks {
    struct reply *reply;
    char *begin, *at, *end; /* of the room; NULL at first */
};
#define REPLY_BULKS_ROOM 512

static inline void reply_bulks_end(struct reply_bulks *bulks) {
    if (bulks->at != bulks->begin) {
        outbuf_commit(bulks->reply->out, (size_t)(bulks->at - bulks->begin));
    }
    bulks->begin = bulks->at = bulks->end = NULL;
}

static inline void reply_bulks_add(struct reply_bulks *bulks, struct bytes bytes) {
    size_t most = bytes.len + REPLY_HEADER_BYTES + 2;
    if (UNLIKELY((size_t)(bulks->end - bulks->at) < most)) {
        reply_bulks_end(bulks);
        size_t room = most < REPLY_BULKS_ROOM ? REPLY_BULKS_ROOM : most;
        bulks->begin = bulks->at = outbuf_reserve(bulks->reply->out, room);
        bulks->end = bulks->at + room;
    }
    char *p = bulks->at + reply_put_header(bulks->at, '$', bytes.len);
    if (bytes.len >= 8 && bytes.len <= 16) { /* as bytes_equal_brief */
        char *last = p + bytes.len - 8;
        memcpy(p, bytes.ptr, 8);
        memcpy(last, bytes.ptr + bytes.len - 8, 8);
    } else if (bytes.len > 0) {
        memcpy(p, bytes.ptr, bytes.len);
    }
    memcpy(p + bytes.len, "\r\n", 2);
    bulks->at = p + bytes.len + 2;
}

static inline void reply_array(struct reply *r, size_t n) {
    reply_header(r, '*', n);
}

void reply_status(struct reply *r, const char *text); /* +text; CR and LF become spaces */
/* `text` with its code, without '-' and CRLF: "ERR no such key". CR, LF become spaces. Text that
 * starts with
 * '-' keeps what follows it as it is. */
void reply_error(struct reply *r, const char *text);
/* As reply_error; line ends at either end of the text are dropped. */
void reply_errorf(struct reply *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
void reply_error_bytes(struct reply *r, struct bytes text);
/* A text that a script has made: as it is, whatever it begins with; line ends at its end go. */
void reply_error_verbatim(struct reply *r, struct bytes text);
void reply_bulk_text(struct reply *r, const char *text);
void reply_bulk_int(struct reply *r, int64_t value); /* the number as a bulk string */
/* A large value in place: release(pin) runs when it was sent. */
void reply_bulk_pinned(struct reply *r, struct bytes bytes, void (*release)(void *), void *pin);
void reply_map(struct reply *r, size_t pairs); /* RESP2: array of 2 * pairs */
void reply_set(struct reply *r, size_t n);     /* RESP2: array */
void reply_push(struct reply *r, size_t n);    /* RESP2: array */
void reply_attribute(struct reply *r,
                     size_t pairs); /* RESP3 only: the caller must not call it for RESP2 */
void reply_bool(struct reply *r, bool value);     /* RESP2: :1 or :0 */
void reply_double(struct reply *r, double value); /* RESP2: bulk string */
void reply_long_double(struct reply *r,
                       long double value); /* a bulk string, "human" format as INCRBYFLOAT */
void reply_big_number(struct reply *r, struct bytes digits); /* RESP2: bulk string */
void reply_verbatim(struct reply *r, const char kind[3],
                    struct bytes text);             /* RESP2: bulk string */
void reply_raw(struct reply *r, struct bytes resp); /* already RESP */

#endif
