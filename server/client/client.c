/* SPDX-License-Identifier: BSD-3-Clause */
/* client: see the header. Why so:
 *
 * A connection's state is touched by its home thread alone; ops that run elsewhere travel in
 * batches that hold all they need. So nothing here is locked, and a client may be closed at any
 * moment: what is still on its way comes home, finds the client closing, and is dropped. Only then
 * is the memory freed.
 *
 *     accept -> open -- ended or QUIT --> close after reply --> closing --> gone, nothing away
 *                  \------------- error, limit, kill -------------/
 *
 * Invariants
 *  1. `input` lies in `input_buffer`. Bytes before it may still be read by batches, so a buffer's
 * used part never moves or changes while somebody else holds it.
 *  2. pending is the order of replies; its first entry waits for a batch, else it would have been
 * moved to `out`.
 *  3. A closing client is in no list but the worker's.
 */
#include "server/client/client.h"

#include "base/check.h"
#include "base/must.h"
#include "server/call/batch.h"
#include "server/call/dispatch.h"
#include "server/client/client_private.h"
#include "server/client/large.h"
#include "server/observe/log.h"
#include "server/txn/multi.h"
#include "server/worker/message.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stdlib.h>
#include <string.h>

#define INPUT_BUFFER_MIN_BYTES (16 * 1024)
/* Room made at once for a big bulk that was announced. */
#define INPUT_AHEAD_BYTES_MAX      (64 * 1024 * 1024)
#define CRLF_BYTES                 2 /* behind each bulk */
#define UNAUTHENTICATED_QUERY_MAX  (1024 * 1024)
#define UNAUTHENTICATED_OUTPUT_MAX 1024
/* A parked client is not read on once it has this much unparsed input. */
#define PARKED_INPUT_MAX      (256 * 1024)
#define IDLE_BEFORE_SHRINK_MS 2000
#define IDLE_BEFORE_LOOK_MS   500
#define HOLD_MS_MAX           10

/* ---- Input ---- */

static void input_drop(struct client *client) {
    if (client->input_buffer != NULL) {
        rt_buffer_unref(client->input_buffer);
        client->input_buffer = NULL;
    }
    client->input = bytes_make(NULL, 0);
}

static void input_move_to(struct client *client, size_t capacity, struct bytes more) {
    struct rt_buffer *buffer = rt_buffer_new(capacity);
    size_t old = client->input.len;
    if (old > 0) {
        memcpy(buffer->data, client->input.ptr, old);
    }
    if (more.len > 0) {
        memcpy(buffer->data + old, more.ptr, more.len);
    }
    input_drop(client);
    client->input_buffer = buffer;
    client->input = bytes_make(buffer->data, old + more.len);
}

/* Adds bytes behind unparsed ones: in place when the buffer is ours and has room, else in a larger
 * one. */
static void input_append(struct client *client, struct bytes more) {
    struct rt_buffer *buffer = client->input_buffer;
    if (buffer->pool == NULL) {
        size_t end = (size_t)(client->input.ptr - buffer->data) + client->input.len;
        if (buffer->size - end >= more.len) {
            memcpy(buffer->data + end, more.ptr,
                   more.len); /* inv. 1: behind all that anybody reads */
            client->input.len += more.len;
            return;
        }
    }
    size_t need = client->input.len + more.len;
    size_t capacity = need * 2 > INPUT_BUFFER_MIN_BYTES ? need * 2 : INPUT_BUFFER_MIN_BYTES;
    size_t announced = parser_bytes_needed(&client->parser);
    if (announced > capacity) {
        capacity = announced < INPUT_AHEAD_BYTES_MAX ? announced : INPUT_AHEAD_BYTES_MAX;
        capacity = capacity > need ? capacity : need;
    }
    input_move_to(client, capacity, more);
}

/* The request with large values was handed on. They last as long as its words, so their fate is
 * that of the buffer, and what comes after gets another. */
