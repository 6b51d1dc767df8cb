/* SPDX-License-Identifier: BSD-3-Clause */
/* rt: the runtime of one thread: the seam between the server and everything a test cannot repeat.
 *
 * Time, randomness, sockets, wake-ups: all of it passes through here, so that the same server code
 * runs on io_uring, on epoll and inside a simulator that owns the clock and the network (rt_sim.h).
 * It is completion-style: the caller says what it wants, `rt_turn` submits everything in one go,
 * waits, and calls back. No callback runs outside rt_turn.
 *
 * Thread: a runtime belongs to the thread that first calls rt_turn, and only that one uses it, but
 * for rt_wake's target, and who takes its place while it waits (rt_on_sleep).
 * Ownership: a stream is embedded in its owner's struct and must stay in place until `gone` was
 * called. Receive buffers are counted references; memory given to send must stay until `sent`.
 * Errors: 0 or -errno.
 */
#ifndef SHOAL_NET_RT_H
#define SHOAL_NET_RT_H

#include "base/bytes.h"
#include "base/list.h"

#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct rt;

#define RT_CPUS_MAX 1024 /* numbers of processors are below */

enum rt_backend { RT_AUTO, RT_URING, RT_EPOLL };

struct rt_options {
    enum rt_backend backend;
    unsigned recv_buffers;      /* buffers of the receive pool, a power of two */
    unsigned recv_buffer_bytes; /* size of one */
    unsigned queue_entries;     /* of io_uring's submission queue; 0: as many as are good */
    /* Where what is done beside the runtimes runs, their own threads and the kernel's of a ring;
     * none: wherever the system puts them. Only read by rt_new. */
    const int *beside_cpus;
    unsigned beside_cpus_count;
    /* Makes it in another way than by `backend`, or NULL: how a simulation gives its own. */
    int (*make)(void *world, const struct rt_options *options, struct rt **ret_rt);
    void *world;
};

/* Makes `count` runtimes, one for each of as many threads, all on one backend: RT_AUTO takes
 * io_uring where the kernel allows that many rings, else epoll for all. *ret_reason tells why there
 * is no io_uring, also when RT_URING fails; it is NULL where there is, and the caller's to free. */
int rt_new(const struct rt_options *options, unsigned count, struct rt **ret_rts,
           char **ret_reason);
void rt_free(struct rt *rt); /* closes what is still closing or listening; open streams are the
                                owner's to close before */
const char *rt_backend_name(const struct rt *rt); /* "io_uring", "epoll" or "sim" */

/* ---- Time and chance ---- */

int64_t rt_wall_ms(const struct rt *rt); /* wall clock, read once per turn: cheap */
int64_t rt_wall_us(struct rt *rt);       /* wall clock, read now; so is rt_wall_ms from now on */
int64_t rt_mono_ms(const struct rt *rt); /* monotonic, read once per turn: cheap */
uint64_t rt_mono_ns(struct rt *rt);      /* monotonic, read now */
void rt_random(struct rt *rt, void *ret, size_t n);
/* Holds the thread up, callbacks and all: DEBUG SLEEP. */
void rt_block(struct rt *rt, uint64_t ns);

/* A counter that is cheap to read (the CPU's time stamp counter where there is one), and what it
 * means: for measuring commands. */
uint64_t rt_ticks(struct rt *rt);
uint64_t rt_woke_ticks(const struct rt *rt); /* when the last turn's wait was over */
uint64_t rt_ticks_to_ns(const struct rt *rt, uint64_t ticks);
uint64_t rt_ns_to_ticks(const struct rt *rt, uint64_t ns);

/* ---- The turn ---- */

/* Submits what was asked for since the last turn, waits until something completes, rt_wake is
 * called or `wait_ns` have passed (0: does not wait; negative: no limit), and runs the callbacks of
 * all that completed. Returns true if it was woken by rt_wake. */
bool rt_turn(struct rt *rt, int64_t wait_ns);

/* Lets others know when the thread waits in rt_turn: `sleeps` is called right before (false: it
 * shall not wait), `woke` right after, ahead of all callbacks. In between this thread touches
 * nothing that is the runtime's or its streams', so another may take its place: it may use them,
 * but for rt_turn and rt_look, and ends that before `woke` returns. */
