/* SPDX-License-Identifier: BSD-3-Clause */
/* idtree: an ordered map from stream ids (128 bits) to addresses: the nodes of a stream, the
 * pending entries of a group and of a consumer.
 *
 * A B+tree without links between its nodes. Ids of streams grow, so what is put at the end leaves
 * the node before it full; a node with little in it joins its neighbour. What an address leads to
 * is the owner's to free.
 *
 * Thread: the owner of the heap; what takes a `const struct idtree *` also whoever it is lent to.
 */
#ifndef SHOAL_SHARD_DS_IDTREE_H
#define SHOAL_SHARD_DS_IDTREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shard_heap;

struct stream_id {
    uint64_t ms, seq;
};
#define STREAM_ID_MIN ((struct stream_id){0, 0})
#define STREAM_ID_MAX ((struct stream_id){UINT64_MAX, UINT64_MAX})

static inline bool stream_id_less(struct stream_id a, struct stream_id b) {
    return a.ms < b.ms || (a.ms == b.ms && a.seq < b.seq);
}
static inline bool stream_id_equal(struct stream_id a, struct stream_id b) {
    return a.ms == b.ms && a.seq == b.seq;
}
static inline bool stream_id_is_zero(struct stream_id id) {
    return (id.ms | id.seq) == 0;
}
/* The next or the one before; false: there is none, and it stays as it is. */
bool stream_id_up(struct stream_id *id);
bool stream_id_down(struct stream_id *id);

struct idtree {
    struct idtree_node *root; /* NULL: empty */
    uint32_t height;          /* of the root; 0: it is a leaf */
    uint64_t count;
};

/* ---- Places ---- */

/* Each level but the root's holds a third of what it could, nearly. */
#define IDTREE_LEVELS_MAX 16

/* Where an id stands: valid until the tree changes. */
struct idtree_place {
    const struct idtree *tree;
    struct idtree_node *node[IDTREE_LEVELS_MAX]; /* from the root on; the leaf is at [height] */
    uint16_t at[IDTREE_LEVELS_MAX];
};

/* To the first, or the last; the first that is not less than `id`, or the last that is not greater.
 * False if there is none. */
bool idtree_first(const struct idtree *tree, struct idtree_place *ret);
bool idtree_last(const struct idtree *tree, struct idtree_place *ret);
bool idtree_from(const struct idtree *tree, struct stream_id id, struct idtree_place *ret);
bool idtree_upto(const struct idtree *tree, struct stream_id id, struct idtree_place *ret);
/* One further, one back; false at the end, and the place is no place any more. */
bool idtree_next(struct idtree_place *place);
bool idtree_prev(struct idtree_place *place);
struct stream_id idtree_id(const struct idtree_place *place);
void *idtree_get(const struct idtree_place *place);
void idtree_set(const struct idtree_place *place, void *address);

/* ---- The map ---- */

/* NULL: it is not there. */
void *idtree_find(const struct idtree *tree, struct stream_id id);
/* False, and nothing is done: it is there. */
bool idtree_add(struct shard_heap *heap, struct idtree *tree, struct stream_id id, void *address);
/* What it led to, or NULL. */
void *idtree_remove(struct shard_heap *heap, struct idtree *tree, struct stream_id id);
/* What one leaf holds is shown and gone, and the leaf with it; false if nothing was left. */
typedef void idtree_drop_fn(void *arg, struct stream_id id, void *address);
bool idtree_drop_leaf(struct shard_heap *heap, struct idtree *tree, idtree_drop_fn *drop,
                      void *arg);

/* Moves the nodes that begin with this place out of sparse slabs; adds what was copied. Who goes
 * through all places moves all nodes. */
void idtree_relocate(struct shard_heap *heap, struct idtree *tree, struct idtree_place *place,
                     size_t *copied);
size_t idtree_memory(const struct idtree *tree);
/* Checks all its invariants. */
void idtree_verify(const struct idtree *tree);

#endif
