/* SPDX-License-Identifier: BSD-3-Clause */
/* upstream_private: what the sources of upstream share. Private to server/replication.
 *
 *   upstream.c       connecting, talking, the file, the stream
 *   upstream_load.c  the file becomes the data; what is shown
 *
 * Thread: worker 0.
 */
#ifndef SHOAL_SERVER_REPLICATION_UPSTREAM_PRIVATE_H
#define SHOAL_SERVER_REPLICATION_UPSTREAM_PRIVATE_H

#include "base/text.h"
#include "net/rt.h"
#include "net/rt_file.h"
#include "server/replication/primary.h"
#include "server/replication/upstream.h"
#include "server/replication/upstream_disk.h"
#include "server/replication/upstream_sum.h"
#include "server/worker/worker.h"

#include <stdbool.h>
#include <stdint.h>

#define EOF_MARK_BYTES 40

struct aside;

enum upstream_at {
    UPSTREAM_OFF,
    UPSTREAM_WAITS,
    UPSTREAM_RESOLVES,
    UPSTREAM_CONNECTS,
    UPSTREAM_TALKS,
    UPSTREAM_RECEIVES,
    UPSTREAM_LOADS,
    UPSTREAM_STREAMS,
};

enum talk {
    TALK_PING,
    TALK_AUTH,
    TALK_PORT,
    TALK_IP,
    TALK_CAPA,
    TALK_VERSION,
    TALK_NODE,
    TALK_PSYNC
};

struct upstream {
    struct upstream_account account; /* first */
    struct rt_file_op op;            /* one at a time */
    struct worker *home;
    enum upstream_at at;
    struct client *client; /* NULL: there is none */
    uint64_t client_id;    /* and until that one is freed nothing new begins; 0: none was */
    bool left;             /* that one streamed, and is not freed yet */
    bool stops;            /* the role is about to change */
    char host[RT_HOST_NAME_MAX + 1];
    int port;
    struct rt_resolve *resolve;
    struct rt_addresses addresses;
    unsigned next_address;
    int64_t again_ms; /* monotonic: it is tried again then */
    int64_t moved_ms; /* the same: something has come, or was begun */
    int64_t down_ms;  /* since then it is down; -1: it never was up */
    enum talk talk;
    /* What has come and is neither understood nor on the disk; when the file is there: of the
     * stream. */
    struct text in;
    bool paused;
    /* A full sync. */
    struct primary_place place; /* where the stream goes on behind it */
    bool sized;                 /* `total` is known; else the end is marked */
    bool announced;             /* that is, its first line has come */
    bool whole;                 /* all of it has */
    bool lacks;                 /* the primary sends all, and it is not ours yet */
    char mark[EOF_MARK_BYTES];
    uint64_t total, received, written;
    struct upstream_sum sum; /* of what is written */
    bool opening, writing, closing, removing;
    rt_file file;
    struct text flying;
    struct iovec vector;
    char path[64];
    bool has_path;       /* there may be a file */
    bool begun;          /* loading is */
    struct aside *aside; /* the file is read beside what is served; NULL: it is not */
    bool was_aside;      /* and could not be taken: it is loaded without */
    bool aside_ends;     /* what is left of that goes, */
    bool aside_takes;    /* it becomes the data: nobody may end it, */
    bool aside_taken;    /* as it has become the data */
    /* The stream. */
    bool known;         /* account.fed is ours: nothing of it is on its way */
    int64_t unknown_ms; /* monotonic: since then it is not; 0: it is */
    int64_t acked_ms;
    bool asked; /* for an acknowledgement */
    bool owes;  /* one more when what it has is on the disk, too */
    struct upstream_disk disk;
    bool still;      /* nothing is run: there is to be a cut (primary.h), */
    int64_t held_ms; /* or a save: monotonic, since then; 0: none */
    /* A hand-over. */
    bool hands_over;
    enum upstream_handed handed;
};

static inline int64_t upstream_now_ms(const struct upstream *u) {
    return rt_mono_ms(u->home->rt);
}

/* ---- upstream.c ---- */

/* The log says why, and the link is closed. */
void upstream_give_up(struct upstream *u, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void upstream_wait_a_moment(struct upstream *u);
/* The next step of the file: one at a time. */
void upstream_file_on(struct upstream *u);
/* Behind what is loaded. */
void upstream_stream_begins(struct upstream *u, const struct primary_place *place);

/* ---- upstream_load.c ---- */

/* Now and then: the file is there, and becomes the data. */
void upstream_load_on(struct upstream *u);
/* What is read beside is over, or nearly. False: ask again. */
bool upstream_load_stop(struct upstream *u);
/* What is read beside is of a link that is no more. */
void upstream_load_forget(struct upstream *u);

#endif
