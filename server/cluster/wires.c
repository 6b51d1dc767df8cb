/* SPDX-License-Identifier: BSD-3-Clause */
/* wires: see the header. A wire has two texts for what is to be sent: one that grows, and one that
 * the runtime has in hand; they change places when that has left. */
#include "server/cluster/wires.h"

#include "base/check.h"
#include "base/must.h"
#include "net/tls.h"
#include "server/client/listen.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_PATIENCE_NS UINT64_C(2000000000)
#define START_RETRY_NS    (10 * 1000 * 1000)

/* A buffer that has grown for a burst is given back. */
#define BUFFER_KEPT_BYTES ((size_t)16 * 1024)

struct wire {
    struct rt_stream stream;
    struct list_node node;
    struct wires *wires;
    void *link;
    bool open;    /* connected, and not closed */
    bool closing; /* till its stream, or the resolver, has done with it */
    bool tls, accepted;
    struct rt_resolve *resolve; /* while its name is asked for: it has no stream yet */
    uint16_t port;
    char source[RT_HOST_BYTES]; /* "": any */
    char peer[RT_HOST_BYTES];   /* with TLS alone */
    struct text in;
    struct text queued, leaving;
    size_t left; /* of `leaving`, from its start */
};

struct wires {
    struct rt *rt;
    const struct wires_user *user;
    void *arg;
    struct tls *tls; /* or NULL */
    struct list all;
    struct rt_listener *listeners[CONFIG_BIND_MAX];
    unsigned listeners_count;
    unsigned named; /* names that were found */
    bool stopping;
};

static struct wire *wire_of(struct rt_stream *stream) {
    return (struct wire *)((char *)stream - offsetof(struct wire, stream));
}

static struct wire *wire_new(struct wires *wires) {
    struct wire *wire = must_calloc(1, sizeof *wire);
    wire->wires = wires;
    text_init(&wire->in);
    text_init(&wire->queued);
    text_init(&wire->leaving);
    list_push_back(&wires->all, &wire->node);
    return wire;
}

static void wire_free(struct wire *wire) {
    list_remove(&wire->node);
    text_fini(&wire->in);
    text_fini(&wire->queued);
    text_fini(&wire->leaving);
    free(wire);
}

void wire_close(struct wire *wire) {
    if (!wire->closing) {
        wire->closing = true;
        wire->open = false;
        if (wire->resolve == NULL) {
            rt_stream_close(&wire->stream);
        }
    }
}

/* The user is told. */
static void lose(struct wire *wire) {
    if (!wire->closing) {
        wire_close(wire);
        wire->wires->user->lost(wire->wires->arg, wire);
    }
}

/* "127.0.0.1:6379" and "[::1]:6379" without their ports. */
static void host_of(const char *address, char ret_ip[RT_HOST_BYTES]) {
    const char *colon = strrchr(address, ':');
    size_t len = colon != NULL ? (size_t)(colon - address) : strlen(address);
    if (len >= 2 && address[0] == '[' && address[len - 1] == ']') {
        address++;
        len -= 2;
    }
    len = len < RT_HOST_BYTES ? len : RT_HOST_BYTES - 1;
    memcpy(ret_ip, address, len);
    ret_ip[len] = 0;
}

static void find_hosts(struct wire *wire, char ret_peer[RT_HOST_BYTES],
                       char ret_local[RT_HOST_BYTES]) {
    char peer[RT_ADDRESS_BYTES], local[RT_ADDRESS_BYTES];
    rt_socket_addresses(wire->wires->rt, wire->stream.socket, peer, local);
    host_of(peer, ret_peer);
    host_of(local, ret_local);
}

/* ---- Receiving ---- */

/* Whole packets at the front of what has come; returns how much that was. */
static size_t hand_packets(struct wire *wire, struct bytes bytes) {
    const struct wires_user *user = wire->wires->user;
    size_t at = 0;
    while (!wire->closing && bytes.len - at >= WIRES_HEAD_BYTES) {
        size_t size = user->packet_bytes(wire, bytes.ptr + at);
        if (size < WIRES_HEAD_BYTES) {
            lose(wire);
            break;
        }
        if (bytes.len - at < size) {
            break;
        }
        user->packet(wire->wires->arg, wire, bytes.ptr + at, size);
        at += size;
    }
    return at;
}

static void on_data(struct rt_stream *stream, struct rt_buffer *buffer, struct bytes bytes) {
    (void)buffer;
    struct wire *wire = wire_of(stream);
    if (wire->in.len == 0) { /* as most come: whole, and not copied */
        size_t used = hand_packets(wire, bytes);
        if (!wire->closing) {
            text_append(&wire->in, bytes.ptr + used, bytes.len - used);
        }
        return;
    }
    text_append_bytes(&wire->in, bytes);
    size_t used = hand_packets(wire, text_bytes(&wire->in));
    if (used > 0 && !wire->closing) {
        struct text rest;
        text_init(&rest);
        text_append(&rest, wire->in.ptr + used, wire->in.len - used);
        text_fini(&wire->in);
        wire->in = rest;
    }
}

