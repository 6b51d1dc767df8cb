/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/random.h"
#include "test/unit/log_file.h"

#include <criterion/criterion.h>

struct seen {
    unsigned blocks;
    uint64_t records;
};

static void see(void *context, const struct log_block *block) {
    struct seen *seen = context;
    seen->blocks++;
    seen->records += block->records;
}

static struct seen scan_bytes(struct bytes bytes, size_t step, struct log_scan *scan) {
    struct seen seen = {0};
    log_file_scan(bytes, step, scan, see, &seen);
    return seen;
}

/* Ten blocks; from the fifth on they know that the first two are on disk. */
static void make(struct log_file *file) {
    log_file_init(file, 0, 1, 42);
    for (unsigned i = 0; i < 10; i++) {
        file->synced = i >= 4 ? file->ends[1] : 0;
        log_file_put_own(file, i + 1, 1 + i * 7);
    }
}

Test(log_scan, every_split_shows_the_same_blocks) {
    struct log_file file;
    struct log_scan scan;
    make(&file);
    for (size_t step = 1; step <= file.bytes.len; step += 1 + step / 8) {
        struct seen seen = scan_bytes(text_bytes(&file.bytes), step, &scan);
        cr_assert_eq(scan.verdict, LOG_SCAN_WHOLE);
        cr_assert_null(scan.error);
        cr_assert_eq(seen.blocks, 10);
        cr_assert_eq(seen.records, file.next_record);
        cr_assert_eq(scan.end, file.bytes.len);
        cr_assert_eq(scan.lost_bytes, 0);
    }
    log_file_fini(&file);
}

Test(log_scan, a_file_that_ends_anywhere_has_the_blocks_before) {
    struct log_file file;
    make(&file);
    for (size_t length = LOG_SEGMENT_BYTES; length < file.bytes.len; length++) {
        struct log_scan scan;
        struct seen seen = scan_bytes(bytes_make(file.bytes.ptr, length), 64, &scan);
        unsigned blocks = 0;
        while (file.ends[blocks] <= length) {
            blocks++;
        }
        uint64_t end = blocks ? file.ends[blocks - 1] : LOG_SEGMENT_BYTES;
        cr_assert_eq(seen.blocks, blocks);
        cr_assert_eq(scan.end, end);
        cr_assert_eq(scan.lost_bytes, length - end);
        cr_assert_eq(scan.verdict, length == end ? LOG_SCAN_WHOLE : LOG_SCAN_TORN);
    }
    log_file_fini(&file);
}

Test(log_scan, a_file_without_its_header_is_refused) {
    struct log_file file;
    struct log_scan scan;
    make(&file);
    for (size_t length = 0; length < LOG_SEGMENT_BYTES; length++) {
        cr_assert_eq(scan_bytes(bytes_make(file.bytes.ptr, length), 7, &scan).blocks, 0);
        cr_assert_eq(scan.verdict, LOG_SCAN_CORRUPT);
    }
    log_file_fini(&file);
}

/* A bad block before what a later one knew to be on disk; else an end. */
static void assert_hole(const struct log_file *file, unsigned block, size_t step) {
    struct log_scan scan;
    struct seen seen = scan_bytes(text_bytes(&file->bytes), step, &scan);
    uint64_t start = block ? file->ends[block - 1] : LOG_SEGMENT_BYTES;
    cr_assert_eq(seen.blocks, block);
    cr_assert_eq(scan.end, start);
    cr_assert_eq(scan.verdict, block < 2 ? LOG_SCAN_CORRUPT : LOG_SCAN_TORN);
    cr_assert_not_null(scan.error);
    cr_assert_eq(scan.lost_bytes, file->bytes.len - start);
    cr_assert_eq(scan.lost_blocks, 9 - block);
    cr_assert_eq(scan.lost_records, block == 9 ? 0 : file->next_record - seen.records);
}

