/* SPDX-License-Identifier: BSD-3-Clause */
/* The fields of a large hash against an array: random sets, removals and deadlines, lengths that
 * cross every limit, walks that must see what stays, copies, moves in memory, and the order in
 * which deadlines are over. */
#include "base/check.h"
#include "base/hash.h"
#include "base/random.h"
#include "shard/ds/fields.h"
#include "shard/memory/heap.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES 3000

struct one {
    bool present;
    size_t length; /* of its value, whose bytes are all `fill` */
    char fill;
    int64_t deadline;
    unsigned visits;
    bool stays;
};

struct model {
    struct shard_heap *heap;
    unsigned char secret[HASH_SECRET_BYTES];
    struct fields *fields;
    struct one ones[NAMES];
    struct rng rng;
    char *value;
};

#define VALUE_MAX (80u << 10)

static struct model *model_new(uint64_t seed) {
    struct model *m = calloc(1, sizeof *m);
    m->heap = shard_heap_new();
    rng_seed(&m->rng, seed);
    for (unsigned i = 0; i < sizeof m->secret; i++) {
        m->secret[i] = (unsigned char)rng_next(&m->rng);
    }
    m->fields = fields_new(m->heap, m->secret);
    m->value = malloc(VALUE_MAX);
    return m;
}

static void model_free(struct model *m) {
    unsigned slices = 0;
    for (bool done = false; !done; slices++) {
        size_t budget = 4096;
        done = fields_free_some(m->fields, m->heap, &budget);
    }
    cr_assert_eq(heap_used(m->heap), 0);
    shard_heap_free(m->heap);
    free(m->value);
    free(m);
}

/* Every fiftieth name is long. */
static struct bytes name_of(unsigned i, char scratch[600]) {
    int n = snprintf(scratch, 600, "name%0*u", i % 50 == 0 ? 250 + (int)(i % 13) : 3, i);
    return bytes_make(scratch, (size_t)n);
}

static unsigned index_of(struct bytes name) {
    return (unsigned)strtoul(strndupa(name.ptr + 4, name.len - 4), NULL, 10);
}

static size_t draw_length(struct model *m) {
    switch (rng_below(&m->rng, 40)) {
    case 0:
        return UINT16_MAX - 1 + rng_below(&m->rng, 4);
    case 1:
        return VALUE_MAX - rng_below(&m->rng, 100);
    case 2:
        return 0;
    default:
        return rng_below(&m->rng, 60);
    }
}

static void step(struct model *m, unsigned i, unsigned kind) {
    char scratch[600];
    struct bytes name = name_of(i, scratch);
    struct one *one = &m->ones[i];
    struct field *field = fields_find(m->fields, name);
    cr_assert_eq(field != NULL, one->present);
    if (kind == 0 && field != NULL) {
        fields_remove(m->fields, m->heap, field);
        one->present = one->stays = false;
    } else if (kind <= 2) {
        size_t length = draw_length(m);
        char fill = (char)('a' + rng_below(&m->rng, 26));
        memset(m->value, fill, length);
        struct bytes value = bytes_make(m->value, length);
        if (field == NULL) {
            field = fields_add(m->fields, m->heap, name, value);
            one->deadline = FIELD_NO_DEADLINE;
        } else {
            field = fields_set(m->fields, m->heap, field, value);
        }
        one->present = true;
        one->length = length;
        one->fill = fill;
        cr_assert_eq(fields_find(m->fields, name), field);
    } else if (field != NULL) {
        one->deadline =
            kind == 3 ? FIELD_NO_DEADLINE : (int64_t)rng_below(&m->rng, 1000) + (kind == 4 ? 0 : i);
        field = fields_set_deadline(m->fields, m->heap, field, one->deadline);
        cr_assert_eq(fields_find(m->fields, name), field);
    }
}

static void compare_field(void *arg, const struct field *field) {
    struct model *m = arg;
    struct bytes value = field_value(field);
    struct one *one = &m->ones[index_of(field_name(field))];
    cr_assert(one->present);
    cr_assert_eq(value.len, one->length);
    cr_assert(value.len == 0 ||
              (value.ptr[0] == one->fill && value.ptr[value.len - 1] == one->fill));
    cr_assert_eq(field_deadline(m->fields, field), one->deadline);
    one->visits++;
}

