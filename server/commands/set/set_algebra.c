/* SPDX-License-Identifier: BSD-3-Clause */
/* set_algebra: what several sets have in common, what is in any of them, what is in the first
 * alone; and SMOVE, from one into another.
 *
 * The sets lie on any shards: those of others are lent (exec_input), and only read. A member's hash
 * is the same in all of them, and a walk of a table is in the order of hashes. So what is looked
 * for in other tables is found there one behind the other, and a few dozen are looked for at once:
 * memory is asked for where they would be, then for what is there, then they are compared.
 *
 *     SINTER   the members of the smallest set that all others have
 *     SDIFF    the members of the first that none of the others has
 *     SUNION   the members of each that none before it has; of many sets, what is not yet among the
 *              members that were seen so far, in a table that is dropped afterwards
 *
 * What is stored is put together in the order in which Valkey adds it, so it has the same form.
 */
#include "base/must.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/commands/set/set.h"
#include "server/config/config.h"

#include <stdlib.h>

/* ---- Inputs ---- */

#define INPUTS_ON_STACK 16

struct inputs {
    uint32_t count;            /* of those that exist */
    bool any_missing;          /* one is not there: an empty set */
    bool first_missing;        /* that is the first */
    const struct value **sets; /* into `values`, in the order of argv */
    struct value *values;
    void *memory; /* malloc, or NULL */
    struct value values_here[INPUTS_ON_STACK];
    const struct value *sets_here[INPUTS_ON_STACK];
};

static void inputs_free(struct inputs *in) {
    free(in->memory);
}

/* False: one is no set, and that was answered. */
static bool inputs_find(const struct exec *x, struct inputs *in, uint32_t first, uint32_t count) {
    in->count = 0;
    in->any_missing = in->first_missing = false;
    in->memory = NULL;
    in->values = in->values_here;
    in->sets = in->sets_here;
    if (count > INPUTS_ON_STACK) {
        in->memory = must_malloc(count * (sizeof *in->values + sizeof *in->sets));
        in->values = in->memory;
        in->sets = (const struct value **)(in->values + count);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct loan loan;
        if (!exec_input(x, first + i, LOOKUP_READ, &loan)) {
            in->any_missing = true;
            in->first_missing |= i == 0;
            continue;
        }
        if (loan.value.type != TYPE_SET) {
            reply_error(x->reply, ERR_WRONG_TYPE);
            inputs_free(in);
            return false;
        }
        in->values[in->count] = loan.value;
        in->sets[in->count] = &in->values[in->count];
        in->count++;
    }
    return true;
}

static int smaller_first(const void *a, const void *b) {
    uint64_t left = set_count(*(const struct value *const *)a);
    uint64_t right = set_count(*(const struct value *const *)b);
    return (left > right) - (left < right);
}

static int larger_first(const void *a, const void *b) {
    return smaller_first(b, a);
}

/* ---- Results ---- */

enum result_kind { RESULT_REPLY, RESULT_COUNT, RESULT_STORE };

struct result {
    struct exec *x;
    enum result_kind kind;
    uint64_t count;
    uint64_t limit;     /* it is enough then; 0: never */
    struct outbuf text; /* of RESULT_REPLY: bulk strings, before it is known how many */
    struct reply reply;
    /* Of RESULT_STORE: */
    struct key key;
    struct change change;
    struct set_limits limits;
    struct set_edit edit;
    bool only_numbers;
};

/* The reply's elements come from result_add. */
static void result_begin(struct result *result, struct exec *x, enum result_kind kind) {
    result->x = x;
    result->kind = kind;
    result->count = result->limit = 0;
    if (kind == RESULT_REPLY) {
        outbuf_init(&result->text);
        reply_init(&result->reply, &result->text, x->reply->resp);
    }
}

/* The key of argv[1] gets the set that is put together in result->edit: an intset, as long as only
 * integers are added, or a listpack at first. */
