/* SPDX-License-Identifier: BSD-3-Clause */
/* pause: what CLIENT PAUSE, a hand-over or the end of the server let in on one worker, and what of
 * it has not ended (pausing.h).
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_WORKER_PAUSE_H
#define SHOAL_SERVER_WORKER_PAUSE_H

#include <stdbool.h>
#include <stdint.h>

enum pause_kind {
    PAUSE_NONE,
    PAUSE_SLOTS, /* nothing is written to slots that are about to leave (map_holds) */
    PAUSE_WRITE,
    PAUSE_ALL
};

/* For what the server lets writes wait, besides CLIENT PAUSE: bits. */
enum pause_hold { PAUSE_FOR_FAILOVER = 1, PAUSE_FOR_SHUTDOWN = 2 };

struct pause {
    enum pause_kind kind;  /* the strictest of all that is */
    enum pause_kind asked; /* CLIENT PAUSE: */
    int64_t until_ms;      /* monotonic: a clock that is set back must not make it longer */
    uint64_t number;       /* of the last PAUSE or UNPAUSE, as worker 0 counts them */
    unsigned holds;
    bool slots;  /* the map holds some */
    bool brief;  /* a small load has just begun: what -LOADING would refuse waits for its end */
    bool let_go; /* those who wait are to look again */
    /* What was let in and has not ended: all, and those that may write. */
    unsigned inside, inside_writing;
};

struct command_ref;

/* CLIENT and its subcommands: somebody must be able to end a pause. */
bool pause_passes(const struct command_ref *ref);
/* Writes of all slots stand still, or more. */
bool pause_is_on(const struct pause *pause, int64_t mono_ms);
/* Whether a command with these flags has to wait now. */
bool pause_forbids(const struct pause *pause, int64_t mono_ms, unsigned command_flags);
/* A command, or several at once with the flags of all, begins to work where its home does not see
 * it; and it has ended. */
void pause_enter(struct pause *pause, unsigned command_flags);
void pause_leave(struct pause *pause, unsigned command_flags);

#endif
