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
#include "server/txn/multi.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

void gate_heard(struct wal *wal) {
    const struct server *server = wal->worker->server;
    for (unsigned i = 0; i < server->workers_count; i++) {
        uint64_t sealed = shared_wal_sealed(server->shared, i);
        wal->mark = sealed > wal->mark ? sealed : wal->mark;
    }
}

/* Behind those whose marks are smaller; if a log has just ended, perhaps before one of them, which
 * then waits with it. */
static void wait_for_acks(struct wal *wal, struct client *client) {
    client->gate.waits = GATE_ACKS;
    list_push_back(&wal->waiting_acks, &client->gate.node);
}

static bool is_acked(const struct wal *wal, const struct client *client, uint64_t mark) {
    return !(wal->acks && client->gate.tells) || mark <= wal->acked;
}

size_t gate_open_bytes(struct wal *wal, struct client *client) {
    struct client_gate *gate = &client->gate;
#ifdef SHOAL_UNSAFE_LOG_GATE /* for the test that crashes in the simulator show it */
    return client->out.bytes;
#endif
    bool logged = (wal->state != WAL_ON && gate->waits != GATE_LOG) || wal->mark <= wal->safe;
    if (logged && is_acked(wal, client, wal->mark)) {
        gate_forget(client);
        return client->out.bytes;
    }
    if (gate->waits == GATE_OPEN && client->out.bytes > gate->open) {
        gate->mark = wal->mark;
        gate->until = client->out.bytes;
        if (logged) {
            wait_for_acks(wal, client);
        } else {
            gate->waits = GATE_LOG;
            list_push_back(&wal->waiting, &gate->node);
        }
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
    client->gate.waits = GATE_OPEN;
    client->gate.open = 0;
}

/* Whether its reply does. */
static bool tells_of_keys(const struct client *client, const struct command_ref *ref) {
    const unsigned flags = CMD_WRITE | CMD_READONLY;
    const struct multi_queue *queue = ref->row->queue == QUEUE_EXEC ? client->multi : NULL;
    bool queued = queue != NULL && (queue->runs_scripts || queue->flags & flags);
    return ref->flags & flags || ref->row->runs_script || queued;
}

void gate_note(struct client *client, const struct command_ref *ref) {
    bool tells = ref != NULL && tells_of_keys(client, ref);
    client->gate.tells = tells || (client->gate.tells && !client_all_sent(client));
}

static struct client *first_of(const struct list *list) {
    struct list_node *node = list_first(list);
    return node != NULL ? LIST_ENTRY(node, struct client, gate.node) : NULL;
}

static uint64_t least_mark(const struct list *list) {
    const struct client *first = first_of(list);
    return first != NULL ? first->gate.mark : UINT64_MAX;
}

static void open_gate(struct client *client) {
    list_remove(&client->gate.node);
    client->gate.waits = GATE_OPEN;
    client->gate.open = client->gate.until;
    client_mark_dirty(client);
}

/* Those that need not wait any more, but for what replicas say. */
static void let_go(struct wal *wal) {
    struct client *client;
    while ((client = first_of(&wal->waiting)) != NULL && client->gate.mark <= wal->safe) {
        kill_point(wal->worker->server->kill_points, KILL_GATE_OPENS);
        if (is_acked(wal, client, client->gate.mark)) {
            open_gate(client);
        } else {
            list_remove(&client->gate.node);
            wait_for_acks(wal, client);
        }
    }
}

static void let_go_acked(struct wal *wal) {
    struct client *client;
    while ((client = first_of(&wal->waiting_acks)) != NULL && client->gate.mark <= wal->acked) {
        open_gate(client);
    }
}

static void settle_log(struct wal *wal) {
    enum shared_wal_word word = wal_word(wal);
    if (word != wal->word) { /* what was safe for the one need not be for the other */
        wal->word = word;
        wal->safe = 0;
    }
    if (wal->mark > wal->safe) {
        wal->safe = shared_wal_safe(wal->worker->server->shared, word);
    }
    let_go(wal);
}

void gate_settle(struct wal *wal) {
    struct worker *worker = wal->worker;
    struct shared_counters *shared = worker->server->shared;
    /* After the log's end some may wait still. */
    bool log = wal->state == WAL_ON || !list_empty(&wal->waiting);
    if (!log && !wal->acks) {
        return;
    }
    if (wal->acks && wal->mark > wal->acked) {
        wal->acked = shared_acked(shared);
    }
    if (log) {
        settle_log(wal);
    }
    let_go_acked(wal);
    uint64_t log_wants = least_mark(&wal->waiting), wants = least_mark(&wal->waiting_acks);
    wants = log_wants < wants ? log_wants : wants;
    if (wants != shared_wal_wanted(shared, worker->id)) {
        shared_wal_want(shared, worker->id, wants);
    }
}

bool gate_may_sleep(struct wal *wal) {
    gate_settle(wal); /* those of this turn have said now what they wait for */
    const struct shared_counters *shared = wal->worker->server->shared;
    uint64_t log_wants = least_mark(&wal->waiting), wants = least_mark(&wal->waiting_acks);
    bool waits = (log_wants == UINT64_MAX || log_wants > shared_wal_safe(shared, wal_word(wal))) &&
                 (wants == UINT64_MAX || wants > shared_acked(shared));
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
        bool unanswered = client->gate.waits == GATE_LOG || (promised && is_unanswered(client));
        if (unanswered || client->gate.waits == GATE_OPEN) {
            gate_forget(client);
        }
        if (unanswered) {
            client_close(client);
        }
    }
    check(list_empty(&wal->waiting));
    shared_wal_want(worker->server->shared, worker->id, UINT64_MAX);
}

/* This server is no primary any more: what replicas have not acknowledged may be in nobody's stream
 * now, so nobody is told of it. */
static void close_unacked(struct wal *wal) {
    struct worker *worker = wal->worker;
    LIST_EACH_SAFE(&worker->clients.all, node) {
        struct client *client = LIST_ENTRY(node, struct client, node);
        const struct client_gate *gate = &client->gate;
        bool all = gate->waits != GATE_OPEN && client->out.bytes <= gate->until &&
                   client->pending_count == 0 && client->txn == NULL;
        uint64_t mark = all ? gate->mark : wal->mark; /* what is behind rests on later ones */
        if (client->gate.tells && is_unanswered(client) && mark > wal->acked) {
            gate_forget(client);
            client_close(client);
        }
    }
}

/* replicas-ack, or the role, is another. */
static void change_acks(struct wal *wal, bool acks) {
    wal->acked = shared_acked(wal->worker->server->shared);
    if (wal->acks && wal->worker->server->role.replica) {
        close_unacked(wal);
    }
    wal->acks = acks;
    struct client *client;
    while (!acks && (client = first_of(&wal->waiting_acks)) != NULL) {
        open_gate(client);
    }
    if (!acks) { /* what waits for the log says so again, if anything does */
        shared_wal_want(wal->worker->server->shared, wal->worker->id, UINT64_MAX);
    }
}

static inline bool wants_acks(const struct worker *worker) {
    return UNLIKELY(worker->config->replicas_ack > 0) && !worker->server->role.replica;
}

void gate_seal(struct wal *wal) {
    bool acks = wants_acks(wal->worker);
    if (UNLIKELY(acks != wal->acks)) {
        change_acks(wal, acks);
    }
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
