/* SPDX-License-Identifier: BSD-3-Clause */
/* merge: see the header, which has the proof. Numbers are dense, so what waits lies in a ring by
 * its distance from the next one. A run of which no record says anything leaves as it is. */
#include "cluster/stream/merge.h"

#include "base/check.h"
#include "base/must.h"
#include "base/num.h"

#include <stdlib.h>
#include <string.h>

/* A run that is here. */
struct part {
    struct merge_block *block;
    uint32_t run;
    size_t at; /* of its text in the block's */
};

/* A number that has not left. */
struct merge_waiting {
    struct part first; /* most have one */
    struct part *more;
    uint32_t count; /* of its runs that are here */
    uint32_t parts; /* how many there will be; 0: not known yet */
    bool is_void;
};

void merge_init(struct merge *merge, uint64_t next, merge_emit_fn *emit, void *arg) {
    *merge = (struct merge){.next = next, .db = -1, .emit = emit, .arg = arg};
}

static struct merge_waiting *waiting_at(const struct merge *merge, uint64_t distance) {
    return &merge->waiting[(merge->head + distance) & (merge->cap - 1)];
}

static struct part *part_of(struct merge_waiting *waiting, uint32_t i) {
    return i == 0 ? &waiting->first : &waiting->more[i - 1];
}

static void let_go(struct merge_block *block) {
    check(block->left > 0);
    if (--block->left == 0) {
        block->release(block);
    }
}

static void forget(struct merge *merge, struct merge_waiting *waiting) {
    for (uint32_t i = 0; i < waiting->count; i++) {
        let_go(part_of(waiting, i)->block);
    }
    merge->runs_waiting -= waiting->count;
    free(waiting->more);
    *waiting = (struct merge_waiting){0};
}

void merge_fini(struct merge *merge) {
    for (uint32_t i = 0; i < merge->cap; i++) {
        forget(merge, &merge->waiting[i]);
    }
    free(merge->waiting);
}

static struct merge_waiting *waiting_of(struct merge *merge, uint64_t number) {
    check(number >= merge->next); /* each is answered once */
    uint64_t distance = number - merge->next;
    if (distance >= merge->cap) {
        uint64_t cap = merge->cap > 0 ? merge->cap : 64;
        while (distance >= cap) {
            cap *= 2;
        }
        check(cap <= UINT32_MAX / 2);
        struct merge_waiting *all = must_calloc(cap, sizeof *all);
        for (uint32_t i = 0; i < merge->cap; i++) {
            all[i] = *waiting_at(merge, i);
        }
        free(merge->waiting);
        merge->waiting = all;
        merge->head = 0;
        merge->cap = (uint32_t)cap;
    }
    return waiting_at(merge, distance);
}

/* ---- Records ---- */

struct record {
    struct bytes text; /* behind the words that say where it runs */
    uint32_t argc;
    uint32_t db, order;
    uint32_t place; /* among those of all parts, as they were found */
};

static uint64_t digits(const char **at) {
    uint64_t number = 0;
    while (**at >= '0' && **at <= '9') {
        number = number * 10 + (uint64_t)(*(*at)++ - '0');
    }
    return number;
}

/* "<sign>N\r\n" */
static uint64_t count_line(const char **at, char sign) {
    check(**at == sign);
    (*at)++;
    uint64_t number = digits(at);
    *at += 2;
    return number;
}

/* The record at the start of the text, which is one that a shard made: whole and right. Returns
 * what it takes. */
static size_t read_record(struct bytes text, struct record *ret) {
    const char *at = text.ptr;
    *ret = (struct record){.argc = (uint32_t)count_line(&at, '*')};
    const char *words = at;
    uint32_t argc = ret->argc;
    for (uint32_t i = 0; i < argc; i++) {
        size_t len = count_line(&at, '$');
        if (i == 0 && len > 0 && *at == '@') {
            const char *mark = at + 1;
            ret->db = (uint32_t)digits(&mark);
            if (mark < at + len) {
                mark++;
                ret->order = (uint32_t)digits(&mark);
            }
            ret->argc--;
            words = at + len + 2;
        }
        at += len + 2;
    }
    ret->text = bytes_make(words, (size_t)(at - words));
    return (size_t)(at - text.ptr);
}

