/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/random.h"
#include "persist/log/log_block.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const struct log_segment segment = {.shard = 3,
                                           .generation = 9,
                                           .sequence = 2,
                                           .created_ms = 1790000000123,
                                           .first_record = 77,
                                           .salt = 0x123456789abcdef0};

Test(log_block, the_header_of_a_segment_is_read_as_it_was_written) {
    char bytes[LOG_SEGMENT_BYTES];
    struct log_segment read;
    log_segment_encode(&segment, bytes);
    cr_assert_null(log_segment_decode(bytes_make(bytes, sizeof bytes), &read));
    cr_assert_eq(read.shard, 3);
    cr_assert_eq(read.generation, 9);
    cr_assert_eq(read.sequence, 2);
    cr_assert_eq(read.created_ms, 1790000000123);
    cr_assert_eq(read.first_record, 77);
    cr_assert_eq(read.salt, segment.salt);
}

Test(log_block, every_bit_of_a_segments_header_counts) {
    char bytes[LOG_SEGMENT_BYTES];
    struct log_segment read;
    log_segment_encode(&segment, bytes);
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        cr_assert_not_null(log_segment_decode(bytes_make(bytes, sizeof bytes), &read));
        bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t length = 0; length < sizeof bytes; length++) {
        cr_assert_not_null(log_segment_decode(bytes_make(bytes, length), &read));
    }
}

/* The runs share the payload; `alike`: it can be made smaller. */
static void make(struct text *out, struct text *payload, struct log_block *block,
                 struct log_run *runs, uint32_t count, size_t bytes, bool alike) {
    struct rng rng;
    rng_seed(&rng, bytes);
    text_clear(payload);
    for (size_t i = 0; i < bytes; i++) {
        text_append_char(payload, alike ? "*1\r\n$4\r\nPING\r\n"[i % 14] : (char)rng_next(&rng));
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t share = bytes / count + (i == 0 ? bytes % count : 0);
        runs[i] = (struct log_run){
            .number = 100 + i, .bytes = share, .records = share ? 1 + i : 0, .parts = share != 0};
    }
    *block = (struct log_block){.offset = 4096,
                                .first_record = 80,
                                .runs = count,
                                .synced = 64,
                                .safe = 12,
                                .time_ms = 5,
                                .stream_offset = 6,
                                .stream_id = "nineteen characters"};
    log_block_encode(out, &segment, block, runs, text_bytes(payload));
}

Test(log_block, is_read_as_it_was_written) {
    static const size_t sizes[] = {0, 1, 300, 1023, 1024, 5000, 70000, 2000000};
    struct text out, payload, room;
    text_init(&out);
    text_init(&payload);
    text_init(&room);
    for (unsigned i = 0; i < 8 * 2 * 3; i++) {
        struct log_run runs[3];
        struct log_block block, read;
        struct bytes raw;
        const char *error;
        uint32_t count = 1 + i % 3;
        bool alike = i / 3 % 2;
        text_clear(&out);
        make(&out, &payload, &block, runs, count, sizes[i / 6], alike);
        cr_assert_eq(block.bytes, out.len);
        text_append_text(&out, "what follows");
        cr_assert_eq(log_block_decode(text_bytes(&out), &segment, 4096, &read, &error), LOG_WHOLE);
        cr_assert_null(error);
        cr_assert_eq(read.bytes, block.bytes);
        cr_assert_eq(read.records, block.records);
        cr_assert_eq(read.first_record, 80);
        cr_assert(read.synced == 64 && read.safe == 12 && read.time_ms == 5);
        cr_assert(read.stream_offset == 6 && memcmp(read.stream_id, block.stream_id, 20) == 0);
        cr_assert_eq(read.runs, count);
        for (uint32_t r = 0; r < count; r++) {
            struct log_run run = log_block_run(&read, r);
            cr_assert(run.number == runs[r].number && run.bytes == runs[r].bytes &&
                      run.records == runs[r].records && run.parts == runs[r].parts);
        }
        cr_assert(log_block_payload(&read, &room, &raw));
        cr_assert(bytes_equal(raw, text_bytes(&payload)));
        cr_assert_eq(read.stored_bytes < read.raw_bytes, alike && sizes[i / 6] >= 1024);
    }
    text_fini(&out);
    text_fini(&payload);
    text_fini(&room);
}

