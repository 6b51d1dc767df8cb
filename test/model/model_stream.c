/* SPDX-License-Identifier: BSD-3-Clause */
/* Trees of ids and streams against arrays: random additions, deletions, trims and groups, ranges
 * from both ends, copies and moves in slices; every byte is accounted for. */
#include "base/random.h"
#include "shard/ds/idtree.h"
#include "shard/memory/heap.h"
#include "shard/types/stream_group.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- Trees ---- */

#define IDS 4000

struct ids {
    struct shard_heap *heap;
    struct idtree tree;
    bool there[IDS];
    uint64_t count;
};

/* Some share their first half, some are at the limits. */
static struct stream_id id_of(unsigned i) {
    return (struct stream_id){i / 7 == IDS / 7 ? UINT64_MAX : i / 7,
                              i % 7 == 6 ? UINT64_MAX : i % 7};
}

static void expect_tree(const struct ids *ids) {
    idtree_verify(&ids->tree);
    cr_assert_eq(ids->tree.count, ids->count);
    cr_assert_eq(idtree_memory(&ids->tree), heap_used(ids->heap));
    struct idtree_place place;
    bool more = idtree_first(&ids->tree, &place);
    for (unsigned i = 0; i < IDS; i++) {
        if (ids->there[i]) {
            cr_assert(more && stream_id_equal(idtree_id(&place), id_of(i)));
            more = idtree_next(&place);
        }
    }
    cr_assert_not(more);
    more = idtree_last(&ids->tree, &place);
    for (unsigned i = IDS; i-- > 0;) {
        if (ids->there[i]) {
            cr_assert(more && stream_id_equal(idtree_id(&place), id_of(i)));
            more = idtree_prev(&place);
        }
    }
    cr_assert_not(more);
}

static void expect_neighbours(const struct ids *ids, unsigned i) {
    unsigned from = i;
    int upto = (int)i;
    while (from < IDS && !ids->there[from]) {
        from++;
    }
    while (upto >= 0 && !ids->there[upto]) {
        upto--;
    }
    struct idtree_place place;
    cr_assert_eq(idtree_from(&ids->tree, id_of(i), &place), from < IDS);
    cr_assert(from == IDS || stream_id_equal(idtree_id(&place), id_of(from)));
    cr_assert_eq(idtree_upto(&ids->tree, id_of(i), &place), upto >= 0);
    cr_assert(upto < 0 || stream_id_equal(idtree_id(&place), id_of((unsigned)upto)));
}

static void toggle(struct ids *ids, unsigned i, bool add) {
    void *address = &ids->there[i];
    if (add) {
        cr_assert_eq(idtree_add(ids->heap, &ids->tree, id_of(i), address), !ids->there[i]);
    } else {
        void *found = idtree_remove(ids->heap, &ids->tree, id_of(i));
        cr_assert_eq(found, ids->there[i] ? address : NULL);
    }
    ids->count += (uint64_t)add - ids->there[i];
    ids->there[i] = add;
    cr_assert_eq(idtree_find(&ids->tree, id_of(i)), add ? address : NULL);
}

static void nothing(void *arg, struct stream_id id, void *address) {
    struct ids *ids = arg;
    unsigned i = (unsigned)((bool *)address - ids->there);
    cr_assert(ids->there[i] && stream_id_equal(id, id_of(i)));
    ids->there[i] = false;
    ids->count--;
}

Test(idtree, random_ids_stand_in_their_order) {
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct ids *ids = calloc(1, sizeof *ids);
        ids->heap = shard_heap_new();
        struct rng rng;
        rng_seed(&rng, seed);
        for (unsigned round = 0; round < 40; round++) {
            /* Now many come, now many go, in a row or anywhere. */
            unsigned share = (unsigned)(rng_next(&rng) % 101),
                     at = (unsigned)(rng_next(&rng) % IDS);
            bool in_a_row = rng_next(&rng) % 2;
            for (unsigned n = 0; n < 300; n++) {
                unsigned i = in_a_row ? (at + n) % IDS : (unsigned)(rng_next(&rng) % IDS);
                toggle(ids, i, rng_next(&rng) % 100 < share);
                expect_neighbours(ids, (unsigned)(rng_next(&rng) % IDS));
            }
            expect_tree(ids);
        }
        size_t copied = 0;
        struct idtree_place place;
        bool more = idtree_first(&ids->tree, &place);
        for (; more; more = idtree_next(&place)) {
            idtree_relocate(ids->heap, &ids->tree, &place, &copied);
        }
        expect_tree(ids);
        while (idtree_drop_leaf(ids->heap, &ids->tree, nothing, ids)) {
            expect_tree(ids);
        }
        cr_assert_eq(ids->count, 0);
        cr_assert_eq(heap_used(ids->heap), 0);
        shard_heap_free(ids->heap);
        free(ids);
    }
}

