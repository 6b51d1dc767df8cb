/* SPDX-License-Identifier: BSD-3-Clause */
/* farewell: before the server ends its replicas get what it has done (shutdown-timeout).
 *
 *     writes stand still (worker/pausing.h), in a view of all shards; replicas are asked how far
 *     they are                          until all have everything, or the time is over
 *     all is saved, if it is to be, and the server ends
 *
 * In a cluster a replica that has everything may be told to take over (SHUTDOWN FAILOVER): that is
 * the last word of the stream, and waited for like the rest.
 *
 * A replica of which there are none is held up where nothing of the stream is on its way, so that
 * the save says how far it is (resume.h).
 *
 * SHUTDOWN ABORT, or a save that fails, ends it before: writes go on.
 *
 * Thread: worker 0, but for what is said.
 */
#ifndef SHOAL_SERVER_REPLICATION_FAREWELL_H
#define SHOAL_SERVER_REPLICATION_FAREWELL_H

#include <stdbool.h>
#include <stdint.h>

struct farewell;
struct worker;

struct farewell *farewell_new(struct worker *home);
void farewell_free(struct farewell *farewell);

struct farewell_wish {
    bool saves, force; /* before the end; also if that fails */
    bool failover;
    bool now; /* nobody is waited for but who takes over, and not for long */
};
/* There are replicas, and they are to be waited for; or one is to take over; or it is one, and what
 * it saves is to stand at a place in the stream. Any worker. */
bool farewell_is_needed(const struct worker *worker, const struct farewell_wish *wish);
/* SHUTDOWN SAFE: nothing of it is to begin, as this node has slots; and what is said then. */
bool farewell_is_unsafe(const struct worker *worker, const struct farewell_wish *wish);
void farewell_log_unsafe(struct worker *worker);
/* One that has begun goes on as it is. Returns what farewell_is_over wants. */
uint64_t farewell_begin(struct farewell *farewell, const struct farewell_wish *wish);
bool farewell_is_under_way(const struct farewell *farewell);
/* For so long at most replicas are waited for still; -1: they are not. */
int64_t farewell_left_ms(const struct farewell *farewell);
/* False: there is none, or it is too late. */
bool farewell_abort(struct farewell *farewell);
/* The server does not end after all (*ret_failed); or it has, and nobody is left. Until then
 * (scatter_sleep) who asked for it waits. */
bool farewell_is_over(const struct farewell *farewell, uint64_t began, bool *ret_failed);

/* In each turn. */
void farewell_turn(struct farewell *farewell);

#endif
