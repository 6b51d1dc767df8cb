/* SPDX-License-Identifier: BSD-3-Clause */
/* txn_riders: scripts that share the view of all shards. Why so: to lock all keys and to park all
 * other threads (park.h) takes several messages and wakes every thread, many times what most
 * scripts take. So while one script of a home is at it, those that come stand in line; when it is
 * over, the first of them asks for the view, and the others ride: they run with the same view, each
 * for itself, one after the other. Nobody looks on in between, so this is as if each had locked
 * all. Clients that go on in one turn are all in line before one of them asks, also those whose
 * script has just been run: else they would ride in two halves, each while the other is served.
 *
 *     begins ---- nobody asks, alone -----------------> asks for the view, runs, gives it back
 *         \---- else -> stands in line                  |           \-> its riders run
 *                             ^    \--- the first, in ----+
 *                             |    |    clients_run_ready
 *                             |    \--- the others ride with it ---------> over with it
 *                             +---------- who did not run ---------------/
 *
 * Who rides has come before its leader took the time that it sees (take_time), so it sees nothing
 * that is older than what its client has seen.
 *
 * What others must be told of each does not ride: one that is logged has a place in the order of
 * the logs on every shard, monitors are told when the locks are held; and when somebody waits for a
 * key that was changed, it is served before the next one runs.
 */
#include "base/check.h"
#include "net/rt.h"
#include "server/call/exec.h"
#include "server/client/client.h"
#include "server/persistence/wal.h"
#include "server/txn/txn_private.h"
#include "server/worker/worker.h"

/* At most so many share one view: meanwhile all others stand still. */
#define RIDERS_MAX 63

/* The log, or replicas, get what is done. */
static bool is_told(const struct worker *worker) {
    return worker->wal != NULL && wal_is_recording(worker->wal);
}

/* It is all of a transaction, and it writes: so it owns all keys when it leads. */
static bool may_ride(const struct txn *txn) {
    const struct txn_command *command = &txn->commands[0];
    return txn->count == 1 && txn->queue == NULL && command->ref->row->runs_script &&
           command->set != NULL && command->set->everywhere &&
           txn->flags & (CMD_WRITE | CMD_MAY_REPLICATE) && !txn->tells &&
           txn->home->effects == NULL && !is_told(txn->home) &&
           !(client_manner(txn->client) & MANNER_TRACKS);
}

bool txn_stands_in_line(struct txn *txn) {
    struct txns *txns = &txn->home->txns;
    if (LIKELY(!may_ride(txn))) {
        return false;
    }
    if (txns->asks_view == NULL && !txns->gathering) {
        txns->asks_view = txn;
        return false;
    }
    if (txns->first_in_line == NULL) {
        txns->first_in_line = txn;
    } else {
        txns->last_in_line->next = txn;
    }
    txns->last_in_line = txn;
    return true;
}

/* Nobody waits for what was done, or has to be told of it. */
static bool may_go_on(const struct worker *home) {
    NODE_EACH_WORKER(home->node, i) {
        const struct worker *worker = home->server->workers[i];
        if (worker->keys_ready || worker->effects != NULL || is_told(worker)) {
            return false;
        }
    }
    return !worker_slice_over(home);
}

void txn_run_riders(struct exec *x, const struct view *view) {
    struct worker *home = x->worker;
    const struct txn *leader = x->client->txn;
    if (home->txns.asks_view != leader) {
        return;
    }
    uint64_t began = rt_ticks(home->rt);
    for (struct txn *rider = leader->riders; rider != NULL && may_go_on(home);
         rider = rider->next) {
        rider->now_ms = leader->now_ms;
        txn_run_in_view(rider, view);
    }
    x->caller->tick += rt_ticks(home->rt) - began; /* that was not its own */
}

/* The first in line asks for the view next. */
static void lead(struct worker *home) {
    struct txns *txns = &home->txns;
    struct txn *leader = txns->first_in_line;
    txns->asks_view = leader;
    if (leader == NULL) {
        return;
    }
    struct txn *last = leader;
    for (unsigned i = 0; i < RIDERS_MAX && last->next != NULL; i++) {
        last = last->next;
    }
    txns->first_in_line = last->next;
    last->next = NULL;
    leader->riders = leader->next;
    leader->next = NULL;
    txn_begin(leader);
}

void txn_gather_riders(struct worker *home) {
    home->txns.gathering = true;
}

void txn_lead_riders(struct worker *home) {
    struct txns *txns = &home->txns;
    txns->gathering = false;
    if (UNLIKELY(txn_riders_wait(home))) {
        lead(home);
    }
}

bool txn_riders_wait(const struct worker *home) {
    return home->txns.first_in_line != NULL && home->txns.asks_view == NULL;
}

void txn_riders_end(struct worker *home, struct txn *riders) {
    struct txns *txns = &home->txns;
    struct txn *left = riders;
    while (left != NULL && left->rode) {
        left = left->next;
    }
    if (left != NULL) { /* they come first next time */
        struct txn *last = left;
        while (last->next != NULL) {
            last = last->next;
        }
        last->next = txns->first_in_line;
        txns->last_in_line = txns->first_in_line != NULL ? txns->last_in_line : last;
        txns->first_in_line = left;
    }
    struct txn *next;
    for (struct txn *rider = riders; rider != left; rider = next) {
        next = rider->next;
        txn_end_ridden(rider);
    }
    home->txns.asks_view = NULL; /* who is next leads when they have gone on: txn_lead_riders */
}
