/* SPDX-License-Identifier: BSD-3-Clause */
/* recover: what the segments of a manifest hold is done again, as far as the recovery rule takes it
 * (docs/durability.md): all segments are read and checked, the rule says up to which number they
 * count, and their records run in the order of numbers, on all shards at a time (redo.h).
 *
 * Thread: worker 0's own. Files are read through its runtime, so it turns meanwhile.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_RECOVER_H
#define SHOAL_SERVER_PERSISTENCE_RECOVER_H

#include "base/text.h"
#include "persist/log/log_recover.h"
#include "persist/log/manifest.h"

struct recover;
struct worker;

struct recover_options {
    struct worker *worker;
    const char *directory;
    const struct manifest *manifest;
    /* So many bytes of files more have been read. */
    void (*progress)(void *arg, uint64_t bytes);
    /* All is done, or (`why` is not empty) nothing counts: what is wrong, where, and what to do. */
    void (*done)(void *arg, struct recover *recover);
    void *arg;
};

struct recover {
    struct recover_options options;
    /* For `done`. */
    struct text why;
    struct text report;     /* what was dropped, or empty; in words */
    uint64_t last;          /* the last number that counts; the next one is drawn behind it */
    uint64_t records;       /* that were done again */
    uint64_t *ends;         /* by segment of the manifest: bytes that count */
    uint64_t *next_records; /* by segment: how many records its shard had logged behind it */
    /* Private. */
    struct recover_private *private;
};

/* The manifest and the directory's name stay the caller's, until `done`. */
struct recover *recover_begin(const struct recover_options *options);
/* In `done`: segment i of the manifest was open, and its file is a header and nothing else: it can
 * be gone on with. */
bool recover_is_empty(const struct recover *recover, uint32_t i, struct log_segment *ret);
enum recover_step {
    RECOVER_GOES_ON, /* at once */
    RECOVER_WAITS,   /* for something that wakes its worker, or it is done */
    RECOVER_WANTS_ALL,
};
/* Goes on until `end` (rt_ticks); in every turn. */
enum recover_step recover_step(struct recover *recover, uint64_t end);
/* The same with the keys of all shards, as wanted. */
void recover_alone(struct recover *recover, uint64_t end);
void recover_free(struct recover *recover);

#endif
