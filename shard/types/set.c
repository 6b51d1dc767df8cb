/* SPDX-License-Identifier: BSD-3-Clause */
/* set: see the header.
 *
 * Whatever is added goes through one place (set_add), be it to the set of a key or to a new one
 * that a command puts together from others, so the same members in the same order become the same
 * form. A new one lies in a buffer as if that were its entry, until it is put under its key.
 */
#include "shard/types/set.h"

#include "base/budget.h"
#include "base/check.h"
#include "base/must.h"
#include "shard/ds/intset.h"
#include "shard/memory/heap.h"
#include "shard/types/packed_forms.h"
#include "shard/types/set_forms.h"

#include <stdlib.h>

/* ---- Members ---- */

static struct listpack_new stored(struct set_member *member) {
    return set_is_number(member) ? listpack_new_int(member->number)
                                 : listpack_new(set_text(member));
}

static uint64_t hash_of(const unsigned char *secret, struct set_member *member) {
    if (!member->is_hashed) {
        member->is_hashed = true;
        member->hash = hash_bytes(secret, set_text(member));
    }
    return member->hash;
}

static void member_from_item(struct set_member *ret, const struct listpack_item *item) {
    if (item->text == NULL) {
        set_member_number(ret, item->number);
        return;
    }
    set_member_text(ret, bytes_make(item->text, item->length));
    ret->is_parsed = true; /* a number would have been stored as one */
}

/* ---- Reading ---- */

static struct members *table_of(const struct value *set) {
    check_slow(set->form == FORM_TABLE);
    return set->root;
}

uint64_t set_count(const struct value *set) {
    if (set->form == FORM_TABLE) {
        return members_count(table_of(set));
    }
    const char *packed = packed_start(set);
    return value_is_intset(set) ? intset_count(packed) : listpack_count(packed);
}

bool set_is_same(const struct value *a, const struct value *b) {
    return a->form == b->form &&
           (value_is_rooted(a) ? a->root == b->root : a->bytes.ptr == b->bytes.ptr);
}

static size_t find_packed(const char *lp, struct set_member *member) {
    struct listpack_new item = stored(member);
    return listpack_find(lp, listpack_first(lp), &item, 1);
}

static const void *find_in_table(const struct members *members, struct set_member *member) {
    return members_find(members, hash_of(members->secret, member), set_text(member));
}

bool set_has(const struct value *set, struct set_member *member) {
    uint32_t index;
    if (set->form == FORM_TABLE) {
        return find_in_table(table_of(set), member) != NULL;
    }
    if (value_is_intset(set)) {
        return set_is_number(member) && intset_find(packed_start(set), member->number, &index);
    }
    return find_packed(packed_start(set), member) != 0;
}

void set_at(const struct value *set, uint64_t index, struct set_member *ret) {
    if (set->form == FORM_TABLE) {
        set_member_text(ret, member_name(members_at(table_of(set), index)));
    } else if (value_is_intset(set)) {
        set_member_number(ret, intset_get(packed_start(set), (uint32_t)index));
    } else {
        const char *lp = packed_start(set);
        struct listpack_item item = listpack_get(lp, listpack_seek(lp, (int64_t)index));
        member_from_item(ret, &item);
    }
}

static uint32_t sift_by_table(const struct members *members, struct set_member *from,
                              uint8_t *indices, uint32_t count, bool has) {
    const void *found[SET_SIFT_MAX];
    check_slow(count <= SET_SIFT_MAX);
    for (uint32_t i = 0; i < count; i++) {
        found[i] = members_find_likely(members, hash_of(members->secret, &from[indices[i]]));
    }
    uint32_t left = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct set_member *member = &from[indices[i]];
        bool is_in = found[i] != NULL && (bytes_equal(member_name(found[i]), set_text(member)) ||
                                          find_in_table(members, member) != NULL);
        if (is_in == has) {
            indices[left++] = indices[i];
        }
    }
    return left;
}

uint32_t set_sift(const struct value *set, struct set_member *members, uint8_t *indices,
                  uint32_t count, bool has) {
    if (set->form == FORM_TABLE) {
        return sift_by_table(table_of(set), members, indices, count, has);
    }
    uint32_t left = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (set_has(set, &members[indices[i]]) == has) {
            indices[left++] = indices[i];
        }
    }
    return left;
}

