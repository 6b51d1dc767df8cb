/* SPDX-License-Identifier: BSD-3-Clause */
/* tracks: which clients have read which keys of one shard, so that they can be told when those
 * change (CLIENT TRACKING).
 *
 * The shard's half of client-side caching. Clients are known here by their numbers only, and by the
 * worker that has them. Keys are told apart by their names, not by their databases, as in Valkey. A
 * key is told of once: it is in the table from when it is read until it changes.
 *
 * Thread: owner shard only. Nothing of it is asked while nobody tracks.
 */
#ifndef SHOAL_SHARD_WATCHERS_TRACKS_H
#define SHOAL_SHARD_WATCHERS_TRACKS_H

#include "base/links.h"
#include "base/list.h"
#include "shard/keys/keyspace.h"

#include <stddef.h>

struct tracks {
    struct links keys;    /* that somebody has read since they changed last */
    struct links items;   /* by whom: one for each key and client */
    struct links clients; /* who has read some of them */
    size_t bytes, emptied_bytes;
    struct list leaving; /* clients that have gone, and what they had read is to be freed */
    struct list emptied; /* tables as they were when all went, to be freed */
};

void tracks_init(struct tracks *tracks);
void tracks_fini(struct tracks *tracks);

/* A client, at home at this worker, has read a key. True if nobody had before. */
bool tracks_add(struct tracks *tracks, uint64_t client, unsigned home, const struct key *key);
/* A key has changed: it goes, after each of its clients was told of. */
typedef void tracks_tell_fn(void *arg, uint64_t client, unsigned home, struct bytes key);
void tracks_take(struct tracks *tracks, const struct key *key, tracks_tell_fn *tell, void *arg);
/* The same for some key, if there is one: `random` says which. */
void tracks_take_any(struct tracks *tracks, uint64_t random, tracks_tell_fn *tell, void *arg);
/* The same for all keys of a slot, which goes to another shard. */
void tracks_take_slot(struct tracks *tracks, uint16_t slot, tracks_tell_fn *tell, void *arg);
/* The client has gone. */
void tracks_drop(struct tracks *tracks, uint64_t client);
/* All keys go, and nobody is told. */
void tracks_clear(struct tracks *tracks);
static inline bool tracks_is_left(const struct tracks *tracks) {
    return !list_empty(&tracks->leaving) || !list_empty(&tracks->emptied);
}
/* Frees a slice of what has gone; true if there is more. */
bool tracks_free_some(struct tracks *tracks);
/* Bytes held. */
size_t tracks_memory(const struct tracks *tracks);

#endif
