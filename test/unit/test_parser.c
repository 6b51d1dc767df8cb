/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/random.h"
#include "base/text.h"
#include "proto/parser.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>

static const struct parser_limits usual = {.bulk_len_max = 512 << 20, .authenticated = true};
static const struct parser_limits stranger = {.bulk_len_max = 512 << 20, .authenticated = false};

/* ---- Streams as transcripts ------------------------------------------------------------------
 * A stream is fed in parts; what came out is written down, one line per event:
 * "[ab,c]" or "[ab,c]i" a request and one that came inline, "empty", "error: ...", "more" at the
 * end. */

#define APART_MAX       64
#define APART_BYTES_MAX 100000

struct feed {
    struct parser parser;
    const struct parser_limits *limits;
    struct arena arena;
    struct text waiting; /* bytes that are not consumed */
    struct text transcript;
    bool failed;
    /* Bulks of so many bytes or more are taken out of the stream, and collected here; 0: none. */
    size_t apart_min;
    bool anew; /* forgets each scan that found too little */
    struct parser_apart apart[APART_MAX];
    char *apart_memory[APART_MAX];
    uint32_t apart_count;
    size_t apart_missing; /* of the last one */
    unsigned apart_requests;
    bool remembers; /* parser_run_after */
    struct request before;
    struct bytes before_name;
    char *before_bytes;
};

static void feed_open(struct feed *feed, const struct parser_limits *limits) {
    feed->limits = limits;
    feed->failed = false;
    feed->apart_min = 0;
    feed->anew = feed->remembers = false;
    feed->before = (struct request){0};
    feed->before_bytes = NULL;
    feed->apart_count = feed->apart_requests = 0;
    feed->apart_missing = 0;
    parser_init(&feed->parser);
    arena_init(&feed->arena, 4096);
    text_init(&feed->waiting);
    text_init(&feed->transcript);
}

/* The request at the start is over. */
static void feed_forget_apart(struct feed *feed) {
    cr_assert_eq(feed->apart_missing, 0);
    feed->apart_requests += feed->apart_count > 0;
    while (feed->apart_count > 0) {
        free(feed->apart_memory[--feed->apart_count]);
    }
}

static size_t feed_fill_apart(struct feed *feed, const char *ptr, size_t n) {
    n = n < feed->apart_missing ? n : feed->apart_missing;
    if (n > 0) {
        uint32_t last = feed->apart_count - 1;
        size_t at = feed->apart[last].bytes.len - feed->apart_missing;
        memcpy(feed->apart_memory[last] + at, ptr, n);
        feed->apart_missing -= n;
    }
    return n;
}

/* A bulk that is not all there goes on in memory of its own. */
static void feed_begin_apart(struct feed *feed) {
    size_t offset, len;
    if (feed->apart_min == 0 || feed->apart_count == APART_MAX ||
        !parser_bulk_missing(&feed->parser, &offset, &len) || len < feed->apart_min ||
        len > APART_BYTES_MAX || feed->waiting.len - offset >= len) {
        return;
    }
    char *memory = malloc(len);
    uint32_t i = feed->apart_count++;
    feed->apart_memory[i] = memory;
    feed->apart[i] = (struct parser_apart){.offset = offset, .bytes = bytes_make(memory, len)};
    feed->apart_missing = len;
    feed_fill_apart(feed, feed->waiting.ptr + offset, feed->waiting.len - offset);
    feed->waiting.len = offset;
}

static void feed_close(struct feed *feed) {
    feed->apart_missing = 0;
    feed_forget_apart(feed);
    parser_fini(&feed->parser);
    arena_fini(&feed->arena);
    free(feed->before_bytes);
    text_fini(&feed->waiting);
    text_fini(&feed->transcript);
}