static void input_leave_large(struct client *client) {
    struct rt_buffer *buffer = client->input_buffer;
    check(buffer->pool == NULL && buffer->release == NULL);
    buffer->release = large_free;
    buffer->pin = client->large;
    client->large = NULL;
    client_send_batches(client); /* an open one holds this buffer and no other */
    if (client->input.len > 0) {
        input_move_to(client, client->input.len + INPUT_BUFFER_MIN_BYTES, bytes_make(NULL, 0));
    }
}

void client_input_used(struct client *client, size_t n) {
    client->input.ptr += n;
    client->input.len -= n;
    if (UNLIKELY(client->large != NULL) && n > 0) {
        input_leave_large(client);
    }
    if (client->input.len == 0) {
        input_drop(client);
    }
}

/* A big bulk has begun: from here on it is received where it will stay (large.h). Only at the end
 * of processing, when the input starts with its request and nothing else waits for a turn. False:
 * it is collected in the input like everything else. */
static bool input_begin_large(struct client *client) {
    size_t offset, length;
    const struct worker *worker = client->worker;
    if (!(client->flags & CLIENT_INPUT_PARTIAL) || large_missing(client->large) > 0 ||
        !parser_bulk_missing(&client->parser, &offset, &length) || length < LARGE_BYTES_MIN ||
        client->input.len - offset >= length) {
        return false;
    }
    /* A client that will be closed for its size, or that could never be served, is told so on the
     * way. */
    if (length + CRLF_BYTES > (size_t)worker->config->client_query_buffer_limit ||
        length > (size_t)worker->server->string_bytes_max) {
        return false;
    }
    bool first = client->large == NULL;
    if (!large_begin(&client->large, client->worker->shard.heap, offset, length)) {
        return false;
    }
    large_tell(client->large, &client->parser);
    struct bytes arrived = bytes_make(client->input.ptr + offset, client->input.len - offset);
    large_fill(client->large, arrived);
    client->input.len = offset;
    if (first) {
        /* A buffer that nobody else reads: it will own the values. */
        input_move_to(client, offset + INPUT_BUFFER_MIN_BYTES, bytes_make(NULL, 0));
    }
    return true;
}

static bool waits(const struct client *client) {
    return client->scatter != NULL || client->txn != NULL ||
           (client->flags & (CLIENT_PARKED | CLIENT_PAUSED | CLIENT_BLOCKED)) != 0;
}

/* Its wait is over, but it goes on later in this turn or in the next (client_resume). */
static bool in_line(const struct client *client) {
    return list_node_linked(&client->wait_node);
}

/* Arguments that are complete are no query buffer any more, neither here nor in Valkey: what is
 * left is one bulk at most, and requests that wait for their turn. */
static size_t input_unparsed(const struct client *client) {
    size_t parsed = client->input_scanned + client->parser.pos;
    return client->input.len - (parsed < client->input.len ? parsed : client->input.len) +
           large_partial(client->large);
}

static void limit_input(struct client *client) {
    struct worker *worker = client->worker;
    size_t bytes = client->input.len + large_bytes(client->large);
    if (bytes > worker->stats.input_max) {
        worker->stats.input_max = bytes;
    }
    size_t limit = (size_t)worker->config->client_query_buffer_limit;
    size_t counted = input_unparsed(client);
    counted += client->multi != NULL ? client->multi->words_bytes : 0;
    if (waits(client)) {
        return; /* nobody has parsed it, and soon it is not read on */
    }
    if (counted > limit || (counted > UNAUTHENTICATED_QUERY_MAX && !client_may_run(client))) {
        worker->stats.query_limit_disconnects++;
        log_client(worker, LOG_WARNING,
                   "Closing client that reached max query buffer length: ", client, "");
        client_close(client);
    }
}

static void read_pause_if_full(struct client *client) {
    if (waits(client) && client->input.len > PARKED_INPUT_MAX) {
        if (!(client->flags & CLIENT_READ_PAUSED)) {
            client->flags |= CLIENT_READ_PAUSED;
            rt_stream_pause(&client->stream);
        }
    } else if (client->flags & CLIENT_READ_PAUSED) {
        client->flags &= ~(unsigned)CLIENT_READ_PAUSED;
        rt_stream_resume(&client->stream);
    }
}

