/* SPDX-License-Identifier: BSD-3-Clause */
/* The replies that are not in line in the header: rarer ones, and those that must look at their
 * text.
 *
 * Whatever bytes an error or a status is made of, exactly one line comes out: a CR or LF that got
 * through would let one client's data pose as another reply. */
#include "proto/reply.h"

#include "base/check.h"
#include "base/text.h"

#include <stdarg.h>

/* Type byte, text on one line, CRLF. */
static void reply_line(struct reply *r, char type, struct bytes text) {
    char *p = outbuf_reserve(r->out, text.len + 3);
    p[0] = type;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        p[1 + i] = c == '\r' || c == '\n' ? ' ' : c;
    }
    memcpy(p + 1 + text.len, "\r\n", 2);
    outbuf_commit(r->out, text.len + 3);
}

void reply_status(struct reply *r, const char *text) {
    reply_line(r, '+', bytes_of_text(text));
}

static void reply_note_error(struct reply *r, struct bytes text) {
    size_t n = 0;
    while (n < text.len && n < sizeof(r->error_code) - 1 && (unsigned char)text.ptr[n] > ' ') {
        r->error_code[n] = text.ptr[n];
        n++;
    }
    r->error_code[n] = 0;
    r->errors++;
}

void reply_error_bytes(struct reply *r, struct bytes text) {
    if (text.len && text.ptr[0] == '-') {
        text = bytes_make(text.ptr + 1, text.len - 1);
    }
    if (text.len == 0) {
        text = BYTES("ERR");
    }
    reply_note_error(r, text);
    reply_line(r, '-', text);
}

void reply_error(struct reply *r, const char *text) {
    reply_error_bytes(r, bytes_of_text(text));
}

static bool reply_line_end(char c) {
    return c == '\r' || c == '\n';
}

void reply_error_verbatim(struct reply *r, struct bytes text) {
    while (text.len && reply_line_end(text.ptr[text.len - 1])) {
        text.len--;
    }
    reply_note_error(r, text.len > 0 ? text : BYTES("ERR"));
    reply_line(r, '-', text);
}

void reply_errorf(struct reply *r, const char *format, ...) {
    struct text text;
    text_init(&text);
    va_list args;
    va_start(args, format);
    text_vappendf(&text, format, args);
    va_end(args);
    struct bytes line = text_bytes(&text);
    while (line.len && reply_line_end(line.ptr[line.len - 1])) {
        line.len--;
    }
    while (line.len && reply_line_end(line.ptr[0])) {
        line = bytes_make(line.ptr + 1, line.len - 1);
    }
    reply_error_bytes(r, line);
    text_fini(&text);
}

void reply_bulk_text(struct reply *r, const char *text) {
    reply_bulk(r, bytes_of_text(text));
}

void reply_bulk_int(struct reply *r, int64_t value) {
    char buf[NUM_I64_BYTES];
    reply_bulk(r, bytes_make(buf, num_format_i64(buf, value)));
}

void reply_bulk_pinned(struct reply *r, struct bytes bytes, void (*release)(void *), void *pin) {
    reply_header(r, '$', bytes.len);
    outbuf_append_pinned(r->out, bytes, release, pin);
    reply_literal(r, "\r\n");
}

void reply_map(struct reply *r, size_t pairs) {
    if (r->resp == 2) {
        reply_header(r, '*', pairs * 2);
    } else {
        reply_header(r, '%', pairs);
    }
}

void reply_set(struct reply *r, size_t n) {
    reply_header(r, r->resp == 2 ? '*' : '~', n);
}

void reply_push(struct reply *r, size_t n) {
    reply_header(r, r->resp == 2 ? '*' : '>', n);
}

void reply_attribute(struct reply *r, size_t pairs) {
    check(r->resp == 3);
    reply_header(r, '|', pairs);
}

void reply_bool(struct reply *r, bool value) {
    if (r->resp == 2) {
        reply_int(r, value);
    } else if (value) {
        reply_literal(r, "#t\r\n");
    } else {
        reply_literal(r, "#f\r\n");
    }
}

void reply_double(struct reply *r, double value) {
    char buf[NUM_DOUBLE_BYTES];
    struct bytes text = bytes_make(buf, num_format_double(buf, value));
    if (r->resp == 2) {
        reply_bulk(r, text);
    } else {
        reply_line(r, ',', text);
    }
}

void reply_long_double(struct reply *r, long double value) {
    char buf[NUM_LONG_DOUBLE_BYTES];
    reply_bulk(r, bytes_make(buf, num_format_long_double(buf, value)));
}

void reply_big_number(struct reply *r, struct bytes digits) {
    if (r->resp == 2) {
        reply_bulk(r, digits);
    } else {
        reply_line(r, '(', digits);
    }
}

void reply_verbatim(struct reply *r, const char kind[3], struct bytes text) {
    if (r->resp == 2) {
        reply_bulk(r, text);
        return;
    }
    char *p = outbuf_reserve(r->out, text.len + REPLY_HEADER_BYTES + 6);
    size_t n = reply_put_header(p, '=', text.len + 4);
    memcpy(p + n, kind, 3);
    p[n + 3] = ':';
    n += 4;
    if (text.len) {
        memcpy(p + n, text.ptr, text.len);
    }
    memcpy(p + n + text.len, "\r\n", 2);
    outbuf_commit(r->out, n + text.len + 2);
}

void reply_raw(struct reply *r, struct bytes resp) {
    outbuf_append(r->out, resp.ptr, resp.len);
}
