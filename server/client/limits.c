/* SPDX-License-Identifier: BSD-3-Clause */
/* limits: what a connection may cost. Why here: limits on input, on output and on the memory of all
 * clients are looked at from many places, and each must count the same bytes as CLIENT LIST shows.
 */
#include "base/check.h"
#include "server/call/batch.h"
#include "server/client/client.h"
#include "server/client/client_private.h"
#include "server/client/describe.h"
#include "server/client/large.h"
#include "server/observe/flood.h"
#include "server/replication/replica.h"
#include "server/tracking/tracking.h"
#include "server/txn/multi.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#define UNAUTHENTICATED_QUERY_MAX  (1024 * 1024)
#define UNAUTHENTICATED_OUTPUT_MAX 1024
#define STRANGER_FREE_BYTES        (8 * 1024)
#define CRLF_BYTES                 2 /* behind each bulk */
/* No limit, however small, cuts off who reads small replies. What is more counts whole, as in
 * Valkey, where a reply that does not fit the fixed buffer of its client leaves that behind. */
#define OUTPUT_FREE_BYTES OUTBUF_CHUNK_BYTES

/* ---- Input ---- */

/* Arguments that are complete are no query buffer any more, neither here nor in Valkey: what is
 * left is one bulk at most, and requests that wait for their turn. */
size_t client_input_unparsed(const struct client *client) {
    size_t parsed = client->input_scanned + client->parser.pos;
    return client->input.len - (parsed < client->input.len ? parsed : client->input.len);
}

/* What a primary sends has been answered there: there is no limit to that. */
bool client_bulk_is_too_long(const struct client *client, size_t length) {
    return client->upstream == NULL &&
           length + CRLF_BYTES > (size_t)client->worker->config->client_query_buffer_limit;
}

struct parser_limits client_parser_limits(const struct client *client) {
    const struct config *config = client->worker->config;
    bool unlimited = client->upstream != NULL; /* as above */
    return (struct parser_limits){
        .bulk_len_max = unlimited ? INT64_MAX : config->proto_max_bulk_len,
        .query_bytes_max = unlimited ? INT64_MAX : config->client_query_buffer_limit,
        .authenticated = client_may_run(client),
    };
}

/* It is known of what waits for its turn that it is one bulk, and too long. */
static bool input_is_long_bulk(const struct client *client) {
    size_t offset, length;
    return (client->flags & CLIENT_INPUT_PARTIAL) &&
           parser_bulk_missing(&client->parser, &offset, &length) &&
           client_bulk_is_too_long(client, length);
}

void client_limit_input(struct client *client) {
    struct worker *worker = client->worker;
    size_t bytes = client->input.len + large_bytes(client->large);
    if (bytes > worker->stats.input_max) {
        worker->stats.input_max = bytes;
    }
    size_t limit = (size_t)worker->config->client_query_buffer_limit;
    size_t counted = client_input_unparsed(client) + large_partial(client->large);
    counted += client->multi != NULL ? client->multi->words_bytes : 0;
    if (client->upstream != NULL) {
        return; /* as above */
    }
    if (client->state != CLIENT_READING && !input_is_long_bulk(client)) {
        return; /* nobody has parsed it, and soon it is not read on */
    }
    if (counted > limit || (counted > UNAUTHENTICATED_QUERY_MAX && !client_may_run(client))) {
        worker->stats.query_limit_disconnects++;
        if (flood_lets(worker, FLOOD_INPUT)) {
            log_client(worker, LOG_WARNING,
                       "Closing client that reached max query buffer length: ", client, "");
        }
        client_close(client);
    }
}

/* ---- Output ---- */

/* Replies that have not left, those out of turn too. */
size_t client_output_bytes(const struct client *client) {
    bool dropped = (client->flags & CLIENT_REPLY_OFF) != 0;
    return client->out.bytes + client->held.bytes + (dropped ? 0 : client->home_replies) +
           replica_held_bytes(client);
}

/* Over the hard limit, or over the soft one for long enough; over its own if it gave no password.
 */
static bool output_over_limit(struct client *client) {
    const struct config *config = client->worker->config;
    enum config_output_class class = replica_is(client)                  ? CONFIG_OUTPUT_REPLICA
                                     : client->flags & CLIENT_SUBSCRIBED ? CONFIG_OUTPUT_PUBSUB
                                                                         : CONFIG_OUTPUT_NORMAL;
    const struct config_output_limit *limit = &config->client_output_buffer_limit[class];
    size_t bytes = client_output_bytes(client);
    bytes = bytes > OUTPUT_FREE_BYTES ? bytes : 0;
    if ((limit->hard_bytes > 0 && bytes > limit->hard_bytes) ||
        (bytes > UNAUTHENTICATED_OUTPUT_MAX && !client_may_run(client))) {
        return true;
    }
    if (limit->soft_bytes == 0 || bytes <= limit->soft_bytes) {
        client->soft_limit_since_ms = 0;
        return false;
    }
    int64_t now_ms = rt_mono_ms(client->worker->rt);
    if (client->soft_limit_since_ms == 0) {
        client->soft_limit_since_ms = now_ms;
    }
    return now_ms - client->soft_limit_since_ms > limit->soft_seconds * 1000;
}

