/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests of a log: whatever bytes they are, nothing is read past them, a request that is not all
 * there is taken when it is, and what was taken, written again, is what was read.
 */
#include "base/check.h"
#include "base/text.h"
#include "persist/check/request.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_again(struct text *out, const struct request_words *words) {
    text_appendf(out, "*%u\r\n", words->argc);
    for (uint32_t i = 0; i < words->argc; i++) {
        text_appendf(out, "$%zu\r\n", words->argv[i].len);
        text_append_bytes(out, words->argv[i]);
        text_append_text(out, "\r\n");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* A block of its own, so that a sanitizer sees what is read past it. */
    char *bytes = malloc(size + 1);
    check(bytes != NULL);
    memcpy(bytes, data, size);
    struct bytes input = bytes_make(bytes, size);
    struct request_words words = {0};
    struct text again;
    text_init(&again);
    for (;;) {
        struct bytes before = input;
        enum request_got got = request_take(&input, &words);
        if (got != REQUEST_WHOLE) {
            check(input.ptr == before.ptr && input.len == before.len);
            break;
        }
        size_t taken = before.len - input.len;
        text_clear(&again);
        write_again(&again, &words);
        check(bytes_equal(text_bytes(&again), bytes_make(before.ptr, taken)));
        for (size_t cut = taken > 64 ? taken - 64 : 0; cut < taken; cut++) {
            struct bytes shorter = bytes_make(before.ptr, cut);
            check(request_take(&shorter, &words) == REQUEST_SHORT);
        }
        check(request_take(&before, &words) == REQUEST_WHOLE);
        uint32_t db, order, argc = words.argc;
        bool has_db = words.argv[0].len > 0 && words.argv[0].ptr[0] == '@';
        if (request_take_mark(&words, &db, &order)) {
            check(words.argc == argc - has_db && words.argc > 0 && has_db == (db > 0 || order > 0));
        }
    }
    text_fini(&again);
    request_words_fini(&words);
    free(bytes);
    return 0;
}
