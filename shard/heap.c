/* SPDX-License-Identifier: BSD-3-Clause */
/* The shard's allocator.
 *
 * Memory comes from the kernel in regions of 4 MB, aligned to 4 MB, each cut into 128 slabs of
 * 32 KB. A slab serves blocks of one class. The slabs' headers lie together at the start of their
 * region and not in the slabs: headers 32 KB apart would all fall into the same few sets of a CPU
 * cache. Masking a block's address gives its region, the next seven bits its slab.
 *
 *     region  | headers 0..127 | slab 0 .. | slab 1 .......... | ... | slab 127 ........ |
 *             ^ 4 MB aligned               ^ 32 KB aligned
 *
 * A slab hands out freed blocks first (a list threaded through them), then fresh ones in order, so
 * that memory that was never needed is never touched. A slab is in one of four states:
 *
 *     FREE     in its region's mask of free slabs; any class may take it
 *     CURRENT  the one slab from which its class allocates
 *     PARTIAL  in one of its class's lists, by quarters of fullness: the fullest become current
 *              first, so that the others may empty
 *     FULL     in no list; the first free makes it PARTIAL
 *
 * A slab whose last block is freed becomes FREE. A region whose slabs are all FREE is given back,
 * but for one that is kept against flapping.
 *
 * Tables whose leaves all grow through the same sizes leave slabs behind that a few stragglers
 * hold. heap_relocate moves blocks out of slabs like these; its caller knows who points at them.
 *
 * Bigger blocks come from the process allocator with two links before them, because shard_heap_free
 * must find them. Under a sanitizer all blocks do, so that it sees each of them.
 *
 * Invariants:
 *  1. used is the sum of heap_block_bytes over live blocks plus what was adopted.
 *  2. slab->live counts the blocks handed out; live == 0 only in FREE slabs.
 *  3. slab->live >= slab->watch; a free that breaks this changes the slab's state or list.
 *  4. A region is in the list of regions with room iff it has free slabs.
 */
#include "shard/heap.h"

#include "base/check.h"
#include "base/list.h"
#include "shard/sysmem.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#define REGION_BYTES     ((size_t)4 << 20)
#define SLAB_BYTES       ((size_t)32 << 10)
#define SLABS_PER_REGION 128
#define HEADERS_BYTES    8192
#define QUARTERS         4
#define FINE_MAX         1024
#define CLASS_COUNT      (FINE_MAX / 8 + (HEAP_SLAB_BLOCK_MAX - FINE_MAX) / 64)

enum slab_state { SLAB_FREE, SLAB_CURRENT, SLAB_PARTIAL, SLAB_FULL };

struct free_block {
    struct free_block *next;
};

struct slab {
    struct list_node link;    /* in its class's list while PARTIAL */
    struct free_block *freed; /* blocks that came back */
    uint32_t fresh;           /* offset of the first block never handed out */
    uint16_t block_bytes;
    uint16_t capacity; /* blocks */
    uint16_t live;
    uint16_t watch; /* the fewest live blocks before something must be done */
    uint8_t class_index;
    uint8_t state;
    uint8_t quarter; /* which list of its class, while PARTIAL */
};

struct region {
    struct list_node link;      /* all regions */
    struct list_node room_link; /* regions with free slabs */
    struct shard_heap *heap;
    uint16_t free_count;
    bool huge; /* asked for large pages */
    uint64_t free_mask[SLABS_PER_REGION / 64];
    uint64_t dirty_mask[SLABS_PER_REGION / 64]; /* free, but its pages are resident */
    struct slab slabs[SLABS_PER_REGION];
};
static_assert(sizeof(struct region) <= HEADERS_BYTES, "the headers fit before slab 0");

struct size_class {
    struct slab *current; /* NULL before the first use */
    struct list partial[QUARTERS];
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
    size_t slabs_taken;
    size_t dirty_slabs; /* free ones whose pages are resident */
    size_t slab_used;   /* bytes of blocks in slabs */
    struct list regions;
    struct list room;
    struct list big;
    struct size_class classes[CLASS_COUNT];
};

/* ---- Sizes ---- */

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

