/* SPDX-License-Identifier: BSD-3-Clause */
/* The heap against a list of blocks: contents survive, the books are exact, and memory comes back.
 */
#include "base/random.h"
#include "shard/heap.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKS 4000

struct block {
    unsigned char *bytes;
    size_t size;
    unsigned char fill;
};

static void fill(struct block *block, unsigned char value) {
    block->fill = value;
    if (block->size) {
        memset(block->bytes, value, block->size);
    }
}

static void check_fill(const struct block *block, size_t size) {
    for (size_t i = 0; i < size; i++) {
        cr_assert_eq(block->bytes[i], block->fill);
    }
}

static size_t random_size(struct rng *rng) {
    switch (rng_below(rng, 10)) {
    case 0:
        return rng_below(rng, 40000);
    case 1:
    case 2:
        return rng_below(rng, 5000);
    default:
        return rng_below(rng, 300);
    }
}

static void step(struct shard_heap *heap, struct rng *rng, struct block *block, size_t *used) {
    if (!block->bytes) {
        block->size = random_size(rng);
        block->bytes = heap_alloc(heap, block->size);
        cr_assert_eq((uintptr_t)block->bytes % (block->size >= 1024 ? 16 : 8), 0);
        *used += heap_block_bytes(block->size);
        fill(block, (unsigned char)rng_next(rng));
        return;
    }
    if (rng_below(rng, 3) == 0) {
        size_t size = random_size(rng);
        size_t kept = size < block->size ? size : block->size;
        *used += heap_block_bytes(size) - heap_block_bytes(block->size);
        block->bytes = heap_resize(heap, block->bytes, block->size, size);
        block->size = size;
        check_fill(block, kept);
        fill(block, (unsigned char)rng_next(rng));
        return;
    }
    check_fill(block, block->size);
    *used -= heap_block_bytes(block->size);
    heap_release(heap, block->bytes, block->size);
    block->bytes = NULL;
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
        if (i % 20000 == 0) {
            heap_verify(heap);
            heap_purge(heap);
            heap_verify(heap);
        }
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (blocks[i].bytes) {
            check_fill(&blocks[i], blocks[i].size);
            heap_release(heap, blocks[i].bytes, blocks[i].size);
        }
    }
    cr_assert_eq(heap_used(heap), 0);
    heap_verify(heap);
    heap_purge(heap);
    cr_assert_eq(heap_reserved(heap), 0);
    free(blocks);
    shard_heap_free(heap);
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
            blocks[i] = blocks[i] ? heap_relocate(heap, blocks[i], &copied) : NULL;
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
