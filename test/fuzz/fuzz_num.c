/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers: whatever is taken prints and reads back the same; integers and doubles agree with each
 * other. */
#include "base/check.h"
#include "base/num.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_integers(struct bytes text) {
    int64_t value;
    uint64_t unsigned_value;
    bool taken = num_parse_i64(text, &value);
    bool unsigned_taken = num_parse_u64(text, &unsigned_value);
    if (taken) {
        /* Strict: there is one way to write a number. */
        char buf[NUM_I64_BYTES];
        check(bytes_equal(bytes_make(buf, num_format_i64(buf, value)), text));
        check(unsigned_taken == (value >= 0));
        double number;
        check(num_parse_double(text, &number) && number == (double)value);
    }
    if (unsigned_taken) {
        char buf[NUM_I64_BYTES];
        uint64_t back;
        size_t n = num_format_u64(buf, unsigned_value);
        check(num_parse_u64(bytes_make(buf, n), &back) && back == unsigned_value);
    }
    num_parse_memory(text, &unsigned_value);
}

static void check_double(double value) {
    char buf[NUM_DOUBLE_BYTES];
    double back;
    size_t n = num_format_double(buf, value);
    check(n > 0 && n <= sizeof(buf));
    bool taken = num_parse_double(bytes_make(buf, n), &back);
    check(isnan(value) ? !taken : taken && back == value);
}

static void try_doubles(struct bytes text) {
    double value;
    long double long_value;
    if (num_parse_double(text, &value)) {
        check(!isnan(value));
        check_double(value);
        char copy[64] = {0};
        if (text.len < sizeof(copy)) {
            memcpy(copy, text.ptr, text.len);
            check(strtod(copy, NULL) == value);
        }
    }
    if (num_parse_long_double(text, &long_value)) {
        char buf[NUM_LONG_DOUBLE_BYTES];
        check(num_format_long_double(buf, long_value) > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    struct bytes text = bytes_make(copy, size);
    try_integers(text);
    try_doubles(text);
    if (size == sizeof(double)) {
        double bits;
        memcpy(&bits, data, sizeof(bits));
        check_double(bits);
    }
    free(copy);
    return 0;
}
