/* SPDX-License-Identifier: BSD-3-Clause */
/* The wheel against an array of deadlines: whatever is set, moved or dropped and however the clock
 * jumps, a key fires in the first run after its deadline, never before, and the wheel always asks
 * to be run early enough. */
#include "base/random.h"
#include "shard/keys/wheel.h"
#include "shard/memory/heap.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define KEYS_MAX 20000
#define NONE     INT64_C(-1)
#define START    INT64_C(1700000000123)

struct model {
    struct shard_heap *heap;
    struct wheel *wheel;
    struct wheel_owner owner;
    struct rng rng;
    int64_t now;
    unsigned key_count;
    int64_t deadlines[KEYS_MAX];
    bool referenced[KEYS_MAX];
    bool swept[KEYS_MAX];
    bool parity;
    uint64_t fired;
};

static struct wheel_ref ref_of(unsigned key) {
    return (struct wheel_ref){(uint16_t)(key % 16384), key};
}

static int64_t resolve(void *arg, struct wheel_ref ref, int64_t now_ms, bool sweeping) {
    struct model *model = arg;
    unsigned key = ref.hash_bits;
    cr_assert_lt(key, model->key_count);
    cr_assert_eq(ref.slot, key % 16384);
    int64_t deadline = model->deadlines[key];
    if (deadline == NONE) {
        return WHEEL_DROP;
    }
    if (deadline < now_ms) {
        model->deadlines[key] = NONE;
        model->referenced[key] = false;
        model->fired++;
        return WHEEL_DROP;
    }
    if (sweeping) {
        if (model->swept[key] == model->parity) {
            return WHEEL_DROP;
        }
        model->swept[key] = model->parity;
    }
    return deadline;
}

static void prefetch(void *arg, struct wheel_ref ref, int stage) {
    (void)arg;
    (void)ref;
    cr_assert(stage == 0 || stage == 1);
}

static struct model *model_new(unsigned key_count, uint64_t seed) {
    struct model *model = calloc(1, sizeof(*model));
    model->heap = shard_heap_new();
    model->wheel = wheel_new(model->heap, START);
    model->owner = (struct wheel_owner){model, resolve, prefetch};
    model->now = START;
    model->key_count = key_count;
    rng_seed(&model->rng, seed);
    for (unsigned i = 0; i < key_count; i++) {
        model->deadlines[i] = NONE;
    }
    return model;
}

static void model_free(struct model *model) {
    wheel_free(model->wheel);
    cr_assert_eq(heap_used(model->heap), 0);
    shard_heap_free(model->heap);
    free(model);
}

static void set_deadline(struct model *model, unsigned key, int64_t deadline) {
    int64_t old = model->deadlines[key];
    model->deadlines[key] = deadline;
    if (deadline == NONE) {
        model->referenced[key] = false;
        return;
    }
    if (model->referenced[key] && deadline >= old) {
        return;
    }
    model->referenced[key] = true;
    model->swept[key] = model->parity;
    wheel_add(model->wheel, ref_of(key), deadline);
}

static int64_t random_span(struct rng *rng) {
    switch (rng_below(rng, 8)) {
    case 0:
        return (int64_t)rng_below(rng, 10);
    case 1:
    case 2:
        return (int64_t)rng_below(rng, 300);
    case 3:
    case 4:
        return (int64_t)rng_below(rng, 20000);
    case 5:
        return (int64_t)rng_below(rng, 1000000);
    case 6:
        return (int64_t)rng_below(rng, INT64_C(4000000000));
    default:
        return (int64_t)rng_below(rng, INT64_C(1) << (40 + rng_below(rng, 22)));
    }
}

/* Runs until the wheel has nothing more to do now; what is due must be gone then. */
static void run(struct model *model, uint64_t budget) {
    int64_t next;
    unsigned runs = 0;
    while ((next = wheel_run(model->wheel, &model->owner, model->now, budget)) <= model->now) {
        cr_assert_lt(++runs, 100000);
    }
    int64_t earliest = INT64_MAX;
    for (unsigned i = 0; i < model->key_count; i++) {
        int64_t deadline = model->deadlines[i];
        if (deadline != NONE) {
            cr_assert_geq(deadline, model->now);
            earliest = deadline < earliest ? deadline : earliest;
        }
    }
    cr_assert(earliest == INT64_MAX || next <= earliest + 1,
              "at %ld asks for %ld, a deadline is at %ld", (long)model->now, (long)next,
              (long)earliest);
}

static void start_sweep(struct model *model) {
    if (!wheel_sweeping(model->wheel)) {
        model->parity = !model->parity;
        wheel_sweep(model->wheel);
    }
}

static uint64_t alive(const struct model *model) {
    uint64_t n = 0;
    for (unsigned i = 0; i < model->key_count; i++) {
        n += model->deadlines[i] != NONE;
    }
    return n;
}

