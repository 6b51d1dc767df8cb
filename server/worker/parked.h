/* SPDX-License-Identifier: BSD-3-Clause */
/* parked: what a worker keeps while it is parked (park.h): messages and clients that have to wait.
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_WORKER_PARKED_H
#define SHOAL_SERVER_WORKER_PARKED_H

#include "base/list.h"
#include "shard/mailbox.h"

#include <stdbool.h>
#include <stdint.h>

struct wal;
struct worker;

struct parked {
    bool is;           /* it touches no table now */
    bool busy;         /* it is in the middle of a long script (busy.h) */
    struct worker *by; /* but that one does, */
    struct wal *wal;   /* and may make a log for it; until then it had this one, or NULL */
    struct message *first_kept, *last_kept; /* messages that wait until it goes on */
    struct list gone;       /* clients that have gone meanwhile, to be freed then: by line_node */
    uint64_t tickets, over; /* keeper: given out; of those, how many have been used and ended */
    uint64_t count;         /* how often it was parked */
};

static inline void parked_init(struct parked *parked) {
    list_init(&parked->gone);
}
/* Messages wait, but for those that park_keeps lets through. */
static inline bool parked_keeps(const struct parked *parked) {
    return parked->is || parked->busy;
}
static inline void park_keep(struct parked *parked, struct message *message) {
    message->next = NULL;
    if (parked->first_kept == NULL) {
        parked->first_kept = message;
    } else {
        parked->last_kept->next = message;
    }
    parked->last_kept = message;
}
/* The oldest message that waited, once the worker goes on, or NULL. */
static inline struct message *parked_next(struct parked *parked) {
    struct message *message = parked->first_kept;
    if (message == NULL || parked_keeps(parked)) {
        return NULL;
    }
    parked->first_kept = message->next;
    return message;
}

#endif
