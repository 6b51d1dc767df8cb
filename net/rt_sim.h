/* SPDX-License-Identifier: BSD-3-Clause */
/* rt_sim: a world that lives in memory: virtual time, a network, and runtimes (rt.h) that know
 * nothing else.
 *
 * Everything that happens is an event in one queue, ordered by virtual time, and every choice (how
 * long, how much, in which order, whether it breaks) is drawn from one seed. So a run repeats
 * exactly, and its trace can be compared by one number. A runtime of the world behaves as the real
 * ones do; the unit tests of the runtime run on it too.
 *
 * Two ways to use it. Alone: rt_turn lets time pass until something is there, as a kernel would.
 * Driven: somebody above decides whose turn it is, sim_rt_submit is where a thread goes to sleep,
 * and rt_turn only reports what has happened by then.
 *
 * The other ends of connections are peers: they belong to the test.
 *
 * Thread: one, for the world and all that is in it. Nothing here is shared.
 * Ownership: sim_new gives, sim_free takes; runtimes are freed before their world. A peer is its
 * caller's until sim_peer_close or sim_peer_reset.
 */
#ifndef SHOAL_NET_RT_SIM_H
#define SHOAL_NET_RT_SIM_H

#include "base/bytes.h"
#include "base/random.h"
#include "net/rt.h"
#include "net/sim_disk.h"

struct sim;
struct sim_peer;

/* What goes wrong how often: chances are out of 65536. All zero: a network that only takes time. */
struct sim_faults {
    uint64_t latency_min_ns, latency_max_ns; /* of a segment, a wake-up, a window update */
    unsigned stall;                          /* of these: held up much longer */
    uint64_t stall_max_ns;
    unsigned split;         /* a send travels in several segments */
    unsigned short_send;    /* a send takes less than there is room for */
    unsigned short_receive; /* a receive takes less than has arrived */
    unsigned reset;         /* a segment resets its connection instead */
    unsigned vanish;        /* the path dies without a word: a half-open connection */
    unsigned accept_error;  /* ECONNABORTED or EMFILE */
    unsigned no_buffer;     /* ENOBUFS: a stream must wait for one */
    unsigned defer;         /* a completion is left for a later turn */
    unsigned shuffle;       /* completions of a turn come in another order */
};

struct sim_options {
    uint64_t seed;
    bool driven;
    bool wake_with_submit; /* wake-ups leave when their sender goes to sleep, as on io_uring */
    size_t buffer_min_bytes, buffer_max_bytes; /* what a direction holds unread */
    struct sim_faults faults;
    /* Gets a line for each thing that happens, or NULL. */
    void (*print)(void *arg, const char *line);
    void *arg;
};

struct sim *sim_new(const struct sim_options *options);
void sim_free(struct sim *sim);
/* For rt_options.make: `world` is the struct sim. */
int sim_rt_make(void *world, const struct rt_options *options, struct rt **ret_rt);

/* ---- Time, chance, events ---- */

uint64_t sim_now_ns(const struct sim *sim);
/* The wall clock jumps, forwards or backwards; monotonic time goes on. */
void sim_jump_wall(struct sim *sim, int64_t ms);
struct rng *sim_rng(struct sim *sim);
/* True once in 65536 / chance. */
bool sim_chance(struct sim *sim, unsigned chance);
void sim_set_faults(struct sim *sim, const struct sim_faults *faults);
/* Calls fn in `delay_ns` from now. */
void sim_after(struct sim *sim, uint64_t delay_ns, void (*fn)(void *arg, uint64_t token), void *arg,
               uint64_t token);
/* Lets the next event happen, if it is due by `until_ns`; false: none is, and it is that late now.
 */
bool sim_step(struct sim *sim, uint64_t until_ns);
/* When the next event is due; UINT64_MAX: there is none. */
uint64_t sim_next_ns(const struct sim *sim);
void sim_advance(struct sim *sim, uint64_t until_ns); /* never backwards */

/* ---- The trace ---- */

