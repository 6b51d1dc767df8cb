/* SPDX-License-Identifier: BSD-3-Clause */
/* metrics: see the header. Why from the text: INFO is the one place that says what a number is
 * called and where it comes from. A table says here under which name Prometheus knows a field; who
 * adds a field to INFO adds a row here, or leaves it to INFO.
 *
 * Three shapes: a field with one number, a metric of its own; fields of one kind for each command,
 * error, database or shard, whose values are lists of name=number, and which are metrics with a
 * label; and a few words that become labels of one metric that is always 1.
 */
#include "server/http/metrics.h"

#include "base/must.h"

#include <stdio.h>
#include <stdlib.h>

enum kind { GAUGE, COUNTER, STATUS /* ok, or up, is 1 */ };

struct row {
    const char *field;
    const char *name;
    enum kind kind;
    double scale; /* 0: as it is */
};

/* clang-format off */

static const struct row rows[] = {
    /* Server */
    {"process_id", "redis_process_id", GAUGE, 0},
    {"uptime_in_seconds", "redis_uptime_in_seconds", GAUGE, 0},
    {"io_threads_active", "redis_io_threads_active", GAUGE, 0},
    /* Clients */
    {"connected_clients", "redis_connected_clients", GAUGE, 0},
    {"cluster_connections", "redis_cluster_connections", GAUGE, 0},
    {"client_recent_max_input_buffer", "redis_client_recent_max_input_buffer_bytes", GAUGE, 0},
    {"client_recent_max_output_buffer", "redis_client_recent_max_output_buffer_bytes", GAUGE, 0},
    {"blocked_clients", "redis_blocked_clients", GAUGE, 0},
    {"tracking_clients", "redis_tracking_clients", GAUGE, 0},
    {"pubsub_clients", "redis_pubsub_clients", GAUGE, 0},
    {"watching_clients", "redis_watching_clients", GAUGE, 0},
    {"clients_in_timeout_table", "redis_clients_in_timeout_table", GAUGE, 0},
    {"total_watched_keys", "redis_total_watched_keys", GAUGE, 0},
    {"total_blocking_keys", "redis_total_blocking_keys", GAUGE, 0},
    {"total_blocking_keys_on_nokey", "redis_total_blocking_keys_on_nokey", GAUGE, 0},
    /* Memory */
    {"allocator_active", "redis_allocator_active_bytes", GAUGE, 0},
    {"allocator_allocated", "redis_allocator_allocated_bytes", GAUGE, 0},
    {"allocator_resident", "redis_allocator_resident_bytes", GAUGE, 0},
    {"allocator_frag_ratio", "redis_allocator_frag_ratio", GAUGE, 0},
    {"allocator_frag_bytes", "redis_allocator_frag_bytes", GAUGE, 0},
    {"allocator_muzzy", "redis_allocator_muzzy_bytes", GAUGE, 0},
    {"allocator_rss_ratio", "redis_allocator_rss_ratio", GAUGE, 0},
    {"allocator_rss_bytes", "redis_allocator_rss_bytes", GAUGE, 0},
    {"used_memory", "redis_memory_used_bytes", GAUGE, 0},
    {"used_memory_rss", "redis_memory_used_rss_bytes", GAUGE, 0},
    {"used_memory_peak", "redis_memory_used_peak_bytes", GAUGE, 0},
    {"used_memory_lua", "redis_memory_used_lua_bytes", GAUGE, 0},
    {"used_memory_vm_eval", "redis_memory_used_vm_eval_bytes", GAUGE, 0},
    {"used_memory_scripts_eval", "redis_memory_used_scripts_eval_bytes", GAUGE, 0},
    {"used_memory_overhead", "redis_memory_used_overhead_bytes", GAUGE, 0},
    {"used_memory_startup", "redis_memory_used_startup_bytes", GAUGE, 0},
    {"used_memory_dataset", "redis_memory_used_dataset_bytes", GAUGE, 0},
    {"number_of_cached_scripts", "redis_number_of_cached_scripts", GAUGE, 0},
    {"number_of_functions", "redis_number_of_functions", GAUGE, 0},
    {"number_of_libraries", "redis_number_of_libraries", GAUGE, 0},
    {"used_memory_vm_functions", "redis_memory_used_vm_functions_bytes", GAUGE, 0},
    {"used_memory_scripts", "redis_memory_used_scripts_bytes", GAUGE, 0},
    {"used_memory_functions", "redis_memory_used_functions_bytes", GAUGE, 0},
    {"used_memory_vm_total", "redis_memory_used_vm_total", GAUGE, 0},
    {"total_system_memory", "redis_total_system_memory_bytes", GAUGE, 0},
    {"maxmemory", "redis_memory_max_bytes", GAUGE, 0},
    {"mem_fragmentation_ratio", "redis_mem_fragmentation_ratio", GAUGE, 0},
    {"mem_fragmentation_bytes", "redis_mem_fragmentation_bytes", GAUGE, 0},
    {"mem_clients_slaves", "redis_mem_clients_slaves", GAUGE, 0},
    {"mem_clients_normal", "redis_mem_clients_normal", GAUGE, 0},
    {"mem_cluster_links", "redis_mem_cluster_links_bytes", GAUGE, 0},
    {"mem_aof_buffer", "redis_mem_aof_buffer_bytes", GAUGE, 0},
    {"mem_replication_backlog", "redis_mem_replication_backlog_bytes", GAUGE, 0},
    {"mem_not_counted_for_evict", "redis_mem_not_counted_for_eviction_bytes", GAUGE, 0},
    {"mem_total_replication_buffers", "redis_mem_total_replication_buffers_bytes", GAUGE, 0},
    {"lazyfree_pending_objects", "redis_lazyfree_pending_objects", GAUGE, 0},
    {"lazyfreed_objects", "redis_lazyfreed_objects_total", COUNTER, 0},
    {"active_defrag_running", "redis_active_defrag_running", GAUGE, 0},
    /* Persistence */
    {"loading", "redis_loading_dump_file", GAUGE, 0},
    {"async_loading", "redis_async_loading", GAUGE, 0},
    {"rdb_changes_since_last_save", "redis_rdb_changes_since_last_save", GAUGE, 0},
    {"rdb_bgsave_in_progress", "redis_rdb_bgsave_in_progress", GAUGE, 0},
    {"rdb_last_save_time", "redis_rdb_last_save_timestamp_seconds", GAUGE, 0},
    {"rdb_last_bgsave_status", "redis_rdb_last_bgsave_status", STATUS, 0},
    {"rdb_last_bgsave_time_sec", "redis_rdb_last_bgsave_duration_sec", GAUGE, 0},
    {"rdb_current_bgsave_time_sec", "redis_rdb_current_bgsave_duration_sec", GAUGE, 0},
    {"rdb_saves", "redis_rdb_saves_total", COUNTER, 0},
    {"rdb_last_cow_size", "redis_rdb_last_cow_size_bytes", GAUGE, 0},
    {"rdb_last_load_keys_expired", "redis_rdb_last_load_expired_keys", GAUGE, 0},
    {"rdb_last_load_keys_loaded", "redis_rdb_last_load_loaded_keys", GAUGE, 0},
    {"current_cow_peak", "redis_current_cow_peak_bytes", GAUGE, 0},
    {"current_cow_size", "redis_current_cow_size_bytes", GAUGE, 0},
    {"current_save_keys_processed", "redis_current_save_keys_processed", GAUGE, 0},
    {"current_save_keys_total", "redis_current_save_keys_total", GAUGE, 0},
    {"aof_enabled", "redis_aof_enabled", GAUGE, 0},
    {"aof_rewrite_in_progress", "redis_aof_rewrite_in_progress", GAUGE, 0},
    {"aof_rewrite_scheduled", "redis_aof_rewrite_scheduled", GAUGE, 0},
    {"aof_last_rewrite_time_sec", "redis_aof_last_rewrite_duration_sec", GAUGE, 0},
    {"aof_current_rewrite_time_sec", "redis_aof_current_rewrite_duration_sec", GAUGE, 0},
    {"aof_last_bgrewrite_status", "redis_aof_last_bgrewrite_status", STATUS, 0},
    {"aof_rewrites", "redis_aof_rewrites_total", COUNTER, 0},
    {"aof_last_write_status", "redis_aof_last_write_status", STATUS, 0},
    {"aof_last_cow_size", "redis_aof_last_cow_size_bytes", GAUGE, 0},
    {"aof_current_size", "redis_aof_current_size_bytes", GAUGE, 0},
    {"aof_base_size", "redis_aof_base_size_bytes", GAUGE, 0},
    {"aof_pending_rewrite", "redis_aof_pending_rewrite", GAUGE, 0},
    {"aof_buffer_length", "redis_aof_buffer_length", GAUGE, 0},
    {"aof_pending_bio_fsync", "redis_aof_pending_bio_fsync", GAUGE, 0},
    {"aof_delayed_fsync", "redis_aof_delayed_fsync", GAUGE, 0},
    {"module_fork_in_progress", "redis_module_fork_in_progress", GAUGE, 0},
    {"module_fork_last_cow_size", "redis_module_fork_last_cow_size", GAUGE, 0},
    {"log_last_number", "shoal_log_last_number", GAUGE, 0},
    {"log_safe_number", "shoal_log_safe_number", GAUGE, 0},
    {"log_unsynced_ms", "shoal_log_unsynced_seconds", GAUGE, 1e-3},
    /* Stats */
    {"total_connections_received", "redis_connections_received_total", COUNTER, 0},
    {"total_commands_processed", "redis_commands_processed_total", COUNTER, 0},
    {"instantaneous_ops_per_sec", "redis_instantaneous_ops_per_sec", GAUGE, 0},
    {"total_net_input_bytes", "redis_net_input_bytes_total", COUNTER, 0},
    {"total_net_output_bytes", "redis_net_output_bytes_total", COUNTER, 0},
    {"total_net_repl_input_bytes", "redis_net_repl_input_bytes_total", COUNTER, 0},
    {"total_net_repl_output_bytes", "redis_net_repl_output_bytes_total", COUNTER, 0},
    {"rejected_connections", "redis_rejected_connections_total", COUNTER, 0},
    {"sync_full", "redis_replica_resyncs_full", GAUGE, 0},
    {"sync_partial_ok", "redis_replica_partial_resync_accepted", GAUGE, 0},
    {"sync_partial_err", "redis_replica_partial_resync_denied", GAUGE, 0},
    {"expired_keys", "redis_expired_keys_total", COUNTER, 0},
    {"expired_fields", "redis_expired_fields_total", COUNTER, 0},
    {"expired_stale_perc", "redis_expired_stale_percentage", GAUGE, 0},
    {"expired_time_cap_reached_count", "redis_expired_time_cap_reached_total", GAUGE, 0},
    {"expire_cycle_cpu_milliseconds", "redis_expire_cycle_cpu_time_ms_total", COUNTER, 0},
    {"evicted_keys", "redis_evicted_keys_total", COUNTER, 0},
    {"evicted_clients", "redis_evicted_clients_total", COUNTER, 0},
    {"evicted_scripts", "redis_evicted_scripts_total", COUNTER, 0},
    {"total_eviction_exceeded_time", "redis_total_eviction_exceeded_time_ms_total", COUNTER, 0},
    {"keyspace_hits", "redis_keyspace_hits_total", COUNTER, 0},
    {"keyspace_misses", "redis_keyspace_misses_total", COUNTER, 0},
    {"pubsub_channels", "redis_pubsub_channels", GAUGE, 0},
    {"pubsub_patterns", "redis_pubsub_patterns", GAUGE, 0},
    {"pubsubshard_channels", "redis_pubsubshard_channels", GAUGE, 0},
    {"latest_fork_usec", "redis_latest_fork_seconds", GAUGE, 1e-6},
    {"total_forks", "redis_forks_total", COUNTER, 0},
    {"migrate_cached_sockets", "redis_migrate_cached_sockets_total", GAUGE, 0},
    {"slave_expires_tracked_keys", "redis_slave_expires_tracked_keys", GAUGE, 0},
    {"active_defrag_hits", "redis_defrag_hits", GAUGE, 0},
    {"active_defrag_misses", "redis_defrag_misses", GAUGE, 0},
    {"active_defrag_key_hits", "redis_defrag_key_hits", GAUGE, 0},
    {"active_defrag_key_misses", "redis_defrag_key_misses", GAUGE, 0},
    {"tracking_total_keys", "redis_tracking_total_keys", GAUGE, 0},
    {"tracking_total_items", "redis_tracking_total_items", GAUGE, 0},
    {"tracking_total_prefixes", "redis_tracking_total_prefixes", GAUGE, 0},
    {"unexpected_error_replies", "redis_unexpected_error_replies", COUNTER, 0},
    {"total_error_replies", "redis_total_error_replies", COUNTER, 0},
    {"dump_payload_sanitizations", "redis_dump_payload_sanitizations", COUNTER, 0},
    {"total_reads_processed", "redis_total_reads_processed", COUNTER, 0},
    {"total_writes_processed", "redis_total_writes_processed", COUNTER, 0},
    {"io_threaded_reads_processed", "redis_io_threaded_reads_processed", COUNTER, 0},
    {"io_threaded_writes_processed", "redis_io_threaded_writes_processed", COUNTER, 0},
    {"client_query_buffer_limit_disconnections", "redis_client_query_buffer_limit_disconnections_total", COUNTER, 0},
    {"client_output_buffer_limit_disconnections", "redis_client_output_buffer_limit_disconnections_total", COUNTER, 0},
    {"eventloop_cycles", "redis_eventloop_cycles_total", COUNTER, 0},
    {"eventloop_duration_sum", "redis_eventloop_duration_sum_usec_total", COUNTER, 0},
    {"eventloop_duration_cmd_sum", "redis_eventloop_duration_cmd_sum_usec_total", COUNTER, 0},
    {"acl_access_denied_auth", "redis_acl_access_denied_auth_total", COUNTER, 0},
    {"acl_access_denied_cmd", "redis_acl_access_denied_cmd_total", COUNTER, 0},
    {"acl_access_denied_key", "redis_acl_access_denied_key_total", COUNTER, 0},
    {"acl_access_denied_channel", "redis_acl_access_denied_channel_total", COUNTER, 0},
    {"acl_access_denied_tls_cert", "redis_acl_access_denied_tls_cert_total", COUNTER, 0},
    {"acl_access_denied_db", "redis_acl_access_denied_db_total", COUNTER, 0},
    /* Replication */
    {"connected_slaves", "redis_connected_slaves", GAUGE, 0},
    {"master_repl_offset", "redis_master_repl_offset", GAUGE, 0},
    {"second_repl_offset", "redis_second_repl_offset", GAUGE, 0},
    {"slave_priority", "redis_slave_priority", GAUGE, 0},
    {"repl_backlog_active", "redis_repl_backlog_is_active", GAUGE, 0},
    {"repl_backlog_size", "redis_replication_backlog_bytes", GAUGE, 0},
    {"repl_backlog_first_byte_offset", "redis_repl_backlog_first_byte_offset", GAUGE, 0},
    {"repl_backlog_histlen", "redis_repl_backlog_history_bytes", GAUGE, 0},
    /* CPU */
    {"used_cpu_sys", "redis_cpu_sys_seconds_total", COUNTER, 0},
    {"used_cpu_user", "redis_cpu_user_seconds_total", COUNTER, 0},
    {"used_cpu_sys_children", "redis_cpu_sys_children_seconds_total", COUNTER, 0},
    {"used_cpu_user_children", "redis_cpu_user_children_seconds_total", COUNTER, 0},
    {"used_cpu_sys_main_thread", "redis_cpu_sys_main_thread_seconds_total", COUNTER, 0},
    {"used_cpu_user_main_thread", "redis_cpu_user_main_thread_seconds_total", COUNTER, 0},
    /* Cluster */
    {"cluster_enabled", "redis_cluster_enabled", GAUGE, 0},
    {"cluster_state", "redis_cluster_state", STATUS, 0},
    {"cluster_stats_messages_sent", "redis_cluster_messages_sent_total", GAUGE, 0},
    {"cluster_stats_messages_received", "redis_cluster_messages_received_total", GAUGE, 0},
    {NULL, NULL, GAUGE, 0},
};

