/* SPDX-License-Identifier: BSD-3-Clause */
/* save_share: what one worker does of a save: walks its shard, beside its commands, and writes what
 * it is shown.
 *
 *     worker 0                                   the worker
 *
 *     the cut: all stand still; each gets a      walks, as far as its memory for that reaches
 *     share, made by the thread that parked them
 *     SAVE_GO: the name of its file    ------->  opens it, writes; at the end of the walk:
 *                                      <-------  it is on the disk, or what went wrong
 *     SAVE_STOP, at any time after     ------->  no further: the file goes; SAVE_GO comes home
 *                                      <-------  heard
 *     SAVE_END: how all of it ended    ------->  counts what has changed since, lets the share go
 *                                      <-------  done
 *
 * Thread: the worker's own, but for save_share_new (who parked it, or itself) and what is said of
 * worker 0's. Ownership: worker 0's save; lent to the worker while one of its tasks is away, and
 * from the cut to the first.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_SAVE_SHARE_H
#define SHOAL_SERVER_PERSISTENCE_SAVE_SHARE_H

#include "persist/snapshot/frame_writer.h"
#include "server/persistence/save_file.h"
#include "shard/mailbox.h"

struct worker;
struct save_share;

enum save_order { SAVE_GO, SAVE_STOP, SAVE_END };

struct save_task {
    struct message message; /* first */
    struct save_share *share;
    enum save_order order;
};

enum save_share_at {
    SHARE_WALKS,
    SHARE_WRITES, /* the walk is over */
    SHARE_OVER,   /* the file too, or there will be none */
};

/* What the cut says of how it is done. */
struct save_manner {
    bool frames; /* a file of a snapshot; else a part of an RDB file, and the first has its head */
    bool compress;
    bool check_sum; /* of an RDB file */
    bool syncs_on_the_way;
    unsigned version; /* of RDB */
    enum usage_kind usage;
};

/* rdb-key-save-delay, as it was at the cut: a key of the whole save takes so many microseconds at
 * least; negative: so many keys take one; 0: there is no pace. */
struct save_pace {
    int64_t delay_us;
    int64_t began_ms; /* monotonic */
};

struct save_share {
    struct save_task go, stop, end;
    struct worker *worker;
    struct save_manner manner;
    /* With SAVE_GO. */
    struct frames_head head;
    const char *path;
    /* With SAVE_END. */
    bool saved;   /* what was changed before the cut is not to be saved any more */
    bool settles; /* how it ended says whether writes may go on */
    bool refuses;
    bool promises; /* the log behind the cut may */
    /* The worker's. */
    enum save_share_at at;
    bool has_go, stopped;
    struct walk *walk;
    struct frame_writer frames;
    struct key_stream keys;
    struct usage_clock *usage; /* of what is written */
    struct save_file file;
    uint64_t sum; /* of the first `summed` bytes */
    uint64_t summed;
    uint64_t changes;    /* at the cut */
    uint64_t keys_total; /* the same */
    uint64_t keys_shown;
    size_t kept_max; /* memory that it took, at most */
    struct save_pace pace;
};

/* At the cut, for each shard once: what is there now will be written. `rt`: the calling thread's.
 */
struct save_share *save_share_new(struct worker *worker, const struct save_manner *manner,
                                  struct rt *rt);
/* When it is the save's again. */
void save_share_free(struct save_share *share);
/* In each turn of a worker that has one, while it is not parked: a slice of the walk, and what is
 * to be asked of the disk. */
void save_share_walk(struct worker *worker);
void save_share_work(struct worker *worker);
/* Whether there is something to do without waiting for a disk. */
bool save_share_is_busy(const struct save_share *share);
/* When it goes on, if it is its pace that it waits for: monotonic ms; INT64_MAX: it is not. */
int64_t save_share_due_ms(const struct save_share *share);
/* A task arrived. */
void save_task_arrived(struct worker *worker, struct message *message);
/* How far it is. */
size_t save_share_memory(const struct save_share *share);
uint64_t save_share_keys(const struct save_share *share);

/* Before a slot goes to another shard: whether it must wait; then it is shown next. */
bool save_share_needs_slot(struct worker *worker, uint16_t slot);

#endif
