/* SPDX-License-Identifier: BSD-3-Clause */
/* config: every directive of the server, as one immutable snapshot.
 *
 * A snapshot is built when the server starts and never changes: CONFIG SET makes a new one, which
 * each worker is handed by message. So a worker reads plain fields without a lock, and a command
 * sees one configuration from its first line to its last. The table in config_table.c says
 * everything about a directive: name, type, range, default, place here.
 *
 * Thread: any; a snapshot is read-only. Who shares it between workers counts the references.
 * Ownership: config_defaults, config_copy and config_set give a snapshot to its caller, config_free
 * takes it.
 */
#ifndef SHOAL_SERVER_CONFIG_CONFIG_H
#define SHOAL_SERVER_CONFIG_CONFIG_H

#include "base/bytes.h"
#include "base/text.h"
#include "net/file.h"

#include <stdint.h>

#define CONFIG_SHARDS_MAX 128
#define CONFIG_BIND_MAX   16

enum config_endpoint { CONFIG_ENDPOINT_IP, CONFIG_ENDPOINT_HOSTNAME, CONFIG_ENDPOINT_UNKNOWN };
enum config_protected { CONFIG_PROTECTED_NO, CONFIG_PROTECTED_YES, CONFIG_PROTECTED_LOCAL };
enum config_loglevel {
    CONFIG_LOG_DEBUG,
    CONFIG_LOG_VERBOSE,
    CONFIG_LOG_NOTICE,
    CONFIG_LOG_WARNING,
    CONFIG_LOG_NOTHING,
};
enum config_log_format { CONFIG_LOG_LEGACY, CONFIG_LOG_LOGFMT, CONFIG_LOG_JSON };
enum config_log_timestamp { CONFIG_TIME_LEGACY, CONFIG_TIME_ISO8601, CONFIG_TIME_MILLISECONDS };
enum config_supervised {
    CONFIG_SUPERVISED_NO,
    CONFIG_SUPERVISED_AUTO,
    CONFIG_SUPERVISED_SYSTEMD,
    CONFIG_SUPERVISED_UPSTART,
};
enum config_appendfsync { CONFIG_FSYNC_NO, CONFIG_FSYNC_EVERYSEC, CONFIG_FSYNC_ALWAYS };
enum config_pipeline_order {
    CONFIG_PIPELINE_RELAXED,
    CONFIG_PIPELINE_WRITES,
    CONFIG_PIPELINE_STRICT
};
enum config_propagation {
    CONFIG_PROPAGATION_IGNORE,
    CONFIG_PROPAGATION_PANIC,
    CONFIG_PROPAGATION_PANIC_ON_REPLICAS,
};
enum config_acl_pubsub { CONFIG_ACL_ALL_CHANNELS, CONFIG_ACL_NO_CHANNELS };
enum config_io_backend { CONFIG_IO_AUTO, CONFIG_IO_URING, CONFIG_IO_EPOLL };

enum config_tls_auth { CONFIG_TLS_AUTH_NO, CONFIG_TLS_AUTH_YES, CONFIG_TLS_AUTH_OPTIONAL };
enum config_tls_user { CONFIG_TLS_USER_CN, CONFIG_TLS_USER_URI, CONFIG_TLS_USER_OFF };

/* oom-score-adj: yes is relative. */
enum config_oom { CONFIG_OOM_NO, CONFIG_OOM_RELATIVE, CONFIG_OOM_ABSOLUTE };

enum config_eviction {
    CONFIG_EVICT_VOLATILE_LRU,
    CONFIG_EVICT_VOLATILE_LFU,
    CONFIG_EVICT_VOLATILE_RANDOM,
    CONFIG_EVICT_VOLATILE_TTL,
    CONFIG_EVICT_ALLKEYS_LRU,
    CONFIG_EVICT_ALLKEYS_LFU,
    CONFIG_EVICT_ALLKEYS_RANDOM,
    CONFIG_EVICT_NONE,
};

