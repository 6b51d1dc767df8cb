/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a block is not whole the scan goes on byte by byte, and takes for a block only what says
 * that it lies there and has the right checksum; so it costs no more than reading the file.
 */
#include "persist/log/log_scan.h"

void log_scan_init(struct log_scan *scan) {
    *scan = (struct log_scan){.verdict = LOG_SCAN_WHOLE};
}

static enum log_scan_got end_at(struct log_scan *scan, enum log_verdict verdict,
                                const char *error) {
    scan->verdict = verdict;
    scan->error = error;
    return LOG_SCAN_END;
}

static void know(struct log_scan *scan, const struct log_block *block) {
    scan->synced = block->synced > scan->synced ? block->synced : scan->synced;
    scan->safe = block->safe > scan->safe ? block->safe : scan->safe;
}

/* One byte on, or over a whole block. */
static enum log_scan_got search(struct log_scan *scan, struct bytes input, bool last) {
    size_t passed = 0;
    while (passed < input.len) {
        const char *error;
        struct log_block block;
        struct bytes rest = bytes_make(input.ptr + passed, input.len - passed);
        const char *next = memchr(rest.ptr, 'S', rest.len);
        if (next != rest.ptr) {
            passed = next ? (size_t)(next - input.ptr) : input.len;
            continue;
        }
        enum log_got got =
            log_block_decode(rest, &scan->segment, scan->at + passed, &block, &error);
        if (got == LOG_SHORT && !last) {
            break;
        }
        if (got == LOG_WHOLE) {
            know(scan, &block);
            scan->lost_blocks++;
            if (block.first_record + block.records > scan->next_record) {
                scan->lost_records = block.first_record + block.records - scan->next_record;
            }
        }
        passed += got == LOG_WHOLE ? (size_t)block.bytes : 1;
    }
    scan->at += passed;
    scan->lost_bytes += passed;
    if (passed < input.len || !last) {
        return LOG_SCAN_MORE;
    }
    return end_at(scan, scan->synced > scan->end ? LOG_SCAN_CORRUPT : LOG_SCAN_TORN, scan->error);
}

static enum log_scan_got begin(struct log_scan *scan, struct bytes input, bool last) {
    if (input.len < LOG_SEGMENT_BYTES && !last) {
        return LOG_SCAN_MORE;
    }
    const char *error = log_segment_decode(input, &scan->segment);
    if (error != NULL) {
        /* A segment's header is on disk before the manifest names it. */
        return end_at(scan, LOG_SCAN_CORRUPT, error);
    }
    scan->begun = true;
    scan->at = scan->end = LOG_SEGMENT_BYTES;
    scan->next_record = scan->segment.first_record;
    return LOG_SCAN_MORE;
}

enum log_scan_got log_scan_next(struct log_scan *scan, struct bytes input, bool last,
                                struct log_block *ret) {
    if (!scan->begun) {
        size_t before = LOG_SEGMENT_BYTES;
        enum log_scan_got got = begin(scan, input, last);
        if (!scan->begun) {
            return got;
        }
        input = bytes_make(input.ptr + before, input.len - before);
    }
    if (scan->searching) {
        return search(scan, input, last);
    }
    if (input.len == 0) {
        return last ? end_at(scan, LOG_SCAN_WHOLE, NULL) : LOG_SCAN_MORE;
    }
    const char *error;
    enum log_got got = log_block_decode(input, &scan->segment, scan->at, ret, &error);
    if (got == LOG_SHORT && !last) {
        return LOG_SCAN_MORE;
    }
    if (got == LOG_WHOLE && ret->first_record != scan->next_record) {
        got = LOG_BAD;
        error = "records are missing or twice there";
    }
    if (got != LOG_WHOLE) {
        scan->error = got == LOG_SHORT ? "the file ends in the middle of a block" : error;
        scan->searching = true;
        return search(scan, input, last);
    }
    know(scan, ret);
    scan->at += ret->bytes;
    scan->end = scan->at;
    scan->next_record += ret->records;
    return LOG_SCAN_BLOCK;
}
