/* SPDX-License-Identifier: BSD-3-Clause */
/* failover: see the header.
 *
 * Why it is looked at twice whether the target has all: a write that was let in before the others
 * stood still may end between a look and the view. In the view nothing moves, every block has been
 * merged, and what is not so is waited for on.
 */
#include "server/replication/failover.h"

#include "base/must.h"
#include "server/client/inner.h"
#include "server/observe/log.h"
#include "server/replication/follow.h"
#include "server/replication/primary.h"
#include "server/replication/upstream.h"
#include "server/worker/pausing.h"
#include "server/worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is to be done in the next view. */
enum task { TASK_NONE, TASK_HOLD, TASK_HAND_OVER, TASK_GO_BACK, TASK_LET_GO };

struct failover {
    struct worker *home;
    enum primary_failover state;
    struct failover_wish wish;
    struct role target; /* named, or found */
    int64_t until_ms;   /* monotonic; INT64_MAX: for ever */
    bool held;          /* writes are */
    bool forced;        /* its time is over */
    enum task task;
    bool under_way;        /* the view is */
    uint64_t asked_offset; /* of the byte behind which replicas were asked; 0: they were not */
};

struct failover *failover_new(struct worker *home) {
    struct failover *failover = must_calloc(1, sizeof *failover);
    failover->home = home;
    return failover;
}

void failover_free(struct failover *failover) {
    free(failover);
}

static struct primary *primary_of(const struct failover *failover) {
    return failover->home->server->primary;
}

static void go_to(struct failover *failover, enum primary_failover state) {
    failover->state = state;
    primary_set_failover(primary_of(failover), state);
}

const char *failover_begin(struct failover *failover, const struct failover_wish *wish) {
    struct worker *home = failover->home;
    struct primary *primary = primary_of(failover);
    if (failover->state != FAILOVER_NONE || failover->held) {
        return "ERR FAILOVER already in progress.";
    }
    if (home->server->role.replica || home->server->follow_asked != NULL) {
        return "ERR FAILOVER is not valid when server is a replica.";
    }
    if (primary_is_alone(primary)) {
        return "ERR FAILOVER requires connected replicas.";
    }
    if (wish->force && (wish->timeout_ms == 0 || !wish->named)) {
        return "ERR FAILOVER with force option requires both a timeout and target HOST and IP.";
    }
    if (wish->named) {
        uint64_t offset;
        switch (primary_find(primary, wish->host, wish->port, &offset)) {
        case PRIMARY_NO_REPLICA:
            return "ERR FAILOVER target HOST and PORT is not a replica.";
        case PRIMARY_REPLICA_WAITS:
            return "ERR FAILOVER target replica is not online.";
        case PRIMARY_REPLICA_STREAMS:
            break;
        }
        log_worker(home, LOG_NOTICE, "FAILOVER requested to %s:%d.", wish->host, wish->port);
    } else {
        log_worker(home, LOG_NOTICE, "FAILOVER requested.");
    }
    failover->wish = *wish;
    failover->forced = false;
    failover->asked_offset = 0;
    int64_t now_ms = rt_mono_ms(home->rt);
    bool ends = wish->timeout_ms > 0 && wish->timeout_ms < INT64_MAX - now_ms;
    failover->until_ms = ends ? now_ms + wish->timeout_ms : INT64_MAX;
    go_to(failover, FAILOVER_WAITS);
    return NULL;
}

bool failover_has_begun(const struct failover *failover) {
    return failover->state != FAILOVER_WAITS || failover->held;
}

static void give_up(struct failover *failover, const char *why) {
    log_worker(failover->home, LOG_NOTICE, "Aborting failover%s%s while %s: %s",
               failover->wish.named ? " to " : "", failover->wish.named ? failover->wish.host : "",
               failover->state == FAILOVER_WAITS ? "waiting for the replica" : "handing over", why);
    go_to(failover, failover->state == FAILOVER_WAITS ? FAILOVER_NONE : FAILOVER_BACK);
}

const char *failover_abort(struct failover *failover) {
    if (failover->state != FAILOVER_WAITS && failover->state != FAILOVER_HANDS_OVER) {
        return "ERR No failover in progress.";
    }
    give_up(failover, "Failover manually aborted");
    return NULL;
}

/* ---- What is due ---- */