static void on_data(struct rt_stream *stream, struct rt_buffer *buffer, struct bytes bytes) {
    struct client *client = (struct client *)stream;
    struct worker *worker = client->worker;
    client->bytes_in += bytes.len;
    worker->stats.net_input += bytes.len;
    worker->stats.reads++;
    if (client->flags & (CLIENT_CLOSING | CLIENT_CLOSE_AFTER_REPLY)) {
        return;
    }
    client->active_ms = rt_wall_ms(worker->rt);
    bytes = large_fill(client->large, bytes);
    if (client->input.len == 0) {
        input_drop(client);
        client->input_buffer = rt_buffer_ref(buffer);
        client->input = bytes;
    } else if (bytes.len > 0) {
        input_append(client, bytes);
    }
    limit_input(client);
    if (client->flags & CLIENT_CLOSING) {
        return;
    }
    if (waits(client)) {
        client_after_process(client);
    } else {
        client_process(client);
    }
}

/* The peer has ended and everything it asked for has been taken up: what is left is to send the
 * replies. Who is in line to go on, after a wait, has not taken up all. */
static void close_if_ended(struct client *client) {
    if ((client->flags & CLIENT_ENDED) && !waits(client) && !in_line(client)) {
        client_close_after_reply(client);
    }
}

static void on_ended(struct rt_stream *stream, int error) {
    struct client *client = (struct client *)stream;
    if (error != 0) {
        log_worker(client->worker, LOG_VERBOSE, "Reading from client: %s", strerror(abs(error)));
        client_close(client);
        return;
    }
    if (!(client->flags & (CLIENT_CLOSING | CLIENT_CLOSE_AFTER_REPLY))) {
        log_client(client->worker, LOG_VERBOSE, "Client closed connection ", client, "");
    }
    client->flags |= CLIENT_ENDED;
    if (client->flags & CLIENT_BLOCKED) {
        client_close(client); /* nobody waits for the answer any more */
        return;
    }
    close_if_ended(client);
}

/* ---- The order of replies ---- */

static struct pending *pending_last(struct client *client) {
    uint32_t at = client->pending_head + client->pending_count - 1;
    return &client->pending[at & (client->pending_cap - 1)];
}

static struct pending *pending_push(struct client *client) {
    if (client->pending_count == client->pending_cap) {
        uint32_t cap = client->pending_cap ? client->pending_cap * 2 : 16;
        struct pending *ring = must_malloc(cap * sizeof *ring);
        for (uint32_t i = 0; i < client->pending_count; i++) {
            ring[i] = client->pending[(client->pending_head + i) & (client->pending_cap - 1)];
        }
        free(client->pending);
        client->pending = ring;
        client->pending_cap = cap;
        client->pending_head = 0;
    }
    client->pending_count++;
    return pending_last(client);
}

void client_pend_held(struct client *client, size_t bytes) {
    check(client->pending_count > 0);
    struct pending *last = pending_last(client);
    if (last->batch == NULL) {
        last->n += bytes;
        return;
    }
    *pending_push(client) = (struct pending){.n = bytes};
}

void client_pend_op(struct client *client, struct batch *batch, bool discard) {
    if (client->pending_count > 0) {
        struct pending *last = pending_last(client);
        if (last->batch == batch && last->discard == discard) {
            last->n++;
            return;
        }
    }
    *pending_push(client) = (struct pending){.batch = batch, .discard = discard, .n = 1};
}

static void account_home(struct client *client, struct batch *batch) {
    size_t bytes = batch_memory_at_home(batch);
    client->home_memory += bytes - batch->client_memory;
    batch->client_memory = bytes;
}

/* Moves the replies of the next n ops of a batch, which are home. */
static void release_ops(struct client *client, struct batch *batch, size_t n, bool discard) {
    struct outbuf *replies = batch_replies(batch);
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += batch->reply_bytes[batch->released + i];
    }
    batch->released += (uint32_t)n;
    client->ops_pending -= (uint32_t)n;
    client->home_replies -= bytes;
    if (discard || (client->flags & CLIENT_CLOSING)) {
        outbuf_drain(replies, bytes);
    } else {
        outbuf_move(&client->out, replies, bytes);
    }
    if (batch->released == batch->count) {
        client->home_memory -= batch->client_memory;
        batch_put(client->worker, batch);
    } else {
        account_home(client, batch);
    }
}

