/* SPDX-License-Identifier: BSD-3-Clause */
/* world: whole servers in one thread: every worker of every server, driven part by part over a
 * simulated network (net/rt_sim.h).
 *
 * The scheduler decides which worker runs the next part of its loop (worker.h: rest, turn, publish)
 * and how long it is held up in between, so the workers' parts interleave in every order that
 * threads could show. The mailboxes between them are the real ones.
 *
 * A server of a world with disks has one of its own (net/sim_disk.h), which outlives it: it may end
 * by force, or lose power, at any moment, and start again from what its disk has left. Without
 * disks there are no files at the start. Servers reach each other by their ports; between any two
 * of them the network may be cut.
 *
 * Thread: one. Ownership: world_new gives, world_free takes, servers included.
 */
#ifndef SHOAL_TEST_SIM_WORLD_H
#define SHOAL_TEST_SIM_WORLD_H

#include "net/rt_sim.h"
#include "server/server.h"

#include <setjmp.h>

#define WORLD_PORT     6379
#define WORLD_TLS_PORT 7379

struct world_options {
    uint64_t seed;
    unsigned servers;
    unsigned workers;             /* of each server */
    const struct bytes *settings; /* pairs as of CONFIG SET, for each server */
    size_t settings_count;
    unsigned recv_buffers, recv_buffer_bytes;
    /* A worker's thread is taken off its processor between two parts: chance in 65536, how long. */
    unsigned preempt;
    uint64_t preempt_max_ns;
    /* One worker of each server takes longer than the others over every part: up to so long. */
    unsigned slow_worker;
    uint64_t slow_ns;
    bool secure;       /* servers have a port for TLS, too: world_tls_port */
    bool short_slices; /* in every other turn a worker leaves off after every command */
    unsigned spurious; /* chance that a sleeping worker has a turn for nothing */
    const struct sim_disk_options *disks; /* of each server; or NULL */
    struct sim_options sim;
};

struct world;

/* Seen so far, after turns of workers. */
struct world_counts {
    uint64_t cut;         /* batches between two turns */
    uint64_t full;        /* clients that have too much on its way */
    uint64_t out_of_turn; /* clients with replies at home that wait for others */
    uint64_t found;       /* looks before a sleep that brought a message */
    uint64_t parked;      /* turns of workers that were parked and still are */
    uint64_t visits;      /* to workers that slept */
    uint64_t own_rounds;  /* of visitors, in between */
};

struct world *world_new(const struct world_options *options);
void world_free(struct world *world);
struct sim *world_sim(struct world *world);
struct server *world_server(struct world *world, unsigned index);
/* The port that server listens on. */
uint16_t world_port(const struct world *world, unsigned index);
uint16_t world_tls_port(const struct world *world, unsigned index);

/* A client of a server, by its number, stands in the lines of the keys it waits for. */
bool world_client_stands(const struct world *world, unsigned server, uint64_t client);

/* Who came later has been let at a key that was closed for one who had waited (shard/locks.h). */
bool world_has_passed(const struct world *world, unsigned server);

/* Lets time pass until done(arg) says so; false: it did not by then. */
bool world_run(struct world *world, uint64_t until_ns, bool (*done)(void *arg), void *arg);
/* look(arg) is called after every turn of a worker. */
void world_on_turn(struct world *world, void (*look)(void *arg), void *arg);
/* Workers are held up no more. */
void world_calm(struct world *world);
/* A server is told to end, as by SHUTDOWN NOSAVE. */
void world_stop(struct world *world, unsigned index);
/* And by a signal: it may save first. */
void world_signal(struct world *world, unsigned index, int number);
bool world_stopped(const struct world *world, unsigned index);

/* ---- Servers that end by force, and come again: worlds with disks ---- */

struct sim_disk *world_disk(const struct world *world, unsigned index);
/* It is gone at once; its connections are reset. What it had in memory is left where it lies: run
 * such a world in a process of its own, that ends with it. */
void world_crash(struct world *world, unsigned index, enum sim_crash crash);
/* A server that has crashed or stopped is started from its disk. False: what it found there kept it
 * from starting, and the world's reason (world_reason) is what it said. */
bool world_start(struct world *world, unsigned index);
/* When it starts the next time it is a replica of that one; -1: of none. */
void world_follow(struct world *world, unsigned index, int whom);
/* It runs, or is about to end in good order. */
bool world_is_up(const struct world *world, unsigned index);
/* It has data to load, and has not got all of it yet. */
bool world_loads(const struct world *world, unsigned index);
/* After it has stopped: what kept it from loading; or NULL. */
const char *world_load_failure(const struct world *world, unsigned index);

/* ---- The network between servers ---- */

/* Two of them do not hear each other any more; or again. */
void world_part(struct world *world, unsigned index, unsigned other, bool on);
/* Their connections are reset. */
void world_break(struct world *world, unsigned index, unsigned other);

/* Something is wrong: the run ends here, in the setjmp of whoever runs the world. */
void world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)))
__attribute__((noreturn));
jmp_buf *world_failure(struct world *world); /* where world_fail goes: set it before world_run */
const char *world_reason(const struct world *world);
/* Looks for what a server may not have when nothing goes on any more: connections, buffers,
 * messages in mailboxes, waiting clients, memory of clients, locks, watches. Fails with what it
 * finds. */
void world_check_idle(struct world *world);
const struct world_counts *world_counts(const struct world *world);
/* What servers that were stopped may not leave: connections, locks. */
void world_check_stopped(struct world *world);
/* The same for data: after FLUSHALL nothing is left of it. */
void world_check_empty(struct world *world);

#endif
