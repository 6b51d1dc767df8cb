/* SPDX-License-Identifier: BSD-3-Clause */
#include "shard/locks.h"

#include "growth.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_MAX 16

/* One who asks. What it wants is spelt: "aB" shares key a and has key b alone, "*" shares the
 * shard, "!" has the shard alone. */
struct asker {
    struct lock_request request;
    struct lock memory[KEYS_MAX + 1];
};

static void want(struct asker *asker, uint64_t number, const char *what) {
    struct lock_key keys[KEYS_MAX];
    uint32_t count = 0;
    enum lock_scope scope = LOCK_KEYS;
    for (; *what; what++) {
        if (*what == '*' || *what == '!') {
            scope = *what == '*' ? LOCK_ALL_SHARED : LOCK_ALL_EXCLUSIVE;
            continue;
        }
        keys[count++] = (struct lock_key){.id = (uint64_t)tolower((unsigned char)*what),
                                          .exclusive = isupper((unsigned char)*what)};
    }
    lock_request_init(&asker->request, scope, keys, count, asker->memory);
    asker->request.number = number;
    asker->request.many = true;
}

static enum lock_answer ask(struct locks *locks, struct asker *asker, uint64_t number,
                            const char *what) {
    want(asker, number, what);
    return locks_submit(locks, &asker->request);
}

static void release(struct locks *locks, struct asker *asker) {
    locks_release(locks, &asker->request);
}

static void assert_settles(struct locks *locks, const struct asker *asker,
                           enum lock_answer answer) {
    const struct lock_request *settled = locks_next_settled(locks);
    cr_assert_eq(settled, &asker->request);
    cr_assert_eq(settled->answer, answer);
}

static void assert_nothing_settles(struct locks *locks) {
    cr_assert_null(locks_next_settled(locks));
}

/* ---- Who waits for whom ---- */

static bool meet(const char *first, const char *second) {
    struct locks locks;
    struct asker a, b;
    locks_init(&locks);
    cr_assert_eq(ask(&locks, &a, 1, first), LOCK_GRANTED);
    enum lock_answer answer = ask(&locks, &b, 2, second);
    cr_assert_neq(answer, LOCK_REFUSED);
    release(&locks, &a);
    if (answer == LOCK_WAITS) {
        assert_settles(&locks, &b, LOCK_GRANTED);
    }
    assert_nothing_settles(&locks);
    release(&locks, &b);
    locks_fini(&locks);
    return answer == LOCK_WAITS;
}

Test(locks, conflict_by_one_rule_for_keys_and_shards) {
    static const struct {
        const char *first, *second;
        bool conflict;
    } rows[] = {
        {"a", "a", false}, {"a", "A", true},    {"A", "A", true},   {"a", "B", false},
        {"A", "B", false}, {"ab", "bc", false}, {"aB", "bC", true}, {"aB", "Cd", false},
        {"a", "*", false}, {"A", "*", true},    {"aB", "*", true},  {"a", "!", true},
        {"A", "!", true},  {"*", "*", false},   {"*", "!", true},   {"!", "!", true},
        {"", "A", false},  {"", "*", false},    {"", "!", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_assert_eq(meet(rows[i].first, rows[i].second), rows[i].conflict, "%s then %s",
                     rows[i].first, rows[i].second);
        cr_assert_eq(meet(rows[i].second, rows[i].first), rows[i].conflict, "%s then %s",
                     rows[i].second, rows[i].first);
    }
}

Test(locks, a_key_wanted_twice_is_wanted_once_in_the_stronger_way) {
    static const char *const spellings[] = {"aAb", "Aab", "abA", "Aba", "aabAab", "AAb"};
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        struct locks locks;
        struct asker a, b, c;
        locks_init(&locks);
        cr_assert_eq(ask(&locks, &a, 1, spellings[i]), LOCK_GRANTED);
        cr_assert_eq(a.request.count, 2);
        cr_assert_eq(locks.targets, 2);
        cr_assert_eq(ask(&locks, &b, 2, "b"), LOCK_GRANTED);
        cr_assert_eq(ask(&locks, &c, 3, "a"), LOCK_WAITS);
        release(&locks, &a);
        assert_settles(&locks, &c, LOCK_GRANTED);
        release(&locks, &b);
        release(&locks, &c);
        locks_fini(&locks);
    }
}

Test(locks, a_key_only_shared_twice_stays_shared) {
    struct locks locks;
    struct asker a, b;
    locks_init(&locks);
    cr_assert_eq(ask(&locks, &a, 1, "aa"), LOCK_GRANTED);
    cr_assert_eq(a.request.count, 1);
    cr_assert_eq(ask(&locks, &b, 2, "*"), LOCK_GRANTED);
    release(&locks, &a);
    release(&locks, &b);
    locks_fini(&locks);
}

Test(locks, keys_of_a_whole_shard_are_not_looked_at) {
    struct locks locks;
    struct asker a;
    locks_init(&locks);
    cr_assert_eq(ask(&locks, &a, 1, "!aBc"), LOCK_GRANTED);
    cr_assert_eq(a.request.count, 0);
    cr_assert_eq(locks.targets, 0);
    release(&locks, &a);
    locks_fini(&locks);
}

/* ---- Lines ---- */

Test(locks, a_line_is_served_by_number) {
    struct locks locks;
    struct asker a, b, c, d;
    locks_init(&locks);
    cr_assert_eq(ask(&locks, &a, 1, "A"), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &b, 2, "A"), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &c, 3, "A"), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &d, 4, "A"), LOCK_WAITS);
    release(&locks, &a);
    assert_settles(&locks, &b, LOCK_GRANTED);
    assert_nothing_settles(&locks);
    release(&locks, &b);
    assert_settles(&locks, &c, LOCK_GRANTED);
    assert_nothing_settles(&locks);
    release(&locks, &c);
    assert_settles(&locks, &d, LOCK_GRANTED);
    release(&locks, &d);
    locks_fini(&locks);
}

Test(locks, who_shares_does_not_pass_one_who_waits_to_have_it_alone) {
    struct locks locks;
    struct asker a, b, c;
    locks_init(&locks);
    cr_assert_eq(ask(&locks, &a, 1, "a"), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &b, 2, "A"), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &c, 3, "a"), LOCK_WAITS);
    release(&locks, &a);
    assert_settles(&locks, &b, LOCK_GRANTED);
    assert_nothing_settles(&locks);
    release(&locks, &b);
    assert_settles(&locks, &c, LOCK_GRANTED);
    release(&locks, &c);
    locks_fini(&locks);
}

