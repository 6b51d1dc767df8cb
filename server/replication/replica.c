/* SPDX-License-Identifier: BSD-3-Clause */
/* replica: see the header. The file of a full sync is read a piece at a time, and the next when the
 * output has room: a slow replica costs no memory but for what the stream holds meanwhile. Who gets
 * a mark behind it reads while others write, never behind what is known to be there.
 *
 * A replica finds the mark by looking at the last bytes it has: so nothing may follow until it has
 * acknowledged something.
 */
#include "server/replication/replica.h"

#include "base/check.h"
#include "base/list.h"
#include "base/must.h"
#include "base/num.h"
#include "base/outbuf.h"
#include "net/rt_file.h"
#include "persist/codec/rdb.h"
#include "server/call/check.h"
#include "server/client/client.h"
#include "server/observe/log.h"
#include "server/worker/handlers.h"
#include "server/worker/message.h"
#include "server/worker/worker.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* So much of a file is read at once, and the next when less than that is left to send. */
#define FILE_BYTES ((size_t)256 * 1024)
/* Smaller pieces are copied: a vector costs more. */
#define COPY_BYTES 1024
/* Who waits hears so often that somebody is there. */
#define ALIVE_MS 1000

enum replica_at {
    REPLICA_TOLD,
    REPLICA_ASKS,
    REPLICA_WAITS,
    REPLICA_READS,
    REPLICA_MARKED,
    REPLICA_STREAMING,
};

enum file_step { FILE_NONE, FILE_OPENS, FILE_SIZES, FILE_READS, FILE_IDLE, FILE_CLOSES };

struct replica {
    struct replica_account account; /* first */
    struct rt_file_op op;           /* of the file; one at a time */
    struct list_node node;          /* of worker->replicas, from `asks` on */
    struct worker *worker;
    struct client *client; /* NULL: it is gone, and the file is not closed yet */
    uint64_t id;           /* its */
    enum replica_at at;
    bool old; /* SYNC */
    bool eof;
    struct replica_wants wants;
    int port;
    char ip[RT_HOST_BYTES];
    char node_id[MAP_ID_BYTES + 1];
    unsigned rdb_version; /* 0: nothing was said */
    uint64_t next;        /* offset of the byte that it gets next; 0: it is not known yet */
    char wished_id[REPLICATION_ID_BYTES + 1];
    int64_t wished_offset;
    /* The file. */
    enum file_step step;
    rt_file file;
    bool marked;                  /* a mark is its end */
    bool whole;                   /* it does not grow any more */
    uint64_t file_bytes, file_at; /* readable, and read */
    char mark[REPLICATION_ID_BYTES + 1];
    char path[512];
    char *buffer;
    /* As its worker saw it last (replicas_cron). */
    bool acknowledged; /* something */
    uint64_t heard, sent;
    int64_t moved_ms; /* monotonic: it took something, or was told that somebody is there */
};

/* ---- Life ---- */

struct replica *replica_of(struct client *client) {
    if (client->replica == NULL) {
        struct replica *replica = must_aligned(16, (sizeof *replica + 15) / 16 * 16);
        replica->worker = client->worker;
        replica->client = client;
        replica->id = client->id;
        replica->file = -1;
        outbuf_init(&replica->account.held);
        list_node_init(&replica->node);
        client->replica = replica;
    }
    return client->replica;
}

static void replica_free(struct replica *replica) {
    outbuf_fini(&replica->account.held);
    list_remove(&replica->node);
    free(replica->buffer);
    free(replica);
}

static void send_home(struct worker *worker, struct replica_news news) {
    struct replica_news *sent = must_malloc(sizeof *sent);
    news.worker = worker->id;
    *sent = news;
    sent->message = (struct message){.kind = MESSAGE_REPLICA, .home = POST_ONE_WAY};
    if (worker->id == 0) {
        worker->server->handlers->messages[MESSAGE_REPLICA](worker, &sent->message);
    } else {
        post_send(worker->server->office, worker->id, 0, &sent->message);
    }
}

static void send_news(const struct replica *replica, enum replica_news_kind kind, uint64_t offset) {
    send_home(replica->worker,
              (struct replica_news){.kind = kind, .client = replica->id, .offset = offset});
}

