/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules of users, and a call that is judged by them. A wrong rule changes nothing; what a user is
 * told to be makes the same user again, who is judged alike; and so do files of users.
 *
 * Input: rules, each on a line, a NUL, then the words of a call, NUL between them. */
#include "base/check.h"
#include "test/unit/acl.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WORDS_MAX 24

static struct bytes cut(struct bytes *rest, char at) {
    const char *end = rest->len > 0 ? memchr(rest->ptr, at, rest->len) : NULL;
    size_t len = end != NULL ? (size_t)(end - rest->ptr) : rest->len;
    struct bytes part = bytes_make(rest->ptr, len);
    len += end != NULL;
    *rest = bytes_make(rest->ptr + len, rest->len - len);
    return part;
}

static void describe(const struct acl_user *user, struct text *ret) {
    text_clear(ret);
    acl_user_describe(user, ret);
}

static void apply(const struct acl_making *making, struct acl_user *user, struct bytes rules) {
    struct text before, after;
    text_init(&before);
    text_init(&after);
    while (rules.len > 0) {
        describe(user, &before);
        if (acl_user_rule(making, user, cut(&rules, '\n')) != ACL_RIGHT) {
            describe(user, &after);
            check(bytes_equal(text_bytes(&before), text_bytes(&after)));
        }
    }
    text_fini(&before);
    text_fini(&after);
}

/* Made of what the other is told to be. */
static struct acl_user *made_again(const struct acl_making *making, const struct acl_user *user,
                                   const struct text *told) {
    struct text file, err, again;
    text_init(&file);
    text_init(&err);
    text_init(&again);
    text_appendf(&file, "user u %s\n", told->ptr);
    struct acl_users *users = acl_users_read(making, text_bytes(&file), "f", &err);
    check(users != NULL);
    struct acl_user *other = acl_user_ref(acl_users_find(users, BYTES("u")));
    describe(other, &again);
    check(bytes_equal(text_bytes(told), text_bytes(&again)));
    check(other->on == user->on && other->nopass == user->nopass &&
          other->restricted == user->restricted && other->digests_count == user->digests_count &&
          other->selectors_count == user->selectors_count);
    acl_users_unref(users);
    text_fini(&file);
    text_fini(&err);
    text_fini(&again);
    return other;
}

static void judge(const struct acl_making *making, const struct acl_user *user,
                  const struct acl_user *other, struct bytes call) {
    struct bytes argv[WORDS_MAX];
    uint32_t argc = 0;
    while (call.len > 0 && argc < WORDS_MAX) {
        argv[argc++] = cut(&call, 0);
    }
    const struct command_ref *ref = argc > 0 ? command_table_find(making->commands, argv[0]) : NULL;
    if (ref != NULL && ref->subcommands_count > 0 && argc > 1) {
        ref = command_ref_find_sub(ref, argv[1]);
    }
    if (ref == NULL) {
        return;
    }
    int arity = ref->row->arity;
    if (arity > 0 ? argc != (uint32_t)arity : argc < (uint32_t)-arity) {
        return;
    }
    uint32_t at = 0, other_at = 0;
    enum acl_verdict verdict = acl_check(user, ref, argv, argc, 0, &at);
    check(verdict == acl_check(other, ref, argv, argc, 0, &other_at));
    check(verdict == ACL_MAY || (at < argc && at == other_at));
    check(verdict == ACL_MAY || user->restricted);
    check(acl_may_read_all(user, ref, argv, argc) == acl_may_read_all(other, ref, argv, argc));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bytes call = bytes_make((const char *)data, size);
    struct bytes rules = cut(&call, 0);
    struct acl_making making = acl_making_new();
    struct acl_user *user = acl_user_new(&making, BYTES("u"));
    struct text told, err;
    text_init(&told);
    text_init(&err);
    apply(&making, user, rules);
    describe(user, &told);
    struct acl_user *other = made_again(&making, user, &told);
    judge(&making, user, other, call);
    struct acl_users *users = acl_users_read(&making, rules, "f", &err);
    check((users == NULL) == (err.len > 0));
    acl_users_unref(users);
    acl_user_unref(other);
    acl_user_unref(user);
    text_fini(&told);
    text_fini(&err);
    acl_making_free(&making);
    return 0;
}
