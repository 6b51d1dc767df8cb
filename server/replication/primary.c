/* SPDX-License-Identifier: BSD-3-Clause */
/* primary: see the header. Offsets are those of PSYNC: master_repl_offset is that of the last byte,
 * a replica asks for the one behind it.
 *
 * Bytes leave for other workers once a turn: who reads there holds pieces of the backlog, and one
 * mail serves all replicas of a worker. What a replica is told and what it gets later go by the
 * same mailbox, so it misses nothing between the two.
 *
 * What others see of it is in primary_shown.c, WAIT in primary_waits.c.
 */
#include "server/replication/primary_private.h"

#include "base/check.h"
#include "base/must.h"
#include "server/call/effects.h"
#include "server/call/scatter.h"
#include "server/client/inner.h"
#include "server/observe/log.h"
#include "server/persistence/save.h"
#include "server/persistence/wal.h"
#include "server/replication/feed.h"
#include "server/replication/old_readers.h"
#include "server/txn/txn.h"
#include "server/worker/handlers.h"
#include "server/worker/message.h"
#include "server/worker/park.h"
#include "server/worker/shared.h"
#include "server/worker/worker.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Life ---- */

static void new_id(struct primary *primary, struct rt *rt) {
    unsigned char random[REPLICATION_ID_BYTES / 2];
    rt_random(rt, random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++) {
        snprintf(primary->id + 2 * i, 3, "%02x", random[i]);
    }
}

static void keep(void *arg, struct bytes bytes) {
    struct primary *primary = arg;
    backlog_append(&primary->backlog, bytes);
    primary->done_end = primary->backlog.next - 1;
}

struct primary *primary_new(struct worker *home) {
    struct primary *primary = must_aligned(16, sizeof *primary);
    memset(primary, 0, sizeof *primary);
    primary->home = home;
    list_init(&primary->replicas);
    list_init(&primary->waits);
    list_init(&primary->published);
    primary->there = must_calloc(home->server->workers_count, sizeof *primary->there);
    new_id(primary, home->rt);
    memset(primary->id2, '0', REPLICATION_ID_BYTES);
    backlog_init(&primary->backlog, 1, 0);
    return primary;
}

/* What it has of the stream stays: who follows from now on passes on what comes behind it. */
static void stop_merging(struct primary *primary) {
    struct list_node *node;
    while ((node = list_pop_front(&primary->published)) != NULL) {
        feed_mail_free(LIST_ENTRY(node, struct feed_mail, node));
    }
    merge_fini(&primary->merge);
    primary->active = false;
    primary_acks_stream(primary, false);
    primary_forget_acks(primary);
}

static void deactivate(struct primary *primary) {
    stop_merging(primary);
    backlog_reset(&primary->backlog, primary->backlog.next);
}

static bool is_link_down(const struct primary *primary) {
    return primary->following && shared_upstream_is_down(primary->home->server->shared);
}

void primary_free(struct primary *primary) {
    if (primary == NULL) {
        return;
    }
    if (primary->active) {
        deactivate(primary);
    }
    struct list_node *node;
    while ((node = list_pop_front(&primary->replicas)) != NULL) {
        free(LIST_ENTRY(node, struct listed, node));
    }
    while ((node = list_pop_front(&primary->waits)) != NULL) {
        free(LIST_ENTRY(node, struct waits, node));
    }
    backlog_fini(&primary->backlog);
    free(primary->file);
    free(primary->there);
    free(primary->marks);
    free(primary);
}

/* What was published, as far as what was done before it is in the stream. */
static void emit_published(struct primary *primary) {
    while (!list_empty(&primary->published)) {
        struct feed_mail *mail =
            LIST_ENTRY(list_first(&primary->published), struct feed_mail, node);
        if (!merge_is_past(&primary->merge, mail->after)) {
            return;
        }
        backlog_append(&primary->backlog, text_bytes(&mail->taken));
        list_remove(&mail->node);
        feed_mail_free(mail);
    }
}

void primary_feed_arrived(struct worker *worker, struct message *message) {
    struct feed_mail *mail = (struct feed_mail *)message;
    struct primary *primary = worker->server->primary;
    if (!primary->active) { /* it has ended since */
        feed_mail_free(mail);
        return;
    }
    if (mail->published) {
        list_push_back(&primary->published, &mail->node);
    } else if (mail->number_void > 0) {
        merge_void(&primary->merge, mail->number_void);
        feed_mail_free(mail);
    } else {
        merge_add(&primary->merge, &mail->block);
    }
    emit_published(primary);
}

