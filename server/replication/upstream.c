/* SPDX-License-Identifier: BSD-3-Clause */
/* upstream: see the header. Why a file for a full sync, and no loading as it comes: what we have
 * stays until the new is complete, and a link that breaks half-way costs nothing but time.
 */
#include "server/replication/upstream_private.h"

#include "base/must.h"
#include "base/num.h"
#include "base/outbuf.h"
#include "server/client/client_flow.h"
#include "server/client/inner.h"
#include "server/client/listen.h"
#include "server/observe/log.h"
#include "server/persistence/aside.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A line of the handshake is shorter. */
#define LINE_BYTES_MAX 1024
/* So much of what was received may wait for the disk, or for the end of loading. */
#define RECEIVED_BYTES_MAX ((size_t)4 * 1024 * 1024)
#define AGAIN_MS           1000
#define ACK_MS             1000
/* The stream is read on for so long while it is not known what has been applied. */
#define UNKNOWN_MS 100
/* It is held up for a save so long at most; and who asks for that waits so long. */
#define HOLD_MS        3000
#define HOLD_AWAITS_MS 1000

/* ---- Life ---- */

struct upstream *upstream_new(struct worker *home) {
    struct upstream *u = must_aligned(16, (sizeof *u + 15) / 16 * 16);
    memset(u, 0, sizeof *u);
    u->home = home;
    u->down_ms = -1;
    u->file = -1;
    text_init(&u->in);
    text_init(&u->flying);
    snprintf(u->path, sizeof u->path, "temp-upstream-%d.rdb", home->server->process_id);
    return u;
}

void upstream_free(struct upstream *u) {
    if (u != NULL) {
        if (u->aside != NULL) { /* the server has ended while it became the data */
            aside_abandon(u->aside);
        }
        text_fini(&u->in);
        text_fini(&u->flying);
        free(u);
    }
}

static bool is_idle(const struct client *client) {
    return client->pending_count == 0 && client->txn == NULL && client->scatter == NULL &&
           client->gathered == NULL && client->batches_away == 0;
}

/* Of the stream: all that has been applied, or will be before anything that comes later. */
static uint64_t applied_by(const struct upstream *u) {
    const struct client *client = u->client;
    return client->multi == NULL ? upstream_used(client) : u->account.outside;
}

static bool busy_with_file(const struct upstream *u) {
    return u->opening || u->writing || u->closing || u->removing;
}

static void pause(struct upstream *u, bool paused) {
    if (u->client != NULL && u->paused != paused) {
        u->paused = paused;
        (paused ? rt_stream_pause : rt_stream_resume)(&u->client->stream);
    }
}

void upstream_give_up(struct upstream *u, const char *format, ...) {
    char why[512];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    log_worker(u->home, LOG_WARNING, "%s", why);
    if (u->client != NULL) {
        client_close(u->client);
    }
}

void upstream_wait_a_moment(struct upstream *u) {
    u->at = UPSTREAM_WAITS;
    u->again_ms = upstream_now_ms(u) + AGAIN_MS;
}

static void is_down(struct upstream *u) {
    shared_set_upstream_down(u->home->server->shared, true);
    if (u->at == UPSTREAM_STREAMS) {
        u->down_ms = upstream_now_ms(u);
    }
}

void upstream_leave(struct client *client) {
    struct upstream *u = client->upstream;
    if (u == NULL || u->client != client) {
        return;
    }
    if (u->at == UPSTREAM_STREAMS) {
        primary_link_ends(u->home->server->primary, applied_by(u));
        u->left = true;
        log_worker(u->home, LOG_NOTICE, "Connection with primary lost.");
    }
    is_down(u);
    u->client = NULL;
    u->paused = false;
    if (u->at != UPSTREAM_LOADS || !u->begun) {
        upstream_wait_a_moment(u);
    }
    bool other = u->addresses.count > u->next_address && u->talk == TALK_PING;
    u->again_ms = other ? upstream_now_ms(u) : u->again_ms; /* the next address */
}

