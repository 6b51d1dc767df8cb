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
 * Blocks of more than 4 KB come from large slabs: eight slabs in a row, with the header of the
 * first.
 *
 * A slab hands out freed blocks first (a list threaded through them), then fresh ones in order, so
 * that memory that was never needed is never touched. A slab is in one of five states:
 *
 *     FREE     in its region's mask of free slabs; any class may take it
 *     CURRENT  the one slab from which its class allocates
 *     PARTIAL  in one of its class's lists, by quarters of fullness: the fullest become current
 *              first, so that the others may empty
 *     FULL     in no list; the first free makes it PARTIAL
 *     REST     of a large slab
 *
 * A slab whose last block is freed becomes FREE, and dirty: its pages are still there.
 *
 * Tables whose leaves all grow through the same sizes leave slabs behind that a few stragglers
 * hold. heap_relocate moves blocks out of slabs like these; its caller knows who points at them.
 * The last slab of a class has no better one: its blocks move to its lower end, and heap_settle
 * gives back the pages behind them. There are some two hundred classes, so that is megabytes.
 *
 * Blocks larger than a slab's come from runs. Under a sanitizer all blocks come from the process
 * allocator, so that it sees each of them; those that are not shared with two links before them,
 * because shard_heap_free must find them.
 *
 * What is freed goes back to the system in slices. The least that lay idle at any moment of a
 * tenth of a second is what the next tenth need not have: it is given back, at most 2 MB in
 * a millisecond. Who wants pages that are not resident while others lie idle pays for them with as
 * many of those, so that memory that was freed as one size and is wanted as another is not there
 * twice.
 *
 * A shared block may be freed by any thread: it pushes the block onto a stack that the owner
 * empties. Blocks may outlive the owner (a value on its way to a client when the server stops);
 * then the stack is closed, and whoever returns the last one ends the heap.
 *
 * Invariants:
 *  1. used is the sum of heap_block_bytes over live blocks that are not shared plus what was
 *     adopted.
 *  2. slab->live counts the blocks handed out; live == 0 only in FREE slabs.
 *  3. slab->live >= slab->watch; a free that breaks this changes the slab's state or list.
 *  4. A region is in the list of regions with room iff it has free slabs, and in that of regions
 *     with groups iff eight free ones make a large slab.
 */
#include "shard/memory/heap.h"

#include "base/check.h"
#include "base/list.h"
#include "base/must.h"
#include "shard/memory/runs.h"
#include "shard/memory/size_class.h"
#include "shard/memory/slab.h"
#include "shard/memory/sysmem.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#define QUARTERS 4

/* Giving back. */
#define PAGE_BYTES      4096u
#define KEEP_BYTES      ((size_t)256 << 10)
#define WINDOW_MS       100
#define SLICES          128 /* that what was idle in one window takes, if they are not too large */
#define SLICE_BYTES_MIN ((size_t)256 << 10)
#define SLICE_BYTES_MAX ((size_t)2 << 20)
/* Fresh pages are paid for in parts like this, if this many are idle. */
#define PAY_BYTES      ((size_t)512 << 10)
#define PAY_IDLE_BYTES ((size_t)4 << 20)

struct size_class {
    struct slab *current; /* NULL before the first use */
    struct list partial[QUARTERS];
};

struct big_block {
    struct list_node link;
    char data[];
};
static_assert(sizeof(struct big_block) == 16, "blocks behind it keep their alignment");

/* A shared block that was returned. */
struct returned {
    struct returned *next;
    size_t bytes;
};
static_assert(sizeof(struct returned) <= HEAP_SHARED_MIN, "it fits into the block");

/* What is given back, and when. */
struct giving {
    size_t idle_least; /* dirty bytes, in this window */
    int64_t window_end_ms;
    size_t owed; /* of what was idle all through the last window */
    size_t slice;
    int64_t next_ms;
    size_t fresh_paid; /* of the pages handed out fresh */
};

