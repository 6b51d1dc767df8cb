/* SPDX-License-Identifier: BSD-3-Clause */
/* Intsets: their bytes as Valkey writes them, widening at both ends, foreign bytes. Sets, in every
 * form and from one to the other, against a row of flags; and large ones in slices. */
#include "shard/types/set.h"

#include "base/random.h"
#include "shard/ds/intset.h"
#include "shard/keys/keyspace_private.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define NOW INT64_C(1700000000000)

/* ---- Intsets ---- */

struct ints {
    char bytes[8 + 8 * 2000];
    size_t length;
};

static bool ints_add(struct ints *ints, int64_t number) {
    uint32_t index;
    if (intset_find(ints->bytes, number, &index)) {
        return false;
    }
    struct intset_room room = intset_room(ints->bytes, index, number);
    memmove(ints->bytes + room.at + room.bytes, ints->bytes + room.at, ints->length - room.at);
    ints->length += room.bytes;
    intset_put(ints->bytes, index, number);
    return true;
}

static bool ints_remove(struct ints *ints, int64_t number) {
    uint32_t index;
    if (!intset_find(ints->bytes, number, &index)) {
        return false;
    }
    struct intset_room cut = intset_cut(ints->bytes, index);
    memmove(ints->bytes + cut.at, ints->bytes + cut.at + cut.bytes,
            ints->length - cut.at - cut.bytes);
    ints->length -= cut.bytes;
    intset_took(ints->bytes);
    return true;
}

static void ints_init(struct ints *ints) {
    intset_init(ints->bytes);
    ints->length = INTSET_HEADER_BYTES;
}

Test(intset, bytes_are_those_of_the_format) {
    struct ints ints;
    ints_init(&ints);
    cr_assert_eq(memcmp(ints.bytes, "\x02\0\0\0\0\0\0\0", 8), 0);
    ints_add(&ints, 5);
    ints_add(&ints, -2);
    cr_assert_eq(ints.length, 12);
    cr_assert_eq(memcmp(ints.bytes, "\x02\0\0\0\x02\0\0\0\xfe\xff\x05\0", 12), 0);
    ints_add(&ints, -32769);
    cr_assert_eq(ints.length, 20);
    cr_assert_eq(
        memcmp(ints.bytes, "\x04\0\0\0\x03\0\0\0\xff\x7f\xff\xff\xfe\xff\xff\xff\x05\0\0\0", 20),
        0);
    ints_add(&ints, INT64_C(2147483648));
    cr_assert_eq(ints.length, 40);
    cr_assert_eq(memcmp(ints.bytes + 32, "\0\0\0\x80\0\0\0\0", 8), 0);
    cr_assert(intset_is_sound(bytes_make(ints.bytes, ints.length)));
    cr_assert(ints_remove(&ints, INT64_C(2147483648)));
    cr_assert_eq(intset_width(ints.bytes), 8, "what was wide stays so");
}

Test(intset, every_width_is_added_to_every_other_at_either_end) {
    static const int64_t numbers[] = {
        INT64_MIN, INT32_MIN - INT64_C(1), INT32_MIN, INT16_MIN - 1,          INT16_MIN, -1, 0, 1,
        INT16_MAX, INT16_MAX + 1,          INT32_MAX, INT32_MAX + INT64_C(1), INT64_MAX};
    enum { N = sizeof numbers / sizeof numbers[0] };
    for (int first = 0; first < N; first++) {
        for (int second = 0; second < N; second++) {
            for (int third = 0; third < N; third++) {
                struct ints ints;
                ints_init(&ints);
                cr_assert(ints_add(&ints, numbers[first]));
                cr_assert_eq(ints_add(&ints, numbers[second]), second != first);
                cr_assert_eq(ints_add(&ints, numbers[third]), third != first && third != second);
                cr_assert(intset_is_sound(bytes_make(ints.bytes, ints.length)));
                for (int i = 0; i < N; i++) {
                    uint32_t index;
                    cr_assert_eq(intset_find(ints.bytes, numbers[i], &index),
                                 i == first || i == second || i == third);
                }
            }
        }
    }
}