/* Until now a transaction may have been under way that selects: the stream goes on in its database
 * then. Nobody has asked for it (is_settled). */
void upstream_forget(struct client *client) {
    struct upstream *u = client->upstream;
    if (u != NULL && u->client_id == client->id && u->left) {
        u->left = false;
        primary_link_is_over(u->home->server->primary, client->db);
    }
}

/* ---- Talking ---- */

static void put_word(struct text *text, const char *word, size_t bytes) {
    text_appendf(text, "$%zu\r\n", bytes);
    text_append(text, word, bytes);
    text_append_text(text, "\r\n");
}

static void say_text(struct upstream *u, struct text *text) {
    outbuf_append(&u->client->out, text->ptr, text->len);
    client_mark_dirty(u->client);
    text_fini(text);
}

static void say(struct upstream *u, const char *const *words, uint32_t count) {
    struct text text;
    text_init(&text);
    text_appendf(&text, "*%u\r\n", count);
    for (uint32_t i = 0; i < count; i++) {
        put_word(&text, words[i], strlen(words[i]));
    }
    say_text(u, &text);
}

/* A name and a password may hold any bytes. */
static void say_auth(struct upstream *u, struct bytes name, struct bytes password) {
    struct text text;
    text_init(&text);
    text_append_text(&text, name.len > 0 ? "*3\r\n" : "*2\r\n");
    put_word(&text, "AUTH", 4);
    if (name.len > 0) {
        put_word(&text, name.ptr, name.len);
    }
    put_word(&text, password.ptr, password.len);
    say_text(u, &text);
}