Test(idtree, what_is_put_at_the_end_fills_its_nodes) {
    struct shard_heap *heap = shard_heap_new();
    struct idtree tree = {0};
    for (uint64_t i = 0; i < 100000; i++) {
        idtree_add(heap, &tree, (struct stream_id){i, 0}, &tree);
    }
    idtree_verify(&tree);
    cr_assert_lt(idtree_memory(&tree), 100000 * 25);
    /* Taken out one by one from the front it goes as it came. */
    for (uint64_t i = 0; i < 100000; i++) {
        cr_assert_eq(idtree_remove(heap, &tree, (struct stream_id){i, 0}), &tree);
    }
    cr_assert_eq(heap_used(heap), 0);
    shard_heap_free(heap);
}

/* ---- Streams ---- */

#define ENTRIES 3000
#define FIELDS  4

struct model_entry {
    struct stream_id id;
    unsigned kind; /* of its fields and values */
    bool there;
};

struct model {
    struct shard_heap *heap;
    struct value value;
    struct model_entry entries[ENTRIES];
    unsigned count;
    uint64_t length;
    struct stream_limits limits;
    struct rng rng;
};

static struct stream *stream(struct model *m) {
    return stream_of(&m->value);
}

static unsigned chance(struct model *m, unsigned n) {
    return (unsigned)(rng_next(&m->rng) % n);
}

static const char *const texts[] = {
    "", "a", "field", "12", "-7", "123456789012", "01", "value of some length"};

static uint32_t pairs_of(unsigned kind, struct bytes pairs[2 * FIELDS]) {
    uint32_t fields = 1 + kind % FIELDS;
    for (uint32_t i = 0; i < 2 * fields; i++) {
        unsigned which = i % 2 == 0 ? kind % 3 + i : kind * (i + 1);
        pairs[i] = bytes_of_text(texts[which % (sizeof texts / sizeof texts[0])]);
    }
    return fields;
}

static void expect_entry(struct stream_iter *iter, const struct model_entry *entry) {
    struct bytes pairs[2 * FIELDS];
    char scratch[NUM_I64_BYTES];
    cr_assert(stream_id_equal(iter->id, entry->id));
    cr_assert_eq(iter->fields, pairs_of(entry->kind, pairs));
    /* Not all of them are read each time. */
    for (uint32_t i = 0; i < iter->fields && (entry->kind % 5 > 0 || i == 0); i++) {
        struct listpack_item field, value;
        stream_iter_field(iter, &field, &value);
        cr_assert(bytes_equal(listpack_text(&field, scratch), pairs[2 * i]));
        cr_assert(bytes_equal(listpack_text(&value, scratch), pairs[2 * i + 1]));
    }
}

static void expect_range(struct model *m, const struct value *value, struct stream_id from,
                         struct stream_id to, bool reverse) {
    struct stream_iter iter;
    stream_iter_init(&iter, stream_of(value), from, to, reverse);
    uint64_t counted = stream_iter_count(&iter, UINT64_MAX), found = 0;
    cr_assert_eq(stream_iter_count(&iter, counted / 2), counted / 2);
    for (unsigned n = 0; n < m->count; n++) {
        const struct model_entry *entry = &m->entries[reverse ? m->count - 1 - n : n];
        if (entry->there && !stream_id_less(entry->id, from) && !stream_id_less(to, entry->id)) {
            cr_assert(stream_iter_next(&iter));
            expect_entry(&iter, entry);
            found++;
        }
    }
    cr_assert_not(stream_iter_next(&iter));
    cr_assert_not(stream_iter_next(&iter));
    cr_assert_eq(counted, found);
}

static struct stream_id some_id(struct model *m) {
    if (m->count == 0 || chance(m, 8) == 0) {
        return chance(m, 2) ? STREAM_ID_MIN : STREAM_ID_MAX;
    }
    struct stream_id id = m->entries[chance(m, m->count)].id;
    switch (chance(m, 3)) {
    case 0:
        stream_id_up(&id);
        break;
    case 1:
        stream_id_down(&id);
        break;
    default:
        break;
    }
    return id;
}