/* ---- Mail ---- */

struct gathered {
    struct stream_mail *mail;
    uint32_t room;
};

static void gather(void *arg, struct piece *piece, struct bytes bytes) {
    struct gathered *gathered = arg;
    struct stream_mail *mail = gathered->mail;
    if (mail->count == gathered->room) {
        gathered->room *= 2;
        mail = must_realloc(mail, sizeof *mail + gathered->room * sizeof *mail->pieces);
        gathered->mail = mail;
    }
    piece_ref(piece);
    mail->pieces[mail->count++] = (struct stream_piece){piece, bytes};
}

/* From this offset on, all that is there. */
static struct stream_mail *mail_from(const struct primary *primary, uint64_t offset) {
    struct gathered gathered = {.room = 4};
    gathered.mail =
        must_malloc(sizeof *gathered.mail + gathered.room * sizeof *gathered.mail->pieces);
    *gathered.mail = (struct stream_mail){.kind = STREAM_BYTES, .offset = offset};
    memcpy(gathered.mail->id, primary->id, sizeof primary->id);
    backlog_show(&primary->backlog, offset, gather, &gathered);
    return gathered.mail;
}

void primary_send(struct primary *primary, unsigned to, uint16_t kind, struct message *message) {
    struct worker *home = primary->home;
    *message = (struct message){.kind = kind, .home = POST_ONE_WAY};
    if (to == home->id) {
        home->server->handlers->messages[kind](home, message);
    } else {
        post_send(home->server->office, home->id, to, message);
    }
}

static void send_mail(struct primary *primary, unsigned to, struct stream_mail *mail) {
    primary_send(primary, to, MESSAGE_STREAM, &mail->message);
}

static struct stream_mail *mail_for(const struct primary *primary, const struct listed *listed,
                                    enum stream_mail_kind kind, uint64_t offset, const char *path) {
    struct stream_mail *mail = must_calloc(1, sizeof *mail);
    mail->kind = kind;
    mail->client = listed->name.client;
    mail->offset = offset;
    memcpy(mail->id, primary->id, sizeof primary->id);
    if (path != NULL) {
        snprintf(mail->path, sizeof mail->path, "%s", path);
    }
    return mail;
}

static void tell(struct primary *primary, const struct listed *listed, enum stream_mail_kind kind,
                 uint64_t offset, const char *path) {
    send_mail(primary, listed->name.worker, mail_for(primary, listed, kind, offset, path));
}

/* The file of a full sync is so long, and will be longer if it is not whole. */
static void tell_grown(struct primary *primary, const struct listed *listed, const char *path,
                       uint64_t bytes, bool whole) {
    struct stream_mail *mail = mail_for(primary, listed, STREAM_GROWS, bytes, path);
    mail->whole = whole;
    send_mail(primary, listed->name.worker, mail);
}

/* To every worker where replicas are. */
static void send_rest(struct primary *primary) {
    if (primary->backlog.unsent == primary->backlog.ready) {
        return;
    }
    for (unsigned i = 0; i < primary->home->server->workers_count; i++) {
        if (primary->there[i] > 0) {
            send_mail(primary, i, mail_from(primary, primary->backlog.unsent));
        }
    }
    backlog_sent(&primary->backlog);
}

static void put(struct primary *primary, const char *command) {
    backlog_append(&primary->backlog, bytes_of_text(command));
}

/* ---- Replicas ---- */

static uint32_t count_good(const struct primary *primary) {
    int64_t now_ms = rt_wall_ms(primary->home->rt);
    int64_t lag_s = primary->home->config->min_replicas_max_lag;
    uint32_t count = 0;
    LIST_EACH(&primary->replicas, node) {
        const struct listed *listed = LIST_ENTRY(node, struct listed, node);
        count +=
            listed->stands == STANDS_STREAM && (now_ms - listed->acknowledged_ms) / 1000 <= lag_s;
    }
    return count;
}

