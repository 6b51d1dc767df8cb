/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/call/command_table.h"

#include "server/commands/families.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static struct command_table *table_new(const struct bytes *renames, size_t pairs) {
    int error;
    struct bytes bad;
    struct command_table *table = command_table_new(command_families, renames, pairs, &error, &bad);
    cr_assert_not_null(table);
    cr_assert_eq(error, 0);
    return table;
}

static const struct command_ref *find(const struct command_table *table, const char *name) {
    return command_table_find(table, bytes_of_text(name));
}

/* By the name of its row, whatever it is served under. */
static const struct command_ref *find_row(const struct command_table *table, const char *name) {
    for (unsigned i = 0; i < command_table_count(table); i++) {
        if (strcmp(command_table_at(table, i)->full_name, name) == 0) {
            return command_table_at(table, i);
        }
    }
    cr_assert(false, "no command %s", name);
    return NULL;
}

/* Every command in lower, upper and mixed case. */
Test(command_table, every_command_is_found_by_its_name_in_any_case) {
    struct command_table *table = table_new(NULL, 0);
    for (unsigned i = 0; i < command_table_top_count(table); i++) {
        const struct command_ref *ref = command_table_top(table, i);
        char name[64];
        for (int pass = 0; pass < 3; pass++) {
            size_t n = strlen(ref->row->name);
            for (size_t k = 0; k <= n; k++) {
                char c = ref->row->name[k];
                bool up = c >= 'a' && c <= 'z' && (pass == 1 || (pass == 2 && k % 2));
                name[k] = up ? (char)(c - 32) : c;
            }
            cr_expect_eq(find(table, name), ref, "%s", name);
        }
        cr_expect_eq(command_table_at(table, ref->id), ref);
        cr_expect_str_eq(ref->full_name, ref->row->name);
    }
    command_table_free(table);
}

/* The lookup packs names into words: nothing that differs by one bit, one byte or its length may
 * pass for a command. */
Test(command_table, nothing_else_is_found) {
    struct command_table *table = table_new(NULL, 0);
    for (unsigned i = 0; i < command_table_top_count(table); i++) {
        const char *name = command_table_top(table, i)->row->name;
        size_t n = strlen(name);
        char other[64];
        for (size_t k = 0; k < n; k++) {
            for (int bit = 0; bit < 8; bit++) {
                memcpy(other, name, n);
                other[k] = (char)(other[k] ^ (1 << bit));
                const struct command_ref *ref = command_table_find(table, bytes_make(other, n));
                cr_expect(ref == NULL || bytes_equal_nocase(bytes_make(other, n),
                                                            bytes_of_text(ref->row->name)),
                          "%.*s", (int)n, other);
            }
        }
        memcpy(other, name, n);
        other[n] = 0;
        cr_expect_null(command_table_find(table, bytes_make(other, n + 1)));
        const struct command_ref *shorter = command_table_find(table, bytes_make(other, n - 1));
        cr_expect(shorter == NULL || strlen(shorter->row->name) == n - 1);
    }
    cr_expect_null(find(table, ""));
    cr_expect_null(find(table, "an-uncommonly-long-name-of-no-command"));
    command_table_free(table);
}

Test(command_table, subcommands_have_numbers_and_full_names) {
    struct command_table *table = table_new(NULL, 0);
    const struct command_ref *client = find(table, "client");
    const struct command_ref *list = command_ref_find_sub(client, BYTES("LiSt"));
    cr_assert_not_null(list);
    cr_assert_str_eq(list->full_name, "client|list");
    cr_assert_eq(list->container, client);
    cr_assert_eq(command_table_at(table, list->id), list);
    cr_assert_null(command_ref_find_sub(client, BYTES("bogus")));
    for (unsigned i = 0; i < command_table_count(table); i++) {
        cr_expect_eq(command_table_at(table, i)->id, i);
    }
    command_table_free(table);
}