Test(log_scan, a_flipped_bit_is_found_wherever_it_is) {
    struct log_file file;
    make(&file);
    unsigned block = 0;
    for (size_t at = LOG_SEGMENT_BYTES; at < file.bytes.len; at++) {
        while (at >= file.ends[block]) {
            block++;
        }
        file.bytes.ptr[at] ^= (char)(1 << at % 8);
        assert_hole(&file, block, 100 + at % 512);
        file.bytes.ptr[at] ^= (char)(1 << at % 8);
    }
    log_file_fini(&file);
}

Test(log_scan, sectors_of_zeros_are_found) {
    struct log_file file;
    make(&file);
    for (unsigned block = 0; block < 10; block++) {
        size_t start = block ? file.ends[block - 1] : LOG_SEGMENT_BYTES;
        struct text kept;
        text_init(&kept);
        text_append_bytes(&kept, text_bytes(&file.bytes));
        memset(file.bytes.ptr + start, 0, file.ends[block] - start);
        assert_hole(&file, block, 4096);
        memcpy(file.bytes.ptr, kept.ptr, kept.len);
        text_fini(&kept);
    }
    log_file_fini(&file);
}

/* Bytes of an older file in the same place, of the same numbers and lengths. */
Test(log_scan, an_old_file_under_a_new_one_is_not_read_on) {
    struct log_file file, old;
    struct log_scan scan;
    make(&file);
    log_file_init(&old, 0, 1, 41);
    for (unsigned i = 0; i < 10; i++) {
        log_file_put_own(&old, i + 1, 1 + i * 7);
    }
    for (unsigned block = 2; block < 10; block++) {
        struct text mixed;
        text_init(&mixed);
        text_append(&mixed, file.bytes.ptr, file.ends[block - 1]);
        text_append(&mixed, old.bytes.ptr + mixed.len, old.bytes.len - mixed.len);
        cr_assert_eq(scan_bytes(text_bytes(&mixed), 512, &scan).blocks, block);
        cr_assert_eq(scan.verdict, LOG_SCAN_TORN);
        cr_assert_eq(scan.lost_blocks, 0);
        text_fini(&mixed);
    }
    log_file_fini(&file);
    log_file_fini(&old);
}

/* A block of the same file that lies there twice, or is left out. */
Test(log_scan, blocks_twice_or_out_of_place_are_found) {
    struct log_file file;
    struct log_scan scan;
    make(&file);
    size_t first = file.ends[0] - LOG_SEGMENT_BYTES;
    struct text mixed;
    text_init(&mixed);
    text_append(&mixed, file.bytes.ptr, file.ends[0]);
    text_append(&mixed, file.bytes.ptr + LOG_SEGMENT_BYTES, first);
    cr_assert_eq(scan_bytes(text_bytes(&mixed), 512, &scan).blocks, 1);
    cr_assert_eq(scan.verdict, LOG_SCAN_TORN);
    text_clear(&mixed);
    text_append(&mixed, file.bytes.ptr, file.ends[0]);
    text_append(&mixed, file.bytes.ptr + file.ends[1], file.bytes.len - file.ends[1]);
    cr_assert_eq(scan_bytes(text_bytes(&mixed), 512, &scan).blocks, 1);
    cr_assert_eq(scan.verdict, LOG_SCAN_TORN);
    text_fini(&mixed);
    log_file_fini(&file);
}

Test(log_scan, records_that_are_missing_are_found) {
    struct log_file file;
    struct log_scan scan;
    log_file_init(&file, 0, 1, 42);
    log_file_put_own(&file, 1, 3);
    file.next_record++;
    log_file_put_own(&file, 2, 3);
    cr_assert_eq(scan_bytes(text_bytes(&file.bytes), 512, &scan).blocks, 1);
    cr_assert_eq(scan.verdict, LOG_SCAN_TORN);
    cr_assert_eq(scan.lost_records, 4);
    log_file_fini(&file);
}
