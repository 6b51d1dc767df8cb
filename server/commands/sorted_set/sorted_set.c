/* SPDX-License-Identifier: BSD-3-Clause */
/* Sorted sets by their members: adding, removing, scores and ranks. */
#include "server/commands/sorted_set/sorted_set.h"

#include "base/must.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/call/exec.h"
#include "server/config/config.h"

#include <math.h>
#include <stdlib.h>

#define ERR_SCORE_NAN "ERR resulting score is not a number (NaN)"

/* ---- What the family shares ---- */

struct zset_bounds sorted_set_bounds(const struct exec *x) {
    const struct config *config = exec_config(x);
    return (struct zset_bounds){
        .entries = (uint64_t)config->zset_max_listpack_entries,
        .member_bytes = (uint64_t)config->zset_max_listpack_value,
    };
}

void sorted_set_reply_zero(struct reply *r) {
    reply_int(r, 0);
}

void sorted_set_reply_empty(struct reply *r) {
    reply_array(r, 0);
}

bool sorted_set_find(struct exec *x, void (*reply_none)(struct reply *r), struct value *ret) {
    struct entry *entry;
    if (!exec_find(x, &x->key, TYPE_ZSET, LOOKUP_READ, &entry)) {
        return false;
    }
    if (entry == NULL) {
        if (reply_none != NULL) {
            reply_none(x->reply);
        }
        return false;
    }
    *ret = entry_value_of(entry);
    return true;
}

bool sorted_set_open(struct exec *x, void (*reply_none)(struct reply *r), struct change *ret) {
    struct entry *entry;
    if (!exec_find(x, &x->key, TYPE_ZSET, LOOKUP_WRITE, &entry)) {
        return false;
    }
    if (entry == NULL) {
        reply_none(x->reply);
        return false;
    }
    change_open(ret, x->keyspace, x->db, &x->key, entry, x->now_ms);
    return true;
}

void sorted_set_store(struct exec *x, const struct key *key, const struct zset_item *items,
                      uint64_t count, enum key_event event) {
    reply_int(x->reply, (int64_t)count);
    if (count == 0) {
        keyspace_delete(x->keyspace, x->db, key, x->now_ms, true, EVENT_DEL);
        return;
    }
    struct zset_bounds bounds = sorted_set_bounds(x);
    struct entry *entry = keyspace_find(x->keyspace, x->db, key, x->now_ms, LOOKUP_WRITE);
    struct change change;
    change_open(&change, x->keyspace, x->db, key, entry, x->now_ms);
    zset_make_of(&change, &bounds, items, count);
    change_close(&change, event);
}

/* ---- ZADD, ZINCRBY ---- */

enum add_option {
    ADD_NX = 1 << 0,
    ADD_XX = 1 << 1,
    ADD_GT = 1 << 2,
    ADD_LT = 1 << 3,
    ADD_CH = 1 << 4,
    ADD_INCR = 1 << 5,
};

/* Scores of a call that need no memory of their own. */
#define SCORES_FEW 16

struct adding {
    const struct bytes *argv; /* ZADD's, whoever says so */
    uint32_t argc;
    unsigned options;
    uint32_t first, count; /* of the pairs, in argv */
    double *scores;
    size_t longest; /* of the members */
    uint64_t added, updated;
    bool answered; /* INCR: there is a score to tell */
    double score;
    double few[SCORES_FEW];
};

static unsigned add_option(struct bytes word) {
    static const struct {
        struct bytes word;
        unsigned option;
    } rows[] = {
        {BYTES("nx"), ADD_NX}, {BYTES("xx"), ADD_XX}, {BYTES("ch"), ADD_CH},
        {BYTES("gt"), ADD_GT}, {BYTES("lt"), ADD_LT}, {BYTES("incr"), ADD_INCR},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (bytes_equal_nocase(word, rows[i].word)) {
            return rows[i].option;
        }
    }
    return 0;
}

