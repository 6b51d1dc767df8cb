/* SPDX-License-Identifier: BSD-3-Clause */
/* manifest: the small file that says which files are the data: a generation, the snapshot that it
 * begins with, if any, and the segments of the log behind that, each shard's in their order. It is
 * text, so that one can look at it, but there is one way only to write it, and its last line is its
 * checksum.
 *
 *     shoal-manifest 1
 *     generation 7 created-ms 1790000000000 first 813 shards 2
 *     stream id 0b9c... offset 90817 db 0
 *     base shard 0 salt 71... bytes 90211 keys 1200
 *     base shard 1 salt 9a... bytes 91702 keys 1213
 *     segment shard 0 sequence 3 salt 8c... bytes 4096 until 1200 generation 6
 *     segment shard 0 sequence 4 salt 03... bytes 0 until 0 generation 7
 *     segment shard 1 sequence 2 salt f1... bytes 0 until 0 generation 7
 *     end 5d...
 *
 * The line of the stream is there only if the snapshot has a place in one.
 * Names of files follow from the lines (manifest_base_name, manifest_segment_name).
 *
 * Thread: any; pure but for memory.
 */
#ifndef SHOAL_PERSIST_LOG_MANIFEST_H
#define SHOAL_PERSIST_LOG_MANIFEST_H

#include "persist/log/log_block.h"

#define MANIFEST_SHARDS_MAX 1024

struct manifest_segment {
    uint32_t shard;
    uint64_t sequence;
    uint64_t salt;
    uint64_t bytes; /* of the file that count; 0: it is still written, all whole blocks do */
    uint64_t until; /* numbers behind it do not count; 0: all do */
    uint64_t generation; /* that it was made in */
};

/* A file of the snapshot, of the manifest's generation (persist/snapshot/frames.h). */
struct manifest_base {
    uint32_t shard;
    uint64_t salt;
    uint64_t bytes, keys;
};

/* Where in a replication stream the snapshot stands: behind that byte, and in that database. */
#define MANIFEST_STREAM_ID_BYTES 40
struct manifest_stream {
    bool is;
    char id[MANIFEST_STREAM_ID_BYTES + 1]; /* digits of 16 */
    uint64_t offset;
    uint32_t db;
};

struct manifest {
    uint64_t generation;
    uint64_t created_ms;
    uint64_t first; /* the first number of its log */
    uint32_t shards;
    struct manifest_stream stream; /* of the bases alone */
    struct manifest_base *bases; /* by shard, each once */
    uint32_t bases_count;
    uint32_t bases_room;
    struct manifest_segment *segments; /* by shard and sequence */
    uint32_t count;
    uint32_t room;
};

#define MANIFEST_NAME "shoal.manifest"
/* Of one that is no data any more, until all that it names is removed. */
#define MANIFEST_GONE_NAME "shoal.manifest.gone"
/* Room for the name of any file that a manifest has. */
#define MANIFEST_NAME_BYTES 64
void manifest_base_name(char to[MANIFEST_NAME_BYTES], uint64_t generation, uint32_t shard);
void manifest_segment_name(char to[MANIFEST_NAME_BYTES], uint32_t shard, uint64_t sequence);

void manifest_init(struct manifest *manifest);
void manifest_fini(struct manifest *manifest);
/* Into one that is empty, or nothing yet. */
void manifest_copy(struct manifest *to, const struct manifest *from);
/* Behind those that are there. */
void manifest_add(struct manifest *manifest, const struct manifest_segment *segment);
void manifest_add_base(struct manifest *manifest, const struct manifest_base *base);

bool manifest_names_base(const struct manifest *manifest, uint64_t generation, uint32_t shard);

void manifest_encode(struct text *out, const struct manifest *manifest);
/* Into one that is empty. NULL, or what is wrong: then it is empty still. */
const char *manifest_decode(struct bytes input, struct manifest *manifest);

/* Is the file that lies in the place of segment i that segment? NULL, or what it is instead. */
const char *manifest_check(const struct manifest *manifest, uint32_t i,
                           const struct log_segment *segment, uint64_t file_bytes);

#endif