Test(locks, a_release_grants_all_who_share_up_to_the_next_who_does_not) {
    struct locks locks;
    struct asker a, b, c, d, e;
    locks_init(&locks);
    cr_assert_eq(ask(&locks, &a, 1, "A"), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &b, 2, "a"), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &c, 3, "a"), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &d, 4, "A"), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &e, 5, "a"), LOCK_WAITS);
    release(&locks, &a);
    assert_settles(&locks, &b, LOCK_GRANTED);
    assert_settles(&locks, &c, LOCK_GRANTED);
    assert_nothing_settles(&locks);
    release(&locks, &c);
    assert_nothing_settles(&locks);
    release(&locks, &b);
    assert_settles(&locks, &d, LOCK_GRANTED);
    assert_nothing_settles(&locks);
    release(&locks, &d);
    assert_settles(&locks, &e, LOCK_GRANTED);
    release(&locks, &e);
    locks_fini(&locks);
}

Test(locks, a_grant_needs_every_key) {
    struct locks locks;
    struct asker a, b, c;
    locks_init(&locks);
    cr_assert_eq(ask(&locks, &a, 1, "A"), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &b, 2, "B"), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &c, 3, "ABC"), LOCK_WAITS);
    cr_assert_eq(c.request.waits, 2);
    release(&locks, &b);
    assert_nothing_settles(&locks);
    release(&locks, &a);
    assert_settles(&locks, &c, LOCK_GRANTED);
    release(&locks, &c);
    locks_fini(&locks);
}

Test(locks, a_key_that_is_held_for_who_waits_for_another_is_held) {
    struct locks locks;
    struct asker a, b, c, d;
    locks_init(&locks);
    cr_assert_eq(ask(&locks, &a, 1, "A"), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &b, 2, "AB"), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &c, 3, "B"), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &d, 4, "C"), LOCK_GRANTED);
    release(&locks, &a);
    assert_settles(&locks, &b, LOCK_GRANTED);
    assert_nothing_settles(&locks);
    release(&locks, &b);
    assert_settles(&locks, &c, LOCK_GRANTED);
    release(&locks, &c);
    release(&locks, &d);
    locks_fini(&locks);
}

Test(locks, a_lower_number_that_conflicts_with_nobody_comes_in_time) {
    struct locks locks;
    struct asker a, b, c, d;
    locks_init(&locks);
    cr_assert_eq(ask(&locks, &a, 1, "A"), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &c, 5, "a"), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &b, 3, "a"), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &d, 4, "b"), LOCK_GRANTED);
    release(&locks, &a);
    assert_settles(&locks, &c, LOCK_GRANTED);
    assert_settles(&locks, &b, LOCK_GRANTED);
    release(&locks, &b);
    release(&locks, &c);
    release(&locks, &d);
    locks_fini(&locks);
}

Test(locks, the_whole_shard_waits_for_every_key_and_every_key_for_it) {
    struct locks locks;
    struct asker a, b, c, d;
    locks_init(&locks);
    cr_assert_eq(ask(&locks, &a, 1, "A"), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &b, 2, "b"), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &c, 3, "!"), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &d, 4, "c"), LOCK_WAITS);
    release(&locks, &a);
    assert_nothing_settles(&locks);
    release(&locks, &b);
    assert_settles(&locks, &c, LOCK_GRANTED);
    assert_nothing_settles(&locks);
    release(&locks, &c);
    assert_settles(&locks, &d, LOCK_GRANTED);
    release(&locks, &d);
    locks_fini(&locks);
}

/* ---- Refusals ---- */

Test(locks, who_comes_after_a_higher_number_that_conflicts_is_refused) {
    static const struct {
        const char *higher, *lower;
        enum lock_answer answer;
    } rows[] = {
        {"A", "A", LOCK_REFUSED}, {"A", "a", LOCK_REFUSED}, {"a", "A", LOCK_REFUSED},
        {"a", "a", LOCK_GRANTED}, {"A", "B", LOCK_GRANTED}, {"aB", "Cb", LOCK_REFUSED},
        {"!", "a", LOCK_REFUSED}, {"a", "!", LOCK_REFUSED}, {"*", "a", LOCK_GRANTED},
        {"*", "A", LOCK_REFUSED}, {"A", "*", LOCK_REFUSED}, {"*", "*", LOCK_GRANTED},
        {"!", "", LOCK_REFUSED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct locks locks;
        struct asker a, b;
        locks_init(&locks);
        cr_assert_eq(ask(&locks, &a, 8, rows[i].higher), LOCK_GRANTED);
        cr_assert_eq(ask(&locks, &b, 7, rows[i].lower), rows[i].answer, "%s after %s",
                     rows[i].lower, rows[i].higher);
        if (rows[i].answer == LOCK_GRANTED) {
            release(&locks, &b);
        }
        release(&locks, &a);
        assert_nothing_settles(&locks);
        locks_fini(&locks);
    }
}

Test(locks, who_waits_with_a_higher_number_refuses_too) {
    struct locks locks;
    struct asker a, b, c;
    locks_init(&locks);
    cr_assert_eq(ask(&locks, &a, 1, "A"), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &b, 9, "AB"), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &c, 8, "B"), LOCK_REFUSED);
    release(&locks, &a);
    assert_settles(&locks, &b, LOCK_GRANTED);
    release(&locks, &b);
    locks_fini(&locks);
}

Test(locks, the_refused_hold_nothing_and_may_ask_again) {
    struct locks locks;
    struct asker a, b, c;
    locks_init(&locks);
    cr_assert_eq(ask(&locks, &a, 5, "C"), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &b, 4, "ABC"), LOCK_REFUSED);
    cr_assert_eq(locks.requests, 1);
    cr_assert_eq(locks.targets, 1);
    cr_assert_eq(ask(&locks, &c, 6, "AB"), LOCK_GRANTED);
    b.request.number = 7;
    cr_assert_eq(locks_submit(&locks, &b.request), LOCK_WAITS);
    release(&locks, &a);
    release(&locks, &c);
    assert_settles(&locks, &b, LOCK_GRANTED);
    release(&locks, &b);
    locks_fini(&locks);
}