Test(command_table, categories_follow_from_flags) {
    struct command_table *table = table_new(NULL, 0);
    cr_expect_eq(find(table, "get")->categories, ACL_READ | ACL_STRING | ACL_FAST);
    cr_expect_eq(find(table, "set")->categories, ACL_WRITE | ACL_STRING | ACL_SLOW);
    cr_expect_eq(find_row(table, "config|set")->categories, ACL_ADMIN | ACL_DANGEROUS | ACL_SLOW);
    cr_expect_eq(find(table, "ping")->categories, ACL_FAST | ACL_CONNECTION);
    cr_expect_eq(find(table, "flushall")->categories,
                 ACL_KEYSPACE | ACL_WRITE | ACL_SLOW | ACL_DANGEROUS);
    command_table_free(table);
}

Test(command_table, key_specs_fold_into_first_last_and_step) {
    struct command_table *table = table_new(NULL, 0);
    const struct command_ref *get = find(table, "get");
    cr_expect(get->simple && get->first_key == 1 && get->shown_step == 1);
    const struct command_ref *mset = find(table, "mset");
    cr_expect(!mset->simple && mset->first_key == 1 && mset->shown_step == 2);
    const struct command_ref *copy = find(table, "copy"); /* two specs side by side */
    cr_expect(!copy->simple && copy->first_key == 1 && copy->shown_step == 1);
    cr_expect(get->plain && !mset->plain && !copy->plain);
    cr_expect(!find(table, "blpop")->plain && !find(table, "ping")->plain); /* it waits; no key */
    const struct command_ref *msetex = find(table, "msetex");               /* counted keys */
    cr_expect(msetex->first_key == 0 && msetex->shown_first == 0);
    cr_expect(msetex->flags & CMD_MOVABLE_KEYS);
    command_table_free(table);
}

Test(command_table, what_has_subcommands_does_not_repeat) {
    struct command_table *table = table_new(NULL, 0);
    cr_expect(find(table, "get")->repeats && find(table, "mset")->repeats);
    for (unsigned i = 0; i < command_table_count(table); i++) {
        const struct command_ref *ref = command_table_at(table, i);
        cr_expect_eq(ref->repeats, ref->container == NULL && ref->subcommands_count == 0, "%s",
                     ref->full_name);
    }
    command_table_free(table);
}

/* ---- Renames ---- */

Test(command_table, a_renamed_command_answers_to_its_new_name_only) {
    struct bytes renames[] = {BYTES("get"),      BYTES("git"),
                              BYTES("FLUSHALL"), BYTES(""),
                              BYTES("set"),      BYTES("get"), /* the name is free now */
                              BYTES("debug"),    BYTES("a-name-longer-than-sixteen-bytes")};
    struct command_table *table = table_new(renames, 4);
    cr_expect_str_eq(find(table, "GIT")->full_name, "get");
    cr_expect_str_eq(find(table, "get")->full_name, "set");
    cr_expect_null(find(table, "set"));
    cr_expect_null(find(table, "flushall"));
    cr_expect_str_eq(find(table, "A-name-longer-than-sixteen-bytes")->full_name, "debug");
    cr_expect_null(find(table, "a-name-longer-THAN-seventeen-byte"));
    cr_expect_str_eq(find_row(table, "flushall")->served_name, "");
    command_table_free(table);
}

Test(command_table, renames_that_cannot_be_are_refused) {
    int error = 0;
    struct bytes bad;
    struct bytes unknown[] = {BYTES("bogus"), BYTES("x")};
    cr_assert_null(command_table_new(command_families, unknown, 1, &error, &bad));
    cr_assert_eq(error, -ENOENT);
    cr_assert(bytes_is(bad, "bogus"));
    struct bytes taken[] = {BYTES("get"), BYTES("set")};
    cr_assert_null(command_table_new(command_families, taken, 1, &error, &bad));
    cr_assert_eq(error, -EEXIST);
    cr_assert(bytes_is(bad, "set"));
}

/* ---- Keys ---- */

/* Positions of the keys of a call given as words, as text; "no" if it makes no sense. */
static const char *keys_of(const struct command *row, char ret[64], uint32_t argc,
                           const char *const *words) {
    struct bytes argv[16];
    struct key_ref refs[16];
    for (uint32_t i = 0; i < argc; i++) {
        argv[i] = bytes_of_text(words[i]);
    }
    int n = command_keys(row, argv, argc, refs, 16);
    if (n < 0) {
        return "no";
    }
    ret[0] = 0;
    for (int i = 0; i < n; i++) {
        snprintf(ret + strlen(ret), 64 - strlen(ret), "%s%u", i ? " " : "", refs[i].index);
    }
    return ret;
}

