/* SPDX-License-Identifier: BSD-3-Clause */
/* wait: what a client waits for, and how it goes on. */
#include "base/check.h"
#include "server/call/dispatch.h"
#include "server/client/client.h"
#include "server/client/client_private.h"
#include "server/worker/worker.h"

bool client_waits(const struct client *client) {
    return client->scatter != NULL || client->txn != NULL ||
           (client->flags & (CLIENT_PARKED | CLIENT_PAUSED | CLIENT_BLOCKED)) != 0;
}

/* Its wait is over, but it goes on later in this turn or in the next (client_resume). */
bool client_in_line(const struct client *client) {
    return list_node_linked(&client->wait_node);
}

void client_resume(struct client *client) {
    if (client->flags & CLIENT_CLOSING) {
        return;
    }
    list_remove(&client->wait_node);
    list_push_back(&client->worker->ready, &client->wait_node);
}

void clients_run_ready(struct worker *worker) {
    struct list ready;
    list_init(&ready);
    list_splice_back(&ready, &worker->ready); /* who must wait again comes up in the next turn */
    struct list_node *node;
    while (!worker_slice_over(worker) && (node = list_pop_front(&ready)) != NULL) {
        struct client *client = LIST_ENTRY(node, struct client, wait_node);
        client->flags &= ~(unsigned)(CLIENT_PARKED | CLIENT_PAUSED | CLIENT_FENCED);
        client->active_ms = rt_wall_ms(worker->rt); /* it waited for us: that is not being idle */
        client_process(client);
        if (!(client->flags & (CLIENT_CLOSING | CLIENT_CLOSE_AFTER_REPLY))) {
            client_limit_input(client); /* what came while it waited was not looked at */
        }
    }
    list_splice_back(&ready, &worker->ready);
    list_splice_back(&worker->ready, &ready);
}

void client_block(struct client *client, int64_t until_ms,
                  void (*done)(struct client *client, bool timed_out)) {
    client->flags |= CLIENT_BLOCKED;
    client->blocked_until_ms = until_ms;
    client->blocked_done = done;
    /* It may still be in line to go on after an earlier wait, when more of its input came first. */
    list_remove(&client->wait_node);
    if (until_ms != INT64_MAX) {
        pqueue_add(&client->worker->blocked, &client->blocked_node, until_ms);
    }
}

void client_unblock(struct client *client, bool timed_out) {
    check(client->flags & CLIENT_BLOCKED);
    client->flags &= ~(unsigned)CLIENT_BLOCKED;
    pqueue_remove(&client->worker->blocked, &client->blocked_node);
    client->blocked_done(client, timed_out);
    outbuf_drain(&client->worker->discard, client->worker->discard.bytes);
    client_command_over(client);
    client_resume(client);
}