Test(intset, random_changes_are_those_of_a_row_of_flags) {
    struct ints ints;
    ints_init(&ints);
    bool model[1000] = {0};
    uint32_t count = 0;
    struct rng rng;
    rng_seed(&rng, 3);
    for (int step = 0; step < 50000; step++) {
        uint64_t at = rng_below(&rng, 1000);
        int64_t number = ((int64_t)at - 500) * (step < 20000 ? 60 : 5000000);
        if (step == 20000) {
            ints_init(&ints);
            memset(model, 0, sizeof model);
            count = 0;
        }
        bool growing = step / 5000 % 2 == 0;
        if (rng_below(&rng, 4) < (growing ? 3 : 1)) {
            cr_assert_eq(ints_add(&ints, number), !model[at]);
            count += !model[at];
            model[at] = true;
        } else {
            cr_assert_eq(ints_remove(&ints, number), model[at]);
            count -= model[at];
            model[at] = false;
        }
        cr_assert_eq(intset_count(ints.bytes), count);
        cr_assert_eq(intset_bytes(ints.bytes), ints.length);
        cr_assert_eq(intset_is_sound(bytes_make(ints.bytes, ints.length)), count > 0);
    }
}

Test(intset, what_is_cut_or_changed_is_not_sound_or_is_read_within_its_bytes) {
    struct ints ints;
    ints_init(&ints);
    for (int i = -3; i < 4; i++) {
        ints_add(&ints, i * 10000);
    }
    for (size_t n = 0; n < ints.length; n++) {
        cr_assert_not(intset_is_sound(bytes_make(ints.bytes, n)));
    }
    for (size_t at = 0; at < ints.length; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            char *copy = malloc(ints.length); /* a sanitizer sees each byte too far */
            memcpy(copy, ints.bytes, ints.length);
            copy[at] ^= (char)(1u << bit);
            uint32_t index;
            if (intset_is_sound(bytes_make(copy, ints.length))) {
                cr_assert_not(intset_find(copy, INT64_C(1) << 40, &index));
                cr_assert(intset_find(copy, intset_get(copy, 0), &index));
            }
            free(copy);
        }
    }
    cr_assert_not(intset_is_sound(BYTES("\x02\0\0\0\0\0\0\0")));
    cr_assert_not(intset_is_sound(BYTES("\x03\0\0\0\x01\0\0\0abc")));
    cr_assert_not(intset_is_sound(BYTES("\x02\0\0\0\x02\0\0\0\x05\0\x05\0")));
    cr_assert_not(intset_is_sound(BYTES("\x02\0\0\0\xff\xff\xff\xff\x05\0")));
}

/* ---- Sets ---- */

struct fixture {
    struct shard_heap *heap;
    struct keyspace *ks;
    struct key key;
    struct set_limits limits;
};

static const struct hash_secret secret = {{1, 2, 3}};

static void fixture_init(struct fixture *f) {
    f->heap = shard_heap_new();
    f->ks = keyspace_new(&(struct keyspace_options){
        .databases = 1, .secret = &secret, .heap = f->heap, .now_ms = NOW});
    f->key = key_make(&secret, BYTES("a set"));
    f->limits = (struct set_limits){512, 128, 64};
}

static void fixture_fini(struct fixture *f) {
    keyspace_free(f->ks);
    cr_assert_eq(heap_used(f->heap), 0);
    shard_heap_free(f->heap);
}

static struct entry *entry_of(const struct fixture *f) {
    return keyspace_find(f->ks, 0, &f->key, NOW, LOOKUP_WRITE);
}

static bool add(struct fixture *f, struct bytes text) {
    struct change change;
    struct set_edit edit;
    struct set_member member;
    struct entry *entry = entry_of(f);
    set_member_text(&member, text);
    change_open(&change, f->ks, 0, &f->key, entry, NOW);
    if (entry == NULL) {
        set_edit_make(&edit, &change, &f->limits, &member, 1);
    } else {
        set_edit_open(&edit, &change, &f->limits);
    }
    bool added = set_add(&edit, &member);
    cr_assert_not(set_add(&edit, &member));
    cr_assert(set_has(edit.value, &member));
    change_close(&change, added ? EVENT_SADD : EVENT_NONE);
    return added;
}

static bool take(struct fixture *f, struct bytes text) {
    struct change change;
    struct set_edit edit;
    struct set_member member;
    struct entry *entry = entry_of(f);
    if (entry == NULL) {
        return false;
    }
    set_member_text(&member, text);
    change_open(&change, f->ks, 0, &f->key, entry, NOW);
    set_edit_open(&edit, &change, &f->limits);
    bool removed = set_remove(&edit, &member);
    cr_assert_not(set_has(edit.value, &member));
    change_close(&change, removed ? EVENT_SREM : EVENT_NONE);
    return removed;
}

