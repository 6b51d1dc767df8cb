/* SPDX-License-Identifier: BSD-3-Clause */
/* The merge of several shards' blocks, in every order in which mail may bring them: what leaves is
 * always the same, in the order of the numbers, as soon as it can.
 *
 * A case says what each number is: a run of one shard, a transaction over some, or nothing (void),
 * and in which blocks of each shard they lie. Blocks of one shard arrive in their order, those of
 * different shards in any: all orders of small cases are walked, larger ones are drawn. The
 * reference is told the numbers one by one and writes down what should come of them.
 */
#include "base/random.h"
#include "base/text.h"
#include "cluster/stream/merge.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS      4
#define NUMBERS_MAX 400
#define RUNS_MAX    1200
#define FIRST       41

struct made_run {
    struct merge_run run;
    struct text text;
    struct merge_unit units[8];
    uint32_t units_count;
};

struct made_block {
    struct merge_block block;
    struct merge_run runs[RUNS_MAX];
    struct merge_unit units[RUNS_MAX];
    struct text text;
    bool gone;
};

struct mail { /* of one shard */
    struct made_block *blocks[NUMBERS_MAX];
    uint32_t count;
};

struct world {
    struct mail mail[SHARDS];
    uint32_t numbers;
    uint64_t voids[NUMBERS_MAX];
    uint32_t voids_count;
    struct text expected;
    size_t ends[NUMBERS_MAX]; /* of each number's in that */
    uint32_t commands;
};

static void release(struct merge_block *block) {
    struct made_block *made = (struct made_block *)block;
    cr_assert_not(made->gone);
    made->gone = true;
}

static void put_words(struct text *out, const char *mark, const char *name, unsigned id) {
    char value[400];
    unsigned n = (unsigned)snprintf(value, sizeof value, "%u", id);
    if (id % 97 == 0) { /* some are longer */
        memset(value, 'v', 333);
        n = 333;
    }
    text_appendf(out, "*%d\r\n", mark[0] ? 4 : 3);
    if (mark[0]) {
        text_appendf(out, "$%zu\r\n%s\r\n", strlen(mark), mark);
    }
    text_appendf(out, "$%zu\r\n%s\r\n$1\r\nk\r\n$%u\r\n", strlen(name), name, n);
    text_append(out, value, n);
    text_append_text(out, "\r\n");
}

/* ---- The reference ---- */

static void expect_db(struct world *world, int *db, int wanted) {
    if (*db != wanted) {
        char number[16];
        int n = snprintf(number, sizeof number, "%d", wanted);
        text_appendf(&world->expected, "*2\r\n$6\r\nSELECT\r\n$%d\r\n%s\r\n", n, number);
        *db = wanted;
    }
}

static void expect_unit(struct world *world, int *db, const int *dbs, const unsigned *ids,
                        unsigned count, bool together) {
    if (count == 0) {
        return;
    }
    bool multi = together && count > 1;
    if (multi) {
        text_append_text(&world->expected, "*1\r\n$5\r\nMULTI\r\n");
    }
    for (unsigned i = 0; i < count; i++) {
        expect_db(world, db, dbs[i]);
        put_words(&world->expected, "", "SET", ids[i]);
    }
    if (multi) {
        text_append_text(&world->expected, "*1\r\n$4\r\nEXEC\r\n");
    }
    world->commands += count;
}

/* ---- Worlds ---- */

static struct made_block *open_block(struct mail *mail, struct rng *rng, unsigned one_in) {
    if (mail->count == 0 || rng_next(rng) % one_in == 0) {
        struct made_block *made = calloc(1, sizeof *made);
        text_init(&made->text);
        made->block.release = release;
        mail->blocks[mail->count++] = made;
    }
    return mail->blocks[mail->count - 1];
}

static void put_run(struct made_block *made, struct merge_run run, struct text *text,
                    const struct merge_unit *units, uint32_t units_count) {
    run.bytes = text->len;
    for (uint32_t i = 0; i < units_count; i++) {
        made->units[made->block.units_count] = units[i];
        made->units[made->block.units_count++].at += made->text.len;
    }
    made->runs[made->block.runs_count++] = run;
    text_append_bytes(&made->text, text_bytes(text));
}

static void mark_of(char *mark, int db, unsigned order) {
    if (order > 0) {
        sprintf(mark, "@%d.%u", db, order);
    } else if (db > 0) {
        sprintf(mark, "@%d", db);
    } else {
        mark[0] = '\0';
    }
}

