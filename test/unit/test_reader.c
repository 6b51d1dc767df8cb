/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/random.h"
#include "base/text.h"
#include "proto/reader.h"
#include "proto/reply.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <sys/uio.h>

static const struct reader_limits usual = {.bulk_len_max = 512 << 20, .values_max = 1 << 20};

/* ---- Streams as transcripts ------------------------------------------------------------------
 * A stream is fed in parts; what came out is written down: "+OK" "-ERR no" "$text" ":5" "_" ",1.5"
 * "#1" "(123" "=txt:x", aggregates as "*[a b]", one line per reply; "error: ..." or "more" at the
 * end. */

static const struct reader_value *describe(struct text *out, const struct reader_value *value) {
    static const char types[] = "+-$:_,#(=*~%|>";
    const struct reader_value *next = value + 1;
    text_append_char(out, types[value->kind]);
    switch (value->kind) {
    case READER_INTEGER:
    case READER_BOOLEAN:
        text_appendf(out, "%" PRId64, value->integer);
        break;
    case READER_DOUBLE:
        text_appendf(out, "%.17g", value->number);
        break;
    case READER_NULL:
        break;
    case READER_ARRAY:
    case READER_SET:
    case READER_MAP:
    case READER_ATTRIBUTE:
    case READER_PUSH:
        text_append_char(out, '[');
        for (int64_t i = 0; i < value->integer; i++) {
            while (next->kind == READER_ATTRIBUTE) {
                next = describe(out, next);
            }
            next = describe(out, next);
            text_append_text(out, i + 1 < value->integer ? " " : "");
        }
        text_append_char(out, ']');
        break;
    default:
        text_append_bytes(out, value->text);
    }
    cr_assert_eq(next, reader_next(value));
    return next;
}

/* Reads all replies out of memory of the input's exact size, at another address each time. */
static bool read_some(struct reader *reader, const struct reader_limits *limits, struct bytes all,
                      size_t *from, struct text *transcript) {
    for (;;) {
        size_t n = all.len - *from, consumed = 0;
        char *copy = malloc(n ? n : 1);
        memcpy(copy, all.ptr + *from, n);
        struct reader_reply reply;
        enum read_status status =
            reader_run(reader, limits, bytes_make(copy, n), &reply, &consumed);
        if (status == READ_REPLY) {
            cr_assert(consumed > 0 && consumed <= n);
            const struct reader_value *value = reply.values;
            while (value < reply.values + reply.count) {
                value = describe(transcript, value);
            }
            cr_assert_eq(reader_next(reader_reply_value(&reply)), reply.values + reply.count);
            text_append_char(transcript, '\n');
            *from += consumed;
        } else if (status == READ_ERROR) {
            text_appendf(transcript, "error: %s\n", reader->error);
        } else {
            cr_assert_gt(reader_bytes_needed(reader), n);
        }
        free(copy);
        if (status != READ_REPLY) {
            return status == READ_MORE;
        }
    }
}

/* In parts that end at `first`, and then every `step` bytes. */
static struct text transcript_of(struct bytes stream, const struct reader_limits *limits,
                                 size_t first, size_t step) {
    struct reader reader;
    struct text transcript;
    reader_init(&reader);
    text_init(&transcript);
    size_t from = 0;
    bool alive = true;
    for (size_t to = first < stream.len ? first : stream.len; alive;) {
        alive = read_some(&reader, limits, bytes_make(stream.ptr, to), &from, &transcript);
        if (to == stream.len) {
            break;
        }
        to = stream.len - to > step ? to + step : stream.len;
    }
    if (alive && from < stream.len) {
        text_append_text(&transcript, "more\n");
    }
    reader_fini(&reader);
    return transcript;
}

/* Whatever the cut. */
static void reads_within(struct bytes stream, const struct reader_limits *limits,
                         const char *expected) {
    struct text whole = transcript_of(stream, limits, stream.len, stream.len);
    cr_assert_str_eq(whole.ptr, expected);
    for (size_t first = 0; first <= stream.len; first++) {
        for (size_t step = 1; step <= 64; step = step == 1 ? 7 : step + 57) {
            struct text parts = transcript_of(stream, limits, first, step);
            cr_assert_str_eq(parts.ptr, whole.ptr, "cut at %zu, then every %zu", first, step);
            text_fini(&parts);
        }
    }
    text_fini(&whole);
}

