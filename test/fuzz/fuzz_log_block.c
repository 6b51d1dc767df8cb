/* SPDX-License-Identifier: BSD-3-Clause */
/* Segments of a log: whatever bytes they are, nothing is read past them, every split shows the same
 * blocks, and what was shown is sound: its runs add up, its records can be unpacked or not, written
 * again it is read as it was.
 *
 * The first byte, if odd: what follows is one block, whose checksum is made right; else all of a
 * file. The second says in which steps it arrives.
 */
#include "base/check.h"
#include "persist/log/log_recover.h"
#include "persist/log/log_scan.h"

#include <stdint.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct log_segment segment = {.generation = 1, .sequence = 1, .salt = 42};

/* A block's numbers that are no choice of who wrote it (docs/durability.md has the table). */
static void make_right(char *block, size_t size) {
    uint64_t offset = LOG_SEGMENT_BYTES, stored, hash;
    uint32_t runs;
    if (size < LOG_HEAD_BYTES) {
        return;
    }
    memcpy(block, "ShBlock1", 8);
    memcpy(block + 32, &offset, sizeof offset);
    memcpy(&runs, block + 104, sizeof runs);
    memcpy(&stored, block + 16, sizeof stored);
    size_t front = LOG_HEAD_BYTES + (size_t)runs * LOG_RUN_BYTES;
    size_t bytes = front <= size && stored <= size - front ? front + stored : size;
    hash = XXH3_64bits_withSeed(block + 16, bytes - 16, segment.salt);
    memcpy(block + 8, &hash, sizeof hash);
}

struct seen {
    uint64_t blocks, records, end;
    struct log_recover recover;
    struct log_recover_file file;
};

static void write_again(const struct log_block *block, const struct log_segment *of) {
    struct text room, out;
    struct bytes payload, again;
    text_init(&room);
    text_init(&out);
    if (log_block_payload(block, &room, &payload)) {
        check(payload.len == block->raw_bytes);
        struct log_run *runs = malloc(block->runs * sizeof *runs);
        for (uint32_t i = 0; i < block->runs; i++) {
            runs[i] = log_block_run(block, i);
        }
        struct log_block copy = *block, read;
        const char *error;
        log_block_encode(&out, of, &copy, runs, payload);
        struct text second;
        text_init(&second);
        check(log_block_decode(text_bytes(&out), of, block->offset, &read, &error) == LOG_WHOLE);
        check(log_block_payload(&read, &second, &again) && bytes_equal(payload, again));
        check(read.records == block->records && read.runs == block->runs);
        text_fini(&second);
        free(runs);
    }
    text_fini(&room);
    text_fini(&out);
}

static struct seen scan_in_steps(struct bytes bytes, size_t step, struct log_scan *scan) {
    struct seen seen = {0};
    log_recover_init(&seen.recover, &seen.file, 1, 1);
    log_scan_init(scan);
    for (size_t there = 0;;) {
        struct log_block block;
        check(scan->at <= there);
        struct bytes input = bytes_make(bytes.ptr + scan->at, there - (size_t)scan->at);
        enum log_scan_got got = log_scan_next(scan, input, there == bytes.len, &block);
        if (got == LOG_SCAN_END) {
            break;
        }
        if (got == LOG_SCAN_BLOCK) {
            check(block.offset == (seen.blocks ? seen.end : LOG_SEGMENT_BYTES));
            seen.blocks++;
            seen.records += block.records;
            seen.end = block.offset + block.bytes;
            check(scan->end == seen.end);
            log_recover_add(&seen.recover, 0, &block);
            write_again(&block, &scan->segment);
        } else {
            there += bytes.len - there < step ? bytes.len - there : step;
        }
    }
    if (log_recover_end(&seen.recover)) {
        check(seen.file.kept_records + seen.file.dropped_records == seen.records);
    }
    log_recover_fini(&seen.recover);
    return seen;
}

static void scan_all(struct bytes bytes, size_t step) {
    struct log_scan whole, steps;
    struct seen at_once = scan_in_steps(bytes, bytes.len + 1, &whole);
    struct seen in_steps = scan_in_steps(bytes, step, &steps);
    check(at_once.blocks == in_steps.blocks && at_once.records == in_steps.records);
    check(whole.verdict == steps.verdict && whole.end == steps.end);
    check(whole.lost_bytes == steps.lost_bytes && whole.lost_blocks == steps.lost_blocks);
    check(!whole.begun || whole.end + whole.lost_bytes == bytes.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) {
        return 0;
    }
    size_t front = data[0] & 1 ? LOG_SEGMENT_BYTES : 0, length = front + size - 2;
    char *bytes = malloc(length + (length == 0));
    memcpy(bytes + front, data + 2, size - 2);
    if (front != 0) {
        log_segment_encode(&segment, bytes);
        make_right(bytes + front, length - front);
    }
    scan_all(bytes_make(bytes, length), 1 + data[1]);
    free(bytes);
    return 0;
}
