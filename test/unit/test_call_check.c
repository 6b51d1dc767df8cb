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
    cr_expect_eq(check_home(&client, get, 0, true, false, NULL), REFUSE_NOT);
    cr_expect_eq(check_home(&client, NULL, 0, false, false, NULL), REFUSE_UNKNOWN);
    cr_expect_eq(check_home(&client, NULL, HINDERED_LOGIN, false, false, NULL), REFUSE_AUTH);
    cr_expect_eq(check_home(&client, get, HINDERED_LOGIN, false, false, NULL), REFUSE_AUTH);
    cr_expect_eq(check_home(&client, get, 0, false, false, NULL), REFUSE_ARITY);
    cr_expect_eq(check_home(&client, watch, 0, true, false, NULL), REFUSE_NOT);
    cr_expect_eq(check_home(&client, watch, 0, true, true, NULL), REFUSE_NO_MULTI);
    cr_expect_eq(check_home(&client, watch, 0, false, true, NULL), REFUSE_ARITY);
}

Test(call_check, some_commands_need_no_login) {
    cr_expect_eq(check_home(&client, ref_of("auth"), HINDERED_LOGIN, true, false, NULL),
                 REFUSE_NOT);
    cr_expect_eq(check_home(&client, ref_of("hello"), HINDERED_LOGIN, true, false, NULL),
                 REFUSE_NOT);
    cr_expect_eq(check_home(&client, ref_of("auth"), HINDERED_LOGIN, false, false, NULL),
                 REFUSE_ARITY);
}

Test(call_check, the_data_is_being_loaded) {
    const struct command_ref *get = ref_of("get");
    cr_expect_eq(check_home(&client, get, HINDERED_LOADING, true, false, NULL), REFUSE_LOADING);
    cr_expect_eq(check_home(&client, get, HINDERED_LOADING, true, true, NULL), REFUSE_LOADING);
    cr_expect_eq(check_home(&client, ref_of("watch"), HINDERED_LOADING, true, false, NULL),
                 REFUSE_NOT);
    cr_expect_eq(check_home(&client, get, HINDERED_LOADING, false, false, NULL), REFUSE_ARITY);
    cr_expect_eq(check_home(&client, get, HINDERED_LOADING | HINDERED_LOGIN, true, false, NULL),
                 REFUSE_AUTH);
}

Test(call_check, debugging_is_for_whom_the_configuration_names) {
    const struct command_ref *debug = ref_of("debug");
    env->config->enable_debug_command = CONFIG_PROTECTED_NO;
    client.flags = CLIENT_LOCAL;
    cr_expect_eq(check_home(&client, debug, 0, true, false, NULL), REFUSE_PROTECTED);
    env->config->enable_debug_command = CONFIG_PROTECTED_LOCAL;
    cr_expect_eq(check_home(&client, debug, 0, true, false, NULL), REFUSE_NOT);
    client.flags = 0;
    cr_expect_eq(check_home(&client, debug, 0, true, false, NULL), REFUSE_PROTECTED);
    env->config->enable_debug_command = CONFIG_PROTECTED_YES;
    cr_expect_eq(check_home(&client, debug, 0, true, false, NULL), REFUSE_NOT);
}

Test(call_check, what_writes_waits_for_a_save_that_works) {
    cr_expect_eq(check_home(&client, ref_of("set"), HINDERED_DISK, true, false, NULL), REFUSE_DISK);
    cr_expect_eq(check_home(&client, ref_of("ping"), HINDERED_DISK, true, false, NULL),
                 REFUSE_DISK);
    cr_expect_eq(check_home(&client, ref_of("set"), HINDERED_DISK, false, false, NULL),
                 REFUSE_ARITY);
    cr_expect_eq(check_home(&client, ref_of("get"), HINDERED_DISK, true, false, NULL), REFUSE_NOT);
    struct config_save point = {900, 1};
    env->config->save = (struct config_saves){&point, 1};
    env->config->stop_writes_on_bgsave_error = true;
    check_configure(&env->worker);
    cr_expect(!env->worker.hindered_by_disk);
    env->worker.saves_fail = true;
    check_configure(&env->worker);
    cr_expect(env->worker.hindered_by_disk);
    env->config->stop_writes_on_bgsave_error = false;
    check_configure(&env->worker);
    cr_expect(!env->worker.hindered_by_disk);
    env->config->stop_writes_on_bgsave_error = true;
    env->config->save = (struct config_saves){0};
    check_configure(&env->worker);
    cr_expect(!env->worker.hindered_by_disk);
}

Test(call_check, the_owner_has_something_against_commands_on_its_keys_alone) {
    cr_expect_eq(check_owner(&env->worker, ref_of("set"), 0), NULL);
    check_owner_refuses(&env->worker, "OOM no", false);
    cr_expect_str_eq(check_owner(&env->worker, ref_of("set"), 0), "OOM no");
    cr_expect_eq(check_owner(&env->worker, ref_of("debug"), 0), NULL);
    cr_expect_eq(check_owner(&env->worker, ref_of("ping"), 0), NULL);
    check_owner_refuses(&env->worker, NULL, false);
    cr_expect_eq(check_owner(&env->worker, ref_of("set"), 0), NULL);
}
