/* SPDX-License-Identifier: BSD-3-Clause */
/* value: what a key holds, whatever it is: a type, which users see, and a form, which is how it is
 * stored. A form is a table of operations; nobody outside asks how a value is stored.
 *
 * A `struct value` says where a value is, and does not own it. It is what is lent to other threads:
 * type, form and address, not the entry, whose header its owner writes.
 *
 * A read never changes a value: not its form, not its order, nothing in it. So whoever keeps it
 * from being changed, moved and freed may read it on any thread.
 *
 * A new form is added so:
 *  1. Its structure is a file in shard/ds over a heap, that knows nothing of keys.
 *  2. It gets a name in enum value_form, and in the file of each type that uses it a `struct form`
 *     and a row in `value_forms` (value.c). One structure may serve several types (a listpack is a
 *     hash's, a list's, a set's and a sorted set's): the table is by type and form.
 *  3. A value within its entry (FORM_INLINE, FORM_INTS, FORM_INT) leaves out what only rooted ones
 * need. Any other has a root: one block that leads to all the rest, and whose address stands in the
 * entry. What a handful of pointers must know (head and tail, counts, bytes) is in that block.
 *  4. The root keeps the sum of its own bytes (`memory`) and its elements (`count`), so that both
 *     are read in constant time.
 *  5. What has many blocks is freed, copied and moved block by block: a listpack and an intset in
 *     one step, a quicklist by node, a table by leaf and a tree by leaf of the tree. A cursor is a
 *     place in the form's own order, 0 at the beginning: of a table the place in the order of
 *     hashes (ds/table.h), which survives growth as HSCAN wants it; of a list or tree the rank of
 *     an element, of a stream its id's rank. What is small is walked in one call, as in Valkey.
 *  6. Changes go through keys/change.h: the form's functions work on the change's value, may give
 * it another root or form, and change_close puts that into the entry.
 *
 * Thread: the owner's; reads anybody's to whom it is lent.
 */
#ifndef SHOAL_SHARD_TYPES_VALUE_H
#define SHOAL_SHARD_TYPES_VALUE_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

struct shard_heap;
struct table;

enum value_type { TYPE_STRING, TYPE_LIST, TYPE_SET, TYPE_ZSET, TYPE_HASH, TYPE_STREAM, TYPE_COUNT };

/* Four bits in an entry. */
enum value_form {
    /* In its entry, beside the key: */
    FORM_INLINE, /* a string's bytes, or the listpack of a small collection */
    FORM_INTS,   /* the intset of a small set */
    FORM_INT,    /* a 64-bit number */
    /* Rooted: */
    FORM_BLOB,      /* one block that connections may hold while they send it (memory/blob.h) */
    FORM_LISTPACK,  /* one block (ds/listpack.h, packed.h) */
    FORM_INTSET,    /* one block (ds/intset.h, packed.h) */
    FORM_QUICKLIST, /* a list's nodes */
    FORM_TABLE,     /* a set's members, a hash's fields, by their hashes */
    FORM_TREE,      /* a sorted set's members, by score, and by their hashes */
    FORM_STREAM,
    FORM_COUNT,
};
#define FORMS_MAX 16

struct value {
    uint8_t type; /* value_type */
    uint8_t form; /* value_form */
    bool raw;     /* what OBJECT ENCODING says of a string that is no number */
    union {
        struct bytes bytes; /* FORM_INLINE, FORM_INTS: where they stand */
        int64_t number;     /* FORM_INT */
        void *root;         /* all others */
    };
};

static inline bool value_is_rooted(const struct value *value) {
    return value->form > FORM_INT;
}

/* It is a row of bytes in its entry. */
static inline bool form_is_inline(enum value_form form) {
    return form < FORM_INT;
}
static inline bool value_is_inline(const struct value *value) {
    return form_is_inline((enum value_form)value->form);
}

/* A stream remembers its ids and groups when the last entry has gone. */
static inline bool type_may_be_empty(enum value_type type) {
    return type == TYPE_STREAM;
}

