/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts of the runtime that do not depend on how the kernel is asked: choice of a backend,
 * clocks, the pool of receive buffers, and what callbacks are told.
 *
 * The pool is one mapping. A buffer is either with the backend, or held: in a callback or kept by
 * the owner through a reference. Owners may keep buffers for as long as a client takes to finish a
 * request, so once half of the pool is held, data is handed over as a copy from the allocator and
 * the pool buffer goes straight back: slow clients cost memory, never the pool.
 */
#include "net/rt_private.h"

#include "base/check.h"
#include "base/must.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define RT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RT_ASAN 1
#endif
#endif
#ifdef RT_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION((p), (n))
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

/* ---- Making them ---- */

#define MAKE_RETRY_NS (10 * 1000 * 1000)
#define MAKE_RETRIES  100

static int make_one(enum rt_backend backend, const struct rt_options *options, struct rt **ret_rt,
                    char **ret_reason) {
    if (options->make != NULL) {
        return options->make(options->world, options, ret_rt);
    }
    return backend == RT_EPOLL ? rt_epoll_new(options, ret_rt)
                               : rt_uring_new(options, ret_rt, ret_reason);
}

/* How often a ring that lacks memory is tried again. The kernel takes those of a server that has
 * just ended apart in its own time, and counts their memory until then; where the limit is too low
 * for this one alone, there is nothing to wait for. */
static unsigned retries_of(enum rt_backend backend, const struct rt_options *options,
                           unsigned count) {
    struct rlimit limit;
    bool limited = getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    bool fits = limited && rt_uring_locked_bytes(options) * count <= limit.rlim_cur;
    return backend != RT_EPOLL && options->make == NULL && fits ? MAKE_RETRIES : 0;
}

static int make_all(enum rt_backend backend, const struct rt_options *options, unsigned count,
                    struct rt **ret_rts, char **ret_reason) {
    unsigned retries = retries_of(backend, options, count);
    for (unsigned made = 0; made < count; made++) {
        int r = make_one(backend, options, &ret_rts[made], ret_reason);
        for (; r == -ENOMEM && retries > 0; retries--) {
            free(*ret_reason);
            *ret_reason = NULL;
            rt_real_block(NULL, MAKE_RETRY_NS);
            r = make_one(backend, options, &ret_rts[made], ret_reason);
        }
        if (r < 0) {
            while (made > 0) {
                rt_free(ret_rts[--made]);
            }
            return r;
        }
    }
    return 0;
}

int rt_new(const struct rt_options *options, unsigned count, struct rt **ret_rts,
           char **ret_reason) {
    *ret_reason = NULL;
    check(options->recv_buffers >= 2 && options->recv_buffers <= 32768);
    check((options->recv_buffers & (options->recv_buffers - 1)) == 0);
    check(options->recv_buffer_bytes > 0);
    int r = -ENOSYS;
    if (options->backend != RT_EPOLL) {
        r = make_all(RT_URING, options, count, ret_rts, ret_reason);
    }
    if (r < 0 && options->backend != RT_URING) {
        r = make_all(RT_EPOLL, options, count, ret_rts, ret_reason);
    }
    if (r == 0 && options->make == NULL) {
        rt_resolver_share(ret_rts, count);
    }
    return r;
}

void rt_free(struct rt *rt) {
    if (rt) {
        rt_resolver_leave(rt);
        rt->ops->free(rt);
    }
}

const char *rt_backend_name(const struct rt *rt) {
    return rt->ops->name;
}

const struct rt_stats *rt_get_stats(const struct rt *rt) {
    return &rt->stats;
}