#define reads(stream, expected) reads_within(BYTES(stream), &usual, expected)

/* ---- What is read ---- */

Test(reader, all_types_of_resp2) {
    reads("+OK\r\n+\r\n-ERR no such key\r\n-LOADING\r\n", "+OK\n+\n-ERR no such key\n-LOADING\n");
    reads(":0\r\n:-1\r\n:9223372036854775807\r\n:-9223372036854775808\r\n",
          ":0\n:-1\n:9223372036854775807\n:-9223372036854775808\n");
    reads("$5\r\nhello\r\n$0\r\n\r\n$-1\r\n", "$hello\n$\n_\n");
    reads("$8\r\na\r\nb\n\rc$\r\n", "$a\r\nb\n\rc$\n");
    reads("*0\r\n*-1\r\n*2\r\n$1\r\na\r\n*1\r\n:5\r\n", "*[]\n_\n*[$a *[:5]]\n");
}

Test(reader, all_types_of_resp3) {
    reads("_\r\n#t\r\n#f\r\n", "_\n#1\n#0\n");
    reads(",1.5\r\n,inf\r\n,-inf\r\n,3\r\n,1e10\r\n", ",1.5\n,inf\n,-inf\n,3\n,10000000000\n");
    reads("(3492890328409238509324850943850943825024385\r\n(-1\r\n",
          "(3492890328409238509324850943850943825024385\n(-1\n");
    reads("!7\r\nERR a\nb\r\n=8\r\ntxt:four\r\n=4\r\nmkd:\r\n", "-ERR a\nb\n=txt:four\n=mkd:\n");
    reads("%2\r\n+a\r\n:1\r\n+b\r\n%0\r\n~1\r\n#t\r\n~0\r\n", "%[+a :1 +b %[]]\n~[#1]\n~[]\n");
    reads(">2\r\n+message\r\n+x\r\n+OK\r\n", ">[+message +x]\n+OK\n");
}

Test(reader, nan_is_a_number) {
    struct reader reader;
    struct reader_reply reply;
    size_t consumed;
    reader_init(&reader);
    cr_assert_eq(reader_run(&reader, &usual, BYTES(",nan\r\n"), &reply, &consumed), READ_REPLY);
    cr_assert(isnan(reply.values[0].number));
    reader_fini(&reader);
}

Test(reader, attributes_stand_ahead_of_their_value) {
    reads("|1\r\n+ttl\r\n:5\r\n+OK\r\n+next\r\n", "|[+ttl :5]+OK\n+next\n");
    reads("*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n", "*[|[+a +b]:1 :2]\n");
    reads("|0\r\n|0\r\n$1\r\nx\r\n", "|[]|[]$x\n");
    reads("|1\r\n+a\r\n|1\r\n+b\r\n:1\r\n:2\r\n*1\r\n:3\r\n", "|[+a |[+b :1]:2]*[:3]\n");
}

Test(reader, deep_replies_end_all_at_once) {
    reads("*1\r\n*1\r\n*2\r\n*1\r\n$1\r\na\r\n%1\r\n+k\r\n*1\r\n_\r\n:1\r\n",
          "*[*[*[*[$a] %[+k *[_]]]]]\n:1\n");
}

Test(reader, what_is_not_all_there_is_waited_for) {
    reads("", "");
    reads("+OK\r", "more\n");
    reads("+OK\r\n$3\r\nab", "+OK\nmore\n");
    reads("*2\r\n:1\r\n", "more\n");
    reads("|1\r\n+a\r\n+b\r\n", "more\n");
    reads("$3\r\nabc\r", "more\n");
}

