/* SPDX-License-Identifier: BSD-3-Clause */
/* world: see the header. A worker goes round three parts; between two of them it may be held up,
 * and while it sleeps it waits for its runtime to become ready or for the time it asked for:
 *
 *     REST -- submit, sleep --> TURN -- held up? --> PUBLISH -- held up? --> REST
 *
 * What threads really do between two parts of another thread's loop is touch mailboxes, the shared
 * counters and nothing else; so running parts one at a time, in any order, shows every outcome that
 * the order of those can have. What happens inside the mailbox's own operations is not cut up here:
 * test/model/model_mailbox.c does that.
 */
#include "test/sim/world.h"

#include "base/check.h"
#include "base/text.h"
#include "server/call/batch.h"
#include "server/call/dispatch.h"
#include "server/client/client.h"
#include "server/client/client_flow.h"
#include "server/client/listen.h"
#include "server/commands/families.h"
#include "server/handlers.h"
#include "server/http/http.h"
#include "server/persistence/load.h"
#include "server/pubsub/pubsub.h"
#include "server/worker/loop.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define STEP_MIN_NS  1000ull
#define STEP_MAX_NS  20000ull
#define SLACK_MAX_NS 80000ull

enum part { PART_LOOK, PART_REST, PART_TURN, PART_PUBLISH, PART_ENDED };

struct thread {
    struct world *world;
    struct worker *worker;
    enum part next;
    bool goes_on;
    bool sleeping; /* next is TURN, and run_at_ns is its deadline */
    uint64_t run_at_ns;
    size_t heap_at_start;
    uint64_t slice_ticks; /* of its worker's, when they are not short */
};

/* What the functions of a machine's struct fs get. */
struct files {
    struct sim_fs on; /* its disk, or NULL */
    struct world *world;
};

struct machine {
    struct server *server; /* NULL: it is down */
    struct thread *threads;
    uint16_t port, tls_port;
    struct files files;
    struct fs fs;
    unsigned starts;
    int follows; /* the port of whom, when it starts; 0: nobody */
};

struct world {
    struct world_options options;
    struct sim *sim;
    struct rng rng;
    struct machine *machines;
    struct world_counts counts;
    void (*look)(void *arg);
    void *look_arg;
    jmp_buf failure;
    char reason[1024];
};

/* ---- Files: there are none, or those of the disk; and logs go to the trace ---- */

static int no_read(void *arg, const char *path, char **ret_data, size_t *ret_len) {
    return -ENOENT;
}

static int no_write(void *arg, const char *path, struct bytes content, mode_t mode) {
    return -EROFS;
}

static int log_append(void *arg, const char *path, struct bytes content) {
    struct world *world = ((struct files *)arg)->world;
    if (world->options.sim.print != NULL) {
        char line[400];
        size_t n = content.len < sizeof line - 8 ? content.len : sizeof line - 8;
        snprintf(line, sizeof line, "log %.*s", (int)(n > 0 ? n - 1 : 0), content.ptr);
        world->options.sim.print(world->options.sim.arg, line);
    }
    return 0;
}

static int no_data(void *arg, const char *path, bool write, mode_t mode, int *ret_file) {
    (void)arg, (void)path, (void)mode, (void)ret_file;
    return write ? -EROFS : -ENOENT;
}

static int no_remove(void *arg, const char *path) {
    return -ENOENT;
}

static int no_match(void *arg, const char *pattern, char ***ret_names) {
    *ret_names = calloc(1, sizeof(char *));
    check(*ret_names != NULL);
    return 0;
}

static int any_dir(void *arg, const char *path) {
    return 0;
}

static int root_dir(void *arg, char *buffer, size_t size) {
    snprintf(buffer, size, "/");
    return 0;
}

static int disk_dir(void *arg, char *buffer, size_t size) {
    snprintf(buffer, size, ".");
    return 0;
}