static void result_begin_store(struct result *result, struct exec *x, bool ints) {
    result_begin(result, x, RESULT_STORE);
    result->key = exec_key(x, 1);
    result->limits = set_limits_of(x);
    result->only_numbers = true;
    struct entry *entry =
        keyspace_find(x->keyspace, x->db, &result->key, x->now_ms, LOOKUP_WRITE | LOOKUP_NOTOUCH);
    change_open(&result->change, x->keyspace, x->db, &result->key, entry, x->now_ms);
    set_edit_new(&result->edit, x->keyspace, &result->limits, ints);
}

/* A member that was not added before. False: that is enough. */
static bool result_add(struct result *result, struct set_member *member) {
    result->count++;
    switch (result->kind) {
    case RESULT_REPLY:
        reply_bulk(&result->reply, set_text(member));
        break;
    case RESULT_STORE:
        result->only_numbers = result->only_numbers && set_is_number(member);
        set_add_new(&result->edit, member);
        break;
    case RESULT_COUNT:
        break;
    }
    return result->limit == 0 || result->count < result->limit;
}

/* Nothing is left: the key goes. */
static void store_nothing(struct result *result) {
    struct exec *x = result->x;
    bool lazy = exec_config(x)->lazyfree_lazy_server_del;
    bool had = change_close(&result->change, EVENT_NONE) != NULL;
    if (had) {
        keyspace_delete(x->keyspace, x->db, &result->key, x->now_ms, lazy, EVENT_DEL);
        if (exec_is_apart(x)) {
            effect_state_key(x, x->db, result->key.name, NULL);
        }
    }
    set_edit_drop(&result->edit);
}

static void result_store(struct result *result, enum key_event event) {
    struct exec *x = result->x;
    uint64_t count = set_count(result->edit.value);
    if (count == 0) {
        store_nothing(result);
    } else {
        set_edit_put(&result->edit, &result->change);
        struct entry *entry = change_close(&result->change, event);
        if (exec_is_apart(x)) {
            effect_state_key(x, x->db, result->key.name, entry);
        }
    }
    reply_int(x->reply, (int64_t)count);
}

static void result_end(struct result *result, enum key_event event) {
    struct exec *x = result->x;
    switch (result->kind) {
    case RESULT_REPLY:
        reply_set(x->reply, result->count);
        outbuf_splice(x->reply->out, &result->text);
        outbuf_fini(&result->text);
        break;
    case RESULT_COUNT:
        reply_int(x->reply, (int64_t)result->count);
        break;
    case RESULT_STORE:
        result_store(result, event);
        break;
    }
}

/* ---- Some dozens at once ---- */

#define BATCH 32

/* Members of a walk, some of which have been sorted out. */
struct batch {
    struct set_member members[BATCH];
    uint8_t left[BATCH]; /* their indices */
    uint32_t count;
};

static bool batch_fill(struct batch *batch, struct set_walk *walk) {
    uint32_t n = 0;
    while (n < BATCH && set_next(walk, &batch->members[n])) {
        batch->left[n] = (uint8_t)n;
        n++;
    }
    batch->count = n;
    return n > 0;
}

/* Adds those members of a set that all (or none) of `others` have. False: that is enough. */
static bool add_sifted(struct result *result, const struct value *set,
                       const struct value *const *others, uint32_t count, bool have) {
    struct set_walk walk = set_walk(set);
    struct batch batch;
    while (batch_fill(&batch, &walk)) {
        for (uint32_t i = 0; i < count && batch.count > 0; i++) {
            batch.count = set_sift(others[i], batch.members, batch.left, batch.count, have);
        }
        for (uint32_t i = 0; i < batch.count; i++) {
            if (!result_add(result, &batch.members[batch.left[i]])) {
                return false;
            }
        }
    }
    return true;
}

/* ---- A table of what was seen ---- */

/* All members are looked for in a set at once, or added to it. */
static const struct set_limits no_limits = {0, 0, 0};

static void seen_begin(struct set_edit *seen, const struct exec *x) {
    set_edit_new(seen, x->keyspace, &no_limits, true);
}

