/* SPDX-License-Identifier: BSD-3-Clause */
/* rt_sim: see the header. How the network is made:
 *
 * A connection has two sides. What one side sends lies in the other's ring from the moment it is
 * accepted; `arrived` says how much of it may be read yet. So a ring is the sender's socket buffer,
 * the wire and the receiver's socket buffer in one, and its size is the back-pressure.
 *
 *     send -> ring [ arrived | on its way ] -> segment events -> readable -> receive -> room event
 *
 * An end travels behind the data; a reset overtakes it and cuts off what was on its way. Closing a
 * side with unread data resets the other, as TCP does. A path that died (`dead`) delivers nothing;
 * the kernel notices when data stays unanswered and breaks the connection with ETIMEDOUT, much
 * later.
 *
 * Runtimes connect to each other, too: then both sides are sockets of the world, side 1 that of who
 * asked. It stays unconnected until the answer has come, in order with what follows it.
 *
 * A runtime keeps its sides with something to tell in `ready`. A turn takes that list, in an order
 * that the seed shuffles, and leaves some of it for the next one: so completions come in any order
 * and any grouping that a real ring or poller could show.
 *
 * Long, and one file all the same: sockets, wire and turn share one state (rings, events, seed),
 * which nobody else may touch.
 *
 * Invariants
 *  1. Events name a connection by slot and number, never by address: what is gone is not found.
 *  2. Nothing that decides depends on an address, real time or real chance.
 *  3. arrived <= stored <= cap of every ring; segments of a direction arrive in order.
 *  4. A socket's number is taken as long as its side is open; the lowest free one comes next, as in
 * a kernel, so that a number used too long is found.
 */
#include "net/rt_sim.h"

#include "net/rt_file.h"
#include "net/rt_private.h"

#include "base/check.h"
#include "base/must.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_NS         (1000ull * 1000 * 1000 * 1000)
#define WALL_START_MS    1750000000000ll
#define FIRST_NUMBER     64 /* of a socket: no small number is one by accident */
#define CLOCK_READ_NS    40 /* a look at the clock takes as long */
#define TIMEOUT_MIN_NS   (200ull * 1000 * 1000)
#define TIMEOUT_MAX_NS   (8ull * 1000 * 1000 * 1000)
#define NO_BUFFER_MAX_NS (5ull * 1000 * 1000)
#define WAKE_MAX_NS      (5ull * 1000 * 1000) /* the kernel delivers these itself */
#define SEGMENTS_MAX     5
#define BACKLOG_MAX      1024

enum event_kind {
    EVENT_CALL,    /* fn(arg, token) */
    EVENT_CONNECT, /* a connection reaches its listener */
    EVENT_ANSWER,  /* and the word of that a runtime that connects */
    EVENT_SEGMENT, /* n more bytes arrived at a side */
    EVENT_END,     /* the end of the data arrived */
    EVENT_BREAK,   /* the side's connection broke; n is the error */
    EVENT_ROOM,    /* the side has room to send again */
    EVENT_BUFFER,  /* a buffer came free for the side */
    EVENT_WAKE,    /* a wake-up reached a runtime: slot */
};

struct event {
    uint64_t at_ns;
    uint64_t number; /* equal times: first asked, first served */
    enum event_kind kind;
    uint32_t slot; /* of a connection or runtime */
    uint32_t side;
    uint64_t owner; /* the connection's or runtime's own number */
    uint64_t n;
    void (*fn)(void *arg, uint64_t token);
    void *arg;
};

struct connection;

struct side {
    struct connection *connection;
    unsigned index;
    rt_socket number; /* -1: none */
    struct rt_sim *rt, *accepted_by;
    struct rt_stream *stream; /* while it is open as one */
    char *ring;
    size_t cap, head, stored, arrived;
    uint64_t last_arrival_ns; /* of what is on its way to here */
    int error;                /* the connection broke: -errno, once it is known here */
    bool end_sent;            /* this side sends no more */
    bool end_arrived;         /* the other sends no more */
    bool cut;                 /* what is on its way is lost */
    bool timing_out;          /* the path is dead, and it will hear of it */
    bool closed;
    bool queued;  /* in rt->ready */
    bool blocked; /* a send waits for room */
    bool starved; /* a receive waits for a buffer */
    bool outcome; /* stream->send_result is to be told */
    void (*on_change)(void *arg);
    void *arg;
};

struct connection {
    struct sim *sim;
    uint32_t slot;
    uint64_t number;
    bool tcp;
    bool dead;
    uint16_t port;      /* the listener's */
    uint16_t peer_port; /* the peer's own */
    char *path;         /* a unix socket's, or NULL */
    struct side side[2];
};

/* Side 1 of its connection, in other words, if no runtime has it. */
struct sim_peer {
    struct side side;
};

struct sim_listener {
    rt_socket number;
    uint16_t port;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    bool any_four, any_six; /* families */
    struct rt_sim *rt;      /* NULL: bound, not yet listened to */
    uint64_t backlog[BACKLOG_MAX];
    unsigned waiting;
};

struct sim_host {
    char *name;
    char address[RT_HOST_BYTES];
};

struct side_list {
    struct side **items;
    unsigned count, capacity;
};

struct rt_sim {
    struct rt rt;
    struct sim *sim;
    uint32_t slot;
    uint64_t number;
    struct rt_buffer **free_buffers;
    unsigned free_count;
    struct side_list sends; /* asked for since the last submit */
    struct side_list ready;
    struct side_list lazy; /* outcomes that may wait */
    struct side_list turn; /* what the turn at hand works on */
    struct list closing, gone;
    struct sim_disk *disk;               /* or NULL: none was needed yet */
    struct list files_asked, files_done; /* to be started; to be told */
    struct rt_sim **wakes;               /* whom to wake at the next submit */
    unsigned wakes_count, wakes_capacity;
    bool wake_due; /* a wake-up is on its way, or was not taken yet */
    bool woken;    /* it has arrived */
    bool listeners_ended;
    unsigned host;
    void (*on_ready)(void *arg);
    void *on_ready_arg;
};

struct sim {
    struct sim_options options;
    struct rng rng;
    uint64_t now_ns;
    int64_t wall_offset_ns;
    struct event *events; /* a heap */
    unsigned events_count, events_capacity;
    uint64_t events_made;
    struct connection **connections;
    unsigned connections_count;
    uint64_t connections_made;
    struct side **sockets; /* by number - FIRST_NUMBER */
    unsigned sockets_count, sockets_open;
    struct sim_listener **listeners;
    unsigned listeners_count;
    struct rt_sim **rts;
    unsigned rts_count;
    uint64_t rts_made;
    struct sim_disk **disks;
    unsigned disks_count;
    uint16_t next_port;
    struct sim_host *hosts;
    unsigned hosts_count;
    uint32_t apart[SIM_HOSTS_MAX]; /* bits of hosts that it does not hear */
    uint64_t hash, noted;
};

static struct rt_sim *sim_of(struct rt *rt) {
    return (struct rt_sim *)rt;
}

static void *grown(void *items, unsigned *capacity, unsigned count, size_t size) {
    if (count < *capacity) {
        return items;
    }
    *capacity = *capacity ? *capacity * 2 : 32;
    items = must_realloc(items, *capacity * size);
    return items;
}

static void side_list_add(struct side_list *list, struct side *side) {
    list->items = grown(list->items, &list->capacity, list->count, sizeof(*list->items));
    list->items[list->count++] = side;
}

static void side_list_remove(struct side_list *list, const struct side *side) {
    for (unsigned i = 0; i < list->count; i++) {
        if (list->items[i] == side) {
            list->items[i] = NULL;
        }
    }
}

/* ---- The trace ---- */

static uint64_t mixed(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 29);
}

static void note_hash(struct sim *sim, const char *what, uint64_t a, uint64_t b, uint64_t c) {
    uint64_t hash = sim->hash;
    for (const char *p = what; *p; p++) {
        hash = hash * 31 + (unsigned char)*p;
    }
    hash = mixed(hash, sim->now_ns);
    hash = mixed(hash, a);
    hash = mixed(hash, b);
    sim->hash = mixed(hash, c);
    sim->noted++;
}

