/* SPDX-License-Identifier: BSD-3-Clause */
/* Sequences of commands, of any family, with arguments that their rows ask for (draw.h), on a whole
 * server of one to four shards in the simulator: no check fails, every request has an answer that
 * is RESP, the keyspaces verify, memory adds up, and after FLUSHALL nothing is left.
 */
#include "base/check.h"
#include "server/worker/worker.h"
#include "test/fuzz/draw.h"
#include "test/sim/wire.h"
#include "test/sim/world.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define COMMANDS_MAX 60
#define SECOND       UINT64_C(1000000000)

/* ---- The run ---- */

struct run {
    struct world *world;
    struct sim_peer *peer;
    struct text in;
    struct arena arena;
    unsigned awaited;
    bool gone;
};

static bool settled(void *arg) {
    struct run *run = arg;
    size_t room = sim_peer_readable(run->peer);
    text_reserve(&run->in, room);
    ssize_t n = sim_peer_read(run->peer, run->in.ptr + run->in.len, room);
    run->in.len += n > 0 ? (size_t)n : 0;
    size_t used = 0;
    for (ssize_t bytes = 1; bytes > 0;) {
        struct wire_value value;
        struct bytes rest = bytes_make(run->in.ptr + used, run->in.len - used);
        bytes = value_read(rest, &run->arena, &value);
        check(bytes >= 0);
        if (bytes > 0) {
            check(run->awaited > 0);
            run->awaited--;
            used += (size_t)bytes;
        }
        arena_reset(&run->arena);
    }
    memmove(run->in.ptr, run->in.ptr + used, run->in.len - used);
    run->in.len -= used;
    run->gone = sim_peer_ended(run->peer) || sim_peer_broken(run->peer);
    return run->awaited == 0 || run->gone;
}

static bool never(void *arg) {
    (void)arg;
    return false;
}

static void wait_ns(struct run *run, uint64_t ns) {
    world_run(run->world, sim_now_ns(world_sim(run->world)) + ns, never, NULL);
}

/* Whether all was answered within a virtual second: a command that blocks is not, and all else of
 * its client waits for it. */
static bool ask(struct run *run, const struct text *requests, unsigned count) {
    run->awaited = count;
    size_t sent = 0;
    uint64_t until_ns = sim_now_ns(world_sim(run->world)) + SECOND;
    while (sent < requests->len) {
        ssize_t n = sim_peer_write(run->peer, requests->ptr + sent, requests->len - sent);
        if (n < 0) {
            return false;
        }
        sent += (size_t)n;
        if (sent < requests->len) {
            wait_ns(run, SECOND / 1000);
        }
        if (sim_now_ns(world_sim(run->world)) > until_ns) {
            return false;
        }
    }
    return world_run(run->world, until_ns, settled, run) && !run->gone;
}

static void dial(struct run *run) {
    check(sim_dial(world_sim(run->world), world_port(run->world, 0), &run->peer) == 0);
    text_clear(&run->in);
    run->gone = false;
}

static void verify(struct world *world) {
    const struct server *server = world_server(world, 0);
    for (unsigned i = 0; i < server->workers_count; i++) {
        keyspace_verify(server->workers[i]->shard.keyspace);
        heap_verify(server->workers[i]->shard.heap);
    }
}

static bool stopped(void *world) {
    return world_stopped(world, 0);
}

static void play(struct run *run, struct draw_input *in) {
    const struct command_table *table = world_server(run->world, 0)->commands;
    struct text requests;
    text_init(&requests);
    dial(run);
    for (unsigned sent = 0; in->size > 0 && sent < COMMANDS_MAX;) {
        text_clear(&requests);
        unsigned count = 1 + draw_next(in, 8);
        for (unsigned i = 0; i < count; i++) {
            draw_request(in, table, &requests);
        }
        sent += count;
        if (!ask(run, &requests, count)) {
            sim_peer_close(run->peer);
            dial(run);
        }
        verify(run->world);
    }
    sim_peer_close(run->peer);
    wait_ns(run, SECOND);
    dial(run);
    text_clear(&requests);
    wire_requestf(&requests, "FLUSHALL");
    check(ask(run, &requests, 1));
    sim_peer_close(run->peer);
    wait_ns(run, 3 * SECOND);
    world_check_idle(run->world);
    world_check_empty(run->world);
    world_stop(run->world, 0);
    check(world_run(run->world, sim_now_ns(world_sim(run->world)) + 10 * SECOND, stopped,
                    run->world));
    world_check_stopped(run->world);
    text_fini(&requests);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct draw_input in = {data, size};
    static const struct bytes settings[] = {
        {"protected-mode", 14},
        {"no", 2}, /* small ones, so that encodings change */
        {"hash-max-listpack-entries", 25},
        {"4", 1},
        {"zset-max-listpack-entries", 25},
        {"4", 1},
        {"set-max-listpack-entries", 24},
        {"4", 1},
        {"set-max-intset-entries", 22},
        {"3", 1},
        {"list-max-listpack-size", 22},
        {"3", 1},
        {"stream-node-max-entries", 23},
        {"3", 1},
    };
    unsigned pairs = 1 + draw_next(&in, 2) * (sizeof settings / sizeof settings[0] / 2 - 1);
    struct world_options options = {
        .seed = 1 + draw_next(&in, 256),
        .servers = 1,
        .workers = 1 + draw_next(&in, 4),
        .settings = settings,
        .settings_count = pairs,
        .recv_buffers = 64,
        .recv_buffer_bytes = 16384,
        .sim = {.buffer_min_bytes = 65536,
                .buffer_max_bytes = 65536,
                .faults = {.latency_min_ns = 1000, .latency_max_ns = 20000}},
    };
    struct run run = {.world = world_new(&options)};
    text_init(&run.in);
    arena_init(&run.arena, 4096);
    if (setjmp(*world_failure(run.world)) != 0) {
        fprintf(stderr, "check failed: %s\n", world_reason(run.world));
        abort();
    }
    play(&run, &in);
    world_free(run.world);
    arena_fini(&run.arena);
    text_fini(&run.in);
    return 0;
}
