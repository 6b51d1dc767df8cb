/* SPDX-License-Identifier: BSD-3-Clause */
/* See the header for why this is not a heap of the shard's own. */
#include "shard/sysmem.h"

#include "base/check.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#if SHOAL_SANITIZED || defined(SHOAL_NO_MIMALLOC)
#define raw_alloc     malloc
#define raw_resize    realloc
#define raw_release   free
#define raw_good_size plain_good_size

static size_t plain_good_size(size_t bytes) {
    return (bytes + 15) & ~(size_t)15;
}
#else
#include <mimalloc.h>
#define raw_alloc     mi_malloc
#define raw_resize    mi_realloc
#define raw_release   mi_free
#define raw_good_size mi_good_size
#endif

void *sysmem_alloc(size_t bytes) {
    void *block = raw_alloc(bytes);
    check(block != NULL);
    return block;
}

void *sysmem_resize(void *block, size_t bytes) {
    void *moved = raw_resize(block, bytes);
    check(moved != NULL);
    return moved;
}

void sysmem_release(void *block) {
    raw_release(block);
}

size_t sysmem_good_size(size_t bytes) {
    return raw_good_size(bytes);
}

void *sysmem_map(size_t bytes, size_t align) {
    /* Ask for more and cut off both ends: the kernel aligns to pages only. */
    size_t asked = bytes + align;
    char *raw = mmap(NULL, asked, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(raw != MAP_FAILED);
    char *start = (char *)(((uintptr_t)raw + align - 1) & ~(uintptr_t)(align - 1));
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

void sysmem_unmap(void *pages, size_t bytes) {
    check(munmap(pages, bytes) == 0);
}

void sysmem_discard(void *pages, size_t bytes) {
    check(madvise(pages, bytes, MADV_DONTNEED) == 0);
}

void sysmem_prefer_huge_pages(void *pages, size_t bytes, bool huge) {
    /* Kernels without large pages refuse, which is as well. */
    (void)madvise(pages, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}
