/* SPDX-License-Identifier: BSD-3-Clause */
/* fields: the pairs of a big hash, found by name, some of them with deadlines.
 *
 * A pair is one block; a table (table.h) has them in the order of the hashes of their names, and
 * those with deadlines stand in the order of these as well (deadlines.h). A pair of 16 and 32 bytes
 * takes 64 and a half, with a deadline 88.
 *
 * A field past its deadline is there until somebody takes it out: what is over is its owner's
 * business, who knows the time.
 *
 * Thread: owner shard only; reads anybody's to whom it is lent.
 * Ownership: pairs belong to the fields. Slices and a `struct field *` are valid until the next
 * change.
 */
#ifndef SHOAL_SHARD_DS_FIELDS_H
#define SHOAL_SHARD_DS_FIELDS_H

#include "base/bytes.h"
#include "shard/ds/deadlines.h"
#include "shard/ds/table.h"

#include <stdbool.h>
#include <stdint.h>

struct shard_heap;
struct field;

/* Of a field without one. */
#define FIELD_NO_DEADLINE INT64_C(-1)

struct fields {
    struct table table;
    struct deadlines deadlines;
    const unsigned char *secret; /* what names are hashed with (base/hash.h) */
    size_t bytes;                /* of all blocks, this one too */
};

/* `secret` must outlive it. */
struct fields *fields_new(struct shard_heap *heap, const unsigned char *secret);

/* ---- Reading ---- */

struct field *fields_find(const struct fields *fields, struct bytes name);
struct bytes field_name(const struct field *field);
struct bytes field_value(const struct field *field);
int64_t field_deadline(const struct fields *fields, const struct field *field);
static inline uint32_t fields_count(const struct fields *fields) {
    return fields->table.count;
}
/* The index-th in the order of the table. */
struct field *fields_at(const struct fields *fields, uint32_t index);
/* The one whose time is over first, or NULL. */
struct field *fields_first_over(const struct fields *fields);
/* Its deadline, or FIELD_NO_DEADLINE. */
static inline int64_t fields_next_deadline(const struct fields *fields) {
    return fields->deadlines.count > 0 ? deadlines_at(&fields->deadlines, 0)->at_ms
                                       : FIELD_NO_DEADLINE;
}

typedef void fields_visit_fn(void *arg, const struct field *field);
/* Visits about `count` fields from a place on, at least one; returns where to go on, at the end
 * TABLE_PLACE_END: see table_walk. */
uint64_t fields_walk(const struct fields *fields, uint64_t place, uint64_t count,
                     fields_visit_fn *visit, void *arg);
void fields_each(const struct fields *fields, fields_visit_fn *visit, void *arg);

/* ---- Changing; a changed field is where the function says ---- */

/* No field of this name may be there. */
struct field *fields_add(struct fields *fields, struct shard_heap *heap, struct bytes name,
                         struct bytes value);
/* The value must not lie in the fields. The deadline stays. */
struct field *fields_set(struct fields *fields, struct shard_heap *heap, struct field *field,
                         struct bytes value);
/* FIELD_NO_DEADLINE: from now on it has none. */
struct field *fields_set_deadline(struct fields *fields, struct shard_heap *heap,
                                  struct field *field, int64_t deadline);
void fields_remove(struct fields *fields, struct shard_heap *heap, struct field *field);

/* ---- All of it, in slices (types/value.h) ---- */

bool fields_free_some(struct fields *fields, struct shard_heap *heap, size_t *budget);
/* Copies what lies from *place on; *place is TABLE_PLACE_END when that is all. */
void fields_copy_some(const struct fields *from, struct fields *to, struct shard_heap *heap,
                      uint64_t *place, size_t *budget);
/* Returns where it is now; *step begins at 0. */
struct fields *fields_relocate_some(struct fields *fields, struct shard_heap *heap, uint64_t *step,
                                    bool *ret_done, size_t *budget);
/* Checks all its invariants; for tests and debug builds. */
void fields_verify(const struct fields *fields);

#endif
