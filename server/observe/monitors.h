/* SPDX-License-Identifier: BSD-3-Clause */
/* monitors: what one worker knows of MONITOR (monitor.h).
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_OBSERVE_MONITORS_H
#define SHOAL_SERVER_OBSERVE_MONITORS_H

#include "base/list.h"
#include "base/pqueue.h"

#include <stdint.h>

struct monitors {
    unsigned count;      /* on all workers: whether anybody is told anything */
    struct list clients; /* of this worker, that were answered: struct monitor */
    struct list late;    /* those that have lines behind a reply that is not written yet */
    /* Worker 0's: it puts the lines of all in order. */
    unsigned *of_workers;
    uint64_t numbered;   /* lines that were passed on, in their order */
    struct pqueue early; /* those that came before their turn */
    int64_t last_us;     /* when the last was said */
};

#endif
