/* SPDX-License-Identifier: BSD-3-Clause */
/* See the header. */
#include "base/must.h"

#include "base/check.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void memory_exhausted(size_t bytes, const char *file, int line) {
    char what[80];
    snprintf(what, sizeof what, "out of memory: there are no %zu bytes", bytes);
    die(what, file, line);
}

void *must_malloc_at(size_t bytes, const char *file, int line) {
    void *memory = malloc(bytes);
    if (UNLIKELY(memory == NULL) && bytes > 0) {
        memory_exhausted(bytes, file, line);
    }
    return memory;
}

void *must_calloc_at(size_t count, size_t size, const char *file, int line) {
    void *memory = calloc(count, size);
    size_t bytes;
    if (UNLIKELY(memory == NULL) && count > 0 && size > 0) {
        memory_exhausted(__builtin_mul_overflow(count, size, &bytes) ? SIZE_MAX : bytes, file,
                         line);
    }
    return memory;
}

void *must_realloc_at(void *memory, size_t bytes, const char *file, int line) {
    void *moved = realloc(memory, bytes);
    if (UNLIKELY(moved == NULL) && bytes > 0) {
        memory_exhausted(bytes, file, line);
    }
    return moved;
}

void *must_aligned_at(size_t align, size_t bytes, const char *file, int line) {
    void *memory = aligned_alloc(align, bytes);
    if (UNLIKELY(memory == NULL) && bytes > 0) {
        memory_exhausted(bytes, file, line);
    }
    return memory != NULL ? memset(memory, 0, bytes) : NULL;
}