void rt_on_sleep(struct rt *rt, bool (*sleeps)(void *arg), void (*woke)(void *arg), void *arg);
/* For such another: brings the clocks up to date. */
void rt_visit(struct rt *rt);
/* And: something was asked for that is done in the next turn, which should come soon. */
bool rt_has_work(struct rt *rt);

/* Submits what was asked for since the last turn, as the next would: before work that takes longer
 * than a turn should. Nothing in a simulation, where work takes no time. */
void rt_submit(struct rt *rt);

/* Submits what was asked for since the last turn, as the next would, and calls found(arg) over and
 * over until that is true, something is known to have completed, or `ns` have passed. No callback
 * runs. */
void rt_look(struct rt *rt, bool (*found)(void *arg), void *arg, uint64_t ns);

/* Whether that is of use: the clock is cheap, and there is a CPU for each of so many threads. */
bool rt_may_look(const struct rt *rt, unsigned threads);

/* For the owner to call ten times a second: once little is received, what the receive buffers have
 * in memory goes back to the system, a part at each call; `all`: at once. Nothing happens while one
 * is held. */
void rt_trim(struct rt *rt, bool all);

/* Ends the current or next wait of `target`. `from` is the caller's own runtime, or NULL from a
 * thread without one (a signal handler may call it with NULL). Costs no system call of its own
 * where `from` can send the wake-up with its next submission. */
void rt_wake(struct rt *from, struct rt *target);

struct rt_stats {
    uint64_t turns;
    uint64_t accepts, accept_errors;
    uint64_t connects, connect_errors;
    uint64_t recvs, sends, recv_bytes, sent_bytes;
    uint64_t buffers_exhausted; /* receives that found the whole pool in use */
    uint64_t cq_overflows;      /* turns that began with completions beyond the queue */
    uint64_t short_sends;
};
const struct rt_stats *rt_get_stats(const struct rt *rt);

/* ---- Listening ---- */

/* A socket that somebody accepted and nobody opened yet; may travel to another thread as a number.
 */
typedef int rt_socket;

#define RT_ADDRESS_BYTES 128 /* text of an address: "127.0.0.1:6379", "[::1]:6379", "/path:0" */

struct rt_accepted {
    rt_socket socket;
    bool is_unix;
    bool is_local; /* peer is loopback or unix: protected mode lets it in */
    bool is_tls;   /* asked for with the listener: it shall be opened by tls_stream_open */
    bool no_room;  /* no descriptor is left for another: to be told so at once (rt_socket_refuse) */
};

struct rt_listener; /* made by listen, freed by rt_unlisten, or with the runtime */
typedef void rt_accept_fn(void *arg, const struct rt_accepted *accepted);

struct rt_listen_options {
    int backlog;
    bool mptcp;             /* TCP over several paths, for who asks for it */
    uint32_t mark;          /* SO_MARK of the socket and of those it accepts; 0: none */
    bool *ret_unmarked;     /* set if the system does not allow that; not NULL with a mark */
    bool tls;               /* nothing but what is_tls of who is accepted says */
    int unix_mode;          /* permissions of a unix socket, set before it listens; 0: leave */
    const char *unix_group; /* or NULL */
};

/* Listens on a numeric address or host name and port (IPv4 or IPv6; "*" any IPv4, "::" or "::*" any
 * IPv6, v6 only). accept runs in rt_turn, once per connection. A failure to accept (EMFILE,
 * ECONNABORTED ...) never ends listening: it is counted and retried within milliseconds. Who
 * connects when the process or the system is out of descriptors is accepted by way of a spare one
 * (`no_room`), instead of waiting for an answer that may never come. */
int rt_listen_tcp(struct rt *rt, const char *address, uint16_t port,
                  const struct rt_listen_options *options, rt_accept_fn *accept, void *arg,
                  struct rt_listener **ret_listener);
int rt_listen_unix(struct rt *rt, const char *path, const struct rt_listen_options *options,
                   rt_accept_fn *accept, void *arg, struct rt_listener **ret_listener);
void rt_unlisten(struct rt *rt, struct rt_listener *listener); /* a unix socket's file is removed */
uint16_t rt_listener_port(
    const struct rt_listener *listener); /* what was bound, also after port 0; 0 of a unix socket */

/* ---- Streams ---- */

