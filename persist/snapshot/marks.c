/* SPDX-License-Identifier: BSD-3-Clause */
/* marks: see the header. Open addressing: a hash is looked for from its own cell on. */
#include "persist/snapshot/marks.h"

#include "base/check.h"
#include "base/must.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 64

static_assert(sizeof(struct mark) == 12, "memory grows with what changes during a walk");

static struct mark make(uint64_t hash, uint32_t where) {
    return (struct mark){where, {(uint32_t)hash, (uint32_t)(hash >> 32)}};
}

static bool is_same(const struct mark *a, const struct mark *b) {
    return a->hash[0] == b->hash[0] && a->hash[1] == b->hash[1] && a->where == b->where;
}

/* The cell where it is, or would be. */
static struct mark *find(const struct marks *marks, const struct mark *mark) {
    uint32_t mask = marks->capacity - 1;
    uint32_t at = (mark->hash[0] + mark->where) & mask;
    while (marks->cells[at].where != MARK_NONE && !is_same(&marks->cells[at], mark)) {
        at = (at + 1) & mask;
    }
    return &marks->cells[at];
}

static void make_room(struct marks *marks) {
    struct marks old = *marks;
    marks->capacity = old.capacity ? 2 * old.capacity : CAPACITY_MIN;
    check(marks->capacity > old.capacity);
    marks->cells = must_malloc(marks->capacity * sizeof *marks->cells);
    memset(marks->cells, 0xFF, marks->capacity * sizeof *marks->cells);
    for (uint32_t i = 0; i < old.capacity; i++) {
        if (old.cells[i].where != MARK_NONE) {
            *find(marks, &old.cells[i]) = old.cells[i];
        }
    }
    free(old.cells);
}

bool marks_add(struct marks *marks, uint64_t hash, uint32_t where) {
    check(where != MARK_NONE);
    struct mark mark = make(hash, where);
    struct mark *cell = marks->count > 0 ? find(marks, &mark) : NULL;
    if (cell && cell->where != MARK_NONE) {
        return false;
    }
    if (!cell || marks->count >= marks->capacity / 4 * 3) {
        make_room(marks);
        cell = find(marks, &mark);
    }
    *cell = mark;
    marks->count++;
    return true;
}

bool marks_has(const struct marks *marks, uint64_t hash, uint32_t where) {
    struct mark mark = make(hash, where);
    return marks->count > 0 && find(marks, &mark)->where != MARK_NONE;
}

void marks_fini(struct marks *marks) {
    free(marks->cells);
    *marks = (struct marks){0};
}
