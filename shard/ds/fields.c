/* SPDX-License-Identifier: BSD-3-Clause */
/* Fields: see the header.
 *
 *     0      1         2            4
 *     flags  name len  value len    [name len, value len: 8 each]  [position, 4]  name  value
 *                                    if wide                        if it has a deadline
 *
 * The position is that in the order of deadlines, where the deadline itself is.
 *
 * Invariants:
 *  1. Every pair stands in the table under the hash of its name, and no two have one name.
 *  2. A pair has a position just if it stands there in the deadlines.
 *  3. `bytes` is what root, pairs, table and deadlines take of the heap.
 */
#include "shard/ds/fields.h"

#include "base/budget.h"
#include "base/check.h"
#include "base/hash.h"
#include "shard/memory/heap.h"

#include <assert.h>
#include <string.h>

enum field_flags {
    FIELD_WIDE = 1 << 0,
    FIELD_HAS_DEADLINE = 1 << 1,
};

struct field {
    uint8_t flags;
    uint8_t name_bytes; /* 0 if wide, as the next */
    uint16_t value_bytes;
    char body[];
};
static_assert(sizeof(struct field) == 4, "a pair of 16 and 32 bytes takes 56");

/* ---- A pair ---- */

struct shape {
    size_t name_length, value_length;
    bool has_deadline;
};

static struct shape shape_of(const struct field *field) {
    struct shape shape = {field->name_bytes, field->value_bytes, field->flags & FIELD_HAS_DEADLINE};
    if (UNLIKELY(field->flags & FIELD_WIDE)) {
        uint64_t lengths[2];
        memcpy(lengths, field->body, sizeof lengths);
        shape.name_length = lengths[0];
        shape.value_length = lengths[1];
    }
    return shape;
}

static bool is_wide(const struct shape *shape) {
    return shape->name_length > UINT8_MAX || shape->value_length > UINT16_MAX;
}

static size_t name_offset(bool wide, bool has_deadline) {
    return (wide ? 16 : 0) + (has_deadline ? 4 : 0);
}

static size_t shape_bytes(const struct shape *shape) {
    return sizeof(struct field) + name_offset(is_wide(shape), shape->has_deadline) +
           shape->name_length + shape->value_length;
}

static size_t position_offset(const struct field *field) {
    return field->flags & FIELD_WIDE ? 16 : 0;
}

static uint32_t position_of(const struct field *field) {
    uint32_t position;
    memcpy(&position, field->body + position_offset(field), sizeof position);
    return position;
}

static void set_position(void *item, uint32_t position) {
    struct field *field = item;
    memcpy(field->body + position_offset(field), &position, sizeof position);
}

static const char *name_start(const struct field *field) {
    return field->body + name_offset(field->flags & FIELD_WIDE, field->flags & FIELD_HAS_DEADLINE);
}

struct bytes field_name(const struct field *field) {
    struct shape shape = shape_of(field);
    return bytes_make(name_start(field), shape.name_length);
}

struct bytes field_value(const struct field *field) {
    struct shape shape = shape_of(field);
    return bytes_make(name_start(field) + shape.name_length, shape.value_length);
}

int64_t field_deadline(const struct fields *fields, const struct field *field) {
    if (LIKELY(!(field->flags & FIELD_HAS_DEADLINE))) {
        return FIELD_NO_DEADLINE;
    }
    return deadlines_at(&fields->deadlines, position_of(field))->at_ms;
}

/* Writes what stands before the name; the position is still to come. */
static void put_header(struct field *field, const struct shape *shape) {
    bool wide = is_wide(shape);
    field->flags =
        (uint8_t)((wide ? FIELD_WIDE : 0) | (shape->has_deadline ? FIELD_HAS_DEADLINE : 0));
    field->name_bytes = wide ? 0 : (uint8_t)shape->name_length;
    field->value_bytes = wide ? 0 : (uint16_t)shape->value_length;
    if (wide) {
        uint64_t lengths[2] = {shape->name_length, shape->value_length};
        memcpy(field->body, lengths, sizeof lengths);
    }
}

