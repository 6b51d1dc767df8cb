/* SPDX-License-Identifier: BSD-3-Clause */
/* settings: see the header. */
#include "server/cluster/settings.h"

#include "base/must.h"

#include <stdlib.h>

#define BUS_PORT_OFFSET 10000

uint16_t cluster_bus_port(const struct config *config) {
    int64_t port = config->tls_cluster ? config->tls_port : config->port;
    return (uint16_t)(config->cluster_port > 0 ? config->cluster_port : port + BUS_PORT_OFFSET);
}

static uint16_t announced(int64_t port, int64_t real) {
    return (uint16_t)(port > 0 ? port : real);
}

struct cluster_settings *cluster_settings_new(const struct config *now) {
    struct cluster_settings *settings = must_calloc(1, sizeof *settings);
    struct config *config = config_copy(now);
    settings->config = config;
    settings->save_must_succeed = config->cluster_config_save_behavior == 0 /* sync */;
    settings->brain = (struct brain_settings){
        .node_timeout_ms = config->cluster_node_timeout,
        .ping_interval_ms = config->cluster_ping_interval,
        .manual_failover_timeout_ms = config->cluster_manual_failover_timeout,
        .blacklist_ttl_s = config->cluster_blacklist_ttl,
        .validity_factor = config->cluster_replica_validity_factor,
        .migration_barrier = config->cluster_migration_barrier,
        .gossip_percent = config->cluster_message_gossip_perc,
        .repl_ping_period_s = config->repl_ping_replica_period,
        .link_sendbuf_limit = config->cluster_link_sendbuf_limit,
        .replica_no_failover = config->cluster_replica_no_failover,
        .allow_replica_migration = config->cluster_allow_replica_migration,
        .require_full_coverage = config->cluster_require_full_coverage,
        .announce_ip = config->cluster_announce_ip.ptr,
        .hostname = config->cluster_announce_hostname.ptr,
        .human_name = config->cluster_announce_human_nodename.ptr,
        .availability_zone = config->availability_zone.ptr,
        .client_ipv4 = config->cluster_announce_client_ipv4.ptr,
        .client_ipv6 = config->cluster_announce_client_ipv6.ptr,
        .port = announced(config->cluster_announce_port, config->port),
        .tls_port = announced(config->cluster_announce_tls_port, config->tls_port),
        .bus_port = announced(config->cluster_announce_bus_port, cluster_bus_port(config)),
        .repl_timeout_s = config->repl_timeout,
        .failover_bytes = config->slot_migration_max_failover_repl_bytes,
        .migrations_kept = config->cluster_slot_migration_log_max_len,
        .tls_cluster = config->tls_cluster,
        .client_port = (uint16_t)config->cluster_announce_client_port,
        .client_tls_port = (uint16_t)config->cluster_announce_client_tls_port,
    };
    return settings;
}

void cluster_settings_free(struct cluster_settings *settings) {
    if (settings != NULL) {
        config_free(settings->config);
        free(settings);
    }
}
