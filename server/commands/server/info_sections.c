/* SPDX-License-Identifier: BSD-3-Clause */
/* info_sections: see the header. The counted sections (per command, error, database, shard) are in
 * info_lists.c.
 */
#include "server/commands/server/info_sections.h"
#include "cluster/brain/map.h"
#include "net/rt.h"
#include "net/tls.h"
#include "server/config/config.h"
#include "server/node.h"
#include "server/pubsub/pubsub.h"
#include "server/script/libraries.h"
#include "server/script/scripts.h"
#include "server/server.h"
#include "server/worker/shared.h"
#include "server/worker/view.h"

#include <sys/utsname.h>

#define ULL(x) ((unsigned long long)(x))

/* ---- Lines ---- */

static void line_u64(struct info *info, const char *name, uint64_t value) {
    text_appendf(&info->text, "%s:%llu\r\n", name, ULL(value));
}

static void line_i64(struct info *info, const char *name, int64_t value) {
    text_appendf(&info->text, "%s:%lld\r\n", name, (long long)value);
}

static void line_text(struct info *info, const char *name, const char *value) {
    text_appendf(&info->text, "%s:%s\r\n", name, value);
}

static void line_ratio(struct info *info, const char *name, double value) {
    text_appendf(&info->text, "%s:%.2f\r\n", name, value);
}

static void line_seconds(struct info *info, const char *name, uint64_t us) {
    text_appendf(&info->text, "%s:%llu.%06llu\r\n", name, ULL(us / 1000000), ULL(us % 1000000));
}

/* The same number for people: "967.84K". */
static void line_human(struct info *info, const char *name, uint64_t bytes) {
    static const char units[] = {'K', 'M', 'G', 'T', 'P'};
    if (bytes < 1024) {
        text_appendf(&info->text, "%s:%lluB\r\n", name, ULL(bytes));
        return;
    }
    double value = (double)bytes / 1024;
    unsigned unit = 0;
    while (value >= 1024 && unit + 1 < sizeof(units)) {
        value /= 1024;
        unit++;
    }
    text_appendf(&info->text, "%s:%.2f%c\r\n", name, value, units[unit]);
}

/* Fields that say "none of this here", in their place among the others. */
static void lines_zero(struct info *info, const char *const *names) {
    for (; *names != NULL; names++) {
        line_u64(info, *names, 0);
    }
}
#define ZERO(info, ...) lines_zero(info, (const char *const[]){__VA_ARGS__, NULL})

/* ---- Server ---- */

/* Numbers are those of the kinds, as in Valkey. */
static void line_listener(struct info *info, const struct config *config, unsigned number,
                          const char *name, int64_t port) {
    text_appendf(&info->text, "listener%u:name=%s", number, name);
    for (const char *word = config_word(config->bind, NULL); word != NULL;
         word = config_word(config->bind, word)) {
        text_appendf(&info->text, ",bind=%s", word);
    }
    text_appendf(&info->text, ",port=%d\r\n", (int)node_port(worker_node(info->worker), port));
}

static void lines_listeners(struct info *info, const struct config *config) {
    if (config->port > 0) {
        line_listener(info, config, 0, "tcp", config->port);
    }
    if (config->unixsocket.len > 0) {
        text_appendf(&info->text, "listener1:name=unix,bind=%s\r\n", config->unixsocket.ptr);
    }
    if (config->tls_port > 0) {
        line_listener(info, config, 2, "tls", config->tls_port);
    }
}

static void line_clock(struct info *info) {
#if defined(__x86_64__)
    uint64_t ns = rt_ticks_to_ns(worker_rt(info->worker), UINT64_C(1) << 30);
    text_appendf(&info->text, "monotonic_clock:X86 TSC @ %.2f ticks/us\r\n",
                 1000.0 * (double)(UINT64_C(1) << 30) / (double)(ns ? ns : 1));
#else
    line_text(info, "monotonic_clock", "POSIX clock_gettime");
#endif
}

static const char *supervised_name(enum config_supervised supervised) {
    switch (supervised) {
    case CONFIG_SUPERVISED_SYSTEMD:
        return "systemd";
    case CONFIG_SUPERVISED_UPSTART:
        return "upstart";
    case CONFIG_SUPERVISED_AUTO: /* who that is, has been found out */
    case CONFIG_SUPERVISED_NO:
        break;
    }
    return "no";
}

