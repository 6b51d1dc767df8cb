/* SPDX-License-Identifier: BSD-3-Clause */
/* report: what a worker's thread has to say when the process ends by a fault, or when it does not
 * get on: lines of the log, made in signal handlers (net/crash.h).
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_REPORT_H
#define SHOAL_SERVER_REPORT_H

#include "server/observe/line.h"

struct worker;

struct report {
    struct last_line line; /* first: the argument of both functions */
    struct worker *worker; /* NULL: there is none (yet, or any more) */
};

/* crash_say_fn, crash_more_fn. The second: whose command it was running, what went before, and INFO
 * of all workers, which stand still. */
struct crash_wish report_say(void *arg, struct bytes text, bool first);
void report_more(void *arg);

#endif