/* Of a replica, with its primary as labels. */
static const struct row primary_rows[] = {
    {"master_link_status", "redis_master_link_up", STATUS, 0},
    {"master_last_io_seconds_ago", "redis_master_last_io_seconds_ago", GAUGE, 0},
    {"master_link_down_since_seconds", "redis_master_link_down_since_seconds", GAUGE, 0},
    {"master_sync_in_progress", "redis_master_sync_in_progress", GAUGE, 0},
    {"master_sync_total_bytes", "redis_master_sync_total_bytes", GAUGE, 0},
    {"master_sync_read_bytes", "redis_master_sync_read_bytes", GAUGE, 0},
    {"slave_read_repl_offset", "redis_slave_read_repl_offset", GAUGE, 0},
    {"slave_repl_offset", "redis_slave_repl_offset", GAUGE, 0},
    {NULL, NULL, GAUGE, 0},
};
/* Of a primary, of each replica. */
static const struct row replica_rows[] = {
    {"offset", "redis_connected_slave_offset_bytes", GAUGE, 0},
    {"lag", "redis_connected_slave_lag_seconds", GAUGE, 0},
    {NULL, NULL, GAUGE, 0},
};

/* Of lines that begin with a prefix and a name: a metric for each item of the value. */
static const struct row command_rows[] = {
    {"calls", "redis_commands_total", COUNTER, 0},
    {"usec", "redis_commands_duration_seconds_total", COUNTER, 1e-6},
    {"rejected_calls", "redis_commands_rejected_calls_total", COUNTER, 0},
    {"failed_calls", "redis_commands_failed_calls_total", COUNTER, 0},
    {"usec", "redis_latency_percentiles_usec_sum", GAUGE, 0},
    {"calls", "redis_latency_percentiles_usec_count", GAUGE, 0},
    {NULL, NULL, GAUGE, 0},
};
static const struct row error_rows[] = {
    {"count", "redis_errors_total", COUNTER, 0},
    {NULL, NULL, GAUGE, 0},
};
static const struct row database_rows[] = {
    {"keys", "redis_db_keys", GAUGE, 0},
    {"expires", "redis_db_keys_expiring", GAUGE, 0},
    {"avg_ttl", "redis_db_avg_ttl_seconds", GAUGE, 1e-3},
    {"cached_keys", "redis_db_keys_cached", GAUGE, 0},
    {"keys_with_volatile_items", "redis_db_keys_with_expiring_items", GAUGE, 0},
    {NULL, NULL, GAUGE, 0},
};
static const struct row shard_rows[] = {
    {"keys", "shoal_shard_keys", GAUGE, 0},
    {"ops", "shoal_shard_ops_total", COUNTER, 0},
    {"hops", "shoal_shard_hops_total", COUNTER, 0},
    {"trips", "shoal_shard_trips_total", COUNTER, 0},
    {"mailbox_depth", "shoal_shard_mailbox_depth", GAUGE, 0},
    {"late_wakeups", "shoal_shard_late_wakeups_total", COUNTER, 0},
    {"connections", "shoal_shard_connections", GAUGE, 0},
    {"memory", "shoal_shard_memory_bytes", GAUGE, 0},
    {"memory_leased", "shoal_shard_memory_leased_bytes", GAUGE, 0},
    {"txns", "shoal_shard_transactions_total", COUNTER, 0},
    {"txn_refusals", "shoal_shard_transaction_refusals_total", COUNTER, 0},
    {"lock_waits", "shoal_shard_lock_waits_total", COUNTER, 0},
    {"longest_turn_us", "shoal_shard_longest_turn_seconds", GAUGE, 1e-6},
    {"looks", "shoal_shard_looks_total", COUNTER, 0},
    {"wakeups_sent", "shoal_shard_wakeups_sent_total", COUNTER, 0},
    {"visits", "shoal_shard_visits_total", COUNTER, 0},
    {"rounds", "shoal_shard_rounds_total", COUNTER, 0},
    {"evicted_keys", "shoal_shard_evicted_keys_total", COUNTER, 0},
    {"cpu_us", "shoal_shard_cpu_seconds_total", COUNTER, 1e-6},
    {"waited_us", "shoal_shard_waiting_seconds_total", COUNTER, 1e-6},
    {"looked_us", "shoal_shard_looking_seconds_total", COUNTER, 1e-6},
    {NULL, NULL, GAUGE, 0},
};

