/* SPDX-License-Identifier: BSD-3-Clause */
/* The shard's allocator.
 *
 * Memory comes from the kernel in regions of 4 MB, aligned to 4 MB, each cut into 64 slabs of 64
 * KB. A slab serves blocks of one class. The slabs' headers lie together at the start of their
 * region and not in the slabs: headers 64 KB apart would all fall into the same few sets of a CPU
 * cache. Masking a block's address gives its region, the next six bits its slab.
 *
 *     region  | headers 0..63 | slab 0 .. | slab 1 .......... | ... | slab 63 ......... |
 *             ^ 4 MB aligned              ^ 64 KB aligned
 *
 * A slab hands out freed blocks first (a list threaded through them), then fresh ones in order, so
 * that memory that was never needed is never touched. A slab is in one of four states:
 *
 *     FREE     in its region's mask of free slabs; any class may take it
 *     CURRENT  the one slab from which its class allocates
 *     PARTIAL  in its class's list: has room, waits to become current
 *     FULL     in no list; the first free makes it PARTIAL
 *
 * A PARTIAL slab whose last block is freed becomes FREE. A region whose slabs are all FREE is given
 * back, but for one that is kept against flapping.
 *
 * Bigger blocks come from the process allocator with two links before them, because shard_heap_free
 * must find them. Under a sanitizer all blocks do, so that it sees each of them.
 *
 * Invariants:
 *  1. used is the sum of heap_block_bytes over live blocks plus what was adopted.
 *  2. slab->live counts the blocks handed out; live == 0 only in FREE or CURRENT slabs.
 *  3. A region is in the list of regions with room iff its mask of free slabs is not 0.
 */
#include "shard/heap.h"

#include "base/check.h"
#include "base/list.h"
#include "shard/sysmem.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#define REGION_BYTES     ((size_t)4 << 20)
#define SLAB_BYTES       ((size_t)64 << 10)
#define SLABS_PER_REGION 64
#define HEADERS_BYTES    4096
#define FINE_MAX         512
#define CLASS_COUNT      (FINE_MAX / 8 + (HEAP_SLAB_BLOCK_MAX - FINE_MAX) / 64)

enum slab_state { SLAB_FREE, SLAB_CURRENT, SLAB_PARTIAL, SLAB_FULL };

struct free_block {
    struct free_block *next;
};

struct slab {
    struct list_node link;    /* in its class's list while PARTIAL */
    struct free_block *freed; /* blocks that came back */
    uint32_t fresh;           /* offset of the first block never handed out */
    uint32_t block_bytes;
    uint16_t live;
    uint8_t class_index;
    uint8_t state;
};

struct region {
    struct list_node link;      /* all regions */
    struct list_node room_link; /* regions with free slabs */
    struct shard_heap *heap;
    uint64_t free_mask;
    struct slab slabs[SLABS_PER_REGION];
};
static_assert(sizeof(struct region) <= HEADERS_BYTES, "the headers fit before slab 0");

struct size_class {
    struct slab *current; /* NULL before the first use */
    struct list partial;
};

struct big_block {
    struct list_node link;
    char data[];
};
static_assert(sizeof(struct big_block) == 16, "blocks behind it keep their alignment");

struct shard_heap {
    size_t used;
    size_t reserved;
    size_t region_count;
    size_t empty_regions;
    struct list regions;
    struct list room;
    struct list big;
    struct size_class classes[CLASS_COUNT];
};

/* ---- Sizes -------------------------------------------------------------------------------------
 */

static inline bool is_small(size_t bytes) {
    return bytes <= HEAP_SLAB_BLOCK_MAX;
}

static inline unsigned class_of(size_t bytes) {
    if (bytes <= FINE_MAX) {
        return bytes ? (unsigned)((bytes - 1) / 8) : 0;
    }
    return (unsigned)(FINE_MAX / 8 + (bytes - FINE_MAX - 1) / 64);
}