/* A shard refused every number below the highest that it had released, on whatever keys. */
Test(locks, who_has_left_refuses_nobody) {
    struct locks locks;
    struct asker a, b, c;
    locks_init(&locks);
    cr_assert_eq(ask(&locks, &a, 5, "A"), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &c, 7, "C"), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &b, 4, "A"), LOCK_REFUSED);
    release(&locks, &a);
    cr_assert_eq(ask(&locks, &b, 4, "A"), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &a, 3, "B"), LOCK_GRANTED);
    release(&locks, &a);
    release(&locks, &b);
    release(&locks, &c);
    locks_fini(&locks);
}

Test(locks, the_release_of_one_on_a_single_shard_refuses_nobody) {
    struct locks locks;
    struct asker a, b, c;
    locks_init(&locks);
    cr_assert_eq(ask(&locks, &a, 5, "A"), LOCK_GRANTED);
    want(&b, 0, "B");
    b.request.many = false;
    cr_assert_eq(locks_submit(&locks, &b.request), LOCK_GRANTED);
    release(&locks, &b);
    cr_assert_eq(ask(&locks, &c, 4, "B"), LOCK_GRANTED);
    release(&locks, &c);
    release(&locks, &a);
    locks_fini(&locks);
}

/* ---- Fences ---- */

Test(locks, while_a_fence_stands_who_comes_waits_for_its_end) {
    struct locks locks;
    struct asker fence, a, b, c;
    locks_init(&locks);
    want(&fence, 0, "");
    cr_assert_eq(locks_fence(&locks, &fence.request), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &b, 3, "B"), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &c, 2, "A"), LOCK_WAITS);
    cr_assert_eq(locks.requests, 0);
    assert_nothing_settles(&locks);

    want(&a, 4, "A");
    a.request.fence = &fence.request;
    cr_assert_eq(locks_submit(&locks, &a.request), LOCK_GRANTED);
    assert_settles(&locks, &b, LOCK_GRANTED);
    assert_settles(&locks, &c, LOCK_REFUSED);
    assert_nothing_settles(&locks);
    cr_assert_eq(ask(&locks, &c, 5, "A"), LOCK_WAITS);
    release(&locks, &a);
    assert_settles(&locks, &c, LOCK_GRANTED);
    release(&locks, &b);
    release(&locks, &c);
    locks_fini(&locks);
}

Test(locks, who_holds_a_fence_waits_for_those_in_line_but_is_not_refused) {
    struct locks locks;
    struct asker fence, a, b, c;
    locks_init(&locks);
    cr_assert_eq(ask(&locks, &a, 7, "A"), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &b, 8, "A"), LOCK_WAITS);
    want(&fence, 0, "");
    cr_assert_eq(locks_fence(&locks, &fence.request), LOCK_GRANTED);
    /* Those in line go on, the fence or not. */
    release(&locks, &a);
    assert_settles(&locks, &b, LOCK_GRANTED);
    want(&c, 9, "AB");
    c.request.fence = &fence.request;
    cr_assert_eq(locks_submit(&locks, &c.request), LOCK_WAITS);
    cr_assert_null(c.request.fence);
    release(&locks, &b);
    assert_settles(&locks, &c, LOCK_GRANTED);
    release(&locks, &c);
    locks_fini(&locks);
}

Test(locks, fences_stand_one_after_the_other_and_who_came_between_goes_between) {
    struct locks locks;
    struct asker first, second, a, b, c, d;
    locks_init(&locks);
    want(&first, 0, "");
    want(&second, 0, "");
    cr_assert_eq(locks_fence(&locks, &first.request), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &a, 1, "A"), LOCK_WAITS);
    cr_assert_eq(locks_fence(&locks, &second.request), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &b, 2, "B"), LOCK_WAITS);

    want(&c, 3, "C");
    c.request.fence = &first.request;
    cr_assert_eq(locks_submit(&locks, &c.request), LOCK_GRANTED);
    assert_settles(&locks, &a, LOCK_GRANTED);
    assert_settles(&locks, &second, LOCK_GRANTED);
    assert_nothing_settles(&locks);
    cr_assert_eq(locks.fence, &second.request);

    want(&d, 4, "D");
    d.request.fence = &second.request;
    cr_assert_eq(locks_submit(&locks, &d.request), LOCK_GRANTED);
    assert_settles(&locks, &b, LOCK_GRANTED);
    assert_nothing_settles(&locks);
    release(&locks, &a);
    release(&locks, &b);
    release(&locks, &c);
    release(&locks, &d);
    locks_fini(&locks);
}

Test(locks, who_was_deferred_and_then_must_wait_settles_once) {
    struct locks locks;
    struct asker fence, a, b;
    locks_init(&locks);
    want(&fence, 0, "");
    cr_assert_eq(locks_fence(&locks, &fence.request), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &b, 6, "A"), LOCK_WAITS);
    want(&a, 5, "A");
    a.request.fence = &fence.request;
    cr_assert_eq(locks_submit(&locks, &a.request), LOCK_GRANTED);
    assert_nothing_settles(&locks);
    release(&locks, &a);
    assert_settles(&locks, &b, LOCK_GRANTED);
    assert_nothing_settles(&locks);
    release(&locks, &b);
    locks_fini(&locks);
}

/* An operation on one shard that came while a fence stood was refused at its end, because who had
 * held the fence had drawn a higher number. It asked again, behind the next fence; as long as
 * fences followed one another it never ran. */
Test(locks, one_on_a_single_shard_is_not_refused_however_many_fences_follow) {
    struct locks locks;
    struct asker first, second, third, a, b, single;
    locks_init(&locks);
    want(&first, 0, "");
    want(&second, 0, "");
    want(&third, 0, "");
    cr_assert_eq(locks_fence(&locks, &first.request), LOCK_GRANTED);
    want(&single, 1, "A");
    single.request.many = false;
    cr_assert_eq(locks_submit(&locks, &single.request), LOCK_WAITS);
    cr_assert_eq(locks_fence(&locks, &second.request), LOCK_WAITS);
    want(&a, 2, "A");
    a.request.fence = &first.request;
    cr_assert_eq(locks_submit(&locks, &a.request), LOCK_GRANTED);
    assert_settles(&locks, &second, LOCK_GRANTED);
    assert_nothing_settles(&locks);

    cr_assert_eq(locks_fence(&locks, &third.request), LOCK_WAITS);
    want(&b, 3, "A");
    b.request.fence = &second.request;
    cr_assert_eq(locks_submit(&locks, &b.request), LOCK_WAITS);
    assert_settles(&locks, &third, LOCK_GRANTED);
    release(&locks, &a);
    assert_settles(&locks, &single, LOCK_GRANTED);
    assert_nothing_settles(&locks);
    release(&locks, &single);
    assert_settles(&locks, &b, LOCK_GRANTED);
    release(&locks, &b);
    struct asker empty;
    want(&empty, 4, "");
    empty.request.fence = &third.request;
    cr_assert_eq(locks_submit(&locks, &empty.request), LOCK_GRANTED);
    release(&locks, &empty);
    locks_fini(&locks);
}