/* clang-format on */

/* ---- INFO ---- */

struct line {
    struct bytes name, value;
};

struct lines {
    struct line *items;
    size_t count;
};

static struct lines lines_of(struct bytes info) {
    struct lines lines = {0};
    size_t room = 0;
    while (info.len > 0) {
        const char *end = memchr(info.ptr, '\n', info.len);
        size_t len = end != NULL ? (size_t)(end - info.ptr) : info.len;
        size_t passed = end != NULL ? len + 1 : len;
        const char *colon = memchr(info.ptr, ':', len);
        if (colon != NULL && info.ptr[0] != '#') {
            if (lines.count == room) {
                room = room > 0 ? 2 * room : 512;
                lines.items = must_realloc(lines.items, room * sizeof *lines.items);
            }
            size_t name = (size_t)(colon - info.ptr);
            size_t value = len - name - 1;
            value -= value > 0 && info.ptr[len - 1] == '\r';
            lines.items[lines.count++] = (struct line){
                bytes_make(info.ptr, name),
                bytes_make(colon + 1, value),
            };
        }
        info = bytes_make(info.ptr + passed, info.len - passed);
    }
    return lines;
}

static struct bytes value_of(const struct lines *lines, const char *name) {
    for (size_t i = 0; i < lines->count; i++) {
        if (bytes_equal(lines->items[i].name, bytes_of_text(name))) {
            return lines->items[i].value;
        }
    }
    return bytes_make("", 0);
}

