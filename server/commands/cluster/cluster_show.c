/* SPDX-License-Identifier: BSD-3-Clause */
/* cluster_show: what clients are told of the cluster: who has which slot and how it is reached. All
 * of it is in the map that this worker has.
 *
 * Valkey's shapes: SLOTS has a row for each run of slots with one owner, SHARDS one for each shard,
 * with all its nodes.
 */
#include "proto/reply.h"
#include "server/call/exec.h"
#include "server/call/help.h"
#include "server/call/scatter.h"
#include "server/client/client.h"
#include "server/cluster/redirect.h"
#include "server/commands/cluster/cluster.h"
#include "server/replication/primary.h"
#include "server/server.h"
#include "server/worker/shared.h"
#include "server/worker/view.h"

#include <string.h>

const struct map *cluster_map_or_error(struct exec *x) {
    const struct map *map = worker_map(x->worker);
    if (map == NULL) {
        reply_error(x->reply, "ERR This instance has cluster support disabled");
    }
    return map;
}

/* How the client reaches nodes. A script has no connection. */
static unsigned via_of(const struct exec *x) {
    unsigned flags = x->client != NULL ? x->client->flags : 0;
    return (flags & CLIENT_TLS ? REDIRECT_VIA_TLS : 0) |
           (flags & CLIENT_IPV6 ? REDIRECT_VIA_IPV6 : 0);
}

/* ---- What it is, and is called ---- */

void command_cluster_myid(struct exec *x) {
    const struct map *map = cluster_map_or_error(x);
    if (map != NULL) {
        reply_bulk_text(x->reply, map->nodes[map->myself].id);
    }
}

void command_cluster_myshardid(struct exec *x) {
    const struct map *map = cluster_map_or_error(x);
    if (map != NULL) {
        reply_bulk_text(x->reply, map->nodes[map->myself].shard_id);
    }
}

void command_cluster_keyslot(struct exec *x) {
    reply_int(x->reply, key_slot(x->argv[2]));
}

/* ---- SLOTS ---- */

/* A replica that has not had its first data has nothing to read. */
static bool is_available(const struct map *map, uint16_t i, uint64_t my_offset) {
    const struct map_node *node = &map->nodes[i];
    uint64_t offset = i == map->myself ? my_offset : node->offset;
    return !(node->flags & MAP_FAIL) && offset != 0;
}

static bool is_replica_of(const struct map *map, uint16_t i, uint16_t primary) {
    return map->nodes[i].flags & MAP_REPLICA && map->nodes[i].primary == primary;
}

static void pair_text(struct reply *r, const char *name, const char *text) {
    reply_bulk_text(r, name);
    reply_bulk_text(r, text);
}

/* And what else it is called by than is preferred. */
static void write_node(struct exec *x, const struct map_node *node, unsigned via) {
    int preferred = exec_config(x)->cluster_preferred_endpoint_type;
    bool ip = preferred != CONFIG_ENDPOINT_IP;
    bool hostname = preferred != CONFIG_ENDPOINT_HOSTNAME && node->hostname[0] != 0;
    bool zone = node->availability_zone[0] != 0;
    struct reply *r = x->reply;
    const char *endpoint = redirect_endpoint(node, exec_config(x), via);
    reply_array(r, 4);
    if (endpoint != NULL) {
        reply_bulk_text(r, endpoint);
    } else {
        reply_null(r);
    }
    reply_int(r, redirect_port(node, via));
    reply_bulk_text(r, node->id);
    reply_map(r, (size_t)ip + hostname + zone);
    if (ip) {
        pair_text(r, "ip", redirect_ip(node, via));
    }
    if (hostname) {
        pair_text(r, "hostname", node->hostname);
    }
    if (zone) {
        pair_text(r, "availability-zone", node->availability_zone);
    }
}

/* Where the run of slots ends that begins here. */
static uint32_t run_end(const struct map *map, uint32_t slot) {
    uint32_t end = slot + 1;
    while (end < MAP_SLOTS && map->owner[end] == map->owner[slot]) {
        end++;
    }
    return end;
}

static void write_run(struct exec *x, const struct map *map, uint32_t begin, uint32_t end,
                      uint64_t my_offset) {
    uint16_t owner = map->owner[begin];
    unsigned via = via_of(x);
    size_t replicas = 0;
    for (uint16_t i = 0; i < map->nodes_count; i++) {
        replicas += is_replica_of(map, i, owner) && is_available(map, i, my_offset);
    }
    reply_array(x->reply, 3 + replicas);
    reply_int(x->reply, begin);
    reply_int(x->reply, end - 1);
    write_node(x, &map->nodes[owner], via);
    for (uint16_t i = 0; i < map->nodes_count; i++) {
        if (is_replica_of(map, i, owner) && is_available(map, i, my_offset)) {
            write_node(x, &map->nodes[i], via);
        }
    }
}

static void write_slots(struct exec *x, const struct map *map, uint64_t my_offset) {
    size_t runs = 0;
    for (uint32_t slot = 0; slot < MAP_SLOTS; slot = run_end(map, slot)) {
        runs += map->owner[slot] != MAP_NONE;
    }
    reply_array(x->reply, runs);
    for (uint32_t slot = 0, end; slot < MAP_SLOTS; slot = end) {
        end = run_end(map, slot);
        if (map->owner[slot] != MAP_NONE) {
            write_run(x, map, slot, end, my_offset);
        }
    }
}

/* ---- SHARDS ---- */

