/* SPDX-License-Identifier: BSD-3-Clause */
/* A heap of deadlines: see the header.
 *
 *     chunks ---> [ 512 deadlines ] [ 512 deadlines ] ...      position 512 * i + j
 *
 * Deadlines mostly come in ascending order, and then a new one stays where it is put. Four children
 * lie in one cache line, so taking out the first costs one of them a level.
 *
 * Invariants:
 *  1. No deadline is earlier than its parent's, which stands at (position - 1) / 4.
 *  2. The first chunk is as large as it must be, in powers of two, up to a whole one; all others
 *     are whole. At most one chunk has nothing in it.
 */
#include "shard/ds/deadlines.h"

#include "base/check.h"
#include "shard/memory/heap.h"

#include <string.h>

#define ARITY     4
#define FIRST_MIN 4

static struct deadline *at(struct deadlines *d, uint32_t position) {
    return &d->chunks[position >> DEADLINES_CHUNK_BITS][position & (DEADLINES_CHUNK - 1)];
}

static size_t chunk_bytes(const struct deadlines *d, uint32_t chunk) {
    return (chunk == 0 ? d->room : DEADLINES_CHUNK) * sizeof(struct deadline);
}

/* ---- Room ---- */

static void resize_first(struct deadlines *d, struct shard_heap *heap, uint32_t room) {
    size_t before = chunk_bytes(d, 0);
    d->room = room;
    d->chunks[0] = heap_resize(heap, d->chunks[0], before, chunk_bytes(d, 0));
}

static void resize_list(struct deadlines *d, struct shard_heap *heap, uint32_t room) {
    size_t before = d->chunk_room * sizeof(*d->chunks), after = room * sizeof(*d->chunks);
    d->chunks = before == 0 ? heap_alloc(heap, after) : heap_resize(heap, d->chunks, before, after);
    d->chunk_room = room;
}

static void add_chunk(struct deadlines *d, struct shard_heap *heap) {
    if (d->chunk_count == d->chunk_room) {
        resize_list(d, heap, d->chunk_room == 0 ? 1 : d->chunk_room * 2);
    }
    if (d->chunk_count == 0) {
        d->room = FIRST_MIN;
    }
    d->chunks[d->chunk_count] = heap_alloc(heap, chunk_bytes(d, d->chunk_count));
    d->chunk_count++;
}

static void make_room(struct deadlines *d, struct shard_heap *heap) {
    check(d->count != UINT32_MAX);
    if (d->chunk_count <= 1 && d->room < DEADLINES_CHUNK) {
        if (d->chunk_count == 0) {
            add_chunk(d, heap);
        } else if (d->count == d->room) {
            resize_first(d, heap, d->room * 2);
        }
    } else if (d->count == d->chunk_count << DEADLINES_CHUNK_BITS) {
        add_chunk(d, heap);
    }
}

static void drop_chunk(struct deadlines *d, struct shard_heap *heap) {
    d->chunk_count--;
    heap_release(heap, d->chunks[d->chunk_count], chunk_bytes(d, d->chunk_count));
    if (d->chunk_count == 0) {
        heap_release(heap, d->chunks, d->chunk_room * sizeof(*d->chunks));
        *d = (struct deadlines){0};
    }
}

static void give_room(struct deadlines *d, struct shard_heap *heap) {
    if (d->count == 0) {
        while (d->chunk_count > 0) {
            drop_chunk(d, heap);
        }
    } else if (d->chunk_count == 1) {
        if (d->room > FIRST_MIN && d->count <= d->room / 4) {
            resize_first(d, heap, d->room / 2);
        }
    } else if (d->count + DEADLINES_CHUNK < d->chunk_count << DEADLINES_CHUNK_BITS) {
        drop_chunk(d, heap);
        if (d->chunk_room > 8 && d->chunk_count <= d->chunk_room / 4) {
            resize_list(d, heap, d->chunk_room / 2);
        }
    }
}

/* ---- Order ---- */

static void put(struct deadlines *d, uint32_t position, struct deadline one,
                deadlines_place_fn *place) {
    *at(d, position) = one;
    place(one.item, position);
}

/* Where this one belongs, if it is put at `position` or above; those it passes make room. */
static uint32_t sift_up(struct deadlines *d, uint32_t position, int64_t at_ms,
                        deadlines_place_fn *place) {
    while (position > 0) {
        uint32_t parent = (position - 1) / ARITY;
        if (at(d, parent)->at_ms <= at_ms) {
            break;
        }
        put(d, position, *at(d, parent), place);
        position = parent;
    }
    return position;
}

