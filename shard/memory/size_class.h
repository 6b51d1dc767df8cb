/* SPDX-License-Identifier: BSD-3-Clause */
/* size_class: the sizes that the heap's slabs have blocks of: 8 bytes apart up to a kilobyte, 64 up
 * to four, then sixteen from one power of two to the next. Those of more than 4 KB have slabs of
 * their own kind.
 *
 * Thread: any; pure.
 */
#ifndef SHOAL_SHARD_MEMORY_SIZE_CLASS_H
#define SHOAL_SHARD_MEMORY_SIZE_CLASS_H

#include "shard/memory/heap.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#define FINE_MAX      1024
#define SMALL_MAX     4096
#define SMALL_CLASSES (FINE_MAX / 8 + (SMALL_MAX - FINE_MAX) / 64)
#define LARGE_STEPS   16 /* classes of large slabs from one power of two to the next */
#define CLASS_COUNT   (SMALL_CLASSES + 3 * LARGE_STEPS)
static_assert(SMALL_MAX << 3 == HEAP_SLAB_BLOCK_MAX, "three doublings");
static_assert(CLASS_COUNT <= UINT8_MAX, "a byte names a class");

static inline bool is_small(size_t bytes) {
    return bytes <= HEAP_SLAB_BLOCK_MAX;
}

static inline bool is_large_class(unsigned class_index) {
    return class_index >= SMALL_CLASSES;
}

static inline unsigned large_class_of(size_t bytes) {
    unsigned power = 63 - (unsigned)__builtin_clzll(bytes - 1);
    unsigned step = (unsigned)((bytes - 1) >> (power - 4)) % LARGE_STEPS;
    return SMALL_CLASSES + (power - 12) * LARGE_STEPS + step;
}

static inline unsigned class_of(size_t bytes) {
    if (bytes <= FINE_MAX) {
        return bytes ? (unsigned)((bytes - 1) / 8) : 0;
    }
    if (bytes <= SMALL_MAX) {
        return (unsigned)(FINE_MAX / 8 + (bytes - FINE_MAX - 1) / 64);
    }
    return large_class_of(bytes);
}

static inline size_t class_bytes(unsigned class_index) {
    if (class_index < FINE_MAX / 8) {
        return ((size_t)class_index + 1) * 8;
    }
    if (!is_large_class(class_index)) {
        return FINE_MAX + ((size_t)class_index - FINE_MAX / 8 + 1) * 64;
    }
    size_t base = (size_t)SMALL_MAX << ((class_index - SMALL_CLASSES) / LARGE_STEPS);
    return base + base / LARGE_STEPS * ((class_index - SMALL_CLASSES) % LARGE_STEPS + 1);
}

#endif
