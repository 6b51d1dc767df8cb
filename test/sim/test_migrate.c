/* SPDX-License-Identifier: BSD-3-Clause */
/* MIGRATE between two whole servers in the simulator, of one to four shards each, to and fro, while
 * others write to the keys wherever they are. Each key has one writer, who writes one number after
 * the other to the server that has it. Whatever happens on the way, no server keeps an older value
 * than the last one that was acknowledged without another having that; and while connections last
 * and time suffices each key is on exactly one server. */
#include "base/must.h"
#include "server/worker/worker.h"
#include "test/sim/wire.h"
#include "test/sim/world.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define SERVERS   2
#define KEYS      8
#define MIGRATORS 4
#define ROUNDS    30
#define SECOND    UINT64_C(1000000000)

/* One connection, and what it waits for. */
struct line {
    struct sim_peer *peer;
    unsigned server;
    struct text in;
    bool awaits;
};

/* Writes 1, 2, 3 .. to its key, on the server where that is: SET XX. */
struct writer {
    struct line lines[SERVERS];
    unsigned key, at; /* the server that is asked */
    unsigned next, acknowledged;
    bool unsure; /* nobody knows what has become of the one before */
};

struct migrator {
    struct line line;
    unsigned left;
    unsigned moved;
};

struct run {
    struct world *world;
    struct rng rng;
    struct arena arena;
    struct writer writers[KEYS];
    struct migrator migrators[MIGRATORS];
    bool faulty;
    unsigned moved;
};

/* ---- Connections ---- */

static void hang_up(struct line *line) {
    if (line->peer != NULL) {
        sim_peer_close(line->peer);
        line->peer = NULL;
    }
    line->awaits = false;
    text_clear(&line->in);
}

static bool say(struct run *run, struct line *line, const struct text *request) {
    if (line->peer == NULL &&
        sim_dial(world_sim(run->world), world_port(run->world, line->server), &line->peer) != 0) {
        line->peer = NULL;
        return false;
    }
    if (sim_peer_write(line->peer, request->ptr, request->len) != (ssize_t)request->len) {
        hang_up(line);
        return false;
    }
    line->awaits = true;
    return true;
}

enum heard { HEARD_NOTHING, HEARD_REPLY, HEARD_END };

static enum heard hear(struct run *run, struct line *line, struct wire_value *ret) {
    size_t room = sim_peer_readable(line->peer);
    text_reserve(&line->in, room);
    ssize_t n = sim_peer_read(line->peer, line->in.ptr + line->in.len, room);
    line->in.len += n > 0 ? (size_t)n : 0;
    arena_reset(&run->arena);
    ssize_t bytes = value_read(text_bytes(&line->in), &run->arena, ret);
    cr_assert_geq(bytes, 0);
    if (bytes > 0) {
        cr_assert_eq((size_t)bytes, line->in.len);
        char *text = arena_alloc(&run->arena, ret->text.len + 1);
        if (ret->text.len > 0) {
            memcpy(text, ret->text.ptr, ret->text.len);
        }
        text[ret->text.len] = 0;
        ret->text.ptr = text;
        text_clear(&line->in);
        line->awaits = false;
        return HEARD_REPLY;
    }
    if (sim_peer_ended(line->peer) || sim_peer_broken(line->peer) || sim_peer_dead(line->peer)) {
        hang_up(line);
        return HEARD_END;
    }
    return HEARD_NOTHING;
}

/* ---- Users ---- */

static void write_next(struct run *run, struct writer *writer) {
    struct line *line = &writer->lines[writer->at];
    struct text request;
    text_init(&request);
    wire_requestf(&request, "SET key:%u %u XX", writer->key, writer->next);
    say(run, line, &request);
    text_fini(&request);
}

/* True: it is still at it. */
static bool writer_goes_on(struct run *run, struct writer *writer) {
    struct line *line = &writer->lines[writer->at];
    struct wire_value reply;
    if (!line->awaits) {
        if (writer->next > ROUNDS) {
            return false;
        }
        write_next(run, writer);
        return true;
    }
    enum heard heard = hear(run, line, &reply);
    if (heard == HEARD_REPLY && reply.type == '+') {
        writer->acknowledged = writer->next++;
        writer->unsure = false;
    } else if (heard == HEARD_REPLY) {
        cr_assert_eq(reply.type, '_');
        writer->at = (writer->at + 1) % SERVERS;
    } else if (heard == HEARD_END) {
        writer->unsure = true;
    }
    return true;
}

