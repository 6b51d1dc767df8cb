/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/quote.h"

#include <criterion/criterion.h>

static void quotes_as(struct bytes bytes, const char *expected) {
    struct text text;
    text_init(&text);
    quote_append(&text, bytes);
    cr_assert_str_eq(text.ptr, expected);
    text_fini(&text);
}

Test(quote, printable_bytes_stay) {
    quotes_as(BYTES(""), "\"\"");
    quotes_as(BYTES("set key 'v'~"), "\"set key 'v'~\"");
}

Test(quote, others_are_escaped) {
    quotes_as(BYTES("\"\\\n\r\t\a\b"), "\"\\\"\\\\\\n\\r\\t\\a\\b\"");
    quotes_as(BYTES("\0\x1f\x7f\x80\xff"), "\"\\x00\\x1f\\x7f\\x80\\xff\"");
}

Test(quote, appends) {
    struct text text;
    text_init(&text);
    quote_append(&text, BYTES("a"));
    quote_append(&text, BYTES("b"));
    cr_assert_str_eq(text.ptr, "\"a\"\"b\"");
    text_fini(&text);
}
