/* SPDX-License-Identifier: BSD-3-Clause */
/* tree: items with a score, kept in order of score and then of their members' bytes: a B+tree that
 * knows how many items are below each branch.
 *
 * So the rank of an item and the item of a rank are found on one way from the root, and everything
 * that is asked by score or by member is a pair of ranks: tree_rank_of says where a bound stands.
 * It takes 8.x bytes for each item, besides the item. See tree.c for the picture.
 *
 * Thread: the owner's; what takes a `const struct tree *` also whoever it is lent to: reading
 * changes nothing.
 * Ownership: items are the caller's, and have an address of 48 bits. An empty tree owns no memory;
 * an all-zero struct is one.
 */
#ifndef SHOAL_SHARD_DS_TREE_H
#define SHOAL_SHARD_DS_TREE_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shard_heap;

struct tree {
    void *root;
    uint64_t count;
    uint32_t height; /* of inner nodes above the leaves */
};

/* ---- Items ---- */

/* A score, the length of the member (a byte, or 255 and 8 bytes), the member. */
struct tree_item {
    double score;
    unsigned char text[];
};

size_t tree_item_bytes(size_t member_length);
/* The score is not NaN. */
struct tree_item *tree_item_new(struct shard_heap *heap, struct bytes member, double score);
void tree_item_free(struct shard_heap *heap, struct tree_item *item);

static inline struct bytes tree_item_member(const struct tree_item *item) {
    if (__builtin_expect(item->text[0] < 255, 1)) {
        return bytes_make((const char *)item->text + 1, item->text[0]);
    }
    uint64_t length;
    memcpy(&length, item->text + 1, sizeof length);
    return bytes_make((const char *)item->text + 9, length);
}

/* ---- Change ---- */

/* No equal one may be there. */
void tree_insert(struct tree *tree, struct shard_heap *heap, struct tree_item *item);
/* It must be there. */
void tree_remove(struct tree *tree, struct shard_heap *heap, const struct tree_item *item);
/* Gives an item of the tree another score, and with it another place. */
void tree_rescore(struct tree *tree, struct shard_heap *heap, struct tree_item *item, double score);

typedef void tree_item_fn(void *arg, struct tree_item *item);
/* Takes out `count` items from a rank on, which are there; `release` is called for each. */
void tree_remove_range(struct tree *tree, struct shard_heap *heap, uint64_t rank, uint64_t count,
                       tree_item_fn *release, void *arg);

/* Frees the tree's own memory, from its end, until the budget of bytes is used up; not the items,
 * which may have gone already. True when all is free: it is empty then. Between slices nothing else
 * may be done with it. */
bool tree_free_some(struct tree *tree, struct shard_heap *heap, size_t *budget);

/* Moves the leaf of a rank out of sparse slabs, and lets the caller move its items: `move` returns
 * where an item is now. Returns the rank behind the leaf, and how many bytes of the tree were
 * copied. */
typedef struct tree_item *tree_move_fn(void *arg, struct tree_item *item);
uint64_t tree_relocate(struct tree *tree, struct shard_heap *heap, uint64_t rank,
                       tree_move_fn *move, void *arg, size_t *ret_copied);

/* ---- Ranks ---- */

/* A place between items. By what is not said, all are alike. */
struct tree_bound {
    bool by_score, by_member;
    bool behind; /* what is equal stands before it */
    double score;
    struct bytes member;
};
/* How many items stand before it. By member alone: only where all scores are equal. */
uint64_t tree_rank_of(const struct tree *tree, const struct tree_bound *bound);
/* Of an item that is in it. */
uint64_t tree_rank(const struct tree *tree, const struct tree_item *item);

/* ---- Walking ---- */

#define TREE_HEIGHT_MAX 12

/* Valid until the tree changes. */
struct tree_iter {
    const void *nodes[TREE_HEIGHT_MAX];
    uint32_t indexes[TREE_HEIGHT_MAX];
    const void *leaf;
    uint32_t index;
    uint32_t height;
    bool down; /* towards lower ranks */
};
/* Stands at the item of this rank, which is less than the count. */
void tree_iter_init(struct tree_iter *iter, const struct tree *tree, uint64_t rank, bool down);
/* The item where it stands, and goes on to the next one; NULL behind the last. */
const struct tree_item *tree_iter_next(struct tree_iter *iter);
/* The item of a rank. */
struct tree_item *tree_at(const struct tree *tree, uint64_t rank);

/* Bytes the tree itself takes, by walking it. */
size_t tree_bytes(const struct tree *tree);
/* Checks every invariant of tree.c; for tests and debug builds. */
void tree_verify(const struct tree *tree);

#endif
