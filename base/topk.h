/* SPDX-License-Identifier: BSD-3-Clause */
/* topk: what comes up most often in a stream, in memory that does not grow: the algorithm
 * Space-Saving. TOPK_ITEMS items are counted. Who is not among them takes the place of the one with
 * the smallest count, and that count with it, as his error: so no count is too small, none is too
 * large by more than its error, and who has more than a TOPK_ITEMS-th of all is there for certain.
 *
 * Reference: A. Metwally, D. Agrawal, A. El Abbadi, "Efficient Computation of Frequent and Top-k
 * Elements in Data Streams", ICDT 2005.
 *
 * Thread: one at a time.
 * Ownership: names are copied; those of more than TOPK_NAME_MAX bytes are cut, but told apart by
 * their hashes.
 */
#ifndef SHOAL_BASE_TOPK_H
#define SHOAL_BASE_TOPK_H

#include "base/bytes.h"

#define TOPK_ITEMS    128
#define TOPK_NAME_MAX 1024
#define TOPK_BUCKETS  256

struct topk_item {
    uint64_t hash; /* of the name: the two that are the same, with the same tag, are one */
    uint64_t count, error;
    char *name;
    uint32_t name_len, name_room;
    uint32_t tag;
    uint16_t place; /* in the heap */
    uint16_t next;  /* of its bucket: an index and 1, or 0 */
};

struct topk {
    struct topk_item items[TOPK_ITEMS];
    uint16_t heap[TOPK_ITEMS]; /* of indexes: the smallest count first */
    uint16_t buckets[TOPK_BUCKETS];
    uint32_t used;
    size_t names_bytes;
};

/* All zero is empty, too. */
void topk_init(struct topk *top);
void topk_fini(struct topk *top);
size_t topk_memory(const struct topk *top);

/* It came up once more, or so many times. */
void topk_add(struct topk *top, uint64_t hash, uint32_t tag, struct bytes name, uint64_t weight);
/* All counts lose a 2^shift-th: what is long ago weighs less. */
void topk_fade(struct topk *top, unsigned shift);
void topk_clear(struct topk *top);

/* So often at least. */
static inline uint64_t topk_least(const struct topk_item *item) {
    return item->count - item->error;
}
static inline struct bytes topk_name(const struct topk_item *item) {
    return bytes_make(item->name, item->name_len);
}

#endif
