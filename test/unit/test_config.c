/* SPDX-License-Identifier: BSD-3-Clause */
#include "test/unit/config_helper.h"

#include "server/config/config_row.h"

static struct memory_fs *memory;
static struct config *config;

static void start(void) {
    memory = memory_fs_new();
    config = config_defaults();
}

static void stop(void) {
    config_free(config);
    memory_fs_free(memory);
}

TestSuite(config, .init = start, .fini = stop);

/* CONFIG SET of `count` pairs must be refused with this error, and change nothing. */
static void expect_refusal(const char *const *words, size_t count, const char *expected) {
    struct bytes pairs[16];
    struct text err;
    struct config_setting setting = {.fs = &memory->fs};
    for (size_t i = 0; i < 2 * count; i++) {
        pairs[i] = bytes_of_text(words[i]);
    }
    text_init(&err);
    cr_assert_null(config_set(config, pairs, count, &setting, &err));
    cr_assert_str_eq(err.ptr, expected, "got \"%s\", not \"%s\"", err.ptr, expected);
    text_fini(&err);
}

#define REFUSED(expected, ...)                                                                     \
    do {                                                                                           \
        const char *const words_[] = {__VA_ARGS__};                                                \
        expect_refusal(words_, sizeof(words_) / sizeof(words_[0]) / 2, expected);                  \
    } while (0)

#define FAILED(name, reason)                                                                       \
    "ERR CONFIG SET failed (possibly related to argument '" name "') - " reason

static size_t count_matches(const char *pattern) {
    struct text got;
    struct bytes patterns[] = {bytes_of_text(pattern)};
    size_t lines = 0;
    text_init(&got);
    config_get(config, patterns, 1, config_helper_visit, &got);
    for (size_t i = 0; i < got.len; i++) {
        lines += got.ptr[i] == '|';
    }
    lines += got.len > 0;
    text_fini(&got);
    return lines;
}

Test(config, get_of_everything_has_the_names_of_valkey_and_no_more) {
    cr_assert_eq(count_matches("*"), 237);
}

Test(config, defaults_read_as_valkeys) {
    expect_get(config, "maxmemory-policy", "maxmemory-policy=noeviction");
    expect_get(config, "save", "save=3600 1 300 100 60 10000");
    expect_get(config, "bind", "bind=* -::*");
    expect_get(config, "client-output-buffer-limit",
               "client-output-buffer-limit=normal 0 0 0 slave 268435456 67108864 60 pubsub "
               "33554432 8388608 60");
    expect_get(config, "client-query-buffer-limit", "client-query-buffer-limit=1073741824");
    expect_get(config, "latency-tracking-info-percentiles",
               "latency-tracking-info-percentiles=50 99 99.9");
    expect_get(config, "unixsocketperm", "unixsocketperm=0");
    expect_get(config, "shutdown-on-sigterm", "shutdown-on-sigterm=default");
}

Test(config, a_default_is_printed_as_it_stands_in_the_table) {
    for (const struct config_row *row = config_rows; row->name != NULL; row++) {
        struct text text;
        text_init(&text);
        config_row_print(row, config, &text);
        cr_assert_str_eq(text.ptr, row->initial, "%s", row->name);
        text_fini(&text);
    }
}

Test(config, names_are_unique) {
    for (const struct config_row *row = config_rows; row->name != NULL; row++) {
        cr_assert_eq(config_row_find(bytes_of_text(row->name), NULL), row, "%s", row->name);
        cr_assert(row->alias == NULL || config_row_find(bytes_of_text(row->alias), NULL) == row,
                  "%s", row->name);
    }
}

Test(config, an_exact_name_comes_back_as_it_was_asked) {
    expect_get(config, "HZ", "HZ=10");
    expect_get(config, "h?", "hz=10");
    expect_get(config, "slowlog-max-len", "slowlog-max-len=128");
    expect_get(config, "no-such-name", "");
}

Test(config, hidden_names_need_to_be_named) {
    expect_get(config, "watchdog*", "");
    expect_get(config, "watchdog-period", "watchdog-period=0");
}

Test(config, own_names_are_found_but_not_among_everything) {
    expect_get(config, "shard*", "shard-cpulist=|shards=0");
    expect_get(config, "*hards", "");
    expect_get(config, "io-backend", "io-backend=auto");
}

