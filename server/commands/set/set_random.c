/* SPDX-License-Identifier: BSD-3-Clause */
/* set_random: what is drawn from a set, to be seen (SRANDMEMBER) or to be taken out (SPOP).
 *
 * Each member is equally likely, whatever the form: of a table the index-th in the order of hashes
 * is found by counting, not by looking for a bucket that has something.
 *
 * Several different ones are drawn in one of two ways. Few of many: an index at random, and another
 * if that one was there already. Else all are gone through, each taken with the chance that is left
 * to it.
 */
#include "base/must.h"
#include "base/random.h"
#include "base/text.h"
#include "server/call/effects.h"
#include "server/call/errors.h"
#include "server/commands/set/set.h"
#include "server/config/config.h"

#include <stdlib.h>

/* ---- Going through all of them ---- */

/* Takes `wanted` of `left` by and by, each choice of them equally likely. */
struct choice {
    struct rng *rng;
    uint64_t wanted, left;
};

static bool choose(struct choice *choice) {
    bool takes = rng_below(choice->rng, choice->left) < choice->wanted;
    choice->wanted -= takes;
    choice->left--;
    return takes;
}

/* ---- SRANDMEMBER ---- */

/* Indices that were drawn: an open table, less than half full. */
struct drawn {
    uint64_t *cells; /* index + 1 */
    uint64_t mask;
};

static bool drawn_add(struct drawn *drawn, uint64_t index) {
    uint64_t at = index * UINT64_C(0x9E3779B97F4A7C15) >> 20 & drawn->mask;
    while (drawn->cells[at] != 0) {
        if (drawn->cells[at] == index + 1) {
            return false;
        }
        at = (at + 1) & drawn->mask;
    }
    drawn->cells[at] = index + 1;
    return true;
}

static void reply_at(struct exec *x, const struct value *set, uint64_t index) {
    struct set_member member;
    set_at(set, index, &member);
    reply_bulk(x->reply, set_text(&member));
}

static void reply_all(struct exec *x, const struct value *set) {
    struct set_walk walk = set_walk(set);
    struct set_member member;
    while (set_next(&walk, &member)) {
        reply_bulk(x->reply, set_text(&member));
    }
}

static void reply_few(struct exec *x, const struct value *set, uint64_t count) {
    struct drawn drawn = {.mask = 1};
    while (drawn.mask < 2 * count) {
        drawn.mask = drawn.mask << 1 | 1;
    }
    drawn.cells = must_calloc(drawn.mask + 1, sizeof *drawn.cells);
    for (uint64_t left = count, size = set_count(set); left > 0;) {
        uint64_t index = rng_below(exec_rng(x), size);
        if (drawn_add(&drawn, index)) {
            reply_at(x, set, index);
            left--;
        }
    }
    free(drawn.cells);
}

static void reply_many(struct exec *x, const struct value *set, uint64_t count) {
    struct choice choice = {exec_rng(x), count, set_count(set)};
    struct set_walk walk = set_walk(set);
    struct set_member member;
    while (choice.wanted > 0 && set_next(&walk, &member)) {
        if (choose(&choice)) {
            reply_bulk(x->reply, set_text(&member));
        }
    }
}

/* Different ones. */
static void reply_different(struct exec *x, const struct value *set, uint64_t count) {
    uint64_t size = set_count(set);
    if (count >= size) {
        reply_array(x->reply, size);
        reply_all(x, set);
        return;
    }
    reply_array(x->reply, count);
    if (set_is_table(set) && count < size / 4) {
        reply_few(x, set, count);
    } else {
        reply_many(x, set, count);
    }
}

/* Any, the same one again too. A listpack is counted through from one end for each, so what is
 * asked of it more often is noted first. */