static inline size_t class_bytes(unsigned class_index) {
    if (class_index < FINE_MAX / 8) {
        return ((size_t)class_index + 1) * 8;
    }
    return FINE_MAX + ((size_t)class_index - FINE_MAX / 8 + 1) * 64;
}

size_t heap_block_bytes(size_t bytes) {
    if (is_small(bytes)) {
        return class_bytes(class_of(bytes));
    }
    return sysmem_good_size(bytes + sizeof(struct big_block));
}

/* ---- Regions and slabs -------------------------------------------------------------------------
 */

static inline struct region *region_of(const void *address) {
    return (struct region *)((uintptr_t)address & ~(REGION_BYTES - 1));
}

static inline unsigned slab_index(const struct region *region, const struct slab *slab) {
    return (unsigned)(slab - region->slabs);
}

static inline struct slab *slab_of(const void *block) {
    return &region_of(block)->slabs[((uintptr_t)block & (REGION_BYTES - 1)) / SLAB_BYTES];
}

static inline char *slab_base(const struct slab *slab) {
    struct region *region = region_of(slab);
    return (char *)region + slab_index(region, slab) * SLAB_BYTES;
}

static void region_new(struct shard_heap *heap) {
    struct region *region = sysmem_map(REGION_BYTES, REGION_BYTES);
    region->heap = heap;
    region->free_mask = UINT64_MAX;
    list_push_back(&heap->regions, &region->link);
    list_push_back(&heap->room, &region->room_link);
    heap->region_count++;
    heap->empty_regions++;
    heap->reserved += REGION_BYTES;
}

static void region_unmap(struct shard_heap *heap, struct region *region) {
    list_remove(&region->link);
    list_remove(&region->room_link);
    heap->region_count--;
    heap->empty_regions--;
    heap->reserved -= REGION_BYTES;
    sysmem_unmap(region, REGION_BYTES);
}

static struct slab *slab_take(struct shard_heap *heap, unsigned class_index) {
    if (list_empty(&heap->room)) {
        region_new(heap);
    }
    struct region *region = LIST_ENTRY(list_first(&heap->room), struct region, room_link);
    if (region->free_mask == UINT64_MAX) {
        heap->empty_regions--;
    }
    unsigned index = (unsigned)__builtin_ctzll(region->free_mask);
    region->free_mask &= region->free_mask - 1;
    if (region->free_mask == 0) {
        list_remove(&region->room_link);
    }
    struct slab *slab = &region->slabs[index];
    check(slab->state == SLAB_FREE && slab->live == 0);
    slab->freed = NULL;
    slab->fresh = index == 0 ? HEADERS_BYTES : 0;
    slab->block_bytes = (uint32_t)class_bytes(class_index);
    slab->class_index = (uint8_t)class_index;
    return slab;
}

static void slab_give_back(struct shard_heap *heap, struct slab *slab) {
    check(slab->live == 0);
    struct region *region = region_of(slab);
    slab->state = SLAB_FREE;
    if (region->free_mask == 0) {
        /* At the end: regions that were opened earlier are filled first, so later ones can empty.
         */
        list_push_back(&heap->room, &region->room_link);
    }
    region->free_mask |= UINT64_C(1) << slab_index(region, slab);
    if (region->free_mask == UINT64_MAX) {
        heap->empty_regions++;
        if (heap->empty_regions > 1) {
            region_unmap(heap, region);
        }
    }
}

static inline void *slab_pop(struct slab *slab) {
    struct free_block *freed = slab->freed;
    if (freed) {
        slab->freed = freed->next;
        slab->live++;
        return freed;
    }
    if (slab->fresh + slab->block_bytes <= SLAB_BYTES) {
        void *block = slab_base(slab) + slab->fresh;
        slab->fresh += slab->block_bytes;
        slab->live++;
        return block;
    }
    return NULL;
}

