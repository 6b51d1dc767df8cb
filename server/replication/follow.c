/* SPDX-License-Identifier: BSD-3-Clause */
/* follow: see the header. */
#include "server/replication/follow.h"

#include "server/call/check.h"
#include "server/call/exec.h"
#include "server/client/inner.h"
#include "server/observe/log.h"
#include "server/replication/primary.h"
#include "server/replication/upstream.h"
#include "server/txn/txn.h"
#include "server/worker/park.h"
#include "server/worker/worker.h"

#include <stdio.h>

bool follow_stop(struct worker *home) {
    return upstream_stop(home->server->upstream);
}

static void set_role(struct worker *worker) {
    worker_set_expiry(worker);
    room_configure(worker);
    check_configure(worker);
    if (!worker->server->role.replica) {
        own_deadlines_clear(&worker->shard.own_deadlines);
    }
}

void follow_in_view(struct worker *parker, const struct role *role, bool exact) {
    struct server *server = parker->server;
    struct primary *primary = server->primary;
    bool was = server->role.replica;
    server->role = *role;
    if (role->replica) {
        if (was && !exact) {
            primary_forget(primary);
        }
        primary_follow(primary, parker);
        log_worker(parker, LOG_NOTICE, "REPLICAOF %s:%d enabled", role->host, role->port);
    } else if (was) {
        primary_promote(primary, parker, exact);
        log_worker(parker, LOG_NOTICE, "PRIMARY MODE enabled");
    }
    for (unsigned i = 0; i < server->workers_count; i++) {
        server->workers[i]->demoted = false;
        set_role(server->workers[i]);
    }
    upstream_begin(server->upstream);
}

void follow_tell_clients(struct worker *parker) {
    struct server *server = parker->server;
    for (unsigned i = 0; i < server->workers_count; i++) {
        server->workers[i]->demoted = server->role.replica;
    }
}

/* ---- By the server's inner client ---- */

static void run(struct exec *x, struct view *view, const void *args) {
    (void)view;
    follow_in_view(x->worker, args, true);
    follow_tell_clients(x->worker);
    reply_ok(x->reply);
    x->worker->server->follow_asked = NULL;
}

static void change(struct exec *x) {
    if (txn_holds_all(x->client)) {
        park_all(x, run, x->worker->server->follow_asked, sizeof(struct role));
    } else {
        txn_hold_all(x); /* it comes again then */
    }
}

bool follow_some(struct worker *home, const struct role *role, bool *begun) {
    struct server *server = home->server;
    if (*begun) {
        return server->follow_asked != role;
    }
    if (server->follow_asked == NULL && follow_stop(home)) {
        server->follow_asked = role;
        *begun = inner_run(home->inner, change);
        if (!*begun) { /* it is in the middle of something else */
            server->follow_asked = NULL;
        }
    }
    return false;
}