static void copy_bytes(char *to, struct bytes from) {
    if (from.len > 0) {
        memcpy(to, from.ptr, from.len);
    }
}

static struct field *field_new(struct shard_heap *heap, struct bytes name, struct bytes value,
                               bool has_deadline) {
    struct shape shape = {name.len, value.len, has_deadline};
    struct field *field = heap_alloc(heap, shape_bytes(&shape));
    put_header(field, &shape);
    char *start = (char *)name_start(field);
    copy_bytes(start, name);
    copy_bytes(start + name.len, value);
    return field;
}

static void field_free(struct shard_heap *heap, struct field *field) {
    struct shape shape = shape_of(field);
    heap_release(heap, field, shape_bytes(&shape));
}

/* ---- The table ---- */

static uint64_t hash_field(const void *arg, const void *item) {
    return hash_bytes(arg, field_name(item));
}

static struct table_env env_of(const struct fields *fields, struct shard_heap *heap) {
    return (struct table_env){heap, hash_field, fields->secret};
}

static uint64_t hash_name(const struct fields *fields, struct bytes name) {
    return hash_bytes(fields->secret, name);
}

struct fields *fields_new(struct shard_heap *heap, const unsigned char *secret) {
    struct fields *fields = heap_alloc(heap, sizeof *fields);
    *fields = (struct fields){.secret = secret, .bytes = heap_block_bytes(sizeof *fields)};
    return fields;
}

/* ---- Reading ---- */

struct field *fields_find(const struct fields *fields, struct bytes name) {
    struct table_probe probe = table_probe(&fields->table, hash_name(fields, name));
    struct field *field;
    while ((field = table_probe_next(&probe)) != NULL) {
        if (LIKELY(bytes_equal(field_name(field), name))) {
            return field;
        }
    }
    return NULL;
}

struct field *fields_at(const struct fields *fields, uint32_t index) {
    return table_at(&fields->table, index);
}

struct field *fields_first_over(const struct fields *fields) {
    return fields->deadlines.count > 0 ? deadlines_at(&fields->deadlines, 0)->item : NULL;
}

struct visiting {
    fields_visit_fn *visit;
    void *arg;
};

static void visit_item(void *arg, void *item) {
    const struct visiting *visiting = arg;
    visiting->visit(visiting->arg, item);
}

uint64_t fields_walk(const struct fields *fields, uint64_t place, uint64_t count,
                     fields_visit_fn *visit, void *arg) {
    struct visiting visiting = {visit, arg};
    struct table_env env = env_of(fields, NULL);
    return table_walk(&fields->table, &env, place, TABLE_PLACE_END, count, visit_item, &visiting);
}

/* How far ahead memory is asked for. */
#define AHEAD 8

void fields_each(const struct fields *fields, fields_visit_fn *visit, void *arg) {
    uint64_t place = 0;
    uint32_t count;
    const uint64_t *words;
    while ((words = table_leaf_at(&fields->table, &place, &count)) != NULL) {
        for (uint32_t i = 0; i < count && i < AHEAD; i++) {
            __builtin_prefetch(table_address(words[i]));
        }
        for (uint32_t i = 0; i < count; i++) {
            if (i + AHEAD < count) {
                __builtin_prefetch(table_address(words[i + AHEAD]));
            }
            visit(arg, table_address(words[i]));
        }
    }
}

/* ---- Changing ---- */

/* Books what the heap has given or taken since. */
static void book(struct fields *fields, struct shard_heap *heap, size_t used_before) {
    fields->bytes += heap_used(heap) - used_before;
}

struct field *fields_add(struct fields *fields, struct shard_heap *heap, struct bytes name,
                         struct bytes value) {
    check_slow(fields_find(fields, name) == NULL);
    size_t before = heap_used(heap);
    struct field *field = field_new(heap, name, value, false);
    struct table_env env = env_of(fields, heap);
    table_insert(&fields->table, &env, hash_name(fields, name), field);
    book(fields, heap, before);
    return field;
}

