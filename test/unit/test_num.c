/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/num.h"
#include "base/random.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

static void i64_is(const char *text, int64_t expected) {
    int64_t value = 77;
    cr_assert(num_parse_i64(bytes_of_text(text), &value), "%s", text);
    cr_assert_eq(value, expected, "%s", text);
}

static void i64_refused(const char *text) {
    int64_t value = 77;
    cr_assert(!num_parse_i64(bytes_of_text(text), &value), "%s", text);
    cr_assert_eq(value, 77);
}

Test(num, i64_takes_the_whole_range) {
    i64_is("0", 0);
    i64_is("7", 7);
    i64_is("-1", -1);
    i64_is("100", 100);
    i64_is("9223372036854775807", INT64_MAX);
    i64_is("-9223372036854775808", INT64_MIN);
    i64_is("-9223372036854775807", -INT64_MAX);
    i64_is("1000000000000000000", 1000000000000000000);
}

Test(num, i64_is_strict) {
    static const char *const refused[] = {
        "",
        "-",
        "+1",
        " 1",
        "1 ",
        "01",
        "-01",
        "-0",
        "00",
        "1a",
        "a",
        "0x1",
        "1.0",
        "--1",
        "1-",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "99999999999999999999",
        "18446744073709551615",
        "100000000000000000000",
        "1:",
        "1/",
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        i64_refused(refused[i]);
    }
    int64_t value;
    cr_assert(!num_parse_i64(BYTES("1\0"), &value));
    cr_assert(!num_parse_i64(bytes_make(NULL, 0), &value));
}

Test(num, every_byte_of_every_length_counts) {
    char text[24];
    for (size_t n = 1; n <= 18; n++) {
        int64_t expected = 0, value;
        for (size_t i = 0; i < n; i++) {
            text[i] = (char)('1' + (i * 7 + n) % 9);
            expected = expected * 10 + (text[i] - '0');
        }
        text[n] = '5'; /* what stands behind it does not matter */
        cr_assert(num_parse_i64(bytes_make(text, n), &value));
        cr_assert_eq(value, expected, "%zu digits", n);
        for (size_t i = 0; i < n; i++) {
            char was = text[i];
            for (int c = 0; c < 256; c++) {
                text[i] = (char)c;
                bool digit = c >= '0' && c <= '9';
                bool sign = c == '-' && i == 0 && n > 1;
                bool zero = c == '0' && i == 0 && n > 1;
                cr_assert_eq(num_parse_i64(bytes_make(text, n), &value), (digit && !zero) || sign,
                             "byte %d at %zu of %zu", c, i, n);
            }
            text[i] = was;
        }
    }
}

Test(num, u64_takes_what_cursors_take) {
    static const struct {
        const char *text;
        uint64_t value;
    } taken[] = {
        {"0", 0},
        {"5", 5},
        {"05", 5},
        {"+5", 5},
        {" 5", 5},
        {"\t7", 7},
        {"-0", 0},
        {"18446744073709551615", UINT64_MAX},
        {"9223372036854775808", (uint64_t)1 << 63},
        /* Too small for a signed number, so it wraps. */
        {"-9223372036854775809", INT64_MAX},
        {"-18446744073709551615", 1},
    };
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        uint64_t value = 77;
        cr_assert(num_parse_u64(bytes_of_text(taken[i].text), &value), "%s", taken[i].text);
        cr_assert_eq(value, taken[i].value, "%s", taken[i].text);
    }
    static const char *const refused[] = {"",
                                          "-",
                                          "+",
                                          " ",
                                          "-5",
                                          "5 ",
                                          "0x5",
                                          "+-5",
                                          "- 5",
                                          "18446744073709551616",
                                          "-9223372036854775808"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        uint64_t value = 77;
        cr_assert(!num_parse_u64(bytes_of_text(refused[i]), &value), "%s", refused[i]);
        cr_assert_eq(value, 77);
    }
    uint64_t value;
    /* "SCAN 1\0" was refused, which the original, whose texts end there, takes. */
    cr_assert(num_parse_u64(BYTES("12\0x"), &value) && value == 12);
    cr_assert(!num_parse_u64(BYTES("\0"), &value));
}

