/* SPDX-License-Identifier: BSD-3-Clause */
/* source: where the larger blocks of requests and replies come from, if not from malloc.
 *
 * They come and go with every pipeline of some length. malloc would give their memory back to the
 * system each time, and fault it in again.
 *
 * Thread: take is for the owner of the source, give for any. A source outlives its blocks.
 */
#ifndef SHOAL_BASE_SOURCE_H
#define SHOAL_BASE_SOURCE_H

#include <stddef.h>

struct source {
    void *(*take)(struct source *source, size_t bytes); /* never NULL; 16-byte aligned from 1 KB */
    void (*give)(struct source *source, void *block, size_t bytes);
};

#endif
