/* SPDX-License-Identifier: BSD-3-Clause */
/* change: the one way in which a value changes.
 *
 *     open -> read and change what the key holds -> close, saying what it was
 *
 * Opening tells who wants to know before (snapshots), closing everybody who wants to know after
 * (WATCH, tracking, notifications, waiters), and does the books: bytes, deadlines, counts. A
 * collection that has become empty goes, with EVENT_DEL behind the event. So a command says what it
 * did, and nothing else.
 *
 * A collection's command:
 *
 *     change_open(&change, ks, db, &key, entry, now_ms);      entry as keyspace_find gave it
 *     if (entry == NULL) change_make(&change, an empty value);
 *     change_element(&change, &member);                        for each that it is about to touch
 *     tree_add(heap, &change.value, member);                   may change value.root, value.form
 *     change_close(&change, EVENT_SADD);
 *
 * While one is open nothing else of the keyspace may be changed.
 *
 * Thread: owner shard only.
 */
#ifndef SHOAL_SHARD_KEYS_CHANGE_H
#define SHOAL_SHARD_KEYS_CHANGE_H

#include "shard/keys/keyspace.h"

struct database;
struct slot;

struct change {
    struct keyspace *ks;
    struct database *database;
    struct slot *slot;
    const struct key *key;
    struct entry *entry; /* what the key has now, or NULL; may move */
    /* A collection's: where it is, for the functions of its type. What they make of it comes into
     * the entry when the change is closed. */
    struct value value;
    int64_t elements_due; /* when it was opened: the earliest deadline of its elements */
    size_t used;          /* bytes of the heap when the books were last done */
    int64_t now_ms;
    uint32_t db;
    bool is_new; /* it had nothing when it was opened */
};

/* `entry`: live and just found, or NULL for a key that was found missing. */
void change_open(struct change *change, struct keyspace *ks, uint32_t db, const struct key *key,
                 struct entry *entry, int64_t now_ms);
/* The key has this value from now on, and no deadline; what it had is freed. A rooted one is taken
 * over, one within its entry is copied: it must not be of what the key had. */
void change_make(struct change *change, struct value value);
/* The value is so many bytes in its entry from now on: what fits of those that it had there stays.
 * Returns where they are. For packed.h. */
char *change_inline(struct change *change, enum value_form form, size_t length);
/* Where a value's blocks come from, and what its elements are hashed with. */
struct shard_heap *change_heap(const struct change *change);
const struct hash_secret *change_secret(const struct change *change);
/* Whether somebody listens to change_element. */
bool change_is_told(const struct change *change);
/* An element is about to change, come or go, in a value that stays (not of one that is made anew,
 * or discarded as a whole). `element`: its name (a member, a field); NULL: the
 * change is about the order (a list's, a stream's). */
void change_element(struct change *change, const struct bytes *element);
/* A rooted value that the key's no longer leads to, of the same type: it is freed, and what is
 * large of it later, in slices. */
void change_discard(struct change *change, struct value value);
/* EVENT_NONE: nothing was changed after all. Returns the entry; NULL if it is gone. */
struct entry *change_close(struct change *change, enum key_event event);

/* The same for what users do not take for a change of the key: it counts (effects), and
 * notifications tell of the event unless it is EVENT_NONE, but WATCH and the like do not see it. Of
 * what is never empty. */
struct entry *change_close_quietly(struct change *change, enum key_event event);

#endif
