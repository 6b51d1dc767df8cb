/* SPDX-License-Identifier: BSD-3-Clause */
/* txn: one operation on keys of several shards, or many commands as one: MSET over two shards,
 * EXEC, FLUSHALL.
 *
 * The client's home coordinates: it never blocks, the transaction is a continuation that goes on
 * when its parts come home, and the client waits meanwhile (client/wait.h). Locks are
 * taken on every shard that is named, and on no other; they are held until all is done, so
 * everybody else sees all of it or nothing (shard/locks.h).
 *
 * A client may go at any time: its transaction runs to the end, nothing stays locked.
 *
 * Thread: the client's home.
 */
#ifndef SHOAL_SERVER_TXN_TXN_H
#define SHOAL_SERVER_TXN_TXN_H

#include "server/call/command.h"

struct call_outcome;
struct client;
struct keyset;
struct command_ref;
struct large;
struct lock_request;
struct message;
struct multi_queue;
struct reply;
struct request;
struct rt_buffer;
struct txn;
struct view;
struct worker;

/* Begins a transaction of commands whose keys lie on several shards, or that concern all of them:
 * those that follow each other in a pipeline share its hops. `input` holds the words of their
 * requests until the end. Nothing happens before txn_start; the replies are written when all is
 * done, as if each command had been alone. `large`: values of the request that its shards may take
 * over, or NULL; it has to last till txn_start is over. */
struct txn *txn_open(struct client *client, struct rt_buffer *input);
void txn_add(struct txn *txn, const struct command_ref *ref, const struct request *request,
             const struct keyset *keys, struct large *large);
void txn_start(struct txn *txn);
/* As many as share one, at most. */
#define TXN_COMMANDS_MAX 16
uint32_t txn_count(const struct txn *txn);

/* EXEC, from inside its run function: takes over the queue and frees it when done. Locks the keys
 * of all commands and those the client watches, looks whether a watched one was touched, runs all,
 * and writes the array of their replies, or null: at once, or when it is done. */
void txn_exec(struct exec *x, struct multi_queue *queue);
/* The queue that the client's EXEC is running, and how many of its commands came before the one
 * that runs at home; NULL and 0 if it runs none. */
const struct multi_queue *txn_exec_queue(const struct client *client, uint32_t *ret_done);

/* The time that the client's EXEC sees, in microseconds; 0 if it runs none. */
int64_t txn_exec_time_us(const struct client *client);

/* The client's EXEC has begun a pause: it is answered when that stands (pause.h). */
void txn_pauses(struct client *client);

/* Runs this command of a client once more, on its thread, with all keys of all shards locked: for
 * one that is about them only with some arguments. The reply is written then. */
void txn_hold_all(struct exec *x);
/* It is so now: the client's command runs with all of them locked. Not inside EXEC, whatever that
 * has locked: what comes behind it there is planned already. */
bool txn_holds_all(const struct client *client);
/* What was recorded of the script that its transaction runs, when that had to begin anew; or NULL.
 */
const void *txn_script_record(const struct client *client);
/* With all shards in view, once the script of this client's transaction has run: so do those that
 * stood in line behind it, one after the other. */
void txn_run_riders(struct exec *x, const struct view *view);
/* Around what has many clients go on: their scripts ride together. */
void txn_gather_riders(struct worker *home);
void txn_lead_riders(struct worker *home);
/* Some stand in line, and nobody leads them yet. */
bool txn_riders_wait(const struct worker *home);
/* All are locked, to be read or to be written, be it by EXEC or what else. */
bool txn_locks_all(const struct client *client);

/* The loop: a part arrived at its shard, or is home again. */
void txn_part_arrived(struct worker *worker, struct message *message);
void txn_part_home(struct worker *worker, struct message *message);

/* Frees `count` of those in the worker's pool, which have left its stock. */
void txn_pool_drop(struct worker *worker, unsigned count);
size_t txn_pool_memory(const struct worker *worker);

/* The locks of a worker's shard: those whose wait is over go on, some in this turn, the others in
 * the next. */
void txn_settle(struct worker *worker);
/* A slice of what is copied to keys here for transactions, and packed of them for other servers.
 * True if there is more. */
bool txn_run_slices(struct worker *worker);

/* The time up to which keys of this worker's shard that have run out may be deleted: now, or that
 * of the oldest transaction that holds locks here, because what it sees must not go while it runs.
 */
int64_t txn_expiry_ms(const struct worker *worker, int64_t now_ms);

#endif
