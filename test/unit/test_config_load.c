/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/unit/config_helper.h"

#define ARGS_MAX 16

static struct memory_fs *memory;
static struct config *config;
static struct text err;

static void start(void) {
    memory = memory_fs_new();
    config = config_defaults();
    text_init(&err);
}

static void stop(void) {
    text_fini(&err);
    config_free(config);
    memory_fs_free(memory);
}

TestSuite(config_load, .init = start, .fini = stop);

static int load(const char *const *args, int count) {
    char *argv[ARGS_MAX + 2] = {(char *)"shoal-server"};
    for (int i = 0; i < count; i++) {
        argv[i + 1] = (char *)args[i];
    }
    return config_load(config, &memory->fs, count + 1, argv, &err);
}

#define LOAD(...)                                                                                  \
    ({                                                                                             \
        const char *const args_[] = {__VA_ARGS__};                                                 \
        load(args_, (int)(sizeof(args_) / sizeof(args_[0])));                                      \
    })

#define LOADED(...) cr_assert_eq(LOAD(__VA_ARGS__), 0, "%s", err.ptr)

/* The file c.conf with this text must load. */
static void must_load(const char *content) {
    memory_fs_put(memory, "c.conf", content);
    LOADED("c.conf");
}

/* The file c.conf with this text must be refused at a line, for a reason. */
static void must_fail(const char *content, int number, const char *line, const char *reason) {
    struct text expected;
    config_free(config);
    config = config_defaults();
    memory_fs_put(memory, "c.conf", content);
    cr_assert_eq(LOAD("c.conf"), -1, "%s", content);
    text_init(&expected);
    text_appendf(&expected,
                 "\n*** FATAL CONFIG FILE ERROR (Version 9.1.2) ***\nReading the configuration "
                 "file, at line %d\n>>> "
                 "'%s'\n%s\n",
                 number, line, reason);
    cr_assert_str_eq(err.ptr, expected.ptr);
    text_fini(&expected);
}

Test(config_load, blank_lines_comments_quotes_and_case) {
    must_load("# c\n\n  # d\n\t TIMEOUT  \"\\x35\" \r\nhz '20'");
    cr_assert_eq(config->timeout, 5);
    cr_assert_eq(config->hz, 20);
    cr_assert_str_eq(config->config_file.ptr, "/start/c.conf");
}

Test(config_load, errors_name_line_text_and_reason) {
    must_fail("\n\ntimeout abc\n", 3, "timeout abc", "argument couldn't be parsed into an integer");
    must_fail("  timeout 1 2  \n", 1, "timeout 1 2", "wrong number of arguments");
    must_fail("nope 1\n", 1, "nope 1", "Bad directive or wrong number of arguments");
    must_fail("timeout \"5\n", 1, "timeout \"5", "Unbalanced quotes in configuration line");
    must_fail("timeout 5 # c\n", 1, "timeout 5 # c", "wrong number of arguments");
    must_fail("unixsocketperm 1000\n", 1, "unixsocketperm 1000",
              "argument must be between 0 and 777 inclusive");
    must_fail("unixsocketperm 9\n", 1, "unixsocketperm 9",
              "argument couldn't be parsed as an octal number");
    must_fail("dbfilename a/b\n", 1, "dbfilename a/b",
              "dbfilename can't be a path, just a filename");
    must_fail("appenddirname \"\"\n", 1, "appenddirname \"\"", "appenddirname can't be empty");
    must_fail("dir /missing\n", 1, "dir /missing", "No such file or directory");
    must_fail("logfile /missing/log\n", 1, "logfile /missing/log",
              "Can't open the log file: No such file or directory");
    must_fail("replicaof a 99999\n", 1, "replicaof a 99999", "Invalid primary port");
    must_fail("sentinel monitor a b 1 2\n", 1, "sentinel monitor a b 1 2",
              "sentinel directive while not in sentinel mode");
}

