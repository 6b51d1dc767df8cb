/* SPDX-License-Identifier: BSD-3-Clause */
/* list: a doubly linked list whose links live inside the elements.
 *
 * Thread: one at a time. Owns nothing: an element must be removed before its memory goes.
 * The head is a node of the ring, so no operation has a special case for the ends.
 */
#ifndef SHOAL_BASE_LIST_H
#define SHOAL_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_node {
    struct list_node *next;
    struct list_node *prev;
};

struct list {
    struct list_node ring;
};

/* What `node` lies in, at that offset. For LIST_ENTRY. */
static inline void *list_outer(const void *node, size_t offset) {
    return (char *)node - offset;
}

/* The element of `type` whose field `member` is *node. */
#define LIST_ENTRY(node, type, member) ((type *)list_outer(node, offsetof(type, member)))

/* `node` walks from first to last; it must stay linked while its turn lasts. */
#define LIST_EACH(list, node)                                                                      \
    for (struct list_node *node = (list)->ring.next; node != &(list)->ring; node = node->next)

/* As LIST_EACH, and `node` may be removed or freed in its turn; no other may. */
#define LIST_EACH_SAFE(list, node)                                                                 \
    for (struct list_node *node = (list)->ring.next, *node##_next = node->next;                    \
         node != &(list)->ring; node = node##_next, node##_next = node->next)

static inline void list_init(struct list *list) {
    list->ring.next = &list->ring;
    list->ring.prev = &list->ring;
}

static inline bool list_empty(const struct list *list) {
    return list->ring.next == &list->ring;
}

/* A node that is in no list: list_node_linked is false for it, and removing it is harmless. */
static inline void list_node_init(struct list_node *node) {
    node->next = node;
    node->prev = node;
}

static inline bool list_node_linked(const struct list_node *node) {
    return node->next != node;
}

static inline void list_insert_after(struct list_node *position, struct list_node *node) {
    node->prev = position;
    node->next = position->next;
    position->next->prev = node;
    position->next = node;
}

static inline void list_push_front(struct list *list, struct list_node *node) {
    list_insert_after(&list->ring, node);
}

static inline void list_push_back(struct list *list, struct list_node *node) {
    list_insert_after(list->ring.prev, node);
}

/* Leaves the node as list_node_init does. */
static inline void list_remove(struct list_node *node) {
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_node_init(node);
}

/* NULL when empty. */
static inline struct list_node *list_first(const struct list *list) {
    return list_empty(list) ? NULL : list->ring.next;
}

static inline struct list_node *list_last(const struct list *list) {
    return list_empty(list) ? NULL : list->ring.prev;
}

/* The neighbours of a linked node; NULL beyond the ends. */
static inline struct list_node *list_next(const struct list *list, const struct list_node *node) {
    return node->next == &list->ring ? NULL : node->next;
}

static inline struct list_node *list_before(const struct list *list, const struct list_node *node) {
    return node->prev == &list->ring ? NULL : node->prev;
}

static inline struct list_node *list_pop_front(struct list *list) {
    struct list_node *node = list_first(list);
    if (node) {
        list_remove(node);
    }
    return node;
}

/* Moves all of source behind target's last; source is empty afterwards. */
static inline void list_splice_back(struct list *target, struct list *source) {
    if (list_empty(source)) {
        return;
    }
    struct list_node *first = source->ring.next;
    struct list_node *last = source->ring.prev;
    first->prev = target->ring.prev;
    target->ring.prev->next = first;
    last->next = &target->ring;
    target->ring.prev = last;
    list_init(source);
}

#endif