static void reply_any(struct exec *x, const struct value *set, uint64_t count) {
    uint64_t size = set_count(set);
    reply_array(x->reply, count);
    if (!value_is_listpack(set) || count < size / 4) {
        for (uint64_t i = 0; i < count; i++) {
            reply_at(x, set, rng_below(exec_rng(x), size));
        }
        return;
    }
    struct listpack_item *items = must_malloc(size * sizeof *items);
    const char *lp = packed_start(set);
    uint64_t n = 0;
    for (size_t at = listpack_first(lp); at != 0; at = listpack_next(lp, at)) {
        items[n++] = listpack_get(lp, at);
    }
    char scratch[NUM_I64_BYTES];
    for (uint64_t i = 0; i < count; i++) {
        reply_bulk(x->reply, listpack_text(&items[rng_below(exec_rng(x), size)], scratch));
    }
    free(items);
}

void command_srandmember(struct exec *x) {
    int64_t count = 1;
    struct entry *entry;
    if (x->argc > 3) {
        reply_error(x->reply, ERR_SYNTAX);
        return;
    }
    if ((x->argc == 3 && !exec_arg_draws(x, 2, &count)) ||
        !exec_find(x, &x->key, TYPE_SET, LOOKUP_READ, &entry)) {
        return;
    }
    struct value set;
    if (entry != NULL) {
        set = entry_value_of(entry);
    }
    if (x->argc == 2) {
        if (entry == NULL) {
            reply_null(x->reply);
        } else {
            reply_at(x, &set, rng_below(exec_rng(x), set_count(&set)));
        }
    } else if (entry == NULL || count == 0) {
        reply_array(x->reply, 0);
    } else if (count < 0) {
        if (exec_draws_fit(x, count)) {
            reply_any(x, &set, (uint64_t)-count);
        }
    } else {
        reply_different(x, &set, (uint64_t)count);
    }
}

/* ---- SPOP ---- */

/* Members that one SREM takes out. */
#define STATED_MAX 1024

/* What was popped, told as one SREM of so many at a time. */
struct popped {
    struct exec *x;
    struct text names;
    size_t ends[STATED_MAX];
    uint32_t count;
};

static void popped_state(struct popped *popped) {
    if (popped->count == 0) {
        return;
    }
    struct bytes *argv = must_malloc((popped->count + 2) * sizeof *argv);
    argv[0] = BYTES("SREM");
    argv[1] = popped->x->key.name;
    size_t at = 0;
    for (uint32_t i = 0; i < popped->count; i++) {
        argv[i + 2] = bytes_make(popped->names.ptr + at, popped->ends[i] - at);
        at = popped->ends[i];
    }
    effect_state(popped->x, argv, popped->count + 2);
    free(argv);
    popped->count = 0;
    text_clear(&popped->names);
}

static void popped_add(struct popped *popped, struct bytes name) {
    reply_bulk(popped->x->reply, name);
    if (!effects_wanted(popped->x)) {
        return;
    }
    text_append_bytes(&popped->names, name);
    popped->ends[popped->count++] = popped->names.len;
    if (popped->count == STATED_MAX) {
        popped_state(popped);
    }
}

/* Takes out the one that is shown. Its text may lie in the set. */
static void pop_member(struct set_edit *edit, struct change *change, struct popped *popped,
                       struct set_member *member) {
    struct bytes name = set_text(member);
    popped_add(popped, name);
    change_element(change, &name);
    check(set_remove(edit, member));
}

static void pop_few(struct set_edit *edit, struct change *change, struct popped *popped,
                    uint64_t count) {
    for (; count > 0; count--) {
        struct set_member member;
        uint64_t size = set_count(&change->value);
        set_at(&change->value, rng_below(exec_rng(popped->x), size), &member);
        pop_member(edit, change, popped, &member);
    }
}