static void expect_stream(struct model *m) {
    stream_form.verify(&m->value);
    cr_assert_eq(heap_used(m->heap), stream(m)->bytes);
    cr_assert_eq(stream(m)->length, m->length);
    expect_range(m, &m->value, STREAM_ID_MIN, STREAM_ID_MAX, chance(m, 2));
    expect_range(m, &m->value, some_id(m), some_id(m), chance(m, 2));
}

static void append(struct model *m) {
    struct stream_id id = stream(m)->last;
    id.ms += chance(m, 3) == 0 ? chance(m, 100000) : 0;
    id.seq += 1 + chance(m, 3);
    struct bytes pairs[2 * FIELDS];
    unsigned kind = chance(m, 4) == 0 ? chance(m, 1000) : 24;
    uint32_t fields = pairs_of(kind, pairs);
    stream_append(m->heap, stream(m), id, pairs, fields, &m->limits);
    m->entries[m->count++] = (struct model_entry){id, kind, true};
    m->length++;
}

static void delete (struct model *m) {
    struct stream_id id = some_id(m);
    bool there = false;
    for (unsigned i = 0; i < m->count; i++) {
        if (stream_id_equal(m->entries[i].id, id)) {
            there = m->entries[i].there;
            m->entries[i].there = false;
        }
    }
    cr_assert_eq(stream_has(stream(m), id), there);
    cr_assert_eq(stream_delete(m->heap, stream(m), id), there);
    m->length -= there;
    stream_note_first(stream(m));
}

/* Approximate ones are held to what they promise: the oldest go, and no more than asked. */
static void trim(struct model *m) {
    struct stream_trim trim = {
        .by_id = chance(m, 2),
        .approximate = chance(m, 2),
        .max_length = m->length - (m->length > 0 ? chance(m, (unsigned)m->length) / 4 : 0),
        .min_id = m->count > 0 ? m->entries[chance(m, m->count) / 8].id : STREAM_ID_MIN,
        .limit = chance(m, 2) ? 0 : chance(m, 50)};
    trim.limit = trim.approximate ? trim.limit : 0;
    uint64_t gone = stream_trim(m->heap, stream(m), &trim);
    cr_assert(trim.limit == 0 || gone <= trim.limit);
    uint64_t wanted = 0;
    for (unsigned i = 0; i < m->count; i++) {
        if (m->entries[i].there && (trim.by_id ? stream_id_less(m->entries[i].id, trim.min_id)
                                               : wanted < m->length - trim.max_length)) {
            wanted++;
        }
    }
    cr_assert(trim.approximate ? gone <= wanted : gone == wanted);
    m->length -= gone;
    for (unsigned i = 0; gone > 0; i++) {
        gone -= m->entries[i].there;
        m->entries[i].there = false;
    }
}

static struct model *model_new(uint64_t seed) {
    struct model *m = calloc(1, sizeof *m);
    m->heap = shard_heap_new();
    m->value = stream_new(m->heap);
    rng_seed(&m->rng, seed);
    m->limits = (struct stream_limits){seed % 3 == 0 ? 0 : 100 + chance(m, 4000),
                                       seed % 4 == 0 ? 0 : 1 + chance(m, 200)};
    return m;
}

static void model_free(struct model *m) {
    size_t budget;
    do {
        budget = 100;
    } while (!stream_form.free_some(m->heap, &m->value, &budget));
    cr_assert_eq(heap_used(m->heap), 0);
    shard_heap_free(m->heap);
    free(m);
}

Test(stream, random_entries_stand_in_their_order) {
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct model *m = model_new(seed);
        while (m->count < ENTRIES) {
            unsigned action = chance(m, 100);
            if (action < 70) {
                append(m);
            } else if (action < 98) {
                delete (m);
            } else {
                trim(m);
            }
            if (chance(m, 60) == 0) {
                expect_stream(m);
            }
        }
        expect_stream(m);
        model_free(m);
    }
}

/* Deleted entries may have greater ids than those behind them, when XSETID has gone back. */
Test(stream, an_entry_may_have_the_id_of_a_deleted_one) {
    struct model *m = model_new(3);
    m->limits = (struct stream_limits){0, 0};
    struct bytes pairs[] = {BYTES("f"), BYTES("v")};
    for (uint64_t i = 1; i <= 5; i++) {
        stream_append(m->heap, stream(m), (struct stream_id){i, 0}, pairs, 1, &m->limits);
    }
    for (uint64_t i = 3; i <= 5; i++) {
        cr_assert(stream_delete(m->heap, stream(m), (struct stream_id){i, 0}));
    }
    stream(m)->last = (struct stream_id){2, 0};
    stream_append(m->heap, stream(m), (struct stream_id){4, 0}, pairs, 1, &m->limits);
    stream_form.verify(&m->value);
    cr_assert(stream_has(stream(m), (struct stream_id){4, 0}));
    cr_assert(stream_id_equal(stream_last_entry(stream(m)), (struct stream_id){4, 0}));
    struct stream_iter iter;
    stream_iter_init(&iter, stream(m), (struct stream_id){2, 1}, (struct stream_id){4, 0}, false);
    cr_assert(stream_iter_next(&iter) && iter.id.ms == 4);
    cr_assert_not(stream_iter_next(&iter));
    cr_assert(stream_delete(m->heap, stream(m), (struct stream_id){4, 0}));
    cr_assert_eq(stream(m)->length, 2);
    model_free(m);
}

