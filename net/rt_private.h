/* SPDX-License-Identifier: BSD-3-Clause */
/* rt_private: what the backends of the runtime share and nobody else sees.
 *
 * A backend embeds struct rt as its first member and gives a table of functions. Everything outside
 * a process that a caller can reach goes through that table, so a simulator needs no more than its
 * own.
 *
 * Thread: the runtime's own, but for wake_pending and wake_fd.
 */
#ifndef SHOAL_NET_RT_PRIVATE_H
#define SHOAL_NET_RT_PRIVATE_H

#include "base/list.h"
#include "net/rt.h"

#include <netinet/in.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

struct rt_file_op;
struct rt_helper;
struct rt_resolver;

/* What is done with an open stream: by a backend, or by a filter on top of another stream. */
struct rt_stream_ops {
    void (*send)(struct rt *rt, struct rt_stream *stream);
    void (*pause)(struct rt *rt, struct rt_stream *stream);
    void (*resume)(struct rt *rt, struct rt_stream *stream);
    void (*look_again)(struct rt *rt, struct rt_stream *stream); /* NULL: no need */
    void (*close)(struct rt *rt, struct rt_stream *stream);
    /* The stream that the bytes of a filter's leave by. NULL: by itself. */
    const struct rt_stream *(*below)(const struct rt_stream *stream);
};

struct rt_ops {
    const char *name;
    void (*free)(struct rt *rt);
    bool (*turn)(struct rt *rt, int64_t wait_ns);
    /* rt_submit, rt_look: submits without waiting. NULL in a simulation, whose owner lets time
     * pass. */
    void (*submit)(struct rt *rt);
    /* Whether the next turn has something to report, as far as that is known without asking. */
    bool (*has_news)(struct rt *rt);
    /* Whether something was asked for that only the next turn does. */
    bool (*has_work)(struct rt *rt);
    void (*wake)(struct rt *from, struct rt *target);
    uint64_t (*wall_us)(struct rt *rt);
    uint64_t (*mono_ns)(struct rt *rt);
    void (*random)(struct rt *rt, void *ret, size_t n);
    void (*buffer_recycle)(struct rt *rt, struct rt_buffer *buffer);
    /* Whether no buffer has bytes in it, or may get some before the next turn. None is held. */
    bool (*pool_rests)(struct rt *rt);
    int (*listen)(struct rt *rt, struct rt_listener *listener);
    void (*unlisten)(struct rt *rt, struct rt_listener *listener);
    int (*stream_open)(struct rt *rt, struct rt_stream *stream);
    int (*stream_connect)(struct rt *rt, struct rt_stream *stream, const char *address,
                          uint16_t port, const struct rt_connect_options *options);
    struct rt_stream_ops stream; /* of one that it has opened or connected */
    int (*bind_tcp)(struct rt *rt, const char *address, uint16_t port,
                    const struct rt_listen_options *options, rt_socket *ret_socket);
    int (*bind_unix)(struct rt *rt, const char *path, const struct rt_listen_options *options,
                     rt_socket *ret_socket);
    void (*unlink_unix)(struct rt *rt, const char *path);
    void (*delays)(struct rt *rt, rt_socket socket, bool on);
    void (*keep_alive)(struct rt *rt, rt_socket socket, int seconds);
    void (*addresses)(struct rt *rt, rt_socket socket, char peer[RT_ADDRESS_BYTES],
                      char local[RT_ADDRESS_BYTES]);
    bool (*peer_is_local)(struct rt *rt, rt_socket socket);
    uint16_t (*port)(struct rt *rt, rt_socket socket);
    void (*block)(struct rt *rt, uint64_t ns);
    int64_t (*file_limit)(struct rt *rt, int64_t wanted);
    void (*socket_close)(struct rt *rt, rt_socket socket);
    void (*socket_hold)(struct rt *rt, rt_socket socket);
    void (*refuse)(struct rt *rt, rt_socket socket, struct bytes text);
    void (*file)(struct rt *rt, struct rt_file_op *op);
    /* What a name that is no numeric address means: 0 or -errno, at once. NULL: ask the helper. */
    int (*resolve)(struct rt *rt, const char *name, struct rt_addresses *ret_addresses);
};

/* How the cheap counter relates to nanoseconds: ns = ticks * scale >> 32. */
struct rt_clock {
    bool tsc;
    uint64_t scale;
    uint64_t start_ticks, start_ns;
    uint64_t refine_at_ns;
};