/* The names of a model: numbers of all widths; and, where `texts` says so, others of all lengths.
 */
static struct bytes name_of(uint32_t index, bool texts, char *room) {
    static const unsigned lengths[] = {0, 1, 3, 16, 63, 64, 65, 127, 128, 300, 20000};
    if (!texts || index % 3 == 0) {
        int64_t number = (int64_t)((index + 1) * UINT64_C(0x9E3779B97F4A7C15)) >> (index % 64);
        number = number ^ (int64_t)index << 1;
        return bytes_make(room, num_format_i64(room, number));
    }
    unsigned length = lengths[index % (index % 100 == 0 ? 11 : 5)];
    size_t n = length > 8 ? (size_t)sprintf(room, "%u:", index) : 0;
    memset(room + n, 'a' + (int)(index % 26), length > n ? length - n : 0);
    return bytes_make(room, length);
}

enum { NAMES = 3000 };

static bool same_name(struct bytes a, struct bytes b) {
    return bytes_equal(a, b);
}

/* The model's names, some of which are the same: then the first of them stands for all. */
struct model {
    struct bytes names[NAMES];
    uint32_t first[NAMES];
    bool is_in[NAMES];
    uint32_t count;
};

static struct model *model_new(bool texts) {
    struct model *model = calloc(1, sizeof *model);
    char *room = malloc(32768);
    for (uint32_t i = 0; i < NAMES; i++) {
        struct bytes name = name_of(i, texts, room);
        char *copy = malloc(name.len + 1);
        memcpy(copy, name.ptr, name.len);
        model->names[i] = bytes_make(copy, name.len);
        model->first[i] = i;
        for (uint32_t j = 0; j < i; j++) {
            if (same_name(model->names[j], model->names[i])) {
                model->first[i] = j;
                break;
            }
        }
    }
    free(room);
    return model;
}

static void model_free(struct model *model) {
    for (uint32_t i = 0; i < NAMES; i++) {
        free((char *)(uintptr_t)model->names[i].ptr);
    }
    free(model);
}

static uint32_t model_index(const struct model *model, struct bytes name) {
    for (uint32_t i = 0; i < NAMES; i++) {
        if (same_name(model->names[i], name)) {
            return i;
        }
    }
    cr_assert(false, "a member that nobody added");
    return 0;
}

static void compare(const struct fixture *f, const struct model *model) {
    keyspace_verify(f->ks);
    const struct entry *entry = entry_of(f);
    cr_assert_eq(entry != NULL, model->count > 0);
    if (entry == NULL) {
        return;
    }
    struct value set = entry_value_of(entry);
    forms_find(&value_forms, &set)->verify(&set);
    cr_assert_eq(set_count(&set), model->count);
    struct set_walk walk = set_walk(&set);
    struct set_member member, by_index;
    for (uint64_t i = 0; i < model->count; i++) {
        cr_assert(set_next(&walk, &member));
        cr_assert(model->is_in[model_index(model, set_text(&member))]);
        set_at(&set, i, &by_index);
        cr_assert(bytes_equal(set_text(&by_index), set_text(&member)));
    }
    cr_assert_not(set_next(&walk, &member));
    for (uint32_t i = 0; i < NAMES; i++) {
        set_member_text(&member, model->names[i]);
        cr_assert_eq(set_has(&set, &member), model->is_in[model->first[i]]);
    }
}

static void run_model(bool texts, uint32_t names, uint64_t seed) {
    struct fixture f;
    fixture_init(&f);
    struct model *model = model_new(texts);
    struct rng rng;
    rng_seed(&rng, seed);
    unsigned rank = 0; /* of its form: it never goes back while the key lives */
    for (int step = 0; step < 12000; step++) {
        uint32_t at = model->first[rng_below(&rng, names)];
        bool growing = step / 3000 % 2 == 0;
        if (rng_below(&rng, 8) < (growing ? 7 : 1)) {
            cr_assert_eq(add(&f, model->names[at]), !model->is_in[at]);
            model->count += !model->is_in[at];
            model->is_in[at] = true;
        } else {
            cr_assert_eq(take(&f, model->names[at]), model->is_in[at]);
            model->count -= model->is_in[at];
            model->is_in[at] = false;
        }
        const struct entry *entry = entry_of(&f);
        if (entry != NULL) {
            struct value set = entry_value_of(entry);
            unsigned now = set.form == FORM_TABLE ? 2 : value_is_listpack(&set) ? 1 : 0;
            cr_assert(now >= rank);
            rank = now;
        } else {
            rank = 0;
        }
        if (step % 997 == 0) {
            compare(&f, model);
        }
    }
    compare(&f, model);
    fixture_fini(&f);
    model_free(model);
}

