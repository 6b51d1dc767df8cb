/* SPDX-License-Identifier: BSD-3-Clause */
/* The runtime on epoll, for kernels and containers that forbid io_uring. Same callbacks, same
 * order, same promises.
 *
 * Every stream is registered once, edge-triggered, for both directions, so that pausing and blocked
 * sends cost no system call; a stream with unread bytes waits in `ready` and is read once per turn,
 * which keeps a flood on one of them from delaying the others. Sends are tried when the turn
 * begins. What they and the closes caused is told only after the wait, for a callback may make work
 * for the loop around us, which must not sleep on it.
 *
 * Sockets stay blocking (io_uring wants that of them, and a socket does not know which it meets);
 * each call says MSG_DONTWAIT.
 */
#include "net/rt_private.h"

#include "net/rt_file.h"

#include "base/check.h"
#include "base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_PER_TURN  512
#define ACCEPTS_PER_TURN 128

enum {
    READABLE = RT_STREAM_BACKEND << 0, /* the kernel said so and a read has not found the end */
    HANGUP = RT_STREAM_BACKEND << 1,   /* an end or error is waiting to be read */
};

enum tag { TAG_STREAM, TAG_LISTENER, TAG_WAKE, TAG_FILES };
#define TAG_MASK 7ull

struct stream_list {
    struct rt_stream **items;
    unsigned count;
    unsigned capacity;
};

struct rt_epoll {
    struct rt rt;
    int fd;
    bool no_pwait2;
    bool listeners_ended;
    bool prompt;             /* the outcome of a send is to be told without waiting */
    struct rt_buffer **free; /* pool buffers not held, a stack */
    unsigned free_count;
    struct stream_list sends; /* to be tried; NULL: closed meanwhile */
    struct stream_list sent;  /* to be told */
    struct list connects;     /* streams to connect */
    struct list connected;    /* how that went is to be told */
    struct list ready;        /* streams to read */
    struct list closing;
    struct list gone;         /* to be told */
    struct list files;        /* operations to hand to the helper */
    struct list files_failed; /* without one: to be told */
    bool files_done;          /* the helper has some */
    struct epoll_event events[EVENTS_PER_TURN];
};

static struct rt_epoll *epoll_of(struct rt *rt) {
    return (struct rt_epoll *)rt;
}

static void list_add(struct stream_list *list, struct rt_stream *stream) {
    if (UNLIKELY(list->count == list->capacity)) {
        list->capacity = list->capacity ? list->capacity * 2 : 64;
        list->items = must_realloc(list->items, list->capacity * sizeof(struct rt_stream *));
    }
    stream->send_slot = list->count;
    list->items[list->count++] = stream;
}

static int control(struct rt_epoll *e, int op, int fd, uint32_t events, void *pointer,
                   enum tag tag) {
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)(uintptr_t)pointer | tag};
    return epoll_ctl(e->fd, op, fd, &event) < 0 ? -errno : 0;
}

/* ---- Receiving ---- */

static void epoll_buffer_recycle(struct rt *rt, struct rt_buffer *buffer) {
    struct rt_epoll *e = epoll_of(rt);
    e->free[e->free_count++] = buffer;
}

static bool epoll_pool_rests(struct rt *rt) {
    return epoll_of(rt)->free_count == rt->pool.count;
}

static void make_ready(struct rt_epoll *e, struct rt_stream *stream) {
    if ((stream->flags & READABLE) && !list_node_linked(&stream->link) &&
        !(stream->flags &
          (RT_STREAM_PAUSED | RT_STREAM_ENDED | RT_STREAM_CLOSING | RT_STREAM_CONNECTING))) {
        list_push_back(&e->ready, &stream->link);
    }
}

static int epoll_stream_open(struct rt *rt, struct rt_stream *stream) {
    return control(epoll_of(rt), EPOLL_CTL_ADD, stream->socket,
                   EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, stream, TAG_STREAM);
}

static void epoll_stream_pause(struct rt *rt, struct rt_stream *stream) {
    (void)rt;
    list_remove(&stream->link);
}

static void epoll_stream_resume(struct rt *rt, struct rt_stream *stream) {
    make_ready(epoll_of(rt), stream);
}

/* Returns bytes that lie in *ret_buffer now, 0 at the end of the peer, or -errno: ENOBUFS if the
 * pool has none. */
