/* SPDX-License-Identifier: BSD-3-Clause */
/* failover_command: FAILOVER. It is answered when the hand-over has begun; what follows is done by
 * the server itself, a step at a time (server/replication/failover.h), by the means below.
 */
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/call/scatter.h"
#include "server/commands/replication/replication.h"
#include "server/replication/failover.h"
#include "server/server.h"
#include "server/txn/txn.h"
#include "server/worker/park.h"
#include "server/worker/view.h"

#include <string.h>

/* ---- A step ---- */

static void step_run(struct exec *x, struct view *view, const void *args) {
    (void)view, (void)args;
    struct role role;
    if (failover_in_view(worker_server(x->worker)->failover, x->worker, &role)) {
        replicaof_configure(x, &role);
    } else {
        reply_ok(x->reply);
    }
}

static void step(struct exec *x) {
    char nothing = 0;
    if (txn_holds_all(x->client)) {
        park_all(x, step_run, &nothing, sizeof nothing);
    } else {
        txn_hold_all(x); /* it comes again then */
    }
}

/* ---- What was asked for ---- */

struct asked_part {
    const char *error;
    bool begun;
};

/* Who has been answered knows that writes stand still. */
static bool begin_part(struct worker *worker, const void *args, void *result) {
    struct failover *failover = worker_server(worker)->failover;
    struct asked_part *part = result;
    if (!part->begun) {
        part->begun = true;
        part->error = failover_begin(failover, args);
    }
    return part->error != NULL || failover_has_begun(failover);
}

static bool abort_part(struct worker *worker, const void *args, void *result) {
    (void)args;
    ((struct asked_part *)result)->error = failover_abort(worker_server(worker)->failover);
    return true;
}

static void asked(struct exec *x, const struct scatter_result *result) {
    const char *error = ((const struct asked_part *)result->parts[0])->error;
    if (error != NULL) {
        reply_error(x->reply, error);
    } else {
        reply_ok(x->reply);
    }
}

static bool read_target(struct exec *x, uint32_t at, struct failover_wish *wish) {
    int64_t port;
    if (!exec_arg_i64(x, at + 1, &port)) {
        return false;
    }
    struct bytes host = x->argv[at];
    wish->named = true;
    wish->port = port >= 0 && port <= 65535 ? (int)port : -1;
    if (host.len <= RT_HOST_NAME_MAX) { /* else it is no replica's */
        memcpy(wish->host, host.ptr, host.len);
        wish->host[host.len] = '\0';
    }
    return true;
}

static bool read_wish(struct exec *x, struct failover_wish *wish) {
    *wish = (struct failover_wish){.step = step};
    bool timed = false;
    for (uint32_t i = 1; i < x->argc; i++) {
        uint32_t more = x->argc - i - 1;
        if (bytes_is(x->argv[i], "timeout") && more >= 1 && !timed) {
            if (!exec_arg_i64(x, i + 1, &wish->timeout_ms)) {
                return false;
            }
            if (wish->timeout_ms <= 0) {
                reply_error(x->reply, "ERR FAILOVER timeout must be greater than 0");
                return false;
            }
            timed = true;
            i++;
        } else if (bytes_is(x->argv[i], "to") && more >= 2 && !wish->named) {
            if (!read_target(x, i + 1, wish)) {
                return false;
            }
            i += 2;
        } else if (bytes_is(x->argv[i], "force") && !wish->force) {
            wish->force = true;
        } else {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

void command_failover(struct exec *x) {
    struct failover_wish wish;
    char nothing = 0;
    if (worker_map(x->worker) != NULL) {
        reply_error(
            x->reply,
            "ERR FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead.");
    } else if (x->argc == 2 && bytes_is(x->argv[1], "abort")) {
        scatter_one(x, 0, abort_part, sizeof(struct asked_part), &nothing, 1, asked);
    } else if (read_wish(x, &wish)) {
        scatter_one(x, 0, begin_part, sizeof(struct asked_part), &wish, sizeof wish, asked);
    }
}
