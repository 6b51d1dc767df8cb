/* SPDX-License-Identifier: BSD-3-Clause */
/* backlog: the end of the replication stream, kept for replicas that come back: they go on from
 * where they were, if that is still here.
 *
 * Positions are offsets in bytes as PSYNC counts them: the first byte of a stream is 1.
 *
 *     backlog_append   behind what is there
 *     backlog_keep     the same, but shown to nobody before backlog_ready says so: a replica has
 *                      the bytes of its primary before it has done what they say
 *     backlog_covers   whether a replica that wants to go on at an offset can
 *     backlog_show     all from there on, in pieces that its output holds by reference
 *
 * The pieces are shared (piece.h): a replica that is slow keeps those it has not been sent, however
 * far the backlog has gone on.
 *
 * Thread: the stream's home.
 */
#ifndef SHOAL_CLUSTER_STREAM_BACKLOG_H
#define SHOAL_CLUSTER_STREAM_BACKLOG_H

#include "base/bytes.h"
#include "cluster/stream/piece.h"

#include <stdbool.h>
#include <stdint.h>

/* A piece's capacity, as far as nothing larger is appended. */
#define BACKLOG_PIECE_BYTES ((size_t)64 * 1024)

struct backlog_part {
    struct piece *piece;
    uint64_t offset; /* of its first byte */
    size_t bytes;
};

struct backlog {
    uint64_t limit;
    uint64_t first, next; /* offsets: of the first byte kept, and of the one that comes next */
    uint64_t ready;  /* from here on nothing is shown: all has been but for what is kept back */
    uint64_t unsent; /* from here on nothing goes, whatever the limit */
    struct backlog_part *parts; /* a ring */
    uint32_t head, count, cap;  /* a power of two */
    size_t memory;              /* of the pieces */
};

/* The next byte has this offset. */
void backlog_init(struct backlog *backlog, uint64_t next, uint64_t limit);
void backlog_fini(struct backlog *backlog);
/* What is above the limit goes, in whole pieces: it keeps at least so much if it came by. */
void backlog_set_limit(struct backlog *backlog, uint64_t limit);
/* What is there is nothing that anybody goes on from; the next byte has this offset. */
void backlog_reset(struct backlog *backlog, uint64_t next);

/* What was appended by now has been shown to those that are to get it, and may go. */
void backlog_sent(struct backlog *backlog);

void backlog_append(struct backlog *backlog, struct bytes bytes);
void backlog_keep(struct backlog *backlog, struct bytes bytes);
/* All before this offset may be shown. */
void backlog_ready(struct backlog *backlog, uint64_t offset);
/* What is not ready is gone: the next byte has that offset again. */
void backlog_drop_kept(struct backlog *backlog);
/* One that may be shown, or the next of those. */
bool backlog_covers(const struct backlog *backlog, uint64_t offset);
/* Must be covered. */
typedef void backlog_show_fn(void *arg, struct piece *piece, struct bytes bytes);
void backlog_show(const struct backlog *backlog, uint64_t offset, backlog_show_fn *show, void *arg);

#endif