static void feed_note_request(struct feed *feed, const struct request *request, size_t consumed) {
    cr_assert_geq(request->argc, 1);
    size_t apart = 0;
    for (uint32_t i = 0; i < feed->apart_count; i++) {
        apart += feed->apart[i].bytes.len;
    }
    cr_assert_eq(request->bytes, consumed + apart);
    text_append_char(&feed->transcript, '[');
    for (uint32_t i = 0; i < request->argc; i++) {
        text_append_text(&feed->transcript, i ? "," : "");
        text_append_bytes(&feed->transcript, request->argv[i]);
    }
    text_append_text(&feed->transcript, request->inlined ? "]i\n" : "]\n");
}

/* The bytes of the last request stay, and its name. */
static void feed_remember(struct feed *feed, const struct request *request, char *bytes) {
    free(feed->before_bytes);
    feed->before_bytes = bytes;
    feed->before_name = request->argv[0];
    feed->before = *request;
    feed->before.argv = &feed->before_name;
}

/* One call on a copy of exactly the waiting bytes, so that a sanitizer sees each byte read too
 * many. */
static bool feed_once(struct feed *feed) {
    size_t n = feed->waiting.len;
    char *copy = malloc(n ? n : 1);
    memcpy(copy, feed->waiting.ptr, n);
    struct request request;
    size_t consumed = 0;
    if (feed->anew) {
        parser_fini(&feed->parser);
    }
    parser_set_apart(&feed->parser, feed->apart, feed->apart_count);
    enum parse_status status =
        parser_run_after(&feed->parser, feed->limits, bytes_make(copy, n),
                         feed->remembers ? &feed->before : NULL, &feed->arena, &request, &consumed);
    if (status == PARSE_REQUEST) {
        feed_note_request(feed, &request, consumed);
        feed_remember(feed, &request, copy);
        copy = NULL;
    } else if (status == PARSE_EMPTY) {
        text_append_text(&feed->transcript, "empty\n");
    } else if (status == PARSE_ERROR) {
        text_append_text(&feed->transcript, "error: ");
        text_append_bytes(&feed->transcript, parser_error(&feed->parser));
        text_append_text(&feed->transcript, "\n");
        feed->failed = true;
    }
    free(copy);
    if (status == PARSE_MORE) {
        cr_assert(parser_bytes_needed(&feed->parser) == 0 ||
                  parser_bytes_needed(&feed->parser) > n);
        feed_begin_apart(feed);
        return false;
    }
    feed_forget_apart(feed);
    cr_assert(consumed > 0 && consumed <= n);
    memmove(feed->waiting.ptr, feed->waiting.ptr + consumed, n - consumed);
    feed->waiting.len -= consumed;
    arena_reset(&feed->arena);
    return !feed->failed;
}

static void feed_part(struct feed *feed, const char *ptr, size_t n) {
    if (feed->failed) {
        return;
    }
    size_t apart = feed_fill_apart(feed, ptr, n);
    text_append(&feed->waiting, ptr + apart, n - apart);
    while (feed->apart_missing == 0 && feed_once(feed)) {
    }
}

/* The transcript when the stream comes in parts of 1 to part_max bytes, at random, and with some of
 * its bulks apart; part_max 0: in one. */
static struct text transcript_of(struct bytes stream, const struct parser_limits *limits,
                                 size_t part_max, struct rng *rng) {
    struct feed feed;
    feed_open(&feed, limits);
    feed.remembers = part_max > 0;
    if (part_max > 0 && rng_below(rng, 2)) {
        feed.apart_min = 1 + rng_below(rng, 4);
        feed.anew = rng_below(rng, 2);
    }
    for (size_t pos = 0; pos < stream.len;) {
        size_t n = part_max ? 1 + rng_below(rng, part_max) : stream.len;
        n = n < stream.len - pos ? n : stream.len - pos;
        feed_part(&feed, stream.ptr + pos, n);
        pos += n;
    }
    if (!feed.failed && feed.waiting.len) {
        text_append_text(&feed.transcript, "more\n");
    }
    struct text transcript = feed.transcript;
    text_init(&feed.transcript);
    feed_close(&feed);
    return transcript;
}