size_t client_reply_max(const struct client *client) {
    size_t hard =
        client->worker->config->client_output_buffer_limit[CONFIG_OUTPUT_NORMAL].hard_bytes;
    bool drops = (client->flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP)) != 0;
    size_t reached = hard > OUTPUT_FREE_BYTES ? hard : OUTPUT_FREE_BYTES;
    return hard > 0 && !drops ? reached : SIZE_MAX;
}

void client_close_over_limit(struct client *client) {
    struct worker *worker = client->worker;
    worker->stats.output_limit_disconnects++;
    if (flood_lets(worker, FLOOD_OUTPUT)) {
        log_client(worker, LOG_WARNING, "Client ", client,
                   " closed for overcoming of output buffer limits.");
    }
    client_close(client);
}

bool client_check_output(struct client *client) {
    if (client_is_closing(client)) {
        return true;
    }
    struct worker *worker = client->worker;
    size_t bytes = client_output_bytes(client);
    if (bytes > client->out_peak) {
        client->out_peak = bytes;
        if (client->out_peak > worker->stats.output_max) {
            worker->stats.output_max = client->out_peak;
        }
    }
    bool over = output_over_limit(client);
    if (over) {
        client_close_over_limit(client);
    }
    return over;
}

/* ---- Memory ---- */

size_t client_memory(const struct client *client) {
    size_t bytes = sizeof *client + client->out.allocated + client->held.allocated +
                   client->pending_cap * sizeof *client->pending + client->bytes_away +
                   client->home_memory + large_memory(client->large);
    if (client->input_buffer != NULL) {
        bytes +=
            client->input_buffer->pool == NULL ? client->input_buffer->size : client->input.len;
    }
    if (client->parser.args != NULL) {
        bytes += client->parser.argv_cap * sizeof *client->parser.args;
    }
    bytes += client->multi != NULL ? multi_queue_memory(client->multi) : 0;
    bytes += client->watches != NULL ? client->watches->bytes : 0;
    bytes += client->subs_bytes + tracking_memory(client->tracking);
    return bytes;
}

void client_count_stranger(struct client *client, uint32_t bytes) {
    struct worker *worker = client->worker;
    if (LIKELY(bytes == client->stranger_memory)) {
        return;
    }
    worker->clients.strangers += (size_t)bytes - client->stranger_memory;
    client->stranger_memory = bytes;
    shared_set_strangers_memory(worker->server->shared, worker->id, worker->clients.strangers);
}

/* What one needs to log in counts for nobody: however much others hold, there is room for that. */
static void limit_stranger(struct client *client) {
    struct worker *worker = client->worker;
    size_t limit = (size_t)worker->config->unauthenticated_maxmemory;
    size_t bytes = client->memory < STRANGER_FREE_BYTES || client_may_run(client)
                       ? 0
                       : client->memory - STRANGER_FREE_BYTES;
    bytes = bytes < UINT32_MAX ? bytes : UINT32_MAX;
    bool grows = bytes > client->stranger_memory;
    client_count_stranger(client, (uint32_t)bytes);
    if (LIKELY(!grows) || limit == 0 ||
        shared_strangers_memory_total(worker->server->shared) <= limit) {
        return;
    }
    worker->stats.query_limit_disconnects++;
    if (flood_lets(worker, FLOOD_STRANGERS)) {
        log_client(worker, LOG_NOTICE,
                   "Closing client: those who have not logged in have reached "
                   "unauthenticated-maxmemory: ",
                   client, "");
    }
    client_close(client);
}

void client_account(struct client *client) {
    if (client_is_closing(client)) {
        return;
    }
    size_t bytes = client_memory(client);
    struct worker *worker = client->worker;
    worker->clients.memory += bytes - client->memory;
    client->memory = bytes;
    if (UNLIKELY(worker->clients.evicts)) {
        client_order(client);
    }
    limit_stranger(client);
}

void client_order(struct client *client) {
    struct worker *worker = client->worker;
    pqueue_remove(&worker->clients.evictable, &client->memory_node);
    if (worker->clients.evicts && !client_is_closing(client) &&
        !(client->flags & CLIENT_NO_EVICT) && !replica_is(client)) {
        pqueue_add(&worker->clients.evictable, &client->memory_node, -(int64_t)client->memory);
    }
}
