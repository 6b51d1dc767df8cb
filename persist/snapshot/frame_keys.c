/* SPDX-License-Identifier: BSD-3-Clause */
/* frame_keys: see the header. What a frame leaves of a value's text is kept, and the next one put
 * behind it; but for that nothing is copied.
 */
#include "persist/snapshot/frame_keys.h"

void frame_keys_begin(struct frame_keys *keys, const struct rdb_keys_options *options) {
    rdb_keys_init(&keys->keys, options);
    text_init(&keys->raw);
    text_init(&keys->rest);
    keys->input = rdb_input(bytes_make("", 0));
}

void frame_keys_end(struct frame_keys *keys) {
    rdb_keys_fini(&keys->keys);
    text_fini(&keys->raw);
    text_fini(&keys->rest);
}

const char *frame_keys_frame(struct frame_keys *keys, const struct frame *frame) {
    struct bytes raw;
    if (!frame_raw(frame, &keys->raw, &raw)) {
        return "a frame that cannot be unpacked";
    }
    if (frame->flags & FRAME_GOES_ON) {
        if (keys->rest.len > 0) {
            text_append_bytes(&keys->rest, raw);
            raw = text_bytes(&keys->rest);
        }
    } else {
        if (!frame_keys_is_whole(keys)) {
            return "a value ends in its middle before this frame";
        }
        if (raw.len == 0 || (uint8_t)raw.ptr[0] != RDB_SELECT) {
            return "a frame that begins without a database";
        }
        rdb_keys_leave_value(&keys->keys);
        text_clear(&keys->rest);
    }
    keys->input = rdb_input(raw);
    return NULL;
}

/* What is left is kept for the frame that goes on with it: of a value, or of a name that is longer
 * than a frame. If none goes on, and it was wanted, a key is missing in the end. */
static enum frame_keys_got end_frame(struct frame_keys *keys) {
    struct bytes left = bytes_make(keys->input.at, rdb_left(&keys->input));
    struct text *rest = &keys->rest;
    if (left.len > 0 && left.ptr >= rest->ptr && left.ptr < rest->ptr + rest->len) {
        memmove(rest->ptr, left.ptr, left.len);
        rest->len = left.len;
    } else {
        text_clear(rest);
        text_append_bytes(rest, left);
    }
    return FRAME_KEYS_DONE;
}

enum frame_keys_got frame_keys_some(struct frame_keys *keys, uint32_t budget) {
    switch (rdb_keys_some(&keys->keys, &keys->input, budget)) {
    case RDB_KEYS_MORE:
        return end_frame(keys);
    case RDB_KEYS_SLICE:
        return FRAME_KEYS_SLICE;
    case RDB_KEYS_BAD:
        return FRAME_KEYS_BAD;
    case RDB_KEYS_END:
        break;
    }
    keys->input.error = "a frame has the end of an RDB file in it";
    return FRAME_KEYS_BAD;
}
