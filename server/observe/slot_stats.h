/* SPDX-License-Identifier: BSD-3-Clause */
/* slot_stats: what the commands on each slot of a cluster's node took: time, and bytes that came
 * and went (CLUSTER SLOT-STATS, while `cluster-slot-stats-enabled`).
 *
 * A worker counts what it ran, and who asks adds up what all have. A command counts for its slot
 * when it is over: the bytes that it has as an array of words, the bytes of its reply, and its own
 * time, which while this counts is taken of each command by itself. What a script calls counts as
 * the script, if that uses keys of one slot only; MULTI and EXEC count for the slot of what they
 * enclose. Messages of shard channels, and what is sent to replicas, are bytes that went.
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_OBSERVE_SLOT_STATS_H
#define SHOAL_SERVER_OBSERVE_SLOT_STATS_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct call;
struct command_ref;
struct map;
struct worker;

struct slot_stat {
    uint64_t ticks; /* of rt_ticks */
    uint64_t in_bytes, out_bytes;
};

struct slot_stats {
    bool counts;          /* now: nobody tells it anything else */
    struct slot_stat *of; /* SLOTS; NULL: it never has. Kept while it does not */
};

void slot_stats_free(struct slot_stats *stats);
size_t slot_stats_memory(const struct slot_stats *stats);
/* Counts from now on or does not, as the configuration says. */
void slot_stats_configure(struct worker *worker);
/* CONFIG RESETSTAT. */
void slot_stats_reset(struct slot_stats *stats);
/* What is counted of slots that this node has got, or lost, since is forgotten. */
void slot_stats_map_changed(struct slot_stats *stats, const struct map *before,
                            const struct map *map);

/* The slot that these words are about, or slot_no (call/slot_check.h). */
int slot_stats_slot(const struct call *what);

/* A command is over. `manner`: exec_manner. `script_slot`: of a script, as in struct caller. */
void slot_stats_called(struct worker *worker, const struct call *what, uint16_t manner,
                       uint16_t script_slot, uint64_t ticks, size_t reply_bytes);
/* The same of one whose words will not be there when it is over: what is to be remembered. */
struct slot_stats_seen {
    bool counts; /* it is about a slot */
    uint16_t slot;
    uint16_t manner;
    size_t in_bytes;
};
void slot_stats_see(struct slot_stats_seen *seen, const struct command_ref *ref,
                    const struct bytes *argv, uint32_t argc, uint16_t manner);
void slot_stats_seen_is_over(struct worker *worker, const struct slot_stats_seen *seen,
                             uint64_t ticks, size_t reply_bytes);
/* An EXEC is, of `count` commands that are told one by one; `slot` of all their keys, or slot_no.
 * `ticks`: its own. */
void slot_stats_exec(struct worker *worker, int slot, uint32_t count, uint64_t ticks,
                     uint16_t manner);
/* Somebody is told something on account of the slot. */
void slot_stats_told(struct worker *worker, uint16_t slot, size_t out_bytes);
/* Replicas are sent these words. */
void slot_stats_sent(struct worker *worker, const struct bytes *argv, uint32_t argc);

#endif
