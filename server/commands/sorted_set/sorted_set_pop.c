/* SPDX-License-Identifier: BSD-3-Clause */
/* Sorted sets from their ends, at random, and piece by piece: ZPOPMIN, ZPOPMAX, ZRANDMEMBER, ZSCAN.
 */
#include "base/glob.h"
#include "base/must.h"
#include "base/num.h"
#include "base/outbuf.h"
#include "base/random.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/commands/sorted_set/sorted_set.h"
#include "server/worker/view.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ERR_MUST_BE_POSITIVE "ERR value is out of range, must be positive"

/* ---- Popping ---- */

/* Each as two elements of the reply, or as one of two. */
static void reply_item(struct reply *r, const struct zset_item *item, bool nested) {
    if (nested) {
        reply_array(r, 2);
    }
    reply_bulk(r, item->member);
    reply_double(r, item->score);
}

uint64_t sorted_set_pop(struct exec *x, const struct key *key, struct entry *entry,
                        const struct sorted_set_popping *popping) {
    struct change change;
    change_open(&change, x->keyspace, x->db, key, entry, x->now_ms);
    uint64_t all = zset_count(&change.value);
    uint64_t count = popping->count < all ? popping->count : all;
    bool nested = popping->nested, max = popping->max;
    if (popping->tells_key && nested) {
        reply_array(x->reply, 2);
        reply_bulk(x->reply, key->name);
        reply_array(x->reply, count);
    } else if (popping->tells_key) {
        reply_array(x->reply, count * 2 + 1);
        reply_bulk(x->reply, key->name);
    } else {
        reply_array(x->reply, nested ? count : count * 2);
    }
    struct zset_walk walk;
    struct zset_item item;
    zset_walk_init(&walk, &change.value, max ? all - 1 : 0, max);
    for (uint64_t i = 0; i < count && zset_walk_next(&walk, &item); i++) {
        reply_item(x->reply, &item, nested);
    }
    uint64_t start = max ? all - count : 0;
    zset_remove_span(&change, (struct zset_span){start, start + count});
    change_close(&change, max ? EVENT_ZPOPMAX : EVENT_ZPOPMIN);
    keyspace_count_elements(x->keyspace, count);
    return count;
}

static void pop(struct exec *x, bool max) {
    if (x->argc > 3) {
        reply_error(x->reply, ERR_SYNTAX);
        return;
    }
    int64_t count = 1;
    bool counted = x->argc == 3;
    if (counted && (!num_parse_i64(x->argv[2], &count) || count < 0)) {
        reply_error(x->reply, ERR_MUST_BE_POSITIVE);
        return;
    }
    struct entry *entry;
    if (!exec_find(x, &x->key, TYPE_ZSET, LOOKUP_WRITE, &entry)) {
        return;
    }
    if (entry == NULL || count == 0) {
        reply_array(x->reply, 0);
        return;
    }
    struct sorted_set_popping popping = {
        .max = max, .count = (uint64_t)count, .nested = counted && x->reply->resp > 2};
    sorted_set_pop(x, &x->key, entry, &popping);
}

void command_zpopmin(struct exec *x) {
    pop(x, false);
}

void command_zpopmax(struct exec *x) {
    pop(x, true);
}

/* ---- ZRANDMEMBER ---- */

static struct rng *random_of(const struct exec *x) {
    return worker_rng(x->worker);
}

static void reply_random_header(struct reply *r, uint64_t count, bool with_scores) {
    reply_array(r, with_scores && r->resp == 2 ? count * 2 : count);
}

static void reply_member(struct reply *r, const struct zset_item *item, bool with_scores) {
    if (with_scores) {
        reply_item(r, item, r->resp > 2);
    } else {
        reply_bulk(r, item->member);
    }
}

static void reply_at(struct reply *r, const struct value *value, uint64_t rank, bool with_scores) {
    struct zset_walk walk;
    struct zset_item item;
    zset_walk_init(&walk, value, rank, false);
    check(zset_walk_next(&walk, &item));
    reply_member(r, &item, with_scores);
}

/* Those of `wanted` ranks out of all, each equally likely, in their order: a rank is taken with the
 * chance that is left for it (D. Knuth, "The Art of Computer Programming" 2, 3.4.2, algorithm S).
 */
static void reply_sample(struct exec *x, const struct value *value, uint64_t wanted,
                         bool with_scores) {
    uint64_t left = zset_count(value);
    struct zset_walk walk;
    struct zset_item item;
    zset_walk_init(&walk, value, 0, false);
    for (; wanted > 0 && zset_walk_next(&walk, &item); left--) {
        if (rng_below(random_of(x), left) < wanted) {
            reply_member(x->reply, &item, with_scores);
            wanted--;
        }
    }
}

static int rank_compare(const void *a_ptr, const void *b_ptr) {
    uint64_t a = *(const uint64_t *)a_ptr, b = *(const uint64_t *)b_ptr;
    return (a > b) - (a < b);
}

