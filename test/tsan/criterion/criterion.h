/* SPDX-License-Identifier: BSD-3-Clause */
/* The words of Criterion that our tests use, for builds with ThreadSanitizer.
 *
 * Criterion keeps its state in memory at a fixed address, which lies where the sanitizer has its
 * shadow: it cannot start there. Tests include <criterion/criterion.h> as always and find this one
 * first; plain.c runs each in a process of its own and writes TAP.
 *
 * Thread: a test's own; checks may be made by any thread of it.
 */
#ifndef SHOAL_TEST_TSAN_CRITERION_H
#define SHOAL_TEST_TSAN_CRITERION_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct plain_options {
    void (*init)(void);
    void (*fini)(void);
    int signal; /* the test must end by this one */
    int exit_code;
    double timeout; /* seconds */
};

/* A test, or (run NULL) what all tests of a suite do first and last. */
struct plain_test {
    const char *suite;
    const char *name;
    void (*run)(void);
    struct plain_options options;
    struct plain_test *next;
};

void plain_register(struct plain_test *test);
/* Says what was not true; `fatal` ends the test. */
void plain_failed(bool fatal, const char *what, const char *file, int line, const char *format,
                  ...);
_Noreturn void plain_skip(const char *format, ...);

#define PLAIN_REGISTER(id, suite_name, test_name, function, ...)                                   \
    __attribute__((constructor)) static void id(void) {                                            \
        static struct plain_test test = {                                                          \
            .suite = suite_name, .name = test_name, .run = function, .options = {__VA_ARGS__}};    \
        plain_register(&test);                                                                     \
    }

#define Test(suite, name, ...)                                                                     \
    static void suite##_##name##_test(void);                                                       \
    PLAIN_REGISTER(suite##_##name##_register, #suite, #name, suite##_##name##_test, __VA_ARGS__)   \
    static void suite##_##name##_test(void)
#define TestSuite(suite, ...) PLAIN_REGISTER(suite##_suite, #suite, NULL, NULL, __VA_ARGS__)

#define PLAIN_CHECK(fatal, x, what, ...)                                                           \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            plain_failed(fatal, what, __FILE__, __LINE__, "" __VA_ARGS__);                         \
        }                                                                                          \
    } while (0)

#define cr_assert(x, ...)           PLAIN_CHECK(true, x, #x, __VA_ARGS__)
#define cr_assert_not(x, ...)       PLAIN_CHECK(true, !(x), "not " #x, __VA_ARGS__)
#define cr_assert_null(x, ...)      PLAIN_CHECK(true, (x) == NULL, #x " is NULL", __VA_ARGS__)
#define cr_assert_not_null(x, ...)  PLAIN_CHECK(true, (x) != NULL, #x " is not NULL", __VA_ARGS__)
#define cr_assert_eq(a, b, ...)     PLAIN_CHECK(true, (a) == (b), #a " == " #b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...)    PLAIN_CHECK(true, (a) != (b), #a " != " #b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...)     PLAIN_CHECK(true, (a) < (b), #a " < " #b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...)    PLAIN_CHECK(true, (a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...)     PLAIN_CHECK(true, (a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...)    PLAIN_CHECK(true, (a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) PLAIN_CHECK(true, strcmp(a, b) == 0, #a " is " #b, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, n, ...)                                                             \
    PLAIN_CHECK(true, memcmp(a, b, n) == 0, #a " is " #b, __VA_ARGS__)
#define cr_assert_arr_neq(a, b, n, ...)                                                            \
    PLAIN_CHECK(true, memcmp(a, b, n) != 0, #a " is not " #b, __VA_ARGS__)
#define cr_expect(x, ...)           PLAIN_CHECK(false, x, #x, __VA_ARGS__)
#define cr_expect_not(x, ...)       PLAIN_CHECK(false, !(x), "not " #x, __VA_ARGS__)
#define cr_expect_eq(a, b, ...)     PLAIN_CHECK(false, (a) == (b), #a " == " #b, __VA_ARGS__)
#define cr_expect_gt(a, b, ...)     PLAIN_CHECK(false, (a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_expect_geq(a, b, ...)    PLAIN_CHECK(false, (a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_log_info(...)            (printf(__VA_ARGS__), printf("\n"))
#define cr_expect_null(x, ...)      PLAIN_CHECK(false, (x) == NULL, #x " is NULL", __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...) PLAIN_CHECK(false, strcmp(a, b) == 0, #a " is " #b, __VA_ARGS__)
#define cr_skip_test(...)           plain_skip("" __VA_ARGS__)

#endif
