/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/bytes.h"

#include <criterion/criterion.h>

Test(bytes, equal_wants_same_length_and_bytes) {
    cr_assert(bytes_equal(BYTES("ab"), bytes_make("abc", 2)));
    cr_assert(bytes_equal(BYTES("a\0b"), BYTES("a\0b")));
    cr_assert(!bytes_equal(BYTES("a\0b"), BYTES("a\0c")));
    cr_assert(!bytes_equal(BYTES("ab"), BYTES("abc")));
    cr_assert(bytes_equal(BYTES(""), bytes_make(NULL, 0)));
}

Test(bytes, equal_brief_is_equal_at_every_length) {
    char a[40], b[40];
    for (size_t n = 0; n <= sizeof a - 2; n++) {
        memset(a, 'x', sizeof a);
        memset(b, 'x', sizeof b);
        a[0] = a[n + 1] = '1'; /* what stands around them does not matter */
        b[0] = b[n + 1] = '2';
        struct bytes left = bytes_make(a + 1, n), right = bytes_make(b + 1, n);
        cr_assert(bytes_equal_brief(left, right), "%zu", n);
        cr_assert(!bytes_equal_brief(left, bytes_make(b + 1, n + 1)), "%zu", n);
        for (size_t i = 0; i < n; i++) {
            b[1 + i] = 'y';
            cr_assert(!bytes_equal_brief(left, right), "%zu of %zu", i, n);
            b[1 + i] = 'x';
        }
    }
    cr_assert(bytes_equal_brief(BYTES(""), bytes_make(NULL, 0)));
}

Test(bytes, nocase_folds_ascii_only) {
    cr_assert(bytes_is(BYTES("KeepTTL"), "keepttl"));
    cr_assert(!bytes_is(BYTES("keepttl2"), "keepttl"));
    cr_assert(!bytes_equal_nocase(BYTES("\xc4"), BYTES("\xe4")));
    cr_assert(!bytes_equal_nocase(BYTES("@"), BYTES("`")));
    cr_assert(!bytes_equal_nocase(BYTES("["), BYTES("{")));
}

Test(bytes, compare_is_unsigned_and_puts_a_prefix_first) {
    cr_assert_lt(bytes_compare(BYTES("a"), BYTES("ab")), 0);
    cr_assert_gt(bytes_compare(BYTES("b"), BYTES("ab")), 0);
    cr_assert_gt(bytes_compare(BYTES("\xff"), BYTES("a")), 0);
    cr_assert_eq(bytes_compare(BYTES("a\0b"), BYTES("a\0b")), 0);
    cr_assert_lt(bytes_compare(BYTES(""), BYTES("a")), 0);
    cr_assert_eq(bytes_compare(bytes_make(NULL, 0), BYTES("")), 0);
}

Test(bytes, trim_takes_blanks_from_both_ends_alone) {
    cr_assert(bytes_equal(bytes_trim(BYTES(" \t\r\na \t b\n\r")), BYTES("a \t b")));
    cr_assert(bytes_equal(bytes_trim(BYTES("\v a\f")), BYTES("\v a\f")));
    cr_assert_eq(bytes_trim(BYTES(" \n")).len, 0);
    cr_assert_eq(bytes_trim(bytes_make(NULL, 0)).len, 0);
}