static int exists(void *arg, const char *path, bool want_dir) {
    return want_dir ? 0 : -ENOENT;
}

static void make_fs(struct world *world, struct machine *machine) {
    machine->files.world = world;
    machine->fs = (struct fs){
        .arg = &machine->files,
        .read_all = no_read,
        .replace = no_write,
        .write_all = no_write,
        .remove = no_remove,
        .open_data = no_data,
        .match = no_match,
        .exists = exists,
        .current_dir = root_dir,
    };
    if (world->options.disks != NULL) {
        machine->files.on.disk = sim_new_disk(world->sim, world->options.disks);
        sim_fs_fill(&machine->files.on, &machine->fs);
        machine->fs.current_dir = disk_dir;
    }
    machine->fs.append = log_append;
    machine->fs.change_dir = any_dir;
}

/* ---- Making ---- */

static int make_rt(void *arg, const struct rt_options *options, struct rt **ret_rt) {
    struct world *world = arg;
    struct rt_options own = *options;
    own.recv_buffers = world->options.recv_buffers;
    own.recv_buffer_bytes = world->options.recv_buffer_bytes;
    return sim_rt_make(world->sim, &own, ret_rt);
}

static void thread_ready(void *arg) {
    struct thread *thread = arg;
    if (!thread->sleeping) {
        return;
    }
    uint64_t at =
        sim_now_ns(thread->world->sim) + STEP_MIN_NS + rng_below(&thread->world->rng, SLACK_MAX_NS);
    if (at < thread->run_at_ns) {
        thread->run_at_ns = at;
    }
}

static struct config *make_config(const struct world *world, const struct machine *machine) {
    struct config *config = config_defaults();
    char port_text[8], tls_port_text[8];
    snprintf(port_text, sizeof port_text, "%u", machine->port);
    snprintf(tls_port_text, sizeof tls_port_text, "%u", machine->tls_port);
    size_t count = world->options.settings_count + 1;
    struct bytes *pairs = malloc(2 * (count + 2) * sizeof *pairs);
    check(pairs != NULL);
    pairs[0] = BYTES("port");
    pairs[1] = bytes_of_text(port_text);
    bool saves = false;
    if (count > 1) {
        memcpy(pairs + 2, world->options.settings, 2 * (count - 1) * sizeof *pairs);
    }
    for (size_t i = 1; i < count; i++) {
        saves |= bytes_equal(pairs[2 * i], BYTES("save"));
    }
    if (!saves) { /* who is not about saves has no save points: there is no disk for them */
        pairs[2 * count] = BYTES("save");
        pairs[2 * count + 1] = BYTES("");
        count++;
    }
    if (world->options.secure) {
        pairs[2 * count] = BYTES("tls-port");
        pairs[2 * count + 1] = bytes_of_text(tls_port_text);
        count++;
    }
    struct text err;
    text_init(&err);
    struct config_setting setting = {.fs = &machine->fs, .local = true};
    struct config *made = config_set(config, pairs, count, &setting, &err);
    if (made == NULL) {
        fprintf(stderr, "settings of the world: %s\n", err.ptr);
        abort();
    }
    made->enable_debug_command = CONFIG_PROTECTED_YES; /* DEBUG MOVE-SLOT */
    text_fini(&err);
    config_free(config);
    free(pairs);
    return made;
}

static struct server *make_server(struct world *world, unsigned index) {
    struct machine *machine = &world->machines[index];
    struct server_options options = {
        .config = make_config(world, machine),
        .workers = world->options.workers,
        .fs = &machine->fs,
        .handlers = &server_handlers,
        .families = command_families,
        .rt_make = make_rt,
        .world = world,
        .process_id = 100 + (int)(index + 100 * machine->starts++),
        .start_wall_ms = 1750000000000,
        .string_bytes_max = INT64_C(1) << 30,
        .executable = "/shoal-server",
    };
    for (size_t i = 0; i < sizeof options.random; i++) {
        options.random[i] = (unsigned char)(rng_next(&world->rng) >> 24);
    }
    struct text err;
    text_init(&err);
    struct server *server = server_new(&options, &err);
    check(server != NULL);
    text_fini(&err);
    if (machine->follows != 0) { /* as the directive replicaof, which cannot be set */
        server->role =
            (struct role){.replica = true, .host = "127.0.0.1", .port = machine->follows};
    }
    return server;
}

