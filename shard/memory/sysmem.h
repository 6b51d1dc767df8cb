/* SPDX-License-Identifier: BSD-3-Clause */
/* sysmem: where memory comes from: the process allocator for what is not data, the kernel for the
 * regions and runs in which data lies.
 *
 * The process allocator is mimalloc, which stands behind malloc too: replies, requests, queues.
 * Under a sanitizer all blocks come from its malloc, so that it sees every one.
 *
 * Thread: any.
 */
#ifndef SHOAL_SHARD_MEMORY_SYSMEM_H
#define SHOAL_SHARD_MEMORY_SYSMEM_H

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

/* Never NULL, but for the try_ ones: abort when memory is exhausted. 16-byte aligned. */
void *sysmem_alloc(size_t bytes);
void *sysmem_try_alloc(size_t bytes);
void *sysmem_resize(void *block, size_t bytes);
void sysmem_release(void *block);

/* From now on the process allocator gives memory back to the system as soon as a page of it is
 * free. It would wait for its next call otherwise, which an idle thread never makes. */
void sysmem_return_at_once(void);
/* This thread takes in what other threads have freed of its own; `all`: and keeps nothing back. */
void sysmem_collect(bool all);

/* Zeroed pages that cost nothing until they are touched, at a multiple of `align`, a power of two,
 * and of a page. */
void *sysmem_map(size_t bytes, size_t align);
void *sysmem_try_map(size_t bytes, size_t align);
/* Another size, perhaps in another place; content is kept up to the smaller one. */
void *sysmem_remap(void *pages, size_t old_bytes, size_t new_bytes);
/* Whether the kernel may put large pages under these, now or when it finds the time. */
void sysmem_prefer_huge_pages(void *pages, size_t bytes, bool huge);
void sysmem_unmap(void *pages, size_t bytes);
/* Gives the memory of whole pages among these bytes back but keeps the addresses; such pages read
 * as zero again. */
void sysmem_discard(void *start, size_t bytes);

#endif