Test(reader, what_is_no_resp_is_an_error) {
    reads("+OK\r\nhello\r\n", "+OK\nerror: a type that is none\n");
    reads_within(BYTES("\0"), &usual, "error: a type that is none\n");
    reads("\r\n", "error: a type that is none\n");
    reads("+OK\n", "error: a line that does not end as it should\n");
    reads("+a\rb\r\n", "error: a line that does not end as it should\n");
    reads("+\n", "error: a line that does not end as it should\n");
    reads(":\r\n", "error: no integer where one should be\n");
    reads(":1x\r\n", "error: no integer where one should be\n");
    reads(":9223372036854775808\r\n", "error: no integer where one should be\n");
    reads(",x\r\n", "error: no number where one should be\n");
    reads("(\r\n", "error: no big number where one should be\n");
    reads("(-\r\n", "error: no big number where one should be\n");
    reads("(1a\r\n", "error: no big number where one should be\n");
    reads("#x\r\n", "error: no boolean where one should be\n");
    reads("_x\r\n", "error: no null where one should be\n");
    reads("$-2\r\n", "error: no length of a bulk where one should be\n");
    reads("!-1\r\n", "error: no length of a bulk where one should be\n");
    reads("$?\r\n", "error: no length of a bulk where one should be\n");
    reads("$1\r\nabc", "error: a bulk that does not end as it should\n");
    reads("=3\r\ntxt\r\n", "error: a verbatim text without its kind\n");
    reads("=4\r\ntext\r\n", "error: a verbatim text without its kind\n");
    reads("%-1\r\n", "error: no count where one should be\n");
    reads("*?\r\n", "error: no count where one should be\n");
    reads("*1\r\n>1\r\n:1\r\n", "error: a push within a reply\n");
}

/* ---- Limits ---- */

static const struct reader_limits tight = {.bulk_len_max = 4, .values_max = 5};

Test(reader, limits_are_kept) {
    reads_within(BYTES("$4\r\nabcd\r\n$5\r\n"), &tight, "$abcd\nerror: too long a bulk\n");
    reads_within(BYTES("*4\r\n:1\r\n:2\r\n:3\r\n:4\r\n*5\r\n"), &tight,
                 "*[:1 :2 :3 :4]\nerror: too many values\n");
    reads_within(BYTES("%2\r\n:1\r\n:2\r\n:3\r\n:4\r\n%3\r\n"), &tight,
                 "%[:1 :2 :3 :4]\nerror: too many values\n");
    /* Each may, together they may not. */
    reads_within(BYTES("*2\r\n*2\r\n:1\r\n:2\r\n*1\r\n:3\r\n"), &tight, "error: too many values\n");
    reads("*9223372036854775807\r\n", "error: too many values\n");
    reads("%9223372036854775807\r\n", "error: too many values\n");
}

/* A header's promise costs nothing. */
Test(reader, memory_follows_what_has_arrived) {
    const struct reader_limits wide = {.bulk_len_max = INT64_MAX, .values_max = UINT32_MAX};
    struct reader reader;
    struct reader_reply reply;
    size_t consumed;
    reader_init(&reader);
    struct bytes stream = BYTES("*2000000000\r\n:1\r\n$9223372036854775807\r\n");
    cr_assert_eq(reader_run(&reader, &wide, stream, &reply, &consumed), READ_MORE);
    cr_assert_leq(reader.capacity, 8);
    cr_assert_gt(reader_bytes_needed(&reader), (size_t)INT64_MAX);
    reader_fini(&reader);
}

Test(reader, depth_has_an_end) {
    struct text stream;
    text_init(&stream);
    for (int i = 0; i < READER_DEPTH_MAX; i++) {
        text_append_text(&stream, "*1\r\n");
    }
    size_t all = stream.len;
    text_append_text(&stream, ":1\r\n");
    struct text fits = transcript_of(text_bytes(&stream), &usual, 1, 1);
    cr_assert_null(strstr(fits.ptr, "error"));
    stream.len = all;
    text_append_text(&stream, "*1\r\n:1\r\n");
    struct text deep = transcript_of(text_bytes(&stream), &usual, 1, 1);
    cr_assert_str_eq(deep.ptr, "error: too many values within each other\n");
    text_fini(&fits);
    text_fini(&deep);
    text_fini(&stream);
}

Test(reader, a_line_has_an_end) {
    struct text stream;
    text_init(&stream);
    text_append_char(&stream, '-');
    while (stream.len < 65536 - 2) {
        text_append_char(&stream, 'x');
    }
    text_append_text(&stream, "\r\n");
    struct text fits = transcript_of(text_bytes(&stream), &usual, 65500, 1);
    cr_assert_eq(fits.len, 65536 - 1);
    stream.len -= 2;
    text_append_text(&stream, "x\r\n");
    for (size_t first = 65530; first <= stream.len; first++) {
        struct text longer = transcript_of(text_bytes(&stream), &usual, first, 1);
        cr_assert_str_eq(longer.ptr, "error: too long a line\n");
        text_fini(&longer);
    }
    text_fini(&fits);
    text_fini(&stream);
}

