/* SPDX-License-Identifier: BSD-3-Clause */
/* Quicklists against an array: all changes at random places, under every kind of limit, with and
 * without compression, read from both ends and from the middle; and copies and moves in steps. */
#include "base/random.h"
#include "shard/ds/quicklist.h"
#include "shard/memory/heap.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ELEMENTS_MAX 6000
#define TEXT_MAX     12000

struct model {
    struct shard_heap *heap;
    struct quicklist *list;
    uint64_t *seeds;
    uint64_t count;
    struct rng rng;
    unsigned kinds; /* of texts */
};

/* The text that belongs to a seed: few different ones, so that equal elements are met. */
static struct bytes text_of(uint64_t seed, char *room) {
    static const uint32_t lengths[] = {1, 3, 20, 40, 70, 130, 400, 3000, 5000, 9000, 11000};
    uint64_t which = seed & 0xFF;
    if (which < 80) {
        return bytes_make(room, num_format_i64(room, (int64_t)((which - 40) << which % 50)));
    }
    uint32_t length = which == 80 ? 0 : lengths[(seed >> 8) % 11];
    for (uint32_t i = 0; i < length; i++) {
        /* Every other text compresses badly. */
        room[i] = (char)(which % 2 == 0 ? 'a' + which % 26 : (i * 2654435761u) >> 13 ^ which);
    }
    return bytes_make(room, length);
}

static uint64_t random_seed(struct model *m) {
    uint64_t r = rng_next(&m->rng);
    uint64_t size = (r >> 8) % m->kinds;
    if (r % 50 != 0 && size > 6) {
        size %= 6; /* large ones are rare */
    }
    return size << 8 | (r & 0xFF);
}

static uint64_t below(struct model *m, uint64_t limit) {
    return (rng_next(&m->rng) >> 16) % limit;
}

static void model_insert(struct model *m, uint64_t at, uint64_t seed) {
    memmove(m->seeds + at + 1, m->seeds + at, (m->count - at) * sizeof *m->seeds);
    m->seeds[at] = seed;
    m->count++;
}

static void model_remove(struct model *m, uint64_t at, uint64_t n) {
    memmove(m->seeds + at, m->seeds + at + n, (m->count - at - n) * sizeof *m->seeds);
    m->count -= n;
}

static bool same_text(uint64_t a, uint64_t b) {
    static char rooms[2][TEXT_MAX];
    return bytes_equal(text_of(a, rooms[0]), text_of(b, rooms[1]));
}

static uint64_t model_remove_equal(struct model *m, uint64_t seed, uint64_t limit, bool from_tail) {
    uint64_t removed = 0;
    for (uint64_t k = 0; k < m->count && removed < limit;) {
        uint64_t i = from_tail ? m->count - 1 - k : k;
        if (same_text(m->seeds[i], seed)) {
            model_remove(m, i, 1);
            removed++;
        } else {
            k++;
        }
    }
    return removed;
}

static void expect_from(struct model *m, const struct quicklist *list, uint64_t index, bool back,
                        uint64_t steps) {
    static char room[TEXT_MAX];
    char scratch[NUM_I64_BYTES];
    struct quicklist_iter iter;
    quicklist_iter_open(&iter, list, index, back);
    uint64_t left = back ? index + 1 : m->count - index;
    for (; steps > 0 && left > 0; steps--, left--, quicklist_iter_next(&iter)) {
        cr_assert(!iter.over);
        struct bytes text = text_of(m->seeds[index], room);
        cr_assert(bytes_equal(quicklist_iter_text(&iter, scratch), text));
        struct listpack_new item = listpack_new(text);
        cr_assert(quicklist_iter_equals(&iter, text, &item));
        index += back ? -UINT64_C(1) : 1;
    }
    cr_assert(left > 0 || iter.over);
    quicklist_iter_close(&iter);
}

static void expect_all(struct model *m, const struct quicklist *list) {
    quicklist_verify(list);
    cr_assert_eq(quicklist_count(list), m->count);
    if (m->count > 0) {
        static char room[TEXT_MAX];
        char scratch[NUM_I64_BYTES];
        cr_assert(bytes_equal(quicklist_end(list, false, scratch), text_of(m->seeds[0], room)));
        cr_assert(
            bytes_equal(quicklist_end(list, true, scratch), text_of(m->seeds[m->count - 1], room)));
        expect_from(m, list, 0, false, UINT64_MAX);
        expect_from(m, list, m->count - 1, true, UINT64_MAX);
    }
}

