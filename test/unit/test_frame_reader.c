/* SPDX-License-Identifier: BSD-3-Clause */
#include "persist/snapshot/frame_reader.h"

#include <criterion/criterion.h>
#include <string.h>

/* A file whose frames are rows: flags and slots. Content of row i: i + 1 bytes. */
struct row {
    uint32_t flags;
    uint16_t first, last;
};

static const struct frames_head head = {
    .shard = 1, .shards = 3, .generation = 7, .created_ms = 8, .number = 812, .salt = 0xabcdef};

static struct frame_file make(struct text *out, const struct row *rows, unsigned count) {
    char bytes[FRAMES_HEAD_BYTES];
    static const char content[100];
    frames_head_encode(&head, bytes);
    text_append_bytes(out, bytes_make(bytes, sizeof bytes));
    struct frame frame = {.offset = FRAMES_HEAD_BYTES};
    uint64_t keys = 0;
    for (unsigned i = 0; i < count; i++) {
        frame.flags = rows[i].flags;
        frame.slot_first = rows[i].first;
        frame.slot_last = rows[i].last;
        frame.keys = frame.flags & FRAME_GOES_ON ? 0 : 2;
        keys += frame.keys;
        frame_encode(out, &head, &frame, bytes_make(content, i + 1), false);
        frame.index++;
        frame.offset += frame.bytes;
    }
    frame.flags = FRAME_LAST;
    frame.keys = keys;
    frame.slot_first = frame.slot_last = 0;
    frame_encode(out, &head, &frame, bytes_make("", 0), false);
    return (struct frame_file){.shard = 1,
                               .shards = 3,
                               .generation = 7,
                               .salt = 0xabcdef,
                               .bytes = out->len,
                               .keys = keys};
}

struct wish {
    uint16_t first, last;
};

static bool wants(void *arg, uint16_t first, uint16_t last) {
    const struct wish *wish = arg;
    return first <= wish->last && last >= wish->first;
}

/* Reads the file, given in pieces of what is asked for; the wanted frames as digits, from 1. */
static enum frame_read read_all(struct bytes bytes, const struct frame_file *file, struct wish wish,
                                char *ret_frames, struct frame_reader *ret_reader) {
    struct frame_reader *reader = ret_reader;
    size_t need = 0;
    frame_reader_init(reader, file);
    for (unsigned steps = 0;; steps++) {
        cr_assert_lt(steps, 1000);
        struct frame frame;
        size_t there = reader->at < bytes.len ? bytes.len - (size_t)reader->at : 0;
        size_t n = need < there ? need : there;
        enum frame_read got = frame_reader_next(
            reader, bytes_make(bytes.ptr + (bytes.len - there), n), wants, &wish, &frame, &need);
        if (got == FRAME_READ_SHORT && need > there) {
            reader->error = "the file is shorter than it was said";
            got = FRAME_READ_BAD;
        } else if (got == FRAME_READ_WANTED) {
            *ret_frames++ = (char)('0' + frame.raw_bytes);
        }
        if (got != FRAME_READ_SHORT) {
            need = 0;
        }
        if (got == FRAME_READ_END || got == FRAME_READ_BAD) {
            *ret_frames = 0;
            return got;
        }
    }
}

static void expect(const struct row *rows, unsigned count, struct wish wish, const char *frames) {
    struct text out;
    text_init(&out);
    struct frame_file file = make(&out, rows, count);
    char got[100];
    struct frame_reader reader;
    cr_assert_eq(read_all(text_bytes(&out), &file, wish, got, &reader), FRAME_READ_END, "%s",
                 reader.error);
    cr_assert_str_eq(got, frames);
    text_fini(&out);
}

Test(frame_reader, gives_the_frames_whose_slots_are_wanted) {
    static const struct row rows[] = {{0, 0, 10}, {0, 10, 20}, {0, 21, 30}, {0, 5, 5}};
    expect(rows, 4, (struct wish){0, 4}, "1");
    expect(rows, 4, (struct wish){10, 10}, "12");
    expect(rows, 4, (struct wish){0, 16383}, "1234");
    expect(rows, 4, (struct wish){31, 16383}, "");
    expect(rows, 0, (struct wish){0, 16383}, "");
}

