/* SPDX-License-Identifier: BSD-3-Clause */
/* park: see the header. Invariants
 *  1. A worker that is parked touches no table: worker_turn leaves everything out but sockets,
 * outputs and messages, and park_keeps lets only those through that touch none.
 *  2. A view is used between the last answer and the first word to go on, by the parker's thread.
 *  3. At most one ticket has been called and is not over (the keeper counts).
 */
#include "server/worker/park.h"

#include "base/check.h"
#include "base/must.h"
#include "server/call/batch.h"
#include "server/client/client.h"
#include "server/client/gate.h"
#include "server/persistence/rotate.h"
#include "server/persistence/wal.h"
#include "server/txn/txn.h"
#include "server/worker/message.h"
#include "server/worker/worker.h"

#include <stdlib.h>
#include <string.h>

/* Owned by the parker until all is over; the parts only read its address. */
struct parking {
    park_run_fn *run;
    unsigned home;
    size_t args_bytes;
    _Alignas(16) char args[];
};

struct ticket {
    uint64_t number; /* 0: none drawn yet */
};

struct over {
    struct message message; /* first */
};

/* ---- The parked ---- */

/* What our primary has done waits: it cannot be refused. */
static bool is_of_upstream(const struct batch *batch) {
    return batch->count > 0 && batch->ops[0].manner & MANNER_UPSTREAM;
}

/* In a long script of its own: nothing is half done in its tables, and what is asked of its keys is
 * refused (busy.h). */
static bool passes_script(const struct worker *worker, const struct message *message) {
    switch ((enum message_kind)message->kind) {
    case MESSAGE_BATCH:
        return worker->parked.busy && !is_of_upstream((const struct batch *)message);
    case MESSAGE_BATON:
        return worker->parked.busy && !is_of_upstream(batch_of_baton(message));
    case MESSAGE_CONNECTION:
        return worker->parked.busy;
    default:
        return false;
    }
}

bool park_keeps(struct worker *worker, struct message *message) {
    struct parked *parked = &worker->parked;
    if (LIKELY(!parked_keeps(parked))) {
        return false;
    }
    if (passes_script(worker, message)) {
        return false;
    }
    switch ((enum message_kind)message->kind) {
    case MESSAGE_PARK_OVER:
    case MESSAGE_BATCH_NEWS: /* replies that are made */
    case MESSAGE_BATCH_DONE:
        return false;
    default:
#ifdef SHOAL_UNSAFE_PARK
        return false;
#endif
        break;
    }
    park_keep(parked, message);
    return true;
}

static void go_on(struct worker *worker) {
    struct parked *parked = &worker->parked;
    check(parked->is);
    parked->is = false;
    rotate_take_cut(worker);
    struct list_node *node;
    while ((node = list_pop_front(&parked->gone)) != NULL) {
        client_try_free(LIST_ENTRY(node, struct client, line_node));
    }
}

static void ticket_over(struct worker *keeper) {
    keeper->parked.over++;
    check(keeper->parked.over <= keeper->parked.tickets);
}

static bool is_keeper(const struct worker *worker) {
    return worker->id == worker->node->first;
}

void park_over_arrived(struct worker *worker, struct message *message) {
    go_on(worker);
    if (is_keeper(worker)) {
        ticket_over(worker);
    }
    free(message);
}

/* ---- The parker ---- */

static struct shard *shard_in_view(const struct view *view, uint16_t slot) {
    check(view->open); /* inv. 2 */
    struct worker *owner = view->node->server->workers[node_owner(view->node, slot)];
    return &owner->shard;
}

/* In the keeper's turns until the ticket is called: all that were drawn before are over by then. It
 * waits seldom, and never for a thread that is busy but this one: the keeper is parked while
 * another's run lasts. */
static bool ticket_part(struct worker *worker, const void *args, void *part) {
    struct ticket *ticket = part;
    if (ticket->number == 0) {
        ticket->number = ++worker->parked.tickets;
    }
    return ticket->number == worker->parked.over + 1; /* inv. 3 */
}

static bool park_part(struct worker *worker, const void *args, void *part) {
    const struct parking *parking = *(struct parking *const *)args;
    if (worker->id != parking->home) {
        check(!worker->parked.is);
        worker->parked.by = worker->server->workers[parking->home];
        if (worker->wal != NULL) {
            gate_seal(worker->wal); /* from now on it is the parker's */
        }
        worker->parked.wal = worker->wal;
        worker->parked.is = true;
        worker->parked.count++;
    }
    return true;
}

void park_tell_over(struct worker *home) {
    const struct node *node = home->node;
    NODE_EACH_WORKER(node, i) {
        if (i != home->id) {
            struct over *over = must_malloc(sizeof *over);
            over->message = (struct message){.kind = MESSAGE_PARK_OVER, .home = POST_ONE_WAY};
            post_send(home->server->office, home->id, i, &over->message);
        }
    }
}

static void parked_done(struct exec *x, const struct scatter_result *result) {
    struct parking *parking = *(struct parking *const *)result->args;
    struct view view = {.node = x->worker->node, .open = true, .shard = shard_in_view};
    parking->run(x, &view, parking->args);
    view.open = false;
    rotate_take_cut(x->worker);
    park_tell_over(x->worker);
    if (is_keeper(x->worker)) {
        ticket_over(x->worker);
    }
    free(parking);
}

static void ticket_done(struct exec *x, const struct scatter_result *result) {
    struct parking *parking = *(struct parking *const *)result->args;
    scatter_all(x, park_part, 0, &parking, sizeof parking, parked_done);
}

void park_all(struct exec *x, park_run_fn *run, const void *args, size_t args_bytes) {
    check(txn_locks_all(x->client));
    struct parking *parking = must_malloc(sizeof *parking + args_bytes);
    parking->run = run;
    parking->home = x->worker->id;
    parking->args_bytes = args_bytes;
    if (args_bytes > 0) {
        memcpy(parking->args, args, args_bytes);
    }
    scatter_one(x, x->worker->node->first, ticket_part, sizeof(struct ticket), &parking,
                sizeof parking, ticket_done);
}
