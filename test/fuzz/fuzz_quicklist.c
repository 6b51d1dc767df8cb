/* SPDX-License-Identifier: BSD-3-Clause */
/* The input as changes of a quicklist, which is compared with an array after each of them. */
#include "base/check.h"
#include "shard/ds/quicklist.h"
#include "shard/memory/heap.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ELEMENTS_MAX 512
#define TEXT_MAX     9000

struct input {
    const uint8_t *data;
    size_t size;
};

struct model {
    struct shard_heap *heap;
    struct quicklist *list;
    uint8_t kind[ELEMENTS_MAX]; /* what each element is */
    uint32_t count;
};

static unsigned next(struct input *in) {
    if (in->size == 0) {
        return 0;
    }
    in->size--;
    return *in->data++;
}

/* Equal kinds have equal texts: numbers, and runs of a letter. */
static struct bytes text_of(uint8_t kind, char *room) {
    static const uint16_t lengths[] = {0, 1, 5, 20, 63, 64, 100, 4095, 4096, 8150, 8192, 8193};
    if (kind < 64) {
        return bytes_make(room,
                          num_format_i64(room, (int64_t)((uint64_t)(kind - 32) << kind % 60)));
    }
    uint16_t length = lengths[kind % 12];
    memset(room, 'a' + kind % 5, length);
    return bytes_make(room, length);
}

static bool same(uint8_t a, uint8_t b) {
    static char rooms[2][TEXT_MAX];
    return bytes_equal(text_of(a, rooms[0]), text_of(b, rooms[1]));
}

static void put(struct model *m, uint32_t at, uint8_t kind) {
    memmove(m->kind + at + 1, m->kind + at, m->count - at);
    m->kind[at] = kind;
    m->count++;
}

static void cut(struct model *m, uint32_t at, uint32_t count) {
    memmove(m->kind + at, m->kind + at + count, m->count - at - count);
    m->count -= count;
}

static uint64_t cut_equal(struct model *m, uint8_t kind, uint64_t limit, bool from_tail) {
    uint64_t removed = 0;
    for (uint32_t k = 0; k < m->count && removed < limit;) {
        uint32_t at = from_tail ? m->count - 1 - k : k;
        if (same(m->kind[at], kind)) {
            cut(m, at, 1);
            removed++;
        } else {
            k++;
        }
    }
    return removed;
}

static void step(struct model *m, struct input *in) {
    static char room[TEXT_MAX];
    unsigned action = next(in);
    uint8_t kind = (uint8_t)next(in);
    struct bytes text = text_of(kind, room);
    bool flag = action & 1;
    if (m->count == 0 || (action % 7 < 2 && m->count < ELEMENTS_MAX)) {
        quicklist_push(m->heap, m->list, text, flag);
        put(m, flag ? m->count : 0, kind);
        return;
    }
    uint32_t at = next(in) % m->count;
    if (action % 7 < 4 && m->count < ELEMENTS_MAX) {
        quicklist_insert(m->heap, m->list, at, text, flag);
        put(m, at + flag, kind);
    } else if (action % 7 == 4) {
        quicklist_set(m->heap, m->list, at, text);
        m->kind[at] = kind;
    } else if (action % 7 == 5) {
        uint64_t limit = kind % 4 == 0 ? UINT64_MAX : kind % 4;
        kind = m->kind[at];
        text = text_of(kind, room);
        uint64_t removed = quicklist_remove_equal(m->heap, m->list, text, limit, flag);
        check(removed == cut_equal(m, kind, limit, flag));
    } else {
        uint32_t count = kind % 16;
        if (count == 0) {
            quicklist_drop(m->heap, m->list, flag);
            cut(m, flag ? m->count - 1 : 0, 1);
            return;
        }
        count = count < m->count - at ? count : m->count - at;
        quicklist_remove(m->heap, m->list, at, count);
        cut(m, at, count);
    }
}

static void compare(const struct model *m, bool backward) {
    static char room[TEXT_MAX];
    char scratch[NUM_I64_BYTES];
    struct quicklist_iter iter;
    check(quicklist_count(m->list) == m->count);
    quicklist_iter_open(&iter, m->list, backward && m->count > 0 ? m->count - 1 : 0, backward);
    for (uint32_t i = 0; i < m->count; i++, quicklist_iter_next(&iter)) {
        uint8_t kind = m->kind[backward ? m->count - 1 - i : i];
        check(!iter.over && bytes_equal(quicklist_iter_text(&iter, scratch), text_of(kind, room)));
    }
    check(iter.over);
    quicklist_iter_close(&iter);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const int8_t fills[] = {-2, -1, 1, 2, 4, 16, 100};
    static const uint16_t thresholds[] = {0, 0, 1, 5, 64};
    static struct model model;
    struct input in = {data, size};
    model = (struct model){.heap = shard_heap_new()};
    unsigned rules = next(&in);
    model.list = quicklist_new(model.heap, fills[rules % 7], rules / 7 % 4);
    quicklist_set_packed_threshold(model.list, thresholds[rules / 28 % 5]);
    for (unsigned i = 0; in.size > 0; i++) {
        step(&model, &in);
        quicklist_verify(model.list);
        compare(&model, i % 2);
    }
    size_t budget = SIZE_MAX;
    check(quicklist_free_some(model.heap, model.list, &budget));
    check(heap_used(model.heap) == 0);
    shard_heap_free(model.heap);
    return 0;
}
