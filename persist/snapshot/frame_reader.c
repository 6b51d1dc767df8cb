/* SPDX-License-Identifier: BSD-3-Clause */
/* frame_reader: see the header. */
#include "persist/snapshot/frame_reader.h"

#include "base/check.h"

#include <string.h>

void frame_reader_init(struct frame_reader *reader, const struct frame_file *file) {
    *reader = (struct frame_reader){.file = *file};
}

static enum frame_read bad(struct frame_reader *reader, const char *error) {
    reader->error = error;
    return FRAME_READ_BAD;
}

static enum frame_read read_head(struct frame_reader *reader, struct bytes input,
                                 size_t *ret_need) {
    const struct frame_file *file = &reader->file;
    const struct frames_head *head = &reader->head;
    if (file->bytes < FRAMES_HEAD_BYTES) {
        return bad(reader, "the file ends in its header");
    }
    if (input.len < FRAMES_HEAD_BYTES) {
        *ret_need = FRAMES_HEAD_BYTES;
        return FRAME_READ_SHORT;
    }
    const char *error = frames_head_decode(input, &reader->head);
    if (error != NULL) {
        return bad(reader, error);
    }
    if (head->generation != file->generation) {
        return bad(reader, "it is of another generation than the manifest");
    }
    if (head->shard != file->shard || head->shards != file->shards) {
        return bad(reader, "it is another shard's file");
    }
    if (head->salt != file->salt) {
        return bad(reader, "it is another file than the one that the manifest names (its salt)");
    }
    reader->begun = true;
    reader->at = FRAMES_HEAD_BYTES;
    return FRAME_READ_PASSED;
}

/* The last one, which is empty: everything must agree with it. */
static enum frame_read read_last(struct frame_reader *reader, struct bytes input,
                                 struct frame *frame, size_t *ret_need) {
    const char *error;
    switch (frame_decode(input, &reader->head, reader->index, reader->at, frame, ret_need,
                         &error)) {
    case FRAME_SHORT:
        return FRAME_READ_SHORT;
    case FRAME_BAD:
        return bad(reader, error);
    case FRAME_WHOLE:
        break;
    }
    if (frame->keys != reader->keys) {
        return bad(reader, "its last frame counts other keys than its frames have");
    }
    if (frame->keys != reader->file.keys) {
        return bad(reader, "it has other keys than the manifest counts");
    }
    reader->over = true;
    reader->at += frame->bytes;
    reader->index++;
    return FRAME_READ_PASSED;
}

/* Behind this frame, which was given to the caller or not. */
static void go_behind(struct frame_reader *reader, const struct frame *frame, bool wanted) {
    bool goes_on = frame->flags & FRAME_GOES_ON;
    if (!wanted && (!goes_on || reader->was_wanted)) {
        reader->passed.at = reader->at;
        reader->passed.index = reader->index;
        reader->passed.keys = reader->keys;
    }
    reader->was_wanted = wanted;
    reader->at += frame->bytes;
    reader->index++;
    reader->keys += frame->keys;
}

static void go_back(struct frame_reader *reader) {
    reader->wanted_to = reader->index;
    reader->at = reader->passed.at;
    reader->index = reader->passed.index;
    reader->keys = reader->passed.keys;
    reader->was_wanted = true; /* the caller is where that frame begins */
}

enum frame_read frame_reader_next(struct frame_reader *reader, struct bytes input,
                                  bool (*wants)(void *arg, uint16_t first, uint16_t last),
                                  void *arg, struct frame *ret, size_t *ret_need) {
    const char *error;
    check(reader->error == NULL);
    if (!reader->begun) {
        return read_head(reader, input, ret_need);
    }
    uint64_t left = reader->file.bytes - reader->at;
    if (reader->over) {
        return left == 0 ? FRAME_READ_END
                         : bad(reader, "something stands behind its last frame");
    }
    if (left < FRAME_HEAD_BYTES) {
        return bad(reader, "the file ends without its last frame");
    }
    *ret_need = FRAME_HEAD_BYTES;
    switch (frame_peek(input, reader->index, reader->at, ret, &error)) {
    case FRAME_SHORT:
        return FRAME_READ_SHORT;
    case FRAME_BAD:
        return bad(reader, error);
    case FRAME_WHOLE:
        break;
    }
    if (ret->bytes > left) {
        return bad(reader, "the file ends in the middle of a frame");
    }
    if (ret->flags & FRAME_LAST) {
        return read_last(reader, input, ret, ret_need);
    }
    bool goes_on = ret->flags & FRAME_GOES_ON;
    if (goes_on && reader->index == 0) {
        return bad(reader, "its first frame goes on with a value");
    }
    bool forced = reader->index < reader->wanted_to;
    bool wanted = forced || wants(arg, ret->slot_first, ret->slot_last);
    if (!wanted) {
        go_behind(reader, ret, false);
        return FRAME_READ_PASSED;
    }
    if (goes_on && !reader->was_wanted) {
        go_back(reader);
        return FRAME_READ_PASSED;
    }
    switch (frame_decode(input, &reader->head, reader->index, reader->at, ret, ret_need, &error)) {
    case FRAME_SHORT:
        return FRAME_READ_SHORT;
    case FRAME_BAD:
        return bad(reader, error);
    case FRAME_WHOLE:
        break;
    }
    go_behind(reader, ret, true);
    return FRAME_READ_WANTED;
}
