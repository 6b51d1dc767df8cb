/* SPDX-License-Identifier: BSD-3-Clause */
/* heap: one shard's allocator: slabs of exact small sizes, mimalloc behind them, every byte
 * counted.
 *
 * mimalloc's size classes grow by an eighth to a quarter; an entry of 88 bytes would cost 96.
 * Entries are most of a server's memory, so small blocks come from slabs with classes 8 bytes apart
 * (64 apart above 512), without a header per block, and the rest from mimalloc.
 *
 * Thread: owner shard only; another thread may use it while the owner is parked: nothing in it is
 * bound to a thread. The caller remembers sizes: a free names the size that was asked for.
 */
#ifndef SHOAL_SHARD_HEAP_H
#define SHOAL_SHARD_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shard_heap;

/* The largest block that comes from a slab. */
#define HEAP_SLAB_BLOCK_MAX 4096

struct shard_heap *shard_heap_new(void);
/* Frees everything that is still allocated; adopted blocks are not ours to free. */
void shard_heap_free(struct shard_heap *heap);

/* Never NULL: aborts when the machine is out of memory. 8-byte aligned (16 from 1 KB on). */
void *heap_alloc(struct shard_heap *heap, size_t bytes);
void heap_release(struct shard_heap *heap, void *block, size_t bytes);
/* Keeps content up to the smaller size. */
void *heap_resize(struct shard_heap *heap, void *block, size_t old_bytes, size_t new_bytes);

/* What a request of this many bytes really takes. */
size_t heap_block_bytes(size_t bytes);

/* Counts (or no longer counts) bytes that belong to the shard but were allocated elsewhere: blobs,
 * mapped arrays. */
void heap_adopt(struct shard_heap *heap, size_t bytes);
void heap_disown(struct shard_heap *heap, size_t bytes);

/* Sum of heap_block_bytes of all live blocks, and of what was adopted; and what is reserved from
 * the system for them. */
size_t heap_used(const struct shard_heap *heap);
size_t heap_reserved(const struct shard_heap *heap);
/* Gives empty slabs back: MEMORY PURGE. */
void heap_purge(struct shard_heap *heap);

/* ---- Against fragmentation ---- */

/* Bytes of slabs that no block uses, empty slabs left out. */
size_t heap_slack(const struct shard_heap *heap);
/* Moves a block of at most HEAP_SLAB_BLOCK_MAX bytes out of a sparse slab, if there is a better
 * place for it: returns where it is now, and how many bytes were copied. */
void *heap_relocate(struct shard_heap *heap, void *block, size_t *ret_bytes);
/* Bytes of empty slabs whose pages are resident. */
size_t heap_resident_slack(const struct shard_heap *heap);
/* Gives up to max_bytes of them back, but leaves keep_bytes. True if there is more to give. */
bool heap_trim(struct shard_heap *heap, size_t keep_bytes, size_t max_bytes);

/* Checks the books against the slabs; for tests and debug builds. */
void heap_verify(const struct shard_heap *heap);

#endif