static void change(struct model *m, bool growing) {
    static char room[TEXT_MAX];
    uint64_t seed = random_seed(m), action = below(m, 16);
    struct bytes text = text_of(seed, room);
    if (m->count == 0 || (action < (growing ? 8 : 3) && m->count < ELEMENTS_MAX)) {
        bool tail = below(m, 2);
        quicklist_push(m->heap, m->list, text, tail);
        model_insert(m, tail ? m->count : 0, seed);
        return;
    }
    uint64_t at = below(m, m->count);
    if (action < (growing ? 11 : 5) && m->count < ELEMENTS_MAX) {
        bool after = below(m, 2);
        quicklist_insert(m->heap, m->list, at, text, after);
        model_insert(m, at + after, seed);
    } else if (action < 12) {
        quicklist_set(m->heap, m->list, at, text);
        m->seeds[at] = seed;
    } else if (action == 12) {
        bool tail = below(m, 2);
        quicklist_drop(m->heap, m->list, tail);
        model_remove(m, tail ? m->count - 1 : 0, 1);
    } else if (action < 15) {
        uint64_t span = below(m, 100) > 0 ? 1 + below(m, 2) : below(m, 300), end = below(m, 3);
        span = span < m->count - at ? span : m->count - at;
        at = end == 0 ? 0 : end == 1 ? m->count - span : at;
        quicklist_remove(m->heap, m->list, at, span);
        model_remove(m, at, span);
    } else {
        bool from_tail = below(m, 2);
        uint64_t limit = below(m, 3) == 0 ? UINT64_MAX : 1 + below(m, 4);
        seed = m->seeds[at];
        text = text_of(seed, room);
        cr_assert_eq(quicklist_remove_equal(m->heap, m->list, text, limit, from_tail),
                     model_remove_equal(m, seed, limit, from_tail));
    }
}

static void free_all(struct shard_heap *heap, struct quicklist *list) {
    for (size_t budget = 1000; !quicklist_free_some(heap, list, &budget); budget = 1000) {
    }
}

/* A copy in steps has the same elements, and is another list. */
static void expect_copy(struct model *m) {
    struct shard_heap *heap = shard_heap_new();
    struct quicklist *copy = NULL;
    uint64_t cursor = 0;
    for (size_t budget = 3000; !quicklist_copy_some(heap, m->list, &copy, &cursor, &budget);) {
        budget = 3000;
    }
    expect_all(m, copy);
    cr_assert_eq(heap_used(heap), quicklist_memory(copy));
    free_all(heap, copy);
    cr_assert_eq(heap_used(heap), 0);
    shard_heap_free(heap);
}

static void expect_moved(struct model *m) {
    uint64_t cursor = 0;
    for (size_t budget = 3000; !quicklist_relocate_some(m->heap, &m->list, &cursor, &budget);) {
        budget = 3000;
    }
    expect_all(m, m->list);
}

static void run(int64_t fill, int64_t depth, uint64_t threshold, unsigned steps) {
    struct model m = {.heap = shard_heap_new(), .kinds = 11};
    m.seeds = malloc((ELEMENTS_MAX + 1) * sizeof *m.seeds);
    rng_seed(&m.rng, (uint64_t)(fill * 100 + depth) + threshold);
    m.list = quicklist_new(m.heap, fill, depth);
    quicklist_set_packed_threshold(m.list, threshold);
    for (unsigned step = 0; step < steps; step++) {
        change(&m, step / 1500 % 3 < 2);
        if (step % 16 == 0) {
            quicklist_verify(m.list);
        }
        cr_assert_eq(heap_used(m.heap), quicklist_memory(m.list));
        if (step % 256 == 0) {
            expect_all(&m, m.list);
        } else if (m.count > 0) {
            expect_from(&m, m.list, below(&m, m.count), step % 2, 3);
        }
    }
    expect_all(&m, m.list);
    expect_copy(&m);
    expect_moved(&m);
    free_all(m.heap, m.list);
    cr_assert_eq(heap_used(m.heap), 0);
    shard_heap_free(m.heap);
    free(m.seeds);
}

Test(quicklist, random_changes_are_those_of_an_array) {
    static const int64_t fills[] = {-2, -1, -5, 0, 1, 4, 100, 100000};
    for (unsigned i = 0; i < sizeof fills / sizeof fills[0]; i++) {
        run(fills[i], 0, 0, 12000);
    }
}

Test(quicklist, compressed_ones_also) {
    static const int64_t fills[] = {-1, -2, 1, 16};
    for (unsigned i = 0; i < sizeof fills / sizeof fills[0]; i++) {
        run(fills[i], 1, 0, 4000);
        run(fills[i], 3, 0, 4000);
        run(fills[i], 200, 0, 3000);
    }
}

Test(quicklist, any_length_may_be_that_of_a_plain_node) {
    static const uint64_t thresholds[] = {1, 4, 100, 1 << 30};
    for (unsigned i = 0; i < sizeof thresholds / sizeof thresholds[0]; i++) {
        run(-2, 0, thresholds[i], 4000);
        run(8, 2, thresholds[i], 4000);
    }
}

/* A list of one end or two, as queues and stacks are, takes no more than its elements. */
Test(quicklist, elements_of_32_bytes_take_less_than_35) {
    struct shard_heap *heap = shard_heap_new();
    struct quicklist *list = quicklist_new(heap, -2, 0);
    char text[33];
    for (unsigned i = 0; i < 500000; i++) {
        snprintf(text, sizeof text, "element-%024u", i);
        quicklist_push(heap, list, bytes_make(text, 32), i % 3 == 0);
    }
    cr_expect_leq(quicklist_memory(list), (size_t)500000 * 35);
    while (quicklist_count(list) > 100000) {
        quicklist_remove(heap, list, quicklist_count(list) % 2 ? 0 : quicklist_count(list) - 1, 1);
    }
    cr_expect_leq(quicklist_memory(list), (size_t)100000 * 36);
    quicklist_verify(list);
    free_all(heap, list);
    shard_heap_free(heap);
}
