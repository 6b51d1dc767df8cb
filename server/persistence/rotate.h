/* SPDX-License-Identifier: BSD-3-Clause */
/* rotate: the next segments of all shards' logs, made and named before anything is written to them.
 *
 *     worker 0                                         each worker
 *
 *     ROTATE_PREPARE: which segment      ----------->  makes it, with its header on the disk
 *                                        <-----------  it is there, or what went wrong
 *     the manifest names them behind those that were there: `done`
 *
 * Then the caller has the workers go over to them: in a view of all shards (wal_ask_cut), or, where
 * no command runs yet, with rotate_cut.
 *
 * Thread: worker 0's, but for what arrives at the others.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_ROTATE_H
#define SHOAL_SERVER_PERSISTENCE_ROTATE_H

#include "persist/log/log_block.h"
#include "server/persistence/data.h"
#include "server/persistence/wal.h"
#include "shard/mailbox.h"

struct worker;

enum rotate_order { ROTATE_PREPARE, ROTATE_CUT };

struct rotate;

struct rotate_task {
    struct message message; /* first */
    struct rotate *rotate;
    struct worker *worker;
    enum rotate_order order;
    struct log_segment segment;
    bool is_there;  /* wal_prepare */
    uint64_t named; /* the last sequence of its shard in the manifest; 0: it has none */
    enum wal_state state;
    int error;
};

struct rotate {
    struct worker *home;
    struct data *data;
    const char *dir, *dir_name;
    /* 0 or -errno. Then it may be asked for something else. */
    void (*done)(struct rotate *rotate, int error);
    void *arg;
    /* Of segments that were written by an earlier life: how many bytes of them count, by their
     * places in the manifest, and numbers up to this one; NULL: there are none. */
    const uint64_t *ends;
    uint64_t until;
    /* Of those, the last ones of each shard that nothing was written to: they are taken before new
     * ones are made, and forgotten here. */
    struct log_segment *empty;
    uint32_t empty_count;
    /* There is a log only when a snapshot is made. If there is no manifest until then, one is made
     * that is none: it says of what it names that it is nothing (manifest.first is 0), since what
     * is written to segments must not be taken for data that a manifest is missing for. */
    bool awaits_snapshot;
    /* How many records each shard has logged so far, by shard; NULL: its worker knows. */
    const uint64_t *records;
    /* Private. */
    struct rotate_task *tasks;
    unsigned count, open;
    int error;
    char directory[512];
    struct data_change change;
};

/* `home`, `data`, the names, `done` and what stands above "Private" are set by the caller. */
void rotate_begin(struct rotate *rotate);
/* Each worker takes its cut. `done` again. */
void rotate_cut(struct rotate *rotate, enum wal_state state);
/* The cut that was asked for, if one was: what writes do is gathered while there is a log. */
void rotate_take_cut(struct worker *worker);
void rotate_fini(struct rotate *rotate);

/* A task arrived at its worker, or is home again. */
void rotate_task_arrived(struct worker *worker, struct message *message);
void rotate_task_home(struct worker *worker, struct message *message);

#endif
