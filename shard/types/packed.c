/* SPDX-License-Identifier: BSD-3-Clause */
/* Collections that are one row of bytes.
 *
 * A block is as long as what is in it: the heap's classes leave some room, and what becomes long
 * is soon of another form.
 */
#include "shard/types/packed.h"

#include "base/budget.h"
#include "base/check.h"
#include "shard/memory/heap.h"
#include "shard/types/packed_forms.h"

/* ---- Where it is ---- */

/* An intset says how wide and how many its numbers are (ds/intset.h). */
static size_t block_bytes(const struct value *value) {
    if (value->form == FORM_LISTPACK) {
        return listpack_bytes(value->root);
    }
    check_slow(value->form == FORM_INTSET);
    uint32_t header[2];
    memcpy(header, value->root, sizeof header);
    return sizeof header + (size_t)header[0] * header[1];
}

struct bytes packed_bytes(const struct value *value) {
    return value_is_inline(value) ? value->bytes : bytes_make(value->root, block_bytes(value));
}

void packed_make(struct change *change, enum value_type type) {
    char empty[LISTPACK_EMPTY_BYTES];
    listpack_init(empty);
    change_make(change, (struct value){.type = type & 15,
                                       .form = FORM_INLINE,
                                       .bytes = bytes_make(empty, sizeof empty)});
}

/* ---- Splicing ---- */

struct splice {
    size_t at, remove, insert;
    size_t before, after; /* bytes of all */
};

/* From where all of it is to where it shall be, which is somewhere else. */
static void copy_around(char *to, const char *from, const struct splice *s) {
    memcpy(to, from, s->at);
    memcpy(to + s->at + s->insert, from + s->at + s->remove, s->before - s->at - s->remove);
}

/* Within one place, that has room for the larger of both. */
static void move_tail(char *start, const struct splice *s) {
    memmove(start + s->at + s->insert, start + s->at + s->remove, s->before - s->at - s->remove);
}

static enum value_form inline_form(const struct value *value) {
    return value_is_intset(value) ? FORM_INTS : FORM_INLINE;
}

static char *splice_inline(struct change *change, const struct splice *s) {
    struct value *value = &change->value;
    enum value_form form = (enum value_form)value->form;
    if (s->after > PACKED_INLINE_MAX) {
        char *block = heap_alloc(change_heap(change), s->after);
        copy_around(block, value->bytes.ptr, s);
        value->form = form == FORM_INTS ? FORM_INTSET : FORM_LISTPACK;
        value->root = block;
        return block;
    }
    char *start = (char *)value->bytes.ptr;
    if (s->after < s->before) {
        move_tail(start, s);
    }
    start = change_inline(change, form, s->after);
    if (s->after > s->before) {
        move_tail(start, s);
    }
    return start;
}

static char *splice_block(struct change *change, const struct splice *s) {
    struct shard_heap *heap = change_heap(change);
    struct value *value = &change->value;
    char *block = value->root;
    if (s->after <= PACKED_INLINE_MAX / 2) {
        char *start = change_inline(change, inline_form(value), s->after);
        copy_around(start, block, s);
        heap_release(heap, block, s->before);
        return start;
    }
    if (s->after < s->before) {
        move_tail(block, s);
    }
    block = heap_resize(heap, block, s->before, s->after);
    if (s->after > s->before) {
        move_tail(block, s);
    }
    value->root = block;
    return block;
}

char *packed_splice(struct change *change, size_t at, size_t remove, size_t insert) {
    size_t before = packed_bytes(&change->value).len;
    check_slow(at + remove <= before);
    struct splice s = {at, remove, insert, before, before - remove + insert};
    if (UNLIKELY(remove == insert)) {
        return (char *)packed_start(&change->value);
    }
    return value_is_inline(&change->value) ? splice_inline(change, &s) : splice_block(change, &s);
}

void packed_leave(struct change *change) {
    struct value *value = &change->value;
    if (value_is_rooted(value)) {
        heap_release(change_heap(change), value->root, block_bytes(value));
    }
}

void packed_put(struct change *change, bool intset, struct bytes bytes) {
    struct value *value = &change->value;
    if (bytes.len > PACKED_INLINE_MAX) {
        char *block = heap_alloc(change_heap(change), bytes.len);
        memcpy(block, bytes.ptr, bytes.len);
        value->form = intset ? FORM_INTSET : FORM_LISTPACK;
        value->root = block;
    } else {
        char *start = change_inline(change, intset ? FORM_INTS : FORM_INLINE, bytes.len);
        memcpy(start, bytes.ptr, bytes.len);
    }
}

void packed_replace(struct change *change, bool intset, struct bytes bytes) {
    packed_leave(change);
    packed_put(change, intset, bytes);
}

/* ---- Listpacks ---- */

void packed_insert(struct change *change, size_t at, const struct listpack_new *item) {
    size_t bytes = packed_bytes(&change->value).len;
    at = at == 0 ? bytes - 1 : at;
    char *lp = packed_splice(change, at, 0, item->bytes);
    listpack_put(lp + at, item);
    listpack_changed(lp, bytes + item->bytes, 1);
}

void packed_set(struct change *change, size_t at, const struct listpack_new *item) {
    size_t bytes = packed_bytes(&change->value).len;
    size_t old = listpack_item_bytes(packed_start(&change->value), at);
    char *lp = packed_splice(change, at, old, item->bytes);
    listpack_put(lp + at, item);
    listpack_changed(lp, bytes - old + item->bytes, 0);
}

