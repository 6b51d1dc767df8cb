/* SPDX-License-Identifier: BSD-3-Clause */
/* run: the commands of shoal-check, each a file's worth; main.c reads the command line.
 *
 * Thread: one, the process's only one.
 */
#ifndef SHOAL_SERVER_CHECK_RUN_H
#define SHOAL_SERVER_CHECK_RUN_H

#include "persist/check/data_dir.h"

/* What the process exits with. */
enum check_code {
    CHECK_FINE = 0,
    CHECK_WRONG = 1,  /* the data is not as it should be */
    CHECK_FAILED = 2, /* it was asked for something that cannot be done */
};

struct check_run {
    const struct fs *fs;
    int64_t now_ms;
    /* What was asked for: words behind the command, and options. */
    const char *paths[2];
    const char *to;  /* --to, or NULL */
    uint32_t shards; /* --shards; 0: as many as there are processors */
    bool yes, resp;
    /* What is to be said; main prints it, and so does check_flush. */
    struct text out;
    struct text error; /* why CHECK_FAILED, or the last word of CHECK_WRONG */
    struct text why;   /* of the reader of keys: what is wrong with one */
    int locked;        /* of data_dir's lock, or -1 */
};

/* Standard output gets what there is. False: it is closed. */
bool check_flush(struct check_run *run);

/* A directory of data that nobody works in, all of it looked at; dir->wrong says whether it is
 * sound. CHECK_FINE, or the code, and nothing is open then. */
enum check_code check_look(struct check_run *run, const char *path, struct data_dir *dir);
void check_close(struct check_run *run, struct data_dir *dir);
/* There is a manifest that is none yet: a log was to begin, and its snapshot was not made. A start
 * goes by the files of others, as if it were not there. */
bool check_is_unbegun(struct check_run *run, const char *path);
/* All that was found out about it, one line each. */
void check_say_findings(struct check_run *run, const struct data_dir *dir);
/* A time as a person reads it, in UTC. */
void check_say_time(struct text *out, uint64_t ms);
/* A count and its word: "1 key", "2 keys". */
void check_say_count(struct text *out, uint64_t count, const char *word);

/* run->error gets a path and what went wrong there; returns false. */
bool check_errno(struct check_run *run, const char *path, int error);
/* False: it failed. */
bool check_sync_dir(struct check_run *run, const char *path);
bool check_write_manifest(struct check_run *run, const char *dir, const struct manifest *manifest);
/* Makes the directory of the data of a new server, below `path`, which is made too if it is not
 * there. False if it is there already. */
bool check_make_target(struct check_run *run, const char *path, struct text *ret);

enum check_code check_show(struct check_run *run);
enum check_code check_verify(struct check_run *run);
enum check_code check_repair(struct check_run *run);
enum check_code check_restore(struct check_run *run);
enum check_code check_export(struct check_run *run);
enum check_code check_import(struct check_run *run);
enum check_code check_records(struct check_run *run);

#endif
