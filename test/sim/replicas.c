/* SPDX-License-Identifier: BSD-3-Clause */
/* replicas: a scenario for main.c: two to four whole servers on one network, one of them the
 * primary of the others, directly or in a chain, and users that write to it, wait for replicas and
 * read from them. Meanwhile links break, die without a word or are cut for a while; replicas save,
 * end by force, lose power, are stopped, and start again from what their disks have left; and the
 * primary hands over, is stopped, ends by force or is only cut off, and somebody else takes over.
 *
 * What must be true (chronicle.h judges states):
 *
 *     a replica shows no state but one that the primary had, key by key, no part of a transaction,
 *       and what WAIT had said that all have
 *     who takes over has a prefix of what was done, and in it all that WAIT had said; after
 *       FAILOVER, and after a primary that was stopped has started again, all that was answered
 *     when nothing is in the way any more all get to the same data at the same offset, and none
 *       has answered its primary with an error
 *
 * What is not promised, and not there when another takes over, is lost; so nobody takes over who
 * has not got the stream of the primary at hand since.
 */
#include "test/sim/scenario.h"

#include "base/check.h"
#include "base/must.h"
#include "server/replication/primary.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"
#include "test/sim/replicas_private.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is asked of healthy servers takes no longer. */
#define PATIENCE (120 * SECOND)
#define LOOK_NS  (MS / 2)

const unsigned reached_count = CAME_REPLICAS_COUNT;
const uint64_t reached_with_log = 0;
const bool scenario_leaks = true;

const char *reached_name(unsigned reached) {
    static const char *const names[CAME_REPLICAS_COUNT] = {
        [CAME_WAITED] = "WAITs for all",
        [CAME_WAITED_IN_VAIN] = "in vain",
        [CAME_READ_THERE] = "reads of replicas",
        [CAME_READ_PROMISED] = "with something promised",
        [CAME_CUTS] = "partitions",
        [CAME_BROKEN_LINKS] = "broken links",
        [CAME_KILLED_REPLICAS] = "replicas killed",
        [CAME_STOPPED_REPLICAS] = "stopped",
        [CAME_SAVED] = "saves of replicas",
        [CAME_MOVED] = "replicas of replicas",
        [CAME_KILLED_PRIMARIES] = "primaries killed",
        [CAME_STOPPED_PRIMARIES] = "stopped and started again",
        [CAME_PROMOTED] = "promotions",
        [CAME_HANDED_OVER] = "FAILOVERs",
        [CAME_NOT_HANDED_OVER] = "that came to nothing",
        [CAME_FULL] = "full syncs",
        [CAME_PARTIAL] = "partial ones",
        [CAME_AFTER_START] = "of these after a start",
        [CAME_PROMISED_AT_TAKEOVER] = "takeovers with something promised",
        [CAME_LOST] = "known writes lost that were not promised",
        [CAME_KNOWN_AT_END] = "writes known in the end",
    };
    return names[reached];
}

void replicas_wrong(struct replicas_run *run) {
    world_fail(run->world, "%s", run->why.ptr);
}

/* ---- Servers, as they are ---- */

bool replicas_is_up(const struct replicas_run *run, unsigned i) {
    return world_is_up(run->world, i) && !world_loads(run->world, i);
}

static void state_of(const struct replicas_run *run, unsigned i, struct primary_state *ret) {
    primary_state(world_server(run->world, i)->primary, ret);
    upstream_state(world_server(run->world, i)->upstream, &ret->upstream);
    primary_state_fini(ret); /* the lists in it, which nobody wants here */
}

/* It follows, and what it has is of the primary's stream. */
static bool is_with_primary(const struct replicas_run *run, unsigned i) {
    struct primary_state state, primary;
    if (!replicas_is_up(run, i) || !replicas_is_up(run, run->primary)) {
        return false;
    }
    state_of(run, i, &state);
    state_of(run, run->primary, &primary);
    return state.replica && state.upstream.up && !state.upstream.lacks && !primary.replica &&
           strcmp(state.id, primary.id) == 0;
}

