/* SPDX-License-Identifier: BSD-3-Clause */
/* wal: a worker's write-ahead log: what its turns change goes to its file before anybody hears of
 * it. docs/durability.md has the rule; persist/log has the bytes.
 *
 *     wal_record     while commands run: what they did (effects.h)
 *     wal_draw       home, all locks of a transaction are held: its number
 *     wal_part       a shard is done with its part of it
 *     wal_seal       the turn is over: its block has a number and is on its way to the file
 *     wal_unit       what was recorded since the last one is one unit
 *     gate.h         replies wait until what they tell of is safe
 *
 * The same blocks are what the replication stream is made of (feed.h): then there may be no file.
 *
 * A worker has one write on its way at a time; what is sealed meanwhile goes with the next. So a
 * slow disk makes larger writes, not longer queues.
 *
 * Thread: the worker's own; wal_record also of who works on its shard while it is parked.
 * Ownership: made with the log, and kept until the worker ends: transactions may stand on it.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_WAL_H
#define SHOAL_SERVER_PERSISTENCE_WAL_H

#include "base/bytes.h"
#include "base/list.h"
#include "base/text.h"
#include "cluster/stream/merge.h"
#include "net/rt_file.h"
#include "persist/log/log_block.h"
#include "persist/log/manifest.h"
#include "server/worker/shared.h"

#include <stdbool.h>
#include <stdint.h>

struct rotate_task;
struct worker;

enum wal_state {
    WAL_OFF,     /* nothing is recorded */
    WAL_FILLING, /* records are written, but nothing is promised yet: its snapshot is being made */
    WAL_ON,      /* replies wait for what they tell of */
    WAL_BROKEN,  /* a write failed: nothing is recorded, and nothing that waited is answered */
};

/* Records that have one number. */
struct wal_run {
    uint64_t number; /* 0: drawn at the seal */
    uint32_t records, parts;
    size_t bytes;
    bool marked; /* records say where they run */
};

/* What a transaction over shards has done here so far. */
struct wal_open {
    uint64_t txn; /* effects_txn */
    uint32_t records;
    bool marked;
    struct text text;
};

/* A number on which a coordinator stands: embedded in the transaction. */
struct wal_stand {
    struct list_node node;
    uint64_t number; /* 0: none */
};

/* A file that blocks go to. */
struct wal_file {
    struct log_segment segment;
    rt_file file;
    uint64_t bytes;  /* written, or on their way */
    uint64_t synced; /* of them, known to be on the disk */
};

/* Of some blocks: the smallest number, and when the first was sealed (monotonic ms). Of none both
 * are as large as can be. */
struct wal_extent {
    uint64_t least;
    int64_t since_ms;
};

struct wal {
    struct worker *worker;
    enum wal_state state;

    /* The turn. */
    struct text text; /* of runs without a transaction, one behind the other */
    struct wal_run *runs;
    uint32_t runs_count, runs_room;
    uint32_t records; /* of the last run, which is open, in text from `begun` on */
    size_t begun;
    bool marked;              /* the same of its records */
    bool feeds;               /* the replication stream wants all of it, */
    struct text published;    /* and what is published (feed.h) */
    struct merge_unit *units; /* then: in `text` */
    uint32_t units_count, units_room;
    size_t unit_at; /* where in it the unit begins that is recorded */
    uint32_t unit_records;
    struct text parts_text; /* of transactions that are over, in the order of `parts` */
    struct wal_run *parts;
    uint32_t parts_count, parts_room;
    uint64_t parts_least;  /* the smallest number of those; UINT64_MAX: none */
    struct wal_open *open; /* transactions that are not */
    uint32_t open_count, open_room;
    bool bounded; /* it has said that it may draw */
    uint64_t bound;

    /* Blocks. */
    struct wal_file file;
    struct wal_file next; /* prepared for the cut; next.file < 0: none */
    struct wal_file old;  /* of before the cut, until it is closed; old.file < 0: none */
    uint64_t records_count;
    struct text pending, tail, flying; /* sealed; the same for the old file; on its way */
    struct wal_extent pending_extent, tail_extent, flying_extent;
    /* The same of what is written, but not known to be on the disk: in this file, of it what a sync
     * under way sees to, and in the old one. */
    struct wal_extent unsynced, syncing_extent, old_extent;
    uint64_t write_began, sync_began; /* ticks, while that is watched (latency.h); or 0 */
    bool writing, flying_synced, flying_old;
    bool syncing, retiring;
    uint64_t flying_end; /* of its file, once the write is done */
    uint64_t syncing_end;
    rt_file syncing_file;
    struct iovec vector;
    struct rt_file_op write, sync, retire;
    int64_t sync_began_ms, sync_took_ms; /* monotonic; the last one that is over */
    uint64_t syncs_delayed;              /* so often one was due while another was under way: */
    bool sync_delayed;                   /* this one */
    struct list stands;
    uint64_t said_mark; /* the mark as others know it */
    bool cut_asked;     /* it cuts before it does anything else, */
    enum wal_state cut_to;

