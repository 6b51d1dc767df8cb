/* SPDX-License-Identifier: BSD-3-Clause */
#include "shard/watchers/waiters.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 8

/* One shard, whose keys hold a number of values each. */
static struct waiters waiters;
static int values[KEYS];
static unsigned passes;  /* bits of waits that pass */
static char served[256]; /* wait and key of each, in order */
static int moves_to;     /* a key that gets what was taken, or -1 */
static int locked;       /* a key that a transaction has locked, or -1 */
static unsigned stuck;   /* bits of waits that would move to a key that a transaction has locked */
static unsigned tries;   /* bits of waits that take more than this shard */
static unsigned reads;   /* bits of waits that leave all as it is */
static bool raced;       /* another thread claims the first wait after it was looked at */

static struct key key_of(unsigned n) {
    static const char *const names[KEYS] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    return (struct key){.name = bytes_make(names[n], 1), .hash = n % 3}; /* alike for some */
}

static unsigned number(const struct waiter_key *key) {
    return (unsigned)(key->key.name.ptr[0] - 'a');
}

static void note(unsigned n, int count) {
    struct key key = key_of(n);
    values[n] += count;
    waiters_note(&waiters, 0, &key);
}

static enum waiter_answer answer(void *arg, const struct waiter_key *key, bool as_one) {
    if ((int)number(key) == locked || stuck & 1u << (uintptr_t)key->part->waiter->arg) {
        return WAITER_LATER;
    }
    if (values[number(key)] == 0) {
        return WAITER_EMPTY;
    }
    if (raced && (uintptr_t)key->part->waiter->arg == 1) {
        cr_assert(waiter_cancel(key->part->waiter));
    }
    unsigned bit = 1u << (uintptr_t)key->part->waiter->arg;
    return passes & bit ? WAITER_PASSES : tries & bit ? WAITER_TRIES : WAITER_SERVES;
}

static void serve(void *arg, struct waiter_key *key) {
    struct waiter *waiter = key->part->waiter;
    char word[8];
    snprintf(word, sizeof(word), "%u%c ", (unsigned)(uintptr_t)waiter->arg, key->key.name.ptr[0]);
    strcat(served, word);
    values[number(key)]--;
    if (moves_to >= 0) {
        note((unsigned)moves_to, 1);
    }
    if (waiter_returned(key->part)) {
        waiter_free(waiter);
    }
}

static void try(void *arg, struct waiter_key *key) {
    char word[8];
    cr_assert(key->part->tries);
    snprintf(word, sizeof(word), "%u%c? ", (unsigned)(uintptr_t)key->part->waiter->arg,
             key->key.name.ptr[0]);
    strcat(served, word);
}

static bool hold(void *arg, struct waiter_key *key) {
    return !(reads & 1u << (uintptr_t)key->part->waiter->arg);
}

static void run(void) {
    const struct waiters_server server = {
        .answer = answer, .serve = serve, .try = try, .hold = hold};
    waiters_serve(&waiters, &server);
}

static void start(void) {
    waiters_init(&waiters);
    memset(values, 0, sizeof(values));
    passes = stuck = tries = reads = 0;
    served[0] = 0;
    moves_to = locked = -1;
    raced = false;
}

TestSuite(waiters, .init = start);

/* Keys by letter; a capital one is of the other shard, which is not there. */
static struct waiter *make(unsigned wait, const char *keys) {
    struct waiter_name names[KEYS];
    uint32_t count = 0;
    for (; keys[count] != 0; count++) {
        unsigned other = keys[count] < 'a';
        unsigned n = (unsigned)(keys[count] - (other ? 'A' : 'a'));
        names[count] = (struct waiter_name){.key = key_of(n), .shard = other};
    }
    return waiter_new(names, count, (void *)(uintptr_t)wait);
}

static struct waiter *join(unsigned wait, const char *keys) {
    struct waiter *waiter = make(wait, keys);
    for (unsigned i = 0; i < waiter->parts_count; i++) {
        waiter_lend(&waiter->parts[i]);
        if (waiter->parts[i].shard == 0) {
            waiters_join(&waiters, &waiter->parts[i]);
        }
    }
    run(); /* it may be gone after that */
    return waiter;
}

