/* SPDX-License-Identifier: BSD-3-Clause */
/* topics: what one worker knows of publish and subscribe (pubsub.h).
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_PUBSUB_TOPICS_H
#define SHOAL_SERVER_PUBSUB_TOPICS_H

#include "base/links.h"
#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Shard channels have names of their own. They are told apart by slot in a cluster; all workers of
 * a node hear of them. */
enum topic_kind { TOPIC_CHANNEL, TOPIC_PATTERN, TOPIC_SHARD_CHANNEL, TOPIC_KINDS };

struct topics {
    /* By kind, that somebody, anywhere, has subscribed to: struct topic. */
    struct links tables[TOPIC_KINDS];
    struct list patterns_in_order;
    struct list queue;      /* publications to be delivered here, in their order */
    struct list confirming; /* subs whose client is not told yet that it has subscribed */
    struct list unused;     /* topics that went while something was being delivered */
    uint64_t *changes;      /* of each worker's counts: made by this one, or counted here */
    bool delivering;
    unsigned clients; /* of this worker that have subscribed to something */
    size_t bytes;
};

#endif
