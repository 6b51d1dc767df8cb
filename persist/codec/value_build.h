/* SPDX-License-Identifier: BSD-3-Clause */
/* value_build: a value made of elements that arrive one after the other, of which nobody knows
 * whether they make sense: twice the same member, a score that is none, the order of ids.
 *
 * It gets the form that it would have had if commands had made it, whatever the source had. What is
 * small is made in memory of the builder's; what is large is made in the keyspace's heap.
 *
 * Thread: the keyspace's owner's.
 * Ownership: the value is the builder's until it is taken; value_build_fini frees what was not. What
 * is made in the heap meanwhile is on the books of whoever calls (keyspace_making).
 */
#ifndef SHOAL_PERSIST_CODEC_VALUE_BUILD_H
#define SHOAL_PERSIST_CODEC_VALUE_BUILD_H

#include "base/text.h"
#include "persist/codec/packs.h"
#include "shard/types/hash.h"
#include "shard/types/list.h"
#include "shard/types/set.h"
#include "shard/types/stream.h"
#include "shard/types/string.h"
#include "shard/types/zset.h"

/* Up to which size a collection is one row of bytes. */
struct value_rules {
    struct list_rules list;
    struct set_limits set;
    struct zset_bounds zset;
    struct hash_limits hash;
};

struct value_build {
    struct keyspace *ks;
    const struct value_rules *rules;
    enum value_type type;
    uint64_t count;
    /* A string; a small hash or list as a listpack; members of a small sorted set. */
    struct text text;
    /* What it is otherwise, with a root. */
    struct value large;
    bool is_large;
    /* A small sorted set: where in `text` each member begins. */
    struct build_score *scores;
    uint64_t scores_room;
    struct set_edit set;
    bool set_is_open;
};

void value_build_init(struct value_build *build, struct keyspace *ks,
                      const struct value_rules *rules, enum value_type type);
/* So many elements are to come, says the source, which is believed only as far as the choice of a
 * form goes. Before the first of them. */
void value_build_expect(struct value_build *build, uint64_t count);
void value_build_fini(struct value_build *build);

/* Of one that has no element yet. */
void value_build_string(struct value_build *build, struct bytes text);
void value_build_push(struct value_build *build, struct bytes text);
/* The elements of a sound listpack, behind those that are there: a node of a long list. */
void value_build_push_node(struct value_build *build, struct bytes listpack);
/* Puts an item behind those of a listpack, or of nothing. */
void value_build_pack(struct text *pack, const struct listpack_new *item);
/* These return what is wrong with it, or NULL. The value then makes no sense any more. */
const char *value_build_member(struct value_build *build, struct bytes member);
const char *value_build_score(struct value_build *build, struct bytes member, double score);
/* `deadline`: or NO_EXPIRY. */
const char *value_build_field(struct value_build *build, struct bytes name, struct bytes value,
                              int64_t deadline);
/* A stream, empty at first, which is filled by its own functions. */
static inline struct stream *value_build_stream(struct value_build *build) {
    return stream_of(&build->large);
}

/* That was all: what can only be seen then, or NULL. */
const char *value_build_end(struct value_build *build);
/* Without elements it is no value. Never of a string or stream. */
static inline bool value_build_is_empty(const struct value_build *build) {
    return build->count == 0 && build->type != TYPE_STRING && !type_may_be_empty(build->type);
}
/* What it is, after value_build_end. A root is the caller's from now on (for
 * keyspace_take), a row of bytes is valid as long as the builder is. */
struct value value_build_take(struct value_build *build);

#endif
