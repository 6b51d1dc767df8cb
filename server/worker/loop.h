/* SPDX-License-Identifier: BSD-3-Clause */
/* loop: the life of a worker, from its making over its turns to its end. Above everything that
 * works in a turn.
 *
 * Thread: the worker's own, but for worker_runtimes.
 */
#ifndef SHOAL_SERVER_WORKER_LOOP_H
#define SHOAL_SERVER_WORKER_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct config;
struct message;
struct rt;
struct server;
struct worker;

/* Makes the runtimes of all workers, on one backend. 0 or -errno; *ret_reason as rt_new says. */
int worker_runtimes(const struct server *server, struct rt **ret_rts, char **ret_reason);
/* Makes a worker on the calling thread, which must be the one that runs it, and puts it among the
 * server's. It takes over its runtime. */
struct worker *worker_new(struct server *server, unsigned id, const struct config *config,
                          struct rt *rt);
/* Leaves it to the end of the process if connections did not end in time. */
void worker_free(struct worker *worker);
/* The loop; returns when the worker was told to stop. */
void worker_run(struct worker *worker);
/* The same for who gives the workers their turns himself: first worker_start, then these four over
 * and over. Other threads may do anything between two parts, so a simulator lets them.
 *   look     whether it looks for messages for a while first, look_ns at most, and announces it
 *   rest     ends that; says whether it may sleep, and announces it: how long the turn may wait,
 * ns. A runtime that waits itself has it said by rt_turn, at the last moment (rt_on_sleep) turn
 * waits as long as `rest` said, and works; false: the worker has ended publish  makes its messages
 * visible to others, and works off what it may for who sleeps */
void worker_start(struct worker *worker);
bool worker_look(struct worker *worker);
int64_t worker_rest(struct worker *worker);
bool worker_turn(struct worker *worker);
void worker_publish(struct worker *worker);

/* Takes over a new snapshot: the worker's own settings follow it. Snapshots have numbers. Worker 0,
 * who makes them: gives it the next one and returns that. */
uint64_t worker_next_config(struct worker *worker, const struct config *config);
/* All others: does nothing if a later one came first. */
void worker_take_config(struct worker *worker, const struct config *config, uint64_t number);
/* A message: the worker ends. */
void worker_stop_arrived(struct worker *worker, struct message *message);

#endif