/* Adds a set's members to another that is being made; those that are new, to the result (NULL: to
 * nothing else). */
static void add_new(struct set_edit *to, const struct value *set, struct result *result) {
    struct set_walk walk = set_walk(set);
    struct set_member member;
    bool all_new = set_count(to->value) == 0;
    while (set_next(&walk, &member)) {
        bool added = true;
        if (all_new) {
            set_add_new(to, &member);
        } else {
            added = set_add(to, &member);
        }
        if (added && result != NULL) {
            result_add(result, &member);
        }
    }
}

/* What it costs to ask a set for a member, in steps that take about as long as those of a table. */
static uint64_t asking_cost(const struct value *set) {
    return value_is_listpack(set) ? 1 + set_count(set) / 8 : 1;
}

static uint64_t count_all(const struct value *const *sets, uint32_t count) {
    uint64_t members = 0;
    for (uint32_t i = 0; i < count; i++) {
        members += set_count(sets[i]);
    }
    return members;
}

/* ---- Intersection ---- */

/* The smallest is gone through: it is the first then. */
static void put_smallest_first(struct inputs *in) {
    qsort(in->sets, in->count, sizeof *in->sets, smaller_first);
}

static void intersect(struct inputs *in, struct result *result) {
    if (in->any_missing) {
        return;
    }
    uint32_t others = 0;
    for (uint32_t i = 1; i < in->count; i++) {
        if (!set_is_same(in->sets[i], in->sets[0])) {
            in->sets[1 + others++] = in->sets[i];
        }
    }
    add_sifted(result, in->sets[0], in->sets + 1, others, true);
}

void command_sinter(struct exec *x) {
    struct inputs in;
    if (inputs_find(x, &in, 1, x->argc - 1)) {
        struct result result;
        result_begin(&result, x, RESULT_REPLY);
        put_smallest_first(&in);
        intersect(&in, &result);
        result_end(&result, EVENT_NONE);
        inputs_free(&in);
    }
}

void command_sinterstore(struct exec *x) {
    struct inputs in;
    if (inputs_find(x, &in, 2, x->argc - 2)) {
        struct result result;
        put_smallest_first(&in);
        result_begin_store(&result, x, in.count > 0 && value_is_intset(in.sets[0]));
        intersect(&in, &result);
        if (result.only_numbers) {
            set_edit_shrink(&result.edit);
        }
        result_end(&result, EVENT_SINTERSTORE);
        inputs_free(&in);
    }
}

/* How many keys there are, and where the words behind them begin. */
static bool parse_numkeys(const struct exec *x, uint32_t *ret_keys) {
    int64_t numkeys;
    if (!num_parse_i64(x->argv[1], &numkeys) || numkeys <= 0) {
        reply_error(x->reply, "ERR numkeys should be greater than 0");
        return false;
    }
    if (numkeys > (int64_t)x->argc - 2) {
        reply_error(x->reply, "ERR Number of keys can't be greater than number of args");
        return false;
    }
    *ret_keys = (uint32_t)numkeys;
    return true;
}

static bool parse_limit(const struct exec *x, uint32_t from, uint64_t *ret_limit) {
    for (uint32_t i = from; i < x->argc; i += 2) {
        int64_t limit;
        if (!bytes_is(x->argv[i], "limit") || i + 1 == x->argc) {
            reply_error(x->reply, ERR_SYNTAX);
            return false;
        }
        if (!num_parse_i64(x->argv[i + 1], &limit) || limit < 0) {
            reply_error(x->reply, "ERR LIMIT can't be negative");
            return false;
        }
        *ret_limit = (uint64_t)limit;
    }
    return true;
}

