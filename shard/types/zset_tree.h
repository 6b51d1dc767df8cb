/* SPDX-License-Identifier: BSD-3-Clause */
/* zset_tree: a large sorted set: its members in a tree by their scores (ds/tree.h) and in a table
 * by their hashes (ds/table.h), which point to the same blocks.
 *
 *     root { table, tree, memory, secret } ---> item { score, member } <--- leaves of both
 *
 * A member of 16 bytes takes 32, and a little more than a word in each.
 *
 * Thread: the owner's; what takes a `const struct zset_tree *` also whoever it is lent to.
 * Ownership: of all its blocks, which are the heap's that is named.
 */
#ifndef SHOAL_SHARD_TYPES_ZSET_TREE_H
#define SHOAL_SHARD_TYPES_ZSET_TREE_H

#include "shard/ds/table.h"
#include "shard/ds/tree.h"
#include "shard/types/value.h"

struct hash_secret;

struct zset_tree {
    struct table members;
    struct tree tree;
    size_t memory; /* bytes of the heap: this block and all others */
    const struct hash_secret *secret;
};

extern const struct form zset_form_tree;

struct zset_tree *zset_tree_new(struct shard_heap *heap, const struct hash_secret *secret);
uint64_t zset_tree_hash(const struct zset_tree *zset, struct bytes member);
/* The member of this hash, or NULL. */
struct tree_item *zset_tree_find(const struct zset_tree *zset, uint64_t hash, struct bytes member);
/* One that is not there. */
void zset_tree_add(struct shard_heap *heap, struct zset_tree *zset, uint64_t hash,
                   struct bytes member, double score);
void zset_tree_rescore(struct shard_heap *heap, struct zset_tree *zset, struct tree_item *item,
                       double score);
void zset_tree_remove(struct shard_heap *heap, struct zset_tree *zset, uint64_t hash,
                      struct tree_item *item);
void zset_tree_remove_range(struct shard_heap *heap, struct zset_tree *zset, uint64_t rank,
                            uint64_t count);
/* What would be left without these, where that is so little that a copy of it costs less than they
 * do; or NULL. */
struct zset_tree *zset_tree_without(struct shard_heap *heap, const struct zset_tree *zset,
                                    uint64_t rank, uint64_t count);

#endif
