/* SPDX-License-Identifier: BSD-3-Clause */
/* The runtime on io_uring: one ring, one enter per turn.
 *
 * Receiving and accepting are multishot: armed once, they post a completion per arrival. Received
 * bytes land in buffers of the pool, which the kernel takes from a ring that both sides see.
 * Requests are matched by user_data, a pointer with a tag in its low bits, never by their order.
 *
 * Sending is where the system calls hide. A send that is first tried without waiting has finished
 * when its submission has, so the kernel is asked to post a completion only if it did not go out
 * whole: what has no completion after the turn's enter, succeeded. So the same enter submits the
 * replies and sleeps until the next request. Only when the socket's buffer is full does a second
 * send wait for room in the ordinary way.
 *
 * Invariants
 *  1. stream->in_flight counts the requests whose last completion is still to come. Memory and
 * descriptor of a stream are let go only when it is 0, so no request outlives what it points at,
 * and no descriptor is reused under one.
 *  2. A quick send sits in `quick` from submission to its outcome, at stream->send_slot. Entries
 * are settled only when the whole submission queue was taken and no completion overflowed.
 *  3. A buffer that was given to the kernel is in the buffer ring, in a completion not yet handled,
 * or held (rt.c).
 *  4. A write and the sync linked behind it are taken together, so the sync begins when the write
 * is over, and both are waited for. That the sync came to pass says nothing of the write: where one
 * was cut short kernels go on with the link or do not (6.18: XFS does, ext4 does not).
 *
 * Not used, though newer kernels have it, as measured with bench/floor.c on Linux 6.18 (server CPU,
 * medians of 5 interleaved rounds on a busy machine): buffers that the kernel fills piece by piece
 * gain nothing (16 KB values, pipeline 16: 3.38 us without, 3.15 with; pipeline 1: 10.97 and 11.45;
 * 1 MB: 172 and 197), and put requests across two buffers. Bundles of buffers do gain where a read
 * fills several (16 KB values, pipeline 16: 2.82 us; 1 MB: 161) and nothing elsewhere: worth
 * building in. Waiting for several events at once with a minimum time was slower.
 *
 * How it fails: what the kernel lacks is found by asking (setup flags from the best down to none,
 * then a try of the buffer ring, then one enter); a kernel without buffer rings (before 5.19), a
 * policy against io_uring or too little locked memory fails rt_uring_new, and the caller falls back
 * to epoll. A full submission queue is
 * submitted early. An overflowing completion queue loses nothing: the kernel keeps the rest and
 * hands it over at the next enter. Only if it has no memory to keep it in is a completion gone;
 * then neither 1 nor 2 holds any more, and the process ends.
 *
 * Long, and one file all the same: what accepts, receives and sends shares one ring, one order of
 * completions and one count of what is in flight.
 *
 * Long, and one file: sockets, files, timers and the turn share one ring and one way to match what
 * completes with what asked.
 */
#include "net/rt_private.h"

#include "net/rt_file.h"

#include "base/check.h"
#include "base/must.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the oldest headers we build with. The numbers are the kernel's ABI. */
#define FEAT_NO_IOWAIT   (1u << 17)
#define ENTER_NO_IOWAIT  (1u << 7)
#define SETUP_NO_SQARRAY (1u << 16)
#define OP_FTRUNCATE     55

#define SQ_ENTRIES 512u
/* All that a ring is asked for, the one that only newer kernels know last; and afterwards. */
static const uint8_t ops_allowed[] = {
    IORING_OP_ACCEPT,    IORING_OP_ASYNC_CANCEL, IORING_OP_CLOSE,   IORING_OP_CONNECT,
    IORING_OP_FALLOCATE, IORING_OP_FSYNC,        IORING_OP_MKDIRAT, IORING_OP_MSG_RING,
    IORING_OP_OPENAT,    IORING_OP_READ,         IORING_OP_READV,   IORING_OP_RECV,
    IORING_OP_RENAMEAT,  IORING_OP_SEND,         IORING_OP_SENDMSG, IORING_OP_STATX,
    IORING_OP_UNLINKAT,  IORING_OP_WRITE,        IORING_OP_WRITEV,  OP_FTRUNCATE,
};
static const uint8_t registers_allowed[] = {IORING_REGISTER_RING_FDS, IORING_UNREGISTER_RING_FDS,
                                            IORING_REGISTER_IOWQ_AFF};
#define SQE_FLAGS_ALLOWED                                                                          \
    (IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS | IOSQE_ASYNC | IOSQE_IO_LINK)

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#define CQ_RATIO      8u /* completions that may wait, per entry of the submission queue */
#define BUFFER_GROUP  0
#define BUFFERS_FIRST 16u /* that the kernel is given before it runs out */

/* Tags of user_data. Pointers are 8-aligned, so three bits are ours. */
enum tag {
    TAG_NONE,   /* one of the CODE_ values, or the operation on a file: no such address is one */
    TAG_RECV,   /* stream */
    TAG_SEND,   /* stream: a send that waits for room, or the connect ahead of all sends */
    TAG_QUICK,  /* stream: a quick send that did not go out whole */
    TAG_CANCEL, /* stream: cancelling all of it to close */
    TAG_PAUSE,  /* stream: cancelling its receive */
    TAG_ACCEPT, /* listener */
    TAG_WOKE,   /* rt: a wake-up that could not be delivered to it */
};
#define TAG_MASK 7ull

enum code {
    CODE_IGNORE = 0 << 3,
    CODE_WAKE = 1 << 3,    /* another ring sent a wake-up */
    CODE_EVENTFD = 2 << 3, /* the read of wake_fd */
    CODE_HELPER = 3 << 3,  /* the read of the helper's: some of what it was asked is done */
    CODES = 4 << 3,
};

/* With the address of an operation on a file, which is 16-aligned: the write of the two that are
 * linked. */
#define LINKED_WRITE 8ull

enum {
    ARMED = RT_STREAM_BACKEND << 0,    /* a receive is in flight */
    STOPPING = RT_STREAM_BACKEND << 1, /* its cancel is in flight */
    STARVED = RT_STREAM_BACKEND << 2,  /* waits in `starved` for a buffer */
    MULTI = RT_STREAM_BACKEND << 3,    /* the receive was armed as multishot */
    LOOKED = RT_STREAM_BACKEND << 4,   /* was armed anew since the last bytes came */
};

struct quick_list {
    struct rt_stream **items;
    unsigned count;
    unsigned capacity;
};

struct rt_uring {
    struct rt rt;
    struct io_uring ring;
    int enter_fd;
    pid_t thread; /* the one that enters */
    unsigned enter_flags;
    unsigned sq_tail; /* of entries prepared, ahead of what the kernel was told */
    unsigned unsubmitted;
    bool enabled;
    bool taskrun_flag;
    bool multishot;
    bool prompt; /* something must be reported without waiting */
    bool woken;
    uint64_t wake_value;   /* target of the read of wake_fd */
    uint64_t helper_value; /* and of the helper's */
    unsigned files;        /* operations on files of which the ring has a request */
    struct io_uring_buf_ring *buffers;
    size_t buffers_bytes;
    uint16_t buffers_tail;
    uint64_t gave_in_turn;
    unsigned buffers_given; /* buffers that the kernel has been given so far */
    struct quick_list quick, quick_next;
    struct list closing;   /* close was asked for, nothing done yet */
    struct list finishing; /* cancelled, waiting for the last completions */
    struct list gone;      /* to be told */
    struct list starved;
    struct rt **wakes; /* whom to wake with the next submission */
    unsigned wakes_count, wakes_capacity;
    /* Completions moved out of the way when the submission queue must be flushed in the middle of a
     * turn: older than all in the ring. */
    struct io_uring_cqe *spill;
    unsigned spill_taken, spill_count, spill_capacity;
};

static struct rt_uring *uring_of(struct rt *rt) {
    return (struct rt_uring *)rt;
}

static uint64_t tagged(const void *pointer, enum tag tag) {
    return (uint64_t)(uintptr_t)pointer | tag;
}