void info_server(struct info *info) {
    const struct node *node = worker_node(info->worker);
    const struct server *server = node->server;
    const struct config *config = worker_config(info->worker);
    int64_t now_us = rt_wall_us(worker_rt(info->worker));
    int64_t uptime_s = (now_us / 1000 - server->start_wall_ms) / 1000;
    uptime_s = uptime_s > 0 ? uptime_s : 0;
    struct utsname name = {0};
    uname(&name);
    text_append_text(&info->text, "# Server\r\n");
    line_text(info, "redis_version", SHOAL_REDIS_VERSION);
    line_text(info, "server_name", "valkey");
    line_text(info, "valkey_version", SHOAL_VALKEY_VERSION);
    line_text(info, "valkey_release_stage", "ga");
    line_text(info, "redis_git_sha1", server->build.commit);
    line_u64(info, "redis_git_dirty", server->build.modified);
    line_text(info, "redis_build_id", server->build.id);
    line_text(info, config->extended_redis_compatibility ? "redis_mode" : "server_mode",
              worker_map(info->worker) != NULL ? "cluster" : "standalone");
    text_appendf(&info->text, "os:%s %s %s\r\n", name.sysname, name.release, name.machine);
    line_u64(info, "arch_bits", sizeof(void *) * 8);
    line_clock(info);
    line_text(info, "multiplexing_api", rt_backend_name(worker_rt(info->worker)));
    text_appendf(&info->text, "gcc_version:%d.%d.%d\r\n", __GNUC__, __GNUC_MINOR__,
                 __GNUC_PATCHLEVEL__);
    line_u64(info, "process_id", (uint64_t)server->process_id);
    line_text(info, "process_supervised", supervised_name(server->supervised));
    line_text(info, "run_id", node->id);
    int64_t port = config->port != 0 ? config->port : config->tls_port;
    line_u64(info, "tcp_port", (uint64_t)node_port(node, port));
    line_u64(info, "server_time_usec", (uint64_t)now_us);
    line_u64(info, "uptime_in_seconds", (uint64_t)uptime_s);
    line_u64(info, "uptime_in_days", (uint64_t)uptime_s / 86400);
    line_u64(info, "hz", (uint64_t)config->hz);
    line_u64(info, "configured_hz", (uint64_t)config->hz);
    line_u64(info, "clients_hz", (uint64_t)config->hz);
    line_u64(info, "lru_clock", (uint64_t)(now_us / 1000000) & 0xffffff);
    line_text(info, "executable", server->executable);
    line_text(info, "config_file", config->config_file.len ? config->config_file.ptr : "");
    line_u64(info, "io_threads_active", 0);
    line_text(info, "availability_zone",
              config->availability_zone.len ? config->availability_zone.ptr : "");
    int64_t stops_in_ms = ((const struct totals_part *)info->result->parts[0])->stops_in_ms;
    if (stops_in_ms >= 0) {
        line_u64(info, "shutdown_in_milliseconds", (uint64_t)stops_in_ms);
    }
    lines_listeners(info, config);
    line_text(info, "shoal_version", SHOAL_VERSION);
}

static void lines_certificate(struct info *info, const char *whose,
                              const struct tls_certificate *certificate, int64_t now_s) {
    int64_t left_s = certificate->expires_s != 0 ? certificate->expires_s - now_s : 0;
    text_appendf(&info->text, "tls_%s_cert_serial:%s\r\ntls_%s_cert_expires_in_seconds:%lld\r\n",
                 whose, certificate->serial, whose, (long long)(left_s > 0 ? left_s : 0));
}

void info_tls(struct info *info) {
    struct tls_certificates all;
    tls_certificates(worker_server(info->worker)->tls, &all);
    int64_t now_s = rt_wall_us(worker_rt(info->worker)) / 1000000;
    text_append_text(&info->text, "# TLS\r\n");
    lines_certificate(info, "server", &all.server, now_s);
    lines_certificate(info, "client", &all.client, now_s);
    lines_certificate(info, "ca", &all.ca, now_s);
}

