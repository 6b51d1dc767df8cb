/* SPDX-License-Identifier: BSD-3-Clause */
/* wait: see the header. Why so: a wait used to be a flag here and a pointer there, and each who
 * ends clients had to know them all. Now who ends one looks at the state and calls what the wait
 * says.
 *
 * Invariants
 *  1. A client that is WAITING, and no other, has a wait; its node is in worker->clients.deadlines
 * if the wait has a time.
 *  2. A client that is READY is in worker->clients.ready, and no other is.
 */
#include "server/client/wait.h"

#include "base/check.h"
#include "server/client/client_private.h"
#include "server/worker/handlers.h"
#include "server/worker/worker.h"

/* Each is answered, and goes on: more than that would hold up the others. */
#define ENDS_A_TURN 256

/* ---- States ---- */

#define TO(state) (1u << CLIENT_##state)

bool client_state_leads(enum client_state from, enum client_state to) {
    static const unsigned leads[CLIENT_STATES_COUNT] = {
        [CLIENT_READING] =
            TO(FULL) | TO(FENCED) | TO(WAITING) | TO(READY) | TO(ENDING) | TO(CLOSING),
        [CLIENT_FULL] = TO(READY) | TO(CLOSING),
        [CLIENT_FENCED] = TO(READY) | TO(CLOSING),
        [CLIENT_WAITING] = TO(READING) | TO(READY) | TO(ENDING) | TO(CLOSING),
        [CLIENT_READY] = TO(READING) | TO(CLOSING),
        [CLIENT_ENDING] = TO(CLOSING),
        [CLIENT_CLOSING] = TO(GONE),
        [CLIENT_GONE] = 0,
    };
    return (leads[from] & (1u << to)) != 0;
}

void client_resume(struct client *client) {
    client_move(client, CLIENT_READY);
    list_push_back(&client->worker->clients.ready, &client->line_node);
}

void clients_run_ready(struct worker *worker) {
    struct list *going_on = &worker->clients.going_on; /* a turn inside of this one has all, too */
    list_splice_back(going_on,
                     &worker->clients.ready); /* who must wait again comes up in the next turn */
    struct list_node *node;
    while (!worker_slice_over(worker) && (node = list_pop_front(going_on)) != NULL) {
        struct client *client = LIST_ENTRY(node, struct client, line_node);
        client_move(client, CLIENT_READING);
        client->active_ms = rt_wall_ms(worker->rt); /* it waited for us: that is not being idle */
        client->worker->server->handlers->client_input(client);
        if (client->state < CLIENT_ENDING) {
            client_limit_input(client); /* what came while it waited was not looked at */
        }
    }
    list_splice_back(going_on, &worker->clients.ready);
    list_splice_back(&worker->clients.ready, going_on);
}

/* ---- Waits ---- */

static void wait_for(struct client *client, const struct wait_kind *kind, int64_t until_ms) {
    client->wait.kind = kind;
    client->wait.until_ms = until_ms;
    if (until_ms != INT64_MAX) {
        pqueue_add(&client->worker->clients.deadlines, &client->wait.node, until_ms);
    }
}

void client_wait(struct client *client, const struct wait_kind *kind, int64_t until_ms) {
    if (client_is_closing(client)) {
        return;
    }
    client_move(client, CLIENT_WAITING);
    wait_for(client, kind, until_ms);
}

void client_wait_on(struct client *client, const struct wait_kind *kind, int64_t until_ms) {
    check(client->state == CLIENT_WAITING);
    pqueue_remove(&client->worker->clients.deadlines, &client->wait.node);
    wait_for(client, kind, until_ms);
}

int64_t client_wait_until(const struct client *client, int64_t timeout_ms) {
    int64_t now_ms = (int64_t)(rt_mono_ns(client->worker->rt) / 1000000); /* not the turn's begin */
    bool for_ever = timeout_ms == 0 || timeout_ms > INT64_MAX - now_ms;
    return for_ever ? INT64_MAX : now_ms + timeout_ms;
}

void client_wait_over_here(struct client *client) {
    check(client->state == CLIENT_WAITING);
    pqueue_remove(&client->worker->clients.deadlines, &client->wait.node);
    if (client->flags & CLIENT_CLOSE_AFTER_REPLY) {
        client_move(client, CLIENT_ENDING);
        client_mark_dirty(client);
        return;
    }
    client_move(client, CLIENT_READING);
}

void client_wait_over(struct client *client) {
    client_wait_over_here(client);
    if (client->state == CLIENT_READING) {
        client_resume(client);
    }
}

bool client_wait_end(struct client *client, enum wait_end end) {
    check(client_in_blocking_command(client));
    if (client->wait.kind->give_up != NULL && !client->wait.kind->give_up(client)) {
        pqueue_remove(&client->worker->clients.deadlines, &client->wait.node);
        return false;
    }
    client->wait.kind->done(client, end);
    outbuf_drain(&client->worker->discard, client->worker->discard.bytes);
    client_command_over(client);
    client_wait_over(client);
    return true;
}

void client_cancel_wait(struct client *client) {
    check(client->state == CLIENT_WAITING);
    pqueue_remove(&client->worker->clients.deadlines, &client->wait.node);
    if (client->wait.kind->cancel != NULL) {
        client->wait.kind->cancel(client);
    }
}

void client_leave_wait(struct client *client) {
    client_cancel_wait(client);
    client->flags |= CLIENT_CLOSE_AFTER_REPLY;
    client_wait_over_here(client);
}

bool client_in_blocking_command(const struct client *client) {
    return client->state == CLIENT_WAITING && client->wait.kind->done != NULL;
}

bool client_is_blocked(const struct client *client) {
    return client->state == CLIENT_WAITING && client->wait.kind->blocked;
}

bool client_is_shown_blocked(const struct client *client) {
    return client_is_blocked(client) ||
           (client->state == CLIENT_WAITING && client->wait.kind->shown_blocked);
}

int64_t waits_expire(struct worker *worker, int64_t now_ms) {
    struct pqueue_node *first = pqueue_first(&worker->clients.deadlines);
    for (unsigned i = 0; first != NULL && first->key < now_ms && i < ENDS_A_TURN; i++) {
        client_wait_end(PQUEUE_ENTRY(first, struct client, wait.node), WAIT_TIMED_OUT);
        first = pqueue_first(&worker->clients.deadlines);
    }
    return first != NULL ? first->key + 1 : INT64_MAX;
}
