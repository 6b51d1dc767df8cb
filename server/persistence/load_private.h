/* SPDX-License-Identifier: BSD-3-Clause */
/* load_private: what the sources of loading share. Private to server/persistence.
 *
 * Thread: each struct says.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_LOAD_PRIVATE_H
#define SHOAL_SERVER_PERSISTENCE_LOAD_PRIVATE_H

#include "base/text.h"
#include "persist/log/manifest.h"
#include "persist/snapshot/rdb_keys.h"
#include "server/persistence/alone.h"
#include "server/persistence/load.h"
#include "server/persistence/recover.h"
#include "shard/mailbox.h"

struct load_bases;
struct load_files;
struct redo_share;
struct wal_start;

/* The process's. What stands first is main's until the workers run, and constant then; the rest is
 * worker 0's. */
struct load {
    struct text dir; /* that has the files, with a slash behind it; or what is imported */
    bool bases;      /* a snapshot of ours, */
    struct manifest manifest;
    char absolute[4096]; /* `dir` of the configuration */
    char **files;        /* or files of Redis and Valkey, in this order */
    uint32_t files_count;
    bool aof;         /* which are an AOF */
    int64_t start_us; /* wall */
    int64_t now_ms;   /* what was over before that is left out */

    unsigned left; /* workers whose news is still to come */
    struct rdb_loaded sum;
    uint64_t *keys; /* by base: those that were found */
    struct text failure;
    struct message *over; /* by worker */
    struct alone alone;
    uint64_t requests; /* of an AOF */
    bool again;        /* load_plan_again, load_plan_file */
    bool *lost;     /* of load_plan_file: whom to tell that it has failed; else the process ends */
    /* Where in a replication stream it stands, if all of it is nothing else: who loads it goes on
     * there (replication/resume.h), */
    struct manifest_stream stream;
    bool resumes;   /* now, once all shards are at hand */
    bool log_waits; /* for files of the log that was to be closed */
    struct wal_start *log; /* load_log.c; NULL: not begun, or over */
    int64_t said_ms;       /* monotonic: when the log was last told how far it is */
};

/* A worker's. Its news is worker 0's while it is under way. */
struct load_worker {
    struct message news; /* first */
    struct worker *worker;
    struct load *load;
    struct load_bases *bases; /* NULL: they are done */
    struct load_files *files; /* worker 0, the same */
    struct redo_share *share; /* of the log, that it is at; NULL: none, and always worker 0's */
    struct rdb_loaded loaded;
    uint64_t *keys;    /* by base */
    struct text error; /* what is wrong; empty: nothing */
    uint64_t delay_us; /* key-load-delay: so long it is still to do nothing */
    int64_t wait_ms;   /* and until then it does, wall */
    int64_t brief_ms;  /* till then, monotonic, nobody is told of it; 0: that is over */
    bool told;
    bool fails; /* it has, and stands in the middle of a value */
    bool stops; /* nothing more is loaded */
};

/* ---- load_plan.c ---- */

void load_say_repair(struct text *why, const struct load *load);
/* All is loaded: what saves that came to no end have left is removed. */
void load_clean(struct server *server, const struct load *load);

/* ---- load.c ---- */

/* What is wrong with a file of the data: the process will end, and say so. */
void load_fail(struct load_worker *self, const char *path, uint64_t at, const char *reason);

/* Keys have been loaded: key-load-delay wants a rest for each. True: for a while. */
bool load_delay(struct load_worker *self, uint64_t keys);
/* A library of functions: rdb_keys_options.library; arg is the worker. */
bool load_library(void *arg, struct bytes code);

/* Worker 0: everything is there, and clients may come. */
void load_complete(struct worker *worker);
/* It cannot be; the reason is in load->failure. */
void load_give_up(struct worker *worker);

/* ---- load_log.c ---- */

/* Worker 0, when all else is loaded: the log's turn. It ends with one of those two. */
void load_log_begin(struct worker *worker);
/* A slice, until `end` (rt_ticks); and with all shards at hand, if it wants them. */
enum recover_step load_log_step(struct load *load, uint64_t end);
void load_log_alone(struct load *load, uint64_t end);
/* load->resumes: goes on with it. */
void load_resume(struct worker *worker);
void load_log_free(struct load *load);

/* ---- load_bases.c ---- */

struct load_bases *load_bases_new(struct load_worker *self);
/* Its runtime has gone, or it has nothing under way. */
void load_bases_free(struct load_bases *bases);
enum load_step {
    LOAD_GOES_ON,
    LOAD_WAITS, /* for a file */
    LOAD_RESTS, /* load_delay said so */
    LOAD_IS_DONE,
    LOAD_FAILED, /* load_fail was called */
};
/* Goes on until `end` (rt_ticks), or as far as it can. */
enum load_step load_bases_some(struct load_bases *bases, uint64_t end);

/* ---- load_files.c ---- */

struct load_files *load_files_new(struct load_worker *self);
void load_files_free(struct load_files *files);
/* As above. LOAD_GOES_ON before `end`: it waits until worker 0 is alone. */
enum load_step load_files_some(struct load_files *files, uint64_t end);
/* What it does next needs the keys of all shards. */
bool load_files_want_all(const struct load_files *files);
/* It stands in the middle of a value, in any shard. Drops that: for who is alone. */
bool load_files_hold_value(const struct load_files *files);
void load_files_drop_value(struct load_files *files);
/* Commands that were run. */
uint64_t load_files_requests(const struct load_files *files);

#endif