static void own_run(struct world *world, struct rng *rng, uint64_t number, int *db, unsigned *id) {
    unsigned shard = (unsigned)(rng_next(rng) % SHARDS);
    struct made_block *made = open_block(&world->mail[shard], rng, 2);
    struct text text;
    text_init(&text);
    struct merge_unit units[8];
    struct merge_run run = {.number = number, .parts = 1};
    uint32_t units_count = 0;
    unsigned groups = 1 + (unsigned)(rng_next(rng) % 3);
    bool other_dbs = rng_next(rng) % 3 == 0;
    for (unsigned g = 0; g < groups; g++) {
        int dbs[4];
        unsigned ids[4], count = 1 + (unsigned)(rng_next(rng) % 3);
        size_t at = text.len;
        for (unsigned i = 0; i < count; i++) {
            char mark[32];
            dbs[i] = other_dbs ? (int)(rng_next(rng) % 12) : 0;
            ids[i] = ++*id;
            mark_of(mark, dbs[i], 0);
            run.marked |= mark[0] != '\0';
            put_words(&text, mark, "SET", ids[i]);
        }
        run.records += count;
        if (count > 1) {
            units[units_count++] = (struct merge_unit){at, text.len - at};
        }
        expect_unit(world, db, dbs, ids, count, true);
    }
    put_run(made, run, &text, units, units_count);
    text_fini(&text);
}

static void transaction(struct world *world, struct rng *rng, uint64_t number, int *db,
                        unsigned *id) {
    unsigned parts = 2 + (unsigned)(rng_next(rng) % (SHARDS - 1));
    unsigned commands = (unsigned)(rng_next(rng) % 5); /* perhaps it has done nothing */
    struct text texts[SHARDS];
    struct merge_run runs[SHARDS];
    int dbs[64];
    unsigned ids[64], count = 0;
    for (unsigned p = 0; p < parts; p++) {
        text_init(&texts[p]);
        runs[p] = (struct merge_run){.number = number, .parts = parts, .together = true};
    }
    for (unsigned order = 0; order < commands; order++) {
        unsigned p = (unsigned)(rng_next(rng) % parts);
        int at = rng_next(rng) % 4 == 0 ? 3 : 0;
        for (unsigned i = 1 + (unsigned)(rng_next(rng) % 2); i > 0; i--) {
            char mark[32];
            mark_of(mark, at, order);
            ids[count] = ++*id;
            dbs[count++] = at;
            put_words(&texts[p], mark, "SET", *id);
            runs[p].records++;
            runs[p].marked |= mark[0] != '\0';
        }
    }
    expect_unit(world, db, dbs, ids, count, true);
    for (unsigned p = 0; p < parts; p++) {
        put_run(open_block(&world->mail[p], rng, 2), runs[p], &texts[p], NULL, 0);
        text_fini(&texts[p]);
    }
}

static void make(struct world *world, uint64_t seed, uint32_t numbers) {
    struct rng rng;
    rng_seed(&rng, seed);
    memset(world, 0, sizeof *world);
    text_init(&world->expected);
    world->numbers = numbers;
    int db = -1;
    unsigned id = 0;
    for (uint32_t i = 0; i < numbers; i++) {
        uint64_t number = FIRST + i, kind = rng_next(&rng) % 10;
        if (kind == 0) {
            world->voids[world->voids_count++] = number;
        } else if (kind < 5) {
            transaction(world, &rng, number, &db, &id);
        } else {
            own_run(world, &rng, number, &db, &id);
        }
        world->ends[i] = world->expected.len;
    }
    for (unsigned s = 0; s < SHARDS; s++) {
        for (uint32_t i = 0; i < world->mail[s].count; i++) {
            struct made_block *made = world->mail[s].blocks[i];
            made->block.runs = made->runs;
            made->block.units = made->units;
            made->block.text = text_bytes(&made->text);
        }
    }
}

static void unmake(struct world *world) {
    for (unsigned s = 0; s < SHARDS; s++) {
        for (uint32_t i = 0; i < world->mail[s].count; i++) {
            text_fini(&world->mail[s].blocks[i]->text);
            free(world->mail[s].blocks[i]);
        }
    }
    text_fini(&world->expected);
}

static void emit(void *arg, struct bytes bytes) {
    text_append_bytes(arg, bytes);
}

/* Which numbers are all here, and so must have left. */
static uint32_t whole_until(const struct world *world, const uint32_t *taken, uint32_t voids) {
    static uint32_t here[NUMBERS_MAX], needed[NUMBERS_MAX];
    memset(here, 0, sizeof here);
    memset(needed, 0, sizeof needed);
    for (unsigned s = 0; s < SHARDS; s++) {
        for (uint32_t i = 0; i < taken[s]; i++) {
            const struct merge_block *block = &world->mail[s].blocks[i]->block;
            for (uint32_t r = 0; r < block->runs_count; r++) {
                here[block->runs[r].number - FIRST]++;
                needed[block->runs[r].number - FIRST] = block->runs[r].parts;
            }
        }
    }
    for (uint32_t v = 0; v < voids; v++) {
        here[world->voids[v] - FIRST] = needed[world->voids[v] - FIRST] = 1;
    }
    uint32_t n = 0;
    while (n < world->numbers && needed[n] > 0 && here[n] == needed[n]) {
        n++;
    }
    return n;
}

