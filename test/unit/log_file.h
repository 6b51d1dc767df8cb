/* SPDX-License-Identifier: BSD-3-Clause */
/* log_file: segments for tests of the log: blocks whose records are short requests. */
#ifndef SHOAL_TEST_UNIT_LOG_FILE_H
#define SHOAL_TEST_UNIT_LOG_FILE_H

#include "persist/log/log_scan.h"

struct log_file {
    struct log_segment segment;
    struct text bytes;
    uint64_t next_record;
    uint64_t synced, safe; /* what the next block knows */
    unsigned blocks;
    uint64_t ends[512]; /* of each block */
};

static inline void log_file_init(struct log_file *file, uint32_t shard, uint64_t sequence,
                                 uint64_t salt) {
    *file = (struct log_file){.segment = {.shard = shard,
                                          .generation = 7,
                                          .sequence = sequence,
                                          .created_ms = 1790000000000,
                                          .salt = salt}};
    char head[LOG_SEGMENT_BYTES];
    text_init(&file->bytes);
    log_segment_encode(&file->segment, head);
    text_append(&file->bytes, head, sizeof head);
}

static inline void log_file_fini(struct log_file *file) {
    text_fini(&file->bytes);
}

static inline void log_file_put(struct log_file *file, struct log_run *runs, uint32_t count,
                                const char *record) {
    struct text payload;
    text_init(&payload);
    for (uint32_t i = 0; i < count; i++) {
        size_t before = payload.len;
        for (uint32_t r = 0; r < runs[i].records; r++) {
            text_append_text(&payload, record);
        }
        runs[i].bytes = payload.len - before;
    }
    struct log_block block = {.offset = file->bytes.len,
                              .first_record = file->next_record,
                              .runs = count,
                              .synced = file->synced,
                              .safe = file->safe,
                              .time_ms = 1790000000001};
    log_block_encode(&file->bytes, &file->segment, &block, runs, text_bytes(&payload));
    file->next_record += block.records;
    file->ends[file->blocks++] = file->bytes.len;
    text_fini(&payload);
}

/* A block of one number of its own. */
static inline void log_file_put_own(struct log_file *file, uint64_t number, uint32_t records) {
    struct log_run run = {.number = number, .records = records, .parts = 1};
    log_file_put(file, &run, 1, "*2\r\n$3\r\nDEL\r\n$1\r\na\r\n");
}

/* Reads it in steps of so many bytes; `each` is called with every whole block. */
static inline void log_file_scan(struct bytes bytes, size_t step, struct log_scan *scan,
                                 void (*each)(void *context, const struct log_block *block),
                                 void *context) {
    log_scan_init(scan);
    for (size_t there = 0;;) {
        struct log_block block;
        struct bytes input = bytes_make(bytes.ptr + scan->at, there - (size_t)scan->at);
        switch (log_scan_next(scan, input, there == bytes.len, &block)) {
        case LOG_SCAN_END:
            return;
        case LOG_SCAN_BLOCK:
            each(context, &block);
            break;
        case LOG_SCAN_MORE:
            there = bytes.len - there < step ? bytes.len : there + step;
            break;
        }
    }
}

#endif