void info_clients(struct info *info) {
    static const char *const actions[] = {"none", "none", "write", "all"};
    static const char *const reasons[] = {"none", "none", "client_pause", "client_pause"};
    const struct totals *t = &info->sum;
    text_append_text(&info->text, "# Clients\r\n");
    line_u64(info, "connected_clients", t->connections);
    const struct map *map = worker_map(info->worker);
    /* As Valkey counts: each other node has one here, and there is one to it. */
    line_u64(info, "cluster_connections", map != NULL ? 2u * (map->nodes_count - 1u) : 0);
    line_u64(info, "maxclients", (uint64_t)worker_config(info->worker)->maxclients);
    line_u64(info, "client_recent_max_input_buffer", t->stats.input_max);
    line_u64(info, "client_recent_max_output_buffer", t->stats.output_max);
    line_u64(info, "blocked_clients", t->blocked);
    line_u64(info, "tracking_clients", t->tracking);
    line_u64(info, "pubsub_clients", t->subscribed);
    line_u64(info, "watching_clients", t->watching);
    line_u64(info, "clients_in_timeout_table", t->blocked_with_timeout);
    line_u64(info, "total_watched_keys", t->watched_keys);
    line_u64(info, "total_blocking_keys", t->blocking_keys);
    line_u64(info, "total_blocking_keys_on_nokey", t->blocking_keys_when_gone);
    bool held = t->pause_holds != 0 && t->pause != PAUSE_ALL;
    line_text(info, "paused_reason",
              !held                                 ? reasons[t->pause]
              : t->pause_holds & PAUSE_FOR_FAILOVER ? "failover_in_progress"
                                                    : "shutdown_in_progress");
    line_text(info, "paused_actions", actions[held ? PAUSE_WRITE : t->pause]);
    line_u64(info, "paused_timeout_milliseconds",
             held ? (uint64_t)(INT64_MAX - rt_wall_ms(worker_rt(info->worker)))
                  : (uint64_t)t->pause_left_ms);
}

/* ---- Memory ---- */

static const char *eviction_name(enum config_eviction policy) {
    static const char *const names[] = {
        [CONFIG_EVICT_VOLATILE_LRU] = "volatile-lru",
        [CONFIG_EVICT_VOLATILE_LFU] = "volatile-lfu",
        [CONFIG_EVICT_VOLATILE_RANDOM] = "volatile-random",
        [CONFIG_EVICT_VOLATILE_TTL] = "volatile-ttl",
        [CONFIG_EVICT_ALLKEYS_LRU] = "allkeys-lru",
        [CONFIG_EVICT_ALLKEYS_LFU] = "allkeys-lfu",
        [CONFIG_EVICT_ALLKEYS_RANDOM] = "allkeys-random",
        [CONFIG_EVICT_NONE] = "noeviction",
    };
    return names[policy];
}

static double ratio(uint64_t a, uint64_t b) {
    return b ? (double)a / (double)b : 0;
}

static void line_bytes_and_human(struct info *info, const char *name, const char *human,
                                 uint64_t bytes) {
    line_u64(info, name, bytes);
    line_human(info, human, bytes);
}

/* a:b as a ratio, and by how many bytes a is more. */
static void lines_overhead(struct info *info, const char *ratio_name, const char *bytes_name,
                           uint64_t a, uint64_t b) {
    line_ratio(info, ratio_name, ratio(a, b));
    text_appendf(&info->text, "%s:%lld\r\n", bytes_name, (long long)a - (long long)b);
}

static uint64_t tables_bytes(const struct info *info) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < info->result->parts_count; i++) {
        const struct totals_part *part = info->result->parts[i];
        for (uint32_t db = 0; db < (uint32_t)config_databases(worker_config(info->worker)); db++) {
            bytes += part->databases[db].table_bytes + part->databases[db].wheel_bytes;
        }
    }
    return bytes;
}

static void lines_scripts(struct info *info) {
    const struct server *server = worker_server(info->worker);
    struct scripts_stats scripts = scripts_stats(server->scripts);
    struct libraries_stats libraries = libraries_stats(server->libraries);
    uint64_t lua = info->sum.scripts_bytes, functions_lua = info->sum.functions_bytes;
    line_u64(info, "used_memory_lua", lua);
    line_u64(info, "used_memory_vm_eval", lua);
    line_human(info, "used_memory_lua_human", lua);
    line_u64(info, "used_memory_scripts_eval", scripts.bytes);
    line_u64(info, "number_of_cached_scripts", scripts.count);
    line_u64(info, "number_of_functions", libraries.functions);
    line_u64(info, "number_of_libraries", libraries.count);
    line_u64(info, "used_memory_vm_functions", functions_lua);
    line_bytes_and_human(info, "used_memory_vm_total", "used_memory_vm_total_human",
                         lua + functions_lua);
    line_u64(info, "used_memory_functions", libraries.bytes);
    line_bytes_and_human(info, "used_memory_scripts", "used_memory_scripts_human",
                         scripts.bytes + libraries.bytes);
}

