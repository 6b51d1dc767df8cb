/* SPDX-License-Identifier: BSD-3-Clause */
/* generic_wait: WAIT, the answer of how many replicas have what a connection wrote.
 *
 * There are no replicas yet, so the answer is always 0; but it comes only after the time that the
 * caller gave them, because callers use WAIT to slow down.
 */
#include "base/num.h"
#include "net/rt.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/client/client.h"
#include "server/commands/generic/generic.h"
#include "server/worker/view.h"

static void wait_done(struct client *client, enum wait_end end) {
    struct reply reply = client_reply(client);
    if (end == WAIT_BROKEN) {
        reply_error(&reply, ERR_UNBLOCKED);
    } else {
        reply_int(&reply, 0);
    }
}

static const struct wait_kind wait_replicas = {
    .name = "replicas", .blocked = true, .done = wait_done};

/* A timeout in milliseconds as the moment it ends; 0 is never. */
static bool timeout_read(const struct exec *x, uint32_t argv_index, int64_t *ret_until_ms) {
    int64_t timeout_ms;
    if (!num_parse_i64(x->argv[argv_index], &timeout_ms)) {
        reply_error(x->reply, ERR_TIMEOUT_NOT_INTEGER);
        return false;
    }
    if (timeout_ms < 0) {
        reply_error(x->reply, ERR_TIMEOUT_NEGATIVE);
        return false;
    }
    if (timeout_ms > INT64_MAX - x->now_ms) {
        reply_error(x->reply, ERR_TIMEOUT_RANGE);
        return false;
    }
    int64_t now_ms = rt_mono_ms(worker_rt(x->worker));
    bool for_ever = timeout_ms == 0 || timeout_ms > INT64_MAX - now_ms;
    *ret_until_ms = for_ever ? INT64_MAX : now_ms + timeout_ms;
    return true;
}

void command_wait(struct exec *x) {
    int64_t replicas, until_ms;
    if (!exec_arg_i64(x, 1, &replicas) || !timeout_read(x, 2, &until_ms)) {
        return;
    }
    if (replicas <= 0 || x->client->txn != NULL) { /* inside of EXEC nobody waits */
        reply_int(x->reply, 0);
        return;
    }
    client_wait(x->client, &wait_replicas, until_ms);
}
