/* SPDX-License-Identifier: BSD-3-Clause */
/* save_file: a file that is written from its first byte to its last, beside everything else that
 * its thread does: what was put into `filling` leaves in pieces, several at a time, and whoever
 * fills it looks at save_file_is_full before he makes more.
 *
 *     save_file_init, save_file_open, then fill; save_file_end or save_file_drop; in each turn:
 *     while (!save_file_step(&file)) others work
 *
 * Thread: that of the runtime; `filling` also whoever takes its place. Ownership: it must stay
 * until save_file_step has said that it is over. Errors: the first one is kept; the file is removed
 * then.
 */
#ifndef SHOAL_SERVER_PERSISTENCE_SAVE_FILE_H
#define SHOAL_SERVER_PERSISTENCE_SAVE_FILE_H

#include "base/text.h"
#include "net/rt_file.h"

#include <stdbool.h>
#include <stdint.h>

enum save_file_goal {
    SAVE_FILE_FILL, /* what is full leaves */
    SAVE_FILE_END,  /* the rest leaves, is on the disk, and it is closed */
    SAVE_FILE_DROP, /* it goes */
};

enum save_file_at {
    SAVE_FILE_CLOSED, /* not open yet */
    SAVE_FILE_OPEN,
    SAVE_FILE_SYNCED,
    SAVE_FILE_DONE, /* closed again */
    SAVE_FILE_OVER,
};

struct save_file {
    struct rt_file_op op; /* everything but writes: one at a time */
    struct rt *rt;
    char *path;
    rt_file file;
    enum save_file_at at;
    enum save_file_goal goal;
    bool asked; /* op is under way */
    bool made;  /* it may be there */
    bool syncs; /* at the end */
    bool syncs_on_the_way;
    bool flushes; /* what is in `filling` leaves, however little it is */
    struct text filling;
    uint64_t offset; /* in the file, of what is in `filling` */
    uint64_t done;   /* bytes written, and of these synced */
    uint64_t synced;
    struct list writes;  /* under way */
    size_t writes_bytes; /* of those */
    int error;           /* -errno */
};

void save_file_init(struct save_file *file, struct rt *rt);
void save_file_fini(struct save_file *file); /* when it is over, or was never opened */
/* The same for one whose runtime has gone, whatever it was doing. */
void save_file_forget(struct save_file *file);
/* Makes it, or goes on behind its first `offset` bytes. The path is copied. `syncs`: at its end;
 * `on_the_way`: every few megabytes too, so that the end does not take long. */
void save_file_open(struct save_file *file, const char *path, uint64_t offset, bool syncs,
                    bool on_the_way);
bool save_file_is_full(const struct save_file *file);
/* So many of its first bytes are in the file, whoever reads that; 0: something went wrong. */
uint64_t save_file_readable(const struct save_file *file);
/* Bytes of memory that it keeps. */
size_t save_file_memory(const struct save_file *file);
void save_file_end(struct save_file *file);
void save_file_drop(struct save_file *file);
/* What there is leaves soon. */
void save_file_flush(struct save_file *file);
/* Asks for what comes next. True: nothing ever will, it is over. */
bool save_file_step(struct save_file *file);

#endif