/* ---- Regions and slabs ---- */

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
    region->free_count = SLABS_PER_REGION;
    memset(region->free_mask, 0xFF, sizeof(region->free_mask));
    list_push_back(&heap->regions, &region->link);
    list_push_back(&heap->room, &region->room_link);
    heap->region_count++;
    heap->empty_regions++;
    heap->reserved += REGION_BYTES;
}

static void region_unmap(struct shard_heap *heap, struct region *region) {
    list_remove(&region->link);
    list_remove(&region->room_link);
    for (unsigned i = 0; i < SLABS_PER_REGION / 64; i++) {
        heap->dirty_slabs -= (size_t)__builtin_popcountll(region->dirty_mask[i]);
    }
    heap->region_count--;
    heap->empty_regions--;
    heap->reserved -= REGION_BYTES;
    sysmem_unmap(region, REGION_BYTES);
}

static bool slab_is_free(const struct region *region, unsigned index) {
    return region->free_mask[index / 64] >> (index % 64) & 1;
}

/* The first free slab: low addresses fill up first, so the pages behind may stay untouched. */
static unsigned region_take(struct region *region) {
    unsigned word = 0;
    while (region->free_mask[word] == 0) {
        word++;
    }
    unsigned index = word * 64 + (unsigned)__builtin_ctzll(region->free_mask[word]);
    region->free_mask[word] &= region->free_mask[word] - 1;
    region->free_count--;
    return index;
}

static bool slab_is_dirty(const struct region *region, unsigned index) {
    return region->dirty_mask[index / 64] >> (index % 64) & 1;
}

static void slab_set_dirty(struct shard_heap *heap, struct region *region, unsigned index,
                           bool dirty) {
    if (slab_is_dirty(region, index) != dirty) {
        region->dirty_mask[index / 64] ^= UINT64_C(1) << (index % 64);
        heap->dirty_slabs += dirty ? 1 : (size_t)-1;
    }
}

/* A random key is a miss of the address cache too, which large pages save. But a fault of one takes
 * 200 us, and milliseconds when the kernel must first make room for it, and it brings in memory
 * that may never be needed. So they are asked for when all slabs of a region are in use: the kernel
 * then joins its pages beside our work. */
static void region_prefer_huge_pages(struct region *region, bool huge) {
    if (region->huge != huge) {
        region->huge = huge;
        sysmem_prefer_huge_pages(region, REGION_BYTES, huge);
    }
}

static struct slab *slab_take(struct shard_heap *heap, unsigned class_index) {
    if (list_empty(&heap->room)) {
        region_new(heap);
    }
    struct region *region = LIST_ENTRY(list_first(&heap->room), struct region, room_link);
    if (region->free_count == SLABS_PER_REGION) {
        heap->empty_regions--;
    }
    unsigned index = region_take(region);
    if (region->free_count == 0) {
        list_remove(&region->room_link);
        region_prefer_huge_pages(region, true);
    }
    struct slab *slab = &region->slabs[index];
    check(slab->state == SLAB_FREE && slab->live == 0);
    slab->freed = NULL;
    slab->fresh = index == 0 ? HEADERS_BYTES : 0;
    slab->block_bytes = (uint16_t)class_bytes(class_index);
    slab->capacity = (uint16_t)((SLAB_BYTES - slab->fresh) / slab->block_bytes);
    slab->class_index = (uint8_t)class_index;
    slab_set_dirty(heap, region, index, false);
    heap->slabs_taken++;
    return slab;
}

