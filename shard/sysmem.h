/* SPDX-License-Identifier: BSD-3-Clause */
/* sysmem: where the shard's memory comes from: the process allocator for big blocks, the kernel for
 * whole regions.
 *
 * Blocks come from mimalloc's default heap, not from a mi_heap_t of the shard: such a heap is bound
 * to the thread that made it and dies with it, while our blocks may be freed by any thread (a
 * pinned value, a script in global mode). Under a sanitizer they come from its malloc, so that it
 * sees every block.
 *
 * Thread: any.
 */
#ifndef SHOAL_SHARD_SYSMEM_H
#define SHOAL_SHARD_SYSMEM_H

#include <stdbool.h>
#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SHOAL_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define SHOAL_SANITIZED 1
#endif
#endif
#ifndef SHOAL_SANITIZED
#define SHOAL_SANITIZED 0
#endif

/* Never NULL: aborts when memory is exhausted. 16-byte aligned. */
void *sysmem_alloc(size_t bytes);
/* NULL if the system has no room for it: for sizes that a client names. */
void *sysmem_try_alloc(size_t bytes);
void *sysmem_resize(void *block, size_t bytes);
void sysmem_release(void *block);
/* What a block of this many bytes really takes. */
size_t sysmem_good_size(size_t bytes);

/* Zeroed pages that cost nothing until they are touched, at a multiple of `align`, a power of two,
 * and of a page. */
void *sysmem_map(size_t bytes, size_t align);
/* Whether the kernel may put large pages under these, now or when it finds the time. */
void sysmem_prefer_huge_pages(void *pages, size_t bytes, bool huge);
void sysmem_unmap(void *pages, size_t bytes);
/* Gives the memory of whole pages among these bytes back but keeps the addresses; such pages read
 * as zero again. */
void sysmem_discard(void *start, size_t bytes);

#endif
