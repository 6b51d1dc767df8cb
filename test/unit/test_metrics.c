/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/http/metrics.h"

#include <criterion/criterion.h>

static const char info[] =
    "# Server\r\nrole:master\r\nos:Linux \"x\" a\\b\r\nserver_time_usec:1000000000000\r\n"
    "uptime_in_seconds:10\r\n\r\n# Stats\r\nkeyspace_hits:7\r\nlatest_fork_usec:2500\r\n"
    "rdb_last_bgsave_status:err\r\nnobody_knows:3\r\n"
    "cmdstat_get:calls=3,usec=1500,usec_per_call=500,rejected_calls=0,failed_calls=1\r\n"
    "cmdstat_config|get:calls=1,usec=1,usec_per_call=1,rejected_calls=0,failed_calls=0\r\n"
    "latency_percentiles_usec_get:p50=1.003,p99.9=2.007\r\n"
    "db1:keys=5,expires=1,avg_ttl=1500,keys_with_volatile_items=0\r\n"
    "shard0:keys=5,ops=2,hops=1\r\n";

static char *written(bool open_metrics) {
    static const struct metrics_spike spikes[] = {{"command", 1700000000, 12},
                                                  {"turn", 1700000001, 1500}};
    struct metrics_form form = {
        .open_metrics = open_metrics,
        .databases = 2,
        .io_threads = 1,
        .slow_length = 3,
        .slow_last_id = 41,
        .slow_last_us = 25000,
        .spikes = spikes,
        .spikes_count = 2,
    };
    struct text out;
    text_init(&out);
    metrics_write(bytes_of_text(info), &form, &out);
    return text_take(&out);
}

static bool has_line(const char *text, const char *line) {
    size_t len = strlen(line);
    for (const char *at = strstr(text, line); at != NULL; at = strstr(at + 1, line)) {
        if ((at == text || at[-1] == '\n') && at[len] == '\n') {
            return true;
        }
    }
    return false;
}

static void expect_lines(const char *text, const char *const *lines) {
    for (; *lines != NULL; lines++) {
        cr_assert(has_line(text, *lines), "%s\nis not in\n%s", *lines, text);
    }
}

Test(metrics, fields_have_the_names_and_units_of_the_exporter) {
    char *text = written(false);
    expect_lines(text, (const char *const[]){
                           "# TYPE redis_keyspace_hits_total counter",
                           "redis_keyspace_hits_total 7",
                           "redis_latest_fork_seconds 0.0025",
                           "redis_rdb_last_bgsave_status 0",
                           "redis_start_time_seconds 999990",
                           "redis_commands_total{cmd=\"get\"} 3",
                           "redis_commands_total{cmd=\"config|get\"} 1",
                           "redis_commands_duration_seconds_total{cmd=\"get\"} 0.0015",
                           "redis_commands_failed_calls_total{cmd=\"get\"} 1",
                           "redis_latency_percentiles_usec{cmd=\"get\",quantile=\"50\"} 1.003",
                           "redis_latency_percentiles_usec{cmd=\"get\",quantile=\"99.9\"} 2.007",
                           "redis_db_keys{db=\"db0\"} 0",
                           "redis_db_keys{db=\"db1\"} 5",
                           "redis_db_avg_ttl_seconds{db=\"db1\"} 1.5",
                           "shoal_shard_hops_total{shard=\"0\"} 1",
                           "redis_slowlog_length 3",
                           "redis_slowlog_last_id 41",
                           "redis_last_slow_execution_duration_seconds 0.025",
                           "redis_latency_spike_last{event_name=\"command\"} 1700000000",
                           "redis_latency_spike_duration_seconds{event_name=\"turn\"} 1.5",
                           NULL,
                       });
    cr_assert_null(strstr(text, "nobody_knows"));
    cr_assert_null(strstr(text, "# EOF"));
    free(text);
}

Test(metrics, open_metrics_names_counters_without_their_ending) {
    char *text = written(true);
    expect_lines(text, (const char *const[]){
                           "# TYPE redis_keyspace_hits counter",
                           "redis_keyspace_hits_total 7",
                           "# TYPE redis_commands counter",
                           "# EOF",
                           NULL,
                       });
    cr_assert_null(strstr(text, "# TYPE redis_keyspace_hits_total"));
    free(text);
}

