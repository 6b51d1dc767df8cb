/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/client/large.h"

#include "shard/memory/blob.h"
#include "shard/memory/heap.h"

#include "growth.h"

#include <criterion/criterion.h>
#include <stdlib.h>

Test(large, a_value_is_filled_from_parts_and_the_rest_is_given_back) {
    struct shard_heap *heap = shard_heap_new();
    struct large *large = NULL;
    cr_assert(large_begin(&large, heap, 30, 10));
    cr_assert_eq(large_missing(large), 10);
    cr_assert_eq(large_bytes(large), 0);
    cr_assert_eq(large_fill(large, BYTES("01234")).len, 0);
    cr_assert_eq(large_missing(large), 5);
    cr_assert_eq(large_bytes(large), 5);
    cr_assert_geq(large_memory(large), 10);
    struct bytes rest = large_fill(large, BYTES("56789\r\n*1"));
    cr_assert(bytes_is(rest, "\r\n*1"));
    cr_assert_eq(large_missing(large), 0);
    cr_assert(bytes_is(large_fill(large, rest), "\r\n*1"), "a full one takes nothing");
    large_free(large);
    shard_heap_free(heap);
}

static struct request parse(struct large *large, const char *input, struct parser *parser,
                            struct arena *arena) {
    struct parser_limits limits = {.bulk_len_max = 1 << 20, .authenticated = true};
    struct request request;
    size_t consumed;
    parser_init(parser);
    large_tell(large, parser);
    cr_assert_eq(
        parser_run(parser, &limits, bytes_make(input, strlen(input)), arena, &request, &consumed),
        PARSE_REQUEST);
    return request;
}

Test(large, only_a_whole_argument_is_taken_and_only_once) {
    struct shard_heap *heap = shard_heap_new();
    struct large *large = NULL;
    cr_assert(large_begin(&large, heap, 8, 5));
    large_fill(large, BYTES("value"));
    cr_assert(large_begin(&large, heap, 14, 5));
    large_fill(large, BYTES("VALUE"));
    struct parser parser;
    struct arena arena;
    arena_init(&arena, 256);
    struct request request =
        parse(large, "*3\r\n$5\r\n\r\n$5\r\n\r\n$5\r\nhello\r\n", &parser, &arena);
    cr_assert_eq(request.argc, 3);
    cr_assert(bytes_equal(request.argv[0], BYTES("value")));
    cr_assert(bytes_equal(request.argv[1], BYTES("VALUE")));
    cr_assert_null(large_take(large, request.argv[2]), "it lies in the input");
    cr_assert_null(large_take(large, bytes_make(request.argv[1].ptr, 4)));
    cr_assert_null(large_take(large, bytes_make(request.argv[1].ptr + 1, 4)));
    struct blob *blob = large_take(large, request.argv[1]);
    cr_assert_not_null(blob);
    cr_assert_eq(blob->data, request.argv[1].ptr);
    cr_assert(blob_unshared(blob));
    cr_assert_null(large_take(large, request.argv[1]));
    large_free(large);
    cr_assert(bytes_equal(bytes_make(blob->data, blob->length), BYTES("VALUE")), "still ours");
    blob_unref(blob);
    arena_fini(&arena);
    parser_fini(&parser);
    shard_heap_free(heap);
}

Test(large, nothing_has_nothing) {
    cr_assert_eq(large_missing(NULL), 0);
    cr_assert_eq(large_bytes(NULL), 0);
    cr_assert_eq(large_memory(NULL), 0);
    cr_assert_null(large_take(NULL, BYTES("x")));
    cr_assert(bytes_is(large_fill(NULL, BYTES("x")), "x"));
    large_free(NULL);
}

/* bugs.md row 6: a length that a client only names must not end the server. */
Test(large, what_the_machine_cannot_hold_is_refused) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    cr_skip_test("a sanitizer's allocator ends the program instead");
#endif
    struct shard_heap *heap = shard_heap_new();
    struct large *large = NULL;
    cr_assert_not(large_begin(&large, heap, 10, (size_t)1 << 62));
    cr_assert_null(large);
    cr_assert(large_begin(&large, heap, 10, 100));
    large_free(large);
    shard_heap_free(heap);
}

/* As MSET takes them: every argument is asked for, those that lie in the input are not here. */
static void take_many(unsigned n) {
    struct shard_heap *heap = shard_heap_new();
    struct large *large = NULL;
    struct bytes *values = malloc(n * sizeof *values);
    cr_assert_not_null(values);
    for (unsigned i = 0; i < n; i++) {
        cr_assert(large_begin(&large, heap, 10 * (size_t)i, 8));
        large_fill(large, BYTES("12345678"));
    }
    struct parser parser;
    parser_init(&parser);
    large_tell(large, &parser);
    for (unsigned i = 0; i < n; i++) {
        values[i] = parser.apart[i].bytes;
    }
    for (unsigned i = 0; i < n; i++) {
        cr_assert_null(large_take(large, BYTES("key")));
        struct blob *blob = large_take(large, values[i]);
        cr_assert_eq(blob->data, values[i].ptr);
        blob_unref(blob);
    }
    parser_fini(&parser);
    large_free(large);
    free(values);
    shard_heap_free(heap);
}

/* MSET of 30,000 values looked through all of them for each. */
Test(large, many_are_taken_in_one_walk) {
    assert_grows_gently(take_many, 1000);
}
