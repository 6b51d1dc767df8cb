/* SPDX-License-Identifier: BSD-3-Clause */
/* Unions, intersections and differences of sorted sets; plain sets among them have the score 1 for
 * every member.
 *
 * No input is copied: what is found is an array of members, which point into the inputs, and
 * scores. A union gathers it through a table of its own, an intersection goes through the smallest
 * input and looks into the others. Inputs are in order of their scores, so that what came of them
 * is nearly so, and sorted by putting together the runs that ascend already.
 */
#include "base/arena.h"
#include "base/hash.h"
#include "base/must.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/commands/sorted_set/sorted_set.h"
#include "server/server.h"
#include "server/worker/view.h"
#include "shard/types/set.h"

#include <math.h>
#include <stdlib.h>

enum algebra { UNION, INTER, DIFF };
enum aggregate { SUM, MIN, MAX };

struct source {
    struct value value;
    uint64_t count; /* 0: the key has nothing */
    double weight;
};

struct operation {
    enum algebra algebra;
    enum aggregate aggregate;
    bool stores, counts; /* ...STORE, ZINTERCARD */
    bool with_scores;
    uint64_t limit; /* of what is counted; 0: none */
    struct source *sources;
    uint32_t source_count;
    struct zset_item *items; /* what came of it */
    uint64_t item_count, item_room;
    struct arena arena; /* texts that stand nowhere else */
};

/* ---- Arguments ---- */

static bool inputs_read(const struct exec *x, uint32_t first, struct operation *op) {
    for (uint32_t i = 0; i < op->source_count; i++) {
        struct source *source = &op->sources[i];
        struct loan loan;
        *source = (struct source){.weight = 1};
        if (!exec_input(x, first + i, LOOKUP_READ, &loan)) {
            continue;
        }
        if (loan.value.type != TYPE_ZSET && loan.value.type != TYPE_SET) {
            reply_error(x->reply, ERR_WRONG_TYPE);
            return false;
        }
        source->value = loan.value;
        source->count =
            loan.value.type == TYPE_SET ? set_count(&loan.value) : zset_count(&loan.value);
    }
    return true;
}

static bool weights_read(const struct exec *x, uint32_t first, struct operation *op) {
    for (uint32_t i = 0; i < op->source_count; i++) {
        if (!num_parse_double(x->argv[first + i], &op->sources[i].weight)) {
            reply_error(x->reply, "ERR weight value is not a float");
            return false;
        }
    }
    return true;
}

static bool aggregate_read(struct bytes word, enum aggregate *ret) {
    if (bytes_is(word, "sum")) {
        *ret = SUM;
    } else if (bytes_is(word, "min")) {
        *ret = MIN;
    } else if (bytes_is(word, "max")) {
        *ret = MAX;
    } else {
        return false;
    }
    return true;
}