static const char of_a_replica[] =
    "# Replication\r\nrole:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\n"
    "master_link_status:up\r\nmaster_last_io_seconds_ago:3\r\nmaster_sync_in_progress:0\r\n"
    "slave_repl_offset:14\r\nslave_priority:100\r\nslave_read_only:1\r\n"
    "slave0:ip=10.0.0.3,port=6380,state=online,offset=14,lag=1,type=replica\r\n"
    "slave1:ip=10.0.0.4,port=6381,state=wait_bgsave,offset=0,lag=0,type=replica\r\n"
    "slave_expires_tracked_keys:0\r\n";

Test(metrics, a_replica_is_told_of_with_its_primary_and_each_of_its_own) {
    struct metrics_form form = {.databases = 0};
    struct text out;
    text_init(&out);
    metrics_write(bytes_of_text(of_a_replica), &form, &out);
    expect_lines(
        out.ptr,
        (const char *const[]){
            "redis_slave_info{master_host=\"10.0.0.1\",master_port=\"6379\",read_only=\"1\"} 1",
            "redis_master_link_up{master_host=\"10.0.0.1\",master_port=\"6379\"} 1",
            "redis_master_last_io_seconds_ago{master_host=\"10.0.0.1\",master_port=\"6379\"} 3",
            "redis_slave_repl_offset{master_host=\"10.0.0.1\",master_port=\"6379\"} 14",
            "redis_slave_priority 100",
            "redis_connected_slave_offset_bytes{slave_ip=\"10.0.0.3\",slave_port=\"6380\","
            "slave_state=\"online\"} 14",
            "redis_connected_slave_lag_seconds{slave_ip=\"10.0.0.4\",slave_port=\"6381\","
            "slave_state=\"wait_bgsave\"} 0",
            NULL,
        });
    cr_assert_null(strstr(out.ptr, "master_sync_total_bytes"), "it is not said");
    text_fini(&out);
}

Test(metrics, a_primary_has_no_metrics_of_a_replica) {
    char *text = written(false);
    cr_assert_null(strstr(text, "master_link"));
    cr_assert_null(strstr(text, "slave_info"));
    free(text);
}

Test(metrics, lines_of_cluster_info_have_their_names) {
    struct metrics_form form = {.databases = 0};
    struct text out;
    text_init(&out);
    metrics_write(BYTES("cluster_enabled:1\r\ncluster_state:ok\r\ncluster_size:3\r\n"
                        "cluster_stats_messages_ping_sent:7\r\ncluster_stats_messages_sent:9\r\n"
                        "cluster_stats_messages_auth-req_sent:3\r\n"),
                  &form, &out);
    expect_lines(out.ptr, (const char *const[]){
                              "redis_cluster_enabled 1",
                              "redis_cluster_state 1",
                              "redis_cluster_size 3",
                              "redis_cluster_stats_messages_ping_sent 7",
                              "redis_cluster_stats_messages_auth_req_sent 3",
                              "redis_cluster_messages_sent_total 9",
                              NULL,
                          });
    cr_assert_null(strstr(out.ptr, "redis_cluster_stats_messages_sent"));
    text_fini(&out);
}

Test(metrics, labels_are_escaped) {
    char *text = written(false);
    cr_assert_not_null(strstr(text, "os=\"Linux \\\"x\\\" a\\\\b\""));
    free(text);
}

Test(metrics, what_is_no_info_gives_no_samples_of_it) {
    struct metrics_form form = {.databases = 0};
    struct text out;
    text_init(&out);
    metrics_write(BYTES("\n:\n#:\nkeyspace_hits\nshard:x\ncmdstat_:calls=1\nkeyspace_hits:"), &form,
                  &out);
    cr_assert_null(strstr(out.ptr, "cmdstat"));
    cr_assert_not_null(strstr(out.ptr, "redis_keyspace_hits_total 0\n"));
    text_fini(&out);
}
