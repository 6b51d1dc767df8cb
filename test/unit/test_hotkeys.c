/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/observe/hotkeys.h"

#include "server/call/call.h"
#include "server/call/keyset.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct hotkeys *made(void) {
    static struct hotkeys hot;
    hotkeys_init(&hot, 1, 0);
    return &hot;
}

/* A command about the key of this number runs. True: it was looked at. */
static bool run(struct hotkeys *hot, unsigned n) {
    char name[32];
    int len = snprintf(name, sizeof name, "key:%u", n);
    struct rng rng;
    rng_seed(&rng, n);
    struct key key = {.name = bytes_make(name, (size_t)len), .hash = rng_next(&rng)};
    struct call what = {.key = &key};
    bool due = hotkeys_due(hot);
    if (due) {
        hotkeys_look(hot, 0, &what);
    }
    return due;
}

static double commands(const struct hotkeys *hot, unsigned n) {
    struct rng rng;
    rng_seed(&rng, n);
    uint64_t hash = rng_next(&rng);
    for (uint32_t i = 0; i < hot->top.used; i++) {
        if (hot->top.items[i].hash == hash) {
            return (double)topk_least(&hot->top.items[i]) / HOTKEYS_PARTS;
        }
    }
    return 0;
}

Test(hotkeys, a_quiet_server_looks_at_every_command) {
    struct hotkeys *hot = made();
    for (int i = 0; i < 1000; i++) {
        cr_assert(run(hot, (unsigned)i % 10));
    }
    cr_assert_float_eq(commands(hot, 3), 100, 1e-9);
    hotkeys_fini(hot);
}

Test(hotkeys, a_busy_one_looks_at_some_thousands_a_second_and_counts_all) {
    enum { SECONDS = 20, COMMANDS = 1000000 };
    struct hotkeys *hot = made();
    struct rng rng;
    rng_seed(&rng, 5);
    unsigned looks = 0;
    for (int second = 1; second <= SECONDS; second++) {
        looks = 0;
        for (int i = 0; i < COMMANDS; i++) {
            /* One in ten is about one key, one in fifty about another. */
            unsigned dice = (unsigned)rng_below(&rng, 50);
            unsigned other = 2 + (unsigned)rng_below(&rng, 1000000);
            looks += run(hot, dice < 5 ? 0 : dice == 5 ? 1 : other);
        }
        hotkeys_tick(hot, second * 1000);
    }
    cr_assert_leq(looks, 3 * 4096, "%u looks in the last second", looks);
    cr_assert_geq(looks, 2000);
    double seconds = hot->seconds;
    cr_assert_float_eq(commands(hot, 0) / seconds, COMMANDS / 10, COMMANDS / 10 * 0.15);
    cr_assert_float_eq(commands(hot, 1) / seconds, COMMANDS / 50, COMMANDS / 50 * 0.3);
    hotkeys_fini(hot);
}

Test(hotkeys, what_is_over_fades_and_a_quiet_server_looks_at_all_again) {
    struct hotkeys *hot = made();
    for (int i = 0; i < 500000; i++) {
        run(hot, 1);
    }
    cr_assert_gt(hot->gap, 32);
    double before = commands(hot, 1);
    cr_assert_float_eq(before, 500000, 500000 * 0.1);
    hotkeys_tick(hot, 11000);
    cr_assert_float_eq(commands(hot, 1) / before, 0.49, 0.02, "half of it is gone in 11 seconds");
    cr_assert_eq(hot->gap, 1);
    cr_assert_leq(hot->left, 2);
    hotkeys_tick(hot, 3600 * 1000);
    cr_assert_lt(commands(hot, 1), 0.1);
    cr_assert_float_eq(hot->seconds, 15, 1e-3);
    hotkeys_fini(hot);
}

Test(hotkeys, no_rhythm_of_commands_keeps_step_with_it) {
    struct hotkeys *hot = made();
    for (int i = 0; i < 1600000; i++) {
        run(hot, (unsigned)i % 16);
    }
    for (unsigned n = 0; n < 16; n++) {
        cr_assert_float_eq(commands(hot, n), 100000, 25000);
    }
    hotkeys_fini(hot);
}

Test(hotkeys, of_many_keys_each_gets_its_share) {
    enum { KEYS = 8, CALLS = 4000 };
    static char memory[sizeof(struct keyset) + KEYS * sizeof(struct keyset_key)];
    struct hotkeys *hot = made();
    struct keyset *keys = (struct keyset *)memory;
    static char names[KEYS] = "abcdefgh";
    for (unsigned i = 0; i < KEYS; i++) {
        struct key key = {.name = bytes_make(&names[i], 1), .hash = i};
        keyset_add(keys, &(struct keyset_key){.key = key, .db = 3}, i);
    }
    struct call what = {.key = &NO_KEY, .keys = keys};
    for (int i = 0; i < CALLS; i++) {
        cr_assert(hotkeys_due(hot));
        hotkeys_look(hot, 0, &what);
    }
    cr_assert_eq(hot->top.used, KEYS);
    uint64_t all = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        cr_assert_eq(hot->top.items[i].tag, 3);
        cr_assert_float_eq((double)hot->top.items[i].count / HOTKEYS_PARTS, CALLS, CALLS / 4);
        all += hot->top.items[i].count;
    }
    cr_assert_eq(all, (uint64_t)CALLS * KEYS * HOTKEYS_PARTS);
    keys->is_script = true; /* what it calls is counted then */
    for (int i = 0; i < 100; i++) {
        cr_assert(hotkeys_due(hot));
        hotkeys_look(hot, 0, &what);
        hotkeys_look(hot, 0, NULL);
        hot->left = 1;
    }
    cr_assert_eq(hot->top.used, KEYS);
    hotkeys_fini(hot);
}

static struct hotkey at(uint64_t hash, uint32_t db, double qps) {
    return (struct hotkey){.hash = hash, .db = db, .qps = qps};
}

Test(hotkeys, those_of_all_workers_are_one_list) {
    struct hotkey one[] = {at(1, 0, 5), at(2, 0, 100), at(3, 0, 0.4)};
    struct hotkey two[] = {at(1, 0, 7), at(1, 9, 50)};
    struct hotkeys_part a = {one, 3}, b = {two, 2}, none = {NULL, 0};
    struct hotkeys_part *parts[] = {&a, &none, &b};
    uint32_t count;
    struct hotkey *list = hotkeys_merge(parts, 3, 10, &count);
    cr_assert_eq(count, 3, "what is in use less than now and then is not hot");
    cr_assert(list[0].hash == 2 && list[1].db == 9 && list[2].hash == 1);
    cr_assert_float_eq(list[2].qps, 12, 1e-9);
    free(list);
    list = hotkeys_merge(parts, 3, 1, &count);
    cr_assert(count == 1 && list[0].hash == 2);
    free(list);
}
