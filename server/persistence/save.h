/* SPDX-License-Identifier: BSD-3-Clause */
/* save: all keys, as they were at one moment, on the disk, beside everything else: BGSAVE, SAVE,
 * save points, BGREWRITEAOF. One at a time.
 *
 *     save_begin            in a view of all shards: the cut, and a share for each worker
 *       -> worker 0 makes the directory and knows the generation (data.h)
 *       -> each worker walks and writes (save_share.h)
 *       -> one RDB file is put together, or not
 *       -> it takes the place of what was there: a rename, a manifest
 *       -> each worker hears how it ended; saver->ended counts
 *
 * What was there before stays as it was until the last step but one, and for good if anything went
 * wrong before.
 *
 * Thread: worker 0, but for save_begin: whoever has the view. Others read nothing of it.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_SAVE_H
#define SHOAL_SERVER_PERSISTENCE_SAVE_H

#include "server/persistence/data.h"

#include <stdbool.h>
#include <stdint.h>

struct message;
struct save;
struct server;
struct view;
struct worker;

enum save_purpose {
    SAVE_BACKGROUND, /* BGSAVE, a save point */
    SAVE_WAITED_FOR, /* SAVE, SHUTDOWN */
    SAVE_REWRITE,    /* BGREWRITEAOF: a new generation, whatever save-format says */
    SAVE_SYNC,       /* a full sync: an RDB file that goes to replicas (replication/primary.h) */
};

/* How those of one kind went. Seconds of wall time. */
struct save_record {
    bool failed; /* the last one */
    int64_t tried_at, began_at;
    int64_t took; /* -1: there was none */
    uint64_t count, failures_in_a_row;
    size_t kept; /* memory that the last took at most */
};

struct saver {
    struct data data;
    struct save *save;         /* under way; or NULL */
    enum save_purpose purpose; /* its */
    bool save_scheduled, rewrite_scheduled;
    struct save_record saves, rewrites, syncs;
    /* Of SAVE_SYNC, by who begins it: the stream behind it goes on in this database; -1: it will
     * say in which; and it is over; its file, which is his then, or NULL. */
    int64_t stream_db;
    void (*synced)(struct worker *home, const char *path, uint64_t bytes);
    /* In a view of all shards: where in a replication stream all that there is stands. */
    void (*place)(struct worker *parker, struct manifest_stream *ret);
    /* With all shards at hand: what was loaded stands there (replication/resume.h). */
    void (*resume)(struct worker *parker, const struct manifest_stream *stream);
    bool ended_well;          /* the latest, whatever it was */
    uint64_t last_keys_total; /* that it had */
};

struct saver *saver_new(struct worker *first);
void saver_free(struct saver *saver);
struct saver *saver_of(const struct server *server);

/* It must not begin yet: the log that it would cut is not fit (wals.h). */
bool save_waits_for_log(struct worker *parker, enum save_purpose purpose);
/* Of an RDB file with all that there is: the lowest that carries it. In a view of all shards. */
unsigned save_rdb_version(const struct server *server);
/* None may be under way. */
void save_begin(struct worker *parker, enum save_purpose purpose);
/* It ends before its time, as soon as it can; false: there is none, or it is too late: its files
 * may be the data by now. */
bool save_cancel(struct saver *saver);
/* Of SAVE_SYNC, while it is under way: its file, and how many of its first bytes are there, for who
 * reads along; NULL: there is nothing yet, or it goes wrong. */
const char *save_growing(const struct saver *saver, uint64_t *ret_bytes);
/* In each turn of worker 0. */
void save_work(struct worker *worker);
/* Nothing is under way, no file either. */
bool save_is_idle(const struct saver *saver);
/* A share's task is back. */
void save_task_home(struct worker *worker, struct message *message);

#endif
