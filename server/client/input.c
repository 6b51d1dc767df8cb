/* SPDX-License-Identifier: BSD-3-Clause */
/* input: what a connection has sent, from its bytes to whole requests. Why so: requests are parsed
 * in place, and batches on other threads read their words where they arrived. So bytes are never
 * moved while somebody may look at them; a connection that has nothing to say holds no buffer.
 *
 * Invariants
 *  1. `input` lies in `input_buffer`. Bytes before it may still be read by batches, so a buffer's
 * used part never moves or changes while somebody else holds it.
 */
#include "base/check.h"
#include "base/must.h"
#include "net/tls.h"
#include "server/client/client.h"
#include "server/client/client_private.h"
#include "server/client/describe.h"
#include "server/client/large.h"
#include "server/observe/flood.h"
#include "server/observe/log.h"
#include "server/worker/handlers.h"
#include "server/worker/worker.h"

#include <stdlib.h>
#include <string.h>

#define INPUT_BUFFER_MIN_BYTES    (16 * 1024)
#define INPUT_BUFFER_FRUGAL_BYTES 512
/* Room made at once for a big bulk that was announced. */
#define INPUT_AHEAD_BYTES_MAX (64 * 1024 * 1024)
/* One that waits is not read on once it has this much unparsed input. */
#define WAITING_INPUT_MAX (256 * 1024)

void client_input_drop(struct client *client) {
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
    client_input_drop(client);
    client->input_buffer = buffer;
    client->input = bytes_make(buffer->data, old + more.len);
}

static size_t buffer_min(const struct client *client) {
    return UNLIKELY(client->worker->room.frugal) ? INPUT_BUFFER_FRUGAL_BYTES
                                                 : INPUT_BUFFER_MIN_BYTES;
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
    size_t capacity = need * 2 > buffer_min(client) ? need * 2 : buffer_min(client);
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
        client_input_drop(client);
    }
}

/* A big bulk has begun: from here on it is received where it will stay (large.h). Only at the end
 * of processing, when the input starts with its request and nothing else waits for a turn.
 * False: it is collected in the input like everything else. */