/* shutdown-on-sigint, shutdown-on-sigterm: 0 is the default behaviour. */
enum config_shutdown {
    CONFIG_SHUTDOWN_SAVE = 1 << 0,
    CONFIG_SHUTDOWN_NOSAVE = 1 << 1,
    CONFIG_SHUTDOWN_NOW = 1 << 2,
    CONFIG_SHUTDOWN_FORCE = 1 << 3,
    CONFIG_SHUTDOWN_SAFE = 1 << 4,
    CONFIG_SHUTDOWN_FAILOVER = 1 << 5,
};

/* notify-keyspace-events: bit n is letter n of "g$lshzxetdnKEm". */
#define CONFIG_NOTIFY_LETTERS "g$lshzxetdnKEm"

/* Words, each followed by a NUL, one after the other: see config_word. */
struct config_words {
    char *ptr;
    size_t len; /* bytes, NULs counted */
};

/* Only SWAPDB is told from the others: replication/upstream_load.c. */
enum config_diskless_load {
    CONFIG_DISKLESS_DISABLED,
    CONFIG_DISKLESS_ON_EMPTY,
    CONFIG_DISKLESS_SWAPDB,
    CONFIG_DISKLESS_FLUSH
};
enum config_save_format { CONFIG_SAVE_SHOAL, CONFIG_SAVE_RDB };

struct config_save {
    int64_t seconds, changes;
};

struct config_saves {
    struct config_save *items;
    size_t count;
};

struct config_percentiles {
    double *items;
    size_t count;
};

enum config_output_class {
    CONFIG_OUTPUT_NORMAL,
    CONFIG_OUTPUT_REPLICA,
    CONFIG_OUTPUT_PUBSUB,
    CONFIG_OUTPUT_CLASSES,
};

struct config_output_limit {
    uint64_t hard_bytes, soft_bytes; /* 0: none */
    int64_t soft_seconds;
};

/* Text fields always point at NUL-terminated memory, "" when not set. */
struct config {
    /* Absolute path of the file it was read from; empty without one. */
    struct bytes config_file;
    /* rename-command: old name, new name, old name, ... in the order of the file; an empty new name
     * takes the command away. */
    struct config_words renames;
    /* `user` lines, as they stand there from the name on. */
    struct config_words users;

    /* Network. */
    struct config_words bind;
    struct bytes bind_source_addr;
    enum config_protected enable_debug_command;
    enum config_protected enable_module_command;
    enum config_protected enable_protected_configs;
    bool mptcp;
    int64_t port;
    bool protected_mode;
    int64_t socket_mark_id;
    int64_t tcp_backlog;
    int64_t tcp_keepalive;
    int64_t timeout;
    struct bytes unixsocket;
    struct bytes unixsocketgroup;
    int64_t unixsocketperm;

    /* Tls. */
    enum config_tls_auth tls_auth_clients;
    enum config_tls_user tls_auth_clients_user;
    int64_t tls_auto_reload_interval;
    struct bytes tls_ca_cert_dir;
    struct bytes tls_ca_cert_file;
    struct bytes tls_cert_file;
    struct bytes tls_ciphers;
    struct bytes tls_ciphersuites;
    struct bytes tls_client_cert_file;
    struct bytes tls_client_key_file;
    struct bytes tls_client_key_file_pass;
    bool tls_cluster;
    struct bytes tls_dh_params_file;
    struct bytes tls_key_file;
    struct bytes tls_key_file_pass;
    int64_t tls_port;
    bool tls_prefer_server_ciphers;
    struct bytes tls_protocols;
    bool tls_replication;
    int64_t tls_session_cache_size;
    int64_t tls_session_cache_timeout;
    bool tls_session_caching;

    /* Rdma. */
    struct config_words rdma_bind;
    int64_t rdma_completion_vector;
    int64_t rdma_port;
    int64_t rdma_rx_size;