/* ---- With the writer of replies ---- */

static struct text written(struct outbuf *out) {
    struct iovec vectors[64];
    struct text text;
    text_init(&text);
    for (int n; (n = outbuf_vectors(out, vectors, 64)) > 0;) {
        for (int i = 0; i < n; i++) {
            text_append(&text, vectors[i].iov_base, vectors[i].iov_len);
            outbuf_drain(out, vectors[i].iov_len);
        }
    }
    return text;
}

/* One value of any type, and what the reader should say of it. */
static void write_any(struct reply *r, struct rng *rng, unsigned depth, struct text *expected) {
    static const char filler[] = "a\r\nb$*+-12345";
    size_t n = rng_below(rng, depth > 3 ? 2 : 5);
    struct bytes text = bytes_make(filler, rng_below(rng, sizeof(filler)));
    unsigned kinds = depth > 3 ? 9 : r->resp == 3 ? 13 : 11;
    switch (rng_below(rng, kinds)) {
    case 0:
        reply_status(r, "fine");
        text_append_text(expected, "+fine");
        return;
    case 1:
        reply_error(r, "ERR bad");
        text_append_text(expected, "-ERR bad");
        return;
    case 2:
        reply_bulk(r, text);
        text_append_char(expected, '$');
        text_append_bytes(expected, text);
        return;
    case 3:
        reply_null(r);
        text_append_text(expected, "_");
        return;
    case 4:
        reply_int(r, -(int64_t)n);
        text_appendf(expected, ":%" PRId64, -(int64_t)n);
        return;
    case 5:
        reply_double(r, (double)n + 0.25);
        text_appendf(expected, "%c%.17g", r->resp == 3 ? ',' : '$', (double)n + 0.25);
        return;
    case 6:
        reply_bool(r, n & 1);
        text_appendf(expected, "%c%d", r->resp == 3 ? '#' : ':', (int)(n & 1));
        return;
    case 7:
        reply_big_number(r, BYTES("123456789012345678901234567890"));
        text_appendf(expected, "%c123456789012345678901234567890", r->resp == 3 ? '(' : '$');
        return;
    case 8:
        reply_verbatim(r, "txt", text);
        text_append_text(expected, r->resp == 3 ? "=txt:" : "$");
        text_append_bytes(expected, text);
        return;
    case 9:
        reply_array(r, n);
        text_append_text(expected, "*[");
        break;
    case 10:
        reply_set(r, n);
        text_append_text(expected, r->resp == 3 ? "~[" : "*[");
        break;
    case 11:
        reply_map(r, n);
        text_append_text(expected, "%[");
        n *= 2;
        break;
    default:
        reply_attribute(r, 1);
        text_append_text(expected, "|[+k +v]");
        reply_status(r, "k");
        reply_status(r, "v");
        write_any(r, rng, depth + 1, expected);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        write_any(r, rng, depth + 1, expected);
        text_append_text(expected, i + 1 < n ? " " : "");
    }
    text_append_char(expected, ']');
}

Test(reader, reads_whatever_reply_writes) {
    struct rng rng;
    rng_seed(&rng, 5);
    for (int round = 0; round < 300; round++) {
        struct outbuf out;
        struct reply reply;
        struct text expected;
        outbuf_init(&out);
        text_init(&expected);
        reply_init(&reply, &out, round % 2 ? 3 : 2);
        for (unsigned i = 0; i <= rng_below(&rng, 4); i++) {
            write_any(&reply, &rng, 0, &expected);
            text_append_char(&expected, '\n');
        }
        struct text stream = written(&out);
        for (size_t step = 1; step <= stream.len; step += 1 + step / 2) {
            struct text got = transcript_of(text_bytes(&stream), &usual, step, step);
            cr_assert_str_eq(got.ptr, expected.ptr);
            text_fini(&got);
        }
        text_fini(&stream);
        text_fini(&expected);
        outbuf_fini(&out);
    }
}
