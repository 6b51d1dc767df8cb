/* SPDX-License-Identifier: BSD-3-Clause */
/* data: which files are the data: the manifest (persist/log/manifest.h) as it is on the disk, and
 * the one way in which it changes:
 *
 *     data_ask(&data, &change);   in line behind those that were asked for before
 *
 *     its directory is there, and what the manifest says is known
 *       -> change->apply, on a copy      else nothing but that was wanted
 *       -> the directory is synced: files that the copy names were made in it
 *       -> written beside it, synced, renamed, the directory is synced: from now on it is the data
 *       -> change->done
 *       -> files that only the one before has named are removed
 *
 * If there shall be none from now on, it is not removed but gets the name MANIFEST_GONE_NAME, and
 * is removed behind its files: whoever starts between the two knows that they are nothing.
 *
 * At any moment of that a crash leaves the one before or the new one, with all its files.
 *
 * Thread: worker 0. Ownership: a change is its owner's, and stays until `done`.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_DATA_H
#define SHOAL_SERVER_PERSISTENCE_DATA_H

#include "base/list.h"
#include "persist/log/manifest.h"
#include "server/persistence/save_file.h"

struct data;

struct data_change {
    const char *dir; /* absolute; appenddirname in it is where the files are */
    const char *dir_name;
    bool makes_dir;
    /* NULL: it shall only be known what there is. False: there shall be no manifest, if there is
     * one. */
    bool (*apply)(struct data_change *change, struct manifest *manifest);
    /* 0 or -errno; -EBADMSG: what lies in its place is none. May ask for others. */
    void (*done)(struct data_change *change, int error);
    struct list_node link; /* private */
};

struct data {
    struct rt *rt;
    struct text dir;          /* where it looked last; empty: nowhere */
    bool is;                  /* there is one there: */
    struct manifest manifest; /* else it names nothing; generations go on */
    /* Private. */
    struct list changes; /* the first is being made */
    int step;
    bool asked; /* op is under way */
    struct rt_file_op op;
    int64_t result;
    rt_file found; /* that it reads; -1: none */
    int found_error;
    struct text content, path, other_path;
    struct manifest next, before;
    bool next_is;
    struct save_file file;
    uint32_t removed;    /* names of `before` that were looked at */
    bool left_some;      /* a file that is nothing any more could not be removed, in this life */
    bool unsure;         /* the last change may not last: its names could not be synced */
    uint64_t *sequences; /* by shard: the largest that a segment has had */
    uint32_t sequences_count;
};

void data_init(struct data *data, struct rt *rt);
void data_fini(struct data *data); /* when its runtime has gone, if anything is under way */
void data_ask(struct data *data, struct data_change *change);
/* The largest sequence that any manifest there has named for a segment of the shard, as far as this
 * life knows; 0: none. Files of smaller ones may still lie there. */
uint64_t data_last_sequence(const struct data *data, uint32_t shard);
/* In each turn. */
void data_step(struct data *data);
/* Nothing is left to do. */
static inline bool data_is_idle(const struct data *data) {
    return data->step == 0 && !data->asked && list_empty(&data->changes);
}

/* dir/dir_name/name behind what is in `to`. */
void data_path(struct text *to, const char *dir, const char *dir_name, const char *name);

#endif
