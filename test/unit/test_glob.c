/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/glob.h"
#include "base/random.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

static void yes(const char *pattern, const char *text) {
    cr_assert(glob_match(bytes_of_text(pattern), bytes_of_text(text), false), "%s ~ %s", pattern,
              text);
}

static void no(const char *pattern, const char *text) {
    cr_assert(!glob_match(bytes_of_text(pattern), bytes_of_text(text), false), "%s !~ %s", pattern,
              text);
}

Test(glob, stars_and_question_marks) {
    yes("*", "a");
    yes("a*", "a");
    yes("*a", "a");
    yes("**a**", "bab");
    yes("h?llo", "hello");
    yes("h*llo", "heeeello");
    yes("*.*.*", "a.b.c.d");
    no("h?llo", "hllo");
    no("a?", "a");
    no("*b", "a");
    no("", "a");
    yes("", "");
}

Test(glob, no_pattern_but_the_empty_one_takes_the_empty_text) {
    no("*", "");
    no("**", "");
    no("?", "");
    no("[^a]", "");
}

Test(glob, sets) {
    yes("h[ae]llo", "hallo");
    no("h[ae]llo", "hillo");
    yes("h[^e]llo", "hallo");
    no("h[^e]llo", "hello");
    yes("h[a-c]llo", "hbllo");
    yes("h[c-a]llo", "hbllo");
    yes("[-a]", "-");
    /* The bracket is the end of a range here, and nothing closes the set. */
    no("[a-]", "-");
    yes("[a-]", "_");
    yes("[\\]]", "]");
    yes("[\\-x]", "x");
    yes("[a^]", "^");
    no("[]", "a");
    yes("[^]", "a");
}

Test(glob, a_set_that_is_not_closed_ends_with_the_pattern) {
    yes("[abc", "b");
    no("[abc", "d");
    no("[", "a");
    yes("[^", "a");
    yes("[a\\", "\\");
    yes("x[a-", "x-");
    yes("x[a-c", "xb");
}

Test(glob, backslash_takes_the_next_byte_as_it_is) {
    yes("a\\*b", "a*b");
    no("a\\*b", "axb");
    yes("a\\b", "ab");
    yes("a\\", "a\\");
    yes("\\\\", "\\");
    yes("\\[a]", "[a]");
}

Test(glob, nocase_folds_plain_bytes_and_ranges_but_not_escapes_in_sets) {
    cr_assert(glob_match(BYTES("HeL*o"), BYTES("hELLO"), true));
    cr_assert(glob_match(BYTES("[A-C]"), BYTES("b"), true));
    cr_assert(glob_match(BYTES("\\A"), BYTES("a"), true));
    cr_assert(!glob_match(BYTES("[\\A]"), BYTES("a"), true));
    cr_assert(!glob_match(BYTES("HeLLo"), BYTES("hello"), false));
}

Test(glob, takes_any_byte) {
    cr_assert(glob_match(BYTES("a\0?"), BYTES("a\0\xff"), false));
    cr_assert(glob_match(BYTES("[\x80-\xff]"), BYTES("\x90"), false));
    cr_assert(!glob_match(BYTES("[\x01-\xff]"), BYTES("\x90"), false));
}

/* A matcher by the plain definition, exponential but obvious, for stars and question marks. */
static bool glob_plain(const char *p, const char *t) {
    if (!*p) {
        return !*t;
    }
    if (*p == '*') {
        return glob_plain(p + 1, t) || (*t && glob_plain(p, t + 1));
    }
    return *t && (*p == '?' || *p == *t) && glob_plain(p + 1, t + 1);
}

Test(glob, equals_the_definition_on_random_patterns) {
    struct rng rng;
    rng_seed(&rng, 1);
    for (int round = 0; round < 200000; round++) {
        char pattern[9] = {0};
        char text[9] = {0};
        size_t pattern_len = rng_below(&rng, 8);
        size_t text_len = 1 + rng_below(&rng, 8);
        for (size_t i = 0; i < pattern_len; i++) {
            pattern[i] = "ab?**"[rng_below(&rng, 5)];
        }
        for (size_t i = 0; i < text_len; i++) {
            text[i] = "ab"[rng_below(&rng, 2)];
        }
        cr_assert_eq(glob_match(bytes_of_text(pattern), bytes_of_text(text), false),
                     glob_plain(pattern, text), "%s ~ %s", pattern, text);
    }
}

/* bugs.md row 35, CVE-2022-36021 and CVE-2024-31228: a pattern with many stars kept a server busy
 * for hours, or overflowed its stack. */
Test(glob, row_35_many_stars_cost_no_more_than_pattern_times_text) {
    size_t n = 64 * 1024;
    char *text = malloc(n);
    memset(text, 'a', n);
    char pattern[1024];
    for (size_t i = 0; i < sizeof(pattern); i += 2) {
        memcpy(pattern + i, "a*", 2);
    }
    memcpy(pattern + sizeof(pattern) - 2, "*b", 2);
    clock_t start = clock();
    cr_assert(!glob_match(bytes_make(pattern, sizeof(pattern)), bytes_make(text, n), false));
    cr_assert(!glob_match(BYTES("*a*a*a*a*a*a*a*a*a*a*a*a*b"), bytes_make(text, n), false));
    memset(pattern, '*', sizeof(pattern));
    cr_assert(glob_match(bytes_make(pattern, sizeof(pattern)), bytes_make(text, n), false));
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    cr_assert_lt(seconds, 0.064 * 20, "took %f s", seconds);
    free(text);
}