static void send_wait(struct worker *worker, uint64_t id, uint64_t command,
                      const struct replica_wait *wait) {
    send_home(worker, (struct replica_news){.kind = wait->ends ? REPLICA_WAIT_ENDS : REPLICA_WAIT,
                                            .client = id,
                                            .offset = command,
                                            .count = wait->wanted,
                                            .on_disks = wait->on_disks,
                                            .here = wait->here});
}

void replica_send_wait(struct client *client, const struct replica_wait *wait) {
    send_wait(client->worker, client->id, client->commands, wait);
}

void replica_send_wait_of(struct worker *worker, uint64_t id, const struct replica_wait *wait) {
    send_wait(worker, id, 0, wait);
}

void replica_is_gone(struct worker *worker, uint64_t client) {
    send_home(worker, (struct replica_news){.kind = REPLICA_GONE, .client = client});
}

void stream_mail_free(struct stream_mail *mail) {
    for (uint32_t i = 0; i < mail->count; i++) {
        piece_unref(mail->pieces[i].piece);
    }
    free(mail);
}

void replica_set_port(struct client *client, int port) {
    replica_of(client)->port = port;
}

void replica_set_ip(struct client *client, struct bytes ip) {
    struct replica *replica = replica_of(client);
    snprintf(replica->ip, sizeof replica->ip, "%.*s", (int)ip.len, ip.ptr);
}

void replica_set_node_id(struct client *client, struct bytes id) {
    snprintf(replica_of(client)->node_id, MAP_ID_BYTES + 1, "%.*s", bytes_precision(id), id.ptr);
}

void replica_set_eof(struct client *client) {
    replica_of(client)->eof = true;
}

void replica_set_file_only(struct client *client, bool only) {
    replica_of(client)->wants.file_only = only;
}

void replica_set_functions_only(struct client *client, bool only) {
    replica_of(client)->wants.functions_only = only;
}

struct replica_wants replica_wants(const struct client *client) {
    return client->replica != NULL ? client->replica->wants : (struct replica_wants){false, false};
}

void replica_set_version(struct client *client, unsigned major) {
    replica_of(client)->rdb_version = major >= 9 ? RDB_VERSION_VALKEY : 0;
}

void replica_acknowledges(struct client *client, uint64_t offset, uint64_t synced) {
    struct replica *replica = client->replica;
    if (replica == NULL) {
        return;
    }
    if (replica->at == REPLICA_MARKED) { /* it has found the mark */
        replica->at = REPLICA_STREAMING;
        outbuf_splice(&client->out, &replica->account.held);
        client_mark_dirty(client);
    }
    if (replica->at == REPLICA_STREAMING) {
        replica->acknowledged = true;
        send_home(replica->worker, (struct replica_news){.kind = REPLICA_ACKNOWLEDGES,
                                                         .client = replica->id,
                                                         .offset = offset,
                                                         .synced = synced});
    }
}

void replica_set_wish(struct client *client, const char id[REPLICATION_ID_BYTES + 1],
                      int64_t offset) {
    struct replica *replica = replica_of(client);
    memcpy(replica->wished_id, id, sizeof replica->wished_id);
    replica->wished_offset = offset;
}

void replica_get_wish(const struct client *client, char ret_id[REPLICATION_ID_BYTES + 1],
                      int64_t *ret_offset) {
    const struct replica *replica = client->replica;
    memcpy(ret_id, replica->wished_id, sizeof replica->wished_id);
    *ret_offset = replica->wished_offset;
}

/* ---- What it is told ---- */

static void __attribute__((format(printf, 2, 3)))
say(struct client *client, const char *format, ...) {
    char line[sizeof((struct stream_mail *)0)->path + 8];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    outbuf_append(&client->out, line, (size_t)n);
    client_mark_dirty(client);
}

void replica_send_file(struct client *client, struct bytes file) {
    say(client, "$%zu\r\n", file.len);
    outbuf_append(&client->out, file.ptr, file.len);
    client_close_after_reply(client);
}