/* Users are on host 0. */
static unsigned host_of(const struct world *world, const struct machine *machine) {
    return (unsigned)(machine - world->machines) + 1;
}

static void make_workers(struct world *world, struct machine *machine) {
    struct server *server = machine->server;
    struct rt **rts = calloc(server->workers_count, sizeof(struct rt *));
    check(rts != NULL);
    char *reason;
    check(worker_runtimes(server, rts, &reason) == 0);
    for (unsigned i = 0; i < server->workers_count; i++) {
        sim_rt_set_host(rts[i], host_of(world, machine));
        if (machine->files.on.disk != NULL) {
            sim_rt_use_disk(rts[i], machine->files.on.disk);
        }
        worker_new(server, i, server->config, rts[i]);
    }
    free(rts);
    struct text err;
    text_init(&err);
    if (listen_start(server->workers[0], &err) != 0 || http_start(server->workers[0], &err) != 0) {
        fprintf(stderr, "%s\n", err.ptr);
        abort();
    }
    text_fini(&err);
}

static void start_threads(struct world *world, struct machine *machine) {
    struct server *server = machine->server;
    machine->threads = calloc(server->workers_count, sizeof *machine->threads);
    check(machine->threads != NULL);
    for (unsigned i = 0; i < server->workers_count; i++) {
        struct thread *thread = &machine->threads[i];
        *thread = (struct thread){
            .world = world,
            .worker = server->workers[i],
            .goes_on = true,
            .run_at_ns = sim_now_ns(world->sim) + rng_below(&world->rng, STEP_MAX_NS),
            .heap_at_start = heap_used(server->workers[i]->shard.heap),
        };
        thread->slice_ticks = thread->worker->slice.ticks;
        worker_start(thread->worker);
        sim_rt_on_ready(thread->worker->rt, thread_ready, thread);
    }
}

static void free_machine(struct machine *machine) {
    struct server *server = machine->server;
    for (unsigned i = 0; i < server->workers_count; i++) {
        worker_free(server->workers[i]);
    }
    load_free(server->load);
    server_free(server);
    free(machine->threads);
    machine->server = NULL;
    machine->threads = NULL;
}

bool world_start(struct world *world, unsigned index) {
    struct machine *machine = &world->machines[index];
    if (machine->server != NULL) {
        check(world_stopped(world, index));
        free_machine(machine);
    }
    sim_note(world->sim, "start", index, machine->starts, 0);
    machine->server = make_server(world, index);
    make_workers(world, machine);
    struct text said, why;
    text_init(&said);
    text_init(&why);
    bool sound = world->options.disks == NULL || load_plan(machine->server, &said, &why);
    if (sound) {
        start_threads(world, machine);
    } else {
        snprintf(world->reason, sizeof world->reason, "%s", why.ptr);
        listen_stop(machine->server->workers[0]);
        free_machine(machine);
    }
    text_fini(&said);
    text_fini(&why);
    return sound;
}

void world_crash(struct world *world, unsigned index, enum sim_crash crash) {
    struct machine *machine = &world->machines[index];
    struct server *server = machine->server;
    sim_note(world->sim, "crash", index, crash, 0);
    sim_disk_crash(machine->files.on.disk, crash);
    for (unsigned i = 0; i < server->workers_count; i++) {
        sim_rt_kill(server->workers[i]->rt);
    }
    free(machine->threads);
    machine->server = NULL;
    machine->threads = NULL;
}

