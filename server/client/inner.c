/* SPDX-License-Identifier: BSD-3-Clause */
/* A command needs a client to be a transaction: so this is one, as far as a transaction asks. What
 * it runs has a row of its own, which no table knows and no statistics show.
 */
#include "server/client/inner.h"

#include "base/check.h"
#include "base/must.h"
#include "server/call/call.h"
#include "server/call/command_table.h"
#include "server/client/client.h"
#include "server/client/client_private.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdlib.h>

struct inner {
    struct client client; /* first */
    struct command row;
    struct command_ref ref;
    bool counted; /* among the connections: workers end when there are none */
};

struct inner *inner_new(struct worker *worker) {
    struct inner *inner = must_aligned(_Alignof(struct inner), sizeof *inner);
    memset(inner, 0, sizeof *inner);
    struct client *client = &inner->client;
    client->worker = worker;
    client->resp = 2;
    client->flags = CLIENT_AUTHENTICATED | CLIENT_REPLY_OFF | CLIENT_NO_EVICT;
    client->peer = client->local = "";
    client->input_buffer = rt_buffer_new(1);
    parser_init(&client->parser);
    outbuf_init(&client->out);
    outbuf_init(&client->held);
    list_node_init(&client->node);
    list_node_init(&client->dirty_node);
    list_node_init(&client->line_node);
    list_node_init(&client->delay_node);
    list_node_init(&client->gate.node);
    pqueue_node_init(&client->wait.node);
    pqueue_node_init(&client->memory_node);
    inner->row = (struct command){.name = "inner",
                                  .arity = 1,
                                  .flags = CMD_ADMIN,
                                  .place = PLACE_EACH_WORKER,
                                  .group = "server"};
    inner->ref = (struct command_ref){
        .row = &inner->row,
        .id = command_table_count(worker->server->commands),
        .full_name = "inner",
        .served_name = "",
        .fences = true,
    };
    return inner;
}

void inner_free(struct inner *inner) {
    if (inner != NULL) {
        rt_buffer_unref(inner->client.input_buffer);
        parser_fini(&inner->client.parser);
        outbuf_fini(&inner->client.out);
        outbuf_fini(&inner->client.held);
        free(inner->client.pending);
        free(inner);
    }
}

bool inner_is(const struct worker *worker, const struct client *client) {
    return client != NULL && worker->inner != NULL && client == &worker->inner->client;
}

static bool is_idle(const struct client *client) {
    return client->state == CLIENT_READING && client->txns_open == 0 && client->scatter == NULL;
}

void inner_settle(struct inner *inner) {
    struct client *client = &inner->client;
    struct worker *worker = client->worker;
    if (inner->counted && is_idle(client)) {
        inner->counted = false;
        shared_connection_over(worker->server->shared, worker->id);
        worker->clients.memory -= client->memory;
        client->memory = 0;
    }
}

bool inner_run(struct inner *inner, command_fn *run) {
    struct client *client = &inner->client;
    struct worker *worker = client->worker;
    if (!is_idle(client)) {
        return false;
    }
    inner_settle(inner);
    inner->counted = true;
    shared_connection_placed(worker->server->shared, worker->id);
    inner->row.run = run;
    struct reply reply;
    reply_init(&reply, &worker->discard, client->resp);
    struct caller caller = {
        .worker = worker,
        .shard = &worker->shard,
        .tick = rt_ticks(worker->rt),
        .client = client,
    };
    struct bytes word = BYTES("inner");
    struct call what = {
        .ref = &inner->ref,
        .argv = &word,
        .argc = 1,
        .key = &NO_KEY,
        .now_ms = rt_wall_ms(worker->rt),
    };
    worker->runs_for.client = 0; /* nobody's doing */
    call(&caller, &what, &reply);
    outbuf_drain(&worker->discard, worker->discard.bytes);
    return true;
}