static void change_some(struct model *model, unsigned changes) {
    for (unsigned i = 0; i < changes; i++) {
        unsigned key = (unsigned)rng_below(&model->rng, model->key_count);
        if (rng_below(&model->rng, 4) == 0) {
            set_deadline(model, key, NONE);
        } else {
            set_deadline(model, key, model->now + random_span(&model->rng));
        }
    }
}

static void random_life(unsigned key_count, uint64_t seed, bool jumps_back) {
    struct model *model = model_new(key_count, seed);
    for (unsigned step = 0; step < 600; step++) {
        change_some(model, (unsigned)rng_below(&model->rng, 200));
        unsigned move = (unsigned)rng_below(&model->rng, 10);
        if (move < 5) {
            model->now += (int64_t)rng_below(&model->rng, 5);
        } else if (move < 8 || !jumps_back) {
            model->now += random_span(&model->rng) % INT64_C(10000000000);
        } else {
            model->now -= random_span(&model->rng) % INT64_C(10000000000);
            model->now = model->now < 0 ? 0 : model->now;
        }
        if (rng_below(&model->rng, 50) == 0) {
            start_sweep(model);
        }
        run(model, 1 + rng_below(&model->rng, 500));
        if (step % 50 == 0) {
            wheel_verify(model->wheel);
        }
    }
    cr_assert_gt(model->fired, 0);
    model_free(model);
}

Test(wheel, fires_on_time_as_the_clock_runs_and_jumps_ahead) {
    for (uint64_t seed = 1; seed <= 6; seed++) {
        random_life(1000, seed, false);
    }
}

Test(wheel, fires_on_time_when_the_clock_jumps_back) {
    for (uint64_t seed = 1; seed <= 6; seed++) {
        random_life(1000, seed, true);
    }
}

/* Follows the wheel's own wishes for when to run, as an idle server does. */
Test(wheel, asks_to_be_run_in_time_and_seldom) {
    struct model *model = model_new(1, 3);
    set_deadline(model, 0, START + 100 * 1000);
    unsigned runs = 0;
    int64_t next = wheel_next_run(model->wheel);
    while (next != INT64_MAX) {
        cr_assert_gt(next, model->now);
        model->now = next;
        next = wheel_run(model->wheel, &model->owner, model->now, 100);
        runs++;
    }
    cr_assert_eq(model->fired, 1);
    cr_assert_eq(model->now, START + 100 * 1000 + 1);
    cr_assert_leq(runs, 5);
    model_free(model);
}

Test(wheel, empties_large_buckets_ahead_of_time_in_small_slices) {
    struct model *model = model_new(KEYS_MAX, 4);
    for (unsigned i = 0; i < KEYS_MAX; i++) {
        set_deadline(model, i, START + 60000 + (int64_t)rng_below(&model->rng, 600));
    }
    /* One slice each millisecond is all it gets: 20000 deadlines within 600 ms must still be met.
     */
    uint64_t late = 0;
    for (; model->now < START + 62000; model->now++) {
        wheel_run(model->wheel, &model->owner, model->now, 160);
        for (unsigned i = 0; i < KEYS_MAX; i++) {
            late += model->deadlines[i] != NONE && model->deadlines[i] < model->now - 1;
        }
    }
    cr_assert_eq(model->fired, KEYS_MAX);
    cr_assert_eq(late, 0);
    model_free(model);
}

Test(wheel, later_deadline_costs_no_second_reference) {
    struct model *model = model_new(10, 5);
    for (int i = 0; i < 1000; i++) {
        set_deadline(model, 3, START + 1000 + i * 10);
    }
    cr_assert_eq(wheel_count(model->wheel), 1);
    model_free(model);
}

Test(wheel, sweep_drops_references_of_keys_that_are_gone_and_second_ones) {
    struct model *model = model_new(KEYS_MAX, 6);
    for (unsigned i = 0; i < KEYS_MAX; i++) {
        set_deadline(model, i, START + INT64_C(100000000) + i);
        set_deadline(model, i, START + INT64_C(50000000) + i); /* a second one */
        if (i % 4) {
            set_deadline(model, i, NONE);
        }
    }
    cr_assert_eq(wheel_count(model->wheel), 2 * KEYS_MAX);
    for (int round = 0; round < 2; round++) {
        start_sweep(model);
        while (wheel_sweeping(model->wheel)) {
            change_some(model, 3);
            model->now++;
            run(model, 96);
        }
        wheel_verify(model->wheel);
        cr_assert_leq(wheel_count(model->wheel), alive(model) + 3 * KEYS_MAX / 96 * 3);
    }
    model->now = INT64_MAX / 2;
    run(model, 1000);
    cr_assert_eq(alive(model), 0);
    model_free(model);
}

Test(wheel, drain_frees_all_references) {
    struct model *model = model_new(KEYS_MAX, 7);
    change_some(model, 30000);
    while (!wheel_drain(model->wheel, 10)) {
    }
    cr_assert_eq(wheel_count(model->wheel), 0);
    model_free(model);
}