/* ---- What leaves ---- */

#define SELECT_BYTES (sizeof "*2\r\n$6\r\nSELECT\r\n$\r\n\r\n" + 2 * NUM_I64_BYTES)

static void emit(struct merge *merge, struct bytes bytes) {
    merge->emit(merge->arg, bytes);
}

static void go_to_db(struct merge *merge, uint32_t db) {
    if (merge->db == db) {
        return;
    }
    char number[NUM_I64_BYTES], text[SELECT_BYTES];
    size_t len = num_format_u64(number, db);
    size_t bytes = 0;
    static const char select[] = "*2\r\n$6\r\nSELECT\r\n$";
    memcpy(text, select, sizeof select - 1);
    bytes = sizeof select - 1;
    bytes += num_format_u64(text + bytes, len);
    memcpy(text + bytes, "\r\n", 2);
    memcpy(text + bytes + 2, number, len);
    memcpy(text + bytes + 2 + len, "\r\n", 2);
    emit(merge, bytes_make(text, bytes + len + 4));
    merge->db = db;
}

static void emit_record(struct merge *merge, const struct record *record) {
    go_to_db(merge, record->db);
    char head[NUM_I64_BYTES + 3];
    head[0] = '*';
    size_t bytes = 1 + num_format_u64(head + 1, record->argc);
    memcpy(head + bytes, "\r\n", 2);
    emit(merge, bytes_make(head, bytes + 2));
    emit(merge, record->text);
}

/* Records that may or may not say where they run. */
static void emit_records(struct merge *merge, struct bytes text, bool marked) {
    if (text.len == 0) {
        return;
    }
    if (!marked) {
        go_to_db(merge, 0);
        emit(merge, text);
        return;
    }
    while (text.len > 0) {
        struct record record;
        size_t bytes = read_record(text, &record);
        emit_record(merge, &record);
        text = bytes_make(text.ptr + bytes, text.len - bytes);
    }
}

static const char multi[] = "*1\r\n$5\r\nMULTI\r\n", exec[] = "*1\r\n$4\r\nEXEC\r\n";

static void emit_multi(struct merge *merge) {
    emit(merge, bytes_make(multi, sizeof multi - 1));
}

static void emit_exec(struct merge *merge) {
    emit(merge, bytes_make(exec, sizeof exec - 1));
}

/* A SELECT is inside of it, as in Valkey's stream. */
static void emit_unit(struct merge *merge, struct bytes text, bool marked) {
    emit_multi(merge);
    emit_records(merge, text, marked);
    emit_exec(merge);
}

/* A shard's own: what are units in it is said. Those of a block leave in their order. */
static void emit_run(struct merge *merge, const struct part *part) {
    struct merge_block *block = part->block;
    const struct merge_run *run = &block->runs[part->run];
    const char *text = block->text.ptr;
    size_t at = part->at, end = part->at + run->bytes;
    for (; block->unit < block->units_count; block->unit++) {
        const struct merge_unit *unit = &block->units[block->unit];
        if (unit->at >= end) {
            break; /* another run's */
        }
        check(unit->at >= at && unit->at + unit->bytes <= end);
        emit_records(merge, bytes_make(text + at, unit->at - at), run->marked);
        emit_unit(merge, bytes_make(text + unit->at, unit->bytes), run->marked);
        at = unit->at + unit->bytes;
    }
    emit_records(merge, bytes_make(text + at, end - at), run->marked);
    merge->commands += run->records;
}

