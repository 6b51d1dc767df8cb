/* SPDX-License-Identifier: BSD-3-Clause */
/* heap: one shard's allocator: slabs of exact small sizes, runs of pages behind them, every byte
 * counted.
 *
 * mimalloc's size classes grow by an eighth to a quarter; an entry of 88 bytes would cost 96.
 * Entries are most of a server's memory, so small blocks come from slabs with classes 8 bytes apart
 * (64 apart above 1 KB, a sixteenth to a thirty-second of the size above 4 KB), without a header
 * per block, and what is larger than a slab's block from runs of whole pages (shard/memory/runs.h).
 *
 * What is freed stays for the next who wants it, whatever its size. heap_work gives back what
 * nobody has wanted for a while, a little at a time.
 *
 * Thread: owner shard only; another thread may use it while the owner is parked: nothing in it is
 * bound to a thread. Crosses threads: heap_return. The caller remembers sizes: a free names the
 * size that was asked for.
 */
#ifndef SHOAL_SHARD_MEMORY_HEAP_H
#define SHOAL_SHARD_MEMORY_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shard_heap;

/* The largest block that comes from a slab. */
#define HEAP_SLAB_BLOCK_MAX (32u << 10)

struct shard_heap *shard_heap_new(void);
/* Frees everything that is still allocated, but for shared blocks: they stay valid, and the last
 * that is returned frees the rest. Adopted blocks are not ours to free. */
void shard_heap_free(struct shard_heap *heap);

/* Never NULL: aborts when the machine is out of memory. 8-byte aligned (16 from 1 KB on). */
void *heap_alloc(struct shard_heap *heap, size_t bytes);
void heap_release(struct shard_heap *heap, void *block, size_t bytes);
/* Keeps content up to the smaller size. */
void *heap_resize(struct shard_heap *heap, void *block, size_t old_bytes, size_t new_bytes);

/* What a request of this many bytes really takes. */
size_t heap_block_bytes(size_t bytes);

/* ---- Blocks that any thread may free ---- */

/* They are not counted here: who keeps one in a shard adopts it. At least HEAP_SHARED_MIN bytes.
 * NULL if the system has no room for it. */
#define HEAP_SHARED_MIN 16
void *heap_alloc_shared(struct shard_heap *heap, size_t bytes);
/* Owner only; never NULL. */
void *heap_resize_shared(struct shard_heap *heap, void *block, size_t old_bytes, size_t new_bytes);
/* Any thread: the owner takes it back when it next looks. */
void heap_return(struct shard_heap *heap, void *block, size_t bytes);

/* ---- Books ---- */

/* Counts (or no longer counts) bytes that belong to the shard but were allocated elsewhere: blobs,
 * mapped arrays. */
void heap_adopt(struct shard_heap *heap, size_t bytes);
void heap_disown(struct shard_heap *heap, size_t bytes);

/* Sum of heap_block_bytes of all live blocks, and of what was adopted; and what is reserved from
 * the system for them. */
size_t heap_used(const struct shard_heap *heap);
/* Bytes of blocks that it has ever given and taken back; 0 but where slow checks are on. */
size_t heap_churned(const struct shard_heap *heap);
size_t heap_reserved(const struct shard_heap *heap);

/* ---- Giving back ---- */

/* Bytes that are free but resident. */
size_t heap_resident_slack(const struct shard_heap *heap);
/* One slice of giving such memory back: what was not wanted for a while. Also takes in what other
 * threads have returned. Returns when the next is wanted; INT64_MAX: when something has changed. */
int64_t heap_work(struct shard_heap *heap, int64_t now_ms);
/* All of it at once: MEMORY PURGE. */
void heap_purge(struct shard_heap *heap);

/* ---- Against fragmentation ---- */

/* Bytes of slabs that no block uses; empty slabs, and those that are being filled, are left out of
 * it where they are large. */
size_t heap_slack(const struct shard_heap *heap);
/* Moves a block of at most HEAP_SLAB_BLOCK_MAX bytes out of a sparse slab, if there is a better
 * place for it: returns where it is now, and how many bytes were copied. */
void *heap_relocate(struct shard_heap *heap, void *block, size_t bytes, size_t *ret_copied);
/* After all blocks were offered to it: what lies behind the last block of a slab that was sparse
 * and had no better one goes back to the system (give_back), or is used next. How many bytes went.
 */
size_t heap_settle(struct shard_heap *heap, bool give_back);
/* Bytes that it has copied since the heap was made. */
size_t heap_relocated(const struct shard_heap *heap);

/* Checks the books against the slabs; for tests and debug builds. */
void heap_verify(const struct shard_heap *heap);

#endif
