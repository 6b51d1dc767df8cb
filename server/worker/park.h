/* SPDX-License-Identifier: BSD-3-Clause */
/* park: one thread works on the keys of all shards of its node, while the others stand still at a
 * boundary between two commands.
 *
 * Parked is *soft*: the worker's thread goes on turning, but touches no table: no command, no
 * prefetch, no wheel, no job, no background work. What its clients send is received and kept,
 * replies that are made are sent; messages but those that bring replies wait, in order. It answers
 * that it is parked, and the parker may then look into its shard through a *view*: the answer and
 * the message that ends it hand the shard's memory over and back.
 *
 *     parker's home                       keeper, the node's first        every other worker
 *
 *     park_all: a ticket, please    ----> in line; its turn: the token
 *     ask all to park               <----
 *                                   ------------------------------------> a job of its turn: parked
 *     all are: the view is open,    <------------------------------------
 *     run(), the view is shut
 *     go on                         ------------------------------------> what waited comes first
 *                                   ----> the token is free: the next
 *                                         in line
 *
 * Two that park at once: the token goes by order of arrival at the keeper, and only its holder asks
 * anybody to park. Who waits for it holds nothing but what its transaction has locked, and may be
 * parked itself. The next holder's wish reaches a worker that has not heard yet that it may go on
 * behind that: it waits with the messages until then.
 *
 * What a transaction has done on one shard only must not be seen, so the parker holds the locks of
 * all keys (txn_hold_all; SORT: as it is planned). Locks come first, then the token: whoever has it
 * waits for nobody who might want it.
 *
 * Thread: park_all at the client's home; the rest on the worker's own.
 */
#ifndef SHOAL_SERVER_WORKER_PARK_H
#define SHOAL_SERVER_WORKER_PARK_H

#include "server/call/scatter.h"
#include "shard/mailbox.h"

#include <stdbool.h>
#include <stdint.h>

struct node;
struct shard;
struct worker;

/* ---- The parker ---- */

/* The shards of all workers of a node, while they are parked. */
struct view {
    const struct node *node;
    bool open;
    struct shard *(*shard)(const struct view *view, uint16_t slot);
};
/* The shard that owns a slot. */
static inline struct shard *view_shard(const struct view *view, uint16_t slot) {
    return view->shard(view, slot);
}

/* Runs at the client's home, with the view of everything, and writes x->reply. It must not go on
 * elsewhere. */
typedef void park_run_fn(struct exec *x, struct view *view, const void *args);

/* For a command that holds all locks. `args` are copied. x->goes_on is set, as by scatter_all. */
void park_all(struct exec *x, park_run_fn *run, const void *args, size_t args_bytes);

/* ---- The parked ---- */

/* Takes a message that has to wait until the worker goes on (parked.h); false: it is to be worked
 * off now. */
bool park_keeps(struct worker *worker, struct message *message);
/* By who has parked all others of its node: they go on. */
void park_tell_over(struct worker *home);
/* The parker's word that it may. */
void park_over_arrived(struct worker *worker, struct message *message);

#endif