static void count_syncs(struct replicas_run *run, unsigned i) {
    struct primary_state state;
    struct member *node = &run->nodes[i];
    if (!world_is_up(run->world, i)) {
        return;
    }
    state_of(run, i, &state);
    run->reached[CAME_FULL] += state.full_syncs - node->fulls;
    run->reached[CAME_PARTIAL] += state.partial_syncs - node->partials;
    node->fulls = state.full_syncs;
    node->partials = state.partial_syncs;
}

static bool is_level(const struct replicas_run *run, unsigned i) {
    struct primary_state state, primary;
    if (!is_with_primary(run, i)) {
        return false;
    }
    state_of(run, i, &state);
    state_of(run, run->primary, &primary);
    return state.offset == primary.offset;
}

static void look_at_nodes(struct replicas_run *run) {
    uint64_t now_ns = sim_now_ns(run->sim);
    if (now_ns < run->looked_ns + LOOK_NS) {
        return;
    }
    run->looked_ns = now_ns;
    for (unsigned i = 0; i < run->servers; i++) {
        struct member *node = &run->nodes[i];
        count_syncs(run, i);
        if (i != run->primary && !node->joined && is_with_primary(run, i)) {
            struct upstream_state link;
            upstream_state(world_server(run->world, i)->upstream, &link);
            run->reached[CAME_AFTER_START] += node->starts && link.received == 0;
            node->joined = true;
            node->level = node->starts = false;
            sim_note(run->sim, "joins", i, run->epoch, 0);
        }
        node->level |= run->acks && node->joined && !node->level && is_level(run, i);
    }
}

/* ---- Time passes ---- */

struct until {
    struct replicas_run *run;
    bool (*done)(struct replicas_run *run, void *arg);
    void *arg;
};

static bool step(void *arg) {
    const struct until *until = arg;
    struct replicas_run *run = until->run;
    look_at_nodes(run);
    for (unsigned i = 0; i < run->users_count; i++) {
        user_goes_on(&run->users[i]);
    }
    return until->done(run, until->arg);
}

static bool pass(struct replicas_run *run, uint64_t ns,
                 bool (*done)(struct replicas_run *run, void *arg), void *arg) {
    struct until until = {.run = run, .done = done, .arg = arg};
    return world_run(run->world, sim_now_ns(run->sim) + ns, step, &until);
}

static bool never(struct replicas_run *run, void *arg) {
    (void)run, (void)arg;
    return false;
}

static void let_pass(struct replicas_run *run, uint64_t ns) {
    pass(run, ns, never, NULL);
}

static bool is_stopped(struct replicas_run *run, void *arg) {
    return world_stopped(run->world, *(unsigned *)arg);
}

static bool has_started(struct replicas_run *run, void *arg) {
    return replicas_is_up(run, *(unsigned *)arg);
}

static bool all_answered(struct replicas_run *run, void *arg) {
    (void)arg;
    for (unsigned i = 0; i < run->users_count; i++) {
        if (run->users[i].count > 0) {
            return false;
        }
    }
    return true;
}

/* ---- Orders: somebody asks, and waits for the answer, again if the connection breaks ---- */

struct errand {
    unsigned server;
    struct text request, in;
    unsigned replies;
    struct sim_peer *peer;
    size_t sent, left;
    struct wire_value value; /* in an arena of its own */
    struct arena arena;
};

static void order_ends(struct errand *order) {
    if (order->peer != NULL) {
        sim_peer_close(order->peer);
        order->peer = NULL;
    }
    text_clear(&order->in);
}

static bool order_goes_on(struct replicas_run *run, void *arg) {
    struct errand *order = arg;
    if (order->peer == NULL) {
        if (!replicas_is_up(run, order->server) ||
            sim_dial(run->sim, world_port(run->world, order->server), &order->peer) != 0) {
            order->peer = NULL;
            return false;
        }
        order->sent = 0;
        order->left = order->replies;
    }
    while (order->sent < order->request.len) {
        ssize_t n = sim_peer_write(order->peer, order->request.ptr + order->sent,
                                   order->request.len - order->sent);
        if (n <= 0) {
            break;
        }
        order->sent += (size_t)n;
    }
    bool stays = peer_receive(order->peer, &order->in);
    size_t used = 0;
    while (order->left > 0) {
        arena_reset(&order->arena);
        ssize_t n = value_read(bytes_make(order->in.ptr + used, order->in.len - used),
                               &order->arena, &order->value);
        check(n >= 0);
        if (n == 0) {
            break;
        }
        used += (size_t)n;
        order->left--;
    }
    if (order->left == 0) {
        return true;
    }
    memmove(order->in.ptr, order->in.ptr + used, order->in.len - used);
    order->in.len -= used;
    if (!stays) {
        order_ends(order);
    }
    return false;
}

