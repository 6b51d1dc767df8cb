/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_node: some entries of a stream in one listpack, laid out as Redis and Valkey do, so that
 * dumps can be copied:
 *
 *     master: live, deleted, fields, field .., 0
 *     entry:  flags, ms and seq since the master's id, [fields, field, value .. | value ..],
 *             how many items these were
 *
 * The master has the fields of the first entry. An entry with the same fields names none: its flags
 * say so. One that is deleted stays, and its flags say that. The last item of an entry is for those
 * who come from behind. The master's id stands where the node is kept.
 *
 * Thread: any; whoever may read the bytes.
 */
#ifndef SHOAL_SHARD_DS_STREAM_NODE_H
#define SHOAL_SHARD_DS_STREAM_NODE_H

#include "shard/ds/idtree.h"
#include "shard/ds/listpack.h"

enum stream_entry_flags {
    STREAM_ENTRY_DELETED = 1 << 0,
    STREAM_ENTRY_SAME_FIELDS = 1 << 1,
};

struct stream_node {
    const char *lp;
    struct stream_id master;
    int64_t live, deleted;
    uint32_t fields;   /* of the master */
    size_t deleted_at; /* the item that says how many are deleted; that of live ones is first */
    size_t fields_at;  /* the master's first field */
    size_t entries_at; /* the first entry */
};

struct stream_entry {
    struct stream_id id;
    size_t at;      /* its flags */
    size_t body_at; /* its first field, or value if it names no fields */
    uint32_t fields;
    unsigned flags; /* stream_entry_flags */
};

struct stream_node stream_node_read(const char *lp, struct stream_id master);
/* The entry whose flags are at `at`. */
struct stream_entry stream_entry_read(const struct stream_node *node, size_t at);
/* Where the next one begins; 0: that was the last. */
size_t stream_entry_end(const struct stream_node *node, const struct stream_entry *entry);
/* Where the one that ends at `at` begins. */
size_t stream_entry_before(const struct stream_node *node, size_t at);
/* The last one, deleted or not. */
struct stream_entry stream_node_last(const struct stream_node *node);
/* Whether an entry of these fields (the even ones of `pairs`) may leave them out. */
bool stream_node_has_fields(const struct stream_node *node, const struct bytes *pairs,
                            uint32_t fields);

/* Whether these are such a node, and whole: nothing here reads past the end of one. The ids of its
 * live entries, of which there is one at least, grow. */
bool stream_node_is_sound(struct bytes bytes, struct stream_id master);

#endif
