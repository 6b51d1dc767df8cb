/* SPDX-License-Identifier: BSD-3-Clause */
/* node: what belongs to one identity: an id, a client port, the slots, and the workers that serve
 * them. A process is one node with all its workers.
 *
 * Thread: written before the workers start and read-only while they run, but for the table of slots
 * (slots.h).
 */
#ifndef SHOAL_SERVER_NODE_H
#define SHOAL_SERVER_NODE_H

#include "server/slots.h"

struct server;

struct node {
    struct server *server;
    unsigned index;        /* among the nodes of the process */
    char id[41];           /* run_id, and the stream's */
    unsigned first, count; /* its workers, by their numbers in the process */
    struct slots slots;
};

/* Its workers are `first` and the `count` from there; `id` is hexadecimal, 40 digits. */
void node_init(struct node *node, struct server *server, unsigned index, const char *id,
               unsigned first, unsigned count);

/* The numbers of its workers, in order. */
#define NODE_EACH_WORKER(node, i)                                                                  \
    for (unsigned i = (node)->first; i < (node)->first + (node)->count; i++)

static inline unsigned node_owner(const struct node *node, uint16_t slot) {
    return slots_owner(&node->slots, slot);
}

/* Where clients reach it, given the configured port: nodes of one process have one after another.
 */
static inline int64_t node_port(const struct node *node, int64_t configured) {
    return configured + node->index;
}

#endif
