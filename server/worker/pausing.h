/* SPDX-License-Identifier: BSD-3-Clause */
/* pausing: CLIENT PAUSE: commands wait at home before anything of them has happened, and keys that
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
#ifndef SHOAL_SERVER_WORKER_PAUSING_H
#define SHOAL_SERVER_WORKER_PAUSING_H

#include "server/call/scatter.h"
#include "server/worker/pause.h"

struct client;
struct worker;

/* The client, whose next command must not run now, waits till it may. */
void pause_client(struct client *client);

/* Begins a pause on all workers, or (PAUSE_NONE) ends it; then `done` at home. A new one takes over
 * the kind, and never ends the one there is before its time. */
void pause_set(struct exec *x, enum pause_kind kind, int64_t until_ms, scatter_done_fn *done);
/* Waits until nothing that the pause forbids is inside any more, or it is over; then `done`. */
void pause_wait(struct exec *x, scatter_done_fn *done);

/* By who has a view of all shards: writes stand still until that hold, and every other, is gone. It
 * is no barrier: what was let in before may be under way still (pause_is_quiet). */
void pause_hold(struct worker *parker, enum pause_hold hold);
void pause_let_go(struct worker *parker, enum pause_hold hold);
/* The map is another, and holds some slots or none: those who wait look again. */
void pause_slots(struct worker *worker, bool are);
/* The same: no write that was let in is. */
bool pause_is_quiet(const struct worker *parker);

/* In each turn: who need not wait any more goes on. Returns when that is to be looked at again,
 * monotonic ms. */
int64_t pause_turn(struct worker *worker, int64_t mono_ms);

#endif
