/* SPDX-License-Identifier: BSD-3-Clause */
/* Sorted sets by ranges: of ranks, of scores, of members.
 *
 * A range is read from the arguments, becomes a span of ranks once the sorted set is known, and is
 * cut by LIMIT. From there on it does not matter how it was asked for.
 */
#include "base/arena.h"
#include "base/must.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/commands/sorted_set/sorted_set.h"

#include <math.h>
#include <stdlib.h>

enum range_by { BY_RANK, BY_SCORE, BY_MEMBER, BY_OPTION };
enum range_way { WAY_UP, WAY_DOWN, WAY_OPTION };

struct range {
    enum range_by by;
    bool down;
    bool with_scores;
    int64_t offset, limit; /* negative limit: no limit; negative offset: nothing */
    int64_t start, stop;
    struct zset_scores scores;
    struct zset_members members;
};

/* ---- Reading arguments ---- */

static bool score_limit(struct bytes text, double *ret, bool *ret_open) {
    *ret_open = text.len > 0 && text.ptr[0] == '(';
    return num_parse_limit(bytes_make(text.ptr + *ret_open, text.len - *ret_open), ret);
}

static bool member_limit(struct bytes text, struct zset_limit *ret) {
    *ret = (struct zset_limit){.end = ZSET_MEMBER};
    char first = text.len > 0 ? text.ptr[0] : 0;
    if (text.len == 1 && (first == '-' || first == '+')) {
        ret->end = first == '-' ? ZSET_LOWEST : ZSET_HIGHEST;
        return true;
    }
    ret->open = first == '(';
    ret->member = bytes_make(text.ptr + 1, text.len > 0 ? text.len - 1 : 0);
    return first == '(' || first == '[';
}

static bool range_ends(const struct exec *x, uint32_t min, uint32_t max, struct range *range) {
    const struct bytes *argv = x->argv;
    if (range->by == BY_RANK) {
        return exec_arg_i64(x, min, &range->start) && exec_arg_i64(x, max, &range->stop);
    }
    if (range->by == BY_SCORE) {
        struct zset_scores *scores = &range->scores;
        if (!score_limit(argv[min], &scores->min, &scores->min_open) ||
            !score_limit(argv[max], &scores->max, &scores->max_open)) {
            reply_error(x->reply, "ERR min or max is not a float");
            return false;
        }
    } else if (!member_limit(argv[min], &range->members.min) ||
               !member_limit(argv[max], &range->members.max)) {
        reply_error(x->reply, "ERR min or max not valid string range item");
        return false;
    }
    return true;
}

/* Of a command whose source is at `source`: its ends follow, then options. What the command's name
 * says already is not `_OPTION`. */
