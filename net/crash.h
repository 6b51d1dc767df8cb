/* SPDX-License-Identifier: BSD-3-Clause */
/* crash: the last words of a process that a signal ends: SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT
 * (a failed check, memory that ran out).
 *
 * The handler makes one line of what happened and where, hands it to the `say` of the thread,
 * writes it to stderr, and lets the signal end the process as if it had not been handled, core and
 * all. A sanitizer that has taken a signal keeps it.
 *
 * Thread: crash_handle: main, before others exist. The rest: each thread for itself.
 */
#ifndef SHOAL_NET_CRASH_H
#define SHOAL_NET_CRASH_H

#include "base/bytes.h"

/* Called in a signal handler: async-signal-safe, and without locks. */
typedef void crash_say_fn(void *arg, struct bytes text);

struct crash_stack;

void crash_handle(void);
/* The stack on which the calling thread's handlers run from now on, also when its own has run out;
 * without one there is a line on stderr only. `thread` and what arg points at outlive it. */
struct crash_stack *crash_stack_new(const char *thread, crash_say_fn *say, void *arg);
/* By the same thread. NULL is fine. */
void crash_stack_free(struct crash_stack *stack);

#endif
