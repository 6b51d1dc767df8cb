/* SPDX-License-Identifier: BSD-3-Clause */
/* replicaof: REPLICAOF and SLAVEOF: the role first (replication/follow.h), then the configuration
 * that CONFIG REWRITE will write.
 */
#include "base/num.h"
#include "server/call/exec.h"
#include "server/call/scatter.h"
#include "server/client/client.h"
#include "server/commands/replication/replication.h"
#include "server/commands/server/server_commands.h"
#include "server/replication/follow.h"
#include "server/replication/primary.h"
#include "server/server.h"
#include "server/txn/txn.h"
#include "server/worker/park.h"
#include "server/worker/view.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

struct change_part {
    bool begun, exact;
    const char *refused; /* the error; or NULL */
};

/* What is to be, and, of PSYNC FAILOVER, in whose stream this server has to be. */
struct change_wish {
    struct role role;
    char id[REPLICATION_ID_BYTES + 1];
    void (*then)(struct exec *x); /* or NULL: it is answered */
};

struct role_change {
    struct role role;
    bool exact;
};

static void configured(struct exec *x) {
    reply_ok(x->reply);
}

static void configure(struct exec *x, const struct role *role, void (*then)(struct exec *x)) {
    char value[RT_HOST_NAME_MAX + NUM_I64_BYTES + 2] = "no one";
    if (role->replica) {
        snprintf(value, sizeof value, "%s %d", role->host, role->port);
    }
    config_set_one(x, "replicaof", bytes_of_text(value), then);
}

void replicaof_configure(struct exec *x, const struct role *role) {
    configure(x, role, configured);
}

/* On worker 0. */
static const char *refusal_of(const struct server *server, const struct change_wish *wish) {
    if (wish->then == NULL) {
        return primary_get_failover(server->primary) != FAILOVER_NONE
                   ? "ERR REPLICAOF not allowed while failing over."
                   : NULL;
    }
    struct primary_place place;
    if (primary_get_failover(server->primary) != FAILOVER_NONE) {
        return "NOMASTERLINK Can't SYNC while failing over";
    }
    if (!server->role.replica) {
        return "ERR PSYNC FAILOVER can't be sent to a master.";
    }
    return primary_position(server->primary, &place) && strcasecmp(place.id, wish->id) == 0
               ? NULL
               : "ERR PSYNC FAILOVER replid must match my replid.";
}

/* ---- Alone ---- */

static bool change_part(struct worker *worker, const void *args, void *result) {
    const struct change_wish *wish = args;
    struct change_part *part = result;
    if (!part->begun) {
        part->refused = refusal_of(worker_server(worker), wish);
    }
    return part->refused != NULL || follow_some(worker, &wish->role, &part->begun);
}

static void changed(struct exec *x, const struct scatter_result *result) {
    const struct change_wish *wish = result->args;
    const struct change_part *part = result->parts[0];
    if (part->refused != NULL) {
        reply_error(x->reply, part->refused);
    } else {
        configure(x, &wish->role, wish->then != NULL ? wish->then : configured);
    }
}

static void change(struct exec *x, const struct change_wish *wish) {
    scatter_one(x, 0, change_part, sizeof(struct change_part), wish, sizeof *wish, changed);
}

void replicaof_promote(struct exec *x, struct bytes id, void (*then)(struct exec *x)) {
    struct change_wish wish = {.then = then};
    if (id.len <= REPLICATION_ID_BYTES) { /* else it is no id of ours */
        memcpy(wish.id, id.ptr, id.len);
    }
    change(x, &wish);
}

/* ---- In EXEC, which has locked all ---- */

static bool stop_part(struct worker *worker, const void *args, void *result) {
    struct change_part *part = result;
    part->refused = refusal_of(worker_server(worker), args);
    part->exact = part->refused == NULL && follow_stop(worker);
    return true;
}

static void run(struct exec *x, struct view *view, const void *args) {
    (void)view;
    const struct role_change *to = args;
    if (!primary_role_may_change(worker_server(x->worker)->primary)) {
        reply_error(x->reply, "ERR REPLICAOF must come before the writes of its transaction");
        return;
    }
    follow_in_view(x->worker, &to->role, to->exact);
    follow_tell_clients(x->worker);
    configure(x, &to->role, configured);
}

static void stopped(struct exec *x, const struct scatter_result *result) {
    const struct change_part *part = result->parts[0];
    const struct change_wish *wish = result->args;
    struct role_change to = {.role = wish->role, .exact = part->exact};
    if (part->refused != NULL) {
        reply_error(x->reply, part->refused);
    } else {
        park_all(x, run, &to, sizeof to);
    }
}

/* ---- Both ---- */

static bool read_role(struct exec *x, struct role *ret) {
    int64_t port;
    *ret = (struct role){0};
    if (bytes_is(x->argv[1], "no") && bytes_is(x->argv[2], "one")) {
        return true;
    }
    if (!num_parse_i64(x->argv[2], &port) || port < 0 || port > 65535) {
        reply_error(x->reply, "ERR Invalid master port");
        return false;
    }
    if (x->argv[1].len == 0 || x->argv[1].len > RT_HOST_NAME_MAX ||
        memchr(x->argv[1].ptr, ' ', x->argv[1].len) != NULL) {
        reply_error(x->reply, "ERR Invalid master host");
        return false;
    }
    ret->replica = true;
    memcpy(ret->host, x->argv[1].ptr, x->argv[1].len);
    ret->port = (int)port;
    return true;
}

static bool is_same(const struct role *a, const struct role *b) {
    return a->replica == b->replica && strcasecmp(a->host, b->host) == 0 && a->port == b->port;
}

void command_replicaof(struct exec *x) {
    struct change_wish wish = {0};
    const struct role *now = &worker_server(x->worker)->role;
    if (worker_map(x->worker) != NULL) { /* CLUSTER REPLICATE says whose replica it is */
        reply_error(x->reply, "ERR REPLICAOF not allowed in cluster mode.");
        return;
    }
    if (!read_role(x, &wish.role)) {
        return;
    }
    if (is_same(&wish.role, now)) {
        reply_status(x->reply,
                     wish.role.replica ? "OK Already connected to specified master" : "OK");
        return;
    }
    if (txn_locks_all(x->client)) {
        scatter_one(x, 0, stop_part, sizeof(struct change_part), &wish, sizeof wish, stopped);
    } else {
        change(x, &wish);
    }
}
