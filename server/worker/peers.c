/* SPDX-License-Identifier: BSD-3-Clause */
/* peers: see the header.
 *
 * Invariants
 *  1. A peer that is neither GONE nor idle has a deadline, and so has an idle one: the time at
 * which it is closed.
 *  2. Its stream has begun exactly in CONNECTING, OPEN and CLOSING. It is freed in peers_work
 * alone, or when the worker is.
 */
#include "server/worker/peers.h"

#include "base/check.h"
#include "base/must.h"
#include "net/tls.h"
#include "server/server.h"
#include "server/worker/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* So much is sent at once: the deadline moves when it has left. */
#define SEND_BYTES   (64 * 1024)
#define SEND_VECTORS 64
/* An answer that is longer is none. */
#define REPLY_BYTES_MAX (1024 * 1024)

void peers_init(struct peers *peers) {
    list_init(&peers->all);
    list_init(&peers->news);
    pqueue_init(&peers->deadlines);
}

/* ---- What is noted ---- */

static struct peer *peer_of(struct rt_stream *stream) {
    return (struct peer *)(void *)((char *)stream - offsetof(struct peer, stream));
}

static void note(struct peer *peer) {
    if (!list_node_linked(&peer->news)) {
        list_push_back(&peer->worker->peers.news, &peer->news);
    }
}

static void set_deadline(struct peer *peer, int64_t in_ms) {
    struct pqueue *deadlines = &peer->worker->peers.deadlines;
    int64_t now_ms = rt_mono_ms(peer->worker->rt);
    pqueue_remove(deadlines, &peer->deadline);
    pqueue_add(deadlines, &peer->deadline, in_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + in_ms);
}

/* Something has moved. */
static void moved(struct peer *peer) {
    set_deadline(peer, peer->timeout_ms);
}

static void end(struct peer *peer, int error) {
    peer->ended = true;
    peer->error = error;
    note(peer);
}

static void on_data(struct rt_stream *stream, struct rt_buffer *buffer, struct bytes bytes) {
    struct peer *peer = peer_of(stream);
    text_append_bytes(&peer->in, bytes);
    note(peer);
}

static void on_sent(struct rt_stream *stream, size_t n) {
    struct peer *peer = peer_of(stream);
    outbuf_drain(&peer->out, n);
    moved(peer);
    peer->emptied = peer->out.bytes == 0;
    if (peer->emptied) {
        note(peer);
    } else {
        peer_send(peer);
    }
}

static void on_ended(struct rt_stream *stream, int error) {
    end(peer_of(stream), error);
}

static void on_gone(struct rt_stream *stream) {
    struct peer *peer = peer_of(stream);
    peer->state = PEER_GONE;
    note(peer);
}

static void on_connected(struct rt_stream *stream) {
    struct peer *peer = peer_of(stream);
    peer->state = PEER_OPEN;
    peer->connected = true;
    rt_socket_delays(peer->worker->rt, peer->stream.socket, false);
    moved(peer);
    note(peer);
}

static const struct rt_stream_events peer_events = {
    .data = on_data,
    .sent = on_sent,
    .ended = on_ended,
    .gone = on_gone,
    .connected = on_connected,
};

/* ---- Connecting ---- */

static int connect_stream(struct peer *peer, const char *address) {
    const struct rt_connect_options anywhere = {.source = NULL};
    struct worker *worker = peer->worker;
    if (peer->tls) {
        return tls_stream_connect(worker->server->tls, worker->rt, &peer->stream, address,
                                  peer->port, &anywhere, &peer_events);
    }
    return rt_stream_connect(worker->rt, &peer->stream, address, peer->port, &anywhere,
                             &peer_events);
}

/* To the next address; false, and it is GONE, if there is none that may be tried. */
static bool connect_next(struct peer *peer) {
    while (peer->next_address < peer->addresses.count) {
        int r = connect_stream(peer, peer->addresses.text[peer->next_address++]);
        if (r == 0) {
            peer->state = PEER_CONNECTING;
            peer->ended = false;
            return true;
        }
        peer->error = r;
    }
    peer->state = PEER_GONE;
    note(peer);
    return false;
}

static void on_resolved(void *arg, int error, const struct rt_addresses *addresses) {
    struct peer *peer = arg;
    peer->resolve = NULL;
    if (error != 0) {
        peer->error = error;
        peer->state = PEER_GONE;
        note(peer);
        return;
    }
    peer->addresses = *addresses;
    moved(peer);
    connect_next(peer);
}

