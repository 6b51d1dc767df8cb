/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/random.h"
#include "base/text.h"
#include "proto/reply.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <sys/uio.h>

struct fixture {
    struct outbuf out;
    struct reply reply;
};

static struct reply *open_reply(struct fixture *fixture, uint8_t resp) {
    outbuf_init(&fixture->out);
    reply_init(&fixture->reply, &fixture->out, resp);
    return &fixture->reply;
}

static struct text written(struct fixture *fixture) {
    struct iovec vectors[16];
    struct text text;
    text_init(&text);
    int n;
    while ((n = outbuf_vectors(&fixture->out, vectors, 16)) > 0) {
        for (int i = 0; i < n; i++) {
            text_append(&text, vectors[i].iov_base, vectors[i].iov_len);
            outbuf_drain(&fixture->out, vectors[i].iov_len);
        }
    }
    return text;
}

static void gave(struct fixture *fixture, struct bytes expected) {
    struct text text = written(fixture);
    cr_assert(bytes_equal(text_bytes(&text), expected), "gave %s", text.ptr);
    text_fini(&text);
    outbuf_fini(&fixture->out);
}

/* One call that must give `two` on a RESP2 connection and `three` on a RESP3 one. */
#define GIVES(call, two, three)                                                                    \
    do {                                                                                           \
        struct fixture fixture;                                                                    \
        struct reply *r = open_reply(&fixture, 2);                                                 \
        call;                                                                                      \
        gave(&fixture, BYTES(two));                                                                \
        r = open_reply(&fixture, 3);                                                               \
        call;                                                                                      \
        gave(&fixture, BYTES(three));                                                              \
    } while (0)

#define GIVES_BOTH(call, text) GIVES(call, text, text)

Test(reply, simple_strings_and_integers) {
    GIVES_BOTH(reply_ok(r), "+OK\r\n");
    GIVES_BOTH(reply_status(r, "PONG"), "+PONG\r\n");
    GIVES_BOTH(reply_int(r, 0), ":0\r\n");
    GIVES_BOTH(reply_int(r, -1), ":-1\r\n");
    GIVES_BOTH(reply_int(r, 99), ":99\r\n");
    GIVES_BOTH(reply_int(r, 100), ":100\r\n");
    GIVES_BOTH(reply_int(r, INT64_MAX), ":9223372036854775807\r\n");
    GIVES_BOTH(reply_int(r, INT64_MIN), ":-9223372036854775808\r\n");
}

Test(reply, bulk_strings) {
    GIVES_BOTH(reply_bulk(r, BYTES("a\r\n\0b")), "$5\r\na\r\n\0b\r\n");
    GIVES_BOTH(reply_bulk(r, BYTES("")), "$0\r\n\r\n");
    GIVES_BOTH(reply_bulk(r, bytes_make(NULL, 0)), "$0\r\n\r\n");
    GIVES_BOTH(reply_bulk_text(r, "hello, world"), "$12\r\nhello, world\r\n");
    GIVES_BOTH(reply_bulk_int(r, -42), "$3\r\n-42\r\n");
    GIVES_BOTH(reply_bulk_pinned(r, BYTES("in place"), NULL, NULL), "$8\r\nin place\r\n");
    GIVES_BOTH(reply_bulk_pinned(r, BYTES(""), NULL, NULL), "$0\r\n\r\n");
}

Test(reply, nulls) {
    GIVES(reply_null(r), "$-1\r\n", "_\r\n");
    GIVES(reply_null_array(r), "*-1\r\n", "_\r\n");
}

Test(reply, aggregates) {
    GIVES_BOTH(reply_array(r, 0), "*0\r\n");
    GIVES_BOTH(reply_array(r, 12345), "*12345\r\n");
    GIVES(reply_map(r, 3), "*6\r\n", "%3\r\n");
    GIVES(reply_set(r, 3), "*3\r\n", "~3\r\n");
    GIVES(reply_push(r, 3), "*3\r\n", ">3\r\n");
}