static bool range_read(const struct exec *x, uint32_t source, enum range_by by, enum range_way way,
                       bool stores, struct range *ret) {
    *ret = (struct range){.limit = -1};
    for (uint32_t i = source + 3; i < x->argc; i++) {
        struct bytes word = x->argv[i];
        if (!stores && bytes_is(word, "withscores")) {
            ret->with_scores = true;
        } else if (bytes_is(word, "limit") && i + 2 < x->argc) {
            if (!exec_arg_i64(x, i + 1, &ret->offset) || !exec_arg_i64(x, i + 2, &ret->limit)) {
                return false;
            }
            i += 2;
        } else if (way == WAY_OPTION && bytes_is(word, "rev")) {
            way = WAY_DOWN;
        } else if (by == BY_OPTION && bytes_is(word, "bylex")) {
            by = BY_MEMBER;
        } else if (by == BY_OPTION && bytes_is(word, "byscore")) {
            by = BY_SCORE;
        } else {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
    }
    ret->by = by == BY_OPTION ? BY_RANK : by;
    ret->down = way == WAY_DOWN;
    if (ret->limit != -1 && ret->by == BY_RANK) {
        reply_error(x->reply, "ERR syntax error, LIMIT is only supported in combination with "
                              "either BYSCORE or BYLEX");
        return false;
    }
    if (ret->with_scores && ret->by == BY_MEMBER) {
        reply_error(x->reply,
                    "ERR syntax error, WITHSCORES not supported in combination with BYLEX");
        return false;
    }
    bool swapped = ret->down && ret->by != BY_RANK;
    return range_ends(x, source + 1 + swapped, source + 2 - swapped, ret);
}

/* ---- From a range to a span ---- */

static struct zset_span span_of_ranks(int64_t start, int64_t stop, uint64_t count, bool down) {
    int64_t n = (int64_t)count;
    start = start < 0 ? start + n : start;
    stop = stop < 0 ? stop + n : stop;
    start = start < 0 ? 0 : start;
    stop = stop >= n ? n - 1 : stop;
    if (start > stop || start >= n) {
        return (struct zset_span){0, 0};
    }
    return down ? (struct zset_span){(uint64_t)(n - 1 - stop), (uint64_t)(n - start)}
                : (struct zset_span){(uint64_t)start, (uint64_t)stop + 1};
}

/* A negative offset leaves nothing of a small set; of a large one it counts from the far end of the
 * range, as it has come to do in Valkey. */
static struct zset_span span_of_far_end(struct zset_span span, const struct range *range,
                                        bool large) {
    uint64_t wanted = -(uint64_t)range->offset;
    if (!large || wanted > zset_span_count(span)) {
        return (struct zset_span){0, 0};
    }
    return range->down ? (struct zset_span){span.start, span.start + wanted}
                       : (struct zset_span){span.end - wanted, span.end};
}

static struct zset_span span_cut(struct zset_span span, const struct range *range, bool large) {
    uint64_t offset = (uint64_t)range->offset;
    if (UNLIKELY(range->offset < 0)) {
        span = span_of_far_end(span, range, large);
        offset = 0;
    }
    uint64_t count = zset_span_count(span);
    if (offset >= count) {
        return (struct zset_span){0, 0};
    }
    count -= offset;
    if (range->limit >= 0 && (uint64_t)range->limit < count) {
        count = (uint64_t)range->limit;
    }
    uint64_t start = range->down ? span.end - offset - count : span.start + offset;
    return (struct zset_span){start, start + count};
}

static struct zset_span range_span(const struct range *range, const struct value *value) {
    bool large = zset_is_large(value);
    switch (range->by) {
    case BY_SCORE:
        return span_cut(zset_span_of_scores(value, &range->scores), range, large);
    case BY_MEMBER:
        return span_cut(zset_span_of_members(value, &range->members), range, large);
    default:
        return span_of_ranks(range->start, range->stop, zset_count(value), range->down);
    }
}

/* ---- ZRANGE and what it replaced ---- */

static void reply_span(struct reply *r, const struct value *value, struct zset_span span, bool down,
                       bool with_scores) {
    uint64_t count = zset_span_count(span);
    reply_array(r, with_scores && r->resp == 2 ? count * 2 : count);
    if (count == 0) {
        return;
    }
    struct zset_walk walk;
    struct zset_item item;
    zset_walk_init(&walk, value, down ? span.end - 1 : span.start, down);
    if (LIKELY(!with_scores)) {
        struct reply_bulks bulks = {.reply = r};
        for (uint64_t i = 0; i < count; i++) {
            check(zset_walk_next(&walk, &item));
            reply_bulks_add(&bulks, item.member);
        }
        reply_bulks_end(&bulks);
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        check(zset_walk_next(&walk, &item));
        if (r->resp > 2) {
            reply_array(r, 2);
        }
        reply_bulk(r, item.member);
        reply_double(r, item.score);
    }
}

static void range(struct exec *x, enum range_by by, enum range_way way) {
    struct range range;
    struct value value;
    if (range_read(x, 1, by, way, false, &range) &&
        sorted_set_find(x, sorted_set_reply_empty, &value)) {
        reply_span(x->reply, &value, range_span(&range, &value), range.down, range.with_scores);
    }
}

void command_zrange(struct exec *x) {
    range(x, BY_OPTION, WAY_OPTION);
}

void command_zrevrange(struct exec *x) {
    range(x, BY_RANK, WAY_DOWN);
}

void command_zrangebyscore(struct exec *x) {
    range(x, BY_SCORE, WAY_UP);
}

void command_zrevrangebyscore(struct exec *x) {
    range(x, BY_SCORE, WAY_DOWN);
}

void command_zrangebylex(struct exec *x) {
    range(x, BY_MEMBER, WAY_UP);
}

void command_zrevrangebylex(struct exec *x) {
    range(x, BY_MEMBER, WAY_DOWN);
}

/* ---- Counting ---- */

static void count(struct exec *x, enum range_by by) {
    struct range range = {.by = by, .limit = -1};
    struct value value;
    if (range_ends(x, 2, 3, &range) && sorted_set_find(x, sorted_set_reply_zero, &value)) {
        reply_int(x->reply, (int64_t)zset_span_count(range_span(&range, &value)));
    }
}

void command_zcount(struct exec *x) {
    count(x, BY_SCORE);
}

void command_zlexcount(struct exec *x) {
    count(x, BY_MEMBER);
}

/* ---- Removing ---- */

static void remove_range(struct exec *x, enum range_by by, enum key_event event) {
    struct range range = {.by = by, .limit = -1};
    struct change change;
    if (!range_ends(x, 2, 3, &range) || !sorted_set_open(x, sorted_set_reply_zero, &change)) {
        return;
    }
    struct zset_span span = range_span(&range, &change.value);
    zset_remove_span(&change, span);
    uint64_t removed = zset_span_count(span);
    change_close(&change, removed > 0 ? event : EVENT_NONE);
    keyspace_count_elements(x->keyspace, removed);
    reply_int(x->reply, (int64_t)removed);
}

void command_zremrangebyrank(struct exec *x) {
    remove_range(x, BY_RANK, EVENT_ZREMRANGEBYRANK);
}

void command_zremrangebyscore(struct exec *x) {
    remove_range(x, BY_SCORE, EVENT_ZREMRANGEBYSCORE);
}

void command_zremrangebylex(struct exec *x) {
    remove_range(x, BY_MEMBER, EVENT_ZREMRANGEBYLEX);
}

/* ---- ZRANGESTORE ---- */

/* The members of a span, ascending. Texts that the walk makes up are copied into the arena. */
static struct zset_item *span_items(const struct value *value, struct zset_span span,
                                    struct arena *arena) {
    uint64_t count = zset_span_count(span);
    struct zset_item *items = must_malloc(count * sizeof *items);
    struct zset_walk walk;
    zset_walk_init(&walk, value, span.start, false);
    for (uint64_t i = 0; i < count; i++) {
        check(zset_walk_next(&walk, &items[i]));
        if (items[i].member.ptr == walk.scratch) {
            char *copy = arena_alloc(arena, items[i].member.len);
            memcpy(copy, walk.scratch, items[i].member.len);
            items[i].member.ptr = copy;
        }
    }
    return items;
}

/* In Valkey they are added one by one, in the order of the range, to what is a listpack at first:
 * that knows no negative zero. How many there are it knows only of ranks. */
static void lose_signs_of_zeros(const struct exec *x, const struct range *range,
                                struct zset_item *items, uint64_t count) {
    struct zset_bounds bounds = sorted_set_bounds(x);
    uint64_t packed = count < bounds.entries ? count : bounds.entries;
    packed = range->by == BY_RANK && count > bounds.entries ? 0 : packed;
    for (uint64_t i = 0; i < packed; i++) {
        struct zset_item *item = &items[range->down ? count - 1 - i : i];
        if (item->member.len > bounds.member_bytes) {
            break;
        }
        item->score += 0.0;
    }
}

void command_zrangestore(struct exec *x) {
    struct range range;
    struct loan source;
    if (!range_read(x, 2, BY_OPTION, WAY_OPTION, true, &range)) {
        return;
    }
    struct zset_span span = {0, 0};
    if (exec_input(x, 2, LOOKUP_READ, &source)) {
        if (source.value.type != TYPE_ZSET) {
            reply_error(x->reply, ERR_WRONG_TYPE);
            return;
        }
        span = range_span(&range, &source.value);
    }
    if (zset_span_count(span) == 0) {
        sorted_set_store(x, &x->key, NULL, 0, EVENT_ZRANGESTORE);
        return;
    }
    struct arena arena;
    arena_init(&arena, 4096);
    struct zset_item *items = span_items(&source.value, span, &arena);
    lose_signs_of_zeros(x, &range, items, zset_span_count(span));
    sorted_set_store(x, &x->key, items, zset_span_count(span), EVENT_ZRANGESTORE);
    free(items);
    arena_fini(&arena);
}
