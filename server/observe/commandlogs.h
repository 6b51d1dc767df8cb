/* SPDX-License-Identifier: BSD-3-Clause */
/* commandlogs: what one worker has of the command logs (commandlog.h).
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_OBSERVE_COMMANDLOGS_H
#define SHOAL_SERVER_OBSERVE_COMMANDLOGS_H

#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum commandlog_kind {
    COMMANDLOG_SLOW,
    COMMANDLOG_LARGE_REQUEST,
    COMMANDLOG_LARGE_REPLY,
    COMMANDLOG_KINDS,
};

struct commandlogs {
    struct list entries[COMMANDLOG_KINDS]; /* of this worker's clients, oldest first */
    size_t bytes;                          /* that all of those take */
    int64_t from[COMMANDLOG_KINDS]; /* in us or bytes: what is so much is logged; -1: nothing */
    uint64_t slow_ticks;            /* the same of the first, in ticks, or of what is watched
                                       (latency.h), if that is less; UINT64_MAX: nothing */
    size_t request_bytes;           /* and of the others; SIZE_MAX: nothing */
    size_t reply_bytes;
    bool times_each; /* brief calls too: a few of them together might reach what is logged */
};

#endif