/* The pair is in another block. */
static void moved(struct fields *fields, const struct field *old, struct field *field) {
    if (field->flags & FIELD_HAS_DEADLINE) {
        deadlines_moved(&fields->deadlines, position_of(field), field);
    }
    table_replace(&fields->table, hash_name(fields, field_name(field)), old, field);
}

struct field *fields_set(struct fields *fields, struct shard_heap *heap, struct field *field,
                         struct bytes value) {
    struct shape old = shape_of(field), now = old;
    now.value_length = value.len;
    size_t old_bytes = shape_bytes(&old), bytes = shape_bytes(&now);
    if (LIKELY(is_wide(&old) == is_wide(&now) && bytes == old_bytes)) {
        copy_bytes((char *)name_start(field) + old.name_length, value);
        return field;
    }
    size_t before = heap_used(heap);
    struct field *made = field;
    if (is_wide(&old) == is_wide(&now)) {
        made = heap_resize(heap, field, old_bytes, bytes);
        put_header(made, &now); /* the position stands where it stood */
        copy_bytes((char *)name_start(made) + now.name_length, value);
    } else {
        made = field_new(heap, field_name(field), value, now.has_deadline);
        if (now.has_deadline) {
            set_position(made, position_of(field));
        }
    }
    if (made != field) {
        moved(fields, field, made);
    }
    if (is_wide(&old) != is_wide(&now)) {
        heap_release(heap, field, old_bytes);
    }
    book(fields, heap, before);
    return made;
}

/* The same pair with a position, or without. */
static struct field *reshape(struct fields *fields, struct shard_heap *heap, struct field *field,
                             bool has_deadline) {
    struct field *made = field_new(heap, field_name(field), field_value(field), has_deadline);
    table_replace(&fields->table, hash_name(fields, field_name(field)), field, made);
    field_free(heap, field);
    return made;
}

struct field *fields_set_deadline(struct fields *fields, struct shard_heap *heap,
                                  struct field *field, int64_t deadline) {
    bool has = deadline != FIELD_NO_DEADLINE, had = field->flags & FIELD_HAS_DEADLINE;
    size_t before = heap_used(heap);
    if (had && has) {
        deadlines_change(&fields->deadlines, position_of(field), deadline, set_position);
    } else if (had) {
        deadlines_remove(&fields->deadlines, heap, position_of(field), set_position);
        field = reshape(fields, heap, field, false);
    } else if (has) {
        field = reshape(fields, heap, field, true);
        deadlines_add(&fields->deadlines, heap, deadline, field, set_position);
    }
    book(fields, heap, before);
    return field;
}

void fields_remove(struct fields *fields, struct shard_heap *heap, struct field *field) {
    size_t before = heap_used(heap);
    if (field->flags & FIELD_HAS_DEADLINE) {
        deadlines_remove(&fields->deadlines, heap, position_of(field), set_position);
    }
    struct table_env env = env_of(fields, heap);
    check(table_remove(&fields->table, &env, hash_name(fields, field_name(field)), field));
    field_free(heap, field);
    book(fields, heap, before);
}

/* ---- In slices ---- */

/* Pairs that are freed or copied before the budget is looked at. */
#define STEP 64
/* What to look at a pair costs, as bytes. */
#define TOUCH_BYTES 64

struct freeing {
    struct shard_heap *heap;
    size_t bytes;
};

static void free_item(void *arg, void *item) {
    struct freeing *freeing = arg;
    freeing->bytes += TOUCH_BYTES;
    field_free(freeing->heap, item);
}

bool fields_free_some(struct fields *fields, struct shard_heap *heap, size_t *budget) {
    size_t before = heap_used(heap);
    struct table_env env = env_of(fields, heap);
    bool done = false;
    do {
        struct freeing freeing = {.heap = heap};
        if (fields_count(fields) > 0) {
            table_drain(&fields->table, &env, STEP, free_item, &freeing);
        } else if (deadlines_drain(&fields->deadlines, heap, STEP)) {
            done = true;
            break;
        }
        budget_spend(budget, freeing.bytes + STEP);
    } while (*budget > 0);
    book(fields, heap, before);
    if (done) {
        check(fields->bytes == heap_block_bytes(sizeof *fields));
        heap_release(heap, fields, sizeof *fields);
    }
    return done;
}

