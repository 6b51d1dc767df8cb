/* SPDX-License-Identifier: BSD-3-Clause */
/* client: the life of a connection. Why so:
 *
 * A connection's state is touched by its home thread alone; ops that run elsewhere travel in
 * batches that hold all they need. So nothing here is locked, and a client may be closed at any
 * moment: what is still on its way comes home, finds the client closing, and is dropped. Only then
 * is the memory freed.
 *
 *     accept -> open -- ended or QUIT --> close after reply --> closing --> gone, nothing away
 *                  \------------- error, limit, kill -------------/
 *
 *   input.c    what was received, up to whole requests
 *   output.c   the order of replies, and what is sent
 *   wait.c     what it waits for
 *   limits.c   what it may cost
 *
 * Invariants
 *  1. A closing client is in no list but the worker's.
 *  2. CLIENT LIST and INFO have a closed client as long as something can happen in its name: who
 *     waits until it is not listed finds all that it did, as where commands run at once.
 */
#include "server/client/client.h"

#include "base/check.h"
#include "base/must.h"
#include "net/tls.h"
#include "server/acl/acl.h"
#include "server/client/client_private.h"
#include "server/client/describe.h"
#include "server/client/identity.h"
#include "server/client/large.h"
#include "server/client/secure.h"
#include "server/replication/replica.h"
#include "server/txn/multi.h"
#include "server/worker/handlers.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_BEFORE_SHRINK_MS 2000
#define IDLE_BEFORE_LOOK_MS   500

/* Most connections of a server are idle, and then this is all they cost: a place of the allocator.
 * What few need lies apart. */
_Static_assert(sizeof(struct client) <= 1024, "a client is more than a place of 1 KiB");

struct client *client_of_id(const struct worker *worker, uint64_t id) {
    struct link *at = links_first(&worker->clients.by_id, links_hash(id));
    while (at != NULL && LINK_ENTRY(at, struct client, id_link)->id != id) {
        at = at->next;
    }
    return at != NULL ? LINK_ENTRY(at, struct client, id_link) : NULL;
}

void client_set_text(char **field, struct bytes text) {
    free(*field);
    *field = NULL;
    if (text.len > 0) {
        *field = must_malloc(text.len + 1);
        memcpy(*field, text.ptr, text.len);
        (*field)[text.len] = 0;
    }
}

/* ---- Life ---- */

bool client_may_run(const struct client *client) {
    return (client->flags & CLIENT_AUTHENTICATED) || acl_users_open(client->worker->users);
}

bool client_is_stranger(const struct worker *worker, bool is_local) {
    return worker->config->protected_mode && worker->users->user_default->nopass && !is_local;
}

static void on_gone(struct rt_stream *stream) {
    struct client *client = (struct client *)stream;
    client_move(client, CLIENT_GONE);
    client_try_free(client);
}

static const struct rt_stream_events client_events = {
    .data = client_on_data,
    .sent = client_on_sent,
    .ended = client_on_ended,
    .gone = on_gone,
};

static const struct rt_stream_events secured_events = {
    .data = client_on_data,
    .sent = client_on_sent,
    .ended = client_on_ended,
    .gone = on_gone,
    .connected = client_on_secured,
};

static void on_upstream(struct rt_stream *stream) {
    struct client *client = (struct client *)stream;
    client->worker->server->handlers->upstream_connected(client);
}

static const struct rt_stream_events upstream_events = {
    .data = client_on_data,
    .sent = client_on_sent,
    .ended = client_on_ended,
    .gone = on_gone,
    .connected = on_upstream,
};

static int open_stream(struct client *client, const struct rt_accepted *accepted) {
    struct worker *worker = client->worker;
    if (accepted->is_tls) {
        return tls_stream_open(worker->server->tls, worker->rt, &client->stream, accepted->socket,
                               &secured_events);
    }
    return rt_stream_open(worker->rt, &client->stream, accepted->socket, &client_events);
}

/* Both in one block that is as long as they are: most connections of a server are idle. */
static void set_addresses(struct client *client, const char *peer, const char *local) {
    size_t peer_size = strlen(peer) + 1, local_size = strlen(local) + 1;
    client->addresses = must_malloc(peer_size + local_size);
    client->peer = memcpy(client->addresses, peer, peer_size);
    client->local = memcpy(client->addresses + peer_size, local, local_size);
}

