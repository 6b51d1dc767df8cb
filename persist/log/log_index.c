/* SPDX-License-Identifier: BSD-3-Clause */
/* Sorted as a whole once everything is known: what counts is known no earlier. */
#include "persist/log/log_index.h"

#include "base/must.h"

#include <stdlib.h>

void log_index_init(struct log_index *index) {
    *index = (struct log_index){.places = NULL};
}

void log_index_fini(struct log_index *index) {
    free(index->places);
    log_index_init(index);
}

static void add(struct log_index *index, const struct log_place *place) {
    if (index->count == index->room) {
        index->room = index->room > 0 ? index->room * 2 : 256;
        index->places = must_realloc(index->places, index->room * sizeof *index->places);
    }
    index->places[index->count++] = *place;
}

void log_index_add(struct log_index *index, uint32_t file, uint64_t until,
                   const struct log_block *block) {
    for (uint32_t i = 0; i < block->runs; i++) {
        struct log_run run = log_block_run(block, i);
        if (run.records > 0 && (until == 0 || run.number <= until)) {
            struct log_place place = {.number = run.number,
                                      .offset = block->offset,
                                      .bytes = block->bytes,
                                      .file = file,
                                      .run = i};
            add(index, &place);
        }
    }
}

static int by_number(const void *a, const void *b) {
    const struct log_place *one = a, *other = b;
    if (one->number != other->number) {
        return one->number > other->number ? 1 : -1;
    }
    return (one->file > other->file) - (one->file < other->file);
}

void log_index_sort(struct log_index *index, uint64_t last) {
    size_t kept = 0;
    for (size_t i = 0; i < index->count; i++) {
        if (index->places[i].number <= last) {
            index->places[kept++] = index->places[i];
        }
    }
    index->count = kept;
    if (kept > 0) {
        qsort(index->places, kept, sizeof *index->places, by_number);
    }
}

struct bytes log_index_records(const struct log_block *block, uint32_t run, struct bytes payload) {
    uint64_t at = 0;
    for (uint32_t i = 0; i < run; i++) {
        at += log_block_run(block, i).bytes;
    }
    return bytes_make(payload.ptr + at, (size_t)log_block_run(block, run).bytes);
}

size_t log_order_next(struct log_order *order, const uint64_t *orders, size_t count,
                      bool *ret_again) {
    size_t best = 0;
    for (size_t i = 1; i < count; i++) {
        best = orders[i] < orders[best] ? i : best;
    }
    if (count == 0 || orders[best] == LOG_ORDER_NONE) {
        return count;
    }
    if (!order->has_begun || order->now != orders[best]) {
        *order = (struct log_order){.now = orders[best], .first = best, .has_begun = true};
    }
    *ret_again = best != order->first;
    return best;
}