void world_follow(struct world *world, unsigned index, int whom) {
    struct machine *machine = &world->machines[index];
    machine->follows = whom >= 0 ? world->machines[whom].port : 0;
}

void world_part(struct world *world, unsigned index, unsigned other, bool on) {
    sim_part(world->sim, host_of(world, &world->machines[index]),
             host_of(world, &world->machines[other]), on);
}

void world_break(struct world *world, unsigned index, unsigned other) {
    sim_break(world->sim, host_of(world, &world->machines[index]),
              host_of(world, &world->machines[other]));
}

struct sim_disk *world_disk(const struct world *world, unsigned index) {
    return world->machines[index].files.on.disk;
}

bool world_is_up(const struct world *world, unsigned index) {
    return world->machines[index].server != NULL && !world_stopped(world, index);
}

bool world_loads(const struct world *world, unsigned index) {
    return shared_loading(world->machines[index].server->shared);
}

const char *world_load_failure(const struct world *world, unsigned index) {
    return load_failure(world->machines[index].server->load);
}

struct world *world_new(const struct world_options *options) {
    struct world *world = calloc(1, sizeof *world);
    check(world != NULL);
    world->options = *options;
    world->options.sim.driven = true;
    world->sim = sim_new(&world->options.sim);
    rng_seed(&world->rng, options->seed ^ UINT64_C(0x77f4a1c3));
    world->machines = calloc(options->servers, sizeof *world->machines);
    check(world->machines != NULL);
    for (unsigned i = 0; i < options->servers; i++) {
        struct machine *machine = &world->machines[i];
        machine->port = (uint16_t)(WORLD_PORT + i);
        machine->tls_port = (uint16_t)(WORLD_TLS_PORT + i);
        make_fs(world, machine);
        check(world_start(world, i));
    }
    return world;
}

void world_free(struct world *world) {
    for (unsigned i = 0; i < world->options.servers; i++) {
        if (world->machines[i].server != NULL) {
            free_machine(&world->machines[i]);
        }
    }
    sim_free(world->sim);
    free(world->machines);
    free(world);
}

struct sim *world_sim(struct world *world) {
    return world->sim;
}

struct server *world_server(struct world *world, unsigned index) {
    return world->machines[index].server;
}

uint16_t world_port(const struct world *world, unsigned index) {
    return world->machines[index].port;
}

uint16_t world_tls_port(const struct world *world, unsigned index) {
    return world->machines[index].tls_port;
}

/* ---- Failing ---- */

void world_fail(struct world *world, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(world->reason, sizeof world->reason, format, args);
    va_end(args);
    longjmp(world->failure, 1);
}

jmp_buf *world_failure(struct world *world) {
    return &world->failure;
}

const char *world_reason(const struct world *world) {
    return world->reason;
}

/* ---- Scheduling ---- */

static uint64_t step_ns(const struct thread *thread) {
    struct world *world = thread->world;
    if (thread->worker->id == world->options.slow_worker && world->options.slow_ns > 0) {
        return STEP_MIN_NS + rng_below(&world->rng, world->options.slow_ns);
    }
    if (world->options.preempt > 0 && rng_below(&world->rng, 65536) < world->options.preempt) {
        return STEP_MIN_NS + rng_below(&world->rng, world->options.preempt_max_ns);
    }
    return STEP_MIN_NS + rng_below(&world->rng, STEP_MAX_NS);
}

static void run_rest(struct thread *thread) {
    struct world *world = thread->world;
    const struct worker_stats *stats = &thread->worker->stats;
    uint64_t found = stats->looks_found;
    int64_t wait_ns = sim_rt_submit(thread->worker->rt, worker_rest(thread->worker));
    world->counts.found += stats->looks_found > found;
    thread->next = PART_TURN;
    uint64_t now_ns = sim_now_ns(world->sim);
    if (wait_ns == 0) {
        thread->run_at_ns = now_ns + step_ns(thread);
        return;
    }
    thread->sleeping = true;
    uint64_t sleep_ns = (uint64_t)wait_ns + rng_below(&world->rng, SLACK_MAX_NS);
    if (world->options.spurious > 0 && rng_below(&world->rng, 65536) < world->options.spurious) {
        sleep_ns = rng_below(&world->rng, sleep_ns);
    }
    thread->run_at_ns = now_ns + sleep_ns;
}

