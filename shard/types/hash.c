/* SPDX-License-Identifier: BSD-3-Clause */
/* Hashes in their two shapes: a listpack of pairs, and a table of fields. */
#include "shard/types/hash.h"

#include "base/check.h"
#include "shard/ds/fields.h"
#include "shard/memory/heap.h"
#include "shard/types/hash_forms.h"
#include "shard/types/packed.h"

#include <assert.h>

static_assert(FIELD_NO_DEADLINE == NO_EXPIRY, "the same word");

static struct fields *fields_of(const struct value *value) {
    check_slow(value->type == TYPE_HASH && value->form == FORM_TABLE);
    return value->root;
}

/* ---- Reading ---- */

/* A field lives through the millisecond of its deadline, as a key does. */
static bool is_over(int64_t deadline, int64_t alive_ms) {
    return deadline != NO_EXPIRY && alive_ms > deadline;
}

/* The same for who looks. */
static bool is_hidden(struct hash_look *look, int64_t deadline) {
    if (LIKELY(!is_over(deadline, look->alive_ms))) {
        return false;
    }
    look->hidden_to = deadline > look->hidden_to ? deadline : look->hidden_to;
    return true;
}

/* The place of a field's name in a listpack, 0: it is not there. */
static size_t packed_find(const char *lp, const struct listpack_new *name) {
    size_t first = listpack_first(lp);
    return first == 0 ? 0 : listpack_find(lp, first, name, 2);
}

bool hash_find(struct hash_look *look, struct bytes name, struct hash_found *ret) {
    if (value_is_listpack(&look->value)) {
        const char *lp = packed_start(&look->value);
        struct listpack_new item = listpack_new(name);
        size_t at = packed_find(lp, &item);
        if (at == 0) {
            return false;
        }
        struct listpack_item value = listpack_get(lp, listpack_next(lp, at));
        ret->value = listpack_text(&value, ret->scratch);
        ret->deadline = NO_EXPIRY;
        return true;
    }
    const struct fields *fields = fields_of(&look->value);
    const struct field *field = fields_find(fields, name);
    if (field == NULL) {
        return false;
    }
    ret->deadline = field_deadline(fields, field);
    ret->value = field_value(field);
    return !is_hidden(look, ret->deadline);
}

uint64_t hash_count(const struct value *value) {
    return value_is_listpack(value) ? listpack_count(packed_start(value)) / 2
                                    : fields_count(fields_of(value));
}

uint64_t hash_count_seen(struct hash_look *look) {
    uint64_t count = hash_count(&look->value);
    if (LIKELY(value_is_listpack(&look->value))) {
        return count;
    }
    return count - deadlines_count_before(&fields_of(&look->value)->deadlines, look->alive_ms);
}

struct looking {
    struct hash_look *look;
    const struct fields *fields;
    value_element_fn *visit;
    void *arg;
};

static bool show(const struct looking *looking, const struct field *field) {
    int64_t deadline = field_deadline(looking->fields, field);
    if (UNLIKELY(is_hidden(looking->look, deadline))) {
        return false;
    }
    struct value_element element = {
        .first = field_name(field),
        .second = field_value(field),
        .deadline = deadline == NO_EXPIRY ? 0 : deadline,
    };
    looking->visit(looking->arg, &element);
    return true;
}

static void show_field(void *arg, const struct field *field) {
    show(arg, field);
}

void hash_each(struct hash_look *look, value_element_fn *visit, void *arg) {
    if (value_is_listpack(&look->value)) {
        forms_find(&value_forms, &look->value)->walk(&look->value, 0, UINT64_MAX, visit, arg);
        return;
    }
    struct looking looking = {look, fields_of(&look->value), visit, arg};
    fields_each(looking.fields, show_field, &looking);
}

uint64_t hash_scan(struct hash_look *look, uint64_t cursor, uint64_t count, value_element_fn *visit,
                   void *arg) {
    if (value_is_listpack(&look->value)) {
        hash_each(look, visit, arg);
        return 0;
    }
    struct looking looking = {look, fields_of(&look->value), visit, arg};
    uint64_t place =
        fields_walk(looking.fields, table_cursor_place(cursor), count, show_field, &looking);
    return place < TABLE_PLACE_END ? table_cursor(place) : 0;
}

bool hash_visit_at(struct hash_look *look, uint64_t index, value_element_fn *visit, void *arg) {
    if (!value_is_listpack(&look->value)) {
        struct looking looking = {look, fields_of(&look->value), visit, arg};
        return show(&looking, fields_at(looking.fields, (uint32_t)index));
    }
    const char *lp = packed_start(&look->value);
    char name[NUM_I64_BYTES], value[NUM_I64_BYTES];
    size_t at = listpack_seek(lp, (int64_t)index * 2);
    struct listpack_item first = listpack_get(lp, at);
    struct listpack_item second = listpack_get(lp, listpack_next(lp, at));
    struct value_element element = {
        .first = listpack_text(&first, name),
        .second = listpack_text(&second, value),
    };
    visit(arg, &element);
    return true;
}