/* The item of "a=1,b=2" with that name; false: there is none. */
static bool item_of(struct bytes list, const char *name, struct bytes *ret_value) {
    size_t len = strlen(name);
    while (list.len > 0) {
        const char *end = memchr(list.ptr, ',', list.len);
        size_t item = end != NULL ? (size_t)(end - list.ptr) : list.len;
        if (item > len && list.ptr[len] == '=' && memcmp(list.ptr, name, len) == 0) {
            *ret_value = bytes_make(list.ptr + len + 1, item - len - 1);
            return true;
        }
        size_t passed = end != NULL ? item + 1 : item;
        list = bytes_make(list.ptr + passed, list.len - passed);
    }
    return false;
}

/* What follows the prefix, if that is what a name begins with. */
static bool after_prefix(struct bytes name, const char *prefix, struct bytes *ret_rest) {
    size_t len = strlen(prefix);
    if (name.len <= len || memcmp(name.ptr, prefix, len) != 0) {
        return false;
    }
    *ret_rest = bytes_make(name.ptr + len, name.len - len);
    return true;
}

/* ---- Metrics ---- */

struct writer {
    struct text *out;
    bool open_metrics;
};

/* OpenMetrics calls a counter by its name without _total, and knows no other counters. */
static void write_type(const struct writer *w, const char *name, enum kind kind, const char *help) {
    size_t len = strlen(name);
    bool total = len > 6 && strcmp(name + len - 6, "_total") == 0;
    bool counter = kind == COUNTER;
    int shown = (int)(w->open_metrics && counter && total ? len - 6 : len);
    const char *type = !counter ? "gauge" : w->open_metrics && !total ? "unknown" : "counter";
    text_appendf(w->out, "# HELP %.*s %s\n# TYPE %.*s %s\n", shown, name, help, shown, name, type);
}