Test(config, patterns_join_without_doubles_and_sorted) {
    struct text got;
    struct bytes patterns[] = {BYTES("timeout"), BYTES("h?"), BYTES("hz"), BYTES("port")};
    text_init(&got);
    config_get(config, patterns, 4, config_helper_visit, &got);
    cr_assert_str_eq(got.ptr, "hz=10|port=6379|timeout=0");
    text_fini(&got);
}

Test(config, a_set_gives_a_new_snapshot_and_leaves_the_old) {
    struct text err;
    struct config_setting setting = {.fs = &memory->fs};
    struct bytes pairs[] = {BYTES("timeout"), BYTES("5"), BYTES("REQUIREPASS"), BYTES("pw")};
    text_init(&err);
    struct config *next = config_set(config, pairs, 2, &setting, &err);
    cr_assert_not_null(next);
    cr_assert_eq(next->timeout, 5);
    cr_assert_str_eq(next->requirepass.ptr, "pw");
    cr_assert_eq(config->timeout, 0);
    cr_assert_eq(config->requirepass.len, 0);
    config_free(next);
    text_fini(&err);
}

Test(config, every_visible_value_can_be_set_to_itself) {
    for (const struct config_row *row = config_rows; row->name != NULL; row++) {
        if ((row->flags & (ROW_IMMUTABLE | ROW_PROTECTED)) == 0) {
            struct text value;
            text_init(&value);
            config_row_print(row, config, &value);
            config = must_set(config, memory, row->name, text_bytes(&value));
            text_fini(&value);
        }
    }
    expect_get(config, "save", "save=3600 1 300 100 60 10000");
}

Test(config, all_pairs_or_none) {
    REFUSED(FAILED("hz", "argument couldn't be parsed into an integer"), "timeout", "1", "hz", "b");
    cr_assert_eq(config->timeout, 0);
}

Test(config, the_first_wrong_name_is_told) {
    REFUSED("ERR Unknown option or number of arguments for CONFIG SET - 'NoPe'", "timeout", "x",
            "NoPe", "1");
    REFUSED(FAILED("daemonize", "can't set immutable config"), "daemonize", "1", "nope", "1");
    REFUSED(FAILED("dir", "can't set protected config"), "dir", "/data", "dir", "/data");
    REFUSED(FAILED("TIMEOUT", "duplicate parameter"), "timeout", "1", "TIMEOUT", "2");
    REFUSED(FAILED("timeout", "argument couldn't be parsed into an integer"), "Timeout", "a");
}

Test(config, a_name_and_its_alias_are_no_duplicates) {
    struct text err;
    struct config_setting setting = {.fs = &memory->fs};
    struct bytes pairs[] = {BYTES("slowlog-max-len"), BYTES("1"),
                            BYTES("commandlog-slow-execution-max-len"), BYTES("2")};
    text_init(&err);
    struct config *next = config_set(config, pairs, 2, &setting, &err);
    cr_assert_not_null(next);
    cr_assert_eq(next->commandlog_slow_execution_max_len, 2);
    config_free(next);
    text_fini(&err);
}

Test(config, protected_names_open_to_all_or_to_local_clients) {
    struct text err;
    struct bytes pairs[] = {BYTES("dir"), BYTES("/data")};
    struct config_setting setting = {.fs = &memory->fs};
    text_init(&err);
    config->enable_protected_configs = CONFIG_PROTECTED_LOCAL;
    cr_assert_null(config_set(config, pairs, 1, &setting, &err));
    setting.local = true;
    struct config *next = config_set(config, pairs, 1, &setting, &err);
    cr_assert_not_null(next, "%s", err.ptr);
    cr_assert_str_eq(next->dir.ptr, "/data");
    cr_assert_str_eq(memory->dir, "/data");
    config_free(next);
    text_fini(&err);
}

Test(config, a_directory_that_is_not_there_moves_nothing) {
    config->enable_protected_configs = CONFIG_PROTECTED_YES;
    REFUSED(FAILED("dir", "No such file or directory"), "dir", "/missing");
    REFUSED(FAILED("timeout", "argument couldn't be parsed into an integer"), "dir", "/data",
            "timeout", "x");
    cr_assert_str_eq(memory->dir, "/start");
}

