/* SPDX-License-Identifier: BSD-3-Clause */
/* Values of every kind: what goes in, what CONFIG GET shows, and in which words it is refused. All
 * as Valkey 9.1 answers. */
#include "test/unit/config_helper.h"

#include "server/config/config_row.h"

struct value_case {
    const char *name, *value;
    const char *shown;  /* NULL: refused */
    const char *reason; /* of a refusal */
};

static void run_cases(const struct value_case *cases, size_t count) {
    struct memory_fs *memory = memory_fs_new();
    struct config_setting setting = {.fs = &memory->fs};
    for (size_t i = 0; i < count; i++) {
        struct config *config = config_defaults();
        struct bytes pairs[] = {bytes_of_text(cases[i].name), bytes_of_text(cases[i].value)};
        struct text err, expected;
        text_init(&err);
        text_init(&expected);
        struct config *next = config_set(config, pairs, 1, &setting, &err);
        if (cases[i].shown != NULL) {
            cr_assert_not_null(next, "%s '%s': %s", cases[i].name, cases[i].value, err.ptr);
            text_appendf(&expected, "%s=%s", cases[i].name, cases[i].shown);
            expect_get(next, cases[i].name, expected.ptr);
        } else {
            cr_assert_null(next, "%s '%s'", cases[i].name, cases[i].value);
            config_set_failed(&expected, pairs[0], cases[i].reason);
            cr_assert_str_eq(err.ptr, expected.ptr, "%s '%s': %s", cases[i].name, cases[i].value,
                             err.ptr);
        }
        text_fini(&err);
        text_fini(&expected);
        config_free(next);
        config_free(config);
    }
    memory_fs_free(memory);
}

#define RUN(cases) run_cases(cases, sizeof(cases) / sizeof(cases[0]))

Test(config_value, integers_are_strict) {
    static const char *const wrong = "argument couldn't be parsed into an integer";
    const struct value_case cases[] = {
        {"timeout", "7", "7", NULL},
        {"timeout", " 5", NULL, wrong},
        {"timeout", "+5", NULL, wrong},
        {"timeout", "05", NULL, wrong},
        {"timeout", "", NULL, wrong},
        {"timeout", "99999999999999999999", NULL, wrong},
        {"timeout", "-1", NULL, "argument must be between 0 and 2147483647 inclusive"},
        {"maxclients", "0", NULL, "argument must be between 1 and 4294967295 inclusive"},
        {"cluster-blacklist-ttl", "-1", "-1", NULL},
        {"commandlog-execution-slower-than", "-2", NULL,
         "argument must be between -1 and 9223372036854775807 inclusive"},
        {"rdb-key-save-delay", "-2147483648", "-2147483648", NULL},
    };
    RUN(cases);
}

Test(config_value, sizes_have_units) {
    static const char *const wrong = "argument must be a memory value";
    const struct value_case cases[] = {
        {"maxmemory", "1b", "1", NULL},
        {"maxmemory", "1k", "1000", NULL},
        {"maxmemory", "1Kb", "1024", NULL},
        {"maxmemory", "1gB", "1073741824", NULL},
        {"maxmemory", "", "0", NULL},
        {"maxmemory", "18446744073709551615", "18446744073709551615", NULL},
        {"maxmemory", "18446744073709551616", NULL, wrong},
        {"maxmemory", "1.5mb", NULL, wrong},
        {"maxmemory", "-1", NULL, wrong},
        {"maxmemory", "1%", NULL, wrong},
        {"client-query-buffer-limit", "1kb", NULL,
         "argument must be between 1048576 and 9223372036854775807 inclusive"},
        {"repl-backlog-size", "9223372036854775808", NULL,
         "argument must be between 1 and 9223372036854775807 inclusive"},
        {"repl-backlog-size", "1", "16384", NULL},
        {"slot-migration-max-failover-repl-bytes", "-1", "-1", NULL},
        {"slot-migration-max-failover-repl-bytes", "-2", NULL,
         "argument must be between -1 and 9223372036854775807 inclusive"},
    };
    RUN(cases);
}