Test(locks, one_on_a_single_shard_stands_at_the_end_whatever_its_number) {
    struct locks locks;
    struct asker a, b, c, d;
    locks_init(&locks);
    cr_assert_eq(ask(&locks, &a, 5, "A"), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &b, 9, "B"), LOCK_GRANTED);
    want(&c, 1, "A");
    c.request.many = false;
    cr_assert_eq(locks_submit(&locks, &c.request), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &d, 8, "A"), LOCK_REFUSED); /* it would stand in front of c */
    d.request.number = 10;
    cr_assert_eq(locks_submit(&locks, &d.request), LOCK_WAITS);
    release(&locks, &b);
    release(&locks, &a);
    assert_settles(&locks, &c, LOCK_GRANTED);
    assert_nothing_settles(&locks);
    release(&locks, &c);
    assert_settles(&locks, &d, LOCK_GRANTED);
    release(&locks, &d);
    cr_assert_eq(locks_submit(&locks, &c.request), LOCK_GRANTED);
    release(&locks, &c);
    locks_fini(&locks);
}

/* ---- Operations without locks ---- */

/* One letter per operation that must wait, of: a, A, b and B. */
static const char *blocked(const struct locks *locks) {
    static const char *const names[] = {"",  "a",  "A",  "aA",  "b",  "ab",  "Ab",  "aAb",
                                        "B", "aB", "AB", "aAB", "bB", "abB", "AbB", "aAbB"};
    unsigned set = 0;
    set |= locks_block(locks, 'a', false) ? 1 : 0;
    set |= locks_block(locks, 'a', true) ? 2 : 0;
    set |= locks_block(locks, 'b', false) ? 4 : 0;
    set |= locks_block(locks, 'b', true) ? 8 : 0;
    return names[set];
}

Test(locks, block_operations_on_keys_that_somebody_stands_in_line_for) {
    struct locks locks;
    struct asker a, b;
    locks_init(&locks);
    cr_assert_str_eq(blocked(&locks), "");
    cr_assert_eq(ask(&locks, &a, 1, "a"), LOCK_GRANTED);
    cr_assert_str_eq(blocked(&locks), "A");
    cr_assert_eq(ask(&locks, &b, 2, "A"), LOCK_WAITS);
    cr_assert_str_eq(blocked(&locks), "aA");
    release(&locks, &a);
    assert_settles(&locks, &b, LOCK_GRANTED);
    cr_assert_str_eq(blocked(&locks), "aA");
    release(&locks, &b);
    cr_assert_str_eq(blocked(&locks), "");

    cr_assert_eq(ask(&locks, &a, 3, "*"), LOCK_GRANTED);
    cr_assert_str_eq(blocked(&locks), "AB");
    release(&locks, &a);
    cr_assert_eq(ask(&locks, &a, 4, "!"), LOCK_GRANTED);
    cr_assert_str_eq(blocked(&locks), "aAbB");
    release(&locks, &a);
    cr_assert_eq(ask(&locks, &a, 5, "aB"), LOCK_GRANTED);
    cr_assert_str_eq(blocked(&locks), "AbB");
    release(&locks, &a);
    locks_fini(&locks);
}

Test(locks, a_fence_and_those_behind_it_block_nobody) {
    struct locks locks;
    struct asker fence, a;
    locks_init(&locks);
    want(&fence, 0, "");
    cr_assert_eq(locks_fence(&locks, &fence.request), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &a, 1, "A"), LOCK_WAITS);
    cr_assert_str_eq(blocked(&locks), "");
    struct asker empty;
    want(&empty, 2, "");
    empty.request.fence = &fence.request;
    cr_assert_eq(locks_submit(&locks, &empty.request), LOCK_GRANTED);
    assert_settles(&locks, &a, LOCK_GRANTED);
    cr_assert_str_eq(blocked(&locks), "aA");
    release(&locks, &a);
    release(&locks, &empty);
    locks_fini(&locks);
}

/* ---- Memory ---- */

Test(locks, many_keys_come_and_go) {
    enum { COUNT = 5000 };
    struct locks locks;
    locks_init(&locks);
    struct lock_key *keys = malloc(COUNT * sizeof *keys);
    struct lock *memory = malloc((COUNT + 1) * sizeof *memory);
    for (uint64_t round = 1; round <= 3; round++) {
        for (uint64_t i = 0; i < COUNT; i++) {
            keys[i] = (struct lock_key){.id = (COUNT - i) * 0x9E3779B97F4A7C15u, .exclusive = true};
        }
        struct lock_request request;
        struct asker one;
        lock_request_init(&request, LOCK_KEYS, keys, COUNT, memory);
        request.number = round * 2;
        request.many = true;
        cr_assert_eq(locks_submit(&locks, &request), LOCK_GRANTED);
        cr_assert_eq(locks.targets, COUNT);
        cr_assert_geq(locks.buckets_count, (size_t)COUNT / 2);
        for (uint64_t i = 1; i <= COUNT; i++) {
            cr_assert(locks_block(&locks, i * 0x9E3779B97F4A7C15u, false));
        }
        cr_assert_not(locks_block(&locks, 'a', true));
        cr_assert_eq(ask(&locks, &one, round * 2 + 1, "A"), LOCK_GRANTED);
        release(&locks, &one);
        locks_release(&locks, &request);
        cr_assert_eq(locks.requests, 0);
        cr_assert_eq(locks.targets, 0);
        cr_assert_leq(locks.spare_count, (size_t)COUNT / 2);
    }
    free(keys);
    free(memory);
    locks_fini(&locks); /* Checks that nothing is left; the leak checker is the second judge. */
}

