/* SPDX-License-Identifier: BSD-3-Clause */
/* marks: see the header. Open addressing: a hash is looked for from its own cell on. */
#include "persist/snapshot/marks.h"

#include "base/check.h"
#include "base/must.h"

#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 64

/* The cell where it is, or would be. */
static uint32_t find(const struct marks *marks, uint64_t hash, uint32_t where) {
    uint32_t mask = marks->capacity - 1;
    uint32_t at = (uint32_t)(hash + where) & mask;
    while (marks->wheres[at] != MARK_NONE &&
           (marks->hashes[at] != hash || marks->wheres[at] != where)) {
        at = (at + 1) & mask;
    }
    return at;
}

static void reserve(struct marks *marks, uint32_t capacity) {
    marks->capacity = capacity;
    marks->hashes = must_malloc(capacity * sizeof *marks->hashes);
    marks->wheres = must_malloc(capacity * sizeof *marks->wheres);
    memset(marks->wheres, 0xFF, capacity * sizeof *marks->wheres);
}

static void make_room(struct marks *marks) {
    struct marks old = *marks;
    reserve(marks, old.capacity ? 2 * old.capacity : CAPACITY_MIN);
    check(marks->capacity > old.capacity);
    for (uint32_t i = 0; i < old.capacity; i++) {
        if (old.wheres[i] != MARK_NONE) {
            uint32_t at = find(marks, old.hashes[i], old.wheres[i]);
            marks->hashes[at] = old.hashes[i];
            marks->wheres[at] = old.wheres[i];
        }
    }
    marks_fini(&old);
}

bool marks_add(struct marks *marks, uint64_t hash, uint32_t where) {
    check(where != MARK_NONE);
    if (marks_has(marks, hash, where)) {
        return false;
    }
    if (marks->count >= marks->capacity / 4 * 3) {
        make_room(marks);
    }
    uint32_t at = find(marks, hash, where);
    marks->hashes[at] = hash;
    marks->wheres[at] = where;
    marks->count++;
    return true;
}

bool marks_has(const struct marks *marks, uint64_t hash, uint32_t where) {
    return marks->count > 0 && marks->wheres[find(marks, hash, where)] != MARK_NONE;
}

void marks_fini(struct marks *marks) {
    free(marks->hashes);
    free(marks->wheres);
    *marks = (struct marks){0};
}