static __attribute__((noinline)) void *class_refill(struct shard_heap *heap, unsigned class_index) {
    struct size_class *class = &heap->classes[class_index];
    if (class->current) {
        class->current->state = SLAB_FULL;
    }
    struct list_node *node = list_pop_front(&class->partial);
    struct slab *slab = node ? LIST_ENTRY(node, struct slab, link) : slab_take(heap, class_index);
    slab->state = SLAB_CURRENT;
    class->current = slab;
    void *block = slab_pop(slab);
    check(block != NULL);
    return block;
}

static void *small_alloc(struct shard_heap *heap, size_t bytes) {
    unsigned class_index = class_of(bytes);
    struct slab *slab = heap->classes[class_index].current;
    void *block = slab ? slab_pop(slab) : NULL;
    return LIKELY(block != NULL) ? block : class_refill(heap, class_index);
}

static __attribute__((noinline)) void slab_freed_first_or_last(struct shard_heap *heap,
                                                               struct slab *slab) {
    if (slab->state == SLAB_FULL) {
        slab->state = SLAB_PARTIAL;
        list_push_front(&heap->classes[slab->class_index].partial, &slab->link);
    }
    if (slab->live == 0 && slab->state == SLAB_PARTIAL) {
        list_remove(&slab->link);
        slab_give_back(heap, slab);
    }
}

static void small_release(struct shard_heap *heap, void *block, size_t bytes) {
    struct slab *slab = slab_of(block);
    check(slab->class_index == class_of(bytes) && slab->live > 0);
    struct free_block *freed = block;
    freed->next = slab->freed;
    slab->freed = freed;
    slab->live--;
    if (UNLIKELY(slab->live == 0 || slab->state == SLAB_FULL)) {
        slab_freed_first_or_last(heap, slab);
    }
}

/* ---- Big blocks --------------------------------------------------------------------------------
 */

static void *big_alloc(struct shard_heap *heap, size_t bytes) {
    struct big_block *big = sysmem_alloc(sizeof(*big) + bytes);
    list_push_front(&heap->big, &big->link);
    heap->reserved += heap_block_bytes(bytes);
    return big->data;
}

static struct big_block *big_of(void *block) {
    return (struct big_block *)((char *)block - sizeof(struct big_block));
}

static void big_release(struct shard_heap *heap, void *block, size_t bytes) {
    struct big_block *big = big_of(block);
    list_remove(&big->link);
    heap->reserved -= heap_block_bytes(bytes);
    sysmem_release(big);
}

static void *big_resize(struct shard_heap *heap, void *block, size_t old_bytes, size_t new_bytes) {
    struct big_block *big = big_of(block);
    list_remove(&big->link);
    big = sysmem_resize(big, sizeof(*big) + new_bytes);
    list_push_front(&heap->big, &big->link);
    heap->reserved += heap_block_bytes(new_bytes) - heap_block_bytes(old_bytes);
    heap->used += heap_block_bytes(new_bytes) - heap_block_bytes(old_bytes);
    return big->data;
}

/* ---- The interface -----------------------------------------------------------------------------
 */

static inline bool from_slab(size_t bytes) {
    return !SHOAL_SANITIZED && is_small(bytes);
}

struct shard_heap *shard_heap_new(void) {
    struct shard_heap *heap = sysmem_alloc(sizeof(*heap));
    memset(heap, 0, sizeof(*heap));
    list_init(&heap->regions);
    list_init(&heap->room);
    list_init(&heap->big);
    for (unsigned i = 0; i < CLASS_COUNT; i++) {
        list_init(&heap->classes[i].partial);
    }
    return heap;
}

void shard_heap_free(struct shard_heap *heap) {
    if (!heap) {
        return;
    }
    LIST_EACH_SAFE(&heap->big, node) {
        sysmem_release(LIST_ENTRY(node, struct big_block, link));
    }
    LIST_EACH_SAFE(&heap->regions, node) {
        sysmem_unmap(LIST_ENTRY(node, struct region, link), REGION_BYTES);
    }
    sysmem_release(heap);
}

void *heap_alloc(struct shard_heap *heap, size_t bytes) {
    heap->used += heap_block_bytes(bytes);
    return LIKELY(from_slab(bytes)) ? small_alloc(heap, bytes) : big_alloc(heap, bytes);
}

