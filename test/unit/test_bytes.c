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