Test(config_load, what_nothing_can_take_back_is_refused_at_its_line) {
    must_fail("loadmodule /x.so\n", 1, "loadmodule /x.so", "modules are not there yet in Shoal");
}

Test(config_load, lines_of_users_are_kept_in_order) {
    must_load("user default on nopass ~* &* +@all\nuser alice on (~x +get)\n");
    cr_assert_eq(config_words_count(config->users), 2);
    const char *first = config_word(config->users, NULL);
    cr_assert_str_eq(first, "default on nopass ~* &* +@all");
    cr_assert_str_eq(config_word(config->users, first), "alice on (~x +get)");
    must_fail("user a on\nuser a off\n", 2, "user a off",
              "Error in user declaration 'a': Duplicate user found. A user can only be defined "
              "once in config files");
    must_fail("user a (~x\n", 1, "user a (~x", "Error in user declaration 'a': Wrong format");
}

Test(config_load, names_of_the_past_are_passed_over) {
    must_load("list-max-ziplist-entries 5\nlist-max-ziplist-value 5\nlua-replicate-commands yes\n"
              "io-threads-do-reads yes\ndynamic-hz yes\nevents-per-io-thread "
              "2\nsanitize-dump-payload no\n");
    must_fail("dynamic-hz\n", 1, "dynamic-hz", "Bad directive or wrong number of arguments");
}

Test(config_load, the_last_line_wins_but_some_add_up) {
    must_load("timeout 1\ntimeout 2\nsave 1 1\nsave \"2 2 3 3\"\n"
              "client-output-buffer-limit normal 1 2 3\nclient-output-buffer-limit slave 4 5 6\n");
    cr_assert_eq(config->timeout, 2);
    expect_get(config, "save", "save=1 1 2 2 3 3");
    expect_get(config, "client-output-buffer-limit",
               "client-output-buffer-limit=normal 1 2 3 slave 4 5 6 pubsub 33554432 8388608 60");
}

Test(config_load, an_empty_save_forgets_what_was_before) {
    must_load("save 5 5\nsave \"\"\nsave 6 6\n");
    expect_get(config, "save", "save=6 6");
}

Test(config_load, renames_are_kept_in_order) {
    must_load("rename-command GET \"\"\nrename-command foo bar\n");
    const char *word = config_word(config->renames, NULL);
    cr_assert_str_eq(word, "GET");
    word = config_word(config->renames, word);
    cr_assert_str_eq(word, "");
    word = config_word(config->renames, word);
    cr_assert_str_eq(word, "foo");
    word = config_word(config->renames, word);
    cr_assert_str_eq(word, "bar");
    cr_assert_null(config_word(config->renames, word));
    cr_assert_eq(config_words_count(config->renames), 4);
}

Test(config_load, what_follows_dir_is_relative_to_it) {
    memory_fs_put(memory, "/data/more.conf", "timeout 3\n");
    must_load("dir /data\ninclude more.conf\n");
    cr_assert_eq(config->timeout, 3);
    cr_assert_str_eq(config->dir.ptr, "/data");
    cr_assert_str_eq(config->config_file.ptr, "/start/c.conf");
}

Test(config_load, without_dir_it_is_where_the_server_was_started) {
    LOADED("--port", "7000");
    cr_assert_str_eq(config->dir.ptr, "/start");
    cr_assert_eq(config->config_file.len, 0);
}

Test(config_load, includes_take_effect_at_their_place) {
    memory_fs_put(memory, "/inc/1.conf", "timeout 1\nhz 30");
    memory_fs_put(memory, "/inc/2.conf", "timeout 2\n");
    must_load("hz 20\ninclude /inc/?.conf\ninclude /none/*.conf\n");
    cr_assert_eq(config->timeout, 2);
    cr_assert_eq(config->hz, 30);
}

