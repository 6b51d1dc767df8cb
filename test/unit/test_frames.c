/* SPDX-License-Identifier: BSD-3-Clause */
#include "persist/snapshot/frames.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct frames_head head = {
    .shard = 1, .shards = 3, .generation = 7, .created_ms = 8, .number = 812, .salt = 0xabcdef};

Test(frames, a_header_is_read_as_it_was_written_and_every_bit_counts) {
    char bytes[FRAMES_HEAD_BYTES];
    struct frames_head read;
    frames_head_encode(&head, bytes);
    cr_assert_null(frames_head_decode(bytes_make(bytes, sizeof bytes), &read));
    cr_assert_eq(memcmp(&read, &head, sizeof head), 0);
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        cr_assert_not_null(frames_head_decode(bytes_make(bytes, sizeof bytes), &read));
        bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
    cr_assert_not_null(frames_head_decode(bytes_make(bytes, sizeof bytes - 1), &read));
}

/* Of so many bytes that repeat, or do not. */
static void make(struct text *out, struct frame *frame, size_t n, bool repeats, bool pack) {
    struct text raw;
    text_init(&raw);
    for (size_t i = 0; i < n; i++) {
        text_append_char(&raw, (char)(repeats ? i % 7 : i * i * 2654435761u >> 11));
    }
    *frame = (struct frame){.index = 4, .offset = 5000, .keys = 6, .slot_first = 7, .slot_last = 9};
    frame_encode(out, &head, frame, text_bytes(&raw), pack);
    text_fini(&raw);
}

Test(frames, a_frame_is_read_as_it_was_written) {
    for (unsigned i = 0; i < 8; i++) {
        struct text out, room;
        text_init(&out);
        text_init(&room);
        struct frame frame, read;
        size_t need;
        const char *error;
        make(&out, &frame, i & 1 ? 100000 : 50, i & 2, i & 4);
        cr_assert_eq(frame_decode(text_bytes(&out), &head, 4, 5000, &read, &need, &error),
                     FRAME_WHOLE);
        cr_assert_eq(read.bytes, out.len);
        cr_assert_eq(read.keys, 6);
        cr_assert_eq(read.slot_first, 7);
        cr_assert_eq(read.slot_last, 9);
        struct bytes raw;
        cr_assert(frame_raw(&read, &room, &raw));
        cr_assert_eq(raw.len, i & 1 ? 100000 : 50);
        cr_assert_eq(raw.ptr[20], (char)(i & 2 ? 20 % 7 : 20 * 20 * 2654435761u >> 11));
        cr_assert_eq(read.stored_bytes < read.raw_bytes, i == 7, "row %u", i);
        text_fini(&out);
        text_fini(&room);
    }
}

Test(frames, every_bit_counts_and_every_byte_is_needed) {
    struct text out;
    text_init(&out);
    struct frame frame, read;
    size_t need;
    const char *error;
    make(&out, &frame, 400, true, true);
    for (size_t bit = 0; bit < out.len * 8; bit++) {
        out.ptr[bit / 8] ^= (char)(1 << bit % 8);
        cr_assert_neq(frame_decode(text_bytes(&out), &head, 4, 5000, &read, &need, &error),
                      FRAME_WHOLE, "bit %zu", bit);
        out.ptr[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t n = 0; n < out.len; n++) {
        struct bytes part = bytes_make(out.ptr, n);
        cr_assert_eq(frame_decode(part, &head, 4, 5000, &read, &need, &error), FRAME_SHORT);
        cr_assert_eq(need, n < FRAME_HEAD_BYTES ? FRAME_HEAD_BYTES : out.len);
    }
    text_fini(&out);
}

Test(frames, a_frame_of_another_file_or_place_is_none) {
    struct text out;
    text_init(&out);
    struct frame frame, read;
    size_t need;
    const char *error;
    make(&out, &frame, 400, true, true);
    struct bytes bytes = text_bytes(&out);
    struct frames_head other = head;
    other.salt++;
    cr_assert_eq(frame_decode(bytes, &other, 4, 5000, &read, &need, &error), FRAME_BAD);
    cr_assert_eq(frame_decode(bytes, &head, 5, 5000, &read, &need, &error), FRAME_BAD);
    cr_assert_eq(frame_decode(bytes, &head, 4, 5001, &read, &need, &error), FRAME_BAD);
    cr_assert_eq(frame_decode(bytes, &head, 4, 5000, &read, &need, &error), FRAME_WHOLE);
    text_fini(&out);
}
