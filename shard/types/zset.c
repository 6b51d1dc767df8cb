/* SPDX-License-Identifier: BSD-3-Clause */
/* Sorted sets of either form.
 *
 * In a listpack a score that is an integer is stored as one, any other as its shortest text. It is
 * gone through from its beginning: 128 pairs by default.
 */
#include "shard/types/zset.h"

#include "base/check.h"
#include "base/must.h"
#include "shard/memory/heap.h"
#include "shard/types/packed.h"
#include "shard/types/zset_tree.h"

#include <math.h>
#include <stdlib.h>

static const struct zset_tree *tree_of(const struct value *value) {
    check_slow(value->form == FORM_TREE);
    return value->root;
}

/* ---- Pairs in a listpack ---- */

static double score_at(const char *lp, size_t at) {
    struct listpack_item item = listpack_get(lp, at);
    double score = (double)item.number;
    if (item.text != NULL) {
        check(num_parse_double(bytes_make(item.text, item.length), &score));
    }
    return score;
}

static struct bytes member_at(const char *lp, size_t at, char *scratch) {
    struct listpack_item item = listpack_get(lp, at);
    return listpack_text(&item, scratch);
}

static size_t next_pair(const char *lp, size_t at) {
    return listpack_next(lp, listpack_next(lp, at));
}

/* How a score is stored; a text stands in `scratch` (NUM_DOUBLE_BYTES). */
struct listpack_new zset_score_item(double score, char *scratch) {
    if (score > -0x1p62 && score < 0x1p62 && score == (double)(int64_t)score) {
        return listpack_new_int((int64_t)score);
    }
    return listpack_new(bytes_make(scratch, num_format_double(scratch, score)));
}

/* A bound among pairs, as it would be in a tree. */
static bool pair_stands_before(const char *lp, size_t at, const struct tree_bound *bound) {
    double score = score_at(lp, listpack_next(lp, at));
    if (score != bound->score || !bound->by_member) {
        return score < bound->score || (score == bound->score && bound->behind);
    }
    char scratch[NUM_I64_BYTES];
    return bytes_compare(member_at(lp, at, scratch), bound->member) < 0;
}

/* Scores that are texts take longer to read than to pass by: one in so many is looked at first. */
#define PAIRS_A_STEP 8

/* The first pair from `at` on that does not stand before the bound, 0: none. Adds to *rank how many
 * do. */
static size_t seek_pair(const char *lp, size_t at, const struct tree_bound *bound, uint64_t *rank) {
    size_t probe = at;
    unsigned passed = 0;
    while (probe != 0) {
        at = probe;
        for (passed = 0; passed < PAIRS_A_STEP && probe != 0; passed++) {
            probe = next_pair(lp, probe);
        }
        if (probe == 0 || !pair_stands_before(lp, probe, bound)) {
            break;
        }
        *rank += passed;
    }
    while (at != probe && pair_stands_before(lp, at, bound)) {
        at = next_pair(lp, at);
        ++*rank;
    }
    return at;
}

/* ---- Reading ---- */

uint64_t zset_count(const struct value *value) {
    return value_is_listpack(value) ? listpack_count(packed_start(value)) / 2
                                    : tree_of(value)->tree.count;
}

bool zset_is_large(const struct value *value) {
    return !value_is_listpack(value);
}

void zset_find(const struct value *value, struct bytes member, struct zset_place *ret) {
    *ret = (struct zset_place){0};
    if (value_is_listpack(value)) {
        const char *lp = packed_start(value);
        struct listpack_new item = listpack_new(member);
        ret->at = listpack_find(lp, listpack_first(lp), &item, 2);
        ret->found = ret->at != 0;
        ret->score = ret->found ? score_at(lp, listpack_next(lp, ret->at)) : 0;
    } else {
        const struct zset_tree *zset = tree_of(value);
        ret->hash = zset_tree_hash(zset, member);
        ret->item = zset_tree_find(zset, ret->hash, member);
        ret->found = ret->item != NULL;
        ret->score = ret->found ? ret->item->score : 0;
    }
}

bool zset_score(const struct value *value, struct bytes member, double *ret_score) {
    struct zset_place place;
    zset_find(value, member, &place);
    *ret_score = place.score;
    return place.found;
}

