/* SPDX-License-Identifier: BSD-3-Clause */
/* The heap against a list of blocks: contents survive, the books are exact, and memory comes back.
 */
#include "base/random.h"
#include "shard/memory/heap.h"
#include "shard/memory/sysmem.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCKS 4000
/* What is kept, and what a slice of giving back may give. */
#define KEPT_BYTES  (256u << 10)
#define SLICE_BYTES (2u << 20)

struct block {
    unsigned char *bytes;
    size_t size;
    unsigned char fill;
    bool shared;
};

/* All of a block up to some pages, of larger ones every page: it is the places that matter. */
static size_t stride(size_t size) {
    return size <= 40000 ? 1 : 4093;
}

static void fill(struct block *block, unsigned char value) {
    block->fill = value;
    for (size_t i = 0; i < block->size; i += stride(block->size)) {
        block->bytes[i] = value;
    }
    if (block->size) {
        block->bytes[block->size - 1] = value;
    }
}

static void check_fill(const struct block *block, size_t had, size_t size) {
    size_t bad = 0;
    for (size_t i = 0; i < size; i += stride(had)) {
        bad += block->bytes[i] != block->fill;
    }
    cr_assert_eq(bad, 0);
}

static size_t random_size(struct rng *rng) {
    switch (rng_below(rng, 40)) {
    case 0:
        return rng_below(rng, 10) ? rng_below(rng, 300000) : rng_below(rng, 12u << 20);
    case 1:
    case 2:
    case 3:
        return rng_below(rng, 40000);
    case 4:
    case 5:
    case 6:
        return rng_below(rng, 5000);
    default:
        return rng_below(rng, 300);
    }
}

static size_t counted(const struct block *block) {
    return block->shared ? 0 : heap_block_bytes(block->size);
}

static void take(struct shard_heap *heap, struct rng *rng, struct block *block) {
    block->size = random_size(rng);
    block->shared = block->size >= HEAP_SHARED_MIN && rng_below(rng, 4) == 0;
    block->bytes =
        block->shared ? heap_alloc_shared(heap, block->size) : heap_alloc(heap, block->size);
    cr_assert_eq((uintptr_t)block->bytes % (block->size >= 1024 ? 16 : 8), 0);
    fill(block, (unsigned char)rng_next(rng));
}

static void put(struct shard_heap *heap, struct block *block) {
    check_fill(block, block->size, block->size);
    if (block->shared) {
        heap_return(heap, block->bytes, block->size);
    } else {
        heap_release(heap, block->bytes, block->size);
    }
    block->bytes = NULL;
}

static void resize(struct shard_heap *heap, struct rng *rng, struct block *block) {
    size_t old = block->size, size = random_size(rng);
    if (block->shared) {
        size += HEAP_SHARED_MIN;
        block->bytes = heap_resize_shared(heap, block->bytes, old, size);
    } else {
        block->bytes = heap_resize(heap, block->bytes, old, size);
    }
    block->size = size;
    check_fill(block, old, size < old ? size : old);
    fill(block, (unsigned char)rng_next(rng));
}

static void step(struct shard_heap *heap, struct rng *rng, struct block *block, size_t *used) {
    size_t copied, before = block->bytes ? counted(block) : 0;
    if (!block->bytes) {
        take(heap, rng, block);
    } else if (rng_below(rng, 3) == 0) {
        resize(heap, rng, block);
    } else if (rng_below(rng, 10) == 0 && block->size <= HEAP_SLAB_BLOCK_MAX) {
        block->bytes = heap_relocate(heap, block->bytes, block->size, &copied);
    } else {
        put(heap, block);
    }
    *used += (block->bytes ? counted(block) : 0) - before;
}

Test(heap, keeps_contents_and_exact_books) {
    struct shard_heap *heap = shard_heap_new();
    struct block *blocks = calloc(BLOCKS, sizeof(*blocks));
    struct rng rng;
    rng_seed(&rng, 42);
    size_t used = 0;
    for (unsigned i = 0; i < 200000; i++) {
        step(heap, &rng, &blocks[rng_below(&rng, BLOCKS)], &used);
        cr_assert_eq(heap_used(heap), used);
        if (i % 100 == 0) {
            heap_work(heap, i / 100);
        }
        if (i % 1000 == 0) {
            heap_settle(heap, i % 2000 == 0);
        }
        if (i % 20000 == 0) {
            heap_verify(heap);
            heap_purge(heap);
            cr_assert_eq(heap_resident_slack(heap), 0);
            heap_verify(heap);
        }
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (blocks[i].bytes) {
            put(heap, &blocks[i]);
        }
    }
    cr_assert_eq(heap_used(heap), 0);
    heap_verify(heap);
    heap_purge(heap);
    heap_verify(heap);
    cr_assert_eq(heap_reserved(heap), 0);
    free(blocks);
    shard_heap_free(heap);
}