Test(config_load, a_wrong_line_of_an_included_file_names_that_file) {
    memory_fs_put(memory, "/inc/1.conf", "\ntimeout x\n");
    memory_fs_put(memory, "c.conf", "include /inc/1.conf\n");
    cr_assert_eq(LOAD("c.conf"), -1);
    cr_assert_not_null(strstr(err.ptr, "at line 2 of '/inc/1.conf'\n>>> 'timeout x'\n"), "%s",
                       err.ptr);
}

Test(config_load, missing_files_and_circles_end) {
    cr_assert_eq(LOAD("nope.conf"), -1);
    cr_assert_str_eq(
        err.ptr,
        "Fatal error, can't open config file '/start/nope.conf': No such file or directory\n");
    memory_fs_put(memory, "c.conf", "include c.conf\n");
    cr_assert_eq(LOAD("c.conf"), -1);
    cr_assert_str_eq(
        err.ptr,
        "Fatal error, can't open config file 'c.conf': too many files include each other\n");
}

Test(config_load, options_come_after_the_file) {
    memory_fs_put(memory, "c.conf", "timeout 9\nsave 5 5\n");
    LOADED("c.conf", "--timeout", "5", "--bind", "127.0.0.1", "-::1", "--save", "7", "7");
    cr_assert_eq(config->timeout, 5);
    expect_get(config, "bind", "bind=127.0.0.1 -::1");
    expect_get(config, "save", "save=5 5 7 7");
}

Test(config_load, option_and_value_may_be_one_argument) {
    LOADED("--timeout 5", "--save 1 1 2 2", "--bind", "127.0.0.1 ::1");
    cr_assert_eq(config->timeout, 5);
    expect_get(config, "save", "save=1 1 2 2");
    expect_get(config, "bind", "bind=127.0.0.1 ::1");
}

Test(config_load, save_alone_turns_snapshots_off) {
    LOADED("--save", "--timeout", "5");
    expect_get(config, "save", "save=");
    cr_assert_eq(config->timeout, 5);
    LOADED("--save");
    LOADED("--save", "");
    LOADED("--save", "\"\"");
    expect_get(config, "save", "save=");
}

Test(config_load, a_value_may_look_like_an_option) {
    LOADED("--requirepass", "--abc", "--primaryauth", "a \"b\"\n");
    cr_assert_str_eq(config->requirepass.ptr, "--abc");
    cr_assert_str_eq(config->primaryauth.ptr, "a \"b\"\n");
}

Test(config_load, wrong_options_are_shown_as_lines) {
    cr_assert_eq(LOAD("--timeout", "--hz", "20"), -1);
    cr_assert_not_null(
        strstr(err.ptr, "at line 2\n>>> 'timeout \"--hz\" \"20\"'\nwrong number of arguments\n"),
        "%s", err.ptr);
    cr_assert_eq(LOAD("--port", "1", "--timeout=5"), -1);
    cr_assert_not_null(strstr(err.ptr, "at line 3\n>>> 'timeout=5'\nBad directive"), "%s", err.ptr);
}

Test(config_load, standard_input_is_a_file_between_file_and_options) {
    memory_fs_put(memory, "/start-", "");
    memory_fs_put(memory, "c.conf", "timeout 1\nhz 20\n");
    text_append_text(memory_fs_file(memory, "-", true), "timeout 7\nport 1\n");
    LOADED("c.conf", "--port", "7000", "-");
    cr_assert_eq(config->timeout, 7);
    cr_assert_eq(config->port, 7000);
    cr_assert_eq(config->hz, 20);
    LOADED("-", "--port", "7001");
    cr_assert_eq(config->port, 7001);
}

Test(config_load, a_dash_elsewhere_is_no_standard_input) {
    memory_fs_put(memory, "c.conf", "timeout 1\n");
    cr_assert_eq(LOAD("c.conf", "-", "--port", "1"), -1);
    cr_assert_not_null(strstr(err.ptr, ">>> '\"-\"'\nBad directive"), "%s", err.ptr);
}