/* A few out of many: ranks are drawn until so many different ones are there. */
static void reply_few(struct exec *x, const struct value *value, uint64_t wanted,
                      bool with_scores) {
    uint64_t *ranks = must_malloc(wanted * sizeof *ranks), all = zset_count(value), count = 0;
    while (count < wanted) {
        while (count < wanted) {
            ranks[count++] = rng_below(random_of(x), all);
        }
        qsort(ranks, count, sizeof *ranks, rank_compare);
        uint64_t different = 0;
        for (uint64_t i = 0; i < count; i++) {
            if (i == 0 || ranks[i] != ranks[i - 1]) {
                ranks[different++] = ranks[i];
            }
        }
        count = different;
    }
    for (uint64_t i = 0; i < count; i++) {
        reply_at(x->reply, value, ranks[i], with_scores);
    }
    free(ranks);
}

static void random_members(struct exec *x, int64_t count, bool with_scores) {
    struct value value;
    if (!sorted_set_find(x, sorted_set_reply_empty, &value)) {
        return;
    }
    uint64_t all = zset_count(&value);
    if (count < 0) {
        if (!exec_draws_fit(x, count)) {
            return;
        }
        uint64_t n = (uint64_t)-count;
        reply_random_header(x->reply, n, with_scores);
        for (uint64_t i = 0; i < n; i++) {
            reply_at(x->reply, &value, rng_below(random_of(x), all), with_scores);
        }
        return;
    }
    uint64_t wanted = (uint64_t)count < all ? (uint64_t)count : all;
    reply_random_header(x->reply, wanted, with_scores);
    if (wanted * 8 < all) {
        reply_few(x, &value, wanted, with_scores);
    } else {
        reply_sample(x, &value, wanted, with_scores);
    }
}

static void reply_nothing(struct reply *r) {
    reply_null(r);
}

void command_zrandmember(struct exec *x) {
    if (x->argc == 2) {
        struct value value;
        if (sorted_set_find(x, reply_nothing, &value)) {
            reply_at(x->reply, &value, rng_below(random_of(x), zset_count(&value)), false);
        }
        return;
    }
    int64_t count;
    if (!exec_arg_draws(x, 2, &count)) {
        return;
    }
    bool with_scores = x->argc == 4;
    if (x->argc > 4 || (with_scores && !bytes_is(x->argv[3], "withscores"))) {
        reply_error(x->reply, ERR_SYNTAX);
        return;
    }
    if (with_scores && (count < -(INT64_MAX / 2) || count > INT64_MAX / 2)) {
        reply_error(x->reply, ERR_VALUE_RANGE);
        return;
    }
    random_members(x, count, with_scores);
}

/* ---- ZSCAN ---- */

struct scan {
    struct outbuf found;
    uint64_t count; /* elements of the reply */
    struct bytes pattern;
    bool all, with_scores;
    bool wide; /* scores with all digits, as Valkey shows those of a skiplist */
};

static size_t scan_score(const struct scan *scan, double score, char *buf) {
    if (!scan->wide || isinf(score)) {
        return num_format_double(buf, score);
    }
    return (size_t)snprintf(buf, NUM_DOUBLE_BYTES, "%.17g", score);
}

static void scan_visit(void *arg, const struct value_element *element) {
    struct scan *scan = arg;
    if (!scan->all && !glob_match(scan->pattern, element->first, false)) {
        return;
    }
    struct reply reply;
    reply_init(&reply, &scan->found, 2);
    reply_bulk(&reply, element->first);
    scan->count++;
    if (scan->with_scores) {
        char score[NUM_DOUBLE_BYTES];
        reply_bulk(&reply, bytes_make(score, scan_score(scan, element->score, score)));
        scan->count++;
    }
}

static bool scan_options(const struct exec *x, struct scan *scan, int64_t *ret_count) {
    for (uint32_t i = 3; i < x->argc; i++) {
        struct bytes word = x->argv[i];
        bool more = i + 1 < x->argc;
        if (bytes_is(word, "count") && more) {
            if (!exec_arg_i64(x, ++i, ret_count)) {
                return false;
            }
            if (*ret_count < 1) {
                reply_error(x->reply, ERR_SYNTAX);
                return false;
            }
        } else if (bytes_is(word, "match") && more) {
            scan->pattern = x->argv[++i];
            scan->all = bytes_equal(scan->pattern, BYTES("*"));
        } else if (bytes_is(word, "novalues")) {
            reply_error(x->reply, "ERR NOVALUES option can only be used in HSCAN");
            return false;
        } else if (bytes_is(word, "noscores")) {
            scan->with_scores = false;
        } else {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

static void scan_reply_none(struct reply *r) {
    reply_array(r, 2);
    reply_bulk(r, BYTES("0"));
    reply_array(r, 0);
}

void command_zscan(struct exec *x) {
    uint64_t cursor;
    if (!num_parse_u64(x->argv[2], &cursor)) {
        reply_error(x->reply, "ERR invalid cursor");
        return;
    }
    struct value value;
    struct scan scan = {.all = true, .with_scores = true};
    int64_t count = 10;
    if (!sorted_set_find(x, scan_reply_none, &value) || !scan_options(x, &scan, &count)) {
        return;
    }
    scan.wide = zset_is_large(&value);
    outbuf_init(&scan.found);
    const struct form *form = forms_find(&value_forms, &value);
    cursor = form->walk(&value, cursor, (uint64_t)count, scan_visit, &scan);
    char text[NUM_I64_BYTES];
    reply_array(x->reply, 2);
    reply_bulk(x->reply, bytes_make(text, num_format_u64(text, cursor)));
    reply_array(x->reply, scan.count);
    outbuf_splice(x->reply->out, &scan.found);
    outbuf_fini(&scan.found);
}
