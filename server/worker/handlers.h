/* SPDX-License-Identifier: BSD-3-Clause */
/* handlers: what lower rooms have done by higher ones, whom they do not know: given to the server
 * at its start (server/handlers.c is the table).
 *
 * Thread: constant; called on the worker's own.
 */
#ifndef SHOAL_SERVER_WORKER_HANDLERS_H
#define SHOAL_SERVER_WORKER_HANDLERS_H

#include "server/worker/message.h"

#include <stdbool.h>
#include <stdint.h>

struct bytes;
struct client;
struct command_ref;
struct lock_request;
struct message;
struct multi_queue;
struct worker;

typedef void message_fn(struct worker *worker, struct message *message);

struct handlers {
    message_fn *messages[MESSAGE_KINDS]; /* a message arrived */
    /* Works off a client's input until it is used up or must wait. */
    void (*client_input)(struct client *client);
    /* Serves whom it can of those who wait for keys of this worker's shard. What `holds` has locked
     * is about to be given back; what others have locked waits. NULL: nothing. */
    void (*serve_waiters)(struct worker *worker, const struct lock_request *holds, int64_t now_ms);
    /* It is closed: what it has subscribed to goes, and it tracks nothing any more. */
    void (*client_leaves)(struct client *client);
    /* Nothing of it is on its way any more: what it has tracked is forgotten. */
    void (*client_freed)(struct client *client);
    /* What was published is delivered. */
    void (*deliver)(struct worker *worker);
    /* Whether the script that a command runs has looked for keys of other shards before. */
    bool (*script_is_everywhere)(struct worker *worker, const struct command_ref *ref,
                                 const struct bytes *argv);
    /* The queue that EXEC is running for a client, and how many of its commands are done; or NULL.
     */
    const struct multi_queue *(*client_queue)(const struct client *client, uint32_t *ret_done);
};

#endif