static void migrate_next(struct run *run, struct migrator *migrator) {
    struct text request;
    text_init(&request);
    unsigned first = (unsigned)rng_below(&run->rng, KEYS),
             second = (unsigned)rng_below(&run->rng, KEYS);
    unsigned port = world_port(run->world, (migrator->line.server + 1) % SERVERS);
    const char *host = rng_below(&run->rng, 4) == 0 ? "localhost" : "127.0.0.1";
    unsigned timeout_ms = run->faulty ? 20 : 100000;
    /* Two that name the same two keys, one of which each has, would wait for each other. */
    if (migrator->line.server == 1 || rng_below(&run->rng, 2) == 0) {
        wire_requestf(&request, "MIGRATE %s %u key:%u 0 %u", host, port, first, timeout_ms);
    } else {
        text_append_text(&request, "*9\r\n$7\r\nMIGRATE\r\n");
        wire_bulk(&request, bytes_of_text(host));
        char number[16];
        snprintf(number, sizeof number, "%u", port);
        wire_bulk(&request, bytes_of_text(number));
        text_append_text(&request, "$0\r\n\r\n$1\r\n0\r\n");
        snprintf(number, sizeof number, "%u", timeout_ms);
        wire_bulk(&request, bytes_of_text(number));
        wire_bulk(&request, BYTES("KEYS"));
        snprintf(number, sizeof number, "key:%u", first);
        wire_bulk(&request, bytes_of_text(number));
        snprintf(number, sizeof number, "key:%u", second == first ? KEYS : second);
        wire_bulk(&request, bytes_of_text(number));
    }
    say(run, &migrator->line, &request);
    text_fini(&request);
}

static bool migrator_goes_on(struct run *run, struct migrator *migrator) {
    struct wire_value reply;
    if (!migrator->line.awaits) {
        if (migrator->left == 0) {
            return false;
        }
        migrator->left--;
        migrate_next(run, migrator);
        return true;
    }
    if (hear(run, &migrator->line, &reply) == HEARD_REPLY) {
        bool ok = reply.type == '+' && bytes_equal(reply.text, BYTES("OK"));
        run->moved += ok;
        if (!run->faulty) {
            cr_assert_eq(reply.type, '+', "%.*s", (int)reply.text.len, reply.text.ptr);
        }
    }
    return true;
}

static bool all_done(void *arg) {
    struct run *run = arg;
    bool busy = false;
    for (unsigned i = 0; i < KEYS; i++) {
        busy |= writer_goes_on(run, &run->writers[i]);
    }
    for (unsigned i = 0; i < MIGRATORS; i++) {
        busy |= migrator_goes_on(run, &run->migrators[i]);
    }
    return !busy;
}

/* ---- The end ---- */

static bool answered(void *arg) {
    struct line *line = arg;
    return !line->awaits || sim_peer_readable(line->peer) > 0 || sim_peer_broken(line->peer);
}

/* What a server has of a key; -1: nothing. */
static int value_at(struct run *run, unsigned server, unsigned key) {
    struct line line = {.server = server};
    text_init(&line.in);
    struct text request;
    text_init(&request);
    struct wire_value reply;
    wire_requestf(&request, "GET key:%u", key);
    cr_assert(say(run, &line, &request));
    cr_assert(
        world_run(run->world, sim_now_ns(world_sim(run->world)) + 100 * SECOND, answered, &line));
    cr_assert_eq(hear(run, &line, &reply), HEARD_REPLY);
    hang_up(&line);
    text_fini(&line.in);
    text_fini(&request);
    return reply.type == '_' ? -1 : atoi(reply.text.ptr);
}

static void look_at(struct run *run, const struct writer *writer, uint64_t seed) {
    int a = value_at(run, 0, writer->key), b = value_at(run, 1, writer->key);
    int last = a > b ? a : b, acknowledged = (int)writer->acknowledged;
    if (!run->faulty) {
        cr_assert((a < 0) != (b < 0), "seed %llu: key %u is %d and %d", (unsigned long long)seed,
                  writer->key, a, b);
        cr_assert_eq(last, acknowledged, "seed %llu", (unsigned long long)seed);
        return;
    }
    cr_assert_geq(last, acknowledged, "seed %llu: key %u was %d last, and is %d and %d",
                  (unsigned long long)seed, writer->key, acknowledged, a, b);
    cr_assert_leq(last, acknowledged + 1);
}

static bool never(void *arg) {
    (void)arg;
    return false;
}

static bool stopped(void *world) {
    return world_stopped(world, 0) && world_stopped(world, 1);
}

/* ---- The run ---- */

