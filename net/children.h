/* SPDX-License-Identifier: BSD-3-Clause */
/* children: a process that does nothing but start others and wait for what becomes of them.
 *
 * Thread: main, in a process that has no other thread. Once children_begin() was called, SIGTERM,
 * SIGINT and SIGALRM do nothing of themselves: they come as events.
 */
#ifndef SHOAL_NET_CHILDREN_H
#define SHOAL_NET_CHILDREN_H

#include <stdbool.h>
#include <stdint.h>

enum child_event_kind {
    CHILD_NOTHING,  /* it was waited for as long as was asked */
    CHILD_READY,    /* child `pid` has said so */
    CHILD_STAYS,    /* it was to end, and does not */
    CHILD_ENDED,    /* child `pid`: by signal `number`, or (0) with `code` */
    CHILDREN_SIGNAL /* this process got signal `number` */
};

struct child_event {
    enum child_event_kind kind;
    int pid;
    int number;
    int code;
};

void children_begin(void);
/* A copy of this process, which gets SIGTERM when this one ends, and no signals of the terminal;
 * those that end it, and SIGALRM, stay blocked until it waits for them itself. 0 in the child; its
 * pid; or -errno. */
int child_start(void);
/* Said by a child to who started it. */
void child_ready(void);
void child_stays(void);
/* The next event; timeout_ms < 0: however long it takes. */
struct child_event children_wait(int64_t timeout_ms);
void child_signal(int pid, int number);
/* Milliseconds that only go forward. */
int64_t children_now_ms(void);

#endif
