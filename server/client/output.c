/* SPDX-License-Identifier: BSD-3-Clause */
/* output: the order of replies, and their way out. Why so: a reply that is next in line is written
 * where it leaves from, without a copy; what is ahead of its turn stays in the batch it came in or
 * in `held`, and moving it costs no more than its chunks.
 *
 * Invariants
 *  1. pending is the order of replies; its first entry waits for a batch, else it would have been
 * moved to `out`.
 *  2. client_flush is the gate: all output of a client leaves by it, and by nothing else.
 */
#include "base/check.h"
#include "base/must.h"
#include "server/call/batch.h"
#include "server/client/client.h"
#include "server/client/client_private.h"
#include "server/client/gate.h"
#include "server/worker/pause.h"
#include "server/worker/worker.h"

#include <stdlib.h>

#define DELAY_MS_MAX 10

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
static void hand_on_ops(struct client *client, struct batch *batch, size_t n, bool discard) {
    struct outbuf *replies = batch_replies(batch);
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += batch->reply_bytes[batch->handed_on + i];
    }
    batch->handed_on += (uint32_t)n;
    client->ops_pending -= (uint32_t)n;
    client->home_replies -= bytes;
    if (discard || client_is_closing(client)) {
        outbuf_drain(replies, bytes);
    } else {
        worker_begin_small(client->worker, &client->out);
        outbuf_move(&client->out, replies, bytes);
    }
    if (batch->handed_on == batch->count) {
        client->home_memory -= batch->client_memory;
        batch_put(client->worker, batch);
    } else {
        account_home(client, batch);
    }
}

static void hand_on_pending(struct client *client) {
    while (client->pending_count > 0) {
        struct pending *first = &client->pending[client->pending_head & (client->pending_cap - 1)];
        if (first->batch == NULL) {
            outbuf_move(&client->out, &client->held, first->n);
        } else {
            size_t ready = first->batch->ready - first->batch->handed_on;
            size_t n = ready < first->n ? ready : first->n;
            if (n > 0) {
                hand_on_ops(client, first->batch, n, first->discard);
            }
            first->n -= n;
            if (first->n > 0) {
                break;
            }
        }
        client->pending_head++;
        client->pending_count--;
        client->delay -= client->delay > 0;
    }
}

void client_send_batch(struct client *client, unsigned target) {
    struct worker *worker = client->worker;
    struct batch *batch = worker->batches.open[target];
    worker->batches.open[target] = NULL;
    worker->batches.open_count--;
    client->batches_away++;
    batch->sent = true;
    worker->stats.batches_away += target != worker->id;
    pause_enter(&worker->pause, batch->command_flags);
    post_send(worker->server->office, worker->id, target, &batch->message);
}