static void run_look(struct thread *thread) {
    struct world *world = thread->world;
    struct worker *worker = thread->worker;
    thread->next = PART_REST;
    if (!worker_look(worker)) {
        run_rest(thread);
        return;
    }
    sim_rt_submit(worker->rt, 0);
    thread->run_at_ns = sim_now_ns(world->sim) + 1 + rng_below(&world->rng, worker->loop.look_ns);
}

/* Who has announced its sleep and has mail has been rung for, whatever time that takes: the
 * watchdog of a real server counts the misses of the handshake only, not a wake-up that its sender
 * forgot. */
static void check_rung(const struct thread *thread) {
    const struct worker *worker = thread->worker;
    size_t mail = post_depth(worker->server->office, worker->id);
    if (worker->loop.asleep && mail > 0 && !sim_rt_wake_due(worker->rt)) {
        world_fail(thread->world, "worker %u sleeps over %zu messages, and nobody rings",
                   worker->id, mail);
    }
}

/* What a client may have under way is bounded, whatever is slow, and counted. One that is gone
 * takes up nothing more; there may be thousands that wait for their locks, and what they have left
 * is looked at when they are freed (client_try_free). */
static void check_clients(struct world *world, const struct worker *worker) {
    world->counts.cut += !list_empty(&worker->batches.cut);
    LIST_EACH(&worker->clients.all, node) {
        const struct client *client = LIST_ENTRY(node, const struct client, node);
        if (client->state == CLIENT_GONE) {
            continue;
        }
        world->counts.full += client_is_full(client);
        world->counts.out_of_turn += client->home_memory > 0;
        if (client->ops_pending > CLIENT_OPS_PENDING_MAX + DISPATCH_WINDOW) {
            world_fail(world, "client %llu has %u operations under way",
                       (unsigned long long)client->id, client->ops_pending);
        }
        if (client->pending_count == 0 &&
            (client->ops_pending > 0 || client->home_memory > 0 || client->home_replies > 0 ||
             (client->bytes_away > 0 && client->txn == NULL && client->blocked_open == 0))) {
            world_fail(world, "client %llu has nothing under way, and %u operations, %zu bytes",
                       (unsigned long long)client->id, client->ops_pending,
                       client->bytes_away + client->home_memory);
        }
    }
}

/* What grows or shrinks when somebody touches what is a shard's. */
static uint64_t touched(const struct worker *worker) {
    const struct keyspace_stats *stats = keyspace_stats(worker->shard.keyspace);
    const struct locks *locks = &worker->shard.locks;
    return stats->hits + stats->misses + stats->expired_keys + stats->changes + stats->lazyfreed +
           worker->stats.ops_here + worker->stats.ops_for_others + worker->stats.lock_waits +
           locks->requests + worker->shard.watches.keys.count + worker->shard.watches.clients.count;
}

/* Who is parked leaves its shard alone. */
static void run_turn(struct thread *thread) {
    struct world *world = thread->world;
    const struct worker *worker = thread->worker;
    bool parked = worker->parked.is;
    uint64_t before = touched(worker), times = worker->parked.count;
    thread->goes_on = worker_turn(thread->worker);
    if (!parked || !worker->parked.is || worker->parked.count != times) {
        return;
    }
    world->counts.parked++;
    if (touched(worker) != before) {
        world_fail(world, "worker %u is parked, and touches its shard", worker->id);
    }
}

/* Sometimes it visits who sleeps, which is like a turn of his; but he who is parked is left alone.
 */
