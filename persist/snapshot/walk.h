/* SPDX-License-Identifier: BSD-3-Clause */
/* walk: all keys of one shard, or of some of its slots, as they were at one moment, the cut, shown
 * in slices while commands go on changing them.
 *
 *     walks_init(&walks, ks);
 *     walk = walk_begin(&walks, &options);          the cut
 *     while (!walk_some(walk, budget)) { let others work; write what was shown }
 *     walk_end(walk);
 *
 * Every key that was there at the cut is shown once, with its value, type, deadline and database as
 * of the cut; nothing that came later is. A key past its deadline that had not been deleted yet
 * was there. Several walks may go on at once, each over slots of its own choice.
 *
 * The order is by slot, in a slot by database, there by hash: who loads a file in parallel, or
 * moves slots, wants all of a slot together, and a switch of databases is two bytes. But what is
 * about to change is shown before that, whatever its turn.
 *
 * Thread: owner shard only; changes may also be told by who works on the keyspace in its place, while
 * it is parked: then that thread calls `show`. Ownership: a walk belongs to its walks until walk_end.
 */
#ifndef SHOAL_PERSIST_SNAPSHOT_WALK_H
#define SHOAL_PERSIST_SNAPSHOT_WALK_H

#include "base/list.h"
#include "persist/codec/rdb.h"
#include "shard/keys/cut.h"

struct walk;

struct slot_set {
    uint64_t words[SLOTS / 64];
};

/* A key, or a piece of one: pieces follow each other, none of another key between them. All of it
 * lives only during the call. */
struct walk_item {
    struct bytes name;
    int64_t expires_at;
    uint32_t db; /* its number at the cut */
    uint16_t slot;
    uint8_t type;     /* rdb_type */
    unsigned version; /* of RDB, that its value is written for */
    /* For the clock of its use; NULL: only its value is left, or it waited. */
    const struct entry *entry;
    bool first, last;
    struct bytes piece; /* of the value as persist/codec has it, without the type */
};
/* Must not change the keyspace. Also called from within its changes. */
typedef void walk_show_fn(void *arg, const struct walk_item *item);

struct walk_options {
    const struct slot_set *slots; /* copied; NULL: all */
    /* A value that it cannot carry (fields with deadlines) is written for the lowest that can. */
    unsigned version;
    bool compress; /* but for strings that are shown in pieces */
    walk_show_fn *show;
    void *arg;
};

/* All walks of a keyspace. While there are any it tells them before it changes. */
struct walks {
    struct keyspace *ks;
    struct keyspace_before before;
    struct list list;
    /* A value of more memory, whatever its form, is shown in pieces: what a slice may take. Of walks
     * that begin; tests make both less. */
    size_t large_bytes;
    /* A list or stream of more is not written at once, if who changes it can wait: less is copied
     * in some hundred microseconds. */
    size_t stall_bytes;
    uint64_t stall_bytes_max; /* the most that was written at once, for a change; of any so far */
};

void walks_init(struct walks *walks, struct keyspace *ks);
/* There must be no walk left. */
void walks_fini(struct walks *walks);

struct walk *walk_begin(struct walks *walks, const struct walk_options *options);
/* Shows about so many bytes, keys counted as some tens. True: that was all. */
bool walk_some(struct walk *walk, size_t budget);
/* At any time. */
void walk_end(struct walk *walk);

/* Whether a change of this key would have to write more than a turn may take: a long list or
 * stream, whose changes name no element, that is still to be read. It is read next, so who can
 * wait asks again later (shard/unshown.h does). The entry: as it was found, or NULL. */
bool walks_would_stall(struct walks *walks, uint32_t db, const struct key *key,
                       const struct entry *entry);
/* Reads about so many bytes of such a value, into memory: while nothing can be shown. False: there
 * is none. */
bool walk_hurry_some(struct walk *walk, size_t budget);
bool walk_is_hurried(const struct walk *walk);
/* The slot comes next, as soon as the one at hand is over: before it moves to another shard. */
void walk_take_next(struct walk *walk, uint16_t slot);
/* Whether keys of the slot may still be to come. */
bool walk_has_left(const struct walk *walk, uint16_t slot);

/* How far it is: slots, and the memory of its own. */
struct walk_progress {
    uint64_t shown;   /* keys; of these early, because they were about to change */
    uint64_t early;
    uint32_t slots_left;
    size_t bytes_kept; /* shown early, but waiting for a large value to be over; marks */
    uint64_t stall_bytes_max; /* as that of struct walks */
};
struct walk_progress walk_progress(const struct walk *walk);

#endif