Test(config, while_loading_some_names_wait) {
    struct text err;
    struct bytes pairs[] = {BYTES("appendonly"), BYTES("no")};
    struct config_setting setting = {.fs = &memory->fs, .loading = true};
    text_init(&err);
    cr_assert_null(config_set(config, pairs, 1, &setting, &err));
    cr_assert_str_eq(err.ptr, "LOADING Valkey is loading the dataset in memory");
    text_fini(&err);
}

Test(config, what_would_endanger_data_is_refused) {
    struct text why;
    text_init(&why);
    cr_assert_not(config_refusals(config, &why));
    config->cluster_enabled = true;
    cr_assert_not(config_refusals(config, &why));
    config->rdma_port = 6380;
    cr_assert(config_refusals(config, &why));
    cr_assert_str_eq(why.ptr, "rdma-port 6380: No RDMA building support.\n");
    text_fini(&why);
}

Test(config, passwords_are_sensitive) {
    cr_assert(config_is_sensitive(BYTES("requirepass")));
    cr_assert(config_is_sensitive(BYTES("MasterAuth")));
    cr_assert_not(config_is_sensitive(BYTES("timeout")));
    cr_assert_not(config_is_sensitive(BYTES("no-such-name")));
}

Test(config, a_copy_shares_nothing) {
    struct config *copy = config_copy(config);
    cr_assert_neq((void *)copy->bind.ptr, (void *)config->bind.ptr);
    cr_assert_neq((void *)copy->save.items, (void *)config->save.items);
    cr_assert_eq(copy->save.count, config->save.count);
    config_free(config);
    config = copy;
    expect_get(config, "bind", "bind=* -::*");
}

Test(config, client_memory_may_be_a_share_of_maxmemory) {
    config = must_set(config, memory, "maxmemory", BYTES("200mb"));
    config = must_set(config, memory, "maxmemory-clients", BYTES("5%"));
    cr_assert_eq(config_maxmemory_clients(config), 10u << 20);
    config = must_set(config, memory, "maxmemory-clients", BYTES("1mb"));
    cr_assert_eq(config_maxmemory_clients(config), 1 << 20);
    config = must_set(config, memory, "maxmemory-clients", BYTES("0"));
    cr_assert_eq(config_maxmemory_clients(config), 0);
}

/* Valkey has the same floor: a limit of a few bytes would lock everybody out. */
Test(config, client_memory_is_never_too_little_to_speak) {
    config = must_set(config, memory, "maxmemory-clients", BYTES("1"));
    cr_assert_eq(config_maxmemory_clients(config), 128 * 1024);
    expect_get(config, "maxmemory-clients", "maxmemory-clients=1");
}

Test(config, title_is_made_from_the_template) {
    struct text title;
    text_init(&title);
    cr_assert(config_proc_title(config, BYTES("shoal"), &title));
    cr_assert_str_eq(title.ptr, "shoal *:6379");
    text_clear(&title);
    config = must_set(config, memory, "proc-title-template", BYTES("{{x}} {port} {title}"));
    cr_assert(config_proc_title(config, BYTES("shoal"), &title));
    cr_assert_str_eq(title.ptr, "{x}} 6379 shoal");
    text_fini(&title);
}

static void expect_cpus(const char *list, const char *expected) {
    int cpus[16];
    char text[128] = "";
    size_t used = 0;
    size_t n = config_cpus(bytes_of_text(list), cpus, 16);
    for (size_t i = 0; i < n; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, " %d", cpus[i]);
    }
    cr_expect_str_eq(text, expected, "%s:%s", list, text);
}

Test(config, lists_of_processors_have_ranges_and_steps) {
    expect_cpus("", "");
    expect_cpus("3", " 3");
    expect_cpus("0-3,6", " 0 1 2 3 6");
    expect_cpus("0-7:2", " 0 2 4 6");
    expect_cpus("1-6:3,0,2:5", " 1 4 0 2");
    expect_cpus("5-2", "");
    expect_cpus("14-99999999999999999999", " 14 15");
    expect_cpus("0-15:99999999999999999999", " 0");
}