bool zset_rank(const struct value *value, struct bytes member, uint64_t *ret_rank,
               double *ret_score) {
    if (!value_is_listpack(value)) {
        struct zset_place place;
        zset_find(value, member, &place);
        if (place.found) {
            *ret_rank = tree_rank(&tree_of(value)->tree, place.item);
            *ret_score = place.score;
        }
        return place.found;
    }
    const char *lp = packed_start(value);
    struct listpack_new item = listpack_new(member);
    uint64_t rank = 0;
    for (size_t at = listpack_first(lp); at != 0; at = next_pair(lp, at), rank++) {
        if (listpack_equals(lp, at, &item)) {
            *ret_rank = rank;
            *ret_score = score_at(lp, listpack_next(lp, at));
            return true;
        }
    }
    return false;
}

/* ---- Spans ---- */

static struct zset_span span_make(uint64_t start, uint64_t end) {
    return (struct zset_span){start, end > start ? end : start};
}

struct zset_span zset_span_of_scores(const struct value *value, const struct zset_scores *scores) {
    if (scores->min > scores->max) {
        return span_make(0, 0);
    }
    struct tree_bound min = {.by_score = true, .score = scores->min, .behind = scores->min_open};
    struct tree_bound max = {.by_score = true, .score = scores->max, .behind = !scores->max_open};
    if (!value_is_listpack(value)) {
        const struct tree *tree = &tree_of(value)->tree;
        return span_make(tree_rank_of(tree, &min), tree_rank_of(tree, &max));
    }
    const char *lp = packed_start(value);
    uint64_t start = 0;
    size_t at = seek_pair(lp, listpack_first(lp), &min, &start);
    uint64_t end = start;
    seek_pair(lp, at, &max, &end);
    return span_make(start, end);
}

static uint64_t rank_of_limit(const struct tree *tree, const struct zset_limit *limit,
                              bool behind) {
    if (limit->end != ZSET_MEMBER) {
        return limit->end == ZSET_LOWEST ? 0 : tree->count;
    }
    struct tree_bound bound = {.by_member = true, .member = limit->member, .behind = behind};
    return tree_rank_of(tree, &bound);
}

/* Whether it stands before the limit, in the order of bytes. */
static bool member_is_below(struct bytes member, const struct zset_limit *limit, bool or_equal) {
    if (limit->end != ZSET_MEMBER) {
        return limit->end == ZSET_HIGHEST;
    }
    int order = bytes_compare(member, limit->member);
    return order < 0 || (or_equal && order == 0);
}

static bool no_member_is_between(const struct zset_limit *min, const struct zset_limit *max) {
    if (min->end != ZSET_MEMBER || max->end != ZSET_MEMBER) {
        return min->end == ZSET_HIGHEST || max->end == ZSET_LOWEST;
    }
    int order = bytes_compare(min->member, max->member);
    return order > 0 || (order == 0 && (min->open || max->open));
}

struct zset_span zset_span_of_members(const struct value *value,
                                      const struct zset_members *members) {
    const struct zset_limit *min = &members->min, *max = &members->max;
    if (no_member_is_between(min, max)) {
        return span_make(0, 0);
    }
    if (!value_is_listpack(value)) {
        const struct tree *tree = &tree_of(value)->tree;
        return span_make(rank_of_limit(tree, min, min->open), rank_of_limit(tree, max, !max->open));
    }
    /* From the first that is not below on, as far as they are not above: also where scores differ
     * and members are in no order. */
    const char *lp = packed_start(value);
    char scratch[NUM_I64_BYTES];
    size_t at = listpack_first(lp);
    uint64_t start = 0, end;
    while (at != 0 && member_is_below(member_at(lp, at, scratch), min, min->open)) {
        at = next_pair(lp, at);
        start++;
    }
    for (end = start; at != 0; end++, at = next_pair(lp, at)) {
        if (!member_is_below(member_at(lp, at, scratch), max, !max->open)) {
            break;
        }
    }
    return span_make(start, end);
}

/* ---- Walking ---- */

void zset_walk_init(struct zset_walk *walk, const struct value *value, uint64_t rank, bool down) {
    walk->down = down;
    walk->lp = NULL;
    if (value_is_listpack(value)) {
        walk->lp = packed_start(value);
        walk->at = rank < zset_count(value) ? listpack_seek(walk->lp, (int64_t)rank * 2) : 0;
        return;
    }
    const struct tree *tree = &tree_of(value)->tree;
    if (rank < tree->count) {
        tree_iter_init(&walk->iter, tree, rank, down);
    } else {
        walk->iter.leaf = NULL;
    }
}

bool zset_walk_next_packed(struct zset_walk *walk, struct zset_item *ret) {
    size_t at = walk->at;
    if (at == 0) {
        return false;
    }
    size_t score = listpack_next(walk->lp, at);
    ret->member = member_at(walk->lp, at, walk->scratch);
    ret->score = score_at(walk->lp, score);
    if (walk->down) {
        size_t before = listpack_prev(walk->lp, at);
        walk->at = before != 0 ? listpack_prev(walk->lp, before) : 0;
    } else {
        walk->at = listpack_next(walk->lp, score);
    }
    return true;
}

