/* SPDX-License-Identifier: BSD-3-Clause */
/* pqueue: a priority queue whose links live inside the elements: the one with the lowest key first.
 *
 * Thread: one at a time. Owns nothing and allocates nothing: an element must be removed before its
 * memory goes. Adding one costs a comparison, removing any one O(log n), amortized.
 * Source: Fredman, Sedgewick, Sleator, Tarjan, "The pairing heap", Algorithmica 1986.
 */
#ifndef SHOAL_BASE_PQUEUE_H
#define SHOAL_BASE_PQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pqueue_node {
    int64_t key;
    struct pqueue_node *child; /* the first of those below, all with keys not lower */
    struct pqueue_node *next;  /* sibling */
    struct pqueue_node *prev;  /* sibling, or of a first child its parent; itself: in no queue */
};

struct pqueue {
    struct pqueue_node *root;
};

/* The element of `type` whose field `member` is *node. */
#define PQUEUE_ENTRY(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline void pqueue_init(struct pqueue *queue) {
    queue->root = NULL;
}

/* A node that is in no queue: removing it is harmless. */
static inline void pqueue_node_init(struct pqueue_node *node) {
    node->prev = node;
}

static inline bool pqueue_node_queued(const struct pqueue_node *node) {
    return node->prev != node;
}

/* One of those with the lowest key; NULL if there is none. */
static inline struct pqueue_node *pqueue_first(const struct pqueue *queue) {
    return queue->root;
}

void pqueue_add(struct pqueue *queue, struct pqueue_node *node, int64_t key);
/* Leaves the node as pqueue_node_init does. */
void pqueue_remove(struct pqueue *queue, struct pqueue_node *node);

#endif