struct set_walk set_walk(const struct value *set) {
    struct set_walk walk = {.is_intset = value_is_intset(set)};
    if (set->form == FORM_TABLE) {
        walk.members = members_walk(table_of(set));
    } else {
        walk.packed = packed_start(set);
        walk.at = walk.is_intset ? 0 : listpack_first(walk.packed);
    }
    return walk;
}

bool set_next(struct set_walk *walk, struct set_member *ret) {
    if (walk->packed == NULL) {
        const void *member = members_next(&walk->members);
        if (member != NULL) {
            set_member_text(ret, member_name(member));
        }
        return member != NULL;
    }
    if (walk->is_intset) {
        if (walk->at == intset_count(walk->packed)) {
            return false;
        }
        set_member_number(ret, intset_get(walk->packed, (uint32_t)walk->at++));
        return true;
    }
    if (walk->at == 0) {
        return false;
    }
    struct listpack_item item = listpack_get(walk->packed, walk->at);
    member_from_item(ret, &item);
    walk->at = listpack_next(walk->packed, walk->at);
    return true;
}

/* ---- Where the bytes are that are written ---- */

static char *splice_buffer(struct set_edit *edit, size_t at, size_t remove, size_t insert) {
    struct bytes *bytes = &edit->value->bytes;
    size_t after = bytes->len - remove + insert;
    if (after > edit->capacity) {
        edit->capacity = after + after / 2;
        edit->buffer = must_realloc(edit->buffer, edit->capacity);
    }
    memmove(edit->buffer + at + insert, edit->buffer + at + remove, bytes->len - at - remove);
    *bytes = bytes_make(edit->buffer, after);
    return edit->buffer;
}

static char *splice(struct set_edit *edit, size_t at, size_t remove, size_t insert) {
    return edit->change != NULL ? packed_splice(edit->change, at, remove, insert)
                                : splice_buffer(edit, at, remove, insert);
}

static size_t packed_length(const struct set_edit *edit) {
    return edit->change != NULL ? packed_bytes(edit->value).len : edit->value->bytes.len;
}

/* These bytes take the place of those that were there. */
static void replace(struct set_edit *edit, bool intset, struct bytes bytes) {
    if (edit->change != NULL) {
        packed_replace(edit->change, intset, bytes);
        return;
    }
    splice_buffer(edit, 0, edit->value->bytes.len, bytes.len);
    memcpy(edit->buffer, bytes.ptr, bytes.len);
    edit->value->form = intset ? FORM_INTS : FORM_INLINE;
}

static void leave_packed(struct set_edit *edit) {
    if (edit->change != NULL) {
        packed_leave(edit->change);
        return;
    }
    free(edit->buffer);
    edit->buffer = NULL;
    edit->capacity = 0;
}

/* ---- From one form to another ---- */

static void add_to_table(struct set_edit *edit, struct members *members,
                         struct set_member *member) {
    members_add(edit->heap, members, hash_of(edit->secret, member), set_text(member));
}

static void become_table(struct set_edit *edit) {
    struct members *members = members_new(edit->heap, edit->secret);
    struct set_walk walk = set_walk(edit->value);
    struct set_member member;
    while (set_next(&walk, &member)) {
        add_to_table(edit, members, &member);
    }
    leave_packed(edit);
    edit->value->form = FORM_TABLE;
    edit->value->root = members;
}

/* How long an intset's numbers would be in a listpack, at most: all of them, and one's text. */
static size_t as_listpack(const char *is, size_t *ret_longest) {
    *ret_longest = 0;
    size_t longest_item = 0, count = intset_count(is);
    uint32_t ends[] = {0, (uint32_t)count - 1};
    for (int i = 0; i < 2 && count > 0; i++) {
        char scratch[NUM_I64_BYTES];
        int64_t number = intset_get(is, ends[i]);
        size_t text = num_format_i64(scratch, number), item = listpack_new_int(number).bytes;
        *ret_longest = text > *ret_longest ? text : *ret_longest;
        longest_item = item > longest_item ? item : longest_item;
    }
    return LISTPACK_EMPTY_BYTES + longest_item * count;
}

