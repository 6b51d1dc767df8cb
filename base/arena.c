/* SPDX-License-Identifier: BSD-3-Clause */
/* A request needs a handful of small allocations that all end together. Bumping a pointer costs a
 * few instructions and taking everything back costs one store, as long as the first block suffices,
 * which it does for nearly all. */
#include "base/arena.h"

#include "base/check.h"
#include "base/must.h"

#include <stdlib.h>

struct arena_block {
    struct arena_block *next;
    size_t bytes; /* of data */
    char data[];
};

void arena_init(struct arena *arena, size_t block_bytes) {
    *arena = (struct arena){.block_bytes = (block_bytes + 7) & ~(size_t)7};
}

static void arena_free_from(struct arena_block *block) {
    while (block) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
}

void arena_fini(struct arena *arena) {
    arena_free_from(arena->first);
    arena_init(arena, arena->block_bytes);
}

void arena_reset(struct arena *arena) {
    struct arena_block *first = arena->first;
    if (!first) {
        return;
    }
    /* A first block of unusual size served one big request; an idle owner should not hold on to it.
     */
    if (first->bytes != arena->block_bytes) {
        arena_fini(arena);
        return;
    }
    if (first->next) {
        arena_free_from(first->next);
        first->next = NULL;
    }
    arena->current = first;
    arena->pos = first->data;
    arena->end = first->data + first->bytes;
}

void arena_waste(struct arena *waste, struct arena *source) {
    if (!source->first) {
        return;
    }
    if (waste->current) {
        waste->current->next = source->first;
    } else {
        waste->first = source->first;
    }
    waste->current = source->current;
    arena_init(source, source->block_bytes);
}

bool arena_waste_some(struct arena *waste, size_t max_bytes) {
    size_t freed = 0;
    while (waste->first && (freed == 0 || freed + waste->first->bytes <= max_bytes)) {
        struct arena_block *block = waste->first;
        waste->first = block->next;
        freed += block->bytes;
        free(block);
    }
    if (!waste->first) {
        waste->current = NULL;
    }
    return waste->first != NULL;
}

void *arena_grow(struct arena *arena, size_t n) {
    check(n < SIZE_MAX / 2);
    size_t bytes = n > arena->block_bytes ? n : arena->block_bytes;
    struct arena_block *block = must_malloc(sizeof(*block) + bytes);
    block->bytes = bytes;
    block->next = NULL;
    if (arena->current) {
        arena->current->next = block;
    } else {
        arena->first = block;
    }
    arena->current = block;
    arena->pos = block->data + n;
    arena->end = block->data + bytes;
    return block->data;
}