struct shard_heap {
    size_t used;
    size_t big_bytes; /* under a sanitizer: of all live blocks */
    size_t region_count;
    size_t empty_regions;
    size_t dirty_slabs; /* free ones whose pages are resident */
    size_t fresh_slabs; /* handed out so far whose pages were not */
    size_t slabs_taken; /* small ones */
    size_t slab_used;   /* bytes of blocks in them */
    size_t large_taken;
    size_t large_current;
    size_t large_used;
    size_t relocated; /* bytes that heap_relocate has copied */
    struct list regions;
    struct list room;
    struct list groups;
    struct list big;
    struct runs runs;
    struct giving giving;
    size_t shared; /* blocks handed out as such and not taken back */
    struct size_class classes[CLASS_COUNT];
    size_t churned;                                   /* heap_churned */
    _Alignas(64) _Atomic(struct returned *) returned; /* &closed: it has ended */
    _Atomic size_t orphans;                           /* then: blocks that are not back yet */
    struct returned closed;
};

/* ---- Sizes ---- */

size_t heap_block_bytes(size_t bytes) {
    if (is_small(bytes)) {
        return class_bytes(class_of(bytes));
    }
    return runs_block_bytes(bytes);
}

/* ---- Regions and slabs ---- */

static inline struct slab *slab_of(const void *block, size_t bytes) {
    unsigned index = (unsigned)(((uintptr_t)block & (REGION_BYTES - 1)) / SLAB_BYTES);
    return &region_of(block)->slabs[bytes <= SMALL_MAX ? index : index & ~(GROUP - 1)];
}

static void region_new(struct shard_heap *heap) {
    struct region *region = sysmem_map(REGION_BYTES, REGION_BYTES);
    region->heap = heap;
    region->free_count = SLABS_PER_REGION;
    region->free_groups = SLABS_PER_REGION / GROUP;
    memset(region->free_mask, 0xFF, sizeof(region->free_mask));
    list_push_back(&heap->regions, &region->link);
    list_push_back(&heap->room, &region->room_link);
    list_push_back(&heap->groups, &region->group_link);
    heap->region_count++;
    heap->empty_regions++;
}

/* All of it is free, and nothing dirty. */
static void region_unmap(struct shard_heap *heap, struct region *region) {
    check(region->free_count == SLABS_PER_REGION);
    check(region->dirty_mask[0] == 0 && region->dirty_mask[1] == 0);
    list_remove(&region->link);
    list_remove(&region->room_link);
    list_remove(&region->group_link);
    heap->region_count--;
    heap->empty_regions--;
    sysmem_unmap(region, REGION_BYTES);
}

static void slab_set_dirty(struct shard_heap *heap, struct region *region, unsigned index,
                           bool dirty) {
    if (slab_is_dirty(region, index) != dirty) {
        region->dirty_mask[index / 64] ^= UINT64_C(1) << (index % 64);
        heap->dirty_slabs += dirty ? 1 : (size_t)-1;
    }
}

static bool group_is_free(const struct region *region, unsigned index) {
    return (region->free_mask[index / 64] >> (index % 64 & ~(GROUP - 1)) & GROUP_MASK) ==
           GROUP_MASK;
}

/* The first free slab: low addresses fill up first, so the pages behind may stay untouched. */
static unsigned first_free(const struct region *region) {
    unsigned word = 0;
    while (region->free_mask[word] == 0) {
        word++;
    }
    return word * 64 + (unsigned)__builtin_ctzll(region->free_mask[word]);
}

