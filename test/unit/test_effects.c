/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/call/effects.h"
#include "test/unit/call.h"

#include <stdio.h>

#define NAME       BYTES("k")
#define STEP_BYTES ((size_t)1024)
/* What one step of it says more: some elements, or a leaf of them. */
#define MORE_BYTES ((size_t)16384)
#define MANY       4000

static const struct effects_origin txn = {.txn = 7, .order = 3};

static void run(struct call_env *call, const char *format, int i) {
    char line[100];
    snprintf(line, sizeof line, format, i, i);
    struct text text = call_run(call, line);
    cr_assert(text.ptr[0] != '-', "%s: %s", line, text.ptr);
    text_fini(&text);
}

static struct effects_saying saying_of(struct call_env *call) {
    struct key key = key_make(&call->server.secret, NAME);
    const struct entry *entry = keyspace_find_any(call->worker.shard.keyspace, 0, &key);
    return (struct effects_saying){
        .origin = txn,
        .value = entry_value_of(entry),
        .name = NAME,
        .expires_at = entry_expires_at(entry),
    };
}

static size_t drop_effects(struct call_env *call) {
    struct effects_list list = effects_take(&call->worker, EFFECTS_COMMANDS);
    size_t bytes = 0;
    for (uint32_t i = 0; i < list.count; i++) {
        cr_assert(list.list[i].txn == txn.txn && list.list[i].order == txn.order);
        bytes += list.list[i].bytes;
    }
    effects_list_free(&list);
    return bytes;
}

/* In steps, each of which says little, it says as much as in one go. */
static void says_in_steps(struct call_env *call) {
    effects_want(&call->worker, EFFECTS_COMMANDS, true);
    struct effects_saying at_once = saying_of(call), saying = at_once;
    cr_assert(effects_say_some(&call->worker, &at_once, SIZE_MAX));
    size_t all = drop_effects(call), said = 0;
    for (bool over = false; !over;) {
        over = effects_say_some(&call->worker, &saying, STEP_BYTES);
        size_t step = drop_effects(call);
        cr_assert_leq(step, STEP_BYTES + MORE_BYTES);
        said += step;
    }
    cr_assert_gt(all, (STEP_BYTES + MORE_BYTES) * 4);
    /* Some commands have fewer elements: their names stand there more often. */
    cr_assert(said >= all && said < all + all / 4, "%zu, at once %zu", said, all);
    effects_want(&call->worker, EFFECTS_COMMANDS, false);
    call_free(call);
}

static void many(const char *format) {
    struct call_env *call = call_new();
    for (int i = 1; i <= MANY; i++) {
        run(call, format, i);
    }
    run(call, "pexpire k 100000", 0);
    says_in_steps(call);
}

Test(effects, a_large_list_is_said_in_steps) {
    many("rpush k element:%d");
}
Test(effects, a_large_set_is_said_in_steps) {
    many("sadd k member:%d");
}
Test(effects, a_large_sorted_set_is_said_in_steps) {
    many("zadd k %d member:%d");
}
Test(effects, a_large_hash_is_said_in_steps) {
    many("hset k field:%d value:%d");
}
Test(effects, fields_with_deadlines_are_said_in_steps) {
    many("hsetex k ex 1000 fields 1 field:%d value:%d");
}
Test(effects, a_large_stream_is_said_in_steps) {
    many("xadd k %d-1 field value:%d");
}

static struct call_env *stream_of_many(void) {
    struct call_env *call = call_new();
    for (int i = 1; i <= MANY; i++) {
        run(call, "xadd k %d-1 f v", i);
    }
    return call;
}

Test(effects, what_is_pending_is_said_in_steps) {
    struct call_env *call = stream_of_many();
    run(call, "xgroup create k g 0", 0);
    run(call, "xreadgroup group g one count 3000 streams k >", 0);
    run(call, "xreadgroup group g other count 3000 streams k >", 0);
    says_in_steps(call);
}

Test(effects, many_groups_and_consumers_are_said_in_steps) {
    struct call_env *call = stream_of_many();
    for (int i = 0; i < 200; i++) {
        run(call, "xgroup create k group:%d 0", i);
        run(call, "xgroup createconsumer k group:%d name", i);
    }
    for (int i = 0; i < 200; i++) {
        run(call, "xgroup createconsumer k group:1 consumer:%d", i);
    }
    says_in_steps(call);
}

Test(effects, who_begins_to_listen_in_the_middle_hears_all) {
    struct call_env *call = call_new();
    for (int i = 1; i <= MANY; i++) {
        run(call, "sadd k member:%d", i);
    }
    struct effects_saying saying = saying_of(call), whole = saying;
    cr_assert(effects_say_some(&call->worker, &whole, STEP_BYTES)); /* nobody wants to know */
    effects_want(&call->worker, EFFECTS_COMMANDS, true);
    cr_assert_not(effects_say_some(&call->worker, &saying, STEP_BYTES));
    effects_want(&call->worker, EFFECTS_COMMANDS, false);
    effects_want(&call->worker, EFFECTS_COMMANDS, true);
    cr_assert(effects_say_some(&call->worker, &whole, SIZE_MAX));
    size_t all = drop_effects(call);
    cr_assert(effects_say_some(&call->worker, &saying, SIZE_MAX));
    cr_assert_eq(drop_effects(call), all);
    effects_want(&call->worker, EFFECTS_COMMANDS, false);
    call_free(call);
}
