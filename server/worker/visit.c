/* SPDX-License-Identifier: BSD-3-Clause */
/* visit: see the header. Invariants
 *  1. A visit is made at the end of the visitor's turn: nothing of its own is half done, and nobody
 * waits for it inside.
 *  2. What is done there is done as in a turn of the host, between two of its own: its slices, its
 * background work, its answers published last. So is what the visitor does of its own mail in
 * between; what is left of that, as to send what its clients are owed, a turn sees to before it
 * asks the kernel for news.
 *  3. Who leaves without waking leaves nothing undone: no mail (post_leave says so), no cut batch,
 * no client to serve, nothing asked of the runtime, no deadline before the host wakes by itself.
 */
#include "server/worker/visit.h"

#include "net/rt.h"
#include "server/call/batch.h"
#include "server/worker/background.h"
#include "server/worker/handlers.h"
#include "server/worker/mail.h"
#include "server/worker/worker.h"
#include "shard/mailbox.h"

/* Much more at a time, and both could have worked at the same time. */
#define VISIT_NS (25 * 1000)
/* Later than this in a visit the visitor does not begin with mail of its own. */
#define VISIT_BEGIN_NS (2 * VISIT_NS)
/* A command that takes so long keeps the clients of two threads waiting: for a while the host is
 * woken, and works by itself. */
#define VISIT_LONG_NS  (4 * VISIT_NS)
#define VISIT_PAUSE_MS 20

static bool may_visit(const struct worker *host) {
    return !host->parked.is && host->parked.first_kept == NULL && !host->loop.stopping &&
           rt_mono_ms(host->rt) >= host->loop.unvisited_ms;
}

/* What the owner of keys is asked, and answers by messages alone; and such an answer. */
static bool is_visits(const struct message *message) {
    return message->kind == MESSAGE_BATCH || message->kind == MESSAGE_BATON ||
           message->kind == MESSAGE_BATCH_DONE;
}

/* True if nothing is left. */
static bool handle_visits(struct worker *worker) {
    struct message *message;
    while ((message = mail_next(worker)) != NULL) {
        if (!is_visits(message)) {
            mail_put_back(worker);
            return false;
        }
        mail_hand(worker, message);
        if (worker_slice_over(worker)) {
            return false;
        }
    }
    return true;
}

/* The mail of one of the two, as in a turn of its own. */
static bool handle_mail(struct worker *worker) {
    uint64_t ticks = worker->slice.ticks;
    worker->slice.ticks = rt_ns_to_ticks(worker->rt, VISIT_NS);
    worker_slice_begin(worker);
    worker_slice_enter(worker);
    worker->loop.mail_ms = rt_mono_ms(worker->rt);
    worker->loop.in_visit = true;
    bool all = handle_visits(worker);
    batches_settle(worker);
    worker->loop.in_visit = false;
    worker->slice.ticks = ticks;
    return all;
}

/* inv. 3, but for the mail */
static bool may_sleep_on(struct worker *host, int64_t work_ms) {
    bool idle =
        !background_is_left(host) && list_empty(&host->clients.dirty) && !rt_has_work(host->rt);
    return idle && (work_ms == INT64_MAX ||
                    work_ms - rt_wall_ms(host->rt) >= host->loop.wake_ms - rt_mono_ms(host->rt));
}

/* False: the host must wake. */
static bool round_of(struct worker *visitor, struct worker *host) {
    rt_visit(host->rt);
    if (!may_visit(host)) {
        return false;
    }
    uint64_t start = rt_woke_ticks(host->rt);
    bool all = handle_mail(host);
    int64_t work_ms = background_work(host);
    post_publish(host->server->office, host->id, visitor->id, true);
    if (UNLIKELY(rt_ticks(host->rt) - start > rt_ns_to_ticks(host->rt, VISIT_LONG_NS))) {
        host->loop.unvisited_ms = rt_mono_ms(host->rt) + VISIT_PAUSE_MS;
    }
    return all && may_sleep_on(host, work_ms);
}

/* The host has sent something back, most often batons: the visitor works that off in between, so
 * that what goes to and fro goes on in one visit. False: there was nothing, or time is up. */
static bool own_round(struct worker *visitor, uint64_t start) {
    struct post_office *office = visitor->server->office;
    uint64_t until = start + rt_ns_to_ticks(visitor->rt, VISIT_BEGIN_NS);
    if (!post_any(office, visitor->id) || visitor->parked.first_kept != NULL ||
        rt_ticks(visitor->rt) >= until) {
        return false;
    }
    visitor->loop.own_mail = true;
    visitor->stats.rounds++;
    bool all = handle_mail(visitor);
    background_work(visitor);
    post_publish(office, visitor->id, visitor->id, true);
    return all;
}

void visit(struct worker *visitor, struct worker *host) {
    struct post_office *office = host->server->office;
    host->stats.visits++;
    uint64_t start = rt_ticks(visitor->rt);
    bool asleep = true;
    do {
        asleep &= round_of(visitor, host);
        bool more = own_round(visitor, start) && post_any(office, host->id);
        if (!asleep && !more) {
            post_leave_awake(office, host->id, visitor->id);
            return;
        }
    } while (!asleep || !post_leave(office, host->id));
}
