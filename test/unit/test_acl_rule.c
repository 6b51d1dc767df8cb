/* SPDX-License-Identifier: BSD-3-Clause */
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

TestSuite(acl_rule, .init = setup, .fini = teardown);

#define NO_COMMANDS "off resetchannels -@all"

static void expect(const char *rules, enum acl_wrong wrong, const char *described) {
    struct text text;
    text_init(&text);
    cr_expect_eq(acl_apply(&making, user, bytes_of_text(rules)), wrong, "%s", rules);
    acl_user_describe(user, &text);
    size_t same = 0;
    while (text.ptr[same] != 0 && text.ptr[same] == described[same]) {
        same++;
    }
    cr_expect_str_eq(text.ptr, described, "%.200s: %.200s, not %.200s", rules, text.ptr + same,
                     described + same);
    text_fini(&text);
}

Test(acl_rule, a_new_user_is_off_and_may_do_nothing) {
    expect("", ACL_RIGHT, NO_COMMANDS);
    cr_assert(user->restricted && !user->on && !user->nopass);
}

Test(acl_rule, words_are_taken_in_any_case) {
    expect("ON\nNoPass\n+GET\n%rW~a\nDB=3,1", ACL_RIGHT,
           "on nopass ~a resetchannels db=1,3 -@all +get");
}

Test(acl_rule, who_may_do_everything_is_not_restricted) {
    expect("allkeys\nallchannels\nallcommands\nalldbs", ACL_RIGHT, "off ~* &* +@all");
    cr_assert(!user->restricted);
    cr_assert_eq(acl_apply(&making, user, BYTES("-get")), ACL_RIGHT);
    cr_assert(user->restricted);
}

Test(acl_rule, a_command_is_told_once_and_takes_its_subcommands_along) {
    expect("+config|get\n+get\n-config\n+get", ACL_RIGHT, "off resetchannels -@all -config +get");
    expect("+@all\n-config\n+config|set", ACL_RIGHT, "off resetchannels +@all -config +config|set");
    expect("-@all", ACL_RIGHT, NO_COMMANDS);
}

Test(acl_rule, a_wrong_rule_leaves_no_trace) {
    static const struct {
        const char *rule;
        enum acl_wrong wrong;
    } rules[] = {
        {"nonsense", ACL_WRONG_SYNTAX},
        {"+", ACL_WRONG_UNKNOWN},
        {"-", ACL_WRONG_UNKNOWN},
        {"+@", ACL_WRONG_UNKNOWN},
        {"+nope", ACL_WRONG_UNKNOWN},
        {"-get|x", ACL_WRONG_UNKNOWN},
        {"+get|", ACL_WRONG_SYNTAX},
        {"+config|get|x", ACL_WRONG_SUBCOMMAND_FIRST},
        {"+config|nope", ACL_WRONG_UNKNOWN},
        {"%", ACL_WRONG_SYNTAX},
        {"%~a", ACL_WRONG_SYNTAX},
        {"%RR~a", ACL_WRONG_SYNTAX},
        {"%X~a", ACL_WRONG_SYNTAX},
        {"~a b", ACL_WRONG_SYNTAX},
        {"&a b", ACL_WRONG_SYNTAX},
        {"#12", ACL_WRONG_DIGEST},
        {"<never", ACL_WRONG_NO_PASSWORD},
        {"db=", ACL_WRONG_SYNTAX},
        {"db=1,", ACL_WRONG_SYNTAX},
        {"db=-1", ACL_WRONG_DB},
        {"db=99999999999999999999", ACL_WRONG_DB},
        {"(+get nope)", ACL_WRONG_SYNTAX},
        {"(+get (~a))", ACL_WRONG_SYNTAX},
        {"(on)", ACL_WRONG_SYNTAX},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        expect(rules[i].rule, rules[i].wrong, NO_COMMANDS);
    }
}

Test(acl_rule, nothing_is_added_behind_all) {
    expect("~*\n~a", ACL_WRONG_KEY_AFTER_ALL, "off ~* resetchannels -@all");
    expect("&*\n&a", ACL_WRONG_CHANNEL_AFTER_ALL, "off ~* &* -@all");
    expect("resetkeys\n~a\nresetchannels\n&b", ACL_RIGHT, "off ~a resetchannels &b -@all");
}

Test(acl_rule, ways_to_one_pattern_of_keys_are_put_together) {
    expect("%R~a\n%W~a\n%W~b", ACL_RIGHT, "off ~a %W~b resetchannels -@all");
}