static bool options_read(const struct exec *x, uint32_t first, struct operation *op) {
    bool weighs = op->algebra != DIFF && !op->counts;
    for (uint32_t i = first; i < x->argc; i++) {
        struct bytes word = x->argv[i];
        uint32_t left = x->argc - i - 1;
        if (weighs && left >= op->source_count && bytes_is(word, "weights")) {
            if (!weights_read(x, i + 1, op)) {
                return false;
            }
            i += op->source_count;
        } else if (weighs && left >= 1 && bytes_is(word, "aggregate") &&
                   aggregate_read(x->argv[i + 1], &op->aggregate)) {
            i++;
        } else if (!op->stores && !op->counts && bytes_is(word, "withscores")) {
            op->with_scores = true;
        } else if (op->counts && left >= 1 && bytes_is(word, "limit")) {
            int64_t limit;
            if (!exec_arg_range(x, ++i, 0, INT64_MAX, "ERR LIMIT can't be negative", &limit)) {
                return false;
            }
            op->limit = (uint64_t)limit;
        } else {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

static bool operation_read(const struct exec *x, uint32_t numkeys_index, struct operation *op) {
    int64_t keys;
    if (!exec_arg_i64(x, numkeys_index, &keys)) {
        return false;
    }
    if (keys < 1) {
        reply_errorf(x->reply, "ERR at least 1 input key is needed for '%s' command",
                     x->command->name);
        return false;
    }
    if (keys > (int64_t)x->argc - numkeys_index - 1) {
        reply_error(x->reply, ERR_SYNTAX);
        return false;
    }
    op->source_count = (uint32_t)keys;
    op->sources = must_calloc(op->source_count, sizeof *op->sources);
    uint32_t first = numkeys_index + 1;
    return inputs_read(x, first, op) && options_read(x, first + op->source_count, op);
}

/* ---- Sources ---- */

struct source_walk {
    const struct source *source;
    struct zset_walk scored;
    struct set_walk plain;
    struct set_member member;
};

static void source_walk_init(struct source_walk *walk, const struct source *source) {
    walk->source = source;
    if (source->value.type == TYPE_SET) {
        walk->plain = set_walk(&source->value);
    } else {
        zset_walk_init(&walk->scored, &source->value, 0, false);
    }
}

static bool source_next(struct source_walk *walk, struct zset_item *ret) {
    if (walk->source->value.type != TYPE_SET) {
        return zset_walk_next(&walk->scored, ret);
    }
    if (!set_next(&walk->plain, &walk->member)) {
        return false;
    }
    *ret = (struct zset_item){set_text(&walk->member), 1};
    return true;
}

static bool source_score(const struct source *source, struct bytes member, double *ret_score) {
    if (source->count == 0) {
        return false;
    }
    if (source->value.type != TYPE_SET) {
        return zset_score(&source->value, member, ret_score);
    }
    struct set_member looked_for;
    set_member_text(&looked_for, member);
    *ret_score = 1;
    return set_has(&source->value, &looked_for);
}

static bool is_made_up(const struct source_walk *walk, struct bytes member) {
    const char *from = (const char *)walk, *to = (const char *)(walk + 1);
    return member.ptr >= from && member.ptr < to;
}

/* ---- What comes of it ---- */

static struct zset_item *result_add(struct operation *op, const struct source_walk *walk,
                                    const struct zset_item *item, double score) {
    if (op->item_count == op->item_room) {
        op->item_room = op->item_room > 0 ? op->item_room * 2 : 64;
        op->items = must_realloc(op->items, op->item_room * sizeof *op->items);
    }
    struct zset_item *added = &op->items[op->item_count++];
    *added = (struct zset_item){item->member, score};
    if (is_made_up(walk, item->member)) {
        char *copy = arena_alloc(&op->arena, item->member.len);
        memcpy(copy, item->member.ptr, item->member.len);
        added->member.ptr = copy;
    }
    return added;
}

static double weighed(double weight, double score) {
    double product = weight * score;
    return isnan(product) ? 0 : product; /* infinity times nothing */
}

static double combine(enum aggregate aggregate, double score, double other) {
    if (aggregate == MIN) {
        return other < score ? other : score;
    }
    if (aggregate == MAX) {
        return other > score ? other : score;
    }
    double sum = score + other;
    return isnan(sum) ? 0 : sum; /* infinity and minus infinity */
}

static int source_compare(const struct source *a, const struct source *b) {
    return (a->count > b->count) - (a->count < b->count);
}

/* The smallest first, equal ones as they were: sums of floats depend on it. */
static void sort_sources(struct operation *op) {
    for (uint32_t i = 1; i < op->source_count; i++) {
        struct source source = op->sources[i];
        uint32_t at = i;
        for (; at > 0 && source_compare(&op->sources[at - 1], &source) > 0; at--) {
            op->sources[at] = op->sources[at - 1];
        }
        op->sources[at] = source;
    }
}

static void intersect(struct operation *op) {
    sort_sources(op);
    const struct source *smallest = &op->sources[0];
    if (smallest->count == 0) {
        return;
    }
    struct source_walk walk;
    struct zset_item item;
    source_walk_init(&walk, smallest);
    while (source_next(&walk, &item)) {
        double score = weighed(smallest->weight, item.score), other;
        uint32_t i = 1;
        for (; i < op->source_count && source_score(&op->sources[i], item.member, &other); i++) {
            score = combine(op->aggregate, score, other * op->sources[i].weight);
        }
        if (i < op->source_count) {
            continue;
        }
        if (!op->counts) {
            result_add(op, &walk, &item, score);
        } else if (++op->item_count == op->limit) {
            return;
        }
    }
}

static void subtract(struct operation *op) {
    if (op->sources[0].count == 0) {
        return;
    }
    struct source_walk walk;
    struct zset_item item;
    source_walk_init(&walk, &op->sources[0]);
    while (source_next(&walk, &item)) {
        double unused;
        uint32_t i = 1;
        while (i < op->source_count && !source_score(&op->sources[i], item.member, &unused)) {
            i++;
        }
        if (i == op->source_count) {
            result_add(op, &walk, &item, item.score);
        }
    }
}

/* What is in the union so far: places in `items`, by the hashes of members. It grows with the
 * union, which may have far fewer members than its inputs together. */
struct gathering {
    const unsigned char *secret;
    struct place {
        uint32_t tag;   /* of the hash: where it is looked for first */
        uint32_t index; /* + 1; 0: nobody's */
    } * places;
    uint64_t mask;
};

/* Room for so many members: a third of the places stays empty. */
static void gathering_make(struct gathering *gathering, uint64_t members) {
    uint64_t room = 64;
    while (room < members + members / 2) {
        room *= 2;
    }
    gathering->places = must_calloc(room, sizeof *gathering->places);
    gathering->mask = room - 1;
}

static void gathering_init(struct gathering *gathering, const struct exec *x,
                           const struct operation *op) {
    uint64_t sum = 0, largest = op->sources[op->source_count - 1].count;
    for (uint32_t i = 0; i < op->source_count; i++) {
        sum += op->sources[i].count;
    }
    gathering->secret = worker_server(x->worker)->secret.bytes;
    gathering_make(gathering, sum < 2 * largest ? sum : 2 * largest);
}

static void gathering_grow(struct gathering *gathering) {
    struct place *old = gathering->places;
    uint64_t room = gathering->mask + 1;
    gathering_make(gathering, room);
    for (uint64_t i = 0; i < room; i++) {
        uint64_t at = old[i].tag & gathering->mask;
        if (old[i].index != 0) {
            while (gathering->places[at].index != 0) {
                at = (at + 1) & gathering->mask;
            }
            gathering->places[at] = old[i];
        }
    }
    free(old);
}

static void gather(struct gathering *gathering, struct operation *op,
                   const struct source_walk *walk, const struct zset_item *item, double score) {
    uint32_t tag = (uint32_t)hash_bytes(gathering->secret, item->member);
    uint64_t at = tag & gathering->mask;
    struct place *place = &gathering->places[at];
    while (place->index != 0) {
        struct zset_item *there = &op->items[place->index - 1];
        if (place->tag == tag && bytes_equal(there->member, item->member)) {
            there->score = combine(op->aggregate, there->score, score);
            return;
        }
        at = (at + 1) & gathering->mask;
        place = &gathering->places[at];
    }
    check(op->item_count < UINT32_MAX - 1);
    result_add(op, walk, item, score);
    *place = (struct place){tag, (uint32_t)op->item_count};
    if (op->item_count + op->item_count / 2 > gathering->mask) {
        gathering_grow(gathering);
    }
}

static void unite(const struct exec *x, struct operation *op) {
    sort_sources(op);
    struct gathering gathering;
    gathering_init(&gathering, x, op);
    for (uint32_t i = 0; i < op->source_count; i++) {
        const struct source *source = &op->sources[i];
        if (source->count == 0) {
            continue;
        }
        struct source_walk walk;
        struct zset_item item;
        source_walk_init(&walk, source);
        while (source_next(&walk, &item)) {
            gather(&gathering, op, &walk, &item, weighed(source->weight, item.score));
        }
    }
    free(gathering.places);
}

/* ---- Order ---- */

static bool stands_before(const struct zset_item *a, const struct zset_item *b) {
    if (a->score != b->score) {
        return a->score < b->score;
    }
    return bytes_compare(a->member, b->member) < 0;
}

/* The end of the run that begins here. */
static uint64_t run_end(const struct zset_item *items, uint64_t at, uint64_t count) {
    at++;
    while (at < count && stands_before(&items[at - 1], &items[at])) {
        at++;
    }
    return at;
}

static void merge(const struct zset_item *from, uint64_t start, uint64_t middle, uint64_t end,
                  struct zset_item *to) {
    uint64_t a = start, b = middle;
    for (uint64_t i = start; i < end; i++) {
        bool left = a < middle && (b == end || stands_before(&from[a], &from[b]));
        to[i] = left ? from[a++] : from[b++];
    }
}

/* Puts neighbouring runs together until there is one. */
void sorted_set_sort(struct zset_item **items, uint64_t count) {
    struct zset_item *from = *items, *to = NULL;
    while (count > 0 && run_end(from, 0, count) < count) {
        to = to != NULL ? to : must_malloc(count * sizeof *to);
        for (uint64_t start = 0; start < count;) {
            uint64_t middle = run_end(from, start, count);
            uint64_t end = middle < count ? run_end(from, middle, count) : count;
            merge(from, start, middle, end, to);
            start = end;
        }
        struct zset_item *swapped = from;
        from = to;
        to = swapped;
    }
    *items = from;
    free(to);
}

/* ---- Commands ---- */

static void reply_items(struct reply *r, const struct operation *op) {
    bool flat = op->with_scores && r->resp == 2;
    reply_array(r, flat ? op->item_count * 2 : op->item_count);
    for (uint64_t i = 0; i < op->item_count; i++) {
        if (op->with_scores && !flat) {
            reply_array(r, 2);
        }
        reply_bulk(r, op->items[i].member);
        if (op->with_scores) {
            reply_double(r, op->items[i].score);
        }
    }
}

static void run(struct exec *x, enum algebra algebra, uint32_t numkeys_index, bool counts,
                enum key_event event) {
    struct operation op = {.algebra = algebra, .stores = event != EVENT_NONE, .counts = counts};
    arena_init(&op.arena, 4096);
    if (operation_read(x, numkeys_index, &op)) {
        if (algebra == UNION) {
            unite(x, &op);
        } else if (algebra == INTER) {
            intersect(&op);
        } else {
            subtract(&op);
        }
        if (counts) {
            reply_int(x->reply, (int64_t)op.item_count);
        } else {
            sorted_set_sort(&op.items, op.item_count);
            if (op.stores) {
                sorted_set_store(x, &x->key, op.items, op.item_count, event);
            } else {
                reply_items(x->reply, &op);
            }
        }
    }
    free(op.items);
    free(op.sources);
    arena_fini(&op.arena);
}

void command_zunion(struct exec *x) {
    run(x, UNION, 1, false, EVENT_NONE);
}

void command_zinter(struct exec *x) {
    run(x, INTER, 1, false, EVENT_NONE);
}

void command_zdiff(struct exec *x) {
    run(x, DIFF, 1, false, EVENT_NONE);
}

void command_zintercard(struct exec *x) {
    run(x, INTER, 1, true, EVENT_NONE);
}

void command_zunionstore(struct exec *x) {
    run(x, UNION, 2, false, EVENT_ZUNIONSTORE);
}

void command_zinterstore(struct exec *x) {
    run(x, INTER, 2, false, EVENT_ZINTERSTORE);
}

void command_zdiffstore(struct exec *x) {
    run(x, DIFF, 2, false, EVENT_ZDIFFSTORE);
}