Test(set, random_changes_of_numbers_are_those_of_a_row_of_flags) {
    run_model(false, 20, 1);
    run_model(false, 400, 2);
    run_model(false, NAMES, 3);
}

Test(set, random_changes_of_texts_are_those_of_a_row_of_flags) {
    run_model(true, 20, 4);
    run_model(true, 100, 5);
    run_model(true, NAMES, 6);
}

static const char *encoding(const struct fixture *f) {
    return entry_encoding_name(entry_of(f));
}

Test(set, becomes_larger_where_the_limits_say_so) {
    struct fixture f;
    fixture_init(&f);
    char text[64];
    for (int i = 0; i < 512; i++) {
        add(&f, bytes_make(text, (size_t)sprintf(text, "%d", i * 7)));
    }
    cr_assert_str_eq(encoding(&f), "intset");
    add(&f, BYTES("100000"));
    cr_assert_str_eq(encoding(&f), "hashtable");
    keyspace_delete(f.ks, 0, &f.key, NOW, false, EVENT_DEL);
    for (int i = 0; i < 127; i++) {
        add(&f, bytes_make(text, (size_t)sprintf(text, "%d", i)));
    }
    add(&f, BYTES("a text"));
    cr_assert_str_eq(encoding(&f), "listpack");
    add(&f, BYTES("one more"));
    cr_assert_str_eq(encoding(&f), "hashtable");
    cr_assert_not(add(&f, BYTES("126")));
    keyspace_delete(f.ks, 0, &f.key, NOW, false, EVENT_DEL);
    add(&f, BYTES("1"));
    f.limits.listpack_value = 5;
    add(&f, BYTES("123456"));
    cr_assert_str_eq(encoding(&f), "intset");
    add(&f, BYTES("text")); /* the number would be too long for a listpack */
    cr_assert_str_eq(encoding(&f), "hashtable");
    keyspace_delete(f.ks, 0, &f.key, NOW, false, EVENT_DEL);
    add(&f, BYTES("texts!"));
    cr_assert_str_eq(encoding(&f), "hashtable");
    keyspace_verify(f.ks);
    fixture_fini(&f);
}

static void fill(struct fixture *f, uint32_t count) {
    char text[64];
    for (uint32_t i = 0; i < count; i++) {
        add(f, bytes_make(text, (size_t)sprintf(text, "member:%u", i)));
    }
}

/* A hint is worth something if it leads to where the member is. */
Test(set, members_of_a_large_one_are_prefetched_where_they_are) {
    for (int large = 0; large < 2; large++) {
        struct fixture f;
        fixture_init(&f);
        fill(&f, large ? 5000 : 10);
        struct element_hint hints[3] = {
            {.key = &f.key, .element = BYTES("member:3")},
            {.key = &f.key, .element = BYTES("member:9")},
            {.key = &f.key, .element = BYTES("nobody")},
        };
        keyspace_prefetch_elements(f.ks, hints, 3);
        for (int i = 0; i < 3; i++) {
            cr_assert_eq(hints[i].names != NULL, large);
            if (large && i < 2) {
                struct table_probe probe = table_probe(hints[i].names, hints[i].hash);
                const void *member = table_probe_next(&probe);
                cr_assert(bytes_equal(member_name(member), hints[i].element));
            }
        }
        fixture_fini(&f);
    }
}

/* ---- In slices ---- */