static uint32_t sift_down(struct deadlines *d, uint32_t position, int64_t at_ms,
                          deadlines_place_fn *place) {
    for (;;) {
        uint64_t child = (uint64_t)position * ARITY + 1;
        if (child >= d->count) {
            return position;
        }
        uint64_t end = child + ARITY < d->count ? child + ARITY : d->count;
        uint32_t first = (uint32_t)child;
        for (uint64_t i = child + 1; i < end; i++) {
            if (at(d, (uint32_t)i)->at_ms < at(d, first)->at_ms) {
                first = (uint32_t)i;
            }
        }
        if (at_ms <= at(d, first)->at_ms) {
            return position;
        }
        put(d, position, *at(d, first), place);
        position = first;
    }
}

static void settle(struct deadlines *d, uint32_t position, struct deadline one,
                   deadlines_place_fn *place) {
    position = sift_up(d, position, one.at_ms, place);
    position = sift_down(d, position, one.at_ms, place);
    put(d, position, one, place);
}

void deadlines_add(struct deadlines *d, struct shard_heap *heap, int64_t at_ms, void *item,
                   deadlines_place_fn *place) {
    make_room(d, heap);
    uint32_t position = d->count++;
    put(d, sift_up(d, position, at_ms, place), (struct deadline){at_ms, item}, place);
}

void deadlines_change(struct deadlines *d, uint32_t position, int64_t at_ms,
                      deadlines_place_fn *place) {
    check(position < d->count);
    struct deadline one = *at(d, position);
    one.at_ms = at_ms;
    settle(d, position, one, place);
}

void deadlines_remove(struct deadlines *d, struct shard_heap *heap, uint32_t position,
                      deadlines_place_fn *place) {
    check(position < d->count);
    struct deadline last = *at(d, --d->count);
    if (position < d->count) {
        settle(d, position, last, place);
    }
    give_room(d, heap);
}

void deadlines_moved(struct deadlines *d, uint32_t position, void *item) {
    check(position < d->count);
    at(d, position)->item = item;
}

uint32_t deadlines_count_before(const struct deadlines *d, int64_t now_ms) {
    /* A walk in depth without a stack: to the first child while it is over, else to the next
     * brother, the parent's next brother .. */
    uint32_t count = 0;
    uint64_t position = 0;
    while (position < d->count) {
        bool over = deadlines_at(d, (uint32_t)position)->at_ms < now_ms;
        count += over;
        uint64_t child = position * ARITY + 1;
        if (over && child < d->count) {
            position = child;
            continue;
        }
        while (position > 0 && (position % ARITY == 0 || position + 1 >= d->count)) {
            position = (position - 1) / ARITY; /* was the last of its brothers */
        }
        if (position == 0) {
            break;
        }
        position++;
    }
    return count;
}

/* ---- All of it ---- */

bool deadlines_drain(struct deadlines *d, struct shard_heap *heap, uint32_t chunks) {
    d->count = 0;
    for (; chunks > 0 && d->chunk_count > 0; chunks--) {
        drop_chunk(d, heap);
    }
    return d->chunk_count == 0;
}

bool deadlines_relocate(struct deadlines *d, struct shard_heap *heap, uint32_t chunk,
                        size_t *ret_copied) {
    *ret_copied = 0;
    if (chunk >= d->chunk_count) {
        return false;
    }
    d->chunks[chunk] = heap_relocate(heap, d->chunks[chunk], chunk_bytes(d, chunk), ret_copied);
    return true;
}

size_t deadlines_bytes(const struct deadlines *d) {
    if (d->chunk_count == 0) {
        return 0;
    }
    size_t first = heap_block_bytes(chunk_bytes(d, 0));
    size_t other = heap_block_bytes(DEADLINES_CHUNK * sizeof(struct deadline));
    return heap_block_bytes(d->chunk_room * sizeof(*d->chunks)) + first +
           (d->chunk_count - 1) * other;
}

void deadlines_verify(const struct deadlines *d) {
    for (uint32_t i = 1; i < d->count; i++) {
        check(deadlines_at(d, (i - 1) / ARITY)->at_ms <= deadlines_at(d, i)->at_ms);
    }
    uint32_t room = d->chunk_count <= 1 ? d->room : d->chunk_count << DEADLINES_CHUNK_BITS;
    check(d->count <= room);
    check(d->chunk_count <= 1 || d->room == DEADLINES_CHUNK);
}
