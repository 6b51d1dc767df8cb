/* SPDX-License-Identifier: BSD-3-Clause */
/* grow: room for one more item at the end of an array of the checker.
 *
 * Thread: any; pure. Aborts when memory is exhausted.
 */
#ifndef SHOAL_TEST_CHECKER_GROW_H
#define SHOAL_TEST_CHECKER_GROW_H

#include "base/check.h"

#include <stddef.h>
#include <stdlib.h>

/* The array with twice the capacity. */
static inline void *grow(void *array, size_t *cap, size_t item_bytes) {
    *cap = *cap ? *cap * 2 : 64;
    void *larger = realloc(array, *cap * item_bytes);
    check(larger != NULL);
    return larger;
}

/* A zeroed array of n items, never NULL. */
static inline void *zeroed(size_t n, size_t item_bytes) {
    void *array = calloc(n ? n : 1, item_bytes);
    check(array != NULL);
    return array;
}

#endif