/* Received bytes: from the pool of the runtime, or (rt_buffer_new) from the allocator. */
struct rt_buffer {
    uint32_t refs;
    uint32_t id;     /* of a pool buffer */
    struct rt *pool; /* NULL: from the allocator */
    char *data;
    size_t size; /* capacity */
    /* Of a buffer from the allocator: run when its last reference goes, if not NULL. */
    void (*release)(void *pin);
    void *pin;
};
struct rt_buffer *rt_buffer_new(size_t size); /* refs = 1 */
static inline struct rt_buffer *rt_buffer_ref(struct rt_buffer *buffer) {
    buffer->refs++;
    return buffer;
}
void rt_buffer_recycle(struct rt_buffer *buffer); /* private: refs is 0 */
static inline void rt_buffer_unref(struct rt_buffer *buffer) {
    if (--buffer->refs == 0) {
        rt_buffer_recycle(buffer);
    }
}

struct rt_stream;

struct rt_stream_events {
    /* Bytes arrived: `bytes` lies in `buffer`, which lives during the call; ref it to keep it
     * longer. */
    void (*data)(struct rt_stream *stream, struct rt_buffer *buffer, struct bytes bytes);
    /* n >= 0 bytes of the send in flight are out, and the stream is free for the next (n may be
     * less than was given). */
    void (*sent)(struct rt_stream *stream, size_t n);
    /* The peer ended (error 0) or the connection broke (-errno). Nothing more arrives; after 0 one
     * may still send, and a send in flight is still reported. At most once each: a 0 may be
     * followed by one -errno when a later send fails. A send that failed is over and is told by
     * `ended` alone, never by `sent`. */
    void (*ended)(struct rt_stream *stream, int error);
    /* After rt_stream_close: nothing is in flight any more, the memory is the owner's again. From
     * the close on, only this is called. */
    void (*gone)(struct rt_stream *stream);
    /* Of rt_stream_connect: it may send from now on, and receives. Of TLS: the handshake is over.
     * If that fails, `ended` says why and this is never called. NULL for other accepted streams. */
    void (*connected)(struct rt_stream *stream);
};

/* A pipeline of large values is two vectors each, and a send costs more than either. */
#define RT_SEND_VECTORS 256
#define RT_FEW_VECTORS  4 /* as most sends have: a stream has room for them */

struct rt_stream_ops;

struct rt_stream {
    struct rt *rt;
    const struct rt_stream_events *events;
    const struct rt_stream_ops *ops; /* private to net, as is what follows `socket` */
    rt_socket socket;
    /* Private to the backend. */
    unsigned flags;
    unsigned in_flight;
    struct list_node link; /* among the closing, or those that wait for a buffer */
    size_t send_bytes;
    ssize_t send_result;
    unsigned send_slot;
    int vectors_count;
    uint64_t message_storage[8]; /* a msghdr */
    struct iovec *vectors;       /* few, or allocated for as long as the send lasts */
    struct iovec few[RT_FEW_VECTORS];
};

/* Takes over an accepted socket and starts receiving. After an error it is still the caller's. */
int rt_stream_open(struct rt *rt, struct rt_stream *stream, rt_socket socket,
                   const struct rt_stream_events *events);
/* Connects to a numeric address (IPv4 or IPv6; rt_resolve makes one of a name). After 0 either
 * `connected` or `ended` follows, in a turn. Until then nothing can be sent, and the stream may be
 * closed at any time, which is how who asked puts an end to it: there is no other limit than the
 * system's, which is minutes. After an error, -EINVAL for what is no address, nothing was begun. */
struct rt_connect_options {
    const char *source; /* a numeric address to connect from, if it will do for that one and this
                         * machine has it; or NULL */
    bool mptcp;
};
int rt_stream_connect(struct rt *rt, struct rt_stream *stream, const char *address, uint16_t port,
                      const struct rt_connect_options *options,
                      const struct rt_stream_events *events);
/* Sends the vectors (1 to RT_SEND_VECTORS); one send may be in flight. The array is copied, the
 * memory it names is not. */
void rt_stream_send(struct rt_stream *stream, const struct iovec *vectors, int count);
/* The same when `sent` has nothing left to do but free memory: if all of it goes out at once,
 * `sent` may wait until the next turn that has something else to report. This is the common case of
 * replies, and saves a turn of the loop. Not for a reply after which the stream is closed, nor when
 * more bytes are ready than the vectors hold. */