    /* The gate (gate.h). */
    uint64_t mark;             /* the largest number that anything here may tell of */
    uint64_t safe;             /* all up to it is in files, as this worker knows */
    enum shared_wal_word word; /* which means that */
    struct list waiting;       /* clients, in the order of their marks */
    bool acks;                 /* replies wait for replicas, too (replicas-ack) */
    uint64_t acked;            /* all up to it is held by enough of them, as this worker knows */
    struct list waiting_acks;  /* clients that wait for nothing else, in that order */

    /* The next file's making. */
    struct rt_file_op prepare;
    char prepare_path[512];
    char prepare_head[LOG_SEGMENT_BYTES];
    struct log_segment prepare_segment;
    struct iovec prepare_vector;
    int64_t prepare_error;
    bool prepare_waits; /* for the old file to be closed */
    bool prepare_there; /* the file is */
    bool ended;         /* all that can be synced was asked for (wal_end) */
    bool broke;         /* it broke just before a cut: who waits has to be told (gate.h) */
    bool failed;        /* a write or sync of its own: until the next snapshot nothing is written */
    char refusal[160];
    struct rotate_task *task; /* whose segment is made (rotate.h), or NULL */
    void (*prepared)(struct worker *worker, int error);
};

/* ---- Life ---- */

struct wal *wal_new(struct worker *worker);
void wal_free(struct wal *wal);

/* ---- Records ---- */

/* `txn`: the transaction over shards that it belongs to, or 0; `order`: which of its commands. */
void wal_record(struct wal *wal, uint64_t txn, uint32_t order, uint32_t db,
                const struct bytes *argv, uint32_t argc);
/* What was recorded since the last one, without a transaction, was one unit: replicas must not see
 * a part of it. */
void wal_unit(struct wal *wal);
/* Here all of it is done: with 0 for a number it goes as if there had been no transaction. */
void wal_part(struct wal *wal, uint64_t txn, uint64_t number, uint32_t parts);
/* All locks of a transaction are held, and the first is about to go back: its number. The worker
 * stands on it until wal_let_go. */
uint64_t wal_draw(struct wal *wal, struct wal_stand *stand);
void wal_let_go(struct wal *wal, struct wal_stand *stand);

/* ---- Turns ---- */

/* What its replies wait for, by appendfsync. */
enum shared_wal_word wal_word(const struct wal *wal);
/* Before anything of the turn is seen. */
void wal_seal(struct wal *wal);
/* Whether what is done now is to be recorded, */
bool wal_is_recording(const struct wal *wal);
/* and for a file. */
static inline bool wal_is_logging(const struct wal *wal) {
    return wal->state == WAL_FILLING || wal->state == WAL_ON;
}
/* In a view: a transaction that has written is under way, and this has what it wrote. */
bool wal_is_in_unit(const struct wal *wal);
/* In a view of all shards, by whoever has it: the replication stream begins here, or ends; in no
 * unit. */
void wal_set_feeds(struct wal *wal, bool feeds);
/* How many records it has logged. */
uint64_t wal_records(const struct wal *wal);
void wal_set_records(struct wal *wal, uint64_t count); /* before the first */
/* For INFO: sealed bytes that are not written; what the log's buffers take; files that are being
 * synced; how often a sync was due while the one before it was not over. */
struct wal_under_way {
    uint64_t buffered, buffers, syncs, syncs_delayed;
};
struct wal_under_way wal_under_way(const struct wal *wal);
void wal_reset_stats(struct wal *wal); /* CONFIG RESETSTAT */
/* Now and then: appendfsync everysec. */
void wal_cron(struct wal *wal);
/* The error for who would write, once it has. */
struct bytes wal_refusal(struct wal *wal);
/* A write has failed, of this worker or another. True: nothing is recorded any more. */
bool wal_look_for_failure(struct wal *wal);
/* The log has ended, and then one of its last writes has failed: who waits for that waits in vain.
 */
bool wal_ended_in_failure(const struct wal *wal);
/* The worker is about to end: true when everything is written and synced. */
bool wal_end(struct wal *wal);

/* ---- Files ---- */

/* Makes the segment that the worker goes over to at the next cut, with its header on the disk, and
 * tells `prepared` with 0 or -errno. Its name is durable when the directory is synced, which is the
 * caller's to do. `is_there`: the file is, with its header and nothing else. One that was made
 * before is let go of. */
void wal_prepare(struct wal *wal, const char *directory, const struct log_segment *segment,
                 bool is_there, void (*prepared)(struct worker *worker, int error));
/* In a view of all shards, by whoever has it: what comes behind it goes to the prepared file, or
 * (WAL_OFF) nowhere. Each worker does that with rotate_take_cut, before it does anything else. */
void wal_ask_cut(struct wal *wal, enum wal_state state);
void wal_take_cut(struct wal *wal);
/* The snapshot behind which this log goes on is there: from now on it promises. */
void wal_promise(struct wal *wal);

#endif
