/* SPDX-License-Identifier: BSD-3-Clause */
/* arena: memory that is given out bump by bump and taken back all at once.
 *
 * Thread: one at a time. Blocks never move. Reset keeps the first block, so a steady load allocates
 * nothing.
 */
#ifndef SHOAL_BASE_ARENA_H
#define SHOAL_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena_block;

struct arena {
    char *pos;
    char *end;
    struct arena_block *first;
    struct arena_block *current;
    size_t block_bytes;
};

/* block_bytes: size of an ordinary block. Nothing is allocated before the first use. */
void arena_init(struct arena *arena, size_t block_bytes);
void arena_fini(struct arena *arena);
void arena_reset(struct arena *arena);

/* Puts all blocks of `source`, which is as after arena_fini then, into an arena that is there to be
 * freed little by little: freeing hundreds of megabytes at once takes long. */
void arena_waste(struct arena *waste, struct arena *source);
/* Frees blocks of at most max_bytes, or one; true if more are left. */
bool arena_waste_some(struct arena *waste, size_t max_bytes);

void *arena_grow(struct arena *arena, size_t n);

/* n bytes aligned to 8; aborts when memory is exhausted. Never NULL. */
static inline void *arena_alloc(struct arena *arena, size_t n) {
    n = (n + 7) & ~(size_t)7;
    if (__builtin_expect((size_t)(arena->end - arena->pos) >= n && arena->pos != NULL, 1)) {
        void *p = arena->pos;
        arena->pos += n;
        return p;
    }
    return arena_grow(arena, n);
}

#endif
