/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of the runtime share: every test runs on both backends, against the real kernel.
 *
 * A `struct end` is one stream of the runtime under test that remembers what it was told; the other
 * side is a plain socket in the test's hand, so that a test is one thread unless it is about
 * threads. pump() turns the runtime until something is true.
 */
#ifndef SHOAL_TEST_UNIT_RT_HARNESS_H
#define SHOAL_TEST_UNIT_RT_HARNESS_H

#include "net/rt.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Test on both: BOTH(module, sentence) { ... uses `backend` ... } */
#define BOTH(module, name)                                                                         \
    static void name##_on(enum rt_backend backend);                                                \
    Test(module##_uring, name) {                                                                   \
        name##_on(RT_URING);                                                                       \
    }                                                                                              \
    Test(module##_epoll, name) {                                                                   \
        name##_on(RT_EPOLL);                                                                       \
    }                                                                                              \
    static void name##_on(enum rt_backend backend)

static inline struct rt *rt_with(enum rt_backend backend, unsigned buffers, unsigned bytes) {
    struct rt_options options = {
        .backend = backend, .recv_buffers = buffers, .recv_buffer_bytes = bytes};
    struct rt *rt = NULL;
    int r = rt_new(&options, &rt);
    if (backend == RT_URING && (r == -ENOSYS || r == -EPERM || r == -EACCES)) {
        cr_skip_test("io_uring is not allowed here");
    }
    cr_assert_eq(r, 0, "rt_new: %s", strerror(-r));
    return rt;
}

static inline struct rt *rt_made(enum rt_backend backend) {
    return rt_with(backend, 64, 16384);
}

static inline int64_t now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
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
    bool close_on_data, close_on_end;
    bool in_turn; /* set by the test around rt_turn where it matters */
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

static const struct rt_stream_events end_events = {end_data, end_sent, end_ended, end_gone};

static inline struct end *end_on(struct rt *rt, int socket, int peer) {
    struct end *end = calloc(1, sizeof(*end));
    end->peer = peer;
    cr_assert_eq(rt_stream_open(rt, &end->stream, socket, &end_events), 0);
    return end;
}

/* A connected pair of unix sockets, one of them a stream. */
static inline struct end *end_made(struct rt *rt) {
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
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
        close(end->peer);
    }
    free(end->got);
    free(end);
}

static inline void end_send(struct end *end, const void *data, size_t n) {
    struct iovec vector = {(void *)data, n};
    rt_stream_send(&end->stream, &vector, 1);
}

static inline void peer_write(int peer, const void *data, size_t n) {
    const char *p = data;
    while (n > 0) {
        ssize_t r = send(peer, p, n, MSG_NOSIGNAL);
        cr_assert_gt(r, 0, "write: %s", strerror(errno));
        p += r;
        n -= (size_t)r;
    }
}

/* Exactly n bytes; fewer only at the end of the stream. */
static inline size_t peer_read(int peer, void *ret, size_t n) {
    size_t done = 0;
    while (done < n) {
        ssize_t r = recv(peer, (char *)ret + done, n - done, 0);
        if (r <= 0) {
            break;
        }
        done += (size_t)r;
    }
    return done;
}

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