static void run_publish(struct thread *thread) {
    struct world *world = thread->world;
    const struct server *server = thread->worker->server;
    thread->worker->loop.visits = rng_below(&world->rng, 2) == 0;
    uint64_t before = 0, after = 0, visits = 0, rounds = thread->worker->stats.rounds;
    for (unsigned i = 0; i < server->workers_count; i++) {
        before += server->workers[i]->parked.is ? touched(server->workers[i]) : 0;
        visits -= server->workers[i]->stats.visits;
    }
    worker_publish(thread->worker);
    for (unsigned i = 0; i < server->workers_count; i++) {
        after += server->workers[i]->parked.is ? touched(server->workers[i]) : 0;
        visits += server->workers[i]->stats.visits;
    }
    world->counts.visits += visits;
    world->counts.own_rounds += thread->worker->stats.rounds - rounds;
    if (before != after) {
        world_fail(world, "who is parked was visited, and its shard touched");
    }
}

static void run_part(struct thread *thread) {
    struct world *world = thread->world;
    if (thread->sleeping) {
        check_rung(thread);
    }
    thread->sleeping = false;
    switch (thread->next) {
    case PART_LOOK:
        run_look(thread);
        return;
    case PART_REST:
        run_rest(thread);
        return;
    case PART_TURN:
        if (world->options.short_slices) { /* a home's whole window meets an owner that cuts it */
            thread->worker->slice.ticks = rng_below(&world->rng, 2) == 0 ? thread->slice_ticks : 0;
        }
        run_turn(thread);
        check_clients(world, thread->worker);
        if (world->look != NULL) {
            world->look(world->look_arg);
        }
        thread->next = PART_PUBLISH;
        break;
    case PART_PUBLISH:
        run_publish(thread);
        thread->next = PART_LOOK;
        if (!thread->goes_on) {
            rt_turn(thread->worker->rt, 0);
            thread->next = PART_ENDED;
            thread->run_at_ns = UINT64_MAX;
            sim_note(world->sim, "ends", thread->worker->id, 0, 0);
            return;
        }
        break;
    case PART_ENDED:
        check(false);
    }
    thread->run_at_ns = sim_now_ns(world->sim) + step_ns(thread);
}

static struct thread *next_thread(struct world *world) {
    struct thread *first = NULL;
    for (unsigned i = 0; i < world->options.servers; i++) {
        struct machine *machine = &world->machines[i];
        unsigned count = machine->server != NULL ? machine->server->workers_count : 0;
        for (unsigned j = 0; j < count; j++) {
            struct thread *thread = &machine->threads[j];
            if (first == NULL || thread->run_at_ns < first->run_at_ns) {
                first = thread;
            }
        }
    }
    return first;
}

void world_on_turn(struct world *world, void (*look)(void *arg), void *arg) {
    world->look = look;
    world->look_arg = arg;
}

bool world_run(struct world *world, uint64_t until_ns, bool (*done)(void *arg), void *arg) {
    while (!done(arg)) {
        struct thread *thread = next_thread(world);
        uint64_t next_ns = sim_next_ns(world->sim);
        uint64_t thread_ns = thread != NULL ? thread->run_at_ns : UINT64_MAX;
        if (next_ns > until_ns && thread_ns > until_ns) {
            sim_advance(world->sim, until_ns);
            return false;
        }
        if (next_ns <= thread_ns) {
            sim_step(world->sim, next_ns);
        } else {
            sim_advance(world->sim, thread_ns);
            run_part(thread);
        }
    }
    return true;
}

void world_calm(struct world *world) {
    world->options.preempt = 0;
    world->options.slow_ns = 0;
    world->options.spurious = 0;
}

void world_stop(struct world *world, unsigned index) {
    world_signal(world, index, STOP_BY_COMMAND);
}