void info_memory(struct info *info) {
    const struct totals *t = &info->sum;
    const struct config *config = worker_config(info->worker);
    uint64_t used = totals_memory(t), rss = info->usage.rss_bytes;
    uint64_t peak = t->peak_bytes > used ? t->peak_bytes : used;
    uint64_t active = used - t->heap_used + t->heap_reserved;
    uint64_t overhead = totals_overhead(t) + tables_bytes(info);
    uint64_t dataset = used > overhead ? used - overhead : 0;
    text_append_text(&info->text, "# Memory\r\n");
    line_bytes_and_human(info, "used_memory", "used_memory_human", used);
    line_bytes_and_human(info, "used_memory_rss", "used_memory_rss_human", rss);
    line_bytes_and_human(info, "used_memory_peak", "used_memory_peak_human", peak);
    text_appendf(&info->text, "used_memory_peak_perc:%.2f%%\r\n", 100 * ratio(used, peak));
    line_u64(info, "used_memory_overhead", overhead);
    line_u64(info, "used_memory_startup", t->fixed_bytes);
    line_u64(info, "used_memory_dataset", dataset);
    text_appendf(&info->text, "used_memory_dataset_perc:%.2f%%\r\n",
                 100 * ratio(dataset, used - t->fixed_bytes));
    line_u64(info, "allocator_allocated", used);
    line_u64(info, "allocator_active", active);
    line_u64(info, "allocator_resident", rss);
    ZERO(info, "allocator_muzzy");
    line_bytes_and_human(info, "total_system_memory", "total_system_memory_human",
                         info->usage.total_system_bytes);
    lines_scripts(info);
    line_bytes_and_human(info, "maxmemory", "maxmemory_human", config->maxmemory);
    line_text(info, "maxmemory_policy", eviction_name(config->maxmemory_policy));
    lines_overhead(info, "allocator_frag_ratio", "allocator_frag_bytes", active, used);
    lines_overhead(info, "allocator_rss_ratio", "allocator_rss_bytes", rss, active);
    lines_overhead(info, "rss_overhead_ratio", "rss_overhead_bytes", rss, rss);
    lines_overhead(info, "mem_fragmentation_ratio", "mem_fragmentation_bytes", rss, used);
    ZERO(info, "mem_not_counted_for_evict");
    struct totals_stream stream =
        totals_stream(t, ((const struct totals_part *)info->result->parts[0])->replication);
    line_u64(info, "mem_replication_backlog", stream.backlog);
    line_u64(info, "mem_total_replication_buffers", stream.total);
    line_u64(info, "mem_replicas_repl_buffer", stream.beyond);
    line_u64(info, "mem_clients_slaves", stream.beyond);
    line_u64(info, "mem_clients_normal", t->clients_bytes);
    line_u64(info, "mem_cluster_links", shared_links_bytes(worker_server(info->worker)->shared));
    line_u64(info, "mem_cluster_slot_import", t->imports_bytes);
    line_u64(info, "mem_cluster_slot_export", t->exports_bytes);
    line_u64(info, "mem_aof_buffer", t->log.buffers);
    line_text(info, "mem_allocator", SHOAL_ALLOCATOR);
    ZERO(info, "mem_overhead_db_hashtable_rehashing");
    line_u64(info, "active_defrag_running", t->keyspace.defrag_since_ms != 0);
    line_u64(info, "lazyfree_pending_objects", t->keyspace.lazyfree_pending);
    line_u64(info, "lazyfreed_objects", t->keyspace.lazyfreed_many);
}

/* ---- Persistence, Stats ---- */

static void lines_loading(struct info *info, const struct server *server) {
    struct shared_progress progress = shared_loading_progress(server->shared);
    double share = ratio(progress.loaded_bytes, progress.bytes);
    int64_t passed = rt_wall_us(worker_rt(info->worker)) / 1000000 - progress.began_at;
    uint64_t left = progress.bytes - progress.loaded_bytes;
    uint64_t eta = passed > 0 && progress.loaded_bytes > 0
                       ? (uint64_t)passed * left / (progress.loaded_bytes + 1)
                       : 1; /* nobody knows yet */
    line_u64(info, "loading_start_time", (uint64_t)progress.began_at);
    line_u64(info, "loading_total_bytes", progress.bytes);
    line_u64(info, "loading_rdb_used_mem", 0);
    line_u64(info, "loading_loaded_bytes", progress.loaded_bytes);
    text_appendf(&info->text, "loading_loaded_perc:%.2f%%\r\n", 100 * share);
    line_u64(info, "loading_eta_seconds", eta);
}

static void line_seconds_since(struct info *info, const char *name, int64_t from) {
    int64_t now = rt_wall_ms(worker_rt(info->worker)) / 1000;
    text_appendf(&info->text, "%s:%lld\r\n", name, from < 0 ? -1LL : (long long)(now - from));
}

