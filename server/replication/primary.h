/* SPDX-License-Identifier: BSD-3-Clause */
/* primary: the replication stream of this server, at its home: worker 0. Blocks of all shards come
 * in (feed.h), are merged (cluster/stream/merge.h) and kept (backlog.h), and leave for the workers
 * where replicas are connected (replica.h).
 *
 *     a replica asks (PSYNC)     home knows what it has: it goes on, or waits for a full sync
 *     a full sync                a cut of all shards, from which on the stream is fed; a save of
 *                                that moment to an RDB file of its own (persistence/save.h); each
 *                                replica is sent the file, and what came behind the cut
 *     it is over                 the file goes
 *
 * The first full sync begins the stream; it ends when there has been no replica for
 * repl-backlog-ttl.
 *
 * A replica passes its primary's stream on, byte by byte: what comes over the link is kept in the
 * backlog at once, and shown when it has been applied. Nothing of its own goes in between, no PING
 * and no GETACK. A full sync is cut where nothing of the stream is on its way: who reads the link
 * (upstream.h) holds it up for that.
 *
 * Thread: worker 0, but for primary_begin_sync: it has a view of all shards, and is worker 0 too.
 */
#ifndef SHOAL_SERVER_REPLICATION_PRIMARY_H
#define SHOAL_SERVER_REPLICATION_PRIMARY_H

#include "base/bytes.h"
#include "base/text.h"
#include "server/replication/replica.h"
#include "server/replication/upstream.h"

#include <stdbool.h>
#include <stdint.h>

struct config;
struct message;
struct primary;
struct worker;

struct primary *primary_new(struct worker *home);
void primary_free(struct primary *primary);

/* MESSAGE_FEED: what a shard's turn has done (feed.h). */
void primary_feed_arrived(struct worker *worker, struct message *message);

/* ---- What replicas ask ---- */

/* "?" or the id of a stream, and the offset of the next byte that it wants; `id`: NULL for SYNC. */
struct primary_wish {
    struct replica_name name;
    char id[REPLICATION_ID_BYTES + 1];
    int64_t offset;
    bool old; /* SYNC: it wants to be told of no id */
};
/* The answer: what a replica that goes on gets first is a mail to it; else a full sync follows. */
struct primary_answer {
    const char *refused; /* the error; or NULL */
    bool goes_on;
    char id[REPLICATION_ID_BYTES + 1];
    struct stream_mail *mail; /* or NULL */
};
void primary_attach(struct primary *primary, const struct primary_wish *wish,
                    struct primary_answer *ret);
/* MESSAGE_REPLICA: it has acknowledged, has got the file, or is gone. */
void primary_news_arrived(struct worker *worker, struct message *message);

/* ---- As a replica: what it has of whose stream ---- */

/* By who has a view of all shards: what this server does is in no stream of its own any more. What
 * was done before ends at an offset, which is known when primary_is_ending is over. */
void primary_follow(struct primary *primary, struct worker *parker);
/* The same: from now on it is. `exact`: the offset set last is that of all that was applied: who
 * has as much of the stream of before goes on with this one. */
void primary_promote(struct primary *primary, struct worker *parker, bool exact);
bool primary_is_ending(const struct primary *primary);
/* A place in a stream: behind that byte, and in that database. */
struct primary_place {
    char id[REPLICATION_ID_BYTES + 1];
    uint64_t offset;
    uint32_t db;
};
/* False: it is in nobody's stream. */
bool primary_position(const struct primary *primary, struct primary_place *ret);
void primary_set(struct primary *primary, const struct primary_place *place);
/* Bytes of that stream, as they came: they are applied from now on, */
void primary_keep(struct primary *primary, struct bytes bytes);
/* and so far they have been. */
void primary_set_applied(struct primary *primary, uint64_t offset);
/* No more will be: what is not applied comes again; */
void primary_link_ends(struct primary *primary, uint64_t applied);
/* and when all is done it has been in that database. */
void primary_link_is_over(struct primary *primary, uint32_t db);
/* The same stream has another name. Replicas are closed: they have to hear of it. */
void primary_rename(struct primary *primary, const char *id);
void primary_forget(struct primary *primary);
/* Somebody waits for a full sync: the stream is to stand still until that is no longer so, */
bool primary_wants_cut(const struct primary *primary);
/* and it does, in this turn. */
void primary_cut(struct primary *primary, uint32_t db);

/* ---- To hand over (failover.h) ---- */

