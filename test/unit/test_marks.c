/* SPDX-License-Identifier: BSD-3-Clause */
#include "persist/snapshot/marks.h"

#include <criterion/criterion.h>

Test(marks, an_empty_set_has_nothing) {
    struct marks marks = {0};
    cr_assert(!marks_has(&marks, 0, 0));
    marks_fini(&marks);
}

Test(marks, a_mark_is_a_hash_and_where_it_stands) {
    struct marks marks = {0};
    cr_assert(marks_add(&marks, 7, 1));
    cr_assert(marks_add(&marks, 7, 2));
    cr_assert(marks_add(&marks, 8, 1));
    cr_assert(!marks_add(&marks, 7, 1));
    cr_assert(marks_has(&marks, 7, 2) && !marks_has(&marks, 8, 2) && !marks_has(&marks, 9, 1));
    cr_assert_eq(marks.count, 3);
    marks_fini(&marks);
}

Test(marks, all_are_there_when_it_has_grown) {
    struct marks marks = {0};
    for (uint64_t i = 0; i < 20000; i++) {
        cr_assert(marks_add(&marks, i * UINT64_C(0x100000001), (uint32_t)(i % 5)));
    }
    for (uint64_t i = 0; i < 20000; i++) {
        cr_assert(marks_has(&marks, i * UINT64_C(0x100000001), (uint32_t)(i % 5)));
        cr_assert(!marks_has(&marks, i * UINT64_C(0x100000001), 5));
    }
    marks_fini(&marks);
}