static void write_label_value(struct text *out, struct bytes value) {
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (c == '\\' || c == '"') {
            text_append_char(out, '\\');
            text_append_char(out, c);
        } else if (c == '\n') {
            text_append_text(out, "\\n");
        } else {
            text_append_char(out, c);
        }
    }
}

static void write_number(const struct writer *w, struct bytes value, double scale) {
    char *end, text[64];
    size_t len = value.len < sizeof text - 1 ? value.len : sizeof text - 1;
    memcpy(text, value.ptr, len);
    text[len] = 0;
    double number = strtod(text, &end);
    if (end == text) {
        text_append_text(w->out, " 0\n");
    } else if (scale == 0) {
        text_appendf(w->out, " %.*s\n", (int)(end - text), text);
    } else {
        text_appendf(w->out, " %.12g\n", number * scale);
    }
}

static void write_value(const struct writer *w, const struct row *row, struct bytes value) {
    if (row->kind == STATUS) {
        bool good = bytes_equal(value, BYTES("ok")) || bytes_equal(value, BYTES("up"));
        text_append_text(w->out, good ? " 1\n" : " 0\n");
    } else {
        write_number(w, value, row->scale);
    }
}

static void write_sample(const struct writer *w, const struct row *row, const char *label,
                         struct bytes label_value, struct bytes value) {
    text_append_text(w->out, row->name);
    if (label != NULL) {
        text_appendf(w->out, "{%s=\"", label);
        write_label_value(w->out, label_value);
        text_append_text(w->out, "\"}");
    }
    write_value(w, row, value);
}

