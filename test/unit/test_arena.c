/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/arena.h"
#include "base/random.h"

#include <criterion/criterion.h>
#include <string.h>

Test(arena, nothing_is_allocated_before_first_use) {
    struct arena arena;
    arena_init(&arena, 1024);
    cr_assert_null(arena.first);
    arena_reset(&arena);
    cr_assert_null(arena.first);
    arena_fini(&arena);
}

Test(arena, allocations_are_aligned_and_do_not_overlap) {
    struct arena arena;
    struct rng rng;
    rng_seed(&rng, 1);
    arena_init(&arena, 512);
    for (int round = 0; round < 20; round++) {
        unsigned char *parts[200];
        size_t sizes[200];
        for (int i = 0; i < 200; i++) {
            sizes[i] = rng_below(&rng, i % 50 == 0 ? 4000 : 60);
            parts[i] = arena_alloc(&arena, sizes[i]);
            cr_assert_not_null(parts[i]);
            cr_assert_eq((uintptr_t)parts[i] % 8, 0);
            memset(parts[i], i, sizes[i]);
        }
        for (int i = 0; i < 200; i++) {
            for (size_t k = 0; k < sizes[i]; k++) {
                cr_assert_eq(parts[i][k], (unsigned char)i);
            }
        }
        arena_reset(&arena);
    }
    arena_fini(&arena);
}

Test(arena, reset_gives_the_first_block_out_again) {
    struct arena arena;
    arena_init(&arena, 512);
    void *first = arena_alloc(&arena, 100);
    for (int i = 0; i < 100; i++) {
        arena_alloc(&arena, 100);
    }
    arena_reset(&arena);
    cr_assert_eq(arena_alloc(&arena, 100), first);
    arena_fini(&arena);
}

Test(arena, a_big_first_block_is_not_kept) {
    struct arena arena;
    arena_init(&arena, 512);
    arena_alloc(&arena, 1 << 20);
    arena_reset(&arena);
    cr_assert_null(arena.first);
    arena_fini(&arena);
}

Test(arena, fini_leaves_it_usable) {
    struct arena arena;
    arena_init(&arena, 64);
    arena_alloc(&arena, 10);
    arena_fini(&arena);
    memset(arena_alloc(&arena, 64), 1, 64);
    arena_fini(&arena);
}

Test(arena, waste_is_freed_little_by_little) {
    struct arena waste, queue;
    arena_init(&waste, 0);
    arena_init(&queue, 1000);
    cr_assert_not(arena_waste_some(&waste, 1000));
    for (unsigned round = 0; round < 2; round++) {
        arena_waste(&waste, &queue); /* empty */
        for (unsigned i = 0; i < 10; i++) {
            arena_alloc(&queue, 1000);
        }
        arena_alloc(&queue, 100000);
        arena_waste(&waste, &queue);
        cr_assert_null(queue.first);
    }
    unsigned slices = 1;
    while (arena_waste_some(&waste, 4000)) {
        slices++;
    }
    cr_assert_eq(slices, 2 * (3 + 1));
    cr_assert_null(waste.first);
    memset(arena_alloc(&queue, 64), 1, 64);
    arena_waste(&waste, &queue);
    cr_assert_not(arena_waste_some(&waste, 4000));
    arena_fini(&queue);
}