static void line_took(struct info *info, const char *name, const struct save_record *record) {
    text_appendf(&info->text, "%s:%lld\r\n", name, (long long)record->took);
}

static const char *status(const struct save_record *record) {
    return record->failed ? "err" : "ok";
}

/* Valkey's, and how far what is safe is behind what was done: numbers of the one order, and the
 * shard that all wait for. */
static void lines_log(struct info *info, const struct server *server,
                      const struct wals_state *state) {
    line_u64(info, "aof_current_size", state->bytes);
    line_u64(info, "aof_base_size", state->base_bytes);
    ZERO(info, "aof_pending_rewrite");
    line_u64(info, "aof_buffer_length", info->sum.log.buffered);
    line_u64(info, "aof_pending_bio_fsync", info->sum.log.syncs);
    line_u64(info, "aof_delayed_fsync", info->sum.log.syncs_delayed);
    unsigned shard = 0;
    uint64_t least = UINT64_MAX;
    const struct config *config = worker_config(info->worker);
    enum shared_wal_word word =
        config->appendfsync == CONFIG_FSYNC_ALWAYS ? WAL_SYNCED : WAL_WRITTEN;
    for (unsigned i = 0; i < server->workers_count; i++) {
        uint64_t stands = shared_wal_stands(server->shared, i, word);
        shard = stands < least ? i : shard;
        least = stands < least ? stands : least;
    }
    line_u64(info, "log_last_number", shared_wal_count(server->shared));
    line_u64(info, "log_safe_number", shared_wal_safe(server->shared, word));
    if (least == UINT64_MAX) {
        line_text(info, "log_waits_for_shard", "none");
    } else {
        line_u64(info, "log_waits_for_shard", shard);
    }
    int64_t age_ms =
        rt_mono_ms(worker_rt(info->worker)) - shared_wal_unsynced_since(server->shared);
    line_u64(info, "log_unsynced_ms", age_ms > 0 ? (uint64_t)age_ms : 0);
}

/* No process is forked: what Valkey counts as copied by one is the memory that a save keeps. */
void info_persistence(struct info *info) {
    const struct server *server = worker_server(info->worker);
    const struct totals_part *first = info->result->parts[0];
    const struct totals_saves *saves = &first->saves;
    const struct totals *sum = &info->sum;
    text_append_text(&info->text, "# Persistence\r\n");
    line_u64(info, "loading", shared_loading(server->shared));
    line_u64(info, "async_loading", shared_aside(server->shared));
    line_u64(info, "current_cow_peak", sum->save_bytes_max);
    line_u64(info, "current_cow_size", sum->save_bytes);
    ZERO(info, "current_cow_size_age");
    line_ratio(
        info, "current_fork_perc",
        sum->save_keys_total > 0 ? 100 * (double)sum->save_keys / (double)sum->save_keys_total : 0);
    line_u64(info, "current_save_keys_processed", sum->save_keys);
    line_u64(info, "current_save_keys_total", saves->last_keys_total);
    line_u64(info, "rdb_changes_since_last_save", sum->keyspace.changes);
    line_u64(info, "rdb_bgsave_in_progress", saves->saving);
    line_u64(info, "rdb_last_save_time", (uint64_t)shared_saved_at(server->shared));
    line_text(info, "rdb_last_bgsave_status", status(&saves->saves));
    line_took(info, "rdb_last_bgsave_time_sec", &saves->saves);
    line_seconds_since(info, "rdb_current_bgsave_time_sec", saves->saves.began_at);
    line_u64(info, "rdb_saves", saves->saves.count);
    line_u64(info, "rdb_last_cow_size", saves->saves.kept);
    line_u64(info, "rdb_last_load_keys_expired", shared_loaded_expired(server->shared));
    line_u64(info, "rdb_last_load_keys_loaded", shared_loaded_keys(server->shared));
    line_u64(info, "aof_enabled", saves->log.on);
    line_u64(info, "aof_rewrite_in_progress", saves->rewriting || saves->log.begins);
    line_u64(info, "aof_rewrite_scheduled", saves->rewrite_scheduled);
    line_took(info, "aof_last_rewrite_time_sec", &saves->rewrites);
    line_seconds_since(info, "aof_current_rewrite_time_sec", saves->rewrites.began_at);
    line_text(info, "aof_last_bgrewrite_status", status(&saves->rewrites));
    line_u64(info, "aof_rewrites", saves->rewrites.count);
    line_u64(info, "aof_rewrites_consecutive_failures", saves->rewrites.failures_in_a_row);
    /* A new attempt begins without an error: that it went well is known when writes are let in. */
    bool fails = shared_wal_error(server->shared) != 0 || shared_wal_any_refuses(server->shared);
    line_text(info, "aof_last_write_status", fails ? "err" : "ok");
    line_u64(info, "aof_last_cow_size", saves->rewrites.kept);
    ZERO(info, "module_fork_in_progress", "module_fork_last_cow_size",
         "slot_migration_fork_in_progress");
    if (saves->log.on) {
        lines_log(info, server, &saves->log);
    }
    if (shared_loading(server->shared)) {
        lines_loading(info, server);
    }
}

