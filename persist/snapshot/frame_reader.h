/* SPDX-License-Identifier: BSD-3-Clause */
/* frame_reader: a file of a snapshot, read frame by frame by one who wants some slots only. Reads
 * nothing itself: it says where in the file it stands, and is given what stands there.
 *
 *     frame_reader_init(&reader, &expected);
 *     for (;;) {
 *         the bytes from reader.at on
 *         FRAME_READ_SHORT   need of them, please
 *         FRAME_READ_WANTED  a frame, whole and sound, with keys of the slots that are wanted
 *         FRAME_READ_PASSED  one without: it stands behind it (or, once in a while, before it)
 *         FRAME_READ_END     that was the file, and all in it agrees
 *     }
 *
 * Of frames that are passed only the header is looked at. Whatever it says, its slots are somebody's,
 * and that one looks at the whole frame: so where all slots are read by somebody, all bytes are.
 *
 * A value that goes on over frames may have been passed, and end in a frame that is wanted for what
 * comes behind it: then the reader goes back to where that value began.
 *
 * Thread: any; pure.
 */
#ifndef SHOAL_PERSIST_SNAPSHOT_FRAME_READER_H
#define SHOAL_PERSIST_SNAPSHOT_FRAME_READER_H

#include "persist/snapshot/frames.h"

/* What the file must be, as the manifest says. */
struct frame_file {
    uint32_t shard, shards;
    uint64_t generation;
    uint64_t salt;
    uint64_t bytes, keys;
};

struct frame_reader {
    struct frame_file file;
    struct frames_head head; /* once it was read */
    bool begun, over;
    uint64_t at;    /* where it stands in the file */
    uint64_t index; /* of the frame that stands there */
    uint64_t keys;  /* that the frames before it say to have */
    bool was_wanted;    /* the frame before it was */
    uint64_t wanted_to; /* it has gone back: all frames before this one are wanted */
    struct {
        uint64_t at, index, keys;
    } passed; /* the first frame of those that were passed with the value that goes on */
    const char *error; /* static */
};

enum frame_read {
    FRAME_READ_SHORT,
    FRAME_READ_WANTED,
    FRAME_READ_PASSED,
    FRAME_READ_END,
    FRAME_READ_BAD, /* reader->error says what is wrong, reader->at where */
};

void frame_reader_init(struct frame_reader *reader, const struct frame_file *file);
/* `input`: what stands at reader->at of the file, as much of it as there is. `wants`: whether
 * anything between these two slots is wanted. */
enum frame_read frame_reader_next(struct frame_reader *reader, struct bytes input,
                                  bool (*wants)(void *arg, uint16_t first, uint16_t last),
                                  void *arg, struct frame *ret, size_t *ret_need);

#endif
