/* SPDX-License-Identifier: BSD-3-Clause */
/* base_file: one file of a snapshot (persist/snapshot/frames.h) read to its end, every frame and
 * every value of it.
 *
 * Thread: the keyspace's owner's.
 */
#ifndef SHOAL_PERSIST_CHECK_BASE_FILE_H
#define SHOAL_PERSIST_CHECK_BASE_FILE_H

#include "net/file.h"
#include "persist/check/keys.h"
#include "persist/snapshot/frames.h"

struct base_file {
    struct frames_head head;
    uint64_t bytes, frames, keys;
    /* What is wrong, in the frame or header that begins there. */
    const char *error;
    uint64_t error_at;
    int errno_; /* it cannot be read: -errno */
};

/* Its keys are shown as options say. False: ret->error. */
bool base_file_read(const struct fs *fs, const char *path, const struct keys_options *options,
                    struct base_file *ret);

#endif
