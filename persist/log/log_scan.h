/* SPDX-License-Identifier: BSD-3-Clause */
/* log_scan: a segment read block by block as its bytes arrive, and what is to be thought of the
 * place where that ends.
 *
 *     log_scan_init(&scan);
 *     for (;;) {
 *         got = log_scan_next(&scan, bytes from scan.at on, is there nothing behind them, &block);
 *         LOG_SCAN_MORE: more is needed, all from scan.at on;  LOG_SCAN_BLOCK: one more, and
 *         scan.at is behind it;  LOG_SCAN_END: scan.verdict
 *     }
 *
 * Behind the first block that is not whole nothing counts. A crash leaves such an end, and a disk
 * may have kept later blocks of those that were not synced yet. But when a later block was sealed
 * knowing that the bad one was on disk, bytes have changed there, which no crash does.
 *
 * Thread: any; pure.
 */
#ifndef SHOAL_PERSIST_LOG_LOG_SCAN_H
#define SHOAL_PERSIST_LOG_LOG_SCAN_H

#include "persist/log/log_block.h"

enum log_verdict {
    LOG_SCAN_WHOLE,
    LOG_SCAN_TORN,    /* the end is missing or half there */
    LOG_SCAN_CORRUPT, /* what was on disk is not what is there */
};

struct log_scan {
    struct log_segment segment;
    bool begun;     /* the segment's header was read */
    bool searching; /* behind the end, for blocks that know better */
    uint64_t at;    /* in the file: the next byte to look at */
    uint64_t end;   /* behind the last whole block, or the header */
    uint64_t next_record;
    uint64_t synced, safe; /* the largest that any block knew */
    enum log_verdict verdict;
    const char *error;     /* NULL, or what is wrong at `end` */
    uint64_t lost_bytes;   /* from there on */
    uint64_t lost_blocks;  /* whole ones among them */
    uint64_t lost_records; /* of those, and as far as the next ones tell, of what lies before */
};

enum log_scan_got { LOG_SCAN_MORE, LOG_SCAN_BLOCK, LOG_SCAN_END };

void log_scan_init(struct log_scan *scan);
enum log_scan_got log_scan_next(struct log_scan *scan, struct bytes input, bool last,
                                struct log_block *ret);

#endif
