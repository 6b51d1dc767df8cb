/* SPDX-License-Identifier: BSD-3-Clause */
/* describe: see the header. */
#include "server/client/describe.h"

#include "server/call/command_table.h"
#include "server/client/client_private.h"
#include "server/client/identity.h"
#include "server/client/large.h"
#include "server/observe/flood.h"
#include "server/observe/log.h"
#include "server/replication/replica.h"
#include "server/tracking/tracking.h"
#include "server/txn/multi.h"
#include "server/worker/handlers.h"
#include "server/worker/worker.h"

/* What EXEC is running. */
static const struct multi_queue *running_queue(const struct client *client, uint32_t *ret_done) {
    return client->worker->server->handlers->client_queue(client, ret_done);
}

void client_flags_text(const struct client *client, char ret[CLIENT_FLAGS_TEXT_BYTES]) {
    static const struct {
        unsigned flag;
        char letter;
    } letters[] = {
        {CLIENT_UNIX, 'U'},     {CLIENT_READONLY, 'r'},      {CLIENT_NO_EVICT, 'e'},
        {CLIENT_NO_TOUCH, 'T'}, {CLIENT_IMPORT_SOURCE, 'I'},
    };
    char *p = ret;
    uint32_t done;
    if (client->monitor != NULL) {
        *p++ = 'O';
    }
    if (client->flags & CLIENT_SUBSCRIBED) {
        *p++ = 'P';
    }
    if (client->multi != NULL || running_queue(client, &done) != NULL) {
        *p++ = 'x';
    }
    if (client->upstream != NULL) {
        *p++ = 'M';
        *p = 0;
        return;
    }
    if (client->flags & CLIENT_IMPORTS) {
        *p++ = 'i';
    }
    if (client_is_shown_blocked(client)) {
        *p++ = 'b';
    }
    const struct tracking *tracking = client->flags & CLIENT_TRACKED ? client->tracking : NULL;
    if (tracking != NULL) {
        *p++ = 't';
    }
    if (tracking != NULL && tracking->broken) {
        *p++ = 'R';
    }
    if (tracking != NULL && tracking->options.bcast) {
        *p++ = 'B';
    }
    if (client->flags & CLIENT_CLOSE_AFTER_REPLY) {
        *p++ = 'c';
    }
    if (client_is_closing(client)) {
        *p++ = 'A';
    }
    for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++) {
        if (client->flags & letters[i].flag) {
            *p++ = letters[i].letter;
        }
    }
    if (replica_is(client)) {
        *p++ = 'S';
    }
    if (p == ret) {
        *p++ = 'N';
    }
    *p = 0;
}

/* Output beyond the first chunk, as Valkey's reply list: how many chunks, how many bytes they take.
 */
static void output_list(const struct outbuf *out, unsigned *ret_chunks, size_t *ret_bytes) {
    *ret_chunks = 0;
    *ret_bytes = 0;
    for (const struct outbuf_chunk *c = out->head ? out->head->next : NULL; c; c = c->next) {
        if (c->used > 0) {
            ++*ret_chunks;
            *ret_bytes += sizeof(*c) + (c->cap ? c->cap : c->used);
        }
    }
}

/* Of one that is listed for what it has away the stream may be no more. */
static size_t bytes_taken(const struct client *client) {
    return client->state != CLIENT_GONE ? rt_stream_taken(&client->stream) : 0;
}

/* Bytes in the first chunk that nobody has handed to the system: a reply may reach its reader, and
 * the next request come, before we hear that it was sent. */
static size_t output_first(const struct client *client) {
    size_t first = client->out.head ? client->out.head->used - client->out.head_sent : 0;
    size_t sending = bytes_taken(client);
    first = first < client->out.bytes ? first : client->out.bytes;
    return first > sending ? first - sending : 0;
}

#define REDACTED "*redacted*"

/* What both forms begin with. */
static void describe_who(struct text *text, const struct client *client, bool redacted) {
    text_appendf(text, "id=%llu addr=%s laddr=%s fd=%d name=%s", (unsigned long long)client->id,
                 client->peer, client->local,
                 client->state != CLIENT_GONE ? (int)client->stream.socket : -1,
                 redacted       ? REDACTED
                 : client->name ? client->name
                                : "");
}

void client_describe_short(struct text *text, const struct client *client, bool redacted) {
    describe_who(text, client, redacted);
    struct bytes user = redacted ? bytes_of_text(REDACTED) : client_user_name(client);
    text_appendf(text, " user=%.*s lib-name=%s lib-ver=%s", bytes_precision(user), user.ptr,
                 client->lib_name ? client->lib_name : "",
                 client->lib_version ? client->lib_version : "");
}

