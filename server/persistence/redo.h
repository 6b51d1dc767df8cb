/* SPDX-License-Identifier: BSD-3-Clause */
/* redo: what successive numbers of a log have is done again, by all workers side by side.
 *
 *     worker 0: redo_take numbers, until it is full;  redo_begin;  redo_step in each turn
 *
 *     READ     each worker has some of the numbers: unpacks their blocks, parses the records, and
 *              finds the owner of each one's keys
 *     RUN      each worker runs what is of its own shard, in the order of the numbers, whoever has
 *              read it
 *     ALONE    what is about more than one shard (FLUSHALL; keys that one shard had when it was
 *              logged, and several have now): worker 0 runs it with the keys of all shards at hand
 *              (alone.h), when all that stands before it has run and nothing behind it; then RUN
 *              again. If there is much of that, all of it runs so, one after the other.
 *
 * What two records on the same key do is done in their order, so the end is the same as if one
 * thread had done all of it.
 *
 * Thread: worker 0's; redo_share_some the worker's whose share it is.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_REDO_H
#define SHOAL_SERVER_PERSISTENCE_REDO_H

#include "persist/log/log_index.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct message;
struct redo;
struct redo_share;
struct text;
struct worker;

/* A file of which something is in memory. */
struct redo_file {
    struct log_segment segment;
    struct text window; /* of the file, from window_at on */
    uint64_t window_at;
};

/* The files are the caller's, and may be read into until redo_begin and after its end. */
struct redo *redo_new(struct worker *worker, const struct redo_file *files, uint32_t files_count);
void redo_free(struct redo *redo);

/* All places of one number, which are in the windows; they stay the caller's to the end. False: it
 * is full; never if it has nothing yet. */
bool redo_take(struct redo *redo, const struct log_place *places, size_t count);
void redo_begin(struct redo *redo);

enum redo_step {
    REDO_GOES_ON, /* at once */
    REDO_WAITS,   /* for others, who will send a message */
    REDO_WANTS_ALL,
    REDO_DONE,
    REDO_FAILED,
};
/* Until `end` (rt_ticks). */
enum redo_step redo_step(struct redo *redo, uint64_t end);
/* The keys of all shards are at hand, as wanted. */
void redo_alone(struct redo *redo, uint64_t end);
/* What is wrong, and of which place's number. */
const struct log_place *redo_failed(const struct redo *redo, const char **ret_why);
/* How many have been done, those included that another part had as well. */
uint64_t redo_records(const struct redo *redo);

/* ---- Other workers ---- */

/* The message has arrived that asks a worker to do its share; it is to go on with that until it is
 * over. */
struct redo_share *redo_share_of(struct message *message);
/* Until `end`. True: it is over, and worker 0 was told. */
bool redo_share_some(struct redo_share *share, uint64_t end);
/* Back at worker 0. */
void redo_share_home(struct message *message);

#endif