static void order_init(struct errand *order, unsigned server) {
    *order = (struct errand){.server = server, .replies = 1};
    text_init(&order->request);
    text_init(&order->in);
    arena_init(&order->arena, 4096);
}

static void order_fini(struct errand *order) {
    order_ends(order);
    text_fini(&order->request);
    text_fini(&order->in);
    arena_fini(&order->arena);
}

static void order_run(struct replicas_run *run, struct errand *order) {
    if (!pass(run, PATIENCE, order_goes_on, order)) {
        world_fail(run->world, "server %u does not answer: %.60s", order->server,
                   order->request.ptr);
    }
}

/* True: it was answered with OK. */
static bool tell(struct replicas_run *run, unsigned server, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool tell(struct replicas_run *run, unsigned server, const char *format, ...) {
    struct errand order;
    char line[128];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    sim_tell(run->sim, "tell %u: %s", server, line);
    order_init(&order, server);
    wire_requestf(&order.request, "%s", line);
    order_run(run, &order);
    bool ok = order.value.type == '+';
    if (!ok) {
        sim_tell(run->sim, "it says %.*s", bytes_precision(order.value.text), order.value.text.ptr);
    }
    order_fini(&order);
    return ok;
}

/* What a server has, when nobody writes there. */
static void read_all(struct replicas_run *run, struct errand *order, unsigned server) {
    order_init(order, server);
    do {
        text_clear(&order->request);
        chronicle_read(&order->request, &order->replies);
        order_run(run, order);
        order_ends(order);
    } while (order->value.type == '-');
}

/* ---- Roles ---- */

static void follow(struct replicas_run *run, unsigned i, unsigned whom) {
    world_follow(run->world, i, (int)whom);
    run->nodes[i].follows = whom;
    if (world_is_up(run->world, i)) {
        tell(run, i, "REPLICAOF 127.0.0.1 %u", world_port(run->world, whom));
    }
}

static void forget_node(struct replicas_run *run, unsigned i) {
    run->nodes[i].joined = run->nodes[i].level = false;
    run->nodes[i].has_ns = 0;
}

/* Somebody that has the stream; or run->servers. */
static unsigned some_joined(struct replicas_run *run) {
    unsigned first = (unsigned)draw(run, 0, run->servers - 1);
    for (unsigned n = 0; n < run->servers; n++) {
        unsigned i = (first + n) % run->servers;
        if (i != run->primary && run->nodes[i].joined && replicas_is_up(run, i)) {
            return i;
        }
    }
    return run->servers;
}

/* Any that is not the primary. */
static unsigned some_other(struct replicas_run *run) {
    return (run->primary + (unsigned)draw(run, 1, run->servers - 1)) % run->servers;
}

uint64_t replicas_must(const struct replicas_run *run, unsigned i) {
    const struct member *node = &run->nodes[i];
    return run->acks && node->level ? sim_now_ns(run->sim) : node->has_ns;
}

/* From now on that is the primary, and what it has the truth. */
static void takes_over(struct replicas_run *run, unsigned who, uint64_t must_ns) {
    struct errand order;
    run->epoch++;
    run->halted = true;
    run->primary = who;
    world_follow(run->world, who, -1);
    if (run->acks) { /* what has run out there meanwhile is not acknowledged by anybody */
        tell(run, who, "CONFIG SET replicas-ack 0");
    }
    read_all(run, &order, who);
    struct chronicle_claim claim = {.at_rest = true, .must_ns = must_ns};
    run->reached[CAME_PROMISED_AT_TAKEOVER] += must_ns > 0;
    if (!chronicle_judge(run->chronicle, &claim, &order.value, &run->why)) {
        text_appendf(&run->why, " (server %u takes over)", who);
        replicas_wrong(run);
    }
    run->reached[CAME_LOST] += chronicle_settle(run->chronicle, &order.value);
    order_fini(&order);
    for (unsigned i = 0; i < run->servers; i++) {
        forget_node(run, i);
    }
    if (run->acks) {
        tell(run, who, "CONFIG SET replicas-ack 1");
    }
    run->halted = false;
}

static void all_follow(struct replicas_run *run) {
    for (unsigned i = 0; i < run->servers; i++) {
        if (i != run->primary) {
            follow(run, i, run->primary);
        }
    }
}

static void start(struct replicas_run *run, unsigned i) {
    run->nodes[i].fulls = run->nodes[i].partials = 0;
    if (!world_start(run->world, i)) {
        char reason[512];
        snprintf(reason, sizeof reason, "%.500s", world_reason(run->world));
        world_fail(run->world, "server %u does not start: %s", i, reason);
    }
    if (!pass(run, PATIENCE, has_started, &i)) {
        world_fail(run->world, "server %u does not load", i);
    }
    run->nodes[i].starts = true;
}

static void start_all(struct replicas_run *run) {
    for (unsigned i = 0; i < run->servers; i++) {
        if (!world_is_up(run->world, i)) {
            start(run, i);
        }
    }
}

static void stop(struct replicas_run *run, unsigned i) {
    world_signal(run->world, i, SIGTERM);
    if (!pass(run, PATIENCE, is_stopped, &i)) {
        world_fail(run->world, "server %u does not stop", i);
    }
}

static void crash(struct replicas_run *run, unsigned i) {
    world_crash(run->world, i, one_in(run, 2) ? SIM_CRASH_KILL : SIM_CRASH_POWER);
    forget_node(run, i);
}

/* ---- Trouble ---- */

static void partition(struct replicas_run *run) {
    unsigned who = (unsigned)draw(run, 0, run->servers - 1);
    run->reached[CAME_CUTS]++;
    for (unsigned i = 0; i < run->servers; i++) {
        if (i != who && !one_in(run, 3)) {
            world_part(run->world, who, i, true);
        }
    }
    let_pass(run, draw(run, 1, one_in(run, 2) ? 100 * MS : 6 * SECOND));
}

static void heal(struct replicas_run *run) {
    for (unsigned i = 0; i < run->servers; i++) {
        for (unsigned j = 0; j < i; j++) {
            world_part(run->world, i, j, false);
        }
    }
}

static void break_links(struct replicas_run *run) {
    for (unsigned n = (unsigned)draw(run, 1, 5); n > 0; n--) {
        world_break(run->world, run->primary, some_other(run));
        run->reached[CAME_BROKEN_LINKS]++;
        let_pass(run, draw(run, 1, one_in(run, 2) ? 50 * MS : 1500 * MS));
    }
}

static void replica_ends(struct replicas_run *run) {
    unsigned who = some_other(run);
    if (!replicas_is_up(run, who)) {
        return;
    }
    if (one_in(run, 2)) {
        tell(run, who, one_in(run, 2) ? "SAVE" : "BGSAVE");
        run->reached[CAME_SAVED]++;
        let_pass(run, draw(run, 1, 100 * MS));
    }
    if (one_in(run, 3)) {
        run->reached[CAME_STOPPED_REPLICAS]++;
        stop(run, who);
        forget_node(run, who);
    } else {
        run->reached[CAME_KILLED_REPLICAS]++;
        crash(run, who);
    }
    let_pass(run, draw(run, 1, 1 * SECOND));
    start(run, who);
}

/* One that follows another replica from now on. */
static void chain(struct replicas_run *run) {
    unsigned who = some_other(run), whom = some_joined(run);
    bool direct = whom < run->servers && run->nodes[whom].follows == run->primary;
    if (direct && who != whom && replicas_is_up(run, who)) { /* so nobody follows himself */
        run->reached[CAME_MOVED]++;
        follow(run, who, whom);
    }
}

/* The primary is there, or has been killed; whatever it does from now on is nothing. */
static void promote(struct replicas_run *run, bool kills) {
    unsigned who = some_joined(run), old = run->primary;
    if (who == run->servers) {
        return;
    }
    if (kills) {
        run->reached[CAME_KILLED_PRIMARIES]++;
        crash(run, old);
        let_pass(run, draw(run, 0, 200 * MS));
    }
    if (!tell(run, who, "REPLICAOF NO ONE")) {
        world_fail(run->world, "server %u is not promoted", who);
    }
    run->reached[CAME_PROMOTED]++;
    takes_over(run, who, replicas_must(run, who));
    if (one_in(run, 2)) {
        let_pass(run, draw(run, 1, 300 * MS));
    }
    all_follow(run);
}

static bool has_handed_over(struct replicas_run *run, void *arg) {
    struct primary_state state;
    (void)arg;
    state_of(run, run->primary, &state);
    return state.failover == FAILOVER_NONE;
}

static bool is_primary(struct replicas_run *run, void *arg) {
    struct primary_state state;
    unsigned i = *(unsigned *)arg;
    state_of(run, i, &state);
    return !state.replica;
}

static void hand_over(struct replicas_run *run) {
    unsigned who = some_joined(run);
    if (who < run->servers && one_in(run, 4)) { /* they lose each other just now */
        world_part(run->world, run->primary, who, true);
    }
    if (who == run->servers || !tell(run, run->primary, "FAILOVER TO 127.0.0.1 %u TIMEOUT 3000",
                                     world_port(run->world, who))) {
        return;
    }
    pass(run, 4 * SECOND, has_handed_over, NULL);
    heal(run);
    if (!pass(run, PATIENCE, has_handed_over, NULL)) {
        world_fail(run->world, "FAILOVER does not end");
    }
    if (is_primary(run, &run->primary)) {
        run->reached[CAME_NOT_HANDED_OVER]++;
        return;
    }
    run->reached[CAME_HANDED_OVER]++;
    if (!is_primary(run, &who)) {
        world_fail(run->world, "server %u was handed over to, and is a replica", who);
    }
    takes_over(run, who, sim_now_ns(run->sim));
    all_follow(run);
}

/* It has saved, and goes on as what it was. */
static void primary_stops(struct replicas_run *run) {
    run->reached[CAME_STOPPED_PRIMARIES]++;
    stop(run, run->primary);
    run->halted = true;
    start(run, run->primary);
    takes_over(run, run->primary, sim_now_ns(run->sim));
}

static void trouble(struct replicas_run *run) {
    switch (draw(run, 0, 9)) {
    case 0:
        partition(run);
        break;
    case 1:
    case 2:
        break_links(run);
        break;
    case 3:
    case 4:
        replica_ends(run);
        break;
    case 5:
        chain(run);
        break;
    case 6:
        promote(run, true);
        break;
    case 7:
        promote(run, false);
        break;
    case 8:
        hand_over(run);
        break;
    case 9:
        primary_stops(run);
        break;
    }
}

/* ---- The end ---- */

static bool all_have_all(struct replicas_run *run, void *arg) {
    (void)arg;
    for (unsigned i = 0; i < run->servers; i++) {
        if (i != run->primary && !is_level(run, i)) {
            return false;
        }
    }
    return true;
}

static void no_errors(struct replicas_run *run) {
    for (unsigned i = 0; i < run->servers; i++) {
        const struct server *server = world_server(run->world, i);
        for (unsigned j = 0; server != NULL && j < server->workers_count; j++) {
            if (server->workers[j]->stats.unexpected_errors > 0) {
                world_fail(run->world, "server %u has answered its primary with an error", i);
            }
        }
    }
}

static void digest(struct replicas_run *run, unsigned i, struct text *ret) {
    struct errand order;
    order_init(&order, i);
    wire_requestf(&order.request, "DEBUG DIGEST");
    order_run(run, &order);
    text_clear(ret);
    text_append_bytes(ret, order.value.text);
    order_fini(&order);
}

/* What runs out meanwhile is on its way. */
static bool are_same(struct replicas_run *run) {
    struct text first, other;
    text_init(&first);
    text_init(&other);
    digest(run, run->primary, &first);
    bool same = true;
    for (unsigned i = 0; i < run->servers; i++) {
        digest(run, i, &other);
        same &= bytes_equal(text_bytes(&first), text_bytes(&other));
    }
    text_fini(&first);
    text_fini(&other);
    return same;
}

static void converge(struct replicas_run *run) {
    static const struct sim_faults calm = {.latency_min_ns = 1000, .latency_max_ns = 20000};
    heal(run);
    sim_set_faults(run->sim, &calm);
    world_calm(run->world);
    start_all(run);
    let_pass(run, draw(run, 1, 300 * MS));
    run->working = false;
    if (!pass(run, PATIENCE, all_answered, NULL)) {
        world_fail(run->world, "not every user gets an answer");
    }
    if (!pass(run, PATIENCE, all_have_all, NULL)) {
        world_fail(run->world, "not all come to where the primary is");
    }
    for (unsigned i = 0; i < run->servers; i++) {
        struct errand order;
        struct chronicle_claim claim = {.at_rest = true, .must_ns = sim_now_ns(run->sim)};
        read_all(run, &order, i);
        if (!chronicle_judge(run->chronicle, &claim, &order.value, &run->why)) {
            text_appendf(&run->why, " (server %u in the end)", i);
            replicas_wrong(run);
        }
        order_fini(&order);
    }
    unsigned tries = 0;
    while (!are_same(run)) {
        if (++tries == 20) {
            world_fail(run->world, "the data of two servers differ in the end");
        }
        let_pass(run, SECOND);
    }
    no_errors(run);
    run->reached[CAME_KNOWN_AT_END] += chronicle_known(run->chronicle);
}

static bool all_joined(struct replicas_run *run, void *arg) {
    (void)arg;
    for (unsigned i = 0; i < run->servers; i++) {
        if (i != run->primary && !run->nodes[i].joined) {
            return false;
        }
    }
    return true;
}

static void play(struct replicas_run *run) {
    for (unsigned i = 0; i < run->servers; i++) {
        check(pass(run, PATIENCE, has_started, &i));
    }
    run->working = true;
    let_pass(run, draw(run, 1, 20 * MS));
    all_follow(run);
    sim_set_faults(run->sim, &run->faults);
    for (uint64_t rounds = draw(run, 2, 6); rounds > 0; rounds--) {
        pass(run, draw(run, 1, 3 * SECOND), one_in(run, 3) ? never : all_joined, NULL);
        let_pass(run, draw(run, 1, 60 * MS));
        trouble(run);
        no_errors(run);
        if (one_in(run, 2)) {
            heal(run);
            start_all(run);
        }
    }
    converge(run);
}

/* ---- A run ---- */

static void set(struct replicas_run *run, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void set(struct replicas_run *run, const char *name, const char *format, ...) {
    check(run->settings_count < SETTINGS_MAX);
    size_t i = run->settings_count++;
    va_list args;
    va_start(args, format);
    vsnprintf(run->texts[i], sizeof run->texts[i], format, args);
    va_end(args);
    run->settings[2 * i] = bytes_of_text(name);
    run->settings[2 * i + 1] = bytes_of_text(run->texts[i]);
}

static void make_settings(struct replicas_run *run) {
    set(run, "protected-mode", "no");
    set(run, "save", "3600 1000000"); /* a stop saves */
    set(run, "save-format", "%s", one_in(run, 3) ? "rdb" : "shoal");
    set(run, "repl-diskless-sync", "%s", one_in(run, 3) ? "no" : "yes");
    set(run, "repl-diskless-sync-delay", "0");
    set(run, "repl-diskless-load", "%s", one_in(run, 3) ? "swapdb" : "disabled");
    set(run, "repl-ping-replica-period", "1");
    set(run, "repl-timeout", "%u", (unsigned)draw(run, 2, 10));
    set(run, "repl-backlog-size", "%u", one_in(run, 3) ? 16384u : 1048576u);
    if (run->acks) {
        set(run, "replicas-ack", "1");
    }
    set(run, "shutdown-timeout", "%u", (unsigned)draw(run, 0, 3));
    if (run->log) {
        static const char *const fsyncs[] = {"no", "everysec", "always"};
        set(run, "appendonly", "yes");
        set(run, "appendfsync", "%s", fsyncs[draw(run, 0, 2)]);
    }
}

static unsigned sometimes(struct replicas_run *run, unsigned max) {
    return one_in(run, 4) ? (unsigned)draw(run, 1, max) : 0;
}

static void make_world(struct replicas_run *run, uint64_t seed, void (*print)(void *, const char *),
                       void *arg) {
    run->servers = (unsigned)draw(run, 2, SERVERS_MAX);
    run->acks = run->servers == 2 && one_in(run, 2);
    make_settings(run);
    run->disk = (struct sim_disk_options){.sector_bytes = 4096,
                                          .latency_min_ns = 1000,
                                          .latency_max_ns = draw(run, 2000, 100000),
                                          .sync_min_ns = 20000,
                                          .sync_max_ns = draw(run, 50000, 1000000)};
    run->faults = (struct sim_faults){.latency_min_ns = 1000,
                                      .latency_max_ns = draw(run, 5000, 500000),
                                      .split = sometimes(run, 20000),
                                      .short_send = sometimes(run, 20000),
                                      .short_receive = sometimes(run, 20000),
                                      .reset = sometimes(run, 40),
                                      .vanish = sometimes(run, 20),
                                      .stall = sometimes(run, 200),
                                      .stall_max_ns = 200 * MS,
                                      .defer = sometimes(run, 8000),
                                      .shuffle = sometimes(run, 30000)};
    struct world_options options = {
        .seed = seed,
        .servers = run->servers,
        .workers = (unsigned)draw(run, 1, 4),
        .settings = run->settings,
        .settings_count = run->settings_count,
        .recv_buffers = 64,
        .recv_buffer_bytes = one_in(run, 2) ? 2048 : 16384,
        .preempt = one_in(run, 2) ? (unsigned)draw(run, 100, 5000) : 0,
        .preempt_max_ns = 3 * MS,
        .slow_worker = (unsigned)draw(run, 0, 3),
        .slow_ns = one_in(run, 3) ? draw(run, 20000, 500000) : 0,
        .short_slices = one_in(run, 2),
        .disks = &run->disk,
        .sim = {.seed = seed * 0x2545f4914f6cdd1du + 9,
                .wake_with_submit = one_in(run, 2),
                .buffer_min_bytes = 4096,
                .buffer_max_bytes = 65536,
                .faults = {.latency_min_ns = 1000, .latency_max_ns = 20000},
                .print = print,
                .arg = arg},
    };
    run->world = world_new(&options);
    run->sim = world_sim(run->world);
    for (size_t i = 0; i < 2 * run->settings_count; i += 2) {
        sim_tell(run->sim, "%s %s", run->settings[i].ptr, run->settings[i + 1].ptr);
    }
}

static void make_users(struct replicas_run *run) {
    run->users_count = (unsigned)draw(run, 3, USERS_MAX);
    run->rest_ns = draw(run, 2, 40) * MS;
    for (unsigned i = 0; i < run->users_count; i++) {
        user_init(&run->users[i], run, i);
    }
}

void scenario_run(uint64_t seed, bool log, void (*print)(void *arg, const char *line), void *arg,
                  struct scenario_result *ret) {
    memset(ret, 0, sizeof *ret);
    struct replicas_run *run = must_calloc(1, sizeof *run);
    rng_seed(&run->rng, seed * 0x9e3779b97f4a7c15u + 5);
    run->log = log;
    make_world(run, seed, print, arg);
    arena_init(&run->arena, 4096);
    text_init(&run->why);
    run->chronicle = chronicle_new();
    make_users(run);
    uint64_t start_ns = sim_now_ns(run->sim);
    ret->ok = setjmp(*world_failure(run->world)) == 0;
    if (ret->ok) {
        play(run);
    } else {
        snprintf(ret->reason, sizeof ret->reason, "%s", world_reason(run->world));
    }
    memcpy(ret->reached, run->reached, sizeof run->reached);
    ret->hash = sim_trace_hash(run->sim);
    ret->events = sim_trace_events(run->sim);
    ret->answered = run->answered;
    ret->virtual_ns = sim_now_ns(run->sim) - start_ns;
}
