/* SPDX-License-Identifier: BSD-3-Clause */
/* farewell: see the header. The end itself is that of any SHUTDOWN or signal: it begins in a view
 * in which it is seen once more that nothing is under way and everybody has all.
 */
#include "server/replication/farewell.h"

#include "base/must.h"
#include "cluster/brain/map.h"
#include "persist/codec/rdb.h"
#include "server/call/exec.h"
#include "server/call/scatter.h"
#include "server/client/inner.h"
#include "server/observe/log.h"
#include "server/persistence/due.h"
#include "server/replication/feed.h"
#include "server/replication/primary.h"
#include "server/replication/upstream.h"
#include "server/server.h"
#include "server/txn/txn.h"
#include "server/worker/park.h"
#include "server/worker/pausing.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdlib.h>

/* For so long at least who takes over is waited for: whoever may, and then the one that is told. */
#define HEIR_MS 1000

enum stage {
    STAGE_NONE,
    STAGE_HOLDS,  /* writes are to stand still */
    STAGE_WAITS,  /* for replicas */
    STAGE_ENDS,   /* the server does, or saves before */
    STAGE_LETS_GO /* it does not: writes are to go on */
};

struct farewell {
    struct worker *home;
    enum stage stage;
    struct farewell_wish wish;
    int64_t until_ms;      /* monotonic */
    bool under_way;        /* a view is */
    bool told;             /* a replica was to take over, or there is none that can; */
    uint64_t told_offset;  /* that it was comes behind this; 0: nothing does */
    uint64_t asked_offset; /* replicas were asked there */
    uint64_t failures;
};

struct farewell *farewell_new(struct worker *home) {
    struct farewell *farewell = must_calloc(1, sizeof *farewell);
    farewell->home = home;
    return farewell;
}

void farewell_free(struct farewell *farewell) {
    free(farewell);
}

static struct primary *primary_of(const struct farewell *farewell) {
    return farewell->home->server->primary;
}

/* Of a voting primary; nobody else has anything to hand over. */
static bool hands_over(const struct worker *worker, const struct farewell_wish *wish) {
    const struct map *map = worker_map(worker);
    return wish->failover && map != NULL && map_i_vote(map);
}

bool farewell_is_needed(const struct worker *worker, const struct farewell_wish *wish) {
    const struct server *server = worker->server;
    bool waits = worker->config->shutdown_timeout > 0 && !wish->now;
    return hands_over(worker, wish) || (waits && shared_replicas(server->shared) > 0) ||
           (server->role.replica && wish->saves && !wish->now);
}

bool farewell_is_unsafe(const struct worker *worker, const struct farewell_wish *wish) {
    const struct map *map = worker_map(worker);
    return !wish->force && map != NULL && map_i_vote(map);
}

void farewell_log_unsafe(struct worker *worker) {
    log_worker(worker, LOG_WARNING,
               "This is a voting primary. Shutting down may cause the cluster to go down. Can't "
               "exit.");
    log_worker(worker, LOG_WARNING,
               "Errors trying to shut down the server. Check the logs for more information.");
}

bool farewell_is_under_way(const struct farewell *farewell) {
    return farewell->stage != STAGE_NONE;
}

int64_t farewell_left_ms(const struct farewell *farewell) {
    if (farewell->stage != STAGE_HOLDS && farewell->stage != STAGE_WAITS) {
        return -1;
    }
    int64_t left_ms = farewell->until_ms - rt_mono_ms(farewell->home->rt);
    return left_ms > 0 ? left_ms : 0;
}

bool farewell_is_over(const struct farewell *farewell, uint64_t began, bool *ret_failed) {
    *ret_failed = farewell->failures != began;
    return *ret_failed || farewell->home->loop.nobody_left;
}

static void wait_at_least(struct farewell *farewell, int64_t ms) {
    int64_t until_ms = rt_mono_ms(farewell->home->rt) + ms;
    farewell->until_ms = farewell->until_ms > until_ms ? farewell->until_ms : until_ms;
}

uint64_t farewell_begin(struct farewell *farewell, const struct farewell_wish *wish) {
    struct worker *home = farewell->home;
    if (farewell_is_under_way(farewell)) {
        return farewell->failures;
    }
    farewell->wish = *wish;
    farewell->stage = STAGE_HOLDS;
    farewell->asked_offset = farewell->told_offset = 0;
    farewell->told = !hands_over(home, wish);
    if (farewell->told && primary_is_alone(primary_of(farewell)) && wish->saves) { /* of replicas */
        farewell->stage = STAGE_ENDS;
        return farewell->failures;
    }
    farewell->until_ms = 0;
    wait_at_least(farewell, wish->now ? 0 : home->config->shutdown_timeout * 1000);
    wait_at_least(farewell, farewell->told ? 0 : HEIR_MS);
    if (!primary_all_have(primary_of(farewell))) {
        log_worker(home, LOG_NOTICE, "Waiting for replicas before shutting down.");
    }
    return farewell->failures;
}

/* Also of a signal, which may come again. */
static void fail(struct farewell *farewell) {
    farewell->stage = STAGE_LETS_GO;
    farewell->failures++;
    server_stays(farewell->home->server);
    scatter_wake(farewell->home);
}

bool farewell_abort(struct farewell *farewell) {
    if (farewell->stage != STAGE_HOLDS && farewell->stage != STAGE_WAITS) {
        return false;
    }
    log_worker(farewell->home, LOG_NOTICE, "Shutdown manually aborted.");
    fail(farewell);
    return true;
}