/* ---- The rings ------------------------------------------------------------------------------- */

static unsigned cq_ready(const struct rt_uring *u) {
    return __atomic_load_n(u->ring.cq.ktail, __ATOMIC_ACQUIRE) - *u->ring.cq.khead;
}

static bool cq_overflowed(const struct rt_uring *u) {
    return __atomic_load_n(u->ring.sq.kflags, __ATOMIC_RELAXED) & IORING_SQ_CQ_OVERFLOW;
}

static void publish_sqes(struct rt_uring *u) {
    __atomic_store_n(u->ring.sq.ktail, u->sq_tail, __ATOMIC_RELEASE);
}

/* The kernel stopped between a write and the sync that is linked to it (inv. 4). */
static bool link_cut(const struct rt_uring *u) {
    unsigned last = u->sq_tail - u->unsubmitted - 1;
    return u->ring.sq.sqes[last & u->ring.sq.ring_mask].flags & IOSQE_IO_LINK;
}

/* Returns what the kernel says: entries taken, or -errno. */
static int enter(struct rt_uring *u, unsigned wait_for, unsigned flags,
                 const struct __kernel_timespec *timeout) {
    struct io_uring_getevents_arg arg = {.ts = (uint64_t)(uintptr_t)timeout};
    void *argp = NULL;
    size_t size = 0;
    int fault;
    if (UNLIKELY(rt_faulted(&u->rt, RT_FAULT_ENTER, &fault))) {
        return fault;
    }
    if (timeout) {
        flags |= IORING_ENTER_EXT_ARG;
        argp = &arg;
        size = sizeof(arg);
    }
    publish_sqes(u);
    unsigned submits = u->unsubmitted;
    flags |= u->enter_flags;
    bool sleeps = wait_for > 0 && rt_sleeps(&u->rt);
    long r = syscall(__NR_io_uring_enter, u->enter_fd, submits, sleeps ? wait_for : 0, flags, argp,
                     size);
    int error = r < 0 ? -errno : 0;
    if (sleeps) {
        rt_woke(&u->rt);
    }
    /* An enter that failed in its wait has submitted all the same: the ring's head tells. */
    u->unsubmitted = u->sq_tail - __atomic_load_n(u->ring.sq.khead, __ATOMIC_ACQUIRE);
    check(u->unsubmitted == 0 || !link_cut(u));
    check(__atomic_load_n(u->ring.cq.koverflow, __ATOMIC_RELAXED) == 0);
    return r < 0 ? error : (int)r;
}

static void spill_push(struct rt_uring *u, uint64_t user_data, int result, unsigned flags) {
    if (u->spill_count == u->spill_capacity && u->spill_taken > 0) {
        u->spill_count -= u->spill_taken;
        memmove(u->spill, u->spill + u->spill_taken, u->spill_count * sizeof(*u->spill));
        u->spill_taken = 0;
    } else if (u->spill_count == u->spill_capacity) {
        u->spill_capacity = u->spill_capacity ? u->spill_capacity * 2 : 64;
        u->spill = must_realloc(u->spill, u->spill_capacity * sizeof(*u->spill));
    }
    struct io_uring_cqe *cqe = &u->spill[u->spill_count++];
    cqe->user_data = user_data;
    cqe->res = result;
    cqe->flags = flags;
}

/* Makes room in the completion ring for the kernel to go on. */
static void spill_cqes(struct rt_uring *u) {
    unsigned head = *u->ring.cq.khead, ready = cq_ready(u);
    for (unsigned i = 0; i < ready; i++) {
        const struct io_uring_cqe *cqe = &u->ring.cq.cqes[(head + i) & u->ring.cq.ring_mask];
        spill_push(u, cqe->user_data, cqe->res, cqe->flags);
    }
    __atomic_store_n(u->ring.cq.khead, head + ready, __ATOMIC_RELEASE);
}

/* A completion in place of the kernel's (rt_inject), behind all that are there. */
static void fake_cqe(struct rt_uring *u, uint64_t user_data, int result) {
    spill_cqes(u);
    spill_push(u, user_data, result, 0);
}

static unsigned completions(const struct rt_uring *u) {
    return u->spill_count - u->spill_taken + cq_ready(u);
}

/* The oldest completion; there must be one. */
static void take_cqe(struct rt_uring *u, struct io_uring_cqe *ret_cqe) {
    if (UNLIKELY(u->spill_taken < u->spill_count)) {
        *ret_cqe = u->spill[u->spill_taken++];
        if (u->spill_taken == u->spill_count) {
            u->spill_taken = u->spill_count = 0;
        }
        return;
    }
    unsigned *khead = u->ring.cq.khead;
    *ret_cqe = u->ring.cq.cqes[*khead & u->ring.cq.ring_mask];
    __atomic_store_n(khead, *khead + 1, __ATOMIC_RELEASE);
}

static void enable(struct rt_uring *u);

/* Submits without waiting until nothing is left. */
static void submit_all(struct rt_uring *u) {
    if (!u->enabled) {
        enable(u);
    }
    while (u->unsubmitted > 0) {
        int r = enter(u, 0, 0, NULL);
        if (r == -EBUSY || r == -EAGAIN || r == -ENOMEM) {
            spill_cqes(u);
            enter(u, 0, IORING_ENTER_GETEVENTS, NULL);
        } else {
            check(r >= 0 || r == -EINTR);
        }
    }
}

static struct io_uring_sqe *get_sqe(struct rt_uring *u, uint8_t op, int fd, uint64_t user_data) {
    check_slow(memchr(ops_allowed, op, sizeof ops_allowed) != NULL); /* see restrict_ring() */
    if (UNLIKELY(u->unsubmitted == u->ring.sq.ring_entries)) {
        submit_all(u);
    }
    struct io_uring_sqe *sqe = &u->ring.sq.sqes[u->sq_tail & u->ring.sq.ring_mask];
    u->sq_tail++;
    u->unsubmitted++;
    memset(sqe, 0, sizeof(*sqe));
    sqe->opcode = op;
    sqe->fd = fd;
    sqe->user_data = user_data;
    return sqe;
}

/* Room for n entries that must be taken together. */
static void reserve_sqes(struct rt_uring *u, unsigned n) {
    if (u->ring.sq.ring_entries - u->unsubmitted < n) {
        submit_all(u);
    }
}

/* ---- Receiving ------------------------------------------------------------------------------- */

static void put_buffer(struct rt_uring *u, struct rt_buffer *buffer) {
    struct io_uring_buf *slot = &u->buffers->bufs[u->buffers_tail & (u->rt.pool.count - 1)];
    slot->addr = (uint64_t)(uintptr_t)buffer->data;
    slot->len = (uint32_t)buffer->size;
    slot->bid = (uint16_t)buffer->id;
    u->buffers_tail++;
    __atomic_store_n(&u->buffers->tail, u->buffers_tail, __ATOMIC_RELEASE);
}

/* Gives the kernel its first buffers, or as many again as it has. It takes them in turn, so each
 * that it is given becomes resident: a server with few connections does with few. False when it has
 * all. */
static bool give_more_buffers(struct rt_uring *u) {
    unsigned more = u->buffers_given == 0 ? BUFFERS_FIRST : u->buffers_given;
    unsigned left = u->rt.pool.count - u->buffers_given;
    more = more < left ? more : left;
    for (unsigned i = 0; i < more; i++) {
        put_buffer(u, &u->rt.pool.buffers[u->buffers_given++]);
    }
    return more > 0;
}

static void uring_buffer_recycle(struct rt *rt, struct rt_buffer *buffer) {
    put_buffer(uring_of(rt), buffer);
}

/* Only a kernel that defers its work to our own calls leaves them alone in between. */
static bool uring_pool_rests(struct rt *rt) {
    const struct rt_uring *u = uring_of(rt);
    return (u->ring.flags & IORING_SETUP_DEFER_TASKRUN) && completions(u) == 0 && !cq_overflowed(u);
}