static void lines_traffic(struct info *info) {
    const struct totals *t = &info->sum;
    line_u64(info, "total_connections_received", t->stats.connections_received);
    line_u64(info, "total_commands_processed", t->stats.commands_processed);
    line_u64(info, "instantaneous_ops_per_sec", t->rates[RATE_COMMANDS]);
    line_u64(info, "total_net_input_bytes", t->stats.net_input);
    line_u64(info, "total_net_output_bytes", t->stats.net_output);
    line_u64(info, "total_net_repl_input_bytes", t->stats.net_repl_input);
    line_u64(info, "total_net_repl_output_bytes", t->stats.net_repl_output);
    line_u64(info, "total_net_cluster_slot_import_bytes", t->stats.net_import);
    line_u64(info, "total_net_cluster_slot_export_bytes", t->stats.net_export);
    line_ratio(info, "instantaneous_input_kbps", (double)t->rates[RATE_INPUT] / 1024);
    line_ratio(info, "instantaneous_output_kbps", (double)t->rates[RATE_OUTPUT] / 1024);
    line_ratio(info, "instantaneous_input_repl_kbps",
               (double)t->rates[RATE_REPLICATION_INPUT] / 1024);
    line_ratio(info, "instantaneous_output_repl_kbps",
               (double)t->rates[RATE_REPLICATION_OUTPUT] / 1024);
    line_u64(info, "rejected_connections", t->stats.connections_rejected);
    const struct primary_state *replication =
        ((const struct totals_part *)info->result->parts[0])->replication;
    line_u64(info, "sync_full", replication->full_syncs);
    line_u64(info, "sync_partial_ok", replication->partial_syncs);
    line_u64(info, "sync_partial_err", replication->refused_partial_syncs);
}

static void lines_defrag(struct info *info) {
    const struct keyspace_stats *stats = &info->sum.keyspace;
    line_u64(info, "active_defrag_hits", stats->defrag_hits);
    line_u64(info, "active_defrag_misses", stats->defrag_misses);
    line_u64(info, "active_defrag_key_hits", stats->defrag_key_hits);
    line_u64(info, "active_defrag_key_misses", stats->defrag_key_misses);
    int64_t now_ms = rt_wall_ms(worker_rt(info->worker)), since_ms = stats->defrag_since_ms;
    int64_t current_ms = since_ms != 0 && since_ms < now_ms ? now_ms - since_ms : 0;
    line_u64(info, "total_active_defrag_time", (uint64_t)(stats->defrag_ms + current_ms));
    line_u64(info, "current_active_defrag_time", (uint64_t)current_ms);
}

static void lines_keys(struct info *info) {
    const struct totals *t = &info->sum;
    line_u64(info, "expired_keys", t->keyspace.expired_keys);
    line_u64(info, "expired_fields", t->keyspace.expired_fields);
    line_ratio(info, "expired_stale_perc", 0);
    line_ratio(info, "expired_keys_with_volatile_items_stale_perc", 0);
    ZERO(info, "expired_time_cap_reached_count");
    line_u64(info, "expire_cycle_cpu_milliseconds", t->expire_ns / 1000000);
    line_u64(info, "evicted_keys", t->keyspace.evicted_keys);
    line_u64(info, "evicted_clients", t->stats.evicted_clients);
    line_u64(info, "evicted_scripts", scripts_stats(worker_server(info->worker)->scripts).evicted);
    line_u64(info, "total_eviction_exceeded_time", (uint64_t)(t->over_ms + t->over_now_ms));
    line_u64(info, "current_eviction_exceeded_time", (uint64_t)t->over_now_ms);
    line_u64(info, "keyspace_hits", t->keyspace.hits);
    line_u64(info, "keyspace_misses", t->keyspace.misses);
    line_u64(info, "pubsub_channels", pubsub_count(info->worker, TOPIC_CHANNEL));
    line_u64(info, "pubsub_patterns", pubsub_count(info->worker, TOPIC_PATTERN));
    line_u64(info, "pubsubshard_channels", pubsub_count(info->worker, TOPIC_SHARD_CHANNEL));
    ZERO(info, "latest_fork_usec", "total_forks");
    line_u64(info, "migrate_cached_sockets", t->peers);
    ZERO(info, "slave_expires_tracked_keys");
    lines_defrag(info);
    line_u64(info, "tracking_total_keys", t->tracked_keys);
    line_u64(info, "tracking_total_items", t->tracked_items);
    line_u64(info, "tracking_total_prefixes", t->tracked_prefixes);
}

