/* SPDX-License-Identifier: BSD-3-Clause */
/* wal_start: the log at the start: what its segments hold is done again, and if there is to be a
 * log all shards go over to new segments. Between the loading of a snapshot and the first command.
 *
 * Thread: worker 0's, while no worker runs commands of clients.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_WAL_START_H
#define SHOAL_SERVER_PERSISTENCE_WAL_START_H

#include "server/persistence/recover.h"
#include "server/persistence/rotate.h"

struct wal_start;

struct wal_start_options {
    struct worker *worker;
    struct data *data;
    const struct manifest *manifest; /* as it was found; may be empty */
    const char *dir, *dir_name;
    bool logs;     /* appendonly yes */
    bool again;    /* the log of this life is among it */
    bool imported; /* what is in memory is no data of ours yet: a snapshot of it comes first */
    void (*progress)(void *arg, uint64_t bytes);
    /* NULL: it is done, and `report` says what was found, or is empty; else why not. */
    void (*done)(void *arg, const char *failure, const char *report);
    void *arg;
};

struct wal_start *wal_start_begin(const struct wal_start_options *options);
/* In each turn; until `end` (rt_ticks). If it wants the keys of all shards (alone.h),
 * wal_start_alone does something with them. */
enum recover_step wal_start_step(struct wal_start *start, uint64_t end);
void wal_start_alone(struct wal_start *start, uint64_t end);
void wal_start_free(struct wal_start *start); /* after `done` */

#endif