/* All of its parts are called back, and come. */
static void call_back(struct waiter *waiter) {
    struct waiter_part *part;
    bool last = false;
    while ((part = waiter_call_back(waiter)) != NULL) {
        if (part->shard == 0) {
            waiters_leave(&waiters, part);
        }
        last = waiter_returned(part);
    }
    cr_assert(last);
    waiter_free(waiter);
}

static void nobody_is_left(void) {
    cr_assert_eq(waiters.lines.count, 0);
    cr_assert(list_empty(&waiters.ready));
    cr_assert_eq(waiters.bytes, 0);
    waiters_fini(&waiters);
}

Test(waiters, who_came_first_is_served_first) {
    join(1, "a");
    join(2, "a");
    join(3, "a");
    note(0, 2);
    run();
    cr_assert_str_eq(served, "1a 2a ");
    note(0, 1);
    run();
    cr_assert_str_eq(served, "1a 2a 3a ");
    nobody_is_left();
}

Test(waiters, one_is_served_once_and_gone_from_all_its_lines) {
    join(1, "cab");
    join(2, "b");
    note(0, 1);
    note(1, 2);
    run();
    cr_assert_str_eq(served, "1a 2b ");
    cr_assert_eq(values[1], 1);
    nobody_is_left();
}

/* BLPOP k k. */
Test(waiters, a_key_named_twice_is_a_key) {
    join(1, "abab");
    join(2, "a");
    note(0, 2);
    run();
    cr_assert_str_eq(served, "1a 2a ");
    nobody_is_left();
}

Test(waiters, keys_are_served_in_the_order_in_which_they_got_something) {
    join(1, "abc");
    join(2, "abc");
    join(3, "abc");
    note(2, 1);
    note(0, 1);
    note(2, 1); /* in line already */
    run();
    cr_assert_str_eq(served, "1c 2c 3a ");
    nobody_is_left();
}

Test(waiters, who_cannot_be_served_stays_and_delays_nobody) {
    struct waiter *first = join(1, "a");
    join(2, "a");
    passes = 1 << 1;
    note(0, 2);
    run();
    cr_assert_str_eq(served, "2a ");
    passes = 0;
    note(0, 0); /* the value has become what it waits for */
    run();
    cr_assert_str_eq(served, "2a 1a ");
    (void)first;
    nobody_is_left();
}

Test(waiters, a_key_without_a_value_serves_nobody) {
    struct waiter *waiter = join(1, "a");
    note(0, 1);
    values[0] = 0; /* added and taken by the same command */
    run();
    cr_assert_str_eq(served, "");
    cr_assert(list_empty(&waiters.ready));
    cr_assert(waiter_cancel(waiter));
    call_back(waiter);
    nobody_is_left();
}

Test(waiters, what_serving_adds_serves_others_after_what_was_there) {
    join(1, "a");
    join(2, "h");
    join(3, "b");
    moves_to = 7;
    note(0, 1);
    note(1, 1);
    run();
    cr_assert_str_eq(served, "1a 3b 2h ");
    cr_assert_eq(values[7], 2);
    nobody_is_left();
}

/* BLMOVE k k. */
Test(waiters, what_serving_adds_to_the_same_key_goes_on_down_the_line) {
    join(1, "a");
    join(2, "a");
    moves_to = 0;
    note(0, 1);
    run();
    cr_assert_str_eq(served, "1a 2a ");
    cr_assert_eq(values[0], 1);
    nobody_is_left();
}

Test(waiters, who_joins_gets_what_is_there_already) {
    values[1] = 1;
    join(1, "ab");
    cr_assert_str_eq(served, "1b ");
    nobody_is_left();
}

/* It was served in the middle of the transaction, by the end of another command. */
Test(waiters, what_a_transaction_has_locked_is_served_later_and_delays_no_other_key) {
    join(1, "a");
    join(2, "b");
    join(3, "c");
    locked = 0;
    note(0, 1);
    note(1, 1);
    run();
    cr_assert_str_eq(served, "2b ");
    note(2, 1);
    run();
    cr_assert_str_eq(served, "2b 3c ");
    locked = -1;
    run();
    cr_assert_str_eq(served, "2b 3c 1a ");
    nobody_is_left();
}