static void begin(struct run *run) {
    struct line line = {.server = 0};
    text_init(&line.in);
    for (unsigned i = 0; i < KEYS; i++) {
        struct writer *writer = &run->writers[i];
        writer->key = i;
        writer->next = 1;
        for (unsigned j = 0; j < SERVERS; j++) {
            writer->lines[j].server = j;
            text_init(&writer->lines[j].in);
        }
        struct text request;
        struct wire_value reply;
        text_init(&request);
        wire_requestf(&request, "SET key:%u 0", i);
        cr_assert(say(run, &line, &request));
        cr_assert(
            world_run(run->world, sim_now_ns(world_sim(run->world)) + SECOND, answered, &line));
        cr_assert_eq(hear(run, &line, &reply), HEARD_REPLY);
        text_fini(&request);
    }
    hang_up(&line);
    text_fini(&line.in);
    for (unsigned i = 0; i < MIGRATORS; i++) {
        struct migrator *migrator = &run->migrators[i];
        migrator->left = ROUNDS;
        migrator->line.server = i % SERVERS;
        text_init(&migrator->line.in);
    }
}

static void end(struct run *run) {
    for (unsigned i = 0; i < KEYS; i++) {
        for (unsigned j = 0; j < SERVERS; j++) {
            hang_up(&run->writers[i].lines[j]);
            text_fini(&run->writers[i].lines[j].in);
        }
    }
    for (unsigned i = 0; i < MIGRATORS; i++) {
        hang_up(&run->migrators[i].line);
        text_fini(&run->migrators[i].line.in);
    }
    uint64_t now_ns = sim_now_ns(world_sim(run->world));
    world_run(run->world, now_ns + 20 * SECOND, never, NULL); /* connections that were kept end */
    world_check_idle(run->world);
    world_stop(run->world, 0);
    world_stop(run->world, 1);
    cr_assert(world_run(run->world, now_ns + 60 * SECOND, stopped, run->world));
    world_check_stopped(run->world);
}

static unsigned play(uint64_t seed, bool faulty) {
    static const struct bytes settings[] = {{"protected-mode", 14}, {"no", 2}};
    static const struct sim_faults calm = {.latency_min_ns = 1000, .latency_max_ns = 20000};
    struct sim_faults faults = {.latency_min_ns = 1000,
                                .latency_max_ns = 50000 << seed % 5,
                                .split = 20000,
                                .short_send = 10000,
                                .short_receive = 20000,
                                .defer = 10000,
                                .shuffle = 30000};
    if (faulty) {
        faults.reset = 150;
        faults.vanish = 100;
        faults.stall = 200;
        faults.stall_max_ns = 100 * SECOND / 1000;
    }
    struct world_options options = {
        .seed = seed,
        .servers = SERVERS,
        .workers = 1 + (unsigned)(seed % 4),
        .settings = settings,
        .settings_count = 1,
        .recv_buffers = 64,
        .recv_buffer_bytes = 16384,
        .preempt = 2000,
        .preempt_max_ns = 300000,
        .short_slices = seed % 2 == 0,
        .sim = {.buffer_min_bytes = 4096, .buffer_max_bytes = 65536, .faults = calm},
    };
    struct run run = {.world = world_new(&options), .faulty = faulty};
    rng_seed(&run.rng, seed);
    arena_init(&run.arena, 4096);
    if (setjmp(*world_failure(run.world)) != 0) {
        cr_assert_fail("seed %llu: %s", (unsigned long long)seed, world_reason(run.world));
    }
    begin(&run);
    sim_set_faults(world_sim(run.world), &faults);
    uint64_t until_ns = sim_now_ns(world_sim(run.world)) + 600 * SECOND;
    cr_assert(world_run(run.world, until_ns, all_done, &run), "seed %llu: somebody waits",
              (unsigned long long)seed);
    sim_set_faults(world_sim(run.world), &calm);
    /* What was on its way has arrived. */
    world_run(run.world, sim_now_ns(world_sim(run.world)) + SECOND, never, NULL);
    for (unsigned i = 0; i < KEYS; i++) {
        look_at(&run, &run.writers[i], seed);
    }
    end(&run);
    world_free(run.world);
    arena_fini(&run.arena);
    return run.moved;
}

Test(migrate, a_key_is_on_one_server, .timeout = 600) {
    unsigned moved = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        moved += play(seed, false);
    }
    cr_assert_gt(moved, 5000);
}

Test(migrate, nothing_acknowledged_is_lost_when_connections_break, .timeout = 600) {
    unsigned moved = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        moved += play(seed, true);
    }
    cr_assert_gt(moved, 1000);
}
