/* SPDX-License-Identifier: BSD-3-Clause */
/* busy: what is still done while a script runs for longer than busy-reply-threshold.
 *
 * The hook of the script makes turns in the middle of it, in which nothing but sockets, replies and
 * refusals has a place: clients are read and answered -BUSY, but for what ends the script and what
 * concerns their connection alone (CMD_ALLOW_BUSY). What other shards ask of the keys here is
 * refused as well, when it is one command; transactions wait. A script that has all shards in view
 * has parked the others (park.h), which do the same for their clients; those have to wait with what
 * touches a table, as WATCH does.
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_WORKER_BUSY_H
#define SHOAL_SERVER_WORKER_BUSY_H

#include <stdbool.h>

struct worker;

/* A turn in the middle of a script of this worker. Nothing happens if the script runs in a callback
 * of the runtime, whose turn is not over. */
void busy_turn(struct worker *worker);

/* In the turn of a worker that is parked: answers its clients if the script that it is parked for
 * runs for long. */
void busy_serve(struct worker *worker);

#endif