/* ---- Long lines ---- */

/* One lock of a crowd; on one key, or on the shard as a whole. */
struct one {
    struct lock_request request;
    struct lock memory[2];
};

static enum lock_answer ask_one(struct locks *locks, struct one *one, uint64_t number,
                                enum lock_scope scope, uint64_t key, bool exclusive) {
    struct lock_key lock_key = {key, exclusive};
    lock_request_init(&one->request, scope, &lock_key, 1, one->memory);
    one->request.number = number;
    one->request.many = true;
    return locks_submit(locks, &one->request);
}

static struct one *crowd_new(unsigned n) {
    struct one *crowd = malloc(n * sizeof *crowd);
    cr_assert_not_null(crowd);
    return crowd;
}

static void all_leave(struct locks *locks, struct one *crowd, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        locks_release(locks, &crowd[i].request);
    }
}

/* Who comes last waits for all of the crowd, which leaves in the order in which it came. */
static void one_waits_for_all(unsigned n, enum lock_scope scope, bool exclusive) {
    struct locks locks;
    locks_init(&locks);
    struct one *crowd = crowd_new(n), last;
    for (unsigned i = 0; i < n; i++) {
        bool same_key = scope == LOCK_KEYS;
        cr_assert_eq(ask_one(&locks, &crowd[i], 1 + i, LOCK_KEYS, same_key ? 7 : i, exclusive),
                     LOCK_GRANTED);
    }
    cr_assert_eq(ask_one(&locks, &last, n + 1, scope, 7, true), LOCK_WAITS);
    all_leave(&locks, crowd, n);
    cr_assert_eq(locks_next_settled(&locks), &last.request);
    locks_release(&locks, &last.request);
    locks_fini(&locks);
    free(crowd);
}

static void crowd_leaves(unsigned n) {
    one_waits_for_all(n, LOCK_KEYS, false);
    one_waits_for_all(n, LOCK_ALL_EXCLUSIVE, true);
    one_waits_for_all(n, LOCK_ALL_SHARED, true);
}

/* Each that shared the key walked over all the others that did, on its way out. */
Test(locks, who_leaves_a_long_line_walks_over_nobody) {
    assert_grows_gently(crowd_leaves, 1000);
}

static void crowd_waits(unsigned n) {
    struct locks locks;
    locks_init(&locks);
    struct one *crowd = crowd_new(n);
    for (unsigned i = 0; i < n; i++) {
        enum lock_answer answer = ask_one(&locks, &crowd[i], 1 + i, LOCK_KEYS, 7, true);
        cr_assert_eq(answer, i == 0 ? LOCK_GRANTED : LOCK_WAITS);
    }
    for (unsigned i = 0; i < n; i++) {
        locks_release(&locks, &crowd[i].request);
        cr_assert_eq(locks_next_settled(&locks), i + 1 < n ? &crowd[i + 1].request : NULL);
    }
    locks_fini(&locks);
    free(crowd);
}

Test(locks, a_long_line_for_one_key_moves_up_in_equal_steps) {
    assert_grows_gently(crowd_waits, 1000);
}

/* The crowd has high numbers, on keys of its own or one that all share; as many others come after
 * it with low ones, on other keys. */
static void crowd_is_overtaken(unsigned n) {
    struct locks locks;
    locks_init(&locks);
    struct one *crowd = crowd_new(n), *others = crowd_new(n);
    for (unsigned i = 0; i < n; i++) {
        ask_one(&locks, &crowd[i], n + 1 + i, LOCK_KEYS, i % 2 ? 7 : 100 + i, i % 2 == 0);
    }
    for (unsigned i = 0; i < n; i++) {
        cr_assert_eq(ask_one(&locks, &others[i], 1 + i, LOCK_KEYS, i % 2 ? 7 : 101 + i, false),
                     LOCK_GRANTED);
    }
    all_leave(&locks, crowd, n);
    all_leave(&locks, others, n);
    locks_fini(&locks);
    free(crowd);
    free(others);
}

/* Whose lock on the first shard had been long in coming, found a crowd of later ones on the second,
 * and walked past it to its place in the line of the shard. */
Test(locks, an_old_number_walks_past_nobody) {
    assert_grows_gently(crowd_is_overtaken, 1000);
}

Test(locks, a_request_owns_what_it_has_alone) {
    struct asker asker;
    want(&asker, 1, "BxaDC");
    for (const char *key = "abcdexyz"; *key; key++) {
        bool owns = locks_own(&asker.request, (uint64_t)*key);
        cr_assert_eq(owns, strchr("bcd", *key) != NULL, "%c", *key);
    }
    want(&asker, 1, "!");
    cr_assert(locks_own(&asker.request, 'a'));
    want(&asker, 1, "*");
    cr_assert_not(locks_own(&asker.request, 'a'));
}

/* ---- Closed keys ---- */

static uint64_t id_of(char letter) {
    return (uint64_t)letter;
}

static void close_key(struct locks *locks, struct lock_closing *closing, char letter) {
    locks_close(locks, closing, id_of(letter));
}

static void open_key(struct locks *locks, struct lock_closing *closing) {
    locks_open(locks, closing);
    locks_let_in(locks, closing);
}

static enum lock_answer ask_own(struct locks *locks, struct asker *asker, uint64_t number,
                                const char *what, struct lock_closing *own) {
    want(asker, number, what);
    asker->request.own = own;
    return locks_submit(locks, &asker->request);
}

Test(locks, a_closed_key_blocks_all_and_others_do_not) {
    struct locks locks;
    struct lock_closing closing;
    lock_closing_init(&closing);
    locks_init(&locks);
    close_key(&locks, &closing, 'a');
    cr_assert_neq(locks.requests, 0);
    cr_assert(locks_block(&locks, id_of('a'), true));
    cr_assert(locks_block(&locks, id_of('a'), false));
    cr_assert(!locks_block(&locks, id_of('b'), true));
    open_key(&locks, &closing);
    open_key(&locks, &closing); /* it is open */
    cr_assert_eq(locks.requests, 0);
    locks_fini(&locks);
}