static ssize_t receive(struct rt_epoll *e, struct rt_stream *stream,
                       struct rt_buffer **ret_buffer) {
    int fault;
    if (UNLIKELY(rt_faulted(&e->rt, RT_FAULT_RECV, &fault))) {
        return fault;
    }
    if (e->free_count == 0) {
        return -ENOBUFS;
    }
    struct rt_buffer *buffer = e->free[--e->free_count];
    rt_buffer_open(buffer);
    ssize_t n = recv(stream->socket, buffer->data, buffer->size, MSG_DONTWAIT);
    n = n < 0 ? -errno : n;
    rt_buffer_shut(buffer);
    if (n <= 0) {
        e->free[e->free_count++] = buffer;
    }
    *ret_buffer = buffer;
    return n;
}

static void read_stream(struct rt_epoll *e, struct rt_stream *stream) {
    struct rt_buffer *buffer = NULL;
    ssize_t n = receive(e, stream, &buffer);
    if (n > 0) {
        /* Less than asked for: all there was, unless the peer's end is behind it. */
        if ((size_t)n < buffer->size && !(stream->flags & HANGUP)) {
            stream->flags &= ~READABLE;
        }
        rt_deliver(stream, buffer, (size_t)n);
        make_ready(e, stream);
    } else if (n == -EAGAIN) {
        stream->flags &= ~READABLE;
    } else if (n == -EINTR || n == -ENOBUFS) {
        e->rt.stats.buffers_exhausted += n == -ENOBUFS;
        make_ready(e, stream);
    } else {
        rt_stream_tell_end(stream, (int)n);
    }
}

/* Each stream that is ready now, once. */
static void read_ready(struct rt_epoll *e) {
    struct list now;
    list_init(&now);
    list_splice_back(&now, &e->ready);
    for (struct list_node *node; (node = list_pop_front(&now)) != NULL;) {
        read_stream(e, LIST_ENTRY(node, struct rt_stream, link));
    }
}

/* ---- Sending ---- */

static void epoll_stream_send(struct rt *rt, struct rt_stream *stream) {
    list_add(&epoll_of(rt)->sends, stream);
}

static ssize_t send_some(struct rt_epoll *e, struct rt_stream *stream) {
    int fault;
    if (UNLIKELY(rt_faulted(&e->rt, RT_FAULT_SEND, &fault))) {
        return fault < 0 ? fault : rt_real_send(stream, (size_t)fault);
    }
    return rt_real_send(stream, stream->send_bytes);
}

/* Puts the outcome among those to be told, or waits for room. */
static void try_send(struct rt_epoll *e, struct rt_stream *stream) {
    ssize_t n;
    do {
        n = send_some(e, stream);
    } while (n == -EINTR);
    if (n == -EAGAIN) {
        stream->flags |= RT_STREAM_FULL | RT_STREAM_WAITED;
        return;
    }
    stream->flags &= ~RT_STREAM_FULL;
    stream->send_result = n;
    list_add(&e->sent, stream);
}

static void try_sends(struct rt_epoll *e) {
    for (unsigned i = 0; i < e->sends.count; i++) {
        struct rt_stream *stream = e->sends.items[i];
        if (!stream) {
            continue;
        }
        try_send(e, stream);
        if (!(stream->flags & RT_STREAM_FULL) &&
            (!(stream->flags & RT_STREAM_LAZY) ||
             stream->send_result != (ssize_t)stream->send_bytes)) {
            e->prompt = true;
        }
    }
    e->sends.count = 0;
}

/* Callbacks may ask for new sends, never add to this list. */
static void tell_sent(struct rt_epoll *e) {
    for (unsigned i = 0; i < e->sent.count; i++) {
        if (e->sent.items[i]) {
            rt_stream_tell_sent(e->sent.items[i], e->sent.items[i]->send_result);
        }
    }
    e->sent.count = 0;
}

/* ---- Connecting ---- */

static int epoll_stream_connect(struct rt *rt, struct rt_stream *stream, const char *address,
                                uint16_t port, const struct rt_connect_options *options) {
    int r = rt_real_dial(stream, address, port, options);
    if (r < 0) {
        return r;
    }
    r = epoll_stream_open(rt, stream);
    if (r < 0) {
        close(stream->socket);
        return r;
    }
    list_push_back(&epoll_of(rt)->connects, &stream->link);
    return 0;
}

/* In no list until the kernel has something to say of it. */
static void try_connect(struct rt_epoll *e, struct rt_stream *stream) {
    int result;
    if (LIKELY(!rt_faulted(&e->rt, RT_FAULT_CONNECT, &result))) {
        result = rt_real_connect(stream);
    }
    list_remove(&stream->link);
    if (result != -EAGAIN) {
        stream->send_result = result;
        list_push_back(&e->connected, &stream->link);
    }
}

/* A socket that does not connect yet looks as if its peer had hung up; so this is before a wait,
 * never behind one. */