    /* General. */
    bool always_show_logo;
    struct bytes availability_zone;
    bool crash_log_enabled;
    bool crash_memcheck_enabled;
    bool daemonize;
    int64_t databases;
    bool extended_redis_compatibility;
    struct bytes hash_seed;
    bool hide_user_data_from_log;
    struct bytes locale_collate;
    enum config_log_format log_format;
    enum config_log_timestamp log_timestamp_format;
    struct bytes logfile;
    enum config_loglevel loglevel;
    struct bytes pidfile;
    struct bytes proc_title_template;
    bool set_proc_title;
    enum config_supervised supervised;
    bool syslog_enabled;
    int syslog_facility;
    struct bytes syslog_ident;

    /* Snapshots. */
    struct bytes dbfilename;
    struct bytes dir;
    bool rdb_del_sync_files;
    int rdb_version_check;
    bool rdbchecksum;
    bool rdbcompression;
    struct config_saves save;
    int save_format; /* config_save_format */
    bool stop_writes_on_bgsave_error;

    /* Replication. */
    bool dual_channel_replication_enabled;
    bool import_mode;
    int64_t min_replicas_max_lag;
    int64_t min_replicas_to_write;
    int64_t replicas_ack;
    struct bytes primaryauth;
    struct bytes primaryuser;
    enum config_propagation propagation_error_behavior;
    int64_t repl_backlog_size;
    int64_t repl_backlog_ttl;
    bool repl_disable_tcp_nodelay;
    int repl_diskless_load;
    bool repl_diskless_sync;
    int64_t repl_diskless_sync_delay;
    int64_t repl_diskless_sync_max_replicas;
    bool repl_mptcp;
    int64_t repl_ping_replica_period;
    int64_t repl_timeout;
    struct bytes replica_announce_ip;
    int64_t replica_announce_port;
    bool replica_announced;
    bool replica_ignore_disk_write_errors;
    int64_t replica_priority;
    bool replica_read_only;
    bool replica_serve_stale_data;
    struct bytes replicaof;

    /* Keys tracking, security, clients. */
    int64_t tracking_table_max_keys;
    int acl_pubsub_default; /* config_acl_pubsub */
    struct bytes aclfile;
    int64_t acllog_max_len;
    struct bytes requirepass;
    int64_t maxclients;

    /* Memory. */
    int64_t active_expire_effort;
    uint64_t maxmemory;
    int64_t maxmemory_eviction_tenacity;
    enum config_eviction maxmemory_policy;
    int64_t maxmemory_samples;
    bool replica_ignore_maxmemory;
    bool lazyfree_lazy_eviction;
    bool lazyfree_lazy_expire;
    bool lazyfree_lazy_server_del;
    bool lazyfree_lazy_user_del;
    bool lazyfree_lazy_user_flush;
    bool replica_lazy_flush;

    /* Threads, kernel. */
    int64_t io_threads;
    bool disable_thp;
    enum config_oom oom_score_adj;
    int64_t oom_score_adj_values[3];

    /* Append-only file. */
    bool aof_load_truncated;
    bool aof_timestamp_enabled;
    bool aof_use_rdb_preamble;
    struct bytes appenddirname;
    struct bytes appendfilename;
    enum config_appendfsync appendfsync;
    bool appendonly;
    int64_t auto_aof_rewrite_min_size;
    int64_t auto_aof_rewrite_percentage;
    bool no_appendfsync_on_rewrite;

    /* Shutdown, long commands. */
    unsigned shutdown_on_sigint;
    unsigned shutdown_on_sigterm;
    int64_t shutdown_timeout;
    int64_t busy_reply_threshold;

    /* Cluster. */
    bool cluster_allow_pubsubshard_when_down;
    bool cluster_allow_reads_when_down;
    bool cluster_allow_replica_migration;
    int64_t cluster_announce_bus_port;
    struct bytes cluster_announce_client_ipv4;
    struct bytes cluster_announce_client_ipv6;
    int64_t cluster_announce_client_port;
    int64_t cluster_announce_client_tls_port;
    struct bytes cluster_announce_hostname;
    struct bytes cluster_announce_human_nodename;
    struct bytes cluster_announce_ip;
    int64_t cluster_announce_port;
    int64_t cluster_announce_tls_port;
    int64_t cluster_blacklist_ttl;
    struct bytes cluster_config_file;
    int cluster_config_save_behavior;
    int64_t cluster_databases;
    bool cluster_enabled;
    uint64_t cluster_link_sendbuf_limit;
    int64_t cluster_manual_failover_timeout;
    int64_t cluster_migration_barrier;
    int64_t cluster_node_timeout;
    int64_t cluster_port;
    int cluster_preferred_endpoint_type;
    bool cluster_replica_no_failover;
    int64_t cluster_replica_validity_factor;
    bool cluster_require_full_coverage;
    int64_t cluster_slot_migration_log_max_len;
    bool cluster_slot_stats_enabled;
    int64_t slot_migration_max_failover_repl_bytes;