/* Whether one that it may be has acknowledged all there is. */
static bool finds_target(struct failover *failover) {
    struct primary *primary = primary_of(failover);
    uint64_t wanted = primary_offset(primary), offset;
    const struct failover_wish *wish = &failover->wish;
    struct role *target = &failover->target;
    *target = (struct role){.replica = true};
    if (!wish->named) {
        return primary_find_at(primary, wanted, target->host, &target->port);
    }
    memcpy(target->host, wish->host, sizeof target->host);
    target->port = wish->port;
    return primary_find(primary, wish->host, wish->port, &offset) == PRIMARY_REPLICA_STREAMS &&
           offset == wanted;
}

static enum task task_while_waiting(struct failover *failover) {
    struct primary *primary = primary_of(failover);
    if (!failover->held) {
        return TASK_HOLD;
    }
    if (rt_mono_ms(failover->home->rt) >= failover->until_ms) {
        if (!failover->wish.force) {
            give_up(failover, "Replica never caught up before timeout");
            return TASK_LET_GO;
        }
        if (!failover->forced) {
            log_worker(failover->home, LOG_NOTICE,
                       "Failover to %s:%d time out exceeded, failing over.", failover->wish.host,
                       failover->wish.port);
        }
        failover->forced = true;
        finds_target(failover);
        return TASK_HAND_OVER;
    }
    if (finds_target(failover)) {
        return TASK_HAND_OVER;
    }
    if (primary_offset(primary) != failover->asked_offset) {
        failover->asked_offset = primary_ask(primary);
    }
    return TASK_NONE;
}

static enum task task_of(struct failover *failover) {
    struct worker *home = failover->home;
    switch (failover->state) {
    case FAILOVER_WAITS:
        return task_while_waiting(failover);
    case FAILOVER_HANDS_OVER:
        switch (upstream_handed(home->server->upstream)) {
        case UPSTREAM_ACCEPTED:
            go_to(failover, FAILOVER_NONE);
            return TASK_LET_GO;
        case UPSTREAM_REFUSED:
            give_up(failover, "Failover target rejected psync request");
            return TASK_NONE;
        case UPSTREAM_ASKS:
            break;
        }
        return TASK_NONE;
    case FAILOVER_BACK:
        return follow_stop(home) ? TASK_GO_BACK : TASK_NONE;
    case FAILOVER_NONE:
        break;
    }
    return failover->held ? TASK_LET_GO : TASK_NONE;
}

void failover_turn(struct failover *failover) {
    if (LIKELY(failover->state == FAILOVER_NONE && !failover->held) || failover->under_way) {
        return;
    }
    failover->task = task_of(failover);
    if (failover->task != TASK_NONE) {
        failover->under_way = true; /* it may be over when this comes back */
        if (!inner_run(failover->home->inner, failover->wish.step)) {
            failover->under_way = false;
        }
    }
}

/* ---- In a view ---- */

static bool hands_over(struct failover *failover, struct worker *parker, struct role *ret) {
    if (failover->state != FAILOVER_WAITS) {
        return false; /* given up meanwhile */
    }
    if (!failover->forced) {
        if (!primary_is_still(primary_of(failover), parker) || !pause_is_quiet(parker) ||
            !finds_target(failover)) {
            return false;
        }
        log_worker(parker, LOG_NOTICE, "Failover target is synced, failing over.");
    }
    *ret = failover->target;
    upstream_hand_over(parker->server->upstream, true);
    follow_in_view(parker, ret, true);
    go_to(failover, FAILOVER_HANDS_OVER);
    return true;
}

bool failover_in_view(struct failover *failover, struct worker *parker, struct role *ret) {
    failover->under_way = false;
    switch (failover->task) {
    case TASK_HOLD:
        pause_hold(parker, PAUSE_FOR_FAILOVER);
        failover->held = true;
        return false;
    case TASK_LET_GO:
        upstream_hand_over(parker->server->upstream, false);
        pause_let_go(parker, PAUSE_FOR_FAILOVER);
        follow_tell_clients(parker); /* it may have failed until now */
        failover->held = false;
        return false;
    case TASK_HAND_OVER:
        return hands_over(failover, parker, ret);
    case TASK_GO_BACK:
        *ret = (struct role){0};
        follow_in_view(parker, ret, true);
        go_to(failover, FAILOVER_NONE);
        return true;
    case TASK_NONE:
        break;
    }
    return false;
}
