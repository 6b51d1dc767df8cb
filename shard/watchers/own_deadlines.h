/* SPDX-License-Identifier: BSD-3-Clause */
/* own_deadlines: keys of a writable replica that are its own: a client has written to them, and
 * they have a deadline. Keys of its primary go by the primary's word; nobody else would end these.
 *
 * What is remembered are names. Whether there is still a key with a deadline is seen when it is
 * looked at: each is, now and then, in slices. As in Valkey a name stays remembered when the
 * primary writes to the key, too.
 *
 * Thread: owner shard only.
 */
#ifndef SHOAL_SHARD_WATCHERS_OWN_DEADLINES_H
#define SHOAL_SHARD_WATCHERS_OWN_DEADLINES_H

#include "base/links.h"
#include "base/list.h"
#include "shard/keys/keyspace.h"

#include <stddef.h>
#include <stdint.h>

struct own_deadlines {
    struct keyspace *keyspace; /* whose keys they are */
    struct links names;
    struct list turn; /* the same, in the order in which they are looked at */
    size_t bytes;
};

void own_deadlines_init(struct own_deadlines *own, struct keyspace *keyspace);
void own_deadlines_fini(struct own_deadlines *own);

/* A client has written to the key: it is remembered if it is there and has a deadline. */
void own_deadlines_note(struct own_deadlines *own, uint32_t db, const struct key *key);
/* A slice: those of the next so many names whose time is over are deleted, as keys that run out are
 * where they do. */
void own_deadlines_end_some(struct own_deadlines *own, unsigned count, int64_t now_ms);
/* All names: it is a replica no more, or all keys go. */
void own_deadlines_clear(struct own_deadlines *own);
/* Two databases have changed places. */
void own_deadlines_swap(struct own_deadlines *own, uint32_t a, uint32_t b);

/* Bytes held. */
static inline size_t own_deadlines_memory(const struct own_deadlines *own) {
    return own->bytes + links_memory(&own->names);
}

#endif