/* ---- Groups ---- */

static struct bytes name_of(unsigned i, char *text) {
    return bytes_make(text, (size_t)sprintf(text, "name-%u", i * 7919 % 100));
}

static struct stream_consumer *some_consumer(struct model *m, struct stream_group **ret_group) {
    char text[32];
    struct bytes name = name_of(chance(m, 4), text);
    *ret_group = stream_group_find(stream(m), name);
    if (*ret_group == NULL) {
        *ret_group = stream_group_add(m->heap, stream(m), name, STREAM_ID_MIN, 0);
    }
    name = name_of(chance(m, 20), text);
    struct stream_consumer *consumer = stream_consumer_find(*ret_group, name);
    return consumer != NULL ? consumer
                            : stream_consumer_add(m->heap, stream(m), *ret_group, name, 5);
}

/* What was taken out leads to all that it should, and is all freed in slices. */
static void free_detached(struct model *m, struct value value) {
    size_t used = heap_used(m->heap), bytes = stream_of(&value)->bytes;
    stream_form.verify(&value);
    size_t budget;
    do {
        budget = 200;
    } while (!stream_form.free_some(m->heap, &value, &budget));
    cr_assert_eq(used - heap_used(m->heap), bytes);
}

/* At once, or taken out whole; or all that is pending in it is one consumer's, which is. */
static void remove_group(struct model *m, struct stream_group *group,
                         struct stream_consumer *consumer, unsigned how) {
    if (how == 0) {
        stream_group_remove(m->heap, stream(m), group);
        return;
    }
    if (how == 1) {
        free_detached(m, stream_group_detach(m->heap, stream(m), group));
        return;
    }
    while (group->consumers_count > 1) {
        bool is_last = group->consumers[0] == consumer;
        stream_consumer_remove(m->heap, stream(m), group, group->consumers[is_last]);
    }
    cr_assert_eq(consumer->pending.count, group->pending.count);
    free_detached(m, stream_consumer_detach(m->heap, stream(m), group, consumer));
    cr_assert_eq(group->consumers_count + group->pending.count, 0);
}

static void expect_copy(const struct stream *a, const struct stream *b) {
    cr_assert_eq(a->groups_count, b->groups_count);
    for (uint32_t i = 0; i < a->groups_count; i++) {
        struct idtree_place x, y;
        bool more = idtree_first(&a->groups[i]->pending, &x);
        cr_assert_eq(idtree_first(&b->groups[i]->pending, &y), more);
        cr_assert_eq(a->groups[i]->consumers_count, b->groups[i]->consumers_count);
        for (; more; more = idtree_next(&x)) {
            const struct stream_pending *p = idtree_get(&x), *q = idtree_get(&y);
            cr_assert(p != q && stream_id_equal(idtree_id(&x), idtree_id(&y)));
            cr_assert(
                bytes_equal(stream_consumer_name(p->consumer), stream_consumer_name(q->consumer)));
            cr_assert(p->deliveries == q->deliveries && p->delivered_ms == q->delivered_ms);
            idtree_next(&y);
        }
    }
}

