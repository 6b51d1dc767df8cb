/* SPDX-License-Identifier: BSD-3-Clause */
/* mail: see the header. */
#include "server/worker/mail.h"

#include "net/rt.h"
#include "server/call/batch.h"
#include "server/client/gate.h"
#include "server/worker/handlers.h"
#include "server/worker/message.h"
#include "server/worker/park.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"
#include "shard/mailbox.h"

struct message *mail_next(struct worker *worker) {
    struct message *waited = parked_next(&worker->parked);
    if (UNLIKELY(waited != NULL)) {
        return waited;
    }
    if (worker->loop.inbox_at == worker->loop.inbox_count) {
        worker->loop.inbox_at = 0;
        worker->loop.inbox_count = (unsigned)post_receive(worker->server->office, worker->id,
                                                          worker->loop.inbox, INBOX_MESSAGES);
        if (worker->loop.inbox_count == 0) {
            return NULL;
        }
    }
    return worker->loop.inbox[worker->loop.inbox_at++];
}

void mail_put_back(struct worker *worker) {
    check(worker->loop.inbox_at > 0);
    worker->loop.inbox_at--;
}

void mail_hand(struct worker *worker, struct message *message) {
    if (message->kind != MESSAGE_BATCH && message->kind != MESSAGE_BATON) {
        batches_settle(worker);
    }
    worker->server->handlers->messages[message->kind](worker, message);
}

/* True if there may be more. */
static bool handle_all(struct worker *worker) {
    struct message *message = mail_next(worker);
    if (message == NULL) {
        return false;
    }
    worker->loop.mail_ms = rt_mono_ms(worker->rt);
    if (UNLIKELY(worker->loop.resting)) { /* what it brings may take long */
        worker->loop.resting = false;
        shared_set_resting(worker->server->shared, false);
    }
    struct wal *wal = worker_own_wal(worker);
    if (UNLIKELY(wal != NULL)) {
        gate_heard(wal);
    }
    worker_slice_enter(worker);
    for (;;) {
        if (LIKELY(!park_keeps(worker, message))) {
            mail_hand(worker, message);
        }
        bool waited = worker->parked.first_kept != NULL && !parked_keeps(&worker->parked);
        if (worker->loop.inbox_at == worker->loop.inbox_count && !waited) {
            return worker->loop.inbox_count == INBOX_MESSAGES;
        }
        if (worker_slice_over(worker)) {
            return true;
        }
        message = mail_next(worker);
    }
}

bool mail_handle(struct worker *worker) {
    bool more = handle_all(worker);
    batches_settle(worker);
    return more;
}