/* ---- From one shape to the other ---- */

struct filling {
    struct fields *fields;
    struct shard_heap *heap;
};

static void fill(void *arg, const struct value_element *element) {
    const struct filling *filling = arg;
    fields_add(filling->fields, filling->heap, element->first, element->second);
}

/* The listpack becomes a table. */
static void make_table(struct change *change) {
    struct filling filling = {.heap = change_heap(change)};
    filling.fields = fields_new(filling.heap, change_secret(change)->bytes);
    forms_find(&value_forms, &change->value)->walk(&change->value, 0, UINT64_MAX, fill, &filling);
    packed_leave(change);
    change->value = (struct value){.type = TYPE_HASH, .form = FORM_TABLE, .root = filling.fields};
}

static bool fits(const struct hash_limits *limits, struct bytes name, struct bytes value) {
    return name.len <= limits->value_bytes && value.len <= limits->value_bytes;
}

/* Pairs that are made into a listpack beside the key. */
#define BESIDE_BYTES 2048

/* Makes a new key's listpack of all pairs in one piece. False: they are too much for that. */
static bool make_at_once(struct change *change, const struct bytes *pairs, uint32_t count) {
    char lp[BESIDE_BYTES];
    listpack_init(lp);
    size_t bytes = LISTPACK_EMPTY_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        struct listpack_new name = listpack_new(pairs[2 * i]);
        struct listpack_new value = listpack_new(pairs[2 * i + 1]);
        if (bytes + name.bytes + value.bytes > sizeof lp || packed_find(lp, &name) != 0) {
            return false;
        }
        listpack_put(listpack_put(lp + bytes - 1, &name), &value);
        bytes += name.bytes + value.bytes;
        lp[bytes - 1] = (char)0xFF;
        listpack_changed(lp, bytes, 2);
    }
    if (bytes <= PACKED_INLINE_MAX) {
        change_make(
            change,
            (struct value){.type = TYPE_HASH, .form = FORM_INLINE, .bytes = bytes_make(lp, bytes)});
    } else {
        char *block = heap_alloc(change_heap(change), bytes);
        memcpy(block, lp, bytes);
        change_make(change,
                    (struct value){.type = TYPE_HASH, .form = FORM_LISTPACK, .root = block});
    }
    return true;
}

/* ---- Writing ---- */

static bool put_packed(struct change *change, struct bytes name, struct bytes value) {
    const char *lp = packed_start(&change->value);
    struct listpack_new first = listpack_new(name), second = listpack_new(value);
    size_t at = packed_find(lp, &first);
    if (at != 0) {
        packed_set(change, listpack_next(lp, at), &second);
        return false;
    }
    size_t bytes = packed_bytes(&change->value).len, added = first.bytes + second.bytes;
    char *start = packed_splice(change, bytes - 1, 0, added);
    listpack_put(listpack_put(start + bytes - 1, &first), &second);
    listpack_changed(start, bytes + added, 2);
    return true;
}

static bool put_field(struct hash_edit *edit, struct bytes name, struct bytes value,
                      int64_t deadline) {
    struct shard_heap *heap = change_heap(edit->change);
    struct fields *fields = fields_of(&edit->change->value);
    struct field *field = fields_find(fields, name);
    bool added = field == NULL;
    int64_t before = NO_EXPIRY;
    if (field == NULL) {
        field = fields_add(fields, heap, name, value);
    } else {
        before = field_deadline(fields, field);
        field = fields_set(fields, heap, field, value);
        if (is_over(before, edit->alive_ms)) {
            edit->expired++;
            added = true;
            deadline = deadline == KEEP_TTL ? NO_EXPIRY : deadline;
        }
    }
    if (deadline != KEEP_TTL && deadline != before) {
        fields_set_deadline(fields, heap, field, deadline);
    }
    return added;
}

bool hash_put(struct hash_edit *edit, struct bytes name, struct bytes value, int64_t deadline) {
    struct change *change = edit->change;
    if (change->entry == NULL) {
        packed_make(change, TYPE_HASH);
    }
    change_element(change, &name);
    if (!value_is_listpack(&change->value)) {
        return put_field(edit, name, value, deadline);
    }
    bool has_deadline = deadline != NO_EXPIRY && deadline != KEEP_TTL;
    if (has_deadline || !fits(&edit->limits, name, value)) {
        make_table(change);
        return put_field(edit, name, value, deadline);
    }
    bool added = put_packed(change, name, value);
    if (UNLIKELY(hash_count(&change->value) > edit->limits.entries)) {
        make_table(change);
    }
    return added;
}

/* What is there gets ready for so many pairs, if a listpack is too small for them. True: it was
 * made of them. */
