/* SPDX-License-Identifier: BSD-3-Clause */
/* config_table: the directives of Valkey 9.1, and Shoal's own.
 *
 * One flat table, because a reader looks for one directive and wants all about it in one line:
 * name, older name, field, default, flags, range. Rows with ROW_ACTS do something; the others are
 * accepted, kept and shown until their feature is built (docs/compat.md lists them; a test
 * compares). Defaults are text and go through the row's own parser, so that a row cannot have a
 * default that it would refuse.
 */
#include "server/config/config_row.h"

#include <limits.h>
#include <stddef.h>

/* clang-format off */

static const struct config_name names_protected[] = {
    {"no", CONFIG_PROTECTED_NO}, {"yes", CONFIG_PROTECTED_YES}, {"local", CONFIG_PROTECTED_LOCAL}, {NULL, 0}};
static const struct config_name names_loglevel[] = {
    {"debug", CONFIG_LOG_DEBUG}, {"verbose", CONFIG_LOG_VERBOSE}, {"notice", CONFIG_LOG_NOTICE},
    {"warning", CONFIG_LOG_WARNING}, {"nothing", CONFIG_LOG_NOTHING}, {NULL, 0}};
static const struct config_name names_log_format[] = {
    {"legacy", CONFIG_LOG_LEGACY}, {"logfmt", CONFIG_LOG_LOGFMT}, {"json", CONFIG_LOG_JSON}, {NULL, 0}};
static const struct config_name names_log_timestamp[] = {
    {"legacy", CONFIG_TIME_LEGACY}, {"iso8601", CONFIG_TIME_ISO8601},
    {"milliseconds", CONFIG_TIME_MILLISECONDS}, {NULL, 0}};
static const struct config_name names_supervised[] = {
    {"upstart", CONFIG_SUPERVISED_UPSTART}, {"systemd", CONFIG_SUPERVISED_SYSTEMD},
    {"auto", CONFIG_SUPERVISED_AUTO}, {"no", CONFIG_SUPERVISED_NO}, {NULL, 0}};
static const struct config_name names_appendfsync[] = {
    {"everysec", CONFIG_FSYNC_EVERYSEC}, {"always", CONFIG_FSYNC_ALWAYS}, {"no", CONFIG_FSYNC_NO}, {NULL, 0}};
static const struct config_name names_maxmemory_policy[] = {
    {"volatile-lru", CONFIG_EVICT_VOLATILE_LRU}, {"volatile-lfu", CONFIG_EVICT_VOLATILE_LFU},
    {"volatile-random", CONFIG_EVICT_VOLATILE_RANDOM}, {"volatile-ttl", CONFIG_EVICT_VOLATILE_TTL},
    {"allkeys-lru", CONFIG_EVICT_ALLKEYS_LRU}, {"allkeys-lfu", CONFIG_EVICT_ALLKEYS_LFU},
    {"allkeys-random", CONFIG_EVICT_ALLKEYS_RANDOM}, {"noeviction", CONFIG_EVICT_NONE}, {NULL, 0}};
static const struct config_name names_shutdown[] = {
    {"default", 0}, {"save", CONFIG_SHUTDOWN_SAVE}, {"nosave", CONFIG_SHUTDOWN_NOSAVE}, {"now", CONFIG_SHUTDOWN_NOW},
    {"force", CONFIG_SHUTDOWN_FORCE}, {"safe", CONFIG_SHUTDOWN_SAFE}, {"failover", CONFIG_SHUTDOWN_FAILOVER}, {NULL, 0}};
/* The number is the one that syslog(3) has for the facility, in eights. */
static const struct config_name names_syslog_facility[] = {
    {"user", 1}, {"local0", 16}, {"local1", 17}, {"local2", 18}, {"local3", 19}, {"local4", 20}, {"local5", 21},
    {"local6", 22}, {"local7", 23}, {NULL, 0}};
static const struct config_name names_pipeline_order[] = {
    {"relaxed", CONFIG_PIPELINE_RELAXED},
    {"writes", CONFIG_PIPELINE_WRITES},
    {"strict", CONFIG_PIPELINE_STRICT},
    {NULL, 0}};
static const struct config_name names_io_backend[] = {
    {"auto", CONFIG_IO_AUTO}, {"uring", CONFIG_IO_URING}, {"epoll", CONFIG_IO_EPOLL}, {NULL, 0}};

static const struct config_name names_tls_auth[] = {
    {"no", CONFIG_TLS_AUTH_NO}, {"yes", CONFIG_TLS_AUTH_YES}, {"optional", CONFIG_TLS_AUTH_OPTIONAL}, {NULL, 0}};
static const struct config_name names_tls_user[] = {
    {"CN", CONFIG_TLS_USER_CN}, {"URI", CONFIG_TLS_USER_URI}, {"off", CONFIG_TLS_USER_OFF}, {NULL, 0}};

static const struct config_name names_propagation_error[] = {
    {"ignore", CONFIG_PROPAGATION_IGNORE}, {"panic", CONFIG_PROPAGATION_PANIC},
    {"panic-on-replicas", CONFIG_PROPAGATION_PANIC_ON_REPLICAS}, {NULL, 0}};
/* Kept only: the numbers mean nothing yet. */
static const struct config_name names_rdb_version_check[] = {{"strict", 0}, {"relaxed", 1}, {NULL, 0}};
static const struct config_name names_diskless_load[] = {
    {"disabled", CONFIG_DISKLESS_DISABLED}, {"on-empty-db", CONFIG_DISKLESS_ON_EMPTY},
    {"swapdb", CONFIG_DISKLESS_SWAPDB}, {"flush-before-load", CONFIG_DISKLESS_FLUSH}, {NULL, 0}};
