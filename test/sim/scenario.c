/* SPDX-License-Identifier: BSD-3-Clause */
/* scenario: see the header. A run has three acts:
 *
 *     trouble  users work while the network, the scheduler and the actor do what the seed says
 *     calm     no new faults: every user gets every answer within bounded time, reads all it knows
 *              of once more, and leaves
 *     end      nothing is left of anything: connections, buffers, messages, data; the servers stop
 *
 * Some runs go from trouble to the end at once: the servers are stopped while everybody works.
 *
 * Each kind of fault is on or off by seed, and its chance is drawn too: runs with everything at
 * once hide what runs with one fault show.
 */
#include "test/sim/scenario.h"

#include "base/check.h"
#include "base/text.h"
#include "server/call/check.h"
#include "server/call/command_table.h"
#include "server/client/large.h"
#include "server/worker/worker.h"
#include "test/sim/tls_stand_in.h"
#include "test/sim/user.h"
#include "test/sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS           (1000ull * 1000)
#define SECOND       (1000 * MS)
#define TROUBLE_MAX  (60 * SECOND)
#define CALM_MAX     (20 * SECOND)
#define END_MAX      (15 * SECOND)
#define STEP_MAX_NS  (3 * MS)
#define SERVERS_MAX  2
#define SETTINGS_MAX 16

struct scenario {
    struct rng rng;
    struct world *world;
    struct sim *sim;
    struct users *users[SERVERS_MAX]; /* of each server */
    unsigned servers;
    struct bytes settings[2 * SETTINGS_MAX];
    size_t settings_count;
    char texts[SETTINGS_MAX][64];
    uint64_t strike_every_ns; /* 0: the actor does nothing */
    bool
        limited; /* clients may have little memory: no large values then, or nobody ever finishes */
    bool abrupt; /* the servers stop in the middle of the trouble */
    bool mortal; /* keys have deadlines, and the wall clock does not jump */
    enum history_order order; /* how pipelines happen */
    bool topics;              /* users subscribe, also to keyspace events */
    bool secure;              /* some users speak TLS */
    uint64_t steps;           /* of handshakes */
    bool refuses;             /* shards have something against what they are asked, now and then */
    bool calm;
};

static uint64_t draw(struct scenario *scenario, uint64_t first, uint64_t last) {
    return first + rng_below(&scenario->rng, last - first + 1);
}

/* A chance that is 0 in most runs. */
static unsigned sometimes(struct scenario *scenario, unsigned max) {
    return draw(scenario, 0, 2) == 0 ? (unsigned)draw(scenario, 1, max) : 0;
}

