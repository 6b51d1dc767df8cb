/* SPDX-License-Identifier: BSD-3-Clause */
/* Lines into words: counting and filling agree, and words quoted again split into the same words.
 */
#include "base/check.h"
#include "base/quote.h"
#include "base/words.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare_requoted(const struct bytes *words, int count) {
    struct text line;
    text_init(&line);
    for (int i = 0; i < count; i++) {
        quote_append(&line, words[i]);
        text_append_char(&line, ' ');
    }
    struct bytes *again;
    check(words_split(text_bytes(&line), &again) == count);
    for (int i = 0; i < count; i++) {
        check(bytes_equal(words[i], again[i]));
    }
    free(again);
    text_fini(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    struct bytes line = bytes_make(copy, size);
    struct bytes *words;
    int count = words_split(line, &words);
    check(count == words_count(line));
    if (count >= 0) {
        compare_requoted(words, count);
    }
    free(words);
    free(copy);
    return 0;
}