static void take_addresses(struct client *client, rt_socket socket) {
    char peer[RT_ADDRESS_BYTES], local[RT_ADDRESS_BYTES];
    rt_socket_addresses(client->worker->rt, socket, peer, local);
    set_addresses(client, peer, local);
    client->flags |= peer[0] == '[' ? CLIENT_IPV6 : 0;
}

static struct client *client_new(struct worker *worker, uint64_t id) {
    struct client *client = must_calloc(1, sizeof *client);
    client->worker = worker;
    client->id = id;
    client->resp = 2;
    parser_init(&client->parser);
    outbuf_init(&client->out);
    outbuf_init(&client->held);
    list_node_init(&client->dirty_node);
    list_node_init(&client->line_node);
    pqueue_node_init(&client->wait.node);
    pqueue_node_init(&client->memory_node);
    list_node_init(&client->delay_node);
    list_node_init(&client->gate.node);
    client->created_ms = client->active_ms = rt_wall_ms(worker->rt);
    return client;
}

static void enlist(struct client *client) {
    struct worker *worker = client->worker;
    list_push_back(&worker->clients.all, &client->node);
    client->id_link.hash = links_hash(client->id);
    links_add(&worker->clients.by_id, &client->id_link);
    worker->clients.count++;
}

void client_accept(struct worker *worker, const struct rt_accepted *accepted, uint64_t id,
                   uint32_t address_hash) {
    struct client *client = client_new(worker, id);
    client->address_hash = address_hash;
    client->flags = (accepted->is_unix ? CLIENT_UNIX : 0) |
                    (accepted->is_local ? CLIENT_LOCAL : 0) | (accepted->is_tls ? CLIENT_TLS : 0);
    client_be_stranger(client);
    take_addresses(client, accepted->socket);
    if (!accepted->is_unix) {
        rt_socket_delays(worker->rt, accepted->socket, false);
        rt_socket_keep_alive(worker->rt, accepted->socket, (int)worker->config->tcp_keepalive);
    }
    enlist(client);
    if (open_stream(client, accepted) != 0) {
        rt_socket_close(worker->rt, accepted->socket);
        client_move(client, CLIENT_CLOSING);
        client_move(client, CLIENT_GONE);
        client_try_free(client);
        return;
    }
    client_account(client);
}

static int connect_stream(struct client *client, const char *address, uint16_t port) {
    struct worker *worker = client->worker;
    const struct config *config = worker->config;
    const struct rt_connect_options from = {.source = config->bind_source_addr.ptr,
                                            .mptcp = config->repl_mptcp};
    if (client->flags & CLIENT_TLS) {
        return tls_stream_connect(worker->server->tls, worker->rt, &client->stream, address, port,
                                  &from, &upstream_events);
    }
    return rt_stream_connect(worker->rt, &client->stream, address, port, &from, &upstream_events);
}

struct client *client_connect(struct worker *worker, const char *address, uint16_t port, bool tls,
                              struct upstream *upstream, uint64_t id, int *ret_error) {
    struct client *client = client_new(worker, id);
    char peer[RT_ADDRESS_BYTES];
    client->flags = CLIENT_AUTHENTICATED | CLIENT_REPLY_OFF | CLIENT_NO_EVICT |
                    CLIENT_IMPORT_SOURCE | (tls ? CLIENT_TLS : 0);
    client->upstream = upstream;
    snprintf(peer, sizeof peer, strchr(address, ':') != NULL ? "[%s]:%u" : "%s:%u", address, port);
    set_addresses(client, peer, "");
    *ret_error = connect_stream(client, address, port);
    if (*ret_error != 0) {
        free(client->addresses);
        parser_fini(&client->parser);
        free(client);
        return NULL;
    }
    shared_connection_placed(worker->server->shared, worker->id);
    enlist(client);
    client_account(client);
    return client;
}

