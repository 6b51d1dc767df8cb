/* SPDX-License-Identifier: BSD-3-Clause */
/* list: see the header. */
#include "shard/types/list.h"

#include "base/check.h"
#include "shard/memory/heap.h"
#include "shard/types/list_forms.h"
#include "shard/types/packed.h"

#include <stdio.h>

/* ---- Reading ---- */

uint64_t list_count(const struct value *value) {
    return value->form == FORM_QUICKLIST ? quicklist_count(value->root)
                                         : listpack_count(packed_start(value));
}

void list_iter_open(struct quicklist_iter *iter, const struct value *value, uint64_t index,
                    bool backward) {
    if (value->form == FORM_QUICKLIST) {
        quicklist_iter_open(iter, value->root, index, backward);
    } else {
        quicklist_iter_open_packed(iter, packed_start(value), index, backward);
    }
}

struct bytes list_end(const struct value *value, bool tail, char *scratch) {
    if (LIKELY(value->form == FORM_QUICKLIST)) {
        return quicklist_end(value->root, tail, scratch);
    }
    const char *lp = packed_start(value);
    struct listpack_item item = listpack_get(lp, tail ? listpack_last(lp) : listpack_first(lp));
    return listpack_text(&item, scratch);
}

void list_describe(const struct value *value, bool brief, char *text, size_t room) {
    text[0] = 0;
    if (value->form != FORM_QUICKLIST) {
        return;
    }
    struct quicklist_shape shape = quicklist_shape(value->root);
    int length =
        snprintf(text, room, " ql_nodes:%llu ql_avg_node:%.2f ql_listpack_max:%d ql_compressed:%d",
                 (unsigned long long)shape.nodes, (double)list_count(value) / (double)shape.nodes,
                 shape.fill, shape.depth > 0);
    if (!brief && (size_t)length < room) {
        snprintf(text + length, room - (size_t)length, " ql_uncompressed_size:%llu",
                 (unsigned long long)shape.bytes);
    }
}

/* ---- From one form to the other ---- */

static void make_quicklist(struct change *change, const struct list_rules *rules) {
    struct shard_heap *heap = change_heap(change);
    struct value *value = &change->value;
    struct quicklist *list = quicklist_new(heap, rules->fill, rules->depth);
    char *block = value->root;
    if (value->form == FORM_INLINE) {
        block = heap_alloc(heap, value->bytes.len);
        memcpy(block, value->bytes.ptr, value->bytes.len);
    }
    if (listpack_count(block) > 0) {
        quicklist_take(heap, list, block);
    } else {
        heap_release(heap, block, listpack_bytes(block));
    }
    value->form = FORM_QUICKLIST;
    value->root = list;
}

void list_grow(struct change *change, const struct list_rules *rules, const struct bytes *texts,
               uint32_t count) {
    if (change->value.form != FORM_QUICKLIST) {
        size_t bytes = packed_bytes(&change->value).len;
        for (uint32_t i = 0; i < count; i++) {
            bytes += texts[i].len;
        }
        uint64_t items = listpack_count(packed_start(&change->value)) + (uint64_t)count;
        if (LIKELY(!quicklist_exceeds(rules->fill, bytes, items))) {
            return;
        }
        make_quicklist(change, rules);
    }
    quicklist_set_packed_threshold(change->value.root, rules->packed_threshold);
}

static void free_list(struct shard_heap *heap, struct quicklist *list) {
    size_t budget = SIZE_MAX;
    while (!quicklist_free_some(heap, list, &budget)) {
        budget = SIZE_MAX;
    }
}

void list_shrink(struct change *change, const struct list_rules *rules) {
    struct bytes listpack;
    if (change->value.form != FORM_QUICKLIST || !quicklist_single(change->value.root, &listpack)) {
        return;
    }
    struct quicklist_limit limit = quicklist_limit(rules->fill);
    if (listpack.len > limit.bytes / 2 || listpack_count(listpack.ptr) > limit.items / 2) {
        return;
    }
    struct quicklist *list = change->value.root;
    packed_put(change, false, listpack);
    free_list(change_heap(change), list);
}

/* ---- Changing ---- */

void list_push(struct change *change, struct bytes text, bool tail) {
    if (LIKELY(change->value.form == FORM_QUICKLIST)) {
        quicklist_push(change_heap(change), change->value.root, text, tail);
    } else {
        struct listpack_new item = listpack_new(text);
        packed_insert(change, tail ? 0 : LISTPACK_HEADER_BYTES, &item);
    }
}

