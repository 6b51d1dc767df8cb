/* SPDX-License-Identifier: BSD-3-Clause */
/* frames: the file of one shard's share of a snapshot, as bytes: a header, then frames, the last of
 * which says so. docs/durability.md has the tables.
 *
 * What frames hold, one behind the other, is an RDB stream of keys (persist/codec/rdb_file, without
 * its beginning and end): databases, deadlines, types, names, values. A frame begins with a
 * database and a whole key, or goes on with the value in the middle of which the one before it
 * ended (FRAME_GOES_ON); and it says between which slots its keys lie. So who wants some slots only
 * passes the frames that have none of them, and files can be read into any number of shards, side by
 * side.
 *
 * The checksum of a frame is seeded with its file's salt, and a frame says where it lies.
 *
 * Thread: any; pure.
 */
#ifndef SHOAL_PERSIST_SNAPSHOT_FRAMES_H
#define SHOAL_PERSIST_SNAPSHOT_FRAMES_H

#include "base/bytes.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

#define FRAMES_HEAD_BYTES 64
#define FRAME_HEAD_BYTES  72
/* About so much is one frame: who writes begins another when it has this. */
#define FRAME_RAW_BYTES ((size_t)64 * 1024)
/* No frame has more: a piece of a value that is longer is divided. */
#define FRAME_RAW_MAX ((size_t)4 * 1024 * 1024)

struct frames_head {
    uint32_t shard;
    uint32_t shards; /* that the snapshot has */
    uint64_t generation;
    uint64_t created_ms;
    uint64_t number; /* of the one order: what came up to it is in the snapshot */
    uint64_t salt;   /* drawn for it; no two files have the same */
};

void frames_head_encode(const struct frames_head *head, char to[FRAMES_HEAD_BYTES]);
/* At most that many bytes of a file's beginning. NULL, or what is wrong with them. */
const char *frames_head_decode(struct bytes input, struct frames_head *ret);

enum {
    FRAME_GOES_ON = 1u << 0, /* it begins in the middle of a value */
    FRAME_LAST = 1u << 1,    /* it has no keys but those of the whole file in `keys` */
};

struct frame {
    uint64_t index;  /* in its file, from 0 */
    uint64_t offset; /* in its file, from the file's first byte */
    uint64_t keys;   /* that begin in it */
    uint32_t flags;
    uint16_t slot_first, slot_last; /* of what is in it */
    /* Filled when it is written or read. */
    uint32_t raw_bytes, stored_bytes; /* equal: it is not packed */
    uint64_t bytes;                   /* all of it: the next one is so far behind */
    struct bytes stored;              /* in the input that was read */
};

/* Appends it to `out`. The caller sets what stands above "Filled". `pack`: with LZ4, if that saves
 * something. */
void frame_encode(struct text *out, const struct frames_head *head, struct frame *frame,
                  struct bytes raw, bool pack);

enum frame_got {
    FRAME_WHOLE,
    FRAME_SHORT, /* *ret_need bytes are needed */
    FRAME_BAD,
};
/* The frame that begins with the input, which lies at `offset` of its file. *ret_error: what is
 * wrong, in words, or NULL. */
enum frame_got frame_decode(struct bytes input, const struct frames_head *head, uint64_t index,
                            uint64_t offset, struct frame *ret, size_t *ret_need,
                            const char **ret_error);
/* What the frame that begins with the input says of itself, which only frame_decode finds to be true;
 * FRAME_SHORT: FRAME_HEAD_BYTES are needed. For who passes frames that others read. */
enum frame_got frame_peek(struct bytes input, uint64_t index, uint64_t offset, struct frame *ret,
                          const char **ret_error);
/* What a frame that was read whole holds: in the input, or in `room`. False: it cannot be unpacked.
 */
bool frame_raw(const struct frame *frame, struct text *room, struct bytes *ret);

#endif