static int by_order(const void *a, const void *b) {
    const struct record *one = a, *other = b;
    if (one->order != other->order) {
        return one->order < other->order ? -1 : 1;
    }
    return one->place < other->place ? -1 : 1;
}

/* Of a transaction: all parts, in the order of its commands. */
static void emit_together(struct merge *merge, struct merge_waiting *waiting) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < waiting->count; i++) {
        const struct part *part = part_of(waiting, i);
        count += part->block->runs[part->run].records;
    }
    if (count == 0) {
        return;
    }
    struct record *records = must_malloc(count * sizeof *records);
    uint32_t found = 0;
    for (uint32_t i = 0; i < waiting->count; i++) {
        const struct part *part = part_of(waiting, i);
        const struct merge_run *run = &part->block->runs[part->run];
        struct bytes text = bytes_make(part->block->text.ptr + part->at, run->bytes);
        while (text.len > 0) {
            check(found < count);
            size_t bytes = read_record(text, &records[found]);
            records[found].place = found;
            found++;
            text = bytes_make(text.ptr + bytes, text.len - bytes);
        }
    }
    check(found == count);
    qsort(records, count, sizeof *records, by_order);
    if (count > 1) {
        emit_multi(merge);
    }
    for (uint32_t i = 0; i < count; i++) {
        emit_record(merge, &records[i]);
#ifdef SHOAL_UNSAFE_MERGE_CUT /* the same: half of it is seen by itself */
        if (i + 1 == count / 2) {
            emit_exec(merge);
            emit_multi(merge);
        }
#endif
    }
    if (count > 1) {
        emit_exec(merge);
    }
    merge->commands += count;
    free(records);
}

static bool is_whole(const struct merge_waiting *waiting) {
    return waiting->is_void || (waiting->parts > 0 && waiting->count == waiting->parts);
}

static void leave(struct merge *merge) {
    while (merge->cap > 0 && is_whole(waiting_at(merge, 0))) {
        struct merge_waiting *waiting = waiting_at(merge, 0);
        if (!waiting->is_void) {
            const struct part *part = &waiting->first;
            if (part->block->runs[part->run].together) {
                emit_together(merge, waiting);
            } else {
                emit_run(merge, part);
            }
        }
        forget(merge, waiting);
        merge->head = (merge->head + 1) & (merge->cap - 1);
        merge->next++;
    }
}

/* ---- What comes ---- */

static void add_part(struct merge *merge, const struct merge_run *run, struct part part) {
    struct merge_waiting *waiting = waiting_of(merge, run->number);
    check(run->parts > 0 && !waiting->is_void);
    check(waiting->parts == 0 || (waiting->parts == run->parts && waiting->count < run->parts));
    waiting->parts = run->parts;
    if (waiting->count == 1) {
        waiting->more = must_malloc((run->parts - 1) * sizeof *waiting->more);
    }
    *part_of(waiting, waiting->count++) = part;
    merge->runs_waiting++;
#ifdef SHOAL_UNSAFE_MERGE_WAIT /* for the test that the simulator's servers notice */
    if (!run->together) {
        emit_run(merge, part_of(waiting, 0));
        waiting->is_void = true;
    }
#endif
}

void merge_add(struct merge *merge, struct merge_block *block) {
    block->left = block->runs_count;
    block->unit = 0;
    check(block->left > 0);
    size_t at = 0;
    uint32_t count = block->runs_count;
    for (uint32_t i = 0; i < count; i++) {
        const struct merge_run *run = &block->runs[i];
        add_part(merge, run, (struct part){.block = block, .run = i, .at = at});
        at += run->bytes;
    }
    check(at == block->text.len);
    leave(merge);
}

void merge_void(struct merge *merge, uint64_t number) {
    struct merge_waiting *waiting = waiting_of(merge, number);
    check(waiting->count == 0 && !waiting->is_void);
    waiting->is_void = true;
    leave(merge);
}

void merge_forget_db(struct merge *merge) {
    merge->db = -1;
}