/* One order: `order[i]` is whose mail comes next; SHARDS: the next void. */
static void run(struct world *world, const uint8_t *order, uint32_t steps) {
    struct merge merge;
    struct text out;
    text_init(&out);
    merge_init(&merge, FIRST, emit, &out);
    uint32_t taken[SHARDS] = {0}, voids = 0;
    for (unsigned s = 0; s < SHARDS; s++) {
        for (uint32_t i = 0; i < world->mail[s].count; i++) {
            world->mail[s].blocks[i]->gone = false;
        }
    }
    for (uint32_t i = 0; i < steps; i++) {
        if (order[i] == SHARDS) {
            merge_void(&merge, world->voids[voids++]);
        } else {
            merge_add(&merge, &world->mail[order[i]].blocks[taken[order[i]]++]->block);
        }
        uint32_t until = whole_until(world, taken, voids);
        cr_assert_eq(merge.next, FIRST + until);
        cr_assert_eq(out.len, until > 0 ? world->ends[until - 1] : 0);
    }
    cr_assert_eq(out.len, world->expected.len);
    cr_assert_eq(memcmp(out.ptr, world->expected.ptr, out.len), 0);
    cr_assert_eq(merge.commands, world->commands);
    cr_assert_eq(merge.runs_waiting, 0);
    for (unsigned s = 0; s < SHARDS; s++) {
        for (uint32_t i = 0; i < world->mail[s].count; i++) {
            cr_assert(world->mail[s].blocks[i]->gone);
        }
    }
    merge_fini(&merge);
    text_fini(&out);
}

static uint32_t all_orders(struct world *world, uint8_t *order, uint32_t step, uint32_t *left,
                           uint32_t steps) {
    if (step == steps) {
        run(world, order, steps);
        return 1;
    }
    uint32_t walked = 0;
    for (unsigned s = 0; s <= SHARDS; s++) {
        if (left[s] > 0) {
            left[s]--;
            order[step] = (uint8_t)s;
            walked += all_orders(world, order, step + 1, left, steps);
            left[s]++;
        }
    }
    return walked;
}

static uint32_t count_steps(const struct world *world, uint32_t *left) {
    uint32_t steps = left[SHARDS] = world->voids_count;
    for (unsigned s = 0; s < SHARDS; s++) {
        steps += left[s] = world->mail[s].count;
    }
    return steps;
}

Test(merge, every_order_of_small_cases_is_the_same_stream) {
    static struct world world;
    uint32_t walked = 0, cases = 0;
    for (uint64_t seed = 0; cases < 120; seed++) {
        uint32_t left[SHARDS + 1];
        uint8_t order[64];
        make(&world, seed, 2 + (uint32_t)(seed % 5));
        uint32_t steps = count_steps(&world, left);
        if (steps <= 8) {
            cases++;
            walked += all_orders(&world, order, 0, left, steps);
        }
        unmake(&world);
    }
    cr_assert(walked > 10000, "%u", walked);
}

Test(merge, long_cases_in_drawn_orders) {
    static struct world world;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct rng rng;
        rng_seed(&rng, seed + 1000);
        uint32_t left[SHARDS + 1];
        static uint8_t order[RUNS_MAX * 2];
        make(&world, seed + 5000, 60 + (uint32_t)(seed * 5));
        uint32_t steps = count_steps(&world, left);
        unsigned slow = (unsigned)(rng_next(&rng) % SHARDS); /* one that lags */
        for (uint32_t i = 0; i < steps;) {
            unsigned s = (unsigned)(rng_next(&rng) % (SHARDS + 1));
            bool lags = s == slow && rng_next(&rng) % 20 != 0 && i + left[slow] < steps;
            if (left[s] > 0 && !lags) {
                left[s]--;
                order[i++] = (uint8_t)s;
            }
        }
        run(&world, order, steps);
        unmake(&world);
    }
}

/* ---- What it is for: a merge that did not wait would be another stream ---- */

Test(merge, what_waits_is_let_go_of_at_the_end) {
    static struct world world;
    make(&world, 5001, 60);
    struct merge merge;
    struct text out;
    text_init(&out);
    merge_init(&merge, FIRST, emit, &out);
    for (unsigned s = 1; s < SHARDS; s++) { /* the first shard's never come */
        for (uint32_t i = 0; i < world.mail[s].count; i++) {
            merge_add(&merge, &world.mail[s].blocks[i]->block);
        }
    }
    cr_assert(merge.runs_waiting > 0);
    cr_assert(out.len < world.expected.len);
    cr_assert_eq(memcmp(out.ptr, world.expected.ptr, out.len), 0);
    merge_fini(&merge);
    for (unsigned s = 1; s < SHARDS; s++) {
        for (uint32_t i = 0; i < world.mail[s].count; i++) {
            cr_assert(world.mail[s].blocks[i]->gone);
        }
    }
    text_fini(&out);
    unmake(&world);
}
