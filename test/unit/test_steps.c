/* SPDX-License-Identifier: BSD-3-Clause */
/* Collections grow, shrink and change their form in steps of a bounded size, however large they
 * are: no command adds or takes one element and pays for all of them. Counted is what the heap gave
 * and took in one command, not time: whoever makes a table, an array or a node anew does it there.
 */
#include "shard/keys/keyspace_private.h"
#include "test/unit/call.h"

#include <stdio.h>

#define MANY 20000
/* What a change of form may cost: as many elements as its limit says are taken out of one block, at
 * most 512 by default, and put into blocks of their own. */
#define CHANGE_BYTES_MAX ((size_t)128 << 10)
/* And any other step: a leaf that is divided, a node that is, the list of chunks. */
#define STEP_BYTES_MAX ((size_t)16 << 10)
/* No form that changes has more elements. */
#define CHANGES_BEFORE 1000

struct steps {
    struct call_env *call;
    size_t longest;      /* of all */
    size_t longest_late; /* of those on a value that has done with changing its form */
    size_t largest;      /* that the value was */
};

static struct steps steps_new(void) {
    struct steps steps = {.call = call_new()};
    steps.call->unverified = true;
    rng_seed(&steps.call->worker.rng, 1);
    return steps;
}

static void step(struct steps *steps, const char *format, int a, int b, bool is_late) {
    char line[100];
    snprintf(line, sizeof line, format, a, b);
    const struct keyspace *ks = steps->call->worker.shard.keyspace;
    size_t before = heap_churned(ks->heap);
    struct text text = call_run(steps->call, line);
    size_t bytes = heap_churned(ks->heap) - before;
    cr_assert(text.ptr[0] != '-' && strcmp(text.ptr, ":0\r\n") != 0, "%s: %s", line, text.ptr);
    text_fini(&text);
    steps->longest = bytes > steps->longest ? bytes : steps->longest;
    if (is_late) {
        steps->longest_late = bytes > steps->longest_late ? bytes : steps->longest_late;
    }
    steps->largest = heap_used(ks->heap) > steps->largest ? heap_used(ks->heap) : steps->largest;
}

/* Numbers below MANY, each once, in no order. */
static int mixed(int i) {
    return (int)((int64_t)i * 7919 % MANY);
}

static void grow(struct steps *steps, const char *add) {
    for (int i = 0; i < MANY; i++) {
        step(steps, add, mixed(i), mixed(i), i > CHANGES_BEFORE);
    }
}

static void shrink(struct steps *steps, const char *take) {
    for (int i = 0; i < MANY; i++) {
        step(steps, take, mixed(MANY - 1 - i / 2 - i % 2 * (MANY / 2)), 0,
             i < MANY - CHANGES_BEFORE);
    }
}

static void steps_were_bounded(struct steps *steps) {
    keyspace_verify(steps->call->worker.shard.keyspace);
#ifdef SHOAL_CHECK_SLOW
    cr_assert_gt(steps->longest, 0);
#endif
    cr_assert_leq(steps->longest, CHANGE_BYTES_MAX);
    cr_assert_leq(steps->longest_late, STEP_BYTES_MAX);
    cr_assert_gt(steps->largest, 12 * STEP_BYTES_MAX); /* or it would say nothing */
    call_free(steps->call);
}

static void bounded(const char *add, const char *take) {
    struct steps steps = steps_new();
    grow(&steps, add);
    shrink(&steps, take);
    steps_were_bounded(&steps);
}

Test(steps, a_set_of_texts) {
    bounded("sadd k member:%d", "srem k member:%d");
}
Test(steps, a_set_of_numbers) {
    bounded("sadd k %d", "srem k %d");
}
Test(steps, a_set_that_is_popped) {
    bounded("sadd k member:%d", "spop k");
}
Test(steps, a_hash) {
    bounded("hset k field:%d value:%d", "hdel k field:%d");
}
Test(steps, a_hash_whose_fields_have_deadlines) {
    bounded("hsetex k px 1%d00000 fields 1 field:%d v", "hdel k field:%d");
}
Test(steps, a_sorted_set) {
    bounded("zadd k %d member:%d", "zrem k member:%d");
}
Test(steps, a_sorted_set_in_order) {
    bounded("zadd k 0 member:%06d", "zpopmin k");
}
Test(steps, a_list_at_its_ends) {
    struct steps steps = steps_new();
    for (int i = 0; i < MANY; i++) {
        step(&steps, i % 2 == 0 ? "rpush k element:%d" : "lpush k element:%d", i, 0,
             i > CHANGES_BEFORE);
    }
    for (int i = 0; i < MANY; i++) {
        step(&steps, i % 2 == 0 ? "rpop k" : "lpop k", i, 0, i < MANY - CHANGES_BEFORE);
    }
    steps_were_bounded(&steps);
}
Test(steps, a_list_in_its_middle) {
    struct steps steps = steps_new();
    step(&steps, "rpush k element:%012d last", 0, 0, false);
    for (int i = 1; i < MANY / 2; i++) {
        step(&steps, "linsert k before element:%012d element:%012d", i - 1, i, i > CHANGES_BEFORE);
    }
    for (int i = 1; i < MANY / 2; i++) {
        step(&steps, "lrem k -1 element:%012d", i, 0, i < MANY / 2 - CHANGES_BEFORE);
    }
    steps_were_bounded(&steps);
}
Test(steps, a_stream) {
    struct steps steps = steps_new();
    for (int i = 1; i <= MANY; i++) {
        step(&steps, "xadd k %d-1 field value:%d", i, i, true);
    }
    step(&steps, "xgroup create k g 0", 0, 0, true);
    for (int i = 1; i <= MANY; i++) {
        step(&steps, "xreadgroup group g c count 1 streams k >", 0, 0, true);
    }
    for (int i = 1; i <= MANY; i++) {
        step(&steps, "xack k g %d-1", i % 2 == 0 ? i : MANY - i, 0, true);
    }
    for (int i = 1; i <= MANY; i++) {
        step(&steps, "xdel k %d-1", i % 2 == 0 ? i : MANY - i, 0, true);
    }
    steps_were_bounded(&steps);
}