static void arm_recv(struct rt_uring *u, struct rt_stream *stream) {
    stream->flags = (stream->flags & ~(unsigned)MULTI) | ARMED | (u->multishot ? MULTI : 0);
    stream->in_flight++;
    int fault;
    if (UNLIKELY(rt_faulted(&u->rt, RT_FAULT_RECV, &fault))) {
        fake_cqe(u, tagged(stream, TAG_RECV), fault);
        return;
    }
    struct io_uring_sqe *sqe = get_sqe(u, IORING_OP_RECV, stream->socket, tagged(stream, TAG_RECV));
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    if (u->multishot) {
        sqe->ioprio = IORING_RECV_MULTISHOT;
    } else {
        sqe->len = u->rt.pool.buffer_bytes;
    }
}

/* Receives again if the stream wants to and does not already. */
static void rearm_recv(struct rt_uring *u, struct rt_stream *stream) {
    if (!(stream->flags & (ARMED | STARVED | RT_STREAM_PAUSED | RT_STREAM_ENDED |
                           RT_STREAM_CLOSING | RT_STREAM_CONNECTING))) {
        arm_recv(u, stream);
    }
}

static void stop_recv(struct rt_uring *u, struct rt_stream *stream) {
    struct io_uring_sqe *sqe = get_sqe(u, IORING_OP_ASYNC_CANCEL, -1, tagged(stream, TAG_PAUSE));
    sqe->addr = tagged(stream, TAG_RECV);
    stream->flags |= STOPPING;
    stream->in_flight++;
}

static void starve(struct rt_uring *u, struct rt_stream *stream) {
    if (u->gave_in_turn != u->rt.stats.turns && give_more_buffers(u)) {
        u->gave_in_turn = u->rt.stats.turns; /* once a turn: many run out together */
    }
    u->rt.stats.buffers_exhausted += u->gave_in_turn != u->rt.stats.turns;
    if (!(stream->flags & (RT_STREAM_PAUSED | RT_STREAM_CLOSING))) {
        stream->flags |= STARVED;
        list_push_back(&u->starved, &stream->link);
    }
}

static void unstarve(struct rt_stream *stream) {
    if (stream->flags & STARVED) {
        stream->flags &= ~STARVED;
        list_remove(&stream->link);
    }
}

/* First come, first served, one stream per free buffer: whoever gets none again waits at the end.
 */
static void feed_starved(struct rt_uring *u) {
    unsigned room = u->rt.pool.count - u->rt.pool.held;
    while (room-- > 0 && !list_empty(&u->starved)) {
        struct rt_stream *stream = LIST_ENTRY(list_first(&u->starved), struct rt_stream, link);
        unstarve(stream);
        rearm_recv(u, stream);
    }
}

static void settle_close(struct rt_uring *u, struct rt_stream *stream);

static void on_recv(struct rt_uring *u, struct rt_stream *stream, int result, unsigned flags) {
    if (!(flags & IORING_CQE_F_MORE)) {
        stream->flags &= ~ARMED;
        stream->in_flight--;
    }
    if (flags & IORING_CQE_F_BUFFER) {
        struct rt_buffer *buffer = &u->rt.pool.buffers[flags >> IORING_CQE_BUFFER_SHIFT];
        if (result > 0 && !(stream->flags & (RT_STREAM_CLOSING | RT_STREAM_ENDED))) {
            stream->flags &= ~LOOKED;
            rt_deliver(stream, buffer, (size_t)result);
        } else {
            put_buffer(u, buffer);
        }
    }
    if (stream->flags & RT_STREAM_CLOSING) {
        settle_close(u, stream);
        return;
    }
    if (result == 0) {
        rt_stream_tell_end(stream, 0);
    } else if (result == -ENOBUFS) {
        starve(u, stream);
    } else if (result == -EINVAL && (stream->flags & (MULTI | ARMED)) == MULTI) {
        u->multishot = false; /* a kernel before 6.0 */
        rearm_recv(u, stream);
    } else if (result > 0 || result == -ECANCELED || result == -EINTR || result == -EAGAIN) {
        if (!(stream->flags & ARMED)) {
            rearm_recv(u, stream);
        } else if ((stream->flags & (RT_STREAM_PAUSED | STOPPING)) == RT_STREAM_PAUSED) {
            stop_recv(u, stream); /* an earlier cancel missed it */
        }
    } else {
        rt_stream_tell_end(stream, result);
    }
}

static void on_stopped(struct rt_uring *u, struct rt_stream *stream) {
    stream->flags &= ~STOPPING;
    stream->in_flight--;
    if (stream->flags & RT_STREAM_CLOSING) {
        settle_close(u, stream);
    }
}

static void uring_stream_pause(struct rt *rt, struct rt_stream *stream) {
    unstarve(stream);
    if ((stream->flags & (ARMED | STOPPING)) == ARMED) {
        stop_recv(uring_of(rt), stream);
    }
}

static void uring_stream_resume(struct rt *rt, struct rt_stream *stream) {
    rearm_recv(uring_of(rt), stream);
}

/* Kernels (seen on 6.18) lose the peer's end when it comes right behind its last bytes: the
 * multishot receive takes both wake-ups for the one that brought the bytes, and no other follows. A
 * receive that is armed anew looks first, and finds it. */
static void uring_stream_look_again(struct rt *rt, struct rt_stream *stream) {
    if ((stream->flags & (ARMED | MULTI | STOPPING | LOOKED)) == (ARMED | MULTI)) {
        stream->flags |= LOOKED;
        stop_recv(uring_of(rt), stream);
    }
}

static int uring_stream_open(struct rt *rt, struct rt_stream *stream) {
    rearm_recv(uring_of(rt), stream);
    return 0;
}

/* ---- Sending --------------------------------------------------------------------------------- */

static void quick_push(struct quick_list *list, struct rt_stream *stream) {
    if (UNLIKELY(list->count == list->capacity)) {
        list->capacity = list->capacity ? list->capacity * 2 : 64;
        list->items = must_realloc(list->items, list->capacity * sizeof(struct rt_stream *));
    }
    stream->send_slot = list->count;
    list->items[list->count++] = stream;
}

static struct io_uring_sqe *prepare_send(struct rt_uring *u, struct rt_stream *stream,
                                         enum tag tag) {
    bool one = stream->vectors_count == 1;
    struct io_uring_sqe *sqe =
        get_sqe(u, one ? IORING_OP_SEND : IORING_OP_SENDMSG, stream->socket, tagged(stream, tag));
    if (one) {
        sqe->addr = (uint64_t)(uintptr_t)stream->vectors[0].iov_base;
        sqe->len = (uint32_t)stream->vectors[0].iov_len;
    } else {
        struct msghdr *message = (struct msghdr *)stream->message_storage;
        static_assert(sizeof(*message) <= sizeof(stream->message_storage), "room for a msghdr");
        memset(message, 0, sizeof(*message));
        message->msg_iov = stream->vectors;
        message->msg_iovlen = (size_t)stream->vectors_count;
        sqe->addr = (uint64_t)(uintptr_t)message;
        sqe->len = 1;
    }
    sqe->msg_flags = MSG_NOSIGNAL;
    stream->in_flight++;
    return sqe;
}

static bool send_faulted(struct rt_uring *u, struct rt_stream *stream, enum tag tag) {
    int fault;
    if (LIKELY(!rt_faulted(&u->rt, RT_FAULT_SEND, &fault))) {
        return false;
    }
    int result = fault < 0 ? fault : (int)rt_real_send(stream, (size_t)fault);
    fake_cqe(u, tagged(stream, tag), result);
    stream->in_flight++;
    return true;
}

/* Waits for room in the socket. */
static void send_waiting(struct rt_uring *u, struct rt_stream *stream) {
    stream->flags |= RT_STREAM_WAITED;
    if (!send_faulted(u, stream, TAG_SEND)) {
        prepare_send(u, stream, TAG_SEND)->ioprio = IORING_RECVSEND_POLL_FIRST;
    }
}

