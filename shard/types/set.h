/* SPDX-License-Identifier: BSD-3-Clause */
/* set: different members without an order.
 *
 * A set of few integers is an intset (ds/intset.h), another small one a listpack, in its entry or
 * in a block (packed.h), and a large one a table (ds/members.h). When which becomes which is as in
 * Valkey, whose names and thresholds users look at; a set that has become a table stays one.
 *
 * A member that is looked for, or found, is a `struct set_member`: its text or its number,
 * whichever is known, and what was made of it on the way; a hash is made once, for however many
 * sets.
 *
 * Thread: the owner's; what takes a `const struct value *` also whoever it is lent to.
 */
#ifndef SHOAL_SHARD_TYPES_SET_H
#define SHOAL_SHARD_TYPES_SET_H

#include "base/num.h"
#include "shard/ds/members.h"
#include "shard/types/packed.h"

/* ---- Members ---- */

struct set_member {
    struct bytes text; /* ptr NULL: not written yet */
    int64_t number;    /* if is_number */
    uint64_t hash;     /* if is_hashed */
    bool is_parsed;    /* it is known whether it is a number */
    bool is_number;
    bool is_hashed;
    char scratch[NUM_I64_BYTES]; /* where a number's text is written: members are not copied */
};

static inline void set_member_text(struct set_member *member, struct bytes text) {
    member->text = text.ptr != NULL ? text : BYTES("");
    member->is_parsed = member->is_number = member->is_hashed = false;
}
static inline void set_member_number(struct set_member *member, int64_t number) {
    member->text.ptr = NULL;
    member->number = number;
    member->is_parsed = member->is_number = true;
    member->is_hashed = false;
}
/* Valid as long as the member is, and what it was made of. */
static inline struct bytes set_text(struct set_member *member) {
    if (member->text.ptr == NULL) {
        size_t length = num_format_i64(member->scratch, member->number);
        member->text = bytes_make(member->scratch, length);
    }
    return member->text;
}
/* Whether an intset could have it: it is written as a 64-bit number is. */
static inline bool set_is_number(struct set_member *member) {
    if (!member->is_parsed) {
        member->is_parsed = true;
        member->is_number = member->text.len > 0 && member->text.len <= 20 &&
                            num_parse_i64(member->text, &member->number);
    }
    return member->is_number;
}

/* ---- Reading ---- */

uint64_t set_count(const struct value *set);
/* Its members are found by their hashes; to find one by index takes steps as well. */
static inline bool set_is_table(const struct value *set) {
    return set->form == FORM_TABLE;
}
/* It is the very same value. */
bool set_is_same(const struct value *a, const struct value *b);
bool set_has(const struct value *set, struct set_member *member);
/* The index-th in the set's own order. */
void set_at(const struct value *set, uint64_t index, struct set_member *ret);
/* Of some members, by their indices, keeps those that the set has, or (`has` false) has not;
 * returns how many are left. Memory is asked for before it is looked at, for all of them: what
 * comes from a walk of another table is in the order of hashes, and so found in this one. */
#define SET_SIFT_MAX 64
uint32_t set_sift(const struct value *set, struct set_member *members, uint8_t *indices,
                  uint32_t count, bool has);

/* Goes through all members, in the set's own order, while nothing changes. */
struct set_walk {
    const char *packed; /* NULL: a table */
    bool is_intset;
    size_t at; /* in a listpack an offset, in an intset an index */
    struct members_walk members;
};
struct set_walk set_walk(const struct value *set);
/* The next one; false: there is none. Its text stays valid as long as the set. */
bool set_next(struct set_walk *walk, struct set_member *ret);

/* ---- Writing ---- */

/* Beyond these an intset or a listpack becomes something else: set-max-intset-entries and so on. */
struct set_limits {
    uint64_t intset_entries, listpack_entries, listpack_value;
};

/* What is being changed: the set of a key, within a change, or a new one that will be a key's. */
struct set_edit {
    const struct set_limits *limits;
    struct change *change; /* NULL: a new one */
    struct value *value;   /* the change's, or `made` */
    struct shard_heap *heap;
    const unsigned char *secret;
    struct value made;
    char *buffer; /* malloc: where a new one's bytes are, up to the end */
    size_t capacity;
};

/* The set that the key of an open change has. Its value is in the entry when the change is closed.
 */
void set_edit_open(struct set_edit *edit, struct change *change, const struct set_limits *limits);
/* It has nothing: an empty set, of the form that suits `count` members of which this is the first.
 */
void set_edit_make(struct set_edit *edit, struct change *change, const struct set_limits *limits,
                   struct set_member *first, uint64_t count);
/* So many are about to be added: what would become a table on the way is made one at once. */
void set_edit_expect(struct set_edit *edit, uint64_t count);

/* A new one, empty: an intset (which a text that is added makes a listpack), or a listpack. It ends
 * with one of the three below. */
void set_edit_new(struct set_edit *edit, const struct keyspace *ks, const struct set_limits *limits,
                  bool ints);
/* The key of the change, whatever it has, has this set from now on, and no deadline. */
void set_edit_put(struct set_edit *edit, struct change *change);
/* The set of the change becomes this one. */
void set_edit_replace(struct set_edit *edit, struct change *change);
void set_edit_drop(struct set_edit *edit);
/* The table that it has become, edit->made, is somebody else's. */
void set_edit_drop_buffer(struct set_edit *edit);

/* False: it was there already; it was not there. */
bool set_add(struct set_edit *edit, struct set_member *member);
/* Of a member that is not there. */
void set_add_new(struct set_edit *edit, struct set_member *member);
bool set_remove(struct set_edit *edit, struct set_member *member);
/* What holds nothing but integers becomes an intset, if those are not too many for one. */
void set_edit_shrink(struct set_edit *edit);

#endif
