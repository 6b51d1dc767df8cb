/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/words.h"
#include "test/unit/acl.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct acl_making making;
static struct acl_user *user;

static void setup(void) {
    making = acl_making_new();
    user = acl_user_new(&making, BYTES("u"));
}

static void teardown(void) {
    acl_user_unref(user);
    acl_making_free(&making);
}

TestSuite(acl_check, .init = setup, .fini = teardown);

static void rules(const char *text) {
    cr_assert_eq(acl_apply(&making, user, bytes_of_text(text)), ACL_RIGHT, "%s", text);
}

/* Where it was stopped is `at`; -1: it does not matter. */
static void judge(const char *call, uint32_t db, enum acl_verdict want, int at) {
    struct bytes *argv;
    int argc = words_split(bytes_of_text(call), &argv);
    cr_assert(argc > 0);
    const struct command_ref *ref = command_table_find(making.commands, argv[0]);
    cr_assert(ref != NULL, "%s", call);
    if (ref->subcommands_count > 0) {
        ref = command_ref_find_sub(ref, argv[1]);
    }
    uint32_t stopped = 99;
    cr_expect_eq(acl_check(user, ref, argv, (uint32_t)argc, db, &stopped), want, "%s", call);
    cr_expect(at < 0 || stopped == (uint32_t)at, "%s: %u", call, stopped);
    free(argv);
}

Test(acl_check, nobody_may_do_everything) {
    struct bytes argv[] = {BYTES("get"), BYTES("k")};
    cr_assert_eq(acl_check(NULL, command_table_find(making.commands, argv[0]), argv, 2, 0, NULL),
                 ACL_MAY);
}

Test(acl_check, commands_and_first_arguments) {
    rules("~*\nalldbs\n+get\n+config|get\n+select|0");
    judge("get a", 0, ACL_MAY, -1);
    judge("set a b", 0, ACL_NOT_COMMAND, 0);
    judge("config get x", 0, ACL_MAY, -1);
    judge("config set x y", 0, ACL_NOT_COMMAND, 0);
    judge("select 0", 0, ACL_MAY, -1);
    judge("select 1", 0, ACL_NOT_COMMAND, 0);
    rules("-select");
    judge("select 0", 0, ACL_NOT_COMMAND, 0);
}

Test(acl_check, keys_by_what_is_done_with_them) {
    rules("alldbs\n+@all\n%R~r*\n%W~w*\n~b*");
    judge("get r1", 0, ACL_MAY, -1);
    judge("set r1 x", 0, ACL_NOT_KEY, 1);
    judge("set w1 x", 0, ACL_MAY, -1);
    judge("get w1", 0, ACL_NOT_KEY, 1);
    judge("set w1 x get", 0, ACL_NOT_KEY, 1);
    judge("set b1 x get", 0, ACL_MAY, -1);
    judge("copy r1 w1", 0, ACL_MAY, -1);
    judge("copy w1 r1", 0, ACL_NOT_KEY, 1);
    judge("copy r1 r2", 0, ACL_NOT_KEY, 2);
    judge("mget r1 b1 x1 r2", 0, ACL_NOT_KEY, 3);
    judge("exists x", 0, ACL_NOT_KEY, 1);
}

Test(acl_check, channels_and_patterns_of_them) {
    rules("alldbs\n+@all\n&news.*\n&one");
    judge("publish news.a x", 0, ACL_MAY, -1);
    judge("publish other x", 0, ACL_NOT_CHANNEL, 1);
    judge("subscribe news.a one two", 0, ACL_NOT_CHANNEL, 3);
    judge("psubscribe news.*", 0, ACL_MAY, -1);
    judge("psubscribe news.a*", 0, ACL_NOT_CHANNEL, 1); /* a pattern must be named as it is */
    cr_expect(acl_user_may_hear(user, BYTES("one"), false));
    cr_expect(!acl_user_may_hear(user, BYTES("on*"), true));
}

Test(acl_check, databases) {
    rules("~*\n+@all\ndb=0,2");
    judge("get a", 0, ACL_MAY, -1);
    judge("get a", 1, ACL_NOT_DB, -1);
    judge("get a", 2, ACL_MAY, -1);
    judge("select 1", 0, ACL_NOT_DB, 1);
    judge("select 2", 0, ACL_MAY, -1);
    judge("ping", 1, ACL_MAY, -1);
}

Test(acl_check, one_selector_must_allow_it_all) {
    rules("alldbs\n+get\n~a*\n(+set ~b*)");
    judge("get a1", 0, ACL_MAY, -1);
    judge("set b1 x", 0, ACL_MAY, -1);
    judge("get b1", 0, ACL_NOT_KEY, 1);
    judge("set a1 x", 0, ACL_NOT_KEY, 1);
    judge("del a1", 0, ACL_NOT_COMMAND, 0);
    rules("clearselectors");
    judge("set b1 x", 0, ACL_NOT_COMMAND, 0);
}

Test(acl_check, any_key_is_read_by_whom_all_may_be_read) {
    struct bytes argv[] = {BYTES("sort"), BYTES("a"), BYTES("by"), BYTES("w_*")};
    const struct command_ref *sort = command_table_find(making.commands, argv[0]);
    rules("+@all\nalldbs\n~a");
    cr_expect(!acl_may_read_all(user, sort, argv, 4));
    rules("(+sort allkeys alldbs)");
    cr_expect(acl_may_read_all(user, sort, argv, 4));
    rules("clearselectors\n(+sort %R~* alldbs)");
    cr_expect(acl_may_read_all(user, sort, argv, 4) == acl_may_read_all(user, sort, argv, 4));
}

Test(acl_check, what_is_told_names_the_user_the_call_and_the_argument) {
    struct text text;
    text_init(&text);
    const struct command_ref *get = command_table_find(making.commands, BYTES("get"));
    acl_verdict_tell(ACL_NOT_COMMAND, user, get, &text);
    cr_expect(strstr(text.ptr, "'get'") != NULL, "%s", text.ptr);
    text_clear(&text);
    acl_verdict_explain(ACL_NOT_KEY, user, get, BYTES("secret"), &text);
    cr_expect(strstr(text.ptr, "'secret'") != NULL, "%s", text.ptr);
    text_fini(&text);
}