void command_sintercard(struct exec *x) {
    struct inputs in;
    uint32_t keys;
    uint64_t limit = 0;
    if (parse_numkeys(x, &keys) && parse_limit(x, keys + 2, &limit) &&
        inputs_find(x, &in, 2, keys)) {
        struct result result;
        result_begin(&result, x, RESULT_COUNT);
        result.limit = limit;
        put_smallest_first(&in);
        intersect(&in, &result);
        result_end(&result, EVENT_NONE);
        inputs_free(&in);
    }
}

/* ---- Union ---- */

/* Whether it costs less to ask each set for the members of those behind it than to make a table. */
static bool is_asked(const struct inputs *in) {
    uint64_t questions = 0, cost = 0;
    for (uint32_t i = 0; i < in->count; i++) {
        questions += set_count(in->sets[i]) * cost;
        cost += asking_cost(in->sets[i]);
    }
    return questions <= 2 * count_all(in->sets, in->count);
}

static void unite(struct exec *x, struct inputs *in, struct result *result) {
    qsort(in->sets, in->count, sizeof *in->sets, larger_first);
    if (is_asked(in)) {
        for (uint32_t i = 0; i < in->count; i++) {
            add_sifted(result, in->sets[i], in->sets, i, false);
        }
        return;
    }
    struct set_edit seen;
    seen_begin(&seen, x);
    for (uint32_t i = 0; i < in->count; i++) {
        add_new(&seen, in->sets[i], result);
    }
    set_edit_drop(&seen);
}

void command_sunion(struct exec *x) {
    struct inputs in;
    if (inputs_find(x, &in, 1, x->argc - 1)) {
        struct result result;
        result_begin(&result, x, RESULT_REPLY);
        unite(x, &in, &result);
        result_end(&result, EVENT_NONE);
        inputs_free(&in);
    }
}

void command_sunionstore(struct exec *x) {
    struct inputs in;
    if (inputs_find(x, &in, 2, x->argc - 2)) {
        struct result result;
        result_begin_store(&result, x, true);
        for (uint32_t i = 0; i < in.count; i++) {
            add_new(&result.edit, in.sets[i], NULL);
        }
        result_end(&result, EVENT_SUNIONSTORE);
        inputs_free(&in);
    }
}

/* ---- Difference ---- */

/* Whether nothing can be left: there is no first set, or it is named again. */
static bool is_nothing(const struct inputs *in) {
    bool again = in->first_missing;
    for (uint32_t i = 1; !again && i < in->count; i++) {
        again = set_is_same(in->sets[i], in->sets[0]);
    }
    return again;
}

/* The others are asked for each member of the first; or, if that costs more, a table of all that
 * they have. */
static void subtract(struct exec *x, struct inputs *in, struct result *result) {
    const struct value *first = in->sets[0], **others = in->sets + 1;
    uint32_t count = in->count - 1;
    qsort(others, count, sizeof *others, larger_first);
    uint64_t cost = 0;
    for (uint32_t i = 0; i < count; i++) {
        cost += asking_cost(others[i]);
    }
    if (set_count(first) * cost <= 2 * count_all(others, count) + set_count(first)) {
        add_sifted(result, first, others, count, false);
        return;
    }
    struct set_edit seen;
    seen_begin(&seen, x);
    for (uint32_t i = 0; i < count; i++) {
        add_new(&seen, others[i], NULL);
    }
    const struct value *all = seen.value;
    add_sifted(result, first, &all, 1, false);
    set_edit_drop(&seen);
}

void command_sdiff(struct exec *x) {
    struct inputs in;
    if (inputs_find(x, &in, 1, x->argc - 1)) {
        struct result result;
        result_begin(&result, x, RESULT_REPLY);
        if (!is_nothing(&in)) {
            subtract(x, &in, &result);
        }
        result_end(&result, EVENT_NONE);
        inputs_free(&in);
    }
}

/* Where the others have few members, Valkey makes a copy of the first set and takes those out of
 * it, so what is left has the form of what was there. */
static bool takes_out(const struct inputs *in) {
    return set_count(in->sets[0]) * in->count / 2 > count_all(in->sets, in->count);
}

