/* SPDX-License-Identifier: BSD-3-Clause */
/* base_make: the keys of one keyspace that stands still, or of some of its slots, written as a file
 * of a snapshot.
 *
 * Thread: the keyspace's owner's.
 */
#ifndef SHOAL_PERSIST_CHECK_BASE_MAKE_H
#define SHOAL_PERSIST_CHECK_BASE_MAKE_H

#include "net/file.h"
#include "persist/snapshot/frames.h"
#include "persist/snapshot/walk.h"

struct base_made {
    uint64_t bytes, keys;
};

/* Synced; the libraries of functions, by their texts, come before the keys. 0 or -errno. */
int base_make(const struct fs *fs, const char *path, const struct frames_head *head,
              struct walks *walks, const struct slot_set *slots, const struct bytes *libraries,
              uint32_t libraries_count, struct base_made *ret);

#endif