void client_close(struct client *client) {
    if (client_is_closing(client)) {
        return;
    }
    if (client->state == CLIENT_WAITING) {
        client_cancel_wait(client);
    }
    client_move(client, CLIENT_CLOSING);
    if (client->subs != NULL || client->tracking != NULL || client->monitor != NULL ||
        client->replica != NULL || client->upstream != NULL) {
        client->worker->server->handlers->client_leaves(client);
    }
    client->flags &= ~(unsigned)CLIENT_DIRTY;
    list_remove(&client->dirty_node);
    list_remove(&client->line_node);
    pqueue_remove(&client->worker->clients.evictable, &client->memory_node);
    list_remove(&client->delay_node);
    /* It is as good as given back: nobody else is evicted for it. */
    client->worker->clients.memory -= client->memory;
    client->memory = 0;
    client_count_stranger(client, 0);
    gate_forget(client);
    client->input.len =
        0; /* the buffer is dropped with the client: a window may be running over it */
    rt_stream_close(&client->stream);
}

void client_close_after_reply(struct client *client) {
    client->flags |= CLIENT_CLOSE_AFTER_REPLY;
    if (client->state == CLIENT_READING) {
        client_move(client, CLIENT_ENDING);
    }
    client_mark_dirty(client);
}

/* ---- MULTI and WATCH ---- */

void client_forget_watches(struct client *client) {
    multi_watches_free(client->watches);
    client->watches = NULL;
}

void client_unwatch(struct client *client) {
    if (client->watches != NULL) {
        multi_unwatch(client->worker, client->id, client->watches);
        client_forget_watches(client);
    }
}

void client_discard(struct client *client) {
    multi_queue_free(client->worker, client->multi);
    client->multi = NULL;
    client_unwatch(client);
}

/* ---- The end ---- */

bool client_try_free(struct client *client) {
    if (client->state != CLIENT_GONE || client_has_work_away(client)) {
        return false;
    }
    struct worker *worker = client->worker;
    if (UNLIKELY(worker->parked.is)) { /* what it watches is in a table */
        list_remove(&client->line_node);
        list_push_back(&worker->parked.gone, &client->line_node);
        return false;
    }
    if (client->tracking != NULL || client->upstream != NULL || client->flags & CLIENT_IMPORTS) {
        worker->server->handlers->client_freed(client);
    }
    check(client->pending_count == 0 && client->ops_pending == 0);
    check(client->home_memory == 0 && client->home_replies == 0);
    check_slow(client->bytes_away == 0);
    worker->clients.memory -= client->memory;
    worker->clients.count--;
    shared_connection_over(worker->server->shared, worker->id);
    if (client->address_hash != 0) {
        shared_address_over(worker->server->shared, client->address_hash);
    }
    list_remove(&client->node);
    links_remove(&worker->clients.by_id, &client->id_link);
    list_remove(&client->dirty_node);
    client_input_drop(client);
    large_free(client->large);
    parser_fini(&client->parser);
    worker_waste_replies(worker, &client->out);
    worker_waste_replies(worker, &client->held);
    free(client->pending);
    client_discard(client);
    free(client->addresses);
    free(client->name);
    free(client->lib_name);
    free(client->lib_version);
    client_forget_user(client);
    free(client);
    return true;
}

void client_cron(struct client *client, int64_t now_ms) {
    if (client_is_closing(client)) {
        return;
    }
    const struct config *config = client->worker->config;
    int64_t idle_ms = now_ms - client->active_ms;
    bool waits = (client->state != CLIENT_READING && client->state != CLIENT_ENDING) ||
                 client->flags & CLIENT_SUBSCRIBED || client->monitor != NULL ||
                 replica_is(client) || client->upstream != NULL || client->flags & CLIENT_IMPORTS;
    if (config->timeout > 0 && idle_ms > config->timeout * 1000 && !waits &&
        client->pending_count == 0) {
        log_client(client->worker, LOG_VERBOSE, "Closing idle client ", client, "");
        client_close(client);
        return;
    }
    if (client->flags & CLIENT_IMPORTS && idle_ms > config->repl_timeout * 1000) {
        client->import_silent = true;
        client_close(client);
        return;
    }
    if (client_check_output(client)) {
        return;
    }
    if (idle_ms > IDLE_BEFORE_LOOK_MS) {
        rt_stream_look_again(&client->stream);
    }
    if (idle_ms > IDLE_BEFORE_SHRINK_MS) {
        client->out_peak = client_output_bytes(client);
        if (client->out.bytes == 0 && !rt_stream_sending(&client->stream)) {
            outbuf_shrink(&client->out);
        }
        if (client->pending_count == 0) {
            outbuf_shrink(&client->held);
            free(client->pending);
            client->pending = NULL;
            client->pending_cap = client->pending_head = 0;
        }
    }
    client_account(client);
}
