/* SPDX-License-Identifier: BSD-3-Clause */
/* runs: pages in a row, for blocks that are too big for a slab.
 *
 * A freed run keeps its pages until runs_trim, so what is written over again and again does not
 * fault; but any later run may take them, whole or in part. Freeing is a few bits in a mask: it is
 * the owner who says when, and how much at a time, goes back to the system.
 *
 * Thread: owner shard only. The caller remembers sizes: a free names the size that was asked for.
 */
#ifndef SHOAL_SHARD_MEMORY_RUNS_H
#define SHOAL_SHARD_MEMORY_RUNS_H

#include "base/list.h"

#include <stddef.h>

/* Areas are kept by the length of their longest free run, in powers of two. */
#define RUNS_BUCKETS 14

struct runs {
    struct list areas[RUNS_BUCKETS];
    struct list dirty;  /* areas with free pages that are resident, those from long ago first */
    struct list maps;   /* blocks in use with a mapping of their own */
    struct list idle;   /* such mappings whose block was freed, latest first */
    size_t dirty_bytes; /* free, but resident */
    size_t fresh_bytes; /* handed out so far that were not resident */
};

void runs_init(struct runs *runs);
/* Frees everything, in use or not. */
void runs_fini(struct runs *runs);

/* What a block of this many bytes takes. */
size_t runs_block_bytes(size_t bytes);
/* 16-byte aligned; NULL if the system has no room for it. */
void *runs_alloc(struct runs *runs, size_t bytes);
void runs_release(struct runs *runs, void *block, size_t bytes);
/* NULL if it takes a new block and a copy; then the old one is as it was. */
void *runs_resize(struct runs *runs, void *block, size_t old_bytes, size_t new_bytes);

/* Gives up to max_bytes of free pages back to the system; returns how many. */
size_t runs_trim(struct runs *runs, size_t max_bytes);

void runs_verify(const struct runs *runs);

#endif