static bool add_options(const struct exec *x, struct adding *adding) {
    uint32_t i = 2;
    for (unsigned option; i < adding->argc && (option = add_option(adding->argv[i])) != 0; i++) {
        adding->options |= option;
    }
    uint32_t words = adding->argc - i;
    if (words == 0 || words % 2 != 0) {
        reply_error(x->reply, ERR_SYNTAX);
        return false;
    }
    adding->first = i;
    adding->count = words / 2;
    unsigned options = adding->options;
    if (options & ADD_NX && options & ADD_XX) {
        reply_error(x->reply, "ERR XX and NX options at the same time are not compatible");
        return false;
    }
    unsigned compared = options & (ADD_GT | ADD_LT);
    if (compared == (ADD_GT | ADD_LT) || (compared != 0 && options & ADD_NX)) {
        reply_error(x->reply, "ERR GT, LT, and/or NX options at the same time are not compatible");
        return false;
    }
    if (options & ADD_INCR && adding->count > 1) {
        reply_error(x->reply, "ERR INCR option supports a single increment-element pair");
        return false;
    }
    return true;
}

/* All of them are looked at before the first is used. */
static bool add_scores(const struct exec *x, struct adding *adding) {
    adding->scores = adding->few;
    if (adding->count > SCORES_FEW) {
        adding->scores = must_malloc(adding->count * sizeof(double));
    }
    for (uint32_t i = 0; i < adding->count; i++) {
        const struct bytes *pair = &adding->argv[adding->first + 2 * i];
        if (!num_parse_double(pair[0], &adding->scores[i])) {
            reply_error(x->reply, ERR_NOT_FLOAT);
            return false;
        }
        adding->longest = pair[1].len > adding->longest ? pair[1].len : adding->longest;
    }
    return true;
}

/* False: the sum is not a number. */
static bool add_one(struct change *change, const struct zset_bounds *bounds, struct adding *adding,
                    struct bytes member, double score) {
    struct zset_place place;
    zset_find(&change->value, member, &place);
    unsigned options = adding->options;
    if (options & (place.found ? ADD_NX : ADD_XX)) {
        return true;
    }
    if (place.found) {
        if (options & ADD_INCR) {
            score += place.score;
        }
        if (isnan(score)) {
            return false;
        }
        if ((options & ADD_LT && score >= place.score) ||
            (options & ADD_GT && score <= place.score)) {
            return true;
        }
    }
    adding->answered = true;
    adding->score = score;
    if (!place.found || score != place.score) {
        zset_put(change, bounds, member, &place, score);
        *(place.found ? &adding->updated : &adding->added) += 1;
    }
    return true;
}

static bool add_all(struct exec *x, struct adding *adding) {
    struct entry *entry;
    if (!exec_find(x, &x->key, TYPE_ZSET, LOOKUP_WRITE, &entry)) {
        return false;
    }
    if (entry == NULL && adding->options & ADD_XX) {
        return true;
    }
    struct zset_bounds bounds = sorted_set_bounds(x);
    struct change change;
    change_open(&change, x->keyspace, x->db, &x->key, entry, x->now_ms);
    if (entry == NULL) {
        zset_make(&change, &bounds, adding->count, adding->longest);
    } else {
        zset_expect(&change, &bounds, adding->count, adding->longest);
    }
    bool sound = true;
    for (uint32_t i = 0; sound && i < adding->count; i++) {
        struct bytes member = adding->argv[adding->first + 2 * i + 1];
        sound = add_one(&change, &bounds, adding, member, adding->scores[i]);
    }
    enum key_event event = adding->options & ADD_INCR ? EVENT_ZINCR : EVENT_ZADD;
    change_close(&change, adding->added + adding->updated > 0 ? event : EVENT_NONE);
    keyspace_count_elements(x->keyspace, adding->added + adding->updated);
    if (!sound) {
        reply_error(x->reply, ERR_SCORE_NAN);
    }
    return sound;
}

