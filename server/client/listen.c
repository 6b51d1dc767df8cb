/* SPDX-License-Identifier: BSD-3-Clause */
/* listen: see the header. Why so: one thread accepts and hands each connection to the worker with
 * the fewest, because what the kernel does by itself (SO_REUSEPORT) spreads by a hash of the
 * address: with few busy connections some threads get two and others none. Accepting is cheap; a
 * connection travels once.
 */
#include "server/client/listen.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/must.h"
#include "net/rt.h"
#include "server/call/errors.h"
#include "server/client/client.h"
#include "server/client/secure.h"
#include "server/observe/flood.h"
#include "server/observe/log.h"
#include "server/worker/message.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_PATIENCE_MS 2000
#define START_RETRY_NS    (10 * 1000 * 1000)
#define ADDRESS_BYTES     256
#define NETWORK_BYTES     8 /* of an address of IPv6 */

struct listening {
    struct rt_listener *items[CONFIG_BIND_MAX + 1];
    char addresses[CONFIG_BIND_MAX + 1][ADDRESS_BYTES]; /* with the port, as people write it */
    unsigned count;
};

/* Connections that were accepted and are not looked at yet, oldest first. */
struct waiting {
    struct rt_accepted *items;
    size_t first, count, room;
    int64_t taken; /* since the last turn */
};

struct acceptor {
    struct listening tcp;
    struct listening tls;
    struct rt_listener *unix_socket;
    struct waiting waiting[2]; /* plain; TLS */
    uint64_t last_id;
};

struct connection_message {
    struct message message; /* first */
    struct rt_accepted accepted;
    uint64_t id;
    uint32_t address_hash;
};

static unsigned least_loaded(const struct node *node) {
    const struct server *server = node->server;
    unsigned best = node->first;
    unsigned fewest = shared_connections(server->shared, best);
    NODE_EACH_WORKER(node, i) {
        unsigned n = shared_connections(server->shared, i);
        if (n < fewest) {
            fewest = n;
            best = i;
        }
    }
    return best;
}

static void log_accepted(struct worker *worker, const struct rt_accepted *accepted) {
    char peer[RT_ADDRESS_BYTES], local[RT_ADDRESS_BYTES];
    if (accepted->is_unix) {
        log_worker(worker, LOG_VERBOSE, "Accepted connection to %s",
                   worker->config->unixsocket.ptr);
    } else if (!accepted->no_room) {
        rt_socket_addresses(worker->rt, accepted->socket, peer, local);
        log_worker(worker, LOG_VERBOSE, "Accepted %s", peer);
    }
}

/* Who speaks TLS could not read it. */
static void refuse(struct worker *worker, const struct rt_accepted *accepted, struct bytes text) {
    if (accepted->is_tls) {
        rt_socket_close(worker->rt, accepted->socket);
    } else {
        rt_socket_refuse(worker->rt, accepted->socket, text);
    }
}

/* Who has one address of IPv6 has all of its network. */
static uint32_t hash_of_address(const struct worker *worker, rt_socket socket) {
    char peer[RT_ADDRESS_BYTES], local[RT_ADDRESS_BYTES];
    unsigned char binary[sizeof(struct in6_addr)];
    rt_socket_addresses(worker->rt, socket, peer, local);
    char *colon = strrchr(peer, ':');
    if (colon == NULL) {
        return 0;
    }
    *colon = 0;
    size_t len = strlen(peer);
    struct bytes address = bytes_make(peer, len);
    if (peer[0] == '[' && colon[-1] == ']') {
        colon[-1] = 0;
        if (inet_pton(AF_INET6, peer + 1, binary) == 1) {
            address = bytes_make((const char *)binary, NETWORK_BYTES);
        }
    }
    return (uint32_t)hash_bytes(worker->server->secret.bytes, address) | 1;
}

/* 0: addresses do not count. False: there are enough of this one. */
static bool count_address(struct worker *worker, const struct rt_accepted *accepted,
                          uint32_t *ret_hash) {
    struct shared_counters *shared = worker->server->shared;
    int64_t max = worker->config->address_maxclients;
    uint32_t hash = max > 0 && !accepted->is_unix ? hash_of_address(worker, accepted->socket) : 0;
    *ret_hash = hash;
    if (hash == 0 || shared_address_placed(shared, hash) <= max) {
        return true;
    }
    shared_address_over(shared, hash);
    return false;
}