static void release_pending(struct client *client) {
    while (client->pending_count > 0) {
        struct pending *first = &client->pending[client->pending_head & (client->pending_cap - 1)];
        if (first->batch == NULL) {
            outbuf_move(&client->out, &client->held, first->n);
        } else {
            size_t ready = first->batch->ready - first->batch->released;
            size_t n = ready < first->n ? ready : first->n;
            if (n > 0) {
                release_ops(client, first->batch, n, first->discard);
            }
            first->n -= n;
            if (first->n > 0) {
                break;
            }
        }
        client->pending_head++;
        client->pending_count--;
        client->hold -= client->hold > 0;
    }
}

void client_send_batch(struct client *client, unsigned target) {
    struct worker *worker = client->worker;
    struct batch *batch = worker->open_batches[target];
    worker->open_batches[target] = NULL;
    worker->open_count--;
    client->batches_away++;
    client->self_batches += target == worker->id;
    batch->target = target;
    worker->stats.batches_away++;
    pause_enter(worker, batch->command_flags);
    post_send(worker->server->office, worker->id, target, &batch->message);
}

void client_send_batches(struct client *client) {
    struct worker *worker = client->worker;
    for (unsigned i = 0; worker->open_count > 0; i++) {
        if (worker->open_batches[i] != NULL) {
            client_send_batch(client, i);
        }
    }
}

/* What is away, what came home out of turn and what ran meanwhile. */
static size_t pending_bytes(const struct client *client) {
    return client->bytes_away + client->home_memory + client->held.allocated;
}

bool client_is_full(const struct client *client) {
    return client->ops_pending >= CLIENT_OPS_PENDING_MAX ||
           (client->pending_count > 0 && pending_bytes(client) > CLIENT_PENDING_BYTES_MAX);
}

/* Well below the limits, so that it is worth its while. */
static bool may_be_read_on(const struct client *client) {
    return client->pending_count == 0 ||
           (!(client->flags & CLIENT_FENCED) && client->ops_pending < CLIENT_OPS_PENDING_MAX / 2 &&
            pending_bytes(client) < CLIENT_PENDING_BYTES_MAX / 2);
}

/* Replies of `bytes` came home, in turn or not. */
static void replies_came(struct client *client, struct batch *batch, size_t bytes) {
    client->home_replies += bytes;
    account_home(client, batch);
    release_pending(client);
    if (UNLIKELY(bytes > OUTBUF_CHUNK_BYTES)) {
        client->worker->tick = rt_ticks(client->worker->rt); /* moving them took a while */
    }
    if (client->flags & CLIENT_CLOSING) {
        client_try_free(client);
        return;
    }
    client_mark_dirty(client);
    if (client_check_output(client)) {
        return;
    }
    if ((client->flags & CLIENT_PARKED) && !in_line(client) && may_be_read_on(client)) {
        client_resume(client);
    }
}

void client_batch_news(struct batch_news *news) {
    struct batch *batch = news->batch;
    size_t bytes = news->out.bytes;
    batch_take_news(batch, news);
    replies_came(batch->client, batch, bytes);
}

void client_batch_done(struct client *client, struct batch *batch) {
    client->batches_away--;
    pause_leave(client->worker, batch->command_flags);
    client->self_batches -= batch->target == client->worker->id;
    client->bytes_away -= batch->request_bytes;
    size_t bytes = batch->out.bytes;
    batch_returned(batch);
    replies_came(client, batch, bytes);
}

/* ---- Output ---- */

void client_mark_dirty(struct client *client) {
    if (!(client->flags & (CLIENT_DIRTY | CLIENT_CLOSING))) {
        client->flags |= CLIENT_DIRTY;
        list_push_back(&client->worker->dirty, &client->dirty_node);
    }
}

bool client_all_sent(const struct client *client) {
    return client->out.bytes == 0 && client->pending_count == 0 && client->scatter == NULL &&
           client->txn == NULL && !rt_stream_sending(&client->stream);
}

