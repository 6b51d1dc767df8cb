/* SPDX-License-Identifier: BSD-3-Clause */
/* shard/types/list: a list in a keyspace against an array, through all of its forms and back, with
 * the books right after each change. (test_list is base/list.) */
#include "shard/types/list.h"

#include "base/random.h"
#include "shard/keys/keyspace_private.h"
#include "shard/types/packed.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define NOW          INT64_C(1700000000000)
#define ELEMENTS_MAX 2000

struct fixture {
    struct shard_heap *heap;
    struct keyspace *ks;
    struct key key;
    struct list_rules rules;
    struct rng rng;
    uint32_t seeds[ELEMENTS_MAX + 8];
    uint32_t count;
    unsigned seen; /* bits by form */
};

static const struct hash_secret secret;

static struct bytes text_of(uint32_t seed, char *room) {
    static const uint16_t lengths[] = {0, 1, 20, 100, 700, 9000};
    if (seed % 3 == 0) {
        return bytes_make(room, num_format_i64(room, (int64_t)seed * 7919 - 100000));
    }
    uint16_t length = lengths[seed % 40 == 1 ? seed / 40 % 6 : seed % 4];
    memset(room, 'a' + (int)(seed % 26), length);
    return bytes_make(room, length);
}

static uint32_t below(struct fixture *f, uint32_t limit) {
    return (uint32_t)((rng_next(&f->rng) >> 20) % limit);
}

static void model_cut(struct fixture *f, uint32_t at, uint32_t n) {
    memmove(f->seeds + at, f->seeds + at + n, (f->count - at - n) * sizeof f->seeds[0]);
    f->count -= n;
}

static void model_put(struct fixture *f, uint32_t at, uint32_t seed) {
    memmove(f->seeds + at + 1, f->seeds + at, (f->count - at) * sizeof f->seeds[0]);
    f->seeds[at] = seed;
    f->count++;
}

static uint32_t model_cut_equal(struct fixture *f, struct bytes text, uint64_t limit) {
    static char room[9000];
    uint32_t removed = 0;
    for (uint32_t i = 0; i < f->count && removed < limit;) {
        if (bytes_equal(text_of(f->seeds[i], room), text)) {
            model_cut(f, i, 1);
            removed++;
        } else {
            i++;
        }
    }
    return removed;
}

static void change_some(struct fixture *f, struct change *change, bool growing) {
    static char room[9000];
    uint32_t seed = below(f, 400), action = below(f, growing ? 8 : 16);
    struct bytes text = text_of(seed, room);
    if (f->count == 0 || (action < 5 && growing && f->count < ELEMENTS_MAX)) {
        bool tail = below(f, 2);
        list_grow(change, &f->rules, &text, 1);
        list_push(change, text, tail);
        model_put(f, tail ? f->count : 0, seed);
        return;
    }
    uint32_t at = below(f, f->count);
    if (action == 5 && f->count < ELEMENTS_MAX) {
        bool after = below(f, 2);
        list_grow(change, &f->rules, &text, 1);
        list_insert(change, at, text, after);
        model_put(f, at + after, seed);
    } else if (action == 6) {
        list_grow(change, &f->rules, &text, 1);
        list_set(change, at, text);
        f->seeds[at] = seed;
        list_shrink(change, &f->rules);
    } else if (action == 7) {
        text = text_of(f->seeds[at], room);
        uint64_t limit = 1 + below(f, 3);
        uint32_t removed = (uint32_t)list_remove_equal(change, text, limit, false);
        cr_assert_eq(removed, model_cut_equal(f, text, limit));
        list_shrink(change, &f->rules);
    } else {
        uint32_t span = growing ? 1 : 1 + below(f, 20);
        span = span < f->count - at ? span : f->count - at;
        list_cut(change, at, span);
        model_cut(f, at, span);
        list_shrink(change, &f->rules);
    }
}

static void expect_same(struct fixture *f) {
    static char room[9000];
    char scratch[NUM_I64_BYTES];
    struct entry *entry = keyspace_find(f->ks, 0, &f->key, NOW, LOOKUP_READ);
    cr_assert_eq(entry != NULL, f->count > 0);
    if (entry == NULL) {
        return;
    }
    struct value value = entry_value_of(entry);
    f->seen |= 1u << value.form;
    cr_assert_eq(list_count(&value), f->count);
    struct quicklist_iter iter;
    uint32_t i = 0;
    for (list_iter_open(&iter, &value, 0, false); !iter.over; quicklist_iter_next(&iter)) {
        struct bytes text = text_of(f->seeds[i++], room);
        cr_assert(bytes_equal(quicklist_iter_text(&iter, scratch), text));
    }
    quicklist_iter_close(&iter);
    cr_assert_eq(i, f->count);
}

static unsigned run(int64_t fill, int64_t depth) {
    struct fixture *f = calloc(1, sizeof *f);
    f->heap = shard_heap_new();
    f->ks = keyspace_new(&(struct keyspace_options){
        .databases = 1, .secret = &secret, .heap = f->heap, .now_ms = NOW});
    f->key = key_make(&secret, BYTES("a list"));
    f->rules = (struct list_rules){.fill = fill, .depth = depth};
    rng_seed(&f->rng, (uint64_t)(fill + 100));
    for (unsigned step = 0; step < 12000; step++) {
        struct entry *entry = keyspace_find(f->ks, 0, &f->key, NOW, LOOKUP_WRITE);
        struct change change;
        change_open(&change, f->ks, 0, &f->key, entry, NOW);
        if (entry == NULL) {
            packed_make(&change, TYPE_LIST);
        }
        change_some(f, &change, step / 700 % 2 == 0);
        change_close(&change, EVENT_LSET);
        if (step % 32 == 0) {
            expect_same(f);
            keyspace_verify(f->ks);
        }
    }
    unsigned seen = f->seen;
    keyspace_free(f->ks);
    shard_heap_free(f->heap);
    free(f);
    return seen;
}

Test(list_value, random_changes_are_those_of_an_array_in_every_form) {
    unsigned all = 1u << FORM_INLINE | 1u << FORM_LISTPACK | 1u << FORM_QUICKLIST;
    cr_assert_eq(run(-2, 0), all);
    cr_assert_eq(run(-1, 1), all);
    cr_assert_eq(run(40, 0) & (1u << FORM_INLINE | 1u << FORM_QUICKLIST),
                 1u << FORM_INLINE | 1u << FORM_QUICKLIST);
    run(1, 0);
    run(0, 2);
}