static const struct config_name names_acl_pubsub[] = {{"allchannels", 0}, {"resetchannels", 1}, {NULL, 0}};
static const struct config_name names_oom_score_adj[] = {
    {"no", CONFIG_OOM_NO}, {"yes", CONFIG_OOM_RELATIVE}, {"relative", CONFIG_OOM_RELATIVE},
    {"absolute", CONFIG_OOM_ABSOLUTE}, {NULL, 0}};
static const struct config_name names_config_save[] = {{"sync", 0}, {"best-effort", 1}, {NULL, 0}};
static const struct config_name names_save_format[] = {
    {"shoal", CONFIG_SAVE_SHOAL}, {"rdb", CONFIG_SAVE_RDB}, {NULL, 0}};
static const struct config_name names_endpoint_type[] = {
    {"ip", CONFIG_ENDPOINT_IP}, {"hostname", CONFIG_ENDPOINT_HOSTNAME}, {"unknown-endpoint", CONFIG_ENDPOINT_UNKNOWN}, {NULL, 0}};

#define FIELD(f) offsetof(struct config, f)
#define BOOL(n, a, f, i, fl) \
    {.name = n, .alias = a, .kind = KIND_BOOL, .offset = FIELD(f), .initial = i, .flags = fl}
#define NUMBER(k, n, a, f, i, fl, lo, hi, adj) \
    {.name = n, .alias = a, .kind = k, .offset = FIELD(f), .initial = i, .flags = fl, .min = lo, .max = hi, .adjust = adj}
#define INT(n, a, f, i, fl, lo, hi, adj)    NUMBER(KIND_INT, n, a, f, i, fl, lo, hi, adj)
#define MEMORY(n, a, f, i, fl, lo, hi, adj) NUMBER(KIND_MEMORY, n, a, f, i, fl, lo, hi, adj)
#define SMEMORY(n, a, f, i, fl, lo, hi)     NUMBER(KIND_SMEMORY, n, a, f, i, fl, lo, hi, NULL)
#define PERCENT(n, a, f, i, fl, lo, hi)     NUMBER(KIND_PERCENT, n, a, f, i, fl, lo, hi, NULL)
#define OCTAL(n, a, f, i, fl, lo, hi)       NUMBER(KIND_OCTAL, n, a, f, i, fl, lo, hi, NULL)
#define UMEMORY(n, a, f, i, fl)             NUMBER(KIND_UMEMORY, n, a, f, i, fl, 0, 0, NULL)
#define ENUM(n, a, f, i, fl, en) \
    {.name = n, .alias = a, .kind = KIND_ENUM, .offset = FIELD(f), .initial = i, .flags = fl, .names = en}
#define FLAGS(n, a, f, i, fl, en, ck) \
    {.name = n, .alias = a, .kind = KIND_FLAGS, .offset = FIELD(f), .initial = i, .flags = fl, .names = en, .refuse_flags = ck}
#define STRING(n, a, f, i, fl, ck) \
    {.name = n, .alias = a, .kind = KIND_STRING, .heap = HEAP_BYTES, .offset = FIELD(f), .initial = i, .flags = fl, .refuse = ck}
#define SPECIAL(n, a, f, h, i, fl, ps, pr) \
    {.name = n, .alias = a, .kind = KIND_SPECIAL, .heap = h, .offset = FIELD(f), .initial = i, .flags = fl, .parse = ps, .print = pr}