static void try_connects(struct rt_epoll *e) {
    while (!list_empty(&e->connects)) {
        try_connect(e, LIST_ENTRY(list_first(&e->connects), struct rt_stream, link));
    }
}

static void tell_connected(struct rt_epoll *e) {
    for (struct list_node *node; (node = list_pop_front(&e->connected)) != NULL;) {
        struct rt_stream *stream = LIST_ENTRY(node, struct rt_stream, link);
        rt_stream_tell_connected(stream, (int)stream->send_result);
        make_ready(e, stream);
    }
}

/* ---- Closing ---- */

static void forget(struct stream_list *list, struct rt_stream *stream) {
    if (stream->send_slot < list->count && list->items[stream->send_slot] == stream) {
        list->items[stream->send_slot] = NULL;
    }
}

static void epoll_stream_close(struct rt *rt, struct rt_stream *stream) {
    list_remove(&stream->link);
    list_push_back(&epoll_of(rt)->closing, &stream->link);
}

static void do_closes(struct rt_epoll *e) {
    for (struct list_node *node; (node = list_pop_front(&e->closing)) != NULL;) {
        struct rt_stream *stream = LIST_ENTRY(node, struct rt_stream, link);
        forget(&e->sends, stream);
        forget(&e->sent, stream);
        control(e, EPOLL_CTL_DEL, stream->socket, 0, NULL, TAG_STREAM);
        close(stream->socket);
        stream->socket = -1;
        rt_stream_free_vectors(stream);
        list_push_back(&e->gone, node);
    }
}

static void tell_gone(struct rt_epoll *e) {
    for (struct list_node *node; (node = list_pop_front(&e->gone)) != NULL;) {
        struct rt_stream *stream = LIST_ENTRY(node, struct rt_stream, link);
        stream->flags = 0;
        stream->events->gone(stream);
    }
}

/* ---- Listening ---- */

/* Level-triggered: connections beyond a turn's share are simply reported again. */
static int epoll_listen(struct rt *rt, struct rt_listener *listener) {
    int flags = fcntl(listener->socket, F_GETFL);
    if (flags < 0 || fcntl(listener->socket, F_SETFL, flags | O_NONBLOCK) < 0) {
        return -errno;
    }
    listener->armed = true;
    rt_real_spare(rt);
    return control(epoll_of(rt), EPOLL_CTL_ADD, listener->socket, EPOLLIN, listener, TAG_LISTENER);
}

/* An event of this turn may still name it: its memory goes when the next turn begins. */
static void epoll_unlisten(struct rt *rt, struct rt_listener *listener) {
    struct rt_epoll *e = epoll_of(rt);
    control(e, EPOLL_CTL_DEL, listener->socket, 0, NULL, TAG_LISTENER);
    close(listener->socket);
    listener->socket = -1;
    e->listeners_ended = true;
}

static void free_listeners(struct rt_epoll *e) {
    e->listeners_ended = false;
    LIST_EACH_SAFE(&e->rt.listeners, node) {
        struct rt_listener *listener = LIST_ENTRY(node, struct rt_listener, link);
        if (listener->ended) {
            rt_listener_disarmed(&e->rt, listener);
        }
    }
}

