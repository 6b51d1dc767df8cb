/* SPDX-License-Identifier: BSD-3-Clause */
/* See the header for why this is not a heap of the shard's own. */
#include "shard/memory/sysmem.h"

#include "base/check.h"
#include "base/must.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#if SHOAL_SANITIZED || defined(SHOAL_NO_MIMALLOC)
#define raw_alloc   malloc
#define raw_resize  realloc
#define raw_release free

void sysmem_return_at_once(void) {
}

void sysmem_collect(bool all) {
    (void)all;
}
#else
#include <mimalloc.h>
#define raw_alloc   mi_malloc
#define raw_resize  mi_realloc
#define raw_release mi_free

void sysmem_return_at_once(void) {
#ifdef SHOAL_MIMALLOC_PURGES
    mi_option_set(mi_option_purge_delay, 0);
#else /* before 2.1 */
    mi_option_set(mi_option_decommit_delay, 0);
    mi_option_set(mi_option_segment_decommit_delay, 0);
#endif
}

void sysmem_collect(bool all) {
    mi_collect(all);
}
#endif

void *sysmem_alloc(size_t bytes) {
    void *block = raw_alloc(bytes);
    if (UNLIKELY(block == NULL)) {
        memory_exhausted(bytes, __FILE__, __LINE__);
    }
    return block;
}

void *sysmem_try_alloc(size_t bytes) {
    return raw_alloc(bytes);
}

void *sysmem_resize(void *block, size_t bytes) {
    void *moved = raw_resize(block, bytes);
    if (UNLIKELY(moved == NULL)) {
        memory_exhausted(bytes, __FILE__, __LINE__);
    }
    return moved;
}

void sysmem_release(void *block) {
    raw_release(block);
}

/* 4 KB here, up to 64 KB on other machines. */
static size_t page_bytes(void) {
    return (size_t)sysconf(_SC_PAGESIZE);
}

void *sysmem_try_map(size_t bytes, size_t align) {
    align = align > page_bytes() ? align : page_bytes();
    bytes = (bytes + page_bytes() - 1) & ~(page_bytes() - 1);
    /* Ask for more and cut off both ends: the kernel aligns to pages only. It hands out addresses
     * from the top down, so the highest aligned piece is kept: it borders on the one before, and
     * the kernel joins the two. Pieces with holes between them would each count as a mapping, of
     * which a process may have 65530. */
    size_t asked = bytes + align;
    char *raw = mmap(NULL, asked, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) {
        return NULL;
    }
    char *start = (char *)(((uintptr_t)raw + align) & ~(uintptr_t)(align - 1));
    size_t before = (size_t)(start - raw);
    size_t after = asked - before - bytes;
    if (before) {
        munmap(raw, before);
    }
    if (after) {
        munmap(start + bytes, after);
    }
    return start;
}

void *sysmem_map(size_t bytes, size_t align) {
    void *pages = sysmem_try_map(bytes, align);
    if (UNLIKELY(pages == NULL)) {
        memory_exhausted(bytes, __FILE__, __LINE__);
    }
    return pages;
}

void *sysmem_remap(void *pages, size_t old_bytes, size_t new_bytes) {
    void *moved = mremap(pages, old_bytes, new_bytes, MREMAP_MAYMOVE);
    if (UNLIKELY(moved == MAP_FAILED)) {
        memory_exhausted(new_bytes, __FILE__, __LINE__);
    }
    return moved;
}

void sysmem_unmap(void *pages, size_t bytes) {
    check(munmap(pages, bytes) == 0);
}

void sysmem_discard(void *start, size_t bytes) {
    uintptr_t mask = page_bytes() - 1;
    uintptr_t first = ((uintptr_t)start + mask) & ~mask;
    uintptr_t end = ((uintptr_t)start + bytes) & ~mask;
    if (first < end) {
        check(madvise((void *)first, end - first, MADV_DONTNEED) == 0);
    }
}

void sysmem_prefer_huge_pages(void *pages, size_t bytes, bool huge) {
    /* Kernels without large pages refuse, which is as well. */
    (void)madvise(pages, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}