/* ---- Sending ---- */

static void send_more(struct wire *wire) {
    if (!wire->open || rt_stream_sending(&wire->stream)) {
        return;
    }
    if (wire->left == 0) {
        if (wire->queued.len == 0) {
            return;
        }
        struct text leaving = wire->queued;
        wire->queued = wire->leaving;
        text_clear(&wire->queued);
        wire->leaving = leaving;
        wire->left = leaving.len;
    }
    struct iovec vector = {wire->leaving.ptr + (wire->leaving.len - wire->left), wire->left};
    rt_stream_send(&wire->stream, &vector, 1);
}

static void on_sent(struct rt_stream *stream, size_t n) {
    struct wire *wire = wire_of(stream);
    wire->left -= n < wire->left ? n : wire->left;
    if (wire->left == 0 && wire->leaving.cap > BUFFER_KEPT_BYTES) {
        text_fini(&wire->leaving);
        text_init(&wire->leaving);
    }
    send_more(wire);
}

void wire_send(struct wire *wire, const void *packet, size_t bytes) {
    if (!wire->closing) {
        text_append(&wire->queued, packet, bytes);
    }
}

size_t wire_queued(const struct wire *wire) {
    return wire->queued.len + wire->left;
}

size_t wire_memory(const struct wire *wire) {
    return sizeof *wire + wire->in.cap + wire->queued.cap + wire->leaving.cap;
}

/* ---- Opening and closing ---- */

static void on_ended(struct rt_stream *stream, int error) {
    struct wire *wire = wire_of(stream);
    const struct wires *wires = wire->wires;
    if (wire->tls && error != 0 && !wire->closing && !tls_stream_is_open(stream)) {
        const char *why = tls_stream_error(stream);
        wires->user->unsafe(wires->arg, wire->peer, wire->accepted,
                            why[0] != 0 ? why : strerror(-error));
    }
    lose(wire);
}

static void on_gone(struct rt_stream *stream) {
    wire_free(wire_of(stream));
}

static void on_connected(struct rt_stream *stream) {
    struct wire *wire = wire_of(stream);
    char peer[RT_HOST_BYTES], local[RT_HOST_BYTES];
    wire->open = true;
    rt_socket_delays(wire->wires->rt, stream->socket, false);
    find_hosts(wire, peer, local);
    wire->wires->user->connected(wire->wires->arg, wire, peer, local);
}

static const struct rt_stream_events events = {
    .data = on_data,
    .sent = on_sent,
    .ended = on_ended,
    .gone = on_gone,
    .connected = on_connected,
};

static void greet(struct wire *wire) {
    struct wires *wires = wire->wires;
    char peer[RT_HOST_BYTES], local[RT_HOST_BYTES];
    wire->open = true;
    rt_socket_delays(wires->rt, wire->stream.socket, false);
    find_hosts(wire, peer, local);
    wires->user->accepted(wires->arg, wire, peer, local);
}

static void on_secured(struct rt_stream *stream) {
    greet(wire_of(stream));
}

static const struct rt_stream_events secured_events = {
    .data = on_data,
    .sent = on_sent,
    .ended = on_ended,
    .gone = on_gone,
    .connected = on_secured,
};

static int open_accepted(struct wire *wire, rt_socket socket) {
    struct wires *wires = wire->wires;
    char local[RT_HOST_BYTES];
    wire->accepted = true;
    if (wires->tls == NULL) {
        return rt_stream_open(wires->rt, &wire->stream, socket, &events);
    }
    int error =
        tls_stream_open_known(wires->tls, wires->rt, &wire->stream, socket, &secured_events);
    if (error == 0) {
        wire->tls = true;
        find_hosts(wire, wire->peer, local);
    }
    return error;
}

static void on_accept(void *arg, const struct rt_accepted *accepted) {
    struct wires *wires = arg;
    if (accepted->no_room || wires->stopping) {
        rt_socket_close(wires->rt, accepted->socket);
        return;
    }
    struct wire *wire = wire_new(wires);
    int error = open_accepted(wire, accepted->socket);
    if (error != 0) {
        rt_socket_close(wires->rt, accepted->socket);
        wire_free(wire);
    } else if (!wire->tls) {
        greet(wire);
    }
}