/* min-replicas-to-write, replicas-ack: all workers refuse writes, or no longer (call/check.h). */
static void look_at_good(struct primary *primary) {
    uint32_t good = count_good(primary), acking = primary_count_acking(primary);
    if (good == primary->good && acking == primary->acking) {
        return;
    }
    primary->asks |= acking > primary->acking && primary->marks_count > 0; /* somebody may wait */
    primary->good = good;
    primary->acking = acking;
    for (unsigned i = 0; i < primary->home->server->workers_count; i++) {
        struct stream_mail *mail = must_calloc(1, sizeof *mail);
        mail->kind = STREAM_GOOD;
        mail->offset = good;
        mail->acking = acking;
        send_mail(primary, i, mail);
    }
}

static void tell_count(const struct primary *primary) {
    uint32_t count = 0;
    LIST_EACH(&primary->replicas, node) {
        count++;
    }
    shared_set_replicas(primary->home->server->shared, count);
}

static struct listed *find(const struct primary *primary, uint64_t client) {
    LIST_EACH(&primary->replicas, node) {
        struct listed *listed = LIST_ENTRY(node, struct listed, node);
        if (listed->name.client == client) {
            return listed;
        }
    }
    return NULL;
}

void primary_attach(struct primary *primary, const struct primary_wish *wish,
                    struct primary_answer *ret) {
    struct worker *home = primary->home;
    *ret = (struct primary_answer){0};
    if (primary->failover != FAILOVER_NONE) {
        ret->refused = "NOMASTERLINK Can't SYNC while failing over";
    } else if (is_link_down(primary)) {
        ret->refused = "NOMASTERLINK Can't SYNC while not connected with my master";
    }
    if (ret->refused != NULL) {
        return;
    }
    send_rest(primary); /* what it gets later begins behind what it gets now */
    uint64_t offset = (uint64_t)wish->offset;
    bool asks = wish->id[0] != '\0' && strcmp(wish->id, "?") != 0;
    bool known =
        asks &&
        (strcmp(wish->id, primary->id) == 0 ||
         (strcmp(wish->id, primary->id2) == 0 && offset > 0 && offset <= primary->second_offset));
    ret->goes_on = (primary->active || primary_passes_on(primary)) && known && wish->offset > 0 &&
                   backlog_covers(&primary->backlog, offset);
    memcpy(ret->id, primary->id, sizeof primary->id);
    struct listed *listed = must_calloc(1, sizeof *listed);
    listed->name = wish->name;
    listed->old = wish->old;
    listed->acknowledged_ms = rt_wall_ms(home->rt);
    list_push_back(&primary->replicas, &listed->node);
    tell_count(primary);
    primary->there[wish->name.worker]++;
    if (ret->goes_on) {
        listed->stands = STANDS_STREAM;
        listed->acknowledged = offset - 1;
        ret->mail = mail_from(primary, offset);
        look_at_good(primary);
        primary->partial_syncs++;
        log_worker(home, LOG_NOTICE,
                   "Partial resynchronization request from %s:%d accepted. Sending %llu bytes of "
                   "backlog starting from offset %llu.",
                   listed->name.ip, listed->name.port,
                   (unsigned long long)(primary->backlog.ready - offset),
                   (unsigned long long)offset);
        return;
    }
    listed->stands = STANDS_ASKED;
    if (asks) {
        primary->refused++;
        log_worker(home, LOG_NOTICE,
                   known ? "Unable to partial resync with replica %s:%d for lack of backlog "
                           "(Replica request was: %lld)."
                         : "Partial resynchronization not accepted: Replication ID mismatch "
                           "(Replica %s:%d asked for offset %lld)",
                   listed->name.ip, listed->name.port, (long long)wish->offset);
    }
    primary->full_syncs++;
    listed->asked_ms = rt_mono_ms(home->rt);
    log_worker(home, LOG_NOTICE, "Full resync requested by replica %s:%d", listed->name.ip,
               listed->name.port);
    if (listed->name.eof && home->config->repl_diskless_sync &&
        home->config->repl_diskless_sync_delay > 0) {
        log_worker(home, LOG_NOTICE, "Delay next BGSAVE for diskless SYNC");
    }
}

static bool any_stands(const struct primary *primary, enum stands stands) {
    LIST_EACH(&primary->replicas, node) {
        if (LIST_ENTRY(node, struct listed, node)->stands == stands) {
            return true;
        }
    }
    return false;
}

static void file_needed_less(struct primary *primary);