Test(acl_rule, passwords_come_and_go_by_word_and_by_digest) {
    /* sha256 of "x" */
#define DIGEST "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    expect(">x", ACL_RIGHT, "off #" DIGEST " resetchannels -@all");
    expect("#" DIGEST, ACL_RIGHT, "off #" DIGEST " resetchannels -@all");
    cr_assert(!acl_user_admits(user, BYTES("x"))); /* it is off */
    expect("on", ACL_RIGHT, "on #" DIGEST " resetchannels -@all");
    cr_assert(acl_user_admits(user, BYTES("x")));
    cr_assert(!acl_user_admits(user, BYTES("y")));
    expect("!" DIGEST, ACL_RIGHT, "on resetchannels -@all");
    cr_assert(!acl_user_admits(user, BYTES("x")));
    expect("nopass", ACL_RIGHT, "on nopass resetchannels -@all");
    cr_assert(acl_user_admits(user, BYTES("anything")));
    expect(">x", ACL_RIGHT, "on #" DIGEST " resetchannels -@all");
    expect("resetpass\noff", ACL_RIGHT, NO_COMMANDS);
}

Test(acl_rule, selectors_have_rules_of_their_own) {
    expect("(+get %R~a)\n(+set ~b)", ACL_RIGHT,
           NO_COMMANDS " (%R~a resetchannels -@all +get) (~b resetchannels -@all +set)");
    expect("clearselectors", ACL_RIGHT, NO_COMMANDS);
    expect("(+get)\nreset", ACL_RIGHT, NO_COMMANDS);
}

Test(acl_rule, a_selector_in_pieces_is_put_together) {
    struct bytes *rules, bad;
    const struct bytes words[] = {BYTES("on"), BYTES("(+get"), BYTES("~a"), BYTES(")"),
                                  BYTES("+x")};
    cr_assert_eq(acl_merge_rules(words, 5, &rules, &bad), 3);
    cr_expect(bytes_equal(rules[0], BYTES("on")));
    cr_expect(bytes_equal(rules[1], BYTES("(+get ~a )")));
    cr_expect(bytes_equal(rules[2], BYTES("+x")));
    free(rules);
    cr_assert_eq(acl_merge_rules(words, 3, &rules, &bad), -1);
    cr_expect(bytes_equal(bad, BYTES("(+get")));
}

Test(acl_rule, a_copy_follows_nobody) {
    cr_assert_eq(acl_apply(&making, user, BYTES("+get|x\n(+set ~b)\n>pw")), ACL_RIGHT);
    struct acl_user *copy = acl_user_copy(&making, user);
    struct text before, after;
    text_init(&before);
    text_init(&after);
    acl_user_describe(copy, &before);
    cr_assert_eq(acl_apply(&making, user, BYTES("reset\nallkeys\n+@all")), ACL_RIGHT);
    acl_user_describe(copy, &after);
    cr_expect_str_eq(before.ptr, after.ptr);
    text_fini(&before);
    text_fini(&after);
    acl_user_unref(copy);
}

Test(acl_rule, a_file_of_users_is_read_as_it_was_written) {
    struct text err, first, second;
    text_init(&err);
    text_init(&first);
    text_init(&second);
    struct bytes content = BYTES("\n  user b on >x ~a %R~b &c +get (+set ~d db=2)\r\n"
                                 "user default off -@all\nuser a nopass +@read -get\n");
    struct acl_users *users = acl_users_read(&making, content, "f", &err);
    cr_assert(users != NULL, "%s", err.ptr);
    acl_users_describe(users, &first);
    struct acl_users *again = acl_users_read(&making, text_bytes(&first), "f", &err);
    cr_assert(again != NULL, "%s", err.ptr);
    acl_users_describe(again, &second);
    cr_expect_str_eq(first.ptr, second.ptr);
    cr_expect_eq(users->count, 3);
    cr_expect(!acl_users_open(users));
    acl_users_unref(users);
    acl_users_unref(again);
    text_fini(&err);
    text_fini(&first);
    text_fini(&second);
}

Test(acl_rule, a_file_with_a_fault_tells_its_line_and_counts_for_nothing) {
    static const char *const files[] = {
        "user a +nope\n", "user a (+get\n", "users a\n", "user\n", "user a on\nuser a off\n",
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct text err;
        text_init(&err);
        cr_expect(acl_users_read(&making, bytes_of_text(files[i]), "f", &err) == NULL);
        cr_expect(err.len > 0, "%s", files[i]);
        text_fini(&err);
    }
}

static void append_rules(struct text *rules, const char *format, unsigned from, unsigned to) {
    for (unsigned i = from; i < to; i++) {
        text_appendf(rules, format, i);
    }
}