static void uring_stream_send(struct rt *rt, struct rt_stream *stream) {
    struct rt_uring *u = uring_of(rt);
    if (stream->flags & RT_STREAM_FULL) {
        send_waiting(u, stream);
        return;
    }
    if (!send_faulted(u, stream, TAG_QUICK)) {
        struct io_uring_sqe *sqe = prepare_send(u, stream, TAG_QUICK);
        sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
        sqe->msg_flags |= MSG_DONTWAIT | MSG_WAITALL; /* WAITALL: a short send counts as failed */
    }
    quick_push(&u->quick_next, stream);
    if (!(stream->flags & RT_STREAM_LAZY)) {
        u->prompt = true;
    }
}

static void on_send(struct rt_uring *u, struct rt_stream *stream, int result) {
    stream->in_flight--;
    if (stream->flags & RT_STREAM_CLOSING) {
        stream->flags &= ~RT_STREAM_SENDING;
        settle_close(u, stream);
        return;
    }
    if (result == -EAGAIN || result == -EINTR || result == -ENOBUFS) {
        stream->flags |= RT_STREAM_FULL;
        send_waiting(u, stream);
        return;
    }
    if (result >= 0 && (size_t)result < stream->send_bytes) {
        stream->flags |= RT_STREAM_FULL;
    } else {
        stream->flags &= ~RT_STREAM_FULL;
    }
    rt_stream_tell_sent(stream, result);
}

static void on_quick(struct rt_uring *u, struct rt_stream *stream, int result) {
    check(u->quick.items[stream->send_slot] == stream);
    u->quick.items[stream->send_slot] = NULL;
    on_send(u, stream, result);
}

/* Before the enter: what was prepared joins what could not be settled last time, mostly nothing. */
static void quick_gather(struct rt_uring *u) {
    if (u->quick.count == 0) {
        struct quick_list empty = u->quick;
        u->quick = u->quick_next;
        u->quick_next = empty;
        return;
    }
    for (unsigned i = 0; i < u->quick_next.count; i++) {
        quick_push(&u->quick, u->quick_next.items[i]);
    }
    u->quick_next.count = 0;
}

/* After the completions: those that have none went out whole (inv. 2). */
static void quick_settle(struct rt_uring *u) {
    for (unsigned i = 0; i < u->quick.count; i++) {
        struct rt_stream *stream = u->quick.items[i];
        if (stream) {
            on_send(u, stream, (int)stream->send_bytes);
        }
    }
    u->quick.count = 0;
}

/* ---- Connecting ------------------------------------------------------------------------------ */

static void prepare_connect(struct rt_uring *u, struct rt_stream *stream) {
    stream->in_flight++;
    int fault;
    if (UNLIKELY(rt_faulted(&u->rt, RT_FAULT_CONNECT, &fault))) {
        fake_cqe(u, tagged(stream, TAG_SEND), fault);
        return;
    }
    socklen_t len;
    const struct sockaddr *to = rt_real_dialled(stream, &len);
    struct io_uring_sqe *sqe =
        get_sqe(u, IORING_OP_CONNECT, stream->socket, tagged(stream, TAG_SEND));
    sqe->addr = (uint64_t)(uintptr_t)to;
    sqe->off = len;
}

static int uring_stream_connect(struct rt *rt, struct rt_stream *stream, const char *address,
                                uint16_t port, const struct rt_connect_options *options) {
    int r = rt_real_dial(stream, address, port, options);
    if (r == 0) {
        prepare_connect(uring_of(rt), stream);
    }
    return r;
}

static void on_connected(struct rt_uring *u, struct rt_stream *stream, int result) {
    stream->in_flight--;
    if (stream->flags & RT_STREAM_CLOSING) {
        settle_close(u, stream);
    } else if (result == -EINTR) {
        prepare_connect(u, stream);
    } else {
        rt_stream_tell_connected(stream, result);
        rearm_recv(u, stream);
    }
}

/* ---- Closing --------------------------------------------------------------------------------- */

static void uring_stream_close(struct rt *rt, struct rt_stream *stream) {
    struct rt_uring *u = uring_of(rt);
    unstarve(stream);
    list_push_back(&u->closing, &stream->link);
}

/* Nothing is in flight: the descriptor goes, and the owner is told at the end of the turn. */
static void finish_close(struct rt_uring *u, struct rt_stream *stream) {
    get_sqe(u, IORING_OP_CLOSE, stream->socket, CODE_IGNORE)->flags = IOSQE_CQE_SKIP_SUCCESS;
    stream->socket = -1;
    rt_stream_free_vectors(stream);
    list_remove(&stream->link);
    list_push_back(&u->gone, &stream->link);
}

static void settle_close(struct rt_uring *u, struct rt_stream *stream) {
    if (stream->in_flight == 0) {
        finish_close(u, stream);
    }
}

static void start_closes(struct rt_uring *u) {
    while (!list_empty(&u->closing)) {
        struct rt_stream *stream = LIST_ENTRY(list_first(&u->closing), struct rt_stream, link);
        if (stream->in_flight == 0) {
            finish_close(u, stream);
            continue;
        }
        list_remove(&stream->link);
        list_push_back(&u->finishing, &stream->link);
        stream->in_flight++;
        int fault;
        if (UNLIKELY(rt_faulted(&u->rt, RT_FAULT_CANCEL, &fault))) {
            fake_cqe(u, tagged(stream, TAG_CANCEL), fault);
            continue;
        }
        struct io_uring_sqe *sqe =
            get_sqe(u, IORING_OP_ASYNC_CANCEL, stream->socket, tagged(stream, TAG_CANCEL));
        sqe->cancel_flags = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL;
    }
}

/* The result is how many were found. */
static void on_cancelled(struct rt_uring *u, struct rt_stream *stream, int result) {
    stream->in_flight--;
    if (result < (int)stream->in_flight) {
        /* One was between two states. A socket that is shut down ends whatever is asked of it. */
        shutdown(stream->socket, SHUT_RDWR);
    }
    settle_close(u, stream);
}

static void tell_gone(struct rt_uring *u) {
    while (!list_empty(&u->gone)) {
        struct rt_stream *stream = LIST_ENTRY(list_pop_front(&u->gone), struct rt_stream, link);
        stream->flags = 0;
        stream->events->gone(stream);
    }
}

/* ---- Listening ------------------------------------------------------------------------------- */

static void arm_accept(struct rt_uring *u, struct rt_listener *listener) {
    listener->armed = true;
    int fault;
    if (UNLIKELY(rt_faulted(&u->rt, RT_FAULT_ACCEPT, &fault))) {
        fake_cqe(u, tagged(listener, TAG_ACCEPT), fault);
        return;
    }
    struct io_uring_sqe *sqe =
        get_sqe(u, IORING_OP_ACCEPT, listener->socket, tagged(listener, TAG_ACCEPT));
    sqe->ioprio = IORING_ACCEPT_MULTISHOT;
    sqe->accept_flags = SOCK_CLOEXEC;
}

static int uring_listen(struct rt *rt, struct rt_listener *listener) {
    rt_real_spare(rt);
    arm_accept(uring_of(rt), listener);
    return 0;
}

/* Shutting a listening socket down frees its address at once and ends the accept that waits on it.
 * The descriptor is given back at once too: who listens elsewhere next may have no other. By then
 * the kernel must have taken what names it.
 */
static void uring_unlisten(struct rt *rt, struct rt_listener *listener) {
    struct rt_uring *u = uring_of(rt);
    shutdown(listener->socket, SHUT_RDWR);
    if (listener->armed) {
        struct io_uring_sqe *sqe = get_sqe(u, IORING_OP_ASYNC_CANCEL, -1, CODE_IGNORE);
        sqe->addr = tagged(listener, TAG_ACCEPT);
        submit_all(u);
    }
    close(listener->socket);
    listener->socket = -1;
}