#define KEYS(row, ...)                                                                             \
    keys_of(row, (char[64]){0}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *),       \
            (const char *const[]){__VA_ARGS__})

Test(command_table, keys_are_found_by_range) {
    struct command_table *table = table_new(NULL, 0);
    cr_expect_str_eq(KEYS(find(table, "get")->row, "get", "a"), "1");
    cr_expect_str_eq(KEYS(find(table, "mset")->row, "mset", "a", "1", "b", "2"), "1 3");
    cr_expect_str_eq(KEYS(find(table, "del")->row, "del", "a", "b", "c"), "1 2 3");
    cr_expect_str_eq(KEYS(find(table, "rename")->row, "rename", "a", "b"), "1 2");
    cr_expect_str_eq(KEYS(find(table, "ping")->row, "ping"), "");
    command_table_free(table);
}

static const struct command keynum = {
    .name = "keynum",
    .keys = {{.begin = BEGIN_INDEX, .index = 1, .find = FIND_KEYNUM, .first = 1, .keynum_step = 2}},
};
static const struct command keyword = {
    .name = "keyword",
    .keys = {{.begin = BEGIN_KEYWORD,
              .keyword = "STREAMS",
              .index = 1,
              .find = FIND_RANGE,
              .last = -1,
              .step = 1,
              .limit = 2}},
};
static const struct command keyword_back = {
    .name = "back",
    .keys = {{.begin = BEGIN_KEYWORD,
              .keyword = "KEYS",
              .index = -2,
              .find = FIND_RANGE,
              .last = -1,
              .step = 1}},
};
static const struct command not_keys = {
    .name = "channel",
    .keys =
        {{.flags = KEY_NOT_KEY, .begin = BEGIN_INDEX, .index = 1, .find = FIND_RANGE, .step = 1},
         {.begin = BEGIN_INDEX, .index = 2, .find = FIND_RANGE, .step = 1}},
};

Test(command_table, keys_are_found_by_number_and_by_keyword) {
    cr_expect_str_eq(KEYS(&keynum, "x", "2", "a", "1", "b", "2", "more"), "2 4");
    cr_expect_str_eq(KEYS(&keynum, "x", "3", "a", "1", "b"), "no");
    cr_expect_str_eq(KEYS(&keynum, "x", "0", "a"), "no");
    cr_expect_str_eq(KEYS(&keynum, "x", "-1", "a"), "no");
    cr_expect_str_eq(KEYS(&keynum, "x", "9223372036854775807", "a"), "no");
    cr_expect_str_eq(KEYS(&keynum, "x", "1x", "a"), "no");
    cr_expect_str_eq(KEYS(&keyword, "x", "count", "1", "streams", "a", "b", "0", "0"), "4 5");
    cr_expect_str_eq(KEYS(&keyword, "x", "count", "1"), "");
    cr_expect_str_eq(KEYS(&keyword, "x", "count", "streams"), "");
    cr_expect_str_eq(KEYS(&keyword_back, "x", "keys", "1", "keys", "a", "b"), "4 5");
    cr_expect_str_eq(KEYS(&not_keys, "x", "channel", "a"), "2");
}

/* Rows say it where the place does not. */
Test(command_table, fences_follow_from_places) {
    struct command_table *table = table_new(NULL, 0);
    cr_expect(!find(table, "get")->fences && !find(table, "ping")->fences);
    cr_expect(find(table, "select")->fences && find(table, "info")->fences);
    cr_expect(find(table, "flushall")->fences && find(table, "scan")->fences);
    const struct command_ref *client = find(table, "client");
    cr_expect(!command_ref_find_sub(client, BYTES("id"))->fences);
    cr_expect(command_ref_find_sub(client, BYTES("setname"))->fences);
    command_table_free(table);
}