Test(waiters, who_leaves_a_locked_key_is_not_asked_again) {
    struct waiter *waiter = join(1, "a");
    locked = 0;
    note(0, 1);
    run();
    cr_assert(waiter_cancel(waiter));
    run();
    call_back(waiter);
    nobody_is_left();
}

Test(waiters, a_wait_that_was_cancelled_is_passed_over_before_it_has_left) {
    struct waiter *first = join(1, "ab");
    join(2, "a");
    cr_assert(waiter_cancel(first));
    note(0, 1);
    run();
    cr_assert_str_eq(served, "2a ");
    call_back(first);
    nobody_is_left();
}

Test(waiters, a_wait_that_another_shard_serves_is_passed_over) {
    struct waiter *first = join(1, "aB");
    join(2, "a");
    cr_assert_eq(claim_take(&first->claim, CLAIM_TAKEN), CLAIM_FREE); /* the other shard */
    note(0, 1);
    run();
    cr_assert_str_eq(served, "2a ");
    cr_assert_not(waiter_cancel(first), "its answer is on its way");
    cr_assert_not(waiter_returned(&first->parts[1]));
    struct waiter_part *part = waiter_call_back(first);
    cr_assert_eq(part, &first->parts[0]);
    cr_assert_null(waiter_call_back(first), "each is called once, the one at home is not");
    waiters_leave(&waiters, part);
    cr_assert(waiter_returned(part));
    waiter_free(first);
    nobody_is_left();
}

Test(waiters, whose_time_ends_while_it_is_looked_at_is_not_served) {
    struct waiter *first = join(1, "a");
    join(2, "a");
    raced = true;
    note(0, 1);
    run();
    cr_assert_str_eq(served, "2a ");
    call_back(first);
    nobody_is_left();
}

Test(waiters, parts_are_by_shard_and_keep_the_order_of_keys) {
    struct waiter *waiter = make(1, "BcAaC");
    cr_assert_eq(waiter->parts_count, 2);
    const struct waiter_part *here = &waiter->parts[0], *there = &waiter->parts[1];
    cr_assert_eq(here->shard, 0);
    cr_assert_eq(here->keys_count, 2);
    cr_assert_eq(here->keys[0].index, 1);
    cr_assert_eq(here->keys[1].index, 3);
    cr_assert_eq(there->shard, 1);
    cr_assert_eq(there->keys_count, 3);
    cr_assert_eq(there->keys[0].index, 0);
    cr_assert_eq(there->keys[2].index, 4);
    cr_assert_eq(WAITER_CALLED(&waiter->parts[1].call), there);
    waiter_free(waiter);
}

Test(waiters, databases_are_told_apart_and_noted_as_a_whole) {
    struct waiter_name names[] = {{.db = 3, .key = key_of(0)}, {.db = 3, .key = key_of(1)}};
    struct waiter *waiter = waiter_new(names, 2, (void *)1);
    waiter_lend(&waiter->parts[0]);
    waiters_join(&waiters, &waiter->parts[0]);
    run();
    note(0, 1); /* in database 0 */
    run();
    waiters_note_database(&waiters, 2);
    run();
    cr_assert_str_eq(served, "");
    waiters_note_database(&waiters, 3);
    run();
    cr_assert_str_eq(served, "1a ");
    nobody_is_left();
}

Test(waiters, who_leaves_takes_a_line_that_was_noted_along) {
    struct waiter *waiter = join(1, "a");
    note(0, 1);
    cr_assert(waiter_cancel(waiter));
    call_back(waiter);
    run();
    cr_assert_str_eq(served, "");
    nobody_is_left();
}

Test(waiters, empty_names_are_names) {
    struct waiter_name name = {.key = {.name = bytes_make(NULL, 0), .hash = 5}};
    struct waiter *waiter = waiter_new(&name, 1, (void *)1);
    waiter_lend(&waiter->parts[0]);
    waiters_join(&waiters, &waiter->parts[0]);
    cr_assert_eq(waiters.lines.count, 1);
    cr_assert(waiter_cancel(waiter));
    call_back(waiter);
    nobody_is_left();
}