static void on_accept(struct rt_uring *u, struct rt_listener *listener, int result,
                      unsigned flags) {
    /* Armed until the callback is over, in which the owner may give it up: it is freed below. */
    if (result >= 0) {
        rt_listener_accepted(&u->rt, listener, result, false);
    } else if (!listener->ended && result != -ECANCELED && result != -EAGAIN && result != -EINTR) {
        rt_listener_failed(&u->rt, listener, result);
        if (!(flags & IORING_CQE_F_MORE)) {
            rt_real_accept_spare(&u->rt, listener, result);
        }
    }
    if (flags & IORING_CQE_F_MORE) {
        return;
    }
    if (listener->ended) {
        rt_listener_disarmed(&u->rt, listener);
    } else if (listener->retry_at_ns == 0) {
        arm_accept(u, listener);
    } else {
        listener->armed = false;
    }
}

static void retry_listeners(struct rt_uring *u) {
    for (struct rt_listener *listener; (listener = rt_listener_due(&u->rt)) != NULL;) {
        arm_accept(u, listener);
    }
}

/* ---- Wake-ups -------------------------------------------------------------------------------- */

static void arm_eventfd(struct rt_uring *u) {
    struct io_uring_sqe *sqe = get_sqe(u, IORING_OP_READ, u->rt.wake_fd, CODE_EVENTFD);
    sqe->addr = (uint64_t)(uintptr_t)&u->wake_value;
    sqe->len = sizeof(u->wake_value);
}

/* Only noted here. It is announced right before the submission that carries it, so that nobody
 * relies on a wake-up that its sender is slow to send. */
static void uring_wake(struct rt *from, struct rt *target) {
    struct rt_uring *u = uring_of(from);
    for (unsigned i = 0; i < u->wakes_count; i++) {
        if (u->wakes[i] == target) {
            return;
        }
    }
    if (u->wakes_count == u->wakes_capacity) {
        u->wakes_capacity = u->wakes_capacity ? u->wakes_capacity * 2 : 16;
        u->wakes = must_realloc(u->wakes, u->wakes_capacity * sizeof(struct rt *));
    }
    u->wakes[u->wakes_count++] = target;
}

