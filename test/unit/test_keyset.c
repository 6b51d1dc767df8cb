/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/call/keyset.h"
#include "server/server.h"
#include "test/unit/call.h"

#include <stdio.h>

#define WORKERS 4

static struct call_env *env;
static struct node node;
static struct arena arena;

static void setup(void) {
    env = call_new();
    env->server.at_start = env->config;
    node_init(&node, &env->server, 0, "0123456789012345678901234567890123456789", 0, WORKERS);
    arena_init(&arena, 4096);
}

static void teardown(void) {
    arena_fini(&arena);
    call_free(env);
}

TestSuite(keyset, .init = setup, .fini = teardown);

static void ignore(void *arg, const struct walk_item *item) {
}

static const struct command_ref *ref_of(struct bytes name) {
    const struct command_ref *ref = command_table_find(env->table, name);
    cr_assert(ref != NULL);
    return ref;
}

static struct keyset *keys_of(const char *line, uint32_t db) {
    static struct bytes argv[CALL_ARGS_MAX];
    uint32_t argc = call_split(argv, line);
    return keyset_new(&arena, &node, ref_of(argv[0]), argv, argc, db);
}

Test(keyset, has_each_key_once_with_hash_place_and_owner) {
    struct keyset *keys = keys_of("mset a 1 bb 2 ccc 3", 5);
    const char *names[] = {"a", "bb", "ccc"};
    cr_assert_eq(keys->count, 3);
    bool apart = false;
    for (uint32_t i = 0; i < 3; i++) {
        const struct keyset_key *one = &keys->list[i];
        struct key expected = key_make(&env->server.secret, bytes_of_text(names[i]));
        cr_expect(bytes_equal(one->key.name, expected.name));
        cr_expect(one->key.hash == expected.hash && one->key.slot == expected.slot);
        cr_expect_eq(one->index, 1 + 2 * i);
        cr_expect_eq(one->db, 5);
        cr_expect_eq(one->worker, node_owner(&node, expected.slot));
        cr_expect(one->exclusive);
        apart |= one->worker != keys->list[0].worker;
        cr_expect_eq(keyset_find(keys, one->index), &one->key);
        cr_expect_eq(keyset_find(keys, one->index + 1), NULL);
    }
    cr_expect_eq(keys->apart, apart);
    cr_expect_eq(keyset_find(keys, 0), NULL);
}

Test(keyset, knows_whether_keys_lie_apart) {
    cr_expect_not(keys_of("mget {t}a {t}b {t}c", 0)->apart);
    char line[64] = "mget a b c d e f g h i j";
    cr_expect(keys_of(line, 0)->apart);
    cr_expect_not(keys_of("mget a b c", 0)->list[0].exclusive);
}

/* What the arguments do not say, the command says itself. */
Test(keyset, is_empty_when_arguments_make_no_sense) {
    cr_expect_eq(keys_of("msetex x a 1", 0)->count, 0);
    cr_expect_eq(keys_of("msetex 2 a 1", 0)->count, 0);
    cr_expect_eq(keyset_find(keys_of("msetex x a 1", 0), 2), NULL);
    cr_expect_eq(keys_of("msetex 2 a 1 b 2 nx", 0)->count, 2);
}

Test(keyset, says_the_database_that_an_argument_names) {
    struct keyset *keys = keys_of("copy a b", 3);
    cr_expect(keys->list[0].db == 3 && keys->list[1].db == 3);
    keys = keys_of("copy a b replace DB 7", 3);
    cr_expect(keys->list[0].db == 3 && keys->list[1].db == 7);
    keys = keys_of("copy a b db 7 db 2", 3); /* the last one counts */
    cr_expect_eq(keys->list[1].db, 2);
    keys = keys_of("move a 9", 3);
    cr_expect(keys->count == 2 && keys->list[0].db == 3 && keys->list[1].db == 9);
    cr_expect_not(keys->apart);
    for (unsigned i = 0; i < 4; i++) { /* none that exists: the command will say so */
        const char *lines[] = {"copy a b db 16", "copy a b db -1", "copy a b db x", "copy a b db"};
        cr_expect_eq(keys_of(lines[i], 3)->list[1].db, 3, "%s", lines[i]);
    }
    cr_expect_eq(keys_of("move a 4294967297", 3)->list[1].db, 3);
}

/* A hook that finds fewer or more keys than it has room for would write beyond it. */
Test(keyset, has_room_for_as_many_as_come) {
    static char line[64 * 64];
    for (unsigned n = 1; n < CALL_ARGS_MAX; n++) {
        int at = sprintf(line, "del");
        for (unsigned i = 0; i < n; i++) {
            at += sprintf(line + at, " k%u", i);
        }
        struct keyset *keys = keys_of(line, 0);
        cr_assert_eq(keys->count, n);
        for (uint32_t i = 0; i < n; i++) {
            cr_assert_eq(keyset_find(keys, i + 1), &keys->list[i].key);
        }
    }
}

