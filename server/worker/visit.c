/* SPDX-License-Identifier: BSD-3-Clause */
/* visit: see the header. Invariants
 *  1. A visit is made at the end of the visitor's turn: nothing of its own is half done, and nobody
 * waits for it inside.
 *  2. What is done there is done as in a turn of the host, between two of its own: its slices, its
 * background work, its answers published last.
 *  3. Who leaves without waking leaves nothing undone: no mail (post_leave says so), no cut batch,
 * no client to serve, nothing asked of the runtime, no deadline before the host wakes by itself.
 */
#include "server/worker/visit.h"

#include "net/rt.h"
#include "server/worker/background.h"
#include "server/worker/handlers.h"
#include "server/worker/mail.h"
#include "server/worker/worker.h"
#include "shard/mailbox.h"

/* Much more, and both could have worked at the same time. */
#define VISIT_NS (25 * 1000)
/* A command that takes so long keeps the clients of two threads waiting: for a while the host is
 * woken, and works by itself. */
#define VISIT_LONG_NS  (4 * VISIT_NS)
#define VISIT_PAUSE_MS 20

static bool may_visit(const struct worker *host) {
    return !host->parked.is && host->parked.first_kept == NULL && !host->loop.stopping &&
           rt_mono_ms(host->rt) >= host->loop.unvisited_ms;
}

/* What the owner of keys is asked, and answers by messages alone. */
static bool is_visits(const struct message *message) {
    return message->kind == MESSAGE_BATCH || message->kind == MESSAGE_BATON;
}

/* True if nothing is left. */
static bool handle_mail(struct worker *host) {
    message_fn *const *handlers = host->server->handlers->messages;
    struct message *message;
    while ((message = mail_next(host)) != NULL) {
        if (!is_visits(message)) {
            mail_put_back(host);
            return false;
        }
        handlers[message->kind](host, message);
        if (worker_slice_over(host)) {
            return false;
        }
    }
    return true;
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
    uint64_t start = rt_woke_ticks(host->rt), ticks = host->slice.ticks;
    host->slice.ticks = rt_ns_to_ticks(host->rt, VISIT_NS);
    worker_slice_begin(host);
    worker_slice_enter(host);
    host->loop.mail_ms = rt_mono_ms(host->rt);
    host->loop.visited = true;
    bool all = handle_mail(host);
    host->loop.visited = false;
    host->slice.ticks = ticks;
    int64_t work_ms = background_work(host);
    post_publish(host->server->office, host->id, visitor->id, true);
    if (UNLIKELY(rt_ticks(host->rt) - start > rt_ns_to_ticks(host->rt, VISIT_LONG_NS))) {
        host->loop.unvisited_ms = rt_mono_ms(host->rt) + VISIT_PAUSE_MS;
    }
    return all && may_sleep_on(host, work_ms);
}

void visit(struct worker *visitor, struct worker *host) {
    struct post_office *office = host->server->office;
    host->stats.visits++;
    do {
        if (!round_of(visitor, host)) {
            post_leave_awake(office, host->id, visitor->id);
            return;
        }
    } while (!post_leave(office, host->id));
}