    /* Command log, latency, events. */
    int64_t commandlog_execution_slower_than;
    int64_t commandlog_large_reply_max_len;
    int64_t commandlog_large_request_max_len;
    int64_t commandlog_reply_larger_than;
    int64_t commandlog_request_larger_than;
    int64_t commandlog_slow_execution_max_len;
    int64_t latency_monitor_threshold;
    bool latency_tracking;
    struct config_percentiles latency_tracking_info_percentiles;
    unsigned notify_keyspace_events;

    /* Advanced. */
    bool activerehashing;
    struct bytes aof_rewrite_cpulist;
    bool aof_rewrite_incremental_fsync;
    struct bytes bgsave_cpulist;
    struct bytes bio_cpulist;
    struct config_output_limit client_output_buffer_limit[CONFIG_OUTPUT_CLASSES];
    int64_t client_query_buffer_limit;
    int64_t hash_max_listpack_entries;
    int64_t hash_max_listpack_value;
    int64_t hll_sparse_max_bytes;
    int64_t hz;
    struct bytes ignore_warnings;
    int64_t lfu_decay_time;
    int64_t lfu_log_factor;
    int64_t list_compress_depth;
    int64_t list_max_listpack_size;
    int64_t max_new_connections_per_cycle;
    int64_t max_new_tls_connections_per_cycle;
    int64_t maxmemory_clients;
    int64_t prefetch_batch_max_size;
    int64_t proto_max_bulk_len;
    bool rdb_save_incremental_fsync;
    struct bytes server_cpulist;
    int64_t set_max_intset_entries;
    int64_t set_max_listpack_entries;
    int64_t set_max_listpack_value;
    int64_t stream_node_max_bytes;
    int64_t stream_node_max_entries;
    int64_t zset_max_listpack_entries;
    int64_t zset_max_listpack_value;

    /* Active defragmentation. */
    int64_t active_defrag_cycle_max;
    int64_t active_defrag_cycle_min;
    int64_t active_defrag_cycle_us;
    int64_t active_defrag_ignore_bytes;
    int64_t active_defrag_max_scan_fields;
    int64_t active_defrag_threshold_lower;
    int64_t active_defrag_threshold_upper;
    bool activedefrag;
    bool jemalloc_bg_thread;

    /* Hidden. */
    bool aof_disable_auto_gc;
    int64_t cluster_message_gossip_perc;
    int64_t cluster_ping_interval;
    struct bytes debug_context;
    bool enable_debug_assert;
    bool io_threads_always_active;
    int64_t key_load_delay;
    int64_t loading_process_events_interval_bytes;
    bool lua_enable_insecure_api;
    int64_t min_io_threads_avoid_copy_reply;
    int64_t min_string_size_avoid_copy_reply;
    int64_t min_string_size_avoid_copy_reply_threaded;
    int64_t rdb_key_save_delay;
    bool use_exit_on_panic;
    int64_t watchdog_period;

    /* Shoal's own. */
    int64_t shards;
    enum config_pipeline_order pipeline_order;
    struct bytes shard_cpulist;
    enum config_io_backend io_backend;
    int64_t metrics_port;
    struct config_words metrics_bind;
    struct bytes metrics_password;
    int64_t unauthenticated_maxmemory;
    int64_t address_maxclients;
    bool cluster_node_per_shard;

    /* No directives: which node this is, of those that cluster-node-per-shard makes; 0 of 0 is one
     * that is the whole server. */
    unsigned node_index, nodes_count;
};