static unsigned first_free_group(const struct region *region) {
    unsigned index = 0;
    while (!group_is_free(region, index)) {
        index += GROUP;
    }
    return index;
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

/* Takes `count` free slabs, which lie in one group, out of the masks. */
static void region_take(struct shard_heap *heap, struct region *region, unsigned index,
                        unsigned count) {
    if (region->free_count == SLABS_PER_REGION) {
        heap->empty_regions--;
    }
    if (group_is_free(region, index) && --region->free_groups == 0) {
        list_remove(&region->group_link);
    }
    for (unsigned i = index; i < index + count; i++) {
        check(region->slabs[i].state == SLAB_FREE && region->slabs[i].live == 0);
        heap->fresh_slabs += !slab_is_dirty(region, i);
        slab_set_dirty(heap, region, i, false);
    }
    region->free_mask[index / 64] &= ~(((UINT64_C(1) << count) - 1) << (index % 64));
    region->free_count -= (uint16_t)count;
    if (region->free_count == 0) {
        list_remove(&region->room_link);
        region_prefer_huge_pages(region, true);
    }
}

static void region_put(struct shard_heap *heap, struct region *region, unsigned index,
                       unsigned count) {
    if (region->free_count == 0) {
        /* In front: pages that were touched before are used again before new ones are. */
        list_push_front(&heap->room, &region->room_link);
    }
    region->free_mask[index / 64] |= ((UINT64_C(1) << count) - 1) << (index % 64);
    region->free_count += (uint16_t)count;
    if (group_is_free(region, index) && region->free_groups++ == 0) {
        list_push_front(&heap->groups, &region->group_link);
    }
    if (region->free_count == SLABS_PER_REGION) {
        heap->empty_regions++;
    }
}

static struct region *region_with_room(struct shard_heap *heap) {
    if (list_empty(&heap->room)) {
        region_new(heap);
    }
    return LIST_ENTRY(list_first(&heap->room), struct region, room_link);
}

static struct region *region_with_group(struct shard_heap *heap) {
    if (list_empty(&heap->groups)) {
        region_new(heap);
    }
    return LIST_ENTRY(list_first(&heap->groups), struct region, group_link);
}

static void pay(struct shard_heap *heap);

static struct slab *slab_take(struct shard_heap *heap, unsigned class_index) {
    bool large = is_large_class(class_index);
    struct region *region = large ? region_with_group(heap) : region_with_room(heap);
    unsigned index = large ? first_free_group(region) : first_free(region);
    unsigned count = large ? GROUP : 1;
    uint8_t touched = (uint8_t)(region->dirty_mask[index / 64] >> (index % 64));
    region_take(heap, region, index, count);
    for (unsigned i = index + 1; i < index + count; i++) {
        region->slabs[i].state = SLAB_REST;
    }
    struct slab *slab = &region->slabs[index];
    slab->freed = slab->left = NULL;
    slab->packs = false;
    slab->fresh = index == 0 ? HEADERS_BYTES : 0;
    slab->end = (uint32_t)(count * SLAB_BYTES);
    slab->block_bytes = (uint16_t)class_bytes(class_index);
    slab->capacity = (uint16_t)((slab->end - slab->fresh) / slab->block_bytes);
    slab->class_index = (uint8_t)class_index;
    slab->touched = touched;
    heap->slabs_taken += !large;
    heap->large_taken += large;
    pay(heap);
    return slab;
}

static void slab_give_back(struct shard_heap *heap, struct slab *slab) {
    check(slab->live == 0);
    struct region *region = region_of(slab);
    unsigned index = slab_index(region, slab);
    bool large = is_large_class(slab->class_index);
    unsigned count = large ? GROUP : 1;
    for (unsigned i = 0; i < count; i++) {
        region->slabs[index + i].state = SLAB_FREE;
        if (i * SLAB_BYTES < slab->fresh || slab->touched >> i & 1) {
            slab_set_dirty(heap, region, index + i, true);
        }
    }
    region_put(heap, region, index, count);
    heap->slabs_taken -= !large;
    heap->large_taken -= large;
}

static void slab_make_current(struct shard_heap *heap, struct slab *slab) {
    slab->state = SLAB_CURRENT;
    slab->watch = 1;
    heap->classes[slab->class_index].current = slab;
    heap->large_current += is_large_class(slab->class_index);
}

static void slab_not_current(struct shard_heap *heap, struct slab *slab) {
    heap->classes[slab->class_index].current = NULL;
    heap->large_current -= is_large_class(slab->class_index);
}

/* The current slab, which has no room left, becomes FULL; the fullest partial one takes its place.
 * NULL if there is none. */
static struct slab *class_next_partial(struct shard_heap *heap, struct size_class *class) {
    struct slab *full = class->current;
    if (full) {
        full->state = SLAB_FULL;
        full->packs = false;
        full->watch = full->live;
        slab_not_current(heap, full);
    }
    for (unsigned quarter = QUARTERS; quarter-- > 0;) {
        struct list_node *node = list_pop_front(&class->partial[quarter]);
        if (node) {
            struct slab *slab = LIST_ENTRY(node, struct slab, link);
            slab_make_current(heap, slab);
            return slab;
        }
    }
    return NULL;
}

static __attribute__((noinline)) void *class_refill(struct shard_heap *heap, unsigned class_index) {
    struct size_class *class = &heap->classes[class_index];
    struct slab *slab = class_next_partial(heap, class);
    if (!slab) {
        slab = slab_take(heap, class_index);
        slab_make_current(heap, slab);
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
            slab_not_current(heap, slab);
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
    struct slab *slab = slab_of(block, bytes);
    check(slab->class_index == class_of(bytes) && slab->live > 0);
    slab_push(heap, slab, block);
}

/* Of a slab that others are moved to, or that is alone: its blocks move to its lower end, so that
 * heap_settle can give back what is behind them. */
static void *pack(struct shard_heap *heap, struct slab *slab, void *block, size_t *ret_copied) {
    if (!slab->packs) {
        if (slab->live * 4u > slab->capacity * 3u) {
            return block;
        }
        slab_settle(slab);
        slab->packs = true;
    }
    struct free_block *place = slab->freed;
    if (!is_above(slab, block) || place == NULL || is_above(slab, place)) {
        return block;
    }
    slab->freed = place->next;
    memcpy(place, block, slab->block_bytes);
    struct free_block *left = block;
    left->next = slab->left;
    slab->left = left;
    *ret_copied = slab->block_bytes;
    heap->relocated += slab->block_bytes;
    return place;
}

void *heap_relocate(struct shard_heap *heap, void *block, size_t bytes, size_t *ret_copied) {
    *ret_copied = 0;
    if (SHOAL_SANITIZED) {
        return block;
    }
    struct slab *slab = slab_of(block, bytes);
    check(slab->class_index == class_of(bytes) && region_of(block)->heap == heap);
    if (slab->state == SLAB_CURRENT) {
        return pack(heap, slab, block, ret_copied);
    }
    if (slab->state != SLAB_PARTIAL || slab->quarter == QUARTERS - 1) {
        return block;
    }
    struct size_class *class = &heap->classes[slab->class_index];
    if (!class->current || !slab_has_room(class->current)) {
        class_next_partial(heap, class);
    }
    if (class->current == slab) {
        return pack(heap, slab, block, ret_copied); /* the fullest of those that are not full */
    }
    void *moved = slab_pop(class->current);
    memcpy(moved, block, bytes);
    *ret_copied = slab->block_bytes;
    heap->relocated += slab->block_bytes;
    slab_push(heap, slab, block);
    return moved;
}

size_t heap_relocated(const struct shard_heap *heap) {
    return heap->relocated;
}

/* ---- Big blocks ---- */

/* Only under a sanitizer. NULL if there is no room for it. */
static void *big_alloc(struct shard_heap *heap, size_t bytes) {
    struct big_block *big = sysmem_try_alloc(sizeof(*big) + bytes);
    if (big == NULL) {
        return NULL;
    }
    list_push_front(&heap->big, &big->link);
    heap->big_bytes += heap_block_bytes(bytes);
    return big->data;
}

static void big_release(struct shard_heap *heap, void *block, size_t bytes) {
    struct big_block *big = (struct big_block *)((char *)block - sizeof(struct big_block));
    list_remove(&big->link);
    heap->big_bytes -= heap_block_bytes(bytes);
    sysmem_release(big);
}

/* ---- Blocks of any size ---- */

static void count_in_slab(struct shard_heap *heap, unsigned class_index, bool more) {
    size_t bytes = class_bytes(class_index);
    size_t *used = is_large_class(class_index) ? &heap->large_used : &heap->slab_used;
    *used += more ? bytes : -bytes;
}

static void *run_alloc(struct shard_heap *heap, size_t bytes) {
    void *block = runs_alloc(&heap->runs, bytes);
    pay(heap);
    return block;
}

/* NULL if there is no room for it. */
static inline void *block_alloc(struct shard_heap *heap, size_t bytes) {
    if (SHOAL_SANITIZED) {
        return big_alloc(heap, bytes);
    }
    if (LIKELY(is_small(bytes))) {
        unsigned class_index = class_of(bytes);
        count_in_slab(heap, class_index, true);
        return small_alloc(heap, class_index);
    }
    return run_alloc(heap, bytes);
}

static inline void block_release(struct shard_heap *heap, void *block, size_t bytes) {
    if (SHOAL_SANITIZED) {
        big_release(heap, block, bytes);
    } else if (LIKELY(is_small(bytes))) {
        count_in_slab(heap, class_of(bytes), false);
        small_release(heap, block, bytes);
    } else {
        runs_release(&heap->runs, block, bytes);
    }
}

/* NULL if it takes a new block and a copy. */
static void *resize_in_place(struct shard_heap *heap, void *block, size_t old_bytes,
                             size_t new_bytes) {
    if (SHOAL_SANITIZED || is_small(old_bytes) != is_small(new_bytes)) {
        return NULL;
    }
    if (is_small(old_bytes)) {
        return class_of(old_bytes) == class_of(new_bytes) ? block : NULL;
    }
    return runs_resize(&heap->runs, block, old_bytes, new_bytes);
}

static inline void count_churn(struct shard_heap *heap, size_t bytes) {
#ifdef SHOAL_CHECK_SLOW
    heap->churned += bytes;
#endif
}

/* ---- The interface ---- */

struct shard_heap *shard_heap_new(void) {
    struct shard_heap *heap = sysmem_map(sizeof(*heap), _Alignof(struct shard_heap));
    list_init(&heap->regions);
    list_init(&heap->room);
    list_init(&heap->groups);
    list_init(&heap->big);
    runs_init(&heap->runs);
    for (unsigned i = 0; i < CLASS_COUNT; i++) {
        for (unsigned quarter = 0; quarter < QUARTERS; quarter++) {
            list_init(&heap->classes[i].partial[quarter]);
        }
    }
    return heap;
}

static void heap_end(struct shard_heap *heap) {
    LIST_EACH_SAFE(&heap->big, node) {
        sysmem_release(LIST_ENTRY(node, struct big_block, link));
    }
    LIST_EACH_SAFE(&heap->regions, node) {
        sysmem_unmap(LIST_ENTRY(node, struct region, link), REGION_BYTES);
    }
    runs_fini(&heap->runs);
    sysmem_unmap(heap, sizeof(*heap));
}

void shard_heap_free(struct shard_heap *heap) {
    if (!heap) {
        return;
    }
    /* One more for ourselves: till we have looked at what was returned before. */
    atomic_store_explicit(&heap->orphans, heap->shared + 1, memory_order_relaxed);
    struct returned *block =
        atomic_exchange_explicit(&heap->returned, &heap->closed, memory_order_acq_rel);
    size_t gone = 1;
    for (; block; block = block->next) {
        gone++;
    }
    if (atomic_fetch_sub_explicit(&heap->orphans, gone, memory_order_acq_rel) == gone) {
        heap_end(heap);
    }
}

void *heap_alloc(struct shard_heap *heap, size_t bytes) {
    void *block = block_alloc(heap, bytes);
    if (UNLIKELY(block == NULL)) {
        memory_exhausted(bytes, __FILE__, __LINE__);
    }
    heap->used += heap_block_bytes(bytes);
    count_churn(heap, bytes);
    return block;
}

void heap_release(struct shard_heap *heap, void *block, size_t bytes) {
    if (block) {
        heap->used -= heap_block_bytes(bytes);
        count_churn(heap, bytes);
        block_release(heap, block, bytes);
    }
}

void *heap_resize(struct shard_heap *heap, void *block, size_t old_bytes, size_t new_bytes) {
    if (!block) {
        return heap_alloc(heap, new_bytes);
    }
    void *moved = resize_in_place(heap, block, old_bytes, new_bytes);
    if (moved) {
        heap->used += heap_block_bytes(new_bytes) - heap_block_bytes(old_bytes);
        return moved;
    }
    moved = heap_alloc(heap, new_bytes);
    memcpy(moved, block, old_bytes < new_bytes ? old_bytes : new_bytes);
    heap_release(heap, block, old_bytes);
    return moved;
}

/* ---- Shared blocks ---- */

static void take_returned(struct shard_heap *heap) {
    if (LIKELY(atomic_load_explicit(&heap->returned, memory_order_relaxed) == NULL)) {
        return;
    }
    struct returned *block = atomic_exchange_explicit(&heap->returned, NULL, memory_order_acquire);
    while (block) {
        struct returned *next = block->next;
        heap->shared--;
        block_release(heap, block, block->bytes);
        block = next;
    }
}

void *heap_alloc_shared(struct shard_heap *heap, size_t bytes) {
    check(bytes >= HEAP_SHARED_MIN);
    if (SHOAL_SANITIZED) {
        return sysmem_try_alloc(bytes);
    }
    take_returned(heap);
    void *block = block_alloc(heap, bytes);
    heap->shared += block != NULL;
    return block;
}

void *heap_resize_shared(struct shard_heap *heap, void *block, size_t old_bytes, size_t new_bytes) {
    if (SHOAL_SANITIZED) {
        return sysmem_resize(block, new_bytes);
    }
    void *moved = resize_in_place(heap, block, old_bytes, new_bytes);
    if (moved) {
        return moved;
    }
    moved = heap_alloc_shared(heap, new_bytes);
    if (UNLIKELY(moved == NULL)) {
        memory_exhausted(new_bytes, __FILE__, __LINE__);
    }
    memcpy(moved, block, old_bytes < new_bytes ? old_bytes : new_bytes);
    heap->shared--;
    block_release(heap, block, old_bytes);
    return moved;
}

void heap_return(struct shard_heap *heap, void *block, size_t bytes) {
    if (SHOAL_SANITIZED) {
        sysmem_release(block);
        return;
    }
    struct returned *self = block;
    struct returned *first = atomic_load_explicit(&heap->returned, memory_order_acquire);
    self->bytes = bytes;
    do {
        if (UNLIKELY(first == &heap->closed)) { /* acquired: orphans was set before */
            if (atomic_fetch_sub_explicit(&heap->orphans, 1, memory_order_acq_rel) == 1) {
                heap_end(heap);
            }
            return;
        }
        self->next = first;
    } while (!atomic_compare_exchange_weak_explicit(&heap->returned, &first, self,
                                                    memory_order_acq_rel, memory_order_acquire));
}

/* ---- Books ---- */

void heap_adopt(struct shard_heap *heap, size_t bytes) {
    heap->used += bytes;
}

void heap_disown(struct shard_heap *heap, size_t bytes) {
    check(heap->used >= bytes);
    heap->used -= bytes;
}

size_t heap_used(const struct shard_heap *heap) {
    return heap->used;
}

size_t heap_churned(const struct shard_heap *heap) {
    return heap->churned;
}

size_t heap_slack(const struct shard_heap *heap) {
    size_t settled = (heap->large_taken - heap->large_current) * GROUP * SLAB_BYTES;
    size_t large = settled > heap->large_used ? settled - heap->large_used : 0;
    return heap->slabs_taken * SLAB_BYTES - heap->slab_used + large;
}

size_t heap_resident_slack(const struct shard_heap *heap) {
    return heap->dirty_slabs * SLAB_BYTES + heap->runs.dirty_bytes;
}

size_t heap_reserved(const struct shard_heap *heap) {
    return heap->used + heap_slack(heap) + heap_resident_slack(heap);
}

/* ---- Giving back ---- */

/* Up to max slabs of one region; returns how many. */
static size_t region_discard(struct shard_heap *heap, struct region *region, size_t max) {
    size_t given = 0;
    for (unsigned i = 0; i < SLABS_PER_REGION && given < max; i++) {
        if (slab_is_dirty(region, i)) {
            region_prefer_huge_pages(region, false);
            size_t headers = i == 0 ? HEADERS_BYTES : 0;
            sysmem_discard((char *)region + i * SLAB_BYTES + headers, SLAB_BYTES - headers);
            slab_set_dirty(heap, region, i, false);
            given++;
        }
    }
    return given;
}

/* The pages between two offsets of a slab in use. */
static size_t slab_discard(struct slab *slab, uint32_t from, uint32_t to) {
    from = (from + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
    to &= ~(PAGE_BYTES - 1);
    if (from >= to) {
        return 0;
    }
    region_prefer_huge_pages(region_of(slab), false);
    sysmem_discard(slab_base(slab) + from, to - from);
    for (unsigned i = 0; i < GROUP; i++) {
        slab->touched &= (uint8_t)(i * SLAB_BYTES < from ? 0xFF : ~(1u << i));
    }
    return to - from;
}

/* Only the current slab of a class packs. */
size_t heap_settle(struct shard_heap *heap, bool give_back) {
    size_t given = 0;
    for (unsigned i = 0; i < CLASS_COUNT; i++) {
        struct slab *slab = heap->classes[i].current;
        if (slab == NULL || !slab->packs) {
            continue;
        }
        uint32_t fresh = slab->fresh;
        slab_settle(slab);
        slab->packs = false;
        if (give_back) {
            given += slab_discard(slab, slab->fresh, slab->touched != 0 ? slab->end : fresh);
        }
    }
    return given;
}

/* The first region stays, against flapping. */
static size_t slabs_trim(struct shard_heap *heap, size_t max_bytes) {
    size_t max = max_bytes / SLAB_BYTES + (max_bytes % SLAB_BYTES > 0), given = 0;
    LIST_EACH_SAFE(&heap->room, node) {
        if (given == max || heap->dirty_slabs == 0) {
            break;
        }
        struct region *region = LIST_ENTRY(node, struct region, room_link);
        given += region_discard(heap, region, max - given);
        if (region->free_count == SLABS_PER_REGION && given < max && heap->empty_regions > 1) {
            region_unmap(heap, region);
        }
    }
    return given * SLAB_BYTES;
}

static void give_back(struct shard_heap *heap, size_t max_bytes) {
    size_t given = runs_trim(&heap->runs, max_bytes);
    if (given < max_bytes) {
        slabs_trim(heap, max_bytes - given);
    }
}

static void note_idle(struct shard_heap *heap) {
    size_t idle = heap_resident_slack(heap);
    if (idle < heap->giving.idle_least) {
        heap->giving.idle_least = idle;
    }
}

/* After pages were taken; what is too much for one slice waits for the next time. */
static void pay(struct shard_heap *heap) {
    struct giving *giving = &heap->giving;
    note_idle(heap);
    size_t fresh = heap->fresh_slabs * SLAB_BYTES + heap->runs.fresh_bytes;
    size_t due = fresh - giving->fresh_paid;
    if (LIKELY(due < PAY_BYTES)) {
        return;
    }
    if (heap_resident_slack(heap) <= PAY_IDLE_BYTES) {
        giving->fresh_paid = fresh;
        return;
    }
    due = due < SLICE_BYTES_MAX ? due : SLICE_BYTES_MAX;
    giving->fresh_paid += due;
    give_back(heap, due);
}

/* A window is over. */
static void settle_window(struct shard_heap *heap, size_t idle, int64_t now_ms) {
    struct giving *giving = &heap->giving;
    giving->owed = giving->idle_least > KEEP_BYTES ? giving->idle_least - KEEP_BYTES : 0;
    size_t slice = giving->owed / SLICES;
    slice = slice > SLICE_BYTES_MIN ? slice : SLICE_BYTES_MIN;
    giving->slice = slice < SLICE_BYTES_MAX ? slice : SLICE_BYTES_MAX;
    giving->idle_least = idle;
    giving->window_end_ms = now_ms + WINDOW_MS;
}

int64_t heap_work(struct shard_heap *heap, int64_t now_ms) {
    struct giving *giving = &heap->giving;
    take_returned(heap);
    size_t idle = heap_resident_slack(heap);
    if (LIKELY(idle <= KEEP_BYTES)) {
        giving->owed = 0;
        giving->idle_least = idle;
        return INT64_MAX;
    }
    pay(heap);
    /* The second is a clock that was set back; so below. */
    if (now_ms >= giving->window_end_ms || giving->window_end_ms > now_ms + WINDOW_MS) {
        settle_window(heap, idle, now_ms);
    }
    if (giving->owed == 0) {
        return giving->window_end_ms;
    }
    if (now_ms >= giving->next_ms || giving->next_ms > now_ms + 1) {
        size_t slice = giving->slice < giving->owed ? giving->slice : giving->owed;
        give_back(heap, slice);
        note_idle(heap);
        giving->owed -= slice;
        giving->next_ms = now_ms + 1;
    }
    return giving->owed > 0 ? giving->next_ms : giving->window_end_ms;
}

void heap_purge(struct shard_heap *heap) {
    take_returned(heap);
    give_back(heap, SIZE_MAX);
    LIST_EACH_SAFE(&heap->room, node) {
        struct region *region = LIST_ENTRY(node, struct region, room_link);
        if (region->free_count == SLABS_PER_REGION) {
            region_unmap(heap, region);
        }
    }
}

/* ---- Verification ---- */

struct tally {
    size_t regions, empty, dirty, slabs, large, slab_bytes, large_bytes;
};

static void region_verify(const struct shard_heap *heap, const struct region *region,
                          struct tally *tally) {
    unsigned free_count = 0, free_groups = 0;
    for (unsigned i = 0; i < SLABS_PER_REGION; i++) {
        const struct slab *slab = &region->slabs[i];
        bool is_free = slab_is_free(region, i);
        check(is_free == (slab->state == SLAB_FREE));
        check(is_free || !slab_is_dirty(region, i));
        free_count += is_free;
        free_groups += i % GROUP == 0 && group_is_free(region, i);
        tally->dirty += slab_is_dirty(region, i);
        if (slab->state == SLAB_REST) {
            check(is_large_class(region->slabs[i & ~(GROUP - 1)].class_index));
        } else if (!is_free) {
            bool large = is_large_class(slab->class_index);
            *(large ? &tally->large_bytes : &tally->slab_bytes) += slab_verify(slab);
            *(large ? &tally->large : &tally->slabs) += 1;
        }
    }
    check(region->heap == heap);
    check(free_count == region->free_count && free_groups == region->free_groups);
    check(list_node_linked(&region->room_link) == (free_count != 0));
    check(list_node_linked(&region->group_link) == (free_groups != 0));
    tally->regions++;
    tally->empty += free_count == SLABS_PER_REGION;
}

void heap_verify(const struct shard_heap *heap) {
    struct tally tally = {0};
    LIST_EACH(&heap->regions, node) {
        region_verify(heap, LIST_ENTRY(node, struct region, link), &tally);
    }
    check(tally.regions == heap->region_count && tally.empty == heap->empty_regions);
    check(tally.slabs == heap->slabs_taken && tally.dirty == heap->dirty_slabs);
    check(tally.large == heap->large_taken && heap->large_current <= heap->large_taken);
    check(tally.slab_bytes == heap->slab_used && tally.large_bytes == heap->large_used);
    runs_verify(&heap->runs);
}