void heap_release(struct shard_heap *heap, void *block, size_t bytes) {
    if (!block) {
        return;
    }
    heap->used -= heap_block_bytes(bytes);
    if (LIKELY(from_slab(bytes))) {
        small_release(heap, block, bytes);
    } else {
        big_release(heap, block, bytes);
    }
}

void *heap_resize(struct shard_heap *heap, void *block, size_t old_bytes, size_t new_bytes) {
    if (!block) {
        return heap_alloc(heap, new_bytes);
    }
    if (from_slab(old_bytes) && from_slab(new_bytes) &&
        class_of(old_bytes) == class_of(new_bytes)) {
        return block;
    }
    if (!is_small(old_bytes) && !is_small(new_bytes)) {
        return big_resize(heap, block, old_bytes, new_bytes);
    }
    void *moved = heap_alloc(heap, new_bytes);
    memcpy(moved, block, old_bytes < new_bytes ? old_bytes : new_bytes);
    heap_release(heap, block, old_bytes);
    return moved;
}

void heap_adopt(struct shard_heap *heap, size_t bytes) {
    heap->used += bytes;
    heap->reserved += bytes;
}

void heap_disown(struct shard_heap *heap, size_t bytes) {
    check(heap->used >= bytes && heap->reserved >= bytes);
    heap->used -= bytes;
    heap->reserved -= bytes;
}

size_t heap_used(const struct shard_heap *heap) {
    return heap->used;
}

size_t heap_reserved(const struct shard_heap *heap) {
    return heap->reserved;
}

void heap_purge(struct shard_heap *heap) {
    for (unsigned i = 0; i < CLASS_COUNT; i++) {
        struct slab *slab = heap->classes[i].current;
        if (slab && slab->live == 0) {
            heap->classes[i].current = NULL;
            slab_give_back(heap, slab);
        }
    }
    LIST_EACH_SAFE(&heap->room, node) {
        struct region *region = LIST_ENTRY(node, struct region, room_link);
        if (region->free_mask == UINT64_MAX) {
            region_unmap(heap, region);
            continue;
        }
        for (uint64_t mask = region->free_mask; mask; mask &= mask - 1) {
            unsigned index = (unsigned)__builtin_ctzll(mask);
            size_t headers = index == 0 ? HEADERS_BYTES : 0;
            sysmem_discard((char *)region + index * SLAB_BYTES + headers, SLAB_BYTES - headers);
        }
    }
}

/* ---- Verification ------------------------------------------------------------------------------
 */

static size_t slab_verify(const struct slab *slab) {
    size_t freed = 0;
    for (const struct free_block *block = slab->freed; block; block = block->next) {
        check(slab_of(block) == slab);
        freed++;
    }
    size_t start = slab_index(region_of(slab), slab) == 0 ? HEADERS_BYTES : 0;
    check(slab->block_bytes == class_bytes(slab->class_index));
    check((slab->fresh - start) / slab->block_bytes == freed + slab->live);
    check(slab->live > 0 || slab->state == SLAB_CURRENT);
    return (size_t)slab->live * slab->block_bytes;
}

void heap_verify(const struct shard_heap *heap) {
    size_t small_bytes = 0;
    size_t regions = 0;
    size_t empty = 0;
    LIST_EACH(&heap->regions, node) {
        const struct region *region = LIST_ENTRY(node, struct region, link);
        regions++;
        empty += region->free_mask == UINT64_MAX;
        check(region->heap == heap);
        check(list_node_linked(&region->room_link) == (region->free_mask != 0));
        for (unsigned i = 0; i < SLABS_PER_REGION; i++) {
            bool is_free = region->free_mask >> i & 1;
            check(is_free == (region->slabs[i].state == SLAB_FREE));
            small_bytes += is_free ? 0 : slab_verify(&region->slabs[i]);
        }
    }
    check(regions == heap->region_count && empty == heap->empty_regions);
    check(small_bytes <= heap->used);
}
