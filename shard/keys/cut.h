/* SPDX-License-Identifier: BSD-3-Clause */
/* cut: what a walk over a keyspace needs to find the state of one moment, while the keyspace goes
 * on changing.
 *
 * Before anything changes somebody is told (struct keyspace_before). What would be freed while it
 * is read stays: a database that is flushed, if it is held; a large value whose key goes, if
 * `reads` says so. Between calls of these functions entries may move.
 *
 * Thread: owner shard only.
 */
#ifndef SHOAL_SHARD_KEYS_CUT_H
#define SHOAL_SHARD_KEYS_CUT_H

#include "shard/keys/keyspace.h"

struct database;

/* Who must know before something changes. Called synchronously; nothing of the keyspace may be
 * changed meanwhile. */
struct keyspace_before {
    void *arg;
    /* The entry (NULL: about to be created) is about to change or go. Deletes and new keys that are
     * news to nobody (a slot that moves) are told too. */
    void (*write)(void *arg, uint32_t db, const struct key *key, struct entry *entry);
    /* An element of this value is about to change, come or go, by its name; NULL: many, or their
     * order. After `write` of the key. */
    void (*element)(void *arg, const struct value *value, const struct bytes *element);
    /* Whether what this root leads to is being read: it is not moved, and not freed before
     * keyspace_let_go. */
    bool (*reads)(void *arg, const void *root);
    /* Whether a change of this value in place would take long for what `element` does; then it is
     * read soon. */
    bool (*stalls)(void *arg, uint32_t db, const struct key *key, const struct entry *entry);
};

/* It is told from now on, and must live as long; NULL: nobody is, which costs a branch. */
void keyspace_tell_before(struct keyspace *ks, const struct keyspace_before *before);

/* What a value has that would stall who changes it: its root; or NULL. */
const void *keyspace_would_stall(struct keyspace *ks, uint32_t db, const struct key *key,
                                 const struct entry *entry);
/* Whether a root is being read. */
bool keyspace_is_read(const struct keyspace *ks, const void *root);

uint32_t keyspace_database_count(const struct keyspace *ks);
/* The database, which stays until it is released, flushed or not; NULL: it has never had a key. */
struct database *keyspace_hold(struct keyspace *ks, uint32_t db);
void keyspace_release(struct keyspace *ks, struct database *database);
/* Whether it is this one's number now, which SWAPDB and FLUSHDB change. */
bool keyspace_is_at(const struct keyspace *ks, const struct database *database, uint32_t db);

/* How many keys a held database has in a slot. */
uint32_t keyspace_held_count(const struct database *database, uint16_t slot);
/* All entries of a slot of a held database, dead or alive, from a place of ds/table.h on, about
 * `count` of them; returns the place to go on from, TABLE_PLACE_END or more: that was all. */
uint64_t keyspace_walk_held(const struct keyspace *ks, const struct database *database,
                            uint16_t slot, uint64_t place, uint64_t count, keyspace_visit_fn *visit,
                            void *arg);
/* The entries that have the hash of this key: its own, and hardly ever others. */
void keyspace_each_of_hash(const struct keyspace *ks, const struct database *database,
                           const struct key *key, keyspace_visit_fn *visit, void *arg);

/* `reads` is not true any more of this root: if its key has gone it is freed, in slices. */
void keyspace_let_go(struct keyspace *ks, const void *root);

#endif