static void send_wakes(struct rt_uring *u) {
    reserve_sqes(u, u->wakes_count);
    for (unsigned i = 0; i < u->wakes_count; i++) {
        struct rt *target = u->wakes[i];
        if (target == &u->rt) {
            u->woken = true;
            u->prompt = true;
        } else if (rt_wake_announce(target)) {
            struct io_uring_sqe *sqe = get_sqe(
                u, IORING_OP_MSG_RING, uring_of(target)->ring.ring_fd, tagged(target, TAG_WOKE));
            sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
            sqe->off = CODE_WAKE;
        }
    }
    u->wakes_count = 0;
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* Steps of a write. */
enum { WRITES, WRITES_LINKED, SYNCS };
/* Of the sync of a directory. */
enum { DIR_OPENS, DIR_SYNCS, DIR_CLOSES };

#define FILE_GOES_ON INT64_MIN

static struct io_uring_sqe *file_sqe(struct rt_uring *u, struct rt_file_op *op, uint8_t opcode,
                                     int fd) {
    return get_sqe(u, opcode, fd, (uint64_t)(uintptr_t)op);
}

/* What may be copied to or from the page cache while it is submitted. File systems that can write
 * without waiting (XFS, Btrfs; ext4 cannot) do so right there: it spares waking a thread of the
 * kernel, but a large one would hold up the turn (a megabyte on XFS: 37 us, some of them
 * milliseconds). Measured on Linux 6.18; none of it waits for a disk. */
#define INLINE_BYTES_MAX ((uint64_t)64 * 1024)

static void prepare_move(struct io_uring_sqe *sqe, const struct rt_file_op *op) {
    sqe->flags = op->left > INLINE_BYTES_MAX ? IOSQE_ASYNC : 0;
    sqe->off = op->offset;
    if (sqe->opcode == IORING_OP_READ || sqe->opcode == IORING_OP_WRITE) {
        sqe->addr = (uint64_t)(uintptr_t)op->vectors->iov_base;
        sqe->len = (uint32_t)op->vectors->iov_len;
    } else {
        sqe->addr = (uint64_t)(uintptr_t)op->vectors;
        sqe->len = (uint32_t)op->count;
    }
}

static void start_sync(struct rt_uring *u, struct rt_file_op *op) {
    if (UNLIKELY(op->sync_fault != 0)) {
        fake_cqe(u, (uint64_t)(uintptr_t)op, op->sync_fault);
        return;
    }
    struct io_uring_sqe *sqe = file_sqe(u, op, IORING_OP_FSYNC, op->file);
    bool data =
        op->kind == RT_FILE_WRITE_SYNC || (op->kind == RT_FILE_SYNC && op->flags == RT_SYNC_DATA);
    sqe->fsync_flags = data ? IORING_FSYNC_DATASYNC : 0;
}

/* The first write of an operation goes as a test wants it. */
static void start_faulted_write(struct rt_uring *u, struct rt_file_op *op) {
    int fault = op->write_fault;
    op->write_fault = 0;
    op->step = WRITES;
    if (fault < 0) {
        fake_cqe(u, (uint64_t)(uintptr_t)op, fault);
        return;
    }
    struct io_uring_sqe *sqe = file_sqe(u, op, IORING_OP_WRITE, op->file);
    prepare_move(sqe, op);
    sqe->len = sqe->len < (uint32_t)fault ? sqe->len : (uint32_t)fault;
}

static void start_write(struct rt_uring *u, struct rt_file_op *op) {
    if (UNLIKELY(op->write_fault != 0)) {
        start_faulted_write(u, op);
        return;
    }
    bool linked = op->kind == RT_FILE_WRITE_SYNC && op->sync_fault == 0;
    reserve_sqes(u, 2);
    uint8_t opcode = op->count == 1 ? IORING_OP_WRITE : IORING_OP_WRITEV;
    struct io_uring_sqe *sqe = file_sqe(u, op, opcode, op->file);
    prepare_move(sqe, op);
    op->step = WRITES;
    if (linked) {
        op->step = WRITES_LINKED;
        op->parts = 2;
        u->files++;
        sqe->flags |= IOSQE_IO_LINK;
        sqe->user_data |= LINKED_WRITE;
        start_sync(u, op);
    }
}

static void start_move(struct rt_uring *u, struct rt_file_op *op) {
    if (op->left > 0 && op->kind == RT_FILE_READ) {
        uint8_t opcode = op->count == 1 ? IORING_OP_READ : IORING_OP_READV;
        prepare_move(file_sqe(u, op, opcode, op->file), op);
    } else if (op->left > 0) {
        start_write(u, op);
    } else if (op->kind == RT_FILE_WRITE_SYNC) {
        op->step = SYNCS;
        start_sync(u, op);
    } else {
        fake_cqe(u, (uint64_t)(uintptr_t)op, 0);
    }
}

static void start_size(struct rt_uring *u, struct rt_file_op *op) {
    op->memory = must_malloc(sizeof(struct statx));
    struct io_uring_sqe *sqe = file_sqe(u, op, IORING_OP_STATX, op->file);
    sqe->addr = (uint64_t)(uintptr_t) "";
    sqe->off = (uint64_t)(uintptr_t)op->memory;
    sqe->len = STATX_SIZE;
    sqe->statx_flags = AT_EMPTY_PATH;
}

static void start_dir_sync(struct rt_uring *u, struct rt_file_op *op) {
    struct io_uring_sqe *sqe;
    switch (op->step) {
    case DIR_OPENS:
        sqe = file_sqe(u, op, IORING_OP_OPENAT, AT_FDCWD);
        sqe->addr = (uint64_t)(uintptr_t)op->path;
        sqe->open_flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
        return;
    case DIR_SYNCS:
        start_sync(u, op);
        return;
    default:
        file_sqe(u, op, IORING_OP_CLOSE, op->file);
    }
}

/* Asks for the next step; one completion will tell of it, two where two are linked. */
static void start_file(struct rt_uring *u, struct rt_file_op *op) {
    struct io_uring_sqe *sqe;
    u->files++;
    switch (op->kind) {
    case RT_FILE_OPEN:
        sqe = file_sqe(u, op, IORING_OP_OPENAT, AT_FDCWD);
        sqe->addr = (uint64_t)(uintptr_t)op->path;
        sqe->len = op->mode;
        sqe->open_flags = op->flags;
        return;
    case RT_FILE_WRITE:
    case RT_FILE_WRITE_SYNC:
    case RT_FILE_READ:
        start_move(u, op);
        return;
    case RT_FILE_SYNC:
        start_sync(u, op);
        return;
    case RT_FILE_TRUNCATE:
        file_sqe(u, op, OP_FTRUNCATE, op->file)->off = op->offset;
        return;
    case RT_FILE_SIZE:
        start_size(u, op);
        return;
    case RT_FILE_ALLOCATE:
        sqe = file_sqe(u, op, IORING_OP_FALLOCATE, op->file);
        sqe->off = op->offset;
        sqe->addr = op->left;
        sqe->len = FALLOC_FL_KEEP_SIZE;
        return;
    case RT_FILE_CLOSE:
        file_sqe(u, op, IORING_OP_CLOSE, op->file);
        return;
    case RT_FILE_RENAME:
        sqe = file_sqe(u, op, IORING_OP_RENAMEAT, AT_FDCWD);
        sqe->addr = (uint64_t)(uintptr_t)op->path;
        sqe->off = (uint64_t)(uintptr_t)op->target;
        sqe->len = (uint32_t)AT_FDCWD;
        return;
    case RT_FILE_REMOVE:
        file_sqe(u, op, IORING_OP_UNLINKAT, AT_FDCWD)->addr = (uint64_t)(uintptr_t)op->path;
        return;
    case RT_DIR_MAKE:
        sqe = file_sqe(u, op, IORING_OP_MKDIRAT, AT_FDCWD);
        sqe->addr = (uint64_t)(uintptr_t)op->path;
        sqe->len = op->mode;
        return;
    case RT_DIR_SYNC:
        start_dir_sync(u, op);
        return;
    case RT_FILE_BESIDE:
        check(false); /* the ring has no request for it: uring_file */
    }
}

static void arm_helper(struct rt_uring *u) {
    struct io_uring_sqe *sqe = get_sqe(u, IORING_OP_READ, rt_helper_fd(u->rt.helper), CODE_HELPER);
    sqe->addr = (uint64_t)(uintptr_t)&u->helper_value;
    sqe->len = sizeof(u->helper_value);
}

/* A kernel that has no such request (truncating, before 6.9) says that it is not valid: the helper
 * finds out whether that is so. */
static int64_t ask_helper(struct rt_uring *u, struct rt_file_op *op) {
    if (u->rt.helper == NULL) {
        int r = rt_helper_new(&u->rt.beside_cpus, &u->rt.helper);
        if (r < 0) {
            return r;
        }
        arm_helper(u);
    }
    struct list ops;
    list_init(&ops);
    list_push_back(&ops, &op->link);
    rt_helper_ask(u->rt.helper, &ops);
    return FILE_GOES_ON;
}

static void uring_file(struct rt *rt, struct rt_file_op *op) {
    struct rt_uring *u = uring_of(rt);
    if (op->kind != RT_FILE_BESIDE) {
        start_file(u, op);
        return;
    }
    int64_t r = ask_helper(u, op);
    if (r != FILE_GOES_ON) {
        u->files++;
        fake_cqe(u, (uint64_t)(uintptr_t)op, (int)r);
    }
}

static void on_helper(struct rt_uring *u, int result) {
    if (result == -ECANCELED) {
        return;
    }
    struct list done;
    list_init(&done);
    rt_helper_take(u->rt.helper, &done);
    arm_helper(u);
    for (struct list_node *node; (node = list_pop_front(&done)) != NULL;) {
        struct rt_file_op *op = LIST_ENTRY(node, struct rt_file_op, link);
        op->done(op, op->result);
    }
}

static int64_t next_step(struct rt_uring *u, struct rt_file_op *op) {
    start_file(u, op);
    return FILE_GOES_ON;
}

static int64_t on_move(struct rt_uring *u, struct rt_file_op *op, int result) {
    if (result < 0) {
        return result;
    }
    if (op->kind == RT_FILE_WRITE_SYNC && op->step == SYNCS) {
        return (int64_t)op->moved;
    }
    if (result == 0 && op->left > 0) {
        return op->kind == RT_FILE_READ ? (int64_t)op->moved : -EIO;
    }
    rt_file_advance(op, (uint64_t)result);
    if (op->left > 0 || op->kind == RT_FILE_WRITE_SYNC) {
        return next_step(u, op);
    }
    return (int64_t)op->moved;
}

static int64_t on_size(struct rt_file_op *op, int result) {
    const struct statx *stat = op->memory;
    int64_t r = result < 0 ? result : (int64_t)stat->stx_size;
    free(op->memory);
    op->memory = NULL;
    return r;
}

static int64_t on_dir_sync(struct rt_uring *u, struct rt_file_op *op, int result) {
    switch (op->step++) {
    case DIR_OPENS:
        op->file = result;
        return result < 0 ? result : next_step(u, op);
    case DIR_SYNCS:
        op->result = result;
        return next_step(u, op);
    default:
        return op->result;
    }
}

static bool has_no_request(const struct rt_file_op *op, int result) {
    return (result == -EINVAL || result == -EOPNOTSUPP || result == -ENOSYS) &&
           !(op->kind == RT_DIR_SYNC && op->step != DIR_OPENS);
}

/* What the step led to: the result, or that another follows. */
static int64_t file_step(struct rt_uring *u, struct rt_file_op *op, int result) {
    if (result == -EINTR || result == -EAGAIN) {
        return op->kind == RT_FILE_CLOSE ? 0 : next_step(u, op);
    }
    if (has_no_request(op, result)) {
        free(op->memory);
        op->memory = NULL;
        return ask_helper(u, op);
    }
    switch (op->kind) {
    case RT_FILE_WRITE:
    case RT_FILE_WRITE_SYNC:
    case RT_FILE_READ:
        return on_move(u, op, result);
    case RT_FILE_SIZE:
        return on_size(op, result);
    case RT_DIR_SYNC:
        return on_dir_sync(u, op, result);
    default:
        return result;
    }
}

/* One of the two that are linked. When both are over: the write was whole, or what is left is made
 * up for. A sync that failed has the last word even then: the next might not fail. */
static int64_t on_linked(struct rt_uring *u, struct rt_file_op *op, int result, bool write) {
    *(write ? &op->result : &op->sync_result) = result;
    if (--op->parts > 0) {
        return FILE_GOES_ON;
    }
    bool canceled = op->sync_result == -ECANCELED || op->sync_result == -EINTR;
    if (op->result >= 0 && op->sync_result < 0 && !canceled) {
        return has_no_request(op, (int)op->sync_result) ? ask_helper(u, op) : op->sync_result;
    }
    if (op->result == (int64_t)op->left && op->sync_result == 0) {
        rt_file_advance(op, op->left);
        return (int64_t)op->moved;
    }
    return file_step(u, op, (int)op->result);
}

static struct rt_file_op *file_op_of(uint64_t user_data) {
    return (struct rt_file_op *)(uintptr_t)(user_data & ~(TAG_MASK | LINKED_WRITE));
}

static void on_file(struct rt_uring *u, uint64_t user_data, int result) {
    struct rt_file_op *op = file_op_of(user_data);
    u->files--;
    bool linked = op->kind == RT_FILE_WRITE_SYNC && op->step == WRITES_LINKED;
    int64_t r =
        linked ? on_linked(u, op, result, user_data & LINKED_WRITE) : file_step(u, op, result);
    if (r != FILE_GOES_ON) {
        op->done(op, r);
    }
}

/* Nobody is told any more. */
static void drop_file(struct rt_uring *u, const struct rt_file_op *op, int result) {
    u->files--;
    rt_file_drop(op, result);
    free(op->memory);
    if (op->kind == RT_DIR_SYNC && (op->step == DIR_OPENS ? result >= 0 : op->step == DIR_SYNCS)) {
        close(op->step == DIR_OPENS ? result : op->file);
    }
}

/* ---- The turn -------------------------------------------------------------------------------- */

static void on_code(struct rt_uring *u, uint64_t code, int result) {
    if (code == CODE_IGNORE) {
        return;
    }
    if (code == CODE_HELPER) {
        on_helper(u, result);
        return;
    }
    if (code == CODE_EVENTFD) {
        if (result != -ECANCELED) {
            arm_eventfd(u);
        }
        if (result < 0) {
            return;
        }
    }
    rt_wake_take(&u->rt);
    u->woken = true;
}

static void on_cqe(struct rt_uring *u, uint64_t user_data, int result, unsigned flags) {
    void *pointer = (void *)(uintptr_t)(user_data & ~TAG_MASK);
    switch ((enum tag)(user_data & TAG_MASK)) {
    case TAG_NONE:
        if (user_data < CODES) {
            on_code(u, user_data, result);
        } else {
            on_file(u, user_data, result);
        }
        break;
    case TAG_RECV:
        on_recv(u, pointer, result, flags);
        break;
    case TAG_SEND:
        if (UNLIKELY(((struct rt_stream *)pointer)->flags & RT_STREAM_CONNECTING)) {
            on_connected(u, pointer, result);
        } else {
            on_send(u, pointer, result);
        }
        break;
    case TAG_QUICK:
        on_quick(u, pointer, result);
        break;
    case TAG_CANCEL:
        on_cancelled(u, pointer, result);
        break;
    case TAG_PAUSE:
        on_stopped(u, pointer);
        break;
    case TAG_ACCEPT:
        on_accept(u, pointer, result, flags);
        break;
    case TAG_WOKE:
        rt_wake_write(pointer);
        break;
    }
}

/* Handles the completions that are there now; those that callbacks cause are the next turn's. */
static void reap(struct rt_uring *u) {
    for (unsigned left = completions(u); left > 0; left--) {
        struct io_uring_cqe cqe;
        take_cqe(u, &cqe);
        on_cqe(u, cqe.user_data, cqe.res, cqe.flags);
    }
}

/* The one system call of a turn. */
static void submit_and_wait(struct rt_uring *u, int64_t wait_ns) {
    bool overflow = cq_overflowed(u);
    u->rt.stats.cq_overflows += overflow;
    if (wait_ns == 0 && u->unsubmitted == 0 && !overflow && u->taskrun_flag &&
        !(__atomic_load_n(u->ring.sq.kflags, __ATOMIC_RELAXED) & IORING_SQ_TASKRUN)) {
        return; /* the kernel has nothing to say */
    }
    struct __kernel_timespec timeout, *timeoutp = NULL;
    if (wait_ns > 0) {
        timeout.tv_sec = wait_ns / 1000000000;
        timeout.tv_nsec = wait_ns % 1000000000;
        timeoutp = &timeout;
    }
    int r = enter(u, wait_ns != 0, IORING_ENTER_GETEVENTS, timeoutp);
    check(r >= 0 || r == -ETIME || r == -EINTR || r == -EAGAIN || r == -EBUSY || r == -ENOMEM);
}

static void uring_submit(struct rt *rt) {
    struct rt_uring *u = uring_of(rt);
    send_wakes(u);
    if (u->unsubmitted > 0) {
        enter(u, 0, 0, NULL); /* what it does not take, the turn will */
    }
}

static bool uring_has_news(struct rt *rt) {
    const struct rt_uring *u = uring_of(rt);
    return u->prompt || completions(u) > 0 || !list_empty(&u->gone) || !list_empty(&u->closing) ||
           (__atomic_load_n(u->ring.sq.kflags, __ATOMIC_RELAXED) &
            (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN));
}

static bool uring_has_work(struct rt *rt) {
    const struct rt_uring *u = uring_of(rt);
    return u->prompt || !list_empty(&u->closing) || !list_empty(&u->gone) || u->wakes_count > 0 ||
           u->sq_tail != __atomic_load_n(u->ring.sq.ktail, __ATOMIC_RELAXED);
}

static bool uring_turn(struct rt *rt, int64_t wait_ns) {
    struct rt_uring *u = uring_of(rt);
    if (UNLIKELY(!u->enabled)) {
        enable(u);
    }
    start_closes(u);
    feed_starved(u);
    send_wakes(u);
    quick_gather(u);
    if (u->prompt || completions(u) > 0 || !list_empty(&u->gone)) {
        wait_ns = 0;
    }
    u->prompt = false;
    submit_and_wait(u, rt_wait_ns(rt, wait_ns));
    rt_refresh(rt);
    bool settled = u->unsubmitted == 0 && !cq_overflowed(u);
    retry_listeners(u);
    reap(u);
    if (settled) {
        quick_settle(u);
    } else {
        u->prompt = true;
    }
    tell_gone(u);
    bool woken = u->woken;
    u->woken = false;
    return woken;
}

/* ---- Making one ------------------------------------------------------------------------------ */

static int ring_register(struct rt_uring *u, unsigned op, void *arg, unsigned n) {
    long r = syscall(__NR_io_uring_register, u->ring.ring_fd, op, arg, n);
    return r < 0 ? -errno : (int)r;
}

/* The ring starts disabled and belongs to the thread that first uses it, so that one thread may
 * make the runtimes of all. Its descriptor is registered with that thread, which makes entering
 * cheaper. */
static void enable(struct rt_uring *u) {
    int r = ring_register(u, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    check(r == 0);
    u->enabled = true;
    u->thread = gettid();
    struct io_uring_rsrc_update update = {.offset = UINT32_MAX, .data = (uint64_t)u->ring.ring_fd};
    if (ring_register(u, IORING_REGISTER_RING_FDS, &update, 1) == 1) {
        u->enter_fd = (int)update.offset;
        u->enter_flags |= IORING_ENTER_REGISTERED_RING;
    }
    if (CPU_COUNT(&u->rt.beside_cpus) >
        0) { /* the kernel's threads, which sync; before 5.14: any */
        ring_register(u, IORING_REGISTER_IOWQ_AFF, &u->rt.beside_cpus, sizeof u->rt.beside_cpus);
    }
}

/* The registration keeps the ring alive until it is taken back or its thread ends. */
static void release_enter_fd(struct rt_uring *u) {
    if ((u->enter_flags & IORING_ENTER_REGISTERED_RING) && u->thread == gettid()) {
        struct io_uring_rsrc_update update = {.offset = (uint32_t)u->enter_fd};
        ring_register(u, IORING_UNREGISTER_RING_FDS, &update, 1);
    }
}

/* From the best the kernel may know to the plainest. */
static int setup_ring(struct rt_uring *u, unsigned entries) {
    static const unsigned flags[] = {
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
            IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_SUBMIT_ALL,
        0,
    };
    unsigned ring_flags = 0;
    int r = -EINVAL;
    for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]) && r == -EINVAL; i++) {
        struct io_uring_params params;
        memset(&params, 0, sizeof(params));
        params.flags = flags[i] | IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED;
        params.cq_entries = entries * CQ_RATIO;
        r = io_uring_queue_init_params(entries, &u->ring, &params);
        u->taskrun_flag = flags[i] & IORING_SETUP_TASKRUN_FLAG;
        ring_flags = params.flags;
    }
    if (r < 0) {
        return r;
    }
    /* Entries are used in ring order. Newer liburing asks for a ring without this table. */
    if (!(ring_flags & SETUP_NO_SQARRAY)) {
        for (unsigned i = 0; i < u->ring.sq.ring_entries; i++) {
            u->ring.sq.array[i] = i;
        }
    }
    u->enter_fd = u->ring.ring_fd;
    if (u->ring.features & FEAT_NO_IOWAIT) {
        u->enter_flags |= ENTER_NO_IOWAIT;
    }
    return 0;
}

