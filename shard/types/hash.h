/* SPDX-License-Identifier: BSD-3-Clause */
/* hash: what hashes do: fields with values, some of them with deadlines.
 *
 * A small one is a listpack of pairs (types/packed.h), a large one, or one that has had a field
 * with a deadline, a table of fields (ds/fields.h); it never becomes small again.
 *
 * A field past its deadline is there until the timing wheel or a write takes it out, and hidden
 * until then. So whoever reads says when.
 *
 * Thread: the owner's; what takes a `const struct hash_look *` also whoever the value is lent to.
 */
#ifndef SHOAL_SHARD_TYPES_HASH_H
#define SHOAL_SHARD_TYPES_HASH_H

#include "base/num.h"
#include "shard/keys/change.h"

/* ---- Reading ---- */

/* A look at a hash at a time. */
struct hash_look {
    struct value value;
    int64_t alive_ms;  /* fields are seen that live at this time; INT64_MIN: all */
    int64_t hidden_to; /* the latest deadline of those that were hidden; at first 0 */
};

static inline struct hash_look hash_look(struct value value, int64_t alive_ms) {
    return (struct hash_look){.value = value, .alive_ms = alive_ms};
}

/* Where a field's value is. */
struct hash_found {
    struct bytes value;
    int64_t deadline; /* or NO_EXPIRY */
    char scratch[NUM_I64_BYTES];
};

bool hash_find(struct hash_look *look, struct bytes name, struct hash_found *ret);
/* Fields that are there, the hidden ones too; and those that are seen. */
uint64_t hash_count(const struct value *value);
uint64_t hash_count_seen(struct hash_look *look);
/* All that are seen. */
void hash_each(struct hash_look *look, value_element_fn *visit, void *arg);
/* Some that are seen, from a cursor on; returns the next one, 0 at the end. What is small is shown
 * at once. */
uint64_t hash_scan(struct hash_look *look, uint64_t cursor, uint64_t count, value_element_fn *visit,
                   void *arg);
/* Shows the index-th of all that are there, if it is seen. */
bool hash_visit_at(struct hash_look *look, uint64_t index, value_element_fn *visit, void *arg);

/* ---- Writing, within a change ---- */

/* What a listpack may hold. */
struct hash_limits {
    uint64_t entries, value_bytes;
};

struct hash_edit {
    struct change *change;
    struct hash_limits limits;
    int64_t alive_ms; /* as in a look */
    uint64_t expired; /* fields that were hidden and have been replaced */
};

/* Sets fields, of a key that may have nothing; `pairs`: a name and a value each. Their deadlines
 * go. Returns how many are new: a hidden field is none. */
uint64_t hash_put_all(struct hash_edit *edit, const struct bytes *pairs, uint32_t count);
/* Sets one. `deadline`: its own from now on; NO_EXPIRY, or KEEP_TTL. True: it is new. */
bool hash_put(struct hash_edit *edit, struct bytes name, struct bytes value, int64_t deadline);
/* Takes out a field that is seen, or false. */
bool hash_remove(struct hash_edit *edit, struct bytes name);
/* Gives a field that is seen a deadline, or takes it away (NO_EXPIRY). */
void hash_set_deadline(struct hash_edit *edit, struct bytes name, int64_t deadline);

#endif