static void reads_with(struct bytes stream, const struct parser_limits *limits,
                       const char *expected) {
    struct rng rng;
    rng_seed(&rng, 1);
    for (size_t part_max = 0; part_max < 3; part_max++) {
        struct text transcript = transcript_of(stream, limits, part_max, &rng);
        cr_assert_str_eq(transcript.ptr, expected, "%.60s gave %s", stream.ptr, transcript.ptr);
        text_fini(&transcript);
    }
}

#define READS(stream, expected)    reads_with(BYTES(stream), &usual, expected)
#define STRANGER(stream, expected) reads_with(BYTES(stream), &stranger, expected)
#define FAILS(stream, expected)                                                                    \
    reads_with(BYTES(stream), &usual, "error: ERR Protocol error: " expected "\n")

/* ---- Requests ---- */

Test(parser, multibulk_requests) {
    READS("*1\r\n$4\r\nPING\r\n", "[PING]\n");
    READS("*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "[GET,]\n");
    READS("*2\r\n$4\r\nECHO\r\n$4\r\na\r\nb\r\n", "[ECHO,a\r\nb]\n");
    READS("*1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n", "[a]\n[b]\n");
    READS("*1\r\n$1\r\na\r\n*1\r\n$1\r", "[a]\nmore\n");
    READS("*12\r\n"
          "$1\r\n0\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n"
          "$1\r\n6\r\n$1\r\n7\r\n$1\r\n8\r\n$1\r\n9\r\n$1\r\na\r\n$12\r\n123456789012\r\n",
          "[0,1,2,3,4,5,6,7,8,9,a,123456789012]\n");
}

/* The second begins as the first, and is another one all the same. */
Test(parser, requests_like_the_one_before) {
    READS("*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$2\r\nbc\r\n", "[GET,a]\n[GET,bc]\n");
    READS("*2\r\n$3\r\nGET\r\n$1\r\na\r\n*3\r\n$3\r\nGET\r\n$1\r\nb\r\n$0\r\n\r\n",
          "[GET,a]\n[GET,b,]\n");
    READS("*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$4\r\nGETX\r\n$1\r\nb\r\n*2\r\n$3\r\nget\r\n$"
          "1\r\nc\r\n",
          "[GET,a]\n[GETX,b]\n[get,c]\n");
    READS("*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r", "[PING]\n[PING]\nmore\n");
    READS("*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n:1\r\nb\r\n",
          "[GET,a]\nerror: ERR Protocol error: expected '$', got ':'\n");
    READS("*1\r\n$0\r\n\r\n*1\r\n$0\r\n\r\n", "[]\n[]\n");
    READS("*1\r\n$20\r\n01234567890123456789\r\n*1\r\n$20\r\n01234567890123456788\r\n",
          "[01234567890123456789]\n[01234567890123456788]\n");
}

Test(parser, inline_requests) {
    READS("PING\r\n", "[PING]i\n");
    READS("PING\n", "[PING]i\n");
    READS("  set\tkey  'a b' \"\\x41\"\r\n", "[set,key,a b,A]i\n");
    READS("echo \"a\"b\r\n", "[echo,ab]i\n");
    READS("PING\r\r\n", "[PING]i\n");
    READS("PING", "more\n");
    READS("$4\r\n", "[$4]i\n");
}

Test(parser, empty_requests_are_skipped) {
    READS("*0\r\n*-1\r\n\r\n\n   \r\n*-9223372036854775808\r\nPING\r\n",
          "empty\nempty\nempty\nempty\nempty\nempty\n[PING]i\n");
}

Test(parser, a_partial_request_waits) {
    static const char whole[] = "*2\r\n$3\r\nGET\r\n$5\r\nhello\r\n";
    struct rng rng;
    rng_seed(&rng, 1);
    for (size_t n = 1; n < sizeof(whole) - 1; n++) {
        struct text transcript = transcript_of(bytes_make(whole, n), &usual, 0, &rng);
        cr_assert_str_eq(transcript.ptr, "more\n");
        text_fini(&transcript);
    }
}

Test(parser, a_nul_hides_the_line_end_of_an_inline_request) {
    READS("echo a\0b\r\nPING\r\n", "more\n");
    READS("\0\r\n", "more\n");
}

/* ---- Errors ---- */

Test(parser, counts_are_strict_numbers) {
    FAILS("*\r\n", "invalid multibulk length");
    FAILS("*x\r\n", "invalid multibulk length");
    FAILS("*03\r\n", "invalid multibulk length");
    FAILS("*+1\r\n", "invalid multibulk length");
    FAILS("* 1\r\n", "invalid multibulk length");
    FAILS("*2147483648\r\n", "invalid multibulk length");
    FAILS("*99999999999999999999999\r\n", "invalid multibulk length");
    READS("*2147483647\r\n", "more\n");
}

Test(parser, bulk_lengths_are_strict_numbers_up_to_the_limit) {
    FAILS("*1\r\n$\r\n", "invalid bulk length");
    FAILS("*1\r\n$-1\r\nPING\r\n", "invalid bulk length");
    FAILS("*1\r\n$04\r\n", "invalid bulk length");
    FAILS("*1\r\n$+4\r\n", "invalid bulk length");
    FAILS("*1\r\n$536870913\r\n", "invalid bulk length");
    READS("*1\r\n$536870912\r\n", "more\n");
}

Test(parser, arguments_are_bulks) {
    FAILS("*1\r\nX4\r\n", "expected '$', got 'X'");
    FAILS("*1\r\n\r\n", "expected '$', got '\r'");
    FAILS("*2\r\n$1\r\na\r\nPING\r\n", "expected '$', got 'P'");
}

Test(parser, an_error_quotes_even_a_nul) {
    struct feed feed;
    feed_open(&feed, &usual);
    feed_part(&feed, "*1\r\n\0\r\n", 7);
    cr_assert(feed.failed);
    cr_assert(bytes_equal(parser_error(&feed.parser),
                          BYTES("ERR Protocol error: expected '$', got '\0'")));
    feed_close(&feed);
}

Test(parser, every_line_end_is_checked) {
    FAILS("*1\rX", "invalid CRLF in request");
    FAILS("*x\rX", "invalid CRLF in request");
    FAILS("*0\rX", "invalid CRLF in request");
    FAILS("*1\r\n$4\rX", "invalid CRLF in request");
    FAILS("*1\r\n$-1\rX", "invalid CRLF in request");
    FAILS("*1\r\nX\rX", "expected '$', got 'X'");
    FAILS("*1\r\n$4\r\nPING\rX", "invalid CRLF in request");
    FAILS("*1\r\n$4\r\nPINGX\n", "invalid CRLF in request");
    READS("*1\r\n$4\r\nPINGX", "more\n");
    READS("*1\n$4\nPING\n", "more\n");
}

Test(parser, quotes_must_balance) {
    FAILS("\"abc\r\n", "unbalanced quotes in request");
    FAILS("echo 'a\r\n", "unbalanced quotes in request");
}

/* `head`, then `n` times `fill`, then `tail`. */
static void long_line(const char *head, char fill, size_t n, const char *tail,
                      const char *expected_start) {
    struct text stream;
    struct rng rng;
    rng_seed(&rng, 1);
    text_init(&stream);
    text_append_text(&stream, head);
    for (size_t i = 0; i < n; i++) {
        text_append_char(&stream, fill);
    }
    text_append_text(&stream, tail);
    static const size_t part_max[] = {0, 30000, 70000};
    for (size_t i = 0; i < 3; i++) {
        struct text transcript = transcript_of(text_bytes(&stream), &usual, part_max[i], &rng);
        cr_assert_eq(strncmp(transcript.ptr, expected_start, strlen(expected_start)), 0, "%s",
                     transcript.ptr);
        text_fini(&transcript);
    }
    text_fini(&stream);
}

Test(parser, a_line_without_end_is_refused_after_64_kb_however_it_comes) {
    long_line("", 'a', 65536, "", "more");
    long_line("", 'a', 65537, "", "error: ERR Protocol error: too big inline request");
    long_line("", 'a', 65536, "\n", "[aaaa");
    long_line("", 'a', 65537, "\n", "error: ERR Protocol error: too big inline request");
    long_line("*", '1', 65535, "", "more");
    long_line("*", '1', 65536, "", "error: ERR Protocol error: too big mbulk count string");
    long_line("*", '1', 65536, "\r\n", "error: ERR Protocol error: too big mbulk count string");
    long_line("*", '1', 65535, "\r\n", "error: ERR Protocol error: invalid multibulk length");
    long_line("*1\r\n$", '1', 65535, "", "more");
    long_line("*1\r\n$", '1', 65536, "", "error: ERR Protocol error: too big bulk count string");
    long_line("*1\r\n", 'X', 65537, "", "error: ERR Protocol error: too big bulk count string");
}

/* bugs.md row 1, CVE-2021-32675: a stranger announced a million arguments of half a gigabyte, and
 * got the memory. */
Test(parser, row_1_strangers_may_announce_little) {
    STRANGER("*11\r\n", "error: ERR Protocol error: unauthenticated multibulk length\n");
    STRANGER("*1\r\n$16385\r\n", "error: ERR Protocol error: unauthenticated bulk length\n");
    STRANGER("*1\r\n$536870913\r\n", "error: ERR Protocol error: invalid bulk length\n");
    STRANGER("*2147483648\r\n", "error: ERR Protocol error: invalid multibulk length\n");
    STRANGER("*10\r\n", "more\n");
    STRANGER("*1\r\n$16384\r\n", "more\n");
    STRANGER("*1\r\n$4\r\nPING\r\n", "[PING]\n");
    STRANGER("a b c d e f g h i j k l\r\n", "[a,b,c,d,e,f,g,h,i,j,k,l]i\n");
}

Test(parser, row_1_memory_follows_what_arrived_and_not_what_was_announced) {
    struct feed feed;
    feed_open(&feed, &usual);
    feed_part(&feed, "*2147483647\r\n$536870912\r\nabc", 28);
    cr_assert_eq(feed.parser.argv_cap, 0);
    cr_assert_null(feed.arena.first);
    for (int i = 0; i < 100; i++) {
        feed_part(&feed, "", 0);
    }
    cr_assert_eq(feed.parser.argv_cap, 0);
    feed_close(&feed);
}

/* bugs.md row 3, CVE-2026-27623: state left over from an empty request made the next one fail an
 * assertion. */
Test(parser, row_3_an_empty_request_leaves_no_trace) {
    READS("*0\r\n*1\r\n$4\r\nPING\r\n*-1\r\n\r\n*1\r\n$4\r\nPING\r\n",
          "empty\n[PING]\nempty\nempty\n[PING]\n");
    READS("\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n", "empty\n[a,b]\n");
}

/* bugs.md row 6, CVE-2021-21309: a raised limit made a length overflow when two bytes were added to
 * it. */
Test(parser, row_6_the_largest_limit_does_not_overflow) {
    struct parser_limits limits = {.bulk_len_max = INT64_MAX, .authenticated = true};
    struct feed feed;
    feed_open(&feed, &limits);
    static const char stream[] = "*2\r\n$9223372036854775807\r\nabcdefgh\r\n";
    feed_part(&feed, stream, sizeof(stream) - 1);
    cr_assert_str_eq(feed.transcript.ptr, "");
    cr_assert_eq(parser_bytes_needed(&feed.parser), (size_t)INT64_MAX + 26 + 2);
    feed_close(&feed);
    reads_with(BYTES("*1\r\n$9223372036854775808\r\n"), &limits,
               "error: ERR Protocol error: invalid bulk length\n");
}

Test(parser, tells_how_many_bytes_a_big_bulk_needs) {
    struct feed feed;
    feed_open(&feed, &usual);
    feed_part(&feed, "*2\r\n$3\r\nSET\r\n$100000\r\nabc", 25);
    cr_assert_eq(parser_bytes_needed(&feed.parser), 22 + 100000 + 2);
    cr_assert_eq(feed.parser.args_bytes, 3);
    feed_close(&feed);
}

Test(parser, large_bulks_may_lie_apart_however_they_are_cut) {
    static const char stream[] =
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nhello\r\nworld\r\n"
        "*5\r\n$4\r\nMSET\r\n$10\r\n0123456789\r\n$10\r\nabcdefghij\r\n$1\r\nx\r\n"
        "$11\r\n\r\n\r\n\r\n\r\n\r\n-\r\n*1\r\n$4\r\nPING\r\n*1\r\n$9\r\n123456789xx";
    static const char expected[] =
        "[SET,k,hello\r\nworld]\n[MSET,0123456789,abcdefghij,x,\r\n\r\n\r\n\r\n\r\n-]\n[PING]\n"
        "error: ERR Protocol error: invalid CRLF in request\n";
    size_t len = sizeof(stream) - 1;
    unsigned apart_requests = 0;
    for (size_t part = 1; part < len; part++) {
        struct feed feed;
        feed_open(&feed, &usual);
        feed.apart_min = 5;
        feed.anew = part % 2;
        for (size_t pos = 0; pos < len; pos += part) {
            feed_part(&feed, stream + pos, part < len - pos ? part : len - pos);
        }
        cr_assert_str_eq(feed.transcript.ptr, expected, "%zu: %s", part, feed.transcript.ptr);
        apart_requests += feed.apart_requests;
        feed_close(&feed);
    }
    cr_assert(apart_requests > 100, "%u requests with bulks apart", apart_requests);
}

Test(parser, tells_which_bulk_is_missing) {
    struct feed feed;
    size_t offset = 0, bytes = 0;
    feed_open(&feed, &usual);
    feed_part(&feed, "*2\r\n$3\r\nSET\r\n$10", 16);
    cr_assert_not(parser_bulk_missing(&feed.parser, &offset, &bytes));
    feed_part(&feed, "0000\r\nabc", 9);
    cr_assert(parser_bulk_missing(&feed.parser, &offset, &bytes));
    cr_assert_eq(offset, 22);
    cr_assert_eq(bytes, 100000);
    struct parser_apart apart = {.offset = 22, .bytes = bytes_make(NULL, 100000)};
    parser_set_apart(&feed.parser, &apart, 1);
    cr_assert_not(parser_bulk_missing(&feed.parser, &offset, &bytes));
    cr_assert_eq(parser_bytes_needed(&feed.parser), 24); /* only its line end */
    feed_close(&feed);
}

Test(parser, room_for_many_arguments_is_given_back) {
    struct text stream;
    struct feed feed;
    text_init(&stream);
    text_append_text(&stream, "*10000\r\n");
    for (int i = 0; i < 10000; i++) {
        text_append_text(&stream, "$1\r\na\r\n");
    }
    feed_open(&feed, &usual);
    feed_part(&feed, stream.ptr, stream.len - 1);
    cr_assert_geq(feed.parser.argv_cap, 9999);
    feed_part(&feed, stream.ptr + stream.len - 1, 1);
    cr_assert_eq(feed.transcript.len, 20002);
    cr_assert_eq(feed.parser.argv_cap, 0);
    feed_close(&feed);
    text_fini(&stream);
}

/* ---- Every stream, every split ---- */

static const char *pick(struct rng *rng, const char *const *words, size_t n) {
    return words[rng_below(rng, n)];
}

#define PICK(rng, words) pick(rng, words, sizeof(words) / sizeof((words)[0]))

static void add_bulk(struct text *stream, struct rng *rng) {
    size_t n = rng_below(rng, 20) ? rng_below(rng, 14) : rng_below(rng, 3000);
    text_appendf(stream, "$%zu\r\n", n);
    for (size_t i = 0; i < n; i++) {
        text_append_char(stream, "ab\r\n$*1 "[rng_below(rng, 8)]);
    }
    text_append_text(stream, "\r\n");
}

static void add_request(struct text *stream, struct rng *rng) {
    static const char *const lines[] = {
        "*0\r\n", "*-1\r\n", "\r\n", "\n", " \t\r\n", "PING\r\n", "get 'a b' \"\\x41\\n\"\n",
        "*-7\r\n"};
    if (rng_below(rng, 3) == 0) {
        text_append_text(stream, PICK(rng, lines));
        return;
    }
    size_t argc = 1 + rng_below(rng, rng_below(rng, 10) ? 5 : 40);
    bool again = rng_below(rng, 2); /* a name that others have, too */
    text_appendf(stream, "*%zu\r\n%s", argc, again ? "$3\r\nGET\r\n" : "");
    for (size_t i = again; i < argc; i++) {
        add_bulk(stream, rng);
    }
}

/* Requests that are right, then a few bytes changed, dropped or put in. */
static void make_stream(struct text *stream, struct rng *rng) {
    static const char *const odd[] = {"$",  "*",          "\r",     "\n",          "\r\n", "-",
                                      "-1", "0",          "9",      "99999999999", "\"",   "'",
                                      "X",  "$0\r\n\r\n", "*1\r\n", "2147483648",  "\\"};
    text_clear(stream);
    size_t requests = rng_below(rng, 6);
    for (size_t i = 0; i < requests; i++) {
        add_request(stream, rng);
    }
    size_t changes = rng_below(rng, 4) ? 0 : 1 + rng_below(rng, 3);
    for (size_t i = 0; i < changes; i++) {
        struct text copy;
        text_init(&copy);
        size_t at = rng_below(rng, stream->len + 1);
        size_t skip = rng_below(rng, 3);
        skip = skip < stream->len - at ? skip : stream->len - at;
        text_append(&copy, stream->ptr, at);
        text_append_text(&copy, PICK(rng, odd));
        text_append(&copy, stream->ptr + at + skip, stream->len - at - skip);
        text_fini(stream);
        *stream = copy;
    }
    if (rng_below(rng, 40) == 0) {
        text_append_char(stream, (char)rng_next(rng));
    }
}

Test(parser, row_3_every_split_of_every_stream_gives_the_same, .timeout = 60) {
    struct rng rng;
    struct text stream;
    rng_seed(&rng, 20261121);
    text_init(&stream);
    int errors = 0;
    int requests = 0;
    for (int round = 0; round < 3000; round++) {
        make_stream(&stream, &rng);
        const struct parser_limits *limits = round % 4 ? &usual : &stranger;
        struct text whole = transcript_of(text_bytes(&stream), limits, 0, &rng);
        errors += strstr(whole.ptr, "error: ") != NULL;
        requests += whole.ptr[0] == '[';
        static const size_t part_max[] = {1, 2, 7, 100};
        for (size_t i = 0; i < 4; i++) {
            struct text parts = transcript_of(text_bytes(&stream), limits, part_max[i], &rng);
            cr_assert(bytes_equal(text_bytes(&parts), text_bytes(&whole)),
                      "stream %d in parts of %zu:\n%s\nwhole:\n%s", round, part_max[i], parts.ptr,
                      whole.ptr);
            text_fini(&parts);
        }
        text_fini(&whole);
    }
    /* The generator must reach both sides. */
    cr_assert(errors > 150 && requests > 500, "%d errors, %d requests", errors, requests);
    text_fini(&stream);
}

Test(parser, every_single_cut_of_a_pipeline_gives_the_same) {
    static const char stream[] =
        "*0\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nhello\r\nworld\r\n\r\nGET k\r\n"
        "*-1\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n*1\r\n$4\r\nPINGxx";
    size_t len = sizeof(stream) - 1;
    struct rng rng;
    rng_seed(&rng, 1);
    struct text whole = transcript_of(bytes_make(stream, len), &usual, 0, &rng);
    for (size_t first = 0; first <= len; first++) {
        for (size_t second = first; second <= len; second++) {
            struct feed feed;
            feed_open(&feed, &usual);
            feed_part(&feed, stream, first);
            feed_part(&feed, stream + first, second - first);
            feed_part(&feed, stream + second, len - second);
            cr_assert_str_eq(feed.transcript.ptr, whole.ptr);
            feed_close(&feed);
        }
    }
    text_fini(&whole);
}
