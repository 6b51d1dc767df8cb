/* SPDX-License-Identifier: BSD-3-Clause */
/* zset: sorted sets: members with a score each, in order of score and then of their bytes.
 *
 * Small ones are a listpack of member, score, member, score ... (packed.h), as Valkey has them;
 * large ones a tree and a table (zset_tree.h). Nobody else asks which.
 *
 * What is asked by score or by member is asked in two steps: which ranks are meant (a span), then a
 * walk over those. A change is made in two as well: find a member, then put it or remove it where
 * it was found.
 *
 * Thread: the owner's; what takes a `const struct value *` also whoever it is lent to.
 */
#ifndef SHOAL_SHARD_TYPES_ZSET_H
#define SHOAL_SHARD_TYPES_ZSET_H

#include "base/check.h"
#include "base/num.h"
#include "shard/ds/listpack.h"
#include "shard/ds/tree.h"
#include "shard/keys/change.h"

/* A member and its score. From a walk: valid until the next step. */
struct zset_item {
    struct bytes member;
    double score;
};

/* ---- Reading ---- */

uint64_t zset_count(const struct value *value);
/* It is no listpack. Users can tell by what the encodings say otherwise. */
bool zset_is_large(const struct value *value);
/* False: it is no member. */
bool zset_score(const struct value *value, struct bytes member, double *ret_score);
bool zset_rank(const struct value *value, struct bytes member, uint64_t *ret_rank,
               double *ret_score);

/* Ranks from start on, below end. */
struct zset_span {
    uint64_t start, end;
};
static inline uint64_t zset_span_count(struct zset_span span) {
    return span.end - span.start;
}

/* Limits are part of it if they are not open. No NaN. */
struct zset_scores {
    double min, max;
    bool min_open, max_open;
};
struct zset_span zset_span_of_scores(const struct value *value, const struct zset_scores *scores);

/* By the bytes of members, which makes sense if all have one score. */
enum zset_end { ZSET_LOWEST, ZSET_MEMBER, ZSET_HIGHEST };
struct zset_limit {
    enum zset_end end;
    bool open;
    struct bytes member; /* ZSET_MEMBER */
};
struct zset_members {
    struct zset_limit min, max;
};
struct zset_span zset_span_of_members(const struct value *value,
                                      const struct zset_members *members);

struct zset_walk {
    const char *lp; /* NULL: a tree */
    size_t at;
    bool down; /* towards lower ranks */
    char scratch[NUM_I64_BYTES];
    struct tree_iter iter;
};
/* Stands at this rank; behind the last (either) there is nothing. */
void zset_walk_init(struct zset_walk *walk, const struct value *value, uint64_t rank, bool down);
bool zset_walk_next_packed(struct zset_walk *walk, struct zset_item *ret);
static inline bool zset_walk_next(struct zset_walk *walk, struct zset_item *ret) {
    if (UNLIKELY(walk->lp != NULL)) {
        return zset_walk_next_packed(walk, ret);
    }
    const struct tree_item *item = tree_iter_next(&walk->iter);
    if (item != NULL) {
        *ret = (struct zset_item){tree_item_member(item), item->score};
    }
    return item != NULL;
}

/* A score as a listpack has it; its text, if it is no whole number, is written to `scratch`
 * (NUM_DOUBLE_BYTES). */
struct listpack_new zset_score_item(double score, char *scratch);

/* ---- Changing ---- */

/* What a listpack may have at most: zset-max-listpack-entries, -value. */
struct zset_bounds {
    uint64_t entries, member_bytes;
};

/* The key has an empty one from now on, in the form for so many members of at most so many bytes.
 */
void zset_make(struct change *change, const struct zset_bounds *bounds, uint64_t count,
               size_t member_bytes);
/* One that is there gets the form that it would have been made in for these. */
void zset_expect(struct change *change, const struct zset_bounds *bounds, uint64_t count,
                 size_t member_bytes);
/* The key has these from now on; they ascend, and may be what it had. */
void zset_make_of(struct change *change, const struct zset_bounds *bounds,
                  const struct zset_item *items, uint64_t count);

/* Where a member is, or that it is not there. Until the next change. */
struct zset_place {
    bool found;
    double score;
    uint64_t hash;
    size_t at;
    struct tree_item *item;
};
void zset_find(const struct value *value, struct bytes member, struct zset_place *ret);
/* Gives the member that was looked for this score, which is not NaN. */
void zset_put(struct change *change, const struct zset_bounds *bounds, struct bytes member,
              const struct zset_place *place, double score);
/* Removes what was found. */
void zset_remove(struct change *change, struct bytes member, const struct zset_place *place);
void zset_remove_span(struct change *change, struct zset_span span);

#endif