Test(waiters, one_is_left_for_later_behind_one_that_has_put_its_value_back) {
    join(1, "a");
    join(2, "a");
    join(3, "b");
    moves_to = 0;
    stuck = 1u << 2;
    note(0, 1);
    run();
    cr_assert_str_eq(served, "1a ");
    moves_to = -1;
    note(1, 1);
    run();
    cr_assert_str_eq(served, "1a 3b ");
    stuck = 0;
    run(); /* the lock was given back */
    cr_assert_str_eq(served, "1a 3b 2a ");
    waiters_fini(&waiters);
}

/* ---- Those that one shard cannot serve alone ---- */

Test(waiters, who_tries_is_told_once_and_nobody_behind_it_is_served) {
    tries = 1u << 1;
    struct waiter *first = join(1, "a");
    join(2, "a");
    note(0, 2);
    run();
    cr_assert_str_eq(served, "1a? ");
    note(0, 1);
    run();
    cr_assert_str_eq(served, "1a? ");
    cr_assert_not(waiter_cancel(first)); /* neither time nor anybody else ends it meanwhile */
    values[0]--;                         /* its transaction has got one */
    call_back(first);
    run();
    cr_assert_str_eq(served, "1a? 2a ");
    nobody_is_left();
}

Test(waiters, who_tries_in_vain_stands_where_it_stood_and_may_try_again) {
    tries = 1u << 1;
    struct waiter *first = join(1, "a");
    join(2, "a");
    note(0, 1);
    run();
    values[0] = 0; /* somebody else was faster */
    claim_give_back(&first->claim);
    waiters_join(&waiters, &first->parts[0]);
    run();
    cr_assert_str_eq(served, "1a? ");
    note(0, 1);
    run();
    cr_assert_str_eq(served, "1a? 1a? ");
    claim_give_back(&first->claim);
    waiters_join(&waiters, &first->parts[0]);
    values[0] = 0;
    run();
    cr_assert(waiter_cancel(first)); /* its time is up */
    call_back(first);
    note(0, 1);
    run();
    cr_assert_str_eq(served, "1a? 1a? 2a ");
    nobody_is_left();
}

Test(waiters, who_tries_does_not_hold_up_other_keys) {
    tries = 1u << 1;
    struct waiter *first = join(1, "a");
    join(2, "ab");
    note(0, 1);
    run();
    note(1, 1);
    run();
    cr_assert_str_eq(served, "1a? 2b ");
    call_back(first);
    values[0] = 0;
    run();
    nobody_is_left();
}

Test(waiters, who_tries_at_another_shard_holds_keys_here_when_they_get_something) {
    struct waiter *first = join(1, "abC");
    join(2, "ab");
    join(3, "b");
    cr_assert_eq(claim_take(&first->claim, CLAIM_TRIED), CLAIM_FREE); /* the other shard */
    cr_assert_not(first->parts[0].tries);
    note(1, 2);
    run();
    cr_assert(first->parts[0].tries);
    cr_assert_str_eq(served, "");
    claim_give_back(&first->claim); /* it was in vain: it stands where it stood */
    waiters_join(&waiters, &first->parts[0]);
    run();
    cr_assert_str_eq(served, "1b 2b ");
    struct waiter_part *part = waiter_call_back(first);
    cr_assert_eq(part, &first->parts[1]);
    cr_assert(waiter_returned(part));
    waiter_free(first);
    note(1, 1);
    run();
    cr_assert_str_eq(served, "1b 2b 3b ");
    nobody_is_left();
}

Test(waiters, behind_one_that_reads_others_are_asked_at_once) {
    tries = 1u << 1 | 1u << 2;
    reads = 1u << 1 | 1u << 2;
    struct waiter *first = join(1, "a"), *second = join(2, "a");
    join(3, "a");
    note(0, 1);
    run();
    cr_assert_str_eq(served, "1a? 2a? 3a ");
    call_back(first);
    call_back(second);
    run();
    nobody_is_left();
}
