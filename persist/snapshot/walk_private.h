/* SPDX-License-Identifier: BSD-3-Clause */
/* walk_private: what walk.c and walk_large.c share. Private to persist/snapshot.
 *
 * Thread: owner shard only.
 */
#ifndef SHOAL_PERSIST_SNAPSHOT_WALK_PRIVATE_H
#define SHOAL_PERSIST_SNAPSHOT_WALK_PRIVATE_H

#include "base/text.h"
#include "persist/codec/value_write.h"
#include "persist/snapshot/marks.h"
#include "persist/snapshot/walk.h"

/* Keys looked at together, between two looks at the budget. */
#define WALK_BATCH 32

/* A key that waits to be shown, or is being shown, in pieces. */
struct waiting {
    struct list_node link;   /* in walk.waiting */
    struct list_node reader; /* in walk.readers, while it has a root */
    struct walk_item item; /* its name is a copy */
    struct value_write write;
    /* What the value is read from; a root is read until it is NULL. */
    void *root;
    uint64_t count;       /* of a table's elements, at the cut */
    uint64_t cursor;      /* of a table: what stands before it has been written */
    struct marks settled; /* elements behind the cursor; in `rest`, if they were there at the cut */
    /* Of a table: comes behind what is read from the root. Of others: was read ahead of being shown,
     * and comes before what is read next. */
    struct text rest;
    size_t rest_shown;
    void *pin; /* a string's, which comes behind that */
    struct bytes string;
    bool started; /* it is being shown */
    bool hurried; /* somebody waits till it has been read */
};

struct walk {
    struct list_node link; /* in walks.list */
    struct walks *walks;
    struct keyspace *ks;
    struct walk_options options;
    size_t large_bytes, stall_bytes; /* those of struct walks, as it began */
    uint32_t database_count;
    struct database **databases; /* by their numbers at the cut, held; NULL: had no keys */
    struct slot_set left;
    uint32_t slots_left;
    int32_t next_slot; /* walk_take_next; -1: none */
    struct {           /* where it stands */
        bool inside;
        uint16_t slot;
        uint32_t db;
        uint64_t place; /* what stands before it has been shown, or is waiting */
    } front;
    struct marks marks[SLOTS / 64]; /* of keys ahead of the front that are settled */
    struct list waiting, readers;
    bool open; /* the first of them is being shown */
    struct entry *batch[WALK_BATCH];
    uint32_t batch_count;
    struct text out;
    size_t spent; /* in this slice */
    struct walk_progress progress;
};

static inline uint32_t mark_where(uint16_t slot, uint32_t db) {
    return slot | db << 14;
}

/* ---- walk.c ---- */

void walk_show(struct walk *walk, struct walk_item *item, struct bytes piece, bool first,
               bool last);

/* Whether one of them reads it. */
bool walks_read(const struct walks *walks, const void *root);

/* ---- walk_large.c ---- */

/* Whether it is shown in pieces. */
bool walk_is_large(const struct walk *walk, const struct value *value);
/* Whether a change of it writes all that is left, and that is too much. */
bool walk_stalls(const struct walk *walk, const struct value *value);
/* It is read, and if that can be shown, next. */
void walk_hurry(struct walk *walk, struct waiting *waiting);
/* It waits; `item` describes it. */
void walk_wait(struct walk *walk, const struct walk_item *item, struct entry *entry);
/* It waits, with these bytes, which are the whole value. */
void walk_wait_bytes(struct walk *walk, const struct walk_item *item, struct bytes value);
/* Whether the first that somebody waits for is not the first that is shown. */
bool walk_reads_ahead(const struct walk *walk);
/* Reads a piece of it, into memory; false: nobody waits. */
bool walk_read_hurried(struct walk *walk, size_t budget);
/* A piece of the first that waits. */
void walk_show_waiting(struct walk *walk, size_t budget);
void waiting_free(struct walk *walk, struct waiting *waiting);
/* The walk's, that reads this root; or NULL. */
struct waiting *walk_reader(const struct walk *walk, const void *root);
/* Before an element of it changes (NULL: many). */
void waiting_settle(struct walk *walk, struct waiting *waiting, const struct bytes *element);

#endif
