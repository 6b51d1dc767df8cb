/* SPDX-License-Identifier: BSD-3-Clause */
/* shard: one thread's share of the data: its keys and the memory they live in.
 *
 * Thread: owner only. Knows no sockets and no RESP.
 */
#ifndef SHOAL_SHARD_SHARD_H
#define SHOAL_SHARD_SHARD_H

#include "shard/keys/keyspace.h"
#include "shard/locks.h"
#include "shard/memory/heap.h"
#include "shard/unshown.h"
#include "shard/watchers/own_deadlines.h"
#include "shard/watchers/tracks.h"
#include "shard/watchers/waiters.h"
#include "shard/watchers/watch.h"

struct shard {
    unsigned id;
    struct shard_heap *heap;
    struct keyspace *keyspace;
    struct locks locks;
    struct unshown unshown;             /* keys closed by these */
    uint64_t list_packed_threshold;     /* DEBUG QUICKLIST-PACKED-THRESHOLD; 0: as the limits say */
    bool dump_checksum_skipped;         /* DEBUG SET-SKIP-CHECKSUM-VALIDATION */
    struct watch_table watches;         /* fed by the hooks of whoever composes the server, */
    struct waiters waiters;             /* as these are, */
    struct tracks tracks;               /* and these */
    struct own_deadlines own_deadlines; /* of a writable replica */
};

void shard_init(struct shard *shard, unsigned id, uint32_t databases,
                const struct hash_secret *secret, const struct keyspace_hooks *hooks,
                int64_t now_ms);
void shard_fini(struct shard *shard);

#endif