static void slab_give_back(struct shard_heap *heap, struct slab *slab) {
    check(slab->live == 0);
    struct region *region = region_of(slab);
    unsigned index = slab_index(region, slab);
    slab->state = SLAB_FREE;
    if (region->free_count == 0) {
        /* In front: pages that were touched before are used again before new ones are. */
        list_push_front(&heap->room, &region->room_link);
    }
    region->free_mask[index / 64] |= UINT64_C(1) << (index % 64);
    region->free_count++;
    slab_set_dirty(heap, region, index, true);
    heap->slabs_taken--;
    if (region->free_count == SLABS_PER_REGION) {
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

static inline bool slab_has_room(const struct slab *slab) {
    return slab->freed || slab->fresh + slab->block_bytes <= SLAB_BYTES;
}

static void slab_make_current(struct size_class *class, struct slab *slab) {
    slab->state = SLAB_CURRENT;
    slab->watch = 1;
    class->current = slab;
}

/* The current slab, which has no room left, becomes FULL; the fullest partial one takes its place.
 * NULL if there is none. */
static struct slab *class_next_partial(struct size_class *class) {
    if (class->current) {
        class->current->state = SLAB_FULL;
        class->current->watch = class->current->live;
        class->current = NULL;
    }
    for (unsigned quarter = QUARTERS; quarter-- > 0;) {
        struct list_node *node = list_pop_front(&class->partial[quarter]);
        if (node) {
            struct slab *slab = LIST_ENTRY(node, struct slab, link);
            slab_make_current(class, slab);
            return slab;
        }
    }
    return NULL;
}

static __attribute__((noinline)) void *class_refill(struct shard_heap *heap, unsigned class_index) {
    struct size_class *class = &heap->classes[class_index];
    struct slab *slab = class_next_partial(class);
    if (!slab) {
        slab = slab_take(heap, class_index);
        slab_make_current(class, slab);
    }
    void *block = slab_pop(slab);
    check(block != NULL);
    return block;
}

static void *small_alloc(struct shard_heap *heap, unsigned class_index) {
    struct slab *slab = heap->classes[class_index].current;
    void *block = slab ? slab_pop(slab) : NULL;
    return LIKELY(block != NULL) ? block : class_refill(heap, class_index);
}

/* Fewer blocks are live than the slab's state or list allows. */
static __attribute__((noinline)) void slab_change(struct shard_heap *heap, struct slab *slab) {
    struct size_class *class = &heap->classes[slab->class_index];
    if (slab->state == SLAB_PARTIAL) {
        list_remove(&slab->link);
    }
    if (slab->live == 0) {
        if (slab->state == SLAB_CURRENT) {
            class->current = NULL;
        }
        slab_give_back(heap, slab);
        return;
    }
    slab->state = SLAB_PARTIAL;
    slab->quarter = (uint8_t)(slab->live * QUARTERS / slab->capacity);
    unsigned lowest = (slab->quarter * slab->capacity + QUARTERS - 1u) / QUARTERS;
    slab->watch = (uint16_t)(lowest ? lowest : 1);
    list_push_front(&class->partial[slab->quarter], &slab->link);
}

static void slab_push(struct shard_heap *heap, struct slab *slab, void *block) {
    struct free_block *freed = block;
    freed->next = slab->freed;
    slab->freed = freed;
    slab->live--;
    if (UNLIKELY(slab->live < slab->watch)) {
        slab_change(heap, slab);
    }
}

static void small_release(struct shard_heap *heap, void *block, size_t bytes) {
    struct slab *slab = slab_of(block);
    check(slab->class_index == class_of(bytes) && slab->live > 0);
    slab_push(heap, slab, block);
}

void *heap_relocate(struct shard_heap *heap, void *block, size_t *ret_bytes) {
    *ret_bytes = 0;
    if (SHOAL_SANITIZED) {
        return block;
    }
    struct slab *slab = slab_of(block);
    if (slab->state != SLAB_PARTIAL || slab->quarter == QUARTERS - 1) {
        return block;
    }
    struct size_class *class = &heap->classes[slab->class_index];
    if (!class->current || !slab_has_room(class->current)) {
        class_next_partial(class);
    }
    if (class->current == slab) {
        return block; /* It was the fullest of those that are not full. */
    }
    void *moved = slab_pop(class->current);
    memcpy(moved, block, slab->block_bytes);
    *ret_bytes = slab->block_bytes;
    slab_push(heap, slab, block);
    return moved;
}

/* ---- Big blocks ---- */

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

/* ---- The interface ---- */

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
        for (unsigned quarter = 0; quarter < QUARTERS; quarter++) {
            list_init(&heap->classes[i].partial[quarter]);
        }
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
    if (LIKELY(from_slab(bytes))) {
        unsigned class_index = class_of(bytes);
        heap->used += class_bytes(class_index);
        heap->slab_used += class_bytes(class_index);
        return small_alloc(heap, class_index);
    }
    heap->used += heap_block_bytes(bytes);
    return big_alloc(heap, bytes);
}

void heap_release(struct shard_heap *heap, void *block, size_t bytes) {
    if (!block) {
        return;
    }
    heap->used -= heap_block_bytes(bytes);
    if (LIKELY(from_slab(bytes))) {
        heap->slab_used -= heap_block_bytes(bytes);
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

size_t heap_slack(const struct shard_heap *heap) {
    return heap->slabs_taken * SLAB_BYTES - heap->slab_used;
}

/* Discards up to max slabs of one region, after leaving *keep in peace. */
static void region_discard(struct shard_heap *heap, struct region *region, size_t *keep,
                           size_t *max) {
    for (unsigned i = 0; i < SLABS_PER_REGION && *max; i++) {
        if (!slab_is_dirty(region, i)) {
            continue;
        }
        if (*keep > 0) {
            (*keep)--;
            continue;
        }
        region_prefer_huge_pages(region, false);
        size_t headers = i == 0 ? HEADERS_BYTES : 0;
        sysmem_discard((char *)region + i * SLAB_BYTES + headers, SLAB_BYTES - headers);
        slab_set_dirty(heap, region, i, false);
        (*max)--;
    }
}

bool heap_trim(struct shard_heap *heap, size_t keep_bytes, size_t max_bytes) {
    size_t keep = keep_bytes / SLAB_BYTES;
    size_t max = max_bytes / SLAB_BYTES;
    if (heap->dirty_slabs > keep) {
        LIST_EACH(&heap->room, node) {
            region_discard(heap, LIST_ENTRY(node, struct region, room_link), &keep, &max);
        }
    }
    return heap->dirty_slabs > keep_bytes / SLAB_BYTES;
}

size_t heap_resident_slack(const struct shard_heap *heap) {
    return heap->dirty_slabs * SLAB_BYTES;
}

void heap_purge(struct shard_heap *heap) {
    LIST_EACH_SAFE(&heap->room, node) {
        struct region *region = LIST_ENTRY(node, struct region, room_link);
        if (region->free_count == SLABS_PER_REGION) {
            region_unmap(heap, region);
        }
    }
    heap_trim(heap, 0, SIZE_MAX);
}

/* ---- Verification ---- */

static size_t slab_verify(const struct slab *slab) {
    size_t freed = 0;
    for (const struct free_block *block = slab->freed; block; block = block->next) {
        check(slab_of(block) == slab);
        freed++;
    }
    size_t start = slab_index(region_of(slab), slab) == 0 ? HEADERS_BYTES : 0;
    check(slab->block_bytes == class_bytes(slab->class_index));
    check((slab->fresh - start) / slab->block_bytes == freed + slab->live);
    check(slab->live > 0 && slab->live >= slab->watch && slab->live <= slab->capacity);
    check((slab->state == SLAB_FULL) <= (slab->live == slab->capacity));
    return (size_t)slab->live * slab->block_bytes;
}

void heap_verify(const struct shard_heap *heap) {
    size_t small_bytes = 0;
    size_t regions = 0;
    size_t empty = 0;
    size_t taken = 0;
    size_t dirty = 0;
    LIST_EACH(&heap->regions, node) {
        const struct region *region = LIST_ENTRY(node, struct region, link);
        regions++;
        empty += region->free_count == SLABS_PER_REGION;
        check(region->heap == heap);
        check(list_node_linked(&region->room_link) == (region->free_count != 0));
        unsigned free_count = 0;
        for (unsigned i = 0; i < SLABS_PER_REGION; i++) {
            bool is_free = slab_is_free(region, i);
            check(is_free == (region->slabs[i].state == SLAB_FREE));
            small_bytes += is_free ? 0 : slab_verify(&region->slabs[i]);
            check(is_free || !slab_is_dirty(region, i));
            free_count += is_free;
            dirty += slab_is_dirty(region, i);
        }
        check(free_count == region->free_count);
        taken += SLABS_PER_REGION - free_count;
    }
    check(regions == heap->region_count && empty == heap->empty_regions);
    check(taken == heap->slabs_taken && dirty == heap->dirty_slabs);
    check(small_bytes == heap->slab_used && small_bytes <= heap->used);
}
