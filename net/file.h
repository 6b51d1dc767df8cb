/* SPDX-License-Identifier: BSD-3-Clause */
/* file: the part of the seam that touches files outside the data path: configuration, pid file,
 * logs.
 *
 * These calls block; they are for start, stop and rare commands (CONFIG REWRITE), never for the
 * path of data. The simulator gives its own table of functions, so nothing outside net/ opens a
 * file by itself.
 *
 * Thread: any.
 */
#ifndef SHOAL_NET_FILE_H
#define SHOAL_NET_FILE_H

#include "base/bytes.h"

#include <stdint.h>
#include <sys/types.h>

struct fs {
    void *arg;
    /* The whole of a file, NUL-terminated beyond *ret_len, to be freed with free(). path "-" is
     * standard input. 0 or -errno. */
    int (*read_all)(void *arg, const char *path, char **ret_data, size_t *ret_len);
    /* Replaces a file in one step: temporary file beside it, fsync, rename, fsync of the directory.
     * 0 or -errno. */
    int (*replace)(void *arg, const char *path, struct bytes content, mode_t mode);
    /* Plain write, truncating: pid files. */
    int (*write_all)(void *arg, const char *path, struct bytes content, mode_t mode);
    /* Appends to a log file, or to standard output when path is "". */
    int (*append)(void *arg, const char *path, struct bytes content); /* async-signal-safe */
    /* Sends one message to the log of the system, in the form that /dev/log reads, with a NUL
     * behind it. Async-signal-safe. */
    int (*system_log)(void *arg, struct bytes message);
    int (*remove)(void *arg, const char *path);
    /* A file of data, read or written piece by piece; nothing is followed through a symlink. A new
     * one takes the place of what was there. 0 or -errno. */
    int (*open_data)(void *arg, const char *path, bool write, mode_t mode, int *ret_file);
    /* Bytes read, 0 at the end; or -errno. */
    ssize_t (*read_data)(void *arg, int file, void *buffer, size_t size);
    int (*write_data)(void *arg, int file, struct bytes content); /* all of it */
    int (*close_data)(void *arg, int file, bool sync);
    int (*size_data)(void *arg, int file, uint64_t *ret_bytes);
    /* One that is read goes on from this byte. */
    int (*seek_data)(void *arg, int file, uint64_t offset);
    /* Gives a file another name, in the place of what has it, and makes that last. */
    int (*rename)(void *arg, const char *from, const char *to);
    /* A directory of this mode, whose name lasts; -EEXIST if something has it. */
    int (*make_dir)(void *arg, const char *path, mode_t mode);
    /* Names of new files in it last from now on. */
    int (*sync_dir)(void *arg, const char *path);
    /* Says that this process alone works in a directory, until close_data or its end. -EWOULDBLOCK:
     * another one does. Nothing is written for that (flock); who does not ask is not kept out. */
    int (*lock_dir)(void *arg, const char *path, int *ret_file);
    /* Names that match a shell pattern, sorted; NULL-ended array of strings, each and the array to
     * be freed. 0 or -errno. */
    int (*match)(void *arg, const char *pattern, char ***ret_names);
    int (*change_dir)(void *arg, const char *path);
    int (*current_dir)(void *arg, char *buffer, size_t size);
    /* 0 if it exists (and is a directory if want_dir). */
    int (*exists)(void *arg, const char *path, bool want_dir);
    /* How long a file is, and when it was last written to (wall ms). 0 or -errno. NULL: nobody
     * knows. */
    int (*measure)(void *arg, const char *path, uint64_t *ret_bytes, int64_t *ret_modified_ms);
};

/* The real file system. */
const struct fs *fs_real(void);

#endif