/* Behind all that was done. Replicas that are too old would not understand, and go on without. */
static void tell_heir(struct farewell *farewell) {
    struct worker *home = farewell->home;
    const struct primary *primary = primary_of(farewell);
    char id[MAP_ID_BYTES + 1];
    farewell->told = true;
    if (!primary_all_read(primary, RDB_VERSION_VALKEY)) {
        log_worker(home, LOG_NOTICE,
                   "Unable to perform auto failover on shutdown since there are legacy replicas.");
    } else if (!primary_find_node(primary, id)) {
        log_worker(home, LOG_NOTICE,
                   "Unable to find a replica to perform the auto failover on shutdown.");
    } else {
        const struct bytes words[] = {BYTES("CLUSTER"), BYTES("FAILOVER"), BYTES("FORCE"),
                                      BYTES("REPLICAID"), bytes_of_text(id)};
        log_worker(home, LOG_NOTICE, "Perform auto failover to replica %s on shutdown.", id);
        farewell->told_offset = primary_offset(primary);
        feed_publish(home, words, sizeof words / sizeof *words);
        wait_at_least(farewell, HEIR_MS);
    }
}

static bool is_late(const struct farewell *farewell) {
    return rt_mono_ms(farewell->home->rt) >= farewell->until_ms;
}

/* What it was told is in the stream. */
static bool heir_knows(const struct farewell *farewell) {
    const struct primary *primary = primary_of(farewell);
    return farewell->told_offset == 0 || primary_offset(primary) > farewell->told_offset;
}

/* ---- In a view ---- */

static void end(struct farewell *farewell, struct worker *parker) {
    struct worker *home = farewell->home;
    primary_log_laggards(primary_of(farewell));
    farewell->stage = STAGE_ENDS;
    if (!farewell->wish.saves) {
        server_shutdown(parker->server, home->rt);
    }
}

static void end_if_all_have(struct farewell *farewell, struct worker *parker) {
    const struct primary *primary = primary_of(farewell);
    /* The stream of a replica is its primary's, and goes on. */
    bool still = parker->server->role.replica || primary_is_still(primary, parker);
    bool all =
        primary_is_alone(primary) || (still && primary_all_have(primary) && heir_knows(farewell));
    all = all && pause_is_quiet(parker);
    if ((all || is_late(farewell)) && !farewell->told) {
        tell_heir(farewell);
    } else if (all || is_late(farewell)) {
        end(farewell, parker);
    }
}

static void run(struct exec *x, struct view *view, const void *args) {
    (void)view, (void)args;
    struct worker *parker = x->worker;
    struct farewell *farewell = parker->server->farewell;
    farewell->under_way = false;
    reply_ok(x->reply);
    switch (farewell->stage) {
    case STAGE_HOLDS:
        pause_hold(parker, PAUSE_FOR_SHUTDOWN);
        farewell->stage = STAGE_WAITS;
        end_if_all_have(farewell, parker);
        break;
    case STAGE_WAITS:
        end_if_all_have(farewell, parker);
        break;
    case STAGE_LETS_GO:
        pause_let_go(parker, PAUSE_FOR_SHUTDOWN);
        farewell->stage = STAGE_NONE;
        break;
    case STAGE_NONE:
    case STAGE_ENDS:
        break;
    }
}

static void look(struct exec *x) {
    char nothing = 0;
    if (txn_holds_all(x->client)) {
        park_all(x, run, &nothing, sizeof nothing);
    } else {
        txn_hold_all(x); /* it comes again then */
    }
}

static void save(struct exec *x) {
    if (txn_holds_all(x->client)) {
        save_and_shut_down(x, x->worker->server->farewell->wish.force);
    } else {
        txn_hold_all(x);
    }
}

/* ---- Turns ---- */

static bool wants_view(struct farewell *farewell) {
    struct primary *primary = primary_of(farewell);
    if (farewell->stage != STAGE_WAITS) {
        return true;
    }
    if (primary_is_alone(primary) || (primary_all_have(primary) && heir_knows(farewell)) ||
        is_late(farewell)) {
        return true;
    }
    if (primary_offset(primary) != farewell->asked_offset) {
        farewell->asked_offset = primary_ask(primary);
    }
    return false;
}

/* The save begins, if one is to be; and if it is over and the server has not ended it has failed.
 */
static void end_on(struct farewell *farewell) {
    struct worker *home = farewell->home;
    if (!farewell->wish.saves || home->loop.stopping) {
        return;
    }
    if (!farewell->under_way) {
        if (home->server->role.replica && !upstream_hold(home->server->upstream)) {
            return; /* what has come of the stream is being run */
        }
        home->loop.saves_for_signal = true; /* it may be over when this comes back */
        farewell->under_way = inner_run(home->inner, save);
        home->loop.saves_for_signal = farewell->under_way && home->loop.saves_for_signal;
    } else if (!home->loop.saves_for_signal) {
        farewell->under_way = false;
        fail(farewell);
    }
}

void farewell_turn(struct farewell *farewell) {
    if (LIKELY(farewell->stage == STAGE_NONE)) {
        return;
    }
    if (farewell->stage == STAGE_ENDS) {
        end_on(farewell);
        return;
    }
    if (!farewell->under_way && wants_view(farewell)) {
        farewell->under_way = true; /* it may be over when this comes back */
        farewell->under_way = inner_run(farewell->home->inner, look) && farewell->under_way;
    }
}
