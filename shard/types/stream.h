/* SPDX-License-Identifier: BSD-3-Clause */
/* stream: entries in the order of their ids, and the groups that read them.
 *
 * Entries lie in listpacks (ds/stream_node.h), whose sizes are Valkey's, so that what a trim may
 * leave is the same; those in a tree by their first ids (ds/idtree.h). An entry of two small fields
 * takes as much as its bytes and a hundredth of a node's beginning. Only the last node has room to
 * grow.
 *
 * Thread: the owner's; what takes a `const struct stream *` also whoever it is lent to.
 */
#ifndef SHOAL_SHARD_TYPES_STREAM_H
#define SHOAL_SHARD_TYPES_STREAM_H

#include "shard/ds/stream_node.h"
#include "shard/types/value.h"

struct stream_group;

struct stream {
    size_t bytes; /* of the heap: this block and all it leads to */
    struct idtree nodes;
    size_t tail_room; /* of the last node's block; that of others is as long as what is in it */
    uint64_t length;
    uint64_t entries_added;       /* ever */
    struct stream_id first, last; /* of the entries; the last id ever */
    struct stream_id max_deleted;
    struct stream_id moved_to;    /* where relocate_some goes on */
    struct stream_group **groups; /* by name (stream_group.h) */
    uint32_t groups_count, groups_room;
};

static inline struct stream *stream_of(const struct value *value) {
    return value->root;
}

/* An empty one, for change_make. */
struct value stream_new(struct shard_heap *heap);

/* ---- Entries ---- */

/* What a node may hold: stream-node-max-bytes, stream-node-max-entries; 0: whatever it can. */
struct stream_limits {
    uint64_t node_bytes, node_entries;
};

/* All texts of an entry together; more is no entry. */
#define STREAM_ENTRY_BYTES_MAX (UINT32_C(1) << 30)

/* An entry behind the last. `pairs`: field, value, field ... */
void stream_append(struct shard_heap *heap, struct stream *stream, struct stream_id id,
                   const struct bytes *pairs, uint32_t fields, const struct stream_limits *limits);
/* A copy of a node as another server has it, behind those that are there. False: these bytes are no
 * node, or it does not belong there. `length` grows; nothing else that the stream says of itself.
 */
bool stream_take_node(struct shard_heap *heap, struct stream *stream, struct stream_id master,
                      struct bytes listpack);
/* False: it is not there. Neither `first` nor `max_deleted` is touched. */
bool stream_delete(struct shard_heap *heap, struct stream *stream, struct stream_id id);
bool stream_has(const struct stream *stream, struct stream_id id);
/* `first` as it is now. */
void stream_note_first(struct stream *stream);
/* The last entry that is there; 0-0 if there is none. */
struct stream_id stream_last_entry(const struct stream *stream);

struct stream_trim {
    bool by_id; /* what is less than `min_id` goes; else the oldest, till there are `max_length` */
    bool approximate; /* whole nodes only */
    uint64_t max_length;
    struct stream_id min_id;
    uint64_t limit; /* of entries; 0: none */
};
/* Returns how many entries went. */
uint64_t stream_trim(struct shard_heap *heap, struct stream *stream,
                     const struct stream_trim *trim);

/* ---- Reading ---- */

struct stream_iter {
    /* The entry. */
    struct stream_id id;
    uint32_t fields;
    /* For those below. */
    struct idtree_place place;
    struct stream_node node;
    struct stream_entry entry;
    struct stream_id from, to;
    uint64_t left;   /* items of its body that are still to be read */
    size_t item_at;  /* the next of them */
    size_t field_at; /* the next field, if the master names them */
    size_t entry_at; /* the next entry, or 0 */
    bool reverse, more;
    bool found; /* the next entry is this one */
};

/* Entries from `from` to `to`, both of them too; in reverse from `to` on. */
void stream_iter_init(struct stream_iter *iter, const struct stream *stream, struct stream_id from,
                      struct stream_id to, bool reverse);
bool stream_iter_next(struct stream_iter *iter);
/* How many are still to come, or `max` if there are more. */
uint64_t stream_iter_count(struct stream_iter *iter, uint64_t max);
/* The next field and value, `fields` times. */
void stream_iter_field(struct stream_iter *iter, struct listpack_item *ret_field,
                       struct listpack_item *ret_value);

/* For the table in value.c. */
extern const struct form stream_form;

#endif
