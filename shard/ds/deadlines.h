/* SPDX-License-Identifier: BSD-3-Clause */
/* deadlines: items in the order in which their time is over: the fields of a hash that have
 * deadlines.
 *
 * A heap of four children a parent, in chunks, so that it grows by at most one chunk at a time
 * whatever its size. The item itself keeps its position in it, and nothing else: its deadline is
 * read here.
 *
 * Thread: owner shard only; reads anybody's to whom it is lent.
 * Ownership: items are the caller's. An all-zero struct is an empty one, and owns no memory.
 */
#ifndef SHOAL_SHARD_DS_DEADLINES_H
#define SHOAL_SHARD_DS_DEADLINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shard_heap;

#define DEADLINES_CHUNK_BITS 9
#define DEADLINES_CHUNK      (1u << DEADLINES_CHUNK_BITS)

struct deadline {
    int64_t at_ms;
    void *item;
};

struct deadlines {
    struct deadline **chunks;
    uint32_t count;
    uint32_t room;        /* of the first chunk, while it is the only one */
    uint32_t chunk_count; /* that are there */
    uint32_t chunk_room;  /* pointers in `chunks` */
};

/* An item has come to another position. */
typedef void deadlines_place_fn(void *item, uint32_t position);

static inline const struct deadline *deadlines_at(const struct deadlines *d, uint32_t position) {
    return &d->chunks[position >> DEADLINES_CHUNK_BITS][position & (DEADLINES_CHUNK - 1)];
}

/* The caller's `place` is told of every item that moves, the new one too. */
void deadlines_add(struct deadlines *d, struct shard_heap *heap, int64_t at_ms, void *item,
                   deadlines_place_fn *place);
void deadlines_change(struct deadlines *d, uint32_t position, int64_t at_ms,
                      deadlines_place_fn *place);
void deadlines_remove(struct deadlines *d, struct shard_heap *heap, uint32_t position,
                      deadlines_place_fn *place);
/* The item at this position is somewhere else in memory. */
void deadlines_moved(struct deadlines *d, uint32_t position, void *item);

/* How many are over: those before now_ms. Looks at no others but their children. */
uint32_t deadlines_count_before(const struct deadlines *d, int64_t now_ms);

/* Forgets all items, and frees about `chunks` chunks: true when none is left. */
bool deadlines_drain(struct deadlines *d, struct shard_heap *heap, uint32_t chunks);
/* Moves a chunk out of a sparse slab; false if there is none of this number. */
bool deadlines_relocate(struct deadlines *d, struct shard_heap *heap, uint32_t chunk,
                        size_t *ret_copied);

/* Bytes it takes. */
size_t deadlines_bytes(const struct deadlines *d);
/* Checks the order; for tests and debug builds. */
void deadlines_verify(const struct deadlines *d);

#endif