Test(keyset, copies_follow_the_arguments) {
    struct keyset *keys = keys_of("mget a b", 0);
    char words[] = "mgetab";
    struct bytes elsewhere[] = {bytes_make(words, 4), bytes_make(words + 4, 1),
                                bytes_make(words + 5, 1)};
    struct keyset *copy = keyset_copy(&arena, keys, elsewhere);
    cr_expect_eq(copy->count, 2);
    cr_expect(copy->list[1].key.name.ptr == words + 5);
    cr_expect_eq(copy->list[1].key.hash, keys->list[1].key.hash);
    cr_expect_eq(keyset_copy(&arena, NULL, elsewhere), NULL);

    struct keyset *share = keyset_empty(&arena, 1);
    keyset_add(share, &keys->list[1], 1);
    cr_expect(share->count == 1 && share->list[0].index == 1 && !share->apart);
    cr_expect_eq(keyset_find(share, 1)->hash, keys->list[1].key.hash);
}

/* DEL '' b, inline: an empty word has the address of the one behind it. b was asked for under the
 * hash of the empty key, and deleted although a transaction had it. */
Test(keyset, an_op_waits_for_each_of_its_keys_also_behind_an_empty_one) {
    const struct command_ref *del = ref_of(BYTES("del"));
    struct shard *shard = &env->worker.shard;
    struct locks *locks = &shard->locks;
    struct lock memory[2];
    struct lock_key locked = {key_make(&env->server.secret, BYTES("b")).hash, true};
    struct lock_request request;
    lock_request_init(&request, LOCK_KEYS, &locked, 1, memory);
    cr_assert_eq(locks_submit(locks, &request), LOCK_GRANTED);

    const char *words = "DELb";
    struct bytes argv[] = {bytes_make(words, 3), bytes_make(words + 3, 0),
                           bytes_make(words + 3, 1)};
    struct keyset *both = keyset_new(&arena, &node, del, argv, 3, 0);
    struct keyset *one = keyset_new(&arena, &node, del, argv, 2, 0);
    cr_expect(keyset_is_blocked(shard, del, 0, &both->list[0].key, both));
    cr_expect_not(keyset_is_blocked(shard, del, 0, &one->list[0].key, one));
    struct key b = key_make(&env->server.secret, BYTES("b"));
    cr_expect(keyset_is_blocked(shard, ref_of(BYTES("get")), 0, &b, NULL));
    locks_release(locks, &request);
    cr_expect_not(keyset_is_blocked(shard, del, 0, &both->list[0].key, both));
    cr_expect_not(keyset_is_blocked(shard, ref_of(BYTES("get")), 0, &b, NULL));
}

/* Who reads does not keep others from reading. */
Test(keyset, locks_are_as_strong_as_the_row_says) {
    struct shard *shard = &env->worker.shard;
    struct locks *locks = &shard->locks;
    struct key a = key_make(&env->server.secret, BYTES("a"));
    struct lock_request read, write;
    keyset_lock(&read, &arena, ref_of(BYTES("get")), &a, NULL);
    cr_assert_eq(locks_submit(locks, &read), LOCK_GRANTED);
    cr_expect_not(keyset_is_blocked(shard, ref_of(BYTES("get")), 0, &a, NULL));
    cr_expect(keyset_is_blocked(shard, ref_of(BYTES("set")), 0, &a, NULL));
    cr_expect_not(keyset_is_blocked(shard, ref_of(BYTES("mget")), 0, &a, keys_of("mget b a", 0)));
    locks_release(locks, &read);
    keyset_lock(&write, &arena, ref_of(BYTES("mset")), &a, keys_of("mset b 1 a 2 b 3", 0));
    cr_assert_eq(locks_submit(locks, &write), LOCK_GRANTED);
    cr_expect_eq(write.count, 2);
    cr_expect(keyset_is_blocked(shard, ref_of(BYTES("get")), 0, &a, NULL));
    locks_release(locks, &write);
}

/* A long list that a walk has still to read is closed to who changes it in place, and to nobody
 * else. */
