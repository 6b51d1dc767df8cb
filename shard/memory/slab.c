/* SPDX-License-Identifier: BSD-3-Clause */
/* slab: see the header. Marks in a bitmap give the order of free blocks without comparing any. */
#include "shard/memory/slab.h"

#include "shard/memory/size_class.h"

#define BLOCKS_MAX (SLAB_BYTES / 8)
static_assert(GROUP * SLAB_BYTES / SMALL_MAX <= BLOCKS_MAX, "large slabs have few");

static void mark(uint64_t *marks, const struct slab *slab, const struct free_block *block) {
    const char *start = slab_base(slab) + slab_start(slab);
    for (; block != NULL; block = block->next) {
        size_t at = (size_t)((const char *)block - start) / slab->block_bytes;
        marks[at / 64] |= UINT64_C(1) << (at % 64);
    }
}

static bool is_marked(const uint64_t *marks, uint32_t at) {
    return marks[at / 64] >> (at % 64) & 1;
}

void slab_settle(struct slab *slab) {
    uint64_t marks[BLOCKS_MAX / 64] = {0};
    uint32_t start = slab_start(slab), count = (slab->fresh - start) / slab->block_bytes;
    check(count <= BLOCKS_MAX);
    mark(marks, slab, slab->freed);
    mark(marks, slab, slab->left);
    while (count > 0 && is_marked(marks, count - 1)) {
        count--;
    }
    uint32_t fresh = start + count * slab->block_bytes;
    for (unsigned i = 0; fresh < slab->fresh && i * SLAB_BYTES < slab->fresh; i++) {
        slab->touched |= (uint8_t)(1u << i);
    }
    slab->fresh = fresh;
    slab->freed = slab->left = NULL;
    while (count-- > 0) {
        if (is_marked(marks, count)) {
            void *place = slab_base(slab) + start + (size_t)count * slab->block_bytes;
            struct free_block *block = place;
            block->next = slab->freed;
            slab->freed = block;
        }
    }
}

static size_t count_free(const struct slab *slab, const struct free_block *block) {
    size_t count = 0;
    for (; block != NULL; block = block->next) {
        size_t offset = (size_t)((const char *)block - slab_base(slab));
        check(offset < slab->fresh && (offset - slab_start(slab)) % slab->block_bytes == 0);
        count++;
    }
    return count;
}

size_t slab_verify(const struct slab *slab) {
    size_t freed = 0;
    freed += count_free(slab, slab->freed);
    freed += count_free(slab, slab->left);
    check(slab->block_bytes == class_bytes(slab->class_index));
    check((slab->fresh - slab_start(slab)) / slab->block_bytes == freed + slab->live);
    check(slab->live > 0 && slab->live >= slab->watch && slab->live <= slab->capacity);
    check((slab->state == SLAB_FULL) <= (slab->live == slab->capacity));
    return (size_t)slab->live * slab->block_bytes;
}