/* ---- Memory that comes back ---- */

#if !SHOAL_SANITIZED
static size_t resident(void) {
    unsigned long pages = 0, all;
    FILE *file = fopen("/proc/self/statm", "r");
    cr_assert_not_null(file);
    cr_assert_eq(fscanf(file, "%lu %lu", &all, &pages), 2);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* A second of an owner that does nothing else. */
static void rest(struct shard_heap *heap, int64_t *now_ms) {
    for (int i = 0; i < 1000; i++) {
        size_t before = heap_resident_slack(heap);
        int64_t next_ms = heap_work(heap, ++*now_ms);
        cr_assert_geq(heap_resident_slack(heap) + 2 * SLICE_BYTES, before, "a slice is small");
        cr_assert(next_ms > *now_ms);
        cr_assert(next_ms < INT64_MAX || heap_resident_slack(heap) <= KEPT_BYTES);
    }
}

/* As the keyspace does when slack is large: all blocks that may move. */
static void move_all(struct shard_heap *heap, struct block *blocks, unsigned count) {
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < count; i++) {
            size_t copied;
            if (blocks[i].bytes && blocks[i].size <= HEAP_SLAB_BLOCK_MAX) {
                blocks[i].bytes = heap_relocate(heap, blocks[i].bytes, blocks[i].size, &copied);
            }
        }
    }
}

static void check_resident(size_t before, size_t live, size_t min, size_t max,
                           unsigned keep_one_in) {
    size_t now = resident();
    cr_assert_leq(now, before + live * 12 / 10 + (4u << 20),
                  "%zu resident for %zu of %zu to %zu, one in %u kept", now - before, live, min,
                  max, keep_one_in);
}

/* What is freed of blocks of one order of size, or of all, is given back within a second, down to
 * what is in use: if all are freed, every second one, or all but some. */
static void grow_and_free(size_t min, size_t max, unsigned keep_one_in) {
    enum { TOTAL = 24 << 20 };
    struct rng rng;
    rng_seed(&rng, min + max + keep_one_in);
    struct shard_heap *heap = shard_heap_new();
    unsigned capacity = TOTAL / (unsigned)min + 1, count = 0;
    struct block *blocks = calloc(capacity, sizeof(*blocks));
    memset(blocks, 0, capacity * sizeof(*blocks));
    int64_t now_ms = 0;
    size_t before = resident();
    for (int round = 0; round < 2; round++) {
        size_t live = 0;
        for (count = 0; live < TOTAL && count < capacity; count++) {
            struct block *block = &blocks[count];
            if (!block->bytes) {
                unsigned power = 63 - (unsigned)__builtin_clzll(max / min);
                size_t base = min << rng_below(&rng, power ? power : 1);
                block->size = base + rng_below(&rng, base);
                block->bytes = heap_alloc(heap, block->size);
                memset(block->bytes, block->fill = (unsigned char)rng_next(&rng), block->size);
            }
            live += heap_block_bytes(block->size);
        }
        for (unsigned i = 0; i < count; i++) {
            if (keep_one_in == 0 || rng_below(&rng, keep_one_in) > 0) {
                live -= heap_block_bytes(blocks[i].size);
                put(heap, &blocks[i]);
            }
        }
        move_all(heap, blocks, count);
        heap_verify(heap);
        rest(heap, &now_ms);
        heap_verify(heap);
        check_resident(before, live, min, max, keep_one_in);
    }
    for (unsigned i = 0; i < count; i++) {
        if (blocks[i].bytes) {
            put(heap, &blocks[i]);
        }
    }
    heap_purge(heap);
    check_resident(before, 0, min, max, keep_one_in);
    free(blocks);
    shard_heap_free(heap);
}

Test(heap, memory_comes_back_whatever_its_size) {
    static const size_t sizes[] = {64,    500,   3000,   5000,     12000,
                                   30000, 40000, 150000, 2u << 20, 6u << 20};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        for (unsigned keep = 0; keep <= 10; keep += keep ? 8 : 2) {
            grow_and_free(sizes[i], sizes[i], keep);
        }
    }
    for (unsigned keep = 0; keep <= 10; keep += keep ? 8 : 2) {
        grow_and_free(64, 16u << 20, keep);
    }
}

/* Where few blocks of many sizes are left, a slab of each size is not full, which was several
 * megabytes for each shard. */
