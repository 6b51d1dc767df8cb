/* SPDX-License-Identifier: BSD-3-Clause */
/* scatter: runs a function on every worker's thread for one client, then another at home with all
 * results.
 *
 * What keyless global commands (DBSIZE, KEYS, FLUSHALL, INFO, CONFIG SET, CLIENT LIST ...) are made
 * of. The client waits: nothing of it runs until `done` has written its reply. The parts are
 * not one moment in time, unless a transaction holds the locks of all shards meanwhile (txn.h).
 *
 * Thread: scatter_* are called at the client's home; part runs on each worker; done runs at home,
 * also if the client is gone by then, so it can free what the parts made: then `x->client` is NULL
 * and the reply leads nowhere, but inside a transaction, which goes on to its end with the client.
 */
#ifndef SHOAL_SERVER_CALL_SCATTER_H
#define SHOAL_SERVER_CALL_SCATTER_H

#include "server/call/command.h"

struct call_outcome;
struct client;
struct reply;
struct worker;

/* One worker's part. `args` is the copy made at the start, shared by all parts: read only. `part`
 * is this worker's zeroed result memory. Returns false to be called again in a later turn (a long
 * job in slices, its state in `part`); true when it is done. */
typedef bool scatter_part_fn(struct worker *worker, const void *args, void *part);

/* Before a part returns false: there is nothing to do for it until somebody calls scatter_wake for
 * its worker. */
void scatter_sleep(struct worker *worker);
void scatter_wake(struct worker *worker);

struct scatter;

struct scatter_result {
    struct scatter *scatter;
    bool moved; /* slots went from shard to shard meanwhile: the parts may not have seen all keys */
    const void *args;
    void **parts; /* by position: all workers in order, or the one that was named */
    unsigned parts_count;
};

/* Writes the reply (x->reply) from the parts. x->argv is NULL by now: what is needed must be in
 * args. May start another scatter for the same client (SCAN that goes on to the next shard) instead
 * of writing a reply; also for a client that has gone, when what was begun must be ended. */
typedef void scatter_done_fn(struct exec *x, const struct scatter_result *result);

/* With all shards in view (x->caller->view) all of it runs at once: the reply is written then. */
void scatter_all(struct exec *x, scatter_part_fn *part, size_t part_bytes, const void *args,
                 size_t args_bytes, scatter_done_fn *done);
void scatter_one(struct exec *x, unsigned worker, scatter_part_fn *part, size_t part_bytes,
                 const void *args, size_t args_bytes, scatter_done_fn *done);

/* One that takes its time: who asks is shown as blocked, and counted. */
void scatter_show_blocked(struct exec *x);

/* The part at the owner of a slot, wherever that is by the time it begins. */
void scatter_slot(struct exec *x, uint16_t slot, scatter_part_fn *part, size_t part_bytes,
                  const void *args, size_t args_bytes, scatter_done_fn *done);
/* In `done`, once what the parts have made is freed: all of it once more, instead of a reply. */
void scatter_again(struct exec *x, const struct scatter_result *result);

/* Who takes what a client's scatters answer, instead of the client, for as long as client->parent
 * names it: the transaction that its commands are part of. */
struct scatter_parent {
    struct reply (*reply)(struct client *client); /* where the answer is written */
    void (*done)(struct client *client, const struct call_outcome *outcome);
};

/* A `done` for commands whose parts have no result: OK. */
scatter_done_fn scatter_ok;

#endif
