/* SPDX-License-Identifier: BSD-3-Clause */
/* pause: CLIENT PAUSE: commands wait at home before anything of them has happened, and keys that
 * run out stay, hidden.
 *
 * It is a barrier: when it is answered, nothing that it forbids takes effect any more on any shard.
 * First worker 0 decides what becomes of it and of the pause there may be. Then every worker lets
 * nothing in that is forbidden. Then each waits until what it had let in before has ended: batches
 * on their way or behind a lock, transactions in whatever phase, commands that run on all workers.
 * Those need nothing of who waits, which holds no locks by then, so they do end.
 *
 * Thread: each function on the worker's own; those with an exec at the client's home.
 */
#ifndef SHOAL_SERVER_WORKER_PAUSE_H
#define SHOAL_SERVER_WORKER_PAUSE_H

#include "server/call/scatter.h"

#include <stdbool.h>
#include <stdint.h>

enum pause_kind { PAUSE_NONE, PAUSE_WRITE, PAUSE_ALL };

struct pause {
    enum pause_kind kind;
    int64_t until_ms; /* monotonic: a clock that is set back must not make it longer */
    uint64_t number;  /* of the last PAUSE or UNPAUSE, as worker 0 counts them */
    /* What was let in and has not ended: all, and those that may write. */
    unsigned inside, inside_writing;
};

struct client;
struct command_ref;
struct worker;

/* CLIENT and its subcommands: somebody must be able to end a pause. */
bool pause_passes(const struct command_ref *ref);
/* Whether a command with these flags has to wait now. */
bool pause_forbids(const struct worker *worker, unsigned command_flags);
/* The client, whose next command must not run now, waits till it may. */
void pause_client(struct client *client);
/* A command, or several at once with the flags of all, begins to work where its home does not see
 * it; and it has ended. */
void pause_enter(struct worker *worker, unsigned command_flags);
void pause_leave(struct worker *worker, unsigned command_flags);

/* Begins a pause on all workers, or (PAUSE_NONE) ends it; then `done` at home. A new one takes over
 * the kind, and never ends the one there is before its time. */
void pause_set(struct exec *x, enum pause_kind kind, int64_t until_ms, scatter_done_fn *done);
/* Waits until nothing that the pause forbids is inside any more, or it is over; then `done`. */
void pause_wait(struct exec *x, scatter_done_fn *done);

/* Ends it on this worker: those who waited go on. */
void pause_end(struct worker *worker);

#endif
