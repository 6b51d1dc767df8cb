/* SPDX-License-Identifier: BSD-3-Clause */
/* merge: blocks of many shards become one stream of commands, in the order of their numbers.
 *
 * A shard's turn is a block of runs (persist/log has the same for the log). A run has a number from
 * the process's counter; a transaction over several shards has one number, and a run on each of
 * them that names how many there are. Every number that is drawn is answered, by runs or by
 * merge_void. So what comes next is known: the number after the last. It leaves when all of its
 * runs are here, and nothing behind it before.
 *
 * Why this is the order of what happened: whatever conflicts, on any key, was done under locks that
 * the one had given back before the other got them. A shard draws its turn's number before
 * anything of the turn is seen, a grant of a lock too; and a transaction draws its own when all its
 * locks are held, and gives none back before. So of two that conflict the earlier has the smaller
 * number (docs/durability.md, "One order"), and the stream, being all of them by number, is a
 * history in which every prefix is a state that the shards together have been in.
 *
 * What is one unit stands between MULTI and EXEC if it is more than one command: of a transaction
 * all, in the order of its commands (parts name it: "@DB.ORDER"); of a run's, what its shard says
 * are units. SELECT stands where the database changes.
 *
 * Thread: the stream's home; a block is made by another and handed over by message.
 * Ownership: blocks are the merge's from merge_add on.
 */
#ifndef SHOAL_CLUSTER_STREAM_MERGE_H
#define SHOAL_CLUSTER_STREAM_MERGE_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

/* Records of one number, as requests in RESP behind each other; one that runs in another database
 * than 0, or stands in a transaction behind others, has a first word that says so: "@DB" or
 * "@DB.ORDER". */
struct merge_run {
    uint64_t number;
    uint32_t records, parts; /* of the whole transaction: runs of this number */
    size_t bytes;
    bool together; /* it is a transaction's, or a part of one */
    bool marked;   /* some records have such a first word */
};

/* Records of a run that are one unit: bytes of the block's text. */
struct merge_unit {
    size_t at, bytes;
};

struct merge_block {
    const struct merge_run *runs;   /* their texts lie behind each other */
    const struct merge_unit *units; /* in order; each within one run that is not `together` */
    uint32_t runs_count, units_count;
    struct bytes text;
    /* The merge's: */
    uint32_t left; /* runs that have not left */
    uint32_t unit; /* the next one that leaves */
    void (*release)(struct merge_block *block);
};

typedef void merge_emit_fn(void *arg, struct bytes bytes);

struct merge_waiting;

struct merge {
    uint64_t next; /* the number that leaves next */
    int64_t db;    /* that the stream is in; -1: nobody knows */
    uint64_t commands;
    merge_emit_fn *emit;
    void *arg;
    struct merge_waiting *waiting; /* a ring, by number from `next` on */
    uint32_t head, cap;            /* a power of two */
    uint32_t runs_waiting;
};

void merge_init(struct merge *merge, uint64_t next, merge_emit_fn *emit, void *arg);
void merge_fini(struct merge *merge);

/* What can leave now has left when it returns. */
void merge_add(struct merge *merge, struct merge_block *block);
/* A number that nobody will answer. */
void merge_void(struct merge *merge, uint64_t number);
/* Whether everything up to this number has left. */
static inline bool merge_is_past(const struct merge *merge, uint64_t number) {
    return number < merge->next;
}
/* The stream goes on for somebody who does not know which database it is in. */
void merge_forget_db(struct merge *merge);

#endif
