/* SPDX-License-Identifier: BSD-3-Clause */
/* quicklist: a long list: nodes that are listpacks, and elements too large for one by themselves.
 *
 *     root -> directory: [leaf, elements] [leaf, elements] ...
 *                          |
 *                          +-> up to 64 nodes: [block, count] [block, count] ...
 *                                                 |
 *                                                 +-> room | listpack | room
 *
 * A node's listpack stands anywhere in its block, so that elements come and go at both of its ends
 * without a move of the others; the room goes when the node is no longer an end of the list. The
 * directory and the leaves count, so an index in the middle of ten million elements is found by
 * looking at some hundred numbers in a row and one leaf. A tree would look at fewer, and be no
 * faster before there are a billion.
 *
 * Where a node begins and ends is seen from outside (a list of one node that has become small is
 * a listpack again), so nodes are filled, divided and put together where Valkey does so.
 *
 * With a compress depth, nodes further than that from both ends are compressed when no operation
 * has them open. A read takes what is compressed apart into memory of its own: nothing of the list
 * is written to.
 *
 * Thread: the owner's; what takes a `const struct quicklist *` also whoever it is lent to.
 * Memory: of the heap that is given to each call, which must be the same.
 */
#ifndef SHOAL_SHARD_DS_QUICKLIST_H
#define SHOAL_SHARD_DS_QUICKLIST_H

#include "base/bytes.h"
#include "shard/ds/listpack.h"

#include <stdbool.h>
#include <stdint.h>

struct quicklist;
struct shard_heap;

/* What a listpack may hold by list-max-listpack-size. */
struct quicklist_limit {
    size_t bytes;
    uint64_t items;
    bool by_items; /* which of both was meant */
};
struct quicklist_limit quicklist_limit(int64_t fill);
/* Whether one of so many bytes and items is too large. */
bool quicklist_exceeds(int64_t fill, size_t bytes, uint64_t items);

/* `fill`: list-max-listpack-size, `depth`: list-compress-depth, for as long as it lives. */
struct quicklist *quicklist_new(struct shard_heap *heap, int64_t fill, int64_t depth);
/* Elements from so many bytes on are nodes by themselves; 0: as the fill says. For tests. */
void quicklist_set_packed_threshold(struct quicklist *list, uint64_t bytes);
/* Frees until *budget bytes are used up; true: all of it. */
bool quicklist_free_some(struct shard_heap *heap, struct quicklist *list, size_t *budget);

/* ---- Reading ---- */

uint64_t quicklist_count(const struct quicklist *list);
/* The element at an end of a list that has some; a number is written to `scratch` (NUM_I64_BYTES).
 */
struct bytes quicklist_end(const struct quicklist *list, bool tail, char *scratch);
uint64_t quicklist_nodes(const struct quicklist *list);
/* Bytes of the heap. */
size_t quicklist_memory(const struct quicklist *list);
/* The listpack that it is, if it has one node and that is one. */
bool quicklist_single(const struct quicklist *list, struct bytes *ret);

/* For the curious. */
struct quicklist_shape {
    uint64_t nodes, compressed;
    uint64_t bytes; /* of all nodes, as they are without compression */
    int fill, depth;
};
struct quicklist_shape quicklist_shape(const struct quicklist *list);

/* One element after the other, to either end. */
struct quicklist_iter {
    const struct quicklist *list; /* NULL: of one listpack */
    const char *lp;               /* the node; NULL: it is one element, `plain` */
    size_t at;                    /* in lp */
    struct bytes plain;
    uint32_t leaf, node;
    bool backward;
    bool over;     /* there is no element here */
    char *scratch; /* a compressed node taken apart, or NULL */
    size_t scratch_bytes;
};

/* At an index, if there is such an element. */
void quicklist_iter_open(struct quicklist_iter *iter, const struct quicklist *list, uint64_t index,
                         bool backward);
/* The same in a list that is one listpack. */
void quicklist_iter_open_packed(struct quicklist_iter *iter, const char *lp, uint64_t index,
                                bool backward);
void quicklist_iter_close(struct quicklist_iter *iter);
void quicklist_iter_enter_next(struct quicklist_iter *iter);

static inline void quicklist_iter_next(struct quicklist_iter *iter) {
    if (iter->lp != NULL) {
        iter->at =
            iter->backward ? listpack_prev(iter->lp, iter->at) : listpack_next(iter->lp, iter->at);
        if (iter->at != 0) {
            return;
        }
    }
    quicklist_iter_enter_next(iter);
}

/* A number is written to `scratch` (NUM_I64_BYTES). */
static inline struct bytes quicklist_iter_text(const struct quicklist_iter *iter, char *scratch) {
    if (iter->lp == NULL) {
        return iter->plain;
    }
    struct listpack_item item = listpack_get(iter->lp, iter->at);
    return listpack_text(&item, scratch);
}

/* `item`: the same text, as listpack_new made it. */
static inline bool quicklist_iter_equals(const struct quicklist_iter *iter, struct bytes text,
                                         const struct listpack_new *item) {
    return iter->lp == NULL ? bytes_equal(iter->plain, text)
                            : listpack_equals(iter->lp, iter->at, item);
}

/* ---- Writing ---- */

/* Makes a node of a listpack with elements, a block of this heap of exactly its bytes, which is the
 * list's from now on; at the end. */
void quicklist_take(struct shard_heap *heap, struct quicklist *list, char *lp);
void quicklist_push(struct shard_heap *heap, struct quicklist *list, struct bytes text, bool tail);
/* Before or after an element that is there. */
void quicklist_insert(struct shard_heap *heap, struct quicklist *list, uint64_t index,
                      struct bytes text, bool after);
void quicklist_set(struct shard_heap *heap, struct quicklist *list, uint64_t index,
                   struct bytes text);
/* The element at an end of a list that has some. */
void quicklist_drop(struct shard_heap *heap, struct quicklist *list, bool tail);
/* Elements that are there. */
void quicklist_remove(struct shard_heap *heap, struct quicklist *list, uint64_t index,
                      uint64_t count);
/* Takes out up to `limit` elements with this text, the first or (from_tail) the last ones; returns
 * how many there were. */
uint64_t quicklist_remove_equal(struct shard_heap *heap, struct quicklist *list, struct bytes text,
                                uint64_t limit, bool from_tail);

/* ---- In steps ---- */

/* Copies nodes behind those that *to has, from the one that *cursor says on; the first call makes
 * *to. `from` may be lent. True: all of them. */
bool quicklist_copy_some(struct shard_heap *heap, const struct quicklist *from,
                         struct quicklist **to, uint64_t *cursor, size_t *budget);
/* Moves blocks out of sparse slabs, the root also. */
bool quicklist_relocate_some(struct shard_heap *heap, struct quicklist **list, uint64_t *cursor,
                             size_t *budget);

void quicklist_verify(const struct quicklist *list);

#endif