static void write_simple(const struct writer *w, const struct lines *lines) {
    for (size_t i = 0; i < lines->count; i++) {
        const struct line *line = &lines->items[i];
        for (const struct row *row = rows; row->field != NULL; row++) {
            if (bytes_equal(line->name, bytes_of_text(row->field))) {
                write_type(w, row->name, row->kind, row->field);
                write_sample(w, row, NULL, line->name, line->value);
                break;
            }
        }
    }
}

/* `own`: the label has the whole name of the line, as in db="db0". */
static void write_each(const struct writer *w, const struct lines *lines, const char *prefix,
                       bool own, const char *label, const struct row *family) {
    for (const struct row *row = family; row->field != NULL; row++) {
        bool any = false;
        for (size_t i = 0; i < lines->count; i++) {
            struct bytes rest, value;
            const struct line *line = &lines->items[i];
            if (!after_prefix(line->name, prefix, &rest) ||
                !item_of(line->value, row->field, &value)) {
                continue;
            }
            if (!any) {
                write_type(w, row->name, row->kind, row->field);
                any = true;
            }
            write_sample(w, row, label, own ? line->name : rest, value);
        }
    }
}

/* A database without keys has no line. */
static void write_databases(const struct writer *w, const struct lines *lines, unsigned count) {
    for (const struct row *row = database_rows; row->field != NULL; row++) {
        write_type(w, row->name, row->kind, row->field);
        for (unsigned db = 0; db < count; db++) {
            char name[24];
            snprintf(name, sizeof name, "db%u", db);
            struct bytes list = value_of(lines, name), value;
            if (!item_of(list, row->field, &value)) {
                value = BYTES("0");
            }
            write_sample(w, row, "db", bytes_of_text(name), value);
        }
    }
}