Test(config_value, percentages_are_kept_as_such) {
    static const char *const wrong = "argument must be a memory or percent value";
    const struct value_case cases[] = {
        {"maxmemory-clients", "5%", "5%", NULL},
        {"maxmemory-clients", "0%", "0", NULL},
        {"maxmemory-clients", "1kb", "1024", NULL},
        {"maxmemory-clients", "101%", NULL, "percentage argument must be less or equal to 100"},
        {"maxmemory-clients", "9223372036854775808", NULL,
         "percentage argument must be less or equal to 100"},
        {"maxmemory-clients", "-5%", NULL, wrong},
        {"maxmemory-clients", "%", NULL, wrong},
        {"maxmemory-clients", "-1", NULL, wrong},
    };
    RUN(cases);
}

Test(config_value, names_are_told_when_none_fits) {
    static const char *const levels =
        "argument(s) must be one of the following: debug, verbose, notice, warning, nothing";
    static const char *const shutdowns = "argument(s) must be one of the following: default, save, "
                                         "nosave, now, force, safe, failover";
    const struct value_case cases[] = {
        {"activerehashing", "YES", "yes", NULL},
        {"activerehashing", "1", NULL, "argument must be 'yes' or 'no'"},
        {"loglevel", "NOTICE", "notice", NULL},
        {"loglevel", "notice debug", NULL, levels},
        {"loglevel", "", NULL, levels},
        {"shutdown-on-sigterm", "now save", "save now", NULL},
        {"shutdown-on-sigterm", "failover safe", "safe failover", NULL},
        {"shutdown-on-sigterm", "default now", "now", NULL},
        {"shutdown-on-sigterm", "save  now", NULL, shutdowns},
        {"shutdown-on-sigterm", "", NULL, shutdowns},
        {"shutdown-on-sigterm", "nosave save", NULL,
         "shutdown options SAVE and NOSAVE can't be used simultaneously"},
        {"oom-score-adj", "relative", "yes", NULL},
    };
    RUN(cases);
}

Test(config_value, text_is_taken_byte_by_byte) {
    const struct value_case cases[] = {
        {"availability-zone", "a b", "a b", NULL},
        {"requirepass", "a\nb\"", "a\nb\"", NULL},
        {"requirepass", "", "", NULL},
    };
    RUN(cases);
    struct memory_fs *memory = memory_fs_new();
    struct config *config = must_set(config_defaults(), memory, "primaryauth", BYTES("a\0b"));
    cr_assert(bytes_equal(config->primaryauth, BYTES("a\0b")));
    config_free(config);
    memory_fs_free(memory);
}

Test(config_value, names_of_nodes_and_templates_are_checked) {
    static const char *const host =
        "Hostnames may only contain alphanumeric characters, hyphens or dots";
    static const char *const template = "template format is invalid or contains unknown variables";
    const struct value_case cases[] = {
        {"cluster-announce-hostname", "a.b-c", "a.b-c", NULL},
        {"cluster-announce-hostname", "a_b", NULL, host},
        {"cluster-announce-hostname", "a b", NULL, host},
        {"cluster-announce-human-nodename", "a,b", NULL,
         "Announced human node name contained invalid character"},
        {"cluster-announce-client-ipv4", "1.2.3", NULL, "Invalid IPv4 address"},
        {"cluster-announce-client-ipv6", "::1", "::1", NULL},
        {"cluster-announce-client-ipv6", "127.0.0.1", NULL, "Invalid IPv6 address"},
        {"cluster-announce-ip", "\xc3\xa9", "\xc3\xa9", NULL},
        {"cluster-announce-ip", "a\x7f", NULL, "cluster-announce-ip contains invalid character"},
        {"cluster-announce-ip", "a\nb", NULL, "cluster-announce-ip contains invalid character"},
        {"proc-title-template", "{bad}", NULL, template},
        {"proc-title-template", "{title", NULL, template},
        {"proc-title-template", "", NULL, template},
        {"locale-collate", "C", "C", NULL},
        {"locale-collate", "zzz", NULL, "Invalid locale name"},
    };
    RUN(cases);
}

Test(config_value, numbers_out_of_reach_are_moved) {
    const struct value_case cases[] = {
        {"hz", "0", "1", NULL},
        {"hz", "501", "500", NULL},
        {"watchdog-period", "10", "200", NULL},
        {"watchdog-period", "0", "0", NULL},
    };
    RUN(cases);
}