/* What runs at home must not have keys that nobody locks; WATCH only notes them. */
/* A log that misses a command would not be noticed before it is read. */
Test(command_table, what_writes_says_how_it_is_logged) {
    struct command_table *table = table_new(NULL, 0);
    unsigned writing = 0;
    for (unsigned i = 0; i < command_table_count(table); i++) {
        const struct command *row = command_table_at(table, i)->row;
        bool logged = row->logged != LOGGED_NO;
        /* PFCOUNT reads, and writes down what it has counted. */
        bool writes = row->flags & CMD_WRITE || row->keys[0].flags & KEY_RW;
        writes &= !row->runs_script; /* what it calls says so */
        cr_assert_eq(logged, row->run != NULL && writes, "%s", row->name);
        writing += logged;
    }
    cr_assert_gt(writing, 25);
    command_table_free(table);
}

Test(command_table, places_fit_keys) {
    struct command_table *table = table_new(NULL, 0);
    for (unsigned i = 0; i < command_table_count(table); i++) {
        const struct command_ref *ref = command_table_at(table, i);
        const struct key_spec *spec = &ref->row->keys[0];
        bool has_keys = (spec->begin != BEGIN_NONE && !(spec->flags & KEY_NOT_KEY)) ||
                        ref->row->find_keys != NULL;
        bool at_keys = ref->row->place == PLACE_KEY;
        if (strcmp(ref->full_name, "watch") != 0) {
            cr_expect_eq(has_keys, at_keys, "%s", ref->full_name);
        }
        cr_expect(!ref->row->walks || ref->row->place == PLACE_ALL_KEYS, "%s", ref->full_name);
        bool changes = ref->flags & CMD_WRITE; /* PUBLISH may replicate, but no key */
        cr_expect(!changes || at_keys || ref->row->place == PLACE_ALL_KEYS, "%s", ref->full_name);
    }
    command_table_free(table);
}

/* A command that may name keys of several shards says what becomes of it then. */
Test(command_table, several_keys_are_spread) {
    struct command_table *table = table_new(NULL, 0);
    for (unsigned i = 0; i < command_table_count(table); i++) {
        const struct command_ref *ref = command_table_at(table, i);
        const struct command *row = ref->row;
        if (row->place == PLACE_KEY) {
            const struct key_spec *spec = &row->keys[0];
            bool one =
                row->keys[1].begin == BEGIN_NONE && spec->find == FIND_RANGE && spec->last == 0;
            bool whole = row->spread == SPREAD_NONE && !row->runs_script;
            cr_expect_eq(one, whole, "%s", ref->full_name);
        }
    }
    command_table_free(table);
}

static bool names_elements(const struct command_arg *args) {
    for (; args != NULL && args->name != NULL; args++) {
        bool is_one = strcmp(args->name, "field") == 0 || strncmp(args->name, "member", 6) == 0;
        bool may_miss = args->token != NULL || args->flags & ARG_OPTIONAL;
        if (!may_miss && (is_one || names_elements(args->args))) {
            return true;
        }
    }
    return false;
}

/* Where it is not said, a pipeline waits for memory at each element. */
Test(command_table, what_looks_elements_up_by_name_says_where) {
    struct command_table *table = table_new(NULL, 0);
    unsigned saying = 0;
    for (unsigned i = 0; i < command_table_count(table); i++) {
        const struct command_ref *ref = command_table_at(table, i);
        int element = ref->row->element, least = abs(ref->row->arity);
        if (element != 0) {
            /* In every call it is an argument, and not the key. */
            cr_expect(ref->simple && ref->first_key == 1, "%s", ref->full_name);
            int at = element > 0 ? element : least + element;
            cr_expect(at > 1 && at < least, "%s", ref->full_name);
            saying++;
        } else if (ref->simple && strcmp(ref->row->group, "stream") != 0) {
            cr_expect_not(names_elements(ref->row->args), "%s", ref->full_name);
        }
        cr_expect_eq(ref->element, element, "%s", ref->full_name);
    }
    cr_assert_gt(saying, 25);
    const struct command_ref *zadd = find(table, "zadd"), *hset = find(table, "hset");
    const struct bytes words[] = {BYTES("c"), BYTES("k"), BYTES("1"), BYTES("m")};
    cr_expect(bytes_is(command_element(zadd, words, 4), "m"));
    cr_expect(bytes_is(command_element(hset, words, 4), "1"));
    command_table_free(table);
}
