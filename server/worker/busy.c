/* SPDX-License-Identifier: BSD-3-Clause */
/* busy: see the header. Invariants
 *  1. A turn in the middle of a script begins no other command of this shard: all that comes is
 * refused, or kept (park_keeps), so the script alone changes it.
 *  2. What the turn outside was in the middle of, it finds as it was: its slice, its memory for
 * requests, for whom it runs commands.
 */
#include "server/worker/busy.h"

#include "net/rt.h"
#include "server/call/check.h"
#include "server/client/client_flow.h"
#include "server/client/gate.h"
#include "server/client/listen.h"
#include "server/worker/handlers.h"
#include "server/worker/mail.h"
#include "server/worker/message.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"
#include "shard/mailbox.h"

#include <stdio.h>

#define SCRATCH_BYTES  4096
#define ERROR_TEXT_MAX 256

/* Connections that came before anybody knew that it would take so long. */
static void take_connections(struct worker *worker) {
    struct parked *parked = &worker->parked;
    struct message *kept = parked->first_kept;
    parked->first_kept = parked->last_kept = NULL;
    while (kept != NULL) {
        struct message *message = kept;
        kept = kept->next;
        if (message->kind == MESSAGE_CONNECTION) {
            worker->server->handlers->messages[MESSAGE_CONNECTION](worker, message);
        } else {
            park_keep(parked, message);
        }
    }
}

static void serve(struct worker *worker) {
    take_connections(worker);
    worker_slice_begin(worker);
    clients_run_ready(worker);
}

void busy_serve(struct worker *worker) {
    const struct parked *parked = &worker->parked;
    if (LIKELY(!parked->is) ||
        !(shared_script(worker->server->shared, parked->by->id) & SCRIPT_BUSY)) {
        return;
    }
    worker->hindrances |= HINDERED_BUSY;
    serve(worker);
    worker->hindrances &= ~(unsigned)HINDERED_BUSY;
}

/* What was finished before leaves, and so does what is answered now. */
static void let_leave(struct worker *worker) {
    if (worker->wal != NULL) {
        gate_seal(worker->wal);
        gate_settle(worker->wal);
    }
    clients_flush(worker);
    post_publish(worker->server->office, worker->id, worker->id, false);
}

void busy_turn(struct worker *worker) {
    if (worker->loop.in_rt) {
        return;
    }
    struct arena scratch = worker->scratch; /* inv. 2 */
    struct slice slice = worker->slice;
    uint64_t client = worker->runs_for.client;
    unsigned home = worker->runs_for.home;
    char *refuses = worker->refuses, busy[ERROR_TEXT_MAX];
    bool refuses_writes = worker->refuses_writes;
    snprintf(busy, sizeof busy, "%s", check_busy_error(worker));
    arena_init(&worker->scratch, SCRATCH_BYTES);
    worker->refuses = busy;
    worker->owner_asks = true;
    worker->refuses_writes = false;
    worker->hindrances |= HINDERED_BUSY;
    worker->parked.busy = true; /* inv. 1 */
    let_leave(worker);
    worker->loop.in_rt = true;
    if (worker->acceptor != NULL) {
        listen_turn(worker);
    }
    rt_turn(worker->rt, 0);
    worker->loop.in_rt = false;
    worker_slice_begin(worker);
    mail_handle(worker);
    serve(worker);
    let_leave(worker);
    worker->parked.busy = false;
    worker->refuses = refuses;
    worker->refuses_writes = refuses_writes;
    check_configure(worker);
    arena_fini(&worker->scratch);
    worker->scratch = scratch;
    worker->runs_for.client = client;
    worker->runs_for.home = home;
    worker->slice = slice;
    worker->slice.tick = rt_ticks(worker->rt);
}