Test(config_value, sizes_are_written_in_their_largest_unit) {
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0"},          {1000, "1000"},      {1024, "1kb"},
                 {3u << 20, "3mb"}, {5ull << 30, "5gb"}, {1025, "1025"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct text text;
        text_init(&text);
        config_print_memory(cases[i].bytes, &text);
        cr_assert_str_eq(text.ptr, cases[i].text);
        text_fini(&text);
    }
}

Test(config_value, save_points) {
    static const char *const wrong = "Invalid save parameters";
    const struct value_case cases[] = {
        {"save", "60 10 30 5 60 10", "60 10 30 5 60 10", NULL},
        {"save", "", "", NULL},
        {"save", "300 0", "300 0", NULL},
        {"save", "0 1", NULL, wrong},
        {"save", "1 -1", NULL, wrong},
        {"save", "3600 1 300", NULL, wrong},
        {"save", "3600  1", NULL, wrong},
        {"save", "a b", NULL, wrong},
    };
    RUN(cases);
}

Test(config_value, output_limits_of_one_class_leave_the_others) {
    static const char *const number =
        "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
    static const char *const count = "Wrong number of arguments in buffer limit configuration.";
    const struct value_case cases[] = {
        {"client-output-buffer-limit", "replica 1kb 2 3 PUBSUB 4 5 6",
         "normal 0 0 0 slave 1024 2 3 pubsub 4 5 6", NULL},
        {"client-output-buffer-limit", "",
         "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60", NULL},
        {"client-output-buffer-limit", "normal 0 0", NULL, count},
        {"client-output-buffer-limit", "master 0 0 0", NULL,
         "Invalid client class specified in buffer limit configuration."},
        {"client-output-buffer-limit", "normal -1 0 0", NULL, number},
        {"client-output-buffer-limit", "normal 0 0 60s", NULL, number},
    };
    RUN(cases);
}

Test(config_value, event_classes_are_shown_in_order) {
    const struct value_case cases[] = {
        {"notify-keyspace-events", "KEA", "AKE", NULL},
        {"notify-keyspace-events", "Kgx", "gxK", NULL},
        {"notify-keyspace-events", "g$lshzxetd", "A", NULL},
        {"notify-keyspace-events", "AKEmn", "AKEm", NULL},
        {"notify-keyspace-events", "ndtezhsl$gKEm", "g$lshzetdnKEm", NULL},
        {"notify-keyspace-events", "Kq", NULL,
         "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."},
    };
    RUN(cases);
}

Test(config_value, percentiles_have_six_digits) {
    static const char *const wrong = "Invalid latency-tracking-info-percentiles parameters";
    static const char *const range =
        "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]";
    const struct value_case cases[] = {
        {"latency-tracking-info-percentiles", "99.9 50.0 1e1", "99.9 50 10", NULL},
        {"latency-tracking-info-percentiles", "12.345678901234", "12.345679", NULL},
        {"latency-tracking-info-percentiles", "", "", NULL},
        {"latency-tracking-info-percentiles", "100.1", NULL, range},
        {"latency-tracking-info-percentiles", "inf", NULL, range},
        {"latency-tracking-info-percentiles", "nan", NULL, wrong},
        {"latency-tracking-info-percentiles", "0x10", NULL, wrong},
        {"latency-tracking-info-percentiles", "50  99", NULL, wrong},
    };
    RUN(cases);
}

Test(config_value, addresses_and_oom_values) {
    static const char *const element =
        "Invalid oom-score-adj-values, elements must be between -2000 and 2000.";
    const struct value_case cases[] = {
        {"bind", "127.0.0.1 -::1", "127.0.0.1 -::1", NULL},
        {"bind", "", "", NULL},
        {"bind", "a b c d e f g h i j k l m n o p q", NULL, "Too many bind addresses specified."},
        /* A line break in an address would be a directive of its own after CONFIG REWRITE. */
        {"bind", "127.0.0.1\nrequirepass x", NULL, "Failed to bind to specified addresses."},
        {"rdma-bind", "", "", NULL},
        {"rdma-bind", "1.2.3.4", NULL, "No RDMA building support."},
        {"oom-score-adj-values", "-2000 0 2000", "-2000 0 2000", NULL},
        {"oom-score-adj-values", "0 200", NULL, "wrong number of arguments"},
        {"oom-score-adj-values", "0 0 2001", NULL, element},
        {"oom-score-adj-values", "a b c", NULL, element},
    };
    RUN(cases);
}