static int accept_one(struct rt_epoll *e, struct rt_listener *listener) {
    int fault;
    if (UNLIKELY(rt_faulted(&e->rt, RT_FAULT_ACCEPT, &fault))) {
        return fault;
    }
    int fd = accept4(listener->socket, NULL, NULL, SOCK_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static void accept_all(struct rt_epoll *e, struct rt_listener *listener) {
    for (int i = 0; i < ACCEPTS_PER_TURN && !listener->ended; i++) {
        int fd = accept_one(e, listener);
        if (fd >= 0) {
            rt_listener_accepted(&e->rt, listener, fd, false);
            continue;
        }
        if (fd == -EAGAIN) {
            break;
        }
        if (fd == -EINTR) {
            continue;
        }
        rt_listener_failed(&e->rt, listener, fd);
        rt_real_accept_spare(&e->rt, listener, fd);
        if (listener->ended) {
            break;
        }
        if (listener->retry_at_ns != 0) {
            control(e, EPOLL_CTL_MOD, listener->socket, 0, listener, TAG_LISTENER);
            break;
        }
    }
}

static void retry_listeners(struct rt_epoll *e) {
    for (struct rt_listener *listener; (listener = rt_listener_due(&e->rt)) != NULL;) {
        control(e, EPOLL_CTL_MOD, listener->socket, EPOLLIN, listener, TAG_LISTENER);
    }
}

/* ---- Files: a thread of their own does them ---- */

static void epoll_file(struct rt *rt, struct rt_file_op *op) {
    list_push_back(&epoll_of(rt)->files, &op->link);
}

static int make_helper(struct rt_epoll *e) {
    if (e->rt.helper != NULL) {
        return 0;
    }
    int r = rt_helper_new(&e->rt.beside_cpus, &e->rt.helper);
    if (r == 0) {
        r = control(e, EPOLL_CTL_ADD, rt_helper_fd(e->rt.helper), EPOLLIN, NULL, TAG_FILES);
    }
    if (r < 0) {
        rt_helper_free(e->rt.helper);
        e->rt.helper = NULL;
    }
    return r;
}

static void start_files(struct rt_epoll *e) {
    if (LIKELY(list_empty(&e->files))) {
        return;
    }
    int r = make_helper(e);
    if (r == 0) {
        rt_helper_ask(e->rt.helper, &e->files);
        return;
    }
    LIST_EACH(&e->files, node) {
        LIST_ENTRY(node, struct rt_file_op, link)->result = r;
    }
    list_splice_back(&e->files_failed, &e->files);
}

static void tell_files(struct rt_epoll *e) {
    struct list done;
    list_init(&done);
    list_splice_back(&done, &e->files_failed);
    if (e->files_done) {
        e->files_done = false;
        uint64_t value;
        ssize_t r = read(rt_helper_fd(e->rt.helper), &value, sizeof(value));
        (void)r;
        rt_helper_take(e->rt.helper, &done);
    }
    for (struct list_node *node; (node = list_pop_front(&done)) != NULL;) {
        struct rt_file_op *op = LIST_ENTRY(node, struct rt_file_op, link);
        op->done(op, op->result);
    }
}

/* What nobody has begun: only a file that is to be closed is anybody's business. */
static void drop_files(struct rt_epoll *e) {
    LIST_EACH(&e->files, node) {
        struct rt_file_op *op = LIST_ENTRY(node, struct rt_file_op, link);
        if (op->kind == RT_FILE_CLOSE) {
            close(op->file);
        }
    }
}

/* ---- The turn ---- */

static void epoll_wake(struct rt *from, struct rt *target) {
    (void)from;
    if (rt_wake_announce(target)) {
        rt_wake_write(target);
    }
}

static void take_wake(struct rt_epoll *e) {
    uint64_t value;
    ssize_t r = read(e->rt.wake_fd, &value, sizeof(value));
    (void)r;
    rt_wake_take(&e->rt);
}

static int wait_events(struct rt_epoll *e, int64_t wait_ns) {
    if (!e->no_pwait2) {
        struct timespec timeout, *timeoutp = NULL;
        if (wait_ns >= 0) {
            timeout.tv_sec = wait_ns / 1000000000;
            timeout.tv_nsec = wait_ns % 1000000000;
            timeoutp = &timeout;
        }
        int n = epoll_pwait2(e->fd, e->events, EVENTS_PER_TURN, timeoutp, NULL);
        if (n >= 0 || (errno != ENOSYS && errno != EPERM)) {
            return n;
        }
        e->no_pwait2 = true;
    }
    int64_t ms = wait_ns < 0 ? -1 : (wait_ns + 999999) / 1000000;
    return epoll_wait(e->fd, e->events, EVENTS_PER_TURN, ms > INT_MAX ? INT_MAX : (int)ms);
}

static void on_stream_event(struct rt_epoll *e, struct rt_stream *stream, uint32_t events) {
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        stream->flags |= HANGUP;
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        stream->flags |= READABLE;
        make_ready(e, stream);
    }
    if (UNLIKELY(stream->flags & RT_STREAM_CONNECTING) && !list_node_linked(&stream->link)) {
        try_connect(e, stream);
    }
    if ((stream->flags & RT_STREAM_FULL) && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))) {
        try_send(e, stream);
    }
}

static void epoll_submit(struct rt *rt) {
    try_sends(epoll_of(rt));
    start_files(epoll_of(rt));
    try_connects(epoll_of(rt));
}

static bool epoll_has_news(struct rt *rt) {
    const struct rt_epoll *e = epoll_of(rt);
    return e->prompt || !list_empty(&e->ready) || !list_empty(&e->gone) ||
           !list_empty(&e->closing) || !list_empty(&e->connected) || !list_empty(&e->files_failed);
}

static bool epoll_has_work(struct rt *rt) {
    const struct rt_epoll *e = epoll_of(rt);
    return epoll_has_news(rt) || e->sends.count > 0 || !list_empty(&e->connects) ||
           !list_empty(&e->files);
}

