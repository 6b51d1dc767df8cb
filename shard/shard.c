/* SPDX-License-Identifier: BSD-3-Clause */
/* shard: binds a heap and a keyspace into the unit that one thread owns. */
#include "shard/shard.h"

void shard_init(struct shard *shard, unsigned id, uint32_t databases,
                const struct hash_secret *secret, const struct keyspace_hooks *hooks,
                int64_t now_ms) {
    shard->id = id;
    locks_init(&shard->locks);
    unshown_init(&shard->unshown);
    shard->heap = shard_heap_new();
    shard->keyspace = keyspace_new(&(struct keyspace_options){
        .databases = databases,
        .secret = secret,
        .heap = shard->heap,
        .hooks = *hooks,
        .now_ms = now_ms,
    });
    watch_init(&shard->watches, shard->keyspace);
    waiters_init(&shard->waiters);
    tracks_init(&shard->tracks);
    own_deadlines_init(&shard->own_deadlines, shard->keyspace);
}

void shard_fini(struct shard *shard) {
    unshown_fini(&shard->unshown);
    locks_fini(&shard->locks);
    watch_fini(&shard->watches);
    waiters_fini(&shard->waiters);
    tracks_fini(&shard->tracks);
    own_deadlines_fini(&shard->own_deadlines);
    keyspace_free(shard->keyspace);
    shard_heap_free(shard->heap);
}
