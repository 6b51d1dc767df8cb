/* SPDX-License-Identifier: BSD-3-Clause */
/* string_count: strings that are numbers.
 *
 * Integers are stored as such, so INCR is one lookup and one store. INCRBYFLOAT computes in long
 * double and keeps the decimal text it answers with, so that what a client read is what is there.
 */
#include "base/check.h"
#include "base/num.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/commands/string/string.h"

#include <math.h>

static void count(struct exec *x, int64_t by) {
    struct entry *entry;
    int64_t value = 0;
    if (!exec_find_string(x, &x->key, LOOKUP_WRITE, &entry)) {
        return;
    }
    if (entry != NULL && !string_to_int(entry, &value)) {
        reply_error(x->reply, ERR_NOT_INTEGER);
        return;
    }
    if (__builtin_add_overflow(value, by, &value)) {
        reply_error(x->reply, ERR_OVERFLOW);
        return;
    }
    struct string_target target = exec_target(x, &x->key, EVENT_INCRBY);
    if (entry == NULL) {
        string_set_int(&target, value);
    } else {
        string_replace_int(&target, entry, value);
    }
    reply_int(x->reply, value);
}

void command_incr(struct exec *x) {
    count(x, 1);
}

void command_decr(struct exec *x) {
    count(x, -1);
}

void command_incrby(struct exec *x) {
    int64_t by;
    if (exec_arg_i64(x, 2, &by)) {
        count(x, by);
    }
}

void command_decrby(struct exec *x) {
    int64_t by;
    if (!exec_arg_i64(x, 2, &by)) {
        return;
    }
    if (by == INT64_MIN) {
        reply_error(x->reply, "ERR decrement would overflow");
        return;
    }
    count(x, -by);
}

void command_incrbyfloat(struct exec *x) {
    struct entry *entry;
    long double value = 0, by;
    /* What is stored counts as the use of the key. */
    if (!exec_find_string(x, &x->key, LOOKUP_WRITE | LOOKUP_NOTOUCH, &entry)) {
        return;
    }
    char scratch[NUMBER_TEXT_BYTES];
    if ((entry != NULL && !num_parse_long_double(string_bytes(entry, scratch), &value)) ||
        !num_parse_long_double(x->argv[2], &by)) {
        reply_error(x->reply, ERR_NOT_FLOAT);
        return;
    }
    value += by;
    if (isnan(value) || isinf(value)) {
        reply_error(x->reply, "ERR increment would produce NaN or Infinity");
        return;
    }
    char text[NUM_LONG_DOUBLE_BYTES];
    struct bytes sum = bytes_make(text, num_format_long_double(text, value));
    struct string_target target = exec_target(x, &x->key, EVENT_INCRBYFLOAT);
    string_set_text(&target, sum);
    EFFECT(x, BYTES("SET"), x->key.name, sum, BYTES("KEEPTTL"));
    reply_bulk(x->reply, sum);
}