/* Most of them go: those that stay become a set of their own. */
static void pop_most(struct set_edit *edit, struct change *change, struct popped *popped,
                     uint64_t count) {
    struct set_edit stay;
    uint64_t size = set_count(&change->value);
    struct choice choice = {exec_rng(popped->x), size - count, size};
    struct set_walk walk = set_walk(&change->value);
    struct set_member member;
    set_edit_new(&stay, popped->x->keyspace, edit->limits, value_is_intset(&change->value));
    while (set_next(&walk, &member)) {
        if (choose(&choice)) {
            set_add(&stay, &member);
        } else {
            popped_add(popped, set_text(&member));
        }
    }
    set_edit_replace(&stay, change);
}

/* Where no more than a fifth of what goes stays, Valkey makes a new set of that. */
static bool most_go(uint64_t size, uint64_t count) {
    return size - count <= count / 5;
}

static void pop_some(struct exec *x, struct entry *entry, uint64_t count) {
    struct set_limits limits = set_limits_of(x);
    struct set_edit edit;
    struct change change;
    struct popped popped = {.x = x};
    text_init(&popped.names);
    change_open(&change, x->keyspace, x->db, &x->key, entry, x->now_ms);
    set_edit_open(&edit, &change, &limits);
    if (most_go(set_count(&change.value), count)) {
        pop_most(&edit, &change, &popped, count);
    } else {
        pop_few(&edit, &change, &popped, count);
    }
    popped_state(&popped);
    text_fini(&popped.names);
    change_close(&change, EVENT_SPOP);
    keyspace_count_elements(x->keyspace, count);
}

static void pop_all(struct exec *x, struct entry *entry) {
    bool lazy = exec_config(x)->lazyfree_lazy_server_del;
    struct value set = entry_value_of(entry);
    reply_set(x->reply, set_count(&set));
    reply_all(x, &set);
    keyspace_count_elements(x->keyspace, set_count(&set));
    keyspace_note(x->keyspace, x->db, &x->key, EVENT_SPOP, TYPE_SET);
    keyspace_delete(x->keyspace, x->db, &x->key, x->now_ms, lazy, EVENT_DEL);
    EFFECT(x, lazy ? BYTES("UNLINK") : BYTES("DEL"), x->key.name);
}

static void pop_count(struct exec *x) {
    int64_t count;
    struct entry *entry;
    if (!num_parse_i64(x->argv[2], &count) || count < 0) {
        reply_error(x->reply, "ERR value is out of range, must be positive");
        return;
    }
    if (!exec_find(x, &x->key, TYPE_SET, LOOKUP_WRITE, &entry)) {
        return;
    }
    if (entry == NULL || count == 0) {
        reply_set(x->reply, 0);
        return;
    }
    struct value set = entry_value_of(entry);
    if ((uint64_t)count >= set_count(&set)) {
        pop_all(x, entry);
    } else {
        reply_set(x->reply, (uint64_t)count);
        pop_some(x, entry, (uint64_t)count);
    }
}

static void pop_one(struct exec *x, struct entry *entry) {
    struct set_limits limits = set_limits_of(x);
    struct set_edit edit;
    struct change change;
    struct set_member member;
    change_open(&change, x->keyspace, x->db, &x->key, entry, x->now_ms);
    set_edit_open(&edit, &change, &limits);
    set_at(&change.value, rng_below(exec_rng(x), set_count(&change.value)), &member);
    struct bytes name = set_text(&member);
    reply_bulk(x->reply, name);
    EFFECT(x, BYTES("SREM"), x->key.name, name);
    change_element(&change, &name);
    check(set_remove(&edit, &member));
    change_close(&change, EVENT_SPOP);
}

void command_spop(struct exec *x) {
    struct entry *entry;
    if (x->argc > 3) {
        reply_error(x->reply, ERR_SYNTAX);
    } else if (x->argc == 3) {
        pop_count(x);
    } else if (exec_find(x, &x->key, TYPE_SET, LOOKUP_WRITE, &entry)) {
        if (entry == NULL) {
            reply_null(x->reply);
        } else {
            pop_one(x, entry);
        }
    }
}