static int setup_buffers(struct rt_uring *u) {
    u->buffers_bytes = u->rt.pool.count * sizeof(struct io_uring_buf);
    void *memory = mmap(NULL, u->buffers_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) {
        return -errno;
    }
    u->buffers = memory;
    struct io_uring_buf_reg reg;
    memset(&reg, 0, sizeof(reg));
    reg.ring_addr = (uint64_t)(uintptr_t)memory;
    reg.ring_entries = u->rt.pool.count;
    reg.bgid = BUFFER_GROUP;
    int r = ring_register(u, IORING_REGISTER_PBUF_RING, &reg, 1);
    if (r < 0) {
        return r;
    }
    give_more_buffers(u);
    return 0;
}

/* Filters of system calls do not see what a ring is asked for: so the kernel is told, before it is
 * enabled, what this one may be asked for. A kernel that does not know them all is told of the
 * others, and one that knows no restrictions of nothing. */
static void restrict_ring(struct rt_uring *u) {
    struct io_uring_restriction list[COUNT_OF(ops_allowed) + COUNT_OF(registers_allowed) + 1];
    unsigned n = 0;
    memset(list, 0, sizeof list);
    list[n].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
    list[n++].sqe_flags = SQE_FLAGS_ALLOWED;
    for (size_t i = 0; i < COUNT_OF(registers_allowed); i++) {
        list[n].opcode = IORING_RESTRICTION_REGISTER_OP;
        list[n++].register_op = registers_allowed[i];
    }
    for (size_t i = 0; i < COUNT_OF(ops_allowed); i++) {
        list[n].opcode = IORING_RESTRICTION_SQE_OP;
        list[n++].sqe_op = ops_allowed[i];
    }
    if (ring_register(u, IORING_REGISTER_RESTRICTIONS, list, n) == -EINVAL) {
        ring_register(u, IORING_REGISTER_RESTRICTIONS, list, n - 1);
    }
}

