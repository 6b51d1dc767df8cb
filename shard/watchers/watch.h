/* SPDX-License-Identifier: BSD-3-Clause */
/* watch: which keys of one shard are watched, by whom, and who has to be told that one changed.
 *
 * The shard's half of WATCH. A client, known here by its number only, is marked as soon as a key
 * that it watches changes; whoever runs its EXEC asks for the mark with the locks held. Exact: keys
 * are told apart by their names, so nobody's transaction fails for a key that only looks alike.
 *
 * What is no change, as in Valkey: a key that was past its deadline when it was watched and is
 * deleted later; a flush or a swap of databases that finds the key missing before and after. A key
 * that runs out after it was watched has changed, deleted or not.
 *
 * Thread: owner shard only. Costs one branch per change of a key while nothing is watched.
 */
#ifndef SHOAL_SHARD_WATCHERS_WATCH_H
#define SHOAL_SHARD_WATCHERS_WATCH_H

#include "base/links.h"
#include "shard/keys/keyspace.h"

#include <stddef.h>

struct watch_table {
    const struct keyspace *keyspace; /* whose keys they are */
    struct links keys;               /* watched keys; of none twice, however many watch it */
    struct links clients;            /* that watch something here, or are marked */
    size_t bytes;
};

void watch_init(struct watch_table *table, const struct keyspace *keyspace);
void watch_fini(struct watch_table *table);

/* A client watches a key from now on. No effect if it does already, or is marked. */
void watch_add(struct watch_table *table, uint64_t client, uint32_t db, const struct key *key,
               int64_t now_ms);
/* Whether a key that the client watches here has changed since, or run out by now. */
bool watch_dirty(const struct watch_table *table, uint64_t client, int64_t now_ms);
/* The client watches nothing here any more, and its mark goes. */
void watch_drop(struct watch_table *table, uint64_t client);

/* ---- What the keyspace's hooks pass on ---- */

void watch_key_changed(struct watch_table *table, uint32_t db, const struct key *key);

/* A key has changed (hook `changed`). */
static inline void watch_touch(struct watch_table *table, uint32_t db, const struct key *key) {
    if (__builtin_expect(table->keys.count > 0, 0)) {
        watch_key_changed(table, db, key);
    }
}
/* A database (UINT32_MAX: each) is about to be emptied; two are about to be swapped. */
void watch_flush(struct watch_table *table, uint32_t db);
void watch_swap(struct watch_table *table, uint32_t a, uint32_t b, int64_t now_ms);

/* Bytes held. */
size_t watch_memory(const struct watch_table *table);

#endif