Test(locks, who_asks_for_a_closed_key_comes_after_the_one_for_whom_it_is_closed) {
    struct locks locks;
    struct lock_closing closing;
    lock_closing_init(&closing);
    struct asker own, later, alone;
    locks_init(&locks);
    close_key(&locks, &closing, 'a');
    want(&alone, 0, "A");
    alone.request.many = false;
    cr_assert_eq(locks_submit(&locks, &alone.request), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &later, 9, "aB"), LOCK_WAITS);
    cr_assert(!locks_block(&locks, id_of('b'), true), "who is shut out stands in a line");
    cr_assert_eq(ask_own(&locks, &own, 5, "A", &closing), LOCK_GRANTED);
    release(&locks, &own);
    assert_nothing_settles(&locks);
    open_key(&locks, &closing);
    assert_settles(&locks, &alone, LOCK_GRANTED);
    assert_nothing_settles(&locks);
    release(&locks, &alone);
    assert_settles(&locks, &later, LOCK_GRANTED);
    release(&locks, &later);
    locks_fini(&locks);
}

/* What it waits for waits for nobody: so nobody is refused, and one for whom another key is closed
 * is shut out as well. */
Test(locks, a_key_that_is_closed_to_changes_is_open_to_readers) {
    struct locks locks;
    struct lock_closing closing, other;
    lock_closing_init(&closing);
    lock_closing_init(&other);
    closing.to_changes = true;
    struct asker holder, reader, waits, writer, own;
    locks_init(&locks);
    cr_assert_eq(ask(&locks, &holder, 1, "a"), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &waits, 2, "A"), LOCK_WAITS);
    close_key(&locks, &closing, 'a');
    close_key(&locks, &other, 'b');
    cr_assert(locks_block(&locks, id_of('a'), true));
    cr_assert(!locks_block(&locks, id_of('a'), false));
    cr_assert_eq(ask(&locks, &reader, 3, "a"), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &writer, 4, "Ac"), LOCK_WAITS);
    cr_assert_eq(ask_own(&locks, &own, 5, "AB", &other), LOCK_WAITS);
    assert_nothing_settles(&locks);
    release(&locks, &holder);
    release(&locks, &reader);
    open_key(&locks, &closing);
    assert_settles(&locks, &waits, LOCK_GRANTED);
    assert_nothing_settles(&locks);
    release(&locks, &waits);
    assert_settles(&locks, &writer, LOCK_GRANTED);
    release(&locks, &writer);
    assert_settles(&locks, &own, LOCK_GRANTED);
    release(&locks, &own);
    open_key(&locks, &other);
    locks_fini(&locks);
}

/* A transaction that held a lock elsewhere was shut out by a key that was closed for one with a
 * higher number, which waited for that lock: found by the simulator. */
Test(locks, who_is_shut_out_is_refused_by_a_higher_number) {
    struct locks locks;
    struct lock_closing closing;
    lock_closing_init(&closing);
    struct asker own, before, after;
    locks_init(&locks);
    close_key(&locks, &closing, 'a');
    cr_assert_eq(ask(&locks, &before, 4, "A"), LOCK_WAITS);
    cr_assert_eq(ask_own(&locks, &own, 5, "A", &closing), LOCK_GRANTED);
    assert_settles(&locks, &before, LOCK_REFUSED);
    cr_assert_eq(ask(&locks, &after, 3, "A"), LOCK_REFUSED);
    cr_assert_eq(ask(&locks, &after, 6, "A"), LOCK_WAITS);
    release(&locks, &own); /* it was refused elsewhere, and comes again */
    cr_assert_eq(ask_own(&locks, &own, 7, "A", &closing), LOCK_GRANTED);
    assert_settles(&locks, &after, LOCK_REFUSED);
    release(&locks, &own);
    open_key(&locks, &closing);
    locks_fini(&locks);
}

/* One that is alone on the shard has the number of the last in line there. */
Test(locks, who_is_shut_out_is_refused_by_one_who_is_behind_a_higher_number) {
    struct locks locks;
    struct lock_closing closing;
    lock_closing_init(&closing);
    struct asker own, last, before;
    locks_init(&locks);
    close_key(&locks, &closing, 'a');
    cr_assert_eq(ask(&locks, &before, 4, "A"), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &last, 6, "B"), LOCK_GRANTED);
    want(&own, 0, "AB");
    own.request.many = false;
    own.request.own = &closing;
    cr_assert_eq(locks_submit(&locks, &own.request), LOCK_WAITS);
    assert_settles(&locks, &before, LOCK_REFUSED);
    release(&locks, &last);
    assert_settles(&locks, &own, LOCK_GRANTED);
    release(&locks, &own);
    open_key(&locks, &closing);
    locks_fini(&locks);
}

/* What a transaction moved to a key was for the first in line, who had to try, and went to one who
 * waited for its lock: found by the simulator. */
Test(locks, who_waits_for_a_key_as_it_is_closed_is_shut_out) {
    struct locks locks;
    struct lock_closing closing;
    lock_closing_init(&closing);
    struct asker holder, many, alone, other;
    locks_init(&locks);
    cr_assert_eq(ask(&locks, &holder, 1, "A"), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &many, 2, "AB"), LOCK_WAITS);
    want(&alone, 0, "aC");
    alone.request.many = false;
    cr_assert_eq(locks_submit(&locks, &alone.request), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &other, 3, "BC"), LOCK_WAITS);
    close_key(&locks, &closing, 'a');
    assert_settles(&locks, &other, LOCK_GRANTED);
    assert_settles(&locks, &many, LOCK_REFUSED);
    release(&locks, &holder);
    assert_nothing_settles(&locks);
    release(&locks, &other);
    open_key(&locks, &closing);
    assert_settles(&locks, &alone, LOCK_GRANTED);
    release(&locks, &alone);
    locks_fini(&locks);
}

/* What had lain behind another's lock for the first in line, who had to try, went to one who had
 * come later, as that lock was given back. */
