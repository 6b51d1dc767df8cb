/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of the runtime share: every test runs on both real backends and, unless it is
 * about the kernel or about threads, on the simulated one, so that the simulation does not drift
 * from what it stands for.
 *
 * A `struct end` is one stream of the runtime under test that remembers what it was told; the other
 * side is its peer in the test's hand: a plain socket, or a peer of the simulated world. A peer is
 * a number either way, and the peer_ functions know which. So a test is one thread unless it is
 * about threads. pump() turns the runtime until something is true.
 */
#ifndef SHOAL_TEST_UNIT_RT_HARNESS_H
#define SHOAL_TEST_UNIT_RT_HARNESS_H

#include "base/outbuf.h"
#include "net/rt.h"
#include "net/rt_sim.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* A test of what only the kernel does, or with threads: BOTH(module, sentence) { ... `backend` ...
 * }
 */
#define BOTH(module, name)                                                                         \
    static void name##_on(enum rt_backend backend);                                                \
    Test(module##_uring, name) {                                                                   \
        name##_on(RT_URING);                                                                       \
    }                                                                                              \
    Test(module##_epoll, name) {                                                                   \
        name##_on(RT_EPOLL);                                                                       \
    }                                                                                              \
    static void name##_on(enum rt_backend backend)

/* The third backend of the tests. */
#define RT_SIM ((enum rt_backend)(RT_EPOLL + 1))

/* All others: EACH(module, sentence) { ... } */
#define EACH(module, name)                                                                         \
    static void name##_on(enum rt_backend backend);                                                \
    Test(module##_sim, name) {                                                                     \
        name##_on(RT_SIM);                                                                         \
    }                                                                                              \
    BOTH(module, name)

/* The simulated world of a test; a test is a process of its own. */
static struct sim *harness_sim;
static struct sim_peer **harness_peers; /* by number - HARNESS_PEERS */
static int harness_peers_count;
#define HARNESS_PEERS (1 << 24) /* numbers of simulated peers: no descriptor is that large */

static inline void harness_sim_make(void) {
    if (harness_sim == NULL) {
        struct sim_options options = {
            .seed = 7,
            .buffer_min_bytes = 200 * 1024,
            .buffer_max_bytes = 256 * 1024,
            .faults = {.latency_min_ns = 1000,
                       .latency_max_ns = 200000,
                       .split = 20000,
                       .shuffle = 65536,
                       .defer = 3000},
        };
        harness_sim = sim_new(&options);
    }
}

static inline struct rt *rt_of(const struct rt_options *options) {
    struct rt *rt = NULL;
    char *reason;
    int r = rt_new(options, 1, &rt, &reason);
    free(reason);
    if (options->backend == RT_URING && (r == -ENOSYS || r == -EPERM || r == -EACCES)) {
        cr_skip_test("io_uring is not allowed here");
    }
    cr_assert_eq(r, 0, "rt_new: %s", strerror(-r));
    return rt;
}

static inline struct rt *rt_with(enum rt_backend backend, unsigned buffers, unsigned bytes) {
    struct rt_options options = {
        .backend = backend, .recv_buffers = buffers, .recv_buffer_bytes = bytes};
    if (backend == RT_SIM) {
        harness_sim_make();
        options.make = sim_rt_make;
        options.world = harness_sim;
    }
    return rt_of(&options);
}

static inline struct rt *rt_made(enum rt_backend backend) {
    return rt_with(backend, 64, 16384);
}

