/* SPDX-License-Identifier: BSD-3-Clause */
/* gate: see the header. Why so: a client has one mark at a time, so the list of those that wait is
 * in the order of marks by itself, and nobody is looked at before it may go.
 */
#include "server/client/gate.h"

#include "base/check.h"
#include "server/call/check.h"
#include "server/client/client.h"
#include "server/client/client_private.h"
#include "server/persistence/kill_points.h"
#include "server/persistence/wal.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

void gate_heard(struct wal *wal) {
    const struct server *server = wal->worker->server;
    for (unsigned i = 0; i < server->workers_count; i++) {
        uint64_t sealed = shared_wal_sealed(server->shared, i);
        wal->mark = sealed > wal->mark ? sealed : wal->mark;
    }
}

size_t gate_open_bytes(struct wal *wal, struct client *client) {
    struct client_gate *gate = &client->gate;
#ifdef SHOAL_UNSAFE_LOG_GATE /* for the test that crashes in the simulator show it */
    return client->out.bytes;
#endif
    if ((wal->state != WAL_ON && !gate->waits) || wal->mark <= wal->safe) {
        gate_forget(client);
        return client->out.bytes;
    }
    if (!gate->waits && client->out.bytes > gate->open) {
        gate->waits = true;
        gate->mark = wal->mark;
        gate->until = client->out.bytes;
        list_push_back(&wal->waiting, &gate->node);
    }
    return gate->open;
}

void gate_drained(struct client *client, size_t bytes) {
    struct client_gate *gate = &client->gate;
    if (UNLIKELY(gate->open > 0)) { /* something had to wait */
        kill_point(client->worker->server->kill_points, KILL_GATE_SENT);
    }
    gate->open -= bytes < gate->open ? bytes : gate->open;
    gate->until -= bytes < gate->until ? bytes : gate->until;
}

void gate_forget(struct client *client) {
    list_remove(&client->gate.node);
    client->gate.waits = false;
    client->gate.open = 0;
}

static struct client *first_waiting(const struct wal *wal) {
    struct list_node *node = list_first(&wal->waiting);
    return node != NULL ? LIST_ENTRY(node, struct client, gate.node) : NULL;
}

/* Those that need not wait any more. */
static void let_go(struct wal *wal) {
    struct client *client;
    while ((client = first_waiting(wal)) != NULL && client->gate.mark <= wal->safe) {
        kill_point(wal->worker->server->kill_points, KILL_GATE_OPENS);
        list_remove(&client->gate.node);
        client->gate.waits = false;
        client->gate.open = client->gate.until;
        client_mark_dirty(client);
    }
}

void gate_settle(struct wal *wal) {
    struct worker *worker = wal->worker;
    struct shared_counters *shared = worker->server->shared;
    if (wal->state != WAL_ON && list_empty(&wal->waiting)) { /* after its end some may wait still */
        return;
    }
    enum shared_wal_word word = wal_word(wal);
    if (word != wal->word) { /* what was safe for the one need not be for the other */
        wal->word = word;
        wal->safe = 0;
    }
    if (wal->mark > wal->safe) {
        wal->safe = shared_wal_safe(shared, word);
    }
    let_go(wal);
    const struct client *first = first_waiting(wal);
    uint64_t wants = first != NULL ? first->gate.mark : UINT64_MAX;
    if (wants != shared_wal_wanted(shared, worker->id)) {
        shared_wal_want(shared, worker->id, wants);
    }
}

bool gate_may_sleep(struct wal *wal) {
    gate_settle(wal); /* those of this turn have said now what they wait for */
    const struct client *first = first_waiting(wal);
    bool waits = first == NULL ||
                 first->gate.mark > shared_wal_safe(wal->worker->server->shared, wal_word(wal));
    return waits && list_empty(&wal->worker->clients.dirty);
}

/* Who has been told nothing yet of something that may have written. */
static bool is_unanswered(const struct client *client) {
    return client->out.bytes > client->gate.open || client->pending_count > 0 ||
           client->txn != NULL;
}

/* Where nothing was promised yet, only those have to go who still wait for the log of before. */
static void gate_break(struct wal *wal, bool promised) {
    struct worker *worker = wal->worker;
    LIST_EACH_SAFE(&worker->clients.all, node) {
        struct client *client = LIST_ENTRY(node, struct client, node);
        bool unanswered = client->gate.waits || (promised && is_unanswered(client));
        gate_forget(client);
        if (unanswered) {
            client_close(client);
        }
    }
    check(list_empty(&wal->waiting));
    shared_wal_want(worker->server->shared, worker->id, UINT64_MAX);
}

void gate_seal(struct wal *wal) {
    bool promised = wal->state == WAL_ON || wal->broke;
    bool breaks = wal->state != WAL_BROKEN && wal_look_for_failure(wal);
    if (UNLIKELY(breaks || wal->broke)) {
        wal->broke = false;
        check_owner_refuses(wal->worker, wal_refusal(wal).ptr, true);
        gate_break(wal, promised);
    }
    if (UNLIKELY(!list_empty(&wal->waiting)) && wal_ended_in_failure(wal)) {
        gate_break(wal, false);
    }
    if (UNLIKELY(wal->state == WAL_OFF && wal->worker->refuses_writes)) {
        check_owner_refuses(wal->worker, NULL, false); /* nobody wants the log any more */
    }
    if (wal->state != WAL_BROKEN || wal->feeds) {
        wal_seal(wal);
        gate_settle(wal);
    }
}

void gate_promise(struct wal *wal) {
    wal_promise(wal);
    bool broke = wal->state == WAL_BROKEN; /* again, behind the cut of the snapshot */
#ifdef SHOAL_UNSAFE_LOG_PROMISE            /* for the test that crashes in the simulator show it */
    broke = false;
#endif
    if (wal->worker->refuses_writes && !broke) {
        check_owner_refuses(wal->worker, NULL, false);
    }
}