struct rt_pool {
    char *memory;
    struct rt_buffer *buffers;
    unsigned count;
    unsigned buffer_bytes;
    unsigned held; /* buffers that the owner keeps or a callback uses */
    /* rt_trim: */
    uint64_t recvs_seen;    /* receives up to the last call */
    uint64_t recvs_trimmed; /* and up to the last that gave something back */
    unsigned trimmed;       /* buffers given back */
};

/* What a test may have go wrong (rt_inject). */
enum rt_fault {
    RT_FAULT_ACCEPT,     /* -errno, or the socket that the last completion of an accept brings */
    RT_FAULT_RECV,       /* -errno; ENOBUFS: the pool is empty */
    RT_FAULT_SEND,       /* -errno, or how many bytes the socket takes */
    RT_FAULT_ENTER,      /* io_uring: the submission fails with -errno, nothing is taken */
    RT_FAULT_CANCEL,     /* io_uring: what cancelling a stream's requests says, nothing is done */
    RT_FAULT_CONNECT,    /* -errno */
    RT_FAULT_FILE_WRITE, /* -errno, or how many bytes the first write of an operation takes */
    RT_FAULT_FILE_SYNC,  /* -errno, what was written before is written all the same */
    RT_FAULTS
};

struct rt {
    const struct rt_ops *ops;
    int64_t wall_ms, mono_ms;
    uint64_t now_ns, woke_ticks;
    struct rt_stats stats;
    struct rt_pool pool;
    struct rt_clock clock;
    bool (*sleeps)(void *arg); /* rt_on_sleep; or NULL */
    void (*woke)(void *arg);
    void *sleep_arg;
    struct list listeners;
    uint64_t retry_at_ns;         /* when a listener that failed tries again; 0: none */
    int spare_fd;                 /* given up to accept with when there are no others; -1: none */
    struct rt_helper *helper;     /* for files, made when it is first needed; or NULL */
    cpu_set_t beside_cpus;        /* for threads beside it; empty: any */
    struct rt_resolver *resolver; /* that of all made together; NULL in a simulation */
    struct tls_rt *tls;           /* of streams with TLS, made with the first; or NULL */
    unsigned tls_waiting;         /* handshakes of this runtime that can go on, or 0 */
    struct list resolved;         /* rt_resolve: to be told */
    unsigned resolving;           /* and all that were asked for and not told or cancelled */
    unsigned (*file_asked)(void *arg, struct rt_file_op *op); /* rt_file_watch; or NULL */
    void (*file_over)(void *arg, unsigned noted);
    void *file_arg;
    unsigned random_left;
    unsigned char random[256];
#ifdef SHOAL_FAULTS
    struct {
        int result;
        unsigned times;
    } faults[RT_FAULTS];
#endif
    /* Written by any thread: a line of their own. */
    _Alignas(64) atomic_bool wake_pending; /* a wake-up is on its way and was not seen yet */
    int wake_fd; /* an eventfd, for wakers without a ring of their own; -1: ops->wake serves all */
};