static int connect_to(struct wire *wire, const char *ip) {
    struct wires *wires = wire->wires;
    struct rt_connect_options options = {.source = wire->source[0] != 0 ? wire->source : NULL};
    wire->tls = wires->tls != NULL;
    snprintf(wire->peer, sizeof wire->peer, "%s", ip);
    return wire->tls
               ? tls_stream_connect(wires->tls, wires->rt, &wire->stream, ip, wire->port, &options,
                                    &events)
               : rt_stream_connect(wires->rt, &wire->stream, ip, wire->port, &options, &events);
}

static void on_resolved(void *arg, int error, const struct rt_addresses *addresses) {
    struct wire *wire = arg;
    struct wires *wires = wire->wires;
    wire->resolve = NULL;
    if (!wire->closing) {
        if (error == 0 &&
            connect_to(wire, addresses->text[wires->named++ % addresses->count]) == 0) {
            return;
        }
        wires->user->lost(wires->arg, wire);
    }
    wire_free(wire);
}

struct wire *wire_connect(struct wires *wires, const struct config *config, const char *host,
                          uint16_t port, void *link) {
    struct wire *wire = wire_new(wires);
    wire->link = link;
    wire->port = port;
    if (config->bind_source_addr.ptr != NULL) {
        snprintf(wire->source, sizeof wire->source, "%s", config->bind_source_addr.ptr);
    }
    wire->resolve = rt_resolve(wires->rt, host, on_resolved, wire);
    return wire;
}

void wire_set_link(struct wire *wire, void *link) {
    wire->link = link;
}

void *wire_link(const struct wire *wire) {
    return wire->link;
}

struct wires *wires_new(struct rt *rt, const struct wires_user *user, void *arg) {
    struct wires *wires = must_calloc(1, sizeof *wires);
    wires->rt = rt;
    wires->user = user;
    wires->arg = arg;
    list_init(&wires->all);
    return wires;
}

void wires_use_tls(struct wires *wires, struct tls *tls) {
    wires->tls = tls;
}

/* As of the ports of clients (client/listen.c): sockets of a killed server stay bound for a moment.
 */
static int listen_patiently(struct wires *wires, const char *address, uint16_t port,
                            const struct rt_listen_options *options, uint64_t until_ns,
                            struct rt_listener **ret_listener) {
    for (;;) {
        int error =
            rt_listen_tcp(wires->rt, address, port, options, on_accept, wires, ret_listener);
        if (error != -EADDRINUSE || rt_mono_ns(wires->rt) >= until_ns) {
            return error;
        }
        rt_block(wires->rt, START_RETRY_NS);
    }
}

int wires_listen(struct wires *wires, const struct config *config, uint16_t port,
                 struct text *err) {
    struct rt_listen_options options = {.backlog = (int)config->tcp_backlog};
    uint64_t until_ns = rt_mono_ns(wires->rt) + START_PATIENCE_NS;
    const char *word = NULL;
    while ((word = config_word(config->bind, word)) != NULL) {
        bool optional = word[0] == '-';
        struct rt_listener *listener;
        int error = listen_patiently(wires, word + optional, port, &options, until_ns, &listener);
        if (error == 0) {
            check(wires->listeners_count < CONFIG_BIND_MAX);
            wires->listeners[wires->listeners_count++] = listener;
        } else if (!optional || !listen_may_be_missing(error)) {
            text_appendf(err,
                         "Could not create cluster bus TCP listening socket %s:%u: %s. Failed "
                         "listening on port %u.",
                         word, port, strerror(-error), port);
            return -1;
        }
    }
    return 0;
}

bool wires_stop(struct wires *wires) {
    wires->stopping = true;
    for (unsigned i = 0; i < wires->listeners_count; i++) {
        rt_unlisten(wires->rt, wires->listeners[i]);
    }
    wires->listeners_count = 0;
    LIST_EACH_SAFE(&wires->all, node) {
        struct wire *wire = LIST_ENTRY(node, struct wire, node);
        wire_close(wire);
        if (wire->resolve != NULL) {
            rt_resolve_cancel(wires->rt, wire->resolve);
            wire_free(wire);
        }
    }
    return list_empty(&wires->all);
}

void wires_turn(struct wires *wires) {
    LIST_EACH(&wires->all, node) {
        send_more(LIST_ENTRY(node, struct wire, node));
    }
}

void wires_each(struct wires *wires, void (*each)(void *arg, struct wire *wire), void *arg) {
    LIST_EACH(&wires->all, node) {
        struct wire *wire = LIST_ENTRY(node, struct wire, node);
        if (!wire->closing) {
            each(arg, wire);
        }
    }
}

void wires_free(struct wires *wires) {
    if (wires == NULL) {
        return;
    }
    LIST_EACH_SAFE(&wires->all, node) {
        wire_free(LIST_ENTRY(node, struct wire, node));
    }
    free(wires);
}