static bool epoll_turn(struct rt *rt, int64_t wait_ns) {
    struct rt_epoll *e = epoll_of(rt);
    if (UNLIKELY(e->listeners_ended)) {
        free_listeners(e);
    }
    try_sends(e); /* a stream may be closed behind its last words */
    do_closes(e);
    try_connects(e);
    start_files(e);
    if (epoll_has_news(rt)) {
        wait_ns = 0;
    }
    e->prompt = false;
    wait_ns = rt_wait_ns(rt, wait_ns);
    bool sleeps = wait_ns != 0 && rt_sleeps(rt);
    int n = wait_events(e, sleeps ? wait_ns : 0);
    check(n >= 0 || errno == EINTR);
    if (sleeps) {
        rt_woke(rt);
    }
    rt_refresh(rt);
    retry_listeners(e);
    bool woken = false;
    /* Streams and the wake-up first note what they were told; only then do callbacks run,
     * listeners' last. */
    for (int i = 0; i < n; i++) {
        uint64_t data = e->events[i].data.u64;
        if ((data & TAG_MASK) == TAG_STREAM) {
            on_stream_event(e, (struct rt_stream *)(uintptr_t)data, e->events[i].events);
        } else if ((data & TAG_MASK) == TAG_WAKE) {
            take_wake(e);
            woken = true;
        } else if ((data & TAG_MASK) == TAG_FILES) {
            e->files_done = true;
        }
    }
    tell_connected(e);
    tell_sent(e);
    if (UNLIKELY(e->files_done || !list_empty(&e->files_failed))) {
        tell_files(e);
    }
    read_ready(e);
    for (int i = 0; i < n; i++) {
        uint64_t data = e->events[i].data.u64;
        if ((data & TAG_MASK) == TAG_LISTENER) {
            accept_all(e, (struct rt_listener *)(uintptr_t)(data & ~TAG_MASK));
        }
    }
    tell_gone(e);
    return woken;
}

/* ---- Making one ---- */

static void epoll_free(struct rt *rt) {
    struct rt_epoll *e = epoll_of(rt);
    for (struct list_node *node; (node = list_pop_front(&e->closing)) != NULL;) {
        struct rt_stream *stream = LIST_ENTRY(node, struct rt_stream, link);
        rt_stream_free_vectors(stream);
        close(stream->socket);
    }
    drop_files(e);
    rt_common_fini(rt);
    if (e->fd >= 0) {
        close(e->fd);
    }
    free(e->free);
    free(e->sends.items);
    free(e->sent.items);
    free(e);
}

static const struct rt_ops epoll_ops = {
    .name = "epoll",
    .free = epoll_free,
    .turn = epoll_turn,
    .submit = epoll_submit,
    .has_news = epoll_has_news,
    .has_work = epoll_has_work,
    .wake = epoll_wake,
    .buffer_recycle = epoll_buffer_recycle,
    .pool_rests = epoll_pool_rests,
    .listen = epoll_listen,
    .unlisten = epoll_unlisten,
    .stream_open = epoll_stream_open,
    .stream_connect = epoll_stream_connect,
    .stream =
        {
            .send = epoll_stream_send,
            .pause = epoll_stream_pause,
            .resume = epoll_stream_resume,
            .close = epoll_stream_close,
        },
    .file = epoll_file,
    RT_REAL_OPS,
};

int rt_epoll_new(const struct rt_options *options, struct rt **ret_rt) {
    struct rt_epoll *e = must_aligned(_Alignof(struct rt_epoll), sizeof(*e));
    e->rt.ops = &epoll_ops;
    list_init(&e->connects);
    list_init(&e->connected);
    list_init(&e->ready);
    list_init(&e->closing);
    list_init(&e->gone);
    list_init(&e->files);
    list_init(&e->files_failed);
    e->fd = epoll_create1(EPOLL_CLOEXEC);
    int r = e->fd < 0 ? -errno : 0;
    int common = rt_common_init(&e->rt, options, EFD_NONBLOCK);
    r = r < 0 ? r : common;
    if (r == 0) {
        r = control(e, EPOLL_CTL_ADD, e->rt.wake_fd, EPOLLIN, NULL, TAG_WAKE);
    }
    e->free = must_calloc(options->recv_buffers, sizeof(struct rt_buffer *));
    if (r < 0) {
        epoll_free(&e->rt);
        return r;
    }
    for (unsigned i = options->recv_buffers; i-- > 0;) {
        e->free[e->free_count++] = &e->rt.pool.buffers[i];
    }
    *ret_rt = &e->rt;
    return 0;
}