static void intset_becomes_listpack(struct set_edit *edit, size_t room) {
    char *lp = must_malloc(room);
    listpack_init(lp);
    char *end = lp + LISTPACK_HEADER_BYTES;
    const char *is = packed_start(edit->value);
    uint32_t count = intset_count(is);
    for (uint32_t i = 0; i < count; i++) {
        struct listpack_new item = listpack_new_int(intset_get(is, i));
        end = listpack_put(end, &item);
    }
    *end++ = (char)0xFF;
    size_t bytes = (size_t)(end - lp);
    check(bytes <= room);
    listpack_changed(lp, bytes, count);
    replace(edit, false, bytes_make(lp, bytes));
    free(lp);
}

/* ---- Adding ---- */

static bool add_to_listpack(struct set_edit *edit, struct set_member *member) {
    const char *lp = packed_start(edit->value);
    struct listpack_new item = stored(member);
    if (listpack_find(lp, listpack_first(lp), &item, 1) != 0) {
        return false;
    }
    size_t bytes = listpack_bytes(lp);
    if (listpack_count(lp) >= edit->limits->listpack_entries ||
        set_text(member).len > edit->limits->listpack_value ||
        item.bytes > LISTPACK_BYTES_MAX - bytes) {
        become_table(edit);
        add_to_table(edit, edit->value->root, member);
        return true;
    }
    char *start = splice(edit, bytes - 1, 0, item.bytes);
    listpack_put(start + bytes - 1, &item);
    listpack_changed(start, bytes + item.bytes, 1);
    return true;
}

/* A text comes into an intset. */
static void add_text_to_intset(struct set_edit *edit, struct set_member *member) {
    const char *is = packed_start(edit->value);
    const struct set_limits *limits = edit->limits;
    size_t longest, room = as_listpack(is, &longest), length = set_text(member).len;
    if (intset_count(is) < limits->listpack_entries && length <= limits->listpack_value &&
        longest <= limits->listpack_value && room < LISTPACK_BYTES_MAX - length) {
        intset_becomes_listpack(edit, room);
        check(add_to_listpack(edit, member));
    } else {
        become_table(edit);
        add_to_table(edit, edit->value->root, member);
    }
}

static bool add_to_intset(struct set_edit *edit, struct set_member *member) {
    if (!set_is_number(member)) {
        add_text_to_intset(edit, member);
        return true;
    }
    const char *is = packed_start(edit->value);
    uint32_t index;
    if (intset_find(is, member->number, &index)) {
        return false;
    }
    struct intset_room room = intset_room(is, index, member->number);
    char *start = splice(edit, room.at, 0, room.bytes);
    intset_put(start, index, member->number);
    uint64_t max = edit->limits->intset_entries;
    if (intset_count(start) > (max < INTSET_COUNT_MAX ? max : INTSET_COUNT_MAX)) {
        become_table(edit);
    }
    return true;
}

bool set_add(struct set_edit *edit, struct set_member *member) {
    if (edit->value->form == FORM_TABLE) {
        struct members *members = table_of(edit->value);
        if (find_in_table(members, member) != NULL) {
            return false;
        }
        add_to_table(edit, members, member);
        return true;
    }
    return value_is_intset(edit->value) ? add_to_intset(edit, member)
                                        : add_to_listpack(edit, member);
}

void set_add_new(struct set_edit *edit, struct set_member *member) {
    if (edit->value->form == FORM_TABLE) {
        add_to_table(edit, table_of(edit->value), member);
    } else {
        check(set_add(edit, member));
    }
}

/* ---- Removing ---- */

static bool remove_from_table(struct set_edit *edit, struct set_member *member) {
    struct members *members = table_of(edit->value);
    const void *found = find_in_table(members, member);
    if (found != NULL) {
        members_remove(edit->heap, members, member->hash, found);
    }
    return found != NULL;
}

static bool remove_from_intset(struct set_edit *edit, struct set_member *member) {
    const char *is = packed_start(edit->value);
    uint32_t index;
    if (!set_is_number(member) || !intset_find(is, member->number, &index)) {
        return false;
    }
    struct intset_room cut = intset_cut(is, index);
    intset_took(splice(edit, cut.at, cut.bytes, 0));
    return true;
}