static int pool_init(struct rt_pool *pool, struct rt *rt, const struct rt_options *options) {
    pool->count = options->recv_buffers;
    pool->buffer_bytes = options->recv_buffer_bytes;
    size_t bytes = (size_t)pool->count * pool->buffer_bytes;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return -errno;
    }
    pool->memory = memory;
    pool->buffers = calloc(pool->count, sizeof(*pool->buffers));
    if (!pool->buffers) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < pool->count; i++) {
        struct rt_buffer *buffer = &pool->buffers[i];
        buffer->id = i;
        buffer->pool = rt;
        buffer->data = pool->memory + (size_t)i * pool->buffer_bytes;
        buffer->size = pool->buffer_bytes;
    }
    POISON(pool->memory, bytes);
    return 0;
}

static void pool_fini(struct rt_pool *pool) {
    if (pool->memory) {
        size_t bytes = (size_t)pool->count * pool->buffer_bytes;
        UNPOISON(pool->memory, bytes);
        munmap(pool->memory, bytes);
    }
    free(pool->buffers);
}

static void clock_init(struct rt *rt);

static_assert(RT_CPUS_MAX <= CPU_SETSIZE, "cpu_set_t has room for them");

int rt_common_init(struct rt *rt, const struct rt_options *options, int eventfd_flags) {
    list_init(&rt->listeners);
    list_init(&rt->resolved);
    atomic_init(&rt->wake_pending, false);
    rt->wake_fd = -1;
    rt->spare_fd = -1;
    if (eventfd_flags != RT_NO_EVENTFD) {
        rt->wake_fd = eventfd(0, EFD_CLOEXEC | eventfd_flags);
        if (rt->wake_fd < 0) {
            return -errno;
        }
    }
    clock_init(rt);
    rt_refresh(rt);
    CPU_ZERO(&rt->beside_cpus);
    for (unsigned i = 0; i < options->beside_cpus_count; i++) {
        CPU_SET((size_t)options->beside_cpus[i], &rt->beside_cpus);
    }
    return pool_init(&rt->pool, rt, options);
}

static void listener_unlink(struct rt *rt, struct rt_listener *listener) {
    if (listener->is_unix) {
        rt->ops->unlink_unix(rt, listener->path);
    }
}

static void listener_free(struct rt *rt, struct rt_listener *listener) {
    list_remove(&listener->link);
    if (listener->socket >= 0) {
        rt->ops->socket_close(rt, listener->socket);
    }
    free(listener);
}

void rt_common_fini(struct rt *rt) {
    LIST_EACH_SAFE(&rt->listeners, node) {
        struct rt_listener *listener = LIST_ENTRY(node, struct rt_listener, link);
        if (!listener->ended) {
            listener_unlink(rt, listener);
        }
        listener_free(rt, listener);
    }
    rt_tls_fini(rt);
    pool_fini(&rt->pool);
    if (rt->wake_fd >= 0) {
        close(rt->wake_fd);
    }
    if (rt->spare_fd >= 0) {
        close(rt->spare_fd);
    }
    rt_helper_free(rt->helper);
}

/* ---- Time ---- */