Test(frame_reader, goes_back_for_a_value_whose_last_frame_is_wanted) {
    static const struct row rows[] = {{0, 1, 3},
                                      {FRAME_GOES_ON, 3, 3},
                                      {FRAME_GOES_ON, 3, 3},
                                      {FRAME_GOES_ON, 3, 9},
                                      {0, 10, 11}};
    expect(rows, 5, (struct wish){9, 9}, "1234"); /* nothing of the value was seen */
    expect(rows, 5, (struct wish){10, 11}, "5");
    expect(rows, 5, (struct wish){3, 3}, "1234");
    /* Its beginning was given; what was passed of the rest is read again. */
    static const struct row begun[] = {
        {0, 1, 3}, {FRAME_GOES_ON, 3, 3}, {FRAME_GOES_ON, 3, 3}, {FRAME_GOES_ON, 3, 1000}};
    expect(begun, 4, (struct wish){1, 2}, "1");
    static const struct row both[] = {
        {0, 1, 7}, {FRAME_GOES_ON, 3, 3}, {FRAME_GOES_ON, 3, 3}, {FRAME_GOES_ON, 3, 7}};
    expect(both, 4, (struct wish){7, 7}, "1234");
}

Test(frame_reader, every_byte_counts_for_whoever_wants_all) {
    static const struct row rows[] = {{0, 1, 3}, {FRAME_GOES_ON, 3, 9}, {0, 10, 11}};
    struct text out;
    text_init(&out);
    struct frame_file file = make(&out, rows, 3);
    char got[100];
    struct frame_reader reader;
    for (size_t bit = 0; bit < out.len * 8; bit++) {
        out.ptr[bit / 8] ^= (char)(1 << bit % 8);
        enum frame_read lower =
            read_all(text_bytes(&out), &file, (struct wish){0, 8000}, got, &reader);
        if (lower == FRAME_READ_BAD) {
            cr_assert_not_null(reader.error);
            cr_assert_leq(reader.at, bit / 8);
        }
        /* Who has the other slots finds what this one passed. */
        enum frame_read upper =
            read_all(text_bytes(&out), &file, (struct wish){8001, 16383}, got, &reader);
        cr_assert(lower == FRAME_READ_BAD || upper == FRAME_READ_BAD, "bit %zu", bit);
        out.ptr[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t n = 0; n < out.len; n++) {
        cr_assert_eq(read_all(bytes_make(out.ptr, n), &file, (struct wish){0, 16383}, got, &reader),
                     FRAME_READ_BAD);
        struct frame_file shorter = file;
        shorter.bytes = n;
        cr_assert_eq(
            read_all(bytes_make(out.ptr, n), &shorter, (struct wish){0, 16383}, got, &reader),
            FRAME_READ_BAD);
    }
    text_fini(&out);
}

Test(frame_reader, a_file_is_the_one_that_was_named_and_counts_its_keys) {
    static const struct row rows[] = {{0, 1, 3}, {0, 10, 11}};
    struct text out;
    text_init(&out);
    const struct frame_file right = make(&out, rows, 2);
    struct frame_file files[6];
    for (unsigned i = 0; i < 6; i++) {
        files[i] = right;
    }
    files[0].shard = 2;
    files[1].shards = 4;
    files[2].generation = 8;
    files[3].salt++;
    files[4].keys++;
    files[5].bytes++;
    text_append_char(&out, 'x');
    char got[100];
    struct frame_reader reader;
    struct wish all = {0, 16383};
    for (unsigned i = 0; i < 6; i++) {
        cr_assert_eq(read_all(text_bytes(&out), &files[i], all, got, &reader), FRAME_READ_BAD);
    }
    cr_assert_eq(read_all(text_bytes(&out), &right, all, got, &reader), FRAME_READ_END);
    text_fini(&out);
}