static void gone(struct primary *primary, struct listed *listed) {
    log_worker(primary->home, LOG_NOTICE, "Connection with replica %s:%d lost.", listed->name.ip,
               listed->name.port);
    primary->there[listed->name.worker]--;
    list_remove(&listed->node);
    tell_count(primary);
    bool read = listed->stands == STANDS_READS, cut = listed->stands == STANDS_CUT;
    free(listed);
    if (read) {
        file_needed_less(primary);
    }
    if (cut && primary->syncs && !any_stands(primary, STANDS_CUT)) {
        save_cancel(primary->home->server->saver); /* nobody wants it any more */
    }
    primary->alone_ms = rt_mono_ms(primary->home->rt);
    look_at_good(primary);
}

void primary_news_arrived(struct worker *worker, struct message *message) {
    struct replica_news *news = (struct replica_news *)message;
    struct primary *primary = worker->server->primary;
    struct listed *listed = find(primary, news->client);
    if (news->kind == REPLICA_WAIT || news->kind == REPLICA_WAIT_ENDS) {
        primary_end_wait(primary, news);
        if (news->kind == REPLICA_WAIT) {
            primary_begin_wait(primary, news);
        }
    } else if (listed != NULL) {
        switch (news->kind) {
        case REPLICA_ACKNOWLEDGES:
            listed->acknowledged_ms = rt_wall_ms(worker->rt);
            if (news->offset > listed->acknowledged) {
                listed->acknowledged = news->offset;
            }
            primary_note_caught(primary, listed);
            listed->synced = news->synced > listed->synced ? news->synced : listed->synced;
            break;
        case REPLICA_IS_THERE:
            listed->acknowledged_ms = rt_wall_ms(worker->rt);
            break;
        case REPLICA_HAS_FILE:
            if (listed->stands == STANDS_READS) {
                listed->stands = STANDS_STREAM;
                listed->acknowledged_ms = rt_wall_ms(worker->rt);
                log_worker(worker, LOG_NOTICE,
                           listed->along
                               ? "Streamed RDB transfer with replica %s:%d succeeded (socket). "
                                 "Waiting for REPLCONF ACK from replica to enable streaming"
                               : "Synchronization with replica %s:%d succeeded",
                           listed->name.ip, listed->name.port);
                file_needed_less(primary);
                look_at_good(primary);
            }
            break;
        case REPLICA_GONE:
            gone(primary, listed);
            break;
        case REPLICA_WAIT:
        case REPLICA_WAIT_ENDS:
            break; /* above */
        }
    }
    free(news);
}

/* ---- Full syncs ---- */

/* Somebody waits for one. Those who can read it as it grows wait for others who may come, as all
 * that there are when it begins share it. */
static bool is_due(const struct primary *primary) {
    const struct config *config = primary->home->config;
    int64_t since_ms = INT64_MAX;
    int64_t count = 0;
    bool delays = config->repl_diskless_sync && config->repl_diskless_sync_delay > 0;
    LIST_EACH(&primary->replicas, node) {
        const struct listed *listed = LIST_ENTRY(node, struct listed, node);
        if (listed->stands == STANDS_ASKED) {
            count++;
            delays = delays && listed->name.eof;
            since_ms = listed->asked_ms < since_ms ? listed->asked_ms : since_ms;
        }
    }
    if (count == 0 || !delays) {
        return count > 0;
    }
    int64_t enough = config->repl_diskless_sync_max_replicas;
    return (enough > 0 && count >= enough) ||
           rt_mono_ms(primary->home->rt) - since_ms >= config->repl_diskless_sync_delay * 1000;
}

/* And it may begin. */
static bool can_sync(const struct primary *primary) {
    return primary->file == NULL && primary->home->server->saver->save == NULL && is_due(primary);
}

static void file_removed(struct rt_file_op *op, int64_t result) {
    (void)result;
    struct primary *primary = (struct primary *)((char *)op - offsetof(struct primary, remove));
    free(primary->file);
    primary->file = NULL;
    primary->removing = false;
}

static void file_needed_less(struct primary *primary) {
    if (primary->file != NULL && --primary->file_left == 0) {
        primary->removing = true;
        primary->remove.done = file_removed;
        rt_file_remove(primary->home->rt, &primary->remove, primary->file);
    }
}

/* In a view of all shards: whether what they do is sent here. */
static void feed_all(struct worker *parker, bool feeds) {
    struct server *server = parker->server;
    for (unsigned i = 0; i < server->workers_count; i++) {
        struct worker *worker = server->workers[i];
        if (worker->wal == NULL) {
            worker->wal = wal_new(worker);
        }
        wal_set_feeds(worker->wal, feeds);
        effects_log(worker, wal_is_recording(worker->wal) ? worker->wal : NULL);
    }
}

