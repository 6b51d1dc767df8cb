/* SPDX-License-Identifier: BSD-3-Clause */
/* A pairing heap: a tree in which no node's key is lower than its parent's. Two trees become one
 * by a comparison; a tree that loses its root is put together from the root's children, two by two
 * and then all into one, which is what keeps it flat. Rejected: an array, because whoever is in it
 * would have to be told each time he moves, and it has to be allocated.
 *
 * Nothing here recurses: keys that come in order make a tree that is as deep as it has nodes. */
#include "base/pqueue.h"

#include "base/check.h"

/* The one with the lower key, with the other one below it. Both are roots; `next` and `prev` of the
 * result are the caller's to set. */
static struct pqueue_node *merge(struct pqueue_node *a, struct pqueue_node *b) {
    if (b->key < a->key) {
        struct pqueue_node *higher = a;
        a = b;
        b = higher;
    }
    b->prev = a;
    b->next = a->child;
    if (a->child != NULL) {
        a->child->prev = b;
    }
    a->child = b;
    return a;
}

/* One tree of all siblings from `first` on; NULL of none. */
static struct pqueue_node *merge_siblings(struct pqueue_node *first) {
    struct pqueue_node *pairs = NULL; /* linked by next, the last one first */
    while (first != NULL) {
        struct pqueue_node *one = first, *two = first->next;
        first = two != NULL ? two->next : NULL;
        if (two != NULL) {
            one = merge(one, two);
        }
        one->next = pairs;
        pairs = one;
    }
    struct pqueue_node *all = pairs;
    while (pairs != NULL && pairs->next != NULL) {
        struct pqueue_node *rest = pairs->next->next;
        all = merge(pairs, pairs->next);
        all->next = rest;
        pairs = all;
    }
    return all;
}

static void set_root(struct pqueue *queue, struct pqueue_node *root) {
    queue->root = root;
    if (root != NULL) {
        root->next = root->prev = NULL;
    }
}

void pqueue_add(struct pqueue *queue, struct pqueue_node *node, int64_t key) {
    check(!pqueue_node_queued(node));
    node->key = key;
    node->child = NULL;
    set_root(queue, queue->root != NULL ? merge(queue->root, node) : node);
}

void pqueue_remove(struct pqueue *queue, struct pqueue_node *node) {
    if (!pqueue_node_queued(node)) {
        return;
    }
    struct pqueue_node *below = merge_siblings(node->child);
    if (node == queue->root) {
        set_root(queue, below);
    } else {
        if (node->prev->child == node) {
            node->prev->child = node->next;
        } else {
            node->prev->next = node->next;
        }
        if (node->next != NULL) {
            node->next->prev = node->prev;
        }
        if (below != NULL) {
            set_root(queue, merge(queue->root, below));
        }
    }
    pqueue_node_init(node);
}
