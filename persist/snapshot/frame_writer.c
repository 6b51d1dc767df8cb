/* SPDX-License-Identifier: BSD-3-Clause */
/* Invariant: between two items that are not of one value the frame at hand is of whole keys, or it
 * is empty.
 */
#include "persist/snapshot/frame_writer.h"

#include "persist/codec/rdb.h"
#include "persist/codec/rdb_file.h"
#include "persist/codec/rdb_write.h"
#include "base/check.h"

/* ---- Keys ---- */

void key_stream_put(struct key_stream *stream, struct text *out, const struct walk_item *item) {
    if (item->first) {
        if (stream->db != (int64_t)item->db) {
            stream->db = item->db;
            rdb_file_put_select(out, item->db);
        }
        rdb_file_put_key(out, item->name, (enum rdb_type)item->type, item->expires_at,
                         usage_of(&stream->usage, item->entry), stream->compress);
        stream->keys++;
    }
    text_append_bytes(out, item->piece);
}

/* ---- Frames ---- */

static void frame_begin(struct frame_writer *writer, uint32_t flags) {
    writer->frame = (struct frame){
        .index = writer->frame.index,
        .offset = writer->frame.offset,
        .flags = flags,
        .slot_first = UINT16_MAX,
    };
    writer->keys.db = -1;
    text_clear(&writer->raw);
}

void frame_writer_init(struct frame_writer *writer, uint64_t salt, bool pack) {
    *writer = (struct frame_writer){
        .head = {.salt = salt},
        .pack = pack,
        .keys = {.compress = false, .db = -1}, /* LZ4 makes more of them */
        .frame = {.offset = FRAMES_HEAD_BYTES},
    };
    text_init(&writer->raw);
    frame_begin(writer, 0);
}

void frame_writer_fini(struct frame_writer *writer) {
    text_fini(&writer->raw);
}

static void put_frame(struct frame_writer *writer, struct text *out, struct bytes raw) {
    frame_encode(out, &writer->head, &writer->frame, raw, writer->pack);
    writer->frame.index++;
    writer->frame.offset += writer->frame.bytes;
}

/* What there is of the frame at hand; the next begins in the middle of the value, if it is not
 * over. Longer ones are divided: a piece may be of any length. */
static void cut(struct frame_writer *writer, struct text *out) {
    struct bytes raw = text_bytes(&writer->raw);
    struct frame at = writer->frame;
    while (raw.len > 0) {
        size_t part = raw.len > FRAME_RAW_MAX ? FRAME_RAW_MAX : raw.len;
        put_frame(writer, out, bytes_make(raw.ptr, part));
        raw = bytes_make(raw.ptr + part, raw.len - part);
        writer->frame.keys = 0;
        writer->frame.flags = FRAME_GOES_ON;
        writer->frame.slot_first = writer->frame.slot_last = at.slot_last;
    }
    frame_begin(writer, writer->inside ? FRAME_GOES_ON : 0);
}

void frame_writer_put(struct frame_writer *writer, struct text *out, const struct walk_item *item) {
    struct frame *frame = &writer->frame;
    /* A value that cannot be in one frame begins one: the frames of it then have nothing else. */
    if (item->first && writer->raw.len > 0 && item->piece.len > FRAME_RAW_BYTES) {
        cut(writer, out);
    }
    bool goes_on = writer->inside && (frame->flags & FRAME_GOES_ON) != 0;
    frame->slot_first = item->slot < frame->slot_first ? item->slot : frame->slot_first;
    frame->slot_last = item->slot > frame->slot_last ? item->slot : frame->slot_last;
    frame->keys += item->first;
    check(item->first != writer->inside);
    key_stream_put(&writer->keys, &writer->raw, item);
    writer->inside = !item->last;
    if (writer->raw.len >= FRAME_RAW_BYTES || (goes_on && item->last)) {
        cut(writer, out);
    }
}

void frame_writer_put_library(struct frame_writer *writer, struct text *out, struct bytes code) {
    check(!writer->inside && writer->raw.len == 0);
    rdb_file_put_select(&writer->raw, 0);
    rdb_put_byte(&writer->raw, RDB_FUNCTION);
    rdb_put_plain(&writer->raw, code);
    writer->frame.slot_first = writer->frame.slot_last = 0;
    cut(writer, out);
}

void frame_writer_end(struct frame_writer *writer, struct text *out) {
    check(!writer->inside);
    cut(writer, out);
    frame_begin(writer, FRAME_LAST);
    writer->frame.slot_first = 0;
    writer->frame.keys = writer->keys.keys;
    put_frame(writer, out, bytes_make("", 0));
}