void list_insert(struct change *change, uint64_t index, struct bytes text, bool after) {
    if (change->value.form == FORM_QUICKLIST) {
        quicklist_insert(change_heap(change), change->value.root, index, text, after);
        return;
    }
    const char *lp = packed_start(&change->value);
    size_t at = listpack_seek(lp, (int64_t)index);
    struct listpack_new item = listpack_new(text);
    packed_insert(change, after ? listpack_next(lp, at) : at, &item);
}

void list_set(struct change *change, uint64_t index, struct bytes text) {
    if (change->value.form == FORM_QUICKLIST) {
        quicklist_set(change_heap(change), change->value.root, index, text);
        return;
    }
    struct listpack_new item = listpack_new(text);
    packed_set(change, listpack_seek(packed_start(&change->value), (int64_t)index), &item);
}

void list_cut(struct change *change, uint64_t index, uint64_t count) {
    if (change->value.form == FORM_QUICKLIST) {
        quicklist_remove(change_heap(change), change->value.root, index, count);
    } else if (count > 0) {
        size_t at = listpack_seek(packed_start(&change->value), (int64_t)index);
        packed_remove(change, at, (uint32_t)count);
    }
}

void list_drop(struct change *change, bool tail) {
    if (LIKELY(change->value.form == FORM_QUICKLIST)) {
        quicklist_drop(change_heap(change), change->value.root, tail);
    } else {
        const char *lp = packed_start(&change->value);
        packed_remove(change, tail ? listpack_last(lp) : listpack_first(lp), 1);
    }
}

uint64_t list_remove_equal(struct change *change, struct bytes text, uint64_t limit,
                           bool from_tail) {
    struct value *value = &change->value;
    if (value->form == FORM_QUICKLIST) {
        return quicklist_remove_equal(change_heap(change), value->root, text, limit, from_tail);
    }
    struct listpack_new item = listpack_new(text);
    size_t bytes = packed_bytes(value).len, end;
    char *lp = (char *)(uintptr_t)packed_start(value);
    uint32_t removed = listpack_squeeze(lp, &item, limit, from_tail, &end);
    if (removed > 0) {
        lp = packed_splice(change, end, bytes - 1 - end, 0);
        listpack_changed(lp, end + 1, -(int64_t)removed);
    }
    return removed;
}

/* ---- The form ---- */

static const char *encoding(const struct value *value) {
    (void)value;
    return "quicklist";
}

static uint64_t count(const struct value *value) {
    return quicklist_count(value->root);
}

static uint64_t pieces(const struct value *value) {
    return quicklist_nodes(value->root);
}

static size_t memory(const struct value *value) {
    return quicklist_memory(value->root);
}

static uint64_t walk(const struct value *value, uint64_t cursor, uint64_t number,
                     value_element_fn *visit, void *arg) {
    struct quicklist_iter iter;
    char scratch[NUM_I64_BYTES];
    quicklist_iter_open(&iter, value->root, cursor, false);
    for (; !iter.over && number > 0; quicklist_iter_next(&iter), number--, cursor++) {
        struct value_element element = {.first = quicklist_iter_text(&iter, scratch)};
        visit(arg, &element);
    }
    bool over = iter.over;
    quicklist_iter_close(&iter);
    return over ? 0 : cursor;
}

static void verify(const struct value *value) {
    quicklist_verify(value->root);
}

static bool free_some(struct shard_heap *heap, struct value *value, size_t *budget) {
    bool done = quicklist_free_some(heap, value->root, budget);
    value->root = done ? NULL : value->root;
    return done;
}

static bool copy_some(struct shard_heap *heap, const struct value *from, struct value *to,
                      uint64_t *cursor, size_t *budget) {
    struct quicklist *list = to->root;
    bool done = quicklist_copy_some(heap, from->root, &list, cursor, budget);
    to->root = list;
    return done;
}

static bool relocate_some(struct shard_heap *heap, struct value *value, uint64_t *cursor,
                          size_t *budget) {
    struct quicklist *list = value->root;
    bool done = quicklist_relocate_some(heap, &list, cursor, budget);
    value->root = list;
    return done;
}

const struct form list_form_quicklist = {
    .encoding = encoding,
    .count = count,
    .memory = memory,
    .walk = walk,
    .verify = verify,
    .pieces = pieces,
    .free_some = free_some,
    .copy_some = copy_some,
    .relocate_some = relocate_some,
};