Test(log_block, a_large_one_has_the_bytes_of_any_other) {
    static const size_t sizes[] = {70000, 2000000, 3000001};
    struct text out, same, payload, room;
    text_init(&out);
    text_init(&same);
    text_init(&payload);
    text_init(&room);
    for (unsigned i = 0; i < 3 * 2 * 2; i++) {
        struct log_run runs[3];
        struct log_block block, again;
        bool alike = i % 2;
        struct bytes before = i / 2 % 2 ? bytes_of_text("what came before it") : bytes_make("", 0);
        text_clear(&out);
        make(&out, &payload, &block, runs, 3, sizes[i / 4], alike);
        again = (struct log_block){.offset = 4096,
                                   .first_record = 80,
                                   .runs = 3,
                                   .synced = 64,
                                   .safe = 12,
                                   .time_ms = 5,
                                   .stream_offset = 6,
                                   .stream_id = "nineteen characters"};
        text_clear(&same);
        text_append_bytes(&same, before);
        text_append_bytes(&same, text_bytes(&out));
        log_block_encode_large(&payload, before, &segment, &again, runs);
        cr_assert(bytes_equal(text_bytes(&payload), text_bytes(&same)));
        cr_assert_eq(again.bytes, block.bytes);
        cr_assert_eq(again.stored_bytes < again.raw_bytes, alike);
    }
    text_fini(&out);
    text_fini(&same);
    text_fini(&payload);
    text_fini(&room);
}

/* As of what is packed none of the pieces that are tried may pay, it lies there as it is. */
Test(log_block, a_large_one_of_which_a_part_can_be_packed_is_read_as_it_was_written) {
    struct text payload, copy, room;
    struct rng rng;
    text_init(&payload);
    text_init(&copy);
    text_init(&room);
    rng_seed(&rng, 7);
    for (unsigned part = 0; part <= 16; part++) {
        text_clear(&payload);
        for (size_t i = 0; i < 2000000; i++) {
            text_append_char(&payload, i < part * 125000 ? 'x' : (char)rng_next(&rng));
        }
        text_clear(&copy);
        text_append_bytes(&copy, text_bytes(&payload));
        struct log_run run = {.number = 1, .bytes = payload.len, .records = 1, .parts = 1};
        struct log_block block = {.offset = 4096, .runs = 1}, read;
        const char *error;
        struct bytes raw;
        log_block_encode_large(&payload, bytes_make("", 0), &segment, &block, &run);
        cr_assert_eq(log_block_decode(text_bytes(&payload), &segment, 4096, &read, &error),
                     LOG_WHOLE);
        cr_assert(log_block_payload(&read, &room, &raw));
        cr_assert(bytes_equal(raw, text_bytes(&copy)));
        cr_assert_eq(read.stored_bytes<read.raw_bytes, part> 2);
    }
    text_fini(&payload);
    text_fini(&copy);
    text_fini(&room);
}

static enum log_got read_of_size(struct bytes bytes, uint64_t offset, uint64_t salt) {
    struct log_segment other = segment;
    struct log_block read;
    const char *error;
    other.salt = salt;
    /* As large as it is and no larger, so that a sanitizer sees who reads on. */
    char *copy = malloc(bytes.len + (bytes.len == 0));
    memcpy(copy, bytes.ptr, bytes.len);
    enum log_got got = log_block_decode(bytes_make(copy, bytes.len), &other, offset, &read, &error);
    cr_assert_eq(got == LOG_BAD, error != NULL);
    free(copy);
    return got;
}

Test(log_block, every_bit_counts_and_every_byte_is_needed) {
    struct text out, payload;
    struct log_run runs[3];
    struct log_block block;
    text_init(&out);
    text_init(&payload);
    for (unsigned alike = 0; alike < 2; alike++) {
        text_clear(&out);
        make(&out, &payload, &block, runs, 3, 1500, alike);
        for (size_t bit = 0; bit < out.len * 8; bit++) {
            out.ptr[bit / 8] ^= (char)(1 << bit % 8);
            cr_assert_neq(read_of_size(text_bytes(&out), 4096, segment.salt), LOG_WHOLE);
            out.ptr[bit / 8] ^= (char)(1 << bit % 8);
        }
        for (size_t length = 0; length < out.len; length++) {
            cr_assert_eq(read_of_size(bytes_make(out.ptr, length), 4096, segment.salt), LOG_SHORT);
        }
        cr_assert_eq(read_of_size(text_bytes(&out), 4096, segment.salt), LOG_WHOLE);
    }
    text_fini(&out);
    text_fini(&payload);
}

Test(log_block, bytes_of_another_place_or_file_are_no_block) {
    struct text out, payload;
    struct log_run runs[1];
    struct log_block block;
    text_init(&out);
    text_init(&payload);
    make(&out, &payload, &block, runs, 1, 300, true);
    cr_assert_eq(read_of_size(text_bytes(&out), 4097, segment.salt), LOG_BAD);
    cr_assert_eq(read_of_size(text_bytes(&out), 4096, segment.salt + 1), LOG_BAD);
    text_fini(&out);
    text_fini(&payload);
}