enum primary_failover {
    FAILOVER_NONE,
    FAILOVER_WAITS,      /* for the target */
    FAILOVER_HANDS_OVER, /* to it */
    FAILOVER_BACK,       /* it does not take it */
};
/* While there is one nobody is given the stream. */
void primary_set_failover(struct primary *primary, enum primary_failover state);
enum primary_failover primary_get_failover(const struct primary *primary);
/* There is no replica, however far it is. */
bool primary_is_alone(const struct primary *primary);
/* All have said that they read RDB files of this version: how new they are. */
bool primary_all_read(const struct primary *primary, unsigned rdb_version);
enum primary_found { PRIMARY_NO_REPLICA, PRIMARY_REPLICA_WAITS, PRIMARY_REPLICA_STREAMS };
/* That one, by what it says of itself; and what it has acknowledged. */
enum primary_found primary_find(const struct primary *primary, const char *host, int port,
                                uint64_t *ret_offset);
/* One that has acknowledged as much. */
bool primary_find_at(const struct primary *primary, uint64_t offset,
                     char ret_host[RT_HOST_NAME_MAX + 1], int *ret_port);
/* A node of a cluster that has acknowledged all that is in the stream. */
bool primary_find_node(const struct primary *primary, char ret_id[MAP_ID_BYTES + 1]);
/* All have acknowledged all that is in the stream. */
bool primary_all_have(const struct primary *primary);
/* How many of all do, and which do not, in the log: the server ends. */
void primary_log_laggards(const struct primary *primary);
/* Of the last byte. */
uint64_t primary_offset(const struct primary *primary);
/* Replicas are asked how far they are; the offset behind the question. */
uint64_t primary_ask(struct primary *primary);
/* In a view of all shards: whether all that was done is in the stream. */
bool primary_is_still(const struct primary *primary, struct worker *parker);

/* ---- Over a restart (resume.h) ---- */

/* In a view of all shards, no replica: what is there now stands in its own stream at that place.
 * False: that is not known, or there is no stream. */
bool primary_own_place(const struct primary *primary, struct worker *parker,
                       struct primary_place *ret);
/* The same, before anything was done: what was loaded stood there in the stream of an earlier life,
 * and who has as much of that goes on with this one's. */
void primary_resume(struct primary *primary, struct worker *parker,
                    const struct primary_place *place);

/* ---- In each turn, and now and then ---- */

/* In a view of all shards: the role may change now. Not in the middle of a transaction that has
 * written: its stream cannot end, or begin, between two parts of a unit. */
bool primary_role_may_change(const struct primary *primary);
/* Before replies leave. */
void primary_turn(struct primary *primary);
void primary_cron(struct primary *primary);
/* The configuration is another. Who asked for that finds how many replicas are good by it. */
void primary_configure(struct primary *primary);
/* CONFIG RESETSTAT. */
void primary_reset_stats(struct primary *primary);
/* Somebody waits for what other workers write: nobody wakes this one for that. */
bool primary_waits_for_disk(const struct primary *primary);

/* ---- What is shown ---- */

/* For INFO and ROLE, made by worker 0 for another. */
struct primary_state {
    bool active;
    char id[REPLICATION_ID_BYTES + 1];
    char id2[REPLICATION_ID_BYTES + 1]; /* of the stream that it was a replica of before, */
    int64_t second_offset;              /* as far as that was the same; -1: of none */
    enum primary_failover failover;
    bool replica; /* it is one now: of that host, */
    char host[RT_HOST_NAME_MAX + 1];
    int port;
    struct upstream_state upstream; /* over this connection: who asks fills it in */
    uint64_t offset, backlog_size, backlog_first, backlog_bytes;
    uint32_t replicas_count, waiting, streaming;
    uint32_t good;       /* they keep up, as min-replicas-max-lag has it, */
    bool shows_good;     /* and somebody has asked for that */
    uint32_t merge_runs; /* that wait for one with a smaller number */
    bool shows_acks;     /* replicas-ack is set: */
    uint32_t acking;     /* replicas that acknowledge, */
    uint64_t unacked;    /* numbers that were drawn and are not acknowledged by so many */
    uint64_t full_syncs, partial_syncs, refused_partial_syncs;
    struct text lines; /* of INFO: slave0:... */
    struct text roles; /* of ROLE: `streaming` arrays, in RESP */
};
void primary_state(const struct primary *primary, struct primary_state *ret);
void primary_state_fini(struct primary_state *state);

#endif
