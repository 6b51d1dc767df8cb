/* SPDX-License-Identifier: BSD-3-Clause */
/* aside: an RDB file is read beside the keys that are served (repl-diskless-load swapdb), into
 * databases that no command sees (keyspace_aside), until it is known to be sound; then these take
 * the place of the others (load_aside), or are dropped.
 *
 *     worker 0     aside_begin
 *     each worker  reads the whole file, a slice in each turn, and keeps what its shard owns:
 *                  nobody is parked, and nobody waits for anybody
 *     worker 0     aside_look says READ; load_aside, while it holds all locks; or not
 *     worker 0     aside_end; each worker drops what it still has; aside_is_over; aside_free
 *
 * Why each reads all of it: values are built where they live, without messages or a copy, and the
 * shards go on serving. It costs the reading once per shard.
 *
 * Thread: worker 0, but for what is said.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_ASIDE_H
#define SHOAL_SERVER_PERSISTENCE_ASIDE_H

#include <stdbool.h>
#include <stdint.h>

struct aside;
struct aside_part;
struct libraries;
struct message;
struct worker;

/* `path` stays until it is over. */
struct aside *aside_begin(struct worker *home, const char *path);
enum aside_state {
    ASIDE_READS,
    ASIDE_READ,
    ASIDE_MOVED, /* slots have gone to other shards meanwhile: it is worth nothing */
    ASIDE_FAILED
};
/* *ret_why: of ASIDE_FAILED. */
enum aside_state aside_look(const struct aside *aside, const char **ret_why);
/* Its libraries of functions, which become those of who takes the keys. */
struct libraries *aside_libraries(struct aside *aside);
uint64_t aside_keys(const struct aside *aside);
/* No more of it is read. */
void aside_end(struct aside *aside);
bool aside_is_over(const struct aside *aside);
/* When it is over. */
void aside_free(struct aside *aside);
/* The server has ended while it was about to take the data's place: all was read by then, and no
 * worker has a turn any more. */
void aside_abandon(struct aside *aside);

/* Any worker: a slice, while worker->aside is not NULL. Returns when it wants the next, wall ms. */
int64_t aside_some(struct worker *worker);

/* Messages. */
void aside_task_arrived(struct worker *worker, struct message *message);
void aside_task_home(struct worker *worker, struct message *message);

#endif