bool primary_role_may_change(const struct primary *primary) {
    const struct server *server = primary->home->server;
    bool in_unit = false;
    for (unsigned i = 0; i < server->workers_count; i++) {
        const struct wal *wal = server->workers[i]->wal;
        in_unit |= wal != NULL && wal_is_recording(wal) && wal_is_in_unit(wal);
    }
    return !in_unit || !(primary->active || primary->following);
}

/* From this moment on all that is done comes here. In a view of all shards. */
static void activate(struct primary *primary, struct worker *parker) {
    struct server *server = parker->server;
    feed_all(parker, true);
    backlog_set_limit(&primary->backlog, (uint64_t)primary->home->config->repl_backlog_size);
    backlog_sent(&primary->backlog);
    merge_init(&primary->merge, shared_wal_count(server->shared) + 1, keep, primary);
    primary->active = true;
    primary_acks_stream(primary, true);
    primary->pinged_ms = rt_mono_ms(primary->home->rt); /* nobody has been silent for long */
}

/* The save is over: its file, or NULL. */
static void saved(struct worker *home, const char *path, uint64_t bytes) {
    struct primary *primary = home->server->primary;
    primary->syncs = false;
    check(primary->file == NULL);
    primary->file_left = 0;
    LIST_EACH_SAFE(&primary->replicas, node) {
        struct listed *listed = LIST_ENTRY(node, struct listed, node);
        if (listed->stands == STANDS_CUT && path == NULL) {
            listed->stands = STANDS_ENDS;
            log_worker(home, LOG_WARNING, "SYNC failed: what replica %s:%d was to get is not whole",
                       listed->name.ip, listed->name.port);
            tell(primary, listed, STREAM_REFUSED, 0, NULL);
        } else if (listed->stands == STANDS_CUT) {
            listed->stands = STANDS_READS;
            primary->file_left++;
        }
    }
    if (path == NULL) {
        return;
    }
    size_t path_bytes = strlen(path) + 1;
    primary->file = must_malloc(path_bytes);
    memcpy(primary->file, path, path_bytes);
    LIST_EACH_SAFE(&primary->replicas, node) {
        struct listed *listed = LIST_ENTRY(node, struct listed, node);
        if (listed->stands == STANDS_READS && listed->along) {
            tell_grown(primary, listed, path, bytes, true);
        } else if (listed->stands == STANDS_READS) {
            tell(primary, listed, STREAM_FILE, 0, path);
        }
    }
    if (primary->file_left == 0) {
        primary->file_left = 1;
        file_needed_less(primary);
    }
}

/* Those that cannot read what there is. In a view of all shards. */
static void refuse_old(struct primary *primary) {
    unsigned needed = save_rdb_version(primary->home->server);
    LIST_EACH_SAFE(&primary->replicas, node) {
        struct listed *listed = LIST_ENTRY(node, struct listed, node);
        if (listed->stands == STANDS_ASKED && listed->name.rdb_version < needed) {
            old_readers_refused(primary->home, &listed->name);
            listed->stands = STANDS_ENDS;
            tell(primary, listed, STREAM_REFUSED, 0, OLD_READERS_REFUSAL);
        }
    }
}

/* Of those that wait: who reads along. How many do. */
static unsigned choose_forms(struct primary *primary) {
    unsigned count = 0;
    LIST_EACH(&primary->replicas, node) {
        struct listed *listed = LIST_ENTRY(node, struct listed, node);
        if (listed->stands == STANDS_ASKED) {
            listed->along = primary->home->config->repl_diskless_sync && listed->name.eof;
            count += listed->along;
        }
    }
    return count;
}

static bool any_from_file(const struct primary *primary) {
    LIST_EACH(&primary->replicas, node) {
        const struct listed *listed = LIST_ENTRY(node, struct listed, node);
        if (listed->stands == STANDS_ASKED && !listed->along) {
            return true;
        }
    }
    return false;
}