/* A pipeline whose ops ran on several shards is answered with one send, not with one for each batch
 * that comes home: a send costs more than many ops. Waited for is what was away when the wait
 * began, never what came after, so a client that writes without a pause is answered all the same;
 * and not for long, as one of the shards may be.
 */
static bool holds_back(struct client *client) {
    if (client->pending_count == 0 || client->out.bytes >= OUTBUF_CHUNK_BYTES) {
        return false;
    }
    if (!client->holding) {
        client->holding = true;
        client->hold = client->pending_count;
        client->hold_until_ms = rt_mono_ms(client->worker->rt) + HOLD_MS_MAX;
        list_push_back(&client->worker->holding, &client->hold_node);
    }
    return client->hold > 0;
}

void client_release_output(struct client *client) {
    list_remove(&client->hold_node);
    client->hold = 0;
    client_mark_dirty(client);
}

void client_flush(struct client *client) {
    client->flags &= ~(unsigned)CLIENT_DIRTY;
    list_remove(&client->dirty_node);
    client->out_flushed = client->out.bytes;
    if (client->flags & CLIENT_CLOSING) {
        return;
    }
    if (client->out.bytes > 0 && !rt_stream_sending(&client->stream) && !holds_back(client)) {
        client->holding = false;
        client->hold = 0;
        list_remove(&client->hold_node);
        struct iovec vectors[RT_SEND_VECTORS];
        int n = outbuf_vectors(&client->out, vectors, RT_SEND_VECTORS);
        if (n < RT_SEND_VECTORS && !(client->flags & CLIENT_CLOSE_AFTER_REPLY)) {
            rt_stream_send_lazy(&client->stream, vectors, n);
        } else {
            rt_stream_send(&client->stream, vectors, n);
        }
        client->worker->stats.writes++;
        client->active_ms = rt_wall_ms(client->worker->rt);
    }
    if ((client->flags & CLIENT_CLOSE_AFTER_REPLY) && client_all_sent(client)) {
        client_close(client);
        return;
    }
    client_account(client);
}

static void on_sent(struct rt_stream *stream, size_t n) {
    struct client *client = (struct client *)stream;
    outbuf_drain(&client->out, n);
    client->bytes_out += n;
    client->worker->stats.net_output += n;
    if (rt_stream_waited(stream)) { /* who reads a long reply is not idle */
        client->active_ms = rt_wall_ms(client->worker->rt);
    }
    if (client->flags & CLIENT_CLOSING) {
        return;
    }
    if (client->out.bytes > 0 || (client->flags & CLIENT_CLOSE_AFTER_REPLY)) {
        client_mark_dirty(client);
    }
}

/* Replies that have not left, those out of turn too. */
static size_t output_bytes(const struct client *client) {
    bool dropped = (client->flags & CLIENT_REPLY_OFF) != 0;
    return client->out.bytes + client->held.bytes + (dropped ? 0 : client->home_replies);
}

/* Over the hard limit, or over the soft one for long enough; over its own if it gave no password.
 */
static bool output_over_limit(struct client *client) {
    const struct config *config = client->worker->config;
    const struct config_output_limit *limit =
        &config->client_output_buffer_limit[CONFIG_OUTPUT_NORMAL];
    /* A first chunk is free, as the fixed buffer of each client is in Valkey: no limit, however
     * small, cuts off who reads his replies. */
    size_t bytes = output_bytes(client);
    bytes = bytes > OUTBUF_CHUNK_BYTES ? bytes - OUTBUF_CHUNK_BYTES : 0;
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
    return hard > 0 && !drops ? hard + OUTBUF_CHUNK_BYTES : SIZE_MAX;
}

void client_close_over_limit(struct client *client) {
    struct worker *worker = client->worker;
    worker->stats.output_limit_disconnects++;
    log_client(worker, LOG_WARNING, "Client ", client,
               " closed for overcoming of output buffer limits.");
    client_close(client);
}

