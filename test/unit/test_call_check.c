/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/call/check.h"
#include "server/client/client.h"
#include "test/unit/call.h"

static struct call_env *env;
static struct client client;

static void setup(void) {
    env = call_new();
    client = (struct client){.worker = &env->worker};
}

static void teardown(void) {
    call_free(env);
}

TestSuite(call_check, .init = setup, .fini = teardown);

static const struct command_ref *ref_of(const char *name) {
    return command_table_find(env->table, bytes_of_text(name));
}

/* In Valkey's order: who is not logged in does not learn which commands there are. */
Test(call_check, the_first_reason_counts) {
    const struct command_ref *get = ref_of("get"), *watch = ref_of("watch");
    cr_expect_eq(check_home(&client, get, true, true, false), REFUSE_NOT);
    cr_expect_eq(check_home(&client, NULL, true, false, false), REFUSE_UNKNOWN);
    cr_expect_eq(check_home(&client, NULL, false, false, false), REFUSE_AUTH);
    cr_expect_eq(check_home(&client, get, false, false, false), REFUSE_AUTH);
    cr_expect_eq(check_home(&client, get, true, false, false), REFUSE_ARITY);
    cr_expect_eq(check_home(&client, watch, true, true, false), REFUSE_NOT);
    cr_expect_eq(check_home(&client, watch, true, true, true), REFUSE_NO_MULTI);
    cr_expect_eq(check_home(&client, watch, true, false, true), REFUSE_ARITY);
}

Test(call_check, some_commands_need_no_login) {
    cr_expect_eq(check_home(&client, ref_of("auth"), false, true, false), REFUSE_NOT);
    cr_expect_eq(check_home(&client, ref_of("hello"), false, true, false), REFUSE_NOT);
    cr_expect_eq(check_home(&client, ref_of("auth"), false, false, false), REFUSE_ARITY);
}

Test(call_check, debugging_is_for_whom_the_configuration_names) {
    const struct command_ref *debug = ref_of("debug");
    env->config->enable_debug_command = CONFIG_PROTECTED_NO;
    client.flags = CLIENT_LOCAL;
    cr_expect_eq(check_home(&client, debug, true, true, false), REFUSE_PROTECTED);
    env->config->enable_debug_command = CONFIG_PROTECTED_LOCAL;
    cr_expect_eq(check_home(&client, debug, true, true, false), REFUSE_NOT);
    client.flags = 0;
    cr_expect_eq(check_home(&client, debug, true, true, false), REFUSE_PROTECTED);
    env->config->enable_debug_command = CONFIG_PROTECTED_YES;
    cr_expect_eq(check_home(&client, debug, true, true, false), REFUSE_NOT);
}

Test(call_check, the_owner_has_something_against_commands_on_its_keys_alone) {
    cr_expect_eq(check_owner(&env->worker, ref_of("set")), NULL);
    check_owner_refuses(&env->worker, "OOM no");
    cr_expect_str_eq(check_owner(&env->worker, ref_of("set")), "OOM no");
    cr_expect_eq(check_owner(&env->worker, ref_of("debug")), NULL);
    cr_expect_eq(check_owner(&env->worker, ref_of("ping")), NULL);
    check_owner_refuses(&env->worker, NULL);
    cr_expect_eq(check_owner(&env->worker, ref_of("set")), NULL);
}