void world_signal(struct world *world, unsigned index, int number) {
    struct server *server = world->machines[index].server;
    sim_note(world->sim, "stop", index, (uint64_t)number, 0);
    shared_ask_stop(server->shared, number);
    if (!world_stopped(world, index)) {
        rt_wake(NULL, server->workers[0]->rt);
    }
}

bool world_stopped(const struct world *world, unsigned index) {
    const struct machine *machine = &world->machines[index];
    for (unsigned i = 0; i < machine->server->workers_count; i++) {
        if (machine->threads[i].next != PART_ENDED) {
            return false;
        }
    }
    return true;
}

/* ---- What must be gone ---- */

#define NOTHING_OF(world, worker, what, number)                                                    \
    do {                                                                                           \
        size_t left = (size_t)(number);                                                            \
        if (left != 0) {                                                                           \
            world_fail((world), "worker %u still has " what ": %zu", (worker)->id, left);          \
        }                                                                                          \
    } while (0)

static void check_worker_idle(struct world *world, const struct worker *worker) {
    const struct post_office *office = worker->server->office;
    NOTHING_OF(world, worker, "clients", worker->clients.count);
    NOTHING_OF(world, worker, "memory of clients", worker->clients.memory);
    NOTHING_OF(world, worker, "clients with output", !list_empty(&worker->clients.dirty));
    NOTHING_OF(world, worker, "clients that go on", !list_empty(&worker->clients.ready));
    NOTHING_OF(world, worker, "clients whose output is delayed",
               !list_empty(&worker->clients.delayed));
    NOTHING_OF(world, worker, "paused clients", !list_empty(&worker->clients.paused));
    NOTHING_OF(world, worker, "waits with a time",
               pqueue_first(&worker->clients.deadlines) != NULL);
    NOTHING_OF(world, worker, "jobs", !list_empty(&worker->jobs));
    NOTHING_OF(world, worker, "batches that wait for a lock", worker->batches.suspended.count);
    NOTHING_OF(world, worker, "batches that were cut", !list_empty(&worker->batches.cut));
    NOTHING_OF(world, worker, "messages in hand", worker->loop.inbox_count - worker->loop.inbox_at);
    NOTHING_OF(world, worker, "parking", worker->parked.is);
    NOTHING_OF(world, worker, "messages that wait until it goes on",
               worker->parked.first_kept != NULL);
    NOTHING_OF(world, worker, "clients to be freed", !list_empty(&worker->parked.gone));
    NOTHING_OF(world, worker, "parkings that are not over",
               worker->parked.tickets - worker->parked.over);
    const struct locks *locks = &worker->shard.locks;
    NOTHING_OF(world, worker, "locks", locks->requests);
    NOTHING_OF(world, worker, "locked keys", locks->targets);
    NOTHING_OF(world, worker, "fences", locks->fence != NULL);
    NOTHING_OF(world, worker, "requests for locks",
               !list_empty(&locks->deferred) + !list_empty(&locks->settled));
    const struct watch_table *watches = &worker->shard.watches;
    NOTHING_OF(world, worker, "watched keys", watches->keys.count);
    NOTHING_OF(world, worker, "clients that watch", watches->clients.count);
    const struct waiters *waiters = &worker->shard.waiters;
    NOTHING_OF(world, worker, "keys that somebody waits for", waiters->lines.count);
    NOTHING_OF(world, worker, "keys to be served from", !list_empty(&waiters->ready));
    NOTHING_OF(world, worker, "waits to be tried again", !list_empty(&worker->txns.tries));
    const struct topics *topics = &worker->topics;
    NOTHING_OF(world, worker, "channels", topics->tables[TOPIC_CHANNEL].count);
    NOTHING_OF(world, worker, "patterns", topics->tables[TOPIC_PATTERN].count);
    NOTHING_OF(world, worker, "shard channels", topics->tables[TOPIC_SHARD_CHANNEL].count);
    NOTHING_OF(world, worker, "clients that have subscribed", topics->clients);
    NOTHING_OF(world, worker, "messages to be delivered", pubsub_is_due(topics));
    NOTHING_OF(world, worker, "open batches", worker->batches.open_count);
    NOTHING_OF(world, worker, "replies nobody wants", worker->discard.bytes);
    NOTHING_OF(world, worker, "receive buffers", sim_rt_buffers_held(worker->rt));
    NOTHING_OF(world, worker, "messages", post_depth(office, worker->id));
    NOTHING_OF(world, worker, "messages that are to come back", post_away(office, worker->id));
    struct post_stats stats = post_get_stats(office, worker->id);
    NOTHING_OF(world, worker, "late wake-ups", stats.late_wakeups);
}