Test(keyset, an_op_that_changes_a_value_waits_for_a_walk_to_read_it) {
    struct shard *shard = &env->worker.shard;
    struct walks walks;
    walks_init(&walks, shard->keyspace);
    env->unverified = true;
    for (unsigned i = 0; i < 2000; i++) {
        struct text reply = call_run(env, "rpush list 0123456789 0123456789 0123456789 0123456789");
        text_fini(&reply);
    }
    struct walk_options options = {.version = RDB_VERSION_MIN, .show = ignore};
    walks.large_bytes = 1000;
    walks.stall_bytes = 10000;
    struct walk *walk = walk_begin(&walks, &options);
    struct key list = key_make(&env->server.secret, BYTES("list"));
    cr_expect_not(keyset_is_blocked(shard, ref_of(BYTES("llen")), 0, &list, NULL));
    cr_expect_not(keyset_is_blocked(shard, ref_of(BYTES("setex")), 0, &list, NULL));
    cr_expect_not(keyset_is_blocked(shard, ref_of(BYTES("rpush")), 1, &list, NULL));
    cr_expect_eq(shard->locks.requests, 0);
    cr_expect(keyset_is_blocked(shard, ref_of(BYTES("rpush")), 0, &list, NULL));
    cr_expect_eq(shard->locks.requests, 1);
    cr_expect(keyset_is_blocked(shard, ref_of(BYTES("rpush")), 0, &list, NULL));
    cr_expect_eq(shard->unshown.closed, 1);
    cr_expect(keyset_is_blocked(shard, ref_of(BYTES("setex")), 0, &list, NULL));
    cr_expect_not(keyset_is_blocked(shard, ref_of(BYTES("llen")), 0, &list, NULL));
    struct lock_request push;
    keyset_lock(&push, &arena, ref_of(BYTES("rpush")), &list, NULL);
    cr_expect_eq(locks_submit(&shard->locks, &push), LOCK_WAITS);
    unsigned slices = 0;
    while (!unshown_open(&shard->unshown, &shard->locks, shard->keyspace, NULL, NULL)) {
        cr_assert(walk_hurry_some(walk, 1000));
        slices++;
    }
    cr_expect(slices > 5 && !walk_is_hurried(walk));
    cr_expect_eq(locks_next_settled(&shard->locks), &push);
    cr_expect_eq(push.answer, LOCK_GRANTED);
    locks_release(&shard->locks, &push);
    cr_expect_not(keyset_is_blocked(shard, ref_of(BYTES("rpush")), 0, &list, NULL));
    cr_expect_eq(shard->locks.requests, 0);
    cr_expect_eq(walk_progress(walk).stall_bytes_max, 0);
    walk_end(walk);
    walks_fini(&walks);
}

/* With several keys it writes to none, and others may count those at the same time. */
Test(keyset, pfcount_owns_a_key_only_if_it_has_no_other) {
    struct keyset *keys = keys_of("pfcount a", 0);
    cr_assert_eq(keys->count, 1);
    cr_expect(keys->list[0].exclusive);
    keys = keys_of("pfcount a b", 0);
    cr_assert_eq(keys->count, 2);
    cr_expect(!keys->list[0].exclusive && !keys->list[1].exclusive);
    cr_expect(keys->list[0].flags & KEY_ACCESS);
}

/* What was found before is kept, and what is named twice is one key to who looks for it. */
Test(keyset, takes_keys_that_values_name) {
    unsigned workers_count = env->server.workers_count;
    env->server.workers_count = WORKERS;
    struct keyset *keys = keys_of("sort list by w:* store to", 3);
    cr_assert(keys->everywhere && keys->count == 2 && keys->found == 0);
    struct key one = key_make(&env->server.secret, BYTES("w:1"));
    cr_expect_eq(keyset_found(keys, &one), 0);
    for (unsigned round = 0; round < 2; round++) {
        struct found_names *names = NULL;
        char text[16];
        for (unsigned i = 0; i < 100; i++) {
            sprintf(text, "w:%u", i / 2 + 50 * round);
            found_names_add(&names, bytes_of_text(text));
        }
        found_names_add(&names, BYTES(""));
        keys = keyset_with(&arena, &node, keys, names, 3);
        found_names_free(names);
        cr_assert_eq(keys->count, 2 + 101 * (round + 1));
        cr_assert_eq(keys->found, 101 * (round + 1));
        for (unsigned i = 0; i < 100; i++) {
            sprintf(text, "w:%u", i);
            struct key key = key_make(&env->server.secret, bytes_of_text(text));
            uint32_t place = keyset_found(keys, &key);
            cr_assert_eq(place > 0, i < 50 * (round + 1));
            const struct keyset_key *found = &keys->list[place];
            cr_expect(place == 0 ||
                      (bytes_equal(found->key.name, key.name) && found->db == 3 &&
                       found->worker == node_owner(&node, key.slot) && !found->exclusive));
        }
    }
    cr_expect(keys->apart && keys->everywhere && keys->list[1].exclusive);
    struct key list = key_make(&env->server.secret, BYTES("list")),
               empty = key_make(&env->server.secret, BYTES(""));
    cr_expect_eq(keyset_found(keys, &list), 0); /* an argument's: it is locked, but not read so */
    cr_expect_gt(keyset_found(keys, &empty), 0);
    struct found_names *many = NULL;
    for (unsigned i = 0; i < FOUND_NAMES_MAX + 5; i++) {
        found_names_add(&many, BYTES("x"));
    }
    cr_expect_eq(many->count, FOUND_NAMES_MAX + 5);
    cr_expect_eq(many->text.len, FOUND_NAMES_MAX * 9);
    found_names_free(many);
    found_names_free(NULL);
    env->server.workers_count = workers_count;
}
