/* SPDX-License-Identifier: BSD-3-Clause */
/* crash: the last words of a process that a signal ends: SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT
 * (a failed check, memory that ran out); and what a thread is doing that does not get on.
 *
 * The handler makes one line of what happened and where, hands it to the `say` of the thread,
 * writes it to stderr, and lets the signal end the process as if it had not been handled, core and
 * all, or exits. If `say` wants more, the registers and the stack follow, a line each; then the
 * stacks of the other threads of the crew, which stand still from then on; then what `more` has to
 * say. A sanitizer that has taken a signal keeps it.
 *
 * Thread: crash_handle, crash_crew_*: main, before others exist, or when they have ended. The rest:
 * each thread for itself.
 */
#ifndef SHOAL_NET_CRASH_H
#define SHOAL_NET_CRASH_H

#include "base/bytes.h"

/* What shall come of it. */
struct crash_wish {
    bool report; /* more lines follow */
    bool exits;  /* with 1, instead of being ended by the signal: no core */
};

/* Called in a signal handler: async-signal-safe, and without locks. `first`: it is the line about
 * what happened, and what it returns counts. */
typedef struct crash_wish crash_say_fn(void *arg, struct bytes text, bool first);
/* Called in the handler of a fault, last of all, when the others stand still, those of them that
 * could be reached. It may do what a handler should not: if it does not come to an end the signal
 * ends the process all the same, after some seconds. */
typedef void crash_more_fn(void *arg);

struct crash_crew;
struct crash_stack;

void crash_handle(void);

/* Threads that tell each other's stacks. NULL: there are no means for it. */
struct crash_crew *crash_crew_new(unsigned threads);
void crash_crew_free(struct crash_crew *crew); /* NULL is fine */
/* Each of them logs its stack. For any thread but those of the crew. */
void crash_crew_show(const struct crash_crew *crew);

/* The stack on which the calling thread's handlers run from now on, also when its own has run out;
 * without one there is a line on stderr only. `thread` and what arg points at outlive it. It is
 * number `place` of the crew, or `crew` is NULL. `more` may be NULL. */
struct crash_stack *crash_stack_new(const char *thread, crash_say_fn *say, crash_more_fn *more,
                                    void *arg, struct crash_crew *crew, unsigned place);
/* By the same thread. NULL is fine. */
void crash_stack_free(struct crash_stack *stack);

/* Unless it is called again within this time, the thread logs where it is: once, until the next
 * call. 0: it does not. False: there are no means for it. NULL is fine. */
bool crash_watch(struct crash_stack *stack, int64_t period_ms);

#endif
