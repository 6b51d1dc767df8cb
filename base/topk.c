/* SPDX-License-Identifier: BSD-3-Clause */
/* topk: see the header. The counts are a heap, whose first is the next to go; the items are found
 * by their hashes through buckets of chains. An item never moves, its place in the heap does.
 *
 * Invariants
 *  1. items[heap[i]].place == i, for all that are used; no count is less than its parent's.
 *  2. Each used item is in the chain of its hash's bucket.
 *  3. error <= count.
 */
#include "base/topk.h"

#include "base/check.h"
#include "base/must.h"

#include <stdlib.h>

void topk_init(struct topk *top) {
    memset(top, 0, sizeof *top);
}

void topk_fini(struct topk *top) {
    topk_clear(top);
}

size_t topk_memory(const struct topk *top) {
    return sizeof *top + top->names_bytes;
}

void topk_clear(struct topk *top) {
    for (uint32_t i = 0; i < top->used; i++) {
        free(top->items[i].name);
    }
    topk_init(top);
}

/* ---- The heap ---- */

static void put(struct topk *top, uint32_t place, uint16_t index) {
    top->heap[place] = index;
    top->items[index].place = (uint16_t)place;
}

static uint64_t count_at(const struct topk *top, uint32_t place) {
    return top->items[top->heap[place]].count;
}

/* Its count has grown. */
static void sift_down(struct topk *top, uint32_t place) {
    uint16_t index = top->heap[place];
    uint64_t count = top->items[index].count;
    for (uint32_t child; (child = 2 * place + 1) < top->used; place = child) {
        child += child + 1 < top->used && count_at(top, child + 1) < count_at(top, child);
        if (count_at(top, child) >= count) {
            break;
        }
        put(top, place, top->heap[child]);
    }
    put(top, place, index);
}

static void sift_up(struct topk *top, uint32_t place) {
    uint16_t index = top->heap[place];
    uint64_t count = top->items[index].count;
    while (place > 0 && count_at(top, (place - 1) / 2) > count) {
        put(top, place, top->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    put(top, place, index);
}

/* ---- Buckets ---- */

static uint16_t *bucket_of(struct topk *top, uint64_t hash) {
    return &top->buckets[hash % TOPK_BUCKETS];
}

static struct topk_item *find(struct topk *top, uint64_t hash, uint32_t tag) {
    for (uint16_t at = *bucket_of(top, hash); at != 0; at = top->items[at - 1].next) {
        struct topk_item *item = &top->items[at - 1];
        if (item->hash == hash && item->tag == tag) {
            return item;
        }
    }
    return NULL;
}

static void unlink_item(struct topk *top, const struct topk_item *item) {
    uint16_t *link = bucket_of(top, item->hash);
    while (&top->items[*link - 1] != item) {
        check(*link != 0);
        link = &top->items[*link - 1].next;
    }
    *link = item->next;
}

/* ---- Items ---- */

static void name_item(struct topk *top, struct topk_item *item, uint64_t hash, uint32_t tag,
                      struct bytes name) {
    item->hash = hash;
    item->tag = tag;
    item->name_len = name.len < TOPK_NAME_MAX ? (uint32_t)name.len : TOPK_NAME_MAX;
    if (item->name_len > item->name_room) {
        free(item->name);
        top->names_bytes += item->name_len - item->name_room;
        item->name = must_malloc(item->name_len);
        item->name_room = item->name_len;
    }
    if (item->name_len > 0) {
        memcpy(item->name, name.ptr, item->name_len);
    }
    uint16_t *bucket = bucket_of(top, hash);
    item->next = *bucket;
    *bucket = (uint16_t)(item - top->items + 1);
}

void topk_add(struct topk *top, uint64_t hash, uint32_t tag, struct bytes name, uint64_t weight) {
    struct topk_item *item = find(top, hash, tag);
    if (item == NULL && top->used < TOPK_ITEMS) {
        item = &top->items[top->used];
        name_item(top, item, hash, tag, name);
        item->count = weight;
        put(top, top->used, (uint16_t)top->used);
        sift_up(top, top->used++);
        return;
    }
    if (item == NULL) {
        item = &top->items[top->heap[0]];
        unlink_item(top, item);
        name_item(top, item, hash, tag, name);
        item->error = item->count;
    }
    item->count += weight;
    sift_down(top, item->place);
}

void topk_fade(struct topk *top, unsigned shift) {
    /* Who had no less than another still has not: the heap stays one. */
    for (uint32_t i = 0; i < top->used; i++) {
        struct topk_item *item = &top->items[i];
        item->count -= item->count >> shift;
        item->error -= item->error >> shift;
    }
}