/* Tells who has come what is to be told, or hands it to a worker. */
static void receive(struct worker *worker, const struct rt_accepted *accepted) {
    struct server *server = worker->server;
    const struct config *config = worker->config;
    if (UNLIKELY(log_wants(worker, LOG_VERBOSE))) {
        log_accepted(worker, accepted);
    }
    if (accepted->no_room && flood_lets(worker, FLOOD_NO_ROOM)) {
        log_worker(worker, LOG_WARNING,
                   "No file can be opened for a new connection ('ulimit -n'): it is refused.");
    }
    if (accepted->no_room ||
        (int64_t)shared_connections_total(server->shared) >= config->maxclients) {
        worker->stats.connections_rejected++;
        refuse(worker, accepted, BYTES("-" ERR_MAX_CLIENTS "\r\n"));
        return;
    }
    if (!accepted->is_tls && client_is_stranger(worker, accepted->is_local)) {
        worker->stats.connections_rejected++;
        refuse(worker, accepted, BYTES("-" ERR_PROTECTED_MODE "\r\n"));
        return;
    }
    uint32_t address_hash;
    if (!count_address(worker, accepted, &address_hash)) {
        worker->stats.connections_rejected++;
        refuse(worker, accepted, BYTES("-" ERR_MAX_CLIENTS_OF_ADDRESS "\r\n"));
        return;
    }
    worker->stats.connections_received++;
    uint64_t id = ++worker->acceptor->last_id;
    unsigned target = least_loaded(worker->node);
    shared_connection_placed(server->shared, target);
    if (target == worker->id) {
        client_accept(worker, accepted, id, address_hash);
        return;
    }
    struct connection_message *message = must_calloc(1, sizeof *message);
    message->message = (struct message){.kind = MESSAGE_CONNECTION, .home = POST_ONE_WAY};
    message->accepted = *accepted;
    message->id = id;
    message->address_hash = address_hash;
    post_send(server->office, worker->id, target, &message->message);
}

static int64_t most_per_cycle(const struct worker *worker, bool tls) {
    const struct config *config = worker->config;
    return tls ? config->max_new_tls_connections_per_cycle : config->max_new_connections_per_cycle;
}

static void let_wait(struct waiting *waiting, const struct rt_accepted *accepted) {
    if (waiting->first + waiting->count == waiting->room) {
        if (waiting->first > 0) { /* else there may be no items at all */
            memmove(waiting->items, waiting->items + waiting->first,
                    waiting->count * sizeof *waiting->items);
            waiting->first = 0;
        }
        if (waiting->count >= waiting->room / 2) {
            waiting->room = waiting->room * 2 + 16;
            waiting->items = must_realloc(waiting->items, waiting->room * sizeof *waiting->items);
        }
    }
    waiting->items[waiting->first + waiting->count++] = *accepted;
}

/* A backend accepts what it can: those that are too many for a turn wait here. Not who is only told
 * that there is no room, whose descriptor is wanted. */
static void on_accept(void *arg, const struct rt_accepted *accepted) {
    struct worker *worker = arg;
    struct waiting *waiting = &worker->acceptor->waiting[accepted->is_tls];
    if (accepted->no_room ||
        (waiting->count == 0 && waiting->taken < most_per_cycle(worker, accepted->is_tls))) {
        waiting->taken++;
        receive(worker, accepted);
    } else {
        let_wait(waiting, accepted);
    }
}

bool listen_turn(struct worker *worker) {
    bool more = false;
    for (unsigned tls = 0; tls < 2; tls++) {
        struct waiting *waiting = &worker->acceptor->waiting[tls];
        for (waiting->taken = 0; waiting->count > 0 && waiting->taken < most_per_cycle(worker, tls);
             waiting->taken++) {
            waiting->count--;
            receive(worker, &waiting->items[waiting->first++]);
        }
        more |= waiting->taken > 0 || waiting->count > 0;
        if (waiting->count == 0 && waiting->items != NULL) {
            free(waiting->items);
            *waiting = (struct waiting){.taken = waiting->taken};
        }
    }
    return more;
}

uint64_t listen_next_id(struct worker *worker) {
    return ++worker->acceptor->last_id;
}