static bool prepare(struct hash_edit *edit, const struct bytes *pairs, uint32_t count) {
    struct change *change = edit->change;
    const struct hash_limits *limits = &edit->limits;
    bool small = count <= limits->entries;
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        small &= fits(limits, pairs[2 * i], pairs[2 * i + 1]);
        bytes += pairs[2 * i].len + pairs[2 * i + 1].len;
    }
    if (change->entry == NULL) {
        if (small && bytes < BESIDE_BYTES && make_at_once(change, pairs, count)) {
            return true;
        }
        packed_make(change, TYPE_HASH);
    }
    if (value_is_listpack(&change->value) &&
        (!small || packed_bytes(&change->value).len + bytes > LISTPACK_BYTES_MAX)) {
        make_table(change);
    }
    return false;
}

uint64_t hash_put_all(struct hash_edit *edit, const struct bytes *pairs, uint32_t count) {
    if (prepare(edit, pairs, count)) {
        return count;
    }
    uint64_t added = 0;
    for (uint32_t i = 0; i < count; i++) {
        added += hash_put(edit, pairs[2 * i], pairs[2 * i + 1], NO_EXPIRY);
    }
    return added;
}

bool hash_remove(struct hash_edit *edit, struct bytes name) {
    struct change *change = edit->change;
    if (value_is_listpack(&change->value)) {
        struct listpack_new item = listpack_new(name);
        size_t at = packed_find(packed_start(&change->value), &item);
        if (at != 0) {
            change_element(change, &name);
            packed_remove(change, at, 2);
        }
        return at != 0;
    }
    struct fields *fields = fields_of(&change->value);
    struct field *field = fields_find(fields, name);
    if (field == NULL || is_over(field_deadline(fields, field), edit->alive_ms)) {
        return false;
    }
    change_element(change, &name);
    fields_remove(fields, change_heap(change), field);
    return true;
}

void hash_set_deadline(struct hash_edit *edit, struct bytes name, int64_t deadline) {
    struct change *change = edit->change;
    change_element(change, &name);
    if (value_is_listpack(&change->value)) {
        if (deadline == NO_EXPIRY) {
            return;
        }
        make_table(change);
    }
    struct fields *fields = fields_of(&change->value);
    struct field *field = fields_find(fields, name);
    check(field != NULL);
    fields_set_deadline(fields, change_heap(change), field, deadline);
}

/* ---- The form ---- */

static const char *table_encoding(const struct value *value) {
    (void)value;
    return "hashtable";
}

static uint64_t table_count(const struct value *value) {
    return fields_count(fields_of(value));
}

static size_t table_memory(const struct value *value) {
    return fields_of(value)->bytes;
}

static uint64_t form_walk(const struct value *value, uint64_t cursor, uint64_t count,
                          value_element_fn *visit, void *arg) {
    struct hash_look look = hash_look(*value, INT64_MIN);
    return hash_scan(&look, cursor, count, visit, arg);
}

static void form_verify(const struct value *value) {
    fields_verify(fields_of(value));
}

static int64_t form_next_deadline(const struct value *value) {
    return fields_next_deadline(fields_of(value));
}

static bool form_take_over(struct shard_heap *heap, struct value *value, int64_t now_ms,
                           value_element_fn *show_it, void *arg) {
    struct fields *fields = fields_of(value);
    struct field *field = fields_first_over(fields);
    if (field == NULL || !is_over(field_deadline(fields, field), now_ms)) {
        return false;
    }
    struct value_element element = {
        .first = field_name(field),
        .second = field_value(field),
        .deadline = field_deadline(fields, field),
    };
    show_it(arg, &element);
    fields_remove(fields, heap, field);
    return true;
}

static bool form_free_some(struct shard_heap *heap, struct value *value, size_t *budget) {
    bool done = fields_free_some(fields_of(value), heap, budget);
    value->root = done ? NULL : value->root;
    return done;
}

static bool form_copy_some(struct shard_heap *heap, const struct value *from, struct value *to,
                           uint64_t *cursor, size_t *budget) {
    const struct fields *source = fields_of(from);
    if (*cursor == 0) {
        to->root = fields_new(heap, source->secret);
    }
    fields_copy_some(source, to->root, heap, cursor, budget);
    return *cursor == TABLE_PLACE_END;
}

static bool form_relocate_some(struct shard_heap *heap, struct value *value, uint64_t *cursor,
                               size_t *budget) {
    bool done;
    value->root = fields_relocate_some(fields_of(value), heap, cursor, &done, budget);
    return done;
}

static const struct table *form_names(const struct value *value) {
    return &fields_of(value)->table;
}

const struct form hash_form_table = {
    .encoding = table_encoding,
    .count = table_count,
    .names = form_names,
    .memory = table_memory,
    .walk = form_walk,
    .verify = form_verify,
    .next_deadline = form_next_deadline,
    .take_over = form_take_over,
    .pieces = table_count,
    .free_some = form_free_some,
    .copy_some = form_copy_some,
    .relocate_some = form_relocate_some,
};