void client_send_batches(struct client *client) {
    struct worker *worker = client->worker;
    for (unsigned i = 0; worker->batches.open_count > 0; i++) {
        if (worker->batches.open[i] != NULL) {
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
           client->batches_away >= CLIENT_BATCHES_AWAY_MAX ||
           client->order.hand_overs >= ORDER_HAND_OVERS_MAX ||
           (client->pending_count > 0 && pending_bytes(client) > CLIENT_PENDING_BYTES_MAX);
}

/* Well below the limits, so that it is worth its while. */
static bool may_be_read_on(const struct client *client) {
    return client->pending_count == 0 ||
           (client->state != CLIENT_FENCED && client->ops_pending < CLIENT_OPS_PENDING_MAX / 2 &&
            client->batches_away < CLIENT_BATCHES_AWAY_MAX / 2 &&
            client->order.hand_overs < ORDER_HAND_OVERS_MAX / 2 &&
            pending_bytes(client) < CLIENT_PENDING_BYTES_MAX / 2);
}

/* Replies of `bytes` came home, in turn or not. */
static void replies_came(struct client *client, struct batch *batch, size_t bytes) {
    client->home_replies += bytes;
    account_home(client, batch);
    hand_on_pending(client);
    if (UNLIKELY(bytes > OUTBUF_CHUNK_BYTES)) {
        client->worker->slice.tick = rt_ticks(client->worker->rt); /* moving them took a while */
    }
    if (client_is_closing(client)) {
        client_try_free(client);
        return;
    }
    client_mark_dirty(client);
    if (client_check_output(client)) {
        return;
    }
    bool waits_for_them = client->state == CLIENT_FULL || client->state == CLIENT_FENCED;
    if (waits_for_them && may_be_read_on(client)) {
        client_resume(client);
    }
}

void client_batch_news(struct worker *worker, struct message *message) {
    struct batch_news *news = (struct batch_news *)message;
    struct batch *batch = news->batch;
    size_t bytes = news->out.bytes;
    batch_take_news(worker, batch, news);
    replies_came(batch->client, batch, bytes);
}

void client_batch_done(struct worker *worker, struct message *message) {
    struct batch *batch = (struct batch *)message;
    struct client *client = batch->client;
    client->batches_away--;
    pause_leave(&client->worker->pause, batch->command_flags);
    client->self_batches -= batch->target == client->worker->id;
    struct batch *next = order_batch_home(&client->order, batch);
    if (next != NULL) {
        batch_send_baton(client->worker, next);
    }
    client->bytes_away -= batch->request_bytes;
    size_t bytes = batch->out.bytes;
    batch_returned(batch);
    replies_came(client, batch, bytes);
}

/* ---- Output ---- */

void client_mark_dirty(struct client *client) {
    if (!(client->flags & CLIENT_DIRTY) && !client_is_closing(client)) {
        client->flags |= CLIENT_DIRTY;
        list_push_back(&client->worker->clients.dirty, &client->dirty_node);
    }
}

bool client_all_sent(const struct client *client) {
    bool runs = client->state == CLIENT_WAITING && !client->wait.kind->blocked;
    return client->out.bytes == 0 && client->pending_count == 0 && !runs &&
           !rt_stream_sending(&client->stream);
}

/* A pipeline whose ops ran on several shards is answered with one send, not with one for each batch
 * that comes home: a send costs more than many ops. Waited for is what was away when the wait
 * began, never what came after, so a client that writes without a pause is answered all the same;
 * and not for long, as one of the shards may be.
 */
static bool delays_output(struct client *client) {
    if (client->pending_count == 0 || client->out.bytes >= OUTBUF_CHUNK_BYTES) {
        return false;
    }
    if (!client->delayed) {
        client->delayed = true;
        client->delay = client->pending_count;
        client->delay_until_ms = rt_mono_ms(client->worker->rt) + DELAY_MS_MAX;
        list_push_back(&client->worker->clients.delayed, &client->delay_node);
    }
    return client->delay > 0;
}

void client_end_delay(struct client *client) {
    list_remove(&client->delay_node);
    client->delay = 0;
    client_mark_dirty(client);
}

/* Its first n bytes. */
static void send_some(struct client *client, size_t n) {
    struct iovec vectors[RT_SEND_VECTORS];
    int count = outbuf_vectors(&client->out, vectors, RT_SEND_VECTORS);
    int used = 0;
    for (size_t left = n; used < count && left > 0; used++) {
        vectors[used].iov_len = vectors[used].iov_len < left ? vectors[used].iov_len : left;
        left -= vectors[used].iov_len;
    }
    bool all = used < RT_SEND_VECTORS && n == client->out.bytes;
    if (all && !(client->flags & CLIENT_CLOSE_AFTER_REPLY)) {
        rt_stream_send_lazy(&client->stream, vectors, used);
    } else {
        rt_stream_send(&client->stream, vectors, used);
    }
}

/* Those that may leave. */
static size_t open_bytes(struct client *client) {
    struct wal *wal = worker_own_wal(client->worker);
    return LIKELY(wal == NULL) ? client->out.bytes : gate_open_bytes(wal, client);
}

void client_flush(struct client *client) {
    client->flags &= ~(unsigned)CLIENT_DIRTY;
    list_remove(&client->dirty_node);
    client->out_flushed = client->out.bytes;
    if (client_is_closing(client)) {
        return;
    }
    size_t n = open_bytes(client);
    if (n > 0 && !rt_stream_sending(&client->stream) && !delays_output(client)) {
        client->delayed = false;
        client->delay = 0;
        list_remove(&client->delay_node);
        send_some(client, n);
        client->worker->stats.writes++;
        if (LIKELY(!(client->flags & CLIENT_IMPORTS))) { /* it is told something each second */
            client->active_ms = rt_wall_ms(client->worker->rt);
        }
    }
    if (client->state == CLIENT_ENDING && client_all_sent(client)) {
        client_close(client);
        return;
    }
    client_account(client);
}

void client_on_sent(struct rt_stream *stream, size_t n) {
    struct client *client = (struct client *)stream;
    outbuf_drain(&client->out, n);
    if (UNLIKELY(client->worker->room.frugal)) {
        outbuf_shrink(&client->out);
    }
    gate_drained(client, n);
    client->bytes_out += n;
    client->worker->stats.net_output += n;
    if (UNLIKELY(client->replica != NULL)) {
        client->worker->stats.net_repl_output += n;
    }
    if (rt_stream_waited(stream)) { /* who reads a long reply is not idle */
        client->active_ms = rt_wall_ms(client->worker->rt);
    }
    if (client_is_closing(client)) {
        return;
    }
    if (client->out.bytes > 0 || (client->flags & CLIENT_CLOSE_AFTER_REPLY)) {
        client_mark_dirty(client);
    }
}

struct reply client_reply(struct client *client) {
    check(client->pending_count == 0);
    struct reply reply;
    bool drop = (client->flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP)) != 0;
    reply_init(&reply, drop ? &client->worker->discard : &client->out, client->resp);
    client_mark_dirty(client);
    return reply;
}

struct client *clients_first_delayed(const struct worker *worker) {
    struct list_node *node = list_first(&worker->clients.delayed);
    return node != NULL ? LIST_ENTRY(node, struct client, delay_node) : NULL;
}

void clients_flush(struct worker *worker) {
    struct client *delayed;
    while ((delayed = clients_first_delayed(worker)) != NULL &&
           delayed->delay_until_ms <= rt_mono_ms(worker->rt)) {
        client_end_delay(delayed);
    }
    struct list_node *node;
    while ((node = list_first(&worker->clients.dirty)) != NULL) {
        client_flush(LIST_ENTRY(node, struct client, dirty_node));
    }
}
