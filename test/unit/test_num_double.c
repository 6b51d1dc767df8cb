/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/num.h"
#include "base/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void prints(double value, const char *expected) {
    char buf[NUM_DOUBLE_BYTES + 1];
    buf[num_format_double(buf, value)] = 0;
    cr_assert_str_eq(buf, expected);
}

/* Each of these is what Valkey 9.1 prints. */
Test(num_double, prints_plain_numbers_and_exponents_where_valkey_does) {
    prints(0, "0");
    prints(-0.0, "-0");
    prints(3, "3");
    prints(0.1, "0.1");
    prints(0.30000000000000004, "0.30000000000000004");
    prints(123456.789, "123456.789");
    prints(0.00001, "0.00001");
    prints(0.000001, "0.000001");
    prints(1e-7, "1e-7");
    prints(1.1e-6, "1.1e-6");
    prints(0.0001234, "1.234e-4");
    prints(1.23e-5, "1.23e-5");
    prints(12.34567890123456, "12.34567890123456");
    prints(4611686018427387904.0, "4611686018427387904");
    prints(-4611686018427389000.0, "-4611686018427389000");
    prints(9223372036854775807.0, "9223372036854776000");
    prints(1234567890123456789012.0, "1234567890123456800000");
    prints(-9.82555560597652e21, "-9825555605976520000000");
    prints(1e19, "1e+19");
    prints(1e22, "1e+22");
    prints(12345e20, "1.2345e+24");
    prints(1e300, "1e+300");
    prints(5e-324, "5e-324");
    prints(1.7976931348623157e308, "1.7976931348623157e+308");
}

Test(num_double, prints_what_is_no_number) {
    prints(INFINITY, "inf");
    prints(-INFINITY, "-inf");
    prints(NAN, "nan");
}

/* Grisu2 is not always the shortest; these are the digits other servers give. */
Test(num_double, prints_the_same_digits_as_valkey_where_shorter_ones_exist) {
    prints(759045.94902, "7.590459490199999e+5");
    prints(-7.25e+21, "-7249999999999999000000");
    prints(930670756612152.2, "930670756612152.3");
    prints(-5.435043047286939e+218, "-5.4350430472869386e+218");
}

Test(num_double, whatever_is_printed_reads_back) {
    struct rng rng;
    rng_seed(&rng, 1);
    for (int i = 0; i < 300000; i++) {
        double value;
        uint64_t bits = rng_next(&rng);
        memcpy(&value, &bits, sizeof(value));
        if (i % 3 == 1) {
            value = (double)(int64_t)(rng_next(&rng) >> rng_below(&rng, 60)) / 1000;
        } else if (i % 3 == 2) {
            value = (double)rng_below(&rng, 100000) * pow(10, (double)rng_below(&rng, 40) - 20);
        }
        if (!isfinite(value)) {
            continue;
        }
        char buf[NUM_DOUBLE_BYTES];
        size_t n = num_format_double(buf, value);
        cr_assert_leq(n, sizeof(buf));
        double back;
        cr_assert(num_parse_double(bytes_make(buf, n), &back));
        cr_assert_eq(back, value, "%.17g prints as %.*s", value, (int)n, buf);
    }
}

static void reads(const char *text, double expected) {
    double value;
    cr_assert(num_parse_double(bytes_of_text(text), &value), "%s", text);
    cr_assert_eq(value, expected, "%s", text);
}

Test(num_double, reads_scores) {
    reads("1", 1);
    reads("+5", 5);
    reads("-.5", -0.5);
    reads("5.", 5);
    reads("00005", 5);
    reads("1e5", 100000);
    reads("1E-5", 0.00001);
    reads("0e99999999", 0);
    reads("4e-324", 5e-324);
    reads("inf", INFINITY);
    reads("-Infinity", -INFINITY);
    reads("+INF", INFINITY);
    reads("9007199254740993", 9007199254740992);
    reads("0.1", 0.1);
    double value;
    cr_assert(num_parse_double(BYTES("-0"), &value) && signbit(value));
}

Test(num_double, refuses_what_valkey_refuses) {
    static const char *const refused[] = {"",      " 5",     "5 ",   ".",      "-",      "+-5",
                                          "1e",    "nan",    "-nan", "nan(1)", "0x10",   "0x1p3",
                                          "1e400", "-1e400", "1_0",  "1e-400", "2e-324", "infin",
                                          "1,5",   "5f",     "\t5"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        double value = 77;
        cr_assert(!num_parse_double(bytes_of_text(refused[i]), &value), "%s", refused[i]);
        cr_assert_eq(value, 77);
    }
    double value;
    cr_assert(!num_parse_double(BYTES("5\0"), &value));
}

Test(num_double, short_and_long_text_read_the_same_as_strtod) {
    struct rng rng;
    rng_seed(&rng, 2);
    for (int i = 0; i < 100000; i++) {
        char text[64];
        int places = (int)rng_below(&rng, 24);
        double seed = (double)(int64_t)rng_next(&rng) / pow(10, (double)rng_below(&rng, 19));
        int n = snprintf(text, sizeof(text), "%.*f", places, seed);
        double value;
        cr_assert(num_parse_double(bytes_make(text, (size_t)n), &value), "%s", text);
        cr_assert_eq(value, strtod(text, NULL), "%s", text);
    }
}

Test(num_double, long_text_is_read_whole) {
    char text[1000];
    memset(text, '0', sizeof(text));
    text[999] = '7';
    double value;
    long double long_value;
    cr_assert(num_parse_double(bytes_make(text, sizeof(text)), &value) && value == 7);
    cr_assert(num_parse_long_double(bytes_make(text, sizeof(text)), &long_value) &&
              long_value == 7);
}

static void long_prints(long double value, const char *expected) {
    char buf[NUM_LONG_DOUBLE_BYTES + 1];
    buf[num_format_long_double(buf, value)] = 0;
    cr_assert_str_eq(buf, expected);
}

Test(num_double, long_doubles_print_without_exponent_or_idle_zeros) {
    long_prints(0, "0");
    long_prints(-0.0L, "0");
    long_prints(3, "3");
    long_prints(100, "100");
    long_prints(-10.5L, "-10.5");
    long_prints(0.1L, "0.1");
    long_prints(3.0e3L, "3000");
    long_prints(1e-20L, "0");
    long_prints(1e22L, "10000000000000000000000");
    long_prints(INFINITY, "inf");
    long_prints(-INFINITY, "-inf");
}

Test(num_double, the_largest_long_double_fits) {
    char buf[NUM_LONG_DOUBLE_BYTES];
    cr_assert_gt(num_format_long_double(buf, 1.1e4932L), 4900);
}

Test(num_double, long_doubles_read_increments) {
    long double value;
    cr_assert(num_parse_long_double(BYTES("1e400"), &value) && isfinite(value));
    cr_assert(num_parse_long_double(BYTES("0x10"), &value) && value == 16);
    cr_assert(num_parse_long_double(BYTES("inf"), &value) && isinf(value));
    static const char *const refused[] = {"", " 1", "1 ", "nan", "x", "1e99999", "1e-99999"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        cr_assert(!num_parse_long_double(bytes_of_text(refused[i]), &value), "%s", refused[i]);
    }
}