/* Percentiles have no type: what is called a quantile is a percentage there. */
static void write_latencies(const struct writer *w, const struct lines *lines) {
    static const char name[] = "redis_latency_percentiles_usec";
    struct bytes rest;
    bool any = false;
    for (size_t i = 0; i < lines->count; i++) {
        struct bytes list = lines->items[i].value;
        if (!after_prefix(lines->items[i].name, "latency_percentiles_usec_", &rest)) {
            continue;
        }
        if (!any) {
            text_appendf(w->out, "# HELP %s latency of commands, by percentage\n# TYPE %s gauge\n",
                         name, name);
            any = true;
        }
        while (list.len > 0) { /* p50=1.003,p99=2.007 */
            const char *end = memchr(list.ptr, ',', list.len);
            size_t item = end != NULL ? (size_t)(end - list.ptr) : list.len;
            const char *equals = memchr(list.ptr, '=', item);
            if (equals != NULL) {
                text_appendf(w->out, "%s{cmd=\"", name);
                write_label_value(w->out, rest);
                text_appendf(w->out, "\",quantile=\"%.*s\"} %.*s\n", (int)(equals - list.ptr - 1),
                             list.ptr + 1, (int)(list.ptr + item - equals - 1), equals + 1);
            }
            size_t passed = end != NULL ? item + 1 : item;
            list = bytes_make(list.ptr + passed, list.len - passed);
        }
    }
}

static void write_gauge(const struct writer *w, const char *name, const char *help,
                        struct bytes value) {
    struct row row = {.field = help, .name = name, .kind = GAUGE};
    write_type(w, name, GAUGE, help);
    write_sample(w, &row, NULL, value, value);
}

static void write_instance(const struct writer *w, const struct lines *lines) {
    static const char *const labels[] = {
        "role",       "redis_version",    "redis_build_id", "redis_mode",
        "os",         "maxmemory_policy", "tcp_port",       "run_id",
        "process_id", "master_replid",    "valkey_version", "shoal_version",
    };
    text_append_text(w->out, "# HELP redis_instance_info words of INFO\n"
                             "# TYPE redis_instance_info gauge\nredis_instance_info{");
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
        struct bytes value = value_of(lines, labels[i]);
        if (strcmp(labels[i], "redis_mode") == 0 && value.len == 0) {
            value = value_of(lines, "server_mode");
        }
        text_appendf(w->out, "%s%s=\"", i > 0 ? "," : "", labels[i]);
        write_label_value(w->out, value);
        text_append_char(w->out, '"');
    }
    text_append_text(w->out, "} 1\n");
}

/* ---- Replicas and clusters ---- */

struct label {
    const char *name;
    struct bytes value;
};

static void write_labels(const struct writer *w, const char *name, const struct label *labels,
                         size_t count) {
    text_append_text(w->out, name);
    for (size_t i = 0; i < count; i++) {
        text_appendf(w->out, "%s%s=\"", i > 0 ? "," : "{", labels[i].name);
        write_label_value(w->out, labels[i].value);
        text_append_char(w->out, '"');
    }
    text_append_char(w->out, '}');
}

static void write_primary(const struct writer *w, const struct lines *lines) {
    const struct label labels[] = {
        {"master_host", value_of(lines, "master_host")},
        {"master_port", value_of(lines, "master_port")},
        {"read_only", value_of(lines, "slave_read_only")},
    };
    if (!bytes_equal(value_of(lines, "role"), BYTES("slave"))) {
        return;
    }
    write_type(w, "redis_slave_info", GAUGE, "what this is a replica of");
    write_labels(w, "redis_slave_info", labels, 3);
    text_append_text(w->out, " 1\n");
    for (const struct row *row = primary_rows; row->field != NULL; row++) {
        struct bytes value = value_of(lines, row->field);
        if (value.len > 0) {
            write_type(w, row->name, row->kind, row->field);
            write_labels(w, row->name, labels, 2);
            write_value(w, row, value);
        }
    }
}

/* slave0:ip=10.0.0.1,port=6379,state=online,offset=14,lag=0,type=replica */
static void write_replicas(const struct writer *w, const struct lines *lines) {
    for (const struct row *row = replica_rows; row->field != NULL; row++) {
        bool any = false;
        for (size_t i = 0; i < lines->count; i++) {
            struct bytes rest, list = lines->items[i].value, value;
            struct label labels[] = {
                {.name = "slave_ip"},
                {.name = "slave_port"},
                {.name = "slave_state"},
            };
            if (!after_prefix(lines->items[i].name, "slave", &rest) || rest.ptr[0] < '0' ||
                rest.ptr[0] > '9' || !item_of(list, "ip", &labels[0].value) ||
                !item_of(list, "port", &labels[1].value) ||
                !item_of(list, "state", &labels[2].value) || !item_of(list, row->field, &value)) {
                continue;
            }
            if (!any) {
                write_type(w, row->name, row->kind, row->field);
                any = true;
            }
            write_labels(w, row->name, labels, 3);
            write_value(w, row, value);
        }
    }
}

static bool has_row(struct bytes field) {
    for (const struct row *row = rows; row->field != NULL; row++) {
        if (bytes_equal(field, bytes_of_text(row->field))) {
            return true;
        }
    }
    return false;
}

