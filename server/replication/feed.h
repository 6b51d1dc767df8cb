/* SPDX-License-Identifier: BSD-3-Clause */
/* feed: what a shard's turn has done, on its way to the replication stream's home.
 *
 * The log's recorder (persistence/wal.h) gathers it, with the log's numbers: a block of the log and
 * what is sent from here are the same runs. Once a turn, before anything of it is seen.
 *
 * Thread: the worker's own. Ownership: a block goes with its message, and the merge frees it.
 */
#ifndef SHOAL_SERVER_REPLICATION_FEED_H
#define SHOAL_SERVER_REPLICATION_FEED_H

#include "base/list.h"
#include "base/text.h"
#include "cluster/stream/merge.h"
#include "shard/mailbox.h"

#include <stdbool.h>
#include <stdint.h>

struct wal;
struct worker;

/* The runs of a turn; their texts lie behind each other in wal->text. */
void feed_send(struct wal *wal);
/* A number was drawn that nobody will answer. */
void feed_void(struct worker *worker, uint64_t number);

/* PUBLISH and the like: no change, so it has no number and is in no log. It leaves with its turn,
 * and comes in the stream behind all that was drawn by then: who hears it at a replica finds there
 * what was written before it was said. */
void feed_publish(struct worker *worker, const struct bytes *argv, uint32_t argc);
/* What the turn has published; behind its block. */
void feed_published(struct wal *wal);

/* MESSAGE_FEED, to worker 0 (primary.h). */
struct feed_mail {
    struct message message;
    uint64_t number_void;     /* 0: it has a block, */
    struct merge_block block; /* whose release frees the mail */
    struct text taken;        /* the block's text, if it was not copied behind this; or */
    bool published;           /* that was, and leaves when all up to `after` has */
    uint64_t after;
    struct list_node node;
};
void feed_mail_free(struct feed_mail *mail);

#endif