/* One element as a walk shows it: a string's bytes; a list's or set's element; a hash's field and
 * value; a sorted set's member and score; the id of a stream's entry. Valid during the visit. A
 * field past its deadline is shown, too. */
struct value_element {
    struct bytes first, second;
    double score;
    int64_t deadline; /* a field's; 0: it has none */
};
typedef void value_element_fn(void *arg, const struct value_element *element);

struct form {
    /* The name that OBJECT ENCODING gives. */
    const char *(*encoding)(const struct value *value);
    /* How many elements; what has none is no value, and its key goes (a string always has one; but
     * type_may_be_empty). */
    uint64_t (*count)(const struct value *value);
    /* The table in which its elements are found by the hashes of their names (hash_bytes with the
     * keyspace's secret). NULL: they are found in another way. */
    const struct table *(*names)(const struct value *value);
    /* Bytes of the heap, adopted ones too, that it takes besides its entry. */
    size_t (*memory)(const struct value *value);
    /* Visits about `count` elements from a cursor on (0: the first), at least one; returns where to
     * go on, 0: that was all. */
    uint64_t (*walk)(const struct value *value, uint64_t cursor, uint64_t count,
                     value_element_fn *visit, void *arg);
    /* Checks all its invariants; `heap`: whose it is. */
    void (*verify)(const struct value *value);
    /* The earliest deadline of its elements, NO_EXPIRY without any. NULL: they have none. */
    int64_t (*next_deadline)(const struct value *value);
    /* Beside that: shows an element that is over before now_ms, and takes it out; or false. */
    bool (*take_over)(struct shard_heap *heap, struct value *value, int64_t now_ms,
                      value_element_fn *show, void *arg);

    /* What takes time does some of it, takes the bytes it touched off *budget, and stops when that
     * is used up: at least one step, and true when it is done. Only rooted forms have these. */

    /* How many pieces there are to free, as Valkey counts them; NULL: one. */
    uint64_t (*pieces)(const struct value *value);
    /* Frees a value that nobody reaches any more. */
    bool (*free_some)(struct shard_heap *heap, struct value *value, size_t *budget);
    /* Makes *to, at the first call (cursor 0) of type and form of `from` without a root, an
     * independent copy in this heap. It may be freed when half done. `from` may be lent. Over, and
     * still without a root: the system has no room for it. */
    bool (*copy_some)(struct shard_heap *heap, const struct value *from, struct value *to,
                      uint64_t *cursor, size_t *budget);
    /* Makes *to, of type and form of `from`, the same value once more, in this heap's books:
     * nothing is copied until one of both is changed. `from` may be lent. NULL: such a value cannot
     * be shared. */
    void (*share)(struct shard_heap *heap, const struct value *from, struct value *to);
    /* Whether all of it lies in this heap and nobody else holds it. Only where there is `share`. */
    bool (*is_own)(const struct shard_heap *heap, const struct value *value);
    /* Moves blocks out of sparse slabs; the root may be one of them. */
    bool (*relocate_some)(struct shard_heap *heap, struct value *value, uint64_t *cursor,
                          size_t *budget);
};

/* By type and form; NULL where a type has no such form. */
struct forms {
    const struct form *of[TYPE_COUNT][FORMS_MAX];
};
extern const struct forms value_forms;

static inline const struct form *forms_find(const struct forms *forms, const struct value *value) {
    return forms->of[value->type][value->form];
}

/* ---- All at once ---- */

void value_free(const struct forms *forms, struct shard_heap *heap, struct value *value);
/* An independent copy of a rooted value. */
struct value value_copy(const struct forms *forms, struct shard_heap *heap,
                        const struct value *from);
/* The earliest deadline of its elements, or NO_EXPIRY. */
int64_t value_elements_due(const struct forms *forms, const struct value *value);
/* Bytes besides the entry; of what lies within it none. */
size_t value_memory(const struct forms *forms, const struct value *value);

#endif