Test(num, integers_print_as_printf_prints_them_and_read_back) {
    struct rng rng;
    rng_seed(&rng, 1);
    for (int i = 0; i < 200000; i++) {
        int64_t value = (int64_t)rng_next(&rng) >> rng_below(&rng, 64);
        char buf[NUM_I64_BYTES], expected[NUM_I64_BYTES];
        size_t n = num_format_i64(buf, value);
        cr_assert_eq((int)n, snprintf(expected, sizeof(expected), "%" PRId64, value));
        cr_assert_eq(memcmp(buf, expected, n), 0);
        int64_t back;
        cr_assert(num_parse_i64(bytes_make(buf, n), &back) && back == value);
    }
}

Test(num, integers_around_powers_of_ten_have_the_right_length) {
    uint64_t power = 1;
    for (int i = 0; i < 20; i++, power *= 10) {
        for (uint64_t value = power - 1; value != power + 2; value++) {
            char buf[NUM_I64_BYTES], put[NUM_I64_BYTES], expected[NUM_I64_BYTES];
            size_t n = num_format_u64(buf, value);
            cr_assert_eq((int)n, snprintf(expected, sizeof(expected), "%" PRIu64, value));
            cr_assert_eq(memcmp(buf, expected, n), 0);
            cr_assert_eq(num_put_u64(put, value), n);
            cr_assert_eq(memcmp(put, expected, n), 0);
        }
    }
    char buf[NUM_I64_BYTES];
    cr_assert_eq(num_format_u64(buf, UINT64_MAX), 20);
    cr_assert_eq(memcmp(buf, "18446744073709551615", 20), 0);
    cr_assert_eq(num_format_i64(buf, INT64_MIN), 20);
    cr_assert_eq(memcmp(buf, "-9223372036854775808", 20), 0);
}

Test(num, memory_knows_units) {
    static const struct {
        const char *text;
        uint64_t value;
    } taken[] = {
        {"", 0},
        {"0", 0},
        {"007", 7},
        {"1b", 1},
        {"1B", 1},
        {"2k", 2000},
        {"2Kb", 2048},
        {"2kB", 2048},
        {"3m", 3000000},
        {"3MB", 3145728},
        {"4g", 4000000000},
        {"4Gb", 4294967296},
        {"18446744073709551615", UINT64_MAX},
        {"17179869183gb", UINT64_MAX - 1073741823},
    };
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        uint64_t value = 77;
        cr_assert(num_parse_memory(bytes_of_text(taken[i].text), &value), "%s", taken[i].text);
        cr_assert_eq(value, taken[i].value, "%s", taken[i].text);
    }
    static const char *const refused[] = {
        "-1",           "+1",   " 1", "1 kb", "1.5mb",
        "1t",           "1kbb", "kb", "x",    "18446744073709551616",
        "17179869184gb"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        uint64_t value = 77;
        cr_assert(!num_parse_memory(bytes_of_text(refused[i]), &value), "%s", refused[i]);
    }
}

Test(num, loose_reads_what_there_is) {
    cr_assert_eq(num_parse_loose(BYTES("6379")), 6379);
    cr_assert_eq(num_parse_loose(BYTES(" \t+12x9")), 12);
    cr_assert_eq(num_parse_loose(BYTES("-1")), -1);
    cr_assert_eq(num_parse_loose(BYTES("none")), 0);
    cr_assert_eq(num_parse_loose(BYTES("")), 0);
    cr_assert_eq(num_parse_loose(BYTES("-")), 0);
    cr_assert_eq(num_parse_loose(BYTES("99999999999999999999")), -1);
    cr_assert_eq(num_parse_loose(BYTES("-99999999999999999999")), 0);
}