void info_stats(struct info *info) {
    const struct totals *t = &info->sum;
    text_append_text(&info->text, "# Stats\r\n");
    lines_traffic(info);
    lines_keys(info);
    line_u64(info, "unexpected_error_replies", t->stats.unexpected_errors);
    line_u64(info, "total_error_replies", t->stats.error_replies);
    ZERO(info, "dump_payload_sanitizations");
    line_u64(info, "total_reads_processed", t->stats.reads);
    line_u64(info, "total_writes_processed", t->stats.writes);
    ZERO(info, "io_threaded_reads_processed", "io_threaded_writes_processed",
         "io_threaded_freed_objects", "io_threaded_accept_processed", "io_threaded_poll_processed",
         "io_threaded_total_prefetch_batches", "io_threaded_total_prefetch_entries");
    line_u64(info, "client_query_buffer_limit_disconnections", t->stats.query_limit_disconnects);
    line_u64(info, "client_output_buffer_limit_disconnections", t->stats.output_limit_disconnects);
    ZERO(info, "reply_buffer_shrinks", "reply_buffer_expands");
    line_u64(info, "eventloop_cycles", t->stats.cycles);
    line_u64(info, "eventloop_duration_sum", t->cycle_ns / 1000);
    line_u64(info, "eventloop_duration_cmd_sum", t->cycle_command_ns / 1000);
    line_u64(info, "instantaneous_eventloop_cycles_per_sec", t->rates[RATE_TURNS]);
    line_u64(info, "instantaneous_eventloop_duration_usec",
             t->stats.cycles ? t->cycle_ns / 1000 / t->stats.cycles : 0);
    line_u64(info, "acl_access_denied_auth", t->stats.denied[ACL_LOG_AUTH]);
    line_u64(info, "acl_access_denied_cmd", t->stats.denied[ACL_LOG_COMMAND]);
    line_u64(info, "acl_access_denied_key", t->stats.denied[ACL_LOG_KEY]);
    line_u64(info, "acl_access_denied_channel", t->stats.denied[ACL_LOG_CHANNEL]);
    line_u64(info, "acl_access_denied_tls_cert", t->stats.denied[ACL_LOG_CERTIFICATE]);
    line_u64(info, "acl_access_denied_db", t->stats.denied[ACL_LOG_DB]);
}

/* ---- The rest ---- */

static int64_t seconds(int64_t ms) {
    return ms < 0 ? -1 : ms / 1000;
}

static void lines_upstream(struct info *info, const struct primary_state *state) {
    const struct config *config = worker_config(info->worker);
    const struct upstream_state *upstream = &state->upstream;
    line_text(info, "role", "slave");
    line_text(info, "master_host", state->host);
    line_u64(info, "master_port", (uint64_t)state->port);
    line_text(info, "master_link_status", upstream->up ? "up" : "down");
    line_i64(info, "master_last_io_seconds_ago", seconds(upstream->heard_ms));
    line_u64(info, "master_sync_in_progress", upstream->syncs);
    line_u64(info, "slave_read_repl_offset", upstream->up ? upstream->read : state->offset);
    line_u64(info, "slave_repl_offset", state->offset);
    ZERO(info, "replicas_repl_buffer_size", "replicas_repl_buffer_peak");
    if (upstream->syncs) {
        uint64_t left = upstream->total - upstream->received;
        line_u64(info, "master_sync_total_bytes", upstream->total);
        line_u64(info, "master_sync_read_bytes", upstream->received);
        line_i64(info, "master_sync_left_bytes", upstream->total > 0 ? (int64_t)left : -1);
        text_appendf(
            &info->text, "master_sync_perc:%.2f\r\n",
            upstream->total > 0 ? (double)upstream->received / (double)upstream->total * 100 : 0.0);
        line_i64(info, "master_sync_last_io_seconds_ago", seconds(upstream->sync_ms));
    }
    if (!upstream->up) {
        line_i64(info, "master_link_down_since_seconds", seconds(upstream->down_ms));
    }
    line_u64(info, "slave_priority", (uint64_t)config->replica_priority);
    line_u64(info, "slave_read_only", config->replica_read_only);
    line_u64(info, "replica_announced", config->replica_announced);
}