Test(stream, groups_keep_what_is_pending_once_for_all_and_once_for_each) {
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct model *m = model_new(seed);
        for (unsigned i = 0; i < 500; i++) {
            append(m);
        }
        for (unsigned n = 0; n < 4000; n++) {
            struct stream_group *group;
            struct stream_consumer *consumer = some_consumer(m, &group);
            unsigned action = chance(m, 100);
            struct stream_id id = m->entries[chance(m, m->count)].id;
            if (action < 70) {
                struct stream_pending *pending =
                    stream_pending_give(m->heap, stream(m), group, consumer, id);
                cr_assert_eq(pending->consumer, consumer);
                pending->deliveries++;
                pending->delivered_ms = n;
            } else if (action < 98) {
                bool there = stream_pending_find(group, id) != NULL;
                cr_assert_eq(stream_pending_remove(m->heap, stream(m), group, id), there);
            } else if (action < 99) {
                stream_consumer_remove(m->heap, stream(m), group, consumer);
            } else if (chance(m, 5) == 0) {
                remove_group(m, group, consumer, chance(m, 3));
            }
            if (n % 100 == 0) {
                expect_stream(m);
            }
        }
        /* In slices, into another heap. */
        struct shard_heap *other = shard_heap_new();
        struct value copy = {.type = TYPE_STREAM, .form = FORM_STREAM};
        uint64_t cursor = 0;
        size_t budget;
        do {
            budget = 50;
        } while (!stream_form.copy_some(other, &m->value, &copy, &cursor, &budget));
        stream_form.verify(&copy);
        expect_range(m, &copy, STREAM_ID_MIN, STREAM_ID_MAX, false);
        expect_copy(stream(m), stream_of(&copy));
        cr_assert_eq(heap_used(other), stream_of(&copy)->bytes);
        /* Moved in slices, while it changes. */
        cursor = 0;
        do {
            budget = 1000;
            delete (m);
        } while (!stream_form.relocate_some(m->heap, &m->value, &cursor, &budget));
        expect_stream(m);
        budget = SIZE_MAX;
        cr_assert(stream_form.free_some(other, &copy, &budget));
        cr_assert_eq(heap_used(other), 0);
        shard_heap_free(other);
        model_free(m);
    }
}

/* A slice ended only when so much had been copied: of what lies well already it looked at all, and
 * each began with the first node again. */
Test(stream, what_needs_no_move_is_looked_at_in_slices_and_once) {
    struct shard_heap *heap = shard_heap_new();
    struct value value = stream_new(heap);
    struct stream *stream = stream_of(&value);
    const struct stream_limits limits = {.node_entries = 1};
    const uint64_t entries = 5000;
    struct stream_group *group =
        stream_group_add(heap, stream, BYTES("group"), STREAM_ID_MIN, STREAM_COUNT_UNKNOWN);
    struct stream_consumer *consumer =
        stream_consumer_add(heap, stream, group, BYTES("consumer"), 1);
    for (uint64_t i = 1; i <= entries; i++) {
        struct bytes pair[] = {BYTES("field"), BYTES("value")};
        stream_append(heap, stream, (struct stream_id){i, 0}, pair, 1, &limits);
        stream_pending_give(heap, stream, group, consumer, (struct stream_id){i, 0});
    }
    cr_assert_eq(stream->nodes.count, entries);
    uint64_t cursor = 0, slices = 0;
    bool done = false;
    while (!done) {
        size_t budget = 4096;
        struct stream_id before = stream->moved_to;
        uint64_t part = cursor;
        done = stream_form.relocate_some(heap, &value, &cursor, &budget);
        stream = stream_of(&value);
        cr_assert(done || cursor > part || stream_id_less(before, stream->moved_to));
        slices++;
    }
    stream_form.verify(&value);
    cr_assert_gt(slices, 2 * entries / 1000);
    cr_assert_lt(slices, 2 * entries);
    size_t budget = SIZE_MAX;
    cr_assert(stream_form.free_some(heap, &value, &budget));
    shard_heap_free(heap);
}

static void count_element(void *arg, const struct value_element *element) {
    (void)element;
    ++*(uint64_t *)arg;
}

Test(stream, a_walk_sees_each_entry_once) {
    struct model *m = model_new(7);
    for (unsigned i = 0; i < 1000; i++) {
        append(m);
        if (i % 3 == 0) {
            delete (m);
        }
    }
    for (uint64_t count = 1; count < 400; count = count * 3 + 1) {
        uint64_t cursor = 0, seen = 0;
        do {
            cursor = stream_form.walk(&m->value, cursor, count, count_element, &seen);
        } while (cursor != 0);
        cr_assert_eq(seen, m->length);
    }
    model_free(m);
}

Test(stream, an_entry_of_two_small_fields_takes_29_bytes) {
    struct model *m = model_new(3);
    m->limits = (struct stream_limits){4096, 100};
    for (uint64_t i = 0; i < 500000; i++) {
        char text[24];
        struct bytes number = bytes_make(text, num_format_u64(text, i));
        struct bytes pairs[] = {BYTES("sensor"), number, BYTES("temperature"), number};
        stream_append(m->heap, stream(m), (struct stream_id){1700000000000 + i / 10, i % 10}, pairs,
                      2, &m->limits);
    }
    cr_assert_lt(stream(m)->bytes, 500000 * 29, "%zu", stream(m)->bytes);
    model_free(m);
}
