/* SPDX-License-Identifier: BSD-3-Clause */
/* generic_wait: WAIT, the answer of how many replicas have what a connection wrote: at once if
 * enough have it, else when enough have or the time is over (replication/wait_replicas.h); and
 * WAITAOF, on how many disks it is. In scripts and within EXEC nobody waits: what this thread knows
 * is the answer.
 */
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/client/client.h"
#include "server/commands/generic/generic.h"
#include "server/config/config.h"
#include "server/replication/wait_replicas.h"
#include "server/server.h"
#include "server/worker/view.h"

/* No script, and nobody in EXEC. */
static bool may_wait(const struct exec *x) {
    return x->client != NULL && x->client->txn == NULL;
}

static uint32_t at_most(int64_t replicas) {
    return replicas < 0 ? 0 : replicas < UINT16_MAX ? (uint32_t)replicas : UINT16_MAX;
}

static bool is_replica(const struct exec *x) {
    return worker_server(x->worker)->role.replica;
}

void command_wait(struct exec *x) {
    int64_t replicas, timeout_ms;
    if (!exec_arg_i64(x, 1, &replicas) || !exec_arg_timeout_ms(x, 2, &timeout_ms)) {
        return;
    }
    if (is_replica(x)) {
        reply_error(x->reply,
                    "ERR WAIT cannot be used with replica instances. Please also note that if a "
                    "replica is configured to be writable (which is not the default) writes to "
                    "replicas are just local and are not propagated.");
        return;
    }
    if (x->client == NULL) { /* a script: of what was written before it */
        reply_int(x->reply, wait_acking(x->worker));
        return;
    }
    if (!may_wait(x)) {
        reply_int(x->reply, 0);
        return;
    }
    wait_replicas(x->client, at_most(replicas), client_wait_until(x->client, timeout_ms));
}

void command_waitaof(struct exec *x) {
    int64_t here, replicas, timeout_ms;
    if (!exec_arg_range(x, 1, 0, 1, NULL, &here) || !exec_arg_i64(x, 2, &replicas)) {
        return;
    }
    if (replicas < 0) {
        reply_error(x->reply, ERR_NOT_POSITIVE);
        return;
    }
    if (!exec_arg_timeout_ms(x, 3, &timeout_ms)) {
        return;
    }
    if (is_replica(x)) {
        reply_error(x->reply,
                    "ERR WAITAOF cannot be used with replica instances. Please also note that "
                    "writes to replicas are just local and are not propagated.");
        return;
    }
    if (here > 0 && !exec_config(x)->appendonly) {
        reply_error(x->reply, ERR_NO_LOG);
        return;
    }
    if (may_wait(x)) {
        wait_disks(x->client, here > 0, at_most(replicas),
                   client_wait_until(x->client, timeout_ms));
        return;
    }
    reply_array(x->reply, 2);
    reply_int(x->reply, wait_is_on_disk(x->worker));
    reply_int(x->reply, 0);
}
