/* SPDX-License-Identifier: BSD-3-Clause */
/* handlers: what lower rooms have done by higher ones, whom they do not know: given to the server
 * at its start (server/handlers.c is the table).
 *
 * Thread: constant; called on the worker's own.
 */
#ifndef SHOAL_SERVER_WORKER_HANDLERS_H
#define SHOAL_SERVER_WORKER_HANDLERS_H

#include "base/bytes.h"
#include "server/worker/message.h"

#include <stdbool.h>
#include <stdint.h>

struct client;
struct command_ref;
struct lock_request;
struct message;
struct multi_queue;
struct rt_buffer;
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
    /* Its user's rights have changed. */
    void (*client_rights_changed)(struct client *client, bool asks);
    /* Of a connection of our own: it stands; something has come. */
    void (*upstream_connected)(struct client *client);
    void (*upstream_data)(struct client *client, struct rt_buffer *buffer, struct bytes bytes);
    /* Another map of the cluster is the worker's from now on. */
    void (*map_changed)(struct worker *worker);
    void (*demoted)(struct worker *worker); /* this is a replica now */
    /* Nothing of it is on its way any more: what it has tracked is forgotten, and what it has
     * applied is known. */
    void (*client_freed)(struct client *client);
    /* What was published is delivered. */
    void (*deliver)(struct worker *worker);
    /* Whether the script that a command runs has looked for keys of other shards before. */
    bool (*script_is_everywhere)(struct worker *worker, const struct command_ref *ref,
                                 const struct bytes *argv);
    /* The flags of such a command, as far as the script says itself what it does (command_flag). */
    unsigned (*script_flags)(struct worker *worker, const struct command_ref *ref,
                             const struct bytes *argv);
    /* The queue that EXEC is running for a client, and how many of its commands are done; or NULL.
     */
    const struct multi_queue *(*client_queue)(const struct client *client, uint32_t *ret_done);
};

#endif