static void compare(struct model *m) {
    uint32_t present = 0, over = 0;
    int64_t first = INT64_MAX, now = (int64_t)rng_below(&m->rng, 2000);
    for (unsigned i = 0; i < NAMES; i++) {
        m->ones[i].visits = 0;
        present += m->ones[i].present;
        if (m->ones[i].present && m->ones[i].deadline != FIELD_NO_DEADLINE) {
            first = m->ones[i].deadline < first ? m->ones[i].deadline : first;
            over += m->ones[i].deadline < now;
        }
    }
    fields_verify(m->fields);
    cr_assert_eq(fields_count(m->fields), present);
    cr_assert_eq(fields_next_deadline(m->fields), first == INT64_MAX ? FIELD_NO_DEADLINE : first);
    cr_assert_eq(deadlines_count_before(&m->fields->deadlines, now), over);
    fields_each(m->fields, compare_field, m);
    for (unsigned i = 0; i < NAMES; i++) {
        cr_assert_eq(m->ones[i].visits, m->ones[i].present);
    }
    cr_assert_eq(heap_used(m->heap), m->fields->bytes);
}

static void drift(struct model *m, unsigned steps, unsigned removes) {
    for (unsigned i = 0; i < steps; i++) {
        bool remove = rng_below(&m->rng, 10) < removes;
        step(m, (unsigned)rng_below(&m->rng, NAMES),
             remove ? 0 : 1 + (unsigned)rng_below(&m->rng, 5));
    }
}

Test(fields, agree_with_an_array) {
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct model *m = model_new(seed);
        for (unsigned round = 0; round < 6; round++) {
            drift(m, 3000, 1);
            compare(m);
            drift(m, 4000, 8);
            compare(m);
        }
        model_free(m);
    }
}

Test(fields, are_over_in_the_order_of_their_deadlines) {
    struct model *m = model_new(7);
    drift(m, 20000, 1);
    int64_t last = INT64_MIN;
    struct field *field;
    while ((field = fields_first_over(m->fields)) != NULL) {
        int64_t deadline = field_deadline(m->fields, field);
        cr_assert_geq(deadline, last);
        last = deadline;
        m->ones[index_of(field_name(field))].present = false;
        fields_remove(m->fields, m->heap, field);
    }
    compare(m);
    model_free(m);
}

Test(fields, are_walked_completely_while_they_change) {
    struct model *m = model_new(3);
    drift(m, 6000, 1);
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < NAMES; i++) {
            m->ones[i].visits = 0;
            m->ones[i].stays = m->ones[i].present;
        }
        uint64_t place = 0;
        do {
            place = fields_walk(m->fields, place, 20, compare_field, m);
            drift(m, 40, round % 10);
        } while (place < TABLE_PLACE_END);
        for (unsigned i = 0; i < NAMES; i++) {
            cr_assert(!m->ones[i].stays || m->ones[i].visits > 0);
        }
    }
    model_free(m);
}

Test(fields, are_copied_and_moved_in_slices) {
    struct model *m = model_new(5);
    drift(m, 9000, 1);
    struct fields *from = m->fields, *to = fields_new(m->heap, m->secret);
    uint64_t place = 0;
    while (place < TABLE_PLACE_END) {
        size_t budget = 1;
        fields_copy_some(from, to, m->heap, &place, &budget);
    }
    bool done = false;
    while (!done) {
        size_t budget = SIZE_MAX;
        done = fields_free_some(from, m->heap, &budget);
    }
    m->fields = to;
    compare(m);
    drift(m, 6000, 9); /* leaves slabs sparse */
    uint64_t at = 0;
    for (done = false; !done;) {
        size_t budget = 1;
        m->fields = fields_relocate_some(m->fields, m->heap, &at, &done, &budget);
    }
    compare(m);
    drift(m, 2000, 3);
    compare(m);
    model_free(m);
}