/* What ZADD with these words does to x's key. Returns whether it changed anything. */
static bool add(struct exec *x, const struct bytes *argv, uint32_t argc, unsigned options) {
    struct adding adding;
    adding.argv = argv;
    adding.argc = argc;
    adding.options = options;
    adding.scores = NULL;
    adding.longest = 0;
    adding.added = adding.updated = 0;
    adding.answered = false;
    if (!add_options(x, &adding)) {
        return false;
    }
    if (add_scores(x, &adding) && add_all(x, &adding)) {
        if (!(adding.options & ADD_INCR)) {
            bool changes = adding.options & ADD_CH;
            reply_int(x->reply, (int64_t)(adding.added + (changes ? adding.updated : 0)));
        } else if (adding.answered) {
            reply_double(x->reply, adding.score);
        } else {
            reply_null(x->reply);
        }
    }
    if (adding.scores != adding.few) {
        free(adding.scores);
    }
    return adding.added + adding.updated > 0;
}

void sorted_set_add(struct exec *x, const struct bytes *argv, uint32_t argc) {
    if (add(x, argv, argc, 0)) {
        effect_state(x, argv, argc);
    }
}

void command_zadd(struct exec *x) {
    add(x, x->argv, x->argc, 0);
}

void command_zincrby(struct exec *x) {
    add(x, x->argv, x->argc, ADD_INCR);
}

/* ---- ZREM ---- */

void command_zrem(struct exec *x) {
    struct change change;
    if (!sorted_set_open(x, sorted_set_reply_zero, &change)) {
        return;
    }
    int64_t removed = 0;
    for (uint32_t i = 2; i < x->argc && zset_count(&change.value) > 0; i++) {
        struct zset_place place;
        zset_find(&change.value, x->argv[i], &place);
        if (place.found) {
            zset_remove(&change, x->argv[i], &place);
            removed++;
        }
    }
    change_close(&change, removed > 0 ? EVENT_ZREM : EVENT_NONE);
    keyspace_count_elements(x->keyspace, (uint64_t)removed);
    reply_int(x->reply, removed);
}

/* ---- Scores and ranks ---- */

void command_zcard(struct exec *x) {
    struct value value;
    if (sorted_set_find(x, sorted_set_reply_zero, &value)) {
        reply_int(x->reply, (int64_t)zset_count(&value));
    }
}

static void reply_none(struct reply *r) {
    reply_null(r);
}

static void reply_score(struct reply *r, const struct value *value, struct bytes member) {
    double score;
    if (zset_score(value, member, &score)) {
        reply_double(r, score);
    } else {
        reply_null(r);
    }
}

void command_zscore(struct exec *x) {
    struct value value;
    if (sorted_set_find(x, reply_none, &value)) {
        reply_score(x->reply, &value, x->argv[2]);
    }
}

void command_zmscore(struct exec *x) {
    struct entry *entry;
    if (!exec_find(x, &x->key, TYPE_ZSET, LOOKUP_READ, &entry)) {
        return;
    }
    reply_array(x->reply, x->argc - 2);
    struct value value = {0};
    if (entry != NULL) {
        value = entry_value_of(entry);
    }
    for (uint32_t i = 2; i < x->argc; i++) {
        if (entry != NULL) {
            reply_score(x->reply, &value, x->argv[i]);
        } else {
            reply_null(x->reply);
        }
    }
}

static void reply_none_array(struct reply *r) {
    reply_null_array(r);
}

static void rank(struct exec *x, bool down) {
    bool with_score = x->argc == 4;
    if (x->argc > 4) {
        exec_arity_error(x);
        return;
    }
    if (with_score && !bytes_is(x->argv[3], "withscore")) {
        reply_error(x->reply, ERR_SYNTAX);
        return;
    }
    struct value value;
    if (!sorted_set_find(x, with_score ? reply_none_array : reply_none, &value)) {
        return;
    }
    uint64_t from_start;
    double score;
    if (!zset_rank(&value, x->argv[2], &from_start, &score)) {
        (with_score ? reply_none_array : reply_none)(x->reply);
        return;
    }
    if (with_score) {
        reply_array(x->reply, 2);
    }
    uint64_t from_end = zset_count(&value) - 1 - from_start;
    reply_int(x->reply, (int64_t)(down ? from_end : from_start));
    if (with_score) {
        reply_double(x->reply, score);
    }
}

void command_zrank(struct exec *x) {
    rank(x, false);
}

void command_zrevrank(struct exec *x) {
    rank(x, true);
}
