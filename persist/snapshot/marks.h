/* SPDX-License-Identifier: BSD-3-Clause */
/* marks: a set of places, each a hash and where it stands (a slot and a database): what a walk must
 * pass over when it comes there. 12 bytes a cell, at most three in four of them used.
 *
 * Thread: one at a time. All zeroes: an empty set.
 */
#ifndef SHOAL_PERSIST_SNAPSHOT_MARKS_H
#define SHOAL_PERSIST_SNAPSHOT_MARKS_H

#include <stdbool.h>
#include <stdint.h>

struct mark {
    uint32_t where; /* MARK_NONE: nothing is here */
    uint32_t hash[2];
};

struct marks {
    struct mark *cells;
    uint32_t count, capacity;
};
#define MARK_NONE UINT32_MAX

/* False: it was there. */
bool marks_add(struct marks *marks, uint64_t hash, uint32_t where);
bool marks_has(const struct marks *marks, uint64_t hash, uint32_t where);
void marks_fini(struct marks *marks);

#endif
