/* SPDX-License-Identifier: BSD-3-Clause */
/* frame_writer: what a walk shows, as bytes of a file: a stream of keys as RDB has it, or that
 * stream in frames (frames.h).
 *
 *     key_stream    a database when it is another one, then keys
 *     frame_writer  the same, and cuts a frame when it has about FRAME_RAW_BYTES
 *
 * A value that is longer goes on in frames that have nothing else: so whoever passes a frame passes
 * whole keys.
 *
 * Thread: one at a time; pure but for memory.
 */
#ifndef SHOAL_PERSIST_SNAPSHOT_FRAME_WRITER_H
#define SHOAL_PERSIST_SNAPSHOT_FRAME_WRITER_H

#include "base/text.h"
#include "persist/snapshot/frames.h"
#include "persist/snapshot/usage.h"
#include "persist/snapshot/walk.h"

struct key_stream {
    bool compress;
    int64_t db; /* the last that was named; -1: none */
    uint64_t keys;
    struct usage_clock usage;
};

/* The item behind what is in `out`. */
void key_stream_put(struct key_stream *stream, struct text *out, const struct walk_item *item);

struct frame_writer {
    struct frames_head head; /* its salt is used, and nothing else */
    bool pack;
    struct key_stream keys;
    struct text raw; /* of the frame at hand */
    struct frame frame;
    bool inside; /* a value */
};

void frame_writer_init(struct frame_writer *writer, uint64_t salt, bool pack);
void frame_writer_fini(struct frame_writer *writer);
/* Frames that are full are appended to `out`, which begins behind the file's header. */
void frame_writer_put(struct frame_writer *writer, struct text *out, const struct walk_item *item);
/* A library of functions, which has frames of its own; before all keys. They are of slot 0, so that
 * exactly one of those who share out the slots takes it. */
void frame_writer_put_library(struct frame_writer *writer, struct text *out, struct bytes code);
/* The rest, and the last frame. */
void frame_writer_end(struct frame_writer *writer, struct text *out);

#endif