Test(set, is_copied_and_freed_in_slices) {
    struct fixture f;
    fixture_init(&f);
    fill(&f, 5000);
    struct value set = entry_value_of(entry_of(&f));
    const struct form *form = forms_find(&value_forms, &set);
    size_t before = heap_used(f.heap);
    struct value copy = {.type = set.type, .form = set.form};
    uint64_t cursor = 0;
    int steps = 1;
    for (size_t budget = 4096; !form->copy_some(f.heap, &set, &copy, &cursor, &budget);
         budget = 4096) {
        steps++;
    }
    cr_assert_gt(steps, 20);
    form->verify(&copy);
    cr_assert_eq(form->memory(&copy), heap_used(f.heap) - before);
    struct set_walk walk = set_walk(&set);
    struct set_member member;
    while (set_next(&walk, &member)) {
        cr_assert(set_has(&copy, &member));
    }
    steps = 1;
    for (size_t budget = 4096; !form->free_some(f.heap, &copy, &budget); budget = 4096) {
        cr_assert_eq(form->memory(&copy), heap_used(f.heap) - before);
        steps++;
    }
    cr_assert_gt(steps, 20);
    cr_assert_eq(heap_used(f.heap), before);
    /* A copy that is given up. */
    copy = (struct value){.type = set.type, .form = set.form};
    cursor = 0;
    size_t budget = 4096;
    cr_assert_not(form->copy_some(f.heap, &set, &copy, &cursor, &budget));
    value_free(&value_forms, f.heap, &copy);
    cr_assert_eq(heap_used(f.heap), before);
    fixture_fini(&f);
}

Test(set, is_moved_out_of_sparse_slabs) {
    struct fixture f;
    fixture_init(&f);
    fill(&f, 60000);
    char text[64];
    for (uint32_t i = 0; i < 60000; i++) {
        if (i % 8 != 0) {
            cr_assert(take(&f, bytes_make(text, (size_t)sprintf(text, "member:%u", i))));
        }
    }
    struct value set = entry_value_of(entry_of(&f));
    size_t memory = value_memory(&value_forms, &set), slack = heap_slack(f.heap);
    for (int64_t now = NOW; heap_slack(f.heap) > slack / 4 && now < NOW + 10000; now++) {
        keyspace_work(f.ks, now);
    }
    cr_assert_leq(heap_slack(f.heap), slack / 4);
    keyspace_verify(f.ks);
    set = entry_value_of(entry_of(&f));
    cr_assert_eq(value_memory(&value_forms, &set), memory);
    cr_assert_eq(set_count(&set), 7500);
    for (uint32_t i = 0; i < 60000; i++) {
        struct set_member member;
        set_member_text(&member, bytes_make(text, (size_t)sprintf(text, "member:%u", i)));
        cr_assert_eq(set_has(&set, &member), i % 8 == 0);
    }
    fixture_fini(&f);
}

/* A walk that found nothing to move went through a whole large set in one turn. */
Test(set, is_looked_at_in_slices_when_nothing_is_to_be_moved) {
    struct fixture f;
    fixture_init(&f);
    fill(&f, 20000);
    struct value set = entry_value_of(entry_of(&f));
    uint64_t cursor = 0;
    int steps = 1;
    const struct form *form = forms_find(&value_forms, &set);
    for (size_t budget = 65536; !form->relocate_some(f.heap, &set, &cursor, &budget);
         budget = 65536) {
        steps++;
    }
    cr_assert_gt(steps, 15);
    form->verify(&set);
    fixture_fini(&f);
}

/* What is there all through a walk is seen, whatever comes and goes meanwhile. */
static void see(void *arg, const struct value_element *element) {
    size_t prefix = strlen("member:");
    int64_t number;
    cr_assert(num_parse_i64(bytes_make(element->first.ptr + prefix, element->first.len - prefix),
                            &number));
    ((uint32_t *)arg)[number]++;
}

Test(set, a_walk_in_steps_sees_all_that_stays) {
    enum { STAY = 3000, ALL = 20000 };
    for (unsigned way = 0; way < 3; way++) {
        struct fixture f;
        fixture_init(&f);
        fill(&f, way == 0 ? STAY : ALL);
        uint32_t *seen = calloc(ALL, sizeof *seen);
        char text[64];
        uint64_t cursor = 0;
        uint32_t next = way == 0 ? STAY : ALL;
        do {
            struct value set = entry_value_of(entry_of(&f));
            cursor = forms_find(&value_forms, &set)->walk(&set, cursor, 10, see, seen);
            cr_assert_lt(cursor, UINT64_C(1) << 53);
            for (int i = 0; i < 100 && way == 0 && next < ALL; i++, next++) {
                add(&f, bytes_make(text, (size_t)sprintf(text, "member:%u", next)));
            }
            for (int i = 0; i < 100 && way == 1 && next > STAY; i++) {
                next--;
                take(&f, bytes_make(text, (size_t)sprintf(text, "member:%u", next)));
            }
        } while (cursor != 0);
        for (uint32_t i = 0; i < STAY; i++) {
            cr_assert_eq(seen[i], 1, "member %u, seen %u times", i, seen[i]);
        }
        free(seen);
        fixture_fini(&f);
    }
}
