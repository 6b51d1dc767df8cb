/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs the tests of one program without Criterion: see criterion/criterion.h beside this file for
 * why.
 *
 * Each test is a child process, so that a crash, a report of the sanitizer or a test that hangs
 * costs one test; the sanitizer ends a process that raced with a status of its own. */
#include <criterion/criterion.h>

#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STATUS_FAILED = 1, STATUS_SKIPPED = 77 };
#define TIMEOUT_S 240

static struct plain_test *first;
static bool expectation_failed;

void plain_register(struct plain_test *test) {
    struct plain_test **end = &first;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = test;
}

void plain_failed(bool fatal, const char *what, const char *file, int line, const char *format,
                  ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "# %s:%d: not so: %s: ", file, line, what);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    if (fatal) {
        _exit(STATUS_FAILED);
    }
    expectation_failed = true;
}

_Noreturn void plain_skip(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "# skipped: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    _exit(STATUS_SKIPPED);
}

static const struct plain_test *suite_of(const struct plain_test *test) {
    for (const struct plain_test *t = first; t != NULL; t = t->next) {
        if (t->run == NULL && strcmp(t->suite, test->suite) == 0) {
            return t;
        }
    }
    return NULL;
}

static void call(void (*function)(void)) {
    if (function != NULL) {
        function();
    }
}

static _Noreturn void run_child(const struct plain_test *test) {
    const struct plain_test *suite = suite_of(test);
    alarm(test->options.timeout > 0 ? 4 * (unsigned)test->options.timeout : TIMEOUT_S);
    if (suite != NULL) {
        call(suite->options.init);
    }
    call(test->options.init);
    test->run();
    call(test->options.fini);
    if (suite != NULL) {
        call(suite->options.fini);
    }
    exit(expectation_failed ? STATUS_FAILED : 0);
}

/* Returns whether it passed. */
static bool run(const struct plain_test *test, int number) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        run_child(test);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("# fork");
        return false;
    }
    bool skipped = WIFEXITED(status) && WEXITSTATUS(status) == STATUS_SKIPPED;
    bool passed = test->options.signal != 0
                      ? WIFSIGNALED(status) && WTERMSIG(status) == test->options.signal
                      : WIFEXITED(status) && WEXITSTATUS(status) == test->options.exit_code;
    printf("%sok %d - %s::%s%s\n", passed || skipped ? "" : "not ", number, test->suite, test->name,
           skipped ? " # SKIP" : "");
    return passed || skipped;
}

int main(void) {
    int tests = 0;
    for (const struct plain_test *t = first; t != NULL; t = t->next) {
        tests += t->run != NULL;
    }
    printf("1..%d\n", tests);
    int number = 0;
    bool passed = true;
    for (const struct plain_test *t = first; t != NULL; t = t->next) {
        if (t->run != NULL) {
            passed &= run(t, ++number);
        }
    }
    return passed ? 0 : 1;
}
