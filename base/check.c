/* SPDX-License-Identifier: BSD-3-Clause */
/* A failed check is a bug of ours: what we would write or answer next could be wrong, so the
 * process stops here and leaves a core.
 *
 * Nobody above is named, and nothing is kept for the whole process: the line travels to whoever
 * handles SIGABRT (net/crash.h) as the value of the signal. stderr has it first, because the
 * handler may be what is broken.
 */
#include "base/check.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void die(const char *what, const char *file, int line) {
    char text[512];
    int n = snprintf(text, sizeof text - 1, "%s:%d: %s", file, line, what);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text - 1 ? (size_t)n : sizeof text - 2;
    text[len] = '\n';
    ssize_t written = write(STDERR_FILENO, text, len + 1); /* there is nobody to tell it to */
    (void)written;
    text[len] = 0;
    pthread_sigqueue(pthread_self(), SIGABRT, (union sigval){.sival_ptr = text});
    abort();
}

void check_failed(const char *what, const char *file, int line) {
    char text[384];
    snprintf(text, sizeof text, "check failed: %s", what);
    die(text, file, line);
}