static bool remove_from_listpack(struct set_edit *edit, struct set_member *member) {
    const char *lp = packed_start(edit->value);
    size_t at = find_packed(lp, member);
    if (at == 0) {
        return false;
    }
    size_t bytes = packed_length(edit), item = listpack_item_bytes(lp, at);
    listpack_changed(splice(edit, at, item, 0), bytes - item, -1);
    return true;
}

bool set_remove(struct set_edit *edit, struct set_member *member) {
    if (edit->value->form == FORM_TABLE) {
        return remove_from_table(edit, member);
    }
    return value_is_intset(edit->value) ? remove_from_intset(edit, member)
                                        : remove_from_listpack(edit, member);
}

/* ---- Beginnings and ends ---- */

static void edit_init(struct set_edit *edit, const struct keyspace *ks,
                      const struct set_limits *limits) {
    *edit = (struct set_edit){
        .limits = limits,
        .heap = keyspace_heap(ks),
        .secret = keyspace_secret(ks)->bytes,
    };
}

void set_edit_open(struct set_edit *edit, struct change *change, const struct set_limits *limits) {
    edit_init(edit, change->ks, limits);
    edit->change = change;
    edit->value = &change->value;
}

void set_edit_make(struct set_edit *edit, struct change *change, const struct set_limits *limits,
                   struct set_member *first, uint64_t count) {
    set_edit_open(edit, change, limits);
    if (set_is_number(first) && count <= limits->intset_entries) {
        char empty[INTSET_HEADER_BYTES];
        intset_init(empty);
        change_make(change, (struct value){.type = TYPE_SET,
                                           .form = FORM_INTS,
                                           .bytes = bytes_make(empty, sizeof empty)});
    } else if (count <= limits->listpack_entries) {
        packed_make(change, TYPE_SET);
    } else {
        struct members *members = members_new(edit->heap, edit->secret);
        change_make(change, (struct value){.type = TYPE_SET, .form = FORM_TABLE, .root = members});
    }
}

void set_edit_expect(struct set_edit *edit, uint64_t count) {
    const struct set_limits *limits = edit->limits;
    if (edit->value->form != FORM_TABLE &&
        count >
            (value_is_intset(edit->value) ? limits->intset_entries : limits->listpack_entries)) {
        become_table(edit);
    }
}

static void make_empty(struct set_edit *edit, bool ints) {
    edit->made = (struct value){.type = TYPE_SET, .form = ints ? FORM_INTS : FORM_INLINE};
    edit->value = &edit->made;
    edit->buffer = NULL;
    edit->capacity = 0;
    if (ints) {
        intset_init(splice_buffer(edit, 0, 0, INTSET_HEADER_BYTES));
    } else {
        listpack_init(splice_buffer(edit, 0, 0, LISTPACK_EMPTY_BYTES));
    }
}

void set_edit_new(struct set_edit *edit, const struct keyspace *ks, const struct set_limits *limits,
                  bool ints) {
    edit_init(edit, ks, limits);
    make_empty(edit, ints);
}

void set_edit_put(struct set_edit *edit, struct change *change) {
    struct value value = edit->made;
    if (value_is_inline(&value) && value.bytes.len > PACKED_INLINE_MAX) {
        char *block = heap_alloc(edit->heap, value.bytes.len);
        memcpy(block, value.bytes.ptr, value.bytes.len);
        value.form = value.form == FORM_INTS ? FORM_INTSET : FORM_LISTPACK;
        value.root = block;
    }
    change_make(change, value);
    free(edit->buffer);
}

void set_edit_replace(struct set_edit *edit, struct change *change) {
    struct value *value = &change->value;
    if (value->form == FORM_TABLE) {
        change_discard(change, *value);
    } else {
        packed_leave(change);
    }
    if (edit->made.form == FORM_TABLE) {
        *value = edit->made;
    } else {
        packed_put(change, edit->made.form == FORM_INTS, edit->made.bytes);
    }
    free(edit->buffer);
}

void set_edit_drop_buffer(struct set_edit *edit) {
    free(edit->buffer);
}

