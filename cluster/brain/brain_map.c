/* SPDX-License-Identifier: BSD-3-Clause */
/* The map that shards get, out of what the brain knows. One piece of memory: the map, its nodes,
 * open slots, and then all texts. */
#include "cluster/brain/brain_private.h"

#include "base/check.h"
#include "base/must.h"

#include <stdlib.h>

static int by_id(const void *a, const void *b) {
    const struct brain_node *const *x = a, *const *y = b;
    return memcmp((*x)->id, (*y)->id, ID);
}

static size_t text_bytes_of(const char *text) {
    return (text != NULL ? strlen(text) : 0) + 1;
}

static size_t texts_bytes(const struct brain_node *node) {
    return text_bytes_of(node->id) + text_bytes_of(node->shard_id) + text_bytes_of(node->ip) +
           text_bytes_of(node->hostname) + text_bytes_of(node->human_name) +
           text_bytes_of(node->zone) + text_bytes_of(node->client_ipv4) +
           text_bytes_of(node->client_ipv6);
}

static const char *put(char **at, const char *text) {
    char *copy = *at;
    size_t n = text_bytes_of(text);
    memcpy(copy, text != NULL ? text : "", n);
    *at += n;
    return copy;
}

static struct map_node describe(const struct brain_node *node, const uint16_t *places, char **at) {
    const struct brain_node *primary = node->flags & MAP_REPLICA ? node->primary : NULL;
    return (struct map_node){
        .id = put(at, node->id),
        .shard_id = put(at, node->shard_id),
        .ip = put(at, node->ip),
        .hostname = put(at, node->hostname),
        .human_name = put(at, node->human_name),
        .availability_zone = put(at, node->zone),
        .client_ipv4 = put(at, node->client_ipv4),
        .client_ipv6 = put(at, node->client_ipv6),
        .port = node->port,
        .tls_port = node->tls_port,
        .bus_port = node->bus_port,
        .client_port = node->client_port,
        .client_tls_port = node->client_tls_port,
        .flags = node->flags,
        .primary = primary != NULL ? places[primary->index] : MAP_NONE,
        .config_epoch = primary != NULL ? primary->config_epoch : node->config_epoch,
        .offset = node->offset,
        .slots_count = node->slots_count,
    };
}

static void put_opens(struct map *map, struct map_open_slot *ret, uint16_t *ret_count,
                      const struct brain_opens *opens, const uint16_t *places) {
    for (uint16_t i = 0; i < opens->count; i++) {
        uint16_t slot = opens->list[i].slot;
        ret[i] = (struct map_open_slot){slot, places[opens->list[i].node->index]};
        map->is_open[slot / 8] |= (uint8_t)(1 << slot % 8);
    }
    *ret_count = opens->count;
}

struct map *brain_map(const struct brain *brain) {
    unsigned count = 0;
    size_t texts = 0;
    struct brain_node **order = must_calloc(brain->nodes_cap, sizeof *order);
    uint16_t *places = must_malloc(brain->nodes_cap * sizeof *places);
    memset(places, 0xff, brain->nodes_cap * sizeof *places);
    BRAIN_EACH(brain, node) {
        if (!(node->flags & MAP_HANDSHAKE)) {
            order[count++] = node;
            texts += texts_bytes(node);
        }
    }
    qsort(order, count, sizeof(struct brain_node *), by_id);
    for (unsigned i = 0; i < count; i++) {
        places[order[i]->index] = (uint16_t)i;
    }
    size_t opens = (size_t)brain->migrating.count + brain->importing.count;
    struct map *map = must_calloc(1, sizeof *map + count * sizeof(struct map_node) +
                                         opens * sizeof(struct map_open_slot) + texts);
    map->nodes = (struct map_node *)(map + 1);
    map->migrating = (struct map_open_slot *)(map->nodes + count);
    map->importing = map->migrating + brain->migrating.count;
    char *at = (char *)(map->migrating + opens);
    map->version = brain->map_version;
    map->nodes_count = (uint16_t)count;
    map->myself = places[brain->self->index];
    map->state = brain->state;
    map->why = brain->why;
    map->current_epoch = brain->current_epoch;
    for (unsigned i = 0; i < count; i++) {
        map->nodes[i] = describe(order[i], places, &at);
    }
    put_opens(map, map->migrating, &map->migrating_count, &brain->migrating, places);
    put_opens(map, map->importing, &map->importing_count, &brain->importing, places);
    map->hides = brain_hidden_slots(brain, map->hidden);
    map->holds = brain_held_slots(brain, map->held, map->sealed);
    for (unsigned slot = 0; slot < MAP_SLOTS; slot++) {
        map->owner[slot] = brain->owner[slot] == MAP_NONE ? MAP_NONE : places[brain->owner[slot]];
    }
    free(order);
    free(places);
    return map;
}

void map_free(struct map *map) {
    free(map);
}