void replica_asks(struct client *client, bool old, struct replica_name *ret) {
    struct replica *replica = replica_of(client);
    replica->at = REPLICA_ASKS;
    replica->account.is = true;
    replica->old = old;
    if (client->worker->config->repl_disable_tcp_nodelay) {
        rt_socket_delays(client->worker->rt, client->stream.socket, true);
    }
    *ret = (struct replica_name){.client = client->id,
                                 .worker = client->worker->id,
                                 .port = replica->port,
                                 .eof = replica->eof,
                                 .rdb_version = replica->rdb_version > 0 ? replica->rdb_version
                                                                         : RDB_VERSION_MIN};
    memcpy(ret->node_id, replica->node_id, sizeof ret->node_id);
    if (replica->ip[0] != '\0') {
        memcpy(ret->ip, replica->ip, sizeof ret->ip);
    } else { /* where it comes from: "1.2.3.4:5", "[::1]:5" */
        const char *peer = client->peer + (client->peer[0] == '[');
        const char *end = strrchr(peer, ':');
        end = end != NULL && end > peer && end[-1] == ']' ? end - 1 : end;
        size_t bytes = end != NULL ? (size_t)(end - peer) : strlen(peer);
        snprintf(ret->ip, sizeof ret->ip, "%.*s", (int)bytes, peer);
    }
    memcpy(replica->ip, ret->ip, sizeof replica->ip);
    list_push_back(&client->worker->replicas, &replica->node);
}

static void take_bytes(struct replica *replica, const struct stream_mail *mail) {
    struct outbuf *out =
        replica->at == REPLICA_STREAMING ? &replica->client->out : &replica->account.held;
    uint64_t offset = mail->offset;
    for (uint32_t i = 0; i < mail->count; i++) {
        struct bytes bytes = mail->pieces[i].bytes;
        uint64_t begins = offset;
        offset += bytes.len;
        if (offset <= replica->next) {
            continue; /* it has it */
        }
        size_t skip = replica->next > begins ? (size_t)(replica->next - begins) : 0;
        check(begins + skip == replica->next);
        bytes = bytes_make(bytes.ptr + skip, bytes.len - skip);
        if (bytes.len <= COPY_BYTES) {
            outbuf_append(out, bytes.ptr, bytes.len);
        } else {
            piece_ref(mail->pieces[i].piece);
            outbuf_append_pinned(out, bytes, piece_unref, mail->pieces[i].piece);
        }
        replica->next = offset;
    }
    client_mark_dirty(replica->client);
}

void replica_goes_on(struct client *client, struct stream_mail *mail) {
    struct replica *replica = client->replica;
    replica->at = REPLICA_STREAMING;
    replica->next = mail->offset;
    say(client, "+CONTINUE %s\r\n", mail->id);
    take_bytes(replica, mail);
    stream_mail_free(mail);
}

void replica_waits(struct client *client) {
    client->replica->at = REPLICA_WAITS;
}

void replica_asks_in_vain(struct client *client) {
    struct replica *replica = client->replica;
    replica->at = REPLICA_TOLD;
    replica->account.is = false;
    list_remove(&replica->node);
}

/* ---- The file ---- */

static void next_step(struct replica *replica);

/* Whether somebody still wants it. Else it is closed, and goes. */
static bool is_wanted(struct replica *replica) {
    if (replica->client != NULL && replica->at == REPLICA_READS) {
        return true;
    }
    replica->step = replica->file >= 0 ? FILE_CLOSES : FILE_NONE;
    next_step(replica);
    return false;
}

static void give_up(struct replica *replica, int error) {
    if (replica->client != NULL) {
        log_worker(replica->worker, LOG_WARNING, "Read error sending DB to replica: %s",
                   strerror(error));
        client_close(replica->client);
    } else {
        is_wanted(replica);
    }
}

static void streams(struct replica *replica) {
    if (replica->marked) {
        outbuf_append(&replica->client->out, replica->mark, REPLICATION_ID_BYTES);
        client_mark_dirty(replica->client);
    }
    if (replica->wants.file_only) {
        client_close_after_reply(replica->client);
        return;
    }
    if (replica->marked) {
        replica->at = REPLICA_MARKED;
    } else {
        replica->at = REPLICA_STREAMING;
        outbuf_splice(&replica->client->out, &replica->account.held);
    }
    client_mark_dirty(replica->client);
    send_news(replica, REPLICA_HAS_FILE, 0);
}

