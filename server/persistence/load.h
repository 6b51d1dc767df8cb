/* SPDX-License-Identifier: BSD-3-Clause */
/* load: the data of the last time, read while the server is up already and answers -LOADING
 * (commands wait for a small load, a second at most: pause.brief).
 *
 *     main         load_plan: what is there, and where it begins
 *     each worker  load_begin, then load_some in every turn; its share of the bases goes into its
 *                  own shard; news to worker 0 when that is done, or something is wrong
 *     worker 0     all are done, and what they say agrees with the manifest: the log (load_log.c),
 *                  of which each worker gets shares; then no loading any more, all are told; or the
 *                  process ends, with the reason
 *
 * What is there: a manifest of Shoal's own (persist/log/manifest.h) is the data. Else files of
 * Redis or Valkey are imported by worker 0: an RDB file (dbfilename), or an AOF. load_plan.c has
 * the order.
 *
 * All or nothing: what is wrong with any file ends the process, which says file and place.
 *
 * The same once more, of a server that runs (DEBUG LOADAOF): by a command that holds the locks of
 * all shards to the end, load_plan_again, then at each worker an empty shard and load_begin.
 *
 * Thread: load_plan and load_free: main's, while no worker runs; the rest the worker's own.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_LOAD_H
#define SHOAL_SERVER_PERSISTENCE_LOAD_H

#include <stdbool.h>
#include <stdint.h>

struct load;
struct message;
struct server;
struct text;
struct worker;

/* Looks at what is there. False, and why: the server must not start. server->load is NULL if there
 * is nothing to do for workers, and when they are all done with it. *ret_said: for the log, or
 * empty. */
bool load_plan(struct server *server, struct text *ret_said, struct text *why);
void load_free(struct load *load);
/* By who has a view of all shards: the data that the log is of. It ends there, and begins again
 * when all is loaded. */
enum load_planned { LOAD_AGAIN, LOAD_NO_DATA, LOAD_REFUSED };
enum load_planned load_plan_again(struct worker *parker, struct text *why);
/* The same with an RDB file, which need not be what is on the disk: if it is not sound nothing is
 * there, and *ret_lost is set. NULL: it is there already, and only the log begins anew. */
void load_plan_file(struct worker *parker, const char *path, bool *ret_lost);
/* After the workers: why the data could not be loaded, or NULL. */
const char *load_failure(const struct load *load);

/* Before a worker's first turn; nothing happens if there is nothing to load. */
void load_begin(struct worker *worker);
/* A slice, while worker->load is not NULL. Returns when it wants the next, wall ms. */
int64_t load_some(struct worker *worker);
/* Worker 0: the process is to end. True: the others may be told so; what was begun in their shards
 * is dropped. False: ask again in the next turn. */
bool load_stop(struct worker *worker);
/* Its runtime has gone. */
void load_end(struct worker *worker);

/* Messages. */
void load_news_arrived(struct worker *worker, struct message *message);
void load_alone_granted(struct worker *worker, struct message *message);
void load_share_arrived(struct worker *worker, struct message *message);
void load_share_home(struct worker *worker, struct message *message);
void load_over_arrived(struct worker *worker, struct message *message);
void load_left_arrived(struct worker *worker, struct message *message);

#endif