/* Adds a line to the trace and to its hash. `what` is a word; the numbers mean what it says. */
void sim_note(struct sim *sim, const char *what, uint64_t a, uint64_t b, uint64_t c);
void sim_note_bytes(struct sim *sim, const char *what, uint64_t a, struct bytes bytes);
/* Only for people: a line that no hash knows of. */
void sim_tell(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool sim_prints(const struct sim *sim);
uint64_t sim_trace_hash(const struct sim *sim);
uint64_t sim_trace_events(const struct sim *sim);

/* ---- Runtimes ---- */

/* The thread goes to sleep: what it asked for is submitted. How long it may sleep, given that it
 * wants to for wait_ns. */
int64_t sim_rt_submit(struct rt *rt, int64_t wait_ns);
/* A turn would have something to report. */
bool sim_rt_ready(const struct rt *rt);
/* Calls fn whenever that may have become true. */
void sim_rt_on_ready(struct rt *rt, void (*fn)(void *arg), void *arg);
/* Somebody has woken it, and it has not taken notice yet. */
bool sim_rt_wake_due(const struct rt *rt);
/* Buffers of the runtime's pool that are not free. */
unsigned sim_rt_buffers_held(const struct rt *rt);

/* Its process ends by force: connections are reset, listeners are gone, nobody is told. It is
 * freed. What it had under way on a disk is ended by sim_disk_crash before. */
void sim_rt_kill(struct rt *rt);

/* ---- Hosts: runtimes between which the network may fail ---- */

#define SIM_HOSTS_MAX 16
/* Where it runs; 0 if nobody says. */
void sim_rt_set_host(struct rt *rt, unsigned host);
/* Between two hosts nothing arrives any more: what is connected dies without a word, and who
 * connects gets no answer. Or they are heard again. */
void sim_part(struct sim *sim, unsigned host, unsigned other, bool on);
/* Connections between two hosts are reset. */
void sim_break(struct sim *sim, unsigned host, unsigned other);

/* ---- Disks ---- */

/* The disk of a host: its world frees it. */
struct sim_disk *sim_new_disk(struct sim *sim, const struct sim_disk_options *options);
/* Whose files are on it from now on. A runtime that nobody gave one uses the world's first, which
 * is made when there is none. */
void sim_rt_use_disk(struct rt *rt, struct sim_disk *disk);

/* ---- Peers ---- */

/* The name of a host of this world, for rt_resolve: a numeric address. Beside these there is
 * "localhost". Known for connecting are the addresses of one host, those of the loopback; from all
 * others there is no answer. */
void sim_name(struct sim *sim, const char *name, const char *address);

/* Connects to who listens on a port: 0 or -ECONNREFUSED. */
int sim_dial(struct sim *sim, uint16_t port, struct sim_peer **ret_peer);
int sim_dial_unix(struct sim *sim, const char *path, struct sim_peer **ret_peer);
/* A connected pair: a socket for `rt`'s world, and its peer. `tcp`: its ends behave like TCP's;
 * else like those of a unix socket, which learn of each other's end at once. */
rt_socket sim_pair(struct sim *sim, bool tcp, struct sim_peer **ret_peer);
/* Calls fn when there are bytes to read, room to write, or an end. */
void sim_peer_on_change(struct sim_peer *peer, void (*fn)(void *arg), void *arg);
/* What fitted, perhaps 0; -errno when the connection is broken. */
ssize_t sim_peer_write(struct sim_peer *peer, const void *data, size_t n);
/* What there was; 0: nothing yet (see sim_peer_ended); -errno when the connection is broken. */
ssize_t sim_peer_read(struct sim_peer *peer, void *ret, size_t n);
/* Its other side has sent its end, and everything before it was read. */
bool sim_peer_ended(const struct sim_peer *peer);
/* The connection broke, and what had arrived before was read. */
bool sim_peer_broken(const struct sim_peer *peer);
size_t sim_peer_readable(const struct sim_peer *peer);
void sim_peer_shutdown(struct sim_peer *peer); /* nothing more will be written */
void sim_peer_close(struct sim_peer *peer);
void sim_peer_reset(struct sim_peer *peer);
/* The path dies without a word. */
void sim_peer_vanish(struct sim_peer *peer);
bool sim_peer_dead(const struct sim_peer *peer);
uint16_t sim_peer_port(const struct sim_peer *peer);

/* Connections whose side of the runtimes is open, also those that have not reached their listener.
 */
unsigned sim_connections(const struct sim *sim);
/* Sockets that are open on the side of the runtimes, listening ones not counted. */
unsigned sim_open_sockets(const struct sim *sim);
unsigned sim_listening_sockets(const struct sim *sim);

#endif