static void begin_mark(struct replica *replica) {
    unsigned char random[REPLICATION_ID_BYTES / 2];
    rt_random(replica->worker->rt, random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++) {
        snprintf(replica->mark + 2 * i, 3, "%02x", random[i]);
    }
    say(replica->client, "$EOF:%s\r\n", replica->mark);
}

static void op_done(struct rt_file_op *op, int64_t result) {
    struct replica *replica = (struct replica *)((char *)op - offsetof(struct replica, op));
    enum file_step step = replica->step;
    replica->step = FILE_IDLE;
    if (step == FILE_OPENS && result >= 0) {
        replica->file = (rt_file)result;
    }
    if (step == FILE_CLOSES) {
        replica->file = -1;
        replica->step = FILE_NONE;
        if (replica->client == NULL) {
            replica_free(replica);
        }
        return;
    }
    if (replica->client == NULL || replica->at != REPLICA_READS) {
        is_wanted(replica);
        return;
    }
    if (result < 0 || (step == FILE_READS && result == 0)) {
        give_up(replica, result < 0 ? (int)-result : EIO);
        return;
    }
    switch (step) {
    case FILE_OPENS:
        if (replica->marked) {
            begin_mark(replica);
            break;
        }
        replica->step = FILE_SIZES;
        rt_file_size(replica->worker->rt, &replica->op, replica->file);
        break;
    case FILE_SIZES:
        replica->file_bytes = (uint64_t)result;
        replica->whole = true;
        say(replica->client, "$%llu\r\n", (unsigned long long)replica->file_bytes);
        break;
    case FILE_READS:
        replica->file_at += (uint64_t)result;
        outbuf_append_pinned(&replica->client->out, bytes_make(replica->buffer, (size_t)result),
                             free, replica->buffer);
        replica->buffer = NULL;
        client_mark_dirty(replica->client);
        break;
    default:
        break;
    }
}

/* What can be asked for now. */
static void next_step(struct replica *replica) {
    struct rt *rt = replica->worker->rt;
    replica->op.done = op_done;
    if (replica->step == FILE_CLOSES) {
        rt_file_close(rt, &replica->op, replica->file);
        return;
    }
    if (replica->step == FILE_NONE && replica->client == NULL) {
        replica_free(replica);
        return;
    }
    if (replica->step != FILE_IDLE || replica->client->out.bytes > FILE_BYTES) {
        return;
    }
    uint64_t left = replica->file_bytes - replica->file_at;
    if (left == 0 && !replica->whole) {
        return;
    }
    if (left == 0) {
        replica->step = FILE_CLOSES;
        streams(replica);
        rt_file_close(rt, &replica->op, replica->file);
        return;
    }
    replica->step = FILE_READS;
    replica->buffer = must_malloc(FILE_BYTES);
    rt_file_read(rt, &replica->op, replica->file, replica->buffer,
                 left < FILE_BYTES ? (size_t)left : FILE_BYTES, replica->file_at);
}

static void begin_file(struct replica *replica, const char *path) {
    replica->at = REPLICA_READS;
    replica->moved_ms = rt_mono_ms(replica->worker->rt);
    replica->step = FILE_OPENS;
    replica->op.done = op_done;
    memcpy(replica->path, path, sizeof replica->path);
    rt_file_open(replica->worker->rt, &replica->op, replica->path, RT_OPEN_READ, 0);
}

static void grows(struct replica *replica, const struct stream_mail *mail) {
    replica->file_bytes = mail->offset;
    replica->whole = mail->whole;
    if (replica->at == REPLICA_WAITS) {
        replica->marked = true;
        begin_file(replica, mail->path);
    }
}

void replicas_work(struct worker *worker) {
    LIST_EACH_SAFE(&worker->replicas, node) {
        struct replica *replica = LIST_ENTRY(node, struct replica, node);
        if (replica->client != NULL && replica->at == REPLICA_READS && replica->step == FILE_IDLE) {
            next_step(replica);
        }
    }
}

static void show_life(struct replica *replica, int64_t now_ms) {
    if (now_ms - replica->moved_ms >= ALIVE_MS && (!replica->old || replica->next > 0)) {
        replica->moved_ms = now_ms;
        outbuf_append(&replica->client->out, "\n", 1);
        client_mark_dirty(replica->client);
    }
}