static void store_difference(struct exec *x, struct inputs *in, struct result *result) {
    if (!takes_out(in)) {
        subtract(x, in, result);
        return;
    }
    add_new(&result->edit, in->sets[0], NULL);
    for (uint32_t i = 1; i < in->count; i++) {
        struct set_walk walk = set_walk(in->sets[i]);
        struct set_member member;
        while (set_count(result->edit.value) > 0 && set_next(&walk, &member)) {
            set_remove(&result->edit, &member);
        }
    }
}

void command_sdiffstore(struct exec *x) {
    struct inputs in;
    if (inputs_find(x, &in, 2, x->argc - 2)) {
        struct result result;
        result_begin_store(&result, x, true);
        if (!is_nothing(&in)) {
            store_difference(x, &in, &result);
        }
        result_end(&result, EVENT_SDIFFSTORE);
        inputs_free(&in);
    }
}

/* ---- SMOVE ---- */

/* Takes the member out of the first key's set; it is there. */
static void take_member(struct exec *x, struct entry *entry) {
    struct set_limits limits = set_limits_of(x);
    struct set_edit edit;
    struct change change;
    struct set_member member;
    struct key key = exec_key(x, 1);
    set_member_text(&member, x->argv[3]);
    change_open(&change, x->keyspace, x->db, &key, entry, x->now_ms);
    set_edit_open(&edit, &change, &limits);
    change_element(&change, &x->argv[3]);
    check(set_remove(&edit, &member));
    change_close(&change, EVENT_SREM);
}

/* Puts it into the second key's. True if it was not there. */
static bool put_member(struct exec *x, const struct key *key, struct entry *entry) {
    struct set_limits limits = set_limits_of(x);
    struct set_edit edit;
    struct change change;
    struct set_member member;
    set_member_text(&member, x->argv[3]);
    change_open(&change, x->keyspace, x->db, key, entry, x->now_ms);
    if (entry == NULL) {
        set_edit_make(&edit, &change, &limits, &member, 1);
    } else {
        set_edit_open(&edit, &change, &limits);
    }
    change_element(&change, &x->argv[3]);
    bool added = set_add(&edit, &member);
    change_close(&change, added ? EVENT_SADD : EVENT_NONE);
    return added;
}

/* At the owner of the first key, which is not that of the second: there it was put. */
static void give_member(struct exec *x) {
#ifdef SHOAL_UNSAFE_BAGS_MOVE /* for the test that users of the simulator notice */
    return;
#endif
    struct key key = exec_key(x, 1);
    struct entry *entry =
        keyspace_find(x->keyspace, x->db, &key, x->now_ms, LOOKUP_WRITE | LOOKUP_NOTOUCH);
    take_member(x, entry);
    EFFECT(x, BYTES("SREM"), key.name, x->argv[3]);
}

static void move_member(struct exec *x, struct entry *source, const struct key *to,
                        struct entry *target) {
    if (source != NULL) {
        take_member(x, source);
        put_member(x, to, target);
        return;
    }
    if (put_member(x, to, target)) {
        EFFECT(x, BYTES("SADD"), to->name, x->argv[3]);
    }
    exec_take(x);
}

void command_smove(struct exec *x) {
    if (exec_takes(x)) {
        give_member(x);
        return;
    }
    struct loan source;
    struct entry *target;
    struct key to = exec_key(x, 2);
    if (!exec_input(x, 1, LOOKUP_WRITE, &source)) {
        reply_int(x->reply, 0);
        return;
    }
    if (source.value.type != TYPE_SET) {
        reply_error(x->reply, ERR_WRONG_TYPE);
        return;
    }
    if (!exec_find(x, &to, TYPE_SET, LOOKUP_WRITE, &target)) {
        return;
    }
    struct set_member member;
    set_member_text(&member, x->argv[3]);
    bool has = set_has(&source.value, &member);
    if (has && !bytes_equal(x->argv[1], to.name)) {
        move_member(x, source.entry, &to, target);
    }
    reply_int(x->reply, has);
}