bool client_check_output(struct client *client) {
    if (client->flags & CLIENT_CLOSING) {
        return true;
    }
    struct worker *worker = client->worker;
    size_t bytes = output_bytes(client);
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

struct reply client_reply(struct client *client) {
    check(client->pending_count == 0);
    struct reply reply;
    bool drop = (client->flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP)) != 0;
    reply_init(&reply, drop ? &client->worker->discard : &client->out, client->resp);
    client_mark_dirty(client);
    return reply;
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
    return bytes + client->batches_away * sizeof(struct batch);
}

void client_account(struct client *client) {
    size_t bytes = client_memory(client);
    struct worker *worker = client->worker;
    worker->clients_memory += bytes - client->memory;
    client->memory = bytes;
    if (UNLIKELY(worker->evicts)) {
        client_order(client);
    }
}

void client_order(struct client *client) {
    struct worker *worker = client->worker;
    pqueue_remove(&worker->evictable, &client->memory_node);
    if (worker->evicts && !(client->flags & (CLIENT_NO_EVICT | CLIENT_CLOSING))) {
        pqueue_add(&worker->evictable, &client->memory_node, -(int64_t)client->memory);
    }
}

struct client *client_of_id(const struct worker *worker, uint64_t id) {
    struct link *at = links_first(&worker->clients_by_id, links_hash(id));
    while (at != NULL && LINK_ENTRY(at, struct client, id_link)->id != id) {
        at = at->next;
    }
    return at != NULL ? LINK_ENTRY(at, struct client, id_link) : NULL;
}

void client_set_text(char **field, struct bytes text) {
    free(*field);
    *field = NULL;
    if (text.len > 0) {
        *field = must_malloc(text.len + 1);
        memcpy(*field, text.ptr, text.len);
        (*field)[text.len] = 0;
    }
}

/* ---- Life ---- */

bool client_may_run(const struct client *client) {
    return (client->flags & CLIENT_AUTHENTICATED) || client->worker->config->requirepass.len == 0;
}

static void on_gone(struct rt_stream *stream) {
    struct client *client = (struct client *)stream;
    client->flags |= CLIENT_GONE;
    client_try_free(client);
}

static const struct rt_stream_events client_events = {
    .data = on_data,
    .sent = on_sent,
    .ended = on_ended,
    .gone = on_gone,
};

void client_accept(struct worker *worker, const struct rt_accepted *accepted, uint64_t id) {
    struct client *client = must_calloc(1, sizeof *client);
    client->worker = worker;
    client->id = id;
    client->resp = 2;
    client->flags = (accepted->is_unix ? CLIENT_UNIX : 0) | (accepted->is_local ? CLIENT_LOCAL : 0);
    if (worker->config->requirepass.len == 0) {
        client->flags |= CLIENT_AUTHENTICATED;
    }
    parser_init(&client->parser);
    outbuf_init(&client->out);
    outbuf_init(&client->held);
    list_node_init(&client->dirty_node);
    list_node_init(&client->wait_node);
    pqueue_node_init(&client->blocked_node);
    pqueue_node_init(&client->memory_node);
    list_node_init(&client->hold_node);
    client->created_ms = client->active_ms = rt_wall_ms(worker->rt);
    rt_socket_addresses(worker->rt, accepted->socket, client->peer, client->local);
    if (!accepted->is_unix) {
        rt_socket_no_delay(worker->rt, accepted->socket);
        rt_socket_keep_alive(worker->rt, accepted->socket, (int)worker->config->tcp_keepalive);
    }
    list_push_back(&worker->clients, &client->node);
    client->id_link.hash = links_hash(id);
    links_add(&worker->clients_by_id, &client->id_link);
    worker->clients_count++;
    if (rt_stream_open(worker->rt, &client->stream, accepted->socket, &client_events) != 0) {
        rt_socket_close(worker->rt, accepted->socket);
        client->flags |= CLIENT_CLOSING | CLIENT_GONE;
        client_try_free(client);
        return;
    }
    client_account(client);
}

