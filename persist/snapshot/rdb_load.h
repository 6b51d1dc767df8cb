/* SPDX-License-Identifier: BSD-3-Clause */
/* rdb_load: an RDB file, of Redis, Valkey or our own, loaded in one go into the keyspaces of shards
 * that nobody else uses (DEBUG RELOAD; tests).
 *
 * All or nothing is said of it: what cannot be understood ends it with a reason and the place. What
 * modules have put down beside the keys is passed.
 *
 * Thread: any, while it alone has the keyspaces. It waits for the disk.
 */
#ifndef SHOAL_PERSIST_SNAPSHOT_RDB_LOAD_H
#define SHOAL_PERSIST_SNAPSHOT_RDB_LOAD_H

#include "base/text.h"
#include "net/file.h"
#include "persist/snapshot/rdb_keys.h"

/* Whether it is there, and begins as such a file does; else why not. `relaxed`: of any version. */
bool rdb_begins(const struct fs *fs, const char *path, bool relaxed, struct text *why);
/* What it says of itself under a name ("repl-id"), if that stands before all keys; else false. */
bool rdb_says(const struct fs *fs, const char *path, const char *name, struct text *ret);
/* The same, if it is a number; else `otherwise`. */
int64_t rdb_says_number(const struct fs *fs, const char *path, const char *name, int64_t otherwise);
/* False, and why. */
bool rdb_load(const struct fs *fs, const char *path, const struct rdb_keys_options *options,
              struct rdb_loaded *ret, struct text *why);

#endif