/* The primary of a shard, as it is shown: who has slots, if anybody has. */
static uint16_t shard_owner(const struct map *map, const char *shard_id) {
    uint16_t owner = MAP_NONE;
    for (uint16_t i = 0; i < map->nodes_count; i++) {
        const struct map_node *node = &map->nodes[i];
        if (node->flags & MAP_PRIMARY && strcmp(node->shard_id, shard_id) == 0 &&
            (owner == MAP_NONE || node->slots_count > 0)) {
            owner = i;
        }
    }
    return owner;
}

static bool is_first_of_shard(const struct map *map, uint16_t n) {
    uint16_t i = 0;
    while (strcmp(map->nodes[i].shard_id, map->nodes[n].shard_id) != 0) {
        i++;
    }
    return i == n;
}

static void write_ranges(struct reply *r, const struct map *map, uint16_t owner) {
    size_t runs = 0;
    for (uint32_t slot = 0; slot < MAP_SLOTS; slot = run_end(map, slot)) {
        runs += owner != MAP_NONE && map->owner[slot] == owner;
    }
    reply_array(r, 2 * runs);
    for (uint32_t slot = 0, end; slot < MAP_SLOTS; slot = end) {
        end = run_end(map, slot);
        if (owner != MAP_NONE && map->owner[slot] == owner) {
            reply_int(r, slot);
            reply_int(r, end - 1);
        }
    }
}

static const char *health_of(const struct map_node *node, uint64_t offset) {
    return node->flags & MAP_FAIL                     ? "fail"
           : node->flags & MAP_REPLICA && offset == 0 ? "loading"
                                                      : "online";
}

static void write_member(struct exec *x, const struct map *map, uint16_t n, uint64_t my_offset) {
    const struct map_node *node = &map->nodes[n];
    uint64_t offset = n == map->myself ? my_offset : node->offset;
    unsigned via = via_of(x);
    struct reply *r = x->reply;
    uint16_t port = redirect_port(node, via & ~(unsigned)REDIRECT_VIA_TLS);
    uint16_t tls_port = redirect_port(node, via | REDIRECT_VIA_TLS);
    bool hostname = node->hostname[0] != 0, zone = node->availability_zone[0] != 0;
    reply_map(r, 6 + (size_t)(port != 0) + (tls_port != 0) + hostname + zone);
    pair_text(r, "id", node->id);
    if (port != 0) {
        reply_bulk_text(r, "port");
        reply_int(r, port);
    }
    if (tls_port != 0) {
        reply_bulk_text(r, "tls-port");
        reply_int(r, tls_port);
    }
    pair_text(r, "ip", redirect_ip(node, via));
    const char *endpoint = redirect_endpoint(node, exec_config(x), via);
    pair_text(r, "endpoint", endpoint != NULL ? endpoint : "");
    if (hostname) {
        pair_text(r, "hostname", node->hostname);
    }
    pair_text(r, "role", node->flags & MAP_REPLICA ? "replica" : "master");
    reply_bulk_text(r, "replication-offset");
    reply_int(r, (int64_t)offset);
    pair_text(r, "health", health_of(node, offset));
    if (zone) {
        pair_text(r, "availability-zone", node->availability_zone);
    }
}

static void write_shards(struct exec *x, const struct map *map, uint64_t my_offset) {
    struct reply *r = x->reply;
    size_t shards = 0;
    for (uint16_t i = 0; i < map->nodes_count; i++) {
        shards += is_first_of_shard(map, i);
    }
    reply_array(r, shards);
    for (uint16_t n = 0; n < map->nodes_count; n++) {
        if (!is_first_of_shard(map, n)) {
            continue;
        }
        const char *id = map->nodes[n].shard_id;
        size_t members = 0;
        for (uint16_t i = n; i < map->nodes_count; i++) {
            members += strcmp(map->nodes[i].shard_id, id) == 0;
        }
        reply_map(r, 3);
        reply_bulk_text(r, "slots");
        write_ranges(r, map, shard_owner(map, id));
        reply_bulk_text(r, "nodes");
        reply_array(r, members);
        uint16_t owner = shard_owner(map, id);
        if (owner != MAP_NONE) { /* first */
            write_member(x, map, owner, my_offset);
        }
        for (uint16_t i = n; i < map->nodes_count; i++) {
            if (i != owner && strcmp(map->nodes[i].shard_id, id) == 0) {
                write_member(x, map, i, my_offset);
            }
        }
        pair_text(r, "id", id);
    }
}

/* ---- Both show how far this node is, which worker 0 knows ---- */

static bool offset_part(struct worker *worker, const void *args, void *part) {
    struct primary_state state;
    primary_state(worker_server(worker)->primary, &state);
    const struct server *server = worker_server(worker);
    *(uint64_t *)part = server->role.replica ? shared_place(server->shared).offset : state.offset;
    primary_state_fini(&state);
    return true;
}

static void slots_done(struct exec *x, const struct scatter_result *result) {
    write_slots(x, worker_map(x->worker), *(const uint64_t *)result->parts[0]);
}

static void shards_done(struct exec *x, const struct scatter_result *result) {
    write_shards(x, worker_map(x->worker), *(const uint64_t *)result->parts[0]);
}

/* A primary shows its own offset in SHARDS alone. */
void command_cluster_slots(struct exec *x) {
    const struct map *map = cluster_map_or_error(x);
    if (map != NULL && map->nodes[map->myself].flags & MAP_PRIMARY) {
        write_slots(x, map, 0);
    } else if (map != NULL) {
        scatter_one(x, 0, offset_part, sizeof(uint64_t), NULL, 0, slots_done);
    }
}

void command_cluster_shards(struct exec *x) {
    if (cluster_map_or_error(x) != NULL) {
        scatter_one(x, 0, offset_part, sizeof(uint64_t), NULL, 0, shards_done);
    }
}