/* ---- Forms ---- */

static void become_tree(struct change *change) {
    struct shard_heap *heap = change_heap(change);
    struct zset_tree *zset = zset_tree_new(heap, change_secret(change));
    struct zset_walk walk;
    struct zset_item item;
    zset_walk_init(&walk, &change->value, 0, false);
    while (zset_walk_next(&walk, &item)) {
        zset_tree_add(heap, zset, zset_tree_hash(zset, item.member), item.member, item.score);
    }
    packed_leave(change);
    change->value.form = FORM_TREE;
    change->value.root = zset;
}

static bool fits_listpack(const struct zset_bounds *bounds, uint64_t count, size_t member_bytes) {
    return count <= bounds->entries && member_bytes <= bounds->member_bytes;
}

static struct value tree_value(struct zset_tree *zset) {
    return (struct value){.type = TYPE_ZSET, .form = FORM_TREE, .root = zset};
}

void zset_make(struct change *change, const struct zset_bounds *bounds, uint64_t count,
               size_t member_bytes) {
    if (fits_listpack(bounds, count, member_bytes)) {
        packed_make(change, TYPE_ZSET);
    } else {
        change_make(change, tree_value(zset_tree_new(change_heap(change), change_secret(change))));
    }
}

void zset_expect(struct change *change, const struct zset_bounds *bounds, uint64_t count,
                 size_t member_bytes) {
    if (value_is_listpack(&change->value) && !fits_listpack(bounds, count, member_bytes)) {
        become_tree(change);
    }
}

/* ---- Changing a listpack ---- */

static struct tree_bound bound_of(struct bytes member, double score) {
    return (struct tree_bound){
        .by_score = true, .by_member = true, .score = score, .member = member};
}

static void packed_add(struct change *change, struct bytes member, double score) {
    const char *lp = packed_start(&change->value);
    struct tree_bound bound = bound_of(member, score);
    uint64_t unused = 0;
    size_t at = listpack_last(lp);
    /* What is added at the end is found to be so at once. */
    at = at != 0 ? listpack_prev(lp, at) : 0;
    at = at == 0 || pair_stands_before(lp, at, &bound)
             ? 0
             : seek_pair(lp, listpack_first(lp), &bound, &unused);
    char scratch[NUM_DOUBLE_BYTES];
    struct listpack_new first = listpack_new(member), second = zset_score_item(score, scratch);
    size_t bytes = packed_bytes(&change->value).len;
    at = at == 0 ? bytes - 1 : at;
    char *start = packed_splice(change, at, 0, first.bytes + second.bytes);
    listpack_put(listpack_put(start + at, &first), &second);
    listpack_changed(start, bytes + first.bytes + second.bytes, 2);
}

/* The pair of `bytes` at `at` belongs before the one at `to`, or (0) at the end. */
static void move_pair(char *lp, size_t at, size_t bytes, size_t to) {
    char room[512], *pair = bytes <= sizeof room ? room : must_malloc(bytes);
    memcpy(pair, lp + at, bytes);
    to = to == 0 ? listpack_bytes(lp) - 1 : to;
    if (to > at) {
        memmove(lp + at, lp + at + bytes, to - at - bytes);
        memcpy(lp + to - bytes, pair, bytes);
    } else {
        memmove(lp + to + bytes, lp + to, at - to);
        memcpy(lp + to, pair, bytes);
    }
    if (pair != room) {
        free(pair);
    }
}

static void packed_rescore(struct change *change, size_t at, double score) {
    size_t second = listpack_next(packed_start(&change->value), at);
    char scratch[NUM_DOUBLE_BYTES], member_scratch[NUM_I64_BYTES];
    struct listpack_new item = zset_score_item(score, scratch);
    packed_set(change, second, &item);
    char *lp = (char *)packed_start(&change->value);
    struct tree_bound bound = bound_of(member_at(lp, at, member_scratch), score);
    uint64_t unused = 0;
    size_t behind = listpack_next(lp, second), to = seek_pair(lp, behind, &bound, &unused);
    if (to == behind) {
        /* It does not stand before itself: at the latest it stays. */
        to = seek_pair(lp, listpack_first(lp), &bound, &unused);
    }
    if (to != at) {
        move_pair(lp, at, second - at + item.bytes, to);
    }
}

/* ---- Changing ---- */

