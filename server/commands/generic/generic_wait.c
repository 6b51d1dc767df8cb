/* SPDX-License-Identifier: BSD-3-Clause */
/* generic_wait: WAIT, the answer of how many replicas have what a connection wrote.
 *
 * There are no replicas yet, so the answer is always 0; but it comes only after the time that the
 * caller gave them, because callers use WAIT to slow down.
 */
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/client/client.h"
#include "server/commands/generic/generic.h"

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

void command_wait(struct exec *x) {
    int64_t replicas, timeout_ms;
    if (!exec_arg_i64(x, 1, &replicas) || !exec_arg_timeout_ms(x, 2, &timeout_ms)) {
        return;
    }
    bool waits = x->client != NULL && x->client->txn == NULL; /* no script, and nobody in EXEC */
    if (replicas <= 0 || !waits) {
        reply_int(x->reply, 0);
        return;
    }
    client_wait(x->client, &wait_replicas, client_wait_until(x->client, timeout_ms));
}