static inline int64_t now_ms(void) {
    if (harness_sim != NULL) {
        return (int64_t)(sim_now_ns(harness_sim) / 1000000);
    }
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* The thread does something else for a while. */
static inline void nap_ms(int64_t ms) {
    if (harness_sim == NULL) {
        usleep((useconds_t)ms * 1000);
        return;
    }
    uint64_t until = sim_now_ns(harness_sim) + (uint64_t)ms * 1000000;
    while (sim_step(harness_sim, until)) {
    }
}

#define PUMP_LIMIT_MS 20000

/* Turns until the condition holds. */
#define pump(rt, condition)                                                                        \
    do {                                                                                           \
        int64_t pump_end = now_ms() + PUMP_LIMIT_MS;                                               \
        while (!(condition)) {                                                                     \
            rt_turn((rt), 5 * 1000 * 1000);                                                        \
            cr_assert_lt(now_ms(), pump_end, "never happened: %s", #condition);                    \
        }                                                                                          \
    } while (0)

/* Turns for a while. */
static inline void pump_for(struct rt *rt, int64_t ms) {
    for (int64_t end = now_ms() + ms; now_ms() < end;) {
        rt_turn(rt, 2 * 1000 * 1000);
    }
}

/* ---- Peers ---- */

static inline struct sim_peer *peer_simulated(int peer) {
    return peer >= HARNESS_PEERS ? harness_peers[peer - HARNESS_PEERS] : NULL;
}

static inline int peer_of_sim(struct sim_peer *peer) {
    harness_peers =
        realloc(harness_peers, (size_t)(harness_peers_count + 1) * sizeof(*harness_peers));
    harness_peers[harness_peers_count] = peer;
    return HARNESS_PEERS + harness_peers_count++;
}

/* As much as goes at once: how much, 0 for none, -1 when the connection is broken. */
static inline ssize_t peer_try_write(int peer, const void *data, size_t n) {
    struct sim_peer *simulated = peer_simulated(peer);
    ssize_t r = simulated ? sim_peer_write(simulated, data, n)
                          : send(peer, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (!simulated && r < 0 && errno == EAGAIN) {
        return 0;
    }
    return r < 0 ? -1 : r;
}

/* What is there: how much, 0 for nothing, -1 at the end. */
static inline ssize_t peer_try_read(int peer, void *ret, size_t n) {
    struct sim_peer *simulated = peer_simulated(peer);
    if (simulated) {
        ssize_t r = sim_peer_read(simulated, ret, n);
        return r < 0 || (r == 0 && sim_peer_ended(simulated)) ? -1 : r;
    }
    ssize_t r = recv(peer, ret, n, MSG_DONTWAIT);
    return r < 0 && errno == EAGAIN ? 0 : r > 0 ? r : -1;
}

static inline void peer_write(int peer, const void *data, size_t n) {
    const char *p = data;
    while (n > 0) {
        ssize_t r =
            peer_simulated(peer) ? peer_try_write(peer, p, n) : send(peer, p, n, MSG_NOSIGNAL);
        cr_assert_gt(r, 0, "write: %s", strerror(errno));
        p += r;
        n -= (size_t)r;
    }
}

/* Exactly n bytes; fewer only at the end of the stream. */
static inline size_t peer_read(int peer, void *ret, size_t n) {
    size_t done = 0;
    while (done < n) {
        ssize_t r;
        if (peer_simulated(peer)) {
            r = peer_try_read(peer, (char *)ret + done, n - done);
            if (r == 0) {
                cr_assert_neq(sim_next_ns(harness_sim), UINT64_MAX,
                              "a read that nothing would end");
                sim_step(harness_sim, sim_next_ns(harness_sim));
                continue;
            }
        } else {
            r = recv(peer, (char *)ret + done, n - done, 0);
        }
        if (r <= 0) {
            break;
        }
        done += (size_t)r;
    }
    return done;
}

static inline void peer_close(int peer) {
    struct sim_peer *simulated = peer_simulated(peer);
    if (simulated) {
        sim_peer_close(simulated);
    } else {
        close(peer);
    }
}

static inline void peer_shutdown(int peer) {
    struct sim_peer *simulated = peer_simulated(peer);
    if (simulated) {
        sim_peer_shutdown(simulated);
    } else {
        shutdown(peer, SHUT_WR);
    }
}

static inline void peer_reset(int peer) {
    struct sim_peer *simulated = peer_simulated(peer);
    if (simulated) {
        sim_peer_reset(simulated);
    } else {
        struct linger linger = {1, 0};
        setsockopt(peer, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        close(peer);
    }
}

static inline void tcp_pair(int pair[2]) {
    if (harness_sim != NULL) {
        struct sim_peer *peer;
        pair[0] = sim_pair(harness_sim, true, &peer);
        pair[1] = peer_of_sim(peer);
        return;
    }
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, len), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    pair[1] = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(pair[1], (struct sockaddr *)&address, len), 0);
    pair[0] = accept(listener, NULL, NULL);
    cr_assert_geq(pair[0], 0);
    close(listener);
}

static inline void unix_pair(int pair[2]) {
    if (harness_sim != NULL) {
        struct sim_peer *peer;
        pair[0] = sim_pair(harness_sim, false, &peer);
        pair[1] = peer_of_sim(peer);
        return;
    }
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
}

/* ---- Streams under test ---- */

struct end {
    struct rt_stream stream;
    int peer; /* the test's side */
    char *got;
    size_t got_len, got_cap;
    unsigned data_calls;
    unsigned sent_calls;
    size_t sent_bytes;
    size_t sent_last;
    unsigned ended_calls;
    int ended_error;
    bool gone;
    bool close_on_data, close_on_end, close_on_connect;
    unsigned connected_calls;
    struct rt_buffer *kept[256];
    unsigned kept_count, keep_max;
};

static inline void end_data(struct rt_stream *stream, struct rt_buffer *buffer,
                            struct bytes bytes) {
    struct end *end = (struct end *)stream;
    cr_assert_not(end->gone);
    cr_assert_gt(bytes.len, 0);
    cr_assert(bytes.ptr >= buffer->data && bytes.ptr + bytes.len <= buffer->data + buffer->size);
    if (end->got_len + bytes.len > end->got_cap) {
        end->got_cap = (end->got_len + bytes.len) * 2;
        end->got = realloc(end->got, end->got_cap);
    }
    memcpy(end->got + end->got_len, bytes.ptr, bytes.len);
    end->got_len += bytes.len;
    end->data_calls++;
    if (end->kept_count < end->keep_max) {
        end->kept[end->kept_count++] = rt_buffer_ref(buffer);
    }
    if (end->close_on_data) {
        rt_stream_close(stream);
    }
}

static inline void end_sent(struct rt_stream *stream, size_t n) {
    struct end *end = (struct end *)stream;
    cr_assert_not(end->gone);
    cr_assert_not(rt_stream_sending(stream));
    end->sent_calls++;
    end->sent_bytes += n;
    end->sent_last = n;
}

static inline void end_ended(struct rt_stream *stream, int error) {
    struct end *end = (struct end *)stream;
    cr_assert_not(end->gone);
    cr_assert_leq(error, 0);
    end->ended_calls++;
    end->ended_error = error;
    if (end->close_on_end) {
        rt_stream_close(stream);
    }
}

static inline void end_gone(struct rt_stream *stream) {
    struct end *end = (struct end *)stream;
    cr_assert_not(end->gone, "gone twice");
    cr_assert_eq(stream->in_flight, 0);
    end->gone = true;
}

static inline void end_connected(struct rt_stream *stream) {
    struct end *end = (struct end *)stream;
    cr_assert_not(end->gone);
    cr_assert_eq(end->ended_calls, 0);
    cr_assert_eq(end->data_calls, 0);
    cr_assert_not(rt_stream_sending(stream));
    end->connected_calls++;
    if (end->close_on_connect) {
        rt_stream_close(stream);
    }
}

static const struct rt_stream_events end_events = {end_data, end_sent, end_ended, end_gone,
                                                   end_connected};

static inline struct end *end_on(struct rt *rt, int socket, int peer) {
    struct end *end = calloc(1, sizeof(*end));
    end->peer = peer;
    cr_assert_eq(rt_stream_open(rt, &end->stream, socket, &end_events), 0);
    return end;
}

/* A connected pair of unix sockets, one of them a stream. */
static inline struct end *end_made(struct rt *rt) {
    int pair[2];
    unix_pair(pair);
    return end_on(rt, pair[0], pair[1]);
}

/* Closes the stream if it is open, and frees it when it is gone. */
static inline void end_over(struct rt *rt, struct end *end) {
    for (unsigned i = 0; i < end->kept_count; i++) {
        rt_buffer_unref(end->kept[i]);
    }
    if (!end->gone) {
        rt_stream_close(&end->stream);
        pump(rt, end->gone);
    }
    if (end->peer >= 0) {
        peer_close(end->peer);
    }
    free(end->got);
    free(end);
}

static inline void end_send(struct end *end, const void *data, size_t n) {
    struct iovec vector = {(void *)data, n};
    rt_stream_send(&end->stream, &vector, 1);
}

/* ---- A listener that remembers whom it let in ---- */

static const struct rt_listen_options plain = {.backlog = 511};

struct door {
    struct rt *rt;
    struct rt_listener *listener;
    struct rt_accepted last;
    rt_socket sockets[2048];
    int count;
    int refused; /* for want of a descriptor */
    bool unlisten_on_accept;
};

static inline void door_accept(void *arg, const struct rt_accepted *accepted) {
    struct door *door = arg;
    cr_assert_lt(door->count, 2048);
    door->last = *accepted;
    if (accepted->no_room) {
        door->refused++;
        rt_socket_refuse(door->rt, accepted->socket, BYTES("full"));
        return;
    }
    door->sockets[door->count++] = accepted->socket;
    if (door->unlisten_on_accept) {
        door->unlisten_on_accept = false;
        rt_unlisten(door->rt, door->listener);
    }
}

static inline void door_close_all(struct door *door) {
    for (int i = 0; i < door->count; i++) {
        rt_socket_close(door->rt, door->sockets[i]);
    }
    door->count = 0;
}

static inline struct door *door_new(struct rt *rt, const char *address, uint16_t port) {
    struct door *door = calloc(1, sizeof(*door));
    door->rt = rt;
    int r = rt_listen_tcp(rt, address, port, &plain, door_accept, door, &door->listener);
    cr_assert_eq(r, 0, "listen on %s: %s", address, strerror(-r));
    return door;
}

static inline int dial(uint16_t port) {
    if (harness_sim != NULL) {
        struct sim_peer *peer;
        int r = sim_dial(harness_sim, port, &peer);
        return r < 0 ? r : peer_of_sim(peer);
    }
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0, "socket: %s", strerror(errno));
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

/* ---- A stream that answers what it gets ---- */

/* It stops reading while too much waits to be sent. */
struct echo {
    struct rt_stream stream;
    struct outbuf out;
    bool gone;
    unsigned pauses;
};

static inline void echo_flush(struct echo *echo) {
    if (!rt_stream_sending(&echo->stream) && echo->out.bytes > 0) {
        struct iovec vectors[RT_SEND_VECTORS];
        int count = outbuf_vectors(&echo->out, vectors, RT_SEND_VECTORS);
        rt_stream_send(&echo->stream, vectors, count);
    }
}

static inline void echo_data(struct rt_stream *stream, struct rt_buffer *buffer,
                             struct bytes bytes) {
    struct echo *echo = (struct echo *)stream;
    (void)buffer;
    outbuf_append(&echo->out, bytes.ptr, bytes.len);
    if (echo->out.bytes > 100000) {
        echo->pauses++;
        rt_stream_pause(stream);
    }
    echo_flush(echo);
}

static inline void echo_sent(struct rt_stream *stream, size_t n) {
    struct echo *echo = (struct echo *)stream;
    outbuf_drain(&echo->out, n);
    if (echo->out.bytes < 50000) {
        rt_stream_resume(stream);
    }
    echo_flush(echo);
}

static inline void echo_ended(struct rt_stream *stream, int error) {
    (void)error;
    rt_stream_close(stream);
}

static inline void echo_gone(struct rt_stream *stream) {
    ((struct echo *)stream)->gone = true;
}

static inline void echo_open(struct rt *rt, struct echo *echo, int socket) {
    static const struct rt_stream_events events = {echo_data, echo_sent, echo_ended, echo_gone,
                                                   NULL};
    memset(echo, 0, sizeof(*echo));
    outbuf_init(&echo->out);
    cr_assert_eq(rt_stream_open(rt, &echo->stream, socket, &events), 0);
}

/* ---- Odds and ends ---- */

/* Bytes in which every place is different from its neighbours, whatever the offset. */
static inline char *pattern_new(size_t n) {
    char *p = malloc(n);
    uint32_t x = 12345;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        p[i] = (char)(x >> 24);
    }
    return p;
}

static inline int64_t cpu_us(void) {
    uint64_t user, system;
    rt_thread_usage(&user, &system);
    return (int64_t)(user + system);
}

#endif