static uint64_t clock_ns(clockid_t clock) {
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

uint64_t rt_real_wall_us(struct rt *rt) {
    (void)rt;
    return clock_ns(CLOCK_REALTIME) / 1000;
}

uint64_t rt_real_mono_ns(struct rt *rt) {
    (void)rt;
    return clock_ns(CLOCK_MONOTONIC);
}

int64_t rt_wall_ms(const struct rt *rt) {
    return rt->wall_ms;
}

int64_t rt_mono_ms(const struct rt *rt) {
    return rt->mono_ms;
}

int64_t rt_wall_us(struct rt *rt) {
    int64_t us = (int64_t)rt->ops->wall_us(rt);
    rt->wall_ms = us / 1000;
    return us;
}

uint64_t rt_mono_ns(struct rt *rt) {
    return rt->ops->mono_ns(rt);
}

void rt_block(struct rt *rt, uint64_t ns) {
    rt->ops->block(rt, ns);
}

void rt_real_block(struct rt *rt, uint64_t ns) {
    struct timespec left = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

int64_t rt_file_limit(struct rt *rt, int64_t wanted) {
    return rt->ops->file_limit(rt, wanted);
}

int64_t rt_wall_us_early(void) {
    return (int64_t)rt_real_wall_us(NULL);
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>

static uint64_t cpu_ticks(void) {
    return __rdtsc();
}

/* Runs at one rate whatever the core sleeps or boosts. */
static bool cpu_ticks_steady(void) {
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007u, &a, &b, &c, &d) && (d & (1u << 8));
}
#elif defined(__aarch64__)
static uint64_t cpu_ticks(void) {
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
}

static bool cpu_ticks_steady(void) {
    return true;
}
#else
static uint64_t cpu_ticks(void) {
    return 0;
}

static bool cpu_ticks_steady(void) {
    return false;
}
#endif

/* The scale from the start to now; the longer the distance, the more exact. */
static void clock_measure(struct rt_clock *clock, uint64_t now_ns, uint64_t now_ticks) {
    uint64_t ns = now_ns - clock->start_ns;
    uint64_t ticks = now_ticks - clock->start_ticks;
    if (ticks == 0 || ns == 0) {
        clock->tsc = false;
        return;
    }
    clock->scale = (uint64_t)(((unsigned __int128)ns << 32) / ticks);
    clock->refine_at_ns = now_ns + ns * 8;
}

static void clock_init(struct rt *rt) {
    struct rt_clock *clock = &rt->clock;
    clock->tsc = rt->ops->mono_ns == rt_real_mono_ns && cpu_ticks_steady();
    clock->refine_at_ns = UINT64_MAX;
    if (!clock->tsc) {
        return;
    }
    clock->start_ns = rt_real_mono_ns(rt);
    clock->start_ticks = cpu_ticks();
    /* A sleep is as good as a spin here: the counter does not stop. */
    nanosleep(&(struct timespec){0, 1000000}, NULL);
    uint64_t now_ns = rt_real_mono_ns(rt);
    clock_measure(clock, now_ns, cpu_ticks());
}

void rt_refresh(struct rt *rt) {
    rt->woke_ticks = rt_ticks(rt);
    rt->now_ns = rt->ops->mono_ns(rt);
    rt->mono_ms = (int64_t)(rt->now_ns / 1000000);
    rt->wall_ms = (int64_t)(rt->ops->wall_us(rt) / 1000);
    if (UNLIKELY(rt->clock.tsc && rt->now_ns >= rt->clock.refine_at_ns)) {
        uint64_t now_ns = rt->ops->mono_ns(rt);
        clock_measure(&rt->clock, now_ns, cpu_ticks());
    }
}

uint64_t rt_woke_ticks(const struct rt *rt) {
    return rt->woke_ticks;
}

uint64_t rt_ticks(struct rt *rt) {
    return LIKELY(rt->clock.tsc) ? cpu_ticks() : rt->ops->mono_ns(rt);
}

uint64_t rt_ticks_to_ns(const struct rt *rt, uint64_t ticks) {
    if (!rt->clock.tsc) {
        return ticks;
    }
    return (uint64_t)(((unsigned __int128)ticks * rt->clock.scale) >> 32);
}

uint64_t rt_ns_to_ticks(const struct rt *rt, uint64_t ns) {
    if (!rt->clock.tsc) {
        return ns;
    }
    return (uint64_t)(((unsigned __int128)ns << 32) / rt->clock.scale);
}

/* ---- Chance ---- */

void rt_random_early(void *ret, size_t n) {
    char *p = ret;
    while (n > 0) {
        ssize_t r = getrandom(p, n, 0);
        if (r < 0) {
            check(errno == EINTR);
            continue;
        }
        p += r;
        n -= (size_t)r;
    }
}

/* Small draws share a system call. What was given is wiped. */
void rt_real_random(struct rt *rt, void *ret, size_t n) {
    if (n > sizeof(rt->random)) {
        rt_random_early(ret, n);
        return;
    }
    if (n > rt->random_left) {
        rt_random_early(rt->random, sizeof(rt->random));
        rt->random_left = sizeof(rt->random);
    }
    rt->random_left -= (unsigned)n;
    memcpy(ret, rt->random + rt->random_left, n);
    memset(rt->random + rt->random_left, 0, n);
}

void rt_random(struct rt *rt, void *ret, size_t n) {
    rt->ops->random(rt, ret, n);
}

/* ---- Buffers ---- */

struct rt_buffer *rt_buffer_new(size_t size) {
    struct rt_buffer *buffer = must_malloc(sizeof(*buffer) + size);
    buffer->refs = 1;
    buffer->id = 0;
    buffer->pool = NULL;
    buffer->data = (char *)(buffer + 1);
    buffer->size = size;
    buffer->release = NULL;
    buffer->pin = NULL;
    return buffer;
}

static void pool_give_back(struct rt *rt, struct rt_buffer *buffer) {
    check(rt->pool.held > 0);
    rt->pool.held--;
    POISON(buffer->data, buffer->size);
    rt->ops->buffer_recycle(rt, buffer);
}

void rt_buffer_recycle(struct rt_buffer *buffer) {
    if (buffer->pool) {
        pool_give_back(buffer->pool, buffer);
        return;
    }
    if (buffer->release != NULL) {
        buffer->release(buffer->pin);
    }
    free(buffer);
}

void rt_buffer_open(struct rt_buffer *buffer) {
    UNPOISON(buffer->data, buffer->size);
}

void rt_buffer_shut(struct rt_buffer *buffer) {
    POISON(buffer->data, buffer->size);
}

void rt_deliver(struct rt_stream *stream, struct rt_buffer *buffer, size_t n) {
    struct rt *rt = stream->rt;
    check(n <= buffer->size);
    rt->stats.recvs++;
    rt->stats.recv_bytes += n;
    UNPOISON(buffer->data, n);
    rt->pool.held++;
    buffer->refs = 1;
    if (UNLIKELY(rt->pool.held > rt->pool.count / 2)) {
        struct rt_buffer *copy = rt_buffer_new(n);
        memcpy(copy->data, buffer->data, n);
        rt_buffer_unref(buffer);
        buffer = copy;
    }
    stream->events->data(stream, buffer, bytes_make(buffer->data, n));
    rt_buffer_unref(buffer);
}

/* More receives than this in a tenth of a second: they would only have to be faulted in again. */
#define TRIM_QUIET_RECVS 16
#define TRIM_BUFFERS     64

void rt_trim(struct rt *rt, bool all) {
    struct rt_pool *pool = &rt->pool;
    uint64_t recvs = rt->stats.recvs;
    bool quiet = all || recvs - pool->recvs_seen <= TRIM_QUIET_RECVS;
    pool->recvs_seen = recvs;
    if (all || !quiet || recvs - pool->recvs_trimmed > TRIM_BUFFERS) {
        pool->trimmed = 0;
    }
    if (!quiet || pool->trimmed == pool->count || pool->held > 0 || !rt->ops->pool_rests(rt)) {
        return;
    }
    unsigned count = pool->count - pool->trimmed;
    count = all || count < TRIM_BUFFERS ? count : TRIM_BUFFERS;
    size_t bytes = (size_t)count * pool->buffer_bytes;
    check(madvise(pool->memory + (size_t)pool->trimmed * pool->buffer_bytes, bytes,
                  MADV_DONTNEED) == 0);
    pool->trimmed += count;
    pool->recvs_trimmed = recvs;
}

/* ---- The turn and wake-ups ---- */

/* What is not done by the backend. */
static void tell_others(struct rt *rt) {
    if (rt->resolving > 0) {
        rt_resolve_tell(rt);
    }
    if (rt->tls_waiting > 0) {
        rt_tls_run(rt);
    }
}

bool rt_turn(struct rt *rt, int64_t wait_ns) {
    rt->stats.turns++;
    bool woken = rt->ops->turn(rt, rt->tls_waiting > 0 ? 0 : wait_ns);
    if (UNLIKELY((rt->resolving | rt->tls_waiting) > 0)) {
        tell_others(rt);
    }
    return woken;
}

void rt_on_sleep(struct rt *rt, bool (*sleeps)(void *arg), void (*woke)(void *arg), void *arg) {
    rt->sleeps = sleeps;
    rt->woke = woke;
    rt->sleep_arg = arg;
}

void rt_visit(struct rt *rt) {
    rt_refresh(rt);
}

bool rt_has_work(struct rt *rt) {
    return rt->ops->has_work(rt) || rt->tls_waiting > 0;
}

/* Tells the core that it waits: its other thread, and who owns the memory, have room. */
static void cpu_relax(void) {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

bool rt_may_look(const struct rt *rt, unsigned threads) {
    return rt->ops->submit == NULL || (rt->clock.tsc && threads <= rt_cpus());
}

void rt_submit(struct rt *rt) {
    if (rt->ops->submit != NULL) {
        rt->ops->submit(rt);
    }
}

void rt_look(struct rt *rt, bool (*found)(void *arg), void *arg, uint64_t ns) {
    if (rt->ops->has_news(rt) || rt->tls_waiting > 0) {
        return;
    }
    rt->ops->submit(rt);
    uint64_t until = cpu_ticks() + rt_ns_to_ticks(rt, ns);
    while (!found(arg) && !rt->ops->has_news(rt) && cpu_ticks() < until) {
        cpu_relax();
    }
}

int64_t rt_wait_ns(const struct rt *rt, int64_t wait_ns) {
    if (LIKELY(rt->retry_at_ns == 0)) {
        return wait_ns;
    }
    uint64_t now = rt->ops->mono_ns((struct rt *)rt);
    int64_t left = rt->retry_at_ns > now ? (int64_t)(rt->retry_at_ns - now) : 0;
    return wait_ns < 0 || left < wait_ns ? left : wait_ns;
}

/* The exchanges below order a wake-up against the messages it tells of: whoever finds the flag set
 * knows that its target has yet to take it, and will look at its mailboxes after that. */
bool rt_wake_announce(struct rt *target) {
    return !atomic_exchange(&target->wake_pending, true);
}

void rt_wake_take(struct rt *rt) {
    atomic_exchange(&rt->wake_pending, false);
}

void rt_wake_write(struct rt *target) {
    uint64_t one = 1;
    int saved = errno;
    ssize_t r;
    do {
        r = write(target->wake_fd, &one, sizeof(one));
    } while (r < 0 && errno == EINTR);
    errno = saved;
}

void rt_wake(struct rt *from, struct rt *target) {
    if (target->wake_fd < 0 || (from && from->ops == target->ops)) {
        target->ops->wake(from, target);
    } else if (rt_wake_announce(target)) {
        rt_wake_write(target);
    }
}

/* ---- Faults ---- */

#ifdef SHOAL_FAULTS
void rt_inject(struct rt *rt, enum rt_fault fault, int result, unsigned times) {
    rt->faults[fault].result = result;
    rt->faults[fault].times = times;
}

bool rt_faulted(struct rt *rt, enum rt_fault fault, int *ret_result) {
    if (LIKELY(rt->faults[fault].times == 0)) {
        return false;
    }
    rt->faults[fault].times--;
    *ret_result = rt->faults[fault].result;
    return true;
}
#endif

/* ---- Listeners ---- */

static int listener_start(struct rt *rt, rt_socket socket, const char *path, bool tls,
                          rt_accept_fn *accept, void *arg, struct rt_listener **ret_listener) {
    struct rt_listener *listener = must_calloc(1, sizeof(*listener));
    listener->is_tls = tls;
    listener->socket = socket;
    listener->accept = accept;
    listener->arg = arg;
    if (path) {
        listener->is_unix = true;
        strcpy(listener->path, path); /* binding has checked that it fits */
    } else {
        listener->port = rt->ops->port(rt, socket);
    }
    list_push_back(&rt->listeners, &listener->link);
    int r = rt->ops->listen(rt, listener);
    if (r < 0) {
        listener_unlink(rt, listener);
        listener_free(rt, listener);
        return r;
    }
    *ret_listener = listener;
    return 0;
}

int rt_listen_tcp(struct rt *rt, const char *address, uint16_t port,
                  const struct rt_listen_options *options, rt_accept_fn *accept, void *arg,
                  struct rt_listener **ret_listener) {
    rt_socket socket;
    int r = rt->ops->bind_tcp(rt, address, port, options, &socket);
    return r < 0 ? r : listener_start(rt, socket, NULL, options->tls, accept, arg, ret_listener);
}

int rt_listen_unix(struct rt *rt, const char *path, const struct rt_listen_options *options,
                   rt_accept_fn *accept, void *arg, struct rt_listener **ret_listener) {
    rt_socket socket;
    int r = rt->ops->bind_unix(rt, path, options, &socket);
    return r < 0 ? r : listener_start(rt, socket, path, false, accept, arg, ret_listener);
}

void rt_unlisten(struct rt *rt, struct rt_listener *listener) {
    check(!listener->ended);
    listener->ended = true;
    listener_unlink(rt, listener);
    rt->ops->unlisten(rt, listener);
    if (!listener->armed) {
        listener_free(rt, listener);
    }
}

uint16_t rt_listener_port(const struct rt_listener *listener) {
    return listener->port;
}

void rt_listener_disarmed(struct rt *rt, struct rt_listener *listener) {
    listener->armed = false;
    if (listener->ended) {
        listener_free(rt, listener);
    }
}

void rt_listener_accepted(struct rt *rt, struct rt_listener *listener, rt_socket socket,
                          bool no_room) {
    if (listener->ended) {
        rt->ops->socket_close(rt, socket);
        return;
    }
    rt->stats.accepts++;
    struct rt_accepted accepted = {
        .socket = socket,
        .is_unix = listener->is_unix,
        .is_tls = listener->is_tls,
        .is_local = listener->is_unix || rt->ops->peer_is_local(rt, socket),
        .no_room = no_room,
    };
    listener->accept(listener->arg, &accepted);
}

/* These are the fault of one connection, which is gone. Against all else (out of descriptors or
 * memory, a policy that refuses before it looks at a connection) nothing but time helps, so the
 * listener rests. */
void rt_listener_failed(struct rt *rt, struct rt_listener *listener, int error) {
    rt->stats.accept_errors++;
    listener->retry_at_ns = 0;
    switch (-error) {
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return;
    default:
        break;
    }
    listener->retry_at_ns = rt->ops->mono_ns(rt) + RT_ACCEPT_RETRY_NS;
    if (rt->retry_at_ns == 0 || listener->retry_at_ns < rt->retry_at_ns) {
        rt->retry_at_ns = listener->retry_at_ns;
    }
}

struct rt_listener *rt_listener_due(struct rt *rt) {
    if (LIKELY(rt->retry_at_ns == 0) || rt->now_ns < rt->retry_at_ns) {
        return NULL;
    }
    rt->retry_at_ns = 0;
    struct rt_listener *due = NULL;
    LIST_EACH(&rt->listeners, node) {
        struct rt_listener *listener = LIST_ENTRY(node, struct rt_listener, link);
        if (listener->retry_at_ns == 0) {
            continue;
        }
        if (!due && listener->retry_at_ns <= rt->now_ns) {
            due = listener;
            due->retry_at_ns = 0;
        } else if (rt->retry_at_ns == 0 || listener->retry_at_ns < rt->retry_at_ns) {
            rt->retry_at_ns = listener->retry_at_ns;
        }
    }
    return due;
}

/* ---- Streams ---- */

void rt_stream_init(struct rt *rt, struct rt_stream *stream, rt_socket socket, unsigned flags,
                    const struct rt_stream_events *events) {
    stream->rt = rt;
    stream->ops = &rt->ops->stream;
    stream->events = events;
    stream->socket = socket;
    stream->flags = RT_STREAM_OPEN | flags;
    stream->in_flight = 0;
    list_node_init(&stream->link);
    stream->send_bytes = 0;
    stream->vectors = stream->few;
    stream->vectors_count = 0;
}

int rt_stream_open(struct rt *rt, struct rt_stream *stream, rt_socket socket,
                   const struct rt_stream_events *events) {
    rt_stream_init(rt, stream, socket, 0, events);
    return rt->ops->stream_open(rt, stream);
}

int rt_stream_connect(struct rt *rt, struct rt_stream *stream, const char *address, uint16_t port,
                      const struct rt_connect_options *options,
                      const struct rt_stream_events *events) {
    check(events->connected != NULL);
    rt_stream_init(rt, stream, -1, RT_STREAM_CONNECTING | RT_STREAM_SENDING, events);
    return rt->ops->stream_connect(rt, stream, address, port, options);
}

void rt_stream_tell_connected(struct rt_stream *stream, int result) {
    struct rt_stats *stats = &stream->rt->stats;
    stream->flags &= ~(unsigned)(RT_STREAM_CONNECTING | RT_STREAM_SENDING);
    stats->connects += result == 0;
    stats->connect_errors += result < 0;
    if (stream->flags & RT_STREAM_CLOSING) {
        return;
    }
    if (result == 0) {
        stream->events->connected(stream);
    } else {
        rt_stream_tell_end(stream, result);
    }
}

/* One send of the kernel takes less than 2 GB, and cuts the rest off without a word. */
#define SEND_BYTES_MAX ((size_t)1 << 30)

static void stream_send(struct rt_stream *stream, const struct iovec *vectors, int count,
                        unsigned how) {
    check(count >= 1 && count <= RT_SEND_VECTORS);
    if (stream->flags & RT_STREAM_CLOSING) {
        return;
    }
    check((stream->flags & (RT_STREAM_OPEN | RT_STREAM_SENDING)) == RT_STREAM_OPEN);
    if (count > RT_FEW_VECTORS) {
        stream->vectors = must_malloc((size_t)count * sizeof(*vectors));
    }
    size_t bytes = 0;
    int taken = 0;
    while (taken < count && bytes < SEND_BYTES_MAX) {
        size_t room = SEND_BYTES_MAX - bytes;
        stream->vectors[taken] = vectors[taken];
        if (vectors[taken].iov_len > room) {
            stream->vectors[taken].iov_len = room;
        }
        bytes += stream->vectors[taken++].iov_len;
    }
    if (bytes == SEND_BYTES_MAX) {
        how = 0; /* some may be left, so the owner must hear of it */
    }
    stream->vectors_count = taken;
    stream->send_bytes = bytes;
    stream->flags =
        (stream->flags & ~(unsigned)(RT_STREAM_LAZY | RT_STREAM_WAITED)) | RT_STREAM_SENDING | how;
    stream->ops->send(stream->rt, stream);
}

void rt_stream_send(struct rt_stream *stream, const struct iovec *vectors, int count) {
    stream_send(stream, vectors, count, 0);
}

void rt_stream_send_lazy(struct rt_stream *stream, const struct iovec *vectors, int count) {
    stream_send(stream, vectors, count, RT_STREAM_LAZY);
}

bool rt_stream_sending(const struct rt_stream *stream) {
    return stream->flags & RT_STREAM_SENDING;
}

bool rt_stream_stuck(const struct rt_stream *stream) {
    const struct rt_stream *below =
        stream->ops->below != NULL ? stream->ops->below(stream) : stream;
    return rt_stream_sending(stream) && rt_stream_sending(below) && (below->flags & RT_STREAM_FULL);
}

bool rt_stream_waited(const struct rt_stream *stream) {
    return stream->flags & RT_STREAM_WAITED;
}

size_t rt_stream_taken(const struct rt_stream *stream) {
    return rt_stream_sending(stream) && !rt_stream_stuck(stream) ? stream->send_bytes : 0;
}

void rt_stream_pause(struct rt_stream *stream) {
    if (!(stream->flags & (RT_STREAM_PAUSED | RT_STREAM_CLOSING))) {
        stream->flags |= RT_STREAM_PAUSED;
        if (!(stream->flags & RT_STREAM_CONNECTING)) { /* else it receives nothing yet */
            stream->ops->pause(stream->rt, stream);
        }
    }
}

void rt_stream_resume(struct rt_stream *stream) {
    if ((stream->flags & (RT_STREAM_PAUSED | RT_STREAM_CLOSING)) == RT_STREAM_PAUSED) {
        stream->flags &= ~RT_STREAM_PAUSED;
        stream->ops->resume(stream->rt, stream);
    }
}

void rt_stream_look_again(struct rt_stream *stream) {
    if (stream->ops->look_again != NULL && !(stream->flags & RT_STREAM_CLOSING)) {
        stream->ops->look_again(stream->rt, stream);
    }
}

void rt_stream_close(struct rt_stream *stream) {
    check(stream->flags & RT_STREAM_OPEN);
    if (!(stream->flags & RT_STREAM_CLOSING)) {
        stream->flags |= RT_STREAM_CLOSING;
        stream->ops->close(stream->rt, stream);
    }
}

void rt_stream_hold_to_exit(struct rt_stream *stream) {
    if (!(stream->flags & (RT_STREAM_CLOSING | RT_STREAM_ENDED))) {
        stream->rt->ops->socket_hold(stream->rt, stream->socket);
    }
}

void rt_stream_tell_end(struct rt_stream *stream, int error) {
    unsigned told = error ? RT_STREAM_BROKEN : RT_STREAM_ENDED;
    if (stream->flags & (RT_STREAM_CLOSING | RT_STREAM_BROKEN | told)) {
        return;
    }
    stream->flags |= RT_STREAM_ENDED | told;
    stream->events->ended(stream, error);
}

void rt_stream_free_vectors(struct rt_stream *stream) {
    if (stream->vectors != stream->few) {
        free(stream->vectors);
        stream->vectors = stream->few;
    }
}

void rt_stream_tell_sent(struct rt_stream *stream, ssize_t result) {
    struct rt_stats *stats = &stream->rt->stats;
    stats->sends++;
    rt_stream_free_vectors(stream);
    stream->flags &= ~RT_STREAM_SENDING;
    if (result >= 0) {
        stats->sent_bytes += (uint64_t)result;
        stats->short_sends += (size_t)result < stream->send_bytes;
    }
    if (stream->flags & RT_STREAM_CLOSING) {
        return;
    }
    if (result >= 0) {
        stream->events->sent(stream, (size_t)result);
    } else {
        rt_stream_tell_end(stream, (int)result);
    }
}

/* ---- Sockets that are no streams ---- */

void rt_socket_delays(struct rt *rt, rt_socket socket, bool on) {
    rt->ops->delays(rt, socket, on);
}

void rt_socket_keep_alive(struct rt *rt, rt_socket socket, int seconds) {
    rt->ops->keep_alive(rt, socket, seconds);
}

void rt_socket_addresses(struct rt *rt, rt_socket socket, char peer[RT_ADDRESS_BYTES],
                         char local[RT_ADDRESS_BYTES]) {
    rt->ops->addresses(rt, socket, peer, local);
}

void rt_socket_close(struct rt *rt, rt_socket socket) {
    rt->ops->socket_close(rt, socket);
}

void rt_socket_refuse(struct rt *rt, rt_socket socket, struct bytes text) {
    rt->ops->refuse(rt, socket, text);
}