/* Of CLUSTER INFO each line is a metric of its name, but for those that have a row. */
static void write_cluster(const struct writer *w, const struct lines *lines) {
    for (size_t i = 0; i < lines->count; i++) {
        struct bytes rest, field = lines->items[i].name;
        char name[96];
        if (!after_prefix(field, "cluster_", &rest) || field.len > 80 || has_row(field)) {
            continue;
        }
        snprintf(name, sizeof name, "redis_%.*s", (int)field.len, field.ptr);
        for (char *at = name; *at != 0; at++) { /* "auth-req" is no name there */
            *at = *at == '-' ? '_' : *at;
        }
        write_type(w, name, GAUGE, name + sizeof "redis_" - 1);
        text_append_text(w->out, name);
        write_number(w, lines->items[i].value, 0);
    }
}

/* ---- All ---- */

static long long number_of(const struct lines *lines, const char *name) {
    char text[32];
    struct bytes value = value_of(lines, name);
    snprintf(text, sizeof text, "%.*s", (int)(value.len < 24 ? value.len : 24), value.ptr);
    return strtoll(text, NULL, 10);
}

/* What the exporter does not have from INFO. */
static void write_others(const struct writer *w, const struct lines *lines, int64_t io_threads) {
    char text[32];
    write_gauge(w, "redis_up", "who reads this has reached it", BYTES("1"));
    write_gauge(w, "redis_config_maxclients", "directive maxclients",
                value_of(lines, "maxclients"));
    write_gauge(w, "redis_config_maxmemory", "directive maxmemory", value_of(lines, "maxmemory"));
    snprintf(text, sizeof text, "%lld", (long long)io_threads);
    write_gauge(w, "redis_config_io_threads", "directive io-threads, which does nothing",
                bytes_of_text(text));
    snprintf(text, sizeof text, "%lld",
             number_of(lines, "server_time_usec") / 1000000 -
                 number_of(lines, "uptime_in_seconds"));
    write_gauge(w, "redis_start_time_seconds", "uptime_in_seconds", bytes_of_text(text));
}

static void write_slow(const struct writer *w, const struct metrics_form *form) {
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)form->slow_length);
    write_gauge(w, "redis_slowlog_length", "entries of the slow log", bytes_of_text(text));
    snprintf(text, sizeof text, "%llu", (unsigned long long)form->slow_last_id);
    write_gauge(w, "redis_slowlog_last_id", "number of its newest entry", bytes_of_text(text));
    struct row row = {.field = "what that took",
                      .name = "redis_last_slow_execution_duration_seconds",
                      .kind = GAUGE,
                      .scale = 1e-6};
    snprintf(text, sizeof text, "%lld", (long long)form->slow_last_us);
    write_type(w, row.name, GAUGE, row.field);
    write_sample(w, &row, NULL, BYTES(""), bytes_of_text(text));
}

static void write_spikes(const struct writer *w, const struct metrics_form *form) {
    static const struct row at = {"when the newest spike of LATENCY was",
                                  "redis_latency_spike_last", GAUGE, 0};
    static const struct row took = {"how long that took", "redis_latency_spike_duration_seconds",
                                    GAUGE, 1e-3};
    for (int which = 0; which < 2 && form->spikes_count > 0; which++) {
        const struct row *row = which == 0 ? &at : &took;
        write_type(w, row->name, GAUGE, row->field);
        for (size_t i = 0; i < form->spikes_count; i++) {
            const struct metrics_spike *spike = &form->spikes[i];
            char text[32];
            snprintf(text, sizeof text, "%lld", (long long)(which == 0 ? spike->at_s : spike->ms));
            write_sample(w, row, "event_name", bytes_of_text(spike->event), bytes_of_text(text));
        }
    }
}

void metrics_write(struct bytes info, const struct metrics_form *form, struct text *out) {
    struct writer w = {.out = out, .open_metrics = form->open_metrics};
    struct lines lines = lines_of(info);
    write_others(&w, &lines, form->io_threads);
    write_slow(&w, form);
    write_spikes(&w, form);
    write_instance(&w, &lines);
    write_simple(&w, &lines);
    write_primary(&w, &lines);
    write_replicas(&w, &lines);
    write_cluster(&w, &lines);
    write_databases(&w, &lines, form->databases);
    write_each(&w, &lines, "cmdstat_", false, "cmd", command_rows);
    write_latencies(&w, &lines);
    write_each(&w, &lines, "errorstat_", false, "err", error_rows);
    write_each(&w, &lines, "shard", false, "shard", shard_rows);
    if (form->open_metrics) {
        text_append_text(out, "# EOF\n");
    }
    free(lines.items);
}
