/* SPDX-License-Identifier: BSD-3-Clause */
/* blocked: a client that waits for keys: BLPOP and its like (shard/watchers/waiters.h).
 *
 * Such a command is a transaction, also when its keys are on one shard, because its client is
 * fenced and waits in any case. It finds something, and is over; or it finds nothing and says
 * exec_wait: then, while its locks are held, its client joins the lines of its keys.
 *
 *     transaction -- found something ------------------------------------------> reply
 *         |    \-- found nothing: its parts join --> waits -- a shard serves --> reply
 *         |                                            | \--- time, UNBLOCK ---> null, error
 *         |                                            |  \-- the client goes -> nothing
 *         \------------------ one shard is not enough -/
 *
 * Who serves runs the command once more, on the key that has something; the reply goes home with
 * the part. A wait ends for its client at once; what it consists of is freed when its last part is
 * home.
 *
 * Thread: the client's home; where it says so, the shard that has a part of it.
 */
#ifndef SHOAL_SERVER_TXN_BLOCKED_H
#define SHOAL_SERVER_TXN_BLOCKED_H

#include "base/bytes.h"

#include <stdint.h>

struct blocked;
struct client;
struct command_ref;
struct lock_request;
struct message;
struct request;
struct worker;

/* A command begins that may have to wait. Its words are copied. */
struct blocked *blocked_new(struct client *client, const struct command_ref *ref,
                            const struct request *request);
struct bytes *blocked_words(struct blocked *blocked);
/* Whether the user of a client that waits for keys may call its command still. */
bool blocked_is_allowed(const struct client *client);
/* It waits no longer, unless it is being served. */
void blocked_forbid(struct client *client);

/* This is a replica now, and no node of a cluster: it only reads, and has said that it may here. */
bool blocked_may_stay(const struct client *client);
/* In a cluster: the same, if another node has its keys now (call/slot_check.h). */
void blocked_redirect(struct client *client);

/* The shard: keys have got something. Serves whom it can; what `holds` (NULL: nothing) has locked
 * is about to be given back, or has been granted and not used yet; what others have locked waits.
 */
void blocked_serve(struct worker *worker, const struct lock_request *holds, int64_t now_ms);
/* The shard: keys that were closed till a walk had read their values are opened, and whom that lets
 * go on is settled, or served. */
void blocked_open_unshown(struct worker *worker);
/* The shard: a part is called back. */
void blocked_called(struct worker *worker, struct message *message);

/* A part is home: its client was served; it was called back. What a client waits for has come, and
 * a transaction is to fetch it. */
void blocked_served(struct worker *worker, struct message *message);
void blocked_part_home(struct worker *worker, struct message *message);
void blocked_tries(struct worker *worker, struct message *message);
/* The shard: a client does not try yet. */
void blocked_put_off(struct worker *worker, struct message *message);
/* Once a turn: those that CLIENT PAUSE had wait. */
void blocked_try_again(struct worker *worker);

#endif