/* ---- Life ---- */

static struct peer *find_idle(struct worker *worker, const char *name, bool tls) {
    LIST_EACH(&worker->peers.all, node) {
        struct peer *peer = LIST_ENTRY(node, struct peer, node);
        if (peer->user == NULL && peer->state == PEER_OPEN && !peer->ended && peer->tls == tls &&
            strcmp(peer->name, name) == 0) {
            return peer;
        }
    }
    return NULL;
}

/* There is room for one more; if all are in use there are more than that. */
static void make_room(struct worker *worker) {
    if (worker->peers.count < PEERS_MAX) {
        return;
    }
    LIST_EACH(&worker->peers.all, node) {
        struct peer *peer = LIST_ENTRY(node, struct peer, node);
        if (peer->user == NULL && peer->state == PEER_OPEN) {
            peer_close(peer, 0);
            return;
        }
    }
}

static char *name_of(struct bytes host, int port) {
    struct text name;
    text_init(&name);
    text_append_bytes(&name, host);
    text_appendf(&name, ":%d", port);
    return text_take(&name);
}

static struct peer *peer_new(struct worker *worker, char *name) {
    struct peer *peer = must_calloc(1, sizeof(*peer));
    peer->worker = worker;
    peer->name = name;
    peer->last_db = -1;
    list_node_init(&peer->news);
    pqueue_node_init(&peer->deadline);
    outbuf_init(&peer->out);
    text_init(&peer->in);
    reader_init(&peer->reader);
    list_push_back(&worker->peers.all, &peer->node);
    worker->peers.count++;
    return peer;
}

static void peer_free(struct peer *peer) {
    list_remove(&peer->node);
    list_remove(&peer->news);
    pqueue_remove(&peer->worker->peers.deadlines, &peer->deadline);
    peer->worker->peers.count--;
    outbuf_fini(&peer->out);
    text_fini(&peer->in);
    reader_fini(&peer->reader);
    free(peer->name);
    free(peer);
}

static void begin(struct peer *peer, struct bytes host, int port) {
    char name[RT_HOST_NAME_MAX + 1];
    if (host.len == 0 || host.len > RT_HOST_NAME_MAX || memchr(host.ptr, 0, host.len) != NULL ||
        port < 0) {
        peer->error = -ENOENT;
        peer->state = PEER_GONE;
        note(peer);
        return;
    }
    memcpy(name, host.ptr, host.len);
    name[host.len] = 0;
    peer->port = (uint16_t)port;
    peer->state = PEER_RESOLVING;
    peer->resolve = rt_resolve(peer->worker->rt, name, on_resolved, peer);
}

static struct peer *take(struct worker *worker, struct bytes host, int port, int64_t timeout_ms,
                         const struct peer_user *user, void *arg, bool anew) {
    char *name = name_of(host, port);
    bool tls = worker->config->tls_cluster;
    struct peer *peer = anew ? NULL : find_idle(worker, name, tls);
    bool is_new = peer == NULL;
    if (is_new) {
        make_room(worker);
        peer = peer_new(worker, name);
        peer->tls = tls;
    } else {
        free(name);
    }
    peer->user = user;
    peer->arg = arg;
    peer->timeout_ms = timeout_ms;
    moved(peer);
    if (is_new) {
        begin(peer, host, port);
    }
    return peer;
}

struct peer *peer_take(struct worker *worker, struct bytes host, int port, int64_t timeout_ms,
                       const struct peer_user *user, void *arg) {
    return take(worker, host, port, timeout_ms, user, arg, false);
}

struct peer *peer_dial(struct worker *worker, struct bytes host, int port, int64_t timeout_ms,
                       const struct peer_user *user, void *arg) {
    return take(worker, host, port, timeout_ms, user, arg, true);
}

void peer_send(struct peer *peer) {
    struct iovec vectors[SEND_VECTORS];
    if (peer->state != PEER_OPEN || peer->ended || rt_stream_sending(&peer->stream) ||
        peer->out.bytes == 0) {
        return;
    }
    int count = outbuf_vectors(&peer->out, vectors, SEND_VECTORS), used = 0;
    for (size_t room = SEND_BYTES; used < count && room > 0; used++) {
        vectors[used].iov_len = vectors[used].iov_len < room ? vectors[used].iov_len : room;
        room -= vectors[used].iov_len;
    }
    rt_stream_send(&peer->stream, vectors, used);
}

void peer_give_back(struct peer *peer) {
    peer->user = NULL;
    peer->arg = NULL;
    set_deadline(peer, PEERS_IDLE_MS);
}