Test(locks, who_has_been_granted_a_key_and_not_used_it_gives_way) {
    struct locks locks;
    struct lock_closing closing;
    lock_closing_init(&closing);
    struct asker holder, alone, many;
    locks_init(&locks);
    cr_assert_eq(ask(&locks, &holder, 1, "A"), LOCK_GRANTED);
    want(&alone, 0, "A");
    alone.request.many = false;
    cr_assert_eq(locks_submit(&locks, &alone.request), LOCK_WAITS);
    release(&locks, &holder);
    assert_settles(&locks, &alone, LOCK_GRANTED);
    cr_assert(!locks_give_way(&locks, &alone.request), "nothing is closed");
    close_key(&locks, &closing, 'a');
    cr_assert(locks_give_way(&locks, &alone.request));
    assert_nothing_settles(&locks);
    open_key(&locks, &closing);
    assert_settles(&locks, &alone, LOCK_GRANTED);
    cr_assert(!locks_give_way(&locks, &alone.request));
    release(&locks, &alone);
    cr_assert_eq(ask(&locks, &many, 2, "AB"), LOCK_GRANTED);
    close_key(&locks, &closing, 'b');
    cr_assert(locks_give_way(&locks, &many.request));
    assert_settles(&locks, &many, LOCK_REFUSED);
    cr_assert(!locks_block(&locks, id_of('a'), true));
    open_key(&locks, &closing);
    cr_assert_eq(ask(&locks, &many, 3, "!"), LOCK_GRANTED);
    close_key(&locks, &closing, 'b');
    cr_assert(!locks_give_way(&locks, &many.request), "it is about all keys");
    release(&locks, &many);
    open_key(&locks, &closing);
    locks_fini(&locks);
}

Test(locks, who_has_a_fence_is_not_shut_out) {
    struct locks locks;
    struct lock_closing closing;
    lock_closing_init(&closing);
    struct asker fenced, fence = {0};
    locks_init(&locks);
    close_key(&locks, &closing, 'a');
    list_node_init(&fence.request.node);
    cr_assert_eq(locks_fence(&locks, &fence.request), LOCK_GRANTED);
    want(&fenced, 3, "A");
    fenced.request.fence = &fence.request;
    cr_assert_eq(locks_submit(&locks, &fenced.request), LOCK_GRANTED);
    release(&locks, &fenced);
    open_key(&locks, &closing);
    locks_fini(&locks);
}

Test(locks, those_for_whom_keys_are_closed_do_not_wait_for_each_other) {
    struct locks locks;
    struct lock_closing a, b;
    lock_closing_init(&a);
    lock_closing_init(&b);
    struct asker to, fro;
    locks_init(&locks);
    close_key(&locks, &a, 'a');
    close_key(&locks, &b, 'b');
    cr_assert(locks_is_closed(&locks, id_of('b')));
    cr_assert_eq(ask_own(&locks, &to, 1, "AB", &a), LOCK_GRANTED);
    cr_assert_eq(ask_own(&locks, &fro, 2, "AB", &b), LOCK_WAITS);
    release(&locks, &to);
    assert_settles(&locks, &fro, LOCK_GRANTED);
    release(&locks, &fro);
    open_key(&locks, &a);
    open_key(&locks, &b);
    locks_fini(&locks);
}

/* It has keys that are closed on several shards: on one of them it may stand in line already. */
Test(locks, a_key_may_be_closed_for_one_who_is_in_line) {
    struct locks locks;
    struct lock_closing first, second;
    struct asker holder, own, later, earlier;
    locks_init(&locks);
    lock_closing_init(&first);
    lock_closing_init(&second);
    first.next = &second;
    cr_assert_eq(ask(&locks, &holder, 1, "AB"), LOCK_GRANTED);
    cr_assert_eq(ask_own(&locks, &own, 5, "AB", &first), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &later, 6, "B"), LOCK_WAITS);
    close_key(&locks, &second, 'b');
    assert_settles(&locks, &later, LOCK_REFUSED);
    cr_assert_eq(ask(&locks, &earlier, 3, "B"), LOCK_REFUSED, "its number is known");
    cr_assert_eq(ask(&locks, &later, 7, "B"), LOCK_WAITS);
    release(&locks, &holder);
    assert_settles(&locks, &own, LOCK_GRANTED);
    assert_nothing_settles(&locks);
    release(&locks, &own);
    open_key(&locks, &first);
    open_key(&locks, &second);
    assert_settles(&locks, &later, LOCK_GRANTED);
    release(&locks, &later);
    locks_fini(&locks);
}

/* Of a move on one shard, for which its source was closed: its target was closed for another move,
 * which waited for one that the first kept out, and that waited for both: nobody went on. */
Test(locks, one_in_line_for_whom_a_key_is_closed_is_not_shut_out_from_another) {
    struct locks locks;
    struct lock_closing a, b;
    struct asker holder, to, fro;
    locks_init(&locks);
    lock_closing_init(&a);
    lock_closing_init(&b);
    cr_assert_eq(ask(&locks, &holder, 1, "B"), LOCK_GRANTED);
    close_key(&locks, &a, 'a');
    want(&to, 0, "AB");
    to.request.many = false;
    to.request.own = &a;
    cr_assert_eq(locks_submit(&locks, &to.request), LOCK_WAITS);
    close_key(&locks, &b, 'b');
    release(&locks, &holder);
    assert_settles(&locks, &to, LOCK_GRANTED);
    cr_assert_eq(ask_own(&locks, &fro, 3, "B", &b), LOCK_WAITS);
    release(&locks, &to);
    assert_settles(&locks, &fro, LOCK_GRANTED);
    release(&locks, &fro);
    open_key(&locks, &a);
    open_key(&locks, &b);
    locks_fini(&locks);
}

/* ---- Seals ---- */

/* The one for whom the shard is sealed asks for all of it. */
static enum lock_answer ask_sealer(struct locks *locks, struct asker *asker, uint64_t number) {
    want(asker, number, "!");
    asker->request.is_sealer = true;
    return locks_submit(locks, &asker->request);
}

Test(locks, who_comes_to_a_sealed_shard_waits_behind_its_owner) {
    struct locks locks;
    struct asker owner, later, alone;
    locks_init(&locks);
    locks_seal(&locks, 5, NULL);
    cr_assert(locks_block(&locks, 'x', false));
    cr_assert_eq(ask(&locks, &later, 9, "ab"), LOCK_WAITS);
    want(&alone, 0, "c");
    alone.request.many = false;
    cr_assert_eq(locks_submit(&locks, &alone.request), LOCK_WAITS);
    cr_assert_eq(ask_sealer(&locks, &owner, 7), LOCK_GRANTED);
    assert_nothing_settles(&locks);
    release(&locks, &owner);
    assert_nothing_settles(&locks);
    locks_unseal(&locks);
    assert_settles(&locks, &later, LOCK_GRANTED);
    assert_settles(&locks, &alone, LOCK_GRANTED);
    release(&locks, &later);
    release(&locks, &alone);
    locks_fini(&locks);
}