void packed_remove(struct change *change, size_t at, uint32_t items) {
    const char *lp = packed_start(&change->value);
    size_t bytes = packed_bytes(&change->value).len, end = at;
    for (uint32_t i = 0; i < items; i++) {
        end += listpack_item_bytes(lp, end);
        check_slow(end < bytes);
    }
    char *start = packed_splice(change, at, end - at, 0);
    listpack_changed(start, bytes - (end - at), -(int64_t)items);
}

/* ---- The forms ---- */

static const char *encoding(const struct value *value) {
    (void)value;
    return "listpack";
}

static uint64_t count_single(const struct value *value) {
    return listpack_count(packed_start(value));
}

static uint64_t count_pairs(const struct value *value) {
    return listpack_count(packed_start(value)) / 2;
}

size_t packed_inline_memory(const struct value *value) {
    check_slow(value_is_inline(value));
    return 0;
}

size_t packed_block_memory(const struct value *value) {
    return heap_block_bytes(block_bytes(value));
}

static double item_score(const struct listpack_item *item) {
    double score = (double)item->number;
    if (item->text != NULL) {
        check(num_parse_double(bytes_make(item->text, item->length), &score));
    }
    return score;
}

enum shape { SINGLE, PAIRS, SCORES };

static uint64_t walk(const struct value *value, enum shape shape, value_element_fn *visit,
                     void *arg) {
    const char *lp = packed_start(value);
    char first[NUM_I64_BYTES], second[NUM_I64_BYTES];
    for (size_t at = listpack_first(lp); at != 0; at = listpack_next(lp, at)) {
        struct listpack_item item = listpack_get(lp, at);
        struct value_element element = {.first = listpack_text(&item, first)};
        if (shape != SINGLE) {
            at = listpack_next(lp, at);
            item = listpack_get(lp, at);
            element.second = listpack_text(&item, second);
            element.score = shape == SCORES ? item_score(&item) : 0;
        }
        visit(arg, &element);
    }
    return 0;
}

/* What is small is walked in one call. */
static uint64_t walk_single(const struct value *value, uint64_t cursor, uint64_t count,
                            value_element_fn *visit, void *arg) {
    (void)cursor;
    (void)count;
    return walk(value, SINGLE, visit, arg);
}

static uint64_t walk_pairs(const struct value *value, uint64_t cursor, uint64_t count,
                           value_element_fn *visit, void *arg) {
    (void)cursor;
    (void)count;
    return walk(value, PAIRS, visit, arg);
}

static uint64_t walk_scores(const struct value *value, uint64_t cursor, uint64_t count,
                            value_element_fn *visit, void *arg) {
    (void)cursor;
    (void)count;
    return walk(value, SCORES, visit, arg);
}

static void verify_single(const struct value *value) {
    check(listpack_is_sound(packed_bytes(value)));
    check(!value_is_inline(value) || value->bytes.len <= PACKED_INLINE_MAX);
}

static void verify_pairs(const struct value *value) {
    verify_single(value);
    check(listpack_count(packed_start(value)) % 2 == 0);
}

bool packed_block_free_some(struct shard_heap *heap, struct value *value, size_t *budget) {
    (void)budget;
    heap_release(heap, value->root, block_bytes(value));
    value->root = NULL;
    return true;
}

bool packed_block_copy_some(struct shard_heap *heap, const struct value *from, struct value *to,
                            uint64_t *cursor, size_t *budget) {
    check(*cursor == 0);
    struct bytes bytes = packed_bytes(from);
    to->root = heap_alloc(heap, bytes.len);
    memcpy(to->root, bytes.ptr, bytes.len);
    budget_spend(budget, bytes.len);
    return true;
}

bool packed_block_relocate_some(struct shard_heap *heap, struct value *value, uint64_t *cursor,
                                size_t *budget) {
    check(*cursor == 0);
    size_t bytes = block_bytes(value), copied = 0;
    if (bytes <= HEAP_SLAB_BLOCK_MAX) {
        value->root = heap_relocate(heap, value->root, bytes, &copied);
    }
    budget_spend(budget, copied);
    return true;
}

#define INLINE_FORM(count_fn, walk_fn, verify_fn)                                                  \
    {                                                                                              \
        .encoding = encoding, .count = (count_fn), .memory = packed_inline_memory,                 \
        .walk = (walk_fn), .verify = (verify_fn),                                                  \
    }
#define BLOCK_FORM(count_fn, walk_fn, verify_fn)                                                   \
    {                                                                                              \
        .encoding = encoding, .count = (count_fn), .memory = packed_block_memory,                  \
        .walk = (walk_fn), .verify = (verify_fn), .free_some = packed_block_free_some,             \
        .copy_some = packed_block_copy_some, .relocate_some = packed_block_relocate_some,          \
    }

const struct form packed_form_inline = INLINE_FORM(count_single, walk_single, verify_single);
const struct form packed_form_block = BLOCK_FORM(count_single, walk_single, verify_single);
const struct form packed_form_inline_pairs = INLINE_FORM(count_pairs, walk_pairs, verify_pairs);
const struct form packed_form_block_pairs = BLOCK_FORM(count_pairs, walk_pairs, verify_pairs);
const struct form packed_form_inline_scores = INLINE_FORM(count_pairs, walk_scores, verify_pairs);
const struct form packed_form_block_scores = BLOCK_FORM(count_pairs, walk_scores, verify_pairs);