/* Tables of a draft that grow several times, with what is taken back in between. */
Test(acl_rule, of_many_each_is_there_once_and_where_it_was_said) {
    struct text rules, told;
    text_init(&rules);
    text_init(&told);
    for (int twice = 0; twice < 2; twice++) {
        append_rules(&rules, "~k%u\n", 0, 1000);
        append_rules(&rules, "&c%u\n", 0, 1000);
        append_rules(&rules, "+select|%u\n", 0, 1000);
    }
    append_rules(&rules, "+get|%u\n", 0, 1000);
    text_append_text(&rules, "-get\n+client|list\n+SELECT|7");
    text_append_text(&told, "off ");
    append_rules(&told, "~k%u ", 0, 1000);
    text_append_text(&told, "resetchannels ");
    append_rules(&told, "&c%u ", 0, 1000);
    text_append_text(&told, "-@all");
    append_rules(&told, " +select|%u", 0, 7);
    append_rules(&told, " +select|%u", 8, 1000);
    text_append_text(&told, " -get +client|list +select|7");
    expect(rules.ptr, ACL_RIGHT, told.ptr);
    expect("resetkeys\nresetchannels\n-select", ACL_RIGHT,
           "off resetchannels -@all -get +client|list -select");
    text_fini(&rules);
    text_fini(&told);
}

static enum acl_wrong apply_together(struct bytes *rules, uint32_t count) {
    struct bytes bad;
    return acl_user_rules(&making, user, rules, count, &bad);
}

/* In one call, where what is gone still lies between the others. */
Test(acl_rule, what_is_taken_back_in_the_same_call_is_gone) {
    struct bytes rules[] = {
        BYTES(">a"),     BYTES(">b"),     BYTES("<a"),     BYTES(">c"),     BYTES(">a"),
        BYTES("<b"),     BYTES("+get|x"), BYTES("+get|y"), BYTES("-get"),   BYTES("~k"),
        BYTES("%R~k"),   BYTES("+get|y"), BYTES("+get|y"), BYTES("+set|a"), BYTES("-set"),
        BYTES("+@read"), BYTES("+@read"),
    };
    struct text text, want;
    text_init(&text);
    text_init(&want);
    cr_assert_eq(apply_together(rules, sizeof rules / sizeof *rules), ACL_RIGHT);
    cr_assert_eq(user->digests_count, 2);
    text_append_text(&want, "off #");
    acl_user_describe_digest(user, 0, &want);
    text_append_text(&want, " #");
    acl_user_describe_digest(user, 1, &want);
    text_append_text(&want, " ~k resetchannels -@all -get +get|y -set +@read");
    acl_user_describe(user, &text);
    cr_assert_str_eq(text.ptr, want.ptr);
    user->on = true;
    cr_assert(acl_user_admits(user, BYTES("a")) && acl_user_admits(user, BYTES("c")));
    cr_assert(!acl_user_admits(user, BYTES("b")));
    struct bytes wrong[] = {BYTES("<a"), BYTES("<a")};
    cr_assert_eq(apply_together(wrong, 2), ACL_WRONG_NO_PASSWORD);
    cr_assert_eq(user->digests_count, 1);
    struct bytes cleared[] = {BYTES(">d"), BYTES("resetpass"), BYTES(">c"), BYTES(">c")};
    cr_assert_eq(apply_together(cleared, 4), ACL_RIGHT);
    cr_assert_eq(user->digests_count, 1);
    text_fini(&text);
    text_fini(&want);
}

Test(acl_rule, databases_are_told_in_order_each_once) {
    expect("db=9,3,9,1,3,2147483647,0", ACL_RIGHT, "off resetchannels db=0,1,3,9,2147483647 -@all");
}

/* With what a draft looked through for each rule it took minutes. */
Test(acl_rule, two_hundred_thousand_rules_are_taken_in_seconds, .timeout = 60) {
    static const char *const formats[] = {"~k%u\n",       "&c%u\n", ">p%u\n",
                                          "+select|%u\n", "<p%u\n", "+get|%u\n"};
    struct text rules;
    text_init(&rules);
    for (unsigned f = 0; f < sizeof formats / sizeof *formats; f++) {
        append_rules(&rules, formats[f], 0, 200000);
    }
    uint32_t count = 0;
    struct bytes *list = malloc(6 * 200000 * sizeof *list);
    for (const char *at = rules.ptr; *at != 0; count++) {
        const char *end = strchr(at, '\n');
        list[count] = bytes_make(at, (size_t)(end - at));
        at = end + 1;
    }
    cr_assert_eq(apply_together(list, count), ACL_RIGHT);
    cr_assert_eq(user->digests_count, 0);
    free(list);
    text_fini(&rules);
}
