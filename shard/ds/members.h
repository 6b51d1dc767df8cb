/* SPDX-License-Identifier: BSD-3-Clause */
/* members: the members of a large set, in a table by their hashes (ds/table.h).
 *
 *     root { table, secret, memory } ---> leaves ---> a block for each member { length, bytes }
 *
 * A member of 16 bytes takes 24 and its 8.x of the table. The hash is keyed with the secret whose
 * address the root keeps: all sets of a process have one, so a member's hash is the same in each of
 * them, and whoever is lent one can look into it.
 *
 * Thread: the owner's; what takes a `const struct members *` also whoever it is lent to.
 * Ownership: of all its blocks, which are the heap's that is named.
 */
#ifndef SHOAL_SHARD_DS_MEMBERS_H
#define SHOAL_SHARD_DS_MEMBERS_H

#include "base/bytes.h"
#include "base/hash.h"
#include "shard/ds/table.h"

struct members {
    struct table table;
    size_t memory; /* bytes of the heap: this block, the table's and the members' */
    const unsigned char *secret;
};

/* An empty one. The secret (HASH_SECRET_BYTES) must outlive it. */
struct members *members_new(struct shard_heap *heap, const unsigned char *secret);

static inline uint64_t members_count(const struct members *members) {
    return members->table.count;
}
static inline uint64_t members_hash(const struct members *members, struct bytes name) {
    return hash_bytes(members->secret, name);
}

/* ---- One member ---- */

/* Its bytes; stay where they are until it is removed or moved (members_relocate). */
static inline struct bytes member_name(const void *member) {
    const unsigned char *at = member;
    size_t length = *at++;
    if (__builtin_expect(length >= 128, 0)) {
        length &= 127;
        for (unsigned shift = 7;; shift += 7) {
            unsigned char part = *at++;
            length |= (size_t)(part & 127) << shift;
            if (part < 128) {
                break;
            }
        }
    }
    return bytes_make((const char *)at, length);
}

/* The member of this name and hash, or NULL. */
const void *members_find(const struct members *members, uint64_t hash, struct bytes name);
/* The first that may have this hash, by a few bits of it, or NULL; its memory is asked for. If that
 * is another one, the one that is looked for may be behind it. */
const void *members_find_likely(const struct members *members, uint64_t hash);
/* The index-th in the order of hashes. */
static inline const void *members_at(const struct members *members, uint64_t index) {
    return table_at(&members->table, index);
}

/* A name that is not there. */
void members_add(struct shard_heap *heap, struct members *members, uint64_t hash,
                 struct bytes name);
/* One that members_find or members_at has returned. */
void members_remove(struct shard_heap *heap, struct members *members, uint64_t hash,
                    const void *member);

/* ---- All members ---- */

/* Goes through all at once, in the order of hashes, while nothing changes. */
struct members_walk {
    const struct table *table;
    const uint64_t *words;
    uint32_t count, at;
    uint64_t place;
};
static inline struct members_walk members_walk(const struct members *members) {
    return (struct members_walk){.table = &members->table};
}
bool members_walk_leaf(struct members_walk *walk);

/* What is fetched from memory ahead of the walk. */
#define MEMBERS_AHEAD 12

/* The next one, or NULL. */
static inline const void *members_next(struct members_walk *walk) {
    if (__builtin_expect(walk->at == walk->count, 0) && !members_walk_leaf(walk)) {
        return NULL;
    }
    uint32_t at = walk->at++;
    if (at + MEMBERS_AHEAD < walk->count) {
        __builtin_prefetch(table_address(walk->words[at + MEMBERS_AHEAD]));
    }
    return table_address(walk->words[at]);
}

/* Visits about `count` from a place of ds/table.h on, and returns the next: table_walk. */
uint64_t members_visit(const struct members *members, uint64_t place, uint64_t count,
                       table_item_fn *visit, void *arg);

/* In slices: each takes the bytes it touched off *budget and stops when that is used up. */

/* Frees; true when all of it is gone. */
bool members_free_some(struct shard_heap *heap, struct members *members, size_t *budget);
void members_free(struct shard_heap *heap, struct members *members);
/* Adds to `to` the members of `from` from *place on; true when it has all. */
bool members_copy_some(struct shard_heap *heap, const struct members *from, struct members *to,
                       uint64_t *place, size_t *budget);
/* Moves blocks out of sparse slabs, from *place on; the root itself is the caller's to move. True
 * when it has been through. */
bool members_relocate_some(struct shard_heap *heap, struct members *members, uint64_t *place,
                           size_t *budget);

/* Checks everything; for tests and debug builds. */
void members_verify(const struct members *members);

#endif