/* How many there are: a cluster has a number of its own. */
static inline int64_t config_databases(const struct config *config) {
    return config->cluster_enabled ? config->cluster_databases : config->databases;
}

static inline bool config_eviction_is_lfu(enum config_eviction policy) {
    return policy == CONFIG_EVICT_VOLATILE_LFU || policy == CONFIG_EVICT_ALLKEYS_LFU;
}

static inline bool config_eviction_is_lru(enum config_eviction policy) {
    return policy == CONFIG_EVICT_VOLATILE_LRU || policy == CONFIG_EVICT_ALLKEYS_LRU;
}

/* cluster-node-per-shard: from what the file says to what node `index` of `count` runs with. Ports
 * count up by node, names of files get `-0`, `-1` ..., sizes of memory are shared out, and it has
 * one shard. Once, before the server is made. */
void config_become_node(struct config *config, unsigned index, unsigned count);

/* Bytes that maxmemory-clients allows in all: 0 is no limit; a percentage counts against maxmemory;
 * never less than 128 kb. */
uint64_t config_maxmemory_clients(const struct config *config);

/* The word after `previous` (NULL: the first), or NULL. */
const char *config_word(struct config_words words, const char *previous);
size_t config_words_count(struct config_words words);

struct config *config_defaults(void);
struct config *config_copy(const struct config *config);
void config_free(struct config *config);

/* Reads what main() was given into a snapshot of defaults: the file that the first argument names,
 * standard input for
 * "-", then --name value pairs. Follows `dir` with fs->change_dir. 0, or -1 with what to print in
 * err. */
int config_load(struct config *config, const struct fs *fs, int argc, char **argv,
                struct text *err);

/* What the configuration asks for, would change what users may expect of their data or safety, and
 * is not there yet. False if nothing; otherwise one line for each in `why`, and the server must not
 * start. */
bool config_refusals(const struct config *config, struct text *why);

/* Appends the names, with commas, of directives that somebody would miss (ROW_MISSED) and that are
 * set otherwise than in `before`; NULL is the defaults. What is off is not missed. */
void config_missed(const struct config *config, const struct config *before, struct text *names);

/* CONFIG GET: calls visit for each directive that a pattern matches, sorted by name. A pattern
 * without wildcards is a name, comes back as it was written, and finds hidden directives as well.
 */
typedef void config_visit_fn(void *arg, struct bytes name, struct bytes value);
void config_get(const struct config *config, const struct bytes *patterns, size_t count,
                config_visit_fn *visit, void *arg);

/* Who sets, and how far the server is. */
struct config_setting {
    const struct fs *fs;
    bool loading;   /* a data set is being read */
    bool local;     /* the client is on this machine: enable-protected-configs local */
    bool by_server; /* REPLICAOF: it may set what no client may */
};

/* CONFIG SET: `pairs` holds count names, each followed by its value. All of them, or none: the new
 * snapshot, or NULL with the whole error text, code first, in err. */
struct config *config_set(const struct config *old, const struct bytes *pairs, size_t count,
                          const struct config_setting *setting, struct text *err);

/* The error of a setting whose value is fine but could not be put to work, in the words of CONFIG
 * SET. */
void config_set_failed(struct text *err, struct bytes name, const char *reason);

/* CONFIG REWRITE: 0, or -errno with the whole error text in err. `everything`: also what has its
 * default and no line yet. */
int config_rewrite(const struct config *config, struct bytes users, bool everything,
                   const struct fs *fs, struct text *err);

/* Whether the value of a directive must not be seen in logs: passwords. */
bool config_is_sensitive(struct bytes name);

/* The process title that proc-title-template describes, appended to title; `program` stands for
 * {title}. False if the template makes no sense. */
bool config_proc_title(const struct config *config, struct bytes program, struct text *title);

/* The processors of a list such as 0-3,6 or 0-7:2, in its order; only numbers below max, and no
 * more than that. How many. */
size_t config_cpus(struct bytes list, int *ret_cpus, size_t max);

#endif