static void print_at(struct sim *sim, const char *line) {
    char text[512];
    uint64_t us = (sim->now_ns - START_NS) / 1000;
    snprintf(text, sizeof(text), "%4" PRIu64 ".%06" PRIu64 " %s", us / 1000000, us % 1000000, line);
    sim->options.print(sim->options.arg, text);
}

void sim_note(struct sim *sim, const char *what, uint64_t a, uint64_t b, uint64_t c) {
    note_hash(sim, what, a, b, c);
    if (UNLIKELY(sim->options.print != NULL)) {
        char text[128];
        snprintf(text, sizeof(text), "%-14s %" PRIu64 " %" PRIu64 " %" PRIu64, what, a, b, c);
        print_at(sim, text);
    }
}

static uint64_t bytes_mixed(struct bytes bytes) {
    uint64_t hash = bytes.len;
    size_t i = 0;
    for (; i + 8 <= bytes.len; i += 8) {
        uint64_t word;
        memcpy(&word, bytes.ptr + i, 8);
        hash = mixed(hash, word);
    }
    for (; i < bytes.len; i++) {
        hash = mixed(hash, (unsigned char)bytes.ptr[i]);
    }
    return hash;
}

void sim_note_bytes(struct sim *sim, const char *what, uint64_t a, struct bytes bytes) {
    note_hash(sim, what, a, bytes.len, bytes_mixed(bytes));
    if (UNLIKELY(sim->options.print != NULL)) {
        char text[400];
        int used = snprintf(text, sizeof(text), "%-14s %" PRIu64 " %zu \"", what, a, bytes.len);
        for (size_t i = 0; i < bytes.len && used < (int)sizeof(text) - 16; i++) {
            unsigned char c = (unsigned char)bytes.ptr[i];
            const char *form = c == '\r'           ? "\\r"
                               : c == '\n'         ? "\\n"
                               : c < 32 || c > 126 ? "."
                                                   : "%c";
            used += snprintf(text + used, sizeof(text) - (size_t)used, form, c);
        }
        snprintf(text + used, sizeof(text) - (size_t)used, "\"");
        print_at(sim, text);
    }
}

bool sim_prints(const struct sim *sim) {
    return sim->options.print != NULL;
}

void sim_tell(struct sim *sim, const char *format, ...) {
    if (LIKELY(sim->options.print == NULL)) {
        return;
    }
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    print_at(sim, text);
}

uint64_t sim_trace_hash(const struct sim *sim) {
    return sim->hash;
}

uint64_t sim_trace_events(const struct sim *sim) {
    return sim->noted;
}

/* ---- Time and chance ---- */

uint64_t sim_now_ns(const struct sim *sim) {
    return sim->now_ns;
}

void sim_advance(struct sim *sim, uint64_t until_ns) {
    if (until_ns > sim->now_ns) {
        sim->now_ns = until_ns;
    }
}

void sim_jump_wall(struct sim *sim, int64_t ms) {
    sim->wall_offset_ns += ms * 1000000;
    sim_note(sim, "wall-jump", (uint64_t)ms, 0, 0);
}

struct rng *sim_rng(struct sim *sim) {
    return &sim->rng;
}

bool sim_chance(struct sim *sim, unsigned chance) {
    return chance > 0 && rng_below(&sim->rng, 65536) < chance;
}

void sim_set_faults(struct sim *sim, const struct sim_faults *faults) {
    sim->options.faults = *faults;
}

/* Even over first .. last. */
static uint64_t between(struct sim *sim, uint64_t first, uint64_t last) {
    return first >= last ? first : first + rng_below(&sim->rng, last - first + 1);
}

static uint64_t latency(struct sim *sim) {
    const struct sim_faults *faults = &sim->options.faults;
    if (sim_chance(sim, faults->stall)) {
        return between(sim, faults->latency_max_ns, faults->stall_max_ns);
    }
    return between(sim, faults->latency_min_ns, faults->latency_max_ns);
}

/* ---- Events ---- */

static bool earlier(const struct event *a, const struct event *b) {
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->number < b->number;
}