void client_close(struct client *client) {
    if (client->flags & CLIENT_CLOSING) {
        return;
    }
    client->flags |= CLIENT_CLOSING;
    client->flags &=
        ~(unsigned)(CLIENT_DIRTY | CLIENT_PARKED | CLIENT_PAUSED | CLIENT_BLOCKED | CLIENT_FENCED);
    list_remove(&client->dirty_node);
    list_remove(&client->wait_node);
    pqueue_remove(&client->worker->blocked, &client->blocked_node);
    pqueue_remove(&client->worker->evictable, &client->memory_node);
    list_remove(&client->hold_node);
    client->input.len =
        0; /* the buffer is dropped with the client: a window may be running over it */
    rt_stream_close(&client->stream);
}

void client_close_after_reply(struct client *client) {
    client->flags |= CLIENT_CLOSE_AFTER_REPLY;
    client_mark_dirty(client);
}

bool client_try_free(struct client *client) {
    if (!(client->flags & CLIENT_GONE) || client->batches_away > 0 || client->scatter != NULL ||
        client->txns_open > 0) {
        return false;
    }
    struct worker *worker = client->worker;
    check(client->pending_count == 0 && client->ops_pending == 0);
    check(client->home_memory == 0 && client->home_replies == 0);
    worker->clients_memory -= client->memory;
    worker->clients_count--;
    shared_connection_over(worker->server->shared, worker->id);
    list_remove(&client->node);
    links_remove(&worker->clients_by_id, &client->id_link);
    list_remove(&client->dirty_node);
    list_remove(&client->wait_node);
    input_drop(client);
    large_free(client->large);
    parser_fini(&client->parser);
    worker_waste_replies(worker, &client->out);
    worker_waste_replies(worker, &client->held);
    free(client->pending);
    multi_discard(client);
    free(client->name);
    free(client->lib_name);
    free(client->lib_version);
    free(client);
    return true;
}

/* ---- Waiting ---- */

void client_after_process(struct client *client) {
    if (client->flags & CLIENT_CLOSING) {
        return;
    }
    struct rt_buffer *buffer = client->input_buffer;
    if (client->input.len > 0 && !input_begin_large(client) && buffer != NULL &&
        buffer->pool != NULL) {
        /* A pool buffer must not wait with a client: there are few of them. */
        size_t announced = parser_bytes_needed(&client->parser);
        size_t capacity = client->input.len * 2;
        capacity = capacity > INPUT_BUFFER_MIN_BYTES ? capacity : INPUT_BUFFER_MIN_BYTES;
        if (announced > capacity) {
            capacity = announced < INPUT_AHEAD_BYTES_MAX ? announced : INPUT_AHEAD_BYTES_MAX;
        }
        input_move_to(client, capacity, bytes_make(NULL, 0));
    }
    if ((client->flags & CLIENT_PAUSED) && !list_node_linked(&client->wait_node)) {
        list_push_back(&client->worker->paused, &client->wait_node);
    }
    read_pause_if_full(client);
    if (client->out.bytes > 0 || (client->flags & CLIENT_CLOSE_AFTER_REPLY)) {
        client_mark_dirty(client);
    } else {
        client_account(client);
    }
    close_if_ended(client);
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
            limit_input(client); /* what came while it waited was not looked at */
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

void client_cron(struct client *client, int64_t now_ms) {
    if (client->flags & CLIENT_CLOSING) {
        return;
    }
    const struct config *config = client->worker->config;
    int64_t idle_ms = now_ms - client->active_ms;
    if (config->timeout > 0 && idle_ms > config->timeout * 1000 && !waits(client) &&
        !in_line(client) && client->pending_count == 0) {
        log_client(client->worker, LOG_VERBOSE, "Closing idle client ", client, "");
        client_close(client);
        return;
    }
    if (client_check_output(client)) {
        return;
    }
    if (idle_ms > IDLE_BEFORE_LOOK_MS) {
        rt_stream_look_again(&client->stream);
    }
    if (idle_ms > IDLE_BEFORE_SHRINK_MS) {
        client->out_peak = output_bytes(client);
        if (client->out.bytes == 0 && !rt_stream_sending(&client->stream)) {
            outbuf_shrink(&client->out);
        }
        if (client->pending_count == 0) {
            outbuf_shrink(&client->held);
            free(client->pending);
            client->pending = NULL;
            client->pending_cap = client->pending_head = 0;
        }
    }
    client_account(client);
}