#define SAY(u, ...)                                                                                \
    say(u, (const char *const[]){__VA_ARGS__},                                                     \
        sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static bool is_needless(const struct upstream *u, enum talk talk) {
    const struct config *config = u->home->config;
    return (talk == TALK_AUTH && config->primaryauth.len == 0) ||
           (talk == TALK_IP && config->replica_announce_ip.len == 0) ||
           (talk == TALK_NODE && worker_map(u->home) == NULL);
}

static void talk_on(struct upstream *u) {
    const struct config *config = u->home->config;
    char number[NUM_I64_BYTES + 1];
    while (is_needless(u, u->talk)) {
        u->talk++;
    }
    switch (u->talk) {
    case TALK_PING:
        SAY(u, "PING");
        break;
    case TALK_AUTH:
        say_auth(u, config->primaryuser, config->primaryauth);
        break;
    case TALK_PORT: {
        int64_t own =
            config->tls_replication && config->tls_port > 0 ? config->tls_port : config->port;
        int64_t port = config->replica_announce_port > 0 ? config->replica_announce_port : own;
        snprintf(number, sizeof number, "%lld", (long long)port);
        SAY(u, "REPLCONF", "listening-port", number);
        break;
    }
    case TALK_IP:
        SAY(u, "REPLCONF", "ip-address", config->replica_announce_ip.ptr);
        break;
    case TALK_CAPA:
        SAY(u, "REPLCONF", "capa", "eof", "capa", "psync2");
        break;
    case TALK_VERSION:
        SAY(u, "REPLCONF", "version", SHOAL_VALKEY_VERSION);
        break;
    case TALK_NODE: {
        const struct map *map = worker_map(u->home);
        char id[MAP_ID_BYTES + 1];
        snprintf(id, sizeof id, "%.*s", MAP_ID_BYTES, map->nodes[map->myself].id);
        SAY(u, "REPLCONF", "set-cluster-node-id", id);
        break;
    }
    case TALK_PSYNC: {
        struct primary_place place;
        if (primary_position(u->home->server->primary, &place)) {
            snprintf(number, sizeof number, "%llu", (unsigned long long)place.offset + 1);
            log_worker(u->home, LOG_NOTICE, "Trying a partial resynchronization (request %s:%s).",
                       place.id, number);
            if (u->hands_over) {
                SAY(u, "PSYNC", place.id, number, "FAILOVER");
            } else {
                SAY(u, "PSYNC", place.id, number);
            }
        } else {
            log_worker(u->home, LOG_NOTICE,
                       "Partial resynchronization not possible (no cached "
                       "primary)");
            SAY(u, "PSYNC", "?", "-1");
        }
        break;
    }
    }
}

void upstream_connected(struct client *client) {
    struct upstream *u = client->upstream;
    rt_socket_delays(u->home->rt, client->stream.socket, false);
    u->at = UPSTREAM_TALKS;
    u->talk = TALK_PING;
    u->moved_ms = upstream_now_ms(u);
    text_clear(&u->in);
    log_worker(u->home, LOG_NOTICE, "Non blocking connect for SYNC fired the event.");
    talk_on(u);
}

void upstream_stream_begins(struct upstream *u, const struct primary_place *place) {
    u->at = UPSTREAM_STREAMS;
    u->lacks = false;
    u->account.fed = u->account.outside = place->offset;
    u->unknown_ms = 0;
    u->acked_ms = 0;
    u->asked = true;
    upstream_disk_forget(&u->disk);
    u->client->db = place->db;
#ifdef SHOAL_UNSAFE_LINK_SELECT /* for the test that the simulator's servers notice */
    u->client->db = 0;
#endif
    shared_set_upstream_down(u->home->server->shared, false);
    pause(u, false);
}

static bool begins(struct bytes line, const char *word) {
    size_t n = strlen(word);
    return line.len >= n && memcmp(line.ptr, word, n) == 0;
}

static bool take_id(struct upstream *u, struct bytes id) {
    if (id.len != REPLICATION_ID_BYTES) {
        return false;
    }
    memcpy(u->place.id, id.ptr, id.len);
    u->place.id[id.len] = 0;
    return true;
}

/* "+FULLRESYNC ID OFFSET" */
static bool take_full(struct upstream *u, struct bytes line) {
    size_t front = strlen("+FULLRESYNC ") + REPLICATION_ID_BYTES;
    int64_t offset;
    if (line.len < front + 2 || line.ptr[front] != ' ' ||
        !num_parse_i64(bytes_make(line.ptr + front + 1, line.len - front - 1), &offset) ||
        offset < 0) {
        return false;
    }
    take_id(u, bytes_make(line.ptr + strlen("+FULLRESYNC "), REPLICATION_ID_BYTES));
    u->place.offset = (uint64_t)offset;
    return true;
}

static void receive_begins(struct upstream *u) {
    u->at = UPSTREAM_RECEIVES;
    u->lacks = true;
    u->sized = u->announced = u->whole = u->begun = u->was_aside = false;
    u->total = u->received = u->written = 0;
    upstream_sum_begin(&u->sum);
    log_worker(u->home, LOG_NOTICE, "Full resync from primary: %s:%llu", u->place.id,
               (unsigned long long)u->place.offset);
}

/* "+CONTINUE" or "+CONTINUE ID" */
static void continues(struct upstream *u, struct bytes line) {
    struct primary *primary = u->home->server->primary;
    struct primary_place place;
    if (!primary_position(primary, &place)) {
        upstream_give_up(u, "The primary goes on with what it was not asked for");
        return;
    }
    size_t front = strlen("+CONTINUE ");
    if (line.len > front && take_id(u, bytes_make(line.ptr + front, line.len - front)) &&
        strcmp(u->place.id, place.id) != 0) {
        log_worker(u->home, LOG_NOTICE, "Primary replication ID changed to %s", u->place.id);
        primary_rename(primary, u->place.id);
    }
    log_worker(u->home, LOG_NOTICE, "Successful partial resynchronization with primary.");
    upstream_stream_begins(u, &place);
}

static void psync_answered(struct upstream *u, struct bytes line) {
    bool full = begins(line, "+FULLRESYNC ");
    u->handed = full || begins(line, "+CONTINUE") ? UPSTREAM_ACCEPTED : UPSTREAM_REFUSED;
    if (full) {
        if (take_full(u, line)) {
            receive_begins(u);
        } else {
            upstream_give_up(u, "The primary's answer to PSYNC is none: %.*s",
                             bytes_precision(line), line.ptr);
        }
    } else if (begins(line, "+CONTINUE")) {
        continues(u, line);
    } else {
        upstream_give_up(u, "The primary does not answer PSYNC now: %.*s", bytes_precision(line),
                         line.ptr);
    }
}

static void answered(struct upstream *u, struct bytes line) {
    bool error = line.ptr[0] == '-';
    switch (u->talk) {
    case TALK_PING: /* it may want a password first */
        if (error && !begins(line, "-NOAUTH") && !begins(line, "-NOPERM") &&
            !begins(line, "-ERR operation not permitted")) {
            upstream_give_up(u, "Error reply to PING from primary: '%.*s'", bytes_precision(line),
                             line.ptr);
            return;
        }
        log_worker(u->home, LOG_NOTICE, "Primary replied to PING, replication can continue...");
        break;
    case TALK_AUTH:
        if (error) {
            upstream_give_up(u, "Unable to AUTH to PRIMARY: %.*s", bytes_precision(line), line.ptr);
            return;
        }
        break;
    case TALK_PORT:
    case TALK_IP:
    case TALK_CAPA:
    case TALK_VERSION:
    case TALK_NODE: /* an old one need not know them */
        break;
    case TALK_PSYNC:
        psync_answered(u, line);
        return;
    }
    u->talk++;
    talk_on(u);
}

/* ---- A full sync ---- */

static struct upstream *upstream_of_op(struct rt_file_op *op) {
    return (struct upstream *)(void *)((char *)op - offsetof(struct upstream, op));
}

static void file_fails(struct upstream *u, const char *what, int64_t result) {
    upstream_give_up(u, "%s %s: %s", what, u->path, strerror((int)-result));
}

static void opened(struct rt_file_op *op, int64_t result) {
    struct upstream *u = upstream_of_op(op);
    u->opening = false;
    if (result < 0) {
        file_fails(u,
                   "Opening the temp file needed for PRIMARY <-> REPLICA synchronization:", result);
        return;
    }
    u->file = (rt_file)result;
    upstream_file_on(u);
}

static void written(struct rt_file_op *op, int64_t result) {
    struct upstream *u = upstream_of_op(op);
    u->writing = false;
    u->written += u->flying.len;
    upstream_sum_add(&u->sum, text_bytes(&u->flying));
    text_clear(&u->flying);
    if (result < 0) {
        file_fails(u, "Write error writing to", result);
    }
    upstream_file_on(u);
}

static void closed(struct rt_file_op *op, int64_t result) {
    (void)result;
    struct upstream *u = upstream_of_op(op);
    u->closing = false;
    u->file = -1;
    upstream_file_on(u);
}

static void removed(struct rt_file_op *op, int64_t result) {
    (void)result;
    struct upstream *u = upstream_of_op(op);
    u->removing = u->has_path = false;
}

/* Bytes of the file among what has come. The end of one without a size may be among the last. */
static size_t writable(const struct upstream *u) {
    if (!u->announced) {
        return 0;
    }
    uint64_t left = u->received - u->written - u->flying.len;
    if (u->sized || u->whole) {
        return left < u->in.len ? (size_t)left : u->in.len;
    }
    return u->in.len > EOF_MARK_BYTES ? u->in.len - EOF_MARK_BYTES : 0;
}

static void drop_front(struct text *text, size_t n) {
    memmove(text->ptr, text->ptr + n, text->len - n);
    text->len -= n;
}

/* The next step of the file: one at a time. */
void upstream_file_on(struct upstream *u) {
    struct rt *rt = u->home->rt;
    bool wanted = u->at == UPSTREAM_RECEIVES || u->at == UPSTREAM_LOADS;
    if (busy_with_file(u)) {
        return;
    }
    if (!wanted) {
        if (u->file >= 0) {
            u->closing = true;
            u->op.done = closed;
            rt_file_close(rt, &u->op, u->file);
        } else if (u->has_path) {
            u->removing = true;
            u->op.done = removed;
            rt_file_remove(rt, &u->op, u->path);
        }
        return;
    }
    size_t n = writable(u);
    if (u->at == UPSTREAM_LOADS || (n == 0 && !u->whole)) {
        return;
    }
    if (u->file < 0) {
        u->opening = u->has_path = true;
        u->op.done = opened;
        rt_file_open(rt, &u->op, u->path, RT_OPEN_WRITE | RT_OPEN_CREATE | RT_OPEN_TRUNCATE, 0);
        return;
    }
    if (n > 0) {
        text_append(&u->flying, u->in.ptr, n);
        drop_front(&u->in, n);
        u->writing = true;
        u->vector = (struct iovec){.iov_base = u->flying.ptr, .iov_len = u->flying.len};
        u->op.done = written;
        rt_file_write(rt, &u->op, u->file, &u->vector, 1, u->written);
        pause(u, u->in.len > RECEIVED_BYTES_MAX);
        return;
    }
    if (u->written == u->received) {
        u->at = UPSTREAM_LOADS;
        u->closing = true;
        u->op.done = closed;
        rt_file_close(rt, &u->op, u->file);
        log_worker(u->home, LOG_NOTICE, "PRIMARY <-> REPLICA sync: Loading DB in memory");
    }
}

/* "$BYTES" or "$EOF:MARK" */
static bool announce(struct upstream *u, struct bytes line) {
    int64_t total;
    if (begins(line, "$EOF:") && line.len == strlen("$EOF:") + EOF_MARK_BYTES) {
        memcpy(u->mark, line.ptr + strlen("$EOF:"), EOF_MARK_BYTES);
        u->sized = false;
    } else if (line.ptr[0] == '$' &&
               num_parse_i64(bytes_make(line.ptr + 1, line.len - 1), &total) && total > 0) {
        u->sized = true;
        u->total = (uint64_t)total;
    } else {
        return false;
    }
    u->announced = true;
    log_worker(u->home, LOG_NOTICE,
               u->sized ? "PRIMARY <-> REPLICA sync: receiving %llu bytes from primary to disk"
                        : "PRIMARY <-> REPLICA sync: receiving streamed RDB from primary with EOF "
                          "to disk%.0llu",
               (unsigned long long)u->total);
    return true;
}

/* How much of what has come belongs to the file. */
static void count_received(struct upstream *u) {
    uint64_t before = u->written + u->flying.len;
    uint64_t here = before + u->in.len;
    if (u->whole) {
        return;
    }
    if (u->sized) {
        u->received = here < u->total ? here : u->total;
        u->whole = here >= u->total;
    } else if (u->in.len >= EOF_MARK_BYTES &&
               memcmp(u->in.ptr + u->in.len - EOF_MARK_BYTES, u->mark, EOF_MARK_BYTES) == 0) {
        u->in.len -= EOF_MARK_BYTES;
        u->received = here - EOF_MARK_BYTES;
        u->whole = true;
    } else {
        u->received = here > EOF_MARK_BYTES ? here - EOF_MARK_BYTES : before;
        u->received = u->received > before ? u->received : before;
    }
}

/* ---- What comes ---- */

/* To be run; and replicas of ours get it when it has been. */
static void feed(struct upstream *u, struct rt_buffer *buffer, struct bytes bytes) {
    u->account.fed += bytes.len;
    primary_keep(u->home->server->primary, bytes);
    client_take(u->client, buffer, bytes);
}

/* Of the stream, kept while the file was being loaded, or a cut was made. */
static void feed_rest(struct upstream *u) {
    if (u->at != UPSTREAM_STREAMS || u->still || u->in.len == 0 ||
        u->client->state != CLIENT_READING) {
        return;
    }
    struct rt_buffer *buffer = rt_buffer_new(u->in.len);
    memcpy(buffer->data, u->in.ptr, u->in.len);
    struct bytes bytes = bytes_make(buffer->data, u->in.len);
    text_clear(&u->in);
    feed(u, buffer, bytes);
    rt_buffer_unref(buffer);
}

/* The lines before a file. */
static void take_lines(struct upstream *u) {
    while ((u->at == UPSTREAM_TALKS || (u->at == UPSTREAM_RECEIVES && !u->announced)) &&
           u->client != NULL) {
        const char *end = memchr(u->in.ptr, '\n', u->in.len);
        if (end == NULL) {
            if (u->in.len > LINE_BYTES_MAX) {
                upstream_give_up(u, "The primary's answer has no end");
            }
            return;
        }
        char line[LINE_BYTES_MAX + 1];
        size_t used = (size_t)(end - u->in.ptr) + 1, bytes = used - 1;
        bytes = bytes < LINE_BYTES_MAX ? bytes : LINE_BYTES_MAX;
        memcpy(line, u->in.ptr, bytes);
        bytes -= bytes > 0 && line[bytes - 1] == '\r';
        line[bytes] = 0;
        drop_front(&u->in, used);
        if (bytes == 0) {
            continue; /* a sign of life */
        }
        if (u->at == UPSTREAM_TALKS) {
            answered(u, bytes_make(line, bytes));
        } else if (!announce(u, bytes_make(line, bytes))) {
            upstream_give_up(
                u, "Bad protocol from PRIMARY, the first byte is not '$' (we received '%.64s')",
                line);
        }
    }
}

void upstream_data(struct client *client, struct rt_buffer *buffer, struct bytes bytes) {
    struct upstream *u = client->upstream;
    if (u->client != client) {
        return;
    }
    u->moved_ms = upstream_now_ms(u);
    if (u->at == UPSTREAM_STREAMS && u->in.len == 0 && !u->still) {
        feed(u, buffer, bytes);
        return;
    }
    text_append_bytes(&u->in, bytes);
    take_lines(u);
    if (u->client == NULL) {
        return;
    }
    if (u->at == UPSTREAM_RECEIVES && u->announced) {
        count_received(u);
        upstream_file_on(u);
    }
    pause(u, u->in.len > RECEIVED_BYTES_MAX);
    feed_rest(u);
}

/* ---- Acknowledging ---- */

void upstream_acknowledge(struct client *client) {
    client->upstream->asked = true;
}

static void acknowledge(struct upstream *u) {
    char offset[NUM_I64_BYTES + 1], synced[NUM_I64_BYTES + 1];
    uint64_t applied = applied_by(u);
#ifdef SHOAL_UNSAFE_LINK_ACK /* for the test that the simulator's servers notice: what has come */
    applied = u->account.fed;
#endif
    u->owes = u->disk.is && u->disk.synced < applied;
    u->asked = false;
    u->acked_ms = upstream_now_ms(u);
    snprintf(offset, sizeof offset, "%llu", (unsigned long long)applied);
    snprintf(synced, sizeof synced, "%llu", (unsigned long long)u->disk.synced);
    if (u->disk.is) {
        SAY(u, "REPLCONF", "ACK", offset, "FACK", synced);
    } else {
        SAY(u, "REPLCONF", "ACK", offset);
    }
}

/* All that was done is in the log's runs: this turn's are sealed, and nothing more was given to the
 * client since. */
static void look_at_disk(struct upstream *u) {
    if (is_idle(u->client) && upstream_disk_look(&u->disk, u->home, applied_by(u))) {
        u->asked |= u->owes;
    }
}

/* What has been applied becomes known when nothing is on its way. */
static void look_at_stream(struct upstream *u) {
    int64_t now_ms = upstream_now_ms(u);
    if (is_idle(u->client)) {
        u->unknown_ms = 0;
        primary_set_applied(u->home->server->primary, applied_by(u));
        if (u->asked || now_ms - u->acked_ms >= ACK_MS) {
            acknowledge(u);
        }
        pause(u, u->in.len > RECEIVED_BYTES_MAX);
        return;
    }
#ifdef SHOAL_UNSAFE_LINK_ACK /* the same */
    if (u->asked) {
        acknowledge(u);
    }
#endif
    u->unknown_ms = u->unknown_ms > 0 ? u->unknown_ms : now_ms;
    if (u->asked || now_ms - u->unknown_ms > UNKNOWN_MS) {
        pause(u, true);
    }
}

/* ---- In each turn, and now and then ---- */

static bool is_at_rest(const struct upstream *u) {
    return is_idle(u->client) && u->client->state == CLIENT_READING;
}

/* A cut for replicas of ours is made when all that was given to the client has been run: nothing
 * more is until it is made. */
static void look_at_cut(struct upstream *u) {
    struct primary *primary = u->home->server->primary;
    bool cut = primary_wants_cut(primary);
    if (UNLIKELY(u->held_ms > 0) && upstream_now_ms(u) - u->held_ms > HOLD_MS) {
        u->held_ms = 0;
    }
    u->still = cut || u->held_ms > 0;
    if (UNLIKELY(cut) && is_at_rest(u)) {
        primary_set_applied(primary, applied_by(u));
        primary_cut(primary, u->client->db);
    }
}

static void connect_next(struct upstream *u) {
    struct worker *home = u->home;
    while (u->next_address < u->addresses.count) {
        int error;
        uint64_t id = listen_next_id(home);
        u->client = client_connect(home, u->addresses.text[u->next_address++], (uint16_t)u->port,
                                   home->config->tls_replication, u, id, &error);
        if (u->client != NULL) {
            u->client_id = id;
            u->at = UPSTREAM_CONNECTS;
            u->talk = TALK_PING;
            u->moved_ms = upstream_now_ms(u);
            return;
        }
        log_worker(home, LOG_WARNING, "Unable to connect to PRIMARY: %s", strerror(-error));
    }
    upstream_wait_a_moment(u);
}

static void resolved(void *arg, int error, const struct rt_addresses *addresses) {
    struct upstream *u = arg;
    u->resolve = NULL;
    if (error != 0) {
        log_worker(u->home, LOG_WARNING, "Unable to connect to PRIMARY: %s: %s", u->host,
                   error == -ENOENT ? "there is no such host" : strerror(-error));
        upstream_wait_a_moment(u);
        return;
    }
    u->addresses = *addresses;
    u->next_address = 0;
    connect_next(u);
}

static bool is_settled(struct upstream *u) {
    if (u->client_id > 0 && client_of_id(u->home, u->client_id) == NULL) {
        u->client_id = 0;
    }
    return u->client_id == 0;
}

static void begin(struct upstream *u) {
    if (u->next_address < u->addresses.count) {
        connect_next(u);
        return;
    }
    log_worker(u->home, LOG_NOTICE, "Connecting to PRIMARY %s:%d", u->host, u->port);
    u->at = UPSTREAM_RESOLVES;
    u->resolve = rt_resolve(u->home->rt, u->host, resolved, u);
}

static void begin_if_due(struct upstream *u, bool settled) {
    struct worker *home = u->home;
    if (u->at == UPSTREAM_WAITS && settled && !busy_with_file(u) && u->file < 0 && !u->has_path &&
        !primary_is_ending(home->server->primary) && upstream_now_ms(u) >= u->again_ms &&
        !shared_loading(home->server->shared)) { /* which may say where it goes on */
        begin(u);
    }
}

/* What the connection before has left is over. */
static bool is_settled_in(const struct upstream *u) {
    return u->client != NULL || u->client_id == 0 || client_of_id(u->home, u->client_id) == NULL;
}

bool upstream_hold(struct upstream *u) {
    int64_t now_ms = upstream_now_ms(u);
    if (u->held_ms == 0 || now_ms - u->held_ms > HOLD_MS) {
        u->held_ms = now_ms;
    }
    bool streams = u->at == UPSTREAM_STREAMS && u->client != NULL;
    u->still |= streams;
    return (streams ? is_at_rest(u) : is_settled_in(u)) || now_ms - u->held_ms > HOLD_AWAITS_MS;
}

bool upstream_place(struct upstream *u, struct primary_place *ret) {
    const struct primary *primary = u->home->server->primary;
    u->held_ms = 0;
    if (!primary_position(primary, ret) || primary_is_ending(primary) || u->begun) {
        return false;
    }
    if (u->at == UPSTREAM_STREAMS && u->client != NULL) {
        ret->offset = applied_by(u);
        ret->db = u->client->db;
#ifdef SHOAL_UNSAFE_LINK_PLACE /* the same: what has come is taken for what is there */
        return true;
#endif
        return is_at_rest(u);
    }
    return is_settled_in(u);
}

void upstream_turn(struct upstream *u) {
    if (UNLIKELY(u->at == UPSTREAM_WAITS && u->again_ms == 0 && !u->stops)) {
        begin_if_due(u, is_settled(u)); /* the role has changed just now */
    }
    if (UNLIKELY(u->aside != NULL)) {
        upstream_load_on(u);
    }
    if (LIKELY(u->at != UPSTREAM_STREAMS) || u->client == NULL) {
        return;
    }
    look_at_disk(u);
    look_at_cut(u);
    feed_rest(u);
    if (u->client != NULL) {
        look_at_stream(u);
    }
}

static void look_at_time(struct upstream *u) {
    int64_t limit_ms = u->home->config->repl_timeout * 1000;
    bool silent = upstream_now_ms(u) - u->moved_ms > limit_ms;
    if (u->client != NULL && u->at != UPSTREAM_LOADS && !u->paused && silent) {
        upstream_give_up(
            u, u->at == UPSTREAM_STREAMS ? "PRIMARY timeout: no data nor PING received..."
               : u->at == UPSTREAM_RECEIVES
                   ? "Timeout receiving bulk data from PRIMARY... If the problem persists try "
                     "to set the 'repl-timeout' parameter to a larger value."
                   : "Timeout connecting to the PRIMARY...");
    }
    /* It must not think that we are gone. */
    if (u->client != NULL && (u->at == UPSTREAM_LOADS || u->at == UPSTREAM_RECEIVES) &&
        upstream_now_ms(u) - u->acked_ms >= ACK_MS) {
        u->acked_ms = upstream_now_ms(u);
        outbuf_append(&u->client->out, "\n", 1);
        client_mark_dirty(u->client);
    }
}

void upstream_cron(struct upstream *u) {
    struct worker *home = u->home;
    bool settled = is_settled(u);
    upstream_file_on(u);
    if (u->stops || home->loop.stopping || shared_loading(home->server->shared) ||
        u->at == UPSTREAM_OFF) {
        return;
    }
    begin_if_due(u, settled);
    upstream_load_on(u);
    look_at_time(u);
}

bool upstream_stop(struct upstream *u) {
    u->stops = true;
    if (u->resolve != NULL) {
        rt_resolve_cancel(u->home->rt, u->resolve);
        u->resolve = NULL;
    }
    if (u->client != NULL) {
        client_close(u->client);
    }
    return upstream_load_stop(u) && is_settled(u);
}

void upstream_hand_over(struct upstream *u, bool on) {
    u->hands_over = on;
    u->handed = UPSTREAM_ASKS;
}

enum upstream_handed upstream_handed(const struct upstream *u) {
    return u->handed;
}

void upstream_begin(struct upstream *u) {
    const struct role *role = &u->home->server->role;
    u->stops = false;
    upstream_load_forget(u);
    u->next_address = u->addresses.count = 0;
    u->at = role->replica ? UPSTREAM_WAITS : UPSTREAM_OFF;
    u->lacks = (u->lacks || role->foreign) && role->replica;
    u->again_ms = 0;
    u->down_ms = -1;
    shared_set_upstream_down(u->home->server->shared, role->replica);
    snprintf(u->host, sizeof u->host, "%s", role->host);
    u->port = role->port;
}