void client_describe(struct text *text, const struct client *client, bool redacted,
                     size_t input_bytes, size_t argv_bytes, int64_t now_ms) {
    char flags[CLIENT_FLAGS_TEXT_BYTES];
    unsigned chunks;
    size_t chunks_bytes;
    client_flags_text(client, flags);
    output_list(&client->out, &chunks, &chunks_bytes);
    size_t first = output_first(client);
    uint32_t done; /* inside EXEC, which watches nothing any more */
    const struct multi_queue *running = running_queue(client, &done);
    const struct multi_queue *queue = running != NULL ? running : client->multi;
    int queued = queue != NULL ? (int)queue->count : client->flags & CLIENT_MULTI_USED ? 0 : -1;
    unsigned watched = client->watches != NULL && running == NULL ? client->watches->count : 0;
    size_t buffered = client->input_buffer && input_bytes ? client->input_buffer->size : 0;
    if (client->large != NULL) {
        size_t large = large_unparsed(client->large, client->parser.pos);
        buffered += large + large_missing(client->large);
        input_bytes += large;
    }
    const struct command_ref *last = client->last_command;
    long long redirect =
        client->flags & CLIENT_TRACKED ? (long long)client->tracking->options.redirect : -1;
    describe_who(text, client, redacted);
    text_appendf(text, " age=%lld idle=%lld flags=%s capa=%s",
                 (long long)client_seconds_since(client->created_ms, now_ms),
                 (long long)client_seconds_since(client->active_ms, now_ms), flags,
                 client->flags & CLIENT_CAPA_REDIRECT ? "r" : "");
    text_appendf(
        text,
        " db=%u sub=%u psub=%u ssub=%u multi=%d watch=%u qbuf=%zu qbuf-free=%zu argv-mem=%zu"
        " multi-mem=%zu rbs=%zu rbp=%zu obl=%zu oll=%u omem=%zu tot-mem=%zu events=%s cmd=%s",
        client->db, client->subscriptions[TOPIC_CHANNEL], client->subscriptions[TOPIC_PATTERN],
        client->subscriptions[TOPIC_SHARD_CHANNEL], queued, watched, input_bytes,
        buffered > input_bytes ? buffered - input_bytes : 0, argv_bytes,
        queue != NULL ? multi_queue_words_memory(queue) : 0,
        client->out.head ? client->out.head->cap : 0, client->out_peak, first, chunks, chunks_bytes,
        client_memory(client),
        client->state != CLIENT_GONE && rt_stream_stuck(&client->stream) ? "rw" : "r",
        last ? last->full_name : "NULL");
    /* What runs counts when it is over. */
    bool running_now = argv_bytes > 0 || client_in_blocking_command(client);
    struct bytes user = redacted ? bytes_of_text(REDACTED) : client_user_name(client);
    text_appendf(text,
                 " user=%.*s redir=%lld resp=%d lib-name=%s lib-ver=%s tot-net-in=%llu"
                 " tot-net-out=%llu tot-cmds=%llu",
                 bytes_precision(user), user.ptr, redirect, client->resp,
                 client->lib_name ? client->lib_name : "",
                 client->lib_version ? client->lib_version : "",
                 (unsigned long long)client->bytes_in,
                 (unsigned long long)(client->bytes_out + bytes_taken(client)),
                 (unsigned long long)(client->commands - running_now + done));
}

/* ---- In the log ---- */

static void append_client(struct text *text, const struct worker *worker,
                          const struct client *client) {
    client_describe(text, client, worker->config->hide_user_data_from_log,
                    client_input_unparsed(client), 0, rt_wall_ms(worker->rt));
}

void log_client(struct worker *worker, enum log_level level, const char *before,
                const struct client *client, const char *after) {
    if (!log_wants(worker, level)) {
        return;
    }
    struct text text;
    text_init(&text);
    append_client(&text, worker, client);
    log_worker(worker, level, "%s%s%s", before, text.ptr, after);
    text_fini(&text);
}

#define DUMP_HALF_BYTES 64

static void append_dump(struct text *text, struct bytes data) {
    text_append_char(text, '\'');
    for (size_t i = 0; i < data.len; i++) {
        bool plain = data.ptr[i] >= 0x20 && data.ptr[i] <= 0x7e;
        text_append_char(text, plain ? data.ptr[i] : '.');
    }
    text_append_char(text, '\'');
}

void log_protocol_error(struct worker *worker, const struct client *client, struct bytes error,
                        struct bytes rest) {
    if (!flood_lets(worker, FLOOD_PROTOCOL)) {
        return;
    }
    struct text text, dump;
    text_init(&text);
    text_init(&dump);
    append_client(&text, worker, client);
    if (worker->config->hide_user_data_from_log) {
        text_append_text(&dump, "*redacted*");
    } else if (rest.len <= 2 * DUMP_HALF_BYTES) {
        append_dump(&dump, rest);
    } else {
        size_t end = rest.len - DUMP_HALF_BYTES;
        append_dump(&dump, bytes_make(rest.ptr, DUMP_HALF_BYTES));
        text_appendf(&dump, " (... more %zu bytes ...) ", end - DUMP_HALF_BYTES);
        append_dump(&dump, bytes_make(rest.ptr + end, DUMP_HALF_BYTES));
    }
    struct bytes code = BYTES("ERR Protocol error: ");
    log_worker(worker, LOG_VERBOSE, "Protocol error (%.*s) from client: %s. Query buffer: %s",
               (int)(error.len - code.len), error.ptr + code.len, text.ptr, dump.ptr);
    text_fini(&text);
    text_fini(&dump);
}

void log_http(struct worker *worker, const struct client *client) {
    if (!flood_lets(worker, FLOOD_HTTP)) {
        return;
    }
    log_worker(worker, LOG_WARNING,
               "Possible SECURITY ATTACK detected: somebody sends HTTP to this port, as a browser "
               "does when a page tricks it into that. Connection from %s aborted.",
               client->peer);
}