void zset_put(struct change *change, const struct zset_bounds *bounds, struct bytes member,
              const struct zset_place *place, double score) {
    change_element(change, &member);
    struct value *value = &change->value;
    if (value_is_listpack(value)) {
        if (place->found) {
            packed_rescore(change, place->at, score);
            return;
        }
        struct bytes lp = packed_bytes(value);
        if (fits_listpack(bounds, zset_count(value) + 1, member.len) &&
            lp.len + member.len < LISTPACK_BYTES_MAX) {
            packed_add(change, member, score);
            return;
        }
        become_tree(change);
    }
    struct zset_tree *zset = value->root;
    if (place->found) {
        zset_tree_rescore(change_heap(change), zset, place->item, score);
    } else {
        uint64_t hash = place->hash != 0 ? place->hash : zset_tree_hash(zset, member);
        zset_tree_add(change_heap(change), zset, hash, member, score);
    }
}

void zset_remove(struct change *change, struct bytes member, const struct zset_place *place) {
    change_element(change, &member);
    if (value_is_listpack(&change->value)) {
        packed_remove(change, place->at, 2);
    } else {
        zset_tree_remove(change_heap(change), change->value.root, place->hash, place->item);
    }
}

/* Members of a tree that are about to go. */
static void tell_span(struct change *change, struct zset_span span) {
    if (LIKELY(!change_is_told(change))) {
        return;
    }
    struct zset_walk walk;
    struct zset_item item;
    zset_walk_init(&walk, &change->value, span.start, false);
    for (uint64_t n = zset_span_count(span); n > 0 && zset_walk_next(&walk, &item); n--) {
        change_element(change, &item.member);
    }
}

void zset_remove_span(struct change *change, struct zset_span span) {
    uint64_t count = zset_span_count(span);
    if (count == 0) {
        return;
    }
    if (value_is_listpack(&change->value)) {
        size_t at = listpack_seek(packed_start(&change->value), (int64_t)span.start * 2);
        packed_remove(change, at, (uint32_t)count * 2);
        return;
    }
    struct zset_tree *zset = change->value.root;
    struct zset_tree *rest = zset_tree_without(change_heap(change), zset, span.start, count);
    if (rest == NULL) {
        tell_span(change, span);
        zset_tree_remove_range(change_heap(change), zset, span.start, count);
        return;
    }
    struct value all = change->value;
    change->value.root = rest;
    change_discard(change, all);
}

/* ---- All at once ---- */

static void make_listpack(struct change *change, const struct zset_item *items, uint64_t count) {
    char scratch[NUM_DOUBLE_BYTES];
    size_t bytes = LISTPACK_EMPTY_BYTES;
    for (uint64_t i = 0; i < count; i++) {
        bytes +=
            listpack_new(items[i].member).bytes + zset_score_item(items[i].score, scratch).bytes;
    }
    struct value value = {.type = TYPE_ZSET};
    char room[PACKED_INLINE_MAX], *lp = room;
    if (bytes > PACKED_INLINE_MAX) {
        lp = heap_alloc(change_heap(change), bytes);
    }
    listpack_init(lp);
    char *to = lp + LISTPACK_HEADER_BYTES, end = *to;
    for (uint64_t i = 0; i < count; i++) {
        struct listpack_new first = listpack_new(items[i].member);
        struct listpack_new second = zset_score_item(items[i].score, scratch);
        to = listpack_put(listpack_put(to, &first), &second);
    }
    *to = end;
    listpack_changed(lp, bytes, (int64_t)count * 2);
    if (lp == room) {
        value.form = FORM_INLINE;
        value.bytes = bytes_make(lp, bytes);
    } else {
        value.form = FORM_LISTPACK;
        value.root = lp;
    }
    change_make(change, value);
}

void zset_make_of(struct change *change, const struct zset_bounds *bounds,
                  const struct zset_item *items, uint64_t count) {
    size_t longest = 0, sum = 0;
    for (uint64_t i = 0; i < count; i++) {
        longest = items[i].member.len > longest ? items[i].member.len : longest;
        sum += items[i].member.len + NUM_DOUBLE_BYTES;
    }
    if (fits_listpack(bounds, count, longest) && sum < LISTPACK_BYTES_MAX) {
        make_listpack(change, items, count);
        return;
    }
    struct shard_heap *heap = change_heap(change);
    struct zset_tree *zset = zset_tree_new(heap, change_secret(change));
    for (uint64_t i = 0; i < count; i++) {
        uint64_t hash = zset_tree_hash(zset, items[i].member);
        zset_tree_add(heap, zset, hash, items[i].member, items[i].score);
    }
    change_make(change, tree_value(zset));
}
