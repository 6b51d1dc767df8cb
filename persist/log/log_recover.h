/* SPDX-License-Identifier: BSD-3-Clause */
/* log_recover: which numbers of the one order a start may take, given what was found in all
 * segments: the longest run of numbers without a gap, each answered by its block, by all its parts
 * or by a void record (docs/durability.md).
 *
 *     log_recover_init(&recover, files, count, first);
 *     log_recover_add(&recover, file, &block)   for each whole block of each
 *     log_recover_end(&recover);
 *
 * What is not taken is dropped by number: in a file it may stand before what is taken. The log goes
 * on with the number behind the last one taken, in new files; the manifest says of the old ones up
 * to which number they count.
 *
 * Thread: any. Memory: 32 bytes a run.
 */
#ifndef SHOAL_PERSIST_LOG_LOG_RECOVER_H
#define SHOAL_PERSIST_LOG_LOG_RECOVER_H

#include "persist/log/log_block.h"

/* One segment. */
struct log_recover_file {
    uint32_t shard;
    /* Numbers behind this one do not count in it: an earlier start has dropped them. 0: all do. */
    uint64_t until;
    uint64_t bytes; /* of it that count, as the manifest has it; 0: all that are whole */
    uint64_t end;   /* set by log_recover_add: behind its last block */
    /* Set by log_recover_end. */
    uint64_t kept_records, dropped_records;
    uint64_t dropped_bytes; /* of payload */
};

struct log_recover_run;

struct log_recover {
    struct log_recover_file *files; /* the caller's */
    uint32_t files_count;
    uint64_t first; /* the number that must come first */
    struct log_recover_run *runs;
    size_t count, room;
    uint64_t safe;  /* the largest number that a block knew to be on disk, with all before it */
    uint64_t place; /* of the block that was added last */
    /* Set by log_recover_end. */
    uint64_t last;        /* of the numbers that are taken; first - 1: none is */
    uint64_t dropped_transactions, dropped_records, dropped_bytes;
    /* NULL, or what cannot be after any crash, at number `wrong` and in that file. */
    const char *error;
    uint64_t wrong;
    uint32_t wrong_file;
};

void log_recover_init(struct log_recover *recover, struct log_recover_file *files, uint32_t count,
                      uint64_t first);
void log_recover_fini(struct log_recover *recover);
void log_recover_add(struct log_recover *recover, uint32_t file, const struct log_block *block);
/* False: recover->error. */
bool log_recover_end(struct log_recover *recover);

#endif
