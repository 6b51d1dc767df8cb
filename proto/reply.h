/* SPDX-License-Identifier: BSD-3-Clause */
/* reply: writes RESP2 or RESP3 into an outbuf.
 *
 * Thread: one at a time. Knows every RESP3 type; each function writes the RESP2 form when the
 * connection speaks RESP2. Counts errors, so that whoever ran the command can keep statistics.
 */
#ifndef SHOAL_PROTO_REPLY_H
#define SHOAL_PROTO_REPLY_H

#include "base/bytes.h"
#include "base/outbuf.h"

#include <stdint.h>

struct reply {
    struct outbuf *out;
    uint8_t resp;          /* 2 or 3 */
    uint32_t errors;       /* errors written since it was last zeroed */
    char error_code[32];   /* first word of the last error, NUL-terminated: for errorstats */
};

static inline void reply_init(struct reply *r, struct outbuf *out, uint8_t resp) {
    r->out = out;
    r->resp = resp;
    r->errors = 0;
    r->error_code[0] = 0;
}

void reply_ok(struct reply *r);                        /* +OK */
void reply_status(struct reply *r, const char *text);  /* +text; CR and LF become spaces */
/* `text` with its code, without '-' and CRLF: "ERR no such key". CR, LF become spaces. Text that starts with
 * '-' keeps what follows it as it is. */
void reply_error(struct reply *r, const char *text);
void reply_errorf(struct reply *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
void reply_error_bytes(struct reply *r, struct bytes text);
void reply_int(struct reply *r, int64_t value);
void reply_bulk(struct reply *r, struct bytes bytes);
void reply_bulk_text(struct reply *r, const char *text);
void reply_bulk_int(struct reply *r, int64_t value);   /* the number as a bulk string */
/* A large value in place: release(pin) runs when it was sent. */
void reply_bulk_pinned(struct reply *r, struct bytes bytes, void (*release)(void *), void *pin);
void reply_null(struct reply *r);                      /* $-1 or _ */
void reply_null_array(struct reply *r);                /* *-1 or _ */
void reply_array(struct reply *r, size_t n);
void reply_map(struct reply *r, size_t pairs);         /* RESP2: array of 2 * pairs */
void reply_set(struct reply *r, size_t n);             /* RESP2: array */
void reply_push(struct reply *r, size_t n);            /* RESP2: array */
void reply_attribute(struct reply *r, size_t pairs);   /* RESP3 only: the caller must not call it for RESP2 */
void reply_bool(struct reply *r, bool value);          /* RESP2: :1 or :0 */
void reply_double(struct reply *r, double value);      /* RESP2: bulk string */
void reply_long_double(struct reply *r, long double value); /* a bulk string, "human" format as INCRBYFLOAT */
void reply_big_number(struct reply *r, struct bytes digits);
void reply_verbatim(struct reply *r, const char kind[3], struct bytes text); /* RESP2: bulk string */
void reply_raw(struct reply *r, struct bytes resp);    /* already RESP */

#endif
