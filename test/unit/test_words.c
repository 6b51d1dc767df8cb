/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/quote.h"
#include "base/random.h"
#include "base/words.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* The words joined by '|', or "!" for unbalanced quotes. */
static void split(struct bytes line, const char *expected) {
    struct bytes *words;
    int count = words_split(line, &words);
    struct text text;
    text_init(&text);
    if (count < 0) {
        text_append_text(&text, "!");
        cr_assert_null(words);
    }
    for (int i = 0; i < count; i++) {
        text_append_text(&text, i ? "|" : "");
        text_append_bytes(&text, words[i]);
        cr_assert_eq(words[i].ptr[words[i].len], 0);
    }
    cr_assert_str_eq(text.ptr, expected, "%.*s gives %s", (int)line.len, line.ptr, text.ptr);
    text_fini(&text);
    free(words);
}

Test(words, parts_at_white_space) {
    split(BYTES(""), "");
    split(BYTES(" \t\r\n\v\f"), "");
    split(BYTES("set key value"), "set|key|value");
    split(BYTES("  a\tb\rc\nd  "), "a|b|c|d");
    split(BYTES("\va\vb \fc"), "a\vb|c");
}

Test(words, double_quotes_know_escapes) {
    split(BYTES("\"a b\" \"\""), "a b|");
    split(BYTES("\"\\x41\\n\\r\\t\\b\\a\\q\\\"\\\\\""), "A\n\r\t\b\aq\"\\");
    split(BYTES("\"\\x4\" \"\\xZZ\""), "x4|xZZ");
    split(BYTES("\"it's\""), "it's");
}

Test(words, single_quotes_know_one_escape) {
    split(BYTES("'a \"b' 'c\\'d' 'e\\nf'"), "a \"b|c'd|e\\nf");
}

Test(words, quoted_and_plain_parts_join) {
    split(BYTES("\"a\"b a\"b\"c \"a\"'b'"), "ab|abc|ab");
    split(BYTES("a\\\"b\""), "a\\b");
}

Test(words, unbalanced_quotes_are_refused) {
    split(BYTES("\"abc"), "!");
    split(BYTES("a 'b c"), "!");
    split(BYTES("a\""), "!");
    split(BYTES("\"a\\\"b"), "!");
}

Test(words, a_backslash_before_the_last_byte_is_plain) {
    split(BYTES("\"a\\\""), "a\\");
    split(BYTES("'a\\'"), "a\\");
    split(BYTES("\"a\\\" "), "!");
}

Test(words, a_nul_ends_the_line) {
    split(BYTES("a b\0c"), "a|b");
    split(BYTES("\"a\0b\""), "!");
}

Test(words, words_may_hold_nuls) {
    struct bytes *words;
    cr_assert_eq(words_split(BYTES("\"a\\x00b\" c"), &words), 2);
    cr_assert(bytes_equal(words[0], BYTES("a\0b")));
    cr_assert(bytes_equal(words[1], BYTES("c")));
    free(words);
}

Test(words, fill_gives_what_count_promised) {
    char storage[64];
    struct bytes words[8];
    struct bytes line = BYTES("a \"b c\" d");
    cr_assert_eq(words_count(line), 3);
    cr_assert_eq(words_fill(line, storage, words), 3);
    cr_assert(bytes_equal(words[1], BYTES("b c")));
    cr_assert_eq(words_count(BYTES("a '")), -1);
}

Test(words, reads_back_whatever_was_quoted) {
    struct rng rng;
    rng_seed(&rng, 1);
    for (int round = 0; round < 20000; round++) {
        char bytes[3][20];
        size_t lens[3];
        struct text line;
        text_init(&line);
        for (int i = 0; i < 3; i++) {
            lens[i] = rng_below(&rng, sizeof(bytes[i]));
            for (size_t k = 0; k < lens[i]; k++) {
                bytes[i][k] = round % 2 ? (char)rng_next(&rng) : "\"'\\xn \n"[rng_below(&rng, 7)];
            }
            quote_append(&line, bytes_make(bytes[i], lens[i]));
            text_append_char(&line, ' ');
        }
        struct bytes *words;
        cr_assert_eq(words_split(text_bytes(&line), &words), 3);
        for (int i = 0; i < 3; i++) {
            cr_assert(bytes_equal(words[i], bytes_make(bytes[i], lens[i])));
        }
        free(words);
        text_fini(&line);
    }
}