Test(heap, of_many_sizes_little_more_than_the_blocks_stays) {
    enum { COUNT = 20000, KEEP_ONE_IN = 10, STEPS = 9 };
    struct rng rng;
    rng_seed(&rng, 7);
    struct shard_heap *heap = shard_heap_new();
    struct block *blocks = calloc(COUNT, sizeof(*blocks));
    memset(blocks, 0, COUNT * sizeof(*blocks));
    int64_t now_ms = 0;
    size_t before = resident();
    for (unsigned i = 0; i < COUNT; i++) {
        size_t base = (size_t)16 << rng_below(&rng, STEPS);
        blocks[i].size = base + rng_below(&rng, base);
        blocks[i].bytes = heap_alloc(heap, blocks[i].size);
        fill(&blocks[i], (unsigned char)rng_next(&rng));
    }
    for (unsigned i = 0; i < COUNT; i++) {
        if (rng_below(&rng, KEEP_ONE_IN) > 0) {
            put(heap, &blocks[i]);
        }
    }
    move_all(heap, blocks, COUNT);
    cr_assert_geq(heap_slack(heap), 2u << 20, "what it is about");
    heap_settle(heap, true);
    heap_verify(heap);
    rest(heap, &now_ms);
    size_t live = heap_used(heap), now = resident() - before;
    cr_assert_leq(now, live * 11 / 10 + (3u << 19), "%zu resident for %zu", now, live);
    for (unsigned i = 0; i < COUNT;
         i++) { /* what was given back is there again when it is wanted */
        if (blocks[i].bytes == NULL) {
            blocks[i].bytes = heap_alloc(heap, blocks[i].size);
            fill(&blocks[i], (unsigned char)rng_next(&rng));
        }
    }
    heap_verify(heap);
    for (unsigned i = 0; i < COUNT; i++) {
        put(heap, &blocks[i]);
    }
    heap_purge(heap);
    cr_assert_eq(heap_reserved(heap), 0);
    free(blocks);
    shard_heap_free(heap);
}

/* A slab of several pages that is used again for one block only is still resident as a whole. */
Test(heap, what_was_not_used_again_is_not_forgotten) {
    enum { COUNT = 12, BYTES = 20000 };
    struct shard_heap *heap = shard_heap_new();
    void *blocks[COUNT];
    void *pin = heap_alloc(heap, 100);
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = heap_alloc(heap, BYTES);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        heap_release(heap, blocks[i], BYTES);
    }
    size_t idle = heap_resident_slack(heap);
    cr_assert_geq(idle, COUNT * BYTES);
    heap_release(heap, heap_alloc(heap, BYTES), BYTES);
    cr_assert_eq(heap_resident_slack(heap), idle);
    heap_verify(heap);
    heap_release(heap, pin, 100);
    shard_heap_free(heap);
}

/* 100 MB as one size, and then as another: the most that is resident is little more than one. */
Test(heap, room_is_used_again_for_other_sizes) {
    static const size_t sizes[] = {200, 100000, 1000, 3u << 20, 6000, 20u << 20, 50000, 20000, 100};
    enum { TOTAL = 64 << 20 };
    struct shard_heap *heap = shard_heap_new();
    void **blocks = calloc(TOTAL / 100 + 1, sizeof(*blocks));
    memset(blocks, 0, (TOTAL / 100 + 1) * sizeof(*blocks));
    size_t before = resident(), most = 0;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        unsigned count = (unsigned)(TOTAL / sizes[i]);
        for (unsigned j = 0; j < count; j++) {
            blocks[j] = heap_alloc(heap, sizes[i]);
            memset(blocks[j], 1, sizes[i]);
            for (size_t turns = 0; turns <= sizes[i] >> 20; turns++) {
                heap_work(heap, 0);
            }
            if (j % (count / 16 + 1) == 0) {
                size_t now = resident();
                most = now > most ? now : most;
            }
        }
        for (unsigned j = 0; j < count; j++) {
            heap_release(heap, blocks[j], sizes[i]);
        }
        heap_verify(heap);
    }
    cr_assert_lt(most - before, TOTAL + TOTAL / 4, "%zu resident", most - before);
    free(blocks);
    shard_heap_free(heap);
}

/* What is written over and over must not be given back and faulted in again. */
Test(heap, what_is_in_use_again_and_again_stays_resident) {
    static const size_t sizes[] = {5000, 20000, 70000, 1u << 20, 5u << 20, 20u << 20};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        struct shard_heap *heap = shard_heap_new();
        int64_t now_ms = 0;
        size_t slack = 0;
        void *old = heap_alloc(heap, sizes[i]);
        for (; now_ms < 2000; now_ms++) {
            void *block = heap_alloc(heap, sizes[i]);
            heap_release(heap, old, sizes[i]);
            old = block;
            heap_work(heap, now_ms);
            if (now_ms == 0) {
                slack = heap_resident_slack(heap);
            }
        }
        cr_assert_eq(heap_resident_slack(heap), slack, "blocks of %zu", sizes[i]);
        heap_release(heap, old, sizes[i]);
        shard_heap_free(heap);
    }
}

