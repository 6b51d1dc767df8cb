/* SPDX-License-Identifier: BSD-3-Clause */
/* data_dir: a directory of Shoal's data as it lies there: the manifest, the files of the snapshot,
 * the segments of the log; what a start would take of it and drop, and every reason for which it
 * would refuse (docs/durability.md).
 *
 *     data_dir_open(&dir, fs, path, &why)      the manifest
 *     data_dir_look(&dir, &options)            the files, to the depth wished for
 *     dir.findings, dir.last, dir.bases, dir.segments ...
 *     data_dir_close(&dir)
 *
 * Nothing is written.
 *
 * Thread: one.
 */
#ifndef SHOAL_PERSIST_CHECK_DATA_DIR_H
#define SHOAL_PERSIST_CHECK_DATA_DIR_H

#include "persist/check/base_file.h"
#include "persist/log/log_recover.h"
#include "persist/log/log_scan.h"
#include "persist/log/manifest.h"

/* Where it is unless `appenddirname` says otherwise, below the server's `dir`. */
#define DATA_DIR_NAME "appendonlydir"

struct dir_base {
    char name[MANIFEST_NAME_BYTES];
    struct base_file file;
    uint64_t types[TYPE_COUNT], deadlines;
};

/* Records that stand one behind the other and have one number. */
struct dir_run {
    uint64_t number;
    uint64_t time_ms; /* of its block */
    uint64_t block, end; /* where that begins in its segment, and ends */
    uint64_t at, bytes; /* in its unpacked payload */
    uint32_t records, parts;
    uint32_t segment; /* of the directory's */
};

struct dir_segment {
    char name[MANIFEST_NAME_BYTES];
    bool is_there;
    bool is_sound; /* what was read of it is its own */
    uint64_t bytes; /* of the file */
    struct log_scan scan;
    uint64_t blocks, records;
    uint64_t number_min, number_max;
    uint64_t time_first_ms, time_last_ms;
};

/* Keys of one database. */
struct dir_database {
    uint64_t types[TYPE_COUNT], deadlines;
};

enum finding_kind {
    FINDING_WRONG,   /* a start refuses */
    FINDING_DROPPED, /* a start takes what is before it, and says so in the log */
    FINDING_NOTE,
};
struct finding {
    enum finding_kind kind;
    char *text;
};

struct data_dir {
    const struct fs *fs;
    struct text path;
    struct text manifest_text;
    struct manifest manifest;
    struct dir_base *bases;       /* as the manifest has them */
    struct dir_segment *segments; /* the same */
    struct dir_run *runs;         /* of all segments, in the order of numbers */
    size_t runs_count, runs_room;
    struct dir_database *databases;
    uint32_t databases_count;
    char **strays; /* names that are neither the manifest nor in it; NULL-ended */
    /* Of the recovery rule. */
    uint64_t last; /* the largest number that is taken */
    uint64_t kept_records;
    uint64_t dropped_bytes, dropped_records, dropped_transactions;
    struct finding *findings;
    size_t findings_count, findings_room;
    unsigned wrong; /* FINDING_WRONG among them */
    bool is_repairable; /* what is wrong is in the log, or beside the data */
};

/* `path`: it, or the directory above it. False, and why: there is no manifest, or it is wrong.
 * *ret_missing: there is none. To be closed in any case. */
bool data_dir_open(struct data_dir *dir, const struct fs *fs, const char *path, bool *ret_missing,
                   struct text *why);
void data_dir_close(struct data_dir *dir);

struct data_dir_options {
    struct keyspace *ks; /* values of the snapshot are made in its memory, and freed */
    const struct value_rules *rules;
    /* NULL, or why no log has such a record; or NULL: nobody knows commands. */
    const char *(*record)(void *arg, const struct bytes *argv, uint32_t argc);
    void *arg;
};
/* Reads all files. True: a start would take it. */
bool data_dir_look(struct data_dir *dir, const struct data_dir_options *options);

/* The manifest that takes up to number `last`, which is not more than dir->last, into one that is
 * empty: numbers above it do not count, and files end behind the last block of which something
 * does. Segments that are not there, and what follows them, are left out. */
void data_dir_cut(const struct data_dir *dir, uint64_t last, struct manifest *ret);
/* Whether a segment loses bytes or records by that. */
bool data_dir_loses(const struct data_dir *dir, uint32_t segment, const struct manifest *cut);
/* The largest number up to which everything was sealed at that time. */
uint64_t data_dir_number_at(const struct data_dir *dir, uint64_t time_ms);

/* The path of a file in it, in `to`. */
const char *data_dir_file(const struct data_dir *dir, const char *name, struct text *to);

/* All records that are taken, by number up to `last`; those of one number, its parts' on several
 * shards too, in the order in which they were done. `each` gets the words and the database; false
 * ends it. False: something could not be read; *why has it. */
struct dir_record {
    uint64_t number, time_ms;
    uint64_t at, of; /* which one of its number's, from 0, and how many there are */
    bool again;      /* another part had one of the same command of the transaction */
    uint32_t shard, db;
    struct bytes *argv;
    uint32_t argc;
    const char *name; /* of its segment, and where its block begins */
    uint64_t block;
};
typedef bool dir_record_fn(void *arg, const struct dir_record *record, struct text *why);
bool data_dir_records(const struct data_dir *dir, uint64_t last, dir_record_fn *each, void *arg,
                      struct text *why);

#endif