void listen_connection_arrived(struct worker *worker, struct message *message) {
    struct connection_message *connection = (struct connection_message *)message;
    client_accept(worker, &connection->accepted, connection->id, connection->address_hash);
    free(connection);
}

static void unlisten_all(struct worker *worker, struct listening *listening) {
    for (unsigned i = 0; i < listening->count; i++) {
        rt_unlisten(worker->rt, listening->items[i]);
    }
    listening->count = 0;
}

/* How long a start waits for addresses that are in use. */
struct patience {
    uint64_t until_ns;
    bool told;
};

/* The kernel takes the ring of a killed server apart in its own time, and until then the sockets
 * that it waited on are bound. */
static int listen_address(struct worker *worker, const char *address, uint16_t port,
                          const struct rt_listen_options *options, struct patience *patience,
                          struct rt_listener **ret_listener) {
    for (;;) {
        int error =
            rt_listen_tcp(worker->rt, address, port, options, on_accept, worker, ret_listener);
        if (error != -EADDRINUSE || patience == NULL ||
            rt_mono_ns(worker->rt) >= patience->until_ns) {
            return error;
        }
        if (!patience->told) {
            patience->told = true;
            log_worker(worker, LOG_NOTICE, "%s:%u is in use: trying again for %d seconds.", address,
                       port, START_PATIENCE_MS / 1000);
        }
        rt_block(worker->rt, START_RETRY_NS);
    }
}

/* `patience` is of a start: when a thread serves already, it must not wait. */
static int listen_tcp(struct worker *worker, const struct config *config, bool tls,
                      struct patience *patience, struct listening *ret_listening,
                      struct text *err) {
    bool unmarked = false;
    struct rt_listen_options options = {
        .backlog = (int)config->tcp_backlog,
        .mptcp = config->mptcp,
        .mark = (uint32_t)config->socket_mark_id,
        .ret_unmarked = &unmarked,
        .tls = tls,
    };
    ret_listening->count = 0;
    int64_t directive = tls ? config->tls_port : config->port;
    if (directive == 0) {
        return 0;
    }
    int port = (int)node_port(worker->node, directive);
    const char *word = config->bind.ptr;
    const char *end = word + config->bind.len;
    while (word != NULL && word < end && ret_listening->count < CONFIG_BIND_MAX) {
        const char *address = word;
        word += strlen(word) + 1;
        bool optional = address[0] == '-';
        address += optional;
        int error = listen_address(worker, address, (uint16_t)port, &options, patience,
                                   &ret_listening->items[ret_listening->count]);
        if (error == 0) {
            snprintf(ret_listening->addresses[ret_listening->count], ADDRESS_BYTES,
                     strchr(address, ':') != NULL ? "[%s]:%d" : "%s:%d", address, port);
            ret_listening->count++;
        } else if (!optional || !listen_may_be_missing(error)) {
            text_appendf(err,
                         "Could not create server TCP listening socket %s:%d: %s. Failed "
                         "listening on port %d.",
                         address, port, strerror(-error), port);
            unlisten_all(worker, ret_listening);
            return -1;
        }
    }
    if (unmarked) {
        log_worker(worker, LOG_WARNING,
                   "socket-mark-id: the system does not let the server mark its sockets: it needs "
                   "CAP_NET_ADMIN.");
    }
    return 0;
}

int listen_start(struct worker *worker, struct text *err) {
    const struct config *config = worker->config;
    struct acceptor *acceptor = must_calloc(1, sizeof *acceptor);
    worker->acceptor = acceptor;
    struct patience patience = {
        .until_ns = rt_mono_ns(worker->rt) + START_PATIENCE_MS * UINT64_C(1000000),
    };
    if (!secure_start(worker, err)) {
        log_worker(worker, LOG_WARNING, "%s", err->ptr);
        text_clear(err);
        text_append_text(err, "Failed to configure TLS. Check logs for more info.");
        return -1;
    }
    if (listen_tcp(worker, config, false, &patience, &acceptor->tcp, err) != 0 ||
        listen_tcp(worker, config, true, &patience, &acceptor->tls, err) != 0) {
        return -1;
    }
    if (config->unixsocket.len > 0) {
        struct rt_listen_options options = {
            .backlog = (int)config->tcp_backlog,
            .unix_mode = (int)config->unixsocketperm,
            .unix_group = config->unixsocketgroup.len ? config->unixsocketgroup.ptr : NULL,
        };
        int error = rt_listen_unix(worker->rt, config->unixsocket.ptr, &options, on_accept, worker,
                                   &acceptor->unix_socket);
        if (error != 0) {
            text_appendf(err, "Could not open unix socket %s: %s", config->unixsocket.ptr,
                         strerror(-error));
            return -1;
        }
    }
    if (acceptor->tcp.count == 0 && acceptor->tls.count == 0 && acceptor->unix_socket == NULL) {
        text_append_text(err, "Configured to not listen anywhere, exiting.");
        return -1;
    }
    return 0;
}

