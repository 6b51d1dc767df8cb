/* SPDX-License-Identifier: BSD-3-Clause */
/* room: whether there is memory for what comes next: maxmemory, and what goes to make room.
 *
 * All workers share one budget. Each takes *leases* of it before it uses memory, and may use what
 * it has taken: so together they never hold more than maxmemory, and none asks another before a
 * write. A worker that has used up its lease takes more; when nothing is left it evicts, or
 * refuses. A command may run over what it found, as in Valkey: by its own size, on each shard.
 *
 *     lease not used up -> go on
 *     something left    -> take some more of it: large pieces while there is much, small ones then
 *     another shard has -> ask it for room, and take as much over the limit, within a tolerance
 *       better candidates    (below 1% and 1 MB): it gives that back when it has evicted
 *     garbage           -> free it, a slice at a time
 *     the policy evicts -> evict here
 *     nothing here      -> go on with what others give, a command a turn while they have not
 *     nothing anywhere  -> commands that may need memory are refused
 *
 * So the keys that go are the best of all shards, more or less, and leases wander to the shards
 * whose keys are used more.
 *
 * Thread: the worker's own.
 */
#ifndef SHOAL_SERVER_WORKER_ROOM_H
#define SHOAL_SERVER_WORKER_ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct stock;
struct worker;

struct room {
    uint64_t limit;        /* maxmemory; 0: there is none, and nothing else counts */
    size_t lease;          /* what this worker may use of it */
    size_t beside;         /* what it used beside its keys, as of its last turn */
    bool frugal;           /* requests and replies begin in small buffers: room_turn */
    size_t kept_max;       /* of each kind of thing that is kept for use again (pools.h), bytes */
    bool over;             /* as it last looked it used more than that, */
    int64_t over_since_ms; /* monotonic, */
    int64_t over_ms;       /* and did so for so long before */
};

/* After the configuration of the worker changed. */
void room_configure(struct worker *worker);

/* Whether another one of so many bytes is to be kept for use again: no more than `most`, and where
 * there is a limit a small part of that. */
bool room_may_keep(const struct worker *worker, const struct stock *stock, unsigned most,
                   size_t bytes);

/* Before a command, if there is a limit: makes room. False: there is none, and there is nothing
 * that could go. */
bool room_make(struct worker *worker);
/* The same without evicting anything: keys may be locked for what is about to run. */
bool room_is_there(struct worker *worker);
/* For what needs memory at its client's home, whichever shard is short of it. */
bool room_is_anywhere(struct worker *worker); /* for commands: worker_has_room */

/* Once a turn, if there is a limit: gives room that others need more. Returns when it must be
 * called next: wall ms, INT64_MAX: as ever. */
int64_t room_turn(struct worker *worker, int64_t now_ms);
/* Now and then, while there is none: what it uses beside its keys. */
void room_note(struct worker *worker, size_t beside);

#endif