void world_check_idle(struct world *world) {
    for (unsigned i = 0; i < world->options.servers; i++) {
        struct server *server = world->machines[i].server;
        uint64_t sent = 0, received = 0;
        for (unsigned j = 0; j < server->workers_count; j++) {
            check_worker_idle(world, server->workers[j]);
            struct post_stats stats = post_get_stats(server->office, j);
            sent += stats.sent;
            received += stats.received;
        }
        if (sent != received) {
            world_fail(world, "server %u: %llu messages sent, %llu received", i,
                       (unsigned long long)sent, (unsigned long long)received);
        }
        if (shared_connections_total(server->shared) != 0) {
            world_fail(world, "server %u still counts %u connections", i,
                       shared_connections_total(server->shared));
        }
    }
    if (sim_open_sockets(world->sim) != 0) {
        world_fail(world, "%u sockets are still open", sim_open_sockets(world->sim));
    }
}

bool world_client_stands(const struct world *world, unsigned server, uint64_t client) {
    const struct server *of = world->machines[server].server;
    for (unsigned i = 0; i < of->workers_count; i++) {
        const struct client *found = client_of_id(of->workers[i], client);
        if (found != NULL) {
            return found->blocked != NULL && found->state == CLIENT_WAITING;
        }
    }
    return false;
}

bool world_has_passed(const struct world *world, unsigned server) {
    const struct server *of = world->machines[server].server;
    uint64_t passed = 0;
    for (unsigned i = 0; i < of->workers_count; i++) {
        passed += of->workers[i]->shard.locks.passed;
    }
    return passed > 0;
}

const struct world_counts *world_counts(const struct world *world) {
    return &world->counts;
}

void world_check_stopped(struct world *world) {
    for (unsigned i = 0; i < world->options.servers; i++) {
        struct server *server = world->machines[i].server;
        for (unsigned j = 0; j < server->workers_count; j++) {
            const struct worker *worker = server->workers[j];
            NOTHING_OF(world, worker, "clients", worker->clients.count);
            NOTHING_OF(world, worker, "locks", worker->shard.locks.requests);
            NOTHING_OF(world, worker, "receive buffers", sim_rt_buffers_held(worker->rt));
        }
    }
    if (sim_open_sockets(world->sim) != 0) {
        world_fail(world, "%u sockets are still open", sim_open_sockets(world->sim));
    }
}

void world_check_empty(struct world *world) {
    for (unsigned i = 0; i < world->options.servers; i++) {
        struct server *server = world->machines[i].server;
        for (unsigned j = 0; j < server->workers_count; j++) {
            const struct thread *thread = &world->machines[i].threads[j];
            struct worker *worker = server->workers[j];
            for (uint32_t db = 0; db < (uint32_t)worker->config->databases; db++) {
                NOTHING_OF(world, worker, "keys", keyspace_count(worker->shard.keyspace, db));
            }
            size_t used = heap_used(worker->shard.heap);
            if (used != thread->heap_at_start) {
                world_fail(world,
                           "worker %u: %zu bytes of data when it began, %zu when all was "
                           "deleted",
                           j, thread->heap_at_start, used);
            }
        }
    }
}