void set_edit_drop(struct set_edit *edit) {
    if (edit->made.form == FORM_TABLE) {
        members_free(edit->heap, edit->made.root);
    }
    set_edit_drop_buffer(edit);
}

void set_edit_shrink(struct set_edit *edit) {
    uint64_t max = edit->limits->intset_entries;
    if (value_is_intset(edit->value) || set_count(edit->value) > max) {
        return;
    }
    check(edit->change == NULL);
    struct set_edit ints = *edit;
    make_empty(&ints, true);
    struct set_walk walk = set_walk(edit->value);
    struct set_member member;
    while (set_next(&walk, &member)) {
        check(set_is_number(&member));
        set_add(&ints, &member);
    }
    set_edit_drop(edit);
    edit->made = ints.made;
    edit->buffer = ints.buffer;
    edit->capacity = ints.capacity;
}

/* ---- The forms ---- */

static const char *encoding_intset(const struct value *value) {
    (void)value;
    return "intset";
}

static const char *encoding_table(const struct value *value) {
    (void)value;
    return "hashtable";
}

static uint64_t walk_intset(const struct value *value, uint64_t cursor, uint64_t count,
                            value_element_fn *visit, void *arg) {
    (void)cursor;
    (void)count;
    struct set_walk walk = set_walk(value);
    struct set_member member;
    while (set_next(&walk, &member)) {
        visit(arg, &(struct value_element){.first = set_text(&member)});
    }
    return 0;
}

static void verify_intset(const struct value *value) {
    struct bytes bytes = packed_bytes(value);
    check(intset_is_sound(bytes));
    check(!value_is_inline(value) || bytes.len <= PACKED_INLINE_MAX);
}

const struct form set_form_ints = {
    .encoding = encoding_intset,
    .count = set_count,
    .memory = packed_inline_memory,
    .walk = walk_intset,
    .verify = verify_intset,
};

const struct form set_form_intset = {
    .encoding = encoding_intset,
    .count = set_count,
    .memory = packed_block_memory,
    .walk = walk_intset,
    .verify = verify_intset,
    .free_some = packed_block_free_some,
    .copy_some = packed_block_copy_some,
    .relocate_some = packed_block_relocate_some,
};

static size_t memory_table(const struct value *value) {
    return table_of(value)->memory;
}

struct visiting {
    value_element_fn *visit;
    void *arg;
};

static void visit_member(void *arg, void *member) {
    const struct visiting *visiting = arg;
    visiting->visit(visiting->arg, &(struct value_element){.first = member_name(member)});
}

static uint64_t walk_table(const struct value *value, uint64_t cursor, uint64_t count,
                           value_element_fn *visit, void *arg) {
    struct visiting visiting = {visit, arg};
    uint64_t place =
        members_visit(table_of(value), table_cursor_place(cursor), count, visit_member, &visiting);
    return place < TABLE_PLACE_END ? table_cursor(place) : 0;
}

static void verify_table(const struct value *value) {
    members_verify(table_of(value));
}

static bool free_some_of_table(struct shard_heap *heap, struct value *value, size_t *budget) {
    return members_free_some(heap, value->root, budget);
}

static bool copy_some_of_table(struct shard_heap *heap, const struct value *from, struct value *to,
                               uint64_t *cursor, size_t *budget) {
    if (*cursor == 0) {
        to->root = members_new(heap, table_of(from)->secret);
    }
    return members_copy_some(heap, table_of(from), to->root, cursor, budget);
}

static bool relocate_some_of_table(struct shard_heap *heap, struct value *value, uint64_t *cursor,
                                   size_t *budget) {
    if (*cursor == 0) {
        size_t copied;
        value->root = heap_relocate(heap, value->root, sizeof(struct members), &copied);
        budget_spend(budget, copied);
    }
    return members_relocate_some(heap, value->root, cursor, budget);
}

static const struct table *names_of_table(const struct value *value) {
    return &table_of(value)->table;
}

const struct form set_form_table = {
    .encoding = encoding_table,
    .count = set_count,
    .names = names_of_table,
    .memory = memory_table,
    .walk = walk_table,
    .verify = verify_table,
    .pieces = set_count,
    .free_some = free_some_of_table,
    .copy_some = copy_some_of_table,
    .relocate_some = relocate_some_of_table,
};