struct rt_listener {
    struct list_node link;
    rt_socket socket;
    bool is_unix;
    bool is_tls;
    bool armed; /* the backend is told of connections */
    bool ended; /* rt_unlisten was called */
    uint64_t retry_at_ns;
    rt_accept_fn *accept;
    void *arg;
    uint16_t port;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

/* Bits of rt_stream.flags, both backends. */
enum {
    RT_STREAM_OPEN = 1u << 0,
    RT_STREAM_PAUSED = 1u << 1,
    RT_STREAM_ENDED = 1u << 2,  /* nothing more arrives */
    RT_STREAM_BROKEN = 1u << 3, /* ended was called with an error */
    RT_STREAM_CLOSING = 1u << 4,
    RT_STREAM_SENDING = 1u << 5, /* between send and sent */
    RT_STREAM_LAZY = 1u << 6,    /* its sent may wait */
    RT_STREAM_FULL = 1u << 7,   /* the socket took less than all last time; a send waits for room */
    RT_STREAM_WAITED = 1u << 8, /* the latest send has waited for room, or does */
    RT_STREAM_CONNECTING = 1u << 9, /* is SENDING, too: nothing else can be sent */
    RT_STREAM_BACKEND = 1u << 10,   /* the first bit that a backend may use as it likes */
};

/* An accept that fails for want of something is tried again after this long. */
#define RT_ACCEPT_RETRY_NS (10 * 1000 * 1000ull)

/* What both real backends put into their tables. */
#define RT_REAL_OPS                                                                                \
    .wall_us = rt_real_wall_us, .mono_ns = rt_real_mono_ns, .random = rt_real_random,              \
    .bind_tcp = rt_real_bind_tcp, .bind_unix = rt_real_bind_unix,                                  \
    .unlink_unix = rt_real_unlink_unix, .delays = rt_real_delays,                                  \
    .keep_alive = rt_real_keep_alive, .addresses = rt_real_addresses,                              \
    .peer_is_local = rt_real_peer_is_local, .port = rt_real_port, .block = rt_real_block,          \
    .file_limit = rt_real_file_limit, .socket_close = rt_real_socket_close,                        \
    .socket_hold = rt_real_socket_hold, .refuse = rt_real_refuse

int rt_uring_new(const struct rt_options *options, struct rt **ret_rt, char **ret_reason);
/* What the kernel may count for one as locked memory, about. */
size_t rt_uring_locked_bytes(const struct rt_options *options);
int rt_epoll_new(const struct rt_options *options, struct rt **ret_rt);

/* ---- Common parts (rt.c) ---- */

/* Clocks, pool and wake_fd; ops must be set. Fails with -errno, and rt_common_fini is due all the
 * same. */
#define RT_NO_EVENTFD (-1) /* as eventfd_flags: no wake_fd */
int rt_common_init(struct rt *rt, const struct rt_options *options, int eventfd_flags);
void rt_common_fini(struct rt *rt);
/* After each wait: the cached times. */
void rt_refresh(struct rt *rt);

/* Around what a turn waits in: false, it must not wait; else rt_woke is due right behind it. */
static inline bool rt_sleeps(struct rt *rt) {
    return rt->sleeps == NULL || rt->sleeps(rt->sleep_arg);
}
static inline void rt_woke(struct rt *rt) {
    if (rt->woke != NULL) {
        rt->woke(rt->sleep_arg);
    }
}

/* Lets the address sanitizer see a pool buffer as writable while a system call of ours fills it,
 * and shuts it again. */
void rt_buffer_open(struct rt_buffer *buffer);
void rt_buffer_shut(struct rt_buffer *buffer);
/* A pool buffer that holds n fresh bytes: tells the stream of it and lets go. */
void rt_deliver(struct rt_stream *stream, struct rt_buffer *buffer, size_t n);
/* A stream that is open, as its backend has it; `flags` besides. */
void rt_stream_init(struct rt *rt, struct rt_stream *stream, rt_socket socket, unsigned flags,
                    const struct rt_stream_events *events);
/* The peer ended (0) or the connection broke: tells the owner what it does not know yet. */
void rt_stream_tell_end(struct rt_stream *stream, int error);
/* Nothing names the vectors of its send any more. Called where a stream closes; the end of a send
 * does so by itself. */
void rt_stream_free_vectors(struct rt_stream *stream);
/* Ends the send in flight and tells its outcome: n >= 0, or -errno. */
void rt_stream_tell_sent(struct rt_stream *stream, ssize_t result);
/* The connect in flight is over: 0 or -errno. */
void rt_stream_tell_connected(struct rt_stream *stream, int result);
/* Calls accept of the listener for a new connection. */
void rt_listener_accepted(struct rt *rt, struct rt_listener *listener, rt_socket socket,
                          bool no_room);
/* After a failed accept. Counts it; retry_at_ns of the listener is 0 if it may be tried at once. */
void rt_listener_failed(struct rt *rt, struct rt_listener *listener, int error);
/* A listener whose time to try again has come, or NULL; call until then, after rt_refresh. */
struct rt_listener *rt_listener_due(struct rt *rt);
/* The backend holds nothing of the listener any more. */
void rt_listener_disarmed(struct rt *rt, struct rt_listener *listener);
/* Wait of a turn in ns, cut to when a listener retries. */
int64_t rt_wait_ns(const struct rt *rt, int64_t wait_ns);
/* Announces a wake-up: false if one is on its way already. */
bool rt_wake_announce(struct rt *target);
/* Takes a wake-up that arrived, so that the next one is sent again. */
void rt_wake_take(struct rt *rt);
/* Ends a wait by way of wake_fd. Safe in a signal handler. */
void rt_wake_write(struct rt *target);

/* ---- Names (rt_resolve.c) ---- */

/* Before anything is resolved: one helper for all of them. */
void rt_resolver_share(struct rt **rts, unsigned count);
/* The runtime is about to be freed: what it asked for is forgotten. */
void rt_resolver_leave(struct rt *rt);
/* Calls back for what was found out; only if rt->resolving > 0. */
void rt_resolve_tell(struct rt *rt);

/* ---- TLS (tls_stream.c) ---- */

struct tls_rt;
/* Handshakes go on for a part of the turn; only if rt->tls_waiting > 0. */
void rt_tls_run(struct rt *rt);
void rt_tls_fini(struct rt *rt);

/* ---- Files (rt_file.c) ---- */

/* n bytes more of what it reads or writes are through: vectors and counts say what is left, and the
 * first vector is not empty. */
void rt_file_advance(struct rt_file_op *op, uint64_t n);
/* Does the operation, or what is left of it, by system calls that block: what its result is. */
int64_t rt_file_call(struct rt_file_op *op);
/* Nobody will be told of the result: lets go of what it brought. */
void rt_file_drop(const struct rt_file_op *op, int64_t result);

/* ---- Threads that do so (rt_helper.c) ---- */

/* 0 or -errno. The runtime's thread makes, asks, takes and frees. `cpus` outlives it. */
int rt_helper_new(const cpu_set_t *cpus, struct rt_helper **ret_helper);
/* In a thread beside a runtime, as it begins: its name, and where it runs. */
void rt_beside_begin(const char *name, const cpu_set_t *cpus);
int rt_helper_fd(const struct rt_helper *helper); /* readable when there is something to take */
void rt_helper_ask(struct rt_helper *helper, struct list *ops);      /* takes all of the list */
void rt_helper_take(struct rt_helper *helper, struct list *ret_ops); /* those that are done */
void rt_helper_free(struct rt_helper *helper); /* when all that was asked is done. NULL is fine */

/* ---- Faults (rt.c) ---- */

#ifdef SHOAL_FAULTS /* in builds with tests */
/* The next `times` operations of this kind end with `result` and never reach the kernel. */
void rt_inject(struct rt *rt, enum rt_fault fault, int result, unsigned times);
/* Whether this one does. */
bool rt_faulted(struct rt *rt, enum rt_fault fault, int *ret_result);
#else
static inline bool rt_faulted(struct rt *rt, enum rt_fault fault, int *ret_result) {
    (void)rt, (void)fault, (void)ret_result;
    return false;
}
#endif

/* ---- Real sockets, time and chance (rt_socket.c, rt.c) ---- */

uint64_t rt_real_wall_us(struct rt *rt);
uint64_t rt_real_mono_ns(struct rt *rt);
void rt_real_random(struct rt *rt, void *ret, size_t n);
int rt_real_bind_tcp(struct rt *rt, const char *address, uint16_t port,
                     const struct rt_listen_options *options, rt_socket *ret_socket);
int rt_real_bind_unix(struct rt *rt, const char *path, const struct rt_listen_options *options,
                      rt_socket *ret_socket);
void rt_real_unlink_unix(struct rt *rt, const char *path);
/* Makes a socket, bound to the source if there is one, into stream->socket, and puts where it shall
 * connect to into stream->message_storage. */
int rt_real_dial(struct rt_stream *stream, const char *address, uint16_t port,
                 const struct rt_connect_options *options);
const struct sockaddr *rt_real_dialled(const struct rt_stream *stream, socklen_t *ret_len);
/* Connects without waiting, or looks how that went: 0, -EAGAIN: not yet, or -errno. */
int rt_real_connect(const struct rt_stream *stream);
void rt_real_delays(struct rt *rt, rt_socket socket, bool on);
void rt_real_keep_alive(struct rt *rt, rt_socket socket, int seconds);
void rt_real_addresses(struct rt *rt, rt_socket socket, char peer[RT_ADDRESS_BYTES],
                       char local[RT_ADDRESS_BYTES]);
int64_t rt_real_file_limit(struct rt *rt, int64_t wanted);
void rt_real_socket_close(struct rt *rt, rt_socket socket);
void rt_real_socket_hold(struct rt *rt, rt_socket socket);
void rt_real_refuse(struct rt *rt, rt_socket socket, struct bytes text);
/* A descriptor to spare, unless there is one. */
void rt_real_spare(struct rt *rt);
/* After an accept that failed: if it did for want of a descriptor, accepts who waits with the spare
 * one. The backend must not be accepting itself. */
void rt_real_accept_spare(struct rt *rt, struct rt_listener *listener, int error);
bool rt_real_peer_is_local(struct rt *rt, rt_socket socket);
/* Sends the stream's vectors, but no more than bytes_max, without waiting: bytes taken, or -errno.
 */
ssize_t rt_real_send(const struct rt_stream *stream, size_t bytes_max);
uint16_t rt_real_port(struct rt *rt, rt_socket socket);
void rt_real_block(struct rt *rt, uint64_t ns);

#endif