/* A policy may allow a ring and forbid to enter it. One that is not enabled yet is asked: the
 * kernel says that it is not, a policy says something else. */
static int try_enter(struct rt_uring *u) {
    long r = syscall(__NR_io_uring_enter, u->ring.ring_fd, 0, 0, 0, NULL, 0);
    return r < 0 && errno != EBADFD ? -errno : 0;
}

static void close_list(struct list *list) {
    for (struct list_node *node; (node = list_pop_front(list)) != NULL;) {
        struct rt_stream *stream = LIST_ENTRY(node, struct rt_stream, link);
        rt_stream_free_vectors(stream);
        if (stream->socket >= 0) {
            /* Requests in flight hold on to the socket until the kernel has torn the ring down,
             * which it does in its own time. */
            shutdown(stream->socket, SHUT_RDWR);
            close(stream->socket);
        }
    }
}

/* What was asked for and never submitted, done by hand: another thread than the ring's may free it,
 * and may not enter it. */
static void finish_unsubmitted(struct rt_uring *u) {
    for (unsigned i = u->unsubmitted; i > 0; i--) {
        struct io_uring_sqe *sqe = &u->ring.sq.sqes[(u->sq_tail - i) & u->ring.sq.ring_mask];
        if (sqe->opcode == IORING_OP_CLOSE) {
            close(sqe->fd);
        } else if (sqe->opcode == IORING_OP_STATX) {
            free(file_op_of(sqe->user_data)->memory);
        } else if (sqe->opcode == IORING_OP_MSG_RING) {
            rt_wake_write((struct rt *)(uintptr_t)(sqe->user_data & ~TAG_MASK));
        }
    }
    for (unsigned i = 0; i < u->wakes_count; i++) {
        if (rt_wake_announce(u->wakes[i])) {
            rt_wake_write(u->wakes[i]);
        }
    }
}

/* Sockets that were accepted, and files opened, and nobody was told of. */
static void drop_completions(struct rt_uring *u) {
    for (unsigned left = completions(u); left > 0; left--) {
        struct io_uring_cqe cqe;
        take_cqe(u, &cqe);
        if ((cqe.user_data & TAG_MASK) == TAG_ACCEPT && cqe.res >= 0) {
            close(cqe.res);
        } else if ((cqe.user_data & TAG_MASK) == TAG_NONE && cqe.user_data >= CODES) {
            drop_file(u, file_op_of(cqe.user_data), cqe.res);
        }
    }
}

/* The kernel reads and writes the memory that operations on files name until they are done. Where
 * the ring's thread has ended it has waited for them itself. */
static void wait_for_files(struct rt_uring *u) {
    drop_completions(u);
    if (u->files == 0 || !u->enabled || u->thread != gettid()) {
        return;
    }
    submit_all(u);
    u->rt.sleeps = NULL;
    u->rt.woke = NULL;
    for (drop_completions(u); u->files > 0; drop_completions(u)) {
        enter(u, 1, IORING_ENTER_GETEVENTS, NULL);
    }
}

static void uring_free(struct rt *rt) {
    struct rt_uring *u = uring_of(rt);
    if (u->ring.ring_fd >= 0) {
        wait_for_files(u);
        finish_unsubmitted(u);
        release_enter_fd(u);
        io_uring_queue_exit(&u->ring);
    }
    close_list(&u->closing);
    close_list(&u->finishing);
    if (u->buffers) {
        munmap(u->buffers, u->buffers_bytes);
    }
    rt_common_fini(rt);
    free(u->quick.items);
    free(u->quick_next.items);
    free(u->wakes);
    free(u->spill);
    free(u);
}

static const struct rt_ops uring_ops = {
    .name = "io_uring",
    .free = uring_free,
    .turn = uring_turn,
    .submit = uring_submit,
    .has_news = uring_has_news,
    .has_work = uring_has_work,
    .wake = uring_wake,
    .buffer_recycle = uring_buffer_recycle,
    .pool_rests = uring_pool_rests,
    .listen = uring_listen,
    .unlisten = uring_unlisten,
    .stream_open = uring_stream_open,
    .stream_connect = uring_stream_connect,
    .stream =
        {
            .send = uring_stream_send,
            .pause = uring_stream_pause,
            .resume = uring_stream_resume,
            .look_again = uring_stream_look_again,
            .close = uring_stream_close,
        },
    .file = uring_file,
    RT_REAL_OPS,
};

static unsigned queue_entries(const struct rt_options *options) {
    return options->queue_entries ? options->queue_entries : SQ_ENTRIES;
}

size_t rt_uring_locked_bytes(const struct rt_options *options) {
    size_t entry = sizeof(struct io_uring_sqe) + CQ_RATIO * sizeof(struct io_uring_cqe);
    return queue_entries(options) * entry + 4096; /* a page for what is not entries */
}

static char *reason_text(const char *what, int error) {
    char *text = NULL;
    const char *hint = error == -ENOMEM ? "; too little locked memory, see 'ulimit -l'?" : "";
    if (asprintf(&text, "%s: %s%s", what, strerror(-error), hint) < 0) {
        return NULL;
    }
    return text;
}

int rt_uring_new(const struct rt_options *options, struct rt **ret_rt, char **ret_reason) {
    struct rt_uring *u = must_aligned(_Alignof(struct rt_uring), sizeof(*u));
    u->rt.ops = &uring_ops;
    u->ring.ring_fd = -1;
    u->multishot = true;
    list_init(&u->closing);
    list_init(&u->finishing);
    list_init(&u->gone);
    list_init(&u->starved);
    const char *what = "io_uring_setup";
    int r = rt_common_init(&u->rt, options, 0);
    if (r == 0) {
        r = setup_ring(u, queue_entries(options));
        if (r < 0) {
            u->ring.ring_fd = -1;
        }
    }
    if (r == 0) {
        what = "provided buffer rings";
        r = setup_buffers(u);
    }
    if (r == 0) {
        restrict_ring(u);
        what = "io_uring_enter";
        r = try_enter(u);
    }
    if (r < 0) {
        *ret_reason = reason_text(what, r);
        uring_free(&u->rt);
        return r;
    }
    arm_eventfd(u);
    *ret_rt = &u->rt;
    return 0;
}
