/* SPDX-License-Identifier: BSD-3-Clause */
/* log_block: what one turn of a shard leaves in its log, as bytes; and the header of the segment
 * that blocks lie in. docs/durability.md has the tables and what numbers and parts mean.
 *
 * A block is a header, a table of runs and a payload: records in RESP, compressed where that makes
 * it smaller. A run is so many records, one behind the other, that have one number.
 *
 * The checksum of a block is seeded with its segment's salt, and a block says where it lies: bytes
 * of another file, or of another place, are none.
 *
 * Thread: any; pure.
 */
#ifndef SHOAL_PERSIST_LOG_LOG_BLOCK_H
#define SHOAL_PERSIST_LOG_LOG_BLOCK_H

#include "base/bytes.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

#define LOG_SEGMENT_BYTES 64 /* its header */
#define LOG_HEAD_BYTES    112
#define LOG_RUN_BYTES     24
#define LOG_ID_BYTES      20

struct log_segment {
    uint32_t shard;
    uint64_t generation;
    uint64_t sequence; /* among the shard's segments of the generation, from 1 */
    uint64_t created_ms;
    uint64_t first_record; /* how many records the shard had logged before it */
    uint64_t salt;         /* drawn for it; no two files have the same */
};

void log_segment_encode(const struct log_segment *segment, char to[LOG_SEGMENT_BYTES]);
/* At most that many bytes of a file's beginning. NULL, or what is wrong with them. */
const char *log_segment_decode(struct bytes input, struct log_segment *ret);

struct log_run {
    uint64_t number;
    uint64_t bytes; /* of payload */
    uint32_t records;
    uint32_t parts; /* shards that must have it: 1: this one alone; 0: the number is void */
};

struct log_block {
    uint64_t offset; /* in its segment, from the file's first byte */
    uint64_t first_record;
    uint32_t records;
    uint32_t runs;
    uint64_t synced;  /* bytes of this file that were known to be on disk when it was sealed */
    uint64_t safe;    /* numbers up to which all was known to be on disk, on all shards */
    uint64_t time_ms; /* of the turn */
    /* Where the replication stream stood behind it; 0: there is none. */
    uint64_t stream_offset;
    unsigned char stream_id[LOG_ID_BYTES];
    /* Filled when a block is written or read. */
    uint64_t raw_bytes, stored_bytes; /* the payload's; equal: it is not compressed */
    uint64_t bytes;                   /* all of it: the next one is so far behind */
    struct bytes run_bytes, stored;   /* in the input that was read */
};

/* Appends it to `out`. The caller sets what stands above "Filled" but for `records`, which is what
 * the runs have together, as their bytes are the payload's. A block has a run. */
void log_block_encode(struct text *out, const struct log_segment *segment, struct log_block *block,
                      const struct log_run *runs, struct bytes payload);

/* The same of a large payload, which becomes the block, behind a copy of `before`: so it is not
 * there twice, unless it is packed. Whether that pays is tried with some pieces of it. */
void log_block_encode_large(struct text *payload, struct bytes before,
                            const struct log_segment *segment, struct log_block *block,
                            const struct log_run *runs);

enum log_got {
    LOG_WHOLE,
    LOG_SHORT, /* it ends in the middle of a block */
    LOG_BAD,
};

/* The block that begins with the input, which lies at `offset` of its segment. All of it is looked
 * at, and checked against itself. *ret_error: what is wrong, in words, or NULL. */
enum log_got log_block_decode(struct bytes input, const struct log_segment *segment,
                              uint64_t offset, struct log_block *ret, const char **ret_error);
/* Run number i of a block that was read whole. */
struct log_run log_block_run(const struct log_block *block, uint32_t i);
/* Its records: in the input, or in `room`. False: they cannot be unpacked. */
bool log_block_payload(const struct log_block *block, struct text *room, struct bytes *ret);

#endif