static void set(struct scenario *scenario, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void set(struct scenario *scenario, const char *name, const char *format, ...) {
    check(scenario->settings_count < SETTINGS_MAX);
    size_t i = scenario->settings_count++;
    va_list args;
    va_start(args, format);
    vsnprintf(scenario->texts[i], sizeof scenario->texts[i], format, args);
    va_end(args);
    scenario->settings[2 * i] = bytes_of_text(name);
    scenario->settings[2 * i + 1] = bytes_of_text(scenario->texts[i]);
}

static void draw_settings(struct scenario *scenario) {
    set(scenario, "protected-mode", "no");
    set(scenario, "loglevel", "verbose");
    static const enum history_order orders[] = {HISTORY_RELAXED, HISTORY_WRITES, HISTORY_WRITES,
                                                HISTORY_STRICT};
    static const char *const names[] = {"relaxed", "writes", "strict"};
    scenario->order = orders[draw(scenario, 0, 3)];
    set(scenario, "pipeline-order", "%s", names[scenario->order]);
    if (draw(scenario, 0, 5) == 0) {
        set(scenario, "maxclients", "%u", (unsigned)draw(scenario, 2, 8));
    }
    if (draw(scenario, 0, 5) == 0) {
        set(scenario, "timeout", "1");
    }
    if (draw(scenario, 0, 5) == 0) {
        scenario->limited = true;
        set(scenario, "client-output-buffer-limit", "normal %u %u 1",
            (unsigned)draw(scenario, 20000, 60000), (unsigned)draw(scenario, 10000, 20000));
    }
    scenario->topics = draw(scenario, 0, 2) == 0;
    if (scenario->topics) {
        set(scenario, "notify-keyspace-events", "KEA");
    }
    if (draw(scenario, 0, 5) == 0) {
        set(scenario, "maxmemory-clients", "%u", (unsigned)draw(scenario, 700000, 2000000));
    }
}

static struct sim_faults draw_faults(struct scenario *scenario) {
    uint64_t latency_ns = draw(scenario, 0, 1) == 0 ? 50000 : draw(scenario, 1000, 2 * MS);
    return (struct sim_faults){
        .latency_min_ns = 1000,
        .latency_max_ns = latency_ns,
        .stall = sometimes(scenario, 600),
        .stall_max_ns = draw(scenario, 5 * MS, 300 * MS),
        .split = sometimes(scenario, 40000),
        .short_send = sometimes(scenario, 20000),
        .short_receive = sometimes(scenario, 40000),
        .reset = sometimes(scenario, 300),
        .vanish = sometimes(scenario, 200),
        .accept_error = sometimes(scenario, 20000),
        .no_buffer = sometimes(scenario, 8000),
        .defer = sometimes(scenario, 20000),
        .shuffle = sometimes(scenario, 65536),
    };
}

static bool has_command(const struct scenario *scenario, struct bytes name) {
    return command_table_find(world_server(scenario->world, 0)->commands, name) != NULL;
}

static void look(void *arg) {
    const struct scenario *scenario = arg;
    for (unsigned i = 0; i < scenario->servers; i++) {
        users_look(scenario->users[i]);
    }
    if (tls_stand_in_refusals() > 0) {
        world_fail(scenario->world, "what users have sent within TLS is not what has come");
    }
}

/* A step of a handshake takes a while: too many for a turn, and the others wait. */
static void shake_hands(void *arg) {
    struct scenario *scenario = arg;
    scenario->steps++;
    sim_advance(scenario->sim,
                sim_now_ns(scenario->sim) + rng_below(sim_rng(scenario->sim), STEP_MAX_NS));
}

static void start(struct scenario *scenario, uint64_t seed,
                  void (*print)(void *arg, const char *line), void *arg) {
    draw_settings(scenario);
    scenario->servers = draw(scenario, 0, 9) == 0 ? 2 : 1;
    scenario->secure = seed % 8 == 5; /* not drawn: other runs stay what they were */
    struct world_options options = {
        .seed = seed,
        .servers = scenario->servers,
        .workers = (unsigned)draw(scenario, 1, 5),
        .settings = scenario->settings,
        .settings_count = scenario->settings_count,
        .recv_buffers = 2u << draw(scenario, 0, 5),
        .recv_buffer_bytes = draw(scenario, 0, 2) == 0 ? (unsigned)draw(scenario, 16, 300) : 4096,
        .preempt = sometimes(scenario, 4000),
        .preempt_max_ns = draw(scenario, 100000, 8 * MS),
        .slow_worker = (unsigned)draw(scenario, 0, 4),
        .slow_ns = draw(scenario, 0, 2) == 0 ? draw(scenario, 100000, 10 * MS) : 0,
        .secure = scenario->secure,
        .short_slices = draw(scenario, 0, 1) == 0,
        .spurious = sometimes(scenario, 10000),
        .sim =
            {
                .seed = seed,
                .wake_with_submit = draw(scenario, 0, 1) == 0,
                .buffer_min_bytes = draw(scenario, 0, 2) == 0 ? 100 : 4096,
                .buffer_max_bytes = draw(scenario, 4096, 65536),
                .faults = draw_faults(scenario),
                .print = print,
                .arg = arg,
            },
    };
    scenario->world = world_new(&options);
    scenario->sim = world_sim(scenario->world);
    if (scenario->secure) {
        tls_stand_in_on_step(shake_hands, scenario);
    }
    struct users_options users = {
        .secure = !scenario->secure ? 0
                  : seed % 16 == 5  ? 65536
                                    : 30000,
        .count = (unsigned)draw(scenario, 1, 12),
        .own_keys = (unsigned)draw(scenario, 1, 12),
        .shared_keys = (unsigned)draw(scenario, 1, 6),
        .pipeline_max = draw(scenario, 0, 2) == 0 ? 1 : (unsigned)draw(scenario, 2, 100),
        .requests = (unsigned)draw(scenario, 20, 200),
        .think_max_ns = draw(scenario, 0, 2) == 0 ? 0 : draw(scenario, 1000, 10 * MS),
        .patience_ns = draw(scenario, 50 * MS, 3 * SECOND),
        .value_max_bytes =
            draw(scenario, 0, 3) == 0 && !scenario->limited ? draw(scenario, 1000, 100000) : 200,
        .large_bytes = LARGE_BYTES_MIN,
        .slow = sometimes(scenario, 30000),
        .floods = draw(scenario, 0, 7) == 0 ? (unsigned)draw(scenario, 10000, 60000) : 0,
        .several_shards = draw(scenario, 0, 4) > 0,
        .transactions = draw(scenario, 0, 4) > 0 && has_command(scenario, BYTES("multi")),
        .deletes = draw(scenario, 0, 2) == 0,
        .flushes = draw(scenario, 0, 5) == 0,
        .troubles = draw(scenario, 0, 3) == 0,
        .mortal = draw(scenario, 0, 1) == 0,
        .pauses = draw(scenario, 0, 3) == 0,
        .moves = draw(scenario, 0, 2) == 0 && has_command(scenario, BYTES("debug")),
        .views = draw(scenario, 0, 2) == 0 && has_command(scenario, BYTES("debug")),
        .queues = draw(scenario, 0, 1) == 0,
        .topics = scenario->topics,
        .bags = seed % 4 == 3, /* not drawn: other runs stay what they were */
        .wholes = seed % 8 == 4,
        .unblocks = draw(scenario, 0, 2) == 0,
        .scripts = seed % 4 == 2, /* nor these */
        .dirty_alone = seed % 8 == 2,
        .caches = seed % 16 == 0 || seed % 16 == 6 || seed % 16 == 10,
    };
    users.order = users.troubles ? HISTORY_RELAXED : scenario->order; /* those set it, too */
    users.bags &= users.several_shards;
    users.views &= !users.pauses; /* DEBUG is no command that writes, whatever it has others do */
    scenario->mortal = users.mortal;
    /* Half of a script may be done when its next call is refused. */
    scenario->refuses = draw(scenario, 0, 2) == 0 && !users.scripts;
    users.trails = users.order != HISTORY_RELAXED && !users.moves && !scenario->refuses;
    for (unsigned i = 0; i < scenario->servers; i++) {
        users.server = i;
        scenario->users[i] = users_new(scenario->world, &users);
    }
    world_on_turn(scenario->world, look, scenario);
    scenario->abrupt = draw(scenario, 0, 9) == 0;
    scenario->strike_every_ns = draw(scenario, 0, 2) == 0 ? draw(scenario, MS, 300 * MS) : 0;
}

/* ---- The actor ---- */

static void act(void *arg, uint64_t token) {
    struct scenario *scenario = arg;
    if (scenario->calm) {
        return;
    }
    if (draw(scenario, 0, 9) == 0 && !scenario->mortal) {
        sim_jump_wall(scenario->sim, (int64_t)draw(scenario, 0, 20000) - 10000);
    } else {
        struct users *users = scenario->users[draw(scenario, 0, scenario->servers - 1)];
        unsigned index = (unsigned)rng_below(&scenario->rng, users_count(users));
        users_strike(users, index, (enum user_fate)draw(scenario, 0, FATE_COUNT - 1));
    }
    sim_after(scenario->sim, draw(scenario, 1, 2 * scenario->strike_every_ns), act, scenario, 0);
}

/* As DEBUG REFUSE does, but at this worker's moment: one of them says no for a while, mostly none.
 */
static void refuse(void *arg, uint64_t token) {
    struct scenario *scenario = arg;
    for (unsigned i = 0; i < scenario->servers; i++) {
        const struct server *server = world_server(scenario->world, i);
        unsigned one = (unsigned)draw(scenario, 0, 4 * server->workers_count);
        for (unsigned j = 0; j < server->workers_count; j++) {
            bool says_no = j == one && !scenario->calm;
            check_owner_refuses(server->workers[j], says_no ? USERS_REFUSED : NULL, false);
        }
    }
    if (!scenario->calm) {
        sim_after(scenario->sim, draw(scenario, 1, 3 * MS), refuse, scenario, 0);
    }
}

/* ---- The acts ---- */

#define EACH_SERVER(scenario, i) for (unsigned i = 0; i < (scenario)->servers; i++)

static bool all_sent(void *arg) {
    const struct scenario *scenario = arg;
    bool all = true;
    EACH_SERVER(scenario, i) {
        all &= users_idle(scenario->users[i]);
    }
    return all;
}

static bool all_done(void *arg) {
    const struct scenario *scenario = arg;
    bool all = true;
    EACH_SERVER(scenario, i) {
        all &= users_done(scenario->users[i]);
    }
    return all;
}

static bool never(void *arg) {
    return false;
}

static bool no_sockets(void *arg) {
    return sim_connections(((struct scenario *)arg)->sim) == 0;
}

static bool stopped(void *arg) {
    const struct scenario *scenario = arg;
    bool all = true;
    EACH_SERVER(scenario, i) {
        all &= world_stopped(scenario->world, i);
    }
    return all;
}

static void fail_waiting(struct scenario *scenario, const char *what) __attribute__((noreturn));

static void fail_waiting(struct scenario *scenario, const char *what) {
    struct text text;
    text_init(&text);
    EACH_SERVER(scenario, i) {
        users_describe(scenario->users[i], &text);
    }
    char line[800];
    snprintf(line, sizeof line, "%.790s", text.ptr);
    text_fini(&text);
    world_fail(scenario->world, "%s:%s", what, line);
}

static void stop_all(struct scenario *scenario) {
    struct world *world = scenario->world;
    EACH_SERVER(scenario, i) {
        world_stop(world, i);
    }
    if (!world_run(world, sim_now_ns(scenario->sim) + END_MAX, stopped, scenario)) {
        world_fail(world, "a server does not stop");
    }
}

/* Nobody has finished; still every worker ends, and leaves no connection and no lock. */
static void stop_abruptly(struct scenario *scenario) {
    struct world *world = scenario->world;
    world_run(world, sim_now_ns(scenario->sim) + draw(scenario, 1, 300 * MS), all_sent, scenario);
    stop_all(scenario);
    world_check_stopped(world);
    EACH_SERVER(scenario, i) {
        users_leave(scenario->users[i]);
    }
}

static void play(struct scenario *scenario) {
    struct world *world = scenario->world;
    struct sim *sim = scenario->sim;
    if (scenario->strike_every_ns > 0) {
        sim_after(sim, scenario->strike_every_ns, act, scenario, 0);
    }
    if (scenario->refuses) {
        sim_after(sim, draw(scenario, 1, 20 * MS), refuse, scenario, 0);
    }
    if (scenario->abrupt) {
        stop_abruptly(scenario);
        return;
    }
    world_run(world, sim_now_ns(sim) + TROUBLE_MAX, all_sent, scenario);
    sim_note(sim, "calm", 0, 0, 0);
    scenario->calm = true;
    if (scenario->refuses) {
        refuse(scenario, 0);
    }
    world_calm(world);
    sim_set_faults(sim, &(struct sim_faults){.latency_min_ns = 1000, .latency_max_ns = 50000});
    EACH_SERVER(scenario, i) {
        users_finish(scenario->users[i]);
    }
    if (!world_run(world, sim_now_ns(sim) + CALM_MAX, all_done, scenario)) {
        fail_waiting(scenario, "not every user got its answers");
    }
    EACH_SERVER(scenario, i) {
        users_check(scenario->users[i]);
    }
    /* What was still on its way from those who were cut off arrives before all is deleted. */
    if (!world_run(world, sim_now_ns(sim) + END_MAX, no_sockets, scenario)) {
        world_fail(world, "%u connections stay", sim_connections(sim));
    }
    world_run(world, sim_now_ns(sim) + 100 * MS, never, scenario);
    EACH_SERVER(scenario, i) {
        users_sweep(scenario->users[i]);
    }
    if (!world_run(world, sim_now_ns(sim) + CALM_MAX, all_done, scenario)) {
        fail_waiting(scenario, "nobody could delete everything");
    }
    if (!world_run(world, sim_now_ns(sim) + END_MAX, no_sockets, scenario)) {
        world_fail(world, "%u connections stay", sim_connections(sim));
    }
    world_run(world, sim_now_ns(sim) + 300 * MS, never, scenario);
    world_check_idle(world);
    world_check_empty(world);
    stop_all(scenario);
}

const bool scenario_leaks = false;
const unsigned reached_count = REACHED_COUNT;
const uint64_t reached_with_log = 0;

const char *reached_name(unsigned reached) {
    static const char *const names[REACHED_COUNT] = {
        [REACHED_TRANSACTIONS] = "transactions",
        [REACHED_REFUSALS] = "refused numbers",
        [REACHED_LOCK_WAITS] = "waits for a lock",
        [REACHED_HOPS] = "operations on another shard",
        [REACHED_ACCEPT_ERRORS] = "failed accepts",
        [REACHED_SHORT_SENDS] = "short sends",
        [REACHED_NO_BUFFER] = "receives without a buffer",
        [REACHED_WAKES] = "wake-ups",
        [REACHED_EXECS_REFUSED] = "refused EXECs",
        [REACHED_LARGE_VALUES] = "large values",
        [REACHED_PAUSES] = "looks during a pause",
        [REACHED_UNBLOCKED] = "unblocked clients",
        [REACHED_EXPIRED] = "expired keys",
        [REACHED_TIMES_MOVED] = "times moved",
        [REACHED_MOVED] = "operations that followed their slot",
        [REACHED_CUTS] = "turns that left a batch",
        [REACHED_FULL_CLIENTS] = "turns with a full client",
        [REACHED_OUT_OF_TURN] = "turns with replies out of turn",
        [REACHED_REFUSED] = "refused commands",
        [REACHED_FOUND] = "looks that found a message",
        [REACHED_PARKED] = "turns of parked workers",
        [REACHED_WAITED] = "waits that ended with an element",
        [REACHED_WAITED_LONG] = "waits that ended without",
        [REACHED_BEHIND] = "waits behind others",
        [REACHED_HANDED] = "entries that groups have handed out",
        [REACHED_POPPED] = "members popped from sets",
        [REACHED_SET_MOVES] = "members moved from set to set",
        [REACHED_NEAR] = "searches of a map that were stored",
        [REACHED_TOLD] = "messages",
        [REACHED_EVENTS] = "keyspace events",
        [REACHED_VISITS] = "visits to workers that slept",
        [REACHED_SCRIPTS] = "scripts",
        [REACHED_SEALS] = "sealed shards",
        [REACHED_WHOLES] = "transactions about whole databases",
        [REACHED_TOLD_CHANGED] = "invalidations",
        [REACHED_OWN_ROUNDS] = "rounds of visitors in between",
        [REACHED_SECURE] = "connections within TLS",
        [REACHED_STEPS] = "steps of handshakes",
    };
    return names[reached];
}

static void add_reached(const struct worker *worker, uint64_t sums[REACHED_COUNT]) {
    const struct rt_stats *rt = rt_get_stats(worker->rt);
    sums[REACHED_TRANSACTIONS] += worker->stats.txns;
    sums[REACHED_REFUSALS] += worker->stats.txn_refusals;
    sums[REACHED_LOCK_WAITS] += worker->stats.lock_waits;
    sums[REACHED_HOPS] += worker->stats.ops_away;
    sums[REACHED_SEALS] += worker->stats.seals;
    sums[REACHED_MOVED] += worker->stats.ops_moved;
    sums[REACHED_EXPIRED] += keyspace_stats(worker->shard.keyspace)->expired_keys;
    sums[REACHED_TIMES_MOVED] += worker->stats.txn_times_moved;
    sums[REACHED_ACCEPT_ERRORS] += rt->accept_errors;
    sums[REACHED_SHORT_SENDS] += rt->short_sends;
    sums[REACHED_NO_BUFFER] += rt->buffers_exhausted;
    sums[REACHED_WAKES] += post_get_stats(worker->server->office, worker->id).wakes;
}

void scenario_run(uint64_t seed, bool log, void (*print)(void *arg, const char *line), void *arg,
                  struct scenario_result *ret) {
    memset(ret, 0, sizeof *ret);
    struct scenario *scenario = calloc(1, sizeof *scenario);
    check(scenario != NULL);
    rng_seed(&scenario->rng, seed * 0x9e3779b97f4a7c15u + 1);
    start(scenario, seed, print, arg);
    uint64_t start_ns = sim_now_ns(scenario->sim);
    ret->ok = setjmp(*world_failure(scenario->world)) == 0;
    if (ret->ok) {
        play(scenario);
    } else {
        snprintf(ret->reason, sizeof ret->reason, "%s", world_reason(scenario->world));
    }
    ret->hash = sim_trace_hash(scenario->sim);
    ret->events = sim_trace_events(scenario->sim);
    EACH_SERVER(scenario, i) {
        const struct users_counts *counts = users_counts(scenario->users[i]);
        ret->answered += counts->answered;
        ret->reached[REACHED_EXECS_REFUSED] += counts->execs_refused;
        ret->reached[REACHED_SECURE] += counts->secure;
        ret->reached[REACHED_LARGE_VALUES] += counts->large_values;
        ret->reached[REACHED_PAUSES] += counts->stood;
        ret->reached[REACHED_UNBLOCKED] += counts->unblocked;
        ret->reached[REACHED_REFUSED] += counts->refused;
        ret->reached[REACHED_WAITED] += counts->waited;
        ret->reached[REACHED_WAITED_LONG] += counts->waited_long;
        ret->reached[REACHED_BEHIND] += counts->behind;
        ret->reached[REACHED_HANDED] += counts->handed;
        ret->reached[REACHED_POPPED] += counts->popped;
        ret->reached[REACHED_SET_MOVES] += counts->moved;
        ret->reached[REACHED_NEAR] += counts->near;
        ret->reached[REACHED_TOLD] += counts->told;
        ret->reached[REACHED_SCRIPTS] += counts->scripts;
        ret->reached[REACHED_WHOLES] += counts->wholes;
        ret->reached[REACHED_TOLD_CHANGED] += counts->told_changed;
        ret->reached[REACHED_EVENTS] += counts->events;
        ret->refuted |= users_refuted(scenario->users[i]);
        const struct server *server = world_server(scenario->world, i);
        for (unsigned j = 0; j < server->workers_count; j++) {
            add_reached(server->workers[j], ret->reached);
        }
    }
    const struct world_counts *counts = world_counts(scenario->world);
    ret->reached[REACHED_CUTS] = counts->cut;
    ret->reached[REACHED_FULL_CLIENTS] = counts->full;
    ret->reached[REACHED_OUT_OF_TURN] = counts->out_of_turn;
    ret->reached[REACHED_FOUND] = counts->found;
    ret->reached[REACHED_PARKED] = counts->parked;
    ret->reached[REACHED_VISITS] = counts->visits;
    ret->reached[REACHED_OWN_ROUNDS] = counts->own_rounds;
    ret->reached[REACHED_STEPS] = scenario->steps;
    ret->virtual_ns = sim_now_ns(scenario->sim) - start_ns;
    if (ret->ok) { /* else it is in the middle of something */
        EACH_SERVER(scenario, i) {
            users_free(scenario->users[i]);
        }
        world_free(scenario->world);
    }
    tls_stand_in_on_step(NULL, NULL);
    free(scenario);
}
