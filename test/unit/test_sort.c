/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/random.h"
#include "test/unit/call.h"

#include <stdarg.h>
#include <stdio.h>

#define NO_NUMBER "-ERR One or more scores can't be converted into double\r\n"

static void run_line(struct call_env *call, const char *expected, const char *format, ...) {
    char line[200];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    call_gives(call, line, bytes_of_text(expected));
}

/* A reply of one number. */
static void one_number(int index, char *expected) {
    snprintf(expected, 100, "*1\r\n$%d\r\n%d\r\n", index < 10 ? 1 : index < 100 ? 2 : 3, index);
}

/* Few of many are found without putting all in order. */
Test(sort, a_part_is_that_part_of_the_whole) {
    struct call_env *call = call_new();
    struct rng rng;
    rng_seed(&rng, 1);
    int numbers[500];
    for (int i = 0; i < 500; i++) {
        int at = (int)rng_below(&rng, (uint64_t)i + 1);
        numbers[i] = numbers[at];
        numbers[at] = i;
    }
    for (int i = 0; i < 500; i++) {
        char expected[32];
        snprintf(expected, sizeof expected, ":%d\r\n", i + 1);
        run_line(call, expected, "rpush l %d", numbers[i]);
        run_line(call, OK, "set w%d %d", numbers[i], 1000 - numbers[i]);
    }
    for (int first = 0; first < 499; first += first < 100 ? 1 : 37) {
        char expected[100];
        one_number(first, expected);
        run_line(call, expected, "sort l limit %d 1", first);
        run_line(call, expected, "sort l by w* desc limit %d 1", first);
        one_number(499 - first, expected);
        run_line(call, expected, "sort l desc limit %d 1", first);
        run_line(call, expected, "sort l by w* limit %d 1", first);
    }
    GIVES(call, "sort l limit 400 0", "*0\r\n");
    GIVES(call, "sort l limit 500 3", "*0\r\n");
    GIVES(call, "sort l limit 0 3 alpha", "*3\r\n$1\r\n0\r\n$1\r\n1\r\n$2\r\n10\r\n");
    call_free(call);
}

Test(sort, equal_ones_stay_in_the_order_of_their_list) {
    struct call_env *call = call_new();
    GIVES(call, "rpush l c a b d e f g h i j k l m n o p q", NUMBER(17));
    GIVES(call, "set wm 1", OK);
    const char *three = "*3\r\n$1\r\nc\r\n$1\r\na\r\n$1\r\nb\r\n";
    run_line(call, three, "sort l by w* alpha limit 0 3");
    run_line(call, three, "sort l by w* alpha limit 0 2 limit 0 3");
    run_line(call, "*2\r\n$1\r\nm\r\n$1\r\nc\r\n", "sort l by w* alpha desc limit 0 2");
    run_line(call, "*2\r\n$1\r\nm\r\n$1\r\nc\r\n", "sort l by w* alpha desc limit 0 2 get #");
    call_free(call);
}

Test(sort, what_is_no_number_is_told_at_the_end) {
    struct call_env *call = call_new();
    GIVES(call, "rpush l 1 x", NUMBER(2));
    GIVES(call, "sort l", NO_NUMBER);
    GIVES(call, "sort l limit 0 0", NO_NUMBER);
    GIVES(call, "sort l store d", NO_NUMBER);
    GIVES(call, "exists d", NUMBER(0));
    GIVES(call, "sort l by w* store d", NUMBER(2));
    GIVES(call, "sort l alpha store w1", NUMBER(2));
    GIVES(call, "sort l by w*", "*2\r\n$1\r\n1\r\n$1\r\nx\r\n");
    call_free(call);
}

Test(sort, the_result_may_take_the_place_of_what_it_is_made_of) {
    struct call_env *call = call_new();
    GIVES(call, "rpush l 3 1 2", NUMBER(3));
    GIVES(call, "set w1 one", OK);
    GIVES(call, "expire w1 100", NUMBER(1));
    GIVES(call, "sort l get w* get # store w1", NUMBER(6));
    GIVES(call, "lrange w1 0 1", "*2\r\n$3\r\none\r\n$1\r\n1\r\n");
    GIVES(call, "ttl w1", NUMBER(-1));
    GIVES(call, "sort l store l", NUMBER(3));
    GIVES(call, "lrange l 0 0", "*1\r\n$1\r\n1\r\n");
    call_free(call);
}