static void sync_run(struct exec *x, struct view *view, const void *args) {
    (void)view, (void)args;
    struct worker *home = x->worker;
    struct server *server = home->server;
    struct primary *primary = server->primary;
    reply_ok(x->reply);
    bool still = primary->still;
    primary->still = false;
    if ((primary->following && !still) || server->saver->save != NULL) {
        return; /* it is asked for again */
    }
    refuse_old(primary);
    if (!any_stands(primary, STANDS_ASKED)) {
        return;
    }
    if (home->wal != NULL) {
        wal_seal(home->wal); /* the others did as they were parked */
    }
    unsigned along = choose_forms(primary);
    log_worker(home, LOG_NOTICE, "Starting BGSAVE for SYNC with target: %s%s",
               along > 0 ? "replicas sockets" : "disk",
               along > 0 && any_from_file(primary) ? ", and disk" : "");
    server->saver->stream_db = -1;
    if (primary->following) {
        server->saver->stream_db = primary->db;
    } else {
        if (!primary->active) {
            activate(primary, home);
        }
        check(primary->merge.next == shared_wal_count(server->shared) + 1); /* all of it is here */
        merge_forget_db(&primary->merge);
    }
    primary->cut_offset = primary_offset(primary);
    primary->cut_told = false;
    primary->grown = 0;
    primary->syncs = true;
    server->saver->synced = saved;
    save_begin(home, SAVE_SYNC);
    LIST_EACH(&primary->replicas, node) {
        struct listed *listed = LIST_ENTRY(node, struct listed, node);
        if (listed->stands == STANDS_ASKED) {
            listed->stands = STANDS_CUT;
        }
    }
}

static void sync(struct exec *x) {
    char nothing = 0;
    if (txn_holds_all(x->client)) {
        park_all(x, sync_run, &nothing, sizeof nothing);
    } else {
        txn_hold_all(x); /* it comes again then */
    }
}

/* Who waits for this cut is told where it is. */
static void tell_cut(struct primary *primary) {
    if (!primary->syncs || primary->cut_told) {
        return;
    }
    primary->cut_told = true;
    LIST_EACH_SAFE(&primary->replicas, node) {
        const struct listed *listed = LIST_ENTRY(node, struct listed, node);
        if (listed->stands == STANDS_CUT) {
            tell(primary, listed, STREAM_CUT, primary->cut_offset, NULL);
        }
    }
}

/* Who reads along hears how far the file is. */
static void look_at_file(struct primary *primary) {
    uint64_t bytes;
    const char *path = save_growing(primary->home->server->saver, &bytes);
    if (path == NULL || bytes <= primary->grown) {
        return;
    }
    primary->grown = bytes;
    LIST_EACH_SAFE(&primary->replicas, node) {
        const struct listed *listed = LIST_ENTRY(node, struct listed, node);
        if (listed->stands == STANDS_CUT && listed->along) {
            tell_grown(primary, listed, path, bytes, false);
        }
    }
}

/* ---- As a replica ---- */

/* What this stream was, as far as it was the same. */
static void has_been(struct primary *primary, const char *id, uint64_t offset) {
    memcpy(primary->id2, id, sizeof primary->id2);
    primary->second_offset = offset + 1;
}

static void has_been_nothing(struct primary *primary) {
    memset(primary->id2, '0', REPLICATION_ID_BYTES);
    primary->second_offset = 0;
}

void primary_follow(struct primary *primary, struct worker *parker) {
    if (primary->following) {
        return;
    }
    primary_end_acks(primary);
    primary->following = true;
    primary->known = primary->still = false;
    primary->applied = primary->backlog.next - 1;
    if (primary->active) {
        wal_seal(parker->wal); /* the others did as they were parked */
        feed_all(parker, false);
        primary->ending = true;
        primary->ends_at = shared_wal_count(parker->server->shared);
    }
}

/* All that this server has done by itself is in its stream. */
static void end_own(struct primary *primary) {
    primary->applied = primary->backlog.next - 1;
    primary->db = primary->merge.db > 0 ? (uint32_t)primary->merge.db : 0;
    primary->known = true;
    primary->ending = false;
    stop_merging(primary);
}

/* Those that wait for a cut which will not be. One whose connection is this worker's is gone from
 * the list when it has been told. */
static void refuse_waiting(struct primary *primary) {
    LIST_EACH_SAFE(&primary->replicas, node) {
        struct listed *listed = LIST_ENTRY(node, struct listed, node);
        if (listed->stands == STANDS_ASKED) {
            listed->stands = STANDS_ENDS;
            tell(primary, listed, STREAM_REFUSED, 0, NULL);
        }
    }
}

