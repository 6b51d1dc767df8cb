/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/text.h"

#include <criterion/criterion.h>
#include <stdlib.h>

Test(text, empty_text_is_a_c_string) {
    struct text text;
    text_init(&text);
    cr_assert_str_eq(text.ptr, "");
    cr_assert_eq(text_bytes(&text).len, 0);
    text_clear(&text);
    cr_assert_str_eq(text.ptr, "");
    text_fini(&text);
}

Test(text, appends_in_order_and_stays_terminated) {
    struct text text;
    text_init(&text);
    text_append(&text, "a\0b", 3);
    text_append_text(&text, "-");
    text_append_char(&text, 'c');
    text_append_bytes(&text, BYTES("de"));
    text_appendf(&text, ":%d:%s", 42, "x");
    cr_assert(bytes_equal(text_bytes(&text), BYTES("a\0b-cde:42:x")));
    cr_assert_eq(text.ptr[text.len], 0);
    text_clear(&text);
    cr_assert_eq(text.len, 0);
    cr_assert_str_eq(text.ptr, "");
    text_fini(&text);
}

Test(text, formats_of_every_length_around_the_capacity_come_out_whole) {
    for (int first = 0; first < 140; first++) {
        struct text text;
        text_init(&text);
        text_appendf(&text, "%0*d", first, 0);
        text_appendf(&text, "%s%s", "end", "");
        size_t want = (size_t)(first ? first : 1);
        cr_assert_eq(text.len, want + 3);
        cr_assert_str_eq(text.ptr + want, "end");
        text_fini(&text);
    }
}

Test(text, grows_without_losing_bytes) {
    struct text text;
    text_init(&text);
    for (int i = 0; i < 100000; i++) {
        text_append_char(&text, (char)('a' + i % 26));
    }
    cr_assert_eq(text.len, 100000);
    for (int i = 0; i < 100000; i++) {
        cr_assert_eq(text.ptr[i], (char)('a' + i % 26));
    }
    text_fini(&text);
}

Test(text, take_hands_the_memory_over) {
    struct text text;
    text_init(&text);
    char *nothing = text_take(&text);
    cr_assert_str_eq(nothing, "");
    free(nothing);
    text_append_text(&text, "kept");
    char *kept = text_take(&text);
    cr_assert_str_eq(kept, "kept");
    cr_assert_str_eq(text.ptr, "");
    free(kept);
    text_fini(&text);
}
