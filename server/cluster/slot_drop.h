/* SPDX-License-Identifier: BSD-3-Clause */
/* slot_drop: all keys of a slot go, some at a time. Each is told of as one that was deleted, to who
 * waits or looks and to the log and replicas: they have it as UNLINK or DEL, which all of them
 * know, whatever slots they have.
 *
 * Thread: the worker whose slot it is.
 */
#ifndef SHOAL_SERVER_CLUSTER_SLOT_DROP_H
#define SHOAL_SERVER_CLUSTER_SLOT_DROP_H

#include "server/call/effects.h"

#include <stdbool.h>
#include <stdint.h>

struct worker;

struct slot_drop {
    struct effects_origin origin; /* whose it is */
    int64_t seen_ms;              /* keys that ran out before it stay; INT64_MIN: none does */
    int64_t now_ms;
    bool lazy;
    uint16_t slot;
    /* How far it is; 0 at first: */
    bool begun;
    uint32_t db;
    uint64_t cursor;
};

/* Some of them. True: there is none any more, or the slot is another worker's. */
bool slot_drop_some(struct worker *worker, struct slot_drop *drop);

#endif
