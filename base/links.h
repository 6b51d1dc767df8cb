/* SPDX-License-Identifier: BSD-3-Clause */
/* links: a hash table whose links live inside the elements.
 *
 * Thread: one at a time. Owns its buckets, not the elements: one must be removed before its memory
 * goes. An empty table has no memory, and a burst is not remembered for ever.
 */
#ifndef SHOAL_BASE_LINKS_H
#define SHOAL_BASE_LINKS_H

#include <stddef.h>
#include <stdint.h>

struct link {
    struct link *next; /* of the same bucket */
    uint64_t hash;     /* its low bits must be good */
};

struct links {
    struct link **buckets;
    size_t buckets_count; /* a power of two, or 0 */
    size_t count;
};

/* The element of `type` whose field `member` is *link. */
#define LINK_ENTRY(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

/* All zero is an empty table, too. */
void links_init(struct links *links);
/* Nothing may be left. */
void links_fini(struct links *links);

/* link->hash is set. Several may have the same. */
void links_add(struct links *links, struct link *link);
void links_remove(struct links *links, struct link *link);

/* Where the elements of that hash are, among others: compare, and go on by `next`. */
static inline struct link *links_first(const struct links *links, uint64_t hash) {
    return links->count > 0 ? links->buckets[hash & (links->buckets_count - 1)] : NULL;
}

/* The bytes of the buckets. */
static inline size_t links_memory(const struct links *links) {
    return links->buckets_count * sizeof(struct link *);
}

/* Numbers that are drawn in turn, as hashes: also if we have every hundredth of them only, as when
 * threads share them out. */
static inline uint64_t links_hash(uint64_t number) {
    return number * UINT64_C(0x9E3779B97F4A7C15) >> 32;
}

#endif