void peer_close(struct peer *peer, int error) {
    bool closing = peer->state == PEER_CLOSING;
    if (peer->state == PEER_GONE || (closing && peer->connected)) {
        return;
    }
    pqueue_remove(&peer->worker->peers.deadlines, &peer->deadline);
    peer->error = error;
    peer->next_address = peer->addresses.count;
    if (closing) {
        return;
    }
    if (peer->state == PEER_RESOLVING) {
        rt_resolve_cancel(peer->worker->rt, peer->resolve);
        peer->state = PEER_GONE;
        note(peer);
        return;
    }
    peer->state = PEER_CLOSING;
    rt_stream_close(&peer->stream);
}

/* ---- What is told ---- */

/* All answers that have come, as long as there is somebody who waits for them. */
static void read_replies(struct peer *peer) {
    const struct reader_limits limits = {.bulk_len_max = REPLY_BYTES_MAX, .values_max = 1024};
    size_t used = 0;
    while (peer->state == PEER_OPEN && used < peer->in.len) {
        if (peer->user == NULL) { /* nobody has asked */
            peer_close(peer, -EPROTO);
            break;
        }
        struct reader_reply reply;
        size_t consumed = 0;
        struct bytes rest = bytes_make(peer->in.ptr + used, peer->in.len - used);
        enum read_status status = reader_run(&peer->reader, &limits, rest, &reply, &consumed);
        if (status == READ_MORE && rest.len <= REPLY_BYTES_MAX) {
            break;
        }
        if (status != READ_REPLY) {
            peer_close(peer, -EPROTO);
            break;
        }
        used += consumed;
        moved(peer);
        peer->user->reply(peer->arg, reader_reply_value(&reply));
    }
    memmove(peer->in.ptr, peer->in.ptr + used, peer->in.len - used);
    peer->in.len -= used;
}

/* Nothing of it is in flight: another address, or the end. */
static void gone(struct peer *peer) {
    if (!peer->connected && peer->next_address < peer->addresses.count) {
        connect_next(peer);
        return;
    }
    const struct peer_user *user = peer->user;
    void *arg = peer->arg;
    int error = peer->error;
    bool unsent = peer->out.bytes > 0;
    peer_free(peer);
    if (user != NULL) {
        user->lost(arg, error, unsent);
    }
}

static void tell(struct peer *peer) {
    if (peer->state == PEER_OPEN && !peer->told) {
        peer->told = true;
        peer->user->ready(peer->arg);
    }
    if (peer->emptied) {
        peer->emptied = false;
        if (peer->state == PEER_OPEN && peer->user != NULL) {
            peer->user->emptied(peer->arg);
        }
    }
    if (peer->in.len > 0) {
        read_replies(peer);
    }
    if (peer->ended && peer->state == PEER_CONNECTING) {
        peer->state = PEER_CLOSING; /* the next address is tried when it is gone */
        rt_stream_close(&peer->stream);
    } else if (peer->ended) {
        peer_close(peer, peer->error);
    }
    if (peer->state == PEER_GONE) {
        gone(peer);
    }
}

int64_t peers_work(struct worker *worker) {
    struct peers *peers = &worker->peers;
    if (LIKELY(peers->count == 0)) {
        return INT64_MAX;
    }
    worker_slice_enter(worker);
    struct list_node *node;
    while ((node = list_pop_front(&peers->news)) != NULL) {
        tell(LIST_ENTRY(node, struct peer, news));
    }
    int64_t now_ms = rt_mono_ms(worker->rt);
    struct pqueue_node *first;
    while ((first = pqueue_first(&peers->deadlines)) != NULL && first->key <= now_ms) {
        struct peer *peer = PQUEUE_ENTRY(first, struct peer, deadline);
        peer_close(peer, peer->user != NULL ? -ETIMEDOUT : 0);
    }
    worker->slice.tick = rt_ticks(worker->rt);
    if (!list_empty(&peers->news)) {
        return now_ms;
    }
    return first != NULL ? first->key : INT64_MAX;
}

void peers_stop(struct worker *worker) {
    LIST_EACH(&worker->peers.all, node) {
        peer_close(LIST_ENTRY(node, struct peer, node), -ESHUTDOWN);
    }
}

void peers_free(struct worker *worker) {
    struct list_node *node;
    while ((node = list_first(&worker->peers.all)) != NULL) {
        peer_free(LIST_ENTRY(node, struct peer, node));
    }
}
