/* SPDX-License-Identifier: BSD-3-Clause */
/* load_again: what is on the disk takes the place of what is in memory, by all that a start does,
 * of a server that runs: DEBUG LOADAOF.
 *
 *     the command holds the locks of all shards, to its end
 *     nothing of logs and files is under way        else it waits for that
 *     in a view of all shards: the log ends; from now on -LOADING
 *     each worker: its shard is emptied, and load_begin
 *     all is loaded, and the log goes on (load.h, wal_start.h)
 *
 * Commands that have come before wait for the locks meanwhile, and find what was loaded.
 *
 * Thread: the client's home.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_LOAD_AGAIN_H
#define SHOAL_SERVER_PERSISTENCE_LOAD_AGAIN_H

#include <stdbool.h>

struct exec;

/* For a command that holds all locks: it is answered with OK, or `error` (which stays), and the log
 * says why. */
void load_again(struct exec *x, const char *error);

/* The same with an RDB file from elsewhere. `done`: all of it is there, or nothing is. */
typedef void load_file_done_fn(struct exec *x, bool good);
void load_file(struct exec *x, const char *path, load_file_done_fn *done);
/* With what was read of one already (aside.h): all is there at once, and nobody hears -LOADING but
 * while the log begins anew, if there is one. */
struct aside;
void load_aside(struct exec *x, struct aside *aside, load_file_done_fn *done);

#endif
