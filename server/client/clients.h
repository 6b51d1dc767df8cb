/* SPDX-License-Identifier: BSD-3-Clause */
/* clients: the connections of one worker, and the lines they stand in (client.h says in which state
 * in which).
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_CLIENT_CLIENTS_H
#define SHOAL_SERVER_CLIENT_CLIENTS_H

#include "base/links.h"
#include "base/list.h"
#include "base/pqueue.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct clients {
    struct list all;
    struct links by_id;
    unsigned count;
    struct list dirty;       /* with output to send at the end of the turn */
    struct list ready;       /* whose wait is over */
    struct list going_on;    /* of those, the ones that this turn goes on with */
    struct list delayed;     /* whose output waits for more of it, oldest first */
    struct list paused;      /* that wait for CLIENT PAUSE to end */
    struct pqueue deadlines; /* of waits that end by themselves: wait.h */
    size_t memory;           /* sum of client->memory */
    size_t strangers;        /* sum of client->stranger_memory */
    bool evicts;             /* maxmemory-clients is set */
    struct pqueue evictable; /* then: those that may be evicted, by memory below zero */
};

#endif