Test(heap, a_clock_that_was_set_back_does_not_stop_giving_back) {
    struct shard_heap *heap = shard_heap_new();
    int64_t now_ms = 3600000;
    void *block = heap_alloc(heap, 6u << 20);
    heap_release(heap, block, 6u << 20);
    heap_work(heap, now_ms);
    now_ms = 0;
    rest(heap, &now_ms);
    cr_assert_leq(heap_resident_slack(heap), KEPT_BYTES);
    shard_heap_free(heap);
}
#endif

/* ---- Shared blocks ---- */

struct returner {
    struct shard_heap *heap;
    void **blocks;
    unsigned count;
};

static size_t shared_size(unsigned i) {
    return HEAP_SHARED_MIN + i * 37 % 70000;
}

static void *return_all(void *arg) {
    struct returner *returner = arg;
    for (unsigned i = 0; i < returner->count; i++) {
        heap_return(returner->heap, returner->blocks[i], shared_size(i));
    }
    return NULL;
}

/* Two threads return while the owner takes more, and after it has ended. */
Test(heap, any_thread_may_return_a_shared_block) {
    enum { THREADS = 2, COUNT = 3000 };
    for (int round = 0; round < 10; round++) {
        struct shard_heap *heap = shard_heap_new();
        struct returner returners[THREADS];
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++) {
            returners[i] = (struct returner){heap, calloc(COUNT, sizeof(void *)), COUNT};
            for (unsigned j = 0; j < COUNT; j++) {
                returners[i].blocks[j] = heap_alloc_shared(heap, shared_size(j));
            }
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_create(&threads[i], NULL, return_all, &returners[i]);
        }
        for (unsigned i = 0; i < (unsigned)round * 300; i++) {
            void *block = heap_alloc_shared(heap, shared_size(i));
            memset(block, 1, shared_size(i));
            heap_return(heap, block, shared_size(i));
            heap_work(heap, i);
        }
        if (round % 2) {
            shard_heap_free(heap); /* the last block that is returned ends it */
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
            free(returners[i].blocks);
        }
        if (round % 2 == 0) {
            heap_purge(heap);
            heap_verify(heap);
            cr_assert_eq(heap_reserved(heap), 0);
            shard_heap_free(heap);
        }
    }
}

Test(heap, frees_what_is_left_with_itself) {
    struct shard_heap *heap = shard_heap_new();
    for (size_t size = 0; size < 20000; size += 7) {
        memset(heap_alloc(heap, size), 1, size);
    }
    shard_heap_free(heap); /* The leak checker is the judge. */
}

Test(heap, counts_what_it_adopts) {
    struct shard_heap *heap = shard_heap_new();
    heap_adopt(heap, 1000);
    cr_assert_eq(heap_used(heap), 1000);
    cr_assert_geq(heap_reserved(heap), 1000);
    heap_disown(heap, 1000);
    cr_assert_eq(heap_used(heap), 0);
    shard_heap_free(heap);
}

Test(heap, gives_a_class_what_another_no_longer_needs) {
    struct shard_heap *heap = shard_heap_new();
    enum { COUNT = 100000 };
    void **blocks = malloc(COUNT * sizeof(*blocks));
    size_t most = 0;
    for (size_t size = 40; size <= 400; size += 40) {
        for (unsigned i = 0; i < COUNT * 40 / size; i++) {
            blocks[i] = heap_alloc(heap, size);
        }
        most = heap_reserved(heap) > most ? heap_reserved(heap) : most;
        for (unsigned i = 0; i < COUNT * 40 / size; i++) {
            heap_release(heap, blocks[i], size);
        }
    }
    /* 4 MB in use at any time, a slab left to each class, and a region in hand. */
    cr_assert_lt(most, 14u << 20);
    free(blocks);
    shard_heap_free(heap);
}

Test(heap, relocating_empties_sparse_slabs) {
    struct shard_heap *heap = shard_heap_new();
    enum { COUNT = 50000 };
    unsigned char **blocks = malloc(COUNT * sizeof(*blocks));
    struct rng rng;
    rng_seed(&rng, 3);
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = heap_alloc(heap, 200);
        memset(blocks[i], (int)(i % 251), 200);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        if (rng_below(&rng, 8)) {
            heap_release(heap, blocks[i], 200);
            blocks[i] = NULL;
        }
    }
    size_t used = heap_used(heap);
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            size_t copied;
            blocks[i] = blocks[i] ? heap_relocate(heap, blocks[i], 200, &copied) : NULL;
        }
    }
    heap_verify(heap);
    cr_assert_eq(heap_used(heap), used);
    cr_assert_lt(heap_slack(heap), used / 3 + (1u << 16));
    for (unsigned i = 0; i < COUNT; i++) {
        for (unsigned k = 0; blocks[i] && k < 200; k++) {
            cr_assert_eq(blocks[i][k], i % 251);
        }
    }
    free(blocks);
    shard_heap_free(heap);
}