/* They come again, and hear of what they are to know. */
static void refuse_all(struct primary *primary) {
    LIST_EACH_SAFE(&primary->replicas, node) {
        struct listed *listed = LIST_ENTRY(node, struct listed, node);
        listed->stands = listed->stands == STANDS_ASKED ? STANDS_ENDS : listed->stands;
        tell(primary, listed, STREAM_REFUSED, 0, NULL);
    }
}

void primary_promote(struct primary *primary, struct worker *parker, bool exact) {
    if (!primary->following) {
        return;
    }
    bool goes_on = primary->known && exact && !primary->ending;
    primary->following = false;
    has_been_nothing(primary);
    if (goes_on) {
        has_been(primary, primary->id, primary->applied);
    }
    if (primary->ending) {
        primary->ending = false;
        deactivate(primary);
    } else if (!goes_on) {
        backlog_reset(&primary->backlog, primary->applied + 1);
    }
    refuse_all(primary);
    new_id(primary, parker->rt);
    primary_begin_acks(primary);
    primary->known = primary->still = false;
    primary->alone_ms = rt_mono_ms(parker->rt);
    if (goes_on) {
        if (parker->wal != NULL) {
            wal_seal(parker->wal);
        }
        activate(primary, parker);
        log_worker(parker, LOG_NOTICE,
                   "Setting secondary replication ID to %s, valid up to offset: %llu. New "
                   "replication ID is %s",
                   primary->id2, (unsigned long long)primary->second_offset, primary->id);
    }
}

bool primary_is_ending(const struct primary *primary) {
    return primary->ending;
}

bool primary_position(const struct primary *primary, struct primary_place *ret) {
    memcpy(ret->id, primary->id, sizeof primary->id);
    ret->offset = primary->applied;
    ret->db = primary->db;
    return primary->known;
}

void primary_set(struct primary *primary, const struct primary_place *place) {
    memcpy(primary->id, place->id, sizeof primary->id);
    has_been_nothing(primary);
    primary->known = true;
    primary->applied = place->offset;
    primary->db = place->db;
    backlog_reset(&primary->backlog, place->offset + 1);
    backlog_set_limit(&primary->backlog, (uint64_t)primary->home->config->repl_backlog_size);
}

void primary_keep(struct primary *primary, struct bytes bytes) {
    backlog_keep(&primary->backlog, bytes);
}

void primary_set_applied(struct primary *primary, uint64_t offset) {
    primary->applied = offset;
    backlog_ready(&primary->backlog, offset + 1);
}

void primary_link_ends(struct primary *primary, uint64_t applied) {
    primary_set_applied(primary, applied);
    backlog_drop_kept(&primary->backlog);
}

void primary_link_is_over(struct primary *primary, uint32_t db) {
    primary->db = db;
}

void primary_rename(struct primary *primary, const char *id) {
    has_been(primary, primary->id, primary->applied);
    snprintf(primary->id, sizeof primary->id, "%s", id);
    refuse_all(primary);
}

void primary_forget(struct primary *primary) {
    primary->known = primary->still = false;
    refuse_all(primary);
    backlog_reset(&primary->backlog, primary->applied + 1);
}

bool primary_wants_cut(const struct primary *primary) {
    return primary_passes_on(primary) && (primary->still || can_sync(primary));
}

void primary_cut(struct primary *primary, uint32_t db) {
    primary->db = db;
    if (!primary->still) {
        primary->still = true; /* it may be over when this comes back */
        primary->still = inner_run(primary->home->inner, sync) && primary->still;
    }
}

/* ---- In each turn, and now and then ---- */

void primary_turn(struct primary *primary) {
    if (UNLIKELY(primary->ending) && merge_is_past(&primary->merge, primary->ends_at)) {
        end_own(primary);
    }
    if (UNLIKELY(!list_empty(&primary->waits))) {
        primary_look_at_waits(primary);
    }
    primary_look_at_acks(primary);
    if (!primary->active && !primary_passes_on(primary)) {
        return;
    }
    tell_cut(primary);
    if (UNLIKELY(primary->syncs)) {
        look_at_file(primary);
    }
    if (primary->asks && primary->active && !primary->following &&
        primary->home->pause.holds == 0) {
        primary_ask(primary);
    }
    send_rest(primary);
}

uint64_t primary_ask(struct primary *primary) {
    primary->asks = false;
    if (primary->active) {
        put(primary, "*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n");
    }
    return primary_offset(primary);
}