static void event_push(struct sim *sim, uint64_t at_ns, struct event event) {
    event.at_ns = at_ns;
    event.number = sim->events_made++;
    sim->events = grown(sim->events, &sim->events_capacity, sim->events_count, sizeof(event));
    unsigned i = sim->events_count++;
    while (i > 0 && earlier(&event, &sim->events[(i - 1) / 2])) {
        sim->events[i] = sim->events[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    sim->events[i] = event;
}

static struct event event_pop(struct sim *sim) {
    struct event first = sim->events[0];
    struct event last = sim->events[--sim->events_count];
    unsigned i = 0;
    for (;;) {
        unsigned child = 2 * i + 1;
        if (child >= sim->events_count) {
            break;
        }
        if (child + 1 < sim->events_count &&
            earlier(&sim->events[child + 1], &sim->events[child])) {
            child++;
        }
        if (!earlier(&sim->events[child], &last)) {
            break;
        }
        sim->events[i] = sim->events[child];
        i = child;
    }
    sim->events[i] = last;
    return first;
}

uint64_t sim_next_ns(const struct sim *sim) {
    return sim->events_count > 0 ? sim->events[0].at_ns : UINT64_MAX;
}

void sim_after(struct sim *sim, uint64_t delay_ns, void (*fn)(void *arg, uint64_t token), void *arg,
               uint64_t token) {
    event_push(sim, sim->now_ns + delay_ns,
               (struct event){.kind = EVENT_CALL, .fn = fn, .arg = arg, .n = token});
}

static void side_event(struct side *side, uint64_t at_ns, enum event_kind kind, uint64_t n) {
    const struct connection *connection = side->connection;
    event_push(connection->sim, at_ns,
               (struct event){.kind = kind,
                              .slot = connection->slot,
                              .owner = connection->number,
                              .side = side->index,
                              .n = n});
}

/* ---- Connections ---- */

static struct side *other_side(const struct side *side) {
    return &side->connection->side[1 - side->index];
}

static void rt_ready_changed(struct rt_sim *r) {
    if (r->on_ready != NULL) {
        r->on_ready(r->on_ready_arg);
    }
}

static bool side_receives(const struct side *side) {
    return side->stream != NULL && !side->starved &&
           !(side->stream->flags &
             (RT_STREAM_PAUSED | RT_STREAM_ENDED | RT_STREAM_CLOSING | RT_STREAM_CONNECTING)) &&
           (side->arrived > 0 || side->end_arrived || side->error != 0);
}

/* Puts it among those with something to tell, if it has. */
static void side_ready(struct side *side) {
    struct rt_sim *r = side->rt;
    if (side->stream == NULL || side->queued || (!side->outcome && !side_receives(side))) {
        return;
    }
    side->queued = true;
    side_list_add(&r->ready, side);
    rt_ready_changed(r);
}

static void side_changed(struct side *side) {
    if (side->closed) {
        return;
    }
    if (side->on_change != NULL) {
        side->on_change(side->arg); /* may close it */
    } else {
        side_ready(side);
    }
}

static struct connection *connection_new(struct sim *sim, bool tcp) {
    struct connection *connection = must_calloc(1, sizeof(*connection));
    uint32_t slot = 0;
    while (slot < sim->connections_count && sim->connections[slot] != NULL) {
        slot++;
    }
    if (slot == sim->connections_count) {
        unsigned capacity = sim->connections_count;
        sim->connections =
            grown(sim->connections, &capacity, sim->connections_count, sizeof(*sim->connections));
        memset(sim->connections + sim->connections_count, 0,
               (capacity - sim->connections_count) * sizeof(*sim->connections));
        sim->connections_count = capacity;
    }
    sim->connections[slot] = connection;
    connection->sim = sim;
    connection->slot = slot;
    connection->number = ++sim->connections_made;
    connection->tcp = tcp;
    for (unsigned i = 0; i < 2; i++) {
        struct side *side = &connection->side[i];
        side->connection = connection;
        side->index = i;
        side->number = -1;
        side->cap = between(sim, sim->options.buffer_min_bytes, sim->options.buffer_max_bytes);
        side->ring = must_malloc(side->cap);
    }
    return connection;
}

static void connection_free(struct connection *connection) {
    connection->sim->connections[connection->slot] = NULL;
    free(connection->side[0].ring);
    free(connection->side[1].ring);
    free(connection->path);
    free(connection);
}

static struct connection *connection_find(const struct sim *sim, const struct event *event) {
    struct connection *connection =
        event->slot < sim->connections_count ? sim->connections[event->slot] : NULL;
    return connection != NULL && connection->number == event->owner ? connection : NULL;
}

static rt_socket number_take(struct sim *sim, struct side *side) {
    unsigned i = 0;
    while (i < sim->sockets_count && sim->sockets[i] != NULL) {
        i++;
    }
    if (i == sim->sockets_count) {
        unsigned capacity = sim->sockets_count;
        sim->sockets = grown(sim->sockets, &capacity, sim->sockets_count, sizeof(*sim->sockets));
        memset(sim->sockets + sim->sockets_count, 0,
               (capacity - sim->sockets_count) * sizeof(*sim->sockets));
        sim->sockets_count = capacity;
    }
    sim->sockets[i] = side;
    sim->sockets_open++;
    side->number = (rt_socket)i + FIRST_NUMBER;
    return side->number;
}

static struct side *side_of(struct sim *sim, rt_socket socket) {
    check(socket >= FIRST_NUMBER && (unsigned)(socket - FIRST_NUMBER) < sim->sockets_count);
    struct side *side = sim->sockets[socket - FIRST_NUMBER];
    check(side != NULL);
    return side;
}

/* The connection broke, and this side will hear of it. */
static void side_break(struct side *side, int error) {
    struct sim *sim = side->connection->sim;
    if (!side->closed && !side->connection->dead) {
        side_event(side, sim->now_ns + latency(sim), EVENT_BREAK, (uint64_t)error);
    }
}

/* A segment is on its way behind all that were sent before. */
static uint64_t arrival_ns(struct side *to) {
    struct sim *sim = to->connection->sim;
    uint64_t at = sim->now_ns + latency(sim);
    at = at > to->last_arrival_ns ? at : to->last_arrival_ns;
    to->last_arrival_ns = at;
    return at;
}

static void side_end(struct side *side) {
    struct side *to = other_side(side);
    if (side->end_sent || side->error != 0) {
        return;
    }
    side->end_sent = true;
    if (!to->closed && !side->connection->dead) {
        side_event(to, arrival_ns(to), EVENT_END, 0);
    }
}

/* `error`: what the other side hears instead of the end; 0: the end, if nothing is unread. */
static void side_close_telling(struct side *side, int error) {
    struct connection *connection = side->connection;
    struct sim *sim = connection->sim;
    struct side *other = other_side(side);
    check(!side->closed);
    sim_note(sim, error ? "reset" : "close", connection->number, side->index, side->arrived);
    if (error != 0 || (side->arrived > 0 && connection->tcp)) {
        side_break(other, error ? error : ECONNRESET);
    } else {
        side_end(side);
    }
    side->closed = true;
    if (side->number >= 0) {
        sim->sockets[side->number - FIRST_NUMBER] = NULL;
        sim->sockets_open--;
        side->number = -1;
    }
    if (side->rt != NULL) {
        side_list_remove(&side->rt->ready, side);
        side_list_remove(&side->rt->sends, side);
        side_list_remove(&side->rt->lazy, side);
        side_list_remove(&side->rt->turn, side);
    }
    side->stream = NULL;
    if (other->closed) {
        connection_free(connection);
    } else if (!connection->tcp) {
        side_event(other, sim->now_ns, EVENT_ROOM, 0);
    }
}

static void side_close(struct side *side, bool reset) {
    side_close_telling(side, reset ? ECONNRESET : 0);
}

/* Nobody answers any more: whoever has sent something learns of it in the end. */
static void time_out(struct side *side) {
    if (!side->timing_out) {
        struct sim *sim = side->connection->sim;
        side->timing_out = true;
        side_event(side, sim->now_ns + between(sim, TIMEOUT_MIN_NS, TIMEOUT_MAX_NS), EVENT_BREAK,
                   ETIMEDOUT);
    }
}

static void vanish(struct connection *connection) {
    connection->dead = true;
    sim_note(connection->sim, "vanish", connection->number, 0, 0);
    /* Keep-alive probes find it on the side of the server. */
    for (unsigned i = 0; i < 2; i++) {
        struct side *side = &connection->side[i];
        if (!side->closed && (i == 0 || side->rt != NULL)) {
            time_out(side);
        }
    }
}

static void ring_write(struct side *to, const char *data, size_t n) {
    size_t at = (to->head + to->stored) % to->cap;
    size_t first = n < to->cap - at ? n : to->cap - at;
    memcpy(to->ring + at, data, first);
    memcpy(to->ring, data + first, n - first);
    to->stored += n;
}

static void segments_leave(struct side *to, size_t n) {
    struct sim *sim = to->connection->sim;
    const struct sim_faults *faults = &sim->options.faults;
    unsigned pieces = n > 1 && to->connection->tcp && sim_chance(sim, faults->split)
                          ? (unsigned)between(sim, 2, SEGMENTS_MAX)
                          : 1;
    while (n > 0) {
        size_t piece = pieces-- > 1 ? (size_t)between(sim, 1, n) : n;
        if (sim_chance(sim, faults->vanish)) {
            vanish(to->connection);
        } else if (sim_chance(sim, faults->reset)) {
            sim_note(sim, "path-reset", to->connection->number, 0, 0);
            side_break(to, ECONNRESET);
            side_break(other_side(to), ECONNRESET);
        }
        if (to->connection->dead) {
            time_out(other_side(to));
            return;
        }
        side_event(to, arrival_ns(to), EVENT_SEGMENT, piece);
        n -= piece;
    }
}

/* Takes what there is room for: how much, 0 for none, or -errno. */
static ssize_t side_send(struct side *side, const struct iovec *vectors, int count) {
    struct sim *sim = side->connection->sim;
    struct side *to = other_side(side);
    if (side->error != 0) {
        return side->error;
    }
    if (side->end_sent) {
        return -EPIPE;
    }
    if (to->closed && !side->connection->tcp) {
        return -EPIPE;
    }
    size_t want = 0;
    for (int i = 0; i < count; i++) {
        want += vectors[i].iov_len;
    }
    size_t room = to->closed ? want : to->cap - to->stored;
    size_t n = want < room ? want : room;
    if (n > 1 && sim_chance(sim, sim->options.faults.short_send)) {
        n = (size_t)between(sim, 1, n - 1);
    }
    if (n == 0) {
        return 0;
    }
    if (to->closed) { /* it reaches nobody, and the answer to it is a reset */
        if (side->connection->dead) {
            time_out(side);
        } else {
            side_break(side, ECONNRESET);
        }
        return (ssize_t)n;
    }
    size_t left = n;
    for (int i = 0; left > 0; i++) {
        size_t part = vectors[i].iov_len < left ? vectors[i].iov_len : left;
        ring_write(to, vectors[i].iov_base, part);
        sim_note_bytes(sim, side->index == 0 ? "server-sends" : "client-sends",
                       side->connection->number, bytes_make(vectors[i].iov_base, part));
        left -= part;
    }
    segments_leave(to, n);
    return (ssize_t)n;
}

static size_t side_receive(struct side *side, char *ret, size_t n) {
    struct sim *sim = side->connection->sim;
    n = n < side->arrived ? n : side->arrived;
    if (n > 1 && sim_chance(sim, sim->options.faults.short_receive)) {
        n = (size_t)between(sim, 1, n - 1);
    }
    size_t first = n < side->cap - side->head ? n : side->cap - side->head;
    memcpy(ret, side->ring + side->head, first);
    memcpy(ret + first, side->ring, n - first);
    bool was_full = side->stored > side->cap / 2;
    side->head = (side->head + n) % side->cap;
    side->stored -= n;
    side->arrived -= n;
    struct side *from = other_side(side);
    if (was_full && !from->closed && !side->connection->dead) {
        side_event(from, sim->now_ns + latency(sim), EVENT_ROOM, 0);
    }
    return n;
}

/* ---- Sending on streams ---- */

static void stream_try_send(struct side *side) {
    struct rt_stream *stream = side->stream;
    ssize_t n = side_send(side, stream->vectors, stream->vectors_count);
    if (n == 0 && stream->send_bytes > 0) {
        side->blocked = true;
        stream->flags |= RT_STREAM_FULL | RT_STREAM_WAITED;
        return;
    }
    side->blocked = false;
    stream->flags &= ~(unsigned)RT_STREAM_FULL;
    stream->send_result = n;
    if ((stream->flags & RT_STREAM_LAZY) && n == (ssize_t)stream->send_bytes) {
        side_list_add(&side->rt->lazy, side);
        return;
    }
    side->outcome = true;
    side_ready(side);
}

static void stream_told_sent(struct side *side) {
    struct rt_stream *stream = side->stream;
    side->outcome = false;
    if (stream->flags & RT_STREAM_CONNECTING) {
        rt_stream_tell_connected(stream, (int)stream->send_result);
    } else {
        rt_stream_tell_sent(stream, stream->send_result);
    }
}

static bool side_connects(const struct side *side) {
    return side->stream != NULL && (side->stream->flags & RT_STREAM_CONNECTING) && !side->outcome;
}

/* How a connect went: 0 or -errno. */
static void stream_connect_over(struct side *side, int result) {
    if (side_connects(side)) {
        side->stream->send_result = result;
        side->outcome = true;
    }
}

/* ---- What events do ---- */

static void on_connect(struct sim *sim, struct connection *connection);

static void on_side_event(struct sim *sim, const struct event *event) {
    struct connection *connection = connection_find(sim, event);
    if (connection == NULL) {
        return;
    }
    struct side *side = &connection->side[event->side];
    switch (event->kind) {
    case EVENT_CONNECT:
        on_connect(sim, connection);
        return;
    case EVENT_ANSWER:
        if (connection->dead || side->cut) {
            return;
        }
        stream_connect_over(side, 0);
        break;
    case EVENT_SEGMENT:
        if (connection->dead || side->cut) {
            return;
        }
        if (side->closed) {
            side_break(other_side(side), ECONNRESET);
            return;
        }
        side->arrived += (size_t)event->n;
        check(side->arrived <= side->stored);
        sim_note(sim, "arrives", connection->number, side->index, event->n);
        break;
    case EVENT_END:
        if (connection->dead || side->cut) {
            return;
        }
        side->end_arrived = true;
        sim_note(sim, "end", connection->number, side->index, 0);
        break;
    case EVENT_BREAK:
        if (side->error != 0 || (connection->dead && event->n == ECONNRESET)) {
            return;
        }
        side->error = -(int)event->n;
        side->cut = true;
        side->stored = side->arrived; /* what was on its way is lost */
        sim_note(sim, "breaks", connection->number, side->index, event->n);
        if (side->blocked && side->stream != NULL) {
            stream_try_send(side);
        }
        stream_connect_over(side, side->error);
        break;
    case EVENT_ROOM:
        if (side->blocked && side->stream != NULL && !(side->stream->flags & RT_STREAM_CLOSING)) {
            stream_try_send(side);
        }
        break;
    case EVENT_BUFFER:
        side->starved = false;
        break;
    default:
        check(false);
    }
    side_changed(side);
}

static void on_wake(struct sim *sim, const struct event *event) {
    struct rt_sim *r = event->slot < sim->rts_count ? sim->rts[event->slot] : NULL;
    if (r != NULL && r->number == event->owner) {
        r->woken = true;
        sim_note(sim, "wakes", r->number, 0, 0);
        rt_ready_changed(r);
    }
}

bool sim_step(struct sim *sim, uint64_t until_ns) {
    if (sim->events_count == 0 || sim->events[0].at_ns > until_ns) {
        sim_advance(sim, until_ns);
        return false;
    }
    struct event event = event_pop(sim);
    sim_advance(sim, event.at_ns);
    switch (event.kind) {
    case EVENT_CALL:
        event.fn(event.arg, event.n);
        break;
    case EVENT_WAKE:
        on_wake(sim, &event);
        break;
    default:
        on_side_event(sim, &event);
    }
    return true;
}

/* ---- Listening ---- */

static struct sim_listener *listener_of(struct sim *sim, rt_socket socket) {
    for (unsigned i = 0; i < sim->listeners_count; i++) {
        if (sim->listeners[i]->number == socket) {
            return sim->listeners[i];
        }
    }
    return NULL;
}

static struct sim_listener *listener_at(struct sim *sim, uint16_t port, const char *path) {
    for (unsigned i = 0; i < sim->listeners_count; i++) {
        struct sim_listener *listener = sim->listeners[i];
        if (path != NULL ? strcmp(listener->path, path) == 0
                         : listener->port == port && listener->path[0] == 0) {
            return listener;
        }
    }
    return NULL;
}

static struct sim_listener *listener_new(struct sim *sim) {
    struct sim_listener *listener = must_calloc(1, sizeof(*listener));
    /* Listening sockets have numbers too, far above the others. */
    static const rt_socket first = 1 << 20;
    listener->number = first;
    while (listener_of(sim, listener->number) != NULL) {
        listener->number++;
    }
    unsigned capacity = sim->listeners_count;
    sim->listeners = must_realloc(sim->listeners, (capacity + 1) * sizeof(*sim->listeners));
    sim->listeners[sim->listeners_count++] = listener;
    return listener;
}

static struct connection *connection_numbered(const struct sim *sim, uint64_t number) {
    for (unsigned i = 0; i < sim->connections_count; i++) {
        if (sim->connections[i] != NULL && sim->connections[i]->number == number) {
            return sim->connections[i];
        }
    }
    return NULL;
}

static void listener_close(struct sim *sim, struct sim_listener *listener) {
    for (unsigned i = 0; i < listener->waiting; i++) {
        struct connection *connection = connection_numbered(sim, listener->backlog[i]);
        if (connection != NULL && !connection->side[0].closed) {
            side_close(&connection->side[0], true);
        }
    }
    for (unsigned i = 0; i < sim->listeners_count; i++) {
        if (sim->listeners[i] == listener) {
            sim->listeners[i] = sim->listeners[--sim->listeners_count];
            break;
        }
    }
    free(listener);
}

static bool address_known(const char *address) {
    static const char *const known[] = {"*", "::*", "127.0.0.1", "::1", "localhost", "0.0.0.0"};
    for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(address, known[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool address_numeric(const char *address) {
    unsigned char ip[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, address, ip) == 1 || inet_pton(AF_INET6, address, ip) == 1;
}

static uint16_t port_of_peer(const struct connection *connection) {
    return (uint16_t)(1024 + connection->number % 60000);
}

static int op_bind_tcp(struct rt *rt, const char *address, uint16_t port,
                       const struct rt_listen_options *options, rt_socket *ret_socket) {
    struct sim *sim = sim_of(rt)->sim;
    (void)options;
    if (!address_known(address)) {
        return -EADDRNOTAVAIL;
    }
    bool six = address[0] == ':';
    for (bool any = port == 0; any && (port == 0 || listener_at(sim, port, NULL) != NULL);) {
        port = ++sim->next_port;
    }
    for (unsigned i = 0; i < sim->listeners_count; i++) {
        const struct sim_listener *taken = sim->listeners[i];
        if (taken->port == port && (six ? taken->any_six : taken->any_four)) {
            return -EADDRINUSE;
        }
    }
    struct sim_listener *listener = listener_new(sim);
    listener->port = port;
    listener->any_six = six;
    listener->any_four = !six;
    *ret_socket = listener->number;
    return 0;
}

static int op_bind_unix(struct rt *rt, const char *path, const struct rt_listen_options *options,
                        rt_socket *ret_socket) {
    struct sim *sim = sim_of(rt)->sim;
    if (strlen(path) >= sizeof(((struct sim_listener *)0)->path)) {
        return -ENAMETOOLONG;
    }
    if (options->unix_group && options->unix_group[0]) {
        return -ENOENT; /* there are no groups in this world */
    }
    if (listener_at(sim, 0, path) != NULL) {
        return -EADDRINUSE;
    }
    struct sim_listener *listener = listener_new(sim);
    strcpy(listener->path, path);
    *ret_socket = listener->number;
    return 0;
}

static void op_unlink_unix(struct rt *rt, const char *path) {
    (void)rt;
    (void)path; /* a path lives as long as its listener */
}

static int op_listen(struct rt *rt, struct rt_listener *listener) {
    struct sim_listener *bound = listener_of(sim_of(rt)->sim, listener->socket);
    check(bound != NULL);
    bound->rt = sim_of(rt);
    listener->armed = true;
    return 0;
}

/* Its memory goes when the next turn begins: this one may be in the middle of its connections. */
static void op_unlisten(struct rt *rt, struct rt_listener *listener) {
    struct rt_sim *r = sim_of(rt);
    listener_close(r->sim, listener_of(r->sim, listener->socket));
    listener->socket = -1;
    r->listeners_ended = true;
}

static void free_listeners(struct rt_sim *r) {
    r->listeners_ended = false;
    LIST_EACH_SAFE(&r->rt.listeners, node) {
        struct rt_listener *listener = LIST_ENTRY(node, struct rt_listener, link);
        if (listener->ended) {
            rt_listener_disarmed(&r->rt, listener);
        }
    }
}

/* What asks to connect is dropped: it is asked again and again, and then given up. */
static void go_unanswered(struct connection *connection) {
    struct side *asks = &connection->side[1];
    sim_note(connection->sim, "unanswered", connection->number, connection->port, 0);
    connection->dead = true;
    if (!asks->closed) {
        time_out(asks);
    }
    side_close(&connection->side[0], false);
}

static bool are_apart(const struct sim *sim, unsigned host, unsigned other) {
    return sim->apart[host] >> other & 1;
}

static void on_connect(struct sim *sim, struct connection *connection) {
    struct sim_listener *listener = listener_at(sim, connection->port, connection->path);
    struct side *side = &connection->side[0], *other = &connection->side[1];
    if (side->closed) {
        return;
    }
    bool apart = other->rt != NULL && listener != NULL && listener->rt != NULL &&
                 are_apart(sim, other->rt->host, listener->rt->host);
    if (apart || (other->rt != NULL && listener != NULL && listener->waiting == BACKLOG_MAX)) {
        go_unanswered(connection);
        return;
    }
    bool closed = listener == NULL || (other->rt != NULL && listener->rt == NULL);
    if (closed || listener->waiting == BACKLOG_MAX) {
        side_close_telling(side, other->rt != NULL ? ECONNREFUSED : ECONNRESET);
        return;
    }
    if (other->rt != NULL && !other->closed) {
        side_event(other, arrival_ns(other), EVENT_ANSWER, 0);
    }
    listener->backlog[listener->waiting++] = connection->number;
    sim_note(sim, "connects", connection->number, connection->port, 0);
    if (listener->rt != NULL) {
        rt_ready_changed(listener->rt);
    }
}

static void accept_one(struct rt_sim *r, struct rt_listener *listener, struct sim_listener *bound) {
    struct sim *sim = r->sim;
    struct connection *connection = connection_numbered(sim, bound->backlog[0]);
    bool fails = sim_chance(sim, sim->options.faults.accept_error);
    if (fails && (connection == NULL || rng_below(&sim->rng, 2) == 0)) {
        sim_note(sim, "accept-fails", EMFILE, 0, 0);
        rt_listener_failed(&r->rt, listener, -EMFILE);
        return;
    }
    bound->waiting--;
    memmove(bound->backlog, bound->backlog + 1, bound->waiting * sizeof(bound->backlog[0]));
    if (connection == NULL || connection->side[0].closed) {
        rt_listener_failed(&r->rt, listener, -ECONNABORTED);
        return;
    }
    struct side *side = &connection->side[0];
    if (fails) {
        sim_note(sim, "accept-fails", ECONNABORTED, connection->number, 0);
        side_close(side, true);
        rt_listener_failed(&r->rt, listener, -ECONNABORTED);
        return;
    }
    sim_note(sim, "accepts", connection->number, 0, 0);
    side->accepted_by = r;
    rt_listener_accepted(&r->rt, listener, number_take(sim, side), false);
}

static bool listener_waits(const struct rt_sim *r, const struct rt_listener *listener) {
    if (listener->ended || listener->retry_at_ns != 0) {
        return false;
    }
    const struct sim_listener *bound = listener_of(r->sim, listener->socket);
    return bound != NULL && bound->waiting > 0;
}

static void accept_all(struct rt_sim *r) {
    while (rt_listener_due(&r->rt) != NULL) {
    }
    LIST_EACH(&r->rt.listeners, node) {
        struct rt_listener *listener = LIST_ENTRY(node, struct rt_listener, link);
        while (listener_waits(r, listener)) {
            accept_one(r, listener, listener_of(r->sim, listener->socket));
        }
    }
}

/* ---- The runtime's table ---- */

static uint64_t op_mono_ns(struct rt *rt) {
    struct sim *sim = sim_of(rt)->sim;
    sim->now_ns += CLOCK_READ_NS;
    return sim->now_ns;
}

static uint64_t op_wall_us(struct rt *rt) {
    const struct sim *sim = sim_of(rt)->sim;
    int64_t passed = (int64_t)(sim->now_ns - START_NS) + sim->wall_offset_ns;
    return (uint64_t)(WALL_START_MS * 1000 + passed / 1000);
}

static void op_random(struct rt *rt, void *ret, size_t n) {
    struct sim *sim = sim_of(rt)->sim;
    unsigned char *p = ret;
    for (size_t i = 0; i < n; i++) {
        p[i] = (unsigned char)(rng_next(&sim->rng) >> 32);
    }
}

static void op_block(struct rt *rt, uint64_t ns) {
    sim_of(rt)->sim->now_ns += ns;
}

static int64_t op_file_limit(struct rt *rt, int64_t wanted) {
    (void)rt;
    return wanted;
}

static void op_buffer_recycle(struct rt *rt, struct rt_buffer *buffer) {
    struct rt_sim *r = sim_of(rt);
    r->free_buffers[r->free_count++] = buffer;
}

static bool op_pool_rests(struct rt *rt) {
    return sim_of(rt)->free_count == rt->pool.count;
}

static void wake_leaves(struct rt_sim *target) {
    struct sim *sim = target->sim;
    uint64_t delay_ns = latency(sim);
    delay_ns = delay_ns < WAKE_MAX_NS ? delay_ns : WAKE_MAX_NS;
    event_push(sim, sim->now_ns + delay_ns,
               (struct event){.kind = EVENT_WAKE, .slot = target->slot, .owner = target->number});
}

static void op_wake(struct rt *from, struct rt *target) {
    struct rt_sim *r = from ? sim_of(from) : NULL;
    if (!rt_wake_announce(target)) {
        return;
    }
    sim_of(target)->wake_due = true;
    if (r == NULL || r == sim_of(target) || !r->sim->options.wake_with_submit) {
        wake_leaves(sim_of(target));
        return;
    }
    r->wakes = grown(r->wakes, &r->wakes_capacity, r->wakes_count, sizeof(*r->wakes));
    r->wakes[r->wakes_count++] = sim_of(target);
}

/* It leaves with the next submit, as a send does. */
static int op_stream_connect(struct rt *rt, struct rt_stream *stream, const char *address,
                             uint16_t port, const struct rt_connect_options *options) {
    struct rt_sim *r = sim_of(rt);
    (void)options; /* all are on one machine */
    if (!address_numeric(address)) {
        return -EINVAL;
    }
    struct connection *connection = connection_new(r->sim, true);
    struct side *side = &connection->side[1];
    connection->port = port;
    connection->peer_port = port_of_peer(connection);
    connection->dead = !address_known(address);
    stream->socket = number_take(r->sim, side);
    side->rt = r;
    side->stream = stream;
    side_list_add(&r->sends, side);
    return 0;
}

static void stream_try_connect(struct side *side) {
    struct connection *connection = side->connection;
    struct sim *sim = connection->sim;
    sim_note(sim, "connects-to", connection->number, connection->port, 0);
    if (connection->dead || sim_chance(sim, sim->options.faults.vanish)) {
        go_unanswered(connection);
    } else {
        side_event(&connection->side[0], sim->now_ns + latency(sim), EVENT_CONNECT, 0);
    }
}

static int op_resolve(struct rt *rt, const char *name, struct rt_addresses *ret) {
    const struct sim *sim = sim_of(rt)->sim;
    const char *address = strcmp(name, "localhost") == 0 ? "127.0.0.1" : NULL;
    for (unsigned i = 0; i < sim->hosts_count && address == NULL; i++) {
        if (strcmp(sim->hosts[i].name, name) == 0) {
            address = sim->hosts[i].address;
        }
    }
    if (address == NULL) {
        return -ENOENT;
    }
    ret->count = 1;
    strcpy(ret->text[0], address);
    return 0;
}

static int op_stream_open(struct rt *rt, struct rt_stream *stream) {
    struct rt_sim *r = sim_of(rt);
    struct side *side = side_of(r->sim, stream->socket);
    side->rt = r;
    side->stream = stream;
    side_ready(side);
    return 0;
}

static void op_stream_send(struct rt *rt, struct rt_stream *stream) {
    struct rt_sim *r = sim_of(rt);
    side_list_add(&r->sends, side_of(r->sim, stream->socket));
}

static void op_stream_pause(struct rt *rt, struct rt_stream *stream) {
    (void)rt;
    (void)stream; /* side_receives looks at the flag */
}

static void op_stream_resume(struct rt *rt, struct rt_stream *stream) {
    side_ready(side_of(sim_of(rt)->sim, stream->socket));
}

static void op_stream_close(struct rt *rt, struct rt_stream *stream) {
    list_push_back(&sim_of(rt)->closing, &stream->link);
}

static void op_delays(struct rt *rt, rt_socket socket, bool on) {
    side_of(sim_of(rt)->sim, socket);
}

static void op_keep_alive(struct rt *rt, rt_socket socket, int seconds) {
    (void)seconds; /* a dead path is always found here: time_out */
    side_of(sim_of(rt)->sim, socket);
}

static void op_addresses(struct rt *rt, rt_socket socket, char peer[RT_ADDRESS_BYTES],
                         char local[RT_ADDRESS_BYTES]) {
    const struct connection *connection = side_of(sim_of(rt)->sim, socket)->connection;
    if (connection->path != NULL) {
        snprintf(local, RT_ADDRESS_BYTES, "%s:0", connection->path);
        strcpy(peer, local);
        return;
    }
    bool asked = side_of(sim_of(rt)->sim, socket)->index == 1;
    snprintf(asked ? peer : local, RT_ADDRESS_BYTES, "127.0.0.1:%u", connection->port);
    snprintf(asked ? local : peer, RT_ADDRESS_BYTES, "127.0.0.1:%u", connection->peer_port);
}

static bool op_peer_is_local(struct rt *rt, rt_socket socket) {
    side_of(sim_of(rt)->sim, socket);
    return true;
}

static uint16_t op_port(struct rt *rt, rt_socket socket) {
    const struct sim_listener *listener = listener_of(sim_of(rt)->sim, socket);
    return listener != NULL ? listener->port : 0;
}

/* A simulated process has no end of its own. */
static void op_socket_hold(struct rt *rt, rt_socket socket) {
    (void)rt;
    (void)socket;
}

static void op_socket_close(struct rt *rt, rt_socket socket) {
    struct sim *sim = sim_of(rt)->sim;
    struct sim_listener *listener = listener_of(sim, socket);
    if (listener != NULL) {
        listener_close(sim, listener);
    } else {
        side_close(side_of(sim, socket), false);
    }
}

static void op_refuse(struct rt *rt, rt_socket socket, struct bytes text) {
    struct side *side = side_of(sim_of(rt)->sim, socket);
    struct iovec vector = {(void *)text.ptr, text.len};
    side_send(side, &vector, 1);
    side->stored -= side->arrived; /* read and thrown away */
    side->head = (side->head + side->arrived) % side->cap;
    side->arrived = 0;
    side_close(side, false);
}

/* ---- Files ---- */

static void disk_after(void *arg, uint64_t delay_ns, void (*fn)(void *disk, uint64_t token),
                       struct sim_disk *disk, uint64_t token) {
    sim_after(arg, delay_ns, fn, disk, token);
}

static void disk_note(void *arg, const char *what, uint64_t a, uint64_t b, uint64_t c) {
    sim_note(arg, what, a, b, c);
}

struct sim_disk *sim_new_disk(struct sim *sim, const struct sim_disk_options *options) {
    struct sim_disk_world world = {&sim->rng, sim, disk_after, disk_note};
    sim->disks = must_realloc(sim->disks, (sim->disks_count + 1) * sizeof(struct sim_disk *));
    return sim->disks[sim->disks_count++] = sim_disk_new(&world, options);
}

void sim_rt_use_disk(struct rt *rt, struct sim_disk *disk) {
    sim_of(rt)->disk = disk;
}

static struct sim_disk *disk_of(struct rt_sim *r) {
    struct sim *sim = r->sim;
    if (r->disk == NULL && sim->disks_count == 0) {
        struct sim_disk_options options = {
            .sector_bytes = 4096,
            .latency_min_ns = sim->options.faults.latency_min_ns,
            .latency_max_ns = sim->options.faults.latency_max_ns,
            .sync_min_ns = sim->options.faults.latency_max_ns,
            .sync_max_ns = 4 * sim->options.faults.latency_max_ns,
        };
        sim_new_disk(sim, &options);
    }
    if (r->disk == NULL) {
        r->disk = sim->disks[0];
    }
    return r->disk;
}

static void op_file(struct rt *rt, struct rt_file_op *op) {
    list_push_back(&sim_of(rt)->files_asked, &op->link);
}

static void file_done(void *arg, struct rt_file_op *op) {
    struct rt_sim *r = arg;
    list_push_back(&r->files_done, &op->link);
    rt_ready_changed(r);
}

static void start_files(struct rt_sim *r) {
    for (struct list_node *node; (node = list_pop_front(&r->files_asked)) != NULL;) {
        sim_disk_start(disk_of(r), LIST_ENTRY(node, struct rt_file_op, link), file_done, r);
    }
}

static void report_files(struct rt_sim *r) {
    struct list now;
    list_init(&now);
    list_splice_back(&now, &r->files_done);
    for (struct list_node *node; (node = list_pop_front(&now)) != NULL;) {
        struct rt_file_op *op = LIST_ENTRY(node, struct rt_file_op, link);
        if (sim_chance(r->sim, r->sim->options.faults.defer)) {
            file_done(r, op);
        } else {
            op->done(op, op->result);
        }
    }
}

/* What is under way is done, and what was not begun is not: but for files that were to be closed.
 */
static void end_files(struct rt_sim *r) {
    for (struct list_node *node; (node = list_pop_front(&r->files_asked)) != NULL;) {
        struct rt_file_op *op = LIST_ENTRY(node, struct rt_file_op, link);
        if (op->kind == RT_FILE_CLOSE) {
            sim_disk_start(disk_of(r), op, NULL, r);
        }
    }
    if (r->disk != NULL) {
        sim_disk_finish(r->disk, r);
    }
    for (struct list_node *node; (node = list_pop_front(&r->files_done)) != NULL;) {
        sim_disk_drop(r->disk, LIST_ENTRY(node, struct rt_file_op, link));
    }
}

/* ---- The turn ---- */

static void do_closes(struct rt_sim *r) {
    for (struct list_node *node; (node = list_pop_front(&r->closing)) != NULL;) {
        struct rt_stream *stream = LIST_ENTRY(node, struct rt_stream, link);
        side_close(side_of(r->sim, stream->socket), false);
        stream->socket = -1;
        rt_stream_free_vectors(stream);
        list_push_back(&r->gone, node);
    }
}

static void submit(struct rt_sim *r) {
    do_closes(r);
    for (unsigned i = 0; i < r->sends.count; i++) {
        struct side *side = r->sends.items[i];
        if (side != NULL && (side->stream->flags & RT_STREAM_CONNECTING)) {
            stream_try_connect(side);
        } else if (side != NULL) {
            stream_try_send(side);
        }
    }
    r->sends.count = 0;
    start_files(r);
    for (unsigned i = 0; i < r->wakes_count; i++) {
        wake_leaves(r->wakes[i]);
    }
    r->wakes_count = 0;
}

static bool op_has_work(struct rt *rt) {
    const struct rt_sim *r = sim_of(rt);
    return r->sends.count > 0 || r->wakes_count > 0 || !list_empty(&r->closing) ||
           !list_empty(&r->gone) || !list_empty(&r->files_asked);
}

int64_t sim_rt_submit(struct rt *rt, int64_t wait_ns) {
    submit(sim_of(rt));
    return sim_rt_ready(rt) ? 0 : rt_wait_ns(rt, wait_ns);
}

bool sim_rt_ready(const struct rt *rt) {
    const struct rt_sim *r = (const struct rt_sim *)rt;
    if (r->woken || !list_empty(&r->gone) || !list_empty(&r->files_done)) {
        return true;
    }
    for (unsigned i = 0; i < r->ready.count; i++) {
        if (r->ready.items[i] != NULL) {
            return true;
        }
    }
    if (rt->retry_at_ns != 0 && rt->retry_at_ns <= r->sim->now_ns) {
        return true;
    }
    LIST_EACH(&rt->listeners, node) {
        if (listener_waits(r, LIST_ENTRY(node, struct rt_listener, link))) {
            return true;
        }
    }
    return false;
}

void sim_rt_on_ready(struct rt *rt, void (*fn)(void *arg), void *arg) {
    sim_of(rt)->on_ready = fn;
    sim_of(rt)->on_ready_arg = arg;
}

bool sim_rt_wake_due(const struct rt *rt) {
    return ((const struct rt_sim *)rt)->wake_due;
}

unsigned sim_rt_buffers_held(const struct rt *rt) {
    return rt->pool.held;
}

static void read_stream(struct rt_sim *r, struct side *side) {
    struct sim *sim = r->sim;
    if (side->arrived == 0) {
        rt_stream_tell_end(side->stream, side->error);
        return;
    }
    if (r->free_count == 0 || sim_chance(sim, sim->options.faults.no_buffer)) {
        r->rt.stats.buffers_exhausted++;
        side->starved = true;
        side_event(side, sim->now_ns + between(sim, 1, NO_BUFFER_MAX_NS), EVENT_BUFFER, 0);
        return;
    }
    struct rt_buffer *buffer = r->free_buffers[--r->free_count];
    rt_buffer_open(buffer);
    size_t n = side_receive(side, buffer->data, buffer->size);
    rt_buffer_shut(buffer);
    rt_deliver(side->stream, buffer, n);
}

/* One side's completions; which comes first is not said. */
static void report_side(struct rt_sim *r, unsigned at) {
    struct side *side = r->turn.items[at];
    bool sent_first = rng_below(&r->sim->rng, 2) == 0;
    for (int step = 0; step < 2 && r->turn.items[at] != NULL; step++) {
        if ((step == 0) == sent_first) {
            if (side->outcome) {
                stream_told_sent(side);
            }
        } else if (side_receives(side)) {
            read_stream(r, side);
        }
    }
    if (r->turn.items[at] != NULL) {
        side_ready(side);
    }
}

static void report_streams(struct rt_sim *r) {
    struct sim *sim = r->sim;
    struct side_list taken = r->ready;
    r->ready = r->turn;
    r->turn = taken;
    r->ready.count = 0;
    for (unsigned i = r->turn.count; i > 1; i--) {
        if (sim_chance(sim, sim->options.faults.shuffle)) {
            unsigned j = (unsigned)rng_below(&sim->rng, i);
            struct side *side = r->turn.items[j];
            r->turn.items[j] = r->turn.items[i - 1];
            r->turn.items[i - 1] = side;
        }
    }
    for (unsigned i = 0; i < r->turn.count; i++) {
        struct side *side = r->turn.items[i];
        if (side == NULL) {
            continue;
        }
        side->queued = false;
        if (side->stream->flags & RT_STREAM_CLOSING) {
            continue;
        }
        if (sim_chance(sim, sim->options.faults.defer)) {
            side_ready(side);
        } else {
            report_side(r, i);
        }
    }
    r->turn.count = 0;
}

static void report_lazy(struct rt_sim *r) {
    unsigned count = r->lazy.count;
    for (unsigned i = 0; i < count; i++) {
        if (r->lazy.items[i] != NULL) {
            stream_told_sent(r->lazy.items[i]);
        }
    }
    check(r->lazy.count == count); /* callbacks ask for sends; only a submit tries them */
    r->lazy.count = 0;
}

static bool op_turn(struct rt *rt, int64_t wait_ns) {
    struct rt_sim *r = sim_of(rt);
    struct sim *sim = r->sim;
    if (r->listeners_ended) {
        free_listeners(r);
    }
    submit(r);
    if (!sim->options.driven) {
        wait_ns = rt_wait_ns(rt, wait_ns);
        uint64_t until = wait_ns < 0 ? UINT64_MAX : sim->now_ns + (uint64_t)wait_ns;
        while (sim_next_ns(sim) <= sim->now_ns) {
            sim_step(sim, sim->now_ns);
        }
        while (!sim_rt_ready(rt) && sim->now_ns < until) {
            check(until != UINT64_MAX || sim->events_count > 0); /* would sleep for ever */
            sim_step(sim, until);
        }
    }
    rt_woke(rt);
    rt_refresh(rt);
    bool woken = r->woken;
    if (woken) {
        r->woken = r->wake_due = false;
        rt_wake_take(rt);
    }
    report_lazy(r);
    report_files(r);
    report_streams(r);
    accept_all(r);
    for (struct list_node *node; (node = list_pop_front(&r->gone)) != NULL;) {
        struct rt_stream *stream = LIST_ENTRY(node, struct rt_stream, link);
        stream->flags = 0;
        stream->events->gone(stream);
    }
    return woken;
}

/* ---- Making and ending ---- */

static void op_free(struct rt *rt) {
    struct rt_sim *r = sim_of(rt);
    do_closes(r);
    end_files(r);
    r->sim->rts[r->slot] = NULL;
    rt_common_fini(rt);
    free(r->free_buffers);
    free(r->sends.items);
    free(r->ready.items);
    free(r->lazy.items);
    free(r->turn.items);
    free(r->wakes);
    free(r);
}

/* What its listeners have taken and nobody has begun to use goes as well. */
void sim_rt_kill(struct rt *rt) {
    struct rt_sim *r = sim_of(rt);
    struct sim *sim = r->sim;
    for (unsigned i = 0; i < sim->connections_count; i++) {
        struct connection *connection = sim->connections[i];
        if (connection == NULL) {
            continue;
        }
        const struct sim_listener *listener = listener_at(sim, connection->port, connection->path);
        bool taken =
            connection->side[0].accepted_by == r || (listener != NULL && listener->rt == r);
        for (unsigned j = 0; j < 2 && sim->connections[i] == connection; j++) {
            struct side *side = &connection->side[j];
            if (!side->closed && (side->rt == r || (j == 0 && side->rt == NULL && taken))) {
                side_close(side, true);
            }
        }
    }
    list_init(&r->closing);
    rt_free(rt); /* and its listeners */
}

/* ---- Hosts ---- */

void sim_rt_set_host(struct rt *rt, unsigned host) {
    check(host < SIM_HOSTS_MAX);
    sim_of(rt)->host = host;
}

/* Who has accepted it, or will. */
static const struct rt_sim *server_of(struct sim *sim, const struct connection *connection) {
    const struct side *side = &connection->side[0];
    const struct sim_listener *listener = listener_at(sim, connection->port, connection->path);
    return side->rt != NULL            ? side->rt
           : side->accepted_by != NULL ? side->accepted_by
           : listener != NULL          ? listener->rt
                                       : NULL;
}

static bool is_between(struct sim *sim, const struct connection *connection, unsigned host,
                       unsigned other) {
    const struct rt_sim *asks = connection->side[1].rt, *server = server_of(sim, connection);
    return asks != NULL && server != NULL &&
           ((asks->host == host && server->host == other) ||
            (asks->host == other && server->host == host));
}

void sim_part(struct sim *sim, unsigned host, unsigned other, bool on) {
    check(host < SIM_HOSTS_MAX && other < SIM_HOSTS_MAX);
    uint32_t bit = UINT32_C(1) << other, back = UINT32_C(1) << host;
    sim->apart[host] = on ? sim->apart[host] | bit : sim->apart[host] & ~bit;
    sim->apart[other] = on ? sim->apart[other] | back : sim->apart[other] & ~back;
    sim_note(sim, on ? "parted" : "together", host, other, 0);
    for (unsigned i = 0; on && i < sim->connections_count; i++) {
        struct connection *connection = sim->connections[i];
        if (connection != NULL && !connection->dead && is_between(sim, connection, host, other)) {
            vanish(connection);
        }
    }
}

void sim_break(struct sim *sim, unsigned host, unsigned other) {
    for (unsigned i = 0; i < sim->connections_count; i++) {
        struct connection *connection = sim->connections[i];
        if (connection != NULL && is_between(sim, connection, host, other)) {
            sim_note(sim, "path-reset", connection->number, 0, 0);
            side_break(&connection->side[0], ECONNRESET);
            side_break(&connection->side[1], ECONNRESET);
        }
    }
}

static const struct rt_ops sim_ops = {
    .name = "sim",
    .free = op_free,
    .has_work = op_has_work,
    .turn = op_turn,
    .wake = op_wake,
    .wall_us = op_wall_us,
    .mono_ns = op_mono_ns,
    .random = op_random,
    .buffer_recycle = op_buffer_recycle,
    .pool_rests = op_pool_rests,
    .listen = op_listen,
    .unlisten = op_unlisten,
    .stream_open = op_stream_open,
    .stream_connect = op_stream_connect,
    .stream =
        {
            .send = op_stream_send,
            .pause = op_stream_pause,
            .resume = op_stream_resume,
            .close = op_stream_close,
        },
    .bind_tcp = op_bind_tcp,
    .bind_unix = op_bind_unix,
    .unlink_unix = op_unlink_unix,
    .delays = op_delays,
    .keep_alive = op_keep_alive,
    .addresses = op_addresses,
    .peer_is_local = op_peer_is_local,
    .port = op_port,
    .block = op_block,
    .file_limit = op_file_limit,
    .socket_close = op_socket_close,
    .socket_hold = op_socket_hold,
    .refuse = op_refuse,
    .file = op_file,
    .resolve = op_resolve,
};

int sim_rt_make(void *world, const struct rt_options *options, struct rt **ret_rt) {
    struct sim *sim = world;
    struct rt_sim *r = must_aligned(_Alignof(struct rt_sim), sizeof(*r));
    r->rt.ops = &sim_ops;
    r->sim = sim;
    list_init(&r->closing);
    list_init(&r->gone);
    list_init(&r->files_asked);
    list_init(&r->files_done);
    uint32_t slot = 0;
    while (slot < sim->rts_count && sim->rts[slot] != NULL) {
        slot++;
    }
    if (slot == sim->rts_count) {
        sim->rts = must_realloc(sim->rts, (sim->rts_count + 1) * sizeof(*sim->rts));
        sim->rts_count++;
    }
    sim->rts[slot] = r;
    r->slot = slot;
    r->number = ++sim->rts_made;
    check(rt_common_init(&r->rt, options, RT_NO_EVENTFD) == 0);
    r->free_buffers = must_calloc(options->recv_buffers, sizeof(struct rt_buffer *));
    for (unsigned i = options->recv_buffers; i-- > 0;) {
        r->free_buffers[r->free_count++] = &r->rt.pool.buffers[i];
    }
    *ret_rt = &r->rt;
    return 0;
}

struct sim *sim_new(const struct sim_options *options) {
    struct sim *sim = must_calloc(1, sizeof(*sim));
    check(options->buffer_min_bytes > 0 && options->buffer_min_bytes <= options->buffer_max_bytes);
    sim->options = *options;
    rng_seed(&sim->rng, options->seed);
    sim->now_ns = START_NS;
    sim->next_port = 32768;
    return sim;
}

void sim_free(struct sim *sim) {
    if (sim == NULL) {
        return;
    }
    for (unsigned i = 0; i < sim->rts_count; i++) {
        check(sim->rts[i] == NULL);
    }
    while (sim->listeners_count > 0) {
        listener_close(sim, sim->listeners[0]);
    }
    for (unsigned i = 0; i < sim->connections_count; i++) {
        if (sim->connections[i] != NULL) {
            connection_free(sim->connections[i]);
        }
    }
    for (unsigned i = 0; i < sim->disks_count; i++) {
        sim_disk_free(sim->disks[i]);
    }
    free(sim->disks);
    for (unsigned i = 0; i < sim->hosts_count; i++) {
        free(sim->hosts[i].name);
    }
    free(sim->hosts);
    free(sim->events);
    free(sim->connections);
    free(sim->sockets);
    free(sim->listeners);
    free(sim->rts);
    free(sim);
}

/* ---- Names ---- */

void sim_name(struct sim *sim, const char *name, const char *address) {
    check(strlen(address) < RT_HOST_BYTES);
    sim->hosts = must_realloc(sim->hosts, (sim->hosts_count + 1) * sizeof(*sim->hosts));
    struct sim_host *host = &sim->hosts[sim->hosts_count++];
    size_t bytes = strlen(name) + 1;
    host->name = memcpy(must_malloc(bytes), name, bytes);
    strcpy(host->address, address);
}

/* ---- Peers ---- */

static struct sim_peer *peer_of(struct side *side) {
    return (struct sim_peer *)side;
}

static int dial(struct sim *sim, uint16_t port, const char *path, struct sim_peer **ret_peer) {
    struct sim_listener *listener = listener_at(sim, port, path);
    if (listener == NULL || listener->rt == NULL) {
        return -ECONNREFUSED;
    }
    struct connection *connection = connection_new(sim, path == NULL);
    connection->port = port;
    if (path != NULL) {
        size_t bytes = strlen(path) + 1;
        connection->path = memcpy(must_malloc(bytes), path, bytes);
    }
    connection->peer_port = port_of_peer(connection);
    sim_note(sim, "dials", connection->number, port, 0);
    side_event(&connection->side[0], sim->now_ns + latency(sim), EVENT_CONNECT, 0);
    *ret_peer = peer_of(&connection->side[1]);
    return 0;
}

int sim_dial(struct sim *sim, uint16_t port, struct sim_peer **ret_peer) {
    return dial(sim, port, NULL, ret_peer);
}

int sim_dial_unix(struct sim *sim, const char *path, struct sim_peer **ret_peer) {
    return dial(sim, 0, path, ret_peer);
}

rt_socket sim_pair(struct sim *sim, bool tcp, struct sim_peer **ret_peer) {
    struct connection *connection = connection_new(sim, tcp);
    *ret_peer = peer_of(&connection->side[1]);
    return number_take(sim, &connection->side[0]);
}

void sim_peer_on_change(struct sim_peer *peer, void (*fn)(void *arg), void *arg) {
    peer->side.on_change = fn;
    peer->side.arg = arg;
}

ssize_t sim_peer_write(struct sim_peer *peer, const void *data, size_t n) {
    struct iovec vector = {(void *)data, n};
    return side_send(&peer->side, &vector, 1);
}

ssize_t sim_peer_read(struct sim_peer *peer, void *ret, size_t n) {
    struct side *side = &peer->side;
    if (side->arrived == 0) {
        return side->error;
    }
    return (ssize_t)side_receive(side, ret, n);
}

bool sim_peer_ended(const struct sim_peer *peer) {
    return peer->side.end_arrived && peer->side.arrived == 0;
}

bool sim_peer_broken(const struct sim_peer *peer) {
    return peer->side.error != 0 && peer->side.arrived == 0;
}

size_t sim_peer_readable(const struct sim_peer *peer) {
    return peer->side.arrived;
}

void sim_peer_shutdown(struct sim_peer *peer) {
    side_end(&peer->side);
}

void sim_peer_close(struct sim_peer *peer) {
    side_close(&peer->side, false);
}

void sim_peer_reset(struct sim_peer *peer) {
    side_close(&peer->side, true);
}

void sim_peer_vanish(struct sim_peer *peer) {
    if (!peer->side.connection->dead) {
        vanish(peer->side.connection);
    }
}

bool sim_peer_dead(const struct sim_peer *peer) {
    return peer->side.connection->dead;
}

uint16_t sim_peer_port(const struct sim_peer *peer) {
    return peer->side.connection->peer_port;
}

unsigned sim_connections(const struct sim *sim) {
    unsigned n = 0;
    for (unsigned i = 0; i < sim->connections_count; i++) {
        const struct connection *connection = sim->connections[i];
        n +=
            connection != NULL && (!connection->side[0].closed ||
                                   (connection->side[1].rt != NULL && !connection->side[1].closed));
    }
    return n;
}

unsigned sim_open_sockets(const struct sim *sim) {
    return sim->sockets_open;
}

unsigned sim_listening_sockets(const struct sim *sim) {
    return sim->listeners_count;
}