static bool input_begin_large(struct client *client) {
    size_t offset, length;
    if (!(client->flags & CLIENT_INPUT_PARTIAL) || large_missing(client->large) > 0 ||
        !parser_bulk_missing(&client->parser, &offset, &length) || length < LARGE_BYTES_MIN ||
        client->input.len - offset >= length) {
        return false;
    }
    /* A client that will be closed for its size, or that could never be served, is told so on the
     * way. */
    if (client_bulk_is_too_long(client, length) ||
        length > (size_t)client->worker->server->string_bytes_max) {
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

static void read_pause_if_full(struct client *client) {
    if (client->state != CLIENT_READING && client->input.len > WAITING_INPUT_MAX) {
        if (!(client->flags & CLIENT_READ_PAUSED)) {
            client->flags |= CLIENT_READ_PAUSED;
            rt_stream_pause(&client->stream);
        }
    } else if (client->flags & CLIENT_READ_PAUSED) {
        client->flags &= ~(unsigned)CLIENT_READ_PAUSED;
        rt_stream_resume(&client->stream);
    }
}

void client_on_data(struct rt_stream *stream, struct rt_buffer *buffer, struct bytes bytes) {
    struct client *client = (struct client *)stream;
    struct worker *worker = client->worker;
    client->bytes_in += bytes.len;
    worker->stats.net_input += bytes.len;
    if (UNLIKELY(client->upstream != NULL)) {
        worker->stats.net_repl_input += bytes.len;
    }
    if (UNLIKELY(client->flags & CLIENT_IMPORTS)) {
        worker->stats.net_import += bytes.len;
    }
    worker->stats.reads++;
    if (client_is_closing(client) || (client->flags & CLIENT_CLOSE_AFTER_REPLY)) {
        return;
    }
    client->active_ms = rt_wall_ms(worker->rt);
    if (UNLIKELY(client->upstream != NULL)) {
        worker->server->handlers->upstream_data(client, buffer, bytes);
    } else {
        client_take(client, buffer, bytes);
    }
}

void client_take(struct client *client, struct rt_buffer *buffer, struct bytes bytes) {
    const struct worker *worker = client->worker;
    bytes = large_fill(client->large, bytes);
    if (client->input.len == 0) {
        client_input_drop(client);
        client->input_buffer = rt_buffer_ref(buffer);
        client->input = bytes;
    } else if (bytes.len > 0) {
        input_append(client, bytes);
    }
    client_limit_input(client);
    if (client_is_closing(client)) {
        return;
    }
    bool later = worker->parked.is || (client->flags & CLIENT_RAN_SCRIPT);
    if (client->state == CLIENT_READING && UNLIKELY(later)) {
        client->flags &= ~(unsigned)CLIENT_RAN_SCRIPT;
        client_resume(client);
    }
    if (client->state == CLIENT_READING) {
        client->worker->server->handlers->client_input(client);
    } else {
        client_after_process(client);
    }
}

/* The peer has ended and everything it asked for has been taken up: what is left is to send the
 * replies. Who waits, or is in line to go on, has not taken up all. */
static void close_if_ended(struct client *client) {
    if ((client->flags & CLIENT_ENDED) && client->state == CLIENT_READING) {
        client_close_after_reply(client);
    }
}

static void log_broken(const struct client *client, int error) {
    bool tls = client->flags & CLIENT_TLS;
    const char *why = tls ? tls_stream_error(&client->stream) : "";
    why = why[0] != 0 ? why : strerror(abs(error));
    if (tls && client->upstream != NULL) {
        log_worker(client->worker, LOG_WARNING, "Error condition on socket for SYNC: %s", why);
    } else if (tls && !tls_stream_is_open(&client->stream) && client->bytes_in == 0) {
        if (flood_lets(client->worker, FLOOD_TLS)) {
            log_worker(client->worker, LOG_WARNING,
                       "Error accepting a client connection: %s (addr=%s laddr=%s)", why,
                       client->peer, client->local);
        }
    } else {
        log_worker(client->worker, LOG_VERBOSE, "Reading from client: %s", why);
    }
}

void client_on_ended(struct rt_stream *stream, int error) {
    struct client *client = (struct client *)stream;
    if (error != 0) {
        log_broken(client, error);
        client_close(client);
        return;
    }
    if (!client_is_closing(client) && !(client->flags & CLIENT_CLOSE_AFTER_REPLY)) {
        log_client(client->worker, LOG_VERBOSE, "Client closed connection ", client, "");
    }
    client->flags |= CLIENT_ENDED;
    if (client_is_blocked(client)) {
        client_leave_wait(client);
        return;
    }
    close_if_ended(client);
}

void client_after_process(struct client *client) {
    if (client_is_closing(client)) {
        return;
    }
    struct rt_buffer *buffer = client->input_buffer;
    bool begins = client->input.len > 0 && !client->worker->parked.is && input_begin_large(client);
    if (client->input.len > 0 && !begins && buffer != NULL && buffer->pool != NULL) {
        /* A pool buffer must not wait with a client: there are few of them. */
        size_t announced = parser_bytes_needed(&client->parser);
        size_t capacity = client->input.len * (client->worker->room.frugal ? 1 : 2);
        capacity = capacity > buffer_min(client) ? capacity : buffer_min(client);
        if (announced > capacity) {
            capacity = announced < INPUT_AHEAD_BYTES_MAX ? announced : INPUT_AHEAD_BYTES_MAX;
        }
        input_move_to(client, capacity, bytes_make(NULL, 0));
    }
    read_pause_if_full(client);
    if (client->out.bytes > 0 || (client->flags & CLIENT_CLOSE_AFTER_REPLY)) {
        client_mark_dirty(client);
    } else {
        client_account(client);
    }
    close_if_ended(client);
}