Test(locks, who_waits_for_a_seal_is_refused_when_its_owner_asks_with_a_higher_number) {
    struct locks locks;
    struct asker owner, early, middle, late;
    locks_init(&locks);
    locks_seal(&locks, 5, NULL);
    cr_assert_eq(ask(&locks, &early, 4, "a"), LOCK_REFUSED); /* the owner's comes after 5 */
    cr_assert_eq(early.request.sealed_by, 5);
    cr_assert_eq(ask(&locks, &early, 6, "a"), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &late, 9, "a"), LOCK_WAITS);
    cr_assert_eq(ask_sealer(&locks, &owner, 7), LOCK_GRANTED);
    assert_settles(&locks, &early, LOCK_REFUSED);
    assert_nothing_settles(&locks);
    release(&locks, &owner); /* refused elsewhere, it asks again */
    cr_assert_eq(ask(&locks, &middle, 8, "a"), LOCK_WAITS);
    cr_assert_eq(ask_sealer(&locks, &owner, 10), LOCK_GRANTED);
    assert_settles(&locks, &middle, LOCK_REFUSED);
    assert_settles(&locks, &late, LOCK_REFUSED);
    release(&locks, &owner);
    locks_unseal(&locks);
    assert_nothing_settles(&locks);
    locks_fini(&locks);
}

Test(locks, those_kept_out_by_a_seal_are_let_in_by_their_numbers) {
    struct locks locks;
    struct asker first, second, third, alone;
    locks_init(&locks);
    locks_seal(&locks, 1, NULL);
    cr_assert_eq(ask(&locks, &second, 6, "A"), LOCK_WAITS);
    want(&alone, 0, "A");
    alone.request.many = false;
    cr_assert_eq(locks_submit(&locks, &alone.request), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &first, 3, "A"), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &third, 8, "A"), LOCK_WAITS);
    locks_unseal(&locks);
    struct asker *order[] = {&first, &second, &alone, &third};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        assert_settles(&locks, order[i], LOCK_GRANTED);
        assert_nothing_settles(&locks);
        release(&locks, order[i]);
    }
    locks_fini(&locks);
}

Test(locks, who_has_sealed_another_shard_is_told_of_a_seal_at_once) {
    struct locks locks;
    struct asker other;
    locks_init(&locks);
    locks_seal(&locks, 5, NULL);
    want(&other, 9, "!");
    other.request.seals_another = true;
    cr_assert_eq(locks_submit(&locks, &other.request), LOCK_REFUSED);
    cr_assert_eq(other.request.sealed_by, 5);
    locks_unseal(&locks);
    locks_fini(&locks);
}

/* It may be behind the owner of the seal, and that one behind those whom it keeps out. */
Test(locks, who_comes_to_a_seal_refuses_those_shut_out_with_lower_numbers) {
    struct locks locks;
    struct asker waits, shut, early;
    struct lock_closing closing;
    locks_init(&locks);
    lock_closing_init(&closing);
    locks_close(&locks, &closing, 'a');
    cr_assert_eq(ask(&locks, &early, 1, "a"), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &shut, 3, "a"), LOCK_WAITS);
    locks_seal(&locks, 4, NULL);
    want(&waits, 2, "A");
    waits.request.own = &closing;
    cr_assert_eq(locks_submit(&locks, &waits.request), LOCK_REFUSED);
    assert_settles(&locks, &early, LOCK_REFUSED); /* it may wait for that one elsewhere */
    assert_nothing_settles(&locks);
    want(&waits, 5, "A");
    waits.request.own = &closing;
    cr_assert_eq(locks_submit(&locks, &waits.request), LOCK_WAITS);
    assert_settles(&locks, &shut, LOCK_REFUSED);
    locks_unseal(&locks);
    assert_settles(&locks, &waits, LOCK_GRANTED);
    release(&locks, &waits);
    locks_open(&locks, &closing);
    locks_fini(&locks);
}

/* Its owner has run with a lock, and others stand in line behind it. */
Test(locks, a_seal_takes_those_out_of_line_who_wait_for_what_was_changed) {
    struct locks locks;
    struct asker held, behind, alone, aside, owner;
    locks_init(&locks);
    want(&held, 0, "A");
    held.request.many = false;
    cr_assert_eq(locks_submit(&locks, &held.request), LOCK_GRANTED);
    cr_assert_eq(ask(&locks, &behind, 2, "A"), LOCK_WAITS);
    want(&alone, 0, "a");
    alone.request.many = false;
    cr_assert_eq(locks_submit(&locks, &alone.request), LOCK_WAITS);
    cr_assert_eq(ask(&locks, &aside, 3, "B"), LOCK_GRANTED);
    locks_seal(&locks, 4, &held.request);
    assert_settles(&locks, &behind, LOCK_REFUSED);
    assert_nothing_settles(&locks);
    cr_assert_eq(ask_sealer(&locks, &owner, 5), LOCK_WAITS);
    release(&locks, &aside);
    assert_settles(&locks, &owner, LOCK_GRANTED);
    release(&locks, &owner);
    locks_unseal(&locks);
    assert_settles(&locks, &alone, LOCK_GRANTED);
    release(&locks, &alone);
    locks_fini(&locks);
}

/* It asks with fences, and the owner of the seal, who has drawn a higher number, comes behind its
 * fence: it is refused, not granted, by the end of its own fence. */
Test(locks, a_fence_is_of_no_use_at_a_seal) {
    struct locks locks;
    struct asker fenced, owner;
    struct lock_request fence = {0};
    locks_init(&locks);
    locks_seal(&locks, 5, NULL);
    cr_assert_eq(locks_fence(&locks, &fence), LOCK_GRANTED);
    cr_assert_eq(ask_sealer(&locks, &owner, 8), LOCK_WAITS);
    want(&fenced, 7, "a");
    fenced.request.fence = &fence;
    cr_assert_eq(locks_submit(&locks, &fenced.request), LOCK_WAITS);
    assert_settles(&locks, &fenced, LOCK_REFUSED);
    assert_settles(&locks, &owner, LOCK_GRANTED);
    release(&locks, &owner);
    locks_unseal(&locks);
    locks_fini(&locks);
}
