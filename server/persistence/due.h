/* SPDX-License-Identifier: BSD-3-Clause */
/* due: saves that nobody sends a command for: save points, what was scheduled, and the end of the
 * server; and the wait for the end of any.
 *
 * Thread: each function says.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_DUE_H
#define SHOAL_SERVER_PERSISTENCE_DUE_H

#include "server/call/scatter.h"

struct worker;

/* A command goes on with `done` when no save is under way; args as of a scatter. The client's home.
 */
void save_wait(struct exec *x, const void *args, size_t args_bytes, scatter_done_fn *done);
/* In `done`: how the latest ended. */
bool save_ended_well(const struct scatter_result *result);
/* The same until the log is fit (save_waits_for_log), or that was tried in vain. */
void save_wait_for_log(struct exec *x, const void *args, size_t args_bytes, scatter_done_fn *done);

/* Save points and what was scheduled. Worker 0, now and then. */
void save_cron(struct worker *worker);

/* FLUSHALL is under way: if there are save points, the disk is to hear of it soon, and no save of
 * what was there before is wanted. Worker 0. */
void save_flushed(struct worker *worker);

/* Whether all is saved before the server ends, if it is told to end with these words. Any worker.
 */
bool save_before_end(const struct worker *worker, bool save, bool nosave);
/* For a command that holds all locks: that, and the end. `force`: also if it fails. The client's
 * home. */
void save_and_shut_down(struct exec *x, bool force);
/* The same for a signal (shared_stop_signal). Worker 0; false: ask again later. */
bool save_for_signal(struct worker *worker);

#endif