/* The file is there for it, and nobody else gets a new one meanwhile. */
static void look_at_reader(struct replica *replica, int64_t now_ms) {
    struct client *client = replica->client;
    bool taken = client->out.bytes == 0; /* it has all that there is */
    if (client->state != CLIENT_GONE) {
        uint64_t sent = client->bytes_out + rt_stream_taken(&client->stream);
        taken |= sent != replica->sent;
        replica->sent = sent;
    }
    if (taken) {
        replica->moved_ms = now_ms;
    } else if (now_ms - replica->moved_ms > client->worker->config->repl_timeout * 1000) {
        log_worker(replica->worker, LOG_WARNING,
                   "Disconnecting timedout replica (full sync): %s:%d", replica->ip, replica->port);
        client_close(client);
    }
}

/* While it loads it sends lines that are empty. */
static void listen_to(struct replica *replica) {
    if (!replica->acknowledged && replica->client->bytes_in != replica->heard) {
        replica->heard = replica->client->bytes_in;
        send_news(replica, REPLICA_IS_THERE, 0);
    }
}

void replicas_cron(struct worker *worker) {
    int64_t now_ms = rt_mono_ms(worker->rt);
    LIST_EACH_SAFE(&worker->replicas, node) {
        struct replica *replica = LIST_ENTRY(node, struct replica, node);
        if (replica->client == NULL) {
            continue;
        }
        switch (replica->at) {
        case REPLICA_TOLD:
        case REPLICA_ASKS:
            break;
        case REPLICA_WAITS:
            show_life(replica, now_ms);
            break;
        case REPLICA_READS:
            look_at_reader(replica, now_ms);
            break;
        case REPLICA_MARKED:
        case REPLICA_STREAMING:
            listen_to(replica);
            break;
        }
    }
}

/* ---- Mail ---- */

static void take(struct replica *replica, const struct stream_mail *mail) {
    struct client *client = replica->client;
    if (client_is_closing(client)) {
        return;
    }
    switch (mail->kind) {
    case STREAM_BYTES:
        if (replica->next > 0) {
            take_bytes(replica, mail);
        }
        break;
    case STREAM_CUT:
        replica->next = replica->wants.file_only ? 0 : mail->offset + 1;
        if (!replica->old) {
            say(client, "+FULLRESYNC %s %llu\r\n", mail->id, (unsigned long long)mail->offset);
        }
        break;
    case STREAM_FILE:
        begin_file(replica, mail->path);
        break;
    case STREAM_GROWS:
        grows(replica, mail);
        break;
    case STREAM_REFUSED:
        if (mail->path[0] != '\0') {
            say(client, "-ERR %s\r\n", mail->path);
            client_close_after_reply(client);
        } else {
            client_close(client);
        }
        break;
    case STREAM_GOOD:
        break; /* below */
    }
}

void replica_mail_arrived(struct worker *worker, struct message *message) {
    struct stream_mail *mail = (struct stream_mail *)message;
    if (mail->kind == STREAM_GOOD) {
        worker->good_replicas = (uint32_t)mail->offset;
        worker->acking_replicas = mail->acking;
        check_configure(worker);
        stream_mail_free(mail);
        return;
    }
    LIST_EACH_SAFE(&worker->replicas, node) {
        struct replica *replica = LIST_ENTRY(node, struct replica, node);
        bool meant = mail->client == 0 || mail->client == replica->id;
        if (meant && replica->client != NULL) {
            take(replica, mail);
        }
    }
    stream_mail_free(mail);
}

void replica_leave(struct client *client) {
    struct replica *replica = client->replica;
    if (replica == NULL) {
        return;
    }
    client->replica = NULL;
    replica->client = NULL;
    outbuf_fini(&replica->account.held);
    outbuf_init(&replica->account.held);
    if (replica->at >= REPLICA_WAITS) {
        send_news(replica, REPLICA_GONE, 0);
    }
    if (replica->step == FILE_NONE) {
        replica_free(replica);
    } else if (replica->step == FILE_IDLE) {
        is_wanted(replica);
    } /* else the operation's end sees to it */
}

void replicas_free(struct worker *worker) {
    LIST_EACH_SAFE(&worker->replicas, node) {
        replica_free(LIST_ENTRY(node, struct replica, node));
    }
}
