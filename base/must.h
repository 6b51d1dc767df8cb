/* SPDX-License-Identifier: BSD-3-Clause */
/* must: memory that has to be there. Who asks so has nothing to say when there is none: the process
 * ends with a line that names the size asked for and the place. What a client sizes is asked for
 * with malloc or sysmem_try_alloc, and refused.
 *
 * Thread: any. Freed with free().
 */
#ifndef SHOAL_BASE_MUST_H
#define SHOAL_BASE_MUST_H

#include <stddef.h>

void *must_malloc_at(size_t bytes, const char *file, int line);
void *must_calloc_at(size_t count, size_t size, const char *file, int line);
void *must_realloc_at(void *memory, size_t bytes, const char *file, int line);
void *must_aligned_at(size_t align, size_t bytes, const char *file, int line);

#define must_malloc(bytes)          must_malloc_at(bytes, __FILE__, __LINE__)
#define must_calloc(count, size)    must_calloc_at(count, size, __FILE__, __LINE__)
#define must_realloc(memory, bytes) must_realloc_at(memory, bytes, __FILE__, __LINE__)
/* Zeroed; bytes is a multiple of align. */
#define must_aligned(align, bytes) must_aligned_at(align, bytes, __FILE__, __LINE__)

/* For who has asked somebody else. */
_Noreturn void memory_exhausted(size_t bytes, const char *file, int line);

#endif