bool primary_is_still(const struct primary *primary, struct worker *parker) {
    if (parker->wal != NULL) {
        wal_seal(parker->wal); /* the others did as they were parked */
    }
    return primary->active && list_empty(&primary->published) &&
           primary->merge.next == shared_wal_count(parker->server->shared) + 1;
}

bool primary_own_place(const struct primary *primary, struct worker *parker,
                       struct primary_place *ret) {
    if (primary->following || !primary_is_still(primary, parker)) {
        return false;
    }
    memcpy(ret->id, primary->id, sizeof primary->id);
    ret->offset = primary_offset(primary);
    ret->db = primary->merge.db > 0 ? (uint32_t)primary->merge.db : 0;
    return true;
}

void primary_resume(struct primary *primary, struct worker *parker,
                    const struct primary_place *place) {
    check(!primary->following && !primary->active);
    has_been(primary, place->id, place->offset);
    backlog_reset(&primary->backlog, place->offset + 1);
    primary->alone_ms = rt_mono_ms(primary->home->rt);
    activate(primary, parker);
    log_worker(parker, LOG_NOTICE,
               "Replicas of the stream %s may go on here from offset %llu, in that of the new "
               "replication ID %s",
               primary->id2, (unsigned long long)primary->second_offset, primary->id);
}

static void end_run(struct exec *x, struct view *view, const void *args) {
    (void)view, (void)args;
    struct server *server = x->worker->server;
    struct primary *primary = server->primary;
    reply_ok(x->reply);
    if (!primary->active || !list_empty(&primary->replicas)) {
        return;
    }
    if (x->worker->wal != NULL) {
        wal_seal(x->worker->wal);
    }
    feed_all(x->worker, false);
    deactivate(primary);
    new_id(primary, x->worker->rt); /* what happens now is in no stream, */
    has_been_nothing(primary);      /* and nobody goes on behind it, whatever he has */
    log_worker(x->worker, LOG_NOTICE, "Replication backlog freed: no connected replicas.");
}

static void end(struct exec *x) {
    char nothing = 0;
    if (txn_holds_all(x->client)) {
        park_all(x, end_run, &nothing, sizeof nothing);
    } else {
        txn_hold_all(x);
    }
}

/* Who reads the stream acknowledges it each second; the old way knows no such thing. */
static void close_silent(struct primary *primary) {
    int64_t now_ms = rt_wall_ms(primary->home->rt);
    int64_t limit_ms = primary->home->config->repl_timeout * 1000;
    LIST_EACH_SAFE(&primary->replicas, node) {
        struct listed *listed = LIST_ENTRY(node, struct listed, node);
        if (listed->stands == STANDS_STREAM && !listed->old &&
            now_ms - listed->acknowledged_ms > limit_ms) {
            log_worker(primary->home, LOG_WARNING,
                       "Disconnecting timedout replica (streaming sync): %s:%d", listed->name.ip,
                       listed->name.port);
            listed->acknowledged_ms = now_ms; /* it is told once */
            tell(primary, listed, STREAM_REFUSED, 0, NULL);
        }
    }
}

void primary_reset_stats(struct primary *primary) {
    primary->full_syncs = primary->partial_syncs = primary->refused = 0;
}

void primary_configure(struct primary *primary) {
    look_at_good(primary);
}

void primary_cron(struct primary *primary) {
    struct worker *home = primary->home;
    const struct config *config = home->config;
    int64_t now_ms = rt_mono_ms(home->rt);
    if (home->loop.stopping || shared_loading(home->server->shared)) {
        return;
    }
    backlog_set_limit(&primary->backlog, (uint64_t)config->repl_backlog_size);
    look_at_good(primary);
    if (is_link_down(primary)) {
        refuse_waiting(primary);
    }
    if (!primary->following && can_sync(primary)) {
        inner_run(home->inner, sync);
    }
    close_silent(primary);
    if (!primary->active || primary->following) {
        return;
    }
    if (!list_empty(&primary->replicas)) {
        primary->alone_ms = now_ms;
    } else if (config->repl_backlog_ttl > 0 && !primary->syncs &&
               now_ms - primary->alone_ms > config->repl_backlog_ttl * 1000) {
        inner_run(home->inner, end);
    }
    if (!list_empty(&primary->replicas) && home->pause.holds == 0 &&
        now_ms - primary->pinged_ms >= config->repl_ping_replica_period * 1000) {
        primary->pinged_ms = now_ms;
        put(primary, "*1\r\n$4\r\nPING\r\n");
    }
}
