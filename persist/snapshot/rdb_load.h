/* SPDX-License-Identifier: BSD-3-Clause */
/* rdb_load: an RDB file, of Redis, Valkey or our own, loaded into the keyspaces of shards that
 * nobody uses yet.
 *
 * All or nothing is said of it: what cannot be understood ends it with a reason and the place, and
 * who started it does not serve what was read by then. What modules have put down beside the keys is
 * passed.
 *
 * Thread: any, while it alone has the keyspaces.
 */
#ifndef SHOAL_PERSIST_SNAPSHOT_RDB_LOAD_H
#define SHOAL_PERSIST_SNAPSHOT_RDB_LOAD_H

#include "base/text.h"
#include "net/file.h"
#include "persist/codec/value_build.h"

struct rdb_load_options {
    const struct fs *fs;
    const char *path;
    const struct hash_secret *secret;
    const struct value_rules *rules;
    uint32_t databases;
    int64_t now_ms; /* what was over before that is left out */
    bool relaxed;   /* also versions that are not known (rdb-version-check) */
    bool check_sum; /* rdbchecksum */
    /* The keyspace of a slot. */
    struct keyspace *(*keyspace_of)(void *arg, uint16_t slot);
    void *arg;
};

struct rdb_loaded {
    uint64_t keys, expired;
    uint64_t empty;     /* collections of nothing, which are none */
    uint64_t functions; /* libraries that were left out: there are no functions yet */
    uint64_t bytes;
};

/* False, and why. */
bool rdb_load(const struct rdb_load_options *options, struct rdb_loaded *ret, struct text *why);

#endif