/* Another port can be opened before the old one is given up. */
static int change_port(struct worker *worker, const struct config *next, bool tls,
                       struct listening *listening, struct text *err) {
    struct listening fresh;
    if (listen_tcp(worker, next, tls, NULL, &fresh, err) != 0) {
        return -1;
    }
    unlisten_all(worker, listening);
    *listening = fresh;
    return 0;
}

static int listen_both(struct worker *worker, const struct config *config, struct text *err) {
    struct acceptor *acceptor = worker->acceptor;
    if (listen_tcp(worker, config, false, NULL, &acceptor->tcp, err) != 0) {
        return -1;
    }
    if (listen_tcp(worker, config, true, NULL, &acceptor->tls, err) != 0) {
        unlisten_all(worker, &acceptor->tcp);
        return -1;
    }
    return 0;
}

/* What `wanted` names is listened on, as far as it still can be. */
static void listen_again(struct worker *worker, const struct config *wanted) {
    struct text again;
    text_init(&again);
    if (listen_both(worker, wanted, &again) != 0) {
        log_worker(worker, LOG_WARNING, "%s", again.ptr); /* an address may have gone since */
    }
    text_fini(&again);
}

int listen_update(struct worker *worker, const struct config *next, struct text *err) {
    const struct config *now = worker->config;
    bool same_bind = now->bind.len == next->bind.len &&
                     memcmp(now->bind.ptr, next->bind.ptr, now->bind.len) == 0;
    bool same_port = now->port == next->port;
    bool same_tls_port = now->tls_port == next->tls_port;
    struct acceptor *acceptor = worker->acceptor;
    if ((same_port && same_tls_port && same_bind) || acceptor == NULL) { /* the end has begun */
        return 0;
    }
    if (same_bind && (same_port || same_tls_port)) {
        return change_port(worker, next, same_port, same_port ? &acceptor->tls : &acceptor->tcp,
                           err);
    }
    unlisten_all(worker, &acceptor->tcp);
    unlisten_all(worker, &acceptor->tls);
    if (listen_both(worker, next, err) == 0) {
        return 0;
    }
    listen_again(worker, now);
    return -1;
}

static void log_listening(struct worker *worker, const struct listening *listening,
                          const char *what) {
    for (unsigned i = 0; i < listening->count; i++) {
        log_worker(worker, LOG_NOTICE, "Listening on %s%s", listening->addresses[i], what);
    }
}

void listen_log(struct worker *worker) {
    const struct acceptor *acceptor = worker->acceptor;
    if (acceptor == NULL) { /* the end has begun */
        return;
    }
    log_listening(worker, &acceptor->tcp, "");
    log_listening(worker, &acceptor->tls, " with TLS");
    if (acceptor->unix_socket != NULL) {
        log_worker(worker, LOG_NOTICE, "Listening on unix socket %s",
                   worker->config->unixsocket.ptr);
    }
}

void listen_stop(struct worker *worker) {
    struct acceptor *acceptor = worker->acceptor;
    if (acceptor == NULL) {
        return;
    }
    unlisten_all(worker, &acceptor->tcp);
    unlisten_all(worker, &acceptor->tls);
    if (acceptor->unix_socket != NULL) {
        log_worker(worker, LOG_NOTICE, "Removing the unix socket file.");
        rt_unlisten(worker->rt, acceptor->unix_socket);
    }
    for (unsigned tls = 0; tls < 2; tls++) {
        struct waiting *waiting = &acceptor->waiting[tls];
        for (size_t i = 0; i < waiting->count; i++) {
            rt_socket_close(worker->rt, waiting->items[waiting->first + i].socket);
        }
        free(waiting->items);
    }
    free(acceptor);
    worker->acceptor = NULL;
}
