/* SPDX-License-Identifier: BSD-3-Clause */
/* unshown: keys whose values nobody changes until a walk has read them.
 *
 * A change of a long list or stream that a walk has still to read (keys/cut.h) would have all of it
 * written down first, in one piece, while everybody waits. So who is about to change it asks here
 * before: then the key is closed to changes (locks.h), the walk reads it next, in slices, and opens
 * it. Readers go on, and so does all else.
 *
 * Thread: owner shard only, or who works in its place.
 */
#ifndef SHOAL_SHARD_UNSHOWN_H
#define SHOAL_SHARD_UNSHOWN_H

#include "shard/keys/keyspace.h"
#include "shard/locks.h"

struct unshown {
    struct list keys; /* that are closed */
    uint64_t closed;  /* so far */
};

void unshown_init(struct unshown *unshown);
/* All of them must be open. */
void unshown_fini(struct unshown *unshown);

/* Somebody is about to ask for the key, to change its value in place. True: he must wait, by a
 * request that names the key; it is closed. While no walk is there it costs nothing not to ask. */
bool unshown_close(struct unshown *unshown, struct locks *locks, struct keyspace *ks, uint32_t db,
                   const struct key *key);
/* Whether unshown_open would open one. */
bool unshown_is_due(const struct unshown *unshown, const struct keyspace *ks);
/* Opens one that no walk has to read any more, and returns true; those who wait are let in, and may
 * be settled. `before` (or NULL) is called between the two. */
bool unshown_open(struct unshown *unshown, struct locks *locks, const struct keyspace *ks,
                  void (*before)(void *arg), void *arg);

#endif
