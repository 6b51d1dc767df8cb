/* SPDX-License-Identifier: BSD-3-Clause */
/* rdb_save: all keys of shards that stand still, as one RDB file that Redis 7.0 and Valkey load.
 *
 * Of the lowest version that carries them. The file is written beside its place and takes it when
 * it is whole and on the disk, so there is always the old or the new one.
 *
 * Thread: any, while it alone has the keyspaces.
 */
#ifndef SHOAL_PERSIST_SNAPSHOT_RDB_SAVE_H
#define SHOAL_PERSIST_SNAPSHOT_RDB_SAVE_H

#include "base/text.h"
#include "net/file.h"
#include "persist/snapshot/usage.h"
#include "shard/keys/keyspace.h"

struct rdb_save_options {
    const struct fs *fs;
    const char *path;
    const char *temporary; /* what it is called until it is whole */
    const char *redis_version; /* what it says that it was written by */
    const char *valkey_version;
    uint32_t databases;
    uint64_t used_memory;
    int64_t now_ms;
    bool compress, check_sum;
    enum usage_kind usage;
    struct keyspace *const *keyspaces;
    unsigned count;
    struct bytes libraries; /* of functions, as items of the file; or empty */
};

struct rdb_saved {
    uint64_t keys, bytes;
};

/* False, and why; what was there is there still. */
bool rdb_save(const struct rdb_save_options *options, struct rdb_saved *ret, struct text *why);

#endif
