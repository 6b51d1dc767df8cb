/* SPDX-License-Identifier: BSD-3-Clause */
/* primary_private: the stream's home, as its own files see it (primary.h).
 *
 * Thread: worker 0.
 */
#ifndef SHOAL_SERVER_REPLICATION_PRIMARY_PRIVATE_H
#define SHOAL_SERVER_REPLICATION_PRIMARY_PRIVATE_H

#include "base/list.h"
#include "cluster/stream/backlog.h"
#include "cluster/stream/merge.h"
#include "net/rt_file.h"
#include "server/replication/primary.h"

enum stands {
    STANDS_ASKED,  /* it waits for a full sync to begin */
    STANDS_CUT,    /* one has, and is being saved */
    STANDS_READS,  /* it is sent the file */
    STANDS_STREAM, /* it gets the stream */
    STANDS_ENDS,   /* it has been refused, and is not gone yet */
};

struct listed { /* a replica */
    struct list_node node;
    struct replica_name name;
    enum stands stands;
    bool old;
    bool along;                    /* it reads the file of a full sync as it grows */
    uint64_t acknowledged, synced; /* synced: on its disk */
    int64_t acknowledged_ms;       /* wall */
    int64_t asked_ms;              /* for a full sync: monotonic */
};

struct waits { /* a client in WAIT */
    struct list_node node;
    uint64_t client, command;
    unsigned worker;
    bool on_disks, here; /* WAITAOF; on ours, too */
    bool told_here;
    uint32_t wanted, told;
    uint64_t number; /* all up to it must be acknowledged; 0: not known yet */
    uint64_t offset; /* the same, once it is in the stream; 0: it is not */
};

/* Up to this number all is in the stream, which is so long then. */
struct stream_mark {
    uint64_t number, offset;
};

struct primary {
    struct worker *home;
    char id[REPLICATION_ID_BYTES + 1];
    bool active;
    /* It is a replica. */
    bool following;
    bool known;       /* in this stream it has got so far: to be shown to others */
    uint64_t applied; /* offset of the last byte */
    uint32_t db;      /* that the stream is in there; while it comes the link knows better */
    bool still;       /* a cut has been asked for at a moment at which nothing is on its way */
    bool ending;      /* blocks up to this number are still on their way */
    uint64_t ends_at;
    char id2[REPLICATION_ID_BYTES + 1]; /* before it was promoted; all zeros: it never was */
    uint64_t second_offset;             /* the first that is not the same; 0 */
    struct merge merge;
    struct backlog backlog;
    struct list replicas, waits;
    struct list published; /* mails of what is to come in the stream (feed.h) */
    unsigned *there;       /* by worker: how many are */
    bool syncs;            /* a save for it is under way */
    bool cut_told;         /* to those that wait for it */
    uint64_t cut_offset;
    uint64_t grown;     /* so long the file is, as those who read along know */
    char *file;         /* of the last full sync, while it is read; or NULL */
    unsigned file_left; /* replicas that read it */
    struct rt_file_op remove;
    bool removing;
    int64_t pinged_ms; /* monotonic */
    int64_t alone_ms;  /* the same: since when there is no replica */
    bool asks;         /* for acknowledgements, in this turn */
    uint32_t good;     /* replicas that keep up, as all workers were told; */
    uint32_t acking;   /* those that say how far they are, the same */
    /* replicas-ack (primary_acks.c) */
    uint32_t acks_wanted;
    struct stream_mark *marks; /* what is not acknowledged by so many, in order */
    uint32_t marks_count;
    uint64_t marked; /* the number of the last one that was noted */
    /* Offsets: up to where something was done, and so far all that was is acknowledged. Between
     * them and the end of the stream are questions and the like. */
    uint64_t done_end, acked_end;
    bool left_unacked; /* when there was a stream last, not all of it was */
    enum primary_failover failover;
    uint64_t full_syncs, partial_syncs, refused;
};

/* A replica that passes on what comes. */
static inline bool primary_passes_on(const struct primary *primary) {
    return primary->following && primary->known && !primary->ending;
}

void primary_send(struct primary *primary, unsigned to, uint16_t kind, struct message *message);

/* primary_waits.c: a client in WAIT; it waits no longer; in each turn. */
void primary_begin_wait(struct primary *primary, const struct replica_news *news);
void primary_end_wait(struct primary *primary, const struct replica_news *news);
void primary_look_at_waits(struct primary *primary);

/* primary_acks.c: replicas that acknowledge what they get. */
/* It has acknowledged. */
void primary_note_caught(struct primary *primary, const struct listed *listed);
uint32_t primary_count_acking(const struct primary *primary);
/* In each turn: whom replicas-ack lets go, and whether replicas are to be asked. */
void primary_look_at_acks(struct primary *primary);
/* In a view of all shards: what is there counts as acknowledged; from now on there is no stream of
 * its own: what is acknowledged by now, and no more; there is another stream. */
void primary_begin_acks(struct primary *primary);
void primary_end_acks(struct primary *primary);
void primary_forget_acks(struct primary *primary);
/* A stream begins, ends. */
void primary_acks_stream(struct primary *primary, bool begins);

#endif