struct copying {
    const struct fields *from;
    struct fields *to;
    struct shard_heap *heap;
    size_t bytes;
};

static void copy_item(void *arg, const struct field *field) {
    struct copying *copying = arg;
    struct bytes name = field_name(field), value = field_value(field);
    struct field *copy = fields_add(copying->to, copying->heap, name, value);
    int64_t deadline = field_deadline(copying->from, field);
    if (deadline != FIELD_NO_DEADLINE) {
        fields_set_deadline(copying->to, copying->heap, copy, deadline);
    }
    copying->bytes += TOUCH_BYTES + name.len + value.len;
}

void fields_copy_some(const struct fields *from, struct fields *to, struct shard_heap *heap,
                      uint64_t *place, size_t *budget) {
    while (*place<TABLE_PLACE_END && * budget> 0) {
        struct copying copying = {from, to, heap, 0};
        *place = fields_walk(from, *place, STEP, copy_item, &copying);
        budget_spend(budget, copying.bytes);
    }
}

struct moving {
    struct fields *fields;
    struct shard_heap *heap;
    size_t bytes;
};

static void *move_item(void *arg, void *item) {
    struct moving *moving = arg;
    struct shape shape = shape_of(item);
    size_t bytes = shape_bytes(&shape), copied;
    moving->bytes += TOUCH_BYTES;
    if (bytes > HEAP_SLAB_BLOCK_MAX) {
        return item;
    }
    struct field *field = heap_relocate(moving->heap, item, bytes, &copied);
    moving->bytes += copied;
    if (field != item && field->flags & FIELD_HAS_DEADLINE) {
        deadlines_moved(&moving->fields->deadlines, position_of(field), field);
    }
    return field;
}

/* Leaves of the table by their places, then the chunks of the deadlines. */
struct fields *fields_relocate_some(struct fields *fields, struct shard_heap *heap, uint64_t *step,
                                    bool *ret_done, size_t *budget) {
    size_t copied = 0;
    if (*step == 0) {
        fields = heap_relocate(heap, fields, sizeof *fields, &copied);
    }
    *ret_done = false;
    do {
        if (*step < TABLE_PLACE_END) {
            struct moving moving = {fields, heap, copied};
            *step = table_relocate(&fields->table, heap, *step, move_item, &moving, &copied);
            budget_spend(budget, moving.bytes + copied);
        } else {
            uint32_t chunk = (uint32_t)(*step - TABLE_PLACE_END);
            *ret_done = !deadlines_relocate(&fields->deadlines, heap, chunk, &copied);
            ++*step;
            budget_spend(budget, TOUCH_BYTES + copied);
        }
        copied = 0;
    } while (!*ret_done && *budget > 0);
    return fields;
}

struct verifying {
    const struct fields *fields;
    size_t bytes;
    uint32_t with_deadline;
};

static void verify_field(void *arg, const struct field *field) {
    struct verifying *v = arg;
    struct shape shape = shape_of(field);
    check(!!(field->flags & FIELD_WIDE) == is_wide(&shape));
    check(fields_find(v->fields, field_name(field)) == field);
    v->bytes += heap_block_bytes(shape_bytes(&shape));
    if (shape.has_deadline) {
        v->with_deadline++;
        check(deadlines_at(&v->fields->deadlines, position_of(field))->item == field);
    }
}

void fields_verify(const struct fields *fields) {
    struct table_env env = env_of(fields, NULL);
    table_verify(&fields->table, &env);
    deadlines_verify(&fields->deadlines);
    struct verifying v = {.fields = fields};
    fields_each(fields, verify_field, &v);
    check(v.with_deadline == fields->deadlines.count);
    v.bytes += heap_block_bytes(sizeof *fields) + table_bytes(&fields->table) +
               deadlines_bytes(&fields->deadlines);
    check(v.bytes == fields->bytes);
}
