/* SPDX-License-Identifier: BSD-3-Clause */
/* kill_points: named moments at which a test has the process die as by `kill -9`, to see that the
 * start behind it finds everything that was promised.
 *
 * There are two kinds. Those below are passed where the code says so. The others are operations on
 * files, of each kind on each class of file (`segment.sync.before`): the runtime tells of all it is
 * asked for (rt_file_watch), so none needs a line anywhere. DEBUG KILL-POINT, or SHOAL_KILL_POINT
 * in the environment for points of the start, arms one of them; it kills when it is passed for the
 * n-th time.
 *
 * Crosses threads: any arms, and any passes.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_KILL_POINTS_H
#define SHOAL_SERVER_PERSISTENCE_KILL_POINTS_H

#include "base/bytes.h"
#include "base/check.h"
#include "base/text.h"
#include "net/rt_file.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum kill_point {
    KILL_NOWHERE,
    KILL_CUT_BEGINS,      /* of a snapshot: all workers are parked */
    KILL_CUT_SHARD,       /* one shard's log has gone over to its next segment */
    KILL_CUT_TAKEN,       /* the walks have begun, all are parked still */
    KILL_SAVE_WALKED,     /* a shard has shown all of its keys */
    KILL_SAVE_WRITTEN,    /* all files of the snapshot are on the disk, nothing names them */
    KILL_SAVE_JOINED,     /* the RDB file is whole, under its temporary name */
    KILL_SAVE_TELLS,      /* it is the data; the shards do not know yet */
    KILL_SAVE_OVER,       /* all is removed and told */
    KILL_LOG_SEALED,      /* a block has its number, its write was not asked for */
    KILL_LOG_WRITTEN,     /* it is written, nobody else knows */
    KILL_LOG_SYNCED,      /* everysec */
    KILL_LOG_PREPARED,    /* a shard has its next segment, no manifest names it */
    KILL_LOG_NAMED,       /* it does, for all shards */
    KILL_LOG_RETIRED,     /* a segment was closed for good */
    KILL_LOG_PROMISES,    /* a shard's log, begun at run time, is one from now on */
    KILL_LOG_STOPS,       /* appendonly no: all are parked */
    KILL_GATE_OPENS,      /* a reply is safe, and held back still */
    KILL_GATE_SENT,       /* it has left */
    KILL_TXN_DRAWN,       /* a transaction has its number, no shard has run a part */
    KILL_TXN_PART,        /* one shard has its part among its records */
    KILL_TXN_ENDS,        /* all are home, and the reply is made */
    KILL_START_PLANNED,   /* what there is was looked at */
    KILL_START_LOADED,    /* the snapshot is in memory */
    KILL_START_JUDGED,    /* all segments were read, and which numbers count is known */
    KILL_START_APPLIED,   /* they ran */
    KILL_START_RECOVERED, /* and were synced */
    KILL_START_IMPORTED,  /* a file of others was saved as a snapshot */
    KILL_START_MADE,      /* new segments are named */
    KILL_START_CUT,       /* and written to */
    KILL_START_MORE,      /* the ones behind them are named */
    KILL_START_OVER,      /* before the first client */
    KILL_FILES,           /* from here on: operations on files */
};

struct kill_points {
    _Atomic unsigned armed_point; /* KILL_NOWHERE: none */
    _Atomic unsigned passes_left; /* how often it is passed until it kills */
    struct bytes dir_name;        /* appenddirname */
};

/* What the worker's thread that is here has done, or is about to do. */
void kill_points_pass(struct kill_points *points, unsigned point);
static inline void kill_point(struct kill_points *points, enum kill_point point) {
    if (UNLIKELY(atomic_load_explicit(&points->armed_point, memory_order_relaxed) == point)) {
        kill_points_pass(points, point);
    }
}

/* `name` is that of a point, with a count behind it or not: "segment.sync.before 3". False: there
 * is no such point, or it is no count. */
bool kill_points_arm(struct kill_points *points, struct bytes name, struct bytes count);
void kill_points_disarm(struct kill_points *points);
/* Appends the name of a point; false: there is none of that number and above. From 1 on. */
bool kill_points_name(unsigned point, struct text *to);
/* All operations on files of that runtime pass by. */
void kill_points_watch(struct kill_points *points, struct rt *rt);

#endif