const struct config_row config_rows[] = {
    /* Network */
    SPECIAL("bind", NULL, bind, HEAP_BYTES, "* -::*", ROW_MULTI | ROW_ACTS, config_parse_bind, config_print_bind),
    STRING("bind-source-addr", NULL, bind_source_addr, "", ROW_ACTS, NULL),
    ENUM("enable-debug-command", NULL, enable_debug_command, "no", ROW_IMMUTABLE | ROW_ACTS, names_protected),
    ENUM("enable-module-command", NULL, enable_module_command, "no", ROW_IMMUTABLE, names_protected),
    ENUM("enable-protected-configs", NULL, enable_protected_configs, "no", ROW_IMMUTABLE | ROW_ACTS, names_protected),
    BOOL("mptcp", NULL, mptcp, "no", ROW_IMMUTABLE | ROW_ACTS),
    INT("port", NULL, port, "6379", ROW_ACTS | ROW_BY_NODE, 0, 65535, NULL),
    BOOL("protected-mode", NULL, protected_mode, "yes", ROW_ACTS),
    INT("socket-mark-id", NULL, socket_mark_id, "0", ROW_IMMUTABLE | ROW_ACTS, 0, UINT32_MAX, NULL),
    INT("tcp-backlog", NULL, tcp_backlog, "511", ROW_IMMUTABLE | ROW_ACTS, 0, INT_MAX, NULL),
    INT("tcp-keepalive", NULL, tcp_keepalive, "300", ROW_ACTS, 0, INT_MAX, NULL),
    INT("timeout", NULL, timeout, "0", ROW_ACTS, 0, INT_MAX, NULL),
    STRING("unixsocket", NULL, unixsocket, "", ROW_IMMUTABLE | ROW_ACTS | ROW_BY_NODE, NULL),
    STRING("unixsocketgroup", NULL, unixsocketgroup, "", ROW_IMMUTABLE | ROW_ACTS, NULL),
    OCTAL("unixsocketperm", NULL, unixsocketperm, "0", ROW_IMMUTABLE | ROW_ACTS, 0, 0777),

    /* Tls */
    ENUM("tls-auth-clients", NULL, tls_auth_clients, "yes", ROW_ACTS, names_tls_auth),
    ENUM("tls-auth-clients-user", NULL, tls_auth_clients_user, "off", ROW_ACTS, names_tls_user),
    INT("tls-auto-reload-interval", NULL, tls_auto_reload_interval, "0", ROW_ACTS, 0, INT_MAX, NULL),
    STRING("tls-ca-cert-dir", NULL, tls_ca_cert_dir, "", ROW_VOLATILE | ROW_ACTS, NULL),
    STRING("tls-ca-cert-file", NULL, tls_ca_cert_file, "", ROW_VOLATILE | ROW_ACTS, NULL),
    STRING("tls-cert-file", NULL, tls_cert_file, "", ROW_VOLATILE | ROW_ACTS, NULL),
    STRING("tls-ciphers", NULL, tls_ciphers, "", ROW_ACTS, NULL),
    STRING("tls-ciphersuites", NULL, tls_ciphersuites, "", ROW_ACTS, NULL),
    STRING("tls-client-cert-file", NULL, tls_client_cert_file, "", ROW_VOLATILE | ROW_ACTS, NULL),
    STRING("tls-client-key-file", NULL, tls_client_key_file, "", ROW_VOLATILE | ROW_ACTS, NULL),
    STRING("tls-client-key-file-pass", NULL, tls_client_key_file_pass, "", ROW_SENSITIVE | ROW_ACTS, NULL),
    BOOL("tls-cluster", NULL, tls_cluster, "no", ROW_ACTS),
    STRING("tls-dh-params-file", NULL, tls_dh_params_file, "", ROW_VOLATILE | ROW_ACTS, NULL),
    STRING("tls-key-file", NULL, tls_key_file, "", ROW_VOLATILE | ROW_ACTS, NULL),
    STRING("tls-key-file-pass", NULL, tls_key_file_pass, "", ROW_SENSITIVE | ROW_ACTS, NULL),
    INT("tls-port", NULL, tls_port, "0", ROW_ACTS | ROW_BY_NODE, 0, 65535, NULL),
    BOOL("tls-prefer-server-ciphers", NULL, tls_prefer_server_ciphers, "no", ROW_ACTS),
    STRING("tls-protocols", NULL, tls_protocols, "", ROW_ACTS, NULL),
    BOOL("tls-replication", NULL, tls_replication, "no", ROW_ACTS),
    INT("tls-session-cache-size", NULL, tls_session_cache_size, "20480", ROW_ACTS, 0, INT_MAX, NULL),
    INT("tls-session-cache-timeout", NULL, tls_session_cache_timeout, "300", ROW_ACTS, 0, INT_MAX, NULL),
    BOOL("tls-session-caching", NULL, tls_session_caching, "yes", ROW_ACTS),

    /* Rdma */
    SPECIAL("rdma-bind", NULL, rdma_bind, HEAP_BYTES, "", ROW_MULTI, config_parse_rdma_bind, config_print_rdma_bind),
    INT("rdma-completion-vector", NULL, rdma_completion_vector, "-1", ROW_IMMUTABLE, -1, 1024, NULL),
    INT("rdma-port", NULL, rdma_port, "0", 0, 0, 65535, NULL),
    INT("rdma-rx-size", NULL, rdma_rx_size, "1048576", ROW_IMMUTABLE, 65536, 16777216, NULL),

    /* General */
    BOOL("always-show-logo", NULL, always_show_logo, "no", ROW_IMMUTABLE | ROW_ACTS),
    STRING("availability-zone", NULL, availability_zone, "", ROW_ACTS, NULL),
    BOOL("crash-log-enabled", NULL, crash_log_enabled, "yes", ROW_ACTS),
    BOOL("crash-memcheck-enabled", NULL, crash_memcheck_enabled, "yes", 0),
    BOOL("daemonize", NULL, daemonize, "no", ROW_IMMUTABLE | ROW_ACTS),
    INT("databases", NULL, databases, "16", ROW_IMMUTABLE | ROW_ACTS, 1, INT_MAX, NULL),
    BOOL("extended-redis-compatibility", NULL, extended_redis_compatibility, "no", ROW_ACTS),
    STRING("hash-seed", NULL, hash_seed, "", ROW_IMMUTABLE | ROW_ACTS, NULL),
    BOOL("hide-user-data-from-log", NULL, hide_user_data_from_log, "yes", ROW_ACTS),
    STRING("locale-collate", NULL, locale_collate, "", ROW_ACTS, config_check_locale),
    ENUM("log-format", NULL, log_format, "legacy", ROW_ACTS, names_log_format),
    ENUM("log-timestamp-format", NULL, log_timestamp_format, "legacy", ROW_ACTS, names_log_timestamp),
    STRING("logfile", NULL, logfile, "", ROW_IMMUTABLE | ROW_ACTS, config_check_logfile),
    ENUM("loglevel", NULL, loglevel, "notice", ROW_ACTS, names_loglevel),
    STRING("pidfile", NULL, pidfile, "", ROW_IMMUTABLE | ROW_ACTS, NULL),
    STRING("proc-title-template", NULL, proc_title_template, "{title} {listen-addr} {server-mode}", ROW_ACTS, config_check_proc_title),
    BOOL("set-proc-title", NULL, set_proc_title, "yes", ROW_IMMUTABLE | ROW_ACTS),
    ENUM("supervised", NULL, supervised, "no", ROW_IMMUTABLE | ROW_ACTS, names_supervised),
    BOOL("syslog-enabled", NULL, syslog_enabled, "no", ROW_IMMUTABLE | ROW_ACTS),
    ENUM("syslog-facility", NULL, syslog_facility, "local0", ROW_IMMUTABLE | ROW_ACTS, names_syslog_facility),
    STRING("syslog-ident", NULL, syslog_ident, "valkey", ROW_IMMUTABLE | ROW_ACTS, NULL),

    /* Snapshots */
    STRING("dbfilename", NULL, dbfilename, "dump.rdb", ROW_PROTECTED | ROW_ACTS | ROW_BY_NODE, config_check_filename),
    SPECIAL("dir", NULL, dir, HEAP_BYTES, "", ROW_PROTECTED | ROW_NO_LOADING | ROW_ACTS, config_parse_dir, config_print_dir),
    BOOL("rdb-del-sync-files", NULL, rdb_del_sync_files, "no", 0),
    ENUM("rdb-version-check", NULL, rdb_version_check, "strict", ROW_ACTS, names_rdb_version_check),
    BOOL("rdbchecksum", NULL, rdbchecksum, "yes", ROW_IMMUTABLE | ROW_ACTS),
    BOOL("rdbcompression", NULL, rdbcompression, "yes", ROW_ACTS),
    SPECIAL("save", NULL, save, HEAP_SAVES, "3600 1 300 100 60 10000", ROW_MULTI | ROW_ACTS, config_parse_save, config_print_save),
    BOOL("stop-writes-on-bgsave-error", NULL, stop_writes_on_bgsave_error, "yes", ROW_ACTS),

    /* Replication */
    BOOL("dual-channel-replication-enabled", NULL, dual_channel_replication_enabled, "no", 0),
    BOOL("import-mode", NULL, import_mode, "no", ROW_ACTS),
    INT("min-replicas-max-lag", "min-slaves-max-lag", min_replicas_max_lag, "10", ROW_ACTS, 0, INT_MAX, NULL),
    INT("min-replicas-to-write", "min-slaves-to-write", min_replicas_to_write, "0", ROW_ACTS, 0, INT_MAX, NULL),
    STRING("primaryauth", "masterauth", primaryauth, "", ROW_SENSITIVE | ROW_ACTS, NULL),
    STRING("primaryuser", "masteruser", primaryuser, "", ROW_SENSITIVE | ROW_ACTS, NULL),
    ENUM("propagation-error-behavior", NULL, propagation_error_behavior, "ignore", ROW_ACTS, names_propagation_error),
    MEMORY("repl-backlog-size", NULL, repl_backlog_size, "10485760", ROW_ACTS, 1, INT64_MAX, config_adjust_backlog),
    INT("repl-backlog-ttl", NULL, repl_backlog_ttl, "3600", ROW_ACTS, 0, INT64_MAX, NULL),
    BOOL("repl-disable-tcp-nodelay", NULL, repl_disable_tcp_nodelay, "no", ROW_ACTS),
    ENUM("repl-diskless-load", NULL, repl_diskless_load, "disabled", ROW_NO_LOADING | ROW_ACTS, names_diskless_load),
    BOOL("repl-diskless-sync", NULL, repl_diskless_sync, "yes", ROW_ACTS),
    INT("repl-diskless-sync-delay", NULL, repl_diskless_sync_delay, "5", ROW_ACTS, 0, INT_MAX, NULL),
    INT("repl-diskless-sync-max-replicas", NULL, repl_diskless_sync_max_replicas, "0", ROW_ACTS, 0, INT_MAX, NULL),
    BOOL("repl-mptcp", NULL, repl_mptcp, "no", ROW_IMMUTABLE | ROW_ACTS),
    INT("repl-ping-replica-period", "repl-ping-slave-period", repl_ping_replica_period, "10", ROW_ACTS, 1, INT_MAX, NULL),
    INT("repl-timeout", NULL, repl_timeout, "60", ROW_ACTS, 1, INT_MAX, NULL),
    STRING("replica-announce-ip", "slave-announce-ip", replica_announce_ip, "", ROW_ACTS, NULL),
    INT("replica-announce-port", "slave-announce-port", replica_announce_port, "0", ROW_ACTS | ROW_BY_NODE, 0, 65535, NULL),
    BOOL("replica-announced", NULL, replica_announced, "yes", ROW_ACTS),
    BOOL("replica-ignore-disk-write-errors", NULL, replica_ignore_disk_write_errors, "no", ROW_ACTS),
    INT("replica-priority", "slave-priority", replica_priority, "100", ROW_ACTS, 0, INT_MAX, NULL),
    BOOL("replica-read-only", "slave-read-only", replica_read_only, "yes", ROW_ACTS),
    BOOL("replica-serve-stale-data", "slave-serve-stale-data", replica_serve_stale_data, "yes", ROW_ACTS),
    INT("replicas-ack", NULL, replicas_ack, "0", ROW_OWN | ROW_ACTS, 0, INT_MAX, NULL),
    SPECIAL("replicaof", "slaveof", replicaof, HEAP_BYTES, "", ROW_IMMUTABLE | ROW_MULTI | ROW_ACTS, config_parse_replicaof, config_print_replicaof),

    /* Keys tracking, security, clients */
    INT("tracking-table-max-keys", NULL, tracking_table_max_keys, "1000000", ROW_ACTS, 0, INT64_MAX, NULL),
    ENUM("acl-pubsub-default", NULL, acl_pubsub_default, "resetchannels", ROW_ACTS, names_acl_pubsub),
    STRING("aclfile", NULL, aclfile, "", ROW_IMMUTABLE | ROW_ACTS, NULL),
    INT("acllog-max-len", NULL, acllog_max_len, "128", ROW_ACTS, 0, INT64_MAX, NULL),
    STRING("requirepass", NULL, requirepass, "", ROW_SENSITIVE | ROW_ACTS, NULL),
    INT("maxclients", NULL, maxclients, "10000", ROW_ACTS, 1, UINT32_MAX, NULL),

    /* Memory */
    INT("active-expire-effort", NULL, active_expire_effort, "1", ROW_ACTS, 1, 10, NULL),
    UMEMORY("maxmemory", NULL, maxmemory, "0", ROW_ACTS | ROW_BY_NODE),
    INT("maxmemory-eviction-tenacity", NULL, maxmemory_eviction_tenacity, "10", ROW_ACTS, 0, 100, NULL),
    ENUM("maxmemory-policy", NULL, maxmemory_policy, "noeviction", ROW_ACTS, names_maxmemory_policy),
    INT("maxmemory-samples", NULL, maxmemory_samples, "5", ROW_ACTS, 1, 64, NULL),
    BOOL("replica-ignore-maxmemory", "slave-ignore-maxmemory", replica_ignore_maxmemory, "yes", ROW_ACTS),
    BOOL("lazyfree-lazy-eviction", NULL, lazyfree_lazy_eviction, "yes", ROW_ACTS),
    BOOL("lazyfree-lazy-expire", NULL, lazyfree_lazy_expire, "yes", ROW_ACTS),
    BOOL("lazyfree-lazy-server-del", NULL, lazyfree_lazy_server_del, "yes", ROW_ACTS),
    BOOL("lazyfree-lazy-user-del", NULL, lazyfree_lazy_user_del, "yes", ROW_ACTS),
    BOOL("lazyfree-lazy-user-flush", NULL, lazyfree_lazy_user_flush, "yes", ROW_ACTS),
    BOOL("replica-lazy-flush", "slave-lazy-flush", replica_lazy_flush, "yes", ROW_ACTS),

    /* Threads, kernel */
    INT("io-threads", NULL, io_threads, "1", ROW_MISSED, 1, 256, NULL),
    BOOL("disable-thp", NULL, disable_thp, "yes", ROW_IMMUTABLE | ROW_ACTS),
    ENUM("oom-score-adj", NULL, oom_score_adj, "no", ROW_ACTS, names_oom_score_adj),
    SPECIAL("oom-score-adj-values", NULL, oom_score_adj_values, HEAP_NONE, "0 200 800", ROW_MULTI | ROW_ACTS, config_parse_oom_values, config_print_oom_values),

    /* Append-only file */
    BOOL("aof-load-truncated", NULL, aof_load_truncated, "yes", ROW_ACTS),
    BOOL("aof-timestamp-enabled", NULL, aof_timestamp_enabled, "no", 0),
    BOOL("aof-use-rdb-preamble", NULL, aof_use_rdb_preamble, "yes", 0),
    STRING("appenddirname", NULL, appenddirname, "appendonlydir", ROW_IMMUTABLE | ROW_ACTS | ROW_BY_NODE, config_check_dirname),
    STRING("appendfilename", NULL, appendfilename, "appendonly.aof", ROW_IMMUTABLE | ROW_ACTS, config_check_filename),
    ENUM("appendfsync", NULL, appendfsync, "everysec", ROW_ACTS, names_appendfsync),
    BOOL("appendonly", NULL, appendonly, "no", ROW_NO_LOADING | ROW_ACTS),
    MEMORY("auto-aof-rewrite-min-size", NULL, auto_aof_rewrite_min_size, "67108864", ROW_ACTS, 0, INT64_MAX, NULL),
    INT("auto-aof-rewrite-percentage", NULL, auto_aof_rewrite_percentage, "100", ROW_ACTS, 0, INT_MAX, NULL),
    BOOL("no-appendfsync-on-rewrite", NULL, no_appendfsync_on_rewrite, "no", ROW_ACTS),

    /* Shutdown, long commands */
    FLAGS("shutdown-on-sigint", NULL, shutdown_on_sigint, "default", ROW_MULTI | ROW_ACTS, names_shutdown, config_check_shutdown),
    FLAGS("shutdown-on-sigterm", NULL, shutdown_on_sigterm, "default", ROW_MULTI | ROW_ACTS, names_shutdown, config_check_shutdown),
    INT("shutdown-timeout", NULL, shutdown_timeout, "10", ROW_ACTS, 0, INT_MAX, NULL),
    INT("busy-reply-threshold", "lua-time-limit", busy_reply_threshold, "5000", ROW_ACTS, 0, INT64_MAX, NULL),

    /* Cluster */
    BOOL("cluster-allow-pubsubshard-when-down", NULL, cluster_allow_pubsubshard_when_down, "yes", ROW_ACTS),
    BOOL("cluster-allow-reads-when-down", NULL, cluster_allow_reads_when_down, "no", ROW_ACTS),
    BOOL("cluster-allow-replica-migration", NULL, cluster_allow_replica_migration, "yes", ROW_ACTS),
    INT("cluster-announce-bus-port", NULL, cluster_announce_bus_port, "0", ROW_ACTS | ROW_BY_NODE, 0, 65535, NULL),
    STRING("cluster-announce-client-ipv4", NULL, cluster_announce_client_ipv4, "", ROW_ACTS, config_check_ipv4),
    STRING("cluster-announce-client-ipv6", NULL, cluster_announce_client_ipv6, "", ROW_ACTS, config_check_ipv6),
    INT("cluster-announce-client-port", NULL, cluster_announce_client_port, "0", ROW_ACTS | ROW_BY_NODE, 0, 65535, NULL),
    INT("cluster-announce-client-tls-port", NULL, cluster_announce_client_tls_port, "0", ROW_ACTS | ROW_BY_NODE, 0, 65535, NULL),
    STRING("cluster-announce-hostname", NULL, cluster_announce_hostname, "", ROW_ACTS, config_check_hostname),
    STRING("cluster-announce-human-nodename", NULL, cluster_announce_human_nodename, "", ROW_ACTS | ROW_BY_NODE, config_check_nodename),
    STRING("cluster-announce-ip", NULL, cluster_announce_ip, "", ROW_ACTS, config_check_announce_ip),
    INT("cluster-announce-port", NULL, cluster_announce_port, "0", ROW_ACTS | ROW_BY_NODE, 0, 65535, NULL),
    INT("cluster-announce-tls-port", NULL, cluster_announce_tls_port, "0", ROW_ACTS | ROW_BY_NODE, 0, 65535, NULL),
    INT("cluster-blacklist-ttl", NULL, cluster_blacklist_ttl, "60", ROW_ACTS, INT64_MIN, INT64_MAX, NULL),
    STRING("cluster-config-file", NULL, cluster_config_file, "nodes.conf", ROW_IMMUTABLE | ROW_ACTS | ROW_BY_NODE, NULL),
    ENUM("cluster-config-save-behavior", NULL, cluster_config_save_behavior, "sync", ROW_ACTS, names_config_save),
    INT("cluster-databases", NULL, cluster_databases, "1", ROW_IMMUTABLE | ROW_ACTS, 1, INT_MAX, NULL),
    BOOL("cluster-enabled", NULL, cluster_enabled, "no", ROW_IMMUTABLE | ROW_ACTS),
    UMEMORY("cluster-link-sendbuf-limit", NULL, cluster_link_sendbuf_limit, "0", ROW_ACTS),
    INT("cluster-manual-failover-timeout", NULL, cluster_manual_failover_timeout, "5000", ROW_ACTS, 1, INT_MAX, NULL),
    INT("cluster-migration-barrier", NULL, cluster_migration_barrier, "1", ROW_ACTS, 0, INT_MAX, NULL),
    INT("cluster-node-timeout", NULL, cluster_node_timeout, "15000", ROW_ACTS, 0, INT64_MAX, NULL),
    INT("cluster-port", NULL, cluster_port, "0", ROW_IMMUTABLE | ROW_ACTS | ROW_BY_NODE, 0, 65535, NULL),
    ENUM("cluster-preferred-endpoint-type", NULL, cluster_preferred_endpoint_type, "ip", ROW_ACTS, names_endpoint_type),
    BOOL("cluster-replica-no-failover", "cluster-slave-no-failover", cluster_replica_no_failover, "no", ROW_ACTS),
    INT("cluster-replica-validity-factor", "cluster-slave-validity-factor", cluster_replica_validity_factor, "10", ROW_ACTS, 0, INT_MAX, NULL),
    BOOL("cluster-require-full-coverage", NULL, cluster_require_full_coverage, "yes", ROW_ACTS),
    INT("cluster-slot-migration-log-max-len", NULL, cluster_slot_migration_log_max_len, "1000", ROW_ACTS, 0, INT64_MAX, NULL),
    BOOL("cluster-slot-stats-enabled", NULL, cluster_slot_stats_enabled, "no", ROW_ACTS),
    SMEMORY("slot-migration-max-failover-repl-bytes", NULL, slot_migration_max_failover_repl_bytes, "0", ROW_ACTS, -1, INT64_MAX),

    /* Command log, latency, events */
    INT("commandlog-execution-slower-than", "slowlog-log-slower-than", commandlog_execution_slower_than, "10000", ROW_ACTS, -1, INT64_MAX, NULL),
    INT("commandlog-large-reply-max-len", NULL, commandlog_large_reply_max_len, "128", ROW_ACTS, 0, INT64_MAX, NULL),
    INT("commandlog-large-request-max-len", NULL, commandlog_large_request_max_len, "128", ROW_ACTS, 0, INT64_MAX, NULL),
    INT("commandlog-reply-larger-than", NULL, commandlog_reply_larger_than, "1048576", ROW_ACTS, -1, INT64_MAX, NULL),
    INT("commandlog-request-larger-than", NULL, commandlog_request_larger_than, "1048576", ROW_ACTS, -1, INT64_MAX, NULL),
    INT("commandlog-slow-execution-max-len", "slowlog-max-len", commandlog_slow_execution_max_len, "128", ROW_ACTS, 0, INT64_MAX, NULL),
    INT("latency-monitor-threshold", NULL, latency_monitor_threshold, "0", ROW_ACTS, 0, INT64_MAX, NULL),
    BOOL("latency-tracking", NULL, latency_tracking, "yes", ROW_ACTS),
    SPECIAL("latency-tracking-info-percentiles", NULL, latency_tracking_info_percentiles, HEAP_PERCENTILES, "50 99 99.9", ROW_MULTI | ROW_ACTS, config_parse_percentiles, config_print_percentiles),
    SPECIAL("notify-keyspace-events", NULL, notify_keyspace_events, HEAP_NONE, "", ROW_ACTS, config_parse_notify, config_print_notify),

    /* Advanced */
    BOOL("activerehashing", NULL, activerehashing, "yes", 0),
    STRING("aof-rewrite-cpulist", "aof_rewrite_cpulist", aof_rewrite_cpulist, "", ROW_IMMUTABLE, NULL),
    BOOL("aof-rewrite-incremental-fsync", NULL, aof_rewrite_incremental_fsync, "yes", ROW_ACTS),
    STRING("bgsave-cpulist", "bgsave_cpulist", bgsave_cpulist, "", ROW_IMMUTABLE | ROW_MISSED, NULL),
    STRING("bio-cpulist", "bio_cpulist", bio_cpulist, "", ROW_IMMUTABLE | ROW_ACTS, config_check_cpulist),
    SPECIAL("client-output-buffer-limit", NULL, client_output_buffer_limit, HEAP_NONE, "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60", ROW_MULTI | ROW_ACTS, config_parse_output_limits, config_print_output_limits),
    MEMORY("client-query-buffer-limit", NULL, client_query_buffer_limit, "1073741824", ROW_ACTS, 1048576, INT64_MAX, NULL),
    INT("hash-max-listpack-entries", "hash-max-ziplist-entries", hash_max_listpack_entries, "512", ROW_ACTS, 0, INT64_MAX, NULL),
    MEMORY("hash-max-listpack-value", "hash-max-ziplist-value", hash_max_listpack_value, "64", ROW_ACTS, 0, INT64_MAX, NULL),
    MEMORY("hll-sparse-max-bytes", NULL, hll_sparse_max_bytes, "3000", ROW_ACTS, 0, INT64_MAX, NULL),
    INT("hz", NULL, hz, "10", ROW_ACTS, 0, INT_MAX, config_adjust_hz),
    STRING("ignore-warnings", NULL, ignore_warnings, "", 0, NULL),
    INT("lfu-decay-time", NULL, lfu_decay_time, "1", ROW_ACTS, 0, INT_MAX, NULL),
    INT("lfu-log-factor", NULL, lfu_log_factor, "10", ROW_ACTS, 0, INT_MAX, NULL),
    INT("list-compress-depth", NULL, list_compress_depth, "0", ROW_ACTS, 0, INT_MAX, NULL),
    INT("list-max-listpack-size", "list-max-ziplist-size", list_max_listpack_size, "-2", ROW_ACTS, INT_MIN, INT_MAX, NULL),
    INT("max-new-connections-per-cycle", NULL, max_new_connections_per_cycle, "10", ROW_ACTS, 1, 1000, NULL),
    INT("max-new-tls-connections-per-cycle", NULL, max_new_tls_connections_per_cycle, "1", ROW_ACTS, 1, 1000, NULL),
    PERCENT("maxmemory-clients", NULL, maxmemory_clients, "0", ROW_ACTS | ROW_BY_NODE, -100, INT64_MAX),
    INT("prefetch-batch-max-size", NULL, prefetch_batch_max_size, "16", 0, 0, 128, NULL),
    MEMORY("proto-max-bulk-len", NULL, proto_max_bulk_len, "536870912", ROW_ACTS, 1048576, INT64_MAX, NULL),
    BOOL("rdb-save-incremental-fsync", NULL, rdb_save_incremental_fsync, "yes", ROW_ACTS),
    STRING("server-cpulist", "server_cpulist", server_cpulist, "", ROW_IMMUTABLE | ROW_ACTS, config_check_cpulist),
    INT("set-max-intset-entries", NULL, set_max_intset_entries, "512", ROW_ACTS, 0, INT64_MAX, NULL),
    INT("set-max-listpack-entries", NULL, set_max_listpack_entries, "128", ROW_ACTS, 0, INT64_MAX, NULL),
    INT("set-max-listpack-value", NULL, set_max_listpack_value, "64", ROW_ACTS, 0, INT64_MAX, NULL),
    MEMORY("stream-node-max-bytes", NULL, stream_node_max_bytes, "4096", ROW_ACTS, 0, INT64_MAX, NULL),
    INT("stream-node-max-entries", NULL, stream_node_max_entries, "100", ROW_ACTS, 0, INT64_MAX, NULL),
    INT("zset-max-listpack-entries", "zset-max-ziplist-entries", zset_max_listpack_entries, "128", ROW_ACTS, 0, INT64_MAX, NULL),
    MEMORY("zset-max-listpack-value", "zset-max-ziplist-value", zset_max_listpack_value, "64", ROW_ACTS, 0, INT64_MAX, NULL),

    /* Active defragmentation */
    INT("active-defrag-cycle-max", NULL, active_defrag_cycle_max, "25", ROW_ACTS, 1, 99, NULL),
    INT("active-defrag-cycle-min", NULL, active_defrag_cycle_min, "1", ROW_ACTS, 1, 99, NULL),
    INT("active-defrag-cycle-us", NULL, active_defrag_cycle_us, "500", ROW_ACTS, 0, 100000, NULL),
    MEMORY("active-defrag-ignore-bytes", NULL, active_defrag_ignore_bytes, "104857600", ROW_ACTS, 1, INT64_MAX, NULL),
    INT("active-defrag-max-scan-fields", NULL, active_defrag_max_scan_fields, "1000", 0, 1, INT64_MAX, NULL),
    INT("active-defrag-threshold-lower", NULL, active_defrag_threshold_lower, "10", ROW_ACTS, 0, 1000, NULL),
    INT("active-defrag-threshold-upper", NULL, active_defrag_threshold_upper, "100", ROW_ACTS, 0, 1000, NULL),
    BOOL("activedefrag", NULL, activedefrag, "no", ROW_ACTS),
    BOOL("jemalloc-bg-thread", NULL, jemalloc_bg_thread, "yes", 0),

    /* Hidden */
    BOOL("aof-disable-auto-gc", NULL, aof_disable_auto_gc, "no", ROW_HIDDEN),
    INT("cluster-message-gossip-perc", NULL, cluster_message_gossip_perc, "10", ROW_HIDDEN | ROW_ACTS, 1, 100, NULL),
    INT("cluster-ping-interval", NULL, cluster_ping_interval, "0", ROW_HIDDEN | ROW_ACTS, 0, INT64_MAX, NULL),
    STRING("debug-context", NULL, debug_context, "", ROW_HIDDEN | ROW_ACTS, NULL),
    BOOL("enable-debug-assert", NULL, enable_debug_assert, "no", ROW_IMMUTABLE | ROW_HIDDEN),
    BOOL("io-threads-always-active", NULL, io_threads_always_active, "no", ROW_HIDDEN),
    INT("key-load-delay", NULL, key_load_delay, "0", ROW_HIDDEN | ROW_ACTS, INT_MIN, INT_MAX, NULL),
    INT("loading-process-events-interval-bytes", NULL, loading_process_events_interval_bytes, "2097152", ROW_HIDDEN | ROW_ACTS, 1024, INT_MAX, NULL),
    BOOL("lua-enable-insecure-api", "lua-enable-deprecated-api", lua_enable_insecure_api, "no", ROW_HIDDEN | ROW_PROTECTED | ROW_ACTS),
    INT("min-io-threads-avoid-copy-reply", NULL, min_io_threads_avoid_copy_reply, "7", ROW_HIDDEN, 0, INT_MAX, NULL),
    INT("min-string-size-avoid-copy-reply", NULL, min_string_size_avoid_copy_reply, "16384", ROW_HIDDEN, 0, INT_MAX, NULL),
    INT("min-string-size-avoid-copy-reply-threaded", NULL, min_string_size_avoid_copy_reply_threaded, "65536", ROW_HIDDEN, 0, INT_MAX, NULL),
    INT("rdb-key-save-delay", NULL, rdb_key_save_delay, "0", ROW_HIDDEN | ROW_ACTS, INT_MIN, INT_MAX, NULL),
    BOOL("use-exit-on-panic", NULL, use_exit_on_panic, "no", ROW_HIDDEN | ROW_ACTS),
    INT("watchdog-period", NULL, watchdog_period, "0", ROW_HIDDEN | ROW_ACTS, 0, INT_MAX, config_adjust_watchdog),

    /* Shoal's own */
    INT("shards", NULL, shards, "0", ROW_IMMUTABLE | ROW_OWN | ROW_ACTS, 0, CONFIG_SHARDS_MAX, NULL),
    BOOL("cluster-node-per-shard", NULL, cluster_node_per_shard, "no", ROW_IMMUTABLE | ROW_OWN | ROW_ACTS),
    ENUM("pipeline-order", NULL, pipeline_order, "writes", ROW_OWN | ROW_ACTS, names_pipeline_order),
    ENUM("save-format", NULL, save_format, "shoal", ROW_OWN | ROW_ACTS, names_save_format),
    STRING("shard-cpulist", NULL, shard_cpulist, "", ROW_IMMUTABLE | ROW_OWN | ROW_ACTS, config_check_cpulist),
    ENUM("io-backend", NULL, io_backend, "auto", ROW_IMMUTABLE | ROW_OWN | ROW_ACTS, names_io_backend),
    INT("metrics-port", NULL, metrics_port, "0", ROW_OWN | ROW_ACTS | ROW_BY_NODE, 0, 65535, NULL),
    SPECIAL("metrics-bind", NULL, metrics_bind, HEAP_BYTES, "127.0.0.1 -::1", ROW_MULTI | ROW_OWN | ROW_ACTS, config_parse_bind, config_print_bind),
    STRING("metrics-password", NULL, metrics_password, "", ROW_SENSITIVE | ROW_OWN | ROW_ACTS, NULL),
    MEMORY("unauthenticated-maxmemory", NULL, unauthenticated_maxmemory, "67108864", ROW_OWN | ROW_ACTS | ROW_BY_NODE, 0, INT64_MAX, NULL),
    INT("address-maxclients", NULL, address_maxclients, "0", ROW_OWN | ROW_ACTS, 0, INT_MAX, NULL),
    {.name = NULL},
};

/* clang-format on */

const struct config_row *config_row_find(struct bytes name, const char **ret_name) {
    for (const struct config_row *row = config_rows; row->name != NULL; row++) {
        const char *found = NULL;
        if (bytes_equal_nocase(name, bytes_of_text(row->name))) {
            found = row->name;
        } else if (row->alias != NULL && bytes_equal_nocase(name, bytes_of_text(row->alias))) {
            found = row->alias;
        }
        if (found != NULL) {
            if (ret_name != NULL) {
                *ret_name = found;
            }
            return row;
        }
    }
    return NULL;
}