Test(reply, attributes_exist_in_resp3) {
    struct fixture fixture;
    reply_attribute(open_reply(&fixture, 3), 1);
    gave(&fixture, BYTES("|1\r\n"));
}

Test(reply, booleans_and_numbers) {
    GIVES(reply_bool(r, true), ":1\r\n", "#t\r\n");
    GIVES(reply_bool(r, false), ":0\r\n", "#f\r\n");
    GIVES(reply_double(r, 1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
    GIVES(reply_double(r, 3), "$1\r\n3\r\n", ",3\r\n");
    GIVES(reply_double(r, INFINITY), "$3\r\ninf\r\n", ",inf\r\n");
    GIVES(reply_double(r, -INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
    GIVES(reply_double(r, NAN), "$3\r\nnan\r\n", ",nan\r\n");
    GIVES_BOTH(reply_long_double(r, 10.5L), "$4\r\n10.5\r\n");
    GIVES(reply_big_number(r, BYTES("12345678901234567890123")),
          "$23\r\n12345678901234567890123\r\n", "(12345678901234567890123\r\n");
}

Test(reply, verbatim_strings) {
    GIVES(reply_verbatim(r, "txt", BYTES("a\r\nb")), "$4\r\na\r\nb\r\n", "=8\r\ntxt:a\r\nb\r\n");
    GIVES(reply_verbatim(r, "mkd", BYTES("")), "$0\r\n\r\n", "=4\r\nmkd:\r\n");
}

Test(reply, errors_carry_their_code) {
    GIVES_BOTH(reply_error(r, "ERR no such key"), "-ERR no such key\r\n");
    GIVES_BOTH(reply_error(r, "-WRONGTYPE it is"), "-WRONGTYPE it is\r\n");
    GIVES_BOTH(reply_errorf(r, "ERR at %d", 7), "-ERR at 7\r\n");
    GIVES_BOTH(reply_error_bytes(r, BYTES("ERR a\0b")), "-ERR a\0b\r\n");
    GIVES_BOTH(reply_error(r, ""), "-ERR\r\n");
    GIVES_BOTH(reply_error(r, "-"), "-ERR\r\n");
}

Test(reply, errors_are_counted_with_their_code) {
    struct fixture fixture;
    struct reply *r = open_reply(&fixture, 2);
    reply_ok(r);
    cr_assert_eq(r->errors, 0);
    reply_error(r, "-NOAUTH Authentication required.");
    cr_assert_eq(r->errors, 1);
    cr_assert_str_eq(r->error_code, "NOAUTH");
    reply_errorf(r, "ERR %s", "x");
    cr_assert_eq(r->errors, 2);
    cr_assert_str_eq(r->error_code, "ERR");
    reply_error(r, "ACODEOFMORETHANTHIRTYONEBYTESISCUTSHORT here");
    cr_assert_str_eq(r->error_code, "ACODEOFMORETHANTHIRTYONEBYTESIS");
    outbuf_fini(&fixture.out);
}

/* bugs.md row 5, CVE-2025-67733: a line end inside an error let one client's data pose as another
 * reply. */
Test(reply, row_5_line_ends_in_errors_and_statuses_become_spaces) {
    GIVES_BOTH(reply_error(r, "ERR a\r\n+OK"), "-ERR a  +OK\r\n");
    GIVES_BOTH(reply_error_bytes(r, BYTES("ERR\n\r")), "-ERR  \r\n");
    GIVES_BOTH(reply_errorf(r, "ERR unknown '%s'\r\n", "\r\n$-1"), "-ERR unknown '  $-1'\r\n");
    GIVES_BOTH(reply_errorf(r, "\r\nERR x"), "-ERR x\r\n");
    GIVES_BOTH(reply_status(r, "a\r\n-ERR b"), "+a  -ERR b\r\n");
}

/* How many replies the text is, each line of which must be an error or a status. */
static int count_lines(struct bytes text) {
    int lines = 0;
    const char *p = text.ptr;
    const char *end = p + text.len;
    while (p < end) {
        cr_assert(*p == '-' || *p == '+');
        p = memchr(p, '\r', (size_t)(end - p));
        cr_assert(p && p + 1 < end && p[1] == '\n');
        p += 2;
        lines++;
    }
    return lines;
}

Test(reply, row_5_any_bytes_give_exactly_one_line_each) {
    struct fixture fixture;
    struct reply *r = open_reply(&fixture, 3);
    struct rng rng;
    rng_seed(&rng, 1);
    for (int round = 0; round < 20000; round++) {
        char bytes[12];
        size_t n = rng_below(&rng, sizeof(bytes));
        for (size_t i = 0; i < n; i++) {
            bytes[i] = round % 2 ? (char)rng_next(&rng) : "\r\n-+ a"[rng_below(&rng, 6)];
        }
        bytes[n] = 0;
        reply_error_bytes(r, bytes_make(bytes, n));
        reply_error(r, bytes);
        reply_errorf(r, "%s", bytes);
        reply_status(r, bytes);
        struct text text = written(&fixture);
        cr_assert_eq(count_lines(text_bytes(&text)), 4);
        text_fini(&text);
    }
    cr_assert_eq(r->errors, 60000);
    outbuf_fini(&fixture.out);
}

Test(reply, bulks_of_every_size_come_out_whole) {
    struct fixture fixture;
    struct reply *r = open_reply(&fixture, 3);
    size_t max = 3 * OUTBUF_CHUNK_BYTES;
    char *value = malloc(max);
    memset(value, 'v', max);
    for (size_t n = 0; n < max; n += n / 7 + 1) {
        reply_bulk(r, bytes_make(value, n));
        struct text text = written(&fixture);
        char header[32];
        size_t header_len = reply_put_header(header, '$', n);
        cr_assert_eq(text.len, header_len + n + 2);
        cr_assert_eq(memcmp(text.ptr, header, header_len), 0);
        cr_assert_eq(memcmp(text.ptr + header_len, value, n), 0);
        cr_assert_eq(memcmp(text.ptr + header_len + n, "\r\n", 2), 0);
        text_fini(&text);
    }
    free(value);
    outbuf_fini(&fixture.out);
}

Test(reply, bulks_in_a_row_are_those_one_by_one) {
    struct fixture one, row;
    struct reply *each = open_reply(&one, 2), *r = open_reply(&row, 2);
    size_t max = 2 * OUTBUF_CHUNK_BYTES;
    char *value = malloc(max);
    for (size_t i = 0; i < max; i++) {
        value[i] = (char)(i * 31 + i / 256);
    }
    struct reply_bulks bulks = {.reply = r};
    for (size_t n = 0; n < max; n += n < 64 ? 1 : n / 7) {
        reply_bulk(each, bytes_make(value + n % 5, n - n % 5));
        reply_bulks_add(&bulks, bytes_make(value + n % 5, n - n % 5));
    }
    reply_bulks_end(&bulks);
    reply_bulks_end(&bulks); /* nothing is left */
    cr_assert_eq(one.out.bytes, row.out.bytes);
    struct text expected = written(&one), text = written(&row);
    cr_assert_eq(text.len, expected.len);
    cr_assert_eq(memcmp(text.ptr, expected.ptr, text.len), 0);
    text_fini(&text);
    text_fini(&expected);
    free(value);
    outbuf_fini(&one.out);
    outbuf_fini(&row.out);
}

static void count_release(void *pin) {
    ++*(int *)pin;
}

Test(reply, pinned_bulk_is_released_after_it_was_sent) {
    struct fixture fixture;
    struct reply *r = open_reply(&fixture, 3);
    int released = 0;
    reply_bulk_pinned(r, BYTES("value"), count_release, &released);
    outbuf_drain(&fixture.out, 4);
    cr_assert_eq(released, 0);
    outbuf_drain(&fixture.out, 5);
    cr_assert_eq(released, 1);
    gave(&fixture, BYTES("\r\n"));
}

Test(reply, raw_passes_as_it_is) {
    GIVES_BOTH(reply_raw(r, BYTES("*1\r\n:1\r\n")), "*1\r\n:1\r\n");
}
