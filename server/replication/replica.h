/* SPDX-License-Identifier: BSD-3-Clause */
/* replica: a connection over which a replica reads the stream, on the worker where it is.
 *
 *     TOLD      REPLCONF only: what it said of itself
 *     ASKS      it has asked for the stream; the home has not answered
 *     WAITS     for a full sync: what the home sends behind the cut is kept
 *     READS     the file is being sent: as it grows, with a mark behind it, to who can read that;
 *               to others with its length before it, when it is complete
 *     MARKED    it has got the mark, and nothing more until it says that it has found it
 *     STREAMS   its output is the stream
 *
 * What it gets are pieces of the backlog, held by reference: a slow replica costs what it has not
 * read, once for all that have not read it, and is closed by its limit
 * (client-output-buffer-limit).
 *
 * Thread: the client's home.
 */
#ifndef SHOAL_SERVER_REPLICATION_REPLICA_H
#define SHOAL_SERVER_REPLICATION_REPLICA_H

#include "base/bytes.h"
#include "base/check.h"
#include "base/outbuf.h"
#include "cluster/brain/map.h"
#include "cluster/stream/piece.h"
#include "net/rt.h"
#include "server/client/client.h"
#include "shard/mailbox.h"

#include <stdbool.h>
#include <stdint.h>

struct replica;
struct worker;

#define REPLICATION_ID_BYTES 40

/* What its client's accounts look at: the beginning of a struct replica. */
struct replica_account {
    bool is;            /* it has asked for the stream: a replica to CLIENT LIST and limits */
    struct outbuf held; /* what it is still to be sent, besides its output */
};
static inline const struct replica_account *replica_account(const struct client *client) {
    return (const struct replica_account *)client->replica;
}
static inline bool replica_is(const struct client *client) {
    return UNLIKELY(client->replica != NULL) && replica_account(client)->is;
}
static inline size_t replica_held_bytes(const struct client *client) {
    return UNLIKELY(client->replica != NULL) ? replica_account(client)->held.bytes : 0;
}

/* Who it is, to the home. */
struct replica_name {
    uint64_t client;
    unsigned worker;
    int port;             /* it listens there; 0: it has not said */
    unsigned rdb_version; /* the latest that it reads */
    bool eof;             /* it finds the end of a file by a mark */
    char ip[RT_HOST_BYTES];
    char node_id[MAP_ID_BYTES + 1]; /* in a cluster; "": it has not said */
};

/* From the stream's home to a worker; freed there. */
enum stream_mail_kind {
    STREAM_BYTES,   /* to all replicas there, as far as they have not got them */
    STREAM_CUT,     /* a full sync begins: its offset */
    STREAM_FILE,    /* and here is the file */
    STREAM_GROWS,   /* or so much of it (`offset`), which is all if it is `whole` */
    STREAM_REFUSED, /* it has failed, or the replica is silent: it is closed, `path` its last word
                     */
    STREAM_GOOD,    /* so many replicas keep up now (`offset`), and so many acknowledge what they
                       get (`acking`): to all workers */
};
struct stream_piece {
    struct piece *piece;
    struct bytes bytes;
};
struct stream_mail {
    struct message message;
    enum stream_mail_kind kind;
    uint64_t client; /* 0: all */
    uint64_t offset; /* of the first byte; of the cut: of the last one before it */
    char id[REPLICATION_ID_BYTES + 1];
    char path[512];
    bool whole;
    uint32_t acking;
    uint32_t count;
    struct stream_piece pieces[];
};
/* With the references in it. */
void stream_mail_free(struct stream_mail *mail);

/* From there to the home; freed there. */
enum replica_news_kind {
    REPLICA_ACKNOWLEDGES,
    REPLICA_HAS_FILE, /* all of it, and the mark, but for what is in its output */
    REPLICA_IS_THERE, /* it says nothing yet, but that */
    REPLICA_GONE,
    REPLICA_WAIT,      /* a client waits for `count` of them, */
    REPLICA_WAIT_ENDS, /* or no longer */
};
struct replica_news {
    struct message message;
    enum replica_news_kind kind;
    uint64_t client, offset; /* of a wait: which of the client's commands it is */
    unsigned worker;         /* the client's */
    uint32_t count;
    uint64_t synced;     /* of what is acknowledged: on the replica's disk */
    bool on_disks, here; /* the wait is for disks; for ours, too */
};

/* What REPLCONF says of it. NULL if it is none yet and there is nothing to say. */
struct replica *replica_of(struct client *client); /* made, if need be */
void replica_set_port(struct client *client, int port);
void replica_set_ip(struct client *client, struct bytes ip);
void replica_set_node_id(struct client *client, struct bytes id); /* of MAP_ID_BYTES */
/* REPLCONF rdb-only: it is sent the file, and nothing behind it; rdb-filter-only: of libraries. */
void replica_set_eof(struct client *client); /* REPLCONF capa eof */
void replica_set_file_only(struct client *client, bool only);
void replica_set_functions_only(struct client *client, bool only);
struct replica_wants {
    bool file_only, functions_only;
};
struct replica_wants replica_wants(const struct client *client);
void replica_set_version(struct client *client, unsigned major); /* of Valkey */
/* `synced`: of that it has so much on its disk. */
void replica_acknowledges(struct client *client, uint64_t offset, uint64_t synced);

/* PSYNC ... FAILOVER: what it asks for, once this server is a primary. */
void replica_set_wish(struct client *client, const char id[REPLICATION_ID_BYTES + 1],
                      int64_t offset);
void replica_get_wish(const struct client *client, char ret_id[REPLICATION_ID_BYTES + 1],
                      int64_t *ret_offset);

/* It has asked for the stream. */
void replica_asks(struct client *client, bool old, struct replica_name *ret);
/* Instead of a sync: it is sent this file, and that was all. */
void replica_send_file(struct client *client, struct bytes file);
/* The home's answer: it goes on with this, or waits. Frees the mail. */
void replica_goes_on(struct client *client, struct stream_mail *mail);
void replica_waits(struct client *client);
/* Or there is no stream: it is a client as it was. */
void replica_asks_in_vain(struct client *client);
/* The client was gone before the answer came. */
void replica_is_gone(struct worker *worker, uint64_t client);

/* Of any client: what it waits for, or no longer (wait_replicas.h). */
struct replica_wait {
    bool ends;
    bool on_disks; /* WAITAOF */
    bool here;     /* on ours, too */
    uint32_t wanted;
};
void replica_send_wait(struct client *client, const struct replica_wait *wait);
void replica_send_wait_of(struct worker *worker, uint64_t id, const struct replica_wait *wait);

/* MESSAGE_STREAM. */
void replica_mail_arrived(struct worker *worker, struct message *message);
/* In each turn, while there are any: files go on. */
void replicas_work(struct worker *worker);
/* Now and then: those that wait hear that somebody is there, and who takes nothing of the file for
 * repl-timeout is closed. */
void replicas_cron(struct worker *worker);
/* After the runtime: those whose files were being read. */
void replicas_free(struct worker *worker);
/* The client is closed. */
void replica_leave(struct client *client);

#endif