void info_replication(struct info *info) {
    static const char *const failovers[] = {
        [FAILOVER_NONE] = "no-failover",
        [FAILOVER_WAITS] = "waiting-for-sync",
        [FAILOVER_HANDS_OVER] = "failover-in-progress",
        [FAILOVER_BACK] = "failover-in-progress",
    };
    const struct totals_part *first = info->result->parts[0];
    const struct primary_state *state = first->replication;
    text_append_text(&info->text, "# Replication\r\n");
    if (state->replica) {
        lines_upstream(info, state);
    } else {
        line_text(info, "role", "master");
    }
    line_u64(info, "connected_slaves", state->replicas_count);
    if (state->shows_good) {
        line_u64(info, "min_slaves_good_slaves", state->good);
    }
    text_append_bytes(&info->text, text_bytes(&state->lines));
    line_u64(info, "replicas_waiting_psync", state->waiting);
    line_text(info, "master_failover_state", failovers[state->failover]);
    line_text(info, "master_replid", state->id);
    line_text(info, "master_replid2", state->id2);
    line_u64(info, "master_repl_offset", state->offset);
    line_i64(info, "second_repl_offset", state->second_offset);
    line_u64(info, "repl_backlog_active", state->active);
    line_u64(info, "repl_backlog_size", state->backlog_size);
    line_u64(info, "repl_backlog_first_byte_offset", state->backlog_first);
    line_u64(info, "repl_backlog_histlen", state->backlog_bytes);
    if (state->active && !state->replica) {
        line_u64(info, "stream_runs_waiting", state->merge_runs);
    }
    if (state->shows_acks) {
        line_u64(info, "replicas_ack_replicas", state->acking);
        line_u64(info, "replicas_ack_behind", state->unacked);
    }
}

void info_cpu(struct info *info) {
    const struct totals_part *first = info->result->parts[0];
    text_append_text(&info->text, "# CPU\r\n");
    line_seconds(info, "used_cpu_sys", info->usage.system_us);
    line_seconds(info, "used_cpu_user", info->usage.user_us);
    line_seconds(info, "used_cpu_sys_children", info->usage.children_system_us);
    line_seconds(info, "used_cpu_user_children", info->usage.children_user_us);
    line_seconds(info, "used_cpu_sys_main_thread", first->totals.system_us);
    line_seconds(info, "used_cpu_user_main_thread", first->totals.user_us);
    line_seconds(info, "used_active_time_main_thread", first->totals.cycle_ns / 1000);
    for (unsigned i = 1; i < info->result->parts_count; i++) {
        const struct totals_part *part = info->result->parts[i];
        text_appendf(&info->text, "used_active_time_io_thread_%u:%llu.%06llu\r\n", i,
                     ULL(part->totals.cycle_ns / 1000000000),
                     ULL(part->totals.cycle_ns / 1000 % 1000000));
    }
}

void info_modules(struct info *info) {
    text_append_text(&info->text, "# Modules\r\n");
}

void info_cluster(struct info *info) {
    text_append_text(&info->text, "# Cluster\r\n");
    line_u64(info, "cluster_enabled", worker_map(info->worker) != NULL);
}

void info_cluster_info(struct info *info) {
    text_append_text(&info->text, "# Cluster Info\r\n");
    if (info->cluster != NULL) {
        text_append_text(&info->text, info->cluster);
    }
}

void info_scripting_engines(struct info *info) {
    text_append_text(&info->text, "# Scripting Engines\r\n");
    unsigned long long used = info->sum.scripts_bytes + info->sum.functions_bytes;
    line_u64(info, "engines_count", 1);
    line_u64(info, "engines_total_used_memory", used);
    ZERO(info, "engines_total_memory_overhead");
    text_appendf(
        &info->text,
        "engine_0:name=LUA,module=lua,abi_version=4,used_memory=%llu,memory_overhead=0\r\n", used);
}

void info_debug(struct info *info) {
    text_append_text(&info->text, "# Debug\r\n");
    const struct totals *t = &info->sum;
    line_u64(info, "eventloop_duration_aof_sum", t->cycle_log_ns / 1000);
    line_u64(info, "eventloop_duration_cron_sum", t->cycle_cron_ns / 1000);
    line_u64(info, "eventloop_duration_max", t->longest_turn_ns / 1000);
    line_u64(info, "eventloop_cmd_per_cycle_max", t->stats.cycle_commands_max);
    ZERO(info, "io_threaded_reads_pending", "io_threaded_writes_pending");
}
