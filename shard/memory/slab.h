/* SPDX-License-Identifier: BSD-3-Clause */
/* slab: a run of blocks of one size, and the region that it lies in (heap.c has the picture).
 *
 * Blocks are handed out from those that came back, and then from those that never were. A slab that
 * *packs* has its live blocks moved to its lower end: what they leave is remembered apart, so that
 * nothing is put there again while others come down.
 *
 *     | live | live | freed | live | left | live | left | fresh ..... |
 *            slab_settle: nothing behind the last live block has been handed out
 *     | live | live | freed | live | freed | live | fresh ........... |
 *
 * Thread: owner shard only. Ownership: the heap's.
 */
#ifndef SHOAL_SHARD_MEMORY_SLAB_H
#define SHOAL_SHARD_MEMORY_SLAB_H

#include "base/check.h"
#include "base/list.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shard_heap;

#define REGION_BYTES     ((size_t)4 << 20)
#define SLAB_BYTES       ((size_t)32 << 10)
#define SLABS_PER_REGION 128
#define GROUP            8u /* slabs that make a large one */
#define GROUP_MASK       UINT64_C(0xFF)
#define HEADERS_BYTES    8192

enum slab_state { SLAB_FREE, SLAB_CURRENT, SLAB_PARTIAL, SLAB_FULL, SLAB_REST };

struct free_block {
    struct free_block *next;
};

struct slab {
    struct list_node link;    /* in its class's list while PARTIAL */
    struct free_block *freed; /* blocks that came back */
    struct free_block *left;  /* those that heap_relocate moved to its lower end */
    uint32_t fresh;           /* offset of the first block never handed out */
    uint32_t end;             /* bytes of the slab */
    uint16_t block_bytes;
    uint16_t capacity; /* blocks */
    uint16_t live;
    uint16_t watch; /* the fewest live blocks before something must be done */
    uint8_t class_index;
    uint8_t state;
    uint8_t quarter; /* which list of its class, while PARTIAL */
    uint8_t touched; /* those of its slabs that may be resident behind `fresh`, a bit for each */
    bool packs;      /* heap_relocate fills it from its lower end, and heap_settle cuts it off */
};
static_assert(GROUP <= 8, "a byte names the slabs of a large one");

struct region {
    struct list_node link;       /* all regions */
    struct list_node room_link;  /* regions with free slabs */
    struct list_node group_link; /* regions with free groups */
    struct shard_heap *heap;
    uint16_t free_count;
    uint16_t free_groups;
    bool huge; /* asked for large pages */
    uint64_t free_mask[SLABS_PER_REGION / 64];
    uint64_t dirty_mask[SLABS_PER_REGION / 64]; /* free, but its pages are resident */
    struct slab slabs[SLABS_PER_REGION];
};
static_assert(sizeof(struct region) <= HEADERS_BYTES, "the headers fit before slab 0");

static inline struct region *region_of(const void *address) {
    return (struct region *)((uintptr_t)address & ~(REGION_BYTES - 1));
}

static inline unsigned slab_index(const struct region *region, const struct slab *slab) {
    return (unsigned)(slab - region->slabs);
}

static inline char *slab_base(const struct slab *slab) {
    struct region *region = region_of(slab);
    return (char *)region + slab_index(region, slab) * SLAB_BYTES;
}

static inline bool slab_is_free(const struct region *region, unsigned index) {
    return region->free_mask[index / 64] >> (index % 64) & 1;
}

static inline bool slab_is_dirty(const struct region *region, unsigned index) {
    return region->dirty_mask[index / 64] >> (index % 64) & 1;
}

static inline uint32_t slab_start(const struct slab *slab) {
    return slab_index(region_of(slab), slab) == 0 ? HEADERS_BYTES : 0;
}

/* Where its live blocks would end if they lay side by side. */
static inline bool is_above(const struct slab *slab, const void *block) {
    size_t offset = (size_t)((const char *)block - slab_base(slab));
    return offset >= slab_start(slab) + (size_t)slab->live * slab->block_bytes;
}

/* Its free blocks in the order of their addresses; what lies behind its last live block is fresh.
 */
void slab_settle(struct slab *slab);
/* Checks it, which is in use, and returns the bytes of its live blocks. */
size_t slab_verify(const struct slab *slab);

static inline void *slab_pop(struct slab *slab) {
    if (UNLIKELY(slab->left != NULL) && slab->freed == NULL) {
        slab_settle(slab);
    }
    struct free_block *freed = slab->freed;
    if (freed) {
        slab->freed = freed->next;
        slab->live++;
        return freed;
    }
    if (slab->fresh + slab->block_bytes <= slab->end) {
        void *block = slab_base(slab) + slab->fresh;
        slab->fresh += slab->block_bytes;
        slab->live++;
        return block;
    }
    return NULL;
}

static inline bool slab_has_room(const struct slab *slab) {
    return slab->freed || slab->left || slab->fresh + slab->block_bytes <= slab->end;
}

#endif