void rt_stream_send_lazy(struct rt_stream *stream, const struct iovec *vectors, int count);
bool rt_stream_sending(const struct rt_stream *stream);
/* The send waits for room in the socket: the peer does not read as fast. */
bool rt_stream_stuck(const struct rt_stream *stream);
/* The latest send did, in the end or not: for `sent`, which else may come some time after the bytes
 * have left. */
bool rt_stream_waited(const struct rt_stream *stream);
/* Bytes of the send that the system has taken, or is just about to, before `sent` says so. */
size_t rt_stream_taken(const struct rt_stream *stream);
/* Stops and starts receiving: back-pressure. Some data that was on its way may still arrive after a
 * pause. Idempotent. */
void rt_stream_pause(struct rt_stream *stream);
void rt_stream_resume(struct rt_stream *stream);
/* For who has heard nothing for a while: makes sure that the end of the peer is not missed. Costs
 * something only once after each receive. */
void rt_stream_look_again(struct rt_stream *stream);
/* Before the last close of a process: the peer sees the end when the process is there no more, and
 * what it held (ports, files that are locked) is free, whatever is closed before. Not if there are
 * no descriptors left. */
void rt_stream_hold_to_exit(struct rt_stream *stream);
/* Closes in the next turn; `gone` follows, also in a turn, never from inside this call. A send in
 * flight is cut off. Idempotent. */
void rt_stream_close(struct rt_stream *stream);

/* Settings of a socket, before or after it is opened as a stream. */
void rt_socket_delays(struct rt *rt, rt_socket socket, bool on); /* what is small waits for more */
void rt_socket_keep_alive(struct rt *rt, rt_socket socket, int seconds); /* 0: off */
/* Texts of both ends as CLIENT LIST shows them. */
void rt_socket_addresses(struct rt *rt, rt_socket socket, char peer[RT_ADDRESS_BYTES],
                         char local[RT_ADDRESS_BYTES]);
void rt_socket_close(struct rt *rt, rt_socket socket); /* one that is no stream */
/* Sends a last short text to a socket that is no stream, without waiting, and closes it (protected
 * mode, maxclients). */
void rt_socket_refuse(struct rt *rt, rt_socket socket, struct bytes text);

/* ---- Names ---- */

#define RT_ADDRESSES_MAX 8
#define RT_HOST_BYTES    48  /* text of a numeric address without a port */
#define RT_HOST_NAME_MAX 255 /* longer names are nobody's */

/* Numeric addresses of a host, the one to try first first. */
struct rt_addresses {
    unsigned count;
    char text[RT_ADDRESSES_MAX][RT_HOST_BYTES];
};

struct rt_resolve;
/* 0 and at least one address, or -ENOENT: there is no such name, -EAGAIN: nobody knows now, or
 * another -errno. The addresses live during the call. */
typedef void rt_resolved_fn(void *arg, int error, const struct rt_addresses *addresses);

/* Asks for the addresses of a host name. `done` is called in a turn, once, unless it is cancelled
 * or the runtime is freed before. Asking may take long, so a thread beside the runtimes does, one
 * for all that rt_new made, started when it is first needed; a name that is a numeric address needs
 * no asking. Returns what may be cancelled until `done` is called. */
struct rt_resolve *rt_resolve(struct rt *rt, const char *name, rt_resolved_fn *done, void *arg);
void rt_resolve_cancel(struct rt *rt, struct rt_resolve *resolve);

/* ---- Process ---- */

/* CPU time and memory of the process, for INFO. */
struct rt_usage {
    uint64_t user_us, system_us;
    uint64_t children_user_us, children_system_us;
    uint64_t rss_bytes;
    uint64_t total_system_bytes;
};
void rt_usage(struct rt_usage *ret_usage);
void rt_thread_usage(uint64_t *ret_user_us, uint64_t *ret_system_us); /* of the calling thread */
/* CPUs this process may use (its affinity mask, cpuset and the quotas of its control groups
 * respected), at least 1. */
unsigned rt_cpus(void);
/* Raises the limit of open files towards `wanted`, as far as the system lets it; returns what it is
 * then. A simulation has none. */
int64_t rt_file_limit(struct rt *rt, int64_t wanted);
int64_t rt_file_limit_early(int64_t wanted); /* before runtimes exist */
/* Before threads exist: 192 bytes for the hash secret and the like. */
void rt_random_early(void *ret, size_t n);
int64_t rt_wall_us_early(void);

#endif
